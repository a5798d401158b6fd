//! Repositories that share their content keys: chunks go over as they are, and nothing else is shared.

use super::two::*;
use crate::support::scene::*;
use crate::support::world::*;
use aerolith::format::header::Class;
use aerolith::format::names;
use aerolith::store::{MemoryStore, Store};
use aerolith::{BackupKind, CopyOptions, CreateOptions, KdfCost, RecordOptions, Repository, SessionOptions};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

/// An empty repository that shares the content keys of another.
pub fn alike(source: &Repository) -> (Arc<MemoryStore>, Repository) {
    let shares_chunking_with = Some(source.clone());
    let options = CreateOptions::default().cost(KdfCost::WEAK).shares_chunking_with(shares_chunking_with);
    let disk = Arc::new(MemoryStore::new());
    let made = Repository::create(disk.clone(), OTHER, &options).unwrap();
    // What was made is what is opened.
    let opened = open_other(disk.clone()).unwrap();
    assert!(opened.keys().shares_contents_with(made.keys()) && opened.keys().shares_contents_with(source.keys()));
    assert!(opened.has_shared_chunking() && !source.has_shared_chunking());
    (disk, opened)
}

/// The stored lengths of all chunks.
fn chunks(repository: &Repository) -> BTreeMap<String, (u32, u32)> {
    let reader = repository.chunk_reader().unwrap();
    let mut found = BTreeMap::new();
    let mut seen = HashSet::new();
    for snapshot in repository.snapshots().unwrap().snapshots {
        let mut each = |id, class: Class| {
            let place = reader.locate(&id).unwrap()[0].place;
            found.insert(format!("{class:?} {id}"), (place.stored, place.plain));
        };
        snapshot.reach(&mut seen, &mut each).unwrap();
    }
    found
}

#[test]
fn copies_are_the_same_chunks_of_the_same_bytes_and_what_is_there_is_not_read() {
    let scene = Scene::new(400);
    let source = scene.repository();
    let (_, target) = alike(&source);
    let report = copy(&source, &target).unwrap();
    assert_eq!((report.copied.len(), report.not_copied.len()), (3, 0), "{report:?}");
    assert_copied(&source, &target, &scene.snapshots, "alike");
    assert_nothing_twice(&target, "alike");
    assert_nothing_unused(&target, "alike");
    assert_eq!(chunks(&source), chunks(&target));
    for (id, _) in &scene.snapshots {
        let copy = copy_of(&source, &target, *id);
        let original = source.snapshot(&id.to_string()).unwrap().manifest().clone();
        for (original, copy) in original.namespaces.iter().zip(&copy.namespaces) {
            assert_eq!((&original.runs, &original.state_hash), (&copy.runs, &copy.state_hash));
        }
    }
    // A merge at home writes all entries again, and reads no value for the copy.
    let mut world = scene.kept.clone();
    let mut last = None;
    for seed in 0..34 {
        world = world.later(0..400, 0.01, 0.0, 100 + seed);
        last = Some(back_up_all(&source, BackupKind::Incremental, &[("kept", &world)]));
    }
    let (id, contents) = last.unwrap();
    let runs = source.snapshot("latest").unwrap().manifest().namespaces[0].runs.len();
    assert!(runs < 25, "nothing was merged: {runs} runs");
    let options = CopyOptions::default().snapshots([id.to_string()]);
    let next = source.copy(&target, &options).unwrap();
    assert!(next.copied[0].bytes_read < report.copied[0].bytes_read / 2, "{next:?}");
    assert_copied(&source, &target, &[(id, contents)], "merged");
}

