//! `.asb` files that are malformed or cut off.

use super::support::{Sandbox, asb, person};
use serde_json::json;

/// Three records; the second one's type letter is wrong.
fn with_a_bad_record() -> (String, usize) {
    let bad = person("bob", 1, 40).replace("- I age", "- Q age");
    let text = asb("test", &[person("ann", 1, 30), bad, person("cid", 1, 50)].concat());
    let at = text.find("- Q").unwrap();
    (text, at)
}

#[test]
fn a_malformed_record_is_named_by_file_offset_and_expectation_and_nothing_is_committed() {
    let sandbox = Sandbox::new();
    let (text, at) = with_a_bad_record();
    sandbox.write("bad.asb", &text);
    let failed = sandbox.run(&["backup", "asb:bad.asb"]).ends(1);
    failed.says(&["bad.asb at byte ", "expected a bin", "found "]).says(&[&format!("byte {at}")]);
    assert_eq!(sandbox.json(&["snapshots"])["snapshots"], json!([]));
    let session = sandbox.json(&["history"])["sessions"][0].clone();
    assert_eq!((&session["status"], &session["snapshot"]), (&json!("failed"), &json!(null)));
}

#[test]
fn bad_records_are_left_out_on_request_and_listed() {
    let sandbox = Sandbox::new();
    let (text, at) = with_a_bad_record();
    sandbox.write("bad.asb", &text);
    let skipped = sandbox.run(&["backup", "asb:bad.asb", "--skip-bad-records"]).ends(3);
    let place = format!("left out: bad.asb at byte {at}: expected a bin");
    skipped.says(&[&place]).shows(&["bad", "missing: 1 record of test that could not be parsed", "committed snapshot"]);
    let skipped = sandbox.run_with(&["backup", "asb:bad.asb", "--skip-bad-records"], |command| {
        command.args(["--json", "--quiet"]);
    });
    let json = skipped.ends(3).json();
    assert_eq!(
        (&json["namespaces"][0]["counts"]["bad"], &json["namespaces"][0]["live_records"]),
        (&json!(1), &json!(2))
    );
    assert_eq!(json["bad_records"][0]["place"], format!("bad.asb at byte {at}"));
    assert!(json["bad_records"][0]["problem"].as_str().unwrap().starts_with("expected a bin"), "{json}");
    sandbox.run(&["snapshots"]).ends(0).shows(&["incomplete"]);
    sandbox.run(&["show", "latest"]).ends(0).shows(&["missing      1 record of test"]);
    assert_eq!(sandbox.json(&["history"])["sessions"][0]["status"], "incomplete");
}

#[test]
fn what_is_missing_behind_a_bad_place_is_not_taken_for_deleted() {
    let sandbox = Sandbox::new();
    let whole = asb("test", &[person("ann", 1, 30), person("bob", 1, 40), person("cid", 1, 50)].concat());
    sandbox.write("day.asb", &whole);
    sandbox.run(&["backup", "asb:day.asb"]).ends(0);
    sandbox.write("day.asb", &whole[..whole.rfind("+ k").unwrap() + 9]);
    let cut = sandbox.run_with(&["backup", "asb:day.asb", "--skip-bad-records"], |command| {
        command.args(["--json", "--quiet"]);
    });
    let namespace = cut.ends(3).json()["namespaces"][0].clone();
    assert_eq!(
        (&namespace["counts"]["deleted"], &namespace["live_records"], &namespace["deletes_unknown"]),
        (&json!(0), &json!(3), &json!(true))
    );
}

#[test]
fn a_file_that_was_cut_off_fails_wherever_inside_a_record_it_ends() {
    let sandbox = Sandbox::new();
    let whole = asb("test", &[person("ann", 1, 30), person("bob", 1, 40)].concat());
    let second = whole.rfind("+ k").unwrap();
    for end in [second + 1, second + 9, second + 30, whole.len() - 6, whole.len() - 4] {
        sandbox.write("cut.asb", &whole[..end]);
        let failed = sandbox.run(&["backup", "asb:cut.asb"]).ends(1);
        failed.says(&["cut.asb at byte ", "expected ", "found the end of the file"]);
    }
    let skipped = sandbox.run(&["backup", "asb:cut.asb", "--skip-bad-records"]).ends(3);
    let skipped = skipped.says(&["left out: cut.asb at byte", "found the end of the file"]);
    // One record is known to be missing; how many more came after it nobody knows.
    let end = format!("everything after cut.asb at byte {}, where the text breaks off", whole.len() - 4);
    skipped.shows(&[&format!("missing: 1 record of test that could not be parsed, and {end}")]);
    sandbox.run(&["show", "latest"]).ends(0).shows(&[&end]);
    assert_eq!(sandbox.json(&["history"])["sessions"].as_array().unwrap().len(), 6);
}

