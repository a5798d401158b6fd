//! A crash, a failed call, a lost reply or a power cut at every single call to the store.

use crate::support::world::*;
use aerolith::store::{Effect, Fault, FaultStore, LocalStore, MemoryStore, RetryPolicy, Store};
use aerolith::{
    BackupKind, Control, Error, RecordOptions, Repository, Result, SessionOptions, SessionOutcome, Snapshot, SnapshotId,
};
use rayon::prelude::*;
use std::collections::HashMap;
use std::io::ErrorKind;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

const KINDS: [BackupKind; 3] = [BackupKind::Full, BackupKind::Incremental, BackupKind::Full];

/// The states of the source: one for each backup, and one for the next after the fault.
static WORLDS: LazyLock<Vec<World>> = LazyLock::new(|| {
    let mut worlds = vec![World::filled(0..150)];
    for seed in 1..4 {
        let next = worlds.last().unwrap().later(0..150, 0.2, 0.1, seed);
        worlds.push(next);
    }
    worlds
});

/// What the script came to: which world each session backed up, and which sessions said that they had committed.
#[derive(Default)]
struct Story {
    begun: HashMap<SnapshotId, usize>,
    committed: Vec<SnapshotId>,
}

/// Makes a repository and takes three backups.
fn script(store: Arc<dyn Store>, story: &mut Story) -> Result<()> {
    let repository = create(store)?;
    for (n, kind) in KINDS.into_iter().enumerate() {
        let about = SessionOptions::default().cluster("memory");
        let mut session = repository.begin(about)?;
        story.begun.insert(session.id(), n);
        let options = RecordOptions::default().parallel(1);
        if let Err(error) = session.records(NAMESPACE, &WORLDS[n], kind, &options) {
            session.abandon(&error);
            return Err(error);
        }
        story.committed.push(session.commit()?.id());
    }
    Ok(())
}

/// What a fault left must be whole: each committed snapshot exact, the next backups done, nothing found damaged.
fn assert_recovers(store: Arc<dyn Store>, story: &Story, about: &str) {
    let repository = match Repository::open(store.clone(), PASSPHRASE) {
        Ok(repository) => repository,
        Err(error) => {
            assert!(story.begun.is_empty() && matches!(error, Error::NotFound { .. }), "{about}: {error}");
            create(store.clone()).unwrap_or_else(|error| panic!("{about}: making it again: {error}"))
        }
    };
    let list = repository.snapshots().unwrap();
    assert!(list.damaged.is_empty(), "{about}: {:?}", list.damaged);
    let there: Vec<SnapshotId> = list.snapshots.iter().map(Snapshot::id).collect();
    assert!(story.committed.iter().all(|id| there.contains(id)), "{about}: a committed snapshot is gone");
    let exact = |repository: &Repository| {
        there.iter().for_each(|id| assert_whole(repository, &id.to_string(), &WORLDS[story.begun[id]].truth(), about));
    };
    exact(&repository);
    let found = check(&repository).unwrap();
    assert!(found.problems.is_empty() && found.hurt.is_empty(), "{about}: {found:?}");
    let next = if there.is_empty() { BackupKind::Full } else { BackupKind::Incremental };
    for kind in [next, BackupKind::Full] {
        back_up(&repository, &WORLDS[3], kind).unwrap_or_else(|error| panic!("{about}, then {kind}: {error}"));
        assert_whole(&repository, "latest", &WORLDS[3].truth(), about);
    }
    exact(&repository);
    let found = check(&repository).unwrap();
    assert!(found.problems.is_empty() && found.hurt.is_empty(), "{about}: {found:?}");
    let history = repository.history().unwrap();
    assert!(history.damaged.is_empty() && history.entries.len() >= story.begun.len(), "{about}");
}

/// How many calls the whole script makes; threads may make it a few more or less.
fn calls() -> usize {
    let store = Arc::new(FaultStore::new(MemoryStore::new()));
    let mut story = Story::default();
    script(store.clone(), &mut story).unwrap();
    assert_eq!(story.committed.len(), 3);
    let calls = store.operations().len();
    assert_recovers(store, &story, "no fault");
    calls
}

/// Runs the script with a fault at each call in turn, and gives back whether the last one came to its end.
fn at_every_call(effect: Effect, after: impl Fn(&FaultStore<Arc<MemoryStore>>) + Sync) {
    (0..calls() + 10).into_par_iter().for_each(|n| {
        let disk = Arc::new(MemoryStore::new());
        let store = Arc::new(FaultStore::new(disk.clone()));
        store.inject(Fault::nth(n, effect));
        let mut story = Story::default();
        let ended = script(store.clone(), &mut story);
        let hit = store.operations().get(n).map(|operation| format!("{} {}", operation.call, operation.key));
        let about = format!("{effect:?} at call {n}, {hit:?}");
        if let Err(error) = ended {
            let text = error.to_string();
            assert!(hit.is_some() && matches!(error, Error::Store { .. }), "{about}: {text}");
            let told = hit.as_ref().is_some_and(|hit| text.contains(hit.split_whitespace().next().unwrap()));
            assert!(store.has_crashed() || told, "{about}: {text}");
        }
        after(&store);
        assert_recovers(disk, &story, &about);
    });
}

#[test]
fn crashing_before_any_call_loses_nothing_that_was_committed() {
    at_every_call(Effect::CrashBefore, |_| {});
}

