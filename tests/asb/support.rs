//! What the tests share: fixtures, a collecting sink, copying, and a splitter of their own.

use aerolith::record::RecordBatch;
use aerolith::{
    AsbOptions, AsbSource, AsbTarget, AsbTargetOptions, BadRecord, ConflictPolicy, Control, Error, RecordSink,
    RecordSource, RecordTarget, Result, SecretSource, SourceShape,
};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

pub const NAMESPACE: &str = "name space";

pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/asb").join(name)
}

/// A directory of real backups, if they are on this machine.
pub fn real(name: &str) -> Option<PathBuf> {
    let root = std::env::var_os("AEROLITH_DATA").map(PathBuf::from);
    let root = root.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data"));
    let path = root.join(name);
    if path.exists() {
        return Some(path);
    }
    println!("skipped: no {} (set AEROLITH_DATA)", path.display());
    None
}

/// Collects batches; goes on behind bad records if told so.
#[derive(Default)]
pub struct Collector {
    pub batches: Mutex<Vec<RecordBatch>>,
    pub bad: Mutex<Vec<(BadRecord, String)>>,
    go_on: bool,
}

impl RecordSink for Collector {
    fn records(&self, batch: RecordBatch) -> Result<()> {
        assert!(!batch.is_empty());
        self.batches.lock().unwrap().push(batch);
        Ok(())
    }

    fn bad_record(&self, bad: BadRecord, error: Error) -> Result<()> {
        self.bad.lock().unwrap().push((bad, error.to_string()));
        if self.go_on { Ok(()) } else { Err(error) }
    }
}

impl Collector {
    pub fn going_on() -> Self {
        Self { go_on: true, ..Self::default() }
    }

    pub fn count(&self) -> usize {
        self.batches.lock().unwrap().iter().map(RecordBatch::len).sum()
    }

    /// Each record's digest with all else there is of it.
    pub fn records(&self) -> BTreeMap<[u8; 20], String> {
        let batches = self.batches.lock().unwrap();
        let views = batches.iter().flat_map(RecordBatch::iter);
        views
            .map(|view| (view.meta.digest.0, format!("{:?} {:?} {:?}", view.meta, view.body, view.bin_order)))
            .collect()
    }
}

pub fn read(source: &AsbSource, namespace: &str, sink: &dyn RecordSink) -> Result<()> {
    match source.shape() {
        SourceShape::Stream(stream) => stream.read(namespace, sink, &Control::new()),
        SourceShape::Partitioned(_) => panic!("asb files are a stream"),
    }
}

pub fn open(path: &Path, key: Option<&str>) -> Result<AsbSource> {
    AsbSource::open(path, AsbOptions::default().key(key.map(|key| SecretSource::from(Path::new(key)))).threads(None))
}

pub fn records_of(path: &Path, key: Option<&str>, namespace: &str) -> BTreeMap<[u8; 20], String> {
    let collector = Collector::default();
    read(&open(path, key).unwrap(), namespace, &collector).unwrap();
    collector.records()
}

/// Reads `from` and writes it to `to` batch by batch, from two threads at once; returns what was left out.
pub fn copy(from: &Path, to: &Path, namespace: &str, options: AsbTargetOptions) -> Vec<String> {
    let source = open(from, None).unwrap();
    let collector = Collector::default();
    read(&source, namespace, &collector).unwrap();
    let target = AsbTarget::new(to, options).unwrap();
    let remarks = target.begin(namespace, &source.metadata(namespace).unwrap()).unwrap();
    let batches = Mutex::new(collector.batches.into_inner().unwrap());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let Some(batch) = batches.lock().unwrap().pop() else { break };
                    let outcome = target.write(namespace, &batch, ConflictPolicy::Keep).unwrap();
                    assert_eq!((outcome.written, outcome.failed.len()), (batch.len() as u64, 0));
                }
            });
        }
    });
    target.finish().unwrap();
    remarks.omissions
}

/// Splits the text of a file into head with global lines, and records; independent of the code under test.
pub fn split(text: &[u8]) -> (Vec<u8>, Vec<Vec<u8>>) {
    fn line(text: &[u8], at: usize) -> usize {
        let mut end = at;
        let mut escaped = false;
        while escaped || text[end] != b'\n' {
            escaped = !escaped && text[end] == b'\\';
            end += 1;
        }
        end + 1
    }
    fn counted(text: &[u8], mut at: usize) -> usize {
        let start = at;
        while text[at] != b' ' {
            at += 1;
        }
        let length: usize = std::str::from_utf8(&text[start..at]).unwrap().parse().unwrap();
        assert_eq!(text[at + 1 + length], b'\n');
        at + length + 2
    }
    fn name(text: &[u8], mut at: usize) -> usize {
        while text[at] != b' ' && text[at] != b'\n' {
            at += if text[at] == b'\\' { 2 } else { 1 };
        }
        at + 1
    }
    let (mut head, mut records, mut current) = (Vec::new(), Vec::new(), Vec::new());
    let mut at = 0;
    let mut in_bins = false;
    while at < text.len() {
        let rest = &text[at..];
        if rest.starts_with(b"+ ") && in_bins {
            records.push(std::mem::take(&mut current));
            in_bins = false;
        }
        in_bins |= rest.starts_with(b"+ b ");
        let end = match rest {
            [b'+', b' ', b'k', b' ', b'S' | b'B', b' ', ..] => counted(text, at + 6),
            [b'+', b' ', b'k', b' ', b'B', b'!', b' ', ..] => counted(text, at + 7),
            [b'-', b' ', b'I' | b'D' | b'Z' | b'N', ..] => line(text, at),
            [b'-', b' ', _, b' ', ..] => counted(text, name(text, at + 4)),
            [b'-', b' ', _, b'!', b' ', ..] => counted(text, name(text, at + 5)),
            [b'*', b' ', b'u', ..] => counted(text, name(text, at + 6)),
            _ => line(text, at),
        };
        let is_record = matches!(rest[0], b'+' | b'-');
        if is_record { &mut current } else { &mut head }.extend_from_slice(&text[at..end]);
        at = end;
    }
    if in_bins {
        records.push(current);
    }
    (head, records)
}

/// All record texts of some files, sorted.
pub fn record_texts(files: &[PathBuf]) -> Vec<Vec<u8>> {
    let mut records: Vec<_> = files.iter().flat_map(|file| split(&std::fs::read(file).unwrap()).1).collect();
    records.sort();
    records
}

pub fn files_in(directory: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}
