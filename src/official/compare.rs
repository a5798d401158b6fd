//! Comparing a snapshot with a cluster that the official client reads: an opinion that is not ours.
//!
//! Nothing of the cluster is read by code of this project. A record is the same only if the client's values, written
//! again as the client would, are the snapshot's bytes; what the client would lose of the snapshot's record
//! ([`TypedLoss`](super::TypedLoss)) can't be the same, and is counted as not comparable. What the client hides of the
//! cluster's record alone can't be told: the order of a list, the index of a map, the payload of a NaN.

use super::client::{Bins, Error as ClientError, ErrorKind, Key, PartitionFilter, QueryPolicy, ReadPolicy};
use super::client::{Record, ResultCode, Value as ClientValue};
use super::cluster::clock;
use super::connect::Connected;
use super::convert::{to_client, to_particle};
use super::record::{Problem, view_to_client};
use super::scan::Scan;
use crate::error::Result;
use crate::record::{Digest, PARTITIONS, PartitionId, RecordBatch, RecordMeta, RecordView, Timestamp, VoidTime};
use crate::repository::{Selection, SelectionWalk, Snapshot};
use crate::run::{Entry, LiveEntry, Losses, ValueReader};
use crate::runtime::wait;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

/// About so many records of the snapshot are held against one query.
const RECORDS_OF_A_QUERY: u64 = 100_000;
/// Records of the cluster that are compared at once, in the order in which their values are stored.
const AT_ONCE: usize = 1000;
/// Times to live that are as far apart are the same: clocks count full seconds, and a restore takes a while.
const EXPIRY_TOLERANCE: u32 = 5;
/// Digests that are named of each reason why records are not comparable.
const NAMED: usize = 10;

/// What an independent comparison reads.
pub(crate) struct IndependentOptions {
    pub selection: Selection,
    /// The namespace's name in the cluster; its own if not given.
    pub rename: Option<String>,
    /// A filter expression, as servers read it; empty for none.
    pub filter: Vec<u8>,
}

/// How a snapshot's namespace and a cluster's compare, as the official client reads it.
#[derive(Clone, Debug, Default)]
pub(crate) struct IndependentComparison {
    pub records_in_snapshot: u64,
    pub records_in_source: u64,
    /// Records that are the same.
    pub same: u64,
    pub partitions_that_differ: u64,
    pub only_in_snapshot: Vec<Digest>,
    pub only_in_source: Vec<Digest>,
    /// Records whose set, key or bins differ.
    pub changed: Vec<Digest>,
    /// Records that are the same, but expire at another time.
    pub other_expiry: Vec<Digest>,
    /// Records whose key has another digest by the client's reckoning than they are stored under.
    pub other_digest: Vec<Digest>,
    /// Records that the cluster lacks since they have expired.
    pub expired: u64,
    /// What can't be compared: why, of how many records, and some of them by name.
    pub not_comparable: BTreeMap<String, (u64, Vec<Digest>)>,
    /// What of the snapshot can't be read.
    pub lost: Losses,
    /// Records of the snapshot whose bodies can't be read.
    pub unreadable: Vec<Digest>,
}

/// What two records turn out to be.
enum Verdict {
    Same,
    OtherExpiry,
    OtherDigest,
    Changed,
    Unreadable,
    NotComparable(String),
}

/// What the client tells of a record.
enum Theirs {
    Whole(Record),
    /// It is there, and the client can't decode its bins.
    Undecodable(Record),
}

impl Theirs {
    fn record(&self) -> &Record {
        match self {
            Theirs::Whole(record) | Theirs::Undecodable(record) => record,
        }
    }
}

/// The snapshot's entries of some partitions, which of them were met, and what the cluster has beside them.
struct Ours {
    partitions: BTreeMap<PartitionId, (Vec<Entry>, Vec<bool>)>,
    more: BTreeSet<Digest>,
}

