//! Building one pack in memory.

use crate::crypto::{Keys, Sealer};
use crate::error::Result;
use crate::format::header::{Class, HEADER_BYTES, ObjectKind, Suite, TAG_BYTES};
use crate::format::names;
use crate::format::pack::{
    ChunkPlace, DirectoryRow, MAX_CHUNK_BYTES, Packing, ROW_BYTES, TRAILER_BYTES, Trailer, encode_directory,
};
use crate::format::padding::padme;
use crate::format::{ChunkId, PackId};
use bytes::Bytes;

/// A pack that is being filled.
pub struct PackWriter {
    sealer: Sealer,
    bytes: Vec<u8>,
    rows: Vec<DirectoryRow>,
}

/// A whole pack, ready to be stored.
pub struct FinishedPack {
    /// Its name: BLAKE3 of its bytes.
    pub id: PackId,
    /// Its bytes.
    pub bytes: Bytes,
    /// What is in it.
    pub rows: Vec<DirectoryRow>,
}

impl FinishedPack {
    /// The key it is stored under.
    pub fn key(&self) -> String {
        names::pack(&self.id)
    }
}

impl PackWriter {
    /// An empty pack of a class, in the memory of `buffer`, whose bytes are forgotten.
    pub fn create(keys: &Keys, class: Class, suite: Suite, buffer: Vec<u8>) -> Result<Self> {
        Ok(Self::in_buffer(Sealer::create(keys, ObjectKind::Pack, class, suite)?, buffer))
    }

    /// An empty pack with a sealer made for it alone. For test vectors.
    #[cfg(feature = "internals")]
    pub fn with_sealer(sealer: Sealer) -> Self {
        Self::in_buffer(sealer, Vec::new())
    }

    fn in_buffer(sealer: Sealer, mut bytes: Vec<u8>) -> Self {
        bytes.clear();
        bytes.extend_from_slice(&sealer.header().encode());
        PackWriter { sealer, bytes, rows: Vec::new() }
    }

    /// How long the pack is so far, in bytes, with its directory.
    pub fn size(&self) -> usize {
        self.bytes.len() + self.rows.len() * ROW_BYTES + TAG_BYTES + TRAILER_BYTES
    }

    /// Seals a chunk into the pack: `packed` is its plaintext of `plain` bytes, compressed as `packing` says.
    pub fn add(&mut self, id: ChunkId, packing: Packing, plain: u32, packed: &[u8]) -> Result<ChunkPlace> {
        if plain > MAX_CHUNK_BYTES {
            let found = format!("{plain} bytes, more than a chunk may have ({MAX_CHUNK_BYTES})");
            return Err(crate::error::Error::invalid(format!("cannot store chunk {id}: {found}")));
        }
        let offset = self.bytes.len();
        let stored = (packed.len() + TAG_BYTES) as u32;
        let place = ChunkPlace { offset: offset as u32, stored, plain, packing };
        self.bytes.extend_from_slice(packed);
        let sealed = self.sealer.seal(offset as u64, &place.associated_data(), &mut self.bytes, offset);
        sealed.map_err(|error| error.of(format!("chunk {id}")))?;
        self.rows.push(DirectoryRow { id, place });
        Ok(place)
    }

    /// Pads the pack and closes it with directory and trailer.
    pub fn finish(mut self) -> Result<FinishedPack> {
        let name = |error: crate::format::FormatError| error.of("a new pack");
        let length = self.size() as u64;
        let padding = padme(length) - length;
        let filler = self.sealer.padding(padding as usize);
        self.bytes.extend_from_slice(&filler);
        debug_assert!(self.bytes.len() >= HEADER_BYTES);
        let directory = self.bytes.len();
        self.bytes.extend_from_slice(&encode_directory(&self.rows));
        self.sealer.seal(directory as u64, b"d", &mut self.bytes, directory).map_err(name)?;
        let trailer = self.bytes.len();
        let place = Trailer { directory: directory as u64, chunks: self.rows.len() as u32 };
        self.bytes.extend_from_slice(&place.encode());
        self.sealer.seal(trailer as u64, b"t", &mut self.bytes, trailer).map_err(name)?;
        let id = PackId(*blake3::hash(&self.bytes).as_bytes());
        Ok(FinishedPack { id, bytes: self.bytes.into(), rows: self.rows })
    }
}
