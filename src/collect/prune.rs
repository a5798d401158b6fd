//! A collection, from its session to the end of its plan. `format-spec/plans.md` says why the order is what it is.
//!
//! Memory: while it marks, at most 110 bytes for each chunk that a snapshot needs; then 36 (its id and the pack that it
//! is to stay in), about 200 for each chunk that is to be moved and at most 64 MiB of their plaintext, and what a
//! reader and a writer take.

use super::choose::{Choice, choose};
use super::clean::{Cleaning, Joining};
use super::fold::Folding;
use super::frugal::Frugal;
use super::mark::{States, manifests, reach, refuse_lost};
use super::moves::{self, Moved, move_out};
use super::options::PruneOptions;
use super::settle::{look, settle};
use crate::chunks::{ChunkReader, WriteOptions};
use crate::control::Control;
use crate::crypto::Keys;
use crate::crypto::sealed::seal;
use crate::error::{Error, Result};
use crate::format::header::ObjectKind;
use crate::format::plan::CollectionPlan;
use crate::format::session::{Outcome, Session, SessionKind, Status};
use crate::format::snapshot::Manifest;
use crate::format::{ChunkId, PackId, SnapshotId, names, structured};
use crate::index::{Index, write_segments};
use crate::objects;
use crate::objects::{LEASE_MILLIS, Lease};
use crate::pack::stored_packs;
use crate::record::Timestamp;
use crate::repository::needed_by;
use crate::store::{Put, Store};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

/// Plaintext of chunks that a collector keeps in memory: 64 MiB, since branch nodes are read once.
const CACHE_BYTES: usize = 64 << 20;

/// A collection that finds the disk full condemns at most so many packs, half a MiB of ids.
const CONDEMNED_IF_LOW: usize = 16_384;
/// Bytes of the disk that a collection leaves free for its session, its plan and its index segments.
const SMALL_OBJECTS: u64 = 256 << 10;

/// What a collection says that found the disk full.
const NO_ROOM: &str = "the disk is full or nearly so, and what is still needed of a pack has to be rewritten before \
                       the pack can go: it was left for the next prune. If that frees nothing either, forget more \
                       snapshots, free some megabytes of the disk, or enlarge it";

/// What a collection did, or would do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PruneReport {
    /// Snapshots that stay.
    pub snapshots: u64,
    /// Distinct chunks that they need.
    pub chunks: u64,
    /// Packs before.
    pub packs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Stored bytes of chunks in them that nothing needed.
    pub unused_bytes: u64,
    /// Packs deleted.
    pub packs_deleted: u64,
    /// Their bytes.
    pub bytes_deleted: u64,
    /// Chunks moved into new packs.
    pub chunks_moved: u64,
    /// Bytes of those new packs; in a plan, of the chunks as they are stored now.
    pub bytes_moved: u64,
    /// Stored bytes of chunks that nothing needs, and that stay.
    pub unused_bytes_left: u64,
    /// Index segments deleted.
    pub segments_deleted: u64,
    /// Index segments rewritten without rows of packs that are gone.
    pub segments_rewritten: u64,
    /// Objects of sessions that ended two days ago or earlier, and of which a line in the history is left.
    pub sessions_deleted: u64,
    /// Sessions that were fenced, or would be: dead ones, and with [`PruneOptions::fence`] all that were at work.
    pub fenced: Vec<SnapshotId>,
    /// In a plan: sessions at work that a collection would wait for.
    pub waits_for: Vec<SessionAtWork>,
    /// In a plan: why a collection would be refused now, if so. The numbers say what it would do once those sessions
    /// have ended.
    pub refused: Option<String>,
    /// In a plan: packs that may be of sessions at work, and are deleted only if those end without a snapshot.
    pub packs_in_doubt: u64,
    /// Their bytes.
    pub bytes_in_doubt: u64,
    /// What the newest snapshot of each cluster, of the same namespaces and selections, holds for what it needs.
    pub held: Vec<Held>,
    /// Chunks that snapshots need and no pack holds.
    pub chunks_missing: u64,
    /// Why something that could go is left for the next collection, if so.
    pub deferred: Option<String>,
    /// What was met and kept something from being deleted, for people.
    pub problems: Vec<String>,
}

/// What a snapshot holds of values for what its records need. The next backup that merges runs lets go of the rest, and
/// one with [`RecordOptions::compact`](crate::backup::RecordOptions::compact) of all of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Held {
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// Its cluster.
    pub cluster: String,
    /// Plain bytes of its records' values.
    pub needed_bytes: u64,
    /// Plain bytes of the chunks in which they stand and that its runs refer to.
    pub held_bytes: u64,
}

