//! Reads whole partitions from the nodes that have them, again and again until every one is complete.
//!
//! Nothing of a partition is handed on before all of it is there, so a connection that breaks in the middle costs time
//! but never a record, and never delivers one twice. Servers do tell after which digest a query could go on; it is not
//! used, since it holds only for the node that began, and the next owner of a partition may be another.

use super::horizon::Horizon;
use super::patience::{ATTEMPTS_AFTER_LOSSES, Patience, Round, rest};
use crate::aerospike::cluster::{Cluster, Node};
use crate::aerospike::error::{ClusterError, Result};
use crate::aerospike::throttle::Throttle;
use crate::aerospike::wire::frame::FrameType;
use crate::aerospike::wire::query;
use crate::aerospike::wire::query::{PartitionQuery, QueryItem, WireRecord};
use crate::aerospike::wire::result_code::ResultCode;
use crate::aerospike::wire::{batch, info};
use crate::record::{Digest, PartitionId, RecordBatch, RecordMeta, Timestamp};
use crate::sources::{BadRecord, DigestRow, Rest};
use crate::spool::Batches;
use crate::sync::lock;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A batch of records is closed once its bodies have this many bytes.
pub(super) const BATCH_BYTES: usize = 4 << 20;
/// Bad records that are kept by name; further ones are only counted.
const MAX_BAD: usize = 1000;

/// What of a partition is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Want {
    /// Records: all, or those last updated at or after a time.
    Records(Option<Timestamp>),
    /// Records last updated at or after a time, or about to expire, and how many others there are.
    Changes(Timestamp),
    /// Digests with generation and void time: all, or those of records last updated before a time.
    Digests(Option<Timestamp>),
}

/// What was read of one partition.
#[derive(Default)]
pub struct Part {
    /// Its records.
    pub batches: Batches,
    /// Its digests.
    pub rows: Vec<DigestRow>,
    /// How many records were left out, of it and the partitions that were read with it.
    pub rest: Option<Rest>,
    bad: Vec<Bad>,
}

/// A record of a partition that could not be parsed.
pub(super) struct Bad {
    pub(super) digest: Option<Digest>,
    pub(super) problem: String,
}

impl Part {
    /// About how much memory it takes.
    pub fn memory(&self) -> usize {
        self.batches.byte_len() + self.rows.len() * size_of::<DigestRow>()
    }
}

/// What became of each partition that was asked for.
pub type Fetched = BTreeMap<PartitionId, Result<Part, String>>;

/// Reads partitions of a cluster.
pub struct Fetcher {
    /// The cluster.
    pub cluster: Cluster,
    throttle: Throttle,
    /// By node.
    node_throttles: Mutex<HashMap<Arc<str>, Arc<Throttle>>>,
    /// Whether partitions were given up: then others are not waited for as long.
    gave_up: AtomicBool,
    bad: Mutex<(u64, Vec<BadRecord>)>,
    /// Up to when records expire that a scan of changes delivers whether they changed or not.
    pub(super) horizon: Horizon,
}

impl Fetcher {
    /// Reads from `cluster` as its options say.
    pub fn new(cluster: Cluster) -> Self {
        let options = cluster.options();
        let throttle = Throttle::new(options.records_per_second, options.bytes_per_second);
        Self {
            cluster,
            throttle,
            node_throttles: Mutex::default(),
            gave_up: AtomicBool::new(false),
            bad: Mutex::default(),
            horizon: Horizon::default(),
        }
    }

    /// The records that could not be parsed so far, and how many there were; forgets them.
    pub fn take_bad(&self) -> (u64, Vec<BadRecord>) {
        std::mem::take(&mut *lock(&self.bad))
    }

    /// Waits as the limits ask for, of all nodes together and of this one, now that so much was read from it.
    pub(super) fn rest(&self, node: &Node, records: u64, bytes: u64, stop: &AtomicBool) {
        let options = self.cluster.options();
        let mut wait = self.throttle.read(records, bytes);
        if options.node_records_per_second > 0 || options.node_bytes_per_second > 0 {
            let mut throttles = lock(&self.node_throttles);
            let new = || Arc::new(Throttle::new(options.node_records_per_second, options.node_bytes_per_second));
            let own = throttles.entry(node.name.clone()).or_insert_with(new).clone();
            drop(throttles);
            wait = wait.max(own.read(records, bytes));
        }
        rest(wait, stop);
    }

