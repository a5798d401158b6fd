//! What looking up one record reads, and what memory a backup takes: `cargo bench --bench repository`.
//!
//! Backs up a million made-up records of about 370 bytes, in 10 sets and in 4,095, into a repository on disk, and
//! prints the most memory that was in use at once and what a single `get` in a freshly opened repository read; then
//! copies it into two other repositories, with keys of their own and with shared content keys. `RECORDS=10000000` takes
//! another number.

use aerolith::record::{
    BinRef, Digest, Generation, NamespaceMetadata, ParticleType, PartitionId, RecordBatch, RecordMeta, Timestamp,
    VoidTime,
};
use aerolith::store::{CountingStore, LocalStore};
use aerolith::{
    BackupKind, CopiedSnapshot, CopyOptions, CreateOptions, DigestRow, Error, KdfCost, PartitionedSource,
    RecordOptions, RecordSource, Repository, Result, SessionOptions, SourceShape,
};
use peak_alloc::PeakAlloc;
use std::sync::Arc;
use std::time::Instant;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

const NAMESPACE: &str = "bench";

/// Records made from their numbers: 4 bins, half of their bytes compressible.
struct MadeUp {
    records: u64,
    sets: u64,
}

/// A well-mixed number (SplitMix64).
fn mix(n: u64) -> u64 {
    let n = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}

/// The digest of record `n` of a partition.
fn digest(partition: PartitionId, n: u64) -> Digest {
    let mut bytes = [0; 20];
    let seed = u64::from(partition.number()) << 40 | n;
    for (word, salt) in bytes.chunks_mut(8).zip(0..) {
        word.copy_from_slice(&mix(seed ^ salt << 60).to_le_bytes()[..word.len()]);
    }
    let low = partition.number().to_le_bytes();
    (bytes[0], bytes[1]) = (low[0], bytes[1] & 0xf0 | low[1]);
    Digest(bytes)
}

impl MadeUp {
    fn in_partition(&self, partition: PartitionId) -> u64 {
        self.records / 4096 + u64::from(u64::from(partition.number()) < self.records % 4096)
    }
}

impl RecordSource for MadeUp {
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
        Ok(Timestamp::now())
    }
    fn metadata(&self, _: &str) -> Result<NamespaceMetadata> {
        Ok(NamespaceMetadata::default())
    }
    fn shape(&self) -> SourceShape<'_> {
        SourceShape::Partitioned(self)
    }
}

impl PartitionedSource for MadeUp {
    fn scan(
        &self,
        _: &str,
        partition: PartitionId,
        _: Option<Timestamp>,
        each: &mut dyn FnMut(RecordBatch) -> Result<()>,
    ) -> Result<()> {
        let mut batch = RecordBatch::new();
        for n in 0..self.in_partition(partition) {
            let digest = digest(partition, n);
            let random: Vec<u8> = (0..20).flat_map(|salt| mix(n ^ salt << 50).to_le_bytes()).collect();
            let set = format!("set{}", mix(n ^ u64::from(partition.number()) << 32) % self.sets);
            let text = "a city by the sea, where the trains end, ".repeat(4);
            let bins = [("id", &random[..8]), ("blob", &random[..]), ("city", text.as_bytes()), ("n", &random[8..16])];
            let particles = [ParticleType::INTEGER, ParticleType::BLOB, ParticleType::STRING, ParticleType::INTEGER];
            let bins: Vec<BinRef<'_>> = bins
                .iter()
                .zip(particles)
                .map(|((name, bytes), particle)| BinRef { name: name.as_bytes(), particle, bytes })
                .collect();
            let meta = RecordMeta { digest, set: set.as_bytes(), generation: Generation(1), void_time: VoidTime(0) };
            batch.push(meta, None, &bins).map_err(|error| Error::invalid(error.to_string()))?;
            if batch.byte_len() > 1 << 20 {
                each(std::mem::take(&mut batch))?;
            }
        }
        if batch.is_empty() { Ok(()) } else { each(batch) }
    }

    fn walk(
        &self,
        _: &str,
        _: PartitionId,
        _: Option<Timestamp>,
        _: &mut dyn FnMut(&[DigestRow]) -> Result<()>,
    ) -> Result<()> {
        Ok(())
    }

