//! What is written: the same text, for every reader.

use crate::support::*;
use aerolith::record::{NamespaceMetadata, RecordBatch};
use aerolith::{
    AsbCipher, AsbTarget, AsbTargetOptions, ConflictPolicy, Error, OptionsError, RecordSource, RecordTarget,
    SecretSource,
};
use std::path::{Path, PathBuf};

#[test]
fn a_file_comes_back_byte_for_byte() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("copy.asb");
    assert_eq!(copy(&fixture("every-kind.asb"), &out, NAMESPACE, AsbTargetOptions::default()), Vec::<String>::new());
    let (copied, original) = (std::fs::read(&out).unwrap(), std::fs::read(fixture("every-kind.asb")).unwrap());
    assert_eq!(copied.escape_ascii().to_string(), original.escape_ascii().to_string());
}

#[test]
fn real_backups_come_back_record_for_record() {
    let backups = ["zoo/plain.asb", "users/day0/full", "users/day1/full", "users/day2/incr", "users/day3/full"];
    for path in backups.into_iter().filter_map(real) {
        let directory = tempfile::tempdir().unwrap();
        let limit = AsbTargetOptions::default().file_limit(3u64 << 20);
        assert_eq!(copy(&path, directory.path(), "bar", limit), Vec::<String>::new());
        let originals = if path.is_dir() { files_in(&path) } else { vec![path.clone()] };
        let copies = files_in(directory.path());
        assert!(record_texts(&originals) == record_texts(&copies), "{}", path.display());
        let head = |file: &PathBuf| split(&std::fs::read(file).unwrap()).0;
        assert_eq!(head(&originals[0]), head(&copies[0]), "{}", path.display());
    }
}

#[test]
fn a_compressed_copy_holds_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("copy.asb");
    copy(&fixture("every-kind.asb"), &out, NAMESPACE, AsbTargetOptions::default().zstd(3));
    assert!(std::fs::read(&out).unwrap().starts_with(&[0x28, 0xb5, 0x2f, 0xfd]));
    assert_eq!(records_of(&out, None, NAMESPACE), records_of(&fixture("every-kind.asb"), None, NAMESPACE));
    let metadata = |path: &Path| open(path, None).unwrap().metadata(NAMESPACE).unwrap();
    assert_eq!(metadata(&out), metadata(&fixture("every-kind.asb")));
}

#[test]
fn an_encrypted_copy_holds_the_same_and_opens_with_its_key_alone() {
    let (key, expected) = (fixture("key-pkcs8.pem"), records_of(&fixture("every-kind.asb"), None, NAMESPACE));
    for (cipher, zstd) in [(AsbCipher::Aes128, None), (AsbCipher::Aes256, None), (AsbCipher::Aes256, Some(3))] {
        let directory = tempfile::tempdir().unwrap();
        // Several files, since each has a beginning of its own.
        let file_limit = 1u64;
        let options = AsbTargetOptions::default()
            .zstd(zstd)
            .cipher(cipher)
            .file_limit(file_limit)
            .key(SecretSource::from(key.clone()));
        copy(&fixture("every-kind.asb"), directory.path(), NAMESPACE, options.clone());
        let files = files_in(directory.path());
        assert!(files.len() > 1);
        let starts: Vec<_> = files.iter().map(|file| std::fs::read(file).unwrap()[..16].to_vec()).collect();
        assert!(starts.iter().all(|start| starts.iter().filter(|other| *other == start).count() == 1), "{starts:?}");
        assert!(open(directory.path(), None).err().unwrap().to_string().contains("`asb_key`"));
        assert_eq!(records_of(directory.path(), key.to_str(), NAMESPACE), expected, "{options:?}");
    }
}

#[test]
fn what_is_read_back_of_an_encrypted_target_is_what_was_written() {
    let directory = tempfile::tempdir().unwrap();
    let options = AsbTargetOptions::default().key(SecretSource::from(fixture("key-pkcs1.pem")));
    let target = AsbTarget::new(directory.path(), options).unwrap();
    target.begin("bar", &NamespaceMetadata::default()).unwrap();
    target.finish().unwrap();
    assert_eq!(target.read_back(None).unwrap().unwrap().namespaces().unwrap(), ["bar"]);
    let no_key = AsbTargetOptions::default().key(SecretSource::from(fixture("README.md")));
    let other = tempfile::tempdir().unwrap();
    let refused = AsbTarget::new(&other.path().join("out"), no_key).err().unwrap().to_string();
    assert!(refused.contains("no private key"), "{refused}");
    assert_eq!(files_in(other.path()), [""; 0].map(PathBuf::from));
}

#[test]
fn a_target_that_is_not_finished_leaves_nothing_behind() {
    let directory = tempfile::tempdir().unwrap();
    let batch = Collector::default();
    read(&open(&fixture("every-kind.asb"), None).unwrap(), NAMESPACE, &batch).unwrap();
    let batches = batch.batches.into_inner().unwrap();
    for path in [directory.path().join("new"), directory.path().to_owned(), directory.path().join("one.asb")] {
        let limit = path.extension().is_none().then_some(1);
        let target = AsbTarget::new(&path, AsbTargetOptions::default().file_limit(limit)).unwrap();
        target.begin(NAMESPACE, &NamespaceMetadata::default()).unwrap();
        for batch in &batches {
            target.write(NAMESPACE, batch, ConflictPolicy::Replace).unwrap();
        }
        drop(target);
        assert_eq!(files_in(directory.path()), [""; 0].map(PathBuf::from), "{}", path.display());
    }
    // A name that was taken meanwhile: no part of the others stays, and what has the name is not touched.
    let target = AsbTarget::new(directory.path(), AsbTargetOptions::default().file_limit(1u64)).unwrap();
    target.begin(NAMESPACE, &NamespaceMetadata::default()).unwrap();
    target.write(NAMESPACE, &batches[0], ConflictPolicy::Replace).unwrap();
    let taken = directory.path().join(format!("{NAMESPACE}_00000.asb"));
    std::fs::write(&taken, "mine").unwrap();
    let refused = target.finish().unwrap_err().to_string();
    assert!(refused.contains("not overwritten"), "{refused}");
    assert!(target.finish().is_err(), "nor the second time");
    drop(target);
    assert_eq!((files_in(directory.path()), std::fs::read(&taken).unwrap()), (vec![taken], b"mine".to_vec()));
}