impl Snapshot {
    /// Compares a namespace with what an official client reads of a cluster: sets, keys, bins, digests, and times to
    /// live within seconds.
    pub(crate) fn compare_independently(
        &self,
        namespace: &str,
        cluster: &Connected,
        options: &IndependentOptions,
    ) -> Result<IndependentComparison> {
        let view = self.namespace(namespace)?;
        let part = format!("comparing namespace {namespace} with what the official client reads of {}", cluster.name);
        let _part = self.control.part(part).entered();
        let name = options.rename.as_deref().unwrap_or(namespace);
        let mut policy = cluster.policy.clone();
        if !options.filter.is_empty() {
            let filter = super::client::expressions::from_packed_bytes(options.filter.clone());
            policy.base_policy.filter_expression = Some(filter);
        }
        let now = clock(&cluster.client).map_err(|problem| cluster.error(problem))?;
        let work = Comparing { snapshot: self, cluster, options, name, policy, now };
        let mut walk = SelectionWalk::new(view, Cow::Borrowed(&options.selection));
        let mut all = IndependentComparison::default();
        let partitions = options.selection.selected_partitions();
        self.control.begin_phase("comparing", partitions.len() as u64);
        let each = (view.live_records() / u64::from(PARTITIONS)).max(1);
        let at_once = usize::try_from(RECORDS_OF_A_QUERY / each).unwrap_or(1).clamp(1, usize::from(PARTITIONS));
        for some in runs(&partitions, at_once) {
            work.some(some, &mut walk, &mut all)?;
            self.control.add_done(some.len() as u64);
        }
        all.unreadable.extend(walk.unreadable.iter().map(|(digest, _)| *digest));
        all.lost = walk.losses();
        Ok(all)
    }
}

/// Partitions in pieces without gaps, of at most so many.
fn runs(partitions: &[PartitionId], most: usize) -> Vec<&[PartitionId]> {
    let without_gaps = partitions.chunk_by(|a, b| a.number() + 1 == b.number());
    without_gaps.flat_map(|run| run.chunks(most)).collect()
}

/// Whether the client could not decode what it was sent. All else is a matter of the cluster or the network.
fn is_undecodable(error: &ClientError) -> bool {
    matches!(error.kind(), ErrorKind::BadResponse | ErrorKind::InvalidUtf8(_))
        || error.cause().is_some_and(is_undecodable)
        || error.sub_errors().iter().any(is_undecodable)
}

struct Comparing<'a> {
    snapshot: &'a Snapshot,
    cluster: &'a Connected,
    options: &'a IndependentOptions,
    name: &'a str,
    policy: QueryPolicy,
    now: Timestamp,
}

