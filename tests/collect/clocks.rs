//! Hosts whose clocks are wrong: which snapshot is built on, named and kept doesn't rest on them.

use crate::support::scene::*;
use crate::support::world::*;
use aerolith::format::names;
use aerolith::format::snapshot::Manifest;
use aerolith::internals::objects::commit_snapshot;
use aerolith::record::Timestamp;
use aerolith::store::{MemoryStore, Store};
use aerolith::{BackupKind, Repository, Retention, Snapshot, SnapshotFilter, SnapshotId};
use std::sync::Arc;

const MINUTE: i64 = 60_000;
const DAY: i64 = 1440 * MINUTE;

/// Lets the host that committed this snapshot have had a clock that was ahead by so many milliseconds.
fn clock_was_ahead(repository: &Repository, id: SnapshotId, millis: i64) {
    let manifest = manifest_of(repository, id);
    let moved = |time: u64| time.saturating_add_signed(millis);
    let (started, committed) = (moved(manifest.started), moved(manifest.committed));
    let manifest = Manifest { started, committed, host: "ahead".into(), ..manifest };
    repository.store().delete(&names::snapshot(&id)).unwrap();
    commit_snapshot(&**repository.store(), repository.keys(), repository.parameters().suite, &manifest).unwrap();
}

fn create_empty() -> Repository {
    create(Arc::new(MemoryStore::new())).unwrap()
}

/// Which snapshots stand, oldest first.
fn existing(repository: &Repository) -> Vec<SnapshotId> {
    repository.snapshots().unwrap().snapshots.iter().map(Snapshot::id).collect()
}

/// A time of today as it is given after `@`.
fn at(millis: u64) -> String {
    format!("@{}", Timestamp(millis))
}

#[test]
fn an_incremental_builds_on_the_newest_snapshot_though_an_older_ones_host_was_minutes_ahead() {
    let repository = create_empty();
    let first = World::filled(0..200);
    let second = first.later(0..200, 0.3, 0.1, 1);
    let third = second.later(0..200, 0.1, 0.1, 2);
    let ahead = back_up(&repository, &first, BackupKind::Full).unwrap().id();
    clock_was_ahead(&repository, ahead, 9 * MINUTE);
    let full = back_up(&repository, &second, BackupKind::Full).unwrap().id();
    assert_eq!(repository.snapshot("latest").unwrap().id(), full);
    let incremental = back_up(&repository, &third, BackupKind::Incremental).unwrap();
    assert_eq!(incremental.manifest().namespaces[0].parent, Some(full));
    assert_whole(&repository, "latest", &third.truth(), "built on the newest");
    assert_eq!(existing(&repository), [ahead, full, incremental.id()]);
}

#[test]
fn a_snapshot_committed_in_ten_years_is_neither_latest_nor_all_that_is_kept() {
    let repository = create_empty();
    let world = World::filled(0..50);
    let mut ids: Vec<SnapshotId> = Vec::new();
    for n in 0..4 {
        let about = format!("snapshot {n}");
        let warnings = warned_by(&repository, |repository| drop(begin(repository).expect(&about)));
        let warned = warnings.iter().any(|warning| warning.contains("in the future"));
        assert_eq!(warned, n == 2, "{about}: a backup right after the one from the future says so");
        ids.push(back_up(&repository, &world.later(0..50, 0.2, 0.0, n), BackupKind::Full).unwrap().id());
        if n == 1 {
            clock_was_ahead(&repository, ids[1], 3650 * DAY);
        }
    }
    assert_eq!(repository.snapshot("latest").unwrap().id(), ids[3]);
    assert_eq!(repository.snapshot("latest~2").unwrap().id(), ids[1]);
    let policy = Retention::default().last(1).within(std::time::Duration::from_millis(30 * DAY as u64));
    let report = repository.forget(&policy, &SnapshotFilter::ALL).unwrap();
    assert!(report.forgotten.is_empty(), "all are of today, whatever one says: {:?}", report.forgotten);
    let policy = Retention::default().last(1);
    repository.forget(&policy, &SnapshotFilter::ALL).unwrap();
    assert_eq!(existing(&repository), [ids[3]]);
}

#[test]
fn a_snapshot_named_by_its_time_says_which_times_are_doubtful() {
    let repository = create_empty();
    let world = World::filled(0..20);
    let ids: Vec<SnapshotId> = (0..4).map(|_| back_up(&repository, &world, BackupKind::Full).unwrap().id()).collect();
    let now = at(Timestamp::now().0);
    let warned = |spec: &str| warned_by(&repository, |repository| drop(repository.snapshot(spec).unwrap()));
    assert_eq!(warned(&now), [""; 0]);
    // Of the third its host says that it was committed yesterday; the others, some of which it saw, are of today.
    clock_was_ahead(&repository, ids[2], -DAY);
    let yesterday = at(Timestamp::now().0 - (DAY / 2) as u64);
    let message = message(repository.snapshot(&yesterday));
    assert!(message.contains("at or before"), "nothing was committed yesterday: {message}");
    assert_eq!(warned(&now), [""; 0], "its time decides nothing about the snapshots of now");
    // The last says that it is of 2036: it is taken to be of now.
    clock_was_ahead(&repository, ids[3], 3650 * DAY);
    let now = at(Timestamp::now().0);
    assert_eq!(repository.snapshot(&now).unwrap().id(), ids[3]);
    let warnings = warned(&now);
    assert!(warnings.iter().any(|warning| warning.contains("in the future")), "{warnings:?}");
    assert_eq!(warned("latest"), [""; 0], "no time decides what is the latest");
}
