//! Where records go on a restore.

#[cfg(feature = "cluster")]
pub mod aerospike;
#[cfg(feature = "asb")]
pub mod asb;
#[cfg(feature = "embedded")]
pub mod embedded;
#[cfg(feature = "jsonl")]
pub mod jsonl;
#[cfg(feature = "jsonl")]
pub mod keep_failed;
pub mod partial;

use crate::error::{Error, Result};
use crate::record::{Digest, Generation, NamespaceMetadata, RecordBatch, SecondaryIndex, Timestamp};
use crate::sources::RecordSource;

/// What happens to a record that the target already has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum ConflictPolicy {
    /// The snapshot's record replaces it.
    #[default]
    Replace,
    /// The snapshot's bins are written over its own; those that the snapshot's record lacks stay.
    Merge,
    /// The target's record stays.
    Keep,
    /// The one with the higher generation stays; on a tie the target's.
    Newer,
}

/// What a policy makes of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is written.
    Written,
    /// It is left alone, because the target has it.
    Exists,
    /// It is left alone, because the target's is as new or newer.
    Fresher,
}

impl ConflictPolicy {
    /// What becomes of a record of this generation where the target has one of generation `there`, if any.
    pub fn fate(self, there: Option<Generation>, generation: Generation) -> Fate {
        match (self, there) {
            (ConflictPolicy::Keep, Some(_)) => Fate::Exists,
            (ConflictPolicy::Newer, Some(there)) if there >= generation => Fate::Fresher,
            _ => Fate::Written,
        }
    }
}

/// A record that the target refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedRecord {
    /// Its digest.
    pub digest: Digest,
    /// Why.
    pub reason: String,
}

/// What became of one batch. The four counts and the failures add up to the batch's length.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriteOutcome {
    /// Records written.
    pub written: u64,
    /// Records that expired between being read and being written.
    pub expired: u64,
    /// Records left alone because the target had them ([`ConflictPolicy::Keep`]).
    pub exists: u64,
    /// Records left alone because the target's was as new or newer ([`ConflictPolicy::Newer`]).
    pub fresher: u64,
    /// Records that were refused.
    pub failed: Vec<FailedRecord>,
    /// The records that make up `expired`, `exists` and `fresher`.
    pub left_alone: Vec<Digest>,
}

/// A secondary index that a target has not built yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnbuiltIndex {
    /// Its name.
    pub name: Vec<u8>,
    /// How much of it is built, in percent, where it is least so.
    pub percent: u32,
    /// It won't be built: the target says that it failed.
    pub failed: bool,
}

/// What became of records that were to be deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeleteOutcome {
    /// Records deleted, or gone already.
    pub deleted: u64,
    /// Records that the target would not delete.
    pub failed: Vec<FailedRecord>,
}

/// What a target says of a namespace that it is given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remarks {
    /// Indexes, UDF modules, roles and users that it can't take, each with its reason, for people. A restore with any
    /// is done but incomplete.
    pub omissions: Vec<String>,
    /// What else to tell people: what an earlier restore had left there and was removed, or how files have to be read.
    pub notes: Vec<String>,
}

impl Remarks {
    /// Adds others. What belongs to a whole cluster is said with each namespace, and is kept once.
    pub(crate) fn add(&mut self, more: Remarks) {
        let add = |all: &mut Vec<String>, more: Vec<String>| {
            more.into_iter().for_each(|one| {
                if !all.contains(&one) {
                    all.push(one)
                }
            })
        };
        add(&mut self.omissions, more.omissions);
        add(&mut self.notes, more.notes);
    }
}

/// Something that can be restored into.
///
/// To make a target changes nothing yet: it looks at what is there, and refuses what can't be restored into. What is to
/// be made (directories, files, a store) is made by [`RecordTarget::begin`], so that a plan can be had of any target
/// ([`Snapshot::restore_plan`](crate::Snapshot::restore_plan)).
pub trait RecordTarget: Send + Sync {
    /// Its name for people, such as `asb:/restore/out`; no secrets.
    fn name(&self) -> &str;

    /// Whether records expire there. Expired records are skipped for a live target; files keep them.
    fn is_live(&self) -> bool;

    /// The target's clock, by which a live target's records expire.
    ///
    /// # Errors
    ///
    /// If the target can't be reached.
    fn clock(&self) -> Result<Timestamp>;

