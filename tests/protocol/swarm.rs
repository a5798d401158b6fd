//! Everybody at once: too many states to see them all, so random walks through them, each with its own habits.
//!
//! A walk has a seed. It says how the run begins, how often each actor gets its turn, and when one falls asleep, and
//! for how long: much of what can go wrong needs somebody who wakes up late. `AEROLITH_SWARM_SEED` begins with another
//! seed, and with that of a walk that found something repeats it; `AEROLITH_SWARM_SECONDS` walks longer.

use super::left_out;
use super::model::{Model, Scene, Violation};
use super::reduce::Reduction;
use super::rules::Rule;
use super::scenes;
use super::state::{COLLECTORS, NAMES, WRITERS};
use super::table::{Table, fingerprint};
use rayon::prelude::*;
use std::fmt::Write;
use std::time::{Duration, Instant};

/// The walks of a run that is not told how long to go on.
const WALKS: u64 = 118 * BATCH;
/// Walks that are taken together.
const BATCH: u64 = 512;
/// A longer one would have gone in circles: nobody has so many steps.
const LONGEST: usize = 1000;
/// Distinct states after which a run ends, and one that is not told how long to go on.
const COUNTED: usize = 100_000_000;
const COUNTED_AT_FIRST: usize = 4_000_000;
/// Who takes turns.
const ACTORS: [&str; 7] =
    ["user", "the disk", NAMES[WRITERS[0]], NAMES[WRITERS[1]], NAMES[COLLECTORS[0]], NAMES[COLLECTORS[1]], "reader"];

/// SplitMix64, <https://prng.di.unimi.it/splitmix64.c>.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// A number below `end`.
    fn below(&mut self, end: usize) -> usize {
        ((u128::from(self.next()) * end as u128) >> 64) as usize
    }
}

/// What a walk found, or the steps that it took.
type Walk = Result<usize, (Violation, String)>;

/// Takes the walk of this seed. States that were not seen before are counted; each is looked at, so that what a walk
/// finds depends on its seed alone.
fn walk(seed: u64, without: &'static [Rule], seen: &Table, cleaned: &Table, states: &mut usize) -> Walk {
    let mut random = Random(seed);
    // Or else the walks of neighbouring seeds would draw the same numbers, one later.
    random.0 = random.next();
    let scene = scenes::EVERYBODY[random.below(scenes::EVERYBODY.len())];
    let model = Model { scene: Scene { ends_clean: scene.ends_clean && without.is_empty(), ..scene }, without };
    // Turns come by weights, so that one may be done before another has begun. Some stay away till the others are done.
    let mut weights = ACTORS.map(|_| 4 << random.below(6));
    weights[..2].fill(1 << random.below(4));
    let mut awake = [0; ACTORS.len()];
    for awake in awake.iter_mut().filter(|_| random.below(8) == 0) {
        *awake = LONGEST;
    }
    let sleepiness = random.below(64);
    // How often, of 256 times, a collector rather waits than fences somebody.
    let patience = [0, 128, 240, 254][random.below(4)];
    let mut state = model.first();
    let mut said = Vec::new();
    for taken in 0..LONGEST {
        let mut steps = model.steps(&state);
        let actor_of = |actor: &str| ACTORS.iter().position(|name| *name == actor).unwrap_or_default();
        let possible: [bool; ACTORS.len()] =
            std::array::from_fn(|n| steps.iter().any(|step| actor_of(step.actor) == n));
        if !possible.contains(&true) {
            return Ok(taken);
        }
        let turns = |wakes: bool| -> [usize; ACTORS.len()] {
            let turn = |n: usize| possible[n] && (wakes || awake[n] <= taken);
            std::array::from_fn(|n| if turn(n) { weights[n] } else { 0 })
        };
        // Once all are asleep, somebody wakes up.
        let turns = [turns(false), turns(true)].into_iter().find(|turns| turns.iter().any(|turn| *turn != 0));
        let turns = turns.unwrap_or_default();
        let mut drawn = random.below(turns.iter().sum());
        let actor = turns.iter().position(|turn| drawn.checked_sub(*turn).map(|left| drawn = left).is_none());
        let actor = actor.unwrap_or_default();
        steps.retain(|step| actor_of(step.actor) == actor);
        if steps[0].what == "fences" && awake[actor] <= taken && random.below(256) < patience {
            awake[actor] = taken + 4;
            continue;
        }
        if random.below(256) < sleepiness {
            awake[actor] = taken + (1 << random.below(8));
        }
        let step = steps.swap_remove(random.below(steps.len()));
        said.push((step.actor, step.what, step.about));
        let fresh = seen.insert(fingerprint(&step.state));
        *states += usize::from(fresh);
        let violation = step.violation.or_else(|| model.check(&step.state, cleaned, Reduction::NONE));
        if let Some(violation) = violation {
            let mut text = format!("{violation}, in the walk of seed {seed}:\n");
            for (n, (actor, what, about)) in said.iter().enumerate() {
                writeln!(text, "  {:2} {actor} {what}{about}", n + 1).unwrap();
            }
            return Err((violation, text));
        }
        state = step.state;
    }
    panic!("the walk of seed {seed} does not end");
}

