//! Checks that everything the snapshots need exists, and on request reads it.

use super::{Done, stopped};
use crate::error::Result;
use crate::format::names;
use crate::repository::Repository;
use crate::setters::setters;
use crate::store::Store;
use crate::verify::CheckOptions as Checking;
use serde::Serialize;

/// How much of the data is read and authenticated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ReadPart {
    /// In percent, from 0 to 100.
    Percent(f64),
    /// About so many stored bytes.
    Bytes(u64),
}

impl ReadPart {
    /// Nothing is read.
    pub const NONE: ReadPart = ReadPart::Percent(0.0);

    /// The part in percent, of what the store holds.
    pub(super) fn percent(self, store: &dyn Store) -> Result<f64> {
        let bytes = match self {
            ReadPart::Percent(percent) => return Ok(percent),
            ReadPart::Bytes(bytes) => bytes,
        };
        let all: u64 = store.list(names::PACKS)?.iter().map(|pack| pack.size).sum();
        Ok(if bytes >= all { 100.0 } else { bytes as f64 / all as f64 * 100.0 })
    }
}

/// What [`check`] is told.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct CheckOptions {
    /// How much of the data is read. The default is nothing.
    pub read: ReadPart,
}

impl Default for CheckOptions {
    fn default() -> Self {
        CheckOptions { read: ReadPart::NONE }
    }
}

setters!(CheckOptions { read: ReadPart });

/// What a check found.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct CheckReport {
    /// How many snapshots there are.
    pub snapshots: u64,
    /// How many distinct chunks they need.
    pub chunks: u64,
    /// The size of those chunks as they are stored.
    pub stored_bytes: u64,
    /// How many chunks were read and authenticated.
    pub chunks_read: u64,
    /// The plain size of the chunks that were read.
    pub bytes_read: u64,
    /// What is missing or damaged, for people.
    pub problems: Vec<String>,
    /// What was lost that no snapshot needs, for people.
    pub notes: Vec<String>,
    /// Ids of the snapshots that can't be restored completely.
    pub hurt_snapshots: Vec<String>,
}

impl CheckReport {
    /// How it ended.
    pub fn done(&self) -> Done {
        if self.problems.is_empty() && self.hurt_snapshots.is_empty() { Done::Whole } else { Done::Damaged }
    }
}

/// Checks a repository. Damage is noted in it, so that the next full backup writes the damaged values again.
///
/// # Errors
///
/// If the store can't be read, or it is stopped. Damage is no error: the report names it.
pub fn check(repository: &Repository, options: &CheckOptions) -> Result<CheckReport> {
    let read_percent = options.read.percent(&**repository.store())?;
    let report = repository.check(&Checking { read_percent });
    let report = report.map_err(|error| stopped(error, "the repository was not checked to its end"))?;
    Ok(CheckReport {
        snapshots: report.snapshots,
        chunks: report.chunks,
        stored_bytes: report.stored_bytes,
        chunks_read: report.chunks_read,
        bytes_read: report.bytes_read,
        problems: report.problems,
        notes: report.notes,
        hurt_snapshots: report.hurt.iter().map(ToString::to_string).collect(),
    })
}
