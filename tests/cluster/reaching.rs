//! How a cluster is reached: which copies are read, how long and how often it is asked, and which servers are refused.

use super::program::Place;
use super::{NAMESPACE, connect, joined, quick, read, scan, target};
use crate::support::cluster::client::{Client, digest};
use crate::support::cluster::data::Bin;
use crate::support::cluster::{Fault, On, TestCluster};
use aerolith::{AerospikeTarget, ClusterOptions, ClusterUrl, ConflictPolicy, RecordTarget, TlsOptions};
use std::net::TcpListener;
use std::time::{Duration, Instant};

const RECORDS: usize = 60;

fn key(n: usize) -> Vec<u8> {
    format!("\x03key {n}").into_bytes()
}

/// A cluster of so many nodes with records in all of them.
fn filled(nodes: usize) -> TestCluster {
    let cluster = TestCluster::start(nodes);
    let addresses: Vec<String> = (0..nodes).map(|node| cluster.address(node)).collect();
    let mut client = Client::connect(&addresses, NAMESPACE);
    let bins = |n: usize| -> Vec<Bin> { vec![(b"n".to_vec(), 1, (n as i64).to_be_bytes().to_vec())] };
    (0..RECORDS).for_each(|n| {
        client.put(b"", &key(n), true, u32::MAX, &bins(n));
    });
    cluster
}

/// Whether each node was queried.
fn asked<const N: usize>(cluster: &TestCluster) -> [bool; N] {
    let log = cluster.shared().log.clone();
    std::array::from_fn(|node| log.iter().any(|line| line.starts_with("scan") && line.ends_with(&format!("on {node}"))))
}

#[test]
fn racks_are_preferred_in_their_order_and_what_they_lack_is_read_elsewhere() {
    let cluster = filled(3);
    for node in 0..3 {
        cluster.shared().nodes[node].rack = Some(node as u32 + 1);
    }
    let read_from = |racks: &[u32]| -> [bool; 3] {
        cluster.shared().log.clear();
        let source = connect(&cluster.address(0), quick(b"").racks(racks.to_vec())).unwrap();
        assert_eq!(scan(&source, None).unwrap().len(), RECORDS);
        asked(&cluster)
    };
    assert_eq!(read_from(&[3, 1]), [true, true, true], "without copies there is no choice");
    cluster.shared().copies = true;
    assert_eq!(read_from(&[3, 1]), [false, false, true]);
    // Nobody is in the first, and the node of the second has no copy of some.
    assert_eq!(read_from(&[7, 2, 3]), [false, true, true]);
    cluster.shared().nodes[1].down = true;
    assert_eq!(read_from(&[2, 3, 1]), [false, false, true], "nobody is there in the first");
}

#[test]
fn while_a_node_is_gone_its_partitions_are_read_from_the_copies() {
    let cluster = filled(2);
    cluster.shared().copies = true;
    let source = connect(&cluster.address(0), quick(b"").attempts(2)).unwrap();
    // The other node goes on without it, and hasn't taken over its partitions.
    cluster.shared().nodes[1].down = true;
    cluster.close_connections(Some(1));
    assert_eq!(scan(&source, None).unwrap().len(), RECORDS);
    assert_eq!(asked(&cluster), [true, false]);
    let digests: Vec<[u8; 20]> = (0..RECORDS).map(|n| digest(b"", &key(n))).collect();
    assert_eq!(read(&source, &digests).unwrap().len(), RECORDS);
}

#[test]
fn where_a_node_fails_at_every_query_the_next_attempt_goes_to_a_copy() {
    let cluster = filled(2);
    cluster.shared().copies = true;
    let source = connect(&cluster.address(0), quick(b"").attempts(2)).unwrap();
    cluster.fault(1, On::Query, Fault::Close(0), usize::MAX);
    assert_eq!(scan(&source, None).unwrap().len(), RECORDS);
    cluster.fault(1, On::Batch, Fault::Close(0), usize::MAX);
    let digests: Vec<[u8; 20]> = (0..RECORDS).map(|n| digest(b"", &key(n))).collect();
    assert_eq!(read(&source, &digests).unwrap().len(), RECORDS);
}

#[test]
fn servers_before_release_6_0_are_refused_with_the_release_that_they_have() {
    let cluster = filled(2);
    cluster.shared().build = "5.7.0.31".into();
    let errors = [
        connect(&cluster.address(0), quick(b"")).err().unwrap().to_string(),
        target(&cluster.address(0), "").err().unwrap().to_string(),
    ];
    for error in errors {
        assert!(error.contains("node N0 runs release 5.7.0.31") && error.contains("6.0 or newer"), "{error}");
    }
    cluster.shared().build = "6.0.0.0".into();
    assert_eq!(scan(&connect(&cluster.address(0), quick(b"")).unwrap(), None).unwrap().len(), RECORDS);
}

