//! Copies that meet collections and one another, step by step in a fixed order.

use super::two::*;
use crate::support::scene::*;
use crate::support::world::*;
use aerolith::format::names;
use aerolith::store::{Call, MemoryStore, Store};
use aerolith::{BackupKind, CopyOptions, SnapshotFilter};
use std::collections::HashSet;
use std::sync::Arc;

#[test]
fn a_source_that_is_pruned_at_any_read_is_copied_exactly() {
    let scene = Scene::new(120);
    let reads = {
        let count = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let counting = count.clone();
        let store = HookStore::new(Arc::new(scene.disk.fork()), move |call, key| {
            let is_read = call == Call::GetRange && key.starts_with(names::PACKS);
            counting.fetch_add(usize::from(is_read), std::sync::atomic::Ordering::Relaxed);
        });
        copy(&open(store).unwrap(), &other(Arc::new(MemoryStore::new()))).unwrap();
        count.load(std::sync::atomic::Ordering::Relaxed)
    };
    assert!(reads > 10, "{reads}");
    let mut cut_off = 0;
    for n in 0..=reads {
        let about = format!("pruned before read {n}");
        let disk = Arc::new(scene.disk.fork());
        let (mut left, collector, first) = (n, open(disk.clone()).unwrap(), scene.id(0));
        let store = HookStore::new(disk.clone(), move |call, key| {
            if call == Call::GetRange && key.starts_with(names::PACKS) {
                if left == 0 {
                    forget(&collector, std::slice::from_ref(&first)).unwrap();
                    prune(&collector, &thorough()).unwrap();
                }
                left = left.wrapping_sub(1);
            }
        });
        let (source, target) = (open(store).unwrap(), other(Arc::new(MemoryStore::new())));
        let report = copy(&source, &target).unwrap();
        // What was forgotten was copied before, or is named; what stays is copied.
        assert!(report.not_copied.iter().all(|not| not.snapshot == scene.snapshots[0].0 && !not.damaged), "{report:?}");
        cut_off += report.not_copied.len();
        assert_eq!(report.copied.len() + report.not_copied.len(), 3, "{about}: {report:?}");
        let begin = report.not_copied.len();
        assert_copied(&scene.repository(), &target, &scene.snapshots[begin..], &about);
    }
    assert!(cut_off > 0 && cut_off < reads, "{cut_off} of {reads}");
}

#[test]
fn a_snapshot_that_another_copy_made_meanwhile_is_not_made_twice() {
    let scene = Scene::new(60);
    for (call, prefix) in [(Call::PutNew, names::SESSIONS), (Call::List, names::PACKS)] {
        let disk = other_disk();
        let (mut done, other) = (false, open_other(disk.clone()).unwrap());
        let first = scene.repository();
        let store = HookStore::new(disk.clone(), move |at, key| {
            if !done && at == call && key.starts_with(prefix) {
                done = true;
                assert_eq!(copy(&first, &other).unwrap().copied.len(), 3);
            }
        });
        let report = copy(&scene.repository(), &open_other(store).unwrap()).unwrap();
        assert_eq!((report.copied.len(), report.present.len(), report.not_copied.len()), (0, 3, 0), "{report:?}");
        let target = open_other(disk).unwrap();
        assert_copied(&scene.repository(), &target, &scene.snapshots, "two at once");
        assert_eq!(target.snapshots().unwrap().snapshots.len(), 3);
    }
}

#[test]
fn two_copies_at_once_leave_exact_copies() {
    let scene = Scene::new(300);
    let disk = other_disk();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| copy(&scene.repository(), &open_other(disk.clone()).unwrap()).unwrap());
        }
    });
    let target = open_other(disk).unwrap();
    assert_clean(&target, "two at once");
    for manifest in manifests(&target) {
        let (_, original) = manifest.first_written(target.id());
        let contents = scene.snapshots.iter().find(|(id, _)| *id == original).unwrap().1.clone();
        assert_eq!(assert_exact(&target, &[(manifest.id, contents)], "two at once"), 1);
    }
}

#[test]
fn a_target_that_is_pruned_between_keeps_what_copies_need_and_takes_the_others_again() {
    let scene = Scene::new(120);
    let source = scene.repository();
    let target = other(Arc::new(MemoryStore::new()));
    let one = |n: usize| CopyOptions::default().snapshots([scene.id(n)]);
    for n in [0, 1] {
        source.copy(&target, &one(n)).unwrap();
    }
    let gone = copy_of(&source, &target, scene.snapshots[0].0).id;
    forget(&target, &[gone.to_string()]).unwrap();
    prune(&target, &thorough()).unwrap();
    assert_nothing_unused(&target, "pruned");
    // The forgotten one is no longer there: asked for all, it is copied again.
    let report = copy(&source, &target).unwrap();
    assert_eq!((report.copied.len(), report.present.len()), (2, 1), "{report:?}");
    assert_exact_copies(&source, &target, &scene.snapshots, "copied again");
    assert_clean(&target, "copied again");
    assert_nothing_twice(&target, "copied again");
}

