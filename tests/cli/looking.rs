//! Commands that look: `snapshots`, `history`, `show`, `ls`, `get`, `diff`, `stats`, `check`, `inspect`.

use super::support::{PASSWORD, Sandbox, assert_id, assert_time, digest_of_person};
use crate::support::parted::{lose, part};
use aerolith::Repository;
use aerolith::format::names;
use serde_json::{Value, json};

/// Every key of a document is snake case, wherever it is.
fn assert_snake_case(value: &Value) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                let snake = name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'));
                assert!(snake, "{name}");
                assert_snake_case(member);
            }
        }
        Value::Array(members) => members.iter().for_each(assert_snake_case),
        _ => {}
    }
}

#[test]
fn snapshots_lists_what_was_committed_and_can_be_filtered() {
    let sandbox = Sandbox::new();
    sandbox.run(&["snapshots"]).ends(0).says(&["no snapshots yet", "aerolith backup"]);
    let [one, two] = sandbox.people();
    let list = sandbox.json(&["snapshots"]);
    assert_snake_case(&list);
    let snapshots = list["snapshots"].as_array().unwrap();
    assert_eq!((&snapshots[0]["snapshot"], &snapshots[1]["snapshot"]), (&json!(one), &json!(two)));
    assert_eq!(list["damaged"], json!([]));
    assert_time(&snapshots[0]["committed"]);
    assert_eq!(snapshots[1]["namespaces"][0]["live_records"], 4);
    sandbox.run(&["snapshots"]).ends(0).shows(&["snapshot", &one[..12], &two[..12], "test", "full", "one"]);
    assert_eq!(sandbox.json(&["snapshots", "--tag", "one"])["snapshots"].as_array().unwrap().len(), 1);
    assert_eq!(sandbox.json(&["snapshots", "--tag", "none"])["snapshots"], json!([]));
    sandbox.run(&["snapshots", "--tag", "none"]).ends(0).says(&["no snapshot matches"]);
}

#[test]
fn history_lists_committed_and_failed_backups() {
    let sandbox = Sandbox::new();
    sandbox.run(&["history"]).ends(0).says(&["no sessions yet"]);
    let [one, _] = sandbox.people();
    sandbox.write("people.asb", "Version 3.1\n# namespace test\n# first-file\n+ k S 3 ann\nnonsense\n");
    sandbox.run(&["backup", "asb:people.asb"]).ends(1);
    let history = sandbox.json(&["history"]);
    assert_snake_case(&history);
    let sessions = history["sessions"].as_array().unwrap();
    assert_eq!(sessions.len(), 3);
    assert_eq!((&sessions[0]["session"], &sessions[0]["status"]), (&json!(one), &json!("done")));
    assert_eq!((&sessions[0]["records"], &sessions[0]["snapshot"]), (&json!(4), &json!("committed")));
    assert!(sessions[0]["stored_bytes"].as_u64().unwrap() > 0 && sessions[0]["duration_millis"].is_u64());
    ["started", "heartbeat", "ended"].iter().for_each(|time| assert_time(&sessions[0][*time]));
    assert_eq!(sessions[2]["status"], "failed");
    assert!(sessions[2]["reason"].as_str().unwrap().contains("people.asb at byte"), "{}", sessions[2]);
    assert!(sessions[2]["snapshot"].is_null());
    sandbox.run(&["history"]).ends(0).shows(&[
        "full backup of asb:people.asb",
        "committed",
        "failed: people.asb at byte",
    ]);
}

#[test]
fn history_and_stats_fit_in_the_columns_of_a_terminal() {
    let sandbox = Sandbox::new();
    let [one, _] = sandbox.people();
    let name = format!("asb:{}.asb", "people-of-a-long-name-".repeat(4));
    sandbox.run(&["backup", &name]).ends(1);
    let within = |command: &str, columns: &str| {
        let shown = sandbox.run_with(&[command], |command| {
            command.arg("--quiet").env("COLUMNS", columns);
        });
        shown.ends(0).out
    };
    let widest = |text: &str| text.lines().map(|line| line.chars().count()).max().unwrap();
    for columns in ["80", "100", "120"] {
        let history = within("history", columns);
        assert!(widest(&history) <= columns.parse().unwrap(), "{history}");
        assert!(
            history.contains(&one[..12]) && history.contains("committed") && history.contains("failed:"),
            "{history}"
        );
        assert_eq!(history.contains("records"), columns != "80", "{history}");
    }
    let stats = within("stats", "80");
    assert!(widest(&stats) <= 80 && stats.contains("reaches") && stats.contains("only"), "{stats}");
    // Into a file or a pipe everything goes.
    let whole = sandbox.run(&["history"]).ends(0);
    whole.shows(&[name.as_str(), "duration", "not found"]);
    sandbox.run(&["stats"]).ends(0).shows(&["needs", "holds"]);
}

