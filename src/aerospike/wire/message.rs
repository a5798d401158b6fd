//! Messages: a head of 22 bytes, fields, then operations; in a reply the operations are bins.
//!
//! ```text
//! head                                   field                      operation
//!  0  1  its size: 22                    0  4  size of what follows  0  4  size of what follows
//!  1  4  four bytes of flags             4  1  type                  4  1  code
//!  5  1  result code                     5     data                  5  1  particle type
//!  6  4  generation                                                  6  1  flags: 1 = 8 bytes of time, then the value
//! 10  4  void time (in a request: TTL)                               7  1  length of the name
//! 14  4  time limit, or the row in a batch                           8     name, [time,] value
//! 18  2  number of fields
//! 20  2  number of operations
//! ```

use super::frame::{self, FrameType};
use super::{WireError, take, take_array};
use crate::record::{BinRef, ParticleType};

/// The bytes of a head.
pub const HEAD_BYTES: usize = 22;

/// Flags of the first byte.
pub mod info1 {
    /// It reads.
    pub const READ: u8 = 1;
    /// All bins.
    pub const GET_ALL: u8 = 1 << 1;
    /// A batch.
    pub const BATCH: u8 = 1 << 3;
    /// No bins: digest, set, key, generation and void time alone.
    pub const NO_BINS: u8 = 1 << 5;
}

/// Flags of the second byte.
pub mod info2 {
    /// It writes.
    pub const WRITE: u8 = 1;
    /// It deletes; with [`WRITE`].
    pub const DELETE: u8 = 1 << 1;
    /// Only if the given generation is higher than the record's.
    pub const GENERATION_GREATER: u8 = 1 << 3;
    /// What it deletes leaves a tombstone, so that no restart of a node brings it back.
    pub const DURABLE_DELETE: u8 = 1 << 4;
    /// Only if there is no such record.
    pub const CREATE_ONLY: u8 = 1 << 5;
}

/// Flags of the third byte.
pub mod info3 {
    /// The last message of a reply.
    pub const LAST: u8 = 1;
    /// In a query: the client takes partitions for done unless told otherwise. In its reply: about one partition, whose
    /// number is in the place of the generation.
    pub const PARTITION_DONE: u8 = 1 << 2;
    /// The record is written whole: bins that it has beside the given ones go.
    pub const CREATE_OR_REPLACE: u8 = 1 << 4;
}

/// Types of fields.
pub mod field {
    /// The namespace.
    pub const NAMESPACE: u8 = 0;
    /// The set.
    pub const SET: u8 = 1;
    /// The user key: one byte of particle type, then its bytes.
    pub const KEY: u8 = 2;
    /// The digest, 20 bytes.
    pub const DIGEST: u8 = 4;
    /// A query's number, 8 bytes.
    pub const QUERY_ID: u8 = 7;
    /// How long the server waits for a client that doesn't read, in milliseconds, 4 bytes.
    pub const SOCKET_TIMEOUT: u8 = 9;
    /// The most records per second that a query delivers, 4 bytes.
    pub const RECORDS_PER_SECOND: u8 = 10;
    /// Partitions, 2 bytes each, little endian.
    pub const PARTITIONS: u8 = 11;
    /// Digests to go on after, one for each partition, 20 bytes each.
    pub const DIGESTS: u8 = 12;
    /// The rows of a batch.
    pub const BATCH: u8 = 41;
    /// A filter expression, in MessagePack.
    pub const FILTER: u8 = 43;
}

/// Codes of operations.
pub mod operation {
    /// Reads a bin.
    pub const READ: u8 = 1;
    /// Writes a bin.
    pub const WRITE: u8 = 2;
    /// Evaluates an expression.
    pub const EXPRESSION: u8 = 7;
}

