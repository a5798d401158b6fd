//! Writing a namespace's new run: partition by partition, what differs from the parent.

mod diff;
mod input;
mod merge;
mod sums;

pub(crate) use input::{Input, WalkedDigests, overlaid};

use crate::backup::resume::{Finished, NoteTaker, bad_places, sum};
use crate::backup::settle::{Settled, Settling};
use crate::backup::work::{NamespaceWork, Written, unread_ranges};
use crate::control::Control;
use crate::error::{Error, Result};
use crate::format::header::Class;
use crate::format::search::DeleteSearch;
use crate::format::session::OpenNamespace;
use crate::format::snapshot::{BackupKind, Counts, NamespaceManifest, RunRef};
use crate::format::{ChunkId, structured};
use crate::record::{Digest, NOT_READ, NamespaceMetadata, PARTITIONS, PartitionId, Timestamp};
use crate::run::{Entries, MergedCursor, RecordHash, RunFeeder, RunStats, StateSums, write_run};
use crate::sources::{BadRecord, CountingSource};
use crate::spool::PartitionRecords;
use diff::Progress;
use merge::{Merged, merge_runs};
use std::collections::BTreeMap;
use sums::{Sums, Waiting};

/// Reads the records of these digests, into what was read of the partition.
type ByDigest<'a> = &'a dyn Fn(&[Digest], &mut PartitionRecords) -> Result<()>;
/// How many records could not be parsed so far, and the first of them by name.
type BadSoFar<'a> = &'a dyn Fn() -> Result<(u64, Vec<BadRecord>)>;

/// Writes the run of a namespace; `next` delivers its partitions in order. `counting` is the source, if its scans count
/// what they leave out.
pub(crate) fn diff_and_write(
    work: &NamespaceWork<'_>,
    source_time: Timestamp,
    counting: Option<&dyn CountingSource>,
    next: &mut dyn FnMut(PartitionId) -> Result<Input>,
    by_digest: ByDigest<'_>,
    bad_so_far: BadSoFar<'_>,
) -> Result<Written> {
    let older = older_runs(work)?;
    let mut writing = Writing::new(work, source_time);
    let states = work.writer.keys().states()?;
    let sums = Sums::default();
    let (run, stats, ()) = rayon::in_place_scope(|scope| {
        write_run(work.writer, work.cutter, |feeder| {
            let parent_runs = work.parent.as_ref().map_or(&[][..], |(_, parent)| &parent.runs);
            let mut old = match work.lost.is_empty() {
                true => MergedCursor::live_ahead(work.reader, parent_runs)?,
                false => MergedCursor::tolerant(work.reader, parent_runs)?,
            };
            let mut waiting = Waiting::default();
            let mut taken = Finished::new(work.taken, work.writer.reader())?;
            let mut settling = Settling::new(work, counting);
            while let Some(settled) = settling.next(next, &mut old, &mut taken)? {
                let partition = settled.partition;
                work.control.add_done(1);
                let live = writing.partition(settled, &old, by_digest, feeder)?;
                sums.add(scope, states, &mut waiting, (partition, live));
                writing.note(partition, feeder, bad_so_far)?;
            }
            writing.search = settling.search;
            Ok(())
        })
    })?;
    writing.conclude(older, run, &stats, &sums.into_inner())
}

/// The runs below the new one: the parent's, some of them merged. None if the new run is to hold all entries.
fn older_runs(work: &NamespaceWork<'_>) -> Result<Merged> {
    let merge = &work.merge;
    match work.parent.as_ref().map(|(_, parent)| parent) {
        _ if merge.all => Ok(Merged { runs: Vec::new(), reached_bytes: merge.kept_bytes, moved: 0 }),
        Some(parent) if !merge.runs.is_empty() => {
            merge_runs(work.reader, work.writer, work.cutter, &parent.runs, merge, work.control)
        }
        Some(parent) => Ok(Merged { runs: parent.runs.clone(), reached_bytes: parent.reached_bytes, moved: 0 }),
        None => Ok(Merged { runs: Vec::new(), reached_bytes: 0, moved: 0 }),
    }
}

/// A namespace's run while it is written.
struct Writing<'a> {
    work: &'a NamespaceWork<'a>,
    source_time: Timestamp,
    progress: Progress<'a>,
    notes: NoteTaker<'a>,
    /// The partitions that could not be read, and why.
    unread: BTreeMap<PartitionId, String>,
    /// What the manifest counts in them. Whoever resumes this session reads them again, and counts their records then.
    unread_counts: Counts,
    /// How it was found out what is gone.
    search: DeleteSearch,
}

impl<'a> Writing<'a> {
    fn new(work: &'a NamespaceWork<'a>, source_time: Timestamp) -> Self {
        Writing {
            work,
            source_time,
            progress: Progress::new(work),
            notes: NoteTaker::new(work.notes, work.taken.map_or(0, |open| open.partitions)),
            unread: BTreeMap::new(),
            unread_counts: Counts::default(),
            search: DeleteSearch::default(),
        }
    }

