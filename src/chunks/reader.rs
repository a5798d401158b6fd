//! Reading chunks by name: through the index, out of the packs, with a bounded cache.

use crate::crypto::Keys;
use crate::error::{Error, Result};
use crate::format::header::Class;
use crate::format::pack::ChunkPlace;
use crate::format::{ChunkId, PackId, names};
use crate::index::cache::Cache;
use crate::index::{Index, Location};
use crate::pack::{PackReader, PackedChunk};
use crate::store::Store;
use crate::sync::lock;
use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// Opened packs are kept up to this many: each is a subkey of about a kilobyte.
const PACKS: usize = 4096;

/// Chunks are read together if no more than so many bytes lie between them: 16 KiB, and 512 KiB in a store that is far
/// away …
const MAX_GAP: u64 = 16 << 10;
const MAX_FAR_GAP: u64 = 512 << 10;
/// … and they take no more than this from first to last: 8 MiB.
const MAX_TOGETHER: u64 = 8 << 20;

/// What is stored of a chunk, as it was read from a pack.
pub struct Fetched {
    pack: Arc<PackReader>,
    id: ChunkId,
    place: ChunkPlace,
    stored: Vec<u8>,
}

/// Reads chunks of a repository. Shared by all readers of one opened repository.
pub struct ChunkReader {
    store: Arc<dyn Store>,
    keys: Arc<Keys>,
    index: Arc<Index>,
    packs: Cache<PackId, PackReader>,
    chunks: Cache<ChunkId, Vec<u8>>,
    /// The packs were looked through when this number less one of the index's segments could not be read; 0 before.
    recovered: AtomicUsize,
    /// Packs that were found to be gone, each before the packs were looked through.
    gone: Mutex<HashSet<PackId>>,
    fetched: AtomicU64,
    damaged: Mutex<HashSet<ChunkId>>,
}

impl ChunkReader {
    /// A reader that keeps up to `cache_bytes` of plaintext.
    pub fn new(store: Arc<dyn Store>, keys: Arc<Keys>, index: Arc<Index>, cache_bytes: usize) -> Self {
        ChunkReader {
            store,
            keys,
            index,
            packs: Cache::new(PACKS),
            chunks: Cache::new(cache_bytes),
            recovered: AtomicUsize::new(0),
            gone: Mutex::default(),
            fetched: AtomicU64::new(0),
            damaged: Mutex::default(),
        }
    }

    /// The store it reads from.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// The repository's keys.
    pub fn keys(&self) -> &Arc<Keys> {
        &self.keys
    }

    /// The index it looks chunks up in.
    pub fn index(&self) -> &Arc<Index> {
        &self.index
    }

    fn pack(&self, id: PackId) -> Result<Arc<PackReader>> {
        if let Some(pack) = self.packs.get(&id, |_| 1) {
            return Ok(pack);
        }
        let pack = Arc::new(PackReader::open(&*self.store, &self.keys, id)?);
        self.packs.put(id, pack.clone(), 1);
        Ok(pack)
    }

    /// Reads a chunk from one place, past the cache.
    pub fn read_at(&self, id: &ChunkId, class: Class, at: &Location) -> Result<Vec<u8>> {
        self.pack_of(id, class, at)?.read(&*self.store, &self.keys, id, &at.place)
    }

    /// Bytes that were read out of packs for chunks so far, as they are stored.
    pub fn fetched_bytes(&self) -> u64 {
        self.fetched.load(Ordering::Relaxed)
    }

    /// The opened pack of a chunk of this class, which is about to be read.
    fn pack_of(&self, id: &ChunkId, class: Class, at: &Location) -> Result<Arc<PackReader>> {
        self.fetched.fetch_add(u64::from(at.place.stored), Ordering::Relaxed);
        let pack = self.pack(at.pack)?;
        if pack.class() != class {
            let found = format!("its class is {:?}, expected {class:?} of the pack of chunk {id}", pack.class());
            return Err(Error::damaged(names::pack(&at.pack), found));
        }
        Ok(pack)
    }

    /// Reads a chunk from one place, past the cache, and says its class, which is that of the pack.
    pub fn read_here(&self, id: &ChunkId, at: &Location) -> Result<(Class, Vec<u8>)> {
        let pack = self.pack(at.pack)?;
        Ok((pack.class(), pack.read(&*self.store, &self.keys, id, &at.place)?))
    }

