//! Walking several runs as one: the newest entry of a key wins.

use super::cursor::RunCursor;
use super::entries::{Entries, Picked};
use super::loss::Losses;
use crate::chunks::ChunkReader;
use crate::error::Result;
use crate::format::leaf::Entry;
use crate::format::snapshot::RunRef;
use crate::record::{Digest, PartitionId};
use std::sync::Arc;

/// Walks runs, given newest first, in key order.
pub struct MergedCursor<'a> {
    cursors: Vec<RunCursor<'a>>,
    tombstones: bool,
    /// The next entry, if a partition that was taken ended before it.
    ahead: Option<Picked>,
    uncertain: u64,
    /// Which run the last entry came from.
    origin: usize,
}

impl<'a> MergedCursor<'a> {
    fn over(cursors: Vec<RunCursor<'a>>) -> Self {
        MergedCursor { cursors, tombstones: false, ahead: None, uncertain: 0, origin: 0 }
    }

    /// Live records only: what a tombstone hides is not there. A damaged node ends the walk with an error.
    ///
    /// # Errors
    ///
    /// If a chunk of a run can't be read.
    pub fn live(chunks: &'a ChunkReader, runs: &[RunRef]) -> Result<Self> {
        Ok(Self::over(runs.iter().map(|run| RunCursor::new(chunks, run)).collect::<Result<_>>()?))
    }

    /// The same, reading leaves ahead of the caller on other threads.
    ///
    /// # Errors
    ///
    /// If a chunk of a run can't be read.
    pub fn live_ahead(chunks: &'a Arc<ChunkReader>, runs: &[RunRef]) -> Result<Self> {
        Ok(Self::over(runs.iter().map(|run| RunCursor::ahead(chunks, run)).collect::<Result<_>>()?))
    }

    /// Live records, past damaged nodes. Whatever older runs have where a newer one can't be read is left out: it may
    /// have changed or be gone. [`MergedCursor::losses`] says what was lost.
    ///
    /// # Errors
    ///
    /// If the store can't be read. Damage is no error.
    pub fn tolerant(chunks: &'a ChunkReader, runs: &[RunRef]) -> Result<Self> {
        Ok(Self::over(runs.iter().map(|run| RunCursor::tolerant(chunks, run)).collect::<Result<_>>()?))
    }

    /// The same from a key on.
    ///
    /// # Errors
    ///
    /// If the store can't be read. Damage is no error.
    pub fn tolerant_from(chunks: &'a ChunkReader, runs: &[RunRef], from: Digest) -> Result<Self> {
        Ok(Self::over(runs.iter().map(|run| RunCursor::tolerant_from(chunks, run, from)).collect::<Result<_>>()?))
    }

    /// Live records and tombstones, past damaged nodes: for merging newer runs above older ones.
    ///
    /// # Errors
    ///
    /// If the store can't be read. Damage is no error.
    pub fn with_tombstones(chunks: &'a ChunkReader, runs: &[RunRef]) -> Result<Self> {
        let mut merged = Self::tolerant(chunks, runs)?;
        merged.tombstones = true;
        Ok(merged)
    }

    /// Live records and tombstones. A damaged node ends the walk with an error.
    ///
    /// # Errors
    ///
    /// If a chunk of a run can't be read.
    pub fn whole(chunks: &'a ChunkReader, runs: &[RunRef]) -> Result<Self> {
        Ok(MergedCursor { tombstones: true, ..Self::live(chunks, runs)? })
    }

    /// What was lost so far; all of it once the walk has come to its end.
    pub fn losses(&self) -> Losses {
        let mut all = Losses { uncertain: self.uncertain, ..Losses::default() };
        self.cursors.iter().for_each(|cursor| all.add(cursor.losses()));
        all
    }

    /// The ranges of keys, each from its first key to before its second, in which a run could not be read so far.
    pub fn unknown_ranges(&self) -> Vec<(Option<Digest>, Option<Digest>)> {
        let mut ranges: Vec<_> = self.cursors.iter().flat_map(RunCursor::unknown_ranges).copied().collect();
        ranges
            .sort_by_key(|(from, until)| (from.map(|digest| digest.sort_key()), until.map(|digest| digest.sort_key())));
        ranges.dedup();
        ranges
    }

