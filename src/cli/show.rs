//! `show`: what a snapshot says of itself.

use super::among::Among;
use super::context::Context;
use super::output::print_line;
use super::text;
use crate::error::Result;
use crate::job::{self, Done, IndexReport, NamespaceDetails, NamespaceReport, OriginReport, Privilege, RoleReport};
use crate::job::{SearchReport, SnapshotDetails, SnapshotReport};

/// Show the details of a snapshot: origin, counts, runs, indexes, UDF modules
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  aerolith show latest
  aerolith show @2026-05-01T12:00Z --json")]
pub struct Args {
    /// An id or its beginning, latest, latest~N, or @TIME
    snapshot: String,
    #[command(flatten)]
    among: Among,
}

pub fn run(context: &Context, args: Args) -> Result<Done> {
    let details = job::show(&args.among.open(context, &args.snapshot)?)?;
    if context.json() {
        context.print_json(&details)?
    } else {
        print(&details)?
    }
    Ok(Done::Whole)
}

fn print(details: &SnapshotDetails) -> Result<()> {
    let SnapshotDetails { snapshot, metadata, .. } = details;
    let mut lines = of_snapshot(snapshot);
    for ((namespace, metadata), unread) in snapshot.namespaces.iter().zip(metadata).zip(&details.unread) {
        lines.push(String::new());
        lines.extend(of_namespace(namespace, unread));
        lines.extend(of_metadata(metadata));
    }
    lines.iter().try_for_each(|line| print_line(line.trim_end()))
}

fn of_snapshot(snapshot: &SnapshotReport) -> Vec<String> {
    let mut lines = vec![
        format!("snapshot     {}", snapshot.snapshot),
        format!("started      {}", snapshot.started),
        format!("committed    {}", snapshot.committed),
        format!("written by   {} on {}", snapshot.program, snapshot.host),
        format!("source       {}", text::safe(&snapshot.source)),
        format!("cluster      {}", text::safe(&snapshot.cluster)),
    ];
    if !snapshot.tags.is_empty() {
        lines.push(format!("tags         {}", text::safe(&snapshot.tags.join(", "))));
    }
    if let Some(OriginReport { repository, snapshot, copied_from, copied, .. }) = &snapshot.origin {
        let from = if copied_from == repository { String::new() } else { format!(", from repository {copied_from}") };
        lines.push(format!("copy of      {snapshot} of repository {repository}, made {copied}{from}"));
    }
    let segments = text::plural(u64::from(snapshot.index_segments), "index segment");
    lines.push(format!("stored       {} in packs and {segments}", text::bytes(snapshot.stored_bytes)));
    if let Some(salvage) = &snapshot.salvage {
        let lost = text::plural(salvage.records_lost, "record");
        lines.push(format!("salvage      of {}, made {}; {lost} lost", salvage.original, salvage.made));
    }
    lines.extend(snapshot.missing.iter().map(|missing| format!("missing      {}", text::safe(missing))));
    lines
}

fn of_namespace(namespace: &NamespaceReport, unread: &[String]) -> Vec<String> {
    let mut lines = vec![
        format!("namespace    {}", text::safe(&namespace.namespace)),
        format!("kind         {}", namespace.kind),
        format!("read from    {} by the source's clock", namespace.source_time),
        format!("parent       {}", namespace.parent.as_deref().unwrap_or("none")),
        format!("last full    {}", namespace.full),
    ];
    if !namespace.selection.is_empty() {
        lines.push(format!("selection    {}", text::safe(&namespace.selection)));
    }
    lines.extend(unread.iter().map(|line| format!("not read     {line}")));
    if namespace.deletes_unknown {
        lines.push("deletes      unknown since the last full one".into());
    }
    lines.extend(search(&namespace.search).map(|line| format!("search       {line}")));
    let (records, live) = (text::plural(namespace.live_records, "record"), text::bytes(namespace.live_bytes));
    let reached = text::bytes(namespace.reached_bytes);
    lines.push(format!("holds        {records} of {live}; its value chunks hold {reached}"));
    lines.push(format!("state hash   {}", namespace.state_hash));
    let counts = &namespace.counts;
    let counts = [
        ("read", counts.read),
        ("added", counts.added),
        ("changed", counts.changed),
        ("touched", counts.touched),
        ("healed", counts.healed),
        ("unchanged", counts.unchanged),
        ("deleted", counts.deleted),
        ("moved", counts.moved),
        ("duplicates", counts.duplicates),
        ("bad", counts.bad),
    ];
    let counts: Vec<String> = counts.iter().map(|(what, n)| format!("{} {what}", text::count(*n))).collect();
    lines.push(format!("counts       {}", counts.join(", ")));
    for run in &namespace.runs {
        lines.push(format!(
            "run          {} level {}, {} entries, {} tombstones, {} of tree",
            run.root,
            run.level,
            text::count(run.entries),
            text::count(run.tombstones),
            text::bytes(run.tree_bytes)
        ));
    }
    lines
}

