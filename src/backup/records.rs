//! Backing up the records of one namespace: what differs from the parent becomes a new run.

use super::ahead::read_ahead;
use super::inbox::Inbox;
use super::loss::{Doubts, Tally};
use super::merge::{Merged, can_read, merge_runs};
use super::merge_policy::Merge;
use super::partitions::read_partitions;
use super::resume::{Finished, NoteTaker, Notes, bad_places, sum};
use crate::chunk::Cutter;
use crate::chunks::{ChunkReader, ChunkWriter};
use crate::control::Control;
use crate::error::{Error, Result};
use crate::format::evidence::Evidence;
use crate::format::header::Class;
use crate::format::session::OpenNamespace;
use crate::format::snapshot::{BackupKind, Counts, NamespaceManifest, RunRef, Unread};
use crate::format::{ChunkId, SnapshotId, structured};
use crate::record::{Digest, NOT_READ, PARTITIONS, PartitionId, PartitionSet, RecordMeta, RecordView, Timestamp};
use crate::run::{Entry, LiveEntry, Losses, MergedCursor, NewRecord, RecordHash, RunFeeder, StateSums, write_run};
use crate::sources::{BadRecord, DigestRow, RecordSource, SourceShape};
use crate::spool::{PartitionRecords, Sorter};
use crate::sync::lock;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// So many records are summed up at once by another thread …
const SUMMED_AT_ONCE: usize = 4096;
/// … unless so many threads are at it; past that the writing thread makes its own sums.
const MAX_SUMMING: usize = 8;
/// Bad records that are kept by name; further ones are only counted.
pub(crate) const MAX_BAD: usize = 1000;

/// How records are read.
#[derive(Clone, Debug)]
pub struct RecordOptions {
    /// The source holds only what changed; nobody knows what was deleted.
    pub partial: bool,
    /// Records that can't be understood are left out and listed.
    pub skip_bad_records: bool,
    /// Partitions that can't be read are left as the parent has them, and listed.
    pub allow_partial: bool,
    /// What looks like a loss of the cluster's is taken for deletes.
    pub accept_loss: bool,
    /// Records of a source without order are held in memory up to about this many bytes, then spilled. Those of one partition
    /// of another source up to an eighth of it, and [`PartitionRecords::BOUND`].
    pub memory_bytes: usize,
    /// Partitions that are read at once; the machine's processors if 0.
    pub parallel: usize,
    /// The snapshot shall rest on one run that refers to nothing dead.
    pub compact: bool,
}

impl Default for RecordOptions {
    fn default() -> Self {
        RecordOptions {
            partial: false,
            skip_bad_records: false,
            allow_partial: false,
            accept_loss: false,
            memory_bytes: 768 << 20,
            parallel: 0,
            compact: false,
        }
    }
}

impl RecordOptions {
    pub(crate) fn threads(&self) -> usize {
        match self.parallel {
            0 => std::thread::available_parallelism().map_or(2, usize::from),
            n => n,
        }
    }

