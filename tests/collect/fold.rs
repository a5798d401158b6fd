//! What is left of old sessions is folded, and everything that was known of them stays known.

use crate::support::scene::*;
use crate::support::world::*;
use aerolith::format::names;
use aerolith::format::snapshot::SnapshotState;
use aerolith::internals::collect::KEPT_MILLIS;
use aerolith::internals::objects;
use aerolith::record::Timestamp;
use aerolith::store::{Call, Effect, Fault, FaultStore, MemoryStore, Operation, Store};
use aerolith::{BackupKind, CheckOptions, Error, HistoryEntry, Repository, SessionKind, SessionOutcome, SnapshotId};
use rayon::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::sync::Arc;

/// Lets all sessions be so much older.
fn age(disk: &MemoryStore, repository: &Repository, millis: u64) {
    for id in sessions(repository) {
        let mut session = objects::read_session(disk, repository.keys(), id).unwrap();
        session.started -= millis;
        session.heartbeat -= millis;
        put_session(repository, disk, &session);
    }
}

/// Those that have objects of their own.
fn sessions(repository: &Repository) -> BTreeSet<SnapshotId> {
    objects::list_sessions(&**repository.store()).unwrap().into_iter().collect()
}

/// What the history says of each session: what its name was, its job, and how it ended.
fn told(repository: &Repository) -> BTreeMap<SnapshotId, (Option<SnapshotState>, String, Option<SessionOutcome>)> {
    let history = repository.history().unwrap();
    assert!(history.damaged.is_empty() && history.unread.is_empty(), "{history:?}");
    let status = |entry: &HistoryEntry| entry.outcome();
    let told = |entry: HistoryEntry| (entry.id(), (entry.state(), entry.job().to_string(), status(&entry)));
    history.entries.into_iter().map(told).collect()
}

fn objects_in(repository: &Repository, directory: &str) -> usize {
    repository.store().list(directory).unwrap().len()
}

fn check(repository: &Repository) -> Vec<String> {
    repository.check(&CheckOptions::default().read_percent(100.0)).unwrap().problems
}

#[test]
fn sessions_that_left_nothing_are_folded_after_two_days_and_stay_in_the_history() {
    let scene = Scene::new(60);
    let repository = scene.repository();
    // One that failed, one whose snapshot is forgotten, and collections.
    let dead = begin(&repository).unwrap();
    let failed = dead.id();
    drop(dead);
    assert!(check(&repository).is_empty());
    forget(&repository, &[scene.id(1)]).unwrap();
    prune(&repository, &thorough()).unwrap();
    let before = told(&repository);
    assert_eq!(before.len(), 5, "3 backups, a collection, one that failed");
    // A day short of it, all stay.
    age(&scene.disk, &repository, KEPT_MILLIS - 86_400_000);
    assert_eq!(prune(&repository, &thorough()).unwrap().sessions_deleted, 0);
    age(&scene.disk, &repository, KEPT_MILLIS - 3_600_000);
    let report = prune(&repository, &thorough()).unwrap();
    let left = sessions(&repository);
    for snapshot in [0, 2] {
        assert!(!left.contains(&scene.snapshots[snapshot].0), "the session of a snapshot that exists is not folded");
    }
    assert!(!left.contains(&failed) && report.sessions_deleted >= 4, "{report:?}");
    for entry in repository.history().unwrap().entries.into_iter().filter(|entry| left.contains(&entry.id())) {
        let id = entry.id();
        let segments = scene.disk.list(&format!("{}{id}/", names::INDEX)).unwrap().len();
        let is_old = entry.heartbeat().0 + KEPT_MILLIS < Timestamp::now().0;
        assert!(segments > 0 || !is_old, "{id} is left");
    }
    let is_there = |id: &SnapshotId| scene.disk.size(&names::snapshot(id)).unwrap().is_some();
    assert!(!is_there(&failed) && is_there(&scene.snapshots[0].0));
    assert_eq!((objects_in(&repository, names::FOLDS), objects_in(&repository, names::HISTORY)), (1, 1));
    let after = told(&repository);
    assert!(before.iter().all(|(id, (_, job, status))| after[id].1 == *job && after[id].2 == *status), "{after:?}");
    assert_eq!(after[&failed].0, Some(SnapshotState::Fenced));
    assert_eq!(after[&scene.snapshots[1].0].0, Some(SnapshotState::Forgotten));
    for snapshot in [0, 2] {
        assert_eq!(after[&scene.snapshots[snapshot].0].0, Some(SnapshotState::Committed));
    }
    let others = [scene.snapshots[0].clone(), scene.snapshots[2].clone()];
    assert_eq!(assert_exact(&repository, &others, "aged"), 2);
    assert!(check(&repository).is_empty());
    assert!(message(forget(&repository, &[scene.id(1)])).contains("not found"));
    // Run again, nothing more is to go.
    assert_eq!(prune(&repository, &thorough()).unwrap().sessions_deleted, 0);
}

