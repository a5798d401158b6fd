//! The library's main type: a repository, opened with its keys.

mod catalogue;
mod doubt;
mod hold;
pub(crate) mod keyring;
mod labels;
mod needs;
mod place;
mod proof;
pub(crate) mod resolve;
mod rollback;
mod selection;
mod view;

pub use catalogue::{History, HistoryEntry, SessionOutcome, SnapshotList};
pub(crate) use catalogue::{Manifests, Memory};
pub(crate) use hold::check_reason;
pub use hold::{HoldEntry, HoldNote};
pub use keyring::KeyInfo;
pub use labels::Labelled;
pub use needs::{Root, needed_by};
pub(crate) use place::check_place;
pub(crate) use proof::prove_creations;
pub use resolve::SnapshotFilter;
pub use rollback::Rollback;
pub use selection::Selection;
pub use view::{Change, Diff, NamespaceView, Record, RecordCounts, Records, Snapshot};
pub(crate) use view::{LazyReader, SelectionWalk};

use crate::chunk::Cutter;
use crate::chunks::ChunkReader;
use crate::control::Control;
use crate::crypto::sealed::{MAX_SEALED_BYTES, seal, unseal};
use crate::crypto::{Keys, random, suite};
use crate::error::{AbsentSecret, Error, Result, Secret};
use crate::format::config::{
    CONFIG_HEADER_BYTES, ChunkSizes, Compression, Config, Parameters, decode_header, encode_header,
};
use crate::format::fold::FoldedName;
use crate::format::header::{ObjectKind, Suite};
use crate::format::keyslot::{KdfCost, SlotSecret};
use crate::format::session::{Session, SessionKind};
use crate::format::snapshot::{Manifest, SnapshotState};
use crate::format::{KeyId, RepositoryId, SnapshotId, names};
use crate::index::Index;
use crate::objects;
use crate::objects::order::Times;
use crate::record::Timestamp;
use crate::setters::setters;
use crate::store::{Put, RetryStore, Store};
use crate::sync::in_parallel;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use zeroize::Zeroizing;

/// Plaintext of chunks that a reader keeps in memory: 192 MiB.
pub(crate) const READ_CACHE_BYTES: usize = 192 << 20;

/// How a repository is made.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CreateOptions {
    /// The suite; what this processor does well if not given.
    pub suite: Option<Suite>,
    /// How chunks are compressed.
    pub compression: Compression,
    /// What opening it with the passphrase costs.
    pub cost: KdfCost,
    /// What the first key slot is called.
    pub label: String,
    /// A repository whose content keys and chunk sizes the new one shall have too: chunks have the same names in both,
    /// so copies from one to the other take them as they are. All other keys are its own.
    pub shares_chunking_with: Option<Repository>,
}

setters!(CreateOptions {
    compression: Compression,
    cost: KdfCost,
} into {
    suite: Option<Suite>,
    label: String,
    shares_chunking_with: Option<Repository>,
});

impl Default for CreateOptions {
    fn default() -> Self {
        CreateOptions {
            suite: None,
            compression: Compression::Lz4,
            cost: KdfCost::RECOMMENDED,
            label: String::new(),
            shares_chunking_with: None,
        }
    }
}

/// A repository: everything under one root of a store, with one config and one set of keys.
#[derive(Clone)]
pub struct Repository {
    pub(crate) store: Arc<dyn Store>,
    /// The store as it was given, which makes no call again.
    below: Arc<dyn Store>,
    pub(crate) keys: Arc<Keys>,
    /// What makes all keys; absent where some of them were given up.
    master: Option<Arc<Zeroizing<[u8; 32]>>>,
    /// Whether the keys of the content are those of another repository.
    shares_chunking: bool,
    pub(crate) id: RepositoryId,
    pub(crate) parameters: Parameters,
    pub(crate) slot: KeyId,
    pub(crate) control: Control,
}

impl std::fmt::Debug for Repository {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Repository({} at {})", self.id, self.store.location())
    }
}

