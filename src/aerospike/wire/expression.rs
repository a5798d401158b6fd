//! Filter and read expressions: MessagePack lists of a code and its arguments.
//!
//! Only what a backup asks for is here, and only the forms of MessagePack that it takes.

use crate::record::{ParticleType, Timestamp, VoidTime};

/// Codes of expressions.
mod code {
    pub const EQUAL: u8 = 1;
    pub const GREATER: u8 = 3;
    pub const GREATER_OR_EQUAL: u8 = 4;
    pub const LESS: u8 = 5;
    pub const LESS_OR_EQUAL: u8 = 6;
    pub const AND: u8 = 16;
    pub const OR: u8 = 17;
    pub const LAST_UPDATE: u8 = 66;
    pub const VOID_TIME: u8 = 68;
    pub const SET_NAME: u8 = 70;
    pub const KEY_EXISTS: u8 = 71;
    pub const KEY: u8 = 80;
}

/// The types of a user key that an expression can read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeyType {
    /// An integer.
    Integer,
    /// A string.
    String,
    /// Bytes.
    Blob,
}

/// Appends a MessagePack list's head.
fn put_list(out: &mut Vec<u8>, items: usize) {
    match u8::try_from(items) {
        Ok(few @ 0..16) => out.push(0x90 | few),
        _ => {
            // Lists here have an item for each set that was asked for; there are at most 4095.
            out.push(0xdc);
            out.extend_from_slice(&(items as u16).to_be_bytes());
        }
    }
}

/// Appends a string as expressions have it: the particle type of strings, then the text, as one MessagePack string.
fn put_string(out: &mut Vec<u8>, text: &[u8]) {
    match u8::try_from(text.len() + 1) {
        Ok(short @ 0..32) => out.push(0xa0 | short),
        Ok(length) => out.extend_from_slice(&[0xd9, length]),
        // The servers' names are shorter, and so is whatever is compared with them.
        Err(_) => {
            out.push(0xda);
            out.extend_from_slice(&((text.len() + 1).min(usize::from(u16::MAX)) as u16).to_be_bytes());
        }
    }
    out.push(ParticleType::STRING.0);
    out.extend_from_slice(text);
}

/// Appends a MessagePack unsigned integer in its shortest form.
fn put_unsigned(out: &mut Vec<u8>, value: u64) {
    let bytes = value.to_be_bytes();
    let (head, from) = match value {
        0..0x80 => (None, 7),
        0x80..0x100 => (Some(0xcc), 7),
        0x100..0x1_0000 => (Some(0xcd), 6),
        0x1_0000..0x1_0000_0000 => (Some(0xce), 4),
        _ => (Some(0xcf), 0),
    };
    out.extend(head);
    out.extend(bytes.iter().skip(from));
}

fn call(name: u8) -> Vec<u8> {
    let mut out = Vec::new();
    put_list(&mut out, 1);
    put_unsigned(&mut out, u64::from(name));
    out
}

/// Records whose last update is at or after `time`. Servers compare nanoseconds since the Unix epoch.
pub fn updated_since(time: Timestamp) -> Vec<u8> {
    last_update(code::GREATER_OR_EQUAL, time)
}

/// The others.
pub fn updated_before(time: Timestamp) -> Vec<u8> {
    last_update(code::LESS, time)
}

fn last_update(compared: u8, time: Timestamp) -> Vec<u8> {
    // The server reads a signed number; a time beyond its range is later than any record.
    compare(compared, code::LAST_UPDATE, time.0.saturating_mul(1_000_000).min(i64::MAX as u64))
}

/// Records that expire by this time: their void time is at or before it. Servers compare nanoseconds since the Unix
/// epoch, and take -1 for records that never expire.
pub fn expires_by(until: VoidTime) -> Vec<u8> {
    let nanoseconds = until.timestamp().map_or(0, |time| time.0.saturating_mul(1_000_000));
    all_of(&[compare(code::GREATER, code::VOID_TIME, 0), compare(code::LESS_OR_EQUAL, code::VOID_TIME, nanoseconds)])
}

fn compare(compared: u8, property: u8, number: u64) -> Vec<u8> {
    let mut out = Vec::new();
    put_list(&mut out, 3);
    put_unsigned(&mut out, u64::from(compared));
    out.extend(call(property));
    put_unsigned(&mut out, number);
    out
}

/// Records that never expire: servers say -1 for their void time.
pub fn never_expires() -> Vec<u8> {
    /// -1 in MessagePack.
    const NONE: u8 = 0xff;
    let mut out = Vec::new();
    put_list(&mut out, 3);
    put_unsigned(&mut out, u64::from(code::EQUAL));
    out.extend(call(code::VOID_TIME));
    out.push(NONE);
    out
}

