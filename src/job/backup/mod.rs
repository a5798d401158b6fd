//! Backs up sources into one snapshot.

mod cluster;
mod report;
mod sources;

pub use report::{BackupReport, ResumedNamespace, UnparsedRecord, VanishedRecords};
pub use sources::{BackupSource, CommandOutput, RunningCommand};

use super::endpoint::{OpenSource, SourceOptions};
use super::{millis_since, stopped};
use crate::backup::RecordOptions;
use crate::error::{Error, OptionsError, Result};
use crate::format::snapshot::BackupKind;
use crate::repository::Repository;
use crate::session::{BackupSession, SessionOptions};
use crate::setters::setters;
use report::Findings;
use sources::Sources;
use std::time::{Duration, Instant};

/// What [`backup`] backs up, and how.
#[derive(Clone)]
#[non_exhaustive]
pub struct BackupOptions {
    /// The kind of backup; full by default.
    pub kind: BackupKind,
    /// The cluster's name: a backup builds on earlier ones of the same cluster. If absent it is the sources' own, else
    /// that of the first source's kind, such as `asb`, as long as that can't be mistaken for another database.
    pub cluster: Option<String>,
    /// Only these namespaces; all if empty.
    pub namespaces: Vec<String>,
    /// Labels for the snapshot.
    pub tags: Vec<String>,
    /// Why the snapshot must not be forgotten, if so: it is held before it is committed.
    pub hold: Option<String>,
    /// How long the backup may show no sign of life before a collection may fence it; ten minutes if absent.
    pub lease: Option<Duration>,
    /// Whether to resume an earlier run of the same backup that stopped less than a day ago, as by default.
    pub resume: bool,
    /// How often to record the progress, so that another backup can resume it; every half minute if absent.
    pub note_every: Option<Duration>,
    /// How the sources are opened, and what of them is read.
    pub source: SourceOptions,
    /// How the records are read.
    pub records: RecordOptions,
}

impl Default for BackupOptions {
    fn default() -> Self {
        BackupOptions {
            kind: BackupKind::Full,
            cluster: None,
            namespaces: Vec::new(),
            tags: Vec::new(),
            hold: None,
            lease: None,
            resume: true,
            note_every: None,
            source: SourceOptions::default(),
            records: RecordOptions::default(),
        }
    }
}

setters!(BackupOptions {
    kind: BackupKind,
    cluster: Option<String>,
    namespaces: Vec<String>,
    tags: Vec<String>,
    hold: Option<String>,
    lease: Option<Duration>,
    resume: bool,
    note_every: Option<Duration>,
    source: SourceOptions,
    records: RecordOptions,
});

/// The shortest lease.
const MIN_LEASE: Duration = Duration::from_secs(1);

impl BackupOptions {
    /// Makes sure that they go together.
    ///
    /// # Errors
    ///
    /// If they don't.
    pub fn check(&self) -> Result<()> {
        if self.records.partial && self.kind == BackupKind::Full {
            return Err(OptionsError::PartialFull.into());
        }
        if self.lease.is_some_and(|lease| lease < MIN_LEASE) {
            return Err(OptionsError::ShortLease.into());
        }
        Ok(())
    }

    /// What the session is told about itself.
    fn session(&self, source: String, cluster: String) -> SessionOptions {
        SessionOptions {
            job: format!("{} backup of {source}", self.kind),
            source,
            cluster,
            tags: self.tags.clone(),
            hold: self.hold.clone(),
            lease: self.lease,
            resume: self.resume,
            note_every: self.note_every,
        }
    }
}

/// What a stopped backup leaves.
const UNCOMMITTED: &str = "nothing was committed, and the repository holds the snapshots it held. Run the backup again";

