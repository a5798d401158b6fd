//! Processes of the real program on one repository, killed and stopped at random: for some seconds in `cargo test`, for
//! hours with `AEROLITH_SOAK_SECONDS=3600 cargo test --release --test soak -- --nocapture`.

mod soak;

use soak::{Options, soak};
use std::time::{SystemTime, UNIX_EPOCH};

#[test]
fn processes_that_are_killed_and_stopped_lose_nothing_that_was_committed() {
    let directory = tempfile::tempdir().unwrap();
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    let number = |name: &str, default: u64| {
        std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} must be a number")))
    };
    let options = Options {
        binary: env!("CARGO_BIN_EXE_aerolith").into(),
        directory: directory.path().into(),
        seconds: number("AEROLITH_SOAK_SECONDS", 15),
        seed: number("AEROLITH_SOAK_SEED", clock),
        writers: number("AEROLITH_SOAK_WRITERS", 2) as usize,
        readers: number("AEROLITH_SOAK_READERS", 1) as usize,
        collectors: number("AEROLITH_SOAK_COLLECTORS", 2) as usize,
        records: number("AEROLITH_SOAK_RECORDS", 200),
    };
    println!("AEROLITH_SOAK_SEED={}", options.seed);
    let report = soak(&options);
    println!("{report:#?}");
    assert!(report.violations.is_empty(), "seed {}: {:#?}", options.seed, report.violations);
    assert!(report.restored > 0 && report.copies > 0, "{report:#?}");
    assert!(["backup", "prune", "hold", "repair", "copy"].iter().all(|name| report.runs[name] > 2), "{report:#?}");
}
