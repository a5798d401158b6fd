//! Cleaning the index: segments of sessions that were never committed go, rows of packs that are gone go, and small segments of
//! sessions that have no snapshot any more become one.

use super::mark::States;
use crate::control::Control;
use crate::crypto::{Keys, Sealer};
use crate::error::Result;
use crate::format::header::{Class, ObjectKind, Suite};
use crate::format::pack::DirectoryRow;
use crate::format::snapshot::SnapshotState;
use crate::format::{ChunkId, PackId, SnapshotId, names};
use crate::index::{Index, IndexedPack, encode_segment};
use crate::objects;
use crate::store::Store;
use std::collections::{HashMap, HashSet};

/// So many segments without a snapshot are left alone.
const FEW_SEGMENTS: usize = 8;
/// One collection joins segments of at most so many rows in all: about 80 MiB of memory.
const MAX_JOINED_ROWS: u32 = 1 << 20;

/// What was cleaned.
#[derive(Clone, Debug, Default)]
pub struct Cleaned {
    /// Segments that are gone.
    pub deleted: u64,
    /// Segments that were written anew without the rows of packs that are gone.
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
        if let Some((_, rows)) = found.get_mut(&at.pack) {
            rows.push(DirectoryRow { id: *id, place: at.place });
        }
        Ok(())
    });
    match read {
        Ok(()) => Ok(Some(found.into_iter().map(|(id, (size, rows))| (id, size, rows)).collect())),
        Err(error) if error.is_of_one_object() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Segments to be joined into the collector's own: their keys, and the packs that they name and that stay. Only segments of
/// sessions whose names are markers can go: a manifest says how many it has.
pub fn to_join(
    index: &Index,
    store: &dyn Store,
    states: &States,
    stays: impl Fn(&PackId) -> bool,
) -> Result<(Vec<String>, Vec<IndexedPack>)> {
    let (mut keys, mut packs, mut rows) = (Vec::new(), Vec::new(), 0u32);
    let mut candidates = index.segments();
    candidates.retain(|(session, _)| states.get(session) == Some(SnapshotState::Forgotten));
    if candidates.len() <= FEW_SEGMENTS {
        return Ok((keys, packs));
    }
    for (session, number) in candidates {
        let Some((_, more)) = index.contents_of(&session, number) else { continue };
        if rows.saturating_add(more) > MAX_JOINED_ROWS {
            continue;
        }
        if let Some(found) = rows_of(index, store, &session, number)? {
            rows += more;
            packs.extend(found.into_iter().filter(|(id, _, _)| stays(id)));
            keys.push(names::index_segment(&session, number));
        }
    }
    Ok((keys, packs))
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
    /// Chunks that snapshots need and no pack holds: rows that say where they stood stay.
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
            let delete = match self.states.get(&session) {
                None => false,
                Some(SnapshotState::Fenced) => true,
                Some(state) if self.joined.contains(&listed.key) => state == SnapshotState::Forgotten,
                Some(state) => match self.without_gone(&session, number)? {
                    None => false,
                    Some(packs) if packs.is_empty() && state == SnapshotState::Forgotten => true,
                    Some(packs) => {
                        self.rewrite(&listed.key, packs)?;
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

    /// Deletes holds of sessions that were fenced, since their snapshots will never be, and labels of snapshots that are gone.
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
        if packs.iter().all(|(id, _)| is_there(id)) && !(packs.is_empty() && self.is_marker(session)) {
            return Ok(None);
        }
        let Some(rows) = rows_of(self.index, self.store, session, number)? else { return Ok(None) };
        let before = rows.len();
        let stays = |(id, _, rows): &IndexedPack| {
            is_there(id) || (!self.doomed.contains(id) && rows.iter().any(|row| self.missing.contains(&row.id)))
        };
        let packs: Vec<IndexedPack> = rows.into_iter().filter(stays).collect();
        Ok((packs.len() < before || packs.is_empty()).then_some(packs))
    }

    fn is_marker(&self, session: &SnapshotId) -> bool {
        self.states.get(session) == Some(SnapshotState::Forgotten)
    }

    fn rewrite(&self, key: &str, mut packs: Vec<IndexedPack>) -> Result<()> {
        packs.sort_by_key(|pack| pack.0);
        let sealer = Sealer::create(self.keys, ObjectKind::Index, Class::Index, self.suite)?;
        let bytes = encode_segment(&sealer, key, &packs).map_err(|error| error.of(key))?;
        self.store.put(key, &bytes)
    }
}
