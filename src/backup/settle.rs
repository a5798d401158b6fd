//! Which records of the parent are gone, where the source counts what its scans of changes leave out.
//!
//! Of the partitions that were scanned together, what the parent has and the scan did not deliver must be as many
//! records as the scan left out. If they are, all of them are there as they were. If the source left out fewer, some
//! are gone, and are found by looking for them; if more, records came back that bear an older time, and all digests are
//! walked.

use super::resume::Finished;
use super::work::NamespaceWork;
use super::write::{Input, WalkedDigests, overlaid};
use crate::error::{Error, Result};
use crate::format::search::{DeleteSearch, WalkReason};
use crate::record::{PartitionId, PartitionSet, VoidTime};
use crate::run::{Entries, EntryRef, MergedCursor};
use crate::sources::{CountingSource, DigestRow, Found, Known, LeftOut, Rest};
use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// So many partitions are walked together at most, if what a scan left out of them is not told: each walk costs a
/// server a query …
const WALKED_TOGETHER: usize = 64;
/// … and no further one is taken once those have so many records, which wait in memory.
const RECORDS_TOGETHER: usize = 200_000;

/// A partition that waits until those that were scanned with it are there.
pub(crate) struct Settled {
    pub partition: PartitionId,
    pub input: Input,
    /// What the parent has of it.
    pub before: Entries,
    /// What another session wrote of it.
    pub taken: Option<Entries>,
}

impl Settled {
    /// How many records it keeps in memory, at least.
    fn records(&self) -> usize {
        self.before.iter().count().max(self.input.records.len())
    }

    /// Whether it was not told what a scan left out, for this reason.
    fn is_untold(&self, reason: WalkReason) -> bool {
        matches!(self.input.rest, Some(Rest::Untold(untold)) if untold == reason)
    }

    /// What was read of the partition last.
    fn entries(&self) -> Cow<'_, Entries> {
        match &self.taken {
            Some(taken) => Cow::Owned(overlaid(&self.before, taken)),
            None => Cow::Borrowed(&self.before),
        }
    }

    /// How many live records a scan should have left out, and of how many more it can't be told.
    fn should_be_left_out(&self, left: &LeftOut) -> Result<(u64, u64)> {
        let entries = self.entries();
        let outlives = |entry: &EntryRef<'_>, time| entry.live().is_some_and(|live| outlives(live.void_time(), time));
        // Whether it was counted, and whether that can't be told.
        let counts = |entry: EntryRef<'_>| match outlives(&entry, left.until) {
            true => (1, 0),
            false => (0, u64::from(outlives(&entry, VoidTime(left.from.0.saturating_sub(1))))),
        };
        let (mut counted, mut unsure) =
            entries.iter().map(counts).fold((0, 0), |sums, one| (sums.0 + one.0, sums.1 + one.1));
        self.input.records.try_each(|record, _| {
            let delivered = entries.find(&record.meta.digest).map_or((0, 0), counts);
            (counted, unsure) = (counted - delivered.0, unsure - delivered.1);
            Ok(())
        })?;
        Ok((counted, unsure))
    }

    /// The live records that a scan should have left out.
    fn known(&self, until: VoidTime) -> Result<Known> {
        let mut known = Known { digests: Vec::new(), records: self.input.records.len() as u64 };
        for entry in self.entries().iter() {
            let Some(live) = entry.live() else { continue };
            if outlives(live.void_time(), until) && !self.input.records.contains(entry.digest)? {
                known.digests.push(*entry.digest);
                known.records += 1;
            }
        }
        known.digests.sort_unstable();
        Ok(known)
    }
}

/// Whether a record expires after a time, or never.
pub(crate) fn outlives(void_time: VoidTime, until: VoidTime) -> bool {
    void_time == VoidTime::NEVER || void_time > until
}