    /// Takes the records of one partition, within the bound of memory.
    pub(crate) fn partition_records(&self) -> PartitionRecords {
        PartitionRecords::with_bound(PartitionRecords::BOUND.min(self.memory_bytes / 8))
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
    /// What is merged of the parent's runs.
    pub merge: Merge,
    /// Reads the parent.
    pub reader: &'a ChunkReader,
    /// Takes the chunks.
    pub writer: &'a ChunkWriter,
    /// Cuts the values.
    pub cutter: Cutter,
    /// How the source stood when the reading began, of one that tells.
    pub evidence: Option<Evidence>,
    /// The partitions that may have lost something since the parent.
    pub doubts: Option<&'a Doubts>,
    /// Partitions that are left as the parent has them, and why.
    pub left: Option<&'a (PartitionSet, String)>,
    /// What another session of the same job finished, and this one took over.
    pub taken: Option<&'a OpenNamespace>,
    /// Where to note how far it comes.
    pub notes: Option<&'a Notes<'a>>,
    /// Progress and stop flag.
    pub control: &'a Control,
}

/// The digests of a partition's records that were last updated before those that were asked for, ascending.
pub(crate) struct Walk(Vec<DigestRow>);

/// What a source says of one partition.
#[derive(Default)]
pub(crate) struct Input {
    pub records: PartitionRecords,
    /// The digests of the other records, if the source was asked for what changed only.
    pub walk: Option<Walk>,
    /// Whether the records are all that there are: what is not among them is gone.
    pub whole: bool,
    /// Why the partition could not be read, if so.
    pub unread: Option<String>,
}

impl Input {
    /// About the bytes of memory that it takes.
    pub fn size(&self) -> usize {
        self.records.byte_len() + self.walk.as_ref().map_or(0, |walk| walk.0.len() * size_of::<DigestRow>())
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
    /// What of the metadata the source would not tell, for people.
    pub warnings: Vec<String>,
    /// What became of the parent's records in the partitions that are in doubt.
    pub tally: Tally,
    /// What a session of the same job could take over; of a source that can be read by partitions.
    pub open: Option<OpenNamespace>,
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
            let sorter = Sorter::new(keys, work.options.memory_bytes);
            let inbox = Inbox::new(sorter, work.options.skip_bad_records, work.control);
            stream.read(work.namespace, &inbox, work.control)?;
            let unfound = unfound(&work)?;
            work.control.begin_phase("storing", u64::from(PARTITIONS));
            // A record that could not be understood may be any of the parent's: what is missing is not known to be deleted.
            let mut options = work.options.clone();
            options.partial |= inbox.has_bad_records();
            let work = NamespaceWork { options: &options, notes: None, ..work };
            let whole = work.kind == BackupKind::Full && !work.options.partial;
            let sorted = |partition| Ok(Input { records: inbox.sorter.take(partition)?, whole, ..Input::default() });
            let Written { manifest: mut done, mut warnings, tally, .. } =
                read_ahead(work.options.threads(), sorted, Input::size, |next| {
                    diff_and_write(&work, source_time, next, |_, _| Ok(()), &|| Ok(Default::default()))
                })?;
            let (count, bad) = inbox.into_bad_records();
            done.counts.bad = count;
            warnings.extend(unfound);
            Ok(BackedUp { manifest: done, bad, missing: None, warnings, tally, open: None })
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
            work.control.begin_phase("backing up", u64::from(PARTITIONS));
            let mut done = read_partitions(&work, source_time, partitioned)?;
            done.warnings.extend(unfound(&work)?);
            Ok(done)
        }
    }
}

/// What was selected and not found once all was read. That is an error, unless an earlier backup of the same selection found it: then
/// its records were deleted since.
fn unfound(work: &NamespaceWork<'_>) -> Result<Option<String>> {
    match work.source.unfound(work.namespace) {
        Some(problem) if work.parent.is_none() => Err(Error::invalid(format!("{}: {problem}", work.source.name()))),
        found => Ok(found),
    }
}

/// The ranges of partitions that were not read, each with the time of which what the parent holds of it is.
pub(crate) fn unread_ranges(
    parent: Option<&NamespaceManifest>,
    unread: impl Iterator<Item = PartitionId>,
) -> Vec<Unread> {
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
    /// Whether all entries are written anew.
    merging: bool,
    counts: Counts,
    /// The live records of the partition at hand.
    live: Vec<(Digest, RecordHash)>,
    live_records: u64,
    live_bytes: u64,
    known: HashMap<ChunkId, bool>,
    /// How far the partition's walk was compared with what the parent has.
    walked: usize,
    /// What became of the parent's records in the partitions that are in doubt.
    tally: Tally,
}

/// What was written of a namespace.
pub(crate) struct Written {
    pub manifest: NamespaceManifest,
    /// The partitions that could not be read, and why.
    pub unread: BTreeMap<PartitionId, String>,
    /// What another session could go on from.
    pub open: OpenNamespace,
    /// What of the metadata the source would not tell, for people.
    pub warnings: Vec<String>,
    pub tally: Tally,
}

