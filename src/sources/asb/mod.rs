//! Backups in Aerospike's text format (`.asb`), as asbackup, absctl and backup-go write them.
//!
//! The format, versions 3.0 to 3.2, is described in the README of aerospike/aerospike-tools-backup ("Backup File
//! Format"); where that is silent, its reader and those of aerospike/backup-go decide. What they differ in:
//!
//! | | asbackup | backup-go, absctl |
//! | --- | --- | --- |
//! | files | `NAMESPACE_00000.asb`, … | `N_NAMESPACE_N.asb`; indexes and modules in `metadata_NAMESPACE_N.asb` |
//! | versions | 3.1 (3.0: names not escaped) | 3.1; metadata files 3.2 if an index has an expression (`* e`) |
//! | doubles | `%.17g`, `nan`, `-nan`, `inf` | shortest form, `NaN`, `+Inf` |
//! | blob keys | `B!` in compact files | always base64 |
//! | bins | in the server's order | in random order |
//! | void time | seconds since 2010, 0 for never; `--no-bins` gives `+ b 0` | the same |
//!
//! The format has no end mark: a plain file that was cut off exactly between two records looks whole. One that was cut
//! off inside a record ends there, even if reading goes on after bad records: what is left may be the inside of a
//! value; only the very last line feed of a file may be missing, which is said. Behind other faults reading goes on at
//! the next line that begins a record; if the fault was a length, that may be text inside the value which itself looks
//! like a whole record.

mod blocks;
mod layout;
mod stream;
#[cfg(test)]
mod tests;

use crate::asb::key::FileKey;
use crate::asb::parse::Global;
use crate::asb::walk::{Fault, GlobalLine, TextWalk};
use crate::asb::{container, escape, parse, walk};
use crate::control::Control;
use crate::error::{Error, Result};
#[cfg(any(test, feature = "internals"))]
use crate::record::RecordBatch;
use crate::record::{NamespaceMetadata, Timestamp};
use crate::secret::SecretSource;
use crate::setters::setters;
use crate::sources::{RecordSink, RecordSource, SourceShape, StreamSource};
use crate::sync::lock;
use blocks::{BLOCK_BYTES, Block, BlockReader, BlockSink};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};
use stream::{AsbFile, Reading, Text, open_text};

/// How `.asb` files are opened.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct AsbOptions {
    /// The private key (PEM, RSA) with which the files were encrypted. Whether they were, and with which key length, is
    /// found out; plain files can be read with a key given.
    pub key: Option<SecretSource>,
    /// How many threads parse; the machine's processors if not given. As many may read files, but no more than there
    /// are.
    pub threads: Option<usize>,
}

setters!(AsbOptions {
} into {
    key: Option<SecretSource>,
    threads: Option<usize>,
});

/// A backup in `.asb` files: one file, or all `*.asb` of a directory; or a backup that comes through a pipe.
pub struct AsbSource {
    name: String,
    files: Vec<AsbFile>,
    /// What comes through a pipe, until it is read.
    pipe: Option<Mutex<Option<Text<'static>>>>,
    key: Option<FileKey>,
    threads: usize,
    block_bytes: usize,
    clock: Timestamp,
    metadata: BTreeMap<String, Mutex<NamespaceMetadata>>,
    /// What was taken for the path, for people.
    notes: Vec<String>,
    is_incremental: bool,
    /// The files whose last record has no line feed at its end, as far as they were read.
    unended: Mutex<BTreeSet<String>>,
}

