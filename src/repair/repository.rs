//! Repairing: the index is rebuilt from the packs, and snapshots that lost chunks are salvaged as new ones.
//!
//! Nothing that is committed changes its content: a repair adds, and replaces index segments that nobody can read by
//! ones without rows, once their rows stand elsewhere. `format-spec/index.md` says why that is safe beside collections.

use super::salvage::{Donor, Earlier, Salvaged};
use crate::chunks::ChunkReader;
use crate::control::Control;
use crate::crypto::Sealer;
use crate::error::{Error, Result};
use crate::format::header::{Class, ObjectKind};
use crate::format::pack::DirectoryRow;
use crate::format::session::{Outcome, SessionKind, Status};
use crate::format::snapshot::{Salvage, SnapshotState};
use crate::format::{ChunkId, PackId, SnapshotId, names};
use crate::index::{Index, IndexedPack, encode_segment, write_segments};
use crate::objects;
use crate::objects::Lease;
use crate::pack::{read_directory, stored_packs};
use crate::plan::Plan;
use crate::record::Timestamp;
use crate::repository::{History, HoldEntry, Manifests, Repository, new_session};
use crate::session::noted_chunks;
use crate::setters::setters;
use crate::verify::check::{CheckOptions, CheckReport, ChunkDamage, lost_names, unreadable};
use rayon::prelude::*;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

/// What a repair may do.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct RepairOptions {
    /// Read and authenticate this part of the chunks, in percent, to find those that are damaged. Chunks that earlier
    /// checks found damaged are read in any case.
    pub read_percent: f64,
    /// Only say what would be done.
    dry_run: bool,
    /// Another repository that may have records that are lost here; its keys may be others.
    pub from: Option<Repository>,
}

setters!(RepairOptions {
    read_percent: f64,
} into {
    from: Option<Repository>,
});

/// What a repair did, or would do.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct RepairReport {
    /// Index segments that could not be read, or were gone, line by line.
    pub segments: Vec<String>,
    /// Packs that were written into the index again.
    pub packs_indexed: u64,
    /// Chunks in them.
    pub chunks_indexed: u64,
    /// Sessions and holds that could not be read and were cleared away or rewritten, line by line.
    pub cleared: Vec<String>,
    /// What was found of the chunks: `hurt` are the snapshots that can't be restored whole.
    pub found: CheckReport,
    /// What became of each of those.
    pub salvaged: Vec<Salvaged>,
    /// What could not be repaired, for people.
    pub problems: Vec<String>,
    /// Why the index was left as it is, though it lacks something: a collection is about to change it. If `segments` is
    /// empty nothing is wrong with it, and the end of that collection is all that it waits for.
    pub deferred: Option<String>,
}

impl RepairReport {
    /// Whether something is wrong that was not mended.
    pub fn is_damaged(&self) -> bool {
        !self.problems.is_empty() || self.deferred.is_some() && !self.segments.is_empty()
    }

    /// Whether records are gone.
    pub fn has_losses(&self) -> bool {
        self.salvaged.iter().any(Salvaged::has_losses)
    }
}

/// What is wrong with the index, and what its rebuilding would write.
#[derive(Default)]
struct IndexSurvey {
    /// Segments that can't be read: key, and what is wrong.
    unreadable: Vec<(String, String)>,
    /// Keys of segments that are gone.
    gone: Vec<String>,
    /// Packs that no readable segment names.
    packs: Vec<IndexedPack>,
    /// Whether a snapshot needs a chunk that is in those alone.
    needed: bool,
    problems: Vec<String>,
}

impl IndexSurvey {
    fn is_whole(&self) -> bool {
        self.unreadable.is_empty() && self.gone.is_empty() && !self.needed
    }
}