#[test]
fn history_shows_the_last_those_since_a_time_of_a_status_or_of_a_cluster() {
    let sandbox = Sandbox::new();
    let [one, two] = sandbox.people();
    let other = sandbox.json(&["backup", "asb:people.asb", "--cluster", "other"])["snapshot"].clone();
    sandbox.run(&["backup", "asb:absent"]).ends(1);
    let listed = |more: &[&str]| -> Vec<serde_json::Value> {
        let history = sandbox.json(&[&["history"], more].concat());
        history["sessions"].as_array().unwrap().iter().map(|row| row["session"].clone()).collect()
    };
    let all = listed(&[]);
    assert_eq!((all.len(), &all[..3]), (4, &[json!(one), json!(two), other.clone()][..]));
    assert_eq!(listed(&["--last", "2"]), all[2..]);
    assert_eq!(listed(&["--last", "0"]), all);
    assert_eq!(listed(&["--since", "1h"]), all);
    assert_eq!((listed(&["--since", "2100-01-01"]), listed(&["--since", "2020-01-01T12:00Z"])), (vec![], all.clone()));
    assert_eq!(listed(&["--status", "failed"]), all[3..]);
    assert_eq!(listed(&["--status", "failed", "--status", "done"]), all);
    assert_eq!(listed(&["--cluster", "other"]), [other]);
    sandbox.run(&["history", "--last", "1"]).ends(0).says(&["3 older; --last 0 shows all"]);
    // Those that are hidden are not counted.
    sandbox.run(&["history", "--last", "1", "--status", "done"]).ends(0).says(&["2 older; --last 0 shows all"]);
    sandbox.run(&["history", "--last", "1", "--cluster", "asb"]).ends(0).says(&["1 older; --last 0 shows all"]);
    for hides_all in [["--status", "running"], ["--since", "2100-01-01"], ["--cluster", "nobody's"]] {
        let none = sandbox.run(&[&["history"], &hides_all[..]].concat()).ends(0).says(&["no session matches"]);
        assert!(!none.err.contains("no sessions yet") && !none.err.contains("older"), "{none:?}");
    }
    sandbox.run(&["history", "--since", "noon"]).ends(2).says(&["noon"]);
}

#[test]
fn a_wrong_since_is_told_what_it_takes_and_not_how_snapshots_are_named() {
    let sandbox = Sandbox::new();
    for wrong in ["noon", "@2026-05-01", "30", "5000y", "99999999999999999999d"] {
        let refused = sandbox.run(&["history", "--since", wrong]).ends(2).says(&[wrong, "2026-05-01T12:00Z", "7d"]);
        assert!(
            !refused.err.contains(&format!("@{wrong}")) && !refused.err.contains("@2026-05-01T"),
            "{}",
            refused.err
        );
    }
}

#[test]
fn what_is_refused_is_refused_before_anything_is_printed() {
    let sandbox = Sandbox::new();
    sandbox.people();
    for [a, b] in [["latest~1:nowhere", "latest"], ["latest~1", "latest:nowhere"], ["latest~1:test", "latest:nowhere"]]
    {
        let refused = sandbox.run_with(&["diff", a, b], |_| {}).ends(1);
        assert!(!refused.err.contains("from snapshot"), "{refused:?}");
        refused.says(&["namespace nowhere not found", "has test"]);
    }
    sandbox.json(&["backup", "asb:people.asb", "--set", "people"]);
    let refused = sandbox.run_with(&["verify", "latest", "asb:people.asb"], |_| {}).ends(2);
    assert!(!refused.err.contains("comparing with"), "{refused:?}");
    refused.says(&["give verify the options that the backup had"]);
}

#[test]
fn a_line_feed_in_a_name_makes_no_row_of_its_own() {
    let sandbox = Sandbox::new();
    let name = "x\n0123456789ab  forged.asb";
    sandbox.write(name, "no backup");
    sandbox.run(&["backup", &format!("asb:{name}"), "--cluster", "c"]).ends(1);
    let history = sandbox.run(&["history"]).ends(0).shows(&["x\\n0123456789ab  forged.asb: it begins"]);
    assert_eq!(history.out.lines().count(), 2, "{history:?}");
}

