//! JSON lines as a source and as a target, seen from outside.

use aerolith::internals::jsonl::{Line, line_namespace, parse_line};
use aerolith::record::{
    BinRef, Digest, Generation, KeyRef, NamespaceMetadata, ParticleType, Privilege, RecordBatch, RecordMeta, Role,
    SecondaryIndex, UdfModule, User, VoidTime,
};
use aerolith::{
    BadRecord, ConflictPolicy, Control, Error, JsonlSource, JsonlTarget, RecordSink, RecordSource, RecordTarget,
    Remarks, Result, StreamSource,
};
use proptest::prelude::*;
use std::sync::Mutex;

const HEADER: &str = r#"{"aerolith":"jsonl","version":1}"#;
const GOOD: &str =
    r#"{"namespace":"test","key":{"type":"integer","value":7},"bins":[{"name":"n","type":"integer","value":1}]}"#;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Owned {
    digest: Digest,
    set: Vec<u8>,
    generation: u32,
    void_time: u32,
    key: Option<(u8, Vec<u8>)>,
    bins: Vec<(Vec<u8>, u8, Vec<u8>)>,
}

/// Keeps what it is given, and says of bad records whether to go on.
#[derive(Default)]
struct Sink {
    records: Mutex<Vec<Owned>>,
    bad: Mutex<Vec<BadRecord>>,
    stops: bool,
}

impl RecordSink for Sink {
    fn records(&self, batch: RecordBatch) -> Result<()> {
        assert!(!batch.is_empty());
        self.records.lock().unwrap().extend(owned(&batch));
        Ok(())
    }

    fn bad_record(&self, bad: BadRecord, error: Error) -> Result<()> {
        self.bad.lock().unwrap().push(bad);
        if self.stops { Err(error) } else { Ok(()) }
    }
}

fn owned(batch: &RecordBatch) -> Vec<Owned> {
    batch
        .iter()
        .map(|record| {
            let body = record.parse().unwrap();
            Owned {
                digest: record.meta.digest,
                set: record.meta.set.to_vec(),
                generation: record.meta.generation.0,
                void_time: record.meta.void_time.0,
                key: body.key().map(|key| (key.particle.0, key.bytes.to_vec())),
                bins: record
                    .in_source_order(body.bins())
                    .iter()
                    .map(|bin| (bin.name.to_vec(), bin.particle.0, bin.bytes.to_vec()))
                    .collect(),
            }
        })
        .collect()
}

fn source(text: &str) -> JsonlSource {
    JsonlSource::from_reader(&mut text.as_bytes(), "jsonl:input").unwrap()
}

fn read(source: &JsonlSource, namespace: &str) -> (Vec<Owned>, Vec<BadRecord>) {
    let sink = Sink::default();
    source.read(namespace, &sink, &Control::new()).unwrap();
    let mut records = sink.records.into_inner().unwrap();
    records.sort();
    let mut bad = sink.bad.into_inner().unwrap();
    bad.sort_by_key(|bad| bad.place.clone());
    (records, bad)
}

fn bytes(length: std::ops::Range<usize>) -> BoxedStrategy<Vec<u8>> {
    prop_oneof![
        proptest::collection::vec(any::<u8>(), length.clone()),
        proptest::collection::vec(32u8..127, length.clone()),
        proptest::collection::vec(prop_oneof![Just(0u8), Just(b'"'), Just(b'\\'), Just(b'\n'), Just(0x7f)], length),
    ]
    .boxed()
}

fn number() -> BoxedStrategy<Vec<u8>> {
    let special = prop_oneof![
        Just(i64::MIN as u64),
        Just(i64::MAX as u64),
        Just(0),
        Just((-0.0f64).to_bits()),
        Just(f64::NAN.to_bits() | 0xdead),
        Just(f64::NEG_INFINITY.to_bits()),
        Just(1),
        Just(f64::MAX.to_bits()),
        Just(5e-324f64.to_bits()),
        Just(0.1f64.to_bits()),
    ];
    prop_oneof![special, any::<u64>(), any::<f64>().prop_map(f64::to_bits)]
        .prop_map(|bits| bits.to_be_bytes().to_vec())
        .boxed()
}

