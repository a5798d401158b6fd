//! `hold`: snapshots that must not be forgotten.

use super::among::Among;
use super::context::Context;
use super::output::{complain, print_line};
use super::text;
use crate::error::Result;
use crate::job::{self, Done, HoldReport, HoldsReport};
use clap::Subcommand;

/// Hold snapshots, so that nobody can forget them; list and release holds
///
/// A held snapshot stays, regardless of the rules and names that `forget` is given, until each of its holds is
/// released. `backup --hold REASON` holds a snapshot from its beginning.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  aerolith hold add latest 0f3a --reason 'case 7/2026'
  aerolith hold list
  aerolith hold release 81c2")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Hold snapshots
    #[command(after_help = "Example: aerolith hold add latest --reason 'case 7/2026'")]
    Add {
        /// The snapshots to hold
        #[arg(required = true, value_name = "SNAPSHOT")]
        snapshots: Vec<String>,
        /// The reason, shown to whoever wants to forget them
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        among: Among,
    },
    /// List the holds
    #[command(after_help = "Example: aerolith hold list")]
    List,
    /// Release a hold, or all holds of a snapshot
    #[command(after_help = "Example: aerolith hold release 81c2")]
    Release {
        /// A hold's id or its beginning, or a snapshot
        #[arg(value_name = "HOLD")]
        hold: String,
        #[command(flatten)]
        among: Among,
    },
}

pub fn run(context: &Context, args: Args) -> Result<Done> {
    let repository = context.repository()?;
    let (report, done) = match args.command {
        Command::Add { snapshots, reason, among } => {
            (job::hold(&repository, &snapshots, &among.filter(), &reason)?, Some("holds"))
        }
        Command::Release { hold, among } => (job::release(&repository, &hold, &among.filter())?, Some("released from")),
        Command::List => (job::list_holds(&repository)?, None),
    };
    if context.json() {
        context.print_json(&report)?;
    } else if let Some(done) = done {
        let line = |row: &HoldReport| print_line(&format!("hold {} {done} snapshot {}", row.hold, row.snapshot));
        report.holds.iter().try_for_each(line)?;
    } else if report.holds.is_empty() {
        complain("nothing is held");
    } else {
        print(&report)?;
    }
    report.holds.iter().filter_map(HoldReport::trouble).for_each(|trouble| complain(&trouble));
    Ok(report.done())
}

fn print(report: &HoldsReport) -> Result<()> {
    let cells: Vec<Vec<String>> = report
        .holds
        .iter()
        .map(|row| {
            let [placed, host, reason] =
                [&row.placed, &row.host, &row.reason].map(|text| text::safe(text.as_deref().unwrap_or_default()));
            let state = row.state.unwrap_or_default().to_string();
            vec![row.hold.clone(), text::short(&row.snapshot), state, placed, host, reason]
        })
        .collect();
    print_line(&text::table(&["hold", "snapshot", "state", "placed", "from", "reason"], &cells, &[]))
}
