//! `show`: what a snapshot says of itself.

use super::context::{Context, Done, print_line};
use super::text;
use crate::error::Result;
use crate::format::snapshot::Counts;
use crate::record::NamespaceMetadata;
use crate::repository::NamespaceView;
use serde::Serialize;

/// Show the details of a snapshot
///
/// Example: aerolith show latest
#[derive(clap::Args)]
pub struct Args {
    /// An id or its beginning, latest, latest~N, or @TIME
    pub(super) snapshot: String,
}

#[derive(Serialize)]
struct Output {
    snapshot: String,
    started: u64,
    sealed: u64,
    host: String,
    program: String,
    source: String,
    cluster: String,
    tags: Vec<String>,
    seen: Vec<String>,
    index_segments: u32,
    stored_bytes: u64,
    missing: Vec<String>,
    namespaces: Vec<NamespaceOutput>,
}

#[derive(Serialize)]
struct NamespaceOutput {
    namespace: String,
    kind: String,
    source_time: u64,
    parent: Option<String>,
    full: String,
    deletes_unknown: bool,
    live_records: u64,
    live_bytes: u64,
    reached_bytes: u64,
    state_hash: String,
    counts: Counts,
    runs: Vec<RunOutput>,
    indexes: Vec<IndexOutput>,
    udfs: Vec<UdfOutput>,
}

#[derive(Serialize)]
struct RunOutput {
    root: String,
    level: u8,
    entries: u64,
    tombstones: u64,
    tree_bytes: u64,
}

#[derive(Serialize)]
struct IndexOutput {
    name: String,
    set: String,
    bin: String,
    index_type: String,
    value_type: String,
}

#[derive(Serialize)]
struct UdfOutput {
    name: String,
    language: String,
    bytes: usize,
}

fn namespace(view: &NamespaceView<'_>) -> Result<NamespaceOutput> {
    let manifest = view.manifest();
    let NamespaceMetadata { indexes, udfs } = view.metadata()?;
    let runs = manifest.runs.iter().map(|run| RunOutput {
        root: run.root.to_string(),
        level: run.level,
        entries: run.entries,
        tombstones: run.tombstones,
        tree_bytes: run.tree_bytes,
    });
    let indexes = indexes.iter().map(|index| IndexOutput {
        name: text::lossy(&index.name),
        set: text::lossy(&index.set),
        bin: text::lossy(&index.bin),
        index_type: text::lossy(&[index.kind]),
        value_type: text::lossy(&[index.value]),
    });
    let udfs = udfs.iter().map(|udf| UdfOutput {
        name: text::lossy(&udf.name),
        language: text::lossy(&[udf.kind]),
        bytes: udf.content.len(),
    });
    Ok(NamespaceOutput {
        namespace: manifest.name.clone(),
        kind: manifest.kind.to_string(),
        source_time: manifest.source_time,
        parent: manifest.parent.map(|id| id.to_string()),
        full: manifest.full.to_string(),
        deletes_unknown: manifest.deletes_unknown,
        live_records: manifest.live_records,
        live_bytes: manifest.live_bytes,
        reached_bytes: manifest.reached_bytes,
        state_hash: hex::encode(manifest.state_hash),
        counts: manifest.counts,
        runs: runs.collect(),
        indexes: indexes.collect(),
        udfs: udfs.collect(),
    })
}

pub fn run(context: &Context, args: Args) -> Result<Done> {
    let snapshot = context.repository()?.snapshot(&args.snapshot)?;
    let manifest = snapshot.manifest();
    let output = Output {
        snapshot: manifest.id.to_string(),
        started: manifest.started,
        sealed: manifest.sealed,
        host: manifest.host.clone(),
        program: manifest.program.clone(),
        source: manifest.source.clone(),
        cluster: manifest.cluster.clone(),
        tags: manifest.tags.clone(),
        seen: manifest.seen.iter().map(ToString::to_string).collect(),
        index_segments: manifest.index_segments,
        stored_bytes: manifest.stored_bytes,
        missing: manifest.missing.clone(),
        namespaces: snapshot.namespaces().map(|view| namespace(&view)).collect::<Result<_>>()?,
    };
    if context.json() {
        context.print_json(&output)?
    } else {
        print(&output)?
    }
    Ok(Done::Whole)
}

fn print(output: &Output) -> Result<()> {
    let took = text::millis(output.sealed.saturating_sub(output.started));
    let mut lines = vec![
        format!("snapshot     {}", output.snapshot),
        format!("started      {}", text::time(output.started)),
        format!("sealed       {} after {took}", text::time(output.sealed)),
        format!("written by   {} on {}", output.program, output.host),
        format!("source       {}", output.source),
        format!("cluster      {}", output.cluster),
        format!("tags         {}", output.tags.join(", ")),
        format!(
            "stored       {} in packs and {} index segments",
            text::bytes(output.stored_bytes),
            output.index_segments
        ),
    ];
    lines.extend(output.missing.iter().map(|missing| format!("missing      {missing}")));
    for namespace in &output.namespaces {
        let parent = namespace.parent.as_deref().unwrap_or("none");
        lines.push(String::new());
        lines.push(format!("namespace    {}", namespace.namespace));
        lines.push(format!("kind         {}", namespace.kind));
        lines.push(format!("read from    {} by the source's clock", text::time(namespace.source_time)));
        lines.push(format!("parent       {parent}"));
        lines.push(format!("last full    {}", namespace.full));
        if namespace.deletes_unknown {
            lines.push("deletes      unknown since the parent".into());
        }
        let (records, live) = (text::count(namespace.live_records), text::bytes(namespace.live_bytes));
        lines.push(format!(
            "records      {records} of {live}; its value chunks hold {}",
            text::bytes(namespace.reached_bytes)
        ));
        lines.push(format!("state hash   {}", namespace.state_hash));
        let counts = &namespace.counts;
        let counts = [
            ("read", counts.read),
            ("added", counts.added),
            ("changed", counts.changed),
            ("touched", counts.touched),
            ("unchanged", counts.unchanged),
            ("deleted", counts.deleted),
            ("healed", counts.healed),
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
        for index in &namespace.indexes {
            let IndexOutput { name, set, bin, index_type, value_type } = index;
            lines.push(format!(
                "index        {name} on bin {bin} of set {set:?}, type {index_type}, values {value_type}"
            ));
        }
        for udf in &namespace.udfs {
            lines.push(format!("UDF module   {} ({}), {}", udf.name, udf.language, text::bytes(udf.bytes as u64)));
        }
    }
    lines.iter().try_for_each(|line| print_line(line.trim_end()))
}
