//! What goes and what stays.

use crate::support::scene::*;
use crate::support::world::*;
use aerolith::format::names;
use aerolith::internals::pack::read_directory;
use aerolith::store::{MemoryStore, Store};
use aerolith::{BackupKind, Retention, SessionOptions, SnapshotFilter};
use std::sync::Arc;

#[test]
fn what_no_snapshot_needs_is_deleted_and_what_is_left_restores_exactly() {
    let scene = Scene::new(1200);
    let repository = scene.repository();
    for (n, left) in [(0, 2), (1, 1)] {
        forget(&repository, &[scene.id(n)]).unwrap();
        let report = prune(&repository, &thorough()).unwrap();
        // The second is of layers that the third builds on.
        assert_eq!((report.packs_deleted > 0, report.chunks_moved > 0), (n == 0, n == 0), "{report:?}");
        assert!(report.problems.is_empty() && report.fenced.is_empty(), "{report:?}");
        assert_eq!((report.unused_bytes_left, report.chunks_missing, report.snapshots), (0, 0, left as u64));
        assert_eq!(assert_exact(&repository, &scene.snapshots, "pruned"), left);
        assert_clean(&repository, "pruned");
        assert_nothing_unused(&repository, "pruned");
        let again = prune(&repository, &thorough()).unwrap();
        assert_eq!((again.packs_deleted, again.chunks_moved, again.unused_bytes), (0, 0, 0), "{again:?}");
    }
    // A later backup builds on what is left, and once all are forgotten nothing is.
    let next = scene.kept.later(0..1200, 0.2, 0.1, 9);
    let last = back_up_all(&repository, BackupKind::Incremental, &[("kept", &next)]);
    assert_eq!(assert_exact(&repository, &[last], "the next"), 1);
    let all = Retention::default().last(0);
    assert_eq!(repository.forget(&all, &SnapshotFilter::ALL).unwrap().forgotten.len(), 2);
    prune(&repository, &thorough()).unwrap();
    assert!(scene.disk.list(names::PACKS).unwrap().is_empty() && scene.disk.list(names::INDEX).unwrap().is_empty());
    assert_clean(&repository, "empty");
}

#[test]
fn a_dry_run_changes_nothing_and_says_what_the_run_then_does() {
    let scene = Scene::new(200);
    let repository = scene.repository();
    forget(&repository, &[scene.id(0)]).unwrap();
    let before = scene.disk.list("").unwrap();
    let planned = repository.prune_plan(&thorough()).unwrap().into_report();
    assert_eq!(scene.disk.list("").unwrap(), before);
    let done = prune(&repository, &thorough()).unwrap();
    assert_eq!((planned.packs_deleted, planned.bytes_deleted), (done.packs_deleted, done.bytes_deleted));
    assert_eq!((planned.chunks_moved, planned.unused_bytes), (done.chunks_moved, done.unused_bytes));
}

#[test]
fn what_may_stay_unused_stays_and_no_more_is_moved_than_allowed() {
    let scene = Scene::new(1200);
    let repository = scene.repository();
    forget(&repository, &[scene.id(0)]).unwrap();
    for options in [thorough().max_unused_percent(100.0), thorough().max_rewrite_bytes(0)] {
        let report = prune(&repository, &options).unwrap();
        assert!(report.chunks_moved == 0 && report.unused_bytes_left > 0, "{report:?}");
        assert_eq!(assert_exact(&repository, &scene.snapshots, "left"), 2);
        assert_clean(&repository, "left");
    }
}

#[test]
fn what_a_failed_backup_left_is_deleted() {
    let scene = Scene::new(50);
    let repository = scene.repository();
    let before = scene.disk.list(names::PACKS).unwrap();
    let mut session = begin(&repository).unwrap();
    session.records("other", &World::filled(5_000..9_000), BackupKind::Full, &options()).unwrap();
    // Fenced, it finds out at the very end, when its packs and its index are stored.
    scene.disk.put(&names::snapshot(&session.id()), b"").unwrap();
    assert!(message(session.commit()).contains("fenced"));
    assert!(scene.disk.list(names::PACKS).unwrap().len() > before.len(), "nothing was left to go");
    let report = prune(&repository, &thorough()).unwrap();
    assert_eq!((report.chunks_moved, report.segments_deleted), (0, 1), "{report:?}");
    assert_eq!(scene.disk.list(names::PACKS).unwrap(), before);
    assert_eq!(assert_exact(&repository, &scene.snapshots, "orphans gone"), 3);
    assert_clean(&repository, "orphans gone");
}

