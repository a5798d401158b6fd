//! Looking into a snapshot.

mod counts;
mod diff;
mod lazy;
mod records;
mod walk;

pub use counts::RecordCounts;
pub use diff::{Change, Diff};
pub(crate) use lazy::LazyReader;
pub use records::Records;
pub(crate) use walk::SelectionWalk;

use super::needs::Root;
use super::selection::Selection;
use crate::chunks::ChunkReader;
use crate::control::Control;
use crate::crypto::Keys;
use crate::error::{Error, Result};
use crate::format::header::Class;
use crate::format::snapshot::{BackupKind, Manifest, NamespaceManifest};
use crate::format::{ChunkId, RepositoryId, SnapshotId, structured};
use crate::record::{
    Body, Digest, Generation, NamespaceMetadata, PartitionId, PartitionSet, RecordBatch, RecordMeta, Timestamp, Value,
    VoidTime, value,
};
use crate::run::{Entry, LiveEntry, Loss, MergedCursor, StateSums, find, read_record_into};
use crate::sources::MetSets;
use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::sync::Arc;

/// A snapshot: what it says of itself, and all that it holds, to be read. One that comes from a listing costs what it
/// says of itself: the index is read once something is asked for that it holds, and for all of a listing together.
#[derive(Clone)]
pub struct Snapshot {
    chunks: Arc<LazyReader>,
    manifest: Arc<Manifest>,
    pub(crate) control: Control,
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Snapshot({})", self.id())
    }
}

/// One record read out of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Record {
    /// Its digest.
    pub digest: Digest,
    /// Set, generation, void time, hash, place.
    pub entry: LiveEntry,
    /// Its canonical body.
    pub body: Vec<u8>,
}

impl Record {
    /// Key and bins.
    ///
    /// # Errors
    ///
    /// If the body is damaged.
    pub fn parse(&self) -> Result<Body<'_>> {
        Body::parse(&self.body).map_err(|error| Error::damaged(format!("record {}", self.digest), error.to_string()))
    }

    /// Its set's name; empty for the null set.
    pub fn set(&self) -> &[u8] {
        &self.entry.set
    }

    /// How often it was written, as its source counts.
    pub fn generation(&self) -> Generation {
        self.entry.generation
    }

    /// When it expires.
    pub fn void_time(&self) -> VoidTime {
        self.entry.void_time
    }

    /// What a bin holds; `None` if the record has no bin of this name.
    ///
    /// # Errors
    ///
    /// If the body or the bin is not what it should be.
    pub fn bin(&self, name: impl AsRef<[u8]>) -> Result<Option<Value<'_>>> {
        let name = name.as_ref();
        let body = self.parse()?;
        let Some(bin) = body.bins().iter().find(|bin| bin.name == name) else { return Ok(None) };
        value::decode(bin.particle, bin.bytes).map(Some).map_err(|error| {
            let object = format!("bin {} of record {}", String::from_utf8_lossy(name), self.digest);
            Error::damaged(object, error.to_string())
        })
    }

    /// Appends it to a batch.
    ///
    /// # Errors
    ///
    /// If the body is damaged.
    pub fn push_to(&self, batch: &mut RecordBatch) -> Result<()> {
        let LiveEntry { generation, void_time, set, bin_order, .. } = &self.entry;
        let meta = RecordMeta { digest: self.digest, set, generation: *generation, void_time: *void_time };
        let pushed = batch.push_encoded(meta, &self.body, bin_order);
        pushed.map_err(|error| Error::damaged(format!("record {}", self.digest), error.to_string()))
    }
}

impl Snapshot {
    pub(crate) fn new(chunks: Arc<LazyReader>, manifest: Manifest, control: Control) -> Self {
        Snapshot { chunks, manifest: Arc::new(manifest), control }
    }

    /// The same snapshot, whose chunks are read by the reader of another one, which was opened no earlier.
    pub(crate) fn reading_with(self, other: &Snapshot) -> Self {
        Snapshot { chunks: other.chunks.clone(), ..self }
    }

    /// The same snapshot, whose long calls can be watched and stopped by `control`; until then they go by that of the
    /// repository that it was opened in: [`Repository::watched`](crate::Repository::watched).
    #[must_use]
    pub fn watched(&self, control: &Control) -> Self {
        Snapshot { control: control.clone(), ..self.clone() }
    }

