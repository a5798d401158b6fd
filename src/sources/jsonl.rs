//! Reads JSON lines: `jsonl:FILE`, or `jsonl:-` for standard input.
//!
//! One thread reads the file in groups of lines, the others parse them. The format is in [`crate::jsonl`].

mod groups;

use super::{BadRecord, RecordSink, RecordSource, SourceShape, StreamSource};
use crate::control::Control;
use crate::error::{Error, Result};
use crate::jsonl::{self, Line, LineError, MAX_LINE_BYTES, breaks_off, line_namespace, parse_line};
use crate::record::{NamespaceMetadata, RecordBatch, Timestamp};
use crate::sync::lock;
use crossbeam_channel::Receiver;
use groups::{Group, Groups};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use tempfile::NamedTempFile;

/// A batch is handed on once its bodies reach this many bytes.
const BATCH_BYTES: usize = 1 << 20;
/// The longest first line that is looked at, in bytes.
const MAX_HEADER_BYTES: u64 = 4096;

enum Input {
    File(PathBuf),
    /// What standard input said, kept because it is read more than once.
    Copied(NamedTempFile),
}

/// A file of JSON lines as a source.
///
/// The file is read once to find its namespaces, indexes and UDF modules, then once for each namespace. A line that
/// can't be parsed is reported to the sink with the namespace that it names, or with the first if it names none. One
/// that the file breaks off in is reported with each.
pub struct JsonlSource {
    input: Input,
    name: String,
    overview: Mutex<Option<Overview>>,
}

/// What the first reading finds.
#[derive(Clone, Default)]
struct Overview {
    namespaces: BTreeMap<String, NamespaceMetadata>,
    /// Indexes and UDF modules with the offsets of their lines, until all threads are done and the order is known.
    metadata: Vec<(u64, String, NamespaceMetadata)>,
    /// The first line that named no namespace.
    bad: Option<(u64, LineError)>,
}

impl JsonlSource {
    /// Opens a file, or standard input for `-`, which is first copied to a temporary file (private, deleted at the
    /// end): it is read more than once. Checks the first line.
    ///
    /// # Errors
    ///
    /// If the file can't be read, or its first line is not the header of such a file.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let name = format!("jsonl:{}", path.display());
        let input = if path == Path::new("-") {
            Input::Copied(copy_to_temporary(&mut std::io::stdin().lock(), &name)?)
        } else {
            Input::File(path.to_owned())
        };
        Self::new(input, name)
    }

    /// Reads all of `reader` into a temporary file, and uses that. `name` is what messages call it.
    ///
    /// # Errors
    ///
    /// If it can't be read or copied, or its first line is not the header of such a file.
    pub fn from_reader(reader: &mut dyn Read, name: &str) -> Result<Self> {
        Self::new(Input::Copied(copy_to_temporary(reader, name)?), name.to_owned())
    }

    fn new(input: Input, name: String) -> Result<Self> {
        let source = Self { input, name, overview: Mutex::new(None) };
        let mut first = Vec::new();
        BufReader::new(source.file()?)
            .take(MAX_HEADER_BYTES)
            .read_until(b'\n', &mut first)
            .map_err(|error| source.unreadable(error))?;
        match parse_line(&first) {
            Ok(Line::Header(version)) => source.check_version(version)?,
            _ => {
                let found = if first.is_empty() { "an empty file" } else { "another first line" };
                let expected = format!(r#"the header {{"aerolith":"jsonl","version":{}}}"#, jsonl::VERSION);
                let (source_name, found) = (source.name, found.to_owned());
                return Err(Error::Malformed { source_name, offset: 0, expected, found });
            }
        }
        Ok(source)
    }

    fn unreadable(&self, error: std::io::Error) -> Error {
        Error::io(format!("read {}", self.name), error)
    }

    fn file(&self) -> Result<File> {
        let file = match &self.input {
            Input::File(path) => File::open(path),
            Input::Copied(file) => file.reopen(),
        };
        file.map_err(|error| self.unreadable(error))
    }

    fn check_version(&self, found: u32) -> Result<()> {
        if found == jsonl::VERSION {
            return Ok(());
        }
        Err(Error::UnknownVersion { object: self.name.clone(), found, known: jsonl::VERSION })
    }

    fn malformed(&self, line_start: u64, error: LineError) -> Error {
        let LineError { offset, expected, found } = error;
        Error::Malformed { source_name: self.name.clone(), offset: line_start + offset as u64, expected, found }
    }

    /// Reports a bad line, in which the file may break off. Returns `Ok` if the sink wants to go on.
    fn report(&self, sink: &dyn RecordSink, line_start: u64, error: LineError, breaks_off: bool) -> Result<()> {
        let place = format!("{} at byte {}", self.name, line_start + error.offset as u64);
        let problem = format!("expected {}, found {}", error.expected, error.found);
        sink.bad_record(BadRecord { place, problem, breaks_off }, self.malformed(line_start, error))
    }

    fn overview(&self) -> Result<Overview> {
        let mut known = lock(&self.overview);
        if let Some(overview) = &*known {
            return Ok(overview.clone());
        }
        let merged = Mutex::new(Overview::default());
        self.each_line(&Control::new(), false, || FirstReading {
            source: self,
            found: Overview::default(),
            merged: &merged,
        })?;
        let mut overview = merged.into_inner().unwrap_or_else(PoisonError::into_inner);
        overview.metadata.sort_by_key(|(start, ..)| *start);
        for (_, namespace, metadata) in std::mem::take(&mut overview.metadata) {
            overview.namespaces.entry(namespace).or_default().merge(metadata);
        }
        if let (true, Some((line_start, error))) = (overview.namespaces.is_empty(), &overview.bad) {
            return Err(self.malformed(*line_start, error.clone()));
        }
        *known = Some(overview.clone());
        Ok(overview)
    }

    /// Has workers take all lines of the file. `make` makes one for each thread. Counts bytes if asked to.
    fn each_line<W: LineWorker>(&self, control: &Control, count: bool, make: impl Fn() -> W + Sync) -> Result<()> {
        let threads = std::thread::available_parallelism().map_or(2, usize::from).min(16);
        let (sender, receiver) = crossbeam_channel::bounded::<Group>(threads);
        let stopped = AtomicBool::new(false);
        let work = |receiver: Receiver<Group>| {
            let mut worker = make();
            let mut failed = None;
            for group in receiver {
                // After an error anywhere the rest is only drained, so that the reading thread never waits for ever.
                if stopped.load(Ordering::Relaxed) {
                    continue;
                }
                if let Err(error) = take_group(&mut worker, &group) {
                    stopped.store(true, Ordering::Relaxed);
                    failed = Some(error);
                }
            }
            match failed {
                Some(error) => Err(error),
                None if stopped.load(Ordering::Relaxed) => Ok(()),
                None => worker.finish(),
            }
        };
        std::thread::scope(|scope| {
            let work = &work;
            let spawn = |_| {
                let receiver = receiver.clone();
                scope.spawn(move || work(receiver))
            };
            let workers: Vec<_> = (0..threads).map(spawn).collect();
            drop(receiver);
            let take = |group| !stopped.load(Ordering::Relaxed) && sender.send(group).is_ok();
            let mut result = self.read_groups(control, count, take);
            if result.is_err() {
                stopped.store(true, Ordering::Relaxed);
            }
            drop(sender);
            for worker in workers {
                let worked = worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                result = result.and(worked);
            }
            result
        })
    }

    /// Reads the file and hands on its groups until `take` returns false.
    fn read_groups(&self, control: &Control, count: bool, mut take: impl FnMut(Group) -> bool) -> Result<()> {
        let mut groups = Groups::new(self.file()?);
        while let Some(group) = groups.next().map_err(|error| self.unreadable(error))? {
            control.check()?;
            if count {
                control.add_bytes_in(group.byte_len());
            }
            if !take(group) {
                break;
            }
        }
        Ok(())
    }
}