impl Repository {
    /// Makes a repository in a store that has none. Calls that fail for reasons which pass are made again, as
    /// [`Store::retry_policy`] says.
    ///
    /// # Errors
    ///
    /// If the store can't be read.
    pub fn create(store: Arc<dyn Store>, passphrase: &[u8], options: &CreateOptions) -> Result<Self> {
        let control = Control::new();
        let (below, store) = (store.clone(), RetryStore::wrap(store, &control));
        check_place(&*store)?;
        if store.size(names::CONFIG)?.is_some() {
            return Err(Error::invalid(format!("there is a repository in {} already", store.location())));
        }
        let directories = [names::SNAPSHOTS, names::PACKS, names::SESSIONS, names::INDEX, names::PLANS];
        for directory in directories.into_iter().chain([names::HOLDS, names::TAGS, names::FOLDS, names::HISTORY]) {
            if !store.list(directory)?.is_empty() {
                return Err(lost_config());
            }
        }
        prove_creations(&*store)?;
        let master = Arc::new(Zeroizing::new(random::<32>()?));
        let shared = options.shares_chunking_with.as_ref();
        let content = shared.map(|other| other.keys.content()).transpose()?;
        let keys = Arc::new(match &content {
            Some(content) => Keys::with_content(&master, content.clone()),
            None => Keys::derive(&master),
        });
        let id = RepositoryId(random()?);
        let mut parameters = Parameters {
            created: Timestamp::now().0,
            suite: options.suite.unwrap_or_else(suite::preferred),
            compression: options.compression,
            chunker: 1,
            value_chunks: ChunkSizes { min: 16 << 10, avg: 64 << 10, max: 256 << 10 },
            stream_chunks: ChunkSizes { min: 256 << 10, avg: 1 << 20, max: 4 << 20 },
            pack_bytes: 16 << 20,
        };
        if let Some(Parameters { chunker, value_chunks, stream_chunks, .. }) = shared.map(|other| &other.parameters) {
            parameters = Parameters {
                chunker: *chunker,
                value_chunks: *value_chunks,
                stream_chunks: *stream_chunks,
                ..parameters
            };
        }
        let config = Config { parameters: parameters.clone(), content };
        let (master, shares_chunking) = (Some(master), config.content.is_some());
        let mut repository =
            Repository { store, keys, master, shares_chunking, id, parameters, slot: KeyId([0; 16]), control, below };
        // The slot before the config: a config without a way in would be a repository that nobody can open.
        repository.slot = repository.key_add(passphrase, &options.label, options.cost)?;
        let value = config.encode().map_err(|error| error.of(names::CONFIG))?;
        let mut bytes = encode_header(config.version(), &id).to_vec();
        let suite = repository.parameters.suite;
        let name = config_name(&id);
        bytes.extend_from_slice(&seal(&repository.keys, ObjectKind::Config, suite, &name, &value)?);
        // Slots that stand here before there is a config open nothing: programs that stopped, or came second, left
        // them.
        let orphans = keyring::others(&*repository.store, &repository.slot)?;
        let put = repository.store.put_new(names::CONFIG, &bytes);
        if !matches!(put, Ok(Put::Created)) {
            // A put may have failed, or found the name taken, after its own bytes came there.
            let found = repository.store.get(names::CONFIG, MAX_SEALED_BYTES);
            match (found, put) {
                (Ok(Some(found)), Ok(_)) if found == bytes => {}
                (Ok(Some(found)), Err(error)) if found == bytes => return Err(error),
                (Err(_), put) => {
                    put?;
                    return Err(made_meanwhile(&*repository.store));
                }
                (Ok(_), put) => {
                    // Our slot opens nothing.
                    let _ = repository.store.delete(&names::key(&repository.slot));
                    put?;
                    return Err(made_meanwhile(&*repository.store));
                }
            }
        }
        for slot in orphans {
            let _ = repository.store.delete(&names::key(&slot));
        }
        let _ = repository.store.keep_reserve();
        Ok(repository)
    }

