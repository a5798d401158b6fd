//! What was healed is healed: a check, a collection and a repair judge by what can be read now, not by what was lost
//! once.

use crate::support::scene::*;
use crate::support::world::*;
use aerolith::format::names;
use aerolith::store::{MemoryStore, Store};
use aerolith::{BackupKind, CheckOptions, CheckReport, Repository, SnapshotFilter, SnapshotId};
use rayon::prelude::*;
use std::sync::Arc;

/// A check that reads no data.
fn quick_check(repository: &Repository) -> CheckReport {
    repository.check(&CheckOptions::default()).unwrap()
}

#[test]
fn whatever_pack_was_lost_a_full_backup_leaves_a_snapshot_that_every_operation_finds_whole() {
    let scene = Scene::new(300);
    let packs: Vec<String> = scene.disk.list(names::PACKS).unwrap().into_iter().map(|pack| pack.key).collect();
    let cases: Vec<(&String, bool)> = packs.iter().flat_map(|key| [(key, true), (key, false)]).collect();
    cases.par_iter().for_each(|(key, emptied)| {
        let about = format!("{key}, emptied: {emptied}");
        let disk = Arc::new(scene.disk.fork());
        match emptied {
            true => disk.put(key, &[]).unwrap(),
            false => disk.delete(key).unwrap(),
        }
        let repository = open(disk.clone()).unwrap();
        quick_check(&repository);
        let last = back_up_all(&repository, BackupKind::Full, &[("kept", &scene.kept)]);
        assert_eq!(assert_exact(&repository, std::slice::from_ref(&last), &about), 1);
        let found = quick_check(&repository);
        assert!(!found.hurt.contains(&last.0), "{about}: {found:?}");
        forget(&repository, &[scene.id(0), scene.id(1), scene.id(2)]).unwrap();
        let pruned = prune(&repository, &thorough()).unwrap();
        assert!(pruned.chunks_missing == 0 && pruned.problems.is_empty(), "{about}: {pruned:?}");
        assert_clean(&repository, &about);
        assert!(check(&repository).unwrap().notes.is_empty(), "{about}");
        assert_nothing_unused(&repository, &about);
    });
}

/// A full backup, and an incremental one that changes every record: the values of the first are of no use to the
/// second.
fn all_changed() -> (Arc<MemoryStore>, Repository, [SnapshotId; 2], World) {
    let disk = Arc::new(MemoryStore::new());
    let repository = create(disk.clone()).unwrap();
    let first = World::filled(0..40);
    let second = first.later(0..40, 1.0, 0.0, 3);
    let one = back_up(&repository, &first, BackupKind::Full).unwrap().id();
    let two = back_up(&repository, &second, BackupKind::Incremental).unwrap().id();
    (disk, repository, [one, two], second)
}

#[test]
fn losing_values_of_only_older_versions_of_records_damages_no_snapshot() {
    let (disk, repository, [one, two], world) = all_changed();
    for chunk in values(&repository, &one.to_string()) {
        for at in repository.chunk_reader().unwrap().locate(&chunk).unwrap() {
            disk.delete(&names::pack(&at.pack)).unwrap();
        }
    }
    let found = quick_check(&repository);
    assert_eq!(found.hurt, [one], "{found:?}");
    let report = repair(&repository, &thorough_repair()).unwrap();
    assert!(report.salvaged.iter().all(|salvaged| salvaged.original == one), "{report:?}");
    let salvages = report.salvaged.iter().filter_map(|salvaged| salvaged.snapshot);
    let mut gone: Vec<String> = salvages.map(|id| id.to_string()).collect();
    gone.push(one.to_string());
    forget(&repository, &gone).unwrap();
    let found = quick_check(&repository);
    assert!(found.problems.is_empty() && found.hurt.is_empty(), "{found:?}");
    assert!(found.notes.iter().any(|note| note.contains("older versions")), "{found:?}");
    let pruned = prune(&repository, &thorough()).unwrap();
    assert_eq!((pruned.chunks_missing, &pruned.problems[..]), (0, &[][..]), "{pruned:?}");
    assert_whole(&repository, &two.to_string(), &world.truth(), "changed");
    // The next full backup refers to nothing that is lost.
    let last = back_up(&repository, &world, BackupKind::Full).unwrap();
    assert_eq!(last.namespace(NAMESPACE).unwrap().manifest().runs.len(), 1);
    forget(&repository, &[two.to_string()]).unwrap();
    prune(&repository, &thorough()).unwrap();
    assert_clean(&repository, "after a full backup");
    assert!(quick_check(&repository).notes.is_empty());
}

#[test]
fn sessions_and_holds_that_cannot_be_read_are_named_and_a_repair_clears_them() {
    let scene = Scene::new(30);
    let repository = scene.repository();
    let hold = repository.hold(&[scene.id(1)], &SnapshotFilter::ALL, "case 7").unwrap().remove(0);
    let hold_key = names::hold(&hold.snapshot, &hold.id);
    let session_key = names::session(&scene.snapshots[0].0);
    // Another that died, and was emptied by the same power cut.
    let dead = begin(&repository).unwrap();
    let dead_id = dead.id();
    drop(dead);
    let dead_key = names::session(&dead_id);
    for key in [&hold_key, &session_key, &dead_key] {
        scene.disk.put(key, &[]).unwrap();
    }
    let found = check(&repository).unwrap();
    for key in [&hold_key, &session_key, &dead_key] {
        let named = found.problems.iter().any(|problem| problem.contains(key) && problem.contains("repair"));
        assert!(named, "{key}: {found:?}");
    }
    let before = scene.disk.list("").unwrap();
    let report = repository.repair_plan(&thorough_repair()).unwrap().into_report();
    assert_eq!(report.cleared.len(), 3, "{report:?}");
    assert_eq!(scene.disk.list("").unwrap(), before, "a dry run changed something");
    let report = repair(&repository, &thorough_repair()).unwrap();
    assert!(report.cleared.len() == 3 && !report.is_damaged(), "{report:?}");
    assert_clean(&repository, "repaired");
    // Held it stays.
    assert!(message(forget(&repository, &[scene.id(1)])).contains("is held"));
    // A session that no collection can see any more must never be committed.
    assert_eq!(scene.disk.size(&names::snapshot(&dead_id)).unwrap(), Some(0));
    assert_eq!(assert_exact(&repository, &scene.snapshots, "repaired"), 3);
    assert!(repair(&repository, &thorough_repair()).unwrap().cleared.is_empty());
}

#[test]
fn a_damaged_hold_of_a_snapshot_that_is_gone_goes_with_the_next_repair() {
    let scene = Scene::new(30);
    let repository = scene.repository();
    let hold = repository.hold(&[scene.id(1)], &SnapshotFilter::ALL, "case 7").unwrap().remove(0);
    let key = names::hold(&hold.snapshot, &hold.id);
    scene.disk.put(&key, &[]).unwrap();
    aerolith::internals::objects::forget(&*scene.disk, repository.keys(), hold.snapshot, 1).unwrap();
    let report = repair(&repository, &thorough_repair()).unwrap();
    assert_eq!(report.cleared.len(), 1, "{report:?}");
    assert_eq!(scene.disk.size(&key).unwrap(), None);
}