pub(crate) fn diff_and_write(
    work: &NamespaceWork<'_>,
    source_time: Timestamp,
    next: &mut dyn FnMut(PartitionId) -> Result<Input>,
    by_digest: impl Fn(&[Digest], &mut PartitionRecords) -> Result<()>,
    bad_records: &dyn Fn() -> Result<(u64, Vec<BadRecord>)>,
) -> Result<Written> {
    let parent = work.parent.as_ref().map(|(_, parent)| parent);
    let parent_runs: &[RunRef] = parent.map_or(&[], |parent| &parent.runs);
    let merging = work.merge.all;
    let entries = || match work.lost.is_empty() {
        true => MergedCursor::live(work.reader, parent_runs),
        false => MergedCursor::tolerant(work.reader, parent_runs),
    };
    let Merged { runs: older, reached_bytes: reached, moved } = match (&work.merge, parent) {
        (merge, _) if merging => Merged { runs: Vec::new(), reached_bytes: merge.kept_bytes, moved: 0 },
        (merge, Some(parent)) if !merge.runs.is_empty() => {
            merge_runs(work.reader, work.writer, work.cutter, &parent.runs, merge, work.control)?
        }
        (_, parent) => {
            let reached_bytes = parent.map_or(0, |parent| parent.reached_bytes);
            Merged { runs: parent_runs.to_vec(), reached_bytes, moved: 0 }
        }
    };
    let mut progress = Progress {
        work,
        merging,
        // What became of each record is found out anew; those that were read then need not be again.
        counts: Counts { read: work.taken.map_or(0, |open| open.counts.read), ..Counts::default() },
        live: Vec::new(),
        live_records: 0,
        live_bytes: 0,
        known: HashMap::new(),
        walked: 0,
        tally: Tally::new(),
    };
    let mut unread = BTreeMap::new();
    let mut unread_counts = Counts::default();
    let value_bytes_before = work.taken.map_or(0, |open| open.value_bytes);
    let open = |partitions, unread: &BTreeMap<PartitionId, String>, run, value_bytes: u64, counts| OpenNamespace {
        name: work.namespace.to_string(),
        kind: work.kind,
        selection: work.source.selection(),
        parent: work.parent.as_ref().map(|(id, _)| *id),
        merged: merging,
        source_time: source_time.0,
        partitions,
        unread: unread_ranges(parent, unread.keys().copied()),
        run,
        value_bytes: value_bytes_before.saturating_add(value_bytes),
        counts,
        bad: Vec::new(),
        evidence: work.evidence.clone(),
    };
    // Notes how far it came, if it is time to.
    let note = |notes: &mut NoteTaker<'_>,
                partition: PartitionId,
                unread: &BTreeMap<PartitionId, String>,
                counts: &Counts,
                feeder: &mut RunFeeder<'_>|
     -> Result<()> {
        notes.write(work.writer);
        if notes.is_due(partition) {
            let (count, bad) = bad_records()?;
            let run = feeder.so_far()?;
            let counts = Counts { bad: count, ..*counts };
            let open = open(u32::from(partition.number()) + 1, unread, run, feeder.value_bytes(), counts);
            notes.take(OpenNamespace { bad: bad_places(&bad), ..open }, work.writer)?;
        }
        Ok(())
    };
    // Partitions that wait until enough records are there to be worth another thread's while.
    let (mut to_sum, mut to_sum_records) = (Vec::new(), 0);
    let mut done = Finished::new(work.taken, work.writer.reader())?;
    let mut notes = NoteTaker::new(work.notes, work.taken.map_or(0, |open| open.partitions));
    let (sums, summing) = (Mutex::new(StateSums::default()), AtomicUsize::new(0));
    let (sums_of, summing_of) = (&sums, &summing);
    let (run, stats, ()) = rayon::in_place_scope(|scope| {
        write_run(work.writer, work.cutter, |feeder| {
            let mut old = entries()?;
            for partition in PartitionId::all() {
                work.control.check()?;
                work.control.add_done(1);
                let mut input = next(partition)?;
                let before = old.take_partition(partition)?;
                let taken = done.take(partition)?;
                if let Some(walk) = &input.walk {
                    let known = taken.as_ref().map(|taken| overlaid(&before, taken));
                    let wanted = walk.unknown(&input.records, known.as_deref().unwrap_or(&before))?;
                    match if wanted.is_empty() { Ok(()) } else { by_digest(&wanted, &mut input.records) } {
                        Ok(()) => {}
                        Err(Error::Source { problem, .. }) if work.options.allow_partial => {
                            input = Input { unread: Some(problem), ..Input::default() };
                        }
                        Err(error) => return Err(error),
                    }
                }
                // What was taken over of a partition that can't be brought up to date is left out.
                if let Some(problem) = input.unread.take() {
                    unread.insert(partition, problem);
                    // Whoever goes on from here reads it again, and counts its records then.
                    let counts = std::mem::take(&mut progress.counts);
                    progress.partition(&input, &before, &[], &|digest| old.is_unknown(digest), feeder)?;
                    unread_counts = sum(&unread_counts, &std::mem::replace(&mut progress.counts, counts));
                } else {
                    progress.counts.duplicates += input.records.duplicates;
                    let taken = taken.unwrap_or_default();
                    progress.partition(&input, &before, &taken, &|digest| old.is_unknown(digest), feeder)?;
                }
                to_sum_records += progress.live.len();
                to_sum.push((partition, std::mem::take(&mut progress.live)));
                if to_sum_records < SUMMED_AT_ONCE && u32::from(partition.number()) + 1 < u32::from(PARTITIONS) {
                    note(&mut notes, partition, &unread, &progress.counts, feeder)?;
                    continue;
                }
                to_sum_records = 0;
                let some = std::mem::take(&mut to_sum);
                let add_up = move || {
                    for (partition, live) in some {
                        let sum = StateSums::sum(work.writer.keys(), &live);
                        lock(sums_of).set(partition, sum);
                    }
                };
                if summing_of.fetch_add(1, Ordering::Relaxed) < MAX_SUMMING {
                    scope.spawn(move |_| {
                        add_up();
                        summing_of.fetch_sub(1, Ordering::Relaxed);
                    });
                } else {
                    add_up();
                    summing_of.fetch_sub(1, Ordering::Relaxed);
                }
                note(&mut notes, partition, &unread, &progress.counts, feeder)?;
            }
            Ok(())
        })
    })?;
    let sums = sums.into_inner().unwrap_or_else(PoisonError::into_inner);
    let metadata = work.source.metadata(work.namespace)?;
    let not_told = metadata.facts.iter().filter(|fact| fact.topic == NOT_READ).map(|fact| {
        let what = String::from_utf8_lossy(&fact.name);
        format!("the {what} are not backed up: {}", String::from_utf8_lossy(&fact.value))
    });
    let warnings: Vec<String> = not_told.collect();
    let metadata =
        structured::encode(&metadata).map_err(|error| error.of(format!("the metadata of {}", work.namespace)))?;
    let metadata =
        metadata.chunks(1 << 20).map(|part| work.writer.put(Class::Tree, part)).collect::<Result<Vec<_>>>()?;
    let open = open(u32::from(PARTITIONS), &unread, run, stats.value_bytes, progress.counts);
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
        runs: run.into_iter().chain(older).collect(),
        live_records: progress.live_records,
        live_bytes: progress.live_bytes,
        reached_bytes: reached + open.value_bytes,
        state_hash: sums.hash(work.writer.keys()),
        metadata,
        counts: sum(&sum(&progress.counts, &unread_counts), &Counts { moved, ..Counts::default() }),
        evidence: work.evidence.clone(),
    };
    Ok(Written { manifest, unread, open, warnings, tally: progress.tally })
}

