//! Keeps the records that a target does not take.

use super::jsonl::JsonlTarget;
use super::{ConflictPolicy, DeleteOutcome, RecordTarget, Remarks, UnbuiltIndex, WriteOutcome};
use crate::error::Result;
use crate::record::{Digest, NamespaceMetadata, RecordBatch, SecondaryIndex, Timestamp};
use crate::sources::RecordSource;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// A target whose refused records go into a file of JSON lines, as they were to be written, each with the reason: a
/// later restore takes the file once the reason is gone.
///
/// The file is made once a record was refused. It gets its name in [`RecordTarget::finish`], so a restore that fails
/// leaves none. Records that could not be read from the repository are not in it.
pub struct KeepFailed<'t> {
    target: &'t dyn RecordTarget,
    file: JsonlTarget,
    kept: AtomicU64,
}

impl<'t> KeepFailed<'t> {
    /// Keeps what `target` refuses in a new file.
    ///
    /// # Errors
    ///
    /// If the file exists, or its directory doesn't.
    pub fn new(target: &'t dyn RecordTarget, file: impl AsRef<Path>) -> Result<Self> {
        Ok(KeepFailed { target, file: JsonlTarget::new(file)?, kept: AtomicU64::new(0) })
    }

    /// How many records are in the file.
    pub fn kept(&self) -> u64 {
        self.kept.load(Ordering::Relaxed)
    }
}

impl RecordTarget for KeepFailed<'_> {
    fn name(&self) -> &str {
        self.target.name()
    }

    fn is_live(&self) -> bool {
        self.target.is_live()
    }

    fn clock(&self) -> Result<Timestamp> {
        self.target.clock()
    }

    fn preview_begin(&self, namespace: &str, metadata: &NamespaceMetadata) -> Result<Remarks> {
        self.target.preview_begin(namespace, metadata)
    }

    fn preview_write(&self, namespace: &str, batch: &RecordBatch, policy: ConflictPolicy) -> Result<WriteOutcome> {
        self.target.preview_write(namespace, batch, policy)
    }

    fn begin(&self, namespace: &str, metadata: &NamespaceMetadata) -> Result<Remarks> {
        self.target.begin(namespace, metadata)
    }

    fn add_metadata(&self, namespace: &str, metadata: &NamespaceMetadata) -> Result<Remarks> {
        self.target.add_metadata(namespace, metadata)
    }

    fn write(&self, namespace: &str, batch: &RecordBatch, policy: ConflictPolicy) -> Result<WriteOutcome> {
        let mut outcome = self.target.write(namespace, batch, policy)?;
        if outcome.failed.is_empty() {
            return Ok(outcome);
        }
        let reasons: BTreeMap<Digest, &str> =
            outcome.failed.iter().map(|failed| (failed.digest, failed.reason.as_str())).collect();
        let unkept = self.file.write_refused(namespace, batch, &reasons)?;
        self.kept.fetch_add((reasons.len() - unkept.len()) as u64, Ordering::Relaxed);
        for failed in &mut outcome.failed {
            if let Some(problem) = unkept.get(&failed.digest) {
                failed.reason += &format!("; nor does {} hold it: {problem}", self.file.name());
            }
        }
        Ok(outcome)
    }

    fn unbuilt_indexes(&self, namespace: &str, indexes: &[SecondaryIndex]) -> Result<Vec<UnbuiltIndex>> {
        self.target.unbuilt_indexes(namespace, indexes)
    }

    fn delete(&self, namespace: &str, digests: &[Digest]) -> Result<DeleteOutcome> {
        self.target.delete(namespace, digests)
    }

    fn read_back(&self, set: Option<&[u8]>) -> Result<Option<Box<dyn RecordSource>>> {
        self.target.read_back(set)
    }

    fn name_of<'a>(&'a self, namespace: &'a str) -> &'a str {
        self.target.name_of(namespace)
    }

    /// The file first: it is worth more than what the target may yet find.
    fn finish(&self) -> Result<()> {
        if self.kept() > 0 {
            self.file.finish()?;
        }
        self.target.finish()
    }
}

#[cfg(all(test, feature = "asb"))]
mod tests {
    use super::*;
    use crate::record::{BinRef, Generation, ParticleType, RecordMeta, VoidTime};
    use crate::targets::asb::{AsbTarget, AsbTargetOptions};

    #[test]
    fn of_a_batch_every_refused_record_is_kept_with_its_own_reason_or_told_to_be_kept_nowhere() {
        let directory = tempfile::tempdir().unwrap();
        let target = AsbTarget::new(&directory.path().join("out"), AsbTargetOptions::default()).unwrap();
        let keeping = KeepFailed::new(&target, directory.path().join("failed.jsonl")).unwrap();
        let meta = |n: u8, generation| RecordMeta {
            digest: Digest([n; 20]),
            set: b"s",
            generation: Generation(generation),
            void_time: VoidTime::NEVER,
        };
        let mut batch = RecordBatch::new();
        let odd = BinRef { name: b"odd", particle: ParticleType(99), bytes: b"x" };
        batch.push(meta(1, 70_000), None, &[]).unwrap();
        batch.push(meta(2, 1), None, &[]).unwrap();
        batch.push(meta(3, 1), None, &[odd]).unwrap();
        batch.push_encoded(meta(4, 1), b"no body at all", b"").unwrap();
        keeping.begin("test", &NamespaceMetadata::default()).unwrap();
        let outcome = keeping.write("test", &batch, ConflictPolicy::Replace).unwrap();
        keeping.finish().unwrap();
        assert_eq!((outcome.written, outcome.failed.len(), keeping.kept()), (1, 3, 2));
        let nowhere = |failed: &crate::targets::FailedRecord| failed.reason.contains("; nor does jsonl:");
        let nowhere: Vec<Digest> = outcome.failed.iter().filter(|one| nowhere(one)).map(|one| one.digest).collect();
        assert_eq!(nowhere, [Digest([4; 20])]);
        let text = std::fs::read_to_string(directory.path().join("failed.jsonl")).unwrap();
        let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let refused = lines.iter().filter_map(|line| Some((line["generation"].as_u64()?, line["refused"].as_str()?)));
        let expected = outcome.failed.iter().take(2).map(|failed| failed.reason.as_str());
        assert_eq!(refused.collect::<Vec<_>>(), [70_000, 1].into_iter().zip(expected).collect::<Vec<_>>());
    }
}
