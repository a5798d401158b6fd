//! What a restore says in the end.

use crate::format::snapshot::{Manifest, NamespaceManifest};
use crate::job::report::unread;
use crate::job::{Done, text};
use crate::record::Digest;
use crate::restore::{self, Reasons, RestoreOptions};
use crate::sources::MetSets;
use crate::targets::{self, RecordTarget, Remarks};
use crate::verify::Comparison;
use serde::Serialize;
use std::collections::BTreeMap;

/// What a restore did, or would do.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct RestoreReport {
    /// The snapshot's id; empty where `source` says what was restored.
    pub snapshot: String,
    /// When it was committed; likewise.
    pub committed: String,
    /// Its cluster; likewise.
    pub cluster: String,
    /// The files that were restored, if it was no snapshot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The target.
    pub target: String,
    /// Whether this was a dry run: nothing was written, and the counts say what would be.
    pub dry_run: bool,
    /// How long it took.
    pub duration_millis: u64,
    /// What became of each namespace.
    pub namespaces: Vec<RestoredNamespace>,
    /// Indexes, UDF modules and the like that the target could not take, for people.
    pub omissions: Vec<String>,
    /// Remarks on the target, for people: files of a killed restore that were removed, a version of `.asb` that
    /// asrestore refuses.
    pub notes: Vec<String>,
    /// With `--failed-to`, the file that holds the records which the target refused; absent if it refused none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed_to: Option<String>,
    /// How many records are in it.
    pub kept_failed: u64,
    /// With `--wait-indexes`, the secondary indexes that are not built yet.
    pub unbuilt: Vec<UnbuiltIndex>,
    /// What the snapshot's backup could not read of these namespaces, for people.
    #[serde(skip)]
    pub unread: Vec<String>,
    /// The selected sets of which nothing was found, for people.
    #[serde(skip)]
    pub unfound: Vec<String>,
    /// The sets that were met, where sets were selected.
    #[serde(skip)]
    pub(super) sets: MetSets,
    /// Something that was selected was not restored, or is not as in the snapshot.
    #[serde(skip)]
    pub(super) is_incomplete: bool,
    /// Something of the snapshot could not be read.
    #[serde(skip)]
    pub(super) is_damaged: bool,
}

/// What became of the records of a namespace. `written`, `same`, `expired`, `exists`, `fresher`, `without_bins` and
/// `failed` add up to `read`.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct RestoredNamespace {
    /// Its name in the snapshot.
    pub namespace: String,
    /// Its name in the target.
    pub target_namespace: String,
    /// Records that were selected.
    pub read: u64,
    /// Records that were written.
    pub written: u64,
    /// Records that the target already had as they would be written (`--resume`).
    pub same: u64,
    /// Records that have expired.
    pub expired: u64,
    /// Records that the target had.
    pub exists: u64,
    /// Records of which the target had one that is as new or newer.
    pub fresher: u64,
    /// Records that have none of the selected bins.
    pub without_bins: u64,
    /// Records that could not be read or were refused.
    pub failed: u64,
    /// The size of the bodies.
    pub bytes: u64,
    /// How many of the failed ones failed because their bodies could not be read.
    pub damaged: u64,
    /// Records that are known to be lost because their entries are.
    pub records_lost: u64,
    /// What was damaged, line by line.
    pub lost: Vec<String>,
    /// The first thousand of the records that failed.
    pub failures: Vec<FailedRecord>,
    /// How many others failed, by reason.
    pub more_failures: BTreeMap<String, u64>,
    /// Selected digests that the snapshot does not have.
    pub not_found: Vec<String>,
    /// With `--mirror`, how many records were deleted because the snapshot does not have them.
    pub deleted: u64,
    /// With `--mirror`, how many could not be deleted.
    pub not_deleted: u64,
    /// The first thousand of those.
    pub undeleted: Vec<FailedRecord>,
    /// How many others could not be deleted, by reason.
    pub more_undeleted: BTreeMap<String, u64>,
    /// With `--verify`, what reading back found, else `null`.
    pub verification: Option<Verification>,
    /// Whether a mirror deleted nothing, since it may be in the part that was lost.
    #[serde(skip)]
    pub not_mirrored: bool,
}

/// A record with what happened to it.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct FailedRecord {
    /// Its digest.
    pub digest: String,
    /// Why, for people.
    pub reason: String,
}

/// A secondary index that is not built yet.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct UnbuiltIndex {
    /// The namespace's name in the snapshot.
    pub namespace: String,
    /// The index's name.
    pub name: String,
    /// How much of it is built, in percent, where it is least so.
    pub percent: u32,
    /// It won't be built: a server says that it failed.
    pub failed: bool,
}

/// What reading back found.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Verification {
    /// Whether the target is as the snapshot.
    pub same: bool,
    /// How many records were compared: not those that the target kept, that had expired, or that failed.
    pub records: u64,
    /// Digests of records that are not in the target.
    pub missing: Vec<String>,
    /// Digests of records that are not as in the snapshot.
    pub changed: Vec<String>,
    /// Digests of records that are in the target and not in the snapshot; they are looked for in files and after
    /// `--mirror`.
    pub extra: Vec<String>,
    /// How many records have expired in the target since.
    pub expired: u64,
    /// How many records differ only in the cells that servers derive from GeoJSON.
    pub other_cells: u64,
    /// Digests of records that are damaged in the repository.
    pub unreadable: Vec<String>,
}

