//! A session's lease, and the journal kept in the same object: how far it came, for a session that resumes it.

use crate::error::Result;
use crate::format::PackId;
use crate::format::session::{Journal, OpenNamespace, Outcome};
use crate::objects::Lease;
use crate::sync::lock;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How often a session notes how far it came. To close packs and leaves early costs little then, and a crash half a
/// minute.
const EVERY: Duration = Duration::from_secs(30);

/// What the object under `sessions/` says of a session while it lives.
///
/// The journal serves sessions that come later. A note that can't be written is made up for by the next one, and a
/// session never fails for it.
pub(crate) struct SessionJournal {
    lease: Lease,
    journal: Mutex<Journal>,
    every: Duration,
    /// Whether a note was written.
    noted: AtomicBool,
}

impl SessionJournal {
    /// An empty journal of a session that backs up this cluster, noted as often as `every` says, or twice a minute.
    pub(super) fn new(lease: Lease, cluster: &str, every: Option<Duration>) -> Self {
        let journal = Journal { cluster: cluster.to_string(), ..Journal::default() };
        SessionJournal {
            lease,
            journal: Mutex::new(journal),
            every: every.unwrap_or(EVERY),
            noted: AtomicBool::new(false),
        }
    }

    /// Says whose records the session backs up.
    pub(super) fn set_cluster(&self, cluster: &str) {
        cluster.clone_into(&mut lock(&self.journal).cluster);
    }

    /// How often to note how far the session came.
    pub(crate) fn every(&self) -> Duration {
        self.every
    }

    /// Notes how far a namespace came, and the packs that the session has stored.
    pub(crate) fn note(&self, open: OpenNamespace, packs: Vec<PackId>) {
        let journal = {
            let mut journal = lock(&self.journal);
            replace(&mut journal, open);
            journal.packs = packs;
            journal.clone()
        };
        if self.lease.note(|session| session.journal = Some(journal)).is_ok() {
            self.noted.store(true, Ordering::Relaxed);
        }
    }

    /// Whether a note was written.
    pub(super) fn is_noted(&self) -> bool {
        self.noted.load(Ordering::Relaxed)
    }

    /// Keeps a finished namespace for the next note: its last packs may still be open.
    pub(crate) fn keep(&self, open: OpenNamespace) {
        replace(&mut lock(&self.journal), open);
    }

    /// Notes the packs that were taken over from a session that stopped.
    pub(crate) fn adopt(&self, packs: &[PackId]) {
        let _ = self.lease.note(|session| {
            let new: Vec<PackId> = packs.iter().filter(|id| !session.adopted.contains(id)).copied().collect();
            session.adopted.extend(new);
        });
    }

    /// Writes the outcome and ends the lease.
    pub(super) fn end(&mut self, outcome: Outcome) -> Result<()> {
        self.lease.end(outcome)
    }
}

fn replace(journal: &mut Journal, open: OpenNamespace) {
    journal.namespaces.retain(|other| other.name != open.name);
    journal.namespaces.push(open);
}
