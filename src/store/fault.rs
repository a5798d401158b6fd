//! A store for tests that fails, crashes, forgets replies, tears objects, lets requests arrive late, loses power and
//! serves stale listings where it is told to.
//!
//! To crash a piece of work at every call it makes: run it once, take the number of [`FaultStore::operations`], then
//! run it again for each with a [`Fault::nth`]. What the crash left is in the store below, which the next "process"
//! opens:
//!
//! ```
//! use aerolith::store::{Effect, Fault, FaultStore, MemoryStore, Store};
//! use std::sync::Arc;
//!
//! let work = |store: &dyn Store| store.put("config", b"1").and_then(|()| store.put("keys/a", b"2"));
//! let calls = {
//!     let store = FaultStore::new(MemoryStore::new());
//!     work(&store)?;
//!     store.operations().len()
//! };
//! for n in 0..calls {
//!     let disk = Arc::new(MemoryStore::new());
//!     let store = FaultStore::new(disk.clone());
//!     store.inject(Fault::nth(n, Effect::CrashBefore));
//!     assert!(work(&store).is_err());
//!     assert_eq!(disk.list("")?.len(), n);
//! }
//! # Ok::<(), aerolith::Error>(())
//! ```
//!
//! Calls run one at a time, in the order of the log, so that "the nth" means the same to every thread.

use super::{Call, Listed, Put, RetryPolicy, Store, first_segments};
use crate::error::{Error, Result};
use crate::sync::lock;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::sync::{Mutex, MutexGuard};

/// One call that a [`FaultStore`] took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// What was called.
    pub call: Call,
    /// The key, or the prefix of a listing; empty for `sync`.
    pub key: String,
    /// The size in bytes of what was to be written; 0 for calls that write nothing.
    pub size: u64,
}

/// What a [`Fault`] does to the call that it hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The call does nothing and returns [`Error::Store`] with an I/O error of this kind.
    Fail(ErrorKind),
    /// The call does its work, but returns [`Error::Store`] with an I/O error of this kind.
    LoseReply(ErrorKind),
    /// The process dies before the call did anything: it and all that follow fail.
    CrashBefore,
    /// The process dies once the call did its work: it and all that follow fail.
    CrashAfter,
    /// The process dies while the call writes: of the bytes only the first half is there. No [`Store`] may do that;
    /// what becomes of a repository in one that does all the same is worth knowing. Calls that write no bytes do
    /// nothing.
    Tear,
    /// The call returns a transient [`Error::Store`], and does its work only once so many further calls were taken, or
    /// [`FaultStore::land_late`] is called, whatever became of the process. Calls that change nothing just fail.
    Late(usize),
}

/// An [`Effect`] and which call it hits.
#[derive(Clone, Debug)]
pub struct Fault {
    to_pass: usize,
    effect: Effect,
    call: Option<Call>,
    prefix: String,
    lasting: bool,
    spent: bool,
}

impl Fault {
    /// Hits once, the call after `n` others have passed: `nth(0, …)` hits the first.
    pub fn nth(n: usize, effect: Effect) -> Self {
        Self { to_pass: n, effect, call: None, prefix: String::new(), lasting: false, spent: false }
    }

    /// Counts and hits calls of this kind only.
    pub fn of(mut self, call: Call) -> Self {
        self.call = Some(call);
        self
    }

    /// Counts and hits calls only whose key, or listed prefix, begins with `prefix`.
    pub fn under(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Hits every later call as well, as a full disk does.
    pub fn lasting(mut self) -> Self {
        self.lasting = true;
        self
    }

    /// Counts the call, and says what the fault does to it.
    fn meet(&mut self, operation: &Operation) -> Option<Effect> {
        let counts = self.call.is_none_or(|call| call == operation.call) && operation.key.starts_with(&self.prefix);
        if self.spent || !counts {
            return None;
        }
        if self.to_pass > 0 {
            self.to_pass -= 1;
            return None;
        }
        self.spent = !self.lasting;
        Some(self.effect)
    }
}

/// A store **for tests**: hands calls on to the store below, logs them, and does harm as told by
/// [`FaultStore::inject`].
#[derive(Debug, Default)]
pub struct FaultStore<S> {
    inner: S,
    retries: RetryPolicy,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    faults: Vec<Fault>,
    operations: Vec<Operation>,
    crashed: bool,
    /// Requests on their way, and how many calls come before each.
    late: Vec<(usize, Request)>,
    /// What listings show, if they are stale.
    stale: Option<Vec<Listed>>,
    /// For each object that a power cut would change: what it would be then.
    unsynced: BTreeMap<String, Option<Bytes>>,
}

/// A call that changes the store.
#[derive(Clone, Debug)]
struct Request {
    call: Call,
    /// Whether the next `sync` is soon enough for it to survive a power cut.
    waits: bool,
    key: String,
    bytes: Bytes,
}

impl<S: Store> FaultStore<S> {
    /// Hands calls on to `inner`, for now without faults. Give it an [`Arc`](std::sync::Arc) to look at what a crash
    /// left.
    pub fn new(inner: S) -> Self {
        Self { inner, retries: RetryPolicy::none(), state: Mutex::default() }
    }

