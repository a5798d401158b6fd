//! Writes through a program's own client.

use super::client::operations;
use super::client::{
    BatchDeletePolicy, BatchOperation, BatchPolicy, BatchWritePolicy, Client, ErrorKind, Expiration, GenerationPolicy,
    Key, RecordExistsAction, ResultCode, Value as ClientValue,
};
use super::cluster::{clock, namespaces};
use super::record::view_to_client;
use crate::error::{Error, Result};
use crate::record::{Digest, NamespaceMetadata, RecordBatch, RecordView, Timestamp, VoidTime};
use crate::runtime::wait;
use crate::targets::{ConflictPolicy, DeleteOutcome, FailedRecord, RecordTarget, Remarks, WriteOutcome};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

/// Records of one call of the client, and their bytes: servers take 5,000 and 128 MiB.
const CALL_RECORDS: usize = 1000;
const CALL_BYTES: usize = 8 << 20;
/// How often a record is sent, and the wait before the second time; it doubles.
const ATTEMPTS: u32 = 6;
const FIRST_WAIT: Duration = Duration::from_millis(100);

/// A cluster as a target, written through a client of the program's own: with its connections, TLS, user, rack and
/// policies.
///
/// Records go out verbatim: by their stored digest, with the exact bytes of their bins ([`verbatim`](super::verbatim))
/// and the user key where one was stored. Each has a result of its own; what may yet succeed is sent again. Indexes,
/// UDF modules, roles and users are left out, and named as left out; nothing is read back, so a restore into it can
/// neither resume nor mirror. `AerospikeTarget` (feature `cluster`) does all of that.
///
/// Whatever runs the client must go on running meanwhile: a program whose runtime has one thread calls this from
/// another one (`spawn_blocking`).
pub struct ClientTarget {
    client: Arc<Client>,
    name: String,
    batch: BatchPolicy,
    write: BatchWritePolicy,
}

impl ClientTarget {
    /// Writes with the client's default policies for batches of writes, but 30 seconds for each batch.
    pub fn new(client: Arc<Client>) -> Self {
        let mut batch = BatchPolicy::write_default();
        batch.base_policy.total_timeout = 30_000;
        let name = "the official client".to_string();
        ClientTarget { client, name, batch, write: BatchWritePolicy::default() }
    }

    /// Its name for people; no secrets.
    #[must_use]
    pub fn named(self, name: impl Into<String>) -> Self {
        ClientTarget { name: name.into(), ..self }
    }

    /// The policy of its batches: timeouts, retries, filter, transaction.
    #[must_use]
    pub fn batch_policy(self, batch: BatchPolicy) -> Self {
        ClientTarget { batch, ..self }
    }

    /// The policy of its writes: how far they are committed, and whether deletes leave tombstones. What to do with
    /// records that exist, generations, times to live and user keys follow from the restore.
    #[must_use]
    pub fn write_policy(self, write: BatchWritePolicy) -> Self {
        ClientTarget { write, ..self }
    }

    fn error(&self, problem: impl Into<String>) -> Error {
        Error::Target { target_name: self.name.clone(), problem: problem.into() }
    }

    fn policy(
        &self,
        record: &RecordView<'_>,
        key: &Key,
        expiration: Expiration,
        policy: ConflictPolicy,
    ) -> BatchWritePolicy {
        let (record_exists_action, generation_policy) = match policy {
            ConflictPolicy::Replace => (RecordExistsAction::Replace, GenerationPolicy::None),
            ConflictPolicy::Merge => (RecordExistsAction::Update, GenerationPolicy::None),
            ConflictPolicy::Keep => (RecordExistsAction::CreateOnly, GenerationPolicy::None),
            ConflictPolicy::Newer => (RecordExistsAction::Replace, GenerationPolicy::ExpectGenGreater),
        };
        BatchWritePolicy {
            record_exists_action,
            generation_policy,
            // Servers count in 16 bits; what is higher is as new as can be.
            generation: record.meta.generation.0.min(u32::from(u16::MAX)),
            expiration,
            send_key: key.user_key().is_some(),
            ..self.write.clone()
        }
    }

