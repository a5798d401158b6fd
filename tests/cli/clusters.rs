//! Snapshots of several clusters in one repository: what is named, restored, kept and built on is never another's.

use super::support::{Sandbox, asb, person};

/// Backs up this many people as a full backup of the cluster, and gives the snapshot's id.
fn back_up(sandbox: &Sandbox, cluster: &str, people: std::ops::Range<u32>, more: &[&str]) -> String {
    let records: String = people.map(|n| person(&format!("{cluster}{n}"), 1, 20)).collect();
    let file = format!("{cluster}.asb");
    sandbox.write(&file, &asb("test", &records));
    let source = format!("asb:{file}");
    let arguments = [&["backup", &source, "--cluster", cluster], more].concat();
    sandbox.json(&arguments)["snapshot"].as_str().unwrap().to_string()
}

/// Two snapshots of `prod`, and between them one of `staging`; at last another.
fn prod_and_staging(sandbox: &Sandbox) -> [String; 4] {
    [
        back_up(sandbox, "prod", 0..3, &["--tag", "monthly"]),
        back_up(sandbox, "staging", 0..2, &[]),
        back_up(sandbox, "prod", 0..4, &[]),
        back_up(sandbox, "staging", 0..5, &["--tag", "monthly"]),
    ]
}

#[test]
fn a_relative_name_that_could_mean_several_clusters_is_refused_with_their_names() {
    let sandbox = Sandbox::new();
    let [_, _, prod, _] = prod_and_staging(&sandbox);
    let both = ["\"prod\" and \"staging\"", "--cluster"];
    let commands: [&[&str]; 12] = [
        &["restore", "latest:test", "asb:out"],
        &["verify", "latest", "asb:prod.asb"],
        &["ls", "latest~1"],
        &["get", "@2100-01-01:test", "x"],
        &["show", "latest"],
        &["inspect", "snapshot", "latest"],
        &["diff", "latest~1", &prod],
        &["diff", &prod, "latest"],
        &["copy", "latest", "--to", "offsite"],
        &["forget", "latest"],
        &["hold", "add", "latest", "--reason", "why"],
        &["hold", "release", "latest"],
    ];
    sandbox.run(&["--repo", "offsite", "init"]).ends(0);
    for command in commands {
        let run = sandbox.run_with(command, |command| {
            command.env("AEROLITH_TO_PASSWORD", super::support::PASSWORD);
        });
        run.ends(2).says(&both);
    }
    assert!(!sandbox.path("out").exists());
}

#[test]
fn cluster_label_and_host_say_which_snapshots_are_meant() {
    let sandbox = Sandbox::new();
    let [first, staging, prod, last] = prod_and_staging(&sandbox);
    let shown =
        |arguments: &[&str]| sandbox.json(&[&["show"], arguments].concat())["snapshot"].as_str().unwrap().to_string();
    assert_eq!(shown(&["latest", "--cluster", "prod"]), prod);
    assert_eq!(shown(&["latest~1", "--cluster", "prod"]), first);
    assert_eq!(shown(&["@2100-01-01", "--cluster", "staging"]), last);
    assert_eq!(shown(&["latest~1", "--cluster", "staging"]), staging);
    assert_eq!(shown(&["latest", "--tag", "monthly", "--cluster", "prod"]), first);
    sandbox.run(&["show", "latest", "--tag", "monthly"]).ends(2).says(&["\"prod\" and \"staging\""]);
    sandbox.run(&["show", "latest~2", "--cluster", "prod"]).ends(1).says(&["of cluster \"prod\"", "latest~1"]);
    sandbox.run(&["show", "latest", "--cluster", "pord"]).ends(1).says(&["\"pord\"", "\"prod\" and \"staging\""]);
    sandbox.run(&["show", "latest", "--host", "elsewhere"]).ends(1).says(&["by host \"elsewhere\""]);
    sandbox.run(&["show", &prod, "--cluster", "staging"]).ends(2).says(&[&prod, "is of cluster \"prod\""]);
    let listed = |arguments: &[&str], command: &str| {
        let listed = sandbox.json(&[&[command], arguments].concat());
        listed["snapshots"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| row["snapshot"].as_str().unwrap().to_string())
            .collect::<Vec<_>>()
    };
    for command in ["snapshots", "stats"] {
        assert_eq!(listed(&["--cluster", "staging"], command), [staging.clone(), last.clone()]);
        assert_eq!(listed(&["--tag", "monthly"], command), [first.clone(), last.clone()]);
        sandbox.run(&[command, "--cluster", "pord"]).ends(1).says(&["\"prod\" and \"staging\""]);
    }
    let forgotten = sandbox.json(&["forget", "latest~1", "--cluster", "prod"]);
    assert_eq!(forgotten["forgotten"], serde_json::json!([first]));
}

