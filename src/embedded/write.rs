//! Writing a store: the operations of one transaction.

use super::layout::{self, BODIES, HEADS, Head, METADATA, NAMESPACES, SET_NUMBERS, SETS, StoreFile};
use super::layout::{
    HeadValue, PlaceKey, decode_body, decode_metadata, digest_of, encode_body, namespace_range, place,
};
use crate::error::{Error, Result};
use crate::record::{
    Bin, BinRef, BodyError, Digest, Generation, Key, KeyRef, MAX_SET_BYTES, NamespaceMetadata, RecordBatch, RecordMeta,
    RecordView, SecondaryIndex, Timestamp, UdfModule, VoidTime,
};
use redb::{ReadableTable, Table, TableDefinition, WriteTransaction};
use std::collections::HashMap;

/// A record to be written by [`Transaction::put_many`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewRecord {
    /// Its set's name; empty for the null set.
    pub set: Vec<u8>,
    /// Its user key, which is stored and gives the digest.
    pub key: Key,
    /// Its bins.
    pub bins: Vec<Bin>,
    /// Seconds to live; 0 for ever.
    pub ttl: u32,
}

/// The operations of one write transaction; see [`EmbeddedStore::write`](super::EmbeddedStore::write).
pub struct Transaction<'t> {
    file: &'t StoreFile,
    now: Timestamp,
    stamp: Timestamp,
    namespaces: Table<'t, &'static [u8], u16>,
    metadata: Table<'t, u16, &'static [u8]>,
    sets: Table<'t, u32, &'static [u8]>,
    set_numbers: Table<'t, &'static [u8], u32>,
    heads: Table<'t, PlaceKey, HeadValue>,
    bodies: Table<'t, PlaceKey, &'static [u8]>,
    last_namespace: Option<(String, u16)>,
    known_sets: HashMap<Vec<u8>, u32>,
    scratch: RecordBatch,
    row: Vec<u8>,
}

fn open_table<'t, K: redb::Key + 'static, V: redb::Value + 'static>(
    file: &StoreFile,
    transaction: &'t WriteTransaction,
    table: TableDefinition<'_, K, V>,
) -> Result<Table<'t, K, V>> {
    transaction.open_table(table).map_err(|error| file.failed("open a table", error))
}

/// The generation after `generation`: 16 bits, and 1 follows the largest.
fn next_generation(generation: Generation) -> Generation {
    if generation.0 >= u32::from(u16::MAX) { Generation(1) } else { Generation(generation.0 + 1) }
}

impl<'t> Transaction<'t> {
    pub(super) fn new(
        file: &'t StoreFile,
        transaction: &'t WriteTransaction,
        now: Timestamp,
        stamp: Timestamp,
    ) -> Result<Self> {
        Ok(Transaction {
            file,
            now,
            stamp,
            namespaces: open_table(file, transaction, NAMESPACES)?,
            metadata: open_table(file, transaction, METADATA)?,
            sets: open_table(file, transaction, SETS)?,
            set_numbers: open_table(file, transaction, SET_NUMBERS)?,
            heads: open_table(file, transaction, HEADS)?,
            bodies: open_table(file, transaction, BODIES)?,
            last_namespace: None,
            known_sets: HashMap::new(),
            scratch: RecordBatch::new(),
            row: Vec::new(),
        })
    }

    /// The transaction's time, which says what has expired.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// The last update of all that it writes: its time, or later if the clock was set back since the write before.
    pub fn stamp(&self) -> Timestamp {
        self.stamp
    }

    fn void_time(&self, ttl: u32) -> VoidTime {
        match ttl {
            0 => VoidTime::NEVER,
            _ => VoidTime::from_timestamp(Timestamp(self.now.0.saturating_add(u64::from(ttl) * 1000))),
        }
    }

    fn find_namespace(&mut self, namespace: &str) -> Result<Option<u16>> {
        if let Some((name, number)) = &self.last_namespace
            && name == namespace
        {
            return Ok(Some(*number));
        }
        let found = self.namespaces.get(namespace.as_bytes());
        let found = found.map_err(|error| self.file.failed("look up a namespace", error))?;
        let number = found.map(|number| number.value());
        if let Some(number) = number {
            self.last_namespace = Some((namespace.to_owned(), number));
        }
        Ok(number)
    }

