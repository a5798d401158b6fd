//! `check`: walks all that the snapshots need.

use super::context::Context;
use super::output::print_line;
use super::{read_data, text};
use crate::error::Result;
use crate::job::{self, CheckOptions, CheckReport, Done, ReadPart};

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
    #[arg(long, value_name = "PART", num_args = 0..=1, default_missing_value = "100%", value_parser = read_data::parse)]
    read_data: Option<ReadPart>,
}

pub fn run(context: &Context, args: Args) -> Result<Done> {
    let repository = context.repository()?;
    let options = CheckOptions::default().read(args.read_data.unwrap_or(ReadPart::NONE));
    let report = job::check(&repository, &options)?;
    if context.json() {
        context.print_json(&report)?;
    } else {
        print(&report)?;
    }
    Ok(report.done())
}

fn print(report: &CheckReport) -> Result<()> {
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
    for id in &report.hurt_snapshots {
        print_line(&format!("can't be restored whole: snapshot {id}"))?;
    }
    print_line(if report.done() == Done::Whole { "no problems found" } else { "the repository is damaged" })
}
