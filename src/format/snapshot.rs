//! Snapshots: the manifest that a commit creates, the marker that `forget` leaves, and the fence. A manifest is a
//! sealed value of kind snapshot; a marker has exactly [`MARKER_BYTES`], a fence none, and no manifest has either size.

use super::FormatError;
use super::evidence::Evidence;
use super::ids::{ChunkId, RepositoryId, SnapshotId};
use super::search::DeleteSearch;
use super::text;
use crate::record::{PARTITIONS, PartitionId, PartitionSet};
use serde::{Deserialize, Serialize};

/// A marker's length in bytes: magic, time, and a keyed hash of both and of the snapshot's id.
pub const MARKER_BYTES: u64 = 8 + 8 + 32;
/// A namespace has at most this many runs: each is walked with nodes and leaves of its own in memory.
pub const MAX_RUNS: usize = 64;
/// Sequence numbers, and numbers of records and bytes of a namespace and of its runs, are less than 2^48, so that they
/// can be added up.
pub const NUMBER_BOUND: u64 = 1 << 48;
/// The first bytes of a marker.
pub const MARKER_MAGIC: [u8; 8] = *b"ALforgot";

/// What an object under `snapshots/` is, as its size tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum SnapshotState {
    /// A manifest.
    Committed,
    /// Forgotten: it was committed once.
    Forgotten,
    /// Fenced: it was never committed and never will be.
    Fenced,
}

impl SnapshotState {
    /// Tells the three apart.
    pub fn from_size(size: u64) -> Self {
        match size {
            0 => SnapshotState::Fenced,
            MARKER_BYTES => SnapshotState::Forgotten,
            _ => SnapshotState::Committed,
        }
    }

    /// Whether index segments of the session count.
    pub fn was_committed(self) -> bool {
        self != SnapshotState::Fenced
    }
}

/// How a namespace was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
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
    /// Records rewritten because their value was missing or damaged.
    pub healed: u64,
    /// Records whose values were moved out of mostly dead chunks.
    pub moved: u64,
    /// Copies of a record that the source delivered more than once.
    pub duplicates: u64,
    /// Records that could not be parsed and were left out.
    pub bad: u64,
}

/// Partitions of a namespace that the backup could not read: what the runs hold of them is older.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Unread {
    /// The first of them.
    pub first: u32,
    /// The last of them.
    pub last: u32,
    /// The source's clock when the backup that read them last began, in milliseconds since the Unix epoch; absent if
    /// they were never read.
    pub as_of: Option<u64>,
}

impl Unread {
    /// Whether a partition is one of them.
    pub fn contains(&self, partition: PartitionId) -> bool {
        (self.first..=self.last).contains(&u32::from(partition.number()))
    }
}

/// A namespace in a snapshot.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NamespaceManifest {
    /// Its name.
    pub name: String,
    /// How it was read.
    pub kind: BackupKind,
    /// The source's clock when the reading began, in milliseconds since the Unix epoch: the next incremental reads from
    /// here.
    pub source_time: u64,
    /// The snapshot whose runs it builds on, if any.
    pub parent: Option<SnapshotId>,
    /// The last full snapshot that it builds on; its own id if it is full.
    pub full: SnapshotId,
    /// Whether the source could not tell what was deleted since the parent.
    pub deletes_unknown: bool,
    /// How it was found out which of the parent's records are gone; of a full backup, and of sources that are not read
    /// by partitions, all is 0.
    pub search: DeleteSearch,
    /// Which of its records the backup was asked for, as text; empty for all. Backups build on those of the same
    /// selection.
    pub selection: String,
    /// Partitions that could not be read, ascending.
    pub unread: Vec<Unread>,
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
    /// The state of the source when it was read, of one whose data may get lost without anybody deleting it: a cluster.
    pub evidence: Option<Evidence>,
}

/// What a snapshot was made of that a repair made out of one that lost chunks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Salvage {
    /// The snapshot that lost chunks. `started` and `committed` are its times.
    pub original: SnapshotId,
    /// When the repair made this one, in milliseconds since the Unix epoch.
    pub made: u64,
    /// Whether the original said of itself that it misses nothing.
    pub was_whole: bool,
    /// Records of the original that are gone.
    pub records_lost: u64,
}

