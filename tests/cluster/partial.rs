//! Backups of clusters of which a part can't be read.

use super::conformance::{bin, int, number};
use super::program::Place;
use super::{NAMESPACE, connect, quick};
use crate::support::cluster::client::{Client, digest};
use crate::support::cluster::data::{Digest as Raw, Record, partition};
use crate::support::cluster::{Fault, On, TestCluster};
use aerolith::format::snapshot::Unread;
use aerolith::record::Digest;
use aerolith::store::MemoryStore;
use aerolith::{BackupKind, CreateOptions, KdfCost, RecordOptions, Repository, SessionOptions, Snapshot};
use std::collections::BTreeMap;
use std::sync::Arc;

const RECORDS: i64 = 400;
const MINUTE: i64 = 60_000_000_000;

pub fn filled(nodes: usize) -> (TestCluster, Client) {
    let cluster = TestCluster::start(nodes);
    let addresses: Vec<String> = (0..nodes).map(|node| cluster.address(node)).collect();
    let mut client = Client::connect(&addresses, NAMESPACE);
    for n in 0..RECORDS {
        client.put(b"s", &int(n), true, u32::MAX, &number(n));
    }
    (cluster, client)
}

pub fn at(n: i64) -> Raw {
    digest(b"s", &int(n))
}

pub fn empty() -> Repository {
    let options = CreateOptions::default().cost(KdfCost::WEAK);
    Repository::create(Arc::new(MemoryStore::new()), b"secret", &options).unwrap()
}

fn back_up(
    repository: &Repository,
    cluster: &TestCluster,
    kind: BackupKind,
    allow_partial: bool,
) -> aerolith::Result<Snapshot> {
    let source = connect(&cluster.address(0), quick(b""))?;
    let about = SessionOptions::default().cluster("small");
    let mut session = repository.begin(about)?;
    session.records(NAMESPACE, &source, kind, &RecordOptions::default().allow_partial(allow_partial))?;
    session.commit()
}

/// What a snapshot must hold: the value of bin `n` by digest.
pub fn held(snapshot: &Snapshot) -> BTreeMap<Raw, Vec<u8>> {
    let view = snapshot.namespace(NAMESPACE).unwrap();
    let mut entries = view.entries().unwrap();
    let mut held = BTreeMap::new();
    while let Some(entry) = entries.next().unwrap() {
        let record = view.get(&entry.digest).unwrap().unwrap();
        held.insert(entry.digest.0, record.parse().unwrap().bins()[0].bytes.to_vec());
    }
    held
}

pub fn there(cluster: &TestCluster) -> BTreeMap<Raw, Vec<u8>> {
    let shared = cluster.shared();
    let records = &shared.namespaces[NAMESPACE].records;
    records.iter().map(|(at, record)| (*at, record.bins[0].2.clone())).collect()
}

fn lost_to_nobody(cluster: &TestCluster) -> Vec<u16> {
    let numbers: Vec<u16> = vec![partition(&at(3)), partition(&at(4)), partition(&at(5))];
    numbers.iter().for_each(|&number| cluster.move_partition(number, None));
    numbers
}

fn found_again(cluster: &TestCluster) {
    let shared_nodes = cluster.shared().nodes.len();
    let lost: Vec<u16> = (0..4096).filter(|number| cluster.shared().owners[usize::from(*number)].is_none()).collect();
    lost.iter().for_each(|&number| cluster.move_partition(number, Some(usize::from(number) % shared_nodes)));
}

#[test]
fn a_partition_that_cannot_be_read_fails_the_backup_unless_that_is_allowed() {
    let (cluster, _) = filled(2);
    let numbers = lost_to_nobody(&cluster);
    let repository = empty();
    let error = back_up(&repository, &cluster, BackupKind::Full, false).err().unwrap().to_string();
    assert!(numbers.iter().any(|number| error.contains(&format!("partition {number} of"))), "{error}");
    assert!(repository.snapshots().unwrap().snapshots.is_empty());

    let snapshot = back_up(&repository, &cluster, BackupKind::Full, true).unwrap();
    let namespace = &snapshot.manifest().namespaces[0];
    let unread: Vec<u16> = namespace.unread_partitions().iter().map(|partition| partition.number()).collect();
    let mut sorted = numbers.clone();
    sorted.sort_unstable();
    assert_eq!(unread, sorted);
    assert!(namespace.unread.iter().all(|range| range.as_of.is_none()), "{:?}", namespace.unread);
    let missing = &snapshot.manifest().missing;
    assert!(missing.len() == 1 && missing[0].contains("3 partitions (") && missing[0].contains("no node claims"));
    let mut expected = there(&cluster);
    expected.retain(|at, _| !numbers.contains(&partition(at)));
    assert_eq!(held(&snapshot), expected);
    assert_eq!(namespace.live_records, expected.len() as u64);
    let history = repository.history().unwrap();
    assert!(format!("{:?}", history.entries.last().unwrap().outcome()).contains("3 partitions ("));
}

