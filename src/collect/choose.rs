//! Which packs a collection condemns: those that nothing needs, of the others those that hold the most that nothing
//! needs, as long as too much is held in all, and small ones once there are many.

use super::mark::each_place;
use super::options::PruneOptions;
use crate::chunks::ChunkReader;
use crate::control::Control;
use crate::error::{Error, Result};
use crate::format::header::Class;
use crate::format::{ChunkId, PackId, names};
use crate::index::{Index, Location};
use crate::pack::{read_directory, stored_packs};
use crate::store::Store;
use crate::sync::lock;
use rayon::prelude::*;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

/// With fewer small packs than this they are left alone: each backup leaves some, and joining them all the time would
/// write them again all the time.
const MANY_SMALL: usize = 32;
/// A pack is small below this part of the size at which packs are closed.
const SMALL: u64 = 16;
/// Plaintext of chunks to be moved that is kept until it is written, so that it need not be read again: 64 MiB.
const KEPT_BYTES: usize = 64 << 20;
/// A plan names at most this many packs, 32 MiB of ids; the next collection goes on.
const MAX_CONDEMNED: usize = 1 << 20;
/// A chunk that no pack holds.
const NOWHERE: u32 = u32::MAX;
/// A chunk that is in packs alone that an earlier plan condemns.
const DOOMED: u32 = u32::MAX - 1;

/// What was chosen.
#[derive(Debug, Default)]
pub struct Choice {
    /// Packs that nothing needs, or whose chunks are to be moved.
    pub condemned: Vec<PackId>,
    /// Chunks to be moved, and their stored bytes.
    pub moved_chunks: u64,
    /// Stored bytes of those.
    pub moved_bytes: u64,
    /// Stored bytes of chunks that nothing needs, in packs that no earlier plan condemned.
    pub unused_bytes: u64,
    /// The same, of those that stay.
    pub unused_bytes_left: u64,
    /// Chunks that snapshots need and no pack holds.
    pub missing: HashSet<ChunkId>,
    /// What can't be read and so stays where it is, for people.
    pub problems: Vec<String>,
    /// Chunks to be moved that were read already.
    pub read: ReadChunks,
}

/// Chunks that were read: class and plaintext.
pub type ReadChunks = HashMap<ChunkId, (Class, Vec<u8>)>;

/// A pack that no earlier plan condemned. Numbers are stored bytes of chunks.
struct Pack {
    id: PackId,
    all: u64,
    live: u64,
    live_chunks: u64,
}

impl Pack {
    /// Whether the options admit that it is condemned.
    fn may_go(&self, options: &PruneOptions) -> bool {
        options.only.as_ref().is_none_or(|only| only.contains(&self.id))
    }
}

/// Decides. `live` ascends; `there` are the packs that exist, with their sizes, `doomed` those that earlier plans
/// condemn, and `pack_bytes` is the size at which packs are closed.
pub fn choose(
    reader: &ChunkReader,
    live: &[ChunkId],
    there: &HashMap<PackId, u64>,
    doomed: &HashSet<PackId>,
    pack_bytes: u64,
    options: &PruneOptions,
    control: &Control,
) -> Result<Choice> {
    let (store, index) = (&**reader.store(), reader.index());
    let mut ids: Vec<PackId> = there.keys().filter(|id| !doomed.contains(id)).copied().collect();
    ids.sort_unstable();
    let numbers: HashMap<PackId, u32> = (0..).zip(&ids).map(|(n, id)| (*id, n)).collect();
    let homes = homes(reader, live, there, &numbers, control)?;
    let home = |id: &ChunkId| live.binary_search(id).ok().and_then(|at| homes.get(at)).copied();
    let mut packs = measured(reader, ids, &numbers, home)?;
    let mut choice = Choice::default();
    let nowhere = live.iter().zip(&homes).filter(|(_, home)| **home == NOWHERE).map(|(id, _)| *id).collect();
    choice.missing = without_newer(index, store, nowhere, there)?;
    choice.unused_bytes = packs.iter().map(|pack| pack.all - pack.live).sum();
    let hiding = hiding(reader, &packs, there, &choice.missing)?;
    choice.problems.extend(hiding.iter().map(names::pack).map(|name| {
        format!("{name} holds chunks that the index hides and snapshots need; it stays as it is. Run aerolith repair")
    }));
    packs.retain(|pack| !hiding.contains(&pack.id));
    let room = MAX_CONDEMNED.saturating_sub(doomed.len());
    let (dead, partly): (Vec<Pack>, Vec<Pack>) = packs.into_iter().partition(|pack| pack.live == 0);
    choice.condemned.extend(dead.iter().filter(|pack| pack.may_go(options)).map(|pack| pack.id).take(room));
    let left_alone: u64 = dead.iter().filter(|pack| !pack.may_go(options)).map(|pack| pack.all).sum();
    let is_small = |pack: &Pack| there.get(&pack.id).is_some_and(|size| *size < pack_bytes / SMALL);
    let (mut chosen, mut unused) = to_rewrite(partly, is_small, room - choice.condemned.len(), options);
    let mut moves: Vec<(ChunkId, Location)> = Vec::new();
    each_place(index, store, &mut |id, at| {
        if chosen.contains_key(&at.pack) && home(id).is_some_and(|home| numbers.get(&at.pack) == Some(&home)) {
            moves.push((*id, *at));
        }
        Ok(())
    })?;
    // A plan can't be taken back: what is condemned must be readable before it is.
    let (unreadable, read) = read_moves(reader, &moves, if options.dry_run { 0 } else { KEPT_BYTES }, control)?;
    choice.read = read;
    for (pack, problem) in unreadable {
        if let Some(pack) = chosen.remove(&pack) {
            unused += pack.all - pack.live;
            choice.problems.push(format!("{problem}; {} stays as it is", names::pack(&pack.id)));
        }
    }
    choice.moved_chunks = chosen.values().map(|pack| pack.live_chunks).sum();
    choice.moved_bytes = chosen.values().map(|pack| pack.live).sum();
    choice.unused_bytes_left = unused + left_alone;
    choice.condemned.extend(chosen.into_keys());
    choice.condemned.sort_unstable();
    Ok(choice)
}

