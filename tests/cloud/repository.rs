//! A repository in an object store, through its life.

use crate::s3::S3Server;
use crate::support::scene::{assert_clean, forget, open, prune, thorough, warned_by};
use crate::support::world::{NAMESPACE, World, assert_whole, back_up, create};
use aerolith::store::{CloudStore, Store, StoreOptions};
use aerolith::{BackupKind, Error, RecordOptions, SessionOptions, StoreErrorKind};
use std::sync::Arc;

#[test]
fn a_repository_lives_in_a_bucket_from_its_making_to_a_collection() {
    let server = S3Server::start(&["backups"]);
    let options = StoreOptions::default().settings(server.settings());
    let store = || -> Arc<dyn Store> { Arc::new(CloudStore::open("s3://backups/night", &options).unwrap()) };
    let repository = create(store()).unwrap();
    let first = World::filled(0..3000);
    let one = back_up(&repository, &first, BackupKind::Full).unwrap();
    let second = first.later(0..3000, 0.05, 0.01, 1);
    let two = back_up(&repository, &second, BackupKind::Incremental).unwrap();
    // Another client, which knows what the store shows.
    let repository = open(store()).unwrap();
    assert_whole(&repository, &one.id().to_string(), &first.truth(), "the first");
    assert_whole(&repository, &two.id().to_string(), &second.truth(), "the second");
    let third = second.later(0..3000, 0.9, 0.0, 2);
    let mut session = repository.begin(SessionOptions::default().cluster("memory")).unwrap();
    session.records(NAMESPACE, &third, BackupKind::Full, &RecordOptions::default().compact(true)).unwrap();
    let three = session.commit().unwrap();
    forget(&repository, &[one.id().to_string(), two.id().to_string()]).unwrap();
    let report = prune(&repository, &thorough()).unwrap();
    assert!(report.packs_deleted > 0, "{report:?}");
    assert_whole(&repository, &three.id().to_string(), &third.truth(), "after the collection");
    assert_clean(&repository, "after the collection");
    let buckets = server.buckets.lock();
    assert!(buckets["backups"].objects.keys().all(|key| key.starts_with("night/")));
    assert!(buckets["backups"].uploads.is_empty());
}

/// What a key needs to read, to write beside that, and to delete beside that.
const READS: [&str; 3] = ["GetObject", "HeadObject", "ListObjectsV2"];
const WRITES: [&str; 4] = ["GetObject", "HeadObject", "ListObjectsV2", "PutObject"];
const DELETES: [&str; 5] = ["GetObject", "HeadObject", "ListObjectsV2", "PutObject", "DeleteObject"];

#[test]
fn each_command_needs_no_more_of_a_key_than_the_page_of_stores_says() {
    let server = S3Server::start(&["backups"]);
    let options = StoreOptions::default().settings(server.settings());
    let store = || -> Arc<dyn Store> { Arc::new(CloudStore::open("s3://backups", &options).unwrap()) };
    let refused = |error: Error| {
        assert_eq!(error.store_kind(), Some(StoreErrorKind::Refused), "{error}");
        let text = error.to_string();
        assert!(text.contains("403 AccessDenied") && text.contains("docs/stores.md"), "{text}");
    };
    server.allow(&READS);
    refused(create(store()).map(drop).unwrap_err());
    assert!(server.buckets.lock()["backups"].objects.is_empty());
    server.allow(&WRITES);
    let repository = create(store()).unwrap();
    let world = World::filled(0..500);
    let one = back_up(&repository, &world, BackupKind::Full).unwrap().id().to_string();
    let two =
        back_up(&repository, &world.later(0..500, 0.5, 0.0, 1), BackupKind::Incremental).unwrap().id().to_string();
    assert_clean(&repository, "with a key that may not delete");
    server.allow(&READS);
    let reader = open(store()).unwrap();
    assert_whole(&reader, &one, &world.truth(), "with a key that may read");
    let warnings = warned_by(&reader, |reader| assert_clean(reader, "with a key that may read"));
    assert!(warnings.iter().any(|warning| warning.contains("was not tried")), "{warnings:?}");
    refused(back_up(&reader, &world, BackupKind::Full).map(drop).unwrap_err());
    refused(forget(&reader, std::slice::from_ref(&one)).unwrap_err());
    server.allow(&WRITES);
    forget(&repository, &[one, two]).unwrap();
    refused(prune(&repository, &thorough()).map(drop).unwrap_err());
    server.allow(&DELETES);
    assert!(prune(&repository, &thorough()).unwrap().packs_deleted > 0);
}
