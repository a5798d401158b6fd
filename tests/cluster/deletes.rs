//! How an incremental finds what is gone: by counting what its scan leaves out, and by walking only where it must.

use super::NAMESPACE;
use super::conformance::{int, number};
use super::partial::at;
use super::program::Place;
use crate::support::cluster::client::Client;
use crate::support::cluster::data::{EPOCH, Record, partition};
use crate::support::cluster::{Fault, Moment, On, TestCluster};
use std::collections::BTreeMap;
use std::time::Duration;

const RECORDS: i64 = 600;

/// A cluster with records, whose clock is a while after they were written, and a full backup of it.
struct Scene {
    cluster: TestCluster,
    client: Client,
    place: Place,
    url: String,
}

/// What a backup says: how it searched, and what it found.
#[derive(Debug, PartialEq)]
struct Told {
    counted: u64,
    walked: BTreeMap<String, u64>,
    deleted: u64,
    records: u64,
}

impl Scene {
    fn new(nodes: usize) -> Self {
        let cluster = TestCluster::start(nodes);
        let addresses: Vec<String> = (0..nodes).map(|node| cluster.address(node)).collect();
        let mut client = Client::connect(&addresses, NAMESPACE);
        (0..RECORDS).for_each(|n| {
            client.put(b"s", &int(n), true, u32::MAX, &number(n));
        });
        let url = format!("aerospike://{}/{NAMESPACE}", cluster.address(0));
        let mut scene = Scene { cluster, client, place: Place::new(), url };
        scene.pass();
        scene.back_up("full", &[]);
        scene.pass();
        scene
    }

    /// Lets so much time pass that what was written before is no change any more.
    fn pass(&mut self) {
        self.cluster.pass(60);
    }

    fn back_up(&mut self, kind: &str, options: &[&str]) -> Told {
        self.cluster.shared().log.clear();
        let done = self.place.run(&[&["backup", &self.url, "--kind", kind, "--json"], options].concat());
        assert_eq!(done.code, 0, "{done:?}");
        let json: serde_json::Value = serde_json::from_str(&done.out).unwrap();
        let namespace = &json["namespaces"][0];
        let number = |value: &serde_json::Value| value.as_u64().unwrap();
        let walked = namespace["search"]["walked"].as_array().unwrap().iter();
        Told {
            counted: number(&namespace["search"]["counted"]),
            walked: walked.map(|one| (one["reason"].as_str().unwrap().into(), number(&one["partitions"]))).collect(),
            deleted: number(&namespace["counts"]["deleted"]),
            records: number(&namespace["live_records"]),
        }
    }

    fn incremental(&mut self) -> Told {
        self.back_up("incremental", &[])
    }

    /// Whether the newest snapshot holds what the cluster has.
    fn assert_equal(&self) {
        let verified = self.place.run(&["verify", "latest", &self.url, "--cluster", "small"]);
        assert_eq!(verified.code, 0, "{verified:?}");
    }

    /// An incremental that can't read a partition.
    fn back_up_without(&self, partition: u16) {
        let nodes = self.cluster.shared().nodes.len();
        self.cluster.fault(usize::from(partition) % nodes, On::Query, Fault::Partition(partition, 11), usize::MAX);
        let partial = ["--kind", "incremental", "--allow-partial", "--attempts", "1"];
        assert_eq!(self.place.run(&[&["backup", &self.url], &partial[..]].concat()).code, 3);
        self.cluster.shared().faults.clear();
    }

    /// A record, as the cluster has it.
    fn record(&self, n: i64) -> Record {
        self.cluster.shared().namespaces[NAMESPACE].records[&at(n)].clone()
    }

    /// Gives the cluster a version of record 8.
    fn put(&self, version: &Record) {
        self.cluster.shared().namespaces.get_mut(NAMESPACE).unwrap().put(at(8), version.clone());
    }

    /// A node came back, and answers still with what it had of record 8.
    fn move_partitions(&self, version: &Record) {
        self.cluster.shared().change();
        self.cluster.shared().migrations = 1_000_000;
        self.put(version);
    }

    /// The partitions are where they belong, and this version of record 8 has won.
    fn end_moves(&self, version: &Record) {
        self.cluster.shared().migrations = 0;
        self.put(version);
    }

