//! Random histories of a cluster, and incrementals of it. Records are written, deleted and touched; they expire, with
//! and without the servers' sweep; sets are truncated; the cluster splits, both sides are written, and it heals; nodes
//! come back with records that were deleted; clocks are set back. All of it happens between backups and in the middle
//! of them.
//!
//! A snapshot holds what a full reading of the cluster would hold. Of what happened while it was made it may be late,
//! and the next one is not. What no incremental can tell is left out here, and found by a full backup: that a record
//! was written on both sides of a split to the same generation and expiry, and the other side's version came back after
//! a backup of this one.
//!
//! - `AEROLITH_HISTORY_SEED`: the first history's seed, as a failed one printed it; 1 if not given.
//! - `AEROLITH_HISTORIES`: how many; a few if not given.

use super::conformance::{bin, int};
use super::random_resume::{held, number};
use super::town::{Random, World, world};
use super::{NAMESPACE, connect, quick};
use crate::support::cluster::client::digest;
use crate::support::cluster::data::{Digest as Raw, Record, Write, partition};
use crate::support::cluster::{Moment, Shared, TestCluster};
use aerolith::record::{Digest, RecordSelection};
use aerolith::store::MemoryStore;
use aerolith::{BackupKind, CheckOptions, CreateOptions, KdfCost, RecordOptions, Repository, SessionOptions, Snapshot};
use rayon::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Histories, if nobody says how many.
const HISTORIES: u64 = 24;
/// Backups of a history.
const BACKUPS: usize = 9;
const SETS: [&[u8]; 3] = [b"s", b"t", b"u"];
/// User keys are the numbers below this.
const NUMBERS: usize = 400;
const DAY: u32 = 86_400;
/// The integer in bin `n` is not negative.
const FILTER: &[u8] = &[0x93, 4, 0x93, 81, 2, 0xa1, b'n', 0];

/// What happens.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// Records are written, deleted, rewritten and touched; at most so many.
    Changes(u64, usize),
    /// Time passes, in seconds.
    Passed(u32),
    /// The servers remove what has expired.
    Swept,
    /// A set, or all if it is empty, is truncated up to so many seconds ago.
    Truncated(&'static [u8], u32),
    /// The servers have removed what was truncated.
    TruncationEnded,
    /// All nodes but the first are cut off from it, with copies of all records.
    Split,
    /// Records are written on the other side of a split.
    OtherSide(u64),
    /// The cluster is one again. Of about so many eighths of the partitions the other side has copies.
    Healed(u64, usize),
    /// A node comes back with records that were deleted.
    CameBack(u64),
    /// The clocks are set forward or back by so many seconds.
    Set(i32),
    /// The servers forget queries sooner or later.
    Remember(usize),
}

impl Event {
    fn any(random: &mut Random) -> Self {
        match random.below(40) {
            0..12 => Event::Changes(random.next(), random.pick(&[1, 2, 10, 60])),
            12..17 => Event::Passed(random.pick(&[3, 20, 60, 400])),
            17..19 => Event::Passed(20 * DAY),
            19..22 => Event::Swept,
            22..25 => {
                let set = if random.one_of(4) { &[][..] } else { random.pick(&SETS) };
                Event::Truncated(set, if random.one_of(3) { 30 } else { 0 })
            }
            25 => Event::TruncationEnded,
            26..29 => Event::Split,
            29..32 => Event::OtherSide(random.next()),
            32..35 => Event::Healed(random.next(), 1 + random.below(8)),
            35 => Event::CameBack(random.next()),
            36..38 => Event::Set(random.pick(&[-60, -2, 2, 60])),
            _ => Event::Remember(random.pick(&[100, 100, 1, 0])),
        }
    }
}

/// What the cluster doesn't tell.
#[derive(Default)]
struct Past {
    log: Vec<String>,
    /// What the cluster held while a backup went on, each time that it changed.
    worlds: Vec<World>,
    /// What the other side of a split has.
    other_side: Option<BTreeMap<Raw, Record>>,
    /// Records as they were when they were deleted.
    deleted: BTreeMap<Raw, Record>,
    /// Whether servers went away, or look as if they had been restarted.
    doubted: bool,
}

