//! Salvaging a snapshot that lost chunks: what can be read, and what others still have, becomes a new snapshot, and
//! what is gone is named.

use crate::chunks::{ChunkReader, ChunkWriter};
use crate::control::Control;
use crate::crypto::Keys;
use crate::error::{Error, Result};
use crate::format::evidence::Evidence;
use crate::format::header::Class;
use crate::format::leaf::{Entry, LiveEntry};
use crate::format::session::SessionKind;
use crate::format::snapshot::{BackupKind, Counts, Manifest, NamespaceManifest, RunRef, Salvage};
use crate::format::{ChunkId, SnapshotId, structured};
use crate::record::{Body, Digest, Fact, NamespaceMetadata, ParticleType, RecordMeta, Timestamp};
use crate::repository::{Repository, Root, Snapshot};
use crate::run::{MergedCursor, RecordToWrite, StateSums, find, read_record_into, write_run};
use crate::session::{BackupSession, SessionOptions, write_absent};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// So many lost records and ranges of a namespace are named in a salvage's metadata, some 40 MB; beyond that only their
/// number is.
const MAX_FACTS: usize = 400_000;

/// A range of digests in key order: from its first to before its second, open where there is none.
pub type DigestRange = (Option<Digest>, Option<Digest>);

/// A record that is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LostRecord {
    /// Its digest.
    pub digest: Digest,
    /// Its set.
    pub set: Vec<u8>,
    /// Its key, where another version of the record that can be read has one.
    pub key: Option<(ParticleType, Vec<u8>)>,
}

/// What became of a namespace that lost chunks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct NamespaceLosses {
    /// The namespace.
    pub namespace: String,
    /// Records that the salvage holds.
    pub kept: u64,
    /// Of those, the ones whose values were lost here and found elsewhere.
    pub recovered: u64,
    /// Records that are gone.
    pub lost: u64,
    /// Those of them that are known, all of them.
    pub records: Vec<LostRecord>,
    /// Ranges in which entries can't be read: the others that are gone were there.
    pub ranges: Vec<DigestRange>,
    /// Why its indexes and UDF modules can't be read, if so.
    pub metadata: Option<String>,
}

/// What became of a snapshot that lost chunks.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Salvaged {
    /// The snapshot that lost them.
    pub original: SnapshotId,
    /// The snapshot that holds what can be read; `None` in a dry run that would make one.
    pub snapshot: Option<SnapshotId>,
    /// Whether an earlier repair made it.
    pub earlier: bool,
    /// What became of the namespaces that lost something.
    pub namespaces: Vec<NamespaceLosses>,
}

impl Salvaged {
    /// Whether anything is gone.
    pub fn has_losses(&self) -> bool {
        self.namespaces.iter().any(|namespace| namespace.lost > 0 || namespace.metadata.is_some())
    }

    /// Records that are gone.
    pub fn records_lost(&self) -> u64 {
        self.namespaces.iter().map(|namespace| namespace.lost).sum()
    }
}

/// What an earlier repair made of a snapshot.
pub struct Earlier<'a> {
    /// The salvage.
    pub manifest: &'a Manifest,
    /// Whether it has lost chunks itself since.
    pub is_hurt: bool,
}

/// A repository that may have what is lost: this one, in other snapshots, or another.
pub struct Donor {
    reader: Arc<ChunkReader>,
    /// By namespace, each run once.
    runs: HashMap<String, Vec<RunRef>>,
    own: bool,
}

impl Donor {
    /// All runs of a repository's snapshots, the newest first.
    pub fn of(repository: &Repository, own: bool) -> Result<Self> {
        let mut runs: HashMap<String, Vec<RunRef>> = HashMap::new();
        for manifest in repository.manifests()?.snapshots.iter().rev() {
            for root in manifest.roots() {
                let (namespace, run) = match root {
                    // Nobody can tell whether that of another snapshot says the same.
                    Root::Metadata { .. } => continue,
                    Root::Run { namespace, run } => (namespace, run),
                };
                let known = runs.entry(namespace.to_string()).or_default();
                if !known.contains(run) {
                    known.push(*run);
                }
            }
        }
        Ok(Donor { reader: repository.chunk_reader()?, runs, own })
    }