    /// The namespace's number; a namespace comes into being with its first record.
    fn namespace(&mut self, namespace: &str) -> Result<u16> {
        if let Some(number) = self.find_namespace(namespace)? {
            return Ok(number);
        }
        if namespace.is_empty() || namespace.len() > layout::MAX_NAMESPACE_BYTES {
            return Err(Error::invalid(format!(
                "namespace name {namespace:?} has {} bytes; it must have 1 to {}",
                namespace.len(),
                layout::MAX_NAMESPACE_BYTES
            )));
        }
        let failed = |error| self.file.failed("create a namespace", error);
        let mut number = 0;
        for row in self.namespaces.iter().map_err(failed)? {
            let used: u16 = row.map_err(failed)?.1.value();
            number = number.max(used.saturating_add(1));
        }
        if number == u16::MAX {
            return Err(self.file.problem("it holds 65,535 namespaces and takes no more"));
        }
        self.namespaces.insert(namespace.as_bytes(), number).map_err(failed)?;
        self.last_namespace = Some((namespace.to_owned(), number));
        Ok(number)
    }

    fn find_set(&mut self, set: &[u8]) -> Result<Option<u32>> {
        if let Some(&number) = self.known_sets.get(set) {
            return Ok(Some(number));
        }
        let found = self.set_numbers.get(set).map_err(|error| self.file.failed("look up a set", error))?;
        let number = found.map(|number| number.value());
        if let Some(number) = number {
            self.known_sets.insert(set.to_vec(), number);
        }
        Ok(number)
    }

    fn set(&mut self, set: &[u8]) -> Result<u32> {
        if let Some(number) = self.find_set(set)? {
            return Ok(number);
        }
        if set.len() > MAX_SET_BYTES {
            return Err(Error::invalid(format!("a set name of {} bytes; the limit is {MAX_SET_BYTES}", set.len())));
        }
        let failed = |error| self.file.failed("create a set", error);
        let number = match self.sets.last().map_err(failed)? {
            None => 0,
            Some((last, _)) => last.value().checked_add(1).ok_or_else(|| self.file.problem("it takes no more sets"))?,
        };
        self.sets.insert(number, set).map_err(failed)?;
        self.set_numbers.insert(set, number).map_err(failed)?;
        self.known_sets.insert(set.to_vec(), number);
        Ok(number)
    }

    /// The head at a place, if a record is there that has not expired.
    fn live_head(&self, place: &[u8; layout::PLACE_BYTES]) -> Result<Option<Head>> {
        let row = self.heads.get(place).map_err(|error| self.file.failed("look up a record", error))?;
        Ok(row.map(|head| Head::decode(head.value())).filter(|head| !head.void_time.is_expired(self.now)))
    }

    fn insert(&mut self, place: &[u8; layout::PLACE_BYTES], head: &Head, body: &[u8], order: &[u8]) -> Result<()> {
        let failed = |error| self.file.failed("write a record", error);
        encode_body(&mut self.row, body, order);
        self.heads.insert(place, &head.encode()).map_err(failed)?;
        self.bodies.insert(place, self.row.as_slice()).map_err(failed)?;
        Ok(())
    }

    fn remove(&mut self, place: &[u8; layout::PLACE_BYTES]) -> Result<()> {
        let failed = |error| self.file.failed("delete a record", error);
        self.heads.remove(place).map_err(failed)?;
        self.bodies.remove(place).map_err(failed)?;
        Ok(())
    }

