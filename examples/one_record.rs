//! One record out of every snapshot: what it held, from the oldest to the newest.
//!
//!     cargo run --example one_record
//!     AEROLITH_PASSWORD=… cargo run --example one_record -- REPOSITORY NAMESPACE SET KEY

use aerolith::embedded::{EmbeddedStore, sample};
use aerolith::record::{Digest, Key};
use aerolith::{
    BackupKind, BoxError, CreateOptions, EmbeddedSource, RecordOptions, Repository, Result, SessionOptions, store,
};
use std::path::Path;

fn main() -> Result<(), BoxError> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [place, namespace, set, key] => {
            let passphrase = std::env::var("AEROLITH_PASSWORD")?;
            let repository = Repository::open(store::open(place)?, passphrase.as_bytes())?;
            show(&repository, namespace, &Key::from(key.as_str()).digest(set.as_bytes()))?;
        }
        _ => {
            let scratch = tempfile::tempdir()?;
            let repository = filled(scratch.path())?;
            show(&repository, "shop", &sample::digest_of(7))?;
        }
    }
    Ok(())
}

/// Prints the record as each snapshot has it. Each look-up reads a few small parts of the snapshot, whatever its size.
fn show(repository: &Repository, namespace: &str, digest: &Digest) -> Result<()> {
    for snapshot in repository.snapshots()?.snapshots {
        print!("{}  ", snapshot.id());
        let Ok(view) = snapshot.namespace(namespace) else {
            println!("has no namespace {namespace}");
            continue;
        };
        let Some(record) = view.get(digest)? else {
            println!("no such record");
            continue;
        };
        let bins: Vec<String> =
            record.parse()?.bins().iter().map(|bin| String::from_utf8_lossy(bin.name).into_owned()).collect();
        print!("generation {}", record.generation().0);
        for name in bins {
            if let Some(value) = record.bin(&name)? {
                print!(", {name} = {value}");
            }
        }
        println!();
    }
    Ok(())
}

/// A repository with three snapshots of an embedded store whose records change in between.
fn filled(directory: &Path) -> Result<Repository> {
    let records = EmbeddedStore::create(directory.join("records"))?;
    let place = directory.join("repository").display().to_string();
    let repository = Repository::create(store::create(&place)?, b"a passphrase", &CreateOptions::default())?;
    sample::fill(&records, "shop", 0..50)?;
    for seed in 1..4 {
        let mut session = repository.begin(SessionOptions::default())?;
        let source = EmbeddedSource::new(records.clone());
        session.records("shop", &source, BackupKind::Full, &RecordOptions::default())?;
        session.commit()?;
        sample::change(&records, "shop", 0..50, 1.0, seed)?;
    }
    Ok(repository)
}
