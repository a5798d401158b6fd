//! The records of a partition with what brings them into key order.

use super::block::Block;
use super::spill::{Spill, SpillPlace};
use crate::crypto::Keys;
use crate::error::{Error, Result};
use crate::format::leaf::RecordHash;
use crate::record::{Digest, RecordBatch, RecordView};
use crate::sync::lock;
use std::sync::{Arc, Mutex};

/// What a record in a batch costs in memory beside its bytes.
const ROW_COST: usize = 100;
/// Blocks of a temporary file that are kept at hand: what a scan delivered and what was read by digest are two
/// sequences, and a batch may end between two neighbours of each.
const AT_HAND: usize = 4;

/// Records that are fetched ahead at a time: about as many requests for memory as a processor has under way.
const TOUCHED_AT_ONCE: usize = 8;

/// A batch with the hash of each record.
struct HashedBatch {
    records: RecordBatch,
    hashes: Vec<RecordHash>,
}

enum Part {
    Batch(Box<HashedBatch>),
    Block(Arc<Block>),
    /// A block of the temporary file.
    Spilled(SpillPlace),
}

/// Where a record is, and enough of its digest to sort by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    /// Bytes 0 to 7 of the digest, big endian: within a partition they order all but the rarest of digests.
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

    /// The lowest eight bits of the partition's number, which are the first byte of the digest.
    pub(super) fn low_partition(&self) -> usize {
        (self.key >> 56) as usize
    }
}

fn key(digest: &Digest) -> u64 {
    let [bytes @ .., _, _, _, _, _, _, _, _, _, _, _, _] = digest.0;
    u64::from_be_bytes(bytes)
}

/// The records of one partition in key order, each key once. Past a bound they are in a temporary file; sources deliver
/// neighbours together, so that few blocks of it have to be at hand at a time.
pub struct PartitionRecords {
    parts: Vec<Part>,
    rows: Vec<Row>,
    /// Copies of a record that were dropped because the source delivered it more than once.
    pub duplicates: u64,
    /// Batches take at most about so many bytes of memory.
    bound: usize,
    held: usize,
    spill: Option<Spill>,
    /// Blocks of the temporary file that were read last, by their parts.
    at_hand: Mutex<Vec<(u32, Arc<Block>)>>,
}

impl Default for PartitionRecords {
    fn default() -> Self {
        Self::with_bound(Self::BOUND)
    }
}

impl PartitionRecords {
    /// A bound that serves most: 32 MiB, the average partition of a namespace of 128 GiB.
    pub const BOUND: usize = 32 << 20;

    /// No records yet; what [`PartitionRecords::push`] adds takes at most about `bound` bytes of memory.
    pub fn with_bound(bound: usize) -> Self {
        PartitionRecords {
            parts: Vec::new(),
            rows: Vec::new(),
            duplicates: 0,
            bound,
            held: 0,
            spill: None,
            at_hand: Mutex::default(),
        }
    }

    /// Adds rows that point into `blocks`, which other partitions share.
    pub(super) fn add_rows(&mut self, blocks: &[Arc<Block>], rows: &[Row]) {
        let first = self.parts.len() as u32;
        self.parts.extend(blocks.iter().map(|block| Part::Block(block.clone())));
        self.rows.extend(rows.iter().map(|row| Row { part: row.part + first, ..*row }));
    }

    /// Adds what a source delivered. Once all is there, [`PartitionRecords::sort`] brings it into order.
    pub fn push(&mut self, keys: &Keys, records: RecordBatch) -> Result<()> {
        let hashes = keys.records()?.hashes(&records);
        let bytes = records.byte_len() + records.len() * ROW_COST;
        if self.held + bytes <= self.bound {
            let (part, digests) = (self.parts.len(), records.iter().enumerate());
            self.rows.extend(digests.map(|(at, record)| Row::new(&record.meta.digest, part, at)));
            self.parts.push(Part::Batch(Box::new(HashedBatch { records, hashes })));
            self.held += bytes;
            return Ok(());
        }
        let mut block = Block::with_capacity(bytes);
        records.iter().zip(&hashes).for_each(|(record, hash)| block.push(&record, hash));
        self.index(&block);
        let spill = match &mut self.spill {
            Some(spill) => spill,
            None => self.spill.insert(Spill::create()?),
        };
        self.parts.push(Part::Spilled(spill.write(block)?));
        Ok(())
    }

