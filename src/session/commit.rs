//! The end of a session: the commit, or the outcome that tells why there was none.

use super::BackupSession;
use crate::error::{Error, Result};
use crate::format::session::{Outcome, Status};
use crate::format::snapshot::{Manifest, NamespaceManifest, Salvage};
use crate::format::{PackId, SnapshotId, names};
use crate::index::write_segments;
use crate::objects;
use crate::record::Timestamp;
use crate::repository::{Snapshot, host, program};
use std::collections::{BTreeSet, HashSet};

impl BackupSession {
    /// Commits: packs and index segments first, then the one object that makes the snapshot visible.
    ///
    /// # Errors
    ///
    /// [`Error::Fenced`] if a collection took the session's name since its heartbeat had stopped, [`Error::Cancelled`],
    /// and those of the store. The history then says why nothing was committed.
    pub fn commit(mut self) -> Result<Snapshot> {
        let committed = self.try_commit();
        let status = match &committed {
            Ok(_) if self.manifest.missing.is_empty() => Status::Done,
            Ok(_) => Status::Incomplete(self.manifest.missing.join("; ")),
            Err(error) => uncommitted(error),
        };
        self.end(status);
        if let Some(error) = committed? {
            self.control.warn(in_doubt(self.id(), &error));
        }
        tracing::info!(snapshot = %self.manifest.id, stored_bytes = self.manifest.stored_bytes, "committed");
        // It is committed, whatever happens now: whoever reads it reads the index, and meets what fails then.
        let chunks = self.repository.lazy_reader(std::slice::from_ref(&self.manifest));
        Ok(Snapshot::new(chunks, self.manifest.clone(), self.repository.control.clone()))
    }

    /// Commits what a salvage made of `original`: with its source and its labels, in its place in the order of
    /// snapshots.
    pub(crate) fn commit_salvage(
        mut self,
        original: &Manifest,
        committed: u64,
        salvage: Salvage,
        missing: Vec<String>,
        namespaces: Vec<NamespaceManifest>,
    ) -> Result<Snapshot> {
        let (id, host, program) = (self.id(), host(), program());
        // What the writer of a copy saw tells nothing of its place, which is the original's.
        let heads = if original.origin.is_none() { original.heads.as_slice() } else { &[] };
        let heads = heads.iter().copied().chain([original.id]).collect::<BTreeSet<_>>();
        // All fields are named: one that refers to chunks must be written before it is named here.
        self.manifest = Manifest {
            id,
            started: original.started,
            committed,
            sequence: original.sequence,
            host,
            program,
            source: original.source.clone(),
            cluster: original.cluster.clone(),
            tags: original.tags.clone(),
            heads: heads.into_iter().collect(),
            index_segments: 0,
            stored_bytes: 0,
            missing,
            salvage: Some(salvage),
            // What it holds is no longer what the original of a copy holds.
            origin: None,
            namespaces,
        };
        self.commit()
    }

    /// Ends without a commit; the history will say why.
    pub fn abandon(mut self, error: &Error) {
        self.end(uncommitted(error));
    }

    /// Gives back why it could not be told that nobody fenced the session, if so.
    fn try_commit(&mut self) -> Result<Option<Error>> {
        self.control.check()?;
        let Some(worker) = self.worker.take() else { return Err(Error::invalid("the session has ended")) };
        let mut packs = worker.finish()?;
        let stored: u64 = packs.iter().map(|(_, size, _)| size).sum();
        // Chunks of these were not written again, so whoever reads this snapshot must find them.
        let written: HashSet<PackId> = packs.iter().map(|(id, _, _)| *id).collect();
        packs.extend(self.existing.index().recovered_packs().into_iter().filter(|(id, _, _)| !written.contains(id)));
        let repository = &self.repository;
        let suite = repository.parameters.suite;
        let (segments, bytes) = write_segments(&*repository.store, &repository.keys, suite, &self.manifest.id, packs)?;
        self.manifest.index_segments = segments;
        self.manifest.stored_bytes = stored + bytes;
        // These keep the times of what they were made of.
        if self.manifest.salvage.is_none() && self.manifest.origin.is_none() {
            self.manifest.committed = Timestamp::now().0;
        }
        self.control.check()?;
        let hold = match &self.hold {
            Some(reason) => Some(repository.place_hold(self.manifest.id, reason)?),
            None => None,
        };
        let committed = objects::commit_snapshot(&*repository.store, &repository.keys, suite, &self.manifest);
        if let (Err(Error::Fenced { .. }), Some(hold)) = (&committed, hold) {
            // Nothing is there that it could hold; were it left, the next collection would take it away.
            let _ = repository.store.delete(&names::hold(&hold.snapshot, &hold.id));
        }
        committed
    }

    fn end(&mut self, status: Status) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let committed = matches!(status, Status::Done | Status::Incomplete(_));
        let outcome = Outcome {
            ended: Timestamp::now().0,
            status,
            // Without a commit: how far it came.
            records: match committed {
                true if self.manifest.origin.is_some() => {
                    self.manifest.namespaces.iter().map(|one| one.live_records).sum()
                }
                true => self.manifest.namespaces.iter().map(|namespace| namespace.counts.read).sum(),
                false => self.control.records(),
            },
            stored_bytes: if committed { self.manifest.stored_bytes } else { self.control.bytes_out() },
            damaged_chunks: Vec::new(),
        };
        // The snapshot, if there is one, is committed already: a failure to note the outcome loses only the note.
        let _ = self.journal.end(outcome);
    }
}

/// What to know of a commit after which the folds could not be read.
fn in_doubt(id: SnapshotId, error: &Error) -> String {
    format!(
        "snapshot {id} is committed, but it could not be looked up whether its session had been fenced and folded: \
         {error}. Only one that was silent for days can have been; if `aerolith snapshots` doesn't list it, run the \
         backup again"
    )
}

/// How a session that was not committed ended.
fn uncommitted(error: &Error) -> Status {
    match error {
        Error::Cancelled => Status::Stopped,
        error => Status::Failed(error.to_string()),
    }
}

impl Drop for BackupSession {
    fn drop(&mut self) {
        self.end(Status::Failed("it ended without a commit".into()));
    }
}
