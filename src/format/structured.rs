//! Structured values: the one place that touches `bincode`.
//!
//! The encoding, as `format-spec/structured.md` defines it on its own: integers little endian at their full width; `bool` and
//! the presence of an optional value as one byte, 0 or 1; enumerations as a 32-bit number and then their fields; sequences
//! and strings as a 64-bit count and then their items or UTF-8 bytes; structures as their fields in order, nothing between.

use super::FormatError;
use serde::{Serialize, de::DeserializeOwned};

/// The most bytes that decoding one value may claim: 64 MiB.
pub const MAX_BYTES: usize = 64 << 20;

fn config() -> impl bincode::config::Config {
    bincode::config::standard().with_little_endian().with_fixed_int_encoding().with_limit::<MAX_BYTES>()
}

/// Encodes a value.
pub fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, FormatError> {
    bincode::serde::encode_to_vec(value, config())
        .map_err(|error| FormatError::field("a value to encode", "one that fits the format", error))
}

/// Decodes a value, which must take all of `bytes`. A count is not believed further than
/// `bytes` go: memory is bounded by a small multiple of their length.
pub fn decode<T: DeserializeOwned>(what: &'static str, bytes: &[u8]) -> Result<T, FormatError> {
    let (value, used) = bincode::serde::borrow_decode_from_slice(bytes, config())
        .map_err(|error| FormatError::field(what, "a well-formed value", error))?;
    if used != bytes.len() {
        return Err(FormatError::field(what, format_args!("{used} bytes"), bytes.len()));
    }
    Ok(value)
}