    /// Its id.
    pub fn id(&self) -> SnapshotId {
        self.manifest.id
    }

    /// The cluster's name: snapshots of the same cluster build on each other.
    pub fn cluster(&self) -> &str {
        &self.manifest.cluster
    }

    /// Where its records came from, for people.
    pub fn source(&self) -> &str {
        &self.manifest.source
    }

    /// The machine that wrote it.
    pub fn host(&self) -> &str {
        &self.manifest.host
    }

    /// The program that wrote it, and its version.
    pub fn program(&self) -> &str {
        &self.manifest.program
    }

    /// The labels that it was committed with, or that it had when it was listed or opened by its name.
    pub fn tags(&self) -> &[String] {
        &self.manifest.tags
    }

    /// When its session began, by the clock of the machine that wrote it.
    pub fn started(&self) -> Timestamp {
        Timestamp(self.manifest.started)
    }

    /// When it was committed, by the same clock.
    pub fn committed(&self) -> Timestamp {
        Timestamp(self.manifest.committed)
    }

    /// What could not be read when it was made, for people; nothing if it is complete.
    pub fn missing(&self) -> &[String] {
        &self.manifest.missing
    }

    /// Bytes that its session added to the repository.
    pub fn stored_bytes(&self) -> u64 {
        self.manifest.stored_bytes
    }

    /// The snapshot that lost chunks and that a repair made this one of, if so.
    pub fn salvaged_from(&self) -> Option<SnapshotId> {
        self.manifest.salvage.map(|salvage| salvage.original)
    }

    /// The repository that it was first written in, and its id there, if it is a copy. Its times are the original's.
    pub fn copied_from(&self) -> Option<(RepositoryId, SnapshotId)> {
        self.manifest.origin.as_ref().map(|origin| (origin.repository, origin.snapshot))
    }

    /// What is stored of it, as [`format`](crate::format) defines it: the low level.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The reader of its chunks: the low level.
    ///
    /// # Errors
    ///
    /// If the index can't be read.
    pub fn chunks(&self) -> Result<&Arc<ChunkReader>> {
        self.chunks.get()
    }

    /// A namespace of it.
    ///
    /// # Errors
    ///
    /// If it has none of this name; the error lists those that it has.
    pub fn namespace(&self, name: &str) -> Result<NamespaceView<'_>> {
        let manifest = self.manifest.namespace(name).ok_or_else(|| {
            let there: Vec<&str> = self.manifest.namespaces.iter().map(|other| other.name.as_str()).collect();
            let advice = format!("Snapshot {} has {}", self.manifest.id, there.join(", "));
            Error::not_found(format!("namespace {name}"), advice)
        })?;
        Ok(NamespaceView { chunks: &self.chunks, manifest })
    }

    /// All its namespaces.
    pub fn namespaces(&self) -> impl Iterator<Item = NamespaceView<'_>> {
        self.manifest.namespaces.iter().map(|manifest| NamespaceView { chunks: &self.chunks, manifest })
    }

    /// Every chunk that it refers to, from the branch nodes alone: no leaf and no value is read. `each` gets the
    /// chunk's id and class, each chunk once. A damaged branch node ends it with an error.
    ///
    /// # Errors
    ///
    /// If something of the snapshot is damaged or missing, or the store can't be read.
    pub fn reach(&self, seen: &mut HashSet<ChunkId>, each: &mut dyn FnMut(ChunkId, Class)) -> Result<()> {
        let mut first = None;
        self.reach_readable(seen, each, &mut |_, loss| first = first.take().or(Some(loss)))?;
        match first {
            None => Ok(()),
            Some(loss) => Err(Error::damaged(format!("snapshot {}", self.id()), loss.to_string())),
        }
    }

    /// The same past damaged branch nodes: `lost` gets the root and what can't be read below it. What is below those is
    /// not reached.
    ///
    /// # Errors
    ///
    /// If the store can't be read.
    pub fn reach_readable(
        &self,
        seen: &mut HashSet<ChunkId>,
        each: &mut dyn FnMut(ChunkId, Class),
        lost: &mut dyn FnMut(Root<'_>, Loss),
    ) -> Result<()> {
        let mut roots = self.manifest.roots().into_iter();
        let chunks = self.chunks()?;
        roots.try_for_each(|root| root.reach(chunks, seen, each, &mut |loss| lost(root, loss)))
    }
}