#[test]
fn of_two_copies_the_whole_one_stays() {
    // Which copy is found first depends on random ids.
    for _ in 0..6 {
        let disk = Arc::new(MemoryStore::new());
        let repository = create(disk.clone()).unwrap();
        let world = World::filled(0..100);
        let (first, _) = back_up_all(&repository, BackupKind::Full, &[("kept", &world)]);
        let values = values(&repository, "latest");
        values.iter().for_each(|id| damage_chunk(&repository, &disk, id));
        assert_eq!(check(&repository).unwrap().hurt, [first]);
        // Of another cluster, so that it has no parent: the same chunks, rewritten.
        let about = SessionOptions::default().cluster("other");
        let mut session = repository.begin(about).unwrap();
        session.records("kept", &world, BackupKind::Full, &options()).unwrap();
        let healed = session.commit().unwrap();
        assert_eq!(healed.chunks().unwrap().locate(&values[0]).unwrap().len(), 2);
        forget(&repository, &[first.to_string()]).unwrap();
        prune(&repository, &thorough()).unwrap();
        assert_eq!(assert_exact(&repository, &[(healed.id(), [("kept", world.truth())].into())], "healed"), 1);
        assert_clean(&repository, "healed");
        assert_nothing_unused(&repository, "healed");
    }
}

#[test]
fn nothing_is_deleted_if_the_needs_of_a_snapshot_are_unknown() {
    let scene = Scene::new(50);
    let repository = scene.repository();
    let name = names::snapshot(&scene.snapshots[1].0);
    let manifest = scene.disk.get(&name, u64::MAX).unwrap().unwrap();
    forget(&repository, &[scene.id(0)]).unwrap();
    let packs = scene.disk.list(names::PACKS).unwrap();
    // Damaged, cut to a marker's size, emptied, gone.
    let mut damaged = manifest.to_vec();
    damaged[80] ^= 1;
    for bytes in [Some(&damaged[..]), Some(&manifest[..48]), Some(&[][..]), None] {
        match bytes {
            Some(bytes) => scene.disk.put(&name, bytes).unwrap(),
            None => scene.disk.delete(&name).unwrap(),
        }
        let error = message(prune(&repository, &thorough()));
        assert!(error.contains(&name) && error.contains("aerolith forget"), "{error}");
        assert_eq!(scene.disk.list(names::PACKS).unwrap(), packs);
    }
    // Back from a copy, it needs what it needed; given up by its whole id, it blocks nobody.
    scene.disk.put(&name, &manifest).unwrap();
    prune(&repository, &thorough()).unwrap();
    assert_eq!(assert_exact(&repository, &scene.snapshots, "restored"), 2);
    scene.disk.delete(&name).unwrap();
    forget(&repository, &[scene.id(1)]).unwrap();
    prune(&repository, &thorough()).unwrap();
    assert_eq!(assert_exact(&repository, &scene.snapshots, "given up"), 1);
    assert_clean(&repository, "given up");
}

#[test]
fn many_small_packs_become_few_and_few_are_left_alone() {
    let disk = Arc::new(MemoryStore::new());
    let repository = create(disk.clone()).unwrap();
    let mut world = World::filled(0..60);
    let mut snapshots = vec![back_up_all(&repository, BackupKind::Full, &[("kept", &world)])];
    let packs = || disk.list(names::PACKS).unwrap().len();
    while packs() < 32 {
        assert_eq!(prune(&repository, &thorough()).unwrap().chunks_moved, 0, "few were joined");
        world = world.later(0..60, 0.3, 0.02, 100 + snapshots.len() as u64);
        snapshots.push(back_up_all(&repository, BackupKind::Incremental, &[("kept", &world)]));
    }
    let none = thorough().max_rewrite_bytes(0);
    assert_eq!(prune(&repository, &none).unwrap().chunks_moved, 0);
    // One alone would become another one alone.
    let stored = disk.list(names::PACKS).unwrap().into_iter().map(|object| {
        let id = names::parse_pack(&object.key).unwrap();
        let rows = read_directory(&*disk, repository.keys(), id, object.size).unwrap().1;
        rows.iter().map(|row| u64::from(row.place.stored)).sum::<u64>()
    });
    let one = thorough().max_rewrite_bytes(stored.min());
    assert_eq!(prune(&repository, &one).unwrap().chunks_moved, 0);
    let many = packs();
    let planned = repository.prune_plan(&thorough()).unwrap().into_report();
    let report = prune(&repository, &thorough()).unwrap();
    assert_eq!((report.packs_deleted, report.chunks_moved), (many as u64, report.chunks));
    assert_eq!((planned.packs_deleted, planned.chunks_moved), (report.packs_deleted, report.chunks_moved));
    assert!(packs() <= 4, "{} packs", packs());
    assert_eq!(assert_exact(&repository, &snapshots, "joined"), snapshots.len());
    assert_clean(&repository, "joined");
    assert_nothing_unused(&repository, "joined");
    assert_eq!(prune(&repository, &thorough()).unwrap().chunks_moved, 0, "joined again");
}

