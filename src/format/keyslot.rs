//! Key slots: the master key, wrapped once for each way in.
//!
//! ```text
//!   0  4  magic "ALky"
//!   4  1  format version
//!   5  1  kind: 1 = passphrase by Argon2id
//!   6  2  zero
//!   8  4  Argon2id memory in KiB
//!  12  4  Argon2id passes
//!  16  4  Argon2id lanes
//!  20 32  Argon2id salt
//!  52 24  nonce
//!  76 ..  XChaCha20-Poly1305 of: master key (32), created (8), label length (1), label (64, zero padded); tag (16)
//! ```

use super::{FORMAT_VERSION, FormatError, take_array, take_slice, take_u8, take_u32, take_u64};
use zeroize::{Zeroize, Zeroizing};

/// The length in bytes of what comes before the ciphertext; it is the ciphertext's associated data, after the
/// repository id.
pub const SLOT_HEADER_BYTES: usize = 76;
/// The length of the secret part in bytes.
pub const SLOT_SECRET_BYTES: usize = 32 + 8 + 1 + 64;
/// A slot's length in bytes.
pub const SLOT_BYTES: usize = SLOT_HEADER_BYTES + SLOT_SECRET_BYTES + 16;
/// The longest label in bytes.
pub const MAX_LABEL_BYTES: usize = 64;

/// Argon2id's cost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KdfCost {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over the memory.
    pub passes: u32,
    /// Lanes.
    pub lanes: u32,
}

impl KdfCost {
    /// RFC 9106, section 4, second recommended option: 64 MiB, 3 passes, 4 lanes.
    pub const RECOMMENDED: KdfCost = KdfCost { memory_kib: 64 << 10, passes: 3, lanes: 4 };
    /// The least that Argon2id takes. For tests only: it protects no passphrase.
    pub const WEAK: KdfCost = KdfCost { memory_kib: 8, passes: 1, lanes: 1 };

    /// The most [`KdfCost::work`] that a slot may ask for: 64 GiB gone through once.
    pub const MAX_WORK: u64 = 64 << 20;

    /// How much memory is gone through in all, in KiB: the time that it takes.
    pub fn work(&self) -> u64 {
        u64::from(self.memory_kib) * u64::from(self.passes)
    }

    /// Whether a slot may ask for this much: at most 4 GiB, 64 passes, 64 GiB in all passes, and 16 lanes, so that a
    /// hostile store can't exhaust the machine.
    pub fn is_valid(&self) -> bool {
        self.work() <= Self::MAX_WORK
            && (1..=16).contains(&self.lanes)
            && (1..=64).contains(&self.passes)
            && (8 * self.lanes..=4 << 20).contains(&self.memory_kib)
    }
}

/// The part of a slot that is not secret.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SlotHeader {
    /// Argon2id's cost.
    pub cost: KdfCost,
    /// Argon2id's salt.
    pub salt: [u8; 32],
    /// The wrapping's nonce.
    pub nonce: [u8; 24],
}

impl SlotHeader {
    /// Its bytes.
    pub fn encode(&self) -> [u8; SLOT_HEADER_BYTES] {
        let mut bytes = [0; SLOT_HEADER_BYTES];
        bytes[..4].copy_from_slice(b"ALky");
        bytes[4] = FORMAT_VERSION;
        bytes[5] = 1;
        bytes[8..12].copy_from_slice(&self.cost.memory_kib.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.cost.passes.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.cost.lanes.to_le_bytes());
        bytes[20..52].copy_from_slice(&self.salt);
        bytes[52..].copy_from_slice(&self.nonce);
        bytes
    }

    /// Reads a slot's header, and gives back the ciphertext after it.
    ///
    /// # Errors
    ///
    /// If the bytes are not those that the format defines; the error says what was expected and what was found.
    pub fn decode(mut bytes: &[u8]) -> Result<(Self, &[u8]), FormatError> {
        let input = &mut bytes;
        let magic: [u8; 4] = take_array(input, "the slot's header")?;
        if magic != *b"ALky" {
            return Err(FormatError::field("magic", "ALky", String::from_utf8_lossy(&magic).escape_debug()));
        }
        let version = take_u8(input, "the slot's header")?;
        if version != FORMAT_VERSION {
            return Err(FormatError::Version(version));
        }
        let kind = take_u8(input, "the slot's header")?;
        if kind != 1 {
            return Err(FormatError::field("the slot's kind", "1 (passphrase)", kind));
        }
        let zero: [u8; 2] = take_array(input, "the slot's header")?;
        if zero != [0; 2] {
            return Err(FormatError::field("the slot's reserved bytes", "zero", format!("{zero:?}")));
        }
        let cost = KdfCost {
            memory_kib: take_u32(input, "the slot's header")?,
            passes: take_u32(input, "the slot's header")?,
            lanes: take_u32(input, "the slot's header")?,
        };
        if !cost.is_valid() {
            return Err(FormatError::field("Argon2id's cost", "within bounds", format!("{cost:?}")));
        }
        let salt = take_array(input, "the slot's header")?;
        let nonce = take_array(input, "the slot's header")?;
        if input.len() != SLOT_SECRET_BYTES + 16 {
            return Err(FormatError::field("the slot's size", SLOT_BYTES, SLOT_HEADER_BYTES + input.len()));
        }
        Ok((SlotHeader { cost, salt, nonce }, input))
    }
}

