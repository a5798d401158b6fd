//! `diff`: what differs between two snapshots.

use super::among::{Among, describe, parts};
use super::context::Context;
use super::output::{Lines, complain};
use super::text;
use crate::error::Result;
use crate::job::{self, ChangeKind, DiffOptions, Done, RecordChange, SnapshotPath};

/// Compare two snapshots, record by record
///
/// A record is added (+), removed (-), changed (!), or only touched (~): another generation or expiry. A changed
/// record is followed by the bins that differ: +BIN is new, -BIN is gone, BIN has another value. If only one side
/// names a namespace or set, it applies to both.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  aerolith diff latest~1 latest
  aerolith diff 14ee 1496:test/users --summary
  aerolith diff latest~1 latest:test/users --values
  aerolith diff @2026-05-01 latest --json | jq 'select(.change == \"removed\")'")]
pub struct Args {
    /// The earlier one: SNAPSHOT[:NAMESPACE[/SET]]
    a: String,
    /// The later one: SNAPSHOT[:NAMESPACE[/SET]]
    b: String,
    /// Print only the counts
    #[arg(long)]
    summary: bool,
    /// Print at most N records that differ; all are counted
    #[arg(long, value_name = "N", conflicts_with = "summary")]
    limit: Option<u64>,
    /// Print both values of each bin that differs: - before, + after
    #[arg(long, conflicts_with = "summary")]
    values: bool,
    #[command(flatten)]
    among: Among,
}

pub fn run(context: &Context, args: Args) -> Result<Done> {
    let limit = if args.summary { Some(0) } else { args.limit };
    let options = DiffOptions::new(SnapshotPath::parse(&args.a), SnapshotPath::parse(&args.b));
    let options = options.filter(args.among.filter()).limit(limit).values(args.values);
    let diff = job::diff(&context.repository()?, &options)?;
    let (before, after) = (diff.before().manifest(), diff.after().manifest());
    if !context.quiet() {
        complain(&format!("from {} to {}", describe(before), describe(after)));
    }
    for (manifest, path) in [(before, &diff.options().before), (after, &diff.options().after)] {
        parts(manifest, path.namespace.as_deref()).iter().for_each(|line| complain(line));
    }
    let mut lines = Lines::new();
    let summary = diff.run(|change| match context.json() {
        true => lines.json(&change),
        false => print(&change, &mut lines),
    })?;
    if context.json() {
        lines.json(&summary)?;
    } else {
        let counts = [summary.added, summary.removed, summary.changed, summary.touched];
        let [added, removed, changed, touched] = counts.map(text::count);
        lines.line(&format!("{added} added, {removed} removed, {changed} changed, {touched} touched"))?;
    }
    lines.finish()?;
    Ok(summary.done())
}

fn print(change: &RecordChange, lines: &mut Lines) -> Result<()> {
    let sign = match change.change {
        ChangeKind::Added => '+',
        ChangeKind::Removed => '-',
        ChangeKind::Touched => '~',
        ChangeKind::Changed => '!',
    };
    let RecordChange { digest, namespace, set, key, bins, .. } = change;
    let key = key.as_deref().unwrap_or("-");
    let line = format!("{sign} {digest}  {namespace}/{set}  {key}  {}", bins.join(" "));
    lines.line(&text::cut(&text::safe(line.trim_end()), text::WIDEST_LINE))?;
    for values in change.values.iter().flatten() {
        for (sign, value) in [('-', &values.before), ('+', &values.after)] {
            let Some(value) = value else { continue };
            let (name, particle) = (text::safe(&values.name), value.particle);
            lines.line(&format!("    {sign} {name}  {particle}  {}", text::shown(particle, &value.bytes)))?;
        }
    }
    Ok(())
}
