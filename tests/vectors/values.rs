//! Structured values: parameters, sessions, plans, manifests, metadata.

use crate::support::{MASTER, Plain, REPOSITORY, bytes, committed, keys, sealed_value};
use aerolith::format::config::{self, ChunkSizes, Config, ContentKeys, Parameters};
use aerolith::format::evidence::{Evidence, NodeEvidence};
use aerolith::format::fold::{Fold, FoldedName, FoldedOutcome, FoldedSession, FoldedStatus, HistoryFold};
use aerolith::format::header::{Class, ObjectKind, Suite};
use aerolith::format::hold::Hold;
use aerolith::format::plan::CollectionPlan;
use aerolith::format::search::{DeleteSearch, WalkReason};
use aerolith::format::session::{BadPlace, Journal, OpenNamespace, Outcome, Process, Session, SessionKind, Status};
use aerolith::format::snapshot::{Counts, Manifest, NamespaceManifest, Origin, RunRef, Salvage, Unread};
use aerolith::format::tags::{LabelChange, Tags};
use aerolith::format::{ChunkId, FoldId, HoldId, PackId, RepositoryId, TagsId, names, structured};
use aerolith::record::{Fact, NamespaceMetadata, Privilege, Role, SecondaryIndex, UdfModule, User};
use aerolith::{BackupKind, Compression, SnapshotId};
use serde_json::json;

#[test]
fn structured_values_have_one_form() {
    let decode = |bytes: &[u8]| structured::decode::<(bool, Option<u8>)>("a value", bytes);
    assert_eq!(decode(&[1, 1, 7]).unwrap(), (true, Some(7)));
    for bytes in [&[2, 0][..], &[0, 2, 7], &[0, 1], &[0, 0, 0], &[]] {
        assert!(decode(bytes).is_err(), "{bytes:?}");
    }
    assert!(structured::decode::<Compression>("an enum", &[3, 0, 0, 0]).is_err());
    assert!(structured::decode::<String>("a text", &[1, 0, 0, 0, 0, 0, 0, 0, 0xff]).is_err());
    assert!(structured::decode::<Vec<u64>>("a list", &[0xff; 8]).is_err());
}

#[test]
fn a_config() {
    let sizes = [[16_384u32, 65_536, 262_144], [262_144, 1 << 20, 4 << 20]];
    let [value, stream] = sizes.map(|[min, avg, max]| ChunkSizes { min, avg, max });
    let parameters = Parameters {
        created: 1_780_000_000_000,
        suite: Suite::XChaCha20Poly1305,
        compression: Compression::Zstd(-3),
        chunker: 1,
        value_chunks: value,
        stream_chunks: stream,
        pack_bytes: 16 << 20,
    };
    let header = config::encode_header(8, &REPOSITORY);
    assert_eq!(header[..], [&b"AEROLITH\x08\0\0\0"[..], &[0xa5; 16]].concat());
    assert_eq!(config::decode_header(&mut &header[..]).unwrap(), (8, REPOSITORY));
    let plain = structured::encode(&parameters).unwrap();
    let by_hand = Plain::default().u64(1_780_000_000_000).u32(1).u32(2).u32(-3i32 as u32).u8(1);
    assert_eq!(plain, sizes.concat().into_iter().fold(by_hand, Plain::u32).u32(16 << 20).0);
    let shown = serde_json::to_value(&parameters).unwrap();
    let name = format!("config {REPOSITORY}");
    let encoded = sealed_value("config.json", ObjectKind::Config, &name, shown, &plain, &header);
    assert_eq!(Config::decode(8, &encoded).unwrap(), Config { parameters: parameters.clone(), content: None });

    // Version 9: the content keys of another repository behind the parameters.
    let other: [[u8; 32]; 5] = [1, 2, 3, 4, 5].map(|n| [0x10 * n; 32]);
    let [tree_chunk_id, data_chunk_id, chunker_gear, record_hash, state_hash] = other;
    let content = ContentKeys { tree_chunk_id, data_chunk_id, chunker_gear, record_hash, state_hash };
    let keys = aerolith::internals::crypto::Keys::with_content(&MASTER, content.clone());
    assert_eq!(keys.chunk_id(Class::Tree, b"a").unwrap().0, *blake3::keyed_hash(&tree_chunk_id, b"a").as_bytes());
    assert_eq!(keys.chunk_id(Class::Data, b"a").unwrap().0, *blake3::keyed_hash(&data_chunk_id, b"a").as_bytes());
    let mut gear = [0; 8];
    blake3::Hasher::new_keyed(&chunker_gear).finalize_xof().fill(&mut gear);
    assert_eq!(keys.cuts().unwrap().gear().0[0], u64::from_le_bytes(gear));
    let mut message = [0; 64];
    message[..6].copy_from_slice(b"\0\x01\0\0\0a");
    assert_eq!(keys.records().unwrap().hash(b"", b"a").0, blake3::keyed_hash(&record_hash, &message).as_bytes()[..16]);
    assert_eq!(keys.states().unwrap().hash([].into_iter()), *blake3::keyed_hash(&state_hash, b"").as_bytes());
    // All others are its own.
    assert_eq!(keys.marker(b"a"), self::keys().marker(b"a"));
    assert!(!keys.shares_contents_with(&self::keys()));
    let shared = Config { parameters, content: Some(content) };
    let header = config::encode_header(9, &REPOSITORY);
    assert_eq!(header[..12], *b"AEROLITH\x09\0\0\0");
    let plain = [plain, other.concat()].concat();
    assert_eq!(**shared.encode().unwrap(), *plain);
    let shown = json!({ "parameters": shared.parameters, "content": shared.content });
    let encoded = sealed_value("config-shared.json", ObjectKind::Config, &name, shown, &plain, &header);
    assert_eq!(Config::decode(9, &encoded).unwrap(), shared);
}