/// What the newest snapshot of each group holds.
fn held(found: &[Manifest]) -> Vec<Held> {
    let mut newest: BTreeMap<Vec<&str>, &Manifest> = BTreeMap::new();
    for manifest in found {
        let namespaces = manifest.namespaces.iter().flat_map(|one| [one.name.as_str(), one.selection.as_str()]);
        let group = std::iter::once(manifest.cluster.as_str()).chain(namespaces).collect();
        let known = newest.entry(group).or_insert(manifest);
        if known.place() < manifest.place() {
            *known = manifest;
        }
    }
    let held = newest.into_values().map(|manifest| Held {
        snapshot: manifest.id,
        cluster: manifest.cluster.clone(),
        needed_bytes: manifest.namespaces.iter().map(|one| one.live_bytes).sum(),
        held_bytes: manifest.namespaces.iter().map(|one| one.reached_bytes).sum(),
    });
    held.collect()
}

/// A session at work.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionAtWork {
    /// Its id.
    pub session: SnapshotId,
    /// Where it runs.
    pub host: String,
    /// What it does.
    pub job: String,
    /// When it began.
    pub started: Timestamp,
}

impl SessionAtWork {
    fn of(session: &Session) -> Self {
        let Session { id, host, job, started, .. } = session;
        SessionAtWork { session: *id, host: host.clone(), job: job.clone(), started: Timestamp(*started) }
    }
}

/// What a collection works on.
pub struct Collector {
    /// The store.
    pub store: Arc<dyn Store>,
    /// The repository's keys.
    pub keys: Arc<Keys>,
    /// How moved chunks are written.
    pub write: WriteOptions,
    /// This machine's name.
    pub host: String,
    /// This program's name and version.
    pub program: String,
}

/// What the snapshots need and where it is.
struct Needs {
    states: States,
    marked: HashSet<SnapshotId>,
    live: Vec<ChunkId>,
    index: Arc<Index>,
    there: HashMap<PackId, u64>,
    choice: Choice,
}

/// A pending plan: its key, and what it condemns.
type PendingPlan = (String, HashSet<PackId>);

/// How the reason of a collection begins that was refused since others were at work.
pub const REFUSED: &str = "refused: ";

impl Collector {
    /// What a collection would do, and the packs that it would condemn.
    pub fn look(&self, options: &PruneOptions, control: &Control) -> Result<(PruneReport, HashSet<PackId>)> {
        let mut report = PruneReport::default();
        let options = &PruneOptions { dry_run: true, ..options.clone() };
        let met = look(&*self.store, &self.keys, options, control)?;
        let doomed = condemned_by(&self.plans()?);
        let survey = self.survey(&doomed, options, control, &mut report)?;
        let gone = |id: &PackId| doomed.contains(id) || survey.choice.condemned.binary_search(id).is_ok();
        // What no segment names may be what a session at work has stored by now, or has taken over.
        let named = survey.index.packs();
        let may_be_needed = |id: &PackId| !met.alive.is_empty() && !doomed.contains(id) && !named.contains_key(id);
        for (id, size) in survey.there.iter().filter(|(id, _)| gone(id)) {
            let (packs, bytes) = match may_be_needed(id) {
                true => (&mut report.packs_in_doubt, &mut report.bytes_in_doubt),
                false => (&mut report.packs_deleted, &mut report.bytes_deleted),
            };
            *packs += 1;
            *bytes += size;
        }
        (report.fenced, report.refused) = (met.fenced, met.refused);
        report.waits_for = met.alive.iter().map(SessionAtWork::of).collect();
        (report.chunks_moved, report.bytes_moved) = (survey.choice.moved_chunks, survey.choice.moved_bytes);
        Ok((report, survey.choice.condemned.into_iter().collect()))
    }

