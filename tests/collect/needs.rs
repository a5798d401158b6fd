//! One definition of what a snapshot needs: whatever is lost below any of its roots, nobody overlooks it; and none of
//! it goes with packs that are condemned.

use crate::support::parted::{lose, part};
use crate::support::scene::*;
use crate::support::world::*;
use aerolith::format::snapshot::Manifest;
use aerolith::format::{ChunkId, PackId, names};
use aerolith::internals::repository::Root;
use aerolith::store::{MemoryStore, Store};
use aerolith::{BackupKind, CopyOptions, CreateOptions, KdfCost, Plan, Repository, SnapshotId};
use rayon::prelude::*;
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

/// A number for each kind of root. Whoever adds one adds it to the scene below too.
fn kind(root: Root<'_>) -> u8 {
    match root {
        Root::Metadata { .. } => 0,
        Root::Run { .. } => 1,
    }
}

const KINDS: [u8; 2] = [0, 1];

/// A repository whose newest snapshot has every kind of root, and needs all that is stored.
struct Rooted {
    disk: Arc<MemoryStore>,
    older: SnapshotId,
    newest: (SnapshotId, Contents),
    states: [World; 2],
}

impl Rooted {
    fn new() -> Self {
        let disk = Arc::new(MemoryStore::new());
        let repository = create(disk.clone()).unwrap();
        // Of one a run is a leaf, of the other a tree.
        let first = [World::filled(0..100), World::filled(10_000..12_000)];
        let states = [first[0].later(0..100, 0.05, 0.02, 1), first[1].later(10_000..12_000, 0.02, 0.01, 2)];
        let named =
            |worlds: &[World; 2], kind| back_up_all(&repository, kind, &[("small", &worlds[0]), ("large", &worlds[1])]);
        let (older, _) = named(&first, BackupKind::Full);
        let newest = named(&states, BackupKind::Incremental);
        let manifest = manifest_of(&repository, newest.0);
        assert!(manifest.namespaces.iter().all(|namespace| namespace.runs.len() == 2), "{manifest:?}");
        let levels = manifest.namespaces.iter().flat_map(|namespace| &namespace.runs).map(|run| run.level.min(1));
        assert_eq!(levels.collect::<BTreeSet<u8>>(), [0, 1].into());
        assert_eq!(manifest.roots().into_iter().map(kind).collect::<BTreeSet<u8>>(), KINDS.into());
        Rooted { disk, older, newest, states }
    }

    fn id(&self) -> String {
        self.newest.0.to_string()
    }
}

fn reached(repository: &Repository, manifest: &Manifest) -> HashSet<ChunkId> {
    let mut reached = HashSet::new();
    let snapshot = repository.open_snapshot(&repository.chunk_reader().unwrap(), manifest.clone());
    snapshot.reach(&mut reached, &mut |_, _| {}).unwrap();
    reached
}

/// Whoever looks at what the newest snapshot needs must notice that something is lost.
fn assert_noticed(disk: Arc<MemoryStore>, scene: &Rooted, about: &str) {
    let (repository, id) = (open(disk).unwrap(), scene.newest.0);
    let mut damaged = false;
    for namespace in scene.newest.1.keys() {
        let snapshot = repository.snapshot(&scene.id()).unwrap();
        let target = MemoryTarget::default();
        let report = snapshot.restore(namespace, &target, &Default::default()).unwrap();
        damaged |= report.is_damaged();
    }
    assert!(damaged, "{about}: restored");

    let snapshot = repository.snapshot(&scene.id()).unwrap();
    let mut ids = Vec::new();
    let whole = snapshot.reach(&mut HashSet::new(), &mut |id, _| ids.push(id)).is_ok();
    let missing = |id: &ChunkId| snapshot.chunks().unwrap().locate(id).unwrap().is_empty();
    assert!(!whole || ids.iter().any(missing), "{about}: reached");

    match repository.prune_plan(&thorough()).map(Plan::into_report) {
        Ok(report) => assert!(report.chunks_missing > 0, "{about}: {report:?}"),
        Err(error) => {
            assert!(error.is_damage() && error.to_string().contains("nothing is deleted"), "{about}: {error}")
        }
    }

    let options = CreateOptions::default().cost(KdfCost::WEAK);
    let alike = options.clone().shares_chunking_with(repository.clone());
    for options in [options, alike] {
        let target = Repository::create(Arc::new(MemoryStore::new()), PASSPHRASE, &options).unwrap();
        let report = repository.copy(&target, &CopyOptions::default()).unwrap();
        let refused = report.not_copied.iter().any(|one| one.snapshot == id && one.damaged);
        assert!(refused, "{about}: {report:?}");
    }

    let report = repository.repair_plan(&aerolith::RepairOptions::default()).unwrap().into_report();
    let salvaged = report.salvaged.iter().find(|salvaged| salvaged.original == id);
    assert!(salvaged.is_some_and(|salvaged| salvaged.has_losses()), "{about}: {report:?}");

    let found = repository.check(&Default::default()).unwrap();
    assert!(found.hurt.contains(&id) && !found.problems.is_empty(), "{about}: {found:?}");
}

