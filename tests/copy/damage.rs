//! Damage in the source never becomes a copy; damage in the target is made up for.

use super::two::*;
use crate::support::scene::*;
use crate::support::world::*;
use aerolith::format::header::Class;
use aerolith::format::{ChunkId, leaf, names};
use aerolith::store::{Call, Effect, Fault, FaultStore, MemoryStore, Store};
use aerolith::{
    BackupKind, Control, CopyOptions, Error, RepairOptions, Repository, SessionOutcome, Snapshot, SnapshotFilter,
};
use std::collections::HashSet;
use std::io::ErrorKind;
use std::sync::Arc;

/// The chunks that the `n`th snapshot reaches and those before it don't.
fn own_chunks(repository: &Repository, scene: &Scene, n: usize) -> Vec<(ChunkId, Class)> {
    let mut seen = HashSet::new();
    let mut own = Vec::new();
    for n in 0..=n {
        own.clear();
        let snapshot = repository.snapshot(&scene.id(n)).unwrap();
        snapshot.reach(&mut seen, &mut |id, class| own.push((id, class))).unwrap();
    }
    own
}

#[test]
fn labels_of_a_copy_that_cannot_be_read_are_named_and_the_copy_stays() {
    let scene = Scene::new(60);
    let (source, disk) = (scene.repository(), other_disk());
    let target = open_other(disk.clone()).unwrap();
    let tag = |label: &str| {
        for n in [0, 2] {
            source.tag(&scene.id(n), &SnapshotFilter::ALL, &[label.to_string()], &[]).unwrap();
        }
    };
    tag("one");
    assert_eq!(copy(&source, &target).unwrap().labelled, 2);
    let first = copy_of(&source, &target, scene.snapshots[0].0).id;
    let key = disk.list(&names::tags_of(&first)).unwrap().pop().unwrap().key;
    flip(&disk, &key, 90);
    tag("two");
    let (report, warnings) = copy_warned(&source, &target);
    assert_eq!((report.copied.len(), report.present.len(), report.labelled), (0, 3, 1), "{report:?}");
    let [warning] = &warnings[..] else { panic!("{report:?}") };
    for part in [&key, &first.to_string(), &scene.id(0), "labels", "`aerolith repair`", "copy again"] {
        assert!(warning.contains(part), "{part:?} is not in {warning}");
    }
    let tags = |n: usize| copy_of(&source, &target, scene.snapshots[n].0).tags;
    assert_eq!((tags(2), disk.list(&names::tags_of(&first)).unwrap().len()), (vec!["one".into(), "two".into()], 1));
    // What it says helps.
    repair(&target, &RepairOptions::default()).unwrap();
    let (report, warnings) = copy_warned(&source, &target);
    assert_eq!((report.labelled, &warnings[..]), (1, &[][..]), "{report:?}");
    assert_eq!(tags(0), ["one", "two"]);
    assert_exact_copies(&source, &target, &scene.snapshots, "labelled");
}

#[test]
fn a_snapshot_with_any_damaged_chunk_is_named_and_not_copied_and_the_others_are() {
    let scene = Scene::new(150);
    let chunks = own_chunks(&scene.repository(), &scene, 1);
    assert!(chunks.iter().any(|(_, class)| *class == Class::Data));
    for (id, class) in chunks {
        let about = format!("{class:?} {id}");
        let disk = Arc::new(scene.disk.fork());
        let source = open(disk.clone()).unwrap();
        damage_chunk(&source, &disk, &id);
        let target = other(Arc::new(MemoryStore::new()));
        let report = copy(&source, &target).unwrap();
        // The third builds on the second.
        let copied: Vec<_> = report.copied.iter().map(|copied| copied.original.id()).collect();
        assert_eq!(copied, [scene.snapshots[0].0], "{about}");
        let named: Vec<_> = report.not_copied.iter().map(|not| (not.snapshot, not.damaged)).collect();
        assert_eq!(named, [(scene.snapshots[1].0, true), (scene.snapshots[2].0, true)], "{about}");
        assert!(report.not_copied[0].problem.contains(&id.to_string()), "{about}: {report:?}");
        assert_copied(&source, &target, &scene.snapshots[..1], &about);
        let failed = target.history().unwrap().entries;
        let failed = failed.iter().filter(|entry| entry.state().is_none()).map(|entry| entry.outcome());
        assert!(failed.flatten().all(|outcome| matches!(outcome, SessionOutcome::Failed(_))), "{about}");
        // Mended from a copy of the disk, it is copied by the next run.
        let mended = scene.repository();
        assert_eq!(copy(&mended, &target).unwrap().copied.len(), 2, "{about}");
        assert_copied(&mended, &target, &scene.snapshots, &about);
        assert_nothing_twice(&target, &about);
    }
}