    pub(super) fn note_bad(&self, namespace: &str, partition: PartitionId, bad: Bad) {
        let mut all = lock(&self.bad);
        all.0 += 1;
        if all.1.len() < MAX_BAD {
            let place = match bad.digest {
                Some(digest) => format!("namespace {namespace}, digest {digest}"),
                None => format!("namespace {namespace}, partition {}", partition.number()),
            };
            all.1.push(BadRecord { place, problem: bad.problem, breaks_off: false });
        }
    }

    /// Reads partitions whole; `size` is about how many bytes each has. Ends early once `stop` is set. For a partition
    /// that could not be had in all attempts: why.
    ///
    /// # Errors
    ///
    /// What goes wrong for all partitions, and will go wrong again.
    pub fn partitions(
        &self,
        namespace: &str,
        want: Want,
        partitions: &[PartitionId],
        size: usize,
        stop: &AtomicBool,
    ) -> Result<Fetched> {
        let mut done: Fetched = BTreeMap::new();
        let mut problems: BTreeMap<PartitionId, String> = BTreeMap::new();
        let mut patience = Patience::new(&self.cluster, stop);
        if self.gave_up.load(Ordering::Relaxed) {
            patience.attempts = patience.attempts.min(ATTEMPTS_AFTER_LOSSES);
            patience.absence = Duration::ZERO;
        }
        let mut pending: Vec<PartitionId> = partitions.to_vec();
        let racks = &self.cluster.options().racks;
        // Where each partition was asked for last. It is asked for elsewhere if it is to be had there.
        let mut asked: BTreeMap<PartitionId, Arc<str>> = BTreeMap::new();
        while !pending.is_empty() {
            let before = pending.len();
            self.cluster.look_again();
            let topology = self.cluster.topology();
            let mut by_node: BTreeMap<Arc<str>, (Arc<Node>, Vec<PartitionId>)> = BTreeMap::new();
            for &partition in &pending {
                let beside = asked.get(&partition).and_then(|node| topology.owner_beside(namespace, partition, node));
                match beside.or_else(|| topology.owner(namespace, partition, racks)) {
                    Some(node) => {
                        asked.insert(partition, node.name.clone());
                        by_node
                            .entry(node.name.clone())
                            .or_insert_with(|| (node.clone(), Vec::new()))
                            .1
                            .push(partition);
                    }
                    None => {
                        problems.insert(partition, topology.why_no_owner(namespace, partition));
                    }
                }
            }
            // Whether owners that are there said of all that is left that they don't have it whole.
            let mut are_merging = by_node.values().map(|(_, wanted)| wanted.len()).sum::<usize>() == pending.len();
            for (node, wanted) in by_node.values() {
                match self.query(node, namespace, want, wanted, size, stop) {
                    Ok(answer) => {
                        for (partition, part) in answer.complete {
                            done.insert(partition, Ok(part));
                        }
                        if let Some((partition, code)) = answer.refused {
                            are_merging &= code == ResultCode::UNAVAILABLE;
                            let doing = format!("read partition {} of namespace {namespace}", partition.number());
                            problems.insert(partition, ClusterError::refused(&node.name, doing, code).to_string());
                        }
                    }
                    Err(error) if error.is_passing() => {
                        are_merging = false;
                        problems.extend(wanted.iter().map(|partition| (*partition, error.to_string())));
                    }
                    Err(error) => return Err(error),
                }
            }
            pending.retain(|partition| !done.contains_key(partition));
            patience.awaited = pending.iter().all(|partition| topology.may_return(namespace, *partition));
            // A node that was away for a while comes back with records that others have changed since. Until the
            // servers have brought all copies of a partition together, none of them hands it out whole: how long that
            // takes is theirs to say.
            let progress = pending.len() < before;
            patience.merging = !progress && are_merging && patience.migrations_go_on(namespace);
            match patience.next_round(topology.version, progress, pending.is_empty())? {
                Round::Next => {}
                Round::GiveUp => {
                    self.gave_up.store(true, Ordering::Relaxed);
                    for partition in std::mem::take(&mut pending) {
                        let problem = problems.remove(&partition).unwrap_or_else(|| "nothing came".to_string());
                        done.insert(partition, Err(patience.gave_up(&problem)));
                    }
                }
            }
        }
        for (partition, part) in &mut done {
            let Ok(part) = part else { continue };
            std::mem::take(&mut part.bad).into_iter().for_each(|bad| self.note_bad(namespace, *partition, bad));
        }
        Ok(done)
    }

