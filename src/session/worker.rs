//! What writes chunks for a session.
//!
//! A session may have several workers; its packs are what all of them stored. A worker knows nothing of what its chunks
//! mean: records, streams and file trees are written by the operations above it.

use crate::chunks::{ChunkReader, ChunkWriter};
use crate::control::Control;
use crate::error::{Error, Result};
use crate::format::snapshot::NamespaceManifest;
use crate::index::IndexedPack;
use crate::repository::Root;
use std::collections::HashSet;
use std::sync::Arc;

/// Reads what the repository held when the session began, and writes chunks that it does not hold.
pub(crate) struct Worker {
    existing: Arc<ChunkReader>,
    /// While a plan is pending: a reader that finds chunks in condemned packs too, as long as they exist.
    with_condemned: Option<Arc<ChunkReader>>,
    writer: ChunkWriter,
    control: Control,
}

impl Worker {
    /// A worker that stores with `writer`.
    pub(super) fn new(
        existing: Arc<ChunkReader>,
        with_condemned: Option<Arc<ChunkReader>>,
        writer: ChunkWriter,
        control: Control,
    ) -> Self {
        Worker { existing, with_condemned, writer, control }
    }

    /// Finds what may be referred to without writing it: chunks in packs that no plan condemns.
    pub(crate) fn existing(&self) -> &Arc<ChunkReader> {
        &self.existing
    }

    /// Finds all that can be read, in condemned packs too. What it finds there alone must be written before it is
    /// referred to.
    pub(crate) fn reader(&self) -> &Arc<ChunkReader> {
        self.with_condemned.as_ref().unwrap_or(&self.existing)
    }

    /// Takes the chunks.
    pub(crate) fn writer(&self) -> &ChunkWriter {
        &self.writer
    }

    /// Writes what the runs of a namespace refer to and condemned packs alone hold. The snapshot may be forgotten
    /// before the collection looks for what is live, and then nobody else moves these chunks. Does nothing while no
    /// plan is pending.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`] if something of a run can't be read, and those of the store.
    pub(crate) fn rescue_condemned(&self, namespace: &NamespaceManifest) -> Result<()> {
        match &self.with_condemned {
            Some(reader) => write_absent(reader, &self.writer, namespace, &self.control),
            None => Ok(()),
        }
    }

    /// Closes and stores all packs, and names what they hold.
    pub(super) fn finish(self) -> Result<Vec<IndexedPack>> {
        self.writer.finish()
    }
}

/// Writes those chunks that the runs of a namespace refer to and that `writer` can't refer to without writing them.
pub(crate) fn write_absent(
    reader: &ChunkReader,
    writer: &ChunkWriter,
    namespace: &NamespaceManifest,
    control: &Control,
) -> Result<()> {
    let mut seen = HashSet::new();
    for root in namespace.roots() {
        match root {
            // Every session writes its own, and so doesn't refer to one in condemned packs.
            Root::Metadata { .. } => continue,
            Root::Run { .. } => {}
        }
        let (mut reached, mut lost) = (Vec::new(), None);
        root.reach(reader, &mut seen, &mut |id, class| reached.push((id, class)), &mut |loss| {
            lost = lost.take().or(Some(loss));
        })?;
        if let Some(loss) = lost {
            return Err(Error::damaged("a run of the parent", loss.to_string()));
        }
        for (id, class) in reached {
            if !writer.has(&id)? {
                control.check()?;
                writer.put(class, &reader.read(&id, class)?)?;
            }
        }
    }
    Ok(())
}
