//! What shows later whether the data of a source stayed where it was: part of manifests and of journals.

use super::FormatError;
use super::search::WalkReason;
use crate::record::{PARTITIONS, PartitionId, PartitionSet};
use serde::{Deserialize, Serialize};

/// A bit for each partition.
const BITMAP_BYTES: usize = PARTITIONS as usize / 8;
/// Servers tell clock and uptime in full seconds, so the same process may seem to have begun so many milliseconds
/// apart.
pub const START_SLACK_MILLIS: u64 = 2_000;
/// A cluster has at most this many nodes.
pub const MAX_NODES: usize = 4096;

/// A node of a cluster, and what it held of a namespace.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NodeEvidence {
    /// Its name.
    pub name: String,
    /// When its process began, by its own clock, in full seconds as milliseconds since the Unix epoch; 0 if it doesn't
    /// tell.
    pub started: u64,
    /// The partitions that it held in full, a bit for each, partition 0 the highest bit of the first byte; empty for
    /// all of them.
    pub holds: Vec<u8>,
}

impl NodeEvidence {
    /// A node that held these partitions in full.
    pub fn new(name: &str, started: u64, held: &PartitionSet) -> Self {
        let mut holds = Vec::new();
        if held.len() < usize::from(PARTITIONS) {
            holds.resize(BITMAP_BYTES, 0);
            for partition in held.iter() {
                if let Some(byte) = holds.get_mut(usize::from(partition.number() / 8)) {
                    *byte |= 0x80 >> (partition.number() % 8);
                }
            }
        }
        Self { name: name.to_string(), started, holds }
    }

    /// Whether it held this partition in full.
    pub fn holds(&self, partition: PartitionId) -> bool {
        let byte = self.holds.get(usize::from(partition.number() / 8));
        self.holds.is_empty() || byte.is_some_and(|byte| byte & (0x80 >> (partition.number() % 8)) != 0)
    }
}

/// The state of a cluster, as far as its data depends on it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Evidence {
    /// The source's clock when it was taken, in milliseconds since the Unix epoch.
    pub taken: u64,
    /// How far the source's clocks may be apart, in milliseconds.
    pub margin_millis: u64,
    /// What changes whenever partitions are shared out again: the cluster key; 0 if the nodes told none, or not all the
    /// same.
    pub epoch: u64,
    /// Whether no partition was on its way from one node to another, no node came or went, and no server's clock was
    /// set while the backup went on: then no record bears a time that is older than its arrival.
    pub settled: bool,
    /// The nodes, ascending by name.
    pub nodes: Vec<NodeEvidence>,
}

impl Evidence {
    /// Why a filter by last update may miss what changed between this and a later look; `None` if it can't. It would
    /// miss what came back with an older time when a node or half of the cluster did, and what a server dated earlier
    /// whose clock was set.
    pub fn why_filters_miss(&self, later: &Evidence) -> Option<WalkReason> {
        if !self.settled || self.epoch == 0 || self.epoch != later.epoch {
            return Some(WalkReason::Moved);
        }
        let began = |evidence: &Evidence, name: &str| {
            let node = evidence.nodes.iter().find(|node| node.name == name);
            node.map(|node| node.started).filter(|started| *started > 0)
        };
        let same_clock = self.nodes.iter().all(|node| {
            let (then, now) = (began(self, &node.name), began(later, &node.name));
            then.zip(now).is_some_and(|(then, now)| then.abs_diff(now) <= START_SLACK_MILLIS)
        });
        // The beginning of a process, as its clock tells it, moves with the clock.
        (!same_clock).then_some(WalkReason::ClockSet)
    }

    /// Whether all nodes of a later look were there already.
    pub fn had_nodes_of(&self, later: &Evidence) -> bool {
        later.nodes.iter().all(|node| self.nodes.iter().any(|own| own.name == node.name))
    }

    /// Refuses what no writer writes.
    ///
    /// # Errors
    ///
    /// If it is what no writer writes; the error says what.
    pub fn check(&self) -> Result<(), FormatError> {
        if self.nodes.len() > MAX_NODES {
            return Err(FormatError::field("the nodes", format_args!("at most {MAX_NODES}"), self.nodes.len()));
        }
        if !self.nodes.is_sorted_by(|a, b| a.name < b.name) {
            return Err(FormatError::field("the nodes", "ascending by name, each once", "another order"));
        }
        match self.nodes.iter().map(|node| node.holds.len()).find(|length| ![0, BITMAP_BYTES].contains(length)) {
            Some(found) => Err(FormatError::field("a node's partitions", "none or 512 bytes", found)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition(number: u16) -> PartitionId {
        PartitionId::new(number).unwrap()
    }

    #[test]
    fn a_node_tells_which_partitions_it_held() {
        let held: PartitionSet = [0, 9, 4095].map(partition).into_iter().collect();
        let node = NodeEvidence::new("A", 7, &held);
        let found: Vec<u16> = PartitionId::all().filter(|it| node.holds(*it)).map(|it| it.number()).collect();
        assert_eq!(found, [0, 9, 4095]);
        assert_eq!(node.holds[..2], [0x80, 0x40]);
        let all = NodeEvidence::new("A", 7, &PartitionSet::all());
        assert!(all.holds.is_empty() && PartitionId::all().all(|it| all.holds(it)));
        assert!(!NodeEvidence::new("A", 7, &PartitionSet::default()).holds(partition(3)));
    }

    #[test]
    fn a_filter_by_last_update_is_relied_on_only_if_nothing_moved_and_no_clock_was_set() {
        let node = |name: &str, started| NodeEvidence::new(name, started, &PartitionSet::all());
        let with = |a| Evidence {
            taken: 1,
            margin_millis: 2,
            epoch: 3,
            settled: true,
            nodes: vec![node("A", a), node("B", 70_000)],
        };
        let (then, set) = (with(50_000), Some(WalkReason::ClockSet));
        for (started, why) in [(50_000, None), (48_000, None), (52_000, None), (47_999, set), (52_001, set), (0, set)] {
            assert_eq!(then.why_filters_miss(&with(started)), why, "{started}");
        }
        assert_eq!(with(0).why_filters_miss(&with(0)), set, "it is not told");
        assert_eq!(then.why_filters_miss(&Evidence { nodes: vec![node("A", 50_000)], ..then.clone() }), set);
        let moved = Some(WalkReason::Moved);
        assert_eq!(then.why_filters_miss(&Evidence { epoch: 4, ..then.clone() }), moved);
        let untold = Evidence { epoch: 0, ..then.clone() };
        assert_eq!(untold.why_filters_miss(&untold), moved);
        let unsettled = Evidence { settled: false, ..then.clone() };
        assert_eq!((unsettled.why_filters_miss(&then), then.why_filters_miss(&unsettled)), (moved, None));
    }

    #[test]
    fn what_no_writer_writes_is_refused() {
        let node = |name: &str| NodeEvidence::new(name, 1, &PartitionSet::all());
        let good = Evidence { taken: 1, margin_millis: 2, epoch: 3, settled: true, nodes: vec![node("A"), node("B")] };
        assert!(good.check().is_ok());
        assert!(Evidence { nodes: vec![node("B"), node("A")], ..good.clone() }.check().is_err());
        assert!(Evidence { nodes: vec![node("A"), node("A")], ..good.clone() }.check().is_err());
        let short = NodeEvidence { holds: vec![0; 511], ..node("A") };
        assert!(Evidence { nodes: vec![short], ..good }.check().is_err());
    }
}
