//! Sealed values: the small objects (config, sessions, snapshots, plans) as one sealed part after a header.
//!
//! The plaintext is a 32-bit length, the value's own length and how it is compressed in 32 bits, the value, compressed
//! or not, and zeros up to the Padmé length. The associated data is the object's name, so that one object can't be put
//! in place of another.

use super::keys::Keys;
use super::suite::Sealer;
use crate::error::{Error, Result};
use crate::format::compress::{compress, decompress_within};
use crate::format::config::Compression;
use crate::format::header::{Class, HEADER_BYTES, ObjectKind, Suite, TAG_BYTES};
use crate::format::pack::Packing;
use crate::format::padding::padme;
use crate::format::{FormatError, take_u32};

/// An object that holds a sealed value has at most this many bytes: 65 MiB.
pub const MAX_SEALED_BYTES: u64 = (64 << 20) + (1 << 20);
/// A value that is sealed has at most this many bytes: with its lengths it takes 64 MiB, which the padding leaves as
/// they are.
pub const MAX_VALUE_BYTES: usize = (64 << 20) - LENGTHS;
/// The two lengths in front of a value.
const LENGTHS: usize = 8;
/// Small objects are few and written once, so they get more than a chunk does.
const COMPRESSION: Compression = Compression::Zstd(9);

/// Seals a value under an object's name.
pub fn seal(keys: &Keys, kind: ObjectKind, suite: Suite, name: &str, value: &[u8]) -> Result<Vec<u8>> {
    if value.len() > MAX_VALUE_BYTES {
        return Err(Error::invalid(format!(
            "cannot write {name}: its content has {} bytes, and no reader takes more than {MAX_VALUE_BYTES}. Nothing \
             was written; back up fewer namespaces at once",
            value.len()
        )));
    }
    let sealer = Sealer::create(keys, kind, Class::Meta, suite)?;
    seal_with(&sealer, name, value).map_err(|error| error.of(name))
}

/// Seals a value with a sealer that was made for it alone.
pub fn seal_with(sealer: &Sealer, name: &str, value: &[u8]) -> Result<Vec<u8>, FormatError> {
    if value.len() > MAX_VALUE_BYTES {
        return Err(FormatError::field("a value", format_args!("at most {MAX_VALUE_BYTES} bytes"), value.len()));
    }
    // The config may hold keys, which gain nothing from it.
    let compression = if sealer.header().kind == ObjectKind::Config { Compression::None } else { COMPRESSION };
    let packed = pack(compression, value);
    let mut bytes = Vec::with_capacity(HEADER_BYTES + packed.len() + TAG_BYTES);
    bytes.extend_from_slice(&sealer.header().encode());
    bytes.extend_from_slice(&packed);
    sealer.seal(0, name.as_bytes(), &mut bytes, HEADER_BYTES)?;
    Ok(bytes)
}

/// What is sealed of a value: its length there, its own length, the value, compressed if that makes it shorter, and
/// zeros up to the padded length.
pub(crate) fn pack(compression: Compression, value: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; LENGTHS];
    let packing = compress(compression, value, &mut bytes);
    let length = (bytes.len() - LENGTHS) as u32;
    let lengths = [length, packing.with_length(value.len() as u32)];
    bytes.iter_mut().zip(lengths.into_iter().flat_map(u32::to_le_bytes)).for_each(|(at, byte)| *at = byte);
    bytes.resize(padme(bytes.len() as u64) as usize, 0);
    bytes
}

/// Opens a sealed value.
pub fn unseal(keys: &Keys, kind: ObjectKind, name: &str, bytes: impl Into<Vec<u8>>) -> Result<Vec<u8>, FormatError> {
    let mut bytes = bytes.into();
    let sealer = Sealer::open(keys, kind, &bytes)?;
    let sealed = bytes.get_mut(HEADER_BYTES..).unwrap_or_default();
    unpack(sealer.unseal(0, name.as_bytes(), sealed)?, MAX_VALUE_BYTES as u32)
}

