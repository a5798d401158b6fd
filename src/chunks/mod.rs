//! The chunk store: chunks by their ids, read through the index out of packs, and written into new ones.

mod reader;
mod writer;

pub use reader::{ChunkReader, Fetched};
pub use writer::{ChunkWriter, WriteOptions};
