//! Copying snapshots into another repository, each by a session of its own there.
//!
//! Chunks keep their boundaries and get the names that the target's keys give them; runs and their trees keep their
//! shape, so that copies share what their originals share. Every body is read and has the hash that its entry says,
//! unless both repositories share their content keys; the entries have the state hash that the original's manifest
//! says. Memory: the caches of two readers, names of chunks at hand (some 150 MiB at most), 32 leaves and what they
//! use, and a writer's packs.

use super::session::{BackupSession, SessionOptions};
use crate::chunks::{ChunkReader, ChunkWriter};
use crate::control::Control;
use crate::crypto::keys::StateKey;
use crate::crypto::{Keys, random};
use crate::error::{Error, Result};
use crate::format::header::Class;
use crate::format::hold::Hold;
use crate::format::leaf::{Entry, LiveEntry};
use crate::format::session::SessionKind;
use crate::format::snapshot::{Manifest, NamespaceManifest, Origin, RunRef, Salvage, SnapshotState};
use crate::format::{ChunkId, HoldId, RepositoryId, SnapshotId, names};
use crate::objects;
use crate::plan::Plan;
use crate::record::{Digest, PartitionId, Timestamp};
use crate::repository::{LazyReader, Manifests, Memory, Repository, Root, Snapshot, SnapshotFilter, named, resolve};
use crate::run::{
    MergedCursor, RecordHash, RunCopy, StateSums, Transfer, ValuePlace, ValueReader, reach_run, write_run,
};
use crate::setters::setters;
use crate::sync::lock;
use rayon::Scope;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// Partitions whose sums other threads are making; past that the walking thread makes its own.
const MAX_SUMMING: usize = 8;

/// What to do about labels of a copy that can't be read.
const UNREAD_THERE: &str = "`aerolith repair`, run on that repository, deletes the object; then copy again";

/// Stands for the root of a run that the source does not have.
const NO_ROOT: ChunkId = ChunkId([0; 32]);

/// Which snapshots are copied.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct CopyOptions {
    /// These: ids or their beginnings, `latest`, `latest~N`, `@TIME`. All if empty.
    pub snapshots: Vec<String>,
    /// Those that are not named by their ids are looked for among these.
    pub filter: SnapshotFilter,
    /// Of those the ones that are newer than this: a time, or a snapshot's name.
    pub newer_than: Option<String>,
    /// Only say what would be done.
    dry_run: bool,
    /// Of those the ones that a plan showed, if given.
    only: Option<HashSet<SnapshotId>>,
}

setters!(CopyOptions {
    filter: SnapshotFilter,
} into {
    newer_than: Option<String>,
} each {
    snapshots: String => Vec<String>,
});

/// A snapshot that was copied, or would be.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CopiedSnapshot {
    /// The original, in the source.
    pub original: Snapshot,
    /// The copy's id; `None` in a plan.
    pub copy: Option<SnapshotId>,
    /// Chunks that were stored; in a plan, those that may have to be, at most.
    pub chunks: u64,
    /// Bytes that were read out of the source's packs; in a plan, the stored bytes of those chunks there.
    pub bytes_read: u64,
    /// Bytes that were stored in packs and index segments; 0 in a plan.
    pub stored_bytes: u64,
}

/// A snapshot that was not copied.
#[derive(Debug)]
#[non_exhaustive]
pub struct NotCopied {
    /// Its id in the source.
    pub snapshot: SnapshotId,
    /// Why.
    pub problem: String,
    /// Whether the source is damaged; else it was forgotten there meanwhile.
    pub damaged: bool,
}

/// What a copy did, or would do.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct CopyReport {
    /// What was copied, oldest first.
    pub copied: Vec<CopiedSnapshot>,
    /// What the target had before: ids in the source and in the target.
    pub present: Vec<(SnapshotId, SnapshotId)>,
    /// What was not copied, and why.
    pub not_copied: Vec<NotCopied>,
    /// Holds that were placed in the target on copies of held snapshots; 0 in a plan.
    pub holds: u64,
    /// Copies whose labels were brought up to date, since those of their originals were changed; 0 in a plan.
    pub labelled: u64,
}

/// What the target has.
#[derive(Default)]
struct Known {
    /// Its snapshots, by where they were first written.
    snapshots: HashMap<(RepositoryId, SnapshotId), SnapshotId>,
    /// Its runs, by the root that each has in the source.
    runs: HashMap<ChunkId, RunRef>,
}

