//! A day's work in one run, with a fault at each call to the store that it makes: a backup, a forget, a prune, a full
//! backup.

use crate::support::scene::*;
use crate::support::world::*;
use aerolith::format::names;
use aerolith::store::{Call, Effect, Fault, FaultStore, MemoryStore, Store};
use aerolith::{BackupKind, PruneOptions, Repository, Result, SnapshotId};
use rayon::prelude::*;
use std::io::ErrorKind;
use std::sync::Arc;

const RECORDS: u64 = 25;

/// Collectors that come after a crash meet leases that have not lapsed.
fn taking_over() -> PruneOptions {
    thorough().fence(true)
}

/// Backs up one state, and notes whose it is before anything is committed.
fn back_up_noted(
    repository: &Repository,
    world: &World,
    kind: BackupKind,
    begun: &mut Vec<(SnapshotId, Contents)>,
) -> Result<SnapshotId> {
    let mut session = begin(repository)?;
    begun.push((session.id(), [("kept", world.truth())].into()));
    if let Err(error) = session.records("kept", world, kind, &options()) {
        session.abandon(&error);
        return Err(error);
    }
    session.commit().map(|snapshot| snapshot.id())
}

/// What the run came to: what its backups would hold, and those that said that they had committed.
#[derive(Default)]
struct Story {
    begun: Vec<(SnapshotId, Contents)>,
    committed: Vec<SnapshotId>,
}

fn day(store: Arc<dyn Store>, scene: &Scene, worlds: &[World], story: &mut Story) -> Result<()> {
    let repository = open(store)?;
    story.committed.push(back_up_noted(&repository, &worlds[0], BackupKind::Incremental, &mut story.begun)?);
    forget(&repository, &[scene.id(0)])?;
    prune(&repository, &taking_over())?;
    story.committed.push(back_up_noted(&repository, &worlds[1], BackupKind::Full, &mut story.begun)?);
    Ok(())
}

/// Whatever happened: all that was committed is exact, and the next day goes well.
fn assert_goes_on(disk: Arc<MemoryStore>, scene: &Scene, worlds: &[World], story: &Story, about: &str) {
    let repository = open(disk).unwrap();
    let list = repository.snapshots().unwrap();
    assert!(list.damaged.is_empty(), "{about}: {:?}", list.damaged);
    for id in &story.committed {
        assert!(list.snapshots.iter().any(|one| one.id() == *id), "{about}: committed snapshot {id} is gone");
    }
    let known: Vec<(SnapshotId, Contents)> = scene.snapshots.iter().chain(&story.begun).cloned().collect();
    let known: Vec<_> = known.into_iter().filter(|(id, _)| list.snapshots.iter().any(|one| one.id() == *id)).collect();
    assert_eq!(known.len(), list.snapshots.len(), "{about}: a snapshot that nobody began");
    assert_exact(&repository, &known, about);
    assert_clean(&repository, about);
    let mut next = Vec::new();
    let backed_up = back_up_noted(&repository, &worlds[2], BackupKind::Incremental, &mut next);
    backed_up.unwrap_or_else(|error| panic!("{about}, then a backup: {error}"));
    // The first may be forgotten already.
    let _ = forget(&repository, &[scene.id(0)]);
    prune(&repository, &taking_over()).unwrap_or_else(|error| panic!("{about}, then a prune: {error}"));
    let all: Vec<_> = known.into_iter().chain(next).collect();
    assert_eq!(assert_exact(&repository, &all, about), repository.snapshots().unwrap().snapshots.len(), "{about}");
    assert_clean(&repository, about);
    assert_nothing_unused(&repository, about);
}

/// A repository, and three states of its source to come.
fn beginning() -> (Scene, Vec<World>) {
    let scene = Scene::new(RECORDS);
    let mut worlds = vec![scene.kept.later(0..RECORDS, 0.3, 0.1, 7)];
    for seed in [8, 9] {
        let next = worlds.last().unwrap().later(0..RECORDS, 0.3, 0.1, seed);
        worlds.push(next);
    }
    (scene, worlds)
}

/// Runs the day with a fault at each call, or at every `step`th, in turn.
fn at_every_call(effect: Effect, step: usize, after: impl Fn(&FaultStore<Arc<MemoryStore>>) + Sync) {
    let (scene, worlds) = beginning();
    let counting = Arc::new(FaultStore::new(Arc::new(scene.disk.fork())));
    day(counting.clone(), &scene, &worlds, &mut Story::default()).unwrap();
    let operations = counting.operations();
    let calls = operations.len();
    let changes = |call| matches!(call, Call::Put | Call::PutNew | Call::Delete | Call::Sync);
    let changes = operations.iter().filter(|operation| changes(operation.call)).count();
    assert!(calls > 130 && changes >= 25, "{calls} calls, {changes} of which change the store");
    (0..(calls + 5) / step).into_par_iter().for_each(|n| {
        let n = n * step;
        let disk: Arc<MemoryStore> = Arc::new(scene.disk.fork());
        let store = Arc::new(FaultStore::new(disk.clone()));
        store.inject(Fault::nth(n, effect));
        let mut story = Story::default();
        let _ = day(store.clone(), &scene, &worlds, &mut story);
        let hit = store.operations().get(n).map(|operation| format!("{} {}", operation.call, operation.key));
        after(&store);
        assert_goes_on(disk, &scene, &worlds, &story, &format!("{effect:?} at call {n}, {hit:?}"));
    });
}

