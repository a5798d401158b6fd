//! A source and a target in memory, and what the tests share.

use aerolith::embedded::{Bin, sample};
use aerolith::format::header::{Class, ObjectKind};
use aerolith::format::plan::CollectionPlan;
use aerolith::format::session::Session;
use aerolith::format::snapshot::Manifest;
use aerolith::format::{ChunkId, PackId, names, node, structured};
use aerolith::internals::crypto::sealed::seal;
use aerolith::internals::objects::read_session;
use aerolith::record::{
    BinRef, Digest, Generation, NamespaceMetadata, PartitionId, RecordBatch, RecordMeta, SecondaryIndex, Timestamp,
    VoidTime,
};
use aerolith::store::{MemoryStore, Store};
use aerolith::{
    BackupKind, CheckOptions, CheckReport, ConflictPolicy, CreateOptions, DigestRow, Error, KdfCost, PartitionedSource,
    RecordOptions, RecordSource, RecordTarget, Remarks, Repository, RestoreOptions, RestoreReport, Result,
    SessionOptions, Snapshot, SnapshotId, SourceShape, WriteOutcome,
};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// What is stored of the snapshots, oldest first.
pub fn manifests(repository: &Repository) -> Vec<Manifest> {
    repository.snapshots().unwrap().snapshots.iter().map(|one| one.manifest().clone()).collect()
}

/// The object of a session.
pub fn session_of(repository: &Repository, id: SnapshotId) -> Session {
    read_session(&**repository.store(), repository.keys(), id).unwrap()
}

pub const NAMESPACE: &str = "test";
pub const PASSPHRASE: &[u8] = b"secret";

#[derive(Clone, Debug)]
struct Row {
    set: Vec<u8>,
    generation: u32,
    updated: u64,
    body: Vec<u8>,
    order: Vec<u8>,
}

/// Records in memory with a clock of their own; a clone is another state of the same cluster.
#[derive(Clone, Debug, Default)]
pub struct World {
    records: BTreeMap<(u16, [u8; 20]), Row>,
    clock: u64,
}

/// For each digest: set, generation, body.
pub type Truth = BTreeMap<[u8; 20], (Vec<u8>, u32, Vec<u8>)>;

impl World {
    /// The sample records with these numbers.
    pub fn filled(records: std::ops::Range<u64>) -> Self {
        let mut world = World { clock: 1_000_000, ..World::default() };
        records.for_each(|index| world.put(index, 0));
        world
    }

    fn put(&mut self, index: u64, revision: u64) {
        let digest = sample::digest_of(index);
        let (set, bins) = (sample::set_of(index).as_bytes(), sample::bins_of(index, revision));
        let bins: Vec<BinRef<'_>> = bins.iter().map(Bin::as_ref).collect();
        let (generation, void_time) = (Generation(1), VoidTime::NEVER);
        let mut batch = RecordBatch::new();
        batch.push(RecordMeta { digest, set, generation, void_time }, None, &bins).unwrap();
        let view = batch.get(0).unwrap();
        let key = (digest.partition().number(), digest.0);
        let generation = self.records.get(&key).map_or(1, |row| row.generation + 1);
        let (body, order) = (view.body.to_vec(), view.bin_order.to_vec());
        self.records.insert(key, Row { set: set.to_vec(), generation, updated: self.clock, body, order });
    }

    /// A record with a body of more than so many bytes, which nothing compresses.
    #[allow(dead_code, reason = "for the tests of copies")]
    pub fn put_large(&mut self, index: u64, bytes: usize) {
        let digest = sample::digest_of(index);
        let mut noise = vec![0; bytes];
        let mut state = index | 1;
        for byte in &mut noise {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            *byte = (state >> 56) as u8;
        }
        let particle = aerolith::record::ParticleType::BLOB;
        let bins = [BinRef { name: b"noise", particle, bytes: &noise }];
        let (generation, void_time) = (Generation(1), VoidTime::NEVER);
        let mut batch = RecordBatch::new();
        batch.push(RecordMeta { digest, set: b"large", generation, void_time }, None, &bins).unwrap();
        let body = batch.get(0).unwrap().body.to_vec();
        let row = Row { set: b"large".to_vec(), generation: 1, updated: self.clock, body, order: Vec::new() };
        self.records.insert((digest.partition().number(), digest.0), row);
    }

