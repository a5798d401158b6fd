//! The files of an `.asb` target: `NAMESPACE_00000.asb`, `NAMESPACE_00001.asb`, …, or a single one, or standard output.
//!
//! A file that is being written has `.partial` behind its name, which no reader takes for a backup. Completing flushes all
//! files to the disk first and renames them last, so that a whole-looking set of files is whole.

use crate::error::{Error, Result};
use crate::sync::lock;
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// All files of a target.
pub(super) struct Files {
    path: PathBuf,
    layout: Layout,
    file_limit: u64,
    outputs: Mutex<BTreeMap<String, Arc<Output>>>,
}

/// How a target's files are laid out.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// Several in a folder, for any number of namespaces.
    Folder,
    /// One, for one namespace.
    File,
    /// None: one namespace goes to standard output.
    StandardOutput,
}

/// The files of one namespace.
pub(super) struct Output {
    path: PathBuf,
    layout: Layout,
    file_limit: u64,
    namespace: String,
    /// How each file but the first begins.
    head: Vec<u8>,
    state: Mutex<State>,
}

/// Once so many bytes were written since the disk was last told to take them, it is told again: what waits until a file is closed is
/// then little, and the disk works while records are formatted. (In tests of this crate it is told often.)
const FLUSH_STEP: u64 = if cfg!(test) { 1 << 6 } else { 32 << 20 };

/// The file that takes the next bytes.
struct Open {
    file: File,
    /// How many bytes it has.
    size: u64,
    /// How many of them were there when the last flush began.
    flushed: u64,
    /// A flush that is under way.
    flush: Option<JoinHandle<io::Result<()>>>,
}

impl Open {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
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

    /// Waits for the flush that is under way. A disk's error is told once: if it was told to that flush, no later one knows it.
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
    /// The files in order, with their final names. All but the open one are on the disk.
    paths: Vec<PathBuf>,
    /// Standard output has the head.
    begun: bool,
    /// An append failed half way: the file can't be completed any more.
    torn: bool,
    finished: bool,
}

fn temporary(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".partial");
    PathBuf::from(name)
}

fn problem(path: &Path, problem: impl Into<String>) -> Error {
    Error::Target { target_name: format!("asb:{}", path.display()), problem: problem.into() }
}

/// Makes renames in a folder last.
fn sync_folder(folder: &Path) -> Result<()> {
    let doing = || format!("flush the folder {}", folder.display());
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|e| Error::io(doing(), e))
}

fn folder_of(file: &Path) -> &Path {
    file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

impl Files {
    pub(super) fn create(path: &Path, file_limit: u64) -> Result<Self> {
        let layout = Self::check(path)?;
        let folder = match layout {
            Layout::Folder => Some((path, "the folder ")),
            Layout::File => Some((folder_of(path), "")),
            Layout::StandardOutput => None,
        };
        if let Some((folder, what)) = folder {
            let doing = || format!("make {what}{}", folder.display());
            std::fs::create_dir_all(folder).map_err(|e| Error::io(doing(), e))?;
        }
        Ok(Self { path: path.to_owned(), layout, file_limit, outputs: Mutex::default() })
    }

    /// How the files are laid out.
    pub(super) fn layout(&self) -> Layout {
        self.layout
    }

    /// Refuses a path under which something stands that would be overwritten or mixed up.
    pub(super) fn check(path: &Path) -> Result<Layout> {
        if path == Path::new("-") {
            return Ok(Layout::StandardOutput);
        }
        let single = path.extension().is_some_and(|extension| extension == "asb") && !path.is_dir();
        if single {
            if path.exists() {
                return Err(problem(path, "the file exists already; choose another name or remove it"));
            }
            return Ok(Layout::File);
        }
        let doing = || format!("list {}", path.display());
        let entries = match std::fs::read_dir(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Layout::Folder),
            entries => entries.map_err(|e| Error::io(doing(), e))?,
        };
        for entry in entries {
            let found = entry.map_err(|e| Error::io(doing(), e))?.path();
            if found.extension().is_some_and(|extension| extension == "asb") {
                let file = found.file_name().unwrap_or_default().to_string_lossy().into_owned();
                let advice = format!("the folder holds .asb files already ({file}); choose an empty one");
                return Err(problem(path, advice));
            }
        }
        Ok(Layout::Folder)
    }

    /// Begins a namespace: opens its first file, which begins with `first`; the others will begin with `head`.
    pub(super) fn begin(&self, namespace: &str, first: &[u8], head: Vec<u8>) -> Result<()> {
        let mut outputs = lock(&self.outputs);
        if outputs.contains_key(namespace) {
            return Err(problem(&self.path, format!("namespace {namespace} was begun twice")));
        }
        if self.layout != Layout::Folder && !outputs.is_empty() {
            let advice = "one .asb file holds one namespace; name a folder to restore several";
            return Err(problem(&self.path, advice));
        }
        if self.layout == Layout::Folder && (namespace.is_empty() || namespace.contains(['/', '\\', '\0'])) {
            return Err(problem(&self.path, format!("no file can be named after the namespace {namespace:?}")));
        }
        let output = Output {
            path: self.path.clone(),
            layout: self.layout,
            file_limit: self.file_limit,
            namespace: namespace.to_owned(),
            head,
            state: Mutex::default(),
        };
        output.append_behind(first, &[])?;
        outputs.insert(namespace.to_owned(), Arc::new(output));
        Ok(())
    }

    pub(super) fn output(&self, namespace: &str) -> Result<Arc<Output>> {
        let found = lock(&self.outputs).get(namespace).cloned();
        found.ok_or_else(|| problem(&self.path, format!("records of namespace {namespace} came before it was begun")))
    }

    pub(super) fn finish(&self) -> Result<()> {
        let outputs = lock(&self.outputs);
        for output in outputs.values() {
            output.close()?;
        }
        let mut renamed = false;
        for output in outputs.values() {
            renamed |= output.rename()?;
        }
        match self.layout {
            Layout::Folder if renamed => sync_folder(&self.path),
            Layout::File if renamed => sync_folder(folder_of(&self.path)),
            _ => Ok(()),
        }
    }
}

