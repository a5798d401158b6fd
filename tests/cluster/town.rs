//! A cluster to which things happen at random.

use super::Found;
use super::conformance::{bin, int};
use crate::support::cluster::client::digest;
use crate::support::cluster::data::{Digest as Raw, Write, now};
use crate::support::cluster::{Shared, TestCluster};
use std::collections::BTreeMap;
use std::sync::Mutex;

/// The namespaces that it has.
pub const NAMESPACES: [&str; 2] = ["test", "bar"];
/// The sets of both.
pub const SETS: [&[u8]; 3] = [b"s", b"t", b"u"];
/// User keys are the numbers below this.
const NUMBERS: usize = 150;

const SECOND: i64 = 1_000_000_000;
const DAY: u32 = 86_400;

/// SplitMix64 (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014).
#[derive(Clone)]
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    /// Whether one of `n` equal chances came.
    pub fn one_of(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub fn pick<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }
}

/// What happens to the cluster.
#[derive(Clone, Copy, Debug)]
pub enum Event {
    /// Records are written, deleted, rewritten and touched.
    Changes(u64),
    /// A set is truncated, or a namespace; up to so many seconds ago.
    Truncated(&'static str, &'static [u8], u32),
    /// Time passes, for clocks and processes alike.
    Passed(u32),
    /// The clocks are set forward.
    SetForward(u32),
    /// The clocks are a little behind where they were.
    Jitter(u32),
    /// The clocks are set back for good.
    SetBack,
    /// A node is restarted.
    Restarted(usize),
}

impl Event {
    /// What may happen under a backup, too, or only between two.
    pub fn any(random: &mut Random, nodes: usize, between: bool) -> Event {
        match random.below(if between { 22 } else { 16 }) {
            0..10 => Event::Changes(random.next()),
            10 => Event::SetForward(20 + random.below(200) as u32),
            11 => Event::Jitter(random.below(3) as u32),
            12 => Event::Restarted(random.below(nodes)),
            13..16 => {
                let set = if random.one_of(4) { &[][..] } else { random.pick(&SETS) };
                let ago = if random.one_of(3) { 300 } else { 0 };
                Event::Truncated(random.pick(&NAMESPACES), set, ago)
            }
            16..20 => Event::Passed(1 + random.below(400) as u32),
            20 => Event::Passed(30 * DAY),
            _ if random.one_of(3) => Event::SetBack,
            _ => Event::Changes(random.next()),
        }
    }
}

/// What happened so far, as far as it decides what may be resumed.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The furthest that the clocks were ahead.
    pub furthest: i64,
    pub set_back: bool,
    pub restarts: usize,
    /// For each namespace: restarts that cost records, and truncations of all that was there.
    pub cuts: [usize; 2],
    pub losses: usize,
    pub log: Vec<String>,
}

/// The cluster, and what happened to it.
pub struct Town {
    pub cluster: TestCluster,
    pub facts: Mutex<Facts>,
}

pub type World = BTreeMap<Raw, Found>;

/// What a cluster holds of a namespace.
pub fn world(shared: &Shared, namespace: &str) -> World {
    let time = now().saturating_add_signed(shared.clock_ahead);
    let live = shared.namespaces[namespace].records.iter().filter(|(_, record)| !record.expired(time));
    let found = live.map(|(at, record)| {
        let (set, key, bins) = (record.set.clone(), record.key.clone(), record.bins.clone());
        (*at, Found { set, key, generation: record.generation, void_time: record.void_time, bins })
    });
    found.collect()
}

impl Town {
    pub fn facts(&self) -> Facts {
        self.facts.lock().unwrap().clone()
    }

    pub fn tell(&self, what: String) {
        self.facts.lock().unwrap().log.push(what);
    }

    /// What the cluster holds of a namespace.
    pub fn world(&self, namespace: &str) -> World {
        world(&self.cluster.shared(), namespace)
    }

    pub fn happen(&self, event: Event) {
        let mut facts = self.facts.lock().unwrap();
        facts.log.push(format!("  {event:?}"));
        match event {
            Event::Changes(seed) => self.change(Random(seed)),
            Event::Truncated(namespace, set, ago) => {
                let clock = now().saturating_add_signed(self.cluster.shared().clock_ahead);
                self.cluster.truncate_until(namespace, set, clock - u64::from(ago) * SECOND as u64);
                facts.cuts[usize::from(namespace == NAMESPACES[1])] += usize::from(ago == 0);
            }
            Event::Passed(seconds) => {
                self.cluster.pass(seconds);
                facts.furthest += i64::from(seconds) * SECOND;
            }
            Event::SetForward(seconds) if !facts.set_back => {
                facts.furthest += i64::from(seconds) * SECOND;
                self.cluster.shared().clock_ahead = facts.furthest;
            }
            Event::Jitter(seconds) if !facts.set_back => {
                self.cluster.shared().clock_ahead = facts.furthest - i64::from(seconds) * SECOND;
            }
            // What changes until the clocks are where they were can't be told by time; nothing can be told of what came
            // before if nobody looks meanwhile. So they stay behind.
            Event::SetBack => {
                facts.set_back = true;
                self.cluster.shared().clock_ahead = facts.furthest - 400 * i64::from(DAY) * SECOND;
            }
            Event::SetForward(_) | Event::Jitter(_) => {}
            Event::Restarted(node) => {
                let before = self.world(NAMESPACES[0]).len() + self.world(NAMESPACES[1]).len();
                self.cluster.restart(node);
                let after = self.world(NAMESPACES[0]).len() + self.world(NAMESPACES[1]).len();
                facts.restarts += 1;
                facts.cuts.iter_mut().for_each(|cuts| *cuts += usize::from(after < before));
                facts.losses += usize::from(after < before);
            }
        }
    }

    pub fn change(&self, mut random: Random) {
        let mut shared = self.cluster.shared();
        let time = now().saturating_add_signed(shared.clock_ahead);
        let few = 1 + random.below(30);
        let many = if random.one_of(3) { 200 } else { few };
        // Deletes and new keys mostly balance.
        for _ in 0..many {
            let namespace = shared.namespaces.get_mut(random.pick(&NAMESPACES)).unwrap();
            let number = random.below(NUMBERS);
            let (set, key) = (SETS[number % SETS.len()], int(number as i64));
            let at = digest(set, &key);
            let value = bin("n", 1, &random.next().to_be_bytes());
            let more = random.one_of(3).then(|| bin("more", 3, b"text"));
            let write = Write {
                set: set.to_vec(),
                key: if number.is_multiple_of(2) { key } else { vec![] },
                ttl: if random.one_of(5) { 20 * DAY } else { u32::MAX },
                bins: [value].into_iter().chain(more).collect(),
                ..Write::default()
            };
            let delete = Write { delete: true, ..Write::default() };
            match random.below(10) {
                0..3 => drop(namespace.write(at, &write, time)),
                // The generation begins again, and is often what it was.
                3..7 => {
                    namespace.write(at, &delete, time);
                    namespace.write(at, &write, time);
                }
                7..9 => drop(namespace.write(at, &delete, time)),
                _ => drop(namespace.write(at, &Write { touch: true, bins: vec![], ..write }, time)),
            }
        }
    }
}
