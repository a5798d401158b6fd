//! The store: what every store owes, and what is an object store's own.

use crate::s3::S3Server;
use aerolith::StoreErrorKind;
use aerolith::store::{CloudStore, Put, Store, StoreOptions};
use bytes::Bytes;

fn open(server: &S3Server, url: &str) -> CloudStore {
    CloudStore::open(url, &StoreOptions::default().settings(server.settings())).unwrap()
}

aerolith::store_conformance_tests!(|test| {
    let server = S3Server::start(&["backups"]);
    test(&open(&server, "s3://backups/of/one"));
});

#[test]
fn objects_stand_under_the_prefix_and_those_beside_it_are_not_seen() {
    let server = S3Server::start(&["backups"]);
    let (one, other) = (open(&server, "s3://backups/one"), open(&server, "s3://backups/one-more/"));
    one.put("config", b"1").unwrap();
    other.put("config", b"22").unwrap();
    assert_eq!(one.list("").unwrap().len(), 1);
    assert_eq!(other.size("config").unwrap(), Some(2));
    assert_eq!(one.top_names().unwrap(), ["config"]);
    let root = open(&server, "s3://backups");
    assert_eq!(root.top_names().unwrap(), ["one", "one-more"]);
    let keys: Vec<String> = server.buckets.lock()["backups"].objects.keys().cloned().collect();
    assert_eq!(keys, ["one-more/config", "one/config"]);
}

#[test]
fn a_listing_of_many_pages_is_whole() {
    let server = S3Server::start(&["backups"]);
    let store = open(&server, "s3://backups/x");
    for n in 0..450 {
        store.put_new(&format!("packs/{n:03}"), b"x").unwrap();
    }
    let before = store.requests();
    let keys: Vec<String> = store.list("packs/").unwrap().into_iter().map(|listed| listed.key).collect();
    assert_eq!(keys, (0..450).map(|n| format!("packs/{n:03}")).collect::<Vec<_>>());
    assert_eq!(store.requests().lists - before.lists, 5);
}

#[test]
fn a_large_object_goes_in_parts_with_its_class_and_comes_back_whole() {
    let server = S3Server::start(&["backups"]);
    let options = StoreOptions::default().settings(server.settings()).storage_class("STANDARD_IA".to_string());
    let store = CloudStore::open("s3://backups/x", &options).unwrap();
    let large: Bytes = (0..40 << 20).map(|i: u32| (i % 251) as u8).collect::<Vec<u8>>().into();
    assert_eq!(store.put_content("packs/ab/large", &large).unwrap(), Put::Created);
    assert_eq!(store.put_content("packs/ab/large", &large).unwrap(), Put::Exists);
    store.put_content("packs/ab/small", &Bytes::from_static(b"x")).unwrap();
    store.put_new("config", b"y").unwrap();
    assert_eq!(store.get("packs/ab/large", 1 << 30).unwrap().unwrap(), large);
    let buckets = server.buckets.lock();
    assert!(buckets["backups"].uploads.is_empty());
    let class = |key: &str| buckets["backups"].objects[key].class.clone();
    assert_eq!(class("x/packs/ab/small").as_deref(), Some("STANDARD_IA"));
    assert_eq!(class("x/packs/ab/large").as_deref(), Some("STANDARD_IA"));
    // What is read each day stays where reading is cheap.
    assert_eq!(class("x/config"), None);
}

#[test]
fn what_the_store_refuses_says_what_to_do() {
    let server = S3Server::start(&["backups"]);
    let missing = open(&server, "s3://nowhere/x");
    for error in [missing.get("config", 1).unwrap_err(), missing.put("config", b"x").unwrap_err()] {
        assert_eq!(error.store_kind(), Some(StoreErrorKind::Missing), "{error}");
        let text = error.to_string();
        assert!(
            text.contains("s3://nowhere/x") && text.contains("config") && text.contains("Make the bucket"),
            "{text}"
        );
    }
    assert_eq!(missing.list("").unwrap_err().store_kind(), Some(StoreErrorKind::Missing));
    let mut settings = server.settings();
    settings.insert("secret_access_key".into(), "another".into());
    let store = CloudStore::open("s3://backups/x", &StoreOptions::default().settings(settings)).unwrap();
    let error = store.get("config", 1).unwrap_err();
    assert_eq!(error.store_kind(), Some(StoreErrorKind::Refused), "{error}");
    let text = error.to_string();
    assert!(text.contains("SignatureDoesNotMatch") && text.contains("Check the credentials"), "{text}");
    assert!(!text.contains("another"), "{text}");
    let mut settings = server.settings();
    settings.insert("endpoint".into(), "http://127.0.0.1:1".into());
    let store = CloudStore::open("s3://backups/x", &StoreOptions::default().settings(settings)).unwrap();
    assert!(store.get("config", 1).unwrap_err().is_transient());
    let wrong = StoreOptions::default().settings([("colour".to_string(), "red".to_string())].into());
    let error = CloudStore::open("s3://backups/x", &wrong).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("\"colour\""), "{error}");
}
