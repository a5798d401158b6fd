//! Backing up a namespace of a source that is read by partitions: all of them, or what changed since the parent.

use super::ahead::read_ahead;
use super::resume::{bad_places, finished, join_bad};
use super::work::{BackedUp, DeleteMode, MAX_BAD, NamespaceWork, Written, unread_ranges};
use super::write::{Input, WalkedDigests, diff_and_write};
use crate::error::{Error, Result};
use crate::format::evidence::Evidence;
use crate::format::search::WalkReason;
use crate::format::snapshot::{BackupKind, NamespaceManifest};
use crate::record::{Digest, PartitionId, PartitionSet, RecordBatch, Timestamp, VoidTime};
use crate::sources::{BadRecord, CountingSource, PartitionedSource, Rest};
use crate::spool::PartitionRecords;
use crate::sync::lock;
use std::sync::Mutex;

/// The records that a source could not understand.
struct BadRecords<'a> {
    work: &'a NamespaceWork<'a>,
    source: &'a dyn PartitionedSource,
    so_far: Mutex<(u64, Vec<BadRecord>)>,
}

impl BadRecords<'_> {
    /// All of them so far, with those of the session that this one goes on from; an error if they must not be left out.
    fn check(&self) -> Result<(u64, Vec<BadRecord>)> {
        let mut all = lock(&self.so_far);
        let (count, more) = self.source.take_bad_records();
        all.0 += count;
        all.1.extend(more);
        all.1.truncate(MAX_BAD);
        if let (Some(first), false) = (all.1.first(), self.work.options.skip_bad_records) {
            return Err(Error::Source {
                source_name: self.work.source.name().to_string(),
                problem: format!(
                    "{} records can't be parsed, the first: {}: {}. Leave them out with `skip_bad_records`",
                    all.0, first.place, first.problem
                ),
            });
        }
        let (count, bad) = all.clone();
        Ok(self.work.taken.map_or((count, bad.clone()), |open| join_bad(count, bad, open)))
    }
}

/// Reads the partitions, all of them or what changed since the parent.
pub(crate) fn read_partitions(
    work: &NamespaceWork<'_>,
    source_time: Timestamp,
    source: &dyn PartitionedSource,
) -> Result<BackedUp> {
    let reads = Reads::new(work, source_time, source);
    let selected = source.partitions();
    let to_read = selected.iter().filter(|partition| reads.left(*partition).is_none());
    let wanted: Vec<(PartitionId, Option<Timestamp>)> =
        to_read.map(|partition| (partition, reads.since(partition))).collect();
    match &reads.search {
        Search::Count(counting) => counting.prepare_counted(work.namespace, &wanted),
        Search::Walk(_) => source.prepare(work.namespace, &wanted),
        Search::None => source.prepare_changes(work.namespace, &wanted),
    }
    let read = |partition: PartitionId| match reads.read(&selected, partition) {
        Err(Error::Source { problem, .. }) if work.options.allow_partial => {
            Ok(Input { unread: Some(problem), ..Input::default() })
        }
        read => read,
    };
    let by_digest = |digests: &[Digest], records: &mut PartitionRecords| {
        source.read(work.namespace, digests, &mut |batch| {
            work.control.add_records(batch.len() as u64);
            records.push(work.writer.keys(), batch)
        })?;
        records.sort()
    };
    let bad_records = BadRecords { work, source, so_far: Mutex::default() };
    let Written { mut manifest, unread, mut open, tally } =
        read_ahead(work.options.threads(), read, Input::size, |next| {
            diff_and_write(work, source_time, source.counting(), next, &by_digest, &|| bad_records.check())
        })?;
    if let Some(warning) = reads.clock_behind(&selected) {
        work.control.warn(warning);
    }
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
    let (count, bad) = bad_records.check()?;
    (manifest.counts.bad, open.counts.bad) = (count, count);
    open.bad = bad_places(&bad);
    Ok(BackedUp { manifest, bad, missing, tally, open: Some(open) })
}

/// What is read of each partition.
struct Reads<'a> {
    work: &'a NamespaceWork<'a>,
    source: &'a dyn PartitionedSource,
    source_time: Timestamp,
    /// The servers' clocks may differ by so many milliseconds.
    margin: u64,
    /// The partitions that were taken over from a session that stopped.
    taken: PartitionSet,
    /// Why a filter by last update may miss what changed since the parent, if it may.
    misses: Option<WalkReason>,
    /// How it is found out what is gone.
    search: Search<'a>,
}

/// How it is found out what is gone from partitions of which the changes are read.
enum Search<'a> {
    /// The scan counts what it leaves out.
    Count(&'a dyn CountingSource),
    /// A walk comes before the scan, for this reason.
    Walk(WalkReason),
    /// Not at all.
    None,
}

impl<'a> Search<'a> {
    /// `misses` is why a filter by last update may miss something.
    fn of(work: &NamespaceWork<'_>, source: &'a dyn PartitionedSource, misses: Option<WalkReason>) -> Self {
        let counting = match work.options.deletes {
            DeleteMode::None if work.kind != BackupKind::Full => return Search::None,
            DeleteMode::Walk => return Search::Walk(WalkReason::Asked),
            DeleteMode::Auto | DeleteMode::None => source.counting(),
        };
        match (counting, &work.evidence, misses) {
            (None, ..) | (_, None, _) => Search::Walk(WalkReason::NotCounted),
            (.., Some(reason)) => Search::Walk(reason),
            (Some(counting), Some(_), None) => Search::Count(counting),
        }
    }
}

