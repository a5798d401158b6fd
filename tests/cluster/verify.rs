//! Comparing a snapshot with a cluster.

use super::conformance::{int, number};
use super::partial::filled;
use super::program::Place;
use super::{NAMESPACE, partial};
use crate::support::cluster::client::Client;
use aerolith::record::Digest;

#[test]
fn a_path_in_the_address_or_a_new_name_says_with_which_namespace_one_is_compared() {
    let (cluster, mut own) = filled(2);
    let addresses: Vec<String> = (0..2).map(|node| cluster.address(node)).collect();
    let place = Place::new();
    let (root, bar) = (format!("aerospike://{}", addresses[0]), format!("aerospike://{}/bar", addresses[0]));
    assert_eq!(place.run(&["backup", &format!("{root}/{NAMESPACE}")]).code, 0);
    let from = format!("latest:{NAMESPACE}");
    let verify = |arguments: &[&str]| place.run(&[&["verify"], arguments].concat());

    // What differs in the namespace of the same name must not count, and what differs in the other one must.
    assert_eq!(place.run(&["restore", &from, &bar]).code, 0);
    own.put(b"s", &int(1), true, u32::MAX, &number(1000));
    for same in [
        &[&from[..], &bar][..],
        &["latest", &bar],
        &[&from, &root, "--rename", "bar"],
        &[&from, &bar, "--rename", "bar"],
    ] {
        let output = verify(same);
        assert!(output.code == 0 && output.out.contains("is as in snapshot"), "{same:?}: {output:?}");
    }
    let changed = format!("changed: {NAMESPACE} {}", Digest(partial::at(1)));
    for own in [[&from[..], &root], ["latest", &root]] {
        let output = verify(&own);
        assert!(output.code == 3 && output.out.contains(&changed), "{own:?}: {output:?}");
    }
    let mut other = Client::connect(&addresses, "bar");
    other.put(b"s", &int(2), true, u32::MAX, &number(1000));
    let changed = format!("changed: {NAMESPACE} {}", Digest(partial::at(2)));
    for arguments in [&[&from[..], &bar][..], &[&from, &root, "--rename", "bar"]] {
        let output = verify(arguments);
        assert!(output.code == 3 && output.out.contains(&changed), "{arguments:?}: {output:?}");
    }

    // A namespace that isn't there, and two names for one.
    for arguments in [&[&from[..], &format!("{root}/nosuch")][..], &[&from, &root, "--rename", "nosuch"]] {
        let output = verify(arguments);
        assert!(output.code != 0 && (output.out.clone() + &output.err).contains("nosuch"), "{output:?}");
    }
    let both = verify(&[&from, &bar, "--rename", "other"]);
    assert!(both.code == 2 && both.err.contains("--rename says \"other\", the address"), "{both:?}");

    // Of a snapshot of several the address names the one that is compared; one that is none of them could be for any.
    assert_eq!(place.run(&["backup", &root]).code, 0);
    let one = verify(&["latest", &bar]);
    assert!(
        one.code == 3 && one.out.contains(&format!("not in the source: namespace {NAMESPACE}; it has bar")),
        "{one:?}"
    );
    assert!(one.out.contains("bar: 400 records in the snapshot, 400 in the source; 0 only"), "{one:?}");
    let which = verify(&["latest", &root, "--rename", "bar"]);
    assert!(which.code == 2 && which.err.contains("needs a single namespace"), "{which:?}");
}

#[test]
fn a_set_that_is_not_in_the_cluster_is_named_with_those_that_are() {
    let (cluster, _) = filled(2);
    let place = Place::new();
    let url = format!("aerospike://{}/{NAMESPACE}", cluster.address(0));
    assert_eq!(place.run(&["backup", &url]).code, 0);
    let part = |sets: &[&str]| place.run(&[&["verify", "latest:test", &url], sets].concat());
    assert_eq!(part(&["--set", "s"]).code, 0);
    for sets in [&["--set", "nosuchset"][..], &["--set", "s", "--set", "nosuchset"]] {
        let output = part(sets);
        let named = output.err.contains("set nosuchset isn't in namespace test; its sets are: s");
        assert!(output.code == 3 && named, "{sets:?}: {output:?}");
    }
    // An unknown namespace ends as an unknown set does.
    let root = format!("aerospike://{}", cluster.address(0));
    for (unknown, says) in [
        (&["backup", &root, "--namespace", "nosuch"][..], "namespace nosuch not found"),
        (&["backup", &format!("{root}/nosuch")], "nosuch"),
        (&["backup", &url, "--set", "nosuchset"], "set nosuchset isn't in namespace test; its sets are: s"),
    ] {
        let output = place.run(unknown);
        assert!(output.code == 1 && output.err.contains(says), "{unknown:?}: {output:?}");
    }
}
