//! What thirty days take, and what reclaiming their space and checking them costs: `cargo bench --bench collection`.
//!
//! A full backup of a million sample records, then 29 incremental ones, each after one record in twenty was changed.
//! Prints what all of it takes on disk, against the first day and the compressed bodies of the changed records; how
//! long `check` takes; and what a prune reads, writes and keeps in memory once 20 of the 30 snapshots were forgotten.
//! `RECORDS=100000` takes another number, `DAYS=60` other days, `DIRECTORY=/mnt/disk` another place than the temporary
//! directory.

use aerolith::embedded::{Bin, sample};
use aerolith::internals::chunk::compress;
use aerolith::record::{
    BinRef, Digest, Generation, NamespaceMetadata, PARTITIONS, PartitionId, RecordBatch, RecordMeta, Timestamp,
    VoidTime,
};
use aerolith::store::{CountingStore, LocalStore, Store};
use aerolith::{
    BackupKind, CheckOptions, Compression, CreateOptions, DigestRow, Error, KdfCost, PartitionedSource, PruneOptions,
    RecordOptions, RecordSource, Repository, Result, SessionOptions, SnapshotFilter, SourceShape,
};
use peak_alloc::PeakAlloc;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

const NAMESPACE: &str = "bench";
const DAY_MILLIS: u64 = 86_400_000;
const CHANGED: f64 = 0.05;
/// As large as the chunks that values are cut into, on average.
const BLOCK_BYTES: usize = 64 << 10;

/// A record: its number, when it was last changed (in days), and its generation.
struct Row {
    digest: Digest,
    index: u64,
    changed: u32,
    generation: u32,
}

impl Row {
    /// When it was last updated, in milliseconds: an hour before the day's backup begins.
    fn updated(&self) -> u64 {
        u64::from(self.changed + 1) * DAY_MILLIS - 3_600_000
    }
}

/// The sample records as they are on one day.
struct Days {
    partitions: Vec<Vec<Row>>,
    today: u32,
}

impl Days {
    fn new(records: u64) -> Self {
        let mut partitions: Vec<Vec<Row>> = (0..PARTITIONS).map(|_| Vec::new()).collect();
        for index in 0..records {
            let digest = sample::digest_of(index);
            partitions[usize::from(digest.partition().number())].push(Row { digest, index, changed: 0, generation: 1 });
        }
        partitions.iter_mut().for_each(|rows| rows.sort_unstable_by_key(|row| row.digest));
        Days { partitions, today: 0 }
    }

    /// One more day: one record in twenty is changed.
    fn pass(&mut self) {
        self.today += 1;
        for row in self.partitions.iter_mut().flatten() {
            if sample::is_picked(row.index, u64::from(self.today), CHANGED) {
                (row.changed, row.generation) = (self.today, row.generation + 1);
            }
        }
    }

    fn push(&self, row: &Row, batch: &mut RecordBatch) -> Result<()> {
        let bins = sample::bins_of(row.index, u64::from(row.changed));
        let bins: Vec<BinRef<'_>> = bins.iter().map(Bin::as_ref).collect();
        let (set, generation) = (sample::set_of(row.index).as_bytes(), Generation(row.generation));
        let meta = RecordMeta { digest: row.digest, set, generation, void_time: VoidTime::NEVER };
        batch.push(meta, None, &bins).map_err(|error| Error::invalid(error.to_string()))
    }

    /// The compressed bytes of the bodies that changed today, one after the other in key order, each set on its own.
    fn changed_bytes(&self) -> Result<u64> {
        let (mut open, mut bytes): (HashMap<&str, Vec<u8>>, usize) = (HashMap::new(), 0);
        let mut packed = Vec::new();
        let mut pack = |block: &[u8]| {
            packed.clear();
            compress(Compression::Lz4, block, &mut packed);
            packed.len()
        };
        for row in self.partitions.iter().flatten().filter(|row| row.changed == self.today) {
            let mut batch = RecordBatch::new();
            self.push(row, &mut batch)?;
            let block = open.entry(sample::set_of(row.index)).or_default();
            batch.iter().for_each(|record| block.extend_from_slice(record.body));
            if block.len() >= BLOCK_BYTES {
                bytes += pack(block);
                block.clear();
            }
        }
        bytes += open.values().map(|block| pack(block)).sum::<usize>();
        Ok(bytes as u64)
    }
}