impl AsbSource {
    /// Opens a file, the files of a directory, or the one backup that a tree holds, and reads the heads of its files.
    /// `-` is standard input; it and named pipes can be read once.
    ///
    /// # Errors
    ///
    /// If there is no backup there or there are several, a file can't be read or is not an `.asb` file, or it is
    /// encrypted and the key is missing.
    pub fn open(path: &Path, options: AsbOptions) -> Result<Self> {
        if path == Path::new("-") {
            return Self::from_pipe(Box::new(std::io::stdin()), path, "standard input", options);
        }
        let doing = || format!("read {}", path.display());
        let kind = std::fs::metadata(path).map_err(|e| Error::io(doing(), e))?.file_type();
        if !kind.is_dir() && !kind.is_file() {
            let pipe = std::fs::File::open(path).map_err(|e| Error::io(doing(), e))?;
            return Self::from_pipe(Box::new(pipe), path, &path.display().to_string(), options);
        }
        let key = options.key.as_ref().map(FileKey::read).transpose()?;
        let listing = layout::list(path)?;
        let mut files = Vec::new();
        // Files of no namespace: at most UDF modules, which belong to the cluster.
        let mut unnamed = Vec::new();
        let mut clock = listing.began.unwrap_or(Timestamp(u64::MAX));
        for path in listing.files {
            let (found, time) = open_file(path, key.as_ref())?;
            clock = clock.min(time);
            match found {
                Opened::Of(found) => files.extend(found),
                Opened::OfNone(file) => unnamed.push(file),
            }
        }
        let namespaces: BTreeSet<String> = files.iter().map(|file| file.namespace.clone()).collect();
        if let (true, Some(file)) = (namespaces.is_empty(), unnamed.first()) {
            return Err(names_no_namespace(&file.path));
        }
        for file in unnamed {
            files.extend(namespaces.iter().map(|namespace| AsbFile { namespace: namespace.clone(), ..file.clone() }));
        }
        let (notes, is_incremental) = (listing.notes, listing.is_incremental);
        Ok(Self { key, notes, is_incremental, ..Self::of(path, files, clock, &options) })
    }

    /// Reads a backup that `reader` delivers, once. `name` is the source's name.
    ///
    /// # Errors
    ///
    /// If what it delivers does not begin as an `.asb` file does, or can't be read.
    pub fn from_reader(reader: Box<dyn Read + Send>, name: &str, options: AsbOptions) -> Result<Self> {
        Self::from_pipe(reader, Path::new(name.strip_prefix("asb:").unwrap_or(name)), name, options)
    }

    /// Reads the head of a backup that is delivered once, as a pipe does. `name` is what messages call it.
    fn from_pipe(reader: Box<dyn Read + Send>, path: &Path, name: &str, options: AsbOptions) -> Result<Self> {
        // Whoever writes into the pipe began about now, too.
        let clock = Timestamp::now();
        let key = options.key.as_ref().map(FileKey::read).transpose()?;
        let opened = container::wrap(reader, key.as_ref())
            .map_err(|e| Error::io(format!("read {name}"), e))?
            .map_err(|problem| Error::Source { source_name: name.to_owned(), problem: problem.to_owned() })?;
        let place = stream::place_name(Path::new(name), opened.container);
        let mut text = stream::read_header(opened, &place, stream::HEADER_STEP)?;
        let namespace = match &text.header.namespace {
            Some(namespace) => namespace.clone(),
            None => first_namespace(&mut text, Path::new(name))?,
        };
        let namespace = in_utf8(namespace, Path::new(name))?;
        let (container, dialect) = (text.container, text.header.dialect);
        let file = AsbFile { path: name.into(), size: 0, namespace, has_others: false, container, dialect };
        Ok(Self { key, pipe: Some(Mutex::new(Some(text))), ..Self::of(path, vec![file], clock, &options) })
    }

    fn of(path: &Path, files: Vec<AsbFile>, clock: Timestamp, options: &AsbOptions) -> Self {
        let metadata = files.iter().map(|file| (file.namespace.clone(), Mutex::default())).collect();
        let threads = options.threads.or_else(|| std::thread::available_parallelism().ok().map(usize::from));
        Self {
            name: format!("asb:{}", path.display()),
            files,
            pipe: None,
            key: None,
            threads: threads.unwrap_or(1).max(1),
            block_bytes: BLOCK_BYTES,
            clock,
            metadata,
            notes: Vec::new(),
            is_incremental: false,
            unended: Mutex::default(),
        }
    }

