//! Times and generations.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds between the Unix epoch and Aerospike's own (2010-01-01T00:00:00Z).
pub const AEROSPIKE_EPOCH_SECONDS: u64 = 1_262_304_000;

/// A point in time: milliseconds since the Unix epoch, UTC.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// This machine's clock.
    pub fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    /// The time this many milliseconds earlier, or the epoch.
    pub fn minus_millis(self, millis: u64) -> Self {
        Self(self.0.saturating_sub(millis))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = i64::try_from(self.0).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
        match time {
            Some(time) => write!(f, "{time:.3}"),
            None => write!(f, "{} ms", self.0),
        }
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// When a record expires: seconds since 2010-01-01T00:00:00Z, or 0 for never.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Debug)]
pub struct VoidTime(pub u32);

impl VoidTime {
    /// The record never expires.
    pub const NEVER: VoidTime = VoidTime(0);

    /// The point in time, or `None` for never.
    pub fn timestamp(self) -> Option<Timestamp> {
        (self.0 != 0).then(|| Timestamp((u64::from(self.0) + AEROSPIKE_EPOCH_SECONDS) * 1000))
    }

    /// The void time at or just after `time`.
    pub fn from_timestamp(time: Timestamp) -> Self {
        let seconds = time.0.div_ceil(1000).saturating_sub(AEROSPIKE_EPOCH_SECONDS);
        Self(u32::try_from(seconds.max(1)).unwrap_or(u32::MAX))
    }

    /// Whether a record with this void time is gone at `now`.
    pub fn is_expired(self, now: Timestamp) -> bool {
        self.timestamp().is_some_and(|t| t <= now)
    }
}

/// How often a record was written. Aerospike counts in 16 bits and wraps; wider values are carried through.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Debug)]
pub struct Generation(pub u32);
