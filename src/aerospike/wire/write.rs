//! Writes of whole records by digest: many of one node in a batch, or one alone.
//!
//! A row of a batch is its number (4 bytes), the digest, and one byte that says which of the following stand in the
//! row: 2 = two more bytes of flags, 4 = a generation (2 bytes), 8 = a time to live (4 bytes). Then come flags,
//! generation, time to live, the numbers of fields and operations, fields, operations.

use super::WireError;
use super::frame::{self, FrameType};
use super::message::{HEAD_BYTES, Head, field, info1, info2, info3, operation, put_field, put_operation, take_message};
use super::result_code::ResultCode;
use crate::record::{BinRef, Digest, KeyRef};

/// The time to live of a record that never expires. (0 would stand for the namespace's default.)
pub const NEVER_EXPIRES: u32 = u32::MAX;
/// Row flags: flags of writes, a generation and a time to live are given.
const ROW_IS_WRITE: u8 = 2 | 4 | 8;
/// Batch flags: records in memory are written at once (1), and one row's failure does not hide the others (4).
const BATCH_FLAGS: u8 = 1 | 4;
/// Where the rows of a batch begin: after frame, head and the field's own head.
const ROWS_AT: usize = frame::FRAME_BYTES + HEAD_BYTES + 5;

/// What a write does with a record that is there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WriteMode {
    /// It is replaced whole.
    Replace,
    /// Its bins of the same names are written over, the others stay.
    Merge,
    /// It stays; the answer is [`ResultCode::RECORD_EXISTS`].
    CreateOnly,
    /// It is replaced whole if its generation is lower; else the answer is [`ResultCode::GENERATION`].
    IfGenerationHigher,
    /// It is deleted; the answer is [`ResultCode::NOT_FOUND`] if there is none.
    Delete {
        /// Whether it leaves a tombstone, which only the Enterprise Edition can do.
        durable: bool,
    },
}

impl WriteMode {
    fn flags(self) -> (u8, u8) {
        match self {
            WriteMode::Replace => (info2::WRITE, info3::CREATE_OR_REPLACE),
            WriteMode::Merge => (info2::WRITE, 0),
            WriteMode::CreateOnly => (info2::WRITE | info2::CREATE_ONLY, 0),
            WriteMode::IfGenerationHigher => (info2::WRITE | info2::GENERATION_GREATER, info3::CREATE_OR_REPLACE),
            WriteMode::Delete { durable: false } => (info2::WRITE | info2::DELETE, 0),
            WriteMode::Delete { durable: true } => (info2::WRITE | info2::DELETE | info2::DURABLE_DELETE, 0),
        }
    }
}

/// A record to write.
#[derive(Clone, Copy, Debug)]
pub struct RecordWrite<'a> {
    /// The namespace.
    pub namespace: &'a str,
    /// The digest.
    pub digest: Digest,
    /// The set; empty for the null set.
    pub set: &'a [u8],
    /// The user key, if it is to be stored.
    pub key: Option<KeyRef<'a>>,
    /// What [`WriteMode::IfGenerationHigher`] compares.
    pub generation: u16,
    /// Seconds to live, or [`NEVER_EXPIRES`].
    pub time_to_live: u32,
    /// The bins.
    pub bins: &'a [BinRef<'a>],
    /// What becomes of a record that is there.
    pub mode: WriteMode,
}

impl RecordWrite<'_> {
    fn put_fields(&self, out: &mut Vec<u8>) {
        put_field(out, field::NAMESPACE, self.namespace.as_bytes());
        if !self.set.is_empty() {
            put_field(out, field::SET, self.set);
        }
        if let Some(key) = self.key {
            out.extend_from_slice(&(key.bytes.len() as u32 + 2).to_be_bytes());
            out.extend_from_slice(&[field::KEY, key.particle.0]);
            out.extend_from_slice(key.bytes);
        }
    }

    fn fields(&self) -> u16 {
        1 + u16::from(!self.set.is_empty()) + u16::from(self.key.is_some())
    }

    fn put_bins(&self, out: &mut Vec<u8>) {
        for bin in self.bins {
            put_operation(out, operation::WRITE, bin.particle, bin.name, bin.bytes);
        }
    }

    /// The request for this record alone, as a whole frame. `time_limit` is in milliseconds.
    pub fn encode(&self, time_limit: u32, out: &mut Vec<u8>) {
        let (info2, info3) = self.mode.flags();
        frame::begin(out, FrameType::Message);
        Head {
            info2,
            info3,
            generation: self.generation.into(),
            void_time: self.time_to_live,
            row: time_limit,
            fields: self.fields() + 1,
            operations: self.bins.len() as u16,
            ..Head::default()
        }
        .put(out);
        self.put_fields(out);
        put_field(out, field::DIGEST, &self.digest.0);
        self.put_bins(out);
        frame::finish(out);
    }
}

/// A batch of writes that is being put together.
#[derive(Debug, Default)]
pub struct BatchWriter {
    bytes: Vec<u8>,
    rows: u32,
}

impl BatchWriter {
    /// Begins a batch. `time_limit` is in milliseconds.
    pub fn begin(&mut self, time_limit: u32) {
        self.rows = 0;
        frame::begin(&mut self.bytes, FrameType::Message);
        Head { info1: info1::BATCH, row: time_limit, fields: 1, ..Head::default() }.put(&mut self.bytes);
        put_field(&mut self.bytes, field::BATCH, &[]);
        self.bytes.extend_from_slice(&[0, 0, 0, 0, BATCH_FLAGS]);
    }