#[test]
fn what_was_never_read_is_read_whole_by_the_next_backup_whatever_its_kind() {
    for kind in [BackupKind::Incremental, BackupKind::Differential, BackupKind::Full] {
        let (cluster, _) = filled(2);
        let numbers = lost_to_nobody(&cluster);
        let repository = empty();
        back_up(&repository, &cluster, BackupKind::Full, true).unwrap();
        found_again(&cluster);
        // The filter by last update would find none of these, and must not be asked for them.
        cluster.shared().clock_ahead = 10 * MINUTE;
        cluster.shared().log.clear();
        let snapshot = back_up(&repository, &cluster, kind, false).unwrap();
        assert_eq!(held(&snapshot), there(&cluster), "{kind}");
        assert!(snapshot.manifest().namespaces[0].unread.is_empty() && snapshot.manifest().missing.is_empty());
        let deleted = snapshot.manifest().namespaces[0].counts.deleted;
        assert_eq!((deleted, numbers.len()), (0, 3), "{kind}");
        if kind != BackupKind::Full {
            let batches = cluster.shared().log.iter().filter(|line| line.starts_with("batch")).count();
            assert_eq!(batches, 0, "{kind}: nothing is read by digest");
        }
        let full = back_up(&repository, &cluster, BackupKind::Full, false).unwrap();
        assert_eq!(full.manifest().namespaces[0].state_hash, snapshot.manifest().namespaces[0].state_hash, "{kind}");
    }
}

#[test]
fn an_unread_partition_stays_as_it_was_and_is_caught_up_from_when_it_was_read() {
    let (cluster, mut client) = filled(2);
    let repository = empty();
    let first = back_up(&repository, &cluster, BackupKind::Full, false).unwrap();
    let before = there(&cluster);
    // While nobody backs up: one record is deleted and written again, so that its generation is what it was; one is
    // gone.
    cluster.shared().clock_ahead = MINUTE;
    assert!(client.delete(b"s", &int(3)));
    client.put(b"s", &int(3), true, u32::MAX, &number(3333));
    assert!(client.delete(b"s", &int(4)));
    client.put(b"s", &int(50), true, u32::MAX, &number(5050));
    cluster.shared().clock_ahead = 2 * MINUTE;
    let numbers = lost_to_nobody(&cluster);
    let second = back_up(&repository, &cluster, BackupKind::Incremental, true).unwrap();
    let mut expected = there(&cluster);
    expected.retain(|at, _| !numbers.contains(&partition(at)));
    expected.extend(before.iter().filter(|(at, _)| numbers.contains(&partition(at))).map(|(at, v)| (*at, v.clone())));
    assert_eq!(held(&second), expected);
    let namespace = &second.manifest().namespaces[0];
    let as_of = Some(first.manifest().namespaces[0].source_time);
    assert!(namespace.unread.iter().all(|range| range.as_of == as_of), "{:?}", namespace.unread);
    assert_eq!(namespace.counts.deleted, 0);
    // Still away, and nothing else happens: the time is that of the first backup.
    cluster.shared().clock_ahead = 3 * MINUTE;
    let third = back_up(&repository, &cluster, BackupKind::Incremental, true).unwrap();
    assert_eq!(third.manifest().namespaces[0].unread, namespace.unread);
    assert_eq!(held(&third), expected);
    found_again(&cluster);
    cluster.shared().clock_ahead = 4 * MINUTE;
    let fourth = back_up(&repository, &cluster, BackupKind::Incremental, false).unwrap();
    assert_eq!(held(&fourth), there(&cluster));
    assert!(fourth.manifest().namespaces[0].unread.is_empty());
    assert_eq!(fourth.manifest().namespaces[0].counts.deleted, 1);
    assert_eq!(held(&fourth)[&at(3)], 3333_i64.to_be_bytes());
}

