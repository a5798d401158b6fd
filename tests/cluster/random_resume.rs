//! Backups that are killed, resumed, and mixed with others, at random, while records change, sets are truncated,
//! servers restart and their clocks move. Whatever is committed as whole must be what the cluster held while it was
//! read.
//!
//! - `AEROLITH_RESUME_SEED`: the first story's seed, as a failed one printed it; 41 if not given.
//! - `AEROLITH_RESUME_STORIES`: how many stories; a few if not given.

use super::town::{Event, NAMESPACES, Random, SETS, Town, World};
use super::{Found, connect, quick};
use crate::support::cluster::TestCluster;
use crate::support::cluster::data::{Digest as Raw, partition};
use crate::support::watching::{Asked, Watch, Watching};
use aerolith::record::{Digest, PartitionId, PartitionSet, RecordBatch, RecordSelection};
use aerolith::store::{Effect, Fault, FaultStore, MemoryStore};
use aerolith::{
    AerospikeSource, BackupKind, CheckOptions, CompareOptions, Control, CreateOptions, Error, KdfCost, RecordOptions,
    RecordSource, Repository, Result, SessionOptions, Snapshot, SnapshotId,
};
use rayon::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const PASSPHRASE: &[u8] = b"secret";
/// Stories, if nobody says how many.
const STORIES: u64 = 12;
/// Jobs of a part of the partitions take those from this one on.
const BELOW: u16 = 1500;
/// Steps of a story.
const STEPS: usize = 12;

/// What ends a session before its commit.
#[derive(Clone, Copy, Debug)]
enum Kill {
    /// The process dies at a call of the store.
    Store(usize, Effect),
    /// The source fails at its nth call.
    Source(usize),
    /// Somebody stops it at the source's nth call.
    Stop(usize),
}

/// A cluster under which something happens while it is read.
struct Watched<'a> {
    source: &'a AerospikeSource,
    town: &'a Town,
    namespace: &'a str,
    calls: AtomicUsize,
    kill: Option<Kill>,
    control: Control,
    /// At which call what happens.
    events: Vec<(usize, Event)>,
    /// What the cluster held from the beginning on, each time that it changed.
    worlds: Mutex<Vec<World>>,
    /// For each partition that lost its records: from which of them on what it holds is not what it held.
    lost: Mutex<BTreeMap<u16, usize>>,
}

impl Watched<'_> {
    fn called(&self) -> Result<()> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        for (_, event) in self.events.iter().filter(|(at, _)| *at == call) {
            self.event(*event);
        }
        match self.kill {
            Some(Kill::Source(at)) if at <= call => {
                Err(Error::Source { source_name: self.source.name().into(), problem: KILLED.into() })
            }
            Some(Kill::Stop(at)) if at == call => {
                self.control.stop();
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn event(&self, event: Event) {
        // Nothing is looked at between the event and this note of it.
        let mut worlds = self.worlds.lock().unwrap();
        let before = self.town.facts().losses;
        let owners = self.town.cluster.shared().owners.clone();
        self.town.happen(event);
        if let Event::Restarted(node) = event
            && self.town.facts().losses > before
        {
            let its = (0..4096).filter(|partition| owners[usize::from(*partition)] == Some(node));
            let mut lost = self.lost.lock().unwrap();
            for partition in its {
                lost.entry(partition).or_insert(worlds.len());
            }
        }
        worlds.push(self.town.world(self.namespace));
    }
}

const KILLED: &str = "the test ends it here";

impl Watch for Watched<'_> {
    type Source = AerospikeSource;

    fn source(&self) -> &AerospikeSource {
        self.source
    }

    fn asked(&self, asked: Asked) -> Result<()> {
        if !matches!(asked, Asked::Metadata) {
            return self.called();
        }
        for (_, event) in self.events.iter().filter(|(at, _)| *at == usize::MAX) {
            self.event(*event);
        }
        Ok(())
    }
}

/// Which backup it is: two of the same are one job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Job {
    label: &'static str,
    part: usize,
    kind: u8,
}

const KINDS: [BackupKind; 3] = [BackupKind::Full, BackupKind::Incremental, BackupKind::Differential];

impl Job {
    fn any(random: &mut Random) -> Self {
        let label = if random.one_of(6) { "other" } else { "small" };
        Job { label, part: random.below(6).saturating_sub(3), kind: random.pick(&[0, 0, 0, 1, 1, 2]) }
    }

    fn selection(self) -> RecordSelection {
        let all = RecordSelection::default();
        match self.part {
            0 => all,
            1 => all.sets([SETS[0]]),
            _ => all.partitions(PartitionId::all().filter(|it| it.number() >= BELOW).collect::<PartitionSet>()),
        }
    }