impl Known {
    fn add(&mut self, manifest: &Manifest, here: RepositoryId, from: RepositoryId, alike: bool) {
        self.snapshots.insert(manifest.first_written(here), manifest.id);
        let runs = runs_of(manifest);
        if alike {
            self.runs.extend(runs.map(|run| (run.root, *run)));
        } else if let Some(origin) = manifest.origin.as_ref().filter(|origin| origin.from == from) {
            let named = origin.roots.iter().copied().zip(runs.copied());
            self.runs.extend(named.filter(|(root, _)| *root != NO_ROOT));
        }
    }
}

/// The runs of a snapshot, in the order of `Origin::roots`.
fn runs_of(manifest: &Manifest) -> impl Iterator<Item = &RunRef> {
    manifest.roots().into_iter().filter_map(|root| match root {
        // It is copied each time that its namespace is, and has no entries.
        Root::Metadata { .. } => None,
        Root::Run { run, .. } => Some(run),
    })
}

/// Whether a snapshot is new enough.
type IsNewer = Box<dyn Fn(&Manifest) -> bool>;

impl Repository {
    /// Copies snapshots into another repository, oldest first; what the target has is left alone. Killed at any point
    /// and run again, it goes on, and stores nothing twice. Each looks for copies that another call made meanwhile
    /// before it commits one; what the other commits after that look leaves two copies of a snapshot, which share their
    /// chunks.
    ///
    /// A snapshot of which something can't be read is not copied, and named in the report; the others are.
    ///
    /// # Errors
    ///
    /// If the target can't be written to, or a copy of a snapshot lost its session there.
    pub fn copy(&self, target: &Repository, options: &CopyOptions) -> Result<CopyReport> {
        let control = &self.control;
        if self.id == target.id {
            return Err(Error::usage(format!(
                "{} is repository {} itself, or a duplicate of its files, which holds the same snapshots: copy into \
                 one that was made by `aerolith init`",
                target.store.location(),
                self.id
            )));
        }
        let _part = control.part(format!("copying {} to {}", self.store.location(), target.store.location())).entered();
        // What is warned of in the target is told to whoever watches the copy.
        let target = &target.watched(control);
        let mut report = CopyReport::default();
        let mut chosen = self.chosen(options, &mut report)?;
        chosen.retain(|manifest| options.only.as_ref().is_none_or(|only| only.contains(&manifest.id)));
        let mut work = Copying {
            source: self,
            target,
            reader: self.chunk_reader()?,
            originals: self.lazy_reader(&chosen),
            alike: self.keys.shares_contents_with(&target.keys),
            known: Known::default(),
            whole: HashSet::new(),
            recovers: true,
            memory: Memory::default(),
            control,
        };
        let list = target.manifests_with(&mut work.memory)?;
        for (_, error) in &list.damaged {
            let then = "if it is a copy of a snapshot that was asked for, that is copied again";
            self.control.warn(format!("{error}; {then}"));
        }
        work.learn(&list.snapshots);
        let (present, wanted): (Vec<_>, Vec<_>) =
            chosen.into_iter().partition(|manifest| work.copy_of(manifest).is_some());
        report.present.extend(present.iter().filter_map(|manifest| Some((manifest.id, work.copy_of(manifest)?))));
        if options.dry_run {
            return work.plan(wanted, report);
        }
        work.expect(&wanted);
        for manifest in wanted {
            work.copy(manifest, &mut report)?;
        }
        let made = report.copied.iter().filter_map(|one| Some((one.original.id(), one.copy?)));
        let copies: HashMap<SnapshotId, SnapshotId> = made.chain(report.present.iter().copied()).collect();
        self.copy_holds(target, &copies, &mut report)?;
        self.copy_labels(target, &copies, &mut report)?;
        Ok(report)
    }