#[test]
fn a_pending_plan_of_the_target_condemns_nothing_that_a_new_copy_needs() {
    let scene = Scene::new(120);
    let source = scene.repository();
    let disk = other_disk();
    let target = open_other(disk.clone()).unwrap();
    let first = CopyOptions::default().snapshots([scene.id(1)]);
    source.copy(&target, &first).unwrap();
    // The packs of the copy are to go: it is forgotten, and the collector dies once its plan is written.
    let (own, _) = back_up_all(&target, BackupKind::Full, &[("own", &World::filled(9_000..9_050))]);
    let copied = copy_of(&source, &target, scene.snapshots[1].0);
    let pending = {
        let other = open_other(disk.clone()).unwrap();
        forget(&other, &[copied.id.to_string()]).unwrap();
        plan_and_die(&disk, open_other);
        disk.list(names::PLANS).unwrap().len()
    };
    assert_eq!(pending, 1);
    let report = copy(&source, &target).unwrap();
    assert_eq!(report.copied.len(), 3, "{report:?}");
    prune(&target, &thorough().fence(true)).unwrap();
    assert!(disk.list(names::PLANS).unwrap().is_empty());
    assert_copied(&source, &target, &scene.snapshots, "a plan was pending");
    let truth = World::filled(9_000..9_050).truth();
    assert_eq!(assert_exact(&target, &[(own, [("own", truth)].into())], "a plan was pending"), 1);
    assert_nothing_unused(&target, "a plan was pending");
}

#[test]
fn a_plan_that_is_written_in_the_target_between_two_snapshots_takes_nothing_from_the_second() {
    let scene = Scene::new(120);
    let (source, disk) = (scene.repository(), other_disk());
    let (plain, mut begun) = (disk.clone(), 0);
    // Before the last of the copy's sessions begins, its first snapshot is forgotten, and a collector dies once its
    // plan is written.
    let store = HookStore::new(disk.clone(), move |call, key| {
        begun += usize::from(call == Call::PutNew && key.starts_with(names::SESSIONS));
        if begun == 3 {
            begun += 1;
            let user = open_other(plain.clone()).unwrap();
            forget(&user, &[user.snapshots().unwrap().snapshots[0].id().to_string()]).unwrap();
            plan_and_die(&plain, open_other);
        }
    });
    let (report, warnings) = copy_warned(&source, &open_other(store).unwrap());
    assert_eq!((report.copied.len(), &warnings), (3, &Vec::new()), "{report:?}");
    assert!(!disk.list(names::PLANS).unwrap().is_empty());
    let target = open_other(disk).unwrap();
    // The last copy doesn't rest on what is condemned, whoever forgets the one before it.
    let reader = target.chunk_reader().unwrap();
    let last = copy_of(&source, &target, scene.snapshots[2].0);
    let condemned = aerolith::internals::objects::condemned(&**target.store(), target.keys()).unwrap();
    let each = &mut |id, _| {
        assert!(reader.locate(&id).unwrap().iter().any(|at| !condemned.contains(&at.pack)), "{id}");
    };
    target.open_snapshot(&reader, last).reach(&mut HashSet::new(), each).unwrap();
    prune(&target, &thorough().fence(true)).unwrap();
    assert_exact_copies(&source, &target, &scene.snapshots[1..], "a plan came to stand");
    assert_nothing_unused(&target, "a plan came to stand");
}

#[test]
fn a_copy_that_is_forgotten_while_labels_are_copied_is_named_and_the_others_get_theirs() {
    let scene = Scene::new(60);
    let (source, disk) = (scene.repository(), other_disk());
    for n in [0, 2] {
        source.tag(&scene.id(n), &SnapshotFilter::ALL, &["one".to_string()], &[]).unwrap();
    }
    // The copy whose labels are written first is forgotten just before.
    let (plain, mut forgotten) = (disk.clone(), false);
    let store = HookStore::new(disk.clone(), move |call, key| {
        if call == Call::PutNew && key.starts_with(names::TAGS) && !forgotten {
            forgotten = true;
            let (snapshot, _) = names::parse_tags(key).unwrap();
            forget(&open_other(plain.clone()).unwrap(), &[snapshot.to_string()]).unwrap();
        }
    });
    let (report, warnings) = copy_warned(&source, &open_other(store).unwrap());
    assert_eq!((report.copied.len(), report.not_copied.len(), report.labelled), (3, 0, 1), "{report:?}");
    let [warning] = &warnings[..] else { panic!("{report:?}") };
    let target = open_other(disk.clone()).unwrap();
    let there: HashSet<_> = target.snapshots().unwrap().snapshots.into_iter().map(|copy| copy.id()).collect();
    let gone = report.copied.iter().find(|one| !there.contains(&one.copy.unwrap())).unwrap();
    for part in [&gone.original.id().to_string(), &gone.copy.unwrap().to_string(), "forgotten meanwhile", "copy again"]
    {
        assert!(warning.contains(part), "{part:?} is not in {warning}");
    }
    // What it says helps.
    let (report, warnings) = copy_warned(&source, &target);
    assert_eq!((report.copied.len(), report.labelled, &warnings[..]), (1, 1, &[][..]), "{report:?}");
    for n in [0, 2] {
        assert_eq!(copy_of(&source, &target, scene.snapshots[n].0).tags, ["one"]);
    }
}
