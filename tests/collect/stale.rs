//! What the protocol rests on: a store whose listings don't show what was created before loses data.

use crate::support::scene::*;
use crate::support::world::*;
use aerolith::BackupKind;
use aerolith::format::names;
use aerolith::store::{FaultStore, Store};
use std::sync::Arc;

/// A backup commits while a collection deletes what it builds on. Gives back whether the collection came to its end,
/// and whether the snapshot is whole.
fn meet(is_stale: bool) -> (bool, bool) {
    let scene = Scene::new(60);
    let repository = scene.repository();
    forget(&repository, &[scene.id(0), scene.id(1)]).unwrap();
    let store = Arc::new(FaultStore::new(scene.disk.clone()));
    if is_stale {
        store.serve_stale_lists().unwrap();
    }
    let next = scene.kept.later(0..60, 0.3, 0.1, 7);
    let mut session = begin(&repository).unwrap();
    session.records("kept", &next, BackupKind::Incremental, &options()).unwrap();
    // Nobody but the backup needs anything any more.
    forget(&repository, &[scene.id(2)]).unwrap();
    if is_stale {
        // The session stays hidden; that the snapshots are forgotten shows.
        store.serve_fresh_lists();
        let hidden = names::session(&session.id());
        let bytes = scene.disk.get(&hidden, u64::MAX).unwrap().unwrap();
        scene.disk.delete(&hidden).unwrap();
        store.serve_stale_lists().unwrap();
        scene.disk.put(&hidden, &bytes).unwrap();
    }
    let pruned = prune(&open(store).unwrap(), &thorough());
    let snapshot = session.commit().unwrap();
    let target = MemoryTarget::default();
    let restored = snapshot.restore("kept", &target, &Default::default());
    let whole = restored.is_ok_and(|report| !report.is_damaged()) && *target.records.lock().unwrap() == next.truth();
    (pruned.is_ok(), whole)
}

#[test]
fn a_collection_waits_for_a_backup_that_its_listing_shows_and_damages_one_that_it_hides() {
    assert_eq!(meet(false), (false, true));
    let (_, whole) = meet(true);
    assert!(!whole, "a stale listing did no harm: then this test shows nothing");
}