#[test]
fn a_crash_before_any_call_of_a_day_loses_nothing() {
    at_every_call(Effect::CrashBefore, 1, |_| {});
}

#[test]
fn a_crash_and_a_power_cut_after_any_call_of_a_day_lose_nothing() {
    at_every_call(Effect::CrashAfter, 1, |store| store.lose_unsynced().unwrap());
}

#[test]
fn a_power_cut_that_takes_half_of_what_was_not_synced_loses_nothing() {
    let odd = |key: &str| key.bytes().last().is_some_and(|byte| byte % 2 == 1);
    at_every_call(Effect::CrashAfter, 3, |store| store.lose_unsynced_where(odd).unwrap());
}

#[test]
fn a_call_that_fails_or_whose_reply_is_lost_loses_nothing() {
    at_every_call(Effect::Fail(ErrorKind::ConnectionReset), 3, |_| {});
    at_every_call(Effect::LoseReply(ErrorKind::TimedOut), 3, |_| {});
}

#[test]
fn a_request_that_arrives_late_loses_nothing() {
    at_every_call(Effect::Late(3), 3, |store| store.land_late().unwrap());
    // After all of the day.
    at_every_call(Effect::Late(10_000), 3, |store| store.land_late().unwrap());
}

/// No store may leave half an object. If one does, nothing wrong is restored, and what is in the way is
/// named.
#[test]
fn an_object_that_was_torn_is_named_and_hurts_no_other() {
    let (scene, worlds) = beginning();
    let counting = Arc::new(FaultStore::new(Arc::new(scene.disk.fork())));
    // On a thread of the pool, as below: others read leaves ahead, and call the store more often.
    rayon::scope(|_| day(counting.clone(), &scene, &worlds, &mut Story::default())).unwrap();
    let operations = counting.operations();
    let writes = operations.iter().enumerate().filter(|(_, operation)| operation.size > 0).map(|(n, _)| n);
    writes.collect::<Vec<_>>().into_par_iter().for_each(|n| {
        let disk: Arc<MemoryStore> = Arc::new(scene.disk.fork());
        let store = Arc::new(FaultStore::new(disk.clone()));
        store.inject(Fault::nth(n, Effect::Tear));
        let mut story = Story::default();
        let _ = day(store.clone(), &scene, &worlds, &mut story);
        let torn = store.operations()[n].key.clone();
        let about = format!("call {n}, {torn} torn");
        let repository = open(disk.clone()).unwrap();
        let list = repository.snapshots().unwrap();
        assert!(list.damaged.iter().all(|(_, error)| error.to_string().contains(&torn)), "{about}: {:?}", list.damaged);
        let known: Vec<(SnapshotId, Contents)> = scene.snapshots.iter().chain(&story.begun).cloned().collect();
        let known: Vec<_> =
            known.into_iter().filter(|(id, _)| list.snapshots.iter().any(|one| one.id() == *id)).collect();
        assert_exact(&repository, &known, &about);
        let names_it = |error: aerolith::Error| assert!(error.to_string().contains(&torn), "{about}: {error}");
        let mut next = Vec::new();
        let backed_up = back_up_noted(&repository, &worlds[2], BackupKind::Full, &mut next).map_err(names_it);
        let pruned = prune(&repository, &taking_over()).map_err(names_it);
        let all: Vec<_> = known.into_iter().chain(next.into_iter().filter(|_| backed_up.is_ok())).collect();
        assert_exact(&repository, &all, &about);
        // Given up or deleted, it blocks nobody.
        if backed_up.is_err() || pruned.is_err() {
            match names::parse_snapshot(&torn) {
                Some(id) => forget(&repository, &[id.to_string()]).unwrap(),
                None => disk.delete(&torn).unwrap(),
            }
            let last = back_up_all(&repository, BackupKind::Full, &[("kept", &worlds[2])]);
            prune(&repository, &taking_over()).unwrap_or_else(|error| panic!("{about}, given up: {error}"));
            assert_exact(&repository, &all.into_iter().chain([last]).collect::<Vec<_>>(), &about);
        }
    });
}
