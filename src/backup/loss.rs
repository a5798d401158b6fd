//! Telling deletes from losses.
//!
//! A cluster that lost a node answers as if what the node alone had were deleted. What a snapshot notes of the
//! cluster's nodes ([`Evidence`]) tells the next backup for which partitions that can't be: a node that had them is
//! still the same process. Of the others (a rolling restart leaves all of them in doubt), and of those that the
//! snapshot has from earlier ones since it could not read them, it counts what is gone. Deletes are spread over all
//! partitions; a loss takes whole partitions.

use crate::format::SnapshotId;
use crate::format::evidence::{Evidence, NodeEvidence, START_SLACK_MILLIS};
use crate::format::snapshot::NamespaceManifest;
use crate::record::{PartitionId, PartitionSet, Timestamp, VoidTime};
use crate::sources::Standing;
use std::collections::{BTreeMap, HashMap};

/// Fewer records than this that are gone are no loss to speak of.
const LEAST_GONE: u64 = 20;

/// The partitions of which it can't be shown that a node still has what it held then, and why. What no node held then
/// in full, since it was being lost or handed over at that moment, is among them.
pub fn unproven(then: &Evidence, now: &Evidence) -> (PartitionSet, Vec<String>) {
    let same_epoch = then.epoch == now.epoch && now.epoch != 0;
    let (mut living, mut changed) = (Vec::new(), Vec::new());
    for node in &then.nodes {
        match now.nodes.iter().find(|other| other.name == node.name) {
            _ if same_epoch => living.push(node),
            None => changed.push(format!("{} is gone", node.name)),
            // A server that doesn't tell is believed. One whose clock was set meanwhile is taken for another: then what
            // is gone is counted, and nothing is refused that isn't gone. To take another process for the same one
            // would be to take what it lost for deleted.
            Some(other)
                if node.started == 0
                    || other.started == 0
                    || node.started.abs_diff(other.started) <= START_SLACK_MILLIS =>
            {
                living.push(node);
            }
            Some(_) => changed.push(format!("{} was restarted", node.name)),
        }
    }
    let held_by = |nodes: &[&NodeEvidence], partition| nodes.iter().any(|node| node.holds(partition));
    let nodes: Vec<&NodeEvidence> = then.nodes.iter().collect();
    let held_by_none: PartitionSet = PartitionId::all().filter(|it| !held_by(&nodes, *it)).collect();
    if !held_by_none.is_empty() {
        changed.push(format!("no node had {} in full then", held_by_none.named()));
    }
    (PartitionId::all().filter(|partition| !held_by(&living, *partition)).collect(), changed)
}

/// The partitions of a namespace that may have lost something since the parent, and what explains that records are
/// gone.
pub struct Doubts {
    parent: SnapshotId,
    unproven: PartitionSet,
    changed: Vec<String>,
    since: Timestamp,
    now: Timestamp,
    truncated: Option<Timestamp>,
    truncated_sets: HashMap<Vec<u8>, Timestamp>,
}

/// Of the partitions in doubt: how many records the parent has that should be there, and how many of them are gone.
pub type Tally = BTreeMap<PartitionId, (u64, u64)>;

/// What looks like a loss.
#[derive(Debug)]
#[non_exhaustive]
pub struct SourceLoss {
    /// What was found, for people.
    pub problem: String,
    /// The partitions that it took.
    pub partitions: PartitionSet,
}

impl Doubts {
    /// What is in doubt of a namespace; `None` if nothing is.
    pub fn of(
        parent: Option<&(SnapshotId, NamespaceManifest)>,
        standing: Option<&Standing>,
        now: Timestamp,
    ) -> Option<Self> {
        let (parent, namespace) = parent?;
        let standing = standing?;
        let (mut unproven, mut changed) = unproven(namespace.evidence.as_ref()?, &standing.evidence);
        // What the parent could not read it has from earlier snapshots: its own evidence says nothing of that.
        let left = namespace.unread_partitions();
        if !left.is_empty() {
            left.iter().for_each(|partition| unproven.insert(partition));
            changed.push(format!("that snapshot has {} as earlier ones do", left.named()));
        }
        let times = namespace.unread.iter().filter_map(|range| range.as_of);
        let earliest = times.fold(namespace.source_time, u64::min);
        (!unproven.is_empty()).then(|| Doubts {
            parent: *parent,
            unproven,
            changed,
            since: Timestamp(earliest).minus_millis(standing.evidence.margin_millis),
            now,
            truncated: standing.truncated,
            truncated_sets: standing.truncated_sets.iter().cloned().collect(),
        })
    }

    /// Whether anything is counted of this partition.
    pub fn concern(&self, partition: PartitionId) -> bool {
        self.unproven.contains(partition)
    }

    /// Whether a record of the parent may well be gone without anything having been lost: it expired, or its set was
    /// truncated.
    pub fn expect_gone(&self, set: &[u8], void_time: VoidTime) -> bool {
        let truncated = self.truncated.max(self.truncated_sets.get(set).copied());
        void_time.is_expired(self.now) || truncated.is_some_and(|time| time >= self.since)
    }

