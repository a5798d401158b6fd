//! The official Rust client beside our own reader and writer (feature `official-client`).
//!
//! Programs that have a client of the `aerospike` crate already give and take its records: [`verbatim`] and [`typed`]
//! turn a record of a snapshot into its `(Key, Vec<Bin>)`.
//!
//! The client decodes what it reads, and some of it has no place in its values. What is lost is [`TypedLoss`], named
//! from the client's decoder, `aerospike-core` 3.0.0, `src/msgpack/decoder.rs` and `src/value.rs`:
//!
//! - of a NaN, its sign and payload;
//! - of a list, its order; of a map, its order unless it is sorted by its keys alone, and whether it has an index;
//! - a record of which a string, a name or a text of GeoJSON is not UTF-8, or a map's key is no integer, string or
//!   bytes: it is refused, and the query that met it ends;
//! - extensions of MessagePack among a list's values, which become nil; integers above the greatest signed one, which
//!   become negative;
//! - how elements are encoded, where there is more than one way.
//!
//! Nothing is lost on writing: a bin of [`Value::Unknown`](client::Value) is sent as the bytes that it holds, under its
//! own particle type, so all that goes back through the client goes back verbatim. Bins' and sets' names are the
//! exception: the client has them as `String`s.
//!
//! The crate's `async` feature is the one that is enabled. It and `sync` exclude each other in one build, and programs
//! that have a client mostly have the one of `async`, which is the default. Its futures run on a small runtime of this
//! library (`crate::runtime`).

mod cluster;
#[cfg(all(feature = "jobs", feature = "cluster"))]
mod compare;
#[cfg(all(feature = "jobs", feature = "cluster"))]
mod connect;
mod convert;
mod record;
mod scan;
mod snapshot;
mod source;
mod target;

pub use cluster::connect;
#[cfg(all(feature = "jobs", feature = "cluster"))]
pub(crate) use compare::{IndependentComparison, IndependentOptions};
#[cfg(all(feature = "jobs", feature = "cluster"))]
pub(crate) use connect::connect_to;
pub use convert::TypedLoss;
pub use record::{typed, verbatim};
pub use snapshot::Undeleted;
pub use source::ClientSource;
pub use target::ClientTarget;

/// The crate of the client, in the version that these go with.
pub use ::aerospike as client;
