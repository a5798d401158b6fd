//! Chunks: where streams are cut, and how chunks are compressed.

mod cutter;

pub use crate::format::compress::{compress, decompress};
pub use cutter::Cutter;
