//! What becomes of a restore when servers misbehave: every record has one result, and it is the right one.

use super::{NAMESPACE, batches, connect, joined, quick, scan, target};
use crate::support::cluster::client::{Client, digest};
use crate::support::cluster::data::partition;
use crate::support::cluster::{Fault, On, TestCluster};
use aerolith::record::{
    BinRef, Digest, Generation, NamespaceMetadata, ParticleType, RecordBatch, RecordMeta, SecondaryIndex, Timestamp,
    VoidTime,
};
use aerolith::store::MemoryStore;
use aerolith::{
    AerospikeTarget, BackupKind, ClusterUrl, ConflictPolicy, CreateOptions, DeleteOutcome, KdfCost, RecordOptions,
    RecordSource, RecordTarget, Repository, RestoreOptions, SessionOptions, WriteOutcome,
};
use std::sync::Arc;
use std::time::Duration;

const RECORDS: usize = 400;

fn key(n: usize) -> Vec<u8> {
    format!("\x03key {n}").into_bytes()
}

fn at(n: usize) -> [u8; 20] {
    digest(b"", &key(n))
}

/// A cluster of so many nodes, and records that were in it.
fn emptied(nodes: usize) -> (TestCluster, RecordBatch) {
    let cluster = TestCluster::start(nodes);
    let addresses: Vec<String> = (0..nodes).map(|node| cluster.address(node)).collect();
    let mut client = Client::connect(&addresses, NAMESPACE);
    for n in 0..RECORDS {
        client.put(b"", &key(n), true, u32::MAX, &[(b"n".to_vec(), 3, vec![b'x'; n % 50])]);
    }
    let taken = joined(&batches(&connect(&cluster.address(0), quick(b"")).unwrap()));
    cluster.shared().namespaces.get_mut(NAMESPACE).unwrap().records.clear();
    cluster.shared().log.clear();
    (cluster, taken)
}

fn there(cluster: &TestCluster) -> usize {
    scan(&connect(&cluster.address(0), quick(b"")).unwrap(), None).unwrap().len()
}

fn all_written() -> WriteOutcome {
    WriteOutcome { written: RECORDS as u64, ..WriteOutcome::default() }
}

const POLICIES: [ConflictPolicy; 3] = [ConflictPolicy::Replace, ConflictPolicy::Keep, ConflictPolicy::Newer];

#[test]
fn a_server_may_keep_writes_waiting_for_ten_seconds_whatever_the_socket_timeout() {
    for (timeout, longest) in [(60, 10_000), (5, 5_000)] {
        let (cluster, records) = emptied(1);
        cluster.shared().longest_batch = 0;
        let options = quick(b"").socket_timeout(Duration::from_secs(timeout));
        let url = ClusterUrl::parse(&format!("aerospike://{}", cluster.address(0))).unwrap();
        let target = AerospikeTarget::connect(&url, options).unwrap();
        assert_eq!(target.write(NAMESPACE, &records, ConflictPolicy::Replace).unwrap(), all_written());
        assert_eq!(cluster.shared().longest_batch, longest, "{timeout} s");
    }
}

#[test]
fn a_passing_fault_costs_no_record_and_changes_no_count() {
    let faults = [
        Fault::Close(0),
        Fault::Close(1),
        Fault::Close(2),
        Fault::Refuse(11),
        Fault::Refuse(9),
        Fault::Refuse(18),
        Fault::Refuse(152),
        Fault::Version,
        Fault::Length(1 << 40),
        Fault::RefuseRecord(at(8), 14),
        Fault::RefuseRecord(at(8), 9),
    ];
    for fault in faults {
        for policy in POLICIES {
            let (cluster, batch) = emptied(2);
            let target = target(&cluster.address(0), "").unwrap();
            cluster.fault(usize::from(partition(&at(8)) % 2), On::Batch, fault.clone(), 2);
            // Where an answer was lost, the record is there when it is sent again; it was we who wrote it.
            assert_eq!(target.write(NAMESPACE, &batch, policy).unwrap(), all_written(), "{fault:?} {policy:?}");
            assert_eq!(there(&cluster), RECORDS, "{fault:?} {policy:?}");
        }
    }
}

