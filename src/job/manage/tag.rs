//! Labels that come and go after a snapshot was committed.

use crate::error::Result;
use crate::repository::{Repository, SnapshotFilter};
use serde::Serialize;

/// The labels of a snapshot after a change.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct TagReport {
    /// Its id.
    pub snapshot: String,
    /// The labels that it has now.
    pub tags: Vec<String>,
    /// Whether they changed.
    pub changed: bool,
}

/// Adds labels to the snapshot with this name, found among those that the filter admits, and removes labels.
///
/// # Errors
///
/// If there is no such snapshot, or a label is too long.
pub fn tag(
    repository: &Repository,
    name: &str,
    filter: &SnapshotFilter,
    add: &[String],
    remove: &[String],
) -> Result<TagReport> {
    let labelled = repository.tag(name, filter, add, remove)?;
    Ok(TagReport { snapshot: labelled.snapshot.to_string(), tags: labelled.tags, changed: labelled.changed })
}
