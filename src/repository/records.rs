//! Backing up the records of one namespace: what differs from the parent becomes a new run.

use super::ahead::read_ahead;
use super::merge_policy::{Moves, merges, plan_moves};
use crate::chunk::Cutter;
use crate::control::Control;
use crate::error::{Error, Result};
use crate::format::header::Class;
use crate::format::snapshot::{BackupKind, Counts, NamespaceManifest, RunRef, Unread};
use crate::format::{ChunkId, SnapshotId, structured};
use crate::pack::{ChunkReader, ChunkWriter};
use crate::record::{Digest, PartitionId, PartitionSet, RecordBatch, RecordMeta, RecordView, Timestamp};
use crate::run::{
    Entry, LiveEntry, Losses, MergedCursor, NewRecord, PartitionRecords, RecordHash, RunFeeder, Sorter, StateSums,
    read_record_into, write_run,
};
use crate::source::{BadRecord, DigestRow, PartitionedSource, RecordSink, RecordSource, SourceShape};
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// Partitions whose sums other threads are making; past that the writing thread makes its own.
const MAX_SUMMING: usize = 8;
/// Bad records that are kept by name; further ones are only counted.
const MAX_BAD: usize = 1000;

/// How records are read.
#[derive(Clone, Debug)]
pub struct RecordOptions {
    /// The source holds only what changed; nobody knows what was deleted.
    pub partial: bool,
    /// Records that can't be understood are left out and listed.
    pub skip_bad_records: bool,
    /// Partitions that can't be read are left as the parent has them, and listed.
    pub allow_partial: bool,
    /// Records of a source without order are held in memory up to about this many bytes, then spilled.
    pub memory_bytes: usize,
    /// Partitions that are read at once; the machine's processors if 0.
    pub parallel: usize,
}

impl Default for RecordOptions {
    fn default() -> Self {
        RecordOptions {
            partial: false,
            skip_bad_records: false,
            allow_partial: false,
            memory_bytes: 768 << 20,
            parallel: 0,
        }
    }
}

impl RecordOptions {
    fn threads(&self) -> usize {
        match self.parallel {
            0 => std::thread::available_parallelism().map_or(2, usize::from),
            n => n,
        }
    }
}

/// Everything that backing up a namespace needs.
pub struct NamespaceWork<'a> {
    /// The session's id.
    pub id: SnapshotId,
    /// The namespace's name.
    pub namespace: &'a str,
    /// Where the records come from.
    pub source: &'a dyn RecordSource,
    /// What is read.
    pub kind: BackupKind,
    /// The snapshot to build on.
    pub parent: Option<(SnapshotId, NamespaceManifest)>,
    /// How it is read.
    pub options: &'a RecordOptions,
    /// What of the parent can't be read; only a full backup goes on then, and writes all entries anew.
    pub lost: Losses,
    /// Reads the parent.
    pub reader: &'a ChunkReader,
    /// Takes the chunks.
    pub writer: &'a ChunkWriter,
    /// Cuts the values.
    pub cutter: Cutter,
    /// Progress and stop flag.
    pub control: &'a Control,
}

/// All digests of a partition, ascending.
struct Walk(Vec<DigestRow>);

/// What a source says of one partition.
#[derive(Default)]
struct Input {
    records: PartitionRecords,
    /// All digests of the partition, if the source was asked for what changed only.
    walk: Option<Walk>,
    /// Whether the records are all that there are: what is not among them is gone.
    whole: bool,
    /// Why the partition could not be read, if so.
    unread: Option<String>,
}

impl Input {
    /// About the bytes of memory that it takes.
    fn size(&self) -> usize {
        self.records.byte_len() + self.walk.as_ref().map_or(0, |walk| walk.0.len() * size_of::<DigestRow>())
    }
}

struct Inbox<'a> {
    sorter: Sorter,
    skip: bool,
    bad: Mutex<(u64, Vec<BadRecord>)>,
    control: &'a Control,
}

impl RecordSink for Inbox<'_> {
    fn records(&self, batch: RecordBatch) -> Result<()> {
        self.control.check()?;
        self.control.add_records(batch.len() as u64);
        self.sorter.push(batch)
    }

    fn bad_record(&self, bad: BadRecord, error: Error) -> Result<()> {
        if !self.skip {
            return Err(error);
        }
        let mut all = self.bad.lock().unwrap_or_else(PoisonError::into_inner);
        all.0 += 1;
        if all.1.len() < MAX_BAD {
            all.1.push(bad);
        }
        Ok(())
    }
}

