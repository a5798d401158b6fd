//! A part of a source that can't select for itself: files and embedded stores.

use super::sets::{self, MetSets, listed};
use super::{BadRecord, DigestRow, PartitionedSource, RecordSink, RecordSource, SourceShape, Standing, StreamSource};
use crate::control::Control;
use crate::error::{Error, Result};
use crate::record::RecordSelection;
use crate::record::{Digest, NamespaceMetadata, PartitionId, PartitionSet, RecordBatch, Timestamp};
use crate::sync::lock;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Mutex;

/// The selected records of a source, with the selected bins. A filter expression, which only servers can evaluate, is
/// not applied: callers refuse it.
pub struct Selected {
    source: Box<dyn RecordSource>,
    selection: RecordSelection,
    digests: BTreeSet<Digest>,
    /// What was met of each namespace.
    met: Mutex<BTreeMap<String, Met>>,
}

/// What of a namespace was met.
#[derive(Clone, Default)]
struct Met {
    /// The sets, if some were selected.
    sets: MetSets,
    /// The selected bins.
    bins: BTreeSet<Vec<u8>>,
    /// Selected records.
    records: u64,
}

impl Selected {
    /// The selected part of a source; the source itself if all is selected.
    pub fn of(source: Box<dyn RecordSource>, selection: RecordSelection) -> Box<dyn RecordSource> {
        if selection == RecordSelection::default() {
            return source;
        }
        let digests = selection.digests.iter().copied().collect();
        Box::new(Selected { source, selection, digests, met: Mutex::default() })
    }

    fn takes(&self, digest: &Digest, set: &[u8]) -> bool {
        self.selection.has_set(set)
            && self.selection.partitions.is_none_or(|partitions| partitions.contains(digest.partition()))
            && (self.digests.is_empty() || self.digests.contains(digest))
    }

    /// The selected records of a batch.
    fn only(&self, namespace: &str, batch: RecordBatch) -> Result<RecordBatch> {
        let mut met = Met::default();
        let is_whole = self.selection.bins.is_empty()
            && batch.iter().all(|record| self.takes(&record.meta.digest, record.meta.set));
        let mut own = RecordBatch::new();
        for record in batch.iter() {
            let (digest, set) = (record.meta.digest, record.meta.set);
            if !self.selection.sets.is_empty() {
                met.sets.note(set, self.selection.has_set(set));
            }
            if is_whole {
                continue;
            }
            if !self.takes(&digest, set) {
                continue;
            }
            let pushed = if self.selection.bins.is_empty() {
                own.push_encoded(record.meta, record.body, record.bin_order)
            } else {
                record.parse().and_then(|body| {
                    let mut bins = record.in_source_order(body.bins());
                    bins.retain(|bin| self.selection.bins.iter().any(|name| name == bin.name));
                    for bin in &bins {
                        if !met.bins.contains(bin.name) {
                            met.bins.insert(bin.name.to_vec());
                        }
                    }
                    own.push(record.meta, body.key(), &bins)
                })
            };
            pushed.map_err(|error| Error::invalid(format!("record {digest} of {}: {error}", self.source.name())))?;
        }
        let own = if is_whole { batch } else { own };
        met.records = own.len() as u64;
        self.note(namespace, met);
        Ok(own)
    }

    fn note(&self, namespace: &str, met: Met) {
        let mut all = lock(&self.met);
        let known = all.entry(namespace.to_string()).or_default();
        known.sets.add(met.sets);
        known.bins.extend(met.bins);
        known.records += met.records;
    }

    /// The sets in the partitions that were not selected, of a source that delivers single ones; nothing if they can't
    /// be told.
    fn sets_elsewhere(&self, namespace: &str) -> Option<MetSets> {
        let mut met = MetSets::default();
        if let (SourceShape::Partitioned(source), Some(selected)) = (self.source.shape(), self.selection.partitions) {
            for partition in source.partitions().iter().filter(|partition| !selected.contains(*partition)) {
                let scanned = source.scan(namespace, partition, None, &mut |batch| {
                    let sets = batch.iter().map(|record| record.meta.set);
                    sets.for_each(|set| met.note(set, self.selection.has_set(set)));
                    Ok(())
                });
                scanned.ok()?;
            }
        }
        Some(met)
    }

    fn partitioned(&self) -> Result<&dyn PartitionedSource> {
        match self.source.shape() {
            SourceShape::Partitioned(source) => Ok(source),
            SourceShape::Stream(_) => {
                Err(Error::invalid(format!("{} can't be read partition by partition", self.source.name())))
            }
        }
    }
}

impl RecordSource for Selected {
    fn name(&self) -> &str {
        self.source.name()
    }

    fn cluster(&self) -> Option<String> {
        self.source.cluster()
    }

    fn namespaces(&self) -> Result<Vec<String>> {
        self.source.namespaces()
    }

    fn clock(&self) -> Result<Timestamp> {
        self.source.clock()
    }

    fn metadata(&self, namespace: &str) -> Result<NamespaceMetadata> {
        self.source.metadata(namespace)
    }

    fn selection(&self) -> String {
        self.selection.name()
    }

