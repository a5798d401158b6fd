//! The records of a namespace, one after another.

use super::walk::SelectionWalk;
use super::{NamespaceView, Record};
use crate::error::{Error, Result};
use crate::format::ChunkId;
use crate::record::{Digest, PartitionId, RecordBatch};
use crate::repository::selection::Selection;
use crate::run::{Entry, LiveEntry, Loss, Losses, ValueReader};
use std::borrow::Cow;
use std::collections::HashSet;
use std::vec::IntoIter;

/// The records of a selection, in key order.
///
/// What is damaged or missing is an error in its place, and the records after it follow: whoever wants all or nothing
/// stops at the first error, whoever wants what is left goes on. Any other error, such as one of the network, is the
/// last item.
#[must_use = "records are read as the iterator is driven"]
pub struct Records<'a> {
    walk: SelectionWalk<'a>,
    view: NamespaceView<'a>,
    /// What reads the bodies, from the first record on.
    values: Option<ValueReader<'a>>,
    partitions: IntoIter<PartitionId>,
    entries: IntoIter<Entry>,
    /// What can't be read of the partition at hand, to be told before its records.
    errors: IntoIter<Error>,
    /// The damaged nodes that were told.
    told: HashSet<(ChunkId, Option<Digest>)>,
    ended: bool,
}

impl<'a> Records<'a> {
    pub(super) fn new(view: NamespaceView<'a>, selection: Selection) -> Self {
        let partitions = selection.selected_partitions().into_iter();
        Records {
            walk: SelectionWalk::new(view, Cow::Owned(selection)),
            view,
            values: None,
            partitions,
            entries: IntoIter::default(),
            errors: IntoIter::default(),
            told: HashSet::new(),
            ended: false,
        }
    }

    /// The selected digests that the snapshot does not have, among those that were passed so far.
    pub fn not_found(&self) -> &[Digest] {
        &self.walk.not_found
    }

    /// Goes on to the next partition; `false` after the last.
    fn advance(&mut self) -> Result<bool> {
        let Some(partition) = self.partitions.next() else { return Ok(false) };
        self.entries = self.walk.take(partition)?.into_iter();
        let mut errors: Vec<Error> = self.walk.unreadable.drain(..).map(|(_, error)| error).collect();
        // The walk may have read a little further: what is damaged there is told in its place.
        let touches = |loss: &&Loss| {
            loss.from.is_none_or(|digest| digest.partition() <= partition)
                && loss.until.is_none_or(|digest| digest.partition() >= partition)
        };
        let losses = self.walk.losses_so_far();
        for loss in losses.named.iter().filter(touches) {
            if self.told.insert((loss.chunk, loss.from)) {
                errors.push(Error::damaged(format!("partition {}", partition.number()), loss.to_string()));
            }
        }
        self.errors = errors.into_iter();
        Ok(true)
    }

    /// What is damaged beyond the nodes that are kept by name; nothing mostly.
    fn untold(&mut self) -> Option<Error> {
        let Losses { named, nodes, .. } = self.walk.losses();
        let more = nodes.checked_sub(named.len() as u64).filter(|more| *more > 0)?;
        Some(Error::damaged("the namespace", format!("{more} more leaves and branch nodes can't be read")))
    }

    /// The record of an entry, with the selected bins; `None` if it has none of them.
    fn record(&mut self, digest: Digest, entry: LiveEntry) -> Result<Option<Record>> {
        let values = match &mut self.values {
            Some(values) => values,
            none => none.insert(ValueReader::new(self.view.chunks()?)),
        };
        let body = values.body(&entry)?.to_vec();
        let record = Record { digest, entry, body };
        let selection = self.walk.selection();
        if selection.bins.is_none() {
            return Ok(Some(record));
        }
        let wrong = |error: crate::record::BodyError| Error::damaged(format!("record {digest}"), error.to_string());
        let (mut whole, mut selected) = (RecordBatch::new(), RecordBatch::new());
        record.push_to(&mut whole)?;
        if let Some(view) = whole.get(0) {
            selection.push_to(&view, &mut selected).map_err(wrong)?;
        }
        Ok(selected.get(0).map(|view| {
            let entry = LiveEntry { bin_order: view.bin_order.into(), ..record.entry };
            Record { digest, entry, body: view.body.to_vec() }
        }))
    }
}

impl Iterator for Records<'_> {
    type Item = Result<Record>;

    fn next(&mut self) -> Option<Result<Record>> {
        while !self.ended {
            if let Some(error) = self.errors.next() {
                return Some(Err(error));
            }
            let found = match self.entries.next() {
                Some(Entry { digest, live: Some(live) }) => self.record(digest, live).transpose(),
                Some(Entry { live: None, .. }) => None,
                None => match self.advance() {
                    Ok(true) => None,
                    Ok(false) => {
                        self.ended = true;
                        self.untold().map(Err)
                    }
                    Err(error) => Some(Err(error)),
                },
            };
            match found {
                Some(Err(error)) if !error.is_of_one_object() => {
                    self.ended = true;
                    return Some(Err(error));
                }
                Some(found) => return Some(found),
                None => {}
            }
        }
        None
    }
}