/// A namespace of a snapshot.
#[derive(Clone, Copy)]
pub struct NamespaceView<'a> {
    chunks: &'a LazyReader,
    manifest: &'a NamespaceManifest,
}

impl<'a> NamespaceView<'a> {
    fn chunks(&self) -> Result<&'a ChunkReader> {
        self.chunks.get().map(|reader| &**reader)
    }

    /// Its name.
    pub fn name(&self) -> &'a str {
        &self.manifest.name
    }

    /// How it was read.
    pub fn kind(&self) -> BackupKind {
        self.manifest.kind
    }

    /// When it was read, by the source's clock: as it was then or a little later the snapshot has it.
    pub fn read_at(&self) -> Timestamp {
        Timestamp(self.manifest.source_time)
    }

    /// The snapshot that it builds on, if any. It can be forgotten: this one stays whole.
    pub fn parent(&self) -> Option<SnapshotId> {
        self.manifest.parent
    }

    /// The last full snapshot that it builds on; its own if it is full.
    pub fn full(&self) -> SnapshotId {
        self.manifest.full
    }

    /// Which of its records the backup was asked for, as text; empty for all.
    pub fn selection(&self) -> &'a str {
        &self.manifest.selection
    }

    /// Whether the source could not tell what was deleted since the parent.
    pub fn deletes_unknown(&self) -> bool {
        self.manifest.deletes_unknown
    }

    /// How many records it has.
    pub fn live_records(&self) -> u64 {
        self.manifest.live_records
    }

    /// Bytes of their bodies.
    pub fn live_bytes(&self) -> u64 {
        self.manifest.live_bytes
    }

    /// Plain bytes of the chunks in which those are.
    pub fn held_bytes(&self) -> u64 {
        self.manifest.reached_bytes
    }

    /// What the backup did with the records.
    pub fn counts(&self) -> RecordCounts {
        self.manifest.counts.into()
    }

    /// The state hash: that of the content, whatever its runs and chunks.
    pub fn state_hash(&self) -> [u8; 32] {
        self.manifest.state_hash
    }

    /// The partitions that could not be read: what the snapshot has of them is older, or nothing.
    pub fn unread_partitions(&self) -> PartitionSet {
        self.manifest.unread_partitions()
    }

    /// What is stored of it, as [`format`](crate::format) defines it: the low level.
    pub fn manifest(&self) -> &'a NamespaceManifest {
        self.manifest
    }

    /// Its indexes and UDF modules.
    ///
    /// # Errors
    ///
    /// If something of the snapshot is damaged or missing, or the store can't be read.
    pub fn metadata(&self) -> Result<NamespaceMetadata> {
        let (chunks, mut bytes) = (self.chunks()?, Vec::new());
        for id in &self.manifest.metadata {
            bytes.extend_from_slice(&chunks.read(id, Class::Tree)?);
        }
        structured::decode("the metadata", &bytes)
            .map_err(|error| error.of(format!("the metadata of namespace {}", self.manifest.name)))
    }

    /// The entry of a record, if the snapshot has it.
    ///
    /// # Errors
    ///
    /// If something of the snapshot is damaged or missing, or the store can't be read.
    pub fn entry(&self, digest: &Digest) -> Result<Option<LiveEntry>> {
        let chunks = self.chunks()?;
        for run in &self.manifest.runs {
            if let Some(entry) = find(chunks, run, digest)? {
                return Ok(entry.live);
            }
        }
        Ok(None)
    }

    /// A record, if the snapshot has it.
    ///
    /// # Errors
    ///
    /// If something of the snapshot is damaged or missing, or the store can't be read.
    pub fn get(&self, digest: &Digest) -> Result<Option<Record>> {
        let Some(entry) = self.entry(digest)? else { return Ok(None) };
        Ok(Some(Record { digest: *digest, body: self.value(&entry)?, entry }))
    }

    /// The body of an entry's record.
    ///
    /// # Errors
    ///
    /// If something of the snapshot is damaged or missing, or the store can't be read.
    pub fn value(&self, entry: &LiveEntry) -> Result<Vec<u8>> {
        let mut body = Vec::new();
        read_record_into(self.chunks()?, entry, &mut body)?;
        Ok(body)
    }

    /// All live entries in key order. A damaged leaf or branch node ends the walk with an error.
    ///
    /// # Errors
    ///
    /// If something of the snapshot is damaged or missing, or the store can't be read.
    pub fn entries(&self) -> Result<MergedCursor<'a>> {
        MergedCursor::live(self.chunks()?, &self.manifest.runs)
    }

    /// All live entries that can be read for certain, in key order; [`MergedCursor::losses`] says what could not.
    ///
    /// # Errors
    ///
    /// If the store can't be read. Damage is no error: [`MergedCursor::losses`] tells it.
    pub fn readable_entries(&self) -> Result<MergedCursor<'a>> {
        MergedCursor::tolerant(self.chunks()?, &self.manifest.runs)
    }

    /// Looks for the sets of some records, and stops once it has found them all. Nothing but entries is read.
    ///
    /// # Errors
    ///
    /// If the store can't be read. Damage is passed over.
    pub fn look_for_sets(&self, wanted: &BTreeSet<Vec<u8>>) -> Result<MetSets> {
        let mut met = MetSets::default();
        let mut entries = self.readable_entries()?;
        while !met.lacking(wanted).is_empty()
            && let Some(entry) = entries.next()?
        {
            if let Some(live) = &entry.live {
                met.note(&live.set, wanted.contains(&live.set[..]));
            }
        }
        Ok(met)
    }

    /// The same from a digest on.
    pub(crate) fn readable_entries_from(&self, from: Digest) -> Result<MergedCursor<'a>> {
        MergedCursor::tolerant_from(self.chunks()?, &self.manifest.runs, from)
    }

    /// The live entries of one partition. It is an error if one of them may stand in a damaged leaf or branch node.
    ///
    /// # Errors
    ///
    /// If something of the snapshot is damaged or missing, or the store can't be read.
    pub fn partition(&self, partition: PartitionId) -> Result<Vec<Entry>> {
        let mut first = [0; 20];
        first[..2].copy_from_slice(&partition.number().to_le_bytes());
        let mut cursor = self.readable_entries_from(Digest(first))?;
        let entries = cursor.take_partition(partition)?;
        // The walk may have read a little further, and what is damaged there is no matter here.
        let touches = |loss: &&Loss| {
            loss.from.is_none_or(|digest| digest.partition() <= partition)
                && loss.until.is_none_or(|digest| digest.partition() >= partition)
        };
        let losses = cursor.losses();
        if let Some(loss) = losses.named.iter().find(touches) {
            return Err(Error::damaged(format!("partition {}", partition.number()), loss.to_string()));
        }
        let of_it = entries.iter().filter(|entry| entry.digest.partition() == partition);
        Ok(of_it.map(|entry| entry.to_entry()).collect())
    }

    /// The partitions' sums, from the entries.
    ///
    /// # Errors
    ///
    /// If something of the snapshot is damaged or missing, or the store can't be read.
    pub fn state_sums(&self, keys: &Keys) -> Result<StateSums> {
        let key = keys.states()?;
        let mut sums = StateSums::default();
        let mut entries = self.entries()?;
        while let Some(entry) = entries.next()? {
            if let Some(live) = &entry.live {
                sums.add(key, &entry.digest, &live.hash);
            }
        }
        Ok(sums)
    }

    /// The records of a selection, in key order. What can't be read is an error in its place, and the records after it
    /// follow.
    pub fn records(&self, selection: Selection) -> Records<'a> {
        Records::new(*self, selection)
    }

    /// The records that differ between this namespace and `after`, in key order. Only the runs that the two do not
    /// share are walked; the shared ones are asked for single entries, or walked too where that reads less. Records
    /// about which one side can't tell are left out: [`Diff::losses`].
    ///
    /// # Errors
    ///
    /// If what the walk begins with can't be read.
    pub fn diff(&self, after: &NamespaceView<'a>) -> Result<Diff<'a>> {
        Diff::new(self, after)
    }
}