/// Where a snapshot comes from that is a copy.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Origin {
    /// The repository that it was first written in.
    pub repository: RepositoryId,
    /// Its id there.
    pub snapshot: SnapshotId,
    /// Its sequence number there.
    pub sequence: u64,
    /// The repository that it was copied from: that one, or one that held a copy.
    pub from: RepositoryId,
    /// When the copy was begun, in milliseconds since the Unix epoch. The manifest's other times are the original's.
    pub copied: u64,
    /// The roots that the runs have in `from`, in the order of the namespaces and their runs.
    pub roots: Vec<ChunkId>,
}

/// A snapshot's place in the order of snapshots, oldest first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct SnapshotPlace {
    /// Its sequence number.
    pub sequence: u64,
    /// When it was committed.
    pub committed: u64,
    /// Its id.
    pub id: SnapshotId,
}

/// A snapshot.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Manifest {
    /// Its id.
    pub id: SnapshotId,
    /// When the session began, in milliseconds since the Unix epoch.
    pub started: u64,
    /// When it was committed, by the clock of its host, in milliseconds since the Unix epoch.
    pub committed: u64,
    /// Its place in the order of snapshots: greater than that of every snapshot that its writer saw. A salvage has its
    /// original's; a copy gets one that puts it where its original was.
    pub sequence: u64,
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
    /// The newest snapshots that the writer saw when it began: those that no other names here.
    pub heads: Vec<SnapshotId>,
    /// How many index segments the session wrote.
    pub index_segments: u32,
    /// Bytes that the session stored in packs and index segments.
    pub stored_bytes: u64,
    /// What could not be read, for people; empty if everything was.
    pub missing: Vec<String>,
    /// What it was made of, if a repair made it.
    pub salvage: Option<Salvage>,
    /// Where it comes from, if it is a copy.
    pub origin: Option<Origin>,
    /// The namespaces, sorted by name.
    pub namespaces: Vec<NamespaceManifest>,
}

impl NamespaceManifest {
    /// The partitions that could not be read.
    pub fn unread_partitions(&self) -> PartitionSet {
        PartitionId::all().filter(|partition| self.is_unread(*partition)).collect()
    }

    /// Whether a partition could not be read.
    pub fn is_unread(&self, partition: PartitionId) -> bool {
        self.unread.iter().any(|range| range.contains(partition))
    }

    /// The source's clock, in milliseconds since the Unix epoch, when the backup began that read a partition last;
    /// `None` if none did.
    pub fn as_of(&self, partition: PartitionId) -> Option<u64> {
        match self.unread.iter().find(|range| range.contains(partition)) {
            Some(range) => range.as_of,
            None => Some(self.source_time),
        }
    }

    fn check(&self) -> Result<(), FormatError> {
        check_unread(&self.unread)?;
        check_runs(&self.runs)?;
        self.search.check()?;
        self.evidence.iter().try_for_each(Evidence::check)?;
        let own = [self.live_records, self.live_bytes, self.reached_bytes];
        match own.into_iter().find(|&number| number >= NUMBER_BOUND) {
            Some(number) => Err(FormatError::field("a number of records or bytes", "less than 2^48", number)),
            None => Ok(()),
        }
    }
}

/// Refuses ranges of partitions that are out of order, or that are none.
pub(super) fn check_unread(unread: &[Unread]) -> Result<(), FormatError> {
    let ascending = unread.is_sorted_by(|a, b| a.last < b.first);
    let whole = |range: &Unread| range.first <= range.last && range.last < u32::from(PARTITIONS);
    if !ascending || !unread.iter().all(whole) {
        let expected = "ranges of partitions, ascending, none of them in two";
        return Err(FormatError::field("the unread partitions", expected, format_args!("{unread:?}")));
    }
    Ok(())
}