    /// Runs one query for partitions of one node.
    fn query(
        &self,
        node: &Node,
        namespace: &str,
        want: Want,
        partitions: &[PartitionId],
        size: usize,
        stop: &AtomicBool,
    ) -> Result<Answer> {
        let options = self.cluster.options();
        let selection = &options.selection;
        let (bins, since) = match want {
            Want::Records(since) => (Some(&selection.bins[..]), since),
            Want::Changes(since) => (Some(&selection.bins[..]), Some(since)),
            Want::Digests(_) => (None, None),
        };
        let (began, until) = (Instant::now(), self.horizon.until());
        let filter = selection.query_filter(want, until);
        let id = self.cluster.next_id();
        let request = PartitionQuery {
            namespace,
            set: selection.query_set(),
            partitions,
            after: &[],
            bins,
            filter: &filter,
            // Each of several queries at once gets its share.
            records_per_second: match [options.records_per_second, options.node_records_per_second] {
                [0, 0] => 0,
                rates => {
                    let lowest = rates.into_iter().filter(|rate| *rate > 0).min().unwrap_or(0);
                    (lowest / options.workers().max(1) as u32).max(1)
                }
            },
            // The server may wait for us longer than we do for it: our throttle makes it wait.
            socket_timeout: u32::try_from(options.socket_timeout.as_millis() * 2).unwrap_or(u32::MAX),
            id,
        }
        .encode();
        let room = if since.is_some() { 0 } else { size };
        let mut answer = Collector::new(partitions, want, room);
        self.cluster.with(node, |connection| {
            connection.send(&request)?;
            let mut frame = Vec::new();
            let mut end = None;
            while end.is_none() {
                if stop.load(Ordering::Relaxed) {
                    return Err(ClusterError::Other("reading was stopped".into()));
                }
                connection.receive(FrameType::Message, &mut frame)?;
                let records = answer.records;
                end = answer.frame(&frame).map_err(|error| ClusterError::wire(&node.name, error))?;
                answer.settle(options.read_ahead_bytes)?;
                self.rest(node, answer.records - records, frame.len() as u64, stop);
            }
            match end {
                Some(ResultCode::OK) => Ok(()),
                Some(code) => {
                    let with = if selection.filter.is_empty() { "" } else { " by `filter`" };
                    let doing = format!("read {} partitions of namespace {namespace}{with}", partitions.len());
                    Err(ClusterError::refused(&node.name, doing, code))
                }
                None => Ok(()),
            }
        })?;
        if bins.is_some() && since.is_none() && self.unread(node, id) > 0 {
            self.find_unread(node, namespace, &mut answer, size, stop)?;
        }
        let rest = match want {
            Want::Changes(_) => Some(self.left_out(node, namespace, id, &answer, (began, until))),
            _ => None,
        };
        Ok(answer.finish(rest.as_ref()))
    }

    /// How many records the server could not read from its storage during a query. It leaves them out of the answer and
    /// only counts them.
    fn unread(&self, node: &Node, id: u64) -> u64 {
        let reply = self.cluster.info(node, &format!("query-show:trid={id}"), "a query's statistics");
        // A server that has forgotten the query already has many others to remember: nothing can be said then.
        reply.ok().and_then(|value| info::number(&value, b':', "recs-failed")).unwrap_or(0)
    }

    /// Finds the records that a query left out: what a walk of the digests has and the answer lacks is read by digest,
    /// and what can't be read so either is named.
    fn find_unread(
        &self,
        node: &Node,
        namespace: &str,
        answer: &mut Collector,
        size: usize,
        stop: &AtomicBool,
    ) -> Result<()> {
        let partitions: Vec<PartitionId> = answer.slots.iter().map(|slot| slot.0).collect();
        let walked = self.query(node, namespace, Want::Digests(None), &partitions, size, stop)?;
        for (partition, part) in walked.complete {
            let slot = answer.slot(partition);
            let slot =
                slot.ok_or_else(|| ClusterError::Other(format!("partition {} was not asked for", partition.number())))?;
            let mut found: HashSet<Digest> = slot.bad.iter().filter_map(|bad| bad.digest).collect();
            let seen = slot.batches.visit(&mut |batch| found.extend(batch.iter().map(|record| record.meta.digest)));
            seen.map_err(|error| ClusterError::Other(error.to_string()))?;
            let missing: Vec<Digest> =
                part.rows.iter().map(|row| row.digest).filter(|digest| !found.contains(digest)).collect();
            for digests in missing.chunks(batch::MAX_DIGESTS) {
                let mut read = self.read_rows(node, namespace, digests)?;
                read.batches.into_iter().for_each(|batch| slot.batches.push(batch));
                slot.bad.append(&mut read.bad);
                for (digest, code) in read.failed {
                    if code != ResultCode::UNKNOWN {
                        let doing = format!("read the record {digest} of namespace {namespace}");
                        return Err(ClusterError::refused(&node.name, doing, code));
                    }
                    slot.bad.push(Bad { digest: Some(digest), problem: unreadable(code) });
                }
            }
        }
        Ok(())
    }
}

