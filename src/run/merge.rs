//! Walking several runs as one: the newest entry of a key wins.

use super::cursor::RunCursor;
use crate::error::Result;
use crate::format::leaf::Entry;
use crate::format::snapshot::RunRef;
use crate::pack::ChunkReader;
use crate::record::{Digest, PartitionId};

/// Walks runs, given newest first, in key order.
pub struct MergedCursor<'a> {
    cursors: Vec<RunCursor<'a>>,
    tombstones: bool,
    ahead: Option<Entry>,
}

impl<'a> MergedCursor<'a> {
    /// Live records only: what a tombstone hides is not there.
    pub fn live(chunks: &'a ChunkReader, runs: &[RunRef]) -> Result<Self> {
        let cursors = runs.iter().map(|run| RunCursor::new(chunks, run)).collect::<Result<_>>()?;
        Ok(MergedCursor { cursors, tombstones: false, ahead: None })
    }

    /// Live records from a key on.
    pub fn live_from(chunks: &'a ChunkReader, runs: &[RunRef], from: Digest) -> Result<Self> {
        let cursors = runs.iter().map(|run| RunCursor::from(chunks, run, from)).collect::<Result<_>>()?;
        Ok(MergedCursor { cursors, tombstones: false, ahead: None })
    }

    /// Live records and tombstones: for merging newer runs above older ones.
    pub fn with_tombstones(chunks: &'a ChunkReader, runs: &[RunRef]) -> Result<Self> {
        let mut merged = Self::live(chunks, runs)?;
        merged.tombstones = true;
        Ok(merged)
    }

    fn smallest(&mut self) -> Result<Option<Digest>> {
        let mut smallest: Option<Digest> = None;
        for cursor in &mut self.cursors {
            if let Some(entry) = cursor.peek()?
                && smallest.is_none_or(|digest| entry.digest.sort_key() < digest.sort_key())
            {
                smallest = Some(entry.digest);
            }
        }
        Ok(smallest)
    }

    /// The next entry.
    #[expect(clippy::should_implement_trait, reason = "it can fail, and borrows")]
    pub fn next(&mut self) -> Result<Option<Entry>> {
        if let Some(entry) = self.ahead.take() {
            return Ok(Some(entry));
        }
        while let Some(digest) = self.smallest()? {
            let mut newest = None;
            for cursor in &mut self.cursors {
                if cursor.peek()?.is_some_and(|entry| entry.digest == digest) {
                    let entry = cursor.next()?;
                    newest = newest.or(entry);
                }
            }
            if let Some(entry) = newest
                && (self.tombstones || entry.live.is_some())
            {
                return Ok(Some(entry));
            }
        }
        Ok(None)
    }

    /// All entries up to and with a partition that were not taken yet.
    pub fn take_partition(&mut self, partition: PartitionId) -> Result<Vec<Entry>> {
        let mut entries = Vec::new();
        while let Some(entry) = self.next()? {
            if entry.digest.partition() > partition {
                self.ahead = Some(entry);
                break;
            }
            entries.push(entry);
        }
        Ok(entries)
    }
}
