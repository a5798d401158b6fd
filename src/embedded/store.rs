//! The store itself: creating and opening its directory, its transactions, and single operations.

use super::clock::Clock;
use super::layout::{
    self, CLUSTER_PROPERTY, FILE_NAME, LAST_WRITE_PROPERTY, PROPERTIES, StoreFile, VERSION, VERSION_PROPERTY,
};
use super::read::{Reader, StoredRecord};
use super::write::{NewRecord, Transaction};
use crate::error::{Error, Result};
use crate::record::{Bin, Digest, Generation, Key, NamespaceMetadata, SecondaryIndex, Timestamp, UdfModule};
use crate::setters::setters;
use redb::{Database, DatabaseError, ReadableDatabase};
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

/// When a committed transaction is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Durability {
    /// When the call returns.
    #[default]
    Synced,
    /// With the next synced transaction (or [`EmbeddedStore::sync`]). Readers see it at once; a crash before that takes
    /// it back as a whole.
    Deferred,
}

/// How a store is created or opened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StoreOptions {
    /// The cluster's name that a new store shall bear; a random one such as `embedded-1f2e3d4c` if `None`. Opening
    /// ignores it.
    pub cluster: Option<String>,
    /// How many bytes of the file are kept in memory.
    pub cache_bytes: usize,
    /// Whether opening reads the whole file and checks its checksums. Without it a store opens at once, but a file that
    /// something else has altered may end the program with a panic instead of an error.
    pub verify: bool,
}

setters!(StoreOptions {
    cache_bytes: usize,
    verify: bool,
} into {
    cluster: Option<String>,
});

impl Default for StoreOptions {
    fn default() -> Self {
        Self { cluster: None, cache_bytes: 128 << 20, verify: true }
    }
}

struct Inner {
    database: Database,
    file: StoreFile,
    name: String,
    cluster: String,
    clock: Clock,
}

/// An embedded record store; see the [module's page](super). Cloning gives another handle to the same store.
#[derive(Clone)]
pub struct EmbeddedStore(Arc<Inner>);

impl std::fmt::Debug for EmbeddedStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EmbeddedStore").field("directory", &self.0.name).finish_non_exhaustive()
    }
}

/// Refuses a directory that something is in.
fn check_empty(directory: &Path) -> Result<()> {
    let name = directory.display();
    let failed = |error| Error::io(format!("create an embedded store in {name}"), error);
    let mut entries = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(failed)?,
    };
    let Some(entry) = entries.next() else { return Ok(()) };
    let entry = entry.map_err(failed)?;
    Err(Error::invalid(format!(
        "cannot create an embedded store in {name}: the directory is not empty (it holds {:?}). Name a new or empty \
         one",
        entry.file_name()
    )))
}

impl EmbeddedStore {
    /// Creates a store in a directory that doesn't exist or is empty.
    ///
    /// # Errors
    ///
    /// If the directory holds anything, or can't be made or written.
    pub fn create(directory: impl AsRef<Path>) -> Result<Self> {
        Self::create_with(directory, &StoreOptions::default())
    }

    /// Creates a store, with options.
    ///
    /// # Errors
    ///
    /// If the directory holds anything, or can't be made or written.
    pub fn create_with(directory: impl AsRef<Path>, options: &StoreOptions) -> Result<Self> {
        let directory = directory.as_ref();
        let name = directory.display();
        let doing = || format!("create an embedded store in {name}");
        std::fs::create_dir_all(directory).map_err(|error| Error::io(doing(), error))?;
        if directory.join(FILE_NAME).exists() {
            return Err(Error::invalid(format!(
                "{name} already holds an embedded store. Open it, or name another directory"
            )));
        }
        check_empty(directory)?;
        let file = StoreFile::new(directory.join(FILE_NAME));
        // The file takes its name only once it is whole, and only if no other has taken it.
        let temporary = tempfile::Builder::new()
            .prefix(".creating-")
            .tempfile_in(directory)
            .map_err(|error| Error::io(doing(), error))?;
        write_properties(&file, temporary.path(), options)?;
        temporary.persist_noclobber(file.path()).map_err(|error| Error::io(doing(), error.error))?;
        // A directory that can't be synced (on some network file systems) is no reason to fail.
        let _ = std::fs::File::open(directory).and_then(|directory| directory.sync_all());
        Self::open_with(directory, options)
    }

    /// Opens a store.
    ///
    /// # Errors
    ///
    /// If there is no store, another process has it open, or it is damaged.
    pub fn open(directory: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(directory, &StoreOptions::default())
    }

