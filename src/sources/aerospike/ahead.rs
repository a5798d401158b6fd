//! Reads partitions ahead, several with one query.
//!
//! A caller asks for one partition after another; one query for each would cost the server a thread and us a round
//! trip, 4096 times. So workers fetch groups of consecutive partitions ahead of the caller, within a bound of memory.

use super::fetch::{Fetcher, Part, Want};
use crate::record::PartitionId;
use crate::sync::lock;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Partitions that are asked for with one query.
#[derive(Clone, Debug)]
pub struct Task {
    /// What of them is read.
    pub want: Want,
    /// Which they are.
    pub partitions: Vec<PartitionId>,
    /// About how many bytes each has.
    pub partition_bytes: usize,
}

/// What is read, and how much of it ahead.
#[derive(Clone)]
pub struct AheadPlan {
    /// What is read, in the order in which it will be asked for; each partition once.
    pub tasks: Vec<Task>,
    /// Queries at once.
    pub workers: usize,
    /// Partitions that nobody has asked for yet are read up to about this many bytes.
    pub memory: usize,
    /// The pass that reads each partition before this one does.
    pub after: Option<Arc<Ahead>>,
}

#[derive(Default)]
struct State {
    /// The first task that no worker has taken on.
    next: usize,
    /// One past the last task of which a partition was asked for.
    wanted: usize,
    /// Partitions taken on, but not there yet.
    under_way: BTreeSet<PartitionId>,
    ready: BTreeMap<PartitionId, Result<Part, String>>,
    memory: usize,
    error: Option<String>,
}

/// One pass over partitions of a namespace.
pub struct Ahead {
    namespace: String,
    plan: AheadPlan,
    /// The task of each partition.
    task_of: BTreeMap<PartitionId, usize>,
    stop: AtomicBool,
    state: Mutex<State>,
    changed: Condvar,
}

fn memory_of(part: &Result<Part, String>) -> usize {
    part.as_ref().map_or(0, Part::memory)
}

impl Ahead {
    /// Begins a pass at the task of partition `first`.
    pub fn start(fetcher: &Arc<Fetcher>, namespace: &str, plan: AheadPlan, first: PartitionId) -> Arc<Self> {
        let places = plan.tasks.iter().enumerate();
        let task_of: BTreeMap<PartitionId, usize> =
            places.flat_map(|(n, task)| task.partitions.iter().map(move |partition| (*partition, n))).collect();
        let (next, workers) = (task_of.get(&first).copied().unwrap_or(0), plan.workers.max(1));
        let ahead = Arc::new(Self {
            namespace: namespace.to_string(),
            plan,
            task_of,
            stop: AtomicBool::new(false),
            state: Mutex::new(State { next, ..State::default() }),
            changed: Condvar::new(),
        });
        for _ in 0..workers {
            let (ahead, fetcher) = (ahead.clone(), fetcher.clone());
            std::thread::spawn(move || ahead.work(&fetcher));
        }
        ahead
    }

    /// Whether this pass reads a partition so.
    pub fn is_for(&self, namespace: &str, want: Want, partition: PartitionId) -> bool {
        let task = self.task_of.get(&partition).and_then(|task| self.plan.tasks.get(*task));
        self.namespace == namespace && task.is_some_and(|task| task.want == want)
    }

    /// Lets the workers end.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
        // Nobody may be between a look at the flag and the wait.
        let _state = self.lock();
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a partition, once it is there. `None` if it was taken before, or lies before the beginning of this pass.
    pub fn take(&self, partition: PartitionId) -> Result<Option<Part>, String> {
        let Some(&task) = self.task_of.get(&partition) else { return Ok(None) };
        let mut state = self.lock();
        if task >= state.wanted {
            state.wanted = task + 1;
            self.changed.notify_all();
        }
        loop {
            if let Some(part) = state.ready.remove(&partition) {
                let had_room = state.memory < self.plan.memory;
                state.memory = state.memory.saturating_sub(memory_of(&part));
                // Workers wait for room alone. They need not be woken for each of thousands of partitions.
                if !had_room && state.memory < self.plan.memory {
                    self.changed.notify_all();
                }
                return part.map(Some);
            }
            if let Some(error) = &state.error {
                return Err(error.clone());
            }
            if task < state.next && !state.under_way.contains(&partition) {
                return Ok(None);
            }
            state = self.wait(state);
        }
    }

    /// Waits until these partitions were fetched, as far as they are of this pass, or until it ended.
    fn wait_for(&self, partitions: &[PartitionId]) {
        let tasks: Vec<(PartitionId, usize)> =
            partitions.iter().filter_map(|partition| Some((*partition, *self.task_of.get(partition)?))).collect();
        let mut state = self.lock();
        // They are fetched even where memory would have them wait: whoever takes them waits for us.
        if let Some((_, last)) = tasks.iter().max_by_key(|(_, task)| task)
            && *last >= state.wanted
        {
            state.wanted = last + 1;
            self.changed.notify_all();
        }
        let is_fetched = |state: &State, (partition, task): &(PartitionId, usize)| {
            *task < state.next && !state.under_way.contains(partition)
        };
        while !self.stop.load(Ordering::Relaxed)
            && state.error.is_none()
            && !tasks.iter().all(|task| is_fetched(&state, task))
        {
            state = self.wait(state);
        }
    }

    /// Whether every partition was fetched and taken.
    pub fn is_over(&self) -> bool {
        let state = self.lock();
        state.next >= self.plan.tasks.len() && state.under_way.is_empty() && state.ready.is_empty()
    }

    fn work(&self, fetcher: &Fetcher) {
        while let Some(task) = self.next_task() {
            // Should the fetch panic, those who wait must not wait for ever.
            let mut guard = Unfinished { ahead: self, failed: Some("a reading thread ended unexpectedly".to_string()) };
            if let Some(first) = self.plan.after.as_ref() {
                first.wait_for(&task.partitions);
            }
            let fetched =
                fetcher.partitions(&self.namespace, task.want, &task.partitions, task.partition_bytes, &self.stop);
            guard.failed = None;
            match fetched {
                Ok(parts) => {
                    let mut state = self.lock();
                    for (partition, part) in parts {
                        state.under_way.remove(&partition);
                        state.memory += memory_of(&part);
                        state.ready.insert(partition, part);
                    }
                    drop(state);
                    self.changed.notify_all();
                }
                Err(error) => guard.failed = Some(error.to_string()),
            }
        }
    }

    fn next_task(&self) -> Option<&Task> {
        let mut state = self.lock();
        loop {
            if self.stop.load(Ordering::Relaxed) || state.error.is_some() {
                return None;
            }
            let task = self.plan.tasks.get(state.next)?;
            // As much ahead as every worker's share of two queries, if memory allows; what is asked for always.
            let reach = state.wanted + 2 * self.plan.workers.max(1);
            if state.next < state.wanted || state.next < reach && state.memory < self.plan.memory {
                state.under_way.extend(&task.partitions);
                state.next += 1;
                return Some(task);
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