#[test]
fn a_session() {
    let id = SnapshotId([0x11; 16]);
    let open = OpenNamespace {
        name: "test".into(),
        kind: BackupKind::Incremental,
        selection: "".into(),
        parent: Some(SnapshotId([0x66; 16])),
        merged: true,
        source_time: 1_779_999_999_000,
        partitions: 1024,
        unread: vec![Unread { first: 7, last: 9, as_of: None }],
        run: Some(RunRef { root: ChunkId([0x77; 32]), level: 1, entries: 9, tombstones: 4, tree_bytes: 1234 }),
        value_bytes: 5,
        counts: Counts { read: 6, ..Counts::default() },
        bad: vec![BadPlace { place: "a".into(), problem: "b".into() }],
        evidence: None,
    };
    let session = Session {
        id,
        kind: SessionKind::Collection,
        job: "prune".into(),
        host: "höst".into(),
        program: "aerolith 0.1.0".into(),
        process: Some(Process {
            boot: "53a0c2ec-1f2e-4d2d-9d43-0a8e7b3d1c55".into(),
            namespace: "pid:[4026531836] time:[4026531834]".into(),
            id: 4711,
            started: 8_765,
        }),
        started: 1_780_000_000_000,
        heartbeat: 1_780_000_060_000,
        lease_millis: 600_000,
        adopted: vec![PackId([0x22; 32])],
        outcome: Some(Outcome {
            ended: 1_780_000_100_000,
            status: Status::Incomplete("one".into()),
            records: 3,
            stored_bytes: 4096,
            damaged_chunks: vec![ChunkId([0x33; 32]), ChunkId([0x44; 32])],
        }),
        journal: Some(Journal { cluster: "prod".into(), packs: vec![PackId([0x55; 32])], namespaces: vec![open] }),
    };
    let plain = structured::encode(&session).unwrap();
    let by_hand = Plain::default().raw(&id.0).u32(2).text("prune").text("höst").text("aerolith 0.1.0");
    let by_hand = by_hand.u8(1).text("53a0c2ec-1f2e-4d2d-9d43-0a8e7b3d1c55").text("pid:[4026531836] time:[4026531834]");
    let by_hand = by_hand
        .u32(4711)
        .u64(8_765)
        .u64(1_780_000_000_000)
        .u64(1_780_000_060_000)
        .u64(600_000)
        .u64(1)
        .raw(&[0x22; 32])
        .u8(1);
    let by_hand = by_hand.u64(1_780_000_100_000).u32(1).text("one").u64(3).u64(4096).u64(2);
    let by_hand = by_hand.raw(&[0x33; 32]).raw(&[0x44; 32]).u8(1).text("prod").u64(1).raw(&[0x55; 32]).u64(1);
    let by_hand = by_hand.text("test").u32(1).text("").u8(1).raw(&[0x66; 16]).u8(1).u64(1_779_999_999_000).u32(1024);
    let by_hand = by_hand.u64(1).u32(7).u32(9).u8(0).u8(1).raw(&[0x77; 32]).u8(1).u64(9).u64(4).u64(1234);
    let by_hand = (0..9).fold(by_hand.u64(5).u64(6), |by_hand, _| by_hand.u64(0));
    assert_eq!(plain, by_hand.u64(1).text("a").text("b").u8(0).0);
    let shown = serde_json::to_value(&session).unwrap();
    let encoded = sealed_value("session.json", ObjectKind::Session, &names::session(&id), shown, &plain, b"");
    assert_eq!(Session::decode(id, &encoded).unwrap(), session);
    assert!(Session::decode(SnapshotId([0; 16]), &encoded).is_err());
}