    fn unfound(&self, namespace: &str) -> Option<String> {
        let mut met = lock(&self.met).get(namespace).cloned().unwrap_or_default();
        if !met.sets.lacking(&self.selection.sets).is_empty() {
            // They may be in the partitions that were not asked for.
            met.sets.add(self.sets_elsewhere(namespace)?);
        }
        let lacking = met.sets.lacking(&self.selection.sets);
        if !lacking.is_empty() {
            let is_one = lacking.len() == 1;
            return Some(sets::unknown(&listed(lacking.into_iter()), is_one, namespace, &met.sets.to_string()));
        }
        let lacking: Vec<&Vec<u8>> = self.selection.bins.iter().filter(|bin| !met.bins.contains(*bin)).collect();
        if !lacking.is_empty() && met.records > 0 {
            let bins = if lacking.len() == 1 { "bin" } else { "bins" };
            return Some(format!(
                "no selected record of namespace {namespace} has the {bins} {}",
                listed(lacking.into_iter().map(Vec::as_slice))
            ));
        }
        None
    }

    fn standing(&self, namespace: &str) -> Result<Option<Standing>> {
        self.source.standing(namespace)
    }

    fn notes(&self) -> Vec<String> {
        self.source.notes()
    }

    fn holds_changes_only(&self) -> Option<String> {
        self.source.holds_changes_only()
    }

    fn shape(&self) -> SourceShape<'_> {
        match self.source.shape() {
            SourceShape::Stream(_) => SourceShape::Stream(self),
            SourceShape::Partitioned(_) => SourceShape::Partitioned(self),
        }
    }
}

/// Hands on what is selected.
struct Sieve<'a> {
    selected: &'a Selected,
    namespace: &'a str,
    sink: &'a dyn RecordSink,
}

impl RecordSink for Sieve<'_> {
    fn records(&self, batch: RecordBatch) -> Result<()> {
        let own = self.selected.only(self.namespace, batch)?;
        if own.is_empty() { Ok(()) } else { self.sink.records(own) }
    }

    fn bad_record(&self, bad: BadRecord, error: Error) -> Result<()> {
        self.sink.bad_record(bad, error)
    }
}

impl StreamSource for Selected {
    fn read(&self, namespace: &str, sink: &dyn RecordSink, control: &Control) -> Result<()> {
        match self.source.shape() {
            SourceShape::Stream(source) => source.read(namespace, &Sieve { selected: self, namespace, sink }, control),
            SourceShape::Partitioned(_) => {
                Err(Error::invalid(format!("{} is read partition by partition", self.source.name())))
            }
        }
    }
}

impl PartitionedSource for Selected {
    fn partitions(&self) -> PartitionSet {
        let own = self.selection.selected_partitions();
        match self.partitioned() {
            Ok(source) => source.partitions().iter().filter(|partition| own.contains(*partition)).collect(),
            Err(_) => own,
        }
    }

    fn prepare(&self, namespace: &str, wanted: &[(PartitionId, Option<Timestamp>)]) {
        if let Ok(source) = self.partitioned() {
            source.prepare(namespace, wanted);
        }
    }

    fn scan(
        &self,
        namespace: &str,
        partition: PartitionId,
        since: Option<Timestamp>,
        each: &mut dyn FnMut(RecordBatch) -> Result<()>,
    ) -> Result<()> {
        self.partitioned()?.scan(namespace, partition, since, &mut |batch| {
            let own = self.only(namespace, batch)?;
            if own.is_empty() { Ok(()) } else { each(own) }
        })
    }

    /// Digests don't say of which set they are: where sets are selected, the records are read.
    fn walk(
        &self,
        namespace: &str,
        partition: PartitionId,
        before: Option<Timestamp>,
        each: &mut dyn FnMut(&[DigestRow]) -> Result<()>,
    ) -> Result<()> {
        let mut of_sets = HashSet::new();
        if !self.selection.sets.is_empty() {
            self.scan(namespace, partition, None, &mut |batch| {
                of_sets.extend(batch.iter().map(|record| record.meta.digest));
                Ok(())
            })?;
        }
        let takes = |digest: &Digest| match self.selection.sets.is_empty() {
            true => self.takes(digest, b""),
            false => of_sets.contains(digest),
        };
        self.partitioned()?.walk(namespace, partition, before, &mut |rows| {
            let own: Vec<DigestRow> = rows.iter().filter(|row| takes(&row.digest)).copied().collect();
            if own.is_empty() { Ok(()) } else { each(&own) }
        })
    }

    fn read(&self, namespace: &str, digests: &[Digest], each: &mut dyn FnMut(RecordBatch) -> Result<()>) -> Result<()> {
        self.partitioned()?.read(namespace, digests, &mut |batch| {
            let own = self.only(namespace, batch)?;
            if own.is_empty() { Ok(()) } else { each(own) }
        })
    }

    fn check_losses(&self, namespace: &str, partitions: &PartitionSet) -> Result<()> {
        self.partitioned()?.check_losses(namespace, partitions)
    }

    fn clock_margin_millis(&self) -> u64 {
        self.partitioned().map_or(0, PartitionedSource::clock_margin_millis)
    }

    fn take_bad_records(&self) -> (u64, Vec<BadRecord>) {
        self.partitioned().map_or((0, Vec::new()), PartitionedSource::take_bad_records)
    }
}
