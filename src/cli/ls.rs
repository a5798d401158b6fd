//! `ls`: lists the records of a snapshot.

use super::among::Among;
use super::context::{Context, Done};
use super::output::{Lines, complain, name_damage};
use super::{endpoint, text};
use crate::error::{Error, Result};
use crate::record::Body;
use crate::sources::MetSets;
use serde::Serialize;

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

#[derive(Serialize)]
struct Row<'a> {
    namespace: &'a str,
    digest: String,
    set: String,
    key: Option<String>,
    generation: u32,
    expires: Option<String>,
    bytes: u32,
}

pub fn run(context: &Context, args: Args) -> Result<Done> {
    let path = endpoint::path3(&args.snapshot);
    let snapshot = args.among.open(context, &path.snapshot)?;
    let set = path.set.as_ref().map(|set| set.as_bytes());
    let mut lines = Lines::new();
    let mut done = Done::Whole;
    let mut sets = MetSets::default();
    for name in path.namespaces(&snapshot)? {
        let view = snapshot.namespace(&name)?;
        let mut entries = view.readable_entries()?;
        while let Some(entry) = entries.next()? {
            let Some(live) = entry.live else { continue };
            if let Some(set) = set {
                sets.note(&live.set, *live.set == *set);
                if *live.set != *set {
                    continue;
                }
            }
            let mut key = None;
            if !args.no_keys {
                let read = view.value(&live).and_then(|bytes| {
                    let body = Body::parse(&bytes)
                        .map_err(|error| Error::damaged(format!("record {}", entry.digest), error.to_string()))?;
                    Ok(body.key().map(|key| text::key(key.particle, key.bytes)))
                });
                match read {
                    Ok(found) => key = found,
                    Err(error) if error.is_of_one_object() => {
                        name_damage(&format!("record {}: {error}", entry.digest));
                        done = Done::Damaged;
                    }
                    Err(error) => return Err(error),
                }
            }
            if context.json() {
                lines.json(&Row {
                    namespace: &name,
                    digest: entry.digest.to_string(),
                    set: text::plain(&live.set),
                    key,
                    generation: live.generation.0,
                    expires: text::expires(live.void_time),
                    bytes: live.place.length,
                })?;
            } else {
                let line = format!(
                    "{}  {:>5}  {:<20}  {:>9}  {}/{}  {}",
                    entry.digest,
                    live.generation.0,
                    text::expiry(live.void_time),
                    live.place.length,
                    text::safe(&name),
                    text::lossy(&live.set),
                    text::safe(key.as_deref().unwrap_or("-"))
                );
                lines.line(&text::cut(&line, text::WIDEST_LINE))?;
            }
        }
        for loss in entries.losses().lines() {
            complain(&format!("damaged: namespace {name}: {loss}"));
            done = Done::Damaged;
        }
    }
    lines.finish()?;
    let set = path.set.map(String::into_bytes);
    if let (Done::Whole, [set]) = (&done, &sets.lacking(&set)[..]) {
        return Err(endpoint::no_such_set(set, &snapshot, &sets));
    }
    Ok(done)
}
