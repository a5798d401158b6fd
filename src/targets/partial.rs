//! Files on their way: under names of their own that nobody takes for whole files, until they are whole.
//!
//! A file that is written for `NAME` is called `NAME.<16 hex digits>.partial`, a name that no other restore chooses.
//! Whoever writes it holds a lock, on the file or on its directory, so that the next restore tells what a killed one
//! left from what is being written. A file that isn't whole in the end is removed, also when the program ends in the
//! middle ([`remove_all`]).

use crate::error::{Error, Result};
use crate::rename::{DIGITS, SUFFIX, final_name, is_unsupported, rename_if_free};
use crate::sync::lock;
use std::collections::BTreeSet;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// The files of this process that are not whole yet; none once the program is about to end.
static UNFINISHED: Mutex<Option<BTreeSet<PathBuf>>> = Mutex::new(Some(BTreeSet::new()));

/// Removes every file of this process that is not whole yet, and lets it begin no other: for a program that ends
/// without returning from a restore.
pub fn remove_all() {
    for path in lock(&UNFINISHED).take().into_iter().flatten() {
        let _ = std::fs::remove_file(path);
    }
}

/// Notes that a file has another name now, and no longer the one that it had.
fn note(new: Option<&Path>, old: Option<&Path>) -> bool {
    let mut unfinished = lock(&UNFINISHED);
    let Some(unfinished) = unfinished.as_mut() else { return false };
    unfinished.extend(new.map(Path::to_owned));
    old.is_none_or(|old| unfinished.remove(old))
}

/// A file on its way. Dropped before [`Partial::settle`], it is removed.
pub(super) struct Partial {
    /// The name that it will have.
    path: PathBuf,
    /// The name that it has.
    current: PathBuf,
    settled: bool,
}

impl Partial {
    /// Creates and locks a file that will be called `path`. The lock lasts as long as the file is open.
    pub(super) fn create(path: &Path) -> Result<(Self, File)> {
        loop {
            let mut name = path.as_os_str().to_owned();
            name.push(format!(".{}{SUFFIX}", hex::encode(crate::crypto::random::<{ DIGITS / 2 }>()?)));
            let current = PathBuf::from(name);
            let failed = |error| Error::io(format!("create {}", current.display()), error);
            if !note(Some(&current), None) {
                return Err(Error::Cancelled);
            }
            let file = OpenOptions::new().write(true).create_new(true).open(&current).map_err(failed);
            let file = file.inspect_err(|_| _ = note(None, Some(&current)))?;
            let partial = Partial { path: path.to_owned(), current, settled: false };
            match file.try_lock() {
                // Before it was locked, another restore may have taken it for what a killed one left.
                Ok(()) if !partial.current.exists() => {}
                Err(TryLockError::WouldBlock) => {}
                // Or the file system has no locks.
                Ok(()) | Err(TryLockError::Error(_)) => return Ok((partial, file)),
            }
        }
    }

    /// The name that the file has.
    pub(super) fn current(&self) -> &Path {
        &self.current
    }

    /// Gives the file its name, unless that is taken. Until it is settled it may still be removed.
    pub(super) fn publish(&mut self) -> Result<()> {
        if self.current == self.path {
            return Ok(());
        }
        let failed = |error| {
            Error::io(
                format!("give {} the name {}, which is not overwritten", self.current.display(), self.path.display()),
                error,
            )
        };
        name_if_free(&self.current, &self.path).map_err(failed)?;
        note(Some(&self.path), Some(&self.current));
        self.current = self.path.clone();
        Ok(())
    }

    /// Lets the file stay.
    pub(super) fn settle(&mut self) {
        self.settled = true;
        note(None, Some(&self.current));
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // What the program removed already when it was told to end is not there any more.
        if !self.settled && note(None, Some(&self.current)) {
            let _ = std::fs::remove_file(&self.current);
        }
    }
}

/// Begins a single file that will be called `path`, unless another restore is writing one; also what to tell of an
/// earlier one.
pub(super) fn begin_single(path: &Path, target_name: &str) -> Result<(Partial, File, Vec<String>)> {
    let found = sweep(directory_of(path), |name| path.file_name().is_some_and(|wanted| wanted == name), true)?;
    if let Some(other) = found.at_work.first() {
        return Err(at_work(target_name, other, "name another file"));
    }
    let (partial, file) = Partial::create(path)?;
    Ok((partial, file, found.notes()))
}

/// The error that another restore is at work.
pub(super) fn at_work(target_name: &str, other: &Path, instead: &str) -> Error {
    let problem = format!("another restore is writing {}. Wait for it, or {instead}", other.display());
    Error::Target { target_name: target_name.to_owned(), problem }
}

