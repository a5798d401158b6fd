//! Single records of a snapshot back into a running application, through its client.
//!
//!     AEROLITH_TEST_CLUSTER=HOST:PORT cargo run --example client_undelete

use aerolith::official::client::{Bin, ClientPolicy, Key, Value, WritePolicy};
use aerolith::official::{self, ClientTarget};
use aerolith::record::{Digest, RecordSelection};
use aerolith::store::MemoryStore;
use aerolith::{
    AerospikeSource, BackupKind, BoxError, ClusterOptions, ClusterUrl, CreateOptions, RecordOptions, Repository,
    Result, SessionOptions,
};
use std::sync::Arc;

fn main() -> Result<(), BoxError> {
    let Ok(hosts) = std::env::var("AEROLITH_TEST_CLUSTER") else {
        println!("AEROLITH_TEST_CLUSTER names no cluster: nothing is done");
        return Ok(());
    };
    let client = official::connect(&hosts, &ClientPolicy::default())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let keys = (0..3).map(|number| Key::new("test", "example-undelete", Value::Int(number)));
    let keys: Vec<Key> = keys.collect::<Result<_, _>>()?;
    for key in &keys {
        let policy = WritePolicy { send_key: true, ..WritePolicy::default() };
        runtime.block_on(client.put(&policy, key, &[Bin::new("name", Value::from("Ada"))]))?;
    }

    // Backups are made by our own reader, which loses nothing.
    let selection = RecordSelection::default().sets([b"example-undelete".to_vec()]);
    let url = ClusterUrl::parse(&format!("aerospike://{hosts}/test"))?;
    let source = AerospikeSource::connect(&url, ClusterOptions::default().selection(selection))?;
    let repository = Repository::create(Arc::new(MemoryStore::new()), b"a passphrase", &CreateOptions::default())?;
    let mut session = repository.begin(SessionOptions::default())?;
    session.records("test", &source, BackupKind::Full, &RecordOptions::default())?;
    let snapshot = session.commit()?;

    // One is deleted by mistake; it comes back, and the others stay as they are.
    runtime.block_on(client.delete(&WritePolicy::default(), &keys[1]))?;
    let digests = keys.iter().map(|key| Digest(key.digest()));
    for (digest, became) in snapshot.undelete("test", digests, &ClientTarget::new(client.clone()))? {
        println!("{digest}: {became:?}");
    }
    for key in &keys {
        runtime.block_on(client.delete(&WritePolicy::default(), key))?;
    }
    Ok(())
}
