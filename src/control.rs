//! The handle that every long call takes: progress to watch, and a flag that asks it to stop.

use crate::error::{Error, Result};
use crate::sync::lock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// Progress counters and a stop flag, shared between a long call and whoever watches it.
///
/// Counters only ever grow during one call; phases follow one another. All are relaxed: they are for people to look at,
/// not to decide on.
#[derive(Clone, Debug, Default)]
pub struct Control(Arc<State>);

#[derive(Debug, Default)]
struct State {
    stop: AtomicBool,
    records: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    total_bytes: AtomicU64,
    total_records: AtomicU64,
    phase: Mutex<Option<Phase>>,
}

/// A part of a long call that knows how much it has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Phase {
    /// What is done in it, such as "storing".
    pub name: &'static str,
    /// How much of it is done.
    pub done: u64,
    /// How much it is in all.
    pub total: u64,
}

impl Control {
    /// A fresh handle: nothing done, not stopped.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks the call to stop at its next safe point; it then returns [`Error::Cancelled`].
    pub fn stop(&self) {
        self.0.stop.store(true, Ordering::Relaxed);
    }

    /// Whether [`Control::stop`] was called.
    pub fn is_stopped(&self) -> bool {
        self.0.stop.load(Ordering::Relaxed)
    }

    /// Returns [`Error::Cancelled`] once [`Control::stop`] was called.
    ///
    /// # Errors
    ///
    /// [`Error::Cancelled`], and no other.
    pub fn check(&self) -> Result<()> {
        if self.is_stopped() { Err(Error::Cancelled) } else { Ok(()) }
    }

    /// Counts records read or written.
    pub fn add_records(&self, n: u64) {
        self.0.records.fetch_add(n, Ordering::Relaxed);
    }

    /// Counts bytes read from a source.
    pub fn add_bytes_in(&self, n: u64) {
        self.0.bytes_in.fetch_add(n, Ordering::Relaxed);
    }

    /// Counts bytes written to the store or to a target.
    pub fn add_bytes_out(&self, n: u64) {
        self.0.bytes_out.fetch_add(n, Ordering::Relaxed);
    }

    /// Adds to the number of bytes that the call expects to read in all.
    pub fn add_total_bytes(&self, n: u64) {
        self.0.total_bytes.fetch_add(n, Ordering::Relaxed);
    }

    /// Adds to the number of records that the call expects to handle in all.
    pub fn add_total_records(&self, n: u64) {
        self.0.total_records.fetch_add(n, Ordering::Relaxed);
    }

    /// Begins a phase, which ends the one before it.
    pub fn begin_phase(&self, name: &'static str, total: u64) {
        *lock(&self.0.phase) = Some(Phase { name, done: 0, total });
    }

    /// Counts what of the phase is done.
    pub fn add_done(&self, n: u64) {
        if let Some(phase) = lock(&self.0.phase).as_mut() {
            phase.done = phase.done.saturating_add(n).min(phase.total);
        }
    }

    /// The phase at hand. Until there is one, bytes and records tell how far the call came.
    pub fn phase(&self) -> Option<Phase> {
        *lock(&self.0.phase)
    }

    /// Records read or written so far.
    pub fn records(&self) -> u64 {
        self.0.records.load(Ordering::Relaxed)
    }

    /// Bytes read from the source so far.
    pub fn bytes_in(&self) -> u64 {
        self.0.bytes_in.load(Ordering::Relaxed)
    }

    /// Bytes written so far.
    pub fn bytes_out(&self) -> u64 {
        self.0.bytes_out.load(Ordering::Relaxed)
    }

    /// Bytes the call expects to read in all; 0 while unknown.
    pub fn total_bytes(&self) -> u64 {
        self.0.total_bytes.load(Ordering::Relaxed)
    }

    /// Records the call expects to handle in all; 0 while unknown.
    pub fn total_records(&self) -> u64 {
        self.0.total_records.load(Ordering::Relaxed)
    }
}