#[test]
fn only_the_records_that_failed_are_sent_again() {
    let (cluster, batch) = emptied(1);
    let target = target(&cluster.address(0), "").unwrap();
    cluster.fault(0, On::Batch, Fault::RefuseRecord(at(5), 18), 3);
    assert_eq!(target.write(NAMESPACE, &batch, ConflictPolicy::Replace).unwrap(), all_written());
    let log: Vec<String> = cluster.shared().log.iter().filter(|line| line.starts_with("batch")).cloned().collect();
    assert_eq!(log, ["batch 400 rows on 0", "batch 1 rows on 0", "batch 1 rows on 0", "batch 1 rows on 0"]);
}

#[test]
fn an_overload_outlasts_the_attempts_that_other_failures_have() {
    let (cluster, batch) = emptied(1);
    let target = target(&cluster.address(0), "").unwrap();
    // `quick` gives up after four attempts.
    cluster.fault(0, On::Batch, Fault::RefuseRecord(at(5), 18), 6);
    assert_eq!(target.write(NAMESPACE, &batch, ConflictPolicy::Replace).unwrap(), all_written());
}

#[test]
fn a_record_that_stays_busy_is_given_up_and_named() {
    let (cluster, batch) = emptied(2);
    let target = target(&cluster.address(0), "").unwrap();
    let node = usize::from(partition(&at(5)) % 2);
    cluster.fault(node, On::Batch, Fault::RefuseRecord(at(5), 14), usize::MAX);
    let outcome = target.write(NAMESPACE, &batch, ConflictPolicy::Replace).unwrap();
    assert_eq!((outcome.written, outcome.failed.len()), (RECORDS as u64 - 1, 1));
    assert_eq!(outcome.failed[0].digest.0, at(5));
    assert!(outcome.failed[0].reason.contains("busy") && outcome.failed[0].reason.contains("sent 4 times"));
}

#[test]
fn a_batch_that_is_refused_as_a_whole_is_sent_record_by_record() {
    let (cluster, batch) = emptied(1);
    let target = target(&cluster.address(0), "").unwrap();
    cluster.fault(0, On::Batch, Fault::Refuse(4), usize::MAX);
    cluster.fault(0, On::Write, Fault::RefuseRecord(at(3), 4), usize::MAX);
    let outcome = target.write(NAMESPACE, &batch, ConflictPolicy::Replace).unwrap();
    assert_eq!((outcome.written, outcome.failed.len()), (RECORDS as u64 - 1, 1));
    assert_eq!(outcome.failed[0].digest.0, at(3));
}

#[test]
fn a_server_without_batches_of_writes_gets_its_records_one_by_one() {
    let (cluster, batch) = emptied(2);
    cluster.shared().features = "pscans;batch-index".into();
    let target = target(&cluster.address(0), "").unwrap();
    assert_eq!(target.write(NAMESPACE, &batch, ConflictPolicy::Replace).unwrap(), all_written());
    assert!(!cluster.shared().log.iter().any(|line| line.starts_with("batch")));
    cluster.shared().features = "pquery".into();
    assert_eq!(there(&cluster), RECORDS);
}

#[test]
fn a_node_that_stays_away_is_an_error_that_names_it() {
    let (cluster, batch) = emptied(2);
    let target = target(&cluster.address(0), "").unwrap();
    cluster.fault(1, On::Batch, Fault::Close(0), usize::MAX);
    cluster.fault(1, On::Write, Fault::Close(0), usize::MAX);
    let error = target.write(NAMESPACE, &batch, ConflictPolicy::Replace).unwrap_err().to_string();
    assert!(error.contains("N1") && error.contains("closed the connection"), "{error}");
}

#[test]
fn records_follow_their_partitions_to_another_node() {
    let (cluster, batch) = emptied(2);
    cluster.shared().copies = true;
    let target = target(&cluster.address(0), "").unwrap();
    cluster.take_down(1, 0);
    assert_eq!(target.write(NAMESPACE, &batch, ConflictPolicy::Keep).unwrap(), all_written());
    assert_eq!(there(&cluster), RECORDS);
    let (cluster, batch) = emptied(3);
    let target = super::target(&cluster.address(0), "").unwrap();
    (0..4096).for_each(|number| cluster.move_partition(number, Some(usize::from(number + 1) % 3)));
    assert_eq!(target.write(NAMESPACE, &batch, ConflictPolicy::Replace).unwrap(), all_written());
    assert_eq!(there(&cluster), RECORDS);
}

