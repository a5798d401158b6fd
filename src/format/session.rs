//! Sessions: a writer's lease, progress and outcome. A sealed value of kind session.

use super::FormatError;
use super::ids::{ChunkId, PackId, SnapshotId};
use serde::{Deserialize, Serialize};

/// What a session is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
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
    /// Records read from the source; without a seal, those that it came to.
    pub records: u64,
    /// Bytes stored in packs and index segments; without a seal, those in packs.
    pub stored_bytes: u64,
    /// Chunks that were found damaged or missing.
    pub damaged_chunks: Vec<ChunkId>,
}

impl Session {
    /// Whether it says of itself that its name was sealed: of backups, copies and repairs that did what they were to do.
    pub fn says_sealed(&self) -> bool {
        let status = self.outcome.as_ref().map(|outcome| &outcome.status);
        matches!(self.kind, SessionKind::Backup | SessionKind::Other)
            && matches!(status, Some(Status::Done | Status::Incomplete(_)))
    }
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
    /// When it began, in milliseconds since the Unix epoch.
    pub started: u64,
    /// When it last said that it lives, in milliseconds since the Unix epoch.
    pub heartbeat: u64,
    /// After this many milliseconds without a heartbeat it is taken for dead.
    pub lease_millis: u64,
    /// Packs of a dead session that it has taken over.
    pub adopted: Vec<PackId>,
    /// How it ended, once it has.
    pub outcome: Option<Outcome>,
}

impl Session {
    /// Reads a session; it must be the one that its key names.
    pub fn decode(id: SnapshotId, bytes: &[u8]) -> Result<Self, FormatError> {
        let session: Session = super::structured::decode("the session", bytes)?;
        if session.id != id {
            return Err(FormatError::field("the session's id", id, session.id));
        }
        Ok(session)
    }
}