impl Repository {
    /// Rebuilds the index from the packs, and makes of every snapshot that lost chunks a new one that holds what can be
    /// read. Run again, it has nothing to do; killed on the way and run again, it finishes.
    ///
    /// # Errors
    ///
    /// If the store can't be read or written, or the repair was stopped. What can't be mended is no error: the report
    /// names it.
    pub fn repair(&self, options: &RepairOptions) -> Result<RepairReport> {
        let control = &self.control;
        let _part = control.part(format!("repairing {}", self.store.location())).entered();
        let mut report = RepairReport::default();
        self.repair_index(options.dry_run, control, &mut report)?;
        self.clear_sessions(options.dry_run, &mut report)?;
        self.clear_holds(options.dry_run, &mut report)?;
        report.cleared.extend(self.clear_labels(options.dry_run)?);
        self.clear_folds(options.dry_run, &mut report)?;
        // The snapshots first: what they need is in the index once it is read.
        let list = self.manifests()?;
        let reader = self.chunk_reader()?;
        let history = self.history()?;
        let lost = self.lost_snapshots(&list, &history)?;
        report.problems.extend(lost.into_values());
        let noted = noted_chunks(&history);
        let absent = self.absent_packs(reader.index())?;
        let chosen = CheckOptions { read_percent: options.read_percent };
        let read = |id: &ChunkId| noted.contains(id) || crate::verify::check::is_chosen(&id.0, &chosen);
        let ChunkDamage { damaged: bad, .. } =
            self.walk(&reader, list.snapshots.clone(), &absent, &read, &mut report.found, control)?;
        let mut told = HashSet::new();
        report.found.problems.retain(|problem| told.insert(problem.clone()));
        if !options.dry_run {
            self.note_damage(&bad, &history, "repair")?;
        }
        if report.found.hurt.is_empty() {
            return Ok(report);
        }
        let mut donors = vec![Donor::of(self, true)?];
        if let Some(other) = &options.from {
            donors.push(Donor::of(other, false)?);
        }
        // The oldest first, and so originals before what was made of them: a salvage may be hurt itself.
        for manifest in list.snapshots.iter().filter(|manifest| report.found.hurt.contains(&manifest.id)) {
            control.check()?;
            let replaced = |salvage: Salvage| {
                let made = report.salvaged.iter().find(|made| made.original == salvage.original);
                made.is_some_and(|made| {
                    made.records_lost() <= salvage.records_lost
                        && made.namespaces.iter().all(|one| one.metadata.is_none())
                })
            };
            // What stands for the original now holds all that this one held.
            if manifest.salvage.is_some_and(replaced) || self.is_forgotten(&manifest.id)? {
                continue;
            }
            let made = list.snapshots.iter().filter(|other| other.salvage.is_some_and(|it| it.original == manifest.id));
            let made = made.map(|other| Earlier { manifest: other, is_hurt: report.found.hurt.contains(&other.id) });
            let made: Vec<Earlier<'_>> = made.collect();
            let salvaged = self.salvage(manifest, &reader, &bad, &donors, &made, options.dry_run, control)?;
            report.salvaged.push(salvaged);
        }
        Ok(report)
    }

