//! What becomes of a reading when servers misbehave: all records once, or an error that says why.

use super::{NAMESPACE, connect, quick, read, scan, walk};
use crate::support::cluster::client::{Client, digest};
use crate::support::cluster::data::{Bin, partition};
use crate::support::cluster::{Fault, On, TestCluster, serve_slow};
use aerolith::record::{PartitionId, PartitionSet, RecordBatch, RecordSelection};
use aerolith::store::MemoryStore;
use aerolith::{
    AerospikeSource, BackupKind, CreateOptions, KdfCost, PartitionedSource, RecordOptions, RecordSource, Repository,
    SessionOptions,
};
use std::sync::Arc;
use std::time::{Duration, Instant};

const RECORDS: usize = 400;

fn key(n: usize) -> Vec<u8> {
    format!("\x03key {n}").into_bytes()
}

fn bins(n: usize) -> Vec<Bin> {
    vec![(b"n".to_vec(), 1, (n as i64).to_be_bytes().to_vec()), (b"s".to_vec(), 3, vec![b'x'; n % 50])]
}

/// A cluster of so many nodes with records in all of them.
fn filled(nodes: usize) -> TestCluster {
    let cluster = TestCluster::start(nodes);
    let addresses: Vec<String> = (0..nodes).map(|node| cluster.address(node)).collect();
    let mut client = Client::connect(&addresses, NAMESPACE);
    for n in 0..RECORDS {
        client.put(b"", &key(n), true, u32::MAX, &bins(n));
    }
    cluster
}

fn source(cluster: &TestCluster) -> AerospikeSource {
    connect(&cluster.address(0), quick(b"")).unwrap()
}

fn at(n: usize) -> [u8; 20] {
    digest(b"", &key(n))
}

#[test]
fn all_nodes_are_found_from_one_seed() {
    let cluster = filled(3);
    assert_eq!(scan(&source(&cluster), None).unwrap().len(), RECORDS);
    assert_eq!(walk(&source(&cluster)).unwrap().len(), RECORDS);
}

#[test]
fn the_first_seed_that_answers_is_enough() {
    let cluster = filled(2);
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let source = connect(&format!("{unused},{}", cluster.address(1)), quick(b"")).unwrap();
    assert_eq!(scan(&source, None).unwrap().len(), RECORDS);
    let error = connect(&unused.to_string(), quick(b"")).err().unwrap().to_string();
    assert!(error.contains("no node of the cluster can be reached") && error.contains(&unused.to_string()), "{error}");
}

#[test]
fn an_admin_port_is_named_with_the_service_port_to_take_instead() {
    let cluster = filled(1);
    let admin = cluster.admin_port(0);
    let error = connect(&admin, quick(b"")).err().unwrap().to_string();
    for part in [&format!("{admin} is the admin port of node N0"), &format!("service port: {}", cluster.address(0))] {
        assert!(error.contains(part), "{part}: {error}");
    }
    let error = super::target(&admin, "/test").err().unwrap().to_string();
    assert!(error.contains("is the admin port of node N0"), "{error}");
}

#[test]
fn partitions_are_read_in_groups() {
    let cluster = filled(1);
    scan(&source(&cluster), None).unwrap();
    let queries = cluster.shared().log.iter().filter(|line| line.starts_with("scan")).count();
    assert_eq!(queries, 4096 / 64);
}

#[test]
fn a_passing_fault_costs_no_record_and_delivers_none_twice() {
    let faults = [
        Fault::Close(0),
        Fault::Close(1),
        Fault::Close(2),
        Fault::Refuse(22),
        Fault::Refuse(9),
        Fault::Version,
        Fault::Length(1 << 40),
        Fault::Length(127 << 20),
        Fault::Damage,
    ];
    for fault in faults {
        let cluster = filled(2);
        let source = source(&cluster);
        cluster.fault(0, On::Query, fault.clone(), 3);
        assert_eq!(scan(&source, None).unwrap().len(), RECORDS, "{fault:?}");
        cluster.fault(1, On::Query, fault.clone(), 3);
        assert_eq!(walk(&source).unwrap().len(), RECORDS, "{fault:?}");
        let digests: Vec<[u8; 20]> = (0..RECORDS).map(at).collect();
        cluster.fault(1, On::Batch, fault.clone(), 2);
        assert_eq!(read(&source, &digests).unwrap().len(), RECORDS, "{fault:?}");
        assert_eq!(source.take_bad_records(), (0, vec![]), "{fault:?}");
    }
}

