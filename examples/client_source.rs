//! A backup of what the official client reads, with the client's own connections and policy.
//!
//!     AEROLITH_TEST_CLUSTER=HOST:PORT cargo run --example client_source

use aerolith::official::client::{Bin, ClientPolicy, Key, QueryPolicy, Value, WritePolicy};
use aerolith::official::{self, ClientSource};
use aerolith::store::MemoryStore;
use aerolith::{BackupKind, BoxError, CreateOptions, RecordOptions, Repository, Result, SessionOptions};
use std::sync::Arc;

fn main() -> Result<(), BoxError> {
    let Ok(hosts) = std::env::var("AEROLITH_TEST_CLUSTER") else {
        println!("AEROLITH_TEST_CLUSTER names no cluster: nothing is done");
        return Ok(());
    };
    // A program that has a client takes its own.
    let client = official::connect(&hosts, &ClientPolicy::default())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    for number in 0..10 {
        let key = Key::new("test", "example-source", Value::Int(number))?;
        let bins = [Bin::new("square", Value::Int(number * number))];
        runtime.block_on(client.put(&WritePolicy::default(), &key, &bins))?;
    }

    let repository = Repository::create(Arc::new(MemoryStore::new()), b"a passphrase", &CreateOptions::default())?;
    let source = ClientSource::new(client.clone()).set("example-source").policy(QueryPolicy::default());
    let mut session = repository.begin(SessionOptions::default())?;
    session.records("test", &source, BackupKind::Full, &RecordOptions::default())?;
    let snapshot = session.commit()?;
    println!("{} has {} records", snapshot.id(), snapshot.namespace("test")?.live_records());

    for number in 0..10 {
        let key = Key::new("test", "example-source", Value::Int(number))?;
        runtime.block_on(client.delete(&WritePolicy::default(), &key))?;
    }
    Ok(())
}
