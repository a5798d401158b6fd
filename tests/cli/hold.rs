//! `hold`.

use super::support::{Sandbox, assert_id, assert_time};

#[test]
fn what_is_held_is_not_forgotten_until_it_is_released() {
    let sandbox = Sandbox::new();
    let [first, second] = sandbox.people();
    let placed = sandbox.json(&["hold", "add", &first[..8], "latest", "--reason", "case 7"]);
    let holds = placed["holds"].as_array().unwrap();
    assert_eq!(
        (holds.len(), &holds[0]["snapshot"], &holds[1]["snapshot"]),
        (2, &first.as_str().into(), &second.as_str().into())
    );
    assert_id(&holds[0]["hold"], 32);
    assert_time(&holds[0]["placed"]);
    assert_eq!((&holds[0]["reason"], &holds[0]["state"]), (&"case 7".into(), &"committed".into()));
    assert!(holds[0]["host"].is_string() && holds[0]["program"].is_string() && holds[0]["problem"].is_null());
    sandbox.run(&["hold", "list"]).ends(0).shows(&["case 7", &first[..12], &second[..12], "committed"]);
    assert_eq!(sandbox.json(&["hold", "list"])["holds"].as_array().unwrap().len(), 2);
    sandbox.run(&["snapshots"]).ends(0).shows(&["held"]);
    assert_eq!(sandbox.json(&["snapshots"])["held"].as_array().unwrap().len(), 2);
    sandbox.run(&["forget", &first]).ends(1).says(&["is held", "case 7", "aerolith hold release"]);
    sandbox.run(&["forget", "--keep-last", "0"]).ends(0).shows(&["stays", "case 7", "forgot 0 snapshots"]);
    let hold = holds[0]["hold"].as_str().unwrap();
    sandbox.run(&["hold", "release", &hold[..10]]).ends(0).shows(&["released from snapshot", &first]);
    sandbox.run(&["hold", "release", &second]).ends(0).shows(&[&second]);
    sandbox.run(&["hold", "list"]).ends(0).says(&["nothing is held"]);
    sandbox.run(&["forget", &first, &second]).ends(0);
}

#[test]
fn a_backup_can_be_held_from_its_beginning() {
    let sandbox = Sandbox::new();
    sandbox.people();
    let held = sandbox.json(&["backup", "asb:people.asb", "--hold", "case 8"]);
    let id = held["snapshot"].as_str().unwrap();
    sandbox.run(&["forget", id]).ends(1).says(&["case 8"]);
    sandbox.run(&["stats"]).ends(0);
    sandbox.run(&["check"]).ends(0);
}

#[test]
fn what_is_not_there_is_not_held_or_released() {
    let sandbox = Sandbox::new();
    sandbox.people();
    sandbox.run(&["hold"]).ends(2).says(&["Usage"]);
    sandbox.run(&["hold", "add", "latest"]).ends(2).says(&["--reason"]);
    sandbox.run(&["hold", "add", "ffff", "--reason", "x"]).ends(1).says(&["not found"]);
    sandbox.run(&["hold", "release", "ffff"]).ends(1).says(&["not found", "aerolith hold list"]);
    sandbox.run(&["hold", "release", "latest"]).ends(1).says(&["not found", "aerolith hold list"]);
    sandbox.run(&["hold", "release", ""]).ends(2).says(&["which hold?"]);
}
