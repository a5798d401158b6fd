//! What is read from each kind of file and line.

use crate::support::*;
use aerolith::record::{Digest, ParticleType, RecordBatch};
use aerolith::{AsbTargetOptions, AsbVersion, Control, Error, RecordSource, SourceShape};

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
    let directory = tempfile::tempdir().unwrap();
    let older = AsbTargetOptions::default().version(AsbVersion::V3_1);
    let omissions = copy(&fixture("version-3.2.asb"), directory.path(), NAMESPACE, older);
    assert_eq!(omissions.len(), 1);
    assert!(omissions[0].contains("by-exp") && omissions[0].contains("expression"), "{omissions:?}");
    let text = std::fs::read_to_string(directory.path().join("name space_00000.asb")).unwrap();
    assert_eq!(text, "Version 3.1\n# namespace name\\ space\n# first-file\n");
    // Left to itself, the copy has all of it.
    let copied = directory.path().join("copy.asb");
    assert_eq!(copy(&fixture("version-3.2.asb"), &copied, NAMESPACE, AsbTargetOptions::default()), [""; 0]);
    let [copied, original] = [copied, fixture("version-3.2.asb")].map(|path| std::fs::read_to_string(path).unwrap());
    assert_eq!(copied.replace("# first-file\n", ""), original);
}

#[test]
fn a_directory_groups_its_files_by_namespace() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["every-kind.asb", "version-3.0.asb", "version-3.2.asb"] {
        std::fs::copy(fixture(name), directory.path().join(name)).unwrap();
    }
    std::fs::write(directory.path().join("notes.txt"), "no backup").unwrap();
    std::fs::write(directory.path().join("cut.asb.partial"), "no backup").unwrap();
    let source = open(directory.path(), None).unwrap();
    assert_eq!(source.namespaces().unwrap(), [NAMESPACE, "old"]);
    assert_eq!(source.metadata(NAMESPACE).unwrap().indexes.len(), 5);
    assert_eq!(records_of(directory.path(), None, NAMESPACE).len(), 7);
    assert_eq!(records_of(directory.path(), None, "old").len(), 1);
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
