//! Backups of clusters that are killed and started again.

use super::NAMESPACE;
use super::conformance::{int, number};
use super::partial::filled;
use super::program::Place;
use crate::support::cluster::TestCluster;
use aerolith::internals::objects::read_session;
use std::process::Child;
use std::time::{Duration, Instant};

/// How many partitions the cluster's nodes were asked for so.
fn asked(cluster: &TestCluster, how: &str) -> u64 {
    let shared = cluster.shared();
    let scans = shared.log.iter().filter_map(|line| line.strip_prefix(how));
    scans.map(|line| line.split(' ').next().unwrap().parse::<u64>().unwrap()).sum()
}

/// Waits until a backup has noted that it read 1500 partitions.
fn wait_for_notes(place: &Place, running: &mut Child, begun: Instant) {
    let repository = place.repository();
    let noted = || {
        let history = repository.history().unwrap();
        let last = history.entries.last().map(|entry| entry.id());
        // It is written again while it is read.
        let read = |id| read_session(&**repository.store(), repository.keys(), id).ok();
        let journal = last.and_then(read).and_then(|session| session.journal);
        journal.map_or(0, |journal| journal.namespaces[0].partitions)
    };
    while noted() < 1500 {
        assert!(begun.elapsed() < Duration::from_secs(60), "{} partitions", noted());
        assert!(running.try_wait().unwrap().is_none(), "it ended before it was to");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_killed_backup_goes_on_and_reads_of_finished_partitions_what_changed() {
    let (cluster, mut client) = filled(2);
    let place = Place::new();
    let url = format!("aerospike://{}/{NAMESPACE}", cluster.address(0));
    let begun = Instant::now();
    for kind in ["full", "incremental"] {
        if kind == "incremental" {
            // All records change, so that there is something to throttle.
            (0..400).for_each(|n| {
                client.put(b"s", &int(n), true, u32::MAX, &number(n + 1));
            });
        }
        // What a full backup finished the servers count; nothing is walked unless that is asked for.
        let deletes = if kind == "full" { "auto" } else { "walk" };
        let arguments = ["backup", &url, "--kind", kind, "--note-every", "0", "--parallel", "1", "--deletes", deletes];
        let mut running = place.start(&[&arguments[..], &["--records-per-second", "150"]].concat());
        wait_for_notes(&place, &mut running, begun);
        running.kill().unwrap();
        running.wait().unwrap();
        cluster.shared().log.clear();
        let done = place.run(&[&arguments[..], &["--json"]].concat());
        assert_eq!(done.code, 0, "{done:?}");
        let json: serde_json::Value = serde_json::from_str(&done.out).unwrap();
        let resumed = json["resumed"][0]["partitions"].as_u64().unwrap();
        assert!(resumed >= 1500 && json["resumed"][0]["namespace"] == NAMESPACE, "{json}");
        // Each partition is asked once.
        let walks = if kind == "full" { 0 } else { 4096 };
        assert_eq!((asked(&cluster, "scan "), asked(&cluster, "walk ")), (4096, walks), "{kind}");
        if kind == "full" {
            assert_eq!(json["namespaces"][0]["counts"]["read"], 400, "nothing was read twice: {json}");
        }
        assert!(done.err.contains("resumed session"), "{done:?}");
        let told: serde_json::Value = serde_json::from_str(&place.run(&["history", "--json"]).out).unwrap();
        let killed = told["sessions"]
            .as_array()
            .unwrap()
            .iter()
            .find(|row| row["session"] == json["resumed"][0]["session"])
            .unwrap();
        assert_eq!((&killed["status"], &killed["resumed_by"]), (&"crashed".into(), &json["snapshot"]), "{told}");
        let verified = place.run(&["verify", "latest", &url]);
        assert_eq!(verified.code, 0, "{verified:?}");
    }
    cluster.shared().log.clear();
    let none = place.run(&["backup", &url, "--kind", "full", "--no-resume", "--json"]);
    assert!(none.code == 0 && none.out.contains("\"resumed\":[]"), "{none:?}");
    assert_eq!((asked(&cluster, "scan "), asked(&cluster, "walk ")), (4096, 0));
}

#[test]
fn a_backup_whose_only_node_is_gone_says_that_another_goes_on_and_so_it_does() {
    let (cluster, _client) = filled(1);
    let place = Place::new();
    let url = format!("aerospike://{}/{NAMESPACE}", cluster.address(0));
    let again = "Run the backup again: it goes on from what this one noted";
    // Nothing is noted of one that can't even connect.
    cluster.shared().nodes[0].down = true;
    let early = place.run(&["backup", &url]);
    assert!(early.code == 1 && !early.err.contains(again), "{early:?}");
    cluster.shared().nodes[0].down = false;
    let arguments = ["backup", &url, "--note-every", "0", "--parallel", "1", "--attempts", "2"];
    let mut running = place.start(&[&arguments[..], &["--records-per-second", "150"]].concat());
    wait_for_notes(&place, &mut running, Instant::now());
    cluster.shared().nodes[0].down = true;
    cluster.close_connections(None);
    let output = running.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        output.status.code() == Some(1) && said.contains("Nothing was committed") && said.contains(again),
        "{said}"
    );
    cluster.shared().nodes[0].down = false;
    let done = place.run(&[&arguments[..], &["--json"]].concat());
    let json: serde_json::Value = serde_json::from_str(&done.out).unwrap();
    assert!(json["resumed"][0]["partitions"].as_u64().unwrap() >= 1500, "{json}");
    assert_eq!(place.run(&["verify", "latest", &url]).code, 0);
}