/// The directory in which a file is.
pub(super) fn directory_of(file: &Path) -> &Path {
    file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Refuses a name in a directory that isn't there: its disk may not be mounted.
pub(super) fn check_parent(path: &Path, target_name: &str) -> Result<()> {
    let directory = directory_of(path);
    let problem = match std::fs::metadata(directory) {
        Ok(found) if found.is_dir() => return Ok(()),
        Ok(_) => format!("{} is no directory, so that nothing can be made in it", directory.display()),
        Err(error) if error.kind() == ErrorKind::NotFound => format!(
            "there is no directory {} to make it in. Make that first, or check that its disk is mounted",
            directory.display()
        ),
        Err(error) => return Err(Error::io(format!("look at the directory {}", directory.display()), error)),
    };
    Err(Error::Target { target_name: target_name.to_owned(), problem })
}

/// Makes the names in a directory last.
pub(super) fn sync_directory(directory: &Path) -> Result<()> {
    let doing = || format!("flush the directory {}", directory.display());
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(|e| Error::io(doing(), e))
}

/// Renames a file unless the new name is taken.
fn name_if_free(from: &Path, to: &Path) -> io::Result<()> {
    match rename_if_free(from, to) {
        Err(error) if is_unsupported(&error) => {}
        result => return result,
    }
    match std::fs::hard_link(from, to) {
        Ok(()) => return std::fs::remove_file(from),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return Err(error),
        // A file system without hard links.
        Err(_) => {}
    }
    if to.exists() {
        return Err(ErrorKind::AlreadyExists.into());
    }
    std::fs::rename(from, to)
}

/// What is in a directory of files on their way that will have the names that `ours` knows.
pub(super) struct Found {
    /// They are being written.
    pub(super) at_work: Vec<PathBuf>,
    /// They were left by a restore that was killed, and are removed now.
    pub(super) removed: Vec<PathBuf>,
    /// Which of the two they are can't be told, or they can't be removed.
    pub(super) unclear: Vec<PathBuf>,
}

impl Found {
    /// What to tell the user of what was there.
    pub(super) fn notes(&self) -> Vec<String> {
        let removed = self.removed.iter();
        let removed =
            removed.map(|path| format!("removed {}, which a restore that was killed had left", path.display()));
        let unclear = self
            .unclear
            .iter()
            .map(|path| format!("{} is of another restore. Remove it, unless that is still running", path.display()));
        removed.chain(unclear).collect()
    }
}

/// Looks for files on their way in a directory, and removes those that nobody writes any more. `can_tell` says whether
/// a lock would show who does.
pub(super) fn sweep(directory: &Path, ours: impl Fn(&str) -> bool, can_tell: bool) -> Result<Found> {
    let mut found = Found { at_work: Vec::new(), removed: Vec::new(), unclear: Vec::new() };
    let failed = |error| Error::io(format!("list {}", directory.display()), error);
    let entries = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(found),
        entries => entries.map_err(failed)?,
    };
    for entry in entries {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        if !name.to_str().and_then(final_name).is_some_and(&ours) || !entry.file_type().is_ok_and(|kind| kind.is_file())
        {
            continue;
        }
        let path = entry.path();
        let locked = match File::open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(_) => None,
            Ok(_) if !can_tell => None,
            Ok(file) => match file.try_lock() {
                Err(TryLockError::WouldBlock) => {
                    found.at_work.push(path);
                    continue;
                }
                Err(TryLockError::Error(_)) => None,
                // Held until the file is gone.
                Ok(()) => Some(file),
            },
        };
        match locked.map(|_lock| std::fs::remove_file(&path)) {
            Some(Ok(())) => found.removed.push(path),
            Some(Err(error)) if error.kind() == ErrorKind::NotFound => {}
            _ => found.unclear.push(path),
        }
    }
    found.removed.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(directory).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn two_files_for_one_name_are_two_files_and_one_gets_the_name() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        let (mut one, _) = Partial::create(&path).unwrap();
        let (mut other, _) = Partial::create(&path).unwrap();
        assert_eq!(names(directory.path()).len(), 2);
        one.publish().unwrap();
        let refused = other.publish().unwrap_err().to_string();
        assert!(refused.contains("exists"), "{refused}");
        one.settle();
        drop((one, other));
        assert_eq!(names(directory.path()), ["a"]);
    }

    #[test]
    fn what_is_not_settled_goes_also_under_its_last_name() {
        let directory = tempfile::tempdir().unwrap();
        let (mut published, _) = Partial::create(&directory.path().join("a")).unwrap();
        let unpublished = Partial::create(&directory.path().join("b")).unwrap();
        published.publish().unwrap();
        drop((published, unpublished));
        assert_eq!(names(directory.path()), [""; 0]);
    }

    #[test]
    fn a_sweep_removes_what_nobody_writes_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let left = "a.0123456789abcdef.partial";
        let others = ["a.partial", "a.0123456789ABCDEF.partial", "a.0123.partial", "b.0123456789abcdef.partial", "a"];
        for name in others.into_iter().chain([left]) {
            std::fs::write(directory.path().join(name), "x").unwrap();
        }
        let (at_work, _file) = Partial::create(&directory.path().join("a")).unwrap();
        let found = sweep(directory.path(), |name| name == "a", true).unwrap();
        assert_eq!(found.at_work, [at_work.current()]);
        assert_eq!(found.removed, [directory.path().join(left)]);
        assert!(found.notes()[0].contains(left), "{:?}", found.notes());
        assert_eq!(names(directory.path()).len(), others.len() + 1);
    }
}
