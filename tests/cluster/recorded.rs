//! What a real server answered, read again by our reader and writer: `tests/data/aerospike`, whose README says how it
//! was recorded.
//!
//! With `AEROLITH_RECORD_CLUSTER=HOST:PORT` the recording is made again, from namespace `test` there. Our own reader
//! and writer ask, and a proxy between them and the server keeps what goes by. Played back, a query is answered
//! partition by partition, a batch row by row, so that how requests are grouped may change; what a query, a row or an
//! info request says may not.

use super::conformance::{NEVER, int, number};
use super::{Found, NAMESPACE, connect, quick, read, scan, take, target, walk};
use crate::support::cluster::client::{Client, digest};
use crate::support::cluster::protocol::{INFO, Input, MESSAGE, Message, frame, read_frame};
use aerolith::record::{
    BinRef, Digest, Generation, KeyRef, NamespaceMetadata, ParticleType, RecordBatch, RecordMeta, Timestamp, VoidTime,
};
use aerolith::{
    AsbOptions, AsbSource, BadRecord, ConflictPolicy, Control, DigestRow, RecordSink, RecordSource, RecordTarget,
    SourceShape,
};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The line of `info.txt` that holds the time since when what changed was asked for.
const SINCE: &str = "recorded: since";
/// The set of the records that changed since then.
const CHANGED: &[u8] = b"changed";
/// The set into which is written.
const WRITTEN: &[u8] = b"written";

const QUERY_IS_LAST: u8 = 1;
const PARTITION_DONE: u8 = 4;
const NAMESPACE_FIELD: u8 = 0;
const SET_FIELD: u8 = 1;
const DIGEST_FIELD: u8 = 4;
const PARTITIONS_FIELD: u8 = 11;
const BATCH_FIELD: u8 = 41;
const FILTER_FIELD: u8 = 43;

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/aerospike").join(name)
}

/// The messages of a body, each with its bytes.
fn messages(body: &[u8]) -> Vec<(Message, Vec<u8>)> {
    let mut input = Input(body);
    let mut all = Vec::new();
    while !input.0.is_empty() {
        let before = input.0;
        let message = Message::take(&mut input);
        all.push((message, before[..before.len() - input.0.len()].to_vec()));
    }
    all
}

/// Whether a body ends the answer to a request.
fn ends(request: &Message, body: &[u8]) -> bool {
    messages(body).iter().any(|(message, _)| {
        let is_row = request.field(BATCH_FIELD).is_some() || message.info[2] & PARTITION_DONE != 0;
        message.info[2] & QUERY_IS_LAST != 0 || !is_row && message.result != 0
    })
}

/// What went by: lines of info, then bodies of messages, each request before its answer.
#[derive(Default)]
struct Tape {
    info: BTreeMap<String, Vec<u8>>,
    messages: Vec<Vec<u8>>,
}

