//! Clusters that lose data under a backup, between two of them, and under a restore.

use super::conformance::{int, number};
use super::partial::{at, empty, filled};
use super::program::Place;
use super::{NAMESPACE, connect, quick};
use crate::support::cluster::client::Client;
use crate::support::cluster::{TestCluster, serve_slow};
use crate::support::watching::{Asked, Watch, Watching};
use aerolith::record::{NamespaceMetadata, PartitionId, PartitionSet};
use aerolith::{
    AerospikeSource, BackupKind, CompareOptions, ConflictPolicy, PartitionedSource, RecordOptions, RecordSource,
    RecordTarget, Repository, Selection, SessionOptions, Snapshot,
};

const RECORDS: u64 = 400;

/// A cluster to which something happens once all its records were read: right before a backup asks for its indexes and
/// UDF modules, and before a comparison ends.
struct AfterRecords<'a> {
    source: AerospikeSource,
    happens: &'a (dyn Fn() + Sync),
}

impl Watch for AfterRecords<'_> {
    type Source = AerospikeSource;

    fn source(&self) -> &AerospikeSource {
        &self.source
    }

    fn asked(&self, asked: Asked) -> aerolith::Result<()> {
        if matches!(asked, Asked::Metadata | Asked::CheckLosses) {
            (self.happens)();
        }
        Ok(())
    }
}

fn session_of(
    repository: &Repository,
    source: &dyn RecordSource,
    kind: BackupKind,
    options: &RecordOptions,
) -> aerolith::Result<Snapshot> {
    let mut session = repository.begin(SessionOptions::default())?;
    session.records(NAMESPACE, source, kind, options)?;
    session.commit()
}

fn back_up(repository: &Repository, cluster: &TestCluster, kind: BackupKind) -> aerolith::Result<Snapshot> {
    let source = connect(&cluster.address(0), quick(b""))?;
    session_of(repository, &source, kind, &RecordOptions::default())
}

/// Deletes records through fresh connections: those of before a restart are broken.
fn delete(cluster: &TestCluster, numbers: impl Iterator<Item = i64>) {
    let nodes = cluster.shared().nodes.len();
    let addresses: Vec<String> = (0..nodes).map(|node| cluster.address(node)).collect();
    let mut client = Client::connect(&addresses, NAMESPACE);
    numbers.for_each(|n| assert!(client.delete(b"s", &int(n))));
}

fn url(cluster: &TestCluster) -> String {
    format!("aerospike://{}/{NAMESPACE}", cluster.address(0))
}

#[test]
fn a_server_that_comes_back_empty_under_a_backup_is_named_and_nothing_is_committed() {
    let (cluster, _) = filled(1);
    let repository = empty();
    let source = connect(&cluster.address(0), quick(b"")).unwrap();
    cluster.restart(0);
    let error =
        session_of(&repository, &source, BackupKind::Full, &RecordOptions::default()).err().unwrap().to_string();
    assert!(error.contains("may be lost") && error.contains("N0 was restarted"), "{error}");
    assert!(repository.snapshots().unwrap().snapshots.is_empty());
}

#[test]
fn a_server_that_comes_back_with_its_records_is_read_on() {
    let (cluster, _) = filled(1);
    cluster.shared().on_device = true;
    let source = connect(&cluster.address(0), quick(b"")).unwrap();
    cluster.restart(0);
    let snapshot = session_of(&empty(), &source, BackupKind::Full, &RecordOptions::default()).unwrap();
    assert_eq!(snapshot.manifest().namespaces[0].live_records, RECORDS);
}

