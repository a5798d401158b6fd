//! The files of an `.asb` target: `NAMESPACE_00000.asb`, `NAMESPACE_00001.asb`, …, or a single one, or standard output.
//!
//! Files that are being written have names of their own ([`crate::targets::partial`]), which no reader takes for a
//! backup. Completing flushes all files to the disk first and names them last, so that a whole-looking set of files is
//! whole. One restore at a time writes into a directory: it holds a lock on it.

use crate::asb::encrypt::{EncryptedWriter, Encryption};
use crate::error::{Error, Result};
use crate::sync::lock;
use crate::targets::partial::{Partial, at_work, begin_single, check_parent, directory_of, sweep, sync_directory};
use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// All files of a target.
pub(super) struct Files {
    path: PathBuf,
    layout: Layout,
    file_limit: u64,
    encryption: Option<Arc<Encryption>>,
    begun: Mutex<Begun>,
}

/// What is there of them.
#[derive(Default)]
struct Begun {
    /// The directory, once it is ready for them.
    directory: Option<Directory>,
    outputs: BTreeMap<String, Arc<Output>>,
}

/// A directory that takes the files.
struct Directory {
    /// It, locked; none if it can't be.
    lock: Option<File>,
    /// It was made for these files, and goes if they aren't finished.
    made: bool,
}

/// How a target's files are laid out.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// Several in a directory, for any number of namespaces.
    Directory,
    /// One, for one namespace.
    File,
    /// None: one namespace goes to standard output.
    StandardOutput,
}

impl Layout {
    /// What a path asks for.
    pub(super) fn of(path: &Path) -> Self {
        if path == Path::new("-") {
            return Layout::StandardOutput;
        }
        let is_single = path.extension().is_some_and(|extension| extension == "asb") && !path.is_dir();
        if is_single { Layout::File } else { Layout::Directory }
    }
}

/// The files of one namespace.
pub(super) struct Output {
    path: PathBuf,
    layout: Layout,
    file_limit: u64,
    encryption: Option<Arc<Encryption>>,
    namespace: String,
    /// How each file but the first begins.
    head: Vec<u8>,
    state: Mutex<State>,
}

/// Once so many bytes were written since the disk was last told to take them, it is told again: what waits until a file
/// is closed is then little, and the disk works while records are formatted. (In tests of this crate it is told often.)
const FLUSH_STEP: u64 = if cfg!(test) { 1 << 6 } else { 32 << 20 };

/// The file that takes the next bytes.
struct Open {
    file: File,
    /// Encrypts what is written, if it is to be.
    cipher: Option<EncryptedWriter>,
    /// How many bytes it has.
    size: u64,
    /// How many of them were there when the last flush began.
    flushed: u64,
    /// A flush that is under way.
    flush: Option<JoinHandle<io::Result<()>>>,
}

impl Open {
    fn begin(file: File, encryption: Option<&Encryption>) -> Result<Self> {
        let mut open = Open { file, cipher: None, size: 0, flushed: 0, flush: None };
        if let Some(encryption) = encryption {
            let (start, cipher) = encryption.begin()?;
            open.write(&start).map_err(|e| Error::io("write the beginning of an encrypted file", e))?;
            open.cipher = Some(cipher);
        }
        Ok(open)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.cipher {
            None => self.file.write_all(bytes)?,
            Some(cipher) => cipher.write_all(&mut self.file, bytes)?,
        }
        self.size += bytes.len() as u64;
        let is_idle = self.flush.as_ref().is_none_or(JoinHandle::is_finished);
        if self.size - self.flushed >= FLUSH_STEP && is_idle {
            self.wait()?;
            let file = self.file.try_clone()?;
            self.flushed = self.size;
            self.flush = Some(std::thread::spawn(move || file.sync_data()));
        }
        Ok(())
    }

    /// Waits for the flush that is under way. A disk's error is told once: if it was told to that flush, no later one
    /// knows it.
    fn wait(&mut self) -> io::Result<()> {
        let panicked = |_| Err(io::Error::other("the thread that flushed it panicked"));
        self.flush.take().map_or(Ok(()), |flush| flush.join().unwrap_or_else(panicked))
    }

    fn close(mut self) -> io::Result<()> {
        self.wait()?;
        self.file.sync_all()
    }
}

#[derive(Default)]
struct State {
    open: Option<Open>,
    /// The files in order. All but the open one are on the disk.
    files: Vec<Partial>,
    /// Standard output has the head.
    begun: bool,
    /// Encrypts what goes to standard output, if it is to be.
    cipher: Option<EncryptedWriter>,
    /// An append failed half way: the file can't be completed any more.
    torn: bool,
    finished: bool,
}

fn problem(path: &Path, problem: impl Into<String>) -> Error {
    Error::Target { target_name: format!("asb:{}", path.display()), problem: problem.into() }
}

