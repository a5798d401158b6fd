//! Backups in `.asb` files, from outside: what is read, what is written, and what is said of bad ones.
//!
//! The tests with real backups look for them in `AEROLITH_DATA` or `../shared/data`, and say so if there are none.

use aerolith::record::{Digest, NamespaceMetadata, ParticleType, RecordBatch};
use aerolith::source::asb::{AsbOptions, AsbSource};
use aerolith::source::{BadRecord, RecordSink, RecordSource, SourceShape};
use aerolith::target::asb::{AsbTarget, AsbTargetOptions};
use aerolith::target::{ConflictPolicy, RecordTarget};
use aerolith::{Control, Error, Result};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

const NAMESPACE: &str = "name space";

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/asb").join(name)
}

/// A folder of real backups, if they are on this machine.
fn real(name: &str) -> Option<PathBuf> {
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
struct Collector {
    batches: Mutex<Vec<RecordBatch>>,
    bad: Mutex<Vec<(BadRecord, String)>>,
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
    fn going_on() -> Self {
        Self { go_on: true, ..Self::default() }
    }

    fn count(&self) -> usize {
        self.batches.lock().unwrap().iter().map(RecordBatch::len).sum()
    }

    /// Each record's digest with all else there is of it.
    fn records(&self) -> BTreeMap<[u8; 20], String> {
        let batches = self.batches.lock().unwrap();
        let views = batches.iter().flat_map(RecordBatch::iter);
        views
            .map(|view| (view.meta.digest.0, format!("{:?} {:?} {:?}", view.meta, view.body, view.bin_order)))
            .collect()
    }
}

fn read(source: &AsbSource, namespace: &str, sink: &dyn RecordSink) -> Result<()> {
    match source.shape() {
        SourceShape::Stream(stream) => stream.read(namespace, sink, &Control::new()),
        SourceShape::Partitioned(_) => panic!("asb files are a stream"),
    }
}

fn open(path: &Path, key: Option<&str>) -> Result<AsbSource> {
    AsbSource::open(path, AsbOptions { key_file: key.map(PathBuf::from), threads: None })
}

fn records_of(path: &Path, key: Option<&str>, namespace: &str) -> BTreeMap<[u8; 20], String> {
    let collector = Collector::default();
    read(&open(path, key).unwrap(), namespace, &collector).unwrap();
    collector.records()
}

/// Reads `from` and writes it to `to` batch by batch, from two threads at once; returns what was left out.
fn copy(from: &Path, to: &Path, namespace: &str, options: AsbTargetOptions) -> Vec<String> {
    let source = open(from, None).unwrap();
    let collector = Collector::default();
    read(&source, namespace, &collector).unwrap();
    let target = AsbTarget::create(to, options).unwrap();
    target.begin(namespace, &source.metadata(namespace).unwrap()).unwrap();
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
    target.omissions()
}

/// Splits the text of a file into head with global lines, and records; independent of the code under test.
fn split(text: &[u8]) -> (Vec<u8>, Vec<Vec<u8>>) {
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
fn record_texts(files: &[PathBuf]) -> Vec<Vec<u8>> {
    let mut records: Vec<_> = files.iter().flat_map(|file| split(&std::fs::read(file).unwrap()).1).collect();
    records.sort();
    records
}

fn files_in(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn every_container_holds_the_same_records() {
    let key = fixture("key-pkcs8.pem");
    let key = key.to_str();
    let plain = records_of(&fixture("every-kind.asb"), None, NAMESPACE);
    assert_eq!(plain.len(), 7);
    for name in ["every-kind-zstd", "every-kind-aes128", "every-kind-aes256", "every-kind-zstd-aes256", "every-kind"] {
        assert_eq!(records_of(&fixture(&format!("{name}.asb")), key, NAMESPACE), plain, "{name}");
    }
}

#[test]
fn every_container_of_a_real_backup_holds_the_same_records() {
    let Some(zoo) = real("zoo") else { return };
    let key = zoo.join("test-key.pem");
    let plain = records_of(&zoo.join("plain.asb"), None, "bar");
    assert_eq!(plain.len(), 106);
    let expected = open(&zoo.join("plain.asb"), None).unwrap().metadata("bar").unwrap();
    assert_eq!((expected.indexes.len(), expected.udfs.len()), (6, 1));
    for name in ["compact", "zstd", "aes128", "zstd-aes256"] {
        let path = zoo.join(format!("{name}.asb"));
        assert_eq!(records_of(&path, key.to_str(), "bar"), plain, "{name}");
        assert_eq!(open(&path, key.to_str()).unwrap().metadata("bar").unwrap(), expected, "{name}");
    }
}

#[test]
fn computes_the_digest_of_every_real_key() {
    let Some(zoo) = real("zoo") else { return };
    let collector = Collector::default();
    read(&open(&zoo.join("plain.asb"), None).unwrap(), "bar", &collector).unwrap();
    let mut keys = 0;
    for batch in collector.batches.lock().unwrap().iter() {
        for view in batch.iter() {
            let body = view.parse().unwrap();
            let Some(key) = body.key() else { continue };
            assert_eq!(Digest::compute(view.meta.set, key.particle, key.bytes), view.meta.digest);
            keys += 1;
        }
    }
    assert!(keys > 90, "{keys}");
}

#[test]
fn a_file_comes_back_byte_for_byte() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("copy.asb");
    assert_eq!(copy(&fixture("every-kind.asb"), &out, NAMESPACE, AsbTargetOptions::default()), Vec::<String>::new());
    let (copied, original) = (std::fs::read(&out).unwrap(), std::fs::read(fixture("every-kind.asb")).unwrap());
    assert_eq!(copied.escape_ascii().to_string(), original.escape_ascii().to_string());
}

#[test]
fn real_backups_come_back_record_for_record() {
    let backups = ["zoo/plain.asb", "users/day0/full", "users/day1/full", "users/day2/incr", "users/day3/full"];
    for path in backups.into_iter().filter_map(real) {
        let folder = tempfile::tempdir().unwrap();
        let limit = AsbTargetOptions { file_limit: 3 << 20, ..Default::default() };
        assert_eq!(copy(&path, folder.path(), "bar", limit), Vec::<String>::new());
        let originals = if path.is_dir() { files_in(&path) } else { vec![path.clone()] };
        let copies = files_in(folder.path());
        assert!(record_texts(&originals) == record_texts(&copies), "{}", path.display());
        let head = |file: &PathBuf| split(&std::fs::read(file).unwrap()).0;
        assert_eq!(head(&originals[0]), head(&copies[0]), "{}", path.display());
    }
}

#[test]
fn a_compressed_copy_holds_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("copy.asb");
    copy(&fixture("every-kind.asb"), &out, NAMESPACE, AsbTargetOptions { zstd: Some(3), ..Default::default() });
    assert!(std::fs::read(&out).unwrap().starts_with(&[0x28, 0xb5, 0x2f, 0xfd]));
    assert_eq!(records_of(&out, None, NAMESPACE), records_of(&fixture("every-kind.asb"), None, NAMESPACE));
    let metadata = |path: &Path| open(path, None).unwrap().metadata(NAMESPACE).unwrap();
    assert_eq!(metadata(&out), metadata(&fixture("every-kind.asb")));
}

#[test]
fn reads_indexes_modules_and_their_escapes() {
    let metadata = open(&fixture("every-kind.asb"), None).unwrap().metadata(NAMESPACE).unwrap();
    let names: Vec<_> = metadata.indexes.iter().map(|index| index.name.escape_ascii().to_string()).collect();
    assert_eq!(names, ["by-num", "by\\nstr", "by-geo", "by-blob"]);
    let [number, string, _, blob] = &metadata.indexes[..] else { panic!("four indexes") };
    assert_eq!(
        (&number.set[..], &number.bin[..], number.kind, number.value),
        (&b"set one"[..], &b"num ber"[..], b'N', b'N')
    );
    assert_eq!((&string.set[..], blob.kind, blob.value), (&b""[..], b'V', b'B'));
    assert_eq!(blob.context, b"\x95\x10\x01 context");
    assert_eq!(metadata.udfs[0].name, b"mod ule.lua");
    assert!(metadata.udfs[0].content.ends_with(b"\nreturn 1\n"));
}

#[test]
fn reads_compact_and_old_forms_and_those_of_go() {
    let collector = Collector::default();
    read(&open(&fixture("compact.asb"), None).unwrap(), NAMESPACE, &collector).unwrap();
    let batches = collector.batches.lock().unwrap();
    let bodies: Vec<_> = batches.iter().flat_map(RecordBatch::iter).map(|view| view.parse().unwrap()).collect();
    assert_eq!(bodies.len(), 2);
    assert_eq!(bodies[0].key().unwrap().bytes, b"\0\n\xff");
    let hll = bodies[0].bins().iter().find(|bin| bin.name == b"vy").unwrap();
    assert_eq!((hll.particle, hll.bytes), (ParticleType::HLL, &b"raw\n+ k of Y"[..]));
    assert_eq!(
        (bodies[1].key().unwrap().particle, bodies[1].key().unwrap().bytes),
        (ParticleType::STRING, &b"key"[..])
    );
    let value = |name: &[u8]| bodies[1].bins().iter().find(|bin| bin.name == name).unwrap().bytes.to_vec();
    assert_eq!(value(b"x"), b"old");
    assert_eq!(value(b"inf"), f64::INFINITY.to_be_bytes());
    assert_eq!(value(b"short"), 0.1f64.to_be_bytes());
    assert_eq!(value(b"go"), 0x7ff8_0000_0000_0000u64.to_be_bytes());
}

#[test]
fn gives_values_the_form_that_the_server_sends() {
    let collector = Collector::default();
    read(&open(&fixture("every-kind.asb"), None).unwrap(), NAMESPACE, &collector).unwrap();
    let batches = collector.batches.lock().unwrap();
    let bin = |name: &[u8]| {
        let views = batches.iter().flat_map(RecordBatch::iter);
        views.flat_map(|view| view.parse().unwrap().bins().to_vec()).find(|bin| bin.name == name).unwrap()
    };
    assert_eq!((bin(b"min").particle, bin(b"min").bytes), (ParticleType::INTEGER, &i64::MIN.to_be_bytes()[..]));
    assert_eq!((bin(b"t").particle, bin(b"t").bytes), (ParticleType::BOOL, &[1][..]));
    assert_eq!((bin(b"nil two").particle, bin(b"nil two").bytes), (ParticleType::NULL, &[][..]));
    assert_eq!(bin(b"geo").particle, ParticleType::GEOJSON);
    assert!(bin(b"geo").bytes.starts_with(b"\0\0\0{\"type\":\"Point\""));
    assert_eq!(bin(b"bin name\\\n").bytes, b"a\0b\xff\xfe");
    assert_eq!((bin(b"vl").particle, bin(b"vl").bytes), (ParticleType::LIST, &b"bytes of L"[..]));
}

#[test]
fn version_3_0_has_no_escapes_and_3_2_has_expressions() {
    let collector = Collector::default();
    read(&open(&fixture("version-3.0.asb"), None).unwrap(), "old", &collector).unwrap();
    let batches = collector.batches.lock().unwrap();
    let view = batches[0].get(0).unwrap();
    assert_eq!(view.meta.set, b"old\\set");
    assert_eq!(view.parse().unwrap().bins()[0].name, b"back\\slash");
    let source = open(&fixture("version-3.2.asb"), None).unwrap();
    let metadata = source.metadata(NAMESPACE).unwrap();
    assert_eq!(metadata.indexes[0].expression, b"\x93\x01expression");
    // Version 3.1 can't hold it: it is named, and all else is written.
    let folder = tempfile::tempdir().unwrap();
    let omissions = copy(&fixture("version-3.2.asb"), folder.path(), NAMESPACE, AsbTargetOptions::default());
    assert_eq!(omissions.len(), 1);
    assert!(omissions[0].contains("by-exp") && omissions[0].contains("expression"), "{omissions:?}");
    let text = std::fs::read_to_string(folder.path().join("name space_00000.asb")).unwrap();
    assert_eq!(text, "Version 3.1\n# namespace name\\ space\n# first-file\n");
}

#[test]
fn a_folder_groups_its_files_by_namespace() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["every-kind.asb", "version-3.0.asb", "version-3.2.asb"] {
        std::fs::copy(fixture(name), folder.path().join(name)).unwrap();
    }
    std::fs::write(folder.path().join("notes.txt"), "no backup").unwrap();
    std::fs::write(folder.path().join("cut.asb.partial"), "no backup").unwrap();
    let source = open(folder.path(), None).unwrap();
    assert_eq!(source.namespaces().unwrap(), [NAMESPACE, "old"]);
    assert_eq!(source.metadata(NAMESPACE).unwrap().indexes.len(), 5);
    assert_eq!(records_of(folder.path(), None, NAMESPACE).len(), 7);
    assert_eq!(records_of(folder.path(), None, "old").len(), 1);
    let missing = read(&source, "none", &Collector::default()).unwrap_err().to_string();
    assert!(missing.contains("namespace none") && missing.contains("old"), "{missing}");
    assert!(source.clock().unwrap().0 > 1_600_000_000_000);
    assert!(source.name().starts_with("asb:/"));
}

