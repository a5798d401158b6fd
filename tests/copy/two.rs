//! Two repositories, and what the tests ask of the copies in the second.

use crate::support::scene::{Contents, assert_clean, assert_exact};
use crate::support::world::*;
use aerolith::format::names;
use aerolith::format::snapshot::{Manifest, NamespaceManifest, Origin};
use aerolith::internals::pack::read_directory;
use aerolith::store::{MemoryStore, Store};
use aerolith::{
    Control, CopyOptions, CopyReport, CreateOptions, KdfCost, Repository, RestoreOptions, Result, Snapshot, SnapshotId,
};
use std::collections::HashSet;
use std::sync::Arc;

pub const OTHER: &[u8] = b"the other passphrase";

/// An empty repository to copy into.
pub fn other(store: Arc<dyn Store>) -> Repository {
    let options = CreateOptions::default().cost(KdfCost::WEAK);
    Repository::create(store, OTHER, &options).unwrap()
}

/// An empty repository in memory, as bytes that can be forked.
pub fn other_disk() -> Arc<MemoryStore> {
    let disk = Arc::new(MemoryStore::new());
    other(disk.clone());
    disk
}

pub fn open_other(store: Arc<dyn Store>) -> Result<Repository> {
    Repository::open(store, OTHER)
}

/// Copies all snapshots.
pub fn copy(source: &Repository, target: &Repository) -> Result<CopyReport> {
    source.copy(target, &CopyOptions::default())
}

/// The same, and what was warned of.
pub fn copy_warned(source: &Repository, target: &Repository) -> (CopyReport, Vec<String>) {
    let control = Control::new();
    let report = copy(&source.watched(&control), target).unwrap();
    (report, control.warnings())
}

/// The copy of a snapshot, of which there must be one.
pub fn copy_of(source: &Repository, target: &Repository, id: SnapshotId) -> Manifest {
    let list = target.snapshots().unwrap();
    assert!(list.damaged.is_empty(), "{:?}", list.damaged);
    let mut copies = list
        .snapshots
        .iter()
        .map(Snapshot::manifest)
        .filter(|copy| copy.first_written(target.id()) == (source.id(), id));
    let copy = copies.next().unwrap_or_else(|| panic!("{id} was not copied"));
    assert!(copies.next().is_none(), "{id} was copied twice");
    copy.clone()
}

/// Everything of a copy's manifest that does not follow from keys and ids must be the original's; what does, must be
/// right.
fn assert_says_the_same(source: &Repository, target: &Repository, original: &Manifest, copy: &Manifest) {
    let there = manifests(target);
    let id_there = |id: SnapshotId| {
        there.iter().find(|copy| copy.first_written(target.id()) == (source.id(), id)).map_or(id, |copy| copy.id)
    };
    let roots = original.namespaces.iter().flat_map(|namespace| &namespace.runs).map(|run| run.root).collect();
    let copied = copy.origin.as_ref().unwrap().copied;
    assert!(copied >= original.committed);
    let (repository, sequence) = (source.id(), original.sequence);
    let origin = Origin { repository, snapshot: original.id, sequence, from: source.id(), copied, roots };
    let namespaces = original.namespaces.iter().zip(&copy.namespaces).map(|(original, copy)| NamespaceManifest {
        parent: original.parent.map(id_there),
        full: id_there(original.full),
        runs: copy.runs.clone(),
        metadata: copy.metadata.clone(),
        state_hash: copy.state_hash,
        ..original.clone()
    });
    let expected = Manifest {
        id: copy.id,
        sequence: copy.sequence,
        heads: copy.heads.clone(),
        index_segments: copy.index_segments,
        stored_bytes: copy.stored_bytes,
        origin: Some(origin),
        namespaces: namespaces.collect(),
        ..original.clone()
    };
    assert_eq!(*copy, expected);
    let shape = |manifest: &Manifest| -> Vec<_> {
        let runs = manifest.namespaces.iter().flat_map(|namespace| &namespace.runs);
        runs.map(|run| (run.level, run.entries, run.tombstones, run.tree_bytes)).collect()
    };
    assert_eq!(shape(original), shape(copy));
}

/// The target must hold a copy of each of these snapshots that is exact, and no damage.
pub fn assert_copied(source: &Repository, target: &Repository, snapshots: &[(SnapshotId, Contents)], about: &str) {
    for (id, contents) in snapshots {
        let copy = copy_of(source, target, *id);
        let original = manifests(source).into_iter().find(|manifest| manifest.id == *id);
        if let Some(original) = original {
            assert_says_the_same(source, target, &original, &copy);
        }
        let snapshot = target.snapshot(&copy.id.to_string()).unwrap();
        assert_eq!(contents.len(), copy.namespaces.len(), "{about}");
        for (namespace, truth) in contents {
            let restored = MemoryTarget::default();
            let report = snapshot.restore(namespace, &restored, &RestoreOptions::default());
            let report = report.unwrap_or_else(|error| panic!("{about}, {id}, {namespace}: {error}"));
            assert!(!report.is_damaged() && report.adds_up(), "{about}, {id}, {namespace}: {report:?}");
            assert!(*restored.records.lock().unwrap() == *truth, "{about}: {namespace} of {id} is another");
            let view = snapshot.namespace(namespace).unwrap();
            let sums = view.state_sums(target.keys()).unwrap();
            assert_eq!(sums.hash(target.keys().states().unwrap()), view.manifest().state_hash, "{about}");
            assert_eq!(view.metadata().unwrap().indexes.len(), 1, "{about}");
        }
    }
    // The order is that of the source, in whatever order they were copied.
    let order = |repository: &Repository| -> Vec<SnapshotId> {
        let all = manifests(repository).into_iter();
        all.map(|manifest| manifest.first_place(repository.id()))
            .filter(|(first, _)| *first == source.id())
            .map(|(_, place)| place.id)
            .collect()
    };
    let copied = order(target);
    let expected: Vec<SnapshotId> = order(source).into_iter().filter(|id| copied.contains(id)).collect();
    let copies: Vec<SnapshotId> = copied.into_iter().filter(|id| expected.contains(id)).collect();
    assert_eq!(copies, expected, "{about}: the copies are in another order");
    assert_clean(target, about);
}

/// The target must hold an exact copy of each of these snapshots, whatever it says of where it comes from and what else
/// is damaged.
pub fn assert_exact_copies(
    source: &Repository,
    target: &Repository,
    snapshots: &[(SnapshotId, Contents)],
    about: &str,
) {
    for (id, contents) in snapshots {
        let copy = copy_of(source, target, *id);
        assert_eq!(assert_exact(target, &[(copy.id, contents.clone())], about), 1, "{about}");
    }
}

/// No chunk may stand in two packs.
pub fn assert_nothing_twice(target: &Repository, about: &str) {
    let (store, mut stored) = (target.store(), HashSet::new());
    for object in store.list(names::PACKS).unwrap() {
        let id = names::parse_pack(&object.key).unwrap();
        for row in read_directory(&**store, target.keys(), id, object.size).unwrap().1 {
            assert!(stored.insert(row.id), "{about}: chunk {} is stored twice", row.id);
        }
    }
}
