//! What a salvage is made of and its place in the order, whatever happens to it, to its original and to the packs
//! meanwhile.

use crate::support::scene::*;
use crate::support::world::*;
use aerolith::format::{ChunkId, names};
use aerolith::store::{Call, MemoryStore, Store};
use aerolith::{BackupKind, RepairOptions, RepairReport, Salvaged, SnapshotId};
use std::sync::Arc;

/// Damages one value chunk of the last snapshot.
fn damage_last(scene: &Scene) {
    let repository = scene.repository();
    let chunk = values(&repository, &scene.id(2))[0];
    damage_chunk(&repository, &scene.disk, &chunk);
}

/// What became of the last snapshot.
fn of_last<'a>(scene: &Scene, report: &'a RepairReport) -> &'a Salvaged {
    report.salvaged.iter().find(|one| one.original == scene.snapshots[2].0).unwrap()
}

#[test]
fn what_a_check_noted_is_read_by_a_repair_that_reads_nothing_else() {
    let scene = Scene::new(300);
    damage_last(&scene);
    let repository = scene.repository();
    check(&repository).unwrap();
    let report = repair(&repository, &RepairOptions::default()).unwrap();
    assert!(report.has_losses(), "{report:?}");
    assert!(of_last(&scene, &report).records_lost() > 0, "{report:?}");
}

#[test]
fn what_is_forgotten_while_a_repair_looks_is_not_salvaged() {
    let scene = Scene::new(300);
    damage_last(&scene);
    let (other, ids) = (scene.repository(), [scene.id(0), scene.id(1), scene.id(2)]);
    let mut met = false;
    // Once all chunks were read: it notes those that are damaged.
    let store = HookStore::new(scene.disk.clone(), move |call, key| {
        if call == Call::PutNew && key.starts_with(names::SESSIONS) && !met {
            met = true;
            forget(&other, &ids).unwrap();
        }
    });
    let report = repair(&open(store).unwrap(), &thorough_repair()).unwrap();
    assert!(report.found.hurt.contains(&scene.snapshots[2].0), "{report:?}");
    assert!(report.salvaged.is_empty(), "{report:?}");
    assert!(scene.repository().snapshots().unwrap().snapshots.is_empty(), "what was forgotten is back");
}

#[test]
fn a_salvage_knows_all_that_its_original_saw_and_comes_after_earlier_ones() {
    let scene = Scene::new(300);
    damage_last(&scene);
    let repository = scene.repository();
    let report = repair(&repository, &thorough_repair()).unwrap();
    let first = manifest_of(&repository, of_last(&scene, &report).snapshot.unwrap());
    let original = manifest_of(&repository, scene.snapshots[2].0);
    assert!(
        first.heads.contains(&original.id) && original.heads.iter().all(|id| first.heads.contains(id)),
        "{first:?}"
    );
    assert_eq!(first.committed, original.committed + 1);
    // A backup brings back what was lost, and so the next repair can make more of the original.
    let other = create(Arc::new(MemoryStore::new())).unwrap();
    back_up_all(&other, BackupKind::Full, &[("kept", &scene.kept)]);
    let report = repair(&repository, &thorough_repair().from(other)).unwrap();
    let second = manifest_of(&repository, of_last(&scene, &report).snapshot.unwrap());
    assert!(second.id != first.id && second.salvage.unwrap().records_lost < first.salvage.unwrap().records_lost);
    assert_eq!(second.committed, first.committed + 1);
    // Values that were had from elsewhere count among the bytes that it refers to.
    let chunks = repository.chunk_reader().unwrap();
    let plain = |id: &ChunkId| u64::from(chunks.locate(id).unwrap()[0].place.plain);
    let reached: u64 = values(&repository, &second.id.to_string()).iter().map(plain).sum();
    assert_eq!(second.namespaces[0].reached_bytes, reached);
}

/// Damages all that a salvage has written of its entries.
fn damage_salvage(scene: &Scene, id: SnapshotId) {
    let repository = scene.repository();
    damage_chunk(&repository, &scene.disk, &manifest_of(&repository, id).namespaces[0].runs[0].root);
}

#[test]
fn where_a_salvage_is_damaged_itself_another_takes_its_place() {
    let scene = Scene::new(300);
    damage_last(&scene);
    let repository = scene.repository();
    let report = repair(&repository, &thorough_repair()).unwrap();
    let (first, lost) = (of_last(&scene, &report).snapshot.unwrap(), of_last(&scene, &report).records_lost());
    assert!(manifest_of(&repository, first).salvage.unwrap().was_whole);
    damage_salvage(&scene, first);
    let report = repair(&repository, &thorough_repair()).unwrap();
    let again = of_last(&scene, &report);
    assert!(!again.earlier && again.snapshot != Some(first), "{again:?}");
    assert_eq!(again.records_lost(), lost);
    assert!(check(&repository).unwrap().hurt.iter().all(|id| Some(*id) != again.snapshot));
    // It comes after the damaged one, of which nothing is made: it held no more.
    assert_eq!(Some(repository.snapshot("latest").unwrap().id()), again.snapshot);
    assert_eq!(
        manifest_of(&repository, again.snapshot.unwrap()).committed,
        manifest_of(&repository, scene.snapshots[2].0).committed + 2
    );
    assert!(report.salvaged.iter().all(|one| one.original != first), "{report:?}");
    let before = scene.disk.list("").unwrap();
    let third = repair(&repository, &thorough_repair()).unwrap();
    assert_eq!((of_last(&scene, &third).snapshot, of_last(&scene, &third).earlier), (again.snapshot, true));
    assert_eq!(scene.disk.list("").unwrap(), before, "the third repair changed something");
}

#[test]
fn a_damaged_salvage_that_held_more_than_a_new_one_would_is_salvaged_too() {
    let scene = Scene::new(300);
    damage_last(&scene);
    let repository = scene.repository();
    // It has some of the records that are lost.
    let other = create(Arc::new(MemoryStore::new())).unwrap();
    back_up_all(&other, BackupKind::Full, &[("kept", &scene.kept.later(0..300, 0.0, 0.5, 9))]);
    let report = repair(&repository, &thorough_repair().from(other)).unwrap();
    let first = of_last(&scene, &report).snapshot.unwrap();
    let lost = of_last(&scene, &report).records_lost();
    assert!(lost > 0 && of_last(&scene, &report).namespaces[0].recovered > 0, "{report:?}");
    damage_salvage(&scene, first);
    let report = repair(&repository, &thorough_repair()).unwrap();
    assert!(of_last(&scene, &report).records_lost() > lost, "{report:?}");
    let of_salvage = report.salvaged.iter().find(|one| one.original == first).unwrap();
    // It is made of something that was not whole.
    assert!(!manifest_of(&repository, of_salvage.snapshot.unwrap()).salvage.unwrap().was_whole);
}
