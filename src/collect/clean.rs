//! Cleaning the index: segments of sessions that were never committed go, rows of packs that are gone go, and small
//! segments of sessions that have no snapshot any more become one.

use super::fold::to_merge;
use super::mark::States;
use crate::control::Control;
use crate::crypto::{Keys, Sealer};
use crate::error::{Error, Result};
use crate::format::header::{Class, ObjectKind, Suite};
use crate::format::pack::DirectoryRow;
use crate::format::snapshot::SnapshotState;
use crate::format::{ChunkId, PackId, SnapshotId, names};
use crate::index::{Index, IndexedPack, Joined, encode_segment, write_joined};
use crate::objects;
use crate::store::Store;
use std::collections::{BTreeSet, HashMap, HashSet};

/// So many segments are left alone.
const FEW_SEGMENTS: usize = 8;
/// One collection joins segments of at most so many rows in all: about 80 MiB of memory.
const MAX_JOINED_ROWS: u32 = 1 << 20;

/// What was cleaned.
#[derive(Clone, Debug, Default)]
pub struct Cleaned {
    /// Segments that are gone.
    pub deleted: u64,
    /// Segments that were rewritten without the rows of packs that are gone.
    pub rewritten: u64,
    /// The sessions of the segments that stay.
    pub indexed: HashSet<SnapshotId>,
}

/// The rows of a segment, by pack; `None` if they can't be read.
fn rows_of(index: &Index, store: &dyn Store, session: &SnapshotId, number: u32) -> Result<Option<Vec<IndexedPack>>> {
    let Some((packs, _)) = index.contents_of(session, number) else { return Ok(None) };
    let mut found: HashMap<PackId, (u64, Vec<DirectoryRow>)> =
        packs.iter().map(|(id, size)| (*id, (*size, Vec::new()))).collect();
    let read = index.each_row(store, session, number, &mut |id, at| {
        let (_, rows) = found.get_mut(&at.pack).ok_or_else(|| Error::internal("a row of a pack that is not named"))?;
        rows.push(DirectoryRow { id: *id, place: at.place });
        Ok(())
    });
    match read {
        Ok(()) => Ok(Some(found.into_iter().map(|(id, (size, rows))| (id, size, rows)).collect())),
        Err(error) if error.is_of_one_object() => Ok(None),
        Err(error) => Err(error),
    }
}

/// What a join of segments must know.
pub struct Joining<'a> {
    /// The store.
    pub store: &'a dyn Store,
    /// The repository's keys.
    pub keys: &'a Keys,
    /// What seals the segment.
    pub suite: Suite,
    /// The index as the collector read it once all sessions were settled.
    pub index: &'a Index,
    /// The states of names at that time.
    pub states: &'a States,
}

impl Joining<'_> {
    /// Joins the smallest segments into one of the collector's own, of this number, and gives back the keys of those.
    /// They go once the collector has committed. A pack's rows stay if `stays` says so, or if they say where a chunk
    /// was that is missing now. Of segments of snapshots the new one keeps the names, so that a segment that is lost
    /// goes on to be missed.
    pub fn run(
        &self,
        own: Joined,
        missing: &HashSet<ChunkId>,
        stays: impl Fn(&PackId) -> bool,
    ) -> Result<HashSet<String>> {
        let (mut keys, mut packs, mut names_of) = (HashSet::new(), Vec::new(), BTreeSet::new());
        let rows_in = |(session, number): &Joined| self.index.contents_of(session, *number).map_or(0, |found| found.1);
        let mut candidates: Vec<(u64, Joined)> =
            self.index.segments().into_iter().map(|segment| (u64::from(rows_in(&segment)) + 1, segment)).collect();
        if candidates.len() <= FEW_SEGMENTS {
            return Ok(keys);
        }
        candidates.sort_unstable();
        let sizes: Vec<u64> = candidates.iter().map(|(size, _)| *size).collect();
        candidates.truncate(to_merge(&sizes, 0, MAX_JOINED_ROWS.into()));
        if candidates.len() < 2 {
            return Ok(keys);
        }
        let is_kept = |session: &SnapshotId| self.states.get(session) == Some(SnapshotState::Committed);
        for (_, (session, number)) in candidates {
            let Some(found) = rows_of(self.index, self.store, &session, number)? else { continue };
            let is_missing = |rows: &[DirectoryRow]| rows.iter().any(|row| missing.contains(&row.id));
            packs.extend(found.into_iter().filter(|(id, _, rows)| stays(id) || is_missing(rows)));
            let joined = self.index.joined_into(&session, number).iter().copied().chain([(session, number)]);
            names_of.extend(joined.filter(|(session, _)| is_kept(session)));
            keys.insert(names::index_segment(&session, number));
        }
        let names_of: Vec<Joined> = names_of.into_iter().collect();
        write_joined(self.store, self.keys, self.suite, own, packs, &names_of)?;
        Ok(keys)
    }
}

