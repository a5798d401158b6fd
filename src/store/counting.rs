//! A store that counts what passes through it.

use super::{Call, Listed, Put, RetryPolicy, Store};
use crate::error::Result;
use bytes::Bytes;
use std::ops::Sub;
use std::sync::atomic::{AtomicU64, Ordering};

const KINDS: usize = Call::ALL.len();

/// How many calls of each kind a [`CountingStore`] took, and the bytes they moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CallCounts {
    calls: [u64; KINDS],
    bytes: [u64; KINDS],
}

#[expect(clippy::indexing_slicing, reason = "there is a counter for each kind of call")]
impl CallCounts {
    /// Calls of one kind, those that failed included.
    pub fn calls(&self, call: Call) -> u64 {
        self.calls[call as usize]
    }

    /// Bytes that calls of one kind moved: for reads what came back, for writes what was handed over (whether or not
    /// the key was free), for the rest 0. Object names and sizes count nothing.
    pub fn bytes(&self, call: Call) -> u64 {
        self.bytes[call as usize]
    }

    /// Calls of all kinds.
    pub fn total_calls(&self) -> u64 {
        self.calls.iter().sum()
    }

    /// Calls that read an object's content: `get` and `get_range`.
    pub fn read_calls(&self) -> u64 {
        self.calls(Call::Get) + self.calls(Call::GetRange)
    }

    /// Bytes read by `get` and `get_range`.
    pub fn bytes_read(&self) -> u64 {
        self.bytes(Call::Get) + self.bytes(Call::GetRange)
    }

    /// Bytes handed to `put` and `put_new`.
    pub fn bytes_written(&self) -> u64 {
        self.bytes(Call::Put) + self.bytes(Call::PutNew)
    }
}

impl Sub for CallCounts {
    type Output = CallCounts;

    /// What came after `earlier`, counts of the same store.
    #[expect(clippy::indexing_slicing, reason = "both are of one length")]
    fn sub(self, earlier: CallCounts) -> CallCounts {
        let less = |now: [u64; KINDS], then: [u64; KINDS]| std::array::from_fn(|i| now[i].saturating_sub(then[i]));
        CallCounts { calls: less(self.calls, earlier.calls), bytes: less(self.bytes, earlier.bytes) }
    }
}

/// A store that hands every call on and counts it.
#[derive(Debug, Default)]
pub struct CountingStore<S> {
    inner: S,
    calls: [AtomicU64; KINDS],
    bytes: [AtomicU64; KINDS],
}

impl<S: Store> CountingStore<S> {
    /// Counts what goes to `inner`, from 0.
    pub fn new(inner: S) -> Self {
        Self { inner, calls: Default::default(), bytes: Default::default() }
    }

    /// The store below.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// The counts so far. Subtract earlier ones to learn what a piece of work cost.
    pub fn counts(&self) -> CallCounts {
        let read = |counters: &[AtomicU64; KINDS]| counters.each_ref().map(|counter| counter.load(Ordering::Relaxed));
        CallCounts { calls: read(&self.calls), bytes: read(&self.bytes) }
    }

    #[expect(clippy::indexing_slicing, reason = "there is a counter for each kind of call")]
    fn count(&self, call: Call, bytes: usize) {
        self.calls[call as usize].fetch_add(1, Ordering::Relaxed);
        self.bytes[call as usize].fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn count_read(&self, call: Call, result: Result<Option<Bytes>>) -> Result<Option<Bytes>> {
        let bytes = result.as_ref().ok().and_then(Option::as_ref).map_or(0, Bytes::len);
        self.count(call, bytes);
        result
    }
}

impl<S: Store> Store for CountingStore<S> {
    fn location(&self) -> &str {
        self.inner.location()
    }

    fn put_new(&self, key: &str, bytes: &[u8]) -> Result<Put> {
        self.count(Call::PutNew, bytes.len());
        self.inner.put_new(key, bytes)
    }

    fn put_content(&self, key: &str, bytes: &Bytes) -> Result<Put> {
        self.count(Call::PutNew, bytes.len());
        self.inner.put_content(key, bytes)
    }

    fn put(&self, key: &str, bytes: &[u8]) -> Result<()> {
        self.count(Call::Put, bytes.len());
        self.inner.put(key, bytes)
    }

    fn get(&self, key: &str, limit: u64) -> Result<Option<Bytes>> {
        self.count_read(Call::Get, self.inner.get(key, limit))
    }

    fn get_range(&self, key: &str, offset: u64, length: usize) -> Result<Option<Bytes>> {
        self.count_read(Call::GetRange, self.inner.get_range(key, offset, length))
    }

    fn size(&self, key: &str) -> Result<Option<u64>> {
        self.count(Call::Size, 0);
        self.inner.size(key)
    }

    fn is_far(&self) -> bool {
        self.inner.is_far()
    }

    fn creations_are_proven(&self) -> bool {
        self.inner.creations_are_proven()
    }

    fn list(&self, prefix: &str) -> Result<Vec<Listed>> {
        self.count(Call::List, 0);
        self.inner.list(prefix)
    }

    fn retry_policy(&self) -> RetryPolicy {
        self.inner.retry_policy()
    }

    fn top_names(&self) -> Result<Vec<String>> {
        self.count(Call::List, 0);
        self.inner.top_names()
    }

    fn delete(&self, key: &str) -> Result<()> {
        self.count(Call::Delete, 0);
        self.inner.delete(key)
    }

    fn sync(&self) -> Result<()> {
        self.count(Call::Sync, 0);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::MemoryStore;

    crate::store_conformance_tests!(|test| test(&CountingStore::new(MemoryStore::new())));

    #[test]
    fn each_call_is_counted_once_under_its_own_kind() {
        let store = CountingStore::new(MemoryStore::new());
        for (n, call) in Call::ALL.into_iter().enumerate() {
            let before = store.counts();
            match call {
                Call::PutNew => drop(store.put_new("a", b"12345").unwrap()),
                Call::Put => store.put("a", b"123").unwrap(),
                Call::Get => drop(store.get("a", 9).unwrap()),
                Call::GetRange => drop(store.get_range("a", 2, 100).unwrap()),
                Call::Size => drop(store.size("a").unwrap()),
                Call::List => drop(store.list("").unwrap()),
                Call::Delete => store.delete("a").unwrap(),
                Call::Sync => store.sync().unwrap(),
            }
            let cost = store.counts() - before;
            assert_eq!((cost.total_calls(), cost.calls(call)), (1, 1), "{call}");
            assert_eq!(cost.bytes(call), [5, 3, 3, 1, 0, 0, 0, 0][n], "{call}");
        }
        assert_eq!((store.counts().bytes_written(), store.counts().bytes_read()), (8, 4));
        store.top_names().unwrap();
        assert_eq!(store.counts().calls(Call::List), 2, "it is a listing");
        assert_eq!(store.counts().read_calls(), 2);
    }
}