/// Refuses runs whose numbers can't be.
pub(super) fn check_runs(runs: &[RunRef]) -> Result<(), FormatError> {
    if runs.len() > MAX_RUNS {
        return Err(FormatError::field("a namespace's runs", format_args!("at most {MAX_RUNS}"), runs.len()));
    }
    for run in runs {
        if run.level > super::node::MAX_LEVEL {
            return Err(FormatError::field("a run's level", "at most 16", run.level));
        }
        if run.entries == 0 || run.tombstones > run.entries {
            let found = format!("{} of {}", run.tombstones, run.entries);
            return Err(FormatError::field("a run's tombstones", "entries, and at most all of them", found));
        }
        if let Some(number) = [run.entries, run.tree_bytes].into_iter().find(|&number| number >= NUMBER_BOUND) {
            return Err(FormatError::field("a number of records or bytes", "less than 2^48", number));
        }
    }
    Ok(())
}

impl Manifest {
    /// Reads a manifest; it must be of this snapshot.
    ///
    /// # Errors
    ///
    /// If the bytes are not those that the format defines; the error says what was expected and what was found.
    pub fn decode(id: SnapshotId, bytes: &[u8]) -> Result<Self, FormatError> {
        let manifest: Manifest = super::structured::decode("the manifest", bytes)?;
        if manifest.id != id {
            return Err(FormatError::field("the manifest's id", id, manifest.id));
        }
        text::check("the host", &manifest.host, text::NAME_BYTES)?;
        text::check("the program", &manifest.program, text::NAME_BYTES)?;
        text::check("the cluster", &manifest.cluster, text::NAME_BYTES)?;
        text::check("the source", &manifest.source, text::SOURCE_BYTES)?;
        text::check_tags(&manifest.tags)?;
        if !manifest.namespaces.is_sorted_by(|a, b| a.name < b.name) {
            return Err(FormatError::field("the namespaces", "ascending by name, each once", "another order"));
        }
        let sequences = [Some(manifest.sequence), manifest.origin.as_ref().map(|origin| origin.sequence)];
        if let Some(number) = sequences.into_iter().flatten().find(|&number| number >= NUMBER_BOUND) {
            return Err(FormatError::field("a sequence number", "less than 2^48", number));
        }
        manifest.namespaces.iter().try_for_each(NamespaceManifest::check)?;
        let runs: usize = manifest.namespaces.iter().map(|namespace| namespace.runs.len()).sum();
        if let Some(origin) = manifest.origin.as_ref().filter(|origin| origin.roots.len() != runs) {
            return Err(FormatError::field("the origin's roots", format_args!("{runs}"), origin.roots.len()));
        }
        Ok(manifest)
    }

    /// The repository that the snapshot was first written in, and its id there; `here` is the one that holds it.
    pub fn first_written(&self, here: RepositoryId) -> (RepositoryId, SnapshotId) {
        self.origin.as_ref().map_or((here, self.id), |origin| (origin.repository, origin.snapshot))
    }

    /// The repository that the snapshot was first written in, and its place in the order there; `here` is the one that
    /// holds it.
    pub fn first_place(&self, here: RepositoryId) -> (RepositoryId, SnapshotPlace) {
        match &self.origin {
            Some(Origin { repository, snapshot, sequence, .. }) => {
                (*repository, SnapshotPlace { sequence: *sequence, committed: self.committed, id: *snapshot })
            }
            None => (here, self.place()),
        }
    }

    /// What orders snapshots: the sequence number, and the time of the commit only where two writers did not see each
    /// other.
    pub fn place(&self) -> SnapshotPlace {
        SnapshotPlace { sequence: self.sequence, committed: self.committed, id: self.id }
    }

