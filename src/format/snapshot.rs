//! Snapshots: the manifest that a seal creates, the marker that `forget` leaves, and the fence. A manifest is a sealed value
//! of kind snapshot; a marker has exactly [`MARKER_BYTES`], a fence none, and no manifest has either size.

use super::FormatError;
use super::ids::{ChunkId, SnapshotId};
use serde::{Deserialize, Serialize};

/// A marker's length in bytes: magic, time, and a keyed hash of both and of the snapshot's id.
pub const MARKER_BYTES: u64 = 8 + 8 + 32;
/// The first bytes of a marker.
pub const MARKER_MAGIC: [u8; 8] = *b"ALforgot";

/// What an object under `snapshots/` is, as its size tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SnapshotState {
    /// A manifest.
    Sealed,
    /// Forgotten: it was sealed once.
    Forgotten,
    /// Fenced: it was never sealed and never will be.
    Fenced,
}

impl SnapshotState {
    /// Tells the three apart.
    pub fn from_size(size: u64) -> Self {
        match size {
            0 => SnapshotState::Fenced,
            MARKER_BYTES => SnapshotState::Forgotten,
            _ => SnapshotState::Sealed,
        }
    }

    /// Whether index segments of the session count.
    pub fn was_sealed(self) -> bool {
        self != SnapshotState::Fenced
    }
}

/// How a namespace was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BackupKind {
    /// Every record.
    Full,
    /// What changed since the parent.
    Incremental,
    /// What changed since the last full snapshot.
    Differential,
}

impl std::fmt::Display for BackupKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            BackupKind::Full => "full",
            BackupKind::Incremental => "incremental",
            BackupKind::Differential => "differential",
        })
    }
}

/// One run: the root of its tree and what is in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RunRef {
    /// The chunk of the root.
    pub root: ChunkId,
    /// The root's level: 0 for a leaf, else a branch node's.
    pub level: u8,
    /// Entries, tombstones included.
    pub entries: u64,
    /// Tombstones.
    pub tombstones: u64,
    /// Plain bytes of the run's own tree.
    pub tree_bytes: u64,
}

/// What a backup did with the records of a namespace.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Counts {
    /// Records read from the source.
    pub read: u64,
    /// Records that the parent did not have.
    pub added: u64,
    /// Records whose bins, key or set differ from the parent's.
    pub changed: u64,
    /// Records of which only generation, void time or bin order differ.
    pub touched: u64,
    /// Records that are as in the parent.
    pub unchanged: u64,
    /// Records of the parent that are gone.
    pub deleted: u64,
    /// Records written anew because their value was missing or damaged.
    pub healed: u64,
    /// Records whose values were moved out of mostly dead chunks.
    pub moved: u64,
    /// Copies of a record that the source delivered more than once.
    pub duplicates: u64,
    /// Records that could not be understood and were left out.
    pub bad: u64,
}

/// A namespace in a snapshot.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NamespaceManifest {
    /// Its name.
    pub name: String,
    /// How it was read.
    pub kind: BackupKind,
    /// The source's clock when the reading began, in milliseconds since the Unix epoch: the next incremental reads from here.
    pub source_time: u64,
    /// The snapshot whose runs it builds on, if any.
    pub parent: Option<SnapshotId>,
    /// The last full snapshot that it builds on; its own id if it is full.
    pub full: SnapshotId,
    /// Whether the source could not tell what was deleted since the parent.
    pub deletes_unknown: bool,
    /// Its runs, newest first.
    pub runs: Vec<RunRef>,
    /// Live records.
    pub live_records: u64,
    /// Plain bytes of the live records' bodies.
    pub live_bytes: u64,
    /// Plain bytes of all value chunks that the runs refer to.
    pub reached_bytes: u64,
    /// The state hash.
    pub state_hash: [u8; 32],
    /// The chunks of the encoded metadata, in order.
    pub metadata: Vec<ChunkId>,
    /// What the backup did.
    pub counts: Counts,
}

/// A snapshot.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Manifest {
    /// Its id.
    pub id: SnapshotId,
    /// When the session began, in milliseconds since the Unix epoch.
    pub started: u64,
    /// When it was sealed, in milliseconds since the Unix epoch.
    pub sealed: u64,
    /// The machine that wrote it.
    pub host: String,
    /// The program that wrote it and its version.
    pub program: String,
    /// Where the records came from.
    pub source: String,
    /// The cluster's name; a later backup of the same cluster and namespace builds on this one.
    pub cluster: String,
    /// Labels that the user gave.
    pub tags: Vec<String>,
    /// The snapshots that the writer saw when it began.
    pub seen: Vec<SnapshotId>,
    /// How many index segments the session wrote.
    pub index_segments: u32,
    /// Bytes that the session stored in packs and index segments.
    pub stored_bytes: u64,
    /// What could not be read, for people; empty if everything was.
    pub missing: Vec<String>,
    /// The namespaces, sorted by name.
    pub namespaces: Vec<NamespaceManifest>,
}

impl Manifest {
    /// Reads a manifest; it must be of this snapshot.
    pub fn decode(id: SnapshotId, bytes: &[u8]) -> Result<Self, FormatError> {
        let manifest: Manifest = super::structured::decode("the manifest", bytes)?;
        if manifest.id != id {
            return Err(FormatError::field("the manifest's id", id, manifest.id));
        }
        for namespace in &manifest.namespaces {
            if namespace.runs.iter().any(|run| run.level > super::node::MAX_LEVEL) {
                return Err(FormatError::field("a run's level", "at most 16", "a higher one"));
            }
        }
        Ok(manifest)
    }

    /// The namespace with this name.
    pub fn namespace(&self, name: &str) -> Option<&NamespaceManifest> {
        self.namespaces.iter().find(|namespace| namespace.name == name)
    }
}
