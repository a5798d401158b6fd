//! Slows all writers down while the servers can't keep up, and lets them go again once they can.

use crate::sync::lock;
use std::sync::Mutex;
use std::time::Duration;

/// The first wait after an overload; doubled with each further one.
const FIRST_WAIT: Duration = Duration::from_millis(20);
/// The longest wait before a group of messages.
const LONGEST_WAIT: Duration = Duration::from_secs(2);
/// A wait below this is none.
const LEAST_WAIT: Duration = Duration::from_millis(5);

/// How long writers wait before they send.
#[derive(Default)]
pub struct Pace {
    wait: Mutex<Duration>,
}

impl Pace {
    /// How long to wait just now.
    pub fn wait(&self) -> Duration {
        *lock(&self.wait)
    }

    /// Notes whether what was sent overloaded a server.
    pub fn note(&self, overloaded: bool) {
        let mut wait = lock(&self.wait);
        *wait = match overloaded {
            true => (*wait * 2).clamp(FIRST_WAIT, LONGEST_WAIT),
            false if *wait / 2 < LEAST_WAIT => Duration::ZERO,
            false => *wait / 2,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_with_each_overload_up_to_a_bound_and_go_away_after_it() {
        let pace = Pace::default();
        assert_eq!(pace.wait(), Duration::ZERO);
        pace.note(true);
        assert_eq!(pace.wait(), FIRST_WAIT);
        pace.note(true);
        assert_eq!(pace.wait(), FIRST_WAIT * 2);
        (0..20).for_each(|_| pace.note(true));
        assert_eq!(pace.wait(), LONGEST_WAIT);
        (0..20).for_each(|_| pace.note(false));
        assert_eq!(pace.wait(), Duration::ZERO);
    }
}
