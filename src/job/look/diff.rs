//! Compares two snapshots, record by record.

use crate::error::{Error, Result};
use crate::format::snapshot::Manifest;
use crate::job::path::no_such_set;
use crate::job::report::unread;
use crate::job::{Done, SnapshotPath, text};
use crate::jsonl;
use crate::record::{Body, BodyError, Digest, ParticleType};
use crate::repository::{Change, NamespaceView, Repository, Snapshot, SnapshotFilter};
use crate::run::{LiveEntry, Losses};
use crate::setters::setters;
use crate::sources::MetSets;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use std::collections::BTreeSet;

/// What [`diff`] compares, and what it tells.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DiffOptions {
    /// The earlier snapshot, or a part of it. A namespace or set that only one side names applies to both.
    pub before: SnapshotPath,
    /// The later one.
    pub after: SnapshotPath,
    /// Snapshots that are not named by their ids are looked for among these.
    pub filter: SnapshotFilter,
    /// The most records that are handed on; all are counted.
    pub limit: Option<u64>,
    /// Whether both values of each bin that differs are handed on.
    pub values: bool,
}

setters!(DiffOptions { filter: SnapshotFilter, values: bool } into { limit: Option<u64> });

impl DiffOptions {
    /// Compares these; all records that differ are handed on, without their values.
    pub fn new(before: SnapshotPath, after: SnapshotPath) -> Self {
        let (mut before, mut after) = (before, after);
        let (given_before, given_after) = (before.clone(), after.clone());
        for (one, other) in [(given_before, &mut after), (given_after, &mut before)] {
            if other.namespace.is_none() {
                other.namespace = one.namespace;
                other.set = one.set;
            } else if other.set.is_none() && one.set.is_some() {
                other.set = one.set;
            }
        }
        DiffOptions { before, after, filter: SnapshotFilter::default(), limit: None, values: false }
    }
}

/// A record that differs.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct RecordChange {
    /// `change`.
    pub kind: &'static str,
    /// The name of its namespace.
    pub namespace: String,
    /// Its digest.
    pub digest: String,
    /// How it differs.
    pub change: ChangeKind,
    /// The name of its set; empty if it has none.
    pub set: String,
    /// Its key; `null` if none is stored or could be read.
    pub key: Option<String>,
    /// If it changed: `NAME` differs, `+NAME` is new, `-NAME` is gone, `(key)`: the key differs.
    pub bins: Vec<String>,
    /// With `--values`, both values of each of these bins, else `null`.
    pub values: Option<Vec<ChangedValue>>,
    /// Its generation in the earlier snapshot; `null` if it isn't there.
    pub generation_before: Option<u32>,
    /// Its generation in the later one; `null` if it isn't there.
    pub generation_after: Option<u32>,
    /// When it expires in the earlier snapshot; `null` for never, and if it isn't there.
    pub expires_before: Option<String>,
    /// When it expires in the later one; `null` for never, and if it isn't there.
    pub expires_after: Option<String>,
}

/// How a record differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum ChangeKind {
    /// Only the later snapshot has it.
    Added,
    /// Only the earlier snapshot has it.
    Removed,
    /// Its bins, its key or its set differ.
    Changed,
    /// Only its generation or expiry differs, or the order of its bins.
    Touched,
}

/// Both values of a bin, or of the key.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ChangedValue {
    /// The name of the bin, or `(key)`.
    pub name: String,
    /// The value in the earlier snapshot, as `get` prints a bin, without its name; `null` if there is none.
    pub before: Option<BinValue>,
    /// The value in the later one; `null` if there is none.
    pub after: Option<BinValue>,
}

/// A value. It is serialized as JSON lines have it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BinValue {
    /// Its type.
    pub particle: ParticleType,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