#[test]
fn what_lost_nothing_but_older_versions_of_records_is_copied_as_one_run() {
    for is_alike in [false, true] {
        let source = create(Arc::new(MemoryStore::new())).unwrap();
        let first = World::filled(0..40);
        let second = first.later(0..40, 1.0, 0.1, 3);
        let one = back_up_all(&source, BackupKind::Full, &[("kept", &first)]);
        let two = back_up_all(&source, BackupKind::Incremental, &[("kept", &second)]);
        for chunk in values(&source, &one.0.to_string()) {
            for at in source.chunk_reader().unwrap().locate(&chunk).unwrap() {
                source.store().delete(&names::pack(&at.pack)).unwrap();
            }
        }
        let target = if is_alike { super::alike::alike(&source).1 } else { other(Arc::new(MemoryStore::new())) };
        let report = copy(&source, &target).unwrap();
        assert_eq!((report.copied.len(), report.not_copied.len()), (1, 1), "{report:?}");
        let copied = copy_of(&source, &target, two.0);
        assert_eq!(copied.namespaces[0].runs.len(), 1);
        assert_eq!(assert_exact(&target, &[(copied.id, two.1.clone())], "copied"), 1);
        assert_clean(&target, "copied");
        // A later one finds nothing of the source's runs in that copy.
        let third = second.later(0..40, 0.3, 0.1, 4);
        let three = back_up_all(&source, BackupKind::Full, &[("kept", &third)]);
        assert_eq!(copy(&source, &target).unwrap().copied.len(), 1);
        assert_exact_copies(&source, &target, &[three], "a later one");
    }
}

#[test]
fn a_snapshot_that_cannot_be_read_is_named_and_the_others_are_copied() {
    let scene = Scene::new(30);
    let disk = Arc::new(scene.disk.fork());
    flip(&disk, &names::snapshot(&scene.snapshots[1].0), 100);
    let (source, target) = (open(disk).unwrap(), other(Arc::new(MemoryStore::new())));
    let report = copy(&source, &target).unwrap();
    assert_eq!((report.copied.len(), report.not_copied.len()), (2, 1));
    assert!(report.not_copied[0].damaged && report.not_copied[0].snapshot == scene.snapshots[1].0);
    for n in [0, 2] {
        copy_of(&source, &target, scene.snapshots[n].0);
    }
}

#[test]
fn a_manifest_that_says_other_than_its_entries_is_not_copied() {
    let scene = Scene::new(30);
    let source = scene.repository();
    for change in 0..3 {
        let disk = Arc::new(scene.disk.fork());
        let mut manifest = source.snapshot(&scene.id(2)).unwrap().manifest().clone();
        let namespace = &mut manifest.namespaces[0];
        match change {
            0 => namespace.state_hash[7] ^= 1,
            1 => namespace.live_records += 1,
            _ => namespace.live_bytes -= 1,
        }
        disk.delete(&names::snapshot(&manifest.id)).unwrap();
        let suite = source.parameters().suite;
        aerolith::internals::objects::commit_snapshot(&*disk, source.keys(), suite, &manifest).unwrap();
        let target = other(Arc::new(MemoryStore::new()));
        let report = copy(&open(disk).unwrap(), &target).unwrap();
        assert_eq!((report.copied.len(), report.not_copied.len()), (2, 1), "{change}");
        assert!(report.not_copied[0].problem.contains("its manifest says"), "{report:?}");
    }
}

#[test]
fn lost_and_damaged_index_segments_of_source_and_target_change_nothing() {
    let scene = Scene::new(60);
    let damage = |disk: &MemoryStore, n: usize| {
        for (i, segment) in disk.list(names::INDEX).unwrap().iter().enumerate() {
            match (i + n) % 3 {
                0 => disk.delete(&segment.key).unwrap(),
                1 => flip(disk, &segment.key, segment.size as usize / 2),
                _ => {}
            }
        }
    };
    for n in 0..3 {
        let disk = Arc::new(scene.disk.fork());
        damage(&disk, n);
        let (source, there) = (open(disk).unwrap(), other_disk());
        let target = open_other(there.clone()).unwrap();
        let first = CopyOptions::default().snapshots([scene.id(0), scene.id(1)]);
        assert_eq!(source.copy(&target, &first).unwrap().copied.len(), 2);
        damage(&there, n);
        let report = copy(&source, &target).unwrap();
        assert_eq!((report.copied.len(), report.not_copied.len()), (1, 0), "{report:?}");
        assert_nothing_twice(&target, "segments");
        assert_exact_copies(&source, &target, &scene.snapshots, "segments");
    }
}

