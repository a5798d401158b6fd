//! Writing a run: values into chunks, a chunker for each set, entries into leaves, all in key order.
//!
//! One thread feeds; others name, compress and seal. An entry waits until the chunk that its value falls into was cut,
//! so what waits is bounded: past [`MAX_WAITING`] entries or [`MAX_OPEN_BYTES`] of values, the set that the oldest
//! entry waits for is cut early. With 10 sets or 4,095 the same bound holds; only the chunks of rare sets become
//! smaller.

use super::tree::TreeBuilder;
use crate::chunk::Cutter;
use crate::chunks::ChunkWriter;
use crate::crypto::keys::CutKey;
use crate::error::{Error, Result};
use crate::format::ChunkId;
use crate::format::header::Class;
use crate::format::leaf::{self, Entry, LiveEntry, RecordHash, ValuePlace};
use crate::format::node::Child;
use crate::format::snapshot::RunRef;
use crate::record::RecordMeta;
use crate::sync::lock;
use crossbeam_channel::{Receiver, Sender};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, OnceLock};

/// Values that wait for a cut take at most this many bytes.
pub const MAX_OPEN_BYTES: usize = 64 << 20;
/// Entries that wait for their chunk are at most this many.
pub const MAX_WAITING: usize = 1 << 17;
/// Chunks and leaves on their way to the threads that seal them.
const MAX_JOBS: usize = 16;
/// A leaf ends at a digest whose last byte has six zero bits, once it has this many entries: so it has 256 on average,
/// and finding one record reads some 12 kB of each run …
const MIN_LEAF: usize = 192;
/// … and at the latest at this many.
const MAX_LEAF: usize = 1024;
/// … or once its entries' chunk references and bin orders take this many bytes.
const MAX_LEAF_EXTRA: usize = 1 << 20;

type Slot = Arc<OnceLock<ChunkId>>;

/// A record whose value is to be written.
#[derive(Clone, Copy, Debug)]
pub struct RecordToWrite<'a> {
    /// Digest, set, generation, void time.
    pub meta: RecordMeta<'a>,
    /// The hash of set and body.
    pub hash: RecordHash,
    /// The bin order.
    pub bin_order: &'a [u8],
    /// The canonical body.
    pub body: &'a [u8],
}

/// What writing a run came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RunStats {
    /// Plain bytes of the value chunks that were cut.
    pub value_bytes: u64,
    /// How many value chunks were cut.
    pub value_chunks: u64,
}

enum Wait {
    Nothing,
    /// For a cut in the set with this number.
    Open(usize),
    Cut {
        chunk: Slot,
        more: Box<[Slot]>,
        offset: u32,
        length: u32,
    },
}

struct Waiting {
    entry: Entry,
    on: Wait,
}

/// The values of one set that wait for a cut.
#[derive(Default)]
struct OpenSet {
    bytes: Vec<u8>,
    /// Where what was not cut yet begins in `bytes`.
    begin: usize,
    /// For each record whose value was not cut: the number of its entry, and where its value ends in `bytes`.
    records: VecDeque<(u64, usize)>,
}

impl OpenSet {
    fn rest(&self) -> &[u8] {
        self.bytes.get(self.begin..).unwrap_or_default()
    }
}

fn open_set(sets: &mut [OpenSet], number: usize) -> Result<&mut OpenSet> {
    sets.get_mut(number).ok_or_else(|| Error::internal(format!("there is no set {number} whose values are open")))
}

enum Job {
    Chunk(Vec<u8>, Slot),
    Leaf(u64, Vec<Waiting>),
}

type FinishedLeaf = (u64, Result<(Child, u64)>);

