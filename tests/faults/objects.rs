//! Single objects: what is refused, and what the message says.

use crate::support::scene::warned_by;
use crate::support::world::*;
use aerolith::format::{PackId, names};
use aerolith::store::{MemoryStore, Store};
use aerolith::{BackupKind, Error, KdfCost, Repository, SnapshotId};
use std::sync::Arc;

fn base() -> (Arc<MemoryStore>, Repository, World) {
    let store = Arc::new(MemoryStore::new());
    let repository = create(store.clone()).unwrap();
    let world = World::filled(0..300);
    back_up(&repository, &world, BackupKind::Full).unwrap();
    (store, repository, world)
}

#[test]
fn a_damaged_plan_stops_backups_and_no_restore_and_the_message_says_what_to_do() {
    let (store, repository, world) = base();
    let name = put_plan(&repository, &store, SnapshotId([5; 16]), Vec::new());
    let later = world.later(0..300, 0.1, 0.1, 1);
    back_up(&repository, &later, BackupKind::Full).unwrap();
    flip(&store, &name, 100);
    let error = refused(back_up(&repository, &later, BackupKind::Full));
    let text = error.to_string();
    assert!(error.is_damage() && text.contains(&name) && text.contains("delete this object"), "{text}");
    assert_whole(&repository, "latest", &later.truth(), "a restore needs no plan");
    assert!(check(&repository).unwrap().problems.iter().any(|problem| problem.contains(&name)));
    let last = repository.history().unwrap().entries.into_iter().max_by_key(|entry| entry.started()).unwrap();
    assert!(last.outcome().is_some(), "the refused session must not look as if it ran");
    store.delete(&name).unwrap();
    back_up(&repository, &later, BackupKind::Full).unwrap();
    assert_whole(&repository, "latest", &later.truth(), "without the plan");
}

#[test]
fn condemned_packs_are_not_built_on_even_where_the_index_is_lost() {
    let (store, repository, world) = base();
    let packs: Vec<PackId> =
        store.list(names::PACKS).unwrap().iter().filter_map(|pack| names::parse_pack(&pack.key)).collect();
    put_plan(&repository, &store, SnapshotId([5; 16]), packs.clone());
    for object in store.list(names::INDEX).unwrap() {
        store.delete(&object.key).unwrap();
    }
    back_up(&repository, &world, BackupKind::Full).unwrap();
    for pack in packs {
        store.delete(&names::pack(&pack)).unwrap();
    }
    assert_whole(&repository, "latest", &world.truth(), "once the collector is done");
}

#[test]
fn a_damaged_session_is_named_and_hides_no_other() {
    let (store, repository, world) = base();
    back_up(&repository, &world, BackupKind::Full).unwrap();
    let sessions = store.list(names::SESSIONS).unwrap();
    flip(&store, &sessions[0].key, 90);
    let history = repository.history().unwrap();
    assert_eq!((history.entries.len(), history.damaged.len()), (1, 1));
    assert!(history.damaged[0].1.to_string().contains(&sessions[0].key));
    let found = check(&repository).unwrap();
    assert!(found.problems.iter().any(|problem| problem.contains(&sessions[0].key)), "{found:?}");
}

#[test]
fn a_damaged_session_that_a_check_may_have_left_is_named_to_whoever_writes() {
    let (store, repository, _) = base();
    let session = repository.begin(Default::default()).unwrap();
    let name = names::session(&session.id());
    drop(session);
    flip(&store, &name, 90);
    let warnings = warned_by(&repository, |repository| drop(repository.begin(Default::default()).unwrap()));
    assert!(warnings.iter().any(|warning| warning.contains(&name)), "{warnings:?}");
}

#[test]
fn a_lost_or_emptied_newest_snapshot_is_missed() {
    let (store, repository, world) = base();
    let newest = back_up(&repository, &world, BackupKind::Full).unwrap();
    let name = names::snapshot(&newest.id());
    let whole = store.get(&name, u64::MAX).unwrap().unwrap();
    store.put(&name, b"").unwrap();
    let error = refused(repository.snapshot("latest"));
    assert!(error.is_damage() && error.to_string().contains(&name), "{error}");
    store.put(&name, &whole[..48]).unwrap();
    assert!(check(&repository).unwrap().problems.iter().any(|problem| problem.contains(&name)));
    store.delete(&name).unwrap();
    let found = check(&repository).unwrap();
    assert!(found.problems.iter().any(|problem| problem.contains(&name)) && found.hurt == [newest.id()], "{found:?}");
    assert_whole(&repository, "latest", &world.truth(), "the older one");
}

