//! What a copy holds.

use super::two::*;
use crate::support::scene::*;
use crate::support::world::*;
use aerolith::format::header::Class;
use aerolith::store::{MemoryStore, Store};
use aerolith::{BackupKind, CopyOptions, RecordOptions, Repository, SessionOptions, SnapshotFilter};
use std::sync::Arc;

#[test]
fn snapshots_of_every_kind_are_copied_with_all_they_say() {
    let disk = Arc::new(MemoryStore::new());
    let source = create(disk).unwrap();
    let mut world = World::filled(0..300);
    // Values in many chunks, and one that goes on in others.
    world.put_large(3, 700_000);
    world.put_large(700, 300_000);
    let second = World::filled(5_000..5_100);
    let mut snapshots = vec![back_up_all(&source, BackupKind::Full, &[("b", &world), ("a", &second)])];
    for (n, kind) in [BackupKind::Incremental, BackupKind::Differential, BackupKind::Full].into_iter().enumerate() {
        world = world.later(0..300, 0.2, 0.1, n as u64);
        snapshots.push(back_up_all(&source, kind, &[("b", &world)]));
    }
    // Empty namespaces have no runs; labels are kept.
    let mut session = {
        let tags = vec!["monthly".to_string(), "hold".into()];
        let about = SessionOptions::default().cluster("empty").tags(tags);
        source.begin(about).unwrap()
    };
    session.records("none", &World::default(), BackupKind::Full, &RecordOptions::default()).unwrap();
    snapshots.push((session.commit().unwrap().id(), [("none", Truth::new())].into()));

    let target = other(Arc::new(MemoryStore::new()));
    let (report, warnings) = copy_warned(&source, &target);
    assert_eq!((report.copied.len(), report.present.len(), report.not_copied.len()), (5, 0, 0), "{report:?}");
    assert!(warnings.is_empty(), "{report:?}");
    assert_copied(&source, &target, &snapshots, "copied");
    assert_nothing_twice(&target, "copied");
    assert_nothing_unused(&target, "copied");
    // In the order in which the originals were committed, whatever the ids are.
    let order: Vec<_> = source.snapshots().unwrap().snapshots.iter().map(|one| one.id()).collect();
    let copies: Vec<_> = report.copied.iter().map(|copied| copied.original.id()).collect();
    assert_eq!(copies, order);
    let of_empty = SnapshotFilter::ALL.cluster("empty".to_string());
    let latest = target.snapshot_among("latest", &of_empty).unwrap();
    assert_eq!(latest.manifest().first_written(target.id()), (source.id(), snapshots[4].0));
    assert_eq!(latest.manifest().tags, ["monthly", "hold"]);
}

#[test]
fn backups_into_the_target_build_on_copies() {
    let scene = Scene::new(400);
    let source = scene.repository();
    let target = other(Arc::new(MemoryStore::new()));
    copy(&source, &target).unwrap();
    // All as it is in the copy: nothing but a manifest's worth is stored, though this repository cuts elsewhere.
    let (same, _) = back_up_all(&target, BackupKind::Full, &[("kept", &scene.kept)]);
    let manifest = target.snapshot(&same.to_string()).unwrap().manifest().clone();
    let copy = copy_of(&source, &target, scene.snapshots[2].0);
    assert_eq!(manifest.namespaces[0].parent, Some(copy.id));
    assert_eq!(manifest.namespaces[0].counts.unchanged, scene.kept.truth().len() as u64);
    assert_eq!(manifest.namespaces[0].state_hash, copy.namespace("kept").unwrap().state_hash);
    assert!(manifest.stored_bytes < copy.stored_bytes / 2, "{} of {}", manifest.stored_bytes, copy.stored_bytes);
    let next = scene.kept.later(0..400, 0.1, 0.1, 7);
    let made = back_up_all(&target, BackupKind::Incremental, &[("kept", &next)]);
    assert_eq!(assert_exact(&target, &[made], "after the copies"), 1);
    assert_clean(&target, "after the copies");
}