    /// Whether what the runs hold for a key can't be told, since it may stand in a damaged node. Asked of a key that
    /// the walk has come to or passed, and gave back no entry for.
    pub fn is_unknown(&self, digest: &Digest) -> bool {
        self.cursors.iter().any(|cursor| cursor.is_unknown(digest))
    }

    fn smallest(&mut self) -> Result<Option<Digest>> {
        let mut smallest: Option<Digest> = None;
        for cursor in &mut self.cursors {
            if let Some(next) = cursor.peek()?
                && smallest.is_none_or(|digest| next.sort_key() < digest.sort_key())
            {
                smallest = Some(*next);
            }
        }
        Ok(smallest)
    }

    /// The next entry.
    ///
    /// # Errors
    ///
    /// If a chunk of a run can't be read.
    #[allow(clippy::should_implement_trait, reason = "it can fail, and borrows")]
    pub fn next(&mut self) -> Result<Option<Entry>> {
        Ok(self.pick()?.and_then(|picked| picked.get().map(|entry| entry.to_entry())))
    }

    /// The next entry, where it stands.
    fn pick(&mut self) -> Result<Option<Picked>> {
        if let Some(picked) = self.ahead.take() {
            return Ok(Some(picked));
        }
        while let Some(digest) = self.smallest()? {
            let mut newest = None;
            let mut unknown = false;
            for (number, cursor) in self.cursors.iter_mut().enumerate() {
                if cursor.peek()?.is_some_and(|next| *next == digest) {
                    let picked = cursor.pick()?;
                    if unknown && newest.is_none() {
                        self.uncertain += u64::from(picked.is_some_and(|picked| is_live(&picked)));
                    } else if newest.is_none() {
                        (newest, self.origin) = (picked, number);
                    }
                }
                // Every cursor has come to this key, so each knows whether it lies in a node that it lost.
                unknown |= cursor.is_unknown(&digest);
            }
            if let Some(picked) = newest
                && (self.tombstones || is_live(&picked))
            {
                return Ok(Some(picked));
            }
        }
        Ok(None)
    }

    /// The number of the run, in the order given, that the last entry of [`MergedCursor::next`] came from.
    pub fn origin(&self) -> usize {
        self.origin
    }

    /// All entries up to and with a partition that were not taken yet.
    ///
    /// # Errors
    ///
    /// If a chunk of a run can't be read.
    pub fn take_partition(&mut self, partition: PartitionId) -> Result<Entries> {
        let is_later = |picked: &Picked| picked.get().is_some_and(|entry| entry.digest.partition() > partition);
        let mut entries = Entries::default();
        if let Some(picked) = self.ahead.take_if(|picked| !is_later(picked)) {
            entries.push_one(&picked);
        }
        while self.ahead.is_none() {
            while self.take_alone(partition, &mut entries)? {}
            // The key stands in several runs, or is of the next partition.
            match self.pick()? {
                Some(picked) if is_later(&picked) => self.ahead = Some(picked),
                Some(picked) => entries.push_one(&picked),
                None => break,
            }
        }
        Ok(entries)
    }

    /// Takes the entries of one run that come before those of all others, and up to and with a partition. `false` if
    /// the next entry has to be found by [`MergedCursor::next`].
    fn take_alone(&mut self, partition: PartitionId, into: &mut Entries) -> Result<bool> {
        let (mut first, mut limit): (Option<(usize, Digest)>, Option<Digest>) = (None, None);
        for (number, cursor) in self.cursors.iter_mut().enumerate() {
            let Some(digest) = cursor.peek()?.copied() else { continue };
            match first {
                Some((_, smallest)) if digest.sort_key() >= smallest.sort_key() => {
                    limit = limit.filter(|limit| limit.sort_key() <= digest.sort_key()).or(Some(digest));
                }
                _ => {
                    limit = first.map(|(_, smallest)| smallest);
                    first = Some((number, digest));
                }
            }
        }
        if self.cursors.iter().any(RunCursor::has_lost) {
            return Ok(false);
        }
        let Some(cursor) = first.and_then(|(number, _)| self.cursors.get_mut(number)) else { return Ok(false) };
        Ok(cursor.take_below(limit, partition, self.tombstones, into) > 0)
    }
}

fn is_live(picked: &Picked) -> bool {
    picked.get().is_some_and(|entry| entry.live().is_some())
}
