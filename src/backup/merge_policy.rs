//! When a backup merges runs below it, how many of the oldest, and which values it moves while it does.
//!
//! A merge writes the entries of the runs that it merges again, but for those that newer runs hide. So the fewer it
//! merges the less it writes: it takes as many of the oldest as it must, and neighbours that are small where there are
//! just too many runs. Only a chunk to which no other run refers is let go.

use crate::chunks::ChunkReader;
use crate::error::Result;
use crate::format::ChunkId;
use crate::format::header::Class;
use crate::format::snapshot::{NamespaceManifest, RunRef};
use crate::run::{Losses, MergedCursor, ValuePlace, reach_run};
use std::collections::{HashMap, HashSet};
use std::ops::Range;

/// A backup builds on at most so many runs: a lookup may have to read a leaf of each.
const MAX_RUNS: usize = 30;
/// Where only their number is too large, so many neighbours become one.
const MERGED_RUNS: usize = 16;
/// Once all runs have this many times the entries of the live records, some are merged: each backup walks them all.
const MAX_ENTRIES: f64 = 2.0;
/// A merge for the sake of the entries leaves at most this many times those of the live records.
const ENTRIES_AFTER: f64 = 1.5;
/// Once a snapshot refers to this many times the bytes that it needs, runs are merged and values moved. The promise is
/// twice; what the backup at hand adds is estimated by the last one.
const MAX_REACHED: f64 = 1.97;
/// A merge moves values until the snapshot refers to this many times the bytes that it needs. Moving less brings the
/// next merge sooner; moving more writes values again that are about to be changed. With one record in twenty changed a
/// day this writes the least in thirty days (`benches/collection.rs`).
const REACHED_AFTER: f64 = 1.44;
/// More runs are merged until so many times the bytes are enough.
const REACHED_ENOUGH: f64 = 1.49;
/// Values move out of chunks of which less than this is live.
const MOSTLY_DEAD: f64 = 0.5;
/// At most this part of the live bytes is moved by one backup.
const MAX_MOVED: f64 = 0.5;
/// Plain bytes of an entry where no run tells: digest, hash and some columns.
const ENTRY_BYTES: u64 = 40;

/// Why a backup has to merge.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Due {
    /// There are too many runs.
    runs: bool,
    /// They have too many entries.
    entries: bool,
    /// They refer to too many bytes.
    reached: bool,
}

fn due(parent: &NamespaceManifest) -> Due {
    if parent.runs.len() < 2 {
        return Due::default();
    }
    let last = parent.runs.first().map_or(0, |run: &RunRef| run.entries);
    let entries: u64 = parent.runs.iter().map(|run| run.entries).sum::<u64>() + last;
    let last_bytes = parent.live_bytes.checked_div(parent.live_records).unwrap_or(0).saturating_mul(last);
    let trees: u64 = parent.runs.iter().map(|run| run.tree_bytes).sum();
    let largest = parent.runs.iter().max_by_key(|run| run.entries);
    let entry_bytes = largest.and_then(|run| run.tree_bytes.checked_div(run.entries)).unwrap_or(ENTRY_BYTES);
    let reached = parent.reached_bytes + last_bytes + trees + last.saturating_mul(entry_bytes);
    let needed = parent.live_bytes + parent.live_records.saturating_mul(entry_bytes);
    Due {
        runs: parent.runs.len() > MAX_RUNS,
        entries: entries as f64 > MAX_ENTRIES * parent.live_records as f64,
        reached: reached as f64 > MAX_REACHED * needed as f64
            || (parent.reached_bytes + last_bytes) as f64 > MAX_REACHED * parent.live_bytes as f64,
    }
}

/// How much a backup merges.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Extent {
    /// As much as it has to.
    Due,
    /// All runs, since they refer to chunks that are lost: what of them the source still has is rewritten, and what
    /// only older versions of records needed is referred to no more.
    All,
    /// All runs, and it cuts every value again: where nothing died the chunks are those that are there.
    Compact,
}

/// What a backup merges of the runs that it builds on.
#[derive(Clone, Default)]
pub struct Merge {
    /// Which of the parent's runs become one, as the manifest lists them; empty if none do.
    pub runs: Range<usize>,
    /// Whether these are all: then the backup's own run takes their place.
    pub all: bool,
    /// Chunks that the live values of those runs are moved out of.
    pub moves: HashSet<ChunkId>,
    /// Whether all of their live values are.
    pub moves_all: bool,
    /// Plain bytes of the value chunks that are still referred to, without those that moved values will be in.
    pub kept_bytes: u64,
}

