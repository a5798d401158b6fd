//! One connection: requests in, answers out.

use super::counts::Query;
use super::data::{Bin, Digest, Record, Write as Change, now, partition};
use super::filter::{Filter, Verdict};
use super::protocol::{INFO, Input, MESSAGE, Message, SECURITY, frame, read_frame};
use super::{Fault, Moment, On, Shared, info, lock, security};
use std::collections::HashMap;
use std::io::{Read, Write};
use std::sync::Mutex;
use std::time::Duration;

/// Records that fit into one frame of an answer.
const RECORDS_OF_A_FRAME: usize = 7;

const READ: u8 = 1;
const GET_ALL: u8 = 2;
const BATCH: u8 = 8;
const NO_BINS: u8 = 32;
const WRITE: u8 = 1;
const LAST: u8 = 1;
const PARTITION_DONE: u8 = 4;

pub fn connection(mut stream: impl Read + Write, node: usize, shared: &Mutex<Shared>) {
    let mut who = security::Who { logged_in: lock(shared).users.is_empty(), ..Default::default() };
    while let Ok((kind, body)) = read_frame(&mut stream) {
        if lock(shared).nodes[node].down {
            return;
        }
        let (on, answer) = match kind {
            SECURITY => {
                let answers = security::answer(&mut lock(shared), node, &body, &mut who);
                if answers.iter().any(|answer| stream.write_all(&frame(SECURITY, answer)).is_err()) {
                    return;
                }
                continue;
            }
            INFO if who.logged_in => (On::Info, vec![info::answer(&mut lock(shared), node, &body)]),
            INFO => (
                On::Info,
                vec![body.split(|&b| b == b'\n').filter(|name| !name.is_empty()).fold(Vec::new(), |mut out, name| {
                    out.extend_from_slice(name);
                    out.extend_from_slice(b"\tERROR:80:not authenticated\n");
                    out
                })],
            ),
            MESSAGE => {
                let message = Message::parse(&body);
                let on = match message.info {
                    [info1, ..] if info1 & BATCH != 0 => On::Batch,
                    [_, info2, ..] if info2 & WRITE != 0 => On::Write,
                    _ if message.field(11).is_some() || message.field(12).is_some() => On::Query,
                    _ => On::Batch,
                };
                if who.logged_in { (on, vec![]) } else { (on, vec![end(80)]) }
            }
            other => panic!("frame of type {other}"),
        };
        let asked = if on == On::Query { partitions(&Message::parse(&body)) } else { Vec::new() };
        let fault = take_fault(&mut lock(shared), node, on, &asked);
        if let Some(Fault::Slow(time)) = &fault {
            std::thread::sleep(*time);
        }
        let mut frames = answer;
        if frames.is_empty() {
            frames = match &fault {
                Some(Fault::Refuse(code)) => vec![end(*code)],
                _ => message(&mut lock(shared), node, &Message::parse(&body), fault.as_ref()),
            };
        }
        if !send(&mut stream, kind, frames, fault) {
            return;
        }
    }
}

/// A connection to the admin port: it takes no requests for records.
pub fn admin(mut stream: impl Read + Write, node: usize, shared: &Mutex<Shared>) {
    while let Ok((INFO, body)) = read_frame(&mut stream) {
        let answer = String::from_utf8(info::answer(&mut lock(shared), node, &body)).unwrap();
        let answer = answer.replace("connection\tadmin=false", "connection\tadmin=true");
        if stream.write_all(&frame(INFO, answer.as_bytes())).is_err() {
            return;
        }
    }
}

/// The partitions that a query asks for whole.
fn partitions(message: &Message) -> Vec<u16> {
    let numbers = message.field(11).unwrap_or_default();
    numbers.chunks_exact(2).map(|bytes| u16::from_le_bytes([bytes[0], bytes[1]])).collect()
}

/// The next fault for a request. One that is about a partition waits for a query that asks for it.
fn take_fault(shared: &mut Shared, node: usize, on: On, asked: &[u16]) -> Option<Fault> {
    let place = shared.faults.iter().position(|(at, kind, fault, times)| {
        let meant = !matches!(fault, Fault::Partition(number, _) if !asked.contains(number));
        (*at, *kind) == (node, on) && *times > 0 && meant
    })?;
    shared.faults[place].3 -= 1;
    Some(shared.faults[place].2.clone())
}

