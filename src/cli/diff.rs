//! `diff`: what differs between two snapshots.

use super::among::{Among, describe, parts};
use super::context::{Context, Done};
use super::output::{Lines, complain, name_damage};
use super::{endpoint, text};
use crate::error::{Error, Result};
use crate::job;
use crate::jsonl;
use crate::record::{Body, BodyError, ParticleType};
use crate::repository::{Change, NamespaceView, Snapshot};
use crate::run::{LiveEntry, Losses};
use crate::sources::MetSets;
use serde::Serialize;
use serde_json::value::RawValue;
use std::collections::BTreeSet;

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

#[derive(Serialize)]
struct Row<'a> {
    kind: &'static str,
    namespace: &'a str,
    digest: String,
    change: &'static str,
    set: String,
    key: Option<String>,
    bins: Vec<String>,
    values: Option<Vec<Values<'a>>>,
    generation_before: Option<u32>,
    generation_after: Option<u32>,
    expires_before: Option<String>,
    expires_after: Option<String>,
}

/// Both values of a bin.
#[derive(Serialize)]
struct Values<'a> {
    name: &'a str,
    before: Option<Box<RawValue>>,
    after: Option<Box<RawValue>>,
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
    /// Whether values are printed.
    values: bool,
    summary: Summary,
    damaged: bool,
}

/// A key or bin that differs between two bodies.
struct Difference<'a> {
    /// The bin's name as it is shown, `(key)` for the key.
    name: String,
    before: Option<Particle<'a>>,
    after: Option<Particle<'a>>,
}

/// A value's type and bytes.
type Particle<'a> = (ParticleType, &'a [u8]);

impl Difference<'_> {
    /// The name after a sign: +NAME is new, -NAME is gone, NAME has another value.
    fn signed(&self) -> String {
        match (&self.before, &self.after) {
            (None, _) if self.name != KEY => format!("+{}", self.name),
            (_, None) if self.name != KEY => format!("-{}", self.name),
            _ => self.name.clone(),
        }
    }

    fn to_json(&self) -> Result<Values<'_>> {
        let shown = |value: Option<Particle<'_>>| {
            let Some((particle, bytes)) = value else { return Ok(None) };
            let mut json = Vec::new();
            jsonl::write_shown_value(&mut json, particle, bytes);
            let fault = |error: String| Error::invalid(format!("cannot print the value of {}: {error}", self.name));
            let json = String::from_utf8(json).map_err(|error| fault(error.to_string()))?;
            RawValue::from_string(json).map(Some).map_err(|error| fault(error.to_string()))
        };
        Ok(Values { name: &self.name, before: shown(self.before)?, after: shown(self.after)? })
    }
}

/// What stands for the key among the names of bins.
const KEY: &str = "(key)";

/// What differs between two bodies: the key, then bins by name.
fn differences<'a>(before: &Body<'a>, after: &Body<'a>) -> Vec<Difference<'a>> {
    let mut all = Vec::new();
    if before.key() != after.key() {
        let [before, after] = [before, after].map(|body| body.key().map(|key| (key.particle, key.bytes)));
        all.push(Difference { name: KEY.into(), before, after });
    }
    let names: BTreeSet<&[u8]> = before.bins().iter().chain(after.bins()).map(|bin| bin.name).collect();
    for name in names {
        let of = |body: &Body<'a>| {
            let place = body.bins().binary_search_by_key(&name, |bin| bin.name).ok()?;
            body.bins().get(place).map(|bin| (bin.particle, bin.bytes))
        };
        let (before, after) = (of(before), of(after));
        if before != after {
            all.push(Difference { name: text::plain(name), before, after });
        }
    }
    all
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
                    name_damage(&format!("record {}: {error}", change.digest));
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
            (Some(was), Some(is)) => differences(was, is),
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
                bins: bins.iter().map(Difference::signed).collect(),
                values: self.values.then(|| bins.iter().map(Difference::to_json).collect()).transpose()?,
                generation_before: before.as_ref().map(|entry| entry.generation.0),
                generation_after: after.as_ref().map(|entry| entry.generation.0),
                expires_before: before.and_then(|entry| text::expires(entry.void_time)),
                expires_after: after.and_then(|entry| text::expires(entry.void_time)),
            });
        }
        let key = key.unwrap_or_else(|| "-".into());
        let names: Vec<String> = bins.iter().map(Difference::signed).collect();
        let line = format!("{sign} {}  {name}/{set}  {key}  {}", change.digest, names.join(" "));
        self.lines.line(&text::cut(&text::safe(line.trim_end()), text::WIDEST_LINE))?;
        for Difference { name, before, after } in bins.iter().filter(|_| self.values) {
            for (sign, value) in [('-', before), ('+', after)] {
                let Some((particle, bytes)) = value else { continue };
                let value = text::shown(*particle, bytes);
                self.lines.line(&format!("    {sign} {}  {particle}  {value}", text::safe(name)))?;
            }
        }
        Ok(())
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

