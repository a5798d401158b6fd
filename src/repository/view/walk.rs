//! Walking the selected records of a snapshot.

use super::NamespaceView;
use crate::error::{Error, Result};
use crate::record::{Digest, PARTITIONS, PartitionId};
use crate::repository::selection::Selection;
use crate::run::{Entry, EntryRef, Losses, MergedCursor};
use crate::sources::MetSets;
use std::borrow::Cow;

/// The first digest of a partition in key order.
fn first_of(partition: PartitionId) -> Digest {
    let mut first = [0; 20];
    first[..2].copy_from_slice(&partition.number().to_le_bytes());
    Digest(first)
}

/// Walks the selected live entries of a namespace, past damaged nodes.
pub(crate) struct SelectionWalk<'v> {
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

impl<'v> SelectionWalk<'v> {
    pub fn new(view: NamespaceView<'v>, selection: Cow<'v, Selection>) -> Self {
        let (not_found, unreadable) = (Vec::new(), Vec::new());
        let (losses, sets) = (Losses::default(), MetSets::default());
        SelectionWalk { view, selection, cursor: None, losses, not_found, unreadable, sets }
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
        let entries = cursor.take_partition(partition)?;
        *last = partition;
        let (selection, met) = (&*self.selection, &mut self.sets);
        let mut is_wanted = |entry: &EntryRef<'_>| {
            let Some(live) = entry.live().filter(|_| entry.digest.partition() == partition) else {
                return false;
            };
            if let Some(sets) = &selection.sets {
                met.note(live.set(), sets.contains(&live.set()[..]));
            }
            selection.takes(entry.digest, live.set())
        };
        Ok(entries.iter().filter(|entry| is_wanted(entry)).map(|entry| entry.to_entry()).collect())
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
