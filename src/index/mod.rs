//! The index: which pack holds a chunk, and where.
//!
//! Segments count only if their session was committed. A lookup costs one block of 64 rows for each segment,
//! found by its fences; blocks are kept in memory up to a bound. Whatever the segments lack is read from the packs' own
//! directories.

pub(crate) mod cache;
mod reader;
mod writer;

pub use reader::{Index, Location};
pub use writer::{IndexedPack, Joined, encode_segment, write_joined, write_segments};
