//! Packs: immutable objects that hold many sealed chunks.
//!
//! ```text
//! 0      72  header (kind pack; class tree or data)
//! 72     ..  chunks, each: ciphertext, tag (16)
//! p      ..  padding: bytes that look random
//! d      ..  directory: ciphertext of 44-byte rows, one for each chunk in order, tag (16)
//! n-32   32  trailer: ciphertext of (d: u64, number of chunks: u32, 4 zero bytes), tag (16)
//! ```
//!
//! A row is chunk id (32), offset (4), stored length with tag (4), plain length with the compression in its top two
//! bits (4), all little endian. `n` is [`super::padding::padme`] of the length without padding.

use super::header::{HEADER_BYTES, TAG_BYTES};
use super::ids::ChunkId;
use super::{FormatError, take_array, take_u32, take_u64};

/// A chunk's plain length is at most this many bytes: 16 MiB.
pub const MAX_CHUNK_BYTES: u32 = 16 << 20;
/// A stored chunk is at most this long: what an incompressible chunk takes, and a tag.
pub const MAX_STORED_BYTES: u32 = MAX_CHUNK_BYTES + TAG_BYTES as u32;
/// A pack is at most this long: 256 MiB.
pub const MAX_PACK_BYTES: u64 = 256 << 20;
/// The trailer's length in bytes.
pub const TRAILER_BYTES: usize = 16 + TAG_BYTES;
/// A directory row's length in bytes.
pub const ROW_BYTES: usize = 44;

/// How bytes are compressed inside their seal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Packing {
    /// As they are.
    Stored,
    /// LZ4 block format.
    Lz4,
    /// A Zstandard frame.
    Zstd,
}

impl Packing {
    /// Its number.
    pub fn number(self) -> u8 {
        match self {
            Packing::Stored => 0,
            Packing::Lz4 => 1,
            Packing::Zstd => 2,
        }
    }

    /// Takes a plain length in the low 30 bits of 32, and the number of how it is compressed in the top two.
    pub(crate) fn take(input: &mut &[u8], what: &'static str) -> Result<(Self, u32), FormatError> {
        let plain = take_u32(input, what)?;
        let packing = match plain >> 30 {
            0 => Packing::Stored,
            1 => Packing::Lz4,
            2 => Packing::Zstd,
            other => return Err(FormatError::field("a compression", "0, 1 or 2", other)),
        };
        Ok((packing, plain & 0x3fff_ffff))
    }

    /// The 32 bits that [`Self::take`] takes.
    pub(crate) fn with_length(self, plain: u32) -> u32 {
        plain | u32::from(self.number()) << 30
    }
}

/// Where a chunk is in its pack, and how long it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ChunkPlace {
    /// Offset of the ciphertext in the pack, in bytes.
    pub offset: u32,
    /// Bytes stored there, tag included.
    pub stored: u32,
    /// Bytes of the plaintext.
    pub plain: u32,
    /// How the plaintext is compressed.
    pub packing: Packing,
}

/// The length of an encoded [`ChunkPlace`].
pub const PLACE_BYTES: usize = 12;

impl ChunkPlace {
    /// Its twelve bytes.
    pub fn encode(&self) -> [u8; PLACE_BYTES] {
        let mut bytes = [0; PLACE_BYTES];
        bytes[..4].copy_from_slice(&self.offset.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.stored.to_le_bytes());
        bytes[8..].copy_from_slice(&self.packing.with_length(self.plain).to_le_bytes());
        bytes
    }

    /// Reads and bounds twelve bytes.
    ///
    /// # Errors
    ///
    /// If the bytes are not those that the format defines; the error says what was expected and what was found.
    pub fn take(input: &mut &[u8]) -> Result<Self, FormatError> {
        let offset = take_u32(input, "a chunk's place")?;
        let stored = take_u32(input, "a chunk's place")?;
        let (packing, plain) = Packing::take(input, "a chunk's place")?;
        let place = ChunkPlace { offset, stored, plain, packing };
        place.check()?;
        Ok(place)
    }

    fn check(&self) -> Result<(), FormatError> {
        if self.plain > MAX_CHUNK_BYTES {
            return Err(FormatError::field("a chunk's length", format_args!("at most {MAX_CHUNK_BYTES}"), self.plain));
        }
        if self.stored < TAG_BYTES as u32 || self.stored > MAX_STORED_BYTES {
            return Err(FormatError::field("a stored chunk's length", "a tag and at most 16 MiB", self.stored));
        }
        let end = u64::from(self.offset) + u64::from(self.stored);
        if (self.offset as usize) < HEADER_BYTES || end > MAX_PACK_BYTES {
            return Err(FormatError::field("a chunk's offset", "inside a pack", self.offset));
        }
        Ok(())
    }

