//! Walking a run in order, and finding one entry.

use super::entries::{Entries, Picked};
use super::loss::{Loss, Losses, NodeRef, Ranges};
use crate::chunks::{ChunkReader, Fetched};
use crate::error::{Error, Result};
use crate::format::header::Class;
use crate::format::leaf::{Entry, Leaf};
use crate::format::node::{self, Child};
use crate::format::snapshot::RunRef;
use crate::format::{ChunkId, FormatError};
use crate::record::{Digest, PartitionId};
use rayon::prelude::*;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

/// Leaves that are read and decoded at once.
const READ_AHEAD: usize = 16;
/// So many times as many are read ahead of a caller that asks for it.
const BATCHES_AHEAD: usize = 4;

/// What came of reading leaves, in their order.
type Leaves = Vec<Result<Leaf>>;

/// Compares a node or leaf with what its parent says of it. A node that is named a second time begins where it began
/// before and not where its second name says: so a tree that leads back into itself ends with an error, not after as
/// many steps as it has paths.
fn check(node: &NodeRef, first: Option<Digest>, entries: u64) -> Result<(), FormatError> {
    if node.from.is_some_and(|expected| first != Some(expected)) {
        let shown = |digest: Option<Digest>| digest.map_or("none".to_string(), |digest| digest.to_string());
        return Err(FormatError::field("its first digest", shown(node.from), shown(first)));
    }
    if node.entries != entries {
        return Err(FormatError::field("its entries", node.entries, entries));
    }
    Ok(())
}

pub(super) fn read_node(chunks: &ChunkReader, node: &NodeRef) -> Result<Vec<Child>> {
    let of = |error: FormatError| error.of(format!("branch node {}", node.chunk));
    let plain = chunks.read(&node.chunk, Class::Tree)?;
    let children = node::decode(node.level, &plain).map_err(of)?.children;
    let entries = children.iter().map(|child| child.entries).sum();
    check(node, children.first().map(|child| child.first), entries).map_err(of)?;
    Ok(children)
}

pub(super) fn read_leaf(chunks: &ChunkReader, node: &NodeRef) -> Result<Leaf> {
    leaf_of(node, &chunks.read(&node.chunk, Class::Tree)?)
}

fn leaf_of(node: &NodeRef, plain: &[u8]) -> Result<Leaf> {
    let of = |error: FormatError| error.of(format!("leaf {}", node.chunk));
    let leaf = Leaf::decode(plain).map_err(of)?;
    check(node, leaf.digests().first().copied(), leaf.len() as u64).map_err(of)?;
    Ok(leaf)
}

/// Finds the entry of a digest by reading one node of each level and one leaf.
pub fn find(chunks: &ChunkReader, run: &RunRef, digest: &Digest) -> Result<Option<Entry>> {
    let key = digest.sort_key();
    let mut node = root(run);
    while node.level > 0 {
        let children = below(&node, &read_node(chunks, &node)?);
        let at = children.partition_point(|child| child.from.is_none_or(|first| first.sort_key() <= key));
        match at.checked_sub(1).and_then(|at| children.get(at)) {
            Some(child) => node = *child,
            None => return Ok(None),
        }
    }
    let leaf = read_leaf(chunks, &node)?;
    let at = leaf.digests().binary_search_by_key(&key, Digest::sort_key);
    Ok(at.ok().and_then(|at| leaf.get(at)).map(|entry| entry.to_entry()))
}

/// The root of a run as a node.
pub(super) fn root(run: &RunRef) -> NodeRef {
    // All fields are named: whatever a run refers to is reached from here.
    let RunRef { root, level, entries, tombstones, tree_bytes: _ } = *run;
    NodeRef { level, chunk: root, from: None, until: None, entries, tombstones }
}

/// The children of a node, which follow one another up to where the node itself ends.
pub(super) fn below(node: &NodeRef, children: &[Child]) -> VecDeque<NodeRef> {
    let ends = children.iter().skip(1).map(|child| Some(child.first)).chain([node.until]);
    let with_ends = children.iter().zip(ends).map(|(child, until)| NodeRef {
        level: node.level.saturating_sub(1),
        chunk: child.id,
        from: Some(child.first),
        until,
        entries: child.entries,
        tombstones: child.tombstones,
    });
    with_ends.collect()
}

/// Walks the entries of a run in order, from a key on.
pub struct RunCursor<'a> {
    chunks: &'a ChunkReader,
    /// The nodes on the way down, each with the children that are still to come.
    path: Vec<(u8, VecDeque<NodeRef>)>,
    leaves: VecDeque<NodeRef>,
    /// Leaves that other threads read, if they are read ahead.
    ahead: Option<LeavesAhead>,
    /// The next entry, if the leaf that it stands in was read already.
    next: Option<Picked>,
    /// The leaves that were read after it.
    later: VecDeque<Leaf>,
    last: Option<Digest>,
    from: Option<Digest>,
    started: bool,
    /// Whether damaged nodes are passed over and noted, instead of ending the walk.
    tolerant: bool,
    losses: Losses,
    unknown: Ranges,
}

