//! One writer's work from `begin` to `seal`.

use super::records::{NamespaceWork, RecordOptions, back_up};
use super::{Repository, Snapshot, host, program};
use crate::control::Control;
use crate::error::{Error, Result};
use crate::format::PackId;
use crate::format::session::{Outcome, Session, SessionKind, Status};
use crate::format::snapshot::{BackupKind, Manifest, NamespaceManifest, SnapshotState};
use crate::format::{SnapshotId, names};
use crate::index::{Index, write_segments};
use crate::pack::{ChunkReader, ChunkWriter, WriteOptions};
use crate::record::Timestamp;
use crate::snapshot as objects;
use crate::snapshot::{LEASE_MILLIS, Lease};
use crate::source::{BadRecord, RecordSource};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// What a session is told about itself.
#[derive(Clone, Debug, Default)]
pub struct SessionOptions {
    /// Where the records come from, for people.
    pub source: String,
    /// The cluster's name: what decides on which earlier snapshot a backup builds.
    pub cluster: String,
    /// Labels for the snapshot.
    pub tags: Vec<String>,
    /// What the session does, for the history.
    pub job: String,
}

/// A backup that has begun. Dropped without a seal, it leaves nothing but orphans, and a failed run in the history.
pub struct BackupSession {
    repository: Repository,
    lease: Lease,
    manifest: Manifest,
    parents: Vec<Manifest>,
    reader: Arc<ChunkReader>,
    writer: Option<ChunkWriter>,
    recovered: Vec<crate::index::IndexedPack>,
    control: Arc<Control>,
    bad: Vec<BadRecord>,
    ended: bool,
}

impl Repository {
    /// Begins a session. The order is that of the protocol: the session's object, the standing plans, the snapshots, the
    /// index.
    pub fn begin(&self, options: SessionOptions, control: Arc<Control>) -> Result<BackupSession> {
        let id = objects::new_id()?;
        let now = Timestamp::now().0;
        let suite = self.parameters.suite;
        let session = Session {
            id,
            kind: SessionKind::Backup,
            job: options.job,
            host: host(),
            program: program(),
            started: now,
            heartbeat: now,
            lease_millis: LEASE_MILLIS,
            adopted: Vec::new(),
            outcome: None,
        };
        let lease = Lease::begin(self.store.clone(), self.keys.clone(), suite, session)?;
        let mut excluded = objects::condemned(&*self.store, &self.keys)?;
        let states = objects::list_states(&*self.store)?;
        let parents = self.snapshots()?.snapshots;
        let believed = |id: &SnapshotId| states.get(id).is_some_and(|state| state.was_sealed());
        let opened = Index::open(&*self.store, &self.keys, believed, HashSet::new())?;
        excluded.extend(self.absent_packs(&opened)?);
        let index = Index::open(&*self.store, &self.keys, believed, excluded)?;
        let lost = parents.iter().any(|parent| index.segments_of(&parent.id) < parent.index_segments as usize);
        let damaged = lost || !index.check_blocks(&*self.store)?.is_empty();
        let recovered = if damaged { index.recover(&*self.store, &self.keys)? } else { Vec::new() };
        let distrusted = self.distrusted_chunks()?;
        let index = Arc::new(index);
        let options_of = WriteOptions {
            suite,
            compression: self.parameters.compression,
            pack_bytes: self.parameters.pack_bytes as usize,
        };
        let (store, keys) = (self.store.clone(), self.keys.clone());
        let writer =
            ChunkWriter::new(store.clone(), keys.clone(), index.clone(), distrusted, options_of, control.clone());
        let reader = Arc::new(ChunkReader::new(store, keys, index, super::READ_CACHE_BYTES));
        let manifest = Manifest {
            id,
            started: now,
            sealed: 0,
            host: host(),
            program: program(),
            source: options.source,
            cluster: options.cluster,
            tags: options.tags,
            seen: states.iter().filter(|(_, state)| **state == SnapshotState::Sealed).map(|(id, _)| *id).collect(),
            index_segments: 0,
            stored_bytes: 0,
            missing: Vec::new(),
            namespaces: Vec::new(),
        };
        Ok(BackupSession {
            repository: self.clone(),
            lease,
            manifest,
            parents,
            reader,
            writer: Some(writer),
            recovered,
            control,
            bad: Vec::new(),
            ended: false,
        })
    }

    /// Packs that the index names but that are gone, or have another size than they had.
    pub(super) fn absent_packs(&self, index: &Index) -> Result<HashSet<PackId>> {
        let listed = self.store.list(names::PACKS)?;
        let there: HashMap<&str, u64> = listed.iter().map(|object| (names::last(&object.key), object.size)).collect();
        let absent = index.packs().into_iter().filter(|(id, size)| there.get(&*id.to_string()) != Some(size));
        Ok(absent.map(|(id, _)| id).collect())
    }

