//! Entries of leaves that stay where they were decoded.

use crate::format::leaf::{EntryRef, Leaf};
use crate::record::Digest;
use std::ops::Range;
use std::sync::Arc;

/// One entry, with the leaf that it stands in.
#[derive(Clone, Debug)]
pub struct Picked {
    /// The leaf.
    pub leaf: Arc<Leaf>,
    /// The entry's number in it.
    pub at: usize,
}

impl Picked {
    /// The entry. `None` if the leaf is shorter than that.
    pub fn get(&self) -> Option<EntryRef<'_>> {
        self.leaf.get(self.at)
    }
}

/// Neighbouring entries of a leaf.
#[derive(Clone, Debug)]
struct Span {
    leaf: Arc<Leaf>,
    range: Range<usize>,
}

impl Span {
    fn digests(&self) -> &[Digest] {
        self.leaf.digests().get(self.range.clone()).unwrap_or_default()
    }
}

/// Entries in the order of their keys: parts of leaves, none of which are copied.
#[derive(Clone, Debug, Default)]
pub struct Entries {
    spans: Vec<Span>,
}

impl Entries {
    /// Adds entries of a leaf, which come after all that are there.
    pub fn push(&mut self, leaf: &Arc<Leaf>, range: Range<usize>) {
        match self.spans.last_mut() {
            _ if range.is_empty() => {}
            Some(last) if Arc::ptr_eq(&last.leaf, leaf) && last.range.end == range.start => last.range.end = range.end,
            _ => self.spans.push(Span { leaf: leaf.clone(), range }),
        }
    }

    /// Adds those entries of a leaf that are live.
    pub fn push_live(&mut self, leaf: &Arc<Leaf>, range: Range<usize>) {
        let mut begin = range.start;
        for (at, entry) in range.clone().zip(leaf.range(range.clone())) {
            if entry.live().is_none() {
                self.push(leaf, begin..at);
                begin = at + 1;
            }
        }
        self.push(leaf, begin..range.end);
    }

    /// Adds one entry.
    pub fn push_one(&mut self, picked: &Picked) {
        self.push(&picked.leaf, picked.at..picked.at + 1);
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = EntryRef<'_>> {
        self.spans.iter().flat_map(|span| span.leaf.range(span.range.clone()))
    }

    /// The same, each with its leaf.
    pub fn picked(&self) -> impl Iterator<Item = Picked> {
        self.spans.iter().flat_map(|Span { leaf, range }| range.clone().map(|at| Picked { leaf: leaf.clone(), at }))
    }

    /// The entry of a digest.
    pub fn find(&self, digest: &Digest) -> Option<EntryRef<'_>> {
        let key = digest.sort_key();
        let is_before = |span: &Span| span.digests().last().is_some_and(|last| last.sort_key() < key);
        let span = self.spans.get(self.spans.partition_point(is_before))?;
        let at = span.digests().binary_search_by_key(&key, Digest::sort_key).ok()?;
        span.leaf.get(span.range.start + at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::ChunkId;
    use crate::format::leaf::{self, Entry, LiveEntry, RecordHash, ValuePlace};
    use crate::record::{Generation, VoidTime};

    fn digest(n: u8) -> Digest {
        Digest([n; 20])
    }

    /// A leaf of these digests; those of tombstones are odd.
    fn leaf_of(numbers: Range<u8>) -> Arc<Leaf> {
        let place = ValuePlace { chunk: ChunkId([1; 32]), more: Box::default(), offset: 0, length: 9 };
        let (generation, void_time, hash) = (Generation(1), VoidTime(0), RecordHash([3; 16]));
        let live = LiveEntry { set: Arc::from([]), generation, void_time, hash, bin_order: Arc::from([]), place };
        let entry = |n: u8| Entry { digest: digest(n), live: n.is_multiple_of(2).then(|| live.clone()) };
        let mut entries: Vec<Entry> = numbers.map(entry).collect();
        entries.sort_by_key(|entry| entry.digest.sort_key());
        Arc::new(Leaf::decode(&leaf::encode(&entries)).unwrap())
    }

    fn numbers(entries: &Entries) -> Vec<u8> {
        entries.iter().map(|entry| entry.digest.0[0]).collect()
    }

    #[test]
    fn tombstones_are_left_out_where_live_entries_are_asked_for() {
        let leaf = leaf_of(0..9);
        let mut all = Entries::default();
        all.push(&leaf, 2..7);
        assert_eq!(numbers(&all), [2, 3, 4, 5, 6]);
        let mut live = Entries::default();
        live.push_live(&leaf, 1..8);
        assert_eq!(numbers(&live), [2, 4, 6]);
        live.push_live(&leaf, 8..9);
        live.push_live(&leaf, 9..9);
        assert_eq!(numbers(&live), [2, 4, 6, 8]);
    }

    #[test]
    fn an_entry_is_found_in_whichever_leaf_it_stands_and_one_that_was_left_out_is_not() {
        // Partitions ascend with these numbers, and so do keys.
        let (first, second) = (leaf_of(0..6), leaf_of(6..12));
        let mut entries = Entries::default();
        entries.push_live(&first, 1..6);
        entries.push(&second, 2..4);
        assert_eq!(numbers(&entries), [2, 4, 8, 9]);
        let found: Vec<u8> = (0..14).filter(|n| entries.find(&digest(*n)).is_some()).collect();
        assert_eq!(found, [2, 4, 8, 9]);
        assert!(entries.find(&digest(9)).unwrap().live().is_none());
        assert_eq!(entries.find(&digest(8)).unwrap().digest, &digest(8));
    }

    #[test]
    fn neighbours_of_a_leaf_are_held_as_one() {
        let leaf = leaf_of(0..6);
        let mut entries = Entries::default();
        (0..6).for_each(|at| entries.push_one(&Picked { leaf: leaf.clone(), at }));
        assert_eq!(entries.spans.len(), 1);
        assert_eq!(
            entries.picked().map(|picked| picked.get().unwrap().digest.0[0]).collect::<Vec<_>>(),
            [0, 1, 2, 3, 4, 5]
        );
    }
}
