//! What is odd, hostile or huge is printed by every command without a panic, and drives no terminal.

use super::support::{Output, Sandbox};
use serde_json::json;

/// Texts that a careless program prints as they are: colours, a new title, another line, other directions, nothing at
/// all.
const ODD: [&str; 9] = [
    "",
    "\u{1b}[31mred\u{1b}[0m\u{7}",
    "\u{1b}]0;title\u{7}",
    "two\nlines\r\tand a tab",
    "\u{202e}drawkcab\u{2066}",
    "a\u{200b}b\u{feff}c\u{0}",
    "日本語 👩‍👩‍👧 ü",
    "a,b \"c\" 'd' \\e$(f)`g`",
    "%s%n{}{0}",
];

/// A file of records with odd names, keys and values, some of them huge.
fn records() -> String {
    let mut lines = vec![json!({"aerolith": "jsonl", "version": 1})];
    let mut add = |set: serde_json::Value, name: serde_json::Value, value: serde_json::Value| {
        let n = lines.len();
        let mut bin = value;
        bin["name"] = name;
        let key = json!({"type": "string", "value": format!("{n}{}", ODD[n % ODD.len()].repeat(n))});
        lines.push(json!({"kind": "record", "namespace": "test", "set": set, "key": key, "bins": [bin]}));
    };
    for text in ODD {
        let name: String = text.chars().take(3).collect();
        let name = if name.is_empty() { json!("b") } else { json!(name) };
        let set: String = text.chars().take(10).collect();
        add(json!(set), name.clone(), json!({"type": "string", "value": text.repeat(9000)}));
        add(json!({"base64": "/v+A"}), name, json!({"type": "string", "value": text}));
    }
    let wide = "x".repeat(70_000);
    add(json!("s"), json!({"base64": "gP8="}), json!({"type": "string", "value": wide}));
    add(json!("s"), json!("blob"), json!({"type": "blob", "base64": "AAECAwQF".repeat(12_000)}));
    // Lists, maps and sketches that are none.
    for kind in ["list", "map", "hll", "geojson"] {
        for bytes in ["", "AA==", "/////w==", "3f////8=", "k5OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5OT"] {
            add(json!("s"), json!("v"), json!({"type": kind, "base64": bytes}));
        }
    }
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// Asserts that nothing it printed could do harm to a terminal, or flood it.
#[track_caller]
fn assert_harmless(output: &Output, about: &str) {
    assert!([0, 1, 2, 3].contains(&output.code), "{about}: {output:?}");
    for text in [&output.out, &output.err] {
        let is_bad =
            |c: char| c.is_control() && c != '\n' || matches!(c, '\u{200b}' | '\u{202a}'..='\u{202e}' | '\u{2066}');
        assert!(!text.contains(is_bad), "{about} prints {:?}", text.chars().find(|c| is_bad(*c)));
        assert!(!text.contains("panicked"), "{about}: {text}");
        let widest = text.lines().map(|line| line.chars().count()).max().unwrap_or(0);
        assert!(widest <= 10_000, "{about} prints a line of {widest} characters");
    }
}

#[test]
fn every_command_prints_odd_hostile_and_huge_values_harmlessly() {
    let sandbox = Sandbox::new();
    sandbox.write("odd.jsonl", &records());
    let long = "t".repeat(250);
    let mut backup = vec!["backup", "jsonl:odd.jsonl", "--cluster", ODD[1], "--tag", &long];
    ODD[1..].iter().filter(|tag| !tag.contains('\u{0}')).for_each(|tag| backup.extend(["--tag", tag]));
    let made = sandbox.run(&backup);
    assert_harmless(&made, "backup");
    let made = made.ends(0);
    assert!(made.out.contains("committed snapshot"));
    sandbox.write("odd.jsonl", &records().replace("xxxx", "yyyy").replace("AAECAwQF", "AAECAwQG"));
    sandbox.json(&["backup", "jsonl:odd.jsonl", "--cluster", ODD[1]]);
    let reason = ODD[1..5].concat().repeat(40);
    assert_harmless(&sandbox.run(&["hold", "add", "latest", "--reason", &reason]).ends(0), "hold");
    let listed = sandbox.json_lines(&["ls", "latest"]);
    assert_eq!(listed.len(), 2 * ODD.len() + 2 + 20);
    let mut commands: Vec<Vec<String>> = [
        &["snapshots"][..],
        &["snapshots", "--tag", ODD[1]],
        &["snapshots", "--cluster", ODD[2]],
        &["history"],
        &["show", "latest"],
        &["ls", "latest"],
        &["ls", "latest:test/\u{1b}[31m"],
        &["diff", "latest~1", "latest"],
        &["diff", "latest~1", "latest", "--values"],
        &["diff", "latest~1", "latest:\u{1b}[31m"],
        &["stats"],
        &["check", "--read-data"],
        &["verify", "latest~1", "jsonl:odd.jsonl"],
        &["verify", "latest", "jsonl:\u{1b}[31m.jsonl"],
        &["restore", "latest", "embedded:store"],
        &["restore", "latest~1:\u{1b}[31m", "embedded:store"],
        &["hold", "list"],
        &["forget", "--keep-last", "1", "-n"],
        &["forget", "\u{1b}[31m"],
        &["prune", "-n"],
        &["repair", "-n"],
        &["key", "list"],
        &["inspect", "snapshot", "latest"],
        &["inspect", "index"],
    ]
    .iter()
    .map(|command| command.iter().map(ToString::to_string).collect())
    .collect();
    for row in &listed {
        commands.push(["get", "latest:test", "--digest", row["digest"].as_str().unwrap()].map(String::from).to_vec());
    }
    for command in &commands {
        let command: Vec<&str> = command.iter().map(String::as_str).collect();
        let about = format!("{command:?}");
        let output = sandbox.run(&command);
        assert_harmless(&output, &about);
        if command.contains(&"embedded:store") {
            continue;
        }
        let output = sandbox.run(&[&command[..], &["--json"]].concat());
        assert!(!output.err.contains("panicked") && output.code <= 3, "{about}: {output:?}");
        output.json_lines();
    }
}

#[test]
fn what_is_too_long_to_be_kept_is_refused_with_its_bound() {
    let sandbox = Sandbox::new();
    let [one, _] = sandbox.people();
    let (name, reason) = ("n".repeat(257), "r".repeat(4097));
    let backup = ["backup", "asb:people.asb", "--cluster"];
    sandbox
        .run(&[&backup[..], &[&name]].concat())
        .ends(2)
        .says(&["the name of a cluster", "at most 256 bytes, found 257"]);
    sandbox.run(&[&backup[..], &["asb", "--tag", &name]].concat()).ends(2).says(&["a label", "at most 256 bytes"]);
    let many: Vec<String> = (0..65).map(|n| format!("--tag=t{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    sandbox.run(&[&backup[..], &["asb"], &many].concat()).ends(2).says(&["the labels", "at most 64"]);
    sandbox.run(&[&backup[..], &["asb", "--hold", &reason]].concat()).ends(2).says(&["the reason", "at most 4096"]);
    sandbox.run(&["hold", "add", &one, "--reason", &reason]).ends(2).says(&["the reason", "at most 4096"]);
    assert_eq!(sandbox.json(&["snapshots"])["snapshots"].as_array().unwrap().len(), 2);
}
