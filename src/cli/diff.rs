//! `diff`: what differs between two snapshots.

use super::among::{Among, describe};
use super::context::{Context, Done};
use super::output::{Lines, complain};
use super::{endpoint, schema, text};
use crate::error::{Error, Result};
use crate::record::{Body, BodyError};
use crate::repository::{Change, NamespaceView, Snapshot};
use crate::run::{LiveEntry, Losses};
use serde::Serialize;
use std::collections::BTreeSet;

/// Compare two snapshots, record by record
///
/// A record is added (+), removed (-), changed (!), or only touched (~): another generation or expiry. Behind a changed one
/// stand the bins that differ: +BIN is new, -BIN is gone, BIN has another value. A namespace or set that only one side names
/// counts for both.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  aerolith diff latest~1 latest
  aerolith diff 14ee 1496:test/users --summary
  aerolith diff @2026-05-01 latest --json | jq 'select(.change == \"removed\")'")]
pub struct Args {
    /// The earlier one: SNAPSHOT[:NAMESPACE[/SET]]
    a: String,
    /// The later one: SNAPSHOT[:NAMESPACE[/SET]]
    b: String,
    /// Print the counts alone
    #[arg(long)]
    summary: bool,
    /// Print at most so many records that differ; all are counted
    #[arg(long, value_name = "N", conflicts_with = "summary")]
    limit: Option<u64>,
    #[command(flatten)]
    among: Among,
}

#[derive(Serialize)]
struct Row<'a> {
    kind: &'static str,
    namespace: &'a str,
    digest: String,
    change: &'static str,
    set: String,
    key: Option<String>,
    bins: Vec<String>,
    generation_before: Option<u32>,
    generation_after: Option<u32>,
    expires_before: Option<String>,
    expires_after: Option<String>,
}

#[derive(Default, Serialize)]
struct Summary {
    kind: &'static str,
    before: String,
    after: String,
    added: u64,
    removed: u64,
    changed: u64,
    touched: u64,
}

struct Comparison<'a> {
    context: &'a Context,
    lines: Lines,
    /// Records that may still be printed.
    left: u64,
    summary: Summary,
    damaged: bool,
}

/// The names of the bins that differ between two bodies, and `(key)` if the keys do.
fn differing(before: &Body<'_>, after: &Body<'_>) -> Vec<String> {
    let mut names = Vec::new();
    if before.key() != after.key() {
        names.push("(key)".to_string());
    }
    let all: BTreeSet<&[u8]> = before.bins().iter().chain(after.bins()).map(|bin| bin.name).collect();
    for name in all {
        let of = |body: &Body<'_>| body.bins().iter().position(|bin| bin.name == name);
        let was = of(before).and_then(|at| before.bins().get(at));
        let is = of(after).and_then(|at| after.bins().get(at));
        match (was, is) {
            (None, _) => names.push(format!("+{}", text::plain(name))),
            (_, None) => names.push(format!("-{}", text::plain(name))),
            (was, is) if was != is => names.push(text::plain(name)),
            _ => {}
        }
    }
    names
}

impl Comparison<'_> {
    fn each(
        &mut self,
        name: &str,
        views: [Option<&NamespaceView<'_>>; 2],
        sets: [Option<&str>; 2],
        change: Change,
    ) -> Result<()> {
        let [before_set, after_set] = sets;
        let within = |entry: &LiveEntry, set: Option<&str>| set.is_none_or(|set| *entry.set == *set.as_bytes());
        let before = change.before.filter(|entry| within(entry, before_set));
        let after = change.after.filter(|entry| within(entry, after_set));
        let (word, sign) = match (&before, &after) {
            (None, None) => return Ok(()),
            (None, Some(_)) => ("added", '+'),
            (Some(_), None) => ("removed", '-'),
            (Some(was), Some(is)) if was.hash == is.hash => ("touched", '~'),
            (Some(_), Some(_)) => ("changed", '!'),
        };
        match sign {
            '+' => self.summary.added += 1,
            '-' => self.summary.removed += 1,
            '~' => self.summary.touched += 1,
            _ => self.summary.changed += 1,
        }
        if self.left == 0 {
            return Ok(());
        }
        self.left -= 1;
        let damaged = &mut self.damaged;
        let mut read = |view: Option<&NamespaceView<'_>>, entry: Option<&LiveEntry>| match (view, entry) {
            (Some(view), Some(entry)) => match view.value(entry) {
                Err(error) if error.is_of_one_object() => {
                    eprintln!("damaged: record {}: {error}", change.digest);
                    *damaged = true;
                    Ok(None)
                }
                value => value.map(Some),
            },
            _ => Ok(None),
        };
        let [before_view, after_view] = views;
        // One body is enough for the key, unless the bodies differ.
        let after_bytes = read(after_view, after.as_ref())?;
        let before_bytes = if sign == '~' { None } else { read(before_view, before.as_ref())? };
        let damaged = |error: BodyError| Error::damaged(format!("record {}", change.digest), error.to_string());
        let was = before_bytes.as_deref().map(Body::parse).transpose().map_err(damaged)?;
        let is = after_bytes.as_deref().map(Body::parse).transpose().map_err(damaged)?;
        let bins = match (&was, &is) {
            (Some(was), Some(is)) => differing(was, is),
            _ => Vec::new(),
        };
        let key = is.as_ref().or(was.as_ref()).and_then(|body| body.key());
        let key = key.map(|key| text::key(key.particle, key.bytes));
        let set = after.as_ref().or(before.as_ref()).map(|entry| text::plain(&entry.set)).unwrap_or_default();
        if self.context.json() {
            return self.lines.json(&Row {
                kind: "change",
                namespace: name,
                digest: change.digest.to_string(),
                change: word,
                set,
                key,
                bins,
                generation_before: before.as_ref().map(|entry| entry.generation.0),
                generation_after: after.as_ref().map(|entry| entry.generation.0),
                expires_before: before.and_then(|entry| text::expires(entry.void_time)),
                expires_after: after.and_then(|entry| text::expires(entry.void_time)),
            });
        }
        let key = key.unwrap_or_else(|| "-".into());
        let line = format!("{sign} {}  {name}/{set}  {key}  {}", change.digest, bins.join(" "));
        self.lines.line(&text::safe(line.trim_end()))
    }

    /// All records of a namespace that one side lacks.
    fn whole(&mut self, name: &str, view: &NamespaceView<'_>, sets: [Option<&str>; 2], added: bool) -> Result<()> {
        let mut entries = view.readable_entries()?;
        while let Some(entry) = entries.next()? {
            let (digest, live) = (entry.digest, entry.live);
            if added {
                self.each(name, [None, Some(view)], sets, Change { digest, before: None, after: live })?;
            } else {
                self.each(name, [Some(view), None], sets, Change { digest, before: live, after: None })?;
            }
        }
        self.tell(name, &entries.losses());
        Ok(())
    }

    fn tell(&mut self, name: &str, losses: &Losses) {
        for loss in losses.lines() {
            complain(&format!("damaged: namespace {name}: {loss}"));
            self.damaged = true;
        }
    }
}

