//! What the repository holds: its snapshots, and every session that there was.

use crate::error::Error;
use crate::format::SnapshotId;
use crate::format::fold::{FoldedSession, HistoryFold};
use crate::format::session::Session;
use crate::format::snapshot::{Manifest, SnapshotState};
use crate::objects::order::Times;
use crate::objects::unfold;
use std::collections::HashMap;

/// The snapshots of a repository, oldest first, and those that could not be read.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct SnapshotList {
    /// Those that could be read, in their order ([`Manifest::place`]), with the labels that they have now.
    pub snapshots: Vec<Manifest>,
    /// Those that could not.
    pub damaged: Vec<(SnapshotId, Error)>,
    /// When they were committed, as far as their times can be trusted.
    pub times: Times,
    /// Those of whose labels something can't be read, and why: what [`Manifest::tags`] says of them may be wrong.
    pub unread_labels: Vec<(SnapshotId, Error)>,
}

/// All sessions, oldest first, and those that could not be read.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct History {
    /// Those that could be read.
    pub entries: Vec<HistoryEntry>,
    /// Those that could not.
    pub damaged: Vec<(SnapshotId, Error)>,
    /// What can't be read of the history of old sessions, whose own objects are gone.
    pub unread: Vec<Error>,
}

/// One run in the history: a session, and what became of it.
#[derive(Debug)]
#[non_exhaustive]
pub struct HistoryEntry {
    /// The session.
    pub session: Session,
    /// What is under its name in `snapshots/`, or was there when the name was folded.
    pub state: Option<SnapshotState>,
    /// Its cluster, as far as the session tells.
    pub cluster: Option<String>,
    /// The session that resumed it, if it is folded; of others their packs tell.
    pub resumed_by: Option<SnapshotId>,
}

impl HistoryEntry {
    /// A session that has an object of its own.
    pub(crate) fn of(session: Session, state: Option<SnapshotState>) -> Self {
        let cluster = session.journal.as_ref().map(|journal| journal.cluster.clone());
        HistoryEntry { session, state, cluster, resumed_by: None }
    }

    /// A session that is folded.
    pub(crate) fn unfolded(history: &HistoryFold, row: &FoldedSession, state: Option<SnapshotState>) -> Self {
        let session = unfold(history, row);
        let cluster = history.text(row.cluster).filter(|name| !name.is_empty()).map(String::from);
        HistoryEntry { session, state, cluster, resumed_by: row.resumed_by }
    }
}

/// Objects that never change again and were read before: for work that begins many sessions in one repository.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// Manifests. Only a listing says whether their snapshots still stand.
    pub manifests: HashMap<SnapshotId, Manifest>,
    /// Sessions that have an outcome.
    pub sessions: HashMap<SnapshotId, Session>,
}
