//! Reading the index.

use super::cache::Cache;
use super::writer::Joined;
use crate::crypto::{Keys, Sealer};
use crate::error::{Error, Result};
use crate::format::header::{HEADER_BYTES, ObjectKind};
use crate::format::index::{
    BLOCK_ROWS, IndexRow, SegmentDirectory, SegmentTrailer, TRAILER_BYTES, associated_data, decode_block,
};
use crate::format::pack::{ChunkPlace, DirectoryRow};
use crate::format::snapshot::Manifest;
use crate::format::{ChunkId, FormatError, PackId, SnapshotId, names};
use crate::pack::{read_directory, stored_packs};
use crate::store::Store;
use crate::sync::{in_parallel, lock};
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// Decrypted blocks are kept up to this many bytes: the whole index of about 90 GB of data.
const CACHE_BYTES: usize = 64 << 20;

/// A segment that can't be opened is tried so often again before it counts as damaged: a collection replaces one with a
/// single call, and only one collection is at work at a time.
const OPENINGS: usize = 2;

/// A segment of at most so many bytes (some 300 rows) is read by one request when it is opened, with all of its blocks;
/// of larger ones the ends are read, and blocks when they are asked for.
const WHOLE_BYTES: u64 = 16 << 10;

/// Where a chunk is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Location {
    /// In which pack.
    pub pack: PackId,
    /// Where in it.
    pub place: ChunkPlace,
}

/// Blocks of a segment that were read: their numbers and rows.
type Blocks = Vec<(usize, Vec<IndexRow>)>;

/// Bytes that a block takes in memory.
const BLOCK_COST: usize = BLOCK_ROWS * std::mem::size_of::<IndexRow>();

struct Segment {
    /// What its blocks are kept under: its place among the segments when they were opened.
    number: usize,
    /// Whose it is, and its number there.
    owner: Joined,
    key: String,
    sealer: Sealer,
    trailer: SegmentTrailer,
    directory: SegmentDirectory,
}

/// The segments of committed sessions, and what was read from packs that they lack.
pub struct Index {
    segments: Vec<Segment>,
    damaged: Vec<Error>,
    /// The keys of those.
    damaged_keys: Vec<String>,
    excluded: HashSet<PackId>,
    blocks: Cache<(usize, usize), Vec<IndexRow>>,
    /// Segments of which a block could not be read: damaged ones, and ones that a collection replaced or joined since.
    failed: Mutex<HashSet<usize>>,
    /// The segment in which [`Index::find_near`] found something last.
    last_hit: AtomicUsize,
    recovered: Mutex<Recovered>,
    /// Held while the packs are looked through, so that nobody takes a search that goes on for one that found nothing.
    recovering: Mutex<HashSet<PackId>>,
}

/// What was read from packs that no readable segment names, once they were asked for.
#[derive(Default)]
struct Recovered {
    places: HashMap<ChunkId, Location>,
    /// Further copies of chunks that have a place above.
    copies: HashMap<ChunkId, Vec<Location>>,
    packs: Vec<(PackId, u64, Vec<DirectoryRow>)>,
}

fn missing(key: &str) -> Error {
    Error::Missing { object: key.to_string(), advice: String::new() }
}

impl Segment {
    /// The pack that a row is of, and its size.
    fn pack(&self, row: &IndexRow) -> Result<(PackId, u64)> {
        let pack = self.directory.packs.get(row.pack as usize).copied();
        pack.ok_or_else(|| Error::internal(format!("{} has a row of a pack that it doesn't name", self.key)))
    }

