//! Reading a store: one consistent view, scans of a partition, walks of its digests, records by digest.

use super::layout::{self, BODIES, HEADS, Head, METADATA, NAMESPACES, PlaceKey, SETS, StoreFile};
use super::layout::{HeadValue, decode_body, decode_metadata, digest_of, namespace_range, partition_range, place};
use crate::error::{Error, Result};
use crate::record::{
    Bin, Body, Digest, Generation, Key, NamespaceMetadata, PartitionId, RecordBatch, RecordMeta, Timestamp, VoidTime,
};
use redb::{ReadOnlyTable, ReadTransaction, ReadableTable, TableDefinition};
use std::any::Any;
use std::collections::HashMap;
use std::sync::Arc;

/// A batch is handed on once its bodies reach this many bytes.
const BATCH_BYTES: usize = 1 << 20;
/// And once it has this many records.
const BATCH_RECORDS: usize = 16_384;

/// What the store knows of a record apart from its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadRow {
    /// The record's digest.
    pub digest: Digest,
    /// Its generation.
    pub generation: Generation,
    /// When it expires.
    pub void_time: VoidTime,
    /// When it was last written, by the store's clock.
    pub last_update: Timestamp,
}

/// One record of the store, with its bins in the order in which they were written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRecord {
    /// Its digest.
    pub digest: Digest,
    /// Its set's name; empty for the null set.
    pub set: Vec<u8>,
    /// Its generation.
    pub generation: Generation,
    /// When it expires.
    pub void_time: VoidTime,
    /// When it was last written, by the store's clock.
    pub last_update: Timestamp,
    /// The user key, if it was stored.
    pub key: Option<Key>,
    /// Its bins.
    pub bins: Vec<Bin>,
}

/// One consistent view of a store: it sees what was committed before it was made, and nothing later. Records that have
/// expired by the time of the view are invisible.
pub struct Reader {
    file: StoreFile,
    /// Keeps the database open.
    _database: Arc<dyn Any + Send + Sync>,
    now: Timestamp,
    namespaces: ReadOnlyTable<&'static [u8], u16>,
    metadata: ReadOnlyTable<u16, &'static [u8]>,
    sets: ReadOnlyTable<u32, &'static [u8]>,
    heads: ReadOnlyTable<PlaceKey, HeadValue>,
    bodies: ReadOnlyTable<PlaceKey, &'static [u8]>,
}

/// Set names by number, as far as one call met them.
#[derive(Default)]
struct SetNames(HashMap<u32, Arc<[u8]>>);

fn open_table<K: redb::Key + 'static, V: redb::Value + 'static>(
    file: &StoreFile,
    transaction: &ReadTransaction,
    table: TableDefinition<'_, K, V>,
) -> Result<ReadOnlyTable<K, V>> {
    transaction.open_table(table).map_err(|error| file.failed("open a table", error))
}

impl Reader {
    pub(super) fn new(
        database: Arc<dyn Any + Send + Sync>,
        file: &StoreFile,
        transaction: &ReadTransaction,
        now: Timestamp,
    ) -> Result<Self> {
        Ok(Reader {
            now,
            namespaces: open_table(file, transaction, NAMESPACES)?,
            metadata: open_table(file, transaction, METADATA)?,
            sets: open_table(file, transaction, SETS)?,
            heads: open_table(file, transaction, HEADS)?,
            bodies: open_table(file, transaction, BODIES)?,
            file: file.clone(),
            _database: database,
        })
    }

    fn file(&self) -> &StoreFile {
        &self.file
    }

    /// The time by which this view decides what has expired.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// The namespaces, sorted.
    ///
    /// # Errors
    ///
    /// If the store can't be read, or what it holds is damaged.
    pub fn namespaces(&self) -> Result<Vec<String>> {
        let failed = |error| self.file().failed("list the namespaces", error);
        let mut names = Vec::new();
        for row in self.namespaces.iter().map_err(failed)? {
            let (name, _) = row.map_err(failed)?;
            let name = std::str::from_utf8(name.value())
                .map_err(|_| self.file().damaged(format_args!("namespace name {:?}", name.value())))?;
            names.push(name.to_owned());
        }
        Ok(names)
    }

    fn namespace_number(&self, namespace: &str) -> Result<Option<u16>> {
        let row = self.namespaces.get(namespace.as_bytes());
        Ok(row.map_err(|error| self.file().failed("look up a namespace", error))?.map(|number| number.value()))
    }