fn copy_to_temporary(reader: &mut dyn Read, name: &str) -> Result<NamedTempFile> {
    let copied = NamedTempFile::new().and_then(|mut file| std::io::copy(reader, &mut file).map(|_| file));
    copied.map_err(|error| Error::io(format!("copy {name} to a temporary file"), error))
}

/// Takes lines on one thread.
trait LineWorker {
    /// Takes a line without its end, never an empty one. Only the last of the file may not have had one.
    fn line(&mut self, start: u64, line: &[u8], has_end: bool) -> Result<()>;
    /// Takes note of a line that is no line.
    fn bad(&mut self, start: u64, error: LineError) -> Result<()>;
    /// Hands on what is left.
    fn finish(self) -> Result<()>;
}

fn take_group(worker: &mut impl LineWorker, group: &Group) -> Result<()> {
    match group {
        Group::TooLong { start, length } => {
            let expected = format!("a line of at most {MAX_LINE_BYTES} bytes");
            worker.bad(*start, LineError { offset: 0, expected, found: format!("one of {length} bytes") })
        }
        Group::Lines { start, bytes } => {
            let mut at = *start;
            for line in bytes.split_inclusive(|&byte| byte == b'\n') {
                let text = line.trim_ascii_end();
                if !text.is_empty() {
                    worker.line(at, text, line.ends_with(b"\n"))?;
                }
                at += line.len() as u64;
            }
            Ok(())
        }
    }
}

/// The first reading: namespaces and what they have beside records.
struct FirstReading<'s> {
    source: &'s JsonlSource,
    found: Overview,
    merged: &'s Mutex<Overview>,
}

impl FirstReading<'_> {
    fn note(&mut self, namespace: &str) {
        if !self.found.namespaces.contains_key(namespace) {
            self.found.namespaces.insert(namespace.to_owned(), NamespaceMetadata::default());
        }
    }
}

