//! Users and roles of clusters with access control.

use super::login::{guarded, options};
use super::program::Place;
use super::{NAMESPACE, connect, quick};
use crate::support::cluster::TestCluster;
use aerolith::record::{NamespaceMetadata, Privilege, Role, User};
use aerolith::store::MemoryStore;
use aerolith::{
    AerospikeTarget, BackupKind, ClusterUrl, CreateOptions, KdfCost, RecordOptions, RecordSource, Repository,
    RestoreOptions, SessionOptions, Snapshot,
};
use serde_json::json;
use std::sync::Arc;

fn grant(cluster: &TestCluster, user: &str, roles: &[&str]) {
    let roles = roles.iter().map(|role| role.to_string()).collect();
    let mut shared = cluster.shared();
    shared.users.entry(user.into()).or_default().roles = roles;
}

/// A cluster with the role `shop`, its user `bob`, and `ada`, who may see and make them.
fn peopled() -> TestCluster {
    let cluster = guarded();
    grant(&cluster, "ada", &["user-admin", "read-write"]);
    grant(&cluster, "bob", &["shop", "read"]);
    let mut shared = cluster.shared();
    shared.roles.insert("user-admin".into(), vec![(12, vec![1, 0])]);
    let fields = vec![
        (12, b"\x02\x0d\x04test\x05carts\x0a\0\0".to_vec()),
        (13, b"10.0.0.0/8,::1".to_vec()),
        (14, 1000u32.to_be_bytes().to_vec()),
    ];
    shared.roles.insert("shop".into(), fields);
    drop(shared);
    cluster
}

fn shop() -> Role {
    let privilege = |code, namespace: &str, set: &str| Privilege { code, namespace: namespace.into(), set: set.into() };
    Role {
        name: b"shop".to_vec(),
        privileges: vec![privilege(10, "", ""), privilege(13, "test", "carts")],
        allow_list: b"10.0.0.0/8,::1".to_vec(),
        read_quota: 1000,
        write_quota: 0,
    }
}

fn seen_by(cluster: &TestCluster, user: &str) -> NamespaceMetadata {
    connect(&cluster.address(0), options(user, "password")).unwrap().metadata(NAMESPACE).unwrap()
}

fn not_read(metadata: &NamespaceMetadata) -> Vec<String> {
    let facts = metadata.facts.iter().filter(|fact| fact.topic == "not read");
    facts.map(|fact| String::from_utf8(fact.value.clone()).unwrap()).collect()
}

#[test]
fn users_and_roles_are_read_by_who_may_see_them() {
    let cluster = peopled();
    let seen = seen_by(&cluster, "ada");
    let admin = Privilege::default();
    assert_eq!(seen.roles, [shop(), Role { name: b"user-admin".to_vec(), privileges: vec![admin], ..Role::default() }]);
    let user = |name: &str, roles: [&str; 2]| User { name: name.into(), roles: roles.map(|role| role.into()).to_vec() };
    assert_eq!(seen.users, [user("ada", ["read-write", "user-admin"]), user("bob", ["read", "shop"])]);
    assert!(not_read(&seen).is_empty());
}

#[test]
fn where_there_is_no_access_control_there_is_nothing_to_tell() {
    let cluster = TestCluster::start(1);
    for options in [quick(b""), options("ada", "password")] {
        let seen = connect(&cluster.address(0), options).unwrap().metadata(NAMESPACE).unwrap();
        assert!(seen.users.is_empty() && seen.roles.is_empty() && not_read(&seen).is_empty());
    }
    // Who doesn't log in isn't heard about users either.
    assert_eq!(cluster.shared().log.iter().filter(|line| line.starts_with("security command")).count(), 1);
}