/// The head of a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Head {
    /// Flags: what is read.
    pub info1: u8,
    /// Flags: what is written.
    pub info2: u8,
    /// Flags: which part of a reply, among others.
    pub info3: u8,
    /// Flags of transactions.
    pub info4: u8,
    /// What became of a request.
    pub result: u8,
    /// The generation, or a partition's number.
    pub generation: u32,
    /// The void time in a reply, the time to live in a request.
    pub void_time: u32,
    /// The time limit in a request, the row in the reply to a batch.
    pub row: u32,
    /// How many fields follow.
    pub fields: u16,
    /// How many operations follow the fields.
    pub operations: u16,
}

/// A field of a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Field<'a> {
    /// Its type.
    pub kind: u8,
    /// Its data.
    pub data: &'a [u8],
}

impl Head {
    /// Appends the head.
    pub fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[HEAD_BYTES as u8, self.info1, self.info2, self.info3, self.info4, self.result]);
        for number in [self.generation, self.void_time, self.row] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        out.extend_from_slice(&self.fields.to_be_bytes());
        out.extend_from_slice(&self.operations.to_be_bytes());
    }

    /// Reads a head off the front of `input`.
    pub fn take(input: &mut &[u8]) -> Result<Self, WireError> {
        let bytes: [u8; HEAD_BYTES] = take_array(input, "the head of a message")?;
        let [size, info1, info2, info3, info4, result, rest @ ..] = bytes;
        if usize::from(size) != HEAD_BYTES {
            return Err(WireError::new("the head of a message", HEAD_BYTES.to_string(), size.to_string()));
        }
        let [g0, g1, g2, g3, v0, v1, v2, v3, r0, r1, r2, r3, f0, f1, o0, o1] = rest;
        Ok(Self {
            info1,
            info2,
            info3,
            info4,
            result,
            generation: u32::from_be_bytes([g0, g1, g2, g3]),
            void_time: u32::from_be_bytes([v0, v1, v2, v3]),
            row: u32::from_be_bytes([r0, r1, r2, r3]),
            fields: u16::from_be_bytes([f0, f1]),
            operations: u16::from_be_bytes([o0, o1]),
        })
    }
}

/// Reads one message off the front of `input`; `fields` and `bins` are cleared and filled.
pub fn take_message<'a>(
    input: &mut &'a [u8],
    fields: &mut Vec<Field<'a>>,
    bins: &mut Vec<BinRef<'a>>,
) -> Result<Head, WireError> {
    let head = Head::take(input)?;
    fields.clear();
    bins.clear();
    for _ in 0..head.fields {
        let size = u32::from_be_bytes(take_array(input, "a field's size")?) as usize;
        let body = take(input, size, "a field")?;
        let Some((&kind, data)) = body.split_first() else {
            return Err(WireError::new("a field's size", "at least 1", "0"));
        };
        fields.push(Field { kind, data });
    }
    for _ in 0..head.operations {
        bins.push(take_bin(input)?);
    }
    Ok(head)
}

#[inline]
fn take_bin<'a>(input: &mut &'a [u8]) -> Result<BinRef<'a>, WireError> {
    let [s0, s1, s2, s3, _code, particle, flags, name_length] = take_array(input, "a bin's head")?;
    let size = u32::from_be_bytes([s0, s1, s2, s3]) as usize;
    let Some(rest) = size.checked_sub(4) else {
        return Err(WireError::new("a bin's size", "at least 4", size.to_string()));
    };
    let mut body = take(input, rest, "a bin")?;
    let name = take(&mut body, usize::from(name_length), "a bin's name")?;
    if flags & 1 != 0 {
        take(&mut body, 8, "a bin's update time")?;
    }
    Ok(BinRef { name, particle: ParticleType(particle), bytes: body })
}

/// Appends a field.
pub fn put_field(out: &mut Vec<u8>, kind: u8, data: &[u8]) {
    out.extend_from_slice(&(data.len() as u32 + 1).to_be_bytes());
    out.push(kind);
    out.extend_from_slice(data);
}

