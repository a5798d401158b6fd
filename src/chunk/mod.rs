//! Chunks: where streams are cut, and how chunks are compressed.

mod compress;
mod cutter;

pub use compress::{compress, decompress};
pub use cutter::Cutter;
