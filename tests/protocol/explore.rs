//! Breadth-first search through all states, with the shortest way to what must not be.

use super::model::{Model, Violation};
use super::state::State;
use std::collections::HashSet;
use std::fmt::Write;
use std::hash::{Hash, Hasher};

/// Two hashes of 64 bits with different multipliers. Among a hundred million states the chance that two share both is 2^-75.
#[derive(Clone, Copy)]
struct Fingerprint(u64, u64);

impl Hasher for Fingerprint {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, byte: u8) {
        self.write_u64(u64::from(byte));
    }

    fn write_usize(&mut self, number: usize) {
        self.write_u64(number as u64);
    }

    fn write_isize(&mut self, number: isize) {
        self.write_u64(number as u64);
    }

    fn write_u64(&mut self, word: u64) {
        let mix = |state: u64, factor: u64| {
            let product = u128::from(state ^ word ^ factor) * u128::from(factor | 1);
            (product as u64) ^ ((product >> 64) as u64).rotate_left(23) ^ state.rotate_left(29)
        };
        self.0 = mix(self.0, 0x9e37_79b9_7f4a_7c15);
        self.1 = mix(self.1, 0xd6e8_feb8_6659_fd93);
    }
}

/// A state's fingerprint.
pub fn fingerprint(value: &impl Hash) -> u128 {
    let mut hasher = Fingerprint(0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344);
    value.hash(&mut hasher);
    u128::from(hasher.0) << 64 | u128::from(hasher.1)
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

/// Explores every interleaving, until something is found that must not be.
pub fn explore(model: &Model, most: usize) -> Found {
    let first = model.first();
    let mut seen: HashSet<u128> = HashSet::from([fingerprint(&first)]);
    // Where each state was first come from: the number of the state before, and of the step there.
    let mut ways: Vec<(u32, u16)> = vec![(0, 0)];
    let mut front: Vec<(u32, State)> = vec![(0, first)];
    let mut found = Found { states: 1, steps: 0, depth: 0, violation: None };
    let mut memory = HashSet::new();
    while !front.is_empty() {
        let mut next = Vec::new();
        for (from, state) in &front {
            for (n, step) in model.steps(state).into_iter().enumerate() {
                found.steps += 1;
                let violation = step.violation.or_else(|| model.check(&step.state, &mut memory));
                let fresh = seen.insert(fingerprint(&step.state));
                if let Some(violation) = violation {
                    ways.push((*from, n as u16));
                    found.states = seen.len();
                    found.violation = Some((violation, way(model, &ways)));
                    return found;
                }
                if fresh {
                    next.push((ways.len() as u32, step.state));
                    ways.push((*from, n as u16));
                }
            }
        }
        found.states = seen.len();
        assert!(seen.len() <= most, "more than {most} states");
        found.depth += usize::from(!next.is_empty());
        front = next;
    }
    found
}

/// The steps to the last state in `ways`.
fn way(model: &Model, ways: &[(u32, u16)]) -> Vec<String> {
    let mut numbers = Vec::new();
    let mut at = ways.len() - 1;
    while at != 0 {
        numbers.push(ways[at].1);
        at = ways[at].0 as usize;
    }
    let mut state = model.first();
    let mut said = Vec::new();
    for number in numbers.into_iter().rev() {
        let step = model.steps(&state).swap_remove(number.into());
        said.push(step.to_string());
        state = step.state;
    }
    said
}
