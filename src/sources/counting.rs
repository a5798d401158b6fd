//! Sources that count the records which a scan of changes leaves out.
//!
//! A scan of what changed since the parent says nothing of deletes. A source that also counts the live records that it
//! left out does: what the parent has of the scanned partitions and the scan did not deliver must be as many. Only
//! where it is not are records looked for.

use super::{DigestRow, PartitionedSource};
use crate::error::Result;
use crate::format::search::WalkReason;
use crate::record::{Digest, PartitionId, RecordBatch, Timestamp, VoidTime};
use std::collections::BTreeMap;
use std::sync::Arc;

/// How many live records a scan of changes left out, of partitions that were scanned together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// These partitions.
    pub partitions: Vec<PartitionId>,
    /// Live records of theirs that were not updated since the time that was asked for, and were not delivered.
    pub records: u64,
    /// Records that expire before were not counted …
    pub from: VoidTime,
    /// … and those that expire after it, or never, were. Of those in between it can't be told; there are none if it
    /// comes before `from`.
    pub until: VoidTime,
}

/// What a scan of changes says of the records that it left out.
#[derive(Clone, Debug)]
pub enum Rest {
    /// How many they are.
    Counted(Arc<LeftOut>),
    /// That can't be told, for this reason.
    Untold(WalkReason),
}

/// What is known of the records of a partition, when a source is asked which of them are there.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Those that should be there, ascending by digest.
    pub digests: Vec<Digest>,
    /// How many live records the partition has if none of them is gone.
    pub records: u64,
}

/// For each partition its digests, or why it could not be read.
pub type Found = BTreeMap<PartitionId, Result<Vec<DigestRow>, String>>;

/// A source whose scans of changes count what they leave out.
pub trait CountingSource: PartitionedSource {
    /// Says what [`CountingSource::scan_counted`] is about to be called for, as [`PartitionedSource::prepare`] does for
    /// scans; no walk comes before it.
    fn prepare_counted(&self, namespace: &str, wanted: &[(PartitionId, Option<Timestamp>)]);

    /// Reads the records of a partition whose last update is at or after `since`, and says how many others there are.
    ///
    /// # Errors
    ///
    /// If the partition can't be read whole, and the errors of `each`.
    fn scan_counted(
        &self,
        namespace: &str,
        partition: PartitionId,
        since: Timestamp,
        each: &mut dyn FnMut(RecordBatch) -> Result<()>,
    ) -> Result<Rest>;

    /// Says that records expire while they are counted: from now on scans deliver also those that are about to, whether
    /// they changed or not.
    fn expect_expiry(&self);

    /// Of partitions from which records are gone, those that seem to lack some: a hint, as cheap as it can be. `None`
    /// if the source has none.
    fn seem_to_lack(&self, namespace: &str, partitions: &BTreeMap<PartitionId, Known>) -> Option<Vec<PartitionId>> {
        let _ = (namespace, partitions);
        None
    }

    /// The digests of the live records of partitions; where that costs the source less, of the known ones alone.
    ///
    /// # Errors
    ///
    /// If the source can't be read at all.
    fn find(&self, namespace: &str, partitions: &BTreeMap<PartitionId, Known>, all: bool) -> Result<Found>;
}
