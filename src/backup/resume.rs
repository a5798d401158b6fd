//! Resuming where a session of the same job stopped.
//!
//! Now and then a backup notes in its session's object how far it came: the partitions that it has read, the run that
//! it wrote of them, and the packs in which that run's chunks stand ([`OpenNamespace`], `format-spec/sessions.md`). The
//! next session of the same job takes these packs over, and brings those partitions up to date: it reads what changed
//! since, and the digests. If that can't be enough, since the source may not hold the same data any more, it reads
//! everything again.

use super::loss::unproven;
use crate::chunks::{ChunkReader, ChunkWriter};
use crate::control::Control;
use crate::error::Result;
use crate::format::session::{BadPlace, Journal, OpenNamespace, Session};
use crate::format::snapshot::{Counts, RunRef};
use crate::format::{PackId, SnapshotId};
use crate::record::{PartitionId, PartitionSet, Timestamp};
use crate::run::{Entries, MergedCursor, RunCursor, reach_run};
use crate::sources::{BadRecord, Standing};
use std::collections::HashSet;
use std::time::{Duration, Instant};

/// At least so many partitions lie between two notes.
const LEAST_PARTITIONS: u16 = 64;
/// A session that stored more packs than this writes no notes: its object would become too large.
const MAX_PACKS: usize = 1 << 20;

/// What makes two backups of a namespace the same job.
#[derive(Clone, Copy, Debug)]
pub struct SameJob<'a> {
    /// The cluster.
    pub cluster: &'a str,
    /// What is read of which namespace, and how; its progress doesn't count.
    pub namespace: &'a OpenNamespace,
    /// Whether records that can't be parsed are left out.
    pub skips_bad_records: bool,
    /// The source's clock.
    pub now: Timestamp,
    /// How the source stands, of one that tells.
    pub standing: Option<&'a Standing>,
}

impl SameJob<'_> {
    fn is_of(&self, open: &OpenNamespace) -> bool {
        let OpenNamespace { name, kind, selection, parent, merged, .. } = self.namespace;
        (&open.name, &open.kind, &open.selection) == (name, kind, selection)
            && (&open.parent, &open.merged) == (parent, merged)
            && (open.bad.is_empty() || self.skips_bad_records)
            && open.source_time <= self.now.0
            && open.partitions > 0
    }

    /// What a journal says of this job.
    fn find<'a>(&self, journal: &'a Journal) -> Option<&'a OpenNamespace> {
        journal.namespaces.iter().find(|open| journal.cluster == self.cluster && self.is_of(open))
    }
}

/// What a session took over from one that stopped.
#[derive(Clone, Debug)]
pub struct TakenOver {
    /// The session that stopped.
    pub from: SnapshotId,
    /// How far it came.
    pub open: OpenNamespace,
    /// The packs that its run needs.
    pub packs: Vec<PackId>,
}

/// Takes over what the latest session of the same job left: its packs must be there, no pending plan may name them,
/// and all that its run refers to must be found. `None` if there is no such session, or something of it is missing.
pub fn adopt(
    sessions: &[Session],
    job: SameJob<'_>,
    reader: &ChunkReader,
    writer: &ChunkWriter,
    control: &Control,
) -> Result<Option<TakenOver>> {
    let journals = sessions.iter().filter_map(|session| Some((session, session.journal.as_ref()?)));
    let found = journals.filter_map(|(session, journal)| Some((session, journal, job.find(journal)?.clone())));
    let found: Vec<_> = found
        .filter(|(session, _, open)| match differs(open, job.standing) {
            None => true,
            Some(why) => {
                control.warn(format!("session {} is not resumed, and everything is read again: {why}", session.id));
                false
            }
        })
        .collect();
    // Of several, the one that came furthest; of these the latest, which is the first.
    let Some((session, journal, open)) = found.into_iter().rev().max_by_key(|(_, _, open)| open.partitions) else {
        return Ok(None);
    };
    let mut packs = [&session.adopted[..], &journal.packs].concat();
    packs.sort_unstable();
    packs.dedup();
    let adopted = reader.index().adopt(&**reader.store(), reader.keys(), &packs);
    let whole = adopted.and_then(|adopted| match &open.run {
        Some(run) if adopted => is_whole(run, reader, writer),
        _ => Ok(adopted),
    });
    if !matches!(whole, Ok(true)) {
        // What turned out not to be whole is not to be built on by chance either.
        reader.index().disown(&packs);
    }
    Ok(whole?.then_some(TakenOver { from: session.id, open, packs }))
}

