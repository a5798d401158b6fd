//! Names and power cuts: a file's name is safe only once its directory was synced, and so is the directory's own in the
//! one above.

use crate::sync::lock;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// Directories that are synced at once.
const SYNCS_AT_ONCE: usize = 8;

/// The directories of a store in which names may have changed that a power cut could still undo.
pub(super) struct Names {
    root: PathBuf,
    unsynced: Mutex<BTreeSet<PathBuf>>,
    syncing: Mutex<()>,
}

impl Names {
    pub(super) fn new(root: PathBuf) -> Self {
        Self { root, unsynced: Mutex::default(), syncing: Mutex::default() }
    }

    /// Notes that a name in `directory` was made, was found made by somebody else, or was taken away. Call it *after*
    /// the fact: a sync that runs in between would otherwise count the directory as done.
    pub(super) fn note(&self, directory: &Path) {
        let mut unsynced = lock(&self.unsynced);
        for directory in self.up_to_root(directory) {
            // What was noted already was noted with everything above it.
            if unsynced.contains(directory) {
                break;
            }
            unsynced.insert(directory.to_owned());
        }
    }

    /// Makes the names in `directory`, and those of the directories above it, survive a power cut.
    pub(super) fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        self.up_to_root(directory).try_for_each(|directory| self.sync_one(directory))
    }

    /// Makes every name noted before this call survive a power cut. After an error all of them still count as noted.
    pub(super) fn sync(&self) -> io::Result<()> {
        // Held to the end: a second call must not return while the first still syncs what was noted before both.
        let _syncing = lock(&self.syncing);
        let directories = std::mem::take(&mut *lock(&self.unsynced));
        let outcome = self.sync_side_by_side(&directories.iter().collect::<Vec<_>>());
        if outcome.is_err() {
            lock(&self.unsynced).extend(directories);
        }
        outcome
    }

    /// Syncs several directories at once: each waits for the disk, and a file system can write what several wait for
    /// with one step of its journal.
    fn sync_side_by_side(&self, directories: &[&PathBuf]) -> io::Result<()> {
        let share = directories.len().div_ceil(SYNCS_AT_ONCE).max(1);
        let sync = |share: &[&PathBuf]| share.iter().try_for_each(|directory| self.sync_one(directory));
        // Threads of its own, not those of the pool: one that waits here could take on work that waits for this.
        std::thread::scope(|scope| {
            let mut shares = directories.chunks(share);
            let own = shares.next();
            let others: Vec<_> = shares.map(|share| scope.spawn(move || sync(share))).collect();
            let own = own.map_or(Ok(()), sync);
            let ended = |_| io::Error::other("a thread that synced directories ended unexpectedly");
            others.into_iter().map(|other| other.join().map_err(ended).flatten()).fold(own, Result::and)
        })
    }

    /// `directory` and the directories above it, the store's root last.
    fn up_to_root<'a>(&'a self, directory: &'a Path) -> impl Iterator<Item = &'a Path> {
        directory.ancestors().take_while(|above| above.starts_with(&self.root))
    }

    fn sync_one(&self, directory: &Path) -> io::Result<()> {
        match sync_directory(directory) {
            // Emptied and removed since: the directory above, synced as well, holds that.
            Err(error) if error.kind() == ErrorKind::NotFound && directory != self.root => Ok(()),
            outcome => outcome,
        }
    }
}

/// Waits until the disk has the names in `directory`. File systems that can't be asked to (some network ones) are
/// believed to do so unasked.
pub(super) fn sync_directory(directory: &Path) -> io::Result<()> {
    match File::open(directory)?.sync_all() {
        Err(error) if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => Ok(()),
        outcome => outcome,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    impl Names {
        pub(in super::super) fn is_noted(&self, directory: &Path) -> bool {
            lock(&self.unsynced).contains(directory)
        }
    }

    fn noted(names: &Names) -> Vec<PathBuf> {
        lock(&names.unsynced).iter().cloned().collect()
    }

    #[test]
    fn a_noted_directory_brings_those_above_it_up_to_the_root() {
        let names = Names::new("/store".into());
        names.note(Path::new("/store/packs/ab"));
        names.note(Path::new("/store/packs/cd"));
        assert_eq!(noted(&names), ["/store", "/store/packs", "/store/packs/ab", "/store/packs/cd"].map(PathBuf::from));
    }

    #[test]
    fn a_sync_that_failed_forgets_nothing() {
        let store = tempfile::tempdir().unwrap();
        let root = store.path().join("gone");
        let names = Names::new(root.clone());
        names.note(&root.join("packs"));
        assert!(names.sync().is_err());
        assert_eq!(noted(&names), [root.clone(), root.join("packs")]);
        fs::create_dir(&root).unwrap();
        names.sync().unwrap();
        assert!(noted(&names).is_empty());
    }
}
