//! Bringing records that come in any order into key order, in bounded memory.
//!
//! Records are put into buckets of neighbouring partitions as they come, and sorted bucket by bucket, when one fits
//! into the processor's cache: sorting all at once waits for memory at every record. Past a bound the buckets are
//! spilled to a temporary file.

#[cfg(feature = "cluster")]
mod batches;
mod block;
mod rows;
mod spill;

#[cfg(feature = "cluster")]
pub use batches::Batches;
pub use rows::PartitionRecords;

use crate::crypto::Keys;
use crate::error::{Error, Result};
use crate::record::{PARTITIONS, PartitionId, RecordBatch};
use crate::sync::lock;
use block::Block;
use rows::Row;
use spill::{Spill, SpillPlace};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// Partitions in one bucket.
const BUCKET_PARTITIONS: usize = 32;
const BUCKETS: usize = PARTITIONS as usize / BUCKET_PARTITIONS;
/// A bucket's blocks have room for this many bytes, the first one for fewer.
const BLOCK_BYTES: usize = 256 << 10;
const FIRST_BLOCK_BYTES: usize = 16 << 10;

/// Neighbouring partitions: the records that came, with a row for each, and once the first of its partitions is asked
/// for, the rows of each. (To find the rows by going over the records would be to wait for memory once more.)
#[derive(Default)]
struct Bucket {
    blocks: Vec<Arc<Block>>,
    open: Block,
    rows: Vec<Row>,
    by_partition: Option<Vec<Vec<Row>>>,
}

impl Bucket {
    fn add(&mut self, batch: &RecordBatch, record: usize, hash: &crate::format::leaf::RecordHash) -> usize {
        let Some(record) = batch.get(record) else { return 0 };
        let bytes = Block::record_bytes(&record);
        if self.open.0.len() + bytes > self.open.0.capacity() {
            self.close();
            let room = if self.blocks.is_empty() { FIRST_BLOCK_BYTES } else { BLOCK_BYTES };
            self.open.0.reserve_exact(bytes.max(room));
        }
        self.rows.push(Row::new(&record.meta.digest, self.blocks.len(), self.open.0.len()));
        self.open.push(&record, hash);
        bytes + size_of::<Row>()
    }

    fn close(&mut self) {
        let block = std::mem::take(&mut self.open);
        if !block.0.is_empty() {
            self.blocks.push(Arc::new(block));
        }
    }

    /// The rows of each of the bucket's partitions.
    fn by_partition(&mut self) -> Vec<Vec<Row>> {
        self.close();
        let mut by_partition = vec![Vec::new(); BUCKET_PARTITIONS];
        for row in std::mem::take(&mut self.rows) {
            if let Some(rows) = by_partition.get_mut(row.low_partition() % BUCKET_PARTITIONS) {
                rows.push(row);
            }
        }
        by_partition
    }

    /// Moves the records of one partition to `found`.
    fn take(&mut self, partition: PartitionId, found: &mut PartitionRecords) {
        let mut rows = match self.by_partition.take() {
            Some(rows) => rows,
            None => self.by_partition(),
        };
        let at = usize::from(partition.number()) % BUCKET_PARTITIONS;
        let own = rows.get_mut(at).map(std::mem::take).unwrap_or_default();
        found.add_rows(&self.blocks, &own);
        if rows.iter().all(Vec::is_empty) {
            self.blocks.clear();
        }
        self.by_partition = Some(rows);
    }
}

/// What was spilled at one time: a block for each partition.
struct Spilled {
    file: Spill,
    parts: BTreeMap<PartitionId, SpillPlace>,
}

/// Takes batches from several threads and gives them back partition by partition.
pub struct Sorter {
    keys: Arc<Keys>,
    bound: usize,
    buckets: Vec<Mutex<Bucket>>,
    bytes: AtomicUsize,
    spills: Mutex<Vec<Arc<Spilled>>>,
}

impl Sorter {
    /// A sorter that holds at most about `bound` bytes in memory.
    pub fn new(keys: Arc<Keys>, bound: usize) -> Self {
        let buckets = (0..BUCKETS).map(|_| Mutex::default()).collect();
        Sorter { keys, bound, buckets, bytes: AtomicUsize::new(0), spills: Mutex::default() }
    }

