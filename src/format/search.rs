//! How a backup found out which of its parent's records are gone: part of manifests.

use super::FormatError;
use crate::record::PARTITIONS;
use serde::{Deserialize, Serialize};

/// Why the records of a partition were looked for one by one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum WalkReason {
    /// The source can't count what a scan leaves out, or not of this selection.
    NotCounted,
    /// The user asked for it.
    Asked,
    /// The source has fewer records than are known: some are gone.
    FewerThanKnown,
    /// The source has more records than are known: some came back with an older time.
    MoreThanKnown,
    /// It can't be shown that the cluster's nodes and partitions stayed where they were since the parent.
    Moved,
    /// A server's clock was set since the parent.
    ClockSet,
    /// The parent could not read the partition, and has it from an earlier snapshot.
    Older,
    /// The source did not tell what a scan left out.
    Untold,
    /// Records expired while they were counted.
    Expiring,
}

/// How a backup found out which of the parent's records are gone.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct DeleteSearch {
    /// Partitions whose records were counted, and are all there.
    pub counted: u32,
    /// Partitions that were not searched, since the user asked for that: what is gone from them is still in the
    /// snapshot.
    pub unsearched: u32,
    /// Partitions whose records were looked for one by one, by reason, each reason once.
    pub walked: Vec<(WalkReason, u32)>,
}

impl DeleteSearch {
    /// Adds partitions that were walked.
    pub fn add(&mut self, reason: WalkReason, partitions: u32) {
        match self.walked.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, known)) => *known += partitions,
            None if partitions > 0 => self.walked.push((reason, partitions)),
            None => {}
        }
        self.walked.sort_unstable();
    }

    /// Refuses what no writer writes.
    pub(super) fn check(&self) -> Result<(), FormatError> {
        let all = self.walked.iter().map(|(_, partitions)| u64::from(*partitions)).sum::<u64>();
        let all = all + u64::from(self.counted) + u64::from(self.unsearched);
        if all > u64::from(PARTITIONS) || !self.walked.is_sorted_by(|a, b| a.0 < b.0) {
            let expected = "at most 4096 partitions, reasons ascending, each once";
            return Err(FormatError::field("the search for deletes", expected, format_args!("{self:?}")));
        }
        Ok(())
    }
}
