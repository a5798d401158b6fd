//! Sealing bytes at a place within one object.

use super::keys::Keys;
use crate::error::{AbsentSecret, Result};
use crate::format::FormatError;
use crate::format::header::{Class, Header, ObjectKind, Suite, TAG_BYTES};
use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes256Gcm, Nonce};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

enum Cipher {
    Aes(Box<Aes256Gcm>),
    ChaCha(Box<XChaCha20Poly1305>),
}

/// Seals and opens the parts of one object. Each part has its place as nonce, so no place may be sealed twice.
pub struct Sealer {
    header: Header,
    cipher: Cipher,
    padding: Zeroizing<[u8; 32]>,
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sealer({:?})", self.header.kind)
    }
}

/// The suite that this processor does well.
pub fn preferred() -> Suite {
    #[cfg(any(target_arch = "x86_64", target_arch = "x86"))]
    let fast = std::arch::is_x86_feature_detected!("aes") && std::arch::is_x86_feature_detected!("pclmulqdq");
    #[cfg(target_arch = "aarch64")]
    let fast = std::arch::is_aarch64_feature_detected!("aes");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "x86", target_arch = "aarch64")))]
    let fast = false;
    if fast { Suite::Aes256Gcm } else { Suite::XChaCha20Poly1305 }
}

/// The subkey of an object, the commitment to it, and the key of its padding: the first, second and third 32 bytes of
/// keyed BLAKE3, in extended output, over the header's first 40 bytes.
type Subkey = (Zeroizing<[u8; 32]>, [u8; 32], Zeroizing<[u8; 32]>);

fn subkey(keys: &Keys, header: &Header) -> Result<Subkey, AbsentSecret> {
    let mut output = blake3::Hasher::new_keyed(keys.class(header.class)?).update(&header.prefix()).finalize_xof();
    let (mut key, mut commitment, mut padding) = (Zeroizing::new([0; 32]), [0; 32], Zeroizing::new([0; 32]));
    output.fill(&mut *key);
    output.fill(&mut commitment);
    output.fill(&mut *padding);
    Ok((key, commitment, padding))
}

impl Sealer {
    /// A sealer for a new object, with a fresh salt.
    pub fn create(keys: &Keys, kind: ObjectKind, class: Class, suite: Suite) -> Result<Self> {
        Ok(Self::with_salt(keys, kind, class, suite, super::random()?)?)
    }

    /// A sealer with a given salt. Only for test vectors: a salt must never be used twice.
    pub fn with_salt(
        keys: &Keys,
        kind: ObjectKind,
        class: Class,
        suite: Suite,
        salt: [u8; 32],
    ) -> Result<Self, AbsentSecret> {
        let mut header = Header { kind, suite, scheme: 0, class, salt, commitment: [0; 32] };
        let (key, commitment, padding) = subkey(keys, &header)?;
        header.commitment = commitment;
        Ok(Sealer { cipher: Self::cipher(suite, &key), header, padding })
    }

    /// Opens an object by its header; the commitment must be that of this repository's key.
    pub fn open(keys: &Keys, kind: ObjectKind, bytes: &[u8]) -> Result<Self, FormatError> {
        let header = Header::decode(kind, bytes)?;
        let (key, commitment, padding) = subkey(keys, &header)?;
        if !bool::from(commitment.ct_eq(&header.commitment)) {
            return Err(FormatError::field("the key commitment", "this repository's key", "another one"));
        }
        Ok(Sealer { cipher: Self::cipher(header.suite, &key), header, padding })
    }

    fn cipher(suite: Suite, key: &[u8; 32]) -> Cipher {
        match suite {
            Suite::Aes256Gcm => Cipher::Aes(Box::new(Aes256Gcm::new(key.into()))),
            Suite::XChaCha20Poly1305 => Cipher::ChaCha(Box::new(XChaCha20Poly1305::new(key.into()))),
        }
    }

    /// The object's header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The nonce for a place: for AES-256-GCM four zero bytes and the place, for XChaCha20-Poly1305 sixteen and the
    /// place, little endian.
    fn nonces(place: u64) -> (Nonce<aes_gcm::aes::cipher::consts::U12>, XNonce) {
        let (mut short, mut long) = ([0; 12], [0; 24]);
        short[4..].copy_from_slice(&place.to_le_bytes());
        long[16..].copy_from_slice(&place.to_le_bytes());
        (short.into(), long.into())
    }

    /// Seals `buffer[from..]` in place and appends the tag.
    pub fn seal(&self, place: u64, associated: &[u8], buffer: &mut Vec<u8>, from: usize) -> Result<(), FormatError> {
        let (short, long) = Self::nonces(place);
        let length = buffer.len();
        let beyond = || FormatError::field("where the bytes to seal begin", format!("at most {length}"), from);
        let plain = buffer.get_mut(from..).ok_or_else(beyond)?;
        let too_long = |_| FormatError::field("bytes to seal", "a length that the suite takes", "more");
        match &self.cipher {
            Cipher::Aes(cipher) => {
                let tag = cipher.encrypt_inout_detached(&short, associated, plain.into()).map_err(too_long)?;
                buffer.extend_from_slice(&tag);
            }
            Cipher::ChaCha(cipher) => {
                let tag = cipher.encrypt_inout_detached(&long, associated, plain.into()).map_err(too_long)?;
                buffer.extend_from_slice(&tag);
            }
        }
        Ok(())
    }

    /// Opens `sealed` in place and gives back the plaintext; fails if a bit of it, its place or the associated data
    /// differs.
    pub fn unseal<'a>(&self, place: u64, associated: &[u8], sealed: &'a mut [u8]) -> Result<&'a [u8], FormatError> {
        let (short, long) = Self::nonces(place);
        let wrong = |_| FormatError::field("the authentication tag", "one that fits", "one that does not");
        let split = sealed.len().checked_sub(TAG_BYTES).ok_or(FormatError::Cut("a sealed part"))?;
        let (plain, tag) = sealed.split_at_mut(split);
        let tag: [u8; TAG_BYTES] = (&*tag).try_into().map_err(|_| FormatError::Cut("a tag"))?;
        match &self.cipher {
            Cipher::Aes(cipher) => {
                cipher.decrypt_inout_detached(&short, associated, (&mut *plain).into(), &tag.into()).map_err(wrong)?;
            }
            Cipher::ChaCha(cipher) => {
                cipher.decrypt_inout_detached(&long, associated, (&mut *plain).into(), &tag.into()).map_err(wrong)?;
            }
        }
        Ok(plain)
    }

    /// Bytes that nobody without the key can tell from ciphertext: keyed BLAKE3 of nothing, in extended output.
    pub fn padding(&self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        blake3::Hasher::new_keyed(&self.padding).finalize_xof().fill(&mut bytes);
        bytes
    }
}
