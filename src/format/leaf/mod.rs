//! Leaves: the entries of a run, a few hundred to a chunk, with their columns apart so that what compresses does.
//!
//! ```text
//! entries   varint n, 1 to 2048
//! sets      varint count; each: u8 length, bytes
//! chunks    varint count; each: 32 bytes
//! orders    varint count; each: varint length, bytes
//! flags     n bytes: 0 live, 1 tombstone
//! digests   n first bytes, n second bytes, n third bytes, then n times the other 17
//! and for the live entries alone, in the same order, one column after another:
//! hashes    16 bytes each
//! set       varint, a number in the table of sets
//! order     varint, 0 = canonical, else 1 + a number in the table of orders
//! generation varint
//! void time varint
//! chunk     varint, a number in the table of chunks
//! more      varint, how many of the following chunks of the table the value goes on in; all together at most `chunks`
//! offset    varint of the zigzag of offset - expected, where expected is the end of the value that the nearest entry
//!           above with the same chunk has there, or 0 (values that go on in further chunks leave the expectation as it
//!           is)
//! length    varint
//! ```

use super::ids::ChunkId;
use super::{FormatError, take_array, take_slice, take_u8, take_varint};
use crate::record::varint::put;
use crate::record::{Digest, Generation, MAX_BODY_BYTES, VoidTime};
use std::collections::HashMap;
use std::sync::Arc;

/// The most entries of one leaf.
pub const MAX_ENTRIES: usize = 2048;
/// The most chunks that one leaf refers to: what a branch node with this one child can name.
pub const MAX_CHUNKS: usize = super::node::MAX_USES;
const MAX_ORDER_BYTES: u64 = 3 * 65_536;

/// A keyed hash of a record's set and body, 16 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct RecordHash(pub [u8; 16]);

/// Where a record's body is: `length` bytes that begin at `offset` in `chunk` and may go on in `more`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ValuePlace {
    /// The chunk that the body begins in.
    pub chunk: ChunkId,
    /// The chunks that it goes on in; empty for all but large records.
    pub more: Box<[ChunkId]>,
    /// Where in `chunk` it begins, in bytes.
    pub offset: u32,
    /// How long it is, in bytes.
    pub length: u32,
}

impl ValuePlace {
    /// All chunks that it uses, in order.
    pub fn chunks(&self) -> impl Iterator<Item = &ChunkId> {
        std::iter::once(&self.chunk).chain(self.more.iter())
    }
}

/// A live record's row in a run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LiveEntry {
    /// Its set's name; empty for the null set.
    pub set: Arc<[u8]>,
    /// Its generation.
    pub generation: Generation,
    /// When it expires.
    pub void_time: VoidTime,
    /// The hash of its set and body.
    pub hash: RecordHash,
    /// Its bin order, as [`crate::record::batch`] has it; empty for the canonical one.
    pub bin_order: Arc<[u8]>,
    /// Where its body is.
    pub place: ValuePlace,
}

/// A row of a run: a live record, or a tombstone that hides older rows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The record's digest.
    pub digest: Digest,
    /// What is known of it; `None` is a tombstone.
    pub live: Option<LiveEntry>,
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

fn unzigzag(value: u64) -> i64 {
    ((value >> 1) as i64) ^ -((value & 1) as i64)
}

/// A table whose items are numbered in the order in which they first occur.
struct Table<K> {
    items: Vec<K>,
    numbers: HashMap<K, u64>,
    /// What was asked for last is mostly asked for again: comparing is far cheaper than hashing.
    last: Option<u64>,
}

impl<K: Clone + std::hash::Hash + Eq> Table<K> {
    fn new() -> Self {
        Table { items: Vec::new(), numbers: HashMap::new(), last: None }
    }

    fn number(&mut self, item: &K) -> u64 {
        if let Some(last) = self.last
            && self.items.get(last as usize) == Some(item)
        {
            return last;
        }
        let number = self.numbers.get(item).copied().unwrap_or_else(|| {
            let number = self.push(item.clone());
            self.numbers.insert(item.clone(), number);
            number
        });
        self.last = Some(number);
        number
    }

    /// Adds an item that is not looked for again.
    fn push(&mut self, item: K) -> u64 {
        self.items.push(item);
        self.items.len() as u64 - 1
    }
}

