//! Waiting until the servers have built what was restored.

use super::NAMESPACE;
use super::program::{Output, Place};
use crate::support::cluster::TestCluster;
use rustix::process::{Pid, Signal, kill_process};
use std::time::Duration;

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
    let unbuilt = serde_json::json!([{ "namespace": "test", "name": "by-n", "percent": 40, "failed": false }]);
    assert_eq!(json["unbuilt"], unbuilt);
    assert!(done.err.contains("the servers go on building: nothing needs to be restored again"), "{done:?}");
    // Of many not all are named.
    let more: String = (0..30).map(|n| format!("* i test s by-m{n} N 1 m{n} N\n")).collect();
    place.write("many.asb", &(INDEXED.to_string() + &more));
    let many = place.run(&["restore", "asb:many.asb", &url, "--wait-indexes=1s", "--quiet"]);
    assert_eq!(many.err.matches("not built yet: index by-").count(), 20, "{many:?}");
    assert!(many.err.contains("not built yet: 11 more; --json names all"), "{many:?}");
    // What won't be built is not waited for.
    cluster.shared().unbuildable = true;
    let failed = restore(&place, &url, "--wait-indexes");
    assert!(failed.code == 3 && failed.err.contains("a server says that it failed"), "{failed:?}");
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