    /// Collects. Killed at any point and run again, it finishes.
    pub fn run(&self, options: &PruneOptions, control: &Control) -> Result<PruneReport> {
        let mut report = PruneReport::default();
        let id = objects::new_id()?;
        let now = Timestamp::now().0;
        let session = Session {
            id,
            kind: SessionKind::Collection,
            job: "prune".into(),
            host: self.host.clone(),
            program: self.program.clone(),
            process: objects::this_process(),
            started: now,
            heartbeat: now,
            lease_millis: LEASE_MILLIS,
            adopted: Vec::new(),
            outcome: None,
            journal: None,
        };
        let frugal = Arc::new(Frugal::new(self.store.clone()));
        let mut lease = Lease::begin(frugal.clone(), self.keys.clone(), self.write.suite, session)?;
        let done = self.collect(id, &frugal, options, control, &mut report);
        let status = match &done {
            Ok(()) if report.problems.is_empty() && report.deferred.is_none() => Status::Done,
            Ok(()) => Status::Incomplete(
                report.problems.iter().chain(&report.deferred).cloned().collect::<Vec<_>>().join("; "),
            ),
            Err(Error::Cancelled) => Status::Stopped,
            Err(Error::Busy(why)) => Status::Failed(format!("{REFUSED}{why}")),
            Err(error) => Status::Failed(error.to_string()),
        };
        let (ended, stored_bytes) = (Timestamp::now().0, report.bytes_moved);
        let outcome = Outcome { ended, status, records: 0, stored_bytes, damaged_chunks: Vec::new() };
        // Were this note lost, the lease would lapse.
        let _ = lease.end(outcome);
        if done.is_ok() {
            // Where there is still no room for it, the next writer makes it.
            let _ = self.store.keep_reserve();
        }
        done.map(|()| report)
    }

    fn plans(&self) -> Result<Vec<PendingPlan>> {
        let plans = objects::plans(&*self.store, &self.keys)?.into_iter();
        plans.map(|(key, plan)| Ok((key, plan?.condemned.into_iter().collect()))).collect()
    }

    fn packs(&self) -> Result<HashMap<PackId, u64>> {
        Ok(stored_packs(&*self.store)?.into_iter().collect())
    }

    fn index(&self, states: &States, excluded: HashSet<PackId>) -> Result<Arc<Index>> {
        let committed = |id: &SnapshotId| states.was_committed(id);
        Index::open(&*self.store, &self.keys, committed, excluded).map(Arc::new)
    }

    /// How many bytes of chunks there is room for, beside a session, a plan and the index.
    fn room(&self) -> Result<Option<u64>> {
        let free = self.store.free_bytes()?;
        Ok(free.map(|free| free.saturating_sub(SMALL_OBJECTS) / 4 * 3))
    }

    fn reader(&self, index: &Arc<Index>) -> Arc<ChunkReader> {
        Arc::new(ChunkReader::new(self.store.clone(), self.keys.clone(), index.clone(), CACHE_BYTES))
    }

    /// Marks, and chooses what to condemn.
    fn survey(
        &self,
        doomed: &HashSet<PackId>,
        options: &PruneOptions,
        control: &Control,
        report: &mut PruneReport,
    ) -> Result<Needs> {
        let there = self.packs()?;
        let states = objects::list_states(&*self.store, &self.keys)?;
        let found = manifests(&*self.store, &self.keys, &states, &HashSet::new())?;
        refuse_lost(&*self.store, &self.keys, &states, &found)?;
        let index = self.index(&states, HashSet::new())?;
        let reader = self.reader(&index);
        if index.lacks_segments_of(&found) {
            index.recover(&*self.store, &self.keys)?;
        }
        let mut live = HashSet::new();
        reach(&reader, &found, &mut live, control)?;
        let mut live: Vec<ChunkId> = live.into_iter().collect();
        live.sort_unstable();
        let mut how = options.clone();
        let room = self.room()?;
        how.max_rewrite_bytes = how.max_rewrite_bytes.into_iter().chain(room).min();
        let mut choice = choose(&reader, &live, &there, doomed, self.write.pack_bytes as u64, &how, control)?;
        let (used, left) = (there.values().sum::<u64>() as f64, choice.unused_bytes_left as f64);
        let is_short =
            how.max_rewrite_bytes != options.max_rewrite_bytes && room.is_some_and(|room| (room as f64) < used);
        if is_short && left > used * options.max_unused_percent / 100.0 {
            report.deferred = Some(NO_ROOM.into());
        }
        report.snapshots = found.len() as u64;
        report.held = held(&found);
        report.chunks = live.len() as u64;
        (report.packs, report.bytes) = (there.len() as u64, there.values().sum());
        report.unused_bytes = choice.unused_bytes;
        report.unused_bytes_left = choice.unused_bytes_left;
        report.chunks_missing = needed(&reader, &found, &choice.missing, control)?;
        report.problems.append(&mut choice.problems);
        let marked = found.iter().map(|manifest| manifest.id).collect();
        Ok(Needs { states, marked, live, index, there, choice })
    }

