//! Backing up a namespace of a source that is read by partitions: all of them, or what changed since the parent.

use super::ahead::read_ahead;
use super::diff::diff_and_write;
use super::input::{Input, Walk};
use super::resume::{bad_places, finished, join_bad};
use super::work::{BackedUp, MAX_BAD, NamespaceWork, Written, unread_ranges};
use crate::error::{Error, Result};
use crate::format::snapshot::BackupKind;
use crate::record::{Digest, PartitionId, PartitionSet, Timestamp};
use crate::sources::{BadRecord, PartitionedSource};
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
                    "{} records can't be understood, the first: {}: {}. Leave them out with --skip-bad-records",
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
    let done = work.taken.map(finished).unwrap_or_default();
    // What was taken over is brought up to date: what changed since it was read, and the digests, which tell what is gone.
    let since_of = |partition: PartitionId| match work.taken.filter(|_| done.contains(partition)) {
        Some(open) => Some(Timestamp(open.source_time).minus_millis(margin)),
        None => since_of(partition),
    };
    // Of changes that the servers date before the parent a filter by time says nothing.
    let set_back = |time: &Timestamp| *time > source_time;
    let unfiltered = selected.iter().filter(|partition| since_of(*partition).as_ref().is_some_and(set_back)).count();
    let since_of = |partition: PartitionId| since_of(partition).filter(|time| !set_back(time));
    let left = |partition: PartitionId| work.left.is_some_and(|(left, _)| left.contains(partition));
    let to_read = selected.iter().filter(|partition| !left(*partition));
    let wanted: Vec<(PartitionId, Option<Timestamp>)> =
        to_read.map(|partition| (partition, since_of(partition))).collect();
    source.prepare(work.namespace, &wanted);
    let read_one = |partition: PartitionId| -> Result<Input> {
        work.control.check()?;
        if !selected.contains(partition) {
            return Ok(Input::default());
        }
        if let Some((left, why)) = work.left
            && left.contains(partition)
        {
            return Ok(Input { unread: Some(why.clone()), ..Input::default() });
        }
        let since = since_of(partition);
        let mut walk = None;
        if since.is_some() {
            let mut rows = Vec::new();
            source.walk(work.namespace, partition, since, &mut |found| {
                rows.extend_from_slice(found);
                Ok(())
            })?;
            walk = Some(Walk::new(rows));
        }
        let mut records = work.options.partition_records();
        source.scan(work.namespace, partition, since, &mut |batch| {
            work.control.add_records(batch.len() as u64);
            records.push(keys, batch)
        })?;
        records.sort()?;
        Ok(Input { records, walk, whole: since.is_none(), unread: None })
    };
    let read = |partition: PartitionId| match read_one(partition) {
        Err(Error::Source { problem, .. }) if work.options.allow_partial => {
            Ok(Input { unread: Some(problem), ..Input::default() })
        }
        read => read,
    };
    let by_digest = |digests: &[Digest], records: &mut PartitionRecords| {
        source.read(work.namespace, digests, &mut |batch| {
            work.control.add_records(batch.len() as u64);
            records.push(keys, batch)
        })?;
        records.sort()
    };
    let bad_records = BadRecords { work, source, so_far: Mutex::default() };
    let Written { mut manifest, unread, mut open, mut warnings, tally } =
        read_ahead(work.options.threads(), read, Input::size, |next| {
            diff_and_write(work, source_time, next, by_digest, &|| bad_records.check())
        })?;
    if unfiltered > 0 {
        warnings.push(format!(
            "the clock of {} is behind the time of an earlier backup of namespace {}: it is {source_time} there. What changed since can't be \
             told by time, so all records of {unfiltered} partitions were read. Set the servers' clocks",
            work.source.name(),
            work.namespace
        ));
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
    Ok(BackedUp { manifest, bad, missing, warnings, tally, open: Some(open) })
}