    /// Takes a batch.
    pub fn push(&self, records: RecordBatch) -> Result<()> {
        let hashes = self.keys.records()?.hashes(&records);
        let bucket = |digest: &crate::record::Digest| usize::from(digest.partition().number()) / BUCKET_PARTITIONS;
        // Counts, then places: the batch's records in the order of their buckets.
        let mut ends = [0u32; BUCKETS];
        records.iter().for_each(|record| ends.get_mut(bucket(&record.meta.digest)).into_iter().for_each(|n| *n += 1));
        let mut begin = 0;
        for end in &mut ends {
            begin += std::mem::replace(end, begin);
        }
        let mut order = vec![0u32; records.len()];
        for (number, record) in records.iter().enumerate() {
            if let Some(end) = ends.get_mut(bucket(&record.meta.digest)) {
                order.get_mut(*end as usize).into_iter().for_each(|place| *place = number as u32);
                *end += 1;
            }
        }
        let (mut rest, mut before, mut bytes) = (&order[..], 0, 0);
        for (end, bucket) in ends.iter().zip(&self.buckets) {
            let parted = rest.split_at_checked((end - before) as usize);
            let (own, others) = parted.ok_or_else(|| Error::internal("a batch has fewer records than its buckets"))?;
            (rest, before) = (others, *end);
            if own.is_empty() {
                continue;
            }
            let mut bucket = lock(bucket);
            for &number in own {
                let hash = hashes.get(number as usize).ok_or_else(|| Error::internal("a record without a hash"))?;
                bytes += bucket.add(&records, number as usize, hash);
            }
        }
        let held = self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if held > self.bound { self.spill() } else { Ok(()) }
    }

    /// How often memory did not suffice.
    #[cfg(test)]
    fn spills(&self) -> usize {
        lock(&self.spills).len()
    }

    fn spill(&self) -> Result<()> {
        let mut spills = lock(&self.spills);
        // Another thread may have spilled while this one waited.
        if self.bytes.load(Ordering::Relaxed) <= self.bound {
            return Ok(());
        }
        let mut spilled = Spilled { file: Spill::create()?, parts: BTreeMap::new() };
        for (bucket, first) in self.buckets.iter().zip((0u16..).step_by(BUCKET_PARTITIONS)) {
            let mut taken = std::mem::take(&mut *lock(bucket));
            let rows = taken.rows.len() * size_of::<Row>();
            let bytes = rows + taken.blocks.iter().map(|block| block.0.len()).sum::<usize>() + taken.open.0.len();
            for (rows, number) in taken.by_partition().into_iter().zip(first..) {
                let Some(partition) = PartitionId::new(number).filter(|_| !rows.is_empty()) else { continue };
                let mut part = Block::default();
                let mut records = PartitionRecords::default();
                records.add_rows(&taken.blocks, &rows);
                records.try_each(|record, hash| {
                    part.push(record, &hash);
                    Ok(())
                })?;
                spilled.parts.insert(partition, spilled.file.write(part)?);
            }
            self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
        spills.push(Arc::new(spilled));
        Ok(())
    }

    /// The records of a partition; they are given back once, and none may be pushed any more.
    pub fn take(&self, partition: PartitionId) -> Result<PartitionRecords> {
        let mut found = PartitionRecords::default();
        let spills = lock(&self.spills).clone();
        for spill in &spills {
            if let Some(&place) = spill.parts.get(&partition) {
                found.add_block(spill.file.read(place)?);
            }
        }
        if let Some(bucket) = self.buckets.get(usize::from(partition.number()) / BUCKET_PARTITIONS) {
            lock(bucket).take(partition, &mut found);
        }
        found.sort()?;
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::leaf::RecordHash;
    use crate::record::{Digest, Generation, RecordMeta, VoidTime};

    fn batch(numbers: impl Iterator<Item = u32>) -> RecordBatch {
        let mut batch = RecordBatch::new();
        for n in numbers {
            let mut digest = [0; 20];
            digest[..4].copy_from_slice(&n.wrapping_mul(2_654_435_761).to_le_bytes());
            let meta = RecordMeta {
                digest: Digest(digest),
                set: if n % 2 == 0 { b"even" } else { b"" },
                generation: Generation(n % 7),
                void_time: VoidTime(n),
            };
            batch.push_encoded(meta, &[0, 0, n as u8], &[]).unwrap();
        }
        batch
    }

    fn drain(sorter: &Sorter) -> Vec<(Digest, Vec<u8>, RecordHash)> {
        let mut all = Vec::new();
        for partition in PartitionId::all() {
            let records = sorter.take(partition).unwrap();
            records
                .try_each(|view, hash| {
                    all.push((view.meta.digest, view.meta.set.to_vec(), hash));
                    Ok(())
                })
                .unwrap();
        }
        all
    }

    #[test]
    fn spills_past_its_bound_and_gives_the_same_records_in_the_same_order() {
        let keys = Arc::new(Keys::derive(&[1; 32]));
        let (roomy, tight) = (Sorter::new(keys.clone(), usize::MAX), Sorter::new(keys, 10_000));
        for part in 0..10u32 {
            roomy.push(batch(part * 100..part * 100 + 100)).unwrap();
            tight.push(batch(part * 100..part * 100 + 100)).unwrap();
        }
        assert_eq!((roomy.spills(), tight.spills() > 2), (0, true));
        let sorted = drain(&roomy);
        assert_eq!(sorted.len(), 1000);
        assert!(sorted.windows(2).all(|pair| pair[0].0.sort_key() < pair[1].0.sort_key()));
        assert_eq!(drain(&tight), sorted);
    }
}
