//! The names of things: fixed-width identifiers that print as hexadecimal.

use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $bytes:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub struct $name(pub [u8; $bytes]);

        impl $name {
            /// Its width in bytes.
            pub const BYTES: usize = $bytes;

            /// Parses the hexadecimal form.
            pub fn from_hex(text: &str) -> Option<Self> {
                let mut bytes = [0; $bytes];
                hex::decode_to_slice(text, &mut bytes).ok()?;
                Some(Self(bytes))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }
    };
}

id!(
    /// A chunk's name: keyed BLAKE3 of its plaintext.
    ChunkId, 32
);
id!(
    /// A pack's name: BLAKE3 of the object's bytes.
    PackId, 32
);
id!(
    /// A snapshot's name, and that of the session that becomes it: random.
    SnapshotId, 16
);
id!(
    /// A key slot's name: the first bytes of BLAKE3 of the object's bytes.
    KeyId, 16
);
id!(
    /// A hold's name: random.
    HoldId, 16
);
id!(
    /// The name of changes to a snapshot's labels: random.
    TagsId, 16
);
id!(
    /// The name of a fold of names or of history: random.
    FoldId, 16
);
id!(
    /// A repository's name: random.
    RepositoryId, 16
);
