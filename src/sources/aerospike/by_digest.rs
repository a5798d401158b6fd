//! Reads records of a live cluster by digest.

use super::fetch::{BATCH_BYTES, Bad, Fetcher, unreadable};
use super::patience::Patience;
use crate::aerospike::cluster::{Node, Topology};
use crate::aerospike::error::{ClusterError, Result};
use crate::aerospike::wire::batch;
use crate::aerospike::wire::frame::FrameType;
use crate::aerospike::wire::result_code::ResultCode;
use crate::record::{BinRef, Digest, Generation, KeyRef, ParticleType, PartitionId, RecordBatch, RecordMeta, VoidTime};
use crate::sources::DigestRow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

impl Fetcher {
    /// Reads records by digest; those that are gone are left out. `size` is about how many bytes one has.
    pub fn by_digest(
        &self,
        namespace: &str,
        digests: &[Digest],
        size: usize,
        each: &mut dyn FnMut(RecordBatch) -> crate::Result<()>,
    ) -> Result<crate::Result<()>> {
        let never = AtomicBool::new(false);
        let at_once = (BATCH_BYTES / size.max(1)).clamp(16, batch::MAX_DIGESTS);
        for digests in digests.chunks(at_once) {
            let mut patience = Patience::new(&self.cluster, &never);
            let mut pending = digests.to_vec();
            let mut asked = Asked::new();
            while !pending.is_empty() {
                let before = pending.len();
                let topology = self.cluster.topology();
                let by_node = by_node(&topology, namespace, &pending, &mut asked, &mut patience);
                let mut failed: HashMap<Digest, ResultCode> = HashMap::new();
                let mut left: HashSet<Digest> = pending.iter().copied().collect();
                for (node, wanted) in by_node.values() {
                    match self.read_rows(node, namespace, wanted) {
                        Ok(read) => {
                            wanted.iter().for_each(|digest| {
                                left.remove(digest);
                            });
                            for (digest, code) in read.failed {
                                left.insert(digest);
                                failed.insert(digest, code);
                                let doing = format!("read the record {digest} of namespace {namespace}");
                                patience.failed(ClusterError::refused(&node.name, doing, code));
                            }
                            for bad in read.bad {
                                let partition = bad.digest.map(|digest| digest.partition());
                                let partition = partition.or_else(|| PartitionId::new(0));
                                if let Some(partition) = partition {
                                    self.note_bad(namespace, partition, bad);
                                }
                            }
                            for batch in read.batches {
                                if let Err(error) = each(batch) {
                                    return Ok(Err(error));
                                }
                            }
                        }
                        Err(error) if error.is_passing() => patience.failed(error),
                        Err(error) => return Err(error),
                    }
                }
                pending.retain(|digest| left.contains(digest));
                patience.awaited = pending.iter().all(|digest| topology.may_return(namespace, digest.partition()));
                if let Err(error) = patience.round(topology.version, pending.len() < before, pending.is_empty()) {
                    // Partitions answer, single records don't: those are named, and the rest goes on.
                    let unread = |digest: &Digest| failed.get(digest) == Some(&ResultCode::UNKNOWN);
                    if !pending.iter().all(unread) {
                        return Err(error);
                    }
                    for digest in std::mem::take(&mut pending) {
                        let bad = Bad { digest: Some(digest), problem: unreadable(ResultCode::UNKNOWN) };
                        self.note_bad(namespace, digest.partition(), bad);
                    }
                }
            }
        }
        Ok(Ok(()))
    }

    /// Digests with generation and void time of those of these records that are there.
    pub fn heads(&self, namespace: &str, digests: &[Digest]) -> Result<Vec<DigestRow>> {
        let never = AtomicBool::new(false);
        let mut rows = Vec::with_capacity(digests.len());
        let mut patience = Patience::new(&self.cluster, &never);
        let mut pending: Vec<Digest> = digests.to_vec();
        let mut asked = Asked::new();
        while !pending.is_empty() {
            let before = pending.len();
            let topology = self.cluster.topology();
            let by_node = by_node(&topology, namespace, &pending, &mut asked, &mut patience);
            let mut answered: HashSet<Digest> = HashSet::new();
            for (node, wanted) in by_node.values() {
                for wanted in wanted.chunks(batch::MAX_ROWS) {
                    match self.read_heads(node, namespace, wanted, &mut rows) {
                        Ok(failed) => {
                            answered.extend(wanted);
                            for (digest, code) in failed {
                                answered.remove(&digest);
                                let doing = format!("look up the record {digest} of namespace {namespace}");
                                patience.failed(ClusterError::refused(&node.name, doing, code));
                            }
                        }
                        Err(error) if error.is_passing() => patience.failed(error),
                        Err(error) => return Err(error),
                    }
                }
            }
            pending.retain(|digest| !answered.contains(digest));
            patience.awaited = pending.iter().all(|digest| topology.may_return(namespace, digest.partition()));
            patience.round(topology.version, pending.len() < before, pending.is_empty())?;
        }
        Ok(rows)
    }