#[test]
fn a_snapshot_comes_back_under_another_name_and_adds_up() {
    let (cluster, batch) = emptied(2);
    let target = target(&cluster.address(0), "").unwrap();
    target.write(NAMESPACE, &batch, ConflictPolicy::Replace).unwrap();
    let options = CreateOptions::default().cost(KdfCost::WEAK);
    let repository = Repository::create(Arc::new(MemoryStore::new()), b"secret", &options).unwrap();
    let source = connect(&cluster.address(0), quick(b"")).unwrap();
    let mut session = repository.begin(SessionOptions::default()).unwrap();
    session.records(NAMESPACE, &source, BackupKind::Full, &RecordOptions::default()).unwrap();
    let snapshot = session.commit().unwrap();
    let bar = super::target(&cluster.address(0), "/bar").unwrap();
    cluster.fault(1, On::Batch, Fault::Close(0), 1);
    let report = snapshot.restore(NAMESPACE, &bar, &RestoreOptions::default()).unwrap();
    assert!(report.adds_up());
    assert_eq!((report.read, report.written), (RECORDS as u64, RECORDS as u64));
    let shared = cluster.shared();
    let records = |name: &str| -> Vec<_> {
        let records = &shared.namespaces[name].records;
        records.iter().map(|(at, record)| (*at, record.key.clone(), record.bins.clone())).collect()
    };
    assert_eq!(records("bar"), records(NAMESPACE));
}

#[test]
fn what_no_record_can_get_past_ends_the_restore_and_says_what_to_do() {
    let (cluster, batch) = emptied(1);
    let restoring = target(&cluster.address(0), "").unwrap();
    cluster.shared().namespaces.get_mut(NAMESPACE).unwrap().stop_writes = true;
    let full = restoring.write(NAMESPACE, &batch, ConflictPolicy::Replace).unwrap_err().to_string();
    assert!(full.contains("no space left (code 8)") && full.contains("Make room"), "{full}");
    let figures = "74 % of its storage is in use (stop-writes-used-pct 70), 12 % of its storage is in free blocks \
                   (stop-writes-avail-pct 5)";
    assert!(full.contains(figures), "{full}");
    let nothing = NamespaceMetadata::default();
    let early = restoring.begin(NAMESPACE, &nothing).unwrap_err().to_string();
    assert!(early.contains("at stop-writes") && early.contains("Make room") && early.contains(figures), "{early}");
    cluster.shared().namespaces.get_mut(NAMESPACE).unwrap().stop_writes = false;
    cluster.fault(0, On::Batch, Fault::RefuseRecord(at(5), 81), 1);
    let role = restoring.write(NAMESPACE, &batch, ConflictPolicy::Replace).unwrap_err().to_string();
    assert!(role.contains("roles do not allow") && role.contains("Grant the role read-write"), "{role}");
}

#[test]
fn records_that_expire_are_named_where_nobody_would_remove_them() {
    let (cluster, mut batch) = emptied(1);
    let now = connect(&cluster.address(0), quick(b"")).unwrap().clock().unwrap();
    let meta = RecordMeta {
        digest: Digest(at(RECORDS)),
        set: b"",
        generation: Generation(1),
        void_time: VoidTime::from_timestamp(Timestamp(now.0 + 1_000_000)),
    };
    let bin = BinRef { name: b"n", particle: ParticleType::BLOB, bytes: b"" };
    batch.push(meta, None, &[bin]).unwrap();
    cluster.shared().namespaces.get_mut(NAMESPACE).unwrap().no_nsup = true;
    for dry_run in [true, false] {
        let url = ClusterUrl::parse(&format!("aerospike://{}", cluster.address(0))).unwrap();
        let target = AerospikeTarget::connect(&url, quick(b"")).unwrap();
        let outcome = if dry_run {
            target.preview_begin(NAMESPACE, &NamespaceMetadata::default()).unwrap();
            target.preview_write(NAMESPACE, &batch, ConflictPolicy::Replace).unwrap()
        } else {
            target.begin(NAMESPACE, &NamespaceMetadata::default()).unwrap();
            target.write(NAMESPACE, &batch, ConflictPolicy::Replace).unwrap()
        };
        assert_eq!((outcome.written, outcome.failed.len()), (RECORDS as u64, 1));
        let reason = &outcome.failed[0].reason;
        assert!(reason.contains("nsup-period is 0") && reason.contains("`expiry`"), "{reason}");
        assert_eq!(there(&cluster), if dry_run { 0 } else { RECORDS });
    }
}