/// What a partition held when another session read it: what the parent has, and over it what that session wrote.
fn overlaid(before: &[Entry], taken: &[Entry]) -> Vec<Entry> {
    let mut all = Vec::with_capacity(before.len() + taken.len());
    let mut old = before.iter().peekable();
    for entry in taken {
        let key = entry.digest.sort_key();
        while let Some(kept) = old.next_if(|kept| kept.digest.sort_key() < key) {
            all.push(kept.clone());
        }
        old.next_if(|replaced| replaced.digest == entry.digest);
        if entry.live.is_some() {
            all.push(entry.clone());
        }
    }
    all.extend(old.cloned());
    all
}

impl Walk {
    pub fn new(mut rows: Vec<DigestRow>) -> Self {
        rows.sort_unstable_by_key(|row| row.digest);
        Walk(rows)
    }

    /// Whether a digest is there; digests are asked for in ascending order, from a `position` of 0 on.
    fn has(&self, digest: &Digest, position: &mut usize) -> bool {
        while self.0.get(*position).is_some_and(|row| row.digest < *digest) {
            *position += 1;
        }
        self.0.get(*position).is_some_and(|row| row.digest == *digest)
    }

    /// The digests of records that the filter by last update does not deliver, and that are not as the parent has them.
    fn unknown(&self, records: &PartitionRecords, before: &[Entry]) -> Result<Vec<Digest>> {
        let mut before = before.iter().peekable();
        let mut as_before = |row: &DigestRow| {
            while before.next_if(|entry| entry.digest < row.digest).is_some() {}
            let live = before.peek().filter(|entry| entry.digest == row.digest).and_then(|entry| entry.live.as_ref());
            live.is_some_and(|live| live.generation == row.generation && live.void_time == row.void_time)
        };
        let mut digests = Vec::new();
        for row in &self.0 {
            if !as_before(row) && !records.contains(&row.digest)? {
                digests.push(row.digest);
            }
        }
        digests.dedup();
        Ok(digests)
    }
}

