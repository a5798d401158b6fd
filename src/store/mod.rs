//! Object stores: where a repository keeps its objects.
//!
//! A store holds immutable and a few mutable objects under slash-separated keys. The rules that everything above rests
//! on:
//!
//! - [`Store::put_new`] creates an object whole or not at all, and only if the key is free: of two that race, one wins.
//! - [`Store::put`] replaces an object whole or not at all.
//! - A listing shows every object whose creation returned before the listing began.
//! - After [`Store::sync`] returned, everything put before survives a power cut.
//! - [`Store::put`] and [`Store::put_new`] need no `sync`: what they did survives a power cut once they returned.
//!   What [`Store::put_content`] did survives one after the next `sync`, so that one does for many objects.
//! - A store knows nothing of what its objects mean, nor of the names that its callers choose.
//! - An error from a call that changes the store doesn't say that nothing happened: the reply may have been lost.
//! - An error has a [kind](crate::error::StoreErrorKind). A repository makes calls again that failed with a transient
//!   one, as [`Store::retry_policy`] says; a store need not.
//!
//! [`open`] and [`create`] turn what a user typed into a store.

mod call;
#[cfg(feature = "cloud")]
mod cloud;
#[cfg(any(test, feature = "testing"))]
#[expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test panics where a store breaks a rule; the rules of the library are for the library"
)]
pub mod conformance;
mod counting;
mod fault;
mod key;
mod local;
mod memory;
mod options;
mod retry;
mod url;

pub use call::Call;
#[cfg(feature = "cloud")]
pub use cloud::{CloudStore, RequestCounts};
pub use counting::{CallCounts, CountingStore};
pub use fault::{Effect, Fault, FaultStore, Operation};
pub use local::LocalStore;
pub use memory::MemoryStore;
pub use options::StoreOptions;
pub use retry::RetryPolicy;
pub(crate) use retry::{RetryStore, holds, put_new_for_certain};
pub(crate) use url::local_path;
pub use url::{create, create_with, open, open_with};

use crate::error::Result;
use bytes::Bytes;
use std::sync::Arc;

/// What became of a [`Store::put_new`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// The object was created.
    Created,
    /// The key was taken; nothing was changed.
    Exists,
}

/// One object in a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The object's key.
    pub key: String,
    /// Its size in bytes.
    pub size: u64,
}

/// An object store. Keys are relative, slash-separated, of `[a-z0-9-]` segments. All methods may be called from several
/// threads.
pub trait Store: Send + Sync {
    /// Where it is, for messages; no secrets.
    fn location(&self) -> &str;

    /// Creates an object if its key is free. The object appears whole or not at all.
    ///
    /// # Errors
    ///
    /// If the store can't be reached, refuses the call, or fails: see [`StoreErrorKind`](crate::StoreErrorKind).
    fn put_new(&self, key: &str, bytes: &[u8]) -> Result<Put>;

    /// Creates an object whose name follows from its content, if its key is free: whoever finds it taken finds the same
    /// bytes there, so that creating it twice is harmless. It need survive a power cut only once [`Store::sync`]
    /// returned; a store that gains nothing by that takes it as [`Store::put_new`] does.
    ///
    /// # Errors
    ///
    /// If the store can't be reached, refuses the call, or fails: see [`StoreErrorKind`](crate::StoreErrorKind).
    fn put_content(&self, key: &str, bytes: &Bytes) -> Result<Put> {
        self.put_new(key, bytes)
    }

    /// Creates or replaces an object. A reader sees the old bytes or the new ones, never a mixture.
    ///
    /// # Errors
    ///
    /// If the store can't be reached, refuses the call, or fails: see [`StoreErrorKind`](crate::StoreErrorKind).
    fn put(&self, key: &str, bytes: &[u8]) -> Result<()>;

    /// Reads a whole object; `None` if there is none. An object of more than `limit` bytes is an error, found before
    /// memory is taken.
    ///
    /// # Errors
    ///
    /// If the object is larger than `limit`, or the store can't be read: see [`StoreErrorKind`](crate::StoreErrorKind).
    fn get(&self, key: &str, limit: u64) -> Result<Option<Bytes>>;

    /// Reads `length` bytes at `offset`; `None` if there is no such object. Fewer bytes come back where the object ends
    /// early.
    ///
    /// # Errors
    ///
    /// If the store can't be reached, refuses the call, or fails: see [`StoreErrorKind`](crate::StoreErrorKind).
    fn get_range(&self, key: &str, offset: u64, length: usize) -> Result<Option<Bytes>>;

    /// An object's size in bytes; `None` if there is none.
    ///
    /// # Errors
    ///
    /// If the store can't be reached, refuses the call, or fails: see [`StoreErrorKind`](crate::StoreErrorKind).
    fn size(&self, key: &str) -> Result<Option<u64>>;

    /// How a repository makes calls to this store again that failed with a transient error. A store that does so itself
    /// answers [`RetryPolicy::none`].
    fn retry_policy(&self) -> RetryPolicy {
        RetryPolicy::none()
    }

