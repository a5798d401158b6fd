//! Reads files with several threads: some read, take off containers and find boundaries, the others parse.
//!
//! Memory is bounded by the blocks that are under way: one for each reading and each parsing thread and those in the
//! channel between them, two for each parsing thread.

use super::blocks::{Block, BlockReader, BlockSink};
use crate::asb::container::{Container, CountingReader, Opened};
use crate::asb::header::{Header, parse_header};
use crate::asb::key::FileKey;
use crate::asb::parse::{Global, ParseError, RecordParser, Scope};
use crate::asb::walk::{Dialect, Fault, Skip, Stop, TextWalk};
use crate::control::Control;
use crate::error::{Error, Result};
use crate::record::{NamespaceMetadata, RecordBatch, SecondaryIndex};
use crate::sources::{BadRecord, RecordSink};
use crate::sync::lock;
use crossbeam_channel::{Receiver, Sender};
use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// A file, and what its head said when the source was opened.
#[derive(Debug, Clone)]
pub(crate) struct AsbFile {
    pub(crate) path: PathBuf,
    pub(crate) size: u64,
    pub(crate) namespace: String,
    /// Its head names no namespace, and it may hold records of others too.
    pub(crate) has_others: bool,
    pub(crate) container: Container,
    pub(crate) dialect: Dialect,
}

impl AsbFile {
    /// What of it is wanted.
    pub(crate) fn scope(&self) -> Scope<'_> {
        Scope { namespace: self.namespace.as_bytes(), has_others: self.has_others }
    }
}

/// The text of a file after its head.
pub(crate) struct Text<'a> {
    pub(crate) source: Box<dyn Read + Send + 'a>,
    /// The beginning of the text as far as it was read.
    pub(crate) head: Vec<u8>,
    /// How much of `head` the head takes.
    pub(crate) at: usize,
    pub(crate) header: Header,
    pub(crate) container: Container,
}

/// The name of a file in messages about its text.
pub(crate) fn place_name(path: &Path, container: Container) -> String {
    if container.is_plain() {
        path.display().to_string()
    } else {
        format!("{} (text inside {container})", path.display())
    }
}

/// Opens a file and reads its head.
pub(crate) fn open_text<'a>(path: &Path, key: Option<&FileKey>, control: Option<&'a Control>) -> Result<Text<'a>> {
    let opened = crate::asb::container::open(path, key, control)?;
    let name = place_name(path, opened.container);
    read_header(opened, &name, HEADER_STEP)
}

/// How much text is read at a time until the head is whole, in bytes.
pub(crate) const HEADER_STEP: usize = 1 << 10;

/// Reads the head of a text, `step` bytes at a time.
pub(crate) fn read_header<'a>(opened: Opened<'a>, name: &str, step: usize) -> Result<Text<'a>> {
    let Opened { text: mut source, container } = opened;
    let mut head = Vec::new();
    let mut ended = false;
    loop {
        match parse_header(&head, ended) {
            Ok((header, at)) => return Ok(Text { source, head, at, header, container }),
            Err(Stop::Fault(fault)) => return Err(malformed(name, 0, *fault)),
            Err(Stop::More) if ended => {
                let problem = "it has no head, not even a cut one".to_owned();
                return Err(Error::Source { source_name: name.to_owned(), problem });
            }
            Err(Stop::More) => {}
        }
        let before = head.len();
        match source.by_ref().take(step as u64).read_to_end(&mut head) {
            Ok(_) => ended = head.len() == before,
            Err(error) if error.raw_os_error().is_some() => return Err(Error::io(format!("read {name}"), error)),
            Err(error) => match parse_header(&head, true) {
                Ok((header, at)) => return Ok(Text { source: Box::new(Broken(error)), head, at, header, container }),
                Err(_) => {
                    let expected = "the head of a backup file".to_owned();
                    let found = format!("a stream that is damaged or cut off ({error})");
                    return Err(malformed(name, 0, Fault { at: head.len(), line: 0, expected, found, cut: true }));
                }
            },
        }
    }
}

/// What is left of a stream that broke while its head was read: the error, once more.
struct Broken(std::io::Error);

impl Read for Broken {
    fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
        Err(std::io::Error::new(self.0.kind(), self.0.to_string()))
    }
}

/// The error for a fault; `offset` is that of the text in which the fault lies.
pub(crate) fn malformed(name: &str, offset: u64, fault: Fault) -> Error {
    let Fault { at, expected, found, .. } = fault;
    Error::Malformed { source_name: name.to_owned(), offset: offset + at as u64, expected, found }
}

