//! `get`: prints one record.

use super::among::Among;
use super::context::Context;
use super::output::print_line;
use super::text;
use crate::error::{Error, Result};
use crate::job::{self, Done, FoundRecord, GetOptions, SnapshotPath};

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
  aerolith get latest:test/users alice --json | jq '.bins[] | {name, value, decoded}'
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
    let path = SnapshotPath::parse(&args.snapshot);
    let options = match (&args.digest, &args.key) {
        (Some(digest), _) => GetOptions::by_digest(path, digest)?,
        (None, Some(key)) => GetOptions::by_key(path, key)?,
        (None, None) => return Err(Error::usage("which record? Give a KEY or --digest")),
    };
    let found = job::get(&context.repository()?, &options.filter(args.among.filter()))?;
    if context.json() {
        context.print_json(&found)?
    } else {
        print(&found)?
    }
    Ok(Done::Whole)
}

fn print(found: &FoundRecord) -> Result<()> {
    let record = &found.record;
    let body = record.parse()?;
    print_line(&format!("digest      {}", record.digest))?;
    print_line(&format!("set         {}", text::lossy(record.set())))?;
    if let Some(key) = body.key() {
        print_line(&format!("key         {}", text::safe(&text::key(key.particle, key.bytes))))?;
    }
    print_line(&format!("generation  {}", record.entry.generation.0))?;
    let expires = text::expires(record.entry.void_time);
    print_line(&format!("expires     {}", text::expiry(expires.as_deref())))?;
    let bins = found.bins()?;
    let rows: Vec<Vec<String>> =
        bins.iter().map(|bin| vec![text::lossy(bin.name), bin.particle.to_string(), "value".into()]).collect();
    print_line("")?;
    // The values are in the last column, which nothing is flush with.
    for (n, line) in text::table(&["bin", "type", "value"], &rows, &[]).lines().enumerate() {
        let Some(bin) = n.checked_sub(1).and_then(|n| bins.get(n)) else {
            print_line(line)?;
            continue;
        };
        let value = text::shown(bin.particle, bin.bytes);
        print_line(&format!("{}{value}", line.strip_suffix("value").unwrap_or(line)))?;
    }
    Ok(())
}
