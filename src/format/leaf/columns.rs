//! A leaf as it is read: its entries in columns, so that who looks at a few fields of each copies nothing.

use super::{Entry, LiveEntry, MAX_CHUNKS, MAX_ENTRIES, RecordHash, ValuePlace};
use crate::format::ids::ChunkId;
use crate::format::pack::MAX_CHUNK_BYTES;
use crate::format::{FormatError, take_slice, take_u8, take_varint};
use crate::record::{Digest, Generation, MAX_BODY_BYTES, VoidTime};
use std::ops::Range;
use std::sync::Arc;

const MAX_ORDER_BYTES: u64 = 3 * 65_536;

/// A decoded leaf.
#[derive(PartialEq, Eq, Debug)]
pub struct Leaf {
    sets: Vec<Arc<[u8]>>,
    /// The first is the canonical one.
    orders: Vec<Arc<[u8]>>,
    chunks: Vec<ChunkId>,
    digests: Vec<Digest>,
    /// One for each digest.
    rows: Vec<Row>,
}

/// What stands of an entry in the other columns. Numbers are within their tables; those of a tombstone are 0.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Row {
    is_live: bool,
    set: u16,
    order: u16,
    hash: [u8; 16],
    generation: u32,
    void_time: u32,
    chunk: u32,
    more: u32,
    offset: u32,
    length: u32,
}

/// An entry of a leaf.
#[derive(Clone, Copy, Debug)]
pub struct EntryRef<'a> {
    /// The record's digest.
    pub digest: &'a Digest,
    row: &'a Row,
    leaf: &'a Leaf,
}

/// A live record's row in a leaf.
#[derive(Clone, Copy, Debug)]
pub struct LiveRef<'a> {
    row: &'a Row,
    leaf: &'a Leaf,
}

impl<'a> EntryRef<'a> {
    /// What is known of the record; `None` is a tombstone.
    pub fn live(&self) -> Option<LiveRef<'a>> {
        self.row.is_live.then_some(LiveRef { row: self.row, leaf: self.leaf })
    }

    /// A copy that stands for itself.
    pub fn to_entry(&self) -> Entry {
        Entry { digest: *self.digest, live: self.live().map(|live| live.to_entry()) }
    }
}

impl<'a> LiveRef<'a> {
    /// Its set's name; empty for the null set.
    #[allow(clippy::indexing_slicing, reason = "numbers of a row are within their tables")]
    pub fn set(&self) -> &'a Arc<[u8]> {
        &self.leaf.sets[usize::from(self.row.set)]
    }

    /// Its bin order; empty for the canonical one.
    #[allow(clippy::indexing_slicing, reason = "numbers of a row are within their tables")]
    pub fn bin_order(&self) -> &'a Arc<[u8]> {
        &self.leaf.orders[usize::from(self.row.order)]
    }

    /// Its generation.
    pub fn generation(&self) -> Generation {
        Generation(self.row.generation)
    }

    /// When it expires.
    pub fn void_time(&self) -> VoidTime {
        VoidTime(self.row.void_time)
    }

    /// The hash of its set and body.
    pub fn hash(&self) -> RecordHash {
        RecordHash(self.row.hash)
    }

    /// How long its body is, in bytes.
    pub fn length(&self) -> u32 {
        self.row.length
    }

    /// The chunks that its body uses, in order; at least one.
    #[allow(clippy::indexing_slicing, reason = "numbers of a row are within their tables")]
    pub fn chunks(&self) -> &'a [ChunkId] {
        let first = self.row.chunk as usize;
        &self.leaf.chunks[first..=first + self.row.more as usize]
    }

    /// The chunk that its body begins in.
    #[allow(clippy::indexing_slicing, reason = "numbers of a row are within their tables")]
    pub fn chunk(&self) -> &'a ChunkId {
        &self.leaf.chunks[self.row.chunk as usize]
    }

    /// A copy that stands for itself.
    pub fn to_entry(&self) -> LiveEntry {
        let more = self.chunks().get(1..).unwrap_or_default().into();
        let (chunk, offset, length) = (*self.chunk(), self.row.offset, self.row.length);
        LiveEntry {
            set: self.set().clone(),
            generation: self.generation(),
            void_time: self.void_time(),
            hash: self.hash(),
            bin_order: self.bin_order().clone(),
            place: ValuePlace { chunk, more, offset, length },
        }
    }
}

