//! The reader of a snapshot's chunks, which reads the index only once something is asked of it.

use crate::chunks::ChunkReader;
use crate::error::Result;
use crate::sync::lock;
use std::sync::{Arc, Mutex, OnceLock};

/// What opens a reader.
type Open = dyn Fn() -> Result<Arc<ChunkReader>> + Send + Sync;

/// A reader of chunks that is opened by the first who reads. The snapshots of a listing share one.
pub(crate) struct LazyReader {
    reader: OnceLock<Arc<ChunkReader>>,
    open: Box<Open>,
    /// Held while the index is read, so that it is read once.
    opening: Mutex<()>,
}

impl LazyReader {
    /// One that `open` will open.
    pub fn new(open: impl Fn() -> Result<Arc<ChunkReader>> + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(LazyReader { reader: OnceLock::new(), open: Box::new(open), opening: Mutex::default() })
    }

    /// One that is open already.
    pub fn opened(reader: Arc<ChunkReader>) -> Arc<Self> {
        let lazy = LazyReader::new({
            let reader = reader.clone();
            move || Ok(reader.clone())
        });
        lazy.reader.get_or_init(|| reader);
        lazy
    }

    /// The open reader. If the index can't be read, the next call tries again.
    pub fn get(&self) -> Result<&Arc<ChunkReader>> {
        if let Some(reader) = self.reader.get() {
            return Ok(reader);
        }
        let _opening = lock(&self.opening);
        if let Some(reader) = self.reader.get() {
            return Ok(reader);
        }
        let opened = (self.open)()?;
        Ok(self.reader.get_or_init(|| opened))
    }
}
