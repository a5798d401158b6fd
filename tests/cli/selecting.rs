//! Options that select, limit and open: each source and target applies them or refuses them by name.

use super::support::{Output, Sandbox, asb, person};
use serde_json::{Value, json};

/// Two people in the set `people` and two numbers in `numbers`, as files, JSON lines and a store.
fn three(sandbox: &Sandbox) -> [&'static str; 3] {
    sandbox.people();
    sandbox.json(&["restore", "latest", "asb:all"]);
    sandbox.json(&["restore", "latest", "jsonl:all.jsonl"]);
    sandbox.json(&["restore", "latest", "embedded:store"]);
    ["asb:all", "jsonl:all.jsonl", "embedded:store"]
}

fn records(sandbox: &Sandbox, cluster: &str) -> Vec<Value> {
    let all =
        sandbox.run(&["restore", "latest", "jsonl:-", "--no-metadata", "--cluster", cluster]).ends(0).json_lines();
    all.into_iter().filter(|line| line["kind"] == "record").collect()
}

#[test]
fn names_that_are_empty_are_refused_before_anything_is_read() {
    let sandbox = Sandbox::new();
    sandbox.people();
    for bins in ["", "age,", "age,,mail"] {
        sandbox.run(&["backup", "asb:absent", "--bins", bins]).ends(2).says(&["--bins", "is empty"]);
        sandbox.run(&["restore", "latest", "asb:out", "--bins", bins]).ends(2).says(&["--bins", "is empty"]);
    }
    for option in ["--cluster", "--namespace"] {
        sandbox.run(&["backup", "asb:people.asb", option, ""]).ends(2).says(&[option]);
    }
}

fn refused(output: Output, option: &str) {
    output.ends(2).says(&[option, "Leave it out"]);
}

#[test]
fn files_and_stores_deliver_the_selected_sets_bins_partitions_and_records_alone() {
    let sandbox = Sandbox::new();
    for (n, source) in three(&sandbox).into_iter().enumerate() {
        let back_up = |how: &[&str]| {
            let cluster = format!("{n}{}", how.concat());
            let done = sandbox.json(&[&["backup", source, "--cluster", &cluster], how].concat());
            (done["namespaces"][0].clone(), records(&sandbox, &cluster))
        };
        let (of_set, found) = back_up(&["--set", "people"]);
        assert_eq!((&of_set["selection"], found.len()), (&json!("set people"), 3), "{source}");
        assert!(found.iter().all(|record| record["set"] == "people"));
        let (of_bins, found) = back_up(&["--bins", "age"]);
        assert_eq!((&of_bins["selection"], found.len()), (&json!("bins age"), 4), "{source}");
        let names: Vec<&Value> =
            found.iter().flat_map(|record| record["bins"].as_array().unwrap()).map(|bin| &bin["name"]).collect();
        assert!(!names.is_empty() && names.iter().all(|name| *name == "age"), "{names:?}");
        let digest = found[0]["digest"].as_str().unwrap().to_string();
        let (_, one) = back_up(&["--digest", &digest]);
        assert_eq!((one.len(), &one[0]["digest"]), (1, &json!(digest)));
        let bytes = (0..20).map(|n| u8::from_str_radix(&digest[2 * n..2 * n + 2], 16).unwrap()).collect::<Vec<_>>();
        let partition = (u16::from(bytes[0]) | u16::from(bytes[1]) << 8) & 4095;
        let (_, here) = back_up(&["--partitions", &partition.to_string()]);
        assert_eq!(here.iter().map(|record| &record["digest"]).collect::<Vec<_>>(), [&json!(digest)]);
    }
}

#[test]
fn backups_of_a_selection_build_on_their_like_and_delete_nothing_else() {
    let sandbox = Sandbox::new();
    for source in three(&sandbox) {
        let whole = sandbox.json(&["backup", source, "--cluster", "asb"]);
        let part = sandbox.json(&["backup", source, "--cluster", "asb", "--set", "people"]);
        assert_eq!(part["namespaces"][0]["counts"]["deleted"], 0, "{source}");
        let again = sandbox.json(&["backup", source, "--cluster", "asb", "--set", "people"]);
        assert_eq!(again["namespaces"][0]["parent"], part["snapshot"], "{source}");
        let later = sandbox.json(&["backup", source, "--cluster", "asb"]);
        assert_eq!(later["namespaces"][0]["parent"], whole["snapshot"], "{source}");
        assert_eq!(later["namespaces"][0]["counts"]["deleted"], 0);
    }
}