    /// Where a chunk is; packs that no segment names are looked through before it is given up.
    pub fn locate(&self, id: &ChunkId) -> Result<Vec<Location>> {
        let found = self.index.lookup(&*self.store, id)?;
        if found.is_empty() { self.locate_further(id) } else { Ok(found) }
    }

    /// Where a chunk is, with what is in packs that no segment names.
    pub fn locate_further(&self, id: &ChunkId) -> Result<Vec<Location>> {
        if !self.has_looked_through() {
            self.look_through()?;
        }
        self.index.lookup(&*self.store, id)
    }

    /// Whether the packs were looked through since the index was last found to lack something.
    fn has_looked_through(&self) -> bool {
        self.recovered.load(Ordering::Acquire) > self.index.unread_segments()
    }

    /// Looks through the packs that no readable segment names.
    fn look_through(&self) -> Result<()> {
        let unread = self.index.unread_segments();
        self.index.recover(&*self.store, &self.keys)?;
        self.recovered.store(unread + 1, Ordering::Release);
        Ok(())
    }

    /// Where a chunk is, once none of the places in `tried` could be read: a collection may have moved it since the
    /// packs were looked through. They are looked through once for each pack that is found to be gone, and so not for
    /// damaged ones.
    pub fn locate_again(&self, id: &ChunkId, tried: &[Location]) -> Result<Vec<Location>> {
        let mut gone = lock(&self.gone);
        let mut vanished = Vec::new();
        for at in tried {
            if !gone.contains(&at.pack) && self.store.size(&names::pack(&at.pack))?.is_none() {
                vanished.push(at.pack);
            }
        }
        if !vanished.is_empty() || !self.has_looked_through() {
            self.look_through()?;
            // Whoever asks for one of these later finds what was found now.
            gone.extend(vanished);
        }
        drop(gone);
        self.index.lookup(&*self.store, id)
    }