impl Output {
    /// Appends bytes that must not be torn apart, to a new file if this one is full.
    pub(super) fn append(&self, bytes: &[u8]) -> Result<()> {
        self.append_behind(&self.head, bytes)
    }

    /// Appends `bytes`; a file that is begun for them begins with `head`.
    fn append_behind(&self, head: &[u8], bytes: &[u8]) -> Result<()> {
        let mut state = lock(&self.state);
        if state.torn || state.finished {
            return Err(problem(&self.path, "it takes no more records: an earlier write failed, or it is finished"));
        }
        let result = match self.layout {
            Layout::StandardOutput => self.print(&mut state, head, bytes),
            _ => self.append_to(&mut state, head, bytes),
        };
        state.torn = result.is_err();
        result
    }

    fn print(&self, state: &mut State, head: &[u8], bytes: &[u8]) -> Result<()> {
        let mut output = std::io::stdout().lock();
        let head = if std::mem::replace(&mut state.begun, true) { &[] } else { head };
        let printed = output.write_all(head).and_then(|()| output.write_all(bytes)).and_then(|()| output.flush());
        printed.map_err(|e| Error::io("write to standard output", e))
    }

    fn append_to(&self, state: &mut State, head: &[u8], bytes: &[u8]) -> Result<()> {
        let is_full = state.open.as_ref().is_some_and(|open| open.size >= self.file_limit);
        if is_full && self.layout == Layout::Folder {
            close_open(state)?;
        }
        if state.open.is_none() {
            let path = match self.layout {
                Layout::File | Layout::StandardOutput => self.path.clone(),
                Layout::Folder => self.path.join(format!("{}_{:05}.asb", self.namespace, state.paths.len())),
            };
            let part = temporary(&path);
            let doing = || format!("create {}", part.display());
            let mut options = OpenOptions::new();
            // What a killed run left under this name is of no use.
            let file =
                options.write(true).create(true).truncate(true).open(&part).map_err(|e| Error::io(doing(), e))?;
            let mut open = Open { file, size: 0, flushed: 0, flush: None };
            open.write(head).map_err(|e| Error::io(format!("write {}", part.display()), e))?;
            state.paths.push(path);
            state.open = Some(open);
        }
        if let (Some(open), Some(path)) = (&mut state.open, state.paths.last()) {
            open.write(bytes).map_err(|e| Error::io(format!("write {}", temporary(path).display()), e))?;
        }
        Ok(())
    }

    fn close(&self) -> Result<()> {
        let mut state = lock(&self.state);
        if state.torn {
            return Err(problem(&self.path, "it can't be completed: an earlier write failed"));
        }
        close_open(&mut state)
    }

    /// Gives the files their final names; `false` if they have them already.
    fn rename(&self) -> Result<bool> {
        let mut state = lock(&self.state);
        if std::mem::replace(&mut state.finished, true) {
            return Ok(false);
        }
        // The first file, without which the others are no backup, comes last.
        for path in state.paths.iter().rev() {
            let part = temporary(path);
            let doing = || format!("rename {} to {}", part.display(), path.display());
            std::fs::rename(&part, path).map_err(|e| Error::io(doing(), e))?;
        }
        Ok(true)
    }
}

fn close_open(state: &mut State) -> Result<()> {
    if let (Some(open), Some(path)) = (state.open.take(), state.paths.last()) {
        open.close().map_err(|e| Error::io(format!("flush {}", temporary(path).display()), e))?;
    }
    Ok(())
}
