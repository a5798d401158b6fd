//! What differs from the parent, one partition after the other.

use super::input::{Input, Older};
use super::merge::can_read;
use crate::backup::loss::Tally;
use crate::backup::settle::outlives;
use crate::backup::work::NamespaceWork;
use crate::error::Result;
use crate::format::ChunkId;
use crate::format::snapshot::Counts;
use crate::record::{Digest, RecordMeta, RecordView, VoidTime};
use crate::run::{Entries, Entry, EntryRef, LiveEntry, LiveRef, RecordHash, RecordToWrite, RunFeeder};
use std::collections::HashMap;

/// The state of one namespace's backup while its partitions go by.
pub(super) struct Progress<'a> {
    work: &'a NamespaceWork<'a>,
    pub(super) counts: Counts,
    /// The live records of the partition at hand.
    pub(super) live: Vec<(Digest, RecordHash)>,
    pub(super) live_records: u64,
    pub(super) live_bytes: u64,
    known: HashMap<ChunkId, bool>,
    /// How far the partition's walk was compared with what the parent has.
    walked: usize,
    /// What became of the parent's records in the partitions that are in doubt.
    pub(super) tally: Tally,
}

impl<'a> Progress<'a> {
    pub(super) fn new(work: &'a NamespaceWork<'a>) -> Self {
        Progress {
            work,
            // What became of each record is found out again; those that another session read then need not be read.
            counts: Counts { read: work.taken.map_or(0, |open| open.counts.read), ..Counts::default() },
            live: Vec::new(),
            live_records: 0,
            live_bytes: 0,
            known: HashMap::new(),
            walked: 0,
            tally: Tally::new(),
        }
    }

    /// Whether all entries are written again, into one run.
    fn merging(&self) -> bool {
        self.work.merge.all
    }

