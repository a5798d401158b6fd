//! Reads an embedded store: `embedded:DIRECTORY`.

use super::{DigestRow, PartitionedSource, RecordSource, SourceShape};
use crate::embedded::{EmbeddedStore, Reader, StoreOptions};
use crate::error::Result;
use crate::record::{Digest, NamespaceMetadata, PartitionId, RecordBatch, Timestamp};
use std::path::Path;

/// An embedded store as a source.
///
/// By default each call reads a consistent view of its own, and so sees all that was committed before it, as on a live
/// cluster; records written between two calls are found by the next incremental. [`EmbeddedSource::frozen`] reads one
/// view for all calls: a backup of that instant, however long it takes.
pub struct EmbeddedSource {
    store: EmbeddedStore,
    name: String,
    frozen: Option<(Timestamp, Reader)>,
}

impl EmbeddedSource {
    /// Opens the store in `directory`.
    ///
    /// # Errors
    ///
    /// If there is no store, or another process has it open.
    pub fn open(directory: impl AsRef<Path>) -> Result<Self> {
        Ok(Self::new(EmbeddedStore::open_with(directory, &StoreOptions::default())?))
    }

    /// Reads a store that is open; each call sees what is committed by then.
    pub fn new(store: EmbeddedStore) -> Self {
        let name = format!("embedded:{}", store.directory());
        Self { store, name, frozen: None }
    }

    /// Reads a store that is open, as it is now. What is written later stays unseen; space that it frees is not used
    /// again while this source lives.
    ///
    /// # Errors
    ///
    /// If the store can't be read.
    pub fn frozen(store: EmbeddedStore) -> Result<Self> {
        // The clock first: what a view made after it doesn't show is written at or after it.
        let clock = store.settled_time();
        let reader = store.reader()?;
        Ok(Self { frozen: Some((clock, reader)), ..Self::new(store) })
    }

    /// The store that it reads.
    pub fn store(&self) -> &EmbeddedStore {
        &self.store
    }

    fn with_reader<T>(&self, read: impl FnOnce(&Reader) -> Result<T>) -> Result<T> {
        match &self.frozen {
            Some((_, reader)) => read(reader),
            None => read(&self.store.reader()?),
        }
    }
}

impl RecordSource for EmbeddedSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn cluster(&self) -> Option<String> {
        Some(self.store.cluster().to_owned())
    }

    fn namespaces(&self) -> Result<Vec<String>> {
        self.with_reader(Reader::namespaces)
    }

    /// The store's clock, but no later than the beginning of a transaction that is still open: its writes bear that
    /// time, and no scan sees them yet.
    fn clock(&self) -> Result<Timestamp> {
        Ok(self.frozen.as_ref().map_or_else(|| self.store.settled_time(), |(clock, _)| *clock))
    }

    fn metadata(&self, namespace: &str) -> Result<NamespaceMetadata> {
        self.with_reader(|reader| reader.metadata(namespace))
    }

    fn shape(&self) -> SourceShape<'_> {
        SourceShape::Partitioned(self)
    }
}

impl PartitionedSource for EmbeddedSource {
    fn scan(
        &self,
        namespace: &str,
        partition: PartitionId,
        since: Option<Timestamp>,
        each: &mut dyn FnMut(RecordBatch) -> Result<()>,
    ) -> Result<()> {
        self.with_reader(|reader| reader.scan(namespace, partition, since, each))
    }

    fn walk(
        &self,
        namespace: &str,
        partition: PartitionId,
        before: Option<Timestamp>,
        each: &mut dyn FnMut(&[DigestRow]) -> Result<()>,
    ) -> Result<()> {
        let mut rows = Vec::new();
        self.with_reader(|reader| {
            reader.walk(namespace, partition, &mut |heads| {
                rows.clear();
                let meant = heads.iter().filter(|head| before.is_none_or(|before| head.last_update < before));
                rows.extend(meant.map(|head| DigestRow {
                    digest: head.digest,
                    generation: head.generation,
                    void_time: head.void_time,
                }));
                each(&rows)
            })
        })
    }

    fn read(&self, namespace: &str, digests: &[Digest], each: &mut dyn FnMut(RecordBatch) -> Result<()>) -> Result<()> {
        self.with_reader(|reader| reader.read(namespace, digests, each))
    }

    /// None: one clock stamps all writes, [`RecordSource::clock`] allows for open transactions, and a write never bears
    /// an earlier time than the one before it, even if the machine's clock was set back.
    fn clock_margin_millis(&self) -> u64 {
        0
    }
}
