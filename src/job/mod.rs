//! Use cases as programs start them: the command line now, a service later.
//!
//! Each has a struct of options, a function that runs it on a repository that is open, and a report that can be
//! serialized. Nothing here knows of a terminal, a prompt, an environment variable or an exit code, and nothing prints:
//! what has to be asked or told while a job runs goes to the observer of the repository
//! ([`Repository::watched`](crate::Repository::watched)), and everything else into the report. The reports are what
//! `--json` prints: members may be added, and none changes its meaning.

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
pub use restore::{
    FailedRecord, RestoreOptions, RestoreReport, RestoredNamespace, UnbuiltIndex, Verification, is_of_files, restore,
    restore_files,
};
pub use verify::{ComparedNamespace, NotComparable, VerifyOptions, VerifyReport, verify};

use crate::error::Error;

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