#[test]
fn a_backup_without_a_parent_shares_chunks_with_copies() {
    let scene = Scene::new(400);
    let source = scene.repository();
    let (_, target) = alike(&source);
    let first = CopyOptions::default().snapshots([scene.id(0)]);
    source.copy(&target, &first).unwrap();
    let about = SessionOptions::default().cluster("another");
    let mut session = target.begin(about).unwrap();
    session.records("gone", &World::filled(10_000..10_400), BackupKind::Full, &RecordOptions::default()).unwrap();
    let made = session.commit().unwrap();
    let copied = copy_of(&source, &target, scene.snapshots[0].0);
    assert_eq!(made.manifest().namespaces[0].runs, copied.namespace("gone").unwrap().runs);
    assert!(made.manifest().stored_bytes < 2_000, "{}", made.manifest().stored_bytes);
}

#[test]
fn nothing_but_the_content_keys_is_shared() {
    let scene = Scene::new(30);
    let source = scene.repository();
    let (disk, target) = alike(&source);
    copy(&source, &target).unwrap();
    // No object of one can be opened with the keys of the other.
    let opens = |store: &dyn Store, keys: &aerolith::internals::crypto::Keys| {
        let mut opened = 0;
        for object in store.list(names::PACKS).unwrap() {
            let id = names::parse_pack(&object.key).unwrap();
            opened += usize::from(aerolith::internals::pack::read_directory(store, keys, id, object.size).is_ok());
        }
        let states = aerolith::internals::objects::list_states(store, keys).unwrap();
        for (id, _) in states.listed() {
            opened += usize::from(aerolith::internals::objects::read_manifest(store, keys, id).is_ok());
        }
        let index = aerolith::internals::index::Index::open(store, keys, |_| true, HashSet::new()).unwrap();
        opened + index.segments().len()
    };
    assert!(opens(&*disk, target.keys()) >= 9 && opens(&*scene.disk, source.keys()) >= 9);
    assert_eq!((opens(&*disk, source.keys()), opens(&*scene.disk, target.keys())), (0, 0));
    assert!(Repository::open(disk, PASSPHRASE).is_err() && Repository::open(scene.disk.clone(), OTHER).is_err());
    // It passes on: a third made from the second shares with the first.
    let (_, third) = alike_of_alike(&target);
    assert!(third.keys().shares_contents_with(source.keys()));
}

fn alike_of_alike(target: &Repository) -> (Arc<MemoryStore>, Repository) {
    let shares_chunking_with = Some(target.clone());
    let options = CreateOptions::default().cost(KdfCost::WEAK).shares_chunking_with(shares_chunking_with);
    let disk = Arc::new(MemoryStore::new());
    Repository::create(disk.clone(), OTHER, &options).map(|repository| (disk, repository)).unwrap()
}

#[test]
fn a_damaged_chunk_is_not_taken_over_and_a_lost_one_is_brought_again() {
    let scene = Scene::new(150);
    let mut reached = Vec::new();
    let source = scene.repository();
    let snapshot = source.snapshot(&scene.id(1)).unwrap();
    snapshot.reach(&mut HashSet::new(), &mut |id, class| reached.push((id, class))).unwrap();
    for (id, class) in reached {
        let disk = Arc::new(scene.disk.fork());
        let damaged = open(disk.clone()).unwrap();
        damage_chunk(&damaged, &disk, &id);
        let (there, target) = alike(&damaged);
        let one = CopyOptions::default().snapshots([scene.id(1)]);
        let report = damaged.copy(&target, &one).unwrap();
        assert_eq!((report.copied.len(), report.not_copied.len()), (0, 1), "{class:?} {id}");
        assert!(target.snapshots().unwrap().snapshots.is_empty());
        assert_eq!(source.copy(&target, &one).unwrap().copied.len(), 1);
        assert_copied(&source, &target, &scene.snapshots[1..2], "mended");
        // Now the target loses it, and the next copy finds that out.
        damage_chunk(&target, &there, &id);
        check(&target).unwrap();
        let report = copy(&source, &target).unwrap();
        assert_eq!((report.copied.len(), report.not_copied.len()), (2, 0), "{class:?} {id}");
        assert_exact_copies(&source, &target, &scene.snapshots, "healed");
    }
}
