//! The reductions are held against the whole search: in every state of small scenes, and by what is found once rules
//! are left out.

use super::explore::{Search, explore};
use super::model::{Model, Scene, Step};
use super::reduce::{Reduction, collector_is_settled, take, writer_is_settled};
use super::rules::Rule;
use super::state::{COLLECTORS, State, WRITERS};
use super::table::Table;
use super::{collector, left_out, scenes, writer};
use std::collections::{BTreeSet, HashSet};

/// Scenes that together have every actor, and pairs that are alike; with what may be left out to have other steps too.
const SMALL: [(Scene, &[Rule]); 6] = [
    (scenes::WRITER, &[]),
    (scenes::WRITER_PART, &[Rule::SettleFirst]),
    (scenes::RESUMING_FEW, &[]),
    (scenes::COLLECTORS, &[]),
    (scenes::COLLECTORS, &[Rule::CollectorsAreSessions]),
    (scenes::READER_PART, &[]),
];

/// Larger ones, all actors but the reader at once among them.
const LARGER: [(Scene, &[Rule]); 5] = [
    (scenes::WRITER_EXISTING, &[]),
    (scenes::RESUMING_PART, &[Rule::SettleFirst]),
    (scenes::COLLECTORS_EXISTING, &[Rule::EveryPlan]),
    (scenes::FOUR, &[]),
    (scenes::READER_TWICE, &[]),
];

/// Calls `look` with every state of a scene.
fn every_state(model: &Model, mut look: impl FnMut(&State, &[Step])) {
    let first = model.first();
    let (mut seen, mut open) = (HashSet::from([first]), vec![first]);
    while let Some(state) = open.pop() {
        let steps = model.steps(&state);
        open.extend(steps.iter().map(|step| step.state).filter(|state| seen.insert(*state)));
        look(&state, &steps);
    }
    assert!(seen.len() > 1000, "only {} states", seen.len());
}

/// Whether something is wrong in a state.
fn is_wrong(model: &Model, state: &State) -> bool {
    let model = Model { scene: Scene { ends_clean: false, ..model.scene }, ..*model };
    model.check(state, &Table::of(1), Reduction::NONE).is_some()
}