    /// Secondary indexes, UDF modules, roles and users of a namespace; empty for one that doesn't exist.
    ///
    /// # Errors
    ///
    /// If the store can't be read, or what it holds is damaged.
    pub fn metadata(&self, namespace: &str) -> Result<NamespaceMetadata> {
        let Some(number) = self.namespace_number(namespace)? else { return Ok(NamespaceMetadata::default()) };
        let row = self.metadata.get(number).map_err(|error| self.file().failed("read metadata", error))?;
        match row {
            None => Ok(NamespaceMetadata::default()),
            Some(row) => decode_metadata(self.file(), namespace, row.value()),
        }
    }

    fn set_name(&self, names: &mut SetNames, number: u32) -> Result<Arc<[u8]>> {
        if let Some(name) = names.0.get(&number) {
            return Ok(name.clone());
        }
        let row = self.sets.get(number).map_err(|error| self.file().failed("look up a set", error))?;
        let row = row.ok_or_else(|| self.file().damaged(format_args!("set number {number} has no name")))?;
        let name: Arc<[u8]> = row.value().into();
        names.0.insert(number, name.clone());
        Ok(name)
    }

    fn push(
        &self,
        batch: &mut RecordBatch,
        names: &mut SetNames,
        digest: Digest,
        head: &Head,
        row: &[u8],
    ) -> Result<()> {
        let damaged = |found: String| self.file().damaged(format_args!("record {digest}: {found}"));
        let (body, bin_order) = decode_body(row).ok_or_else(|| damaged("its row is cut off".into()))?;
        Body::parse(body).map_err(|error| damaged(error.to_string()))?;
        let set = self.set_name(names, head.set)?;
        let (generation, void_time) = (head.generation, head.void_time);
        let meta = RecordMeta { digest, set: &set, generation, void_time };
        batch.push_encoded(meta, body, bin_order).map_err(|error| damaged(error.to_string()))
    }

    /// Hands on the live records of a partition in digest order: all, or those last written at or after `since`.
    ///
    /// # Errors
    ///
    /// If the store can't be read or is damaged, and the errors of `each`.
    pub fn scan(
        &self,
        namespace: &str,
        partition: PartitionId,
        since: Option<Timestamp>,
        each: &mut dyn FnMut(RecordBatch) -> Result<()>,
    ) -> Result<()> {
        let Some(number) = self.namespace_number(namespace)? else { return Ok(()) };
        let failed = |error| self.file().failed("scan a partition", error);
        let (first, last) = partition_range(number, partition);
        let mut batches = Batches::new(each);
        if let Some(since) = since {
            for row in self.heads.range::<&[u8; layout::PLACE_BYTES]>(&first..=&last).map_err(failed)? {
                let (place, head) = row.map_err(failed)?;
                let head = Head::decode(head.value());
                if head.last_update >= since && !head.void_time.is_expired(self.now) {
                    self.take(&mut batches, place.value(), &head)?;
                }
            }
            return batches.finish();
        }
        let mut bodies = self.bodies.range::<&[u8; layout::PLACE_BYTES]>(&first..=&last).map_err(failed)?;
        for row in self.heads.range::<&[u8; layout::PLACE_BYTES]>(&first..=&last).map_err(failed)? {
            let (place, head) = row.map_err(failed)?;
            let body = bodies.next().transpose().map_err(failed)?;
            let digest = digest_of(place.value());
            let body = body.filter(|(body_place, _)| body_place.value() == place.value());
            let (_, body) = body.ok_or_else(|| self.file().damaged(format_args!("record {digest} has no body")))?;
            let head = Head::decode(head.value());
            if !head.void_time.is_expired(self.now) {
                self.push(&mut batches.batch, &mut batches.names, digest, &head, body.value())?;
                batches.flush_if_full()?;
            }
        }
        batches.finish()
    }

    /// Looks up the body of the record at `place` and adds the record.
    fn take(&self, batches: &mut Batches<'_>, place: &[u8; layout::PLACE_BYTES], head: &Head) -> Result<()> {
        let digest = digest_of(place);
        let body = self.bodies.get(place).map_err(|error| self.file().failed("read a record", error))?;
        let body = body.ok_or_else(|| self.file().damaged(format_args!("record {digest} has no body")))?;
        self.push(&mut batches.batch, &mut batches.names, digest, head, body.value())?;
        batches.flush_if_full()
    }

