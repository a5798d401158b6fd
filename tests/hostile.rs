//! Objects made by someone who holds the keys and lies: readers refuse them, in bounded time and memory.

use aerolith::format::config::ChunkSizes;
use aerolith::format::header::{Class, ObjectKind, Suite};
use aerolith::format::leaf::{self, Entry, RecordHash};
use aerolith::format::node::{self, Child, Node};
use aerolith::format::plan::CollectionPlan;
use aerolith::format::search::DeleteSearch;
use aerolith::format::session::{Session, SessionKind};
use aerolith::format::snapshot::{Counts, Manifest, NamespaceManifest, RunRef};
use aerolith::format::{ChunkId, PackId, names, structured};
use aerolith::internals::chunk::Cutter;
use aerolith::internals::chunks::{ChunkReader, ChunkWriter, WriteOptions};
use aerolith::internals::crypto::{Keys, sealed};
use aerolith::internals::index::{Index, write_segments};
use aerolith::internals::objects;
use aerolith::internals::run::{RecordToWrite, RunCursor, find, write_run};
use aerolith::record::{BinRef, Digest, Generation, ParticleType, RecordBatch, RecordMeta, RecordView, VoidTime};
use aerolith::store::{MemoryStore, Store};
use aerolith::{
    BackupKind, CheckOptions, Compression, Control, CreateOptions, JsonlTarget, KdfCost, RecordTarget, Repository,
    RestoreOptions, Selection, SnapshotId,
};
use std::sync::Arc;

const SUITE: Suite = Suite::Aes256Gcm;
const SESSION: SnapshotId = SnapshotId([7; 16]);

/// Writes chunks as a session does, whatever is in them.
struct Forge {
    store: Arc<MemoryStore>,
    keys: Arc<Keys>,
    writer: ChunkWriter,
}

impl Forge {
    fn new(store: Arc<MemoryStore>, keys: Arc<Keys>) -> Self {
        let index = Arc::new(Index::open(&store, &keys, |_| true, Default::default()).unwrap());
        let options = WriteOptions { suite: SUITE, compression: Compression::Lz4, pack_bytes: 1 << 20 };
        let control = Control::new();
        let reader = Arc::new(ChunkReader::new(store.clone(), keys.clone(), index, 1 << 20));
        let writer = ChunkWriter::new(reader, Default::default(), options, control);
        Forge { store, keys, writer }
    }

    fn in_memory() -> Self {
        Self::new(Arc::new(MemoryStore::new()), Arc::new(Keys::derive(&[1; 32])))
    }

    /// A leaf of tombstones.
    fn leaf(&self, digests: &[Digest]) -> Child {
        let entries: Vec<Entry> = digests.iter().map(|&digest| Entry { digest, live: None }).collect();
        let id = self.writer.put(Class::Tree, &leaf::encode(&entries)).unwrap();
        let count = entries.len() as u64;
        Child { first: digests[0], id, entries: count, tombstones: count, uses: Vec::new() }
    }

    fn node(&self, level: u8, children: Vec<Child>) -> Child {
        let first = children[0].first;
        let entries = children.iter().map(|child| child.entries).sum();
        let id = self.writer.put(Class::Tree, &node::encode(&Node { level, children })).unwrap();
        Child { first, id, entries, tombstones: entries, uses: Vec::new() }
    }

    fn finish(self) -> ChunkReader {
        let packs = self.writer.finish().unwrap();
        write_segments(&*self.store, &self.keys, SUITE, &SESSION, packs).unwrap();
        let index = Index::open(&*self.store, &self.keys, |_| true, Default::default()).unwrap();
        ChunkReader::new(self.store, self.keys, Arc::new(index), 1 << 20)
    }
}

/// A digest of partition 0; they ascend with `n`.
fn digest(n: u32) -> Digest {
    let mut bytes = [0; 20];
    bytes[16..].copy_from_slice(&n.to_be_bytes());
    Digest(bytes)
}

fn run(root: &Child, level: u8) -> RunRef {
    RunRef { root: root.id, level, entries: root.entries, tombstones: root.tombstones, tree_bytes: 0 }
}

fn walk(chunks: &ChunkReader, run: RunRef) -> Result<usize, String> {
    let mut cursor = RunCursor::new(chunks, &run).map_err(|error| error.to_string())?;
    let mut count = 0;
    while cursor.next().map_err(|error| error.to_string())?.is_some() {
        count += 1;
    }
    Ok(count)
}

