//! Where records go on a restore.

#[cfg(feature = "cluster")]
pub mod aerospike;
pub mod asb;
pub mod embedded;
pub mod jsonl;

use crate::error::Result;
use crate::record::{Digest, NamespaceMetadata, RecordBatch, Timestamp};

/// What happens to a record that the target already has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ConflictPolicy {
    /// The snapshot's record replaces it.
    #[default]
    Replace,
    /// The target's record stays.
    Keep,
    /// The one with the higher generation stays; on a tie the target's.
    Newer,
}

/// A record that the target refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedRecord {
    /// Its digest.
    pub digest: Digest,
    /// Why.
    pub reason: String,
}

/// What became of one batch. The four counts and the failures add up to the batch's length.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriteOutcome {
    /// Records written.
    pub written: u64,
    /// Records that expired between being read and being written.
    pub expired: u64,
    /// Records left alone because the target had them ([`ConflictPolicy::Keep`]).
    pub exists: u64,
    /// Records left alone because the target's was as new or newer ([`ConflictPolicy::Newer`]).
    pub fresher: u64,
    /// Records that were refused.
    pub failed: Vec<FailedRecord>,
}

/// Something that can be restored into.
pub trait RecordTarget: Send + Sync {
    /// Its name for people, such as `asb:/restore/out`; no secrets.
    fn name(&self) -> &str;

    /// Whether records expire there. Expired records are skipped for a live target; files keep them.
    fn is_live(&self) -> bool;

    /// The target's clock, by which a live target's records expire.
    fn clock(&self) -> Result<Timestamp>;

    /// Prepares for the records of a namespace and takes its indexes and UDF modules. Called once for each namespace,
    /// before its first batch.
    fn begin(&self, namespace: &str, metadata: &NamespaceMetadata) -> Result<()>;

    /// Writes a batch. Called from several threads at once. A record that is refused is reported in the outcome; an error
    /// means that the target as a whole can't go on.
    fn write(&self, namespace: &str, batch: &RecordBatch, policy: ConflictPolicy) -> Result<WriteOutcome>;

    /// Completes the output: flushes, gives files their final names. Without it a target leaves nothing that could be taken
    /// for a whole one.
    fn finish(&self) -> Result<()>;

    /// Indexes and UDF modules that the target could not take, each with its reason, for people. A restore with any is done
    /// but incomplete.
    fn omissions(&self) -> Vec<String> {
        Vec::new()
    }
}
