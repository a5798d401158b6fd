//! Encrypts files as asbackup does: the form is described in [`super::container`].

use super::container::key_stream;
use super::key::FileKey;
use crate::error::Result;
use crate::secret::SecretSource;
use aes::cipher::StreamCipher;
use std::io::{self, Write};

/// The cipher of encrypted `.asb` files, as asbackup's `--encrypt` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum AsbCipher {
    /// AES with a key of 128 bits, in counter mode.
    Aes128,
    /// AES with a key of 256 bits, in counter mode.
    #[default]
    Aes256,
}

/// The key and the cipher of files that are written.
pub(crate) struct Encryption {
    key: FileKey,
    cipher: AsbCipher,
}

impl Encryption {
    /// Reads the key: a private key (PEM, RSA).
    pub(crate) fn read(key: &SecretSource, cipher: AsbCipher) -> Result<Self> {
        Ok(Self { key: FileKey::read(key)?, cipher })
    }

    /// Begins a file: the bytes with which it begins, and what encrypts the others. No two files begin alike.
    pub(crate) fn begin(&self) -> Result<([u8; 16], EncryptedWriter)> {
        let first = crate::crypto::random()?;
        let bits = match self.cipher {
            AsbCipher::Aes128 => 128,
            AsbCipher::Aes256 => 256,
        };
        let cipher = key_stream(&self.key, bits, &first);
        Ok((first, EncryptedWriter { cipher, buffer: Vec::new() }))
    }
}

/// Encrypts what is written into one file.
pub(crate) struct EncryptedWriter {
    cipher: Box<dyn StreamCipher + Send>,
    buffer: Vec<u8>,
}

impl EncryptedWriter {
    /// How much is encrypted at a time, in bytes.
    const STEP: usize = 64 << 10;

    /// Writes the bytes, encrypted, to `output`.
    pub(crate) fn write_all(&mut self, output: &mut dyn Write, bytes: &[u8]) -> io::Result<()> {
        for part in bytes.chunks(Self::STEP) {
            self.buffer.clear();
            self.buffer.extend_from_slice(part);
            let applied = self.cipher.try_apply_keystream(&mut self.buffer);
            applied.map_err(|_| io::Error::other("the key stream of the cipher is used up"))?;
            output.write_all(&self.buffer)?;
        }
        Ok(())
    }
}
