//! Writing and reading packs.

mod reader;
mod writer;

pub use reader::{PackReader, PackedChunk, read_directory, stored_packs};
pub use writer::{FinishedPack, PackWriter};