#[test]
fn a_fault_that_stays_is_an_error_that_names_it() {
    let cluster = filled(2);
    let source = source(&cluster);
    cluster.fault(1, On::Query, Fault::Close(1), usize::MAX);
    let error = scan(&source, None).unwrap_err().to_string();
    assert!(error.contains("gave up after 4 attempts") && error.contains("closed the connection"), "{error}");
}

#[test]
fn a_silent_server_is_asked_again_after_the_socket_timeout() {
    let cluster = filled(1);
    let options = quick(b"").socket_timeout(Duration::from_millis(300));
    let source = connect(&cluster.address(0), options).unwrap();
    cluster.fault(0, On::Query, Fault::Slow(serve_slow()), 1);
    cluster.fault(0, On::Query, Fault::NoEnd, 1);
    assert_eq!(scan(&source, None).unwrap().len(), RECORDS);
}

#[test]
fn a_partition_is_read_from_its_new_owner() {
    let cluster = filled(2);
    let source = source(&cluster);
    for n in 0..RECORDS {
        let number = partition(&at(n));
        cluster.move_partition(number, Some(1 - usize::from(number % 2 == 1)));
    }
    assert_eq!(scan(&source, None).unwrap().len(), RECORDS);
    let digests: Vec<[u8; 20]> = (0..RECORDS).map(at).collect();
    cluster.move_partition(partition(&at(5)), Some(usize::from(partition(&at(5)) % 2)));
    assert_eq!(read(&source, &digests).unwrap().len(), RECORDS);
}

#[test]
fn a_node_that_leaves_is_replaced() {
    let cluster = filled(3);
    cluster.shared().copies = true;
    let source = source(&cluster);
    cluster.take_down(1, 2);
    assert_eq!(scan(&source, None).unwrap().len(), RECORDS);
    cluster.take_down(0, 2);
    assert_eq!(walk(&source).unwrap().len(), RECORDS);
}

#[test]
fn a_partition_that_is_unavailable_for_a_while_is_waited_for() {
    let cluster = filled(2);
    let source = source(&cluster);
    let number = partition(&at(7));
    cluster.fault(usize::from(number % 2), On::Query, Fault::Partition(number, 11), 2);
    assert_eq!(scan(&source, None).unwrap().len(), RECORDS);
}

#[test]
fn a_partition_that_servers_are_putting_together_is_waited_for_while_they_come_on() {
    for (migrations, waits) in [(1000, 9), (4, 9), (0, 3)] {
        let cluster = filled(2);
        let options = quick(b"").attempts(4);
        let source = connect(&cluster.address(0), options).unwrap();
        let number = partition(&at(7));
        cluster.shared().migrations = migrations;
        cluster.fault(usize::from(number % 2), On::Query, Fault::Partition(number, 11), waits);
        let found = scan(&source, None);
        match migrations {
            // Nothing moves any more, and the partition is still refused.
            4 => assert!(found.unwrap_err().to_string().contains("the partition is unavailable on this node")),
            _ => assert_eq!(found.unwrap().len(), RECORDS, "{migrations}"),
        }
    }
}

#[test]
fn a_partition_that_nobody_has_is_an_error_that_names_it() {
    let cluster = filled(2);
    let number = partition(&at(7));
    cluster.move_partition(number, None);
    let error = scan(&source(&cluster), None).unwrap_err().to_string();
    assert!(error.contains(&format!("partition {number} of namespace test")), "{error}");
}

#[test]
fn connections_that_servers_close_between_requests_are_made_anew() {
    let cluster = filled(2);
    let source = source(&cluster);
    assert_eq!(scan(&source, None).unwrap().len(), RECORDS);
    cluster.close_connections(None);
    assert!(source.clock().is_ok());
    cluster.close_connections(None);
    assert_eq!(walk(&source).unwrap().len(), RECORDS);
    cluster.close_connections(None);
    assert_eq!(read(&source, &[at(1)]).unwrap().len(), 1);
    cluster.close_connections(None);
    assert!(source.metadata(NAMESPACE).is_ok());
}