    /// Opens a repository with a passphrase. Calls that fail for reasons which pass are made again, as
    /// [`Store::retry_policy`] says.
    ///
    /// # Errors
    ///
    /// If the store can't be read.
    pub fn open(store: Arc<dyn Store>, passphrase: &[u8]) -> Result<Self> {
        Self::open_within(store, passphrase, keyring::Budget::default())
    }

    /// The same, with so much to spend on trying the passphrase.
    pub(crate) fn open_within(store: Arc<dyn Store>, passphrase: &[u8], mut budget: keyring::Budget) -> Result<Self> {
        let control = Control::new();
        let (below, store) = (store.clone(), RetryStore::wrap(store, &control));
        let Some(config) = store.get(names::CONFIG, MAX_SEALED_BYTES)? else {
            if !store.list(names::SNAPSHOTS)?.is_empty() || !store.list(names::PACKS)?.is_empty() {
                return Err(lost_config());
            }
            let advice = "Make one with `aerolith init`, or name another place";
            return Err(Error::not_found(format!("repository {}", store.location()), advice));
        };
        let (version, id) =
            decode_header(&mut &config[..]).map_err(|error| error.of(names::CONFIG).with_advice(COPY_OF_CONFIG))?;
        let (found, mut untried) = keyring::cheapest_first(&*store, &budget)?;
        let slots = found.len() + untried;
        let mut damaged = None;
        for keyring::FoundSlot { id: slot, bytes, cost } in found {
            if !budget.allows(cost) {
                untried += 1;
                continue;
            }
            let opened = bytes.and_then(|bytes| keyring::open_slot(&id, &slot, &bytes, passphrase));
            let secret = match opened {
                Ok(Some((_, secret))) => secret,
                Ok(None) => continue,
                Err(error) if error.is_of_one_object() => {
                    damaged = damaged.or(Some(error));
                    continue;
                }
                Err(error) => return Err(error),
            };
            let keys = Keys::derive(&secret.master);
            let sealed = config.get(CONFIG_HEADER_BYTES..).unwrap_or_default().to_vec();
            let opened = read_config(&keys, version, &id, sealed).map_err(|error| error.with_advice(COPY_OF_CONFIG))?;
            let Config { parameters, content } = opened;
            let shares_chunking = content.is_some();
            let keys = Arc::new(content.map_or(keys, |content| Keys::with_content(&secret.master, content)));
            let master = Some(Arc::new(secret.master));
            return Ok(Repository { store, keys, master, shares_chunking, id, parameters, slot, control, below });
        }
        if untried > 0 {
            return Err(Error::invalid(format!(
                "{untried} of the {slots} key slots of {} were not tried, since all together may take no longer than \
                 {} of the usual cost; the passphrase opens none of the others. Whoever can write to the store can \
                 plant such slots: delete from {} what nobody made, or restore it from a copy",
                store.location(),
                keyring::MAX_WORK / KdfCost::RECOMMENDED.work(),
                names::KEYS
            )));
        }
        if let Some(error) = damaged {
            let advice = format!(
                "No other key slot ({} can be read) opens with the passphrase: if it is the right one, it was this \
                 slot's. Restore the slot from a copy",
                slots - 1
            );
            return Err(error.with_advice(&advice));
        }
        if slots == 0 {
            let advice = "Without a key slot the repository can't be opened: restore keys/ from a copy".to_string();
            return Err(Error::Missing { object: names::KEYS.into(), advice });
        }
        Err(Error::WrongPassphrase { repository: store.location().to_string(), slots })
    }