fn back_up(cluster: &TestCluster, user: &str) -> (Snapshot, Vec<String>) {
    let source = connect(&cluster.address(0), options(user, "password")).unwrap();
    let create = CreateOptions::default().cost(KdfCost::WEAK);
    let repository = Repository::create(Arc::new(MemoryStore::new()), b"secret", &create).unwrap();
    let mut session = repository.begin(SessionOptions::default()).unwrap();
    session.records(NAMESPACE, &source, BackupKind::Full, &RecordOptions::default()).unwrap();
    (session.commit().unwrap(), repository.control().warnings())
}

#[test]
fn a_user_who_may_not_see_them_backs_up_all_the_same_and_is_told() {
    let cluster = peopled();
    cluster.shared().users.get_mut("ada").unwrap().roles = vec!["read-write".into()];
    let (snapshot, warnings) = back_up(&cluster, "ada");
    assert!(warnings.len() == 1 && warnings[0].contains("users and roles"), "{warnings:?}");
    assert!(warnings[0].contains("user-admin") && warnings[0].contains("code 81"), "{warnings:?}");
    let held = snapshot.namespace(NAMESPACE).unwrap().metadata().unwrap();
    assert!(held.users.is_empty() && held.roles.is_empty());
    assert_eq!(not_read(&held).len(), 1);
}

/// Restores into a cluster; what the target could not take.
fn restore(snapshot: &Snapshot, cluster: &TestCluster, dry_run: bool, without_users: bool) -> Vec<String> {
    let url = ClusterUrl::parse(&format!("aerospike://{}", cluster.address(0))).unwrap();
    let target = AerospikeTarget::connect(&url, options("ada", "password")).unwrap();
    let options = RestoreOptions::default().without_users(without_users);
    let plan = snapshot.restore_plan(NAMESPACE, &target, &options).unwrap();
    let report = if dry_run { plan.into_report() } else { plan.execute().unwrap() };
    report.remarks.omissions
}