    /// Whether a copy of a chunk is whole, whatever its class; found by reading it.
    pub fn is_whole(&self, id: &ChunkId) -> Result<bool> {
        for at in self.index.lookup(&*self.store, id)? {
            let read = self.pack(at.pack).and_then(|pack| pack.read(&*self.store, &self.keys, id, &at.place));
            match read {
                Ok(_) => return Ok(true),
                Err(error) if error.is_of_one_object() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }

    /// Whether this reader was asked for a chunk and found no whole copy.
    pub fn is_damaged(&self, id: &ChunkId) -> bool {
        lock(&self.damaged).contains(id)
    }

    /// The chunks that this reader was asked for and found no whole copy of.
    pub fn damaged(&self) -> HashSet<ChunkId> {
        lock(&self.damaged).clone()
    }

    /// Reads a chunk: from memory, else from the first of its places that is whole.
    pub fn read(&self, id: &ChunkId, class: Class) -> Result<Arc<Vec<u8>>> {
        if let Some(plain) = self.chunks.get(id, |plain| plain.len()) {
            return Ok(plain);
        }
        let plain = self.first_whole(id, |at| self.read_at(id, class, at))?;
        let plain = Arc::new(plain);
        self.chunks.put(*id, plain.clone(), plain.len());
        Ok(plain)
    }

    /// Reads what is stored of several chunks, those that stand close together in a pack at once. `None` for those that
    /// are not where the index has them, or can't be read: [`ChunkReader::read`] tells why, or finds them elsewhere.
    pub fn fetch_together(&self, ids: &[ChunkId], class: Class) -> Vec<Option<Fetched>> {
        let place = |id| self.index.find_near(&*self.store, id).ok().flatten();
        let mut places: Vec<(usize, ChunkId, Location)> =
            ids.iter().enumerate().filter_map(|(number, id)| Some((number, *id, place(id)?))).collect();
        places.sort_unstable_by_key(|(_, _, at)| (at.pack, at.place.offset));
        let mut fetched: Vec<Option<Fetched>> = ids.iter().map(|_| None).collect();
        let end = |at: &Location| u64::from(at.place.offset) + u64::from(at.place.stored);
        let gap = if self.store.is_far() { MAX_FAR_GAP } else { MAX_GAP };
        let is_near = |a: &(usize, ChunkId, Location), b: &(usize, ChunkId, Location)| {
            a.2.pack == b.2.pack && u64::from(b.2.place.offset) <= end(&a.2) + gap
        };
        for near in places.chunk_by(is_near) {
            let (Some((.., first)), Some((.., last))) = (near.first(), near.last()) else { continue };
            let begin = u64::from(first.place.offset);
            let length = end(last).saturating_sub(begin);
            let Ok(pack) = self.pack(first.pack) else { continue };
            if pack.class() != class || length > MAX_TOGETHER {
                continue;
            }
            let Ok(Some(bytes)) = self.store.get_range(&names::pack(&first.pack), begin, length as usize) else {
                continue;
            };
            for (number, id, at) in near {
                let from = (u64::from(at.place.offset) - begin) as usize;
                let stored = bytes.get(from..from + at.place.stored as usize);
                if let (Some(stored), Some(slot)) = (stored, fetched.get_mut(*number)) {
                    self.fetched.fetch_add(u64::from(at.place.stored), Ordering::Relaxed);
                    *slot = Some(Fetched { pack: pack.clone(), id: *id, place: at.place, stored: stored.to_vec() });
                }
            }
        }
        fetched
    }

    /// Reads into memory those of some chunks that are not there, with few requests. What can't be read so is left out:
    /// [`ChunkReader::read`] tells why.
    pub fn prefetch(&self, ids: &[ChunkId], class: Class) {
        let absent: Vec<ChunkId> =
            ids.iter().filter(|id| self.chunks.get(id, |plain| plain.len()).is_none()).copied().collect();
        for (id, fetched) in absent.iter().zip(self.fetch_together(&absent, class)) {
            if let Some(plain) = fetched.and_then(|fetched| self.open_fetched(fetched)) {
                let cost = plain.len();
                self.chunks.put(*id, Arc::new(plain), cost);
            }
        }
    }

    /// The plaintext of a chunk whose stored bytes are there; `None` if they are damaged.
    pub fn open_fetched(&self, mut fetched: Fetched) -> Option<Vec<u8>> {
        fetched.pack.open_chunk(&self.keys, &fetched.id, &fetched.place, &mut fetched.stored).ok()
    }

    /// Reads a chunk from the first of its places that is whole, with the compressed bytes that stand there; memory has
    /// the plaintext from then on.
    pub fn read_packed(&self, id: &ChunkId, class: Class) -> Result<PackedChunk> {
        let chunk = self
            .first_whole(id, |at| self.pack_of(id, class, at)?.read_packed(&*self.store, &self.keys, id, &at.place))?;
        self.chunks.put(*id, chunk.plain.clone(), chunk.plain.len());
        Ok(chunk)
    }

    /// What `read` gives for the first of a chunk's places where the chunk is whole.
    fn first_whole<T>(&self, id: &ChunkId, read: impl Fn(&Location) -> Result<T>) -> Result<T> {
        if let Some(at) = self.index.find_near(&*self.store, id)? {
            match read(&at) {
                Err(error) if error.is_of_one_object() => {}
                read => return read,
            }
        }
        let mut failed = None;
        let mut tried: Vec<Location> = Vec::new();
        let mut found = self.locate(id)?;
        while found.iter().any(|at| !tried.contains(at)) || tried.is_empty() {
            for at in found {
                if tried.contains(&at) {
                    continue;
                }
                match read(&at) {
                    Ok(chunk) => return Ok(chunk),
                    Err(error) if error.is_of_one_object() => failed = failed.or(Some(error)),
                    Err(error) => return Err(error),
                }
                tried.push(at);
            }
            if tried.is_empty() {
                break;
            }
            // Another copy may stand in a pack that no segment names, such as one that a crashed backup left.
            found = self.locate_again(id, &tried)?;
        }
        lock(&self.damaged).insert(*id);
        if let Some(error) = failed {
            return Err(error);
        }
        let packs = self.index.absent_packs_of(&*self.store, id)?;
        let packs: Vec<String> = packs.iter().map(names::pack).collect();
        let object = match packs.is_empty() {
            true => format!("chunk {id}, which no pack holds,"),
            false => format!("chunk {id}, which was in {},", packs.join(", ")),
        };
        let advice = "`aerolith check` names the snapshots that need it, and a full backup writes it again if the \
                      source still has the records";
        Err(Error::Missing { object, advice: advice.into() })
    }
}