impl Past {
    fn happen(&mut self, shared: &mut Shared, event: Event) {
        self.log.push(format!("    {event:?}"));
        match event {
            Event::Changes(seed, many) => self.change(shared, Random(seed), many),
            Event::Passed(seconds) => shared.pass(seconds),
            Event::Swept => shared.sweep(),
            Event::Truncated(set, ago) => {
                let until = shared.clock() - u64::from(ago) * 1_000_000_000;
                shared.truncate_until(NAMESPACE, set, until);
            }
            Event::TruncationEnded => shared.end_truncations(),
            Event::Split if shared.nodes.len() == 1 || self.other_side.is_some() => {}
            Event::Split => {
                self.doubted = true;
                self.other_side = Some(shared.namespaces[NAMESPACE].records.clone());
                shared.nodes.iter_mut().skip(1).for_each(|node| node.down = true);
                shared.owners.fill(Some(0));
                shared.change();
            }
            Event::OtherSide(seed) => self.write_elsewhere(shared, Random(seed)),
            Event::Healed(seed, eighths) => {
                let Some(theirs) = self.other_side.take() else { return };
                let of = |at: &Raw| Random(seed ^ u64::from(partition(at))).below(8) < eighths;
                receive(shared, theirs.into_iter().filter(|(at, _)| of(at)));
                let nodes = shared.nodes.len();
                shared.nodes.iter_mut().for_each(|node| node.down = false);
                shared.owners = (0..4096).map(|number| Some(number % nodes)).collect();
                shared.change();
                shared.migrations = (seed % 8) as usize;
            }
            Event::CameBack(seed) => {
                self.doubted = true;
                let some = |at: &Raw| Random(seed ^ u64::from(partition(at))).one_of(3);
                receive(shared, self.deleted.extract_if(.., |at, _| some(at)));
                shared.nodes[0].started += 600;
                shared.change();
            }
            Event::Set(seconds) => {
                self.doubted = true;
                shared.clock_ahead += i64::from(seconds) * 1_000_000_000;
            }
            Event::Remember(queries) => shared.remembered = queries,
        }
    }

    fn change(&mut self, shared: &mut Shared, mut random: Random, many: usize) {
        let time = shared.clock();
        for _ in 0..1 + random.below(many) {
            let (at, write) = any_write(&mut random);
            // Servers refuse what they would take for truncated.
            if shared.is_truncated(NAMESPACE, &write.set, time) {
                continue;
            }
            let namespace = shared.namespaces.get_mut(NAMESPACE).unwrap();
            let was = namespace.get(&at, time).cloned();
            let delete = Write { delete: true, ..Write::default() };
            match random.below(10) {
                0..4 => drop(namespace.write(at, &write, time)),
                // The generation begins again.
                4 => {
                    namespace.write(at, &delete, time);
                    namespace.write(at, &write, time);
                }
                5..9 => {
                    namespace.write(at, &delete, time);
                    self.deleted.extend(was.map(|was| (at, was)));
                }
                _ => drop(namespace.write(at, &Write { touch: true, bins: vec![], ..write }, time)),
            }
        }
    }

    fn write_elsewhere(&mut self, shared: &Shared, mut random: Random) {
        let (time, Some(theirs)) = (shared.clock(), &mut self.other_side) else { return };
        for _ in 0..1 + random.below(20) {
            let (at, write) = any_write(&mut random);
            if random.one_of(4) {
                theirs.remove(&at);
                continue;
            }
            let record = theirs.entry(at).or_default();
            // Not what this side may have come to.
            record.generation += 1000;
            record.updated = time;
            (record.set, record.key, record.bins) = (write.set, write.key, write.bins);
            record.void_time = 0;
        }
    }
}

/// Records of another node come in. Of two, that of the higher generation stays, else the one that was updated last.
fn receive(shared: &mut Shared, records: impl Iterator<Item = (Raw, Record)>) {
    let time = shared.clock();
    for (at, record) in records {
        if record.expired(time) || shared.is_truncated(NAMESPACE, &record.set, record.updated) {
            continue;
        }
        let namespace = shared.namespaces.get_mut(NAMESPACE).unwrap();
        let rank = |record: &Record| (record.generation, record.updated);
        if namespace.records.get(&at).is_none_or(|own| rank(own) < rank(&record)) {
            namespace.put(at, record);
        }
    }
}

fn any_write(random: &mut Random) -> (Raw, Write) {
    // Some are written more often.
    let number = if random.one_of(2) { random.below(NUMBERS) } else { random.below(NUMBERS / 10) };
    let (set, key) = (SETS[number % SETS.len()], int(number as i64));
    let write = Write {
        set: set.to_vec(),
        key: if number.is_multiple_of(2) { key.clone() } else { vec![] },
        ttl: random.pick(&[u32::MAX, u32::MAX, u32::MAX, 10, 300, 30 * DAY]),
        bins: vec![bin("n", 1, &random.next().to_be_bytes())],
        ..Write::default()
    };
    (digest(set, &key), write)
}