#[test]
fn an_emptied_name_is_revealed_after_folding_and_sessions_that_note_damage_are_not_folded() {
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
    age(&scene.disk, &repository, KEPT_MILLIS + 1);
    prune(&repository, &thorough()).unwrap();
    let history = repository.history().unwrap();
    let noted = |entry: &&HistoryEntry| entry.kind() == SessionKind::Check;
    let note = history.entries.iter().find(noted).expect("the check that noted damage is gone");
    assert!(!note.damaged_chunks().is_empty());
    assert!(!sessions(&repository).contains(&failed));
    for (id, _) in &scene.snapshots {
        let segments = scene.disk.list(&format!("{}{id}/", names::INDEX)).unwrap().len();
        let state = scene.disk.size(&names::snapshot(id)).unwrap().map(SnapshotState::from_size);
        let must = state == Some(SnapshotState::Forgotten) && segments > 0;
        assert_eq!(sessions(&repository).contains(id), must, "{id}: {segments} segments");
    }
    // A snapshot whose object was emptied, or is gone, is noticed by its session, however old that is: by the history.
    let (emptied, name) = (scene.snapshots[0].0, names::snapshot(&scene.snapshots[0].0));
    for state in [Some(SnapshotState::Fenced), None] {
        match state {
            Some(_) => scene.disk.put(&name, b"").unwrap(),
            None => scene.disk.delete(&name).unwrap(),
        }
        age(&scene.disk, &repository, KEPT_MILLIS + 1);
        assert!(message(prune(&repository, &thorough())).contains("committed once"));
        let told = told(&repository);
        assert_eq!(
            (told[&emptied].0, &told[&emptied].2),
            (state, &Some(SessionOutcome::Done)),
            "what tells it was deleted"
        );
        assert!(!sessions(&repository).contains(&emptied));
        assert!(check(&repository).iter().any(|problem| problem.contains(&name)), "{:?}", check(&repository));
        let damaged = repository.snapshots().unwrap().damaged;
        assert_eq!(damaged.iter().any(|(id, _)| *id == emptied), state.is_some(), "{damaged:?}");
    }
}