/// Takes the entries of a run in key order.
pub struct RunFeeder<'a> {
    chunks: &'a ChunkWriter,
    cutter: Cutter,
    sets: Vec<OpenSet>,
    set_numbers: HashMap<Arc<[u8]>, usize>,
    orders: HashMap<Arc<[u8]>, Arc<[u8]>>,
    /// The set and the bin order of the record before: mostly those of the next one too.
    last_set: (Arc<[u8]>, usize),
    last_order: Arc<[u8]>,
    open_bytes: usize,
    waiting: VecDeque<Waiting>,
    first_waiting: u64,
    leaf: Vec<Waiting>,
    leaf_extra: usize,
    leaves_sent: u64,
    leaves_done: u64,
    early: BTreeMap<u64, (Child, u64)>,
    jobs: Option<Sender<Job>>,
    finished: Receiver<FinishedLeaf>,
    failed: Arc<Mutex<Option<Error>>>,
    tree: TreeBuilder<'a>,
    stats: RunStats,
}

/// Writes a run: `feed` hands over its entries, in key order, each key once. `None` if there were none.
pub fn write_run<T>(
    chunks: &ChunkWriter,
    cutter: Cutter,
    feed: impl FnOnce(&mut RunFeeder<'_>) -> Result<T>,
) -> Result<(Option<RunRef>, RunStats, T)> {
    let (jobs, work) = crossbeam_channel::bounded(MAX_JOBS);
    let (done, finished) = crossbeam_channel::unbounded();
    let failed = Arc::new(Mutex::new(None));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            let (work, done, failed) = (work.clone(), done.clone(), failed.clone());
            scope.spawn(move || {
                for job in work {
                    run_job(chunks, job, &done, &failed);
                }
            });
        }
        drop((work, done));
        let mut feeder = RunFeeder {
            chunks,
            cutter,
            sets: Vec::new(),
            set_numbers: HashMap::new(),
            orders: HashMap::new(),
            last_set: (Arc::default(), usize::MAX),
            last_order: Arc::default(),
            open_bytes: 0,
            waiting: VecDeque::new(),
            first_waiting: 0,
            leaf: Vec::new(),
            leaf_extra: 0,
            leaves_sent: 0,
            leaves_done: 0,
            early: BTreeMap::new(),
            jobs: Some(jobs),
            finished,
            failed,
            tree: TreeBuilder::new(chunks),
            stats: RunStats::default(),
        };
        let fed = feed(&mut feeder)?;
        let (run, stats) = feeder.finish()?;
        Ok((run, stats, fed))
    })
}

fn run_job(chunks: &ChunkWriter, job: Job, done: &Sender<FinishedLeaf>, failed: &Mutex<Option<Error>>) {
    match job {
        Job::Chunk(bytes, slot) => {
            let id = chunks.put(Class::Data, &bytes).unwrap_or_else(|error| {
                let mut failed = lock(failed);
                *failed = failed.take().or(Some(error));
                // The run is given up; the slot is filled so that no thread waits for it forever.
                ChunkId([0; 32])
            });
            let _ = slot.set(id);
        }
        Job::Leaf(number, entries) => {
            let _ = done.send((number, write_leaf(chunks, entries)));
        }
    }
}

/// Waits for the chunks that the entries' values went into. They were sent before the leaf, so a thread has each in
/// hand.
fn write_leaf(chunks: &ChunkWriter, waiting: Vec<Waiting>) -> Result<(Child, u64)> {
    let entries: Vec<Entry> = waiting
        .into_iter()
        .map(|Waiting { mut entry, on }| {
            if let (Wait::Cut { chunk, more, offset, length }, Some(live)) = (on, &mut entry.live) {
                let more = more.iter().map(|slot| *slot.wait()).collect();
                live.place = ValuePlace { chunk: *chunk.wait(), more, offset, length };
            }
            entry
        })
        .collect();
    let places = entries.iter().filter_map(|entry| entry.live.as_ref()).map(|live| &live.place);
    let named: usize = places.map(|place| place.chunks().count()).sum();
    if named > leaf::MAX_CHUNKS {
        let problem = format!("values lie in {named} chunks, more than a leaf may name ({})", leaf::MAX_CHUNKS);
        return Err(Error::invalid(format!("cannot store {} entries: their {problem}", entries.len())));
    }
    store_leaf(chunks, &entries)
}

