//! `prune`: reclaims the space that no snapshot needs.

use super::context::{Context, Done, stopped};
use super::output::{complain, print_line};
use super::text;
use crate::collect::{Held, PruneOptions, PruneReport, Waiting};
use crate::error::{Error, Result};
use crate::repository::Repository;
use serde::Serialize;
use std::time::Duration;

/// Delete what no snapshot needs any more
///
/// Backups and restores may run meanwhile. A backup that began before the prune is waited for with --wait, or fenced
/// with --fence, so that it fails; otherwise the prune is refused. A backup that died, or whose lease expired, is
/// fenced. Packs that are partly needed are rewritten until no more than --max-unused is unused, and small packs are
/// joined once there are many. If it is stopped or killed, the next prune continues.
///
/// On a full disk it uses the space that is kept in reserve, deletes what nothing needs, and exits with code 3 if the
/// rest has to wait for the next prune. Exits with code 10 if something can't be read and so stays.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  aerolith prune --dry-run
  aerolith prune --wait 2h
  aerolith prune --max-unused 0 --max-rewrite-bytes 50000000000")]
pub struct Args {
    #[command(flatten)]
    how: How,
    /// Only say what would be done
    #[arg(long, short = 'n')]
    dry_run: bool,
}

/// How space is reclaimed, by `prune` and by `forget --prune`.
#[derive(clap::Args)]
pub struct How {
    /// How much of what the packs hold may be unused, in percent [default: 5]
    #[arg(long, value_name = "PERCENT")]
    max_unused: Option<f64>,
    /// Move at most this many bytes out of packs that are partly needed
    #[arg(long, value_name = "BYTES")]
    max_rewrite_bytes: Option<u64>,
    /// Wait this long for running backups: 90s, 30min, 2h
    #[arg(long, value_name = "DURATION", value_parser = text::parse_duration)]
    wait: Option<Duration>,
    /// Fence running backups and collections, so that they fail. Use it for those that are known to be dead
    #[arg(long)]
    fence: bool,
}

impl How {
    /// Whether any of it was given.
    pub fn is_given(&self) -> bool {
        self.max_unused.is_some() || self.max_rewrite_bytes.is_some() || self.wait.is_some() || self.fence
    }

    /// What the library is told.
    pub fn options(&self, dry_run: bool) -> Result<PruneOptions> {
        let default = PruneOptions::default();
        let max_unused_percent = self.max_unused.unwrap_or(default.max_unused_percent);
        if !(0.0..=100.0).contains(&max_unused_percent) {
            return Err(Error::usage("--max-unused takes a part in percent, from 0 to 100"));
        }
        Ok(PruneOptions {
            max_unused_percent,
            max_rewrite_bytes: self.max_rewrite_bytes,
            dry_run,
            wait: self.wait.unwrap_or_default(),
            fence: self.fence,
        })
    }
}

#[derive(Serialize)]
struct Session {
    session: String,
    host: String,
    job: String,
    started: String,
}

impl From<&Waiting> for Session {
    fn from(waiting: &Waiting) -> Self {
        Session {
            session: waiting.session.to_string(),
            host: waiting.host.clone(),
            job: waiting.job.clone(),
            started: text::rfc3339(waiting.started),
        }
    }
}

#[derive(Serialize)]
struct Weight {
    snapshot: String,
    cluster: String,
    needed_bytes: u64,
    held_bytes: u64,
}

impl From<&Held> for Weight {
    fn from(held: &Held) -> Self {
        let Held { snapshot, cluster, needed_bytes, held_bytes } = held;
        let (snapshot, cluster) = (snapshot.to_string(), cluster.clone());
        Weight { snapshot, cluster, needed_bytes: *needed_bytes, held_bytes: *held_bytes }
    }
}

#[derive(Serialize)]
pub struct Output {
    dry_run: bool,
    snapshots: u64,
    chunks: u64,
    chunks_missing: u64,
    packs: u64,
    bytes: u64,
    unused_bytes: u64,
    packs_deleted: u64,
    bytes_deleted: u64,
    chunks_moved: u64,
    bytes_moved: u64,
    unused_bytes_left: u64,
    segments_deleted: u64,
    sessions_deleted: u64,
    segments_rewritten: u64,
    fenced: Vec<String>,
    waits_for: Vec<Session>,
    refused: Option<String>,
    packs_in_doubt: u64,
    bytes_in_doubt: u64,
    held: Vec<Weight>,
    deferred: Option<String>,
    problems: Vec<String>,
    duration_millis: u64,
}