impl Serialize for BinValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut json = Vec::new();
        jsonl::write_shown_value(&mut json, self.particle, &self.bytes);
        let json = String::from_utf8(json).map_err(serde::ser::Error::custom)?;
        RawValue::from_string(json).map_err(serde::ser::Error::custom)?.serialize(serializer)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for BinValue {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "BinValue".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "object" })
    }
}

/// How many records differ.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct DiffSummary {
    /// `summary`.
    pub kind: &'static str,
    /// The id of the earlier snapshot.
    pub before: String,
    /// The id of the later one.
    pub after: String,
    /// How many records only the later one has.
    pub added: u64,
    /// How many only the earlier one has.
    pub removed: u64,
    /// Of how many bins, key or set differ.
    pub changed: u64,
    /// Of how many only generation, expiry or order of bins differ.
    pub touched: u64,
    #[serde(skip)]
    damaged: bool,
}

impl DiffSummary {
    /// How the comparison ended.
    pub fn done(&self) -> Done {
        if self.damaged { Done::Damaged } else { Done::Whole }
    }
}

/// Two snapshots that are open, to be compared.
pub struct SnapshotDiff {
    options: DiffOptions,
    before: Snapshot,
    after: Snapshot,
    /// The names of the namespaces that are compared, in both.
    pairs: Vec<(String, String)>,
}

/// Opens two snapshots, which [`SnapshotDiff::run`] then compares.
///
/// # Errors
///
/// If there is no such snapshot, namespace or set, or if the store can't be read.
pub fn diff(repository: &Repository, options: &DiffOptions) -> Result<SnapshotDiff> {
    let options = options.clone();
    let open = |path: &SnapshotPath| repository.snapshot_among(&path.snapshot, &options.filter);
    let (before, after) = (open(&options.before)?, open(&options.after)?);
    let before = before.reading_with(&after);
    let pairs: Vec<(String, String)> = match (&options.before.namespace, &options.after.namespace) {
        (Some(a), Some(b)) => {
            // A namespace that was named must be there.
            before.namespace(a)?;
            after.namespace(b)?;
            vec![(a.clone(), b.clone())]
        }
        _ => {
            let all = before.manifest().namespaces.iter().chain(&after.manifest().namespaces);
            let names: BTreeSet<&String> = all.map(|namespace| &namespace.name).collect();
            names.into_iter().map(|name| (name.clone(), name.clone())).collect()
        }
    };
    let diff = SnapshotDiff { options, before, after, pairs };
    diff.check_sets()?;
    Ok(diff)
}

impl SnapshotDiff {
    /// The earlier snapshot.
    pub fn before(&self) -> &Snapshot {
        &self.before
    }

    /// The later one.
    pub fn after(&self) -> &Snapshot {
        &self.after
    }

    /// What is compared; a namespace or set that one side named stands on both.
    pub fn options(&self) -> &DiffOptions {
        &self.options
    }

    /// The sets that are compared; none for all.
    fn sets(&self) -> [Option<&str>; 2] {
        [self.options.before.set.as_deref(), self.options.after.set.as_deref()]
    }

    /// Refuses a set that was named and that neither of the snapshots has; where each side names its own, that one must
    /// have it.
    fn check_sets(&self) -> Result<()> {
        let [before_set, after_set] = self.sets();
        let before = self.pairs.iter().map(|(before, _)| before.as_str());
        let after = self.pairs.iter().map(|(_, after)| after.as_str());
        let before = before_set.map(|set| look_for(set, &self.before, before)).transpose()?.flatten();
        let after = after_set.map(|set| look_for(set, &self.after, after)).transpose()?.flatten();
        match (before, after) {
            (Some(_), None) | (None, Some(_)) if before_set == after_set => Ok(()),
            (Some(error), _) | (None, Some(error)) => Err(error),
            (None, None) => Ok(()),
        }
    }

