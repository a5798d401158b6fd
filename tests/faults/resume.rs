//! A backup that was killed goes on where it was, and is whole in the end.

use crate::support::watching::{Asked, Watch, Watching};
use crate::support::world::*;
use aerolith::format::session::Session;
use aerolith::format::{PackId, names};
use aerolith::record::PartitionSet;
use aerolith::store::{Call, Effect, Fault, FaultStore, MemoryStore, Store};
use aerolith::{
    BackupKind, BackupSession, RecordOptions, RecordSource, Repository, Result, Resumed, SessionOptions, SnapshotId,
};
use rayon::prelude::*;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

/// The states of the source: at the first backup, at the one that is killed, when that goes on, and at the next
/// incremental.
static WORLDS: LazyLock<Vec<World>> = LazyLock::new(|| {
    let mut worlds = vec![World::filled(0..150)];
    for seed in 1..4 {
        let next = worlds.last().unwrap().later(0..150, 0.2, 0.1, seed);
        worlds.push(next);
    }
    worlds
});

/// Notes which partitions a world was asked for, but for what changed in them since the killed backup read them.
struct Watched<'a> {
    world: &'a World,
    selection: String,
    scanned: Mutex<PartitionSet>,
}

impl Watched<'_> {
    fn scanned(&self) -> PartitionSet {
        *self.scanned.lock().unwrap()
    }
}

impl Watch for Watched<'_> {
    type Source = World;

    fn source(&self) -> &World {
        self.world
    }

    fn asked(&self, asked: Asked) -> Result<()> {
        if let Asked::Scan(partition, since) = asked
            && since != Some(WORLDS[1].clock()?)
        {
            self.scanned.lock().unwrap().insert(partition);
        }
        Ok(())
    }

    fn selection(&self) -> String {
        self.selection.clone()
    }
}

fn watching(world: &World) -> Watching<Watched<'_>> {
    selecting(world, "")
}

/// The same, where it is said that a selection was asked for.
fn selecting<'a>(world: &'a World, selection: &str) -> Watching<Watched<'a>> {
    Watching(Watched { world, selection: selection.into(), scanned: Mutex::default() })
}

fn begin(repository: &Repository, resume: bool) -> Result<BackupSession> {
    let note_every = Some(Duration::ZERO);
    let about = SessionOptions::default().cluster("memory").resume(resume).note_every(note_every);
    repository.begin(about)
}

/// A backup that notes as often as it may; gives back what it took over.
fn attempt(repository: &Repository, source: &dyn RecordSource, kind: BackupKind) -> Result<Vec<Resumed>> {
    let mut session = begin(repository, true)?;
    if let Err(error) = session.records(NAMESPACE, source, kind, &RecordOptions::default().parallel(1)) {
        session.abandon(&error);
        return Err(error);
    }
    let resumed = session.resumed().to_vec();
    session.commit().map(|_| resumed)
}

/// A repository with one snapshot, or none.
fn prepared(kind: BackupKind) -> Arc<MemoryStore> {
    let disk = Arc::new(MemoryStore::new());
    let repository = create(disk.clone()).unwrap();
    if kind != BackupKind::Full {
        attempt(&repository, &WORLDS[0], BackupKind::Full).unwrap();
    }
    disk
}

