//! Copying a run into another repository: its tree keeps its shape, chunk by chunk, and gets the names and record
//! hashes that the contents have there. The walk that copies hands on the entries, so that a state hash is made of them
//! by the way.

use super::cursor::{RunCursor, below, in_order, read_leaf, read_node, root};
use super::feeder::store_leaf;
use super::loss::NodeRef;
use super::reach::reach_run;
use super::transfer::Transfer;
use super::{ValuePlace, ValueReader};
use crate::chunks::ChunkReader;
use crate::error::{Error, Result};
use crate::format::ChunkId;
use crate::format::header::Class;
use crate::format::leaf::{self, Entry, Leaf, LiveEntry, RecordHash};
use crate::format::node::{self, Child, Node};
use crate::format::snapshot::RunRef;
use crate::record::Digest;
use rayon::prelude::*;
use std::collections::{HashMap, HashSet, VecDeque};

/// Leaves that are read, and whose values are taken over, at once.
const LEAVES: usize = 32;

/// An entry of a run, and the hash of its record in the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopiedEntry {
    /// The entry in the source.
    pub entry: Entry,
    /// The record's hash under the target's keys; zeros for a tombstone.
    pub hash: RecordHash,
}

/// A node that is to be copied, and the value chunks that the node above says a leaf uses.
type Below = (NodeRef, Option<Vec<ChunkId>>);

/// A branch node that is being copied.
struct Open {
    node: NodeRef,
    todo: VecDeque<Below>,
    done: Vec<Child>,
}

/// Runs of which the target has copies: where entries are found again whose values stand in chunks that were copied
/// before, so that these need not be read to name them. They are walked only if there are such entries.
#[derive(Default)]
struct Again<'a> {
    runs: Vec<(RunRef, RunRef)>,
    /// The source's value chunks that they refer to, once they were asked for.
    chunks: HashSet<ChunkId>,
    open: Option<Vec<Beside<'a>>>,
}

/// Writes a run again while it walks it.
struct Writing<'a> {
    again: Again<'a>,
    /// Whether the target has the run, so that its chunks of entries need not be read there.
    trusted: bool,
    path: Vec<Open>,
    /// The leaf of a run that is nothing but a leaf.
    lone: Option<NodeRef>,
    last: Option<Digest>,
    tree_bytes: u64,
    copy: Option<RunRef>,
}

/// Walks a run and the copy that the target has of it, side by side.
struct Beside<'a> {
    source: RunCursor<'a>,
    target: &'a ChunkReader,
    /// The walk through the copy, once it has begun.
    copy: Option<RunCursor<'a>>,
    run: RunRef,
    damaged: bool,
}

enum Way<'a> {
    Writing(Box<Writing<'a>>),
    Beside(Box<Beside<'a>>),
}

/// A run on its way into another repository: its entries in key order, each once it is there. The run is copied when
/// all were taken.
pub struct RunCopy<'a> {
    transfer: &'a Transfer<'a>,
    run: RunRef,
    entries: VecDeque<CopiedEntry>,
    way: Way<'a>,
}

impl<'a> RunCopy<'a> {
    /// Writes what the target lacks of the run; `trusted` if an earlier snapshot of the target has the same one. Of the
    /// runs in `again` the target has whole copies; values that those refer to too need not be read.
    pub fn write(
        transfer: &'a Transfer<'a>,
        run: &RunRef,
        trusted: bool,
        again: Vec<(RunRef, RunRef)>,
    ) -> Result<Self> {
        let again = Again { runs: again, ..Again::default() };
        let mut writing =
            Writing { again, trusted, path: Vec::new(), lone: None, last: None, tree_bytes: 0, copy: None };
        match run.level {
            0 => writing.lone = Some(root(run)),
            _ => writing.open(transfer, root(run))?,
        }
        Ok(RunCopy { transfer, run: *run, entries: VecDeque::new(), way: Way::Writing(Box::new(writing)) })
    }

    /// Writes nothing: `copy` is what an earlier snapshot of the target has of this run.
    pub fn beside(transfer: &'a Transfer<'a>, run: &RunRef, copy: &RunRef) -> Result<Self> {
        let beside = Beside::new(transfer, run, copy)?;
        Ok(RunCopy { transfer, run: *run, entries: VecDeque::new(), way: Way::Beside(Box::new(beside)) })
    }

