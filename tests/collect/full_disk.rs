//! A disk that is full: snapshots can be forgotten and space be reclaimed all the same.

use crate::support::scene::*;
use crate::support::world::*;
use aerolith::format::names;
use aerolith::store::{Listed, MemoryStore, Put, Store};
use aerolith::{BackupKind, Error, Result, StoreErrorKind};
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

const BLOCK: u64 = 4096;
const RESERVE: u64 = 1 << 20;

/// A disk of so many bytes, which writes whole blocks, and new objects beside those that they replace.
struct SmallDisk {
    inner: Arc<MemoryStore>,
    capacity: AtomicU64,
    reserve: AtomicBool,
}

impl SmallDisk {
    /// A disk with room for all that is on it, a reserve, and nothing else.
    fn full(inner: Arc<MemoryStore>) -> Arc<Self> {
        let disk = Arc::new(SmallDisk { inner, capacity: AtomicU64::new(u64::MAX), reserve: AtomicBool::new(true) });
        disk.capacity.store(disk.used(), Ordering::Relaxed);
        disk
    }

    fn used(&self) -> u64 {
        let objects = self.inner.list("").unwrap();
        let blocks: u64 = objects.iter().map(|object| object.size.div_ceil(BLOCK) * BLOCK).sum();
        blocks + if self.reserve.load(Ordering::Relaxed) { RESERVE } else { 0 }
    }

    fn room(&self, bytes: u64) -> Result<()> {
        match self.used() + bytes.div_ceil(BLOCK) * BLOCK > self.capacity.load(Ordering::Relaxed) {
            true => {
                Err(Error::store(StoreErrorKind::Full, "write", std::io::Error::from(std::io::ErrorKind::StorageFull)))
            }
            false => Ok(()),
        }
    }
}

impl Store for SmallDisk {
    fn location(&self) -> &str {
        "a small disk"
    }
    fn put_new(&self, key: &str, bytes: &[u8]) -> Result<Put> {
        self.room(bytes.len() as u64)?;
        self.inner.put_new(key, bytes)
    }
    fn put_content(&self, key: &str, bytes: &Bytes) -> Result<Put> {
        self.room(bytes.len() as u64)?;
        self.inner.put_content(key, bytes)
    }
    fn put(&self, key: &str, bytes: &[u8]) -> Result<()> {
        self.room(bytes.len() as u64)?;
        self.inner.put(key, bytes)
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
    fn delete(&self, key: &str) -> Result<()> {
        self.inner.delete(key)
    }
    fn sync(&self) -> Result<()> {
        self.inner.sync()
    }
    fn free_bytes(&self) -> Result<Option<u64>> {
        Ok(Some(self.capacity.load(Ordering::Relaxed).saturating_sub(self.used())))
    }
    fn keep_reserve(&self) -> Result<()> {
        if !self.reserve.load(Ordering::Relaxed) {
            self.room(RESERVE)?;
            self.reserve.store(true, Ordering::Relaxed);
        }
        Ok(())
    }
    fn use_reserve(&self) -> Result<bool> {
        Ok(self.reserve.swap(false, Ordering::Relaxed))
    }
}

#[test]
fn on_a_full_disk_snapshots_are_forgotten_the_space_comes_back_and_the_next_backup_succeeds() {
    let scene = Scene::new(2500);
    let disk = SmallDisk::full(scene.disk.clone());
    let repository = open(disk.clone()).unwrap();
    assert!(message(back_up(&repository, &World::filled(0..4000), BackupKind::Full).map(|_| ())).contains("write"));
    forget(&repository, &[scene.id(0), scene.id(1)]).unwrap();
    let first = prune(&repository, &thorough()).unwrap();
    assert!(first.packs_deleted > 0 && first.problems.is_empty(), "{first:?}");
    assert_eq!(assert_exact(&repository, &scene.snapshots, "after the first"), 1);
    assert_clean(&repository, "after the first");
    assert!(disk.reserve.load(Ordering::Relaxed), "no reserve was made again");
    // Now there is room to move what is needed.
    let second = prune(&repository, &thorough()).unwrap();
    assert!(second.deferred.is_none(), "{second:?}");
    assert_nothing_unused(&repository, "after the second");
    let last = back_up_all(&repository, BackupKind::Incremental, &[("kept", &scene.kept.later(0..2500, 0.01, 0.0, 7))]);
    assert_eq!(assert_exact(&repository, &[last], "a backup"), 1);
    assert_clean(&repository, "a backup");
}

#[test]
fn a_plan_that_is_pending_when_the_disk_is_full_is_carried_out_as_far_as_there_is_room() {
    let scene = Scene::new(6000);
    forget(&scene.repository(), &[scene.id(0), scene.id(1)]).unwrap();
    plan_and_die(&scene.disk, open);
    let disk = SmallDisk::full(scene.disk.clone());
    let repository = open(disk.clone()).unwrap();
    let fence = thorough().fence(true);
    let first = prune(&repository, &fence).unwrap();
    assert!(first.deferred.is_some() && first.problems.is_empty(), "{first:?}");
    assert!(!scene.disk.list(names::PLANS).unwrap().is_empty(), "a plan went before its packs");
    assert_eq!(assert_exact(&repository, &scene.snapshots, "while it is full"), 1);
    disk.capacity.fetch_add(4 << 20, Ordering::Relaxed);
    let second = prune(&repository, &thorough()).unwrap();
    assert!(second.chunks_moved > 0 && second.deferred.is_none(), "{second:?}");
    assert_nothing_unused(&repository, "enlarged");
    assert_eq!(assert_exact(&repository, &scene.snapshots, "enlarged"), 1);
}

#[test]
fn if_even_the_reserve_is_not_enough_the_error_says_what_to_do_and_nothing_is_lost() {
    let scene = Scene::new(300);
    let disk = SmallDisk::full(scene.disk.clone());
    disk.capacity.fetch_sub(RESERVE, Ordering::Relaxed);
    let repository = open(disk.clone()).unwrap();
    for refused in [message(forget(&repository, &[scene.id(0)])), message(prune(&repository, &thorough()))] {
        assert!(refused.contains("Free some megabytes") && refused.contains("by hand"), "{refused}");
    }
    assert_eq!(assert_exact(&repository, &scene.snapshots, "while it is full"), 3);
    disk.capacity.store(u64::MAX, Ordering::Relaxed);
    forget(&repository, &[scene.id(0)]).unwrap();
    prune(&repository, &thorough()).unwrap();
    assert_eq!(assert_exact(&repository, &scene.snapshots, "enlarged"), 2);
    assert!(disk.reserve.load(Ordering::Relaxed));
}
