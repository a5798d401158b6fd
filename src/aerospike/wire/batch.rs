//! Batch reads by digest.
//!
//! The answer to a batch holds bins, generation and void time, but neither set nor user key. So every digest gets two
//! rows: one for all bins, one for expressions that read what is missing.
//!
//! A row is the row's number (4 bytes), a digest, and one byte: 1 if it is like the row before, else 0 and then what to
//! do: flags, the numbers of fields and operations, fields, operations.

use super::WireError;
use super::expression::{self, KeyType};
use super::frame::{self, FrameType};
use super::message::{Head, field, info1, info3, operation, put_field, put_operation, take_message};
use super::result_code::ResultCode;
use crate::record::{BinRef, Digest, Generation, ParticleType, VoidTime};

/// The names under which the expressions of a row are answered.
const SET_NAME: &[u8] = b"s";
const KEY_EXISTS: &[u8] = b"e";
const KEY_NAMES: [(&[u8], KeyType, ParticleType); 3] = [
    (b"i", KeyType::Integer, ParticleType::INTEGER),
    (b"t", KeyType::String, ParticleType::STRING),
    (b"b", KeyType::Blob, ParticleType::BLOB),
];

/// The most digests of one batch. Servers take 5000 rows unless configured otherwise.
pub const MAX_DIGESTS: usize = 1000;
/// The most rows of one batch of which each digest has one.
pub const MAX_ROWS: usize = 4000;

/// A request for the records of `digests`, at most [`MAX_DIGESTS`], as a whole frame. Rows 0 to n-1 are the bins of the
/// digests in their order, rows n to 2n-1 their sets and keys. `time_limit` is in milliseconds.
pub fn request(namespace: &str, digests: &[Digest], time_limit: u32) -> Vec<u8> {
    request_of(namespace, digests, time_limit, &[], &[])
}

/// The same for these bins alone, if any are named, and for records for which the filter expression is true, if there
/// is one.
pub fn request_of(namespace: &str, digests: &[Digest], time_limit: u32, bins: &[Vec<u8>], filter: &[u8]) -> Vec<u8> {
    let mut rows = Vec::with_capacity(digests.len() * 50 + 200);
    rows.extend_from_slice(&(2 * digests.len() as u32).to_be_bytes());
    // Records in memory are answered at once, and one row's failure does not hide the others.
    rows.push(0x01 | 0x04);
    let mut number = 0u32;
    let first = if bins.is_empty() { info1::READ | info1::GET_ALL } else { info1::READ };
    let kinds = [(first, bins.len() as u16, false), (info1::READ, 2 + KEY_NAMES.len() as u16, true)];
    for (info1, operations, identity) in kinds {
        for (position, digest) in digests.iter().enumerate() {
            rows.extend_from_slice(&number.to_be_bytes());
            rows.extend_from_slice(&digest.0);
            number += 1;
            if position > 0 {
                rows.push(1);
                continue;
            }
            rows.extend_from_slice(&[0, info1]);
            rows.extend_from_slice(&1u16.to_be_bytes());
            rows.extend_from_slice(&operations.to_be_bytes());
            put_field(&mut rows, field::NAMESPACE, namespace.as_bytes());
            if !identity {
                let read = |bin| put_operation(&mut rows, operation::READ, ParticleType::NULL, bin, &[]);
                bins.iter().map(Vec::as_slice).for_each(read);
            } else {
                put_expression(&mut rows, SET_NAME, &expression::set_name());
                put_expression(&mut rows, KEY_EXISTS, &expression::key_exists());
                for (name, kind, _) in KEY_NAMES {
                    put_expression(&mut rows, name, &expression::key(kind));
                }
            }
        }
    }
    let mut out = Vec::with_capacity(rows.len() + 64);
    frame::begin(&mut out, FrameType::Message);
    Head {
        info1: info1::READ | info1::BATCH,
        row: time_limit,
        fields: 1 + u16::from(!filter.is_empty()),
        ..Head::default()
    }
    .put(&mut out);
    put_field(&mut out, field::BATCH, &rows);
    if !filter.is_empty() {
        put_field(&mut out, field::FILTER, filter);
    }
    frame::finish(&mut out);
    out
}

/// A request for generation and void time of `digests`, at most [`MAX_ROWS`], as a whole frame: servers answer it from
/// their index, and read nothing from their storage. Row n is digest n.
pub fn heads_request(namespace: &str, digests: &[Digest], time_limit: u32) -> Vec<u8> {
    let mut rows = Vec::with_capacity(digests.len() * 25 + 100);
    rows.extend_from_slice(&(digests.len() as u32).to_be_bytes());
    rows.push(0x01 | 0x04);
    for (number, digest) in (0u32..).zip(digests) {
        rows.extend_from_slice(&number.to_be_bytes());
        rows.extend_from_slice(&digest.0);
        if number > 0 {
            rows.push(1);
            continue;
        }
        rows.extend_from_slice(&[0, info1::READ | info1::NO_BINS]);
        rows.extend_from_slice(&1u16.to_be_bytes());
        rows.extend_from_slice(&0u16.to_be_bytes());
        put_field(&mut rows, field::NAMESPACE, namespace.as_bytes());
    }
    let mut out = Vec::with_capacity(rows.len() + 64);
    frame::begin(&mut out, FrameType::Message);
    Head { info1: info1::READ | info1::BATCH, row: time_limit, fields: 1, ..Head::default() }.put(&mut out);
    put_field(&mut out, field::BATCH, &rows);
    frame::finish(&mut out);
    out
}