    /// Whether the walk ended because the copy that the target has is damaged, or is none.
    pub fn found_copy_damaged(&self) -> bool {
        matches!(&self.way, Way::Beside(beside) if beside.damaged)
    }

    /// The next entry without taking it.
    pub fn peek(&mut self) -> Result<Option<&CopiedEntry>> {
        while self.entries.is_empty() {
            let more = match &mut self.way {
                Way::Writing(writing) => writing.fill(self.transfer, &self.run, &mut self.entries)?,
                Way::Beside(beside) => beside.fill(&mut self.entries)?,
            };
            if !more {
                return Ok(None);
            }
        }
        Ok(self.entries.front())
    }

    /// The next entry.
    #[allow(clippy::should_implement_trait, reason = "it can fail, and borrows")]
    pub fn next(&mut self) -> Result<Option<CopiedEntry>> {
        self.peek()?;
        Ok(self.entries.pop_front())
    }

    /// The run as the target has it, once all entries were taken.
    pub fn finish(self) -> Result<RunRef> {
        let copy = match self.way {
            Way::Writing(writing) => writing.copy,
            Way::Beside(beside) => Some(beside.run),
        };
        copy.ok_or_else(|| Error::internal("a run was not walked to its end"))
    }
}

impl<'a> Writing<'a> {
    fn open(&mut self, transfer: &Transfer<'_>, node: NodeRef) -> Result<()> {
        transfer.control().check()?;
        let children = read_node(transfer.source(), &node)?;
        let nodes = below(&node, &children);
        let uses = children.into_iter().map(|child| (node.level == 1).then_some(child.uses));
        self.path.push(Open { node, todo: nodes.into_iter().zip(uses).collect(), done: Vec::new() });
        Ok(())
    }

    /// Copies the next leaves; gives back whether there were any.
    fn fill(&mut self, transfer: &'a Transfer<'a>, run: &RunRef, entries: &mut VecDeque<CopiedEntry>) -> Result<bool> {
        if let Some(leaf) = self.lone.take() {
            let mut children = self.leaves(transfer, &[(leaf, None)], entries)?;
            let child = children.pop().ok_or_else(|| Error::internal("a leaf went missing"))?;
            self.copy = Some(self.root(&child, run, transfer.is_alike()));
            return Ok(true);
        }
        loop {
            let Some(open) = self.path.last_mut() else { return Ok(false) };
            if open.todo.is_empty() {
                self.close(transfer, run)?;
            } else if open.node.level > 1 {
                if let Some((child, _)) = open.todo.pop_front() {
                    self.open(transfer, child)?;
                }
            } else {
                let nodes: Vec<Below> = open.todo.drain(..LEAVES.min(open.todo.len())).collect();
                let children = self.leaves(transfer, &nodes, entries)?;
                self.path.last_mut().into_iter().for_each(|open| open.done.extend_from_slice(&children));
                return Ok(true);
            }
        }
    }

    /// Stores the node whose children are all there.
    fn close(&mut self, transfer: &Transfer<'_>, run: &RunRef) -> Result<()> {
        let open = self.path.pop().ok_or_else(|| Error::internal("a node is closed that was not opened"))?;
        let child = Child {
            first: open.done.first().map_or(Digest([0; 20]), |child| child.first),
            entries: open.done.iter().map(|child| child.entries).sum(),
            tombstones: open.done.iter().map(|child| child.tombstones).sum(),
            uses: Vec::new(),
            id: if transfer.is_alike() {
                transfer.take(Class::Tree, &open.node.chunk, self.trusted)?
            } else {
                let bytes = node::encode(&Node { level: open.node.level, children: open.done });
                self.tree_bytes += bytes.len() as u64;
                transfer.target().put(Class::Tree, &bytes)?
            },
        };
        match self.path.last_mut() {
            Some(above) => above.done.push(child),
            None => self.copy = Some(self.root(&child, run, transfer.is_alike())),
        }
        Ok(())
    }

    /// The run whose root was copied.
    fn root(&self, child: &Child, run: &RunRef, alike: bool) -> RunRef {
        RunRef {
            root: child.id,
            level: run.level,
            entries: child.entries,
            tombstones: child.tombstones,
            tree_bytes: if alike { run.tree_bytes } else { self.tree_bytes },
        }
    }

