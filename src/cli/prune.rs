//! `prune`: reclaims the space that no snapshot needs.

use super::advice::with_options;
use super::context::Context;
use super::output::{complain, print_line};
use super::text;
use crate::error::Result;
use crate::job::{self, Done, HeldBytes, PruneOptions, PruneReport, RunningSession};
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
    #[arg(long, value_name = "PERCENT", value_parser = percent, allow_negative_numbers = true)]
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

/// A part in percent.
fn percent(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').unwrap_or(text).parse().ok().filter(|number| (0.0..=100.0).contains(number));
    number.ok_or_else(|| "give a part in percent, from 0 to 100".to_string())
}

impl How {
    /// Whether any of it was given.
    pub fn is_given(&self) -> bool {
        self.max_unused.is_some() || self.max_rewrite_bytes.is_some() || self.wait.is_some() || self.fence
    }

    /// What the job is told.
    pub fn options(&self) -> PruneOptions {
        let default = PruneOptions::default();
        default
            .clone()
            .max_unused_percent(self.max_unused.unwrap_or(default.max_unused_percent))
            .max_rewrite_bytes(self.max_rewrite_bytes)
            .wait(self.wait.unwrap_or_default())
            .fence(self.fence)
    }
}

pub fn run(context: &Context, args: Args) -> Result<Done> {
    let options = args.how.options().dry_run(args.dry_run);
    options.check()?;
    let report = job::prune(&context.repository()?, &options)?;
    if context.json() {
        context.print_json(&report)?;
    } else {
        print(&report)?;
    }
    Ok(report.done())
}

/// Prints what a prune did for people.
pub fn print(report: &PruneReport) -> Result<()> {
    let would = if report.dry_run { "would be " } else { "" };
    match &report.refused {
        Some(why) => {
            print_line(&format!("nothing would be done now: {}. Once it has ended:", text::safe(&with_options(why))))?
        }
        None => report.waits_for.iter().try_for_each(|waiting| {
            let RunningSession { session, host, job, started, .. } = waiting;
            let of = format!("would wait for session {session} on {host} ({job}), begun at {started}");
            print_line(&text::safe(&of))
        })?,
    }
    print_line(&format!(
        "{} {} {}; {} in {}, of which {} unused",
        text::plural(report.snapshots, "snapshot"),
        if report.snapshots == 1 { "needs" } else { "need" },
        text::plural(report.chunks, "chunk"),
        text::bytes(report.bytes),
        text::plural(report.packs, "pack"),
        text::bytes(report.unused_bytes)
    ))?;
    print_line(&format!(
        "{} ({}) {would}deleted, {} ({}) {would}moved, {} unused {would}left",
        text::plural(report.packs_deleted, "pack"),
        text::bytes(report.bytes_deleted),
        text::plural(report.chunks_moved, "chunk"),
        text::bytes(report.bytes_moved),
        text::bytes(report.unused_bytes_left)
    ))?;
    if report.packs_in_doubt > 0 {
        print_line(&format!(
            "{} ({}) may be of a backup at work: they stay if it ends with a snapshot, and go if not",
            text::plural(report.packs_in_doubt, "pack"),
            text::bytes(report.bytes_in_doubt)
        ))?;
    }
    // A hundredth is what values take by the way.
    let heavy = |held: &&HeldBytes| held.held_bytes > held.needed_bytes + held.needed_bytes / 100;
    if report.packs_deleted == 0 && report.chunks_moved == 0 {
        for HeldBytes { snapshot, cluster, needed_bytes, held_bytes, .. } in report.held.iter().filter(heavy) {
            print_line(&format!(
                "snapshot {} of cluster {} holds {} of values for {} that its records need, because they share chunks \
                 with older versions of records. `aerolith backup --compact` makes one that holds nothing else",
                text::short(snapshot),
                text::safe(cluster),
                text::bytes(*held_bytes),
                text::bytes(*needed_bytes)
            ))?;
        }
    }
    for session in &report.fenced {
        print_line(&format!("{would}fenced: session {session}"))?;
    }
    report.deferred.iter().chain(&report.problems).for_each(|problem| complain(problem));
    if report.chunks_missing > 0 {
        complain(&format!(
            "{} that snapshots need {} missing; `aerolith check` says which",
            text::plural(report.chunks_missing, "chunk"),
            if report.chunks_missing == 1 { "is" } else { "are" }
        ));
    }
    Ok(())
}