    /// The same repository, whose long calls can be watched and stopped by `control`, as can those of the sessions and
    /// snapshots that are had from it. One control is for one call at a time: it counts what all that hold it do.
    ///
    /// ```
    /// use aerolith::{CheckOptions, Control, CreateOptions, KdfCost, Repository, store::MemoryStore};
    /// # fn main() -> aerolith::Result<()> {
    /// # let options = CreateOptions::default().cost(KdfCost::WEAK);
    /// # let repository = Repository::create(std::sync::Arc::new(MemoryStore::new()), b"a long passphrase", &options)?;
    /// let control = Control::new();
    /// std::thread::scope(|scope| {
    ///     let check = scope.spawn(|| repository.watched(&control).check(&CheckOptions::default()));
    ///     println!("{:?}", control.phase());
    ///     control.stop();
    ///     check.join()
    /// });
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn watched(&self, control: &Control) -> Self {
        let store = RetryStore::wrap(self.below.clone(), control);
        Repository { control: control.clone(), store, ..self.clone() }
    }

    /// The handle on its long calls, which also has the warnings that were told: that of [`Repository::watched`].
    pub fn control(&self) -> &Control {
        &self.control
    }

    /// Its id.
    pub fn id(&self) -> RepositoryId {
        self.id
    }

    /// The store it lives in.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// When it was made.
    pub fn created(&self) -> Timestamp {
        Timestamp(self.parameters.created)
    }

    /// How its new chunks are compressed.
    pub fn compression(&self) -> Compression {
        self.parameters.compression
    }

    /// What was fixed when it was made, as [`format`](crate::format) defines it: the low level.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// Whether its content keys are not of its own master key: it was made to share the chunking of another repository.
    pub fn has_shared_chunking(&self) -> bool {
        self.shares_chunking
    }

    /// Its keys. For inspection and tests.
    pub fn keys(&self) -> &Arc<Keys> {
        &self.keys
    }

    pub(crate) fn cutter(&self) -> Cutter {
        Cutter::new(self.parameters.value_chunks)
    }

    /// The same repository without some of its secrets, and without the master key that could make them again: for work
    /// that needs no more, such as a list of snapshots on a host that shall not read values. What needs an absent
    /// secret fails with [`Error::AbsentSecret`].
    #[must_use]
    pub fn without(&self, secrets: &[Secret]) -> Self {
        Repository { keys: Arc::new((*self.keys).clone().without(secrets)), master: None, ..self.clone() }
    }

    /// Adds a key slot and gives back its id.
    ///
    /// # Errors
    ///
    /// If the store can't be read.
    pub fn key_add(&self, passphrase: &[u8], label: &str, cost: KdfCost) -> Result<KeyId> {
        let master = self.master.as_ref().ok_or(AbsentSecret(Secret::Master))?;
        let secret = SlotSecret { master: (**master).clone(), created: Timestamp::now().0, label: label.to_string() };
        keyring::add_slot(&*self.store, &self.id, passphrase, cost, &secret)
    }

    /// All key slots. Labels of slots that this passphrase doesn't open are unknown.
    ///
    /// # Errors
    ///
    /// If the store can't be read.
    pub fn key_list(&self, passphrase: &[u8]) -> Result<Vec<KeyInfo>> {
        keyring::list(&*self.store, &self.id, &self.slot, passphrase)
    }

    /// Replaces the passphrase of the slot that the repository was opened with, and gives back the new slot. It is
    /// there, and was opened once, before the old one goes: stopped in between, both open the repository.
    ///
    /// # Errors
    ///
    /// If the store can't be read.
    pub fn key_replace(&self, passphrase: &[u8], label: &str, cost: KdfCost) -> Result<KeyId> {
        let id = self.key_add(passphrase, label, cost)?;
        keyring::check_opens(&*self.store, &self.id, &id, passphrase)?;
        keyring::remove(&*self.store, &self.slot)?;
        Ok(id)
    }

    /// The key slot that the repository was opened with.
    pub fn key_current(&self) -> KeyId {
        self.slot
    }

    /// Removes a key slot; the last one stays.
    ///
    /// # Errors
    ///
    /// If the store can't be read.
    pub fn key_remove(&self, id: &KeyId) -> Result<()> {
        keyring::remove(&*self.store, id)
    }

