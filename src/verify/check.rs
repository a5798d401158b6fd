//! Checking a repository: everything that a snapshot reaches, and on request the bytes themselves.

use crate::chunks::ChunkReader;
use crate::control::Control;
use crate::error::{Error, Result, StoreErrorKind};
use crate::format::config::CONFIG_HEADER_BYTES;
use crate::format::fold::HistoryFold;
use crate::format::header::Class;
use crate::format::session::{Outcome, SessionKind, Status};
use crate::format::snapshot::{Manifest, SnapshotState};
use crate::format::{ChunkId, PackId, SnapshotId, names};
use crate::index::Location;
use crate::objects;
use crate::objects::Lease;
use crate::pack::read_directory;
use crate::record::Timestamp;
use crate::repository::{
    History, Manifests, Repository, Snapshot, keyring, needed_by, new_session, prove_creations, read_config,
};
use crate::session::noted_chunks;
use crate::setters::setters;
use rayon::prelude::*;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

/// A session names at most this many damaged chunks, 32 MiB; beyond that there are several.
const MAX_NOTED: usize = 1 << 20;

/// So often something is looked at again until it is wrong twice in a row.
const MAX_LOOKS: usize = 5;

/// What is checked.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct CheckOptions {
    /// Read and authenticate this part of the reached chunks, in percent; 0 reads branch nodes only.
    pub read_percent: f64,
}

setters!(CheckOptions { read_percent: f64 });

/// What a check found.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct CheckReport {
    /// Snapshots that were walked.
    pub snapshots: u64,
    /// Distinct chunks that they reach.
    pub chunks: u64,
    /// Stored bytes of those chunks.
    pub stored_bytes: u64,
    /// Chunks that were read and authenticated.
    pub chunks_read: u64,
    /// Plain bytes of those.
    pub bytes_read: u64,
    /// What is wrong, object by object.
    pub problems: Vec<String>,
    /// What was lost and no snapshot needs: of older versions of records, or of what was rewritten since.
    pub notes: Vec<String>,
    /// Snapshots that can't be restored whole.
    pub hurt: Vec<SnapshotId>,
}

/// What is wrong with a snapshot of which nothing can be read, and what to do about it.
pub(crate) fn unreadable(id: &SnapshotId, error: &Error) -> String {
    if error.is_damage() { format!("{error}. {}", give_up(id)) } else { error.to_string() }
}

fn give_up(id: &SnapshotId) -> String {
    format!("Restore the object from a copy, or give it up with `aerolith forget {id}`")
}

/// The names under `snapshots/` that are gone, or are not what those who saw them say they were, and for each what is
/// wrong and what to do: a name once taken is never free again, and a manifest becomes a marker or stays.
pub(crate) fn lost_names(
    states: &objects::States,
    histories: &[HistoryFold],
    manifests: &[Manifest],
    history: &History,
) -> Vec<(SnapshotId, String)> {
    let seen = manifests.iter().flat_map(|manifest| manifest.heads.iter().copied());
    let committed = history.entries.iter().filter(|entry| entry.session.says_committed()).map(|entry| entry.session.id);
    let folded = objects::folded_committed(histories);
    let expected: BTreeSet<SnapshotId> = seen.chain(committed).chain(folded).collect();
    let unfolded = objects::names_without_fold(states, histories);
    let lost = expected.into_iter().filter_map(|id| {
        let found = match states.get(&id) {
            Some(SnapshotState::Committed | SnapshotState::Forgotten) => return None,
            Some(SnapshotState::Fenced) => "is damaged: it is empty",
            // It may have been in the fold that is damaged, or was in the one that is gone.
            None if !states.damaged().is_empty() || unfolded.contains_key(&id) => return None,
            None => "is missing",
        };
        Some((id, format!("{} {found}, though it was committed once. {}", names::snapshot(&id), give_up(&id))))
    });
    lost.collect()
}

impl Repository {
    /// Tries whether the store still does what a repository rests on, if this caller may write there.
    fn check_store(&self, report: &mut CheckReport) -> Result<()> {
        match prove_creations(&*self.store) {
            Ok(()) => Ok(()),
            Err(error) => match error.store_kind() {
                Some(StoreErrorKind::Refused) => {
                    self.control.warn(format!("how the store creates objects was not tried: {error}"));
                    Ok(())
                }
                Some(StoreErrorKind::Other) => {
                    report.problems.push(error.to_string());
                    Ok(())
                }
                _ => Err(error),
            },
        }
    }