/// What walks found.
#[derive(Default)]
struct Swarm {
    walks: u64,
    steps: usize,
    states: usize,
    violation: Option<(Violation, String)>,
}

/// Takes walks from this seed on, until something is found, or so many were taken, or the time is over if one is given.
fn swarm(first: u64, without: &'static [Rule], walks: u64, time: Option<Duration>) -> Swarm {
    let begun = Instant::now();
    let most = if time.is_some() { COUNTED } else { COUNTED_AT_FIRST };
    let (seen, cleaned) = (Table::of(most), Table::of(1 << 20));
    let mut all = Swarm::default();
    while time.map_or(all.walks < walks, |time| begun.elapsed() < time) {
        let seeds = first + all.walks..first + all.walks + BATCH;
        all.walks += BATCH;
        let walked: Vec<(usize, Walk)> = seeds
            .into_par_iter()
            .map(|seed| {
                let mut states = 0;
                let walk = walk(seed, without, &seen, &cleaned, &mut states);
                (states, walk)
            })
            .collect();
        for (states, walk) in walked {
            all.states += states;
            match walk {
                Ok(steps) => all.steps += steps,
                Err(found) => {
                    all.violation = Some(found);
                    return all;
                }
            }
        }
        // The table is nearly full.
        if all.states > most / 10 * 9 {
            break;
        }
    }
    all
}

/// A number from the environment.
fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap_or_else(|_| panic!("{name} is no number: {value}")))
}

#[test]
fn nothing_is_lost_with_everybody_at_once() {
    let (begun, seed) = (Instant::now(), number("AEROLITH_SWARM_SEED").unwrap_or(1));
    let found = swarm(seed, &[], WALKS, number("AEROLITH_SWARM_SECONDS").map(Duration::from_secs));
    let Swarm { walks, steps, states, violation } = found;
    println!("from seed {seed}: {walks} walks, {steps} steps, {states} states, {:.1?}", begun.elapsed());
    assert!(violation.is_none(), "{}", violation.map(|found| found.1).unwrap_or_default());
}

/// What it takes more patience to find: somebody has to do two rare things in a row.
const HARD: [Rule; 4] =
    [Rule::WriteAnewUnderPlan, Rule::JoinKeepsForeign, Rule::ReaderLooksEachTime, Rule::FoldsAfterNames];

/// The walks can fail: they find what is lost by nearly every rule that is left out, and find it again by the seed.
#[test]
fn everybody_at_once_loses_something_without_a_rule() {
    for (without, ..) in left_out::all().filter(|(without, ..)| !HARD.contains(&without[0])) {
        let found = swarm(1, without, WALKS, None);
        let (violation, text) = found.violation.unwrap_or_else(|| panic!("{without:?}: nothing in {WALKS} walks"));
        println!("without {without:?}, after {} walks: {text}", found.walks);
        let seed = text.split_once("of seed ").and_then(|(_, rest)| rest.split_once(':')?.0.parse().ok());
        let again = swarm(seed.expect("a seed"), without, 1, None);
        assert_eq!(again.violation, Some((violation, text)), "{without:?}");
    }
}