#[test]
fn a_node_that_goes_away_costs_its_partitions_alone() {
    let (cluster, _) = filled(2);
    let repository = empty();
    cluster.fault(1, On::Query, Fault::Close(0), usize::MAX);
    let snapshot = back_up(&repository, &cluster, BackupKind::Full, true).unwrap();
    let mut expected = there(&cluster);
    expected.retain(|at, _| partition(at).is_multiple_of(2));
    assert_eq!(held(&snapshot), expected);
    let unread = snapshot.manifest().namespaces[0].unread_partitions();
    assert!(unread.len() == 2048 && unread.iter().all(|partition| partition.number() % 2 == 1));
    assert_eq!(snapshot.manifest().namespaces[0].unread[1], Unread { first: 3, last: 3, as_of: None });
}

#[test]
fn a_batch_of_reads_that_fails_leaves_its_partition_unread() {
    let (cluster, mut client) = filled(1);
    let repository = empty();
    back_up(&repository, &cluster, BackupKind::Full, false).unwrap();
    cluster.pass(60);
    let record = Record { updated: 1, ..cluster.shared().namespaces[NAMESPACE].records[&at(7)].clone() };
    cluster.shared().namespaces.get_mut(NAMESPACE).unwrap().records.insert(at(5000), record);
    client.put(b"s", &int(8), true, u32::MAX, &[bin("n", 3, b"new")]);
    // Only a read by digest can have the first: its last update is long ago.
    cluster.fault(0, On::Batch, Fault::Close(0), usize::MAX);
    let snapshot = back_up(&repository, &cluster, BackupKind::Incremental, true).unwrap();
    let unread: Vec<_> = snapshot.manifest().namespaces[0].unread_partitions().iter().collect();
    assert_eq!(unread, [Digest(at(5000)).partition()]);
    let mut expected = there(&cluster);
    assert!(expected.remove(&at(5000)).is_some());
    assert_eq!(held(&snapshot), expected);
}

#[test]
fn a_cluster_of_which_nothing_can_be_read_leaves_no_snapshot() {
    let (cluster, _) = filled(1);
    let repository = empty();
    cluster.fault(0, On::Query, Fault::Refuse(22), usize::MAX);
    let error = back_up(&repository, &cluster, BackupKind::Full, true).err().unwrap().to_string();
    assert!(error.contains("no partition could be read"), "{error}");
    assert!(repository.snapshots().unwrap().snapshots.is_empty());
}

#[test]
fn every_command_says_what_was_not_read() {
    let (cluster, _) = filled(2);
    let place = Place::new();
    let url = format!("aerospike://{}/{NAMESPACE}", cluster.address(0));
    let numbers = lost_to_nobody(&cluster);
    let failed = place.run(&["backup", &url]);
    assert_eq!(failed.code, 1, "{failed:?}");
    let done = place.run(&["backup", &url, "--allow-partial"]);
    assert_eq!(done.code, 3, "{done:?}");
    assert!(done.out.contains("3 partitions (") && done.out.contains("never read"), "{done:?}");
    let shown = place.run(&["show", "latest"]);
    assert!(shown.code == 0 && shown.out.contains("not read     3 partitions ("), "{shown:?}");
    let json: serde_json::Value = serde_json::from_str(&place.run(&["show", "latest", "--json"]).out).unwrap();
    let unread = json["namespaces"][0]["unread"].as_array().unwrap();
    assert!(unread.len() == 3 && unread.iter().all(|range| range["as_of"].is_null()), "{json}");
    assert!(place.run(&["snapshots"]).out.contains("incomplete"));
    let digest = aerolith::record::Digest(at(3)).to_string();
    let got = place.run(&["get", &format!("latest:{NAMESPACE}"), "--digest", &digest]);
    let partition_3 = format!("Its partition, {}, could not be read", numbers[0]);
    assert!(got.code == 1 && got.err.contains(&partition_3), "{got:?}");
    let restored = place.run(&["restore", "latest", "jsonl:out.jsonl"]);
    assert!(restored.code == 3 && restored.err.contains("namespace test: 3 partitions ("), "{restored:?}");
    found_again(&cluster);
    let verified = place.run(&["verify", "latest", &url]);
    assert!(verified.code == 3 && verified.out.contains("not compared: test, 3 partitions ("), "{verified:?}");
    assert!(verified.out.contains("is as in snapshot"), "{verified:?}");
    let next = place.run(&["backup", &url, "--kind", "incremental"]);
    assert_eq!(next.code, 0, "{next:?}");
    assert_eq!(place.run(&["verify", "latest", &url]).code, 0);
    let differ = place.run(&["diff", "latest~1", "latest"]);
    assert!(differ.err.contains("never read") && differ.out.contains("added"), "{differ:?}");
}
