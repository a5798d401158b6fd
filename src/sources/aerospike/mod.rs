//! Reads a live Aerospike cluster: `aerospike://HOST:PORT[,HOST:PORT…][/NAMESPACE]`.
//!
//! Records come through our own reader of the wire protocol ([`wire`](crate::aerospike::wire)), which hands on every
//! bin's bytes untouched. Partitions are read whole from the nodes that have them; whatever goes wrong on the way (a
//! connection that breaks, a node that leaves, a partition that moves) makes the partition be read again, from where it
//! is then. A partition that stays unreadable is an error: no record is left out in silence.
//!
//! - *Time* is the servers': the clock of the node that is furthest behind, in full seconds. An incremental reads back
//!   further by what the cluster measures as its clocks' skew, and five seconds for writes that were under way.
//! - *Records that can't be read* (damaged on the server's storage, or in a form that a backup can't hold) are named
//!   and counted; the rest goes on.
//! - *Records of a walk* come with generation and void time; servers with stored user keys read the key from their
//!   storage even then. So a scan of changes counts what it leaves out, and a walk is for where that does not suffice.

mod ahead;
mod by_digest;
mod counting;
mod fetch;
mod horizon;
mod left_out;
mod patience;
mod selection;
mod standing;

use crate::aerospike::{ClusterOptions, ClusterUrl, error, metadata, remains};

use super::{BadRecord, CountingSource, DigestRow, PartitionedSource, RecordSource, SourceShape, Standing};
use crate::aerospike::cluster::{Cluster, ClusterUse};
use crate::aerospike::error::ClusterError;
use crate::aerospike::wire::info;
use crate::error::{Error, Result};
use crate::record::{
    Digest, NamespaceMetadata, PARTITIONS, PartitionId, PartitionSet, RecordBatch, RecordMeta, Timestamp,
};
use crate::sync::lock;
use ahead::{Ahead, AheadPlan, Task};
use fetch::{Fetcher, Part, Want};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

/// Incrementals read back at least this much further, in milliseconds: a write bears the time at which it began, and
/// may become visible later.
pub const LEAST_MARGIN_MILLIS: u64 = 5_000;
/// What one query is to deliver, in bytes.
const GROUP_BYTES: usize = 4 << 20;
/// The most partitions of one query to one node, where all records are wanted …
const MAX_GROUP: usize = 64;
/// … and where few of them are, or only their digests: each query costs the server a job.
const MAX_LIGHT_GROUP: usize = 256;
/// The most records, about, of the partitions of one query whose left out records are counted, over all nodes.
const MAX_GROUP_RECORDS: usize = 200_000;
/// About what a record of a walk takes on the wire, in bytes.
const WALK_ROW_BYTES: usize = 100;

/// How large a namespace is, as far as planning needs it.
#[derive(Clone, Copy, Debug, Default)]
struct Size {
    records: u64,
    bytes: u64,
}

/// What a backup is about to read of a namespace.
#[derive(Clone)]
struct Prepared {
    namespace: String,
    /// Since when it reads each partition.
    parts: Vec<(PartitionId, Option<Timestamp>)>,
    /// How it is found out what is gone.
    search: Search,
}

/// How it is found out what is gone.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Search {
    /// A walk comes before each scan of changes.
    Walk,
    /// Scans of changes count what they leave out.
    Count,
    /// Not at all.
    None,
}

/// A live cluster as a source.
pub struct AerospikeSource {
    fetcher: Arc<Fetcher>,
    name: String,
    only: Option<String>,
    margin_millis: u64,
    sizes: Mutex<HashMap<String, Size>>,
    /// The namespace that a backup is about to read, and since when it reads each partition.
    prepared: Mutex<Option<Prepared>>,
    /// Which namespaces have their records on devices.
    on_devices: Mutex<HashMap<String, bool>>,
    /// The passes under way: over records, and over digests.
    passes: [Mutex<Option<Arc<Ahead>>>; 2],
}