/// Stores a leaf, and gives back what the node above says of it, and its plain bytes.
pub(super) fn store_leaf(chunks: &ChunkWriter, entries: &[Entry]) -> Result<(Child, u64)> {
    let first = entries.first().ok_or_else(|| Error::internal("a leaf without entries"))?.digest;
    let bytes = leaf::encode(entries);
    let id = chunks.put(Class::Tree, &bytes)?;
    let child = Child {
        first,
        id,
        entries: entries.len() as u64,
        tombstones: entries.iter().filter(|entry| entry.live.is_none()).count() as u64,
        uses: leaf::chunk_ids(entries),
    };
    Ok((child, bytes.len() as u64))
}

impl RunFeeder<'_> {
    /// Adds a record whose value is to be written.
    pub fn record(&mut self, record: &RecordToWrite<'_>) -> Result<()> {
        let (set, number) = self.set(record.meta.set);
        let bin_order = self.bin_order(record.bin_order);
        let place = ValuePlace { chunk: ChunkId([0; 32]), more: Box::default(), offset: 0, length: 0 };
        let RecordMeta { digest, generation, void_time, .. } = record.meta;
        let live = LiveEntry { set, generation, void_time, hash: record.hash, bin_order, place };
        let entry = Entry { digest, live: Some(live) };
        if record.body.len() > self.cutter.max() {
            self.flush_set(number)?;
            let on = self.large(record.body)?;
            self.waiting.push_back(Waiting { entry, on });
        } else {
            let entry_number = self.first_waiting + self.waiting.len() as u64;
            let mut full = false;
            if let Some(open) = self.sets.get_mut(number) {
                open.bytes.extend_from_slice(record.body);
                open.records.push_back((entry_number, open.bytes.len()));
                full = open.rest().len() >= self.cutter.max();
            }
            self.open_bytes += record.body.len();
            self.waiting.push_back(Waiting { entry, on: Wait::Open(number) });
            if full {
                self.cut_set(number)?;
            }
        }
        self.advance()
    }

    /// Adds a tombstone, or an entry whose value is in chunks that the repository has.
    pub fn entry(&mut self, entry: Entry) -> Result<()> {
        self.waiting.push_back(Waiting { entry, on: Wait::Nothing });
        self.advance()
    }

    /// The shared name of a set, and its place in `sets`.
    fn set(&mut self, name: &[u8]) -> (Arc<[u8]>, usize) {
        if *self.last_set.0 != *name || self.last_set.1 == usize::MAX {
            self.last_set = match self.set_numbers.get_key_value(name) {
                Some((name, number)) => (name.clone(), *number),
                None => {
                    let (name, number) = (Arc::<[u8]>::from(name), self.sets.len());
                    self.sets.push(OpenSet::default());
                    self.set_numbers.insert(name.clone(), number);
                    (name, number)
                }
            };
        }
        self.last_set.clone()
    }

    fn bin_order(&mut self, order: &[u8]) -> Arc<[u8]> {
        if *self.last_order == *order {
            return self.last_order.clone();
        }
        if let Some(order) = self.orders.get(order) {
            self.last_order = order.clone();
            return order.clone();
        }
        let order: Arc<[u8]> = order.into();
        if self.orders.len() >= 4096 {
            self.orders.clear();
        }
        self.orders.insert(order.clone(), order.clone());
        order
    }

    fn send(&mut self, job: Job) -> Result<()> {
        self.check()?;
        let sent = self.jobs.as_ref().is_some_and(|jobs| jobs.send(job).is_ok());
        if sent { Ok(()) } else { Err(Error::internal("the threads that seal chunks are gone")) }
    }

    fn send_chunk(&mut self, bytes: Vec<u8>) -> Result<Slot> {
        self.stats.value_bytes += bytes.len() as u64;
        self.stats.value_chunks += 1;
        let slot = Slot::default();
        self.send(Job::Chunk(bytes, slot.clone()))?;
        Ok(slot)
    }

    /// Cuts a value that is larger than a chunk into chunks of its own.
    fn large(&mut self, body: &[u8]) -> Result<Wait> {
        let (mut rest, mut slots) = (body, Vec::new());
        while !rest.is_empty() {
            let length = self.cutter.cut(self.chunks.keys().cuts()?, rest);
            let cut = rest.split_at_checked(length).filter(|(head, _)| !head.is_empty());
            let (head, tail) =
                cut.ok_or_else(|| Error::internal(format!("a cut at {length} of {} bytes", rest.len())))?;
            slots.push(self.send_chunk(head.to_vec())?);
            rest = tail;
        }
        let mut slots = slots.into_iter();
        let chunk = slots.next().ok_or_else(|| Error::internal("a large value is empty"))?;
        Ok(Wait::Cut { chunk, more: slots.collect(), offset: 0, length: body.len() as u32 })
    }

    /// Cuts what can be cut for certain: while there is more than a whole chunk. Gives back whether anything was.
    fn cut_set(&mut self, set: usize) -> Result<bool> {
        let mut any = false;
        let chunks = self.chunks;
        let cuts = chunks.keys().cuts()?;
        while let Some(end) = self.next_cut(cuts, set) {
            self.emit(set, end)?;
            any = true;
        }
        // What was cut stays in memory until here, so that the rest moves once.
        if let Some(open) = self.sets.get_mut(set) {
            open.bytes.drain(..open.begin);
            let begin = std::mem::take(&mut open.begin);
            open.records.iter_mut().for_each(|(_, end)| *end -= begin);
        }
        Ok(any)
    }

    /// Where the next chunk of a set ends for certain.
    fn next_cut(&self, cuts: &CutKey, set: usize) -> Option<usize> {
        let open = self.sets.get(set)?;
        let (rest, max) = (open.rest(), self.cutter.max());
        if rest.is_empty() {
            return None;
        }
        let length = self.cutter.cut(cuts, rest);
        if length == rest.len() && length < max {
            return None;
        }
        // The first record that ends at or after the cut ends the chunk.
        let at = open.records.partition_point(|&(_, end)| end - open.begin < length);
        let end = open.records.get(at).map_or(open.bytes.len(), |&(_, end)| end);
        let whole = end < open.bytes.len() || end - open.begin >= max;
        whole.then_some(end)
    }

    fn flush_set(&mut self, set: usize) -> Result<()> {
        self.cut_set(set)?;
        let rest = self.sets.get(set).map_or(0, |open| open.bytes.len());
        if rest > 0 {
            self.emit(set, rest)?;
            self.sets.get_mut(set).into_iter().for_each(|open| *open = OpenSet::default());
        }
        Ok(())
    }

    /// Makes a chunk of a set's open values up to `end`, where a record ends.
    fn emit(&mut self, set: usize, end: usize) -> Result<()> {
        let open = open_set(&mut self.sets, set)?;
        let chunk = open.bytes.get(open.begin..end);
        let chunk = chunk.ok_or_else(|| Error::internal("a chunk ends past the values that are open"))?.to_vec();
        let mut begin = std::mem::replace(&mut open.begin, end);
        let base = begin;
        self.open_bytes -= chunk.len();
        let slot = self.send_chunk(chunk)?;
        let open = open_set(&mut self.sets, set)?;
        while let Some(&(number, record_end)) = open.records.front()
            && record_end <= end
        {
            open.records.pop_front();
            let index = number.checked_sub(self.first_waiting).and_then(|n| usize::try_from(n).ok());
            let waiting = index.and_then(|index| self.waiting.get_mut(index));
            let waiting = waiting.ok_or_else(|| Error::internal("a value was cut whose entry doesn't wait for it"))?;
            let (offset, length) = ((begin - base) as u32, (record_end - begin) as u32);
            waiting.on = Wait::Cut { chunk: slot.clone(), more: Box::default(), offset, length };
            begin = record_end;
        }
        Ok(())
    }

    /// Moves entries that wait for nothing into leaves, and keeps what waits within bounds.
    fn advance(&mut self) -> Result<()> {
        loop {
            while self.waiting.front().is_some_and(|waiting| !matches!(waiting.on, Wait::Open(_))) {
                if let Some(waiting) = self.waiting.pop_front() {
                    self.first_waiting += 1;
                    self.add_to_leaf(waiting)?;
                }
            }
            if self.open_bytes <= MAX_OPEN_BYTES && self.waiting.len() <= MAX_WAITING {
                return Ok(());
            }
            let Some(&Waiting { on: Wait::Open(set), .. }) = self.waiting.front() else {
                return Err(Error::internal("values wait to be cut, and no entry waits for them"));
            };
            if !self.cut_set(set)? {
                self.flush_set(set)?;
            }
        }
    }

    fn add_to_leaf(&mut self, waiting: Waiting) -> Result<()> {
        let ends = waiting.entry.digest.0[19] & 63 == 0;
        let more = match &waiting.on {
            Wait::Cut { more, .. } => more.len(),
            _ => waiting.entry.live.as_ref().map_or(0, |live| live.place.more.len()),
        };
        if !self.leaf.is_empty() && self.leaf_extra / 32 + more > leaf::MAX_CHUNKS / 2 {
            self.send_leaf()?;
        }
        self.leaf_extra += 32 * more + waiting.entry.live.as_ref().map_or(0, |live| live.bin_order.len());
        self.leaf.push(waiting);
        let full = self.leaf.len() >= MAX_LEAF || self.leaf_extra >= MAX_LEAF_EXTRA;
        if (ends && self.leaf.len() >= MIN_LEAF) || full {
            self.send_leaf()?;
        }
        Ok(())
    }

    fn send_leaf(&mut self) -> Result<()> {
        let leaf = std::mem::take(&mut self.leaf);
        self.leaf_extra = 0;
        let number = self.leaves_sent;
        self.leaves_sent += 1;
        self.send(Job::Leaf(number, leaf))?;
        while let Ok(finished) = self.finished.try_recv() {
            self.leaf_done(finished)?;
        }
        Ok(())
    }

    fn leaf_done(&mut self, (number, leaf): FinishedLeaf) -> Result<()> {
        self.early.insert(number, leaf?);
        while let Some((child, bytes)) = self.early.remove(&self.leaves_done) {
            self.tree.add_leaf(child, bytes)?;
            self.leaves_done += 1;
        }
        Ok(())
    }

    /// Plain bytes of the value chunks that were cut so far.
    pub fn value_bytes(&self) -> u64 {
        self.stats.value_bytes
    }

    /// Puts all that came so far into chunks, and gives back the root of a tree of it. Chunk and leaf that are open end
    /// early.
    pub fn so_far(&mut self) -> Result<Option<RunRef>> {
        self.flush()?;
        while self.leaves_done < self.leaves_sent {
            let Ok(finished) = self.finished.recv() else {
                return Err(Error::internal("the threads that seal chunks are gone"));
            };
            self.leaf_done(finished)?;
        }
        self.check()?;
        self.tree.so_far()
    }

    /// Returns the error of a chunk that could not be put.
    fn check(&self) -> Result<()> {
        lock(&self.failed).take().map_or(Ok(()), Err)
    }

    fn flush(&mut self) -> Result<()> {
        while let Some(waiting) = self.waiting.front() {
            if let Wait::Open(set) = waiting.on {
                self.flush_set(set)?;
            }
            self.advance()?;
        }
        if self.leaf.is_empty() { Ok(()) } else { self.send_leaf() }
    }

    fn finish(mut self) -> Result<(Option<RunRef>, RunStats)> {
        self.flush()?;
        self.jobs = None;
        while let Ok(finished) = self.finished.recv() {
            self.leaf_done(finished)?;
        }
        self.check()?;
        let run = self.tree.finish()?;
        Ok((run, self.stats))
    }
}
