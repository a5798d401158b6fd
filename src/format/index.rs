//! Index segments: immutable objects of fixed-width rows sorted by chunk id.
//!
//! ```text
//! 0      72  header (kind index, class index)
//! 72     ..  blocks of 64 rows (the last may be shorter), each: ciphertext, tag (16)
//! d      ..  directory: ciphertext of the pack table and the fences, tag (16)
//! n-36   36  trailer: ciphertext of (d: u64, rows: u32, packs: u32, joined: u32), tag (16)
//! ```
//!
//! The associated data of each part is a letter (b, d, t) and the segment's key in the store, so that no segment passes
//! for another. A row is chunk id (32), pack number (4), place (12). The pack table has an id (32) and a size (8) for
//! each pack; the fences are the first eight bytes of each block's first chunk id.

use super::header::{HEADER_BYTES, TAG_BYTES};
use super::ids::{ChunkId, PackId, SnapshotId};
use super::pack::{ChunkPlace, PLACE_BYTES};
use super::{FormatError, take_array, take_u32, take_u64};

/// Rows in a block.
pub const BLOCK_ROWS: usize = 64;
/// A row's length in bytes.
pub const ROW_BYTES: usize = 32 + 4 + PLACE_BYTES;
/// A full block's ciphertext with its tag, in bytes.
pub const BLOCK_BYTES: usize = BLOCK_ROWS * ROW_BYTES + TAG_BYTES;
/// A segment has at most this many rows: a million chunks, 64 GiB of plaintext at the usual size.
pub const MAX_ROWS: u32 = 1 << 20;
/// The trailer's length in bytes.
pub const TRAILER_BYTES: usize = TRAILER_PLAIN + TAG_BYTES;
/// A segment names at most this many segments whose rows were joined into it.
pub const MAX_JOINED: u32 = 1 << 20;
/// The trailer's plain bytes.
pub const TRAILER_PLAIN: usize = 20;
const PACK_BYTES: usize = 40;
const FENCE_BYTES: usize = 8;
const JOINED_BYTES: usize = 20;

/// The associated data of a block (`b`), the directory (`d`) or the trailer (`t`) of the segment with this key.
pub fn associated_data(part: u8, name: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1 + name.len());
    bytes.push(part);
    bytes.extend_from_slice(name.as_bytes());
    bytes
}

/// One row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IndexRow {
    /// Which chunk.
    pub id: ChunkId,
    /// Which pack: its number in the segment's pack table.
    pub pack: u32,
    /// Where in the pack.
    pub place: ChunkPlace,
}

/// Encodes the rows of one block.
pub fn encode_block(rows: &[IndexRow]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(rows.len() * ROW_BYTES);
    for row in rows {
        bytes.extend_from_slice(&row.id.0);
        bytes.extend_from_slice(&row.pack.to_le_bytes());
        bytes.extend_from_slice(&row.place.encode());
    }
    bytes
}

/// Decodes one block of a segment with `packs` packs; rows must ascend.
///
/// # Errors
///
/// If the bytes are not those that the format defines; the error says what was expected and what was found.
pub fn decode_block(mut bytes: &[u8], packs: u32) -> Result<Vec<IndexRow>, FormatError> {
    if !bytes.len().is_multiple_of(ROW_BYTES) || bytes.len() > BLOCK_ROWS * ROW_BYTES {
        return Err(FormatError::field("a block's length", "at most 64 rows of 48 bytes", bytes.len()));
    }
    let mut rows: Vec<IndexRow> = Vec::with_capacity(bytes.len() / ROW_BYTES);
    while !bytes.is_empty() {
        let id = ChunkId(take_array(&mut bytes, "an index block")?);
        let pack = take_u32(&mut bytes, "an index block")?;
        if pack >= packs {
            return Err(FormatError::field("a pack number", format_args!("less than {packs}"), pack));
        }
        let place = ChunkPlace::take(&mut bytes)?;
        if rows.last().is_some_and(|last| last.id > id) {
            return Err(FormatError::field("a row's chunk id", "one not before the row above", id));
        }
        rows.push(IndexRow { id, pack, place });
    }
    Ok(rows)
}

/// What is after the blocks: the packs, and where each block begins in the order of ids.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SegmentDirectory {
    /// The packs, with their sizes in bytes.
    pub packs: Vec<(PackId, u64)>,
    /// The first eight bytes of each block's first chunk id, big endian.
    pub fences: Vec<u64>,
    /// Segments of snapshots whose rows were joined into this one: session and number, strictly ascending.
    pub joined: Vec<(SnapshotId, u32)>,
}

impl SegmentDirectory {
    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let joined = self.joined.len() * JOINED_BYTES;
        let mut bytes = Vec::with_capacity(self.packs.len() * PACK_BYTES + self.fences.len() * FENCE_BYTES + joined);
        for (id, size) in &self.packs {
            bytes.extend_from_slice(&id.0);
            bytes.extend_from_slice(&size.to_le_bytes());
        }
        for fence in &self.fences {
            bytes.extend_from_slice(&fence.to_be_bytes());
        }
        for (session, number) in &self.joined {
            bytes.extend_from_slice(&session.0);
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes
    }

