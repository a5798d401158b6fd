//! Requests that fail: whatever becomes of one, a backup ends as if nothing had happened, or with an error.

use crate::s3::{Fault, S3Server};
use crate::support::scene::{assert_clean, open};
use crate::support::world::{World, assert_whole, back_up, create};
use aerolith::BackupKind;
use aerolith::store::{CloudStore, Put, Store, StoreOptions};
use bytes::Bytes;
use std::sync::Arc;
use std::time::{Duration, Instant};

fn store(server: &S3Server) -> Arc<CloudStore> {
    let options = StoreOptions::default().settings(server.settings());
    Arc::new(CloudStore::open("s3://backups/x", &options).unwrap())
}

#[test]
fn whichever_request_of_a_backup_is_lost_the_backup_is_whole() {
    let server = S3Server::start(&["backups"]);
    let repository = create(store(&server)).unwrap();
    let mut world = World::filled(0..200);
    back_up(&repository, &world, BackupKind::Full).unwrap();
    let faults = [Fault::HangUp, Fault::LoseReply, Fault::Answer(503, None), Fault::Answer(429, Some(0))];
    for n in 0..48 {
        world = world.later(0..200, 0.1, 0.0, n);
        let fault = faults[n as usize % faults.len()];
        let before = server.faults.requests();
        server.faults.inject(n, fault);
        let repository = open(store(&server)).unwrap_or_else(|error| panic!("{fault:?} of request {n}: {error}"));
        let backed_up = back_up(&repository, &world, BackupKind::Incremental);
        let snapshot = backed_up.unwrap_or_else(|error| panic!("{fault:?} of request {n}: {error}"));
        assert!(server.faults.requests() - before > n, "request {n} was made");
        let about = format!("{fault:?} of request {n}");
        assert_whole(&repository, &snapshot.id().to_string(), &world.truth(), &about);
    }
    assert_clean(&open(store(&server)).unwrap(), "in the end");
}

#[test]
fn a_store_is_asked_again_when_it_wants_to_be() {
    let server = S3Server::start(&["backups"]);
    create(store(&server)).unwrap();
    let begin = Instant::now();
    server.faults.inject(0, Fault::Answer(503, Some(1)));
    open(store(&server)).unwrap();
    assert!(begin.elapsed() >= Duration::from_secs(1), "{:?}", begin.elapsed());
}

#[test]
fn what_does_not_pass_is_not_asked_again() {
    let server = S3Server::start(&["backups"]);
    create(store(&server)).unwrap();
    for status in [400, 403, 501] {
        let before = server.faults.requests();
        (0..9).for_each(|n| server.faults.inject(n, Fault::Answer(status, None)));
        let error = open(store(&server)).map(drop).unwrap_err().to_string();
        assert!(error.contains(&format!("answered {status}")), "{error}");
        assert_eq!(server.faults.requests() - before, 1, "{error}");
        (0..9).for_each(|_| drop(store(&server).size("config")));
    }
}

#[test]
fn a_conflict_says_that_a_key_is_taken_only_if_it_is() {
    let server = S3Server::start(&["backups"]);
    let store = store(&server);
    server.faults.inject(0, Fault::Answer(409, None));
    assert!(store.put_new("snapshots/a", b"mine").unwrap_err().is_transient());
    assert_eq!(store.put_new("snapshots/a", b"mine").unwrap(), Put::Created);
    server.faults.inject(0, Fault::Answer(409, None));
    assert_eq!(store.put_new("snapshots/a", b"late").unwrap(), Put::Exists);
}

#[test]
fn an_upload_that_fails_is_given_up() {
    let server = S3Server::start(&["backups"]);
    let (store, large) = (store(&server), Bytes::from(vec![7; 40 << 20]));
    // It looks whether the object is there, begins, and writes five parts.
    server.faults.inject(4, Fault::Answer(403, None));
    assert!(store.put_content("packs/ab/large", &large).is_err());
    assert!(server.buckets.lock()["backups"].uploads.is_empty());
    assert_eq!(store.size("packs/ab/large").unwrap(), None);
}