/// Sends the frames of an answer; `false` if the connection shall be closed.
fn send(stream: &mut impl Write, kind: u8, mut frames: Vec<Vec<u8>>, fault: Option<Fault>) -> bool {
    match fault {
        Some(Fault::Close(after)) => {
            frames.truncate(after);
            frames.iter().all(|body| stream.write_all(&frame(kind, body)).is_ok());
            return false;
        }
        Some(Fault::NoEnd) => {
            frames.pop();
        }
        Some(Fault::Version) => {
            let mut bytes = frame(kind, &frames[0]);
            bytes[0] = 9;
            let _ = stream.write_all(&bytes);
            return false;
        }
        Some(Fault::Length(length)) => {
            let mut bytes = frame(kind, &frames[0]);
            bytes[2..8].copy_from_slice(&length.to_be_bytes()[2..]);
            let _ = stream.write_all(&bytes);
            return false;
        }
        Some(Fault::Damage) => {
            let middle = frames[0].len() / 2;
            frames[0][middle] ^= 0xff;
            frames[0][0] ^= 0x40;
        }
        _ => {}
    }
    frames.iter().all(|body| stream.write_all(&frame(kind, body)).is_ok())
}

/// A message that ends an answer.
fn end(code: u8) -> Vec<u8> {
    Message { info: [0, 0, LAST, 0], result: code, ..Message::default() }.encode()
}

fn message(shared: &mut Shared, node: usize, message: &Message, fault: Option<&Fault>) -> Vec<Vec<u8>> {
    if message.info[0] & BATCH != 0 {
        return batch(shared, node, message, fault);
    }
    let Some(namespace) = message.field(0).map(|name| String::from_utf8_lossy(name).into_owned()) else {
        return vec![end(4)];
    };
    if !shared.namespaces.contains_key(&namespace) {
        return vec![end(20)];
    }
    if message.field(11).is_some() || message.field(12).is_some() {
        return query(shared, node, &namespace, message, fault);
    }
    let Some(digest) = message.field(4).and_then(|digest| Digest::try_from(digest).ok()) else { return vec![end(4)] };
    vec![single(shared, node, &namespace, digest, message, fault).encode()]
}

fn owns(shared: &Shared, node: usize, number: u16) -> bool {
    shared.copies || shared.owners[usize::from(number)] == Some(node)
}

/// The servers' clock, in nanoseconds since the Unix epoch.
pub fn clock(shared: &Shared) -> u64 {
    now().saturating_add_signed(shared.clock_ahead)
}

/// A read or write of one record.
fn single(
    shared: &mut Shared,
    node: usize,
    name: &str,
    digest: Digest,
    message: &Message,
    fault: Option<&Fault>,
) -> Message {
    let now = clock(shared);
    if !owns(shared, node, partition(&digest)) {
        return Message { result: 11, ..Message::default() };
    }
    if !shared.namespaces.contains_key(name) {
        return Message { result: 20, ..Message::default() };
    }
    let [info1, info2, info3, _] = message.info;
    if info2 & WRITE != 0 {
        if let Some(Fault::RefuseRecord(bad, code)) = fault
            && *bad == digest
        {
            return Message { result: *code, ..Message::default() };
        }
        // Only the Enterprise Edition leaves tombstones.
        let durable = info2 & 16 != 0;
        if durable && !shared.edition.contains("Enterprise") {
            return Message { result: 25, ..Message::default() };
        }
        if info2 & 2 != 0 {
            shared.log.push(format!("delete{}", if durable { " for good" } else { "" }));
        }
        let change = Change {
            set: message.field(1).unwrap_or_default().to_vec(),
            key: message.field(2).unwrap_or_default().to_vec(),
            ttl: message.ttl,
            generation_equal: (info2 & 4 != 0).then_some(message.generation),
            generation_greater: (info2 & 8 != 0).then_some(message.generation),
            create_only: info2 & 32 != 0,
            delete: info2 & 2 != 0,
            update_only: info3 & 8 != 0,
            replace: info3 & 16 != 0,
            replace_only: info3 & 32 != 0,
            touch: message.operations.iter().any(|operation| operation.0 == 11),
            bins: message.operations.iter().filter(|op| op.0 == 2).map(|operation| operation.1.clone()).collect(),
        };
        let Some(namespace) = shared.namespaces.get_mut(name) else { return Message::default() };
        let (result, generation) = namespace.write(digest, &change, now);
        return Message { result, generation, ..Message::default() };
    }
    if let Some(Fault::Unreadable(bad, code)) = fault
        && *bad == digest
    {
        return Message { result: *code, ..Message::default() };
    }
    let Some(record) = shared.namespaces.get(name).and_then(|namespace| namespace.get(&digest, now)) else {
        return Message { result: 2, ..Message::default() };
    };
    let reads_bins = info1 & GET_ALL != 0 || !message.operations.is_empty();
    let operations = if info1 & GET_ALL != 0 {
        record.bins.iter().map(|bin| (1, bin.clone())).collect()
    } else {
        message.operations.iter().filter_map(|(code, bin)| Some((*code, evaluate(*code, bin, record)?))).collect()
    };
    let (generation, ttl) = (record.generation, record.void_time);
    // The index alone tells what there is to say without bins.
    shared.read_device(node, u64::from(reads_bins));
    Message { generation, ttl, operations, ..Message::default() }
}