#[test]
fn every_operation_notices_the_loss_of_anything_that_a_snapshot_needs() {
    let scene = Rooted::new();
    let repository = open(scene.disk.clone()).unwrap();
    forget(&repository, &[scene.older.to_string()]).unwrap();
    prune(&repository, &thorough()).unwrap();
    let packs = part(&repository);
    assert_exact(&repository, std::slice::from_ref(&scene.newest), "parted");
    assert_clean(&repository, "parted");
    // Nothing here goes by the roots: all that is stored is needed.
    let manifest = manifest_of(&repository, scene.newest.0);
    let stored: HashSet<ChunkId> = packs.iter().flat_map(|(_, _, rows)| rows).map(|row| row.id).collect();
    assert!(stored.len() > 15, "{}", stored.len());
    let levels = manifest.namespaces.iter().flat_map(|namespace| &namespace.runs).map(|run| run.level);
    packs.par_iter().for_each(|(pack, _, rows)| {
        let disk = Arc::new(scene.disk.fork());
        lose(&open(disk.clone()).unwrap(), &packs, pack);
        assert_noticed(disk, &scene, &format!("chunk {} lost", rows[0].id));
    });
    assert_eq!(reached(&repository, &manifest), stored, "levels {:?}", levels.collect::<Vec<_>>());
}

/// Condemns all packs that there are.
fn condemn(scene: &Rooted) -> HashSet<PackId> {
    let repository = open(scene.disk.clone()).unwrap();
    let packs: Vec<PackId> = repository.index().unwrap().packs().into_keys().collect();
    put_plan(&repository, &scene.disk, SnapshotId([7; 16]), packs.clone());
    packs.into_iter().collect()
}

/// Each chunk below each root must stand in a pack that is not condemned.
fn assert_taken_out(repository: &Repository, manifest: &Manifest, condemned: &HashSet<PackId>, about: &str) {
    let reader = repository.chunk_reader().unwrap();
    for root in manifest.roots() {
        let mut ids = Vec::new();
        root.reach(&reader, &mut HashSet::new(), &mut |id, _| ids.push(id), &mut |loss| panic!("{about}: {loss}"))
            .unwrap();
        assert!(!ids.is_empty(), "{about}: {root:?}");
        for id in ids {
            let places = reader.locate(&id).unwrap();
            let stays = places.iter().any(|at| !condemned.contains(&at.pack));
            assert!(stays, "{about}: chunk {id} of {root:?} is in condemned packs alone");
        }
    }
}

#[test]
fn what_any_root_reaches_is_moved_out_of_condemned_packs() {
    let scene = Rooted::new();
    let condemned = condemn(&scene);
    let repository = open(scene.disk.clone()).unwrap();
    prune(&repository, &thorough()).unwrap();
    for pack in &condemned {
        assert_eq!(scene.disk.size(&names::pack(pack)).unwrap(), None, "{pack}");
    }
    let repository = open(scene.disk.clone()).unwrap();
    assert_taken_out(&repository, &manifest_of(&repository, scene.newest.0), &condemned, "moved");
    assert_eq!(assert_exact(&repository, std::slice::from_ref(&scene.newest), "moved"), 1);
    assert_clean(&repository, "moved");
    assert_nothing_unused(&repository, "moved");
}

#[test]
fn what_any_root_of_a_new_snapshot_reaches_is_taken_over_from_condemned_packs() {
    for kind in [BackupKind::Full, BackupKind::Incremental, BackupKind::Differential] {
        let scene = Rooted::new();
        let condemned = condemn(&scene);
        let repository = open(scene.disk.clone()).unwrap();
        let worlds = [("small", &scene.states[0]), ("large", &scene.states[1])];
        let made = back_up_all(&repository, kind, &worlds);
        let repository = open(scene.disk.clone()).unwrap();
        let manifest = manifest_of(&repository, made.0);
        assert!(manifest.namespaces.iter().all(|namespace| namespace.parent.is_some()), "{kind}");
        assert_taken_out(&repository, &manifest, &condemned, &kind.to_string());
        // What the collection would do next.
        forget(&repository, &[scene.older.to_string(), scene.id()]).unwrap();
        condemned.iter().for_each(|pack| scene.disk.delete(&names::pack(pack)).unwrap());
        let repository = open(scene.disk.clone()).unwrap();
        assert_eq!(assert_exact(&repository, &[made], &kind.to_string()), 1);
        assert_clean(&repository, &kind.to_string());
    }
}