#[test]
fn progress_counts_the_bytes_of_the_files() {
    let control = Control::new();
    let path = fixture("every-kind-zstd.asb");
    let source = open(&path, None).unwrap();
    let SourceShape::Stream(stream) = source.shape() else { panic!("asb files are a stream") };
    stream.read(NAMESPACE, &Collector::default(), &control).unwrap();
    let size = std::fs::metadata(&path).unwrap().len();
    assert_eq!((control.bytes_in(), control.total_bytes()), (size, size));
    control.stop();
    let stopped = stream.read(NAMESPACE, &Collector::default(), &control);
    assert!(matches!(stopped, Err(Error::Cancelled)), "{stopped:?}");
}

#[test]
fn says_what_to_do_about_what_cannot_be_opened() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::create_dir_all(path("empty")).unwrap();
    std::fs::create_dir_all(path("other")).unwrap();
    std::fs::write(path("other/readme"), "x").unwrap();
    std::fs::create_dir_all(path("above/below")).unwrap();
    std::fs::write(path("above/below/x.asb"), "x").unwrap();
    std::fs::create_dir_all(path("xdr")).unwrap();
    std::fs::write(path("xdr/x.asbx"), "x").unwrap();
    std::fs::write(path("four.asb"), "Version 4.0\n# namespace x\n").unwrap();
    std::fs::write(path("crlf.asb"), "Version 3.1\r\n# namespace x\r\n").unwrap();
    std::fs::write(path("nothing.asb"), "").unwrap();
    std::fs::write(path("nameless.asb"), "Version 3.1\n").unwrap();
    std::fs::write(path("noise.asb"), [0x9a; 4000]).unwrap();
    std::fs::write(path("other.pem"), std::fs::read(fixture("README.md")).unwrap()).unwrap();
    std::fs::write(path("other-key.pem"), other_key()).unwrap();
    let aes = fixture("every-kind-aes128.asb");
    let cases: Vec<(PathBuf, Option<PathBuf>, &[&str])> = vec![
        (path("missing"), None, &["missing", "cannot read"]),
        (path("empty"), None, &["is empty"]),
        (path("other"), None, &["no .asb files"]),
        (path("above"), None, &["above/below"]),
        (path("xdr"), None, &[".asbx", "scan backup"]),
        (path("xdr/x.asbx"), None, &["XDR"]),
        (path("four.asb"), None, &["Version 4.0", "Version 3.1"]),
        (path("crlf.asb"), None, &["line ends"]),
        (path("nothing.asb"), None, &["nothing.asb", "Version 3.1"]),
        (path("nameless.asb"), None, &["no namespace"]),
        (path("noise.asb"), None, &["key file"]),
        (aes.clone(), None, &["encrypted", "key file"]),
        (aes.clone(), Some(path("other.pem")), &["no private key"]),
        (aes.clone(), Some(path("missing.pem")), &["key file", "missing.pem"]),
        (aes.clone(), Some(path("other-key.pem")), &["doesn't open it", "AES-128"]),
        (path("noise.asb"), Some(fixture("key-pkcs1.pem")), &["doesn't open it", "AES-256"]),
    ];
    for (path, key, words) in cases {
        let error = AsbSource::open(&path, AsbOptions { key_file: key, threads: None });
        let error = error.err().map(|error| error.to_string()).unwrap_or_default();
        for word in words {
            assert!(error.contains(word), "{}: {error}", path.display());
        }
    }
}