#[test]
fn the_index_does_not_grow_with_forgotten_backups() {
    let scene = Scene::new(30);
    let repository = scene.repository();
    let mut world = scene.kept.clone();
    let mut last = None;
    for n in 0..14 {
        world = world.later(0..30, 0.5, 0.0, 20 + n);
        last = Some(back_up_all(&repository, BackupKind::Incremental, &[("kept", &world)]));
    }
    let all = manifests(&repository);
    let of_one = all.iter().filter(|manifest| manifest.namespaces.len() == 1).map(|manifest| manifest.id.to_string());
    let of_one: Vec<String> = of_one.collect();
    repository.forget_named(&of_one[..of_one.len() - 1], &SnapshotFilter::ALL).unwrap();
    let loose = thorough().max_unused_percent(100.0);
    prune(&repository, &loose).unwrap();
    let segments = scene.disk.list(names::INDEX).unwrap().len();
    assert!(segments <= 12, "{segments} segments");
    assert_eq!(assert_exact(&repository, &[last.unwrap()], "joined"), 1);
    assert_eq!(assert_exact(&repository, &scene.snapshots, "joined"), 1);
    assert_clean(&repository, "joined");
}

#[test]
fn what_a_lost_index_segment_named_is_moved_like_anything_else() {
    // That of the first snapshot, which is forgotten, and that of one that exists.
    for lost in [0, 1] {
        let scene = Scene::new(1200);
        let repository = scene.repository();
        forget(&repository, &[scene.id(0)]).unwrap();
        for object in scene.disk.list(&format!("{}{}/", names::INDEX, scene.id(lost))).unwrap() {
            scene.disk.delete(&object.key).unwrap();
        }
        let report = prune(&repository, &thorough()).unwrap();
        assert!(report.packs_deleted > 0 && report.chunks_moved > 0, "{report:?}");
        assert_eq!((report.chunks_missing, report.problems.len()), (0, 0), "{report:?}");
        assert_eq!(assert_exact(&repository, &scene.snapshots, "pruned"), 2);
        assert_nothing_unused(&repository, "pruned");
        // Those that stayed as they are, the collection has named in segments of its own.
        let named = repository.index().unwrap().packs().len();
        assert_eq!(named, scene.disk.list(names::PACKS).unwrap().len(), "packs that no segment names");
    }
}

/// Every backup's packs are needed by the last one, whose runs build on theirs; those of another namespace go.
#[test]
fn segments_of_forgotten_backups_whose_packs_stay_become_one() {
    let disk = Arc::new(MemoryStore::new());
    let repository = create(disk.clone()).unwrap();
    back_up_all(&repository, BackupKind::Full, &[("gone", &World::filled(5_000..5_100))]);
    let mut world = World::filled(0..400);
    let mut snapshots = vec![back_up_all(&repository, BackupKind::Full, &[("kept", &world)])];
    for n in 0..9 {
        world = world.later(0..400, 0.02, 0.0, 30 + n);
        snapshots.push(back_up_all(&repository, BackupKind::Incremental, &[("kept", &world)]));
    }
    for (id, _) in &snapshots[..9] {
        forget(&repository, &[id.to_string()]).unwrap();
    }
    forget(&repository, &[repository.snapshots().unwrap().snapshots[0].id().to_string()]).unwrap();
    let loose = thorough().max_unused_percent(100.0);
    let report = prune(&repository, &loose).unwrap();
    assert_eq!((report.chunks_moved, report.segments_deleted), (0, 11), "{report:?}");
    // The collection's own holds the rows of the last backup too.
    assert_eq!(disk.list(names::INDEX).unwrap().len(), 1);
    assert_eq!(assert_exact(&repository, &snapshots, "joined"), 1);
    assert_clean(&repository, "joined");
}

/// The index alone knows which chunks were in a lost pack.
#[test]
fn rows_of_a_lost_pack_stay_until_nobody_needs_what_it_held() {
    let scene = Scene::new(1200);
    let repository = scene.repository();
    let chunk = values(&repository, &scene.id(2))[0];
    let lost = repository.chunk_reader().unwrap().locate(&chunk).unwrap()[0].pack;
    let name = names::pack(&lost);
    let bytes = scene.disk.get(&name, u64::MAX).unwrap().unwrap();
    scene.disk.delete(&name).unwrap();
    forget(&repository, &[scene.id(0)]).unwrap();
    let report = prune(&repository, &thorough()).unwrap();
    assert!(report.chunks_missing > 0, "{report:?}");
    assert!(repository.index().unwrap().packs().contains_key(&lost), "the index has forgotten the lost pack");
    // Brought back, nothing is missing.
    scene.disk.put(&name, &bytes).unwrap();
    assert_eq!(assert_exact(&repository, &scene.snapshots, "brought back"), 2);
    assert_clean(&repository, "brought back");
    scene.disk.delete(&name).unwrap();
    forget(&repository, &[scene.id(1), scene.id(2)]).unwrap();
    prune(&repository, &thorough()).unwrap();
    assert!(repository.index().unwrap().packs().is_empty());
}
