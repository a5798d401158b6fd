//! Sessions: one writer's work from `begin` to `commit`.
//!
//! A session is a lease and a journal (`journal`), workers that write chunks (`worker`), and the commit that makes what
//! they wrote a snapshot (`commit`). What is written, operations above say: a backup of records, a copy, a salvage.

mod begin;
mod commit;
mod journal;
mod worker;

pub(crate) use begin::noted_chunks;
pub(crate) use worker::{Worker, write_absent};

use crate::chunks::{ChunkReader, ChunkWriter};
use crate::control::{Control, Part};
use crate::error::{Error, Result};
use crate::format::session::Session;
use crate::format::snapshot::{Manifest, NamespaceManifest};
use crate::format::{ChunkId, SnapshotId, text};
use crate::repository::Repository;
use crate::setters::setters;
use crate::sources::{BadRecord, RecordSource};
use journal::SessionJournal;
use std::sync::Arc;
use std::time::Duration;

/// What a session is told about itself.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct SessionOptions {
    /// Where the records come from, for people; the name of the first source if empty.
    pub source: String,
    /// The cluster's name: what decides on which earlier snapshot a backup builds. If empty, the first source says it,
    /// and a source that can't is refused.
    pub cluster: String,
    /// Labels for the snapshot.
    pub tags: Vec<String>,
    /// What the session does, for the history.
    pub job: String,
    /// After so long without a heartbeat a collection may fence the session; ten minutes if not given. A heartbeat
    /// comes ten times as often.
    pub lease: Option<Duration>,
    /// Why the snapshot must not be forgotten, if so: it is held before it is committed.
    pub hold: Option<String>,
    /// Whether to resume an earlier session of the same job that stopped less than a day ago.
    pub resume: bool,
    /// How often to note how far it came, so that another session can resume it; every half minute if absent.
    pub note_every: Option<Duration>,
}

setters!(SessionOptions {
    resume: bool,
} into {
    source: String,
    cluster: String,
    job: String,
    lease: Option<Duration>,
    hold: Option<String>,
    note_every: Option<Duration>,
} each {
    tags: String => Vec<String>,
});

/// What a session took over from one that stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Resumed {
    /// The session that stopped.
    pub session: SnapshotId,
    /// The namespace.
    pub namespace: String,
    /// How many partitions need not be read again.
    pub partitions: usize,
}

/// A backup that has begun. Dropped without a commit, it leaves nothing but orphans, and a failed run in the history.
#[must_use = "a session that is dropped leaves no snapshot: commit it"]
pub struct BackupSession {
    pub(crate) repository: Repository,
    pub(crate) journal: SessionJournal,
    pub(crate) manifest: Manifest,
    hold: Option<String>,
    pub(crate) parents: Vec<Manifest>,
    existing: Arc<ChunkReader>,
    worker: Option<Worker>,
    pub(crate) control: Control,
    pub(crate) bad: Vec<BadRecord>,
    /// Sessions that stopped, of which this one may take something over.
    pub(crate) stopped: Vec<Session>,
    pub(crate) resumed: Vec<Resumed>,
    ended: bool,
    /// What is told of it.
    _part: Part,
}

impl BackupSession {
    /// The session's id, and that of the snapshot it will become.
    pub fn id(&self) -> SnapshotId {
        self.manifest.id
    }

    /// The snapshots that were committed when it began, oldest first.
    pub(crate) fn parents(&self) -> &[Manifest] {
        &self.parents
    }

    /// What writes the session's chunks.
    pub(crate) fn worker(&self) -> Result<&Worker> {
        self.worker.as_ref().ok_or_else(|| Error::invalid("the session has ended"))
    }

    /// Takes the session's chunks.
    pub(crate) fn writer(&self) -> Result<&ChunkWriter> {
        self.worker().map(Worker::writer)
    }

    /// Takes over from the source what the session was not told: the cluster's name, and where the records come from.
    pub(crate) fn learn_from(&mut self, source: &dyn RecordSource) -> Result<()> {
        if self.manifest.source.is_empty() {
            self.manifest.source = text::cut(source.name().to_string(), text::SOURCE_BYTES);
        }
        if !self.manifest.cluster.is_empty() {
            return Ok(());
        }
        let Some(cluster) = source.cluster().filter(|name| !name.is_empty()) else {
            return Err(Error::invalid(format!(
                "{} doesn't say of which cluster its records are. Name the cluster: later backups under the same name \
                 build on this one",
                source.name()
            )));
        };
        text::check("the name of a cluster", &cluster, text::NAME_BYTES)
            .map_err(|error| Error::invalid(error.to_string()))?;
        self.journal.set_cluster(&cluster);
        self.manifest.cluster = cluster;
        Ok(())
    }

    /// Adds a namespace whose chunks are written.
    pub(crate) fn add(&mut self, namespace: NamespaceManifest) {
        let at = self.manifest.namespaces.partition_point(|other| other.name < namespace.name);
        self.manifest.namespaces.insert(at, namespace);
    }

    /// Says which roots the runs of a copy have in the source.
    pub(crate) fn set_roots(&mut self, roots: Vec<ChunkId>) {
        self.manifest.origin.iter_mut().for_each(|origin| origin.roots.clone_from(&roots));
    }

    /// Records that could not be parsed and were left out.
    pub fn bad_records(&self) -> &[BadRecord] {
        &self.bad
    }

    /// What it took over from sessions that stopped.
    pub fn resumed(&self) -> &[Resumed] {
        &self.resumed
    }

    /// Whether another session of the same job may go on from what this one noted, or took over.
    pub(crate) fn is_resumable(&self) -> bool {
        self.journal.is_noted() || !self.resumed.is_empty()
    }
}