/// Takes partitions in order, and hands each on once it is known which of its records are gone.
pub(crate) struct Settling<'a> {
    work: &'a NamespaceWork<'a>,
    source: Option<&'a dyn CountingSource>,
    waiting: VecDeque<Settled>,
    /// The first partition that was not taken yet.
    next: u32,
    /// How records that are gone were found so far.
    pub search: DeleteSearch,
}

impl<'a> Settling<'a> {
    pub fn new(work: &'a NamespaceWork<'a>, source: Option<&'a dyn CountingSource>) -> Self {
        Self { work, source, waiting: VecDeque::new(), next: 0, search: DeleteSearch::default() }
    }

    /// The next partition, in order.
    pub fn next(
        &mut self,
        read: &mut dyn FnMut(PartitionId) -> Result<Input>,
        old: &mut MergedCursor<'_>,
        taken: &mut Finished<'_>,
    ) -> Result<Option<Settled>> {
        if self.waiting.is_empty() && !self.take(read, old, taken)? {
            return Ok(None);
        }
        match self.waiting.front().and_then(|first| first.input.rest.clone()) {
            Some(Rest::Counted(left)) => {
                let last = left.partitions.iter().max().map_or(0, |partition| u32::from(partition.number()));
                while self.next <= last && self.take(read, old, taken)? {}
                self.settle(&left)?;
            }
            Some(Rest::Untold(reason)) => {
                let mut records: usize = self.waiting.iter().map(Settled::records).sum();
                while records < RECORDS_TOGETHER && self.may_walk_more(reason) && self.take(read, old, taken)? {
                    records += self.waiting.back().map_or(0, Settled::records);
                }
                let group = self.waiting.iter().filter(|waiting| waiting.is_untold(reason));
                let group: PartitionSet = group.map(|waiting| waiting.partition).collect();
                self.walk(&group, reason, true)?;
            }
            None => {}
        }
        Ok(self.waiting.pop_front())
    }

    /// Whether to take another partition before those that wait are walked for this reason.
    fn may_walk_more(&self, reason: WalkReason) -> bool {
        self.waiting.len() < WALKED_TOGETHER && self.waiting.back().is_some_and(|last| last.is_untold(reason))
    }

    fn take(
        &mut self,
        read: &mut dyn FnMut(PartitionId) -> Result<Input>,
        old: &mut MergedCursor<'_>,
        taken: &mut Finished<'_>,
    ) -> Result<bool> {
        let Some(partition) = u16::try_from(self.next).ok().and_then(PartitionId::new) else { return Ok(false) };
        self.work.control.check()?;
        self.next += 1;
        let before = old.take_partition(partition)?;
        let taken = taken.take(partition)?;
        let input = read(partition)?;
        self.search.unsearched += u32::from(input.unsearched);
        if let Some(reason) = input.searched {
            self.search.add(reason, 1);
        }
        self.waiting.push_back(Settled { partition, input, before, taken });
        Ok(true)
    }

    /// Compares what partitions should have with what the scan left out of them.
    fn settle(&mut self, left: &Arc<LeftOut>) -> Result<()> {
        let is_of = |waiting: &Settled| match &waiting.input.rest {
            Some(Rest::Counted(other)) => Arc::ptr_eq(left, other),
            _ => false,
        };
        let group: PartitionSet =
            self.waiting.iter().filter(|waiting| is_of(waiting)).map(|waiting| waiting.partition).collect();
        // One of them may have been read again by itself.
        if left.partitions.iter().any(|partition| !group.contains(*partition)) {
            return self.walk(&group, WalkReason::Untold, true);
        }
        let (mut expected, mut unsure) = (0u64, 0);
        for waiting in self.waiting.iter().filter(|waiting| group.contains(waiting.partition)) {
            let (counted, more) = waiting.should_be_left_out(left)?;
            (expected, unsure) = (expected + counted, unsure + more);
        }
        if unsure > 0 {
            if let Some(source) = self.source {
                source.expect_expiry();
            }
            return self.walk(&group, WalkReason::Expiring, false);
        }
        let gone = match expected.checked_sub(left.records) {
            Some(0) => return self.all_there(&group, left.until),
            Some(gone) => gone,
            None => return self.walk(&group, WalkReason::MoreThanKnown, true),
        };
        let mut rest = self.known(&group, left.until)?;
        if let Some(source) = self.source
            && let Some(lacking) = source.seem_to_lack(self.work.namespace, &rest)
            && !lacking.is_empty()
            && lacking.len() < rest.len()
        {
            let lacking: PartitionSet = lacking.into_iter().collect();
            let hinted: BTreeMap<PartitionId, Known> =
                rest.extract_if(.., |partition, _| lacking.contains(*partition)).collect();
            let should: usize = hinted.values().map(|known| known.digests.len()).sum();
            let there = self.find(&hinted, WalkReason::FewerThanKnown, false)?;
            if there.is_some_and(|there| should as u64 >= there.saturating_add(gone)) {
                return self.all_there(&rest.into_keys().collect(), left.until);
            }
        }
        self.find(&rest, WalkReason::FewerThanKnown, false).map(|_| ())
    }