    fn asked(&self, what: &str) -> usize {
        self.cluster.shared().log.iter().filter(|line| line.starts_with(what)).count()
    }
}

fn walked(reason: &str, partitions: u64) -> BTreeMap<String, u64> {
    BTreeMap::from([(reason.to_string(), partitions)])
}

#[test]
fn where_nothing_is_gone_nothing_is_walked() {
    let mut scene = Scene::new(2);
    (0..6).for_each(|n| {
        scene.client.put(b"s", &int(n), true, u32::MAX, &number(n + 1));
    });
    scene.client.put(b"s", &int(RECORDS), true, u32::MAX, &number(0));
    let told = scene.incremental();
    assert_eq!(told, Told { counted: 4096, walked: BTreeMap::new(), deleted: 0, records: RECORDS as u64 + 1 });
    assert_eq!((scene.asked("walk"), scene.asked("batch"), scene.asked("partition-info")), (0, 0, 0));
    scene.assert_equal();
    let shown = scene.place.run(&["show", "latest"]);
    assert!(shown.out.contains("search       4,096 partitions counted, all records there"), "{shown:?}");
}

#[test]
fn only_partitions_that_lack_records_are_walked() {
    let mut scene = Scene::new(2);
    for n in [3, 77, 400] {
        scene.client.delete(b"s", &int(n));
    }
    scene.client.put(b"s", &int(5), true, u32::MAX, &number(9));
    let told = scene.incremental();
    assert_eq!((told.deleted, told.records), (3, RECORDS as u64 - 3));
    assert_eq!((told.counted, told.walked), (4093, walked("fewer-than-known", 3)));
    scene.assert_equal();
    let again = scene.incremental();
    assert_eq!((again.deleted, again.counted), (0, 4096));
}

#[test]
fn the_records_of_a_set_are_counted_by_themselves() {
    let mut scene = Scene::new(1);
    (0..50).for_each(|n| {
        scene.client.put(b"other", &int(n), true, u32::MAX, &number(n));
    });
    scene.pass();
    scene.back_up("full", &["--set", "other"]);
    scene.pass();
    // Of the other set some go, of this one none: what the servers count of all sets says nothing.
    (0..9).for_each(|n| assert!(scene.client.delete(b"s", &int(n))));
    let told = scene.back_up("incremental", &["--set", "other"]);
    assert_eq!((told.counted, told.deleted, told.records), (4096, 0, 50));
    scene.client.delete(b"other", &int(7));
    let told = scene.back_up("incremental", &["--set", "other"]);
    assert_eq!((told.deleted, told.records), (1, 49));
}

#[test]
fn what_expired_is_gone_whether_it_was_swept_or_not() {
    let mut scene = Scene::new(1);
    (0..40).for_each(|n| {
        scene.client.put(b"s", &int(1000 + n), true, 300, &number(n));
    });
    // They expire far from any backup, near one, and after it.
    let held = scene.incremental();
    assert_eq!((held.records, held.deleted), (RECORDS as u64 + 40, 0));
    scene.cluster.pass(120);
    assert_eq!(scene.incremental().records, RECORDS as u64 + 40);
    scene.cluster.pass(240);
    let told = scene.incremental();
    assert_eq!((told.records, told.deleted, told.counted), (RECORDS as u64, 40, 4096), "{told:?}");
    scene.cluster.shared().sweep();
    assert_eq!(
        scene.incremental(),
        Told { counted: 4096, walked: BTreeMap::new(), deleted: 0, records: RECORDS as u64 }
    );
    scene.assert_equal();
}

#[test]
fn records_that_expire_while_they_are_counted_cost_a_walk_of_their_partitions_at_most_once() {
    let mut scene = Scene::new(1);
    (0..200).for_each(|n| {
        scene.client.put(b"s", &int(1000 + n), true, 900, &number(n));
    });
    scene.pass();
    scene.incremental();
    scene.client.delete(b"s", &int(1));
    let left = {
        let shared = scene.cluster.shared();
        let void_time = shared.namespaces[NAMESPACE].records[&at(1199)].void_time;
        u64::from(void_time) + EPOCH - shared.clock() / 1_000_000_000
    };
    scene.cluster.pass(left as u32 - 4);
    // In the middle of this backup they expire. It lasts so long: a clock that jumps looks like a restart.
    scene.cluster.before(Moment::Partition, 900, |_| std::thread::sleep(Duration::from_secs(5)));
    let told = scene.incremental();
    assert!(told.walked.get("expiring").is_some_and(|walked| *walked < 4096), "{told:?}");
    scene.pass();
    let told = scene.incremental();
    assert_eq!((told.records, told.counted), (RECORDS as u64 - 1, 4096));
    scene.assert_equal();
}

