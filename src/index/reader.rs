//! Reading the index.

use super::cache::Cache;
use crate::crypto::{Keys, Sealer};
use crate::error::{Error, Result};
use crate::format::header::{HEADER_BYTES, ObjectKind};
use crate::format::index::{BLOCK_ROWS, IndexRow, SegmentDirectory, SegmentTrailer, TRAILER_BYTES, decode_block};
use crate::format::pack::{DirectoryRow, Place};
use crate::format::{ChunkId, FormatError, PackId, SnapshotId, names};
use crate::pack::read_directory;
use crate::store::Store;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

/// Decrypted blocks are kept up to this many bytes: the whole index of about 90 GB of data.
const CACHE_BYTES: usize = 64 << 20;

/// Where a chunk stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Location {
    /// In which pack.
    pub pack: PackId,
    /// Where in it.
    pub place: Place,
}

struct Segment {
    key: String,
    sealer: Sealer,
    trailer: SegmentTrailer,
    directory: SegmentDirectory,
}

/// The believed segments of a repository, and what was read from packs that they lack.
pub struct Index {
    segments: Vec<Segment>,
    damaged: Vec<Error>,
    excluded: HashSet<PackId>,
    blocks: Cache<(usize, usize), Vec<IndexRow>>,
    /// Rows of packs that no segment names, once they were asked for.
    recovered: Mutex<HashMap<ChunkId, Location>>,
    scanned: Mutex<HashSet<PackId>>,
}

fn missing(key: &str) -> Error {
    Error::Missing { object: key.to_string(), advice: String::new() }
}

impl Segment {
    fn open(store: &dyn Store, keys: &Keys, key: &str, size: u64) -> Result<Self> {
        let of = |error: FormatError| error.of(key);
        let trailer_at = size.checked_sub((TRAILER_BYTES + HEADER_BYTES) as u64);
        let trailer_at = trailer_at.ok_or_else(|| of(FormatError::Cut("the segment")))? + HEADER_BYTES as u64;
        let header = store.get_range(key, 0, HEADER_BYTES)?.ok_or_else(|| missing(key))?;
        let sealer = Sealer::open(keys, ObjectKind::Index, &header).map_err(of)?;
        let mut trailer = store.get_range(key, trailer_at, TRAILER_BYTES)?.ok_or_else(|| missing(key))?;
        let trailer = sealer.unseal(trailer_at, b"t", &mut trailer).map_err(of)?;
        let trailer = SegmentTrailer::decode(trailer, size).map_err(of)?;
        let sealed = store.get_range(key, trailer.directory, trailer.directory_bytes())?;
        let mut sealed = sealed.ok_or_else(|| missing(key))?;
        let plain = sealer.unseal(trailer.directory, b"d", &mut sealed).map_err(of)?;
        let directory = SegmentDirectory::decode(plain, &trailer).map_err(of)?;
        Ok(Segment { key: key.to_string(), sealer, trailer, directory })
    }

    fn read_block(&self, store: &dyn Store, block: usize) -> Result<Vec<IndexRow>> {
        let of = |error: FormatError| error.of(&self.key);
        let (offset, length) = self.trailer.block(block).ok_or_else(|| of(FormatError::Cut("the blocks")))?;
        let mut sealed = store.get_range(&self.key, offset, length)?.ok_or_else(|| missing(&self.key))?;
        let plain = self.sealer.unseal(offset, b"b", &mut sealed).map_err(of)?;
        decode_block(plain, self.trailer.packs).map_err(of)
    }
}

impl Index {
    /// Opens the segments of the sessions for which `believed` says yes; packs in `excluded` count as absent. A damaged
    /// segment is left out and reported by [`Index::damaged`]: the packs make up for it.
    pub fn open(
        store: &dyn Store,
        keys: &Keys,
        believed: impl Fn(&SnapshotId) -> bool,
        excluded: HashSet<PackId>,
    ) -> Result<Self> {
        let (mut segments, mut damaged) = (Vec::new(), Vec::new());
        for listed in store.list(names::INDEX)? {
            let Some((session, _)) = names::parse_index_segment(&listed.key) else { continue };
            if !believed(&session) {
                continue;
            }
            match Segment::open(store, keys, &listed.key, listed.size) {
                Ok(segment) => segments.push(segment),
                Err(error) if error.is_damage() => damaged.push(error),
                Err(error) => return Err(error),
            }
        }
        Ok(Index {
            segments,
            damaged,
            excluded,
            blocks: Cache::new(CACHE_BYTES),
            recovered: Mutex::default(),
            scanned: Mutex::default(),
        })
    }