/// Why the source may not hold any more what a session read of it, but for what was changed or deleted.
fn differs(open: &OpenNamespace, standing: Option<&Standing>) -> Option<String> {
    let (then, standing) = match (&open.evidence, standing) {
        (None, None) => return None,
        (Some(then), Some(standing)) => (then, standing),
        _ => return Some("it can't be told whether the source held its data".into()),
    };
    let (unproven, changed) = unproven(then, &standing.evidence);
    if finished(open).iter().any(|partition| unproven.contains(partition)) {
        return Some(changed.join(", "));
    }
    let since = Timestamp(open.source_time).minus_millis(standing.evidence.margin_millis);
    if standing.truncated.is_some_and(|time| time >= since) {
        return Some("the namespace was truncated".into());
    }
    let set = standing.truncated_sets.iter().find(|(_, time)| *time >= since);
    set.map(|(set, _)| format!("set {} was truncated", String::from_utf8_lossy(set)))
}

/// Whether every chunk that a run refers to can be had without writing it, and its branch nodes can be read.
fn is_whole(run: &RunRef, reader: &ChunkReader, writer: &ChunkWriter) -> Result<bool> {
    let (mut reached, mut lost) = (Vec::new(), false);
    reach_run(reader, run, &mut HashSet::new(), &mut |id, _| reached.push(id), &mut |_| lost = true)?;
    if lost {
        return Ok(false);
    }
    for id in reached {
        if !writer.has(&id)? {
            return Ok(false);
        }
    }
    // Leaves are read once more while the run is written, but what can't be read shall be known before.
    let mut cursor = RunCursor::new(reader, run)?;
    loop {
        match cursor.next() {
            Ok(Some(_)) => {}
            Ok(None) => return Ok(true),
            Err(error) if error.is_of_one_object() => return Ok(false),
            Err(error) => return Err(error),
        }
    }
}

/// The partitions of a namespace that another session read, and what it wrote of them.
pub struct Finished<'a> {
    partitions: PartitionSet,
    cursor: Option<MergedCursor<'a>>,
}

impl<'a> Finished<'a> {
    /// What was taken over, if anything.
    pub fn new(open: Option<&OpenNamespace>, reader: &'a ChunkReader) -> Result<Self> {
        let run = open.and_then(|open| open.run.as_ref());
        let cursor = run.map(|run| MergedCursor::whole(reader, std::slice::from_ref(run))).transpose()?;
        Ok(Self { partitions: open.map(finished).unwrap_or_default(), cursor })
    }

    /// The entries that were written of a partition; `None` if it is to be read.
    pub fn take(&mut self, partition: PartitionId) -> Result<Option<Entries>> {
        let entries = self.cursor.as_mut().map(|cursor| cursor.take_partition(partition)).transpose()?;
        let entries = entries.unwrap_or_default();
        // A partition that could not be read is read again; a merged run has what the parent holds of it.
        Ok(self.partitions.contains(partition).then_some(entries))
    }
}

/// The partitions that need not be read whole again.
pub fn finished(open: &OpenNamespace) -> PartitionSet {
    let is_unread = |partition: PartitionId| open.unread.iter().any(|range| range.contains(partition));
    PartitionId::all().filter(|it| u32::from(it.number()) < open.partitions && !is_unread(*it)).collect()
}

