//! Writes JSON lines: `jsonl:FILE`, or `jsonl:-` for standard output. The format is in [`crate::jsonl`].

use super::partial::{Partial, begin_single, directory_of, sync_directory};
use super::{ConflictPolicy, FailedRecord, RecordTarget, WriteOutcome};
use crate::error::{Error, Result};
use crate::jsonl::{
    MAX_LINE_BYTES, write_header, write_index, write_namespace, write_record, write_role, write_udf, write_user,
};
use crate::record::{NamespaceMetadata, RecordBatch, Timestamp};
use crate::sources::RecordSource;
use crate::sources::jsonl::JsonlSource;
use crate::sync::lock;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

/// A file of JSON lines as a target.
///
/// It is written under a name of its own and gets its name in [`RecordTarget::finish`]. A file that is there already is
/// never overwritten. A target that is dropped unfinished removes what it wrote.
pub struct JsonlTarget {
    name: String,
    place: Option<Place>,
    dry_run: bool,
    output: Mutex<Box<dyn Write + Send>>,
    /// The namespaces that no line names yet.
    unnamed: Mutex<BTreeSet<String>>,
    notes: Vec<String>,
}

struct Place {
    path: PathBuf,
    partial: Mutex<Partial>,
    /// Holds the lock.
    file: File,
}

impl JsonlTarget {
    /// Begins a file, or standard output for `-`.
    ///
    /// # Errors
    ///
    /// If the file exists or can't be written.
    pub fn create(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let name = format!("jsonl:{}", path.display());
        if path == Path::new("-") {
            return Self::to_writer(Box::new(std::io::stdout()), name);
        }
        check_absent(path, &name)?;
        let (partial, file, notes) = begin_single(path, &name)?;
        let output =
            file.try_clone().map_err(|error| Error::io(format!("write {}", partial.current().display()), error))?;
        let mut target = Self::to_writer(Box::new(output), name)?;
        target.place = Some(Place { path: path.to_owned(), partial: Mutex::new(partial), file });
        target.notes = notes;
        Ok(target)
    }

    /// Says what would be written, and makes no file. What [`JsonlTarget::create`] refuses is refused too.
    ///
    /// # Errors
    ///
    /// Those of [`JsonlTarget::create`].
    pub fn dry_run(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let name = format!("jsonl:{}", path.display());
        if path != Path::new("-") {
            check_absent(path, &name)?;
            let directory = directory_of(path);
            let failed = |error| Error::io(format!("create {} in {}", path.display(), directory.display()), error);
            std::fs::read_dir(directory).map_err(failed)?;
        }
        let mut target = Self::to_writer(Box::new(std::io::sink()), name)?;
        target.dry_run = true;
        Ok(target)
    }

    /// Writes to any writer. `name` is what messages call it.
    ///
    /// # Errors
    ///
    /// If the header can't be written.
    pub fn to_writer(writer: Box<dyn Write + Send>, name: String) -> Result<Self> {
        let target = Self {
            name,
            place: None,
            dry_run: false,
            output: Mutex::new(writer),
            unnamed: Mutex::default(),
            notes: Vec::new(),
        };
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
        if lines.is_empty() {
            lock(&self.unnamed).insert(namespace.to_owned());
        }
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
        if outcome.written > 0 {
            lock(&self.unnamed).remove(namespace);
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
        let mut lines = Vec::new();
        std::mem::take(&mut *lock(&self.unnamed)).iter().for_each(|namespace| write_namespace(&mut lines, namespace));
        self.put(&lines)?;
        self.output().flush().map_err(|error| self.failed(error))?;
        let Some(place) = &self.place else { return Ok(()) };
        place.file.sync_all().map_err(|error| self.failed(error))?;
        let mut partial = lock(&place.partial);
        partial.publish()?;
        sync_directory(directory_of(&place.path))?;
        partial.settle();
        Ok(())
    }

    fn notes(&self) -> Vec<String> {
        self.notes.clone()
    }
}