    /// All committed snapshots that were not forgotten, oldest first, with the labels that they have now. Their
    /// manifests are read, and nothing else: see [`Snapshot`].
    ///
    /// # Errors
    ///
    /// If the store can't be read. A snapshot that is damaged is no error: the list names it.
    pub fn snapshots(&self) -> Result<SnapshotList> {
        let Manifests { snapshots, damaged, times, unread_labels } = self.manifests()?;
        let chunks = self.lazy_reader(&snapshots);
        let open = |manifest| Snapshot::new(chunks.clone(), manifest, self.control.clone());
        Ok(SnapshotList { snapshots: snapshots.into_iter().map(open).collect(), damaged, unread_labels, times })
    }

    /// The same as it is stored.
    pub(crate) fn manifests(&self) -> Result<Manifests> {
        let mut list = self.manifests_with(&mut Memory::default())?;
        self.label(&mut list)?;
        Ok(list)
    }

    /// The manifests as they were committed, whatever became of their labels, reading those alone that are not
    /// remembered.
    pub(crate) fn manifests_with(&self, memory: &mut Memory) -> Result<Manifests> {
        let mut list = Manifests::default();
        let (mut unread, mut folded) = (Vec::new(), None);
        for (id, state) in objects::list_states(&*self.store, &self.keys)?.listed() {
            if state == SnapshotState::Fenced && self.says_committed(&id, &mut folded)? {
                let error =
                    Error::damaged(names::snapshot(&id), "it is empty, but its session says that it was committed");
                list.damaged.push((id, error));
            }
            if state != SnapshotState::Committed {
                continue;
            }
            match memory.manifests.get(&id) {
                Some(manifest) => list.snapshots.push(manifest.clone()),
                None => unread.push(id),
            }
        }
        let read =
            in_parallel(&unread, self.store.is_far(), |id| objects::read_manifest(&*self.store, &self.keys, *id));
        for (id, read) in unread.into_iter().zip(read) {
            match read {
                Ok(manifest) => {
                    memory.manifests.insert(id, manifest.clone());
                    list.snapshots.push(manifest);
                }
                // Forgotten since it was listed.
                Err(Error::Damaged { .. }) if self.is_forgotten(&id)? => {}
                Err(error) if error.is_of_one_object() => list.damaged.push((id, error)),
                Err(error) => return Err(error),
            }
        }
        list.damaged.sort_by_key(|(id, _)| *id);
        list.snapshots.sort_by_key(Manifest::place);
        list.times = Times::of(&list.snapshots, Timestamp::now());
        Ok(list)
    }

    /// All sessions, oldest first: failed ones and those that still run too.
    ///
    /// # Errors
    ///
    /// Those of the store. What can't be read is named in the result.
    pub fn history(&self) -> Result<History> {
        let mut history = self.history_of(&mut Memory::default(), |_| true)?;
        // After the sessions: those that were folded meanwhile are found here.
        let (folded, damaged) = objects::read_history(&*self.store, &self.keys)?;
        let states = objects::list_states(&*self.store, &self.keys)?;
        let mut known: HashSet<SnapshotId> = history.entries.iter().map(|entry| entry.session.id).collect();
        known.extend(history.damaged.iter().map(|(id, _)| *id));
        let mut rows: Vec<_> = folded.iter().flat_map(|fold| fold.rows.iter().map(move |row| (fold, row))).collect();
        // What was written while the snapshot existed says less than what was written at its end.
        rows.sort_by_key(|(_, row)| row.name == FoldedName::Committed);
        for (fold, row) in rows {
            if known.insert(row.session) {
                let state = objects::folded_name(row).or_else(|| states.get(&row.session));
                history.entries.push(HistoryEntry::unfolded(fold, row, state));
            }
        }
        history.unread = damaged.into_iter().map(|(_, error)| error).collect();
        catalogue::note_resumed(&mut history.entries);
        history.entries.sort_by_key(|entry| (entry.session.started, entry.session.id));
        Ok(history)
    }