    /// One partition: what the source delivered, what the parent has, what another session wrote of it above that, and
    /// whether the parent may have had a record that it is asked for in a node that can't be read.
    pub(super) fn partition(
        &mut self,
        input: &Input,
        before: &Entries,
        taken: &Entries,
        is_unknown: &dyn Fn(&Digest) -> bool,
        feeder: &mut RunFeeder<'_>,
    ) -> Result<()> {
        self.walked = 0;
        let mut old = Older::new(before.iter(), taken.iter());
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
                return feeder.record(&RecordToWrite { meta, hash, bin_order, body });
            }
            let was = was.and_then(|entry| entry.live());
            match taken.and_then(|entry| entry.live()).filter(|taken| taken.hash() == hash) {
                // Its value is where the other session put it.
                Some(taken) => {
                    let RecordMeta { generation, void_time, .. } = record.meta;
                    let entry =
                        LiveEntry { generation, void_time, bin_order: record.bin_order.into(), ..taken.to_entry() };
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
        was: Option<EntryRef<'_>>,
        taken: Option<EntryRef<'_>>,
        input: &Input,
        feeder: &mut RunFeeder<'_>,
    ) -> Result<()> {
        if let Some(until) = input.all_there_until {
            return self.left_out(was, taken, until, feeder);
        }
        let Some(live) = taken.and_then(|entry| Some((entry.digest, entry.live()?))) else {
            // A tombstone of the other session says the same as the source now.
            return was.map_or(Ok(()), |was| self.only_before(was, input, feeder));
        };
        let (digest, live) = live;
        if input.walk.as_ref().is_some_and(|walk| walk.has(digest, &mut self.walked)) {
            self.tally(was, false);
            return self.keep(digest, live.to_entry(), was.and_then(|entry| entry.live()), feeder);
        }
        was.map_or(Ok(()), |was| self.only_before(was, input, feeder))
    }

    /// The same, where all records are there that don't expire by `until`.
    fn left_out(
        &mut self,
        was: Option<EntryRef<'_>>,
        taken: Option<EntryRef<'_>>,
        until: VoidTime,
        feeder: &mut RunFeeder<'_>,
    ) -> Result<()> {
        let known = taken.or(was).and_then(|entry| Some((entry.digest, entry.live()?)));
        match (known.filter(|(_, live)| outlives(live.void_time(), until)), taken, was) {
            (Some((digest, live)), Some(_), _) => {
                self.tally(was, false);
                self.keep(digest, live.to_entry(), was.and_then(|entry| entry.live()), feeder)
            }
            (Some(_), None, Some(was)) => self.stays(was, feeder),
            (None, _, Some(was)) => self.gone(was, feeder),
            (_, _, None) => Ok(()),
        }
    }

    /// A record as another session read it, which is so still but for its generation, its expiry, or the order of its
    /// bins.
    fn keep(
        &mut self,
        digest: &Digest,
        live: LiveEntry,
        was: Option<LiveRef<'_>>,
        feeder: &mut RunFeeder<'_>,
    ) -> Result<()> {
        match was {
            None => self.counts.added += 1,
            Some(was) if was.hash() != live.hash => self.counts.changed += 1,
            Some(was) => {
                let same = (was.generation(), was.void_time()) == (live.generation, live.void_time);
                match same && *was.bin_order() == live.bin_order {
                    true => self.counts.unchanged += 1,
                    false => self.counts.touched += 1,
                }
            }
        }
        self.live(digest, &live.hash, u64::from(live.place.length));
        feeder.entry(Entry { digest: *digest, live: Some(live) })
    }

    /// Counts a record of the parent whose partition is in doubt.
    fn tally(&mut self, was: Option<EntryRef<'_>>, gone: bool) {
        let Some((doubts, entry)) = self.work.doubts.zip(was) else { return };
        let partition = entry.digest.partition();
        if doubts.concern(partition)
            && entry.live().is_some_and(|live| !doubts.expect_gone(live.set(), live.void_time()))
        {
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
        was: Option<LiveRef<'_>>,
        feeder: &mut RunFeeder<'_>,
    ) -> Result<()> {
        let RecordMeta { digest, generation, void_time, .. } = record.meta;
        self.live(&digest, &hash, record.body.len() as u64);
        let new = RecordToWrite { meta: record.meta, hash, bin_order: record.bin_order, body: record.body };
        let Some(was) = was else {
            self.counts.added += 1;
            return feeder.record(&new);
        };
        if was.hash() != hash {
            self.counts.changed += 1;
            return feeder.record(&new);
        }
        if !self.is_stored(&was)? {
            self.counts.healed += 1;
            return feeder.record(&new);
        }
        let moved = self.work.merge.moves_out_of(was.chunk());
        let same = (was.generation(), was.void_time()) == (generation, void_time);
        let same = same && **was.bin_order() == *record.bin_order;
        if same {
            self.counts.unchanged += 1;
        } else {
            self.counts.touched += 1;
        }
        if same && !self.merging() {
            return Ok(());
        }
        if moved {
            self.counts.moved += 1;
            return feeder.record(&new);
        }
        let bin_order = if same { was.bin_order().clone() } else { record.bin_order.into() };
        feeder.entry(Entry { digest, live: Some(LiveEntry { generation, void_time, bin_order, ..was.to_entry() }) })
    }

    /// A record that the parent has and the source did not deliver.
    fn only_before(&mut self, entry: EntryRef<'_>, input: &Input, feeder: &mut RunFeeder<'_>) -> Result<()> {
        match input.walk.as_ref().map_or(input.whole, |walk| !walk.has(entry.digest, &mut self.walked)) {
            true => self.gone(entry, feeder),
            false => self.stays(entry, feeder),
        }
    }

    /// A record of the parent that the source doesn't have any more.
    fn gone(&mut self, entry: EntryRef<'_>, feeder: &mut RunFeeder<'_>) -> Result<()> {
        if entry.live().is_none() {
            return Ok(());
        }
        self.tally(Some(entry), true);
        self.counts.deleted += 1;
        // Above no older run there is nothing to hide.
        if self.merging() { Ok(()) } else { feeder.entry(Entry { digest: *entry.digest, live: None }) }
    }

    /// A record that is as the parent has it.
    fn stays(&mut self, entry: EntryRef<'_>, feeder: &mut RunFeeder<'_>) -> Result<()> {
        let Some(live) = entry.live() else { return Ok(()) };
        self.tally(Some(entry), false);
        self.counts.unchanged += 1;
        self.live(entry.digest, &live.hash(), u64::from(live.length()));
        if !self.merging() {
            return Ok(());
        }
        let (digest, live, mut body) = (*entry.digest, live.to_entry(), Vec::new());
        if self.work.merge.moves_out_of(&live.place.chunk) && can_read(self.work.reader, &live, &mut body)? {
            self.counts.moved += 1;
            let LiveEntry { generation, void_time, hash, .. } = live;
            let meta = RecordMeta { digest, set: &live.set, generation, void_time };
            return feeder.record(&RecordToWrite { meta, hash, bin_order: &live.bin_order, body: &body });
        }
        feeder.entry(Entry { digest, live: Some(live) })
    }

    /// Whether all chunks of a value can be had; a full backup asks, so that it heals what was lost.
    fn is_stored(&mut self, live: &LiveRef<'_>) -> Result<bool> {
        if self.known.len() > 1 << 16 {
            self.known.clear();
        }
        for id in live.chunks() {
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