/// Goes on after a fault, and checks what came of it. Gives back how many partitions were taken over.
fn goes_on(disk: &Arc<MemoryStore>, kind: BackupKind, about: &str) -> usize {
    let repository = Repository::open(disk.clone(), PASSPHRASE).unwrap();
    let source = watching(&WORLDS[2]);
    let committed = repository.snapshots().unwrap().snapshots.len();
    let expected = usize::from(kind != BackupKind::Full);
    if committed > expected {
        // It was committed before the fault: there is nothing to go on with.
        assert_eq!(attempt(&repository, &source, BackupKind::Incremental).unwrap(), [], "{about}");
        assert_whole(&repository, "latest", &WORLDS[2].truth(), about);
        return 0;
    }
    let resumed = attempt(&repository, &source, kind).unwrap_or_else(|error| panic!("{about}: {error}"));
    let again: usize = resumed.iter().map(|resumed| resumed.partitions).sum();
    assert_eq!(again + source.scanned().len(), 4096, "{about}");
    // What was taken over was brought up to date: all is as it is now.
    assert_whole(&repository, "latest", &WORLDS[2].truth(), about);
    let snapshot = repository.snapshot("latest").unwrap();
    let namespace = &snapshot.manifest().namespaces[0];
    let counts = &namespace.counts;
    let accounted = counts.added + counts.changed + counts.touched + counts.healed + counts.unchanged;
    assert_eq!(accounted, namespace.live_records, "{about}: {counts:?}");
    let hash = snapshot
        .namespace(NAMESPACE)
        .unwrap()
        .state_sums(repository.keys())
        .unwrap()
        .hash(repository.keys().states().unwrap());
    assert_eq!(hash, namespace.state_hash, "{about}");
    assert_eq!(namespace.source_time, WORLDS[2].clock().unwrap().0, "{about}");
    attempt(&repository, &WORLDS[2], BackupKind::Incremental).unwrap();
    assert_whole(&repository, "latest", &WORLDS[2].truth(), about);
    attempt(&repository, &WORLDS[3], BackupKind::Incremental).unwrap();
    assert_whole(&repository, "latest", &WORLDS[3].truth(), about);
    let found = check(&repository).unwrap();
    assert!(found.problems.is_empty() && found.hurt.is_empty(), "{about}: {found:?}");
    again
}

/// Kills a backup at each call in turn, and lets the next go on; the most that was taken over.
fn killed_at_every_call(kind: BackupKind, effect: Effect) -> usize {
    // Forks of one repository: with the same keys a backup makes the same calls.
    let prepared = prepared(kind);
    let whole = Arc::new(FaultStore::new(Arc::new(prepared.fork())));
    let repository = Repository::open(whole.clone(), PASSPHRASE).unwrap();
    let opened = whole.operations().len();
    attempt(&repository, &WORLDS[1], kind).unwrap();
    let calls = whole.operations().len() - opened;
    let taken = (0..calls + 5).into_par_iter().map(|n| {
        let disk = Arc::new(prepared.fork());
        let store = Arc::new(FaultStore::new(disk.clone()));
        let repository = Repository::open(store.clone(), PASSPHRASE).unwrap();
        store.inject(Fault::nth(n, effect));
        let _ = attempt(&repository, &WORLDS[1], kind);
        goes_on(&disk, kind, &format!("{kind}, {effect:?} at call {n}"))
    });
    taken.max().unwrap()
}

#[test]
fn a_full_backup_goes_on_after_a_crash_at_any_call() {
    assert_eq!(killed_at_every_call(BackupKind::Full, Effect::CrashBefore), 4032);
}

#[test]
fn an_incremental_goes_on_after_a_crash_at_any_call() {
    assert_eq!(killed_at_every_call(BackupKind::Incremental, Effect::CrashAfter), 4032);
}

/// A repository in which a full backup died in the middle.
fn died() -> (Arc<MemoryStore>, Repository) {
    let disk = prepared(BackupKind::Full);
    let store = Arc::new(FaultStore::new(disk.clone()));
    let repository = Repository::open(store.clone(), PASSPHRASE).unwrap();
    store.inject(Fault::nth(40, Effect::CrashBefore).under("sessions/").of(Call::Put));
    assert!(attempt(&repository, &WORLDS[1], BackupKind::Full).is_err());
    let repository = Repository::open(disk.clone(), PASSPHRASE).unwrap();
    (disk, repository)
}

/// The object of the last session.
fn last_session(repository: &Repository) -> Session {
    session_of(repository, repository.history().unwrap().entries.pop().unwrap().id())
}

/// The packs that the last session's journal names.
fn noted(repository: &Repository) -> Vec<PackId> {
    last_session(repository).journal.unwrap().packs
}

fn taken(resumed: &[Resumed]) -> usize {
    resumed.iter().map(|resumed| resumed.partitions).sum()
}

