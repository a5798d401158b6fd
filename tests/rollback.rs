//! What a client remembers of a repository, and what it makes of a store that shows less.

mod support;

use aerolith::format::names;
use aerolith::store::{MemoryStore, Store};
use aerolith::{BackupKind, Repository, SnapshotFilter, SnapshotId};
use std::sync::Arc;
use support::world::*;

/// A store in which a snapshot was forgotten, a session fenced and another snapshot made, as it is and as it was
/// before; and the three.
fn newer_and_older() -> (Arc<MemoryStore>, Arc<MemoryStore>, [SnapshotId; 3]) {
    let disk = Arc::new(MemoryStore::new());
    let repository = create(disk.clone()).unwrap();
    let forgotten = back_up(&repository, &World::filled(0..20), BackupKind::Full).unwrap().id();
    let older = Arc::new(disk.fork());
    let made = back_up(&repository, &World::filled(0..30), BackupKind::Full).unwrap().id();
    repository.forget_named(&[forgotten.to_string()], &SnapshotFilter::ALL).unwrap();
    let fenced = SnapshotId([9; 16]);
    disk.put(&names::snapshot(&fenced), b"").unwrap();
    (disk, older, [forgotten, made, fenced])
}

fn open(disk: &Arc<MemoryStore>) -> Repository {
    Repository::open(disk.clone(), PASSPHRASE).unwrap()
}

#[test]
fn a_name_that_is_gone_and_a_snapshot_that_is_back_are_told_whatever_was_remembered_since() {
    let (newer, older, [forgotten, made, fenced]) = newer_and_older();
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(open(&newer).look_back(directory.path()).unwrap(), None);
    open(&newer).remember(directory.path()).unwrap();
    assert_eq!(open(&newer).look_back(directory.path()).unwrap(), None);
    for _ in 0..2 {
        let found = open(&older).look_back(directory.path()).unwrap().unwrap();
        let mut gone = [made, fenced];
        gone.sort_unstable();
        assert_eq!((&found.gone[..], &found.revived[..]), (&gone[..], &[forgotten][..]));
        // What the older state shows makes nothing of the newer one forgotten.
        open(&older).remember(directory.path()).unwrap();
    }
    assert_eq!(open(&newer).look_back(directory.path()).unwrap(), None);
}