#[test]
fn a_plan() {
    let id = SnapshotId([0x11; 16]);
    let plan = CollectionPlan { session: id, condemned: vec![PackId([0x22; 32]), PackId([0x33; 32])] };
    let plain = structured::encode(&plan).unwrap();
    assert_eq!(plain, Plain::default().raw(&id.0).u64(2).raw(&[0x22; 32]).raw(&[0x33; 32]).0);
    let name = names::plan(&id);
    let shown = serde_json::to_value(&plan).unwrap();
    let encoded = sealed_value("plan.json", ObjectKind::Plan, &name, shown, &plain, b"");
    assert_eq!(CollectionPlan::decode(id, &encoded).unwrap(), plan);
    assert!(CollectionPlan::decode(SnapshotId([0; 16]), &encoded).is_err());
}

#[test]
fn a_hold() {
    let (id, snapshot) = (HoldId([0x44; 16]), SnapshotId([0x11; 16]));
    let hold = Hold {
        id,
        snapshot,
        placed: 1_780_000_000_000,
        host: "höst".into(),
        program: "aerolith 0.1.0".into(),
        reason: "case 7".into(),
    };
    let plain = structured::encode(&hold).unwrap();
    let by_hand = Plain::default().raw(&id.0).raw(&snapshot.0).u64(1_780_000_000_000).text("höst");
    assert_eq!(plain, by_hand.text("aerolith 0.1.0").text("case 7").0);
    let shown = serde_json::to_value(&hold).unwrap();
    let encoded = sealed_value("hold.json", ObjectKind::Hold, &names::hold(&snapshot, &id), shown, &plain, b"");
    assert_eq!(Hold::decode(snapshot, id, &encoded).unwrap(), hold);
    assert!(Hold::decode(SnapshotId([0; 16]), id, &encoded).is_err());
    assert!(Hold::decode(snapshot, HoldId([0; 16]), &encoded).is_err());
}

#[test]
fn folded_names() {
    let id = FoldId([0x44; 16]);
    let [one, two, three] = [0x11, 0x12, 0x13].map(|n| SnapshotId([n; 16]));
    let fold = Fold { id, folded: 1_780_000_000_000, forgotten: vec![one, three], fenced: vec![two] };
    let plain = structured::encode(&fold).unwrap();
    let by_hand = Plain::default().raw(&id.0).u64(1_780_000_000_000).u64(2).raw(&one.0).raw(&three.0);
    assert_eq!(plain, by_hand.u64(1).raw(&two.0).0);
    let shown = serde_json::to_value(&fold).unwrap();
    let encoded = sealed_value("fold.json", ObjectKind::Fold, &names::fold(&id), shown, &plain, b"");
    assert_eq!(Fold::decode(id, &encoded).unwrap(), fold);
    assert!(Fold::decode(FoldId([0; 16]), &encoded).is_err());
}

