//! How a namespace stands: its nodes, what they hold in full, and what was truncated.

use crate::aerospike::cluster::{Cluster, MIGRATIONS};
use crate::aerospike::error::{ClusterError, Result};
use crate::aerospike::metadata;
use crate::aerospike::wire::info;
use crate::format::evidence::{Evidence, NodeEvidence};
use crate::record::Timestamp;
use crate::record::time::AEROSPIKE_EPOCH_SECONDS;
use crate::sources::Standing;

/// Looks at the cluster again, and asks each node once.
pub fn of(cluster: &Cluster, namespace: &str, margin_millis: u64) -> Result<Standing> {
    // If this fails, the old picture may still do: what is asked next tells.
    let _ = cluster.refresh(cluster.topology().version);
    cluster.patiently(|topology| {
        let (statistics, sets) = (format!("namespace/{namespace}"), format!("sets/{namespace}"));
        let mut standing = Standing {
            evidence: Evidence {
                taken: u64::MAX,
                margin_millis,
                epoch: topology.key().unwrap_or(0),
                settled: topology.key().is_some(),
                nodes: Vec::new(),
            },
            truncated: None,
            truncated_sets: Vec::new(),
            fresh: 0,
            unknown_sets: None,
        };
        let mut known: Vec<Vec<u8>> = Vec::new();
        for node in topology.nodes.values() {
            let reply = cluster.info_of(node, &["statistics", &statistics, &sets])?;
            let find = |name: &str, what| {
                reply.find(name, what).map_err(|error| ClusterError::Other(format!("node {}: {error}", node.name)))
            };
            let own = find(&statistics, "a namespace's statistics")?;
            let clock = info::number::<u64>(own, b';', "current_time").map(|time| time + AEROSPIKE_EPOCH_SECONDS);
            let uptime = info::number::<u64>(find("statistics", "a node's statistics")?, b';', "uptime");
            let started = clock.zip(uptime).map_or(0, |(clock, uptime)| clock.saturating_sub(uptime) * 1000);
            standing.evidence.settled &= MIGRATIONS.iter().all(|name| info::number::<u64>(own, b';', name) == Some(0));
            let held = topology.held_by(namespace, &node.name);
            standing.evidence.taken = standing.evidence.taken.min(clock.unwrap_or(0) * 1000);
            standing.evidence.nodes.push(NodeEvidence::new(&node.name, started, &held));
            standing.truncated = standing.truncated.max(time(info::number(own, b';', "truncate_lut").unwrap_or(0)));
            standing.fresh = standing.fresh.max(info::number(own, b';', "migrate_fresh_partitions").unwrap_or(0));
            for (set, truncated) in metadata::set_truncations(find(&sets, "the list of sets")?, namespace) {
                standing.truncated_sets.extend(time(truncated).map(|time| (set.clone(), time)));
                known.push(set);
            }
        }
        known.sort_unstable();
        known.dedup();
        // Of a set that several nodes name, the latest time counts: it comes last.
        standing.truncated_sets.sort();
        let wanted = cluster.options().selection.sets.iter().filter(|set| !set.is_empty() && !known.contains(set));
        let unknown: Vec<String> = wanted.map(|set| info::text(set)).collect();
        if !unknown.is_empty() {
            standing.unknown_sets = Some((unknown, known.iter().map(|set| info::text(set)).collect()));
        }
        Ok(standing)
    })
}

/// A time of truncation; servers say 0 where nothing was truncated.
fn time(millis: u64) -> Option<Timestamp> {
    (millis > 0).then(|| Timestamp(millis.saturating_add(AEROSPIKE_EPOCH_SECONDS * 1000)))
}
