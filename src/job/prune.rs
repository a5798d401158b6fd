//! Reclaims the space that no snapshot needs.

use super::{Done, millis_since, stopped, text};
use crate::collect::{self, Held, SessionAtWork};
use crate::error::{Error, Result};
use crate::plan::Plan;
use crate::repository::Repository;
use crate::setters::setters;
use serde::Serialize;
use std::time::{Duration, Instant};

/// How [`prune`] reclaims space.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct PruneOptions {
    /// How much of what the packs hold may be unused, in percent; 0 leaves nothing. The default is 5.
    pub max_unused_percent: f64,
    /// Move at most this many bytes out of packs that are partly needed.
    pub max_rewrite_bytes: Option<u64>,
    /// Wait this long for running backups and collections, then give up.
    pub wait: Duration,
    /// Fence running backups and collections instead of waiting for them: they fail.
    pub fence: bool,
    /// Only say what would be done.
    pub dry_run: bool,
}

impl Default for PruneOptions {
    fn default() -> Self {
        let collect::PruneOptions { max_unused_percent, max_rewrite_bytes, wait, fence, .. } =
            collect::PruneOptions::default();
        PruneOptions { max_unused_percent, max_rewrite_bytes, wait, fence, dry_run: false }
    }
}

setters!(PruneOptions {
    max_unused_percent: f64,
    max_rewrite_bytes: Option<u64>,
    wait: Duration,
    fence: bool,
    dry_run: bool,
});

/// What a prune did, or would do.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct PruneReport {
    /// Whether this was a dry run: nothing was changed.
    pub dry_run: bool,
    /// How many snapshots there are.
    pub snapshots: u64,
    /// How many distinct chunks they need.
    pub chunks: u64,
    /// How many of those chunks no pack holds.
    pub chunks_missing: u64,
    /// How many packs there were before the prune.
    pub packs: u64,
    /// The size of those packs.
    pub bytes: u64,
    /// The stored size of chunks in them that nothing needed.
    pub unused_bytes: u64,
    /// How many packs were deleted.
    pub packs_deleted: u64,
    /// The size of the packs that were deleted.
    pub bytes_deleted: u64,
    /// How many chunks were moved into new packs.
    pub chunks_moved: u64,
    /// The size of those new packs; in a dry run, of the chunks as they are stored now.
    pub bytes_moved: u64,
    /// The stored size of chunks that nothing needs and that were left.
    pub unused_bytes_left: u64,
    /// How many index segments were deleted.
    pub segments_deleted: u64,
    /// How many objects were deleted of sessions that ended more than two days ago and left no snapshot; `history` goes
    /// on to list the sessions.
    pub sessions_deleted: u64,
    /// How many index segments were rewritten.
    pub segments_rewritten: u64,
    /// Ids of sessions that were fenced because they were dead, and can't commit any more; with `--fence` also running
    /// ones. In a dry run, those that would be.
    pub fenced: Vec<String>,
    /// In a dry run, the running sessions that it would wait for.
    pub waits_for: Vec<RunningSession>,
    /// In a dry run, why a prune would be refused now, else `null`. The numbers say what it would do once those
    /// sessions have ended.
    pub refused: Option<String>,
    /// In a dry run, how many packs may belong to running sessions: they are deleted only if those end without a
    /// snapshot.
    pub packs_in_doubt: u64,
    /// The size of those packs.
    pub bytes_in_doubt: u64,
    /// What the newest snapshot of each cluster holds.
    pub held: Vec<HeldBytes>,
    /// Why something was left for the next prune (the disk was full), else `null`.
    pub deferred: Option<String>,
    /// What could not be read, so that something was not deleted, for people.
    pub problems: Vec<String>,
    /// How long it took.
    pub duration_millis: u64,
}

/// A session that is at work.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct RunningSession {
    /// Its id.
    pub session: String,
    /// The machine that it runs on.
    pub host: String,
    /// What it does.
    pub job: String,
    /// When it began.
    pub started: String,
}