#[test]
fn the_history_of_folded_sessions() {
    let id = FoldId([0x44; 16]);
    let [one, two, three] = [0x11, 0x12, 0x13].map(|n| SnapshotId([n; 16]));
    let failed = FoldedSession {
        session: one,
        name: FoldedName::Fenced,
        kind: SessionKind::Backup,
        job: 2,
        host: 3,
        program: 1,
        cluster: 5,
        started: 1_780_000_000_000,
        heartbeat: 1_780_000_060_000,
        resumed_by: Some(two),
        outcome: Some(FoldedOutcome {
            ended: 1_780_000_100_000,
            status: FoldedStatus::Failed(4),
            records: 3,
            stored_bytes: 4096,
        }),
    };
    let (name, kind) = (FoldedName::Free, SessionKind::Check);
    let died = FoldedSession { session: three, name, kind, cluster: 0, resumed_by: None, outcome: None, ..failed };
    let done = FoldedSession {
        session: SnapshotId([0x14; 16]),
        name: FoldedName::Committed,
        kind: SessionKind::Other,
        resumed_by: None,
        outcome: Some(FoldedOutcome {
            ended: 1_780_000_000_500,
            status: FoldedStatus::Done,
            records: 9,
            stored_bytes: 65_536,
        }),
        ..failed
    };
    let texts = ["", "aerolith 0.1.0", "backup", "höst", "it broke", "prod"].map(String::from).to_vec();
    let rows = vec![failed, died, done];
    let history = HistoryFold { id, folded: 1_780_000_200_000, texts: texts.clone(), rows };
    let plain = structured::encode(&history).unwrap();
    let by_hand = Plain::default().raw(&id.0).u64(1_780_000_200_000).u64(6);
    let by_hand = texts.iter().fold(by_hand, |by_hand, text| by_hand.text(text));
    let numbers = |by_hand: Plain, column: &[u32]| column.iter().fold(by_hand.u64(3), |by_hand, n| by_hand.u32(*n));
    let by_hand = by_hand.u64(3).raw(&one.0).raw(&three.0).raw(&[0x14; 16]);
    // Names, kinds, jobs, hosts, programs, clusters.
    let columns = [[1, 2, 3], [0, 1, 3], [2, 2, 2], [3, 3, 3], [1, 1, 1], [5, 0, 5]];
    let by_hand = columns.iter().fold(by_hand, |by_hand, column| numbers(by_hand, column));
    let by_hand = [1_780_000_000_000, 1_780_000_000_000, 1_780_000_000_000, 3, 60_000, 60_000, 60_000]
        .into_iter()
        .fold(by_hand.u64(3), Plain::u64);
    let by_hand = by_hand.u64(3).u8(1).raw(&two.0).u8(0).u8(0).u64(3).u8(1).u8(0).u8(1);
    // The second one ended, by its clock, before its last heartbeat.
    let by_hand = by_hand.u64(2).u64(40_000).u64(59_500u64.wrapping_neg());
    let by_hand = by_hand.u64(2).u32(2).u32(4).u32(0).u64(2).u64(3).u64(9).u64(2).u64(4096).u64(65_536);
    assert_eq!(plain, by_hand.0);
    let shown = serde_json::to_value(&history).unwrap();
    let encoded = sealed_value("history.json", ObjectKind::History, &names::history(&id), shown, &plain, b"");
    assert_eq!(HistoryFold::decode(id, &encoded).unwrap(), history);
    assert!(HistoryFold::decode(FoldId([0; 16]), &encoded).is_err());
}

#[test]
fn changes_of_labels() {
    let (id, snapshot) = (TagsId([0x44; 16]), SnapshotId([0x11; 16]));
    let change = |label: &str, sequence, present| LabelChange { label: label.into(), sequence, present };
    let tags = Tags {
        id,
        snapshot,
        changed: 1_780_000_000_000,
        host: "höst".into(),
        program: "aerolith 0.1.0".into(),
        labels: vec![change("nightly", 2, false), change("Ünder", 1, true)],
    };
    let plain = structured::encode(&tags).unwrap();
    let by_hand = Plain::default().raw(&id.0).raw(&snapshot.0).u64(1_780_000_000_000).text("höst");
    let by_hand = by_hand.text("aerolith 0.1.0").u64(2).text("nightly").u64(2).raw(&[0]);
    assert_eq!(plain, by_hand.text("Ünder").u64(1).raw(&[1]).0);
    let shown = serde_json::to_value(&tags).unwrap();
    let encoded = sealed_value("tags.json", ObjectKind::Tags, &names::tags(&snapshot, &id), shown, &plain, b"");
    assert_eq!(Tags::decode(snapshot, id, &encoded).unwrap(), tags);
    assert!(Tags::decode(SnapshotId([0; 16]), id, &encoded).is_err());
    assert!(Tags::decode(snapshot, TagsId([0; 16]), &encoded).is_err());
}