    /// One batch of look-ups from one node; adds what is there to `rows`, and gives back what could not be told.
    fn read_heads(
        &self,
        node: &Node,
        namespace: &str,
        digests: &[Digest],
        rows: &mut Vec<DigestRow>,
    ) -> Result<Vec<(Digest, ResultCode)>> {
        let limit = u32::try_from(self.cluster.options().socket_timeout.as_millis()).unwrap_or(u32::MAX);
        let request = batch::heads_request(namespace, digests, limit);
        let mut found: Vec<Option<(ResultCode, Generation, VoidTime)>> = vec![None; digests.len()];
        let doing = format!("look up {} records by digest", digests.len());
        self.receive_batch(node, &request, doing, &mut |row, result, (generation, void_time), _| {
            if let Some(place) = found.get_mut(row) {
                *place = Some((result, generation, void_time));
            }
        })?;
        let mut failed = Vec::new();
        for (&digest, found) in digests.iter().zip(found) {
            match found {
                Some((ResultCode::OK, generation, void_time)) => rows.push(DigestRow { digest, generation, void_time }),
                Some((ResultCode::NOT_FOUND | ResultCode::FILTERED_OUT, ..)) => {}
                Some((code, ..)) => failed.push((digest, code)),
                None => failed.push((digest, ResultCode::UNAVAILABLE)),
            }
        }
        Ok(failed)
    }

    /// One batch of reads from one node.
    pub(super) fn read_rows(&self, node: &Node, namespace: &str, digests: &[Digest]) -> Result<Rows> {
        let (found, identities) = self.receive_rows(node, namespace, digests)?;
        let selection = &self.cluster.options().selection;
        let mut rows = Rows::default();
        let mut batch = RecordBatch::new();
        for ((&digest, found), identity) in digests.iter().zip(found).zip(identities) {
            let (found, identity) = match (found, identity) {
                (Some(found), _) if matches!(found.result, ResultCode::NOT_FOUND | ResultCode::FILTERED_OUT) => {
                    continue;
                }
                (Some(found), _) if found.result != ResultCode::OK => {
                    rows.failed.push((digest, found.result));
                    continue;
                }
                // One row of the two is missing, or the record was deleted between them: ask again.
                (None, _) | (_, None) => {
                    rows.failed.push((digest, ResultCode::UNAVAILABLE));
                    continue;
                }
                (Some(found), Some(identity)) => (found, identity),
            };
            if !selection.has_set(&identity.set) {
                continue;
            }
            if identity.key_unreadable {
                let problem =
                    "its user key is of a type that can't be read by digest; a full backup reads it".to_string();
                rows.bad.push(Bad { digest: Some(digest), problem });
                continue;
            }
            let bins: Vec<BinRef<'_>> =
                found.bins.iter().map(|(name, particle, bytes)| BinRef { name, particle: *particle, bytes }).collect();
            let key = identity.key.as_ref().map(|(particle, bytes)| KeyRef { particle: *particle, bytes });
            let (generation, void_time) = found.head;
            let meta = RecordMeta { digest, set: &identity.set, generation, void_time };
            if let Err(error) = batch.push(meta, key, &bins) {
                rows.bad.push(Bad { digest: Some(digest), problem: error.to_string() });
            }
        }
        if !batch.is_empty() {
            rows.batches.push(batch);
        }
        Ok(rows)
    }