    /// What [`Repository::copy`] would do now. The plan, once executed, copies no other snapshots than those that it
    /// shows.
    ///
    /// # Errors
    ///
    /// If one of the stores can't be read, or a snapshot that was named is not found.
    pub fn copy_plan(&self, target: &Repository, options: &CopyOptions) -> Result<Plan<'static, CopyReport>> {
        let report = self.copy(target, &CopyOptions { dry_run: true, ..options.clone() })?;
        let shown = report.copied.iter().map(|one| one.original.id());
        let shown = shown.chain(report.present.iter().map(|(original, _)| *original)).collect();
        let options = CopyOptions { only: Some(shown), ..options.clone() };
        let (source, target) = (self.clone(), target.clone());
        Ok(Plan::new(report, move || source.copy(&target, &options)))
    }

    /// Tells the target which labels came and went here since the snapshots were committed.
    fn copy_labels(
        &self,
        target: &Repository,
        copies: &HashMap<SnapshotId, SnapshotId>,
        report: &mut CopyReport,
    ) -> Result<()> {
        for (original, standing) in objects::read_labels(&*self.store, &self.keys, names::TAGS)? {
            let Some(&copy) = copies.get(&original) else { continue };
            for (_, error) in &standing.damaged {
                self.control.warn(format!("{error}; its copy lacks them"));
            }
            match target.merge_labels(copy, &standing.changes) {
                Ok(changed) => report.labelled += u64::from(changed),
                Err(error) if error.is_of_one_object() || matches!(error, Error::Invalid(_)) => {
                    let there = target.store.location();
                    self.control.warn(match target.is_forgotten(&copy)? {
                        true => format!(
                            "snapshot {copy} of {there}, the copy of {original}, was forgotten meanwhile and got no \
                             labels. To have it again, run the copy again"
                        ),
                        false => format!(
                            "snapshot {copy} of {there} exists, but labels that came and went since its original \
                             {original} was committed were not brought up to date: {}",
                            error.with_advice(UNREAD_THERE)
                        ),
                    });
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Holds the copies of what is held here, for the same reasons. What is held so already is left alone.
    fn copy_holds(
        &self,
        target: &Repository,
        copies: &HashMap<SnapshotId, SnapshotId>,
        report: &mut CopyReport,
    ) -> Result<()> {
        for (original, id) in objects::list_holds(&*self.store, names::HOLDS)? {
            let Some(&copy) = copies.get(&original) else { continue };
            let found = match objects::read_hold(&*self.store, &self.keys, original, id) {
                Ok(Some(hold)) => hold,
                // Released since it was listed.
                Ok(None) => continue,
                Err(error) if error.is_of_one_object() => {
                    let then = format!("snapshot {original} is held all the same, and its copy is not");
                    self.control.warn(format!("{error}; {then}"));
                    continue;
                }
                Err(error) => return Err(error),
            };
            let mut there = objects::list_holds(&*target.store, &names::holds_of(&copy))?.into_iter();
            let is_same = |(snapshot, id): (SnapshotId, HoldId)| {
                let hold = objects::read_hold(&*target.store, &target.keys, snapshot, id);
                hold.is_ok_and(|hold| {
                    hold.is_some_and(|hold| (hold.placed, &hold.reason) == (found.placed, &found.reason))
                })
            };
            if there.any(is_same) {
                continue;
            }
            let hold = Hold { id: HoldId(random()?), snapshot: copy, ..found };
            objects::place_hold(&*target.store, &target.keys, target.parameters.suite, &hold)?;
            report.holds += 1;
        }
        if report.holds > 0 { target.store.sync() } else { Ok(()) }
    }

    /// Whether snapshots are newer than what `newer_than` names.
    fn newer(&self, list: &mut Manifests, options: &CopyOptions) -> Result<IsNewer> {
        let Some(named_by) = &options.newer_than else { return Ok(Box::new(|_| true)) };
        if let Some(time) = resolve::parse_begin(named_by.strip_prefix('@').unwrap_or(named_by)) {
            let times = list.times.clone();
            return Ok(Box::new(move |manifest| times.committed(manifest) > time));
        }
        let place = named(list, named_by, &options.filter)?.place();
        Ok(Box::new(move |manifest| manifest.place() > place))
    }

    /// The snapshots that are asked for, oldest first; those that can't be read go into the report.
    fn chosen(&self, options: &CopyOptions, report: &mut CopyReport) -> Result<Vec<Manifest>> {
        let mut list = self.manifests()?;
        let is_newer = self.newer(&mut list, options)?;
        if options.snapshots.is_empty() {
            let CopyOptions { filter, .. } = options;
            filter.check_cluster(list.snapshots.iter())?;
            if list.damaged.is_empty() {
                filter.check_any(&list.snapshots)?;
            }
            report.not_copied.extend(list.damaged.iter().map(|(id, error)| NotCopied {
                snapshot: *id,
                problem: error.to_string(),
                damaged: true,
            }));
            list.snapshots.retain(|manifest| filter.admits_manifest(manifest) && is_newer(manifest));
            return Ok(list.snapshots);
        }
        let mut chosen = BTreeMap::new();
        for spec in &options.snapshots {
            let manifest = named(&mut list, spec, &options.filter)?;
            resolve::doubts(spec, &list.times, manifest.id).iter().for_each(|doubt| self.control.warn(doubt));
            chosen.insert(manifest.place(), manifest);
        }
        Ok(chosen.into_values().filter(|manifest| is_newer(manifest)).collect())
    }
}

/// What copying needs, from one snapshot to the next.
struct Copying<'a> {
    source: &'a Repository,
    target: &'a Repository,
    /// Reads the source.
    reader: Arc<ChunkReader>,
    /// Reads it for whoever looks at what was copied.
    originals: Arc<LazyReader>,
    /// Whether both repositories share their content keys.
    alike: bool,
    known: Known,
    /// Roots of the target's runs that were found whole, or were written by now, outside of packs that a plan condemns.
    whole: HashSet<ChunkId>,
    /// Whether packs that a dead session left are still to be looked for.
    recovers: bool,
    /// What was read of the target's objects.
    memory: Memory,
    control: &'a Control,
}

/// How copying a snapshot ended that did not fail.
enum Ended {
    Committed(Box<Manifest>, u64),
    /// Another program copied it meanwhile.
    Present(SnapshotId),
}

impl Copying<'_> {
    fn learn(&mut self, manifests: &[Manifest]) {
        self.known = Known::default();
        manifests.iter().for_each(|manifest| self.known.add(manifest, self.target.id, self.source.id, self.alike));
    }

    /// A snapshot of the source, as the report names it.
    fn original(&self, manifest: Manifest) -> Snapshot {
        Snapshot::new(self.originals.clone(), manifest, self.source.control.clone())
    }

    fn copy_of(&self, original: &Manifest) -> Option<SnapshotId> {
        self.known.snapshots.get(&original.first_written(self.source.id)).copied()
    }

    /// Announces how many entries will be gone through, for progress.
    fn expect(&self, wanted: &[Manifest]) {
        let mut told = HashSet::new();
        let fresh = wanted
            .iter()
            .flat_map(runs_of)
            .filter(|run| !self.known.runs.contains_key(&run.root) && told.insert(run.root));
        self.control.add_total_records(fresh.map(|run| run.entries).sum());
    }

    /// What copying would take.
    fn plan(&self, wanted: Vec<Manifest>, mut report: CopyReport) -> Result<CopyReport> {
        let there = if self.alike { Some(self.target.chunk_reader()?) } else { None };
        let mut seen = HashSet::new();
        for original in wanted {
            let mut chunks: Vec<ChunkId> = Vec::new();
            let mut lost = None;
            for root in original.roots() {
                self.control.check()?;
                let is_there = match root {
                    Root::Metadata { .. } => false,
                    Root::Run { run, .. } => self.known.runs.contains_key(&run.root),
                };
                if !is_there {
                    let mut each = |id: ChunkId, _: Class| chunks.push(id);
                    root.reach(&self.reader, &mut seen, &mut each, &mut |loss| lost = lost.take().or(Some(loss)))?;
                }
            }
            if let Some(loss) = lost {
                let (snapshot, problem) = (original.id, loss.to_string());
                report.not_copied.push(NotCopied { snapshot, problem, damaged: true });
                continue;
            }
            let original = self.original(original);
            let mut planned = CopiedSnapshot { original, copy: None, chunks: 0, bytes_read: 0, stored_bytes: 0 };
            for id in chunks {
                if let Some(there) = &there
                    && there.index().contains(&**there.store(), &id)?
                {
                    continue;
                }
                planned.chunks += 1;
                planned.bytes_read += self.reader.locate(&id)?.first().map_or(0, |at| u64::from(at.place.stored));
            }
            report.copied.push(planned);
        }
        Ok(report)
    }

    /// Copies a snapshot; what is wrong with the source goes into the report.
    fn copy(&mut self, original: Manifest, report: &mut CopyReport) -> Result<()> {
        self.control.check()?;
        let id = original.id;
        let job = format!("copy of snapshot {id} from {}", self.source.store.location());
        let about = SessionOptions { job, ..SessionOptions::default() };
        let template = self.template(&original)?;
        let mut session = self.target.begin_with(SessionKind::Other, about, template, &mut self.memory)?;
        self.learn(session.parents());
        if session.writer()?.reader().index().excludes_any() {
            // What was whole for an earlier session may stand in packs that were condemned since, or are gone.
            self.whole.clear();
        }
        let before = self.reader.fetched_bytes();
        let filled = self.fill(&mut session, &original);
        let done = match filled.map_err(|error| self.target.unless_fenced(session.id(), error)) {
            Ok(Some(copy)) => {
                session
                    .abandon(&Error::invalid(format!("snapshot {copy} is a copy that another program made meanwhile")));
                Ended::Present(copy)
            }
            Ok(None) => {
                let chunks = session.writer()?.written_chunks();
                Ended::Committed(Box::new(session.commit()?.manifest().clone()), chunks)
            }
            Err(error) if error.is_of_one_object() => {
                session.abandon(&error);
                let forgotten = self.source.state_of(&id)? == Some(SnapshotState::Forgotten);
                let problem = match forgotten {
                    true => format!("it was forgotten while it was copied ({error})"),
                    false => error.to_string(),
                };
                report.not_copied.push(NotCopied { snapshot: id, problem, damaged: !forgotten });
                return Ok(());
            }
            Err(error) => {
                session.abandon(&error);
                return Err(error);
            }
        };
        match done {
            Ended::Present(copy) => report.present.push((id, copy)),
            Ended::Committed(manifest, chunks) => {
                self.recovers = false;
                self.known.add(&manifest, self.target.id, self.source.id, self.alike);
                self.whole.extend(runs_of(&manifest).map(|run| run.root));
                let bytes_read = self.reader.fetched_bytes().saturating_sub(before);
                let (copy, stored_bytes) = (Some(manifest.id), manifest.stored_bytes);
                let original = self.original(original);
                report.copied.push(CopiedSnapshot { original, copy, chunks, bytes_read, stored_bytes });
            }
        }
        Ok(())
    }

    /// The copy's manifest before anything was copied.
    fn template(&self, original: &Manifest) -> Result<Manifest> {
        let (repository, place) = original.first_place(self.source.id);
        let (from, copied) = (self.source.id, Timestamp::now().0);
        // All fields are named: one that refers to chunks of the source would say something else in the target.
        Ok(Manifest {
            id: objects::new_id()?,
            started: original.started,
            committed: original.committed,
            sequence: original.sequence,
            host: original.host.clone(),
            program: original.program.clone(),
            source: original.source.clone(),
            cluster: original.cluster.clone(),
            tags: original.tags.clone(),
            heads: Vec::new(),
            index_segments: 0,
            stored_bytes: 0,
            missing: original.missing.clone(),
            salvage: original.salvage.map(|salvage| Salvage { original: self.name_of(salvage.original), ..salvage }),
            origin: Some(Origin {
                repository,
                snapshot: place.id,
                sequence: place.sequence,
                from,
                copied,
                roots: Vec::new(),
            }),
            namespaces: Vec::new(),
        })
    }

    /// Copies what a snapshot refers to; gives back the id of a copy that is there already.
    fn fill(&mut self, session: &mut BackupSession, original: &Manifest) -> Result<Option<SnapshotId>> {
        if let Some(copy) = self.copy_of(original) {
            return Ok(Some(copy));
        }
        if self.recovers {
            // What a copy that died left behind is not stored again: the session names those packs in its own index
            // segments.
            let reader = session.writer()?.reader();
            reader.index().recover(&**reader.store(), reader.keys())?;
        }
        let as_packed = self.source.parameters.compression == self.target.parameters.compression;
        let source = self.reader.clone();
        let mut roots = Vec::new();
        for namespace in &original.namespaces {
            let (copy, more) = {
                let transfer = Transfer::new(&source, session.writer()?, as_packed, self.control);
                self.namespace(&transfer, original, namespace, session.id())?
            };
            roots.extend(more);
            session.add(copy);
        }
        session.set_roots(roots);
        // Two copies at once would otherwise leave two snapshots for each.
        let seen: HashSet<SnapshotId> = session.parents().iter().map(|manifest| manifest.id).collect();
        let states = objects::list_states(&*self.target.store, &self.target.keys)?;
        for id in states.with(SnapshotState::Committed).filter(|id| !seen.contains(id)) {
            match objects::read_manifest(&*self.target.store, &self.target.keys, id) {
                Ok(manifest) if manifest.first_written(self.target.id) == original.first_written(self.source.id) => {
                    return Ok(Some(id));
                }
                Ok(_) => {}
                Err(error) if error.is_of_one_object() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Copies a namespace; gives back the roots that the runs of the copy have in the source too.
    fn namespace(
        &mut self,
        transfer: &Transfer<'_>,
        original: &Manifest,
        namespace: &NamespaceManifest,
        own: SnapshotId,
    ) -> Result<(NamespaceManifest, Vec<ChunkId>)> {
        let of = |error: Error| match error {
            Error::Damaged { object, found, advice } => {
                let whose = format!("namespace {} of snapshot {}", namespace.name, original.id);
                Error::Damaged { object, found: format!("{found} ({whose})"), advice }
            }
            error => error,
        };
        let mut unusable = HashSet::new();
        let (runs, roots, walked) = loop {
            let again = self.again(transfer, namespace, &unusable)?;
            let mut runs = Vec::with_capacity(namespace.runs.len());
            let begun =
                namespace.runs.iter().try_for_each(|run| self.run(transfer, run, &again).map(|run| runs.push(run)));
            match begun.and_then(|()| walk(transfer, &mut runs)) {
                Ok(walked) => {
                    let runs = runs.into_iter().map(RunCopy::finish).collect::<Result<Vec<_>>>()?;
                    break (runs, namespace.runs.iter().map(|run| run.root).collect(), walked);
                }
                Err(error) => {
                    // A copy that an earlier snapshot has is damaged: this one is rewritten, and so heals.
                    let Some(at) = runs.iter().position(RunCopy::found_copy_damaged) else {
                        if !error.is_of_one_object() || !self.lost_values(namespace)? {
                            return Err(of(error));
                        }
                        // What can't be read may have been needed by older versions of records alone: then the others
                        // make one run.
                        let (run, walked) = match self.merged(transfer, namespace) {
                            Err(again) if again.is_of_one_object() => return Err(of(error)),
                            merged => merged?,
                        };
                        break (Vec::from_iter(run), vec![NO_ROOT; usize::from(run.is_some())], walked);
                    };
                    self.control.warn(format!("{error}; what was damaged there is rewritten"));
                    unusable.extend(namespace.runs.get(at).map(|run| run.root));
                }
            }
        };
        let expected = (namespace.live_records, namespace.live_bytes, namespace.state_hash);
        let found = (walked.records, walked.bytes, walked.source_hash);
        if found != expected {
            let text = |(records, bytes, hash): (u64, u64, [u8; 32])| {
                format!("{records} records of {bytes} bytes with state hash {}", hex::encode(hash))
            };
            let object = format!("namespace {} of snapshot {}", namespace.name, original.id);
            let found = format!("its runs hold {}, its manifest says {}", text(found), text(expected));
            return Err(Error::damaged(object, found));
        }
        let metadata = namespace.metadata.iter().map(|id| transfer.take(Class::Tree, id, false));
        let full = if namespace.full == original.id { own } else { self.name_of(namespace.full) };
        // All fields are named: one that refers to chunks of the source would say something else in the target.
        let copy = NamespaceManifest {
            name: namespace.name.clone(),
            kind: namespace.kind,
            source_time: namespace.source_time,
            parent: namespace.parent.map(|parent| self.name_of(parent)),
            full,
            deletes_unknown: namespace.deletes_unknown,
            search: namespace.search.clone(),
            selection: namespace.selection.clone(),
            unread: namespace.unread.clone(),
            runs,
            live_records: namespace.live_records,
            live_bytes: namespace.live_bytes,
            reached_bytes: namespace.reached_bytes,
            state_hash: walked.target_hash,
            metadata: metadata.collect::<Result<_>>()?,
            counts: namespace.counts,
            evidence: namespace.evidence.clone(),
        };
        Ok((copy, roots))
    }

    /// Whether values were asked for of which no whole copy was found, and that these runs refer to.
    fn lost_values(&self, namespace: &NamespaceManifest) -> Result<bool> {
        let (mut seen, mut lost) = (HashSet::new(), false);
        for root in namespace.roots() {
            match root {
                Root::Metadata { .. } => continue,
                Root::Run { .. } => {}
            }
            let each = &mut |id, class| lost |= class == Class::Data && self.reader.is_damaged(&id);
            root.reach(&self.reader, &mut seen, each, &mut |_| {})?;
        }
        Ok(lost)
    }

    /// Copies the entries of a namespace that no newer ones hide as one run.
    fn merged(
        &self,
        transfer: &Transfer<'_>,
        namespace: &NamespaceManifest,
    ) -> Result<(Option<RunRef>, SummedNamespace)> {
        let (source, target) = (transfer.source(), transfer.target());
        let (hashes, source_states, target_states) =
            (target.keys().records()?, source.keys().states()?, target.keys().states()?);
        let (mut source_sums, mut target_sums) = (StateSums::default(), StateSums::default());
        let (mut records, mut bytes) = (0, 0);
        let mut values = ValueReader::new(source);
        let (run, _, ()) = write_run(target, self.target.cutter(), |feeder| {
            let mut entries = MergedCursor::live(source, &namespace.runs)?;
            while let Some(Entry { digest, live }) = entries.next()? {
                self.control.check()?;
                let Some(live) = live else { continue };
                let hash = hashes.hash(&live.set, values.body(&live)?);
                let take = |id: &ChunkId| transfer.take(Class::Data, id, false);
                let place = ValuePlace {
                    chunk: take(&live.place.chunk)?,
                    more: live.place.more.iter().map(take).collect::<Result<_>>()?,
                    ..live.place
                };
                records += 1;
                bytes += u64::from(live.place.length);
                source_sums.add(source_states, &digest, &live.hash);
                target_sums.add(target_states, &digest, &hash);
                feeder.entry(Entry { digest, live: Some(LiveEntry { hash, place, ..live }) })?;
                self.control.add_records(1);
            }
            Ok(())
        })?;
        let (source_hash, target_hash) = (source_sums.hash(source_states), target_sums.hash(target_states));
        Ok((run, SummedNamespace { records, bytes, source_hash, target_hash }))
    }

    /// The id of an earlier snapshot's copy, or its own where there is none.
    fn name_of(&self, original: SnapshotId) -> SnapshotId {
        let there = objects::read_manifest(&*self.source.store, &self.source.keys, original).ok();
        let first = there.map_or((self.source.id, original), |manifest| manifest.first_written(self.source.id));
        self.known.snapshots.get(&first).copied().unwrap_or(original)
    }

    /// The runs of a namespace, and of what it builds on, of which the target has whole copies; with those.
    fn again(
        &mut self,
        transfer: &Transfer<'_>,
        namespace: &NamespaceManifest,
        unusable: &HashSet<ChunkId>,
    ) -> Result<Vec<(RunRef, RunRef)>> {
        if self.alike {
            return Ok(Vec::new());
        }
        let parent = namespace.parent.and_then(|id| {
            let manifest = objects::read_manifest(&*self.source.store, &self.source.keys, id).ok()?;
            manifest.namespace(&namespace.name).cloned()
        });
        let runs = namespace.runs.iter().chain(parent.iter().flat_map(|parent| &parent.runs));
        let mut again: Vec<(RunRef, RunRef)> = Vec::new();
        for run in runs.filter(|run| !unusable.contains(&run.root)) {
            let Some(copy) = self.known.runs.get(&run.root) else { continue };
            if again.iter().any(|(known, _)| known.root == run.root) {
                continue;
            }
            if self.whole.contains(&copy.root) || is_whole(transfer.target(), copy)? {
                self.whole.insert(copy.root);
                again.push((*run, *copy));
            }
        }
        Ok(again)
    }

    /// Begins with a run: beside the copy that the target has of it, if that is whole.
    fn run<'t>(&self, transfer: &'t Transfer<'t>, run: &RunRef, again: &[(RunRef, RunRef)]) -> Result<RunCopy<'t>> {
        if self.alike {
            return RunCopy::write(transfer, run, self.known.runs.contains_key(&run.root), Vec::new());
        }
        match again.iter().find(|(known, _)| known.root == run.root) {
            Some((_, copy)) => RunCopy::beside(transfer, run, copy),
            None => RunCopy::write(transfer, run, false, again.to_vec()),
        }
    }
}

/// Whether all chunks that a run of the target refers to can be had there; those of entries are read once they are
/// walked.
fn is_whole(target: &ChunkWriter, run: &RunRef) -> Result<bool> {
    let (mut reached, mut whole) = (Vec::new(), true);
    reach_run(target.reader(), run, &mut HashSet::new(), &mut |id, _| reached.push(id), &mut |_| whole = false)?;
    for id in reached {
        if !whole || !target.has(&id)? {
            return Ok(false);
        }
    }
    Ok(whole)
}

/// What walking the runs of a namespace came to.
struct SummedNamespace {
    records: u64,
    bytes: u64,
    source_hash: [u8; 32],
    target_hash: [u8; 32],
}

/// The live records of one partition.
type Live = Vec<(Digest, RecordHash)>;

/// Adds up what partitions hold, in both repositories.
struct Summing<'a> {
    source: Side<'a>,
    /// None where it has the same hashes as the source.
    target: Option<Side<'a>>,
    at_work: AtomicUsize,
}

/// The sums of one repository.
struct Side<'a> {
    key: &'a StateKey,
    sums: Mutex<StateSums>,
}

impl<'a> Side<'a> {
    fn new(keys: &'a Keys) -> Result<Self> {
        Ok(Side { key: keys.states()?, sums: Mutex::default() })
    }

    fn add(&self, partition: PartitionId, live: &[(Digest, RecordHash)]) {
        let sum = StateSums::sum(self.key, live);
        lock(&self.sums).set(partition, sum);
    }

    fn hash(self) -> [u8; 32] {
        self.sums.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner).hash(self.key)
    }
}

impl Summing<'_> {
    fn add(&self, partition: PartitionId, source: &[(Digest, RecordHash)], target: &[(Digest, RecordHash)]) {
        self.source.add(partition, source);
        if let Some(side) = &self.target {
            side.add(partition, target);
        }
        self.at_work.fetch_sub(1, Ordering::Relaxed);
    }

    /// Adds up a partition, on another thread if there are some to spare.
    fn partition<'s>(&'s self, scope: &Scope<'s>, partition: PartitionId, source: Live, target: Live) {
        if self.at_work.fetch_add(1, Ordering::Relaxed) < MAX_SUMMING {
            scope.spawn(move |_| self.add(partition, &source, &target));
        } else {
            self.add(partition, &source, &target);
        }
    }
}