#[test]
fn what_is_no_backup_is_refused_with_what_it_looks_like() {
    let sandbox = Sandbox::new();
    let data = format!("{}/tests/data/asb", env!("CARGO_MANIFEST_DIR"));
    std::fs::create_dir(sandbox.path("empty")).unwrap();
    sandbox.write("empty.asb", "");
    sandbox.write("letter.asb", "Dear reader,\nthis is no backup.\n");
    let fails = |source: &str, says: &[&str]| {
        sandbox.run(&["backup", source]).ends(1).says(says);
    };
    fails("asb:empty", &["the directory is empty", ".asb files"]);
    fails("asb:empty.asb", &["empty.asb at byte 0", "Version 3.1"]);
    fails("asb:letter.asb", &["neither as asb text nor as zstd", "key file"]);
    fails("asb:absent", &["source asb:absent not found", "Check the path"]);
    fails(&format!("asb:{data}/every-kind-aes128.asb"), &["every-kind-aes128.asb", "--asb-key"]);
    fails("jsonl:letter.asb", &["letter.asb at byte 0", "expected the header"]);
    fails("embedded:empty", &["embedded store", "not found"]);
    let encrypted = format!("asb:{data}/every-kind-zstd-aes256.asb");
    sandbox.run(&["backup", &encrypted, "--asb-key", "letter.asb"]).ends(1).says(&["letter.asb"]);
    let key = format!("{data}/key-pkcs8.pem");
    let opened = sandbox.json(&["backup", &encrypted, "--asb-key", &key]);
    assert_eq!(opened["namespaces"][0]["live_records"], 7);
    sandbox.run(&["verify", "latest", &encrypted, "--asb-key", &key]).ends(0);
}

#[test]
fn a_last_record_without_its_line_feed_is_taken_and_the_file_named() {
    let sandbox = Sandbox::new();
    let whole = asb("test", &[person("ann", 1, 30), person("bob", 1, 40)].concat());
    let with_text = whole.replace("- I age 40\n", "- S age 2 40\n");
    let without_bins = whole.replace("+ b 1\n- I age 40\n", "+ b 0\n");
    for (n, text) in [whole, with_text, without_bins].iter().enumerate() {
        let (name, cluster) = (format!("cut{n}.asb"), format!("cluster{n}"));
        sandbox.write("whole.asb", text);
        sandbox.write(&name, text.strip_suffix('\n').unwrap());
        let source = format!("asb:{name}");
        let taken = sandbox.run(&["backup", &source, "--cluster", &cluster]).ends(0);
        taken.says(&[&format!("{name}: its last record has no line feed at its end")]);
        let same = sandbox.run(&["verify", "latest", "asb:whole.asb", "--cluster", &cluster]).ends(0);
        assert!(!same.err.contains("line feed"), "{same:?}");
        sandbox.run(&["verify", "latest", &source, "--cluster", &cluster]).ends(0).says(&[&name, "line feed"]);
        let json = sandbox.json(&["backup", &source, "--cluster", &cluster]);
        assert_eq!(json["warnings"].as_array().unwrap().len(), 1, "{json}");
    }
    // What may be a part of a longer line is not taken.
    for (n, cut) in ["+ b 1", "+ b 1\n- N age"].iter().enumerate() {
        let text = asb("test", &person("ann", 1, 30)).replace("+ b 1\n- I age 30\n", cut);
        sandbox.write("cut.asb", &text);
        let failed = sandbox.run(&["backup", "asb:cut.asb", "--cluster", &format!("none{n}")]).ends(1);
        failed.says(&["cut.asb at byte", "the end of the file"]);
    }
}

