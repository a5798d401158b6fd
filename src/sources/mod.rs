//! Where records come from.
//!
//! A source has one of two shapes. A *stream* (`.asb` files, JSON lines) delivers every record once, in any order, and
//! knows nothing of deletes. A *partitioned* source (embedded store, cluster) delivers one partition at a time on
//! demand, all of it or what changed since a time, and can walk the digests alone, which is what makes deletes visible.
//!
//! A source of one's own implements [`Source`], which asks for no more than the records. [`RecordSource`] and the
//! traits of both shapes are for sources that can do more.
//!
//! Sources push batches of records with canonical bodies ([`RecordBatch`]); they never see the repository.

#[cfg(feature = "cluster")]
pub mod aerospike;
#[cfg(feature = "asb")]
pub mod asb;
mod counting;
#[cfg(feature = "embedded")]
pub mod embedded;
#[cfg(feature = "jsonl")]
pub mod jsonl;
mod own;
mod selected;
pub(crate) mod sets;

pub use counting::{CountingSource, Found, Known, LeftOut, Rest};
pub use own::{Source, SourceRecord};
pub use selected::Selected;
pub use sets::MetSets;

use crate::control::Control;
use crate::error::{Error, Result};
use crate::format::evidence::Evidence;
use crate::record::{
    Digest, Generation, NamespaceMetadata, PartitionId, PartitionSet, RecordBatch, Timestamp, VoidTime,
};

/// A record, or a place in a file, that could not be parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadRecord {
    /// Where it is: file and byte offset, or namespace and digest.
    pub place: String,
    /// What was expected and what was found.
    pub problem: String,
    /// Whether the text breaks off there, so that everything after it is missing too.
    pub breaks_off: bool,
}

/// Takes what a source reads. Called from several threads at once.
pub trait RecordSink: Sync {
    /// Takes a batch of at least one record. A good size is about 1 MiB of bodies.
    ///
    /// # Errors
    ///
    /// If the backup can't go on, or was stopped: the source shall return this error.
    fn records(&self, batch: RecordBatch) -> Result<()>;

    /// Takes note of a record that could not be parsed. Returns `Ok` if the source shall go on with the next record,
    /// else the error that it shall return.
    ///
    /// # Errors
    ///
    /// The error that the source shall return: bad records are not to be left out.
    fn bad_record(&self, bad: BadRecord, error: crate::error::Error) -> Result<()>;
}

/// Something that can be backed up.
pub trait RecordSource: Send + Sync {
    /// Its name for people and for the snapshot, such as `asb:/backups/monday`; no secrets.
    fn name(&self) -> &str;

    /// The cluster's own name, where the source knows one.
    fn cluster(&self) -> Option<String>;

    /// The namespaces it holds, sorted.
    ///
    /// # Errors
    ///
    /// If the source can't be reached or read.
    fn namespaces(&self) -> Result<Vec<String>>;

    /// The source's clock, which decides what "since" means for the next incremental.
    ///
    /// # Errors
    ///
    /// If the source can't be reached or read.
    fn clock(&self) -> Result<Timestamp>;

    /// Indexes and UDF modules of a namespace. For a stream it is complete only once the namespace was read.
    ///
    /// # Errors
    ///
    /// If the source can't be reached or read.
    fn metadata(&self, namespace: &str) -> Result<NamespaceMetadata>;

    /// Which of its records it was asked for, as text, always the same for the same ones; empty for all. What was not
    /// asked for is not gone, so backups build on those of the same selection.
    fn selection(&self) -> String {
        String::new()
    }

    /// What was selected of a namespace and not found: sets and bins that it doesn't have, most likely slips of the
    /// pen. For a source that knows it only once it was read; for people.
    fn unfound(&self, namespace: &str) -> Option<String> {
        let _ = namespace;
        None
    }

    /// How a namespace stands: what tells losses from deletes. `None` of a source that loses nothing by itself.
    ///
    /// # Errors
    ///
    /// If the source can't be reached or read.
    fn standing(&self, namespace: &str) -> Result<Option<Standing>> {
        let _ = namespace;
        Ok(None)
    }

    /// What people should know of it: what was taken for the path that they gave, and what was found while it was read.
    fn notes(&self) -> Vec<String> {
        Vec::new()
    }

    /// What it is, if it is known to hold only what changed since an earlier backup, and no deletes.
    fn holds_changes_only(&self) -> Option<String> {
        None
    }

    /// Its shape.
    fn shape(&self) -> SourceShape<'_>;
}

/// The state of a namespace of a cluster.
#[derive(Clone, Debug)]
pub struct Standing {
    /// The nodes, and what they hold in full.
    pub evidence: Evidence,
    /// Until when all of it was truncated last.
    pub truncated: Option<Timestamp>,
    /// Until when sets of it were truncated last.
    pub truncated_sets: Vec<(Vec<u8>, Timestamp)>,
    /// Partitions of which no node had a copy when they were shared out last, and which began again, empty.
    pub fresh: usize,
    /// The sets that were selected and that the namespace doesn't know, and those that it knows.
    pub unknown_sets: Option<(Vec<String>, Vec<String>)>,
}