impl AerospikeSource {
    /// Connects to a cluster.
    ///
    /// # Errors
    ///
    /// If no node can be reached, the cluster wants another user or password or TLS, or its nodes don't agree on who
    /// they are.
    pub fn connect(url: &ClusterUrl, options: ClusterOptions) -> Result<Self> {
        let name = url.to_string();
        let named = |error: ClusterError| error.of_source(&name);
        let cluster = Cluster::connect(url, options, ClusterUse::Read).map_err(named)?;
        let skew = skew_millis(&cluster).map_err(named)?;
        Ok(Self {
            fetcher: Arc::new(Fetcher::new(cluster)),
            only: url.namespace.clone(),
            margin_millis: LEAST_MARGIN_MILLIS.saturating_add(skew),
            sizes: Mutex::default(),
            prepared: Mutex::default(),
            on_devices: Mutex::default(),
            passes: Default::default(),
            name,
        })
    }

    fn cluster(&self) -> &Cluster {
        &self.fetcher.cluster
    }

    fn named<T>(&self, result: error::Result<T>) -> Result<T> {
        result.map_err(|error| error.of_source(&self.name))
    }

    /// A namespace's size; what the servers said of it is kept, as only plans depend on it.
    fn size(&self, namespace: &str) -> Result<Size> {
        if let Some(size) = lock(&self.sizes).get(namespace) {
            return Ok(*size);
        }
        let statistics =
            self.named(self.cluster().info_of_all(&format!("namespace/{namespace}"), "a namespace's statistics"))?;
        let mut size = Size::default();
        for statistics in statistics {
            let number = |name| info::number::<u64>(&statistics, b';', name);
            // `objects` counts copies too, as do the bytes.
            let masters = number("master_objects").unwrap_or(0);
            let objects = number("objects").unwrap_or(masters).max(1);
            let used = ["data_used_bytes", "device_used_bytes", "memory_used_data_bytes"];
            let used = used.into_iter().filter_map(number).max().unwrap_or(0);
            size.records += masters;
            size.bytes += (u128::from(used) * u128::from(masters) / u128::from(objects)) as u64;
        }
        lock(&self.sizes).insert(namespace.to_string(), size);
        Ok(size)
    }

    /// The digests of a partition that were asked for; `None` if all of them.
    fn selected_digests(&self, partition: PartitionId) -> Option<Vec<Digest>> {
        let selection = &self.cluster().options().selection;
        let mut digests: Vec<Digest> =
            selection.digests.iter().filter(|digest| digest.partition() == partition).copied().collect();
        digests.sort_unstable();
        digests.dedup();
        let all = selection.partitions.as_ref().is_none_or(|partitions| partitions.contains(partition));
        match (selection.digests.is_empty(), all) {
            (true, true) => None,
            (false, true) => Some(digests),
            (_, false) => Some(Vec::new()),
        }
    }

    /// How many partitions one query asks for, and about how many bytes each has.
    fn group(&self, namespace: &str, want: Want) -> Result<(usize, usize)> {
        let Size { records, bytes } = self.size(namespace)?;
        let each = |total: u64| usize::try_from(total / u64::from(PARTITIONS)).unwrap_or(usize::MAX).max(1);
        let walk_bytes = each(records.saturating_mul(WALK_ROW_BYTES as u64));
        // What a filter by last update lets through is mostly little, but it may be all.
        let group_bytes = match want {
            Want::Records(None) => each(bytes),
            Want::Records(Some(_)) => walk_bytes.max(each(bytes) / 4),
            // No walk comes beside it.
            Want::Changes(_) => each(bytes).div_ceil(8),
            Want::Digests(_) => walk_bytes,
        };
        let nodes = self.cluster().topology().nodes.len().max(1);
        let most = if want == Want::Records(None) { MAX_GROUP } else { MAX_LIGHT_GROUP };
        let mut group = (GROUP_BYTES / group_bytes).clamp(1, most) * nodes;
        if matches!(want, Want::Changes(_)) {
            // What the parent has of all of them is held in memory until the last is read.
            group = group.min((MAX_GROUP_RECORDS / each(records)).max(nodes));
        }
        // A little more than the average, since memory that has to grow is copied.
        let partition_bytes = if matches!(want, Want::Digests(_)) { 0 } else { each(bytes) / 8 * 9 };
        Ok((group, partition_bytes))
    }

