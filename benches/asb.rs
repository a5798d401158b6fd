//! How fast `.asb` text is read and written: `cargo bench --bench asb -- [DIRECTORY]`.
//!
//! Grows a file of some 480 MB from the backups in DIRECTORY (by default `AEROLITH_DATA` or `../shared/data`, there
//! `users/day0/full`) in the temporary directory (`TMPDIR`; `/dev/shm` leaves the disk out), and prints megabytes
//! (10^6) of text a second: the best of five. `ONLY=read` or `ONLY=write` runs one half.

use aerolith::record::{NamespaceMetadata, RecordBatch};
use aerolith::{
    AsbOptions, AsbSource, AsbTarget, AsbTargetOptions, BadRecord, ConflictPolicy, Control, Error, RecordSink,
    RecordSource, RecordTarget, Result, SourceShape,
};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

const BYTES: usize = 480_000_000;

/// Counts records and, if asked to, keeps some of the batches.
#[derive(Default)]
struct Counter {
    records: AtomicU64,
    keep: usize,
    kept: Mutex<Vec<RecordBatch>>,
}

impl RecordSink for Counter {
    fn records(&self, batch: RecordBatch) -> Result<()> {
        self.records.fetch_add(batch.len() as u64, Ordering::Relaxed);
        if self.keep > 0 {
            let mut kept = self.kept.lock().unwrap();
            if kept.len() < self.keep {
                kept.push(batch);
            }
        }
        Ok(())
    }

    fn bad_record(&self, _: BadRecord, error: Error) -> Result<()> {
        Err(error)
    }
}

fn read(path: &Path, sink: &Counter, threads: Option<usize>) {
    let source = AsbSource::open(path, AsbOptions::default().threads(threads)).unwrap();
    let SourceShape::Stream(stream) = source.shape() else { unreachable!() };
    for namespace in source.namespaces().unwrap() {
        stream.read(&namespace, sink, &Control::new()).unwrap();
    }
}

fn grow(directory: &Path, file: &Path) -> usize {
    let mut paths: Vec<_> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let texts: Vec<_> = paths.iter().map(|path| std::fs::read(path).unwrap()).collect();
    let body = |text: &[u8]| memchr::memmem::find(text, b"\n+ k ").map_or(text.len(), |at| at + 1);
    let mut out = std::io::BufWriter::new(std::fs::File::create(file).unwrap());
    let mut size = body(&texts[0]);
    out.write_all(&texts[0][..size]).unwrap();
    while size < BYTES {
        for text in &texts {
            out.write_all(&text[body(text)..]).unwrap();
            size += text.len() - body(text);
        }
    }
    out.flush().unwrap();
    size
}

fn report(what: &str, bytes: usize, work: impl Fn()) {
    if std::env::var("ONLY").is_ok_and(|only| !what.starts_with(&only)) {
        return;
    }
    let mut best = f64::MAX;
    for _ in 0..5 {
        let start = Instant::now();
        work();
        best = best.min(start.elapsed().as_secs_f64());
    }
    println!("{what:<44} {:>7.0} MB/s", bytes as f64 / best / 1e6);
}

fn main() {
    let directory = std::env::args().skip(1).find(|argument| !argument.starts_with('-')).map(PathBuf::from);
    let directory = directory.unwrap_or_else(|| {
        let root = std::env::var_os("AEROLITH_DATA").map(PathBuf::from);
        let root = root.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data"));
        root.join("users/day0/full")
    });
    if !directory.is_dir() {
        return println!("skipped: no {}", directory.display());
    }
    let temporary = tempfile::tempdir().unwrap();
    let file = temporary.path().join("grown.asb");
    let size = grow(&directory, &file);
    report("read, all threads", size, || read(&file, &Counter::default(), None));
    report("read, one parsing thread", size, || read(&file, &Counter::default(), Some(1)));

    let kept = Counter { keep: 100, ..Default::default() };
    read(&file, &kept, None);
    let batches = kept.kept.into_inner().unwrap();
    let text_bytes = {
        let out = temporary.path().join("size.asb");
        write(&batches, &out, AsbTargetOptions::default(), 1);
        std::fs::metadata(&out).unwrap().len() as usize
    };
    for threads in [1, 2] {
        report(&format!("write, {threads} thread(s)"), text_bytes, || {
            let out = temporary.path().join("out.asb");
            write(&batches, &out, AsbTargetOptions::default(), threads);
            std::fs::remove_file(out).unwrap();
        });
    }
    report("write with zstd 3, 2 threads", text_bytes, || {
        let out = temporary.path().join("out.asb");
        write(&batches, &out, AsbTargetOptions::default().zstd(3), 2);
        std::fs::remove_file(out).unwrap();
    });
}

fn write(batches: &[RecordBatch], out: &Path, options: AsbTargetOptions, threads: usize) {
    let target = AsbTarget::new(out, options).unwrap();
    target.begin("bar", &NamespaceMetadata::default()).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let target = &target;
            scope.spawn(move || {
                for batch in batches.iter().skip(thread).step_by(threads) {
                    target.write("bar", batch, ConflictPolicy::Replace).unwrap();
                }
            });
        }
    });
    target.finish().unwrap();
}