    fn known(&self, partitions: &PartitionSet, until: VoidTime) -> Result<BTreeMap<PartitionId, Known>> {
        let waiting = self.waiting.iter().filter(|waiting| partitions.contains(waiting.partition));
        waiting.map(|waiting| Ok((waiting.partition, waiting.known(until)?))).collect()
    }

    fn all_there(&mut self, partitions: &PartitionSet, until: VoidTime) -> Result<()> {
        for waiting in self.waiting.iter_mut().filter(|waiting| partitions.contains(waiting.partition)) {
            waiting.input.rest = None;
            waiting.input.all_there_until = Some(until);
        }
        self.search.counted += partitions.len() as u32;
        Ok(())
    }

    /// Walks partitions, for this reason.
    fn walk(&mut self, partitions: &PartitionSet, reason: WalkReason, all: bool) -> Result<()> {
        let known = self.known(partitions, VoidTime::NEVER)?;
        self.find(&known, reason, all).map(|_| ())
    }

    /// Looks for the records of partitions, and gives each what was found. Gives back how many of the known ones are
    /// there; `None` if some partition could not be read.
    fn find(&mut self, known: &BTreeMap<PartitionId, Known>, reason: WalkReason, all: bool) -> Result<Option<u64>> {
        let Some(source) = self.source else {
            return Err(Error::internal("records are counted by a source that can't count them"));
        };
        let mut found: Found = match source.find(self.work.namespace, known, all) {
            Err(Error::Source { problem, .. }) if self.work.options.allow_partial => {
                known.keys().map(|partition| (*partition, Err(problem.clone()))).collect()
            }
            found => found?,
        };
        let mut there = Some(0);
        for waiting in self.waiting.iter_mut().filter(|waiting| known.contains_key(&waiting.partition)) {
            waiting.input.rest = None;
            let rows =
                found.remove(&waiting.partition).unwrap_or_else(|| Err("nothing was found out of it".to_string()));
            match rows {
                Ok(rows) => {
                    let digests = known.get(&waiting.partition).map_or(&[][..], |known| &known.digests);
                    let is_known = |row: &&DigestRow| digests.binary_search(&row.digest).is_ok();
                    there = there.map(|there| there + rows.iter().filter(is_known).count() as u64);
                    waiting.input.walk = Some(WalkedDigests::new(rows));
                }
                Err(problem) if self.work.options.allow_partial => {
                    there = None;
                    waiting.input = Input { unread: Some(problem), ..Input::default() };
                }
                Err(problem) => {
                    let source_name = self.work.source.name().to_string();
                    return Err(Error::Source { source_name, problem });
                }
            }
        }
        self.search.add(reason, known.len() as u32);
        Ok(there)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_outlives_a_time_if_it_expires_after_it_or_never() {
        let until = VoidTime(5);
        assert!(outlives(VoidTime::NEVER, until) && outlives(VoidTime(6), until));
        assert!(!outlives(VoidTime(5), until) && !outlives(VoidTime(4), until));
    }
}