    /// Writes the records of a batch.
    pub(super) fn put(&self, namespace: &str, batch: &RecordBatch, policy: ConflictPolicy) -> Result<Settled> {
        let now = self.clock()?;
        let mut settled = Settled::default();
        let (mut calls, mut bytes) = (Vec::new(), 0);
        for record in batch.iter() {
            let digest = record.meta.digest;
            let Some(expiration) = expiration(record.meta.void_time, now) else {
                settled.expired.push(digest);
                continue;
            };
            let converted =
                view_to_client(namespace, &record, |bin| Ok(ClientValue::Unknown(bin.particle.0, bin.bytes.to_vec())));
            let converted = converted.map_err(|problem| problem.to_string()).and_then(|(key, bins)| {
                let no_bins = "it has no bins, and servers keep no such records";
                if bins.is_empty() { Err(no_bins.to_string()) } else { Ok((key, bins)) }
            });
            let (key, bins) = match converted {
                Ok(parts) => parts,
                Err(reason) => {
                    settled.failed.push(FailedRecord { digest, reason });
                    continue;
                }
            };
            bytes += record.byte_len();
            if calls.len() >= CALL_RECORDS || bytes > CALL_BYTES && !calls.is_empty() {
                bytes = record.byte_len();
                self.send(std::mem::take(&mut calls), &mut settled, namespace)?;
            }
            let policy = self.policy(&record, &key, expiration, policy);
            let puts: Vec<_> = bins.iter().map(operations::put).collect();
            calls.push(BatchOperation::write(&policy, key, puts));
        }
        if !calls.is_empty() {
            self.send(calls, &mut settled, namespace)?;
        }
        Ok(settled)
    }

    /// Sends operations until each has a result that stays, or they were sent often enough.
    fn send(&self, mut calls: Vec<BatchOperation>, settled: &mut Settled, namespace: &str) -> Result<()> {
        let mut doubtful = HashSet::new();
        for attempt in 1..=ATTEMPTS {
            let answered = wait(self.client.batch(&self.batch, &mut calls))?;
            let mut again = Vec::new();
            for call in calls {
                let row = call.batch_record();
                let digest = Digest(row.key.digest());
                let code = row.result_code();
                let problem = || match (row.error(), &answered) {
                    (Some(error), _) => error.to_string(),
                    (None, Err(error)) => error.to_string(),
                    (None, Ok(())) => "it was not answered".to_string(),
                };
                if let Some(problem) = code.and_then(|code| self.for_all(code, namespace)) {
                    return Err(self.error(problem));
                }
                match code {
                    Some(ResultCode::KeyExistsError | ResultCode::GenerationError) if doubtful.contains(&digest) => {
                        let reason = "a first attempt was not answered, and now the record is there: it may be ours or \
                                      another's";
                        settled.failed.push(FailedRecord { digest, reason: reason.into() });
                    }
                    Some(ResultCode::Ok) => settled.done.push(digest),
                    Some(ResultCode::KeyNotFoundError) if settled.deletes => settled.done.push(digest),
                    Some(ResultCode::KeyExistsError) => settled.exists.push(digest),
                    Some(ResultCode::GenerationError) => settled.fresher.push(digest),
                    _ if attempt < ATTEMPTS && may_pass(code, row.error()) => {
                        if row.in_doubt() || code.is_none() {
                            doubtful.insert(digest);
                        }
                        again.push(call);
                    }
                    _ => settled.failed.push(FailedRecord { digest, reason: problem() }),
                }
            }
            if again.is_empty() {
                break;
            }
            calls = again;
            std::thread::sleep(FIRST_WAIT * 2u32.saturating_pow(attempt - 1));
        }
        Ok(())
    }

    /// What is wrong for all records, so that going on is of no use.
    fn for_all(&self, code: ResultCode, namespace: &str) -> Option<String> {
        let problem = match code {
            ResultCode::ServerMemError => "it has no room, or is at stop-writes. Make room there",
            ResultCode::RoleViolation => "the client's user may not write there. Grant it the role read-write",
            ResultCode::NotAuthenticated => "the client is not logged in. Give its policy a user and a password",
            ResultCode::InvalidNamespace => "the cluster has no such namespace. Restore into another one with `rename`",
            _ => return None,
        };
        Some(format!("namespace {namespace}: {problem}"))
    }
}

/// What became of records.
#[derive(Default)]
pub(super) struct Settled {
    deletes: bool,
    done: Vec<Digest>,
    pub expired: Vec<Digest>,
    pub exists: Vec<Digest>,
    fresher: Vec<Digest>,
    pub failed: Vec<FailedRecord>,
}

