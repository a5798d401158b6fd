//! One writer's work from `begin` to `seal`.

use super::hold::check_reason;
use super::loss::Doubts;
use super::merge_policy::{self, Extent, Merge};
use super::records::{BackedUp, NamespaceWork, RecordOptions, back_up};
use super::resume::{JOURNAL_EVERY, Job, Notes, TakenOver, adopt, finished, stopped_sessions};
use super::{History, Memory, Repository, Snapshot, host, new_session, program};
use crate::control::Control;
use crate::error::{Error, Result};
use crate::format::evidence::Evidence;
use crate::format::header::Class;
use crate::format::session::{Journal, OpenNamespace, Outcome, Session, SessionKind, Status};
use crate::format::snapshot::{BackupKind, Counts, Manifest, NamespaceManifest, Salvage, SnapshotState};
use crate::format::{ChunkId, PackId, SnapshotId, names, text};
use crate::index::{Index, write_segments};
use crate::objects;
use crate::objects::{Lease, order};
use crate::pack::{ChunkReader, ChunkWriter, WriteOptions, stored_packs};
use crate::record::{PARTITIONS, Timestamp};
use crate::run::{Losses, reach_run, survey};
use crate::sources::{BadRecord, RecordSource, SourceShape, Standing};
use crate::sync::lock;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

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
    /// After so long without a heartbeat the session is taken for dead; ten minutes if not given. A heartbeat comes ten times as often.
    pub lease: Option<Duration>,
    /// Why the snapshot must not be forgotten, if so: it is held before it is sealed.
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

/// A backup that has begun. Dropped without a seal, it leaves nothing but orphans, and a failed run in the history.
pub struct BackupSession {
    repository: Repository,
    lease: Lease,
    manifest: Manifest,
    hold: Option<String>,
    parents: Vec<Manifest>,
    warnings: Vec<String>,
    reader: Arc<ChunkReader>,
    /// While a plan stands: a reader that sees condemned packs too, as long as they are there.
    doomed_too: Option<Arc<ChunkReader>>,
    writer: Option<ChunkWriter>,
    control: Arc<Control>,
    bad: Vec<BadRecord>,
    /// Sessions that stopped, of which this one may take something over.
    stopped: Vec<Session>,
    resumed: Vec<Resumed>,
    note_every: Duration,
    /// How far the namespaces came that are done or under way.
    journal: Mutex<Journal>,
    ended: bool,
}

impl Repository {
    /// Begins a session. The order is that of the protocol: the session's object, the standing plans, the snapshots, the
    /// index.
    pub fn begin(&self, options: SessionOptions, control: Arc<Control>) -> Result<BackupSession> {
        self.begin_as(SessionKind::Backup, options, control)
    }