#[test]
fn a_manifest() {
    let [id, parent, full] = [0x11, 0x12, 0x13].map(|n| SnapshotId([n; 16]));
    let namespace = NamespaceManifest {
        name: "test".into(),
        kind: BackupKind::Differential,
        source_time: 1_779_999_999_000,
        parent: Some(parent),
        full,
        deletes_unknown: true,
        search: DeleteSearch {
            counted: 4000,
            unsearched: 1,
            walked: vec![(WalkReason::FewerThanKnown, 90), (WalkReason::Untold, 5)],
        },
        selection: "set users".into(),
        unread: vec![Unread { first: 0, last: 3, as_of: None }, Unread { first: 9, last: 9, as_of: Some(4096) }],
        runs: vec![RunRef { root: ChunkId([0x77; 32]), level: 2, entries: 9, tombstones: 4, tree_bytes: 1234 }],
        live_records: 5,
        live_bytes: 600,
        reached_bytes: 700,
        state_hash: [0x88; 32],
        metadata: vec![ChunkId([0x99; 32])],
        counts: Counts {
            read: 1,
            added: 2,
            changed: 3,
            touched: 4,
            unchanged: 5,
            deleted: 6,
            healed: 7,
            moved: 8,
            duplicates: 9,
            bad: 10,
        },
        evidence: Some(Evidence {
            taken: 1_780_000_000_000,
            margin_millis: 5003,
            epoch: 0xa1b2_c3d4_e5f6,
            settled: true,
            nodes: vec![
                NodeEvidence { name: "BB9A".into(), started: 1_770_000_000_000, holds: vec![] },
                NodeEvidence { name: "BB9B".into(), started: 1_770_000_001_000, holds: vec![0x81; 512] },
            ],
        }),
    };
    let manifest = Manifest {
        id,
        started: 1_780_000_000_000,
        committed: 1_780_000_100_000,
        sequence: 7,
        host: "host".into(),
        program: "aerolith 0.1.0".into(),
        source: "aerospike://host".into(),
        cluster: "prod".into(),
        tags: vec!["nightly".into(), "".into()],
        heads: vec![parent, full],
        index_segments: 1,
        stored_bytes: 4096,
        missing: vec!["a".into()],
        salvage: Some(Salvage { original: full, made: 1_780_000_200_000, was_whole: true, records_lost: 3 }),
        origin: Some(Origin {
            repository: REPOSITORY,
            snapshot: parent,
            sequence: 6,
            from: RepositoryId([0x55; 16]),
            copied: 1_780_000_200_000,
            roots: vec![ChunkId([0x66; 32])],
        }),
        namespaces: vec![namespace],
    };
    let plain = structured::encode(&manifest).unwrap();
    let by_hand = Plain::default().raw(&id.0).u64(1_780_000_000_000).u64(1_780_000_100_000).u64(7).text("host");
    let by_hand = by_hand.text("aerolith 0.1.0").text("aerospike://host").text("prod").u64(2).text("nightly").text("");
    let by_hand = by_hand.u64(2).raw(&parent.0).raw(&full.0).u32(1).u64(4096).u64(1).text("a");
    let by_hand = by_hand.u8(1).raw(&full.0).u64(1_780_000_200_000).u8(1).u64(3);
    let by_hand = by_hand.u8(1).raw(&REPOSITORY.0).raw(&parent.0).u64(6).raw(&[0x55; 16]).u64(1_780_000_200_000);
    let by_hand = by_hand.u64(1).raw(&[0x66; 32]).u64(1).text("test");
    let by_hand = by_hand.u32(2).u64(1_779_999_999_000).u8(1).raw(&parent.0).raw(&full.0).u8(1);
    let by_hand = by_hand.u32(4000).u32(1).u64(2).u32(2).u32(90).u32(7).u32(5);
    let by_hand = by_hand.text("set users").u64(2).u32(0).u32(3).u8(0).u32(9).u32(9).u8(1).u64(4096);
    let by_hand = by_hand.u64(1).raw(&[0x77; 32]).u8(2).u64(9).u64(4).u64(1234).u64(5).u64(600).u64(700);
    let by_hand = by_hand.raw(&[0x88; 32]).u64(1).raw(&[0x99; 32]);
    let by_hand = (1..=10).fold(by_hand, Plain::u64).u8(1).u64(1_780_000_000_000).u64(5003).u64(0xa1b2_c3d4_e5f6);
    let by_hand = by_hand.u8(1).u64(2).text("BB9A").u64(1_770_000_000_000).u64(0);
    let by_hand = by_hand.text("BB9B").u64(1_770_000_001_000).u64(512).raw(&[0x81; 512]);
    assert_eq!(plain, by_hand.0);
    let shown = serde_json::to_value(&manifest).unwrap();
    let encoded = sealed_value("manifest.json", ObjectKind::Snapshot, &names::snapshot(&id), shown, &plain, b"");
    assert_eq!(Manifest::decode(id, &encoded).unwrap(), manifest);
    assert!(Manifest::decode(parent, &encoded).is_err());
}

