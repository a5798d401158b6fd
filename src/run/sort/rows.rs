//! Records in memory with what brings them into key order.

use crate::crypto::Keys;
use crate::format::leaf::RecordHash;
use crate::record::{Digest, Generation, RecordBatch, RecordMeta, RecordView, VoidTime};
use std::sync::Arc;

/// What a record in a [`Block`] has before its set: digest, hash, generation, void time, and the lengths of set, bin order and
/// body.
const HEAD_BYTES: usize = 20 + 16 + 4 + 4 + 1 + 4 + 4;
/// What a record in a batch costs in memory beside its bytes.
const ROW_COST: usize = 100;

/// Records one after another in one piece of memory.
#[derive(Default)]
pub(super) struct Block(pub(super) Vec<u8>);

impl Block {
    /// Bytes that a record takes.
    pub(super) fn record_bytes(record: &RecordView<'_>) -> usize {
        HEAD_BYTES + record.meta.set.len() + record.byte_len()
    }

    /// Adds a record. The lengths fit, as those of every batch do.
    pub(super) fn push(&mut self, record: &RecordView<'_>, hash: &RecordHash) {
        let (meta, out) = (&record.meta, &mut self.0);
        let mut head = [0; HEAD_BYTES];
        head[..20].copy_from_slice(&meta.digest.0);
        head[20..36].copy_from_slice(&hash.0);
        head[36..40].copy_from_slice(&meta.generation.0.to_le_bytes());
        head[40..44].copy_from_slice(&meta.void_time.0.to_le_bytes());
        head[44] = meta.set.len() as u8;
        head[45..49].copy_from_slice(&(record.bin_order.len() as u32).to_le_bytes());
        head[49..].copy_from_slice(&(record.body.len() as u32).to_le_bytes());
        out.extend_from_slice(&head);
        out.extend_from_slice(meta.set);
        out.extend_from_slice(record.bin_order);
        out.extend_from_slice(record.body);
    }

    /// The record that begins at `at`.
    fn get(&self, at: usize) -> Option<(RecordView<'_>, RecordHash)> {
        let (head, rest) = self.0.get(at..)?.split_first_chunk::<HEAD_BYTES>()?;
        let (digest, head) = head.split_first_chunk::<20>()?;
        let (hash, head) = head.split_first_chunk::<16>()?;
        let (generation, head) = head.split_first_chunk::<4>()?;
        let (void_time, head) = head.split_first_chunk::<4>()?;
        let ([set], head) = head.split_first_chunk::<1>()?;
        let (order, head) = head.split_first_chunk::<4>()?;
        let (body, _) = head.split_first_chunk::<4>()?;
        let (set, rest) = rest.split_at_checked(usize::from(*set))?;
        let (bin_order, rest) = rest.split_at_checked(u32::from_le_bytes(*order) as usize)?;
        let body = rest.get(..u32::from_le_bytes(*body) as usize)?;
        let (generation, void_time) = (u32::from_le_bytes(*generation), u32::from_le_bytes(*void_time));
        let meta = RecordMeta {
            digest: Digest(*digest),
            set,
            generation: Generation(generation),
            void_time: VoidTime(void_time),
        };
        Some((RecordView { meta, body, bin_order }, RecordHash(*hash)))
    }

    /// Every record with the place where it begins.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, RecordView<'_>, RecordHash)> {
        let mut at = 0;
        std::iter::from_fn(move || {
            let (begin, (record, hash)) = (at, self.get(at)?);
            at += Self::record_bytes(&record);
            Some((begin, record, hash))
        })
    }
}

/// A batch with the hash of each record.
struct HashedBatch {
    records: RecordBatch,
    hashes: Vec<RecordHash>,
}

#[derive(Clone)]
enum Part {
    Batch(Arc<HashedBatch>),
    Block(Arc<Block>),
}

/// Where a record is, and enough of its digest to sort by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    /// Bytes 1 to 8 of the digest, big endian: within a partition they order all but the rarest of digests.
    key: u64,
    /// The number of the block or batch.
    part: u32,
    /// The record's place in the block, its number in the batch.
    at: u32,
}

impl Row {
    pub(super) fn new(digest: &Digest, part: usize, at: usize) -> Self {
        Row { key: key(digest), part: part as u32, at: at as u32 }
    }
}

fn key(digest: &Digest) -> u64 {
    let [_, bytes @ .., _, _, _, _, _, _, _, _, _, _, _] = digest.0;
    u64::from_be_bytes(bytes)
}

/// The records of one partition in key order, each key once.
#[derive(Default)]
pub struct PartitionRecords {
    parts: Vec<Part>,
    rows: Vec<Row>,
    /// Copies of a record that were dropped because the source delivered it more than once.
    pub duplicates: u64,
}

impl PartitionRecords {
    /// Sorts what one batch after another delivered.
    pub fn from_batches(keys: &Keys, batches: Vec<RecordBatch>) -> Self {
        let mut found = PartitionRecords::default();
        found.merge(keys, batches);
        found
    }

    /// Adds rows that point into `blocks`, which other partitions share.
    pub(super) fn add_rows(&mut self, blocks: &[Arc<Block>], rows: &[Row]) {
        let first = self.parts.len() as u32;
        self.parts.extend(blocks.iter().map(|block| Part::Block(block.clone())));
        self.rows.extend(rows.iter().map(|row| Row { part: row.part + first, ..*row }));
    }