/// Locks a directory that restores write into; none if it can't be locked. It is an error if another restore has it.
fn lock_directory(path: &Path) -> Result<Option<File>> {
    let directory = File::open(path).map_err(|e| Error::io(format!("open the directory {}", path.display()), e))?;
    match directory.try_lock() {
        Ok(()) => Ok(Some(directory)),
        Err(TryLockError::WouldBlock) => {
            Err(at_work(&format!("asb:{}", path.display()), path, "choose another directory"))
        }
        // A file system without locks, or without locks on directories.
        Err(TryLockError::Error(_)) => Ok(None),
    }
}

impl Files {
    /// Looks whether they can be made, and makes none.
    pub(super) fn new(path: &Path, file_limit: u64, encryption: Option<Encryption>) -> Result<Self> {
        let layout = Self::check(path)?;
        Ok(Self {
            path: path.to_owned(),
            layout,
            file_limit,
            encryption: encryption.map(Arc::new),
            begun: Mutex::default(),
        })
    }

    /// Makes and locks the directory; also what to tell of what was there.
    fn ready(&self) -> Result<(Directory, Vec<String>)> {
        let made = match std::fs::create_dir(&self.path) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
            Err(error) => return Err(Error::io(format!("make the directory {}", self.path.display()), error)),
        };
        let lock = lock_directory(&self.path)?;
        // Another restore may have finished before the lock was free.
        Self::check(&self.path)?;
        let found = sweep(&self.path, |name| name.ends_with(".asb"), lock.is_some())?;
        match found.at_work.first() {
            Some(other) => Err(at_work(&format!("asb:{}", self.path.display()), other, "choose another directory")),
            None => Ok((Directory { lock, made }, found.notes())),
        }
    }

    /// How the files are laid out.
    pub(super) fn layout(&self) -> Layout {
        self.layout
    }

    /// Refuses a path under which something is that would be overwritten or mixed up, or where nothing can be made.
    fn check(path: &Path) -> Result<Layout> {
        match Layout::of(path) {
            Layout::File if path.exists() => {
                return Err(problem(path, "the file exists already; choose another name or remove it"));
            }
            Layout::File => {
                check_parent(path, &format!("asb:{}", path.display()))?;
                return Ok(Layout::File);
            }
            Layout::StandardOutput => return Ok(Layout::StandardOutput),
            Layout::Directory => {}
        }
        let doing = || format!("list {}", path.display());
        let entries = match std::fs::read_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                check_parent(path, &format!("asb:{}", path.display()))?;
                return Ok(Layout::Directory);
            }
            entries => entries.map_err(|e| Error::io(doing(), e))?,
        };
        for entry in entries {
            let found = entry.map_err(|e| Error::io(doing(), e))?.path();
            if found.extension().is_some_and(|extension| extension == "asb") {
                let file = found.file_name().unwrap_or_default().to_string_lossy().into_owned();
                let advice = format!("the directory holds .asb files already ({file}); choose an empty one");
                return Err(problem(path, advice));
            }
        }
        Ok(Layout::Directory)
    }

    /// Refuses a namespace that these files can't take.
    pub(super) fn check_namespace(&self, namespace: &str) -> Result<()> {
        self.may_begin(&lock(&self.begun).outputs, namespace)
    }

    fn may_begin(&self, outputs: &BTreeMap<String, Arc<Output>>, namespace: &str) -> Result<()> {
        if outputs.contains_key(namespace) {
            return Err(problem(&self.path, format!("namespace {namespace} was begun twice")));
        }
        if self.layout != Layout::Directory && !outputs.is_empty() {
            let advice = "one .asb file holds one namespace; name a directory to restore several";
            return Err(problem(&self.path, advice));
        }
        if self.layout == Layout::Directory && (namespace.is_empty() || namespace.contains(['/', '\\', '\0'])) {
            return Err(problem(&self.path, format!("no file can be named after the namespace {namespace:?}")));
        }
        Ok(())
    }

    /// Begins a namespace: opens its first file, which begins with `first`; the others will begin with `head`. Gives
    /// back what to tell people of what was there.
    pub(super) fn begin(&self, namespace: &str, first: &[u8], head: Vec<u8>) -> Result<Vec<String>> {
        let mut begun = lock(&self.begun);
        self.may_begin(&begun.outputs, namespace)?;
        let mut notes = Vec::new();
        if self.layout == Layout::Directory && begun.directory.is_none() {
            let (directory, found) = self.ready()?;
            begun.directory = Some(directory);
            notes = found;
        }
        let output = Output {
            path: self.path.clone(),
            layout: self.layout,
            file_limit: self.file_limit,
            encryption: self.encryption.clone(),
            namespace: namespace.to_owned(),
            head,
            state: Mutex::default(),
        };
        notes.extend(output.append_behind(first, &[])?);
        begun.outputs.insert(namespace.to_owned(), Arc::new(output));
        Ok(notes)
    }

    pub(super) fn output(&self, namespace: &str) -> Result<Arc<Output>> {
        let found = lock(&self.begun).outputs.get(namespace).cloned();
        found.ok_or_else(|| problem(&self.path, format!("records of namespace {namespace} came before it was begun")))
    }

    pub(super) fn finish(&self) -> Result<()> {
        let begun = lock(&self.begun);
        let outputs = &begun.outputs;
        for output in outputs.values() {
            output.close()?;
        }
        let mut named = false;
        for output in outputs.values() {
            named |= output.publish()?;
        }
        match self.layout {
            Layout::Directory if named => sync_directory(&self.path)?,
            Layout::File if named => sync_directory(directory_of(&self.path))?,
            _ => {}
        }
        // Up to here an error takes all of them away again.
        outputs.values().for_each(|output| output.settle());
        Ok(())
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let mut begun = lock(&self.begun);
        begun.outputs.clear();
        if let Some(Directory { lock: _lock, made: true }) = begun.directory.take() {
            // It goes only if it is empty: what is in it was finished, or is not ours.
            let _ = std::fs::remove_dir(&self.path);
        }
    }
}