    /// Those of the sessions that have objects of their own under whose names there is what `wanted` asks for; the
    /// others, and those that are remembered, are not read.
    pub(crate) fn history_of(
        &self,
        memory: &mut Memory,
        wanted: impl Fn(Option<SnapshotState>) -> bool,
    ) -> Result<History> {
        let states = objects::list_states(&*self.store, &self.keys)?;
        let mut history = History::default();
        let mut unread = Vec::new();
        for id in objects::list_sessions(&*self.store)? {
            let state = states.get(&id);
            match memory.sessions.get(&id) {
                _ if !wanted(state) => {}
                Some(session) => history.entries.push(HistoryEntry::of(session.clone(), state)),
                None => unread.push((id, state)),
            }
        }
        let read =
            in_parallel(&unread, self.store.is_far(), |(id, _)| objects::read_session(&*self.store, &self.keys, *id));
        for ((id, state), read) in unread.into_iter().zip(read) {
            match read {
                Ok(session) => {
                    if session.outcome.is_some() {
                        memory.sessions.insert(id, session.clone());
                    }
                    history.entries.push(HistoryEntry::of(session, state));
                }
                Err(error) if error.is_of_one_object() => history.damaged.push((id, error)),
                Err(error) => return Err(error),
            }
        }
        history.entries.sort_by_key(|entry| (entry.session.started, entry.session.id));
        Ok(history)
    }

    /// What is under a session's name in `snapshots/` now.
    pub(crate) fn state_of(&self, id: &SnapshotId) -> Result<Option<SnapshotState>> {
        objects::state_of(&*self.store, &self.keys, id)
    }

    /// Whether a snapshot was forgotten by now: what it needed may be gone.
    pub(crate) fn is_forgotten(&self, id: &SnapshotId) -> Result<bool> {
        Ok(self.state_of(id)? == Some(SnapshotState::Forgotten))
    }