fn assert_mirrored(of: &[(Scene, &'static [Rule])]) {
    for (scene, without) in of.iter().copied() {
        let model = Model { scene, without };
        every_state(&model, |state, steps| {
            let images = Reduction::SYMMETRY.images(&model, state);
            for (n, image) in images.iter().enumerate().skip(1) {
                let mirrored: BTreeSet<State> =
                    steps.iter().map(|step| Reduction::SYMMETRY.images(&model, &step.state)[n]).collect();
                let taken: BTreeSet<State> = model.steps(image).into_iter().map(|step| step.state).collect();
                assert_eq!(mirrored, taken, "{state:?}");
                assert_eq!(is_wrong(&model, state), is_wrong(&model, image), "{state:?}");
                assert_eq!(Reduction::SYMMETRY.of(&model, state), Reduction::SYMMETRY.of(&model, image), "{state:?}");
            }
        });
    }
}

fn assert_forgotten(of: &[(Scene, &'static [Rule])]) {
    let forgets = Reduction { forgets: true, ..Reduction::NONE };
    for (scene, without) in of.iter().copied() {
        let model = Model { scene, without };
        every_state(&model, |state, steps| {
            let without = forgets.of(&model, state);
            // Of a step of which nothing is left but what is forgotten, what comes after it counts.
            let lead = |steps: &[Step]| -> BTreeSet<(State, bool)> {
                let mut leads = BTreeSet::new();
                let mut open: Vec<(State, bool)> = Vec::new();
                let note = |open: &mut Vec<_>, steps: &[Step]| {
                    open.extend(steps.iter().map(|step| (step.state, step.violation.is_some())));
                };
                note(&mut open, steps);
                while let Some((state, violates)) = open.pop() {
                    match forgets.of(&model, &state) {
                        same if same == without && !violates => note(&mut open, &model.steps(&state)),
                        next => drop(leads.insert((next, violates))),
                    }
                }
                leads
            };
            assert_eq!(lead(steps), lead(&model.steps(&without)), "{state:?}");
            assert_eq!(is_wrong(&model, state), is_wrong(&model, &without), "{state:?}");
        });
    }
}

fn assert_settled(of: &[(Scene, &'static [Rule])]) {
    for (scene, without) in of.iter().copied() {
        let model = Model { scene, without };
        let mut settled = 0;
        let writers = (0..2).filter(|n| scene.writers[*n] != 0).map(|n| (true, n));
        let actors: Vec<(bool, usize)> = writers.chain((0..scene.collectors).map(|n| (false, n))).collect();
        let is_settled = |state: &State, (writes, n): (bool, usize)| match writes {
            true => writer_is_settled(&model, state, n),
            false => collector_is_settled(&model, state, n),
        };
        let after = |state: &State, (writes, n): (bool, usize)| {
            let mut state = *state;
            take(&model, &mut state, |steps| match writes {
                true => writer::steps(steps, n, scene.writers[n]),
                false => collector::steps(steps, n, COLLECTORS[n]),
            });
            state
        };
        every_state(&model, |state, steps| {
            for actor in actors.iter().copied().filter(|actor| is_settled(state, *actor)) {
                settled += 1;
                let at_once = after(state, actor);
                assert_eq!(at_once.store, state.store, "{state:?}");
                let name = super::state::NAMES[if actor.0 { WRITERS[actor.1] } else { COLLECTORS[actor.1] }];
                let others = |steps: &[Step]| -> Vec<State> {
                    steps.iter().filter(|step| step.actor != name).map(|step| step.state).collect()
                };
                let first = others(steps);
                assert!(first.iter().all(|state| is_settled(state, actor)), "{state:?}");
                let first: Vec<State> = first.iter().map(|state| after(state, actor)).collect();
                assert_eq!(first, others(&model.steps(&at_once)), "{state:?}");
            }
        });
        assert!(settled > 100, "only {settled} settled steps");
    }
}

#[test]
fn mirror_images_take_mirrored_steps() {
    assert_mirrored(&SMALL);
    assert_mirrored(&[(scenes::FOLDING_ALL, &[]), (scenes::JOINING_COLLECTORS, &[])]);
}

#[test]
fn what_is_forgotten_makes_no_difference() {
    assert_forgotten(&SMALL);
}

#[test]
fn settled_steps_are_the_same_whatever_the_others_do_first() {
    assert_settled(&SMALL);
}

#[test]
#[ignore = "takes minutes: cargo test --release --test protocol -- --ignored --nocapture --test-threads=1"]
fn in_every_state_of_larger_scenes_the_reductions_make_no_difference() {
    assert_mirrored(&LARGER);
    assert_forgotten(&LARGER);
    assert_settled(&LARGER);
}

/// Whatever is left out, each reduction finds that something is lost, by ways that are no longer; the symmetry by ways
/// of the same length.
fn assert_same_is_found(reductions: &[Reduction], chosen: impl Fn(&[Rule]) -> bool) {
    for (without, scene, _) in left_out::all().filter(|(without, ..)| chosen(without)) {
        let model = Model { scene: Scene { ends_clean: false, ..scene }, without };
        let find = |reduction: Reduction| {
            let found = explore(&model, Search { reduction, most: 4_000_000, ways: true });
            let (violation, steps) = found.violation.unwrap_or_else(|| panic!("{without:?}, {reduction:?}"));
            (std::mem::discriminant(&violation), steps.len())
        };
        let whole = find(Reduction::NONE);
        for reduction in reductions {
            let found = find(*reduction);
            assert_eq!(found.0, whole.0, "{without:?}, {reduction:?}");
            let same = if reduction.settles { found.1 <= whole.1 } else { found.1 == whole.1 };
            assert!(same, "{without:?}, {reduction:?}: {} steps, not {}", found.1, whole.1);
        }
    }
}

/// Where a hundred thousand states and more are seen before something is found.
const LARGE: [Rule; 4] =
    [Rule::WriteAnewUnderPlan, Rule::TakeOverChecksPlans, Rule::JoinKeepsForeign, Rule::ReaderLooksEachTime];

#[test]
fn with_rules_left_out_the_reduced_searches_find_the_same() {
    assert_same_is_found(&[Reduction::SYMMETRY, Reduction::ALL], |without| !LARGE.contains(&without[0]));
}

#[test]
#[ignore = "takes a minute: cargo test --release --test protocol -- --ignored --nocapture --test-threads=1"]
fn with_any_rule_left_out_each_reduction_finds_the_same() {
    let forgets = Reduction { forgets: true, ..Reduction::NONE };
    let settles = Reduction { settles: true, ..Reduction::NONE };
    assert_same_is_found(&[Reduction::SYMMETRY, forgets, settles, Reduction::ALL], |_| true);
}

/// And where nothing is left out they find nothing, as the whole search does.
#[test]
fn where_nothing_is_lost_the_whole_search_finds_nothing_either() {
    for scene in [scenes::WRITER, scenes::RESUMING_FEW, scenes::COLLECTORS, scenes::READER] {
        for reduction in [Reduction::NONE, Reduction::ALL] {
            let found = explore(&Model { scene, without: &[] }, Search { reduction, most: 500_000, ways: false });
            assert!(found.violation.is_none(), "{}", found.trace());
        }
    }
}
