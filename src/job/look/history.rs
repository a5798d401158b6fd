//! Lists the sessions, and what became of each.

use crate::collect::prune::REFUSED;
use crate::error::Result;
use crate::format::session::SessionKind;
use crate::format::snapshot::SnapshotState;
use crate::job::{Done, text};
use crate::objects::is_gone;
use crate::record::Timestamp;
use crate::repository::{HistoryEntry, Repository, SessionOutcome};
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
    pub kind: SessionWork,
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
pub enum SessionWork {
    /// A backup.
    Backup,
    /// A check, repair or restore that found damage.
    Check,
    /// A prune.
    Collection,
    /// Another, such as the copy of a snapshot.
    Other,
}

impl SessionWork {
    /// As it is serialized.
    pub fn name(self) -> &'static str {
        match self {
            SessionWork::Backup => "backup",
            SessionWork::Check => "check",
            SessionWork::Collection => "collection",
            SessionWork::Other => "other",
        }
    }
}

impl From<SessionKind> for SessionWork {
    fn from(kind: SessionKind) -> Self {
        match kind {
            SessionKind::Backup => SessionWork::Backup,
            SessionKind::Check => SessionWork::Check,
            SessionKind::Collection => SessionWork::Collection,
            SessionKind::Other => SessionWork::Other,
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
    let now = Timestamp::now();
    let mut history = repository.history()?;
    let clusters = match options.cluster {
        Some(_) => repository.snapshots()?.snapshots.iter().map(|one| (one.id(), one.cluster().to_string())).collect(),
        None => HashMap::new(),
    };
    let is_new = history.entries.is_empty();
    let is_of = |entry: &HistoryEntry, cluster: &String| match clusters.get(&entry.id()) {
        Some(known) => known == cluster,
        None => entry.cluster() == Some(cluster),
    };
    history.entries.retain(|entry| {
        (options.all || !was_refused(entry))
            && options.since.is_none_or(|since| entry.started() >= since)
            && options.cluster.as_ref().is_none_or(|cluster| is_of(entry, cluster))
    });
    let mut sessions: Vec<SessionReport> = history.entries.iter().map(|entry| row(entry, now)).collect();
    sessions.retain(|row| options.status.is_empty() || options.status.contains(&row.status));
    let older = sessions.len().saturating_sub(options.last.unwrap_or(usize::MAX));
    sessions.drain(..older);
    let damaged = history.damaged.iter().map(|(_, error)| error).chain(&history.unread);
    let damaged = damaged.map(ToString::to_string).collect();
    Ok(HistoryReport { sessions, damaged, is_new, older })
}

/// Whether a session did nothing, since others were at work.
fn was_refused(entry: &HistoryEntry) -> bool {
    entry.kind() == SessionKind::Collection
        && matches!(entry.outcome(), Some(SessionOutcome::Failed(why)) if why.starts_with(REFUSED))
}

fn row(entry: &HistoryEntry, now: Timestamp) -> SessionReport {
    let (status, reason) = status(entry, now);
    // A collection commits itself with a marker, and never has a snapshot.
    let is_shown = |state: &SnapshotState| entry.kind() != SessionKind::Collection || !state.was_committed();
    let until = entry.ended().or((status == SessionStatus::Running).then_some(now));
    SessionReport {
        session: entry.id().to_string(),
        kind: entry.kind().into(),
        job: entry.job().to_string(),
        host: entry.host().to_string(),
        program: entry.program().to_string(),
        started: text::rfc3339(entry.started().0),
        heartbeat: text::rfc3339(entry.heartbeat().0),
        ended: entry.ended().map(|ended| text::rfc3339(ended.0)),
        status,
        reason,
        resumed_by: entry.resumed_by().map(|id| id.to_string()),
        snapshot: entry.state().filter(is_shown).map(text::state),
        duration_millis: until.map(|until| until.0.saturating_sub(entry.started().0)),
        records: entry.records(),
        stored_bytes: entry.stored_bytes(),
    }
}

/// How a session ended, or that it didn't, and why.
fn status(entry: &HistoryEntry, now: Timestamp) -> (SessionStatus, Option<String>) {
    let crashed = |why: &str| (SessionStatus::Crashed, Some(why.to_string()));
    match entry.outcome() {
        Some(SessionOutcome::Done) => (SessionStatus::Done, None),
        Some(SessionOutcome::Incomplete(reason)) => (SessionStatus::Incomplete, Some(reason)),
        Some(SessionOutcome::Failed(reason)) => (SessionStatus::Failed, Some(reason)),
        Some(SessionOutcome::Stopped) => (SessionStatus::Stopped, None),
        // The commit counts, even if the writer did not live to note how it ended.
        None if entry.state().is_some_and(SnapshotState::was_committed) => (SessionStatus::Done, None),
        None if entry.state().is_some() => crashed("fenced"),
        None if entry.session.heartbeat.saturating_add(entry.session.lease_millis) < now.0 => {
            crashed("its lease lapsed")
        }
        // Nobody needs it any more: what it had read is another's.
        None if entry.resumed_by().is_some() => (SessionStatus::Crashed, None),
        None if is_gone(&entry.session) => crashed("its process is gone"),
        None => (SessionStatus::Running, None),
    }
}
