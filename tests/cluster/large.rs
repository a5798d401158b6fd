//! Partitions that don't fit in memory.

use super::NAMESPACE;
use super::partial::there;
use super::program::{Output, Place};
use crate::support::cluster::TestCluster;
use crate::support::cluster::data::{Digest as Raw, Record, now, partition};
use aerolith::record::Digest;
use std::io::Read;

const RECORDS: u32 = 40_000;
const VALUE_BYTES: usize = 4096;
/// More than any of the runs takes, and less than twice what the records do.
const MEMORY_MIB: u64 = 220;
/// All records are of this partition.
const PARTITION: u16 = 7;

fn at(n: u32) -> Raw {
    let hash = *blake3::hash(&n.to_le_bytes()).as_bytes();
    let mut digest = [0; 20];
    digest.copy_from_slice(&hash[..20]);
    digest[..2].copy_from_slice(&PARTITION.to_le_bytes());
    digest
}

fn record(n: u32, version: u32) -> Record {
    let mut value = vec![0; VALUE_BYTES];
    let mut hasher = blake3::Hasher::new();
    hasher.update(&n.to_le_bytes()).update(&version.to_le_bytes()).finalize_xof().fill(&mut value);
    Record {
        set: b"s".to_vec(),
        generation: version,
        updated: now(),
        bins: vec![(b"v".to_vec(), 4, value)],
        ..Record::default()
    }
}

/// Runs the program; gives back what it left and the most memory that it took, in MiB.
fn measured(place: &Place, arguments: &[&str]) -> (Output, u64) {
    let mut running = place.start(arguments);
    let path = format!("/proc/{}/status", running.id());
    let mut most = 0;
    let status = loop {
        let status = std::fs::read_to_string(&path).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok()).unwrap_or(0);
        most = most.max(kib / 1024);
        match running.try_wait().unwrap() {
            Some(status) => break status,
            None => std::thread::sleep(std::time::Duration::from_millis(5)),
        }
    };
    let (mut out, mut err) = (String::new(), String::new());
    running.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    running.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    (Output { code: status.code().unwrap_or(-1), out, err }, most)
}

#[test]
fn a_partition_that_does_not_fit_in_memory_is_backed_up_whole_and_so_is_what_changes_in_it() {
    assert_eq!(partition(&at(1)), PARTITION);
    let cluster = TestCluster::start(1);
    let put = |n, version| {
        let mut shared = cluster.shared();
        shared.namespaces.get_mut(NAMESPACE).unwrap().records.insert(at(n), record(n, version));
    };
    (0..RECORDS).for_each(|n| put(n, 1));
    let (place, url) = (Place::new(), format!("aerospike://{}/{NAMESPACE}", cluster.address(0)));
    for kind in ["full", "incremental"] {
        if kind == "incremental" {
            (0..RECORDS).filter(|n| n % 3 != 0).for_each(|n| put(n, 2));
            let mut shared = cluster.shared();
            let records = &mut shared.namespaces.get_mut(NAMESPACE).unwrap().records;
            // The filter can't see some of the changes, and some records are gone.
            (0..RECORDS).filter(|n| n % 3 == 1).for_each(|n| records.get_mut(&at(n)).unwrap().updated = 1);
            (0..RECORDS).filter(|n| n % 99 == 0).for_each(|n| drop(records.remove(&at(n))));
        }
        let (done, memory) = measured(&place, &["backup", &url, "--kind", kind, "--memory", "64"]);
        assert_eq!(done.code, 0, "{done:?}");
        assert!(memory < MEMORY_MIB, "{kind}: {memory} MiB");
        let snapshot = place.repository().snapshot("latest").unwrap();
        let (view, there) = (snapshot.namespace(NAMESPACE).unwrap(), there(&cluster));
        assert_eq!(view.manifest().live_records, there.len() as u64, "{kind}");
        for (digest, value) in there.iter().step_by(101) {
            let record = view.get(&Digest(*digest)).unwrap().unwrap();
            assert!(record.parse().unwrap().bins()[0].bytes == &value[..], "{kind}");
        }
        let (done, memory) = measured(&place, &["verify", "latest", &url]);
        assert_eq!(done.code, 0, "{done:?}");
        assert!(memory < MEMORY_MIB, "verify: {memory} MiB");
    }
}
