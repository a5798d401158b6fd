//! What `restore` says in the end.

use super::context::Context;
use super::output::{complain, harmless, print_raw, to_json};
use super::text;
use crate::error::Result;
use crate::job::path::key_advice;
use crate::job::{FailedRecord, RestoreOptions, RestoreReport, RestoredNamespace, UnbuiltIndex, Verification};
use crate::record::Digest;
use std::collections::BTreeMap;

/// Digests of one kind that are named on standard error; the others are counted. `--json` names more.
const NAMED: usize = 20;

/// Of several records with one reason so many are named.
const EXAMPLES: usize = 3;

/// What a restore did, and what it was told.
pub struct Restored<'a> {
    /// What was restored, for people.
    pub from: &'a str,
    pub options: &'a RestoreOptions,
    /// The keys that were asked for.
    pub names: BTreeMap<Digest, String>,
    /// The set in which they were looked for.
    pub set: Option<&'a str>,
    pub report: &'a RestoreReport,
}

/// Names what is left out, and prints the report.
/// `aside` says to print it to standard error.
pub fn print(context: &Context, restored: &Restored<'_>, aside: bool) -> Result<()> {
    let report = restored.report;
    report.notes.iter().chain(&report.unread).chain(&report.unfound).for_each(|line| complain(line));
    name_what_is_left_out(restored);
    let print = |text: &str| if aside { print_aside(text) } else { print_raw(text) };
    match context.json() {
        true => print(&to_json(report)?),
        false => print(&harmless(&summary(restored))),
    }
}

/// Prints to standard error what would go to standard output.
fn print_aside(text: &str) -> Result<()> {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "{text}");
    Ok(())
}

/// Says how many records had which reason, with a few of them by name. `others` are known by number alone.
fn name_failures(what: &str, namespace: &str, failures: &[FailedRecord], others: &BTreeMap<String, u64>) {
    let mut reasons: BTreeMap<&str, (u64, Vec<&str>)> = BTreeMap::new();
    for failed in failures {
        let (number, examples) = reasons.entry(&failed.reason).or_default();
        *number += 1;
        if examples.len() < EXAMPLES {
            examples.push(&failed.digest);
        }
    }
    others.iter().for_each(|(reason, number)| reasons.entry(reason).or_default().0 += number);
    for (reason, (number, examples)) in reasons {
        complain(&match &examples[..] {
            [only] if number == 1 => format!("{what}: {namespace} {only}: {reason}"),
            [] => format!("{what}: {namespace}: {}: {reason}", text::plural(number, "record")),
            some => {
                let such_as = if some.len() as u64 == number { "" } else { "such as " };
                format!("{what}: {namespace}: {} records: {reason} ({such_as}{})", text::count(number), some.join(", "))
            }
        });
    }
}

fn name_digests(what: &str, namespace: &str, digests: &[String]) {
    for digest in digests.iter().take(NAMED) {
        complain(&format!("{what}: {namespace} {digest}"));
    }
    if let more @ 1.. = digests.len().saturating_sub(NAMED) {
        let more = text::count(more as u64);
        complain(&format!("{what}: {namespace}: {more} more; --json names all"));
    }
}

fn name_what_is_left_out(restored: &Restored<'_>) {
    let report = restored.report;
    let names: BTreeMap<String, &String> =
        restored.names.iter().map(|(digest, key)| (digest.to_string(), key)).collect();
    let mut is_advised = false;
    for one in &report.namespaces {
        let namespace = &one.namespace;
        for loss in &one.lost {
            complain(&format!("damaged: namespace {namespace}: {loss}"));
        }
        if one.records_lost > 0 {
            let lost = text::count(one.records_lost);
            complain(&format!("damaged: namespace {namespace}: {lost} records could not be read"));
        }
        if one.not_mirrored {
            complain(&format!(
                "damaged: namespace {namespace}: nothing was deleted, since it may be in the part that was lost"
            ));
        }
        name_failures("failed", namespace, &one.failures, &one.more_failures);
        name_failures("not deleted", namespace, &one.undeleted, &one.more_undeleted);
        for digest in &one.not_found {
            let mut line = format!("not in the snapshot: {namespace} {digest}");
            if let Some(key) = names.get(digest) {
                line += &format!(" (key {key:?})");
                if !std::mem::replace(&mut is_advised, true) {
                    line += &format!(". {}", key_advice(restored.set));
                }
            }
            complain(&line);
        }
    }
    for (namespace, compared) in verified(report) {
        name_digests("read back: missing", namespace, &compared.missing);
        name_digests("read back: not as in the snapshot", namespace, &compared.changed);
        name_digests("read back: not in the snapshot", namespace, &compared.extra);
        name_digests("read back: can't be compared, as the snapshot's is damaged", namespace, &compared.unreadable);
    }
    name_unbuilt(&report.unbuilt);
    report.omissions.iter().for_each(|omission| complain(&format!("left out: {omission}")));
}