    /// Calls `each` with every body of a record that can be read, until it says that it has what it wanted. The hash is
    /// our own where it need not be computed again.
    fn bodies(&self, namespace: &str, digest: &Digest, each: &mut dyn FnMut(&LiveEntry, &[u8]) -> bool) -> Result<()> {
        for run in self.runs.get(namespace).into_iter().flatten() {
            let live = match find(&self.reader, run, digest) {
                Ok(Some(Entry { live: Some(live), .. })) => live,
                Ok(_) => continue,
                Err(error) if error.is_of_one_object() => continue,
                Err(error) => return Err(error),
            };
            let mut body = Vec::new();
            match read_record_into(&self.reader, &live, &mut body) {
                Ok(()) if each(&live, &body) => return Ok(()),
                Ok(()) => {}
                Err(error) if error.is_of_one_object() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Looks for a record's body everywhere; gives back the one that has the entry's hash, else what is known of its key.
fn look_up(
    donors: &[Donor],
    keys: &Keys,
    namespace: &str,
    digest: &Digest,
    lost: &LiveEntry,
) -> Result<Result<Vec<u8>, LostRecord>> {
    let mut gone = LostRecord { digest: *digest, set: lost.set.to_vec(), key: None };
    for donor in donors {
        let mut found = None;
        let hashes = keys.records()?;
        donor.bodies(namespace, digest, &mut |live, body| {
            let same = match donor.own {
                true => live.hash == lost.hash,
                false => hashes.hash(&lost.set, body) == lost.hash,
            };
            if same {
                found = Some(body.to_vec());
            } else if let Ok(body) = Body::parse(body)
                && let Some(key) = body.key()
                && gone.key.is_none()
            {
                gone.key = Some((key.particle, key.bytes.to_vec()));
            }
            same
        })?;
        if let Some(body) = found {
            return Ok(Ok(body));
        }
    }
    Ok(Err(gone))
}

/// Takes a record that can be had, with its body if that was found elsewhere, and says whether it could be kept.
type Keep<'a> = dyn FnMut(&Entry, &LiveEntry, Option<&[u8]>) -> Result<bool> + 'a;

/// What is read of a snapshot that lost chunks, and with what.
struct Salvaging<'a> {
    reader: &'a ChunkReader,
    bad: &'a HashSet<ChunkId>,
    donors: &'a [Donor],
    control: &'a Control,
}

impl Salvaging<'_> {
    /// Whether a namespace's runs reach a chunk that is lost. Its metadata is judged by [`metadata_of`].
    fn is_hurt(&self, namespace: &NamespaceManifest) -> Result<bool> {
        let mut hurt = false;
        for root in namespace.roots() {
            match root {
                Root::Metadata { .. } => continue,
                Root::Run { .. } => {}
            }
            let mut lost = false;
            let each = &mut |id, _| hurt |= self.bad.contains(&id);
            root.reach(self.reader, &mut HashSet::new(), each, &mut |_| lost = true)?;
            hurt |= lost;
        }
        Ok(hurt)
    }

    /// Walks a namespace and hands over what can be had of it.
    fn walk(&self, namespace: &NamespaceManifest, keep: &mut Keep<'_>) -> Result<NamespaceLosses> {
        let mut losses = NamespaceLosses { namespace: namespace.name.clone(), ..NamespaceLosses::default() };
        let mut entries = MergedCursor::tolerant(self.reader, &namespace.runs)?;
        while let Some(entry) = entries.next()? {
            self.control.check()?;
            let Some(live) = &entry.live else { continue };
            let whole = live.place.chunks().all(|id| !self.bad.contains(id));
            if whole && keep(&entry, live, None)? {
                losses.kept += 1;
                continue;
            }
            match look_up(self.donors, self.reader.keys(), &namespace.name, &entry.digest, live)? {
                Ok(body) => {
                    keep(&entry, live, Some(&body))?;
                    losses.kept += 1;
                    losses.recovered += 1;
                }
                Err(gone) => losses.records.push(gone),
            }
        }
        losses.ranges = entries.unknown_ranges();
        losses.lost = namespace.live_records.saturating_sub(losses.kept);
        Ok(losses)
    }
}

/// The metadata of a namespace, and why it can't be read if it can't.
fn metadata_of(snapshot: &Snapshot, namespace: &str) -> Result<(NamespaceMetadata, Option<String>)> {
    match snapshot.namespace(namespace)?.metadata() {
        Ok(metadata) => Ok((metadata, None)),
        Err(error) if error.is_of_one_object() => Ok((NamespaceMetadata::default(), Some(error.to_string()))),
        Err(error) => Err(error),
    }
}

/// What a salvage says of its losses, beside a namespace's indexes and UDF modules.
fn facts(losses: &NamespaceLosses) -> Vec<Fact> {
    let fact = |topic: &str, name: String, value: Vec<u8>| Fact { topic: topic.into(), name: name.into(), value };
    let mut facts = Vec::new();
    if let Some(problem) = &losses.metadata {
        facts.push(fact("lost", "indexes and UDF modules".into(), problem.as_bytes().to_vec()));
    }
    let end = |digest: &Option<Digest>, open: &str| digest.map_or(open.to_string(), |digest| digest.to_string());
    facts.extend(
        losses
            .ranges
            .iter()
            .map(|(from, until)| fact("lost range", end(from, "first"), end(until, "end").into_bytes())),
    );
    facts.extend(losses.records.iter().map(|record| {
        let mut value = record.set.clone();
        if let Some((particle, key)) = &record.key {
            value.push(b' ');
            value.extend(key_text(*particle, key).into_bytes());
        }
        fact("lost record", record.digest.to_string(), value)
    }));
    let more = facts.len().saturating_sub(MAX_FACTS);
    facts.truncate(MAX_FACTS);
    if more > 0 {
        facts.push(fact("lost", "records and ranges that are not named here".into(), more.to_string().into_bytes()));
    }
    facts
}

/// A key as text: `i:NUMBER`, `s:TEXT`, or `b:` and hexadecimal for whatever else.
fn key_text(particle: ParticleType, bytes: &[u8]) -> String {
    match (particle, std::str::from_utf8(bytes)) {
        (ParticleType::INTEGER, _) if let Ok(bytes) = bytes.try_into() => format!("i:{}", i64::from_be_bytes(bytes)),
        (ParticleType::STRING, Ok(text)) => format!("s:{text}"),
        _ => format!("b:{}", hex::encode(bytes)),
    }
}

/// What to say of a namespace's losses where a snapshot names what it misses.
fn missing(losses: &NamespaceLosses) -> Option<String> {
    let mut parts = Vec::new();
    if losses.lost > 0 {
        parts.push(format!("{} of {} were lost in the repository", records(losses.lost), losses.namespace));
    }
    if losses.metadata.is_some() {
        parts.push(format!("the indexes and UDF modules of {} were lost in the repository", losses.namespace));
    }
    (!parts.is_empty()).then(|| parts.join(", and "))
}

fn records(n: u64) -> String {
    if n == 1 { "1 record".into() } else { format!("{n} records") }
}

/// Keeps what the session can refer to.
struct Keeper<'a> {
    reader: &'a ChunkReader,
    writer: &'a ChunkWriter,
    known: HashMap<ChunkId, bool>,
    sums: StateSums,
    live_bytes: u64,
    /// Value chunks that kept entries refer to, and their plain bytes.
    chunks: HashSet<ChunkId>,
    chunk_bytes: u64,
}

impl Keeper<'_> {
    /// Whether a chunk is in a pack that stays; one that is in condemned packs alone is rewritten.
    fn has(&mut self, id: &ChunkId) -> Result<bool> {
        if let Some(known) = self.known.get(id) {
            return Ok(*known);
        }
        let has = self.writer.has(id)?
            || match self.reader.read(id, Class::Data) {
                Ok(plain) => {
                    self.writer.put(Class::Data, &plain)?;
                    true
                }
                Err(error) if error.is_of_one_object() => false,
                Err(error) => return Err(error),
            };
        self.known.insert(*id, has);
        Ok(has)
    }