pub(super) fn unreadable(code: ResultCode) -> String {
    format!("the server can't read it: {code}")
}

/// What one query gave.
struct Answer {
    complete: Vec<(PartitionId, Part)>,
    refused: Option<(PartitionId, ResultCode)>,
}

/// Takes an answer apart into partitions.
pub(super) struct Collector {
    want: Want,
    /// The partitions that were asked for, ascending.
    pub(super) slots: Vec<(PartitionId, Part)>,
    pub(super) refused: HashMap<PartitionId, ResultCode>,
    /// The slot of the last record: the next one is mostly of the same partition.
    last: usize,
    size: usize,
    /// Records that came, also those that can't be parsed.
    pub(super) records: u64,
}

impl Collector {
    fn new(partitions: &[PartitionId], want: Want, size: usize) -> Self {
        let mut slots: Vec<(PartitionId, Part)> =
            partitions.iter().map(|&partition| (partition, Part::default())).collect();
        slots.sort_unstable_by_key(|slot| slot.0);
        Self { want, slots, refused: HashMap::new(), last: 0, size, records: 0 }
    }

    fn slot(&mut self, partition: PartitionId) -> Option<&mut Part> {
        let at = self.slots.binary_search_by_key(&partition, |slot| slot.0).ok()?;
        self.slots.get_mut(at).map(|slot| &mut slot.1)
    }

    /// Takes in a frame; gives back the result of the query if the frame ends it.
    fn frame(&mut self, frame: &[u8]) -> Result<Option<ResultCode>, crate::aerospike::wire::WireError> {
        let mut end = None;
        query::items(frame, |item| {
            match item {
                QueryItem::Record(record) => self.record(&record)?,
                QueryItem::Bad(digest, problem) => {
                    // A record without a digest belongs to some partition of this query.
                    let at = digest.map(|digest| digest.partition());
                    let partition = at.or_else(|| self.slots.first().map(|slot| slot.0));
                    let part = partition.and_then(|partition| self.slot(partition)).ok_or_else(|| {
                        let found = digest.map_or_else(|| "one without a digest".into(), |digest| digest.to_string());
                        crate::aerospike::wire::WireError::new(
                            "a record of a query",
                            "one of a partition that was asked for",
                            found,
                        )
                    })?;
                    part.bad.push(Bad { digest, problem: problem.to_string() });
                    self.records += 1;
                }
                QueryItem::Partition(_, ResultCode::OK) => {}
                QueryItem::Partition(number, code) => {
                    let partition = u16::try_from(number).ok().and_then(PartitionId::new);
                    let known = partition.filter(|partition| self.slot(*partition).is_some());
                    let Some(partition) = known else {
                        return Err(crate::aerospike::wire::WireError::new(
                            "a note on a partition",
                            "one that was asked for",
                            number.to_string(),
                        ));
                    };
                    self.refused.insert(partition, code);
                }
                QueryItem::Last(code) => end = Some(code),
            }
            Ok(())
        })?;
        Ok(end)
    }

    fn record(&mut self, record: &WireRecord<'_, '_>) -> Result<(), crate::aerospike::wire::WireError> {
        let partition = record.digest.partition();
        if self.slots.get(self.last).is_none_or(|slot| slot.0 != partition) {
            self.last = self.slots.binary_search_by_key(&partition, |slot| slot.0).unwrap_or(usize::MAX);
        }
        let Some((_, part)) = self.slots.get_mut(self.last) else {
            return Err(crate::aerospike::wire::WireError::new(
                "a record of a query",
                "one of the partitions that were asked for",
                format!("digest {} of partition {}", record.digest, partition.number()),
            ));
        };
        self.records += 1;
        let WireRecord { digest, set, generation, void_time, .. } = *record;
        if matches!(self.want, Want::Digests(_)) {
            part.rows.push(DigestRow { digest, generation, void_time });
            return Ok(());
        }
        if part.batches.last_mut().is_none_or(|batch| batch.byte_len() > BATCH_BYTES) {
            part.batches.push(RecordBatch::with_capacity(self.size.min(BATCH_BYTES), 0));
        }
        if let Some(batch) = part.batches.last_mut()
            && let Err(error) = batch.push(RecordMeta { digest, set, generation, void_time }, record.key, record.bins)
        {
            part.bad.push(Bad { digest: Some(digest), problem: error.to_string() });
        }
        Ok(())
    }