    fn selects(self, at: &Raw, found: &Found) -> bool {
        match self.part {
            0 => true,
            1 => found.set == SETS[0],
            _ => partition(at) >= BELOW,
        }
    }
}

/// How a session goes.
#[derive(Clone, Debug, Default)]
struct Plan {
    kill: Option<Kill>,
    events: Vec<(usize, Event)>,
    allow_partial: bool,
    accept_loss: bool,
    parallel: usize,
    /// Whether it notes as often as it may.
    notes: bool,
    both: bool,
}

/// What all stories came to, so that they don't pass for want of anything to see.
#[derive(Default)]
struct Sums {
    killed: AtomicUsize,
    committed: AtomicUsize,
    resumed: AtomicUsize,
    partial: AtomicUsize,
    refused: AtomicUsize,
    changed: AtomicUsize,
}

struct Story<'a> {
    random: Random,
    town: Town,
    nodes: usize,
    disk: Arc<MemoryStore>,
    /// How much was cut off when each session began.
    begun: BTreeMap<SnapshotId, [usize; 2]>,
    fulls: BTreeSet<(&'static str, usize)>,
    last_killed: Option<Job>,
    sums: &'a Sums,
}

/// What a snapshot holds.
pub fn held(snapshot: &Snapshot, namespace: &str) -> World {
    let view = snapshot.namespace(namespace).unwrap();
    let (mut entries, mut batch) = (view.entries().unwrap(), RecordBatch::new());
    while let Some(entry) = entries.next().unwrap() {
        view.get(&entry.digest).unwrap().unwrap().push_to(&mut batch).unwrap();
    }
    let mut held = World::new();
    super::take(&batch, &mut held);
    held
}