    fn read(&self, _: &str, _: &[Digest], _: &mut dyn FnMut(RecordBatch) -> Result<()>) -> Result<()> {
        Ok(())
    }

    fn clock_margin_millis(&self) -> u64 {
        0
    }
}

fn run(records: u64, sets: u64) -> Result<()> {
    let directory = tempfile::tempdir().map_err(|error| Error::io("make a temporary directory", error))?;
    let path = directory.path().join("repository");
    let options = CreateOptions::default().cost(KdfCost::WEAK);
    let repository = Repository::create(Arc::new(LocalStore::create(&path)?), b"bench", &options)?;
    let (before, begun) = (MEMORY.current_usage_as_mb(), Instant::now());
    MEMORY.reset_peak_usage();
    let mut session = repository.begin(SessionOptions::default())?;
    session.records(NAMESPACE, &MadeUp { records, sets }, BackupKind::Full, &RecordOptions::default())?;
    let snapshot = session.commit()?;
    let peak = MEMORY.peak_usage_as_mb() - before;
    let stored = snapshot.manifest().stored_bytes;
    let seconds = begun.elapsed().as_secs_f64();
    println!(
        "{records} records in {sets} sets: {seconds:.2} s, {} MB stored, {peak:.0} MiB of memory",
        stored / 1_000_000
    );

    let counting = Arc::new(CountingStore::new(LocalStore::open(&path)?));
    let repository = Repository::open(counting.clone(), b"bench")?;
    let snapshot = repository.snapshot("latest")?;
    let opening = counting.counts();
    let found = snapshot
        .namespace(NAMESPACE)?
        .get(&digest(PartitionId::all().nth(2048).unwrap_or_else(|| unreachable!()), 7))?;
    let all = counting.counts();
    println!(
        "  one get: {} bytes in {} calls, of them {} bytes in {} calls for opening; found: {}",
        all.bytes_read(),
        all.read_calls(),
        opening.bytes_read(),
        opening.read_calls(),
        found.is_some()
    );
    let begun = Instant::now();
    let mut session = repository.begin(SessionOptions::default())?;
    session.records(NAMESPACE, &MadeUp { records, sets }, BackupKind::Full, &RecordOptions::default())?;
    session.commit()?;
    println!("  the same once more, nothing changed: {:.1} s", begun.elapsed().as_secs_f64());
    copies(records, sets, &path)
}

/// Copies what [`run`] backed up into repositories with keys of their own, and with shared content keys; then a second
/// time, when nothing is new but a backup without changes.
fn copies(records: u64, sets: u64, path: &std::path::Path) -> Result<()> {
    let source = Repository::open(Arc::new(LocalStore::open(path)?), b"bench")?;
    for shared in [false, true] {
        let directory = tempfile::tempdir().map_err(|error| Error::io("make a temporary directory", error))?;
        let shares_chunking_with = shared.then(|| source.clone());
        let options = CreateOptions::default().cost(KdfCost::WEAK).shares_chunking_with(shares_chunking_with);
        let target = Repository::create(Arc::new(LocalStore::create(directory.path())?), b"other", &options)?;
        let what = if shared { "shared content keys" } else { "keys of its own" };
        for snapshot in ["latest~1", "latest"] {
            let options = CopyOptions::default().snapshots([snapshot]);
            let (before, begun) = (MEMORY.current_usage_as_mb(), Instant::now());
            MEMORY.reset_peak_usage();
            let report = source.copy(&target, &options)?;
            let (peak, seconds) = (MEMORY.peak_usage_as_mb() - before, begun.elapsed().as_secs_f64());
            let sum = |of: fn(&CopiedSnapshot) -> u64| report.copied.iter().map(of).sum::<u64>();
            println!(
                "  {records} records in {sets} sets copied, {what}, {snapshot}: {seconds:.2} s, {:.1} MB read, {:.1} \
                 MB stored, {peak:.0} MiB of memory",
                sum(|copied| copied.bytes_read) as f64 / 1e6,
                sum(|copied| copied.stored_bytes) as f64 / 1e6
            );
        }
    }
    Ok(())
}

fn main() -> Result<()> {
    let records = std::env::var("RECORDS").ok().and_then(|text| text.parse().ok()).unwrap_or(1_000_000);
    [10, 4095].iter().try_for_each(|sets| run(records, *sets))
}