#[test]
fn history_tells_of_a_backup_whose_source_could_not_be_opened() {
    let sandbox = Sandbox::new();
    sandbox.run(&["backup", "asb:absent", "--kind", "incremental"]).ends(1);
    // A command that can't be meant so is no run.
    sandbox.run(&["backup", "nowhere"]).ends(2);
    let sessions = sandbox.json(&["history"])["sessions"].clone();
    assert_eq!(sessions.as_array().unwrap().len(), 1);
    assert_eq!(sessions[0]["status"], "failed");
    assert_eq!(sessions[0]["job"], "incremental backup of asb:absent");
    assert!(sessions[0]["reason"].as_str().unwrap().contains("source asb:absent not found"));
}

#[test]
fn show_prints_a_snapshot_with_runs_indexes_and_modules() {
    let sandbox = Sandbox::new();
    let all = format!("{}/tests/data/asb/every-kind.asb", env!("CARGO_MANIFEST_DIR"));
    let made = sandbox.json(&["backup", &format!("asb:{all}"), "--cluster", "zoo", "--tag", "a", "--tag", "b"]);
    let shown = sandbox.json(&["show", "latest"]);
    assert_snake_case(&shown);
    for name in ["snapshot", "started", "committed", "cluster", "tags", "namespaces", "stored_bytes"] {
        assert_eq!(shown[name], made[name], "{name}");
    }
    assert_eq!(shown["tags"], json!(["a", "b"]));
    let namespace = &shown["namespaces"][0];
    assert_eq!((&namespace["live_records"], &namespace["counts"]["added"]), (&json!(7), &json!(7)));
    assert_id(&namespace["state_hash"], 64);
    assert_id(&namespace["runs"][0]["root"], 64);
    assert_time(&namespace["source_time"]);
    let metadata = &shown["metadata"][0];
    assert_eq!(
        metadata["indexes"][0],
        json!({
            "name": "by-num", "set": "set one", "bin": "num ber", "index_type": "N", "value_type": "N"
        })
    );
    assert_eq!(metadata["udf_modules"][0], json!({ "name": "mod ule.lua", "language": "L", "bytes": 46 }));
    let text = sandbox.run(&["show", "latest"]).ends(0);
    // A line feed in an index's name must not break the line.
    text.shows(&["cluster      zoo", "tags         a, b", "index        by\\nstr", "UDF module   mod ule.lua"]);
}

#[test]
fn a_snapshot_is_named_by_id_beginning_latest_or_time() {
    let sandbox = Sandbox::new();
    let [one, two] = sandbox.people();
    let shown = |name: &str| sandbox.json(&["show", name])["snapshot"].as_str().unwrap().to_string();
    assert_eq!(shown(&one), one);
    assert_eq!(shown(&one[..20].to_uppercase()), one);
    assert_eq!((shown("latest"), shown("latest~0"), shown("latest~1")), (two.clone(), two.clone(), one.clone()));
    assert_eq!(shown("@2999-01-01"), two);
    let committed = sandbox.json(&["show", &one])["committed"].as_str().unwrap().to_string();
    assert_eq!(shown(&format!("@{committed}")), one);
    // The tables print times to the second: such a time names what was committed within it.
    let second = format!("@{}Z", &committed[..19]);
    assert!([one, two].contains(&shown(&second)));
}

#[test]
fn ls_lists_records_and_filters_by_set() {
    let sandbox = Sandbox::new();
    sandbox.people();
    let rows = sandbox.json_lines(&["ls", "latest"]);
    assert_eq!(rows.len(), 4);
    let ann = rows.iter().find(|row| row["key"] == "ann").unwrap();
    let bytes = ann["bytes"].as_u64().unwrap();
    assert_eq!(
        *ann,
        json!({
            "namespace": "test", "digest": digest_of_person("ann"), "set": "people", "key": "ann",
            "generation": 2, "expires": null, "bytes": bytes
        })
    );
    let number = sandbox.json_lines(&["ls", "latest:test/numbers"]);
    assert_eq!((number.len(), &number[0]["key"], &number[0]["generation"]), (1, &json!("i:7"), &json!(2)));
    assert_time(&number[0]["expires"]);
    assert_eq!(sandbox.json_lines(&["ls", "latest:test/people", "--no-keys"])[0]["key"], Value::Null);
    let text = sandbox.run(&["ls", "latest~1:test/people"]).ends(0);
    assert_eq!(text.out.lines().count(), 3);
    text.shows(&[&digest_of_person("cid"), "never", "test/people", "cid"]);
    sandbox.run(&["ls", "latest:test/poeple"]).ends(1).says(&["set \"poeple\"", "not found"]);
    sandbox.run(&["ls", "latest:tset"]).ends(1).says(&["namespace tset not found", "has test"]);
}