#[test]
fn what_the_target_lost_of_earlier_copies_is_written_again_by_the_next() {
    let scene = Scene::new(150);
    let source = scene.repository();
    let first = CopyOptions::default().snapshots([scene.id(1)]);
    let there = other_disk();
    let target = open_other(there.clone()).unwrap();
    source.copy(&target, &first).unwrap();
    for pack in there.list(names::PACKS).unwrap() {
        for flipped in [false, true] {
            let about = format!("{} {flipped}", pack.key);
            let disk = Arc::new(there.fork());
            if flipped {
                for at in (100..pack.size as usize - 200).step_by(1000) {
                    flip(&disk, &pack.key, at);
                }
                // Damaged values are known once a check has found them.
                check(&open_other(disk.clone()).unwrap()).unwrap();
            } else {
                disk.delete(&pack.key).unwrap();
            }
            let target = open_other(disk).unwrap();
            let report = copy(&source, &target).unwrap();
            assert_eq!((report.copied.len(), report.not_copied.len()), (2, 0), "{about}: {report:?}");
            assert_exact_copies(&source, &target, &scene.snapshots, &about);
        }
    }
}

#[test]
fn a_run_of_the_target_that_is_no_copy_is_not_built_on() {
    // Somebody who holds the target's key has exchanged the roots that a copy says its runs come from.
    let scene = Scene::new(100);
    let source = scene.repository();
    let there = other_disk();
    let target = open_other(there.clone()).unwrap();
    let some = CopyOptions::default().snapshots([scene.id(0), scene.id(1)]);
    source.copy(&target, &some).unwrap();
    let mut manifest = copy_of(&source, &target, scene.snapshots[1].0);
    manifest.origin.as_mut().unwrap().roots.reverse();
    there.delete(&names::snapshot(&manifest.id)).unwrap();
    let mut of_first = copy_of(&source, &target, scene.snapshots[0].0);
    of_first.origin.as_mut().unwrap().roots.reverse();
    there.delete(&names::snapshot(&of_first.id)).unwrap();
    for manifest in [&of_first, &manifest] {
        aerolith::internals::objects::commit_snapshot(&*there, target.keys(), target.parameters().suite, manifest)
            .unwrap();
    }
    let (report, warnings) = copy_warned(&source, &target);
    assert_eq!((report.copied.len(), report.not_copied.len()), (1, 0), "{report:?}");
    assert!(warnings.iter().any(|warning| warning.contains("no copy of the run")), "{report:?}");
    assert_exact_copies(&source, &target, &scene.snapshots, "exchanged");
}

#[test]
fn a_leaf_that_uses_other_chunks_than_the_node_above_says_is_damage() {
    use aerolith::format::node;
    let scene = Scene::new(3_000);
    let source = scene.repository();
    let disk = Arc::new(scene.disk.fork());
    let mut manifest = source.snapshot(&scene.id(0)).unwrap().manifest().clone();
    let run = manifest.namespaces.iter_mut().find(|one| one.runs[0].level == 1).map(|one| &mut one.runs[0]).unwrap();
    let mut children = children(&source, run);
    let entries = leaf::decode(&source.chunk_reader().unwrap().read(&children[0].id, Class::Tree).unwrap()).unwrap();
    assert_eq!(leaf::chunk_ids(&entries), children[0].uses);
    children[0].uses.pop();
    let bytes = node::encode(&node::Node { level: 1, children });
    let options = aerolith::internals::chunks::WriteOptions {
        suite: source.parameters().suite,
        compression: source.parameters().compression,
        pack_bytes: 1 << 20,
    };
    let repository = open(disk.clone()).unwrap();
    let control = Control::new();
    let reader = repository.chunk_reader().unwrap();
    let writer = aerolith::internals::chunks::ChunkWriter::new(reader, HashSet::new(), options, control);
    run.root = writer.put(Class::Tree, &bytes).unwrap();
    writer.finish().unwrap();
    disk.delete(&names::snapshot(&manifest.id)).unwrap();
    aerolith::internals::objects::commit_snapshot(&*disk, source.keys(), source.parameters().suite, &manifest).unwrap();
    let target = other(Arc::new(MemoryStore::new()));
    let report = copy(&open(disk).unwrap(), &target).unwrap();
    assert!(report.not_copied[0].problem.contains("uses other value chunks"), "{report:?}");
}