/// A key file that is well formed and opens nothing: another modulus in the same encoding.
fn other_key() -> String {
    let text = std::fs::read_to_string(fixture("key-pkcs1.pem")).unwrap();
    let body: String = text.lines().filter(|line| !line.starts_with('-')).collect();
    let mut der = base64_simd::STANDARD.decode_to_vec(body).unwrap();
    der[40] ^= 1;
    let body = base64_simd::STANDARD.encode_to_string(der);
    format!("-----BEGIN RSA PRIVATE KEY-----\n{body}\n-----END RSA PRIVATE KEY-----\n")
}

#[test]
fn a_cut_file_gives_an_error_or_whole_records_at_every_cut() {
    let whole = std::fs::read(fixture("every-kind.asb")).unwrap();
    let all = records_of(&fixture("every-kind.asb"), None, NAMESPACE);
    let boundaries = {
        let (head, records) = split(&whole);
        let mut ends = vec![head.len()];
        for record in &records {
            ends.push(ends[ends.len() - 1] + record.len());
        }
        ends
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cut.asb");
    for cut in 0..whole.len() {
        std::fs::write(&path, &whole[..cut]).unwrap();
        let Ok(source) = open(&path, None) else {
            assert!(cut < boundaries[0], "the head is whole at {cut}");
            continue;
        };
        let strict = Collector::default();
        let result = read(&source, NAMESPACE, &strict);
        let lenient = Collector::going_on();
        read(&source, NAMESPACE, &lenient).unwrap();
        assert!(lenient.records().iter().all(|(digest, record)| all.get(digest) == Some(record)), "cut at {cut}");
        if let Some(records) = boundaries.iter().position(|&end| end == cut) {
            result.unwrap();
            assert_eq!(lenient.count(), records, "cut at {cut}");
        } else if cut > boundaries[0] {
            let whole_records = boundaries.iter().filter(|&&end| end < cut).count() - 1;
            assert_eq!(lenient.count(), whole_records, "cut at {cut}");
            let error = result.unwrap_err();
            assert!(matches!(&error, Error::Malformed { .. }), "cut at {cut}: {error}");
            let bad = lenient.bad.lock().unwrap();
            assert_eq!(bad.len(), 1, "cut at {cut}: {bad:?}");
            assert!(bad[0].0.place.contains("cut.asb at byte"), "{bad:?}");
        }
    }
}

#[test]
fn a_cut_or_damaged_container_is_an_error() {
    let key = fixture("key-pkcs1.pem");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cut.asb");
    for name in ["every-kind-zstd.asb", "every-kind-zstd-aes256.asb"] {
        let whole = std::fs::read(fixture(name)).unwrap();
        for cut in 0..whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let result = open(&path, key.to_str()).and_then(|source| read(&source, NAMESPACE, &Collector::default()));
            let Err(error) = result else {
                // The end of the first frame is inside a record; only there a cut could go unseen.
                panic!("{name} cut at {cut} of {} was taken as whole", whole.len());
            };
            let text = error.to_string();
            assert!(text.contains("cut.asb"), "{text}");
        }
        let mut damaged = whole.clone();
        let place = damaged.len() - 30;
        damaged[place] ^= 0x55;
        std::fs::write(&path, &damaged).unwrap();
        let lenient = Collector::going_on();
        read(&open(&path, key.to_str()).unwrap(), NAMESPACE, &lenient).unwrap();
        let bad = lenient.bad.lock().unwrap();
        assert!(!bad.is_empty(), "{name}");
        assert!(bad[0].1.contains("text inside zstd"), "{bad:?}");
    }
}

