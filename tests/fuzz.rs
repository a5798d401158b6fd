//! Every parser of bytes from outside, on mutated seeds: for a moment with every `cargo test`, for as long as wanted
//! otherwise.
//!
//! - `AEROLITH_FUZZ_RUNS`: inputs for each target (10,000 if not given).
//! - `AEROLITH_FUZZ_SEED`: the seed of the mutations, as a failed run printed it; a new one each time if not given.
//! - `AEROLITH_FUZZ_TARGET`: only the target with this name.
//! - `AEROLITH_FUZZ_CORPUS`: a directory that receives the seeds, a directory of its own for each target, for fuzzers
//!   guided by coverage.
//!
//! Beside the properties that `aerolith::fuzzing` asserts, the memory that each input takes is measured and bounded.

use aerolith::fuzzing::{TARGETS, Target};
use peak_alloc::PeakAlloc;
use std::panic::catch_unwind;
use std::path::Path;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Inputs that a target accepted are mutated further, up to this many.
const MAX_POOL: usize = 300;
/// Inputs are kept to this many bytes.
const MAX_BYTES: usize = 64 << 10;

const FILES: &[&[u8]] = &[
    include_bytes!("data/asb/compact.asb"),
    include_bytes!("data/asb/every-kind.asb"),
    include_bytes!("data/asb/every-kind-zstd.asb"),
    include_bytes!("data/asb/version-3.0.asb"),
    include_bytes!("data/asb/version-3.2.asb"),
];