    /// Hands on the heads of a partition's live records in digest order, without touching a body.
    ///
    /// # Errors
    ///
    /// If the store can't be read or is damaged, and the errors of `each`.
    pub fn walk(
        &self,
        namespace: &str,
        partition: PartitionId,
        each: &mut dyn FnMut(&[HeadRow]) -> Result<()>,
    ) -> Result<()> {
        let Some(number) = self.namespace_number(namespace)? else { return Ok(()) };
        let failed = |error| self.file().failed("walk a partition's digests", error);
        let (first, last) = partition_range(number, partition);
        let mut rows = Vec::new();
        for row in self.heads.range::<&[u8; layout::PLACE_BYTES]>(&first..=&last).map_err(failed)? {
            let (place, head) = row.map_err(failed)?;
            let Head { generation, void_time, last_update, .. } = Head::decode(head.value());
            if void_time.is_expired(self.now) {
                continue;
            }
            rows.push(HeadRow { digest: digest_of(place.value()), generation, void_time, last_update });
            if rows.len() >= BATCH_RECORDS {
                each(&rows)?;
                rows.clear();
            }
        }
        if rows.is_empty() { Ok(()) } else { each(&rows) }
    }

    /// The head of the record at `digest`, if it is there and has not expired.
    fn head(&self, number: u16, digest: &Digest) -> Result<Option<Head>> {
        let row = self.heads.get(&place(number, digest));
        let row = row.map_err(|error| self.file().failed("look up a record", error))?;
        Ok(row.map(|head| Head::decode(head.value())).filter(|head| !head.void_time.is_expired(self.now)))
    }

    /// Hands on the records with these digests, in the order given; those that are not there are left out.
    ///
    /// # Errors
    ///
    /// If the store can't be read or is damaged, and the errors of `each`.
    pub fn read(
        &self,
        namespace: &str,
        digests: &[Digest],
        each: &mut dyn FnMut(RecordBatch) -> Result<()>,
    ) -> Result<()> {
        let Some(number) = self.namespace_number(namespace)? else { return Ok(()) };
        let mut batches = Batches::new(each);
        for digest in digests {
            if let Some(head) = self.head(number, digest)? {
                self.take(&mut batches, &place(number, digest), &head)?;
            }
        }
        batches.finish()
    }

    /// The record with this digest, if it is there and has not expired.
    ///
    /// # Errors
    ///
    /// If the store can't be read, or what it holds is damaged.
    pub fn get(&self, namespace: &str, digest: &Digest) -> Result<Option<StoredRecord>> {
        let Some(number) = self.namespace_number(namespace)? else { return Ok(None) };
        let Some(head) = self.head(number, digest)? else { return Ok(None) };
        let mut found = None;
        let mut each = |batch: RecordBatch| {
            let view = batch.get(0).ok_or_else(|| Error::internal("a batch without a record"))?;
            let body = view.parse().map_err(|error| self.file().damaged(format_args!("record {digest}: {error}")))?;
            found = Some(StoredRecord {
                digest: *digest,
                set: view.meta.set.to_vec(),
                generation: head.generation,
                void_time: head.void_time,
                last_update: head.last_update,
                key: body.key().map(Key::from),
                bins: view.in_source_order(body.bins()).into_iter().map(Bin::from).collect(),
            });
            Ok(())
        };
        let mut batches = Batches::new(&mut each);
        self.take(&mut batches, &place(number, digest), &head)?;
        batches.finish()?;
        Ok(found)
    }

    /// How many live records a namespace has, or one of its sets.
    ///
    /// # Errors
    ///
    /// If the store can't be read, or what it holds is damaged.
    pub fn count(&self, namespace: &str, set: Option<&[u8]>) -> Result<u64> {
        let Some(number) = self.namespace_number(namespace)? else { return Ok(0) };
        let failed = |error| self.file().failed("count records", error);
        let (first, last) = namespace_range(number);
        let mut names = SetNames::default();
        let mut count = 0;
        for row in self.heads.range::<&[u8; layout::PLACE_BYTES]>(&first..=&last).map_err(failed)? {
            let (_, head) = row.map_err(failed)?;
            let head = Head::decode(head.value());
            if head.void_time.is_expired(self.now) {
                continue;
            }
            let counted = match set {
                None => true,
                Some(set) => *self.set_name(&mut names, head.set)? == *set,
            };
            count += u64::from(counted);
        }
        Ok(count)
    }
}

/// Collects records and hands them on in batches.
struct Batches<'e> {
    batch: RecordBatch,
    names: SetNames,
    each: &'e mut dyn FnMut(RecordBatch) -> Result<()>,
}

impl<'e> Batches<'e> {
    fn new(each: &'e mut dyn FnMut(RecordBatch) -> Result<()>) -> Self {
        Batches { batch: RecordBatch::new(), names: SetNames::default(), each }
    }

    fn flush_if_full(&mut self) -> Result<()> {
        if self.batch.byte_len() >= BATCH_BYTES || self.batch.len() >= BATCH_RECORDS {
            (self.each)(std::mem::take(&mut self.batch))?;
        }
        Ok(())
    }

    fn finish(self) -> Result<()> {
        if self.batch.is_empty() { Ok(()) } else { (self.each)(self.batch) }
    }
}
