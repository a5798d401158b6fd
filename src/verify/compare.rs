//! Comparing a snapshot with what a source holds: partition by partition, each record by its hash.

use crate::backup::Inbox;
use crate::control::Control;
use crate::error::Result;
use crate::record::{
    BinRef, Body, Digest, PARTITIONS, ParticleType, PartitionId, RecordBatch, RecordMeta, RecordView, Timestamp,
    geojson_text,
};
use crate::repository::Snapshot;
use crate::repository::{Selection, SelectionWalk};
use crate::restore::{Expiry, Marks, RestoreOptions, RestoreReport, only_set};
use crate::run::{Entry, LiveEntry, Losses, ValueReader};
use crate::setters::setters;
use crate::sources::{MetSets, PartitionedSource, RecordSource, SourceShape};
use crate::spool::{PartitionRecords, Sorter};
use crate::targets::{ConflictPolicy, RecordTarget};
use rayon::prelude::*;
use std::borrow::Cow;

/// Records of a source without order are held in memory up to about this many bytes.
const MEMORY_BYTES: usize = 768 << 20;
/// Partitions that are in memory at once, for each thread that reads.
const AT_ONCE: usize = 2;

/// What is compared, and what counts as a difference.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct CompareOptions {
    /// Which records.
    pub selection: Selection,
    /// The namespace's name in the source; its own if not given.
    pub rename: Option<String>,
    /// Whether records that the source has and the selection lacks are a difference.
    pub others_differ: bool,
    /// Whether that holds in the selected partitions alone, and nothing is known of the others.
    pub within: bool,
    /// Whether bins that the source's record has beside the snapshot's are no difference.
    pub more_bins: bool,
    /// When the source's records should expire.
    pub expiry: Expiry,
    /// Records, by their place in key order, that the source need not have as they are in the snapshot.
    pub left_out: Marks,
}

setters!(CompareOptions {
    selection: Selection,
    others_differ: bool,
    within: bool,
    more_bins: bool,
    expiry: Expiry,
    left_out: Marks,
} into {
    rename: Option<String>,
});

/// How a snapshot's namespace and a source's compare.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Comparison {
    /// Records of the snapshot that were compared.
    pub records_in_snapshot: u64,
    /// Records of the source that were looked at.
    pub records_in_source: u64,
    /// Partitions with a difference.
    pub partitions_that_differ: u64,
    /// Records that the source lacks.
    pub only_in_snapshot: Vec<Digest>,
    /// Records that the source has beside those.
    pub only_in_source: Vec<Digest>,
    /// Records whose set, key or bins differ.
    pub changed: Vec<Digest>,
    /// Records that the source lacks since they have expired.
    pub expired: u64,
    /// Records that are the same but for the cells that servers derive from the text of GeoJSON values; no difference.
    pub other_cells: u64,
    /// What of the snapshot can't be read; records that may stand there are not compared.
    pub lost: Losses,
    /// Records whose bodies were needed to tell, and can't be read.
    pub unreadable: Vec<Digest>,
    /// The sets of the snapshot's namespace that were met, where sets were selected.
    pub sets: MetSets,
}

impl Comparison {
    /// Whether nothing differs and everything could be read.
    pub fn is_same(&self) -> bool {
        let lists = [&self.only_in_snapshot, &self.only_in_source, &self.changed];
        lists.iter().all(|list| list.is_empty()) && !self.is_damaged()
    }

    /// Whether something of the snapshot could not be read.
    pub fn is_damaged(&self) -> bool {
        !self.lost.is_empty() || !self.unreadable.is_empty()
    }

    fn add(&mut self, other: Comparison) {
        self.records_in_snapshot += other.records_in_snapshot;
        self.records_in_source += other.records_in_source;
        self.partitions_that_differ += other.partitions_that_differ;
        self.only_in_snapshot.extend(other.only_in_snapshot);
        self.only_in_source.extend(other.only_in_source);
        self.changed.extend(other.changed);
        self.expired += other.expired;
        self.other_cells += other.other_cells;
        self.unreadable.extend(other.unreadable);
    }
}

impl Snapshot {
    /// Compares a namespace with a source's: sets, keys and bins; generations and expiry are not compared.
    ///
    /// # Errors
    ///
    /// If the snapshot has no such namespace, the source can't be read, or the comparison was stopped.
    pub fn compare(&self, namespace: &str, source: &dyn RecordSource, options: &CompareOptions) -> Result<Comparison> {
        let control = &self.control;
        let _part = control.part(format!("comparing namespace {namespace} with {}", source.name())).entered();
        let view = self.namespace(namespace)?;
        let name = options.rename.as_deref().unwrap_or(namespace);
        let work = Comparing { snapshot: self, options, now: source.clock()?, control };
        let mut walk = SelectionWalk::new(view, Cow::Borrowed(&options.selection));
        let mut compared = match source.shape() {
            SourceShape::Stream(stream) => {
                let inbox = Inbox::new(Sorter::new(self.chunks()?.keys().clone(), MEMORY_BYTES), false, control);
                stream.read(name, &inbox, control)?;
                work.sorted(&mut walk, &inbox.sorter)?
            }
            SourceShape::Partitioned(source) => {
                let compared = work.partitioned(source, name, &mut walk)?;
                source.check_losses(name, &options.selection.selected_partitions().into_iter().collect())?;
                compared
            }
        };
        let damaged = walk.unreadable.iter().map(|(digest, _)| *digest);
        compared.unreadable.extend(damaged);
        compared.lost = walk.losses();
        compared.sets = walk.sets;
        Ok(compared)
    }

