//! What `restore` says in the end.

use super::among::describe;
use super::context::{Context, Done};
use super::output::{complain, harmless, print_raw, to_json};
use super::text;
use crate::error::Result;
use crate::format::snapshot::Manifest;
use crate::record::Digest;
use crate::restore::{Reasons, RestoreOptions, RestoreReport};
use crate::targets::FailedRecord;
use crate::verify::Comparison;
use serde::Serialize;
use std::collections::BTreeMap;

/// Records that are named on standard error with the same reason; the others are counted. `--json` names more.
const NAMED_WITH_ONE_REASON: u64 = 20;

/// What a restore did.
pub struct Restored<'a> {
    pub snapshot: &'a Manifest,
    pub target: &'a str,
    pub dry_run: bool,
    /// Whether the report goes to standard error.
    pub aside: bool,
    pub duration_millis: u64,
    pub options: &'a RestoreOptions,
    /// The keys that were asked for.
    pub names: BTreeMap<Digest, String>,
    /// What became of each namespace.
    pub reports: Vec<(String, RestoreReport)>,
    /// What reading back found.
    pub comparisons: Vec<(String, Comparison)>,
    /// Indexes and UDF modules that the target could not take.
    pub omissions: Vec<String>,
    pub notes: Vec<String>,
}

#[derive(Serialize)]
struct Output {
    snapshot: String,
    committed: String,
    cluster: String,
    target: String,
    dry_run: bool,
    duration_millis: u64,
    namespaces: Vec<NamespaceOutput>,
    /// Indexes and UDF modules that the target could not take.
    omissions: Vec<String>,
    notes: Vec<String>,
}

#[derive(Serialize)]
struct NamespaceOutput {
    namespace: String,
    target_namespace: String,
    read: u64,
    written: u64,
    same: u64,
    expired: u64,
    exists: u64,
    fresher: u64,
    without_bins: u64,
    failed: u64,
    bytes: u64,
    /// Of the failed ones, those whose bodies could not be read.
    damaged: u64,
    /// Records that are known to be lost with the entries that named them.
    records_lost: u64,
    lost: Vec<String>,
    /// The first thousand.
    failures: Vec<Failure>,
    /// How many of the others failed for which reason.
    more_failures: BTreeMap<String, u64>,
    not_found: Vec<String>,
    /// With --mirror.
    deleted: u64,
    not_deleted: u64,
    /// The first thousand of those.
    undeleted: Vec<Failure>,
    /// How many of the others could not be deleted for which reason.
    more_undeleted: BTreeMap<String, u64>,
    /// With --verify.
    verification: Option<Verification>,
}

#[derive(Serialize)]
struct Failure {
    digest: String,
    reason: String,
}

#[derive(Serialize)]
struct Verification {
    same: bool,
    records: u64,
    missing: Vec<String>,
    changed: Vec<String>,
    extra: Vec<String>,
    expired: u64,
    other_cells: u64,
    unreadable: Vec<String>,
}

/// Names what is left out, and prints the report.
pub fn print(context: &Context, restored: Restored<'_>) -> Result<Done> {
    name_what_is_left_out(&restored);
    let reports = || restored.reports.iter().map(|(_, report)| report);
    let comparisons = || restored.comparisons.iter().map(|(_, compared)| compared);
    let damaged = reports().any(RestoreReport::is_damaged) || comparisons().any(Comparison::is_damaged);
    let whole = restored.omissions.is_empty()
        && reports().all(|report| report.failed == 0 && report.not_found.is_empty() && report.not_deleted == 0)
        && comparisons().all(Comparison::is_same);
    let print = |text: &str| if restored.aside { print_aside(text) } else { print_raw(text) };
    match context.json() {
        true => print(&to_json(&output(&restored))?)?,
        false => print(&harmless(&summary(&restored)))?,
    }
    Ok(match (damaged, whole) {
        (true, _) => Done::Damaged,
        (false, true) => Done::Whole,
        (false, false) => Done::Incomplete,
    })
}

/// What of a namespace could not be read, line by line.
fn losses(report: &RestoreReport) -> Vec<String> {
    let mut lines = report.lost.lines();
    lines.extend(report.metadata_lost.iter().map(|problem| format!("indexes and UDF modules: {problem}")));
    lines
}