    /// Looks at every object that is not a chunk, and walks all that the snapshots reach. What is damaged is noted in
    /// the repository, so that the next full backup writes it again.
    ///
    /// Backups, collections and forgets may be at work: what they move, replace or delete meanwhile is no damage.
    ///
    /// # Errors
    ///
    /// If the store can't be read, or the check was stopped. Damage is no error: the report names it.
    pub fn check(&self, options: &CheckOptions) -> Result<CheckReport> {
        let control = &self.control;
        let _part = control.part(format!("checking {}", self.store.location())).entered();
        let mut report = CheckReport::default();
        self.check_store(&mut report)?;
        self.check_ways_in(&mut report)?;
        let (history, condemned) = self.check_sessions(&mut report)?;
        let look = self.look_again(&condemned)?;
        self.check_directories(&look, &condemned, options, &mut report)?;
        let Look { list, reader, absent, problems } = look;
        self.check_holds(&mut report)?;
        self.check_names(&list.snapshots, &history, &mut report)?;
        report.problems.extend(list.unread_labels.iter().map(|(_, error)| error.to_string()));
        for (id, error) in list.damaged {
            report.problems.push(unreadable(&id, &error));
            report.hurt.push(id);
        }
        // What an earlier check found damaged is damaged still until it can be read.
        let noted = noted_chunks(&history);
        let read = |id: &ChunkId| noted.contains(id) || is_chosen(&id.0, options);
        let ChunkDamage { damaged, needed } =
            self.walk(&reader, list.snapshots, &absent, &read, &mut report, control)?;
        let held = packs_of(&reader, &needed)?;
        let healed: Vec<String> = absent.difference(&held).map(names::pack).collect();
        for problem in problems {
            match healed.iter().any(|name| problem.starts_with(name)) {
                true => report.notes.push(format!("{problem}; no snapshot needs anything that was in it alone")),
                false => report.problems.push(problem),
            }
        }
        let mut told = HashSet::new();
        report.problems.retain(|problem| told.insert(problem.clone()));
        let mut told = HashSet::new();
        report.hurt.retain(|id| told.insert(*id));
        if let Err(error) = self.note_damage(&damaged, &history, "check") {
            // What was found is worth more than the note.
            report.problems.push(format!("what is damaged could not be noted for the next full backup: {error}"));
        }
        Ok(report)
    }

    /// Looks at the snapshots, the index and the list of packs; again where something is wrong, until it is wrong
    /// twice: a collection may have moved, replaced or deleted what was just read.
    fn look_again(&self, condemned: &HashSet<PackId>) -> Result<Look> {
        let mut look = self.look(condemned)?;
        for _ in 0..MAX_LOOKS {
            if look.problems.is_empty() {
                break;
            }
            let before = std::mem::replace(&mut look, self.look(condemned)?).problems;
            let found = look.problems.len();
            look.problems.retain(|problem| before.contains(problem));
            if look.problems.len() == found {
                break;
            }
        }
        Ok(look)
    }

    /// The snapshots first: the segments of those are there once the index is read.
    fn look(&self, condemned: &HashSet<PackId>) -> Result<Look> {
        let list = self.manifests()?;
        let reader = self.chunk_reader()?;
        let index = reader.index();
        let mut problems: Vec<String> = index.damaged().iter().map(ToString::to_string).collect();
        problems.extend(index.check_blocks(&*self.store)?.iter().map(ToString::to_string));
        let absent = self.absent_packs(index)?;
        let mut doomed = HashSet::new();
        if !absent.is_empty() {
            // A collection may have begun since.
            let plans = objects::plans(&*self.store, &self.keys)?;
            doomed.extend(plans.into_iter().filter_map(|(_, plan)| plan.ok()).flat_map(|plan| plan.condemned));
        }
        // A pack that a plan condemns may be gone; its rows in the index go last.
        for id in absent.iter().filter(|id| !condemned.contains(id) && !doomed.contains(id)) {
            problems.push(format!("{} is missing, or has another size than the index says", names::pack(id)));
        }
        for manifest in &list.snapshots {
            let expected = manifest.index_segments;
            let there = index.segments_of(&manifest.id, expected);
            if there < expected && !self.is_forgotten(&manifest.id)? {
                let of = format!("{}{}", names::INDEX, manifest.id);
                problems.push(format!(
                    "{of}: {there} index segments are there, expected {expected}; the packs make up for it, and \
                     `aerolith repair` writes them again"
                ));
            }
        }
        Ok(Look { list, reader, absent, problems })
    }

