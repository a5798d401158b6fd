//! Names and power cuts: a file's name is safe only once its folder was synced, and so is the folder's own in the one above.

use crate::sync::lock;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// The folders of a store in which names may have changed that a power cut could still undo.
pub(super) struct Names {
    root: PathBuf,
    unsynced: Mutex<BTreeSet<PathBuf>>,
    syncing: Mutex<()>,
}

impl Names {
    pub(super) fn new(root: PathBuf) -> Self {
        Self { root, unsynced: Mutex::default(), syncing: Mutex::default() }
    }

    /// Notes that a name in `folder` was made, was found made by somebody else, or was taken away. Call it *after* the fact:
    /// a sync that runs in between would otherwise count the folder as done.
    pub(super) fn note(&self, folder: &Path) {
        let mut unsynced = lock(&self.unsynced);
        for folder in self.up_to_root(folder) {
            // What was noted already was noted with everything above it.
            if unsynced.contains(folder) {
                break;
            }
            unsynced.insert(folder.to_owned());
        }
    }

    /// Makes the names in `folder`, and those of the folders above it, survive a power cut.
    pub(super) fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.up_to_root(folder).try_for_each(|folder| self.sync_one(folder))
    }

    /// Makes every name noted before this call survive a power cut. After an error all of them still count as noted.
    pub(super) fn sync(&self) -> io::Result<()> {
        // Held to the end: a second call must not return while the first still syncs what was noted before both.
        let _syncing = lock(&self.syncing);
        let folders = std::mem::take(&mut *lock(&self.unsynced));
        let outcome = folders.iter().try_for_each(|folder| self.sync_one(folder));
        if outcome.is_err() {
            lock(&self.unsynced).extend(folders);
        }
        outcome
    }

    /// `folder` and the folders above it, the store's root last.
    fn up_to_root<'a>(&'a self, folder: &'a Path) -> impl Iterator<Item = &'a Path> {
        folder.ancestors().take_while(|above| above.starts_with(&self.root))
    }

    fn sync_one(&self, folder: &Path) -> io::Result<()> {
        match sync_folder(folder) {
            // Emptied and removed since: the folder above, synced as well, holds that.
            Err(error) if error.kind() == ErrorKind::NotFound && folder != self.root => Ok(()),
            outcome => outcome,
        }
    }
}

/// Waits until the disk has the names in `folder`. File systems that can't be asked to (some network ones) are believed to
/// do so unasked.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    match File::open(folder)?.sync_all() {
        Err(error) if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => Ok(()),
        outcome => outcome,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    impl Names {
        pub(in super::super) fn is_noted(&self, folder: &Path) -> bool {
            lock(&self.unsynced).contains(folder)
        }
    }

    fn noted(names: &Names) -> Vec<PathBuf> {
        lock(&names.unsynced).iter().cloned().collect()
    }

    #[test]
    fn a_noted_folder_brings_those_above_it_up_to_the_root() {
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