#[test]
fn records_that_came_with_an_older_time_are_found_by_a_walk() {
    let mut scene = Scene::new(1);
    let old = Record { set: b"s".to_vec(), generation: 4, updated: 1_000_000_000, ..Record::default() };
    let old = Record { bins: number(4), ..old };
    scene.cluster.shared().namespaces.get_mut(NAMESPACE).unwrap().put(at(5000), old);
    let told = scene.incremental();
    assert_eq!(told.records, RECORDS as u64 + 1);
    assert!(told.walked.contains_key("more-than-known"), "{told:?}");
    scene.assert_equal();
}

#[test]
fn all_is_walked_after_nodes_came_or_went_and_while_partitions_are_moved() {
    let mut scene = Scene::new(2);
    scene.cluster.shared().change();
    assert_eq!(scene.incremental().walked, walked("moved", 4096));
    // That one saw the new key from its beginning to its end.
    assert_eq!(scene.incremental().counted, 4096);
    scene.cluster.shared().change();
    scene.cluster.shared().migrations = 1_000_000;
    assert_eq!(scene.incremental().walked, walked("moved", 4096));
    scene.cluster.shared().migrations = 0;
    assert_eq!(scene.incremental().walked, walked("moved", 4096), "some came while the parent was read");
    assert_eq!(scene.incremental().counted, 4096);
}

#[test]
fn what_a_node_that_came_back_had_is_not_kept_if_another_version_of_the_same_generation_wins() {
    let mut scene = Scene::new(2);
    scene.client.put(b"s", &int(8), true, u32::MAX, &number(80));
    let newer = scene.record(8);
    let older = Record { updated: newer.updated - 1, bins: number(70), ..newer.clone() };
    scene.move_partitions(&older);
    scene.pass();
    scene.incremental();
    scene.pass();
    scene.end_moves(&newer);
    assert_eq!(scene.incremental().walked, walked("moved", 4096));
    scene.assert_equal();
    assert_eq!(scene.incremental().counted, 4096);
    scene.assert_equal();
}

/// A record is deleted and written again, `between` backs something up, and then a node comes back whose version has
/// the same generation and loses: the backup after it was sorted out must hold the one that wins.
fn assert_the_version_that_wins_is_held(between: impl FnOnce(&mut Scene)) {
    let mut scene = Scene::new(2);
    let older = scene.record(8);
    scene.client.delete(b"s", &int(8));
    scene.client.put(b"s", &int(8), true, u32::MAX, &number(80));
    let newer = scene.record(8);
    scene.pass();
    between(&mut scene);
    scene.pass();
    scene.move_partitions(&older);
    scene.incremental();
    scene.pass();
    scene.end_moves(&newer);
    scene.incremental();
    scene.assert_equal();
}

#[test]
fn versions_of_the_same_generation_are_read_since_the_last_snapshot_of_the_same_that_can_vouch_for_all_nodes() {
    // What else is backed up, after the version that wins was written: it can't vouch for what is backed up here.
    for between in [&["--set", "s"][..], &["--cluster", "another"]] {
        assert_the_version_that_wins_is_held(|scene| drop(scene.back_up("full", between)));
    }
}

#[test]
fn a_snapshot_that_lacks_a_partition_does_not_vouch_for_it() {
    assert_the_version_that_wins_is_held(|scene| scene.back_up_without(partition(&at(8))));
}

#[test]
fn a_full_backup_of_nodes_that_answer_with_what_loses_is_made_up_for_by_the_next() {
    let mut scene = Scene::new(2);
    let newer = scene.record(8);
    let older = Record { updated: newer.updated - 1, bins: number(70), ..newer.clone() };
    scene.move_partitions(&older);
    scene.back_up("full", &[]);
    scene.pass();
    // What wins is older than the snapshot before, which had it.
    scene.end_moves(&newer);
    assert_eq!(scene.incremental().walked, walked("moved", 4096));
    scene.assert_equal();
    assert_eq!(scene.incremental().counted, 4096);
    // Whatever came after it, a differential builds on the full one.
    scene.back_up("differential", &[]);
    scene.assert_equal();
}

