//! Lists the sessions, and what became of each.

use crate::collect::prune::REFUSED;
use crate::error::Result;
use crate::format::session::{self, Session, Status};
use crate::format::snapshot::SnapshotState;
use crate::format::{PackId, SnapshotId};
use crate::job::{Done, text};
use crate::objects::is_gone;
use crate::record::Timestamp;
use crate::repository::{HistoryEntry, Repository};
use crate::setters::setters;
use serde::Serialize;
use std::collections::HashMap;

/// Which sessions [`history`] lists.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct HistoryOptions {
    /// Only the last so many of those that the other options admit.
    pub last: Option<usize>,
    /// Only those that began at this time or later.
    pub since: Option<Timestamp>,
    /// Only those with one of these; all if empty.
    pub status: Vec<SessionStatus>,
    /// Only those of this cluster, as far as it is known: for committed sessions and backups of live sources.
    pub cluster: Option<String>,
    /// Also those that did nothing: prunes that were refused while others were running.
    pub all: bool,
}

setters!(HistoryOptions {
    last: Option<usize>,
    since: Option<Timestamp>,
    status: Vec<SessionStatus>,
    cluster: Option<String>,
    all: bool,
});

/// The sessions of a repository.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct HistoryReport {
    /// The sessions, oldest first. Prunes that were refused are left out unless asked for.
    pub sessions: Vec<SessionReport>,
    /// Sessions that can't be read, for people.
    pub damaged: Vec<String>,
    /// Whether the repository has no session at all.
    #[serde(skip)]
    pub is_new: bool,
    /// How many older ones were left out.
    #[serde(skip)]
    pub older: usize,
}

impl HistoryReport {
    /// How it ended.
    pub fn done(&self) -> Done {
        if self.damaged.is_empty() { Done::Whole } else { Done::Damaged }
    }
}

/// A session.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct SessionReport {
    /// Its id, and that of its snapshot.
    pub session: String,
    /// What kind of work it did.
    pub kind: SessionKind,
    /// What it did.
    pub job: String,
    /// The machine that it ran on.
    pub host: String,
    /// The program that ran it.
    pub program: String,
    /// When it began.
    pub started: String,
    /// Its last sign of life.
    pub heartbeat: String,
    /// When it ended; `null` while it runs and after a crash.
    pub ended: Option<String>,
    /// What became of it.
    pub status: SessionStatus,
    /// Why, for people, or `null`.
    pub reason: Option<String>,
    /// The id of the session that resumed this one, or `null`.
    pub resumed_by: Option<String>,
    /// What exists under its name in `snapshots/`: `committed`, `forgotten` or `fenced`; `null` if nothing does, and
    /// for a collection that was not fenced.
    pub snapshot: Option<&'static str>,
    /// How long it took, or has taken; `null` if unknown.
    pub duration_millis: Option<u64>,
    /// How many records there are in its snapshot, or for a session that did not commit: how many it had read when it
    /// ended; `null` if unknown.
    pub records: Option<u64>,
    /// How many bytes it stored; `null` if unknown.
    pub stored_bytes: Option<u64>,
}

/// What kind of work a session did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum SessionKind {
    /// A backup.
    Backup,
    /// A check that found damage.
    Check,
    /// A prune.
    Collection,
    /// Another, such as the copy of a snapshot.
    Other,
}

impl SessionKind {
    /// As it is serialized.
    pub fn name(self) -> &'static str {
        match self {
            SessionKind::Backup => "backup",
            SessionKind::Check => "check",
            SessionKind::Collection => "collection",
            SessionKind::Other => "other",
        }
    }
}

impl From<session::SessionKind> for SessionKind {
    fn from(kind: session::SessionKind) -> Self {
        match kind {
            session::SessionKind::Backup => SessionKind::Backup,
            session::SessionKind::Check => SessionKind::Check,
            session::SessionKind::Collection => SessionKind::Collection,
            session::SessionKind::Other => SessionKind::Other,
        }
    }
}

/// How a session ended, or that it didn't.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum SessionStatus {
    /// It did all that it was to do.
    Done,
    /// It left something out.
    Incomplete,
    /// It failed.
    Failed,
    /// It was stopped on request.
    Stopped,
    /// It is at work.
    Running,
    /// It died, or was fenced.
    Crashed,
}

impl SessionStatus {
    /// As it is serialized.
    pub fn name(self) -> &'static str {
        match self {
            SessionStatus::Done => "done",
            SessionStatus::Incomplete => "incomplete",
            SessionStatus::Failed => "failed",
            SessionStatus::Stopped => "stopped",
            SessionStatus::Running => "running",
            SessionStatus::Crashed => "crashed",
        }
    }
}