    /// Asks a node for the bins of records, and in further rows for their sets and user keys. Gives back what came of
    /// each digest.
    fn receive_rows(&self, node: &Node, namespace: &str, digests: &[Digest]) -> Result<Answers> {
        let limit = u32::try_from(self.cluster.options().socket_timeout.as_millis()).unwrap_or(u32::MAX);
        let selection = &self.cluster.options().selection;
        let request = batch::request_of(namespace, digests, limit, &selection.bins, &selection.batch_filter());
        let n = digests.len();
        let mut found: Vec<Option<FoundRecord>> = Vec::new();
        found.resize_with(n, || None);
        let mut identities: Vec<Option<batch::Identity>> = vec![None; n];
        self.receive_batch(node, &request, format!("read {n} records by digest"), &mut |row, result, head, bins| {
            if let Some(place) = found.get_mut(row) {
                let own = |bin: &BinRef<'_>| (bin.name.to_vec(), bin.particle, bin.bytes.to_vec());
                *place = Some(FoundRecord { result, head, bins: bins.iter().map(own).collect() });
            } else if let Some(place) = row.checked_sub(n).and_then(|row| identities.get_mut(row))
                && result == ResultCode::OK
            {
                *place = Some(batch::identity(bins));
            }
        })?;
        Ok((found, identities))
    }

    /// Sends a batch to a node and hands on the rows of its answer. `doing` says what the batch is for.
    fn receive_batch(&self, node: &Node, request: &[u8], doing: String, each: EachRow<'_>) -> Result<()> {
        self.cluster.with(node, |connection| {
            connection.send(request)?;
            let mut frame = Vec::new();
            let mut end = None;
            while end.is_none() {
                connection.receive(FrameType::Message, &mut frame)?;
                batch::items(&frame, |item| {
                    match item {
                        batch::BatchItem::Last(code) => end = Some(code),
                        batch::BatchItem::Row { row, result, generation, void_time, bins } => {
                            each(row as usize, result, (generation, void_time), bins);
                        }
                    }
                    Ok::<_, crate::aerospike::wire::WireError>(())
                })
                .map_err(|error| ClusterError::wire(&node.name, error))?;
                self.rest(node, 0, frame.len() as u64, &AtomicBool::new(false));
            }
            match end {
                Some(ResultCode::OK) | None => Ok(()),
                Some(code) => Err(ClusterError::refused(&node.name, doing, code)),
            }
        })
    }
}

/// Takes a row of a batch's answer: its number, result, generation and void time, and bins.
type EachRow<'a> = &'a mut dyn FnMut(usize, ResultCode, (Generation, VoidTime), &[BinRef<'_>]);

/// Where each record was asked for last: it is asked for elsewhere if it is to be had there.
type Asked = HashMap<Digest, Arc<str>>;

/// The nodes that are to be asked for records, each with those that it is asked for. What no node has is a failure.
fn by_node(
    topology: &Topology,
    namespace: &str,
    digests: &[Digest],
    asked: &mut Asked,
    patience: &mut Patience<'_>,
) -> BTreeMap<Arc<str>, (Arc<Node>, Vec<Digest>)> {
    let mut by_node: BTreeMap<Arc<str>, (Arc<Node>, Vec<Digest>)> = BTreeMap::new();
    for &digest in digests {
        let partition = digest.partition();
        let beside = asked.get(&digest).and_then(|node| topology.owner_beside(namespace, partition, node));
        match beside.or_else(|| topology.owner(namespace, partition, &[])) {
            Some(node) => {
                asked.insert(digest, node.name.clone());
                by_node.entry(node.name.clone()).or_insert_with(|| (node.clone(), Vec::new())).1.push(digest);
            }
            None => patience.failed(ClusterError::Other(topology.why_no_owner(namespace, partition))),
        }
    }
    by_node
}

/// For each digest, in order: its bins, and its set and user key.
type Answers = (Vec<Option<FoundRecord>>, Vec<Option<batch::Identity>>);

/// What a node answered for one digest.
struct FoundRecord {
    result: ResultCode,
    head: (Generation, VoidTime),
    bins: Vec<(Vec<u8>, ParticleType, Vec<u8>)>,
}

/// What a batch of reads gave.
#[derive(Default)]
pub(super) struct Rows {
    pub(super) batches: Vec<RecordBatch>,
    pub(super) bad: Vec<Bad>,
    pub(super) failed: Vec<(Digest, ResultCode)>,
}
