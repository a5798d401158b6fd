//! `check`: walks all that the snapshots need.

use super::context::{Context, Done, stopped};
use super::output::print_line;
use super::read_data::ReadData;
use super::text;
use crate::error::Result;
use crate::verify::CheckOptions;
use serde::Serialize;

/// Check that everything the snapshots need exists, and on request read it
///
/// Exits with code 10 if anything is damaged. Damage is noted, so that the next full backup writes the damaged values
/// again. Lost chunks that no snapshot needs, such as values of older versions of records, are reported and are no
/// damage.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  aerolith check                   walks all that the snapshots need
  aerolith check --read-data 10%   and reads a tenth of the data
  aerolith check --read-data 2GB   and reads about so much of it
  aerolith check --read-data       and reads all of it")]
pub struct Args {
    /// Read and authenticate this part of the data, such as 10% or 500MB; all of it if no part is given
    #[arg(long, value_name = "PART", num_args = 0..=1, default_missing_value = "100%", value_parser = ReadData::parse)]
    read_data: Option<ReadData>,
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
    let repository = context.repository()?;
    let part = args.read_data.unwrap_or(ReadData::Percent(0.0));
    let read_percent = part.percent(&**repository.store())?;
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