    /// The next state: of the records with these numbers a fraction is changed and a fraction deleted.
    pub fn later(&self, records: std::ops::Range<u64>, changed: f64, deleted: f64, seed: u64) -> Self {
        let mut next = self.clone();
        next.clock += 60_000;
        for index in records {
            let digest = sample::digest_of(index);
            let key = (digest.partition().number(), digest.0);
            if sample::is_picked(index, seed + 1000, deleted) {
                next.records.remove(&key);
            } else if sample::is_picked(index, seed, changed) {
                next.put(index, seed);
            }
        }
        next.clock += 60_000;
        next
    }

    pub fn truth(&self) -> Truth {
        let rows = self.records.iter();
        rows.map(|((_, digest), row)| (*digest, (row.set.clone(), row.generation, row.body.clone()))).collect()
    }

    fn push(&self, digest: [u8; 20], row: &Row, batch: &mut RecordBatch) {
        let (digest, set, generation) = (Digest(digest), &row.set[..], Generation(row.generation));
        let meta = RecordMeta { digest, set, generation, void_time: VoidTime::NEVER };
        batch.push_encoded(meta, &row.body, &row.order).unwrap();
    }

    fn partition(&self, partition: PartitionId) -> impl Iterator<Item = ([u8; 20], &Row)> {
        let number = partition.number();
        self.records.range((number, [0; 20])..=(number, [255; 20])).map(|((_, digest), row)| (*digest, row))
    }
}

impl RecordSource for World {
    fn name(&self) -> &str {
        "memory"
    }

    fn cluster(&self) -> Option<String> {
        Some("memory".into())
    }

    fn namespaces(&self) -> Result<Vec<String>> {
        Ok(vec![NAMESPACE.into()])
    }

    fn clock(&self) -> Result<Timestamp> {
        Ok(Timestamp(self.clock))
    }

    fn metadata(&self, _: &str) -> Result<NamespaceMetadata> {
        let index = SecondaryIndex {
            name: b"ages".to_vec(),
            bin: b"age".to_vec(),
            kind: b'N',
            value: b'N',
            ..Default::default()
        };
        Ok(NamespaceMetadata { indexes: vec![index], ..NamespaceMetadata::default() })
    }

    fn shape(&self) -> SourceShape<'_> {
        SourceShape::Partitioned(self)
    }
}

impl PartitionedSource for World {
    fn scan(
        &self,
        _: &str,
        partition: PartitionId,
        since: Option<Timestamp>,
        each: &mut dyn FnMut(RecordBatch) -> Result<()>,
    ) -> Result<()> {
        let mut batch = RecordBatch::new();
        for (digest, row) in self.partition(partition) {
            if since.is_none_or(|since| row.updated >= since.0) {
                self.push(digest, row, &mut batch);
            }
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
        let rows: Vec<DigestRow> = self
            .partition(partition)
            .filter(|(_, row)| before.is_none_or(|before| row.updated < before.0))
            .map(|(digest, row)| DigestRow {
                digest: Digest(digest),
                generation: Generation(row.generation),
                void_time: VoidTime::NEVER,
            })
            .collect();
        each(&rows)
    }

    fn read(&self, _: &str, digests: &[Digest], each: &mut dyn FnMut(RecordBatch) -> Result<()>) -> Result<()> {
        let mut batch = RecordBatch::new();
        for digest in digests {
            if let Some(row) = self.records.get(&(digest.partition().number(), digest.0)) {
                self.push(digest.0, row, &mut batch);
            }
        }
        if batch.is_empty() { Ok(()) } else { each(batch) }
    }

    fn clock_margin_millis(&self) -> u64 {
        0
    }
}

/// Keeps what it is given.
#[derive(Default)]
pub struct MemoryTarget {
    pub records: Mutex<Truth>,
    pub metadata: Mutex<NamespaceMetadata>,
}

impl RecordTarget for MemoryTarget {
    fn name(&self) -> &str {
        "memory"
    }

    fn is_live(&self) -> bool {
        false
    }

    fn clock(&self) -> Result<Timestamp> {
        Ok(Timestamp(0))
    }

    fn begin(&self, _: &str, metadata: &NamespaceMetadata) -> Result<Remarks> {
        *self.metadata.lock().unwrap() = metadata.clone();
        Ok(Remarks::default())
    }

    fn write(&self, _: &str, batch: &RecordBatch, _: ConflictPolicy) -> Result<WriteOutcome> {
        let mut records = self.records.lock().unwrap();
        for record in batch.iter() {
            let row = (record.meta.set.to_vec(), record.meta.generation.0, record.body.to_vec());
            assert!(records.insert(record.meta.digest.0, row).is_none(), "a record was restored twice");
        }
        Ok(WriteOutcome { written: batch.len() as u64, ..WriteOutcome::default() })
    }

