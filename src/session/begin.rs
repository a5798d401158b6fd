//! The begin of a session, in the order that the protocol demands: the session's object, the pending plans, the
//! snapshots, the index.

use super::journal::SessionJournal;
use super::{BackupSession, SessionOptions, Worker};
use crate::chunks::{ChunkReader, ChunkWriter, WriteOptions};
use crate::error::{Error, Result};
use crate::format::session::{Outcome, Session, SessionKind, Status};
use crate::format::snapshot::{Manifest, SnapshotState};
use crate::format::{ChunkId, PackId, SnapshotId, names, text};
use crate::index::Index;
use crate::objects::{self, Lease, order};
use crate::pack::stored_packs;
use crate::record::Timestamp;
use crate::repository::{
    History, HistoryEntry, Memory, READ_CACHE_BYTES, Repository, check_reason, host, new_session, program,
};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// A session that was last heard of longer ago is not resumed, in milliseconds: a day.
const OLDEST_MILLIS: u64 = 86_400_000;

impl Repository {
    /// Begins a session. The order is that of the protocol: the session's object, the pending plans, the snapshots, the
    /// index.
    ///
    /// # Errors
    ///
    /// If an option is refused, such as an empty label, the store can't be read or written, or the newest index can't
    /// be made whole.
    pub fn begin(&self, options: SessionOptions) -> Result<BackupSession> {
        self.begin_as(SessionKind::Backup, options)
    }

    /// The same for what is not a backup and leaves a snapshot.
    pub(crate) fn begin_as(&self, kind: SessionKind, options: SessionOptions) -> Result<BackupSession> {
        text::check("the name of a cluster", &options.cluster, text::NAME_BYTES).map_err(Error::usage)?;
        text::check_tags(&options.tags).map_err(Error::usage)?;
        if options.tags.iter().any(String::is_empty) {
            return Err(Error::usage("a label must not be empty"));
        }
        options.hold.as_deref().map_or(Ok(()), check_reason)?;
        let id = objects::new_id()?;
        let manifest = Manifest {
            id,
            started: Timestamp::now().0,
            committed: 0,
            sequence: 0,
            host: host(),
            program: program(),
            source: text::cut(options.source.clone(), text::SOURCE_BYTES),
            cluster: options.cluster.clone(),
            tags: options.tags.clone(),
            heads: Vec::new(),
            index_segments: 0,
            stored_bytes: 0,
            missing: Vec::new(),
            salvage: None,
            origin: None,
            namespaces: Vec::new(),
        };
        self.begin_with(kind, options, manifest, &mut Memory::default())
    }

    /// Begins a session of this kind, whose snapshot will be `manifest`, with what it comes to yet to be added. What is
    /// remembered is not read again.
    pub(crate) fn begin_with(
        &self,
        kind: SessionKind,
        options: SessionOptions,
        mut manifest: Manifest,
        memory: &mut Memory,
    ) -> Result<BackupSession> {
        let id = manifest.id;
        let suite = self.parameters.suite;
        let mut session = new_session(id, kind, options.job);
        if let Some(lease) = options.lease {
            session.lease_millis = u64::try_from(lease.as_millis()).unwrap_or(u64::MAX);
        }
        let mut lease = Lease::begin(self.store.clone(), self.keys.clone(), suite, session)?;
        let control = self.control.within(lease.fence());
        // What is missing of it on a disk that is nearly full another writer makes.
        let _ = self.store.keep_reserve();
        let prepared = self.prepare(memory).inspect_err(|error| {
            let status = Status::Failed(error.to_string());
            let outcome =
                Outcome { ended: Timestamp::now().0, status, records: 0, stored_bytes: 0, damaged_chunks: vec![] };
            // Were this note lost too, the lease would lapse.
            let _ = lease.end(outcome);
        })?;
        let what = if manifest.source.is_empty() { &manifest.cluster } else { &manifest.source };
        let part = control.part(format!("backing up {what}"));
        tracing::info!(session = %id, "session began");
        let Prepared { parents, unreadable, reader, with_condemned, distrusted, stopped } = prepared;
        let options_of = WriteOptions {
            suite,
            compression: self.parameters.compression,
            pack_bytes: self.parameters.pack_bytes as usize,
        };
        let writer = ChunkWriter::new(reader.clone(), distrusted, options_of, control.clone());
        manifest.sequence = match manifest.origin {
            Some(_) => order::sequence_of_copy(self.id, &parents, &manifest, unreadable.len()),
            None => order::next_sequence(&parents, unreadable.len()),
        };
        manifest.heads = order::heads(&parents, unreadable);
        let journal = SessionJournal::new(lease, &manifest.cluster, options.note_every);
        Ok(BackupSession {
            repository: self.clone(),
            journal,
            manifest,
            hold: options.hold,
            parents,
            existing: reader.clone(),
            worker: Some(Worker::new(reader, with_condemned, writer, control.clone())),
            control,
            bad: Vec::new(),
            stopped: if options.resume { stopped } else { Vec::new() },
            resumed: Vec::new(),
            ended: false,
            _part: part,
        })
    }

