//! Use cases as programs start them: the command line now, a service later.
//!
//! Each has a struct of options, a function that runs it on a repository that is open, and a report that can be
//! serialized. Nothing here knows of a terminal, a prompt, an environment variable or an exit code, and nothing prints:
//! what has to be asked or told while a job runs goes to its [`Caller`], and everything else into the report. The
//! reports are what `--json` prints: members may be added, and none changes its meaning.

mod backup;
mod check;
mod copy;
pub(crate) mod endpoint;
mod forget;
mod look;
mod manage;
pub(crate) mod path;
mod prune;
mod repair;
mod report;
mod restore;
#[cfg(any(feature = "cli", feature = "cluster"))]
pub(crate) mod secret;
pub(crate) mod text;
mod verify;

pub use backup::{
    BackupOptions, BackupReport, BackupSource, CommandOutput, ResumedNamespace, RunningCommand, UnparsedRecord,
    VanishedRecords, backup,
};
pub use check::{CheckOptions, CheckReport, ReadPart, check};
pub use copy::{CopiedSnapshot, CopyOptions, CopyReport, NotCopied, PresentSnapshot, copy};
#[cfg(feature = "cluster")]
pub use endpoint::{ClusterAccess, ClusterLoad};
pub use endpoint::{
    EndpointKind, OpenSource, OpenTarget, PipeFormat, SourceOptions, TargetOptions, open_pipe, open_source, open_target,
};
pub use forget::{ConsideredSnapshot, ForgetOptions, ForgetReport, Which, forget};
pub use look::*;
pub use manage::*;
pub use path::SnapshotPath;
pub use prune::{HeldBytes, PruneOptions, PruneReport, RunningSession, prune};
pub use repair::{LostRange, LostRecord, RepairOptions, RepairReport, SalvagedNamespace, SalvagedSnapshot, repair};
pub use report::*;
pub use restore::{FailedRecord, RestoreOptions, RestoreReport, RestoredNamespace, Verification, restore};
pub use verify::{ComparedNamespace, VerifyOptions, VerifyReport, verify};

use crate::control::Control;
use crate::error::{Error, Result};
use crate::format::SnapshotId;
use crate::repository::{Repository, Snapshot, SnapshotFilter};
use std::ops::Deref;

/// How a job that did not fail ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// All was done.
    Whole,
    /// Something was left out, and named.
    Incomplete,
    /// The repository is damaged.
    Damaged,
}

/// What a caller is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Question {
    /// May records of a target be deleted because the snapshot does not have them?
    DeleteSurplus {
        /// How many.
        records: u64,
        /// The namespace in the target.
        namespace: String,
        /// The target.
        target: String,
        /// The snapshot.
        snapshot: SnapshotId,
    },
}

/// Whoever started a job.
pub trait Caller {
    /// A long part of the job begins: `what` says which, such as "checking /backups/aero". The job can be watched and
    /// stopped by the handle that is given back.
    fn begins(&self, what: &str) -> Control {
        let _ = what;
        Control::new()
    }

    /// The part of the job that began last is over, however it ended.
    fn ended(&self) {}

    /// Takes the name of something that is damaged, and how. The job goes on with the rest.
    fn damage(&self, text: &str) {
        let _ = text;
    }

    /// Is asked before something that can't be undone. It is done only after a yes; the default is no.
    ///
    /// # Errors
    ///
    /// If nobody can be asked: the job ends with this error, as it would after a no.
    fn confirm(&self, question: &Question) -> Result<bool> {
        let _ = question;
        Ok(false)
    }

    /// Takes a remark that is no result, such as a warning.
    fn note(&self, text: &str) {
        let _ = text;
    }
}

/// A caller that neither watches a job nor reads its remarks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unattended;

impl Caller for Unattended {}

/// A long part of a job, from its beginning until it is dropped.
struct Part<'a> {
    caller: &'a dyn Caller,
    control: Control,
}

impl<'a> Part<'a> {
    fn begin(caller: &'a dyn Caller, what: impl AsRef<str>) -> Self {
        Part { caller, control: caller.begins(what.as_ref()) }
    }
}

impl Deref for Part<'_> {
    type Target = Control;

    fn deref(&self) -> &Control {
        &self.control
    }
}

impl Drop for Part<'_> {
    fn drop(&mut self) {
        self.caller.ended();
    }
}

/// Opens the snapshot that is meant, and notes why it may not be the one that was thought of.
pub(crate) fn open_snapshot(
    repository: &Repository,
    snapshot: &str,
    filter: &SnapshotFilter,
    caller: &dyn Caller,
) -> Result<Snapshot> {
    let snapshot = repository.snapshot_among(snapshot, filter)?;
    snapshot.warnings().iter().for_each(|warning| caller.note(warning));
    Ok(snapshot)
}

/// Says what a stop on request left behind.
fn stopped(error: Error, left: &str) -> Error {
    match error {
        Error::Cancelled => Error::invalid(format!("{}: {left}", Error::Cancelled)),
        error => error,
    }
}

/// Milliseconds since then.
fn millis_since(begun: std::time::Instant) -> u64 {
    u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX)
}