pub fn run(context: &Context, args: Args) -> Result<Done> {
    let (mut a, mut b) = (endpoint::path3(&args.a), endpoint::path3(&args.b));
    let (given_a, given_b) = (a.clone(), b.clone());
    for (one, other) in [(given_a, &mut b), (given_b, &mut a)] {
        if other.namespace.is_none() {
            other.namespace = one.namespace;
            other.set = one.set;
        } else if other.set.is_none() && one.set.is_some() {
            other.set = one.set;
        }
    }
    let repository = context.repository()?;
    let chunks = repository.chunk_reader()?;
    let open = |spec: &str| -> Result<Snapshot> {
        let manifest = args.among.open_in(&repository, spec)?.manifest().clone();
        Ok(repository.open_snapshot(&chunks, manifest))
    };
    let (first, second) = (open(&a.snapshot)?, open(&b.snapshot)?);
    if !context.quiet() {
        let (first, second) = (first.manifest(), second.manifest());
        complain(&format!("from {} to {}", describe(first), describe(second)));
    }
    let pairs: Vec<(String, String)> = match (&a.namespace, &b.namespace) {
        (Some(a), Some(b)) => vec![(a.clone(), b.clone())],
        _ => {
            let all = first.manifest().namespaces.iter().chain(&second.manifest().namespaces);
            let names: BTreeSet<&String> = all.map(|namespace| &namespace.name).collect();
            names.into_iter().map(|name| (name.clone(), name.clone())).collect()
        }
    };
    let named = a.namespace.is_some();
    let sets = [a.set.as_deref(), b.set.as_deref()];
    let left = if args.summary { 0 } else { args.limit.unwrap_or(u64::MAX) };
    let mut comparison = Comparison { context, lines: Lines::new(), left, summary: Summary::default(), damaged: false };
    comparison.summary.kind = "summary";
    comparison.summary.before = first.id().to_string();
    comparison.summary.after = second.id().to_string();
    for (before, after) in &pairs {
        // A namespace that was named must be there.
        let there = |snapshot: &Snapshot, name: &str| named || snapshot.manifest().namespace(name).is_some();
        match (there(&first, before), there(&second, after)) {
            (true, true) => {
                let (was, is) = (first.namespace(before)?, second.namespace(after)?);
                let losses =
                    was.diff(&is, &mut |change| comparison.each(after, [Some(&was), Some(&is)], sets, change))?;
                comparison.tell(after, &losses);
                for (snapshot, view) in [(&first, &was), (&second, &is)] {
                    for line in schema::unread(view.manifest()) {
                        complain(&format!("snapshot {}, namespace {}: {line}", snapshot.id(), view.manifest().name));
                    }
                }
            }
            (true, false) => comparison.whole(before, &first.namespace(before)?, sets, false)?,
            (false, _) => comparison.whole(after, &second.namespace(after)?, sets, true)?,
        }
    }
    let Summary { added, removed, changed, touched, .. } = comparison.summary;
    if context.json() {
        comparison.lines.json(&comparison.summary)?;
    } else {
        let [added, removed, changed, touched] = [added, removed, changed, touched].map(text::count);
        comparison.lines.line(&format!("{added} added, {removed} removed, {changed} changed, {touched} touched"))?;
    }
    let done = if comparison.damaged { Done::Damaged } else { Done::Whole };
    comparison.lines.finish()?;
    Ok(done)
}
