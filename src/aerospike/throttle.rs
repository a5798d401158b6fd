//! Keeps reading below so many records and bytes per second, over all connections.

use crate::sync::lock;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// The longest that one frame makes its reader wait. A reader that waits does not read, and a server gives up on one
/// that doesn't read for long.
const MAX_WAIT: Duration = Duration::from_secs(5);

/// What could have been read in so much time and was not may still be read: what the reader itself takes, and what it
/// sleeps too long, which at high rates is most of each wait. More is lost: no burst after a pause.
const CARRIED_OVER: Duration = Duration::from_millis(200);

/// Counts what was read against what may be.
pub struct Throttle {
    records_per_second: f64,
    bytes_per_second: f64,
    /// When what was read so far will have been read at the allowed speed.
    paid_until: Mutex<Instant>,
}

impl Throttle {
    /// Limits in records and bytes per second; 0 for none.
    pub fn new(records_per_second: u32, bytes_per_second: u64) -> Self {
        Self {
            records_per_second: f64::from(records_per_second),
            bytes_per_second: bytes_per_second as f64,
            paid_until: Mutex::new(Instant::now()),
        }
    }

    /// Notes what was read, and says how long to wait before reading on.
    pub fn read(&self, records: u64, bytes: u64) -> Duration {
        self.read_at(Instant::now(), records, bytes)
    }

    fn read_at(&self, now: Instant, records: u64, bytes: u64) -> Duration {
        let seconds = |amount: u64, rate: f64| if rate > 0.0 { amount as f64 / rate } else { 0.0 };
        let cost = seconds(records, self.records_per_second).max(seconds(bytes, self.bytes_per_second));
        if cost <= 0.0 {
            return Duration::ZERO;
        }
        // A frame is at most a few megabytes; a limit so low that it costs more than a day counts as a day.
        let cost = Duration::from_secs_f64(cost.min(86_400.0));
        let mut paid_until = lock(&self.paid_until);
        let earliest = now.checked_sub(CARRIED_OVER).unwrap_or(now);
        *paid_until = (*paid_until).max(earliest) + cost;
        paid_until.saturating_duration_since(now).min(MAX_WAIT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_limits_nobody_waits() {
        assert_eq!(Throttle::new(0, 0).read(1_000_000, 1 << 30), Duration::ZERO);
    }

    #[test]
    fn the_wait_is_what_the_stricter_limit_asks_for() {
        let near = |wait: Duration, seconds: f64| (wait.as_secs_f64() - seconds).abs() < 0.05;
        let throttle = Throttle::new(1000, 1_000_000);
        assert!(near(throttle.read(500, 100_000), 0.5));
        assert!(near(throttle.read(100, 1_000_000), 1.5), "waits add up over all readers");
        assert_eq!(throttle.read(0, 1 << 40), MAX_WAIT);
    }

    /// How many records are read in ten seconds, a frame of so many at a time, by one that takes so long for a frame
    /// and sleeps so much too long.
    fn read_in_ten_seconds(rate: u32, frame: u64, takes: Duration, too_long: Duration) -> u64 {
        let throttle = Throttle::new(rate, 0);
        let begin = Instant::now();
        let (mut now, mut read) = (begin, 0);
        while now < begin + Duration::from_secs(10) {
            now += takes;
            let wait = throttle.read_at(now, frame, 0);
            read += frame;
            now += if wait.is_zero() { wait } else { wait + too_long };
        }
        read
    }

    #[test]
    fn the_stated_rate_is_kept_whatever_the_reader_and_its_sleeps_take() {
        for (rate, frame) in [(100, 1), (10_000, 100), (1_000_000, 100), (1_000_000, 2_000), (4_000_000, 1_000)] {
            for too_long in [0, 100, 1_000, 20_000].map(Duration::from_micros) {
                let read = read_in_ten_seconds(rate, frame, Duration::from_micros(20), too_long);
                let stated = u64::from(rate) * 10;
                assert!((stated * 99 / 100..=stated * 102 / 100).contains(&read), "{read} of {stated}, {too_long:?}");
            }
        }
    }

    #[test]
    fn after_a_pause_little_is_made_up_for() {
        let throttle = Throttle::new(1000, 0);
        let later = Instant::now() + Duration::from_secs(3600);
        assert_eq!(throttle.read_at(later, 1000, 0), Duration::from_secs(1) - CARRIED_OVER);
    }
}
