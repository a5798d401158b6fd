//! The text format of asbackup (`.asb`), as sources read it and targets write it: lines, escapes and numbers,
//! containers and encryption.

pub(crate) mod container;
pub(crate) mod encrypt;
pub(crate) mod escape;
pub(crate) mod format;
pub(crate) mod header;
pub(crate) mod key;
pub(crate) mod number;
pub(crate) mod parse;
pub(crate) mod walk;

pub use encrypt::AsbCipher;
pub use format::AsbVersion;
