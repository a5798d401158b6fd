//! Writes JSON lines: `jsonl:FILE`, or `jsonl:-` for standard output. The format is in [`crate::jsonl`].

use super::partial::{Partial, begin_single, check_parent, directory_of, sync_directory};
use super::{ConflictPolicy, FailedRecord, RecordTarget, Remarks, WriteOutcome};
use crate::error::{Error, Result};
use crate::jsonl::{
    MAX_LINE_BYTES, write_header, write_index, write_namespace, write_record, write_refused_record, write_role,
    write_udf, write_user,
};
use crate::record::{BodyError, Digest, NamespaceMetadata, RecordBatch, RecordView, Timestamp};
use crate::sources::RecordSource;
use crate::sources::jsonl::JsonlSource;
use crate::sync::lock;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// A file of JSON lines as a target.
///
/// It is written under a name of its own and gets its name in [`RecordTarget::finish`]. A file that is there already is
/// never overwritten. A target that is dropped unfinished removes what it wrote.
pub struct JsonlTarget {
    name: String,
    /// The file's name; none if the lines go to a writer.
    path: Option<PathBuf>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Where the lines go; none until there is a file.
    output: Option<Box<dyn Write + Send>>,
    /// The file on its way, and the handle that holds its lock.
    file: Option<(Partial, File)>,
    /// The header is written.
    begun: bool,
    /// A write failed half way: the file can't be completed any more.
    torn: bool,
    /// The namespaces that no line names yet.
    unnamed: BTreeSet<String>,
}

impl JsonlTarget {
    /// A file that is made once something is restored into it, or standard output for `-`.
    ///
    /// # Errors
    ///
    /// If the file exists, or its directory doesn't.
    pub fn new(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let name = format!("jsonl:{}", path.display());
        if path == Path::new("-") {
            return Ok(Self::to_writer(Box::new(std::io::stdout()), name));
        }
        check_absent(path, &name)?;
        check_parent(path, &name)?;
        Ok(Self { name, path: Some(path.to_owned()), state: Mutex::default() })
    }

    /// Writes to any writer. `name` is what messages call it.
    pub fn to_writer(writer: Box<dyn Write + Send>, name: String) -> Self {
        Self { name, path: None, state: Mutex::new(State { output: Some(writer), ..State::default() }) }
    }

    fn failed(&self, error: std::io::Error) -> Error {
        Error::io(format!("write {}", self.name), error)
    }

    /// Makes the file, if there is to be one and it isn't there yet, and appends lines. Gives back what to tell people.
    fn put(&self, state: &mut State, lines: &[u8]) -> Result<Vec<String>> {
        let mut notes = Vec::new();
        if let (None, Some(path)) = (&state.output, &self.path) {
            // One may have come since the target was made.
            check_absent(path, &self.name)?;
            let (partial, file, found) = begin_single(path, &self.name)?;
            let output = file.try_clone();
            let output = output.map_err(|error| Error::io(format!("write {}", partial.current().display()), error))?;
            state.output = Some(Box::new(output));
            state.file = Some((partial, file));
            notes = found;
        }
        let mut header = Vec::new();
        if !state.begun {
            write_header(&mut header);
        }
        let Some(output) = state.output.as_mut().filter(|_| !state.torn) else {
            let problem = "it takes no more lines: an earlier write failed".into();
            return Err(Error::Target { target_name: self.name.clone(), problem });
        };
        state.torn = true;
        output.write_all(&header).and_then(|()| output.write_all(lines)).map_err(|error| self.failed(error))?;
        (state.begun, state.torn) = (true, false);
        Ok(notes)
    }
}

impl JsonlTarget {
    /// Writes the records of a batch that another target refused, with the reasons; says which of them it can't write
    /// either, and why.
    pub(super) fn write_refused(
        &self,
        namespace: &str,
        batch: &RecordBatch,
        reasons: &BTreeMap<Digest, &str>,
    ) -> Result<BTreeMap<Digest, String>> {
        let (mut lines, mut unwritten) = (Vec::new(), BTreeMap::new());
        for record in batch.iter() {
            let Some(reason) = reasons.get(&record.meta.digest) else { continue };
            put_line(&mut lines, &record, &mut unwritten, |lines| {
                write_refused_record(lines, namespace, &record, reason)
            });
        }
        self.put(&mut lock(&self.state), &lines)?;
        Ok(unwritten)
    }
}

