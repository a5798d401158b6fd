//! How far servers have come with building secondary indexes.

use crate::aerospike::cluster::Cluster;
use crate::aerospike::error::Result;
use crate::aerospike::metadata::{IndexState, index_states};
use crate::aerospike::wire::info;
use crate::record::SecondaryIndex;
use crate::targets::UnbuiltIndex;
use std::collections::BTreeMap;

/// Which of these indexes are not built on every node. One that a node does not have is none of them.
pub fn look(cluster: &Cluster, namespace: &str, indexes: &[SecondaryIndex]) -> Result<Vec<UnbuiltIndex>> {
    if indexes.is_empty() {
        return Ok(Vec::new());
    }
    cluster.patiently(|topology| {
        let mut unbuilt: BTreeMap<Vec<u8>, UnbuiltIndex> = BTreeMap::new();
        for node in topology.nodes.values() {
            let list = cluster.info(node, &format!("sindex-list:ns={namespace}"), "the list of secondary indexes")?;
            for (name, state) in index_states(&list, namespace) {
                if state == IndexState::Built || !indexes.iter().any(|index| index.name == name) {
                    continue;
                }
                let ask = format!("sindex-stat:ns={namespace};indexname={}", info::text(&name));
                let statistics = cluster.info(node, &ask, "an index's statistics")?;
                let percent = info::number(&statistics, b';', "load_pct").unwrap_or(0);
                let failed = state == IndexState::Failed;
                if state == IndexState::Untold && percent >= 100 {
                    continue;
                }
                // At 100 a server has yet to open it to queries.
                let percent = u32::try_from(percent).unwrap_or(0).min(99);
                let so_far = unbuilt.entry(name.clone()).or_insert(UnbuiltIndex { name, percent, failed });
                so_far.percent = so_far.percent.min(percent);
                so_far.failed |= failed;
            }
        }
        Ok(unbuilt.into_values().collect())
    })
}