#[test]
fn restores_comparisons_and_diffs_say_which_snapshot_of_which_cluster_they_took() {
    let sandbox = Sandbox::new();
    let [_, staging, prod, last] = prod_and_staging(&sandbox);
    let of_prod = format!("snapshot {prod} of cluster prod, committed 2");
    let restored = sandbox.run_with(&["restore", "latest:test", "asb:out", "--cluster", "prod"], |_| {}).ends(0);
    restored.shows(&[&of_prod]).says(&[&of_prod]);
    let restored = sandbox.json(&["restore", "latest:test", "asb:again", "--cluster", "prod"]);
    assert_eq!((&restored["snapshot"], &restored["cluster"]), (&prod.as_str().into(), &"prod".into()));
    super::support::assert_time(&restored["committed"]);
    sandbox.run(&["verify", "latest", "asb:out", "--cluster", "prod"]).ends(0).shows(&[&of_prod]);
    let verified = sandbox.json(&["verify", "latest", "asb:out", "--cluster", "prod"]);
    assert_eq!((&verified["snapshot"], &verified["cluster"]), (&prod.as_str().into(), &"prod".into()));
    let both =
        [format!("from snapshot {staging} of cluster staging"), format!("to snapshot {last} of cluster staging")];
    let both: Vec<&str> = both.iter().map(String::as_str).collect();
    sandbox.run_with(&["diff", "latest~1", "latest", "--cluster", "staging"], |_| {}).ends(0).says(&both);
}

#[test]
fn a_source_without_a_cluster_builds_on_no_other_sources_snapshots() {
    let sandbox = Sandbox::new();
    sandbox.write("a.asb", &asb("test", &person("anna", 1, 30)));
    sandbox.write("b.asb", &asb("test", &person("bert", 1, 40)));
    sandbox.write("b.jsonl", "");
    sandbox.run_with(&["backup", "asb:a.asb"], |_| {}).ends(0).says(&["it is called \"asb\"", "--cluster NAME"]);
    // The same path again is the same database, of which nothing is to be said.
    let again = sandbox.run_with(&["backup", "asb:a.asb"], |_| {}).ends(0);
    assert!(!again.err.contains("--cluster"), "{}", again.err);
    let refused = sandbox.run(&["backup", "asb:b.asb"]).ends(2);
    refused.says(&["asb:b.asb", "of another source, asb:a.asb", "--cluster asb if it is the same database"]);
    sandbox.run(&["backup", "jsonl:b.jsonl", "--cluster", "b"]).ends(1);
    assert_eq!(sandbox.json(&["snapshots"])["snapshots"].as_array().unwrap().len(), 2);
    // Said in so many words, it is the same.
    sandbox.run(&["backup", "asb:b.asb", "--cluster", "asb"]).ends(0);
    let refused = sandbox.run(&["backup", "asb:a.asb"]).ends(2);
    refused.says(&["of another source, asb:b.asb"]);
}

#[test]
fn a_source_without_a_cluster_is_refused_beside_named_ones() {
    let sandbox = Sandbox::new();
    prod_and_staging(&sandbox);
    let refused = sandbox.run(&["backup", "asb:prod.asb"]).ends(2);
    refused.says(&["asb:prod.asb", "\"prod\", \"staging\"", "--cluster NAME"]);
}

#[test]
fn a_backup_after_which_most_records_are_gone_warns_and_is_no_success_with_strict() {
    let sandbox = Sandbox::new();
    let first = back_up(&sandbox, "shop", 0..5, &[]);
    sandbox.write("shop.asb", &asb("test", &person("shop0", 1, 20)));
    let named =
        ["4 of the 5 records that snapshot", &first, "in namespace test are gone", "another database", "hold add"];
    sandbox
        .run(&["backup", "asb:shop.asb", "--cluster", "shop", "--strict"])
        .ends(3)
        .says(&named)
        .shows(&["committed snapshot"]);
    let held = back_up(&sandbox, "shop", 0..5, &["--strict"]);
    sandbox.write("shop.asb", &asb("test", &person("shop0", 1, 20)));
    let done = sandbox.json(&["backup", "asb:shop.asb", "--cluster", "shop"]);
    let expected = serde_json::json!([{"namespace": "test", "parent": held, "records": 5, "deleted": 4}]);
    assert_eq!(done["vanished"], expected);
    // Half of them is not more than half.
    back_up(&sandbox, "half", 0..4, &[]);
    let half: String = (0..2).map(|n| person(&format!("half{n}"), 1, 20)).collect();
    sandbox.write("half.asb", &asb("test", &half));
    sandbox.run(&["backup", "asb:half.asb", "--cluster", "half", "--strict"]).ends(0);
}

#[test]
fn forget_keeps_the_newest_of_each_cluster() {
    let sandbox = Sandbox::new();
    let [first, staging, ..] = prod_and_staging(&sandbox);
    let done = sandbox.json(&["forget", "--keep-last", "1"]);
    assert_eq!(done["forgotten"], serde_json::json!([first, staging]));
}