/// Appends the line of a record, or says why it can't be written; then nothing is appended.
fn put_line(
    lines: &mut Vec<u8>,
    record: &RecordView<'_>,
    unwritten: &mut BTreeMap<Digest, String>,
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), BodyError>,
) {
    let start = lines.len();
    let reason = match write(lines) {
        Ok(()) if lines.len() - start <= MAX_LINE_BYTES => return,
        Ok(()) => format!("its line would be longer than {MAX_LINE_BYTES} bytes"),
        Err(error) => error.to_string(),
    };
    lines.truncate(start);
    unwritten.insert(record.meta.digest, reason);
}

/// Refuses a file that is there.
fn check_absent(path: &Path, target_name: &str) -> Result<()> {
    if !path.exists() {
        return Ok(());
    }
    let problem = "the file exists, and is not overwritten. Remove it, or name another".into();
    Err(Error::Target { target_name: target_name.to_owned(), problem })
}

/// Appends the lines of a batch's records; those that can't be written are named with the reason.
fn format_batch(lines: &mut Vec<u8>, namespace: &str, batch: &RecordBatch) -> WriteOutcome {
    let mut unwritten = BTreeMap::new();
    for record in batch.iter() {
        put_line(lines, &record, &mut unwritten, |lines| write_record(lines, namespace, &record));
    }
    let written = (batch.len() - unwritten.len()) as u64;
    let failed = unwritten.into_iter().map(|(digest, reason)| FailedRecord { digest, reason }).collect();
    WriteOutcome { written, failed, ..WriteOutcome::default() }
}

fn lines_for(batch: &RecordBatch) -> Vec<u8> {
    Vec::with_capacity(batch.byte_len() * 2 + batch.len() * 300)
}

impl RecordTarget for JsonlTarget {
    fn name(&self) -> &str {
        &self.name
    }

    fn is_live(&self) -> bool {
        false
    }

    fn clock(&self) -> Result<Timestamp> {
        Ok(Timestamp::now())
    }

    fn preview_write(&self, namespace: &str, batch: &RecordBatch, _policy: ConflictPolicy) -> Result<WriteOutcome> {
        Ok(format_batch(&mut lines_for(batch), namespace, batch))
    }

    fn begin(&self, namespace: &str, metadata: &NamespaceMetadata) -> Result<Remarks> {
        let mut lines = Vec::new();
        metadata.indexes.iter().for_each(|index| write_index(&mut lines, namespace, index));
        metadata.udfs.iter().for_each(|udf| write_udf(&mut lines, namespace, udf));
        metadata.roles.iter().for_each(|role| write_role(&mut lines, namespace, role));
        metadata.users.iter().for_each(|user| write_user(&mut lines, namespace, user));
        let mut state = lock(&self.state);
        let notes = self.put(&mut state, &lines)?;
        if lines.is_empty() {
            state.unnamed.insert(namespace.to_owned());
        }
        Ok(Remarks { notes, ..Remarks::default() })
    }

    /// Every record is written: a new file has no conflicts.
    fn write(&self, namespace: &str, batch: &RecordBatch, _policy: ConflictPolicy) -> Result<WriteOutcome> {
        let mut lines = lines_for(batch);
        let outcome = format_batch(&mut lines, namespace, batch);
        let mut state = lock(&self.state);
        self.put(&mut state, &lines)?;
        if outcome.written > 0 {
            state.unnamed.remove(namespace);
        }
        Ok(outcome)
    }

    fn read_back(&self, _set: Option<&[u8]>) -> Result<Option<Box<dyn RecordSource>>> {
        match &self.path {
            Some(path) => Ok(Some(Box::new(JsonlSource::open(path)?))),
            None => Ok(None),
        }
    }

    fn finish(&self) -> Result<()> {
        let mut state = lock(&self.state);
        let mut lines = Vec::new();
        std::mem::take(&mut state.unnamed).iter().for_each(|namespace| write_namespace(&mut lines, namespace));
        self.put(&mut state, &lines)?;
        let State { output, file, .. } = &mut *state;
        output.iter_mut().try_for_each(|output| output.flush()).map_err(|error| self.failed(error))?;
        let (Some((partial, file)), Some(path)) = (file, &self.path) else { return Ok(()) };
        file.sync_all().map_err(|error| self.failed(error))?;
        partial.publish()?;
        sync_directory(directory_of(path))?;
        partial.settle();
        Ok(())
    }
}
