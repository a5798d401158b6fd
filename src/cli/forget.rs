//! `forget`: drops snapshots, by rules or by name.

use super::among::Among;
use super::context::Context;
use super::output::{complain, print_line};
use super::{prune, text};
use crate::collect::{Period, Retention, Zone};
use crate::error::{Error, Result};
use crate::job::{self, Done, ForgetOptions, ForgetReport, Which};

/// Forget snapshots: those that no --keep-… rule keeps, or those that are named
///
/// Any snapshot can be forgotten at any time; none needs another. Rules apply to each group separately: snapshots of
/// the same cluster, the same namespaces and the same selection. A snapshot stays if any rule keeps it. Hours, days,
/// weeks, months and years are those of this machine's time zone, or of --timezone; periods without a snapshot don't
/// count, and an incomplete snapshot never takes the place of a complete one.
///
/// Snapshots are ordered by which of them existed when another was begun, and not by the clocks of hosts; a time that
/// contradicts that order is named and not used. A group is never left without a snapshot, unless --keep-last 0 says
/// so, or all are named. --prune reclaims the space at once, or `aerolith prune` later.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  aerolith forget --keep-last 3 --keep-daily 7 --keep-weekly 5 --keep-yearly 10 --dry-run
  aerolith forget --keep-within 30d --keep-tag yearly --cluster shop --prune --wait 1h
  aerolith forget --keep-within 2d --keep-within-daily 30d --timezone Europe/Berlin
  aerolith forget 0f3a latest~2")]
pub struct Args {
    /// Forget these, regardless of the rules
    #[arg(value_name = "SNAPSHOT", conflicts_with = "keep")]
    snapshots: Vec<String>,
    #[command(flatten)]
    keep: Keep,
    /// The time zone in which days begin, such as UTC or Europe/Berlin [default: this machine's]
    #[arg(long, value_name = "ZONE")]
    timezone: Option<String>,
    /// Only say what would be forgotten, and why the others stay
    #[arg(long, short = 'n')]
    dry_run: bool,
    /// Then reclaim the space, as `aerolith prune` does
    #[arg(long, conflicts_with = "dry_run")]
    prune: bool,
    #[command(flatten)]
    among: Among,
    #[command(flatten)]
    pruning: prune::How,
}

#[derive(clap::Args)]
#[group(id = "keep", multiple = true)]
struct Keep {
    /// Keep the newest N
    #[arg(long, value_name = "N")]
    keep_last: Option<u64>,
    /// Keep the newest of each of the last N hours that have a snapshot
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    keep_hourly: Option<u64>,
    /// Keep the newest of each of the last N days that have a snapshot
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    keep_daily: Option<u64>,
    /// Keep the newest of each of the last N weeks that have a snapshot
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    keep_weekly: Option<u64>,
    /// Keep the newest of each of the last N months that have a snapshot
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    keep_monthly: Option<u64>,
    /// Keep the newest of each of the last N years that have a snapshot
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    keep_yearly: Option<u64>,
    /// Keep all that are younger than this, counted back from the newest: 36h, 30d, 8w, 1y
    #[arg(long, value_name = "DURATION", value_parser = text::parse_duration)]
    keep_within: Option<std::time::Duration>,
    /// Keep the newest of each hour, of those that are younger than this, counted back from the newest
    #[arg(long, value_name = "DURATION", value_parser = text::parse_duration)]
    keep_within_hourly: Option<std::time::Duration>,
    /// Keep the newest of each day that is younger than this
    #[arg(long, value_name = "DURATION", value_parser = text::parse_duration)]
    keep_within_daily: Option<std::time::Duration>,
    /// Keep the newest of each week that is younger than this
    #[arg(long, value_name = "DURATION", value_parser = text::parse_duration)]
    keep_within_weekly: Option<std::time::Duration>,
    /// Keep the newest of each month that is younger than this
    #[arg(long, value_name = "DURATION", value_parser = text::parse_duration)]
    keep_within_monthly: Option<std::time::Duration>,
    /// Keep the newest of each year that is younger than this
    #[arg(long, value_name = "DURATION", value_parser = text::parse_duration)]
    keep_within_yearly: Option<std::time::Duration>,
    /// Keep all with this label; may be given more than once
    #[arg(long, value_name = "TAG")]
    keep_tag: Vec<String>,
}

impl Keep {
    fn policy(self, zone: Zone) -> Retention {
        let keep = self;
        let within_newest = [
            (Period::Hour, keep.keep_within_hourly),
            (Period::Day, keep.keep_within_daily),
            (Period::Week, keep.keep_within_weekly),
            (Period::Month, keep.keep_within_monthly),
            (Period::Year, keep.keep_within_yearly),
        ];
        Retention {
            last: keep.keep_last,
            hourly: keep.keep_hourly,
            daily: keep.keep_daily,
            weekly: keep.keep_weekly,
            monthly: keep.keep_monthly,
            yearly: keep.keep_yearly,
            within: keep.keep_within,
            within_newest: within_newest.into_iter().filter_map(|(period, within)| Some((period, within?))).collect(),
            tags: keep.keep_tag,
            zone,
        }
    }
}

pub fn run(context: &Context, args: Args) -> Result<Done> {
    let zone = args.timezone.as_deref().map_or_else(|| Ok(Zone::of_this_machine()), Zone::named)?;
    let policy = args.keep.policy(zone);
    if args.snapshots.is_empty() && policy.is_empty() {
        return Err(Error::usage("what shall stay? Give one of the --keep-… options, or name the snapshots to forget"));
    }
    if !args.prune && args.pruning.is_given() {
        return Err(Error::usage("--max-unused, --max-rewrite-bytes, --wait and --fence go with --prune"));
    }
    let pruning = args.pruning.options();
    pruning.check()?;
    let which = if args.snapshots.is_empty() { Which::Rules(policy) } else { Which::Named(args.snapshots) };
    let options = ForgetOptions::new(which).filter(args.among.filter()).dry_run(args.dry_run);
    let repository = context.repository()?;
    let mut report = job::forget(&repository, &options)?;
    if !context.json() {
        print(&report)?;
    }
    if args.prune {
        report.prune = Some(job::prune(&repository, &pruning).inspect_err(|_| {
            complain(
                "the snapshots were forgotten; `aerolith prune` reclaims the space (--wait waits for running backups)",
            );
        })?);
    }
    report.problems.iter().for_each(|problem| complain(problem));
    if context.json() {
        context.print_json(&report)?;
    } else if let Some(pruned) = &report.prune {
        prune::print(pruned)?;
    }
    Ok(report.done())
}

fn print(report: &ForgetReport) -> Result<()> {
    let cells: Vec<Vec<String>> = report
        .snapshots
        .iter()
        .map(|row| {
            vec![
                text::short(&row.snapshot),
                row.committed.clone(),
                text::safe(&row.cluster),
                text::safe(&row.namespaces.join(", ")),
                if row.stays { "stays" } else { "goes" }.to_string(),
                text::safe(&row.reasons.join(", ")),
            ]
        })
        .collect();
    if !cells.is_empty() {
        print_line(&text::table(&["snapshot", "committed", "cluster", "namespaces", "", "why"], &cells, &[]))?;
    }
    let n = text::plural(report.forgotten.len() as u64, "snapshot");
    print_line(&if report.dry_run { format!("would forget {n}") } else { format!("forgot {n}") })
}
