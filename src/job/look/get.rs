//! Reads one record of a snapshot.

use crate::error::{Error, Result};
use crate::job::endpoint::parse_digest;
use crate::job::path::{key_advice, key_digest};
use crate::job::{SnapshotPath, text};
use crate::jsonl;
use crate::record::{BinRef, Digest, RecordMeta, RecordView};
use crate::repository::{NamespaceView, Record, Repository, Snapshot, SnapshotFilter};
use crate::run::LiveEntry;
use crate::setters::setters;
use serde::ser::Error as _;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

/// Which record [`get`] reads.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct GetOptions {
    path: SnapshotPath,
    namespace: String,
    /// The key that was given; of a record that was named by its digest there is none.
    key: Option<String>,
    digest: Digest,
    /// A snapshot that is not named by its id is looked for among these.
    pub filter: SnapshotFilter,
}

setters!(GetOptions { filter: SnapshotFilter });

impl GetOptions {
    /// The record with this key: a string, `s:STRING`, `i:NUMBER` or `b:HEX`. Keys count within the set that the path
    /// names, and without one among the records that have none.
    ///
    /// # Errors
    ///
    /// If the path names no namespace, or the key is none.
    pub fn by_key(path: SnapshotPath, key: &str) -> Result<Self> {
        let namespace = namespace_of(&path)?;
        let digest = key_digest(path.set.as_deref().unwrap_or_default(), key)?;
        Ok(GetOptions { path, namespace, key: Some(key.to_string()), digest, filter: SnapshotFilter::default() })
    }

    /// The record with this digest, in hexadecimal. If the path names a set, the record must be in it.
    ///
    /// # Errors
    ///
    /// If the path names no namespace, or the digest is none.
    pub fn by_digest(path: SnapshotPath, digest: &str) -> Result<Self> {
        let namespace = namespace_of(&path)?;
        let digest = parse_digest(digest)?;
        Ok(GetOptions { path, namespace, key: None, digest, filter: SnapshotFilter::default() })
    }
}

fn namespace_of(path: &SnapshotPath) -> Result<String> {
    let none = || Error::usage(format!("which namespace? Write {}:NAMESPACE[/SET]", path.snapshot));
    path.namespace.clone().ok_or_else(none)
}

/// A record that was found. It is serialized as a restore into JSON lines writes it, with what lists, maps and sketches
/// hold beside their bytes.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FoundRecord {
    /// The record.
    pub record: Record,
    namespace: String,
}

impl Serialize for FoundRecord {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut line = Vec::new();
        jsonl::write_shown_record(&mut line, &self.namespace, &view_of(&self.record)).map_err(S::Error::custom)?;
        let line = String::from_utf8_lossy(&line).trim_end().to_string();
        RawValue::from_string(line).map_err(S::Error::custom)?.serialize(serializer)
    }
}

impl FoundRecord {
    /// Its bins, in the order in which the source delivered them.
    ///
    /// # Errors
    ///
    /// If the record is damaged.
    pub fn bins(&self) -> Result<Vec<BinRef<'_>>> {
        Ok(view_of(&self.record).in_source_order(self.record.parse()?.bins()))
    }
}

fn view_of(record: &Record) -> RecordView<'_> {
    let LiveEntry { generation, void_time, set, bin_order, .. } = &record.entry;
    let meta = RecordMeta { digest: record.digest, set, generation: *generation, void_time: *void_time };
    RecordView { meta, body: &record.body, bin_order }
}

/// Reads a record.
///
/// # Errors
///
/// If there is no such snapshot, namespace or record, if the record is damaged or is in another set than the one that
/// was named, or if the store can't be read.
pub fn get(repository: &Repository, options: &GetOptions) -> Result<FoundRecord> {
    let GetOptions { path, namespace, key, digest, filter } = options;
    let snapshot = repository.snapshot_among(&path.snapshot, filter)?;
    let view = snapshot.namespace(namespace)?;
    let record = view.get(digest)?.ok_or_else(|| not_found(options, &snapshot, &view))?;
    if let (None, Some(set)) = (key, &path.set)
        && *record.entry.set != *set.as_bytes()
    {
        let found = text::safe(&text::plain(&record.entry.set));
        return Err(Error::not_found(format!("record {digest} in set {set:?}"), format!("It is in set {found:?}")));
    }
    // A damaged body is told here, and not by whoever prints it.
    record.parse()?;
    Ok(FoundRecord { namespace: namespace.clone(), record })
}

/// That there is no such record, and why that may be.
fn not_found(options: &GetOptions, snapshot: &Snapshot, view: &NamespaceView<'_>) -> Error {
    let GetOptions { path, namespace, key, digest, .. } = options;
    let unread = view.manifest().is_unread(digest.partition());
    let advice = match (key, &path.set) {
        _ if unread => format!("Its partition, {}, could not be read by this backup", digest.partition().number()),
        (None, _) => String::new(),
        (Some(_), set) => key_advice(set.as_deref()).to_string(),
    };
    let place = format!("namespace {namespace} of snapshot {}", snapshot.id());
    let of = path.set.as_ref().map_or_else(|| "without a set".to_string(), |set| format!("of set {set:?}"));
    let what = key.as_ref().map(|key| format!(" (key {key:?} {of})")).unwrap_or_default();
    Error::not_found(format!("record {digest}{what} in {place}"), advice)
}