/// Answers connections on a thread each, with what `answer` makes of a frame; gives back the address. A panic closes
/// the connection.
fn serve(answer: impl Fn(&mut Option<TcpStream>, u8, &[u8]) -> Vec<u8> + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, answer) = (stream.unwrap(), answer.clone());
            std::thread::spawn(move || {
                let mut behind = None;
                while let Ok((kind, body)) = read_frame(&mut stream) {
                    if stream.write_all(&answer(&mut behind, kind, &body)).is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

/// A proxy before the server at `address`, which keeps what goes by.
fn proxy(address: &str, tape: &Arc<Mutex<Tape>>) -> String {
    let (address, tape) = (address.to_string(), tape.clone());
    serve(move |behind, kind, body| {
        let server = behind.get_or_insert_with(|| TcpStream::connect(&address).unwrap());
        server.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        server.write_all(&frame(kind, body)).unwrap();
        if kind == INFO {
            let (_, reply) = read_frame(server).unwrap();
            for line in reply.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
                let (name, value) = line.split_at(line.iter().position(|&byte| byte == b'\t').unwrap());
                let name = name_of_info(std::str::from_utf8(name).unwrap());
                tape.lock().unwrap().info.insert(name, value[1..].to_vec());
            }
            return frame(kind, &reply);
        }
        let request = Message::parse(body);
        let mut replies = Vec::new();
        loop {
            let (kind, reply) = read_frame(server).unwrap();
            assert_eq!(kind, MESSAGE);
            replies.extend(reply.clone());
            if ends(&request, &reply) {
                break;
            }
        }
        let mut tape = tape.lock().unwrap();
        tape.messages.extend([body.to_vec(), replies.clone()]);
        frame(kind, &replies)
    })
}

/// An info request, without numbers that are made up.
fn name_of_info(name: &str) -> String {
    name.split_once("trid=").map_or(name, |(command, _)| command).to_string()
}

/// What a query asks for, but for its partitions and its number.
fn kind_of_query(request: &Message) -> Vec<u8> {
    let part = |kind| request.field(kind).unwrap_or_default();
    let bins = request.operations.iter().map(|(code, (name, ..))| [&[*code][..], name].concat()).collect::<Vec<_>>();
    [&request.info[..], part(NAMESPACE_FIELD), b"/", part(SET_FIELD), b"/", part(FILTER_FIELD), &bins.concat()].concat()
}

/// The rows of a batch: number, digest, and all that the row says.
fn rows(request: &Message) -> Vec<(u32, Vec<u8>, Vec<u8>)> {
    let mut input = Input(request.field(BATCH_FIELD).unwrap());
    let count = input.u32();
    input.u8();
    let mut said = Vec::new();
    let mut all = Vec::new();
    for _ in 0..count {
        let number = input.u32();
        let digest = input.bytes(20).to_vec();
        let before = input.0;
        let kind = input.u8();
        if kind & 1 == 0 {
            let more = [(2, 2), (16, 1), (4, 2), (8, 4)].iter().map(|(bit, n)| if kind & bit != 0 { *n } else { 0 });
            input.bytes(1 + more.sum::<usize>());
            let (fields, operations) = (input.u16(), input.u16());
            input.fields(fields);
            input.operations(operations);
            said = before[..before.len() - input.0.len()].to_vec();
        }
        all.push((number, digest, said.clone()));
    }
    assert!(input.0.is_empty());
    all
}

/// A row's digest, and what is asked of it.
type Row = (Vec<u8>, Vec<u8>);

/// The recording, by what is asked.
#[derive(Default)]
struct Recording {
    info: BTreeMap<String, Vec<u8>>,
    /// For each kind of query, the records of each partition.
    queries: HashMap<Vec<u8>, HashMap<u16, Vec<u8>>>,
    /// For each digest and what is asked of it, the answers in their order.
    rows: HashMap<Row, VecDeque<Vec<u8>>>,
}

impl Recording {
    fn load() -> Self {
        let mut all = Self::default();
        let text = std::fs::read(file("info.txt")).unwrap();
        for line in text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
            let at = line.iter().position(|&byte| byte == b'\t').unwrap();
            all.info.insert(String::from_utf8(line[..at].to_vec()).unwrap(), line[at + 1..].to_vec());
        }
        let tape = std::fs::read(file("messages.bin")).unwrap();
        let mut tape = &tape[..];
        while !tape.is_empty() {
            let (_, request) = read_frame(&mut tape).unwrap();
            let (_, answer) = read_frame(&mut tape).unwrap();
            all.add(&Message::parse(&request), &answer);
        }
        all
    }

    fn add(&mut self, request: &Message, answer: &[u8]) {
        let answers = messages(answer);
        assert_eq!(answers.last().unwrap().0.info[2] & QUERY_IS_LAST, QUERY_IS_LAST);
        if request.field(BATCH_FIELD).is_some() {
            let rows: HashMap<u32, _> =
                rows(request).into_iter().map(|(n, digest, said)| (n, (digest, said))).collect();
            for (message, bytes) in answers.into_iter().filter(|(message, _)| message.info[2] & QUERY_IS_LAST == 0) {
                self.rows.entry(rows[&message.row].clone()).or_default().push_back(bytes);
            }
            return;
        }
        let partitions = self.queries.entry(kind_of_query(request)).or_default();
        for number in request.field(PARTITIONS_FIELD).unwrap().chunks(2) {
            partitions.entry(u16::from_le_bytes(number.try_into().unwrap())).or_default();
        }
        for (message, bytes) in answers {
            let Some(digest) = message.field(DIGEST_FIELD) else { continue };
            let partition = Digest(digest.try_into().unwrap()).partition().number();
            partitions.get_mut(&partition).expect("a partition that was asked for").extend(bytes);
        }
    }

    fn answer(&mut self, kind: u8, body: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        if kind == INFO {
            for name in std::str::from_utf8(body).unwrap().lines() {
                let recorded = self.info.get(&name_of_info(name)).map(Vec::as_slice);
                // What the same release said later, since nobody asked when this was recorded.
                let later = match name {
                    "connection" => Some(&b"admin=false"[..]),
                    "service-clear-std" => Some(&b"127.0.0.1:3000"[..]),
                    _ => None,
                };
                let value = recorded.or(later).unwrap_or_else(|| panic!("{name:?} was not recorded"));
                out.extend([name.as_bytes(), b"\t", value, b"\n"].concat());
            }
            return frame(INFO, &out);
        }
        let request = Message::parse(body);
        if request.field(BATCH_FIELD).is_some() {
            for (number, digest, said) in rows(&request) {
                let answers = self.rows.get_mut(&(digest, said)).expect("a row that was recorded");
                let mut bytes = answers.front().unwrap().clone();
                if answers.len() > 1 {
                    answers.pop_front();
                }
                // The row's number is at byte 14 of its head.
                bytes[14..18].copy_from_slice(&number.to_be_bytes());
                out.extend(bytes);
            }
        } else {
            let partitions = self.queries.get(&kind_of_query(&request)).expect("a query that was recorded");
            for number in request.field(PARTITIONS_FIELD).unwrap().chunks(2) {
                out.extend(&partitions[&u16::from_le_bytes(number.try_into().unwrap())]);
            }
        }
        out.extend(Message { info: [0, 0, QUERY_IS_LAST, 0], ..Message::default() }.encode());
        frame(MESSAGE, &out)
    }
}

/// A server that answers as the recorded one did; its address, and the time since when changes were recorded.
fn replay() -> (String, Timestamp) {
    let recording = Recording::load();
    let since = std::str::from_utf8(&recording.info[SINCE]).unwrap().parse().unwrap();
    let recording = Mutex::new(recording);
    let answer = move |_: &mut Option<TcpStream>, kind, body: &[u8]| {
        recording.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).answer(kind, body)
    };
    (serve(answer), Timestamp(since))
}