    /// The namespace with this name.
    pub fn namespace(&self, name: &str) -> Option<&NamespaceManifest> {
        self.namespaces.iter().find(|namespace| namespace.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::structured;

    fn manifest(names: &[&str]) -> Manifest {
        let run = RunRef { root: ChunkId([1; 32]), level: 1, entries: 9, tombstones: 9, tree_bytes: 700 };
        let namespace = |name: &&str| NamespaceManifest {
            name: name.to_string(),
            kind: BackupKind::Full,
            source_time: 1,
            parent: None,
            full: SnapshotId([2; 16]),
            deletes_unknown: false,
            search: DeleteSearch::default(),
            selection: String::new(),
            unread: Vec::new(),
            runs: vec![run],
            live_records: 0,
            live_bytes: 0,
            reached_bytes: 0,
            state_hash: [0; 32],
            metadata: Vec::new(),
            counts: Counts::default(),
            evidence: None,
        };
        Manifest {
            id: SnapshotId([2; 16]),
            started: 1,
            committed: 2,
            sequence: 1,
            host: String::new(),
            program: String::new(),
            source: String::new(),
            cluster: String::new(),
            tags: Vec::new(),
            heads: Vec::new(),
            index_segments: 1,
            stored_bytes: 1,
            missing: Vec::new(),
            salvage: None,
            origin: None,
            namespaces: names.iter().map(namespace).collect(),
        }
    }

    fn decoded(manifest: &Manifest) -> Result<Manifest, FormatError> {
        Manifest::decode(SnapshotId([2; 16]), &structured::encode(manifest).unwrap())
    }

    #[test]
    fn namespaces_ascend_and_stand_there_once() {
        let good = manifest(&["a", "b"]);
        assert_eq!(decoded(&good).unwrap(), good);
        for names in [["b", "a"], ["a", "a"]] {
            assert!(decoded(&manifest(&names)).unwrap_err().to_string().contains("ascending by name"));
        }
    }

    #[test]
    fn a_copy_names_the_root_of_each_run_in_its_origin() {
        let copy = |roots: usize| {
            let repository = RepositoryId([4; 16]);
            let roots = vec![ChunkId([5; 32]); roots];
            let origin =
                Origin { repository, snapshot: SnapshotId([6; 16]), sequence: 4, from: repository, copied: 3, roots };
            Manifest { origin: Some(origin), ..manifest(&["a", "b"]) }
        };
        assert_eq!(decoded(&copy(2)).unwrap(), copy(2));
        assert_eq!(copy(2).first_written(RepositoryId([0; 16])), (RepositoryId([4; 16]), SnapshotId([6; 16])));
        for roots in [0, 1, 3] {
            assert!(decoded(&copy(roots)).unwrap_err().to_string().contains("the origin's roots"));
        }
    }

    #[test]
    fn runs_and_numbers_beyond_the_limits_are_refused() {
        let refused = |change: &dyn Fn(&mut NamespaceManifest), word: &str| {
            let mut manifest = manifest(&["a"]);
            change(&mut manifest.namespaces[0]);
            let error = decoded(&manifest).unwrap_err().to_string();
            assert!(error.contains(word), "{word}: {error}");
        };
        let runs = |n: usize| manifest(&["a"]).namespaces[0].runs.repeat(n);
        let mut most = manifest(&["a"]);
        most.namespaces[0].runs = runs(MAX_RUNS);
        assert_eq!(decoded(&most).unwrap(), most);
        refused(&|namespace| namespace.runs = runs(MAX_RUNS + 1), "at most 64");
        refused(&|namespace| namespace.runs[0].level = 17, "at most 16");
        refused(&|namespace| namespace.runs[0].tombstones = 10, "10 of 9");
        refused(&|namespace| (namespace.runs[0].entries, namespace.runs[0].tombstones) = (0, 0), "0 of 0");
        refused(&|namespace| namespace.runs[0].entries = NUMBER_BOUND, "2^48");
        refused(&|namespace| namespace.runs[0].tree_bytes = u64::MAX, "2^48");
        let range = |first, last| Unread { first, last, as_of: None };
        refused(&|namespace| namespace.unread = vec![range(5, 4)], "ranges of partitions");
        refused(&|namespace| namespace.unread = vec![range(0, 4096)], "ranges of partitions");
        refused(&|namespace| namespace.unread = vec![range(0, 4), range(4, 5)], "ranges of partitions");
        refused(&|namespace| namespace.live_bytes = u64::MAX, "2^48");
    }
}
