//! One writer's work from `begin` to `commit`.

use crate::chunks::{ChunkReader, ChunkWriter, WriteOptions};
use crate::control::Control;
use crate::error::{Error, Result};
use crate::format::session::{Journal, OpenNamespace, Outcome, Session, SessionKind, Status};
use crate::format::snapshot::{Manifest, NamespaceManifest, Salvage, SnapshotState};
use crate::format::{ChunkId, PackId, SnapshotId, names, text};
use crate::index::{Index, write_segments};
use crate::objects;
use crate::objects::{Lease, order};
use crate::pack::stored_packs;
use crate::record::Timestamp;
use crate::repository::check_reason;
use crate::repository::{History, HistoryEntry, Memory, Repository, Root, Snapshot, host, new_session, program};
use crate::sources::{BadRecord, RecordSource};
use crate::sync::lock;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A session notes how far it came this often. To close packs and leaves early costs little then, and a crash half a minute.
const JOURNAL_EVERY: Duration = Duration::from_secs(30);
/// A session that was last heard of longer ago is not gone on with, in milliseconds: a day.
const OLDEST_MILLIS: u64 = 86_400_000;

/// What a session is told about itself.
#[derive(Clone, Debug, Default)]
pub struct SessionOptions {
    /// Where the records come from, for people; the name of the first source if empty.
    pub source: String,
    /// The cluster's name: what decides on which earlier snapshot a backup builds. If empty, the first source says it, and a
    /// source that can't is refused.
    pub cluster: String,
    /// Labels for the snapshot.
    pub tags: Vec<String>,
    /// What the session does, for the history.
    pub job: String,
    /// After so long without a heartbeat the session is taken for dead; ten minutes if not given. A heartbeat comes ten times as often.
    pub lease: Option<Duration>,
    /// Why the snapshot must not be forgotten, if so: it is held before it is committed.
    pub hold: Option<String>,
    /// Whether to go on where an earlier session of the same job stopped, if it did so less than a day ago.
    pub resume: bool,
    /// How often to note how far it came, so that another session can go on from there; every half minute if absent.
    pub note_every: Option<Duration>,
}

/// What a session took over from one that stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resumed {
    /// The session that stopped.
    pub session: SnapshotId,
    /// The namespace.
    pub namespace: String,
    /// How many partitions need not be read again.
    pub partitions: usize,
}

/// A backup that has begun. Dropped without a commit, it leaves nothing but orphans, and a failed run in the history.
pub struct BackupSession {
    pub(crate) repository: Repository,
    pub(crate) lease: Lease,
    pub(crate) manifest: Manifest,
    pub(crate) hold: Option<String>,
    pub(crate) parents: Vec<Manifest>,
    pub(crate) warnings: Vec<String>,
    pub(crate) reader: Arc<ChunkReader>,
    /// While a plan stands: a reader that sees condemned packs too, as long as they are there.
    pub(crate) doomed_too: Option<Arc<ChunkReader>>,
    pub(crate) writer: Option<ChunkWriter>,
    pub(crate) control: Arc<Control>,
    pub(crate) bad: Vec<BadRecord>,
    /// Sessions that stopped, of which this one may take something over.
    pub(crate) stopped: Vec<Session>,
    pub(crate) resumed: Vec<Resumed>,
    pub(crate) note_every: Duration,
    /// How far the namespaces came that are done or under way.
    pub(crate) journal: Mutex<Journal>,
    pub(crate) ended: bool,
}

impl Repository {
    /// Begins a session. The order is that of the protocol: the session's object, the standing plans, the snapshots, the
    /// index.
    pub fn begin(&self, options: SessionOptions, control: Arc<Control>) -> Result<BackupSession> {
        self.begin_as(SessionKind::Backup, options, control)
    }

    /// The same for what is not a backup and leaves a snapshot.
    pub(crate) fn begin_as(
        &self,
        kind: SessionKind,
        options: SessionOptions,
        control: Arc<Control>,
    ) -> Result<BackupSession> {
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
        self.begin_with(kind, options, manifest, &mut Memory::default(), control)
    }

