//! The 72-byte header that begins every sealed object.
//!
//! ```text
//!  0  4  magic, by kind of object
//!  4  1  format version
//!  5  1  suite: 1 AES-256-GCM, 2 XChaCha20-Poly1305
//!  6  1  key scheme: 0 = subkey derived from the class key
//!  7  1  class: which class key
//!  8 32  salt, random
//! 40 32  key commitment
//! ```

use super::{FORMAT_VERSION, FormatError, take_array, take_u8};
use serde::{Deserialize, Serialize};

/// The header's length in bytes.
pub const HEADER_BYTES: usize = 72;
/// The length of an authentication tag in bytes, the same for both suites.
pub const TAG_BYTES: usize = 16;

/// What an object is; each has its own magic.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ObjectKind {
    /// The sealed parameters in `config`.
    Config,
    /// A pack.
    Pack,
    /// An index segment.
    Index,
    /// A session.
    Session,
    /// A snapshot's manifest.
    Snapshot,
    /// A collection's plan.
    Plan,
    /// A hold.
    Hold,
    /// Changes of a snapshot's labels.
    Tags,
    /// Names of sessions that are folded.
    Fold,
    /// What became of sessions that are folded.
    History,
}

impl ObjectKind {
    /// The four bytes that begin such an object.
    pub fn magic(self) -> [u8; 4] {
        match self {
            ObjectKind::Config => *b"ALcf",
            ObjectKind::Pack => *b"ALpk",
            ObjectKind::Index => *b"ALix",
            ObjectKind::Session => *b"ALse",
            ObjectKind::Snapshot => *b"ALsn",
            ObjectKind::Plan => *b"ALgc",
            ObjectKind::Hold => *b"ALho",
            ObjectKind::Tags => *b"ALta",
            ObjectKind::Fold => *b"ALfo",
            ObjectKind::History => *b"ALhi",
        }
    }

    /// Whether such an object may be sealed under this class's key.
    pub fn takes(self, class: Class) -> bool {
        match self {
            ObjectKind::Pack => matches!(class, Class::Tree | Class::Data),
            ObjectKind::Index => class == Class::Index,
            ObjectKind::Config
            | ObjectKind::Session
            | ObjectKind::Snapshot
            | ObjectKind::Plan
            | ObjectKind::Hold
            | ObjectKind::Tags
            | ObjectKind::Fold
            | ObjectKind::History => class == Class::Meta,
        }
    }
}

/// An authenticated cipher.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Suite {
    /// AES-256 in Galois/counter mode (NIST SP 800-38D), 96-bit nonce.
    Aes256Gcm,
    /// XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03), 192-bit nonce.
    XChaCha20Poly1305,
}

impl Suite {
    /// Its number in headers.
    pub fn number(self) -> u8 {
        match self {
            Suite::Aes256Gcm => 1,
            Suite::XChaCha20Poly1305 => 2,
        }
    }

    /// The suite with this number.
    pub fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Suite::Aes256Gcm),
            2 => Some(Suite::XChaCha20Poly1305),
            _ => None,
        }
    }
}

/// Which class key an object's subkey comes from.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Class {
    /// Chunks of entries, branch nodes and metadata: what collection and inspection read.
    Tree,
    /// Chunks of values and stream contents.
    Data,
    /// Index segments.
    Index,
    /// Config, sessions, snapshots, plans, holds, labels and folds.
    Meta,
}

impl Class {
    /// Its number in headers.
    pub fn number(self) -> u8 {
        match self {
            Class::Tree => 1,
            Class::Data => 2,
            Class::Index => 3,
            Class::Meta => 4,
        }
    }

    /// The class with this number.
    pub fn from_number(number: u8) -> Option<Self> {
        [Class::Tree, Class::Data, Class::Index, Class::Meta].into_iter().find(|c| c.number() == number)
    }
}

/// The first bytes of a sealed object.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Header {
    /// What the object is.
    pub kind: ObjectKind,
    /// How it is committed.
    pub suite: Suite,
    /// How its subkey is had: 0 derives it from the class key.
    pub scheme: u8,
    /// Which class key.
    pub class: Class,
    /// Random; makes the subkey.
    pub salt: [u8; 32],
    /// Ties the object to one subkey.
    pub commitment: [u8; 32],
}

impl Header {
    /// The bytes that the subkey is derived over: all but the commitment.
    pub fn prefix(&self) -> [u8; 40] {
        let mut bytes = [0; 40];
        bytes[..4].copy_from_slice(&self.kind.magic());
        bytes[4..8].copy_from_slice(&[FORMAT_VERSION, self.suite.number(), self.scheme, self.class.number()]);
        bytes[8..].copy_from_slice(&self.salt);
        bytes
    }

    /// The whole header.
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..40].copy_from_slice(&self.prefix());
        bytes[40..].copy_from_slice(&self.commitment);
        bytes
    }

    /// Reads the header at the front of an object of this kind.
    ///
    /// # Errors
    ///
    /// If the bytes are not those that the format defines; the error says what was expected and what was found.
    pub fn decode(kind: ObjectKind, mut bytes: &[u8]) -> Result<Self, FormatError> {
        let input = &mut bytes;
        let magic: [u8; 4] = take_array(input, "the header")?;
        if magic != kind.magic() {
            return Err(FormatError::field(
                "magic",
                String::from_utf8_lossy(&kind.magic()),
                String::from_utf8_lossy(&magic).escape_debug(),
            ));
        }
        let version = take_u8(input, "the header")?;
        if version != FORMAT_VERSION {
            return Err(FormatError::Version(version));
        }
        let suite = take_u8(input, "the header")?;
        let suite = Suite::from_number(suite).ok_or_else(|| FormatError::field("suite", "1 or 2", suite))?;
        let scheme = take_u8(input, "the header")?;
        if scheme != 0 {
            return Err(FormatError::field("key scheme", "0", scheme));
        }
        let class = take_u8(input, "the header")?;
        let class = Class::from_number(class)
            .filter(|&class| kind.takes(class))
            .ok_or_else(|| FormatError::field("class", format_args!("one of a {kind:?} object"), class))?;
        let salt = take_array(input, "the header")?;
        let commitment = take_array(input, "the header")?;
        Ok(Header { kind, suite, scheme, class, salt, commitment })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: [ObjectKind; 6] = [
        ObjectKind::Config,
        ObjectKind::Pack,
        ObjectKind::Index,
        ObjectKind::Session,
        ObjectKind::Snapshot,
        ObjectKind::Plan,
    ];

    #[test]
    fn an_object_under_the_key_of_another_kind_is_refused() {
        let mut taken = Vec::new();
        for kind in KINDS {
            for class in [Class::Tree, Class::Data, Class::Index, Class::Meta] {
                let suite = Suite::Aes256Gcm;
                let header = Header { kind, suite, scheme: 0, class, salt: [1; 32], commitment: [2; 32] };
                match Header::decode(kind, &header.encode()) {
                    Ok(found) => {
                        assert_eq!(found, header);
                        taken.push((kind.magic(), class.number()));
                    }
                    Err(error) => assert!(error.to_string().contains("class"), "{error}"),
                }
            }
        }
        let expected =
            [(b"ALcf", 4), (b"ALpk", 1), (b"ALpk", 2), (b"ALix", 3), (b"ALse", 4), (b"ALsn", 4), (b"ALgc", 4)];
        assert_eq!(taken, expected.map(|(magic, class)| (*magic, class)));
    }
}
