//! Which records of a namespace are meant, and walking them.

use super::view::NamespaceView;
use crate::error::{Error, Result};
use crate::record::{BodyError, Digest, PARTITIONS, PartitionId, PartitionSet, RecordBatch, RecordView};
use crate::run::{Entry, Losses, MergedCursor};
use crate::sources::MetSets;
use std::borrow::Cow;
use std::collections::BTreeSet;

/// Which records are meant: those that meet all that is given. What is `None` leaves nothing out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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
    pub fn partitions(&self) -> Vec<PartitionId> {
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

/// The first digest of a partition in key order.
fn first_of(partition: PartitionId) -> Digest {
    let mut first = [0; 20];
    first[..2].copy_from_slice(&partition.number().to_le_bytes());
    Digest(first)
}

/// Walks the selected live entries of a namespace, past damaged nodes.
pub(crate) struct Walk<'v> {
    view: NamespaceView<'v>,
    selection: Cow<'v, Selection>,
    /// The cursor, the partition that it was opened for, and the last one that was taken.
    cursor: Option<(MergedCursor<'v>, PartitionId, PartitionId)>,
    losses: Losses,
    /// Wanted digests that the snapshot does not have.
    pub not_found: Vec<Digest>,
    /// Wanted digests whose entries can't be read.
    pub unreadable: Vec<(Digest, Error)>,
    /// The sets of what was walked, where sets are selected.
    pub sets: MetSets,
}

impl<'v> Walk<'v> {
    pub fn new(view: NamespaceView<'v>, selection: Cow<'v, Selection>) -> Self {
        let (not_found, unreadable) = (Vec::new(), Vec::new());
        let (losses, sets) = (Losses::default(), MetSets::default());
        Walk { view, selection, cursor: None, losses, not_found, unreadable, sets }
    }

    /// What it walks.
    pub fn selection(&self) -> &Selection {
        &self.selection
    }

    /// The selected live entries of a partition, in key order. Partitions must be asked for in order.
    pub fn take(&mut self, partition: PartitionId) -> Result<Vec<Entry>> {
        if let Some(digests) = &self.selection.digests {
            let mut found = Vec::new();
            for digest in digests.iter().filter(|digest| digest.partition() == partition) {
                match self.view.entry(digest) {
                    Ok(Some(live)) if self.selection.takes(digest, &live.set) => {
                        found.push(Entry { digest: *digest, live: Some(live) });
                    }
                    Ok(_) => self.not_found.push(*digest),
                    Err(error) if error.is_of_one_object() => self.unreadable.push((*digest, error)),
                    Err(error) => return Err(error),
                }
            }
            return Ok(found);
        }
        if self.cursor.as_ref().is_none_or(|(_, _, last)| last.number() + 1 != partition.number()) {
            self.end_range();
            let cursor = match partition.number() {
                0 => self.view.readable_entries()?,
                _ => self.view.readable_entries_from(first_of(partition))?,
            };
            self.cursor = Some((cursor, partition, partition));
        }
        let Some((cursor, _, last)) = &mut self.cursor else { return Ok(Vec::new()) };
        let mut entries = cursor.take_partition(partition)?;
        *last = partition;
        let (selection, met) = (&*self.selection, &mut self.sets);
        entries.retain(|entry| {
            let Some(live) = entry.live.as_ref().filter(|_| entry.digest.partition() == partition) else {
                return false;
            };
            if let Some(sets) = &selection.sets {
                met.note(&live.set, sets.contains(&live.set[..]));
            }
            selection.takes(&entry.digest, &live.set)
        });
        Ok(entries)
    }

    /// Whether what the snapshot holds for a digest of the last partition can't be told.
    pub fn is_unknown(&self, digest: &Digest) -> bool {
        match &self.cursor {
            Some((cursor, ..)) => cursor.is_unknown(digest),
            None => self.unreadable.iter().any(|(other, _)| other == digest),
        }
    }

    /// Damaged nodes that were met so far, or a little ahead.
    pub fn losses_so_far(&self) -> Losses {
        self.cursor.as_ref().map(|(cursor, ..)| cursor.losses()).unwrap_or_default()
    }

    fn end_range(&mut self) {
        let Some((cursor, first, last)) = self.cursor.take() else { return };
        let mut losses = cursor.losses();
        // Nodes that were read ahead are no matter here.
        let whole = first.number() == 0 && last.number() + 1 == PARTITIONS;
        if !whole && losses.nodes == losses.named.len() as u64 {
            losses.named.retain(|loss| {
                loss.from.is_none_or(|digest| digest.partition() <= last)
                    && loss.until.is_none_or(|digest| digest.partition() >= first)
            });
            losses.nodes = losses.named.len() as u64;
            losses.entries = losses.named.iter().map(|loss| loss.entries).sum();
        }
        self.losses.add(&losses);
    }

    /// What could not be read of what was walked.
    pub fn losses(&mut self) -> Losses {
        self.end_range();
        self.losses.clone()
    }
}