/// Appends an operation.
pub fn put_operation(out: &mut Vec<u8>, code: u8, particle: ParticleType, name: &[u8], value: &[u8]) {
    out.extend_from_slice(&((4 + name.len() + value.len()) as u32).to_be_bytes());
    out.extend_from_slice(&[code, particle.0, 0, name.len() as u8]);
    out.extend_from_slice(name);
    out.extend_from_slice(value);
}

/// A request of fields, and of bins to be read, as a whole frame.
pub fn request(head: Head, fields: &[Field<'_>], bins: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::with_capacity(64 + fields.iter().map(|field| field.data.len() + 5).sum::<usize>());
    frame::begin(&mut out, FrameType::Message);
    Head { fields: fields.len() as u16, operations: bins.len() as u16, ..head }.put(&mut out);
    for field in fields {
        put_field(&mut out, field.kind, field.data);
    }
    bins.iter().for_each(|bin| put_operation(&mut out, operation::READ, ParticleType::NULL, bin, &[]));
    frame::finish(&mut out);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn reads_back_what_it_wrote(
            numbers: (u8, u8, u8, u32, u32, u32),
            fields in proptest::collection::vec((any::<u8>(), proptest::collection::vec(any::<u8>(), 0..40)), 0..5),
            bins in proptest::collection::vec((any::<u8>(), proptest::collection::vec(any::<u8>(), 0..15),
                proptest::collection::vec(any::<u8>(), 0..60)), 0..6),
        ) {
            let (info1, info3, result, generation, void_time, row) = numbers;
            let head = Head { info1, info3, result, generation, void_time, row, fields: fields.len() as u16,
                operations: bins.len() as u16, ..Head::default() };
            let mut bytes = Vec::new();
            head.put(&mut bytes);
            fields.iter().for_each(|(kind, data)| put_field(&mut bytes, *kind, data));
            bins.iter().for_each(|(kind, name, value)| put_operation(&mut bytes, 1, ParticleType(*kind), name, value));
            let (mut found_fields, mut found_bins, mut input) = (Vec::new(), Vec::new(), &bytes[..]);
            prop_assert_eq!(take_message(&mut input, &mut found_fields, &mut found_bins), Ok(head));
            prop_assert!(input.is_empty());
            let expected: Vec<_> = fields.iter().map(|(kind, data)| Field { kind: *kind, data }).collect();
            prop_assert_eq!(&found_fields, &expected);
            let expected: Vec<_> = bins.iter()
                .map(|(kind, name, value)| BinRef { name, particle: ParticleType(*kind), bytes: value }).collect();
            prop_assert_eq!(&found_bins, &expected);
            // Cut anywhere, it is refused.
            for length in 0..bytes.len() {
                let mut cut = &bytes[..length];
                prop_assert!(take_message(&mut cut, &mut Vec::new(), &mut Vec::new()).is_err());
            }
        }

        #[test]
        fn never_panics_on_arbitrary_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut framed = vec![22];
            framed.extend_from_slice(&bytes);
            let _ = take_message(&mut &framed[..], &mut Vec::new(), &mut Vec::new());
            let _ = take_message(&mut &bytes[..], &mut Vec::new(), &mut Vec::new());
        }
    }

    #[test]
    fn skips_the_update_time_that_may_precede_a_value() {
        let mut bytes = Vec::new();
        Head { operations: 1, ..Head::default() }.put(&mut bytes);
        bytes.extend_from_slice(&[0, 0, 0, 15, 1, 3, 1, 1, b'a', 9, 9, 9, 9, 9, 9, 9, 9, b'x', b'y']);
        let mut bins = Vec::new();
        take_message(&mut &bytes[..], &mut Vec::new(), &mut bins).unwrap();
        assert_eq!(bins, [BinRef { name: b"a", particle: ParticleType::STRING, bytes: b"xy" }]);
    }
}
