//! Every object of a repository, damaged in every way: what is touched is named, what is not restores, nothing wrong is
//! restored, and the next full backup is whole.

use crate::support::world::*;
use aerolith::format::fold::{FoldedName, FoldedSession, HistoryFold};
use aerolith::format::header::Class;
use aerolith::format::session::SessionKind;
use aerolith::format::snapshot::{RunRef, SnapshotState};
use aerolith::format::{ChunkId, FORMAT_VERSION, FoldId, PackId, names, node};
use aerolith::internals::chunks::ChunkReader;
use aerolith::internals::objects;
use aerolith::record::Digest;
use aerolith::store::{MemoryStore, Store};
use aerolith::{BackupKind, Error, Repository, Snapshot, SnapshotId};
use rayon::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What is done to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Damage {
    /// A bit is flipped this far into the object, in 1/1000 of its length.
    Flip(usize),
    /// A sealed object's header has the next version.
    Version,
    Cut,
    CutByOne,
    Empty,
    Delete,
    /// Another object of the same kind, of this repository, is in its place.
    Swap,
    /// An object of the same kind of another repository is in its place.
    Foreign,
}

const ALL: [Damage; 12] = [
    Damage::Flip(0),
    Damage::Flip(20),
    Damage::Flip(333),
    Damage::Flip(700),
    Damage::Flip(999),
    Damage::Version,
    Damage::Cut,
    Damage::CutByOne,
    Damage::Empty,
    Damage::Delete,
    Damage::Swap,
    Damage::Foreign,
];

/// For each record the packs that it takes to read it for certain.
type Needs = BTreeMap<[u8; 20], BTreeSet<PackId>>;

/// A repository with a full snapshot, an incremental with deletes, and a second full one.
struct Base {
    store: MemoryStore,
    worlds: Vec<World>,
    /// For each snapshot its name, what it holds, and what its records need.
    snapshots: Vec<(String, Truth, Needs)>,
}

fn base(records: u64) -> Base {
    let store = Arc::new(MemoryStore::new());
    let repository = create(store.clone()).unwrap();
    let first = World::filled(0..records);
    let second = first.later(0..records, 0.1, 0.05, 1);
    let third = second.later(0..records, 0.1, 0.05, 2);
    let worlds = vec![first, second, third];
    let kinds = [BackupKind::Full, BackupKind::Incremental, BackupKind::Full];
    let mut snapshots = Vec::new();
    for (world, kind) in worlds.iter().zip(kinds) {
        let snapshot = back_up(&repository, world, kind).unwrap();
        snapshots.push((snapshot.id().to_string(), world.truth(), needs(&snapshot, &world.truth())));
    }
    fold_some(&repository, SnapshotId::from_hex(&snapshots[0].0).unwrap());
    Base { store: store.fork(), worlds, snapshots }
}

/// Leaves what is left of two old sessions that were folded, and folds that of a snapshot.
fn fold_some(repository: &Repository, snapshot: SnapshotId) {
    let [one, other] = [1, 2].map(|n| SnapshotId([n; 16]));
    let (store, keys, suite) = (&**repository.store(), repository.keys(), repository.parameters().suite);
    let row = |session, name| FoldedSession {
        session,
        name,
        kind: SessionKind::Backup,
        job: 0,
        host: 0,
        program: 0,
        cluster: 0,
        started: 1,
        heartbeat: 2,
        resumed_by: None,
        outcome: None,
    };
    let mut rows =
        vec![row(one, FoldedName::Forgotten), row(other, FoldedName::Fenced), row(snapshot, FoldedName::Committed)];
    rows.sort_by_key(|row| row.session);
    let history = HistoryFold { id: FoldId([3; 16]), folded: 3, texts: vec![String::new()], rows };
    objects::write_history(store, keys, suite, &history).unwrap();
    store.delete(&names::session(&snapshot)).unwrap();
    let names = BTreeMap::from([(one, SnapshotState::Forgotten), (other, SnapshotState::Fenced)]);
    objects::write_names(store, keys, suite, names, 3).unwrap();
}

fn packs_of(chunks: &ChunkReader, id: &ChunkId) -> BTreeSet<PackId> {
    chunks.locate(id).unwrap().iter().map(|at| at.pack).collect()
}

/// Adds, for each digest that may stand below a node, the packs of the nodes above and of its leaf.
fn add_needs(
    chunks: &ChunkReader,
    (level, id): (u8, ChunkId),
    inside: &[[u8; 20]],
    above: &BTreeSet<PackId>,
    needs: &mut Needs,
) {
    let mut packs = packs_of(chunks, &id);
    packs.extend(above);
    if level == 0 {
        inside.iter().for_each(|digest| needs.entry(*digest).or_default().extend(&packs));
        return;
    }
    let children = node::decode(level, &chunks.read(&id, Class::Tree).unwrap()).unwrap().children;
    inside.iter().for_each(|digest| needs.entry(*digest).or_default().extend(&packs));
    for (n, child) in children.iter().enumerate() {
        let within = |digest: &&[u8; 20]| {
            !before(digest, &child.first) && children.get(n + 1).is_none_or(|next| before(digest, &next.first))
        };
        let inside: Vec<[u8; 20]> = inside.iter().filter(within).copied().collect();
        add_needs(chunks, (level - 1, child.id), &inside, &packs, needs);
    }
}