    /// Reads it.
    ///
    /// # Errors
    ///
    /// If the bytes are not those that the format defines; the error says what was expected and what was found.
    pub fn decode(mut bytes: &[u8], trailer: &SegmentTrailer) -> Result<Self, FormatError> {
        let input = &mut bytes;
        let mut directory = SegmentDirectory::default();
        for _ in 0..trailer.packs {
            let id = PackId(take_array(input, "the pack table")?);
            directory.packs.push((id, take_u64(input, "the pack table")?));
        }
        for _ in 0..trailer.blocks() {
            directory.fences.push(u64::from_be_bytes(take_array(input, "the fences")?));
        }
        for _ in 0..trailer.joined {
            let session = SnapshotId(take_array(input, "the joined segments")?);
            directory.joined.push((session, take_u32(input, "the joined segments")?));
        }
        if !input.is_empty() {
            let found = input.len();
            return Err(FormatError::field("the segment's directory", "nothing after the joined segments", found));
        }
        if !directory.joined.is_sorted_by(|a, b| a < b) {
            return Err(FormatError::field("the joined segments", "ascending, each once", "another order"));
        }
        if !directory.fences.is_sorted() {
            return Err(FormatError::field("the fences", "ascending", "another order"));
        }
        Ok(directory)
    }
}

/// What the trailer says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SegmentTrailer {
    /// Offset of the directory's ciphertext.
    pub directory: u64,
    /// Number of rows.
    pub rows: u32,
    /// Number of packs.
    pub packs: u32,
    /// Number of segments that were joined into this one.
    pub joined: u32,
}

impl SegmentTrailer {
    /// Its plain bytes.
    pub fn encode(&self) -> [u8; TRAILER_PLAIN] {
        let mut bytes = [0; TRAILER_PLAIN];
        bytes[..8].copy_from_slice(&self.directory.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.rows.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.packs.to_le_bytes());
        bytes[16..].copy_from_slice(&self.joined.to_le_bytes());
        bytes
    }

    /// Reads it, for a segment of `size` bytes.
    ///
    /// # Errors
    ///
    /// If the bytes are not those that the format defines; the error says what was expected and what was found.
    pub fn decode(mut bytes: &[u8], size: u64) -> Result<Self, FormatError> {
        let directory = take_u64(&mut bytes, "the trailer")?;
        let rows = take_u32(&mut bytes, "the trailer")?;
        let packs = take_u32(&mut bytes, "the trailer")?;
        let joined = take_u32(&mut bytes, "the trailer")?;
        if !bytes.is_empty() {
            return Err(FormatError::field("the trailer", "20 bytes", TRAILER_PLAIN + bytes.len()));
        }
        if joined > MAX_JOINED {
            return Err(FormatError::field(
                "the number of joined segments",
                format_args!("at most {MAX_JOINED}"),
                joined,
            ));
        }
        if rows > MAX_ROWS || packs > rows {
            return Err(FormatError::field(
                "the number of rows and packs",
                "within bounds",
                format!("{rows}, {packs}"),
            ));
        }
        let trailer = SegmentTrailer { directory, rows, packs, joined };
        let blocks = trailer.blocks() as u64;
        let expected = HEADER_BYTES as u64 + u64::from(rows) * ROW_BYTES as u64 + blocks * TAG_BYTES as u64;
        let whole = expected + trailer.directory_bytes() as u64 + TRAILER_BYTES as u64;
        if directory != expected || whole != size {
            return Err(FormatError::field("the segment's size", whole, size));
        }
        Ok(trailer)
    }

    /// How many blocks there are.
    pub fn blocks(&self) -> usize {
        (self.rows as usize).div_ceil(BLOCK_ROWS)
    }

    /// The length of the directory's ciphertext with its tag.
    pub fn directory_bytes(&self) -> usize {
        let joined = self.joined as usize * JOINED_BYTES;
        self.packs as usize * PACK_BYTES + self.blocks() * FENCE_BYTES + joined + TAG_BYTES
    }

    /// Offset and length of a block's ciphertext with its tag; `None` if there is no such block.
    pub fn block(&self, block: usize) -> Option<(u64, usize)> {
        let first = block.checked_mul(BLOCK_ROWS)?;
        let rows = (self.rows as usize).checked_sub(first).filter(|&n| n > 0)?.min(BLOCK_ROWS);
        Some(((HEADER_BYTES + block * BLOCK_BYTES) as u64, rows * ROW_BYTES + TAG_BYTES))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trailer_has_twenty_bytes() {
        let trailer = SegmentTrailer { directory: 72 + 48 + 16, rows: 1, packs: 1, joined: 1 };
        let size = trailer.directory + (trailer.directory_bytes() + TRAILER_BYTES) as u64;
        assert_eq!(SegmentTrailer::decode(&trailer.encode(), size), Ok(trailer));
        let longer = [&trailer.encode()[..], &[0]].concat();
        assert!(SegmentTrailer::decode(&longer, size).unwrap_err().to_string().contains("20 bytes"));
    }
}
