//! What the format can't hold is refused with a reason, and what it can is laid out as asbackup does.

use super::*;
use crate::record::{
    BinRef, Digest, Generation, KeyRef, ParticleType, RecordMeta, SecondaryIndex, UdfModule, VoidTime,
};

fn record(generation: u32, set: &[u8], key: Option<KeyRef<'_>>, bins: &[BinRef<'_>]) -> RecordBatch {
    let mut batch = RecordBatch::new();
    let meta = RecordMeta { digest: Digest([9; 20]), set, generation: Generation(generation), void_time: VoidTime(5) };
    batch.push(meta, key, bins).unwrap();
    batch
}

fn formatted(batch: &RecordBatch) -> Result<String, String> {
    let mut out = b"before".to_vec();
    let result = Formatter::new(b"a b").put_record(&mut out, &batch.get(0).unwrap());
    if result.is_err() {
        assert_eq!(out, b"before", "a refused record leaves nothing behind");
    }
    result.map(|()| out[6..].escape_ascii().to_string().replace("\\n", "\n"))
}

fn bin<'a>(name: &'a [u8], particle: u8, bytes: &'a [u8]) -> BinRef<'a> {
    BinRef { name, particle: ParticleType(particle), bytes }
}

#[test]
fn lays_a_record_out_as_asbackup_does() {
    let one = 1i64.to_be_bytes();
    let half = 0.5f64.to_be_bytes();
    let key = KeyRef { particle: ParticleType::BLOB, bytes: &[0, 1, 255] };
    let bins = [bin(b"z z", 1, &one), bin(b"a", 2, &half), bin(b"m", 20, &[0x90]), bin(b"n", 0, &[])];
    let text = formatted(&record(7, b"the set", Some(key), &bins)).unwrap();
    let expected = "+ k B 4 AAH/\n+ n a\\\\ b\n+ d CQkJCQkJCQkJCQkJCQkJCQkJCQk=\n+ s the\\\\ set\n+ g 7\n+ t 5\n+ b 4\n\
        - I z\\\\ z 1\n- D a 0.5\n- L m 4 kA==\n- N n\n";
    assert_eq!(text, expected);
    let text = formatted(&record(1, b"", None, &[])).unwrap();
    assert_eq!(text, "+ n a\\\\ b\n+ d CQkJCQkJCQkJCQkJCQkJCQkJCQk=\n+ g 1\n+ t 5\n+ b 0\n");
}

#[test]
fn leaves_out_the_cells_of_geojson_and_nothing_else() {
    let cells = [&[1, 0, 2][..], &[0xee; 16], b"{}"].concat();
    assert!(formatted(&record(1, b"", None, &[bin(b"g", 23, &cells)])).unwrap().ends_with("- G g 2 {}\n"));
}

#[test]
fn refuses_what_the_format_cannot_hold() {
    let integer = 1i64.to_be_bytes();
    let signalling = 0x7ff0_0000_0000_0001u64.to_be_bytes();
    let key = |particle: u8, bytes: &'static [u8]| Some(KeyRef { particle: ParticleType(particle), bytes });
    let cases: Vec<(RecordBatch, &str)> = vec![
        (record(65_536, b"", None, &[]), "generation 65536"),
        (record(1, b"s\0", None, &[]), "NUL"),
        (record(1, b"", None, &[bin(b"a\0", 1, &integer)]), "NUL"),
        (record(1, b"", None, &[bin(b"ok", 1, &integer), bin(b"odd", 99, b"x")]), "bin odd is of type particle99"),
        (record(1, b"", None, &[bin(b"i", 1, b"1234")]), "bin i is an integer of 4 bytes"),
        (record(1, b"", None, &[bin(b"d", 2, b"1234")]), "bin d is a double of 4 bytes"),
        (record(1, b"", None, &[bin(b"d", 2, &signalling)]), "NaN with a payload"),
        (record(1, b"", None, &[bin(b"b", 17, &[2])]), "neither 0 nor 1"),
        (record(1, b"", None, &[bin(b"g", 23, &[0, 0])]), "GeoJSON that is cut off"),
        (record(1, b"", None, &[bin(b"g", 23, &[0, 0, 1, 7])]), "GeoJSON that is cut off"),
        (record(1, b"", None, &[bin(b"n", 0, b"x")]), "of type null"),
        (record(1, b"", key(17, &[1]), &[]), "user key is of type bool"),
        (record(1, b"", key(1, &[1]), &[]), "user key is an integer of 1 bytes"),
    ];
    for (batch, reason) in cases {
        let found = formatted(&batch).unwrap_err();
        assert!(found.contains(reason), "{found}");
    }
}