/// Walks runs, given newest first, side by side, and so copies them; makes the state hashes of what they hold together.
fn walk(transfer: &Transfer<'_>, runs: &mut [RunCopy<'_>]) -> Result<SummedNamespace> {
    let target = match transfer.is_alike() {
        true => None,
        false => Some(Side::new(transfer.target().keys())?),
    };
    let summing = Summing { source: Side::new(transfer.source().keys())?, target, at_work: AtomicUsize::new(0) };
    let (mut records, mut bytes) = (0, 0);
    rayon::in_place_scope(|scope| -> Result<()> {
        let (mut partition, mut source, mut target) = (None, Live::new(), Live::new());
        while let Some(digest) = smallest(runs)? {
            if let Some(done) = partition.replace(digest.partition()).filter(|done| *done != digest.partition()) {
                summing.partition(scope, done, std::mem::take(&mut source), std::mem::take(&mut target));
            }
            let mut newest = None;
            for run in &mut *runs {
                if run.peek()?.is_some_and(|copied| copied.entry.digest == digest) {
                    let copied = run.next()?;
                    newest = newest.or(copied);
                }
            }
            if let Some(copied) = newest
                && let Some(live) = &copied.entry.live
            {
                records += 1;
                bytes += u64::from(live.place.length);
                source.push((digest, live.hash));
                if !transfer.is_alike() {
                    target.push((digest, copied.hash));
                }
            }
        }
        if let Some(done) = partition {
            summing.partition(scope, done, source, target);
        }
        Ok(())
    })?;
    let source_hash = summing.source.hash();
    let target_hash = summing.target.map_or(source_hash, Side::hash);
    Ok(SummedNamespace { records, bytes, source_hash, target_hash })
}

/// The first key that is still to come in any run.
fn smallest(runs: &mut [RunCopy<'_>]) -> Result<Option<Digest>> {
    let mut smallest: Option<Digest> = None;
    for run in runs {
        if let Some(copied) = run.peek()?
            && smallest.is_none_or(|digest| copied.entry.digest.sort_key() < digest.sort_key())
        {
            smallest = Some(copied.entry.digest);
        }
    }
    Ok(smallest)
}