/// The packs, in the order of their numbers, and how much of each is live: what is at home in it.
fn measured(
    reader: &ChunkReader,
    ids: Vec<PackId>,
    numbers: &HashMap<PackId, u32>,
    home: impl Fn(&ChunkId) -> Option<u32>,
) -> Result<Vec<Pack>> {
    let mut packs: Vec<Pack> = ids.into_iter().map(|id| Pack { id, all: 0, live: 0, live_chunks: 0 }).collect();
    each_place(reader.index(), &**reader.store(), &mut |id, at| {
        let Some(&number) = numbers.get(&at.pack) else { return Ok(()) };
        let pack = packs.get_mut(number as usize);
        let pack = pack.ok_or_else(|| Error::internal("a pack has a number and no place"))?;
        pack.all += u64::from(at.place.stored);
        if home(id) == Some(number) {
            pack.live += u64::from(at.place.stored);
            pack.live_chunks += 1;
        }
        Ok(())
    })?;
    Ok(packs)
}

/// The packs that hold what is missing: a segment names them without these chunks.
fn hiding(
    reader: &ChunkReader,
    packs: &[Pack],
    there: &HashMap<PackId, u64>,
    missing: &HashSet<ChunkId>,
) -> Result<BTreeSet<PackId>> {
    let hides = |pack: &Pack| match there.get(&pack.id) {
        Some(size) if !missing.is_empty() => holds_any(reader, pack.id, *size, missing),
        _ => Ok(false),
    };
    let hiding = packs.par_iter().filter_map(|pack| hides(pack).map(|hides| hides.then_some(pack.id)).transpose());
    hiding.collect()
}

/// Of packs that are partly or wholly needed, at most `room` that are to be rewritten: those of which the most is
/// unused, as long as too much is, and small ones if there are many. Also the bytes that stay unused.
fn to_rewrite(
    mut partly: Vec<Pack>,
    is_small: impl Fn(&Pack) -> bool,
    room: usize,
    options: &PruneOptions,
) -> (HashMap<PackId, Pack>, u64) {
    let needed: u64 = partly.iter().map(|pack| pack.live).sum();
    let mut unused: u64 = partly.iter().map(|pack| pack.all - pack.live).sum();
    // Of what is there afterwards, live and unused, so much may be unused.
    let allowed = |unused: u64| unused as f64 <= (needed + unused) as f64 * options.max_unused_percent / 100.0;
    let part_unused = |pack: &Pack| (pack.all - pack.live) as f64 / pack.all as f64;
    // Those that are wholly needed move only if they are small and many.
    let small: Vec<Pack> = partly.extract_if(.., |pack| is_small(pack)).collect();
    let (join, small): (Vec<Pack>, Vec<Pack>) =
        if small.len() >= MANY_SMALL { (small, Vec::new()) } else { (Vec::new(), small) };
    partly.extend(small);
    partly.retain(|pack| pack.live < pack.all && pack.may_go(options));
    partly.sort_by(|a, b| part_unused(b).total_cmp(&part_unused(a)).then(a.id.cmp(&b.id)));
    let mut chosen: HashMap<PackId, Pack> = HashMap::new();
    let mut budget = options.max_rewrite_bytes.unwrap_or(u64::MAX);
    for pack in partly {
        if allowed(unused) || chosen.len() >= room {
            break;
        }
        if pack.live <= budget {
            budget -= pack.live;
            unused -= pack.all - pack.live;
            chosen.insert(pack.id, pack);
        }
    }
    let mut joined = 0;
    for pack in join.into_iter().filter(|pack| pack.may_go(options)) {
        if chosen.len() < room && pack.live <= budget {
            budget -= pack.live;
            unused -= pack.all - pack.live;
            joined += 1;
            chosen.insert(pack.id, pack);
        }
    }
    // One alone would become another one alone.
    if joined == 1 {
        chosen.retain(|_, pack| pack.live < pack.all || !is_small(pack));
    }
    (chosen, unused)
}