impl<'a> RunCursor<'a> {
    /// A cursor before the first entry. A damaged node ends the walk with an error.
    pub fn new(chunks: &'a ChunkReader, run: &RunRef) -> Result<Self> {
        Self::starting(chunks, run, None, false)
    }

    /// The same, reading leaves ahead of the caller on other threads.
    pub fn ahead(chunks: &'a Arc<ChunkReader>, run: &RunRef) -> Result<Self> {
        let ahead = LeavesAhead { chunks: chunks.clone(), batches: VecDeque::new() };
        Ok(RunCursor { ahead: Some(ahead), ..Self::new(chunks, run)? })
    }

    /// A cursor that passes over damaged nodes; [`RunCursor::losses`] says which.
    pub fn tolerant(chunks: &'a ChunkReader, run: &RunRef) -> Result<Self> {
        Self::starting(chunks, run, None, true)
    }

    /// A tolerant cursor before the first entry at or after `from`.
    pub fn tolerant_from(chunks: &'a ChunkReader, run: &RunRef, from: Digest) -> Result<Self> {
        Self::starting(chunks, run, Some(from), true)
    }

    fn starting(chunks: &'a ChunkReader, run: &RunRef, from: Option<Digest>, tolerant: bool) -> Result<Self> {
        let mut cursor = RunCursor {
            chunks,
            path: Vec::new(),
            leaves: VecDeque::new(),
            ahead: None,
            next: None,
            later: VecDeque::new(),
            last: None,
            from,
            started: false,
            tolerant,
            losses: Losses::default(),
            unknown: Ranges::default(),
        };
        if run.level == 0 {
            cursor.leaves.push_back(root(run));
        } else {
            cursor.descend(&root(run))?;
        }
        Ok(cursor)
    }

    /// The damaged nodes that were met so far.
    pub fn losses(&self) -> &Losses {
        &self.losses
    }

    /// The ranges of keys that could not be read so far, each from its first key to before its second.
    pub fn unknown_ranges(&self) -> &[(Option<Digest>, Option<Digest>)] {
        self.unknown.all()
    }

    /// Whether the run may have an entry for a key that could not be read. The walk must have come to the key.
    pub(super) fn is_unknown(&self, digest: &Digest) -> bool {
        !self.unknown.is_empty() && self.unknown.contains(digest)
    }

