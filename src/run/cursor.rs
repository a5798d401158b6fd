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

fn read_node(chunks: &ChunkReader, level: u8, id: &ChunkId) -> Result<Vec<Child>> {
    let plain = chunks.read(id, Class::Tree)?;
    node::decode(level, &plain).map(|node| node.children).map_err(|error| error.of(format!("branch node {id}")))
}

fn read_leaf(chunks: &ChunkReader, id: &ChunkId) -> Result<Vec<Entry>> {
    let plain = chunks.read(id, Class::Tree)?;
    leaf::decode(&plain).map_err(|error| error.of(format!("leaf {id}")))
}

/// Finds the entry of a digest by reading one node of each level and one leaf.
pub fn find(chunks: &ChunkReader, run: &RunRef, digest: &Digest) -> Result<Option<Entry>> {
    let key = digest.sort_key();
    let mut id = run.root;
    for level in (1..=run.level).rev() {
        let children = read_node(chunks, level, &id)?;
        let at = children.partition_point(|child| child.first.sort_key() <= key);
        match at.checked_sub(1).and_then(|at| children.get(at)) {
            Some(child) => id = child.id,
            None => return Ok(None),
        }
    }
    let entries = read_leaf(chunks, &id)?;
    let at = entries.binary_search_by_key(&key, |entry| entry.digest.sort_key());
    Ok(at.ok().and_then(|at| entries.into_iter().nth(at)))
}

/// Walks the entries of a run in order, from a key on.
pub struct RunCursor<'a> {
    chunks: &'a ChunkReader,
    /// The nodes on the way down, each with the children that are still to come.
    path: Vec<(u8, VecDeque<Child>)>,
    leaves: VecDeque<ChunkId>,
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
            cursor.leaves.push_back(run.root);
        } else {
            cursor.descend(run.level, &run.root)?;
        }
        Ok(cursor)
    }

    fn descend(&mut self, level: u8, id: &ChunkId) -> Result<()> {
        let mut children: VecDeque<Child> = read_node(self.chunks, level, id)?.into();
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
                self.leaves = std::mem::take(children).into_iter().map(|child| child.id).collect();
                self.path.pop();
            } else if let Some(child) = children.pop_front() {
                let level = *level - 1;
                self.descend(level, &child.id)?;
            } else {
                self.path.pop();
            }
        }
        let count = if self.last.is_none() { 1 } else { READ_AHEAD.min(self.leaves.len()) };
        let ids: Vec<ChunkId> = self.leaves.drain(..count).collect();
        let chunks = self.chunks;
        let leaves: Vec<Vec<Entry>> = if let [id] = &ids[..] {
            vec![read_leaf(chunks, id)?]
        } else {
            ids.par_iter().map(|id| read_leaf(chunks, id)).collect::<Result<_>>()?
        };
        for (leaf, id) in leaves.into_iter().zip(&ids) {
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