impl Standing {
    /// Which of the selected sets the namespace doesn't know, and which it knows; for people.
    pub fn unfound(&self, namespace: &str) -> Option<String> {
        let (unknown, known) = self.unknown_sets.as_ref()?;
        let names = |names: &[String]| sets::listed(names.iter().map(String::as_bytes));
        Some(sets::unknown(&names(unknown), unknown.len() == 1, namespace, &names(known)))
    }
}

/// The two shapes of a source.
pub enum SourceShape<'a> {
    /// Every record once, in any order.
    Stream(&'a dyn StreamSource),
    /// One partition at a time, on demand.
    Partitioned(&'a dyn PartitionedSource),
}

/// A source that can be asked for partitions, as all live ones can.
pub(crate) fn partitioned(source: &dyn RecordSource) -> Result<&dyn PartitionedSource> {
    match source.shape() {
        SourceShape::Partitioned(source) => Ok(source),
        SourceShape::Stream(_) => {
            Err(Error::invalid(format!("{} can't be read partition by partition", source.name())))
        }
    }
}

/// A source that delivers every record once, in any order.
pub trait StreamSource: Send + Sync {
    /// Reads all records of a namespace, with as many threads as it sees fit. Returns once all were handed over; checks
    /// `control` between batches and counts the input's bytes there.
    ///
    /// # Errors
    ///
    /// If the source can't be read, and the errors of the sink or of `each`.
    fn read(&self, namespace: &str, sink: &dyn RecordSink, control: &Control) -> Result<()>;
}

/// What a digest walk says of one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DigestRow {
    /// The record's digest.
    pub digest: Digest,
    /// Its generation.
    pub generation: Generation,
    /// When it expires.
    pub void_time: VoidTime,
}

/// A source that delivers one partition at a time. Its methods are called from several threads, for different
/// partitions.
pub trait PartitionedSource: Send + Sync {
    /// The partitions that have records of the selection. The others are not asked for.
    fn partitions(&self) -> PartitionSet {
        PartitionSet::all()
    }

    /// Says which partitions [`PartitionedSource::scan`] is about to be called for, about in this order, and since
    /// when; those with a time are walked before, up to that time. Sources may read ahead by it.
    fn prepare(&self, namespace: &str, wanted: &[(PartitionId, Option<Timestamp>)]) {
        let _ = (namespace, wanted);
    }

    /// The same, for scans that no walk comes before.
    fn prepare_changes(&self, namespace: &str, wanted: &[(PartitionId, Option<Timestamp>)]) {
        self.prepare(namespace, wanted);
    }

    /// Reads the live records of a partition, in any order: all of them, or those whose last update is at or after
    /// `since`.
    ///
    /// # Errors
    ///
    /// If the partition can't be read whole, and the errors of `each`.
    fn scan(
        &self,
        namespace: &str,
        partition: PartitionId,
        since: Option<Timestamp>,
        each: &mut dyn FnMut(RecordBatch) -> Result<()>,
    ) -> Result<()>;

    /// Walks the digests of a partition's live records, in any order, without reading their bins: all of them, or those
    /// whose last update is before a time. What was updated since is left to a [`PartitionedSource::scan`] from that
    /// time on, which comes after the walk: so each record is met as it is at one of both times, whatever happens in
    /// between.
    ///
    /// # Errors
    ///
    /// If the partition can't be walked whole, and the errors of `each`.
    fn walk(
        &self,
        namespace: &str,
        partition: PartitionId,
        before: Option<Timestamp>,
        each: &mut dyn FnMut(&[DigestRow]) -> Result<()>,
    ) -> Result<()>;

    /// Reads records by digest; those that are gone meanwhile are left out.
    ///
    /// # Errors
    ///
    /// If the source can't be read, and the errors of the sink or of `each`.
    fn read(&self, namespace: &str, digests: &[Digest], each: &mut dyn FnMut(RecordBatch) -> Result<()>) -> Result<()>;

    /// Looks, once these partitions were read, whether the source still has what it had of them when it was opened: an
    /// error if it may have lost some of it.
    ///
    /// # Errors
    ///
    /// If it may have lost some of it, or can't be asked.
    fn check_losses(&self, namespace: &str, partitions: &PartitionSet) -> Result<()> {
        let _ = (namespace, partitions);
        Ok(())
    }

    /// How far the clocks of the source may be apart, in milliseconds: an incremental reads back this much further.
    fn clock_margin_millis(&self) -> u64;

    /// The same source, if its scans of changes can count what they leave out.
    fn counting(&self) -> Option<&dyn CountingSource> {
        None
    }

    /// How many records could not be parsed since this was last asked, and the first of them by name. They were left
    /// out of what the other methods gave.
    fn take_bad_records(&self) -> (u64, Vec<BadRecord>) {
        (0, Vec::new())
    }
}
