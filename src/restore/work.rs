//! The work of one restore: one thread walks the entries, several read values and hand them to the target.

use super::report::{RestoreOptions, RestoreReport, only_set};
use crate::control::Control;
use crate::crypto::keys::RecordKey;
use crate::error::{Error, Result};
use crate::format::header::Class;
use crate::record::{
    BinRef, Digest, Generation, ParticleType, PartitionId, RecordBatch, RecordMeta, RecordView, Timestamp, VoidTime,
    geojson_text,
};
use crate::repository::NamespaceView;
use crate::repository::SelectionWalk;
use crate::repository::Snapshot;
use crate::run::{Entry, LiveEntry, RecordHash, ValueReader, wrong_hash};
use crate::sources::{RecordSource, partitioned};
use crate::sync::lock;
use crate::targets::{ConflictPolicy, Fate, RecordTarget};
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::Mutex;

/// Bodies of about this many bytes go to the target at once.
const BATCH_BYTES: u64 = 1 << 20;
/// Threads that read values of a store that is far away.
const FAR_THREADS: usize = 16;
/// What is written with a time to live expires within so many seconds of the time that was meant: clocks count full
/// seconds, and a batch takes a while.
const EXPIRY_TOLERANCE: u32 = 3;

/// An entry and its place among those that were selected.
type Placed = (u64, Entry);

/// What the target holds under a digest.
struct There {
    /// The record's hash, and the one that it has without the cells that servers derive from GeoJSON.
    hashes: [Option<RecordHash>; 2],
    generation: Generation,
    void_time: VoidTime,
}

pub(crate) struct Restoring<'a> {
    snapshot: &'a Snapshot,
    target: &'a dyn RecordTarget,
    name: &'a str,
    now: Option<Timestamp>,
    options: &'a RestoreOptions,
    /// Nothing is written: the target says what would be.
    only_look: bool,
    control: &'a Control,
    /// The target, to look at what it has, where that decides what is written.
    there: Option<Box<dyn RecordSource>>,
    report: Mutex<RestoreReport>,
    error: Mutex<Option<Error>>,
}

impl<'a> Restoring<'a> {
    pub fn new(
        snapshot: &'a Snapshot,
        target: &'a dyn RecordTarget,
        name: &'a str,
        options: &'a RestoreOptions,
        only_look: bool,
    ) -> Result<Self> {
        // Who only looks can't learn from the target's answers what it has.
        let asks = matches!(options.policy(), ConflictPolicy::Keep | ConflictPolicy::Newer);
        let looks = options.resume || only_look && asks && target.is_live();
        Ok(Restoring {
            snapshot,
            target,
            name,
            now: if target.is_live() { Some(target.clock()?) } else { None },
            options,
            only_look,
            control: &snapshot.control,
            there: if looks { target.read_back(only_set(&options.selection))? } else { None },
            report: Mutex::default(),
            error: Mutex::default(),
        })
    }

    pub fn run(self, view: NamespaceView<'_>) -> Result<RestoreReport> {
        let processors = std::thread::available_parallelism().map_or(2, usize::from);
        // Of a store that is far away each thread mostly waits for values.
        let threads = if self.snapshot.chunks()?.store().is_far() { processors.max(FAR_THREADS) } else { processors };
        let (send, batches) = crossbeam_channel::bounded::<Vec<Placed>>(2 * threads);
        let fed = std::thread::scope(|scope| {
            for _ in 0..threads {
                let (batches, work) = (batches.clone(), &self);
                scope.spawn(move || {
                    for batch in batches {
                        if work.has_failed() {
                            continue;
                        }
                        if let Err(error) = work.write(&batch) {
                            let mut first = lock(&work.error);
                            *first = first.take().or(Some(error));
                        }
                    }
                });
            }
            drop(batches);
            let fed = self.feed(view, &|batch| {
                self.control.check()?;
                if self.has_failed() || send.send(batch).is_err() {
                    return Err(Error::Cancelled);
                }
                Ok(())
            });
            // The writers end once nobody can send to them any more.
            drop(send);
            fed
        });
        if let Some(error) = lock(&self.error).take() {
            return Err(error);
        }
        let fed = fed?;
        let mut report = std::mem::take(&mut *lock(&self.report));
        report.add(fed);
        Ok(report)
    }

    fn has_failed(&self) -> bool {
        lock(&self.error).is_some()
    }