impl Leaf {
    /// Decodes a leaf. Entries must ascend, every number must be within its table, every place within a chunk's bounds.
    ///
    /// # Errors
    ///
    /// If the bytes are not those that the format defines; the error says what was expected and what was found.
    pub fn decode(mut bytes: &[u8]) -> Result<Leaf, FormatError> {
        let input = &mut bytes;
        let n = take_varint(input, MAX_ENTRIES as u64, "the number of entries")? as usize;
        if n == 0 {
            return Err(FormatError::field("the number of entries", "1 to 2048", 0));
        }
        let mut leaf = Leaf::take_tables(input, n)?;
        let flags = take_slice(input, n, "the flags")?;
        if let Some(flag) = flags.iter().find(|&&flag| flag > 1) {
            return Err(FormatError::field("an entry's flag", "0 or 1", flag));
        }
        leaf.digests = take_digests(input, n)?;
        leaf.rows = flags.iter().map(|flag| Row { is_live: *flag == 0, ..Row::default() }).collect();
        leaf.take_rows(input)?;
        if !input.is_empty() {
            return Err(FormatError::field("the leaf", "nothing after the last column", input.len()));
        }
        Ok(leaf)
    }

    /// How many entries it has.
    #[allow(clippy::len_without_is_empty, reason = "a leaf has entries")]
    pub fn len(&self) -> usize {
        self.digests.len()
    }

    /// The digests of its entries, ascending.
    pub fn digests(&self) -> &[Digest] {
        &self.digests
    }

    /// All entries.
    pub fn iter(&self) -> impl Iterator<Item = EntryRef<'_>> {
        self.range(0..self.len())
    }

    /// Copies of all entries.
    pub fn to_entries(&self) -> Vec<Entry> {
        self.iter().map(|entry| entry.to_entry()).collect()
    }

    /// The entries of a range, as far as there are any.
    pub fn range(&self, range: Range<usize>) -> impl Iterator<Item = EntryRef<'_>> {
        let digests = self.digests.get(range.clone()).unwrap_or_default();
        let rows = self.rows.get(range).unwrap_or_default();
        digests.iter().zip(rows).map(|(digest, row)| EntryRef { digest, row, leaf: self })
    }

    /// An entry by its number.
    pub fn get(&self, at: usize) -> Option<EntryRef<'_>> {
        Some(EntryRef { digest: self.digests.get(at)?, row: self.rows.get(at)?, leaf: self })
    }

    /// Takes the tables of a leaf of `n` entries, which it doesn't have yet.
    fn take_tables(input: &mut &[u8], n: usize) -> Result<Self, FormatError> {
        let sets = (0..take_varint(input, n as u64, "the number of sets")?)
            .map(|_| {
                let length = take_u8(input, "a set's name")?;
                take_slice(input, usize::from(length), "a set's name").map(Arc::<[u8]>::from)
            })
            .collect::<Result<Vec<_>, _>>()?;
        let chunk_count = take_varint(input, MAX_CHUNKS as u64, "the number of chunks")? as usize;
        let chunk_bytes = take_slice(input, chunk_count * ChunkId::BYTES, "the table of chunks")?;
        let (chunks, _) = chunk_bytes.as_chunks::<{ ChunkId::BYTES }>();
        let mut orders: Vec<Arc<[u8]>> = vec![Arc::from([])];
        for _ in 0..take_varint(input, n as u64, "the number of bin orders")? {
            let length = take_varint(input, MAX_ORDER_BYTES, "a bin order's length")?;
            orders.push(take_slice(input, length as usize, "a bin order")?.into());
        }
        let chunks = chunks.iter().map(|id| ChunkId(*id)).collect();
        Ok(Leaf { sets, orders, chunks, digests: Vec::new(), rows: Vec::new() })
    }

    /// Takes the columns: one number of each for every live entry.
    fn take_rows(&mut self, input: &mut &[u8]) -> Result<(), FormatError> {
        let (sets, orders, chunks) = (self.sets.len() as u64, self.orders.len() as u64, self.chunks.len() as u64);
        let mut live: Vec<&mut Row> = self.rows.iter_mut().filter(|row| row.is_live).collect();
        let (hashes, _) = take_slice(input, live.len() * 16, "the record hashes")?.as_chunks::<16>();
        live.iter_mut().zip(hashes).for_each(|(row, hash)| row.hash = *hash);
        let rows = &mut live[..];
        let last_set = sets.saturating_sub(1);
        take_column(input, rows, last_set, "a set's number", |row, set| row.set = set as u16)?;
        take_column(input, rows, orders - 1, "a bin order's number", |row, order| row.order = order as u16)?;
        take_column(input, rows, u64::from(u32::MAX), "a generation", |row, number| row.generation = number as u32)?;
        take_column(input, rows, u64::from(u32::MAX), "a void time", |row, time| row.void_time = time as u32)?;
        let last_chunk = chunks.saturating_sub(1);
        take_column(input, rows, last_chunk, "a chunk's number", |row, chunk| row.chunk = chunk as u32)?;
        take_column(input, rows, chunks, "a number of further chunks", |row, more| row.more = more as u32)?;
        let offsets = take_offsets(input, rows.len())?;
        take_column(input, rows, MAX_BODY_BYTES as u64, "a length", |row, length| row.length = length as u32)?;
        // A value in several chunks has them in the table for itself, so what all values name is no more than what the
        // table holds.
        let named = rows.iter().fold(0, |sum: u64, row| sum.saturating_add(u64::from(row.more)));
        if named > chunks {
            let what = "the further chunks of all values";
            return Err(FormatError::field(what, format_args!("at most {chunks}"), named));
        }
        if !rows.is_empty() && sets == 0 {
            return Err(FormatError::Cut("the table of sets"));
        }
        // For each chunk the offset after the value that came before in it.
        let mut expected: Vec<i64> = vec![0; self.chunks.len()];
        rows.iter_mut().zip(offsets).try_for_each(|(row, offset)| place(row, offset, &mut expected))
    }
}

