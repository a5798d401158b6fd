//! What is said of bad files, and how reading goes on behind bad places.

use crate::support::*;
use aerolith::{AsbOptions, AsbSource, Error, RecordSource, SecretSource};
use std::path::PathBuf;

#[test]
fn says_what_to_do_about_what_cannot_be_opened() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
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
        (aes.clone(), Some(path("missing.pem")), &["key of .asb files", "missing.pem"]),
        (aes.clone(), Some(path("other-key.pem")), &["doesn't open it", "AES-128"]),
        (path("noise.asb"), Some(fixture("key-pkcs1.pem")), &["doesn't open it", "AES-256"]),
    ];
    for (path, key, words) in cases {
        let error = AsbSource::open(&path, AsbOptions::default().key(key.map(SecretSource::from)).threads(None));
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
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("cut.asb");
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
        // Of a number at the very end digits may be missing: nobody can tell, so the file is named.
        let is_named = source.notes().iter().any(|note| note.contains("line feed"));
        let wrong = lenient.records().iter().filter(|(digest, record)| all.get(*digest) != Some(record)).count();
        assert!(wrong <= usize::from(is_named), "cut at {cut}");
        if boundaries.contains(&(cut + 1)) && cut > boundaries[0] {
            assert!(is_named && wrong == 0 && result.is_ok(), "cut at {cut}");
        }
        if is_named && result.is_ok() {
            assert_eq!(lenient.count(), boundaries.iter().filter(|&&end| end <= cut).count(), "cut at {cut}");
        } else if let Some(records) = boundaries.iter().position(|&end| end == cut) {
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
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("cut.asb");
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
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bad.asb");
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
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("twice.asb");
    std::fs::write(&path, twice).unwrap();
    let error = read(&open(&path, None).unwrap(), "old", &Collector::default()).unwrap_err().to_string();
    assert!(error.contains("occurs twice"), "{error}");
}

#[test]
fn a_file_that_lost_only_its_last_line_feed_is_taken_and_named() {
    for name in ["every-kind.asb", "compact.asb"] {
        let mut text = std::fs::read(fixture(name)).unwrap();
        assert_eq!(text.pop(), Some(b'\n'));
        let directory = tempfile::tempdir().unwrap();
        let namespace = open(&fixture(name), None).unwrap().namespaces().unwrap().remove(0);
        for bytes in [text.clone(), zstd::bulk::compress(&text, 3).unwrap()] {
            let path = directory.path().join("cut.asb");
            std::fs::write(&path, bytes).unwrap();
            let source = open(&path, None).unwrap();
            assert_eq!(source.notes(), [""; 0]);
            let records = Collector::default();
            read(&source, &namespace, &records).unwrap();
            assert_eq!(records.records(), records_of(&fixture(name), None, &namespace));
            assert!(source.notes()[0].contains("cut.asb") && source.notes()[0].contains("line feed"));
        }
        // A stream that broke there is another thing.
        let packed = zstd::bulk::compress(&text, 3).unwrap();
        let path = directory.path().join("broken.asb");
        std::fs::write(&path, &packed[..packed.len() - 1]).unwrap();
        if let Ok(source) = open(&path, None) {
            assert!(read(&source, &namespace, &Collector::default()).is_err());
        }
    }
}