#[test]
fn crashing_after_any_call_and_losing_power_loses_nothing_that_was_committed() {
    at_every_call(Effect::CrashAfter, |store| store.lose_unsynced().unwrap());
}

#[test]
fn a_disk_that_had_half_of_the_unsynced_writes_loses_nothing_that_was_committed() {
    let odd = |key: &str| key.bytes().last().is_some_and(|byte| byte % 2 == 1);
    at_every_call(Effect::CrashBefore, |store| store.lose_unsynced_where(odd).unwrap());
}

#[test]
fn a_failed_call_is_an_error_or_made_up_for() {
    at_every_call(Effect::Fail(ErrorKind::ConnectionReset), |_| {});
}

#[test]
fn a_lost_reply_is_an_error_or_made_up_for() {
    at_every_call(Effect::LoseReply(ErrorKind::TimedOut), |_| {});
}

#[test]
fn where_calls_are_made_again_no_error_that_passes_is_seen() {
    let quick = RetryPolicy::new(3, Duration::from_millis(1), Duration::from_secs(60));
    (0..calls() + 10).into_par_iter().for_each(|n| {
        for effect in [Effect::Fail(ErrorKind::ConnectionReset), Effect::LoseReply(ErrorKind::TimedOut)] {
            let disk = Arc::new(MemoryStore::new());
            let store = Arc::new(FaultStore::new(disk.clone()).retried(quick));
            store.inject(Fault::nth(n, effect));
            let mut story = Story::default();
            let about = format!("{effect:?} at call {n}, {:?}", store.operations().get(n));
            script(store, &mut story).unwrap_or_else(|error| panic!("{about}: {error}"));
            assert_eq!(story.committed.len(), 3, "{about}");
            assert_recovers(disk, &story, &about);
        }
    });
}

#[test]
fn a_commit_whose_reply_was_lost_is_known_to_be_committed() {
    let store = Arc::new(FaultStore::new(MemoryStore::new()));
    let repository = create(store.clone()).unwrap();
    store.inject(
        Fault::nth(0, Effect::LoseReply(ErrorKind::TimedOut)).under("snapshots/").of(aerolith::store::Call::PutNew),
    );
    let snapshot = back_up(&repository, &WORLDS[0], BackupKind::Full).unwrap();
    assert_whole(&repository, &snapshot.id().to_string(), &WORLDS[0].truth(), "committed");
}

#[test]
fn a_commit_after_which_the_folds_can_not_be_read_is_reported_as_made_with_a_warning() {
    let store = Arc::new(FaultStore::new(MemoryStore::new()));
    let control = Control::new();
    let repository = create(store.clone()).unwrap().watched(&control);
    let mut session = repository.begin(SessionOptions::default().cluster("memory")).unwrap();
    session.records(NAMESPACE, &WORLDS[0], BackupKind::Full, &RecordOptions::default()).unwrap();
    store.inject(Fault::nth(0, Effect::Fail(ErrorKind::Other)).under("folds/").of(aerolith::store::Call::List));
    let snapshot = session.commit().unwrap();
    let [warning] = &control.warnings()[..] else { panic!("{:?}", control.warnings()) };
    let id = snapshot.id().to_string();
    assert!(warning.contains(&format!("snapshot {id} is committed")) && warning.contains("folds"), "{warning}");
    assert_eq!(repository.history().unwrap().entries[0].outcome(), Some(SessionOutcome::Done));
    assert_whole(&repository, &id, &WORLDS[0].truth(), "committed");
}

#[test]
fn a_reader_meets_every_failed_call_with_an_error_and_never_with_wrong_records() {
    let disk = Arc::new(MemoryStore::new());
    let mut story = Story::default();
    script(disk.clone(), &mut story).unwrap();
    let truth = WORLDS[2].truth();
    let read = |store: Arc<dyn Store>| -> Result<Truth> {
        let repository = Repository::open(store, PASSPHRASE)?;
        let (records, report) = restore(&repository.snapshot("latest")?)?;
        assert!(!report.is_damaged(), "{report:?}");
        Ok(records)
    };
    let mut n = 0;
    loop {
        let store = Arc::new(FaultStore::new(disk.clone()));
        store.inject(Fault::nth(n, Effect::Fail(ErrorKind::ConnectionReset)));
        let found = read(store.clone());
        if store.operations().len() <= n {
            assert!(found.unwrap() == truth);
            break;
        }
        let error = refused(found);
        assert!(matches!(error, Error::Store { .. }), "call {n}: {error}");
        n += 1;
    }
    assert!(n > 10);
}

#[test]
fn half_written_files_of_a_local_store_are_no_objects() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("repository");
    let store = Arc::new(LocalStore::create(&root).unwrap());
    let mut story = Story::default();
    script(store.clone(), &mut story).unwrap();
    let packs = store.list("packs/").unwrap();
    let pack = store.get(&packs[0].key, u64::MAX).unwrap().unwrap();
    let name = format!(".tmp-{}", "0".repeat(32));
    let pack_directory = packs[0].key.rsplit_once('/').unwrap().0;
    for place in ["", "keys", "sessions", "snapshots", "index", "packs", pack_directory] {
        std::fs::write(root.join(place).join(&name), &pack[..pack.len() / 2]).unwrap();
    }
    drop(store);
    assert_recovers(Arc::new(LocalStore::open(&root).unwrap()), &story, "half-written files");
}
