//! Lists the snapshots, and shows one of them.

use crate::error::{Error, Result};
use crate::format::SnapshotId;
use crate::job::Done;
use crate::job::report::{self, DamagedSnapshot, DoubtfulTime, NamespaceDetails, SnapshotDetails, SnapshotReport};
use crate::repository::{Repository, Snapshot, SnapshotFilter};
use serde::Serialize;

/// The snapshots of a repository.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct SnapshotsReport {
    /// The snapshots, oldest first.
    pub snapshots: Vec<SnapshotReport>,
    /// Ids of the snapshots that are held.
    pub held: Vec<String>,
    /// Snapshots whose times can't be right.
    pub doubtful_times: Vec<DoubtfulTime>,
    /// Snapshots that can't be read.
    pub damaged: Vec<DamagedSnapshot>,
    /// Snapshots whose label changes can't be read.
    pub unread_labels: Vec<DamagedSnapshot>,
    /// How many snapshots the filter did not admit.
    #[serde(skip)]
    pub left_out: usize,
}

impl SnapshotsReport {
    /// How it ended.
    pub fn done(&self) -> Done {
        if self.damaged.is_empty() && self.unread_labels.is_empty() { Done::Whole } else { Done::Damaged }
    }
}

/// Lists the snapshots that the filter admits.
///
/// # Errors
///
/// If the store can't be read, or there is no snapshot of the cluster that the filter names. A snapshot that can't be
/// read is no error: the report names it.
pub fn snapshots(repository: &Repository, filter: &SnapshotFilter) -> Result<SnapshotsReport> {
    let list = repository.snapshots()?;
    let held = repository.holds()?.iter().map(|hold| hold.snapshot.to_string()).collect();
    filter.check_cluster(list.snapshots.iter().map(Snapshot::manifest))?;
    list.warnings().iter().for_each(|warning| repository.control().warn(warning));
    let admitted = list.snapshots.iter().filter(|snapshot| filter.admits(snapshot));
    let snapshots: Vec<SnapshotReport> = admitted.map(|snapshot| snapshot.manifest().into()).collect();
    Ok(SnapshotsReport {
        left_out: list.snapshots.len() - snapshots.len(),
        snapshots,
        held,
        doubtful_times: list.doubtful_times().iter().map(DoubtfulTime::from).collect(),
        damaged: list.damaged.iter().map(damaged).collect(),
        unread_labels: list.unread_labels.iter().map(damaged).collect(),
    })
}

fn damaged((id, error): &(SnapshotId, Error)) -> DamagedSnapshot {
    DamagedSnapshot { snapshot: id.to_string(), problem: error.to_string() }
}

/// Shows a snapshot, with its indexes, UDF modules and the like.
///
/// # Errors
///
/// If its metadata can't be read.
pub fn show(snapshot: &Snapshot) -> Result<SnapshotDetails> {
    let metadata = snapshot.namespaces().map(|view| NamespaceDetails::read(&view)).collect::<Result<_>>()?;
    let unread = snapshot.manifest().namespaces.iter().map(report::unread).collect();
    Ok(SnapshotDetails { snapshot: SnapshotReport::from(snapshot.manifest()), metadata, unread })
}