#[test]
fn a_set_or_bin_that_is_not_there_is_named_and_nothing_is_committed() {
    let sandbox = Sandbox::new();
    let sources = three(&sandbox);
    let before = sandbox.json(&["snapshots"])["snapshots"].as_array().unwrap().len();
    for source in sources {
        let failed = sandbox.run(&["backup", source, "--cluster", "asb", "--set", "poeple"]).ends(1);
        failed.says(&["set poeple isn't in namespace test", "its sets are: numbers, people"]);
        let failed = sandbox.run(&["backup", source, "--cluster", "asb", "--bins", "agee,age"]).ends(1);
        failed.says(&["no selected record of namespace test has the bin agee"]);
    }
    assert_eq!(sandbox.json(&["snapshots"])["snapshots"].as_array().unwrap().len(), before);
    // Once a backup has found it, it may have been emptied since.
    sandbox.run(&["backup", "asb:all", "--cluster", "asb", "--set", "people"]).ends(0);
    sandbox.write("none.asb", &asb("test", &super::support::number(7, 1)));
    let done = sandbox.run(&["backup", "asb:none.asb", "--cluster", "asb", "--set", "people"]).ends(0);
    done.says(&["set people isn't in namespace test"]);
}

#[test]
fn what_only_servers_can_do_is_refused_for_files_and_stores_by_name() {
    let sandbox = Sandbox::new();
    let sources = three(&sandbox);
    let reading: [&[&str]; 14] = [
        &["--filter-exp", "kwOTUQKhbmQ="],
        &["--records-per-second", "5"],
        &["--bytes-per-second", "5"],
        &["--node-records-per-second", "5"],
        &["--node-bytes-per-second", "5"],
        &["--nice", "gentle"],
        &["--rack", "1"],
        &["--user", "ann"],
        &["--auth", "internal"],
        &["--tls"],
        &["--tls-ca", "ca.pem"],
        &["--tls-name", "name"],
        &["--socket-timeout", "60"],
        &["--alternate-addresses"],
    ];
    for source in sources {
        for option in reading {
            refused(sandbox.run(&[&["backup", source, "--cluster", "asb"], option].concat()), option[0]);
            refused(sandbox.run(&[&["verify", "latest", source], option].concat()), option[0]);
        }
        for option in &reading[7..] {
            refused(sandbox.run(&[&["restore", "latest", source], *option].concat()), option[0]);
        }
        if source != "asb:all" {
            refused(sandbox.run(&["backup", source, "--cluster", "asb", "--asb-key", "key.pem"]), "--asb-key");
            refused(sandbox.run(&["verify", "latest", source, "--asb-key", "key.pem"]), "--asb-key");
        }
    }
    for target in ["asb:out", "jsonl:out.jsonl"] {
        for conflict in ["replace", "keep", "newer", "merge"] {
            refused(sandbox.run(&["restore", "latest", target, "--conflict", conflict]), "--conflict");
        }
    }
    // Of several sources one that it opens is enough; what says which records are read must go for all.
    let two = ["backup", "asb:all", "embedded:store", "--cluster", "asb", "--asb-key", "no-such-key.pem"];
    sandbox.run(&two).ends(1).says(&["no-such-key.pem"]);
}

#[test]
fn a_part_of_a_whole_snapshot_is_compared_with_that_part_of_the_source() {
    let sandbox = Sandbox::new();
    for source in three(&sandbox) {
        let part = |how: &[&str]| sandbox.json(&[&["verify", "latest:test", source], how].concat());
        let of_set = sandbox.json(&["verify", "latest:test/people", source]);
        assert_eq!(
            (&of_set["same"], &of_set["namespaces"][0]["records_in_source"]),
            (&json!(true), &json!(3)),
            "{source}"
        );
        assert_eq!(part(&["--set", "numbers"])["namespaces"][0]["records_in_snapshot"], 1);
        assert_eq!(part(&["--bins", "age"])["same"], true, "{source}");
        let digest = sandbox.json(&["get", "latest:test/people", "ann"])["digest"].as_str().unwrap().to_string();
        let one = part(&["--digest", &digest]);
        assert_eq!((&one["same"], &one["namespaces"][0]["records_in_source"]), (&json!(true), &json!(1)), "{source}");
        sandbox
            .run(&["verify", "latest:test/poeple", source])
            .ends(3)
            .says(&["neither side has a record"])
            .shows(&["nothing was compared: neither "]);
    }
    // What differs elsewhere is no matter.
    sandbox.write("other.asb", &asb("test", &[person("ann", 2, 31), person("zoe", 1, 9)].concat()));
    let digest = sandbox.json(&["get", "latest:test/people", "ann"])["digest"].as_str().unwrap().to_string();
    sandbox.run(&["verify", "latest:test", "asb:other.asb", "--digest", &digest]).ends(0);
    sandbox.run(&["verify", "latest:test/people", "asb:other.asb"]).ends(3).shows(&["1 only in the source"]);
}

#[test]
fn a_namespace_is_compared_with_one_of_another_name() {
    let sandbox = Sandbox::new();
    let [file, ..] = three(&sandbox);
    sandbox.json(&["restore", "latest", "embedded:store", "--rename", "copy"]);
    sandbox.run(&["verify", "latest:test", "embedded:store", "--rename", "copy"]).ends(0);
    sandbox.run(&["verify", "latest", "embedded:store", "--rename", "copy"]).ends(0);
    let failed = sandbox.run(&["verify", "latest:test", file, "--rename", "copy"]).ends(3);
    failed.shows(&["not in the source: namespace copy; it has test"]);
}

