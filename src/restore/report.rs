//! What is restored and how, and what came of it.

use crate::error::{Error, OptionsError, Result};
use crate::record::{Digest, VoidTime};
use crate::repository::Selection;
use crate::run::Losses;
use crate::setters::setters;
use crate::sources::MetSets;
use crate::targets::{ConflictPolicy, FailedRecord, Remarks};
use std::collections::BTreeMap;

/// Failed records that are kept by name; further ones are only counted.
const MAX_FAILED: usize = 1000;

/// Reasons of the others that are told apart: servers and files say what they like.
const MAX_REASONS: usize = 100;

/// What those past them are called.
const OTHER_REASONS: &str = "other reasons";

/// When restored records expire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Expiry {
    /// When they would have.
    #[default]
    AsBackedUp,
    /// So many seconds later; those that never expire still don't.
    Later(u32),
    /// Never.
    Never,
}

impl Expiry {
    /// When a record expires that was backed up with this void time.
    pub fn of(self, void_time: VoidTime) -> VoidTime {
        match self {
            Expiry::Never => VoidTime::NEVER,
            Expiry::Later(seconds) if void_time != VoidTime::NEVER => VoidTime(void_time.0.saturating_add(seconds)),
            _ => void_time,
        }
    }
}

/// How records are restored.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct RestoreOptions {
    /// Which records.
    pub selection: Selection,
    /// The namespace's name in the target; its own if not given.
    pub rename: Option<String>,
    /// What happens to records that a live target has. They are replaced if nothing is said, as long as that drops none
    /// of their bins.
    pub conflict: Option<ConflictPolicy>,
    /// When they expire.
    pub expiry: Expiry,
    /// Leave out all records: only indexes, UDF modules, users and roles are restored.
    pub without_records: bool,
    /// Leave out secondary indexes.
    pub without_indexes: bool,
    /// Leave out UDF modules.
    pub without_udfs: bool,
    /// Leave out users and roles.
    pub without_users: bool,
    /// Make secondary indexes after the records, not before.
    pub indexes_last: bool,
    /// Pass over records that a live target holds as they would be written: what an earlier restore has done is not
    /// done again. It is the target that is looked at, so nothing is taken for done that is not.
    pub resume: bool,
    /// Then delete what a live target has of the selected sets and partitions and the snapshot has not.
    pub mirror: bool,
}

setters!(RestoreOptions {
    selection: Selection,
    expiry: Expiry,
    without_records: bool,
    without_indexes: bool,
    without_udfs: bool,
    without_users: bool,
    indexes_last: bool,
    resume: bool,
    mirror: bool,
} into {
    conflict: Option<ConflictPolicy>,
    rename: Option<String>,
});

impl RestoreOptions {
    /// What happens to records that the target has.
    pub(crate) fn policy(&self) -> ConflictPolicy {
        self.conflict.unwrap_or_default()
    }

    /// Refuses options that don't go together, or not with this target: one that has records already (`is_live`), or
    /// files. Every restore does so; a caller may want to know before it opens the target.
    ///
    /// # Errors
    ///
    /// If options don't go together, or not with the target.
    pub fn check(&self, target: &str, is_live: bool) -> Result<()> {
        let wrong = |problem: &str| Err(Error::usage(format!("{target}: {problem}")));
        if !is_live {
            if self.policy() == ConflictPolicy::Merge {
                return wrong("a file is rewritten, so there is nothing to merge with; leave out `conflict` merge");
            }
            if self.resume {
                return wrong("a file is rewritten as a whole, and can't be resumed; leave out `resume`");
            }
            if self.mirror {
                return wrong("a file holds what is restored and nothing else; leave out `mirror`");
            }
            if self.indexes_last {
                return wrong("in a file indexes come before the records; leave out `indexes_last`");
            }
        }
        if is_live && self.selection.bins.is_some() && self.conflict.is_none() {
            return Err(OptionsError::BinsWithoutConflict.into());
        }
        if self.without_records && (self.mirror || self.resume || self.selection != Selection::default()) {
            return wrong(
                "without records there is nothing to select, to mirror or to resume; leave that out, or \
                          `without_records`",
            );
        }
        if self.mirror {
            let selection = &self.selection;
            if selection.digests.is_some() || selection.bins.is_some() {
                return wrong("`mirror` is for whole namespaces, sets and partitions, not for single records or bins");
            }
            if self.policy() != ConflictPolicy::Replace {
                return wrong("`mirror` makes the target what the snapshot is, and goes with `conflict` replace alone");
            }
            if selection.sets.as_ref().is_some_and(|sets| sets.contains(&b""[..])) {
                return wrong("`mirror` can't tell the records without a set from the others; leave out the set");
            }
        }
        Ok(())
    }
}

