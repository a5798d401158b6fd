//! A crash, a failed call, a lost reply or a power cut at every call that a copy makes to its target.

use super::two::*;
use crate::support::scene::*;
use aerolith::store::{Effect, Fault, FaultStore, MemoryStore, Store};
use rayon::prelude::*;
use std::io::ErrorKind;
use std::sync::Arc;

/// Copies with a fault at each call in turn; then, with `prunes`, prunes the target at every other one; and copies
/// again.
fn at_every_call(effect: Effect, power_cut: bool, prunes: bool) {
    let scene = Scene::new(40);
    let empty = other_disk();
    let script = |store: Arc<dyn Store>| copy(&scene.repository(), &open_other(store)?).map(|_| ());
    let counting = Arc::new(FaultStore::new(Arc::new(empty.fork())));
    script(counting.clone()).unwrap();
    let calls = counting.operations().len();
    assert!(calls > 60, "{calls}");
    (0..calls + 5).into_par_iter().for_each(|n| {
        let disk: Arc<MemoryStore> = Arc::new(empty.fork());
        let store = Arc::new(FaultStore::new(disk.clone()));
        store.inject(Fault::nth(n, effect));
        let done = script(store.clone());
        let hit = store.operations().get(n).map(|operation| format!("{} {}", operation.call, operation.key));
        let about = format!("{effect:?} at call {n}, {hit:?}");
        if let Err(error) = &done {
            assert!(hit.is_some() && matches!(error, aerolith::Error::Store { .. }), "{about}: {error}");
        }
        if power_cut {
            store.lose_unsynced().unwrap();
        }
        let (source, target) = (scene.repository(), open_other(disk).unwrap());
        let committed = target.snapshots().unwrap().snapshots.len();
        assert!(done.is_err() || committed == 3, "{about}: {committed}");
        assert_copied(&source, &target, &scene.snapshots[..committed], &about);
        if prunes && n % 2 == 0 {
            prune(&target, &thorough().fence(true)).unwrap();
        }
        let again = copy(&source, &target).unwrap_or_else(|error| panic!("{about}, then: {error}"));
        assert_eq!((again.copied.len(), again.present.len()), (3 - committed, committed), "{about}");
        assert_copied(&source, &target, &scene.snapshots, &about);
        assert_nothing_twice(&target, &about);
        let history = target.history().unwrap();
        assert!(history.damaged.is_empty() && history.entries.len() >= 3, "{about}");
    });
}

#[test]
fn a_crash_before_any_call_leaves_what_the_next_copy_takes_over() {
    at_every_call(Effect::CrashBefore, false, true);
}

#[test]
fn a_crash_after_any_call_leaves_what_the_next_copy_takes_over() {
    at_every_call(Effect::CrashAfter, false, false);
}

#[test]
fn a_power_cut_at_any_call_leaves_what_the_next_copy_makes_up_for() {
    at_every_call(Effect::CrashAfter, true, false);
}

#[test]
fn a_failed_call_leaves_what_the_next_copy_takes_over() {
    at_every_call(Effect::Fail(ErrorKind::ConnectionReset), false, true);
}

#[test]
fn a_lost_reply_leaves_what_the_next_copy_takes_over() {
    at_every_call(Effect::LoseReply(ErrorKind::ConnectionReset), false, false);
}