#[test]
fn an_older_damaged_snapshot_puts_no_doubt_on_the_latest() {
    let (store, repository, world) = base();
    let older = repository.snapshots().unwrap().snapshots[0].id();
    flip(&store, &names::snapshot(&older), 90);
    let error = refused(repository.snapshot("latest"));
    assert!(error.to_string().contains(&older.to_string()), "{error}");
    let later = world.later(0..300, 0.1, 0.1, 1);
    back_up(&repository, &later, BackupKind::Full).unwrap();
    assert_whole(&repository, "latest", &later.truth(), "the latest");
    let error = refused(repository.snapshot("latest~1"));
    assert!(error.to_string().contains(&older.to_string()), "{error}");
    back_up(&repository, &later, BackupKind::Incremental).unwrap();
    assert_whole(&repository, "latest~1", &later.truth(), "the one before");
}

#[test]
fn unknown_versions_are_named_with_object_and_number() {
    let (store, repository, world) = base();
    let with_version = |key: &str, at: usize| {
        let copy = Arc::new(store.fork());
        let mut bytes = Vec::from(copy.get(key, u64::MAX).unwrap().unwrap());
        bytes[at] = 200;
        copy.put(key, &bytes).unwrap();
        copy
    };
    let config = with_version(names::CONFIG, 8);
    let error = refused(Repository::open(config, PASSPHRASE));
    assert!(matches!(&error, Error::UnknownVersion { object, found: 200, .. } if object == "config"), "{error}");

    let snapshot = store.list(names::SNAPSHOTS).unwrap().remove(0).key;
    let copy = Repository::open(with_version(&snapshot, 4), PASSPHRASE).unwrap();
    let list = copy.snapshots().unwrap();
    let error = &list.damaged[0].1;
    assert!(matches!(error, Error::UnknownVersion { object, found: 200, .. } if *object == snapshot), "{error}");

    for pack in store.list(names::PACKS).unwrap() {
        let copy = Repository::open(with_version(&pack.key, 4), PASSPHRASE).unwrap();
        let (records, report) = restore(&copy.snapshot("latest").unwrap()).unwrap();
        assert!(is_part_of(&records, &world.truth()) && report.is_damaged());
        let told: Vec<String> = report
            .lost
            .lines()
            .into_iter()
            .chain(report.failures.iter().map(|failed| failed.reason.clone()))
            .chain(report.metadata_lost)
            .collect();
        assert!(told.iter().all(|line| line.contains(&pack.key) && line.contains("version 200")), "{told:?}");
    }
    let index = store.list(names::INDEX).unwrap().remove(0).key;
    let copy = Repository::open(with_version(&index, 4), PASSPHRASE).unwrap();
    assert_whole(&copy, "latest", &world.truth(), "the packs make up for the index");
    drop(repository);
}

#[test]
fn a_wrong_passphrase_and_a_damaged_slot_are_told_apart() {
    let (store, repository, _) = base();
    let first = repository.key_list(PASSPHRASE).unwrap()[0].id;
    let second = repository.key_add(b"other", "second", KdfCost::WEAK).unwrap();
    let error = refused(Repository::open(store.clone(), b"wrong"));
    assert!(matches!(error, Error::WrongPassphrase { slots: 2, .. }), "{error}");
    flip(&store, &names::key(&first), 100);
    let error = refused(Repository::open(store.clone(), PASSPHRASE));
    assert!(error.is_damage() && error.to_string().contains(&names::key(&first)), "{error}");
    let other = Repository::open(store.clone(), b"other").unwrap();
    let slots = other.key_list(b"other").unwrap();
    assert_eq!(slots.len(), 2);
    assert!(slots.iter().all(|slot| slot.damaged.is_some() == (slot.id == first)), "{slots:?}");
    // The other one is the last way in.
    assert!(other.key_remove(&second).is_err());
    other.key_remove(&first).unwrap();
}

#[test]
fn a_lost_config_is_not_taken_for_an_empty_place() {
    let (store, _, _) = base();
    store.delete(names::CONFIG).unwrap();
    for error in [refused(Repository::open(store.clone(), PASSPHRASE)), refused(create(store.clone()))] {
        assert!(matches!(&error, Error::Missing { object, .. } if object == "config"), "{error}");
        assert_eq!(error.exit_code(), 10);
    }
}

#[test]
fn a_lost_index_is_rebuilt_by_the_next_backup_of_any_kind() {
    for kind in [BackupKind::Full, BackupKind::Incremental] {
        let (store, repository, world) = base();
        for object in store.list(names::INDEX).unwrap() {
            store.delete(&object.key).unwrap();
        }
        assert_whole(&repository, "latest", &world.truth(), "without an index");
        back_up(&repository, &world, kind).unwrap();
        let named = repository.index().unwrap().packs();
        let packs = store.list(names::PACKS).unwrap();
        assert!(packs.iter().all(|pack| named.contains_key(&names::parse_pack(&pack.key).unwrap())));
        assert_whole(&repository, "latest", &world.truth(), "with a new index");
    }
}
