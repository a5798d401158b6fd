//! The order of snapshots, and which of their times can be trusted.
//!
//! Snapshots are ordered by their sequence numbers: whoever writes one takes a number above all that it sees, so what
//! was built on another always comes after it, whatever the clocks say. Times are for people and for rules that count
//! days. They come from the clocks of many hosts, and one of those may be wrong: [`Times`] finds the snapshots whose
//! time contradicts their order.

use super::LEASE_MILLIS;
use crate::format::snapshot::{Manifest, NUMBER_BOUND};
use crate::format::{RepositoryId, SnapshotId};
use crate::record::Timestamp;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;

/// The snapshots that no other names as one that its writer saw, and those that can't be read and that nobody names.
pub fn heads<'a>(
    snapshots: impl IntoIterator<Item = &'a Manifest>,
    unreadable: impl IntoIterator<Item = SnapshotId>,
) -> Vec<SnapshotId> {
    let (mut ids, mut named) = (BTreeSet::from_iter(unreadable), HashSet::new());
    for manifest in snapshots {
        ids.insert(manifest.id);
        named.extend(manifest.heads.iter().copied());
    }
    ids.retain(|id| !named.contains(id));
    ids.into_iter().collect()
}

/// The sequence number of a writer that sees these snapshots, and so many more that can't be read.
pub fn next_sequence<'a>(snapshots: impl IntoIterator<Item = &'a Manifest>, unreadable: usize) -> u64 {
    let greatest = snapshots.into_iter().map(|manifest| manifest.sequence).max().unwrap_or(0);
    greatest.saturating_add(1).saturating_add(unreadable as u64).min(NUMBER_BOUND - 1)
}

/// The sequence number of a copy among these snapshots of repository `here`: after what was written before it in the
/// repository that it was first written in, and after what is older by its time of what comes from others.
pub fn sequence_of_copy(here: RepositoryId, snapshots: &[Manifest], copy: &Manifest, unreadable: usize) -> u64 {
    let (repository, place) = copy.first_place(here);
    let before = |one: &&Manifest| match one.first_place(here) {
        (same, other) if same == repository => other < place,
        _ => one.committed <= copy.committed,
    };
    let older: Vec<&Manifest> = snapshots.iter().filter(before).collect();
    if older.len() == snapshots.len() {
        return next_sequence(older, unreadable);
    }
    // Where the numbers are the same, times and ids decide.
    let behind = |one: &Manifest| one.sequence + u64::from((one.committed, one.id) > (copy.committed, copy.id));
    older.into_iter().map(behind).max().unwrap_or(0).min(NUMBER_BOUND - 1)
}

/// So many snapshots with a wrong time are named at most.
const NAMED: usize = 5;

/// What is wrong with a snapshot's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Contradiction {
    /// It lies further ahead of the reader's clock than a lease is long.
    Ahead,
    /// It lies before the time of this snapshot, which is older.
    BeforeOlder(SnapshotId, Timestamp),
    /// It lies after the time of this snapshot, which is newer.
    AfterNewer(SnapshotId, Timestamp),
}

/// A snapshot whose time can't be right, or that of another is not.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DoubtfulTime {
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// The host whose clock it was.
    pub host: String,
    /// When it was committed, by that clock.
    pub committed: Timestamp,
    /// The time that is taken for it instead.
    pub plausible: Timestamp,
    /// Why.
    pub found: Contradiction,
}

impl fmt::Display for DoubtfulTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let DoubtfulTime { snapshot, host, committed, plausible, found } = self;
        write!(f, "the time of snapshot {snapshot}, {committed} by the clock of host {host}, ")?;
        match found {
            Contradiction::Ahead => f.write_str("lies in the future: that clock is wrong, or this machine's is")?,
            Contradiction::BeforeOlder(other, time) => {
                write!(
                    f,
                    "lies before that of snapshot {other}, which is older ({time}): one of the clocks was wrong"
                )?;
            }
            Contradiction::AfterNewer(other, time) => {
                write!(f, "lies after that of snapshot {other}, which is newer ({time}): one of the clocks was wrong")?;
            }
        }
        write!(f, ". It is taken as {plausible}")
    }
}

/// When snapshots were committed, as far as that can be trusted.
///
/// The longest row of snapshots whose times ascend as their order does counts as right: so as few clocks as can be are
/// taken to be wrong. Of the others, the time of one that contradicts that row is bounded by those of its neighbours in
/// it. Snapshots that were at work at the same time may end in any order, and contradict nothing.
#[derive(Clone, Debug, Default)]
pub struct Times {
    plausible: HashMap<SnapshotId, u64>,
    doubtful: Vec<DoubtfulTime>,
    /// This machine's clock, if most snapshots lie in its future.
    behind: Option<Timestamp>,
}

impl Times {
    /// Looks at all snapshots of a repository, in any order; `now` is this machine's clock.
    pub fn of(snapshots: &[Manifest], now: Timestamp) -> Self {
        let mut snapshots: Vec<&Manifest> = snapshots.iter().collect();
        snapshots.sort_by_key(|manifest| manifest.place());
        let latest = now.0.saturating_add(LEASE_MILLIS);
        let ahead = snapshots.iter().filter(|manifest| manifest.committed > latest).count();
        let reader_is_behind = snapshots.len() > 1 && ahead * 2 > snapshots.len();
        let is_ahead = |manifest: &Manifest| !reader_is_behind && manifest.committed > latest;
        let row = longest_row(&snapshots, &is_ahead);
        let found = contradictions(&snapshots, &row, &is_ahead);
        let mut times = Times { behind: reader_is_behind.then_some(now), ..Times::default() };
        // The times of the row before and after each place, while the places are gone through.
        let (mut before, mut behind) = (None, times_behind(&snapshots, &row));
        for (at, manifest) in snapshots.iter().enumerate() {
            let mut plausible = manifest.committed;
            if row.contains(&at) {
                (before, _) = (Some(manifest.committed), behind.pop());
            } else if let Some(found) = found.get(&at) {
                // Where the row has nothing newer, it is taken to be no newer than what is older: so rules that count
                // back from it keep too much rather than too little.
                plausible = match (before, behind.last().copied()) {
                    (Some(least), Some(most)) => manifest.committed.clamp(least, most),
                    (Some(time), None) | (None, Some(time)) => time,
                    (None, None) => manifest.committed.min(now.0),
                };
                before = before.map(|time| time.max(plausible));
                times.doubtful.push(DoubtfulTime {
                    snapshot: manifest.id,
                    host: manifest.host.clone(),
                    committed: Timestamp(manifest.committed),
                    plausible: Timestamp(plausible),
                    found: *found,
                });
            }
            times.plausible.insert(manifest.id, plausible);
        }
        times
    }