    /// Reads back what [`Snapshot::restore`] wrote and compares it with the snapshot: files as a whole, of a live
    /// target the restored records. Files must be finished. `None` if the target can't be read back.
    ///
    /// # Errors
    ///
    /// Those of [`Snapshot::compare`].
    pub fn verify_restored(
        &self,
        namespace: &str,
        target: &dyn RecordTarget,
        options: &RestoreOptions,
        report: &RestoreReport,
    ) -> Result<Option<Comparison>> {
        let set = only_set(&options.selection);
        let Some(source) = target.read_back(set)? else { return Ok(None) };
        let name = target.name_of(options.rename.as_deref().unwrap_or(namespace)).to_string();
        let compare = CompareOptions {
            selection: options.selection.clone(),
            rename: Some(name),
            others_differ: !target.is_live() || options.mirror,
            within: target.is_live(),
            more_bins: options.policy() == ConflictPolicy::Merge,
            expiry: options.expiry,
            left_out: report.left_out.clone(),
        };
        self.compare(namespace, &*source, &compare).map(Some)
    }
}

/// What two records with different hashes turn out to be.
enum Look {
    Same,
    OtherCells,
    Changed,
    Unreadable,
}

struct Comparing<'a> {
    snapshot: &'a Snapshot,
    options: &'a CompareOptions,
    now: Timestamp,
    control: &'a Control,
}