#[test]
fn the_metadata_of_a_namespace() {
    let index = SecondaryIndex {
        set: b"users".into(),
        name: b"by_age".into(),
        kind: b'N',
        bin: b"age".into(),
        value: b'N',
        context: vec![],
        expression: vec![0x93, 1, 2],
        other: b"state=RW".into(),
    };
    let udf = UdfModule { kind: b'L', name: b"sum.lua".into(), content: b"return 1".into() };
    let fact = Fact { topic: "namespace setting".into(), name: b"default-ttl".into(), value: b"0".into() };
    let privilege =
        |code, namespace: &[u8], set: &[u8]| Privilege { code, namespace: namespace.into(), set: set.into() };
    let role = Role {
        name: b"shop".into(),
        privileges: vec![privilege(4, b"", b""), privilege(10, b"bar", b"users")],
        allow_list: b"10.0.0.0/8,::1".into(),
        read_quota: 1000,
        write_quota: 0,
    };
    let user = User { name: b"ada".into(), roles: vec![b"read".into(), b"shop".into()] };
    let (indexes, udfs, facts) = (vec![index], vec![udf], vec![fact]);
    let metadata = NamespaceMetadata { indexes, udfs, facts, roles: vec![role], users: vec![user] };
    let plain = structured::encode(&metadata).unwrap();
    let by_hand = Plain::default().u64(1).list(b"users").list(b"by_age").u8(b'N').list(b"age").u8(b'N').list(b"");
    let by_hand = by_hand.list(&[0x93, 1, 2]).list(b"state=RW").u64(1).u8(b'L').list(b"sum.lua").list(b"return 1");
    let by_hand = by_hand.u64(1).list(b"namespace setting").list(b"default-ttl").list(b"0");
    let by_hand = by_hand.u64(1).list(b"shop").u64(2).u8(4).list(b"").list(b"").u8(10).list(b"bar").list(b"users");
    let by_hand = by_hand.list(b"10.0.0.0/8,::1").u32(1000).u32(0);
    assert_eq!(plain, by_hand.u64(1).list(b"ada").u64(2).list(b"read").list(b"shop").0);
    let stored = committed(
        "metadata.json",
        json!({
            "indexes": [{
                "set": "users", "name": "by_age", "kind": "N", "bin": "age", "value": "N", "context": "",
                "expression": "930102", "other": "state=RW",
            }],
            "udfs": [{ "kind": "L", "name": "sum.lua", "content": "return 1" }],
            "facts": [{ "topic": "namespace setting", "name": "default-ttl", "value": "0" }],
            "roles": [{
                "name": "shop",
                "privileges": [
                    { "code": 4, "namespace": "", "set": "" },
                    { "code": 10, "namespace": "bar", "set": "users" },
                ],
                "allow_list": "10.0.0.0/8,::1", "read_quota": 1000, "write_quota": 0,
            }],
            "users": [{ "name": "ada", "roles": ["read", "shop"] }],
            "encoded": hex::encode(&plain),
        }),
    );
    let decoded: NamespaceMetadata = structured::decode("metadata", &bytes(&stored["encoded"])).unwrap();
    assert_eq!(decoded, metadata);
}
