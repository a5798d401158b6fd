//! Records that don't fit in memory, in an unnamed temporary file: each partition a sealed part under a key that lives only in
//! memory, so nobody finds plaintext on the disk.

use super::rows::Block;
use crate::crypto::{Keys, Sealer, random};
use crate::error::{Error, Result};
use crate::format::header::{Class, ObjectKind, Suite};
use crate::record::PartitionId;
use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;

/// What was spilled at one time.
pub(super) struct Spill {
    file: File,
    sealer: Sealer,
    /// Where each partition's part begins and how long it is, with its tag.
    parts: BTreeMap<u16, (u64, usize)>,
    end: u64,
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
        Ok(Spill { file, sealer, parts: BTreeMap::new(), end: 0 })
    }

    /// Writes the records of a partition, which must have none yet.
    pub(super) fn write(&mut self, partition: PartitionId, block: Block) -> Result<()> {
        let Block(mut part) = block;
        self.sealer.seal(self.end, b"s", &mut part, 0).map_err(|error| error.of("records that don't fit in memory"))?;
        self.file.write_all_at(&part, self.end).map_err(full)?;
        self.parts.insert(partition.number(), (self.end, part.len()));
        self.end += part.len() as u64;
        Ok(())
    }

    /// Reads the records of a partition, if it has any.
    pub(super) fn read(&self, partition: PartitionId) -> Result<Option<Block>> {
        let Some(&(at, length)) = self.parts.get(&partition.number()) else { return Ok(None) };
        let mut part = vec![0; length];
        let lost = |error| Error::io("read back records that did not fit in memory", error);
        self.file.read_exact_at(&mut part, at).map_err(lost)?;
        let plain = self.sealer.unseal(at, b"s", &mut part);
        let length = plain.map_err(|error| error.of("the temporary file of records that did not fit in memory"))?.len();
        part.truncate(length);
        Ok(Some(Block(part)))
    }
}
