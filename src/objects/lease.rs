//! A session's lease: the object that says who writes, kept fresh by a thread of its own.

use crate::control::Fence;
use crate::crypto::Keys;
use crate::crypto::sealed::seal;
use crate::error::Result;
use crate::format::header::{ObjectKind, Suite};
use crate::format::session::{Outcome, Session, Status};
use crate::format::snapshot::SnapshotState;
use crate::format::{names, structured, text};
use crate::record::Timestamp;
use crate::store::Store;
use crate::sync::lock;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// A session without a heartbeat for this long is counted as dead: ten minutes.
pub const LEASE_MILLIS: u64 = 600_000;
/// So many heartbeats come in the time of a lease.
const BEATS: u64 = 10;

struct Shared {
    store: Arc<dyn Store>,
    keys: Arc<Keys>,
    suite: Suite,
    session: Mutex<Session>,
}

impl Shared {
    fn lease_millis(&self) -> u64 {
        lock(&self.session).lease_millis
    }

    fn write(&self, create: bool, change: impl FnOnce(&mut Session)) -> Result<()> {
        let mut session = lock(&self.session);
        change(&mut session);
        session.heartbeat = Timestamp::now().0;
        let name = names::session(&session.id);
        let value = structured::encode(&*session).map_err(|error| error.of(&name))?;
        let bytes = seal(&self.keys, ObjectKind::Session, self.suite, &name, &value)?;
        if create { self.store.put_new(&name, &bytes).map(|_| ()) } else { self.store.put(&name, &bytes) }
    }
}

/// A session that lives: its object is rewritten now and then until [`Lease::end`].
pub struct Lease {
    shared: Arc<Shared>,
    fence: Arc<Fence>,
    stop: Option<Sender<()>>,
    beat: Option<JoinHandle<()>>,
}

impl Lease {
    /// Creates the session's object and keeps it fresh.
    pub fn begin(store: Arc<dyn Store>, keys: Arc<Keys>, suite: Suite, mut session: Session) -> Result<Self> {
        session.job = text::cut(session.job, text::SOURCE_BYTES);
        let id = session.id;
        let shared = Arc::new(Shared { store, keys, suite, session: Mutex::new(session) });
        let every = Duration::from_millis((shared.lease_millis() / BEATS).max(1));
        shared.write(true, |_| {})?;
        let (stop, stopped) = channel::<()>();
        let beating = shared.clone();
        let fence = Arc::new(Fence::new(id.to_string()));
        let fenced = fence.clone();
        let beat = std::thread::spawn(move || {
            while stopped.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
                // A heartbeat that fails is made up for by the next; safety never rests on it.
                let _ = beating.write(false, |_| {});
                // Nor on this: whoever is fenced can't commit. It saves reading a source to its end for nothing.
                if let Ok(Some(size)) = beating.store.size(&names::snapshot(&id))
                    && SnapshotState::from_size(size) == SnapshotState::Fenced
                {
                    fenced.lose();
                }
            }
        });
        Ok(Lease { shared, fence, stop: Some(stop), beat: Some(beat) })
    }

    /// Whether the session was fenced, as the heartbeats find out.
    pub(crate) fn fence(&self) -> Arc<Fence> {
        self.fence.clone()
    }

    /// Changes the session's object, such as its journal.
    pub fn note(&self, change: impl FnOnce(&mut Session)) -> Result<()> {
        self.shared.write(false, change)
    }

    /// Writes the outcome; there are no heartbeats after it. Once the session is committed, nobody goes on with it.
    pub fn end(&mut self, mut outcome: Outcome) -> Result<()> {
        self.silence();
        if let Status::Incomplete(reason) | Status::Failed(reason) = &mut outcome.status {
            *reason = text::cut(std::mem::take(reason), text::REASON_BYTES);
        }
        self.shared.write(false, |session| {
            session.outcome = Some(outcome);
            if session.says_committed() {
                session.journal = None;
            }
        })
    }

    fn silence(&mut self) {
        self.stop = None;
        if let Some(beat) = self.beat.take() {
            let _ = beat.join();
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.silence();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::SnapshotId;
    use crate::format::session::SessionKind;
    use crate::store::MemoryStore;

    #[test]
    fn heartbeats_come_within_the_lease_and_end_with_the_outcome() {
        let (store, keys) = (Arc::new(MemoryStore::new()), Arc::new(Keys::derive(&[3; 32])));
        let id = SnapshotId([7; 16]);
        let session = Session {
            id,
            kind: SessionKind::Backup,
            job: String::new(),
            host: String::new(),
            program: String::new(),
            process: None,
            started: 0,
            heartbeat: 0,
            lease_millis: 1000,
            adopted: Vec::new(),
            outcome: None,
            journal: None,
        };
        let mut lease = Lease::begin(store.clone(), keys.clone(), Suite::Aes256Gcm, session).unwrap();
        let heartbeat = || crate::objects::read_session(&*store, &keys, id).unwrap().heartbeat;
        let first = heartbeat();
        std::thread::sleep(Duration::from_millis(1500));
        assert!(heartbeat() > first + 500, "no heartbeat came");
        let status = crate::format::session::Status::Stopped;
        lease.end(Outcome { ended: 1, status, records: 0, stored_bytes: 0, damaged_chunks: Vec::new() }).unwrap();
        let last = heartbeat();
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(heartbeat(), last);
    }
}