    /// The associated data that binds a chunk to its place: `c`, offset (8), stored length (4), plain length and
    /// compression (4).
    pub fn associated_data(&self) -> [u8; 17] {
        let mut bytes = [0; 17];
        bytes[0] = b'c';
        bytes[1..9].copy_from_slice(&u64::from(self.offset).to_le_bytes());
        bytes[9..].copy_from_slice(&self.encode()[4..]);
        bytes
    }
}

/// One row of a pack's directory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DirectoryRow {
    /// Which chunk.
    pub id: ChunkId,
    /// Where it is.
    pub place: ChunkPlace,
}

/// Encodes a directory.
pub fn encode_directory(rows: &[DirectoryRow]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(rows.len() * ROW_BYTES);
    for row in rows {
        bytes.extend_from_slice(&row.id.0);
        bytes.extend_from_slice(&row.place.encode());
    }
    bytes
}

/// Decodes a directory of a pack whose directory begins at `directory`. Chunks must follow one another without overlap.
///
/// # Errors
///
/// If the bytes are not those that the format defines; the error says what was expected and what was found.
pub fn decode_directory(mut bytes: &[u8], directory: u64) -> Result<Vec<DirectoryRow>, FormatError> {
    if !bytes.len().is_multiple_of(ROW_BYTES) {
        return Err(FormatError::field("the directory's length", "a multiple of 44", bytes.len()));
    }
    let mut rows = Vec::with_capacity(bytes.len() / ROW_BYTES);
    let mut end = HEADER_BYTES as u64;
    while !bytes.is_empty() {
        let id = ChunkId(take_array(&mut bytes, "the directory")?);
        let place = ChunkPlace::take(&mut bytes)?;
        if u64::from(place.offset) < end {
            return Err(FormatError::field("a chunk's offset", format_args!("at least {end}"), place.offset));
        }
        end = u64::from(place.offset) + u64::from(place.stored);
        if end > directory {
            return Err(FormatError::field("a chunk's end", format_args!("at most {directory}"), end));
        }
        rows.push(DirectoryRow { id, place });
    }
    Ok(rows)
}

/// What the trailer says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Trailer {
    /// Offset of the directory's ciphertext.
    pub directory: u64,
    /// Number of chunks.
    pub chunks: u32,
}

impl Trailer {
    /// Its sixteen plain bytes.
    pub fn encode(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.directory.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.chunks.to_le_bytes());
        bytes
    }

    /// Reads it, for a pack of `size` bytes.
    ///
    /// # Errors
    ///
    /// If the bytes are not those that the format defines; the error says what was expected and what was found.
    pub fn decode(mut bytes: &[u8], size: u64) -> Result<Self, FormatError> {
        let directory = take_u64(&mut bytes, "the trailer")?;
        let chunks = take_u32(&mut bytes, "the trailer")?;
        if bytes != [0; 4] {
            return Err(FormatError::field("the trailer's last bytes", "four zeros", bytes.escape_ascii()));
        }
        let length = u64::from(chunks) * ROW_BYTES as u64 + TAG_BYTES as u64;
        let end = directory.checked_add(length).and_then(|n| n.checked_add(TRAILER_BYTES as u64));
        if end != Some(size) || directory < HEADER_BYTES as u64 {
            return Err(FormatError::field("the directory's place", "one that ends at the trailer", directory));
        }
        Ok(Trailer { directory, chunks })
    }

    /// The length of the directory's ciphertext with its tag.
    pub fn directory_bytes(&self) -> usize {
        self.chunks as usize * ROW_BYTES + TAG_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trailer_with_anything_in_its_last_bytes_is_refused() {
        let trailer = Trailer { directory: 1000, chunks: 3 };
        let size = 1000 + 3 * 44 + 16 + 32;
        let good = trailer.encode();
        assert_eq!(Trailer::decode(&good, size), Ok(trailer));
        for at in 12..16 {
            let mut bad = good;
            bad[at] = 1;
            assert!(Trailer::decode(&bad, size).unwrap_err().to_string().contains("four zeros"), "{at}");
        }
        assert!(Trailer::decode(&[&good[..], &[0]].concat(), size).is_err());
        assert!(Trailer::decode(&good[..12], size).is_err());
    }
}
