//! What a source owes to its cluster, whichever it is.

use super::{Found, NAMESPACE, connect, quick, read, scan, walk};
use crate::support::cluster::TestCluster;
use crate::support::cluster::client::{Client, digest};
use crate::support::cluster::data::Bin;
use aerolith::record::{SecondaryIndex, Timestamp};
use aerolith::store::MemoryStore;
use aerolith::{
    AerospikeSource, BackupKind, CreateOptions, KdfCost, PartitionedSource, RecordOptions, RecordSource, Repository,
    SessionOptions,
};
use std::sync::Arc;
use std::time::Duration;

pub const NEVER: u32 = u32::MAX;

/// A cluster to test with: the one in the environment, or a small one of two nodes.
pub struct Place {
    pub small: Option<TestCluster>,
    pub address: String,
    pub set: Vec<u8>,
    pub client: Client,
}

impl Place {
    pub fn new(set: &str) -> Self {
        let (small, addresses) = match std::env::var("AEROLITH_TEST_CLUSTER") {
            Ok(address) => (None, vec![address]),
            Err(_) => {
                let small = TestCluster::start(2);
                let addresses = vec![small.address(0), small.address(1)];
                (Some(small), addresses)
            }
        };
        let client = Client::connect(&addresses, NAMESPACE);
        let mut place = Self { small, address: addresses[0].clone(), set: set.as_bytes().to_vec(), client };
        place.clear();
        place
    }

    pub fn source(&self) -> AerospikeSource {
        connect(&self.address, quick(&self.set)).unwrap()
    }