/// The number of the pack that each live chunk is to stay in. Where a chunk has several copies, they are read until one
/// is found that is whole: a backup that heals writes a second copy of a damaged chunk.
fn homes(
    reader: &ChunkReader,
    live: &[ChunkId],
    there: &HashMap<PackId, u64>,
    numbers: &HashMap<PackId, u32>,
    control: &Control,
) -> Result<Vec<u32>> {
    let (store, index) = (&**reader.store(), reader.index());
    let mut recovered = false;
    let (mut homes, copies) = loop {
        let mut homes = vec![NOWHERE; live.len()];
        let mut copies = BTreeSet::new();
        let whole = each_place(index, store, &mut |id, at| {
            let Ok(place) = live.binary_search(id) else { return Ok(()) };
            let home = homes.get_mut(place);
            let home = home.ok_or_else(|| Error::internal("a live chunk has no place"))?;
            match numbers.get(&at.pack) {
                Some(_) if *home < DOOMED => {
                    copies.insert(place);
                }
                Some(number) => *home = *number,
                None if *home == NOWHERE && there.contains_key(&at.pack) => *home = DOOMED,
                None => {}
            }
            Ok(())
        })?;
        if recovered || (whole && !homes.contains(&NOWHERE)) {
            break (homes, copies);
        }
        index.recover(store, reader.keys())?;
        recovered = true;
    };
    let copies: Vec<usize> = copies.into_iter().collect();
    let found: Vec<Option<u32>> = copies
        .par_iter()
        .map(|place| {
            control.check()?;
            let id = live.get(*place).ok_or_else(|| Error::internal("a copy of a chunk that isn't live"))?;
            for at in index.lookup(store, id)? {
                let Some(number) = numbers.get(&at.pack) else { continue };
                if is_whole(reader, id, &at)?.is_none() {
                    return Ok(Some(*number));
                }
            }
            Ok(None)
        })
        .collect::<Result<_>>()?;
    for (place, number) in copies.into_iter().zip(found) {
        let home = homes.get_mut(place).ok_or_else(|| Error::internal("a live chunk has no place"))?;
        *home = number.unwrap_or(*home);
    }
    Ok(homes)
}

/// What is in no pack that was stored since those in `there` were listed, as those are that a backup brought which was
/// committed meanwhile.
fn without_newer(
    index: &Index,
    store: &dyn Store,
    nowhere: Vec<ChunkId>,
    there: &HashMap<PackId, u64>,
) -> Result<HashSet<ChunkId>> {
    let mut missing = HashSet::new();
    if nowhere.is_empty() {
        return Ok(missing);
    }
    let newer: HashSet<PackId> =
        stored_packs(store)?.into_iter().map(|(id, _)| id).filter(|id| !there.contains_key(id)).collect();
    for id in nowhere {
        if !index.lookup(store, &id)?.iter().any(|at| newer.contains(&at.pack)) {
            missing.insert(id);
        }
    }
    Ok(missing)
}

/// Whether a pack's own directory names one of these chunks; a directory that can't be read names none.
fn holds_any(reader: &ChunkReader, id: PackId, size: u64, wanted: &HashSet<ChunkId>) -> Result<bool> {
    match read_directory(&**reader.store(), reader.keys(), id, size) {
        Ok((_, rows)) => Ok(rows.iter().any(|row| wanted.contains(&row.id))),
        Err(error) if error.is_of_one_object() => Ok(false),
        Err(error) => Err(error),
    }
}

/// What is wrong with a chunk's copy; `None` if it is whole.
pub fn is_whole(reader: &ChunkReader, id: &ChunkId, at: &Location) -> Result<Option<String>> {
    match reader.read_here(id, at) {
        Ok(_) => Ok(None),
        Err(error) if error.is_of_one_object() => Ok(Some(error.to_string())),
        Err(error) => Err(error),
    }
}

/// Reads what is to be moved; gives back the packs of which a chunk can't be read, with why, and as much of what was
/// read as may be kept.
fn read_moves(
    reader: &ChunkReader,
    moves: &[(ChunkId, Location)],
    keep_bytes: usize,
    control: &Control,
) -> Result<(HashMap<PackId, String>, ReadChunks)> {
    let kept: Mutex<(usize, ReadChunks)> = Mutex::default();
    let found: Vec<Option<(PackId, String)>> = moves
        .par_iter()
        .map(|(id, at)| {
            control.check()?;
            control.add_bytes_in(u64::from(at.place.stored));
            match reader.read_here(id, at) {
                Ok((class, plain)) => {
                    let mut kept = lock(&kept);
                    if kept.0 + plain.len() <= keep_bytes {
                        kept.0 += plain.len();
                        kept.1.insert(*id, (class, plain));
                    }
                    Ok(None)
                }
                Err(error) if error.is_of_one_object() => Ok(Some((at.pack, error.to_string()))),
                Err(error) => Err(error),
            }
        })
        .collect::<Result<_>>()?;
    let (_, kept) = kept.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok((found.into_iter().flatten().collect(), kept))
}
