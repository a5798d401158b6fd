//! Reads partitions ahead, several with one query.
//!
//! A caller asks for one partition after another; one query for each would cost the server a thread and us a round trip,
//! 4096 times. So workers fetch groups of consecutive partitions ahead of the caller, within a bound of memory.

use super::fetch::{Fetcher, Part, Want};
use crate::record::{PARTITIONS, PartitionId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// How much is read with one query, and ahead.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Partitions of one query.
    pub group: u16,
    /// About how many bytes a partition has.
    pub partition_bytes: usize,
    /// Queries at once.
    pub workers: usize,
    /// Partitions that nobody has asked for yet are read up to about this many bytes.
    pub memory: usize,
}

#[derive(Default)]
struct State {
    /// The first partition that no worker has taken on.
    next: u16,
    /// One past the highest partition that was asked for.
    wanted: u16,
    /// Taken on, but not there yet.
    under_way: BTreeSet<u16>,
    ready: BTreeMap<u16, Part>,
    memory: usize,
    error: Option<String>,
}

/// One pass over the partitions of a namespace.
pub struct Ahead {
    namespace: String,
    want: Want,
    plan: Plan,
    stop: AtomicBool,
    state: Mutex<State>,
    changed: Condvar,
}

impl Ahead {
    /// Begins a pass at the group of partition `first`.
    pub fn start(fetcher: &Arc<Fetcher>, namespace: &str, want: Want, plan: Plan, first: PartitionId) -> Arc<Self> {
        let group = plan.group.max(1);
        let next = first.number() - first.number() % group;
        let ahead = Arc::new(Self {
            namespace: namespace.to_string(),
            want,
            plan: Plan { group, ..plan },
            stop: AtomicBool::new(false),
            state: Mutex::new(State { next, ..State::default() }),
            changed: Condvar::new(),
        });
        for _ in 0..plan.workers.max(1) {
            let (ahead, fetcher) = (ahead.clone(), fetcher.clone());
            std::thread::spawn(move || ahead.work(&fetcher));
        }
        ahead
    }

    /// Whether this is the pass for that.
    pub fn is_for(&self, namespace: &str, want: Want) -> bool {
        self.namespace == namespace && self.want == want
    }

    /// Lets the workers end.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a partition, once it is there. `None` if it was taken before, or lies before the beginning of this pass.
    pub fn take(&self, partition: PartitionId) -> Result<Option<Part>, String> {
        let number = partition.number();
        let mut state = self.lock();
        if number >= state.wanted {
            state.wanted = number + 1;
            self.changed.notify_all();
        }
        loop {
            if let Some(part) = state.ready.remove(&number) {
                state.memory = state.memory.saturating_sub(part.memory());
                self.changed.notify_all();
                return Ok(Some(part));
            }
            if let Some(error) = &state.error {
                return Err(error.clone());
            }
            if number < state.next && !state.under_way.contains(&number) {
                return Ok(None);
            }
            state = self.wait(state);
        }
    }

    /// Whether every partition was fetched and taken.
    pub fn is_over(&self) -> bool {
        let state = self.lock();
        state.next >= PARTITIONS && state.under_way.is_empty() && state.ready.is_empty()
    }

    fn work(&self, fetcher: &Fetcher) {
        while let Some(partitions) = self.next_group() {
            // Should the fetch panic, those who wait must not wait for ever.
            let mut guard = Unfinished { ahead: self, failed: Some("a reading thread ended unexpectedly".to_string()) };
            let fetched =
                fetcher.partitions(&self.namespace, self.want, &partitions, self.plan.partition_bytes, &self.stop);
            guard.failed = None;
            match fetched {
                Ok(parts) => {
                    let mut state = self.lock();
                    for (partition, part) in parts {
                        state.under_way.remove(&partition.number());
                        state.memory += part.memory();
                        state.ready.insert(partition.number(), part);
                    }
                    drop(state);
                    self.changed.notify_all();
                }
                Err(error) => guard.failed = Some(error.to_string()),
            }
        }
    }

    fn next_group(&self) -> Option<Vec<PartitionId>> {
        let mut state = self.lock();
        loop {
            if self.stop.load(Ordering::Relaxed) || state.error.is_some() || state.next >= PARTITIONS {
                return None;
            }
            // As much ahead as every worker's share of two groups, if memory allows; what is asked for always.
            let reach = usize::from(state.wanted) + 2 * self.plan.workers.max(1) * usize::from(self.plan.group);
            let ahead = usize::from(state.next) < reach && state.memory < self.plan.memory;
            if ahead || state.next < state.wanted {
                let end = state.next.saturating_add(self.plan.group).min(PARTITIONS);
                let group: Vec<PartitionId> = (state.next..end).filter_map(PartitionId::new).collect();
                state.under_way.extend(group.iter().map(|partition| partition.number()));
                state.next = end;
                return Some(group);
            }
            state = self.wait(state);
        }
    }
}

struct Unfinished<'a> {
    ahead: &'a Ahead,
    failed: Option<String>,
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if let Some(error) = self.failed.take() {
            self.ahead.lock().error.get_or_insert(error);
            self.ahead.changed.notify_all();
        }
    }
}