/// Reports a malformed place, where the text may break off, and returns what the sink decides.
fn report(sink: &dyn RecordSink, error: Error, breaks_off: bool) -> Result<()> {
    let bad = match &error {
        Error::Malformed { source_name, offset, expected, found } => BadRecord {
            place: format!("{source_name} at byte {offset}"),
            problem: format!("expected {expected}, found {found}"),
            breaks_off,
        },
        other => BadRecord { place: String::new(), problem: other.to_string(), breaks_off },
    };
    sink.bad_record(bad, error)
}

/// How files are read.
pub(crate) struct Reading<'a> {
    pub(crate) key: Option<&'a FileKey>,
    pub(crate) threads: usize,
    pub(crate) block_bytes: usize,
    pub(crate) sink: &'a dyn RecordSink,
    pub(crate) control: &'a Control,
    /// Receives indexes and modules.
    pub(crate) metadata: &'a Mutex<NamespaceMetadata>,
    /// Receives the files whose last record has no line feed at its end.
    pub(crate) unended: &'a Mutex<BTreeSet<String>>,
    /// The text, if it comes from a pipe, which was opened already and can't be opened again; taken by the first
    /// reading.
    pub(crate) pipe: Option<&'a Mutex<Option<Text<'static>>>>,
}

type Job<'f> = (&'f AsbFile, Block);

/// What the threads of one reading share.
struct Shared<'a> {
    reading: &'a Reading<'a>,
    stopped: AtomicBool,
    failure: Mutex<Option<Error>>,
    next_file: AtomicUsize,
    recycled: (Sender<Vec<u8>>, Receiver<Vec<u8>>),
}

impl Shared<'_> {
    fn fail(&self, error: Error) {
        let mut failure = lock(&self.failure);
        failure.get_or_insert(error);
        // Only now may other threads see it: the error with which they stop must not come first.
        self.stopped.store(true, Ordering::Release);
    }

    /// An error once another thread failed or the caller asked to stop.
    fn check(&self) -> Result<()> {
        self.reading.control.check()?;
        if self.stopped.load(Ordering::Acquire) { Err(Error::Cancelled) } else { Ok(()) }
    }
}

/// Reads all records of the files.
pub(crate) fn read_files(files: &[&AsbFile], reading: &Reading<'_>) -> Result<()> {
    let parsers = reading.threads.max(1);
    let readers = files.len().min(parsers);
    let (jobs, queue) = crossbeam_channel::bounded::<Job<'_>>(parsers * 2);
    let shared = Shared {
        reading,
        stopped: AtomicBool::new(false),
        failure: Mutex::new(None),
        next_file: AtomicUsize::new(0),
        recycled: crossbeam_channel::bounded(parsers * 4),
    };
    reading.control.add_total_bytes(files.iter().map(|file| file.size).sum());
    std::thread::scope(|scope| {
        for _ in 0..readers {
            let jobs = jobs.clone();
            let shared = &shared;
            scope.spawn(move || {
                while let Some(file) = files.get(shared.next_file.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(error) = read_file(file, jobs.clone(), shared) {
                        return shared.fail(error);
                    }
                }
            });
        }
        for _ in 0..parsers {
            let queue = queue.clone();
            let shared = &shared;
            scope.spawn(move || {
                while let Ok((file, block)) = queue.recv() {
                    if let Err(error) = parse_block(file, block, shared) {
                        return shared.fail(error);
                    }
                }
            });
        }
        drop((jobs, queue));
    });
    let failure = shared.failure.into_inner().unwrap_or_else(|e| e.into_inner());
    failure.map_or(Ok(()), Err)
}

fn read_file<'f>(file: &'f AsbFile, jobs: Sender<Job<'f>>, shared: &Shared<'_>) -> Result<()> {
    let reading = shared.reading;
    let text = match reading.pipe {
        None => open_text(&file.path, reading.key, Some(reading.control))?,
        Some(pipe) => from_pipe(file, pipe, reading.control)?,
    };
    let named = text.header.namespace.as_deref().unwrap_or(file.namespace.as_bytes());
    if text.container != file.container || text.header.dialect != file.dialect || named != file.namespace.as_bytes() {
        let problem = "it is not the file any more that it was when the source was opened".to_owned();
        return Err(Error::Source { source_name: file.path.display().to_string(), problem });
    }
    let blocks = BlockReader::new(text.source, text.head, text.at, file.scope(), file.dialect, reading.block_bytes);
    blocks.run(&mut FileSink { file, name: place_name(&file.path, file.container), jobs, shared })
}

