//! Writes JSON lines: `jsonl:FILE`, or `jsonl:-` for standard output. The format is in [`crate::jsonl`].

use super::{ConflictPolicy, FailedRecord, RecordTarget, WriteOutcome};
use crate::error::{Error, Result};
use crate::jsonl::{MAX_LINE_BYTES, write_header, write_index, write_record, write_role, write_udf, write_user};
use crate::record::{NamespaceMetadata, RecordBatch, Timestamp};
use crate::source::RecordSource;
use crate::source::jsonl::JsonlSource;
use crate::sync::lock;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

/// A file of JSON lines as a target.
///
/// It is written as `FILE.partial` and gets its name in [`RecordTarget::finish`]. A file that is there already is never
/// overwritten. A target that is dropped unfinished removes what it wrote.
pub struct JsonlTarget {
    name: String,
    place: Option<Place>,
    dry_run: bool,
    output: Mutex<Box<dyn Write + Send>>,
}

struct Place {
    path: PathBuf,
    partial: PathBuf,
    /// Holds the lock.
    file: File,
    finished: std::sync::atomic::AtomicBool,
}

impl JsonlTarget {
    /// Begins a file, or standard output for `-`.
    pub fn create(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let name = format!("jsonl:{}", path.display());
        if path == Path::new("-") {
            return Self::to_writer(Box::new(std::io::stdout()), name);
        }
        check_absent(path, &name)?;
        let mut partial = path.as_os_str().to_owned();
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        let file = open_partial(&partial, &name)?;
        let output = file.try_clone().map_err(|error| Error::io(format!("write {}", partial.display()), error))?;
        let finished = false.into();
        let mut target = Self::to_writer(Box::new(output), name)?;
        target.place = Some(Place { path: path.to_owned(), partial, file, finished });
        Ok(target)
    }

    /// Says what would be written, and makes no file. What [`JsonlTarget::create`] refuses is refused too.
    pub fn dry_run(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let name = format!("jsonl:{}", path.display());
        if path != Path::new("-") {
            check_absent(path, &name)?;
            let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let failed = |error| Error::io(format!("create {} in {}", path.display(), folder.display()), error);
            std::fs::read_dir(folder).map_err(failed)?;
        }
        let mut target = Self::to_writer(Box::new(std::io::sink()), name)?;
        target.dry_run = true;
        Ok(target)
    }

    /// Writes to any writer. `name` is what messages call it.
    pub fn to_writer(writer: Box<dyn Write + Send>, name: String) -> Result<Self> {
        let target = Self { name, place: None, dry_run: false, output: Mutex::new(writer) };
        let mut header = Vec::new();
        write_header(&mut header);
        target.put(&header)?;
        Ok(target)
    }

    fn output(&self) -> MutexGuard<'_, Box<dyn Write + Send>> {
        lock(&self.output)
    }

    fn failed(&self, error: std::io::Error) -> Error {
        Error::io(format!("write {}", self.name), error)
    }

    fn put(&self, lines: &[u8]) -> Result<()> {
        self.output().write_all(lines).map_err(|error| self.failed(error))
    }
}

/// Refuses a file that is there.
fn check_absent(path: &Path, target_name: &str) -> Result<()> {
    if !path.exists() {
        return Ok(());
    }
    let problem = "the file exists, and is not overwritten. Remove it, or name another".into();
    Err(Error::Target { target_name: target_name.to_owned(), problem })
}

/// Opens the file under its temporary name. One that a crash left is begun anew; one that is in use is left alone.
fn open_partial(partial: &Path, target_name: &str) -> Result<File> {
    let failed = |error| Error::io(format!("create {}", partial.display()), error);
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(partial).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let problem =
                format!("{} is being written by another process. Wait for it, or name another file", partial.display());
            return Err(Error::Target { target_name: target_name.to_owned(), problem });
        }
        // A file system without locks.
        Err(TryLockError::Error(_)) => {}
    }
    file.set_len(0).map_err(failed)?;
    Ok(file)
}

/// Gives the file its name, unless that is taken.
fn rename(place: &Place) -> std::io::Result<()> {
    match std::fs::hard_link(&place.partial, &place.path) {
        Ok(()) => return std::fs::remove_file(&place.partial),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return Err(error),
        // A file system without hard links.
        Err(_) => {}
    }
    if place.path.exists() {
        return Err(ErrorKind::AlreadyExists.into());
    }
    std::fs::rename(&place.partial, &place.path)
}

impl RecordTarget for JsonlTarget {
    fn name(&self) -> &str {
        &self.name
    }

    fn is_live(&self) -> bool {
        false
    }

    fn is_dry_run(&self) -> bool {
        self.dry_run
    }

    fn clock(&self) -> Result<Timestamp> {
        Ok(Timestamp::now())
    }

    fn begin(&self, namespace: &str, metadata: &NamespaceMetadata) -> Result<()> {
        let mut lines = Vec::new();
        metadata.indexes.iter().for_each(|index| write_index(&mut lines, namespace, index));
        metadata.udfs.iter().for_each(|udf| write_udf(&mut lines, namespace, udf));
        metadata.roles.iter().for_each(|role| write_role(&mut lines, namespace, role));
        metadata.users.iter().for_each(|user| write_user(&mut lines, namespace, user));
        self.put(&lines)
    }

    /// Every record is written: a new file has no conflicts.
    fn write(&self, namespace: &str, batch: &RecordBatch, _policy: ConflictPolicy) -> Result<WriteOutcome> {
        let mut lines = Vec::with_capacity(batch.byte_len() * 2 + batch.len() * 300);
        let mut outcome = WriteOutcome::default();
        for record in batch.iter() {
            let start = lines.len();
            let reason = match write_record(&mut lines, namespace, &record) {
                Ok(()) if lines.len() - start <= MAX_LINE_BYTES => {
                    outcome.written += 1;
                    continue;
                }
                Ok(()) => format!("its line would be longer than {MAX_LINE_BYTES} bytes"),
                Err(error) => error.to_string(),
            };
            lines.truncate(start);
            outcome.failed.push(FailedRecord { digest: record.meta.digest, reason });
        }
        self.put(&lines)?;
        Ok(outcome)
    }

    fn read_back(&self, _set: Option<&[u8]>) -> Result<Option<Box<dyn RecordSource>>> {
        match &self.place {
            Some(place) => Ok(Some(Box::new(JsonlSource::open(&place.path)?))),
            None => Ok(None),
        }
    }

    fn finish(&self) -> Result<()> {
        self.output().flush().map_err(|error| self.failed(error))?;
        let Some(place) = &self.place else { return Ok(()) };
        place.file.sync_all().map_err(|error| self.failed(error))?;
        rename(place).map_err(|error| {
            Error::io(format!("give {} the name {}", place.partial.display(), place.path.display()), error)
        })?;
        place.finished.store(true, std::sync::atomic::Ordering::Relaxed);
        Ok(())
    }
}

impl Drop for JsonlTarget {
    fn drop(&mut self) {
        if let Some(place) = &self.place
            && !place.finished.load(std::sync::atomic::Ordering::Relaxed)
        {
            // What stays behind bears a name that nobody takes for a whole file.
            let _ = std::fs::remove_file(&place.partial);
        }
    }
}