#[test]
fn what_a_killed_node_alone_had_is_not_read_from_its_heir() {
    let (cluster, _) = filled(3);
    let repository = empty();
    let whole = back_up(&repository, &cluster, BackupKind::Full).unwrap();
    let source = connect(&cluster.address(0), quick(b"")).unwrap();
    cluster.kill(1, 2);
    // Nodes came and went once more, and speak of it no more.
    cluster.shared().fresh_told = 0;
    let error =
        session_of(&repository, &source, BackupKind::Full, &RecordOptions::default()).err().unwrap().to_string();
    assert!(error.contains("N1 is gone"), "{error}");
    let partial = RecordOptions::default().allow_partial(true);
    let some = session_of(&repository, &source, BackupKind::Full, &partial).unwrap();
    let (manifest, namespace) = (some.manifest(), &some.manifest().namespaces[0]);
    assert!(manifest.missing[0].contains("1365 partitions (1,4,7,"), "{:?}", manifest.missing);
    assert_eq!(namespace.unread_partitions().len(), 1365);
    // They stay as they were.
    assert_eq!((namespace.live_records, namespace.counts.deleted), (RECORDS, 0));
    assert_eq!(namespace.state_hash, whole.manifest().namespaces[0].state_hash);
}

#[test]
fn with_copies_nodes_may_be_restarted_one_after_the_other() {
    let (cluster, _) = filled(3);
    cluster.shared().copies = true;
    let repository = empty();
    back_up(&repository, &cluster, BackupKind::Full).unwrap();
    delete(&cluster, 7..8);
    let source = connect(&cluster.address(0), quick(b"")).unwrap();
    cluster.restart(1);
    let read = session_of(&repository, &source, BackupKind::Full, &RecordOptions::default()).unwrap();
    assert_eq!(read.manifest().namespaces[0].live_records, RECORDS - 1);
    // Between two backups all of them are.
    (0..3).for_each(|node| cluster.restart(node));
    delete(&cluster, 8..9);
    for kind in [BackupKind::Incremental, BackupKind::Full] {
        let snapshot = back_up(&repository, &cluster, kind).unwrap();
        assert_eq!(snapshot.manifest().namespaces[0].live_records, RECORDS - 2, "{kind}");
    }
}

#[test]
fn a_node_that_joins_and_takes_partitions_over_loses_nothing() {
    let (cluster, _) = filled(3);
    // At first the last node has nothing.
    (0..4096).for_each(|number| cluster.move_partition(number, Some(usize::from(number % 2))));
    let repository = empty();
    back_up(&repository, &cluster, BackupKind::Full).unwrap();
    let source = connect(&cluster.address(0), quick(b"")).unwrap();
    (0..4096).step_by(3).for_each(|number| cluster.move_partition(number, Some(2)));
    let snapshot = session_of(&repository, &source, BackupKind::Full, &RecordOptions::default()).unwrap();
    assert_eq!(snapshot.manifest().namespaces[0].live_records, RECORDS);
    let snapshot = back_up(&repository, &cluster, BackupKind::Incremental).unwrap();
    assert_eq!(snapshot.manifest().namespaces[0].live_records, RECORDS);
}

#[test]
fn what_was_lost_between_two_backups_is_not_taken_for_deleted_unless_told() {
    let (cluster, _) = filled(2);
    let place = Place::new();
    let url = url(&cluster);
    assert_eq!(place.run(&["backup", &url]).code, 0);
    cluster.restart(1);
    cluster.shared().fresh_told = 0;
    for kind in ["incremental", "differential", "full"] {
        let refused = place.run(&["backup", &url, "--kind", kind]);
        assert_eq!(refused.code, 1, "{refused:?}");
        for part in ["may have lost data", "N1 was restarted", "--accept-loss", "records that snapshot"] {
            assert!(refused.err.contains(part), "{part}: {refused:?}");
        }
    }
    let partial = place.run(&["backup", &url, "--allow-partial", "--socket-timeout", "2", "--json"]);
    assert_eq!(partial.code, 3, "{partial:?}");
    let json: serde_json::Value = serde_json::from_str(&partial.out).unwrap();
    assert_eq!(
        (&json["namespaces"][0]["live_records"], &json["namespaces"][0]["counts"]["deleted"]),
        (&400.into(), &0.into())
    );
    assert!(json["missing"][0].as_str().unwrap().contains("may have lost data"), "{json}");
    // What the partial snapshot has from before is in doubt still.
    for kind in ["incremental", "full"] {
        let refused = place.run(&["backup", &url, "--kind", kind]);
        assert!(refused.code == 1 && refused.err.contains("may have lost data"), "{refused:?}");
    }
    let again = place.run(&["backup", &url, "--allow-partial", "--json"]);
    assert!(again.code == 3 && again.out.contains("\"live_records\":400"), "{again:?}");
    // Once the records are back, all is well again.
    let mut client = Client::connect(&[cluster.address(0), cluster.address(1)], NAMESPACE);
    (0..400).for_each(|n| {
        client.put(b"s", &int(n), true, u32::MAX, &number(n));
    });
    let whole = place.run(&["backup", &url, "--kind", "incremental", "--json"]);
    assert!(whole.code == 0 && whole.out.contains("\"live_records\":400"), "{whole:?}");
    cluster.restart(1);
    let accepted = place.run(&["backup", &url, "--accept-loss", "--json"]);
    assert!(accepted.code == 0 && accepted.err.contains("it is treated as deleted"), "{accepted:?}");
    let json: serde_json::Value = serde_json::from_str(&accepted.out).unwrap();
    assert!(json["namespaces"][0]["counts"]["deleted"].as_u64().unwrap() > 100, "{json}");
    let next = place.run(&["backup", &url, "--kind", "incremental"]);
    assert_eq!(next.code, 0, "{next:?}");
}