    fn collect(
        &self,
        id: SnapshotId,
        frugal: &Frugal,
        options: &PruneOptions,
        control: &Control,
        report: &mut PruneReport,
    ) -> Result<()> {
        let until = Instant::now().checked_add(options.wait).unwrap_or_else(Instant::now);
        let collection = Collection { collector: self, store: frugal, id, control };
        let settle = || settle(frugal, &self.keys, id, options, until, control);
        // Not needed by the protocol, but kind: what a writer is about to commit would be condemned, and moved for
        // nothing.
        report.fenced = settle()?;
        let mut standing = self.plans()?;
        let mut doomed = condemned_by(&standing);
        let mut needs = self.survey(&doomed, options, control, report)?;
        if frugal.is_low() && needs.choice.condemned.len() > CONDEMNED_IF_LOW {
            needs.choice.condemned.truncate(CONDEMNED_IF_LOW);
            report.deferred = Some(NO_ROOM.into());
        }
        doomed.extend(&needs.choice.condemned);
        let joined = if doomed.is_empty() {
            // Listed after the index was read: what it names and is not there is gone.
            let before = self.packs()?;
            let joined = collection.join(&needs, 0, report, |id| before.contains_key(id))?;
            collection.commit()?;
            joined
        } else {
            standing.push((names::plan(&id), doomed.clone()));
            self.write_plan(frugal, id, &doomed)?;
            report.fenced.extend(settle()?);
            collection.replace(&mut needs, &doomed, report)?
        };
        collection.clean(&needs, &doomed, &joined, &standing, report)
    }

    fn write_plan(&self, store: &dyn Store, session: SnapshotId, doomed: &HashSet<PackId>) -> Result<()> {
        let mut condemned: Vec<PackId> = doomed.iter().copied().collect();
        condemned.sort_unstable();
        let name = names::plan(&session);
        let value = structured::encode(&CollectionPlan { session, condemned }).map_err(|error| error.of(&name))?;
        let bytes = seal(&self.keys, ObjectKind::Plan, self.write.suite, &name, &value)?;
        match store.put_new(&name, &bytes)? {
            Put::Created => Ok(()),
            Put::Exists => Err(Error::damaged(name, "it exists already, though its session is new")),
        }
    }
}

/// A collection whose session has begun.
struct Collection<'a> {
    collector: &'a Collector,
    /// The store, as far as there is room in it.
    store: &'a dyn Store,
    id: SnapshotId,
    control: &'a Control,
}