fn needs(snapshot: &Snapshot, truth: &Truth) -> Needs {
    let (chunks, view) = (snapshot.chunks().unwrap(), snapshot.namespace(NAMESPACE).unwrap());
    let mut needs = BTreeMap::new();
    let mut open: Vec<[u8; 20]> = truth.keys().copied().collect();
    for run in &view.manifest().runs {
        let RunRef { root, level, .. } = *run;
        add_needs(chunks, (level, root), &open, &BTreeSet::new(), &mut needs);
        // Below the run that has a record nothing is needed for it.
        open.retain(|digest| aerolith::internals::run::find(chunks, run, &Digest(*digest)).unwrap().is_none());
    }
    for digest in truth.keys() {
        let entry = view.entry(&Digest(*digest)).unwrap().unwrap();
        entry.place.chunks().for_each(|id| needs.entry(*digest).or_default().extend(packs_of(chunks, id)));
    }
    needs
}

fn kind_of(key: &str) -> &str {
    key.split('/').next().unwrap()
}

/// Damages an object; `None` if this kind of damage can't be done to it.
fn damaged(base: &Base, foreign: &MemoryStore, key: &str, damage: Damage) -> Option<Arc<MemoryStore>> {
    let store = base.store.fork();
    let bytes = store.get(key, u64::MAX).unwrap().unwrap();
    let mut new = bytes.to_vec();
    let listed = |store: &MemoryStore| -> Vec<String> {
        store
            .list("")
            .unwrap()
            .into_iter()
            .map(|object| object.key)
            .filter(|other| kind_of(other) == kind_of(key))
            .collect()
    };
    match damage {
        Damage::Flip(thousandth) => *new.get_mut(bytes.len() * thousandth / 1000)? ^= 1,
        Damage::Version => *new.get_mut(4)? = FORMAT_VERSION + 1,
        Damage::Cut => new.truncate(bytes.len() / 2),
        Damage::CutByOne => new.truncate(bytes.len() - 1),
        Damage::Empty => new.clear(),
        Damage::Delete => {}
        Damage::Swap => {
            new = store.get(listed(&store).iter().find(|other| *other != key)?, u64::MAX).unwrap().unwrap().into()
        }
        Damage::Foreign => new = foreign.get(listed(foreign).first()?, u64::MAX).unwrap().unwrap().into(),
    }
    if damage == Damage::Delete {
        store.delete(key).unwrap();
    } else {
        store.put(key, &new).unwrap();
    }
    (damage == Damage::Delete || new != bytes).then(|| Arc::new(store))
}

/// Opening with a damaged config or key slot must fail and say which object it is.
fn assert_closed(store: &Arc<MemoryStore>, key: &str, about: &str) {
    let error = refused(Repository::open(store.clone(), PASSPHRASE));
    let text = error.to_string();
    let named = text.contains(kind_of(key)) && !matches!(error, Error::NotFound { .. });
    assert!(named, "{about}: {text}");
}

