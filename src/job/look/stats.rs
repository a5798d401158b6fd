//! Measures how large everything is.

use crate::control::Control;
use crate::error::Result;
use crate::format::{ChunkId, names};
use crate::job::{Done, stopped, text};
use crate::repository::{Repository, Snapshot, SnapshotFilter};
use serde::Serialize;
use std::collections::{HashMap, HashSet};

/// How large a repository and its snapshots are. The `added_bytes` of all snapshots add up to the `reached_bytes` of
/// the repository.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct StatsReport {
    /// The size of the live records of all snapshots.
    pub logical_bytes: u64,
    /// The plain size of the distinct chunks that they refer to.
    pub unique_bytes: u64,
    /// The size of those chunks as they are stored.
    pub reached_bytes: u64,
    /// The size of all objects: the sum of `stored`.
    pub stored_bytes: u64,
    /// The objects of each kind.
    pub stored: Vec<StoredObjects>,
    /// The snapshots, oldest first.
    pub snapshots: Vec<SnapshotSizes>,
    /// What could not be read, for people.
    pub damaged: Vec<String>,
}

/// The objects of a kind.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct StoredObjects {
    /// What they are.
    pub what: &'static str,
    /// How many there are.
    pub objects: u64,
    /// Their size.
    pub bytes: u64,
}

/// How large a snapshot is.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct SnapshotSizes {
    /// Its id.
    pub snapshot: String,
    /// When it was committed.
    pub committed: String,
    /// How many records it has.
    pub records: u64,
    /// The plain size of its live records.
    pub needed_bytes: u64,
    /// The plain size of the value chunks that contain them.
    pub held_bytes: u64,
    /// The stored size of all its chunks.
    pub reached_bytes: u64,
    /// The stored size of its chunks that no older snapshot has.
    pub added_bytes: u64,
    /// The stored size of its chunks that no other snapshot has.
    pub only_bytes: u64,
    /// How many chunks it refers to.
    pub chunks: u64,
    /// How many of those no pack holds.
    pub missing_chunks: u64,
}

impl StatsReport {
    /// How it ended.
    pub fn done(&self) -> Done {
        let missing = self.snapshots.iter().any(|snapshot| snapshot.missing_chunks > 0);
        if missing || !self.damaged.is_empty() { Done::Damaged } else { Done::Whole }
    }
}

/// Measures a repository, and those of its snapshots that the filter admits.
///
/// # Errors
///
/// If the store can't be read, there is no snapshot of the cluster that the filter names, or it is stopped. What
/// is damaged is no error: the report names it.
pub fn stats(repository: &Repository, filter: &SnapshotFilter) -> Result<StatsReport> {
    let _part = repository.control().part(format!("measuring {}", repository.store().location())).entered();
    // The snapshots first: what they need is in the index once it is read.
    let mut list = repository.snapshots()?;
    filter.check_cluster(list.snapshots.iter().map(Snapshot::manifest))?;
    list.snapshots.retain(|snapshot| filter.admits(snapshot));
    let mut measure = Measure { repository, all: HashMap::new() };
    let mut snapshots = Vec::new();
    let mut damaged: Vec<String> = list.damaged.iter().map(|(_, error)| error.to_string()).collect();
    for snapshot in list.snapshots {
        let sizes = measure.add(&snapshot, snapshots.len(), repository.control(), &mut damaged);
        snapshots.extend(sizes.map_err(|error| stopped(error, "nothing was changed"))?);
    }
    for chunk in measure.all.values().filter(|chunk| chunk.snapshots == 1) {
        if let Some(sizes) = snapshots.get_mut(chunk.last) {
            sizes.only_bytes += chunk.stored;
        }
    }
    let stored = stored(repository)?;
    Ok(StatsReport {
        logical_bytes: snapshots.iter().map(|snapshot| snapshot.needed_bytes).sum(),
        unique_bytes: measure.all.values().map(|chunk| chunk.plain).sum(),
        reached_bytes: measure.all.values().map(|chunk| chunk.stored).sum(),
        stored_bytes: stored.iter().map(|stored| stored.bytes).sum(),
        stored,
        snapshots,
        damaged,
    })
}