/// Encodes entries, which must ascend by (partition, digest).
pub fn encode(entries: &[Entry]) -> Vec<u8> {
    let mut sets = Table::new();
    let mut orders = Table::new();
    let mut chunks = Table::new();
    let mut expected: Vec<i64> = Vec::new();
    let (mut hashes, mut set, mut order, mut generation) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut void_time, mut chunk, mut more) = (Vec::new(), Vec::new(), Vec::new());
    let (mut offset, mut length) = (Vec::new(), Vec::new());
    for live in entries.iter().filter_map(|entry| entry.live.as_ref()) {
        hashes.extend_from_slice(&live.hash.0);
        put(&mut set, sets.number(&live.set));
        put(&mut order, if live.bin_order.is_empty() { 0 } else { 1 + orders.number(&live.bin_order) });
        put(&mut generation, u64::from(live.generation.0));
        put(&mut void_time, u64::from(live.void_time.0));
        let place = &live.place;
        let number = if place.more.is_empty() {
            chunks.number(&place.chunk)
        } else {
            // A value in several chunks has them side by side in the table, once for each such value.
            let first = chunks.push(place.chunk);
            place.more.iter().for_each(|id| {
                chunks.push(*id);
            });
            first
        };
        put(&mut chunk, number);
        put(&mut more, place.more.len() as u64);
        let begin = i64::from(place.offset);
        expected.resize(chunks.items.len(), 0);
        if let Some(expected) = expected.get_mut(number as usize) {
            put(&mut offset, zigzag(begin - *expected));
            if place.more.is_empty() {
                *expected = begin + i64::from(place.length);
            }
        }
        put(&mut length, u64::from(place.length));
    }
    let mut out = Vec::with_capacity(entries.len() * 48 + chunks.items.len() * 32);
    put(&mut out, entries.len() as u64);
    put(&mut out, sets.items.len() as u64);
    for name in &sets.items {
        out.push(name.len() as u8);
        out.extend_from_slice(name);
    }
    put(&mut out, chunks.items.len() as u64);
    chunks.items.iter().for_each(|id| out.extend_from_slice(&id.0));
    put(&mut out, orders.items.len() as u64);
    for bytes in &orders.items {
        put(&mut out, bytes.len() as u64);
        out.extend_from_slice(bytes);
    }
    out.extend(entries.iter().map(|entry| u8::from(entry.live.is_none())));
    let digests = || entries.iter().map(|entry| entry.digest.0);
    out.extend(digests().map(|[first, ..]| first));
    out.extend(digests().map(|[_, second, ..]| second));
    out.extend(digests().map(|[_, _, third, ..]| third));
    digests().for_each(|[_, _, _, rest @ ..]| out.extend_from_slice(&rest));
    for column in [hashes, set, order, generation, void_time, chunk, more, offset, length] {
        out.extend_from_slice(&column);
    }
    out
}

/// Decodes a leaf. Entries must ascend, every number must be within its table, every place within a chunk's bounds.
///
/// # Errors
///
/// If the bytes are not those that the format defines; the error says what was expected and what was found.
pub fn decode(mut bytes: &[u8]) -> Result<Vec<Entry>, FormatError> {
    let input = &mut bytes;
    let n = take_varint(input, MAX_ENTRIES as u64, "the number of entries")? as usize;
    if n == 0 {
        return Err(FormatError::field("the number of entries", "1 to 2048", 0));
    }
    let tables = Tables::take(input, n)?;
    let flags = take_slice(input, n, "the flags")?;
    if let Some(flag) = flags.iter().find(|&&flag| flag > 1) {
        return Err(FormatError::field("an entry's flag", "0 or 1", flag));
    }
    let digests = take_digests(input, n)?;
    let live = flags.iter().filter(|&&flag| flag == 0).count();
    let mut rows = take_rows(input, live, &tables)?.into_iter();
    if !input.is_empty() {
        return Err(FormatError::field("the leaf", "nothing after the last column", input.len()));
    }
    let mut expected: Vec<i64> = vec![0; tables.chunks.len()];
    let mut entries = Vec::with_capacity(n);
    for (digest, flag) in digests.into_iter().zip(flags) {
        let live = match flag {
            1 => None,
            _ => Some(tables.live(rows.next().ok_or(FormatError::Cut("the columns"))?, &mut expected)?),
        };
        entries.push(Entry { digest, live });
    }
    Ok(entries)
}

/// What the columns of a leaf number.
struct Tables<'a> {
    sets: Vec<Arc<[u8]>>,
    chunks: &'a [[u8; ChunkId::BYTES]],
    orders: Vec<Arc<[u8]>>,
}

/// A live entry's numbers, one of each column.
struct Row {
    hash: RecordHash,
    set: u64,
    order: u64,
    generation: u64,
    void_time: u64,
    chunk: u64,
    more: u64,
    offset: u64,
    length: u64,
}

impl<'a> Tables<'a> {
    /// Takes the tables of a leaf of `n` entries.
    fn take(input: &mut &'a [u8], n: usize) -> Result<Self, FormatError> {
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
        Ok(Tables { sets, chunks, orders })
    }

