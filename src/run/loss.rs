//! What a walk could not read: the damaged nodes of a run, and the ranges of keys about which nothing is known there.
//!
//! Within such a range the entries of older runs may have been changed or deleted by an entry that can't be read, so a
//! walk passes over them; entries of newer runs win whatever is there, and so are certain.

use crate::error::Error;
use crate::format::ChunkId;
use crate::record::Digest;
use std::fmt;

/// Damaged nodes that are kept by name; further ones are only counted.
const MAX_NAMED: usize = 1000;

/// A node of a run's tree that can't be read, and with it a range of the run's keys.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Loss {
    /// The node's chunk.
    pub chunk: ChunkId,
    /// Its level: 0 for a leaf.
    pub level: u8,
    /// What is wrong with it, with the object's name.
    pub problem: String,
    /// The digest of its first entry, as the branch node above says; `None` for a root.
    pub from: Option<Digest>,
    /// The first digest after it; `None` if nothing follows.
    pub until: Option<Digest>,
    /// How many entries stand below it, tombstones included, as the branch node above or the manifest says.
    pub entries: u64,
    /// How many of those are tombstones.
    pub tombstones: u64,
}

impl Loss {
    /// What can be said of a node that an error kept from being read.
    pub(super) fn of(node: &NodeRef, error: &Error) -> Self {
        let NodeRef { level, chunk, from, until, entries, tombstones } = *node;
        Loss { chunk, level, problem: error.to_string(), from, until, entries, tombstones }
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let node = if self.level == 0 { "leaf" } else { "branch node" };
        write!(f, "{node} {} with {} entries ({} tombstones)", self.chunk, self.entries, self.tombstones)?;
        match (self.from, self.until) {
            (None, None) => write!(f, ", all digests of its run")?,
            (from, until) => {
                write!(f, ", digests from {}", from.map_or_else(|| "the first".into(), |digest| digest.to_string()))?;
                match until {
                    Some(until) => write!(f, " to before {until} in key order")?,
                    None => write!(f, " to the last")?,
                }
            }
        }
        write!(f, ": {}", self.problem)
    }
}

/// A node as whatever names it describes it.
#[derive(Clone, Copy, Debug)]
pub(super) struct NodeRef {
    pub level: u8,
    pub chunk: ChunkId,
    pub from: Option<Digest>,
    pub until: Option<Digest>,
    pub entries: u64,
    pub tombstones: u64,
}

/// What a walk lost.
#[must_use = "what was lost must be told"]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Losses {
    /// The first thousand damaged nodes.
    pub named: Vec<Loss>,
    /// How many nodes were damaged.
    pub nodes: u64,
    /// How many entries were below them, tombstones included.
    pub entries: u64,
    /// Entries of older runs that were passed over, since whether they still hold can't be read.
    pub uncertain: u64,
}

impl Losses {
    /// Whether all was read.
    pub fn is_empty(&self) -> bool {
        self.nodes == 0
    }

    /// What to tell people, line by line.
    pub fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.named.iter().map(ToString::to_string).collect();
        if self.nodes > lines.len() as u64 {
            lines.push(format!("{} more leaves and branch nodes can't be read", self.nodes - lines.len() as u64));
        }
        if self.uncertain > 0 {
            let n = self.uncertain;
            lines.push(format!("{n} older entries there may have changed or be gone, and were left out"));
        }
        lines
    }

    pub(super) fn note(&mut self, loss: Loss) {
        self.nodes += 1;
        self.entries = self.entries.saturating_add(loss.entries);
        if self.named.len() < MAX_NAMED {
            self.named.push(loss);
        }
    }

    /// Adds what another walk lost.
    pub fn add(&mut self, other: &Losses) {
        self.nodes += other.nodes;
        self.entries = self.entries.saturating_add(other.entries);
        self.uncertain += other.uncertain;
        let room = MAX_NAMED.saturating_sub(self.named.len());
        self.named.extend(other.named.iter().take(room).cloned());
    }
}

/// Ranges of keys, ascending, each from its first key to before its second; no bound where there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ranges(Vec<(Option<Digest>, Option<Digest>)>);

impl Ranges {
    /// Adds a range that begins at or after the end of the last one.
    pub fn push(&mut self, from: Option<Digest>, until: Option<Digest>) {
        match self.0.last_mut() {
            // Neighbours are joined, so that a lost pack of many leaves costs few ranges.
            Some((_, end)) if end.is_some() && *end == from => *end = until,
            _ => self.0.push((from, until)),
        }
    }

    /// All of them.
    pub fn all(&self) -> &[(Option<Digest>, Option<Digest>)] {
        &self.0
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a key is in one of them.
    pub fn contains(&self, digest: &Digest) -> bool {
        let key = digest.sort_key();
        let at = self.0.partition_point(|(from, _)| from.is_none_or(|from| from.sort_key() <= key));
        let before = at.checked_sub(1).and_then(|at| self.0.get(at));
        before.is_some_and(|(_, until)| until.is_none_or(|until| key < until.sort_key()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(n: u8) -> Digest {
        let mut bytes = [0; 20];
        bytes[2] = n;
        Digest(bytes)
    }

    #[test]
    fn a_range_holds_its_first_key_and_not_its_end_and_neighbours_are_one() {
        let mut ranges = Ranges::default();
        assert!(!ranges.contains(&digest(0)));
        for (from, until) in [(2, 4), (4, 6), (9, 10)] {
            ranges.push(Some(digest(from)), Some(digest(until)));
        }
        ranges.push(Some(digest(20)), None);
        assert_eq!(ranges.0.len(), 3);
        let inside: Vec<u8> = (0..30).filter(|&n| ranges.contains(&digest(n))).collect();
        assert_eq!(inside, [2, 3, 4, 5, 9, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29]);
        let mut all = Ranges::default();
        all.push(None, None);
        assert!(all.contains(&digest(0)) && all.contains(&digest(255)));
    }
}
