//! The record model: digests, keys, bins, times, and the canonical body that is stored and hashed.
//!
//! Nothing here does I/O. A bin is a name, a particle type and the particle's raw bytes as the server holds them on the
//! wire; only to show them to people does [`value`] decode them.

pub mod batch;
pub mod body;
pub mod digest;
pub mod metadata;
pub mod owned;
pub mod particle;
pub mod partitions;
pub mod selection;
pub mod time;
pub mod value;
pub mod varint;

pub use batch::{RecordBatch, RecordMeta, RecordView};
pub use body::{BinRef, Body, BodyError, KeyRef, MAX_BODY_BYTES, MAX_SET_BYTES};
pub use digest::{Digest, PARTITIONS, PartitionId, SortKey};
pub use metadata::{Fact, NOT_READ, NamespaceMetadata, Privilege, Role, SecondaryIndex, UdfModule, User};
pub use owned::{Bin, Key};
pub use particle::{ParticleType, geojson_text};
pub use partitions::PartitionSet;
pub use selection::RecordSelection;
pub use time::{Generation, Timestamp, VoidTime};
pub use value::{Hll, NotABin, Order, Value, ValueError};
