//! Sends the records of a batch until each has its result.
//!
//! One round sends what is left: to each node a few messages at a time, each on a connection of its own, then all
//! answers are read. What was not settled goes into the next round, after a wait and another look at the cluster.

use super::advice;
use super::encode::{self, Unsent};
use super::writer::Writer;
use crate::aerospike::cluster::{Cluster, Node};
use crate::aerospike::connection::Connection;
use crate::aerospike::error::{ClusterError, Result};
use crate::aerospike::wire::batch;
use crate::aerospike::wire::batch::BatchItem;
use crate::aerospike::wire::frame::FrameType;
use crate::aerospike::wire::result_code::ResultCode;
use crate::aerospike::wire::write;
use crate::aerospike::wire::write::{BatchWriter, WriteMode};
use crate::record::{Body, Digest, PartitionSet, RecordBatch, RecordView, Timestamp};
use crate::targets::{ConflictPolicy, FailedRecord, WriteOutcome};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A server answers a write that waits for the copy on a node that is gone once this time is over, and not before; then
/// it is sent again.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// A message is closed once it has so many bytes; one record may be larger.
const MESSAGE_BYTES: usize = 256 << 10;
/// The most records of a message. Servers take 5000 unless configured otherwise.
const MESSAGE_RECORDS: u32 = 500;
/// The most messages to one node at a time.
const IN_FLIGHT: usize = 4;
/// After so many failures in company a record is sent alone: it may be what makes the server close connections.
const ALONE_AFTER: u32 = 3;
/// How long servers may be overloaded without one record being written before that is an error.
const OVERLOAD_PATIENCE: Duration = Duration::from_secs(300);

/// A record that has no result yet.
struct Pending {
    /// Its place in the batch.
    place: usize,
    /// Its digest.
    digest: Digest,
    /// How often it failed.
    failures: u32,
    /// Whether an earlier attempt may have written it.
    in_doubt: bool,
    /// Whether it is sent in a message of its own.
    alone: bool,
}

/// A message that was sent, and what it holds.
struct Sent {
    connection: Connection,
    pending: Vec<Pending>,
    single: bool,
}

/// What became of a record in one round.
enum Verdict {
    Done(ResultCode),
    Again(String),
}

/// The work on one batch.
struct BatchWrite<'a> {
    writer: &'a Writer,
    namespace: &'a str,
    batch: &'a RecordBatch,
    mode: WriteMode,
    outcome: WriteOutcome,
    /// What is left for the next round.
    left: Vec<Pending>,
    /// Whether a record got its result in this round.
    progress: bool,
    /// Whether a server was overloaded in this round.
    overloaded: bool,
    /// The last failure of a node, as opposed to that of a record.
    node_error: Option<ClusterError>,
    /// Why a partition can't be written whose nodes are gone, or have lost what they had.
    lost: Option<String>,
}

/// Says what [`write()`] would do, as far as that can be told without asking a server.
pub fn rehearse(writer: &Writer, namespace: &str, batch: &RecordBatch, policy: ConflictPolicy) -> Result<WriteOutcome> {
    let now = writer.now()?;
    let mut outcome = WriteOutcome::default();
    let (mut body, mut bins) = (Body::default(), Vec::new());
    for record in batch.iter() {
        let digest = record.meta.digest;
        match encode::record_write(namespace, &record, (&mut body, &mut bins), now, encode::mode(policy)) {
            Ok(write) => match writer.forbids(namespace, &write) {
                None => outcome.written += 1,
                Some(reason) => outcome.failed.push(FailedRecord { digest, reason }),
            },
            Err(Unsent::Expired) => {
                outcome.expired += 1;
                outcome.left_alone.push(digest);
            }
            Err(Unsent::Refused(reason)) => outcome.failed.push(FailedRecord { digest, reason }),
        }
    }
    Ok(outcome)
}

/// Writes a batch, or deletes its records; every record is accounted for.
pub fn write(writer: &Writer, namespace: &str, batch: &RecordBatch, mode: WriteMode) -> Result<WriteOutcome> {
    let pending = batch.iter().enumerate().map(|(place, record)| {
        let digest = record.meta.digest;
        Pending { place, digest, failures: 0, in_doubt: false, alone: false }
    });
    let mut work = BatchWrite {
        writer,
        namespace,
        batch,
        mode,
        outcome: WriteOutcome::default(),
        left: pending.collect(),
        progress: false,
        overloaded: false,
        node_error: None,
        lost: None,
    };
    work.run()?;
    Ok(work.outcome)
}

