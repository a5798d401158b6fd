//! Writing and reading packs.

mod reader;
mod writer;

pub use reader::{PackReader, read_directory};
pub use writer::{FinishedPack, PackWriter};
