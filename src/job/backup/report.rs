//! What a backup says in the end.

use crate::backup::Vanished;
use crate::error::{Error, Result};
use crate::format::snapshot::Manifest;
use crate::job::Done;
use crate::job::report::{CountsReport, SnapshotReport, unread};
use crate::session::{BackupSession, Resumed};
use crate::sources::BadRecord;
use serde::Serialize;

/// What a backup did: the snapshot, and how it came about.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct BackupReport {
    /// What the new snapshot says of itself.
    #[serde(flatten)]
    pub snapshot: SnapshotReport,
    /// How long it took.
    pub duration_millis: u64,
    /// With `--skip-bad-records`, the first thousand records that were left out; `counts.bad` has their number.
    pub bad_records: Vec<UnparsedRecord>,
    /// What an earlier backup that was killed had read, and this one brought up to date.
    pub resumed: Vec<ResumedNamespace>,
    /// Namespaces that lost more than half of the parent's records.
    pub vanished: Vec<VanishedRecords>,
    /// What was warned of: damage of the repository that was met, what could not be built on or resumed, and remarks on
    /// the sources, such as which backup of several was taken. The counts `healed` tell of noted damage.
    pub warnings: Vec<String>,
    /// What of each namespace could not be read, for people.
    #[serde(skip)]
    pub unread: Vec<Vec<String>>,
    /// What the cluster was called because nothing names it, and no earlier snapshot is of that name.
    #[serde(skip)]
    pub unnamed_cluster: Option<String>,
}

/// A record that could not be parsed and was left out.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct UnparsedRecord {
    /// The file and the byte offset, or the namespace and the digest.
    pub place: String,
    /// What was expected and what was found, for people.
    pub problem: String,
}

/// What an earlier run of the same backup had read, and this one brought up to date.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ResumedNamespace {
    /// The id of the session that stopped.
    pub session: String,
    /// The namespace.
    pub namespace: String,
    /// How many of its partitions had been read.
    pub partitions: usize,
}

/// A namespace of which more than half of the records are gone since the snapshot before.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct VanishedRecords {
    /// The namespace.
    pub namespace: String,
    /// The id of the snapshot before.
    pub parent: String,
    /// How many records that has.
    pub records: u64,
    /// How many of them are gone.
    pub deleted: u64,
}

impl From<&BadRecord> for UnparsedRecord {
    fn from(bad: &BadRecord) -> Self {
        let BadRecord { place, problem, .. } = bad.clone();
        UnparsedRecord { place, problem }
    }
}

impl From<&Resumed> for ResumedNamespace {
    fn from(resumed: &Resumed) -> Self {
        let Resumed { session, namespace, partitions } = resumed;
        ResumedNamespace { session: session.to_string(), namespace: namespace.clone(), partitions: *partitions }
    }
}

impl From<Vanished> for VanishedRecords {
    fn from(vanished: Vanished) -> Self {
        let Vanished { namespace, parent, records, deleted } = vanished;
        VanishedRecords { namespace, parent: parent.to_string(), records, deleted }
    }
}

/// What a session came upon before its commit.
#[derive(Default)]
pub(super) struct Findings {
    pub bad_records: Vec<UnparsedRecord>,
    pub resumed: Vec<ResumedNamespace>,
    pub vanished: Vec<VanishedRecords>,
    pub unnamed_cluster: Option<String>,
}

impl Findings {
    /// Takes it from a session that has read its sources.
    pub fn take(&mut self, session: &BackupSession) {
        self.bad_records = session.bad_records().iter().map(UnparsedRecord::from).collect();
        self.resumed = session.resumed().iter().map(ResumedNamespace::from).collect();
        self.vanished = session.vanished().into_iter().map(VanishedRecords::from).collect();
    }
}

impl BackupReport {
    pub(super) fn new(manifest: &Manifest, found: Findings, warnings: Vec<String>, duration_millis: u64) -> Self {
        let Findings { bad_records, resumed, vanished, unnamed_cluster } = found;
        let unread = manifest.namespaces.iter().map(unread).collect();
        let snapshot = manifest.into();
        BackupReport { snapshot, duration_millis, bad_records, resumed, vanished, warnings, unread, unnamed_cluster }
    }

    /// How it ended.
    pub fn done(&self) -> Done {
        if self.snapshot.missing.is_empty() { Done::Whole } else { Done::Incomplete }
    }

    /// Makes sure that every record is accounted for: that what the backup found of the records adds up to what the
    /// snapshot has.
    ///
    /// # Errors
    ///
    /// If it doesn't, which is a mistake of the program: the snapshot is committed, and not to be relied on.
    pub fn check_counts(&self) -> Result<()> {
        let accounted = |counts: &CountsReport| {
            let CountsReport { added, changed, touched, healed, unchanged, .. } = *counts;
            added + changed + touched + healed + unchanged
        };
        match self.snapshot.namespaces.iter().find(|one| accounted(&one.counts) != one.live_records) {
            Some(wrong) => Err(Error::invalid(format!(
                "the counts of namespace {} don't add up: {:?}",
                wrong.namespace, wrong.counts
            ))),
            None => Ok(()),
        }
    }
}
