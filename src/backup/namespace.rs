//! Backing up a namespace of records in a session.

use super::loss::Doubts;
use super::merge_policy;
use super::merge_policy::{Extent, Merge};
use super::records::back_up;
use super::resume::{Job, Notes, TakenOver, adopt, finished};
use super::work::{BackedUp, NamespaceWork, RecordOptions};
use crate::chunks::{ChunkReader, ChunkWriter};
use crate::error::{Error, Result};
use crate::format::SnapshotId;
use crate::format::evidence::Evidence;
use crate::format::header::Class;
use crate::format::session::OpenNamespace;
use crate::format::snapshot::{BackupKind, Counts, NamespaceManifest};
use crate::record::{PARTITIONS, RecordSelection};
use crate::repository::Root;
use crate::run::{Losses, survey};
use crate::session::{BackupSession, Resumed, take_over};
use crate::sources::{RecordSource, SourceShape, Standing};
use crate::sync::lock;
use std::collections::HashSet;

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
    ///
    /// # Errors
    ///
    /// If neither the session nor the source names the cluster, if there is no snapshot that an incremental backup could build
    /// on, or if the source can't be read or the store not written.
    pub fn records(
        &mut self,
        namespace: &str,
        source: &dyn RecordSource,
        kind: BackupKind,
        options: &RecordOptions,
    ) -> Result<&NamespaceManifest> {
        self.learn_from(source)?;
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
        // An earlier backup of the same selection found something; now it may all be deleted.
        if parent.is_none()
            && RecordSelection::must_find(&manifest.selection)
            && manifest.live_records == 0
            && bad.is_empty()
            && unread.is_none()
        {
            let problem = format!("namespace {namespace} has no record of what is selected ({})", manifest.selection);
            return Err(Error::Source { source_name: source.name().to_string(), problem });
        }
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