/// Sixteen levels of nodes, nine of them naming the one below 32 times: 2^45 paths to one leaf.
fn thicket(forge: &Forge) -> RunRef {
    let mut below = forge.leaf(&[digest(0)]);
    for level in 1..=node::MAX_LEVEL {
        // Few enough that the numbers of entries add up as far as the format lets them.
        let times = if level <= 9 { 32 } else { 1 };
        let children = (0..times).map(|n| Child { first: digest(n), ..below.clone() }).collect();
        below = forge.node(level, children);
    }
    run(&below, node::MAX_LEVEL)
}

#[test]
fn a_true_tree_is_walked() {
    let forge = Forge::in_memory();
    let leaves: Vec<Child> = (0..40).map(|n| forge.leaf(&[digest(2 * n), digest(2 * n + 1)])).collect();
    let nodes = leaves.chunks(10).map(|leaves| forge.node(1, leaves.to_vec())).collect();
    let root = forge.node(2, nodes);
    let chunks = forge.finish();
    assert_eq!(walk(&chunks, run(&root, 2)), Ok(80));
    assert!(find(&chunks, &run(&root, 2), &digest(33)).unwrap().is_some());
}

#[test]
fn a_tree_that_names_one_node_again_and_again_ends_with_an_error() {
    let forge = Forge::in_memory();
    let run = thicket(&forge);
    let chunks = forge.finish();
    let error = walk(&chunks, run).unwrap_err();
    assert!(error.contains("its first digest"), "{error}");
    assert!(find(&chunks, &run, &digest(3)).unwrap_err().is_damage());
}

#[test]
fn a_node_or_leaf_that_is_not_what_its_parent_says_is_refused() {
    let forge = Forge::in_memory();
    let leaf = forge.leaf(&[digest(5), digest(6)]);
    let inner = forge.node(1, vec![leaf.clone()]);
    let later = Child { first: digest(4), ..leaf.clone() };
    let more = Child { entries: 3, ..leaf.clone() };
    let cases = [
        (forge.node(1, vec![later]), 1, "its first digest"),
        (forge.node(1, vec![more]), 1, "its entries"),
        (forge.node(2, vec![Child { first: digest(4), ..inner.clone() }]), 2, "its first digest"),
        (forge.node(2, vec![Child { entries: 4, ..inner.clone() }]), 2, "its entries"),
        (forge.node(3, vec![inner.clone()]), 3, "a branch node's level"),
        (Child { entries: 9, ..inner.clone() }, 1, "its entries"),
        (Child { entries: 9, ..leaf.clone() }, 0, "its entries"),
    ];
    let chunks = forge.finish();
    assert_eq!(walk(&chunks, run(&inner, 1)), Ok(2));
    for (root, level, word) in cases {
        let run = run(&root, level);
        let walked = walk(&chunks, run).unwrap_err();
        let found = find(&chunks, &run, &digest(6)).unwrap_err().to_string();
        assert!(walked.contains(word) && found.contains(word), "{word}: {walked}; {found}");
    }
}

#[test]
fn leaves_that_overlap_are_refused() {
    let forge = Forge::in_memory();
    let root = forge.node(1, vec![forge.leaf(&[digest(1), digest(9)]), forge.leaf(&[digest(5)])]);
    let error = walk(&forge.finish(), run(&root, 1)).unwrap_err();
    assert!(error.contains("one before the next leaf"), "{error}");
}

/// A repository, and what a session of it forges.
fn repository_and_forge() -> (Repository, Forge) {
    let store = Arc::new(MemoryStore::new());
    let options = CreateOptions::default().cost(KdfCost::WEAK);
    let repository = Repository::create(store.clone(), b"secret", &options).unwrap();
    let forge = Forge::new(store, repository.keys().clone());
    (repository, forge)
}

/// Commits a snapshot of one run, which was forged.
fn commit(repository: &Repository, forge: Forge, run: RunRef, live_records: u64) {
    let store = forge.store.clone();
    forge.finish();
    let namespace = NamespaceManifest {
        name: "test".into(),
        kind: BackupKind::Full,
        source_time: 1,
        parent: None,
        full: SESSION,
        deletes_unknown: false,
        search: DeleteSearch::default(),
        selection: String::new(),
        unread: Vec::new(),
        runs: vec![run],
        live_records,
        live_bytes: 0,
        reached_bytes: 0,
        state_hash: [0; 32],
        metadata: Vec::new(),
        counts: Counts::default(),
        evidence: None,
    };
    let manifest = Manifest {
        id: SESSION,
        started: 1,
        committed: 2,
        sequence: 1,
        host: String::new(),
        program: String::new(),
        source: String::new(),
        cluster: String::new(),
        tags: Vec::new(),
        heads: Vec::new(),
        index_segments: 1,
        stored_bytes: 0,
        missing: Vec::new(),
        salvage: None,
        origin: None,
        namespaces: vec![namespace],
    };
    objects::commit_snapshot(&*store, repository.keys(), SUITE, &manifest).unwrap();
}