#[test]
fn get_finds_a_record_by_key_of_every_kind_and_by_digest() {
    let sandbox = Sandbox::new();
    sandbox.people();
    let ann = sandbox.json(&["get", "latest:test/people", "ann"]);
    assert_eq!((&ann["generation"], &ann["bins"][0]["value"]), (&json!(2), &json!(31)));
    assert_eq!(sandbox.json(&["get", "latest~1:test/people", "s:ann"])["bins"][0]["value"], 30);
    assert_eq!(sandbox.json(&["get", "latest:test/numbers", "i:7"])["bins"][0]["value"], 7);
    let digest = digest_of_person("ann");
    assert_eq!(sandbox.json(&["get", "latest:test", "--digest", &digest]), ann);
    sandbox.run(&["get", "latest:test/people", "ann"]).ends(0).shows(&["key         ann", "age  integer  31", &digest]);

    let all = format!("asb:{}/tests/data/asb/every-kind.asb", env!("CARGO_MANIFEST_DIR"));
    sandbox.json(&["backup", &all, "--cluster", "asb"]);
    let blob = sandbox.json_lines(&["ls", "latest"]).into_iter().find(|row| row["key"] == "b:0001ff").unwrap();
    let by_digest = sandbox.json(&["get", "latest:name space", "--digest", blob["digest"].as_str().unwrap()]);
    assert_eq!(by_digest["key"], json!({ "type": "blob", "base64": "AAH/" }));
}

#[test]
fn get_says_why_it_found_nothing() {
    let sandbox = Sandbox::new();
    sandbox.people();
    let digest = digest_of_person("ann");
    sandbox.run(&["get", "latest:test/people", "zoe"]).ends(1).says(&["key \"zoe\" of set \"people\"", "not found"]);
    sandbox.run(&["get", "latest:test", "ann"]).ends(1).says(&["(key \"ann\" without a set)", "No set was named"]);
    sandbox.run(&["get", "latest:test/numbers", "--digest", &digest]).ends(1).says(&["It is in set \"people\""]);
    sandbox.run(&["get", "latest", "ann"]).ends(2).says(&["which namespace?", "latest:NAMESPACE"]);
    sandbox.run(&["get", "latest:test", "i:x"]).ends(2).says(&["there is no 64-bit integer after i:"]);
    sandbox.run(&["get", "latest:test", "b:xyz"]).ends(2).says(&["hexadecimal"]);
    sandbox.run(&["get", "latest:test", "--digest", "00"]).ends(2).says(&["40 hexadecimal digits"]);
    sandbox.run(&["get", "latest:test", "ann", "--digest", &digest]).ends(2).says(&["cannot be used with"]);
}

#[test]
fn diff_names_what_was_added_removed_changed_and_touched() {
    let sandbox = Sandbox::new();
    let [one, two] = sandbox.people();
    let lines = sandbox.json_lines(&["diff", &one, &two]);
    lines.iter().for_each(assert_snake_case);
    let (summary, changes) = lines.split_last().unwrap();
    assert_eq!(
        *summary,
        json!({ "kind": "summary", "before": one, "after": two, "added": 1, "removed": 1, "changed": 1, "touched": 1 })
    );
    let of = |key: &str| changes.iter().find(|change| change["key"] == key).unwrap();
    assert_eq!((&of("ann")["change"], &of("ann")["bins"]), (&json!("changed"), &json!(["age"])));
    assert_eq!((&of("cid")["change"], &of("dee")["change"]), (&json!("removed"), &json!("added")));
    let touched = of("i:7");
    assert_eq!((&touched["change"], &touched["bins"]), (&json!("touched"), &json!([])));
    assert_eq!((&touched["generation_before"], &touched["generation_after"]), (&json!(1), &json!(2)));
    assert_time(&touched["expires_after"]);
    assert!(changes.iter().all(|change| change["key"] != "bob"));
    let text = sandbox.run(&["diff", "latest~1", "latest:test/people"]).ends(0);
    assert_eq!(text.out.lines().count(), 4);
    text.shows(&["! ", "+ ", "- ", "ann  age", "1 added, 1 removed, 1 changed, 0 touched"]);
    sandbox.run(&["diff", &two, &two]).ends(0).shows(&["0 added, 0 removed, 0 changed, 0 touched"]);
    let counts = sandbox.run(&["diff", &two, &one, "--summary"]).ends(0);
    assert_eq!(counts.out, "1 added, 1 removed, 1 changed, 1 touched\n");
}

