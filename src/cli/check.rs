//! `check`: walks all that the snapshots need.

use super::context::{Context, Done, stopped};
use super::output::print_line;
use super::text;
use crate::error::{Error, Result};
use crate::repository::CheckOptions;
use serde::Serialize;

/// Check that everything the snapshots need is there, and on request read it
///
/// Ends with exit code 10 if anything is damaged. What is damaged is noted, so that the next full backup writes it anew. What was lost
/// and no snapshot needs, such as values of older versions of records, is told and is no damage.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  aerolith check                   walks all that the snapshots need
  aerolith check --read-data=10    and reads a tenth of the data
  aerolith check --read-data       and reads all of it")]
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
    notes: Vec<String>,
    hurt_snapshots: Vec<String>,
}

pub fn run(context: &Context, args: Args) -> Result<Done> {
    let read_percent = args.read_data.unwrap_or(0.0);
    if !(0.0..=100.0).contains(&read_percent) {
        return Err(Error::usage("--read-data takes a part in percent, from 0 to 100"));
    }
    let repository = context.repository()?;
    let (control, progress) = context.control(format!("checking {}", repository.store().location()));
    let report = repository.check(&CheckOptions { read_percent }, &control);
    let report = report.map_err(|error| stopped(error, "the repository was not checked to its end"))?;
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
            notes: report.notes,
            hurt_snapshots: report.hurt.iter().map(ToString::to_string).collect(),
        })?;
    } else {
        print_line(&format!(
            "{}, {} of {} reached; {} read and authenticated, {} plain",
            text::plural(report.snapshots, "snapshot"),
            text::plural(report.chunks, "chunk"),
            text::bytes(report.stored_bytes),
            text::plural(report.chunks_read, "chunk"),
            text::bytes(report.bytes_read)
        ))?;
        for note in &report.notes {
            print_line(&format!("note: {note}"))?;
        }
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