#[test]
fn a_directory_takes_one_restore_at_a_time_and_is_free_again_then() {
    let directory = tempfile::tempdir().unwrap();
    let create = |path: &Path| AsbTarget::new(path, AsbTargetOptions::default());
    for path in [directory.path().join("out"), directory.path().join("one.asb")] {
        let first = create(&path).unwrap();
        first.begin("bar", &NamespaceMetadata::default()).unwrap();
        let refused = create(&path).and_then(|second| second.begin("bar", &NamespaceMetadata::default()));
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains("another restore is writing"), "{refused}");
        first.finish().unwrap();
        assert_eq!(open(&path, None).unwrap().namespaces().unwrap(), ["bar"]);
        drop(first);
        assert!(create(&path).err().unwrap().to_string().contains("already"));
    }
}

#[test]
fn what_a_killed_restore_left_is_removed_by_the_next_and_named() {
    let directory = tempfile::tempdir().unwrap();
    let left = "bar_00003.asb.0123456789abcdef.partial";
    let others = ["notes.txt", "one.jsonl.0123456789abcdef.partial"];
    for name in others.into_iter().chain([left]) {
        std::fs::write(directory.path().join(name), "x").unwrap();
    }
    let target = AsbTarget::new(directory.path(), AsbTargetOptions::default()).unwrap();
    let notes = target.begin("bar", &NamespaceMetadata::default()).unwrap().notes;
    assert!(notes[0].contains(left), "{notes:?}");
    target.finish().unwrap();
    let names = ["bar_00000.asb", others[0], others[1]].map(|name| directory.path().join(name));
    assert_eq!(files_in(directory.path()), names);
    let left = directory.path().join("one.asb.0123456789abcdef.partial");
    std::fs::write(&left, "x").unwrap();
    let target = AsbTarget::new(&directory.path().join("one.asb"), AsbTargetOptions::default()).unwrap();
    let notes = target.begin("bar", &NamespaceMetadata::default()).unwrap().notes;
    assert!(notes[0].contains("one.asb.0123456789abcdef.partial"), "{notes:?}");
    target.finish().unwrap();
    assert!(!left.exists());
}

#[test]
fn a_target_leaves_nothing_whole_until_it_is_finished() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("new");
    let target = AsbTarget::new(&out, AsbTargetOptions::default()).unwrap();
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
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("old.asb"), "x").unwrap();
    for path in [directory.path().to_owned(), directory.path().join("old.asb")] {
        let error = AsbTarget::new(&path, AsbTargetOptions::default()).err().unwrap().to_string();
        assert!(error.contains("already"), "{error}");
    }
    let single = AsbTarget::new(&directory.path().join("one.asb"), AsbTargetOptions::default()).unwrap();
    single.begin("bar", &NamespaceMetadata::default()).unwrap();
    let error = single.begin("foo", &NamespaceMetadata::default()).unwrap_err().to_string();
    assert!(error.contains("directory"), "{error}");
    let options = AsbTargetOptions::default().zstd(99);
    assert!(AsbTarget::new(&directory.path().join("two.asb"), options).is_err());
}

#[test]
fn a_limit_for_each_file_is_refused_for_a_single_one() {
    let directory = tempfile::tempdir().unwrap();
    for path in [directory.path().join("one.asb"), PathBuf::from("-")] {
        let refused = AsbTarget::new(&path, AsbTargetOptions::default().file_limit(1u64)).err().unwrap();
        let Error::Options(OptionsError::LimitOfSingleFile { target }) = refused else { panic!("{refused}") };
        assert_eq!(target, format!("asb:{}", path.display()));
    }
    assert_eq!(files_in(directory.path()), [""; 0].map(PathBuf::from));
}

/// `ASRESTORE` names Aerospike's own tool; it reads without a server when told to validate.
#[test]
fn asrestore_takes_what_is_written() {
    let Some(tool) = std::env::var_os("ASRESTORE") else { return println!("skipped: ASRESTORE is not set") };
    let mut inputs = vec![(fixture("every-kind.asb"), NAMESPACE, 7)];
    inputs.extend(real("zoo/plain.asb").map(|path| (path, "bar", 106)));
    inputs.extend(real("users/day0/full").map(|path| (path, "bar", 40_000)));
    for (input, namespace, records) in inputs {
        for zstd in [None, Some(1), Some(9)] {
            let directory = tempfile::tempdir().unwrap();
            copy(&input, directory.path(), namespace, AsbTargetOptions::default().zstd(zstd).file_limit(5u64 << 20));
            let mut command = std::process::Command::new(&tool);
            command.arg("--validate").arg("--directory").arg(directory.path());
            if zstd.is_some() {
                command.args(["--compress", "zstd"]);
            }
            let output = command.output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
            let counted = format!(" {records} record(s)");
            assert!(output.status.success() && said.contains(&counted), "{}: {said}", input.display());
        }
    }
}