impl BatchWrite<'_> {
    fn run(&mut self) -> Result<()> {
        let cluster = &self.writer.cluster;
        let (mut idle_rounds, mut since_progress) = (0, Instant::now());
        while !self.left.is_empty() {
            let topology = cluster.topology();
            (self.progress, self.overloaded, self.node_error, self.lost) = (false, false, None, None);
            self.round()?;
            if self.left.is_empty() {
                break;
            }
            if self.progress {
                (idle_rounds, since_progress) = (0, Instant::now());
            } else {
                idle_rounds += 1;
            }
            let absence = cluster.options().absence;
            let over_time = cluster.is_over_time(since_progress);
            let given_up = match self.overloaded {
                _ if over_time => true,
                // A node that is gone may come back with what it had.
                _ if self.lost.is_some() => since_progress.elapsed() > absence,
                true => since_progress.elapsed() > OVERLOAD_PATIENCE,
                false => idle_rounds >= cluster.options().attempts,
            };
            if given_up && let Some(problem) = self.lost.take() {
                return Err(ClusterError::Other(problem));
            }
            if given_up && let Some(error) = self.node_error.take() {
                return Err(error);
            }
            if given_up && (self.overloaded || over_time) {
                let why = if self.overloaded { "the servers are overloaded: " } else { "" };
                let problem = format!("{why}nothing was taken for {} s", since_progress.elapsed().as_secs());
                if self.outcome.written == 0 {
                    return Err(ClusterError::Other(problem));
                }
                let left = std::mem::take(&mut self.left);
                left.iter().for_each(|pending| self.fail(pending, problem.clone()));
            }
            std::thread::sleep(cluster.wait_after(idle_rounds + 1));
            // If even this fails, the old picture may still do: the next round tells.
            let _ = cluster.refresh(topology.version);
        }
        Ok(())
    }

    /// Sends everything that is left once.
    fn round(&mut self) -> Result<()> {
        let topology = self.writer.cluster.topology();
        let now = self.writer.now()?;
        let mut queues: BTreeMap<Arc<str>, (Arc<Node>, Vec<Pending>)> = BTreeMap::new();
        for pending in std::mem::take(&mut self.left) {
            let partition = pending.digest.partition();
            match topology.owner(self.namespace, partition, &[]) {
                Some(node) => {
                    let queue = queues.entry(node.name.clone()).or_insert_with(|| (node.clone(), Vec::new()));
                    queue.1.push(pending);
                }
                None => {
                    let (lost, _) = topology.lost(self.namespace, &PartitionSet::from_iter([partition]));
                    if lost.is_empty() {
                        self.settle(pending, Verdict::Again("no node has its partition".into()));
                        continue;
                    }
                    let why = topology.why_no_owner(self.namespace, partition);
                    if !topology.may_return(self.namespace, partition) {
                        return Err(ClusterError::Other(why));
                    }
                    self.lost = Some(why);
                    self.left.push(pending);
                }
            }
        }
        // They are taken from the end.
        queues.values_mut().for_each(|(_, queue)| queue.reverse());
        while queues.values().any(|(_, queue)| !queue.is_empty()) {
            std::thread::sleep(self.writer.pace.wait());
            let mut sent = Vec::new();
            for (node, queue) in queues.values_mut() {
                for _ in 0..IN_FLIGHT {
                    if queue.is_empty() {
                        break;
                    }
                    match self.send(node, queue, now)? {
                        Some(message) => sent.push((node.clone(), message)),
                        // This node fails: it gets the rest in the next round.
                        None => break,
                    }
                }
            }
            let overloaded = std::mem::take(&mut self.overloaded);
            for (node, message) in sent {
                self.receive(&node, message)?;
            }
            self.writer.pace.note(self.overloaded);
            self.overloaded |= overloaded;
        }
        Ok(())
    }

    /// How long a server may take for a message, in milliseconds.
    fn time_limit(&self) -> u32 {
        let limit = self.writer.cluster.options().socket_timeout.min(LONGEST_WAIT);
        u32::try_from(limit.as_millis()).unwrap_or(u32::MAX)
    }

    /// Puts a message together from the end of `queue`, and sends it. `None` if there was none to send, or it failed.
    fn send(&mut self, node: &Arc<Node>, queue: &mut Vec<Pending>, now: Timestamp) -> Result<Option<Sent>> {
        let time_limit = self.time_limit();
        let (mut batch, mut single) = (BatchWriter::default(), Vec::new());
        batch.begin(time_limit);
        let mut taken: Vec<Pending> = Vec::new();
        let (mut body, mut bins) = (Body::default(), Vec::new());
        while let Some(pending) = queue.pop() {
            let alone = pending.alone || !node.batch_writes;
            let record = record_of(self.batch, &pending)?;
            let full = batch.rows() >= MESSAGE_RECORDS || batch.size() + record.byte_len() > MESSAGE_BYTES;
            if !taken.is_empty() && (alone || full) {
                queue.push(pending);
                break;
            }
            let write = encode::record_write(self.namespace, &record, (&mut body, &mut bins), now, self.mode);
            let allowed = write.and_then(|write| match self.writer.forbids(self.namespace, &write) {
                None => Ok(write),
                Some(reason) => Err(Unsent::Refused(reason)),
            });
            match allowed {
                Ok(write) if alone => write.encode(time_limit, &mut single),
                Ok(write) => batch.push(&write),
                Err(unsent) => {
                    self.unsent(&pending, unsent);
                    continue;
                }
            }
            taken.push(pending);
            if alone {
                break;
            }
        }
        if taken.is_empty() {
            return Ok(None);
        }
        let is_single = !single.is_empty();
        let bytes = if is_single { &single[..] } else { batch.finish() };
        std::thread::sleep(self.writer.throttle.read(taken.len() as u64, bytes.len() as u64));
        self.writer.cluster.look_again();
        let connection = self.writer.cluster.take_connection(node);
        let sent = connection.and_then(|mut connection| connection.send(bytes).map(|()| connection));
        match sent {
            Ok(connection) => Ok(Some(Sent { connection, pending: taken, single: is_single })),
            Err(error) => {
                self.node_failed(node, taken, error)?;
                for pending in queue.drain(..) {
                    self.left.push(pending);
                }
                Ok(None)
            }
        }
    }

    /// Reads the answer to a message and settles its records.
    fn receive(&mut self, node: &Arc<Node>, sent: Sent) -> Result<()> {
        let Sent { mut connection, pending, single } = sent;
        let mut results: Vec<Option<ResultCode>> = vec![None; pending.len()];
        let read = match single {
            true => read_single(&mut connection, &mut results),
            false => read_batch(&mut connection, &mut results),
        };
        let (whole, error) = match read {
            Ok(whole) => {
                Cluster::keep_connection(node, connection);
                (whole, None)
            }
            Err(error) => (ResultCode::OK, Some(error)),
        };
        let mut unanswered = Vec::new();
        let in_company = pending.len() > 1;
        for (mut pending, result) in pending.into_iter().zip(results) {
            match result {
                Some(result) => self.answered(node, pending, result)?,
                None if error.is_some() => unanswered.push(pending),
                // The message as a whole was refused: perhaps for one of its records, so that each is tried alone.
                None if in_company && !whole.is_passing_for_a_write() => {
                    pending.alone = true;
                    self.progress = true;
                    self.left.push(pending);
                }
                None if whole == ResultCode::OK => self.settle(pending, Verdict::Again("it was not answered".into())),
                None => self.answered(node, pending, whole)?,
            }
        }
        match error {
            Some(error) => self.node_failed(node, unanswered, error),
            None => Ok(()),
        }
    }

    /// A node failed with these records on their way.
    fn node_failed(&mut self, node: &Node, pending: Vec<Pending>, error: ClusterError) -> Result<()> {
        if !error.is_passing() {
            return Err(error);
        }
        Cluster::close_kept(node);
        for mut pending in pending {
            pending.in_doubt = true;
            pending.failures += 1;
            pending.alone |= pending.failures >= ALONE_AFTER;
            self.left.push(pending);
        }
        self.node_error = Some(error);
        Ok(())
    }

    /// Settles a record that got a result.
    fn answered(&mut self, node: &Node, mut pending: Pending, result: ResultCode) -> Result<()> {
        self.overloaded |= result.is_overload();
        if result.is_passing_for_a_write() {
            // At a timeout the write may have happened or may yet happen.
            pending.in_doubt |= result == ResultCode::TIMEOUT || result == ResultCode::UNKNOWN;
            match result.is_overload() {
                // Patience with an overload is counted in time.
                true => self.left.push(pending),
                false => self.settle(pending, Verdict::Again(format!("node {}: {result}", node.name))),
            }
            return Ok(());
        }
        if let Some(problem) = advice::for_all(&self.writer.cluster, node, self.namespace, result) {
            return Err(ClusterError::Other(problem));
        }
        let there = [ResultCode::RECORD_EXISTS, ResultCode::GENERATION].contains(&result);
        let result = if there && pending.in_doubt && self.is_ours(node, &pending)? { ResultCode::OK } else { result };
        self.settle(pending, Verdict::Done(result));
        Ok(())
    }

    /// Whether the record on the server is what an earlier attempt, whose answer was lost, would have left there.
    fn is_ours(&self, node: &Node, pending: &Pending) -> Result<bool> {
        let record = record_of(self.batch, pending)?;
        let Ok(body) = record.parse() else { return Ok(false) };
        let time_limit = self.time_limit();
        let request = batch::request(self.namespace, &[record.meta.digest], time_limit);
        let mut ours = false;
        let looked = self.writer.cluster.with(node, |connection| {
            connection.send(&request)?;
            read_rows(connection, |row, result, bins| {
                if row == 0 && result == ResultCode::OK {
                    let mut bins = bins.to_vec();
                    bins.sort_unstable_by_key(|bin| bin.name);
                    ours = bins == body.bins();
                }
                Ok(())
            })
        });
        match looked {
            Ok(_) => Ok(ours),
            // It can't be told, then; it is there in any case.
            Err(error) if error.is_passing() => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn unsent(&mut self, pending: &Pending, unsent: Unsent) {
        self.progress = true;
        match unsent {
            Unsent::Expired => {
                self.outcome.expired += 1;
                self.leave(pending);
            }
            Unsent::Refused(reason) => self.fail(pending, reason),
        }
    }

    /// Notes a record that was not written, for a reason that is no failure.
    fn leave(&mut self, pending: &Pending) {
        self.outcome.left_alone.push(pending.digest);
    }

    fn fail(&mut self, pending: &Pending, reason: String) {
        self.outcome.failed.push(FailedRecord { digest: pending.digest, reason });
    }

    /// Counts a record, or keeps it for the next round.
    fn settle(&mut self, mut pending: Pending, verdict: Verdict) {
        match verdict {
            Verdict::Done(result) => {
                self.progress = true;
                match result {
                    ResultCode::OK => self.outcome.written += 1,
                    // It was to be deleted, and is gone.
                    ResultCode::NOT_FOUND if matches!(self.mode, WriteMode::Delete { .. }) => self.outcome.written += 1,
                    ResultCode::RECORD_EXISTS => {
                        self.outcome.exists += 1;
                        self.leave(&pending);
                    }
                    ResultCode::GENERATION => {
                        self.outcome.fresher += 1;
                        self.leave(&pending);
                    }
                    refused => self.fail(&pending, advice::for_one(refused)),
                }
            }
            Verdict::Again(problem) => {
                pending.failures += 1;
                if pending.failures >= self.writer.cluster.options().attempts {
                    let times = pending.failures;
                    self.fail(&pending, format!("{problem}; it was sent {times} times"));
                } else {
                    self.left.push(pending);
                }
            }
        }
    }
}

fn record_of<'b>(batch: &'b RecordBatch, pending: &Pending) -> Result<RecordView<'b>> {
    let gone = || ClusterError::Other(format!("internal error: record {} is not in its batch", pending.digest));
    batch.get(pending.place).ok_or_else(gone)
}

