//! The store's clock: the machine's, or one that a test sets.

use crate::record::Timestamp;
use crate::sync::lock;
use std::sync::{Mutex, MutexGuard};

#[derive(Debug, Default)]
struct State {
    /// The time that was set; `None` for the machine's clock.
    set: Option<Timestamp>,
    /// When the open write transaction began.
    writing_since: Option<Timestamp>,
}

/// Tells the time, and remembers since when a transaction is open.
#[derive(Debug, Default)]
pub(super) struct Clock(Mutex<State>);

impl State {
    fn now(&self) -> Timestamp {
        self.set.unwrap_or_else(Timestamp::now)
    }
}

impl Clock {
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.0)
    }

    pub(super) fn now(&self) -> Timestamp {
        self.state().now()
    }

    pub(super) fn set(&self, time: Option<Timestamp>) {
        self.state().set = time;
    }

    pub(super) fn advance(&self, millis: u64) {
        let mut state = self.state();
        state.set = Some(Timestamp(state.now().0.saturating_add(millis)));
    }

    /// Notes that the one write transaction begins, and gives its time.
    pub(super) fn begin(&self) -> Timestamp {
        let mut state = self.state();
        let now = state.now();
        state.writing_since = Some(now);
        now
    }

    /// Notes that it ended.
    pub(super) fn end(&self) {
        self.state().writing_since = None;
    }

    /// Now, or when the open transaction began, whichever is earlier.
    pub(super) fn settled(&self) -> Timestamp {
        let state = self.state();
        let now = state.now();
        state.writing_since.map_or(now, |since| since.min(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settles_no_later_than_the_open_transaction_began() {
        let clock = Clock::default();
        clock.set(Some(Timestamp(1000)));
        assert_eq!(clock.begin(), Timestamp(1000));
        clock.advance(500);
        assert_eq!((clock.now(), clock.settled()), (Timestamp(1500), Timestamp(1000)));
        clock.end();
        assert_eq!(clock.settled(), Timestamp(1500));
    }
}