#[test]
fn snapshots_that_the_target_has_or_that_come_from_it_are_not_copied() {
    let scene = Scene::new(50);
    let source = scene.repository();
    let disk = other_disk();
    let target = open_other(disk.clone()).unwrap();
    assert_eq!(copy(&source, &target).unwrap().copied.len(), 3);
    let before = disk.list("").unwrap();
    let again = copy(&source, &target).unwrap();
    assert_eq!((again.copied.len(), again.present.len()), (0, 3));
    assert_eq!(disk.list("").unwrap(), before);
    let at_home = scene.disk.list("").unwrap();
    let back = copy(&target, &source).unwrap();
    assert_eq!((back.copied.len(), back.present.len()), (0, 3));
    assert_eq!(scene.disk.list("").unwrap(), at_home);
    // A third repository takes from either, and knows the same snapshots.
    let third = other(Arc::new(MemoryStore::new()));
    assert_eq!(copy(&target, &third).unwrap().copied.len(), 3);
    assert_eq!(copy(&source, &third).unwrap().present.len(), 3);
    for (id, contents) in &scene.snapshots {
        let there = copy_of(&source, &third, *id);
        assert_eq!(there.origin.as_ref().unwrap().from, target.id());
        let snapshot = third.snapshot(&there.id.to_string()).unwrap();
        for (namespace, truth) in contents {
            let restored = MemoryTarget::default();
            snapshot.restore(namespace, &restored, &Default::default()).unwrap();
            assert!(*restored.records.lock().unwrap() == *truth);
        }
    }
}

#[test]
fn only_named_snapshots_are_copied_and_any_can_be_the_first() {
    let scene = Scene::new(60);
    let source = scene.repository();
    let with = |snapshots: &[&str], cluster: Option<&str>| {
        let disk = other_disk();
        let target = open_other(disk.clone()).unwrap();
        let filter = SnapshotFilter::default().cluster(cluster.map(String::from));
        let options = CopyOptions::default().snapshots(snapshots.iter().copied()).filter(filter);
        let report = source.copy(&target, &options).unwrap();
        let ids: Vec<_> = report.copied.iter().map(|copied| copied.original.id()).collect();
        (ids, target)
    };
    let all: Vec<_> = scene.snapshots.iter().map(|(id, _)| *id).collect();
    assert_eq!(with(&[], Some("memory")).0, all);
    let target = open_other(other_disk()).unwrap();
    let refused = |filter| message(source.copy(&target, &CopyOptions::default().filter(filter)));
    let error = refused(SnapshotFilter::ALL.tags(["x"]));
    assert!(error.contains("label \"x\"") && error.contains("No snapshot has a label"), "{error}");
    let error = refused(SnapshotFilter::ALL.cluster("another".to_string()));
    assert!(error.contains("\"another\"") && error.contains("\"memory\""), "{error}");
    // Without what it builds on, whose names stay those in the source.
    let (ids, target) = with(&["latest"], None);
    assert_eq!(ids, [all[2]]);
    let lone = copy_of(&source, &target, all[2]);
    assert_eq!(lone.namespaces[0].parent, Some(all[1]));
    assert_eq!((lone.namespaces[0].full, lone.namespaces[0].runs.len()), (all[0], 3));
    assert_copied(&source, &target, &scene.snapshots[2..], "the last alone");
    assert_nothing_unused(&target, "the last alone");
    // The others follow, and share with it what they can.
    assert_eq!(copy(&source, &target).unwrap().copied.len(), 2);
    assert_copied(&source, &target, &scene.snapshots[..2], "all of them");
    assert_nothing_twice(&target, "all of them");
    assert_eq!(with(&["latest~1", "latest", "latest~1"], None).0, all[1..]);
    let error = message(source.copy(&target, &options_for("latest~7")));
    assert!(error.contains("latest~7"), "{error}");
}

fn options_for(snapshot: &str) -> CopyOptions {
    CopyOptions::default().snapshots([snapshot])
}

#[test]
fn a_dry_run_changes_nothing_and_names_what_the_run_then_copies() {
    let scene = Scene::new(100);
    let source = scene.repository();
    let disk = other_disk();
    let target = open_other(disk.clone()).unwrap();
    let before = disk.list("").unwrap();
    let all = CopyOptions::default();
    let planned = source.copy_plan(&target, &all).unwrap().into_report();
    assert_eq!(disk.list("").unwrap(), before);
    let done = copy(&source, &target).unwrap();
    assert_eq!(planned.copied.len(), 3);
    for (planned, done) in planned.copied.iter().zip(&done.copied) {
        assert_eq!((planned.original.id(), planned.copy), (done.original.id(), None));
        assert_eq!(planned.chunks, done.chunks);
        assert!(planned.bytes_read > 0 && planned.stored_bytes == 0);
    }
    assert_eq!(source.copy_plan(&target, &all).unwrap().report().present.len(), 3);
}