impl Comparing<'_> {
    fn sorted(&self, walk: &mut SelectionWalk<'_>, sorter: &Sorter) -> Result<Comparison> {
        let (mut all, mut place) = (Comparison::default(), 0);
        self.control.begin_phase("comparing", u64::from(PARTITIONS));
        let selected = self.options.selection.selected_partitions();
        for partition in PartitionId::all() {
            self.control.check()?;
            self.control.add_done(1);
            let theirs = sorter.take(partition)?;
            if selected.binary_search(&partition).is_err() {
                if self.options.others_differ && !self.options.within {
                    theirs.try_each(|record, _| {
                        all.only_in_source.push(record.meta.digest);
                        Ok(())
                    })?;
                    all.partitions_that_differ += u64::from(!theirs.is_empty());
                }
                continue;
            }
            let ours = walk.take(partition)?;
            let part = self.partition(&ours, place, &theirs)?;
            place += ours.len() as u64;
            all.add(known(part, walk));
        }
        Ok(all)
    }

    fn partitioned(
        &self,
        source: &dyn PartitionedSource,
        name: &str,
        walk: &mut SelectionWalk<'_>,
    ) -> Result<Comparison> {
        let (mut all, mut place) = (Comparison::default(), 0);
        let by_digest = self.options.selection.digests.as_ref();
        let partitions = self.options.selection.selected_partitions();
        self.control.begin_phase("comparing", partitions.len() as u64);
        if by_digest.is_none() {
            let wanted: Vec<_> = partitions.iter().map(|partition| (*partition, None)).collect();
            source.prepare(name, &wanted);
        }
        for some in partitions.chunks(AT_ONCE * rayon::current_num_threads().max(1)) {
            let read = some.par_iter().map(|&partition| {
                self.control.check()?;
                Ok(if by_digest.is_some() { PartitionRecords::default() } else { self.scan(source, name, partition)? })
            });
            let theirs: Vec<PartitionRecords> = read.collect::<Result<_>>()?;
            for (&partition, mut theirs) in some.iter().zip(theirs) {
                self.control.add_done(1);
                let ours = walk.take(partition)?;
                if let Some(digests) = by_digest {
                    let here = digests.iter().filter(|digest| digest.partition() == partition);
                    let digests: Vec<Digest> = here.copied().collect();
                    source.read(name, &digests, &mut |batch| theirs.push(self.snapshot.chunks()?.keys(), batch))?;
                    theirs.sort()?;
                }
                let part = self.partition(&ours, place, &theirs)?;
                place += ours.len() as u64;
                all.add(known(part, walk));
            }
        }
        Ok(all)
    }

    fn scan(&self, source: &dyn PartitionedSource, name: &str, partition: PartitionId) -> Result<PartitionRecords> {
        let mut records = PartitionRecords::default();
        source.scan(name, partition, None, &mut |batch| {
            self.control.add_records(batch.len() as u64);
            records.push(self.snapshot.chunks()?.keys(), batch)
        })?;
        records.sort()?;
        Ok(records)
    }

    /// Compares one partition; `place` is that of its first entry.
    fn partition(&self, ours: &[Entry], place: u64, theirs: &PartitionRecords) -> Result<Comparison> {
        let mut part = Comparison { records_in_source: theirs.len() as u64, ..Comparison::default() };
        let mut values = ValueReader::new(self.snapshot.chunks()?);
        fn live((place, entry): (u64, &Entry)) -> Option<(u64, Digest, &LiveEntry)> {
            Some((place, entry.digest, entry.live.as_ref()?))
        }
        let mut ours = (place..).zip(ours).filter_map(live).peekable();
        let counts = |place| !self.options.left_out.contains(place);
        let lacks = |live: &LiveEntry, digest, part: &mut Comparison| {
            part.records_in_snapshot += 1;
            match self.options.expiry.of(live.void_time).is_expired(self.now) {
                true => part.expired += 1,
                false => part.only_in_snapshot.push(digest),
            }
        };
        theirs.try_each(|record, hash| {
            let RecordMeta { digest, .. } = record.meta;
            while let Some((place, digest, live)) = ours.next_if(|(_, ours, _)| ours.sort_key() < digest.sort_key()) {
                if counts(place) {
                    lacks(live, digest, &mut part);
                }
            }
            match ours.next_if(|(_, ours, _)| *ours == digest) {
                None if self.options.others_differ => part.only_in_source.push(digest),
                Some((place, _, live)) if counts(place) => {
                    part.records_in_snapshot += 1;
                    let same = hash == live.hash;
                    match if same { Look::Same } else { self.look(&mut values, &digest, live, record)? } {
                        Look::Same => {}
                        Look::OtherCells => part.other_cells += 1,
                        Look::Changed => part.changed.push(digest),
                        Look::Unreadable => part.unreadable.push(digest),
                    }
                }
                _ => {}
            }
            Ok(())
        })?;
        for (_, digest, live) in ours.filter(|(place, ..)| counts(*place)) {
            lacks(live, digest, &mut part);
        }
        Ok(part)
    }

    /// Looks into two records whose hashes differ.
    fn look(
        &self,
        values: &mut ValueReader<'_>,
        digest: &Digest,
        live: &LiveEntry,
        theirs: &RecordView<'_>,
    ) -> Result<Look> {
        let Ok(their_body) = theirs.parse() else { return Ok(Look::Changed) };
        let geojson = |bins: &[BinRef<'_>]| bins.iter().any(|bin| bin.particle == ParticleType::GEOJSON);
        let parts_count = self.options.selection.bins.is_some() || self.options.more_bins;
        if theirs.meta.set != &live.set[..] || !parts_count && !geojson(their_body.bins()) {
            return Ok(Look::Changed);
        }
        let body = match values.body(live) {
            Ok(body) => body,
            Err(error) if error.is_of_one_object() => return Ok(Look::Unreadable),
            Err(error) => return Err(error),
        };
        let meta =
            RecordMeta { digest: *digest, set: &live.set, generation: live.generation, void_time: live.void_time };
        let mut ours = RecordBatch::new();
        let record = RecordView { meta, body, bin_order: &live.bin_order };
        let selected = self.options.selection.push_to(&record, &mut ours);
        // Of a record that has none of the bins a source delivers nothing but that it is there.
        if matches!(selected, Ok(false)) && their_body.bins().is_empty() {
            return Ok(Look::Same);
        }
        let (Ok(true), Some(record)) = (selected, ours.get(0)) else { return Ok(Look::Changed) };
        let Ok(our_body) = record.parse() else { return Ok(Look::Unreadable) };
        Ok(self.look_at_bins(&our_body, &their_body))
    }

    fn look_at_bins(&self, ours: &Body<'_>, theirs: &Body<'_>) -> Look {
        // A merge leaves the key that is there where none was stored.
        let key_is_ours = ours.key() == theirs.key() || self.options.more_bins && ours.key().is_none();
        if !key_is_ours || !self.options.more_bins && ours.bins().len() != theirs.bins().len() {
            return Look::Changed;
        }
        let mut look = Look::Same;
        for bin in ours.bins() {
            let at = theirs.bins().binary_search_by_key(&bin.name, |other| other.name);
            match at.ok().and_then(|at| theirs.bins().get(at)) {
                Some(other) if other == bin => {}
                Some(other) if is_same_geojson(bin, other) => look = Look::OtherCells,
                _ => return Look::Changed,
            }
        }
        look
    }
}

/// Whether two values are GeoJSON with the same text.
fn is_same_geojson(a: &BinRef<'_>, b: &BinRef<'_>) -> bool {
    let both = [a, b].iter().all(|bin| bin.particle == ParticleType::GEOJSON);
    both && geojson_text(a.bytes).is_some_and(|text| geojson_text(b.bytes) == Some(text))
}

/// Leaves out the source's records of which the snapshot can't tell whether it holds them.
fn known(mut part: Comparison, walk: &SelectionWalk<'_>) -> Comparison {
    part.only_in_source.retain(|digest| !walk.is_unknown(digest));
    let differences = part.only_in_snapshot.len() + part.only_in_source.len() + part.changed.len();
    part.partitions_that_differ += u64::from(differences > 0);
    part
}