impl Comparing<'_> {
    /// Compares partitions that follow each other.
    fn some(
        &self,
        partitions: &[PartitionId],
        walk: &mut SelectionWalk<'_>,
        all: &mut IndependentComparison,
    ) -> Result<()> {
        let Some(first) = partitions.first() else { return Ok(()) };
        let mut ours = Ours { partitions: BTreeMap::new(), more: BTreeSet::new() };
        for &partition in partitions {
            let entries = walk.take(partition)?;
            let met = vec![false; entries.len()];
            ours.partitions.insert(partition, (entries, met));
        }
        let mut part = IndependentComparison::default();
        let range = PartitionFilter::by_range(usize::from(first.number()), partitions.len());
        if !self.read(range, &mut ours, &mut part)? {
            // One record that the client can't decode ends a query: look where it is.
            for &partition in partitions {
                let one = PartitionFilter::by_id(usize::from(partition.number()));
                if !self.read(one, &mut ours, &mut part)? {
                    self.one_by_one(partition, &mut ours, &mut part)?;
                }
            }
        }
        part.only_in_source = ours.more.iter().copied().filter(|digest| !walk.is_unknown(digest)).collect();
        part.records_in_source += ours.more.len() as u64;
        self.add_absent(&ours, &mut part);
        all.add(part);
        Ok(())
    }

    /// Compares what the client reads of some partitions; `false` if it can't decode a record of them.
    fn read(&self, partitions: PartitionFilter, ours: &mut Ours, part: &mut IndependentComparison) -> Result<bool> {
        let mut together = Vec::new();
        let read = self.scan(&self.policy, self.bins()).read(partitions, &self.snapshot.control, |record| {
            together.push(Theirs::Whole(record));
            self.snapshot.control.add_records(1);
            match together.len() < AT_ONCE {
                true => Ok(()),
                false => self.compare(std::mem::take(&mut together), ours, part),
            }
        })?;
        self.compare(together, ours, part)?;
        self.is_whole(read)
    }

    /// The bins that are compared.
    fn bins(&self) -> Bins {
        let text = |name: &Vec<u8>| String::from_utf8_lossy(name).into_owned();
        self.options.selection.bins.as_ref().map_or(Bins::All, |names| Bins::Some(names.iter().map(text).collect()))
    }

    fn scan<'s>(&'s self, policy: &'s QueryPolicy, bins: Bins) -> Scan<'s> {
        // A query can be restricted to one set; what else was not selected is passed over.
        let set = self.options.selection.sets.as_ref().filter(|sets| sets.len() == 1);
        let set = set.and_then(|sets| std::str::from_utf8(sets.first()?).ok()).unwrap_or_default();
        Scan { client: &self.cluster.client, policy, namespace: self.name, set, bins }
    }

    /// Whether all was read; an error unless that is a matter of what the client can decode.
    fn is_whole(&self, read: Result<(), ClientError>) -> Result<bool> {
        match read {
            Ok(()) => Ok(true),
            Err(error) if is_undecodable(&error) => Ok(false),
            Err(error) => Err(self.cluster.error(error)),
        }
    }

    /// Compares a partition with a record that the client can't decode: each record is read on its own.
    fn one_by_one(&self, partition: PartitionId, ours: &mut Ours, part: &mut IndependentComparison) -> Result<()> {
        let one = PartitionFilter::by_id(usize::from(partition.number()));
        let policy = QueryPolicy { include_bin_data: false, ..self.policy.clone() };
        let mut heads = Vec::new();
        let read = self.scan(&policy, Bins::None).read(one, &self.snapshot.control, |record| {
            heads.push(record);
            Ok(())
        })?;
        if !self.is_whole(read)? {
            let reason = "a set's name or a key of their partition";
            let Some((entries, met)) = ours.partitions.get_mut(&partition) else { return Ok(()) };
            for (entry, met) in entries.iter().zip(met).filter(|(_, met)| !**met) {
                *met = true;
                part.records_in_snapshot += 1;
                part.note(entry.digest, Verdict::NotComparable(reason.into()));
            }
            return Ok(());
        }
        let single = ReadPolicy { base_policy: self.policy.base_policy.clone() };
        for some in heads.chunks(AT_ONCE) {
            let mut together = Vec::with_capacity(some.len());
            for head in some {
                self.snapshot.control.check()?;
                let Some(key) = &head.key else { continue };
                match wait(self.cluster.client.get(&single, key, self.bins()))? {
                    Ok(mut record) => {
                        record.key = head.key.clone();
                        together.push(Theirs::Whole(record));
                    }
                    Err(error) if is_undecodable(&error) => together.push(Theirs::Undecodable(head.clone())),
                    // It is gone meanwhile.
                    Err(error) if error.matches(&[ResultCode::KeyNotFoundError, ResultCode::FilteredOut]) => {}
                    Err(error) => return Err(self.cluster.error(error)),
                }
            }
            self.compare(together, ours, part)?;
        }
        Ok(())
    }

    /// Compares records, in the order in which the snapshot has its values.
    fn compare(&self, theirs: Vec<Theirs>, ours: &mut Ours, part: &mut IndependentComparison) -> Result<()> {
        let mut theirs: Vec<(Digest, Theirs)> =
            theirs.into_iter().filter_map(|one| Some((Digest(one.record().key.as_ref()?.digest()), one))).collect();
        theirs.sort_by_key(|(digest, _)| digest.sort_key());
        let mut values = ValueReader::new(self.snapshot.chunks()?);
        for (digest, theirs) in theirs {
            let set = theirs.record().key.as_ref().map(Key::set_name).unwrap_or_default();
            if !self.options.selection.takes(&digest, set.as_bytes()) {
                continue;
            }
            let found = ours.partitions.get_mut(&digest.partition()).and_then(|(entries, met)| {
                let place = entries.binary_search_by_key(&digest.sort_key(), |entry| entry.digest.sort_key()).ok()?;
                Some((entries.get(place)?.live.as_ref()?, met.get_mut(place)?))
            });
            match found {
                None => {
                    ours.more.insert(digest);
                }
                // The client may deliver a record twice.
                Some((_, met)) if *met => {}
                Some((live, met)) => {
                    *met = true;
                    part.records_in_snapshot += 1;
                    part.records_in_source += 1;
                    let verdict = self.verdict(&mut values, digest, live, &theirs)?;
                    part.note(digest, verdict);
                }
            }
        }
        Ok(())
    }

    fn verdict(
        &self,
        values: &mut ValueReader<'_>,
        digest: Digest,
        live: &LiveEntry,
        theirs: &Theirs,
    ) -> Result<Verdict> {
        let body = match values.body(live) {
            Ok(body) => body,
            Err(error) if error.is_of_one_object() => return Ok(Verdict::Unreadable),
            Err(error) => return Err(error),
        };
        let meta = RecordMeta { digest, set: &live.set, generation: live.generation, void_time: live.void_time };
        let whole = RecordView { meta, body, bin_order: &live.bin_order };
        let mut selected = RecordBatch::new();
        let record = theirs.record();
        match self.options.selection.push_to(&whole, &mut selected) {
            Ok(true) => {}
            // Of a record that has none of the bins there is nothing but that it is there.
            Ok(false) if matches!(theirs, Theirs::Whole(_)) && record.bins.is_empty() => return Ok(Verdict::Same),
            Ok(false) => return Ok(Verdict::Changed),
            Err(_) => return Ok(Verdict::Unreadable),
        }
        let Some(ours) = selected.get(0) else { return Ok(Verdict::Unreadable) };
        let (key, bins) = match view_to_client(self.name, &ours, |bin| to_client(bin.particle, bin.bytes)) {
            Ok(parts) => parts,
            Err(Problem::Damaged(_)) => return Ok(Verdict::Unreadable),
            Err(Problem::Loses { loss, .. }) => return Ok(Verdict::NotComparable(loss.to_string())),
        };
        let Theirs::Whole(record) = theirs else { return Ok(Verdict::Changed) };
        let Some(their_key) = &record.key else { return Ok(Verdict::Changed) };
        let same = key.set_name() == their_key.set_name()
            && same_value(key.user_key(), their_key.user_key())
            && bins.len() == record.bins.len()
            && bins.iter().all(|bin| same_value(Some(&bin.value), record.bins.get(&bin.name)));
        if !same {
            return Ok(Verdict::Changed);
        }
        if let Some(user_key) = their_key.user_key()
            && Key::new(self.name, their_key.set_name(), user_key.clone()).is_ok_and(|key| key.digest() != digest.0)
        {
            return Ok(Verdict::OtherDigest);
        }
        let (ours, theirs) = (live.void_time, VoidTime(record.expiration()));
        let far =
            (ours == VoidTime::NEVER) != (theirs == VoidTime::NEVER) || ours.0.abs_diff(theirs.0) > EXPIRY_TOLERANCE;
        Ok(if far { Verdict::OtherExpiry } else { Verdict::Same })
    }

    /// Counts the records of the snapshot that were not met.
    fn add_absent(&self, ours: &Ours, part: &mut IndependentComparison) {
        for (entries, met) in ours.partitions.values() {
            for (entry, _) in entries.iter().zip(met).filter(|(_, met)| !**met) {
                let Some(live) = &entry.live else { continue };
                part.records_in_snapshot += 1;
                match live.void_time.is_expired(self.now) {
                    true => part.expired += 1,
                    false => part.only_in_snapshot.push(entry.digest),
                }
            }
        }
    }
}

