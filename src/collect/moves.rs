//! Moving what is live out of condemned packs.

use super::choose::{ReadChunks, is_whole};
use super::mark::each_place;
use crate::chunks::{ChunkReader, ChunkWriter, WriteOptions};
use crate::control::Control;
use crate::error::Result;
use crate::format::{ChunkId, PackId};
use crate::index::{IndexedPack, Location};
use rayon::prelude::*;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// What was moved.
#[derive(Default)]
pub struct Moved {
    /// The new packs, and those that stay and that no readable segment names.
    pub packs: Vec<IndexedPack>,
    /// Chunks that were rewritten.
    pub chunks: u64,
    /// Stored bytes of the new packs.
    pub stored_bytes: u64,
    /// Packs that can't be deleted, as a live chunk is in them alone and can't be read.
    pub kept: HashSet<PackId>,
    /// Why, for people.
    pub problems: Vec<String>,
    /// Chunks that stay in condemned packs, since there was no room to write them again.
    pub stayed: u64,
}

/// The packs as a move finds them.
pub struct Packs<'a> {
    /// Packs that exist.
    pub there: &'a HashMap<PackId, u64>,
    /// Those of them that a pending plan condemns.
    pub condemned: &'a HashSet<PackId>,
    /// How many stored bytes there is room for; nobody knows if absent.
    pub room: Option<u64>,
}

/// Writes again every live chunk that has no whole copy outside the condemned packs. `all` looks chunks up everywhere,
/// `outside` in packs alone that exist and that no pending plan condemns. `live` ascends; `read` are chunks that were
/// read already.
pub fn move_out(
    all: &ChunkReader,
    outside: &Arc<ChunkReader>,
    live: &[ChunkId],
    packs: &Packs<'_>,
    read: &ReadChunks,
    options: WriteOptions,
    control: &Control,
) -> Result<Moved> {
    let store = &**all.store();
    let mut places: HashMap<ChunkId, Vec<Location>> = HashMap::new();
    let mut recovered = false;
    loop {
        places.clear();
        let mut found = vec![false; live.len()];
        let whole = each_place(all.index(), store, &mut |id, at| {
            let Ok(place) = live.binary_search(id) else { return Ok(()) };
            if packs.condemned.contains(&at.pack) {
                places.entry(*id).or_default().push(*at);
            }
            if let Some(found) = found.get_mut(place).filter(|_| packs.there.contains_key(&at.pack)) {
                *found = true;
            }
            Ok(())
        })?;
        // What no segment names may stand in a condemned pack all the same: a segment can be lost without a trace.
        if recovered || (whole && found.iter().all(|found| *found)) {
            break;
        }
        all.index().recover(store, all.keys())?;
        outside.index().recover(store, all.keys())?;
        recovered = true;
    }
    let found: Vec<Option<bool>> = places
        .par_iter()
        .map(|(id, _)| {
            control.check()?;
            let copies = outside.index().lookup(store, id)?;
            for at in &copies {
                if is_whole(outside, id, at)?.is_none() {
                    return Ok(None);
                }
            }
            Ok(Some(!copies.is_empty()))
        })
        .collect::<Result<_>>()?;
    // Those of which the copy outside is damaged are written all the same.
    let damaged: HashSet<ChunkId> =
        places.keys().zip(&found).filter(|(_, found)| **found == Some(true)).map(|(id, _)| *id).collect();
    let mut moves: Vec<(&ChunkId, &Vec<Location>)> =
        places.iter().zip(&found).filter(|(_, found)| found.is_some()).map(|(place, _)| place).collect();
    let stay = if let Some(room) = packs.room { without_room(&mut moves, room) } else { Vec::new() };
    // In the order in which they stand in the packs.
    moves.sort_by_key(|(_, places)| places.first().map(|at| (at.pack, at.place.offset)));
    let writer = ChunkWriter::new(outside.clone(), damaged, options, control.clone());
    let failed: Vec<Option<(HashSet<PackId>, String)>> = moves
        .par_iter()
        .map(|(id, places)| {
            if let Some((class, plain)) = read.get(*id) {
                control.check()?;
                writer.put(*class, plain)?;
                return Ok(None);
            }
            let mut problem = None;
            for at in *places {
                control.check()?;
                match all.read_here(id, at) {
                    Ok((class, plain)) => {
                        writer.put(class, &plain)?;
                        return Ok(None);
                    }
                    Err(error) if error.is_of_one_object() => problem = problem.or(Some(error.to_string())),
                    Err(error) => return Err(error),
                }
            }
            Ok(problem.map(|problem| (places.iter().map(|at| at.pack).collect(), problem)))
        })
        .collect::<Result<_>>()?;
    let mut moved = Moved { chunks: moves.len() as u64, stayed: stay.len() as u64, ..Moved::default() };
    moved.kept.extend(stay.iter().flat_map(|(_, places)| places.iter().map(|at| at.pack)));
    for (packs, problem) in failed.into_iter().flatten() {
        moved.chunks -= 1;
        moved.kept.extend(packs);
        moved.problems.push(format!("{problem}; its pack is condemned, and stays until the chunk can be had"));
    }
    moved.packs = writer.finish()?;
    moved.stored_bytes = moved.packs.iter().map(|(_, size, _)| size).sum();
    let written: HashSet<PackId> = moved.packs.iter().map(|(id, _, _)| *id).collect();
    let recovered = outside.index().recovered_packs().into_iter();
    moved.packs.extend(recovered.filter(|(id, _, _)| !written.contains(id)));
    Ok(moved)
}

/// A chunk that is to be moved, and where it is.
type Move<'a> = (&'a ChunkId, &'a Vec<Location>);

/// Leaves of `moves` those for which there is room, of the packs with the least in them first, and gives back the
/// others.
fn without_room<'a>(moves: &mut Vec<Move<'a>>, room: u64) -> Vec<Move<'a>> {
    let first = |places: &[Location]| places.first().map(|at| (at.pack, u64::from(at.place.stored)));
    let mut packs: HashMap<PackId, u64> = HashMap::new();
    for (pack, bytes) in moves.iter().filter_map(|(_, places)| first(places)) {
        *packs.entry(pack).or_default() += bytes;
    }
    let mut packs: Vec<(u64, PackId)> = packs.into_iter().map(|(pack, bytes)| (bytes, pack)).collect();
    packs.sort_unstable();
    let mut left = room;
    packs.retain(|(bytes, _)| {
        let fits = *bytes <= left;
        left -= if fits { *bytes } else { 0 };
        fits
    });
    let fits: HashSet<PackId> = packs.into_iter().map(|(_, pack)| pack).collect();
    let stays = |(_, places): &mut Move<'_>| first(places).is_none_or(|(pack, _)| !fits.contains(&pack));
    moves.extract_if(.., stays).collect()
}