    /// Walks what snapshots reach, and reads the chunks for which `read` says yes. Adds what is wrong to the report,
    /// and gives back the chunks that are missing or damaged. A snapshot is hurt if an entry that no newer run hides,
    /// or a node, needs one of them: runs go on to refer to what was in older versions of records, and to what a full
    /// backup wrote again.
    pub(crate) fn walk(
        &self,
        reader: &Arc<ChunkReader>,
        snapshots: Vec<Manifest>,
        absent: &HashSet<PackId>,
        read: &(dyn Fn(&ChunkId) -> bool + Sync),
        report: &mut CheckReport,
        control: &Control,
    ) -> Result<ChunkDamage> {
        // Which chunks are bad is found once; which snapshots need them takes a walk each.
        let mut walked: HashMap<ChunkId, bool> = HashMap::new();
        let (mut damaged, mut needed) = (HashSet::new(), HashSet::new());
        let mut wrong: HashMap<ChunkId, String> = HashMap::new();
        for manifest in snapshots {
            control.check()?;
            let snapshot = self.open_snapshot(reader, manifest);
            let mut reached = Vec::new();
            let mut lost = Vec::new();
            snapshot.reach_readable(
                &mut HashSet::new(),
                &mut |id, class| reached.push((id, class)),
                &mut |root, loss| lost.push((root.to_string(), loss)),
            )?;
            let fresh: Vec<(ChunkId, Class)> =
                reached.iter().filter(|(id, _)| !walked.contains_key(id)).copied().collect();
            let found: Vec<Checked> = fresh
                .par_iter()
                .map(|(id, class)| check_chunk(reader, id, *class, read(id), absent, control))
                .collect::<Result<_>>()?;
            // What it needed may be gone since it was forgotten; of the others' chunks the next snapshot tells.
            if (!lost.is_empty() || found.iter().any(|checked| checked.problem.is_some()))
                && self.is_forgotten(&snapshot.id())?
            {
                continue;
            }
            report.snapshots += 1;
            for ((id, _), checked) in fresh.iter().zip(found) {
                report.chunks += 1;
                report.stored_bytes += checked.stored;
                report.chunks_read += u64::from(checked.read);
                report.bytes_read += checked.plain;
                walked.insert(*id, checked.problem.is_none());
                if let Some(problem) = checked.problem {
                    damaged.insert(*id);
                    wrong.insert(*id, problem);
                }
            }
            let bad = |id: &&ChunkId| walked.get(*id) == Some(&false);
            let bad: HashSet<ChunkId> = reached.iter().map(|(id, _)| id).filter(bad).copied().collect();
            let needed_here = match bad.is_empty() {
                true => HashSet::new(),
                false => needed_by(reader, snapshot.manifest(), &bad, control)?,
            };
            if !needed_here.is_empty() || !lost.is_empty() {
                report.hurt.push(snapshot.id());
            }
            let fresh = reached.iter().filter(|(id, _)| needed_here.contains(id) && needed.insert(*id));
            report.problems.extend(fresh.filter_map(|(id, _)| wrong.get(id).cloned()));
            for (root, loss) in lost {
                damaged.insert(loss.chunk);
                needed.insert(loss.chunk);
                report.problems.push(format!("snapshot {}, {root}: {loss}", snapshot.id()));
            }
        }
        let more = damaged.difference(&needed).count();
        if more > 0 {
            report.notes.push(format!(
                "{more} of the chunks that runs refer to are missing or damaged, and no snapshot needs them: older \
                 versions of records were in them"
            ));
        }
        Ok(ChunkDamage { damaged, needed })
    }

    /// Looks at the holds. One that can't be read holds all the same.
    fn check_holds(&self, report: &mut CheckReport) -> Result<()> {
        for entry in self.holds()? {
            if let Err(error) = entry.note {
                let advice = format!(
                    "Snapshot {} is held all the same. `aerolith repair` writes the hold again; its reason is lost",
                    entry.snapshot
                );
                report.take(Err(error.with_advice(&advice)))?;
            }
        }
        Ok(())
    }