#[test]
fn what_is_lost_after_the_last_record_was_read_is_not_taken_for_deleted_by_the_next_backup() {
    for accepts in [false, true] {
        let (cluster, _) = filled(2);
        let repository = empty();
        let lose = || {
            cluster.restart(1);
            cluster.shared().fresh_told = 0;
        };
        let source = connect(&cluster.address(0), quick(b"")).unwrap();
        let source = Watching(AfterRecords { source, happens: &lose });
        let whole = session_of(&repository, &source, BackupKind::Full, &RecordOptions::default()).unwrap();
        assert_eq!((whole.manifest().namespaces[0].live_records, whole.manifest().missing.len()), (RECORDS, 0));
        for kind in [BackupKind::Incremental, BackupKind::Full] {
            let refused = back_up(&repository, &cluster, kind).err().unwrap().to_string();
            for part in ["may have lost data", "no node had 2048 partitions (1,3,5,"] {
                assert!(refused.contains(part), "{part}: {refused}");
            }
        }
        let options = RecordOptions::default().accept_loss(accepts).allow_partial(!accepts);
        let source = connect(&cluster.address(0), quick(b"")).unwrap();
        let next = session_of(&repository, &source, BackupKind::Incremental, &options).unwrap();
        let namespace = &next.manifest().namespaces[0];
        assert_eq!((namespace.counts.deleted > 100, namespace.live_records == RECORDS), (accepts, !accepts));
        if accepts {
            let after = back_up(&repository, &cluster, BackupKind::Incremental).unwrap();
            assert_eq!(after.manifest().namespaces[0].counts.deleted, 0);
        }
    }
}

#[test]
fn deletes_and_truncations_are_no_losses_even_after_restarts() {
    let (cluster, _) = filled(2);
    cluster.shared().copies = true;
    let repository = empty();
    back_up(&repository, &cluster, BackupKind::Full).unwrap();
    (0..2).for_each(|node| cluster.restart(node));
    delete(&cluster, (0..100).map(|n| n * 3));
    let snapshot = back_up(&repository, &cluster, BackupKind::Incremental).unwrap();
    assert_eq!(snapshot.manifest().namespaces[0].counts.deleted, 100);
    (0..2).for_each(|node| cluster.restart(node));
    cluster.truncate(NAMESPACE, b"s");
    let snapshot = back_up(&repository, &cluster, BackupKind::Incremental).unwrap();
    assert_eq!(snapshot.manifest().namespaces[0].counts.deleted, 300);
}

#[test]
fn the_first_backup_of_a_cluster_that_just_lost_partitions_is_refused_unless_told() {
    let (cluster, _) = filled(3);
    cluster.kill(1, 2);
    let place = Place::new();
    let url = url(&cluster);
    let refused = place.run(&["backup", &url]);
    assert!(refused.code == 1 && refused.err.contains("1365 of 4096 partitions had no copy left"), "{refused:?}");
    let partial = place.run(&["backup", &url, "--allow-partial"]);
    assert!(partial.code == 3 && partial.out.contains("missing: namespace test may have lost data"), "{partial:?}");
    assert_eq!(place.run(&["backup", &url, "--accept-loss"]).code, 0);
    // It is known now, and told no more.
    let next = place.run(&["backup", &url, "--kind", "incremental"]);
    assert_eq!(next.code, 0, "{next:?}");
}