/// What backing up a namespace came to.
pub struct BackedUp {
    /// Its part of the manifest.
    pub manifest: NamespaceManifest,
    /// The records that could not be understood.
    pub bad: Vec<BadRecord>,
    /// The partitions that could not be read, for people.
    pub missing: Option<String>,
}

/// Backs up one namespace.
pub fn back_up(work: NamespaceWork<'_>) -> Result<BackedUp> {
    let source_time = work.source.clock()?;
    match work.source.shape() {
        SourceShape::Stream(stream) => {
            if work.kind != BackupKind::Full && !work.options.partial {
                return Err(Error::invalid(format!(
                    "{} can't tell what was deleted. Back it up as full, or with --kind {} --partial if it holds only \
                     what changed",
                    work.source.name(),
                    work.kind
                )));
            }
            let keys = work.writer.keys().clone();
            let inbox = Inbox {
                sorter: Sorter::new(keys, work.options.memory_bytes),
                skip: work.options.skip_bad_records,
                bad: Mutex::default(),
                control: work.control,
            };
            stream.read(work.namespace, &inbox, work.control)?;
            // A record that could not be understood may be any of the parent's: what is missing is not known to be deleted.
            let mut options = work.options.clone();
            options.partial |= inbox.bad.lock().unwrap_or_else(PoisonError::into_inner).0 > 0;
            let work = NamespaceWork { options: &options, ..work };
            let whole = work.kind == BackupKind::Full && !work.options.partial;
            let sorted = |partition| Ok(Input { records: inbox.sorter.take(partition)?, whole, ..Input::default() });
            let (mut done, _) = read_ahead(work.options.threads(), sorted, Input::size, |next| {
                diff_and_write(&work, source_time, next, |_| Ok(Vec::new()))
            })?;
            let (count, bad) = inbox.bad.into_inner().unwrap_or_else(PoisonError::into_inner);
            done.counts.bad = count;
            Ok(BackedUp { manifest: done, bad, missing: None })
        }
        SourceShape::Partitioned(partitioned) => {
            if work.options.partial {
                return Err(Error::invalid(format!(
                    "{} can be asked for all that was deleted: leave out --partial",
                    work.source.name()
                )));
            }
            // What an earlier backup that failed left behind is not ours.
            partitioned.take_bad_records();
            let (mut done, missing) = read_partitions(&work, source_time, partitioned)?;
            let (count, bad) = partitioned.take_bad_records();
            if let (Some(first), false) = (bad.first(), work.options.skip_bad_records) {
                return Err(Error::Source {
                    source_name: work.source.name().to_string(),
                    problem: format!(
                        "{count} records can't be understood, the first: {}: {}. Leave them out with --skip-bad-records",
                        first.place, first.problem
                    ),
                });
            }
            done.counts.bad = count;
            Ok(BackedUp { manifest: done, bad, missing })
        }
    }
}