    /// Whether each call takes a message there and one back over a network: then more of them are made at once.
    fn is_far(&self) -> bool {
        false
    }

    /// Whether [`Store::put_new`] is known to let one writer alone create an object. Of a store that says no it is
    /// tried before a repository is made there, and when the repository is checked.
    fn creations_are_proven(&self) -> bool {
        true
    }

    /// All objects whose key begins with `prefix` (a directory name that ends in a slash), sorted by key.
    ///
    /// # Errors
    ///
    /// If the store can't be reached, refuses the call, or fails: see [`StoreErrorKind`](crate::StoreErrorKind).
    fn list(&self, prefix: &str) -> Result<Vec<Listed>>;

    /// The first segments of all keys and the names of whatever else somebody put beside them, sorted; without what the
    /// store itself and the systems below it leave there. So a caller learns whether the place is free, or somebody
    /// else's.
    ///
    /// # Errors
    ///
    /// If the store can't be reached, refuses the call, or fails: see [`StoreErrorKind`](crate::StoreErrorKind).
    fn top_names(&self) -> Result<Vec<String>> {
        Ok(first_segments(self.list("")?))
    }

    /// Deletes an object; it is no error if there is none.
    ///
    /// # Errors
    ///
    /// If the store can't be reached, refuses the call, or fails: see [`StoreErrorKind`](crate::StoreErrorKind).
    fn delete(&self, key: &str) -> Result<()>;

    /// Returns once everything that was put before this call would survive a power cut.
    ///
    /// # Errors
    ///
    /// If the store can't be reached, refuses the call, or fails: see [`StoreErrorKind`](crate::StoreErrorKind).
    fn sync(&self) -> Result<()>;

    /// Keeps a little room in reserve, if it does not yet, so that what must be written before anything can be deleted
    /// finds room once the disk is full. A store that can't be full need not.
    ///
    /// # Errors
    ///
    /// If the store can't be reached, refuses the call, or fails: see [`StoreErrorKind`](crate::StoreErrorKind).
    fn keep_reserve(&self) -> Result<()> {
        Ok(())
    }

    /// How many bytes can still be written, where the store knows.
    ///
    /// # Errors
    ///
    /// If the store can't be reached, refuses the call, or fails: see [`StoreErrorKind`](crate::StoreErrorKind).
    fn free_bytes(&self) -> Result<Option<u64>> {
        Ok(None)
    }

    /// Gives that room up, and says whether there was any.
    ///
    /// # Errors
    ///
    /// If the store can't be reached, refuses the call, or fails: see [`StoreErrorKind`](crate::StoreErrorKind).
    fn use_reserve(&self) -> Result<bool> {
        Ok(false)
    }
}

/// The first segments of the keys of objects, sorted, each once.
fn first_segments(listed: Vec<Listed>) -> Vec<String> {
    let mut names: Vec<String> = listed.into_iter().map(|listed| first_segment(listed.key)).collect();
    names.sort_unstable();
    names.dedup();
    names
}

fn first_segment(mut key: String) -> String {
    key.truncate(key.find('/').unwrap_or(key.len()));
    key
}

macro_rules! forward_to_pointee {
    ($($pointer:ident),*) => {$(
        impl<S: Store + ?Sized> Store for $pointer<S> {
            fn location(&self) -> &str {
                (**self).location()
            }
            fn put_new(&self, key: &str, bytes: &[u8]) -> Result<Put> {
                (**self).put_new(key, bytes)
            }
            fn put_content(&self, key: &str, bytes: &Bytes) -> Result<Put> {
                (**self).put_content(key, bytes)
            }
            fn put(&self, key: &str, bytes: &[u8]) -> Result<()> {
                (**self).put(key, bytes)
            }
            fn get(&self, key: &str, limit: u64) -> Result<Option<Bytes>> {
                (**self).get(key, limit)
            }
            fn get_range(&self, key: &str, offset: u64, length: usize) -> Result<Option<Bytes>> {
                (**self).get_range(key, offset, length)
            }
            fn size(&self, key: &str) -> Result<Option<u64>> {
                (**self).size(key)
            }
            fn retry_policy(&self) -> RetryPolicy {
                (**self).retry_policy()
            }
            fn is_far(&self) -> bool {
                (**self).is_far()
            }
            fn creations_are_proven(&self) -> bool {
                (**self).creations_are_proven()
            }
            fn list(&self, prefix: &str) -> Result<Vec<Listed>> {
                (**self).list(prefix)
            }
            fn top_names(&self) -> Result<Vec<String>> {
                (**self).top_names()
            }
            fn delete(&self, key: &str) -> Result<()> {
                (**self).delete(key)
            }
            fn sync(&self) -> Result<()> {
                (**self).sync()
            }
            fn free_bytes(&self) -> Result<Option<u64>> {
                (**self).free_bytes()
            }
            fn keep_reserve(&self) -> Result<()> {
                (**self).keep_reserve()
            }
            fn use_reserve(&self) -> Result<bool> {
                (**self).use_reserve()
            }
        }
    )*};
}

forward_to_pointee!(Arc, Box);