impl Story<'_> {
    fn source(&self, job: Job) -> AerospikeSource {
        let options = quick(b"").selection(job.selection()).absence(Duration::from_millis(50)).attempts(2);
        let node = self.nodes - 1;
        connect(&self.town.cluster.address(node), options).unwrap()
    }

    /// One session; whether it was committed.
    fn session(&mut self, job: Job, plan: &Plan) -> Result<Snapshot> {
        self.town.tell(format!("{job:?} {plan:?}"));
        let store = Arc::new(FaultStore::new(self.disk.clone()));
        let repository = Repository::open(store.clone(), PASSPHRASE).unwrap();
        if let Some(Kill::Store(n, effect)) = plan.kill {
            store.inject(Fault::nth(n, effect));
        }
        let (source, control) = (self.source(job), Control::new());
        let about =
            SessionOptions::default().cluster(job.label).resume(true).note_every(plan.notes.then_some(Duration::ZERO));
        let mut session = repository.watched(&control).begin(about)?;
        self.begun.insert(session.id(), self.town.facts().cuts);
        let options = RecordOptions::default()
            .allow_partial(plan.allow_partial)
            .accept_loss(plan.accept_loss)
            .parallel(plan.parallel);
        let mut seen = Vec::new();
        for (n, namespace) in NAMESPACES.iter().enumerate().take(if plan.both { 2 } else { 1 }) {
            let watched = Watching(Watched {
                source: &source,
                town: &self.town,
                namespace,
                calls: AtomicUsize::new(0),
                kill: plan.kill.filter(|_| !plan.both || n == 1),
                control: control.clone(),
                events: plan.events.clone(),
                worlds: Mutex::new(vec![self.town.world(namespace)]),
                lost: Mutex::default(),
            });
            let cuts = self.town.facts().cuts[n];
            if let Err(error) = session.records(namespace, &watched, KINDS[usize::from(job.kind)], &options) {
                if self.random.one_of(2) {
                    session.abandon(&error);
                }
                return Err(error);
            }
            for resumed in session.resumed().iter().filter(|resumed| resumed.namespace == *namespace) {
                self.sums.resumed.fetch_add(1, Ordering::Relaxed);
                self.town.tell(format!("  went on with {} partitions of {namespace}", resumed.partitions));
                assert_eq!(self.begun[&resumed.session][n], cuts, "it went on with what was cut off since");
            }
            let (worlds, lost) = (watched.0.worlds.into_inner().unwrap(), watched.0.lost.into_inner().unwrap());
            seen.push((*namespace, worlds, lost));
        }
        let (id, committed) = (session.id(), session.commit());
        let repository = Repository::open(self.disk.clone(), PASSPHRASE).unwrap();
        // A process that died may have committed before.
        let snapshot = match (repository.snapshot(&id.to_string()), committed) {
            (Ok(snapshot), _) => snapshot,
            (Err(_), Err(error)) => return Err(error),
            (Err(error), Ok(_)) => panic!("it is not there: {error}"),
        };
        if job.kind == 0 {
            self.fulls.insert((job.label, job.part));
        }
        self.sums.committed.fetch_add(1, Ordering::Relaxed);
        for (namespace, worlds, lost) in seen {
            self.holds(&repository, &snapshot, namespace, job, &worlds, &lost);
        }
        Ok(snapshot)
    }

    /// What is committed is what the cluster held: all of it at once if nothing happened meanwhile, else each record at
    /// some time. Of a partition that lost its records meanwhile, what it held before.
    fn holds(
        &self,
        repository: &Repository,
        snapshot: &Snapshot,
        namespace: &str,
        job: Job,
        worlds: &[World],
        lost: &BTreeMap<u16, usize>,
    ) {
        let held_now = held(snapshot, namespace);
        let view = snapshot.namespace(namespace).unwrap();
        let manifest = view.manifest();
        assert_eq!(
            view.state_sums(repository.keys()).unwrap().hash(repository.keys().states().unwrap()),
            manifest.state_hash
        );
        let counts = &manifest.counts;
        let live = counts.added + counts.changed + counts.touched + counts.healed + counts.unchanged;
        assert_eq!((live, held_now.len() as u64), (manifest.live_records, manifest.live_records), "{counts:?}");
        let unread = manifest.unread_partitions();
        let is_unread = |at: &Raw| unread.contains(Digest(*at).partition());
        let before = match manifest.parent {
            Some(parent) if !unread.is_empty() => held(&repository.snapshot(&parent.to_string()).unwrap(), namespace),
            _ => World::new(),
        };
        self.sums.partial.fetch_add(usize::from(!unread.is_empty()), Ordering::Relaxed);
        self.sums.changed.fetch_add(usize::from(worlds.len() > 1), Ordering::Relaxed);
        let all = worlds.iter().chain([&before, &held_now]).flat_map(BTreeMap::keys);
        for at in all.collect::<BTreeSet<_>>() {
            let (is, was) = (held_now.get(at), before.get(at));
            if is_unread(at) {
                assert_eq!(is, was, "it was not read, so it is as it was: {}", Digest(*at));
                continue;
            }
            let counting = lost.get(&partition(at)).copied().unwrap_or(usize::MAX);
            let mut may_be =
                worlds.iter().take(counting).map(|world| world.get(at).filter(|found| job.selects(at, found)));
            assert!(
                may_be.any(|found| found == is),
                "namespace {namespace}, {}: {is:?} in the snapshot, {:?} there",
                Digest(*at),
                worlds.iter().take(counting).map(|world| world.get(at)).collect::<Vec<_>>()
            );
        }
    }

    /// A session that nothing ends but what may rightly end one.
    fn committed(&mut self, job: Job, mut plan: Plan) -> Option<Snapshot> {
        loop {
            let losses = self.town.facts().losses;
            let error = match self.session(job, &plan) {
                Ok(snapshot) => return Some(snapshot),
                Err(error) => error.to_string(),
            };
            self.town.tell(format!("  {error}"));
            let facts = self.town.facts();
            let may_be_lost = error.contains("may have lost data") || error.contains("may be lost");
            if facts.restarts > 0 && may_be_lost {
                self.sums.refused.fetch_add(1, Ordering::Relaxed);
                plan.accept_loss |= facts.losses == losses && !self.random.one_of(3);
                plan.allow_partial |= !plan.accept_loss;
                plan.events.clear();
                continue;
            }
            if error.contains("there is no earlier snapshot") && job.kind > 0
                || error.contains("set s isn't in namespace") && job.part == 1
                || error.contains("no partition could be read") && plan.allow_partial
            {
                return None;
            }
            panic!("{error}");
        }
    }

    fn plan(&mut self) -> Plan {
        let random = &mut self.random;
        let calls = [300, 4096, 9000];
        let count = [0, 0, 1, 1, 3][random.below(5)];
        let events = (0..count).map(|_| {
            let at = if random.one_of(8) { usize::MAX } else { random.below(random.clone().pick(&calls)) };
            (at, Event::any(random, self.nodes, false))
        });
        let mut events: Vec<(usize, Event)> = events.collect();
        // What changes behind the reading, before the clocks go on, is the next backup's to find.
        if count == 3 && random.one_of(2) {
            let at = 1 + random.below(3000);
            let changes = [random.next(), random.next()].map(Event::Changes);
            events = vec![(at, changes[0]), (at + 1, Event::SetForward(200)), (at + 2, changes[1])];
        }
        Plan {
            kill: None,
            events,
            allow_partial: random.one_of(6),
            accept_loss: random.one_of(6),
            parallel: 1 + random.below(3),
            notes: !random.one_of(5),
            both: random.one_of(3),
        }
    }

    fn kill(&mut self) -> Kill {
        let random = &mut self.random;
        let calls = random.pick(&[200, 4096, 8192]);
        match random.below(6) {
            0..3 => Kill::Source(random.below(calls)),
            3 => Kill::Stop(random.below(calls)),
            n => Kill::Store(random.below(200), [Effect::CrashBefore, Effect::CrashAfter][n - 4]),
        }
    }

    fn step(&mut self) {
        let nodes = self.nodes;
        for _ in 0..self.random.below(4) {
            let event = Event::any(&mut self.random, nodes, true);
            self.town.happen(event);
        }
        let again = self.last_killed.filter(|_| !self.random.one_of(3));
        let job = again.unwrap_or_else(|| Job::any(&mut self.random));
        let mut plan = self.plan();
        // What was killed is mostly resumed to its end.
        if self.random.below(5) < if again.is_some() { 3 } else { 2 } {
            let away: Vec<u16> =
                if plan.allow_partial { (0..20).map(|_| self.random.below(4096) as u16).collect() } else { vec![] };
            let owners = self.town.cluster.shared().owners.clone();
            away.iter().for_each(|number| self.town.cluster.move_partition(*number, None));
            self.committed(job, plan);
            away.iter().for_each(|number| self.town.cluster.move_partition(*number, owners[usize::from(*number)]));
            return;
        }
        plan.kill = Some(self.kill());
        match self.session(job, &plan) {
            Ok(_) => self.last_killed = None,
            Err(error) => {
                self.sums.killed.fetch_add(1, Ordering::Relaxed);
                self.town.tell(format!("  {error}"));
                self.last_killed = Some(job);
            }
        }
    }

    /// In the end each job's next backup is exactly what the cluster holds.
    fn end(&mut self) {
        let quiet = Plan { accept_loss: true, parallel: 2, both: true, ..Plan::default() };
        for (label, part) in self.fulls.clone() {
            let kind = 1 + self.random.below(2) as u8;
            let job = Job { label, part, kind };
            // The second namespace may have no full backup yet.
            let both = self.session(job, &quiet).is_ok();
            let plan = Plan { both, ..quiet.clone() };
            let snapshot = self.committed(job, plan).expect("there is a full one");
            let compared = snapshot
                .compare(NAMESPACES[0], &self.source(job), &CompareOptions::default().others_differ(part == 0))
                .unwrap();
            assert!(compared.is_same(), "{compared:?}");
        }
        let repository = Repository::open(self.disk.clone(), PASSPHRASE).unwrap();
        let found = repository.check(&CheckOptions::default()).unwrap();
        assert!(found.problems.is_empty() && found.hurt.is_empty(), "{found:?}");
    }
}

