//! What lies around the text of a file: nothing, Zstandard, AES in counter mode, or Zstandard inside AES.
//!
//! asbackup compresses first and encrypts then. An encrypted file begins with 16 bytes: the initial counter, encrypted
//! with AES as one block. The key stream begins at that counter plus one and counts up as a 128-bit big-endian number.
//! There is no authentication, and nothing names the key length: a key is right if the text (or the Zstandard magic)
//! comes out. Compressed files may consist of several Zstandard frames.

use super::key::FileKey;
use crate::control::Control;
use crate::error::{Error, Result};
use aes::cipher::{Block, BlockCipherDecrypt, KeyInit, KeyIvInit, StreamCipher};
use aes::{Aes128, Aes256};
use ctr::Ctr128BE;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use zeroize::Zeroizing;

const ZSTD_MAGIC: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
const TEXT_MAGIC: &[u8] = b"Version ";
/// The bytes of a file that decide what it is: an encrypted counter and one block.
const PROBE_BYTES: usize = 32;

/// What lies around the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Container {
    /// The bits of the AES key, if the file is encrypted.
    cipher: Option<u16>,
    zstd: bool,
}

impl fmt::Display for Container {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.zstd, self.cipher) {
            (false, None) => f.write_str("plain text"),
            (true, None) => f.write_str("zstd"),
            (false, Some(bits)) => write!(f, "AES-{bits}"),
            (true, Some(bits)) => write!(f, "zstd in AES-{bits}"),
        }
    }
}

impl Container {
    /// Whether offsets in the text are offsets in the file.
    pub(crate) fn is_plain(self) -> bool {
        self == Self::default()
    }
}

/// An opened file: its text, as a stream.
pub(crate) struct Opened<'a> {
    /// The text. It may break with an error that is not the system's: then the container is damaged.
    pub(crate) text: Box<dyn Read + Send + 'a>,
    /// What lay around it.
    pub(crate) container: Container,
}

/// Opens a file and finds out what lies around its text. Bytes that are read from it are counted in `control`.
pub(crate) fn open<'a>(path: &Path, key: Option<&FileKey>, control: Option<&'a Control>) -> Result<Opened<'a>> {
    let file = File::open(path).map_err(|e| Error::io(format!("open {}", path.display()), e))?;
    let source = Box::new(CountingReader { inner: file, control });
    let unreadable = |e| Error::io(format!("read {}", path.display()), e);
    wrap(source, key)
        .map_err(unreadable)?
        .map_err(|problem| Error::Source { source_name: path.display().to_string(), problem: problem.to_owned() })
}

/// The key stream of a file whose first 16 bytes are `$first`.
macro_rules! counter_mode {
    ($aes:ty, $key:expr, $first:expr) => {{
        let mut counter: Block<$aes> = (*$first).into();
        <$aes>::new($key).decrypt_block(&mut counter);
        let start = u128::from_be_bytes(counter.into()).wrapping_add(1).to_be_bytes();
        Box::new(Ctr128BE::<$aes>::new($key, &start.into()))
    }};
}

/// The key stream of a file that begins with these 16 bytes.
pub(super) fn key_stream(key: &FileKey, bits: u16, first: &[u8; 16]) -> Box<dyn StreamCipher + Send> {
    match bits {
        128 => {
            let half = Zeroizing::new(key.0.first_chunk::<16>().copied().unwrap_or_default());
            counter_mode!(Aes128, (&*half).into(), first)
        }
        _ => counter_mode!(Aes256, (&*key.0).into(), first),
    }
}

/// Takes off what lies around the text that `source` delivers; the inner error says what the user can do.
pub(crate) fn wrap<'a>(
    mut source: Box<dyn Read + Send + 'a>,
    key: Option<&FileKey>,
) -> io::Result<Result<Opened<'a>, &'static str>> {
    let mut probe = Vec::with_capacity(PROBE_BYTES);
    source.by_ref().take(PROBE_BYTES as u64).read_to_end(&mut probe)?;
    let mut container = Container::default();
    let is_known = |bytes: &[u8]| bytes.starts_with(TEXT_MAGIC) || bytes.starts_with(ZSTD_MAGIC);
    // A file cut off within its first word is left to the parser, which says what is missing.
    let begins_as_text = is_known(&probe) || TEXT_MAGIC.starts_with(&probe[..]);
    let (start, mut text): (_, Box<dyn Read + Send + 'a>) = if begins_as_text {
        (probe.clone(), source)
    } else {
        let Some(key) = key else {
            return Ok(Err(
                "it begins neither as asb text nor as zstd. If the backup is encrypted, give its key file with \
                `asb_key`; a file of an XDR backup (.asbx) can't be read",
            ));
        };
        let Some((first, tail)) = probe.split_first_chunk::<16>() else {
            return Ok(Err("it is too short to be an encrypted backup file"));
        };
        let mut found = None;
        for bits in [256, 128] {
            let mut cipher = key_stream(key, bits, first);
            let mut decrypted = tail.to_vec();
            if cipher.try_apply_keystream(&mut decrypted).is_ok() && is_known(&decrypted) {
                found = Some((bits, cipher, decrypted));
                break;
            }
        }
        let Some((bits, cipher, decrypted)) = found else {
            return Ok(Err(
                "the key file doesn't open it, neither as AES-128 nor as AES-256: it is the key of another \
                backup, or this is no backup file",
            ));
        };
        container.cipher = Some(bits);
        (decrypted, Box::new(DecryptingReader { inner: source, cipher }))
    };
    text = Box::new(io::Cursor::new(start.clone()).chain(text));
    if start.starts_with(ZSTD_MAGIC) {
        container.zstd = true;
        text = Box::new(zstd::stream::read::Decoder::new(text)?);
    }
    Ok(Ok(Opened { text, container }))
}

/// Counts the bytes that are read.
pub(crate) struct CountingReader<'a, R> {
    pub(crate) inner: R,
    pub(crate) control: Option<&'a Control>,
}

impl<R: Read> Read for CountingReader<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        if let Some(control) = self.control {
            control.add_bytes_in(count as u64);
        }
        Ok(count)
    }
}

struct DecryptingReader<'a> {
    inner: Box<dyn Read + Send + 'a>,
    cipher: Box<dyn StreamCipher + Send>,
}

impl Read for DecryptingReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        let read = buffer.get_mut(..count).unwrap_or_default();
        self.cipher
            .try_apply_keystream(read)
            .map_err(|_| io::Error::other("the key stream of the cipher is used up"))?;
        Ok(count)
    }
}
