//! A model of the order of snapshots: four writers whose clocks are wrong, in every order of their first and last
//! steps.
//!
//! A writer's first step reads the manifests, from which the program's own functions make its number and its heads; its
//! last puts its manifest there. The clocks of the hosts are right, a day behind, or ten years ahead.

use aerolith::format::snapshot::Manifest;
use aerolith::internals::collect::retention::decide;
use aerolith::internals::objects::order::{Times, heads, next_sequence};
use aerolith::record::Timestamp;
use aerolith::{Retention, SnapshotId};
use std::collections::BTreeSet;

const WRITERS: usize = 4;
const HOUR: u64 = 3_600_000;
const DAY: u64 = 24 * HOUR;
/// 2026-01-05T00:00:00Z.
const NOW: u64 = 1_767_571_200_000;
/// What is added to the hours of a host's clock.
const CLOCKS: [i64; 3] = [0, -(DAY as i64), 3650 * DAY as i64];

/// What is taken for the newest of snapshots that stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    /// The program's order.
    Sequence,
    /// What it was: the time of the commit by the writer's clock.
    Time,
}

/// One way that it can go: the writers in the order of their steps, and their clocks.
struct Way {
    steps: Vec<usize>,
    clocks: [i64; WRITERS],
}

/// The snapshots at the end, in the order of the commits, and for each those that existed when it was begun.
#[derive(Default)]
struct Outcome {
    snapshots: Vec<Manifest>,
    seen: Vec<BTreeSet<SnapshotId>>,
}

fn manifest(writer: usize) -> Manifest {
    Manifest {
        id: SnapshotId([writer as u8 + 1; 16]),
        started: 0,
        committed: 0,
        host: format!("host {writer}"),
        program: String::new(),
        source: String::new(),
        cluster: "zoo".into(),
        tags: Vec::new(),
        sequence: 0,
        heads: Vec::new(),
        index_segments: 0,
        stored_bytes: 0,
        missing: Vec::new(),
        salvage: None,
        origin: None,
        namespaces: Vec::new(),
    }
}

impl Way {
    /// Every order of the first and the last steps in which each writer's first comes first. Writers are alike but for
    /// their clocks, so the first to begin is always the first writer.
    fn all_orders() -> Vec<Vec<usize>> {
        fn go(steps: &mut Vec<usize>, all: &mut Vec<Vec<usize>>) {
            if steps.len() == 2 * WRITERS {
                return all.push(steps.clone());
            }
            let begun = steps.iter().max().map_or(0, |last| last + 1);
            for writer in 0..WRITERS.min(begun + 1) {
                if steps.iter().filter(|one| **one == writer).count() < 2 {
                    steps.push(writer);
                    go(steps, all);
                    steps.pop();
                }
            }
        }
        let mut all = Vec::new();
        go(&mut Vec::new(), &mut all);
        all
    }

    fn all_clocks() -> impl Iterator<Item = [i64; WRITERS]> {
        (0..CLOCKS.len().pow(WRITERS as u32)).map(|number| {
            let clock = |writer: usize| CLOCKS[number / CLOCKS.len().pow(writer as u32) % CLOCKS.len()];
            std::array::from_fn(clock)
        })
    }

    /// Goes it: an hour passes with each step.
    fn run(&self) -> Outcome {
        let mut outcome = Outcome::default();
        let mut begun: [Option<(Manifest, BTreeSet<SnapshotId>)>; WRITERS] = Default::default();
        for (&writer, hour) in self.steps.iter().zip(1u64..) {
            let clock = (NOW + hour * HOUR).saturating_add_signed(self.clocks[writer]);
            match begun[writer].take() {
                None => {
                    let mut one = manifest(writer);
                    one.sequence = next_sequence(&outcome.snapshots, 0);
                    one.heads = heads(&outcome.snapshots, []);
                    one.started = clock;
                    begun[writer] = Some((one, outcome.snapshots.iter().map(|one| one.id).collect()));
                }
                Some((one, seen)) => {
                    outcome.snapshots.push(Manifest { committed: clock, ..one });
                    outcome.seen.push(seen);
                }
            }
        }
        outcome
    }
}