/// Names indexes that are not built, not too many of those that are still being built.
fn name_unbuilt(unbuilt: &[UnbuiltIndex]) {
    let (failed, building): (Vec<_>, Vec<_>) = unbuilt.iter().partition(|index| index.failed);
    for UnbuiltIndex { namespace, name, .. } in failed {
        let (namespace, name) = (text::safe(namespace), text::safe(name));
        complain(&format!("not built: index {name} of namespace {namespace}: a server says that it failed"));
    }
    for UnbuiltIndex { namespace, name, percent, .. } in building.iter().take(NAMED) {
        let (namespace, name) = (text::safe(namespace), text::safe(name));
        complain(&format!("not built yet: index {name} of namespace {namespace} ({percent} %)"));
    }
    if let more @ 1.. = building.len().saturating_sub(NAMED) {
        complain(&format!("not built yet: {} more; --json names all", text::count(more as u64)));
    }
    if !building.is_empty() {
        complain(
            "the servers go on building: nothing needs to be restored again. To wait for it, run the same with \
             --no-records",
        );
    }
}

/// The namespaces that were read back, and what that found.
fn verified(report: &RestoreReport) -> impl Iterator<Item = (&str, &Verification)> {
    report.namespaces.iter().filter_map(|one| Some((one.namespace.as_str(), one.verification.as_ref()?)))
}

fn summary(restored: &Restored<'_>) -> String {
    let (how, report) = (&restored.options.records, restored.report);
    // The name of a column, and whether it is shown.
    let written = if report.dry_run { "would write" } else { "written" };
    let deleted = if report.dry_run { "would delete" } else { "deleted" };
    let columns = [
        ("read", true),
        (written, true),
        ("same", how.resume),
        ("expired", true),
        ("exists", true),
        ("fresher", true),
        ("no bins", how.selection.bins.is_some()),
        ("failed", true),
        (deleted, how.mirror),
    ];
    let shown = |values: [String; 9]| -> Vec<String> {
        values.into_iter().zip(columns).filter(|(_, (_, shown))| *shown).map(|(value, _)| value).collect()
    };
    let numbers = |one: &RestoredNamespace| {
        let RestoredNamespace { read, written, same, expired, exists, fresher, without_bins, failed, deleted, .. } =
            one;
        [read, written, same, expired, exists, fresher, without_bins, failed, deleted].map(|number| *number)
    };
    let row = |name: &str, numbers: [u64; 9]| {
        let mut row = vec![text::safe(name)];
        row.extend(shown(numbers.map(text::count)));
        row
    };
    let mut rows: Vec<_> = report.namespaces.iter().map(|one| row(&one.namespace, numbers(one))).collect();
    if report.namespaces.len() > 1 {
        let mut total = [0; 9];
        for one in &report.namespaces {
            total.iter_mut().zip(numbers(one)).for_each(|(total, number)| *total += number);
        }
        rows.push(row("in all", total));
    }
    let names = shown(columns.map(|(name, _)| name.to_string()));
    let mut header = vec!["namespace"];
    header.extend(names.iter().map(String::as_str));
    let right: Vec<usize> = (1..header.len()).collect();
    let mut lines = vec![text::table(&header, &rows, &right)];
    let not_found: usize = report.namespaces.iter().map(|one| one.not_found.len()).sum();
    if not_found > 0 {
        lines.push(format!("{} not found", text::plural(not_found as u64, "record")));
    }
    let bytes = text::bytes(report.namespaces.iter().map(|one| one.bytes).sum());
    let time = text::millis(report.duration_millis);
    lines.push(match report.dry_run {
        true => format!("dry run: nothing was written into {}; {bytes} of bodies read in {time}", report.target),
        false => format!("restored into {}: {bytes} of bodies in {time}", report.target),
    });
    lines.push(format!("out of {}", restored.from));
    if let Some(file) = &report.failed_to {
        let kept = text::plural(report.kept_failed, "record");
        lines.push(format!("refused {kept}, kept in {file}: aerolith restore jsonl:{file} {}", report.target));
    }
    let verdicts = verified(report).map(|(namespace, compared)| {
        let mut line = format!(
            "read back {namespace}: {} compared, {} missing, {} changed",
            text::plural(compared.records, "record"),
            text::count(compared.missing.len() as u64),
            text::count(compared.changed.len() as u64),
        );
        if !compared.extra.is_empty() {
            line += &format!(", {} not in the snapshot", text::count(compared.extra.len() as u64));
        }
        if compared.expired > 0 {
            line += &format!(", {} expired since", text::count(compared.expired));
        }
        line
    });
    lines.extend(verdicts);
    lines.join("\n")
}