    /// Begins a session of this kind, whose snapshot will be `manifest`, with what it comes to yet to be added. What is remembered
    /// is not read again.
    pub(crate) fn begin_with(
        &self,
        kind: SessionKind,
        options: SessionOptions,
        mut manifest: Manifest,
        memory: &mut Memory,
        control: Arc<Control>,
    ) -> Result<BackupSession> {
        let id = manifest.id;
        let suite = self.parameters.suite;
        let mut session = new_session(id, kind, options.job);
        if let Some(lease) = options.lease {
            session.lease_millis = u64::try_from(lease.as_millis()).unwrap_or(u64::MAX);
        }
        let mut lease = Lease::begin(self.store.clone(), self.keys.clone(), suite, session)?;
        // What is missing of it on a disk that is nearly full another writer makes.
        let _ = self.store.keep_reserve();
        let prepared = self.prepare(memory).inspect_err(|error| {
            let status = Status::Failed(error.to_string());
            let outcome =
                Outcome { ended: Timestamp::now().0, status, records: 0, stored_bytes: 0, damaged_chunks: vec![] };
            // Were this note lost too, the lease would lapse.
            let _ = lease.end(outcome);
        })?;
        let Prepared { parents, unreadable, reader, doomed_too, distrusted, stopped, warnings } = prepared;
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
        let journal = Mutex::new(Journal { cluster: manifest.cluster.clone(), ..Journal::default() });
        Ok(BackupSession {
            repository: self.clone(),
            lease,
            manifest,
            hold: options.hold,
            parents,
            warnings,
            reader,
            doomed_too,
            writer: Some(writer),
            control,
            bad: Vec::new(),
            stopped: if options.resume { stopped } else { Vec::new() },
            resumed: Vec::new(),
            note_every: options.note_every.unwrap_or(JOURNAL_EVERY),
            journal,
            ended: false,
        })
    }

    /// Reads what a session must know, in the order that the protocol demands: plans, snapshots, index.
    fn prepare(&self, memory: &mut Memory) -> Result<Prepared> {
        let condemned = objects::condemned(&*self.store, &self.keys)?;
        let states = objects::list_states(&*self.store)?;
        let list = self.snapshots_with(memory)?;
        let mut warnings: Vec<String> =
            list.damaged.iter().map(|(_, error)| format!("{error}; this backup doesn't build on it")).collect();
        // Nothing rests on the time of the newest but what people make of it, and of this one's, which will come before it.
        let newest = list.snapshots.last().map(|newest| newest.id);
        let in_doubt = list.times.doubtful().iter().filter(|doubtful| Some(doubtful.snapshot) == newest);
        warnings.extend(
            in_doubt.map(|doubtful| format!("{doubtful}; this snapshot comes after it in the order all the same")),
        );
        warnings.extend(list.times.reader_is_behind().then(|| list.times.warnings()).into_iter().flatten());
        let parents = list.snapshots;
        let believed = |id: &SnapshotId| states.get(id).is_some_and(|state| state.was_committed());
        let doomed_too = match condemned.is_empty() {
            true => None,
            false => {
                let index = Arc::new(Index::open(&*self.store, &self.keys, believed, HashSet::new())?);
                Some(Arc::new(ChunkReader::new(
                    self.store.clone(),
                    self.keys.clone(),
                    index,
                    crate::repository::READ_CACHE_BYTES,
                )))
            }
        };
        let mut index = Index::open(&*self.store, &self.keys, believed, condemned)?;
        let absent = self.absent_packs(&index)?;
        warnings.extend(absent.iter().map(|id| {
            let name = names::pack(id);
            format!("{name} is missing or cut short; a full backup writes the values anew that stood in it")
        }));
        index.exclude(absent);
        let lost = parents.iter().any(|parent| index.segments_of(&parent.id) < parent.index_segments as usize);
        let mut damaged: Vec<String> = index.damaged().iter().map(ToString::to_string).collect();
        damaged.extend(index.check_blocks(&*self.store)?.iter().map(ToString::to_string));
        if lost && damaged.is_empty() {
            damaged.push(format!("segments under {} are missing", names::INDEX));
        }
        if !damaged.is_empty() {
            index.recover(&*self.store, &self.keys)?;
            warnings.extend(damaged.iter().map(|problem| format!("{problem}; this backup writes the index anew")));
        }
        let cache = crate::repository::READ_CACHE_BYTES;
        let reader = Arc::new(ChunkReader::new(self.store.clone(), self.keys.clone(), Arc::new(index), cache));
        // Neither a check, which takes no name, nor a session that stopped before its commit has one that says that it committed.
        let history = self.history_of(memory, |state| !state.is_some_and(SnapshotState::was_committed))?;
        warnings.extend(history.damaged.iter().map(|(_, error)| {
            format!("{error}; should a check have noted damaged chunks in it, only another check --read-data finds them again")
        }));
        // What was healed since, or came back with its pack, is trusted again.
        let mut distrusted = HashSet::new();
        for id in noted_chunks(&history) {
            if !reader.is_whole(&id)? {
                distrusted.insert(id);
            }
        }
        let unreadable = list.damaged.iter().map(|(id, _)| *id).collect();
        let stopped = stopped_sessions(&history.entries, Timestamp::now().0);
        Ok(Prepared { parents, unreadable, reader, doomed_too, distrusted, stopped, warnings })
    }

