//! Whether what a cluster held is there still, once all was read or written.

use super::cluster::Cluster;
use super::error::{ClusterError, Result};
use crate::record::PartitionSet;
use std::time::{Duration, Instant};

/// How long it waits between two looks for a node that may come back.
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);

/// Looks at the cluster once more, and fails if of one of these partitions of these namespaces no node is left that had
/// it: `done` says what was done with it. A node that is gone may come back with what it had, and is waited for as long
/// as the options say.
pub fn check<'a>(
    cluster: &Cluster,
    namespaces: impl Iterator<Item = &'a str> + Clone,
    partitions: &PartitionSet,
    done: &str,
) -> Result<()> {
    let begun = Instant::now();
    loop {
        // If this fails, the old picture may still do.
        let _ = cluster.refresh(cluster.topology().version);
        let topology = cluster.topology();
        let mut lost_of = namespaces.clone().map(|namespace| (namespace, topology.lost(namespace, partitions)));
        let Some((namespace, (lost, nodes))) = lost_of.find(|(_, (lost, _))| !lost.is_empty()) else {
            return Ok(());
        };
        let awaited = lost.iter().any(|partition| topology.may_return(namespace, partition));
        if awaited && begun.elapsed() < cluster.options().absence {
            std::thread::sleep(BETWEEN_LOOKS);
            continue;
        }
        let nodes: Vec<&str> = nodes.iter().map(AsRef::as_ref).collect();
        return Err(ClusterError::Other(format!(
            "what was {done} {} of namespace {namespace} may be lost: of the nodes that had it ({}), none is there \
             that was not restarted since",
            lost.named(),
            nodes.join(", ")
        )));
    }
}