    /// Adds rows for all records of a block that is about to become the next part.
    fn index(&mut self, block: &Block) {
        let part = self.parts.len();
        self.rows.extend(block.iter().map(|(at, record, _)| Row::new(&record.meta.digest, part, at)));
    }

    /// Adds all records of a block.
    pub(super) fn add_block(&mut self, block: Block) {
        self.index(&block);
        self.parts.push(Part::Block(Arc::new(block)));
    }

    /// Brings the records into key order and drops copies: the highest generation stays, and of equal ones what came
    /// last.
    pub fn sort(&mut self) -> Result<()> {
        self.rows.sort_unstable_by_key(|row| row.key);
        if self.rows.is_sorted_by(|a, b| a.key < b.key) {
            return Ok(());
        }
        let rows = std::mem::take(&mut self.rows);
        self.rows.reserve(rows.len());
        for same in rows.chunk_by(|a, b| a.key == b.key) {
            if let [row] = same {
                self.rows.push(*row);
                continue;
            }
            let mut ordered = Vec::with_capacity(same.len());
            for row in same {
                let order = self.with(row, |record, _| {
                    let meta = record.meta;
                    (meta.digest.0, meta.generation.0, row.part, row.at)
                })?;
                ordered.push((order, *row));
            }
            ordered.sort_unstable_by_key(|(order, _)| *order);
            let one_key = ordered.chunk_by(|((a, ..), _), ((b, ..), _)| a == b);
            self.rows.extend(one_key.filter_map(|copies| copies.last()).map(|(_, row)| *row));
        }
        self.duplicates += (rows.len() - self.rows.len()) as u64;
        Ok(())
    }

    /// Looks at a record.
    fn with<R>(&self, row: &Row, look: impl FnOnce(&RecordView<'_>, RecordHash) -> R) -> Result<R> {
        let at = row.at as usize;
        let spilled;
        let found = match self.parts.get(row.part as usize) {
            Some(Part::Block(block)) => block.get(at),
            Some(Part::Batch(batch)) => batch.records.get(at).zip(batch.hashes.get(at).copied()),
            Some(Part::Spilled(place)) => {
                spilled = self.read_back(row.part, *place)?;
                spilled.get(at)
            }
            None => None,
        };
        let (record, hash) = found.ok_or_else(|| Error::internal("a row of a partition points to no record"))?;
        Ok(look(&record, hash))
    }

    fn read_back(&self, part: u32, place: SpillPlace) -> Result<Arc<Block>> {
        let mut at_hand = lock(&self.at_hand);
        if let Some(at) = at_hand.iter().position(|(of, _)| *of == part) {
            // Whoever was used last is last to go.
            at_hand.get_mut(at..).into_iter().for_each(|newer| newer.rotate_left(1));
            let last = at_hand.last().ok_or_else(|| Error::internal("a block at hand is gone"))?;
            return Ok(last.1.clone());
        }
        let spill = self.spill.as_ref().ok_or_else(|| Error::internal("what was spilled has no file"))?;
        let block = Arc::new(spill.read(place)?);
        if at_hand.len() >= AT_HAND {
            at_hand.remove(0);
        }
        at_hand.push((part, block.clone()));
        Ok(block)
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
            Part::Block(block) if Arc::strong_count(block) == 1 => block.0.len(),
            Part::Block(_) | Part::Batch(_) | Part::Spilled(_) => 0,
        };
        self.held + self.rows.len() * size_of::<Row>() + self.parts.iter().map(part).sum::<usize>()
    }

