//! Runs: immutable sorted sequences of entries, stored as trees of chunks; merging them, and the state hash.

mod copy;
mod cursor;
mod entries;
mod feeder;
mod loss;
mod merge;
mod reach;
mod state;
mod transfer;
mod tree;

pub use copy::RunCopy;
pub use cursor::{RunCursor, find};
pub use entries::{Entries, Picked};
pub use feeder::{RecordToWrite, RunFeeder, RunStats, write_run};
pub use loss::{Loss, Losses};
pub use merge::MergedCursor;
pub use reach::{needed_of, reach_run, survey};
pub use state::StateSums;
pub use transfer::Transfer;

pub use crate::format::leaf::{Entry, EntryRef, LiveEntry, LiveRef, RecordHash, ValuePlace};

use crate::chunks::ChunkReader;
use crate::error::{Error, Result};
use crate::format::ChunkId;
use crate::format::header::Class;
use crate::record::{Digest, RecordBatch, RecordMeta, VoidTime};
use std::ops::Range;
use std::sync::Arc;

/// Chunks that a [`ValueReader`] keeps at hand; a power of two.
const AT_HAND: usize = 64;

/// Reads the bodies of one record after another. Neighbours stand in few chunks, so it keeps some at hand and asks
/// nobody.
pub struct ValueReader<'a> {
    chunks: &'a ChunkReader,
    at_hand: Vec<Option<(ChunkId, Arc<Vec<u8>>)>>,
    joined: Vec<u8>,
}

impl<'a> ValueReader<'a> {
    /// A reader with nothing at hand.
    pub fn new(chunks: &'a ChunkReader) -> Self {
        ValueReader { chunks, at_hand: vec![None; AT_HAND], joined: Vec::new() }
    }

    /// The body of a live record; it must have the hash that the entry says.
    pub fn body(&mut self, live: &LiveEntry) -> Result<&[u8]> {
        let keys = self.chunks.keys().clone();
        let (set, hash, place) = (&live.set, live.hash, &live.place);
        let body = self.value(place)?;
        if keys.records()?.hash(set, body) == hash { Ok(body) } else { Err(wrong_hash(place)) }
    }

    /// Adds the record of an entry to a batch as it is, with another void time perhaps. Whoever asks for it checks that
    /// its body has the hash that the entry says.
    pub fn push_unchecked(
        &mut self,
        digest: Digest,
        live: &LiveEntry,
        void_time: VoidTime,
        batch: &mut RecordBatch,
    ) -> Result<()> {
        let meta = RecordMeta { digest, set: &live.set, generation: live.generation, void_time };
        let pushed = match self.holder(&live.place)? {
            Some(chunk) => batch.push_shared(meta, chunk, range(&live.place), &live.bin_order),
            None => batch.push_encoded(meta, self.value(&live.place)?, &live.bin_order),
        };
        pushed
            .map_err(|error| Error::damaged(format!("chunk {}", live.place.chunk), format!("record {digest}: {error}")))
    }

    /// The chunk in which a body is, if it is a single one.
    fn holder(&mut self, place: &ValuePlace) -> Result<Option<&Arc<Vec<u8>>>> {
        if !place.more.is_empty() {
            return Ok(None);
        }
        let slot = self.at_hand.get_mut(usize::from(place.chunk.0[0]) % AT_HAND);
        let slot = slot.ok_or_else(|| Error::internal("no slot for a chunk"))?;
        let (_, plain) = match slot.take().filter(|(id, _)| *id == place.chunk) {
            Some(held) => slot.insert(held),
            None => slot.insert((place.chunk, self.chunks.read(&place.chunk, Class::Data)?)),
        };
        Ok(Some(plain))
    }

    fn value(&mut self, place: &ValuePlace) -> Result<&[u8]> {
        if !place.more.is_empty() {
            self.joined.clear();
            read_value_into(self.chunks, place, &mut self.joined)?;
            return Ok(&self.joined);
        }
        let plain = self.holder(place)?.ok_or_else(|| Error::internal("a body in one chunk is in several"))?;
        plain.get(range(place)).ok_or_else(|| {
            let (object, Range { start, end }) = (format!("chunk {}", place.chunk), range(place));
            Error::damaged(object, format!("a record's body of {} bytes at {start} ends past it", end - start))
        })
    }
}

/// Where in its chunk a body is.
fn range(place: &ValuePlace) -> Range<usize> {
    let begin = place.offset as usize;
    begin..begin.saturating_add(place.length as usize)
}

/// The error for a body that is not the one that an entry means.
pub fn wrong_hash(place: &ValuePlace) -> Error {
    Error::damaged(format!("a record in chunk {}", place.chunk), "its body has another hash than its entry says")
}

/// Appends the body of a live record to `body`; it must have the hash that the entry says.
pub fn read_record_into(chunks: &ChunkReader, live: &LiveEntry, body: &mut Vec<u8>) -> Result<()> {
    let begin = body.len();
    read_value_into(chunks, &live.place, body)?;
    if chunks.keys().records()?.hash(&live.set, body.get(begin..).unwrap_or_default()) != live.hash {
        return Err(wrong_hash(&live.place));
    }
    Ok(())
}

/// Appends the body of a live record to `body`.
pub fn read_value_into(chunks: &ChunkReader, place: &ValuePlace, body: &mut Vec<u8>) -> Result<()> {
    let mut skip = place.offset as usize;
    let mut wanted = place.length as usize;
    for id in place.chunks() {
        let plain = chunks.read(id, Class::Data)?;
        let bytes = plain.get(skip..).unwrap_or_default();
        let bytes = bytes.get(..wanted).unwrap_or(bytes);
        body.extend_from_slice(bytes);
        wanted -= bytes.len();
        skip = 0;
    }
    if wanted > 0 {
        let object = format!("chunk {}", place.chunk);
        return Err(Error::damaged(object, format!("a record's body ends {wanted} bytes after it")));
    }
    Ok(())
}