/// SplitMix64 (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }

    fn of<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }

    /// A range of `bytes`, mostly short.
    fn range(&mut self, bytes: &[u8]) -> std::ops::Range<usize> {
        let start = self.below(bytes.len() + 1);
        let longest = if self.below(4) == 0 { bytes.len() } else { 16 };
        start..(start + self.below(longest + 1)).min(bytes.len())
    }

    /// A number at the edge of something.
    fn extreme(&mut self) -> u64 {
        let edge = 1u64.checked_shl(self.below(65) as u32).unwrap_or(0);
        edge.wrapping_add(self.below(3) as u64).wrapping_sub(1)
    }
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// Changes `bytes` in one place.
fn mutate(random: &mut Random, bytes: &mut Vec<u8>, pool: &[Vec<u8>]) {
    let at = random.below(bytes.len());
    match random.below(13) {
        0 if !bytes.is_empty() => bytes[at] ^= 1 << random.below(8),
        1 if !bytes.is_empty() => {
            bytes[at] = *random.of(&[0, 1, 0x7f, 0x80, 0xff, b'0', b'9', b' ', b'\n', b'"', b'\\'])
        }
        2 if !bytes.is_empty() => bytes[at] = bytes[at].wrapping_add(*random.of(&[1, 2, 0xff, 0xfe])),
        3 => bytes.truncate(at),
        4 => drop(bytes.drain(random.range(bytes))),
        5 => {
            let part = bytes[random.range(bytes)].to_vec();
            let times = 1 + random.below(3);
            bytes.splice(at..at, part.repeat(times));
        }
        6 => {
            let other = random.of(pool);
            let (ours, theirs) = (random.range(bytes), random.range(other));
            bytes.splice(ours, other[theirs].iter().copied());
        }
        7 => {
            // The front of this and the back of another.
            let other = random.of(pool);
            bytes.truncate(at);
            bytes.extend_from_slice(&other[at.min(other.len())..]);
        }
        8 => {
            // A varint in place of one, or before it.
            let old = bytes[at.min(bytes.len())..].iter().take_while(|&&byte| byte & 0x80 != 0).count();
            let end = (at + random.below(2) * (old + 1)).min(bytes.len());
            bytes.splice(at..end, varint(random.extreme()));
        }
        9 => {
            // A length of fixed width.
            let width = *random.of(&[1, 2, 4, 8]);
            let end = (at + width).min(bytes.len());
            let number = random.extreme().to_le_bytes();
            bytes.splice(at..end, number[..width].iter().copied());
        }
        10 => {
            // A number in digits.
            let digits = bytes[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
            let number = random.extreme().to_string();
            bytes.splice(at..at + digits, number.into_bytes());
        }
        11 => {
            let range = random.range(bytes);
            bytes[range].reverse();
        }
        _ => {
            let part = (0..1 + random.below(8)).map(|_| random.next() as u8).collect::<Vec<_>>();
            bytes.splice(at..at, part);
        }
    }
    bytes.truncate(MAX_BYTES);
}

/// Runs a target on one input; what is wrong with it comes back.
fn run(target: &Target, input: &[u8]) -> Result<bool, String> {
    MEMORY.reset_peak_usage();
    let before = MEMORY.current_usage();
    let accepted = catch_unwind(|| (target.run)(input)).map_err(|_| "it panicked".to_string())?;
    let taken = MEMORY.peak_usage().saturating_sub(before);
    let allowed = target.memory_factor * input.len() + target.memory_constant;
    if taken > allowed {
        return Err(format!("it took {taken} bytes of memory, where {allowed} are allowed"));
    }
    Ok(accepted)
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

/// What a target's inputs are made of.
fn seeds(target: &Target) -> Vec<Vec<u8>> {
    let mut seeds = (target.seeds)();
    if target.name == "asb" {
        seeds.extend(FILES.iter().map(|bytes| bytes.to_vec()));
    }
    seeds
}

fn write_seeds(target: &Target, directory: &Path) -> std::io::Result<()> {
    let directory = directory.join(target.name);
    std::fs::create_dir_all(&directory)?;
    seeds(target).iter().enumerate().try_for_each(|(n, seed)| std::fs::write(directory.join(format!("seed-{n}")), seed))
}

/// Gives back how many of the inputs were accepted.
fn fuzz(target: &Target, runs: u64, seed: u64) -> u64 {
    let pool = seeds(target);
    let check = |input: &[u8], run_number: u64| match run(target, input) {
        Ok(accepted) => accepted,
        Err(problem) => panic!(
            "target {}, run {run_number}, AEROLITH_FUZZ_SEED={seed}: {problem}, on {}",
            target.name,
            hex::encode(input)
        ),
    };
    // Whatever a target takes once and keeps, such as a compressor, is not counted.
    let accepted = pool.iter().filter(|seed| catch_unwind(|| (target.run)(seed)).unwrap_or(false)).count();
    assert!(accepted > 0, "target {}: no seed is accepted", target.name);
    pool.iter().for_each(|seed| assert!(check(seed, 0) || target.name == "store_url", "{}: {seed:?}", target.name));
    let name_hash = target.name.bytes().fold(0, |hash: u64, byte| hash.wrapping_mul(131).wrapping_add(byte.into()));
    let mut random = Random(seed ^ name_hash);
    let (seeds, mut grown) = (pool, Vec::new());
    // What is short is accepted more often, and would soon be all there is.
    let long = seeds.iter().map(Vec::len).max().unwrap_or_default() / 4;
    let mut accepted = 0;
    for number in 1..=runs {
        let pool = if grown.is_empty() || random.below(2) == 0 { &seeds } else { &grown };
        let mut input = random.of(pool).clone();
        for _ in 0..1 + random.below(4) {
            mutate(&mut random, &mut input, &seeds);
        }
        if check(&input, number) {
            accepted += 1;
            if input.len() < long {
                continue;
            }
            if grown.len() < MAX_POOL {
                grown.push(input);
            } else {
                let at = random.below(MAX_POOL);
                grown[at] = input;
            }
        }
    }
    accepted
}

#[test]
fn every_parser_holds_its_properties_on_mutated_bytes() {
    let time = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64;
    let seed = number("AEROLITH_FUZZ_SEED").unwrap_or_else(time);
    let runs = number("AEROLITH_FUZZ_RUNS").unwrap_or(10_000);
    let only = std::env::var("AEROLITH_FUZZ_TARGET").ok();
    let corpus = std::env::var_os("AEROLITH_FUZZ_CORPUS");
    println!("AEROLITH_FUZZ_SEED={seed}");
    let mut count = 0;
    for target in TARGETS.iter().filter(|target| only.as_ref().is_none_or(|only| only == target.name)) {
        if let Some(directory) = &corpus {
            write_seeds(target, Path::new(directory)).unwrap();
        }
        let begun = std::time::Instant::now();
        let accepted = fuzz(target, runs, seed);
        println!("{}: {runs} inputs, {accepted} accepted, in {:.1?}", target.name, begun.elapsed());
        count += 1;
    }
    assert!(count > 0, "no target is called {only:?}");
}