    /// Copies leaves that follow one another, and hands on their entries.
    fn leaves(
        &mut self,
        transfer: &'a Transfer<'a>,
        nodes: &[Below],
        entries: &mut VecDeque<CopiedEntry>,
    ) -> Result<Vec<Child>> {
        let source = transfer.source();
        let read = |node: &NodeRef| {
            if transfer.is_alike() {
                // It goes over as it is: read once, for both.
                transfer.take(Class::Tree, &node.chunk, self.trusted)?;
            }
            read_leaf(source, node)
        };
        let leaves: Vec<Result<Leaf>> = nodes.par_iter().map(|(node, _)| read(node)).collect();
        let mut read = Vec::with_capacity(nodes.len());
        for (leaf, (node, uses)) in leaves.into_iter().zip(nodes) {
            let leaf = in_order(leaf?, node, self.last)?.to_entries();
            check_uses(node, uses.as_deref(), &leaf)?;
            self.last = leaf.last().map(|entry| entry.digest).or(self.last);
            read.push(leaf);
        }
        let again = if transfer.is_alike() { HashMap::new() } else { self.again.find(transfer, &read)? };
        // Neighbours stand in the same chunks, so each is taken once before the leaves ask for it.
        let mut seen = HashSet::new();
        let fresh = read.iter().flatten().filter(|entry| !again.contains_key(&entry.digest));
        let places = fresh.filter_map(|entry| entry.live.as_ref()).flat_map(|live| live.place.chunks());
        let chunks: Vec<_> = places.filter(|id| seen.insert(**id)).collect();
        chunks.par_iter().try_for_each(|id| transfer.take(Class::Data, id, self.trusted).map(|_| ()))?;
        let copied: Vec<CopiedLeaf> = read
            .into_par_iter()
            .zip(nodes)
            .map(|(leaf, (node, _))| match transfer.is_alike() {
                true => same_leaf(transfer, node, leaf, self.trusted),
                false => new_leaf(transfer, node, leaf, &again),
            })
            .collect::<Result<_>>()?;
        let mut children = Vec::with_capacity(copied.len());
        for (child, bytes, copied) in copied {
            self.tree_bytes += bytes;
            entries.extend(copied);
            children.push(child);
        }
        // What the target has is gone through, and is no progress.
        if !self.trusted {
            transfer.control().add_records(children.iter().map(|child| child.entries).sum());
        }
        Ok(children)
    }
}

/// Refuses a leaf that uses other chunks than the node above says: what it says is what a collection keeps.
fn check_uses(node: &NodeRef, uses: Option<&[ChunkId]>, leaf: &[Entry]) -> Result<()> {
    let sorted = |uses: &[ChunkId]| {
        let mut uses = uses.to_vec();
        uses.sort_unstable();
        uses
    };
    match uses {
        Some(uses) if sorted(uses) != sorted(&leaf::chunk_ids(leaf)) => {
            let found = "it uses other value chunks than the branch node above says";
            Err(Error::damaged(format!("leaf {}", node.chunk), found))
        }
        _ => Ok(()),
    }
}

/// A leaf that was copied: what the node above says of it, its plain bytes, its entries.
type CopiedLeaf = (Child, u64, Vec<CopiedEntry>);

/// Takes over a leaf as it is.
fn same_leaf(transfer: &Transfer<'_>, node: &NodeRef, leaf: Vec<Entry>, trusted: bool) -> Result<CopiedLeaf> {
    let id = transfer.take(Class::Tree, &node.chunk, trusted)?;
    let child = Child {
        first: leaf.first().map_or(Digest([0; 20]), |entry| entry.digest),
        id,
        entries: leaf.len() as u64,
        tombstones: leaf.iter().filter(|entry| entry.live.is_none()).count() as u64,
        uses: Vec::new(),
    };
    let copied = leaf.into_iter().map(|entry| {
        let hash = entry.live.as_ref().map_or(RecordHash([0; 16]), |live| live.hash);
        CopiedEntry { entry, hash }
    });
    Ok((child, 0, copied.collect()))
}