/// How it was found out what is gone.
fn search(search: &SearchReport) -> Option<String> {
    let counted = (search.counted > 0)
        .then(|| format!("{} counted, all records there", text::plural(u64::from(search.counted), "partition")));
    let parts: Vec<String> = counted.into_iter().chain(search.walked.iter().map(text::walked)).collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}

fn of_metadata(metadata: &NamespaceDetails) -> Vec<String> {
    let mut lines = Vec::new();
    lines.extend(metadata.indexes.iter().map(of_index));
    for udf in &metadata.udf_modules {
        let size = text::bytes(udf.bytes as u64);
        lines.push(format!("UDF module   {} ({}), {size}", text::safe(&udf.name), udf.language));
    }
    for role in &metadata.roles {
        lines.push(format!("role         {}: {}", text::safe(&role.name), allowed(role)));
    }
    for user in &metadata.users {
        let roles: Vec<String> = user.roles.iter().map(|role| text::safe(role)).collect();
        lines.push(format!("user         {}: {}", text::safe(&user.name), roles.join(", ")));
    }
    for fact in &metadata.facts {
        let (topic, name) = (text::safe(&fact.topic), text::safe(&fact.name));
        lines.push(format!("{topic:<12} {name} = {}", text::safe(&fact.value)));
    }
    lines
}

/// What a secondary index is on, in a line.
fn of_index(index: &IndexReport) -> String {
    let IndexReport { name, set, bin, context, expression, other, index_type, value_type, .. } = index;
    let on = match (expression, context) {
        (Some(expression), _) => format!("the expression {expression} of "),
        (None, Some(context)) => format!("bin {} at the context {context} of ", text::safe(bin)),
        (None, None) if bin.is_empty() => String::new(),
        (None, None) => format!("bin {} of ", text::safe(bin)),
    };
    let set = if set.is_empty() { "all sets".to_string() } else { format!("set {}", text::safe(set)) };
    let kind = match other {
        Some(other) => text::safe(other),
        None => format!("type {index_type}, values {value_type}"),
    };
    format!("index        {} on {on}{set}, {kind}", text::safe(name))
}

/// What a role allows, in a line.
fn allowed(role: &RoleReport) -> String {
    let privileges = role.privileges.iter().map(|Privilege { privilege, namespace, set, .. }| {
        let scope = [namespace, set].into_iter().flatten().map(|name| format!(" {}", text::safe(name)));
        format!("{privilege}{}", scope.collect::<String>())
    });
    let mut all: Vec<String> = privileges.collect();
    if !role.allow_list.is_empty() {
        let addresses: Vec<String> = role.allow_list.iter().map(|address| text::safe(address)).collect();
        all.push(format!("from {}", addresses.join(" ")));
    }
    for (quota, what) in [(role.read_quota, "reads"), (role.write_quota, "writes")] {
        if quota > 0 {
            all.push(format!("{} {what}/s", text::count(u64::from(quota))));
        }
    }
    all.join(", ")
}