    /// A live entry. `expected` has for each chunk the offset after the value that came before in it.
    fn live(&self, row: Row, expected: &mut [i64]) -> Result<LiveEntry, FormatError> {
        let chunk_count = self.chunks.len();
        let number = row.chunk as usize;
        let last = number.checked_add(row.more as usize).filter(|&last| last < chunk_count);
        let ids = last.and_then(|last| self.chunks.get(number..=last));
        let (Some([first, rest @ ..]), Some(expected)) = (ids, expected.get_mut(number)) else {
            return Err(FormatError::field("a chunk's number", format_args!("less than {chunk_count}"), number));
        };
        let begin = expected.checked_add(unzigzag(row.offset));
        let begin = begin.filter(|&begin| (0..=i64::from(super::pack::MAX_CHUNK_BYTES)).contains(&begin));
        let Some(begin) = begin else {
            return Err(FormatError::field("an offset", "inside a chunk", unzigzag(row.offset)));
        };
        if rest.is_empty() {
            *expected = begin + row.length as i64;
        }
        let set = self.sets.get(row.set as usize).ok_or(FormatError::Cut("the table of sets"))?;
        let bin_order = self.orders.get(row.order as usize).ok_or(FormatError::Cut("the table of bin orders"))?;
        Ok(LiveEntry {
            set: set.clone(),
            generation: Generation(row.generation as u32),
            void_time: VoidTime(row.void_time as u32),
            hash: row.hash,
            bin_order: bin_order.clone(),
            place: ValuePlace {
                chunk: ChunkId(*first),
                more: rest.iter().map(|id| ChunkId(*id)).collect(),
                offset: begin as u32,
                length: row.length as u32,
            },
        })
    }
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
    rows: &mut [Row],
    limit: u64,
    what: &'static str,
    field: impl Fn(&mut Row) -> &mut u64,
) -> Result<(), FormatError> {
    // Of most columns each number takes a byte.
    if let Some((short, rest)) = input.split_at_checked(rows.len())
        && short.iter().all(|byte| *byte < 0x80 && u64::from(*byte) <= limit)
    {
        rows.iter_mut().zip(short).for_each(|(row, byte)| *field(row) = u64::from(*byte));
        *input = rest;
        return Ok(());
    }
    for row in rows {
        *field(row) = take_varint(input, limit, what)?;
    }
    Ok(())
}

/// Takes the columns: one number of each for every live entry.
fn take_rows(input: &mut &[u8], live: usize, tables: &Tables<'_>) -> Result<Vec<Row>, FormatError> {
    let chunk_count = tables.chunks.len();
    let (hashes, _) = take_slice(input, live * 16, "the record hashes")?.as_chunks::<16>();
    let mut rows: Vec<Row> = hashes
        .iter()
        .map(|hash| Row {
            hash: RecordHash(*hash),
            set: 0,
            order: 0,
            generation: 0,
            void_time: 0,
            chunk: 0,
            more: 0,
            offset: 0,
            length: 0,
        })
        .collect();
    let rows_of = &mut rows[..];
    take_column(input, rows_of, tables.sets.len().saturating_sub(1) as u64, "a set's number", |row| &mut row.set)?;
    take_column(input, rows_of, tables.orders.len() as u64 - 1, "a bin order's number", |row| &mut row.order)?;
    take_column(input, rows_of, u64::from(u32::MAX), "a generation", |row| &mut row.generation)?;
    take_column(input, rows_of, u64::from(u32::MAX), "a void time", |row| &mut row.void_time)?;
    take_column(input, rows_of, chunk_count.saturating_sub(1) as u64, "a chunk's number", |row| &mut row.chunk)?;
    take_column(input, rows_of, chunk_count as u64, "a number of further chunks", |row| &mut row.more)?;
    take_column(input, rows_of, u64::MAX, "an offset", |row| &mut row.offset)?;
    take_column(input, rows_of, MAX_BODY_BYTES as u64, "a length", |row| &mut row.length)?;
    // A value in several chunks has them in the table for itself, so what all values name is no more than what the
    // table holds.
    let named = rows.iter().fold(0u64, |sum, row| sum.saturating_add(row.more));
    if named > chunk_count as u64 {
        let what = "the further chunks of all values";
        return Err(FormatError::field(what, format_args!("at most {chunk_count}"), named));
    }
    Ok(rows)
}

/// The tables of a leaf alone: which chunks its values stand in.
pub fn chunk_ids(entries: &[Entry]) -> Vec<ChunkId> {
    let mut seen = std::collections::HashSet::new();
    let mut last = None;
    let live = entries.iter().filter_map(|entry| entry.live.as_ref());
    let ids = live.flat_map(|live| live.place.chunks()).copied();
    ids.filter(|id| last.replace(*id) != Some(*id) && seen.insert(*id)).collect()
}