    /// The same for what is not a backup and leaves a snapshot.
    pub(super) fn begin_as(
        &self,
        kind: SessionKind,
        options: SessionOptions,
        control: Arc<Control>,
    ) -> Result<BackupSession> {
        text::check("the name of a cluster", &options.cluster, text::NAME_BYTES).map_err(Error::usage)?;
        text::check_tags(&options.tags).map_err(Error::usage)?;
        options.hold.as_deref().map_or(Ok(()), check_reason)?;
        let id = objects::new_id()?;
        let manifest = Manifest {
            id,
            started: Timestamp::now().0,
            sealed: 0,
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
    pub(super) fn begin_with(
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
        let believed = |id: &SnapshotId| states.get(id).is_some_and(|state| state.was_sealed());
        let doomed_too = match condemned.is_empty() {
            true => None,
            false => {
                let index = Arc::new(Index::open(&*self.store, &self.keys, believed, HashSet::new())?);
                Some(Arc::new(ChunkReader::new(self.store.clone(), self.keys.clone(), index, super::READ_CACHE_BYTES)))
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
        let cache = super::READ_CACHE_BYTES;
        let reader = Arc::new(ChunkReader::new(self.store.clone(), self.keys.clone(), Arc::new(index), cache));
        let history = self.history_with(memory)?;
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
    pub(super) fn unless_fenced(&self, session: SnapshotId, error: Error) -> Error {
        if error.is_of_one_object() && matches!(self.state_of(&session), Ok(Some(SnapshotState::Fenced))) {
            return Error::Fenced { session: session.to_string() };
        }
        error
    }

    /// Packs that the index names but that are gone, or have another size than they had.
    pub(super) fn absent_packs(&self, index: &Index) -> Result<HashSet<PackId>> {
        let there: HashMap<PackId, u64> = stored_packs(&*self.store)?.into_iter().collect();
        let absent = index.packs().into_iter().filter(|(id, size)| there.get(id) != Some(size));
        Ok(absent.map(|(id, _)| id).collect())
    }
}

/// Writes anew what the parent's runs refer to and no pack holds but condemned ones. The parent may be forgotten before the
/// collection looks for what is live, and then nobody else moves these chunks.
pub(super) fn take_over(
    reader: &ChunkReader,
    writer: &ChunkWriter,
    parent: &NamespaceManifest,
    control: &Control,
) -> Result<()> {
    let mut seen = HashSet::new();
    for run in &parent.runs {
        let (mut reached, mut lost) = (Vec::new(), None);
        reach_run(reader, run, &mut seen, &mut |id, class| reached.push((id, class)), &mut |loss| {
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

/// Whether the runs refer to values that can't be had.
fn refers_to_lost(reader: &ChunkReader, writer: &ChunkWriter, parent: &NamespaceManifest) -> Result<bool> {
    let mut seen = HashSet::new();
    for run in &parent.runs {
        let mut reached = Vec::new();
        let each = &mut |id, class| reached.extend((class == Class::Data).then_some(id));
        reach_run(reader, run, &mut seen, each, &mut |_| {})?;
        for id in reached {
            if !writer.has(&id)? {
                return Ok(true);
            }
        }
    }
    Ok(false)
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
pub(super) fn noted_chunks(history: &History) -> HashSet<ChunkId> {
    let checks = history.entries.iter().filter(|entry| entry.session.kind == SessionKind::Check);
    let outcomes = checks.filter_map(|entry| entry.session.outcome.as_ref());
    outcomes.flat_map(|outcome| outcome.damaged_chunks.iter().copied()).collect()
}

/// A namespace of which more than half of the records are gone since its parent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vanished {
    /// Its name.
    pub namespace: String,
    /// The snapshot that the backup builds on.
    pub parent: SnapshotId,
    /// Records that this has.
    pub records: u64,
    /// How many of them are gone.
    pub deleted: u64,
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

    /// The namespaces so far of which more than half of the parent's records are gone. That happens, but it is also what a backup
    /// of another database under the same name looks like, or one of a source that lost data.
    pub fn vanished(&self) -> Vec<Vanished> {
        let of = |namespace: &NamespaceManifest| {
            let parent = self.parents.iter().find(|parent| Some(parent.id) == namespace.parent)?;
            let records = parent.namespace(&namespace.name)?.live_records;
            let (name, deleted) = (namespace.name.clone(), namespace.counts.deleted);
            (deleted.saturating_mul(2) > records).then_some(Vanished {
                namespace: name,
                parent: parent.id,
                records,
                deleted,
            })
        };
        self.manifest.namespaces.iter().filter_map(of).collect()
    }

    /// The snapshots that stood when it began, oldest first.
    pub(super) fn parents(&self) -> &[Manifest] {
        &self.parents
    }

    /// Takes the session's chunks.
    pub(super) fn writer(&self) -> Result<&ChunkWriter> {
        self.writer.as_ref().ok_or_else(|| Error::invalid("the session has ended"))
    }

    /// Adds a namespace whose chunks were written otherwise than by [`BackupSession::records`].
    pub(super) fn add(&mut self, namespace: NamespaceManifest) -> Result<&NamespaceManifest> {
        let at = self.manifest.namespaces.partition_point(|other| other.name < namespace.name);
        self.manifest.namespaces.insert(at, namespace);
        self.manifest.namespaces.get(at).ok_or_else(|| Error::invalid("a namespace went missing"))
    }

    /// Says which roots the runs of a copy have in the source.
    pub(super) fn set_roots(&mut self, roots: Vec<ChunkId>) {
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
    fn note(&self, open: OpenNamespace, packs: Vec<PackId>) {
        let mut journal = lock(&self.journal);
        journal.namespaces.retain(|other| other.name != open.name);
        journal.namespaces.push(open);
        journal.packs = packs;
        let journal = journal.clone();
        let _ = self.lease.note(|session| session.journal = Some(journal));
    }

    /// Takes over what an earlier session of the same job finished of a namespace.
    fn take_over(
        &mut self,
        job: &OpenNamespace,
        source: &dyn RecordSource,
        standing: Option<&Standing>,
        options: &RecordOptions,
    ) -> Result<Option<OpenNamespace>> {
        let (SourceShape::Partitioned(_), Some(writer), false) =
            (source.shape(), &self.writer, self.stopped.is_empty())
        else {
            return Ok(None);
        };
        let skips_bad_records = options.skip_bad_records;
        let job =
            Job { cluster: &self.manifest.cluster, namespace: job, skips_bad_records, now: source.clock()?, standing };
        let taken = match adopt(&self.stopped, job, &self.reader, writer, &mut self.warnings) {
            Ok(Some(taken)) => taken,
            Ok(None) => return Ok(None),
            Err(error) if error.is_of_one_object() => {
                self.warnings
                    .push(format!("{error}; what session left it can't be gone on with, and all is read anew"));
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let TakenOver { from, open, packs } = taken;
        let adopted = packs.clone();
        let _ = self.lease.note(|session| {
            session
                .adopted
                .extend(adopted.iter().filter(|id| !session.adopted.contains(id)).copied().collect::<Vec<_>>());
        });
        // Killed at once, the next session goes on from the same place.
        self.note(open.clone(), writer.stored_packs());
        let namespace = open.name.clone();
        self.resumed.push(Resumed { session: from, namespace, partitions: finished(&open).len() });
        Ok(Some(open))
    }

    fn newest_parent(&self, namespace: &str, selection: &str, full: bool) -> Option<(SnapshotId, NamespaceManifest)> {
        self.parents.iter().rev().filter(|parent| parent.cluster == self.manifest.cluster).find_map(|parent| {
            let found = parent.namespace(namespace)?;
            let builds = found.selection == selection && (!full || found.kind == BackupKind::Full);
            builds.then(|| (parent.id, found.clone()))
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
        let mut parent = self.newest_parent(namespace, &source.selection(), kind == BackupKind::Differential);
        if options.partial
            && let Some((parent, _)) = &parent
            && let Some(salvage) = self.parents.iter().find(|one| one.id == *parent).and_then(|one| one.salvage)
            && salvage.records_lost > 0
        {
            return Err(Error::invalid(format!(
                "snapshot {parent} is what a repair could save of snapshot {}: {} records are gone, and a source that holds \
                 only what changed doesn't bring them back. Make a full backup",
                salvage.original, salvage.records_lost
            )));
        }
        if parent.is_none() && kind != BackupKind::Full {
            let selected = match source.selection() {
                all if all.is_empty() => String::new(),
                some => format!(", {some},"),
            };
            return Err(Error::invalid(format!(
                "there is no earlier snapshot of namespace {namespace}{selected} of cluster {:?} that this {kind} backup could \
                 build on. Make a full one first",
                self.manifest.cluster
            )));
        }
        let Some(writer) = &self.writer else { return Err(Error::invalid("the session has ended")) };
        if self.manifest.namespace(namespace).is_some() {
            return Err(Error::invalid(format!(
                "namespace {namespace} is in this snapshot already; a second one needs another session"
            )));
        }
        let standing = source.standing(namespace)?;
        let mut missing = Vec::new();
        if let Some(standing) = &standing {
            missing.extend(
                look_at(standing, namespace, parent.as_ref(), options)
                    .map_err(|problem| Error::Source { source_name: source.name().to_string(), problem })?,
            );
        }
        let doubts = Doubts::of(parent.as_ref(), standing.as_ref(), source.clock()?);
        // Only a backup that reads every record can make up for what the parent has lost.
        let heals = kind == BackupKind::Full && !options.partial;
        let reader = self.doomed_too.as_ref().unwrap_or(&self.reader);
        let (repository, id) = (self.repository.clone(), self.manifest.id);
        let told = |error: Error| repository.unless_fenced(id, error);
        let taken_over = match (&self.doomed_too, &parent) {
            (Some(reader), Some((_, parent))) => take_over(reader, writer, parent, &self.control).map_err(told),
            _ => Ok(()),
        };
        match (taken_over, &parent) {
            (Err(error), Some((id, _))) if error.is_of_one_object() => {
                if !heals {
                    return Err(error.with_advice(&format!(
                        "A collection is moving what snapshot {id} needs: run the {kind} backup again once it has ended"
                    )));
                }
                let problem = format!("{error}; this backup doesn't build on snapshot {id}, and reads everything");
                self.warnings.push(problem);
                parent = None;
            }
            (taken_over, _) => taken_over?,
        }
        let mut lost = Losses::default();
        if let (true, Some((id, parent))) = (heals, &parent) {
            lost = survey(reader, &parent.runs)?;
            let warning =
                |loss| format!("namespace {namespace} of snapshot {id}: {loss}; all entries are written anew");
            self.warnings.extend(lost.named.iter().map(warning));
        }
        let parent_id = parent.as_ref().map(|(id, _)| *id);
        let advise = |error: Error| match (told(error), parent_id) {
            (error, Some(parent)) if !heals => error.with_advice(&format!(
                "The {kind} backup can't build on snapshot {parent}. Make a full backup: it writes anew what was lost"
            )),
            (error, _) => error,
        };
        let merge = match &parent {
            Some((_, parent)) => {
                let extent = match options.compact {
                    true => Extent::Compact,
                    false if heals && lost.is_empty() && refers_to_lost(reader, writer, parent)? => Extent::All,
                    false => Extent::Due,
                };
                merge_policy::plan(reader, parent, &lost, extent).map_err(advise)?
            }
            None => Merge::default(),
        };
        let job = OpenNamespace {
            name: namespace.to_string(),
            kind,
            selection: source.selection(),
            parent: parent_id,
            merged: merge.all,
            source_time: 0,
            partitions: 0,
            unread: Vec::new(),
            run: None,
            value_bytes: 0,
            counts: Counts::default(),
            bad: Vec::new(),
            evidence: standing.as_ref().map(|standing| standing.evidence.clone()),
        };
        let taken = self.take_over(&job, source, standing.as_ref(), options)?;
        let Some(writer) = &self.writer else { return Err(Error::invalid("the session has ended")) };
        let reader = self.doomed_too.as_ref().unwrap_or(&self.reader);
        let write = |open, packs| self.note(open, packs);
        let notes = Notes { every: self.note_every, write: &write };
        let mut left = None;
        let (done, loss) = loop {
            let work = NamespaceWork {
                id: self.manifest.id,
                namespace,
                source,
                kind,
                parent: parent.clone(),
                lost: lost.clone(),
                merge: merge.clone(),
                options,
                reader,
                writer,
                cutter: self.repository.cutter(),
                evidence: job.evidence.clone(),
                doubts: doubts.as_ref(),
                left: left.as_ref(),
                taken: taken.as_ref(),
                notes: Some(&notes),
                control: &self.control,
            };
            let done = back_up(work).map_err(advise)?;
            match doubts.as_ref().and_then(|doubts| doubts.judge(namespace, &done.tally)) {
                // Once more, and what seems to be lost stays as the parent has it.
                Some(loss) if options.allow_partial && !options.accept_loss && left.is_none() => {
                    left = Some((loss.partitions, loss.problem));
                }
                Some(loss) if !options.accept_loss => {
                    let problem = format!("{}. {ACCEPT_LOSS}", loss.problem);
                    return Err(Error::Source { source_name: source.name().to_string(), problem });
                }
                loss => break (done, loss),
            }
        };
        let BackedUp { mut manifest, bad, missing: unread, warnings, tally: _, open } = done;
        missing.extend(unread);
        if manifest.evidence.is_some()
            && let Ok(Some(standing)) = source.standing(namespace)
        {
            // Whatever was read, the nodes that hold it now hold it.
            manifest.evidence = Some(standing.evidence);
        }
        self.warnings.extend(loss.map(|loss| format!("{}; it is taken for deleted", loss.problem)));
        // What belongs to the whole cluster is told with each of its namespaces.
        let mut warnings = warnings;
        warnings.retain(|warning| !self.warnings.contains(warning));
        self.warnings.append(&mut warnings);
        if !bad.is_empty() {
            let missing = match manifest.counts.bad {
                1 => format!("1 record of {namespace} that could not be understood"),
                count => format!("{count} records of {namespace} that could not be understood"),
            };
            self.manifest.missing.push(missing);
        }
        self.bad.extend(bad);
        self.manifest.missing.extend(missing);
        // Noted with the next note of a later namespace: its packs may still be open.
        if let Some(open) = open {
            let mut journal = lock(&self.journal);
            journal.namespaces.retain(|other| other.name != open.name);
            journal.namespaces.push(open);
        }
        self.add(manifest)
    }

    /// Where a salvage reads chunks, and where it writes them.
    pub(super) fn reader_and_writer(&self) -> Result<(&Arc<ChunkReader>, &ChunkWriter)> {
        let writer = self.writer.as_ref().ok_or_else(|| Error::invalid("the session has ended"))?;
        Ok((self.doomed_too.as_ref().unwrap_or(&self.reader), writer))
    }

    /// Seals what a salvage made of `original`: with its source and its labels, in its place in the order of snapshots.
    pub(super) fn seal_salvage(
        mut self,
        original: &Manifest,
        sealed: u64,
        salvage: Salvage,
        missing: Vec<String>,
        namespaces: Vec<NamespaceManifest>,
    ) -> Result<Snapshot> {
        let (id, host, program) = (self.id(), host(), program());
        // What the writer of a copy saw tells nothing of its place, which is the original's.
        let heads = if original.origin.is_none() { original.heads.as_slice() } else { &[] };
        let heads = heads.iter().copied().chain([original.id]).collect::<BTreeSet<_>>();
        self.manifest = Manifest {
            id,
            host,
            program,
            sealed,
            heads: heads.into_iter().collect(),
            salvage: Some(salvage),
            // What it holds is no longer what the original of a copy holds.
            origin: None,
            missing,
            namespaces,
            ..original.clone()
        };
        self.seal()
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
        // It is sealed, whatever happens now; this reader finds the new packs too, if more slowly.
        let chunks = self.repository.chunk_reader().unwrap_or_else(|_| self.reader.clone());
        Ok(Snapshot::new(chunks, self.manifest.clone()))
    }

    fn try_seal(&mut self) -> Result<()> {
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
            self.manifest.sealed = Timestamp::now().0;
        }
        self.control.check()?;
        let hold = match &self.hold {
            Some(reason) => Some(repository.place_hold(self.manifest.id, reason)?),
            None => None,
        };
        let sealed = objects::seal_snapshot(&*repository.store, &repository.keys, suite, &self.manifest);
        if let (Err(Error::Fenced { .. }), Some(hold)) = (&sealed, hold) {
            // Nothing is there that it could hold; were it left, the next collection would take it away.
            let _ = repository.store.delete(&names::hold(&hold.snapshot, &hold.id));
        }
        sealed
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
                true if self.manifest.origin.is_some() => {
                    self.manifest.namespaces.iter().map(|one| one.live_records).sum()
                }
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

/// What to do about what looks like a loss.
const ACCEPT_LOSS: &str = "If so, bring the data back first (aerolith restore), or leave these partitions as the last snapshot has them with \
                           --allow-partial. If it was meant, run the backup again with --accept-loss: what is gone then counts as deleted";

/// Looks at how a source stands before it is read. An error is what speaks against reading it; what speaks against calling the
/// snapshot whole is given back.
fn look_at(
    standing: &Standing,
    namespace: &str,
    parent: Option<&(SnapshotId, NamespaceManifest)>,
    options: &RecordOptions,
) -> Result<Option<String>, String> {
    // A set that an earlier backup found was emptied since, or went with a restart.
    if let (Some(problem), None) = (standing.unfound(namespace), parent) {
        return Err(problem);
    }
    let all = usize::from(PARTITIONS);
    let same = |evidence: &Evidence| evidence.epoch == standing.evidence.epoch && evidence.epoch != 0;
    let accepted = parent.is_some_and(|(_, parent)| parent.evidence.as_ref().is_some_and(same));
    // All of them are fresh in a cluster that was just made.
    if standing.fresh == 0 || standing.fresh >= all || accepted || options.accept_loss {
        return Ok(None);
    }
    let problem = format!(
        "namespace {namespace} may have lost data: when nodes came or went last, {} of {all} partitions had no copy left in the cluster, \
         and began anew, empty",
        standing.fresh
    );
    match options.allow_partial {
        true => Ok(Some(problem)),
        false => Err(format!(
            "{problem}. If nodes are missing, bring them back first. To back up what is there, run the backup again with --accept-loss"
        )),
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