    /// Whether what is gone looks like a loss.
    pub fn judge(&self, namespace: &str, tally: &Tally) -> Option<SourceLoss> {
        let (before, gone) = tally.values().fold((0, 0), |sums, one| (sums.0 + one.0, sums.1 + one.1));
        if gone < LEAST_GONE {
            return None;
        }
        let share = gone as f64 / before as f64;
        // Had so many been deleted at random, about so many partitions would have been emptied.
        let expected: f64 = tally.values().filter(|one| one.0 > 0).map(|one| share.powf(one.0 as f64)).sum();
        let emptied = tally.values().filter(|(before, gone)| *before > 0 && gone == before).count();
        if share <= 0.5 && (emptied as f64) < expected + 4.0 * expected.sqrt() + 8.0 {
            return None;
        }
        let lost = tally.iter().filter(|(_, (before, gone))| *before > 0 && gone * 2 >= *before);
        let partitions: PartitionSet = lost.map(|(partition, _)| *partition).collect();
        let problem = format!(
            "namespace {namespace} may have lost data: {gone} of {before} records that snapshot {} has are gone from \
             {} of whose copies none was kept ({})",
            self.parent,
            partitions.named(),
            self.changed.join(", ")
        );
        Some(SourceLoss { problem, partitions })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nodes that each have two thirds of the partitions, all but those of which the number leaves this remainder.
    fn evidence(epoch: u64, nodes: &[(&str, u16)]) -> Evidence {
        let node = |(name, lacks): &(&str, u16)| {
            let held = PartitionId::all().filter(|it| it.number() % 3 != *lacks).collect();
            NodeEvidence::new(name, 1_000_000, &held)
        };
        Evidence { taken: 0, margin_millis: 5000, epoch, settled: true, nodes: nodes.iter().map(node).collect() }
    }

    #[test]
    fn a_partition_is_in_doubt_if_no_node_that_had_it_is_the_same_process() {
        let then = evidence(1, &[("A", 0), ("B", 1), ("C", 2)]);
        assert!(unproven(&then, &then).0.is_empty());
        let one_restarted = Evidence { epoch: 2, ..then.clone() };
        assert!(unproven(&then, &one_restarted).0.is_empty());
        let mut two_gone = Evidence { epoch: 2, ..then.clone() };
        two_gone.nodes[1].started += 60_000;
        two_gone.nodes.remove(0);
        let (partitions, changed) = unproven(&then, &two_gone);
        assert!(partitions.iter().all(|it| it.number() % 3 == 2) && partitions.len() == 1365);
        assert_eq!(changed, ["A is gone", "B was restarted"]);
    }

    #[test]
    fn a_partition_that_no_node_held_is_in_doubt_whether_nodes_came_and_went_or_not() {
        let then = evidence(1, &[("A", 0), ("B", 0)]);
        for now in [then.clone(), Evidence { epoch: 2, ..then.clone() }] {
            let (partitions, changed) = unproven(&then, &now);
            assert!(partitions.iter().all(|it| it.number() % 3 == 0) && partitions.len() == 1366);
            assert!(changed.len() == 1 && changed[0].starts_with("no node had 1366 partitions (0,3,6,"), "{changed:?}");
        }
    }

    #[test]
    fn a_node_that_began_seconds_later_is_another_process_and_one_that_is_off_by_rounding_is_not() {
        let then = evidence(1, &[("A", 3)]);
        let began = |later: u64| {
            let mut now = Evidence { epoch: 2, ..then.clone() };
            now.nodes[0].started += later;
            unproven(&then, &now).0.len()
        };
        assert_eq!([began(0), began(1_000), began(2_000)], [0; 3]);
        assert_eq!([began(3_000), began(9_000)], [4096; 2]);
    }

    fn doubts() -> Doubts {
        Doubts {
            parent: SnapshotId([1; 16]),
            unproven: PartitionSet::all(),
            changed: vec!["A was restarted".into()],
            since: Timestamp(0),
            now: Timestamp(0),
            truncated: None,
            truncated_sets: HashMap::new(),
        }
    }

    fn tally(each: impl Fn(u16) -> (u64, u64)) -> Tally {
        PartitionId::all().map(|partition| (partition, each(partition.number()))).collect()
    }

    #[test]
    fn deletes_that_are_spread_are_no_loss_and_whole_partitions_are_one() {
        let judge = |each: &dyn Fn(u16) -> (u64, u64)| doubts().judge("test", &tally(each)).is_some();
        assert!(!judge(&|_| (50, 0)));
        assert!(!judge(&|n| (50, u64::from(n % 20))), "a fifth was deleted, here and there");
        assert!(judge(&|_| (50, 50)), "all is gone");
        assert!(judge(&|n| (50, if n % 3 == 0 { 50 } else { 1 })), "a third of the partitions is gone");
        assert!(judge(&|n| (50, if n < 40 { 50 } else { 0 })), "forty partitions are gone");
        // One record or none in most partitions: single deletes empty some.
        assert!(!judge(&|n| (u64::from(n % 2), u64::from(n % 200 == 1))));
        assert!(!judge(&|n| (u64::from(n % 2), u64::from(n % 4 == 1))), "half of a small namespace");
        assert!(!judge(&|n| (u64::from(n < 30), u64::from(n < 12))), "a handful");
    }

    #[test]
    fn what_expired_or_was_truncated_since_is_no_loss() {
        let mut doubts = doubts();
        (doubts.since, doubts.now) = (Timestamp(5_000), Timestamp(2_000_000_000_000));
        let never = VoidTime::NEVER;
        assert!(!doubts.expect_gone(b"users", never));
        assert!(doubts.expect_gone(b"users", VoidTime(1)));
        doubts.truncated_sets.insert(b"users".to_vec(), Timestamp(4_000));
        assert!(!doubts.expect_gone(b"users", never), "truncated before");
        doubts.truncated_sets.insert(b"users".to_vec(), Timestamp(6_000));
        assert!(doubts.expect_gone(b"users", never) && !doubts.expect_gone(b"other", never));
        doubts.truncated = Some(Timestamp(6_000));
        assert!(doubts.expect_gone(b"other", never));
    }
}
