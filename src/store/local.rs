//! A store in a directory: one file for each object, its path the key.
//!
//! **Whole or not at all.** An object is first written to a temporary file beside its place, whose name begins with a
//! dot and so is no key; only when the disk has its bytes does the file get its name, in one step that for `put_new`
//! fails where the name is taken. No crash leaves half an object, and no reader sees one.
//!
//! **Power cuts.** A name is safe once its directory was synced, and the directories above it. `put` and `put_new` do
//! so before they return; [`Store::sync`] does it for every directory that this store value changed, found a key taken
//! in, or saw objects in by `size` or `list`. So a writer that builds on what another process left (objects taken over,
//! or just put) makes that safe as well before its own commit. Deletions are safe after `sync` too.
//!
//! **Listings.** On some file systems (btrfs) a file that is being replaced can be missing from a listing made
//! meanwhile, and a collector that misses a live session loses data. So `put` holds a `flock` of the directory for the
//! length of its rename, and `list` while it reads the directory's names. Neither waits for it for long, since its
//! holder may be asleep: see `directory`.
//!
//! **Reserve.** `.reserve`, one MiB of noise, is deleted once the disk is full, so that what must be written before
//! anything can be deleted finds room; the next writer makes it again.
//!
//! **Leftovers.** A crash can leave temporary files. They are never listed; a listing by a store value that has written
//! something removes those older than a day, which no living put can own. A store that is only read changes nothing on
//! disk.
//!
//! **Private.** Files and directories are the owner's alone (0600, 0700), whatever the umask; see `private` for how to
//! share them.
//!
//! A store may be used by many processes of one host. A network file system that several hosts share must not cache
//! names or attributes (NFS: `noac,lookupcache=none`), else listings aren't current.

mod directory;
mod names;
mod private;
mod temporary;

use super::key::{check_key, check_prefix, is_segment, too_large};
use super::{Listed, Put, RetryPolicy, Store};
use crate::error::{Error, Result};
use bytes::Bytes;
use directory::Locks;
use names::{Names, sync_directory};
use private::Modes;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use temporary::{Temporary, is_temporary, remove_if_abandoned};

/// What file systems, desktops and network drives leave in any directory. None of these names can be a key.
const HARMLESS_NAMES: [&str; 24] = [
    "lost+found",
    "aquota.group",
    "aquota.user",
    "quota.group",
    "quota.user",
    ".autorelabel",
    ".snapshot",
    ".snapshots",
    ".zfs",
    ".DS_Store",
    ".DocumentRevisions-V100",
    ".Spotlight-V100",
    ".TemporaryItems",
    ".Trashes",
    ".apdisk",
    ".fseventsd",
    ".metadata_never_index",
    ".directory",
    "Thumbs.db",
    "desktop.ini",
    "$RECYCLE.BIN",
    "System Volume Information",
    "@eaDir",
    "#recycle",
];

/// Beginnings of such names: what macOS keeps beside a file on foreign disks, waste baskets, files that NFS couldn't
/// delete yet.
const HARMLESS_BEGINNINGS: [&str; 3] = ["._", ".Trash-", ".nfs"];

/// Whether this store, or what is below it, leaves such a name in the root.
fn is_ours_or_harmless(name: &str) -> bool {
    HARMLESS_NAMES.contains(&name)
        || HARMLESS_BEGINNINGS.iter().any(|beginning| name.starts_with(beginning))
        || name == RESERVE
        || is_temporary(name)
}

/// Room for a disk that is full. Its name begins with a dot, and so is no key.
const RESERVE: &str = ".reserve";
/// Its size: room for markers, a session, a plan of some 16,000 packs, and an index segment.
const RESERVE_BYTES: usize = 1 << 20;

/// How often a directory that a deletion removes under a put's hands is made again.
const DIRECTORY_TRIES: usize = 16;

/// A store in a local directory.
pub struct LocalStore {
    root: PathBuf,
    location: String,
    names: Names,
    locks: Locks,
    modes: Modes,
    has_written: AtomicBool,
}

impl LocalStore {
    /// Makes a store of the directory at `path`, which is made with what is missing above it. A directory that is there
    /// already is simply opened; [`Store::top_names`] says what it holds.
    ///
    /// # Errors
    ///
    /// [`Error::Store`] if it can't be made, or is none.
    pub fn create(path: impl AsRef<Path>) -> Result<Self> {
        let root = absolute(path.as_ref())?;
        let in_context = |error| Error::store_io(format!("make the directory {}", root.display()), error);
        make_with_parents(&root).map_err(in_context)?;
        fs::read_dir(&root).map_err(in_context)?;
        Ok(Self::at(root))
    }