#[test]
fn differences_are_printed_up_to_a_limit_and_counted_in_all() {
    let sandbox = Sandbox::new();
    let [one, two] = sandbox.people();
    sandbox.write("none.asb", &asb("test", &person("zoe", 1, 1)));
    let lines = |arguments: &[&str]| sandbox.run(arguments).ends(3).out.lines().count();
    assert_eq!(lines(&["verify", &two, "asb:none.asb"]), 5 + 2);
    assert_eq!(lines(&["verify", &two, "asb:none.asb", "--summary"]), 2);
    let some = sandbox.run(&["verify", &two, "asb:none.asb", "--limit", "1"]).ends(3);
    some.shows(&["only in the snapshot: test: 3 more", "4 records in the snapshot"]);
    let limited = sandbox.run(&["diff", &one, &two, "--limit", "1"]).ends(0);
    assert_eq!(limited.out.lines().count(), 2);
    limited.shows(&["1 added, 1 removed, 1 changed, 1 touched"]);
}

#[test]
fn what_is_named_and_is_not_there_is_a_failure_and_what_there_is_is_listed() {
    let sandbox = Sandbox::new();
    let sources = three(&sandbox);
    let before = sandbox.json(&["snapshots"]);
    let fails = |arguments: &[&str], says: &[&str]| {
        sandbox.run(arguments).ends(1).says(says);
    };
    for source in sources {
        let back_up = ["backup", source, "--cluster", "asb"];
        fails(&[&back_up[..], &["--namespace", "tset"]].concat(), &["namespace tset not found", "has test"]);
        let sets = "set poeple isn't in namespace test; its sets are: numbers, people";
        fails(&[&back_up[..], &["--set", "poeple"]].concat(), &[sets]);
        fails(&[&back_up[..], &["--set", "people", "--set", "poeple"]].concat(), &[sets]);
        fails(&["verify", "latest:tset", source], &["namespace tset not found", "has test"]);
    }
    fails(&["backup", "asb:absent", "--cluster", "asb"], &["source asb:absent not found"]);
    fails(&["restore", "latest:tset", "asb:out"], &["namespace tset not found", "has test"]);
    fails(&["restore", "0000", "asb:out"], &["0000"]);
    fails(&["ls", "latest:tset"], &["namespace tset not found", "has test"]);
    fails(&["ls", "latest:test/poeple"], &["set \"poeple\"", "not found", "these sets: numbers, people"]);
    assert_eq!(sandbox.json(&["snapshots"]), before);
    assert!(!sandbox.path("out").exists());
}

#[test]
fn of_several_sets_of_a_snapshot_each_that_is_not_there_is_named() {
    let sandbox = Sandbox::new();
    let sources = three(&sandbox);
    let restore = ["restore", "latest:test", "jsonl:some.jsonl", "--set", "people", "--set", "poeple"];
    let restored = sandbox.run(&restore).ends(3);
    restored.says(&["a record of set \"poeple\"", "not found", "these sets: numbers, people"]);
    assert_eq!(std::fs::read_to_string(sandbox.path("some.jsonl")).unwrap().matches("\"record\"").count(), 3);
    sandbox.run(&["restore", "latest:test", "asb:both", "--set", "people", "--set", "numbers"]).ends(0);
    for source in sources {
        let verify = ["verify", "latest:test", source, "--set", "people", "--set"];
        let compared = sandbox.run(&[&verify[..], &["poeple"]].concat()).ends(3);
        compared
            .says(&["set poeple isn't in namespace test; its sets are: numbers, people"])
            .shows(&["is as in", ", as far as the two were compared"]);
        sandbox.run(&[&verify[..], &["numbers"]].concat()).ends(0);
        let compared = sandbox.run(&["verify", "latest:test", source, "--bins", "agee"]).ends(3);
        compared.says(&["no selected record of namespace test has the bin agee"]);
        sandbox.run(&["verify", "latest:test/people", source, "--bins", "age"]).ends(0);
    }
}

#[test]
fn a_set_that_has_no_record_in_the_selected_partitions_is_there_all_the_same() {
    let sandbox = Sandbox::new();
    let sources = three(&sandbox);
    let hex = sandbox.json(&["get", "latest:test/numbers", "i:7"])["digest"].as_str().unwrap().to_string();
    let byte = |at: usize| u16::from_str_radix(&hex[at..at + 2], 16).unwrap();
    let partition = ((byte(0) | byte(2) << 8) & 4095).to_string();
    for source in sources {
        let part = |set: &str| {
            let cluster = format!("{set} of {source}");
            sandbox.run(&["backup", source, "--cluster", &cluster, "--partitions", &partition, "--set", set])
        };
        part("people").ends(0).shows(&["committed snapshot"]);
        let unknown = part("poeple").ends(1);
        unknown.says(&["set poeple isn't in namespace test; its sets are: numbers, people"]);
        let verify = ["verify", "latest:test", source, "--cluster", "asb", "--partitions", &partition];
        let compared = sandbox.run(&[&verify[..], &["--set", "people", "--set", "numbers"]].concat()).ends(0);
        assert!(!compared.err.contains("isn't in namespace"), "{compared:?}");
    }
}