#[test]
fn a_full_disk_leaves_what_was_committed_and_the_next_copy_goes_on() {
    let scene = Scene::new(60);
    let empty = other_disk();
    let mut n = 0;
    loop {
        let disk = Arc::new(empty.fork());
        let store = Arc::new(FaultStore::new(disk.clone()));
        let target = open_other(store.clone()).unwrap();
        store.inject(Fault::nth(n, Effect::Fail(ErrorKind::StorageFull)).of(Call::PutNew).lasting());
        let done = copy(&scene.repository(), &target);
        let committed = target.snapshots().unwrap().snapshots.len();
        assert_copied(&scene.repository(), &target, &scene.snapshots[..committed], "full");
        if done.is_ok() {
            break;
        }
        let text = refused(done).to_string();
        assert!(text.contains("no storage space"), "{text}");
        store.clear_faults();
        assert_eq!(copy(&scene.repository(), &target).unwrap().copied.len(), 3 - committed);
        assert_copied(&scene.repository(), &target, &scene.snapshots, "room again");
        assert_nothing_twice(&target, "room again");
        n += 1;
    }
    assert!(n >= 15, "{n}");
}

#[test]
fn a_copy_that_is_stopped_at_any_point_commits_nothing_incomplete_and_is_in_the_history() {
    let scene = Scene::new(60);
    let empty = other_disk();
    for n in (0..400).step_by(7) {
        let control = Control::new();
        let (mut left, stopping) = (n, control.clone());
        let store = HookStore::new(scene.disk.clone(), move |_, _| match left {
            0 => stopping.stop(),
            _ => left -= 1,
        });
        let target = open_other(Arc::new(empty.fork())).unwrap();
        let source = open(store).unwrap();
        let done = source.watched(&control).copy(&target, &CopyOptions::default());
        let committed = target.snapshots().unwrap().snapshots.len();
        assert_copied(&scene.repository(), &target, &scene.snapshots[..committed], "stopped");
        match done {
            Ok(_) => assert_eq!(committed, 3),
            Err(Error::Cancelled) => {}
            Err(error) => panic!("{error}"),
        }
        let history = target.history().unwrap().entries;
        for entry in history.iter().filter(|entry| entry.state().is_none()) {
            assert_eq!(entry.outcome(), Some(SessionOutcome::Stopped));
        }
        assert_eq!(copy(&scene.repository(), &target).unwrap().copied.len(), 3 - committed);
        assert_copied(&scene.repository(), &target, &scene.snapshots, "gone on");
        assert_nothing_twice(&target, "gone on");
    }
}

#[test]
fn a_salvage_of_a_copy_is_no_copy_and_is_copied_as_a_snapshot_of_its_own() {
    let scene = Scene::new(150);
    let source = scene.repository();
    let there = other_disk();
    let target = open_other(there.clone()).unwrap();
    copy(&source, &target).unwrap();
    let last = copy_of(&source, &target, scene.snapshots[2].0);
    damage_chunk(&target, &there, values(&target, &last.id.to_string()).last().unwrap());
    let repaired = repair(&target, &thorough_repair()).unwrap();
    assert!(!repaired.salvaged.is_empty(), "{repaired:?}");
    let list = target.snapshots().unwrap();
    assert!(list.damaged.is_empty(), "{:?}", list.damaged);
    let salvages: Vec<_> =
        list.snapshots.iter().map(Snapshot::manifest).filter(|manifest| manifest.salvage.is_some()).collect();
    assert_eq!(salvages.len(), repaired.salvaged.len());
    assert!(salvages.iter().all(|salvage| salvage.origin.is_none()));
    // The originals are damaged there, and so not copied; what was saved of them is.
    let third = other(Arc::new(MemoryStore::new()));
    let report = copy(&target, &third).unwrap();
    assert_eq!(report.not_copied.len(), salvages.len(), "{report:?}");
    for salvage in salvages {
        assert_eq!(copy_of(&target, &third, salvage.id).salvage, salvage.salvage);
    }
    assert_clean(&third, "salvages");
}