fn story(seed: u64, sums: &Sums) {
    let mut random = Random(seed);
    let nodes = 1 + random.below(3);
    let cluster = TestCluster::start(nodes);
    cluster.shared().copies = random.one_of(3);
    cluster.shared().on_device = random.one_of(3);
    let disk = Arc::new(MemoryStore::new());
    let options = CreateOptions::default().cost(KdfCost::WEAK);
    Repository::create(disk.clone(), PASSPHRASE, &options).unwrap();
    let town = Town { cluster, facts: Mutex::default() };
    let (begun, fulls) = Default::default();
    let mut story = Story { random, town, nodes, disk, begun, fulls, last_killed: None, sums };
    let told = catch_unwind(AssertUnwindSafe(|| {
        (0..3).for_each(|n| story.town.happen(Event::Changes(seed + n)));
        (0..STEPS).for_each(|_| story.step());
        story.end();
    }));
    if let Err(panic) = told {
        println!(
            "story of seed {seed}, {nodes} nodes:\n{}",
            story.town.facts.lock().map(|facts| facts.log.join("\n")).unwrap_or_default()
        );
        println!("again: AEROLITH_RESUME_SEED={seed} AEROLITH_RESUME_STORIES=1");
        resume_unwind(panic);
    }
}

pub fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap_or_else(|_| panic!("{name} is no number: {value}")))
}

#[test]
fn whatever_happens_what_is_committed_is_what_the_cluster_held() {
    let first = number("AEROLITH_RESUME_SEED").unwrap_or(41);
    let stories = number("AEROLITH_RESUME_STORIES").unwrap_or(STORIES);
    let sums = Sums::default();
    (first..first + stories).into_par_iter().for_each(|seed| story(seed, &sums));
    let Sums { killed, committed, resumed, partial, refused, changed } = sums;
    let [killed, committed, resumed, partial, refused, changed] =
        [killed, committed, resumed, partial, refused, changed].map(AtomicUsize::into_inner);
    println!(
        "{stories} stories from seed {first}: {killed} sessions killed, {resumed} namespaces resumed, {refused} \
         refused, {committed} committed; {partial} namespaces in part, {changed} changed meanwhile"
    );
    if stories >= STORIES {
        assert!([killed, committed, resumed, partial, refused, changed].iter().all(|sum| *sum > 0));
    }
}