/// Why a filter by last update may miss what changed since the parent, or since what another session read; `None` if it
/// can't.
fn why_filters_miss(work: &NamespaceWork<'_>, now: &Evidence) -> Option<WalkReason> {
    let parent = work.parent.as_ref().filter(|_| work.kind != BackupKind::Full);
    let bases = [parent.map(|(_, parent)| &parent.evidence), work.taken.map(|open| &open.evidence)];
    let reasons = bases.into_iter().flatten().map(|then| match then {
        Some(then) => then.why_filters_miss(now),
        None => Some(WalkReason::Moved),
    });
    reasons.flatten().next()
}

impl<'a> Reads<'a> {
    fn new(work: &'a NamespaceWork<'a>, source_time: Timestamp, source: &'a dyn PartitionedSource) -> Self {
        let taken = work.taken.map(finished).unwrap_or_default();
        let margins = [work.parent.as_ref().and_then(|(_, parent)| parent.evidence.as_ref()), work.evidence.as_ref()];
        let margin = margins.into_iter().flatten().map(|evidence| evidence.margin_millis);
        let margin = margin.fold(source.clock_margin_millis(), u64::max);
        let misses = work.evidence.as_ref().and_then(|now| why_filters_miss(work, now));
        Reads { work, source, source_time, margin, taken, misses, search: Search::of(work, source, misses) }
    }

    /// The time from which on a partition's changes would be read, if the servers' clock went on since; `None` if it is
    /// read whole.
    fn wanted_since(&self, partition: PartitionId) -> Option<Timestamp> {
        let time = match (&self.work.taken, &self.work.parent, self.work.kind) {
            // What was taken over is brought up to date: what changed since it was read, and the digests, which tell
            // what is gone.
            (Some(open), ..) if self.taken.contains(partition) => Some(open.source_time),
            // What the parent's backup could not read is read from the time on when it was read last, or whole.
            (_, Some((_, parent)), BackupKind::Incremental | BackupKind::Differential) => parent.as_of(partition),
            _ => None,
        };
        time.map(|time| Timestamp(time).minus_millis(self.margin))
    }

    /// The time from which on a partition's changes are read; `None` if it is read whole. Of changes that the servers
    /// date before the parent a filter by time says nothing.
    fn since(&self, partition: PartitionId) -> Option<Timestamp> {
        let known = match self.misses {
            // A walk does not tell one version of a record from another of the same generation.
            Some(WalkReason::Moved) => Timestamp(self.work.known_until).minus_millis(self.margin),
            // What a clock that was set dated may bear any time.
            Some(_) => Timestamp(0),
            None => Timestamp(u64::MAX),
        };
        self.wanted_since(partition).filter(|time| *time <= self.source_time).map(|time| time.min(known))
    }

    /// Why a partition is left as the parent has it, if it is.
    fn left(&self, partition: PartitionId) -> Option<&'a str> {
        let (left, why) = self.work.left?;
        left.contains(partition).then_some(why)
    }

    fn read(&self, selected: &PartitionSet, partition: PartitionId) -> Result<Input> {
        let (work, source) = (self.work, self.source);
        work.control.check()?;
        if !selected.contains(partition) {
            return Ok(Input::default());
        }
        if let Some(why) = self.left(partition) {
            return Ok(Input { unread: Some(why.to_string()), ..Input::default() });
        }
        let since = self.since(partition);
        let mut input = Input { records: work.options.partition_records(), whole: since.is_none(), ..Input::default() };
        if let (Some(_), Search::Walk(reason)) = (since, &self.search) {
            let mut rows = Vec::new();
            source.walk(work.namespace, partition, since, &mut |found| {
                rows.extend_from_slice(found);
                Ok(())
            })?;
            input.walk = Some(WalkedDigests::new(rows));
            input.searched = Some(*reason);
        }
        let records = &mut input.records;
        let mut take = |batch: RecordBatch| {
            work.control.add_records(batch.len() as u64);
            records.push(work.writer.keys(), batch)
        };
        match (since, &self.search) {
            (Some(since), Search::Count(counting)) => {
                let rest = counting.scan_counted(work.namespace, partition, since, &mut take)?;
                input.rest = Some(rest);
            }
            _ => source.scan(work.namespace, partition, since, &mut take)?,
        }
        if let (Some(_), Search::None) = (since, &self.search) {
            input.all_there_until = Some(VoidTime::NEVER);
            input.unsearched = true;
        }
        // What the parent has of earlier snapshots its evidence says nothing of.
        let is_older = |(_, parent): &(_, NamespaceManifest)| parent.is_unread(partition);
        if input.rest.is_some() && !self.taken.contains(partition) && work.parent.as_ref().is_some_and(is_older) {
            input.rest = Some(Rest::Untold(WalkReason::Older));
        }
        input.records.sort()?;
        Ok(input)
    }

    /// Says how many partitions were read whole since the servers' clock is behind, if any.
    fn clock_behind(&self, selected: &PartitionSet) -> Option<String> {
        let set_back =
            |partition: PartitionId| self.wanted_since(partition).is_some_and(|time| time > self.source_time);
        let unfiltered = selected.iter().filter(|partition| set_back(*partition)).count();
        let source_time = self.source_time;
        (unfiltered > 0).then(|| {
            format!(
                "the clock of {} is behind the time of an earlier backup of namespace {}: it is {source_time} there. \
                 What changed since can't be told by time, so all records of {unfiltered} partitions were read. Set \
                 the servers' clocks",
                self.work.source.name(),
                self.work.namespace
            )
        })
    }
}