#[test]
fn a_set_that_is_not_there_is_named_unless_an_earlier_backup_found_it() {
    let (cluster, _) = filled(2);
    let place = Place::new();
    let url = url(&cluster);
    let refused = place.run(&["backup", &url, "--set", "nosuchset"]);
    assert!(
        refused.code == 1 && refused.err.contains("set nosuchset isn't in namespace test; its sets are: s"),
        "{refused:?}"
    );
    let refused = place.run(&["backup", &url, "--set", "s", "--set", "t"]);
    assert!(refused.code == 1 && refused.err.contains("set t isn't in namespace test"), "{refused:?}");
    assert!(place.repository().snapshots().unwrap().snapshots.is_empty());
    assert_eq!(place.run(&["backup", &url, "--set", "s"]).code, 0);
    // Emptied, and forgotten by the servers.
    let all: Vec<_> = cluster.shared().namespaces[NAMESPACE].records.keys().copied().collect();
    cluster.shared().namespaces.get_mut(NAMESPACE).unwrap().records.clear();
    let emptied = place.run(&["backup", &url, "--set", "s", "--json"]);
    assert!(emptied.code == 0 && emptied.out.contains(&format!("\"deleted\":{}", all.len())), "{emptied:?}");
}

#[test]
fn a_node_that_stands_still_is_not_read_from_its_heir_meanwhile() {
    let (cluster, _) = filled(2);
    let source = connect(&cluster.address(0), quick(b"")).unwrap();
    // The other one makes new partitions for those that are away, and gives them back.
    let before: Vec<_> = cluster.shared().owners.clone();
    cluster.take_down(1, 0);
    let records = std::mem::take(&mut cluster.shared().namespaces.get_mut(NAMESPACE).unwrap().records);
    let read = std::thread::scope(|scope| {
        let back = scope.spawn(|| {
            std::thread::sleep(serve_slow());
            let mut shared = cluster.shared();
            shared.namespaces.get_mut(NAMESPACE).unwrap().records = records;
            shared.owners = before;
            shared.nodes[1].down = false;
            (shared.generation, shared.regime, shared.key) = (shared.generation + 1, shared.regime + 1, shared.key + 1);
        });
        let mut found = 0;
        for partition in PartitionId::all().filter(|partition| partition.number() % 2 == 1) {
            let counted = source.scan(NAMESPACE, partition, None, &mut |batch| {
                found += batch.len();
                Ok(())
            });
            counted.unwrap();
        }
        back.join().unwrap();
        found
    });
    let odd = (0..RECORDS as i64).filter(|n| crate::support::cluster::data::partition(&at(*n)) % 2 == 1).count();
    assert_eq!(read, odd);
}

