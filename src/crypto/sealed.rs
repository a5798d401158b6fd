//! Sealed values: the small objects (config, sessions, snapshots, plans) as one sealed part after a header.
//!
//! The plaintext is a 32-bit length, the value, and zeros up to the Padmé length. The associated data is the object's
//! name, so that one object can't stand in for another.

use super::keys::Keys;
use super::suite::Sealer;
use crate::error::{Error, Result};
use crate::format::header::{Class, HEADER_BYTES, ObjectKind, Suite};
use crate::format::padding::padme;
use crate::format::{FormatError, take_u32};

/// An object that holds a sealed value has at most this many bytes: 65 MiB.
pub const MAX_SEALED_BYTES: u64 = (64 << 20) + (1 << 20);
/// A value that is sealed has at most this many bytes: with its length it takes 64 MiB, which the padding leaves as
/// they are.
pub const MAX_VALUE_BYTES: usize = (64 << 20) - 4;

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
    let padded = padme(value.len() as u64 + 4) as usize;
    let mut bytes = Vec::with_capacity(HEADER_BYTES + padded + 16);
    bytes.extend_from_slice(&sealer.header().encode());
    bytes.extend_from_slice(&(value.len() as u32).to_le_bytes());
    bytes.extend_from_slice(value);
    bytes.resize(HEADER_BYTES + padded, 0);
    sealer.seal(0, name.as_bytes(), &mut bytes, HEADER_BYTES)?;
    Ok(bytes)
}

/// Opens a sealed value.
pub fn unseal(keys: &Keys, kind: ObjectKind, name: &str, bytes: impl Into<Vec<u8>>) -> Result<Vec<u8>, FormatError> {
    let mut bytes = bytes.into();
    let sealer = Sealer::open(keys, kind, &bytes)?;
    let sealed = bytes.get_mut(HEADER_BYTES..).unwrap_or_default();
    unpad(sealer.unseal(0, name.as_bytes(), sealed)?).map(<[u8]>::to_vec)
}

/// The value in what was sealed: a length, the value, zeros up to the padded length and no further.
pub(crate) fn unpad(mut plain: &[u8]) -> Result<&[u8], FormatError> {
    let whole = plain.len() as u64;
    let length = take_u32(&mut plain, "the length")?;
    let padded = padme(u64::from(length) + 4);
    if length as usize > MAX_VALUE_BYTES || whole != padded {
        let expected = format_args!("{padded}, as for a value of {length} bytes").to_string();
        return Err(FormatError::field("the padded length", expected, whole));
    }
    let (value, padding) = plain.split_at_checked(length as usize).ok_or(FormatError::Cut("the value"))?;
    if padding.iter().any(|&byte| byte != 0) {
        return Err(FormatError::field("the padding", "zeros", "other bytes"));
    }
    Ok(value)
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
        assert!(matches!(error, Error::Invalid(_)) && error.to_string().contains("67108861 bytes"), "{error}");
        let sealer = Sealer::create(&keys(), ObjectKind::Session, Class::Meta, Suite::Aes256Gcm).unwrap();
        assert!(seal_with(&sealer, NAME, &value).is_err());
    }

    #[test]
    fn padding_is_zeros_up_to_the_padded_length_and_no_further() {
        // A value of 9 bytes: 13 with its length, 14 padded.
        let plain = |tail: &[u8]| [&9u32.to_le_bytes()[..], b"123456789", tail].concat();
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