    /// Opens a segment of this size; the blocks of a small one come with it, where they can be read.
    fn open(store: &dyn Store, keys: &Keys, key: &str, size: u64) -> Result<(Self, Blocks)> {
        let of = |error: FormatError| error.of(key);
        let whole = match size <= WHOLE_BYTES {
            true => Some(store.get(key, WHOLE_BYTES)?.ok_or_else(|| missing(key))?),
            false => None,
        };
        let size = whole.as_ref().map_or(size, |bytes| bytes.len() as u64);
        let part = |offset: u64, length: usize| match &whole {
            Some(bytes) => {
                let start = bytes.len().min(usize::try_from(offset).unwrap_or(usize::MAX));
                let end = bytes.len().min(start.saturating_add(length));
                Ok(bytes.get(start..end).unwrap_or_default().to_vec())
            }
            None => store.get_range(key, offset, length)?.map(Vec::from).ok_or_else(|| missing(key)),
        };
        let trailer_at = size.checked_sub((TRAILER_BYTES + HEADER_BYTES) as u64);
        let trailer_at = trailer_at.ok_or_else(|| of(FormatError::Cut("the segment")))? + HEADER_BYTES as u64;
        let sealer = Sealer::open(keys, ObjectKind::Index, &part(0, HEADER_BYTES)?).map_err(of)?;
        let mut trailer = part(trailer_at, TRAILER_BYTES)?;
        let trailer = sealer.unseal(trailer_at, &associated_data(b't', key), &mut trailer).map_err(of)?;
        let trailer = SegmentTrailer::decode(trailer, size).map_err(of)?;
        let mut sealed = part(trailer.directory, trailer.directory_bytes())?;
        let plain = sealer.unseal(trailer.directory, &associated_data(b'd', key), &mut sealed).map_err(of)?;
        let directory = SegmentDirectory::decode(plain, &trailer).map_err(of)?;
        let owner = names::parse_index_segment(key).ok_or_else(|| of(FormatError::Cut("the key")))?;
        let segment = Segment { number: 0, owner, key: key.to_string(), sealer, trailer, directory };
        let mut blocks = Vec::new();
        for block in 0..if whole.is_some() { segment.trailer.blocks() } else { 0 } {
            let Some((offset, length)) = segment.trailer.block(block) else { continue };
            // What is wrong with a damaged one is said when it is asked for.
            if let Ok(rows) = segment.rows_of(offset, part(offset, length)?) {
                blocks.push((block, rows));
            }
        }
        Ok((segment, blocks))
    }

    /// The rows of the block at this offset.
    fn rows_of(&self, offset: u64, mut sealed: Vec<u8>) -> Result<Vec<IndexRow>> {
        let of = |error: FormatError| error.of(&self.key);
        let plain = self.sealer.unseal(offset, &associated_data(b'b', &self.key), &mut sealed).map_err(of)?;
        decode_block(plain, self.trailer.packs).map_err(of)
    }

    /// Opens a segment that was listed with this size: a collection may have replaced it since, or have deleted it,
    /// which gives `None`.
    fn open_again(store: &dyn Store, keys: &Keys, key: &str, size: u64) -> Result<Option<(Self, Blocks)>> {
        let mut opened = Self::open(store, keys, key, size);
        for _ in 0..OPENINGS {
            match &opened {
                Err(error) if error.is_of_one_object() => {}
                _ => break,
            }
            let Some(size) = store.size(key)? else { return Ok(None) };
            opened = Self::open(store, keys, key, size);
        }
        opened.map(Some)
    }

    fn read_block(&self, store: &dyn Store, block: usize) -> Result<Vec<IndexRow>> {
        let of = |error: FormatError| error.of(&self.key);
        let (offset, length) = self.trailer.block(block).ok_or_else(|| of(FormatError::Cut("the blocks")))?;
        let sealed = store.get_range(&self.key, offset, length)?.ok_or_else(|| missing(&self.key))?;
        self.rows_of(offset, sealed.into())
    }
}