#[test]
fn a_snapshot_that_a_node_was_missing_from_does_not_vouch_for_what_it_brings_back() {
    let mut scene = Scene::new(2);
    scene.cluster.shared().copies = true;
    scene.cluster.take_down(1, 0);
    scene.pass();
    // It goes on by itself, and so do its clients.
    let updated = scene.cluster.shared().clock();
    let newer = Record { updated, bins: number(80), ..scene.record(8) };
    scene.pass();
    scene.incremental();
    assert_eq!(scene.incremental().counted, 4096, "that one is settled");
    scene.pass();
    scene.cluster.shared().nodes[1].down = false;
    scene.cluster.shared().change();
    scene.put(&newer);
    assert_eq!(scene.incremental().walked, walked("moved", 4096));
    scene.assert_equal();
}

#[test]
fn partitions_that_the_parent_did_not_read_are_walked() {
    let mut scene = Scene::new(1);
    scene.back_up_without(7);
    let told = scene.incremental();
    assert_eq!((told.counted, told.walked), (4095, walked("older", 1)));
}

#[test]
fn what_a_node_counts_still_though_it_has_expired_does_not_hide_what_is_gone() {
    let mut scene = Scene::new(1);
    // Another record in the partition of record 8, and one in a partition that is read with it.
    let beside = (1000..).find(|n| partition(&at(*n)) == partition(&at(8))).unwrap();
    let near = |n: &i64| partition(&at(*n)) / 256 == partition(&at(8)) / 256 && partition(&at(*n)) != partition(&at(8));
    let near = (0..RECORDS).find(near).unwrap();
    scene.client.put(b"s", &int(beside), true, 300, &number(1));
    scene.pass();
    scene.incremental();
    scene.cluster.pass(600);
    [8, near].iter().for_each(|n| assert!(scene.client.delete(b"s", &int(*n))));
    let told = scene.incremental();
    assert_eq!((told.deleted, told.records), (3, RECORDS as u64 - 2), "{told:?}");
    scene.assert_equal();
}

#[test]
fn a_parent_during_which_the_cluster_changed_is_not_counted_on() {
    let mut scene = Scene::new(1);
    scene.cluster.before(Moment::Scan, 1, |shared| shared.change());
    scene.back_up("full", &[]);
    assert_eq!(scene.incremental().walked, walked("moved", 4096));
    assert_eq!(scene.incremental().counted, 4096);
}

#[test]
fn a_parent_at_whose_end_partitions_were_moved_is_not_counted_on() {
    let mut scene = Scene::new(1);
    // The servers may begin with it long after the last node came or went.
    scene.cluster.before(Moment::Scan, 1, |shared| shared.migrations = 1_000_000);
    scene.back_up("full", &[]);
    scene.cluster.shared().migrations = 0;
    assert_eq!(scene.incremental().walked, walked("moved", 4096));
    assert_eq!(scene.incremental().counted, 4096);
}

#[test]
fn all_is_walked_after_a_clock_was_set() {
    let mut scene = Scene::new(1);
    // Of a record that was updated then the servers say that it was before the parent.
    scene.cluster.shared().clock_ahead -= 60_000_000_000;
    scene.client.put(b"s", &int(8), true, u32::MAX, &number(80));
    scene.cluster.shared().clock_ahead += 60_000_000_000;
    let told = scene.incremental();
    assert_eq!(told.counted, 4096, "the clock is where it was; {told:?}");
    scene.cluster.shared().clock_ahead += 30_000_000_000;
    assert_eq!(scene.incremental().walked, walked("clock-set", 4096));
    scene.assert_equal();
}

#[test]
fn what_was_written_to_the_same_generation_while_a_clock_was_behind_is_found() {
    let mut scene = Scene::new(1);
    scene.cluster.shared().clock_ahead -= 120_000_000_000;
    scene.client.delete(b"s", &int(8));
    scene.client.put(b"s", &int(8), true, u32::MAX, &number(80));
    scene.cluster.shared().clock_ahead += 180_000_000_000;
    assert_eq!(scene.incremental().walked, walked("clock-set", 4096));
    scene.assert_equal();
}

