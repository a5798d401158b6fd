//! What a salvage is made of and where it stands, whatever happens to it, to its original and to the packs meanwhile.

use super::scene::*;
use super::support::*;
use aerolith::control::Control;
use aerolith::format::snapshot::{BackupKind, Manifest};
use aerolith::format::{ChunkId, SnapshotId, names};
use aerolith::repository::{RepairOptions, RepairReport, Repository, Salvaged};
use aerolith::store::{Call, MemoryStore};
use std::sync::Arc;

/// A repair that reads this part of the chunks.
fn repair(repository: &Repository, read_percent: f64) -> RepairReport {
    let options = RepairOptions { read_percent, ..RepairOptions::default() };
    repository.repair(&options, &Arc::new(Control::new())).unwrap()
}

fn manifest_of(repository: &Repository, id: SnapshotId) -> Manifest {
    repository.snapshot(&id.to_string()).unwrap().manifest().clone()
}

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
    let report = repair(&repository, 0.0);
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
    let report = repair(&open(store).unwrap(), 100.0);
    assert!(report.found.hurt.contains(&scene.snapshots[2].0), "{report:?}");
    assert!(report.salvaged.is_empty(), "{report:?}");
    assert!(scene.repository().snapshots().unwrap().snapshots.is_empty(), "what was forgotten is back");
}

#[test]
fn a_salvage_knows_all_that_its_original_saw_and_stands_behind_earlier_ones() {
    let scene = Scene::new(300);
    damage_last(&scene);
    let repository = scene.repository();
    let report = repair(&repository, 100.0);
    let first = manifest_of(&repository, of_last(&scene, &report).snapshot.unwrap());
    let original = manifest_of(&repository, scene.snapshots[2].0);
    assert!(first.seen.contains(&original.id) && original.seen.iter().all(|id| first.seen.contains(id)), "{first:?}");
    assert_eq!(first.sealed, original.sealed + 1);
    // A backup brings back what was lost, and so the next repair can make more of the original.
    let other = create(Arc::new(MemoryStore::new())).unwrap();
    back_up_all(&other, BackupKind::Full, &[("kept", &scene.kept)]);
    let options = RepairOptions { read_percent: 100.0, from: Some(other), ..RepairOptions::default() };
    let report = repository.repair(&options, &Arc::new(Control::new())).unwrap();
    let second = manifest_of(&repository, of_last(&scene, &report).snapshot.unwrap());
    assert!(second.id != first.id && second.salvage.unwrap().records_lost < first.salvage.unwrap().records_lost);
    assert_eq!(second.sealed, first.sealed + 1);
    // Values that were had from elsewhere count among the bytes that it refers to.
    let chunks = repository.chunk_reader().unwrap();
    let plain = |id: &ChunkId| u64::from(chunks.locate(id).unwrap()[0].place.plain);
    let reached: u64 = values(&repository, &second.id.to_string()).iter().map(plain).sum();
    assert_eq!(second.namespaces[0].reached_bytes, reached);
}

#[test]
fn where_a_salvage_is_damaged_itself_another_is_made_of_the_original() {
    let scene = Scene::new(300);
    damage_last(&scene);
    let repository = scene.repository();
    let report = repair(&repository, 100.0);
    let (first, lost) = (of_last(&scene, &report).snapshot.unwrap(), of_last(&scene, &report).records_lost());
    assert!(manifest_of(&repository, first).salvage.unwrap().was_whole);
    damage_chunk(&repository, &scene.disk, &manifest_of(&repository, first).namespaces[0].runs[0].root);
    let report = repair(&repository, 100.0);
    let again = of_last(&scene, &report);
    assert!(!again.earlier && again.snapshot != Some(first), "{again:?}");
    assert_eq!(again.records_lost(), lost);
    assert!(check(&repository).unwrap().hurt.iter().all(|id| Some(*id) != again.snapshot));
    // What is made of the salvage is made of something that was not whole.
    let of_salvage = report.salvaged.iter().find(|one| one.original == first).unwrap();
    assert!(!manifest_of(&repository, of_salvage.snapshot.unwrap()).salvage.unwrap().was_whole);
}