/// The secret part of a slot. Wiped when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct SlotSecret {
    /// The repository's master key.
    pub master: Zeroizing<[u8; 32]>,
    /// When the slot was made, in milliseconds since the Unix epoch.
    pub created: u64,
    /// What the user calls it; at most [`MAX_LABEL_BYTES`].
    pub label: String,
}

impl SlotSecret {
    /// Its bytes.
    ///
    /// # Errors
    ///
    /// If the label is longer than a slot takes.
    #[expect(clippy::indexing_slicing, reason = "the label was found to be short enough")]
    pub fn encode(&self) -> Result<Zeroizing<[u8; SLOT_SECRET_BYTES]>, FormatError> {
        let label = self.label.as_bytes();
        if label.len() > MAX_LABEL_BYTES {
            return Err(FormatError::field("the label", format_args!("at most {MAX_LABEL_BYTES} bytes"), label.len()));
        }
        let mut bytes = Zeroizing::new([0; SLOT_SECRET_BYTES]);
        bytes[..32].copy_from_slice(&*self.master);
        bytes[32..40].copy_from_slice(&self.created.to_le_bytes());
        bytes[40] = label.len() as u8;
        bytes[41..41 + label.len()].copy_from_slice(label);
        Ok(bytes)
    }

    /// Reads the decrypted secret part.
    ///
    /// # Errors
    ///
    /// If the bytes are not those that the format defines; the error says what was expected and what was found.
    pub fn decode(mut bytes: &[u8]) -> Result<Self, FormatError> {
        let input = &mut bytes;
        let mut bare: [u8; 32] = take_array(input, "the slot")?;
        let master = Zeroizing::new(bare);
        bare.zeroize();
        let created = take_u64(input, "the slot")?;
        let length = usize::from(take_u8(input, "the slot")?);
        if length > MAX_LABEL_BYTES {
            return Err(FormatError::field("the label's length", format_args!("at most {MAX_LABEL_BYTES}"), length));
        }
        let label = take_slice(input, length, "the slot")?;
        let label = std::str::from_utf8(label)
            .map_err(|_| FormatError::field("the label", "UTF-8", label.escape_ascii()))?
            .to_string();
        let rest = take_slice(input, MAX_LABEL_BYTES - length, "the slot")?;
        if rest.iter().any(|&byte| byte != 0) || !input.is_empty() {
            return Err(FormatError::field("the bytes after the label", "zeros up to 64", "something else"));
        }
        Ok(SlotSecret { master, created, label })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(label: &str) -> SlotSecret {
        SlotSecret { master: Zeroizing::new([7; 32]), created: 9, label: label.into() }
    }

    fn refused(bytes: &[u8], word: &str) {
        let error = SlotSecret::decode(bytes).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains(word), "{word}: {error:?}");
    }

    #[test]
    fn labels_of_every_length_come_back() {
        for label in ["", "first", &"ü".repeat(32)] {
            assert!(SlotSecret::decode(&*secret(label).encode().unwrap()).unwrap() == secret(label));
        }
        assert!(secret(&"x".repeat(65)).encode().is_err());
    }

    #[test]
    fn a_label_that_is_too_long_or_no_text_is_refused() {
        let mut bytes = *secret(&"x".repeat(64)).encode().unwrap();
        bytes[40] = 65;
        refused(&bytes, "at most 64");
        bytes[40] = 64;
        bytes[60] = 0xff;
        refused(&bytes, "UTF-8");
    }

    #[test]
    fn anything_behind_the_label_is_refused() {
        let mut bytes = secret("x").encode().unwrap().to_vec();
        bytes[SLOT_SECRET_BYTES - 1] = 1;
        refused(&bytes, "after the label");
        bytes[SLOT_SECRET_BYTES - 1] = 0;
        bytes.push(0);
        refused(&bytes, "after the label");
        refused(&bytes[..SLOT_SECRET_BYTES - 1], "cut off");
    }
}