fn put_expression(out: &mut Vec<u8>, name: &[u8], expression: &[u8]) {
    put_operation(out, operation::EXPRESSION, ParticleType::BLOB, name, &expression::read_operation(expression));
}

/// One message of an answer.
#[derive(Clone, Copy, Debug)]
pub enum BatchItem<'a, 'b> {
    /// A row.
    Row {
        /// Its number.
        row: u32,
        /// What became of it.
        result: ResultCode,
        /// The record's generation.
        generation: Generation,
        /// When it expires.
        void_time: VoidTime,
        /// Bins, or the results of expressions.
        bins: &'b [BinRef<'a>],
    },
    /// The end of the answer.
    Last(ResultCode),
}

/// Reads the messages of one frame and hands them to `visit`.
pub fn items<E: From<WireError>>(
    frame: &[u8],
    mut visit: impl FnMut(BatchItem<'_, '_>) -> Result<(), E>,
) -> Result<(), E> {
    let mut input = frame;
    let (mut fields, mut bins) = (Vec::new(), Vec::new());
    while !input.is_empty() {
        let head = take_message(&mut input, &mut fields, &mut bins)?;
        let result = ResultCode(head.result);
        if head.info3 & info3::LAST != 0 {
            visit(BatchItem::Last(result))?;
        } else {
            let (generation, void_time) = (Generation(head.generation), VoidTime(head.void_time));
            visit(BatchItem::Row { row: head.row, result, generation, void_time, bins: &bins })?;
        }
    }
    Ok(())
}

/// A record's set and user key, as its second row tells them.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Identity {
    /// The set; empty for the null set.
    pub set: Vec<u8>,
    /// The user key, if one is stored.
    pub key: Option<(ParticleType, Vec<u8>)>,
    /// Whether a key is stored that no expression can read.
    pub key_unreadable: bool,
}

/// Reads the results of a second row.
pub fn identity(bins: &[BinRef<'_>]) -> Identity {
    let mut found = Identity::default();
    let mut stored = false;
    for bin in bins {
        match bin.name {
            SET_NAME if bin.particle == ParticleType::STRING => found.set = bin.bytes.to_vec(),
            KEY_EXISTS => stored = bin.bytes.iter().any(|&byte| byte != 0),
            name => {
                let wanted = KEY_NAMES.iter().find(|(key, _, particle)| *key == name && *particle == bin.particle);
                if wanted.is_some() {
                    found.key = Some((bin.particle, bin.bytes.to_vec()));
                }
            }
        }
    }
    found.key_unreadable = stored && found.key.is_none();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_has_a_row_for_its_bins_and_one_for_what_they_lack() {
        let bytes = request("test", &[Digest([1; 20]), Digest([2; 20])], 1000);
        let (mut input, mut fields) = (&bytes[8..], Vec::new());
        let head = take_message(&mut input, &mut fields, &mut Vec::new()).unwrap();
        assert_eq!((head.info1, head.row, fields.len(), fields[0].kind), (9, 1000, 1, 41));
        let rows = fields[0].data;
        let mut first = vec![0, 0, 0, 4, 5, 0, 0, 0, 0];
        first.extend_from_slice(&[1; 20]);
        first.extend_from_slice(b"\0\x03\0\x01\0\0\0\0\0\x05\0test\0\0\0\x01");
        first.extend_from_slice(&[2; 20]);
        first.extend_from_slice(&[1, 0, 0, 0, 2]);
        first.extend_from_slice(&[1; 20]);
        first.extend_from_slice(b"\0\x01\0\x01\0\x05\0\0\0\x05\0test");
        assert_eq!(rows[..first.len()], first);
        let mut last = vec![0, 0, 0, 3];
        last.extend_from_slice(&[2; 20]);
        last.push(1);
        assert!(rows.ends_with(&last));
    }

    #[test]
    fn set_and_key_come_from_the_results_of_expressions() {
        fn bin<'a>(name: &'a [u8], particle: ParticleType, bytes: &'a [u8]) -> BinRef<'a> {
            BinRef { name, particle, bytes }
        }
        let set = bin(b"s", ParticleType::STRING, b"users");
        let yes = bin(b"e", ParticleType::BOOL, &[1]);
        let no = bin(b"e", ParticleType::BOOL, &[0]);
        let text = bin(b"t", ParticleType::STRING, b"ada");
        let nothing = bin(b"i", ParticleType::NULL, b"");
        let key = Some((ParticleType::STRING, b"ada".to_vec()));
        let of = |key, key_unreadable| Identity { set: b"users".to_vec(), key, key_unreadable };
        assert_eq!(identity(&[set, yes, nothing, text]), of(key, false));
        assert_eq!(identity(&[set, no, nothing]), of(None, false));
        assert_eq!(identity(&[set, yes, nothing]), of(None, true));
    }
}