    /// Opens a store, with options.
    ///
    /// # Errors
    ///
    /// If there is no store, another process has it open, or it is damaged.
    pub fn open_with(directory: impl AsRef<Path>, options: &StoreOptions) -> Result<Self> {
        let directory = directory.as_ref();
        let name = directory.display().to_string();
        let file = StoreFile::new(directory.join(FILE_NAME));
        if !directory.is_dir() {
            let what =
                if directory.exists() { "is a file, not the directory of an embedded store" } else { "doesn't exist" };
            return Err(Error::not_found(format!("embedded store {name}"), format!("{name} {what}")));
        }
        if !file.path().is_file() {
            let advice = format!("The directory has no file {FILE_NAME}");
            return Err(Error::not_found(format!("embedded store {name}"), advice));
        }
        let database = open_database(&file, options)?;
        let Properties { cluster, last_write } = read_properties(&file, &database)?;
        Ok(Self(Arc::new(Inner { database, file, name, cluster, clock: Clock::after(last_write) })))
    }

    /// Whether [`EmbeddedStore::open_or_create`] would create a store there. It is an error if neither it could.
    ///
    /// # Errors
    ///
    /// If the directory holds something else, or can't be read.
    pub fn is_absent(directory: impl AsRef<Path>) -> Result<bool> {
        let directory = directory.as_ref();
        if directory.join(FILE_NAME).exists() {
            return Ok(false);
        }
        check_empty(directory).map(|()| true)
    }

    /// Opens the store in a directory, or creates one there.
    ///
    /// # Errors
    ///
    /// If the directory holds something else, can't be read or written, or another process has the store open.
    pub fn open_or_create(directory: impl AsRef<Path>, options: &StoreOptions) -> Result<Self> {
        let directory = directory.as_ref();
        if directory.join(FILE_NAME).exists() {
            Self::open_with(directory, options)
        } else {
            Self::create_with(directory, options)
        }
    }

    pub(super) fn file(&self) -> &StoreFile {
        &self.0.file
    }

    /// The store's directory, as it was given.
    pub fn directory(&self) -> &str {
        &self.0.name
    }

    /// The cluster's name that the store bears.
    pub fn cluster(&self) -> &str {
        &self.0.cluster
    }

    /// The store's clock.
    pub fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    /// The latest time before which no open transaction began: a scan since this time sees all that is not yet visible.
    pub fn settled_time(&self) -> Timestamp {
        self.0.clock.settled()
    }

    /// Sets the clock, which then stands still, for all handles of this process; `None` goes back to the machine's.
    /// For tests: the file doesn't keep it.
    pub fn set_clock(&self, time: Option<Timestamp>) {
        self.0.clock.set(time);
    }

    /// Sets the clock this many milliseconds ahead, where it stands still.
    pub fn advance_clock(&self, millis: u64) {
        self.0.clock.advance(millis);
    }

    /// A consistent view of all that is committed by now.
    ///
    /// # Errors
    ///
    /// If the store can't be read, or what it holds is damaged.
    pub fn reader(&self) -> Result<Reader> {
        let transaction = self.0.database.begin_read();
        let transaction = transaction.map_err(|error| self.file().failed("begin to read", error))?;
        Reader::new(self.0.clone(), self.file(), &transaction, self.now())
    }

