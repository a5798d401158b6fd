//! The names in a directory, while files in it are replaced by other processes, of which any may stop at any line.
//!
//! Renaming a file over another is one step for who opens it, but not on every file system for who lists the directory:
//! btrfs gives the name a new place in the directory's order, and a reader that has passed that place and not yet come
//! to the old one sees it nowhere. So who renames and who lists hold the directory's lock (`flock`, which the kernel
//! drops with the process).
//!
//! A process can be stopped while it holds the lock: a key pressed, a lid closed, a frozen container. Nobody may wait
//! for it without end. So the lock is waited for with bounded patience. A writer then goes on without it, and a reader
//! that can't have it, or has had it for about as long as a writer may wait, reads the names several times: what is
//! replaced seldom enough is seen by one of the readings.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{File, TryLockError};
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

/// How long to wait for the lock of a directory. Who is awake holds it for far less than a millisecond.
const PATIENCE: Duration = Duration::from_secs(2);
/// The same for who has waited in vain before.
const SHORT_PATIENCE: Duration = Duration::from_millis(100);
/// How long to sleep between two attempts at the lock, at most.
const LONGEST_NAP: Duration = Duration::from_millis(50);
/// How often the names are read without the lock, and how far apart. Heartbeats, the most frequent replacements, are at
/// least 100 milliseconds apart, so at most two of these readings meet one of the same object.
const READINGS: usize = 8;
const BETWEEN_READINGS: Duration = Duration::from_millis(20);
/// A directory whose names were last changed so long ago was not changed while it was read, whatever the grain of its
/// times.
const AT_REST: Duration = Duration::from_secs(10);

/// The locks of a store's directories.
#[derive(Default)]
pub(super) struct Locks {
    /// Whether a wait was ever in vain.
    in_vain: AtomicBool,
}

/// A directory's lock, or the attempt at it.
pub(super) struct DirectoryLock {
    _handle: File,
    held: bool,
}

impl Locks {
    /// Takes a directory's lock, unless somebody else keeps it, or the file system lends none for directories. It lasts
    /// until the lock is dropped.
    pub(super) fn take(&self, directory: &Path) -> io::Result<DirectoryLock> {
        let handle = File::open(directory)?;
        let patience = if self.in_vain.load(Ordering::Relaxed) { SHORT_PATIENCE } else { PATIENCE };
        let end = Instant::now() + patience;
        let mut nap = Duration::from_micros(100);
        let held = loop {
            match handle.try_lock() {
                Ok(()) => break true,
                Err(TryLockError::WouldBlock) if Instant::now() >= end => break false,
                Err(TryLockError::WouldBlock) => {
                    std::thread::sleep(nap);
                    nap = (nap * 2).min(LONGEST_NAP);
                }
                Err(TryLockError::Error(error)) if error.kind() == ErrorKind::Interrupted => {}
                Err(TryLockError::Error(_)) => break false,
            }
        };
        if !held {
            self.in_vain.store(true, Ordering::Relaxed);
        }
        Ok(DirectoryLock { _handle: handle, held })
    }

    /// All names that were in the directory from the beginning of the call to its end, and perhaps some that were there
    /// for a part of that time.
    pub(super) fn names_of(&self, directory: &Path) -> io::Result<BTreeSet<OsString>> {
        self.names_by(read_names, directory)
    }

    /// The same with another way to read the names once.
    fn names_by(
        &self,
        mut read: impl FnMut(&Path, &mut BTreeSet<OsString>) -> io::Result<()>,
        directory: &Path,
    ) -> io::Result<BTreeSet<OsString>> {
        let mut names = BTreeSet::new();
        let lock = self.take(directory)?;
        let began = Instant::now();
        read(directory, &mut names)?;
        let took = began.elapsed();
        if lock.held && took < SHORT_PATIENCE / 2 || is_at_rest(directory, took)? {
            return Ok(names);
        }
        drop(lock);
        for _ in 1..READINGS {
            std::thread::sleep(BETWEEN_READINGS);
            read(directory, &mut names)?;
        }
        Ok(names)
    }
}

fn read_names(directory: &Path, names: &mut BTreeSet<OsString>) -> io::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        names.insert(entry?.file_name());
    }
    Ok(())
}

/// Whether no name changed in a reading that has just ended and took this long.
fn is_at_rest(directory: &Path, took: Duration) -> io::Result<bool> {
    let changed = std::fs::metadata(directory)?.modified()?;
    Ok(SystemTime::now().duration_since(changed).is_ok_and(|age| age > took + AT_REST))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn who_keeps_the_lock_is_waited_for_but_not_for_ever() {
        let directory = tempfile::tempdir().unwrap();
        let locks = Locks::default();
        let first = locks.take(directory.path()).unwrap();
        assert!(first.held);
        for patience in [PATIENCE, SHORT_PATIENCE] {
            let began = Instant::now();
            assert!(!locks.take(directory.path()).unwrap().held);
            assert!(began.elapsed() >= patience);
        }
        drop(first);
        assert!(locks.take(directory.path()).unwrap().held);
    }

    #[test]
    fn what_one_reading_misses_is_seen_by_another_where_the_lock_is_not_to_be_had() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("a"), b"").unwrap();
        let locks = Locks::default();
        let sees = || {
            // As btrfs does when the file is replaced meanwhile.
            let mut readings = 0;
            let misses_twice = |directory: &Path, names: &mut BTreeSet<OsString>| {
                readings += 1;
                if readings > 2 { read_names(directory, names) } else { Ok(()) }
            };
            locks.names_by(misses_twice, directory.path()).unwrap().contains(&OsString::from("a"))
        };
        assert!(!sees(), "with the lock, one reading is enough");
        let _keeper = locks.take(directory.path()).unwrap();
        assert!(sees());
    }

    #[test]
    fn a_directory_is_at_rest_when_its_names_changed_long_before_the_reading() {
        let directory = tempfile::tempdir().unwrap();
        let age = |seconds| {
            let changed = SystemTime::now() - Duration::from_secs(seconds);
            File::open(directory.path()).unwrap().set_modified(changed).unwrap();
        };
        assert!(!is_at_rest(directory.path(), Duration::ZERO).unwrap());
        age(60);
        assert!(is_at_rest(directory.path(), Duration::from_secs(40)).unwrap());
        assert!(!is_at_rest(directory.path(), Duration::from_secs(55)).unwrap());
    }
}
