//! A crash, a failed call, a lost reply or a power cut at every call to the store that a forget and a prune make.

use crate::support::scene::*;
use aerolith::PruneOptions;
use aerolith::store::{Effect, Fault, FaultStore, MemoryStore, Store};
use rayon::prelude::*;
use std::io::ErrorKind;
use std::sync::Arc;

/// Forgets the first snapshot and prunes, whatever is at work.
fn script(store: Arc<dyn Store>, first: &str) -> aerolith::Result<()> {
    let repository = open(store)?;
    forget(&repository, &[first.to_string()])?;
    prune(&repository, &taking_over()).map(|_| ())
}

/// A crash leaves a session whose lease has not lapsed yet.
fn taking_over() -> PruneOptions {
    thorough().fence(true)
}

/// Runs the script with a fault at each call in turn, then prunes again.
fn at_every_call(effect: Effect, power_cut: bool) {
    let scene = Scene::new(40);
    let counting = Arc::new(FaultStore::new(Arc::new(scene.disk.fork())));
    script(counting.clone(), &scene.id(0)).unwrap();
    let calls = counting.operations().len();
    assert!(calls > 60, "{calls}");
    (0..calls + 5).into_par_iter().for_each(|n| {
        let about = format!("{effect:?} at call {n}");
        let disk: Arc<MemoryStore> = Arc::new(scene.disk.fork());
        let store = Arc::new(FaultStore::new(disk.clone()));
        store.inject(Fault::nth(n, effect));
        let done = script(store.clone(), &scene.id(0));
        if power_cut {
            store.lose_unsynced().unwrap();
        }
        let repository = open(disk).unwrap();
        let left = assert_exact(&repository, &scene.snapshots, &about);
        assert!(left == 2 || (left == 3 && done.is_err()), "{about}: {left} left");
        assert_clean(&repository, &about);
        prune(&repository, &taking_over()).unwrap_or_else(|error| panic!("{about}, then: {error}"));
        assert_eq!(assert_exact(&repository, &scene.snapshots, &about), left, "{about}");
        assert_clean(&repository, &about);
        assert_nothing_unused(&repository, &about);
    });
}

#[test]
fn a_crash_before_any_call_leaves_what_the_next_prune_finishes() {
    at_every_call(Effect::CrashBefore, false);
}

#[test]
fn a_crash_after_any_call_leaves_what_the_next_prune_finishes() {
    at_every_call(Effect::CrashAfter, false);
}

#[test]
fn a_power_cut_at_any_call_leaves_what_the_next_prune_finishes() {
    at_every_call(Effect::CrashAfter, true);
}

#[test]
fn a_failed_call_leaves_what_the_next_prune_finishes() {
    at_every_call(Effect::Fail(ErrorKind::ConnectionReset), false);
}

#[test]
fn a_lost_reply_leaves_what_the_next_prune_finishes() {
    at_every_call(Effect::LoseReply(ErrorKind::ConnectionReset), false);
}
