//! What is left of sessions goes with age.

use crate::support::scene::*;
use crate::support::world::*;
use aerolith::collect::KEPT_MILLIS;
use aerolith::control::Control;
use aerolith::format::session::{SessionKind, Status};
use aerolith::format::snapshot::SnapshotState;
use aerolith::format::{SnapshotId, names};
use aerolith::record::Timestamp;
use aerolith::repository::Repository;
use aerolith::store::{Call, FaultStore, Operation, Store};
use aerolith::verify::CheckOptions;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Lets all sessions be so much older.
fn age(scene: &Scene, repository: &Repository, millis: u64) {
    for entry in repository.history().unwrap().entries {
        let mut session = entry.session;
        session.started -= millis;
        session.heartbeat -= millis;
        put_session(repository, &scene.disk, &session);
    }
}

fn sessions(repository: &Repository) -> BTreeSet<SnapshotId> {
    repository.history().unwrap().entries.iter().map(|entry| entry.session.id).collect()
}

fn check(repository: &Repository) -> Vec<String> {
    repository.check(&CheckOptions { read_percent: 100.0 }, &Control::new()).unwrap().problems
}

#[test]
fn sessions_that_left_nothing_are_deleted_after_ninety_days() {
    let scene = Scene::new(60);
    let repository = scene.repository();
    // One that failed, one whose snapshot is forgotten, and collections.
    let dead = begin(&repository).unwrap();
    let failed = dead.id();
    drop(dead);
    assert!(check(&repository).is_empty());
    forget(&repository, &[scene.id(1)]).unwrap();
    prune(&repository, &thorough()).unwrap();
    assert_eq!(repository.history().unwrap().entries.len(), 5, "3 backups, a collection, one that failed");
    // A day short of it, all stay.
    age(&scene, &repository, KEPT_MILLIS - 86_400_000);
    assert_eq!(prune(&repository, &thorough()).unwrap().sessions_deleted, 0);
    age(&scene, &repository, 2 * 86_400_000);
    let report = prune(&repository, &thorough()).unwrap();
    let left = sessions(&repository);
    for snapshot in [0, 2] {
        assert!(left.contains(&scene.snapshots[snapshot].0), "a standing snapshot's session is gone");
    }
    assert!(!left.contains(&failed) && report.sessions_deleted >= 2, "{report:?}");
    for entry in repository.history().unwrap().entries {
        let id = entry.session.id;
        let segments = scene.disk.list(&format!("{}{id}/", names::INDEX)).unwrap().len();
        let is_old = entry.session.heartbeat + KEPT_MILLIS < Timestamp::now().0;
        assert!(entry.state == Some(SnapshotState::Committed) || segments > 0 || !is_old, "{id} is left");
    }
    assert_eq!(assert_exact(&repository, &scene.snapshots, "aged"), 2);
    assert!(check(&repository).is_empty());
    // Run again, nothing more is to go.
    assert_eq!(prune(&repository, &thorough()).unwrap().sessions_deleted, 0);
}

#[test]
fn what_tells_an_emptied_snapshot_or_marker_and_what_noted_damage_stays() {
    let scene = Scene::new(60);
    let repository = scene.repository();
    let dead = begin(&repository).unwrap();
    let failed = dead.id();
    drop(dead);
    // Forgotten, with segments that name packs which others need: an emptied marker must be noticed.
    forget(&repository, &[scene.id(1)]).unwrap();
    // A check that noted damage in what the newest snapshot alone has.
    let values = values(&repository, &scene.id(2));
    damage_chunk(&repository, &scene.disk, values.first().unwrap());
    assert!(!check(&repository).is_empty());
    age(&scene, &repository, KEPT_MILLIS + 1);
    prune(&repository, &thorough()).unwrap();
    let history = repository.history().unwrap();
    let noted = |entry: &&aerolith::repository::HistoryEntry| entry.session.kind == SessionKind::Check;
    let note = history.entries.iter().find(noted).expect("the check that noted damage is gone");
    assert!(!note.session.outcome.as_ref().unwrap().damaged_chunks.is_empty());
    assert!(!sessions(&repository).contains(&failed));
    for (id, _) in &scene.snapshots {
        let segments = scene.disk.list(&format!("{}{id}/", names::INDEX)).unwrap().len();
        let stands = SnapshotState::from_size(scene.disk.size(&names::snapshot(id)).unwrap().unwrap());
        let must = stands == SnapshotState::Committed || segments > 0;
        assert_eq!(sessions(&repository).contains(id), must, "{id}: {segments} segments");
    }
    // A snapshot whose object was emptied is noticed by its session, however old that is.
    scene.disk.put(&names::snapshot(&scene.snapshots[0].0), b"").unwrap();
    age(&scene, &repository, KEPT_MILLIS + 1);
    assert!(message(prune(&repository, &thorough())).contains("committed once"));
    let session = sessions(&repository).contains(&scene.snapshots[0].0);
    assert!(session, "the session that tells it was deleted");
    let status = repository.history().unwrap().entries.into_iter().find(|one| one.session.id == scene.snapshots[0].0);
    assert_eq!(status.unwrap().session.outcome.unwrap().status, Status::Done);
}

#[test]
fn a_collection_that_has_nothing_to_delete_lists_the_index_once_to_read_it_and_once_to_clean_it() {
    let scene = Scene::new(60);
    let store = Arc::new(FaultStore::new(scene.disk.clone()));
    let repository = open(store.clone()).unwrap();
    let before = store.operations().len();
    let report = prune(&repository, &Default::default()).unwrap();
    assert_eq!((report.packs_deleted, report.sessions_deleted), (0, 0), "{report:?}");
    let lists = |operation: &&Operation| operation.call == Call::List && operation.key == names::INDEX;
    assert_eq!(store.operations()[before..].iter().filter(lists).count(), 2);
}
