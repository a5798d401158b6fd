//! A restore through the client of a program that runs on tokio: with its TLS, user, rack and policies.
//!
//!     AEROLITH_TEST_CLUSTER=HOST:PORT cargo run --example client_restore

use aerolith::embedded::{EmbeddedStore, sample};
use aerolith::official::ClientTarget;
use aerolith::official::client::{Client, ClientPolicy};
use aerolith::store::MemoryStore;
use aerolith::{
    BackupKind, BoxError, CreateOptions, EmbeddedSource, RecordOptions, RecordTarget, Repository, RestoreOptions,
    Result, Selection, SessionOptions, Snapshot,
};
use std::sync::Arc;

fn main() -> Result<(), BoxError> {
    let Ok(hosts) = std::env::var("AEROLITH_TEST_CLUSTER") else {
        println!("AEROLITH_TEST_CLUSTER names no cluster: nothing is done");
        return Ok(());
    };
    let scratch = tempfile::tempdir()?;
    let records = EmbeddedStore::create(scratch.path().join("records"))?;
    sample::fill(&records, "shop", 0..100)?;
    let repository = Repository::create(Arc::new(MemoryStore::new()), b"a passphrase", &CreateOptions::default())?;
    let mut session = repository.begin(SessionOptions::default())?;
    session.records("shop", &EmbeddedSource::new(records), BackupKind::Full, &RecordOptions::default())?;
    let snapshot = session.commit()?;

    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        let client = Arc::new(Client::new(&ClientPolicy::default(), &hosts).await?);
        // Restores block: they get a thread of their own, and the client's tasks go on.
        let report = tokio::task::spawn_blocking(move || restore(&snapshot, &client)).await??;
        println!("{report}");
        Ok(())
    })
}

fn restore(snapshot: &Snapshot, client: &Arc<Client>) -> Result<String> {
    let options = RestoreOptions::default().rename(Some("test".to_string()));
    let report = snapshot.restore_into("shop", client, &options)?;
    for failed in &report.failures {
        println!("record {}: {}", failed.digest, failed.reason);
    }
    // Nothing of the example stays in the cluster.
    let records = snapshot.namespace("shop")?.records(Selection::default());
    let digests: Vec<_> = records.map(|record| Ok(record?.digest)).collect::<Result<_>>()?;
    ClientTarget::new(client.clone()).delete("test", &digests)?;
    Ok(format!("{} of {} records written, {} refused", report.written, report.read, report.failed))
}