/// Records of one of these sets.
pub fn in_one_of(sets: &[Vec<u8>]) -> Vec<u8> {
    let is = |set: &Vec<u8>| {
        let mut out = Vec::new();
        put_list(&mut out, 3);
        put_unsigned(&mut out, u64::from(code::EQUAL));
        out.extend(set_name());
        put_string(&mut out, set);
        out
    };
    joined(code::OR, &sets.iter().map(is).collect::<Vec<_>>())
}

/// Records for which one of the conditions is true; empty for none of them.
pub fn any_of(conditions: &[impl AsRef<[u8]>]) -> Vec<u8> {
    joined(code::OR, conditions)
}

/// Records for which all conditions are true; empty for none of them.
pub fn all_of(conditions: &[impl AsRef<[u8]>]) -> Vec<u8> {
    joined(code::AND, conditions)
}

fn joined(name: u8, conditions: &[impl AsRef<[u8]>]) -> Vec<u8> {
    let mut out = Vec::new();
    if conditions.len() > 1 {
        put_list(&mut out, conditions.len() + 1);
        put_unsigned(&mut out, u64::from(name));
    }
    conditions.iter().for_each(|condition| out.extend_from_slice(condition.as_ref()));
    out
}

/// The name of a record's set.
pub fn set_name() -> Vec<u8> {
    call(code::SET_NAME)
}

/// Whether a record's user key is stored.
pub fn key_exists() -> Vec<u8> {
    call(code::KEY_EXISTS)
}

/// A record's user key, if it is of that type.
pub fn key(kind: KeyType) -> Vec<u8> {
    let mut out = Vec::new();
    put_list(&mut out, 2);
    put_unsigned(&mut out, u64::from(code::KEY));
    // The numbers of result types in expressions, which are not those of particles.
    let number = match kind {
        KeyType::Integer => 2,
        KeyType::String => 3,
        KeyType::Blob => 6,
    };
    put_unsigned(&mut out, number);
    out
}

/// The value of an operation that evaluates `expression` and answers nothing where it has no result.
pub fn read_operation(expression: &[u8]) -> Vec<u8> {
    const NO_FAIL: u64 = 1 << 4;
    let mut out = Vec::new();
    put_list(&mut out, 2);
    out.extend_from_slice(expression);
    put_unsigned(&mut out, NO_FAIL);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_take_their_shortest_form() {
        let bytes = |value| {
            let mut out = Vec::new();
            put_unsigned(&mut out, value);
            out
        };
        assert_eq!(bytes(0), [0]);
        assert_eq!(bytes(127), [127]);
        assert_eq!(bytes(128), [0xcc, 128]);
        assert_eq!(bytes(256), [0xcd, 1, 0]);
        assert_eq!(bytes(65_536), [0xce, 0, 1, 0, 0]);
        assert_eq!(bytes(1 << 32), [0xcf, 0, 0, 0, 1, 0, 0, 0, 0]);
    }

    #[test]
    fn sets_are_compared_with_strings_of_any_length() {
        let set = |length: usize| in_one_of(&[vec![b'b'; length]]);
        assert_eq!(hex::encode(set(1)), "93019146a20362");
        assert_eq!(set(40)[..7], [0x93, 1, 0x91, 70, 0xd9, 41, 3]);
        let many: Vec<Vec<u8>> = (0..20).map(|n| vec![b'a' + n]).collect();
        assert_eq!(in_one_of(&many)[..4], [0xdc, 0, 21, 17]);
        assert!(all_of(&[] as &[Vec<u8>]).is_empty());
    }

    #[test]
    fn what_expires_up_to_a_time_and_what_never_does_are_told_apart() {
        let nanos = (crate::record::time::AEROSPIKE_EPOCH_SECONDS + 5) * 1_000_000_000;
        let expected = format!("9310930391440093069144cf{nanos:016x}");
        assert_eq!(hex::encode(expires_by(VoidTime(5))), expected);
        assert_eq!(hex::encode(never_expires()), "93019144ff");
    }

    #[test]
    fn the_filter_by_last_update_is_a_comparison_in_nanoseconds() {
        let bytes = updated_since(Timestamp(1_700_000_000_123));
        let nanos = 1_700_000_000_123_000_000_u64.to_be_bytes();
        assert_eq!(bytes[..5], [0x93, 4, 0x91, 66, 0xcf]);
        assert_eq!(bytes[5..], nanos);
        assert_eq!(updated_since(Timestamp(u64::MAX))[5..], i64::MAX.to_be_bytes());
        assert_eq!(updated_since(Timestamp(0)), [0x93, 4, 0x91, 66, 0]);
    }
}
