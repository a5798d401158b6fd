//! Lists, maps and sketches as people read them.

use super::support::{Sandbox, asb, digest_of_person};
use serde_json::{Value, json};

/// A record with the key `ann`, and its bins: the letter of a type, a name, and bytes in hexadecimal.
fn record(generation: u32, bins: &[(&str, &str, &str)]) -> String {
    let digest = base64_simd::STANDARD.encode_to_string(hex::decode(digest_of_person("ann")).unwrap());
    let bins: String = bins
        .iter()
        .map(|(letter, name, hex)| {
            let text = base64_simd::STANDARD.encode_to_string(hex::decode(hex.replace(' ', "")).unwrap());
            format!("- {letter} {name} {} {text}\n", text.len())
        })
        .collect();
    let count = bins.lines().count();
    format!("+ k S 3 ann\n+ n test\n+ d {digest}\n+ s people\n+ g {generation}\n+ t 0\n+ b {count}\n{bins}")
}

const BINS: &[(&str, &str, &str)] = &[
    ("L", "list", "94 01 a20361 a30400ff 81 02 c0"),
    ("M", "map", "83 c70001c0 a20361 cb3ff8000000000000 07 91 c3"),
    ("M", "plain", "81 a20361 92 01 02"),
    ("Y", "sketch", "00 04 00 0000000000000000 041041041041041041041041"),
    ("L", "bad", "92 01"),
    ("B", "blob", "0102"),
];

fn backed_up() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("one.asb", &asb("test", &record(1, BINS)));
    sandbox.json(&["backup", "asb:one.asb", "--cluster", "c"]);
    sandbox
}

#[test]
fn get_decodes_lists_maps_and_sketches() {
    let sandbox = backed_up();
    sandbox.run(&["get", "latest:test/people", "ann"]).ends(0).shows(&[
        "list    list  [1, \"a\", 0x00ff, {2: nil}]",
        "map     map   key-ordered {\"a\": 1.5, 7: [true]}",
        "plain   map   {\"a\": [1, 2]}",
        "sketch  hll   about ",
        "elements, 4 index bits",
        "bad     list  (not a list: at byte 2: cut off) 0x9201",
        "blob    blob  0x0102",
    ]);
}

#[test]
fn get_in_json_has_the_bytes_and_what_they_hold() {
    let sandbox = backed_up();
    let got = sandbox.run(&["get", "latest:test/people", "ann", "--json"]).ends(0);
    let record: Value = serde_json::from_str(&got.out).unwrap();
    let bin = |name: &str| record["bins"].as_array().unwrap().iter().find(|bin| bin["name"] == name).unwrap().clone();
    let list = json!({ "name": "list", "type": "list", "base64": "lAGiA2GjBAD/gQLA",
        "decoded": [1, "a", { "$blob": "00ff" }, { "$map": [[2, null]] }] });
    assert_eq!(bin("list"), list);
    assert_eq!(bin("map")["decoded"], json!({ "$order": "key-ordered", "$map": [["a", 1.5], [7, [true]]] }));
    assert_eq!(bin("plain")["decoded"], json!({ "a": [1, 2] }));
    assert_eq!(bin("sketch")["decoded"]["index_bits"], 4);
    assert_eq!(bin("bad"), json!({ "name": "bad", "type": "list", "base64": "kgE=", "problem": "at byte 2: cut off" }));
    assert_eq!(bin("blob"), json!({ "name": "blob", "type": "blob", "base64": "AQI=" }));

    // It can still be backed up, and is the same record.
    sandbox.write("got.jsonl", &format!("{{\"aerolith\":\"jsonl\",\"version\":1}}\n{}", got.out));
    sandbox.json(&["backup", "jsonl:got.jsonl", "--cluster", "c"]);
    let lines = sandbox.json_lines(&["diff", "latest~1", "latest"]);
    let counts = ["added", "removed", "changed", "touched"].map(|count| lines[0][count].clone());
    assert_eq!(counts, [0, 0, 0, 0].map(Value::from), "{lines:?}");
    // A restore writes the bytes alone.
    sandbox.json(&["restore", "latest", "jsonl:restored.jsonl"]);
    let restored = std::fs::read_to_string(sandbox.path("restored.jsonl")).unwrap();
    assert!(restored.contains("lAGiA2GjBAD/gQLA") && !restored.contains("decoded") && !restored.contains("problem"));
}