    /// Gives back what was read of a node; notes it if it is damaged and this cursor goes on.
    fn or_lost<T>(&mut self, node: &NodeRef, read: Result<T>) -> Result<Option<T>> {
        match read {
            Ok(read) => Ok(Some(read)),
            Err(error) if self.tolerant && error.is_of_one_object() => {
                self.losses.note(Loss::of(node, &error));
                self.unknown.push(node.from, node.until);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn descend(&mut self, node: &NodeRef) -> Result<()> {
        let read = read_node(self.chunks, node);
        let Some(children) = self.or_lost(node, read)? else { return Ok(()) };
        let mut children = below(node, &children);
        if let Some(from) = self.from {
            let at =
                children.partition_point(|child| child.from.is_none_or(|first| first.sort_key() <= from.sort_key()));
            children.drain(..at.saturating_sub(1));
        }
        self.path.push((node.level, children));
        Ok(())
    }

    /// The digest of the next entry without taking it.
    pub fn peek(&mut self) -> Result<Option<&Digest>> {
        while self.next.as_ref().is_none_or(|next| next.get().is_none()) {
            match self.later.pop_front() {
                Some(leaf) => {
                    let is_before = |digest: &Digest| self.from.is_some_and(|from| digest.sort_key() < from.sort_key());
                    let at = leaf.digests().partition_point(is_before);
                    // What the walk begins with may stand in the leaf after this one.
                    self.from = self.from.filter(|_| at == leaf.len());
                    self.next = Some(Picked { leaf: Arc::new(leaf), at });
                }
                None if self.fill()? => {}
                None => return Ok(None),
            }
        }
        Ok(self.next.as_ref().and_then(|next| next.leaf.digests().get(next.at)))
    }

    /// The next entry.
    #[allow(clippy::should_implement_trait, reason = "it can fail, and borrows")]
    pub fn next(&mut self) -> Result<Option<Entry>> {
        Ok(self.pick()?.and_then(|picked| picked.get().map(|entry| entry.to_entry())))
    }

    /// The next entry, where it stands.
    pub(super) fn pick(&mut self) -> Result<Option<Picked>> {
        self.peek()?;
        let picked = self.next.clone().filter(|next| next.get().is_some());
        if let Some(next) = &mut self.next {
            next.at += 1;
        }
        Ok(picked)
    }

    /// Whether damaged nodes were passed over.
    pub(super) fn has_lost(&self) -> bool {
        !self.unknown.is_empty()
    }

    /// Takes the next entries that are read already, as far as they come before `limit` and are of `partition` or of
    /// one before; tombstones among them are dropped unless they are wanted. Gives back how many were passed.
    pub(super) fn take_below(
        &mut self,
        limit: Option<Digest>,
        partition: PartitionId,
        tombstones: bool,
        into: &mut Entries,
    ) -> usize {
        let limit = limit.map(|limit| limit.sort_key());
        let below =
            |digest: &Digest| digest.partition() <= partition && limit.is_none_or(|limit| digest.sort_key() < limit);
        let Some(Picked { leaf, at }) = &mut self.next else { return 0 };
        let count = leaf.digests().get(*at..).map_or(0, |left| left.partition_point(below));
        match tombstones {
            true => into.push(leaf, *at..*at + count),
            false => into.push_live(leaf, *at..*at + count),
        }
        *at += count;
        count
    }

    /// The leaves that come next, at most `most` and at least one unless the run has come to its end.
    fn next_leaves(&mut self, most: usize) -> Result<Vec<NodeRef>> {
        while self.leaves.is_empty() {
            let Some((level, children)) = self.path.last_mut() else { return Ok(Vec::new()) };
            if *level == 1 {
                self.leaves = std::mem::take(children);
                self.path.pop();
            } else if let Some(child) = children.pop_front() {
                self.descend(&child)?;
            } else {
                self.path.pop();
            }
        }
        let count = most.min(self.leaves.len());
        Ok(self.leaves.drain(..count).collect())
    }

    /// Reads the leaves that come next.
    fn read_leaves(&mut self) -> Result<(Vec<NodeRef>, Leaves)> {
        let most = if self.started { READ_AHEAD } else { 1 };
        self.started = true;
        // A worker that waits for others would keep them from working.
        if self.ahead.is_some() && rayon::current_thread_index().is_none() {
            while self.ahead.as_ref().is_some_and(|ahead| ahead.batches.len() < BATCHES_AHEAD) {
                let nodes = self.next_leaves(READ_AHEAD)?;
                match &mut self.ahead {
                    Some(ahead) if !nodes.is_empty() => ahead.read(nodes),
                    _ => break,
                }
            }
            return self.ahead.as_mut().map_or_else(|| Ok(Default::default()), LeavesAhead::take);
        }
        let nodes = self.next_leaves(most)?;
        let leaves = match &nodes[..] {
            [node] => vec![read_leaf(self.chunks, node)],
            nodes => nodes.par_iter().map(|node| read_leaf(self.chunks, node)).collect(),
        };
        Ok((nodes, leaves))
    }

    fn fill(&mut self) -> Result<bool> {
        let (nodes, leaves) = self.read_leaves()?;
        if nodes.is_empty() {
            return Ok(false);
        }
        for (leaf, node) in leaves.into_iter().zip(&nodes) {
            let leaf = leaf.and_then(|leaf| in_order(leaf, node, self.last));
            let Some(leaf) = self.or_lost(node, leaf)? else { continue };
            self.last = leaf.digests().last().copied().or(self.last);
            self.later.push_back(leaf);
        }
        Ok(true)
    }
}

/// Leaves that other threads read while the caller is busy with those before.
struct LeavesAhead {
    chunks: Arc<ChunkReader>,
    batches: VecDeque<(Vec<NodeRef>, Receiver<Leaves>)>,
}

impl LeavesAhead {
    /// Has leaves read.
    fn read(&mut self, nodes: Vec<NodeRef>) {
        let (sender, receiver) = std::sync::mpsc::sync_channel(1);
        let (chunks, wanted) = (self.chunks.clone(), nodes.clone());
        rayon::spawn(move || {
            let ids: Vec<ChunkId> = wanted.iter().map(|node| node.chunk).collect();
            let fetched = chunks.fetch_together(&ids, Class::Tree);
            let read = |(node, fetched): (&NodeRef, Option<Fetched>)| {
                let opened = fetched.and_then(|fetched| chunks.open_fetched(fetched));
                opened.map_or_else(|| read_leaf(&chunks, node), |plain| leaf_of(node, &plain))
            };
            let leaves = wanted.par_iter().zip(fetched).map(read).collect();
            // Nobody waits for them if the walk was given up.
            let _ = sender.send(leaves);
        });
        self.batches.push_back((nodes, receiver));
    }

    /// The leaves that were asked for first; none if none were.
    fn take(&mut self) -> Result<(Vec<NodeRef>, Leaves)> {
        let Some((nodes, receiver)) = self.batches.pop_front() else { return Ok(Default::default()) };
        let leaves = receiver.recv().map_err(|_| Error::internal("a thread that read leaves ended unexpectedly"))?;
        Ok((nodes, leaves))
    }
}

/// Refuses a leaf that begins at or before the last key of the one before, or ends past the first of the next one.
pub(super) fn in_order(leaf: Leaf, node: &NodeRef, last: Option<Digest>) -> Result<Leaf> {
    let wrong = |what, expected: &str, found: Digest| {
        Err(FormatError::field(what, expected, found).of(format!("leaf {}", node.chunk)))
    };
    if let (Some(first), Some(last)) = (leaf.digests().first(), last)
        && last.sort_key() >= first.sort_key()
    {
        return wrong("its first digest", "one after the leaf before", *first);
    }
    if let (Some(last), Some(until)) = (leaf.digests().last(), node.until)
        && last.sort_key() >= until.sort_key()
    {
        return wrong("its last digest", "one before the next leaf", *last);
    }
    Ok(leaf)
}