impl LineWorker for FirstReading<'_> {
    fn line(&mut self, start: u64, line: &[u8], _: bool) -> Result<()> {
        let named = match line_namespace(line) {
            Ok(named) => named,
            Err(error) => return self.bad(start, error),
        };
        let Some(namespace) = named.namespace else {
            return match parse_line(line) {
                Ok(Line::Header(version)) => self.source.check_version(version),
                Ok(_) => Ok(()),
                Err(error) => self.bad(start, error),
            };
        };
        self.note(&namespace);
        if !named.is_metadata {
            return Ok(());
        }
        let mut metadata = NamespaceMetadata::default();
        match parse_line(line) {
            Ok(Line::Index(_, index)) => metadata.indexes.push(index),
            Ok(Line::Udf(_, udf)) => metadata.udfs.push(udf),
            Ok(Line::Role(_, role)) => metadata.roles.push(role),
            Ok(Line::User(_, user)) => metadata.users.push(user),
            // The second reading reports it.
            _ => return Ok(()),
        }
        self.found.metadata.push((start, namespace.into_owned(), metadata));
        Ok(())
    }

    fn bad(&mut self, start: u64, error: LineError) -> Result<()> {
        if self.found.bad.as_ref().is_none_or(|(known, _)| start < *known) {
            self.found.bad = Some((start, error));
        }
        Ok(())
    }

    fn finish(self) -> Result<()> {
        let mut merged = lock(self.merged);
        merged.namespaces.extend(self.found.namespaces);
        merged.metadata.extend(self.found.metadata);
        if let Some((start, error)) = self.found.bad
            && merged.bad.as_ref().is_none_or(|(known, _)| start < *known)
        {
            merged.bad = Some((start, error));
        }
        Ok(())
    }
}

/// The second reading: the records of one namespace.
struct Reading<'r> {
    source: &'r JsonlSource,
    sink: &'r dyn RecordSink,
    namespace: &'r str,
    /// Whether the file has other namespaces.
    has_others: bool,
    /// Whether this reading reports the lines that name no namespace.
    reports_unnamed: bool,
    batch: RecordBatch,
}

impl Reading<'_> {
    fn flush(&mut self) -> Result<()> {
        if self.batch.is_empty() { Ok(()) } else { self.sink.records(std::mem::take(&mut self.batch)) }
    }

    /// Whether a line that can't be parsed is this reading's to report.
    fn is_ours(&self, line: &[u8]) -> bool {
        match line_namespace(line).ok().and_then(|named| named.namespace) {
            Some(namespace) => namespace == self.namespace,
            None => self.reports_unnamed,
        }
    }
}

impl LineWorker for Reading<'_> {
    fn line(&mut self, start: u64, line: &[u8], has_end: bool) -> Result<()> {
        if !has_end && breaks_off(line) {
            // What is missing may have been of any namespace, so that it is reported of each.
            let (expected, found) = ("the rest of the line".into(), "the end of the file".into());
            let error = LineError { offset: line.len(), expected, found };
            return self.source.report(self.sink, start, error, true);
        }
        if self.has_others && !self.is_ours(line) {
            return Ok(());
        }
        let problem = match parse_line(line) {
            Ok(Line::Record(record)) if record.namespace == self.namespace => match record.push_to(&mut self.batch) {
                Ok(()) => {
                    return if self.batch.byte_len() >= BATCH_BYTES { self.flush() } else { Ok(()) };
                }
                Err(error) => LineError {
                    offset: 0,
                    expected: "a record within the limits".into(),
                    found: format!("record {}: {error}", record.digest),
                },
            },
            Ok(Line::Header(version)) => return self.source.check_version(version),
            Ok(_) => return Ok(()),
            Err(error) => error,
        };
        if self.has_others || self.is_ours(line) {
            self.source.report(self.sink, start, problem, false)
        } else {
            Ok(())
        }
    }

    fn bad(&mut self, start: u64, error: LineError) -> Result<()> {
        if self.reports_unnamed { self.source.report(self.sink, start, error, false) } else { Ok(()) }
    }

    fn finish(mut self) -> Result<()> {
        self.flush()
    }
}

impl RecordSource for JsonlSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn cluster(&self) -> Option<String> {
        None
    }

    /// Reads the file once. If no line names a namespace but some can't be parsed, the first of them is the error.
    fn namespaces(&self) -> Result<Vec<String>> {
        Ok(self.overview()?.namespaces.into_keys().collect())
    }

    /// This machine's clock.
    fn clock(&self) -> Result<Timestamp> {
        Ok(Timestamp::now())
    }

    /// Complete from the start: the file has been read once.
    fn metadata(&self, namespace: &str) -> Result<NamespaceMetadata> {
        Ok(self.overview()?.namespaces.remove(namespace).unwrap_or_default())
    }

    fn shape(&self) -> SourceShape<'_> {
        SourceShape::Stream(self)
    }
}

impl StreamSource for JsonlSource {
    fn read(&self, namespace: &str, sink: &dyn RecordSink, control: &Control) -> Result<()> {
        let namespaces = self.namespaces()?;
        let length = self.file()?.metadata().map_err(|error| self.unreadable(error))?.len();
        control.add_total_bytes(length);
        let reports_unnamed = namespaces.first().is_none_or(|first| first == namespace);
        let has_others = namespaces.iter().any(|other| other != namespace);
        self.each_line(control, true, || Reading {
            source: self,
            sink,
            namespace,
            has_others,
            reports_unnamed,
            batch: RecordBatch::new(),
        })
    }
}