    /// Compares a partition with the parent and writes what differs. Gives back its live records.
    fn partition(
        &mut self,
        settled: Settled,
        old: &MergedCursor<'_>,
        by_digest: ByDigest<'_>,
        feeder: &mut RunFeeder<'_>,
    ) -> Result<Vec<(Digest, RecordHash)>> {
        let Settled { partition, mut input, before, taken } = settled;
        if let Some(walk) = &input.walk {
            let known = taken.as_ref().map(|taken| overlaid(&before, taken));
            let wanted = walk.unknown(&input.records, known.as_ref().unwrap_or(&before))?;
            match if wanted.is_empty() { Ok(()) } else { by_digest(&wanted, &mut input.records) } {
                Ok(()) => {}
                Err(Error::Source { problem, .. }) if self.work.options.allow_partial => {
                    input = Input { unread: Some(problem), ..Input::default() };
                }
                Err(error) => return Err(error),
            }
        }
        let progress = &mut self.progress;
        let is_unknown = |digest: &Digest| old.is_unknown(digest);
        match input.unread.take() {
            Some(problem) => {
                self.unread.insert(partition, problem);
                let counts = std::mem::take(&mut progress.counts);
                // What was taken over of a partition that can't be brought up to date is left out.
                progress.partition(&input, &before, &Entries::default(), &is_unknown, feeder)?;
                let unread = std::mem::replace(&mut progress.counts, counts);
                self.unread_counts = sum(&self.unread_counts, &unread);
            }
            None => {
                progress.counts.duplicates += input.records.duplicates;
                progress.partition(&input, &before, &taken.unwrap_or_default(), &is_unknown, feeder)?;
            }
        }
        Ok(std::mem::take(&mut progress.live))
    }

    /// Notes how far the namespace came, if it is time to.
    fn note(&mut self, partition: PartitionId, feeder: &mut RunFeeder<'_>, bad_so_far: BadSoFar<'_>) -> Result<()> {
        self.notes.write(self.work.writer);
        if self.notes.is_due(partition) {
            let (count, bad) = bad_so_far()?;
            let run = feeder.so_far()?;
            let counts = Counts { bad: count, ..self.progress.counts };
            let open = self.open(u32::from(partition.number()) + 1, run, feeder.value_bytes(), counts);
            self.notes.take(OpenNamespace { bad: bad_places(&bad), ..open }, self.work.writer)?;
        }
        Ok(())
    }

    /// What another session could resume, with so many partitions read.
    fn open(&self, partitions: u32, run: Option<RunRef>, value_bytes: u64, counts: Counts) -> OpenNamespace {
        let work = self.work;
        let parent = work.parent.as_ref().map(|(_, parent)| parent);
        OpenNamespace {
            name: work.namespace.to_string(),
            kind: work.kind,
            selection: work.source.selection(),
            parent: work.parent.as_ref().map(|(id, _)| *id),
            merged: work.merge.all,
            source_time: self.source_time.0,
            partitions,
            unread: unread_ranges(parent, self.unread.keys().copied()),
            run,
            value_bytes: work.taken.map_or(0, |open| open.value_bytes).saturating_add(value_bytes),
            counts,
            bad: Vec::new(),
            evidence: work.evidence.clone(),
        }
    }

    /// Writes the metadata, and makes the namespace's part of the manifest.
    fn conclude(self, older: Merged, run: Option<RunRef>, stats: &RunStats, sums: &StateSums) -> Result<Written> {
        let work = self.work;
        let parent = work.parent.as_ref().map(|(_, parent)| parent);
        let metadata = work.source.metadata(work.namespace)?;
        warn_of_untold(&metadata, work.control);
        let open = self.open(u32::from(PARTITIONS), run, stats.value_bytes, self.progress.counts);
        let moved = Counts { moved: older.moved, ..Counts::default() };
        let manifest = NamespaceManifest {
            name: work.namespace.to_string(),
            kind: work.kind,
            source_time: self.source_time.0,
            parent: work.parent.as_ref().map(|(id, _)| *id),
            full: match (work.kind, parent) {
                (BackupKind::Incremental | BackupKind::Differential, Some(parent)) => parent.full,
                _ => work.id,
            },
            deletes_unknown: work.options.partial || self.search.unsearched > 0,
            search: self.search,
            selection: work.source.selection(),
            unread: Vec::new(),
            runs: run.into_iter().chain(older.runs).collect(),
            live_records: self.progress.live_records,
            live_bytes: self.progress.live_bytes,
            reached_bytes: older.reached_bytes + open.value_bytes,
            state_hash: sums.hash(work.writer.keys().states()?),
            metadata: write_metadata(work, &metadata)?,
            counts: sum(&sum(&self.progress.counts, &self.unread_counts), &moved),
            evidence: work.evidence.clone(),
        };
        Ok(Written { manifest, unread: self.unread, open, tally: self.progress.tally })
    }
}

/// Warns of the metadata that the source would not tell.
fn warn_of_untold(metadata: &NamespaceMetadata, control: &Control) {
    for fact in metadata.facts.iter().filter(|fact| fact.topic == NOT_READ) {
        let (what, why) = (String::from_utf8_lossy(&fact.name), String::from_utf8_lossy(&fact.value));
        control.warn(format!("the {what} are not backed up: {why}"));
    }
}

fn write_metadata(work: &NamespaceWork<'_>, metadata: &NamespaceMetadata) -> Result<Vec<ChunkId>> {
    let encoded =
        structured::encode(metadata).map_err(|error| error.of(format!("the metadata of {}", work.namespace)))?;
    encoded.chunks(1 << 20).map(|part| work.writer.put(Class::Tree, part)).collect()
}
