//! What is written: the same text, for every reader.

use crate::support::*;
use aerolith::record::{NamespaceMetadata, RecordBatch};
use aerolith::source::RecordSource;
use aerolith::target::asb::{AsbTarget, AsbTargetOptions};
use aerolith::target::{ConflictPolicy, RecordTarget};
use std::path::{Path, PathBuf};

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

/// `ASRESTORE` names Aerospike's own tool; it reads without a server when told to validate.
#[test]
fn asrestore_takes_what_is_written() {
    let Some(tool) = std::env::var_os("ASRESTORE") else { return println!("skipped: ASRESTORE is not set") };
    let mut inputs = vec![(fixture("every-kind.asb"), NAMESPACE, 7)];
    inputs.extend(real("zoo/plain.asb").map(|path| (path, "bar", 106)));
    inputs.extend(real("users/day0/full").map(|path| (path, "bar", 40_000)));
    for (input, namespace, records) in inputs {
        for zstd in [None, Some(1), Some(9)] {
            let folder = tempfile::tempdir().unwrap();
            copy(&input, folder.path(), namespace, AsbTargetOptions { zstd, file_limit: 5 << 20 });
            let mut command = std::process::Command::new(&tool);
            command.arg("--validate").arg("--directory").arg(folder.path());
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