    /// What a pass is to read: what was prepared, else all partitions. `None` if something else was prepared.
    fn tasks(&self, namespace: &str, want: Want, partition: PartitionId) -> Result<Option<Vec<Task>>> {
        let prepared = lock(&self.prepared).clone().filter(|prepared| prepared.namespace == namespace);
        let wanted: Vec<(PartitionId, Want)> = match prepared {
            None => self.partitions().iter().map(|partition| (partition, want)).collect(),
            Some(Prepared { parts, .. }) if matches!(want, Want::Digests(_)) => {
                let walked = parts.into_iter().filter(|(_, since)| since.is_some());
                walked.map(|(partition, since)| (partition, Want::Digests(since))).collect()
            }
            Some(Prepared { parts, search, .. }) => {
                let want = |since: Option<Timestamp>| match since {
                    Some(since) if search == Search::Count => Want::Changes(since),
                    since => Want::Records(since),
                };
                parts.into_iter().map(|(partition, since)| (partition, want(since))).collect()
            }
        };
        if !wanted.contains(&(partition, want)) {
            return Ok(None);
        }
        let mut tasks: Vec<Task> = Vec::new();
        let mut groups: Vec<(Want, (usize, usize))> = Vec::new();
        for (partition, want) in wanted {
            let (group, partition_bytes) = match groups.iter().find(|(known, _)| *known == want) {
                Some((_, group)) => *group,
                None => {
                    let group = self.group(namespace, want)?;
                    groups.push((want, group));
                    group
                }
            };
            match tasks.last_mut() {
                Some(last) if last.want == want && last.partitions.len() < group => last.partitions.push(partition),
                _ => tasks.push(Task { want, partitions: vec![partition], partition_bytes }),
            }
        }
        Ok(Some(tasks))
    }

    /// The pass that is under way and reads a partition so, or a new one; `None` if none does.
    fn pass(&self, namespace: &str, want: Want, partition: PartitionId) -> Result<Option<Arc<Ahead>>> {
        let [records, digests] = &self.passes;
        let mut pass = lock(if matches!(want, Want::Digests(_)) { digests } else { records });
        if let Some(running) = &*pass
            && running.is_for(namespace, want, partition)
            && !running.is_over()
        {
            return Ok(Some(running.clone()));
        }
        let Some(tasks) = self.tasks(namespace, want, partition)? else { return Ok(None) };
        if let Some(old) = &*pass {
            old.stop();
        }
        // The digests of what was not updated since come first, however far both are ahead.
        let is_walked = lock(&self.prepared).as_ref().is_none_or(|prepared| prepared.search == Search::Walk);
        let first = tasks.iter().find_map(|task| match task.want {
            Want::Records(Some(since)) if is_walked => Some((Want::Digests(Some(since)), *task.partitions.first()?)),
            _ => None,
        });
        let after = first.map(|(want, partition)| self.pass(namespace, want, partition)).transpose()?.flatten();
        let options = self.cluster().options();
        let plan = AheadPlan { tasks, workers: options.workers(), memory: options.read_ahead_bytes, after };
        let new = Ahead::start(&self.fetcher, namespace, plan, partition);
        *pass = Some(new.clone());
        Ok(Some(new))
    }

    fn part(&self, namespace: &str, want: Want, partition: PartitionId) -> Result<Part> {
        let failed = |problem| Error::Source { source_name: self.name.clone(), problem };
        if let Some(pass) = self.pass(namespace, want, partition)?
            && let Some(part) = pass.take(partition).map_err(failed)?
        {
            return Ok(part);
        }
        // Somebody asks out of order, or again.
        let never = std::sync::atomic::AtomicBool::new(false);
        let mut parts = self.named(self.fetcher.partitions(namespace, want, &[partition], 0, &never))?;
        parts.remove(&partition).unwrap_or_else(|| Ok(Part::default())).map_err(failed)
    }
}

impl Drop for AerospikeSource {
    fn drop(&mut self) {
        self.passes.iter().filter_map(|pass| lock(pass).clone()).for_each(|pass| pass.stop());
    }
}

/// The skew of the cluster's clocks, as its nodes measure it.
fn skew_millis(cluster: &Cluster) -> error::Result<u64> {
    let all = cluster.info_of_all("statistics", "a node's statistics")?;
    let skews = all.iter().filter_map(|statistics| info::number::<u64>(statistics, b';', "cluster_clock_skew_ms"));
    Ok(skews.max().unwrap_or(0))
}