/// What is left of the two older states of a partition, both in key order.
struct Older<'a> {
    before: &'a [Entry],
    taken: &'a [Entry],
}

impl<'a> Older<'a> {
    /// The next digest in either that comes before `digest`, with what each has of it.
    fn below(&mut self, digest: Option<&Digest>) -> Option<(Option<&'a Entry>, Option<&'a Entry>)> {
        let first = [self.before.first(), self.taken.first()].into_iter().flatten().map(|entry| entry.digest);
        let next = first.min_by_key(Digest::sort_key)?;
        digest.is_none_or(|digest| next.sort_key() < digest.sort_key()).then(|| self.at(&next))
    }

    /// What each has of a digest, if that is the next one.
    fn at(&mut self, digest: &Digest) -> (Option<&'a Entry>, Option<&'a Entry>) {
        (next_if(&mut self.before, digest), next_if(&mut self.taken, digest))
    }
}

fn next_if<'a>(entries: &mut &'a [Entry], digest: &Digest) -> Option<&'a Entry> {
    let (first, rest) = entries.split_first()?;
    (first.digest == *digest).then(|| {
        *entries = rest;
        first
    })
}

impl Progress<'_> {
    /// One partition: what the source delivered, what the parent has, what another session wrote of it above that, and whether the
    /// parent may have had a record that it is asked for in a node that can't be read.
    fn partition(
        &mut self,
        input: &Input,
        before: &[Entry],
        taken: &[Entry],
        is_unknown: &dyn Fn(&Digest) -> bool,
        feeder: &mut RunFeeder<'_>,
    ) -> Result<()> {
        self.walked = 0;
        let mut old = Older { before, taken };
        input.records.try_each(|record, hash| {
            let RecordMeta { digest, .. } = record.meta;
            while let Some((was, taken)) = old.below(Some(&digest)) {
                self.not_delivered(was, taken, input, feeder)?;
            }
            let (was, taken) = old.at(&digest);
            // What the other session read is counted already.
            self.counts.read += u64::from(taken.is_none());
            self.tally(was, false);
            if was.is_none() && is_unknown(&digest) {
                self.counts.healed += 1;
                self.live(&digest, &hash, record.body.len() as u64);
                let RecordView { meta, body, bin_order } = *record;
                return feeder.record(&NewRecord { meta, hash, bin_order, body });
            }
            let was = was.and_then(|entry| entry.live.as_ref());
            match taken.and_then(|entry| entry.live.as_ref()).filter(|taken| taken.hash == hash) {
                // Its value stands where the other session put it.
                Some(taken) => {
                    let RecordMeta { generation, void_time, .. } = record.meta;
                    let entry =
                        LiveEntry { generation, void_time, bin_order: record.bin_order.into(), ..taken.clone() };
                    self.keep(&digest, entry, was, feeder)
                }
                None => self.present(record, hash, was, feeder),
            }
        })?;
        while let Some((was, taken)) = old.below(None) {
            self.not_delivered(was, taken, input, feeder)?;
        }
        Ok(())
    }

    /// A record that the parent has or another session read, and that the source did not deliver.
    fn not_delivered(
        &mut self,
        was: Option<&Entry>,
        taken: Option<&Entry>,
        input: &Input,
        feeder: &mut RunFeeder<'_>,
    ) -> Result<()> {
        let Some(live) = taken.and_then(|entry| Some((entry.digest, entry.live.as_ref()?))) else {
            // A tombstone of the other session says the same as the source now.
            return was.map_or(Ok(()), |was| self.only_before(was, input, feeder));
        };
        let (digest, live) = live;
        if input.walk.as_ref().is_some_and(|walk| walk.has(&digest, &mut self.walked)) {
            self.tally(was, false);
            return self.keep(&digest, live.clone(), was.and_then(|entry| entry.live.as_ref()), feeder);
        }
        was.map_or(Ok(()), |was| self.only_before(was, input, feeder))
    }

    /// A record as another session read it, which is so still but for its generation, its expiry, or the order of its bins.
    fn keep(
        &mut self,
        digest: &Digest,
        live: LiveEntry,
        was: Option<&LiveEntry>,
        feeder: &mut RunFeeder<'_>,
    ) -> Result<()> {
        match was {
            None => self.counts.added += 1,
            Some(was) if was.hash != live.hash => self.counts.changed += 1,
            Some(was) => {
                let same = (was.generation, was.void_time) == (live.generation, live.void_time);
                match same && was.bin_order == live.bin_order {
                    true => self.counts.unchanged += 1,
                    false => self.counts.touched += 1,
                }
            }
        }
        self.live(digest, &live.hash, u64::from(live.place.length));
        feeder.entry(Entry { digest: *digest, live: Some(live) })
    }

    /// Counts a record of the parent whose partition is in doubt.
    fn tally(&mut self, was: Option<&Entry>, gone: bool) {
        let Some((doubts, entry)) = self.work.doubts.zip(was) else { return };
        let partition = entry.digest.partition();
        if doubts.concern(partition) && entry.live.as_ref().is_some_and(|live| !doubts.expect_gone(live)) {
            let counted = self.tally.entry(partition).or_default();
            counted.0 += 1;
            counted.1 += u64::from(gone);
        }
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
        let moved = self.work.merge.moves_out_of(&was.place.chunk);
        let same = was.generation == generation && was.void_time == void_time && *was.bin_order == *record.bin_order;
        if same {
            self.counts.unchanged += 1;
        } else {
            self.counts.touched += 1;
        }
        if same && !self.merging {
            return Ok(());
        }
        if moved {
            self.counts.moved += 1;
            return feeder.record(&new);
        }
        let bin_order = if same { was.bin_order.clone() } else { record.bin_order.into() };
        feeder.entry(Entry { digest, live: Some(LiveEntry { generation, void_time, bin_order, ..was.clone() }) })
    }

    /// A record that the parent has and the source did not deliver.
    fn only_before(&mut self, entry: &Entry, input: &Input, feeder: &mut RunFeeder<'_>) -> Result<()> {
        let Some(live) = &entry.live else { return Ok(()) };
        let gone = input.walk.as_ref().map_or(input.whole, |walk| !walk.has(&entry.digest, &mut self.walked));
        self.tally(Some(entry), gone);
        if gone {
            self.counts.deleted += 1;
            // Above no older run there is nothing to hide.
            return if self.merging { Ok(()) } else { feeder.entry(Entry { digest: entry.digest, live: None }) };
        }
        self.counts.unchanged += 1;
        self.live(&entry.digest, &live.hash, u64::from(live.place.length));
        if !self.merging {
            return Ok(());
        }
        let mut body = Vec::new();
        if self.work.merge.moves_out_of(&live.place.chunk) && can_read(self.work.reader, live, &mut body)? {
            self.counts.moved += 1;
            let LiveEntry { generation, void_time, hash, .. } = *live;
            let meta = RecordMeta { digest: entry.digest, set: &live.set, generation, void_time };
            return feeder.record(&NewRecord { meta, hash, bin_order: &live.bin_order, body: &body });
        }
        feeder.entry(entry.clone())
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
