//! Restores of files that are in no repository.

use super::{RestoreOptions, RestoreReport, restore};
use crate::backup::RecordOptions;
use crate::control::Control;
use crate::error::{Error, OptionsError, Result};
use crate::format::keyslot::KdfCost;
use crate::format::snapshot::BackupKind;
use crate::job::backup::{BackupOptions, BackupSource, backup};
use crate::job::endpoint::{EndpointKind, SourceOptions};
use crate::repository::{CreateOptions, Repository};
use crate::store::LocalStore;
use std::sync::Arc;

/// Restores what is in `.asb` files or in JSON lines into a target, such as the records that another target refused.
///
/// The files are first taken into a repository of their own, in the directory for temporary files and under a key that
/// nobody keeps. It takes about as much room there as the files do compressed, and is removed in the end. So nothing is
/// written before all was read and found whole, and each option means what it means for a snapshot.
///
/// # Errors
///
/// Those of [`restore()`], and if the URL of the source is none of files, or a file can't be read as a whole.
pub fn restore_files(
    sources: &[String],
    url: &str,
    options: &RestoreOptions,
    reading: &SourceOptions,
    control: &Control,
) -> Result<RestoreReport> {
    options.check(url)?;
    if let Some(other) = sources.iter().find(|source| !is_of_files(source)) {
        return Err(Error::usage(format!(
            "{other} is neither asb:PATH nor jsonl:FILE, which alone are restored at once"
        )));
    }
    let directory = tempfile::Builder::new().prefix("aerolith-restore-").tempdir();
    let directory = directory.map_err(|error| Error::io("make a temporary directory for a restore", error))?;
    let store = Arc::new(LocalStore::create(directory.path().join("repository"))?);
    // Nobody opens it again: the passphrase is as strong as a key.
    let passphrase = crate::crypto::random::<32>()?;
    let created = Repository::create(store, &passphrase, &CreateOptions::default().cost(KdfCost::WEAK))?;
    let repository = created.watched(control);
    let about = BackupOptions::default().cluster(Some(sources.join(", "))).source(reading.clone());
    let take = |about: &BackupOptions| {
        let sources = sources.iter().cloned().map(BackupSource::Url).collect();
        backup(&repository, sources, about)
    };
    match take(&about) {
        // What changed since a backup is restored as such: nothing is deleted for what it lacks.
        Err(Error::Options(OptionsError::ChangesOnly { .. })) => {
            take(&about.kind(BackupKind::Incremental).records(RecordOptions::default().partial(true)))?
        }
        taken => taken?,
    };
    let snapshot = repository.snapshot("latest")?;
    let mut report = restore(&repository, &snapshot, url, options)?;
    report.source = Some(sources.join(", "));
    (report.snapshot, report.committed, report.cluster) = Default::default();
    Ok(report)
}

/// Whether a text is the URL of files that can be restored as they are. A snapshot's name never begins so.
pub fn is_of_files(text: &str) -> bool {
    matches!(EndpointKind::of(text), Some(EndpointKind::Asb | EndpointKind::Jsonl)) && text.contains(':')
}