    fn known(&self, namespace: &str) -> Result<&Mutex<NamespaceMetadata>> {
        self.metadata.get(namespace).ok_or_else(|| {
            let held = self.metadata.keys().cloned().collect::<Vec<_>>().join(", ");
            Error::not_found(format!("namespace {namespace} in {}", self.name), format!("It holds {held}"))
        })
    }

    fn files(&self, namespace: &str) -> Vec<&AsbFile> {
        self.files.iter().filter(|file| file.namespace == namespace).collect()
    }
}

/// A file whose head was read.
enum Opened {
    /// It holds this namespace; or, if its head names none, these.
    Of(Vec<AsbFile>),
    /// Neither its head nor any record or index names a namespace.
    OfNone(AsbFile),
}

/// Opens a file and reads its head; returns also the earliest time that its inode bears.
fn open_file(path: PathBuf, key: Option<&FileKey>) -> Result<(Opened, Timestamp)> {
    let doing = || format!("read {}", path.display());
    let attributes = std::fs::metadata(&path).map_err(|e| Error::io(doing(), e))?;
    let text = open_text(&path, key, None)?;
    let millis = |time: SystemTime| {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    };
    // A file that was not copied was created when its part of the backup began.
    let modified = attributes.modified().map_err(|e| Error::io(doing(), e))?;
    let created = attributes.created().unwrap_or(modified);
    let time = millis(modified.min(created));
    let (container, dialect) = (text.container, text.header.dialect);
    let named = text.header.namespace.clone();
    let mut file =
        AsbFile { path, size: attributes.len(), namespace: String::new(), has_others: false, container, dialect };
    let opened = match named {
        Some(namespace) => {
            file.namespace = in_utf8(namespace, &file.path)?;
            Opened::Of(vec![file])
        }
        None => {
            file.has_others = true;
            let namespaces = survey(text, &file)?;
            let of = |namespace| Ok(AsbFile { namespace: in_utf8(namespace, &file.path)?, ..file.clone() });
            let files: Vec<AsbFile> = namespaces.into_iter().map(of).collect::<Result<_>>()?;
            if files.is_empty() { Opened::OfNone(file) } else { Opened::Of(files) }
        }
    };
    Ok((opened, time))
}

fn in_utf8(namespace: Vec<u8>, path: &Path) -> Result<String> {
    String::from_utf8(namespace).map_err(|error| Error::Source {
        source_name: path.display().to_string(),
        problem: format!("the namespace {} is not UTF-8", walk::quote(error.as_bytes())),
    })
}

/// The error that a file names no namespace.
fn names_no_namespace(path: &Path) -> Error {
    Error::Source {
        source_name: path.display().to_string(),
        problem: "its head names no namespace (\"# namespace NAME\"), and no record does".to_owned(),
    }
}

/// Takes the namespace of a record.
#[derive(Default)]
struct NamespaceOf(Option<Vec<u8>>);

impl<'a> walk::Visitor<'a> for NamespaceOf {
    fn namespace(&mut self, name: escape::Token<'a>) -> Result<(), walk::Problem> {
        self.0 = Some(name.unescape().into_owned());
        Ok(())
    }
}

/// The most namespaces of one file: more than any server has.
const MAX_NAMESPACES: usize = 1000;