/// What all histories came to, so that they don't pass for want of anything to see.
#[derive(Default)]
struct Sums {
    quiet: AtomicUsize,
    disturbed: AtomicUsize,
    deleted: AtomicUsize,
    healed: AtomicUsize,
}

struct History<'a> {
    random: Random,
    cluster: TestCluster,
    past: Arc<Mutex<Past>>,
    repository: Repository,
    /// Which selection its backups have.
    part: usize,
    sums: &'a Sums,
}

impl History<'_> {
    fn selection(&self) -> RecordSelection {
        let all = RecordSelection::default();
        match self.part {
            0 | 1 => all,
            2 => all.sets([SETS[0]]),
            3 => all.sets([SETS[0], SETS[1]]),
            _ => all.filter(FILTER.to_vec()),
        }
    }

    fn selected(&self, world: &World) -> World {
        let selects = |found: &super::Found| match self.part {
            0 | 1 => true,
            2 => found.set == SETS[0],
            3 => found.set != SETS[2],
            _ => found.bins.iter().all(|bin| bin.2[0] < 0x80),
        };
        world.iter().filter(|(_, found)| selects(found)).map(|(at, found)| (*at, found.clone())).collect()
    }

    fn tell(&self, what: String) {
        self.past.lock().unwrap().log.push(what);
    }

    fn happen(&mut self, event: Event) {
        if let Event::Healed(..) = event {
            self.sums.healed.fetch_add(1, Ordering::Relaxed);
        }
        let mut shared = self.cluster.shared();
        self.past.lock().unwrap().happen(&mut shared, event);
    }

    /// Lets things happen while the next backup goes on.
    fn disturb(&mut self) {
        for _ in 0..1 + self.random.below(3) {
            let (moment, after) = match self.random.below(9) {
                0 => (Moment::Scan, self.random.below(12)),
                1..3 => (Moment::Walk, self.random.below(12)),
                3..6 => (Moment::Partition, self.random.below(8192)),
                6 => (Moment::Info("query-show"), self.random.below(16)),
                7 => (Moment::Info("partition-info"), 0),
                _ if self.random.one_of(2) => (Moment::Info("namespace"), self.random.below(4)),
                _ => (Moment::Batch, self.random.below(2)),
            };
            let event = match Event::any(&mut self.random) {
                // Our own clock does not go on, so it looks as if the servers had been restarted.
                Event::Passed(seconds) if !self.cluster.shared().on_device => Event::Set(seconds as i32),
                event => event,
            };
            self.tell(format!("  before {moment:?}, after {after} of them: {event:?}"));
            let past = self.past.clone();
            self.cluster.before(moment, after, move |shared| {
                let mut past = past.lock().unwrap();
                past.doubted |= matches!(event, Event::Passed(_));
                past.happen(shared, event);
                past.worlds.push(world(shared, NAMESPACE));
            });
        }
    }

    fn session(&mut self, kind: BackupKind, accept_loss: bool) -> aerolith::Result<Snapshot> {
        let options = quick(b"").selection(self.selection()).parallel(1 + self.random.below(2)).attempts(2);
        let source = connect(&self.cluster.address(0), options.absence(Duration::from_millis(50)))?;
        let mut session = self.repository.begin(SessionOptions::default())?;
        let options = RecordOptions::default().parallel(1 + self.random.below(2)).accept_loss(accept_loss);
        session.records(NAMESPACE, &source, kind, &options)?;
        session.commit()
    }

    fn back_up(&mut self, kind: BackupKind, disturbed: bool) {
        self.tell(format!("{kind} backup"));
        self.past.lock().unwrap().worlds = vec![world(&self.cluster.shared(), NAMESPACE)];
        if disturbed {
            self.disturb();
        }
        let first = self.session(kind, false);
        self.cluster.nothing_more();
        let snapshot = first.or_else(|error| {
            // A server whose clock was set looks as if it had been restarted, and might have lost what it had; so might
            // those that went away.
            let (problem, mut past) = (error.to_string(), self.past.lock().unwrap());
            past.log.push(format!("  {problem}"));
            assert!(past.doubted && ["may have lost data", "may be lost"].iter().any(|it| problem.contains(it)));
            past.worlds = vec![];
            drop(past);
            let now = world(&self.cluster.shared(), NAMESPACE);
            self.past.lock().unwrap().worlds.push(now);
            self.session(kind, true)
        });
        let snapshot = snapshot.unwrap();
        let after = world(&self.cluster.shared(), NAMESPACE);
        let mut worlds = std::mem::take(&mut self.past.lock().unwrap().worlds);
        let sum = if worlds.len() > 1 { &self.sums.disturbed } else { &self.sums.quiet };
        sum.fetch_add(1, Ordering::Relaxed);
        worlds.push(after);
        self.holds(&snapshot, &worlds.iter().map(|world| self.selected(world)).collect::<Vec<_>>());
    }

    /// Each record is as it was in one of the worlds. In a quiet backup these are two, before and after it, that differ
    /// in nothing but what expired meanwhile. What changed under a backup may also be as the parent has it: between two
    /// requests it was deleted.
    fn holds(&self, snapshot: &Snapshot, worlds: &[World]) {
        let held_now = held(snapshot, NAMESPACE);
        let view = snapshot.namespace(NAMESPACE).unwrap();
        let (manifest, keys) = (view.manifest(), self.repository.keys());
        assert_eq!(view.state_sums(keys).unwrap().hash(keys.states().unwrap()), manifest.state_hash);
        assert_eq!(manifest.live_records, held_now.len() as u64);
        self.sums.deleted.fetch_add(manifest.counts.deleted as usize, Ordering::Relaxed);
        let parent = manifest.parent.map(|id| held(&self.repository.snapshot(&id.to_string()).unwrap(), NAMESPACE));
        for at in worlds.iter().chain([&held_now]).flat_map(BTreeMap::keys).collect::<BTreeSet<_>>() {
            let is = held_now.get(at);
            let was: Vec<_> = worlds.iter().map(|world| world.get(at)).collect();
            let changed = was.iter().any(|one| *one != was[0]);
            let is_late = changed && worlds.len() > 2 && parent.as_ref().is_some_and(|parent| parent.get(at) == is);
            assert!(
                was.contains(&is) || is_late,
                "{}: {is:?} in snapshot {}, {was:?} there",
                Digest(*at),
                snapshot.id()
            );
        }
    }

    fn run(&mut self) {
        let seed = self.random.next();
        self.happen(Event::Changes(seed, 2000));
        self.happen(Event::Passed(100));
        self.back_up(BackupKind::Full, false);
        for _ in 0..BACKUPS {
            for _ in 0..self.random.below(5) {
                let event = Event::any(&mut self.random);
                self.happen(event);
            }
            let kind = match self.random.below(8) {
                0 => BackupKind::Full,
                1 => BackupKind::Differential,
                _ => BackupKind::Incremental,
            };
            let disturbed = self.random.one_of(2);
            self.back_up(kind, disturbed);
        }
        self.back_up(BackupKind::Incremental, false);
        let found = self.repository.check(&CheckOptions::default()).unwrap();
        assert!(found.problems.is_empty() && found.hurt.is_empty(), "{found:?}");
    }
}

