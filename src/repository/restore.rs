//! Restoring: entries in key order, values read and handed to the target by several threads; every record is accounted for.

use super::Snapshot;
use super::view::NamespaceView;
use crate::control::Control;
use crate::error::{Error, Result};
use crate::record::{Digest, RecordBatch, RecordMeta, Timestamp};
use crate::run::{Entry, Losses, ValueReader};
use crate::target::{ConflictPolicy, FailedRecord, RecordTarget};
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// Bodies of about this many bytes go to the target at once.
const BATCH_BYTES: u64 = 1 << 20;
/// Failed records that are kept by name; further ones are only counted.
const MAX_FAILED: usize = 1000;

/// Which records are restored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Selection {
    /// All of the namespace.
    #[default]
    All,
    /// Those of one set.
    Set(Vec<u8>),
    /// Those with these digests.
    Digests(BTreeSet<Digest>),
}

/// How records are restored.
#[derive(Clone, Debug, Default)]
pub struct RestoreOptions {
    /// Which records.
    pub selection: Selection,
    /// The namespace's name in the target; its own if not given.
    pub rename: Option<String>,
    /// What happens to records that the target has.
    pub conflict: ConflictPolicy,
    /// Leave out indexes and UDF modules.
    pub without_metadata: bool,
}

/// What became of every record. `read` is the sum of all the others but `selected_out`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RestoreReport {
    /// Records of the snapshot that were selected.
    pub read: u64,
    /// Records written.
    pub written: u64,
    /// Records skipped because they have expired.
    pub expired: u64,
    /// Records skipped because the target had them.
    pub exists: u64,
    /// Records skipped because the target's were as new or newer.
    pub fresher: u64,
    /// Records that could not be read or were refused.
    pub failed: u64,
    /// How many of those failed because the repository is damaged.
    pub damaged: u64,
    /// The first thousand of those that failed, with the reason.
    pub failures: Vec<FailedRecord>,
    /// What could not be read of the namespace's entries. These records are in none of the counts above.
    pub lost: Losses,
    /// How many records the snapshot says it holds and `read` lacks, where all were selected.
    pub records_lost: u64,
    /// Why the indexes and UDF modules could not be read, if so.
    pub metadata_lost: Option<String>,
    /// Wanted digests that the snapshot does not have.
    pub not_found: Vec<Digest>,
    /// Bytes of the bodies.
    pub bytes: u64,
}

impl RestoreReport {
    /// Whether every record is accounted for.
    pub fn adds_up(&self) -> bool {
        self.read == self.written + self.expired + self.exists + self.fresher + self.failed
    }

    /// Whether the repository turned out to be damaged: then some of what was selected was not restored. What was restored is
    /// right.
    pub fn is_damaged(&self) -> bool {
        self.damaged > 0 || self.records_lost > 0 || !self.lost.is_empty() || self.metadata_lost.is_some()
    }

    /// Adds another report to this one.
    pub fn add(&mut self, other: RestoreReport) {
        self.read += other.read;
        self.written += other.written;
        self.expired += other.expired;
        self.exists += other.exists;
        self.fresher += other.fresher;
        self.failed += other.failed;
        self.damaged += other.damaged;
        self.records_lost += other.records_lost;
        self.lost.add(&other.lost);
        self.metadata_lost = self.metadata_lost.take().or(other.metadata_lost);
        self.bytes += other.bytes;
        self.failures.extend(other.failures);
        self.failures.truncate(MAX_FAILED);
        self.not_found.extend(other.not_found);
    }

    fn fail(&mut self, failed: FailedRecord) {
        self.failed += 1;
        if self.failures.len() < MAX_FAILED {
            self.failures.push(failed);
        }
    }

    fn fail_damaged(&mut self, digest: Digest, error: &Error) {
        self.damaged += 1;
        self.fail(FailedRecord { digest, reason: error.to_string() });
    }
}

impl Snapshot {
    /// Restores the selected records of a namespace into a target. The caller ends with [`RecordTarget::finish`].
    ///
    /// Damage never stops it: whatever can be read for certain is restored, and the report says what was lost.
    pub fn restore(
        &self,
        namespace: &str,
        target: &dyn RecordTarget,
        options: &RestoreOptions,
        control: &Control,
    ) -> Result<RestoreReport> {
        let view = self.namespace(namespace)?;
        let name = options.rename.as_deref().unwrap_or(namespace);
        let (metadata, metadata_lost) = match view.metadata() {
            _ if options.without_metadata => Default::default(),
            Ok(metadata) => (metadata, None),
            Err(error) if error.is_of_one_object() => (Default::default(), Some(error.to_string())),
            Err(error) => return Err(error),
        };
        target.begin(name, &metadata)?;
        let work = Work {
            snapshot: self,
            target,
            name,
            now: if target.is_live() { Some(target.clock()?) } else { None },
            conflict: options.conflict,
            control,
            report: Mutex::default(),
            error: Mutex::default(),
        };
        let fed = work.run(&view, &options.selection)?;
        let mut report = work.report.into_inner().unwrap_or_else(PoisonError::into_inner);
        report.metadata_lost = metadata_lost;
        report.add(fed);
        if options.selection == Selection::All {
            let expected = view.manifest().live_records;
            report.records_lost = expected.saturating_sub(report.read);
            if report.read > expected || report.lost.is_empty() && report.records_lost > 0 {
                let found = format!("its runs hold {} records, its manifest says {expected}", report.read);
                return Err(Error::damaged(format!("namespace {namespace} of snapshot {}", self.id()), found));
            }
        }
        if !report.adds_up() {
            return Err(Error::invalid(format!("the restore's counts don't add up: {report:?}")));
        }
        Ok(report)
    }
}