/// Writes a leaf with the target's names of the chunks and its hashes of the records, whose bodies are read and
/// checked.
fn new_leaf(
    transfer: &Transfer<'_>,
    node: &NodeRef,
    leaf: Vec<Entry>,
    again: &HashMap<Digest, LiveEntry>,
) -> Result<CopiedLeaf> {
    transfer.control().check()?;
    let mut values = ValueReader::new(transfer.source());
    let hashes = transfer.target().keys().records()?;
    let mut copied = Vec::with_capacity(leaf.len());
    let mut written = Vec::with_capacity(leaf.len());
    for entry in leaf {
        let Some(live) = &entry.live else {
            written.push(entry.clone());
            copied.push(CopiedEntry { entry, hash: RecordHash([0; 16]) });
            continue;
        };
        if let Some(LiveEntry { hash, place, .. }) = again.get(&entry.digest) {
            let (hash, place) = (*hash, place.clone());
            written.push(Entry { digest: entry.digest, live: Some(LiveEntry { hash, place, ..live.clone() }) });
            copied.push(CopiedEntry { entry, hash });
            continue;
        }
        let hash = hashes.hash(&live.set, values.body(live)?);
        let place = ValuePlace {
            chunk: transfer.take(Class::Data, &live.place.chunk, false)?,
            more: live.place.more.iter().map(|id| transfer.take(Class::Data, id, false)).collect::<Result<_>>()?,
            ..live.place
        };
        written.push(Entry { digest: entry.digest, live: Some(LiveEntry { hash, place, ..live.clone() }) });
        copied.push(CopiedEntry { entry, hash });
    }
    let named: usize =
        written.iter().filter_map(|entry| entry.live.as_ref()).map(|live| live.place.chunks().count()).sum();
    if named > leaf::MAX_CHUNKS {
        let found = format!("its values lie in {named} chunks, more than {}", leaf::MAX_CHUNKS);
        return Err(Error::damaged(format!("leaf {}", node.chunk), found));
    }
    let (child, bytes) = store_leaf(transfer.target(), &written)?;
    transfer.control().add_bytes_in(bytes);
    Ok((child, bytes, copied))
}

impl<'a> Again<'a> {
    /// Those entries whose values stand in chunks of these runs, and that one of them has too, each as the target has
    /// it.
    fn find(&mut self, transfer: &'a Transfer<'a>, leaves: &[Vec<Entry>]) -> Result<HashMap<Digest, LiveEntry>> {
        if self.runs.is_empty() {
            return Ok(HashMap::new());
        }
        if self.chunks.is_empty() {
            let (source, chunks) = (transfer.source(), &mut self.chunks);
            let mut seen = HashSet::new();
            for (run, _) in &self.runs {
                let mut each = |id: ChunkId, class: Class| chunks.extend((class == Class::Data).then_some(id));
                reach_run(source, run, &mut seen, &mut each, &mut |_| {})?;
            }
        }
        let live = leaves.iter().flatten().filter_map(|entry| Some((entry.digest, entry.live.as_ref()?)));
        let wanted: Vec<(Digest, &LiveEntry)> =
            live.filter(|(_, live)| self.chunks.contains(&live.place.chunk)).collect();
        let mut found = HashMap::new();
        if wanted.is_empty() {
            return Ok(found);
        }
        match self.look_for(transfer, &wanted, &mut found) {
            // Whether that matters is found out by whoever needs what can't be read.
            Err(error) if error.is_of_one_object() => *self = Again::default(),
            looked => looked?,
        }
        Ok(found)
    }

    fn look_for(
        &mut self,
        transfer: &'a Transfer<'a>,
        wanted: &[(Digest, &LiveEntry)],
        found: &mut HashMap<Digest, LiveEntry>,
    ) -> Result<()> {
        let mut open = match self.open.take() {
            Some(open) => open,
            None => {
                let opened = self.runs.iter().map(|(run, copy)| Beside::new(transfer, run, copy));
                opened.collect::<Result<Vec<_>>>()?
            }
        };
        for beside in &mut open {
            for (digest, live) in wanted {
                let Some((entry, copy)) = beside.at(digest)? else { continue };
                if let (Some(was), Some(copied)) = (entry.live, copy.live)
                    && was.hash == live.hash
                    && was.place == live.place
                {
                    found.insert(*digest, copied);
                }
            }
        }
        self.open = Some(open);
        Ok(())
    }
}

impl<'a> Beside<'a> {
    fn new(transfer: &Transfer<'a>, run: &RunRef, copy: &RunRef) -> Result<Self> {
        let (source, target) = (RunCursor::new(transfer.source(), run)?, transfer.target().reader());
        Ok(Beside { source, target, copy: None, run: *copy, damaged: false })
    }