impl RecordSource for Days {
    fn name(&self) -> &str {
        "made up"
    }
    fn cluster(&self) -> Option<String> {
        Some("made up".into())
    }
    fn namespaces(&self) -> Result<Vec<String>> {
        Ok(vec![NAMESPACE.into()])
    }
    fn clock(&self) -> Result<Timestamp> {
        Ok(Timestamp(u64::from(self.today + 1) * DAY_MILLIS))
    }
    fn metadata(&self, _: &str) -> Result<NamespaceMetadata> {
        Ok(NamespaceMetadata::default())
    }
    fn shape(&self) -> SourceShape<'_> {
        SourceShape::Partitioned(self)
    }
}

impl PartitionedSource for Days {
    fn scan(
        &self,
        _: &str,
        partition: PartitionId,
        since: Option<Timestamp>,
        each: &mut dyn FnMut(RecordBatch) -> Result<()>,
    ) -> Result<()> {
        let mut batch = RecordBatch::new();
        let rows = self.partitions[usize::from(partition.number())].iter();
        for row in rows.filter(|row| since.is_none_or(|since| row.updated() >= since.0)) {
            self.push(row, &mut batch)?;
        }
        if batch.is_empty() { Ok(()) } else { each(batch) }
    }

    fn walk(
        &self,
        _: &str,
        partition: PartitionId,
        before: Option<Timestamp>,
        each: &mut dyn FnMut(&[DigestRow]) -> Result<()>,
    ) -> Result<()> {
        let row = |row: &Row| DigestRow {
            digest: row.digest,
            generation: Generation(row.generation),
            void_time: VoidTime::NEVER,
        };
        let rows = self.partitions[usize::from(partition.number())].iter();
        let rows = rows.filter(|row| before.is_none_or(|before| row.updated() < before.0));
        each(&rows.map(row).collect::<Vec<_>>())
    }

    fn read(&self, _: &str, digests: &[Digest], each: &mut dyn FnMut(RecordBatch) -> Result<()>) -> Result<()> {
        let mut batch = RecordBatch::new();
        for digest in digests {
            let rows = &self.partitions[usize::from(digest.partition().number())];
            if let Ok(at) = rows.binary_search_by_key(digest, |row| row.digest) {
                self.push(&rows[at], &mut batch)?;
            }
        }
        if batch.is_empty() { Ok(()) } else { each(batch) }
    }

    fn clock_margin_millis(&self) -> u64 {
        0
    }
}