/// Says where the value of a row begins.
fn place(row: &mut Row, offset: i64, expected: &mut [i64]) -> Result<(), FormatError> {
    let (count, number) = (expected.len(), row.chunk as usize);
    let is_within = number.checked_add(row.more as usize).is_some_and(|last| last < count);
    let Some(expected) = expected.get_mut(number).filter(|_| is_within) else {
        return Err(FormatError::field("a chunk's number", format_args!("less than {count}"), number));
    };
    let begin = expected.checked_add(offset).filter(|begin| (0..=i64::from(MAX_CHUNK_BYTES)).contains(begin));
    let Some(begin) = begin else {
        return Err(FormatError::field("an offset", "inside a chunk", offset));
    };
    if row.more == 0 {
        *expected = begin + i64::from(row.length);
    }
    row.offset = begin as u32;
    Ok(())
}

fn take_digests(input: &mut &[u8], n: usize) -> Result<Vec<Digest>, FormatError> {
    let planes = [0; 3].map(|_: u8| take_slice(input, n, "the digests"));
    let (tails, _) = take_slice(input, n * 17, "the digests")?.as_chunks::<17>();
    let [first, second, third] = planes;
    let heads = first?.iter().zip(second?).zip(third?);
    let mut digests = Vec::with_capacity(n);
    for (((a, b), c), tail) in heads.zip(tails) {
        let mut digest = [0; 20];
        let (head, rest) = digest.split_at_mut(3);
        head.copy_from_slice(&[*a, *b, *c]);
        rest.copy_from_slice(tail);
        digests.push(Digest(digest));
    }
    if !digests.is_sorted_by(|a, b| a.sort_key() < b.sort_key()) {
        return Err(FormatError::field("the digests", "ascending by partition and digest", "another order"));
    }
    Ok(digests)
}

/// Takes one number for each row.
fn take_column(
    input: &mut &[u8],
    rows: &mut [&mut Row],
    limit: u64,
    what: &'static str,
    set: impl Fn(&mut Row, u64),
) -> Result<(), FormatError> {
    // Of most columns each number takes a byte.
    if let Some((short, rest)) = input.split_at_checked(rows.len())
        && short.iter().all(|byte| *byte < 0x80 && u64::from(*byte) <= limit)
    {
        rows.iter_mut().zip(short).for_each(|(row, byte)| set(row, u64::from(*byte)));
        *input = rest;
        return Ok(());
    }
    for row in rows {
        set(row, take_varint(input, limit, what)?);
    }
    Ok(())
}

/// Takes the offsets, each as the difference to the expected one.
fn take_offsets(input: &mut &[u8], n: usize) -> Result<Vec<i64>, FormatError> {
    let unzigzag = |value: u64| ((value >> 1) as i64) ^ -((value & 1) as i64);
    let mut offsets = Vec::with_capacity(n);
    for _ in 0..n {
        offsets.push(unzigzag(take_varint(input, u64::MAX, "an offset")?));
    }
    Ok(offsets)
}