impl Output {
    fn new(report: PruneReport, duration: Duration) -> Self {
        Output {
            dry_run: report.dry_run,
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
            waits_for: report.waits_for.iter().map(Session::from).collect(),
            refused: report.refused,
            packs_in_doubt: report.packs_in_doubt,
            bytes_in_doubt: report.bytes_in_doubt,
            held: report.held.iter().map(Weight::from).collect(),
            deferred: report.deferred,
            problems: report.problems,
            duration_millis: u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
        }
    }

    /// Whether something is missing or can't be read.
    pub fn is_damaged(&self) -> bool {
        self.chunks_missing > 0 || !self.problems.is_empty()
    }

    /// How it ended.
    pub fn done(&self) -> Done {
        match self.is_damaged() {
            true => Done::Damaged,
            false if self.deferred.is_some() => Done::Incomplete,
            false => Done::Whole,
        }
    }

    /// Prints it for people.
    pub fn print(&self) -> Result<()> {
        let would = if self.dry_run { "would be " } else { "" };
        match &self.refused {
            Some(why) => print_line(&format!("nothing would be done now: {}. Once it has ended:", text::safe(why)))?,
            None => self.waits_for.iter().try_for_each(|waiting| {
                let Session { session, host, job, started } = waiting;
                let of = format!("would wait for session {session} on {host} ({job}), begun at {started}");
                print_line(&text::safe(&of))
            })?,
        }
        print_line(&format!(
            "{} {} {}; {} in {}, of which {} unused",
            text::plural(self.snapshots, "snapshot"),
            if self.snapshots == 1 { "needs" } else { "need" },
            text::plural(self.chunks, "chunk"),
            text::bytes(self.bytes),
            text::plural(self.packs, "pack"),
            text::bytes(self.unused_bytes)
        ))?;
        print_line(&format!(
            "{} ({}) {would}deleted, {} ({}) {would}moved, {} unused {would}left",
            text::plural(self.packs_deleted, "pack"),
            text::bytes(self.bytes_deleted),
            text::plural(self.chunks_moved, "chunk"),
            text::bytes(self.bytes_moved),
            text::bytes(self.unused_bytes_left)
        ))?;
        if self.packs_in_doubt > 0 {
            print_line(&format!(
                "{} ({}) may be of a backup at work: they stay if it ends with a snapshot, and go if not",
                text::plural(self.packs_in_doubt, "pack"),
                text::bytes(self.bytes_in_doubt)
            ))?;
        }
        // A hundredth is what values take by the way.
        let heavy = |held: &&Weight| held.held_bytes > held.needed_bytes + held.needed_bytes / 100;
        if self.packs_deleted == 0 && self.chunks_moved == 0 {
            for Weight { snapshot, cluster, needed_bytes, held_bytes } in self.held.iter().filter(heavy) {
                print_line(&format!(
                    "snapshot {} of cluster {} holds {} of values for {} that its records need: older versions of records stand \
                     beside them. `aerolith backup --compact` makes one that holds nothing else",
                    text::short(snapshot),
                    text::safe(cluster),
                    text::bytes(*held_bytes),
                    text::bytes(*needed_bytes)
                ))?;
            }
        }
        for session in &self.fenced {
            print_line(&format!("{would}fenced: session {session}"))?;
        }
        self.deferred.iter().chain(&self.problems).for_each(|problem| complain(problem));
        if self.chunks_missing > 0 {
            complain(&format!(
                "{} that snapshots need {} missing; `aerolith check` says which",
                text::plural(self.chunks_missing, "chunk"),
                if self.chunks_missing == 1 { "is" } else { "are" }
            ));
        }
        Ok(())
    }
}

/// Prunes, with progress.
pub fn prune(context: &Context, repository: &Repository, options: &PruneOptions) -> Result<Output> {
    let (control, progress) = context.control(format!("pruning {}", repository.store().location()));
    let start = std::time::Instant::now();
    let report = repository.prune(options, &control);
    let report = report
        .map_err(|error| stopped(error, "nothing that a snapshot needs was deleted; the next prune continues"))?;
    drop(progress);
    Ok(Output::new(report, start.elapsed()))
}

pub fn run(context: &Context, args: Args) -> Result<Done> {
    let options = args.how.options(args.dry_run)?;
    let output = prune(context, &context.repository()?, &options)?;
    if context.json() {
        context.print_json(&output)?;
    } else {
        output.print()?;
    }
    Ok(output.done())
}
