//! Backing up a namespace of records in a session.

use super::loss::{Doubts, SourceLoss};
use super::merge_policy::{self, Extent, Merge};
use super::records::back_up;
use super::resume::{Notes, SameJob, TakenOver, adopt, finished};
use super::work::{BackedUp, NamespaceWork, RecordOptions};
use crate::chunks::{ChunkReader, ChunkWriter};
use crate::error::{Error, Result};
use crate::format::SnapshotId;
use crate::format::evidence::Evidence;
use crate::format::header::Class;
use crate::format::session::OpenNamespace;
use crate::format::snapshot::{BackupKind, Counts, NamespaceManifest};
use crate::record::{PARTITIONS, RecordSelection};
use crate::repository::{RecordCounts, Root};
use crate::run::{Losses, survey};
use crate::session::{BackupSession, Resumed};
use crate::sources::{BadRecord, RecordSource, SourceShape, Standing};
use std::collections::HashSet;

/// A namespace of which more than half of the records are gone since its parent.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
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
    /// The namespaces so far of which more than half of the parent's records are gone. That happens, but it is also
    /// what a backup of another database under the same name looks like, or one of a source that lost data.
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

    /// Backs up the records of a namespace.
    ///
    /// # Errors
    ///
    /// If neither the session nor the source names the cluster, if there is no snapshot that an incremental backup
    /// could build on, or if the source can't be read or the store not written. What looks like a loss of the source's
    /// rather than deletes ends the backup unless the options say otherwise.
    pub fn records(
        &mut self,
        namespace: &str,
        source: &dyn RecordSource,
        kind: BackupKind,
        options: &RecordOptions,
    ) -> Result<RecordCounts> {
        self.learn_from(source)?;
        let _part = self.control.part(format!("backing up namespace {namespace} of {}", source.name())).entered();
        let parent = self.choose_parent(namespace, source, kind, options)?;
        self.worker()?;
        if self.manifest.namespace(namespace).is_some() {
            return Err(Error::invalid(format!(
                "namespace {namespace} is in this snapshot already; a second one needs another session"
            )));
        }
        let standing = source.standing(namespace)?;
        let not_whole = match &standing {
            Some(standing) => look_at(standing, namespace, parent.as_ref(), options)
                .map_err(|problem| Error::Source { source_name: source.name().to_string(), problem })?,
            None => None,
        };
        let doubts = Doubts::of(parent.as_ref(), standing.as_ref(), source.clock()?);
        // Only a backup that reads every record can make up for what the parent has lost.
        let heals = kind == BackupKind::Full && !options.partial;
        let mut job = Job { namespace, source, kind, options, parent, heals, standing, doubts };
        let (lost, merge) = self.prepare_parent(&mut job)?;
        let open = job.open(merge.all);
        let taken = self.resume(&open, &job)?;
        let (done, loss) = self.read(&job, lost, merge, taken.as_ref(), &open)?;
        self.conclude(&job, done, loss, not_whole)
    }

    fn newest_parent(&self, namespace: &str, selection: &str, full: bool) -> Option<Parent> {
        self.parents.iter().rev().filter(|parent| parent.cluster == self.manifest.cluster).find_map(|parent| {
            let found = parent.namespace(namespace)?;
            let builds = found.selection == selection && (!full || found.kind == BackupKind::Full);
            builds.then(|| (parent.id, found.clone()))
        })
    }

    /// When the newest snapshot began, the parent or one before it, since which no node can have brought back anything
    /// older: the cluster was settled, and all nodes of now were in it. 0 if there is none.
    fn known_until(&self, job: &Job<'_>, now: &Evidence) -> u64 {
        let Some((parent, _)) = &job.parent else { return 0 };
        let selection = job.source.selection();
        let of_cluster = self.parents.iter().rev().filter(|one| one.cluster == self.manifest.cluster);
        let up_to_parent = of_cluster.skip_while(|one| one.id != *parent);
        let of_selection = up_to_parent.filter_map(|one| one.namespace(job.namespace));
        for one in of_selection.filter(|one| one.selection == selection) {
            let vouches = |then: &Evidence| then.settled && then.had_nodes_of(now);
            let settled = one.evidence.as_ref().is_some_and(vouches);
            if settled && one.unread.is_empty() {
                return one.source_time;
            }
            // In place of what was known before it took whatever nodes answered with.
            if !settled && one.kind == BackupKind::Full {
                return 0;
            }
        }
        0
    }

    /// The snapshot that the backup builds on, if any.
    fn choose_parent(
        &self,
        namespace: &str,
        source: &dyn RecordSource,
        kind: BackupKind,
        options: &RecordOptions,
    ) -> Result<Option<Parent>> {
        let parent = self.newest_parent(namespace, &source.selection(), kind == BackupKind::Differential);
        if options.partial
            && let Some((parent, _)) = &parent
            && let Some(salvage) = self.parents.iter().find(|one| one.id == *parent).and_then(|one| one.salvage)
            && salvage.records_lost > 0
        {
            return Err(Error::invalid(format!(
                "snapshot {parent} is what a repair could save of snapshot {}: {} records are gone, and a source that \
                 holds only what changed doesn't bring them back. Make a full backup",
                salvage.original, salvage.records_lost
            )));
        }
        if parent.is_none() && kind != BackupKind::Full {
            let selected = match source.selection() {
                all if all.is_empty() => String::new(),
                some => format!(", {some},"),
            };
            return Err(Error::invalid(format!(
                "there is no earlier snapshot of namespace {namespace}{selected} of cluster {:?} that this {kind} \
                 backup could build on. Make a full one first",
                self.manifest.cluster
            )));
        }
        Ok(parent)
    }

    /// Makes sure that what the parent's runs refer to can be referred to, finds what is lost of them, and plans their
    /// merge. A backup that heals goes on without a parent that can't be read.
    fn prepare_parent(&mut self, job: &mut Job<'_>) -> Result<(Losses, Merge)> {
        let Some((id, parent)) = job.parent.take() else { return Ok((Losses::default(), Merge::default())) };
        let worker = self.worker()?;
        let (kind, namespace) = (job.kind, job.namespace);
        match worker.rescue_condemned(&parent).map_err(|error| self.unless_fenced(error)) {
            Ok(()) => {}
            Err(error) if error.is_of_one_object() && job.heals => {
                self.control.warn(format!("{error}; this backup doesn't build on snapshot {id}, and reads everything"));
                return Ok((Losses::default(), Merge::default()));
            }
            Err(error) if error.is_of_one_object() => {
                return Err(error.with_advice(&format!(
                    "A prune is moving what snapshot {id} needs: run the {kind} backup again once it has ended"
                )));
            }
            Err(error) => return Err(error),
        }
        let (reader, writer) = (worker.reader(), worker.writer());
        let lost = if job.heals { survey(reader, &parent.runs)? } else { Losses::default() };
        let extent = match job.options.compact {
            true => Extent::Compact,
            false if job.heals && lost.is_empty() && refers_to_lost(reader, writer, &parent)? => Extent::All,
            false => Extent::Due,
        };
        let merge =
            merge_policy::plan(reader, &parent, &lost, extent).map_err(|error| self.advise(error, job, Some(id)))?;
        for loss in &lost.named {
            let text = format!("namespace {namespace} of snapshot {id}: {loss}; all entries are rewritten");
            self.control.warn(text);
        }
        job.parent = Some((id, parent));
        Ok((lost, merge))
    }

    /// What stopped this session in reading the repository: that it was fenced, if so.
    fn unless_fenced(&self, error: Error) -> Error {
        self.repository.unless_fenced(self.manifest.id, error)
    }

    /// Tells what to do when the parent turns out to be damaged.
    fn advise(&self, error: Error, job: &Job<'_>, parent: Option<SnapshotId>) -> Error {
        let error = self.unless_fenced(error);
        match parent {
            Some(parent) if !job.heals => error.with_advice(&format!(
                "The {} backup can't build on snapshot {parent}. Make a full backup: it rewrites what was lost",
                job.kind
            )),
            _ => error,
        }
    }

    /// Takes over what an earlier session of the same job finished of a namespace.
    fn resume(&mut self, open: &OpenNamespace, job: &Job<'_>) -> Result<Option<OpenNamespace>> {
        let (SourceShape::Partitioned(_), false) = (job.source.shape(), self.stopped.is_empty()) else {
            return Ok(None);
        };
        let same = SameJob {
            cluster: &self.manifest.cluster,
            namespace: open,
            skips_bad_records: job.options.skip_bad_records,
            now: job.source.clock()?,
            standing: job.standing.as_ref(),
        };
        let worker = self.worker()?;
        let taken = match adopt(&self.stopped, same, worker.existing(), worker.writer(), &self.control) {
            Ok(taken) => taken,
            Err(error) if error.is_of_one_object() => {
                let left = "what that session left can't be resumed, and everything is read again";
                self.control.warn(format!("{error}; {left}"));
                None
            }
            Err(error) => return Err(error),
        };
        let resumed = taken.map(|TakenOver { from, open, packs }| {
            self.journal.adopt(&packs);
            // If this session is killed at once, the next one resumes at the same place.
            self.journal.note(open.clone(), worker.writer().stored_packs());
            (Resumed { session: from, namespace: open.name.clone(), partitions: finished(&open).len() }, open)
        });
        Ok(resumed.map(|(resumed, open)| {
            self.resumed.push(resumed);
            open
        }))
    }

    /// Reads and writes the namespace, and judges what is gone. Where partitions may be left out it does so once more,
    /// without those that seem to have lost something.
    fn read(
        &self,
        job: &Job<'_>,
        lost: Losses,
        merge: Merge,
        taken: Option<&OpenNamespace>,
        open: &OpenNamespace,
    ) -> Result<(BackedUp, Option<SourceLoss>)> {
        let worker = self.worker()?;
        let write = |open, packs| self.journal.note(open, packs);
        let notes = Notes { every: self.journal.every(), write: &write };
        let (options, doubts) = (job.options, job.doubts.as_ref());
        let mut left = None;
        loop {
            let work = NamespaceWork {
                id: self.manifest.id,
                namespace: job.namespace,
                source: job.source,
                kind: job.kind,
                parent: job.parent.clone(),
                lost: lost.clone(),
                merge: merge.clone(),
                options,
                reader: worker.reader(),
                writer: worker.writer(),
                cutter: self.repository.cutter(),
                evidence: open.evidence.clone(),
                known_until: open.evidence.as_ref().map_or(0, |now| self.known_until(job, now)),
                doubts,
                left: left.as_ref(),
                taken,
                notes: Some(&notes),
                control: &self.control,
            };
            let parent = job.parent.as_ref().map(|(id, _)| *id);
            let done = back_up(work).map_err(|error| self.advise(error, job, parent))?;
            match doubts.and_then(|doubts| doubts.judge(job.namespace, &done.tally)) {
                // Once more, and what seems to be lost stays as the parent has it.
                Some(loss) if options.allow_partial && !options.accept_loss && left.is_none() => {
                    left = Some((loss.partitions, loss.problem));
                }
                Some(loss) if !options.accept_loss => {
                    return Err(job.error(format!("{}. {ACCEPT_LOSS}", loss.problem)));
                }
                loss => return Ok((done, loss)),
            }
        }
    }

    /// Puts what was backed up into the manifest, and tells what is missing of it.
    fn conclude(
        &mut self,
        job: &Job<'_>,
        done: BackedUp,
        loss: Option<SourceLoss>,
        not_whole: Option<String>,
    ) -> Result<RecordCounts> {
        let namespace = job.namespace;
        let BackedUp { mut manifest, bad, missing: unread, tally: _, open } = done;
        // An earlier backup of the same selection found something; now it may all be deleted.
        if job.parent.is_none()
            && RecordSelection::must_find(&manifest.selection)
            && manifest.live_records == 0
            && bad.is_empty()
            && unread.is_none()
        {
            let selection = &manifest.selection;
            return Err(job.error(format!("namespace {namespace} has no record of what is selected ({selection})")));
        }
        if manifest.evidence.is_some()
            && let Ok(Some(standing)) = job.source.standing(namespace)
        {
            // Whatever was read, the nodes that hold it now hold it.
            let began = manifest.evidence.as_ref();
            let settled = standing.evidence.settled
                && began.is_some_and(|began| began.why_filters_miss(&standing.evidence).is_none());
            manifest.evidence = Some(Evidence { settled, ..standing.evidence });
        }
        if let Some(loss) = loss {
            self.control.warn(format!("{}; it is treated as deleted", loss.problem));
        }
        job.source.notes().into_iter().for_each(|note| self.control.warn(note));
        if !bad.is_empty() {
            self.manifest.missing.push(unparsed(namespace, manifest.counts.bad, &bad));
        }
        self.bad.extend(bad);
        self.manifest.missing.extend(not_whole.into_iter().chain(unread));
        if let Some(open) = open {
            self.journal.keep(open);
        }
        let counts = manifest.counts.into();
        self.add(manifest);
        Ok(counts)
    }
}

