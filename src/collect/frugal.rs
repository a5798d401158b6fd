//! Going on where the disk is full: with the room that a store keeps in reserve.

use crate::error::Result;
use crate::store::{Listed, Put, Store, holds};
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What to do about a disk that is full even without the reserve.
const FULL: &str = "The disk is full, and so is the room that was kept in reserve for this. Free some megabytes of it, \
                    of files that are not the repository's, or enlarge it, then run this again. Never delete objects \
                    of the repository by hand";

/// A store for what must go on if the disk is full: snapshots are forgotten, and space is reclaimed. Where a small
/// object finds no room, the store's reserve is given up for it. What is put as content never takes it.
pub(crate) struct Frugal {
    inner: Arc<dyn Store>,
    gave_up: AtomicBool,
}

impl Frugal {
    /// Writes to `inner`.
    pub fn new(inner: Arc<dyn Store>) -> Self {
        Frugal { inner, gave_up: AtomicBool::new(false) }
    }

    /// Whether the disk was found full.
    pub fn is_low(&self) -> bool {
        self.gave_up.load(Ordering::Acquire)
    }

    fn write<T>(&self, write: impl Fn() -> Result<T>) -> Result<T> {
        match write() {
            Err(error) if error.is_full() => {
                self.gave_up.store(true, Ordering::Release);
                // Another process may have given it up a moment ago, and its room may still be there.
                self.inner.use_reserve()?;
                write().map_err(|error| error.with_advice_if_full(FULL))
            }
            done => done,
        }
    }
}

impl Store for Frugal {
    fn location(&self) -> &str {
        self.inner.location()
    }
    fn put_new(&self, key: &str, bytes: &[u8]) -> Result<Put> {
        let was_low = self.is_low();
        let put = self.write(|| self.inner.put_new(key, bytes))?;
        // The first try may have taken the name, and failed only then.
        let tried_again = !was_low && self.is_low();
        if put == Put::Exists && tried_again && holds(&*self.inner, key, bytes).unwrap_or(false) {
            return Ok(Put::Created);
        }
        Ok(put)
    }
    fn put_content(&self, key: &str, bytes: &Bytes) -> Result<Put> {
        self.inner.put_content(key, bytes)
    }
    fn put(&self, key: &str, bytes: &[u8]) -> Result<()> {
        self.write(|| self.inner.put(key, bytes))
    }
    fn get(&self, key: &str, limit: u64) -> Result<Option<Bytes>> {
        self.inner.get(key, limit)
    }
    fn get_range(&self, key: &str, offset: u64, length: usize) -> Result<Option<Bytes>> {
        self.inner.get_range(key, offset, length)
    }
    fn size(&self, key: &str) -> Result<Option<u64>> {
        self.inner.size(key)
    }
    fn list(&self, prefix: &str) -> Result<Vec<Listed>> {
        self.inner.list(prefix)
    }
    fn is_far(&self) -> bool {
        self.inner.is_far()
    }
    fn creations_are_proven(&self) -> bool {
        self.inner.creations_are_proven()
    }
    fn top_names(&self) -> Result<Vec<String>> {
        self.inner.top_names()
    }
    fn delete(&self, key: &str) -> Result<()> {
        self.inner.delete(key)
    }
    fn sync(&self) -> Result<()> {
        self.inner.sync()
    }
    fn free_bytes(&self) -> Result<Option<u64>> {
        self.inner.free_bytes()
    }
    fn keep_reserve(&self) -> Result<()> {
        self.inner.keep_reserve()
    }
    fn use_reserve(&self) -> Result<bool> {
        self.inner.use_reserve()
    }
}
