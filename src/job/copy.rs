//! Copies snapshots into another repository.

use super::{Done, millis_since, stopped, text};
use crate::copy;
use crate::error::Result;
use crate::plan::Plan;
use crate::repository::{Repository, SnapshotFilter};
use crate::setters::setters;
use serde::Serialize;
use std::time::Instant;

/// Which snapshots [`copy()`] copies.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct CopyOptions {
    /// These: ids or their beginnings, `latest`, `latest~N`, `@TIME`. All if empty.
    pub snapshots: Vec<String>,
    /// Those that are not named by their ids are looked for among these.
    pub filter: SnapshotFilter,
    /// Of these, the ones that are newer than this: a time, or a snapshot.
    pub newer_than: Option<String>,
    /// Only say what would be done.
    pub dry_run: bool,
}

setters!(CopyOptions {
    snapshots: Vec<String>,
    filter: SnapshotFilter,
    newer_than: Option<String>,
    dry_run: bool,
});

/// What a copy did, or would do.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct CopyReport {
    /// Whether this was a dry run: nothing was changed.
    pub dry_run: bool,
    /// The repository that was copied from.
    pub from: String,
    /// The repository that was copied into.
    pub to: String,
    /// The snapshots that were copied, oldest first.
    pub copied: Vec<CopiedSnapshot>,
    /// What the other repository already had.
    pub present: Vec<PresentSnapshot>,
    /// The snapshots that were not copied.
    pub not_copied: Vec<NotCopied>,
    /// How many holds were placed on copies of held snapshots.
    pub holds: u64,
    /// How many copies took over label changes of their originals.
    pub labelled: u64,
    /// For people: damage in the other repository that was worked around, and holds and labels that copies did not get.
    pub warnings: Vec<String>,
    /// How long it took.
    pub duration_millis: u64,
}

/// A snapshot that was copied.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct CopiedSnapshot {
    /// Its id.
    pub snapshot: String,
    /// The id of the copy; `null` in a dry run.
    pub copy: Option<String>,
    /// When it was committed.
    pub committed: String,
    /// Its cluster.
    pub cluster: String,
    /// The names of its namespaces.
    pub namespaces: Vec<String>,
    /// How many records it has.
    pub records: u64,
    /// How many chunks were stored; in a dry run, the most that may have to be.
    pub chunks: u64,
    /// Bytes that were read from packs; in a dry run, the stored bytes of those chunks.
    pub bytes_read: u64,
    /// Bytes stored in packs and index segments; 0 in a dry run.
    pub stored_bytes: u64,
}

/// A snapshot that the other repository already had.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct PresentSnapshot {
    /// Its id.
    pub snapshot: String,
    /// The id of the copy.
    pub copy: String,
}

/// A snapshot that was not copied.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct NotCopied {
    /// Its id.
    pub snapshot: String,
    /// Why, for people.
    pub problem: String,
    /// Whether it is damaged; else it was forgotten meanwhile.
    pub damaged: bool,
}

impl From<copy::CopiedSnapshot> for CopiedSnapshot {
    fn from(copied: copy::CopiedSnapshot) -> Self {
        let copy::CopiedSnapshot { original, copy, chunks, bytes_read, stored_bytes } = copied;
        CopiedSnapshot {
            snapshot: original.id().to_string(),
            copy: copy.map(|id| id.to_string()),
            committed: text::rfc3339(original.committed().0),
            records: original.namespaces().map(|namespace| namespace.live_records()).sum(),
            namespaces: original.namespaces().map(|namespace| namespace.name().to_string()).collect(),
            cluster: original.cluster().to_string(),
            chunks,
            bytes_read,
            stored_bytes,
        }
    }
}

impl CopyReport {
    fn new(
        report: copy::CopyReport,
        dry_run: bool,
        from: String,
        to: String,
        warnings: Vec<String>,
        duration_millis: u64,
    ) -> Self {
        let present = report.present.iter();
        let not_copied = report.not_copied.into_iter().map(|not| NotCopied {
            snapshot: not.snapshot.to_string(),
            problem: not.problem,
            damaged: not.damaged,
        });
        CopyReport {
            dry_run,
            from,
            to,
            copied: report.copied.into_iter().map(CopiedSnapshot::from).collect(),
            present: present
                .map(|(id, copy)| PresentSnapshot { snapshot: id.to_string(), copy: copy.to_string() })
                .collect(),
            not_copied: not_copied.collect(),
            holds: report.holds,
            labelled: report.labelled,
            warnings,
            duration_millis,
        }
    }

    /// How it ended.
    pub fn done(&self) -> Done {
        match self.not_copied.iter().any(|not| not.damaged) {
            true => Done::Damaged,
            false if self.not_copied.is_empty() => Done::Whole,
            false => Done::Incomplete,
        }
    }
}

/// What a stopped copy leaves.
const LEFT: &str = "snapshots that were copied before stay; the next copy continues with the others";

/// Copies snapshots of `source` into `target`. Run again, it copies what is new; killed on the way and run again, it
/// continues, and stores nothing twice.
///
/// # Errors
///
/// If a snapshot that was named is not found, if one of the stores can't be read or written, or it is stopped. A
/// snapshot that can't be copied is no error: the report names it.
pub fn copy(source: &Repository, target: &Repository, options: &CopyOptions) -> Result<CopyReport> {
    let CopyOptions { snapshots, filter, newer_than, dry_run } = options.clone();
    let options = copy::CopyOptions::default().snapshots(snapshots).filter(filter).newer_than(newer_than);
    let (from, to) = (source.store().location().to_string(), target.store().location().to_string());
    let begun = Instant::now();
    let report = match dry_run {
        true => source.copy_plan(target, &options).map(Plan::into_report),
        false => source.copy(target, &options),
    };
    let report = report.map_err(|error| stopped(error, LEFT))?;
    Ok(CopyReport::new(report, dry_run, from, to, source.control().warnings(), millis_since(begun)))
}