#[test]
fn a_refused_record_is_counted_and_the_others_are_written() {
    let directory = tempfile::tempdir().unwrap();
    let target = AsbTarget::new(directory.path(), AsbTargetOptions::default()).unwrap();
    target.begin("bar", &NamespaceMetadata::default()).unwrap();
    let mut batch = record(1, b"", None, &[]);
    let meta = RecordMeta { digest: Digest([1; 20]), set: b"", generation: Generation(1), void_time: VoidTime(0) };
    batch.push(meta, None, &[bin(b"odd", 99, b"x")]).unwrap();
    let outcome = target.write("bar", &batch, ConflictPolicy::Newer).unwrap();
    assert_eq!((outcome.written, outcome.failed.len()), (1, 1));
    assert_eq!(outcome.failed[0].digest, Digest([1; 20]));
    target.finish().unwrap();
    let text = std::fs::read_to_string(directory.path().join("bar_00000.asb")).unwrap();
    assert_eq!(text.matches("+ d ").count(), 1);
}

#[test]
fn files_turn_over_at_the_limit_and_only_the_first_is_marked() {
    let directory = tempfile::tempdir().unwrap();
    let options = AsbTargetOptions { file_limit: Some(140), ..Default::default() };
    let target = AsbTarget::new(directory.path(), options).unwrap();
    target.begin("bar", &NamespaceMetadata::default()).unwrap();
    let batch = record(1, b"", None, &[]);
    for _ in 0..5 {
        target.write("bar", &batch, ConflictPolicy::Replace).unwrap();
    }
    target.finish().unwrap();
    let texts: Vec<_> = (0..3)
        .map(|number| std::fs::read_to_string(directory.path().join(format!("bar_{number:05}.asb"))).unwrap())
        .collect();
    assert_eq!(texts.iter().map(|text| text.matches("+ d ").count()).collect::<Vec<_>>(), [2, 2, 1]);
    assert!(texts[0].starts_with("Version 3.1\n# namespace bar\n# first-file\n+ n "));
    assert!(texts[1].starts_with("Version 3.1\n# namespace bar\n+ n "));
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 3);
}

/// What is left out of files of a version, and the first file's text.
fn begun(metadata: &NamespaceMetadata, version: Option<AsbVersion>) -> (Vec<String>, Vec<String>, String) {
    let directory = tempfile::tempdir().unwrap();
    let options = AsbTargetOptions { version, ..Default::default() };
    let target = AsbTarget::new(directory.path(), options).unwrap();
    let Remarks { omissions, notes } = target.begin("bar", metadata).unwrap();
    target.finish().unwrap();
    let text = std::fs::read_to_string(directory.path().join("bar_00000.asb")).unwrap();
    (omissions, notes, text)
}

#[test]
fn names_every_index_and_module_that_it_leaves_out() {
    let index =
        SecondaryIndex { name: b"good".to_vec(), kind: b'N', value: b'S', bin: b"b".to_vec(), ..Default::default() };
    let metadata = NamespaceMetadata {
        indexes: vec![
            SecondaryIndex { name: b"by-exp".to_vec(), expression: vec![1], bin: Vec::new(), ..index.clone() },
            SecondaryIndex { name: b"odd-kind".to_vec(), kind: b'Q', ..index.clone() },
            SecondaryIndex { name: b"odd-value".to_vec(), value: b'I', ..index.clone() },
            SecondaryIndex { name: b"nul\0".to_vec(), ..index.clone() },
            index,
        ],
        udfs: vec![
            UdfModule { kind: b'L', name: b"a.lua".to_vec(), content: b"x".to_vec() },
            UdfModule { kind: b'W', name: b"b.wasm".to_vec(), content: b"x".to_vec() },
        ],
        ..Default::default()
    };
    let (omissions, notes, text) = begun(&metadata, Some(AsbVersion::V3_1));
    assert_eq!((omissions.len(), notes.len()), (5, 0), "{omissions:?}");
    for (omission, name) in omissions.iter().zip(["by-exp", "odd-kind", "odd-value", "nul", "b.wasm"]) {
        assert!(omission.contains(name), "{omission}");
    }
    assert_eq!(text, "Version 3.1\n# namespace bar\n# first-file\n* i bar  good N 1 b S\n* u L a.lua 1 x\n");
}

