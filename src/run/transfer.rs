//! Taking chunks from one repository into another, where they have other names unless both share their content keys.

use crate::chunks::{ChunkReader, ChunkWriter};
use crate::control::Control;
use crate::error::Result;
use crate::format::ChunkId;
use crate::format::header::Class;
use crate::index::cache::Cache;
use std::sync::Arc;

/// Names of chunks in both repositories that are kept at hand, at most some 150 MiB; a chunk that fell out is read
/// again.
const NAMES_AT_HAND: usize = 1 << 20;

/// Takes chunks out of one repository into the session of a writer in another. All methods may be called from several
/// threads.
pub struct Transfer<'a> {
    source: &'a ChunkReader,
    target: &'a ChunkWriter,
    /// Whether both repositories name the same contents alike.
    alike: bool,
    /// Whether compressed bytes are sealed again as they are.
    as_packed: bool,
    names: Cache<ChunkId, ChunkId>,
    control: &'a Control,
}

impl<'a> Transfer<'a> {
    /// From `source` to `target`. With `as_packed`, compressed bytes go over as they are: for a target that would
    /// compress them the same way.
    pub fn new(source: &'a ChunkReader, target: &'a ChunkWriter, as_packed: bool, control: &'a Control) -> Self {
        Transfer {
            alike: source.keys().shares_contents_with(target.keys()),
            source,
            target,
            as_packed,
            names: Cache::new(NAMES_AT_HAND),
            control,
        }
    }

    /// Reads the source.
    pub fn source(&self) -> &'a ChunkReader {
        self.source
    }

    /// Takes what the source has.
    pub fn target(&self) -> &'a ChunkWriter {
        self.target
    }

    /// Whether both repositories name the same contents alike, so that trees go over as they are.
    pub fn is_alike(&self) -> bool {
        self.alike
    }

    /// Progress and stop flag.
    pub fn control(&self) -> &'a Control {
        self.control
    }

    /// Sees to it that the target has a chunk of the source, and gives back its name there. The content's name is
    /// checked after it was read; nothing is read if the target has a chunk of that name. With `trusted`, a chunk of
    /// entries that the target has is not read there either.
    pub fn take(&self, class: Class, id: &ChunkId, trusted: bool) -> Result<ChunkId> {
        if let Some(name) = self.names.get(id, |_| 1) {
            return Ok(*name);
        }
        let is_there = match (self.alike, trusted) {
            (false, _) => false,
            (true, false) => self.target.has_whole(class, id)?,
            (true, true) => self.target.has(id)?,
        };
        if is_there {
            return Ok(*id);
        }
        self.control.check()?;
        let chunk = self.source.read_packed(id, class)?;
        self.control.add_bytes_in(chunk.plain.len() as u64);
        let name = match self.as_packed {
            true => self.target.put_packed(class, &chunk)?,
            false => self.target.put(class, &chunk.plain)?,
        };
        self.names.put(*id, Arc::new(name), 1);
        Ok(name)
    }
}
