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

mod columns;

pub use columns::{EntryRef, Leaf, LiveRef};

use super::ids::ChunkId;
use super::{FormatError, take_array};
use crate::record::varint::put;
use crate::record::{Digest, Generation, VoidTime};
use std::collections::HashMap;
use std::sync::Arc;

/// The most entries of one leaf.
pub const MAX_ENTRIES: usize = 2048;
/// The most chunks that one leaf refers to: what a branch node with this one child can name.
pub const MAX_CHUNKS: usize = super::node::MAX_USES;

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

/// Decodes a leaf into entries that stand for themselves; see [`Leaf::decode`].
///
/// # Errors
///
/// If the bytes are not those that the format defines; the error says what was expected and what was found.
pub fn decode(bytes: &[u8]) -> Result<Vec<Entry>, FormatError> {
    Ok(Leaf::decode(bytes)?.to_entries())
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