    /// Opens the store in the directory at `path`. Nothing is written.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] if there is no such directory, [`Error::Store`] if it can't be looked at.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let root = absolute(path.as_ref())?;
        match fs::metadata(&root) {
            Ok(metadata) if metadata.is_dir() => Ok(Self::at(root)),
            Err(error) if !is_absence(&error) => Err(Error::store_io(format!("open {}", root.display()), error)),
            _ => Err(Error::not_found(
                format!("the directory {}", root.display()),
                "Check the path, and that its disk is mounted; a new repository has to be made first",
            )),
        }
    }

    fn at(root: PathBuf) -> Self {
        let location = root.display().to_string();
        Self {
            location,
            names: Names::new(root.clone()),
            locks: Locks::default(),
            modes: Modes::of(&root),
            root,
            has_written: AtomicBool::new(false),
        }
    }

    /// An error in a call that was to `verb` the object or directory `key`.
    fn error(&self, verb: &str, key: &str, error: io::Error) -> Error {
        Error::store_io(format!("{verb} {key} in {}", self.location), error)
    }

    /// An error in reading the object `key`: a disk that can't give back the bytes of one file says nothing of the
    /// others.
    fn read_error(&self, key: &str, error: io::Error) -> Error {
        if error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) {
            return Error::damaged(key, format!("the disk can't read it ({error})"));
        }
        self.error("read", key, error)
    }

    /// The path of the object, and its directory.
    fn place(&self, key: &str) -> Result<(PathBuf, PathBuf)> {
        check_key(key)?;
        let path = self.root.join(key);
        let directory = path.parent().map_or_else(|| self.root.clone(), Path::to_path_buf);
        Ok((path, directory))
    }

    /// Says that nothing was found, unless the reason is that the whole store is away.
    fn absent<T>(&self) -> io::Result<Option<T>> {
        if fs::metadata(&self.root)?.is_dir() { Ok(None) } else { Err(ErrorKind::NotADirectory.into()) }
    }

    /// Opens the object's file; its size in bytes comes with it.
    fn open_object(&self, path: &Path) -> io::Result<Option<(File, u64)>> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if is_absence(&error) => return self.absent(),
            Err(error) => return Err(error),
        };
        let metadata = file.metadata()?;
        Ok(metadata.is_file().then_some((file, metadata.len())))
    }

    /// Writes a temporary file in `directory`, which is made if need be. The root is not: where it is gone, so is its
    /// disk.
    fn write_temporary(&self, directory: &Path, bytes: &[u8]) -> io::Result<Temporary> {
        self.has_written.store(true, Ordering::Relaxed);
        for _ in 1..DIRECTORY_TRIES {
            match Temporary::write(directory, bytes, &self.modes) {
                Err(error) if error.kind() == ErrorKind::NotFound => self.make_directory(directory)?,
                outcome => return outcome,
            }
        }
        Temporary::write(directory, bytes, &self.modes)
    }

    /// Makes `directory` and what is missing between it and the root. On success it may be gone again, removed as
    /// empty.
    fn make_directory(&self, directory: &Path) -> io::Result<()> {
        self.absent::<()>()?;
        let mut missing: Vec<_> = directory.ancestors().take_while(|above| *above != self.root).collect();
        while let Some(next) = missing.pop() {
            match self.modes.make_directory(next) {
                Err(error) if !matches!(error.kind(), ErrorKind::AlreadyExists | ErrorKind::NotFound) => {
                    return Err(error);
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn create_object(&self, path: &Path, directory: &Path, bytes: &[u8]) -> io::Result<Put> {
        // Spares the writing; whether the name is free is decided when it is given.
        if fs::symlink_metadata(path).is_ok() {
            return Ok(Put::Exists);
        }
        let named = self.write_temporary(directory, bytes)?.name_if_free(path)?;
        Ok(if named { Put::Created } else { Put::Exists })
    }

    fn replace_object(&self, path: &Path, directory: &Path, bytes: &[u8]) -> io::Result<()> {
        let temporary = self.write_temporary(directory, bytes)?;
        let lock = self.locks.take(directory)?;
        temporary.rename_over(path)?;
        drop(lock);
        self.names.sync_directory(directory)
    }

    fn read_object(&self, path: &Path, key: &str, limit: u64) -> Result<Option<Bytes>> {
        let in_context = |error| self.read_error(key, error);
        let Some((file, size)) = self.open_object(path).map_err(in_context)? else { return Ok(None) };
        if size > limit {
            return Err(too_large(key, size, limit));
        }
        let mut bytes = reserve(size).map_err(in_context)?;
        file.take(size).read_to_end(&mut bytes).map_err(in_context)?;
        Ok(Some(bytes.into()))
    }

    fn read_range(&self, path: &Path, offset: u64, length: usize) -> io::Result<Option<Bytes>> {
        let Some((file, size)) = self.open_object(path)? else { return Ok(None) };
        let length = size.saturating_sub(offset).min(length as u64);
        let mut bytes = reserve(length)?;
        bytes.resize(length as usize, 0);
        let mut filled = 0;
        while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match file.read_at(rest, offset + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        bytes.truncate(filled);
        Ok(Some(bytes.into()))
    }

    /// Adds the objects in `directory`, whose keys begin with `prefix`, and in the directories below it.
    fn list_directory(&self, directory: &Path, prefix: &str, listed: &mut Vec<Listed>) -> io::Result<()> {
        let before = listed.len();
        for name in self.names_in(directory)? {
            let path = directory.join(&name);
            let metadata = match fs::metadata(&path) {
                Ok(metadata) => metadata,
                // Deleted since its name was read.
                Err(error) if is_absence(&error) => continue,
                Err(error) => return Err(error),
            };
            if metadata.is_dir() {
                self.list_directory(&path, &format!("{prefix}{name}/"), listed)?;
            } else if metadata.is_file() {
                listed.push(Listed { key: format!("{prefix}{name}"), size: metadata.len() });
            }
        }
        if listed.len() > before {
            self.names.note(directory);
        }
        Ok(())
    }

    /// The names in `directory` that can be part of a key; none if there is no such directory.
    fn names_in(&self, directory: &Path) -> io::Result<Vec<String>> {
        let found = match self.locks.names_of(directory) {
            Err(error) if is_absence(&error) => return self.absent::<()>().map(|_| Vec::new()),
            found => found?,
        };
        let mut names = Vec::with_capacity(found.len());
        for name in found {
            match name.into_string() {
                Ok(name) if is_segment(&name) => names.push(name),
                Ok(name) if self.has_written.load(Ordering::Relaxed) => remove_if_abandoned(&directory.join(name)),
                _ => {}
            }
        }
        Ok(names)
    }

    fn write_reserve(&self) -> io::Result<()> {
        let path = self.root.join(RESERVE);
        if fs::metadata(&path).is_ok_and(|metadata| metadata.len() >= RESERVE_BYTES as u64) {
            return Ok(());
        }
        // A file system that compresses would keep no room for zeros.
        let mut bytes = vec![0; RESERVE_BYTES];
        getrandom::fill(&mut bytes).map_err(io::Error::other)?;
        self.write_temporary(&self.root, &bytes)?.rename_over(&path)?;
        sync_directory(&self.root)
    }

    fn remove_reserve(&self) -> io::Result<bool> {
        match fs::remove_file(self.root.join(RESERVE)) {
            Err(error) if is_absence(&error) => self.absent::<()>().map(|_| false),
            outcome => {
                outcome?;
                sync_directory(&self.root)?;
                Ok(true)
            }
        }
    }

    fn remove_object(&self, path: &Path, directory: &Path) -> io::Result<()> {
        self.has_written.store(true, Ordering::Relaxed);
        match fs::remove_file(path) {
            Err(error) if is_absence(&error) => return self.absent::<()>().map(drop),
            outcome => outcome?,
        }
        // Callers make directories that are used once, so emptied ones would pile up. Those in the root are few.
        if directory.parent().is_some_and(|above| above != self.root && above.starts_with(&self.root)) {
            let _ = fs::remove_dir(directory);
        }
        self.names.note(directory);
        Ok(())
    }
}

impl Store for LocalStore {
    fn location(&self) -> &str {
        &self.location
    }

    fn put_new(&self, key: &str, bytes: &[u8]) -> Result<Put> {
        let (path, directory) = self.place(key)?;
        let in_context = |error| self.error("write", key, error);
        let outcome = self.create_object(&path, &directory, bytes).map_err(in_context)?;
        // Also where the key was taken: whoever took it may not have come to this, and the caller builds on what is
        // there.
        self.names.sync_directory(&directory).map_err(in_context)?;
        Ok(outcome)
    }

    fn put_content(&self, key: &str, bytes: &Bytes) -> Result<Put> {
        let (path, directory) = self.place(key)?;
        let outcome = self.create_object(&path, &directory, bytes).map_err(|error| self.error("write", key, error))?;
        self.names.note(&directory);
        Ok(outcome)
    }

    fn put(&self, key: &str, bytes: &[u8]) -> Result<()> {
        let (path, directory) = self.place(key)?;
        self.replace_object(&path, &directory, bytes).map_err(|error| self.error("write", key, error))
    }

    fn get(&self, key: &str, limit: u64) -> Result<Option<Bytes>> {
        let (path, _) = self.place(key)?;
        self.read_object(&path, key, limit)
    }

    fn get_range(&self, key: &str, offset: u64, length: usize) -> Result<Option<Bytes>> {
        let (path, _) = self.place(key)?;
        self.read_range(&path, offset, length).map_err(|error| self.read_error(key, error))
    }

    fn size(&self, key: &str) -> Result<Option<u64>> {
        let (path, directory) = self.place(key)?;
        let metadata = match fs::metadata(&path) {
            Err(error) if is_absence(&error) => self.absent(),
            outcome => outcome.map(|metadata| metadata.is_file().then_some(metadata)),
        };
        let Some(metadata) = metadata.map_err(|error| self.error("look at", key, error))? else { return Ok(None) };
        self.names.note(&directory);
        Ok(Some(metadata.len()))
    }

    fn list(&self, prefix: &str) -> Result<Vec<Listed>> {
        check_prefix(prefix)?;
        let directory = self.root.join(prefix.trim_end_matches('/'));
        let mut listed = Vec::new();
        let shown = if prefix.is_empty() { "everything" } else { prefix };
        self.list_directory(&directory, prefix, &mut listed).map_err(|error| self.error("list", shown, error))?;
        listed.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        // A directory may show a file twice that was replaced while it was read.
        listed.dedup_by(|later, kept| later.key == kept.key);
        Ok(listed)
    }

    fn retry_policy(&self) -> RetryPolicy {
        RetryPolicy::brief()
    }

    fn top_names(&self) -> Result<Vec<String>> {
        let found = self.locks.names_of(&self.root).map_err(|error| self.error("list", "everything", error))?;
        let names = found.iter().map(|name| name.to_string_lossy().into_owned());
        let mut names: Vec<String> = names.filter(|name| !is_ours_or_harmless(name)).collect();
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }

    fn delete(&self, key: &str) -> Result<()> {
        let (path, directory) = self.place(key)?;
        self.remove_object(&path, &directory).map_err(|error| self.error("delete", key, error))
    }

    fn sync(&self) -> Result<()> {
        self.names
            .sync()
            .map_err(|error| Error::store_io(format!("make what was written in {} safe on disk", self.location), error))
    }

    fn free_bytes(&self) -> Result<Option<u64>> {
        let found = rustix::fs::statvfs(&self.root).map_err(|error| {
            Error::store_io(format!("look how much room is left in {}", self.location), error.into())
        })?;
        Ok(Some(found.f_bavail.saturating_mul(found.f_frsize)))
    }

    fn keep_reserve(&self) -> Result<()> {
        self.write_reserve().map_err(|error| self.error("write", RESERVE, error))
    }

    fn use_reserve(&self) -> Result<bool> {
        self.remove_reserve().map_err(|error| self.error("delete", RESERVE, error))
    }
}

/// Paths must go on meaning the same when the process changes its working directory.
fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).map_err(|error| Error::store_io(format!("find the directory {}", path.display()), error))
}

/// Makes a directory for its owner alone, and those missing above it as the umask says; the new names survive a power
/// cut.
fn make_with_parents(path: &Path) -> io::Result<()> {
    let missing: Vec<_> = path.ancestors().take_while(|above| !above.exists()).collect();
    if let (Some(above), false) = (path.parent(), missing.is_empty()) {
        fs::create_dir_all(above)?;
    }
    match private::make_private(path) {
        Err(error) if !path.is_dir() => return Err(error),
        _ => {}
    }
    missing.iter().filter_map(|made| made.parent()).try_for_each(sync_directory)
}

/// Whether the error says that there is nothing by that name.
fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

/// An empty vector with room for `size` bytes.
fn reserve(size: u64) -> io::Result<Vec<u8>> {
    let size = usize::try_from(size).map_err(|_| ErrorKind::OutOfMemory)?;
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(size)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests;