/// Prints to standard error what would go to standard output.
fn print_aside(text: &str) -> Result<()> {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "{text}");
    Ok(())
}

/// Names records with what happened to them, not too many of each kind, and counts `others`.
fn name_failures(what: &str, namespace: &str, failures: &[FailedRecord], others: &Reasons) {
    let mut named: BTreeMap<&str, u64> = BTreeMap::new();
    for failed in failures {
        let so_far = named.entry(&failed.reason).or_default();
        *so_far += 1;
        if *so_far <= NAMED_WITH_ONE_REASON {
            complain(&format!("{what}: {namespace} {}: {}", failed.digest, failed.reason));
        }
    }
    named.values_mut().for_each(|number| *number = number.saturating_sub(NAMED_WITH_ONE_REASON));
    others.iter().for_each(|(reason, number)| *named.entry(reason).or_default() += number);
    for (reason, more) in named.into_iter().filter(|(_, more)| *more > 0) {
        complain(&format!("{what}: {namespace}: {} more: {reason}", text::count(more)));
    }
}

fn name_digests(what: &str, namespace: &str, digests: &[Digest]) {
    for digest in digests.iter().take(NAMED_WITH_ONE_REASON as usize) {
        complain(&format!("{what}: {namespace} {digest}"));
    }
    if digests.len() as u64 > NAMED_WITH_ONE_REASON {
        let more = text::count(digests.len() as u64 - NAMED_WITH_ONE_REASON);
        complain(&format!("{what}: {namespace}: {more} more; --json names all"));
    }
}

fn name_what_is_left_out(restored: &Restored<'_>) {
    for (namespace, report) in &restored.reports {
        for loss in losses(report) {
            complain(&format!("damaged: namespace {namespace}: {loss}"));
        }
        if report.records_lost > 0 {
            let lost = text::count(report.records_lost);
            complain(&format!("damaged: namespace {namespace}: {lost} records could not be read"));
        }
        if restored.options.mirror && !report.lost.is_empty() {
            complain(&format!(
                "damaged: namespace {namespace}: nothing was deleted, since it may be in the part that was lost"
            ));
        }
        name_failures("failed", namespace, &report.failures, &report.more_failures);
        name_failures("not deleted", namespace, &report.undeleted, &report.more_undeleted);
        for digest in &report.not_found {
            let key = restored.names.get(digest).map(|key| format!(" (key {key:?})")).unwrap_or_default();
            complain(&format!("not in the snapshot: {namespace} {digest}{key}"));
        }
    }
    for (namespace, compared) in &restored.comparisons {
        name_digests("read back: missing", namespace, &compared.only_in_snapshot);
        name_digests("read back: not as in the snapshot", namespace, &compared.changed);
        name_digests("read back: not in the snapshot", namespace, &compared.only_in_source);
        name_digests("read back: can't be compared, as the snapshot's is damaged", namespace, &compared.unreadable);
    }
    restored.omissions.iter().for_each(|omission| complain(&format!("left out: {omission}")));
}

fn named(failures: &[FailedRecord]) -> Vec<Failure> {
    let failure = |failed: &FailedRecord| Failure { digest: failed.digest.to_string(), reason: failed.reason.clone() };
    failures.iter().map(failure).collect()
}

fn tally(reasons: &Reasons) -> BTreeMap<String, u64> {
    reasons.iter().map(|(reason, number)| (reason.to_string(), number)).collect()
}