/// What our reader made of a server.
struct Seen {
    all: BTreeMap<[u8; 20], Found>,
    changed: BTreeMap<[u8; 20], Found>,
    walked: BTreeMap<[u8; 20], DigestRow>,
    by_digest: BTreeMap<[u8; 20], Found>,
    metadata: NamespaceMetadata,
    clock: Timestamp,
}

fn look(address: &str, since: Timestamp) -> Seen {
    let source = connect(address, quick(b"")).unwrap();
    assert_eq!(RecordSource::cluster(&source), Some("aerotest".into()));
    assert_eq!(source.namespaces().unwrap(), [NAMESPACE]);
    let all = scan(&source, None).unwrap();
    let mut digests: Vec<[u8; 20]> = all.keys().copied().collect();
    digests.push([9; 20]);
    let seen = Seen {
        changed: scan(&source, Some(since)).unwrap(),
        walked: walk(&source).unwrap(),
        by_digest: read(&source, &digests).unwrap(),
        metadata: source.metadata(NAMESPACE).unwrap(),
        clock: source.clock().unwrap(),
        all,
    };
    assert_eq!(aerolith::PartitionedSource::take_bad_records(&source), (0, vec![]));
    seen
}

/// One record of the set that is written: its key's number, its generation, the name and value of its bin.
fn one(key: i64, generation: u32, name: &[u8], particle: ParticleType, bytes: &[u8]) -> RecordBatch {
    let mut batch = RecordBatch::new();
    let key = key.to_be_bytes();
    let meta = RecordMeta {
        digest: Digest::compute(WRITTEN, ParticleType::INTEGER, &key),
        set: WRITTEN,
        generation: Generation(generation),
        void_time: VoidTime::NEVER,
    };
    let key = KeyRef { particle: ParticleType::INTEGER, bytes: &key };
    batch.push(meta, Some(key), &[BinRef { name, particle, bytes }]).unwrap();
    batch
}

