//! A repository in which packs are partly needed, and what the tests ask of it.

use super::world::*;
use aerolith::format::snapshot::{Manifest, SnapshotState};
use aerolith::format::{ChunkId, names};
use aerolith::internals::pack::read_directory;
use aerolith::store::{Call, Effect, Fault, FaultStore, Listed, MemoryStore, Put, Store};
use aerolith::{
    BackupKind, BackupSession, Control, Error, PruneOptions, PruneReport, RecordOptions, RepairOptions, RepairReport,
    Repository, RestoreOptions, Result, SessionOptions, SnapshotFilter, SnapshotId,
};
use bytes::Bytes;
use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex};

/// What each snapshot holds: by namespace.
pub type Contents = BTreeMap<&'static str, Truth>;

pub fn begin(repository: &Repository) -> Result<BackupSession> {
    let about = SessionOptions::default().cluster("memory");
    repository.begin(about)
}

/// What is warned of while `work` is done with a repository.
pub fn warned_by(repository: &Repository, work: impl FnOnce(&Repository)) -> Vec<String> {
    let control = Control::new();
    work(&repository.watched(&control));
    control.warnings()
}

pub fn options() -> RecordOptions {
    RecordOptions::default().parallel(1)
}

/// Backs up these namespaces into one snapshot.
pub fn back_up_all(
    repository: &Repository,
    kind: BackupKind,
    worlds: &[(&'static str, &World)],
) -> (SnapshotId, Contents) {
    let mut session = begin(repository).unwrap();
    for (namespace, world) in worlds {
        session.records(namespace, *world, kind, &options()).unwrap();
    }
    let id = session.commit().unwrap().id();
    (id, worlds.iter().map(|(namespace, world)| (*namespace, world.truth())).collect())
}

/// Three snapshots: of `gone` and `kept`, then two of `kept` alone. Once the first is forgotten, its packs are partly
/// needed.
pub struct Scene {
    pub disk: Arc<MemoryStore>,
    pub snapshots: Vec<(SnapshotId, Contents)>,
    /// The state of `kept` in the last snapshot.
    pub kept: World,
}

impl Scene {
    /// Chunks are spread over two packs by a bit of their names, which each repository's keys make anew: where these
    /// few happen to be parted so that no pack is partly needed, another repository is made.
    pub fn new(records: u64) -> Self {
        let scenes = std::iter::repeat_with(|| Self::with_any_packs(records)).take(100);
        let mut fitting = scenes.filter(|scene| {
            let repository = open(Arc::new(scene.disk.fork())).unwrap();
            forget(&repository, &[scene.id(0)]).unwrap();
            prune(&repository, &thorough()).unwrap().chunks_moved > 0
        });
        fitting.next().expect("a scene of which packs are partly needed")
    }

    fn with_any_packs(records: u64) -> Self {
        let disk = Arc::new(MemoryStore::new());
        let repository = create(disk.clone()).unwrap();
        let gone = World::filled(10_000..10_000 + records);
        let first = World::filled(0..records);
        let second = first.later(0..records, 0.1, 0.05, 1);
        let third = second.later(0..records, 0.1, 0.05, 2);
        let snapshots = vec![
            back_up_all(&repository, BackupKind::Full, &[("gone", &gone), ("kept", &first)]),
            back_up_all(&repository, BackupKind::Incremental, &[("kept", &second)]),
            back_up_all(&repository, BackupKind::Incremental, &[("kept", &third)]),
        ];
        Scene { disk, snapshots, kept: third }
    }

    pub fn repository(&self) -> Repository {
        open(self.disk.clone()).unwrap()
    }

    pub fn id(&self, n: usize) -> String {
        self.snapshots[n].0.to_string()
    }
}

pub fn open(store: Arc<dyn Store>) -> Result<Repository> {
    Repository::open(store, PASSPHRASE)
}

/// Leaves nothing unused.
pub fn thorough() -> PruneOptions {
    PruneOptions::default().max_unused_percent(0.0)
}

pub fn prune(repository: &Repository, options: &PruneOptions) -> Result<PruneReport> {
    repository.prune(options)
}

pub fn forget(repository: &Repository, names: &[String]) -> Result<()> {
    repository.forget_named(names, &SnapshotFilter::ALL).map(|_| ())
}

/// A collection of which nothing gets done but its plan.
pub fn plan_and_die(disk: &Arc<MemoryStore>, open: fn(Arc<dyn Store>) -> Result<Repository>) {
    let store = FaultStore::new(disk.clone());
    store.inject(Fault::nth(0, Effect::CrashAfter).of(Call::PutNew).under(names::PLANS));
    message(prune(&open(Arc::new(store)).unwrap(), &thorough().fence(true)));
}

/// Each of these snapshots that is still committed must hold exactly what it held; gives back how many are.
pub fn assert_exact(repository: &Repository, snapshots: &[(SnapshotId, Contents)], about: &str) -> usize {
    let mut committed = 0;
    for (id, contents) in snapshots {
        let size = repository.store().size(&names::snapshot(id)).unwrap().unwrap();
        if SnapshotState::from_size(size) != SnapshotState::Committed {
            continue;
        }
        committed += 1;
        let snapshot = repository.snapshot(&id.to_string()).unwrap_or_else(|error| panic!("{about}: {error}"));
        for (namespace, truth) in contents {
            let target = MemoryTarget::default();
            let report = snapshot.restore(namespace, &target, &RestoreOptions::default());
            let report = report.unwrap_or_else(|error| panic!("{about}, {id}, {namespace}: {error}"));
            assert!(!report.is_damaged() && report.adds_up(), "{about}, {id}, {namespace}: {report:?}");
            assert!(*target.records.lock().unwrap() == *truth, "{about}: {namespace} of {id} is another");
        }
    }
    committed
}

/// A repair that reads all.
pub fn thorough_repair() -> RepairOptions {
    RepairOptions::default().read_percent(100.0)
}

pub fn repair(repository: &Repository, options: &RepairOptions) -> Result<RepairReport> {
    repository.repair(options)
}

pub fn manifest_of(repository: &Repository, id: SnapshotId) -> Manifest {
    repository.snapshot(&id.to_string()).unwrap().manifest().clone()
}

/// Two sessions that write the same, and know nothing of each other.
pub fn begin_twice(repository: &Repository, namespace: &str, world: &World) -> [BackupSession; 2] {
    let mut sessions = [begin(repository).unwrap(), begin(repository).unwrap()];
    for session in &mut sessions {
        session.records(namespace, world, BackupKind::Full, &options()).unwrap();
    }
    sessions
}

/// A check that reads all must find nothing.
pub fn assert_clean(repository: &Repository, about: &str) {
    let found = check(repository).unwrap();
    assert!(found.problems.is_empty() && found.hurt.is_empty(), "{about}: {found:?}");
}

/// No chunk may stand in a pack that no snapshot reaches, none twice, no plan is pending, and the index names packs
/// alone that exist.
pub fn assert_nothing_unused(repository: &Repository, about: &str) {
    let store = repository.store();
    let mut reached: HashSet<ChunkId> = HashSet::new();
    for snapshot in repository.snapshots().unwrap().snapshots {
        snapshot.reach(&mut reached, &mut |_, _| {}).unwrap();
    }
    let mut stored = HashSet::new();
    for object in store.list(names::PACKS).unwrap() {
        let id = names::parse_pack(&object.key).unwrap();
        for row in read_directory(&**store, repository.keys(), id, object.size).unwrap().1 {
            assert!(reached.contains(&row.id), "{about}: chunk {} is not needed", row.id);
            assert!(stored.insert(row.id), "{about}: chunk {} is there twice", row.id);
        }
    }
    assert_eq!(stored.len(), reached.len(), "{about}");
    assert!(store.list(names::PLANS).unwrap().is_empty(), "{about}: a plan is pending");
    for pack in repository.index().unwrap().packs().into_keys() {
        assert!(store.size(&names::pack(&pack)).unwrap().is_some(), "{about}: the index names {pack}, which is gone");
    }
}

type Hook = Box<dyn FnMut(Call, &str) + Send>;

/// A store that says what is about to happen, so that something else can happen before.
pub struct HookStore {
    inner: Arc<MemoryStore>,
    hook: Mutex<Hook>,
}

impl HookStore {
    pub fn new(inner: Arc<MemoryStore>, hook: impl FnMut(Call, &str) + Send + 'static) -> Arc<Self> {
        Arc::new(HookStore { inner, hook: Mutex::new(Box::new(hook)) })
    }

    fn tell(&self, call: Call, key: &str) -> &MemoryStore {
        (self.hook.lock().unwrap())(call, key);
        &self.inner
    }
}

impl Store for HookStore {
    fn location(&self) -> &str {
        "memory"
    }
    fn put_new(&self, key: &str, bytes: &[u8]) -> Result<Put> {
        self.tell(Call::PutNew, key).put_new(key, bytes)
    }
    fn put_content(&self, key: &str, bytes: &Bytes) -> Result<Put> {
        self.tell(Call::PutNew, key).put_content(key, bytes)
    }
    fn put(&self, key: &str, bytes: &[u8]) -> Result<()> {
        self.tell(Call::Put, key).put(key, bytes)
    }
    fn get(&self, key: &str, limit: u64) -> Result<Option<Bytes>> {
        self.tell(Call::Get, key).get(key, limit)
    }
    fn get_range(&self, key: &str, offset: u64, length: usize) -> Result<Option<Bytes>> {
        self.tell(Call::GetRange, key).get_range(key, offset, length)
    }
    fn size(&self, key: &str) -> Result<Option<u64>> {
        self.tell(Call::Size, key).size(key)
    }
    fn list(&self, prefix: &str) -> Result<Vec<Listed>> {
        self.tell(Call::List, prefix).list(prefix)
    }
    fn delete(&self, key: &str) -> Result<()> {
        self.tell(Call::Delete, key).delete(key)
    }
    fn sync(&self) -> Result<()> {
        self.tell(Call::Sync, "").sync()
    }
}

/// The message of an error that was expected.
pub fn message<T>(result: Result<T>) -> String {
    let error: Error = refused(result);
    error.to_string()
}