/// The text of a pipe, which can be read once.
fn from_pipe<'a>(file: &AsbFile, pipe: &Mutex<Option<Text<'static>>>, control: &'a Control) -> Result<Text<'a>> {
    let Some(text) = lock(pipe).take() else {
        let problem = "it was read already, and a pipe can be read once. Name a file to read it again".to_owned();
        return Err(Error::Source { source_name: file.path.display().to_string(), problem });
    };
    control.add_bytes_in(text.head.len() as u64);
    Ok(Text { source: Box::new(CountingReader { inner: text.source, control: Some(control) }), ..text })
}

/// Passes on what the boundary scanner finds in one file.
struct FileSink<'f, 's> {
    file: &'f AsbFile,
    name: String,
    jobs: Sender<Job<'f>>,
    shared: &'s Shared<'s>,
}

impl BlockSink for FileSink<'_, '_> {
    fn block(&mut self, block: Block) -> Result<()> {
        self.shared.check()?;
        // All parsers are gone only after a failure, which is the error that counts.
        self.jobs.send((self.file, block)).map_err(|_| Error::Cancelled)
    }

    fn global(&mut self, global: Global) {
        if let Global::Index(index) = &global
            && index.other == SecondaryIndex::BIN_NULL
        {
            let (name, index) = (&self.name, String::from_utf8_lossy(&index.name));
            self.shared.reading.control.warn(format!(
                "{name}: secondary index {index:?} is over the bin null there: asbackup writes that of an index over \
                 an expression, and leaves out the expression. A restore into a cluster will name it and not create it"
            ));
        }
        keep_global(&mut lock(self.shared.reading.metadata), global);
    }

    fn fault(&mut self, offset: u64, fault: Fault) -> Result<()> {
        self.shared.check()?;
        let Fault { expected, found, cut, .. } = fault;
        let error = Error::Malformed { source_name: self.name.clone(), offset, expected, found };
        report(self.shared.reading.sink, error, cut)
    }

    fn unreadable(&mut self, error: std::io::Error) -> Error {
        Error::io(format!("read {}", self.file.path.display()), error)
    }

    fn buffer(&mut self) -> Vec<u8> {
        self.shared.recycled.1.try_recv().unwrap_or_default()
    }

    fn lacks_end(&mut self) {
        lock(self.shared.reading.unended).insert(self.name.clone());
    }
}

/// Adds an index or a module to what is known of a namespace.
pub(crate) fn keep_global(metadata: &mut NamespaceMetadata, global: Global) {
    let mut one = NamespaceMetadata::default();
    match global {
        Global::Index(index) => one.indexes.push(index),
        Global::Udf(udf) => one.udfs.push(udf),
    }
    metadata.merge(one);
}

fn parse_block(file: &AsbFile, block: Block, shared: &Shared<'_>) -> Result<()> {
    shared.check()?;
    let sink = shared.reading.sink;
    let mut batch = RecordBatch::with_capacity(block.records.iter().map(|range| range.len()).sum(), 1 << 12);
    parse_records(&block, file.scope(), file.dialect, &mut batch, &mut |at, expected, found| {
        let name = place_name(&file.path, file.container);
        report(sink, malformed(&name, block.offset, Fault { at, line: at, expected, found, cut: false }), false)
    })?;
    if !batch.is_empty() {
        sink.records(batch)?;
    }
    if block.text.len() <= shared.reading.block_bytes * 4 {
        // A full pool lets the buffer go.
        let _ = shared.recycled.0.try_send(block.text);
    }
    Ok(())
}

/// Parses the records of a block into `batch`. `bad` takes the index of a fault, what was expected and what was found;
/// if it returns `Ok`, the next record follows.
pub(crate) fn parse_records(
    block: &Block,
    scope: Scope<'_>,
    dialect: Dialect,
    batch: &mut RecordBatch,
    bad: &mut dyn FnMut(usize, String, String) -> Result<()>,
) -> Result<()> {
    let mut parser = RecordParser::new(scope, dialect);
    for range in &block.records {
        // Indexes count from the beginning of the block, so that faults have the right offset.
        let text = block.text.get(..range.end).unwrap_or_default();
        let mut at = range.start;
        while at < range.end {
            match parser.parse(text, at, batch) {
                Ok(end) => at = end,
                Err(error) => {
                    match error {
                        ParseError::Text(Stop::Fault(fault)) => bad(fault.at, fault.expected, fault.found)?,
                        ParseError::Text(Stop::More) => bad(at, "a whole record".into(), "a part of one".into())?,
                        ParseError::Body(error) => bad(at, "a record that can be kept".into(), error.to_string())?,
                    }
                    // The boundary scanner has been here, so it comes through once more.
                    let mut walk = TextWalk::new(text, at, true, dialect);
                    at = if walk.record(&mut Skip).is_ok() { walk.at() } else { range.end };
                }
            }
        }
    }
    Ok(())
}