    /// Looks at the config and the key slots: what a later opening needs.
    fn check_ways_in(&self, report: &mut CheckReport) -> Result<()> {
        let config = self.store.get(names::CONFIG, crate::crypto::sealed::MAX_SEALED_BYTES).and_then(|config| {
            let config = config.ok_or_else(crate::repository::lost_config)?;
            let header = crate::format::config::decode_header(&mut &config[..]);
            let (version, id) = header.map_err(|error| error.of(names::CONFIG))?;
            let sealed = config.get(CONFIG_HEADER_BYTES..).unwrap_or_default().to_vec();
            read_config(&self.keys, version, &id, sealed).map(|_| ())
        });
        report.take(config)?;
        let mut slots = 0;
        for listed in self.store.list(names::KEYS)? {
            if let Some(id) = names::parse_key(&listed.key) {
                slots += 1;
                report.take(keyring::check(&*self.store, &id))?;
            }
        }
        if slots == 0 {
            report.problems.push(format!(
                "{} has no key slot: nobody will be able to open the repository again. Add one now with `aerolith key \
                 add`",
                names::KEYS
            ));
        }
        Ok(())
    }

    /// Looks at the sessions and the plans; gives back what the plans condemn.
    fn check_sessions(&self, report: &mut CheckReport) -> Result<(History, HashSet<PackId>)> {
        let mut condemned = HashSet::new();
        for (_, plan) in objects::plans(&*self.store, &self.keys)? {
            report.take(plan.map(|plan| condemned.extend(plan.condemned)))?;
        }
        let history = self.history()?;
        report.problems.extend(history.damaged.iter().map(|(id, error)| {
            format!(
                "{error}; what session {id} was, and damage that it may have noted, is not known any more. \
                `aerolith repair` clears it away"
            )
        }));
        Ok((history, condemned))
    }

    /// Looks for names under `snapshots/` that are not what they were, and at the folds.
    fn check_names(&self, manifests: &[Manifest], history: &History, report: &mut CheckReport) -> Result<()> {
        let states = objects::list_states(&*self.store, &self.keys)?;
        let (histories, damaged) = objects::read_history(&*self.store, &self.keys)?;
        let unfolded = objects::names_without_fold(&states, &histories);
        for (id, problem) in lost_names(&states, &histories, manifests, history) {
            report.problems.push(problem);
            report.hurt.push(id);
        }
        report.problems.extend(states.damaged().iter().map(|(_, error)| error.to_string()));
        report.problems.extend(damaged.iter().map(|(_, error)| error.to_string()));
        if states.damaged().is_empty() && !unfolded.is_empty() {
            report.problems.push(format!(
                "{}: an object is missing: {} sessions of the history are in none of those that are there. `aerolith \
                 repair` writes it again",
                names::FOLDS,
                unfolded.len()
            ));
        }
        for id in states.with(SnapshotState::Forgotten) {
            if let Err(error) = objects::check_marker(&*self.store, &self.keys, id) {
                report.take(Err(error.with_advice(&give_up(&id))))?;
                report.hurt.push(id);
            }
        }
        Ok(())
    }

    /// Reads the directories of a part of the packs: they are needed only once the index is lost.
    fn check_directories(
        &self,
        look: &Look,
        condemned: &HashSet<PackId>,
        options: &CheckOptions,
        report: &mut CheckReport,
    ) -> Result<()> {
        let mut packs: Vec<(PackId, u64)> = look.reader.index().packs().into_iter().collect();
        packs.retain(|(id, _)| !look.absent.contains(id) && is_chosen(&id.0, options));
        packs.sort_unstable();
        let read = packs.par_iter().map(|(id, size)| read_directory(&*self.store, &self.keys, *id, *size).map(|_| ()));
        let found: Vec<Result<()>> = read.collect();
        let mut now: Option<Look> = None;
        for ((id, _), directory) in packs.iter().zip(found) {
            if let Err(Error::Missing { .. }) = directory {
                // Gone since they were listed: if a collection has deleted it, the index doesn't name it any more, or a
                // plan does.
                let now = match &mut now {
                    Some(now) => now,
                    none => none.insert(self.look_again(condemned)?),
                };
                let name = names::pack(id);
                report.problems.extend(now.problems.iter().filter(|problem| problem.starts_with(&name)).cloned());
                continue;
            }
            report.take(directory)?;
        }
        Ok(())
    }

    /// Notes what was found damaged while a snapshot was read, as [`Repository::check`] does, so that the next full
    /// backup writes it again. `job` is what the history calls whatever read it. Nothing is written if nothing was
    /// damaged, or all of it was noted before.
    ///
    /// # Errors
    ///
    /// If the store can't be read or written.
    pub fn note_damage_of(&self, snapshot: &Snapshot, job: &str) -> Result<()> {
        let damaged = snapshot.chunks()?.damaged();
        // What it needed may be gone since it was forgotten.
        if damaged.is_empty() || self.is_forgotten(&snapshot.id())? {
            return Ok(());
        }
        self.note_damage(&damaged, &self.history()?, job)
    }