fn particle() -> BoxedStrategy<(u8, Vec<u8>)> {
    prop_oneof![
        (1u8..3, number()),
        (prop_oneof![Just(1u8), Just(2)], bytes(0..12)),
        (any::<u8>(), bytes(0..60)),
        (0u8..25, bytes(0..60)),
        (Just(17u8), (0u8..3).prop_map(|value| vec![value])),
        (Just(23u8), bytes(0..40).prop_map(|text| [vec![0, 0, 0], text].concat())),
        (Just(23u8), bytes(0..40).prop_map(|text| [vec![1, 0, 1], text].concat())),
    ]
    .boxed()
}

fn record() -> impl Strategy<Value = Owned> {
    let bins = proptest::collection::hash_map(bytes(0..16), particle(), 0..12)
        .prop_map(|map| map.into_iter().map(|(name, (particle, bytes))| (name, particle, bytes)).collect());
    let key = proptest::option::of(particle().prop_map(|(particle, bytes)| (particle.max(1), bytes)));
    (any::<[u8; 20]>(), bytes(0..64), any::<u32>(), any::<u32>(), key, bins).prop_map(
        |(digest, set, generation, void_time, key, bins)| Owned {
            digest: Digest(digest),
            set,
            generation,
            void_time,
            key,
            bins,
        },
    )
}

fn batch_of(records: &[Owned]) -> RecordBatch {
    let mut batch = RecordBatch::new();
    for record in records {
        let meta = RecordMeta {
            digest: record.digest,
            set: &record.set,
            generation: Generation(record.generation),
            void_time: VoidTime(record.void_time),
        };
        let key = record.key.as_ref().map(|(particle, bytes)| KeyRef { particle: ParticleType(*particle), bytes });
        let bins: Vec<_> = record
            .bins
            .iter()
            .map(|(name, particle, bytes)| BinRef { name, particle: ParticleType(*particle), bytes })
            .collect();
        batch.push(meta, key, &bins).unwrap();
    }
    batch
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn gives_back_any_record_with_the_order_of_its_bins(
        mut records in proptest::collection::vec(record(), 1..20), namespace in "[a-z\"\\\\é]{1,12}",
        metadata in (bytes(0..9), bytes(0..9), any::<u8>(), any::<u8>(), bytes(0..99)),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out.jsonl");
        let target = JsonlTarget::new(&path).unwrap();
        let (name, bin, kind, value, content) = metadata;
        let set = bin.clone();
        let index = SecondaryIndex {
            set, name: name.clone(), kind, bin, value, context: content.clone(), expression: name.clone(),
            other: name.clone(),
        };
        let privilege = Privilege { code: kind, namespace: content.clone(), set: name.clone() };
        let (allow_list, quota) = (content.clone(), u32::from(value) << 24);
        let role = Role {
            name: name.clone(), privileges: vec![privilege; usize::from(kind % 3)], allow_list, read_quota: quota,
            write_quota: quota / 7,
        };
        let user = User { name: name.clone(), roles: vec![name.clone(); usize::from(value % 3)] };
        let udf = UdfModule { kind, name, content };
        let metadata = NamespaceMetadata {
            indexes: vec![index], udfs: vec![udf], roles: vec![role], users: vec![user], facts: Vec::new(),
        };
        target.begin(&namespace, &metadata).unwrap();
        let outcome = target.write(&namespace, &batch_of(&records), ConflictPolicy::Replace).unwrap();
        prop_assert_eq!((outcome.written, outcome.failed.len()), (records.len() as u64, 0));
        target.finish().unwrap();

        let source = JsonlSource::open(&path).unwrap();
        prop_assert_eq!(source.namespaces().unwrap(), [namespace.clone()]);
        prop_assert_eq!(source.metadata(&namespace).unwrap(), metadata);
        let (read, bad) = read(&source, &namespace);
        prop_assert_eq!(bad, []);
        records.sort();
        prop_assert_eq!(read, records);
        // Every line is JSON for other readers too.
        for line in std::fs::read_to_string(&path).unwrap().lines() {
            serde_json::from_str::<serde_json::Value>(line).unwrap();
        }
    }
}

