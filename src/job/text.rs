//! Names, keys and times as reports have them.

use crate::format::snapshot::SnapshotState;
use crate::record::ParticleType;

/// A time in UTC, to the millisecond, for JSON.
pub fn rfc3339(millis: u64) -> String {
    let time = i64::try_from(millis).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    time.unwrap_or(jiff::Timestamp::MAX).strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

/// Bytes that are mostly text, for JSON: 0x and hexadecimal if they are not UTF-8.
pub fn plain(bytes: &[u8]) -> String {
    std::str::from_utf8(bytes).map_or_else(|_| format!("0x{}", hex::encode(bytes)), str::to_string)
}

/// A user key as it is given to `get`: i:NUMBER, b:HEX or text. A string that is not UTF-8 can't be typed, and is shown
/// as 0x and hexadecimal.
pub fn key(particle: ParticleType, bytes: &[u8]) -> String {
    match particle {
        ParticleType::INTEGER if let Ok(bytes) = bytes.try_into() => format!("i:{}", i64::from_be_bytes(bytes)),
        ParticleType::STRING if let Ok(text) = std::str::from_utf8(bytes) => {
            let typed = ["i:", "b:", "s:"].iter().any(|start| text.starts_with(start));
            if typed { format!("s:{text}") } else { text.to_string() }
        }
        ParticleType::BLOB => format!("b:{}", hex::encode(bytes)),
        _ => format!("0x{}", hex::encode(bytes)),
    }
}

/// What exists under a snapshot's name.
pub fn state(state: SnapshotState) -> &'static str {
    match state {
        SnapshotState::Committed => "committed",
        SnapshotState::Forgotten => "forgotten",
        SnapshotState::Fenced => "fenced",
    }
}
