//! A record of a snapshot as the key and bins of the official client, crate `aerospike`: typed where nothing is lost,
//! else verbatim.
//!
//!     cargo run --example client_record

use aerolith::embedded::{EmbeddedStore, sample};
use aerolith::store::MemoryStore;
use aerolith::{
    BackupKind, BoxError, CreateOptions, EmbeddedSource, Error, RecordOptions, Repository, Result, Selection,
    SessionOptions, official,
};
use std::sync::Arc;

fn main() -> Result<(), BoxError> {
    let scratch = tempfile::tempdir()?;
    let records = EmbeddedStore::create(scratch.path().join("records"))?;
    sample::fill(&records, "shop", 0..20)?;
    let repository = Repository::create(Arc::new(MemoryStore::new()), b"a passphrase", &CreateOptions::default())?;
    let mut session = repository.begin(SessionOptions::default())?;
    session.records("shop", &EmbeddedSource::new(records), BackupKind::Full, &RecordOptions::default())?;
    let snapshot = session.commit()?;

    for record in snapshot.namespace("shop")?.records(Selection::default()).take(5) {
        let record = record?;
        let (key, bins) = match official::typed("shop", &record) {
            Ok(typed) => typed,
            // Something that the client's values can't hold: `client.put` of these bins still writes all of it.
            Err(error @ Error::ClientLoses { .. }) => {
                println!("{error}");
                official::verbatim("shop", &record)?
            }
            Err(error) => return Err(error.into()),
        };
        println!("{key}");
        for bin in bins {
            println!("    {} = {}", bin.name, bin.value);
        }
    }
    Ok(())
}
