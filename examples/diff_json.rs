//! What differs between two snapshots of a namespace, as lines of JSON.
//!
//!     cargo run --example diff_json
//!     AEROLITH_PASSWORD=… cargo run --example diff_json -- REPOSITORY NAMESPACE BEFORE AFTER

use aerolith::embedded::{EmbeddedStore, sample};
use aerolith::{
    BackupKind, BoxError, CreateOptions, EmbeddedSource, RecordOptions, Repository, Result, SessionOptions, store,
};
use serde_json::json;
use std::path::Path;

fn main() -> Result<(), BoxError> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [place, namespace, before, after] => {
            let passphrase = std::env::var("AEROLITH_PASSWORD")?;
            let repository = Repository::open(store::open(place)?, passphrase.as_bytes())?;
            diff(&repository, namespace, before, after)?;
        }
        _ => {
            let scratch = tempfile::tempdir()?;
            diff(&filled(scratch.path())?, "shop", "latest~1", "latest")?;
        }
    }
    Ok(())
}

/// Reads only those parts of the two snapshots that they don't share.
fn diff(repository: &Repository, namespace: &str, before: &str, after: &str) -> Result<()> {
    let (before, after) = (repository.snapshot(before)?, repository.snapshot(after)?);
    let (before, after) = (before.namespace(namespace)?, after.namespace(namespace)?);
    let mut changes = before.diff(&after)?;
    for change in &mut changes {
        let change = change?;
        let kind = match (&change.before, &change.after) {
            (None, _) => "added",
            (_, None) => "deleted",
            (Some(was), Some(is)) if was.hash == is.hash => "touched",
            _ => "changed",
        };
        let generation = |entry: &Option<_>| entry.as_ref().map(|entry: &aerolith::LiveEntry| entry.generation.0);
        println!(
            "{}",
            json!({
                "digest": change.digest.to_string(),
                "change": kind,
                "generation_before": generation(&change.before),
                "generation_after": generation(&change.after),
            })
        );
    }
    // What is damaged can't be compared: say so rather than show too little.
    for loss in changes.losses().named {
        eprintln!("could not be compared: {loss}");
    }
    Ok(())
}

/// A repository with two snapshots of an embedded store, between which records are added, changed, deleted and touched.
fn filled(directory: &Path) -> Result<Repository> {
    let records = EmbeddedStore::create(directory.join("records"))?;
    let place = directory.join("repository").display().to_string();
    let repository = Repository::create(store::create(&place)?, b"a passphrase", &CreateOptions::default())?;
    for seed in 1..3 {
        sample::fill(&records, "shop", (seed - 1) * 50..seed * 50)?;
        let mut session = repository.begin(SessionOptions::default())?;
        let source = EmbeddedSource::new(records.clone());
        session.records("shop", &source, BackupKind::Full, &RecordOptions::default())?;
        session.commit()?;
        sample::change(&records, "shop", 0..50, 0.1, seed)?;
        sample::delete(&records, "shop", 0..50, 0.1, seed)?;
        sample::touch(&records, "shop", 0..50, 0.1, seed)?;
    }
    Ok(repository)
}
