//! Waiting until the servers have built what was restored.

use super::NAMESPACE;
use super::program::{Output, Place};
use crate::support::cluster::TestCluster;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use std::time::{Duration, Instant};

/// A backup with an index and no record.
const INDEXED: &str = "Version 3.1\n# namespace test\n# first-file\n* i test s by-n N 1 n N\n";

/// A cluster of which so many lists of indexes say that they are being built.
fn building(lists: usize) -> (TestCluster, Place, String) {
    let (cluster, place) = (TestCluster::start(2), Place::new());
    place.write("in.asb", INDEXED);
    cluster.shared().building = lists;
    let url = format!("aerospike://{}/{NAMESPACE}", cluster.address(0));
    (cluster, place, url)
}

fn restore(place: &Place, url: &str, wait: &str) -> Output {
    place.run(&["restore", "asb:in.asb", url, wait, "--quiet"])
}

#[test]
fn a_restore_that_waits_ends_once_every_index_is_built() {
    let (cluster, place, url) = building(20);
    let done = restore(&place, &url, "--wait-indexes");
    assert_eq!((done.code, cluster.shared().building), (0, 0), "{done:?}");
}

#[test]
fn what_is_not_built_in_time_is_named() {
    let (cluster, place, url) = building(usize::MAX);
    let done = restore(&place, &url, "--wait-indexes=1s");
    assert!(done.code == 3 && done.err.contains("not built yet: index by-n of namespace test (40 %)"), "{done:?}");
    // Without it nobody waits.
    assert_eq!(place.run(&["restore", "asb:in.asb", &url, "--quiet"]).code, 0);
    let json = place.run(&["restore", "asb:in.asb", &url, "--wait-indexes=1s", "--quiet", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    let unbuilt = json!([{ "namespace": "test", "name": "by-n", "percent": 40, "failed": false }]);
    assert_eq!(json["unbuilt"], unbuilt);
    assert!(done.err.contains("the servers go on building: nothing needs to be restored again"), "{done:?}");
    // Of many not all are named.
    let more: String = (0..30).map(|n| format!("* i test s by-m{n} N 1 m{n} N\n")).collect();
    place.write("many.asb", &(INDEXED.to_string() + &more));
    let many = place.run(&["restore", "asb:many.asb", &url, "--wait-indexes=1s", "--quiet"]);
    assert_eq!(many.err.matches("not built yet: index by-").count(), 20, "{many:?}");
    assert!(many.err.contains("not built yet: 11 more; --json names all"), "{many:?}");
    // What won't be built is not waited for.
    cluster.shared().index_states = [(0, "ERROR"), (1, "ERROR")].into();
    let begun = Instant::now();
    let failed = restore(&place, &url, "--wait-indexes=1min");
    assert!(begun.elapsed() < Duration::from_secs(60), "{failed:?}");
    assert!(failed.code == 3 && failed.err.contains("a server says that it failed"), "{failed:?}");
}

/// What a restore that waits for a moment says of indexes.
fn unbuilt(place: &Place, arguments: &[&str]) -> serde_json::Value {
    let done = place.run(&[&["restore"], arguments, &["--wait-indexes=1s", "--quiet", "--json"]].concat());
    let json: serde_json::Value = serde_json::from_str(&done.out).unwrap_or_else(|_| panic!("{done:?}"));
    json["unbuilt"].clone()
}

#[test]
fn an_index_is_built_once_every_node_has_built_it() {
    let (cluster, place, url) = building(0);
    let expected = |failed: bool| json!([{ "namespace": "test", "name": "by-n", "percent": 40, "failed": failed }]);
    // Others that are being built there were not restored.
    let other = [("ns", "test"), ("indexname", "other"), ("bin", "o")];
    cluster.shared().indexes.push(other.map(|(name, value)| (name.to_string(), value.to_string())).into());
    cluster.shared().index_states = [(1, "WO")].into();
    // Its namespace may have another name there.
    let root = url.trim_end_matches(&format!("/{NAMESPACE}"));
    assert_eq!(unbuilt(&place, &["asb:in.asb", root, "--rename", "bar"]), expected(false));
    assert_eq!(unbuilt(&place, &["asb:in.asb", &url]), expected(false));
    cluster.shared().index_states = [(0, "WO"), (1, "ERROR")].into();
    assert_eq!(unbuilt(&place, &["asb:in.asb", &url]), expected(true));
    cluster.shared().index_states.clear();
    assert_eq!(unbuilt(&place, &["asb:in.asb", &url]), json!([]));
}

#[test]
fn an_index_of_which_servers_tell_no_state_is_built_once_they_say_all_of_it_is() {
    let (cluster, place, url) = building(0);
    cluster.shared().index_states = [(0, ""), (1, "")].into();
    assert_eq!(unbuilt(&place, &["asb:in.asb", &url])[0]["percent"], 40);
    cluster.shared().percent_built = 100;
    assert_eq!(unbuilt(&place, &["asb:in.asb", &url]), json!([]));
}

#[test]
fn a_stop_ends_the_wait_and_says_what_is_left() {
    let (cluster, place, url) = building(usize::MAX);
    let mut child = place.start(&["restore", "asb:in.asb", &url, "--wait-indexes", "--quiet"]);
    // Both nodes were asked when it was made, and more often since.
    while cluster.shared().building > usize::MAX - 20 && child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(20));
    }
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success(), "{said}");
    assert!(said.contains("all was written, and the servers go on building by-n of test (40 %)"), "{said}");
}