#[test]
fn a_snapshot_that_is_forgotten_after_its_session_was_folded_is_known_as_forgotten() {
    let scene = Scene::new(60);
    let repository = scene.repository();
    let (id, _) = back_up_all(&repository, BackupKind::Incremental, &[("kept", &scene.kept)]);
    age(&scene.disk, &repository, KEPT_MILLIS + 1);
    assert_eq!(prune(&repository, &thorough()).unwrap().sessions_deleted, 4);
    let before = told(&repository);
    assert_eq!(before[&id].0, Some(SnapshotState::Committed));
    forget(&repository, &[id.to_string()]).unwrap();
    assert_eq!(told(&repository)[&id].0, Some(SnapshotState::Forgotten));
    for _ in 0..3 {
        prune(&repository, &thorough()).unwrap();
        age(&scene.disk, &repository, KEPT_MILLIS + 1);
    }
    assert_eq!(scene.disk.size(&names::snapshot(&id)).unwrap(), None, "the marker is still there");
    let after = told(&repository);
    assert_eq!(after[&id], (Some(SnapshotState::Forgotten), before[&id].1.clone(), before[&id].2.clone()));
    assert!(check(&repository).is_empty(), "{:?}", check(&repository));
    // If the folds are lost, the history tells what they named.
    for object in scene.disk.list(names::FOLDS).unwrap() {
        scene.disk.delete(&object.key).unwrap();
    }
    assert_eq!(told(&repository)[&id].0, Some(SnapshotState::Forgotten));
    repair(&repository, &Default::default()).unwrap();
    assert!(check(&repository).is_empty(), "{:?}", check(&repository));
    prune(&repository, &thorough()).unwrap();
    assert_eq!(assert_exact(&repository, &scene.snapshots, "aged"), 3);
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

/// Its heartbeat stopped, it was fenced, and its fence was folded: it slept for days.
fn fold_away(scene: &Scene, id: SnapshotId) {
    let repository = scene.repository();
    prune(&repository, &thorough().fence(true)).unwrap();
    age(&scene.disk, &repository, KEPT_MILLIS + 1);
    prune(&repository, &thorough()).unwrap();
    assert_eq!(scene.disk.size(&names::snapshot(&id)).unwrap(), None, "the fence is still there");
}

#[test]
fn a_writer_that_slept_until_its_fence_was_folded_can_never_commit() {
    let scene = Scene::new(60);
    let repository = scene.repository();
    let mut session = begin(&repository).unwrap();
    session.records("kept", &scene.kept.later(0..60, 0.5, 0.1, 7), BackupKind::Full, &options()).unwrap();
    let id = session.id();
    fold_away(&scene, id);
    let before = repository.snapshots().unwrap().snapshots.len();
    assert!(matches!(refused(session.commit()), Error::Fenced { .. }));
    // What it created counts for nobody, and the next collection takes it away.
    assert!(scene.disk.size(&names::snapshot(&id)).unwrap().is_some());
    assert_eq!(repository.snapshots().unwrap().snapshots.len(), before);
    assert!(message(repository.snapshot(&id.to_string())).contains("not found"));
    assert!(check(&repository).is_empty());
    back_up_all(&repository, BackupKind::Incremental, &[("kept", &scene.kept)]);
    prune(&repository, &thorough()).unwrap();
    assert_eq!(scene.disk.size(&names::snapshot(&id)).unwrap(), None);
    assert_exact(&repository, &scene.snapshots, "after a writer that slept");
    assert_nothing_unused(&repository, "after a writer that slept");
}

#[test]
fn however_many_sessions_there_were_a_few_objects_tell_of_them_and_a_client_misses_none() {
    let scene = Scene::new(30);
    let repository = scene.repository();
    let seen = tempfile::tempdir().unwrap();
    for round in 0..40 {
        drop(begin(&repository).unwrap());
        prune(&repository, &thorough()).unwrap();
        repository.remember(seen.path()).unwrap();
        age(&scene.disk, &repository, KEPT_MILLIS + 1);
        assert_eq!(repository.look_back(seen.path()).unwrap(), None, "round {round}");
    }
    prune(&repository, &thorough()).unwrap();
    assert_eq!(repository.look_back(seen.path()).unwrap(), None);
    assert_eq!(told(&repository).len(), 3 + 2 * 40 + 1);
    for directory in [names::FOLDS, names::HISTORY] {
        assert!((1..=6).contains(&objects_in(&repository, directory)), "{directory}");
    }
    assert!(objects_in(&repository, names::SESSIONS) < 8 && objects_in(&repository, names::SNAPSHOTS) < 8);
    // A fold that is gone is missed.
    let fold = scene.disk.list(names::FOLDS).unwrap().into_iter().max_by_key(|object| object.size).unwrap();
    scene.disk.delete(&fold.key).unwrap();
    assert!(!repository.look_back(seen.path()).unwrap().unwrap().gone.is_empty());
}

/// A repository with folds of which each prune merges the older ones, and sessions that are about to be folded.
fn about_to_fold() -> Scene {
    let scene = Scene::new(20);
    let repository = scene.repository();
    let (more, _) = back_up_all(&repository, BackupKind::Incremental, &[("kept", &scene.kept)]);
    for _ in 0..2 {
        drop(begin(&repository).unwrap());
        prune(&repository, &thorough()).unwrap();
        age(&scene.disk, &repository, KEPT_MILLIS + 1);
    }
    // The session of a snapshot was folded, and then the snapshot was forgotten: its name is about to be folded.
    assert!(!sessions(&repository).contains(&more));
    forget(&repository, &[more.to_string()]).unwrap();
    scene
}

/// Prunes with a fault at each call in turn, then once more.
fn at_every_call(effect: Effect, power_cut: bool) {
    let scene = about_to_fold();
    assert_eq!(objects_in(&scene.repository(), names::FOLDS), 1);
    let told_before = told(&scene.repository());
    let counting = Arc::new(FaultStore::new(Arc::new(scene.disk.fork())));
    prune(&open(counting.clone()).unwrap(), &thorough()).unwrap();
    let calls = counting.operations().len();
    let seen = tempfile::tempdir().unwrap();
    scene.repository().remember(seen.path()).unwrap();
    (0..calls).into_par_iter().for_each(|n| {
        let about = format!("{effect:?} at call {n}");
        let disk: Arc<MemoryStore> = Arc::new(scene.disk.fork());
        let store = Arc::new(FaultStore::new(disk.clone()));
        store.inject(Fault::nth(n, effect));
        let _ = open(store.clone()).and_then(|repository| prune(&repository, &thorough()));
        if power_cut {
            store.lose_unsynced().unwrap();
        }
        let repository = open(disk.clone()).unwrap();
        for round in 0..2 {
            let told = told(&repository);
            // One that was at work since.
            for (id, before) in &told_before {
                assert_eq!((&told[id].1, &told[id].2), (&before.1, &before.2), "{about}, {round}: {id}");
                assert!(before.0.is_none() || told[id].0 == before.0, "{about}, {round}: the name of {id} is another");
            }
            assert_eq!(repository.look_back(seen.path()).unwrap(), None, "{about}, {round}");
            assert_eq!(assert_exact(&repository, &scene.snapshots, &about), 3, "{about}, {round}");
            assert_clean(&repository, &about);
            prune(&repository, &thorough().fence(true)).unwrap_or_else(|error| panic!("{about}, then: {error}"));
        }
        assert!((1..=3).contains(&objects_in(&repository, names::FOLDS)), "{about}");
        assert_eq!(repository.snapshots().unwrap().snapshots.len(), 3, "{about}");
    });
}

#[test]
fn a_crash_before_any_call_of_a_folding_loses_no_name_and_no_history() {
    at_every_call(Effect::CrashBefore, false);
}

#[test]
fn a_crash_after_any_call_of_a_folding_loses_no_name_and_no_history() {
    at_every_call(Effect::CrashAfter, false);
}

#[test]
fn a_power_cut_at_any_call_of_a_folding_loses_no_name_and_no_history() {
    at_every_call(Effect::CrashAfter, true);
}

#[test]
fn a_lost_reply_to_any_call_of_a_folding_loses_no_name_and_no_history() {
    at_every_call(Effect::LoseReply(ErrorKind::ConnectionReset), false);
}

#[test]
fn a_damaged_fold_is_named_stops_only_collections_and_is_replaced_by_a_repair() {
    let scene = about_to_fold();
    let told_before = told(&scene.repository());
    for (directory, is_deleted) in [(names::FOLDS, false), (names::FOLDS, true), (names::HISTORY, false)] {
        let disk = Arc::new(scene.disk.fork());
        let key = disk.list(directory).unwrap()[0].key.clone();
        match is_deleted {
            true => disk.delete(&key).unwrap(),
            false => flip(&disk, &key, 80),
        }
        let repository = open(disk.clone()).unwrap();
        let about = format!("{key}, deleted: {is_deleted}");
        let name = if is_deleted { directory } else { &key };
        assert!(check(&repository).iter().any(|problem| problem.contains(name)), "{about}: {:?}", check(&repository));
        assert_eq!(assert_exact(&repository, &scene.snapshots, &about), 3);
        back_up_all(&repository, BackupKind::Incremental, &[("kept", &scene.kept)]);
        if directory == names::FOLDS && !is_deleted {
            assert!(message(prune(&repository, &thorough())).contains(&key), "{about}");
        }
        let report = repair(&repository, &Default::default()).unwrap();
        assert!(report.cleared.iter().any(|line| line.contains(name)), "{about}: {report:?}");
        assert!(check(&repository).is_empty(), "{about}: {:?}", check(&repository));
        prune(&repository, &thorough()).unwrap();
        if directory == names::FOLDS {
            let told = told(&repository);
            for (id, (state, ..)) in told_before.iter().filter(|(_, (state, ..))| state.is_some()) {
                assert_eq!(told[id].0, *state, "{about}: {id}");
            }
        }
        assert_eq!(assert_exact(&repository, &scene.snapshots, &about), 3);
    }
}
