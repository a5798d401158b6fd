//! Writing and reading packs, and chunks through the index.

mod chunks;
mod reader;
mod sink;
mod writer;

pub use chunks::ChunkReader;
pub use reader::{PackReader, PackedChunk, read_directory, stored_packs};
pub use sink::{ChunkWriter, WriteOptions};
pub use writer::{FinishedPack, PackWriter};
