//! Bringing records that come in any order into key order, in bounded memory.
//!
//! Batches stay as they came while they fit; past the bound they are sorted and spilled to an unnamed temporary file, each
//! partition a sealed part under a key that lives only in memory: nobody finds plaintext on the disk.

use crate::crypto::{Keys, Sealer, random};
use crate::error::{Error, Result};
use crate::format::header::{Class, ObjectKind, Suite};
use crate::format::leaf::RecordHash;
use crate::record::varint::{put, take_bytes, take_len};
use crate::record::{
    Digest, Generation, MAX_BODY_BYTES, PARTITIONS, PartitionId, RecordBatch, RecordMeta, RecordView, VoidTime,
};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, PoisonError};

/// What a record costs in memory beside its bytes.
const ROW_COST: usize = 120;

/// A batch with the hash of each record.
struct HashedBatch {
    records: RecordBatch,
    hashes: Vec<RecordHash>,
}

impl HashedBatch {
    fn new(keys: &Keys, records: RecordBatch) -> Self {
        let hashes = records.iter().map(|record| keys.record_hash(record.meta.set, record.body)).collect();
        HashedBatch { records, hashes }
    }
}

struct Spill {
    file: File,
    sealer: Sealer,
    /// For each partition: where its part begins and how long it is, with its tag.
    parts: Vec<(u64, usize)>,
}

#[derive(Default)]
struct Held {
    batches: Vec<Arc<HashedBatch>>,
    rows: Vec<Vec<(u32, u32)>>,
    bytes: usize,
    spills: Vec<Arc<Spill>>,
    records: u64,
}

/// Takes batches from several threads and gives them back partition by partition.
pub struct Sorter {
    keys: Arc<Keys>,
    bound: usize,
    held: Mutex<Held>,
}

/// The records of one partition in key order, each key once.
#[derive(Default)]
pub struct PartitionRecords {
    batches: Vec<Arc<HashedBatch>>,
    rows: Vec<(u32, u32)>,
    /// Copies of a record that were dropped because the source delivered it more than once.
    pub duplicates: u64,
}

impl Sorter {
    /// A sorter that holds at most about `bound` bytes in memory.
    pub fn new(keys: Arc<Keys>, bound: usize) -> Self {
        Sorter { keys, bound, held: Mutex::default() }
    }

    /// Takes a batch.
    pub fn push(&self, records: RecordBatch) -> Result<()> {
        let batch = HashedBatch::new(&self.keys, records);
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.add(batch);
        if held.bytes > self.bound {
            held.spill()?;
        }
        Ok(())
    }

    /// How many records came so far.
    pub fn records(&self) -> u64 {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).records
    }

    /// How often memory did not suffice.
    pub fn spills(&self) -> usize {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).spills.len()
    }

    /// The records of a partition; they are given back once.
    pub fn take(&self, partition: PartitionId) -> Result<PartitionRecords> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let rows = held.rows.get_mut(usize::from(partition.number())).map(std::mem::take).unwrap_or_default();
        let mut found = PartitionRecords { batches: held.batches.clone(), rows, duplicates: 0 };
        let spills = held.spills.clone();
        drop(held);
        for spill in spills {
            let batch = spill.read(partition)?;
            let number = found.batches.len() as u32;
            found.rows.extend((0..batch.records.len() as u32).map(|row| (number, row)));
            found.batches.push(Arc::new(batch));
        }
        found.sort();
        Ok(found)
    }
}

impl Held {
    fn add(&mut self, batch: HashedBatch) {
        self.rows.resize_with(usize::from(PARTITIONS), Vec::new);
        let number = self.batches.len() as u32;
        for (row, record) in batch.records.iter().enumerate() {
            if let Some(rows) = self.rows.get_mut(usize::from(record.meta.digest.partition().number())) {
                rows.push((number, row as u32));
            }
        }
        self.records += batch.records.len() as u64;
        self.bytes += batch.records.byte_len() + batch.records.len() * ROW_COST;
        self.batches.push(Arc::new(batch));
    }

    fn spill(&mut self) -> Result<()> {
        let full = |error| Error::io("write records that don't fit in memory to the temporary directory", error);
        let file = tempfile::tempfile().map_err(full)?;
        let key = Keys::derive(&random()?);
        let sealer = Sealer::create(&key, ObjectKind::Pack, Class::Data, Suite::Aes256Gcm)?;
        let mut parts = Vec::with_capacity(usize::from(PARTITIONS));
        let mut at = 0;
        for rows in std::mem::take(&mut self.rows) {
            let mut part = Vec::new();
            for (batch, row) in rows {
                let batch = self.batches.get(batch as usize);
                let found = batch.and_then(|b| Some((b.records.get(row as usize)?, b.hashes.get(row as usize)?)));
                if let Some((record, hash)) = found {
                    encode(&mut part, &record, hash);
                }
            }
            sealer.seal(at, b"s", &mut part, 0).map_err(|error| error.of("records that don't fit in memory"))?;
            file.write_all_at(&part, at).map_err(full)?;
            parts.push((at, part.len()));
            at += part.len() as u64;
        }
        self.spills.push(Arc::new(Spill { file, sealer, parts }));
        self.batches.clear();
        self.bytes = 0;
        Ok(())
    }
}