    /// Reads what a session must know, in the order that the protocol demands: plans, snapshots, index.
    fn prepare(&self, memory: &mut Memory) -> Result<Prepared> {
        let condemned = objects::condemned(&*self.store, &self.keys)?;
        let states = objects::list_states(&*self.store, &self.keys)?;
        let list = self.manifests_with(memory)?;
        let warn = |text: String| self.control.warn(text);
        list.damaged.iter().for_each(|(_, error)| warn(format!("{error}; this backup doesn't build on it")));
        states.damaged().iter().for_each(|(_, error)| warn(error.to_string()));
        // Nothing rests on the time of the newest but what people make of it, and of this one's, which will come before
        // it.
        let newest = list.snapshots.last().map(|newest| newest.id);
        let in_doubt = list.times.doubtful().iter().filter(|doubtful| Some(doubtful.snapshot) == newest);
        in_doubt.for_each(|doubtful| {
            warn(format!("{doubtful}; this snapshot comes after it in the order all the same"));
        });
        if list.times.reader_is_behind() {
            list.times.warnings().into_iter().for_each(warn);
        }
        let committed = |id: &SnapshotId| states.was_committed(id);
        let reader_of = |index| {
            let (store, keys) = (self.store.clone(), self.keys.clone());
            Arc::new(ChunkReader::new(store, keys, Arc::new(index), READ_CACHE_BYTES))
        };
        let with_condemned = match condemned.is_empty() {
            true => None,
            false => Some(reader_of(Index::open(&*self.store, &self.keys, committed, HashSet::new())?)),
        };
        let mut index = Index::open(&*self.store, &self.keys, committed, condemned.clone())?;
        if index.lacks_segments_of(&list.snapshots) {
            // A collection may have joined them into segments of its own, and committed, since the names were listed.
            let states = objects::list_states(&*self.store, &self.keys)?;
            index = Index::open(&*self.store, &self.keys, |id| states.was_committed(id), condemned)?;
        }
        self.make_whole(&mut index, &list.snapshots)?;
        let reader = reader_of(index);
        // Neither a check, which takes no name, nor a session that stopped before its commit has one that says that it
        // committed.
        let history = self.history_of(memory, |state| !state.is_some_and(SnapshotState::was_committed))?;
        history.damaged.iter().for_each(|(_, error)| {
            warn(format!(
                "{error}; should a check have noted damaged chunks in it, only another check that reads data finds \
                 them again"
            ));
        });
        // What was healed since, or came back with its pack, is trusted again.
        let mut distrusted = HashSet::new();
        for id in noted_chunks(&history) {
            if !reader.is_whole(&id)? {
                distrusted.insert(id);
            }
        }
        let unreadable = list.damaged.iter().map(|(id, _)| *id).collect();
        let stopped = stopped_sessions(&history.entries, Timestamp::now().0);
        let parents = list.snapshots;
        Ok(Prepared { parents, unreadable, reader, with_condemned, distrusted, stopped })
    }

