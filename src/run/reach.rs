//! What a run refers to, found without reading its entries; and whether all its nodes can be read.

use super::cursor::{RunCursor, below, read_leaf, read_node, root};
use super::loss::{Loss, Losses};
use super::merge::MergedCursor;
use crate::chunks::ChunkReader;
use crate::control::Control;
use crate::error::Result;
use crate::format::ChunkId;
use crate::format::header::Class;
use crate::format::leaf;
use crate::format::snapshot::RunRef;
use std::collections::HashSet;

/// Calls `each` for every chunk that a run refers to and that is not in `seen` yet, reading branch nodes alone (and the
/// one leaf of a run without any), and `lost` for each node that can't be read.
pub fn reach_run(
    chunks: &ChunkReader,
    run: &RunRef,
    seen: &mut HashSet<ChunkId>,
    each: &mut dyn FnMut(ChunkId, Class),
    lost: &mut dyn FnMut(Loss),
) -> Result<()> {
    let mut nodes = vec![root(run)];
    while let Some(node) = nodes.pop() {
        if seen.insert(node.chunk) {
            each(node.chunk, Class::Tree);
        } else if !chunks.is_damaged(&node.chunk) {
            continue;
        }
        // A node that was lost in another run is lost here too.
        let uses = match node.level {
            0 if run.level > 0 => continue,
            0 => read_leaf(chunks, &node).map(|leaf| (Vec::new(), leaf::chunk_ids(&leaf.to_entries()))),
            _ => read_node(chunks, &node).map(|children| {
                let uses = children.iter().flat_map(|child| child.uses.iter().copied()).collect();
                (Vec::from(below(&node, &children)), uses)
            }),
        };
        match uses {
            Ok((children, uses)) => {
                nodes.extend(children);
                uses.into_iter().filter(|id| seen.insert(*id)).for_each(|id| each(id, Class::Data));
            }
            Err(error) if error.is_of_one_object() => lost(Loss::of(&node, &error)),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Those of some chunks that these runs, given newest first, need: all of entries, and those of values that an entry
/// refers to which no newer run hides. What is in a range that can't be read is not known and doesn't count;
/// [`reach_run`] tells of that.
pub fn needed_of(
    chunks: &ChunkReader,
    runs: &[RunRef],
    wanted: &HashSet<ChunkId>,
    control: &Control,
) -> Result<HashSet<ChunkId>> {
    let (mut needed, mut of_values) = (HashSet::new(), false);
    let mut seen = HashSet::new();
    for run in runs {
        let each = &mut |id: ChunkId, class| {
            if wanted.contains(&id) {
                match class {
                    Class::Data => of_values = true,
                    _ => needed.extend([id]),
                }
            }
        };
        reach_run(chunks, run, &mut seen, each, &mut |_| {})?;
    }
    if !of_values {
        return Ok(needed);
    }
    let mut entries = MergedCursor::tolerant(chunks, runs)?;
    while let Some(entry) = entries.next()? {
        control.check()?;
        let used = entry.live.iter().flat_map(|live| live.place.chunks());
        needed.extend(used.filter(|id| wanted.contains(id)).copied());
    }
    Ok(needed)
}

/// Reads all nodes of runs and says which can't be read.
pub fn survey(chunks: &ChunkReader, runs: &[RunRef]) -> Result<Losses> {
    let mut losses = Losses::default();
    for run in runs {
        let mut cursor = RunCursor::tolerant(chunks, run)?;
        while cursor.next()?.is_some() {}
        losses.add(cursor.losses());
    }
    Ok(losses)
}
