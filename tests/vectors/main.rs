//! The test vectors of `format-spec/vectors/`: each is made again from its inputs and compared with the committed
//! bytes, and the committed bytes are decoded back. Where a page defines the bytes on its own, they are also made by
//! its rules alone.
//!
//! After a change of the format, write the files again and look at what changed:
//! `AEROLITH_WRITE_VECTORS=1 cargo test --test vectors`.

mod chunker;
mod keys;
mod packs;
mod records;
mod support;
mod tree;
mod values;