    /// Takes packs that are gone out of the index, and makes up from the packs for segments that are damaged or
    /// missing. Warns of what it found.
    fn make_whole(&self, index: &mut Index, snapshots: &[Manifest]) -> Result<()> {
        let absent = self.absent_packs(index)?;
        for id in &absent {
            let name = names::pack(id);
            self.control.warn(format!("{name} is missing or cut short; a full backup writes its values again"));
        }
        index.exclude(absent);
        let lost = index.lacks_segments_of(snapshots);
        let mut damaged: Vec<String> = index.damaged().iter().map(ToString::to_string).collect();
        damaged.extend(index.check_blocks(&*self.store)?.iter().map(ToString::to_string));
        if lost && damaged.is_empty() {
            damaged.push(format!("segments under {} are missing", names::INDEX));
        }
        if !damaged.is_empty() {
            index.recover(&*self.store, &self.keys)?;
            for problem in damaged {
                self.control.warn(format!("{problem}; this backup writes the index again"));
            }
        }
        Ok(())
    }

    /// What stopped a session in reading this repository: if it was fenced, the collection that fenced it may have
    /// deleted what it read, and that is told instead of damage.
    pub(crate) fn unless_fenced(&self, session: SnapshotId, error: Error) -> Error {
        if error.is_of_one_object() && matches!(self.state_of(&session), Ok(Some(SnapshotState::Fenced))) {
            return Error::Fenced { session: session.to_string() };
        }
        error
    }

    /// Packs that the index names but that are gone, or have another size than they had.
    pub(crate) fn absent_packs(&self, index: &Index) -> Result<HashSet<PackId>> {
        let there: HashMap<PackId, u64> = stored_packs(&*self.store)?.into_iter().collect();
        let absent = index.packs().into_iter().filter(|(id, size)| there.get(id) != Some(size));
        Ok(absent.map(|(id, _)| id).collect())
    }
}

/// The sessions that stopped before their commit and noted how far they came, the latest first.
fn stopped_sessions(history: &[HistoryEntry], now: u64) -> Vec<Session> {
    let stopped = |entry: &&HistoryEntry| {
        entry.session.kind == SessionKind::Backup
            && !entry.state.is_some_and(|state| state.was_committed())
            && !entry.session.says_committed()
            && entry.session.journal.is_some()
            && now.saturating_sub(entry.session.heartbeat) <= OLDEST_MILLIS
    };
    let mut sessions: Vec<Session> = history.iter().filter(stopped).map(|entry| entry.session.clone()).collect();
    sessions.sort_by_key(|session| std::cmp::Reverse((session.heartbeat, session.id)));
    sessions
}

/// What a session must know before it writes.
struct Prepared {
    /// The committed snapshots, in their order.
    parents: Vec<Manifest>,
    /// Those that could not be read.
    unreadable: Vec<SnapshotId>,
    /// Finds chunks in packs that no plan condemns.
    reader: Arc<ChunkReader>,
    /// While a plan is pending: finds chunks in condemned packs too.
    with_condemned: Option<Arc<ChunkReader>>,
    distrusted: HashSet<ChunkId>,
    stopped: Vec<Session>,
}

/// Chunks that checks found damaged.
pub(crate) fn noted_chunks(history: &History) -> HashSet<ChunkId> {
    let checks = history.entries.iter().filter(|entry| entry.session.kind == SessionKind::Check);
    let outcomes = checks.filter_map(|entry| entry.session.outcome.as_ref());
    outcomes.flat_map(|outcome| outcome.damaged_chunks.iter().copied()).collect()
}
