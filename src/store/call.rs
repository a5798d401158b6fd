//! The kinds of call that a store takes, for counting them and for making them fail.

use std::fmt;

/// One kind of call to a [`Store`](super::Store).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    /// [`Store::put_new`](super::Store::put_new) and [`Store::put_content`](super::Store::put_content).
    PutNew,
    /// [`Store::put`](super::Store::put).
    Put,
    /// [`Store::get`](super::Store::get).
    Get,
    /// [`Store::get_range`](super::Store::get_range).
    GetRange,
    /// [`Store::size`](super::Store::size).
    Size,
    /// [`Store::list`](super::Store::list) and [`Store::top_names`](super::Store::top_names).
    List,
    /// [`Store::delete`](super::Store::delete).
    Delete,
    /// [`Store::sync`](super::Store::sync).
    Sync,
}

impl Call {
    /// Every kind there is.
    pub const ALL: [Call; 8] =
        [Call::PutNew, Call::Put, Call::Get, Call::GetRange, Call::Size, Call::List, Call::Delete, Call::Sync];

    /// The name of the method.
    pub fn name(self) -> &'static str {
        match self {
            Call::PutNew => "put_new",
            Call::Put => "put",
            Call::Get => "get",
            Call::GetRange => "get_range",
            Call::Size => "size",
            Call::List => "list",
            Call::Delete => "delete",
            Call::Sync => "sync",
        }
    }

    /// Whether the call can change what the store holds.
    pub fn changes(self) -> bool {
        matches!(self, Call::PutNew | Call::Put | Call::Delete)
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