#[test]
fn many_records_that_are_refused_for_one_reason_are_counted_with_a_few_of_them_named() {
    let cluster = TestCluster::start(1);
    let mut client = Client::connect(&[cluster.address(0)], NAMESPACE);
    (0..40).for_each(|n| {
        client.put(b"s", &key(n), true, if n < 2 { u32::MAX } else { 10_000 }, &[(b"n".to_vec(), 3, vec![b'x'])]);
    });
    let place = super::program::Place::new();
    let url = format!("aerospike://{}/{NAMESPACE}", cluster.address(0));
    assert_eq!(place.run(&["backup", &url]).code, 0);
    cluster.shared().namespaces.get_mut(NAMESPACE).unwrap().no_nsup = true;
    let done = place.run(&["restore", "latest", &url, "--quiet"]);
    let named: Vec<&str> = done.err.lines().filter(|line| line.contains("failed: ")).collect();
    assert!(done.code == 3 && named.len() == 1, "{done:?}");
    assert!(named[0].contains("failed: test: 38 records: it expires") && named[0].contains("--no-ttl"), "{named:?}");
    let examples = named[0].split_once("(such as ").unwrap().1.trim_end_matches(')');
    assert_eq!(examples.split(", ").filter(|digest| digest.len() == 40).count(), 3, "{named:?}");
    let json = place.run(&["restore", "latest", &url, "--quiet", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(json["namespaces"][0]["failures"].as_array().unwrap().len(), 38);
}

#[test]
fn the_enterprise_edition_deletes_for_good() {
    for (edition, deletes) in [("Small Edition", "delete"), ("Aerospike Enterprise Edition", "delete for good")] {
        let (cluster, batch) = emptied(2);
        cluster.shared().edition = edition.into();
        let target = target(&cluster.address(0), "").unwrap();
        target.write(NAMESPACE, &batch, ConflictPolicy::Replace).unwrap();
        // One of them is gone already; an answer is lost.
        cluster.shared().namespaces.get_mut(NAMESPACE).unwrap().records.remove(&at(3));
        cluster.fault(0, On::Batch, Fault::Close(0), 1);
        let digests: Vec<Digest> = (0..RECORDS - 10).map(|n| Digest(at(n))).collect();
        let outcome = target.delete(NAMESPACE, &digests).unwrap();
        assert_eq!(outcome, DeleteOutcome { deleted: RECORDS as u64 - 10, failed: vec![] });
        assert_eq!(there(&cluster), 10);
        let log: Vec<String> = cluster.shared().log.iter().filter(|line| line.starts_with("delete")).cloned().collect();
        assert!(log.len() >= RECORDS - 10 && log.iter().all(|line| line == deletes));
    }
}

#[test]
fn a_record_that_is_there_and_not_ours_is_not_taken_for_ours_when_an_answer_is_lost() {
    for policy in [ConflictPolicy::Keep, ConflictPolicy::Newer] {
        let (cluster, batch) = emptied(1);
        let mut client = Client::connect(&[cluster.address(0)], NAMESPACE);
        client.put(b"", &key(5), true, u32::MAX, &[(b"n".to_vec(), 3, b"another".to_vec())]);
        let target = target(&cluster.address(0), "").unwrap();
        cluster.fault(0, On::Batch, Fault::Close(0), 1);
        let outcome = target.write(NAMESPACE, &batch, policy).unwrap();
        assert_eq!((outcome.written, outcome.exists + outcome.fresher), (RECORDS as u64 - 1, 1), "{policy:?}");
        assert_eq!(outcome.left_alone, [Digest(at(5))]);
    }
}

#[test]
fn a_record_without_an_answer_is_sent_again() {
    let (cluster, batch) = emptied(1);
    let target = target(&cluster.address(0), "").unwrap();
    cluster.fault(0, On::Batch, Fault::Unanswered(at(5)), 2);
    assert_eq!(target.write(NAMESPACE, &batch, ConflictPolicy::Replace).unwrap(), all_written());
    assert_eq!(there(&cluster), RECORDS);
}

/// One record that expires so many seconds from now, by our clock.
fn expiring(seconds: u64) -> RecordBatch {
    let mut batch = RecordBatch::new();
    let void_time = VoidTime((Timestamp::now().0 / 1000 - 1_262_304_000 + seconds) as u32);
    let meta = RecordMeta { digest: Digest(at(1)), set: b"", generation: Generation(1), void_time };
    batch.push(meta, None, &[BinRef { name: b"n", particle: ParticleType::STRING, bytes: b"x" }]).unwrap();
    batch
}

#[test]
fn what_has_expired_is_the_servers_clock_to_say() {
    let (cluster, _) = emptied(1);
    cluster.shared().clock_ahead = 3_600_000_000_000;
    let target = target(&cluster.address(0), "").unwrap();
    let outcome = target.write(NAMESPACE, &expiring(1800), ConflictPolicy::Replace).unwrap();
    assert_eq!((outcome.written, outcome.expired), (0, 1));
    assert_eq!(target.write(NAMESPACE, &expiring(5400), ConflictPolicy::Replace).unwrap().written, 1);
}

#[test]
fn a_time_to_live_beyond_what_servers_take_is_named() {
    let (cluster, _) = emptied(1);
    let target = target(&cluster.address(0), "").unwrap();
    let outcome = target.write(NAMESPACE, &expiring(3651 * 86_400), ConflictPolicy::Replace).unwrap();
    assert!(outcome.written == 0 && outcome.failed[0].reason.contains("3650"), "{outcome:?}");
    assert_eq!(target.write(NAMESPACE, &expiring(3649 * 86_400), ConflictPolicy::Replace).unwrap().written, 1);
}

#[test]
fn a_new_index_is_waited_for_until_every_node_shows_it() {
    let cluster = TestCluster::start(2);
    let target = target(&cluster.address(0), "").unwrap();
    let (name, bin) = (b"late".to_vec(), b"n".to_vec());
    let index = SecondaryIndex { name, kind: b'N', value: b'N', bin, ..SecondaryIndex::default() };
    cluster.shared().unlisted = 7;
    let metadata = NamespaceMetadata { indexes: vec![index], ..NamespaceMetadata::default() };
    let omitted = target.begin(NAMESPACE, &metadata).unwrap().omissions;
    assert_eq!((cluster.shared().unlisted, omitted), (0, vec![]));
}

#[test]
fn a_message_holds_no_more_records_and_bytes_than_servers_take() {
    // So many records of so many bytes; and the most of a message: 500, or a quarter of a MiB.
    for (records, bytes, most) in [(1200, 10, 500), (30, 60 << 10, 4)] {
        let cluster = TestCluster::start(1);
        let target = target(&cluster.address(0), "").unwrap();
        let value = vec![b'x'; bytes];
        let mut batch = RecordBatch::new();
        for n in 0..records {
            let digest = Digest(at(n));
            let meta = RecordMeta { digest, set: b"", generation: Generation(1), void_time: VoidTime::NEVER };
            batch.push(meta, None, &[BinRef { name: b"n", particle: ParticleType::STRING, bytes: &value }]).unwrap();
        }
        assert_eq!(target.write(NAMESPACE, &batch, ConflictPolicy::Replace).unwrap().written, records as u64);
        let log = cluster.shared().log.clone();
        let rows = |line: &String| line.strip_prefix("batch ")?.split(' ').next()?.parse::<usize>().ok();
        let rows: Vec<usize> = log.iter().filter_map(rows).collect();
        assert_eq!(rows.iter().sum::<usize>(), records);
        assert_eq!(rows.iter().max(), Some(&most), "{rows:?}");
    }
}
