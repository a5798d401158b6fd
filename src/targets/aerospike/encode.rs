//! Records of a batch as writes.

use crate::aerospike::wire::frame::MAX_BODY;
use crate::aerospike::wire::write::{NEVER_EXPIRES, RecordWrite, WriteMode};
use crate::record::{BinRef, Body, RecordView, Timestamp, VoidTime};
use crate::targets::ConflictPolicy;

/// Larger bodies don't fit into a message, whose head, fields and bins' heads take some room.
const MAX_RECORD_BYTES: usize = MAX_BODY - (2 << 20);

/// The longest time to live that servers take, in seconds: ten years.
const MAX_TIME_TO_LIVE: u32 = 10 * 365 * 86_400;

/// Why a record is not sent.
#[derive(Debug, PartialEq, Eq)]
pub enum Unsent {
    /// It has expired.
    Expired,
    /// It can't be, and why.
    Refused(String),
}

/// The mode in which a policy writes.
pub fn mode(policy: ConflictPolicy) -> WriteMode {
    match policy {
        ConflictPolicy::Replace => WriteMode::Replace,
        ConflictPolicy::Merge => WriteMode::Merge,
        ConflictPolicy::Keep => WriteMode::CreateOnly,
        ConflictPolicy::Newer => WriteMode::IfGenerationHigher,
    }
}

/// Seconds from `now` until `void_time`; `None` if it has come. Never 0, which would stand for the namespace's default.
pub fn time_to_live(void_time: VoidTime, now: Timestamp) -> Option<u32> {
    if void_time == VoidTime::NEVER {
        return Some(NEVER_EXPIRES);
    }
    // Full seconds, as the servers count.
    let end = void_time.timestamp()?.0 / 1000;
    let left = end.checked_sub(now.0 / 1000).filter(|&left| left > 0)?;
    u32::try_from(left).ok()
}

/// Turns a record into a write, its bins in the order of the source. `body` and `bins` are used for its parts.
pub fn record_write<'r, 'b>(
    namespace: &'b str,
    record: &RecordView<'r>,
    (body, bins): (&'b mut Body<'r>, &'b mut Vec<BinRef<'r>>),
    now: Timestamp,
    mode: WriteMode,
) -> Result<RecordWrite<'b>, Unsent> {
    let refused = |reason: String| Unsent::Refused(reason);
    if record.body.len() > MAX_RECORD_BYTES {
        let found = record.body.len();
        return Err(refused(format!("it has {found} bytes, a message to a server takes {MAX_RECORD_BYTES}")));
    }
    body.parse_into(record.body).map_err(|error| refused(error.to_string()))?;
    record.in_source_order_into(body.bins(), bins);
    let delete = matches!(mode, WriteMode::Delete { .. });
    if body.bins().is_empty() && !delete {
        return Err(refused("it has no bins, and servers keep no such records".into()));
    }
    let time_to_live = match delete {
        true => 0,
        false => time_to_live(record.meta.void_time, now).ok_or(Unsent::Expired)?,
    };
    if time_to_live > MAX_TIME_TO_LIVE && time_to_live != NEVER_EXPIRES {
        let days = time_to_live / 86_400;
        return Err(refused(format!(
            "its time to live of {days} days is more than the 3650 that servers take; `expiry` can do away with it"
        )));
    }
    Ok(RecordWrite {
        namespace,
        digest: record.meta.digest,
        set: record.meta.set,
        key: body.key(),
        // Servers count in 16 bits; what is higher is as new as can be.
        generation: u16::try_from(record.meta.generation.0).unwrap_or(u16::MAX),
        time_to_live,
        bins,
        mode,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::time::AEROSPIKE_EPOCH_SECONDS;

    #[test]
    fn the_time_to_live_is_what_is_left_and_never_the_default() {
        let at = |seconds: u64, millis: u64| Timestamp((AEROSPIKE_EPOCH_SECONDS + seconds) * 1000 + millis);
        assert_eq!(time_to_live(VoidTime(100), at(40, 0)), Some(60));
        assert_eq!(time_to_live(VoidTime(100), at(99, 999)), Some(1));
        assert_eq!(time_to_live(VoidTime(100), at(100, 0)), None);
        assert_eq!(time_to_live(VoidTime(100), at(101, 0)), None);
        assert_eq!(time_to_live(VoidTime::NEVER, at(100, 0)), Some(u32::MAX));
    }
}
