//! Rebuilds the index, and salvages snapshots that lost chunks.

use super::{Done, ReadPart, millis_since, stopped, text};
use crate::error::Result;
use crate::plan::Plan;
use crate::record::Digest;
use crate::repair::{self, NamespaceLosses, Salvaged};
use crate::repository::Repository;
use crate::setters::setters;
use serde::Serialize;
use std::time::Instant;

/// What [`repair()`] is told.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RepairOptions {
    /// How much of the data is read first, to find what is damaged. The default is nothing.
    pub read: ReadPart,
    /// Only say what would be done.
    pub dry_run: bool,
    /// Another repository that may have records that are lost here; its keys may be others.
    pub from: Option<Repository>,
}

impl Default for RepairOptions {
    fn default() -> Self {
        RepairOptions { read: ReadPart::NONE, dry_run: false, from: None }
    }
}

setters!(RepairOptions { read: ReadPart, dry_run: bool, from: Option<Repository> });

/// What a repair did, or would do.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct RepairReport {
    /// Whether this was a dry run: nothing was changed.
    pub dry_run: bool,
    /// Index segments that could not be read, for people.
    pub index_problems: Vec<String>,
    /// How many packs were added to the index.
    pub packs_indexed: u64,
    /// How many chunks were added to the index.
    pub chunks_indexed: u64,
    /// Sessions, holds and label changes that could not be read and were deleted or rewritten, for people.
    pub cleared: Vec<String>,
    /// How many snapshots were examined.
    pub snapshots: u64,
    /// How many chunks were examined.
    pub chunks: u64,
    /// How many chunks were read.
    pub chunks_read: u64,
    /// Chunks that are missing or damaged, for people.
    pub chunk_problems: Vec<String>,
    /// The snapshots that lost chunks.
    pub salvaged: Vec<SalvagedSnapshot>,
    /// What can't be repaired, for people.
    pub problems: Vec<String>,
    /// Why the index was left as it is (a collection is about to change it), else `null`. If there are no
    /// `index_problems`, nothing is wrong with it.
    pub deferred: Option<String>,
    /// How long it took.
    pub duration_millis: u64,
}

/// A snapshot that lost chunks.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct SalvagedSnapshot {
    /// The id of the snapshot that lost them.
    pub original: String,
    /// The id of the new snapshot, with what can be read; `null` in a dry run if it is still to be made.
    pub snapshot: Option<String>,
    /// Whether an earlier repair made it.
    pub earlier: bool,
    /// The namespaces that lost something.
    pub namespaces: Vec<SalvagedNamespace>,
}

/// A namespace that lost something.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct SalvagedNamespace {
    /// Its name.
    pub namespace: String,
    /// How many records were kept.
    pub records: u64,
    /// How many of those were found elsewhere.
    pub recovered: u64,
    /// How many records are gone.
    pub lost: u64,
    /// The lost records that are known, all of them.
    pub lost_records: Vec<LostRecord>,
    /// Ranges of digests, in key order, whose entries can't be read.
    pub lost_ranges: Vec<LostRange>,
    /// Why the indexes and UDF modules can't be read, or `null`.
    pub lost_metadata: Option<String>,
}

/// A record that is gone.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct LostRecord {
    /// Its digest.
    pub digest: String,
    /// Its set.
    pub set: String,
    /// Its key, or `null` if none was stored or it can't be read.
    pub key: Option<String>,
}

/// Digests in key order.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct LostRange {
    /// The first digest; `null` for the first of all.
    pub from: Option<String>,
    /// The digest after the last; `null` if the range goes to the end.
    pub until: Option<String>,
}

impl From<&repair::LostRecord> for LostRecord {
    fn from(record: &repair::LostRecord) -> Self {
        let key = record.key.as_ref().map(|(particle, bytes)| text::key(*particle, bytes));
        LostRecord { digest: record.digest.to_string(), set: text::plain(&record.set), key }
    }
}

impl From<&NamespaceLosses> for SalvagedNamespace {
    fn from(losses: &NamespaceLosses) -> Self {
        let range = |(from, until): &(Option<Digest>, Option<Digest>)| LostRange {
            from: from.map(|digest| digest.to_string()),
            until: until.map(|digest| digest.to_string()),
        };
        SalvagedNamespace {
            namespace: losses.namespace.clone(),
            records: losses.kept,
            recovered: losses.recovered,
            lost: losses.lost,
            lost_records: losses.records.iter().map(LostRecord::from).collect(),
            lost_ranges: losses.ranges.iter().map(range).collect(),
            lost_metadata: losses.metadata.clone(),
        }
    }
}

impl From<&Salvaged> for SalvagedSnapshot {
    fn from(salvaged: &Salvaged) -> Self {
        SalvagedSnapshot {
            original: salvaged.original.to_string(),
            snapshot: salvaged.snapshot.map(|id| id.to_string()),
            earlier: salvaged.earlier,
            namespaces: salvaged.namespaces.iter().map(SalvagedNamespace::from).collect(),
        }
    }
}

impl RepairReport {
    fn new(report: repair::RepairReport, dry_run: bool, duration_millis: u64) -> Self {
        RepairReport {
            dry_run,
            index_problems: report.segments,
            packs_indexed: report.packs_indexed,
            chunks_indexed: report.chunks_indexed,
            cleared: report.cleared,
            snapshots: report.found.snapshots,
            chunks: report.found.chunks,
            chunks_read: report.found.chunks_read,
            chunk_problems: report.found.problems,
            salvaged: report.salvaged.iter().map(SalvagedSnapshot::from).collect(),
            problems: report.problems,
            deferred: report.deferred,
            duration_millis,
        }
    }

    /// How it ended.
    pub fn done(&self) -> Done {
        let mut namespaces = self.salvaged.iter().flat_map(|salvaged| &salvaged.namespaces);
        let loses =
            |one: &SalvagedNamespace| one.lost > 0 || !one.lost_ranges.is_empty() || one.lost_metadata.is_some();
        if !self.problems.is_empty() || self.deferred.is_some() && !self.index_problems.is_empty() {
            Done::Damaged
        } else if namespaces.any(loses) || self.deferred.is_some() {
            Done::Incomplete
        } else {
            Done::Whole
        }
    }
}

/// Repairs a repository. Run again, it has nothing to do; killed on the way and run again, it finishes.
///
/// # Errors
///
/// If the store can't be read or written, or it is stopped. What can't be repaired is no error: the report names
/// it.
pub fn repair(repository: &Repository, options: &RepairOptions) -> Result<RepairReport> {
    let begun = Instant::now();
    let read_percent = options.read.percent(&**repository.store())?;
    let from = options.from.clone();
    let repairing = repair::RepairOptions::default().read_percent(read_percent).from(from);
    let report = match options.dry_run {
        true => repository.repair_plan(&repairing).map(Plan::into_report),
        false => repository.repair(&repairing),
    };
    let report = report.map_err(|error| stopped(error, "the next repair continues"))?;
    Ok(RepairReport::new(report, options.dry_run, millis_since(begun)))
}