/// Says how many records could not be parsed, and whether there may be more that nobody has seen.
fn unparsed(namespace: &str, count: u64, bad: &[BadRecord]) -> String {
    let records = if count == 1 { "1 record".to_string() } else { format!("{count} records") };
    let ends: Vec<&str> = bad.iter().filter(|bad| bad.breaks_off).map(|bad| &*bad.place).take(NAMED_ENDS).collect();
    let more = bad.iter().filter(|bad| bad.breaks_off).count() - ends.len();
    let and_more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let after = match &ends[..] {
        [] => String::new(),
        ends => format!(", and everything after {}{and_more}, where the text breaks off", ends.join(", ")),
    };
    format!("{records} of {namespace} that could not be parsed{after}")
}

/// So many files whose text breaks off are named.
const NAMED_ENDS: usize = 3;

/// The snapshot that a backup builds on, and its part of this namespace.
type Parent = (SnapshotId, NamespaceManifest);

/// What is backed up, from where, and what it builds on.
struct Job<'a> {
    namespace: &'a str,
    source: &'a dyn RecordSource,
    kind: BackupKind,
    options: &'a RecordOptions,
    parent: Option<Parent>,
    /// Whether every record is read, so that what the parent has lost is made up for.
    heals: bool,
    standing: Option<Standing>,
    doubts: Option<Doubts>,
}