    /// Hands the records that differ to `each`, by namespace, partition and digest, and counts them. What is damaged is
    /// told to the observer, and the rest is compared.
    ///
    /// # Errors
    ///
    /// If the store can't be read, or if `each` fails.
    pub fn run(&self, each: impl FnMut(RecordChange) -> Result<()>) -> Result<DiffSummary> {
        let summary = DiffSummary {
            kind: "summary",
            before: self.before.id().to_string(),
            after: self.after.id().to_string(),
            added: 0,
            removed: 0,
            changed: 0,
            touched: 0,
            damaged: false,
        };
        let left = self.options.limit.unwrap_or(u64::MAX);
        let mut comparison = RunningDiff { diff: self, each, left, summary };
        for (before, after) in &self.pairs {
            comparison.namespace(before, after)?;
        }
        Ok(comparison.summary)
    }
}

/// That none of these namespaces of a snapshot has a record of a set.
fn look_for<'a>(set: &str, snapshot: &Snapshot, names: impl Iterator<Item = &'a str>) -> Result<Option<Error>> {
    let wanted = BTreeSet::from([set.as_bytes().to_vec()]);
    let mut met = MetSets::default();
    for name in names {
        if snapshot.manifest().namespace(name).is_some() {
            met.add(snapshot.namespace(name)?.look_for_sets(&wanted)?);
        }
    }
    Ok((!met.lacking(&wanted).is_empty()).then(|| no_such_set(set.as_bytes(), snapshot, &met)))
}

/// A comparison at work.
struct RunningDiff<'a, F> {
    diff: &'a SnapshotDiff,
    each: F,
    /// Records that may still be handed on.
    left: u64,
    summary: DiffSummary,
}