impl Outcome {
    fn is_before(by: By, one: &Manifest, other: &Manifest) -> bool {
        match by {
            By::Sequence => one.place() < other.place(),
            By::Time => (one.committed, one.id) < (other.committed, other.id),
        }
    }

    /// Whether what was there when another was begun always comes before it.
    fn order_is_causal(&self, by: By) -> bool {
        self.snapshots.iter().zip(&self.seen).all(|(one, seen)| {
            self.snapshots.iter().filter(|other| seen.contains(&other.id)).all(|other| Self::is_before(by, other, one))
        })
    }

    fn newest(&self) -> SnapshotId {
        self.snapshots.iter().max_by_key(|one| one.place()).unwrap().id
    }

    /// Those that were there when no other was begun.
    fn causally_newest(&self) -> BTreeSet<SnapshotId> {
        let seen: BTreeSet<SnapshotId> = self.seen.iter().flatten().copied().collect();
        self.snapshots.iter().map(|one| one.id).filter(|id| !seen.contains(id)).collect()
    }

    /// All that is met by following the heads from those that nobody names.
    fn reached(&self) -> BTreeSet<SnapshotId> {
        let mut reached = BTreeSet::new();
        let mut left = heads(&self.snapshots, []);
        while let Some(id) = left.pop() {
            if reached.insert(id) {
                left.extend(self.snapshots.iter().filter(|one| one.id == id).flat_map(|one| one.heads.iter().copied()));
            }
        }
        reached
    }

    /// What a rule keeps that goes by time.
    fn kept(&self, times: &Times, policy: &Retention) -> Vec<SnapshotId> {
        let verdicts = decide(policy, &self.snapshots, times).unwrap();
        verdicts.iter().filter(|verdict| verdict.stays()).map(|verdict| verdict.snapshot).collect()
    }
}

#[test]
fn no_clock_makes_an_older_snapshot_the_newest_in_any_order_of_four_writers() {
    let orders = Way::all_orders();
    assert_eq!(orders.len(), 105, "the orders of the steps of four writers that are alike");
    let within = Retention::default().within(std::time::Duration::from_millis(2 * DAY));
    let (mut ways, mut by_time_wrong, mut doubted) = (0, 0, 0);
    for steps in orders {
        for clocks in Way::all_clocks() {
            let way = Way { steps: steps.clone(), clocks };
            let outcome = way.run();
            let name = || format!("steps {:?}, clocks {:?}", way.steps, way.clocks);
            assert!(outcome.order_is_causal(By::Sequence), "{}", name());
            assert!(outcome.causally_newest().contains(&outcome.newest()), "{}", name());
            assert_eq!(outcome.reached().len(), WRITERS, "{}: heads lead to every snapshot", name());
            let times = Times::of(&outcome.snapshots, Timestamp(NOW + 9 * HOUR));
            let honest = clocks.iter().all(|clock| *clock == 0);
            assert!(!honest || times.doubtful().is_empty(), "{}: {:?}", name(), times.doubtful());
            if !times.reader_is_behind() {
                // All were written on one day. What was begun last is as new as anything, so rules that count back keep
                // it.
                let kept = outcome.kept(&times, &within);
                assert!(kept.contains(&outcome.newest()), "{}", name());
                // One clock that runs ahead, of four, makes nothing honest old.
                if clocks.iter().all(|clock| *clock >= 0) && clocks.iter().filter(|clock| **clock > 0).count() == 1 {
                    assert_eq!(kept.len(), WRITERS, "{}", name());
                    assert_eq!(times.doubtful().len(), 1, "{}", name());
                }
            }
            ways += 1;
            by_time_wrong += usize::from(!outcome.order_is_causal(By::Time));
            doubted += usize::from(!times.doubtful().is_empty());
        }
    }
    println!("{ways} ways; ordered by time {by_time_wrong} are wrong; {doubted} have times that are doubted");
    assert_eq!(
        (ways, by_time_wrong),
        (105 * 81, 3_466),
        "the model has changed, so change format-spec/protocol.md too"
    );
}