/// The result of one read operation.
fn evaluate(code: u8, bin: &Bin, record: &Record) -> Option<Bin> {
    if code == 1 {
        return record.bins.iter().find(|other| other.0 == bin.0).cloned();
    }
    assert_eq!(code, 7, "operation");
    let key = |particle: u8| (record.key.first() == Some(&particle)).then(|| (particle, record.key[1..].to_vec()));
    let (particle, value) = match bin.2[..] {
        [0x92, 0x91, 70, 16] => (3, record.set.clone()),
        [0x92, 0x91, 71, 16] => (17, vec![u8::from(!record.key.is_empty())]),
        [0x92, 0x92, 80, 2, 16] => key(1)?,
        [0x92, 0x92, 80, 3, 16] => key(3)?,
        [0x92, 0x92, 80, 6, 16] => key(4)?,
        _ => panic!("expression {:?}", bin.2),
    };
    Some((bin.0.clone(), particle, value))
}

/// The bins that a message reads; all if it names none.
fn chosen(bins: &[Bin], message: &Message) -> Vec<(u8, Bin)> {
    let wanted: Vec<&Vec<u8>> = message.operations.iter().filter(|op| op.0 == 1).map(|op| &op.1.0).collect();
    let chosen = bins.iter().filter(|bin| wanted.is_empty() || wanted.contains(&&bin.0));
    chosen.map(|bin| (1, bin.clone())).collect()
}

fn query(shared: &mut Shared, node: usize, name: &str, message: &Message, fault: Option<&Fault>) -> Vec<Vec<u8>> {
    let mut wanted: Vec<(u16, Option<Digest>)> = partitions(message).into_iter().map(|number| (number, None)).collect();
    wanted.extend(message.field(12).unwrap_or_default().chunks_exact(20).map(|bytes| {
        let digest = Digest::try_from(bytes).unwrap();
        (partition(&digest), Some(digest))
    }));
    let begins = if message.info[0] & NO_BINS != 0 { Moment::Walk } else { Moment::Scan };
    shared.reach(|moment| moment == begins);
    let set = message.field(1);
    let filter = match message.field(43).map(Filter::parse) {
        Some(None) => return vec![end(4)],
        Some(filter) => filter,
        None => None,
    };
    let id = message.field(7).map(|id| u64::from_be_bytes(id.try_into().unwrap())).unwrap_or_default();
    let no_bins = message.info[0] & NO_BINS != 0;
    let what = if no_bins { "walk" } else { "scan" };
    shared.log.push(format!("{what} {} partitions of {name} on {node}", wanted.len()));
    let mut query = Query {
        id,
        namespace: name.to_string(),
        set: set.unwrap_or_default().to_vec(),
        partitions: partitions(message).len(),
        ..Query::default()
    };
    query.digests = wanted.len() - query.partitions;
    let mut messages: Vec<Vec<u8>> = Vec::new();
    let mut device_reads = 0;
    // Two threads of a server: the partitions come mixed.
    wanted.sort_by_key(|(number, _)| (number % 2, *number));
    for (number, after) in wanted {
        shared.reach(|moment| moment == Moment::Partition);
        let refused = match fault {
            Some(Fault::Partition(bad, code)) if *bad == number => Some(*code),
            _ if !owns(shared, node, number) => Some(11),
            _ => None,
        };
        if let Some(code) = refused {
            let note = Message {
                info: [0, 0, PARTITION_DONE, 0],
                result: code,
                generation: number.into(),
                ..Message::default()
            };
            messages.push(note.encode());
            continue;
        }
        let now = clock(shared);
        for (digest, record) in shared.namespaces[name].of_partition(number) {
            if after.is_some_and(|after| *digest >= after)
                || record.expired(now)
                || set.is_some_and(|set| set != record.set)
            {
                continue;
            }
            let by_metadata = filter.as_ref().map(|filter| filter.by_metadata(record).expect("a known expression"));
            if by_metadata == Some(Verdict::Excluded) {
                query.filtered_meta += 1;
                continue;
            }
            // Even without bins a stored key is read.
            let needs_bins = by_metadata == Some(Verdict::NeedsBins);
            device_reads += u64::from(needs_bins || !no_bins || !record.key.is_empty());
            if needs_bins && filter.as_ref().and_then(|filter| filter.passes(record)) != Some(true) {
                query.filtered_bins += 1;
                continue;
            }
            if matches!(fault, Some(Fault::Unreadable(bad, _)) if bad == digest) && !no_bins {
                query.failed += 1;
                continue;
            }
            query.succeeded += 1;
            let mut fields = vec![(0, name.as_bytes().to_vec()), (4, digest.to_vec())];
            if !record.set.is_empty() {
                fields.push((1, record.set.clone()));
            }
            if !record.key.is_empty() {
                fields.push((2, record.key.clone()));
            }
            let mut operations: Vec<(u8, Bin)> = if no_bins { vec![] } else { chosen(&record.bins, message) };
            if matches!(fault, Some(Fault::DuplicateBin(bad)) if bad == digest) && !no_bins {
                operations.push(operations[0].clone());
            }
            let (generation, ttl) = (record.generation, record.void_time);
            messages.push(Message { generation, ttl, fields, operations, ..Message::default() }.encode());
        }
    }
    shared.read_device(node, device_reads);
    query.succeeded += shared.overcounted;
    let at_most = shared.remembered;
    shared.nodes[node].remember(query, at_most);
    let mut frames: Vec<Vec<u8>> = messages.chunks(RECORDS_OF_A_FRAME).map(<[Vec<u8>]>::concat).collect();
    frames.push(end(0));
    frames
}

