//! Building the branch nodes above a run's leaves, level by level, as the leaves come.

use crate::chunks::ChunkWriter;
use crate::error::{Error, Result};
use crate::format::header::Class;
use crate::format::node::{self, Child, Node};
use crate::format::snapshot::RunRef;

/// A node is closed at a child whose id has five zero bits, once it has this many …
const MIN_CHILDREN: usize = 16;
/// … and at the latest at this many children …
const MAX_CHILDREN: usize = 256;
/// … or this many uses of value chunks; before a child that would bring them past what a reader takes.
const MAX_USES: usize = 2048;

#[derive(Clone, Default)]
struct Level {
    children: Vec<Child>,
    uses: usize,
}

/// Takes leaves in order and stores the nodes above them.
#[derive(Clone)]
pub struct TreeBuilder<'a> {
    chunks: &'a ChunkWriter,
    levels: Vec<Level>,
    bytes: u64,
}

impl<'a> TreeBuilder<'a> {
    /// An empty tree.
    pub fn new(chunks: &'a ChunkWriter) -> Self {
        TreeBuilder { chunks, levels: Vec::new(), bytes: 0 }
    }

    /// Adds a leaf of `bytes` plain bytes.
    pub fn add_leaf(&mut self, leaf: Child, bytes: u64) -> Result<()> {
        self.bytes += bytes;
        self.add(0, leaf)
    }

    fn add(&mut self, level: usize, child: Child) -> Result<()> {
        if self.levels.len() <= level {
            self.levels.resize_with(level + 1, Level::default);
        }
        let full = |open: &Level| !open.children.is_empty() && open.uses + child.uses.len() > node::MAX_USES;
        if self.levels.get(level).is_some_and(full) {
            let parent = self.close(level)?;
            self.add(level + 1, parent)?;
        }
        let open = self.levels.get_mut(level);
        let open = open.ok_or_else(|| Error::internal(format!("a tree has no level {level}")))?;
        let ends = child.id.0[31] & 31 == 0;
        open.uses += child.uses.len();
        open.children.push(child);
        let n = open.children.len();
        if (ends && n >= MIN_CHILDREN) || n >= MAX_CHILDREN || open.uses >= MAX_USES && n >= 2 {
            let parent = self.close(level)?;
            self.add(level + 1, parent)?;
        }
        Ok(())
    }

    fn close(&mut self, level: usize) -> Result<Child> {
        let open = self.levels.get_mut(level).map(std::mem::take);
        let open = open.ok_or_else(|| Error::internal(format!("a tree has no level {level}")))?;
        let first = open.children.first().ok_or_else(|| Error::internal("a node without children"))?.first;
        let entries = open.children.iter().map(|child| child.entries).sum();
        let tombstones = open.children.iter().map(|child| child.tombstones).sum();
        let bytes = node::encode(&Node { level: level as u8 + 1, children: open.children });
        self.bytes += bytes.len() as u64;
        let id = self.chunks.put(Class::Tree, &bytes)?;
        Ok(Child { first, id, entries, tombstones, uses: Vec::new() })
    }

    /// A tree of the leaves that came so far; more may come.
    pub fn so_far(&self) -> Result<Option<RunRef>> {
        self.clone().finish()
    }

    /// Closes what is open; `None` if no leaf came.
    pub fn finish(mut self) -> Result<Option<RunRef>> {
        let mut level = 0;
        while level < self.levels.len() {
            let top = level + 1 == self.levels.len();
            let open = self.levels.get_mut(level).map(|open| &mut open.children);
            match open {
                Some(children) if top && children.len() == 1 => {
                    return Ok(children.pop().map(|root| RunRef {
                        root: root.id,
                        level: level as u8,
                        entries: root.entries,
                        tombstones: root.tombstones,
                        tree_bytes: self.bytes,
                    }));
                }
                Some(children) if !children.is_empty() => {
                    let parent = self.close(level)?;
                    self.add(level + 1, parent)?;
                }
                _ => {}
            }
            level += 1;
        }
        Ok(None)
    }
}