#[test]
fn a_check_of_a_thicket_ends() {
    let (repository, forge) = repository_and_forge();
    let run = thicket(&forge);
    commit(&repository, forge, run, 0);
    let report = repository.check(&CheckOptions::default().read_percent(100.0)).unwrap();
    assert!(report.chunks <= 17, "{report:?}");
    assert!(report.problems.iter().any(|problem| problem.contains("its first digest")), "{report:?}");
    assert_eq!(report.hurt, [SESSION]);
    let snapshot = repository.snapshot("latest").unwrap();
    let walked = snapshot.namespace("test").unwrap().state_sums(repository.keys());
    assert!(walked.unwrap_err().is_damage());
}

#[test]
fn a_body_that_its_entry_does_not_mean_is_not_restored() {
    let (repository, forge) = repository_and_forge();
    let mut batch = RecordBatch::new();
    for n in 0..5 {
        let meta = RecordMeta { digest: digest(n), set: b"s", generation: Generation(1), void_time: VoidTime::NEVER };
        let bin = BinRef { name: b"b", particle: ParticleType::STRING, bytes: &[b'0' + n as u8] };
        batch.push(meta, None, &[bin]).unwrap();
    }
    let keys = forge.keys.clone();
    let cutter = Cutter::new(ChunkSizes { min: 64, avg: 256, max: 1024 });
    let (run, _, ()) = write_run(&forge.writer, cutter, |feeder| {
        for (n, RecordView { meta, body, bin_order }) in batch.iter().enumerate() {
            // Of the second and the fourth, what is there is that of another set, or of nobody.
            let hash = match n {
                1 => keys.records().unwrap().hash(b"t", body),
                3 => RecordHash([0; 16]),
                _ => keys.records().unwrap().hash(meta.set, body),
            };
            feeder.record(&RecordToWrite { meta, hash, bin_order, body })?;
        }
        Ok(())
    })
    .unwrap();
    commit(&repository, forge, run.unwrap(), 5);
    let snapshot = repository.snapshot("latest").unwrap();
    for selection in [Selection::default(), Selection::default().bins(["b"])] {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("out.jsonl");
        let target = JsonlTarget::new(&file).unwrap();
        let options = RestoreOptions::default().selection(selection);
        let report = snapshot.restore("test", &target, &options).unwrap();
        target.finish().unwrap();
        assert_eq!((report.read, report.written, report.damaged, report.failed), (5, 3, 2, 2), "{report:?}");
        let failed: Vec<Digest> = report.failures.iter().map(|failed| failed.digest).collect();
        assert_eq!(failed, [digest(1), digest(3)]);
        assert!(report.failures.iter().all(|failed| failed.reason.contains("another hash")), "{report:?}");
        assert!(report.left_out.contains(1) && report.left_out.contains(3) && !report.left_out.contains(0));
        assert_eq!(report.bytes, 3 * batch.get(0).unwrap().body.len() as u64);
        let text = std::fs::read_to_string(&file).unwrap();
        let there = ["0", "1", "2", "3", "4"].map(|value| text.contains(&format!("\"{value}\"")));
        assert_eq!(there, [true, false, true, false, true], "{text}");
    }
}

#[test]
fn an_index_segment_under_another_name_is_refused_and_the_packs_make_up_for_it() {
    let forge = Forge::in_memory();
    let id = forge.writer.put(Class::Tree, b"a chunk").unwrap();
    let (store, keys) = (forge.store.clone(), forge.keys.clone());
    forge.finish();
    let right = names::index_segment(&SESSION, 0);
    let segment = store.get(&right, u64::MAX).unwrap().unwrap();
    for wrong in [names::index_segment(&SESSION, 1), names::index_segment(&SnapshotId([8; 16]), 0)] {
        let store = Arc::new(store.fork());
        store.delete(&right).unwrap();
        store.put(&wrong, &segment).unwrap();
        let index = Index::open(&*store, &keys, |_| true, Default::default()).unwrap();
        let [damage] = index.damaged() else { panic!("{:?}", index.damaged()) };
        assert!(damage.to_string().contains("authentication tag"), "{damage}");
        assert!(!index.contains(&*store, &id).unwrap());
        let chunks = ChunkReader::new(store, keys.clone(), Arc::new(index), 1 << 20);
        assert_eq!(**chunks.read(&id, Class::Tree).unwrap(), *b"a chunk");
    }
}