    /// Adds what a later read of single records delivered; it replaces what was there.
    pub fn merge(&mut self, keys: &Keys, batches: Vec<RecordBatch>) {
        for records in batches {
            let part = self.parts.len();
            let digests = records.iter().enumerate();
            self.rows.extend(digests.map(|(at, record)| Row::new(&record.meta.digest, part, at)));
            let hashes = records.iter().map(|record| keys.record_hash(record.meta.set, record.body)).collect();
            self.parts.push(Part::Batch(Arc::new(HashedBatch { records, hashes })));
        }
        self.sort();
    }

    /// Adds all records of a block.
    pub(super) fn add_block(&mut self, block: Block) {
        let part = self.parts.len();
        self.rows.extend(block.iter().map(|(at, record, _)| Row::new(&record.meta.digest, part, at)));
        self.parts.push(Part::Block(Arc::new(block)));
    }

    /// Brings the records into key order and drops copies.
    pub(super) fn sort(&mut self) {
        self.rows.sort_unstable_by_key(|row| row.key);
        if self.rows.windows(2).all(|pair| pair[0].key != pair[1].key) {
            return;
        }
        let mut rows = std::mem::take(&mut self.rows);
        let before = rows.len();
        let whole = |row: &Row| {
            let record = self.at(row).map(|(record, _)| record.meta);
            record.map(|meta| (meta.digest.0, meta.generation.0, row.part, row.at))
        };
        let equal = rows.chunk_by_mut(|a, b| a.key == b.key).filter(|same| same.len() > 1);
        equal.for_each(|same| same.sort_unstable_by_key(whole));
        // Of copies, the last in order stays: the highest generation, then the one that came last.
        let digest = |row: &Row| self.at(row).map(|(record, _)| record.meta.digest);
        rows.reverse();
        rows.dedup_by(|later, kept| later.key == kept.key && digest(later) == digest(kept));
        rows.reverse();
        self.duplicates += (before - rows.len()) as u64;
        self.rows = rows;
    }

    fn at(&self, row: &Row) -> Option<(RecordView<'_>, RecordHash)> {
        let at = row.at as usize;
        match self.parts.get(row.part as usize)? {
            Part::Block(block) => block.get(at),
            Part::Batch(batch) => Some((batch.records.get(at)?, *batch.hashes.get(at)?)),
        }
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// About the bytes of memory that the records take, but for blocks that partitions share.
    pub fn byte_len(&self) -> usize {
        let part = |part: &Part| match part {
            Part::Batch(batch) => batch.records.byte_len() + batch.records.len() * ROW_COST,
            Part::Block(block) if Arc::strong_count(block) == 1 => block.0.len(),
            Part::Block(_) => 0,
        };
        self.rows.len() * size_of::<Row>() + self.parts.iter().map(part).sum::<usize>()
    }

    /// The records, once sorted in key order.
    pub fn iter(&self) -> impl Iterator<Item = (RecordView<'_>, RecordHash)> {
        self.rows.iter().filter_map(|row| self.at(row))
    }

    /// Whether a record with this digest is there.
    pub fn contains(&self, digest: &Digest) -> bool {
        let key = key(digest);
        let first = self.rows.partition_point(|row| row.key < key);
        let same = self.rows.iter().skip(first).take_while(|row| row.key == key);
        same.filter_map(|row| self.at(row)).any(|(record, _)| record.meta.digest == *digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_highest_generation_of_a_record_that_comes_twice() {
        let keys = Keys::derive(&[1; 32]);
        let mut twice = RecordBatch::new();
        for (generation, byte) in [(2, b'a'), (5, b'b'), (3, b'c')] {
            let generation = Generation(generation);
            let meta = RecordMeta { digest: Digest([1; 20]), set: b"", generation, void_time: VoidTime(0) };
            twice.push_encoded(meta, &[byte], &[]).unwrap();
        }
        let records = PartitionRecords::from_batches(&keys, vec![twice]);
        let bodies: Vec<_> = records.iter().map(|(view, _)| view.body.to_vec()).collect();
        assert_eq!((bodies, records.duplicates), (vec![b"b".to_vec()], 2));
    }

    #[test]
    fn orders_digests_that_differ_only_at_their_end() {
        let keys = Keys::derive(&[1; 32]);
        let mut batch = RecordBatch::new();
        for last in [3, 1, 2, 1] {
            let mut digest = [7; 20];
            digest[19] = last;
            let meta =
                RecordMeta { digest: Digest(digest), set: b"", generation: Generation(1), void_time: VoidTime(0) };
            batch.push_encoded(meta, &[last], &[]).unwrap();
        }
        let records = PartitionRecords::from_batches(&keys, vec![batch]);
        let bodies: Vec<_> = records.iter().map(|(view, _)| view.body.to_vec()).collect();
        assert_eq!((bodies, records.duplicates), (vec![vec![1], vec![2], vec![3]], 1));
        let contains = |last| {
            let mut digest = [7; 20];
            digest[19] = last;
            records.contains(&Digest(digest))
        };
        assert_eq!([0, 1, 3, 4].map(contains), [false, true, true, false]);
    }
}