impl Collection<'_> {
    /// Moves what is live out of the packs that plans condemn, commits, and deletes those of them that are `doomed`.
    /// Gives back the segments whose rows are in others now.
    fn replace(
        &self,
        needs: &mut Needs,
        doomed: &HashSet<PackId>,
        report: &mut PruneReport,
    ) -> Result<HashSet<String>> {
        let Collection { collector, store, id, control } = *self;
        let all = self.reach_newer(needs, report)?;
        let before = collector.packs()?;
        let moved = self.move_live(needs, &all, &before)?;
        if moved.stayed > 0 {
            report.deferred = Some(NO_ROOM.into());
        }
        report.chunks_moved = moved.chunks;
        report.bytes_moved = moved.stored_bytes;
        report.problems.extend(moved.problems);
        // What only others condemn may be needed by what is committed from now on: its rows stay until it is gone.
        let goes = |id: &PackId| doomed.contains(id) && !moved.kept.contains(id);
        let (number, _) = write_segments(store, &collector.keys, collector.write.suite, &id, moved.packs)?;
        let joined = self.join(needs, number, report, |id| before.contains_key(id) && !goes(id))?;
        self.commit()?;
        // From here on, whatever happens, all that is live has a copy that stays.
        for pack in doomed.iter().filter(|id| !moved.kept.contains(id)) {
            let Some(size) = before.get(pack) else { continue };
            control.check()?;
            store.delete(&names::pack(pack))?;
            report.packs_deleted += 1;
            report.bytes_deleted += size;
        }
        store.sync()?;
        Ok(joined)
    }

    /// What was committed meanwhile may need what the plan condemns: adds what it needs. Gives back what reads chunks
    /// wherever they are.
    fn reach_newer(&self, needs: &mut Needs, report: &mut PruneReport) -> Result<Arc<ChunkReader>> {
        let Collection { collector, store, control, .. } = *self;
        needs.states = objects::list_states(store, &collector.keys)?;
        let newer = manifests(store, &collector.keys, &needs.states, &needs.marked)?;
        needs.index = collector.index(&needs.states, HashSet::new())?;
        let all = collector.reader(&needs.index);
        let mut reached = HashSet::new();
        reach(&all, &newer, &mut reached, control)?;
        report.snapshots += newer.len() as u64;
        needs.live.extend(reached);
        needs.live.sort_unstable();
        needs.live.dedup();
        report.chunks = needs.live.len() as u64;
        Ok(all)
    }

    /// Moves what is live out of the packs that plans condemn, of those that were there `before`.
    fn move_live(&self, needs: &Needs, all: &ChunkReader, before: &HashMap<PackId, u64>) -> Result<Moved> {
        let Collection { collector, control, .. } = *self;
        let everywhere = condemned_by(&collector.plans()?);
        let condemned: HashSet<PackId> = everywhere.iter().filter(|id| before.contains_key(id)).copied().collect();
        let mut excluded = everywhere;
        let named = needs.index.packs().into_iter();
        excluded.extend(named.filter(|(id, size)| before.get(id) != Some(size)).map(|(id, _)| id));
        let outside = collector.reader(&collector.index(&needs.states, excluded)?);
        let move_with = |room| {
            let packs = moves::Packs { there: before, condemned: &condemned, room };
            move_out(all, &outside, &needs.live, &packs, &needs.choice.read, collector.write, control)
        };
        match move_with(collector.room()?) {
            Err(error) if error.is_full() => move_with(Some(0)),
            moved => moved,
        }
    }

    /// Joins small index segments into one of this number, unless there is no room. Gives back the keys of those.
    fn join(
        &self,
        needs: &Needs,
        number: u32,
        report: &PruneReport,
        stays: impl Fn(&PackId) -> bool,
    ) -> Result<HashSet<String>> {
        if report.deferred.is_some() {
            return Ok(HashSet::new());
        }
        let (keys, suite) = (&*self.collector.keys, self.collector.write.suite);
        let joining = Joining { store: self.store, keys, suite, index: &needs.index, states: &needs.states };
        joining.run((self.id, number), &needs.choice.missing, stays)
    }

    fn commit(&self) -> Result<()> {
        let now = Timestamp::now().0;
        objects::commit_without_snapshot(self.store, &self.collector.keys, self.id, now).map_err(fenced)
    }

    /// Cleans the index, folds old sessions, and removes the plans of which every pack is gone.
    fn clean(
        &self,
        needs: &Needs,
        doomed: &HashSet<PackId>,
        joined: &HashSet<String>,
        standing: &[PendingPlan],
        report: &mut PruneReport,
    ) -> Result<()> {
        let Collection { collector, store, control, .. } = *self;
        // Listed after the index was read: what was committed meanwhile may stand in packs that were not there before.
        let there = collector.packs()?;
        let (keys, suite, missing) = (&*collector.keys, collector.write.suite, &needs.choice.missing);
        let (index, states, there) = (&*needs.index, &needs.states, &there);
        let cleaning = Cleaning { store, keys, suite, index, states, there, doomed, missing, joined };
        let cleaned = cleaning.run(control)?;
        cleaning.clear_gone()?;
        (report.segments_deleted, report.segments_rewritten) = (cleaned.deleted, cleaned.rewritten);
        store.sync()?;
        if report.deferred.is_none() {
            let (indexed, now) = (&cleaned.indexed, Timestamp::now().0);
            let folding = Folding { store, keys, suite, states, indexed, now };
            report.sessions_deleted = folding.run(control)?;
        }
        for (key, _) in standing.iter().filter(|(_, packs)| packs.iter().all(|id| !there.contains_key(id))) {
            store.delete(key)?;
        }
        Ok(())
    }
}

/// How many of some chunks the snapshots need: runs go on to refer to what only older versions of records were in.
fn needed(reader: &ChunkReader, found: &[Manifest], missing: &HashSet<ChunkId>, control: &Control) -> Result<u64> {
    let mut needed: HashSet<ChunkId> = HashSet::new();
    if missing.is_empty() {
        return Ok(0);
    }
    for manifest in found {
        needed.extend(needed_by(reader, manifest, missing, control)?);
    }
    Ok(needed.len() as u64)
}

fn condemned_by(plans: &[PendingPlan]) -> HashSet<PackId> {
    plans.iter().flat_map(|(_, packs)| packs.iter().copied()).collect()
}

/// What a fence means to a collector.
fn fenced(error: Error) -> Error {
    match error {
        Error::Fenced { session } => Error::invalid(format!(
            "collection {session} was fenced by another one: it was counted as dead. Nothing was deleted. Its plan \
             stays pending, and the other one, or the next, carries it out"
        )),
        error => error,
    }
}