/// What a snapshot needs, and what it keeps from being deleted.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct HeldBytes {
    /// Its id.
    pub snapshot: String,
    /// Its cluster.
    pub cluster: String,
    /// The plain size of the values that its records need.
    pub needed_bytes: u64,
    /// The plain size of the values in the chunks that it refers to. `backup --compact` makes the two equal.
    pub held_bytes: u64,
}

impl From<SessionAtWork> for RunningSession {
    fn from(waiting: SessionAtWork) -> Self {
        RunningSession {
            session: waiting.session.to_string(),
            host: waiting.host,
            job: waiting.job,
            started: text::rfc3339(waiting.started.0),
        }
    }
}

impl From<Held> for HeldBytes {
    fn from(held: Held) -> Self {
        let Held { snapshot, cluster, needed_bytes, held_bytes } = held;
        HeldBytes { snapshot: snapshot.to_string(), cluster, needed_bytes, held_bytes }
    }
}

impl PruneReport {
    fn new(report: collect::PruneReport, dry_run: bool, duration_millis: u64) -> Self {
        PruneReport {
            dry_run,
            snapshots: report.snapshots,
            chunks: report.chunks,
            chunks_missing: report.chunks_missing,
            packs: report.packs,
            bytes: report.bytes,
            unused_bytes: report.unused_bytes,
            packs_deleted: report.packs_deleted,
            bytes_deleted: report.bytes_deleted,
            chunks_moved: report.chunks_moved,
            bytes_moved: report.bytes_moved,
            unused_bytes_left: report.unused_bytes_left,
            segments_deleted: report.segments_deleted,
            sessions_deleted: report.sessions_deleted,
            segments_rewritten: report.segments_rewritten,
            fenced: report.fenced.iter().map(ToString::to_string).collect(),
            waits_for: report.waits_for.into_iter().map(RunningSession::from).collect(),
            refused: report.refused,
            packs_in_doubt: report.packs_in_doubt,
            bytes_in_doubt: report.bytes_in_doubt,
            held: report.held.into_iter().map(HeldBytes::from).collect(),
            deferred: report.deferred,
            problems: report.problems,
            duration_millis,
        }
    }

    /// How it ended.
    pub fn done(&self) -> Done {
        match self.chunks_missing > 0 || !self.problems.is_empty() {
            true => Done::Damaged,
            false if self.deferred.is_some() => Done::Incomplete,
            false => Done::Whole,
        }
    }
}

/// Prunes a repository. Writers and readers may be at work; killed on the way and run again, it finishes.
///
/// # Errors
///
/// If an option is out of its range, what a snapshot needs can't be told, another collection or a writer is at work
/// that it would have to wait for, or it is stopped.
pub fn prune(repository: &Repository, options: &PruneOptions) -> Result<PruneReport> {
    let (options, dry_run) = (options.to_library()?, options.dry_run);
    let begun = Instant::now();
    let report = match dry_run {
        true => repository.prune_plan(&options).map(Plan::into_report),
        false => repository.prune(&options),
    };
    let report = report
        .map_err(|error| stopped(error, "nothing that a snapshot needs was deleted; the next prune continues"))?;
    Ok(PruneReport::new(report, dry_run, millis_since(begun)))
}

impl PruneOptions {
    /// Makes sure that each is in its range.
    ///
    /// # Errors
    ///
    /// If one is not.
    pub fn check(&self) -> Result<()> {
        self.to_library().map(|_| ())
    }

    fn to_library(&self) -> Result<collect::PruneOptions> {
        let PruneOptions { max_unused_percent, max_rewrite_bytes, wait, fence, .. } = *self;
        if !(0.0..=100.0).contains(&max_unused_percent) {
            return Err(Error::usage("`max_unused_percent` takes a part in percent, from 0 to 100"));
        }
        let options = collect::PruneOptions::default().max_unused_percent(max_unused_percent).wait(wait).fence(fence);
        Ok(options.max_rewrite_bytes(max_rewrite_bytes))
    }
}
