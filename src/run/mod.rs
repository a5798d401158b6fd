//! Runs: immutable sorted sequences of entries, stored as trees of chunks; merging them, and the state hash.

mod cursor;
mod feeder;
mod merge;
mod sort;
mod state;
mod tree;

pub use cursor::{RunCursor, find};
pub use feeder::{NewRecord, RunFeeder, RunStats, write_run};
pub use merge::MergedCursor;
pub use sort::{PartitionRecords, Sorter};
pub use state::StateSums;

pub use crate::format::leaf::{Entry, LiveEntry, RecordHash, ValuePlace};

use crate::error::{Error, Result};
use crate::format::header::Class;
use crate::pack::ChunkReader;

/// Reads the body of a live record.
pub fn read_value(chunks: &ChunkReader, place: &ValuePlace) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    read_value_into(chunks, place, &mut body)?;
    Ok(body)
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
        return Err(Error::damaged(object, format!("a record's body ends {wanted} bytes behind it")));
    }
    Ok(())
}