fn encode(out: &mut Vec<u8>, record: &RecordView<'_>, hash: &RecordHash) {
    out.extend_from_slice(&record.meta.digest.0);
    out.extend_from_slice(&hash.0);
    put(out, u64::from(record.meta.generation.0));
    put(out, u64::from(record.meta.void_time.0));
    for bytes in [record.meta.set, record.bin_order, record.body] {
        put(out, bytes.len() as u64);
        out.extend_from_slice(bytes);
    }
}

fn decode(input: &mut &[u8], batch: &mut HashedBatch) -> Option<()> {
    let mut digest = [0; 20];
    digest.copy_from_slice(take_bytes(input, 20)?);
    let mut hash = [0; 16];
    hash.copy_from_slice(take_bytes(input, 16)?);
    let generation = Generation(u32::try_from(take_len(input, u32::MAX as usize)?).ok()?);
    let void_time = VoidTime(u32::try_from(take_len(input, u32::MAX as usize)?).ok()?);
    let mut bytes = || {
        let length = take_len(input, MAX_BODY_BYTES)?;
        take_bytes(input, length)
    };
    let (set, bin_order, body) = (bytes()?, bytes()?, bytes()?);
    let meta = RecordMeta { digest: Digest(digest), set, generation, void_time };
    batch.records.push_encoded(meta, body, bin_order).ok()?;
    batch.hashes.push(RecordHash(hash));
    Some(())
}

impl Spill {
    fn read(&self, partition: PartitionId) -> Result<HashedBatch> {
        let mut batch = HashedBatch { records: RecordBatch::new(), hashes: Vec::new() };
        let Some(&(at, length)) = self.parts.get(usize::from(partition.number())) else { return Ok(batch) };
        let mut part = vec![0; length];
        let lost = |error| Error::io("read back records that did not fit in memory", error);
        self.file.read_exact_at(&mut part, at).map_err(lost)?;
        let plain = self.sealer.unseal(at, b"s", &mut part);
        let mut rest = plain.map_err(|error| error.of("the temporary file of records that did not fit in memory"))?;
        while !rest.is_empty() {
            decode(&mut rest, &mut batch)
                .ok_or_else(|| Error::invalid("the temporary file of spilled records does not read back"))?;
        }
        Ok(batch)
    }
}

impl PartitionRecords {
    /// Sorts what one batch after another delivered.
    pub fn from_batches(keys: &Keys, batches: Vec<RecordBatch>) -> Self {
        let mut found = PartitionRecords::default();
        for records in batches {
            let number = found.batches.len() as u32;
            found.rows.extend((0..records.len() as u32).map(|row| (number, row)));
            found.batches.push(Arc::new(HashedBatch::new(keys, records)));
        }
        found.sort();
        found
    }

    /// Adds what a later read of single records delivered; it replaces what was there.
    pub fn merge(&mut self, keys: &Keys, batches: Vec<RecordBatch>) {
        for records in batches {
            let number = self.batches.len() as u32;
            self.rows.extend((0..records.len() as u32).map(|row| (number, row)));
            self.batches.push(Arc::new(HashedBatch::new(keys, records)));
        }
        self.sort();
    }

    fn sort(&mut self) {
        let mut keyed: Vec<([u8; 20], u32, u32, u32)> = Vec::with_capacity(self.rows.len());
        for &(batch, row) in &self.rows {
            if let Some((record, _)) = self.at(batch, row) {
                keyed.push((record.meta.digest.0, record.meta.generation.0, batch, row));
            }
        }
        keyed.sort_unstable();
        let before = keyed.len();
        // Of copies, the last in order stays: the highest generation, then the one that came last.
        self.rows.clear();
        let mut keyed = keyed.into_iter().peekable();
        while let Some((digest, _, batch, row)) = keyed.next() {
            if keyed.peek().is_none_or(|next| next.0 != digest) {
                self.rows.push((batch, row));
            }
        }
        self.duplicates += (before - self.rows.len()) as u64;
    }

    fn at(&self, batch: u32, row: u32) -> Option<(RecordView<'_>, RecordHash)> {
        let batch = self.batches.get(batch as usize)?;
        Some((batch.records.get(row as usize)?, *batch.hashes.get(row as usize)?))
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The records in key order.
    pub fn iter(&self) -> impl Iterator<Item = (RecordView<'_>, RecordHash)> {
        self.rows.iter().filter_map(|&(batch, row)| self.at(batch, row))
    }

    /// Whether a record with this digest is there.
    pub fn contains(&self, digest: &Digest) -> bool {
        let found = self.rows.binary_search_by_key(&Some(digest.0), |&(batch, row)| {
            self.at(batch, row).map(|(record, _)| record.meta.digest.0)
        });
        found.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            all.extend(records.iter().map(|(view, hash)| (view.meta.digest, view.meta.set.to_vec(), hash)));
        }
        all
    }

    #[test]
    fn spills_past_its_bound_and_gives_the_same_records_in_the_same_order() {
        let keys = Arc::new(Keys::derive(&[1; 32]));
        let (roomy, tight) = (Sorter::new(keys.clone(), usize::MAX), Sorter::new(keys, 20_000));
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
}
