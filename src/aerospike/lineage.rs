//! Which nodes' copies of a partition descend from what the cluster held when it was first looked at.
//!
//! A cluster that favours availability goes on without the nodes that are gone. Of a partition whose copies were all on
//! them it makes a new, empty one, and answers as if nothing had happened; a server that keeps its records in memory
//! alone comes back empty and does the same. So it isn't enough that a node says a partition is its own: its copy
//! counts if the node held it when it was last looked at and is still the same process, or is in one cluster with such
//! a node, which then has handed over what it holds.

use super::topology::PartitionMap;
use crate::record::{PARTITIONS, PartitionId, PartitionSet};
use std::sync::Arc;

/// When a server's process began, in seconds on our own clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Start(pub i64);

/// Two looks at the same process may differ by this many seconds: servers tell full seconds.
const START_SLACK: i64 = 3;

impl Start {
    /// Whether both are the same process.
    pub fn is(self, other: Start) -> bool {
        (self.0 - other.0).abs() <= START_SLACK
    }
}

/// What a node said of itself when it was looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SeenNode {
    /// When its process began; `None` if it doesn't tell.
    pub start: Option<Start>,
    /// The cluster that it belongs to.
    pub key: ClusterKey,
}

/// What changes whenever nodes come or go.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ClusterKey {
    /// The server doesn't tell.
    #[default]
    Untold,
    /// It is just changing.
    Unstable,
    /// The key.
    Stable(u64),
}

impl ClusterKey {
    /// Whether two nodes are in one cluster for certain. Servers that don't tell count as one cluster.
    fn joins(self, other: ClusterKey) -> bool {
        self == other && self != ClusterKey::Unstable
    }
}

/// A node that has a partition in full.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Holder {
    node: Arc<str>,
    start: Option<Start>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Line {
    holders: Vec<Holder>,
    /// Whether none of them is there any more with what it held.
    broken: bool,
}

/// The copies of one namespace that count.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Lineage(Vec<Line>);

/// What another look at a node tells of it.
pub struct Look<'a> {
    /// What the node says now; `None` if it is not there.
    pub seen: &'a dyn Fn(&str) -> Option<SeenNode>,
    /// Whether a node that was restarted has kept its records.
    pub kept: &'a dyn Fn(&str) -> bool,
}

