//! What the store's file holds: its tables, their keys, and the bytes of their rows.
//!
//! ```text
//! properties   name -> bytes            format version, the cluster's name, the latest time of a write
//! namespaces   name -> number
//! metadata     namespace number -> JSON of its indexes and UDF modules
//! sets         number -> name           and set_numbers, the other way
//! heads        place -> head            one row for each record: walked without its body
//! bodies       place -> order, body
//!
//! place   namespace u16 BE, partition u16 BE, digest 20 bytes: a partition is one range, in digest order
//! head    generation u32, void time u32, last update u64 (ms), set u32, little endian: 20 bytes
//! body    length of the bin order (varint), bin order, canonical body
//! ```
//!
//! A record is in both tables or in neither.

use crate::error::{Error, Result};
use crate::record::{Digest, Generation, NamespaceMetadata, PartitionId, Timestamp, VoidTime, varint};
use redb::TableDefinition;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The version of this layout.
pub(super) const VERSION: u32 = 1;
/// The file in a store's directory.
pub(super) const FILE_NAME: &str = "store.redb";
/// The longest namespace name, in bytes. Servers allow 31.
pub(super) const MAX_NAMESPACE_BYTES: usize = 255;

pub(super) const PLACE_BYTES: usize = 24;
pub(crate) const HEAD_BYTES: usize = 20;

pub(super) type PlaceKey = &'static [u8; PLACE_BYTES];
pub(super) type HeadValue = &'static [u8; HEAD_BYTES];

pub(super) const PROPERTIES: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("properties");
pub(super) const NAMESPACES: TableDefinition<'_, &[u8], u16> = TableDefinition::new("namespaces");
pub(super) const METADATA: TableDefinition<'_, u16, &[u8]> = TableDefinition::new("metadata");
pub(super) const SETS: TableDefinition<'_, u32, &[u8]> = TableDefinition::new("sets");
pub(super) const SET_NUMBERS: TableDefinition<'_, &[u8], u32> = TableDefinition::new("set_numbers");
pub(super) const HEADS: TableDefinition<'_, PlaceKey, HeadValue> = TableDefinition::new("heads");
pub(super) const BODIES: TableDefinition<'_, PlaceKey, &[u8]> = TableDefinition::new("bodies");

/// The property that holds [`VERSION`], little endian.
pub(super) const VERSION_PROPERTY: &[u8] = b"version";
/// The property that holds the cluster's name.
pub(super) const CLUSTER_PROPERTY: &[u8] = b"cluster";
/// The property that holds the latest time that a write bears, in milliseconds since the Unix epoch, u64 little endian;
/// absent before the first.
pub(super) const LAST_WRITE_PROPERTY: &[u8] = b"last write";

/// A record's key in the tables.
pub(super) fn place(namespace: u16, digest: &Digest) -> [u8; PLACE_BYTES] {
    place_of(namespace, digest.partition().number(), &digest.0)
}

fn place_of(namespace: u16, partition: u16, digest: &[u8; 20]) -> [u8; PLACE_BYTES] {
    let mut place = [0; PLACE_BYTES];
    place[..2].copy_from_slice(&namespace.to_be_bytes());
    place[2..4].copy_from_slice(&partition.to_be_bytes());
    place[4..].copy_from_slice(digest);
    place
}

/// The digest in a place.
pub(super) fn digest_of(place: &[u8; PLACE_BYTES]) -> Digest {
    let mut digest = [0; 20];
    digest.copy_from_slice(&place[4..]);
    Digest(digest)
}

/// The first and last place of a partition.
pub(super) fn partition_range(namespace: u16, partition: PartitionId) -> ([u8; PLACE_BYTES], [u8; PLACE_BYTES]) {
    (place_of(namespace, partition.number(), &[0; 20]), place_of(namespace, partition.number(), &[0xff; 20]))
}

/// The first and last place of a namespace.
pub(super) fn namespace_range(namespace: u16) -> ([u8; PLACE_BYTES], [u8; PLACE_BYTES]) {
    (place_of(namespace, 0, &[0; 20]), place_of(namespace, u16::MAX, &[0xff; 20]))
}

/// A record's row in `heads`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Head {
    pub(crate) generation: Generation,
    pub(crate) void_time: VoidTime,
    pub(crate) last_update: Timestamp,
    pub(crate) set: u32,
}