#[test]
fn connections_are_used_again() {
    let cluster = filled(2);
    let source = connect(&cluster.address(0), quick(b"").parallel(2)).unwrap();
    let before = cluster.connections();
    scan(&source, None).unwrap();
    walk(&source).unwrap();
    source.metadata(NAMESPACE).unwrap();
    assert!(cluster.connections() - before <= 8, "{} connections", cluster.connections() - before);
}

fn back_up(source: &dyn RecordSource, options: &RecordOptions) -> aerolith::Result<aerolith::Snapshot> {
    let create = CreateOptions::default().cost(KdfCost::WEAK);
    let repository = Repository::create(Arc::new(MemoryStore::new()), b"secret", &create)?;
    let about = SessionOptions::default().cluster("small");
    let mut session = repository.begin(about)?;
    session.records(NAMESPACE, source, BackupKind::Full, options)?;
    session.commit()
}

#[test]
fn a_record_that_cannot_be_understood_is_named_and_counted() {
    let cluster = filled(2);
    let bad = at(9);
    let node = usize::from(partition(&bad) % 2);
    let name = aerolith::record::Digest(bad).to_string();
    cluster.fault(node, On::Query, Fault::DuplicateBin(bad), usize::MAX);
    let source = source(&cluster);
    assert_eq!(scan(&source, None).unwrap().len(), RECORDS - 1);
    let (count, records) = source.take_bad_records();
    assert_eq!(count, 1);
    assert_eq!(records[0].place, format!("namespace test, digest {name}"));

    let error = back_up(&source, &RecordOptions::default()).err().unwrap().to_string();
    assert!(error.contains(&name) && error.contains("occurs twice"), "{error}");
    let skip = RecordOptions::default().skip_bad_records(true);
    let snapshot = back_up(&source, &skip).unwrap();
    let manifest = &snapshot.manifest().namespaces[0];
    assert_eq!((manifest.live_records, manifest.counts.bad), (RECORDS as u64 - 1, 1));
    assert_eq!(snapshot.manifest().missing.len(), 1);
}

#[test]
fn a_record_that_the_server_cannot_read_is_not_left_out_in_silence() {
    let cluster = filled(2);
    let bad = at(9);
    let node = usize::from(partition(&bad) % 2);
    // The query leaves it out and only counts it; by digest it can be read after all.
    cluster.fault(node, On::Query, Fault::Unreadable(bad, 1), usize::MAX);
    let source = source(&cluster);
    assert_eq!(scan(&source, None).unwrap().len(), RECORDS);
    assert_eq!(source.take_bad_records(), (0, vec![]));
    // Nor by digest: it is named.
    cluster.fault(node, On::Batch, Fault::Unreadable(bad, 1), usize::MAX);
    assert_eq!(scan(&source, None).unwrap().len(), RECORDS - 1);
    let (count, records) = source.take_bad_records();
    assert_eq!(count, 1);
    assert!(records[0].place.ends_with(&aerolith::record::Digest(bad).to_string()), "{records:?}");
    assert!(records[0].problem.contains("the server can't read it"), "{records:?}");
    // What the walk of an incremental asks for.
    let digests: Vec<[u8; 20]> = (0..RECORDS).map(at).collect();
    assert_eq!(read(&source, &digests).unwrap().len(), RECORDS - 1);
    assert_eq!(source.take_bad_records().0, 1);
}

#[test]
fn reading_keeps_below_the_records_per_second() {
    let cluster = filled(1);
    let options = quick(b"").records_per_second(800);
    let source = connect(&cluster.address(0), options).unwrap();
    let begun = Instant::now();
    assert_eq!(scan(&source, None).unwrap().len(), RECORDS);
    let took = begun.elapsed().as_secs_f64();
    assert!((0.4..3.0).contains(&took), "{RECORDS} records in {took} s");
}