    /// Adds a record, whose answer will bear the number of records before it.
    pub fn push(&mut self, record: &RecordWrite<'_>) {
        let (info2, info3) = record.mode.flags();
        let out = &mut self.bytes;
        out.extend_from_slice(&self.rows.to_be_bytes());
        out.extend_from_slice(&record.digest.0);
        out.extend_from_slice(&[ROW_IS_WRITE, 0, info2, info3]);
        out.extend_from_slice(&record.generation.to_be_bytes());
        out.extend_from_slice(&record.time_to_live.to_be_bytes());
        out.extend_from_slice(&record.fields().to_be_bytes());
        out.extend_from_slice(&(record.bins.len() as u16).to_be_bytes());
        record.put_fields(out);
        record.put_bins(out);
        self.rows += 1;
    }

    /// How many records it holds.
    pub fn rows(&self) -> u32 {
        self.rows
    }

    /// How many bytes it takes so far.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// The whole frame.
    pub fn finish(&mut self) -> &[u8] {
        // The field's size counts its type.
        let size = (self.bytes.len().saturating_sub(ROWS_AT) as u32 + 1).to_be_bytes();
        let head = [&size[..], &[field::BATCH], &self.rows.to_be_bytes()].concat();
        if let Some(place) = self.bytes.get_mut(ROWS_AT - 5..ROWS_AT + 4) {
            place.copy_from_slice(&head);
        }
        frame::finish(&mut self.bytes);
        &self.bytes
    }
}

/// The result of a write that was sent alone.
pub fn result(frame: &[u8]) -> Result<ResultCode, WireError> {
    let mut input = frame;
    let head = take_message(&mut input, &mut Vec::new(), &mut Vec::new())?;
    Ok(ResultCode(head.result))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::ParticleType;

    const BINS: [BinRef<'static>; 1] = [BinRef { name: b"n", particle: ParticleType::STRING, bytes: b"xy" }];

    fn record() -> RecordWrite<'static> {
        RecordWrite {
            namespace: "test",
            digest: Digest([7; 20]),
            set: b"s",
            key: Some(KeyRef { particle: ParticleType::STRING, bytes: b"k" }),
            generation: 0x0102,
            time_to_live: 9,
            bins: &BINS,
            mode: WriteMode::Replace,
        }
    }

    #[test]
    fn a_write_alone_bears_key_digest_and_bins() {
        let mut bytes = Vec::new();
        record().encode(1000, &mut bytes);
        let (mut input, mut fields, mut bins) = (&bytes[8..], Vec::new(), Vec::new());
        let head = take_message(&mut input, &mut fields, &mut bins).unwrap();
        assert!(input.is_empty());
        assert_eq!((head.info1, head.info2, head.info3), (0, 1, 16));
        assert_eq!((head.generation, head.void_time, head.row), (0x0102, 9, 1000));
        let found: Vec<(u8, &[u8])> = fields.iter().map(|field| (field.kind, field.data)).collect();
        assert_eq!(found, [(0, &b"test"[..]), (1, b"s"), (2, b"\x03k"), (4, &[7; 20])]);
        assert_eq!(bins, BINS);
    }

    #[test]
    fn a_batch_states_its_rows_and_each_row_is_whole() {
        let mut batch = BatchWriter::default();
        batch.begin(1000);
        batch.push(&record());
        batch.push(&RecordWrite { set: b"", key: None, mode: WriteMode::IfGenerationHigher, ..record() });
        batch.push(&RecordWrite { set: b"", key: None, bins: &[], mode: WriteMode::CreateOnly, ..record() });
        batch.push(&RecordWrite { set: b"", key: None, mode: WriteMode::Merge, ..record() });
        let delete = |durable| WriteMode::Delete { durable };
        batch.push(&RecordWrite { set: b"", key: None, bins: &[], mode: delete(false), ..record() });
        batch.push(&RecordWrite { set: b"", key: None, bins: &[], mode: delete(true), ..record() });
        let bytes = batch.finish().to_vec();
        let (mut input, mut fields) = (&bytes[8..], Vec::new());
        let head = take_message(&mut input, &mut fields, &mut Vec::new()).unwrap();
        assert!(input.is_empty());
        assert_eq!((head.info1, head.row, fields.len(), fields[0].kind), (8, 1000, 1, 41));
        let mut expected = vec![0, 0, 0, 6, 5];
        let mut row = |number: u8, info: [u8; 2], fields: u8, bins: u8, rest: &[u8]| {
            expected.extend_from_slice(&[0, 0, 0, number]);
            expected.extend_from_slice(&[7; 20]);
            expected.extend_from_slice(&[14, 0, info[0], info[1], 1, 2, 0, 0, 0, 9, 0, fields, 0, bins]);
            expected.extend_from_slice(b"\0\0\0\x05\0test");
            expected.extend_from_slice(rest);
        };
        let bin = b"\0\0\0\x07\x02\x03\0\x01nxy";
        row(0, [1, 16], 3, 1, &[&b"\0\0\0\x02\x01s\0\0\0\x03\x02\x03k"[..], bin].concat());
        row(1, [9, 16], 1, 1, bin);
        row(2, [33, 0], 1, 0, b"");
        row(3, [1, 0], 1, 1, bin);
        row(4, [3, 0], 1, 0, b"");
        row(5, [19, 0], 1, 0, b"");
        assert_eq!(fields[0].data, expected);
    }
}