impl Output {
    /// Appends bytes that must not be torn apart, to a new file if this one is full.
    pub(super) fn append(&self, bytes: &[u8]) -> Result<()> {
        self.append_behind(&self.head, bytes).map(|_| ())
    }

    /// Appends `bytes`; a file that is begun for them begins with `head`. Returns what to tell people.
    fn append_behind(&self, head: &[u8], bytes: &[u8]) -> Result<Vec<String>> {
        let mut state = lock(&self.state);
        if state.torn || state.finished {
            return Err(problem(&self.path, "it takes no more records: an earlier write failed, or it is finished"));
        }
        let result = match self.layout {
            Layout::StandardOutput => self.print(&mut state, head, bytes).map(|()| Vec::new()),
            _ => self.append_to(&mut state, head, bytes),
        };
        state.torn = result.is_err();
        result
    }

    fn print(&self, state: &mut State, head: &[u8], bytes: &[u8]) -> Result<()> {
        let mut output = std::io::stdout().lock();
        let failed = |e| Error::io("write to standard output", e);
        let begun = std::mem::replace(&mut state.begun, true);
        if let (false, Some(encryption)) = (begun, &self.encryption) {
            let (start, cipher) = encryption.begin()?;
            output.write_all(&start).map_err(failed)?;
            state.cipher = Some(cipher);
        }
        for part in [if begun { &[] } else { head }, bytes] {
            let printed = match &mut state.cipher {
                None => output.write_all(part),
                Some(cipher) => cipher.write_all(&mut output, part),
            };
            printed.map_err(failed)?;
        }
        output.flush().map_err(failed)
    }

    fn append_to(&self, state: &mut State, head: &[u8], bytes: &[u8]) -> Result<Vec<String>> {
        let is_full = state.open.as_ref().is_some_and(|open| open.size >= self.file_limit);
        if is_full && self.layout == Layout::Directory {
            close_open(state)?;
        }
        let mut notes = Vec::new();
        if state.open.is_none() {
            let (partial, file) = match self.layout {
                Layout::File | Layout::StandardOutput => {
                    let (partial, file, found) = begin_single(&self.path, &format!("asb:{}", self.path.display()))?;
                    notes = found;
                    (partial, file)
                }
                Layout::Directory => {
                    Partial::create(&self.path.join(format!("{}_{:05}.asb", self.namespace, state.files.len())))?
                }
            };
            let mut open = Open::begin(file, self.encryption.as_deref())?;
            open.write(head).map_err(|e| Error::io(format!("write {}", partial.current().display()), e))?;
            state.files.push(partial);
            state.open = Some(open);
        }
        if let (Some(open), Some(partial)) = (&mut state.open, state.files.last()) {
            open.write(bytes).map_err(|e| Error::io(format!("write {}", partial.current().display()), e))?;
        }
        Ok(notes)
    }

    fn close(&self) -> Result<()> {
        let mut state = lock(&self.state);
        if state.torn {
            return Err(problem(&self.path, "it can't be completed: an earlier write failed"));
        }
        close_open(&mut state)
    }

    /// Gives the files their final names; `false` if they have them already.
    fn publish(&self) -> Result<bool> {
        let mut state = lock(&self.state);
        if state.finished {
            return Ok(false);
        }
        // The first file, without which the others are no backup, comes last.
        let named = state.files.iter_mut().rev().try_for_each(Partial::publish);
        state.torn = named.is_err();
        state.finished = named.is_ok();
        named.map(|()| true)
    }

    /// Lets the files stay.
    fn settle(&self) {
        lock(&self.state).files.iter_mut().for_each(Partial::settle);
    }
}

fn close_open(state: &mut State) -> Result<()> {
    if let (Some(open), Some(partial)) = (state.open.take(), state.files.last()) {
        open.close().map_err(|e| Error::io(format!("flush {}", partial.current().display()), e))?;
    }
    Ok(())
}
