//! Up to when records expire that a scan of changes delivers whether they changed or not.
//!
//! Records that expire while a query runs are counted or not. Once it turns out that there are such, those that expire
//! soon are delivered; not before, since the longer filter takes the server a third more time.

use crate::record::time::AEROSPIKE_EPOCH_SECONDS;
use crate::record::{Timestamp, VoidTime};
use crate::sync::lock;
use std::sync::Mutex;
use std::time::Instant;

/// Records that expire within so many seconds are delivered; a query that takes longer is not counted, and the next
/// ones reach twice as far.
const FIRST_REACH_SECONDS: u64 = 30;
/// The furthest that queries reach.
const MAX_REACH_SECONDS: u64 = 3600;

/// Up to when records expire that a scan of changes delivers whether they changed or not.
#[derive(Default)]
pub(super) struct Horizon(Mutex<State>);

#[derive(Default)]
struct State {
    /// Whether records that are about to expire are delivered.
    delivers: bool,
    /// A clock of the servers, in seconds of their epoch, and when it was read.
    clock: Option<(u64, Instant)>,
    reach: u64,
}

impl Horizon {
    /// Takes in a server's clock. Of several the one that is furthest ahead counts.
    pub fn set_clock(&self, seconds: u64) {
        let mut state = lock(&self.0);
        let now = Instant::now();
        let known = state.clock.map_or(0, |(seconds, read)| seconds + now.duration_since(read).as_secs());
        if seconds >= known {
            state.clock = Some((seconds, now));
        }
    }

    /// Has records delivered that are about to expire.
    pub fn expect_expiry(&self) {
        lock(&self.0).delivers = true;
    }

    /// Up to when records expire that a query delivers which begins now; [`VoidTime::NEVER`] if that is not needed.
    pub fn until(&self) -> VoidTime {
        let state = lock(&self.0);
        let Some((seconds, read)) = state.clock.filter(|_| state.delivers) else { return VoidTime::NEVER };
        let until = seconds + read.elapsed().as_secs() + state.reach.max(FIRST_REACH_SECONDS);
        VoidTime::from_timestamp(Timestamp((until + AEROSPIKE_EPOCH_SECONDS) * 1000))
    }

    /// A query took longer than the reach.
    pub fn was_too_near(&self) {
        let mut state = lock(&self.0);
        state.reach = (state.reach.max(FIRST_REACH_SECONDS) * 2).min(MAX_REACH_SECONDS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_reach_beyond_the_clock_that_is_furthest_ahead_once_expiry_is_expected() {
        let horizon = Horizon::default();
        horizon.set_clock(1000);
        assert_eq!(horizon.until(), VoidTime::NEVER);
        horizon.expect_expiry();
        assert!((1030..1050).contains(&horizon.until().0));
        horizon.set_clock(2000);
        horizon.set_clock(900);
        assert!((2030..2050).contains(&horizon.until().0));
        // A query took longer.
        horizon.was_too_near();
        assert!((2060..2080).contains(&horizon.until().0));
        (0..20).for_each(|_| horizon.was_too_near());
        assert!((5600..5620).contains(&horizon.until().0));
    }

    #[test]
    fn a_clock_goes_on_after_it_was_read() {
        let horizon = Horizon::default();
        horizon.expect_expiry();
        assert_eq!(horizon.until(), VoidTime::NEVER, "no clock is known");
        horizon.set_clock(1000);
        std::thread::sleep(std::time::Duration::from_millis(1100));
        // By now the other one shows more.
        horizon.set_clock(1000);
        assert!((1031..1050).contains(&horizon.until().0));
    }
}