#[test]
fn an_index_over_an_expression_makes_the_file_one_of_version_3_2() {
    let by_bin = SecondaryIndex {
        name: b"by-bin".to_vec(),
        kind: b'L',
        value: b'N',
        bin: b"b".to_vec(),
        context: vec![0x92, 0x10, 0],
        ..Default::default()
    };
    let by_expression = SecondaryIndex {
        name: b"by exp".to_vec(),
        kind: b'N',
        value: b'N',
        expression: vec![0x93, 0x51, 2],
        ..Default::default()
    };
    let indexes = vec![by_expression.clone(), by_bin.clone()];
    let metadata = NamespaceMetadata { indexes, ..Default::default() };
    let (omissions, notes, text) = begun(&metadata, None);
    let lines = "* e bar  by\\ exp N 1  N k1EC\n* i bar  by-bin L 1 b N khAA\n";
    assert_eq!(text, format!("Version 3.2\n# namespace bar\n# first-file\n{lines}"));
    assert!(omissions.is_empty() && notes[0].contains("`version` 3.1"), "{omissions:?} {notes:?}");
    assert_eq!(begun(&metadata, Some(AsbVersion::V3_2)), (Vec::new(), Vec::new(), text));
    // Without one, asrestore reads the file.
    let plain = NamespaceMetadata { indexes: vec![by_bin], ..Default::default() };
    assert!(begun(&plain, None).2.starts_with("Version 3.1\n"));
    assert!(begun(&plain, Some(AsbVersion::V3_2)).2.starts_with("Version 3.2\n"));
}

#[test]
fn what_the_record_before_had_makes_no_difference() {
    let (one, half) = (1i64.to_be_bytes(), 0.5f64.to_be_bytes());
    let names: [&[u8]; 12] = [
        b"a",
        b"b",
        b"ab",
        b"ba",
        b"abc",
        b"abcd",
        b"abce",
        b"abcdefgh",
        b"abcdXfgh",
        b"abcdefghi",
        b"a name with spaces \\ and a backslash",
        b"a name with spaces \\ and a backslasH",
    ];
    let mut batch = RecordBatch::new();
    let meta = RecordMeta { digest: Digest([9; 20]), set: b"s", generation: Generation(1), void_time: VoidTime(5) };
    for n in 0..2000usize {
        // Names, types and orders change from one record to the next, not all at once.
        let mut bins: Vec<_> = (0..n % 4).map(|i| bin(names[(n / 3 + i * (n % 5 + 1)) % 12], 1, &one)).collect();
        bins.sort_by_key(|bin| bin.name);
        bins.dedup_by_key(|bin| bin.name);
        if n % 7 == 0 {
            bins.reverse();
        }
        if let Some(first) = bins.first_mut().filter(|_| n % 3 == 0) {
            *first = bin(first.name, 2, &half);
        }
        batch.push(meta, None, &bins).unwrap();
    }
    let (mut together, mut alone) = (Vec::new(), Vec::new());
    let mut formatter = Formatter::new(b"test");
    for record in batch.iter() {
        formatter.put_record(&mut together, &record).unwrap();
        Formatter::new(b"test").put_record(&mut alone, &record).unwrap();
        assert_eq!(together.escape_ascii().to_string(), alone.escape_ascii().to_string());
        together.clear();
        alone.clear();
    }
}