/// A chunk that some snapshot reaches.
struct Reached {
    stored: u64,
    plain: u64,
    snapshots: u32,
    /// The last snapshot, by number, that reaches it.
    last: usize,
}

/// What the snapshots so far reach.
struct Measure<'a> {
    repository: &'a Repository,
    all: HashMap<ChunkId, Reached>,
}

impl Measure<'_> {
    /// Adds a snapshot, which will have this number; `None` if it was forgotten since it was listed.
    fn add(
        &mut self,
        snapshot: &Snapshot,
        number: usize,
        control: &Control,
        damaged: &mut Vec<String>,
    ) -> Result<Option<SnapshotSizes>> {
        control.check()?;
        let mut ids = Vec::new();
        if let Err(error) = snapshot.reach(&mut HashSet::new(), &mut |id, _| ids.push(id)) {
            if !error.is_damage() {
                return Err(error);
            }
            if self.repository.is_forgotten(&snapshot.id())? {
                return Ok(None);
            }
            damaged.push(format!("snapshot {}: {error}; its figures are too low", snapshot.id()));
        }
        let mut sizes = SnapshotSizes::of(snapshot, ids.len() as u64);
        let (known, fresh): (Vec<ChunkId>, Vec<ChunkId>) = ids.into_iter().partition(|id| self.all.contains_key(id));
        let (reader, mut places) = (snapshot.chunks()?, Vec::with_capacity(fresh.len()));
        for id in fresh {
            places.push((id, reader.locate(&id)?.first().map(|at| at.place)));
        }
        // Forgotten since it was listed, and collected.
        if places.iter().any(|(_, place)| place.is_none()) && self.repository.is_forgotten(&snapshot.id())? {
            return Ok(None);
        }
        for id in known {
            if let Some(known) = self.all.get_mut(&id) {
                known.snapshots += 1;
                known.last = number;
                sizes.reached_bytes += known.stored;
                sizes.missing_chunks += u64::from(known.stored == 0);
            }
        }
        for (id, place) in places {
            let (stored, plain) = place.map_or((0, 0), |place| (u64::from(place.stored), u64::from(place.plain)));
            sizes.missing_chunks += u64::from(place.is_none());
            sizes.reached_bytes += stored;
            sizes.added_bytes += stored;
            self.all.insert(id, Reached { stored, plain, snapshots: 1, last: number });
        }
        Ok(Some(sizes))
    }
}

impl SnapshotSizes {
    /// What a snapshot's manifest says; nothing is known of its chunks yet.
    fn of(snapshot: &Snapshot, chunks: u64) -> Self {
        let namespaces = &snapshot.manifest().namespaces;
        SnapshotSizes {
            snapshot: snapshot.id().to_string(),
            committed: text::rfc3339(snapshot.manifest().committed),
            records: namespaces.iter().map(|namespace| namespace.live_records).sum(),
            needed_bytes: namespaces.iter().map(|namespace| namespace.live_bytes).sum(),
            held_bytes: namespaces.iter().map(|namespace| namespace.reached_bytes).sum(),
            reached_bytes: 0,
            added_bytes: 0,
            only_bytes: 0,
            chunks,
            missing_chunks: 0,
        }
    }
}

/// The objects of the repository, by kind.
fn stored(repository: &Repository) -> Result<Vec<StoredObjects>> {
    let places = [
        ("packs", names::PACKS),
        ("index", names::INDEX),
        ("snapshots", names::SNAPSHOTS),
        ("sessions", names::SESSIONS),
        ("plans", names::PLANS),
        ("holds", names::HOLDS),
        ("tags", names::TAGS),
        ("folds", names::FOLDS),
        ("history", names::HISTORY),
        ("keys", names::KEYS),
    ];
    let mut stored = Vec::new();
    for (what, prefix) in places {
        let listed = repository.store().list(prefix)?;
        let bytes = listed.iter().map(|object| object.size).sum();
        stored.push(StoredObjects { what, objects: listed.len() as u64, bytes });
    }
    let config = repository.store().size(names::CONFIG)?;
    let objects = u64::from(config.is_some());
    stored.push(StoredObjects { what: "config", objects, bytes: config.unwrap_or_default() });
    Ok(stored)
}