/// Writes, overwrites, is refused and deletes; says what became of each record.
fn write(address: &str) -> Vec<String> {
    let target = target(address, "/test").unwrap();
    target.begin(NAMESPACE, &NamespaceMetadata::default()).unwrap();
    let string = |key, generation, text: &str| one(key, generation, b"v", ParticleType::STRING, text.as_bytes());
    let steps = [
        (ConflictPolicy::Replace, string(1, 1, "first")),
        (ConflictPolicy::Replace, string(1, 1, "second")),
        (ConflictPolicy::Keep, string(1, 1, "third")),
        (ConflictPolicy::Keep, string(2, 1, "new")),
        (ConflictPolicy::Newer, string(1, 1, "older")),
        (ConflictPolicy::Newer, string(1, 40, "newer")),
        (ConflictPolicy::Merge, one(1, 1, b"w", ParticleType::INTEGER, &7i64.to_be_bytes())),
        (ConflictPolicy::Replace, one(3, 1, b"a name of 16 byte", ParticleType::STRING, b"x")),
        (ConflictPolicy::Replace, one(3, 1, b"v", ParticleType(99), b"x")),
        (ConflictPolicy::Replace, one(3, 1, b"v", ParticleType::INTEGER, b"xyz")),
    ];
    let mut said = Vec::new();
    for (policy, batch) in steps {
        let outcome = target.write(NAMESPACE, &batch, policy).unwrap();
        let counts = [outcome.written, outcome.expired, outcome.exists, outcome.fresher];
        said.push(format!("{counts:?} {}", outcome.failed.iter().map(|failed| &failed.reason[..]).collect::<String>()));
    }
    let digests: Vec<Digest> = [1, 2, 3].map(|key| Digest(digest(WRITTEN, &int(key)))).into();
    let deleted = target.delete(NAMESPACE, &digests).unwrap();
    said.push(format!("deleted {} {:?}", deleted.deleted, deleted.failed));
    said
}

#[test]
fn a_recording_is_made_on_request() {
    let Ok(address) = std::env::var("AEROLITH_RECORD_CLUSTER") else { return };
    std::fs::create_dir_all(file("")).unwrap();
    let mut client = Client::connect(std::slice::from_ref(&address), NAMESPACE);
    (0..8).for_each(|n| {
        client.delete(CHANGED, &int(n));
    });
    std::thread::sleep(Duration::from_millis(1100));
    let since = connect(&address, quick(b"")).unwrap().clock().unwrap();
    for n in 0..8 {
        client.put(CHANGED, &int(n), n % 2 == 0, NEVER, &number(n));
    }
    let tape = Arc::default();
    let proxied = proxy(&address, &tape);
    look(&proxied, since);
    write(&proxied).iter().for_each(|line| println!("{line}"));
    let mut tape = tape.lock().unwrap();
    tape.info.insert(SINCE.into(), since.0.to_string().into_bytes());
    let lines = tape.info.iter().flat_map(|(name, value)| [name.as_bytes(), b"\t", value, b"\n"].concat());
    std::fs::write(file("info.txt"), lines.collect::<Vec<u8>>()).unwrap();
    let bytes = tape.messages.iter().flat_map(|body| frame(MESSAGE, body));
    std::fs::write(file("messages.bin"), bytes.collect::<Vec<u8>>()).unwrap();
}

/// The records that asbackup wrote of the same server.
#[derive(Default)]
struct Theirs(Mutex<BTreeMap<[u8; 20], Found>>);

impl RecordSink for Theirs {
    fn records(&self, batch: RecordBatch) -> aerolith::Result<()> {
        take(&batch, &mut self.0.lock().unwrap());
        Ok(())
    }

    fn bad_record(&self, _: BadRecord, error: aerolith::Error) -> aerolith::Result<()> {
        Err(error)
    }
}