    /// Hands over the selected entries in batches; reports the digests that were not found, and what could not be read.
    fn feed(&self, view: NamespaceView<'_>, send: &dyn Fn(Vec<Placed>) -> Result<()>) -> Result<RestoreReport> {
        let (mut batch, mut bytes, mut report) = (Vec::new(), 0, RestoreReport::default());
        let selection = &self.options.selection;
        let mut walk = SelectionWalk::new(view, Cow::Borrowed(selection));
        let mut place = 0;
        if let Some(there) = self.there.as_deref().filter(|_| self.options.resume && selection.digests.is_none()) {
            let wanted: Vec<_> =
                selection.selected_partitions().into_iter().map(|partition| (partition, None)).collect();
            partitioned(there)?.prepare(self.target.name_of(self.name), &wanted);
        }
        for partition in selection.selected_partitions() {
            let entries = walk.take(partition)?;
            let there = match &self.there {
                // What is read ahead is taken in any case, or it would stay in the way.
                Some(there) if !entries.is_empty() || selection.digests.is_none() => {
                    Some(self.look(&**there, partition, &entries)?)
                }
                _ => None,
            };
            for entry in entries {
                let own = place;
                place += 1;
                if let Some(there) = &there
                    && self.is_settled(&entry, there, own, &mut report)
                {
                    continue;
                }
                bytes += entry.live.as_ref().map_or(0, |live| u64::from(live.place.length) + 64);
                batch.push((own, entry));
                if bytes >= BATCH_BYTES {
                    bytes = 0;
                    send(std::mem::take(&mut batch))?;
                }
            }
        }
        if !batch.is_empty() {
            send(batch)?;
        }
        for (digest, error) in &walk.unreadable {
            report.read += 1;
            report.fail_damaged(*digest, error);
        }
        report.lost = walk.losses();
        report.not_found = walk.not_found;
        report.sets = walk.sets;
        Ok(report)
    }

    /// What the target holds of a partition.
    fn look(
        &self,
        source: &dyn RecordSource,
        partition: PartitionId,
        entries: &[Entry],
    ) -> Result<HashMap<Digest, There>> {
        let (source, name) = (partitioned(source)?, self.target.name_of(self.name));
        let hasher = self.snapshot.chunks()?.keys().records()?;
        let mut found = HashMap::new();
        if !self.options.resume {
            source.walk(name, partition, None, &mut |rows| {
                found.extend(rows.iter().map(|row| {
                    let there = There { hashes: [None; 2], generation: row.generation, void_time: row.void_time };
                    (row.digest, there)
                }));
                Ok(())
            })?;
            return Ok(found);
        }
        let mut each = |batch: RecordBatch| {
            found.extend(batch.iter().map(|record| {
                let RecordMeta { digest, set, generation, void_time } = record.meta;
                let hashes = [Some(hasher.hash(set, record.body)), hash_without_cells(hasher, &record)];
                (digest, There { hashes, generation, void_time })
            }));
            self.control.check()
        };
        match self.options.selection.digests {
            None => source.scan(name, partition, None, &mut each)?,
            Some(_) => {
                let digests: Vec<Digest> = entries.iter().map(|entry| entry.digest).collect();
                source.read(name, &digests, &mut each)?;
            }
        }
        Ok(found)
    }

    /// Whether what the target holds decides that a record is not to be written; counts it then.
    fn is_settled(
        &self,
        entry: &Entry,
        there: &HashMap<Digest, There>,
        place: u64,
        report: &mut RestoreReport,
    ) -> bool {
        let Some((live, there)) = entry.live.as_ref().zip(there.get(&entry.digest)) else { return false };
        let is_same = there.hashes.contains(&Some(live.hash));
        if is_same && expires_alike(there.void_time, self.options.expiry.of(live.void_time)) {
            report.same += 1;
        } else if !self.only_look || self.is_expired(live) {
            return false;
        } else {
            match self.options.policy().fate(Some(there.generation), live.generation) {
                Fate::Written => return false,
                Fate::Exists => report.exists += 1,
                Fate::Fresher => report.fresher += 1,
            }
            report.left_out.set(place);
        }
        report.read += 1;
        self.control.add_records(1);
        true
    }

    fn is_expired(&self, live: &LiveEntry) -> bool {
        self.now.is_some_and(|now| self.options.expiry.of(live.void_time).is_expired(now))
    }

    fn write(&self, entries: &[Placed]) -> Result<()> {
        let mut report = RestoreReport::default();
        let batch = self.gather(entries, &mut report)?;
        self.control.check()?;
        if !batch.is_empty() {
            let policy = self.options.policy();
            let outcome = match self.only_look {
                true => self.target.preview_write(self.name, &batch, policy)?,
                false => self.target.write(self.name, &batch, policy)?,
            };
            let failed = outcome.failed.iter().map(|failed| failed.digest);
            let left_out: Vec<Digest> = outcome.left_alone.into_iter().chain(failed).collect();
            self.mark(entries, left_out, &mut report);
            report.written = outcome.written;
            report.expired += outcome.expired;
            report.exists = outcome.exists;
            report.fresher = outcome.fresher;
            outcome.failed.into_iter().for_each(|failed| report.fail(failed));
        }
        self.control.add_records(report.read);
        self.control.add_bytes_out(report.bytes);
        lock(&self.report).add(report);
        Ok(())
    }