#[test]
fn diff_shows_both_values_of_what_changed() {
    let sandbox = backed_up();
    let mut bins = BINS.to_vec();
    bins[2].2 = "81 a20361 93 01 02 03";
    bins.remove(5);
    bins.push(("L", "new", "91 05"));
    sandbox.write("two.asb", &asb("test", &record(2, &bins)));
    sandbox.json(&["backup", "asb:two.asb", "--cluster", "c"]);
    let plain = sandbox.run(&["diff", "latest~1", "latest"]).ends(0);
    assert_eq!(plain.out.lines().count(), 2, "{}", plain.out);
    let text = sandbox.run(&["diff", "latest~1", "latest", "--values"]).ends(0);
    let text = text.shows(&["ann  -blob +new plain\n    - blob  blob  0x0102\n    + new  list  [5]\n"]);
    text.shows(&["    - plain  map  {\"a\": [1, 2]}\n    + plain  map  {\"a\": [1, 2, 3]}\n"]);

    let changed = &sandbox.json_lines(&["diff", "latest~1", "latest", "--values"])[0];
    assert_eq!(changed["bins"], json!(["-blob", "+new", "plain"]));
    let values = changed["values"].as_array().unwrap();
    assert_eq!(values[0], json!({ "name": "blob", "before": { "type": "blob", "base64": "AQI=" }, "after": null }));
    assert_eq!(values[1]["after"], json!({ "type": "list", "base64": "kQU=", "decoded": [5] }));
    assert_eq!(values[2]["before"]["decoded"], json!({ "a": [1, 2] }));
    assert_eq!(values[2]["after"]["decoded"], json!({ "a": [1, 2, 3] }));
    assert_eq!(sandbox.json_lines(&["diff", "latest~1", "latest"])[0]["values"], Value::Null);
    sandbox.run(&["diff", "latest~1", "latest", "--values", "--summary"]).ends(2).says(&["cannot be used with"]);
}

#[test]
fn hostile_values_are_shown_as_bytes() {
    let deep = "91".repeat(5000);
    let bins = [
        ("L", "deep", &deep[..]),
        ("L", "long", "ddffffffff"),
        ("M", "terminal", "81 a3031b5b 01"),
        ("M", "none", "c1"),
    ];
    let sandbox = Sandbox::new();
    sandbox.write("one.asb", &asb("test", &record(1, &bins)));
    sandbox.json(&["backup", "asb:one.asb", "--cluster", "c"]);
    sandbox.run(&["get", "latest:test/people", "ann"]).ends(0).shows(&[
        "(not a list: at byte 32: lists and maps nested too deeply to be shown) 0x9191",
        "(not a list: at byte 5: cut off) 0xddffffffff",
        "{\"\\u{1b}[\": 1}",
        "(not a map: at byte 0: a byte that begins no value (0xc1)) 0xc1",
    ]);
    let record = sandbox.json(&["get", "latest:test/people", "ann"]);
    assert_eq!(record["bins"][0]["decoded"], Value::Null);
    assert_eq!(record["bins"][1]["problem"], "at byte 5: cut off");
}

#[test]
fn of_long_values_the_beginning_is_shown_and_their_size() {
    let list = |last: &str| format!("dc 7530 {} {last}", "07".repeat(29_999));
    let sandbox = Sandbox::new();
    for (file, last) in [("one.asb", "01"), ("two.asb", "02")] {
        sandbox.write(file, &asb("test", &record(1, &[("L", "wide", &list(last))])));
        sandbox.json(&["backup", &format!("asb:{file}"), "--cluster", "c"]);
    }
    for command in [&["get", "latest:test/people", "ann"][..], &["diff", "latest~1", "latest", "--values"]] {
        let output = sandbox.run(command).ends(0).shows(&["list  [7, 7, ", "… (30003 bytes; --json shows all)"]);
        assert!(output.out.lines().all(|line| line.chars().count() < 5000));
    }
    let decoded = &sandbox.json(&["get", "latest:test/people", "ann"])["bins"][0]["decoded"];
    assert_eq!(decoded.as_array().map(Vec::len), Some(30_000));
}
