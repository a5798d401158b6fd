//! What the snapshots need: found by reading their branch nodes, never a value.

use crate::chunks::ChunkReader;
use crate::control::Control;
use crate::crypto::Keys;
use crate::error::{Error, Result};
use crate::format::snapshot::{Manifest, SnapshotState};
use crate::format::{ChunkId, PackId, SnapshotId, names};
use crate::index::{Index, Location};
use crate::objects;
use crate::repository::Root;
use crate::store::Store;
use crate::sync::{in_parallel, lock};
use rayon::prelude::*;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Mutex;

/// What to do about a snapshot whose needs can't be told.
const UNKNOWN_NEEDS: &str = "What it needs can't be told, so nothing is deleted. Restore the object from a copy, or \
                             give the snapshot up with `aerolith forget` and its whole id";

pub use crate::objects::States;

/// What to do about a fold that can't be read.
const UNKNOWN_NAMES: &str = "Which old sessions it names can't be told, so nothing is deleted. Restore the object from \
                             a copy, or run `aerolith repair`";

/// The manifests of the snapshots that were not forgotten, but for those in `known`.
///
/// # Errors
///
/// If one can't be read: what it needs would be taken for garbage.
pub fn manifests(
    store: &dyn Store,
    keys: &Keys,
    states: &States,
    known: &HashSet<SnapshotId>,
) -> Result<Vec<Manifest>> {
    let mut manifests = Vec::new();
    let unread: Vec<SnapshotId> = states.with(SnapshotState::Committed).filter(|id| !known.contains(id)).collect();
    let read = in_parallel(&unread, store.is_far(), |id| objects::read_manifest(store, keys, *id));
    for (id, read) in unread.into_iter().zip(read) {
        match read {
            Ok(manifest) => manifests.push(manifest),
            // Forgotten since it was listed.
            Err(Error::Damaged { .. }) if objects::state_of(store, keys, &id)? == Some(SnapshotState::Forgotten) => {}
            Err(error) => return Err(error.with_advice(UNKNOWN_NEEDS)),
        }
    }
    Ok(manifests)
}

/// Refuses to go on if a snapshot was lost rather than forgotten: its name is free or fenced though somebody saw it
/// committed, or its marker is none.
pub fn refuse_lost(store: &dyn Store, keys: &Keys, states: &States, manifests: &[Manifest]) -> Result<()> {
    if let Some((id, error)) = states.damaged().first() {
        let found = match error {
            Error::Damaged { found, .. } => found.clone(),
            error => error.to_string(),
        };
        return Err(Error::damaged(names::fold(id), found).with_advice(UNKNOWN_NAMES));
    }
    let forgotten: Vec<SnapshotId> = states.with(SnapshotState::Forgotten).collect();
    for checked in in_parallel(&forgotten, store.is_far(), |id| objects::check_marker(store, keys, *id)) {
        checked.map_err(|error| error.with_advice(UNKNOWN_NEEDS))?;
    }
    if let Some(id) = lost_names(store, keys, states, manifests)?.first() {
        let error =
            Error::damaged(names::snapshot(id), "it was committed once, and is neither a manifest nor a marker");
        return Err(error.with_advice(UNKNOWN_NEEDS));
    }
    Ok(())
}

/// Snapshots that were committed once, as others say, and of which nothing is left.
pub fn lost_names(
    store: &dyn Store,
    keys: &Keys,
    states: &States,
    manifests: &[Manifest],
) -> Result<BTreeSet<SnapshotId>> {
    let mut committed: BTreeSet<SnapshotId> =
        manifests.iter().flat_map(|manifest| manifest.heads.iter().copied()).collect();
    let mut sessions = objects::list_sessions(store)?;
    sessions.retain(|id| !states.was_committed(id));
    let read = in_parallel(&sessions, store.is_far(), |id| objects::read_session(store, keys, *id));
    for (id, read) in sessions.into_iter().zip(read) {
        match read {
            Ok(session) if session.says_committed() => {
                committed.insert(id);
            }
            Ok(_) => {}
            Err(error) if error.is_of_one_object() => {}
            Err(error) => return Err(error),
        }
    }
    // One that can't be read says nothing, as a session.
    let (histories, _) = objects::read_history(store, keys)?;
    committed.extend(objects::folded_committed(&histories));
    committed.retain(|id| !states.was_committed(id));
    let mut lost = BTreeSet::new();
    for id in committed {
        // It may have been committed since the names were listed.
        if !objects::state_of(store, keys, &id)?.is_some_and(SnapshotState::was_committed) {
            lost.insert(id);
        }
    }
    Ok(lost)
}