#[test]
fn roles_are_made_and_users_that_lack_are_named() {
    let source = peopled();
    let (snapshot, warnings) = back_up(&source, "ada");
    assert_eq!(warnings, [""; 0]);
    let target = guarded();
    grant(&target, "ada", &["read-write", "user-admin"]);
    target.shared().roles.insert("user-admin".into(), vec![(12, vec![1, 0])]);
    let bob = |omitted: &[String]| {
        assert_eq!(omitted.len(), 1, "{omitted:?}");
        assert!(omitted[0].contains(r#"user "bob" with the roles read, shop"#), "{omitted:?}");
        assert!(omitted[0].contains("password"), "{omitted:?}");
    };
    bob(&restore(&snapshot, &target, true, false));
    assert!(!target.shared().roles.contains_key("shop"));
    assert_eq!(restore(&snapshot, &target, false, true), [""; 0]);
    assert!(!target.shared().roles.contains_key("shop"));

    bob(&restore(&snapshot, &target, false, false));
    assert_eq!(seen_by(&target, "ada").roles[0], shop());
    grant(&target, "bob", &["read"]);
    let omitted = restore(&snapshot, &target, false, false);
    assert!(omitted.len() == 1 && omitted[0].contains("has the roles read there, which stay"), "{omitted:?}");
    grant(&target, "bob", &["shop", "read"]);
    assert_eq!(restore(&snapshot, &target, false, false), [""; 0]);
}

#[test]
fn a_role_that_is_there_and_differs_stays_and_is_named() {
    let (snapshot, _) = back_up(&peopled(), "ada");
    let target = peopled();
    let other = vec![(12, b"\x01\x0a\0\0".to_vec())];
    target.shared().roles.insert("shop".into(), other.clone());
    let omitted = restore(&snapshot, &target, false, false);
    assert!(omitted.len() == 1 && omitted[0].contains(r#"role "shop""#) && omitted[0].contains("stays"), "{omitted:?}");
    assert_eq!(target.shared().roles["shop"], other);
}

#[test]
fn a_role_that_the_cluster_refuses_is_named_and_the_rest_goes_on() {
    let source = peopled();
    let future = vec![(12, b"\x01\xc8\0\0".to_vec())];
    source.shared().roles.insert("future".into(), future);
    let (snapshot, _) = back_up(&source, "ada");
    let target = peopled();
    target.shared().roles.remove("shop");
    target.shared().no_quotas = true;
    let omitted = restore(&snapshot, &target, false, false);
    assert_eq!(omitted.len(), 2, "{omitted:?}");
    assert!(omitted[0].contains(r#"role "future""#) && omitted[0].contains("code 72"), "{omitted:?}");
    assert!(omitted[1].contains(r#"role "shop""#) && omitted[1].contains("code 74"), "{omitted:?}");
    // Without a quota it would be allowed more than it was.
    assert!(!target.shared().roles.contains_key("shop"));
}

#[test]
fn a_target_without_access_control_or_rights_says_so_once() {
    let (snapshot, _) = back_up(&peopled(), "ada");
    let omitted = restore(&snapshot, &TestCluster::start(1), false, false);
    assert!(omitted.len() == 1 && omitted[0].contains("2 roles and 2 users: the cluster has no access"), "{omitted:?}");
    assert!(omitted[0].contains("`without_users`"), "{omitted:?}");
    let target = peopled();
    grant(&target, "ada", &["read-write"]);
    let omitted = restore(&snapshot, &target, false, false);
    assert!(omitted.len() == 1 && omitted[0].contains("user-admin"), "{omitted:?}");
}

#[test]
fn the_program_shows_users_and_roles_and_leaves_them_out_on_request() {
    let (source, target) = (peopled(), guarded());
    grant(&target, "ada", &["user-admin", "read-write"]);
    target.shared().roles.insert("user-admin".into(), vec![(12, vec![1, 0])]);
    let place = Place::new();
    let password = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(password.path(), "password\n").unwrap();
    let login = ["--user", "ada", "--cluster-password-file", password.path().to_str().unwrap()];
    let address = |cluster: &TestCluster| format!("aerospike://{}/test", cluster.address(0));
    let backup = place.run(&[&["backup", &address(&source)][..], &login].concat());
    assert!(backup.code == 0 && !backup.err.contains("roles"), "{}", backup.err);
    let shown = place.run(&["show", "latest"]).out;
    let line = "role         shop: read, write test carts, from 10.0.0.0/8 ::1, 1,000 reads/s\n";
    assert!(shown.contains(line) && shown.contains("user         bob: read, shop\n"), "{shown}");
    let json: serde_json::Value = serde_json::from_str(&place.run(&["show", "latest", "--json"]).out).unwrap();
    let scoped = json!({ "privilege": "write", "namespace": "test", "set": "carts" });
    let role = json!({
        "name": "shop",
        "privileges": [{ "privilege": "read", "namespace": null, "set": null }, scoped],
        "allow_list": ["10.0.0.0/8", "::1"],
        "read_quota": 1000,
        "write_quota": 0,
    });
    assert_eq!(json["metadata"][0]["roles"][0], role);
    assert_eq!(json["metadata"][0]["users"][1], json!({ "name": "bob", "roles": ["read", "shop"] }));

    let restore = |more: &[&str]| place.run(&[&["restore", "latest", &address(&target)][..], &login, more].concat());
    let without = restore(&["--no-users"]);
    assert_eq!((without.code, target.shared().roles.contains_key("shop")), (0, false), "{}", without.err);
    let with = restore(&[]);
    assert_eq!((with.code, target.shared().roles.contains_key("shop")), (3, true));
    assert!(with.err.contains("user \"bob\" with the roles read, shop"), "{}", with.err);
    // A cluster that tells us nothing is no reason to fail.
    grant(&source, "ada", &["read-write"]);
    let backup = place.run(&[&["backup", &address(&source)][..], &login].concat());
    assert_eq!(backup.code, 0);
    assert!(
        backup.err.contains("users and roles are not backed up") && backup.err.contains("user-admin"),
        "{}",
        backup.err
    );
}
