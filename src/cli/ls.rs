//! `ls`: lists the records of a snapshot.

use super::among::Among;
use super::context::Context;
use super::output::Lines;
use super::text;
use crate::error::Result;
use crate::job::{self, Done, ListedRecord, LsOptions, SnapshotPath};

/// List the records of a snapshot, one per line
///
/// The columns: digest, generation, expiry, size of the body in bytes, namespace/set, key (- if none is stored).
/// Records are listed by partition and digest. Keys are stored in the records themselves, which are read for them;
/// --no-keys is faster.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  aerolith ls latest:test/users
  aerolith ls latest:test/ --no-keys        records without a set
  aerolith ls latest --json | jq -r .digest")]
pub struct Args {
    /// SNAPSHOT[:NAMESPACE[/SET]]; SNAPSHOT is an id or its beginning, latest, latest~N, or @TIME
    snapshot: String,
    /// Leave the keys out
    #[arg(long)]
    no_keys: bool,
    #[command(flatten)]
    among: Among,
}

pub fn run(context: &Context, args: Args) -> Result<Done> {
    let path = SnapshotPath::parse(&args.snapshot);
    let options = LsOptions::new(path).filter(args.among.filter()).keys(!args.no_keys);
    let mut lines = Lines::new();
    let done = job::ls(&context.repository()?, &options, |record| match context.json() {
        true => lines.json(&record),
        false => lines.line(&text::cut(&line(&record), text::WIDEST_LINE)),
    })?;
    lines.finish()?;
    Ok(done)
}

fn line(record: &ListedRecord) -> String {
    format!(
        "{}  {:>5}  {:<20}  {:>9}  {}/{}  {}",
        record.digest,
        record.generation,
        text::expiry(record.expires.as_deref()),
        record.bytes,
        text::safe(&record.namespace),
        text::safe(&record.set),
        text::safe(record.key.as_deref().unwrap_or("-"))
    )
}
