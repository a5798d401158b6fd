//! An object on its way: a file under a name that no listing shows, until its bytes are safe and it gets its own.

use super::private::Modes;
use crate::rename::{is_unsupported, rename_if_free};
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

const PREFIX: &str = ".tmp-";
const ABANDONED_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// A temporary file whose bytes survive a power cut. Dropped without [`Temporary::rename_over`] or
/// [`Temporary::name_if_free`], it is removed.
pub(super) struct Temporary {
    path: PathBuf,
    named: bool,
}

impl Temporary {
    /// Writes `bytes` to a new temporary file in `directory`, and waits until the disk has them.
    ///
    /// `NotFound` says that the directory isn't there.
    pub(super) fn write(directory: &Path, bytes: &[u8], modes: &Modes) -> io::Result<Self> {
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(io::Error::other)?;
        let path = directory.join(format!("{PREFIX}{}", hex::encode(random)));
        let mut file = modes.make_file(&path)?;
        let temporary = Temporary { path, named: false };
        modes.share(&file)?;
        file.write_all(bytes)?;
        file.sync_data()?;
        Ok(temporary)
    }

    /// Gives the file its name, in place of whatever had it.
    pub(super) fn rename_over(mut self, name: &Path) -> io::Result<()> {
        fs::rename(&self.path, name)?;
        self.named = true;
        Ok(())
    }

    /// Gives the file its name if nothing has it, and says whether it did. Of any number of processes, one gets it.
    pub(super) fn name_if_free(mut self, name: &Path) -> io::Result<bool> {
        let outcome = match rename_if_free(&self.path, name) {
            Err(error) if is_unsupported(&error) => return self.link_if_free(name),
            outcome => outcome,
        };
        match outcome {
            Ok(()) => {
                self.named = true;
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The same by a hard link, for file systems whose rename can't refuse to replace. The temporary name goes with
    /// `self`.
    fn link_if_free(self, name: &Path) -> io::Result<bool> {
        let Err(error) = fs::hard_link(&self.path, name) else { return Ok(true) };
        // A network file system may have made the link and lost the reply: then a repeated request finds the name
        // taken. Nobody else knows the temporary name, so a second link can only be ours.
        if link_count(&self.path).is_ok_and(|links| links == 2) {
            return Ok(true);
        }
        if error.kind() == ErrorKind::AlreadyExists { Ok(false) } else { Err(error) }
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.named {
            // Left behind, it is never taken for an object, and is removed when it is a day old.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Removes the file at `path` if it is a temporary file that was last written more than a day ago.
///
/// Safe whatever other processes do: should one that slept for a day wake up, it finds its temporary file gone, so its
/// put fails and has done nothing.
pub(super) fn remove_if_abandoned(path: &Path) {
    if path.file_name().and_then(|name| name.to_str()).is_none_or(|name| !name.starts_with(PREFIX)) {
        return;
    }
    let age = fs::symlink_metadata(path)
        .and_then(|metadata| metadata.modified())
        .map(|modified| SystemTime::now().duration_since(modified).unwrap_or_default());
    if age.is_ok_and(|age| age > ABANDONED_AFTER) {
        let _ = fs::remove_file(path);
    }
}

/// Whether a name found in a store's root is that of a temporary file.
pub(super) fn is_temporary(name: &str) -> bool {
    name.starts_with(PREFIX)
}

fn link_count(path: &Path) -> io::Result<u64> {
    use std::os::unix::fs::MetadataExt;
    Ok(File::open(path)?.metadata()?.nlink())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_taken_name_is_kept_by_rename_and_by_link() {
        let directory = tempfile::tempdir().unwrap();
        let name = directory.path().join("a");
        let write = |bytes| Temporary::write(directory.path(), bytes, &Modes::PRIVATE).unwrap();
        assert!(write(b"1").link_if_free(&name).unwrap());
        assert!(!write(b"2").link_if_free(&name).unwrap());
        assert!(!write(b"3").name_if_free(&name).unwrap());
        assert_eq!(fs::read(&name).unwrap(), b"1");
        assert_eq!(names(directory.path()), ["a"], "no temporary file stays");
    }

    #[test]
    fn a_link_whose_reply_was_lost_counts_as_made() {
        let directory = tempfile::tempdir().unwrap();
        let name = directory.path().join("a");
        let temporary = Temporary::write(directory.path(), b"1", &Modes::PRIVATE).unwrap();
        fs::hard_link(&temporary.path, &name).unwrap();
        assert!(temporary.link_if_free(&name).unwrap());
        assert_eq!(names(directory.path()), ["a"]);
    }

    #[test]
    fn only_day_old_temporary_files_are_abandoned() {
        let directory = tempfile::tempdir().unwrap();
        let old = SystemTime::now() - ABANDONED_AFTER - Duration::from_secs(60);
        for (name, modified) in [(".tmp-old", old), (".tmp-new", SystemTime::now()), (".other", old), ("object", old)] {
            let path = directory.path().join(name);
            File::create(&path).unwrap().set_modified(modified).unwrap();
            remove_if_abandoned(&path);
        }
        assert_eq!(names(directory.path()), [".other", ".tmp-new", "object"]);
    }
}
