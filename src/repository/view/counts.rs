//! What a backup did with records.

use crate::format::snapshot::Counts;

/// What a backup did with the records of a namespace.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct RecordCounts {
    /// Records read from the source.
    pub read: u64,
    /// Records that the parent did not have.
    pub added: u64,
    /// Records whose bins, key or set differ from the parent's.
    pub changed: u64,
    /// Records of which only generation, void time or bin order differ.
    pub touched: u64,
    /// Records that are as in the parent.
    pub unchanged: u64,
    /// Records of the parent that are gone.
    pub deleted: u64,
    /// Records rewritten because their value was missing or damaged.
    pub healed: u64,
    /// Records whose values were moved out of mostly dead chunks.
    pub moved: u64,
    /// Copies of a record that the source delivered more than once.
    pub duplicates: u64,
    /// Records that could not be parsed and were left out.
    pub bad: u64,
}

impl From<Counts> for RecordCounts {
    fn from(counts: Counts) -> Self {
        let Counts { read, added, changed, touched, unchanged, deleted, healed, moved, duplicates, bad } = counts;
        RecordCounts { read, added, changed, touched, unchanged, deleted, healed, moved, duplicates, bad }
    }
}
