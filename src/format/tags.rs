//! Changes of a snapshot's labels: what was added to those of its manifest and taken away since. A sealed value of kind
//! tags.
//!
//! Each label is in it with the number of its newest change, so that any two such objects can be merged, in any
//! order and any number of times, and all readers see the same labels.

use super::FormatError;
use super::ids::{SnapshotId, TagsId};
use super::snapshot::NUMBER_BOUND;
use super::text;
use serde::{Deserialize, Serialize};

/// Labels of one snapshot that can ever be changed.
pub const MAX_CHANGED: usize = 1024;

/// What became of one label.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LabelChange {
    /// The label.
    pub label: String,
    /// The number of its newest change: greater than all that its writer saw at this snapshot, from 1.
    pub sequence: u64,
    /// Whether the snapshot has it since.
    pub present: bool,
}

/// What became of a snapshot's labels since it was committed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Tags {
    /// Its id.
    pub id: TagsId,
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// When it was written, in milliseconds since the Unix epoch.
    pub changed: u64,
    /// The machine that wrote it.
    pub host: String,
    /// The program and its version.
    pub program: String,
    /// The labels that were ever changed, ascending, byte by byte.
    pub labels: Vec<LabelChange>,
}

impl Tags {
    /// Reads changes; they must be those that their key names, and of that snapshot.
    ///
    /// # Errors
    ///
    /// If the bytes are not those that the format defines; the error says what was expected and what was found.
    pub fn decode(snapshot: SnapshotId, id: TagsId, bytes: &[u8]) -> Result<Self, FormatError> {
        let tags: Tags = super::structured::decode("the labels", bytes)?;
        if tags.id != id {
            return Err(FormatError::field("the labels' id", id, tags.id));
        }
        if tags.snapshot != snapshot {
            return Err(FormatError::field("the labels' snapshot", snapshot, tags.snapshot));
        }
        text::check("the host", &tags.host, text::NAME_BYTES)?;
        text::check("the program", &tags.program, text::NAME_BYTES)?;
        check_changes(&tags.labels)?;
        Ok(tags)
    }
}

/// Makes sure that changes of labels can be stored.
///
/// # Errors
///
/// If there are too many, or one is empty or too long.
pub fn check_changes(labels: &[LabelChange]) -> Result<(), FormatError> {
    if labels.len() > MAX_CHANGED {
        return Err(FormatError::field("the changed labels", format_args!("at most {MAX_CHANGED}"), labels.len()));
    }
    if !labels.is_sorted_by(|a, b| a.label < b.label) {
        return Err(FormatError::field("the changed labels", "ascending, each once", "another order"));
    }
    for LabelChange { label, sequence, .. } in labels {
        text::check("a label", label, text::NAME_BYTES)?;
        if *sequence == 0 || *sequence >= NUMBER_BOUND {
            return Err(FormatError::field("the number of a label's change", "1 to 2^48 - 1", sequence));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::structured;

    fn change(label: &str, sequence: u64) -> LabelChange {
        LabelChange { label: label.into(), sequence, present: true }
    }

    fn decoded(labels: Vec<LabelChange>) -> Result<Tags, FormatError> {
        let (id, snapshot) = (TagsId([1; 16]), SnapshotId([2; 16]));
        let tags = Tags { id, snapshot, changed: 1, host: String::new(), program: String::new(), labels };
        Tags::decode(snapshot, id, &structured::encode(&tags).unwrap())
    }

    #[test]
    fn labels_ascend_and_stand_there_once() {
        assert!(decoded(vec![change("a", 1), change("b", 1)]).is_ok());
        for labels in [vec![change("b", 1), change("a", 1)], vec![change("a", 1), change("a", 2)]] {
            assert!(decoded(labels).unwrap_err().to_string().contains("ascending"));
        }
    }

    #[test]
    fn more_or_greater_ones_than_the_limits_are_refused() {
        let many = |n: usize| (0..n).map(|n| change(&format!("{n:05}"), 1)).collect::<Vec<_>>();
        assert!(decoded(many(MAX_CHANGED)).is_ok());
        assert!(decoded(many(MAX_CHANGED + 1)).unwrap_err().to_string().contains("at most 1024"));
        for sequence in [0, NUMBER_BOUND] {
            assert!(decoded(vec![change("a", sequence)]).unwrap_err().to_string().contains("2^48"));
        }
        assert!(decoded(vec![change(&"x".repeat(257), 1)]).unwrap_err().to_string().contains("at most 256"));
    }
}