/// Reads the partitions, all of them or what changed since the parent.
fn read_partitions(
    work: &NamespaceWork<'_>,
    source_time: Timestamp,
    source: &dyn PartitionedSource,
) -> Result<(NamespaceManifest, Option<String>)> {
    let keys = work.writer.keys();
    let margin = source.clock_margin_millis();
    // What the parent's backup could not read is read from the time on when it was read last, or whole.
    let since_of = |partition: PartitionId| match (&work.parent, work.kind) {
        (Some((_, parent)), BackupKind::Incremental | BackupKind::Differential) => {
            parent.as_of(partition).map(|time| Timestamp(time).minus_millis(margin))
        }
        _ => None,
    };
    let selected = source.partitions();
    let wanted: Vec<(PartitionId, Option<Timestamp>)> =
        selected.iter().map(|partition| (partition, since_of(partition))).collect();
    source.prepare(work.namespace, &wanted);
    let read_one = |partition: PartitionId| -> Result<Input> {
        work.control.check()?;
        if !selected.contains(partition) {
            return Ok(Input::default());
        }
        let since = since_of(partition);
        let mut batches = Vec::new();
        source.scan(work.namespace, partition, since, &mut |batch| {
            batches.push(batch);
            Ok(())
        })?;
        let mut walk = None;
        if since.is_some() {
            let mut rows = Vec::new();
            source.walk(work.namespace, partition, &mut |found| {
                rows.extend_from_slice(found);
                Ok(())
            })?;
            walk = Some(Walk::new(rows));
        }
        work.control.add_records(batches.iter().map(|batch| batch.len() as u64).sum());
        let records = PartitionRecords::from_batches(keys, batches);
        Ok(Input { records, walk, whole: since.is_none(), unread: None })
    };
    let read = |partition: PartitionId| match read_one(partition) {
        Err(Error::Source { problem, .. }) if work.options.allow_partial => {
            Ok(Input { unread: Some(problem), ..Input::default() })
        }
        read => read,
    };
    let by_digest = |digests: &[Digest]| {
        let mut batches = Vec::new();
        source.read(work.namespace, digests, &mut |batch| {
            work.control.add_records(batch.len() as u64);
            batches.push(batch);
            Ok(())
        })?;
        Ok(batches)
    };
    let (mut manifest, unread) = read_ahead(work.options.threads(), read, Input::size, |next| {
        diff_and_write(work, source_time, next, by_digest)
    })?;
    if let Some(problem) = unread.values().next()
        && unread.len() == selected.len()
    {
        let source_name = work.source.name().to_string();
        return Err(Error::Source { source_name, problem: format!("no partition could be read: {problem}") });
    }
    manifest.unread = unread_ranges(work.parent.as_ref().map(|(_, parent)| parent), unread.keys().copied());
    let missing = unread.values().next().map(|problem| {
        let partitions: PartitionSet = unread.keys().copied().collect();
        format!("{} of namespace {}: {problem}", partitions.named(), work.namespace)
    });
    Ok((manifest, missing))
}

/// The ranges of partitions that were not read, each with the time of which what the parent holds of it is.
fn unread_ranges(parent: Option<&NamespaceManifest>, unread: impl Iterator<Item = PartitionId>) -> Vec<Unread> {
    let mut ranges: Vec<Unread> = Vec::new();
    for partition in unread {
        let (number, as_of) = (u32::from(partition.number()), parent.and_then(|parent| parent.as_of(partition)));
        match ranges.last_mut() {
            Some(range) if range.last + 1 == number && range.as_of == as_of => range.last = number,
            _ => ranges.push(Unread { first: number, last: number, as_of }),
        }
    }
    ranges
}

/// The state of one namespace's backup while its partitions go by.
struct Progress<'a> {
    work: &'a NamespaceWork<'a>,
    merging: bool,
    moves: Moves,
    counts: Counts,
    /// The live records of the partition at hand.
    live: Vec<(Digest, RecordHash)>,
    live_records: u64,
    live_bytes: u64,
    known: HashMap<ChunkId, bool>,
}

