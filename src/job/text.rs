//! Names, keys and times as reports have them.

use crate::format::snapshot::SnapshotState;
use crate::record::{ParticleType, VoidTime};

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

/// When a record expires, for JSON; nothing for never.
pub fn expires(void_time: VoidTime) -> Option<String> {
    void_time.timestamp().map(|at| rfc3339(at.0))
}

/// Text for a line of output: what could end the line, drive the terminal, or make text look like another is escaped.
/// These are control characters, line separators, and characters without width that turn the direction of text or join
/// letters.
pub fn safe(text: &str) -> String {
    let is_unsafe = |c: char| {
        c.is_control()
            || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{feff}')
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
            || matches!(c, '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
    };
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        if is_unsafe(c) {
            out.extend(c.escape_default())
        } else {
            out.push(c)
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_drives_a_terminal_or_misleads_the_eye_is_escaped() {
        assert_eq!(safe("\u{1b}[31m\u{202e}\u{200b}a\nü👩"), "\\u{1b}[31m\\u{202e}\\u{200b}a\\nü👩");
    }
}
