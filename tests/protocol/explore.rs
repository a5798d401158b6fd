//! Breadth-first search through all states, with the shortest way to what must not be.

use super::model::{Model, Violation};
use super::reduce::Reduction;
use super::state::State;
use super::table::{Table, fingerprint};
use rayon::prelude::*;
use std::fmt::Write;

/// How a search goes.
#[derive(Clone, Copy)]
pub struct Search {
    pub reduction: Reduction,
    /// The most states that there may be.
    pub most: usize,
    /// Whether it remembers how it came to each state: 8 bytes more for each. A search that does not begins again once
    /// it has found something.
    pub ways: bool,
}

/// What a search found.
pub struct Found {
    /// Distinct states.
    pub states: usize,
    /// Steps from one of them to another.
    pub steps: usize,
    /// The length of the longest of the shortest ways to a state.
    pub depth: usize,
    /// What must not be, and the steps that lead to it.
    pub violation: Option<(Violation, Vec<String>)>,
}

impl Found {
    /// The counterexample, for people.
    pub fn trace(&self) -> String {
        let mut text = String::new();
        match &self.violation {
            None => write!(text, "no violation in {} states", self.states).unwrap(),
            Some((violation, steps)) => {
                writeln!(text, "{violation}, after {} states:", self.states).unwrap();
                for (n, step) in steps.iter().enumerate() {
                    writeln!(text, "  {:2} {step}", n + 1).unwrap();
                }
            }
        }
        text
    }
}

/// A state that a step leads to: where from, and the step's number there.
#[derive(Clone, Copy)]
struct Way {
    from: u32,
    step: u16,
}

/// What some of the states of one depth lead to.
#[derive(Default)]
struct Reached {
    steps: usize,
    fresh: Vec<(Way, State)>,
    violation: Option<(Violation, u32, u16)>,
}

/// The stores from which a collector was seen to leave nothing are remembered in so many places.
const CLEANED: usize = 1 << 20;
/// States that one thread looks at before it takes others.
const BATCH: usize = 1 << 12;

/// Explores every interleaving, until something is found that must not be.
pub fn explore(model: &Model, search: Search) -> Found {
    let first = search.reduction.of(model, &model.first());
    let (seen, cleaned) = (Table::of(search.most), Table::of(CLEANED.min(search.most)));
    seen.insert(fingerprint(&first));
    // Where each state was first come from.
    let mut ways: Vec<Way> = vec![Way { from: 0, step: 0 }];
    let mut front: Vec<State> = vec![first];
    // The number of the first state in front.
    let mut base = 0;
    let mut found = Found { states: 1, steps: 0, depth: 0, violation: None };
    while !front.is_empty() {
        let reached: Vec<Reached> = front
            .par_chunks(BATCH)
            .enumerate()
            .map(|(n, states)| reach(model, &search, base + n * BATCH, states, &seen, &cleaned))
            .collect();
        base += front.len();
        front.clear();
        let violation = reached.iter().find_map(|reached| reached.violation);
        for Reached { steps, fresh, .. } in reached {
            found.steps += steps;
            found.states += fresh.len();
            front.reserve(fresh.len());
            for (way, state) in fresh {
                if search.ways {
                    ways.push(way);
                }
                front.push(state);
            }
        }
        if let Some((violation, from, step)) = violation {
            if !search.ways {
                return explore(model, Search { ways: true, ..search });
            }
            ways.push(Way { from, step });
            found.violation = Some((violation, trace(model, &search.reduction, &ways)));
            return found;
        }
        assert!(found.states <= search.most, "more than {} states", search.most);
        found.depth += usize::from(!front.is_empty());
    }
    found
}

/// What these states lead to; the first has this number.
fn reach(model: &Model, search: &Search, base: usize, states: &[State], seen: &Table, cleaned: &Table) -> Reached {
    let mut reached = Reached::default();
    for (from, state) in (base as u32..).zip(states) {
        for (n, step) in (0..).zip(model.steps(state)) {
            reached.steps += 1;
            let next = search.reduction.of(model, &step.state);
            let fresh = seen.insert(fingerprint(&next));
            let violation =
                step.violation.or_else(|| if fresh { model.check(&next, cleaned, search.reduction) } else { None });
            if let Some(violation) = violation {
                reached.violation = Some((violation, from, n));
                return reached;
            }
            if fresh {
                reached.fresh.push((Way { from, step: n }, next));
            }
        }
    }
    reached
}

/// The steps to the last state in `ways`, for people. The states on the way are those of the search but for their
/// symmetry, so that each actor keeps its name.
fn trace(model: &Model, reduction: &Reduction, ways: &[Way]) -> Vec<String> {
    let mut numbers = Vec::new();
    let mut at = ways.len() - 1;
    while at != 0 {
        numbers.push(ways[at].step);
        at = ways[at].from as usize;
    }
    let without = Reduction { symmetry: false, ..*reduction };
    let mut searched = reduction.of(model, &model.first());
    let mut state = without.of(model, &model.first());
    let mut said = Vec::new();
    for number in numbers.into_iter().rev() {
        let step = model.steps(&searched).swap_remove(number.into());
        searched = reduction.of(model, &step.state);
        let same = |other: &super::model::Step| {
            other.what == step.what
                && other.violation.is_some() == step.violation.is_some()
                && reduction.of(model, &other.state) == searched
        };
        let step = model.steps(&state).into_iter().find(same).unwrap_or_else(|| panic!("{} is no step", step.what));
        said.push(step.to_string());
        state = without.of(model, &step.state);
    }
    said
}