/// Checks that a value's place fits the chunks it names, whose plain lengths are `lengths`.
pub fn fits(place: &ValuePlace, lengths: &[usize]) -> bool {
    let total: usize = lengths.iter().sum();
    (place.offset as usize).checked_add(place.length as usize).is_some_and(|end| end <= total)
}

/// An array of the first bytes of `bytes`, for tests and vectors.
///
/// # Errors
///
/// If there are too few bytes.
pub fn record_hash(mut bytes: &[u8]) -> Result<RecordHash, FormatError> {
    take_array(&mut bytes, "a record hash").map(RecordHash)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn arb_live() -> impl Strategy<Value = LiveEntry> {
        let set = prop_oneof![Just(&b""[..]), Just(&b"users"[..]), Just(&b"orders"[..])];
        let order = prop_oneof![Just(vec![]), Just(vec![1u8, 0]), Just(vec![2, 1, 0])];
        (set, any::<u32>(), any::<u32>(), any::<[u8; 16]>(), order, 0u8..6, 0usize..3, 0u32..1 << 24, 0u32..1 << 20)
            .prop_map(|(set, generation, void, hash, order, chunk, more, offset, length)| LiveEntry {
                set: set.into(),
                generation: Generation(generation),
                void_time: VoidTime(void),
                hash: RecordHash(hash),
                bin_order: order.into(),
                place: ValuePlace {
                    chunk: ChunkId([chunk; 32]),
                    more: (0..more).map(|i| ChunkId([i as u8; 32])).collect(),
                    offset,
                    length,
                },
            })
    }

    proptest! {
        #[test]
        fn gives_back_the_entries_it_was_given(
            rows in proptest::collection::btree_map(any::<[u8; 20]>(), proptest::option::of(arb_live()), 1..40)
        ) {
            let mut entries: Vec<Entry> =
                rows.into_iter().map(|(digest, live)| Entry { digest: Digest(digest), live }).collect();
            entries.sort_by_key(|entry| entry.digest.sort_key());
            prop_assert_eq!(decode(&encode(&entries)).unwrap(), entries);
        }

        #[test]
        fn never_panics_on_arbitrary_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode(&bytes);
        }

        #[test]
        fn never_panics_on_a_changed_leaf(
            rows in proptest::collection::btree_map(any::<[u8; 20]>(), proptest::option::of(arb_live()), 1..10),
            at: proptest::sample::Index, with: u8,
        ) {
            let mut entries: Vec<Entry> =
                rows.into_iter().map(|(digest, live)| Entry { digest: Digest(digest), live }).collect();
            entries.sort_by_key(|entry| entry.digest.sort_key());
            let mut bytes = encode(&entries);
            let at = at.index(bytes.len());
            bytes[at] = with;
            let _ = decode(&bytes);
        }
    }

    fn live(more: usize) -> Entry {
        let place =
            ValuePlace { chunk: ChunkId([1; 32]), more: vec![ChunkId([2; 32]); more].into(), offset: 0, length: 9 };
        let (generation, void_time, hash) = (Generation(1), VoidTime(0), RecordHash([3; 16]));
        let live = LiveEntry { set: Arc::from([]), generation, void_time, hash, bin_order: Arc::from([]), place };
        Entry { digest: Digest([0; 20]), live: Some(live) }
    }

    #[test]
    fn an_empty_leaf_is_refused() {
        let error = decode(&encode(&[])).unwrap_err().to_string();
        assert!(error.contains("the number of entries"), "{error}");
    }

    /// Two values that share the chunks they go on in: what a leaf of `n` such values names would grow with n squared.
    #[test]
    fn values_do_not_share_the_chunks_that_they_go_on_in() {
        let mut entries = vec![live(3), live(0)];
        entries[1].digest.0[19] = 1;
        let mut leaf = encode(&entries);
        assert_eq!(decode(&leaf).unwrap(), entries);
        // The last four columns: chunk, more, offset, length; two bytes each.
        let at = leaf.len() - 8;
        assert_eq!(leaf[at..], [0, 4, 3, 0, 0, 0, 9, 9]);
        leaf[at + 1] = 0;
        leaf[at + 3] = 2;
        assert_eq!(decode(&leaf).unwrap()[1].live.as_ref().unwrap().place.more.len(), 2);
        leaf[at + 3] = 3;
        let error = decode(&leaf).unwrap_err().to_string();
        assert!(error.contains("further chunks"), "{error}");
    }
}
