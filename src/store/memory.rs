//! A store in memory, for tests, examples and programs that need no more.

use super::key::{check_key, check_prefix, too_large};
use super::{Listed, Put, Store};
use crate::error::Result;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

type Objects = BTreeMap<String, Bytes>;

/// A store in memory. It is gone when it is dropped; put it in an [`Arc`](std::sync::Arc) to share it.
#[derive(Debug, Default)]
pub struct MemoryStore {
    objects: RwLock<Objects>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// A store of its own that holds the same objects now; later changes to one don't show in the other. The bytes are
    /// shared, so this is cheap.
    pub fn fork(&self) -> Self {
        Self { objects: RwLock::new(self.read().clone()) }
    }

    // A panic between taking and releasing the lock can't leave the map half changed, so poison means nothing here.
    fn read(&self) -> RwLockReadGuard<'_, Objects> {
        self.objects.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Objects> {
        self.objects.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn object(&self, key: &str) -> Result<Option<Bytes>> {
        check_key(key)?;
        Ok(self.read().get(key).cloned())
    }
}

impl Store for MemoryStore {
    fn location(&self) -> &str {
        "memory"
    }

    fn put_new(&self, key: &str, bytes: &[u8]) -> Result<Put> {
        check_key(key)?;
        let mut objects = self.write();
        if objects.contains_key(key) {
            return Ok(Put::Exists);
        }
        objects.insert(key.to_owned(), Bytes::copy_from_slice(bytes));
        Ok(Put::Created)
    }

    fn put_content(&self, key: &str, bytes: &Bytes) -> Result<Put> {
        check_key(key)?;
        let mut objects = self.write();
        if objects.contains_key(key) {
            return Ok(Put::Exists);
        }
        objects.insert(key.to_owned(), bytes.clone());
        Ok(Put::Created)
    }

    fn put(&self, key: &str, bytes: &[u8]) -> Result<()> {
        check_key(key)?;
        self.write().insert(key.to_owned(), Bytes::copy_from_slice(bytes));
        Ok(())
    }

    fn get(&self, key: &str, limit: u64) -> Result<Option<Bytes>> {
        let Some(object) = self.object(key)? else { return Ok(None) };
        let size = object.len() as u64;
        if size > limit {
            return Err(too_large(key, size, limit));
        }
        Ok(Some(object))
    }

    fn get_range(&self, key: &str, offset: u64, length: usize) -> Result<Option<Bytes>> {
        let Some(object) = self.object(key)? else { return Ok(None) };
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(object.len());
        let end = start.saturating_add(length).min(object.len());
        Ok(Some(object.slice(start..end)))
    }

    fn size(&self, key: &str) -> Result<Option<u64>> {
        Ok(self.object(key)?.map(|object| object.len() as u64))
    }

    fn list(&self, prefix: &str) -> Result<Vec<Listed>> {
        check_prefix(prefix)?;
        let objects = self.read();
        let from = objects.range::<str, _>((Bound::Included(prefix), Bound::Unbounded));
        let within = from.take_while(|(key, _)| key.starts_with(prefix));
        Ok(within.map(|(key, bytes)| Listed { key: key.clone(), size: bytes.len() as u64 }).collect())
    }

    fn delete(&self, key: &str) -> Result<()> {
        check_key(key)?;
        self.write().remove(key);
        Ok(())
    }

    fn sync(&self) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    crate::store_conformance_tests!(|test| test(&MemoryStore::new()));

    #[test]
    fn a_fork_goes_its_own_way() {
        let store = MemoryStore::new();
        store.put("a", b"1").unwrap();
        let fork = store.fork();
        store.put("a", b"2").unwrap();
        fork.put("b", b"3").unwrap();
        assert_eq!(fork.get("a", 9).unwrap().as_deref(), Some(&b"1"[..]));
        assert_eq!(store.size("b").unwrap(), None);
    }
}