    /// Asks repositories to make failed calls again, which otherwise they do not: so that a fault is seen where it
    /// hits.
    #[must_use]
    pub fn retried(mut self, policy: RetryPolicy) -> Self {
        self.retries = policy;
        self
    }

    /// The store below.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// Adds a fault; it counts calls from now on. Where several hit one call, the first that was added has its effect.
    pub fn inject(&self, fault: Fault) {
        self.state().faults.push(fault);
    }

    /// Takes all faults away. A crash that happened stays.
    pub fn clear_faults(&self) {
        self.state().faults.clear();
    }

    /// The calls so far in order, with those that failed or crashed, without those after a crash.
    pub fn operations(&self) -> Vec<Operation> {
        self.state().operations.clone()
    }

    /// Whether a crash happened.
    pub fn has_crashed(&self) -> bool {
        self.state().crashed
    }

    /// Acts out a power cut on the store below: undoes every change that nothing promised to keep, which is what
    /// `delete` did, and `put_content`, since the last `sync`. The process counts as crashed.
    ///
    /// # Errors
    ///
    /// Those of the store below.
    pub fn lose_unsynced(&self) -> Result<()> {
        self.lose_unsynced_where(|_| true)
    }

    /// The same for a disk that had some changes down already: undoes those of the keys that `is_lost` names, keeps the
    /// rest.
    ///
    /// # Errors
    ///
    /// If the store below can't be written.
    pub fn lose_unsynced_where(&self, is_lost: impl Fn(&str) -> bool) -> Result<()> {
        let mut state = self.state();
        state.crashed = true;
        for (key, before) in std::mem::take(&mut state.unsynced) {
            match before {
                _ if !is_lost(&key) => {}
                Some(bytes) => self.inner.put(&key, &bytes)?,
                None => self.inner.delete(&key)?,
            }
        }
        Ok(())
    }

    /// From now on listings show the objects that are there now, with their sizes, whatever changes.
    ///
    /// # Errors
    ///
    /// Those of the store below.
    pub fn serve_stale_lists(&self) -> Result<()> {
        let listed = self.inner.list("")?;
        self.state().stale = Some(listed);
        Ok(())
    }

    /// Listings show what is there again.
    pub fn serve_fresh_lists(&self) {
        self.state().stale = None;
    }

    /// Lets all requests arrive that are late.
    ///
    /// # Errors
    ///
    /// Those of the store below.
    pub fn land_late(&self) -> Result<()> {
        let mut state = self.state();
        let late = std::mem::take(&mut state.late);
        late.into_iter().try_for_each(|(_, request)| self.land(&mut state, &request))
    }

    fn land(&self, state: &mut State, request: &Request) -> Result<()> {
        let Request { call, waits, key, bytes } = request;
        match call {
            Call::PutNew => self.put_new_below(state, *waits, key, bytes).map(|_| ()),
            Call::Put => self.put_below(state, key, bytes),
            Call::Delete => Self::unsafely(&self.inner, state, key, || self.inner.delete(key)),
            _ => Ok(()),
        }
    }

    fn put_new_below(&self, state: &mut State, waits: bool, key: &str, bytes: &Bytes) -> Result<Put> {
        if waits {
            return Self::unsafely(&self.inner, state, key, || self.inner.put_content(key, bytes));
        }
        let outcome = self.inner.put_new(key, bytes)?;
        state.unsynced.remove(key);
        Ok(outcome)
    }

    fn put_below(&self, state: &mut State, key: &str, bytes: &[u8]) -> Result<()> {
        self.inner.put(key, bytes)?;
        state.unsynced.remove(key);
        Ok(())
    }

    // A failing test may panic while it holds the lock; what it left is still of use to the others.
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn run<T>(&self, call: Call, key: &str, bytes: &[u8], work: impl FnOnce(&S, &mut State) -> Result<T>) -> Result<T> {
        self.run_write(call, false, key, bytes, work)
    }

