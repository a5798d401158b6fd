//! Keys and bins as programs write them: owned, with their particle bytes.

use super::{BinRef, Digest, KeyRef, ParticleType};
use std::borrow::Cow;

/// A user key: its particle type and bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Key {
    /// INTEGER, DOUBLE, STRING or BLOB.
    pub particle: ParticleType,
    /// Its bytes as on the wire.
    pub bytes: Vec<u8>,
}

impl Key {
    /// The same key, borrowed.
    pub fn as_ref(&self) -> KeyRef<'_> {
        KeyRef { particle: self.particle, bytes: &self.bytes }
    }

    /// The digest of the record with this key in `set`.
    pub fn digest(&self, set: &[u8]) -> Digest {
        Digest::compute(set, self.particle, &self.bytes)
    }
}

macro_rules! keys_from_integers {
    ($($integer:ty)*) => {
        $(impl From<$integer> for Key {
            fn from(value: $integer) -> Self {
                Key { particle: ParticleType::INTEGER, bytes: i64::from(value).to_be_bytes().to_vec() }
            }
        })*
    };
}

keys_from_integers! { i64 i32 i16 i8 u32 u16 u8 }

impl From<&str> for Key {
    fn from(value: &str) -> Self {
        Key::from(value.to_string())
    }
}

impl From<&String> for Key {
    fn from(value: &String) -> Self {
        Key::from(value.clone())
    }
}

impl From<String> for Key {
    fn from(value: String) -> Self {
        Key { particle: ParticleType::STRING, bytes: value.into_bytes() }
    }
}

impl From<Vec<u8>> for Key {
    fn from(bytes: Vec<u8>) -> Self {
        Key { particle: ParticleType::BLOB, bytes }
    }
}

impl From<&[u8]> for Key {
    fn from(value: &[u8]) -> Self {
        Key::from(value.to_vec())
    }
}

impl From<KeyRef<'_>> for Key {
    fn from(key: KeyRef<'_>) -> Self {
        Key { particle: key.particle, bytes: key.bytes.to_vec() }
    }
}

/// A bin: its name, particle type and bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bin {
    /// Its name.
    pub name: Cow<'static, [u8]>,
    /// What the bytes mean.
    pub particle: ParticleType,
    /// The particle's bytes as on the wire.
    pub bytes: Vec<u8>,
}

impl Bin {
    /// A bin of any type, from its particle bytes.
    pub fn raw(name: &'static str, particle: ParticleType, bytes: impl Into<Vec<u8>>) -> Self {
        Bin { name: Cow::Borrowed(name.as_bytes()), particle, bytes: bytes.into() }
    }

    /// An integer.
    pub fn integer(name: &'static str, value: i64) -> Self {
        Self::raw(name, ParticleType::INTEGER, value.to_be_bytes())
    }

    /// A double.
    pub fn double(name: &'static str, value: f64) -> Self {
        Self::raw(name, ParticleType::DOUBLE, value.to_bits().to_be_bytes())
    }

    /// A string.
    pub fn string(name: &'static str, value: &str) -> Self {
        Self::raw(name, ParticleType::STRING, value.as_bytes())
    }

    /// Bytes.
    pub fn blob(name: &'static str, value: &[u8]) -> Self {
        Self::raw(name, ParticleType::BLOB, value)
    }

    /// A boolean.
    pub fn boolean(name: &'static str, value: bool) -> Self {
        Self::raw(name, ParticleType::BOOL, [u8::from(value)])
    }

    /// GeoJSON, from its text; no flags, no cells.
    pub fn geojson(name: &'static str, text: &str) -> Self {
        let mut bytes = vec![0; 3];
        bytes.extend_from_slice(text.as_bytes());
        Self::raw(name, ParticleType::GEOJSON, bytes)
    }

    /// The same bin, borrowed.
    pub fn as_ref(&self) -> BinRef<'_> {
        BinRef { name: &self.name, particle: self.particle, bytes: &self.bytes }
    }
}

impl From<BinRef<'_>> for Bin {
    fn from(bin: BinRef<'_>) -> Self {
        Bin { name: Cow::Owned(bin.name.to_vec()), particle: bin.particle, bytes: bin.bytes.to_vec() }
    }
}