impl Index {
    /// Opens the segments of the sessions for which `committed` says yes; packs in `excluded` count as absent. A
    /// damaged segment is left out and reported by [`Index::damaged`]: the packs make up for it.
    pub fn open(
        store: &dyn Store,
        keys: &Keys,
        committed: impl Fn(&SnapshotId) -> bool,
        excluded: HashSet<PackId>,
    ) -> Result<Self> {
        let (mut segments, mut damaged, mut damaged_keys) = (Vec::new(), Vec::new(), Vec::new());
        let blocks = Cache::new(CACHE_BYTES);
        let mut all = store.list(names::INDEX)?;
        all.retain(|listed| names::parse_index_segment(&listed.key).is_some_and(|(session, _)| committed(&session)));
        let all: Vec<_> = all.into_iter().enumerate().collect();
        let opened = in_parallel(&all, store.is_far(), |(number, listed)| -> Result<Option<Segment>> {
            let opened = Segment::open_again(store, keys, &listed.key, listed.size)?;
            Ok(opened.map(|(segment, read)| {
                for (block, rows) in read {
                    blocks.put((*number, block), Arc::new(rows), BLOCK_COST);
                }
                Segment { number: *number, ..segment }
            }))
        });
        for ((_, listed), opened) in all.into_iter().zip(opened) {
            match opened {
                Ok(Some(segment)) => segments.push(segment),
                // A collection joined it into another, or nobody needs it any more.
                Ok(None) => {}
                Err(error) if error.is_of_one_object() => {
                    damaged.push(error);
                    damaged_keys.push(listed.key);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Index {
            segments,
            damaged,
            damaged_keys,
            excluded,
            blocks,
            failed: Mutex::default(),
            last_hit: AtomicUsize::new(0),
            recovered: Mutex::default(),
            recovering: Mutex::default(),
        })
    }

    /// Counts further packs as absent.
    pub fn exclude(&mut self, packs: impl IntoIterator<Item = PackId>) {
        self.excluded.extend(packs);
    }

    /// Whether there are packs that count as absent.
    pub fn excludes_any(&self) -> bool {
        !self.excluded.is_empty()
    }

    /// The segments that could not be read.
    pub fn damaged(&self) -> &[Error] {
        &self.damaged
    }

    /// The keys of the segments of which any part can't be read, each with what is wrong. Reads all blocks.
    pub fn unreadable(&self, store: &dyn Store) -> Result<Vec<(String, String)>> {
        let damaged = self.damaged_keys.iter().zip(&self.damaged);
        let mut found: Vec<(String, String)> = damaged.map(|(key, error)| (key.clone(), error.to_string())).collect();
        for (number, segment) in self.segments.iter().enumerate() {
            for block in 0..segment.trailer.blocks() {
                match self.block(store, number, block) {
                    Ok(_) => {}
                    Err(error) if error.is_of_one_object() => {
                        found.push((segment.key.clone(), error.to_string()));
                        break;
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(found)
    }

    /// The packs that these segments name, with their sizes and the rows that can be read.
    pub fn readable_rows(
        &self,
        store: &dyn Store,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<HashMap<PackId, (u64, Vec<DirectoryRow>)>> {
        let mut packs: HashMap<PackId, (u64, Vec<DirectoryRow>)> = HashMap::new();
        for (number, segment) in self.segments.iter().enumerate().filter(|(_, segment)| wanted(&segment.key)) {
            for block in 0..segment.trailer.blocks() {
                let rows = match self.block(store, number, block) {
                    Ok(rows) => rows,
                    Err(error) if error.is_of_one_object() => continue,
                    Err(error) => return Err(error),
                };
                for row in rows.iter() {
                    let (pack, size) = segment.pack(row)?;
                    let (_, rows) = packs.entry(pack).or_insert((size, Vec::new()));
                    let row = DirectoryRow { id: row.id, place: row.place };
                    if !rows.contains(&row) {
                        rows.push(row);
                    }
                }
            }
        }
        Ok(packs)
    }

    /// The sessions and numbers of the segments that could be read.
    pub fn segments(&self) -> Vec<(SnapshotId, u32)> {
        self.segments.iter().map(|segment| segment.owner).collect()
    }

    /// The packs that a segment names, with their sizes, and how many rows it has.
    pub fn contents_of(&self, session: &SnapshotId, number: u32) -> Option<(&[(PackId, u64)], u32)> {
        let found = self.segments.iter().find(|segment| segment.owner == (*session, number))?;
        Some((&found.directory.packs, found.trailer.rows))
    }

    /// The segments of snapshots whose rows were joined into a segment.
    pub fn joined_into(&self, session: &SnapshotId, number: u32) -> &[Joined] {
        let found = self.segments.iter().find(|segment| segment.owner == (*session, number));
        found.map_or(&[], |found| &found.directory.joined)
    }

    /// Whether the rows of a segment are here: its own, or those of one that it was joined into. Segments whose keys
    /// `but` says yes to don't count.
    pub fn has_segment(&self, session: &SnapshotId, number: u32, but: impl Fn(&str) -> bool) -> bool {
        let named = (*session, number);
        let has = |segment: &Segment| segment.owner == named || segment.directory.joined.binary_search(&named).is_ok();
        self.segments.iter().any(|segment| has(segment) && !but(&segment.key))
    }

    /// How many of so many segments of a session are here, each as it was written or joined into another.
    pub fn segments_of(&self, session: &SnapshotId, written: u32) -> u32 {
        let numbers = self.here().filter(|(id, number)| id == session && *number < written).map(|(_, number)| number);
        numbers.collect::<HashSet<u32>>().len() as u32
    }

    /// The segments whose rows are here.
    fn here(&self) -> impl Iterator<Item = Joined> + '_ {
        self.segments.iter().flat_map(|segment| segment.directory.joined.iter().chain([&segment.owner])).copied()
    }

    /// Whether a segment is missing that a snapshot's session wrote.
    pub fn lacks_segments_of<'a>(&self, snapshots: impl IntoIterator<Item = &'a Manifest>) -> bool {
        let here: HashSet<Joined> = self.here().collect();
        snapshots.into_iter().any(|one| (0..one.index_segments).any(|number| !here.contains(&(one.id, number))))
    }

    /// Calls `each` for every row of a segment, in the order of chunk ids.
    pub fn each_row(
        &self,
        store: &dyn Store,
        session: &SnapshotId,
        number: u32,
        each: &mut dyn FnMut(&ChunkId, &Location) -> Result<()>,
    ) -> Result<()> {
        let named = (*session, number);
        let mut segments = self.segments.iter().enumerate();
        let Some((at, segment)) = segments.find(|(_, segment)| segment.owner == named) else {
            return Ok(());
        };
        for block in 0..segment.trailer.blocks() {
            for row in self.block(store, at, block)?.iter() {
                each(&row.id, &Location { pack: segment.pack(row)?.0, place: row.place })?;
            }
        }
        Ok(())
    }

    /// All packs that the segments name, with their sizes.
    pub fn packs(&self) -> HashMap<PackId, u64> {
        let all = self.segments.iter().flat_map(|segment| segment.directory.packs.iter().copied());
        all.filter(|(id, _)| !self.excluded.contains(id)).collect()
    }

    fn block(&self, store: &dyn Store, segment: usize, block: usize) -> Result<Arc<Vec<IndexRow>>> {
        let found = self.segments.get(segment).ok_or_else(|| missing("an index segment"))?;
        if let Some(rows) = self.blocks.get(&(found.number, block), |_| BLOCK_COST) {
            return Ok(rows);
        }
        let read = found.read_block(store, block).inspect_err(|error| {
            if error.is_of_one_object() {
                lock(&self.failed).insert(found.number);
            }
        });
        let rows = Arc::new(read?);
        self.blocks.put((found.number, block), rows.clone(), BLOCK_COST);
        Ok(rows)
    }

    /// How many segments could not be read so far, wholly or in part.
    pub fn unread_segments(&self) -> usize {
        self.damaged.len() + lock(&self.failed).len()
    }

    /// All places where a chunk is, most of all none or one. Damaged blocks are passed over.
    pub fn lookup(&self, store: &dyn Store, id: &ChunkId) -> Result<Vec<Location>> {
        let mut found = self.search(store, id)?;
        found.retain(|at| !self.excluded.contains(&at.pack));
        let recovered = lock(&self.recovered);
        let further = recovered.copies.get(id).into_iter().flatten();
        for at in recovered.places.get(id).into_iter().chain(further) {
            if !found.contains(at) {
                found.push(*at);
            }
        }
        Ok(found)
    }

    /// The packs that count as absent, condemned or gone, and in which the segments say that a chunk is.
    pub fn absent_packs_of(&self, store: &dyn Store, id: &ChunkId) -> Result<Vec<PackId>> {
        let found = self.search(store, id)?;
        Ok(found.into_iter().map(|at| at.pack).filter(|pack| self.excluded.contains(pack)).collect())
    }

    /// All places that the segments know.
    fn search(&self, store: &dyn Store, id: &ChunkId) -> Result<Vec<Location>> {
        let mut found = Vec::new();
        for (number, segment) in self.segments.iter().enumerate() {
            self.search_segment(store, (number, segment), id, &mut found)?;
        }
        Ok(found)
    }

    /// The places that one segment knows.
    fn search_segment(
        &self,
        store: &dyn Store,
        (number, segment): (usize, &Segment),
        id: &ChunkId,
        found: &mut Vec<Location>,
    ) -> Result<()> {
        let head = id.0.split_first_chunk::<8>().map_or(0, |(head, _)| u64::from_be_bytes(*head));
        let fences = &segment.directory.fences;
        // Rows with equal first bytes may begin in the block before the first fence that equals them.
        let first = fences.partition_point(|&fence| fence < head).saturating_sub(1);
        let end = fences.partition_point(|&fence| fence <= head);
        for block in first..end {
            let rows = match self.block(store, number, block) {
                Ok(rows) => rows,
                Err(error) if error.is_of_one_object() => continue,
                Err(error) => return Err(error),
            };
            let start = rows.partition_point(|row| row.id < *id);
            for row in rows.iter().skip(start).take_while(|row| row.id == *id) {
                found.push(Location { pack: segment.pack(row)?.0, place: row.place });
            }
        }
        Ok(())
    }

    /// A place where a chunk is, from the first segment that knows one: those after the segment that was asked
    /// with success last come first. Chunks that are needed together were mostly written together, so this reads far
    /// fewer blocks than [`Index::lookup`].
    pub fn find_near(&self, store: &dyn Store, id: &ChunkId) -> Result<Option<Location>> {
        let last = self.last_hit.load(Ordering::Relaxed).min(self.segments.len());
        let mut found = Vec::new();
        let segments = || self.segments.iter().enumerate();
        for (number, segment) in segments().skip(last).chain(segments().take(last)) {
            self.search_segment(store, (number, segment), id, &mut found)?;
            if let Some(at) = found.drain(..).find(|at| !self.excluded.contains(&at.pack)) {
                self.last_hit.store(number, Ordering::Relaxed);
                return Ok(Some(at));
            }
        }
        Ok(None)
    }

    /// Puts the segments into the order in which [`Index::find_near`] asks them: by a rank of their sessions, the
    /// lowest first. For an index that was not asked yet.
    pub fn order_by(&mut self, rank: impl Fn(&SnapshotId) -> usize) {
        self.segments.sort_by_key(|segment| (rank(&segment.owner.0), segment.owner.1));
    }

    /// Whether a chunk is in any pack.
    pub fn contains(&self, store: &dyn Store, id: &ChunkId) -> Result<bool> {
        self.lookup(store, id).map(|found| !found.is_empty())
    }

    /// Reads the directories of all packs that no readable segment names, so that a lost index costs time and nothing
    /// else. A damaged pack is passed over.
    pub fn recover(&self, store: &dyn Store, keys: &Keys) -> Result<()> {
        let mut scanned = lock(&self.recovering);
        let known =
            if self.damaged.is_empty() && self.blocks_are_whole(store)? { self.packs() } else { HashMap::new() };
        loop {
            let mut vanished = false;
            for (id, size) in stored_packs(store)? {
                if known.contains_key(&id) || self.excluded.contains(&id) || scanned.contains(&id) {
                    continue;
                }
                match read_directory(store, keys, id, size) {
                    Ok((_, rows)) => self.add_recovered(id, size, rows),
                    // Moved by a collection since it was listed: into packs that the next listing shows.
                    Err(Error::Missing { .. }) => vanished = true,
                    Err(error) if error.is_of_one_object() => {}
                    Err(error) => return Err(error),
                }
                scanned.insert(id);
            }
            if !vanished {
                return Ok(());
            }
        }
    }

    /// Finds chunks in packs that no segment names but a session's journal. `false` if one of them is gone, damaged, or
    /// counts as absent.
    pub fn adopt(&self, store: &dyn Store, keys: &Keys, packs: &[PackId]) -> Result<bool> {
        let mut scanned = lock(&self.recovering);
        let known = self.packs();
        for id in packs {
            if self.excluded.contains(id) {
                return Ok(false);
            }
            if known.contains_key(id) || scanned.contains(id) {
                continue;
            }
            let Some(size) = store.size(&names::pack(id))? else { return Ok(false) };
            match read_directory(store, keys, *id, size) {
                Ok((_, rows)) => self.add_recovered(*id, size, rows),
                Err(error) if error.is_of_one_object() => return Ok(false),
                Err(error) => return Err(error),
            }
            scanned.insert(*id);
        }
        Ok(true)
    }

    /// Forgets what was found in packs that no segment names.
    pub fn disown(&self, packs: &[PackId]) {
        let mut recovered = lock(&self.recovered);
        let all = std::mem::take(&mut *recovered).packs;
        drop(recovered);
        for (id, size, rows) in all.into_iter().filter(|(id, _, _)| !packs.contains(id)) {
            self.add_recovered(id, size, rows);
        }
    }

    fn add_recovered(&self, id: PackId, size: u64, rows: Vec<DirectoryRow>) {
        let mut recovered = lock(&self.recovered);
        let Recovered { places, copies, packs } = &mut *recovered;
        for row in &rows {
            let at = Location { pack: id, place: row.place };
            if *places.entry(row.id).or_insert(at) != at {
                copies.entry(row.id).or_default().push(at);
            }
        }
        packs.push((id, size, rows));
    }

    /// The packs that [`Index::recover`] found so far. Whoever writes chunks by this index names them in segments of
    /// its own: what it did not write because one of them has it must be found by others too.
    pub fn recovered_packs(&self) -> Vec<(PackId, u64, Vec<DirectoryRow>)> {
        lock(&self.recovered).packs.clone()
    }

    fn blocks_are_whole(&self, store: &dyn Store) -> Result<bool> {
        Ok(self.check_blocks(store)?.is_empty())
    }

    /// Reads every block and gives back what is wrong with them.
    pub fn check_blocks(&self, store: &dyn Store) -> Result<Vec<Error>> {
        let mut wrong = Vec::new();
        for (number, segment) in self.segments.iter().enumerate() {
            for block in 0..segment.trailer.blocks() {
                match self.block(store, number, block) {
                    Ok(_) => {}
                    Err(error) if error.is_of_one_object() => wrong.push(error),
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(wrong)
    }
}
