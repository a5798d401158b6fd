//! Reading chunks and directories out of stored packs.

use crate::chunk::decompress;
use crate::crypto::{Keys, Sealer};
use crate::error::{Error, Result};
use crate::format::header::{Class, HEADER_BYTES, ObjectKind, TAG_BYTES};
use crate::format::pack::{
    ChunkPlace, DirectoryRow, MAX_PACK_BYTES, Packing, TRAILER_BYTES, Trailer, decode_directory,
};
use crate::format::{ChunkId, FormatError, PackId, names};
use crate::store::Store;
use std::sync::Arc;

/// A chunk out of a pack: its plaintext, and how it was stored inside its seal.
#[derive(Clone, Debug)]
pub struct PackedChunk {
    /// The plaintext, whose name was checked.
    pub plain: Arc<Vec<u8>>,
    /// How `packed` is compressed.
    pub packing: Packing,
    /// The plaintext as it is compressed.
    pub packed: Vec<u8>,
}

/// An opened pack: its header was read and its subkey derived.
#[derive(Debug)]
pub struct PackReader {
    id: PackId,
    sealer: Sealer,
}

fn missing(id: &PackId) -> Error {
    Error::Missing {
        object: names::pack(id),
        advice: "Snapshots that don't need it still restore; `aerolith check` names those that do".into(),
    }
}

impl PackReader {
    /// Reads the header of a pack.
    pub fn open(store: &dyn Store, keys: &Keys, id: PackId) -> Result<Self> {
        let name = names::pack(&id);
        let header = store.get_range(&name, 0, HEADER_BYTES)?.ok_or_else(|| missing(&id))?;
        let sealer = Sealer::open(keys, ObjectKind::Pack, &header).map_err(|error| error.of(&name))?;
        Ok(PackReader { id, sealer })
    }

    /// The class of its chunks.
    pub fn class(&self) -> Class {
        self.sealer.header().class
    }

    /// Reads one chunk; its name is checked after decryption.
    pub fn read(&self, store: &dyn Store, keys: &Keys, chunk: &ChunkId, place: &ChunkPlace) -> Result<Vec<u8>> {
        self.fetch(store, keys, chunk, place).map(|(plain, _)| plain)
    }

    /// The same, with the compressed bytes.
    pub fn read_packed(
        &self,
        store: &dyn Store,
        keys: &Keys,
        chunk: &ChunkId,
        place: &ChunkPlace,
    ) -> Result<PackedChunk> {
        let (plain, mut packed) = self.fetch(store, keys, chunk, place)?;
        packed.truncate(packed.len().saturating_sub(TAG_BYTES));
        Ok(PackedChunk { plain: Arc::new(plain), packing: place.packing, packed })
    }

    /// A chunk's plaintext, and the stored bytes, opened in place: the compressed plaintext and the tag.
    fn fetch(&self, store: &dyn Store, keys: &Keys, chunk: &ChunkId, place: &ChunkPlace) -> Result<(Vec<u8>, Vec<u8>)> {
        let name = names::pack(&self.id);
        let stored = store.get_range(&name, u64::from(place.offset), place.stored as usize)?;
        let mut stored = Vec::from(stored.ok_or_else(|| missing(&self.id))?);
        let of = |error: FormatError| error.of(format!("chunk {chunk} at byte {} of {name}", place.offset));
        if stored.len() != place.stored as usize {
            return Err(of(FormatError::field("its stored length", place.stored, stored.len())));
        }
        let plain = self.open_chunk(keys, chunk, place, &mut stored).map_err(of)?;
        Ok((plain, stored))
    }

    /// Opens a chunk whose stored bytes are at hand; they are decrypted in place.
    pub fn open_chunk(
        &self,
        keys: &Keys,
        chunk: &ChunkId,
        place: &ChunkPlace,
        stored: &mut [u8],
    ) -> Result<Vec<u8>, FormatError> {
        let packed = self.sealer.unseal(u64::from(place.offset), &place.associated_data(), stored)?;
        let plain = decompress(place.packing, packed, place.plain)?;
        let found = keys.chunk_id(self.class(), &plain)?;
        if found != *chunk {
            return Err(FormatError::field("the chunk id of its content", chunk, found));
        }
        Ok(plain)
    }
}

/// The packs that a store has now, each with its size in bytes, in the order of its listing. Keys that no pack has are
/// passed over.
pub fn stored_packs(store: &dyn Store) -> Result<Vec<(PackId, u64)>> {
    let listed = store.list(names::PACKS)?;
    Ok(listed.iter().filter_map(|object| Some((names::parse_pack(&object.key)?, object.size))).collect())
}

/// Reads a pack's directory from the end of the object, without the index.
pub fn read_directory(
    store: &dyn Store,
    keys: &Keys,
    id: PackId,
    size: u64,
) -> Result<(PackReader, Vec<DirectoryRow>)> {
    let name = names::pack(&id);
    let of = |error: FormatError| error.of(&name);
    let trailer_at = size.checked_sub(TRAILER_BYTES as u64).filter(|_| size <= MAX_PACK_BYTES);
    let trailer_at = trailer_at.ok_or_else(|| of(FormatError::field("its size", "that of a pack", size)))?;
    let reader = PackReader::open(store, keys, id)?;
    let mut trailer = Vec::from(store.get_range(&name, trailer_at, TRAILER_BYTES)?.ok_or_else(|| missing(&id))?);
    let trailer = reader.sealer.unseal(trailer_at, b"t", &mut trailer).map_err(of)?;
    let trailer = Trailer::decode(trailer, size).map_err(of)?;
    let sealed = store.get_range(&name, trailer.directory, trailer.directory_bytes())?;
    let mut sealed = Vec::from(sealed.ok_or_else(|| missing(&id))?);
    let plain = reader.sealer.unseal(trailer.directory, b"d", &mut sealed).map_err(of)?;
    let rows = decode_directory(plain, trailer.directory).map_err(of)?;
    Ok((reader, rows))
}
