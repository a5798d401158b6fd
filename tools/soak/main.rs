//! A soak of one repository: `cargo run --release --example soak -- --binary target/release/aerolith --seconds 3600`.
//!
//! Ends with 0 if nothing was lost, and prints its seed and what happened. `tests/soak.rs` runs it for some seconds.

mod soak;

use soak::{Options, soak};
use std::time::{SystemTime, UNIX_EPOCH};

const USAGE: &str =
    "usage: soak --binary AEROLITH [--seconds N] [--seed N] [--writers N] [--readers N] [--collectors N]
             [--records N] [--directory EMPTY_DIRECTORY]";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        Some(arguments.get(at + 1).unwrap_or_else(|| panic!("{name} needs a value\n{USAGE}")).clone())
    };
    let number = |name: &str, default: u64| {
        value(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} needs a number\n{USAGE}")))
    };
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |time| time.as_nanos() as u64);
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let options = Options {
        binary: std::path::absolute(value("--binary").unwrap_or_else(|| panic!("{USAGE}"))).expect("a path"),
        directory: value("--directory").map_or_else(|| temporary.path().to_path_buf(), Into::into),
        seconds: number("--seconds", 60),
        seed: number("--seed", clock),
        writers: number("--writers", 3) as usize,
        readers: number("--readers", 2) as usize,
        collectors: number("--collectors", 2) as usize,
        records: number("--records", 400),
    };
    println!("seed {}", options.seed);
    let report = soak(&options);
    println!("{report:#?}");
    std::process::exit(i32::from(!report.violations.is_empty()));
}