/// A namespace that was restored.
pub(super) struct Restored {
    pub namespace: String,
    pub report: restore::RestoreReport,
}

fn strings(digests: &[Digest]) -> Vec<String> {
    digests.iter().map(ToString::to_string).collect()
}

fn named(failures: &[targets::FailedRecord]) -> Vec<FailedRecord> {
    let failed =
        failures.iter().map(|failed| FailedRecord { digest: failed.digest.to_string(), reason: failed.reason.clone() });
    failed.collect()
}

fn tally(reasons: &Reasons) -> BTreeMap<String, u64> {
    reasons.iter().map(|(reason, number)| (reason.to_string(), number)).collect()
}

impl From<&Comparison> for Verification {
    fn from(compared: &Comparison) -> Self {
        Verification {
            same: compared.is_same(),
            records: compared.records_in_snapshot,
            missing: strings(&compared.only_in_snapshot),
            changed: strings(&compared.changed),
            extra: strings(&compared.only_in_source),
            expired: compared.expired,
            other_cells: compared.other_cells,
            unreadable: strings(&compared.unreadable),
        }
    }
}

impl RestoredNamespace {
    fn new(restored: &Restored, compared: Option<&Comparison>, how: &RestoreOptions) -> Self {
        let Restored { namespace, report } = restored;
        let mut lost = report.lost.lines();
        lost.extend(report.metadata_lost.iter().map(|problem| format!("indexes and UDF modules: {problem}")));
        RestoredNamespace {
            target_namespace: how.rename.as_deref().unwrap_or(namespace).to_string(),
            namespace: namespace.clone(),
            read: report.read,
            written: report.written,
            same: report.same,
            expired: report.expired,
            exists: report.exists,
            fresher: report.fresher,
            without_bins: report.without_bins,
            failed: report.failed,
            bytes: report.bytes,
            damaged: report.damaged,
            records_lost: report.records_lost,
            lost,
            failures: named(&report.failures),
            more_failures: tally(&report.more_failures),
            not_found: strings(&report.not_found),
            deleted: report.deleted,
            not_deleted: report.not_deleted,
            undeleted: named(&report.undeleted),
            more_undeleted: tally(&report.more_undeleted),
            verification: compared.map(Verification::from),
            not_mirrored: how.mirror && !report.lost.is_empty(),
        }
    }

    /// Whether all that was selected was restored.
    fn is_whole(&self) -> bool {
        let same = self.verification.as_ref().is_none_or(|verification| verification.same);
        self.failed == 0 && self.not_found.is_empty() && self.not_deleted == 0 && same
    }
}

impl RestoreReport {
    /// That of a target, without what was restored.
    pub(super) fn new(manifest: &Manifest, target: &dyn RecordTarget, dry_run: bool) -> Self {
        RestoreReport {
            snapshot: manifest.id.to_string(),
            committed: text::rfc3339(manifest.committed),
            cluster: manifest.cluster.clone(),
            source: None,
            target: target.name().to_string(),
            dry_run,
            duration_millis: 0,
            namespaces: Vec::new(),
            omissions: Vec::new(),
            notes: Vec::new(),
            failed_to: None,
            kept_failed: 0,
            unbuilt: Vec::new(),
            unread: Vec::new(),
            unfound: Vec::new(),
            sets: MetSets::default(),
            is_incomplete: false,
            is_damaged: false,
        }
    }

    /// Takes what was restored, and what reading it back found.
    pub(super) fn take(
        &mut self,
        manifest: &Manifest,
        restored: Vec<Restored>,
        compared: Vec<Comparison>,
        how: &RestoreOptions,
    ) {
        let is_restored = |one: &&NamespaceManifest| restored.iter().any(|restored| restored.namespace == one.name);
        let lines = manifest.namespaces.iter().filter(is_restored).flat_map(|one| {
            let line = move |line| format!("namespace {}: {line}", one.name);
            unread(one).into_iter().map(line)
        });
        self.unread = lines.collect();
        self.is_damaged =
            restored.iter().any(|one| one.report.is_damaged()) || compared.iter().any(Comparison::is_damaged);
        for (number, one) in restored.iter().enumerate() {
            self.namespaces.push(RestoredNamespace::new(one, compared.get(number), how));
        }
        let mut remarks = Remarks::default();
        for one in restored {
            self.sets.add(one.report.sets);
            remarks.add(one.report.remarks);
        }
        (self.omissions, self.notes) = (remarks.omissions, remarks.notes);
        self.is_incomplete |= !self.unread.is_empty() || !self.omissions.is_empty();
        self.is_incomplete |= !self.namespaces.iter().all(RestoredNamespace::is_whole);
    }

    /// How it ended.
    pub fn done(&self) -> Done {
        match (self.is_damaged, self.is_incomplete) {
            (true, _) => Done::Damaged,
            (false, false) => Done::Whole,
            (false, true) => Done::Incomplete,
        }
    }
}
