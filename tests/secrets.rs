//! What can be done with a repository of which some secrets are absent, and what an attempt to do more comes to.

use aerolith::embedded::{EmbeddedStore, sample};
use aerolith::store::MemoryStore;
use aerolith::{
    BackupKind, CreateOptions, EmbeddedSource, Error, KdfCost, PruneOptions, RecordOptions, Repository, Result, Secret,
    SessionOptions,
};
use std::sync::Arc;

fn backed_up() -> (tempfile::TempDir, Repository, EmbeddedStore) {
    let directory = tempfile::tempdir().unwrap();
    let records = EmbeddedStore::create(directory.path().join("records")).unwrap();
    sample::fill(&records, "shop", 0..200).unwrap();
    let options = CreateOptions::default().cost(KdfCost::WEAK);
    let repository = Repository::create(Arc::new(MemoryStore::new()), b"a passphrase", &options).unwrap();
    back_up(&repository, &records).unwrap();
    (directory, repository, records)
}

fn back_up(repository: &Repository, records: &EmbeddedStore) -> Result<()> {
    let about = SessionOptions::default().cluster("shops");
    let mut session = repository.begin(about)?;
    session.records("shop", &EmbeddedSource::new(records.clone()), BackupKind::Full, &RecordOptions::default())?;
    session.commit().map(drop)
}

fn absent<T>(result: Result<T>) -> Secret {
    match result {
        Err(Error::AbsentSecret { secret, .. }) => secret,
        Err(other) => panic!("another error: {other}"),
        Ok(_) => panic!("it succeeded"),
    }
}

#[test]
fn without_what_opens_values_everything_is_seen_but_values() {
    let (_directory, repository, _) = backed_up();
    let limited = repository.without(&[Secret::Values]);
    let snapshot = limited.snapshot("latest").unwrap();
    let namespace = snapshot.namespace("shop").unwrap();
    assert_eq!(namespace.manifest().live_records, 200);
    let mut entries = namespace.entries().unwrap();
    let mut seen = 0;
    while entries.next().unwrap().is_some() {
        seen += 1;
    }
    assert_eq!(seen, 200);
    assert_eq!(limited.history().unwrap().entries.len(), 1);
    limited.prune_plan(&PruneOptions::default()).unwrap().into_report();
    let error = namespace.get(&sample::digest_of(7)).map(drop).unwrap_err();
    assert!(error.to_string().contains("the secret that opens values is not at hand"), "{error}");
    assert_eq!(absent::<()>(Err(error)), Secret::Values);
}

#[test]
fn without_a_secret_that_a_writer_needs_no_backup_is_committed() {
    let (_directory, repository, records) = backed_up();
    for secret in [Secret::RecordHashes, Secret::StateHashes, Secret::Metadata, Secret::Index] {
        assert_eq!(absent(back_up(&repository.without(&[secret]), &records)), secret);
    }
    assert_eq!(repository.snapshots().unwrap().snapshots.len(), 1);
}

#[test]
fn a_repository_that_gave_up_a_secret_makes_no_key_slot_that_has_it() {
    let (_directory, repository, _) = backed_up();
    let limited = repository.without(&[Secret::Values]);
    assert_eq!(absent(limited.key_add(b"another", "", KdfCost::WEAK)), Secret::Master);
    assert!(repository.key_add(b"another", "", KdfCost::WEAK).is_ok());
}
