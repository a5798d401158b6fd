//! Partition queries: all records of some partitions, with or without their bins.
//!
//! The answer is a sequence of messages in frames: records, notes about single partitions, and one last message.
//! Servers since 6.0 note only partitions that they could *not* read; a partition that was asked for, about which
//! nothing was said, is complete once the last message came with result 0. Older ones note each partition that is done.
//!
//! Partitions are read by several threads of the server, so that records of different partitions come mixed. Within one
//! partition they come in descending order of their digests, but nothing here depends on it.

use super::WireError;
use super::message::{Field, Head, field, info1, info3, request, take_message};
use super::result_code::ResultCode;
use crate::record::{BinRef, Digest, Generation, KeyRef, ParticleType, PartitionId, VoidTime};

/// What to read.
#[derive(Clone, Debug)]
pub struct PartitionQuery<'a> {
    /// The namespace.
    pub namespace: &'a str,
    /// Only this set; empty for all.
    pub set: &'a [u8],
    /// These partitions, whole.
    pub partitions: &'a [PartitionId],
    /// The partitions of these digests, from the records that come after each.
    pub after: &'a [Digest],
    /// The bins that are wanted: all if empty, none at all if absent.
    pub bins: Option<&'a [Vec<u8>]>,
    /// Only records for which this expression is true; empty for all.
    pub filter: &'a [u8],
    /// The most records per second; 0 for no limit.
    pub records_per_second: u32,
    /// How long the server waits for us to read, in milliseconds; 0 for ever.
    pub socket_timeout: u32,
    /// A number that no other query has.
    pub id: u64,
}

impl PartitionQuery<'_> {
    /// The request, as a whole frame.
    pub fn encode(&self) -> Vec<u8> {
        let partitions: Vec<u8> =
            self.partitions.iter().flat_map(|partition| partition.number().to_le_bytes()).collect();
        let after: Vec<u8> = self.after.iter().flat_map(|digest| digest.0).collect();
        let rate = self.records_per_second.to_be_bytes();
        let timeout = self.socket_timeout.to_be_bytes();
        let id = self.id.to_be_bytes();
        let fields = [
            Field { kind: field::NAMESPACE, data: self.namespace.as_bytes() },
            Field { kind: field::SET, data: self.set },
            Field { kind: field::RECORDS_PER_SECOND, data: if self.records_per_second > 0 { &rate } else { &[] } },
            Field { kind: field::SOCKET_TIMEOUT, data: &timeout },
            Field { kind: field::QUERY_ID, data: &id },
            Field { kind: field::PARTITIONS, data: &partitions },
            Field { kind: field::DIGESTS, data: &after },
            Field { kind: field::FILTER, data: self.filter },
        ];
        let fields: Vec<Field<'_>> = fields.into_iter().filter(|field| !field.data.is_empty()).collect();
        let info1 = if self.bins.is_some() { info1::READ } else { info1::READ | info1::NO_BINS };
        let head = Head { info1, info3: info3::PARTITION_DONE, ..Head::default() };
        request(head, &fields, self.bins.unwrap_or_default())
    }
}

/// A record as a server sent it.
#[derive(Clone, Copy, Debug)]
pub struct WireRecord<'a, 'b> {
    /// Its digest.
    pub digest: Digest,
    /// Its set; empty for the null set.
    pub set: &'a [u8],
    /// Its user key, if stored.
    pub key: Option<KeyRef<'a>>,
    /// Its generation.
    pub generation: Generation,
    /// When it expires.
    pub void_time: VoidTime,
    /// Its bins, in the server's order.
    pub bins: &'b [BinRef<'a>],
}