/// The value, of at most so many bytes, in what was sealed; it goes no further than the padded length.
pub(crate) fn unpack(mut sealed: &[u8], most: u32) -> Result<Vec<u8>, FormatError> {
    let whole = sealed.len() as u64;
    let length = take_u32(&mut sealed, "the length")?;
    let (packing, plain) = Packing::take(&mut sealed, "the length")?;
    let padded = padme(u64::from(length) + LENGTHS as u64);
    if length as usize > MAX_VALUE_BYTES || whole != padded {
        let expected = format_args!("{padded}, as for a value of {length} bytes").to_string();
        return Err(FormatError::field("the padded length", expected, whole));
    }
    let (packed, padding) = sealed.split_at_checked(length as usize).ok_or(FormatError::Cut("the value"))?;
    if padding.iter().any(|&byte| byte != 0) {
        return Err(FormatError::field("the padding", "zeros", "other bytes"));
    }
    decompress_within(packing, packed, plain, most)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "sessions/x";

    fn keys() -> Keys {
        Keys::derive(&[5; 32])
    }

    fn open(bytes: Vec<u8>) -> Result<Vec<u8>, FormatError> {
        unseal(&keys(), ObjectKind::Session, NAME, bytes)
    }

    #[test]
    fn what_compression_makes_shorter_is_compressed_but_for_the_config() {
        let value = b"the same again ".repeat(100);
        let sealed = seal(&keys(), ObjectKind::Session, Suite::Aes256Gcm, NAME, &value).unwrap();
        assert!(sealed.len() < 200, "{}", sealed.len());
        assert_eq!(open(sealed).unwrap(), value);
        let config = seal(&keys(), ObjectKind::Config, Suite::Aes256Gcm, NAME, &value).unwrap();
        assert!(config.len() > value.len());
        assert_eq!(unseal(&keys(), ObjectKind::Config, NAME, config).unwrap(), value);
        // Nothing is shorter than a few bytes that all differ.
        let noise: Vec<u8> = (0..=255).collect();
        let sealed = seal(&keys(), ObjectKind::Session, Suite::Aes256Gcm, NAME, &noise).unwrap();
        assert_eq!(sealed.len(), HEADER_BYTES + padme(256 + 8) as usize + TAG_BYTES);
        assert_eq!(open(sealed).unwrap(), noise);
    }

    /// A value in its two lengths and padding, as someone makes it who holds the key.
    fn packed(packing: Packing, plain: u32, value: &[u8]) -> Vec<u8> {
        let mut bytes =
            [&(value.len() as u32).to_le_bytes(), &packing.with_length(plain).to_le_bytes(), value].concat();
        bytes.resize(padme(bytes.len() as u64) as usize, 0);
        bytes
    }

    #[test]
    fn a_compressed_value_that_claims_another_length_or_too_great_a_one_is_refused() {
        let frame = |length: usize| {
            let mut out = Vec::new();
            assert_eq!(compress(COMPRESSION, &vec![7; length], &mut out), Packing::Zstd);
            out
        };
        assert_eq!(open(forged(&packed(Packing::Zstd, 1000, &frame(1000)))).unwrap(), [7; 1000]);
        let most = frame(MAX_VALUE_BYTES);
        assert!(most.len() < 10_000);
        assert_eq!(open(forged(&packed(Packing::Zstd, MAX_VALUE_BYTES as u32, &most))).unwrap().len(), MAX_VALUE_BYTES);
        for length in [0, 999, 1001, MAX_VALUE_BYTES as u32] {
            let error = open(forged(&packed(Packing::Zstd, length, &frame(1000)))).unwrap_err().to_string();
            assert!(error.contains("compressed bytes"), "{length}: {error}");
        }
        for length in [MAX_VALUE_BYTES as u32 + 1, 0x3fff_ffff] {
            for frame in [&frame(1000), &frame(MAX_VALUE_BYTES + 1)] {
                let error = open(forged(&packed(Packing::Zstd, length, frame))).unwrap_err().to_string();
                assert!(error.contains("a plain length: expected at most 67108856"), "{length}: {error}");
            }
        }
        // More than it says; as it is, but of another length; compressed in a way that is not known.
        assert!(open(forged(&packed(Packing::Zstd, 1000, &frame(MAX_VALUE_BYTES)))).is_err());
        assert!(open(forged(&packed(Packing::Stored, 4, b"12345"))).is_err());
        let mut unknown = packed(Packing::Stored, 5, b"12345");
        unknown[7] |= 0xc0;
        assert!(open(forged(&unknown)).unwrap_err().to_string().contains("0, 1 or 2"));
    }

    /// An object with any plaintext, as someone makes it who holds the key.
    fn forged(plain: &[u8]) -> Vec<u8> {
        let sealer = Sealer::create(&keys(), ObjectKind::Session, Class::Meta, Suite::Aes256Gcm).unwrap();
        let mut bytes = sealer.header().encode().to_vec();
        bytes.extend_from_slice(plain);
        sealer.seal(0, NAME.as_bytes(), &mut bytes, HEADER_BYTES).unwrap();
        bytes
    }

    #[test]
    fn the_longest_value_comes_back_and_a_longer_one_is_not_written() {
        let mut value = vec![1; MAX_VALUE_BYTES];
        let sealed = seal(&keys(), ObjectKind::Session, Suite::Aes256Gcm, NAME, &value).unwrap();
        assert!(sealed.len() as u64 <= MAX_SEALED_BYTES);
        assert!(open(sealed).unwrap() == value);
        value.push(1);
        let error = seal(&keys(), ObjectKind::Session, Suite::Aes256Gcm, NAME, &value).unwrap_err();
        assert!(matches!(error, Error::Invalid(_)) && error.to_string().contains("67108857 bytes"), "{error}");
        let sealer = Sealer::create(&keys(), ObjectKind::Session, Class::Meta, Suite::Aes256Gcm).unwrap();
        assert!(seal_with(&sealer, NAME, &value).is_err());
    }

    #[test]
    fn padding_is_zeros_up_to_the_padded_length_and_no_further() {
        // A value of 9 bytes: 17 with its lengths, 18 padded.
        let plain = |tail: &[u8]| [&9u32.to_le_bytes()[..], &9u32.to_le_bytes(), b"123456789", tail].concat();
        assert_eq!(open(forged(&plain(&[0]))).unwrap(), b"123456789");
        for (tail, word) in [(&[1][..], "zeros"), (&[], "padded length"), (&[0, 0], "padded length")] {
            let error = open(forged(&plain(tail))).unwrap_err().to_string();
            assert!(error.contains(word), "{tail:?}: {error}");
        }
        for plain in [&[][..], &[1, 0, 0], &[0xff; 4], &[0xff; 64]] {
            assert!(open(forged(plain)).is_err(), "{plain:?}");
        }
    }
}