    /// What [`Repository::repair`] would do now. The plan, once executed, repairs what is damaged by then.
    ///
    /// # Errors
    ///
    /// If the store can't be read.
    pub fn repair_plan(&self, options: &RepairOptions) -> Result<Plan<'static, RepairReport>> {
        let report = self.repair(&RepairOptions { dry_run: true, ..options.clone() })?;
        let (repository, options) = (self.clone(), options.clone());
        Ok(Plan::new(report, move || repository.repair(&options)))
    }

    fn repair_index(&self, dry_run: bool, control: &Control, report: &mut RepairReport) -> Result<()> {
        let mut survey = self.survey_index()?;
        if !survey.is_whole() {
            // A collection may have replaced or deleted what was just read.
            survey = self.survey_index()?;
        }
        if survey.is_whole() {
            return Ok(());
        }
        report.segments.extend(survey.unreadable.iter().map(|(_, problem)| problem.clone()));
        report.segments.extend(survey.gone.iter().map(|key| format!("{key} is missing")));
        let chunks = survey.packs.iter().map(|(_, _, rows)| rows.len() as u64).sum();
        let counts = (survey.packs.len() as u64, chunks);
        let plan_stands = !objects::plans(&*self.store, &self.keys)?.is_empty();
        if plan_stands || dry_run {
            report.problems.extend(survey.problems);
            match plan_stands {
                true => report.deferred = Some(PLAN_PENDING.into()),
                false => (report.packs_indexed, report.chunks_indexed) = counts,
            }
            return Ok(());
        }
        let session = new_session(objects::new_id()?, SessionKind::Other, "repair of the index".into());
        let id = session.id;
        let mut lease = Lease::begin(self.store.clone(), self.keys.clone(), self.parameters.suite, session)?;
        let rebuilt = self.rebuild_index(id, control);
        let (status, stored_bytes) = match &rebuilt {
            Ok(Some((_, stored))) => (Status::Done, *stored),
            // It did not commit, and must not say that it did.
            Ok(None) => (Status::Failed(PLAN_PENDING.into()), 0),
            Err(Error::Cancelled) => (Status::Stopped, 0),
            Err(error) => (Status::Failed(error.to_string()), 0),
        };
        let ended = Timestamp::now().0;
        // Were this note lost, the lease would lapse.
        let _ = lease.end(Outcome { ended, status, records: 0, stored_bytes, damaged_chunks: Vec::new() });
        match rebuilt? {
            Some((problems, _)) => {
                report.problems.extend(problems);
                (report.packs_indexed, report.chunks_indexed) = counts;
            }
            None => report.deferred = Some(PLAN_PENDING.into()),
        }
        Ok(())
    }

    /// Once the session's object exists: plans, snapshots, index, as every writer; then segments, the commit, and last
    /// what nobody can read any more. `None` if a plan is pending.
    fn rebuild_index(&self, id: SnapshotId, control: &Control) -> Result<Option<(Vec<String>, u64)>> {
        let (store, keys, suite) = (&*self.store, &*self.keys, self.parameters.suite);
        if !objects::plans(store, keys)?.is_empty() {
            return Ok(None);
        }
        let survey = self.survey_index()?;
        control.check()?;
        let (_, stored) = write_segments(store, keys, suite, &id, survey.packs)?;
        objects::commit_without_snapshot(store, keys, id, Timestamp::now().0)?;
        store.sync()?;
        // What these told is elsewhere now, or nobody knows it any more.
        let states = objects::list_states(store, keys)?;
        let state_of = |key: &str| names::parse_index_segment(key).and_then(|(session, _)| states.get(&session));
        for key in survey.unreadable.iter().map(|(key, _)| key).chain(&survey.gone) {
            control.check()?;
            match state_of(key) {
                Some(SnapshotState::Committed) => {
                    let sealer = Sealer::create(keys, ObjectKind::Index, Class::Index, suite)?;
                    store.put(key, &encode_segment(&sealer, key, &[], &[]).map_err(|error| error.of(key))?)?;
                }
                Some(SnapshotState::Forgotten) => store.delete(key)?,
                Some(SnapshotState::Fenced) | None => {}
            }
        }
        store.sync()?;
        Ok(Some((survey.problems, stored)))
    }

    /// Takes away the objects of sessions that can't be read. What was one that lives writes its object again with its
    /// next heartbeat; but until then a collection would not see it, so its name is fenced first where it is free.
    fn clear_sessions(&self, dry_run: bool, report: &mut RepairReport) -> Result<()> {
        let store = &*self.store;
        for (id, error) in self.history()?.damaged {
            // Rewritten since, or damaged for certain.
            if !matches!(objects::read_session(store, &self.keys, id), Err(error) if error.is_of_one_object()) {
                continue;
            }
            let open = self.state_of(&id)?.is_none();
            if !dry_run {
                if open {
                    objects::fence(store, id)?;
                    store.sync()?;
                }
                store.delete(&names::session(&id))?;
            }
            let fenced = if open { ", and the session was fenced: it can never be committed" } else { "" };
            report.cleared.push(format!("{error}; the object was deleted{fenced}"));
        }
        Ok(())
    }

    /// Writes holds again that can't be read: what they hold stays held. Those of snapshots that are gone go.
    fn clear_holds(&self, dry_run: bool, report: &mut RepairReport) -> Result<()> {
        for HoldEntry { id, snapshot, note, state } in self.holds()? {
            let Err(error) = note else { continue };
            let gone = matches!(state, Some(SnapshotState::Forgotten | SnapshotState::Fenced));
            if !dry_run {
                match gone {
                    true => self.store.delete(&names::hold(&snapshot, &id))?,
                    false => self.renew_hold(snapshot, id)?,
                }
            }
            let done = match gone {
                true => format!("it was deleted, since snapshot {snapshot} is gone"),
                false => format!("it was rewritten without its reason; snapshot {snapshot} stays held"),
            };
            report.cleared.push(format!("{error}; {done}"));
        }
        Ok(())
    }

    /// Makes up for folds that can't be read or are gone, by what histories and the manifests' heads name, and takes
    /// away what can't be read. Names of old sessions stay taken: the new fold is there before anything goes.
    fn clear_folds(&self, dry_run: bool, report: &mut RepairReport) -> Result<()> {
        let (store, keys) = (&*self.store, &*self.keys);
        let states = objects::list_states(store, keys)?;
        let (histories, damaged) = objects::read_history(store, keys)?;
        let mut lost = objects::names_without_fold(&states, &histories);
        if !states.damaged().is_empty() {
            let heads = self.manifests()?.snapshots.into_iter().flat_map(|manifest| manifest.heads);
            for id in heads.filter(|id| states.get(id).is_none()) {
                lost.entry(id).or_insert(SnapshotState::Forgotten);
            }
        }
        let done = format!("{} names of old sessions were written into a new object", lost.len());
        let gone: Vec<(String, &Error)> = states
            .damaged()
            .iter()
            .map(|(id, error)| (names::fold(id), error))
            .chain(damaged.iter().map(|(id, error)| (names::history(id), error)))
            .collect();
        if !lost.is_empty() && states.damaged().is_empty() {
            report.cleared.push(format!("{}: an object is missing; {done}", names::FOLDS));
        }
        report.cleared.extend(gone.iter().map(|(_, error)| match lost.is_empty() {
            true => format!("{error}; the object was deleted"),
            false => format!("{error}; the object was deleted, and {done}"),
        }));
        if dry_run || (lost.is_empty() && gone.is_empty()) {
            return Ok(());
        }
        if !lost.is_empty() {
            objects::write_names(store, keys, self.parameters.suite, lost, Timestamp::now().0)?;
            store.sync()?;
        }
        for (key, _) in &gone {
            store.delete(key)?;
        }
        store.sync()
    }

    /// The snapshots whose objects can't be read or are gone, and for each what is wrong and what to do.
    fn lost_snapshots(&self, list: &Manifests, history: &History) -> Result<BTreeMap<SnapshotId, String>> {
        let states = objects::list_states(&*self.store, &self.keys)?;
        let (histories, _) = objects::read_history(&*self.store, &self.keys)?;
        let gone = lost_names(&states, &histories, &list.snapshots, history);
        let unreadable = list.damaged.iter().map(|(id, error)| (*id, unreadable(id, error)));
        Ok(gone.into_iter().chain(unreadable).collect())
    }

    /// Looks through the index and the packs' directories.
    fn survey_index(&self) -> Result<IndexSurvey> {
        let store = &*self.store;
        // The snapshots first: their segments are there once the index is read.
        let manifests = self.manifests()?.snapshots;
        let states = objects::list_states(store, &self.keys)?;
        let committed = |id: &SnapshotId| states.was_committed(id);
        let index = Index::open(store, &self.keys, committed, HashSet::new())?;
        let mut survey = IndexSurvey { unreadable: index.unreadable(store)?, ..IndexSurvey::default() };
        let listed: HashSet<String> = store.list(names::INDEX)?.into_iter().map(|object| object.key).collect();
        let unreadable: HashSet<String> = survey.unreadable.iter().map(|(key, _)| key.clone()).collect();
        for manifest in &manifests {
            let is_joined = |n: &u32| index.has_segment(&manifest.id, *n, |key| unreadable.contains(key));
            let numbers = (0..manifest.index_segments).filter(|n| !is_joined(n));
            let keys = numbers.map(|n| names::index_segment(&manifest.id, n));
            let gone: Vec<String> = keys.filter(|key| !listed.contains(key)).collect();
            if !gone.is_empty() && !self.is_forgotten(&manifest.id)? {
                survey.gone.extend(gone);
            }
        }
        let mut named: HashMap<PackId, u64> = HashMap::new();
        for (session, number) in index.segments() {
            if !unreadable.contains(&names::index_segment(&session, number))
                && let Some((packs, _)) = index.contents_of(&session, number)
            {
                named.extend(packs.iter().copied());
            }
        }
        let mut unnamed: BTreeMap<PackId, u64> = stored_packs(store)?.into_iter().collect();
        unnamed.retain(|id, _| !named.contains_key(id));
        let read: Vec<(PackId, u64, Result<Vec<DirectoryRow>>)> = unnamed
            .into_par_iter()
            .map(|(id, size)| (id, size, read_directory(store, &self.keys, id, size).map(|(_, rows)| rows)))
            .collect();
        // Where a pack's directory can't be read either, what is left of the segments is all that is known.
        let mut left = index.readable_rows(store, |key| unreadable.contains(key))?;
        left.retain(|id, _| !named.contains_key(id));
        for (id, size, rows) in read {
            match rows {
                Ok(rows) => {
                    left.remove(&id);
                    survey.packs.push((id, size, rows));
                }
                Err(error) if error.is_of_one_object() => survey.problems.push(error.to_string()),
                Err(error) => return Err(error),
            }
        }
        survey.packs.extend(left.into_iter().map(|(id, (size, rows))| (id, size, rows)));
        survey.needed = !survey.packs.is_empty() && survey.is_whole() && self.needs(&index, &survey.packs)?;
        if survey.is_whole() {
            survey.problems.clear();
        }
        Ok(survey)
    }

    /// Whether a snapshot reaches a chunk that is in these packs and that the index does not know.
    fn needs(&self, index: &Index, packs: &[IndexedPack]) -> Result<bool> {
        let unnamed: HashSet<&ChunkId> = packs.iter().flat_map(|(_, _, rows)| rows).map(|row| &row.id).collect();
        let reader: Arc<ChunkReader> = self.chunk_reader()?;
        let mut seen = HashSet::new();
        for manifest in self.manifests()?.snapshots {
            let mut reached = Vec::new();
            self.open_snapshot(&reader, manifest).reach_readable(
                &mut seen,
                &mut |id, _| reached.push(id),
                &mut |_, _| {},
            )?;
            for id in reached {
                if unnamed.contains(&id) && !index.contains(&*self.store, &id)? {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }
}

/// Why the index is left as it is.
const PLAN_PENDING: &str = "a plan of a prune is pending, so the index was left as it is: what the plan condemns \
                            must be found until it is carried out. Run `aerolith prune`, then repair again";
