//! Frames: the eight bytes before every message.
//!
//! ```text
//! 0  1  version: 2
//! 1  1  type: 1 info, 2 security, 3 message, 4 compressed message
//! 2  6  length of the body
//! ```

use super::WireError;

/// The bytes before a body.
pub const FRAME_BYTES: usize = 8;
/// The protocol's version.
pub const VERSION: u8 = 2;
/// The longest body that is accepted, in bytes. Servers refuse and send no more than 128 MiB.
pub const MAX_BODY: usize = 128 << 20;

/// What a body is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FrameType {
    /// Names and values as text.
    Info,
    /// Logging in.
    Security,
    /// Records, and requests for them.
    Message,
}

impl FrameType {
    /// Its number on the wire.
    pub fn number(self) -> u8 {
        match self {
            FrameType::Info => 1,
            FrameType::Security => 2,
            FrameType::Message => 3,
        }
    }
}

/// The frame of a body of `length` bytes.
pub fn encode(kind: FrameType, length: usize) -> [u8; FRAME_BYTES] {
    let mut bytes = (length as u64).to_be_bytes();
    bytes[0] = VERSION;
    bytes[1] = kind.number();
    bytes
}

/// Begins a message in `out`; [`finish`] sets the length once the body is there.
pub fn begin(out: &mut Vec<u8>, kind: FrameType) {
    out.clear();
    out.extend_from_slice(&encode(kind, 0));
}

/// Sets the length of a message that [`begin`] began.
pub fn finish(out: &mut [u8]) {
    let length = (out.len().saturating_sub(FRAME_BYTES) as u64).to_be_bytes();
    if let Some(place) = out.get_mut(2..FRAME_BYTES) {
        place.copy_from_slice(&length[2..]);
    }
}

/// Checks a frame of the type that is waited for, and gives back the length of its body.
pub fn decode(bytes: [u8; FRAME_BYTES], kind: FrameType) -> Result<usize, WireError> {
    let [version, found, rest @ ..] = bytes;
    if version != VERSION || found != kind.number() {
        return Err(WireError::new(
            "the head of a reply",
            format!("protocol version {VERSION} and type {}", kind.number()),
            format!("version {version} and type {found}"),
        ));
    }
    let length = rest.iter().fold(0u64, |length, byte| length << 8 | u64::from(*byte));
    match usize::try_from(length) {
        Ok(length) if length <= MAX_BODY => Ok(length),
        _ => Err(WireError::new("the length of a reply", format!("at most {MAX_BODY}"), length.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_states_version_type_and_length() {
        let mut message = Vec::new();
        begin(&mut message, FrameType::Message);
        message.extend_from_slice(&[0; 0x0102]);
        finish(&mut message);
        assert_eq!(message[..8], [2, 3, 0, 0, 0, 0, 1, 2]);
        assert_eq!(decode(message[..8].try_into().unwrap(), FrameType::Message), Ok(0x0102));
        assert_eq!(encode(FrameType::Message, 0x0102), message[..8]);
    }

    #[test]
    fn refuses_other_versions_types_and_lengths_beyond_the_bound() {
        for bytes in
            [[1, 3, 0, 0, 0, 0, 0, 9], [2, 4, 0, 0, 0, 0, 0, 9], [2, 3, 0, 0, 9, 0, 0, 0], [2, 3, 255, 0, 0, 0, 0, 0]]
        {
            assert!(decode(bytes, FrameType::Message).is_err(), "{bytes:?}");
        }
    }
}
