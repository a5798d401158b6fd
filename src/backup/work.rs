//! What backing up a namespace needs, and what comes of it.

use super::loss::{Doubts, Tally};
use super::merge_policy::Merge;
use super::resume::Notes;
use crate::chunk::Cutter;
use crate::chunks::{ChunkReader, ChunkWriter};
use crate::control::Control;
use crate::format::SnapshotId;
use crate::format::evidence::Evidence;
use crate::format::session::OpenNamespace;
use crate::format::snapshot::{BackupKind, NamespaceManifest, Unread};
use crate::record::{PartitionId, PartitionSet};
use crate::run::Losses;
use crate::setters::setters;
use crate::sources::{BadRecord, RecordSource};
use crate::spool::PartitionRecords;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Bad records that are kept by name; further ones are only counted.
pub(crate) const MAX_BAD: usize = 1000;

/// How an incremental or differential backup finds out which records are gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum DeleteMode {
    /// By counting where that suffices, else by looking for every record.
    #[default]
    Auto,
    /// By looking for every record.
    Walk,
    /// Not at all: what is gone stays in the snapshot, and the snapshot says so. The next backup finds it.
    None,
}

/// How records are read.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RecordOptions {
    /// The source holds only what changed; nobody knows what was deleted.
    pub partial: bool,
    /// Records that can't be parsed are left out and listed.
    pub skip_bad_records: bool,
    /// Partitions that can't be read are left as the parent has them, and listed.
    pub allow_partial: bool,
    /// What looks like a loss of the cluster's is taken for deletes.
    pub accept_loss: bool,
    /// Records of a source without order are held in memory up to about this many bytes, then spilled. Those of one
    /// partition of another source up to an eighth of it, and 32 MiB.
    pub memory_bytes: usize,
    /// Partitions that are read at once; the machine's processors if 0.
    pub parallel: usize,
    /// The snapshot shall rest on one run that refers to nothing dead.
    pub compact: bool,
    /// How it is found out what is gone.
    pub deletes: DeleteMode,
}

setters!(RecordOptions {
    partial: bool,
    skip_bad_records: bool,
    allow_partial: bool,
    accept_loss: bool,
    memory_bytes: usize,
    parallel: usize,
    compact: bool,
    deletes: DeleteMode,
});

impl Default for RecordOptions {
    fn default() -> Self {
        RecordOptions {
            partial: false,
            skip_bad_records: false,
            allow_partial: false,
            accept_loss: false,
            memory_bytes: 768 << 20,
            parallel: 0,
            compact: false,
            deletes: DeleteMode::Auto,
        }
    }
}

impl RecordOptions {
    pub(crate) fn threads(&self) -> usize {
        match self.parallel {
            0 => std::thread::available_parallelism().map_or(2, usize::from),
            n => n,
        }
    }

    /// Takes the records of one partition, within the bound of memory.
    pub(crate) fn partition_records(&self) -> PartitionRecords {
        PartitionRecords::with_bound(PartitionRecords::BOUND.min(self.memory_bytes / 8))
    }
}

/// Everything that backing up a namespace needs.
pub struct NamespaceWork<'a> {
    /// The session's id.
    pub id: SnapshotId,
    /// The namespace's name.
    pub namespace: &'a str,
    /// Where the records come from.
    pub source: &'a dyn RecordSource,
    /// What is read.
    pub kind: BackupKind,
    /// The snapshot to build on.
    pub parent: Option<(SnapshotId, NamespaceManifest)>,
    /// How it is read.
    pub options: &'a RecordOptions,
    /// What of the parent can't be read; only a full backup goes on then, and writes all entries again.
    pub lost: Losses,
    /// What is merged of the parent's runs.
    pub merge: Merge,
    /// Reads the parent.
    pub reader: &'a Arc<ChunkReader>,
    /// Takes the chunks.
    pub writer: &'a ChunkWriter,
    /// Cuts the values.
    pub cutter: Cutter,
    /// How the source stood when the reading began, of one that tells.
    pub evidence: Option<Evidence>,
    /// From when on, by the source's clock, changes are read where a filter by last update may miss what changed since
    /// the parent.
    pub known_until: u64,
    /// The partitions that may have lost something since the parent.
    pub doubts: Option<&'a Doubts>,
    /// Partitions that are left as the parent has them, and why.
    pub left: Option<&'a (PartitionSet, String)>,
    /// What another session of the same job finished, and this one took over.
    pub taken: Option<&'a OpenNamespace>,
    /// Where to note how far it comes.
    pub notes: Option<&'a Notes<'a>>,
    /// Progress, stop flag and observer.
    pub control: &'a Control,
}

/// What backing up a namespace came to.
pub struct BackedUp {
    /// Its part of the manifest.
    pub manifest: NamespaceManifest,
    /// The records that could not be parsed.
    pub bad: Vec<BadRecord>,
    /// The partitions that could not be read, for people.
    pub missing: Option<String>,
    /// What became of the parent's records in the partitions that are in doubt.
    pub tally: Tally,
    /// What a session of the same job could take over; of a source that can be read by partitions.
    pub open: Option<OpenNamespace>,
}

/// The ranges of partitions that were not read, each with the time of which what the parent holds of it is.
pub(crate) fn unread_ranges(
    parent: Option<&NamespaceManifest>,
    unread: impl Iterator<Item = PartitionId>,
) -> Vec<Unread> {
    let mut ranges: Vec<Unread> = Vec::new();
    for partition in unread {
        let (number, as_of) = (u32::from(partition.number()), parent.and_then(|parent| parent.as_of(partition)));
        match ranges.last_mut() {
            Some(range) if range.last + 1 == number && range.as_of == as_of => range.last = number,
            _ => ranges.push(Unread { first: number, last: number, as_of }),
        }
    }
    ranges
}

/// What was written of a namespace.
pub(crate) struct Written {
    pub manifest: NamespaceManifest,
    /// The partitions that could not be read, and why.
    pub unread: BTreeMap<PartitionId, String>,
    /// What another session could go on from.
    pub open: OpenNamespace,
    pub tally: Tally,
}