    /// Runs `work` as one synced transaction: all of it stays, or, if it returns an error, nothing.
    ///
    /// Other writers wait meanwhile; a call from within `work` would wait for ever.
    ///
    /// # Errors
    ///
    /// That of `work`, or that of the commit; nothing is changed then.
    pub fn write<T>(&self, work: impl FnOnce(&mut Transaction<'_>) -> Result<T>) -> Result<T> {
        self.write_with(Durability::Synced, work)
    }

    /// Runs `work` as one transaction with this durability.
    ///
    /// # Errors
    ///
    /// That of `work`, or that of the commit; nothing is changed then.
    pub fn write_with<T>(
        &self,
        durability: Durability,
        work: impl FnOnce(&mut Transaction<'_>) -> Result<T>,
    ) -> Result<T> {
        let file = self.file();
        let mut transaction =
            self.0.database.begin_write().map_err(|error| file.failed("begin a transaction", error))?;
        if durability == Durability::Deferred {
            let set = transaction.set_durability(redb::Durability::None);
            set.map_err(|error| file.failed("begin a transaction", error))?;
        }
        let (stamp, now) = (self.0.clock.begin(), self.0.clock.now());
        // Cleared when this call ends in any way, after the commit.
        let _ending = Ending(&self.0.clock);
        let done = Transaction::new(file, &transaction, now, stamp).and_then(|mut tables| work(&mut tables));
        let done = done.and_then(|value| note_last_write(file, &transaction, stamp).map(|()| value));
        match done {
            Ok(value) => {
                transaction.commit().map_err(|error| file.failed("commit a transaction", error))?;
                Ok(value)
            }
            Err(error) => {
                // The first error is the one to tell; an abort that fails leaves nothing committed either.
                let _ = transaction.abort();
                Err(error)
            }
        }
    }

    /// Has all that was committed put on disk.
    ///
    /// # Errors
    ///
    /// If the disk fails.
    pub fn sync(&self) -> Result<()> {
        self.write(|_| Ok(()))
    }

    /// Writes a record as a whole; see [`Transaction::put`]. Returns its digest.
    ///
    /// # Errors
    ///
    /// If the record is larger than one can be, or the store can't be written; nothing is changed then.
    pub fn put(&self, namespace: &str, set: &[u8], key: &Key, bins: &[Bin], ttl: u32) -> Result<Digest> {
        let bins: Vec<_> = bins.iter().map(Bin::as_ref).collect();
        self.write(|tables| tables.put(namespace, set, key.as_ref(), &bins, ttl))
    }

    /// Writes many records in one transaction.
    ///
    /// # Errors
    ///
    /// If one of the records is larger than one can be, or the store can't be written; nothing is changed then.
    pub fn put_many(&self, namespace: &str, records: &[NewRecord]) -> Result<()> {
        self.write(|tables| tables.put_many(namespace, records))
    }

    /// Gives a record a new time to live in seconds, 0 for ever; see [`Transaction::touch`].
    ///
    /// # Errors
    ///
    /// If the store can't be written; nothing is changed then.
    pub fn touch(&self, namespace: &str, digest: &Digest, ttl: u32) -> Result<Option<Generation>> {
        self.write(|tables| tables.touch(namespace, digest, ttl))
    }

    /// Deletes a record. Returns whether it was there.
    ///
    /// # Errors
    ///
    /// If the store can't be written; nothing is changed then.
    pub fn delete(&self, namespace: &str, digest: &Digest) -> Result<bool> {
        self.write(|tables| tables.delete(namespace, digest))
    }

    /// Deletes all records of a set, or of the namespace for `None`. Returns how many it was.
    ///
    /// # Errors
    ///
    /// If the store can't be written; nothing is changed then.
    pub fn truncate(&self, namespace: &str, set: Option<&[u8]>) -> Result<u64> {
        self.write(|tables| tables.truncate(namespace, set))
    }

    /// Frees the space of all records that have expired. Returns how many it was.
    ///
    /// # Errors
    ///
    /// If the store can't be written; nothing is changed then.
    pub fn purge_expired(&self) -> Result<u64> {
        let namespaces = self.namespaces()?;
        self.write(|tables| namespaces.iter().map(|namespace| tables.purge_expired(namespace)).sum())
    }

    /// Adds a secondary index, or replaces the one of that name.
    ///
    /// # Errors
    ///
    /// If the store can't be written; nothing is changed then.
    pub fn put_index(&self, namespace: &str, index: SecondaryIndex) -> Result<()> {
        self.write(|tables| tables.put_index(namespace, index))
    }

    /// Adds a UDF module, or replaces the one of that name.
    ///
    /// # Errors
    ///
    /// If the store can't be written; nothing is changed then.
    pub fn put_udf(&self, namespace: &str, udf: UdfModule) -> Result<()> {
        self.write(|tables| tables.put_udf(namespace, udf))
    }

    /// The record with this key, if it is there and has not expired.
    ///
    /// # Errors
    ///
    /// If the store can't be read, or what it holds is damaged.
    pub fn get(&self, namespace: &str, set: &[u8], key: &Key) -> Result<Option<StoredRecord>> {
        self.get_by_digest(namespace, &key.digest(set))
    }

    /// The record with this digest, if it is there and has not expired.
    ///
    /// # Errors
    ///
    /// If the store can't be read, or what it holds is damaged.
    pub fn get_by_digest(&self, namespace: &str, digest: &Digest) -> Result<Option<StoredRecord>> {
        self.reader()?.get(namespace, digest)
    }

    /// The namespaces, sorted.
    ///
    /// # Errors
    ///
    /// If the store can't be read, or what it holds is damaged.
    pub fn namespaces(&self) -> Result<Vec<String>> {
        self.reader()?.namespaces()
    }

    /// How many live records a namespace has, or one of its sets.
    ///
    /// # Errors
    ///
    /// If the store can't be read, or what it holds is damaged.
    pub fn count(&self, namespace: &str, set: Option<&[u8]>) -> Result<u64> {
        self.reader()?.count(namespace, set)
    }

    /// A namespace's indexes and UDF modules.
    ///
    /// # Errors
    ///
    /// If the store can't be read, or what it holds is damaged.
    pub fn metadata(&self, namespace: &str) -> Result<NamespaceMetadata> {
        self.reader()?.metadata(namespace)
    }
}

struct Ending<'c>(&'c Clock);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

fn new_cluster_name() -> Result<String> {
    let mut bytes = [0; 4];
    getrandom::fill(&mut bytes).map_err(|error| Error::io("get random bytes", std::io::Error::other(error)))?;
    Ok(format!("embedded-{}", hex::encode(bytes)))
}

/// Makes the file of a new store, whole and synced.
fn write_properties(file: &StoreFile, path: &Path, options: &StoreOptions) -> Result<()> {
    let doing = "create the store";
    let cluster = match &options.cluster {
        Some(name) => name.clone(),
        None => new_cluster_name()?,
    };
    let database = Database::create(path).map_err(|error| file.failed(doing, error))?;
    let transaction = database.begin_write().map_err(|error| file.failed(doing, error))?;
    {
        // Opening the tables creates them.
        Transaction::new(file, &transaction, Timestamp(0), Timestamp(0))?;
        let mut table = transaction.open_table(PROPERTIES).map_err(|error| file.failed(doing, error))?;
        let mut put = |name: &[u8], value: &[u8]| {
            table.insert(name, value).map(|_| ()).map_err(|error| file.failed(doing, error))
        };
        put(VERSION_PROPERTY, &VERSION.to_le_bytes())?;
        put(CLUSTER_PROPERTY, cluster.as_bytes())?;
    }
    transaction.commit().map_err(|error| file.failed(doing, error))?;
    database.close().map_err(|error| file.failed(doing, error))
}

fn open_database(file: &StoreFile, options: &StoreOptions) -> Result<Database> {
    let opened = Database::builder()
        .set_cache_size(options.cache_bytes)
        .set_check_integrity_on_open(options.verify)
        .open(file.path());
    opened.map_err(|error| match error {
        DatabaseError::DatabaseAlreadyOpen => file.problem(
            "it is already open, here or in another process. Close it there, or use the handle that has it open",
        ),
        DatabaseError::UpgradeRequired(found) => {
            file.problem(format!("the file has redb's format version {found}, which this build doesn't read"))
        }
        DatabaseError::Storage(redb::StorageError::Io(error)) if error.kind() == ErrorKind::InvalidData => {
            file.problem(format!("this is not an embedded store ({error})"))
        }
        error => file.failed("open the store", error),
    })
}

/// Keeps the time that a transaction's writes bear: the next ones bear none before it, whatever the clock says then.
fn note_last_write(file: &StoreFile, transaction: &redb::WriteTransaction, stamp: Timestamp) -> Result<()> {
    let doing = "note the time of a write";
    let mut table = transaction.open_table(PROPERTIES).map_err(|error| file.failed(doing, error))?;
    let inserted = table.insert(LAST_WRITE_PROPERTY, &stamp.0.to_le_bytes()[..]);
    inserted.map(|_| ()).map_err(|error| file.failed(doing, error))
}

/// What a store says of itself.
struct Properties {
    cluster: String,
    last_write: Timestamp,
}

/// Checks that the database is a store of a known version, and reads its properties.
fn read_properties(file: &StoreFile, database: &Database) -> Result<Properties> {
    let doing = "read the store's properties";
    let transaction = database.begin_read().map_err(|error| file.failed(doing, error))?;
    let table = match transaction.open_table(PROPERTIES) {
        Ok(table) => table,
        Err(redb::TableError::TableDoesNotExist(_)) => {
            return Err(file.problem("this is a redb database, but not an embedded store: it has no properties"));
        }
        Err(error) => return Err(file.failed(doing, error)),
    };
    let find = |name: &[u8]| -> Result<Option<Vec<u8>>> {
        let row = table.get(name).map_err(|error| file.failed(doing, error))?;
        Ok(row.map(|row| row.value().to_vec()))
    };
    let property = |name: &[u8]| -> Result<Vec<u8>> {
        find(name)?.ok_or_else(|| file.damaged(format_args!("property {:?} is missing", String::from_utf8_lossy(name))))
    };
    let version = property(VERSION_PROPERTY)?;
    let version: [u8; 4] = version
        .as_slice()
        .try_into()
        .map_err(|_| file.damaged(format_args!("the version has {} bytes instead of 4", version.len())))?;
    let found = u32::from_le_bytes(version);
    if found != layout::VERSION {
        return Err(Error::UnknownVersion { object: file.path().display().to_string(), found, known: layout::VERSION });
    }
    let cluster = String::from_utf8(property(CLUSTER_PROPERTY)?);
    let cluster = cluster.map_err(|_| file.damaged("the cluster's name is not UTF-8"))?;
    let last_write = match find(LAST_WRITE_PROPERTY)? {
        None => 0,
        Some(bytes) => u64::from_le_bytes(bytes.as_slice().try_into().map_err(|_| {
            file.damaged(format_args!("the time of the latest write has {} bytes instead of 8", bytes.len()))
        })?),
    };
    Ok(Properties { cluster, last_write: Timestamp(last_write) })
}