fn mb(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

fn stored(store: &dyn Store) -> Result<u64> {
    Ok(store.list("")?.iter().map(|object| object.size).sum())
}

/// Takes the backups; gives back the bytes of the first day, and those of the bodies that changed later.
fn fill(repository: &Repository, records: u64, days: u32) -> Result<(u64, u64)> {
    let mut source = Days::new(records);
    let (mut first, mut changed) = (0, 0);
    for day in 0..days {
        let kind = if day == 0 { BackupKind::Full } else { BackupKind::Incremental };
        let mut session = repository.begin(SessionOptions::default())?;
        session.records(NAMESPACE, &source, kind, &RecordOptions::default())?;
        let snapshot = session.commit()?;
        if day == 0 {
            first = stored(&**repository.store())?;
        } else {
            changed += source.changed_bytes()?;
        }
        let namespace = &snapshot.manifest().namespaces[0];
        eprintln!(
            "day {day}: {:.2} MB, {} runs, {} changed, {} moved",
            mb(snapshot.manifest().stored_bytes),
            namespace.runs.len(),
            namespace.counts.changed,
            namespace.counts.moved
        );
        source.pass();
    }
    Ok((first, changed))
}

/// Runs something; gives back its result, its seconds, and the most memory that it took, in MB.
fn measured<T>(work: impl FnOnce() -> Result<T>) -> Result<(T, f64, f64)> {
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    let begun = Instant::now();
    let done = work()?;
    Ok((done, begun.elapsed().as_secs_f64(), (MEMORY.peak_usage().saturating_sub(before)) as f64 / 1e6))
}

fn check(path: &std::path::Path, about: &str) -> Result<()> {
    let counting = Arc::new(CountingStore::new(LocalStore::open(path)?));
    let repository = Repository::open(counting.clone(), b"bench")?;
    let (report, seconds, memory) = measured(|| repository.check(&CheckOptions::default()))?;
    assert!(report.problems.is_empty(), "{:?}", report.problems);
    println!(
        "check of {} snapshots {about}: {seconds:.2} s, {:.1} MB read, {memory:.0} MB of memory",
        report.snapshots,
        mb(counting.counts().bytes_read())
    );
    Ok(())
}

/// Reads one record that never changed, and so is in the oldest run, out of the last snapshot.
fn get(path: &std::path::Path) -> Result<()> {
    let counting = Arc::new(CountingStore::new(LocalStore::open(path)?));
    let repository = Repository::open(counting.clone(), b"bench")?;
    let never = |index: &u64| (1..60).all(|day| !sample::is_picked(*index, day, CHANGED));
    let index = (0..).find(never).unwrap_or_default();
    let snapshot = repository.snapshot("latest")?;
    let opened = counting.counts();
    let found = snapshot.namespace(NAMESPACE)?.get(&sample::digest_of(index))?.is_some();
    let read = counting.counts();
    println!(
        "get of a record that never changed: {:.0} kB read in {} calls, of them {:.0} kB in {} for opening; found: \
         {found}",
        read.bytes_read() as f64 / 1e3,
        read.read_calls(),
        opened.bytes_read() as f64 / 1e3,
        opened.read_calls()
    );
    Ok(())
}

fn main() -> Result<()> {
    let number = |name: &str, default| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default);
    let (records, days) = (number("RECORDS", 1_000_000), number("DAYS", 30) as u32);
    let parent = std::env::var_os("DIRECTORY").map_or_else(std::env::temp_dir, Into::into);
    let directory = tempfile::tempdir_in(parent).map_err(|error| Error::io("make a temporary directory", error))?;
    let path = directory.path().join("repository");
    let options = CreateOptions::default().cost(KdfCost::WEAK);
    let repository = Repository::create(Arc::new(LocalStore::create(&path)?), b"bench", &options)?;
    let begun = Instant::now();
    let (first, changed) = fill(&repository, records, days)?;
    let all = stored(&**repository.store())?;
    println!(
        "{days} days of {records} records: {:.1} MB stored, first day {:.1} MB, changed bodies {:.1} MB: {:.3} times \
         both; {:.0} s",
        mb(all),
        mb(first),
        mb(changed),
        all as f64 / (first + changed) as f64,
        begun.elapsed().as_secs_f64()
    );
    drop(repository);
    get(&path)?;
    check(&path, "before")?;

    let counting = Arc::new(CountingStore::new(LocalStore::open(&path)?));
    let repository = Repository::open(counting.clone(), b"bench")?;
    let snapshots = repository.snapshots()?.snapshots;
    let old: Vec<String> =
        snapshots.iter().take(snapshots.len() * 2 / 3).map(|manifest| manifest.id().to_string()).collect();
    repository.forget_named(&old, &SnapshotFilter::ALL)?;
    let before = counting.counts();
    let (report, seconds, memory) = measured(|| repository.prune(&PruneOptions::default()))?;
    let counts = counting.counts() - before;
    let beyond = counts.bytes_read().saturating_sub(report.bytes_moved);
    println!(
        "prune after forgetting {} of them: {seconds:.2} s, {memory:.0} MB of memory; {:.1} MB of {:.1} MB deleted, \
         {:.1} MB moved",
        old.len(),
        mb(report.bytes_deleted),
        mb(all),
        mb(report.bytes_moved)
    );
    println!(
        "  {:.2} MB read in {} calls, {:.2} MB of it beyond what was moved: {:.2} % of what was stored",
        mb(counts.bytes_read()),
        counts.read_calls(),
        mb(beyond),
        beyond as f64 / all as f64 * 100.0
    );
    drop(repository);
    check(&path, "after")
}