/// Backs up sources as one new snapshot. No namespace may be in two of them. Killed on the way and run again, it
/// resumes what can be resumed.
///
/// A backup that fails is in the repository's history, also if its sources can't even be opened, unless its options
/// don't fit.
///
/// # Errors
///
/// If options don't go together or not with the sources, a source can't be opened or read, the cluster can't be told,
/// a store can't be read or written, another program fenced the session, or it is stopped.
pub fn backup(
    repository: &Repository,
    sources: Vec<BackupSource<'_>>,
    options: &BackupOptions,
) -> Result<BackupReport> {
    options.check()?;
    let begun = Instant::now();
    let control = repository.control();
    let mut sources = Sources::new(sources)?;
    // A command runs already: whoever stops the backup stops it.
    let early = sources.has_command().then(|| control.part("backing up the output of a command"));
    let opened = sources.open(options).and_then(|opened| {
        check_kind(&opened, options)?;
        Ok(opened)
    });
    let opened = opened.map_err(|error| {
        let error = sources.explain(error, control);
        note_failure(repository, &sources, options, &error);
        stopped(error, UNCOMMITTED)
    })?;
    let names: Vec<&str> = opened.iter().map(|one| one.source.name()).collect();
    let named = options.cluster.clone().map_or_else(|| cluster::common(&opened), |name| Ok(Some(name)))?;
    let is_named = named.is_some();
    let about = options.session(names.join(", "), named.unwrap_or_else(|| sources.scheme().to_string()));
    let is_first = !is_named && !cluster::has_earlier(repository, &about)?;
    let _part = early.unwrap_or_else(|| control.part(format!("backing up {}", about.source)));
    let mut found = Findings { unnamed_cluster: is_first.then(|| about.cluster.clone()), ..Findings::default() };
    let mut session = repository.begin(about)?;
    let read = match read(&mut session, &opened, options) {
        Ok(()) => sources.succeeded(control),
        Err(error) => Err(sources.explain(error, control)),
    };
    if let Err(error) = read {
        let resumable = session.is_resumable();
        session.abandon(&error);
        return Err(if resumable { interrupted(error) } else { stopped(error, UNCOMMITTED) });
    }
    found.take(&session);
    let snapshot = session.commit().map_err(|error| stopped(error, UNCOMMITTED))?;
    Ok(BackupReport::new(snapshot.manifest(), found, control.warnings(), millis_since(begun)))
}

/// Says that the next backup goes on from where an error ended this one, if the trouble may pass.
fn interrupted(error: Error) -> Error {
    match error {
        error @ (Error::Cancelled
        | Error::Source { .. }
        | Error::Store { .. }
        | Error::Io { .. }
        | Error::Caller { .. }) => Error::Resumable { source: Box::new(error) },
        error => error,
    }
}

/// Reads all that is backed up.
fn read(session: &mut BackupSession, sources: &[OpenSource], options: &BackupOptions) -> Result<()> {
    for OpenSource { source, namespaces } in sources {
        for namespace in namespaces {
            session.records(namespace, &**source, options.kind, &options.records)?;
        }
    }
    Ok(())
}

/// A backup that fails before it has begun belongs into the history too: nobody else tells that last night's is
/// missing.
fn note_failure(repository: &Repository, sources: &Sources<'_>, options: &BackupOptions, error: &Error) {
    if matches!(error, Error::Usage(_) | Error::Options(_)) {
        return;
    }
    let cluster = options.cluster.clone().unwrap_or_else(|| sources.scheme().to_string());
    match repository.begin(options.session(sources.urls(), cluster)) {
        Ok(session) => session.abandon(error),
        Err(other) => repository.control().warn(format!("this session is missing from the history: {other}")),
    }
}

/// Refuses to take what is known to hold only changes for all that there is.
fn check_kind(sources: &[OpenSource], options: &BackupOptions) -> Result<()> {
    let partial = sources.iter().find_map(|one| Some((one.source.name(), one.source.holds_changes_only()?)));
    match partial {
        Some((name, what)) if !options.records.partial => {
            Err(OptionsError::ChangesOnly { source_name: name.to_string(), what }.into())
        }
        _ => Ok(()),
    }
}
