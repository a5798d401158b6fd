//! `get`: prints one record.

use super::among::Among;
use super::context::{Context, Done};
use super::output::{print_line, print_raw};
use super::{endpoint, select, text};
use crate::error::{Error, Result};
use crate::job::path::key_digest;
use crate::jsonl;
use crate::record::RecordBatch;

/// Print one record of a snapshot
///
/// A key is unique within its set only: name the set that the record is in. A digest finds the record in any set.
/// Lists, maps and HyperLogLog sketches are decoded. --json prints the record as a restore into JSON lines does; for
/// lists, maps and the like it prints their bytes and, in `decoded`, what they hold.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  aerolith get latest:test/users alice
  aerolith get latest:test/users i:42
  aerolith get latest~3:test b:00ff --json
  aerolith get latest:test/users alice --json | jq '.bins[] | {name, value: (if has(\"value\") then .value else .decoded end)}'
  aerolith get latest:test --digest 3570c8f82ab208bf9027e2bf381f63e9d904502a")]
pub struct Args {
    /// SNAPSHOT:NAMESPACE[/SET]; SNAPSHOT is an id or its beginning, latest, latest~N, or @TIME
    snapshot: String,
    /// The record's key: a string (s:STRING if it begins like another form), i:NUMBER or b:HEX
    #[arg(required_unless_present = "digest")]
    key: Option<String>,
    /// The record's digest in hexadecimal
    #[arg(long, value_name = "HEX", conflicts_with = "key")]
    digest: Option<String>,
    #[command(flatten)]
    among: Among,
}

pub fn run(context: &Context, args: Args) -> Result<Done> {
    let path = endpoint::path3(&args.snapshot);
    let Some(namespace) = &path.namespace else {
        return Err(Error::usage(format!("which namespace? Write {}:NAMESPACE[/SET]", path.snapshot)));
    };
    let digest = match (&args.digest, &args.key) {
        (Some(digest), _) => select::parse_digest(digest)?,
        (None, Some(key)) => key_digest(path.set.as_deref().unwrap_or_default(), key)?,
        (None, None) => return Err(Error::usage("which record? Give a KEY or --digest")),
    };
    let snapshot = args.among.open(context, &path.snapshot)?;
    let view = snapshot.namespace(namespace)?;
    let unread = view.manifest().unread_partitions().contains(digest.partition());
    let record = view.get(&digest)?.ok_or_else(|| {
        let advice = match (&args.key, &path.set) {
            _ if unread => format!("Its partition, {}, could not be read by this backup", digest.partition().number()),
            (None, _) => String::new(),
            (_, None) => "No set was named, and keys count within their set: write SNAPSHOT:NAMESPACE/SET".to_string(),
            (_, Some(_)) => "Keys count within their set, and 42 (a string) is another key than i:42".to_string(),
        };
        let place = format!("namespace {namespace} of snapshot {}", snapshot.id());
        let what =
            args.key.as_ref().map(|key| format!(" (key {key:?} of set {:?})", path.set.as_deref().unwrap_or("")));
        Error::not_found(format!("record {digest}{} in {place}", what.unwrap_or_default()), advice)
    })?;
    if let (None, Some(set)) = (&args.key, &path.set)
        && *record.entry.set != *set.as_bytes()
    {
        let found = text::lossy(&record.entry.set);
        return Err(Error::not_found(format!("record {digest} in set {set:?}"), format!("It is in set {found:?}")));
    }
    let mut batch = RecordBatch::new();
    record.push_to(&mut batch)?;
    let Some(view) = batch.get(0) else { return Ok(Done::Whole) };
    let damaged = |error: crate::record::BodyError| Error::damaged(format!("record {digest}"), error.to_string());
    if context.json() {
        let mut line = Vec::new();
        jsonl::write_shown_record(&mut line, namespace, &view).map_err(damaged)?;
        print_raw(String::from_utf8_lossy(&line).trim_end())?;
        return Ok(Done::Whole);
    }
    let body = view.parse().map_err(damaged)?;
    print_line(&format!("digest      {digest}"))?;
    print_line(&format!("set         {}", text::lossy(view.meta.set)))?;
    if let Some(key) = body.key() {
        print_line(&format!("key         {}", text::safe(&text::key(key.particle, key.bytes))))?;
    }
    print_line(&format!("generation  {}", view.meta.generation.0))?;
    print_line(&format!("expires     {}", text::expiry(view.meta.void_time)))?;
    let bins = view.in_source_order(body.bins());
    let rows: Vec<Vec<String>> =
        bins.iter().map(|bin| vec![text::lossy(bin.name), bin.particle.to_string(), "value".into()]).collect();
    print_line("")?;
    // The values stand in the last column, which nothing is flush with.
    for (n, line) in text::table(&["bin", "type", "value"], &rows, &[]).lines().enumerate() {
        let Some(bin) = n.checked_sub(1).and_then(|n| bins.get(n)) else {
            print_line(line)?;
            continue;
        };
        let value = text::shown(bin.particle, bin.bytes);
        print_line(&format!("{}{value}", line.strip_suffix("value").unwrap_or(line)))?;
    }
    Ok(Done::Whole)
}
