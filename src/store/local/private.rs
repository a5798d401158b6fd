//! Who may read a store's files: their owner alone, unless the owner gave those in the root to a group.
//!
//! Names, sizes and times of a repository's objects say when how much was backed up, and whoever may write can delete.
//! So files are made with mode 0600 and directories with 0700, whatever the umask is. To share a repository with a
//! group, give it what is there (`chgrp -R backup REPO; chmod -R g+rwX REPO; chmod g+s` on its directories): new files
//! and directories then are the group's as far as every object in the root is. Others never get anything.

use crate::store::key::is_segment;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// What files and directories of a store allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Modes {
    /// What the group may do with files: a part of 0o060.
    group: u32,
}

/// A group may read, and so enter a directory.
const GROUP_READS: u32 = 0o040;
const GROUP_ENTERS: u32 = 0o010;

impl Modes {
    /// The owner alone.
    pub(super) const PRIVATE: Modes = Modes { group: 0 };

    /// What all objects in this root allow; the owner alone where there are none.
    pub(super) fn of(root: &Path) -> Self {
        let entries = fs::read_dir(root).into_iter().flatten().flatten();
        let objects = entries.filter(|entry| entry.file_name().to_str().is_some_and(is_segment));
        let files = objects.filter_map(|entry| fs::metadata(entry.path()).ok()).filter(fs::Metadata::is_file);
        files
            .map(|file| file.mode() & 0o060)
            .reduce(|all, one| all & one)
            .map_or(Modes::PRIVATE, |group| Modes { group })
    }

    fn directory(self) -> u32 {
        0o700 | self.group | if self.group & GROUP_READS != 0 { GROUP_ENTERS } else { 0 }
    }

    /// Makes a new file to write to, which its owner alone can open.
    pub(super) fn make_file(&self, path: &Path) -> io::Result<File> {
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
    }

    /// Lets the group at a file, as far as it may. The umask has no say.
    pub(super) fn share(&self, file: &File) -> io::Result<()> {
        if self.group == 0 { Ok(()) } else { file.set_permissions(Permissions::from_mode(0o600 | self.group)) }
    }

    /// Makes a directory.
    pub(super) fn make_directory(&self, path: &Path) -> io::Result<()> {
        make_private(path)?;
        if self.group == 0 {
            return Ok(());
        }
        match fs::metadata(path) {
            // With what else it has: a directory in one whose group is handed down hands it down too.
            Ok(made) => fs::set_permissions(path, Permissions::from_mode((made.mode() & 0o7000) | self.directory())),
            Err(error) => Err(error),
        }
    }
}

/// Makes a directory that is its owner's alone.
pub(super) fn make_private(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(path)
}