struct Work<'a> {
    snapshot: &'a Snapshot,
    target: &'a dyn RecordTarget,
    name: &'a str,
    now: Option<Timestamp>,
    conflict: ConflictPolicy,
    control: &'a Control,
    report: Mutex<RestoreReport>,
    error: Mutex<Option<Error>>,
}

impl Work<'_> {
    fn run(&self, view: &NamespaceView<'_>, selection: &Selection) -> Result<RestoreReport> {
        let threads = std::thread::available_parallelism().map_or(2, usize::from);
        let (send, batches) = crossbeam_channel::bounded::<Vec<Entry>>(2 * threads);
        let fed = std::thread::scope(|scope| {
            for _ in 0..threads {
                let batches = batches.clone();
                scope.spawn(move || {
                    for batch in batches {
                        if self.has_failed() {
                            continue;
                        }
                        if let Err(error) = self.write(&batch) {
                            let mut first = self.error.lock().unwrap_or_else(PoisonError::into_inner);
                            *first = first.take().or(Some(error));
                        }
                    }
                });
            }
            drop(batches);
            let fed = self.feed(view, selection, &|batch| {
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
        match self.error.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(error) => Err(error),
            None => fed,
        }
    }

    fn has_failed(&self) -> bool {
        self.error.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Hands over the selected entries in batches; reports the digests that were not found, and what could not be read.
    fn feed(
        &self,
        view: &NamespaceView<'_>,
        selection: &Selection,
        send: &dyn Fn(Vec<Entry>) -> Result<()>,
    ) -> Result<RestoreReport> {
        let (mut batch, mut bytes, mut report) = (Vec::new(), 0, RestoreReport::default());
        let mut add = |entry: Entry| -> Result<()> {
            bytes += entry.live.as_ref().map_or(0, |live| u64::from(live.place.length) + 64);
            batch.push(entry);
            if bytes >= BATCH_BYTES {
                bytes = 0;
                send(std::mem::take(&mut batch))?;
            }
            Ok(())
        };
        if let Selection::Digests(digests) = selection {
            for digest in digests {
                match view.entry(digest) {
                    Ok(Some(live)) => add(Entry { digest: *digest, live: Some(live) })?,
                    Ok(None) => report.not_found.push(*digest),
                    Err(error) if error.is_of_one_object() => {
                        report.read += 1;
                        report.fail_damaged(*digest, &error);
                    }
                    Err(error) => return Err(error),
                }
            }
        } else {
            let mut entries = view.readable_entries()?;
            while let Some(entry) = entries.next()? {
                let selected = match (selection, &entry.live) {
                    (Selection::Set(set), Some(live)) => *live.set == **set,
                    _ => true,
                };
                if selected {
                    add(entry)?;
                }
            }
            report.lost = entries.losses();
        }
        if !batch.is_empty() {
            send(batch)?;
        }
        Ok(report)
    }

    fn write(&self, entries: &[Entry]) -> Result<()> {
        let mut batch = RecordBatch::with_capacity(BATCH_BYTES as usize + (64 << 10), entries.len());
        let mut report = RestoreReport::default();
        let mut values = ValueReader::new(self.snapshot.chunks());
        for entry in entries {
            let Some(live) = &entry.live else { continue };
            report.read += 1;
            if self.now.is_some_and(|now| live.void_time.is_expired(now)) {
                report.expired += 1;
                continue;
            }
            let body = match values.body(live) {
                Ok(body) => body,
                Err(error) if error.is_of_one_object() => {
                    report.fail_damaged(entry.digest, &error);
                    continue;
                }
                Err(error) => return Err(error),
            };
            let length = body.len() as u64;
            let meta = RecordMeta {
                digest: entry.digest,
                set: &live.set,
                generation: live.generation,
                void_time: live.void_time,
            };
            if let Err(error) = batch.push_encoded(meta, body, &live.bin_order) {
                let error = Error::damaged(format!("record {}", entry.digest), error.to_string());
                report.fail_damaged(entry.digest, &error);
                continue;
            }
            report.bytes += length;
        }
        self.control.check()?;
        if !batch.is_empty() {
            let outcome = self.target.write(self.name, &batch, self.conflict)?;
            report.written = outcome.written;
            report.expired += outcome.expired;
            report.exists = outcome.exists;
            report.fresher = outcome.fresher;
            outcome.failed.into_iter().for_each(|failed| report.fail(failed));
        }
        self.control.add_records(report.read);
        self.control.add_bytes_out(report.bytes);
        self.report.lock().unwrap_or_else(PoisonError::into_inner).add(report);
        Ok(())
    }
}