    /// Leaves at most about `bound` bytes of each partition's records in memory.
    fn settle(&mut self, bound: usize) -> Result<()> {
        let settled = self.slots.iter_mut().try_for_each(|(_, part)| part.batches.settle(bound));
        settled.map_err(|error| ClusterError::Other(error.to_string()))
    }

    fn finish(self, rest: Option<&Rest>) -> Answer {
        let refused = self.refused.iter().next().map(|(partition, code)| (*partition, *code));
        let complete = self.slots.into_iter().filter(|(partition, _)| !self.refused.contains_key(partition));
        let with_rest = complete.map(|(partition, part)| (partition, Part { rest: rest.cloned(), ..part }));
        Answer { complete: with_rest.collect(), refused }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aerospike::wire::message::{Head, field, info3, put_field, put_operation};
    use crate::record::ParticleType;

    fn partition(number: u16) -> PartitionId {
        PartitionId::new(number).unwrap()
    }

    fn records_of(part: &Part) -> usize {
        let mut records = 0;
        part.batches.visit(&mut |batch| records += batch.len()).unwrap();
        records
    }

    fn record(frame: &mut Vec<u8>, number: u16, bins: &[&[u8]]) {
        let mut digest = [7; 20];
        digest[..2].copy_from_slice(&number.to_le_bytes());
        Head { generation: 1, fields: 1, operations: bins.len() as u16, ..Head::default() }.put(frame);
        put_field(frame, field::DIGEST, &digest);
        bins.iter().for_each(|name| put_operation(frame, 1, ParticleType::STRING, name, b"x"));
    }

    #[test]
    fn records_of_several_partitions_may_come_mixed() {
        let mut collector = Collector::new(&[partition(5), partition(2)], Want::Records(None), 0);
        let mut frame = Vec::new();
        [5, 2, 5].iter().for_each(|&number| record(&mut frame, number, &[b"a"]));
        assert_eq!(collector.frame(&frame).unwrap(), None);
        let mut last = Vec::new();
        record(&mut last, 2, &[b"a"]);
        Head { info3: info3::LAST, ..Head::default() }.put(&mut last);
        assert_eq!(collector.frame(&last).unwrap(), Some(ResultCode::OK));
        let answer = collector.finish(None);
        let counts: Vec<_> =
            answer.complete.iter().map(|(partition, part)| (partition.number(), records_of(part))).collect();
        assert_eq!(counts, [(2, 2), (5, 2)]);
    }

    #[test]
    fn a_refused_partition_is_not_complete() {
        let mut collector = Collector::new(&[partition(5), partition(2)], Want::Digests(None), 0);
        let mut frame = Vec::new();
        record(&mut frame, 2, &[]);
        Head { info3: info3::PARTITION_DONE, generation: 2, result: 11, ..Head::default() }.put(&mut frame);
        Head { info3: info3::PARTITION_DONE, generation: 5, ..Head::default() }.put(&mut frame);
        collector.frame(&frame).unwrap();
        let answer = collector.finish(None);
        assert_eq!(answer.complete.iter().map(|part| part.0).collect::<Vec<_>>(), [partition(5)]);
        assert_eq!(answer.refused, Some((partition(2), ResultCode::UNAVAILABLE)));
    }

    #[test]
    fn a_record_that_cannot_be_taken_is_named_and_the_rest_goes_on() {
        let mut collector = Collector::new(&[partition(3)], Want::Records(None), 0);
        let mut frame = Vec::new();
        record(&mut frame, 3, &[b"a", b"a"]);
        record(&mut frame, 3, &[b"a"]);
        collector.frame(&frame).unwrap();
        let part = collector.finish(None).complete.remove(0).1;
        assert_eq!(records_of(&part), 1);
        assert_eq!(part.bad.len(), 1);
        assert!(part.bad[0].digest.is_some() && part.bad[0].problem.contains("occurs twice"));
    }

    #[test]
    fn records_and_notes_of_foreign_partitions_are_refused() {
        let mut collector = Collector::new(&[partition(3)], Want::Records(None), 0);
        let mut frame = Vec::new();
        record(&mut frame, 4, &[b"a"]);
        assert!(collector.frame(&frame).is_err());
        let mut frame = Vec::new();
        Head { info3: info3::PARTITION_DONE, generation: 70_000, result: 11, ..Head::default() }.put(&mut frame);
        assert!(collector.frame(&frame).is_err());
    }
}
