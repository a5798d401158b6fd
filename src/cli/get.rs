//! `get`: prints one record.

use super::context::{Context, Done, print_line};
use super::{endpoint, restore, text};
use crate::error::{Error, Result};
use crate::jsonl;
use crate::record::RecordBatch;

/// Print one record of a snapshot
///
/// Example: aerolith get latest:test/users i:42
#[derive(clap::Args)]
pub struct Args {
    /// SNAPSHOT:NAMESPACE[/SET]
    snapshot: String,
    /// The record's key: a string, i:NUMBER or b:HEX
    #[arg(required_unless_present = "digest")]
    key: Option<String>,
    /// The record's digest in hexadecimal
    #[arg(long, value_name = "HEX", conflicts_with = "key")]
    digest: Option<String>,
}

pub fn run(context: &Context, args: Args) -> Result<Done> {
    let path = endpoint::path3(&args.snapshot);
    let Some(namespace) = &path.namespace else {
        return Err(Error::invalid("which namespace? Write SNAPSHOT:NAMESPACE[/SET]"));
    };
    let digest = match (&args.digest, &args.key) {
        (Some(digest), _) => restore::parse_digest(digest)?,
        (None, Some(key)) => restore::key_digest(path.set.as_deref().unwrap_or_default(), key)?,
        (None, None) => return Err(Error::invalid("which record? Give a KEY or --digest")),
    };
    let snapshot = context.repository()?.snapshot(&path.snapshot)?;
    let record = snapshot.namespace(namespace)?.get(&digest)?.ok_or_else(|| {
        let advice = format!("Snapshot {} has no live record of it in namespace {namespace}", snapshot.id());
        Error::not_found(format!("record {digest}"), advice)
    })?;
    let mut batch = RecordBatch::new();
    record.push_to(&mut batch)?;
    let Some(view) = batch.get(0) else { return Ok(Done::Whole) };
    let damaged = |error: crate::record::BodyError| Error::damaged(format!("record {digest}"), error.to_string());
    if context.json() {
        let mut line = Vec::new();
        jsonl::write_record(&mut line, namespace, &view).map_err(damaged)?;
        print_line(String::from_utf8_lossy(&line).trim_end())?;
        return Ok(Done::Whole);
    }
    let body = view.parse().map_err(damaged)?;
    print_line(&format!("digest      {digest}"))?;
    print_line(&format!("set         {}", text::lossy(view.meta.set)))?;
    if let Some(key) = body.key() {
        print_line(&format!("key         {}", text::particle(key.particle, key.bytes)))?;
    }
    print_line(&format!("generation  {}", view.meta.generation.0))?;
    print_line(&format!("expires     {}", text::expiry(view.meta.void_time)))?;
    let rows: Vec<Vec<String>> = view
        .in_source_order(body.bins())
        .into_iter()
        .map(|bin| vec![text::lossy(bin.name), bin.particle.to_string(), text::particle(bin.particle, bin.bytes)])
        .collect();
    print_line("")?;
    print_line(&text::table(&["bin", "type", "value"], &rows, &[]))?;
    Ok(Done::Whole)
}
