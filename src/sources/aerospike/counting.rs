//! A cluster as a source that counts what scans of changes leave out, and where records are looked for.

use super::fetch::Want;
use super::{AerospikeSource, Prepared, Search};
use crate::aerospike::wire::{counts, info};
use crate::error::{Error, Result};
use crate::record::{Digest, PartitionId, RecordBatch, Timestamp};
use crate::sources::{CountingSource, DigestRow, Found, Known, Rest};
use crate::sync::lock;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

impl AerospikeSource {
    pub(super) fn prepare_so(&self, namespace: &str, wanted: &[(PartitionId, Option<Timestamp>)], search: Search) {
        self.passes.iter().filter_map(|pass| lock(pass).take()).for_each(|pass| pass.stop());
        *lock(&self.prepared) = Some(Prepared { namespace: namespace.to_string(), parts: wanted.to_vec(), search });
    }

    /// Whether records of a namespace are on devices, where a walk reads each user key from its device.
    fn is_on_devices(&self, namespace: &str) -> bool {
        if let Some(known) = lock(&self.on_devices).get(namespace) {
            return *known;
        }
        let name = format!("namespace/{namespace}");
        let all = self.cluster().info_of_all(&name, "a namespace's statistics").unwrap_or_default();
        let engine = |statistics: &Vec<u8>| info::value(statistics, b';', "storage-engine").map(info::text);
        let found = all.iter().any(|statistics| engine(statistics).is_some_and(|engine| engine == "device"));
        lock(&self.on_devices).insert(namespace.to_string(), found);
        found
    }

    /// How many records each partition has on the node that it is read from.
    fn counts(&self, namespace: &str, partitions: &BTreeMap<PartitionId, Known>) -> Option<BTreeMap<PartitionId, u64>> {
        let topology = self.cluster().topology();
        let mut by_node: HashMap<Arc<str>, BTreeMap<PartitionId, u64>> = HashMap::new();
        let mut counts = BTreeMap::new();
        for partition in partitions.keys() {
            let node = topology.owner(namespace, *partition, &self.cluster().options().racks)?;
            if !by_node.contains_key(&node.name) {
                let value = self.cluster().info(node, "partition-info", "the list of partitions").ok()?;
                by_node.insert(node.name.clone(), counts::of_partitions(&value, namespace).ok()?);
            }
            counts.insert(*partition, *by_node.get(&node.name)?.get(partition)?);
        }
        Some(counts)
    }

    /// Which of the known digests are there, by batches of reads without bins: servers answer these from their index.
    fn find_known(&self, namespace: &str, partitions: &BTreeMap<PartitionId, Known>) -> Result<Found> {
        let mut found: Found = partitions.keys().map(|partition| (*partition, Ok(Vec::new()))).collect();
        let digests: Vec<Digest> = partitions.values().flat_map(|known| known.digests.iter().copied()).collect();
        let heads = self.named(self.fetcher.heads(namespace, &digests))?;
        for row in heads {
            if let Some(Ok(rows)) = found.get_mut(&row.digest.partition()) {
                rows.push(row);
            }
        }
        Ok(found)
    }
}

impl CountingSource for AerospikeSource {
    fn prepare_counted(&self, namespace: &str, wanted: &[(PartitionId, Option<Timestamp>)]) {
        self.prepare_so(namespace, wanted, Search::Count);
    }

    fn scan_counted(
        &self,
        namespace: &str,
        partition: PartitionId,
        since: Timestamp,
        each: &mut dyn FnMut(RecordBatch) -> Result<()>,
    ) -> Result<Rest> {
        let part = self.part(namespace, Want::Changes(since), partition)?;
        part.batches.hand_on(each)?;
        part.rest.ok_or_else(|| Error::internal("a scan of changes came without a word on the rest"))
    }

    fn expect_expiry(&self) {
        self.fetcher.horizon.expect_expiry();
    }

    fn seem_to_lack(&self, namespace: &str, partitions: &BTreeMap<PartitionId, Known>) -> Option<Vec<PartitionId>> {
        // These counts are of all sets.
        if !self.cluster().options().selection.query_set().is_empty() {
            return None;
        }
        let counts = self.counts(namespace, partitions)?;
        let lacks = |(partition, known): (&PartitionId, &Known)| {
            (counts.get(partition).is_none_or(|count| *count < known.records)).then_some(*partition)
        };
        Some(partitions.iter().filter_map(lacks).collect())
    }

    fn find(&self, namespace: &str, partitions: &BTreeMap<PartitionId, Known>, all: bool) -> Result<Found> {
        if !all && self.is_on_devices(namespace) {
            return self.find_known(namespace, partitions);
        }
        let wanted: Vec<PartitionId> = partitions.keys().copied().collect();
        let never = AtomicBool::new(false);
        let fetched = self.named(self.fetcher.partitions(namespace, Want::Digests(None), &wanted, 0, &never))?;
        let rows = |part: Result<super::fetch::Part, String>| part.map(|part| part.rows);
        Ok(fetched
            .into_iter()
            .map(|(partition, part)| (partition, rows(part)))
            .collect::<BTreeMap<_, Result<Vec<DigestRow>, String>>>())
    }
}
