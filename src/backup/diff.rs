//! What differs from the parent becomes a new run.

use super::input::{Input, Older, overlaid};
use super::loss::Tally;
use super::merge::{Merged, can_read, merge_runs};
use super::resume::{Finished, NoteTaker, bad_places, sum};
use super::work::{NamespaceWork, Written, unread_ranges};
use crate::error::{Error, Result};
use crate::format::header::Class;
use crate::format::session::OpenNamespace;
use crate::format::snapshot::{BackupKind, Counts, NamespaceManifest, RunRef};
use crate::format::{ChunkId, structured};
use crate::record::{Digest, NOT_READ, PARTITIONS, PartitionId, RecordMeta, RecordView, Timestamp};
use crate::run::{Entry, LiveEntry, MergedCursor, NewRecord, RecordHash, RunFeeder, StateSums, write_run};
use crate::sources::BadRecord;
use crate::spool::PartitionRecords;
use crate::sync::lock;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// So many records are summed up at once by another thread …
const SUMMED_AT_ONCE: usize = 4096;
/// … unless so many threads are at it; past that the writing thread makes its own sums.
const MAX_SUMMING: usize = 8;
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