    /// Whether a session, or the history that it was folded into, says that it committed its snapshot. The histories
    /// are read once it takes them, into `folded`.
    fn says_committed(&self, id: &SnapshotId, folded: &mut Option<HashSet<SnapshotId>>) -> Result<bool> {
        match objects::read_session(&*self.store, &self.keys, *id) {
            Ok(session) => Ok(session.says_committed()),
            Err(Error::Missing { .. }) => {
                let known = match folded.take() {
                    Some(known) => known,
                    None => objects::folded_committed(&objects::read_history(&*self.store, &self.keys)?.0),
                };
                Ok(folded.insert(known).contains(id))
            }
            Err(error) if error.is_of_one_object() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The index as it is: segments of committed sessions, without packs that a plan condemns.
    ///
    /// # Errors
    ///
    /// If the store can't be read.
    pub fn index(&self) -> Result<Index> {
        let states = objects::list_states(&*self.store, &self.keys)?;
        let committed = |id: &SnapshotId| states.was_committed(id);
        Index::open(&*self.store, &self.keys, committed, Default::default())
    }

    /// A reader of chunks through the index as it is.
    ///
    /// # Errors
    ///
    /// If the store can't be read.
    pub fn chunk_reader(&self) -> Result<Arc<ChunkReader>> {
        Ok(self.reader_of(self.index()?))
    }

    pub(crate) fn reader_of(&self, index: Index) -> Arc<ChunkReader> {
        Arc::new(ChunkReader::new(self.store.clone(), self.keys.clone(), Arc::new(index), READ_CACHE_BYTES))
    }

    /// A reader that reads the index once something is asked of it, for snapshots among these, which are given in
    /// their order.
    pub(crate) fn lazy_reader(&self, snapshots: &[Manifest]) -> Arc<LazyReader> {
        let newest_first = snapshots.iter().rev().enumerate();
        let ranks: HashMap<SnapshotId, usize> = newest_first.map(|(rank, manifest)| (manifest.id, rank)).collect();
        let repository = self.clone();
        LazyReader::new(move || {
            let mut index = repository.index()?;
            // A snapshot's runs are listed newest first, and each was mostly written with a snapshot of its own.
            index.order_by(|session| ranks.get(session).copied().unwrap_or(usize::MAX));
            Ok(repository.reader_of(index))
        })
    }

    /// Opens the snapshot that `spec` names: an id, a unique prefix of one, `latest`, `latest~N`, or `@TIME`.
    ///
    /// # Errors
    ///
    /// If there is none, if it can't be read, or if the name could mean snapshots of different clusters.
    pub fn snapshot(&self, spec: &str) -> Result<Snapshot> {
        self.snapshot_among(spec, &SnapshotFilter::ALL)
    }

    /// Opens the snapshot that `spec` names among those that the filter admits.
    ///
    /// # Errors
    ///
    /// As [`Repository::snapshot`].
    pub fn snapshot_among(&self, spec: &str, filter: &SnapshotFilter) -> Result<Snapshot> {
        let mut list = self.manifests()?;
        let manifest = named(&mut list, spec, filter)?;
        resolve::doubts(spec, &list.times, manifest.id).iter().for_each(|doubt| self.control.warn(doubt));
        if !filter.tags.is_empty() {
            list.unread_labels.iter().for_each(|(_, error)| self.control.warn(error.to_string()));
        }
        let chunks = self.lazy_reader(&list.snapshots);
        // Whoever opens one by its name is about to read it.
        chunks.get()?;
        Ok(Snapshot::new(chunks, manifest, self.control.clone()))
    }

    /// Opens a snapshot whose manifest is at hand, with a reader that other snapshots may share: the low level.
    pub fn open_snapshot(&self, chunks: &Arc<ChunkReader>, manifest: Manifest) -> Snapshot {
        Snapshot::new(LazyReader::opened(chunks.clone()), manifest, self.control.clone())
    }
}

/// What to do about a config that is damaged or lost.
const COPY_OF_CONFIG: &str = "Restore it from a copy of the repository: it never changes, so any copy will do";

fn made_meanwhile(store: &dyn Store) -> Error {
    Error::invalid(format!("another program made a repository in {} at the same time", store.location()))
}

pub(crate) fn lost_config() -> Error {
    Error::Missing { object: names::CONFIG.into(), advice: COPY_OF_CONFIG.into() }
}

/// Opens the sealed part of `config`, with keys of which those of the content don't matter.
pub(crate) fn read_config(keys: &Keys, version: u8, id: &RepositoryId, sealed: Vec<u8>) -> Result<Config> {
    let of = |error: crate::format::FormatError| error.of(names::CONFIG);
    let value = unseal(keys, ObjectKind::Config, &config_name(id), sealed).map_err(of)?;
    Config::decode(version, &Zeroizing::new(value)).map_err(of)
}

fn config_name(id: &RepositoryId) -> String {
    format!("{} {id}", names::CONFIG)
}

/// A session that begins now, on this machine, with a lease of the usual length.
pub(crate) fn new_session(id: SnapshotId, kind: SessionKind, job: String) -> Session {
    let now = Timestamp::now().0;
    Session {
        id,
        kind,
        job,
        host: host(),
        program: program(),
        process: objects::this_process(),
        started: now,
        heartbeat: now,
        lease_millis: objects::LEASE_MILLIS,
        adopted: Vec::new(),
        outcome: None,
        journal: None,
    }
}

/// This machine's name.
pub(crate) fn host() -> String {
    objects::host()
}

/// This program's name and version.
pub(crate) fn program() -> String {
    format!("aerolith {}", env!("CARGO_PKG_VERSION"))
}

/// The manifest of the snapshot that `spec` names, unless one that can't be read may be the one that is meant.
pub(crate) fn named(list: &mut Manifests, spec: &str, filter: &SnapshotFilter) -> Result<Manifest> {
    let doubt = doubt::Doubt::of(list);
    doubt.settle(spec, resolve::resolve(list, spec, filter))
}