/// What became of every record, or in a plan would. `read` is the sum of the next seven.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RestoreReport {
    /// Records of the snapshot that were selected.
    pub read: u64,
    /// Records written.
    pub written: u64,
    /// Records passed over because the target had them as they would have been written.
    pub same: u64,
    /// Records skipped because they have expired.
    pub expired: u64,
    /// Records skipped because the target had them.
    pub exists: u64,
    /// Records skipped because the target's were as new or newer.
    pub fresher: u64,
    /// Records skipped because they have none of the selected bins.
    pub without_bins: u64,
    /// Records that could not be read or were refused.
    pub failed: u64,
    /// How many of those failed because the repository is damaged.
    pub damaged: u64,
    /// The first thousand of those that failed, with the reason.
    pub failures: Vec<FailedRecord>,
    /// How many of the others failed for which reason.
    pub more_failures: Reasons,
    /// What could not be read of the namespace's entries. These records are in none of the counts above.
    pub lost: Losses,
    /// How many records the snapshot says it holds and `read` lacks, where all were selected.
    pub records_lost: u64,
    /// Why the indexes and UDF modules could not be read, if so.
    pub metadata_lost: Option<String>,
    /// Wanted digests that the snapshot does not have.
    pub not_found: Vec<Digest>,
    /// The sets of the namespace that were met, where sets were selected.
    pub sets: MetSets,
    /// What the target said of the namespace: indexes and the like that it could not take, and notes.
    pub remarks: Remarks,
    /// Bytes of the bodies.
    pub bytes: u64,
    /// Records of the target that were deleted since the snapshot lacks them.
    pub deleted: u64,
    /// Records of the target that should have been deleted and were not.
    pub not_deleted: u64,
    /// The first thousand of those, with the reason.
    pub undeleted: Vec<FailedRecord>,
    /// How many of the others could not be deleted for which reason.
    pub more_undeleted: Reasons,
    /// Which of the selected records, by their place in key order, the target need not have as they are in the
    /// snapshot.
    pub left_out: Marks,
}

/// How many records had which reason. Past the first hundred reasons they are counted as one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reasons(BTreeMap<String, u64>);

impl Reasons {
    /// The reasons, each with its number of records.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|(reason, number)| (reason.as_str(), *number))
    }

    fn add(&mut self, reason: &str, number: u64) {
        let known = self.0.len() < MAX_REASONS || self.0.contains_key(reason);
        *self.0.entry(if known { reason } else { OTHER_REASONS }.to_string()).or_default() += number;
    }

    /// Keeps the first records by name, and counts the others.
    pub(super) fn keep(&mut self, failures: &mut Vec<FailedRecord>, more: impl IntoIterator<Item = FailedRecord>) {
        for failed in more {
            match failures.len() < MAX_FAILED {
                true => failures.push(failed),
                false => self.add(&failed.reason, 1),
            }
        }
    }
}

/// A set of records, by their places in key order among those that were selected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marks(Vec<u64>);

impl Marks {
    /// Adds the record at a place.
    pub fn set(&mut self, place: u64) {
        let word = (place / 64) as usize;
        if word >= self.0.len() {
            self.0.resize(word + 1, 0);
        }
        self.0.get_mut(word).into_iter().for_each(|word| *word |= 1 << (place % 64));
    }

    /// Whether the record at a place is one of them.
    pub fn contains(&self, place: u64) -> bool {
        self.0.get((place / 64) as usize).is_some_and(|word| word & (1 << (place % 64)) != 0)
    }

    fn add(&mut self, other: &Marks) {
        if other.0.len() > self.0.len() {
            self.0.resize(other.0.len(), 0);
        }
        self.0.iter_mut().zip(&other.0).for_each(|(own, word)| *own |= word);
    }
}

impl RestoreReport {
    /// Whether every record is accounted for.
    pub fn adds_up(&self) -> bool {
        let passed_over = self.same + self.expired + self.exists + self.fresher + self.without_bins;
        self.read == self.written + passed_over + self.failed
    }

    /// Whether the repository turned out to be damaged: then some of what was selected was not restored. What was
    /// restored is right.
    pub fn is_damaged(&self) -> bool {
        self.damaged > 0 || self.records_lost > 0 || !self.lost.is_empty() || self.metadata_lost.is_some()
    }

    /// Adds another report, of other records, to this one.
    pub fn add(&mut self, other: RestoreReport) {
        self.read += other.read;
        self.written += other.written;
        self.same += other.same;
        self.expired += other.expired;
        self.exists += other.exists;
        self.fresher += other.fresher;
        self.without_bins += other.without_bins;
        self.failed += other.failed;
        self.damaged += other.damaged;
        self.records_lost += other.records_lost;
        self.lost.add(&other.lost);
        self.metadata_lost = self.metadata_lost.take().or(other.metadata_lost);
        self.sets.add(other.sets);
        self.remarks.add(other.remarks);
        self.bytes += other.bytes;
        self.more_failures.keep(&mut self.failures, other.failures);
        other.more_failures.iter().for_each(|(reason, number)| self.more_failures.add(reason, number));
        self.not_found.extend(other.not_found);
        self.deleted += other.deleted;
        self.not_deleted += other.not_deleted;
        self.more_undeleted.keep(&mut self.undeleted, other.undeleted);
        other.more_undeleted.iter().for_each(|(reason, number)| self.more_undeleted.add(reason, number));
        self.left_out.add(&other.left_out);
    }

    pub(crate) fn fail(&mut self, failed: FailedRecord) {
        self.failed += 1;
        self.more_failures.keep(&mut self.failures, [failed]);
    }

    pub(crate) fn fail_damaged(&mut self, digest: Digest, error: &Error) {
        self.damaged += 1;
        self.fail(FailedRecord { digest, reason: error.to_string() });
    }
}

/// The one set that is selected, if it is one.
pub(crate) fn only_set(selection: &Selection) -> Option<&[u8]> {
    match &selection.sets {
        // Servers take no name for none.
        Some(sets) if sets.len() == 1 && selection.digests.is_none() => {
            sets.first().map(Vec::as_slice).filter(|set| !set.is_empty())
        }
        _ => None,
    }
}