fn diff_and_write(
    work: &NamespaceWork<'_>,
    source_time: Timestamp,
    next: &mut dyn FnMut(PartitionId) -> Result<Input>,
    by_digest: impl Fn(&[Digest]) -> Result<Vec<RecordBatch>>,
) -> Result<(NamespaceManifest, BTreeMap<PartitionId, String>)> {
    let parent = work.parent.as_ref().map(|(_, parent)| parent);
    let parent_runs: &[RunRef] = parent.map_or(&[], |parent| &parent.runs);
    // What can't be read must not stay below the new run: where it stands, nobody could tell what the older runs are worth.
    let merging = parent.is_some_and(merges) || !work.lost.is_empty();
    let entries = || match work.lost.is_empty() {
        true => MergedCursor::live(work.reader, parent_runs),
        false => MergedCursor::tolerant(work.reader, parent_runs),
    };
    let moves = if merging { plan_moves(work.reader, entries()?)? } else { Moves::default() };
    let mut progress = Progress {
        work,
        merging,
        moves,
        counts: Counts::default(),
        live: Vec::new(),
        live_records: 0,
        live_bytes: 0,
        known: HashMap::new(),
    };
    let mut unread = BTreeMap::new();
    let (sums, summing) = (Mutex::new(StateSums::default()), AtomicUsize::new(0));
    let (sums_of, summing_of) = (&sums, &summing);
    let (run, stats, ()) = rayon::in_place_scope(|scope| {
        write_run(work.writer, work.cutter, |feeder| {
            let mut old = entries()?;
            for partition in PartitionId::all() {
                work.control.check()?;
                let mut input = next(partition)?;
                let before = old.take_partition(partition)?;
                if let Some(walk) = &input.walk {
                    let wanted = walk.unknown(&input.records, &before);
                    match if wanted.is_empty() { Ok(Vec::new()) } else { by_digest(&wanted) } {
                        Ok(batches) if batches.is_empty() => {}
                        Ok(batches) => input.records.merge(work.writer.keys(), batches),
                        Err(Error::Source { problem, .. }) if work.options.allow_partial => {
                            input = Input { unread: Some(problem), ..Input::default() };
                        }
                        Err(error) => return Err(error),
                    }
                }
                if let Some(problem) = input.unread.take() {
                    unread.insert(partition, problem);
                }
                progress.counts.duplicates += input.records.duplicates;
                progress.partition(&input, &before, &|digest| old.is_unknown(digest), feeder)?;
                let live = std::mem::take(&mut progress.live);
                let sum = move || {
                    let sum = StateSums::sum(work.writer.keys(), &live);
                    sums_of.lock().unwrap_or_else(PoisonError::into_inner).set(partition, sum);
                };
                if summing_of.fetch_add(1, Ordering::Relaxed) < MAX_SUMMING {
                    scope.spawn(move |_| {
                        sum();
                        summing_of.fetch_sub(1, Ordering::Relaxed);
                    });
                } else {
                    sum();
                    summing_of.fetch_sub(1, Ordering::Relaxed);
                }
            }
            Ok(())
        })
    })?;
    let sums = sums.into_inner().unwrap_or_else(PoisonError::into_inner);
    let metadata = structured::encode(&work.source.metadata(work.namespace)?)
        .map_err(|error| error.of(format!("the metadata of {}", work.namespace)))?;
    let metadata =
        metadata.chunks(1 << 20).map(|part| work.writer.put(Class::Tree, part)).collect::<Result<Vec<_>>>()?;
    let reached = if merging { progress.moves.kept_bytes } else { parent.map_or(0, |parent| parent.reached_bytes) };
    let older = if merging { &[] } else { parent_runs };
    let manifest = NamespaceManifest {
        name: work.namespace.to_string(),
        kind: work.kind,
        source_time: source_time.0,
        parent: work.parent.as_ref().map(|(id, _)| *id),
        full: match (work.kind, parent) {
            (BackupKind::Incremental | BackupKind::Differential, Some(parent)) => parent.full,
            _ => work.id,
        },
        deletes_unknown: work.options.partial
            || (work.kind != BackupKind::Full && parent.is_some_and(|parent| parent.deletes_unknown)),
        selection: work.source.selection(),
        unread: Vec::new(),
        runs: run.into_iter().chain(older.iter().copied()).collect(),
        live_records: progress.live_records,
        live_bytes: progress.live_bytes,
        reached_bytes: reached + stats.value_bytes,
        state_hash: sums.hash(work.writer.keys()),
        metadata,
        counts: progress.counts,
    };
    Ok((manifest, unread))
}

impl Walk {
    fn new(mut rows: Vec<DigestRow>) -> Self {
        rows.sort_unstable_by_key(|row| row.digest);
        Walk(rows)
    }

    fn contains(&self, digest: &Digest) -> bool {
        self.0.binary_search_by_key(digest, |row| row.digest).is_ok()
    }

    /// The digests that the filter by last update did not deliver, and that are not as the parent has them.
    fn unknown(&self, records: &PartitionRecords, before: &[Entry]) -> Vec<Digest> {
        let mut before = before.iter().peekable();
        let mut as_before = |row: &DigestRow| {
            while before.next_if(|entry| entry.digest < row.digest).is_some() {}
            let live = before.peek().filter(|entry| entry.digest == row.digest).and_then(|entry| entry.live.as_ref());
            live.is_some_and(|live| live.generation == row.generation && live.void_time == row.void_time)
        };
        let rows = self.0.iter().filter(|row| !as_before(row) && !records.contains(&row.digest));
        let mut digests: Vec<Digest> = rows.map(|row| row.digest).collect();
        digests.dedup();
        digests
    }
}

