//! Structured values: the one place that touches `bincode`.
//!
//! The encoding, as `format-spec/structured.md` defines it on its own: integers little endian at their full width;
//! `bool` and the presence of an optional value as one byte, 0 or 1; enumerations as a 32-bit number and then their
//! fields; sequences and strings as a 64-bit count and then their items or UTF-8 bytes; structures as their fields in
//! order, nothing between.

use super::FormatError;
use serde::{Serialize, de::DeserializeOwned};

/// The most bytes that decoding one value may claim: 64 MiB.
pub const MAX_BYTES: usize = 64 << 20;

fn config<const LIMIT: usize>() -> impl bincode::config::Config {
    bincode::config::standard().with_little_endian().with_fixed_int_encoding().with_limit::<LIMIT>()
}

/// Encodes a value.
///
/// # Errors
///
/// If a list is longer than the encoding takes.
pub fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, FormatError> {
    bincode::serde::encode_to_vec(value, config::<MAX_BYTES>())
        .map_err(|error| FormatError::field("a value to encode", "one that fits the format", error))
}

/// Decodes a value, which must take all of `bytes`. Memory is bounded by a small multiple of their length, and a
/// mebibyte for each list that is begun.
///
/// # Errors
///
/// If the bytes are not those that the format defines; the error says what was expected and what was found.
pub fn decode<T: DeserializeOwned>(what: &'static str, bytes: &[u8]) -> Result<T, FormatError> {
    // Memory for a text is taken by its stated length before its bytes are looked for; the limit, which bounds the
    // stated lengths, is a constant of the type. A well-formed value states no more than its own length.
    match bytes.len() {
        0..=0xfff => decode_within::<T, 0x1000>(what, bytes),
        0x1000..=0xffff => decode_within::<T, 0x1_0000>(what, bytes),
        0x1_0000..=0xf_ffff => decode_within::<T, 0x10_0000>(what, bytes),
        0x10_0000..=0xff_ffff => decode_within::<T, 0x100_0000>(what, bytes),
        _ => decode_within::<T, MAX_BYTES>(what, bytes),
    }
}

fn decode_within<T: DeserializeOwned, const LIMIT: usize>(what: &'static str, bytes: &[u8]) -> Result<T, FormatError> {
    let (value, used) = bincode::serde::decode_from_slice(bytes, config::<LIMIT>())
        .map_err(|error| FormatError::field(what, "a well-formed value", error))?;
    if used != bytes.len() {
        return Err(FormatError::field(what, format_args!("{used} bytes"), bytes.len()));
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The limits, which follow the length, leave room for whatever a value of this length may be.
    #[test]
    fn values_of_every_length_come_back() {
        for length in [0usize, 1, 0xff7, 0xff8, 0x1000, 0xfff0, 0x1_0000, 0xf_fff8, 0x10_0000, 0xff_fff8, 0x100_0000] {
            let text = "x".repeat(length);
            assert!(decode::<String>("a text", &encode(&text).unwrap()).unwrap() == text, "{length}");
            let list: Vec<u8> = text.into_bytes();
            assert!(decode::<Vec<u8>>("a list", &encode(&list).unwrap()).unwrap() == list, "{length}");
            let pairs = vec![(true, Some(7u64)); length / 16];
            assert!(
                decode::<Vec<(bool, Option<u64>)>>("pairs", &encode(&pairs).unwrap()).unwrap() == pairs,
                "{length}"
            );
        }
    }

    #[test]
    fn a_text_is_as_long_as_it_says() {
        for length in [4u64, 1 << 20, (64 << 20) - 9, 1 << 40, u64::MAX] {
            let bytes = [&length.to_le_bytes()[..], b"abc"].concat();
            assert!(decode::<String>("a text", &bytes).is_err(), "{length}");
        }
    }
}
