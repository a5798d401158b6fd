//! Records that don't fit in memory, in an unnamed temporary file: block by block, each sealed under a key that lives
//! only in memory, so nobody finds plaintext on the disk.

use super::block::Block;
use crate::crypto::{Keys, Sealer, random};
use crate::error::{Error, Result};
use crate::format::header::{Class, ObjectKind, Suite};
use std::fs::File;
use std::os::unix::fs::FileExt;

/// A temporary file of blocks.
pub(super) struct Spill {
    file: File,
    sealer: Sealer,
    end: u64,
}

/// Where a block is in the file.
#[derive(Clone, Copy, Debug)]
pub(super) struct SpillPlace {
    at: u64,
    /// With its tag.
    length: usize,
}

fn full(error: std::io::Error) -> Error {
    Error::io("write records that don't fit in memory to the temporary directory (see TMPDIR)", error)
}

impl Spill {
    /// An empty file.
    pub(super) fn create() -> Result<Self> {
        let file = tempfile::tempfile().map_err(full)?;
        let keys = Keys::derive(&random()?);
        let sealer = Sealer::create(&keys, ObjectKind::Pack, Class::Data, Suite::Aes256Gcm)?;
        Ok(Spill { file, sealer, end: 0 })
    }

    /// Writes a block.
    pub(super) fn write(&mut self, block: Block) -> Result<SpillPlace> {
        let Block(mut part) = block;
        self.sealer.seal(self.end, b"s", &mut part, 0).map_err(|error| error.of("records that don't fit in memory"))?;
        self.file.write_all_at(&part, self.end).map_err(full)?;
        let place = SpillPlace { at: self.end, length: part.len() };
        self.end += part.len() as u64;
        Ok(place)
    }

    /// Reads a block.
    pub(super) fn read(&self, place: SpillPlace) -> Result<Block> {
        let mut part = vec![0; place.length];
        let lost = |error| Error::io("read back records that did not fit in memory", error);
        self.file.read_exact_at(&mut part, place.at).map_err(lost)?;
        let plain = self.sealer.unseal(place.at, b"s", &mut part);
        let length = plain.map_err(|error| error.of("the temporary file of records that did not fit in memory"))?.len();
        part.truncate(length);
        Ok(Block(part))
    }
}