    fn count(&mut self, digest: &Digest, live: &LiveEntry, elsewhere: bool) -> Result<()> {
        self.sums.add(self.writer.keys().states()?, digest, &live.hash);
        self.live_bytes += u64::from(live.place.length);
        for id in live.place.chunks().filter(|_| !elsewhere) {
            if self.chunks.insert(*id) {
                let places = self.reader.locate(id)?;
                self.chunk_bytes += places.first().map_or(0, |at| u64::from(at.place.plain));
            }
        }
        Ok(())
    }
}

impl Repository {
    /// Makes of a snapshot that lost chunks a new one that holds what can be read. `bad` are the chunks that are lost;
    /// `earlier` is what earlier repairs made of it: a new one is made only if it would hold more than those that are
    /// whole.
    #[expect(clippy::too_many_arguments, reason = "all of it is one repair's")]
    pub(crate) fn salvage(
        &self,
        original: &Manifest,
        reader: &Arc<ChunkReader>,
        bad: &HashSet<ChunkId>,
        donors: &[Donor],
        earlier: &[Earlier<'_>],
        dry_run: bool,
        control: &Control,
    ) -> Result<Salvaged> {
        let work = Salvaging { reader, bad, donors, control };
        let snapshot = self.open_snapshot(reader, original.clone());
        let mut salvaged = Salvaged { original: original.id, snapshot: None, earlier: false, namespaces: Vec::new() };
        for namespace in &original.namespaces {
            let (_, metadata) = metadata_of(&snapshot, &namespace.name)?;
            if work.is_hurt(namespace)? {
                let losses = work.walk(namespace, &mut |_, _, _| Ok(true))?;
                salvaged.namespaces.push(NamespaceLosses { metadata, ..losses });
            } else if metadata.is_some() {
                let (name, kept) = (namespace.name.clone(), namespace.live_records);
                salvaged.namespaces.push(NamespaceLosses { namespace: name, kept, metadata, ..Default::default() });
            }
        }
        let lost = salvaged.records_lost();
        let holds_as_much = |one: &&Earlier<'_>| one.manifest.salvage.is_some_and(|it| it.records_lost <= lost);
        if let Some(one) = earlier.iter().rev().filter(|one| !one.is_hurt).find(holds_as_much) {
            (salvaged.snapshot, salvaged.earlier) = (Some(one.manifest.id), true);
            return Ok(salvaged);
        }
        if dry_run {
            return Ok(salvaged);
        }
        let about = SessionOptions {
            source: original.source.clone(),
            cluster: original.cluster.clone(),
            tags: original.tags.clone(),
            job: format!("salvage of snapshot {}", original.id),
            ..SessionOptions::default()
        };
        let session = self.begin_as(SessionKind::Other, about)?;
        let written = self.write_salvage(&session, original, &work, &salvaged);
        match written {
            Ok((losses, namespaces)) => {
                salvaged.namespaces = losses;
                let salvage = Salvage {
                    original: original.id,
                    made: Timestamp::now().0,
                    was_whole: original.missing.is_empty(),
                    records_lost: salvaged.records_lost(),
                };
                let lost = salvaged.namespaces.iter().filter_map(missing);
                let missing = original.missing.iter().cloned().chain(lost).collect();
                // Right after the original and what was made of it before, and before whatever came later.
                let before = earlier.iter().map(|one| one.manifest.committed).chain([original.committed]).max();
                let committed = before.unwrap_or_default().saturating_add(1);
                let made = session.commit_salvage(original, committed, salvage, missing, namespaces)?;
                salvaged.snapshot = Some(made.id());
                Ok(salvaged)
            }
            Err(error) => {
                session.abandon(&error);
                Err(error)
            }
        }
    }

    /// Writes the namespaces; gives back what was lost and their manifests.
    fn write_salvage(
        &self,
        session: &BackupSession,
        original: &Manifest,
        work: &Salvaging<'_>,
        planned: &Salvaged,
    ) -> Result<(Vec<NamespaceLosses>, Vec<NamespaceManifest>)> {
        let worker = session.worker()?;
        let (reader, writer) = (worker.reader(), worker.writer());
        let work = Salvaging { reader, ..*work };
        let snapshot = self.open_snapshot(reader, original.clone());
        let (mut all, mut namespaces) = (Vec::new(), Vec::new());
        for namespace in &original.namespaces {
            let planned = planned.namespaces.iter().find(|losses| losses.namespace == namespace.name);
            let (mut metadata, unread) = metadata_of(&snapshot, &namespace.name)?;
            // All fields are named: what refers to chunks is taken over below, or rewritten.
            let mut made = NamespaceManifest {
                name: namespace.name.clone(),
                kind: namespace.kind,
                source_time: namespace.source_time,
                parent: Some(original.id),
                full: if namespace.kind == BackupKind::Full { session.id() } else { namespace.full },
                deletes_unknown: namespace.deletes_unknown,
                search: namespace.search.clone(),
                selection: namespace.selection.clone(),
                unread: namespace.unread.clone(),
                runs: namespace.runs.clone(),
                live_records: namespace.live_records,
                live_bytes: namespace.live_bytes,
                reached_bytes: namespace.reached_bytes,
                state_hash: namespace.state_hash,
                metadata: Vec::new(),
                counts: Counts { unchanged: namespace.live_records, ..Counts::default() },
                // Records that are lost here are there at the source: a later backup must look for every one.
                evidence: namespace.evidence.clone().map(|evidence| Evidence { settled: false, ..evidence }),
            };
            let mut losses = NamespaceLosses {
                namespace: namespace.name.clone(),
                kept: namespace.live_records,
                ..Default::default()
            };
            if planned.is_some_and(|losses| losses.metadata.is_none() || losses.lost + losses.recovered > 0) {
                losses = self.write_namespace(&work, writer, namespace, &mut made)?;
            } else {
                write_absent(reader, writer, namespace, work.control)?;
            }
            losses.metadata = unread;
            metadata.facts.extend(facts(&losses));
            let encoded = structured::encode(&metadata)
                .map_err(|error| error.of(format!("the metadata of {}", namespace.name)))?;
            made.metadata = encoded.chunks(1 << 20).map(|part| writer.put(Class::Tree, part)).collect::<Result<_>>()?;
            namespaces.push(made);
            all.extend(planned.map(|_| losses));
        }
        Ok((all, namespaces))
    }

    /// Writes the entries of a namespace that can be kept as one run.
    fn write_namespace(
        &self,
        work: &Salvaging<'_>,
        writer: &ChunkWriter,
        namespace: &NamespaceManifest,
        made: &mut NamespaceManifest,
    ) -> Result<NamespaceLosses> {
        let mut keeper = Keeper {
            reader: work.reader,
            writer,
            known: HashMap::new(),
            sums: StateSums::default(),
            live_bytes: 0,
            chunks: HashSet::new(),
            chunk_bytes: 0,
        };
        let (run, stats, losses) = write_run(writer, self.cutter(), |feeder| {
            work.walk(namespace, &mut |entry, live, body| {
                let LiveEntry { set, generation, void_time, hash, bin_order, place } = live;
                match body {
                    Some(body) => {
                        let (digest, generation, void_time) = (entry.digest, *generation, *void_time);
                        let meta = RecordMeta { digest, set, generation, void_time };
                        feeder.record(&RecordToWrite { meta, hash: *hash, bin_order, body })?;
                    }
                    None => {
                        for id in place.chunks() {
                            if !keeper.has(id)? {
                                return Ok(false);
                            }
                        }
                        feeder.entry(entry.clone())?;
                    }
                }
                keeper.count(&entry.digest, live, body.is_some())?;
                Ok(true)
            })
        })?;
        if losses.kept > namespace.live_records {
            let found = format!("its runs hold {} records, expected {}", losses.kept, namespace.live_records);
            return Err(Error::damaged(format!("namespace {}", namespace.name), found));
        }
        made.runs = run.into_iter().collect();
        made.live_records = losses.kept;
        made.live_bytes = keeper.live_bytes;
        made.reached_bytes = keeper.chunk_bytes + stats.value_bytes;
        made.state_hash = keeper.sums.hash(writer.keys().states()?);
        made.counts =
            Counts { unchanged: losses.kept - losses.recovered, healed: losses.recovered, ..Counts::default() };
        Ok(losses)
    }
}