#[test]
fn indexes_over_expressions_come_back_and_show_what_they_are_on() {
    let sandbox = Sandbox::new();
    // As this program writes them, and as backup-go does, which has the servers' word for no bin.
    let ours = "* e test  by-b N 1  S k1EDoWI=\n* e test people by-a N 1  N kxSTUQKhYQE=\n";
    let others = ours.replace(" 1  ", " 1 null ");
    let context = "* i test people in-list L 1 bin N khAB\n* i test  of-all V 1 m S\n";
    let module = "* u L t.lua 3 abc\n";
    let text = |globals: &str| asb("test", &person("ann", 1, 30)).replace("file\n", &format!("file\n{globals}"));
    for (cluster, globals) in [("ours", ours), ("others", &others)] {
        let whole = text(&format!("{globals}{context}{module}")).replace("Version 3.1", "Version 3.2");
        sandbox.write("in.asb", &whole);
        sandbox.run(&["backup", "asb:in.asb", "--cluster", cluster]).ends(0);
        let show = ["show", "latest", "--cluster", cluster];
        sandbox.run(&show).ends(0).shows(&[
            "index        by-a on the expression kxSTUQKhYQE= of set people, type N, values N\n",
            "index        by-b on the expression k1EDoWI= of all sets, type N, values S\n",
            "index        in-list on bin bin at the context khAB of set people, type L, values N\n",
            "index        of-all on bin m of all sets, type V, values S\n",
        ]);
        let shown = &sandbox.json(&show)["metadata"][0]["indexes"];
        assert_eq!((&shown[0]["bin"], &shown[0]["expression"]), (&json!(""), &json!("k1EDoWI=")));
        assert_eq!((&shown[2]["context"], &shown[2]["expression"]), (&json!("khAB"), &json!(null)));
        let out = format!("{cluster}.asb");
        sandbox.run(&["restore", "latest", &format!("asb:{out}"), "--cluster", cluster]).ends(0);
        let written = std::fs::read_to_string(sandbox.path(&out)).unwrap();
        let globals = |text: &str| text.lines().filter(|line| line.starts_with('*')).collect::<Vec<_>>().join("\n");
        assert_eq!(globals(&written), globals(&whole.replace(" null ", "  ")));
        assert!(written.starts_with("Version 3.2\n"), "{written}");
    }
}

#[test]
fn an_index_whose_expression_asbackup_left_out_is_named() {
    let sandbox = Sandbox::new();
    let lost = "* i test null by-exp N 1 null N\n* i test people by-bin N 1 age N\n";
    let whole = asb("test", &person("ann", 1, 30)).replace("file\n", &format!("file\n{lost}"));
    sandbox.write("in.asb", &whole);
    let backup = sandbox.run(&["backup", "asb:in.asb", "--cluster", "c"]).ends(0);
    backup.says(&["in.asb", "index \"by-exp\"", "leaves out the expression"]);
    sandbox.run(&["show", "latest"]).ends(0).shows(&["by-exp on bin null of all sets, bin=null", "by-bin on bin age"]);
    sandbox.run(&["restore", "latest", "asb:out.asb"]).ends(0);
    let written = std::fs::read_to_string(sandbox.path("out.asb")).unwrap();
    assert_eq!(written, whole.replace("test null", "test "));
}

#[test]
fn a_file_whose_head_names_no_namespace_is_read_as_asrestore_reads_it() {
    let sandbox = Sandbox::new();
    let other = person("ann", 1, 31).replace("+ n test", "+ n other");
    let index = "* i more s by-x N 1 x N\n";
    let records = [person("ann", 1, 30), other.clone(), person("bob", 1, 40)].concat();
    sandbox.write("all.asb", &format!("Version 3.1\n{index}{records}"));
    let backup = sandbox.json(&["backup", "asb:all.asb", "--cluster", "all"]);
    let held: Vec<_> =
        backup["namespaces"].as_array().unwrap().iter().map(|one| (&one["namespace"], &one["live_records"])).collect();
    assert_eq!(held, [(&json!("more"), &json!(0)), (&json!("other"), &json!(1)), (&json!("test"), &json!(2))]);
    sandbox.run(&["show", "latest"]).ends(0).shows(&["by-x"]);
    sandbox.run(&["verify", "latest", "asb:all.asb"]).ends(0);
    // In a directory each file brings what it has, also one that has nothing but a module.
    std::fs::create_dir(sandbox.path("directory")).unwrap();
    sandbox.write("directory/a.asb", &format!("Version 3.1\n{other}"));
    sandbox.write("directory/b.asb", &asb("test", &person("ann", 1, 30)));
    sandbox.write("directory/c.asb", "Version 3.1\n* u L sum.lua 3 abc\n");
    let backup = sandbox.json(&["backup", "asb:directory", "--cluster", "directory"]);
    assert_eq!(backup["namespaces"].as_array().unwrap().len(), 2);
    assert_eq!(
        sandbox.json(&["show", "latest", "--cluster", "directory"])["metadata"][1]["udf_modules"][0]["name"],
        "sum.lua"
    );
    // Alone it belongs to no namespace.
    sandbox.run(&["backup", "asb:directory/c.asb"]).ends(1).says(&["directory/c.asb", "names no namespace"]);
    // A head that names one means all that follows.
    sandbox.write("mixed.asb", &asb("test", &records));
    sandbox
        .run(&["backup", "asb:mixed.asb", "--cluster", "all"])
        .ends(1)
        .says(&["expected the namespace that the file's head names"]);
}

