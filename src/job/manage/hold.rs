//! Snapshots that must not be forgotten.

use crate::error::Result;
use crate::job::{Done, text};
use crate::repository::{HoldEntry, HoldNote, Repository, SnapshotFilter};
use serde::Serialize;

/// Holds: those that were placed, those that were released, or all.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct HoldsReport {
    /// The holds that were placed or released; of a list, all.
    pub holds: Vec<HoldReport>,
}

/// A hold.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct HoldReport {
    /// Its id.
    pub hold: String,
    /// The id of the snapshot that it holds.
    pub snapshot: String,
    /// The state of the snapshot: `committed`; `forgotten` if the hold came too late, just when the snapshot was
    /// forgotten; `null` or `fenced` if there is no such snapshot.
    pub state: Option<&'static str>,
    /// When it was placed; `null` if it can't be read.
    pub placed: Option<String>,
    /// The machine that placed it; `null` if it can't be read.
    pub host: Option<String>,
    /// The program that placed it; `null` if it can't be read.
    pub program: Option<String>,
    /// Why; `null` if it can't be read.
    pub reason: Option<String>,
    /// Why it can't be read, for people, or `null`. It holds the snapshot even then.
    pub problem: Option<String>,
}

impl HoldReport {
    /// What is wrong with it, for people.
    pub fn trouble(&self) -> Option<String> {
        let HoldReport { hold, snapshot, state, problem, .. } = self;
        match (problem, state) {
            (Some(problem), _) => Some(format!("{problem}; snapshot {snapshot} is held all the same")),
            (None, Some("forgotten")) => {
                Some(format!("snapshot {snapshot} was forgotten in the moment in which hold {hold} was placed"))
            }
            _ => None,
        }
    }
}

impl From<HoldEntry> for HoldReport {
    fn from(entry: HoldEntry) -> Self {
        let (note, problem) = match entry.note {
            Ok(note) => (Some(note), None),
            Err(error) => (None, Some(error.to_string())),
        };
        let placed = note.as_ref().map(|note| text::rfc3339(note.placed.0));
        let (host, program, reason) = match note {
            Some(HoldNote { host, program, reason, .. }) => (Some(host), Some(program), Some(reason)),
            None => (None, None, None),
        };
        HoldReport {
            hold: entry.id.to_string(),
            snapshot: entry.snapshot.to_string(),
            state: entry.state.map(text::state),
            placed,
            host,
            program,
            reason,
            problem,
        }
    }
}

impl HoldsReport {
    fn new(entries: impl IntoIterator<Item = HoldEntry>) -> Self {
        HoldsReport { holds: entries.into_iter().map(HoldReport::from).collect() }
    }

    /// How it ended.
    pub fn done(&self) -> Done {
        if self.holds.iter().all(|hold| hold.trouble().is_none()) { Done::Whole } else { Done::Damaged }
    }
}

/// Holds the snapshots with these names, found among those that the filter admits, so that nobody can forget them.
///
/// # Errors
///
/// If a name is not found (nothing is held then), or if a snapshot is forgotten at the same moment.
pub fn hold(repository: &Repository, names: &[String], filter: &SnapshotFilter, reason: &str) -> Result<HoldsReport> {
    Ok(HoldsReport::new(repository.hold(names, filter, reason)?))
}

/// Releases a hold by its id or its beginning, or all holds of a snapshot, which is found among those that the filter
/// admits.
///
/// # Errors
///
/// If there is no such hold.
pub fn release(repository: &Repository, name: &str, filter: &SnapshotFilter) -> Result<HoldsReport> {
    Ok(HoldsReport::new(repository.release(name, filter)?))
}

/// Lists all holds, by snapshot.
///
/// # Errors
///
/// If the store can't be read. A hold that can't be read is no error: the report says so.
pub fn list_holds(repository: &Repository) -> Result<HoldsReport> {
    Ok(HoldsReport::new(repository.holds()?))
}