#[test]
fn stats_adds_up() {
    let sandbox = Sandbox::new();
    sandbox.people();
    let stats = sandbox.json(&["stats"]);
    assert_snake_case(&stats);
    let sum = |list: &str, member: &str| -> u64 {
        stats[list].as_array().unwrap().iter().map(|row| row[member].as_u64().unwrap()).sum()
    };
    assert_eq!(stats["stored_bytes"], sum("stored", "bytes"));
    assert_eq!(stats["logical_bytes"], sum("snapshots", "needed_bytes"));
    assert_eq!(stats["reached_bytes"], sum("snapshots", "added_bytes"));
    assert!(stats["unique_bytes"].as_u64().unwrap() > 0);
    assert_time(&stats["snapshots"][0]["committed"]);
    sandbox.run(&["stats"]).ends(0).shows(&["logical", "unique", "reached", "stored", "packs", "adds"]);
}

#[test]
fn stats_misses_whatever_a_snapshot_needs_once_it_is_lost() {
    let sandbox = Sandbox::new();
    sandbox.people();
    let store = aerolith::store::open(sandbox.path("repo").to_str().unwrap()).unwrap();
    let repository = Repository::open(store.clone(), PASSWORD.as_bytes()).unwrap();
    let packs = part(&repository);
    assert!(packs.len() >= 4, "{packs:?}");
    sandbox.run(&["stats"]).ends(0);
    for (pack, _, rows) in &packs {
        let kept: Vec<(String, bytes::Bytes)> = [names::PACKS, names::INDEX]
            .iter()
            .flat_map(|prefix| store.list(prefix).unwrap())
            .map(|object| (object.key.clone(), store.get(&object.key, u64::MAX).unwrap().unwrap()))
            .collect();
        lose(&repository, &packs, pack);
        let stats = sandbox.run(&["stats"]);
        assert_eq!(stats.code, 10, "chunk {} is lost: {stats:?}", rows[0].id);
        kept.iter().for_each(|(key, bytes)| store.put(key, bytes).unwrap());
    }
    sandbox.run(&["stats"]).ends(0);
}

#[test]
fn check_finds_nothing_then_names_what_is_damaged_and_ends_with_10() {
    let sandbox = Sandbox::new();
    let [one, two] = sandbox.people();
    let whole = sandbox.json(&["check", "--read-data"]);
    assert_snake_case(&whole);
    assert_eq!((&whole["snapshots"], &whole["problems"]), (&json!(2), &json!([])));
    assert_eq!(whole["chunks"], whole["chunks_read"]);
    sandbox.run(&["check"]).ends(0).shows(&["2 snapshots", "no problems found"]);
    sandbox.run(&["check", "--read-data=101"]).ends(2).says(&["from 0 to 100"]);
    sandbox.run(&["check", "--read-data=nan"]).ends(2);

    let manifest = std::fs::read_dir(sandbox.path("repo/snapshots")).unwrap().map(|entry| entry.unwrap().path());
    let manifest = manifest.into_iter().find(|path| path.ends_with(&one)).unwrap();
    let mut bytes = std::fs::read(&manifest).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::remove_file(&manifest).unwrap();
    std::fs::write(&manifest, bytes).unwrap();
    let json = |command: &mut std::process::Command| {
        command.args(["--quiet", "--json"]);
    };
    let damaged = sandbox.run_with(&["check"], json).ends(10).json();
    assert_eq!(damaged["hurt_snapshots"], json!([one]));
    let list = sandbox.run_with(&["snapshots"], json).ends(10).says(&[&one, "is damaged"]).json();
    assert_eq!((&list["damaged"][0]["snapshot"], &list["snapshots"][0]["snapshot"]), (&json!(one), &json!(two)));
    sandbox.run(&["show", &one[..16]]).ends(10).says(&["is damaged"]);
    sandbox.run(&["stats"]).ends(10).says(&["is damaged"]);
    sandbox.run(&["ls", "latest"]).ends(0);
}

