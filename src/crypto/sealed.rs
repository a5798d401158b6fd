//! Sealed values: the small objects (config, sessions, snapshots, plans) as one sealed part behind a header.
//!
//! The plaintext is a 32-bit length, the value, and zeros up to the Padmé length. The associated data is the object's name, so
//! that one object can't stand in for another.

use super::keys::Keys;
use super::suite::Sealer;
use crate::error::Result;
use crate::format::header::{Class, HEADER_BYTES, ObjectKind, Suite};
use crate::format::padding::padme;
use crate::format::{FormatError, take_u32};

/// A sealed value is at most this long: 64 MiB and a little.
pub const MAX_SEALED_BYTES: u64 = (64 << 20) + (1 << 20);

/// Seals a value under an object's name.
pub fn seal(keys: &Keys, kind: ObjectKind, suite: Suite, name: &str, value: &[u8]) -> Result<Vec<u8>> {
    let sealer = Sealer::create(keys, kind, Class::Meta, suite)?;
    seal_with(&sealer, name, value).map_err(|error| error.of(name))
}

/// Seals a value with a sealer that was made for it alone.
pub fn seal_with(sealer: &Sealer, name: &str, value: &[u8]) -> Result<Vec<u8>, FormatError> {
    let length = u32::try_from(value.len()).map_err(|_| FormatError::field("a value", "at most 4 GiB", value.len()))?;
    let padded = padme(value.len() as u64 + 4) as usize;
    let mut bytes = Vec::with_capacity(HEADER_BYTES + padded + 16);
    bytes.extend_from_slice(&sealer.header().encode());
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(value);
    bytes.resize(HEADER_BYTES + padded, 0);
    sealer.seal(0, name.as_bytes(), &mut bytes, HEADER_BYTES)?;
    Ok(bytes)
}

/// Opens a sealed value.
pub fn unseal(keys: &Keys, kind: ObjectKind, name: &str, mut bytes: Vec<u8>) -> Result<Vec<u8>, FormatError> {
    let sealer = Sealer::open(keys, kind, &bytes)?;
    let sealed = bytes.get_mut(HEADER_BYTES..).unwrap_or_default();
    let mut plain = sealer.unseal(0, name.as_bytes(), sealed)?;
    let length = take_u32(&mut plain, "the length")? as usize;
    let value = plain.get(..length).ok_or(FormatError::Cut("the value"))?;
    Ok(value.to_vec())
}