#[test]
fn a_backup_that_is_killed_twice_loses_neither_part() {
    let (disk, _) = died();
    let store = Arc::new(FaultStore::new(disk.clone()));
    let repository = Repository::open(store.clone(), PASSPHRASE).unwrap();
    store.inject(Fault::nth(12, Effect::CrashBefore).under("sessions/").of(Call::Put));
    assert!(attempt(&repository, &WORLDS[1], BackupKind::Full).is_err());
    let source = watching(&WORLDS[1]);
    let repository = Repository::open(disk.clone(), PASSPHRASE).unwrap();
    let resumed = attempt(&repository, &source, BackupKind::Full).unwrap();
    assert!(taken(&resumed) > 45 * 64, "{resumed:?}");
    assert_whole(&repository, "latest", &WORLDS[1].truth(), "twice");
    // Killed before it came any further, too.
    let (disk, repository) = died();
    let first = begin(&repository, true).unwrap();
    drop(first);
    let store = Arc::new(FaultStore::new(disk.clone()));
    let repository = Repository::open(store.clone(), PASSPHRASE).unwrap();
    store.inject(Fault::nth(2, Effect::CrashBefore).under("sessions/").of(Call::Put));
    assert!(attempt(&repository, &WORLDS[1], BackupKind::Full).is_err());
    let repository = Repository::open(disk, PASSPHRASE).unwrap();
    assert!(taken(&attempt(&repository, &WORLDS[1], BackupKind::Full).unwrap()) > 30 * 64);
    assert_whole(&repository, "latest", &WORLDS[1].truth(), "at once");
}

#[test]
fn another_job_takes_nothing_over() {
    let (_, repository) = died();
    let count = |cluster: &str, resume: bool| {
        let about = SessionOptions::default().cluster(cluster).resume(resume);
        let mut session = repository.begin(about).unwrap();
        session.records(NAMESPACE, &WORLDS[1], BackupKind::Full, &RecordOptions::default()).unwrap();
        taken(session.resumed())
    };
    assert_eq!(count("other", true), 0);
    assert_eq!(count("memory", false), 0);
    assert!(count("memory", true) > 0);
    // With a snapshot since, the parent is another.
    back_up(&repository, &WORLDS[0], BackupKind::Full).unwrap();
    assert_eq!(count("memory", true), 0);
}

#[test]
fn another_selection_or_a_clock_that_was_set_back_takes_nothing_over() {
    let (_, repository) = died();
    let count = |source: &dyn RecordSource| {
        let mut session = begin(&repository, true).unwrap();
        session.records(NAMESPACE, source, BackupKind::Full, &RecordOptions::default()).unwrap();
        taken(session.resumed())
    };
    let watched = watching(&WORLDS[1]);
    assert!(count(&watched) > 0);
    assert_eq!(count(&selecting(&WORLDS[1], "one set")), 0);
    // What is said to have been read in the future can't be resumed: the next incremental would miss what changes
    // until then.
    assert_eq!(count(&WORLDS[0]), 0);
}

#[test]
fn a_session_that_was_last_heard_of_a_day_ago_is_not_gone_on_with() {
    for (hours, goes_on) in [(23, true), (25, false)] {
        let (disk, repository) = died();
        let mut session = last_session(&repository);
        session.heartbeat -= hours * 3_600_000;
        put_session(&repository, &disk, &session);
        let resumed = attempt(&repository, &WORLDS[1], BackupKind::Full).unwrap();
        assert_eq!(taken(&resumed) > 0, goes_on, "{hours} hours");
        assert_whole(&repository, "latest", &WORLDS[1].truth(), "a day");
    }
}

/// The same where there is a snapshot to build on.
fn died_with_a_parent(source: &World) -> (Arc<MemoryStore>, Repository) {
    let disk = prepared(BackupKind::Incremental);
    let store = Arc::new(FaultStore::new(disk.clone()));
    let repository = Repository::open(store.clone(), PASSPHRASE).unwrap();
    store.inject(Fault::nth(40, Effect::CrashBefore).under("sessions/").of(Call::Put));
    assert!(attempt(&repository, source, BackupKind::Full).is_err());
    let repository = Repository::open(disk.clone(), PASSPHRASE).unwrap();
    (disk, repository)
}

/// What the parent holds of the partitions that were read can't be had any more.
#[test]
fn where_the_parent_was_damaged_since_all_is_read_again() {
    let (disk, repository) = died_with_a_parent(&WORLDS[1]);
    let parent = repository.snapshot("latest").unwrap();
    damage_chunk(&repository, &disk, &parent.manifest().namespaces[0].runs[0].root);
    assert_eq!(attempt(&repository, &WORLDS[1], BackupKind::Full).unwrap(), []);
    assert_whole(&repository, "latest", &WORLDS[1].truth(), "the parent is damaged");
}