/// What a cleaning must know.
pub struct Cleaning<'a> {
    /// The store.
    pub store: &'a dyn Store,
    /// The repository's keys.
    pub keys: &'a Keys,
    /// What seals new segments.
    pub suite: Suite,
    /// The index as the collector read it once all sessions were settled.
    pub index: &'a Index,
    /// The states of names at that time.
    pub states: &'a States,
    /// The packs that exist.
    pub there: &'a HashMap<PackId, u64>,
    /// Packs that were condemned.
    pub doomed: &'a HashSet<PackId>,
    /// Chunks that snapshots need and no pack holds: rows that say where they were stay.
    pub missing: &'a HashSet<ChunkId>,
    /// Segments whose rows stand in others now.
    pub joined: &'a HashSet<String>,
}

impl Cleaning<'_> {
    /// Cleans. Killed on the way, the next one goes on.
    pub fn run(&self, control: &Control) -> Result<Cleaned> {
        let mut cleaned = Cleaned::default();
        for listed in self.store.list(names::INDEX)? {
            control.check()?;
            let Some((session, number)) = names::parse_index_segment(&listed.key) else { continue };
            let joined = self.index.joined_into(&session, number);
            let delete = match self.states.get(&session) {
                None => false,
                Some(SnapshotState::Fenced) => true,
                Some(_) if self.joined.contains(&listed.key) => true,
                Some(_) => match self.without_gone(&session, number)? {
                    None => false,
                    Some(packs)
                        if packs.is_empty() && self.is_marker(&session) && !self.names_kept(&session, number) =>
                    {
                        true
                    }
                    Some(packs) => {
                        self.rewrite(&listed.key, packs, joined)?;
                        cleaned.rewritten += 1;
                        false
                    }
                },
            };
            if delete {
                self.store.delete(&listed.key)?;
                cleaned.deleted += 1;
            } else {
                cleaned.indexed.insert(session);
            }
        }
        Ok(cleaned)
    }

    /// Deletes holds of sessions that were fenced, since their snapshots will never be, and labels of snapshots that
    /// are gone.
    pub fn clear_gone(&self) -> Result<()> {
        for object in self.store.list(names::TAGS)? {
            let state = names::parse_tags(&object.key).and_then(|(snapshot, _)| self.states.get(&snapshot));
            if matches!(state, Some(SnapshotState::Forgotten | SnapshotState::Fenced)) {
                self.store.delete(&object.key)?;
            }
        }
        for (snapshot, id) in objects::list_holds(self.store, names::HOLDS)? {
            if self.states.get(&snapshot) == Some(SnapshotState::Fenced) {
                self.store.delete(&names::hold(&snapshot, &id))?;
            }
        }
        Ok(())
    }

    /// What a segment shall name; `None` if it may stay as it is, or can't be read.
    fn without_gone(&self, session: &SnapshotId, number: u32) -> Result<Option<Vec<IndexedPack>>> {
        let Some((packs, _)) = self.index.contents_of(session, number) else { return Ok(None) };
        let is_there = |id: &PackId| self.there.contains_key(id);
        let is_useless = packs.is_empty() && self.is_marker(session) && !self.names_kept(session, number);
        if packs.iter().all(|(id, _)| is_there(id)) && !is_useless {
            return Ok(None);
        }
        let Some(rows) = rows_of(self.index, self.store, session, number)? else { return Ok(None) };
        let before = rows.len();
        let stays = |(id, _, rows): &IndexedPack| {
            is_there(id) || (!self.doomed.contains(id) && rows.iter().any(|row| self.missing.contains(&row.id)))
        };
        let packs: Vec<IndexedPack> = rows.into_iter().filter(stays).collect();
        Ok((packs.len() < before || is_useless).then_some(packs))
    }

    /// Whether segments of snapshots that stay were joined into this one.
    fn names_kept(&self, session: &SnapshotId, number: u32) -> bool {
        let is_kept = |session: &SnapshotId| self.states.get(session) == Some(SnapshotState::Committed);
        self.index.joined_into(session, number).iter().any(|(session, _)| is_kept(session))
    }

    fn is_marker(&self, session: &SnapshotId) -> bool {
        self.states.get(session) == Some(SnapshotState::Forgotten)
    }

    fn rewrite(&self, key: &str, mut packs: Vec<IndexedPack>, joined: &[Joined]) -> Result<()> {
        packs.sort_by_key(|pack| pack.0);
        let sealer = Sealer::create(self.keys, ObjectKind::Index, Class::Index, self.suite)?;
        let bytes = encode_segment(&sealer, key, &packs, joined).map_err(|error| error.of(key))?;
        self.store.put(key, &bytes)
    }
}