/// Reads all of a file whose head names no namespace, and finds those of its records and indexes, as asrestore takes
/// them.
fn survey(text: Text<'_>, file: &AsbFile) -> Result<BTreeSet<Vec<u8>>> {
    struct Names<'f> {
        file: &'f AsbFile,
        found: BTreeSet<Vec<u8>>,
    }
    impl Names<'_> {
        fn note(&mut self, namespace: &[u8]) -> Result<()> {
            if !self.found.contains(namespace) {
                if self.found.len() == MAX_NAMESPACES {
                    let problem = format!("it holds records of more than {MAX_NAMESPACES} namespaces");
                    return Err(Error::Source { source_name: self.file.path.display().to_string(), problem });
                }
                self.found.insert(namespace.to_vec());
            }
            Ok(())
        }
    }
    impl BlockSink for Names<'_> {
        fn block(&mut self, block: Block) -> Result<()> {
            for range in &block.records {
                let text = block.text.get(..range.end).unwrap_or_default();
                let mut walk = TextWalk::new(text, range.start, true, self.file.dialect);
                while walk.at() < range.end {
                    let mut namespace = NamespaceOf::default();
                    // The boundaries were found by the same walk.
                    if walk.record(&mut namespace).is_err() {
                        break;
                    }
                    self.note(&namespace.0.unwrap_or_default())?;
                }
            }
            Ok(())
        }
        fn global(&mut self, _: Global) {}
        fn other_index(&mut self, namespace: &[u8]) {
            // What is too many is told at the records.
            let _ = self.note(namespace);
        }
        /// It is reported when the records are read.
        fn fault(&mut self, _: u64, _: Fault) -> Result<()> {
            Ok(())
        }
        fn unreadable(&mut self, error: std::io::Error) -> Error {
            Error::io(format!("read {}", self.file.path.display()), error)
        }
    }
    let mut survey = Names { file, found: BTreeSet::new() };
    let scope = parse::Scope { namespace: b"", has_others: true };
    BlockReader::new(text.source, text.head, text.at, scope, file.dialect, BLOCK_BYTES).run(&mut survey)?;
    Ok(survey.found)
}

/// The namespace of the first record or index, for a pipe whose head names none.
fn first_namespace(text: &mut Text<'_>, path: &Path) -> Result<Vec<u8>> {
    const LIMIT: usize = 4 << 20;
    let missing = || names_no_namespace(path);
    // What is read stays at hand for whoever reads the text.
    text.source.by_ref().take(LIMIT as u64).read_to_end(&mut text.head).map_err(|_| missing())?;
    let mut walk = TextWalk::new(&text.head, text.at, true, text.header.dialect);
    while walk.peek() == Some(b'*') {
        match walk.global() {
            Ok(GlobalLine::Index { namespace, .. }) => return Ok(namespace.unescape().into_owned()),
            Ok(_) => {}
            Err(_) => return Err(missing()),
        }
    }
    let mut namespace = NamespaceOf::default();
    // Even a record that turns out malformed has named its namespace by then.
    let _ = walk.record(&mut namespace);
    namespace.0.ok_or_else(missing)
}

impl RecordSource for AsbSource {
    fn name(&self) -> &str {
        &self.name
    }

    /// The files don't say.
    fn cluster(&self) -> Option<String> {
        None
    }

    fn namespaces(&self) -> Result<Vec<String>> {
        Ok(self.metadata.keys().cloned().collect())
    }

    /// The format holds no time. What is known of the backup's start: the earliest creation or modification time of the
    /// files; of a pipe, the time at which it was opened.
    fn clock(&self) -> Result<Timestamp> {
        Ok(self.clock)
    }

    /// Before the namespace was read: what is before the first record of each file, as far as it is well formed;
    /// nothing of a pipe.
    fn metadata(&self, namespace: &str) -> Result<NamespaceMetadata> {
        let metadata = self.known(namespace)?;
        for file in self.files(namespace).into_iter().filter(|_| self.pipe.is_none()) {
            let text = open_text(&file.path, self.key.as_ref(), None)?;
            let mut found = GlobalsOnly(NamespaceMetadata::default());
            let blocks = BlockReader::new(text.source, text.head, text.at, file.scope(), file.dialect, 64 << 10);
            // It stops itself at the first record; what is malformed is reported when the records are read.
            let _ = blocks.run(&mut found);
            lock(metadata).merge(found.0);
        }
        Ok(lock(metadata).clone())
    }

    fn notes(&self) -> Vec<String> {
        let unended = lock(&self.unended);
        let unended = unended.iter().map(|file| {
            format!(
                "{file}: its last record has no line feed at its end, and was taken as it is. If the file was \
                 cut off, more may be missing, of a number at its end too: compare it with the original"
            )
        });
        self.notes.iter().cloned().chain(unended).collect()
    }

    fn holds_changes_only(&self) -> Option<String> {
        self.is_incremental.then(|| "an incremental backup of Aerospike Backup Service".to_owned())
    }

