//! A small transactional record store in one file, with Aerospike's semantics for all that a backup sees.
//!
//! It serves programs that embed their records, the tests, and the `demo` command: digests, 4096 partitions,
//! generations, void times, last-update times and expiry behave as on a cluster, and the clock can be set.
//!
//! A store is a directory with one file, `store.redb`, a `redb` database. Its rules:
//!
//! - *What is committed stays.* Every call that writes is one transaction; [`EmbeddedStore::write`] makes one of many
//!   operations. It is complete or absent after a crash. [`Durability::Synced`], the default, has it on disk when the
//!   call returns; [`Durability::Deferred`] leaves that to the next synced one, for bulk loads that are run again after
//!   a crash.
//! - *A write replaces.* [`Transaction::put`] sets a record as a whole; its generation goes up by one (from 1 for a
//!   record that wasn't there or had expired, and after 65,535 comes 1 again).
//! - *Expired is gone.* A record whose void time has passed is invisible at once; [`EmbeddedStore::purge_expired`]
//!   takes its bytes.
//! - *Times are the transaction's.* All writes of one transaction bear the time at which it began, and
//!   [`EmbeddedStore::settled_time`] is never later than the beginning of one that is still open: whoever notes it,
//!   reads, and later reads what changed since then misses nothing.
//! - *One process.* A store is open in one process at a time. Within it, [`EmbeddedStore`] is a handle that can be
//!   cloned; readers never wait for the one writer.
//!
//! ```
//! use aerolith::embedded::{Bin, EmbeddedStore, Key};
//!
//! # fn main() -> aerolith::Result<()> {
//! # let dir = tempfile::tempdir().unwrap();
//! # let path = dir.path().join("shop");
//! let store = EmbeddedStore::create(&path)?;
//! let ada = Key::from("ada");
//! store.put("test", b"users", &ada, &[Bin::integer("age", 36), Bin::string("city", "London")], 0)?;
//! let record = store.get("test", b"users", &ada)?.unwrap();
//! assert_eq!(record.generation.0, 1);
//! assert_eq!(record.bins[1], Bin::string("city", "London"));
//! # Ok(())
//! # }
//! ```

mod clock;
pub(crate) mod layout;
mod read;
pub mod sample;
mod store;
mod write;

pub use crate::record::{Bin, Key};
pub use read::{HeadRow, Reader, StoredRecord};
pub use store::{Durability, EmbeddedStore, StoreOptions};
pub use write::{NewRecord, Transaction};
