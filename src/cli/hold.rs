//! `hold`: snapshots that must not be forgotten.

use super::among::Among;
use super::context::{Context, Done};
use super::output::{complain, print_line};
use super::text;
use crate::error::Result;
use crate::format::hold::Hold;
use crate::format::snapshot::SnapshotState;
use crate::repository::HoldEntry;
use clap::Subcommand;
use serde::Serialize;

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

#[derive(Serialize)]
struct Output {
    holds: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    hold: String,
    snapshot: String,
    state: Option<&'static str>,
    placed: Option<String>,
    host: Option<String>,
    program: Option<String>,
    reason: Option<String>,
    problem: Option<String>,
}

impl Row {
    fn new(entry: HoldEntry) -> Self {
        let state = entry.state.map(|state| match state {
            SnapshotState::Committed => "committed",
            SnapshotState::Forgotten => "forgotten",
            SnapshotState::Fenced => "fenced",
        });
        let (hold, snapshot) = (entry.id.to_string(), entry.snapshot.to_string());
        let (found, problem) = match entry.hold {
            Ok(found) => (Some(found), None),
            Err(error) => (None, Some(error.to_string())),
        };
        let placed = found.as_ref().map(|found| text::rfc3339(found.placed));
        let (host, program, reason) = match found {
            Some(Hold { host, program, reason, .. }) => (Some(host), Some(program), Some(reason)),
            None => (None, None, None),
        };
        Row { hold, snapshot, state, placed, host, program, reason, problem }
    }
}

pub fn run(context: &Context, args: Args) -> Result<Done> {
    let repository = context.repository()?;
    let (entries, done) = match args.command {
        Command::Add { snapshots, reason, among } => {
            let placed = repository.hold(&snapshots, &among.filter(), &reason)?.into_iter();
            let state = Some(SnapshotState::Committed);
            let entry = |hold: Hold| HoldEntry { id: hold.id, snapshot: hold.snapshot, hold: Ok(hold), state };
            (placed.map(entry).collect(), Some("holds"))
        }
        Command::Release { hold, among } => (repository.release(&hold, &among.filter())?, Some("released from")),
        Command::List => (repository.holds()?, None),
    };
    let rows: Vec<Row> = entries.into_iter().map(Row::new).collect();
    let problems: Vec<String> = rows
        .iter()
        .filter_map(|row| match (&row.problem, row.state) {
            (Some(problem), _) => Some(format!("{problem}; snapshot {} is held all the same", row.snapshot)),
            (None, Some("forgotten")) => Some(format!(
                "snapshot {} was forgotten in the moment in which hold {} was placed",
                row.snapshot, row.hold
            )),
            _ => None,
        })
        .collect();
    if context.json() {
        context.print_json(&Output { holds: rows })?;
    } else if let Some(done) = done {
        rows.iter().try_for_each(|row| print_line(&format!("hold {} {done} snapshot {}", row.hold, row.snapshot)))?;
    } else if rows.is_empty() {
        complain("nothing is held");
    } else {
        let cells: Vec<Vec<String>> = rows
            .into_iter()
            .map(|row| {
                let [placed, host, reason] =
                    [row.placed, row.host, row.reason].map(|text| text::safe(&text.unwrap_or_default()));
                vec![row.hold, text::short(&row.snapshot), row.state.unwrap_or_default().into(), placed, host, reason]
            })
            .collect();
        print_line(&text::table(&["hold", "snapshot", "state", "placed", "from", "reason"], &cells, &[]))?;
    }
    problems.iter().for_each(|problem| complain(problem));
    Ok(if problems.is_empty() { Done::Whole } else { Done::Damaged })
}