impl<F: FnMut(RecordChange) -> Result<()>> RunningDiff<'_, F> {
    fn namespace(&mut self, before: &str, after: &str) -> Result<()> {
        let SnapshotDiff { options, before: first, after: second, .. } = self.diff;
        let has = |manifest: &Manifest, name: &str| manifest.namespace(name).is_some();
        match (has(first.manifest(), before), has(second.manifest(), after)) {
            // Records of different sets are different records: each side has its own.
            (true, true) if options.before.set != options.after.set => {
                self.whole(before, &first.namespace(before)?, false)?;
                self.whole(after, &second.namespace(after)?, true)
            }
            (true, true) => {
                let (was, is) = (first.namespace(before)?, second.namespace(after)?);
                let mut diff = was.diff(&is)?;
                for change in &mut diff {
                    self.change(after, [Some(&was), Some(&is)], change?)?;
                }
                self.tell(after, &diff.losses());
                for (snapshot, view) in [(first, &was), (second, &is)] {
                    for line in unread(view.manifest()) {
                        let name = &view.manifest().name;
                        self.diff.after.control.warn(format!("snapshot {}, namespace {name}: {line}", snapshot.id()));
                    }
                }
                Ok(())
            }
            (true, false) => self.whole(before, &first.namespace(before)?, false),
            (false, _) => self.whole(after, &second.namespace(after)?, true),
        }
    }

    /// All records of a namespace that one side does not have.
    fn whole(&mut self, name: &str, view: &NamespaceView<'_>, added: bool) -> Result<()> {
        let mut entries = view.readable_entries()?;
        while let Some(entry) = entries.next()? {
            let (digest, live) = (entry.digest, entry.live);
            if added {
                self.change(name, [None, Some(view)], Change { digest, before: None, after: live })?;
            } else {
                self.change(name, [Some(view), None], Change { digest, before: live, after: None })?;
            }
        }
        self.tell(name, &entries.losses());
        Ok(())
    }

    fn tell(&mut self, name: &str, losses: &Losses) {
        for loss in losses.lines() {
            self.diff.after.control.damage(&format!("namespace {name}: {loss}"));
            self.summary.damaged = true;
        }
    }

    /// Counts a record, and hands it on.
    fn change(&mut self, name: &str, views: [Option<&NamespaceView<'_>>; 2], change: Change) -> Result<()> {
        let [before_set, after_set] = self.diff.sets();
        let within = |entry: &LiveEntry, set: Option<&str>| set.is_none_or(|set| *entry.set == *set.as_bytes());
        let before = change.before.filter(|entry| within(entry, before_set));
        let after = change.after.filter(|entry| within(entry, after_set));
        let (kind, count) = match (&before, &after) {
            (None, None) => return Ok(()),
            (None, Some(_)) => (ChangeKind::Added, &mut self.summary.added),
            (Some(_), None) => (ChangeKind::Removed, &mut self.summary.removed),
            (Some(was), Some(is)) if was.hash == is.hash => (ChangeKind::Touched, &mut self.summary.touched),
            (Some(_), Some(_)) => (ChangeKind::Changed, &mut self.summary.changed),
        };
        *count += 1;
        if self.left == 0 {
            return Ok(());
        }
        self.left -= 1;
        let [before_view, after_view] = views;
        // One body is enough for the key, unless the bodies differ.
        let after_bytes = self.read(&change.digest, after_view, after.as_ref())?;
        let before_bytes = match kind {
            ChangeKind::Touched => None,
            _ => self.read(&change.digest, before_view, before.as_ref())?,
        };
        let damaged = |error: BodyError| Error::damaged(format!("record {}", change.digest), error.to_string());
        let was = before_bytes.as_deref().map(Body::parse).transpose().map_err(damaged)?;
        let is = after_bytes.as_deref().map(Body::parse).transpose().map_err(damaged)?;
        let bins = match (&was, &is) {
            (Some(was), Some(is)) => differences(was, is),
            _ => Vec::new(),
        };
        let key = is.as_ref().or(was.as_ref()).and_then(|body| body.key());
        (self.each)(RecordChange {
            kind: "change",
            namespace: name.to_string(),
            digest: change.digest.to_string(),
            change: kind,
            set: after.as_ref().or(before.as_ref()).map(|entry| text::plain(&entry.set)).unwrap_or_default(),
            key: key.map(|key| text::key(key.particle, key.bytes)),
            bins: bins.iter().map(Difference::signed).collect(),
            values: self.diff.options.values.then(|| bins.into_iter().map(ChangedValue::from).collect()),
            generation_before: before.as_ref().map(|entry| entry.generation.0),
            generation_after: after.as_ref().map(|entry| entry.generation.0),
            expires_before: before.and_then(|entry| text::expires(entry.void_time)),
            expires_after: after.and_then(|entry| text::expires(entry.void_time)),
        })
    }

    /// A record's body on one side, if it is there and can be read.
    fn read(
        &mut self,
        digest: &Digest,
        view: Option<&NamespaceView<'_>>,
        entry: Option<&LiveEntry>,
    ) -> Result<Option<Vec<u8>>> {
        let (Some(view), Some(entry)) = (view, entry) else { return Ok(None) };
        match view.value(entry) {
            Err(error) if error.is_of_one_object() => {
                self.diff.after.control.damage(&format!("record {digest}: {error}"));
                self.summary.damaged = true;
                Ok(None)
            }
            value => value.map(Some),
        }
    }
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

/// What stands for the key among the names of bins.
const KEY: &str = "(key)";

impl Difference<'_> {
    /// The name after a sign: +NAME is new, -NAME is gone, NAME has another value.
    fn signed(&self) -> String {
        match (&self.before, &self.after) {
            (None, _) if self.name != KEY => format!("+{}", self.name),
            (_, None) if self.name != KEY => format!("-{}", self.name),
            _ => self.name.clone(),
        }
    }
}

impl From<Difference<'_>> for ChangedValue {
    fn from(difference: Difference<'_>) -> Self {
        let owned = |(particle, bytes): Particle<'_>| BinValue { particle, bytes: bytes.to_vec() };
        let Difference { name, before, after } = difference;
        ChangedValue { name, before: before.map(owned), after: after.map(owned) }
    }
}

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
