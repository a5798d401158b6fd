//! Checks, repairs and readers that meet collections, forgets and backups at any call they make: what is moved,
//! replaced or deleted on purpose is no damage.

use crate::support::scene::*;
use crate::support::world::*;
use aerolith::format::names;
use aerolith::store::{Call, MemoryStore, Store};
use aerolith::{BackupKind, CheckOptions, Repository, Result};
use rayon::prelude::*;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// What happens while somebody looks: a name for messages, and what another process does to a repository.
type Meanwhile = (&'static str, fn(&Scene, &Repository));

fn collect(repository: &Repository) {
    prune(repository, &thorough().fence(true)).unwrap();
}

const MEANWHILE: [Meanwhile; 4] = [
    ("a prune", |_, repository| collect(repository)),
    ("two prunes that move the same chunks", |scene, repository| {
        collect(repository);
        forget(repository, &[scene.id(1)]).unwrap();
        collect(repository);
    }),
    ("a forget of all, and a prune", |scene, repository| {
        forget(repository, &[scene.id(1), scene.id(2)]).unwrap();
        collect(repository);
    }),
    ("a backup, a forget of what it builds on, and a prune", |scene, repository| {
        let next = scene.kept.later(0..60, 0.3, 0.1, 7);
        back_up_all(repository, BackupKind::Incremental, &[("kept", &next)]);
        forget(repository, &[scene.id(1), scene.id(2)]).unwrap();
        collect(repository);
    }),
];

/// A repository of which much is unused, with segments to be joined and rewritten.
fn scene() -> Scene {
    let scene = Scene::new(60);
    forget(&scene.repository(), &[scene.id(0)]).unwrap();
    scene
}

/// Does `work` on a repository in which something happens before its nth call, for each n in turn, and hands over what
/// came out.
fn at_every_call<T>(work: impl Fn(&Repository) -> Result<T>, judge: impl Fn(&str, &Repository, Result<T>)) {
    let scene = scene();
    let calls = {
        let count = Arc::new(AtomicUsize::new(0));
        let counting = count.clone();
        let store = HookStore::new(Arc::new(scene.disk.fork()), move |_, _| {
            counting.fetch_add(1, Ordering::Relaxed);
        });
        let repository = open(store).unwrap();
        count.store(0, Ordering::Relaxed);
        work(&repository).unwrap();
        count.load(Ordering::Relaxed)
    };
    assert!(calls > 20, "{calls}");
    for (what, happens) in MEANWHILE {
        for n in 0..calls {
            let disk = Arc::new(scene.disk.fork());
            let there = Scene { disk: disk.clone(), snapshots: scene.snapshots.clone(), kept: scene.kept.clone() };
            let other = open(disk.clone()).unwrap();
            let left = Arc::new(Mutex::new(None::<usize>));
            let (counted, mut before) = (left.clone(), String::new());
            let told = Arc::new(Mutex::new(String::new()));
            let tells = told.clone();
            let store = HookStore::new(disk, move |call, key| {
                let mut left = counted.lock().unwrap();
                if *left == Some(0) {
                    *tells.lock().unwrap() = format!("{call} {key}, after {before}");
                    happens(&there, &other);
                }
                *left = left.and_then(|left| left.checked_sub(1));
                before = format!("{call} {key}");
            });
            let repository = open(store).unwrap();
            *left.lock().unwrap() = Some(n);
            let found = work(&repository);
            *left.lock().unwrap() = None;
            let about = format!("{what} before call {n}, {}", told.lock().unwrap());
            judge(&about, &repository, found);
        }
    }
}

fn check_all(repository: &Repository) -> Result<aerolith::CheckReport> {
    repository.check(&CheckOptions::default().read_percent(100.0))
}

#[test]
fn a_check_does_not_call_damage_what_a_collection_does_meanwhile() {
    at_every_call(check_all, |about, repository, found| {
        let found = found.unwrap_or_else(|error| panic!("{about}: {error}"));
        assert!(found.problems.is_empty() && found.hurt.is_empty(), "{about}: {found:?}");
        // Nor does it leave a note that makes the next full backup write again what is whole.
        let history = repository.history().unwrap();
        assert!(history.entries.iter().all(|entry| entry.job() != "check"), "{about}");
    });
}

#[test]
fn a_check_of_names_alone_does_not_call_damage_what_a_collection_does_meanwhile() {
    let check = |repository: &Repository| repository.check(&CheckOptions::default());
    at_every_call(check, |about, _, found| {
        let found = found.unwrap_or_else(|error| panic!("{about}: {error}"));
        assert!(found.problems.is_empty() && found.hurt.is_empty(), "{about}: {found:?}");
    });
}

#[test]
fn a_repair_mends_nothing_that_a_collection_does_meanwhile() {
    at_every_call(
        |repository| repair(repository, &thorough_repair()),
        |about, repository, found| {
            let found = found.unwrap_or_else(|error| panic!("{about}: {error}"));
            assert!(
                found.segments.is_empty() && !found.is_damaged() && found.salvaged.is_empty(),
                "{about}: {found:?}"
            );
            assert!(found.found.problems.is_empty(), "{about}: {found:?}");
            assert_clean(&open(repository.store().clone()).unwrap(), about);
        },
    );
}

#[test]
fn damage_is_found_whatever_a_collection_does_meanwhile() {
    let scene = scene();
    // A pack that the last snapshot alone needs, and that no collection has a reason to touch.
    let repository = scene.repository();
    collect(&repository);
    let disk = scene.disk.clone();
    let pack = disk.list(names::PACKS).unwrap().pop().unwrap().key;
    disk.delete(&pack).unwrap();
    let calls = Arc::new(AtomicUsize::new(0));
    let counting = calls.clone();
    let store = HookStore::new(Arc::new(disk.fork()), move |_, _| {
        counting.fetch_add(1, Ordering::Relaxed);
    });
    assert!(!check_all(&open(store).unwrap()).unwrap().problems.is_empty());
    for n in 0..calls.load(Ordering::Relaxed) {
        let disk = Arc::new(disk.fork());
        let (other, mut left) = (open(disk.clone()).unwrap(), n);
        let store = HookStore::new(disk, move |_, _| {
            if left == 0 {
                // It may refuse: what is needed can't be told.
                let _ = prune(&other, &thorough());
            }
            left = left.wrapping_sub(1);
        });
        let found = check_all(&open(store).unwrap()).unwrap();
        assert!(!found.hurt.is_empty() && !found.problems.is_empty(), "before call {n}: {found:?}");
    }
}

/// Chunks of all namespaces share packs, first those of the first snapshot, then those they are moved into.
#[test]
fn a_check_finds_no_damage_though_chunks_move_again_and_again() {
    let scene = Arc::new(MemoryStore::new());
    let repository = create(scene.clone()).unwrap();
    let worlds = [0, 10_000, 20_000].map(|first| World::filled(first..first + 150));
    let all: Vec<(&'static str, &World)> = ["kept", "second", "third"].into_iter().zip(&worlds).collect();
    let ids = [3, 2, 1].map(|count| back_up_all(&repository, BackupKind::Full, &all[..count]).0.to_string());
    (0..60).into_par_iter().for_each(|n| {
        let disk = Arc::new(scene.fork());
        let (other, ids, mut left) = (open(disk.clone()).unwrap(), ids.clone(), None);
        // When it begins to read chunks, and so many calls later.
        let store = HookStore::new(disk, move |call, key| match left {
            None if call == Call::GetRange && key.starts_with(names::PACKS) => {
                left = Some(n);
                forget(&other, &ids[..1]).unwrap();
                collect(&other);
            }
            Some(0) => {
                left = Some(usize::MAX);
                forget(&other, &ids[1..2]).unwrap();
                collect(&other);
            }
            _ => left = left.map(|left| left - 1),
        });
        let found = check_all(&open(store).unwrap()).unwrap();
        assert!(found.problems.is_empty() && found.hurt.is_empty(), "{n} calls later: {found:?}");
    });
}

#[test]
fn a_segment_that_a_collection_replaces_while_it_is_opened_is_not_called_damaged() {
    let disk = Arc::new(MemoryStore::new());
    let repository = create(disk.clone()).unwrap();
    let mut world = World::filled(0..60);
    // So many small packs that a collection joins them all.
    let mut day = 0;
    while disk.list(names::PACKS).unwrap().len() < 32 {
        back_up_all(&repository, BackupKind::Full, &[("kept", &world)]);
        day += 1;
        world = world.later(0..60, 0.3, 0.02, 100 + day);
    }
    let (other, mut met) = (open(disk.clone()).unwrap(), false);
    let store = HookStore::new(disk, move |call, key| {
        if call == Call::GetRange && key.starts_with(names::INDEX) && !met {
            met = true;
            assert!(prune(&other, &thorough()).unwrap().segments_rewritten > 1);
        }
    });
    let index = open(store).unwrap().index().unwrap();
    assert!(index.damaged().is_empty(), "{:?}", index.damaged());
    assert!(index.segments().len() as u64 >= day, "segments were left out");
}

/// A reader without an index lists the packs, and finds some of them gone when it reads their directories.
#[test]
fn packs_that_a_collection_wrote_while_a_reader_looked_through_them_are_found() {
    let scene = Scene::new(1200);
    forget(&scene.repository(), &[scene.id(0)]).unwrap();
    for segment in scene.disk.list(names::INDEX).unwrap() {
        scene.disk.delete(&segment.key).unwrap();
    }
    let (other, mut listed, mut met) = (scene.repository(), false, false);
    let store = HookStore::new(scene.disk.clone(), move |call, key| {
        listed |= call == Call::List && key == names::PACKS;
        if listed && !met && call == Call::GetRange && key.starts_with(names::PACKS) {
            met = true;
            collect(&other);
        }
    });
    let repository = open(store).unwrap();
    assert_eq!(assert_exact(&repository, &scene.snapshots[2..], "moved meanwhile"), 1);
}
