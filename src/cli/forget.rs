//! `forget`: drops snapshots, by rules or by name.

use super::among::Among;
use super::context::{Context, Done, stopped};
use super::output::{complain, print_line};
use super::schema::DoubtfulTime;
use super::{prune, text};
use crate::collect::forget::ForgetReport;
use crate::collect::{Period, Policy, Zone};
use crate::error::{Error, Result};
use crate::format::SnapshotId;
use crate::format::snapshot::Manifest;
use serde::Serialize;
use std::collections::HashMap;

/// Forget snapshots: those that no --keep-… rule keeps, or those that are named
///
/// Any snapshot can be forgotten at any time; none needs another. Rules apply to each group separately: snapshots of
/// the same cluster with the same namespaces. A snapshot stays if any rule keeps it. Hours, days, weeks, months and
/// years are those of this machine's time zone, or of --timezone; periods without a snapshot don't count, and an
/// incomplete snapshot never takes the place of a complete one.
///
/// The newest snapshot is the one that was begun last with all others in view, which does not depend on the clocks of
/// hosts; a time that contradicts that order is named and not used. A group is never left without a snapshot, unless
/// --keep-last 0 says so, or all are named. --prune reclaims the space at once, or `aerolith prune` later.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  aerolith forget --keep-last 3 --keep-daily 7 --keep-weekly 5 --keep-yearly 10 --dry-run
  aerolith forget --keep-within 30d --keep-tag yearly --cluster shop --prune --wait 1h
  aerolith forget --keep-within 2d --keep-within-daily 30d --keep-within-weekly 1y --timezone Europe/Berlin
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
    #[arg(long, value_name = "N")]
    keep_hourly: Option<u64>,
    /// Keep the newest of each of the last N days that have a snapshot
    #[arg(long, value_name = "N")]
    keep_daily: Option<u64>,
    /// Keep the newest of each of the last N weeks that have a snapshot
    #[arg(long, value_name = "N")]
    keep_weekly: Option<u64>,
    /// Keep the newest of each of the last N months that have a snapshot
    #[arg(long, value_name = "N")]
    keep_monthly: Option<u64>,
    /// Keep the newest of each of the last N years that have a snapshot
    #[arg(long, value_name = "N")]
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
    fn policy(self, zone: Zone) -> Policy {
        let keep = self;
        let millis = |duration: std::time::Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let within_newest = [
            (Period::Hour, keep.keep_within_hourly),
            (Period::Day, keep.keep_within_daily),
            (Period::Week, keep.keep_within_weekly),
            (Period::Month, keep.keep_within_monthly),
            (Period::Year, keep.keep_within_yearly),
        ];
        Policy {
            last: keep.keep_last,
            hourly: keep.keep_hourly,
            daily: keep.keep_daily,
            weekly: keep.keep_weekly,
            monthly: keep.keep_monthly,
            yearly: keep.keep_yearly,
            within_millis: keep.keep_within.map(millis),
            within_newest: within_newest
                .into_iter()
                .filter_map(|(period, within)| Some((period, millis(within?))))
                .collect(),
            tags: keep.keep_tag,
            zone,
        }
    }
}

#[derive(Serialize)]
struct Output {
    dry_run: bool,
    forgotten: Vec<String>,
    snapshots: Vec<Row>,
    doubtful_times: Vec<DoubtfulTime>,
    problems: Vec<String>,
    prune: Option<prune::Output>,
}

#[derive(Serialize)]
struct Row {
    snapshot: String,
    committed: String,
    cluster: String,
    namespaces: Vec<String>,
    stays: bool,
    reasons: Vec<String>,
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
    let pruning = args.pruning.options(false)?;
    let repository = context.repository()?;
    let (control, progress) = context.control(format!("forgetting snapshots of {}", repository.store().location()));
    let list = repository.snapshots()?;
    if policy.goes_by_time() || args.snapshots.iter().any(|name| name.starts_with('@')) {
        list.times.warnings().iter().for_each(|warning| complain(warning));
    }
    let doubtful_times = list.times.doubtful().iter().map(DoubtfulTime::from).collect();
    let filter = args.among.filter();
    filter.check_cluster(&list.snapshots)?;
    let manifests: HashMap<SnapshotId, Manifest> =
        list.snapshots.into_iter().map(|manifest| (manifest.id, manifest)).collect();
    let report = if args.snapshots.is_empty() {
        repository.forget(&policy, |manifest| filter.admits(manifest), args.dry_run, &control)
    } else {
        repository.forget_named(&args.snapshots, &filter, args.dry_run, &control)
    };
    let report = report.map_err(|error| stopped(error, "some snapshots may have been forgotten"))?;
    drop(progress);
    let rows = rows(&report, &manifests);
    if !context.json() {
        print(&report, &rows)?;
    }
    let pruned = match args.prune {
        true => Some(prune::prune(context, &repository, &pruning).inspect_err(|_| {
            complain(
                "the snapshots were forgotten; `aerolith prune` reclaims the space (--wait waits for running backups)",
            );
        })?),
        false => None,
    };
    report.problems.iter().for_each(|problem| complain(problem));
    let done = match &pruned {
        _ if !report.problems.is_empty() => Done::Damaged,
        Some(pruned) => pruned.done(),
        None => Done::Whole,
    };
    if context.json() {
        let forgotten = report.forgotten.iter().map(ToString::to_string).collect();
        let ForgetReport { dry_run, problems, .. } = report;
        let snapshots = rows;
        context.print_json(&Output { dry_run, forgotten, snapshots, doubtful_times, problems, prune: pruned })?;
    } else if let Some(pruned) = &pruned {
        pruned.print()?;
    }
    Ok(done)
}

/// What is decided on each snapshot, in the order in which they were committed; those that were named go.
fn rows(report: &ForgetReport, manifests: &HashMap<SnapshotId, Manifest>) -> Vec<Row> {
    let row = |id: &SnapshotId, reasons: Vec<String>| {
        let manifest = manifests.get(id);
        let names = manifest.iter().flat_map(|manifest| &manifest.namespaces).map(|namespace| namespace.name.clone());
        Row {
            snapshot: id.to_string(),
            committed: manifest.map(|manifest| text::rfc3339(manifest.committed)).unwrap_or_default(),
            cluster: manifest.map(|manifest| manifest.cluster.clone()).unwrap_or_default(),
            namespaces: names.collect(),
            stays: !reasons.is_empty(),
            reasons,
        }
    };
    if report.verdicts.is_empty() {
        return report.forgotten.iter().map(|id| row(id, Vec::new())).collect();
    }
    let reasons = |reasons: &[crate::collect::Reason]| reasons.iter().map(ToString::to_string).collect();
    report.verdicts.iter().map(|verdict| row(&verdict.snapshot, reasons(&verdict.reasons))).collect()
}

fn print(report: &ForgetReport, rows: &[Row]) -> Result<()> {
    let cells: Vec<Vec<String>> = rows
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