impl Merge {
    /// Whether a live value in this chunk is cut again.
    pub fn moves_out_of(&self, id: &ChunkId) -> bool {
        self.moves_all || self.moves.contains(id)
    }
}

/// A value chunk that runs refer to.
#[derive(Clone, Copy)]
struct Use {
    /// The first and the last run, as the manifest lists them, that refers to it.
    runs: (usize, usize),
    /// The bytes of live values in it.
    live: u64,
    /// Its plain bytes.
    plain: u64,
}

/// What the runs refer to, and what of it is live.
struct RunUses {
    uses: HashMap<ChunkId, Use>,
    /// Plain bytes of all live values.
    live_bytes: u64,
    /// For each run: how many of its entries are live and not hidden.
    live_entries: Vec<u64>,
}

/// Takes note that a run refers to a chunk.
fn note(uses: &mut HashMap<ChunkId, Use>, id: ChunkId, run: usize) -> &mut Use {
    let used = uses.entry(id).or_insert(Use { runs: (run, run), live: 0, plain: 0 });
    used.runs = (used.runs.0.min(run), used.runs.1.max(run));
    used
}

/// Adds what a live value takes of its chunks. One that a value goes on in is never mostly dead, even if values begin
/// in it too.
fn count_live(uses: &mut HashMap<ChunkId, Use>, run: usize, place: &ValuePlace) {
    let first = note(uses, place.chunk, run);
    first.live = first.live.saturating_add(u64::from(place.length));
    for id in &place.more {
        note(uses, *id, run).live = u64::MAX;
    }
}

impl RunUses {
    /// Walks all runs. Of damaged ones only what can be read counts, if `lost` says that they are.
    fn of(chunks: &ChunkReader, runs: &[RunRef], lost: bool) -> Result<Self> {
        let mut survey = RunUses { uses: HashMap::new(), live_bytes: 0, live_entries: vec![0; runs.len()] };
        let mut entries = if lost { MergedCursor::tolerant(chunks, runs)? } else { MergedCursor::live(chunks, runs)? };
        while let Some(entry) = entries.next()? {
            let Some(record) = entry.live else { continue };
            let run = entries.origin();
            survey.live_bytes += u64::from(record.place.length);
            if let Some(count) = survey.live_entries.get_mut(run) {
                *count += 1;
            }
            count_live(&mut survey.uses, run, &record.place);
        }
        for (n, run) in runs.iter().enumerate() {
            let each = &mut |id, class| {
                if class == Class::Data {
                    note(&mut survey.uses, id, n);
                }
            };
            reach_run(chunks, run, &mut HashSet::new(), each, &mut |_| {})?;
        }
        for (id, used) in &mut survey.uses {
            used.plain = chunks.locate(id)?.first().map_or(0, |at| u64::from(at.place.plain));
        }
        Ok(survey)
    }

    /// Merging these runs and moving values, the deadest first, until `enough` times the bytes that are needed are
    /// referred to; and how many plain bytes are moved.
    fn merge(&self, runs: Range<usize>, all: bool, enough: f64) -> (Merge, u64) {
        let mut kept_bytes = 0;
        let mut dead = Vec::new();
        for (id, used) in &self.uses {
            let Use { runs: (first, last), live, plain } = *used;
            let inside = runs.contains(&first) && runs.contains(&last);
            if inside && live == 0 {
                continue;
            }
            kept_bytes += plain;
            if inside && (live as f64) < MOSTLY_DEAD * plain as f64 {
                dead.push((live as f64 / plain as f64, *id, live, plain));
            }
        }
        dead.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let (mut moves, mut moved) = (HashSet::new(), 0);
        for (_, id, live, plain) in dead {
            let done = (kept_bytes + moved) as f64 <= enough * self.live_bytes as f64;
            if done || (moved + live) as f64 > MAX_MOVED * self.live_bytes as f64 {
                break;
            }
            moved += live;
            moves.insert(id);
            kept_bytes -= plain;
        }
        (Merge { runs, all, moves, moves_all: false, kept_bytes }, moved)
    }
}