#[test]
fn inspect_leads_from_a_snapshot_to_its_run_its_chunks_and_their_packs() {
    let sandbox = Sandbox::new();
    let [one, _] = sandbox.people();
    let snapshot = &sandbox.json_lines(&["inspect", "snapshot", &one])[0];
    assert_eq!(*snapshot, sandbox.json(&["show", &one]));
    let root = snapshot["namespaces"][0]["runs"][0]["root"].as_str().unwrap();
    let nodes = sandbox.json_lines(&["inspect", "run", &root[..24]]);
    assert_eq!(
        (&nodes[0]["kind"], &nodes[0]["chunk"], &nodes[0]["entries"]),
        (&json!("leaf"), &json!(root), &json!(4))
    );

    let segments = sandbox.json_lines(&["inspect", "index"]);
    let (index, segments) = segments.split_last().unwrap();
    assert_eq!((&index["segments"], &index["damaged"]), (&json!(2), &json!([])));
    assert!(segments.iter().all(|segment| segment["committed"] == true && segment["bytes"].is_u64()));
    let rows = sandbox.json_lines(&["inspect", "index", &one[..16]]);
    let row = rows.iter().find(|row| row["chunk"] == root).unwrap();
    assert_id(&row["pack"], 64);
    assert!(rows.is_sorted_by_key(|row| row["chunk"].as_str().unwrap()));

    let places = sandbox.json_lines(&["inspect", "chunk", &root[..32], "--hex"]);
    for name in ["pack", "offset", "stored_bytes", "plain_bytes", "packing"] {
        assert_eq!(places[0][name], row[name], "{name}");
    }
    let plain = places[0]["hex"].as_str().unwrap();
    assert_eq!((plain.len() as u64 / 2, &places[0]["class"]), (row["plain_bytes"].as_u64().unwrap(), &json!("tree")));
    let pack = sandbox.json_lines(&["inspect", "pack", &row["pack"].as_str().unwrap()[..20]]);
    assert_eq!((&pack[0]["class"], pack[0]["chunks"].as_u64()), (&json!("tree"), Some(pack.len() as u64 - 1)));
    assert!(pack.iter().any(|chunk| chunk["chunk"] == root && chunk["offset"] == row["offset"]));
    let config = sandbox.json(&["inspect", "config"]);
    assert_snake_case(&config);
    assert_time(&config["created"]);
}

#[test]
fn inspect_says_what_it_does_not_find() {
    let sandbox = Sandbox::new();
    sandbox.people();
    let zeros = "0".repeat(64);
    for what in ["pack", "chunk", "run", "index"] {
        sandbox.run(&["inspect", what, "xyz"]).ends(2).says(&["in hexadecimal"]);
        sandbox.run(&["inspect", what, &zeros[..32]]).ends(1).says(&["not found"]);
    }
    sandbox.run(&["inspect", "chunk", &zeros]).ends(1).says(&["not found", "No pack"]);
    sandbox.run(&["inspect", "snapshot", "nope"]).ends(2).says(&["names no snapshot"]);
}

#[test]
fn a_check_reads_the_part_of_the_data_that_it_is_told_in_percent_or_bytes() {
    let sandbox = Sandbox::new();
    sandbox.live();
    sandbox.json(&["backup", "embedded:live"]);
    let read = |arguments: &[&str]| {
        let all: Vec<&str> = ["check"].iter().chain(arguments).copied().collect();
        let checked = sandbox.json(&all);
        (checked["chunks_read"].as_u64().unwrap(), checked["chunks"].as_u64().unwrap())
    };
    for all in [
        &["--read-data"][..],
        &["--read-data=100%"],
        &["--read-data", "100%"],
        &["--read-data", "100"],
        &["--read-data=1TB"],
    ] {
        let (chunks_read, chunks) = read(all);
        assert!(chunks_read == chunks && chunks > 2, "{all:?}: {chunks_read} of {chunks}");
    }
    for none in [&[][..], &["--read-data=0%"], &["--read-data", "0B"]] {
        assert_eq!(read(none).0, 0, "{none:?}");
    }
    for wrong in ["101%", "ten", "-1", "5XB", ""] {
        let argument = format!("--read-data={wrong}");
        sandbox.run(&["check", &argument]).ends(2).says(&["from 0 to 100", "500MB"]);
    }
}