impl RecordSource for AerospikeSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn cluster(&self) -> Option<String> {
        let name = self.cluster().topology().cluster_name.clone();
        (!name.is_empty()).then_some(name)
    }

    fn selection(&self) -> String {
        self.cluster().options().selection.name()
    }

    fn namespaces(&self) -> Result<Vec<String>> {
        let all = self.cluster().topology().namespaces();
        match &self.only {
            None => Ok(all),
            Some(only) if all.contains(only) => Ok(vec![only.clone()]),
            Some(only) => {
                let what = format!("namespace {only} of {}", self.name);
                Err(Error::not_found(what, format!("Its namespaces are: {}", all.join(", "))))
            }
        }
    }

    /// The clock of the node that is furthest behind, in full seconds.
    fn clock(&self) -> Result<Timestamp> {
        self.named(self.cluster().clock())
    }

    fn metadata(&self, namespace: &str) -> Result<NamespaceMetadata> {
        self.named(metadata::read(self.cluster(), namespace))
    }

    fn standing(&self, namespace: &str) -> Result<Option<Standing>> {
        self.named(standing::of(self.cluster(), namespace, self.margin_millis)).map(Some)
    }

    fn shape(&self) -> SourceShape<'_> {
        SourceShape::Partitioned(self)
    }
}

impl PartitionedSource for AerospikeSource {
    fn partitions(&self) -> PartitionSet {
        self.cluster().options().selection.selected_partitions()
    }

    fn prepare(&self, namespace: &str, wanted: &[(PartitionId, Option<Timestamp>)]) {
        self.prepare_so(namespace, wanted, Search::Walk);
    }

    fn prepare_changes(&self, namespace: &str, wanted: &[(PartitionId, Option<Timestamp>)]) {
        self.prepare_so(namespace, wanted, Search::None);
    }

    fn scan(
        &self,
        namespace: &str,
        partition: PartitionId,
        since: Option<Timestamp>,
        each: &mut dyn FnMut(RecordBatch) -> Result<()>,
    ) -> Result<()> {
        match self.selected_digests(partition) {
            // Single records are read whether they changed or not: they are few.
            Some(digests) => self.read(namespace, &digests, each),
            None => self.part(namespace, Want::Records(since), partition)?.batches.hand_on(each),
        }
    }

    fn walk(
        &self,
        namespace: &str,
        partition: PartitionId,
        before: Option<Timestamp>,
        each: &mut dyn FnMut(&[DigestRow]) -> Result<()>,
    ) -> Result<()> {
        let mut rows = Vec::new();
        match self.selected_digests(partition) {
            // A scan delivers all of them, whenever they were updated.
            Some(_) if before.is_some() => {}
            Some(digests) => self.read(namespace, &digests, &mut |batch| {
                let metas = batch.iter().map(|record| record.meta);
                rows.extend(metas.map(|RecordMeta { digest, generation, void_time, .. }| DigestRow {
                    digest,
                    generation,
                    void_time,
                }));
                Ok(())
            })?,
            None => rows = self.part(namespace, Want::Digests(before), partition)?.rows,
        }
        if rows.is_empty() { Ok(()) } else { each(&rows) }
    }

    fn read(&self, namespace: &str, digests: &[Digest], each: &mut dyn FnMut(RecordBatch) -> Result<()>) -> Result<()> {
        let Size { records, bytes } = self.size(namespace)?;
        let size = usize::try_from(bytes / records.max(1)).unwrap_or(usize::MAX);
        self.named(self.fetcher.by_digest(namespace, digests, size, each))?
    }

    fn check_losses(&self, namespace: &str, partitions: &PartitionSet) -> Result<()> {
        self.named(remains::check(self.cluster(), std::iter::once(namespace), partitions, "read of"))
    }

    fn clock_margin_millis(&self) -> u64 {
        self.margin_millis
    }

    fn counting(&self) -> Option<&dyn CountingSource> {
        self.cluster().options().selection.is_counted_exactly().then_some(self)
    }

    fn take_bad_records(&self) -> (u64, Vec<BadRecord>) {
        self.fetcher.take_bad()
    }
}
