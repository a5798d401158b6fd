//! `check`: walks all that the snapshots need.

use super::context::{Context, Done, print_line};
use super::text;
use crate::error::{Error, Result};
use crate::repository::CheckOptions;
use serde::Serialize;

/// Check that everything the snapshots need is there, and on request read it
///
/// Example: aerolith check --read-data=10
///
/// Ends with exit code 10 if anything is damaged. What is damaged is noted, so that the next full backup writes it anew.
#[derive(clap::Args)]
pub struct Args {
    /// Read and authenticate this part of the data in percent; all of it without a number
    #[arg(long, value_name = "PERCENT", num_args = 0..=1, require_equals = true, default_missing_value = "100")]
    read_data: Option<f64>,
}

#[derive(Serialize)]
struct Output {
    snapshots: u64,
    chunks: u64,
    stored_bytes: u64,
    chunks_read: u64,
    bytes_read: u64,
    problems: Vec<String>,
    hurt: Vec<String>,
}

pub fn run(context: &Context, args: Args) -> Result<Done> {
    let read_percent = args.read_data.unwrap_or(0.0);
    if !(0.0..=100.0).contains(&read_percent) {
        return Err(Error::invalid("--read-data takes a part in percent, from 0 to 100"));
    }
    let repository = context.repository()?;
    let (control, progress) = context.control("checking");
    let report = repository.check(&CheckOptions { read_percent }, &control)?;
    drop(progress);
    let whole = report.problems.is_empty() && report.hurt.is_empty();
    if context.json() {
        context.print_json(&Output {
            snapshots: report.snapshots,
            chunks: report.chunks,
            stored_bytes: report.stored_bytes,
            chunks_read: report.chunks_read,
            bytes_read: report.bytes_read,
            problems: report.problems,
            hurt: report.hurt.iter().map(ToString::to_string).collect(),
        })?;
    } else {
        print_line(&format!(
            "{} snapshots reach {} chunks of {}; {} chunks read, {} plain",
            text::count(report.snapshots),
            text::count(report.chunks),
            text::bytes(report.stored_bytes),
            text::count(report.chunks_read),
            text::bytes(report.bytes_read)
        ))?;
        for problem in &report.problems {
            print_line(&format!("problem: {problem}"))?;
        }
        for id in &report.hurt {
            print_line(&format!("can't be restored whole: snapshot {id}"))?;
        }
        print_line(if whole { "no problems found" } else { "the repository is damaged" })?;
    }
    Ok(if whole { Done::Whole } else { Done::Damaged })
}
