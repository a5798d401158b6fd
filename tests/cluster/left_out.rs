//! What a scan of changes delivers, and what it says of the records that it leaves out.

use super::conformance::{int, number};
use super::{NAMESPACE, connect, quick};
use crate::support::cluster::client::Client;
use crate::support::cluster::{Fault, Moment, On, TestCluster};
use aerolith::record::{Digest, PartitionId, RecordSelection, Timestamp};
use aerolith::{AerospikeSource, LeftOut, PartitionedSource, RecordSource, Rest};
use std::sync::Arc;

/// Three records in three partitions, which are read together: the first expires in twenty seconds, the second in more
/// than an hour, and the third never.
struct Scene {
    cluster: TestCluster,
    client: Client,
    source: AerospikeSource,
    digests: [Digest; 3],
    partitions: Vec<PartitionId>,
    since: Timestamp,
}

impl Scene {
    fn new() -> Self {
        let cluster = TestCluster::start(1);
        let mut client = Client::connect(&[cluster.address(0)], NAMESPACE);
        let lives = [(0, 80), (1, 5000), (2, u32::MAX)];
        let digests = lives.map(|(n, ttl)| Digest(client.put(b"s", &int(n), true, ttl, &number(n))));
        cluster.pass(60);
        let mut partitions = digests.map(|digest| digest.partition()).to_vec();
        partitions.sort();
        let selection = RecordSelection::default().partitions(Some(partitions.iter().copied().collect()));
        let source = connect(&cluster.address(0), quick(b"").selection(selection)).unwrap();
        let since = source.clock().unwrap();
        Self { cluster, client, source, digests, partitions, since }
    }

    /// What is delivered, and what is said of the rest of each partition.
    fn scan(&self) -> (Vec<Digest>, Vec<Rest>) {
        let counting = self.source.counting().unwrap();
        let wanted: Vec<_> = self.partitions.iter().map(|partition| (*partition, Some(self.since))).collect();
        counting.prepare_counted(NAMESPACE, &wanted);
        let mut delivered = Vec::new();
        let mut rests = Vec::new();
        for partition in &self.partitions {
            let mut take = |batch: aerolith::record::RecordBatch| {
                delivered.extend(batch.iter().map(|record| record.meta.digest));
                Ok(())
            };
            rests.push(counting.scan_counted(NAMESPACE, *partition, self.since, &mut take).unwrap());
        }
        (delivered, rests)
    }

    /// The same, of partitions that were counted together.
    fn counted(&self) -> (Vec<Digest>, Arc<LeftOut>) {
        let (delivered, rests) = self.scan();
        let counted = |rest: &Rest| match rest {
            Rest::Counted(left) => left.clone(),
            rest => panic!("{rest:?}"),
        };
        let all: Vec<Arc<LeftOut>> = rests.iter().map(counted).collect();
        assert!(all.iter().all(|left| Arc::ptr_eq(left, &all[0]) && left.partitions == self.partitions), "{all:?}");
        (delivered, all[0].clone())
    }

    #[track_caller]
    fn untold(&self) {
        let (_, rests) = self.scan();
        assert!(rests.iter().all(|rest| matches!(rest, Rest::Untold(_))), "{rests:?}");
    }
}

#[test]
fn what_is_about_to_expire_is_delivered_once_that_is_expected() {
    let scene = Scene::new();
    let (delivered, left) = scene.counted();
    assert_eq!((delivered.len(), left.records), (0, 3));
    // What has expired while the query went on was counted or not: servers tell full seconds.
    assert!(left.from.0 + 2 <= left.until.0, "{left:?}");
    scene.source.counting().unwrap().expect_expiry();
    let (delivered, left) = scene.counted();
    assert_eq!((delivered, left.records), (vec![scene.digests[0]], 2));
    assert_eq!(left.from.0, left.until.0 + 1, "all that expires before is delivered: {left:?}");
}

#[test]
fn a_scan_that_takes_longer_than_it_reaches_tells_nothing_and_the_next_one_reaches_further() {
    let scene = Scene::new();
    scene.scan();
    scene.source.counting().unwrap().expect_expiry();
    let near = scene.counted().1.until;
    scene.cluster.before(Moment::Partition, 1, |shared| shared.clock_ahead += 40_000_000_000);
    scene.untold();
    let far = scene.counted().1.until;
    assert!((near.0 + 70..near.0 + 90).contains(&far.0), "{near:?} {far:?}");
}

#[test]
fn a_scan_of_which_something_did_not_come_tells_nothing() {
    let mut scene = Scene::new();
    scene.cluster.shared().overcounted = 1;
    scene.untold();
    scene.cluster.shared().overcounted = 0;
    scene.counted();
    // One partition is refused, and then read by itself.
    let refused = scene.partitions[1];
    scene.cluster.fault(0, On::Query, Fault::Partition(refused.number(), 11), 1);
    let (_, rests) = scene.scan();
    for (partition, rest) in scene.partitions.iter().zip(rests) {
        assert_eq!(matches!(rest, Rest::Counted(_)), *partition == refused, "{rest:?}");
    }
    let changed = scene.client.put(b"s", &int(2), true, u32::MAX, &number(20));
    scene.cluster.fault(0, On::Query, Fault::Unreadable(changed, 1), 1);
    scene.untold();
}
