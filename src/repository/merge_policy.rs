//! When a backup merges the runs below it, and which values it moves while it does.

use crate::error::Result;
use crate::format::ChunkId;
use crate::format::snapshot::{NamespaceManifest, RunRef};
use crate::pack::ChunkReader;
use crate::run::{MergedCursor, ValuePlace};
use std::collections::{HashMap, HashSet};

/// With more runs than this above the oldest, all are merged: a lookup may have to read a leaf of each.
const MAX_NEWER_RUNS: usize = 24;
/// Once the newer runs have as many entries as the oldest, all are merged.
const MAX_NEWER_ENTRIES: f64 = 1.0;
/// Once a snapshot refers to this many times the bytes that it needs, all runs are merged and values moved. The promise is
/// twice; what the backup at hand adds is estimated by the last one.
const MAX_REACHED: f64 = 1.95;
/// A merge moves values until the snapshot refers to this many times the bytes that it needs. Moving less brings the next merge
/// sooner, and that writes all entries anew; moving more writes values anew that are about to be changed. With one record in twenty
/// changed a day this writes the least in thirty days (`benches/collection.rs`).
const REACHED_AFTER: f64 = 1.4;
/// Values move out of chunks of which less than this is live.
const MOSTLY_DEAD: f64 = 0.5;
/// At most this part of the live bytes is moved by one backup.
const MAX_MOVED: f64 = 0.5;
/// Plain bytes of an entry: digest, hash and some columns.
const ENTRY_BYTES: u64 = 40;

/// Whether a backup that builds on `parent` shall write all entries anew as one run.
pub fn merges(parent: &NamespaceManifest) -> bool {
    let Some((oldest, newer)) = parent.runs.split_last() else { return false };
    if newer.is_empty() {
        return false;
    }
    let last = newer.first().map_or(0, |run: &RunRef| run.entries);
    let newer_entries: u64 = newer.iter().map(|run| run.entries).sum::<u64>() + last;
    let last_bytes = parent.live_bytes.checked_div(parent.live_records).unwrap_or(0).saturating_mul(last);
    let trees: u64 = parent.runs.iter().map(|run| run.tree_bytes).sum();
    let reached = parent.reached_bytes + last_bytes + trees + last * ENTRY_BYTES;
    let needed = parent.live_bytes + parent.live_records * ENTRY_BYTES;
    newer.len() >= MAX_NEWER_RUNS
        || newer_entries as f64 > MAX_NEWER_ENTRIES * oldest.entries as f64
        || reached as f64 > MAX_REACHED * needed as f64
        || (parent.reached_bytes + last_bytes) as f64 > MAX_REACHED * parent.live_bytes as f64
}

/// What a merge does with the values.
#[derive(Default)]
pub struct Moves {
    /// Chunks that the live values are moved out of.
    pub chunks: HashSet<ChunkId>,
    /// Plain bytes of the chunks that the merged run still refers to.
    pub kept_bytes: u64,
}

/// Adds what a live value takes of its chunks. One that a value goes on in is never mostly dead, even if values begin in it too.
fn count_live(live: &mut HashMap<ChunkId, u64>, place: &ValuePlace) {
    let bytes = live.entry(place.chunk).or_default();
    *bytes = bytes.saturating_add(u64::from(place.length));
    for id in &place.more {
        live.insert(*id, u64::MAX);
    }
}

/// Looks through the live entries of all runs for chunks that are mostly dead, the deadest first.
pub fn plan_moves(chunks: &ChunkReader, mut merged: MergedCursor<'_>) -> Result<Moves> {
    let mut live: HashMap<ChunkId, u64> = HashMap::new();
    let mut total = 0;
    while let Some(entry) = merged.next()? {
        let Some(record) = entry.live else { continue };
        total += u64::from(record.place.length);
        count_live(&mut live, &record.place);
    }
    let mut moves = Moves::default();
    let mut dead = Vec::new();
    for (id, live) in live {
        let plain = chunks.locate(&id)?.first().map_or(0, |at| u64::from(at.place.plain));
        moves.kept_bytes += plain;
        if plain > 0 && (live as f64) < MOSTLY_DEAD * plain as f64 {
            dead.push((live as f64 / plain as f64, id, live, plain));
        }
    }
    dead.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let mut moved = 0;
    for (_, id, live, plain) in dead {
        let enough = (moves.kept_bytes + moved) as f64 <= REACHED_AFTER * total as f64;
        if enough || (moved + live) as f64 > MAX_MOVED * total as f64 {
            break;
        }
        moved += live;
        moves.chunks.insert(id);
        moves.kept_bytes -= plain;
    }
    Ok(moves)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As in the chunks of two records that hold nothing but zeros: all are the same chunk.
    #[test]
    fn a_chunk_that_values_begin_in_and_go_on_in_counts_as_live() {
        let zeros = ChunkId([0; 32]);
        let place = ValuePlace { chunk: zeros, more: vec![zeros; 3].into(), offset: 0, length: 1 << 20 };
        let mut live = HashMap::new();
        count_live(&mut live, &place);
        count_live(&mut live, &place);
        count_live(&mut live, &ValuePlace { more: Box::default(), ..place });
        assert_eq!(live[&zeros], u64::MAX);
    }
}