fn read_single(connection: &mut Connection, results: &mut [Option<ResultCode>]) -> Result<ResultCode> {
    let mut frame = Vec::new();
    connection.receive(FrameType::Message, &mut frame)?;
    let result = write::result(&frame).map_err(|error| ClusterError::wire(connection.node(), error))?;
    results.iter_mut().for_each(|place| *place = Some(result));
    Ok(ResultCode::OK)
}

fn read_batch(connection: &mut Connection, results: &mut [Option<ResultCode>]) -> Result<ResultCode> {
    read_rows(connection, |row, result, _| {
        let place = usize::try_from(row).ok().and_then(|row| results.get_mut(row));
        *place.ok_or(row)? = Some(result);
        Ok(())
    })
}

/// Reads an answer row by row up to its last message, whose result it gives back. An error of `each` is a row's number
/// that was not asked for.
fn read_rows(
    connection: &mut Connection,
    mut each: impl FnMut(u32, ResultCode, &[crate::record::BinRef<'_>]) -> Result<(), u32>,
) -> Result<ResultCode> {
    use crate::aerospike::wire::WireError;
    let mut frame = Vec::new();
    loop {
        let mut last = None;
        connection.receive(FrameType::Message, &mut frame)?;
        let read = batch::items(&frame, |item| match item {
            BatchItem::Last(result) => {
                last = Some(result);
                Ok(())
            }
            BatchItem::Row { row, result, bins, .. } => each(row, result, bins)
                .map_err(|row| WireError::new("the answer to a batch", "rows of the batch", format!("row {row}"))),
        });
        read.map_err(|error| ClusterError::wire(connection.node(), error))?;
        if let Some(result) = last {
            return Ok(result);
        }
    }
}