/// Refuses a set that was named and that neither of the snapshots has; where each side names its own, that one must
/// have it.
fn check_sets(snapshots: [&Snapshot; 2], pairs: &[(String, String)], sets: [Option<&str>; 2]) -> Result<()> {
    let mut sides = Vec::new();
    for (place, (snapshot, set)) in snapshots.into_iter().zip(sets).enumerate() {
        let Some(set) = set else { continue };
        let wanted = BTreeSet::from([set.as_bytes().to_vec()]);
        let mut met = MetSets::default();
        for (before, after) in pairs {
            let name = if place == 0 { before } else { after };
            if snapshot.manifest().namespace(name).is_some() {
                met.add(snapshot.namespace(name)?.look_for_sets(&wanted)?);
            }
        }
        let found = met.lacking(&wanted).is_empty();
        sides.push((found, endpoint::no_such_set(set.as_bytes(), snapshot, &met)));
    }
    let same = sets[0] == sets[1];
    if same && sides.iter().any(|(found, _)| *found) {
        return Ok(());
    }
    sides.into_iter().try_for_each(|(found, error)| if found { Ok(()) } else { Err(error) })
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
    let pairs: Vec<(String, String)> = match (&a.namespace, &b.namespace) {
        (Some(a), Some(b)) => {
            // A namespace that was named must be there.
            first.namespace(a)?;
            second.namespace(b)?;
            vec![(a.clone(), b.clone())]
        }
        _ => {
            let all = first.manifest().namespaces.iter().chain(&second.manifest().namespaces);
            let names: BTreeSet<&String> = all.map(|namespace| &namespace.name).collect();
            names.into_iter().map(|name| (name.clone(), name.clone())).collect()
        }
    };
    let sets = [a.set.as_deref(), b.set.as_deref()];
    check_sets([&first, &second], &pairs, sets)?;
    if !context.quiet() {
        let (first, second) = (first.manifest(), second.manifest());
        complain(&format!("from {} to {}", describe(first), describe(second)));
    }
    for (snapshot, side) in [(&first, &a), (&second, &b)] {
        parts(snapshot.manifest(), side.namespace.as_deref()).iter().for_each(|line| complain(line));
    }
    let left = if args.summary { 0 } else { args.limit.unwrap_or(u64::MAX) };
    let (summary, values) = (Summary::default(), args.values);
    let mut comparison = Comparison { context, lines: Lines::new(), left, values, summary, damaged: false };
    comparison.summary.kind = "summary";
    comparison.summary.before = first.id().to_string();
    comparison.summary.after = second.id().to_string();
    for (before, after) in &pairs {
        let there = |snapshot: &Snapshot, name: &str| snapshot.manifest().namespace(name).is_some();
        match (there(&first, before), there(&second, after)) {
            // Records of different sets are different records: each side has its own.
            (true, true) if sets[0] != sets[1] => {
                comparison.whole(before, &first.namespace(before)?, sets, false)?;
                comparison.whole(after, &second.namespace(after)?, sets, true)?;
            }
            (true, true) => {
                let (was, is) = (first.namespace(before)?, second.namespace(after)?);
                let mut diff = was.diff(&is)?;
                for change in &mut diff {
                    comparison.each(after, [Some(&was), Some(&is)], sets, change?)?;
                }
                comparison.tell(after, &diff.losses());
                for (snapshot, view) in [(&first, &was), (&second, &is)] {
                    for line in job::unread(view.manifest()) {
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