/// Where a session notes how far it came.
pub struct Notes<'a> {
    /// How often.
    pub every: Duration,
    /// Writes a note. One that is lost is made up for by the next.
    pub write: &'a (dyn Fn(OpenNamespace, Vec<PackId>) + Sync),
}

/// A note that waits until the packs are stored in which its chunks stand.
pub struct NoteTaker<'a> {
    notes: Option<&'a Notes<'a>>,
    last: Instant,
    last_partition: u16,
    waiting: Option<(u64, OpenNamespace)>,
}

impl<'a> NoteTaker<'a> {
    /// Begins at partition `finished`, up to which another session came.
    pub fn new(notes: Option<&'a Notes<'a>>, finished: u32) -> Self {
        let last_partition = u16::try_from(finished).unwrap_or(u16::MAX);
        NoteTaker { notes, last: Instant::now(), last_partition, waiting: None }
    }

    /// Whether it is time for a note, now that this partition is written.
    pub fn is_due(&self, partition: PartitionId) -> bool {
        let apart = (partition.number() + 1).saturating_sub(self.last_partition);
        apart >= LEAST_PARTITIONS && self.notes.is_some_and(|notes| self.last.elapsed() >= notes.every)
    }

    /// Takes a note; what it names was put into packs, which are closed here. One that still waits is written first.
    pub fn take(&mut self, open: OpenNamespace, writer: &ChunkWriter) -> Result<()> {
        if let Some((number, _)) = &self.waiting {
            writer.wait_for(*number)?;
            self.write(writer);
        }
        self.last_partition = u16::try_from(open.partitions).unwrap_or(u16::MAX);
        self.last = Instant::now();
        self.waiting = Some((writer.close_packs()?, open));
        Ok(())
    }

    /// Writes the note down once its packs are stored. A session that fails before has written none too many.
    pub fn write(&mut self, writer: &ChunkWriter) {
        let stored = |waiting: &mut (u64, OpenNamespace)| writer.has_stored(waiting.0);
        if let (Some(notes), Some((_, open))) = (self.notes, self.waiting.take_if(stored)) {
            let packs = writer.stored_packs();
            if packs.len() <= MAX_PACKS {
                (notes.write)(open, packs);
            }
        }
    }
}

/// Records that could not be parsed, as a journal names them.
pub fn bad_places(bad: &[BadRecord]) -> Vec<BadPlace> {
    bad.iter().map(|bad| BadPlace { place: bad.place.clone(), problem: bad.problem.clone() }).collect()
}

/// Adds the records that another session could not understand: how many there were, and the first of them by name. A
/// record that both met counts once.
pub fn join_bad(count: u64, bad: Vec<BadRecord>, open: &OpenNamespace) -> (u64, Vec<BadRecord>) {
    // A source of which something was resumed has no text that breaks off.
    let before = open.bad.iter().map(|bad| BadRecord {
        place: bad.place.clone(),
        problem: bad.problem.clone(),
        breaks_off: false,
    });
    let mut all: Vec<BadRecord> = before.collect();
    let twice = bad.iter().filter(|bad| all.contains(bad)).count() as u64;
    let new: Vec<BadRecord> = bad.into_iter().filter(|bad| !all.contains(bad)).collect();
    all.extend(new);
    ((open.counts.bad.saturating_add(count)).saturating_sub(twice), all)
}

/// Adds up counts.
pub fn sum(a: &Counts, b: &Counts) -> Counts {
    Counts {
        read: a.read.saturating_add(b.read),
        added: a.added.saturating_add(b.added),
        changed: a.changed.saturating_add(b.changed),
        touched: a.touched.saturating_add(b.touched),
        unchanged: a.unchanged.saturating_add(b.unchanged),
        deleted: a.deleted.saturating_add(b.deleted),
        healed: a.healed.saturating_add(b.healed),
        moved: a.moved.saturating_add(b.moved),
        duplicates: a.duplicates.saturating_add(b.duplicates),
        bad: a.bad.saturating_add(b.bad),
    }
}