    /// Chunks that a check found damaged: their values are written anew.
    fn distrusted_chunks(&self) -> Result<HashSet<crate::format::ChunkId>> {
        let mut chunks = HashSet::new();
        for entry in self.history().unwrap_or_default() {
            if let (SessionKind::Check, Some(outcome)) = (entry.session.kind, entry.session.outcome) {
                chunks.extend(outcome.damaged_chunks);
            }
        }
        Ok(chunks)
    }
}

impl BackupSession {
    /// The session's id, and that of the snapshot it will become.
    pub fn id(&self) -> SnapshotId {
        self.manifest.id
    }

    /// Records that could not be understood and were left out.
    pub fn bad_records(&self) -> &[BadRecord] {
        &self.bad
    }

    fn newest_parent(&self, namespace: &str, full: bool) -> Option<(SnapshotId, NamespaceManifest)> {
        self.parents.iter().rev().filter(|parent| parent.cluster == self.manifest.cluster).find_map(|parent| {
            let found = parent.namespace(namespace)?;
            (!full || found.kind == BackupKind::Full).then(|| (parent.id, found.clone()))
        })
    }

    /// Backs up the records of a namespace.
    pub fn records(
        &mut self,
        namespace: &str,
        source: &dyn RecordSource,
        kind: BackupKind,
        options: &RecordOptions,
    ) -> Result<&NamespaceManifest> {
        let parent = self.newest_parent(namespace, kind == BackupKind::Differential);
        if parent.is_none() && kind != BackupKind::Full {
            return Err(Error::invalid(format!(
                "there is no earlier snapshot of namespace {namespace} of cluster {:?} that this {kind} backup could \
                 build on. Make a full one first",
                self.manifest.cluster
            )));
        }
        let Some(writer) = &self.writer else { return Err(Error::invalid("the session has ended")) };
        let work = NamespaceWork {
            id: self.manifest.id,
            namespace,
            source,
            kind,
            parent,
            options,
            reader: &self.reader,
            writer,
            cutter: self.repository.cutter(),
            control: &self.control,
        };
        let (manifest, bad) = back_up(work)?;
        if !bad.is_empty() {
            let missing = match manifest.counts.bad {
                1 => format!("1 record of {namespace} that could not be understood"),
                count => format!("{count} records of {namespace} that could not be understood"),
            };
            self.manifest.missing.push(missing);
        }
        self.bad.extend(bad);
        let at = self.manifest.namespaces.partition_point(|other| other.name.as_str() < namespace);
        self.manifest.namespaces.insert(at, manifest);
        self.manifest.namespaces.get(at).ok_or_else(|| Error::invalid("a namespace went missing"))
    }

    /// Seals: packs and index segments first, then the one object that makes it a snapshot.
    pub fn seal(mut self) -> Result<Snapshot> {
        let sealed = self.try_seal();
        let status = match &sealed {
            Ok(()) if self.manifest.missing.is_empty() => Status::Done,
            Ok(()) => Status::Incomplete(self.manifest.missing.join("; ")),
            Err(error) => unsealed(error),
        };
        self.end(status);
        sealed?;
        let chunks = self.repository.chunk_reader()?;
        Ok(Snapshot::new(chunks, self.manifest.clone()))
    }

    fn try_seal(&mut self) -> Result<()> {
        self.control.check()?;
        let Some(writer) = self.writer.take() else { return Err(Error::invalid("the session has ended")) };
        let mut packs = writer.finish()?;
        packs.append(&mut self.recovered);
        let stored: u64 = packs.iter().map(|(_, size, _)| size).sum();
        let repository = &self.repository;
        let suite = repository.parameters.suite;
        let (segments, bytes) = write_segments(&*repository.store, &repository.keys, suite, &self.manifest.id, packs)?;
        self.manifest.index_segments = segments;
        self.manifest.stored_bytes = stored + bytes;
        self.manifest.sealed = Timestamp::now().0;
        self.control.check()?;
        objects::seal_snapshot(&*repository.store, &repository.keys, suite, &self.manifest)
    }

    /// Ends without a seal; the history will say why.
    pub fn abandon(mut self, error: &Error) {
        self.end(unsealed(error));
    }

    fn end(&mut self, status: Status) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let sealed = matches!(status, Status::Done | Status::Incomplete(_));
        let outcome = Outcome {
            ended: Timestamp::now().0,
            status,
            // Without a seal: how far it came.
            records: match sealed {
                true => self.manifest.namespaces.iter().map(|namespace| namespace.counts.read).sum(),
                false => self.control.records(),
            },
            stored_bytes: if sealed { self.manifest.stored_bytes } else { self.control.bytes_out() },
            damaged_chunks: Vec::new(),
        };
        // The snapshot, if there is one, is sealed already: a failure to note the outcome loses only the note.
        let _ = self.lease.end(outcome);
    }
}

/// How a session that was not sealed ended.
fn unsealed(error: &Error) -> Status {
    match error {
        Error::Cancelled => Status::Stopped,
        error => Status::Failed(error.to_string()),
    }
}

impl Drop for BackupSession {
    fn drop(&mut self) {
        self.end(Status::Failed("it ended without a seal".into()));
    }
}