impl Lineage {
    /// The copies that count after another look at the cluster. At the first one, all that are claimed do.
    pub fn next(&self, map: &PartitionMap, look: &Look<'_>) -> Lineage {
        let line = |partition: PartitionId| {
            let claim = |node: &Arc<str>| {
                let seen = (look.seen)(node)?;
                Some((Holder { node: node.clone(), start: seen.start }, seen.key))
            };
            let claims = map.owners(partition).filter_map(claim);
            let Some(before) = self.0.get(usize::from(partition.number())).filter(|line| !line.holders.is_empty())
            else {
                return Line { holders: claims.map(|(holder, _)| holder).collect(), broken: false };
            };
            let lives = |holder: &'_ Holder| {
                let seen = (look.seen)(&holder.node)?;
                let same = holder.start.zip(seen.start).is_none_or(|(then, now)| then.is(now));
                (same || (look.kept)(&holder.node)).then_some((holder.node.clone(), seen.key))
            };
            let living: Vec<(Arc<str>, ClusterKey)> = before.holders.iter().filter_map(lives).collect();
            let counts = |(holder, key): &(Holder, ClusterKey)| {
                living.iter().any(|(node, its)| *node == holder.node || key.joins(*its))
            };
            let holders: Vec<Holder> = claims.filter(counts).map(|(holder, _)| holder).collect();
            match (living.is_empty(), holders.is_empty()) {
                (false, false) => Line { holders, broken: false },
                (none_lives, _) => Line { holders: before.holders.clone(), broken: none_lives },
            }
        };
        Lineage(PartitionId::all().map(line).collect())
    }

    fn line(&self, partition: PartitionId) -> Option<&Line> {
        self.0.get(usize::from(partition.number()))
    }

    /// Whether what a node has of a partition counts.
    pub fn counts(&self, partition: PartitionId, node: &str) -> bool {
        self.line(partition).is_some_and(|line| !line.broken && line.holders.iter().any(|holder| &*holder.node == node))
    }

    /// The nodes that had a partition in full, if none of them is there any more with what it had.
    pub fn lost_with(&self, partition: PartitionId) -> Option<Vec<Arc<str>>> {
        let line = self.line(partition).filter(|line| line.broken)?;
        Some(line.holders.iter().map(|holder| holder.node.clone()).collect())
    }

    /// The partitions of which a node has a copy that counts.
    pub fn held_by(&self, node: &str) -> PartitionSet {
        PartitionId::all().take(usize::from(PARTITIONS)).filter(|partition| self.counts(*partition, node)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::topology::Ownership;
    use super::*;
    use std::collections::HashMap;

    const P: u16 = 7;

    fn partition() -> PartitionId {
        PartitionId::new(P).unwrap()
    }

    /// A look at nodes, each with its start, its cluster key, and which copy of the partition it claims.
    fn look(before: &Lineage, nodes: &[(&str, i64, u64, Option<usize>)], kept: &[&str]) -> Lineage {
        let mut map = PartitionMap::default();
        let mut seen = HashMap::new();
        for (name, start, key, copy) in nodes {
            let mut copies = vec![vec![0; 512]; 2];
            if let Some(copy) = copy {
                copies[*copy][usize::from(P / 8)] |= 0x80 >> (P % 8);
            }
            map.claim(&Arc::from(*name), &Ownership { namespace: "test".into(), regime: 0, copies });
            let key = if *key == 0 { ClusterKey::Unstable } else { ClusterKey::Stable(*key) };
            seen.insert(name.to_string(), SeenNode { start: Some(Start(*start)), key });
        }
        before.next(&map, &Look { seen: &|node| seen.get(node).copied(), kept: &|node| kept.contains(&node) })
    }

    fn counts(lineage: &Lineage) -> Vec<&'static str> {
        ["A", "B", "C"].into_iter().filter(|node| lineage.counts(partition(), node)).collect()
    }

    #[test]
    fn at_first_all_claims_count_and_a_restart_in_a_second_is_none() {
        let first =
            look(&Lineage::default(), &[("A", 100, 1, Some(0)), ("B", 50, 1, Some(1)), ("C", 50, 1, None)], &[]);
        assert_eq!(counts(&first), ["A", "B"]);
        assert_eq!(counts(&look(&first, &[("A", 102, 1, Some(0)), ("B", 50, 1, Some(1))], &[])), ["A", "B"]);
        assert_eq!(first.held_by("B").len(), 1);
    }

    #[test]
    fn a_partition_whose_nodes_are_gone_is_lost_until_one_comes_back_with_it() {
        let first =
            look(&Lineage::default(), &[("A", 100, 1, Some(0)), ("B", 50, 1, Some(1)), ("C", 50, 1, None)], &[]);
        // The survivor claims it, and has nothing.
        let gone = look(&first, &[("C", 50, 2, Some(0))], &[]);
        assert_eq!(counts(&gone), [""; 0]);
        assert_eq!(gone.lost_with(partition()), Some(vec!["A".into(), "B".into()]));
        let empty = look(&gone, &[("A", 300, 3, Some(0)), ("C", 50, 3, Some(1))], &[]);
        assert_eq!(counts(&empty), [""; 0], "it was restarted");
        let still = look(&gone, &[("A", 100, 3, Some(0)), ("C", 50, 3, Some(1))], &[]);
        assert_eq!(counts(&still), ["A", "C"], "it only stood still");
        assert_eq!(
            counts(&look(&empty, &[("A", 300, 3, Some(0)), ("C", 50, 3, None)], &["A"])),
            ["A"],
            "it kept its data"
        );
    }

    #[test]
    fn a_rolling_restart_with_two_copies_loses_nothing() {
        let mut lineage = look(&Lineage::default(), &[("A", 1, 1, Some(0)), ("B", 1, 1, Some(1))], &[]);
        lineage = look(&lineage, &[("B", 1, 2, Some(0))], &[]);
        assert_eq!(counts(&lineage), ["B"]);
        lineage = look(&lineage, &[("A", 60, 3, None), ("B", 1, 3, Some(0))], &[]);
        lineage = look(&lineage, &[("A", 60, 3, Some(0)), ("B", 1, 3, Some(1))], &[]);
        assert_eq!(counts(&lineage), ["A", "B"], "it was filled again");
        lineage = look(&lineage, &[("A", 60, 4, Some(0))], &[]);
        lineage = look(&lineage, &[("A", 60, 5, Some(0)), ("B", 90, 5, Some(1))], &[]);
        assert_eq!(counts(&lineage), ["A", "B"]);
    }

    #[test]
    fn a_node_of_another_cluster_does_not_count() {
        let first = look(&Lineage::default(), &[("A", 1, 1, Some(0)), ("B", 1, 1, None)], &[]);
        let split = look(&first, &[("A", 1, 1, Some(0)), ("B", 1, 2, Some(0))], &[]);
        assert_eq!(counts(&split), ["A"]);
        let unstable = look(&first, &[("A", 1, 0, Some(0)), ("B", 1, 0, Some(1))], &[]);
        assert_eq!(counts(&unstable), ["A"]);
        let away = look(&first, &[("A", 1, 1, None), ("B", 1, 2, Some(0))], &[]);
        assert_eq!((counts(&away), away.lost_with(partition())), (vec!["A"], None), "it may yet hand it over");
    }
}