    /// Leaves sessions that name damaged chunks, unless earlier ones name them all; full backups don't build on those.
    pub(crate) fn note_damage(&self, damaged: &HashSet<ChunkId>, history: &History, job: &str) -> Result<()> {
        if damaged.is_subset(&noted_chunks(history)) {
            return Ok(());
        }
        let mut damaged: Vec<ChunkId> = damaged.iter().copied().collect();
        damaged.sort_unstable();
        damaged.chunks(MAX_NOTED).try_for_each(|part| self.note(part, job))
    }

    fn note(&self, damaged: &[ChunkId], job: &str) -> Result<()> {
        let session = new_session(objects::new_id()?, SessionKind::Check, job.into());
        let mut lease = Lease::begin(self.store.clone(), self.keys.clone(), self.parameters.suite, session)?;
        let status = Status::Incomplete(format!("{} chunks are damaged or missing", damaged.len()));
        let damaged_chunks = damaged.to_vec();
        lease.end(Outcome { ended: Timestamp::now().0, status, records: 0, stored_bytes: 0, damaged_chunks })
    }
}

/// Looks for a chunk, and reads it if told to.
fn check_chunk(
    reader: &ChunkReader,
    id: &ChunkId,
    class: Class,
    read: bool,
    absent: &HashSet<PackId>,
    control: &Control,
) -> Result<Checked> {
    control.check()?;
    let mut checked = Checked::default();
    let mut tried: Vec<Location> = Vec::new();
    let mut found = reader.locate(id)?;
    loop {
        let fresh: Vec<Location> = found.into_iter().filter(|at| !tried.contains(at)).collect();
        if fresh.is_empty() && !tried.is_empty() {
            break;
        }
        for at in fresh.iter().filter(|at| !absent.contains(&at.pack)) {
            checked.stored = u64::from(at.place.stored);
            if !read {
                return Ok(checked);
            }
            checked.read = true;
            match reader.read_at(id, class, at) {
                Ok(plain) => {
                    checked.plain = plain.len() as u64;
                    control.add_bytes_in(checked.plain);
                    checked.problem = None;
                    return Ok(checked);
                }
                Err(error) if error.is_of_one_object() => checked.problem = Some(error.to_string()),
                Err(error) => return Err(error),
            }
        }
        if fresh.is_empty() {
            break;
        }
        tried.extend(fresh);
        // A collection may have moved it, or a copy may stand in a pack that no segment names.
        found = reader.locate_again(id, &tried)?;
    }
    if checked.problem.is_none() {
        checked.problem = Some(format!("chunk {id} is missing: no pack that exists holds it"));
    }
    Ok(checked)
}

/// Whether something of this name is in the part to be read: the same at every check, and evenly spread.
pub(crate) fn is_chosen(name: &[u8; 32], options: &CheckOptions) -> bool {
    f64::from(u16::from_be_bytes([name[2], name[3]])) / 65536.0 * 100.0 < options.read_percent
}

impl CheckReport {
    /// Takes note of what is wrong with one object; any other error ends the check.
    fn take(&mut self, found: Result<()>) -> Result<()> {
        match found {
            Err(error) if error.is_of_one_object() => self.problems.push(error.to_string()),
            found => return found,
        }
        Ok(())
    }
}

/// What a walk through the snapshots found missing or damaged.
pub(crate) struct ChunkDamage {
    /// All of it.
    pub damaged: HashSet<ChunkId>,
    /// Those of them that a snapshot needs.
    pub needed: HashSet<ChunkId>,
}

/// The packs in which the index says that these chunks stand.
fn packs_of(reader: &ChunkReader, ids: &HashSet<ChunkId>) -> Result<HashSet<PackId>> {
    let mut packs = HashSet::new();
    for id in ids {
        packs.extend(reader.index().lookup(&**reader.store(), id)?.into_iter().map(|at| at.pack));
    }
    Ok(packs)
}

/// What one look at the snapshots, the index and the list of packs showed.
struct Look {
    list: Manifests,
    reader: Arc<ChunkReader>,
    /// Packs that the index names and that are not there.
    absent: HashSet<PackId>,
    /// What is wrong with the index and the packs.
    problems: Vec<String>,
}

#[derive(Default)]
struct Checked {
    stored: u64,
    plain: u64,
    read: bool,
    problem: Option<String>,
}