/// Adds to `live` every chunk that the snapshots reach.
///
/// # Errors
///
/// If a branch node can't be read: what is below it would be taken for garbage.
pub fn reach(
    chunks: &ChunkReader,
    manifests: &[Manifest],
    live: &mut HashSet<ChunkId>,
    control: &Control,
) -> Result<()> {
    reach_small_runs(chunks, manifests, live, control)?;
    'manifests: for manifest in manifests {
        for root in manifest.roots() {
            control.check()?;
            let mut lost = None;
            root.reach(chunks, live, &mut |_, _| {}, &mut |loss| lost = lost.take().or(Some(loss)))?;
            if let Some(loss) = lost {
                // Forgotten since it was listed, and collected by another: it needs nothing any more.
                if objects::state_of(&**chunks.store(), chunks.keys(), &manifest.id)? == Some(SnapshotState::Forgotten)
                {
                    continue 'manifests;
                }
                let object = format!("snapshot {}, {root}", manifest.id);
                return Err(Error::damaged(object, loss.to_string()).with_advice(
                    "What is below can't be told, so nothing is deleted. Make a full backup, which writes again what \
                     was lost, then forget this snapshot",
                ));
            }
        }
    }
    Ok(())
}

/// Runs whose trees have at most so many bytes are marked side by side, so many together: what a thread knows by itself
/// stays small.
const SMALL_RUN_BYTES: u64 = 1 << 20;
const RUNS_TOGETHER: usize = 16;

/// Adds to `live` what small runs reach, side by side: a repository of many snapshots has thousands of them. What can't
/// be read is left to whoever walks the snapshots one after another, and tells of it.
fn reach_small_runs(
    chunks: &ChunkReader,
    manifests: &[Manifest],
    live: &mut HashSet<ChunkId>,
    control: &Control,
) -> Result<()> {
    let mut met: HashSet<(ChunkId, u8)> = HashSet::new();
    let mut small: Vec<Root<'_>> = Vec::new();
    for root in manifests.iter().flat_map(Manifest::roots) {
        match root {
            Root::Run { run, .. } if run.tree_bytes <= SMALL_RUN_BYTES && !live.contains(&run.root) => {
                if met.insert((run.root, run.level)) {
                    small.push(root);
                }
            }
            Root::Run { .. } | Root::Metadata { .. } => {}
        }
    }
    let live = Mutex::new(live);
    small.par_chunks(RUNS_TOGETHER).try_for_each(|roots| {
        let (mut seen, mut whole) = (HashSet::new(), true);
        for root in roots {
            control.check()?;
            root.reach(chunks, &mut seen, &mut |_, _| {}, &mut |_| whole = false)?;
        }
        if whole {
            lock(&live).extend(seen);
        }
        Ok(())
    })
}

/// Calls `each` for every place of a chunk that the index knows, each pack's chunks once however many segments name it.
/// Gives back whether all segments could be read; if not, [`Index::recover`] makes up for them.
pub fn each_place(
    index: &Index,
    store: &dyn Store,
    each: &mut dyn FnMut(&ChunkId, &Location) -> Result<()>,
) -> Result<bool> {
    let recovered = index.recovered_packs();
    let from_packs: HashSet<PackId> = recovered.iter().map(|(id, _, _)| *id).collect();
    let mut told_by: HashMap<PackId, usize> = HashMap::new();
    let mut whole = index.damaged().is_empty();
    for (n, (session, number)) in index.segments().into_iter().enumerate() {
        let read = index.each_row(store, &session, number, &mut |id, at| {
            if from_packs.contains(&at.pack) || *told_by.entry(at.pack).or_insert(n) != n {
                return Ok(());
            }
            each(id, at)
        });
        match read {
            Ok(()) => {}
            Err(error) if error.is_of_one_object() => whole = false,
            Err(error) => return Err(error),
        }
    }
    for (pack, _, rows) in &recovered {
        for row in rows {
            each(&row.id, &Location { pack: *pack, place: row.place })?;
        }
    }
    Ok(whole)
}