    fn run_write<T>(
        &self,
        call: Call,
        waits: bool,
        key: &str,
        bytes: &[u8],
        work: impl FnOnce(&S, &mut State) -> Result<T>,
    ) -> Result<T> {
        let mut state = self.state();
        let fail = |source| Error::store_io(format!("{call} {key:?} in {}", self.location()), source);
        let crash = || fail(io::Error::other("the process has crashed"));
        if state.crashed {
            return Err(crash());
        }
        let operation = Operation { call, key: key.to_owned(), size: bytes.len() as u64 };
        state.late.iter_mut().for_each(|(calls, _)| *calls = calls.saturating_sub(1));
        while let Some(at) = state.late.iter().position(|(calls, _)| *calls == 0) {
            let (_, request) = state.late.remove(at);
            self.land(&mut state, &request)?;
        }
        // Each fault counts the call, also when an earlier one hits it.
        let hits: Vec<_> = state.faults.iter_mut().filter_map(|fault| fault.meet(&operation)).collect();
        state.operations.push(operation);
        match hits.first() {
            None => work(&self.inner, &mut state),
            Some(Effect::Fail(kind)) => Err(fail((*kind).into())),
            Some(Effect::LoseReply(kind)) => {
                work(&self.inner, &mut state)?;
                Err(fail((*kind).into()))
            }
            Some(Effect::CrashBefore) => {
                state.crashed = true;
                Err(crash())
            }
            Some(Effect::Tear) => {
                let torn = Request {
                    call,
                    waits,
                    key: key.to_owned(),
                    bytes: bytes.iter().take(bytes.len() / 2).copied().collect(),
                };
                state.crashed = true;
                if matches!(call, Call::PutNew | Call::Put) {
                    self.land(&mut state, &torn)?;
                }
                Err(crash())
            }
            Some(Effect::Late(calls)) => {
                if call.changes() {
                    let request = Request { call, waits, key: key.to_owned(), bytes: Bytes::copy_from_slice(bytes) };
                    state.late.push((*calls + 1, request));
                }
                Err(fail(ErrorKind::TimedOut.into()))
            }
            Some(Effect::CrashAfter) => {
                let outcome = work(&self.inner, &mut state);
                state.crashed = true;
                outcome.and_then(|_| Err(crash()))
            }
        }
    }

    /// Does `work` on the object, and keeps what it was before for a power cut.
    fn unsafely<T>(inner: &S, state: &mut State, key: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        if !state.unsynced.contains_key(key) {
            let before = inner.get(key, u64::MAX)?;
            state.unsynced.insert(key.to_owned(), before);
        }
        work()
    }
}

impl<S: Store> Store for FaultStore<S> {
    fn location(&self) -> &str {
        self.inner.location()
    }

    fn put_new(&self, key: &str, bytes: &[u8]) -> Result<Put> {
        self.run(Call::PutNew, key, bytes, |_, state| {
            self.put_new_below(state, false, key, &Bytes::copy_from_slice(bytes))
        })
    }

    fn put_content(&self, key: &str, bytes: &Bytes) -> Result<Put> {
        self.run_write(Call::PutNew, true, key, bytes, |_, state| self.put_new_below(state, true, key, bytes))
    }

    fn put(&self, key: &str, bytes: &[u8]) -> Result<()> {
        self.run(Call::Put, key, bytes, |_, state| self.put_below(state, key, bytes))
    }

    fn get(&self, key: &str, limit: u64) -> Result<Option<Bytes>> {
        self.run(Call::Get, key, &[], |inner, _| inner.get(key, limit))
    }

    fn get_range(&self, key: &str, offset: u64, length: usize) -> Result<Option<Bytes>> {
        self.run(Call::GetRange, key, &[], |inner, _| inner.get_range(key, offset, length))
    }

    fn size(&self, key: &str) -> Result<Option<u64>> {
        self.run(Call::Size, key, &[], |inner, _| inner.size(key))
    }

    fn is_far(&self) -> bool {
        self.inner.is_far()
    }

    fn creations_are_proven(&self) -> bool {
        self.inner.creations_are_proven()
    }

    fn list(&self, prefix: &str) -> Result<Vec<Listed>> {
        self.run(Call::List, prefix, &[], |inner, state| match &state.stale {
            None => inner.list(prefix),
            Some(stale) => Ok(stale.iter().filter(|listed| listed.key.starts_with(prefix)).cloned().collect()),
        })
    }

    fn retry_policy(&self) -> RetryPolicy {
        self.retries
    }

    fn top_names(&self) -> Result<Vec<String>> {
        self.run(Call::List, "", &[], |inner, state| match &state.stale {
            None => inner.top_names(),
            Some(stale) => Ok(first_segments(stale.clone())),
        })
    }

    fn delete(&self, key: &str) -> Result<()> {
        self.run(Call::Delete, key, &[], |inner, state| Self::unsafely(inner, state, key, || inner.delete(key)))
    }

    fn sync(&self) -> Result<()> {
        self.run(Call::Sync, "", &[], |inner, state| {
            inner.sync()?;
            state.unsynced.clear();
            Ok(())
        })
    }

    fn free_bytes(&self) -> Result<Option<u64>> {
        self.inner.free_bytes()
    }

    fn keep_reserve(&self) -> Result<()> {
        self.inner.keep_reserve()
    }

    fn use_reserve(&self) -> Result<bool> {
        self.inner.use_reserve()
    }
}

#[cfg(test)]
mod tests;
