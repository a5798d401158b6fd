//! Reading chunks by name: through the index, out of the packs, with a bounded cache.

use super::reader::PackReader;
use crate::crypto::Keys;
use crate::error::{Error, Result};
use crate::format::header::Class;
use crate::format::{ChunkId, PackId};
use crate::index::cache::Cache;
use crate::index::{Index, Location};
use crate::store::Store;
use std::sync::{Arc, OnceLock};

/// Opened packs are kept up to this many: each is a subkey of about a kilobyte.
const PACKS: usize = 4096;

/// Reads chunks of a repository. Shared by all readers of one opened repository.
pub struct ChunkReader {
    store: Arc<dyn Store>,
    keys: Arc<Keys>,
    index: Arc<Index>,
    packs: Cache<PackId, PackReader>,
    chunks: Cache<ChunkId, Vec<u8>>,
    recovered: OnceLock<()>,
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
            recovered: OnceLock::new(),
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
        let pack = self.pack(at.pack)?;
        if pack.class() != class {
            let found = format!("it stands in a pack of class {:?}, expected {class:?}", pack.class());
            return Err(Error::damaged(format!("chunk {id}"), found));
        }
        pack.read(&*self.store, &self.keys, id, &at.place)
    }

    /// Where a chunk stands; packs that no segment names are looked through before it is given up.
    pub fn locate(&self, id: &ChunkId) -> Result<Vec<Location>> {
        let found = self.index.lookup(&*self.store, id)?;
        if !found.is_empty() || self.recovered.get().is_some() {
            return Ok(found);
        }
        self.index.recover(&*self.store, &self.keys)?;
        let _ = self.recovered.set(());
        self.index.lookup(&*self.store, id)
    }

    /// Reads a chunk: from memory, else from the first of its places that is whole.
    pub fn read(&self, id: &ChunkId, class: Class) -> Result<Arc<Vec<u8>>> {
        if let Some(plain) = self.chunks.get(id, |plain| plain.len()) {
            return Ok(plain);
        }
        let mut failed = None;
        for at in self.locate(id)? {
            match self.read_at(id, class, &at) {
                Ok(plain) => {
                    let plain = Arc::new(plain);
                    self.chunks.put(*id, plain.clone(), plain.len());
                    return Ok(plain);
                }
                Err(error) if error.is_damage() => failed = Some(error),
                Err(error) => return Err(error),
            }
        }
        Err(failed.unwrap_or_else(|| Error::Missing {
            object: format!("chunk {id}"),
            advice: "No pack holds it; `aerolith check` names the snapshots that need it, and a full backup writes it \
                     anew if the source still has the records"
                .into(),
        }))
    }
}