#[test]
fn names_the_bad_record_and_goes_on_behind_it() {
    let text = std::fs::read_to_string(fixture("version-3.0.asb")).unwrap().replace("old\\set", "set");
    let head = "Version 3.0\n# namespace old\n";
    let record = text.strip_prefix(head).unwrap();
    let digest = |n: usize| {
        let mut bytes = [0; 20];
        bytes[0] = n as u8;
        base64_simd::STANDARD.encode_to_string(bytes)
    };
    let own = record.lines().nth(2).unwrap().strip_prefix("+ d ").unwrap().to_owned();
    let numbered = |n: usize| record.replace(&own, &digest(n));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bad.asb");
    // Each damage, and what must be said of it.
    let damages: [(&str, &str, &str); 22] = [
        ("+ k S 1 k", "+ k S 2 k", "line feed after the value"),
        ("+ k S 1 k", "+ k Q 1 k", "key type"),
        ("+ k S 1 k", "+ k S 4294967295 k", "length of at most"),
        ("+ k S 1 k", "+ k S -1 k", "a length in digits"),
        ("+ k S 1 k", "+ k I 1.5", "64-bit signed integer"),
        ("+ k S 1 k", "+ k D x", "floating-point"),
        ("+ n old", "+ n new", "namespace that the file's head names"),
        ("+ n old\n", "", "beginning \"+ n \""),
        ("+ d ", "+ d A", "a digest"),
        ("+ d ", "+ e ", "beginning \"+ d \""),
        ("+ g 1", "+ g -1", "a generation"),
        ("+ g 1\n", "", "beginning \"+ g \""),
        ("+ t 0", "+ t 4294967296", "an expiration time"),
        ("+ b 1", "+ b 2", "a bin"),
        ("+ b 1", "+ b 0", "no more than the 0 stated bins"),
        ("+ b 1", "+ b 65536", "a number of bins"),
        ("+ b 1", "+ b", "beginning \"+ b \""),
        ("- I ", "- U ", "LDT"),
        ("- I ", "- Q ", "type letter"),
        ("- I ", "- Z ", "a boolean"),
        ("- I back\\slash 1", "- I back\\slash 9223372036854775808", "64-bit"),
        ("- I back\\slash 1", "- B back\\slash 4 ====", "base64"),
    ];
    for (from, to, words) in damages {
        let bad = numbered(2).replacen(from, to, 1);
        assert_ne!(bad, numbered(2), "{from}");
        let text = [head, &numbered(1), &bad, &numbered(3), &numbered(4)].concat();
        std::fs::write(&path, &text).unwrap();
        let source = open(&path, None).unwrap();
        let strict = read(&source, "old", &Collector::default()).unwrap_err().to_string();
        assert!(strict.contains(words), "{from} -> {to}: {strict}");
        let lenient = Collector::going_on();
        read(&source, "old", &lenient).unwrap();
        let found: Vec<u8> = lenient.records().keys().map(|digest| digest[0]).collect();
        assert_eq!(found, [1, 3, 4], "{from} -> {to}");
        let bad = lenient.bad.lock().unwrap();
        assert_eq!(bad.len(), 1, "{from} -> {to}: {bad:?}");
        let offset: usize = bad[0].0.place.rsplit(' ').next().unwrap().parse().unwrap();
        let start = head.len() + numbered(1).len();
        assert!((start..=start + bad_length(&text, start)).contains(&offset), "{from} -> {to}: {bad:?}");
    }
}

