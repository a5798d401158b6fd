//! The store's clock: the machine's, or one that a test sets; and the times that writes bear, which never go back.

use crate::record::Timestamp;
use crate::sync::lock;
use std::sync::{Mutex, MutexGuard};

#[derive(Debug, Default)]
struct State {
    /// The time that was set; `None` for the machine's clock.
    set: Option<Timestamp>,
    /// The latest time that a write bears.
    last_write: Timestamp,
    /// The time that the writes of the open transaction bear.
    writing: Option<Timestamp>,
}

/// Tells the time, and stamps transactions. A clock that is set back would let later writes bear earlier times than
/// those before them, and whoever asks for what was written since would miss them: so a stamp is never less than the
/// last one.
#[derive(Debug, Default)]
pub(super) struct Clock(Mutex<State>);

impl State {
    fn now(&self) -> Timestamp {
        self.set.unwrap_or_else(Timestamp::now)
    }
}

impl Clock {
    /// A clock of a store whose latest write bears this time.
    pub(super) fn after(last_write: Timestamp) -> Self {
        Clock(Mutex::new(State { last_write, ..State::default() }))
    }

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

    /// Notes that the one write transaction begins, and gives the time that its writes bear.
    pub(super) fn begin(&self) -> Timestamp {
        let mut state = self.state();
        let (now, last) = (state.now(), state.last_write);
        let stamp = if now < last { Timestamp(last.0.saturating_add(1)) } else { now };
        state.writing = Some(stamp);
        state.last_write = stamp;
        stamp
    }

    /// Notes that it ended.
    pub(super) fn end(&self) {
        self.state().writing = None;
    }

    /// The time that the open transaction's writes bear, or the least that the next one's will.
    pub(super) fn settled(&self) -> Timestamp {
        let state = self.state();
        state.writing.unwrap_or_else(|| state.now().max(state.last_write))
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

    #[test]
    fn writes_bear_ascending_times_though_the_clock_is_set_back() {
        let clock = Clock::after(Timestamp(5000));
        clock.set(Some(Timestamp(1000)));
        assert_eq!((clock.now(), clock.settled()), (Timestamp(1000), Timestamp(5000)));
        assert_eq!((clock.begin(), clock.settled()), (Timestamp(5001), Timestamp(5001)));
        clock.end();
        assert_eq!((clock.begin(), clock.settled()), (Timestamp(5002), Timestamp(5002)));
        clock.end();
        clock.set(Some(Timestamp(6000)));
        assert_eq!((clock.begin(), clock.now()), (Timestamp(6000), Timestamp(6000)));
    }
}