#[test]
fn an_executed_plan_copies_the_snapshots_that_it_showed_and_no_others() {
    let scene = Scene::new(30);
    let source = scene.repository();
    let target = open_other(other_disk()).unwrap();
    let plan = source.copy_plan(&target, &CopyOptions::default()).unwrap();
    assert_eq!(plan.report().copied.len(), 3);
    back_up_all(&source, BackupKind::Full, &[("kept", &scene.kept.later(0..30, 0.5, 0.0, 3))]);
    let done = plan.execute().unwrap();
    assert_eq!((done.copied.len(), target.snapshots().unwrap().snapshots.len()), (3, 3));
    assert_eq!(copy(&source, &target).unwrap().copied.len(), 1);
}

#[test]
fn a_target_keeps_its_own_compression() {
    use aerolith::Compression;
    let scene = Scene::new(300);
    let source = scene.repository();
    let packings = |repository: &Repository| {
        let reader = repository.chunk_reader().unwrap();
        let mut found = std::collections::BTreeMap::new();
        for snapshot in repository.snapshots().unwrap().snapshots {
            let mut ids = Vec::new();
            snapshot.reach(&mut Default::default(), &mut |id, _: Class| ids.push(id)).unwrap();
            for id in ids {
                let packing = reader.locate(&id).unwrap()[0].place.packing;
                *found.entry(format!("{packing:?}")).or_insert(0) += 1;
            }
        }
        found
    };
    for (compression, is_kept) in [(Compression::Lz4, true), (Compression::Zstd(3), false)] {
        let cost = aerolith::KdfCost::WEAK;
        let options = aerolith::CreateOptions::default().compression(compression).cost(cost);
        let target = Repository::create(Arc::new(MemoryStore::new()), OTHER, &options).unwrap();
        copy(&source, &target).unwrap();
        assert_copied(&source, &target, &scene.snapshots, "compressed otherwise");
        assert_eq!(packings(&target) == packings(&source), is_kept);
        assert_eq!(packings(&target).contains_key("Zstd"), !is_kept);
    }
}

#[test]
fn a_repository_is_not_copied_into_itself() {
    let scene = Scene::new(20);
    let error = message(copy(&scene.repository(), &scene.repository()));
    assert!(error.contains("itself"), "{error}");
}

#[test]
fn an_unreadable_snapshot_that_a_copy_saw_may_still_be_the_latest() {
    // A copy is sorted by its original's time, which says nothing of what its writer saw.
    let scene = Scene::new(20);
    let source = scene.repository();
    let disk = other_disk();
    let target = open_other(disk.clone()).unwrap();
    let (own, _) = back_up_all(&target, BackupKind::Full, &[("other", &World::filled(0..9))]);
    copy(&source, &target).unwrap();
    assert_eq!(target.snapshot("latest").unwrap().id(), own);
    flip(&disk, &aerolith::format::names::snapshot(&own), 90);
    let error = message(target.snapshot("latest"));
    assert!(error.contains("latest means"), "{error}");
}

#[test]
fn copies_of_held_snapshots_are_held_once_and_those_that_are_newer_can_be_told() {
    let scene = Scene::new(20);
    let source = scene.repository();
    source.hold(&[scene.id(0)], &SnapshotFilter::ALL, "case 7").unwrap();
    let target = open_other(other_disk()).unwrap();
    let newer = |than: &str| {
        let options = CopyOptions::default().newer_than(than.to_string());
        let plan = source.copy_plan(&target, &options).unwrap();
        plan.report().copied.iter().map(|copied| copied.original.id()).collect::<Vec<_>>()
    };
    let all: Vec<_> = scene.snapshots.iter().map(|(id, _)| *id).collect();
    assert_eq!((newer("latest~1"), newer(&scene.id(0))), (all[2..].to_vec(), all[1..].to_vec()));
    assert_eq!((newer("2020-01-01"), newer("@2100-01-01T12:00Z")), (all, vec![]));
    let report = copy(&source, &target).unwrap();
    assert_eq!(report.holds, 1);
    let copied = report.copied[0].copy.unwrap();
    let held = |target: &Repository| -> Vec<_> {
        let holds = target.holds().unwrap().into_iter();
        holds.map(|entry| (entry.snapshot, entry.note.unwrap().reason)).collect()
    };
    assert_eq!(held(&target), [(copied, "case 7".to_string())]);
    // Again, and with another hold on what is there already.
    source.hold(&[scene.id(0)], &SnapshotFilter::ALL, "audit").unwrap();
    assert_eq!(copy(&source, &target).unwrap().holds, 1);
    assert_eq!(copy(&source, &target).unwrap().holds, 0);
    assert_eq!(held(&target).len(), 2);
    assert!(message(target.forget_named(&[copied.to_string()], &SnapshotFilter::ALL)).contains("held"));
}