/// Writes what Aerospike Backup Service writes of a namespace.
fn of_service(sandbox: &Sandbox, backup: &str, namespace: &str, records: &str, is_done: bool) {
    let directory = format!("service/daily/{backup}/data/{namespace}");
    std::fs::create_dir_all(sandbox.path(&directory)).unwrap();
    sandbox.write(&format!("{directory}/0_{namespace}_1.asb"), &asb(namespace, records));
    if is_done {
        sandbox.write(&format!("{directory}/metadata.yaml"), "created: 2023-11-14T22:13:20Z\n");
    }
}

#[test]
fn a_tree_of_aerospike_backup_service_is_read_if_it_holds_one_backup() {
    let sandbox = Sandbox::new();
    let other = person("ann", 1, 31).replace("+ n test", "+ n other");
    of_service(&sandbox, "backup/1700000000000", "test", &person("ann", 1, 30), true);
    of_service(&sandbox, "backup/1700000000000", "other", &other, true);
    std::fs::create_dir(sandbox.path("service/daily/backup/1700000000000/configuration")).unwrap();
    for path in
        ["service", "service/daily", "service/daily/backup/1700000000000", "service/daily/backup/1700000000000/data"]
    {
        let source = format!("asb:{path}");
        let taken = sandbox.run(&["backup", &source, "--cluster", "shop"]).ends(0);
        taken.says(&["reading 2 files in service/daily/backup/1700000000000, the full backup of 2023-11-14T22:13:20"]);
    }
    assert_eq!(sandbox.json(&["show", "latest"])["namespaces"].as_array().unwrap().len(), 2);
    assert_eq!(sandbox.json(&["show", "latest"])["namespaces"][0]["source_time"], "2023-11-14T22:13:20.000Z");

    // What changed since is no whole backup, wherever it is named.
    of_service(&sandbox, "incremental/1700003600000_x", "test", &person("ann", 2, 33), true);
    let changes = "asb:service/daily/incremental/1700003600000_x";
    for path in [changes, &format!("{changes}/data/test"), &format!("{changes}/data/test/0_test_1.asb")] {
        let refused = sandbox.run(&["backup", path, "--cluster", "shop"]).ends(2);
        refused.says(&["an incremental backup of Aerospike Backup Service", "--kind incremental and --partial"]);
    }
    let backup = sandbox.json(&["backup", changes, "--cluster", "shop", "--kind", "incremental", "--partial"]);
    assert_eq!(backup["namespaces"][0]["counts"]["changed"], 1, "{backup}");

    // Of several nobody knows which is meant.
    of_service(&sandbox, "backup/1700086400000", "test", &person("ann", 3, 34), false);
    let several = sandbox.run(&["backup", "asb:service", "--cluster", "shop"]).ends(1);
    several.says(&[
        "service: it holds 3 backups: daily/backup/1700000000000 (full of 2023-11-14T22:13:20.000Z), ",
        "daily/incremental/1700003600000_x (incremental of 2023-11-14T23:13:20.000Z), ",
        "daily/backup/1700086400000 (full of 2023-11-15T22:13:20.000Z, not finished). Name one",
    ]);
    let unfinished = sandbox.run(&["backup", "asb:service/daily/backup/1700086400000", "--cluster", "shop"]).ends(1);
    unfinished.says(&["data/test", "no metadata.yaml", "did not finish"]);
    let named = "asb:service/daily/backup/1700086400000/data/test";
    sandbox.run(&["backup", named, "--cluster", "shop"]).ends(0);
}

#[test]
fn of_other_trees_one_directory_with_files_is_taken_and_several_are_named() {
    let sandbox = Sandbox::new();
    for day in ["monday", "tuesday"] {
        std::fs::create_dir_all(sandbox.path(&format!("days/{day}"))).unwrap();
        sandbox.write(&format!("days/{day}/test.asb"), &asb("test", &person("ann", 1, 30)));
        let run = sandbox.run(&["backup", "asb:days"]);
        match day {
            "monday" => run.ends(0).says(&["reading 1 file in days/monday"]),
            _ => run.ends(1).says(&["days: it holds 2 backups: monday, tuesday. Name one of them"]),
        };
    }
    // Files that a restore was killed over are no backup, though some have their names already.
    sandbox.write("days/monday/test_00001.asb.0123456789abcdef.partial", "");
    sandbox.run(&["backup", "asb:days/monday"]).ends(1).says(&["did not finish", "0123456789abcdef.partial"]);
}
