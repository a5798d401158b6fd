//! The servers' wire protocol, as far as backups and restores need it: pure functions between values and bytes.
//!
//! Every message is a *frame*: eight bytes (version, type, length) and a body. Three types are used: info (names and
//! values as text), security (logging in) and message (records). Numbers are big endian unless a field says otherwise.
//! Bin values are never decoded: a bin is its name, its particle type and its particle's bytes.
//!
//! Everything that comes from a server is bounded and checked here; nothing here does I/O.

pub mod admin;
pub mod batch;
pub mod counts;
pub mod expression;
pub mod frame;
pub mod info;
pub mod login;
pub mod message;
pub mod query;
pub mod result_code;
pub mod write;

/// Bytes that a server sent, and that the protocol doesn't allow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}: expected {expected}, found {found}")]
pub struct WireError {
    /// Which part of which message.
    pub what: &'static str,
    /// What the protocol asks for.
    pub expected: String,
    /// What the server sent.
    pub found: String,
}

impl WireError {
    /// A part that is not as it should be.
    #[cold]
    pub fn new(what: &'static str, expected: impl Into<String>, found: impl Into<String>) -> Self {
        Self { what, expected: expected.into(), found: found.into() }
    }

    /// A message that ends inside `what`.
    #[cold]
    pub fn cut(what: &'static str, wanted: usize, left: usize) -> Self {
        Self::new(what, format!("{wanted} bytes"), format!("{left} until the end of the message"))
    }
}

/// Splits `n` bytes off the front of `input`.
#[inline]
fn take<'a>(input: &mut &'a [u8], n: usize, what: &'static str) -> Result<&'a [u8], WireError> {
    match input.split_at_checked(n) {
        Some((head, tail)) => {
            *input = tail;
            Ok(head)
        }
        None => Err(WireError::cut(what, n, input.len())),
    }
}

/// Splits a fixed number of bytes off the front of `input`.
#[inline]
fn take_array<const N: usize>(input: &mut &[u8], what: &'static str) -> Result<[u8; N], WireError> {
    match input.split_first_chunk::<N>() {
        Some((head, tail)) => {
            *input = tail;
            Ok(*head)
        }
        None => Err(WireError::cut(what, N, input.len())),
    }
}