impl Progress<'_> {
    /// One partition: what the source delivered, what the parent has, and whether the parent may have had a record that it is
    /// asked for in a node that can't be read.
    fn partition(
        &mut self,
        input: &Input,
        before: &[Entry],
        is_unknown: &dyn Fn(&Digest) -> bool,
        feeder: &mut RunFeeder<'_>,
    ) -> Result<()> {
        let mut old = before.iter().peekable();
        for (record, hash) in input.records.iter() {
            let key = record.meta.digest.sort_key();
            while let Some(entry) = old.next_if(|entry| entry.digest.sort_key() < key) {
                self.only_before(entry, input, feeder)?;
            }
            let was = old.next_if(|entry| entry.digest == record.meta.digest);
            self.counts.read += 1;
            if was.is_none() && is_unknown(&record.meta.digest) {
                self.counts.healed += 1;
                self.live(&record.meta.digest, &hash, record.body.len() as u64);
                let RecordView { meta, body, bin_order } = record;
                feeder.record(&NewRecord { meta, hash, bin_order, body })?;
                continue;
            }
            self.present(&record, hash, was.and_then(|entry| entry.live.as_ref()), feeder)?;
        }
        for entry in old {
            self.only_before(entry, input, feeder)?;
        }
        Ok(())
    }

    fn live(&mut self, digest: &Digest, hash: &RecordHash, length: u64) {
        self.live.push((*digest, *hash));
        self.live_records += 1;
        self.live_bytes += length;
    }

    /// A record that the source delivered.
    fn present(
        &mut self,
        record: &RecordView<'_>,
        hash: RecordHash,
        was: Option<&LiveEntry>,
        feeder: &mut RunFeeder<'_>,
    ) -> Result<()> {
        let RecordMeta { digest, generation, void_time, .. } = record.meta;
        self.live(&digest, &hash, record.body.len() as u64);
        let new = NewRecord { meta: record.meta, hash, bin_order: record.bin_order, body: record.body };
        let Some(was) = was else {
            self.counts.added += 1;
            return feeder.record(&new);
        };
        if was.hash != hash {
            self.counts.changed += 1;
            return feeder.record(&new);
        }
        if !self.is_stored(was)? {
            self.counts.healed += 1;
            return feeder.record(&new);
        }
        let moved = self.moves.chunks.contains(&was.place.chunk);
        let same = was.generation == generation && was.void_time == void_time && *was.bin_order == *record.bin_order;
        if same {
            self.counts.unchanged += 1;
        } else {
            self.counts.touched += 1;
        }
        if moved {
            self.counts.moved += 1;
            return feeder.record(&new);
        }
        if same && !self.merging {
            return Ok(());
        }
        let bin_order = if same { was.bin_order.clone() } else { record.bin_order.into() };
        feeder.entry(Entry { digest, live: Some(LiveEntry { generation, void_time, bin_order, ..was.clone() }) })
    }

    /// A record that the parent has and the source did not deliver.
    fn only_before(&mut self, entry: &Entry, input: &Input, feeder: &mut RunFeeder<'_>) -> Result<()> {
        let Some(live) = &entry.live else { return Ok(()) };
        let gone = input.walk.as_ref().map_or(input.whole, |walk| !walk.contains(&entry.digest));
        if gone {
            self.counts.deleted += 1;
            // Above no older run there is nothing to hide.
            return if self.merging { Ok(()) } else { feeder.entry(Entry { digest: entry.digest, live: None }) };
        }
        self.counts.unchanged += 1;
        self.live(&entry.digest, &live.hash, u64::from(live.place.length));
        let mut body = Vec::new();
        // A value that can't be read stays where it is: moving it is of use only where nothing is lost.
        if self.moves.chunks.contains(&live.place.chunk) && self.can_read(live, &mut body)? {
            self.counts.moved += 1;
            let LiveEntry { generation, void_time, hash, .. } = *live;
            let meta = RecordMeta { digest: entry.digest, set: &live.set, generation, void_time };
            return feeder.record(&NewRecord { meta, hash, bin_order: &live.bin_order, body: &body });
        }
        if self.merging { feeder.entry(entry.clone()) } else { Ok(()) }
    }

    fn can_read(&self, live: &LiveEntry, body: &mut Vec<u8>) -> Result<bool> {
        match read_record_into(self.work.reader, live, body) {
            Ok(()) => Ok(true),
            Err(error) if error.is_of_one_object() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether all chunks of a value can be had; a full backup asks, so that it heals what was lost.
    fn is_stored(&mut self, live: &LiveEntry) -> Result<bool> {
        if self.known.len() > 1 << 16 {
            self.known.clear();
        }
        for id in live.place.chunks() {
            let stored = match self.known.get(id) {
                Some(stored) => *stored,
                None => {
                    let stored = self.work.writer.has(id)?;
                    self.known.insert(*id, stored);
                    stored
                }
            };
            if !stored {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