fn history(seed: u64, sums: &Sums) {
    let mut random = Random(seed);
    let cluster = TestCluster::start(1 + random.below(3));
    {
        let mut shared = cluster.shared();
        (shared.copies, shared.on_device, shared.slow_truncation) = (true, random.one_of(2), random.one_of(2));
        shared.sets.extend(SETS.map(|set| (NAMESPACE.to_string(), set.to_vec())));
    }
    let options = CreateOptions::default().cost(KdfCost::WEAK);
    let repository = Repository::create(Arc::new(MemoryStore::new()), b"secret", &options).unwrap();
    let (part, past) = (random.below(5), Arc::default());
    let mut history = History { random, cluster, past, repository, part, sums };
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| history.run())) {
        let log = history.past.lock().unwrap_or_else(PoisonError::into_inner);
        println!("history of seed {seed}, selection {part}:\n{}", log.log.join("\n"));
        println!("again: AEROLITH_HISTORY_SEED={seed} AEROLITH_HISTORIES=1");
        resume_unwind(panic);
    }
}

#[test]
fn after_any_history_an_incremental_holds_what_a_full_reading_would() {
    let first = number("AEROLITH_HISTORY_SEED").unwrap_or(1);
    let histories = number("AEROLITH_HISTORIES").unwrap_or(HISTORIES);
    let sums = Sums::default();
    (first..first + histories).into_par_iter().for_each(|seed| history(seed, &sums));
    let Sums { quiet, disturbed, deleted, healed } = sums;
    let [quiet, disturbed, deleted, healed] = [quiet, disturbed, deleted, healed].map(AtomicUsize::into_inner);
    println!(
        "{histories} histories from seed {first}: {quiet} quiet backups, {disturbed} disturbed ones; {deleted} deletes \
         found, {healed} splits healed"
    );
    if histories >= HISTORIES {
        assert!([quiet, disturbed, deleted, healed].iter().all(|sum| *sum > 0));
    }
}
