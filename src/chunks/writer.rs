//! Writing chunks: named, deduplicated, compressed and sealed by whoever calls, stored by threads of their own.

use super::reader::ChunkReader;
use crate::chunk::compress;
use crate::control::Control;
use crate::crypto::Keys;
use crate::error::{Error, Result};
use crate::format::config::Compression;
use crate::format::header::{Class, Suite};
use crate::format::{ChunkId, PackId};
use crate::index::IndexedPack;
use crate::pack::PackedChunk;
use crate::pack::{FinishedPack, PackWriter};
use crate::sync::lock;
use std::cell::RefCell;
use std::collections::{BTreeSet, HashSet};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// Packs on their way to the store at once; each is a thread that mostly waits for the disk.
const UPLOADS: usize = 3;
/// The same for a store that is far away.
const FAR_UPLOADS: usize = 6;
/// Open packs of each class: chunks of one stream are spread over them by a bit of their names.
const SPREAD: usize = 2;

thread_local! {
    static PACKED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// How chunks are written.
#[derive(Clone, Copy, Debug)]
pub struct WriteOptions {
    /// The suite that seals packs.
    pub suite: Suite,
    /// How chunks are compressed.
    pub compression: Compression,
    /// A pack is closed once it has this many bytes.
    pub pack_bytes: usize,
}

#[derive(Default)]
struct Stored {
    packs: Vec<IndexedPack>,
    /// The numbers of packs that were sent and are not stored yet.
    under_way: BTreeSet<u64>,
    /// The number of the next pack.
    next: u64,
    failed: Option<Error>,
    /// Whether a chunk that counts as written was not stored: then nothing may be committed that this writer wrote.
    broken: bool,
}

impl Stored {
    fn fail(&mut self, error: Error) {
        self.broken = true;
        self.failed = self.failed.take().or(Some(error));
    }
}

/// Writes the chunks of one session. All methods may be called from several threads.
pub struct ChunkWriter {
    keys: Arc<Keys>,
    reader: Arc<ChunkReader>,
    distrusted: HashSet<ChunkId>,
    options: WriteOptions,
    written: [Mutex<HashSet<ChunkId>>; 16],
    open: [Mutex<Option<PackWriter>>; 2 * SPREAD],
    queue: Option<crossbeam_channel::Sender<(u64, FinishedPack)>>,
    uploads: Vec<JoinHandle<()>>,
    stored: Arc<Mutex<Stored>>,
    /// The memory of packs that were stored.
    buffers: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl ChunkWriter {
    /// A writer that doesn't store again what `reader` finds in its index, but for chunks in `distrusted`, which are
    /// known to be damaged, and those that `reader` finds damaged meanwhile.
    pub fn new(
        reader: Arc<ChunkReader>,
        distrusted: HashSet<ChunkId>,
        options: WriteOptions,
        control: Control,
    ) -> Self {
        let (queue, packs) = crossbeam_channel::bounded::<(u64, FinishedPack)>(1);
        let stored = Arc::new(Mutex::new(Stored::default()));
        let buffers = Arc::new(Mutex::new(Vec::new()));
        let pack_bytes = options.pack_bytes;
        let (keys, store) = (reader.keys().clone(), reader.store().clone());
        let uploads = if store.is_far() { FAR_UPLOADS } else { UPLOADS };
        let uploads = (0..uploads)
            .map(|_| {
                let (packs, store, stored) = (packs.clone(), store.clone(), stored.clone());
                let (control, buffers) = (control.clone(), buffers.clone());
                std::thread::spawn(move || {
                    for (number, pack) in packs {
                        let put = store.put_content(&pack.key(), &pack.bytes);
                        let mut stored = lock(&stored);
                        match put {
                            Ok(_) => {
                                let size = pack.bytes.len() as u64;
                                let mut buffers = lock(&buffers);
                                if buffers.len() < SPREAD && size >= pack_bytes as u64 && pack.bytes.is_unique() {
                                    buffers.push(pack.bytes.into());
                                }
                                control.add_bytes_out(size);
                                stored.packs.push((pack.id, size, pack.rows));
                                stored.under_way.remove(&number);
                            }
                            Err(error) => stored.fail(error),
                        }
                    }
                })
            })
            .collect();
        ChunkWriter {
            keys,
            reader,
            distrusted,
            options,
            written: Default::default(),
            open: Default::default(),
            queue: Some(queue),
            uploads,
            stored,
            buffers,
        }
    }

    /// The repository's keys.
    pub fn keys(&self) -> &Arc<Keys> {
        &self.keys
    }

    /// Reads what the repository held when the session began.
    pub fn reader(&self) -> &Arc<ChunkReader> {
        &self.reader
    }

    /// Whether a chunk can be had without writing it: it is in a pack that exists and is not known to be damaged,
    /// or this session wrote it.
    pub fn has(&self, id: &ChunkId) -> Result<bool> {
        if lock(self.shard(id)).contains(id) {
            return Ok(true);
        }
        if self.distrusted.contains(id) || self.reader.is_damaged(id) {
            return Ok(false);
        }
        self.reader.index().contains(&**self.reader.store(), id)
    }

    /// The same for a chunk of this class, where one of entries is read before it is counted on.
    pub fn has_whole(&self, class: Class, id: &ChunkId) -> Result<bool> {
        Ok(lock(self.shard(id)).contains(id) || self.can_be_had(class, id)?)
    }

    /// Whether a chunk need not be written. Chunks of entries are few where they are found again, and a damaged one
    /// hides many records: such a one is read before it is built on.
    fn can_be_had(&self, class: Class, id: &ChunkId) -> Result<bool> {
        if self.distrusted.contains(id) || !self.reader.index().contains(&**self.reader.store(), id)? {
            return Ok(false);
        }
        if class != Class::Tree {
            return Ok(!self.reader.is_damaged(id));
        }
        match self.reader.read(id, class) {
            Ok(_) => Ok(true),
            Err(error) if error.is_of_one_object() => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn shard(&self, id: &ChunkId) -> &Mutex<HashSet<ChunkId>> {
        let [first, ..] = &self.written;
        self.written.get(usize::from(id.0[1] & 15)).unwrap_or(first)
    }

    /// Names a chunk and stores it if the repository lacks it.
    pub fn put(&self, class: Class, plain: &[u8]) -> Result<ChunkId> {
        let id = self.keys.chunk_id(class, plain)?;
        if !self.claim(class, &id)? {
            return Ok(id);
        }
        let added = PACKED.with_borrow_mut(|packed| {
            packed.clear();
            let packing = compress(self.options.compression, plain, packed);
            self.add(class, id, |pack| pack.add(id, packing, plain.len() as u32, packed).map(|_| ()))
        });
        self.unless_broken(added).map(|()| id)
    }

    /// The same for a chunk that is compressed already: `chunk` was read out of a pack, and its bytes are sealed as
    /// they are.
    pub fn put_packed(&self, class: Class, chunk: &PackedChunk) -> Result<ChunkId> {
        let id = self.keys.chunk_id(class, &chunk.plain)?;
        if self.claim(class, &id)? {
            let (packing, plain) = (chunk.packing, chunk.plain.len() as u32);
            let added = self.add(class, id, |pack| pack.add(id, packing, plain, &chunk.packed).map(|_| ()));
            self.unless_broken(added)?;
        }
        Ok(id)
    }

    /// Whether a chunk is to be written, by this caller and nobody else.
    fn claim(&self, class: Class, id: &ChunkId) -> Result<bool> {
        if self.has_whole(class, id)? {
            return Ok(false);
        }
        Ok(lock(self.shard(id)).insert(*id))
    }

    /// A chunk that counts as written and is not leaves nothing to commit.
    fn unless_broken(&self, added: Result<()>) -> Result<()> {
        if added.is_err() {
            lock(&self.stored).broken = true;
        }
        added
    }

    /// How many chunks this session wrote.
    pub fn written_chunks(&self) -> u64 {
        self.written.iter().map(|shard| lock(shard).len() as u64).sum()
    }

    fn add(&self, class: Class, id: ChunkId, add: impl FnOnce(&mut PackWriter) -> Result<()>) -> Result<()> {
        let group = if class == Class::Tree { 0 } else { SPREAD };
        let slot = self.open.get(group + usize::from(id.0[0]) % SPREAD);
        let slot = slot.ok_or_else(|| Error::internal("a chunk belongs into no open pack"))?;
        let mut open = lock(slot);
        let mut pack = match open.take() {
            Some(pack) => pack,
            None => PackWriter::create(&self.keys, class, self.options.suite, self.buffer(class))?,
        };
        add(&mut pack)?;
        if pack.size() < self.options.pack_bytes {
            *open = Some(pack);
            return Ok(());
        }
        drop(open);
        self.send(pack)
    }

    /// Memory for a pack: that of one that was stored, if there is any, as memory that was never touched is slow.
    fn buffer(&self, class: Class) -> Vec<u8> {
        // Packs of the tree class are few, and mostly small.
        if class == Class::Tree {
            return Vec::new();
        }
        let stored = lock(&self.buffers).pop();
        stored.unwrap_or_else(|| Vec::with_capacity(self.options.pack_bytes + (512 << 10)))
    }

    fn send(&self, pack: PackWriter) -> Result<()> {
        self.check()?;
        let finished = pack.finish()?;
        let number = {
            let mut stored = lock(&self.stored);
            let number = stored.next;
            stored.next += 1;
            stored.under_way.insert(number);
            number
        };
        let sent = self.queue.as_ref().is_some_and(|queue| queue.send((number, finished)).is_ok());
        if sent { Ok(()) } else { Err(Error::internal("the threads that store packs are gone")) }
    }

    /// Returns the error of an upload that failed; asked again, it says no more than that there was one.
    fn check(&self) -> Result<()> {
        let mut stored = lock(&self.stored);
        let broken =
            || Error::invalid("a pack could not be stored, so nothing of this session can be committed. Begin again");
        if stored.broken { Err(stored.failed.take().unwrap_or_else(broken)) } else { Ok(()) }
    }

    /// Closes the open packs and sends them on their way. Gives back a number for [`ChunkWriter::has_stored`].
    pub fn close_packs(&self) -> Result<u64> {
        for slot in &self.open {
            let pack = lock(slot).take();
            if let Some(pack) = pack {
                self.send(pack)?;
            }
        }
        Ok(lock(&self.stored).next)
    }

    /// Whether all packs are stored that were sent before `number` was given back.
    pub fn has_stored(&self, number: u64) -> bool {
        lock(&self.stored).under_way.first().is_none_or(|first| *first >= number)
    }

    /// Waits until [`ChunkWriter::has_stored`] says so; returns the error of a pack that can't be.
    pub fn wait_for(&self, number: u64) -> Result<()> {
        while !self.has_stored(number) {
            self.check()?;
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// The packs that were stored so far.
    pub fn stored_packs(&self) -> Vec<PackId> {
        lock(&self.stored).packs.iter().map(|(id, _, _)| *id).collect()
    }

    /// Stores the packs that are still open, waits for all, and gives back what was stored.
    pub fn finish(mut self) -> Result<Vec<IndexedPack>> {
        self.close_packs()?;
        self.wait();
        self.check()?;
        let mut stored = lock(&self.stored);
        Ok(std::mem::take(&mut stored.packs))
    }

    fn wait(&mut self) {
        self.queue = None;
        for upload in self.uploads.drain(..) {
            if upload.join().is_err() {
                let mut stored = lock(&self.stored);
                stored.fail(Error::internal("a thread that stores packs died"));
            }
        }
    }
}

impl Drop for ChunkWriter {
    fn drop(&mut self) {
        self.wait();
    }
}