#[test]
fn the_nodes_of_the_wanted_rack_are_asked_where_they_have_a_copy() {
    let cluster = filled(2);
    cluster.shared().nodes[0].rack = Some(1);
    cluster.shared().nodes[1].rack = Some(2);
    let asked = |rack: Option<u32>| {
        cluster.shared().log.clear();
        let source = connect(&cluster.address(0), quick(b"").racks(rack.into_iter().collect())).unwrap();
        assert_eq!(scan(&source, None).unwrap().len(), RECORDS);
        let log = cluster.shared().log.clone();
        [0, 1].map(|node| log.iter().any(|line| line.ends_with(&format!("on {node}"))))
    };
    // Without copies there is no choice.
    assert_eq!(asked(Some(2)), [true, true]);
    cluster.shared().copies = true;
    assert_eq!(asked(Some(2)), [false, true]);
    assert_eq!(asked(Some(1)), [true, false]);
    assert_eq!(asked(Some(3)), [true, true], "no node is in that rack");
    assert_eq!(asked(None), [true, true]);
    // The rack's node goes away: the others have the partitions too.
    let options = quick(b"").racks(vec![2]);
    let source = connect(&cluster.address(0), options).unwrap();
    cluster.fault(1, On::Query, Fault::Close(0), usize::MAX);
    cluster.take_down(1, 0);
    assert_eq!(scan(&source, None).unwrap().len(), RECORDS);
}

#[test]
fn the_clock_is_that_of_the_node_that_is_furthest_behind() {
    for behind in 0..2 {
        let cluster = filled(2);
        let before = source(&cluster).clock().unwrap();
        cluster.shared().nodes[behind].behind = 100;
        let after = source(&cluster).clock().unwrap();
        assert!((95_000..101_000).contains(&(before.0 - after.0)), "node {behind}: {before:?}, {after:?}");
    }
}

#[test]
fn seeds_of_different_clusters_are_refused() {
    let (one, other) = (filled(1), filled(1));
    other.shared().cluster_name = "other".into();
    let error = connect(&format!("{},{}", one.address(0), other.address(0)), quick(b"")).err().unwrap().to_string();
    assert!(error.contains("belongs to cluster \"other\"") && error.contains("\"small\""), "{error}");
}

#[test]
fn a_record_without_its_set_and_key_is_asked_for_again() {
    let cluster = filled(1);
    let mut client = Client::connect(&[cluster.address(0)], NAMESPACE);
    let digest = client.put(b"a set", &key(0), true, u32::MAX, &bins(0));
    // Refused, and gone in between.
    for code in [11, 2] {
        cluster.fault(0, On::Batch, Fault::RefuseIdentity(digest, code), 1);
        let found = read(&source(&cluster), &[digest]).unwrap();
        assert_eq!((&found[&digest].set[..], &found[&digest].key), (&b"a set"[..], &key(0)), "{code}");
    }
}

#[test]
fn a_user_key_that_cannot_be_read_by_digest_is_named() {
    let cluster = filled(1);
    let mut client = Client::connect(&[cluster.address(0)], NAMESPACE);
    // No client stores a key that is a floating-point number, but servers would keep it.
    let odd = [&[2][..], &1.5f64.to_be_bytes()].concat();
    let digest = client.put(b"", &odd, true, u32::MAX, &bins(0));
    let source = source(&cluster);
    assert_eq!(scan(&source, None).unwrap()[&digest].key, odd);
    assert!(read(&source, &[digest]).unwrap().is_empty());
    let (count, bad) = source.take_bad_records();
    assert!(count == 1 && bad[0].problem.contains("user key"), "{bad:?}");
}

#[test]
fn attempts_count_anew_once_there_was_progress() {
    let cluster = filled(1);
    let partitions: PartitionSet = (0..3).filter_map(|n| PartitionId::new(partition(&at(n)))).collect();
    let selection = RecordSelection::default().partitions(partitions);
    let source = connect(&cluster.address(0), quick(b"").selection(selection)).unwrap();
    // Of four attempts two bring nothing, the third all but one partition, the fourth nothing again.
    cluster.fault(0, On::Query, Fault::Close(0), 2);
    cluster.fault(0, On::Query, Fault::Partition(partition(&at(1)), 11), 3);
    let mut found = 0;
    for partition in partitions.iter() {
        let mut count = |batch: RecordBatch| {
            found += batch.len();
            Ok(())
        };
        source.scan(NAMESPACE, partition, None, &mut count).unwrap();
    }
    let asked = |n: usize| PartitionId::new(partition(&at(n))).is_some_and(|partition| partitions.contains(partition));
    assert_eq!(found, (0..RECORDS).filter(|&n| asked(n)).count());
}
