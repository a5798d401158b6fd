//! Which records of a namespace are meant, and walking them.

use crate::record::{BodyError, Digest, PartitionId, PartitionSet, RecordBatch, RecordView};
use crate::setters::setters;
use std::collections::BTreeSet;

/// Which records are meant: those that meet all that is given. What is `None` leaves nothing out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Selection {
    /// Those of these sets; the empty name is the null set.
    pub sets: Option<BTreeSet<Vec<u8>>>,
    /// Those with these digests.
    pub digests: Option<BTreeSet<Digest>>,
    /// Those of these partitions.
    pub partitions: Option<PartitionSet>,
    /// Of each record, the bins with these names.
    pub bins: Option<BTreeSet<Vec<u8>>>,
}

setters!(Selection {
} into {
    partitions: Option<PartitionSet>,
} each {
    sets: Vec<u8> => BTreeSet<Vec<u8>>,
    digests: Digest => BTreeSet<Digest>,
    bins: Vec<u8> => BTreeSet<Vec<u8>>,
});

impl Selection {
    /// The records of one set.
    pub fn of_set(set: impl Into<Vec<u8>>) -> Self {
        Selection { sets: Some([set.into()].into()), ..Self::default() }
    }

    /// The records with these digests.
    pub fn of_digests(digests: BTreeSet<Digest>) -> Self {
        Selection { digests: Some(digests), ..Self::default() }
    }

    /// Whether every record of the namespace is meant, if perhaps not all its bins.
    pub fn is_every_record(&self) -> bool {
        self.sets.is_none() && self.digests.is_none() && self.partitions.is_none()
    }

    /// Whether a record is meant.
    pub fn takes(&self, digest: &Digest, set: &[u8]) -> bool {
        self.sets.as_ref().is_none_or(|sets| sets.contains(set))
            && self.partitions.is_none_or(|partitions| partitions.contains(digest.partition()))
            && self.digests.as_ref().is_none_or(|digests| digests.contains(digest))
    }

    /// The partitions in which selected records can be, ascending.
    pub fn selected_partitions(&self) -> Vec<PartitionId> {
        let all = self.partitions.unwrap_or_else(PartitionSet::all);
        match &self.digests {
            None => all.iter().collect(),
            Some(digests) => {
                let own: PartitionSet = digests.iter().map(Digest::partition).collect();
                own.iter().filter(|partition| all.contains(*partition)).collect()
            }
        }
    }

    /// Adds a record to a batch, with the selected bins alone; `false` if it has none of them, and is not added.
    ///
    /// # Errors
    ///
    /// If the record's body is damaged.
    pub fn push_to(&self, record: &RecordView<'_>, batch: &mut RecordBatch) -> Result<bool, BodyError> {
        let Some(names) = &self.bins else {
            batch.push_encoded(record.meta, record.body, record.bin_order)?;
            return Ok(true);
        };
        let body = record.parse()?;
        let mut bins = record.in_source_order(body.bins());
        bins.retain(|bin| names.contains(bin.name));
        if bins.is_empty() {
            return Ok(false);
        }
        batch.push(record.meta, body.key(), &bins)?;
        Ok(true)
    }
}
