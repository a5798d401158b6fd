//! Encodings of every stored object: pure functions of bytes, with no I/O and no keys.
//!
//! `format-spec/` defines these bytes; this module is the only one that encodes or decodes them, and [`structured`] the
//! only one that touches `bincode`.

pub(crate) mod compress;
pub mod config;
pub mod evidence;
pub mod fold;
pub mod header;
pub mod hold;
pub mod ids;
pub mod index;
pub mod keyslot;
pub mod leaf;
pub mod names;
pub mod node;
pub mod pack;
pub mod padding;
pub mod plan;
pub mod search;
pub mod session;
pub mod snapshot;
pub mod structured;
pub mod tags;
pub mod text;

use crate::error::{AbsentSecret, Secret};

pub use ids::{ChunkId, FoldId, HoldId, KeyId, PackId, RepositoryId, SnapshotId, TagsId};

/// The format version that this build writes and reads. Versions 1 to 7 were never released.
pub const FORMAT_VERSION: u8 = 8;

impl From<AbsentSecret> for FormatError {
    fn from(absent: AbsentSecret) -> Self {
        FormatError::Secret(absent.0)
    }
}

/// Why bytes are not what they should be; the caller adds the object's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// The bytes end early.
    #[error("cut off inside {0}")]
    Cut(&'static str),
    /// A field holds something else than the format allows.
    #[error("{what}: expected {expected}, found {found}")]
    Field {
        /// Which field.
        what: &'static str,
        /// What the format allows.
        expected: String,
        /// What is there.
        found: String,
    },
    /// The object is of a version that this build doesn't know.
    #[error("format version {0} is not known to this build")]
    Version(u8),
    /// What would open or prove it is not at hand.
    #[error("{0} is not at hand")]
    Secret(Secret),
}

impl FormatError {
    /// A field that holds something else than the format allows.
    pub fn field(what: &'static str, expected: impl ToString, found: impl ToString) -> Self {
        FormatError::Field { what, expected: expected.to_string(), found: found.to_string() }
    }

    /// Names the object.
    pub fn of(self, object: impl Into<String>) -> crate::Error {
        match self {
            FormatError::Version(found) => crate::Error::UnknownVersion {
                object: object.into(),
                found: u32::from(found),
                known: u32::from(FORMAT_VERSION),
            },
            FormatError::Secret(secret) => crate::Error::AbsentSecret { secret, object: object.into() },
            other => crate::Error::damaged(object, other.to_string()),
        }
    }
}

/// Takes `N` bytes off the front of `input`.
pub(crate) fn take_array<const N: usize>(input: &mut &[u8], what: &'static str) -> Result<[u8; N], FormatError> {
    let (head, tail) = input.split_first_chunk::<N>().ok_or(FormatError::Cut(what))?;
    *input = tail;
    Ok(*head)
}

/// Takes a little-endian `u32`.
pub(crate) fn take_u32(input: &mut &[u8], what: &'static str) -> Result<u32, FormatError> {
    take_array(input, what).map(u32::from_le_bytes)
}

/// Takes a little-endian `u64`.
pub(crate) fn take_u64(input: &mut &[u8], what: &'static str) -> Result<u64, FormatError> {
    take_array(input, what).map(u64::from_le_bytes)
}

/// Takes one byte.
pub(crate) fn take_u8(input: &mut &[u8], what: &'static str) -> Result<u8, FormatError> {
    take_array::<1>(input, what).map(|[byte]| byte)
}

/// Takes `n` bytes.
pub(crate) fn take_slice<'a>(input: &mut &'a [u8], n: usize, what: &'static str) -> Result<&'a [u8], FormatError> {
    let (head, tail) = input.split_at_checked(n).ok_or(FormatError::Cut(what))?;
    *input = tail;
    Ok(head)
}

/// Takes a varint of at most `limit`.
pub(crate) fn take_varint(input: &mut &[u8], limit: u64, what: &'static str) -> Result<u64, FormatError> {
    let value = crate::record::varint::take(input).ok_or(FormatError::Cut(what))?;
    if value > limit {
        return Err(FormatError::field(what, format_args!("at most {limit}"), value));
    }
    Ok(value)
}