    /// Looks at all records, once sorted in key order.
    pub fn try_each(&self, mut each: impl FnMut(&RecordView<'_>, RecordHash) -> Result<()>) -> Result<()> {
        for rows in self.rows.chunks(TOUCHED_AT_ONCE) {
            // They lie far apart. Asked for one by one, each would be waited for.
            let touched = rows.iter().map(|row| match self.parts.get(row.part as usize) {
                Some(Part::Block(block)) => block.touch(row.at as usize),
                _ => 0,
            });
            std::hint::black_box(touched.fold(0, |all, byte| all ^ byte));
            rows.iter().try_for_each(|row| self.with(row, &mut each)?)?;
        }
        Ok(())
    }

    /// Whether a record with this digest is there.
    pub fn contains(&self, digest: &Digest) -> Result<bool> {
        let key = key(digest);
        let first = self.rows.partition_point(|row| row.key < key);
        for row in self.rows.iter().skip(first).take_while(|row| row.key == key) {
            if self.with(row, |record, _| record.meta.digest == *digest)? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Generation, RecordMeta, VoidTime};
    use proptest::prelude::*;

    /// One record for each digest and generation, whose body is its number.
    fn batch(of: &[([u8; 20], u32)], first: u8) -> RecordBatch {
        let mut batch = RecordBatch::new();
        for (n, (digest, generation)) in of.iter().enumerate() {
            let generation = Generation(*generation);
            let meta = RecordMeta { digest: Digest(*digest), set: b"s", generation, void_time: VoidTime(0) };
            batch.push_encoded(meta, &[first.wrapping_add(n as u8)], &[]).unwrap();
        }
        batch
    }

    fn sorted(bound: usize, batches: Vec<RecordBatch>) -> PartitionRecords {
        let keys = Keys::derive(&[1; 32]);
        let mut records = PartitionRecords::with_bound(bound);
        batches.into_iter().for_each(|batch| records.push(&keys, batch).unwrap());
        records.sort().unwrap();
        records
    }

    fn all(records: &PartitionRecords) -> Vec<([u8; 20], u8, RecordHash)> {
        let mut all = Vec::new();
        let each = |view: &RecordView<'_>, hash| {
            all.push((view.meta.digest.0, view.body[0], hash));
            Ok(())
        };
        records.try_each(each).unwrap();
        all
    }

    fn bodies(records: &PartitionRecords) -> Vec<u8> {
        all(records).into_iter().map(|(_, body, _)| body).collect()
    }

    #[test]
    fn keeps_the_highest_generation_of_a_record_that_comes_twice() {
        for bound in [0, usize::MAX] {
            let records = sorted(bound, vec![batch(&[([1; 20], 2), ([1; 20], 5), ([1; 20], 3)], 0)]);
            assert_eq!((bodies(&records), records.duplicates), (vec![1], 2));
        }
    }

    #[test]
    fn orders_digests_that_differ_only_at_their_end() {
        let digest = |last| {
            let mut digest = [7; 20];
            digest[19] = last;
            digest
        };
        let records = sorted(usize::MAX, vec![batch(&[3, 1, 2, 1].map(|last| (digest(last), 1)), 0)]);
        assert_eq!((bodies(&records), records.duplicates), (vec![3, 2, 0], 1));
        let contains = |last| records.contains(&Digest(digest(last))).unwrap();
        assert_eq!([0, 1, 3, 4].map(contains), [false, true, true, false]);
    }

    #[test]
    fn batches_past_the_bound_take_no_memory() {
        let of: Vec<_> = (0..=255).map(|n| ([n; 20], 1)).collect();
        let batches = || of.chunks(16).map(|some| batch(some, some[0].0[0])).collect();
        let (all, some) = (sorted(usize::MAX, batches()).byte_len(), sorted(5000, batches()).byte_len());
        let rows = 256 * size_of::<Row>();
        assert!(all - rows > 25_000 && some - rows <= 5000 && some > rows, "{all} {some}");
    }

    proptest! {
        #[test]
        fn a_temporary_file_changes_nothing(
            batches in prop::collection::vec(prop::collection::vec((0..40u8, 0..20u8, 1..4u32), 0..30), 0..12),
            bound in 0..12_000usize,
        ) {
            let made = || batches.iter().zip(0u8..).map(|(of, n)| {
                // All of one partition; some differ in what rows are sorted by, and some only after it.
                let digest = |a: u8, b: u8| {
                    let mut digest = [a; 20];
                    digest[..2].fill(0);
                    digest[15] = b;
                    digest
                };
                batch(&of.iter().map(|(a, b, generation)| (digest(*a, *b), *generation)).collect::<Vec<_>>(), n * 20)
            }).collect::<Vec<_>>();
            let (roomy, tight) = (sorted(usize::MAX, made()), sorted(bound, made()));
            prop_assert_eq!(all(&tight), all(&roomy));
            prop_assert_eq!((tight.duplicates, tight.len()), (roomy.duplicates, roomy.len()));
            let keys: Vec<_> = all(&roomy).iter().map(|(digest, ..)| Digest(*digest)).collect();
            prop_assert!(keys.windows(2).all(|pair| pair[0].sort_key() < pair[1].sort_key()));
            for key in &keys {
                prop_assert!(tight.contains(key).unwrap());
            }
        }
    }
}
