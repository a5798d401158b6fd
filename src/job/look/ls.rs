//! Lists the records of a snapshot.

use crate::error::{Error, Result};
use crate::job::path::no_such_set;
use crate::job::{Done, SnapshotPath, text};
use crate::record::Body;
use crate::repository::{NamespaceView, Repository, SnapshotFilter};
use crate::run::Entry;
use crate::setters::setters;
use crate::sources::MetSets;
use serde::Serialize;

/// Which records [`ls`] lists.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LsOptions {
    /// Of which snapshot, and which part of it.
    pub path: SnapshotPath,
    /// A snapshot that is not named by its id is looked for among these.
    pub filter: SnapshotFilter,
    /// Whether the records are read for their keys, which takes longer.
    pub keys: bool,
}

setters!(LsOptions { filter: SnapshotFilter, keys: bool });

impl LsOptions {
    /// Those of a snapshot or a part of it, with their keys.
    pub fn new(path: SnapshotPath) -> Self {
        LsOptions { path, filter: SnapshotFilter::default(), keys: true }
    }
}

/// A record of a snapshot.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ListedRecord {
    /// The name of its namespace.
    pub namespace: String,
    /// Its digest.
    pub digest: String,
    /// The name of its set; empty if it has none.
    pub set: String,
    /// Its key; `null` if none is stored or could be read, and with `--no-keys`.
    pub key: Option<String>,
    /// Its generation.
    pub generation: u32,
    /// When it expires; `null` for never.
    pub expires: Option<String>,
    /// The size of its body.
    pub bytes: u32,
}

/// Hands the records of a snapshot to `each`, by partition and digest. What is damaged is told to the observer, and the
/// others are listed.
///
/// # Errors
///
/// If there is no such snapshot or namespace, or no record of a set that was named; if the store can't be read, or if
/// `each` fails.
pub fn ls(
    repository: &Repository,
    options: &LsOptions,
    mut each: impl FnMut(ListedRecord) -> Result<()>,
) -> Result<Done> {
    let LsOptions { path, filter, keys } = options;
    let snapshot = repository.snapshot_among(&path.snapshot, filter)?;
    let set = path.set.as_ref().map(|set| set.as_bytes());
    let mut done = Done::Whole;
    let mut sets = MetSets::default();
    for name in path.namespaces(&snapshot)? {
        let view = snapshot.namespace(&name)?;
        let mut entries = view.readable_entries()?;
        while let Some(entry) = entries.next()? {
            let Some(live) = &entry.live else { continue };
            if let Some(set) = set {
                sets.note(&live.set, *live.set == *set);
                if *live.set != *set {
                    continue;
                }
            }
            let key = match if *keys { key_of(&view, &entry) } else { Ok(None) } {
                Ok(key) => key,
                Err(error) if error.is_of_one_object() => {
                    repository.control().damage(&format!("record {}: {error}", entry.digest));
                    done = Done::Damaged;
                    None
                }
                Err(error) => return Err(error),
            };
            each(ListedRecord {
                namespace: name.clone(),
                digest: entry.digest.to_string(),
                set: text::plain(&live.set),
                key,
                generation: live.generation.0,
                expires: text::expires(live.void_time),
                bytes: live.place.length,
            })?;
        }
        for loss in entries.losses().lines() {
            repository.control().damage(&format!("namespace {name}: {loss}"));
            done = Done::Damaged;
        }
    }
    let set = path.set.as_ref().map(|set| set.clone().into_bytes());
    match (done, &sets.lacking(&set)[..]) {
        (Done::Whole, [set]) => Err(no_such_set(set, &snapshot, &sets)),
        _ => Ok(done),
    }
}

/// The key in a record's body, which is read for it.
fn key_of(view: &NamespaceView<'_>, entry: &Entry) -> Result<Option<String>> {
    let Some(live) = &entry.live else { return Ok(None) };
    let bytes = view.value(live)?;
    let body =
        Body::parse(&bytes).map_err(|error| Error::damaged(format!("record {}", entry.digest), error.to_string()))?;
    Ok(body.key().map(|key| text::key(key.particle, key.bytes)))
}