    /// The records of the entries, as they are to be written.
    fn gather(&self, entries: &[Placed], report: &mut RestoreReport) -> Result<RecordBatch> {
        let mut batch = RecordBatch::with_capacity(64 << 10, entries.len());
        let chunks = self.snapshot.chunks()?;
        if chunks.store().is_far() {
            let mut seen = HashSet::new();
            let live = entries.iter().filter_map(|(_, entry)| entry.live.as_ref());
            let ids = live.flat_map(|live| live.place.chunks()).filter(|id| seen.insert(**id));
            chunks.prefetch(&ids.copied().collect::<Vec<_>>(), Class::Data);
        }
        let mut values = ValueReader::new(chunks);
        let mut pushed = Vec::with_capacity(entries.len());
        for (place, entry) in entries {
            let Some(live) = &entry.live else { continue };
            report.read += 1;
            if self.is_expired(live) {
                report.expired += 1;
                report.left_out.set(*place);
                continue;
            }
            let before = batch.byte_len();
            match self.push(&mut values, &entry.digest, live, &mut batch) {
                Ok(true) => {
                    report.bytes += (batch.byte_len() - before).min(live.place.length as usize) as u64;
                    pushed.push((*place, live));
                }
                Ok(false) => {
                    report.without_bins += 1;
                    report.left_out.set(*place);
                }
                Err(error) if error.is_of_one_object() => {
                    report.fail_damaged(entry.digest, &error);
                    report.left_out.set(*place);
                }
                Err(error) => return Err(error),
            }
        }
        // Whole bodies are checked together, which takes far less time.
        Ok(if self.options.selection.bins.is_none() { self.checked(batch, &pushed, report)? } else { batch })
    }

    /// Adds what is wanted of a record to a batch; `false` if that is nothing. A whole body is still to be checked.
    fn push(
        &self,
        values: &mut ValueReader<'_>,
        digest: &Digest,
        live: &LiveEntry,
        batch: &mut RecordBatch,
    ) -> Result<bool> {
        let void_time = self.options.expiry.of(live.void_time);
        let selection = &self.options.selection;
        if selection.bins.is_none() {
            return values.push_unchecked(*digest, live, void_time, batch).map(|()| true);
        }
        let meta = RecordMeta { digest: *digest, set: &live.set, generation: live.generation, void_time };
        let record = RecordView { meta, body: values.body(live)?, bin_order: &live.bin_order };
        let pushed = selection.push_to(&record, batch);
        pushed.map_err(|error| Error::damaged(format!("record {digest}"), error.to_string()))
    }

    /// Leaves out the records whose bodies have other hashes than their entries say.
    fn checked(
        &self,
        batch: RecordBatch,
        entries: &[(u64, &LiveEntry)],
        report: &mut RestoreReport,
    ) -> Result<RecordBatch> {
        let hashes = self.snapshot.chunks()?.keys().records()?.hashes(&batch);
        let is_right = |(hash, (_, live)): (&RecordHash, &(u64, &LiveEntry))| *hash == live.hash;
        if hashes.iter().zip(entries).all(is_right) {
            return Ok(batch);
        }
        let mut right = RecordBatch::with_capacity(batch.byte_len(), batch.len());
        for (record, (hash, (place, live))) in batch.iter().zip(hashes.iter().zip(entries)) {
            // What one batch took, another does.
            if *hash == live.hash && right.push_encoded(record.meta, record.body, record.bin_order).is_ok() {
                continue;
            }
            report.bytes = report.bytes.saturating_sub(record.body.len() as u64);
            report.fail_damaged(record.meta.digest, &wrong_hash(&live.place));
            report.left_out.set(*place);
        }
        Ok(right)
    }

    fn mark(&self, entries: &[Placed], mut left_out: Vec<Digest>, report: &mut RestoreReport) {
        if left_out.is_empty() {
            return;
        }
        left_out.sort_unstable();
        let places = entries.iter().filter(|(_, entry)| left_out.binary_search(&entry.digest).is_ok());
        places.for_each(|(place, _)| report.left_out.set(*place));
    }
}

/// The hash of a record as files hold it, if it has GeoJSON with cells.
fn hash_without_cells(hasher: &RecordKey, record: &RecordView<'_>) -> Option<RecordHash> {
    let body = record.parse().ok()?;
    let is_geojson = |bin: &BinRef<'_>| bin.particle == ParticleType::GEOJSON;
    if !body.bins().iter().any(is_geojson) {
        return None;
    }
    let plain = |bin: &BinRef<'_>| Some([&[0; 3][..], geojson_text(bin.bytes)?].concat());
    let texts: Vec<Option<Vec<u8>>> =
        body.bins().iter().map(|bin| if is_geojson(bin) { plain(bin) } else { None }).collect();
    let bins: Vec<BinRef<'_>> = body
        .bins()
        .iter()
        .zip(&texts)
        .map(|(bin, text)| BinRef { bytes: text.as_deref().unwrap_or(bin.bytes), ..*bin })
        .collect();
    let mut batch = RecordBatch::new();
    batch.push(record.meta, body.key(), &bins).ok()?;
    batch.get(0).map(|plain| hasher.hash(record.meta.set, plain.body))
}

/// Whether a record that expires at `is` was written to expire at `meant`.
fn expires_alike(is: VoidTime, meant: VoidTime) -> bool {
    let never = VoidTime::NEVER;
    (is == never) == (meant == never) && is.0.abs_diff(meant.0) <= EXPIRY_TOLERANCE
}
