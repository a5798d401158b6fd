//! What the repository holds: its snapshots, and every session that there was.

use super::view::Snapshot;
use crate::error::Error;
use crate::format::fold::{FoldedSession, HistoryFold};
use crate::format::session::{Session, SessionKind, Status};
use crate::format::snapshot::{Manifest, SnapshotState};
use crate::format::{ChunkId, PackId, SnapshotId};
use crate::objects::order::{DoubtfulTime, Times};
use crate::objects::unfold;
use crate::record::Timestamp;
use std::collections::HashMap;
use std::time::Duration;

/// The snapshots of a repository, oldest first, and those that could not be read.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct SnapshotList {
    /// Those that could be read, in their order, with the labels that they have now.
    pub snapshots: Vec<Snapshot>,
    /// Those that could not.
    pub damaged: Vec<(SnapshotId, Error)>,
    /// Those of whose labels something can't be read, and why: what [`Snapshot::tags`] says of them may be wrong.
    pub unread_labels: Vec<(SnapshotId, Error)>,
    pub(super) times: Times,
}

impl SnapshotList {
    /// When a snapshot was committed: what it says, unless that contradicts the others. The rules of retention and
    /// `@TIME` go by this.
    pub fn committed(&self, snapshot: &Snapshot) -> Timestamp {
        Timestamp(self.times.committed(snapshot.manifest()))
    }

    /// The snapshots whose times can't be right, in the order of snapshots.
    pub fn doubtful_times(&self) -> &[DoubtfulTime] {
        self.times.doubtful()
    }

    /// For people: what about the times can't be right, the newest snapshots first, of which no more than a few are
    /// named.
    pub fn warnings(&self) -> Vec<String> {
        self.times.warnings()
    }
}

/// The same as it is stored, for the operations.
#[derive(Debug, Default)]
pub(crate) struct Manifests {
    /// Those that could be read, in their order ([`Manifest::place`]).
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

/// A session in the history, and what became of it.
#[derive(Clone, Debug)]
pub struct HistoryEntry {
    pub(crate) session: Session,
    pub(crate) state: Option<SnapshotState>,
    pub(crate) cluster: Option<String>,
    pub(crate) resumed_by: Option<SnapshotId>,
}

/// How a session ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionOutcome {
    /// It did all that it was to do.
    Done,
    /// It did part of it; the text names what is missing.
    Incomplete(String),
    /// It failed; the text says why.
    Failed(String),
    /// It was stopped on request.
    Stopped,
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

    /// Its id, and that of its snapshot.
    pub fn id(&self) -> SnapshotId {
        self.session.id
    }

    /// What it was for.
    pub fn kind(&self) -> SessionKind {
        self.session.kind
    }

    /// What it did, for people.
    pub fn job(&self) -> &str {
        &self.session.job
    }

    /// The machine that it ran on.
    pub fn host(&self) -> &str {
        &self.session.host
    }

    /// The program that ran it, and its version.
    pub fn program(&self) -> &str {
        &self.session.program
    }

    /// Its cluster, as far as it noted it itself; of one that committed, its snapshot tells.
    pub fn cluster(&self) -> Option<&str> {
        self.cluster.as_deref()
    }

    /// When it began, by the clock of its machine.
    pub fn started(&self) -> Timestamp {
        Timestamp(self.session.started)
    }

    /// When it last said that it is alive, by the same clock.
    pub fn heartbeat(&self) -> Timestamp {
        Timestamp(self.session.heartbeat)
    }

    /// After so long without a heartbeat it counts as dead.
    pub fn lease(&self) -> Duration {
        Duration::from_millis(self.session.lease_millis)
    }

    /// When it ended, if it said so.
    pub fn ended(&self) -> Option<Timestamp> {
        self.session.outcome.as_ref().map(|outcome| Timestamp(outcome.ended))
    }

    /// How it ended, if it said so: a session that died did not.
    pub fn outcome(&self) -> Option<SessionOutcome> {
        self.session.outcome.as_ref().map(|outcome| match &outcome.status {
            Status::Done => SessionOutcome::Done,
            Status::Incomplete(missing) => SessionOutcome::Incomplete(missing.clone()),
            Status::Failed(why) => SessionOutcome::Failed(why.clone()),
            Status::Stopped => SessionOutcome::Stopped,
        })
    }

    /// Records that it read; without a commit, those that it came to. Absent until it ends.
    pub fn records(&self) -> Option<u64> {
        self.session.outcome.as_ref().map(|outcome| outcome.records)
    }

    /// Bytes that it stored. Absent until it ends.
    pub fn stored_bytes(&self) -> Option<u64> {
        self.session.outcome.as_ref().map(|outcome| outcome.stored_bytes)
    }

    /// Chunks that it found damaged or missing: of a check.
    pub fn damaged_chunks(&self) -> &[ChunkId] {
        self.session.outcome.as_ref().map_or(&[], |outcome| &outcome.damaged_chunks)
    }

    /// What is under its name in `snapshots/`, or was there when the name was folded.
    pub fn state(&self) -> Option<SnapshotState> {
        self.state
    }

    /// The session that resumed it, if one did.
    pub fn resumed_by(&self) -> Option<SnapshotId> {
        self.resumed_by
    }
}

/// Notes which sessions others resumed: by the packs that those took over from them.
pub(super) fn note_resumed(entries: &mut [HistoryEntry]) {
    let mut owners: HashMap<PackId, SnapshotId> = HashMap::new();
    for HistoryEntry { session, .. } in &*entries {
        let packs = session.journal.iter().flat_map(|journal| &journal.packs);
        owners.extend(packs.map(|pack| (*pack, session.id)));
    }
    let mut resumed: HashMap<SnapshotId, SnapshotId> = HashMap::new();
    for HistoryEntry { session, .. } in &*entries {
        let owner = |pack: &PackId| owners.get(pack).filter(|owner| **owner != session.id);
        resumed.extend(session.adopted.iter().filter_map(owner).map(|owner| (*owner, session.id)));
    }
    for entry in entries {
        entry.resumed_by = resumed.get(&entry.session.id).copied().or(entry.resumed_by);
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