/// Touched records' entries refer to values that the parent wrote.
#[test]
fn where_values_that_it_refers_to_were_found_damaged_since_all_is_read_again() {
    let touched = WORLDS[0].later(0..150, 1.0, 0.0, 0);
    let (disk, repository) = died_with_a_parent(&touched);
    values(&repository, "latest").iter().for_each(|id| damage_chunk(&repository, &disk, id));
    assert!(!check(&repository).unwrap().hurt.is_empty());
    assert_eq!(attempt(&repository, &touched, BackupKind::Full).unwrap(), []);
    assert_whole(&repository, "latest", &touched.truth(), "values are damaged");
}

#[test]
fn what_is_gone_or_damaged_is_not_built_on() {
    // Not any pack: one that was stored after the last note is nothing that is built on.
    let (disk, repository) = died();
    disk.delete(&names::pack(&noted(&repository)[3])).unwrap();
    assert_eq!(attempt(&repository, &WORLDS[1], BackupKind::Full).unwrap(), []);
    assert_whole(&repository, "latest", &WORLDS[1].truth(), "a pack is gone");

    let (disk, repository) = died();
    for pack in noted(&repository) {
        flip(&disk, &names::pack(&pack), 100);
    }
    assert_eq!(attempt(&repository, &WORLDS[1], BackupKind::Full).unwrap(), []);
    assert_whole(&repository, "latest", &WORLDS[1].truth(), "packs are damaged");
}

#[test]
fn what_a_collection_took_is_not_built_on() {
    let (disk, repository) = died();
    let options = aerolith::PruneOptions::default().fence(true).max_unused_percent(0.0);
    repository.prune(&options).unwrap();
    assert!(disk.list("packs/").unwrap().is_empty());
    assert_eq!(attempt(&repository, &WORLDS[1], BackupKind::Full).unwrap(), []);
    assert_whole(&repository, "latest", &WORLDS[1].truth(), "after a collection");
}

#[test]
fn packs_that_a_plan_condemns_are_not_taken_over() {
    let (disk, repository) = died();
    let mut condemned = noted(&repository);
    condemned.truncate(1);
    put_plan(&repository, &disk, SnapshotId([5; 16]), condemned);
    assert_eq!(attempt(&repository, &WORLDS[1], BackupKind::Full).unwrap(), []);
    assert_whole(&repository, "latest", &WORLDS[1].truth(), "condemned");
}

#[test]
fn a_committed_session_keeps_no_journal() {
    let disk = prepared(BackupKind::Full);
    let repository = Repository::open(disk, PASSPHRASE).unwrap();
    attempt(&repository, &WORLDS[1], BackupKind::Full).unwrap();
    let history = repository.history().unwrap();
    assert!(history.entries.iter().all(|entry| session_of(&repository, entry.id()).journal.is_none()));
}

#[test]
fn a_namespace_that_was_done_is_not_read_again() {
    let disk = prepared(BackupKind::Full);
    let both = |repository: &Repository, source: &dyn RecordSource| -> Result<Vec<Resumed>> {
        let mut session = begin(repository, true)?;
        for namespace in ["other", NAMESPACE] {
            session.records(namespace, source, BackupKind::Full, &RecordOptions::default().parallel(1))?;
        }
        let resumed = session.resumed().to_vec();
        session.commit().map(|_| resumed)
    };
    let store = Arc::new(FaultStore::new(disk.clone()));
    let repository = Repository::open(store.clone(), PASSPHRASE).unwrap();
    store.inject(Fault::nth(90, Effect::CrashBefore).under("sessions/").of(Call::Put));
    assert!(both(&repository, &watching(&WORLDS[1])).is_err());
    let repository = Repository::open(disk, PASSPHRASE).unwrap();
    let source = watching(&WORLDS[1]);
    let resumed = both(&repository, &source).unwrap();
    assert_eq!((resumed.len(), resumed[0].namespace.as_str(), resumed[0].partitions), (2, "other", 4096));
    assert!(resumed[1].partitions >= 64 && resumed[1].partitions + source.scanned().len() == 4096, "{resumed:?}");
    assert_whole(&repository, "latest", &WORLDS[1].truth(), "both");
    let snapshot = repository.snapshot("latest").unwrap();
    let [a, b] = &snapshot.manifest().namespaces[..] else { panic!("two namespaces") };
    assert_eq!((a.state_hash, a.live_records), (b.state_hash, b.live_records));
}