    pub fn clear(&mut self) {
        for number in 0..2000 {
            if !self.client.delete(&self.set, &int(number)) && number > 600 {
                break;
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.clear();
        }
    }
}

pub fn int(number: i64) -> Vec<u8> {
    [&[1][..], &number.to_be_bytes()].concat()
}

pub fn bin(name: &str, particle: u8, bytes: &[u8]) -> Bin {
    (name.as_bytes().to_vec(), particle, bytes.to_vec())
}

pub fn number(value: i64) -> Vec<Bin> {
    vec![bin("n", 1, &value.to_be_bytes())]
}

/// One record of every kind that a value or a key can be; the bytes are as a server holds them.
pub fn zoo() -> Vec<(Vec<u8>, bool, Vec<Bin>)> {
    let mut nan = f64::NAN.to_bits();
    nan |= 0x1234;
    let values: Vec<Vec<Bin>> = vec![
        vec![bin("v", 1, &i64::MIN.to_be_bytes())],
        vec![bin("v", 2, &nan.to_be_bytes())],
        vec![bin("v", 3, b"a\nb\0c\xff\xfe")],
        vec![bin("v", 3, b"")],
        vec![bin("v", 4, &[0, 1, 2, 255])],
        vec![bin("t", 17, &[1]), bin("f", 17, &[0])],
        // A list that is ordered, and a map ordered by key: their order flags are extension elements.
        vec![bin("v", 20, &[0x94, 0xc7, 0, 1, 1, 2, 3])],
        vec![bin("v", 19, &[0x82, 0xc7, 0, 1, 0xc0, 1, 2])],
        vec![bin("v", 7, b"java"), bin("w", 9, b"python")],
        (0..40).rev().map(|n| bin(&format!("bin{n:02}"), 1, &i64::from(n).to_be_bytes())).collect(),
    ];
    let mut all: Vec<(Vec<u8>, bool, Vec<Bin>)> =
        values.into_iter().enumerate().map(|(n, bins)| (int(n as i64), true, bins)).collect();
    all.push((b"\x03a key\n\xe6\x97\xa5".to_vec(), true, number(1)));
    all.push((b"\x04\0\x01\xff".to_vec(), true, number(2)));
    all.push((int(-1), true, number(3)));
    all.push((int(i64::MAX), false, number(4)));
    all.push((b"\x03no key".to_vec(), false, number(5)));
    all
}

fn sorted(mut bins: Vec<Bin>) -> Vec<Bin> {
    bins.sort();
    bins
}

#[test]
fn every_kind_of_record_comes_as_it_is_by_scan_and_by_digest() {
    let mut place = Place::new("cf-zoo");
    let zoo = zoo();
    let mut digests = Vec::new();
    for (key, store_key, bins) in &zoo {
        digests.push(place.client.put(&place.set.clone(), key, *store_key, NEVER, bins));
    }
    let source = place.source();
    let scanned = scan(&source, None).unwrap();
    assert_eq!(scanned.len(), zoo.len());
    let read = read(&source, &digests).unwrap();
    for (key, store_key, bins) in zoo {
        let at = digest(&place.set, &key);
        let found = &scanned[&at];
        let key = if store_key { key } else { Vec::new() };
        assert_eq!((&found.set, &found.key, found.generation, found.void_time), (&place.set, &key, 1, 0));
        assert_eq!(sorted(found.bins.clone()), sorted(bins), "{key:?}");
        assert_eq!(read[&at], *found);
    }
    drop(source);
    for at in [&b"\x03a key\n\xe6\x97\xa5"[..], b"\x04\0\x01\xff", &int(-1), &int(i64::MAX), b"\x03no key"] {
        assert!(place.client.delete(&place.set.clone(), at));
    }
}

#[test]
fn generation_and_void_time_come_by_scan_walk_and_digest() {
    let mut place = Place::new("cf-meta");
    let set = place.set.clone();
    let at = place.client.put(&set, &int(0), true, 5000, &number(0));
    (0..3).for_each(|n| {
        place.client.put(&set, &int(0), true, 5000, &number(n));
    });
    place.client.put(&set, &int(1), true, NEVER, &number(1));
    place.client.touch(&set, &int(1), 9000);
    let (generation, void_time, _) = place.client.get(&set, &int(0)).unwrap();
    assert_eq!(generation, 4);
    let source = place.source();
    let scanned = scan(&source, None).unwrap();
    assert_eq!((scanned[&at].generation, scanned[&at].void_time), (4, void_time));
    let now = source.clock().unwrap().0 / 1000 - 1_262_304_000;
    assert!(u64::from(void_time).abs_diff(now + 5000) <= 10, "{void_time} at {now}");
    let walked = walk(&source).unwrap();
    let read = read(&source, &[at, digest(&set, &int(1))]).unwrap();
    assert_eq!(walked.len(), 2);
    for (digest, row) in walked {
        let found = &scanned[&digest];
        assert_eq!((row.generation.0, row.void_time.0), (found.generation, found.void_time));
        assert_eq!(read[&digest], *found);
    }
}

#[test]
fn only_what_changed_since_a_time_comes_with_a_filter() {
    let mut place = Place::new("cf-since");
    let set = place.set.clone();
    for n in 0..200 {
        place.client.put(&set, &int(n), true, NEVER, &number(n));
    }
    // The servers' clock counts full seconds.
    std::thread::sleep(Duration::from_millis(1100));
    let source = place.source();
    let time = source.clock().unwrap();
    for n in 150..230 {
        place.client.put(&set, &int(n), true, NEVER, &number(n + 1));
    }
    let found = scan(&source, Some(time)).unwrap();
    let mut wanted: Vec<[u8; 20]> = (150..230).map(|n| digest(&set, &int(n))).collect();
    wanted.sort_unstable();
    assert_eq!(found.keys().copied().collect::<Vec<_>>(), wanted);
    assert_eq!(scan(&source, Some(Timestamp(0))).unwrap().len(), 230);
    assert!(scan(&source, Some(Timestamp(time.0 + 3_600_000))).unwrap().is_empty());
}

#[test]
fn deleted_and_unknown_records_are_left_out() {
    let mut place = Place::new("cf-gone");
    let set = place.set.clone();
    let here = place.client.put(&set, &int(1), true, NEVER, &number(1));
    let gone = place.client.put(&set, &int(2), true, NEVER, &number(2));
    assert!(place.client.delete(&set, &int(2)));
    let source = place.source();
    assert_eq!(walk(&source).unwrap().into_keys().collect::<Vec<_>>(), [here]);
    assert_eq!(read(&source, &[gone, here, [9; 20]]).unwrap().into_keys().collect::<Vec<_>>(), [here]);
    assert!(read(&source, &[]).unwrap().is_empty());
    assert_eq!(source.take_bad_records(), (0, vec![]));
}

#[test]
fn partitions_can_be_asked_for_in_any_order_and_again() {
    let mut place = Place::new("cf-order");
    let set = place.set.clone();
    for n in 0..300 {
        place.client.put(&set, &int(n), true, NEVER, &number(n));
    }
    let source = place.source();
    let mut found = std::collections::BTreeMap::new();
    let all = aerolith::record::PartitionId::all;
    for partition in all().rev().step_by(2).chain(all().step_by(2)) {
        source
            .scan(NAMESPACE, partition, None, &mut |batch| {
                super::take(&batch, &mut found);
                Ok(())
            })
            .unwrap();
    }
    assert_eq!(found.len(), 300);
    assert_eq!(scan(&source, None).unwrap(), found);
}

#[test]
fn many_records_can_be_read_by_digest_at_once() {
    let mut place = Place::new("cf-many");
    let set = place.set.clone();
    let digests: Vec<[u8; 20]> =
        (0..600).map(|n| place.client.put(&set, &int(n), n % 3 != 0, NEVER, &number(n))).collect();
    let source = place.source();
    let found: std::collections::BTreeMap<[u8; 20], Found> = read(&source, &digests).unwrap();
    assert_eq!(found, scan(&source, None).unwrap());
}

#[test]
fn indexes_and_modules_are_told() {
    let mut place = Place::new("cf-index");
    let ask = |place: &mut Place, command: &str| {
        let answer = place.client.info(command);
        assert!(answer.eq_ignore_ascii_case("ok"), "{command}: {answer}");
    };
    let create =
        "sindex-create:ns=test;set=cf-index;indexname=cf_keys;bin=v;type=string;indextype=mapkeys;context=khGRcA==";
    ask(&mut place, create);
    ask(&mut place, "udf-put:filename=cf.lua;content=LS0gYQ==;content-len=8;udf-type=LUA");
    let metadata = place.source().metadata(NAMESPACE).unwrap();
    ask(&mut place, "sindex-delete:ns=test;set=cf-index;indexname=cf_keys");
    ask(&mut place, "udf-remove:filename=cf.lua");
    let index = metadata.indexes.iter().find(|index| index.name == b"cf_keys").unwrap();
    let expected = SecondaryIndex {
        set: b"cf-index".to_vec(),
        name: b"cf_keys".to_vec(),
        kind: b'K',
        bin: b"v".to_vec(),
        value: b'S',
        context: vec![0x92, 0x11, 0x91, 0x70],
        ..SecondaryIndex::default()
    };
    assert_eq!(*index, expected);
    let module = metadata.udfs.iter().find(|module| module.name == b"cf.lua").unwrap();
    assert_eq!((module.kind, &module.content[..]), (b'L', &b"-- a"[..]));
    let fact = metadata.facts.iter().find(|fact| fact.name == b"replication-factor").unwrap();
    assert_eq!((fact.topic.as_str(), &fact.value[..]), ("namespace setting", &b"1"[..]));
}

#[test]
fn the_clock_is_the_servers_and_namespaces_are_known() {
    let place = Place::new("cf-clock");
    let source = place.source();
    assert_eq!(source.namespaces().unwrap(), [NAMESPACE]);
    let ours = Timestamp::now().0;
    let theirs = source.clock().unwrap().0;
    if let Some(small) = &place.small {
        assert!((0..3000).contains(&(ours - theirs)), "{theirs} against {ours}");
        small.shared().clock_ahead = -7_200_000_000_000;
        assert!((7_199_000..7_203_000).contains(&(ours - source.clock().unwrap().0)));
    }
    assert_eq!(theirs % 1000, 0);
    // Five seconds, and the skew that the small cluster tells.
    assert!(source.clock_margin_millis() >= if place.small.is_some() { 5003 } else { 5000 });
}

fn back_up(repository: &Repository, source: &dyn RecordSource, kind: BackupKind) -> aerolith::Snapshot {
    let about = SessionOptions::default().cluster(source.cluster().unwrap());
    let mut session = repository.begin(about).unwrap();
    session.records(NAMESPACE, source, kind, &RecordOptions::default()).unwrap();
    session.commit().unwrap()
}

#[test]
fn incrementals_arrive_at_what_the_cluster_holds() {
    let mut place = Place::new("cf-incr");
    let set = place.set.clone();
    for n in 0..500 {
        place.client.put(&set, &int(n), n % 2 == 0, if n % 10 == 0 { 50_000 } else { NEVER }, &number(n));
    }
    let options = CreateOptions::default().cost(KdfCost::WEAK);
    let repository = Repository::create(Arc::new(MemoryStore::new()), b"secret", &options).unwrap();
    back_up(&repository, &place.source(), BackupKind::Full);
    for round in 1..4i64 {
        for n in 0..20 {
            place.client.put(&set, &int(n * round), true, NEVER, &number(n - round));
            place.client.delete(&set, &int(400 + 20 * round + n));
            place.client.put(&set, &int(500 + 20 * round + n), true, NEVER, &number(n));
        }
        for n in 200..210 {
            place.client.touch(&set, &int(n), 90_000 + round as u32);
        }
        let source = place.source();
        let snapshot = back_up(&repository, &source, BackupKind::Incremental);
        let view = snapshot.namespace(NAMESPACE).unwrap();
        let mut held = std::collections::BTreeMap::new();
        for (at, found) in scan(&source, None).unwrap() {
            let record = view.get(&aerolith::record::Digest(at)).unwrap().expect("a record of the cluster");
            assert_eq!((record.entry.generation.0, record.entry.void_time.0), (found.generation, found.void_time));
            held.insert(at, found);
        }
        assert_eq!(snapshot.manifest().namespaces[0].live_records, held.len() as u64);
        let full = back_up(&repository, &source, BackupKind::Full);
        assert_eq!(full.manifest().namespaces[0].state_hash, snapshot.manifest().namespaces[0].state_hash);
        let counts = full.manifest().namespaces[0].counts;
        assert_eq!((counts.added, counts.changed, counts.touched, counts.deleted), (0, 0, 0, 0));
    }
}