    /// What stopped a session in reading this repository: if it was fenced, the collection that took it for dead may have deleted
    /// what it read, and that is told instead of damage.
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

/// Writes anew what the parent's runs refer to and no pack holds but condemned ones. The parent may be forgotten before the
/// collection looks for what is live, and then nobody else moves these chunks.
pub(crate) fn take_over(
    reader: &ChunkReader,
    writer: &ChunkWriter,
    parent: &NamespaceManifest,
    control: &Control,
) -> Result<()> {
    let mut seen = HashSet::new();
    for root in parent.roots() {
        match root {
            // Every session writes it whole, and so anew where it stands in condemned packs alone.
            Root::Metadata { .. } => continue,
            Root::Run { .. } => {}
        }
        let (mut reached, mut lost) = (Vec::new(), None);
        root.reach(reader, &mut seen, &mut |id, class| reached.push((id, class)), &mut |loss| {
            lost = lost.take().or(Some(loss));
        })?;
        if let Some(loss) = lost {
            return Err(Error::damaged("a run of the parent", loss.to_string()));
        }
        for (id, class) in reached {
            if !writer.has(&id)? {
                control.check()?;
                writer.put(class, &reader.read(&id, class)?)?;
            }
        }
    }
    Ok(())
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
    /// The snapshots that stood, in their order.
    parents: Vec<Manifest>,
    /// Those that could not be read.
    unreadable: Vec<SnapshotId>,
    reader: Arc<ChunkReader>,
    doomed_too: Option<Arc<ChunkReader>>,
    distrusted: HashSet<ChunkId>,
    stopped: Vec<Session>,
    warnings: Vec<String>,
}

/// Chunks that checks found damaged.
pub(crate) fn noted_chunks(history: &History) -> HashSet<ChunkId> {
    let checks = history.entries.iter().filter(|entry| entry.session.kind == SessionKind::Check);
    let outcomes = checks.filter_map(|entry| entry.session.outcome.as_ref());
    outcomes.flat_map(|outcome| outcome.damaged_chunks.iter().copied()).collect()
}

impl BackupSession {
    /// The session's id, and that of the snapshot it will become.
    pub fn id(&self) -> SnapshotId {
        self.manifest.id
    }

    /// For people: damage that was met, what was passed over and what is written anew; and what the source would not tell.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The snapshots that stood when it began, oldest first.
    pub(crate) fn parents(&self) -> &[Manifest] {
        &self.parents
    }

    /// Takes the session's chunks.
    pub(crate) fn writer(&self) -> Result<&ChunkWriter> {
        self.writer.as_ref().ok_or_else(|| Error::invalid("the session has ended"))
    }

    /// Adds a namespace whose chunks were written otherwise than by [`BackupSession::records`].
    pub(crate) fn add(&mut self, namespace: NamespaceManifest) -> Result<&NamespaceManifest> {
        let at = self.manifest.namespaces.partition_point(|other| other.name < namespace.name);
        self.manifest.namespaces.insert(at, namespace);
        self.manifest.namespaces.get(at).ok_or_else(|| Error::invalid("a namespace went missing"))
    }

    /// Says which roots the runs of a copy have in the source.
    pub(crate) fn set_roots(&mut self, roots: Vec<ChunkId>) {
        self.manifest.origin.iter_mut().for_each(|origin| origin.roots.clone_from(&roots));
    }

    /// Records that could not be understood and were left out.
    pub fn bad_records(&self) -> &[BadRecord] {
        &self.bad
    }

    /// What it took over from sessions that stopped.
    pub fn resumed(&self) -> &[Resumed] {
        &self.resumed
    }

