//! What a comparison of a snapshot with a source found.

use crate::format::snapshot::{Manifest, NamespaceManifest};
use crate::job::report::unread;
use crate::job::{Done, text};
use crate::record::Digest;
use crate::sources::RecordSource;
use crate::verify::Comparison;
use serde::Serialize;

/// How a snapshot and a source compare.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct VerifyReport {
    /// The snapshot's id.
    pub snapshot: String,
    /// When it was committed.
    pub committed: String,
    /// Its cluster.
    pub cluster: String,
    /// The source that it was compared with.
    pub source: String,
    /// With `--independent`: the official client has read the cluster, and times to live were compared.
    pub independent: bool,
    /// Whether both are the same.
    pub same: bool,
    /// The namespaces that were compared.
    pub namespaces: Vec<ComparedNamespace>,
    /// Namespaces of the snapshot that the source does not have.
    pub absent: Vec<String>,
    /// Namespaces of the source that the snapshot does not have; they are not compared.
    pub not_in_snapshot: Vec<String>,
    /// Remarks on the source, for people: which backup of several was taken, a file whose last line feed is missing.
    pub notes: Vec<String>,
    /// All namespaces of the source.
    #[serde(skip)]
    pub in_source: Vec<String>,
}

/// How a namespace compares.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ComparedNamespace {
    /// Its name in the snapshot.
    pub namespace: String,
    /// How many records of the snapshot were compared.
    pub records_in_snapshot: u64,
    /// How many records of the source were looked at.
    pub records_in_source: u64,
    /// How many partitions have a difference.
    pub partitions_that_differ: u64,
    /// Digests of records that the source does not have.
    pub only_in_snapshot: Vec<String>,
    /// Digests of records that the snapshot does not have.
    pub only_in_source: Vec<String>,
    /// Digests of records whose sets, keys or bins differ.
    pub changed: Vec<String>,
    /// With `--independent`: digests of records that are the same, but expire at another time, by more than 5 seconds.
    pub other_expiry: Vec<String>,
    /// With `--independent`: digests of records that are stored under another digest than the client finds for their
    /// keys.
    pub other_digest: Vec<String>,
    /// With `--independent`: what the official client can't represent, so that it was not compared.
    pub not_comparable: Vec<NotComparable>,
    /// How many records the source does not have because they have expired since.
    pub expired: u64,
    /// How many records differ only in the cells that servers derive from GeoJSON.
    pub other_cells: u64,
    /// Partitions that the backup could not read; they are not compared.
    pub not_compared: Vec<String>,
    /// The part of the snapshot that can't be read; records that may be there are not compared.
    pub lost: Vec<String>,
    /// Whether records were selected, and neither side has one of them.
    #[serde(skip)]
    pub nothing_selected: bool,
    /// What was selected and is not in the source, for people.
    #[serde(skip)]
    pub unfound: Option<String>,
    /// Whether something that was selected is on neither side.
    #[serde(skip)]
    pub on_neither_side: bool,
}

/// Records that the official client can't represent.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct NotComparable {
    /// What it can't represent.
    pub reason: String,
    /// Of how many records.
    pub records: u64,
    /// The digests of the first of them.
    pub digests: Vec<String>,
}

impl ComparedNamespace {
    #[cfg(all(feature = "cluster", feature = "official-client"))]
    pub(super) fn independent(namespace: &NamespaceManifest, compared: crate::official::IndependentComparison) -> Self {
        let strings = |digests: &[Digest]| digests.iter().map(ToString::to_string).collect();
        let not_comparable = compared.not_comparable.iter().map(|(reason, (records, digests))| NotComparable {
            reason: reason.clone(),
            records: *records,
            digests: strings(digests),
        });
        let not_comparable = not_comparable.collect();
        let (other_expiry, other_digest) = (strings(&compared.other_expiry), strings(&compared.other_digest));
        let as_ours = Comparison {
            records_in_snapshot: compared.records_in_snapshot,
            records_in_source: compared.records_in_source,
            partitions_that_differ: compared.partitions_that_differ,
            only_in_snapshot: compared.only_in_snapshot,
            only_in_source: compared.only_in_source,
            changed: compared.changed,
            expired: compared.expired,
            lost: compared.lost,
            unreadable: compared.unreadable,
            ..Comparison::default()
        };
        Self { other_expiry, other_digest, not_comparable, ..Self::new(namespace, &as_ours) }
    }

    pub(super) fn new(namespace: &NamespaceManifest, compared: &Comparison) -> Self {
        let strings = |digests: &[Digest]| digests.iter().map(ToString::to_string).collect();
        let mut lost = compared.lost.lines();
        lost.extend(compared.unreadable.iter().map(|digest| format!("record {digest}: its body can't be read")));
        ComparedNamespace {
            namespace: namespace.name.clone(),
            records_in_snapshot: compared.records_in_snapshot,
            records_in_source: compared.records_in_source,
            partitions_that_differ: compared.partitions_that_differ,
            only_in_snapshot: strings(&compared.only_in_snapshot),
            only_in_source: strings(&compared.only_in_source),
            changed: strings(&compared.changed),
            other_expiry: Vec::new(),
            other_digest: Vec::new(),
            not_comparable: Vec::new(),
            expired: compared.expired,
            other_cells: compared.other_cells,
            not_compared: unread(namespace),
            lost,
            nothing_selected: false,
            unfound: None,
            on_neither_side: false,
        }
    }

    /// Whether nothing differs.
    pub(super) fn same(&self) -> bool {
        let differs = [
            &self.only_in_snapshot,
            &self.only_in_source,
            &self.changed,
            &self.other_expiry,
            &self.other_digest,
            &self.lost,
        ];
        differs.iter().all(|list| list.is_empty())
    }
}

impl VerifyReport {
    /// That of a source that was read, without what the comparison found.
    pub(super) fn new(manifest: &Manifest, source: &dyn RecordSource) -> Self {
        Self::of(manifest, source.name(), source.notes())
    }

    /// That of a source of this name.
    pub(super) fn of(manifest: &Manifest, source: &str, notes: Vec<String>) -> Self {
        VerifyReport {
            snapshot: manifest.id.to_string(),
            committed: text::rfc3339(manifest.committed),
            cluster: manifest.cluster.clone(),
            source: source.to_string(),
            independent: false,
            same: true,
            namespaces: Vec::new(),
            absent: Vec::new(),
            not_in_snapshot: Vec::new(),
            notes,
            in_source: Vec::new(),
        }
    }

    /// How it ended: whole only if both are the same, and everything was compared that was selected.
    pub fn done(&self) -> Done {
        let all = |is: fn(&ComparedNamespace) -> bool| self.namespaces.iter().all(is);
        if !all(|namespace| namespace.lost.is_empty()) {
            return Done::Damaged;
        }
        let whole = |namespace: &ComparedNamespace| {
            namespace.not_compared.is_empty() && namespace.not_comparable.is_empty() && !namespace.on_neither_side
        };
        match self.same && all(whole) {
            true => Done::Whole,
            false => Done::Incomplete,
        }
    }
}