fn batch(shared: &mut Shared, node: usize, request: &Message, fault: Option<&Fault>) -> Vec<Vec<u8>> {
    let Some(rows) = request.field(41) else { return vec![end(4)] };
    shared.reach(|moment| moment == Moment::Batch);
    let filter = request.field(43).map(|bytes| Filter::parse(bytes).expect("a filter"));
    let mut input = Input(rows);
    let count = input.u32();
    input.u8();
    shared.log.push(format!("batch {count} rows on {node}"));
    shared.longest_batch = shared.longest_batch.max(request.row);
    let mut answers = Vec::new();
    let mut before: Option<(String, Message)> = None;
    let mut seen = HashMap::new();
    for _ in 0..count {
        let row = input.u32();
        let digest = Digest::try_from(input.bytes(20)).unwrap();
        let kind = input.u8();
        if kind & 1 == 0 {
            let mut message = Message { info: [input.u8(), 0, 0, 0], ..Message::default() };
            if kind & 2 != 0 {
                message.info[1] = input.u8();
                message.info[2] = input.u8();
            }
            if kind & 16 != 0 {
                message.info[3] = input.u8();
            }
            if kind & 4 != 0 {
                message.generation = input.u16().into();
            }
            if kind & 8 != 0 {
                message.ttl = input.u32();
            }
            let (fields, operations) = (input.u16(), input.u16());
            message.fields = input.fields(fields);
            message.operations = input.operations(operations);
            let namespace = String::from_utf8_lossy(message.field(0).unwrap_or_default()).into_owned();
            before = Some((namespace, message));
        }
        let (namespace, message) = before.as_ref().expect("the first row is whole");
        if matches!(fault, Some(Fault::Unanswered(lost)) if *lost == digest) {
            continue;
        }
        let mut answer = match excluded(shared, node, namespace, &digest, filter.as_ref()) {
            false => single(shared, node, namespace, digest, message, fault),
            true => Message { result: 27, ..Message::default() },
        };
        if let Some(Fault::RefuseIdentity(bad, code)) = fault
            && *bad == digest
            && row >= count / 2
        {
            answer = Message { result: *code, ..Message::default() };
        }
        answer.row = row;
        assert!(seen.insert(row, ()).is_none(), "row {row} twice");
        answers.push(answer.encode());
    }
    assert!(input.0.is_empty(), "bytes after the last row");
    // Rows are answered in any order.
    answers.reverse();
    let mut frames: Vec<Vec<u8>> = answers.chunks(RECORDS_OF_A_FRAME).map(<[Vec<u8>]>::concat).collect();
    frames.push(end(0));
    frames
}

/// Whether the filter of a batch excludes a record that the node has.
fn excluded(shared: &mut Shared, node: usize, name: &str, digest: &Digest, filter: Option<&Filter>) -> bool {
    let now = clock(shared);
    let record = shared.namespaces.get(name).and_then(|namespace| namespace.get(digest, now));
    let (Some(filter), Some(record), true) = (filter, record, owns(shared, node, partition(digest))) else {
        return false;
    };
    let passes = filter.passes(record).expect("a known expression");
    let reads = filter.by_metadata(record) == Some(Verdict::NeedsBins) && !passes;
    shared.read_device(node, u64::from(reads));
    !passes
}

/// How long a slow answer takes in tests.
pub const SLOW: Duration = Duration::from_millis(1500);
