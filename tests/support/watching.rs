//! A source that tells a test what it is asked for, and otherwise passes everything on.

use aerolith::record::{Digest, NamespaceMetadata, PartitionId, PartitionSet, RecordBatch, Timestamp};
use aerolith::{BadRecord, DigestRow, PartitionedSource, RecordSource, Result, SourceShape, Standing};
use std::ops::Deref;

/// What a source is asked for.
#[derive(Clone, Copy, Debug)]
pub enum Asked {
    Metadata,
    #[allow(dead_code, reason = "not all who watch look at them")]
    Scan(PartitionId, Option<Timestamp>),
    Walk,
    Read,
    CheckLosses,
}

/// What a test does about it.
pub trait Watch: Send + Sync {
    type Source: RecordSource + PartitionedSource;

    /// The source that answers.
    fn source(&self) -> &Self::Source;

    /// Called before it answers; an error is the answer.
    fn asked(&self, asked: Asked) -> Result<()>;

    /// What the source says that it was asked for.
    fn selection(&self) -> String {
        self.source().selection()
    }
}

/// The source with a watch on it.
pub struct Watching<W>(pub W);

impl<W> Deref for Watching<W> {
    type Target = W;

    fn deref(&self) -> &W {
        &self.0
    }
}

impl<W: Watch> RecordSource for Watching<W> {
    fn name(&self) -> &str {
        self.source().name()
    }

    fn cluster(&self) -> Option<String> {
        self.source().cluster()
    }

    fn namespaces(&self) -> Result<Vec<String>> {
        self.source().namespaces()
    }

    fn clock(&self) -> Result<Timestamp> {
        self.source().clock()
    }

    fn metadata(&self, namespace: &str) -> Result<NamespaceMetadata> {
        self.asked(Asked::Metadata)?;
        self.source().metadata(namespace)
    }

    fn selection(&self) -> String {
        self.0.selection()
    }

    fn unfound(&self, namespace: &str) -> Option<String> {
        self.source().unfound(namespace)
    }

    fn standing(&self, namespace: &str) -> Result<Option<Standing>> {
        self.source().standing(namespace)
    }

    fn notes(&self) -> Vec<String> {
        self.source().notes()
    }

    fn holds_changes_only(&self) -> Option<String> {
        self.source().holds_changes_only()
    }

    fn shape(&self) -> SourceShape<'_> {
        SourceShape::Partitioned(self)
    }
}

impl<W: Watch> PartitionedSource for Watching<W> {
    fn partitions(&self) -> PartitionSet {
        self.source().partitions()
    }

    fn prepare(&self, namespace: &str, wanted: &[(PartitionId, Option<Timestamp>)]) {
        self.source().prepare(namespace, wanted);
    }

    fn scan(
        &self,
        namespace: &str,
        partition: PartitionId,
        since: Option<Timestamp>,
        each: &mut dyn FnMut(RecordBatch) -> Result<()>,
    ) -> Result<()> {
        self.asked(Asked::Scan(partition, since))?;
        self.source().scan(namespace, partition, since, each)
    }

    fn walk(
        &self,
        namespace: &str,
        partition: PartitionId,
        before: Option<Timestamp>,
        each: &mut dyn FnMut(&[DigestRow]) -> Result<()>,
    ) -> Result<()> {
        self.asked(Asked::Walk)?;
        self.source().walk(namespace, partition, before, each)
    }

    fn read(&self, namespace: &str, digests: &[Digest], each: &mut dyn FnMut(RecordBatch) -> Result<()>) -> Result<()> {
        self.asked(Asked::Read)?;
        self.source().read(namespace, digests, each)
    }

    fn check_losses(&self, namespace: &str, partitions: &PartitionSet) -> Result<()> {
        self.asked(Asked::CheckLosses)?;
        self.source().check_losses(namespace, partitions)
    }

    fn clock_margin_millis(&self) -> u64 {
        self.source().clock_margin_millis()
    }

    fn take_bad_records(&self) -> (u64, Vec<BadRecord>) {
        self.source().take_bad_records()
    }
}