#[test]
fn a_server_that_takes_connections_and_says_nothing_is_left_after_the_connect_timeout() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let short = || quick(b"").connect_timeout(Duration::from_millis(300));
    let begun = Instant::now();
    let tls = TlsOptions::default().authorities(super::login::pem("ca.pem")).name("server.test".to_string());
    let error = connect(&address, short().tls(tls)).err().unwrap().to_string();
    assert!(error.contains("begin TLS with") && error.contains("within the timeout"), "{error}");
    let user = super::login::options("ada", "password").connect_timeout(Duration::from_millis(300));
    let error = connect(&address, user).err().unwrap().to_string();
    assert!(error.contains("within the timeout"), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

/// Reads a cluster that answers no query, and gives back the error and how long it took.
fn in_vain(options: ClusterOptions) -> (String, Duration) {
    let cluster = filled(1);
    let source = connect(&cluster.address(0), options).unwrap();
    cluster.fault(0, On::Query, Fault::Close(0), usize::MAX);
    let begun = Instant::now();
    let error = scan(&source, None).unwrap_err().to_string();
    (error, begun.elapsed())
}

#[test]
fn the_wait_between_attempts_begins_as_asked_for_and_doubles() {
    let wait = Duration::from_millis(300);
    let (error, took) = in_vain(quick(b"").attempts(3).retry_wait(wait));
    assert!(error.contains("after 3 attempts"), "{error}");
    assert!((wait * 3..wait * 10).contains(&took), "{took:?}");
    let (_, took) = in_vain(quick(b"").attempts(3).retry_wait(Duration::ZERO));
    assert!(took < wait * 3, "{took:?}");
}

#[test]
fn reading_in_vain_ends_with_the_total_timeout_however_many_attempts_are_left() {
    let (error, took) = in_vain(quick(b"").attempts(u32::MAX).total_timeout(Duration::from_secs(1)));
    assert!(error.contains("gave up after 1 s, as `total_timeout` says"), "{error}");
    assert!((Duration::from_secs(1)..Duration::from_secs(8)).contains(&took), "{took:?}");
}

#[test]
fn writing_in_vain_ends_with_the_total_timeout_even_if_the_servers_are_overloaded() {
    let from = filled(1);
    let source = connect(&from.address(0), quick(b"")).unwrap();
    let batch = joined(&super::batches(&source));
    let to = TestCluster::start(1);
    to.fault(0, On::Batch, Fault::Refuse(18), usize::MAX);
    let url = ClusterUrl::parse(&format!("aerospike://{}/{NAMESPACE}", to.address(0))).unwrap();
    let options = quick(b"").total_timeout(Duration::from_secs(1));
    let target = AerospikeTarget::connect(&url, options).unwrap();
    let begun = Instant::now();
    let error = target.write(NAMESPACE, &batch, ConflictPolicy::Replace).unwrap_err().to_string();
    assert!(error.contains("overloaded: nothing was taken for 1 s"), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
}

#[test]
fn the_programs_options_say_from_where_how_often_and_how_long_it_reads() {
    let (cluster, place) = (filled(3), Place::new());
    for node in 0..3 {
        cluster.shared().nodes[node].rack = Some(node as u32 + 1);
    }
    cluster.shared().copies = true;
    let run = |address: &str, options: &[&str]| {
        cluster.shared().log.clear();
        let (begun, url) = (Instant::now(), format!("aerospike://{address}/{NAMESPACE}"));
        let done = place.run(&[&["backup", &url, "--kind", "full", "--quiet"], options].concat());
        (done.err, begun.elapsed())
    };
    let address = cluster.address(0);
    assert_eq!((run(&address, &["--rack", "3,1"]).0, asked(&cluster)), (String::new(), [false, false, true]));
    (0..3).for_each(|node| cluster.fault(node, On::Query, Fault::Close(0), usize::MAX));
    let (error, took) = run(&address, &["--attempts", "3", "--retry-wait", "2500"]);
    assert!(error.contains("gave up after 3 attempts") && took >= Duration::from_secs(5), "{took:?}: {error}");
    let (error, _) = run(&address, &["--attempts", "20", "--total-timeout", "1"]);
    assert!(error.contains(" s, as --total-timeout says"), "{error}");

    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let ca = super::login::file("ca.pem");
    let quick = ["--tls-ca", ca.to_str().unwrap(), "--connect-timeout", "1"];
    let address = silent.local_addr().unwrap().to_string();
    // Five seconds, if it were not for the option. On a busy machine it may take as long: then once more.
    let in_time = |_| {
        let (error, took) = run(&address, &quick);
        assert!(error.contains("within the timeout"), "{error}");
        took < Duration::from_secs(5)
    };
    assert!((0..3).any(in_time));
}