impl Head {
    pub(crate) fn encode(&self) -> [u8; HEAD_BYTES] {
        let mut bytes = [0; HEAD_BYTES];
        bytes[..4].copy_from_slice(&self.generation.0.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.void_time.0.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.last_update.0.to_le_bytes());
        bytes[16..].copy_from_slice(&self.set.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8; HEAD_BYTES]) -> Self {
        let [g0, g1, g2, g3, v0, v1, v2, v3, l0, l1, l2, l3, l4, l5, l6, l7, s0, s1, s2, s3] = *bytes;
        Head {
            generation: Generation(u32::from_le_bytes([g0, g1, g2, g3])),
            void_time: VoidTime(u32::from_le_bytes([v0, v1, v2, v3])),
            last_update: Timestamp(u64::from_le_bytes([l0, l1, l2, l3, l4, l5, l6, l7])),
            set: u32::from_le_bytes([s0, s1, s2, s3]),
        }
    }
}

/// Writes a row of `bodies` into `out`, which it clears.
pub(crate) fn encode_body(out: &mut Vec<u8>, body: &[u8], bin_order: &[u8]) {
    out.clear();
    varint::put(out, bin_order.len() as u64);
    out.extend_from_slice(bin_order);
    out.extend_from_slice(body);
}

/// Splits a row of `bodies` into body and bin order.
pub(crate) fn decode_body(mut row: &[u8]) -> Option<(&[u8], &[u8])> {
    let limit = row.len();
    let length = varint::take_len(&mut row, limit)?;
    let bin_order = varint::take_bytes(&mut row, length)?;
    Some((row, bin_order))
}

/// The store's file, for errors.
#[derive(Clone, Debug)]
pub(super) struct StoreFile(Arc<PathBuf>);

impl StoreFile {
    pub(super) fn new(path: PathBuf) -> Self {
        Self(Arc::new(path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// An error that says what was being done to the store.
    pub(super) fn problem(&self, problem: impl Into<String>) -> Error {
        Error::Embedded { store: self.0.display().to_string(), problem: problem.into() }
    }

    /// An error about bytes in the store that are not what they should be.
    pub(super) fn damaged(&self, what: impl std::fmt::Display) -> Error {
        self.problem(format!("the file is damaged: {what}. Restore the store from a snapshot into a new directory"))
    }

    /// The database's own error, with what was being done.
    pub(super) fn failed(&self, doing: &str, error: impl Into<redb::Error>) -> Error {
        match error.into() {
            redb::Error::Io(source) => Error::io(format!("{doing} in embedded store {}", self.0.display()), source),
            redb::Error::Corrupted(found) => self.damaged(format_args!("cannot {doing}: {found}")),
            redb::Error::TableDoesNotExist(table) => self.damaged(format_args!("table {table} is missing")),
            redb::Error::TableTypeMismatch { table, .. } => {
                self.damaged(format_args!("table {table} has another layout than version {VERSION} has"))
            }
            other => self.problem(format!("cannot {doing}: {other}")),
        }
    }
}

/// Reads a row of the metadata table.
pub(super) fn decode_metadata(file: &StoreFile, namespace: &str, row: &[u8]) -> Result<NamespaceMetadata> {
    serde_json::from_slice(row)
        .map_err(|error| file.damaged(format_args!("indexes and UDF modules of namespace {namespace}: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn places_sort_by_namespace_partition_and_digest(a: (u16, [u8; 20]), b: (u16, [u8; 20])) {
            let key = |(namespace, digest): (u16, [u8; 20])| (namespace, Digest(digest).sort_key());
            let (left, right) = (place(a.0, &Digest(a.1)), place(b.0, &Digest(b.1)));
            prop_assert_eq!(left.cmp(&right), key(a).cmp(&key(b)));
            prop_assert_eq!(digest_of(&left), Digest(a.1));
            let (first, last) = partition_range(a.0, Digest(a.1).partition());
            prop_assert!((first..=last).contains(&left));
        }

        #[test]
        fn heads_and_bodies_come_back(g: u32, v: u32, l: u64, s: u32, body: Vec<u8>, order: Vec<u8>) {
            let head = Head { generation: Generation(g), void_time: VoidTime(v), last_update: Timestamp(l), set: s };
            prop_assert_eq!(Head::decode(&head.encode()), head);
            let mut row = Vec::new();
            encode_body(&mut row, &body, &order);
            prop_assert_eq!(decode_body(&row), Some((&body[..], &order[..])));
        }

        #[test]
        fn arbitrary_body_rows_never_panic(row: Vec<u8>) {
            let _ = decode_body(&row);
        }
    }
}