/// What a backup that builds on `parent` merges; `lost` says whether something of its entries can't be read.
pub fn plan(chunks: &ChunkReader, parent: &NamespaceManifest, lost: &Losses, extent: Extent) -> Result<Merge> {
    let runs = &parent.runs;
    match extent {
        Extent::Due => {}
        Extent::All => {
            return Ok(RunUses::of(chunks, runs, !lost.is_empty())?.merge(0..runs.len(), true, REACHED_AFTER).0);
        }
        Extent::Compact => return Ok(Merge { runs: 0..runs.len(), all: true, moves_all: true, ..Merge::default() }),
    }
    let due = due(parent);
    if lost.is_empty() && due == Due::default() {
        return Ok(Merge::default());
    }
    if lost.is_empty() && !due.entries && !due.reached {
        // The smallest neighbours. No value moves.
        let sizes: Vec<u64> = runs.iter().map(|run| run.entries).collect();
        let windows = sizes.windows(MERGED_RUNS).map(|window| window.iter().sum::<u64>()).enumerate();
        let first = windows.min_by_key(|(_, entries)| *entries).map_or(0, |(first, _)| first);
        let survey = RunUses::of(chunks, runs, false)?;
        return Ok(survey.merge(first..first + MERGED_RUNS, false, f64::INFINITY).0);
    }
    let survey = RunUses::of(chunks, runs, !lost.is_empty())?;
    for first in (1..runs.len()).rev().filter(|_| lost.is_empty()) {
        let newer: u64 = runs.iter().take(first).map(|run| run.entries).sum();
        let entries = newer + survey.live_entries.iter().skip(first).sum::<u64>();
        let (merge, moved) = survey.merge(first..runs.len(), false, REACHED_AFTER);
        let few_bytes = (merge.kept_bytes + moved) as f64 <= REACHED_ENOUGH * survey.live_bytes as f64;
        let few_entries = entries as f64 <= ENTRIES_AFTER * parent.live_records as f64;
        if (few_bytes || !due.reached) && (few_entries || !due.entries) && (first < MAX_RUNS || !due.runs) {
            return Ok(merge);
        }
    }
    Ok(survey.merge(0..runs.len(), true, REACHED_AFTER).0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As in the chunks of two records that hold nothing but zeros: all are the same chunk.
    #[test]
    fn a_chunk_that_values_begin_in_and_go_on_in_counts_as_live() {
        let zeros = ChunkId([0; 32]);
        let place = ValuePlace { chunk: zeros, more: vec![zeros; 3].into(), offset: 0, length: 1 << 20 };
        let mut uses = HashMap::new();
        count_live(&mut uses, 0, &place);
        count_live(&mut uses, 1, &place);
        count_live(&mut uses, 2, &ValuePlace { more: Box::default(), ..place });
        assert_eq!((uses[&zeros].live, uses[&zeros].runs), (u64::MAX, (0, 2)));
    }

    fn survey(chunks: &[(u8, (usize, usize), u64, u64)]) -> RunUses {
        let uses = chunks.iter().map(|(id, runs, live, plain)| {
            let used = Use { runs: *runs, live: *live, plain: *plain };
            (ChunkId([*id; 32]), used)
        });
        let live_bytes = chunks.iter().map(|(_, _, live, _)| live).sum();
        RunUses { uses: uses.collect(), live_bytes, live_entries: Vec::new() }
    }

    #[test]
    fn values_move_out_of_chunks_that_only_merged_runs_refer_to_and_the_deadest_first() {
        // The oldest run's own, one that a newer run refers to as well, one that nobody needs, one of the newer run.
        let survey = survey(&[
            (1, (2, 2), 10, 100),
            (2, (2, 2), 30, 100),
            (3, (1, 2), 10, 100),
            (4, (2, 2), 0, 100),
            (5, (1, 1), 100, 100),
            (6, (2, 2), 70, 100),
        ]);
        let (merge, moved) = survey.merge(2..3, false, 1.0);
        assert_eq!(merge.moves, HashSet::from([ChunkId([1; 32]), ChunkId([2; 32])]));
        assert_eq!((merge.kept_bytes, moved), (300, 40));
        // No further than it takes.
        let (merge, moved) = survey.merge(2..3, false, 1.9);
        assert_eq!((merge.moves, moved), (HashSet::from([ChunkId([1; 32])]), 10));
        let (merge, _) = survey.merge(0..3, true, 1.0);
        assert!(merge.moves.contains(&ChunkId([3; 32])));
    }

    #[test]
    fn a_chunk_that_an_older_or_a_newer_run_refers_to_as_well_is_not_let_go() {
        let survey = survey(&[(1, (0, 1), 0, 100), (2, (1, 2), 0, 100), (3, (1, 1), 0, 100), (4, (1, 2), 10, 100)]);
        let (merge, moved) = survey.merge(1..2, false, 1.0);
        assert_eq!((merge.kept_bytes, moved, merge.moves), (300, 0, HashSet::new()));
    }

    #[test]
    fn no_more_than_half_of_what_is_live_is_moved_at_once() {
        let chunks: Vec<_> = (1..=20).map(|id| (id, (0, 0), 40, 100)).collect();
        let (merge, moved) = survey(&chunks).merge(0..1, true, 1.0);
        assert_eq!((merge.moves.len(), moved), (10, 400));
    }
}