    /// The segments that could not be read.
    pub fn damaged(&self) -> &[Error] {
        &self.damaged
    }

    /// The number of segments of each session.
    pub fn segments_of(&self, session: &SnapshotId) -> usize {
        let of = |segment: &&Segment| names::parse_index_segment(&segment.key).is_some_and(|(id, _)| id == *session);
        self.segments.iter().filter(of).count()
    }

    /// Calls `each` for every row of a segment, in the order of chunk ids.
    pub fn each_row(
        &self,
        store: &dyn Store,
        session: &SnapshotId,
        number: u32,
        each: &mut dyn FnMut(&ChunkId, &Location) -> Result<()>,
    ) -> Result<()> {
        let named = Some((*session, number));
        let Some(at) = self.segments.iter().position(|segment| names::parse_index_segment(&segment.key) == named)
        else {
            return Ok(());
        };
        let Some(segment) = self.segments.get(at) else { return Ok(()) };
        for block in 0..segment.trailer.blocks() {
            for row in self.block(store, at, block)?.iter() {
                if let Some((pack, _)) = segment.directory.packs.get(row.pack as usize) {
                    each(&row.id, &Location { pack: *pack, place: row.place })?;
                }
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
        let cost = BLOCK_ROWS * std::mem::size_of::<IndexRow>();
        if let Some(rows) = self.blocks.get(&(segment, block), |_| cost) {
            return Ok(rows);
        }
        let found = self.segments.get(segment).ok_or_else(|| missing("an index segment"))?;
        let rows = Arc::new(found.read_block(store, block)?);
        self.blocks.put((segment, block), rows.clone(), cost);
        Ok(rows)
    }

    /// All places where a chunk stands, most of all none or one. Damaged blocks are passed over.
    pub fn lookup(&self, store: &dyn Store, id: &ChunkId) -> Result<Vec<Location>> {
        let mut found = Vec::new();
        let head = id.0.split_first_chunk::<8>().map_or(0, |(head, _)| u64::from_be_bytes(*head));
        for (number, segment) in self.segments.iter().enumerate() {
            let fences = &segment.directory.fences;
            // Rows with equal first bytes may begin in the block before the first fence that equals them.
            let first = fences.partition_point(|&fence| fence < head).saturating_sub(1);
            let end = fences.partition_point(|&fence| fence <= head);
            for block in first..end {
                let rows = match self.block(store, number, block) {
                    Ok(rows) => rows,
                    Err(error) if error.is_damage() => continue,
                    Err(error) => return Err(error),
                };
                let start = rows.partition_point(|row| row.id < *id);
                for row in rows.iter().skip(start).take_while(|row| row.id == *id) {
                    if let Some((pack, _)) = segment.directory.packs.get(row.pack as usize)
                        && !self.excluded.contains(pack)
                    {
                        found.push(Location { pack: *pack, place: row.place });
                    }
                }
            }
        }
        let recovered = self.recovered.lock().unwrap_or_else(PoisonError::into_inner);
        found.extend(recovered.get(id));
        Ok(found)
    }

    /// Whether a chunk stands in any pack.
    pub fn contains(&self, store: &dyn Store, id: &ChunkId) -> Result<bool> {
        self.lookup(store, id).map(|found| !found.is_empty())
    }

    /// Reads the directories of all packs that no readable segment names, so that a lost index costs time and nothing else. Gives
    /// back those packs. A damaged pack is passed over.
    pub fn recover(&self, store: &dyn Store, keys: &Keys) -> Result<Vec<(PackId, u64, Vec<DirectoryRow>)>> {
        let known =
            if self.damaged.is_empty() && self.blocks_are_whole(store)? { self.packs() } else { HashMap::new() };
        let mut added = Vec::new();
        for listed in store.list(names::PACKS)? {
            let Some(id) = PackId::from_hex(names::last(&listed.key)) else { continue };
            let mut scanned = self.scanned.lock().unwrap_or_else(PoisonError::into_inner);
            if known.contains_key(&id) || self.excluded.contains(&id) || !scanned.insert(id) {
                continue;
            }
            drop(scanned);
            match read_directory(store, keys, id, listed.size) {
                Ok((_, rows)) => {
                    let mut recovered = self.recovered.lock().unwrap_or_else(PoisonError::into_inner);
                    for row in &rows {
                        recovered.insert(row.id, Location { pack: id, place: row.place });
                    }
                    drop(recovered);
                    added.push((id, listed.size, rows));
                }
                Err(error) if error.is_damage() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(added)
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
                    Err(error) if error.is_damage() => wrong.push(error),
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(wrong)
    }
}