    /// When a snapshot was committed, in milliseconds since the Unix epoch: what it says, unless that contradicts the
    /// others.
    pub fn committed(&self, manifest: &Manifest) -> u64 {
        self.plausible.get(&manifest.id).copied().unwrap_or(manifest.committed)
    }

    /// The snapshots whose times can't be right, in the order of snapshots.
    pub fn doubtful(&self) -> &[DoubtfulTime] {
        &self.doubtful
    }

    /// Whether most snapshots were committed later than it is now by this machine's clock: then that clock is wrong.
    pub fn reader_is_behind(&self) -> bool {
        self.behind.is_some()
    }

    /// For people: what about these times can't be right, the newest snapshots first, of which no more than a few are
    /// named.
    pub fn warnings(&self) -> Vec<String> {
        let behind = self.behind.map(|now| {
            format!(
                "most snapshots were committed later than it is now by this machine's clock, {now}: that clock is \
                 wrong, or those of the hosts that wrote them. Snapshots are in order all the same; but their times \
                 can't be told right from wrong"
            )
        });
        let doubtful = self.doubtful.iter().rev().take(NAMED).map(ToString::to_string);
        let more = self.doubtful.len().saturating_sub(NAMED);
        let more = (more > 0).then(|| format!("the times of {more} older snapshots can't be right either"));
        behind.into_iter().chain(doubtful).chain(more).collect()
    }
}

/// The times of the row, the earliest last.
fn times_behind(snapshots: &[&Manifest], row: &HashSet<usize>) -> Vec<u64> {
    let in_row = snapshots.iter().enumerate().filter(|(at, _)| row.contains(at));
    let mut times: Vec<u64> = in_row.map(|(_, manifest)| manifest.committed).collect();
    times.reverse();
    times
}

/// The longest row of places whose times ascend.
fn longest_row(snapshots: &[&Manifest], is_ahead: &dyn Fn(&Manifest) -> bool) -> HashSet<usize> {
    // For each length the row that ends earliest, by its last member; and for each member the one before it.
    let mut ends: Vec<(u64, usize)> = Vec::new();
    let mut previous: Vec<Option<usize>> = vec![None; snapshots.len()];
    for (at, manifest) in snapshots.iter().enumerate().filter(|(_, manifest)| !is_ahead(manifest)) {
        let length = ends.partition_point(|(time, _)| *time <= manifest.committed);
        if let Some(slot) = previous.get_mut(at) {
            *slot = length.checked_sub(1).and_then(|one| ends.get(one)).map(|(_, at)| *at);
        }
        match ends.get_mut(length) {
            Some(end) => *end = (manifest.committed, at),
            None => ends.push((manifest.committed, at)),
        }
    }
    let mut row = HashSet::new();
    let mut member = ends.last().map(|(_, at)| *at);
    while let Some(at) = member {
        row.insert(at);
        member = previous.get(at).copied().flatten();
    }
    row
}

/// What contradicts the row, by its place in the order.
fn contradictions(
    snapshots: &[&Manifest],
    row: &HashSet<usize>,
    is_ahead: &dyn Fn(&Manifest) -> bool,
) -> HashMap<usize, Contradiction> {
    let in_row = |at: &usize| row.contains(at);
    let mut found: HashMap<usize, Contradiction> = HashMap::new();
    let outside: Vec<(usize, _)> = snapshots.iter().enumerate().filter(|(at, _)| !in_row(at)).collect();
    for &(at, one) in &outside {
        if is_ahead(one) {
            found.insert(at, Contradiction::Ahead);
            continue;
        }
        if one.origin.is_some() {
            // A copy's place among others was chosen by its time, and its writer's host is not the original's.
            continue;
        }
        let saw = |other: &Manifest| one.heads.contains(&other.id) && other.committed > one.committed;
        let before = |other: &Manifest| other.sequence < one.sequence && other.started > one.committed;
        let older = row.iter().filter(|other| **other < at).filter_map(|other| snapshots.get(*other));
        if let Some(other) = older.filter(|other| saw(other) || before(other)).min_by_key(|other| other.committed) {
            found.insert(at, Contradiction::BeforeOlder(other.id, Timestamp(other.committed)));
            continue;
        }
        let newer = row.iter().filter(|other| **other > at).filter_map(|other| snapshots.get(*other));
        let newer = newer.filter(|other| other.origin.is_none() && other.committed < one.committed);
        let after = |other: &&&Manifest| {
            other.heads.contains(&one.id) || (one.sequence < other.sequence && one.started > other.committed)
        };
        if let Some(other) = newer.filter(after).min_by_key(|other| other.committed) {
            found.insert(at, Contradiction::AfterNewer(other.id, Timestamp(other.committed)));
        }
    }
    found
}

#[cfg(test)]
mod tests;