    /// Notes how far a namespace came. The journal serves sessions to come: whether the note gets through is not this one's worry.
    pub(crate) fn note(&self, open: OpenNamespace, packs: Vec<PackId>) {
        let mut journal = lock(&self.journal);
        journal.namespaces.retain(|other| other.name != open.name);
        journal.namespaces.push(open);
        journal.packs = packs;
        let journal = journal.clone();
        let _ = self.lease.note(|session| session.journal = Some(journal));
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
                "{} doesn't say of which cluster its records are. Name the cluster: later backups under the same name build on \
                 this one",
                source.name()
            )));
        };
        text::check("the name of a cluster", &cluster, text::NAME_BYTES)
            .map_err(|error| Error::invalid(error.to_string()))?;
        lock(&self.journal).cluster.clone_from(&cluster);
        self.manifest.cluster = cluster;
        Ok(())
    }

    /// Where a salvage reads chunks, and where it writes them.
    pub(crate) fn reader_and_writer(&self) -> Result<(&Arc<ChunkReader>, &ChunkWriter)> {
        let writer = self.writer.as_ref().ok_or_else(|| Error::invalid("the session has ended"))?;
        Ok((self.doomed_too.as_ref().unwrap_or(&self.reader), writer))
    }

    /// Commits what a salvage made of `original`: with its source and its labels, in its place in the order of snapshots.
    pub(crate) fn commit_salvage(
        mut self,
        original: &Manifest,
        committed: u64,
        salvage: Salvage,
        missing: Vec<String>,
        namespaces: Vec<NamespaceManifest>,
    ) -> Result<Snapshot> {
        let (id, host, program) = (self.id(), host(), program());
        // What the writer of a copy saw tells nothing of its place, which is the original's.
        let heads = if original.origin.is_none() { original.heads.as_slice() } else { &[] };
        let heads = heads.iter().copied().chain([original.id]).collect::<BTreeSet<_>>();
        // All fields are named: one that refers to chunks must be taken over before it is named here.
        self.manifest = Manifest {
            id,
            started: original.started,
            committed,
            sequence: original.sequence,
            host,
            program,
            source: original.source.clone(),
            cluster: original.cluster.clone(),
            tags: original.tags.clone(),
            heads: heads.into_iter().collect(),
            index_segments: 0,
            stored_bytes: 0,
            missing,
            salvage: Some(salvage),
            // What it holds is no longer what the original of a copy holds.
            origin: None,
            namespaces,
        };
        self.commit()
    }

    /// Commits: packs and index segments first, then the one object that makes it a snapshot.
    pub fn commit(mut self) -> Result<Snapshot> {
        let committed = self.try_commit();
        let status = match &committed {
            Ok(()) if self.manifest.missing.is_empty() => Status::Done,
            Ok(()) => Status::Incomplete(self.manifest.missing.join("; ")),
            Err(error) => uncommitted(error),
        };
        self.end(status);
        committed?;
        // It is committed, whatever happens now; this reader finds the new packs too, if more slowly.
        let chunks = self.repository.chunk_reader().unwrap_or_else(|_| self.reader.clone());
        Ok(Snapshot::new(chunks, self.manifest.clone()))
    }

    fn try_commit(&mut self) -> Result<()> {
        self.control.check()?;
        let Some(writer) = self.writer.take() else { return Err(Error::invalid("the session has ended")) };
        let mut packs = writer.finish()?;
        let stored: u64 = packs.iter().map(|(_, size, _)| size).sum();
        // Chunks of these were not written again, so whoever reads this snapshot must find them.
        let written: HashSet<PackId> = packs.iter().map(|(id, _, _)| *id).collect();
        packs.extend(self.reader.index().recovered_packs().into_iter().filter(|(id, _, _)| !written.contains(id)));
        let repository = &self.repository;
        let suite = repository.parameters.suite;
        let (segments, bytes) = write_segments(&*repository.store, &repository.keys, suite, &self.manifest.id, packs)?;
        self.manifest.index_segments = segments;
        self.manifest.stored_bytes = stored + bytes;
        // These keep the times of what they were made of.
        if self.manifest.salvage.is_none() && self.manifest.origin.is_none() {
            self.manifest.committed = Timestamp::now().0;
        }
        self.control.check()?;
        let hold = match &self.hold {
            Some(reason) => Some(repository.place_hold(self.manifest.id, reason)?),
            None => None,
        };
        let committed = objects::commit_snapshot(&*repository.store, &repository.keys, suite, &self.manifest);
        if let (Err(Error::Fenced { .. }), Some(hold)) = (&committed, hold) {
            // Nothing is there that it could hold; were it left, the next collection would take it away.
            let _ = repository.store.delete(&names::hold(&hold.snapshot, &hold.id));
        }
        committed
    }

    /// Ends without a commit; the history will say why.
    pub fn abandon(mut self, error: &Error) {
        self.end(uncommitted(error));
    }

    fn end(&mut self, status: Status) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let committed = matches!(status, Status::Done | Status::Incomplete(_));
        let outcome = Outcome {
            ended: Timestamp::now().0,
            status,
            // Without a commit: how far it came.
            records: match committed {
                true if self.manifest.origin.is_some() => {
                    self.manifest.namespaces.iter().map(|one| one.live_records).sum()
                }
                true => self.manifest.namespaces.iter().map(|namespace| namespace.counts.read).sum(),
                false => self.control.records(),
            },
            stored_bytes: if committed { self.manifest.stored_bytes } else { self.control.bytes_out() },
            damaged_chunks: Vec::new(),
        };
        // The snapshot, if there is one, is committed already: a failure to note the outcome loses only the note.
        let _ = self.lease.end(outcome);
    }
}

/// How a session that was not committed ended.
fn uncommitted(error: &Error) -> Status {
    match error {
        Error::Cancelled => Status::Stopped,
        error => Status::Failed(error.to_string()),
    }
}

impl Drop for BackupSession {
    fn drop(&mut self) {
        self.end(Status::Failed("it ended without a commit".into()));
    }
}
