//! A nightly job: back up what changed, forget by rules, reclaim the space, and look whether all is whole.
//!
//!     cargo run --example nightly
//!
//! Started every night by a scheduler, it would take its store, its passphrase and its source from its configuration.
//! Here it runs five nights in a row on an embedded store in a temporary directory.

use aerolith::embedded::{EmbeddedStore, sample};
use aerolith::{
    BackupKind, BoxError, CheckOptions, Control, CreateOptions, EmbeddedSource, Event, PruneOptions, RecordOptions,
    Repository, Result, Retention, SessionOptions, SnapshotFilter, store,
};

const NAMESPACE: &str = "shop";

fn main() -> Result<(), BoxError> {
    let scratch = tempfile::tempdir()?;
    let records = EmbeddedStore::create(scratch.path().join("records"))?;
    let place = scratch.path().join("repository").display().to_string();
    drop(Repository::create(store::create(&place)?, b"a passphrase", &CreateOptions::default())?);
    for night in 0..5 {
        // What the day brought.
        sample::fill(&records, NAMESPACE, night * 200..night * 200 + 200)?;
        sample::change(&records, NAMESPACE, 0..night * 200, 0.1, night + 1)?;
        sample::delete(&records, NAMESPACE, 0..night * 200, 0.05, night + 1)?;
        let control = Control::observed(|_: &Control, event: Event<'_>| {
            if let Event::Warning(text) = event {
                eprintln!("warning: {text}");
            }
        });
        let repository = Repository::open(store::open(&place)?, b"a passphrase")?.watched(&control);
        nightly(&repository, &EmbeddedSource::new(records.clone()), night)?;
    }
    Ok(())
}

fn nightly(repository: &Repository, source: &EmbeddedSource, night: u64) -> Result<()> {
    // A full backup on the first night and once a week: it takes nothing for granted, and heals. Else what changed
    // since the last.
    let kind = if night.is_multiple_of(7) { BackupKind::Full } else { BackupKind::Incremental };
    let about = SessionOptions::default().job("nightly").resume(true);
    let mut session = repository.begin(about)?;
    session.records(NAMESPACE, source, kind, &RecordOptions::default())?;
    let snapshot = session.commit()?;
    println!("night {night}: {kind} snapshot {}", snapshot.id());

    // Every snapshot is whole, so any may go.
    let policy = Retention::default().last(2).weekly(4).monthly(12);
    let forgotten = repository.forget(&policy, &SnapshotFilter::ALL)?;
    for problem in &forgotten.problems {
        eprintln!("warning: {problem}");
    }
    let pruned = repository.prune(&PruneOptions::default())?;
    println!("  {} forgotten, {} packs deleted", forgotten.forgotten.len(), pruned.packs_deleted);

    // Reads a twentieth of the data each night, and the structure of all snapshots.
    let report = repository.check(&CheckOptions::default().read_percent(5.0))?;
    for problem in &report.problems {
        eprintln!("DAMAGED: {problem}");
    }
    println!("  {} snapshots are {}", report.snapshots, if report.hurt.is_empty() { "whole" } else { "damaged" });
    Ok(())
}
