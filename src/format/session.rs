//! Sessions: a writer's lease, progress and outcome. A sealed value of kind session.

use super::FormatError;
use super::evidence::Evidence;
use super::ids::{ChunkId, PackId, SnapshotId};
use super::snapshot::{BackupKind, Counts, NUMBER_BOUND, RunRef, Unread, check_runs, check_unread};
use super::text;
use crate::record::PARTITIONS;
use serde::{Deserialize, Serialize};

/// What a session is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub enum SessionKind {
    /// A backup.
    Backup,
    /// A check; its outcome names what it found damaged, so that the next full backup heals it.
    Check,
    /// A collection.
    Collection,
    /// A repair or a copy.
    Other,
}

/// How a session ended.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Status {
    /// It did all it was to do.
    Done,
    /// It did part of it; the text names what is missing.
    Incomplete(String),
    /// It failed; the text says why.
    Failed(String),
    /// The user stopped it.
    Stopped,
}

/// The end of a session.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Outcome {
    /// When, in milliseconds since the Unix epoch.
    pub ended: u64,
    /// How.
    pub status: Status,
    /// Records read from the source; without a commit, those that it came to.
    pub records: u64,
    /// Bytes stored in packs and index segments; without a commit, those in packs.
    pub stored_bytes: u64,
    /// Chunks that were found damaged or missing.
    pub damaged_chunks: Vec<ChunkId>,
}

impl Session {
    /// Whether it says of itself that its name was committed: of backups, copies and repairs that did what they were to
    /// do.
    pub fn says_committed(&self) -> bool {
        let status = self.outcome.as_ref().map(|outcome| &outcome.status);
        matches!(self.kind, SessionKind::Backup | SessionKind::Other)
            && matches!(status, Some(Status::Done | Status::Incomplete(_)))
    }
}

/// The process that a session runs in: what tells on the same machine whether it is still there.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Process {
    /// The machine's boot id: another one, or the same after it was restarted, has another.
    pub boot: String,
    /// The namespaces that its number and its start time are of.
    pub namespace: String,
    /// Its number there.
    pub id: u32,
    /// When it began, in ticks of that machine's clock since it was started.
    pub started: u64,
}

/// A session's object.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Session {
    /// Its id, and that of the snapshot it will become.
    pub id: SnapshotId,
    /// What it is for.
    pub kind: SessionKind,
    /// What it does, for people: kind of backup and source.
    pub job: String,
    /// The machine it runs on.
    pub host: String,
    /// The program and its version.
    pub program: String,
    /// The process that it runs in, where the system tells.
    pub process: Option<Process>,
    /// When it began, in milliseconds since the Unix epoch.
    pub started: u64,
    /// When it last said that it lives, in milliseconds since the Unix epoch.
    pub heartbeat: u64,
    /// After this many milliseconds without a heartbeat it is counted as dead.
    pub lease_millis: u64,
    /// Packs of a dead session that it has taken over.
    pub adopted: Vec<PackId>,
    /// How it ended, once it has.
    pub outcome: Option<Outcome>,
    /// How far a backup came, for a session that resumes it; absent once it is committed.
    pub journal: Option<Journal>,
}

/// A record that could not be parsed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BadPlace {
    /// Where it is.
    pub place: String,
    /// What was expected and what was found.
    pub problem: String,
}

/// How far a backup came in one namespace.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct OpenNamespace {
    /// Its name.
    pub name: String,
    /// How it is read.
    pub kind: BackupKind,
    /// Which of its records are read, as in a manifest.
    pub selection: String,
    /// The snapshot that the backup builds on, if any.
    pub parent: Option<SnapshotId>,
    /// Whether the run holds all entries of the finished partitions, the parent's too.
    pub merged: bool,
    /// The source's clock when the reading began, in milliseconds since the Unix epoch.
    pub source_time: u64,
    /// The partitions below this one are finished, but for those in `unread`.
    pub partitions: u32,
    /// Partitions that could not be read.
    pub unread: Vec<Unread>,
    /// The run so far; absent if it has no entries.
    pub run: Option<RunRef>,
    /// Plain bytes of the value chunks that were cut.
    pub value_bytes: u64,
    /// What was done with the records of the finished partitions.
    pub counts: Counts,
    /// The first records that could not be parsed; `counts` has their number.
    pub bad: Vec<BadPlace>,
    /// The state of the source when the reading began, as in a manifest.
    pub evidence: Option<Evidence>,
}

/// How far a backup came.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Journal {
    /// The cluster.
    pub cluster: String,
    /// The packs that it stored. With the adopted ones and those that committed sessions' segments name, they hold
    /// whatever the runs below refer to.
    pub packs: Vec<PackId>,
    /// Its namespaces so far.
    pub namespaces: Vec<OpenNamespace>,
}

impl Journal {
    fn check(&self) -> Result<(), FormatError> {
        for open in &self.namespaces {
            check_unread(&open.unread)?;
            check_runs(open.run.as_slice())?;
            open.evidence.iter().try_for_each(Evidence::check)?;
            if open.partitions > u32::from(PARTITIONS) {
                return Err(FormatError::field("a journal's partitions", "at most 4096", open.partitions));
            }
            if open.value_bytes >= NUMBER_BOUND {
                return Err(FormatError::field("a journal's bytes", "less than 2^48", open.value_bytes));
            }
        }
        Ok(())
    }
}

impl Session {
    /// Reads a session; it must be the one that its key names.
    ///
    /// # Errors
    ///
    /// If the bytes are not those that the format defines; the error says what was expected and what was found.
    pub fn decode(id: SnapshotId, bytes: &[u8]) -> Result<Self, FormatError> {
        let session: Session = super::structured::decode("the session", bytes)?;
        if session.id != id {
            return Err(FormatError::field("the session's id", id, session.id));
        }
        text::check("the host", &session.host, text::NAME_BYTES)?;
        text::check("the program", &session.program, text::NAME_BYTES)?;
        text::check("the job", &session.job, text::SOURCE_BYTES)?;
        if let Some(Status::Incomplete(reason) | Status::Failed(reason)) =
            session.outcome.as_ref().map(|end| &end.status)
        {
            text::check("the reason", reason, text::REASON_BYTES)?;
        }
        session.journal.iter().try_for_each(Journal::check)?;
        Ok(session)
    }
}