/// Lists the sessions of a repository.
///
/// # Errors
///
/// If the store can't be read. A session that can't be read is no error: the report names it.
pub fn history(repository: &Repository, options: &HistoryOptions) -> Result<HistoryReport> {
    let now = Timestamp::now().0;
    let mut history = repository.history()?;
    let clusters = match options.cluster {
        Some(_) => repository.snapshots()?.snapshots.into_iter().map(|one| (one.id, one.cluster)).collect(),
        None => HashMap::new(),
    };
    let is_new = history.entries.is_empty();
    history.entries.retain(|HistoryEntry { session, cluster, .. }| {
        (options.all || !was_refused(session))
            && options.since.is_none_or(|since| session.started >= since.0)
            && (options.cluster.is_none() || options.cluster.as_ref() == clusters.get(&session.id).or(cluster.as_ref()))
    });
    let resumed = resumed(&history.entries);
    let mut sessions: Vec<SessionReport> = history.entries.into_iter().map(|entry| row(entry, &resumed, now)).collect();
    sessions.retain(|row| options.status.is_empty() || options.status.contains(&row.status));
    let older = sessions.len().saturating_sub(options.last.unwrap_or(usize::MAX));
    sessions.drain(..older);
    let damaged = history.damaged.iter().map(|(_, error)| error).chain(&history.unread);
    let damaged = damaged.map(ToString::to_string).collect();
    Ok(HistoryReport { sessions, damaged, is_new, older })
}

/// Whether a session did nothing, since others were at work.
fn was_refused(session: &Session) -> bool {
    let status = session.outcome.as_ref().map(|outcome| &outcome.status);
    session.kind == session::SessionKind::Collection
        && matches!(status, Some(Status::Failed(why)) if why.starts_with(REFUSED))
}

/// The sessions that others resumed: by the packs that those took over from them.
fn resumed(entries: &[HistoryEntry]) -> HashMap<SnapshotId, SnapshotId> {
    let mut owners: HashMap<PackId, SnapshotId> = HashMap::new();
    for HistoryEntry { session, .. } in entries {
        let packs = session.journal.iter().flat_map(|journal| &journal.packs);
        owners.extend(packs.map(|pack| (*pack, session.id)));
    }
    let mut resumed: HashMap<SnapshotId, SnapshotId> =
        entries.iter().filter_map(|entry| Some((entry.session.id, entry.resumed_by?))).collect();
    for HistoryEntry { session, .. } in entries {
        for pack in &session.adopted {
            if let Some(owner) = owners.get(pack).filter(|owner| **owner != session.id) {
                resumed.insert(*owner, session.id);
            }
        }
    }
    resumed
}

fn row(entry: HistoryEntry, resumed: &HashMap<SnapshotId, SnapshotId>, now: u64) -> SessionReport {
    let resumed_by = resumed.get(&entry.session.id).map(ToString::to_string);
    let (status, reason) = status(&entry, resumed_by.is_some(), now);
    let HistoryEntry { session, state, .. } = entry;
    // A collection commits itself with a marker, and never has a snapshot.
    let state = state.filter(|state| session.kind != session::SessionKind::Collection || !state.was_committed());
    let ended = session.outcome.as_ref().map(|outcome| outcome.ended);
    let until = ended.or((status == SessionStatus::Running).then_some(now));
    SessionReport {
        session: session.id.to_string(),
        kind: session.kind.into(),
        job: session.job,
        host: session.host,
        program: session.program,
        started: text::rfc3339(session.started),
        heartbeat: text::rfc3339(session.heartbeat),
        ended: ended.map(text::rfc3339),
        status,
        reason,
        resumed_by,
        snapshot: state.map(text::state),
        duration_millis: until.map(|until| until.saturating_sub(session.started)),
        records: session.outcome.as_ref().map(|outcome| outcome.records),
        stored_bytes: session.outcome.as_ref().map(|outcome| outcome.stored_bytes),
    }
}

/// How a session ended, or that it didn't, and why.
fn status(entry: &HistoryEntry, is_resumed: bool, now: u64) -> (SessionStatus, Option<String>) {
    let session = &entry.session;
    let crashed = |why: &str| (SessionStatus::Crashed, Some(why.to_string()));
    match session.outcome.as_ref().map(|outcome| &outcome.status) {
        Some(Status::Done) => (SessionStatus::Done, None),
        Some(Status::Incomplete(reason)) => (SessionStatus::Incomplete, Some(reason.clone())),
        Some(Status::Failed(reason)) => (SessionStatus::Failed, Some(reason.clone())),
        Some(Status::Stopped) => (SessionStatus::Stopped, None),
        // The commit counts, even if the writer did not live to note how it ended.
        None if entry.state.is_some_and(SnapshotState::was_committed) => (SessionStatus::Done, None),
        None if entry.state.is_some() => crashed("fenced"),
        None if session.heartbeat.saturating_add(session.lease_millis) < now => crashed("its lease lapsed"),
        // Nobody needs it any more: what it had read is another's.
        None if is_resumed => (SessionStatus::Crashed, None),
        None if is_gone(session) => crashed("its process is gone"),
        None => (SessionStatus::Running, None),
    }
}
