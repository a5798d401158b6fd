//! What servers count beside what they send: incrementals rest on it.

use super::conformance::{NEVER, Place, bin, int, number};
use crate::support::cluster::client::Client;
use crate::support::cluster::{Moment, TestCluster};

const STATISTICS: [&str; 4] = ["recs-filtered-meta", "recs-filtered-bins", "recs-succeeded", "recs-failed"];

/// Last updated before the first nanosecond: no record was.
const NONE: &[u8] = &[0x93, 5, 0x91, 66, 1];

/// The integer in bin `n` is at least 20.
const BIN_FROM_20: &[u8] = &[0x93, 4, 0x93, 81, 2, 0xa1, b'n', 20];

/// Both.
fn both(one: &[u8], other: &[u8]) -> Vec<u8> {
    [&[0x93, 16], one, other].concat()
}

#[test]
fn a_query_tells_how_many_live_records_of_its_set_its_filter_excluded() {
    let mut place = Place::new("cf-counts");
    let set = place.set.clone();
    let counted = place.client.counted();
    for n in 0..60 {
        place.client.put(&set, &int(n), n % 2 == 0, if n < 50 { NEVER } else { 1 }, &number(n));
    }
    place.client.put(b"cf-other", &int(0), true, NEVER, &number(0));
    match &place.small {
        Some(small) => small.pass(5),
        None => std::thread::sleep(std::time::Duration::from_secs(3)),
    }
    let mut query = |set: &[u8], filter: &[u8], bins| place.client.query(set, filter, bins, &STATISTICS);
    // What has expired is in no number.
    assert_eq!(query(&set, NONE, true), (0, vec![50, 0, 0, 0]));
    assert_eq!(query(&set, BIN_FROM_20, true), (30, vec![0, 20, 30, 0]));
    assert_eq!(query(&set, &both(NONE, BIN_FROM_20), true), (0, vec![50, 0, 0, 0]));
    assert_eq!(query(&set, b"", false), (50, vec![0, 0, 50, 0]));
    assert_eq!(query(b"cf-other", NONE, false), (0, vec![1, 0, 0, 0]));
    if let Some(small) = &place.small {
        // The other set's too.
        assert_eq!(place.client.counted(), counted + 61);
        small.shared().sweep();
        assert_eq!(place.client.counted(), counted + 51);
        small.shared().slow_truncation = true;
        small.truncate("test", &set);
        let (came, statistics) = place.client.query(&set, NONE, false, &STATISTICS);
        assert_eq!((came, &statistics[..], place.client.counted()), (0, &[0, 0, 0, 0][..], counted + 51));
        small.shared().end_truncations();
        assert_eq!(place.client.counted(), counted + 1);
    }
    place.client.delete(b"cf-other", &int(0));
}

#[test]
fn a_server_forgets_the_oldest_queries_and_says_so() {
    let small = TestCluster::start(1);
    small.shared().remembered = 2;
    let mut client = Client::connect(&[small.address(0)], "test");
    (0..3).for_each(|_| assert_eq!(client.query(b"", NONE, false, &STATISTICS).0, 0));
    assert_eq!(client.info("query-show").split(';').count(), 2);
    assert_eq!(client.info("query-show:trid=5"), "ERROR:2:job not found");
}

#[test]
fn only_what_the_index_does_not_tell_is_read_from_a_device() {
    let small = TestCluster::start(1);
    small.shared().on_device = true;
    let mut client = Client::connect(&[small.address(0)], "test");
    for n in 0..40 {
        client.put(b"s", &int(n), n % 4 == 0, NEVER, &[bin("n", 1, &n.to_be_bytes())]);
    }
    let mut reads = |filter: &[u8], bins| {
        let before = small.device_reads();
        client.query(b"s", filter, bins, &[]);
        small.device_reads() - before
    };
    assert_eq!([reads(NONE, true), reads(b"", false), reads(b"", true), reads(BIN_FROM_20, false)], [0, 10, 40, 40]);
}

#[test]
fn what_happens_in_a_query_happens_between_two_of_its_partitions() {
    let small = TestCluster::start(1);
    let mut client = Client::connect(&[small.address(0)], "test");
    for n in 0..200 {
        client.put(b"s", &int(n), true, NEVER, &number(n));
    }
    small.before(Moment::Partition, 2048, |shared| {
        shared.namespaces.get_mut("test").unwrap().records.clear();
    });
    let (came, _) = client.query(b"s", b"", false, &[]);
    assert!((50..150).contains(&came), "{came}");
    assert_eq!(client.query(b"s", b"", false, &[]).0, 0);
}