impl Job<'_> {
    /// What a journal says of this job before anything was read.
    fn open(&self, merged: bool) -> OpenNamespace {
        OpenNamespace {
            name: self.namespace.to_string(),
            kind: self.kind,
            selection: self.source.selection(),
            parent: self.parent.as_ref().map(|(id, _)| *id),
            merged,
            source_time: 0,
            partitions: 0,
            unread: Vec::new(),
            run: None,
            value_bytes: 0,
            counts: Counts::default(),
            bad: Vec::new(),
            evidence: self.standing.as_ref().map(|standing| standing.evidence.clone()),
        }
    }

    fn error(&self, problem: String) -> Error {
        Error::Source { source_name: self.source.name().to_string(), problem }
    }
}

/// Whether the runs refer to values that can't be had.
fn refers_to_lost(reader: &ChunkReader, writer: &ChunkWriter, parent: &NamespaceManifest) -> Result<bool> {
    let mut seen = HashSet::new();
    for root in parent.roots() {
        match root {
            // The backup writes its own.
            Root::Metadata { .. } => continue,
            Root::Run { .. } => {}
        }
        let mut reached = Vec::new();
        let each = &mut |id, class| reached.extend((class == Class::Data).then_some(id));
        root.reach(reader, &mut seen, each, &mut |_| {})?;
        for id in reached {
            if !writer.has(&id)? {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// What to do about what looks like a loss.
const ACCEPT_LOSS: &str = "If so, bring the data back first (aerolith restore), or leave these partitions as the last \
                           snapshot has them with `allow_partial`. If it was meant, run the backup again with \
                           `accept_loss`: what is gone then counts as deleted";

/// Looks at the state of a source before it is read. An error is what speaks against reading it; what speaks against
/// calling the snapshot whole is given back.
fn look_at(
    standing: &Standing,
    namespace: &str,
    parent: Option<&Parent>,
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
        "namespace {namespace} may have lost data: when nodes came or went last, {} of {all} partitions had no copy \
         left in the cluster, and began again, empty",
        standing.fresh
    );
    match options.allow_partial {
        true => Ok(Some(problem)),
        false => Err(format!(
            "{problem}. If nodes are missing, bring them back first. To back up what is there, run the backup again \
             with `accept_loss`"
        )),
    }
}