    /// Writes a record as a whole: key and bins replace what was there. It lives `ttl` seconds, 0 for ever.
    ///
    /// # Errors
    ///
    /// If the record is larger than one can be, or the store can't be written.
    pub fn put(
        &mut self,
        namespace: &str,
        set: &[u8],
        key: KeyRef<'_>,
        bins: &[BinRef<'_>],
        ttl: u32,
    ) -> Result<Digest> {
        let digest = Digest::compute(set, key.particle, key.bytes);
        let set_number = self.set(set)?;
        let place = place(self.namespace(namespace)?, &digest);
        let generation = self.live_head(&place)?.map_or(Generation(1), |head| next_generation(head.generation));
        let void_time = self.void_time(ttl);
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        let pushed = scratch.push(RecordMeta { digest, set, generation, void_time }, Some(key), bins);
        let written = match scratch.get(0) {
            Some(view) => {
                let head = Head { generation, void_time, last_update: self.stamp, set: set_number };
                self.insert(&place, &head, view.body, view.bin_order)
            }
            None => Ok(()),
        };
        self.scratch = scratch;
        pushed.map_err(|error| Error::invalid(format!("record {digest} of namespace {namespace}: {error}")))?;
        written?;
        Ok(digest)
    }

    /// Writes many records, in the order that is fastest; of several with one key the last one stays.
    ///
    /// # Errors
    ///
    /// If one of the records is larger than one can be, or the store can't be written.
    pub fn put_many(&mut self, namespace: &str, records: &[NewRecord]) -> Result<()> {
        let mut order: Vec<_> =
            records.iter().map(|record| (record.key.digest(&record.set).sort_key(), record)).collect();
        order.sort_by_key(|(place, _)| *place);
        let mut bins = Vec::new();
        for (_, record) in order {
            bins.clear();
            bins.extend(record.bins.iter().map(Bin::as_ref));
            self.put(namespace, &record.set, record.key.as_ref(), &bins, record.ttl)?;
        }
        Ok(())
    }

    /// Writes a record as it is, with the digest, generation and void time that it brings; only its last update is now.
    /// That is what a restore wants.
    ///
    /// # Errors
    ///
    /// If the record is larger than one can be, or the store can't be written.
    pub fn put_record(&mut self, namespace: &str, record: &RecordView<'_>) -> Result<()> {
        let RecordMeta { digest, set, generation, void_time } = record.meta;
        let head = Head { generation, void_time, last_update: self.stamp, set: self.set(set)? };
        let place = place(self.namespace(namespace)?, &digest);
        self.insert(&place, &head, record.body, record.bin_order)
    }

    /// Writes a record's bins over those of the record that is there, whose other bins stay, as does its key if the new
    /// one brings none; set and void time are the new ones, and the generation counts up. Where there is no record,
    /// this is [`Transaction::put_record`]. The inner error is a record that became too large.
    ///
    /// # Errors
    ///
    /// The outer error: the store can't be read or written. The inner one: the merged record would be larger than one
    /// can be; the record is as it was then.
    pub fn merge_record(&mut self, namespace: &str, record: &RecordView<'_>) -> Result<Result<(), BodyError>> {
        let place = place(self.namespace(namespace)?, &record.meta.digest);
        let Some(old) = self.live_head(&place)? else { return self.put_record(namespace, record).map(Ok) };
        let digest = record.meta.digest;
        let row = self.bodies.get(&place).map_err(|error| self.file.failed("read a record", error))?;
        let row = row.map(|row| row.value().to_vec());
        let damaged = |found: &str| self.file.damaged(format_args!("record {digest}: {found}"));
        let (body, bin_order) = row.as_deref().and_then(decode_body).ok_or_else(|| damaged("its row is cut off"))?;
        let there = RecordView { meta: record.meta, body, bin_order };
        let parsed = (there.parse(), record.parse());
        let (Ok(there_body), Ok(new_body)) = parsed else { return Err(damaged("its body can't be read")) };
        let mut bins = there.in_source_order(there_body.bins());
        for bin in record.in_source_order(new_body.bins()) {
            match bins.iter_mut().find(|own| own.name == bin.name) {
                Some(own) => *own = bin,
                None => bins.push(bin),
            }
        }
        let generation = next_generation(old.generation);
        let mut merged = RecordBatch::new();
        let key = new_body.key().or(there_body.key());
        if let Err(error) = merged.push(RecordMeta { generation, ..record.meta }, key, &bins) {
            return Ok(Err(error));
        }
        match merged.get(0) {
            Some(merged) => self.put_record(namespace, &merged).map(Ok),
            None => Ok(Ok(())),
        }
    }

    /// The generation of the record with this digest, if it is there and has not expired.
    ///
    /// # Errors
    ///
    /// If the store can't be read or written.
    pub fn generation(&mut self, namespace: &str, digest: &Digest) -> Result<Option<Generation>> {
        let Some(number) = self.find_namespace(namespace)? else { return Ok(None) };
        Ok(self.live_head(&place(number, digest))?.map(|head| head.generation))
    }

    /// Gives a record a new void time, `ttl` seconds from now or never for 0. Returns its new generation, or `None` if
    /// it isn't there.
    ///
    /// # Errors
    ///
    /// If the store can't be read or written.
    pub fn touch(&mut self, namespace: &str, digest: &Digest, ttl: u32) -> Result<Option<Generation>> {
        let Some(number) = self.find_namespace(namespace)? else { return Ok(None) };
        let place = place(number, digest);
        let Some(mut head) = self.live_head(&place)? else { return Ok(None) };
        head.generation = next_generation(head.generation);
        head.void_time = self.void_time(ttl);
        head.last_update = self.stamp;
        self.heads.insert(&place, &head.encode()).map_err(|error| self.file.failed("touch a record", error))?;
        Ok(Some(head.generation))
    }

    /// Deletes a record. Returns whether it was there.
    ///
    /// # Errors
    ///
    /// If the store can't be read or written.
    pub fn delete(&mut self, namespace: &str, digest: &Digest) -> Result<bool> {
        let Some(number) = self.find_namespace(namespace)? else { return Ok(false) };
        let place = place(number, digest);
        let live = self.live_head(&place)?.is_some();
        self.remove(&place)?;
        Ok(live)
    }

    /// Removes the records of a namespace that `which` picks, and counts them.
    fn remove_where(&mut self, namespace: u16, which: impl Fn(&Head) -> bool) -> Result<u64> {
        let failed = |error| self.file.failed("look for records to delete", error);
        let (first, last) = namespace_range(namespace);
        let mut places = Vec::new();
        for row in self.heads.range::<&[u8; layout::PLACE_BYTES]>(&first..=&last).map_err(failed)? {
            let (place, head) = row.map_err(failed)?;
            if which(&Head::decode(head.value())) {
                places.push(digest_of(place.value()));
            }
        }
        for digest in &places {
            self.remove(&place(namespace, digest))?;
        }
        Ok(places.len() as u64)
    }

    /// Deletes all records of a set, or of the namespace for `None`. Returns how many it was.
    ///
    /// # Errors
    ///
    /// If the store can't be read or written.
    pub fn truncate(&mut self, namespace: &str, set: Option<&[u8]>) -> Result<u64> {
        let Some(number) = self.find_namespace(namespace)? else { return Ok(0) };
        let Some(set) = set else { return self.remove_where(number, |_| true) };
        let Some(set) = self.find_set(set)? else { return Ok(0) };
        self.remove_where(number, |head| head.set == set)
    }

    /// Frees the space of the records of a namespace that have expired. Returns how many it was.
    ///
    /// # Errors
    ///
    /// If the store can't be read or written.
    pub fn purge_expired(&mut self, namespace: &str) -> Result<u64> {
        let Some(number) = self.find_namespace(namespace)? else { return Ok(0) };
        let now = self.now;
        self.remove_where(number, |head| head.void_time.is_expired(now))
    }

    /// Lets `change` edit what a namespace has beside records.
    fn edit_metadata(&mut self, namespace: &str, change: impl FnOnce(&mut NamespaceMetadata)) -> Result<()> {
        let number = self.namespace(namespace)?;
        let failed = |error| self.file.failed("write metadata", error);
        let mut metadata = match self.metadata.get(number).map_err(failed)? {
            None => NamespaceMetadata::default(),
            Some(row) => decode_metadata(self.file, namespace, row.value())?,
        };
        change(&mut metadata);
        let row = serde_json::to_vec(&metadata)
            .map_err(|error| self.file.problem(format!("cannot encode metadata: {error}")))?;
        self.metadata.insert(number, row.as_slice()).map_err(failed)?;
        Ok(())
    }

    /// Adds a secondary index, or replaces the one of that name.
    ///
    /// # Errors
    ///
    /// If the store can't be read or written.
    pub fn put_index(&mut self, namespace: &str, index: SecondaryIndex) -> Result<()> {
        self.edit_metadata(namespace, |metadata| {
            replace(&mut metadata.indexes, &[index], |index| &index.name);
        })
    }

    /// Drops the secondary index of that name, if there is one.
    ///
    /// # Errors
    ///
    /// If the store can't be read or written.
    pub fn drop_index(&mut self, namespace: &str, name: &[u8]) -> Result<()> {
        self.edit_metadata(namespace, |metadata| metadata.indexes.retain(|known| known.name != name))
    }

    /// Adds a UDF module, or replaces the one of that name.
    ///
    /// # Errors
    ///
    /// If the store can't be read or written.
    pub fn put_udf(&mut self, namespace: &str, udf: UdfModule) -> Result<()> {
        self.edit_metadata(namespace, |metadata| {
            replace(&mut metadata.udfs, &[udf], |udf| &udf.name);
        })
    }

    /// Removes the UDF module of that name, if there is one.
    ///
    /// # Errors
    ///
    /// If the store can't be read or written.
    pub fn remove_udf(&mut self, namespace: &str, name: &[u8]) -> Result<()> {
        self.edit_metadata(namespace, |metadata| metadata.udfs.retain(|known| known.name != name))
    }

    /// Creates the namespace if it isn't there, and puts these indexes, UDF modules, roles and users into it.
    ///
    /// # Errors
    ///
    /// If the store can't be read or written.
    pub fn put_metadata(&mut self, namespace: &str, added: &NamespaceMetadata) -> Result<()> {
        self.edit_metadata(namespace, |metadata| {
            replace(&mut metadata.indexes, &added.indexes, |index| &index.name);
            replace(&mut metadata.udfs, &added.udfs, |udf| &udf.name);
            replace(&mut metadata.roles, &added.roles, |role| &role.name);
            replace(&mut metadata.users, &added.users, |user| &user.name);
        })
    }
}

/// Adds these in place of what has their names.
fn replace<T: Clone>(known: &mut Vec<T>, added: &[T], name: fn(&T) -> &[u8]) {
    known.retain(|one| added.iter().all(|other| name(other) != name(one)));
    known.extend_from_slice(added);
}