fn asbackup() -> (BTreeMap<[u8; 20], Found>, NamespaceMetadata) {
    let backup = AsbSource::open(&file("asbackup.asb"), AsbOptions::default()).unwrap();
    let theirs = Theirs::default();
    let SourceShape::Stream(stream) = backup.shape() else { panic!("a stream") };
    stream.read(NAMESPACE, &theirs, &Control::new()).unwrap();
    (theirs.0.into_inner().unwrap(), backup.metadata(NAMESPACE).unwrap())
}

#[test]
fn what_a_real_server_answered_is_read_as_asbackup_read_it() {
    let (address, since) = replay();
    let seen = look(&address, since);
    let (mut theirs, _) = asbackup();
    // asbackup keeps the text of GeoJSON alone, without the cells before it, and no order of bins.
    let plain = |found: &Found| {
        let mut found = found.clone();
        for (_, particle, bytes) in &mut found.bins {
            if *particle == ParticleType::GEOJSON.0 {
                let cells = usize::from(u16::from_be_bytes([bytes[1], bytes[2]]));
                bytes.drain(..3 + 8 * cells);
            }
        }
        found.bins.sort();
        found
    };
    assert!(seen.all.len() >= 90, "{} records", seen.all.len());
    for (at, found) in &seen.all {
        let their = theirs.remove(at).unwrap_or_else(|| panic!("asbackup has no {}", Digest(*at)));
        assert_eq!(plain(found), plain(&their), "{}", Digest(*at));
    }
    assert!(theirs.is_empty(), "{} records that asbackup alone has", theirs.len());
    let changed = seen.all.iter().filter(|(_, found)| found.set == CHANGED);
    assert_eq!(seen.changed, changed.map(|(at, found)| (*at, found.clone())).collect());
    assert_eq!(seen.changed.len(), 8);
    assert!(seen.walked.keys().eq(seen.all.keys()));
    for (at, row) in &seen.walked {
        assert_eq!((row.generation.0, row.void_time.0), (seen.all[at].generation, seen.all[at].void_time));
    }
    assert_eq!(seen.by_digest, seen.all);
    assert!(seen.all.values().any(|found| found.generation > 1) && seen.all.values().any(|found| found.void_time > 0));
}

#[test]
fn what_a_real_server_said_of_itself_is_understood() {
    let (address, since) = replay();
    let Seen { metadata: ours, clock, .. } = look(&address, since);
    let (_, theirs) = asbackup();
    assert!(clock >= since && clock.0 - since.0 < 60_000, "{clock:?} and {since:?}");
    assert_eq!(ours.udfs, theirs.udfs);
    assert!(ours.udfs.len() == 1 && ours.indexes.len() == 6, "{:?}", ours.indexes);
    let mut indexes = theirs.indexes;
    indexes.sort_by(|a, b| a.name.cmp(&b.name));
    assert_eq!(ours.indexes, indexes);
    let has = |topic: &str, name: &[u8], value: &[u8]| {
        ours.facts.iter().any(|fact| fact.topic == topic && fact.name == name && fact.value == value)
    };
    assert!(has("namespace setting", b"replication-factor", b"1") && has("namespace setting", b"nsup-period", b"10"));
    assert!(has("cluster", b"name", b"aerotest") && has("node build", b"A1", b"8.1.2.0"));
    let sets: Vec<&[u8]> =
        ours.facts.iter().filter(|fact| fact.topic == "set settings").map(|fact| &fact.name[..]).collect();
    assert!(sets.contains(&&b"zoo"[..]) && sets.contains(&"日本セット".as_bytes()), "{sets:?}");
}

#[test]
fn what_a_real_server_said_to_writes_is_told_record_by_record() {
    let said = write(&replay().0);
    let expected = [
        "[1, 0, 0, 0] ",
        "[1, 0, 0, 0] ",
        "[0, 0, 1, 0] ",
        "[1, 0, 0, 0] ",
        "[0, 0, 0, 1] ",
        "[1, 0, 0, 0] ",
        "[1, 0, 0, 0] ",
        "[0, 0, 0, 0] a bin's name is longer than servers take (code 21): servers take 15 bytes",
        "[0, 0, 0, 0] the server does not understand the request (code 4): the server's log says why",
        "[0, 0, 0, 0] the server does not understand the request (code 4): the server's log says why",
        "deleted 3 []",
    ];
    assert_eq!(said, expected);
}