    /// Says what [`RecordTarget::begin`] would, and changes nothing. If nothing is said, all would be taken.
    ///
    /// # Errors
    ///
    /// If the target can't be reached, or [`RecordTarget::begin`] would fail as far as can be told.
    fn preview_begin(&self, namespace: &str, metadata: &NamespaceMetadata) -> Result<Remarks> {
        let _ = (namespace, metadata);
        Ok(Remarks::default())
    }

    /// Says what [`RecordTarget::write`] would, and changes nothing. If nothing is said, every record would be written.
    ///
    /// Which records a live target has is no matter of it: where that decides, it is read
    /// ([`RecordTarget::read_back`]), and those that it would keep are not among the batch.
    ///
    /// # Errors
    ///
    /// If the target can't be reached.
    fn preview_write(&self, namespace: &str, batch: &RecordBatch, policy: ConflictPolicy) -> Result<WriteOutcome> {
        let _ = (namespace, policy);
        Ok(WriteOutcome { written: batch.len() as u64, ..WriteOutcome::default() })
    }

    /// Prepares for the records of a namespace and takes its indexes, UDF modules, roles and users. Called once for
    /// each namespace, before its first batch.
    ///
    /// # Errors
    ///
    /// If the target can't be reached or written.
    fn begin(&self, namespace: &str, metadata: &NamespaceMetadata) -> Result<Remarks>;

    /// Writes a batch. Called from several threads at once. A record that is refused is reported in the outcome; an
    /// error means that the target as a whole can't go on.
    ///
    /// # Errors
    ///
    /// If the target as a whole can't go on. A record that is refused is no error: the outcome names it.
    fn write(&self, namespace: &str, batch: &RecordBatch, policy: ConflictPolicy) -> Result<WriteOutcome>;

    /// Takes indexes and UDF modules after the records. Only live targets do.
    ///
    /// # Errors
    ///
    /// If the target can't be reached, or is not a live one.
    fn add_metadata(&self, namespace: &str, metadata: &NamespaceMetadata) -> Result<Remarks> {
        let _ = (namespace, metadata);
        Err(Error::usage(format!("{}: indexes come before the records there, not after them", self.name())))
    }

    /// Which of these indexes of a namespace are not built yet. Where indexes need not be built there are none.
    ///
    /// # Errors
    ///
    /// If the target can't be reached.
    fn unbuilt_indexes(&self, namespace: &str, indexes: &[SecondaryIndex]) -> Result<Vec<UnbuiltIndex>> {
        let _ = (namespace, indexes);
        Ok(Vec::new())
    }

    /// Deletes records. Only live targets can.
    ///
    /// # Errors
    ///
    /// If the target can't go on, or is not a live one.
    fn delete(&self, namespace: &str, digests: &[Digest]) -> Result<DeleteOutcome> {
        let _ = (namespace, digests);
        Err(Error::usage(format!(
            "{} holds what is written to it and nothing else: there is nothing to delete",
            self.name()
        )))
    }

    /// The target as a source, to look at what it holds: all of it, or one set. Files can be read once they are
    /// finished. `None` if there is nothing, or nothing can be read back.
    ///
    /// # Errors
    ///
    /// If the target can't be read.
    fn read_back(&self, set: Option<&[u8]>) -> Result<Option<Box<dyn RecordSource>>> {
        let _ = set;
        Ok(None)
    }

    /// What a namespace that is restored as `namespace` is called in the target.
    fn name_of<'a>(&'a self, namespace: &'a str) -> &'a str {
        namespace
    }

    /// Completes the output: flushes, gives files their final names. Without it a target leaves nothing that could be
    /// taken for a whole one. Nothing need have been begun: a file or a store is left then that holds no namespace.
    ///
    /// # Errors
    ///
    /// If the output can't be completed: it is not to be taken for a whole one then.
    fn finish(&self) -> Result<()>;
}

/// Says that users and roles are left out, if there are any, and why.
fn without_users(metadata: &NamespaceMetadata, why: &str) -> Option<String> {
    if metadata.roles.is_empty() && metadata.users.is_empty() {
        return None;
    }
    let count = |n: usize, noun: &str| format!("{n} {noun}{}", if n == 1 { "" } else { "s" });
    let (roles, users) = (count(metadata.roles.len(), "role"), count(metadata.users.len(), "user"));
    Some(format!("{roles} and {users}: {why}; `without_users` leaves users and roles out"))
}