#[test]
fn servers_that_do_not_tell_what_they_left_out_are_walked() {
    let mut scene = Scene::new(1);
    scene.cluster.shared().remembered = 0;
    scene.client.delete(b"s", &int(9));
    let told = scene.incremental();
    assert_eq!((told.deleted, told.counted, told.walked), (1, 0, walked("untold", 4096)));
    // One query for 64 partitions, not one for each.
    assert_eq!(scene.asked("walk"), 64);
    scene.assert_equal();
    let again = scene.place.run(&["backup", &scene.url, "--kind", "incremental"]);
    assert!(again.out.contains("4,096 partitions walked") && again.out.contains("query-max-done"), "{again:?}");
}

#[test]
fn deletes_are_walked_for_or_not_looked_for_as_was_asked() {
    let mut scene = Scene::new(1);
    scene.client.delete(b"s", &int(9));
    scene.client.put(b"s", &int(10), true, u32::MAX, &number(11));
    let told = scene.back_up("incremental", &["--deletes", "none"]);
    assert_eq!((told.deleted, told.records, told.counted), (0, RECORDS as u64, 0));
    assert_eq!(scene.asked("walk"), 0);
    let shown = scene.place.run(&["show", "latest"]);
    assert!(shown.out.contains("deletes      unknown"), "{shown:?}");
    let told = scene.back_up("incremental", &["--deletes", "walk"]);
    assert_eq!((told.deleted, told.walked), (1, walked("asked", 4096)));
    scene.client.delete(b"s", &int(11));
    scene.back_up("incremental", &["--deletes", "none"]);
    assert_eq!(scene.incremental().deleted, 1);
    scene.assert_equal();
    let shown = scene.place.run(&["show", "latest"]);
    assert!(!shown.out.contains("deletes      unknown"), "{shown:?}");
}

#[test]
fn what_is_deleted_or_written_during_a_backup_is_in_it_or_in_the_next() {
    for after in [0, 1, 2] {
        let mut scene = Scene::new(1);
        scene.client.delete(b"s", &int(1));
        let (moment, gone, kept) = (Moment::Info("query-show"), at(2), at(4));
        scene.cluster.before(moment, after, move |shared| {
            let records = &mut shared.namespaces.get_mut(NAMESPACE).unwrap().records;
            records.remove(&gone);
            let mut record = records[&kept].clone();
            record.updated += 130_000_000_000;
            record.generation += 1;
            record.bins = number(44);
            records.insert(kept, record);
        });
        let told = scene.incremental();
        assert!((1..=2).contains(&told.deleted), "{told:?}");
        let next = scene.incremental();
        assert_eq!(told.deleted + next.deleted, 2, "{told:?} {next:?}");
        scene.assert_equal();
    }
}

#[test]
fn on_devices_an_incremental_reads_what_changed_and_nothing_else() {
    let mut scene = Scene::new(1);
    scene.cluster.shared().on_device = true;
    (0..12).for_each(|n| {
        scene.client.put(b"s", &int(n), true, u32::MAX, &number(n + 1));
    });
    (100..104).for_each(|n| assert!(scene.client.delete(b"s", &int(n))));
    let before = scene.cluster.device_reads();
    let told = scene.incremental();
    assert_eq!((told.deleted, told.records), (4, RECORDS as u64 - 4));
    let reads = scene.cluster.device_reads() - before;
    assert!((12..=24).contains(&reads), "{reads} reads of devices for 12 changed records");
    assert_eq!(scene.asked("walk"), 0);
    scene.assert_equal();
}

#[test]
fn what_is_written_after_a_clock_was_set_back_under_a_backup_is_found_by_the_next() {
    let mut scene = Scene::new(1);
    scene.cluster.before(Moment::Scan, 1, |shared| shared.clock_ahead -= 60_000_000_000);
    assert_eq!(scene.incremental().deleted, 0);
    // It bears a time from before that backup.
    scene.client.put(b"s", &int(3), true, u32::MAX, &number(7));
    scene.cluster.pass(120);
    let told = scene.incremental();
    assert_eq!((told.counted, told.walked), (0, walked("moved", 4096)));
    scene.assert_equal();
}
