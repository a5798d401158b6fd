//! What the options of a restore do to a cluster, whichever it is. Snapshots come from an embedded store.

use super::conformance::{NEVER, Place, bin, int, number};
use super::{NAMESPACE, quick};
use crate::support::cluster::client::digest;
use aerolith::embedded::{Bin, EmbeddedStore, Key, NewRecord};
use aerolith::record::{Digest, PartitionId, PartitionSet, SecondaryIndex, UdfModule};
use aerolith::store::MemoryStore;
use aerolith::{
    AerospikeTarget, BackupKind, ClusterUrl, ConflictPolicy, CreateOptions, EmbeddedSource, Expiry, KdfCost,
    RecordOptions, RecordSource, RecordTarget, Repository, RestoreOptions, RestoreReport, Selection, SessionOptions,
    Snapshot,
};
use std::sync::Arc;

/// Records of the set of a test.
const RECORDS: i64 = 60;
/// Those of them that expire are the last ones.
const LASTING: i64 = 50;
const LIFETIME: u32 = 5000;

fn record(set: &[u8], n: i64) -> NewRecord {
    let mut bins = vec![Bin::integer("n", n), Bin::string("text", "as backed up")];
    if n % 7 == 0 {
        bins.push(Bin::geojson("at", r#"{"type":"Point","coordinates":[1.5,-2.25]}"#));
    }
    NewRecord { set: set.to_vec(), key: Key::from(n), bins, ttl: if n < LASTING { 0 } else { LIFETIME } }
}

/// A snapshot of a store with the records of a set.
fn backed_up(directory: &tempfile::TempDir, set: &[u8], change: impl FnOnce(&EmbeddedStore)) -> Snapshot {
    let store = EmbeddedStore::create(directory.path().join("store")).unwrap();
    let records: Vec<NewRecord> = (0..RECORDS).map(|n| record(set, n)).collect();
    store.put_many(NAMESPACE, &records).unwrap();
    change(&store);
    let options = CreateOptions::default().cost(KdfCost::WEAK);
    let repository = Repository::create(Arc::new(MemoryStore::new()), b"secret", &options).unwrap();
    let mut session = repository.begin(SessionOptions::default()).unwrap();
    let source = EmbeddedSource::new(store);
    session.records(NAMESPACE, &source, BackupKind::Full, &RecordOptions::default()).unwrap();
    session.commit().unwrap()
}

fn target(place: &Place) -> AerospikeTarget {
    let url = ClusterUrl::parse(&format!("aerospike://{}", place.address)).unwrap();
    AerospikeTarget::connect(&url, quick(b"")).unwrap()
}

fn restore(snapshot: &Snapshot, target: &AerospikeTarget, options: &RestoreOptions) -> RestoreReport {
    let report = snapshot.restore(NAMESPACE, target, options).unwrap();
    assert!(report.adds_up(), "{report:?}");
    target.finish().unwrap();
    report
}

/// The numbers of the set's records that are there.
fn there(place: &mut Place) -> Vec<i64> {
    let set = place.set.clone();
    (0..2 * RECORDS).filter(|n| place.client.get(&set, &int(*n)).is_some()).collect()
}

fn counts(report: &RestoreReport) -> [u64; 7] {
    [report.read, report.written, report.same, report.expired, report.exists, report.fresher, report.deleted]
}

#[test]
fn a_dry_run_counts_what_the_restore_then_does_and_changes_nothing() {
    let mut place = Place::new("ro-dry");
    let set = place.set.clone();
    let directory = tempfile::tempdir().unwrap();
    let snapshot = backed_up(&directory, &set, |_| {});
    for conflict in [ConflictPolicy::Keep, ConflictPolicy::Newer, ConflictPolicy::Merge, ConflictPolicy::Replace] {
        place.clear();
        (0..20).for_each(|n| {
            place.client.put(&set, &int(n), true, NEVER, &number(n));
        });
        // The snapshot lacks it.
        place.client.put(&set, &int(RECORDS), true, NEVER, &number(1));
        let mirror = conflict == ConflictPolicy::Replace;
        let selection = Selection::of_set(&set[..]);
        let options = RestoreOptions::default().conflict(conflict).mirror(mirror).selection(selection);
        let before = there(&mut place);
        let target = target(&place);
        let plan = snapshot.restore_plan(NAMESPACE, &target, &options).unwrap();
        let dry = plan.report().clone();
        assert_eq!(there(&mut place), before);
        assert_eq!(place.client.get(&set, &int(3)).unwrap().2.len(), 1);
        let real = plan.execute().unwrap();
        target.finish().unwrap();
        assert!(dry.adds_up() && real.adds_up(), "{dry:?} {real:?}");
        assert_eq!(counts(&dry), counts(&real), "{conflict:?}");
        assert_eq!(dry.deleted, u64::from(mirror));
        let asks = matches!(conflict, ConflictPolicy::Keep | ConflictPolicy::Newer);
        assert_eq!(dry.exists + dry.fresher, if asks { 20 } else { 0 });
    }
}

#[test]
fn a_resumed_restore_writes_what_the_target_lacks_and_what_has_changed_there() {
    let mut place = Place::new("ro-resume");
    let set = place.set.clone();
    let directory = tempfile::tempdir().unwrap();
    let snapshot = backed_up(&directory, &set, |_| {});
    let half: PartitionSet = (0..2048).filter_map(PartitionId::new).collect();
    let selection = Selection::default().partitions(half);
    let part = RestoreOptions::default().selection(selection);
    let done = restore(&snapshot, &target(&place), &part).written;
    assert!(done > 10 && done < RECORDS as u64 - 10, "{done}");
    let resume = RestoreOptions::default().resume(true);
    let in_half = |n: &i64| half.contains(Digest(digest(&set, &int(*n))).partition());
    // Those with GeoJSON have cells there.
    let same = (0..RECORDS).filter(in_half).count() as u64;
    let report = restore(&snapshot, &target(&place), &resume);
    assert_eq!((report.same, report.written), (same, RECORDS as u64 - same));
    assert_eq!(there(&mut place), (0..RECORDS).collect::<Vec<_>>());
    // What went, what changed, and what would now live for another time, is not taken for done.
    assert!(place.client.delete(&set, &int(0)));
    place.client.put(&set, &int(1), true, NEVER, &number(0));
    place.client.touch(&set, &int(2), 77);
    let other = r#"{"type":"Point","coordinates":[1.5,-2.5]}"#;
    let bins = [bin("n", 1, &7i64.to_be_bytes()), bin("text", 3, b"as backed up")];
    let moved = bin("at", 23, &[&[0; 3][..], other.as_bytes()].concat());
    place.client.put(&set, &int(7), true, NEVER, &[&bins[..], &[moved][..]].concat());
    let report = restore(&snapshot, &target(&place), &resume);
    assert_eq!(report.same, RECORDS as u64 - 4);
    let digests = [7, 4].map(|n| Digest(digest(&set, &int(n)))).into();
    let few = resume.clone().selection(Selection::of_digests(digests));
    assert_eq!(restore(&snapshot, &target(&place), &few).same, 2);
    place.clear();
    let report = restore(&snapshot, &target(&place), &resume);
    assert_eq!((report.same, report.written), (0, RECORDS as u64));
}

#[test]
fn a_mirror_deletes_what_the_snapshot_lacks_in_what_is_selected_and_nothing_else() {
    let mut place = Place::new("ro-mirror");
    let set = place.set.clone();
    let directory = tempfile::tempdir().unwrap();
    let snapshot = backed_up(&directory, &set, |store| {
        assert!(store.delete(NAMESPACE, &Digest(digest(b"ro-mirror", &int(5)))).unwrap());
    });
    let other = b"ro-mirror-2".to_vec();
    place.client.put(&other, &int(1), true, NEVER, &number(1));
    (0..2 * RECORDS).for_each(|n| {
        place.client.put(&set, &int(n), true, NEVER, &number(n));
    });
    let selection = Selection::of_set(&set[..]);
    let options = RestoreOptions::default().mirror(true).selection(selection);
    let target = target(&place);
    let surplus = RECORDS as u64 + 1;
    assert_eq!(snapshot.count_surplus(NAMESPACE, &target, &options).unwrap(), surplus);
    // In a part of the partitions first.
    let mut part = options.clone();
    part.selection.partitions = Some((1000..3000).filter_map(PartitionId::new).collect());
    let first = restore(&snapshot, &target, &part).deleted;
    assert!(first > 10 && first < surplus, "{first}");
    let report = restore(&snapshot, &target, &options);
    assert_eq!((report.deleted, report.not_deleted, report.written), (surplus - first, 0, RECORDS as u64 - 1));
    assert_eq!(there(&mut place), (0..RECORDS).filter(|n| *n != 5).collect::<Vec<_>>());
    assert!(place.client.get(&other, &int(1)).is_some());
    assert!(place.client.delete(&other, &int(1)));
    let verify = || snapshot.verify_restored(NAMESPACE, &target, &options, &report).unwrap().unwrap();
    let compared = verify();
    assert!(compared.is_same(), "{compared:?}");
    place.client.put(&set, &int(2 * RECORDS - 1), true, NEVER, &number(1));
    assert_eq!(verify().only_in_source, [Digest(digest(&set, &int(2 * RECORDS - 1)))]);
}

#[test]
fn what_was_written_is_read_back_and_every_difference_is_named() {
    let mut place = Place::new("ro-verify");
    let set = place.set.clone();
    let directory = tempfile::tempdir().unwrap();
    let snapshot = backed_up(&directory, &set, |_| {});
    let at = |n| Digest(digest(&set, &int(n)));
    let selections = [
        Selection::default(),
        Selection::of_set(&set[..]),
        Selection::of_digests([1, 7, 8, 9, 14].map(at).into()),
        Selection::default().partitions(PartitionSet::all()),
        Selection::default().bins(["text", "at"]),
    ];
    for selection in selections {
        for conflict in [ConflictPolicy::Replace, ConflictPolicy::Merge, ConflictPolicy::Keep] {
            place.clear();
            // Three that the target has: keep leaves them, merge adds to them.
            (7..10).for_each(|n| {
                place.client.put(&set, &int(n), true, NEVER, &[bin("mine", 1, &[1; 8])]);
            });
            let options = RestoreOptions::default().selection(selection.clone()).conflict(conflict);
            let target = target(&place);
            let report = restore(&snapshot, &target, &options);
            assert_eq!(report.exists, if conflict == ConflictPolicy::Keep { 3 } else { 0 });
            let verify = || {
                let compared = snapshot.verify_restored(NAMESPACE, &target, &options, &report);
                compared.unwrap().unwrap()
            };
            let compared = verify();
            assert!(compared.is_same(), "{conflict:?} {selection:?}: {compared:?}");
            assert_eq!(compared.records_in_snapshot, report.written, "{conflict:?} {selection:?}");
            assert!(compared.other_cells > 0);
            place.client.put(&set, &int(1), true, NEVER, &number(999));
            assert_eq!(verify().changed, [at(1)], "{conflict:?} {selection:?}");
            place.client.delete(&set, &int(1));
            let compared = verify();
            assert_eq!((compared.only_in_snapshot, compared.changed), (vec![at(1)], vec![]));
        }
    }
}

#[test]
fn selected_bins_are_merged_into_what_is_there() {
    let mut place = Place::new("ro-bins");
    let set = place.set.clone();
    let directory = tempfile::tempdir().unwrap();
    let snapshot = backed_up(&directory, &set, |_| {});
    place.client.put(&set, &int(1), true, NEVER, &[bin("mine", 1, &[1; 8]), bin("text", 3, b"newer")]);
    let with_bins = |names: &[&[u8]]| {
        RestoreOptions::default()
            .selection(Selection::of_set(&set[..]).bins(names.iter().map(|name| name.to_vec())))
            .conflict(ConflictPolicy::Merge)
    };
    let report = restore(&snapshot, &target(&place), &with_bins(&[b"text"]));
    assert_eq!((report.read, report.written, report.without_bins), (RECORDS as u64, RECORDS as u64, 0));
    let bins = place.client.get(&set, &int(1)).unwrap().2;
    assert_eq!(bins[&b"text"[..]].1, b"as backed up");
    assert_eq!(bins.keys().collect::<Vec<_>>(), [&b"mine"[..], b"text"]);
    assert_eq!(place.client.get(&set, &int(2)).unwrap().2.len(), 1);
    let report = restore(&snapshot, &target(&place), &with_bins(&[b"at", b"none"]));
    let with = (0..RECORDS).filter(|n| n % 7 == 0).count() as u64;
    assert_eq!((report.written, report.without_bins), (with, RECORDS as u64 - with));
}

#[test]
fn records_live_as_long_as_is_asked_for() {
    let mut place = Place::new("ro-ttl");
    let set = place.set.clone();
    let directory = tempfile::tempdir().unwrap();
    let snapshot = backed_up(&directory, &set, |_| {});
    let expiries = [(Expiry::AsBackedUp, LIFETIME), (Expiry::Later(1000), LIFETIME + 1000), (Expiry::Never, 0)];
    for (expiry, lifetime) in expiries {
        let target = target(&place);
        let now = (target.clock().unwrap().0 / 1000 - 1_262_304_000) as u32;
        restore(&snapshot, &target, &RestoreOptions::default().expiry(expiry));
        let mut void_time = |n: i64| place.client.get(&set, &int(n)).unwrap().1;
        let (found, expected) = (void_time(RECORDS - 1), if lifetime == 0 { 0 } else { now + lifetime });
        assert!(found.abs_diff(expected) < 20, "{expiry:?}: {found}, not {expected}");
        assert_eq!(void_time(0), 0);
    }
}

#[test]
fn indexes_come_first_or_last_or_not_at_all() {
    let mut place = Place::new("ro-index");
    let set = place.set.clone();
    let directory = tempfile::tempdir().unwrap();
    let index = SecondaryIndex {
        set: set.clone(),
        name: b"ro_n".to_vec(),
        kind: b'N',
        bin: b"n".to_vec(),
        value: b'N',
        ..SecondaryIndex::default()
    };
    let module = UdfModule { kind: b'L', name: b"ro.lua".to_vec(), content: b"-- a".to_vec() };
    let snapshot = backed_up(&directory, &set, |store| {
        store.put_index(NAMESPACE, index.clone()).unwrap();
        store.put_udf(NAMESPACE, module.clone()).unwrap();
    });
    let made = |place: &Place| {
        let there = place.source().metadata(NAMESPACE).unwrap();
        (there.indexes.contains(&index), there.udfs.contains(&module))
    };
    let remove = |place: &mut Place| {
        place.client.info("sindex-delete:ns=test;set=ro-index;indexname=ro_n");
        place.client.info("udf-remove:filename=ro.lua");
        let gone = (0..100).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(20));
            made(place) == (false, false)
        });
        assert!(gone, "they are still there");
    };
    let all = RestoreOptions::default;
    let cases = [
        (all(), (true, true)),
        (all().indexes_last(true), (true, true)),
        (all().without_indexes(true), (false, true)),
        (all().without_udfs(true), (true, false)),
        (all().without_indexes(true).without_udfs(true), (false, false)),
    ];
    for (options, expected) in cases {
        let target = target(&place);
        let planned = snapshot.restore_plan(NAMESPACE, &target, &options).unwrap().into_report();
        assert_eq!((made(&place), planned.remarks.omissions), ((false, false), vec![]));
        let restored = restore(&snapshot, &target, &options);
        assert_eq!((made(&place), restored.remarks.omissions), (expected, vec![]), "{options:?}");
        remove(&mut place);
    }
    if place.small.is_some() {
        // Into another namespace, under whose name they are then.
        let options = all().rename("bar".to_string());
        restore(&snapshot, &target(&place), &options);
        let there = place.source().metadata("bar").unwrap();
        assert!(there.indexes.contains(&index) && made(&place) == (false, true));
    }
}