fn assert_survives(base: &Base, store: &Arc<MemoryStore>, key: &str, damage: Damage) {
    let about = format!("{key}, {damage:?}");
    let repository = match Repository::open(store.clone(), PASSPHRASE) {
        Ok(repository) => repository,
        Err(error) => {
            assert!(["config", "keys"].contains(&kind_of(key)), "{about}: {error}");
            return assert_closed(store, key, &about);
        }
    };
    let pack = names::parse_pack(key).filter(|_| kind_of(key) == "packs");
    let list = repository.snapshots().unwrap();
    let unreadable = kind_of(key) == "snapshots";
    assert_eq!(list.snapshots.len(), base.snapshots.len() - usize::from(unreadable), "{about}");
    if unreadable && damage != Damage::Delete {
        assert!(list.damaged[0].1.to_string().contains(key), "{about}: {:?}", list.damaged);
    }
    for (id, truth, needs) in &base.snapshots {
        if key.ends_with(id.as_str()) && unreadable {
            let error = refused(repository.snapshot(id));
            assert!(error.to_string().contains(id.as_str()), "{about}: {error}");
            continue;
        }
        let (records, report) = restore(&repository.snapshot(id).unwrap()).unwrap_or_else(|e| panic!("{about}: {e}"));
        assert!(is_part_of(&records, truth), "{about}: something wrong was restored from {id}");
        for digest in truth.keys().filter(|digest| !records.contains_key(*digest)) {
            assert!(pack.is_some_and(|pack| needs[digest].contains(&pack)), "{about}: a record of {id} got lost");
        }
        let lost = (truth.len() - records.len()) as u64;
        assert_eq!(lost, report.records_lost + report.damaged, "{about}: {report:?}");
        assert!(lost == 0 || report.is_damaged());
    }
    if unreadable && damage != Damage::Delete && key.ends_with(&base.snapshots[2].0) {
        let error = refused(repository.snapshot("latest"));
        assert!(error.to_string().contains(key), "{about}: {error}");
    }
    // A backup that builds on the last one does it right, or says that it can't.
    let next = base.worlds[2].later(0..800, 0.05, 0.05, 3);
    let side = Repository::open(Arc::new(store.fork()), PASSPHRASE).unwrap();
    match back_up(&side, &next, BackupKind::Incremental) {
        Ok(snapshot) => assert!(is_part_of(&restore(&snapshot).unwrap().0, &next.truth()), "{about}"),
        Err(error) => {
            let text = error.to_string();
            let advised = text.contains("full backup") || text.contains("newer aerolith");
            assert!(pack.is_some() && advised && text.contains(key), "{about}: {text}");
        }
    }

    let found = check(&repository).unwrap();
    // A pack's padding is not committed, and nothing needs it. Nor does anybody need a session that has ended.
    let harmless = ["sessions", "history"].contains(&kind_of(key)) && damage == Damage::Delete
        || matches!((pack, damage), (Some(_), Damage::Flip(_))) && found.hurt.is_empty();
    // What is gone is named by its directory alone where nobody knows how it was called.
    let directory = key.rsplit_once('/').map_or(key, |(directory, _)| directory);
    let is_gone = ["index", "folds"].contains(&kind_of(key)) && damage == Damage::Delete;
    let name = if is_gone { directory } else { key };
    assert!(harmless || found.problems.iter().any(|problem| problem.contains(name)), "{about}: {found:?}");
    let hurt = (kind_of(key) == "packs" || unreadable) && !harmless;
    assert_eq!(!found.hurt.is_empty(), hurt, "{about}: {found:?}");

    back_up(&repository, &next, BackupKind::Full).unwrap_or_else(|error| panic!("{about}: {error}"));
    let reopened = Repository::open(store.clone(), PASSPHRASE).unwrap();
    assert_whole(&reopened, "latest", &next.truth(), &about);
    back_up(&reopened, &next, BackupKind::Incremental).unwrap();
    assert_whole(&reopened, "latest", &next.truth(), &about);
}

fn for_all(base: &Base, wanted: impl Fn(&str) -> bool + Sync, test: impl Fn(&str, Damage, &Arc<MemoryStore>) + Sync) {
    let foreign = Arc::new(MemoryStore::new());
    let other = create(foreign.clone()).unwrap();
    back_up(&other, &base.worlds[0], BackupKind::Full).unwrap();
    let objects = base.store.list("").unwrap();
    let cases: Vec<(&str, Damage)> = objects
        .iter()
        .filter(|object| wanted(&object.key))
        .flat_map(|object| ALL.map(|damage| (object.key.as_str(), damage)))
        .collect();
    assert!(!cases.is_empty());
    cases.par_iter().for_each(|&(key, damage)| {
        if let Some(store) = damaged(base, &foreign, key, damage) {
            test(key, damage, &store);
        }
    });
}

#[test]
fn small_objects() {
    let base = base(200);
    for_all(&base, |key| kind_of(key) != "packs", |key, damage, store| assert_survives(&base, store, key, damage));
}

#[test]
fn packs() {
    let base = base(800);
    for_all(&base, |key| kind_of(key) == "packs", |key, damage, store| assert_survives(&base, store, key, damage));
}

#[test]
fn a_full_backup_needs_no_check_to_heal_entries_and_lost_packs() {
    let base = base(800);
    let repository = Repository::open(Arc::new(base.store.fork()), PASSPHRASE).unwrap();
    let index = repository.index().unwrap();
    let classes: BTreeMap<String, Class> = index
        .packs()
        .into_iter()
        .map(|(id, size)| {
            let (reader, _) =
                aerolith::internals::pack::read_directory(&base.store, repository.keys(), id, size).unwrap();
            (names::pack(&id), reader.class())
        })
        .collect();
    for_all(
        &base,
        |key| kind_of(key) == "packs",
        |key, damage, store| {
            let known = matches!(damage, Damage::Delete | Damage::Cut | Damage::CutByOne | Damage::Empty);
            if classes[key] == Class::Tree || known {
                let repository = Repository::open(store.clone(), PASSPHRASE).unwrap();
                let world = &base.worlds[2];
                back_up(&repository, world, BackupKind::Full).unwrap();
                assert_whole(&repository, "latest", &world.truth(), &format!("{key}, {damage:?}"));
            }
        },
    );
}

#[test]
fn an_open_repository_finds_its_own_config_and_key_slots_damaged() {
    let base = base(100);
    let ways_in = |key: &str| ["config", "keys"].contains(&kind_of(key));
    for_all(&base, ways_in, |key, damage, damaged| {
        let store = Arc::new(base.store.fork());
        let repository = Repository::open(store.clone(), PASSPHRASE).unwrap();
        match damaged.get(key, u64::MAX).unwrap() {
            Some(bytes) => store.put(key, &bytes).unwrap(),
            None => store.delete(key).unwrap(),
        }
        let found = check(&repository).unwrap();
        assert!(found.problems.iter().any(|problem| problem.contains(kind_of(key))), "{key}, {damage:?}: {found:?}");
    });
}