/// One message of an answer.
#[derive(Clone, Copy, Debug)]
pub enum QueryItem<'a, 'b> {
    /// A record.
    Record(WireRecord<'a, 'b>),
    /// A record that can't be parsed, and why; its digest if it has one.
    Bad(Option<Digest>, &'static str),
    /// The server's word on one partition.
    Partition(u32, ResultCode),
    /// The end of the answer.
    Last(ResultCode),
}

/// Reads the messages of one frame and hands them to `visit`.
pub fn items<E: From<WireError>>(
    frame: &[u8],
    mut visit: impl FnMut(QueryItem<'_, '_>) -> Result<(), E>,
) -> Result<(), E> {
    let mut input = frame;
    let (mut fields, mut bins) = (Vec::with_capacity(8), Vec::with_capacity(64));
    while !input.is_empty() {
        let head = take_message(&mut input, &mut fields, &mut bins)?;
        let result = ResultCode(head.result);
        if head.info3 & info3::LAST != 0 {
            visit(QueryItem::Last(result))?;
        } else if head.info3 & info3::PARTITION_DONE != 0 {
            visit(QueryItem::Partition(head.generation, result))?;
        } else if result != ResultCode::OK {
            // An answer that consists of an error alone has no mark of its end.
            visit(QueryItem::Last(result))?;
        } else {
            visit(record(&head, &fields, &bins))?;
        }
    }
    Ok(())
}

fn record<'a, 'b>(head: &Head, fields: &[Field<'a>], bins: &'b [BinRef<'a>]) -> QueryItem<'a, 'b> {
    let (mut digest, mut set, mut key) = (None, &[][..], None);
    let mut problem = None;
    for field in fields {
        match field.kind {
            field::DIGEST => match field.data.try_into() {
                Ok(bytes) => digest = Some(Digest(bytes)),
                Err(_) => problem = Some("its digest has not 20 bytes"),
            },
            field::SET => set = field.data,
            field::KEY => match field.data.split_first() {
                Some((&particle, bytes)) if particle != 0 => {
                    key = Some(KeyRef { particle: ParticleType(particle), bytes });
                }
                _ => problem = Some("its user key has no type"),
            },
            _ => {}
        }
    }
    let (generation, void_time) = (Generation(head.generation), VoidTime(head.void_time));
    match (digest, problem) {
        (Some(digest), None) => QueryItem::Record(WireRecord { digest, set, key, generation, void_time, bins }),
        (digest, problem) => QueryItem::Bad(digest, problem.unwrap_or("it has no digest")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::message::{put_field, put_operation};
    use super::*;
    use proptest::prelude::*;

    fn query(partitions: &[PartitionId]) -> PartitionQuery<'_> {
        PartitionQuery {
            namespace: "test",
            set: b"",
            partitions,
            after: &[],
            bins: Some(&[]),
            filter: &[],
            records_per_second: 0,
            socket_timeout: 0x0102,
            id: 7,
        }
    }

    #[test]
    fn a_query_names_its_partitions_in_little_endian() {
        let partitions = [PartitionId::new(1).unwrap(), PartitionId::new(0x0abc).unwrap()];
        let bytes = query(&partitions).encode();
        let mut expected = vec![2, 3, 0, 0, 0, 0, 0, 66, 22, 1, 0, 4, 0, 0];
        expected.extend_from_slice(&[0; 12]);
        expected.extend_from_slice(&[0, 4, 0, 0]);
        expected.extend_from_slice(b"\0\0\0\x05\0test\0\0\0\x05\x09\0\0\x01\x02\0\0\0\x09\x07\0\0\0\0\0\0\0\x07");
        expected.extend_from_slice(&[0, 0, 0, 5, 11, 1, 0, 0xbc, 0x0a]);
        expected[7] = (expected.len() - 8) as u8;
        assert_eq!(bytes, expected);
    }

    #[test]
    fn optional_parts_appear_only_when_asked_for() {
        let kinds = |bytes: &[u8]| {
            let (mut input, mut fields) = (&bytes[8..], Vec::new());
            let head = take_message(&mut input, &mut fields, &mut Vec::new()).unwrap();
            (head.info1, fields.iter().map(|field| field.kind).collect::<Vec<_>>())
        };
        let partitions = [PartitionId::new(1).unwrap()];
        let plain = query(&partitions);
        assert_eq!(kinds(&plain.encode()), (1, vec![0, 9, 7, 11]));
        let digests = [Digest([3; 20])];
        let all = PartitionQuery {
            set: b"s",
            partitions: &[],
            after: &digests,
            bins: None,
            filter: &[1],
            records_per_second: 5,
            ..plain
        };
        assert_eq!(kinds(&all.encode()), (0x21, vec![0, 1, 10, 9, 7, 12, 43]));
    }

    fn seen(frame: &[u8]) -> Result<Vec<String>, WireError> {
        let mut found = Vec::new();
        items(frame, |item| {
            found.push(match item {
                QueryItem::Record(record) => format!(
                    "{:02x} {:?} {:?} {} {} {}",
                    record.digest.0[0],
                    String::from_utf8_lossy(record.set),
                    record.key.map(|key| key.bytes),
                    record.generation.0,
                    record.void_time.0,
                    record.bins.len()
                ),
                QueryItem::Bad(digest, problem) => format!("bad {} {problem}", digest.is_some()),
                QueryItem::Partition(number, result) => format!("partition {number} {}", result.0),
                QueryItem::Last(result) => format!("last {}", result.0),
            });
            Ok::<_, WireError>(())
        })?;
        Ok(found)
    }

    #[test]
    fn tells_records_from_notes_and_from_the_end() {
        let mut frame = Vec::new();
        Head { generation: 3, void_time: 9, fields: 3, operations: 1, ..Head::default() }.put(&mut frame);
        put_field(&mut frame, field::DIGEST, &[0xab; 20]);
        put_field(&mut frame, field::SET, b"users");
        put_field(&mut frame, field::KEY, b"\x03ada");
        put_operation(&mut frame, 1, ParticleType::STRING, b"bin", b"value");
        Head { fields: 1, ..Head::default() }.put(&mut frame);
        put_field(&mut frame, field::DIGEST, &[1; 19]);
        Head { fields: 2, ..Head::default() }.put(&mut frame);
        put_field(&mut frame, field::DIGEST, &[1; 20]);
        put_field(&mut frame, field::KEY, b"");
        Head { info3: info3::PARTITION_DONE, generation: 77, result: 11, ..Head::default() }.put(&mut frame);
        Head { info3: info3::LAST, ..Head::default() }.put(&mut frame);
        assert_eq!(
            seen(&frame).unwrap(),
            [
                "ab \"users\" Some([97, 100, 97]) 3 9 1",
                "bad false its digest has not 20 bytes",
                "bad true its user key has no type",
                "partition 77 11",
                "last 0"
            ]
        );
        let mut refused = Vec::new();
        Head { result: 4, ..Head::default() }.put(&mut refused);
        assert_eq!(seen(&refused).unwrap(), ["last 4"]);
    }

    proptest! {
        #[test]
        fn never_panics_on_arbitrary_frames(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = seen(&bytes);
        }
    }
}