    fn shape(&self) -> SourceShape<'_> {
        SourceShape::Stream(self)
    }
}

impl StreamSource for AsbSource {
    fn read(&self, namespace: &str, sink: &dyn RecordSink, control: &Control) -> Result<()> {
        let metadata = self.known(namespace)?;
        let (key, threads, block_bytes) = (self.key.as_ref(), self.threads, self.block_bytes);
        let pipe = self.pipe.as_ref();
        let unended = &self.unended;
        let reading = Reading { key, threads, block_bytes, sink, control, metadata, unended, pipe };
        stream::read_files(&self.files(namespace), &reading)
    }
}

/// Keeps indexes and modules, and stops at the first record or fault.
struct GlobalsOnly(NamespaceMetadata);

impl BlockSink for GlobalsOnly {
    fn block(&mut self, _: Block) -> Result<()> {
        Err(Error::Cancelled)
    }
    fn global(&mut self, global: Global) {
        stream::keep_global(&mut self.0, global);
    }
    fn fault(&mut self, _: u64, _: Fault) -> Result<()> {
        Err(Error::Cancelled)
    }
    fn unreadable(&mut self, _: std::io::Error) -> Error {
        Error::Cancelled
    }
}

/// What [`parse_asb_bytes`] found.
#[cfg(any(test, feature = "internals"))]
#[derive(Debug, Default)]
pub struct ParsedAsb {
    /// The namespace that the head names.
    pub namespace: Vec<u8>,
    /// Indexes and modules.
    pub metadata: NamespaceMetadata,
    /// The records.
    pub records: RecordBatch,
    /// Every malformed place; reading went on after it.
    pub faults: Vec<Error>,
}

/// Parses the bytes of a file, plain or compressed, without I/O and threads, in blocks of `block_bytes`; goes on behind
/// malformed places. The entry for fuzzing.
#[cfg(any(test, feature = "internals"))]
pub fn parse_asb_bytes(bytes: &[u8], block_bytes: usize) -> Result<ParsedAsb> {
    struct Collector {
        dialect: walk::Dialect,
        parsed: ParsedAsb,
    }
    impl BlockSink for Collector {
        fn block(&mut self, block: Block) -> Result<()> {
            let Self { dialect, parsed: ParsedAsb { namespace, records, faults, .. } } = self;
            let scope = parse::Scope { namespace, has_others: false };
            stream::parse_records(&block, scope, *dialect, records, &mut |at, expected, found| {
                faults.push(stream::malformed(
                    "input",
                    block.offset,
                    Fault { at, line: at, expected, found, cut: false },
                ));
                Ok(())
            })
        }
        fn global(&mut self, global: Global) {
            stream::keep_global(&mut self.parsed.metadata, global);
        }
        fn fault(&mut self, offset: u64, fault: Fault) -> Result<()> {
            let Fault { expected, found, .. } = fault;
            self.parsed.faults.push(Error::Malformed { source_name: "input".into(), offset, expected, found });
            Ok(())
        }
        fn unreadable(&mut self, error: std::io::Error) -> Error {
            Error::io("read the input", error)
        }
    }
    let opened = container::wrap(Box::new(std::io::Cursor::new(bytes)), None)
        .map_err(|e| Error::io("read the input", e))?
        .map_err(|problem| Error::Source { source_name: "input".into(), problem: problem.to_owned() })?;
    let text = stream::read_header(opened, "input", block_bytes.clamp(1, 1 << 10))?;
    let namespace = text.header.namespace.unwrap_or_default();
    let parsed = ParsedAsb { namespace: namespace.clone(), ..Default::default() };
    let mut collector = Collector { dialect: text.header.dialect, parsed };
    let dialect = text.header.dialect;
    let scope = parse::Scope { namespace: &namespace, has_others: false };
    BlockReader::new(text.source, text.head, text.at, scope, dialect, block_bytes.max(1)).run(&mut collector)?;
    Ok(collector.parsed)
}

const _: fn() = || {
    fn shared<T: Send + Sync>() {}
    shared::<AsbSource>();
};
