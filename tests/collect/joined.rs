//! Index segments of snapshots that stay become few too, and one that is lost is missed all the same.

use crate::support::scene::*;
use crate::support::world::*;
use aerolith::format::names;
use aerolith::store::{Effect, Fault, FaultStore, MemoryStore, Store};
use aerolith::{BackupKind, SnapshotId};
use rayon::prelude::*;
use std::io::ErrorKind;
use std::sync::Arc;

/// A full snapshot and ten that build on it, each with a segment of its own. All stay, and all packs are needed.
fn many_segments() -> (Arc<MemoryStore>, Vec<(SnapshotId, Contents)>, World) {
    let disk = Arc::new(MemoryStore::new());
    let repository = create(disk.clone()).unwrap();
    let mut world = World::filled(0..60);
    let mut snapshots = vec![back_up_all(&repository, BackupKind::Full, &[("kept", &world)])];
    for n in 0..10 {
        world = world.later(0..60, 0.05, 0.0, 30 + n);
        snapshots.push(back_up_all(&repository, BackupKind::Incremental, &[("kept", &world)]));
    }
    (disk, snapshots, world)
}

fn segments(disk: &MemoryStore) -> Vec<String> {
    disk.list(names::INDEX).unwrap().into_iter().map(|object| object.key).collect()
}

#[test]
fn where_nothing_is_condemned_segments_of_snapshots_that_stay_become_one_and_their_loss_is_noticed() {
    let (disk, snapshots, world) = many_segments();
    let repository = open(disk.clone()).unwrap();
    let before = segments(&disk).len();
    assert!(before > 8, "{before} segments");
    let report = prune(&repository, &Default::default()).unwrap();
    assert_eq!((report.packs_deleted, report.segments_deleted), (0, before as u64), "{report:?}");
    assert_eq!(segments(&disk).len(), 1);
    assert_eq!(assert_exact(&repository, &snapshots, "joined"), 11);
    assert_clean(&repository, "joined");
    let warnings = warned_by(&repository, |repository| {
        back_up_all(repository, BackupKind::Incremental, &[("kept", &world)]);
    });
    assert_eq!(warnings, [""; 0]);
    // Joined segments are joined again, and tell of all that went before.
    for n in 0..9 {
        back_up_all(&repository, BackupKind::Incremental, &[("kept", &world.later(0..60, 0.05, 0.0, 90 + n))]);
    }
    prune(&repository, &Default::default()).unwrap();
    prune(&repository, &thorough()).unwrap();
    assert_clean(&repository, "joined again");
    for key in segments(&disk) {
        disk.delete(&key).unwrap();
    }
    let found = check(&repository).unwrap().problems;
    let wrote = |id: &&SnapshotId| manifest_of(&repository, **id).index_segments > 0;
    for id in snapshots.iter().map(|(id, _)| id).filter(wrote) {
        assert!(found.iter().any(|problem| problem.contains(&id.to_string())), "{id} is not missed: {found:?}");
    }
    assert_eq!(assert_exact(&repository, &snapshots, "without an index"), 11);
    repair(&repository, &Default::default()).unwrap();
    assert_clean(&repository, "repaired");
    prune(&repository, &thorough()).unwrap();
    assert_eq!(assert_exact(&repository, &snapshots, "repaired"), 11);
    assert_clean(&repository, "repaired and pruned");
}

/// Prunes with a fault at each call in turn, then once more.
fn at_every_call(effect: Effect, power_cut: bool) {
    let (disk, snapshots, _) = many_segments();
    let counting = Arc::new(FaultStore::new(Arc::new(disk.fork())));
    prune(&open(counting.clone()).unwrap(), &thorough()).unwrap();
    (0..counting.operations().len()).into_par_iter().for_each(|n| {
        let about = format!("{effect:?} at call {n}");
        let disk: Arc<MemoryStore> = Arc::new(disk.fork());
        let store = Arc::new(FaultStore::new(disk.clone()));
        store.inject(Fault::nth(n, effect));
        let _ = open(store.clone()).and_then(|repository| prune(&repository, &thorough()));
        if power_cut {
            store.lose_unsynced().unwrap();
        }
        let repository = open(disk).unwrap();
        for _ in 0..2 {
            assert_eq!(assert_exact(&repository, &snapshots, &about), snapshots.len(), "{about}");
            assert_clean(&repository, &about);
            let options = thorough().fence(true);
            prune(&repository, &options).unwrap_or_else(|error| panic!("{about}, then: {error}"));
        }
        assert_nothing_unused(&repository, &about);
    });
}

#[test]
fn a_crash_at_any_call_of_a_join_leaves_an_index_that_knows_everything() {
    at_every_call(Effect::CrashBefore, false);
    at_every_call(Effect::CrashAfter, false);
}

#[test]
fn a_power_cut_or_a_lost_reply_at_any_call_of_a_join_leaves_an_index_that_knows_everything() {
    at_every_call(Effect::CrashAfter, true);
    at_every_call(Effect::LoseReply(ErrorKind::ConnectionReset), false);
}