/// The length of the record that begins at `start`, as far as the next `+ k`.
fn bad_length(text: &str, start: usize) -> usize {
    text[start + 1..].find("\n+ k").map_or(text.len() - start, |at| at + 2)
}

#[test]
fn a_bin_that_occurs_twice_makes_its_record_bad() {
    let text = std::fs::read_to_string(fixture("version-3.0.asb")).unwrap();
    let twice = text.replace("+ b 1\n", "+ b 2\n- I back\\slash 7\n");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("twice.asb");
    std::fs::write(&path, twice).unwrap();
    let error = read(&open(&path, None).unwrap(), "old", &Collector::default()).unwrap_err().to_string();
    assert!(error.contains("occurs twice"), "{error}");
}

#[test]
fn a_file_that_lost_only_its_last_line_feed_is_cut() {
    let mut text = std::fs::read(fixture("every-kind.asb")).unwrap();
    assert_eq!(text.pop(), Some(b'\n'));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cut.asb");
    std::fs::write(&path, text).unwrap();
    let error = read(&open(&path, None).unwrap(), NAMESPACE, &Collector::default()).unwrap_err().to_string();
    assert!(error.contains("line feed") && error.contains("end of the file"), "{error}");
}

#[test]
fn a_target_leaves_nothing_whole_until_it_is_finished() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("new/folder");
    let target = AsbTarget::create(&out, AsbTargetOptions::default()).unwrap();
    target.begin("bar", &NamespaceMetadata::default()).unwrap();
    assert!(files_in(&out).iter().all(|file| file.extension().unwrap() != "asb"));
    assert!(open(&out, None).is_err());
    target.finish().unwrap();
    assert_eq!(files_in(&out), [out.join("bar_00000.asb")]);
    assert_eq!(open(&out, None).unwrap().namespaces().unwrap(), ["bar"]);
    let batch = RecordBatch::new();
    assert!(target.begin("bar", &NamespaceMetadata::default()).is_err());
    assert!(target.write("foo", &batch, ConflictPolicy::Replace).is_err());
    assert!(!target.is_live());
}

#[test]
fn a_target_never_mixes_with_what_is_there() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("old.asb"), "x").unwrap();
    for path in [folder.path().to_owned(), folder.path().join("old.asb")] {
        let error = AsbTarget::create(&path, AsbTargetOptions::default()).err().unwrap().to_string();
        assert!(error.contains("already"), "{error}");
    }
    let single = AsbTarget::create(&folder.path().join("one.asb"), AsbTargetOptions::default()).unwrap();
    single.begin("bar", &NamespaceMetadata::default()).unwrap();
    let error = single.begin("foo", &NamespaceMetadata::default()).unwrap_err().to_string();
    assert!(error.contains("folder"), "{error}");
    let options = AsbTargetOptions { zstd: Some(99), ..Default::default() };
    assert!(AsbTarget::create(&folder.path().join("two.asb"), options).is_err());
}