    /// The next entry of the copy.
    fn next_of_copy(&mut self) -> Result<Option<Entry>> {
        let copy = match &mut self.copy {
            Some(copy) => copy,
            none => none.insert(RunCursor::new(self.target, &self.run)?),
        };
        copy.next()
    }

    /// The two entries of a key, if the run has it. Keys must ascend from call to call.
    fn at(&mut self, digest: &Digest) -> Result<Option<(Entry, Entry)>> {
        while self.source.peek()?.is_some_and(|next| next.sort_key() < digest.sort_key()) {
            self.pair()?;
        }
        match self.source.peek()? {
            Some(next) if next == digest => self.pair(),
            _ => Ok(None),
        }
    }

    /// Takes the next entry of both, which must be one and the same.
    fn pair(&mut self) -> Result<Option<(Entry, Entry)>> {
        let of_source = self.source.next()?;
        let of_copy = self.next_of_copy().inspect_err(|error| self.damaged = error.is_of_one_object())?;
        match (of_source, of_copy) {
            (None, None) => Ok(None),
            (Some(entry), Some(copy)) if is_copy(&entry, &copy) => Ok(Some((entry, copy))),
            _ => Err(self.another()),
        }
    }

    fn fill(&mut self, entries: &mut VecDeque<CopiedEntry>) -> Result<bool> {
        let Some((entry, copy)) = self.pair()? else { return Ok(false) };
        let hash = copy.live.map_or(RecordHash([0; 16]), |live| live.hash);
        entries.push_back(CopiedEntry { entry, hash });
        Ok(true)
    }

    fn another(&mut self) -> Error {
        self.damaged = true;
        Error::damaged(format!("run {} of the target", self.run.root), "it is no copy of the run that its origin names")
    }
}

/// Whether two entries agree in all that does not depend on a repository's keys.
fn is_copy(entry: &Entry, copy: &Entry) -> bool {
    let place = |live: &LiveEntry| (live.place.more.len(), live.place.offset, live.place.length);
    let same = match (&entry.live, &copy.live) {
        (None, None) => true,
        (Some(live), Some(copy)) => {
            live.set == copy.set
                && live.generation == copy.generation
                && live.void_time == copy.void_time
                && live.bin_order == copy.bin_order
                && place(live) == place(copy)
        }
        _ => false,
    };
    same && entry.digest == copy.digest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Generation, VoidTime};
    use std::sync::Arc;

    fn entry(change: impl FnOnce(&mut Entry, &mut LiveEntry)) -> Entry {
        let place = ValuePlace { chunk: ChunkId([1; 32]), more: Box::default(), offset: 5, length: 7 };
        let mut live = LiveEntry {
            set: Arc::from(&b"users"[..]),
            generation: Generation(3),
            void_time: VoidTime::NEVER,
            hash: RecordHash([2; 16]),
            bin_order: Arc::from(&b""[..]),
            place,
        };
        let mut entry = Entry { digest: Digest([4; 20]), live: None };
        change(&mut entry, &mut live);
        entry.live = Some(live);
        entry
    }

    #[test]
    fn a_copy_agrees_in_all_but_what_the_keys_of_a_repository_make() {
        let one = entry(|_, _| {});
        let keyed = entry(|_, live| (live.hash, live.place.chunk) = (RecordHash([8; 16]), ChunkId([9; 32])));
        assert!(is_copy(&one, &keyed));
        let others = [
            entry(|entry, _| entry.digest = Digest([5; 20])),
            entry(|_, live| live.set = Arc::from(&b"user"[..])),
            entry(|_, live| live.generation = Generation(4)),
            entry(|_, live| live.void_time = VoidTime(9)),
            entry(|_, live| live.bin_order = Arc::from(&b"x"[..])),
            entry(|_, live| live.place.more = Box::new([ChunkId([1; 32])])),
            entry(|_, live| live.place.offset = 6),
            entry(|_, live| live.place.length = 8),
            Entry { digest: Digest([4; 20]), live: None },
        ];
        for other in &others {
            assert!(!is_copy(&one, other) && !is_copy(other, &one), "{other:?}");
        }
        let gone = Entry { digest: Digest([4; 20]), live: None };
        assert!(is_copy(&gone, &gone) && !is_copy(&gone, &Entry { digest: Digest([5; 20]), live: None }));
    }
}