#[test]
fn writes_lines_that_people_can_read() {
    let double = |value: f64| value.to_bits().to_be_bytes().to_vec();
    let record = Owned {
        digest: Digest::compute(b"users", ParticleType::STRING, b"ada"),
        set: b"users".to_vec(),
        generation: 3,
        void_time: 536_457_600,
        key: Some((3, b"ada".to_vec())),
        bins: vec![
            (b"n".to_vec(), 1, (-5i64).to_be_bytes().to_vec()),
            (b"d".to_vec(), 2, double(0.25)),
            (b"z".to_vec(), 2, double(-0.0)),
            (b"nan".to_vec(), 2, double(f64::from_bits(0x7ff8_0000_0000_0001))),
            (b"b".to_vec(), 17, vec![1]),
            (b"g".to_vec(), 23, b"\0\0\0{}".to_vec()),
            (b"l".to_vec(), 20, vec![0x91, 1, 3]),
            (vec![0xff], 99, vec![]),
        ],
    };
    let shared = std::sync::Arc::new(Mutex::new(Vec::new()));
    struct Writer(std::sync::Arc<Mutex<Vec<u8>>>);
    impl std::io::Write for Writer {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let target = JsonlTarget::to_writer(Box::new(Writer(shared.clone())), "jsonl:-".into());
    target.write("test", &batch_of(&[record]), ConflictPolicy::Keep).unwrap();
    target.finish().unwrap();
    let text = String::from_utf8(shared.lock().unwrap().clone()).unwrap();
    let expected = concat!(
        r#"{"aerolith":"jsonl","version":1}"#,
        "\n",
        r#"{"kind":"record","namespace":"test","set":"users","digest":"DIGEST","key":{"type":"string","value":"ada"},"#,
        r#""generation":3,"void_time":536457600,"expires":"2027-01-01T00:00:00.000Z","bins":["#,
        r#"{"name":"n","type":"integer","value":-5},{"name":"d","type":"double","value":0.25},"#,
        r#"{"name":"z","type":"double","bits":"8000000000000000"},"#,
        r#"{"name":"nan","type":"double","bits":"7ff8000000000001"},{"name":"b","type":"bool","value":true},"#,
        r#"{"name":"g","type":"geojson","value":"{}"},{"name":"l","type":"list","base64":"kQED"},"#,
        r#"{"name":{"base64":"/w=="},"type":99,"base64":""}]}"#,
        "\n"
    )
    .replace("DIGEST", &Digest::compute(b"users", ParticleType::STRING, b"ada").to_string());
    assert_eq!(text, expected);
}

#[test]
fn reports_bad_lines_with_their_place_and_goes_on() {
    // Each line, and what the report must say of it.
    let table = [
        ("{", "EOF"),
        ("[]", "invalid type"),
        ("null", "invalid type"),
        (r#"{"kind":"recrod","namespace":"test"}"#, "recrod"),
        (r#"{"namespace":"test"}"#, "digest"),
        (r#"{"namespace":"test","key":[null,1,1],"bins":[]}"#, "invalid type: sequence"),
        (r#"{"namespace":"test","key":{"type":1,"value":1},"bins":[["a",1,1]]}"#, "invalid type: sequence"),
        (r#"{"namespace":"test","key":{"type":"integer","value":1}}"#, "bins"),
        (r#"{"key":{"type":"integer","value":1},"bins":[]}"#, "namespace"),
        (r#"{"namespace":"test","digest":"53","bins":[]}"#, "40 hexadecimal digits"),
        (r#"{"namespace":"test","digest":7,"bins":[]}"#, "a string"),
        (r#"{"namespace":"test","key":{"type":"integer"},"bins":[]}"#, "none"),
        (r#"{"namespace":"test","key":{"type":"integer","value":1,"base64":""},"bins":[]}"#, "more than one"),
        (r#"{"namespace":"test","key":{"type":"integer","value":"1"},"bins":[]}"#, "64-bit integer"),
        (r#"{"namespace":"test","key":{"type":"list","value":"x"},"bins":[]}"#, "base64 for type list"),
        (r#"{"namespace":"test","key":{"type":"blob","base64":"?"},"bins":[]}"#, "base64 with padding"),
        (r#"{"namespace":"test","key":{"type":"lst","base64":""},"bins":[]}"#, "lst"),
        (r#"{"namespace":"test","key":{"type":256,"base64":""},"bins":[]}"#, "256"),
        (r#"{"namespace":"test","key":{"type":0,"base64":""},"bins":[]}"#, "user key of type 0"),
        (r#"{"namespace":"test","key":{"type":"double","bits":"12"},"bins":[]}"#, "16 hexadecimal digits"),
        (r#"{"namespace":"test","key":{"type":"integer","value":1},"bins":[{"type":1,"value":1}]}"#, "a bin's name"),
        (r#"{"namespace":"test","set":{"base46":""},"key":{"type":1,"value":1},"bins":[]}"#, "base64"),
        (r#"{"namespace":"test","key":{"type":1,"value":1},"generation":-1,"bins":[]}"#, "-1"),
        (r#"{"namespace":"test","key":{"type":1,"value":1},"void_time":4294967296,"bins":[]}"#, "4294967296"),
        (
            concat!(
                r#"{"namespace":"test","key":{"type":1,"value":1},"#,
                r#""bins":[{"name":"a","type":1,"value":1},{"name":"a","type":1,"value":2}]}"#,
            ),
            "occurs twice",
        ),
        (r#"{"kind":"index","namespace":"test","name":"i","index_type":"NN","value_type":"N"}"#, "one letter"),
        (r#"{"kind":"udf","namespace":"test","name":"u","language":"L"}"#, "content"),
        (r#"{"kind":"role","namespace":"test","name":"r","privileges":[{"code":256}]}"#, "256"),
        (r#"{"kind":"role","namespace":"test","name":"r","privileges":[{"set":"s"}]}"#, "code"),
        (r#"{"kind":"user","namespace":"test","roles":["r"]}"#, "name"),
        (r#"{"aerolith":"other","version":1}"#, "the header"),
    ];
    for (line, says) in table {
        let text = format!("{HEADER}\n{GOOD}\n{line}\n{GOOD}\n");
        let (records, bad) = read(&source(&text), "test");
        assert_eq!(records.len(), 2, "{line}");
        assert_eq!(bad.len(), 1, "{line}");
        assert!(bad[0].problem.contains(says), "{line}: {}", bad[0].problem);
        let offset: usize = bad[0].place.strip_prefix("jsonl:input at byte ").unwrap().parse().unwrap();
        let start = HEADER.len() + GOOD.len() + 2;
        assert!((start..=start + line.len()).contains(&offset), "{line}: byte {offset}");
    }
}

#[test]
fn a_file_that_is_cut_off_inside_a_line_breaks_off_for_every_namespace_at_every_cut() {
    let other = GOOD.replace("test", "other");
    let whole = format!("{HEADER}\n{GOOD}\n{other}\n{GOOD}\n");
    let last = whole.len() - GOOD.len() - 1;
    for cut in last..whole.len() {
        let source = source(&whole[..cut]);
        for (namespace, before) in [("test", 1), ("other", 1)] {
            let (records, bad) = read(&source, namespace);
            if cut == last || cut == whole.len() - 1 {
                // Between two lines, or with the last one whole but for its end.
                let whole = usize::from(cut > last && namespace == "test");
                assert_eq!((records.len(), bad), (before + whole, vec![]), "{namespace} cut at {cut}");
                continue;
            }
            assert_eq!((records.len(), bad.len()), (before, 1), "{namespace} cut at {cut}");
            assert!(bad[0].breaks_off && bad[0].problem.contains("found the end of the file"), "{:?}", bad[0]);
            assert_eq!(bad[0].place, format!("jsonl:input at byte {cut}"));
        }
    }
    // A last line that is whole and wrong ends nothing, and neither does one that has an end.
    for last in [r#"{"namespace":"test"}"#, "{\n", "nonsense"] {
        let (_, bad) = read(&source(&format!("{HEADER}\n{GOOD}\n{last}")), "test");
        assert!(bad.len() == 1 && !bad[0].breaks_off, "{bad:?}");
    }
}

#[test]
fn stops_at_a_bad_line_if_the_sink_says_so() {
    let sink = Sink { stops: true, ..Sink::default() };
    let text = format!("{HEADER}\n{GOOD}\nnonsense\n{GOOD}\n");
    let error = source(&text).read("test", &sink, &Control::new()).unwrap_err();
    let start = (HEADER.len() + GOOD.len() + 2) as u64;
    assert!(matches!(&error, Error::Malformed { offset, .. } if (start..start + 9).contains(offset)), "{error}");
}

#[test]
fn an_error_of_the_sink_ends_a_long_reading() {
    struct Full;
    impl RecordSink for Full {
        fn records(&self, _: RecordBatch) -> Result<()> {
            Err(Error::invalid("the sink is full"))
        }
        fn bad_record(&self, _: BadRecord, error: Error) -> Result<()> {
            Err(error)
        }
    }
    let blob = base64_simd::STANDARD.encode_to_string(vec![7u8; 100_000]);
    let line = format!(
        r#"{{"namespace":"test","key":{{"type":1,"value":1}},"bins":[{{"name":"b","type":4,"base64":"{blob}"}}]}}"#
    );
    let text = format!("{HEADER}\n{}", format!("{line}\n").repeat(400));
    let error = source(&text).read("test", &Full, &Control::new()).unwrap_err();
    assert_eq!(error.to_string(), "the sink is full");
}

#[test]
fn keeps_namespaces_apart_and_reports_each_bad_line_once() {
    let other = GOOD.replace("test", "other");
    let bad_test = r#"{"namespace":"test"}"#;
    let index = r#"{"kind":"index","namespace":"test","name":"i","index_type":"N","value_type":"S"}"#;
    let text = format!("{HEADER}\n{GOOD}\n{other}\n\n  \r\nnonsense\n{HEADER}\n{bad_test}\n{index}\n{GOOD}");
    let source = source(&text);
    assert_eq!(source.namespaces().unwrap(), ["other", "test"]);
    let (records, bad) = read(&source, "other");
    assert_eq!((records.len(), bad.len()), (1, 1));
    let (records, bad) = read(&source, "test");
    assert_eq!((records.len(), bad.len()), (2, 1));
    assert!(bad[0].problem.contains("digest"), "{}", bad[0].problem);
    assert_eq!(source.metadata("test").unwrap().indexes.len(), 1);
    assert_eq!(source.metadata("other").unwrap(), NamespaceMetadata::default());
}

#[test]
fn keeps_the_order_of_indexes_in_a_long_file() {
    let index =
        |n: usize| format!(r#"{{"kind":"index","namespace":"test","name":"{n}","index_type":"N","value_type":"S"}}"#);
    let padding = format!("{}\n", GOOD.replace("\"n\"", &format!("\"{}\"", "n".repeat(200)))).repeat(4000);
    let text: String = (0..8).map(|n| format!("{}\n{padding}", index(n))).collect();
    let indexes = source(&format!("{HEADER}\n{text}")).metadata("test").unwrap().indexes;
    let names: Vec<_> = indexes.into_iter().map(|index| String::from_utf8(index.name).unwrap()).collect();
    assert_eq!(names, ["0", "1", "2", "3", "4", "5", "6", "7"]);
}

#[test]
fn refuses_files_that_are_something_else() {
    let open = |text: &str| JsonlSource::from_reader(&mut text.as_bytes(), "jsonl:x").map(|_| ()).unwrap_err();
    for text in ["", "\n", GOOD, "Version 3.1\n# namespace test\n", r#"{"aerolith":"jsonl"}"#] {
        assert!(matches!(open(text), Error::Malformed { offset: 0, .. }), "{text}");
    }
    let newer = open(r#"{"aerolith":"jsonl","version":2}"#);
    assert!(matches!(newer, Error::UnknownVersion { found: 2, known: 1, .. }), "{newer}");
    let only_bad = source(&format!("{HEADER}\nnonsense\n"));
    assert!(matches!(only_bad.namespaces(), Err(Error::Malformed { offset, .. }) if offset >= 33));
    let missing = JsonlSource::open("/no/such/file.jsonl").map(|_| ()).unwrap_err().to_string();
    assert!(missing.contains("/no/such/file.jsonl"), "{missing}");
}

#[test]
fn counts_the_bytes_that_it_reads_and_stops_on_request() {
    let text = format!("{HEADER}\n{GOOD}\n");
    let (source, control) = (source(&text), Control::new());
    source.read("test", &Sink::default(), &control).unwrap();
    assert_eq!((control.bytes_in(), control.total_bytes()), (text.len() as u64, text.len() as u64));
    control.stop();
    assert!(matches!(source.read("test", &Sink::default(), &control), Err(Error::Cancelled)));
}

#[test]
fn never_overwrites_and_leaves_nothing_unfinished() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("out.jsonl");
    let files = || std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>();
    let begun = || JsonlTarget::new(&path).and_then(|target| Ok((target.begin("test", &Default::default())?, target)));
    drop(begun().unwrap());
    assert_eq!(files(), [""; 0]);

    // One that a crash left is removed, and that is said; one that is in use is left alone.
    let left = "out.jsonl.0123456789abcdef.partial";
    std::fs::write(dir.path().join(left), vec![b'x'; 10_000]).unwrap();
    let (Remarks { notes, .. }, target) = begun().unwrap();
    assert!(notes[0].contains(left), "{notes:?}");
    let second = begun().map(|_| ()).unwrap_err().to_string();
    assert!(second.contains("another restore is writing"), "{second}");
    assert_eq!(files().len(), 1);
    target.finish().unwrap();
    drop(target);
    assert_eq!(files(), ["out.jsonl"]);
    let named = r#"{"kind":"namespace","namespace":"test"}"#;
    assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{HEADER}\n{named}\n"));

    let again = JsonlTarget::new(&path).map(|_| ()).unwrap_err().to_string();
    assert!(again.contains("not overwritten"), "{again}");
    // Nor one that came into being meanwhile.
    std::fs::remove_file(&path).unwrap();
    let (_, target) = begun().unwrap();
    std::fs::write(&path, "mine").unwrap();
    assert!(target.finish().is_err());
    drop(target);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
    assert_eq!(files(), ["out.jsonl"]);
}

#[test]
fn the_entry_points_for_a_fuzzer_take_anything() {
    for line in [&b""[..], b"{", b"\xff", b"{\"namespace\":\"\\ud800\"}", &[b'['; 100_000]] {
        assert!(parse_line(line).is_err());
        assert!(line_namespace(line).is_err());
    }
    assert_eq!(parse_line(HEADER.as_bytes()), Ok(Line::Header(1)));
}

#[test]
#[ignore = "measures speed; run in release"]
fn measures_a_hundred_thousand_records() {
    use aerolith::embedded::sample;
    let records: Vec<Owned> = (0..100_000)
        .map(|index| {
            let record = sample::record(index, 0);
            Owned {
                digest: record.key.digest(&record.set),
                set: record.set.clone(),
                generation: 1,
                void_time: 0,
                key: Some((record.key.particle.0, record.key.bytes)),
                bins: record.bins.into_iter().map(|bin| (bin.name.to_vec(), bin.particle.0, bin.bytes)).collect(),
            }
        })
        .collect();
    let batches: Vec<_> = records.chunks(3000).map(batch_of).collect();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("out.jsonl");
    let start = std::time::Instant::now();
    let target = JsonlTarget::new(&path).unwrap();
    batches.iter().for_each(|batch| drop(target.write("test", batch, ConflictPolicy::Replace).unwrap()));
    target.finish().unwrap();
    println!("write, one thread: {:?}, {} bytes", start.elapsed(), std::fs::metadata(&path).unwrap().len());
    struct Count;
    impl RecordSink for Count {
        fn records(&self, _: RecordBatch) -> Result<()> {
            Ok(())
        }
        fn bad_record(&self, _: BadRecord, error: Error) -> Result<()> {
            Err(error)
        }
    }
    let source = JsonlSource::open(&path).unwrap();
    let start = std::time::Instant::now();
    source.namespaces().unwrap();
    println!("first reading: {:?}", start.elapsed());
    let start = std::time::Instant::now();
    source.read("test", &Count, &Control::new()).unwrap();
    println!("second reading: {:?}", start.elapsed());
}