fn output(restored: &Restored<'_>) -> Output {
    let strings = |digests: &[Digest]| digests.iter().map(ToString::to_string).collect();
    let verification = |compared: &Comparison| Verification {
        same: compared.is_same(),
        records: compared.records_in_snapshot,
        missing: strings(&compared.only_in_snapshot),
        changed: strings(&compared.changed),
        extra: strings(&compared.only_in_source),
        expired: compared.expired,
        other_cells: compared.other_cells,
        unreadable: strings(&compared.unreadable),
    };
    let namespaces = restored.reports.iter().map(|(namespace, report)| NamespaceOutput {
        target_namespace: restored.options.rename.as_deref().unwrap_or(namespace).to_string(),
        namespace: namespace.clone(),
        read: report.read,
        written: report.written,
        same: report.same,
        expired: report.expired,
        exists: report.exists,
        fresher: report.fresher,
        without_bins: report.without_bins,
        failed: report.failed,
        bytes: report.bytes,
        damaged: report.damaged,
        records_lost: report.records_lost,
        lost: losses(report),
        failures: named(&report.failures),
        more_failures: tally(&report.more_failures),
        not_found: strings(&report.not_found),
        deleted: report.deleted,
        not_deleted: report.not_deleted,
        undeleted: named(&report.undeleted),
        more_undeleted: tally(&report.more_undeleted),
        verification: restored.comparisons.iter().find(|(name, _)| name == namespace).map(|(_, it)| verification(it)),
    });
    Output {
        snapshot: restored.snapshot.id.to_string(),
        committed: text::rfc3339(restored.snapshot.committed),
        cluster: restored.snapshot.cluster.clone(),
        target: restored.target.to_string(),
        dry_run: restored.dry_run,
        duration_millis: restored.duration_millis,
        namespaces: namespaces.collect(),
        omissions: restored.omissions.clone(),
        notes: restored.notes.clone(),
    }
}

fn summary(restored: &Restored<'_>) -> String {
    let options = restored.options;
    // The name of a column, and whether it is shown.
    let written = if restored.dry_run { "would write" } else { "written" };
    let deleted = if restored.dry_run { "would delete" } else { "deleted" };
    let columns = [
        ("read", true),
        (written, true),
        ("same", options.resume),
        ("expired", true),
        ("exists", true),
        ("fresher", true),
        ("no bins", options.selection.bins.is_some()),
        ("failed", true),
        (deleted, options.mirror),
    ];
    let shown = |values: [String; 9]| -> Vec<String> {
        values.into_iter().zip(columns).filter(|(_, (_, shown))| *shown).map(|(value, _)| value).collect()
    };
    let row = |name: &str, report: &RestoreReport| {
        let RestoreReport { read, written, same, expired, exists, fresher, without_bins, failed, deleted, .. } = report;
        let numbers = [read, written, same, expired, exists, fresher, without_bins, failed, deleted];
        let mut row = vec![text::safe(name)];
        row.extend(shown(numbers.map(|number| text::count(*number))));
        row
    };
    let mut total = RestoreReport::default();
    let mut rows = Vec::new();
    for (namespace, report) in &restored.reports {
        rows.push(row(namespace, report));
        total.add(report.clone());
    }
    if restored.reports.len() > 1 {
        rows.push(row("in all", &total));
    }
    let names = shown(columns.map(|(name, _)| name.to_string()));
    let mut header = vec!["namespace"];
    header.extend(names.iter().map(String::as_str));
    let numbers: Vec<usize> = (1..header.len()).collect();
    let mut lines = vec![text::table(&header, &rows, &numbers)];
    if !total.not_found.is_empty() {
        lines.push(format!("{} not found", text::plural(total.not_found.len() as u64, "record")));
    }
    let (bytes, time) = (text::bytes(total.bytes), text::millis(restored.duration_millis));
    lines.push(match restored.dry_run {
        true => format!("dry run: nothing was written into {}; {bytes} of bodies read in {time}", restored.target),
        false => format!("restored into {}: {bytes} of bodies in {time}", restored.target),
    });
    lines.push(format!("out of {}", describe(restored.snapshot)));
    let verdicts = restored.comparisons.iter().map(|(namespace, compared)| {
        let mut line = format!(
            "read back {namespace}: {} compared, {} missing, {} changed",
            text::plural(compared.records_in_snapshot, "record"),
            text::count(compared.only_in_snapshot.len() as u64),
            text::count(compared.changed.len() as u64),
        );
        if !compared.only_in_source.is_empty() {
            line += &format!(", {} not in the snapshot", text::count(compared.only_in_source.len() as u64));
        }
        if compared.expired > 0 {
            line += &format!(", {} expired since", text::count(compared.expired));
        }
        line
    });
    lines.extend(verdicts);
    lines.join("\n")
}