#[test]
fn a_segment_with_another_spelling_of_its_number_is_no_segment() {
    let forge = Forge::in_memory();
    let id = forge.writer.put(Class::Tree, b"a chunk").unwrap();
    let (store, keys) = (forge.store.clone(), forge.keys.clone());
    forge.finish();
    let segment = store.get(&names::index_segment(&SESSION, 0), u64::MAX).unwrap().unwrap();
    store.put(&format!("index/{SESSION}/00"), &segment).unwrap();
    let index = Index::open(&*store, &keys, |_| true, Default::default()).unwrap();
    assert!(index.damaged().is_empty());
    assert_eq!((index.segments_of(&SESSION, 9), index.lookup(&*store, &id).unwrap().len()), (1, 1));
}

#[test]
fn a_session_or_plan_of_another_id_than_its_name_is_refused() {
    let (store, keys) = (MemoryStore::new(), Keys::derive(&[1; 32]));
    let other = SnapshotId([8; 16]);
    let session = Session {
        id: other,
        kind: SessionKind::Check,
        job: String::new(),
        host: String::new(),
        program: String::new(),
        process: None,
        started: 1,
        heartbeat: 1,
        lease_millis: 1,
        adopted: Vec::new(),
        outcome: None,
        journal: None,
    };
    let plan = CollectionPlan { session: other, condemned: vec![PackId([3; 32])] };
    let put = |kind, name: String, value: Vec<u8>| {
        store.put(&name, &sealed::seal(&keys, kind, SUITE, &name, &value).unwrap()).unwrap();
    };
    for id in [SESSION, other] {
        put(ObjectKind::Session, names::session(&id), structured::encode(&session).unwrap());
    }
    assert_eq!(objects::read_session(&store, &keys, other).unwrap(), session);
    let error = objects::read_session(&store, &keys, SESSION).unwrap_err().to_string();
    assert!(error.contains("the session's id"), "{error}");
    put(ObjectKind::Plan, names::plan(&other), structured::encode(&plan).unwrap());
    assert_eq!(objects::condemned(&store, &keys).unwrap(), [PackId([3; 32])].into());
    put(ObjectKind::Plan, names::plan(&SESSION), structured::encode(&plan).unwrap());
    let error = objects::condemned(&store, &keys).unwrap_err().to_string();
    assert!(error.contains("the plan's session"), "{error}");
}

#[test]
fn an_object_in_a_deeper_directory_stands_for_nothing() {
    let store = MemoryStore::new();
    store.put(&names::snapshot(&SESSION), &[1; 100]).unwrap();
    // A fence of the same id, were the directory not looked at.
    store.put(&format!("snapshots/z/{SESSION}"), b"").unwrap();
    let states = objects::list_states(&store, &Keys::derive(&[7; 32])).unwrap();
    assert!(states.listed().count() == 1 && states.was_committed(&SESSION));
    store.put(&format!("sessions/z/{SESSION}"), b"").unwrap();
    assert!(objects::list_sessions(&store).unwrap().is_empty());
}

#[test]
fn a_tree_splits_a_node_before_it_has_more_uses_than_a_reader_takes() {
    use aerolith::format::leaf::{LiveEntry, ValuePlace};
    let forge = Forge::in_memory();
    let cutter = Cutter::new(ChunkSizes { min: 64, avg: 256, max: 1024 });
    let chunk = |n: u32| ChunkId(*blake3::hash(&n.to_le_bytes()).as_bytes());
    // Values of other writers, each in as many chunks as a leaf may name or half of that.
    let most = leaf::MAX_CHUNKS as u32;
    let lengths = [most, most, most / 2, most / 2, 1];
    let (tree, _, ()) = write_run(&forge.writer, cutter, |feeder| {
        for (n, length) in lengths.into_iter().enumerate() {
            let n = n as u32;
            let more = (1..length).map(|i| chunk(n * most + i)).collect();
            let place = ValuePlace { chunk: chunk(n * most), more, offset: 0, length: 1 };
            let (generation, void_time, hash) = (Generation(1), VoidTime(0), RecordHash([1; 16]));
            let live = LiveEntry { set: Arc::from([]), generation, void_time, hash, bin_order: Arc::from([]), place };
            feeder.entry(Entry { digest: digest(n), live: Some(live) })?;
        }
        Ok(())
    })
    .unwrap();
    let chunks = forge.finish();
    let tree = tree.unwrap();
    assert_eq!((walk(&chunks, tree), tree.level), (Ok(5), 2));
}
