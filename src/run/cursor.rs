//! Walking a run in order, and finding one entry.

use crate::error::Result;
use crate::format::header::Class;
use crate::format::leaf::{self, Entry};
use crate::format::node::{self, Child};
use crate::format::snapshot::RunRef;
use crate::format::{ChunkId, FormatError};
use crate::pack::ChunkReader;
use crate::record::Digest;
use rayon::prelude::*;
use std::collections::VecDeque;

/// Leaves that are read and decoded at once.
const READ_AHEAD: usize = 16;

/// What a parent says of the node or leaf below it. A node that is named a second time begins where it began before and not
/// where its second name says: so a tree that leads back into itself ends with an error, not after as many steps as it has
/// paths.
#[derive(Clone, Copy)]
struct Below {
    id: ChunkId,
    /// Where it begins; not known of a root.
    first: Option<Digest>,
    entries: u64,
}

impl Below {
    fn root(run: &RunRef) -> Self {
        Below { id: run.root, first: None, entries: run.entries }
    }

    fn child(child: &Child) -> Self {
        Below { id: child.id, first: Some(child.first), entries: child.entries }
    }

    fn check(&self, first: Option<Digest>, entries: u64) -> Result<(), FormatError> {
        if self.first.is_some_and(|expected| first != Some(expected)) {
            let shown = |digest: Option<Digest>| digest.map_or("none".to_string(), |digest| digest.to_string());
            return Err(FormatError::field("its first digest", shown(self.first), shown(first)));
        }
        if self.entries != entries {
            return Err(FormatError::field("its entries", self.entries, entries));
        }
        Ok(())
    }
}

fn read_node(chunks: &ChunkReader, level: u8, below: &Below) -> Result<Vec<Child>> {
    let of = |error: FormatError| error.of(format!("branch node {}", below.id));
    let plain = chunks.read(&below.id, Class::Tree)?;
    let children = node::decode(level, &plain).map_err(of)?.children;
    let entries = children.iter().map(|child| child.entries).sum();
    below.check(children.first().map(|child| child.first), entries).map_err(of)?;
    Ok(children)
}

fn read_leaf(chunks: &ChunkReader, below: &Below) -> Result<Vec<Entry>> {
    let of = |error: FormatError| error.of(format!("leaf {}", below.id));
    let plain = chunks.read(&below.id, Class::Tree)?;
    let entries = leaf::decode(&plain).map_err(of)?;
    below.check(entries.first().map(|entry| entry.digest), entries.len() as u64).map_err(of)?;
    Ok(entries)
}

/// Finds the entry of a digest by reading one node of each level and one leaf.
pub fn find(chunks: &ChunkReader, run: &RunRef, digest: &Digest) -> Result<Option<Entry>> {
    let key = digest.sort_key();
    let mut below = Below::root(run);
    for level in (1..=run.level).rev() {
        let children = read_node(chunks, level, &below)?;
        let at = children.partition_point(|child| child.first.sort_key() <= key);
        match at.checked_sub(1).and_then(|at| children.get(at)) {
            Some(child) => below = Below::child(child),
            None => return Ok(None),
        }
    }
    let entries = read_leaf(chunks, &below)?;
    let at = entries.binary_search_by_key(&key, |entry| entry.digest.sort_key());
    Ok(at.ok().and_then(|at| entries.into_iter().nth(at)))
}

/// Walks the entries of a run in order, from a key on.
pub struct RunCursor<'a> {
    chunks: &'a ChunkReader,
    /// The nodes on the way down, each with the children that are still to come.
    path: Vec<(u8, VecDeque<Child>)>,
    leaves: VecDeque<Below>,
    entries: VecDeque<Entry>,
    last: Option<Digest>,
    from: Option<Digest>,
}

impl<'a> RunCursor<'a> {
    /// A cursor before the first entry.
    pub fn new(chunks: &'a ChunkReader, run: &RunRef) -> Result<Self> {
        Self::starting(chunks, run, None)
    }

    /// A cursor before the first entry at or after `from`.
    pub fn from(chunks: &'a ChunkReader, run: &RunRef, from: Digest) -> Result<Self> {
        Self::starting(chunks, run, Some(from))
    }

    fn starting(chunks: &'a ChunkReader, run: &RunRef, from: Option<Digest>) -> Result<Self> {
        let mut cursor =
            RunCursor { chunks, path: Vec::new(), leaves: VecDeque::new(), entries: VecDeque::new(), last: None, from };
        if run.level == 0 {
            cursor.leaves.push_back(Below::root(run));
        } else {
            cursor.descend(run.level, &Below::root(run))?;
        }
        Ok(cursor)
    }

    fn descend(&mut self, level: u8, below: &Below) -> Result<()> {
        let mut children: VecDeque<Child> = read_node(self.chunks, level, below)?.into();
        if let Some(from) = self.from {
            let at = children.partition_point(|child| child.first.sort_key() <= from.sort_key());
            children.drain(..at.saturating_sub(1));
        }
        self.path.push((level, children));
        Ok(())
    }

    /// The next entry without taking it.
    pub fn peek(&mut self) -> Result<Option<&Entry>> {
        while self.entries.is_empty() {
            if !self.fill()? {
                return Ok(None);
            }
        }
        Ok(self.entries.front())
    }

    /// The next entry.
    #[expect(clippy::should_implement_trait, reason = "it can fail, and borrows")]
    pub fn next(&mut self) -> Result<Option<Entry>> {
        self.peek()?;
        Ok(self.entries.pop_front())
    }

    fn fill(&mut self) -> Result<bool> {
        while self.leaves.is_empty() {
            let Some((level, children)) = self.path.last_mut() else { return Ok(false) };
            if *level == 1 {
                self.leaves = std::mem::take(children).iter().map(Below::child).collect();
                self.path.pop();
            } else if let Some(child) = children.pop_front() {
                let level = *level - 1;
                self.descend(level, &Below::child(&child))?;
            } else {
                self.path.pop();
            }
        }
        let count = if self.last.is_none() { 1 } else { READ_AHEAD.min(self.leaves.len()) };
        let ahead: Vec<Below> = self.leaves.drain(..count).collect();
        let chunks = self.chunks;
        let leaves: Vec<Vec<Entry>> = if let [below] = &ahead[..] {
            vec![read_leaf(chunks, below)?]
        } else {
            ahead.par_iter().map(|below| read_leaf(chunks, below)).collect::<Result<_>>()?
        };
        for (leaf, Below { id, .. }) in leaves.into_iter().zip(&ahead) {
            let first = leaf.first().map(|entry| entry.digest.sort_key());
            if first.is_some_and(|first| self.last.is_some_and(|last| last.sort_key() >= first)) {
                let error = FormatError::field("its first digest", "one after the leaf before", "an earlier one");
                return Err(error.of(format!("leaf {id}")));
            }
            self.last = leaf.last().map(|entry| entry.digest).or(self.last);
            self.entries.extend(leaf);
        }
        if let Some(from) = self.from.take() {
            while self.entries.front().is_some_and(|entry| entry.digest.sort_key() < from.sort_key()) {
                self.entries.pop_front();
            }
        }
        Ok(true)
    }
}