/// Whether the client would write the same bytes for both. Its own comparison of maps passes over their order.
fn same_value(ours: Option<&ClientValue>, theirs: Option<&ClientValue>) -> bool {
    match (ours, theirs) {
        (Some(ours), Some(theirs)) => {
            let (mut a, mut b) = (Vec::new(), Vec::new());
            let particles = (to_particle(ours, &mut a), to_particle(theirs, &mut b));
            matches!(particles, (Ok(ours), Ok(theirs)) if ours == theirs) && a == b
        }
        (ours, theirs) => ours.is_none() && theirs.is_none(),
    }
}

impl IndependentComparison {
    fn note(&mut self, digest: Digest, verdict: Verdict) {
        match verdict {
            Verdict::Same => self.same += 1,
            Verdict::OtherExpiry => self.other_expiry.push(digest),
            Verdict::OtherDigest => self.other_digest.push(digest),
            Verdict::Changed => self.changed.push(digest),
            Verdict::Unreadable => self.unreadable.push(digest),
            Verdict::NotComparable(reason) => {
                let (count, named) = self.not_comparable.entry(reason).or_default();
                *count += 1;
                if named.len() < NAMED {
                    named.push(digest);
                }
            }
        }
    }

    fn add(&mut self, part: IndependentComparison) {
        let differ =
            [&part.only_in_snapshot, &part.only_in_source, &part.changed, &part.other_expiry, &part.other_digest];
        let partitions: BTreeSet<PartitionId> = differ.into_iter().flatten().map(Digest::partition).collect();
        self.partitions_that_differ += partitions.len() as u64;
        self.records_in_snapshot += part.records_in_snapshot;
        self.records_in_source += part.records_in_source;
        self.same += part.same;
        self.expired += part.expired;
        self.only_in_snapshot.extend(part.only_in_snapshot);
        self.only_in_source.extend(part.only_in_source);
        self.changed.extend(part.changed);
        self.other_expiry.extend(part.other_expiry);
        self.other_digest.extend(part.other_digest);
        self.unreadable.extend(part.unreadable);
        for (reason, (count, digests)) in part.not_comparable {
            let (all, named) = self.not_comparable.entry(reason).or_default();
            *all += count;
            named.extend(digests.into_iter().take(NAMED.saturating_sub(named.len())));
        }
    }
}