/// Whether a write that got this may succeed later.
fn may_pass(code: Option<ResultCode>, error: Option<&super::client::Error>) -> bool {
    match code {
        Some(code) => matches!(
            code,
            ResultCode::Timeout
                | ResultCode::DeviceOverload
                | ResultCode::KeyBusy
                | ResultCode::PartitionUnavailable
                | ResultCode::ClusterKeyMismatch
                | ResultCode::BatchQueuesFull
        ),
        // What the client itself refuses stays refused.
        None => error.is_none_or(|error| !matches!(error.kind(), ErrorKind::InvalidArgument)),
    }
}

/// When a write of a record with this void time has to expire; `None` if the time has come.
fn expiration(void_time: VoidTime, now: Timestamp) -> Option<Expiration> {
    let Some(time) = void_time.timestamp() else { return Some(Expiration::Never) };
    // Full seconds, as servers count. 0 would stand for the namespace's default.
    let left = (time.0 / 1000).checked_sub(now.0 / 1000).filter(|left| *left > 0)?;
    Some(Expiration::Seconds(u32::try_from(left).ok()?))
}

impl RecordTarget for ClientTarget {
    fn name(&self) -> &str {
        &self.name
    }

    fn is_live(&self) -> bool {
        true
    }

    fn clock(&self) -> Result<Timestamp> {
        clock(&self.client).map_err(|problem| self.error(problem))
    }

    fn preview_begin(&self, namespace: &str, metadata: &NamespaceMetadata) -> Result<Remarks> {
        let there = namespaces(&self.client).map_err(|problem| self.error(problem))?;
        if !there.iter().any(|name| name == namespace) {
            return Err(self.error(format!(
                "the cluster has no namespace {namespace:?}, its namespaces are: {}. Give another name with `rename`",
                there.join(", ")
            )));
        }
        let why = "records alone go through the client; restore them into aerospike://...";
        let mut omissions = Vec::new();
        let mut omit = |count: usize, what: &str| {
            if count > 0 {
                omissions.push(format!("namespace {namespace}: {count} {what}: {why}"));
            }
        };
        omit(metadata.indexes.len(), "secondary indexes");
        omit(metadata.udfs.len(), "UDF modules");
        omit(metadata.roles.len(), "roles");
        omit(metadata.users.len(), "users");
        Ok(Remarks { omissions, ..Remarks::default() })
    }

    fn begin(&self, namespace: &str, metadata: &NamespaceMetadata) -> Result<Remarks> {
        self.preview_begin(namespace, metadata)
    }

    fn write(&self, namespace: &str, batch: &RecordBatch, policy: ConflictPolicy) -> Result<WriteOutcome> {
        let Settled { done, expired, exists, fresher, failed, .. } = self.put(namespace, batch, policy)?;
        Ok(WriteOutcome {
            written: done.len() as u64,
            expired: expired.len() as u64,
            exists: exists.len() as u64,
            fresher: fresher.len() as u64,
            failed,
            left_alone: [expired, exists, fresher].concat(),
        })
    }

    fn delete(&self, namespace: &str, digests: &[Digest]) -> Result<DeleteOutcome> {
        let policy = BatchDeletePolicy { durable_delete: self.write.durable_delete, ..BatchDeletePolicy::default() };
        let mut settled = Settled { deletes: true, ..Settled::default() };
        for some in digests.chunks(CALL_RECORDS) {
            let call =
                |digest: &Digest| BatchOperation::delete(&policy, Key::with_digest(namespace, "", None, digest.0));
            self.send(some.iter().map(call).collect(), &mut settled, namespace)?;
        }
        Ok(DeleteOutcome { deleted: settled.done.len() as u64, failed: settled.failed })
    }

    /// Nothing is left to be done: each record was answered for.
    fn finish(&self) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_expires_by_the_second_and_one_whose_time_has_come_is_not_written() {
        let now = Timestamp((1000 + crate::record::time::AEROSPIKE_EPOCH_SECONDS) * 1000 + 700);
        assert!(matches!(expiration(VoidTime::NEVER, now), Some(Expiration::Never)));
        assert!(matches!(expiration(VoidTime(1002), now), Some(Expiration::Seconds(2))));
        for past in [1000, 999] {
            assert!(expiration(VoidTime(past), now).is_none(), "{past}");
        }
    }
}