    fn finish(&self) -> Result<()> {
        Ok(())
    }
}

pub fn create(store: Arc<dyn Store>) -> Result<Repository> {
    let options = CreateOptions::default().cost(KdfCost::WEAK);
    Repository::create(store, PASSPHRASE, &options)
}

pub fn back_up(repository: &Repository, world: &World, kind: BackupKind) -> Result<Snapshot> {
    let about = SessionOptions::default().cluster("memory");
    let mut session = repository.begin(about)?;
    if let Err(error) = session.records(NAMESPACE, world, kind, &RecordOptions::default().parallel(1)) {
        session.abandon(&error);
        return Err(error);
    }
    session.commit()
}

/// Restores what can be restored.
pub fn restore(snapshot: &Snapshot) -> Result<(Truth, RestoreReport)> {
    let target = MemoryTarget::default();
    let report = snapshot.restore(NAMESPACE, &target, &RestoreOptions::default())?;
    assert!(report.adds_up(), "{report:?}");
    let records = target.records.into_inner().unwrap();
    assert_eq!(report.written, records.len() as u64);
    Ok((records, report))
}

/// A snapshot must hold exactly this, and restore without a word of damage.
pub fn assert_whole(repository: &Repository, snapshot: &str, truth: &Truth, about: &str) {
    let snapshot = repository.snapshot(snapshot).unwrap_or_else(|error| panic!("{about}: {error}"));
    let (records, report) = restore(&snapshot).unwrap_or_else(|error| panic!("{about}: {error}"));
    assert!(!report.is_damaged(), "{about}: {report:?}");
    assert!(records == *truth, "{about}: {} records instead of {}", records.len(), truth.len());
}

/// Everything of `part` is in `whole`, and the same there.
pub fn is_part_of(part: &Truth, whole: &Truth) -> bool {
    part.iter().all(|(digest, row)| whole.get(digest) == Some(row))
}

pub fn check(repository: &Repository) -> Result<CheckReport> {
    repository.check(&CheckOptions::default().read_percent(100.0))
}

/// Flips a bit of an object's byte.
pub fn flip(store: &MemoryStore, key: &str, at: usize) {
    let mut bytes = Vec::from(store.get(key, u64::MAX).unwrap().unwrap());
    bytes[at] ^= 1;
    store.put(key, &bytes).unwrap();
}

/// The value chunks of a snapshot.
pub fn values(repository: &Repository, id: &str) -> Vec<ChunkId> {
    let mut values = Vec::new();
    let snapshot = repository.snapshot(id).unwrap();
    let each = &mut |id, class| values.extend((class == Class::Data).then_some(id));
    snapshot.reach(&mut Default::default(), each).unwrap();
    values
}

fn put_sealed(repository: &Repository, store: &MemoryStore, kind: ObjectKind, name: &str, value: &[u8]) {
    let suite = repository.parameters().suite;
    store.put(name, &seal(repository.keys(), kind, suite, name, value).unwrap()).unwrap();
}

/// Writes a plan of a session that need not exist, and gives back its name.
pub fn put_plan(repository: &Repository, store: &MemoryStore, id: SnapshotId, condemned: Vec<PackId>) -> String {
    let name = names::plan(&id);
    let value = structured::encode(&CollectionPlan { session: id, condemned }).unwrap();
    put_sealed(repository, store, ObjectKind::Plan, &name, &value);
    name
}

/// Writes a session's object.
pub fn put_session(repository: &Repository, store: &MemoryStore, session: &Session) {
    let value = structured::encode(session).unwrap();
    put_sealed(repository, store, ObjectKind::Session, &names::session(&session.id), &value);
}

/// Damages every copy of a chunk, and nothing else.
pub fn damage_chunk(repository: &Repository, store: &MemoryStore, id: &ChunkId) {
    let places = repository.chunk_reader().unwrap().locate(id).unwrap();
    assert!(!places.is_empty());
    for at in places {
        flip(store, &names::pack(&at.pack), at.place.offset as usize);
    }
}

/// The children of a run's root, which must be a branch node.
pub fn children(repository: &Repository, run: &aerolith::format::snapshot::RunRef) -> Vec<node::Child> {
    let plain = repository.chunk_reader().unwrap().read(&run.root, Class::Tree).unwrap();
    node::decode(run.level, &plain).unwrap().children
}

/// Whether two digests are in key order.
pub fn before(a: &[u8; 20], b: &Digest) -> bool {
    Digest(*a).sort_key() < b.sort_key()
}

/// The error that was expected.
pub fn refused<T>(result: Result<T>) -> Error {
    result.err().expect("it should have been refused")
}