#[test]
fn a_restore_into_a_server_that_comes_back_empty_fails_and_names_it() {
    let (cluster, _) = filled(2);
    let place = Place::new();
    let url = url(&cluster);
    assert_eq!(place.run(&["backup", &url]).code, 0);
    cluster.shared().namespaces.get_mut(NAMESPACE).unwrap().records.clear();
    let failed = std::thread::scope(|scope| {
        let restore = scope.spawn(|| place.run(&["restore", "latest:test", &url, "--records-per-second", "100"]));
        while cluster.shared().namespaces[NAMESPACE].records.len() < 40 {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        cluster.restart(1);
        restore.join().unwrap()
    });
    assert_eq!(failed.code, 1, "{failed:?}");
    for part in ["may be lost", "N1", "restarted"] {
        assert!(failed.err.contains(part), "{part}: {failed:?}");
    }
    let again = place.run(&["restore", "latest:test", &url, "--resume", "--verify"]);
    assert_eq!(again.code, 0, "{again:?}");
    assert_eq!(cluster.shared().namespaces[NAMESPACE].records.len() as u64, RECORDS);
}

#[test]
fn what_is_lost_while_a_snapshot_is_compared_is_noticed_at_the_end_where_it_was_read() {
    let (cluster, _) = filled(2);
    let snapshot = back_up(&empty(), &cluster, BackupKind::Full).unwrap();
    let compare = |partitions: Option<PartitionSet>| {
        let lose = || cluster.restart(1);
        let source = connect(&cluster.address(0), quick(b"")).unwrap();
        let source = Watching(AfterRecords { source, happens: &lose });
        let selection = Selection::default().partitions(partitions);
        let options = CompareOptions::default().selection(selection).within(true);
        snapshot.compare(NAMESPACE, &source, &options)
    };
    let error = compare(None).unwrap_err().to_string();
    for part in ["what was read of 2048 partitions (1,3,5,", "may be lost", "N1"] {
        assert!(error.contains(part), "{part}: {error}");
    }
    let of_the_other = PartitionId::all().filter(|partition| partition.number() % 2 == 0).collect();
    assert!(compare(Some(of_the_other)).unwrap().is_same());
}

#[test]
fn what_is_lost_after_the_last_write_of_a_restore_is_noticed_at_its_end() {
    let (cluster, _) = filled(2);
    let source = connect(&cluster.address(0), quick(b"")).unwrap();
    let batch = super::joined(&super::batches(&source));
    let target = super::target(&cluster.address(0), "").unwrap();
    target.begin(NAMESPACE, &NamespaceMetadata::default()).unwrap();
    assert_eq!(target.write(NAMESPACE, &batch, ConflictPolicy::Replace).unwrap().written, RECORDS);
    target.finish().unwrap();
    cluster.restart(1);
    let error = target.finish().unwrap_err().to_string();
    assert!(
        error.contains("2048 partitions (1,3,5,") && error.contains("may be lost") && error.contains("N1"),
        "{error}"
    );
}

#[test]
fn a_restore_goes_on_over_restarts_one_after_the_other_where_there_are_copies() {
    let (cluster, _) = filled(2);
    cluster.shared().copies = true;
    let place = Place::new();
    let url = url(&cluster);
    assert_eq!(place.run(&["backup", &url]).code, 0);
    cluster.shared().namespaces.get_mut(NAMESPACE).unwrap().records.clear();
    let done = std::thread::scope(|scope| {
        let restore = scope.spawn(|| place.run(&["restore", "latest:test", &url, "--records-per-second", "60"]));
        for (node, at) in [(0, 20), (1, 340)] {
            while cluster.shared().namespaces[NAMESPACE].records.len() < at {
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            cluster.restart(node);
        }
        restore.join().unwrap()
    });
    assert_eq!(done.code, 0, "{done:?}");
    assert_eq!(cluster.shared().namespaces[NAMESPACE].records.len() as u64, RECORDS);
}

#[test]
fn a_cluster_whose_clock_was_set_back_is_read_whole_and_that_is_said() {
    let (cluster, mut client) = filled(2);
    let place = Place::new();
    let url = url(&cluster);
    assert_eq!(place.run(&["backup", &url]).code, 0);
    cluster.shared().clock_ahead = -100_000_000_000;
    // Deleted and rewritten, a record has the generation that it had.
    (0..40).for_each(|n| {
        assert!(client.delete(b"s", &int(n)));
        client.put(b"s", &int(n), true, u32::MAX, &number(n + 1));
    });
    let next = place.run(&["backup", &url, "--kind", "incremental", "--json"]);
    assert_eq!(next.code, 0, "{next:?}");
    let json: serde_json::Value = serde_json::from_str(&next.out).unwrap();
    assert_eq!(json["namespaces"][0]["counts"]["changed"], 40, "{json}");
    assert!(next.err.contains("is behind the time of an earlier backup"), "{next:?}");
    assert_eq!(place.run(&["verify", "latest", &url]).code, 0);
    // The next one finds its parent's time behind its own again.
    let after = place.run(&["backup", &url, "--kind", "incremental"]);
    assert!(after.code == 0 && !after.err.contains("is behind"), "{after:?}");
}
