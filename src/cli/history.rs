//! `history`: every session, and what became of it.

use super::advice::with_options;
use super::context::Context;
use super::output::{columns, complain, print_line};
use super::text::{self, Narrowing};
use crate::error::Result;
use crate::job::{self, Done, HistoryOptions, HistoryReport, SessionReport, SessionStatus};
use crate::record::Timestamp;
use crate::repository::resolve::parse_begin;
use clap::ValueEnum;

/// List all sessions, oldest first, including those that failed, crashed or are running
///
/// A backup is one session, and so is the copy of a snapshot. A check that finds damage leaves a session too. For a
/// session that did not commit, records and stored bytes are what it had done when it ended.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  aerolith history
  aerolith history --last 20 --cluster zoo
  aerolith history --since 2026-05-01 --status failed --status crashed
  aerolith history --last 0 --json | jq '.sessions[] | select(.status == \"failed\")'")]
pub struct Args {
    /// Only the last N; 0 for all
    #[arg(long, value_name = "N", default_value_t = 100)]
    last: usize,
    /// Only those that began at this time or later: 2026-05-01, 2026-05-01T12:00Z, or an age such as 7d
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<Timestamp>,
    /// Only those with this status; may be given more than once. `done` are also those of which the list says what
    /// became of their snapshots, such as committed or forgotten
    #[arg(long, value_enum, value_name = "STATUS")]
    status: Vec<StatusName>,
    /// Only those of this cluster, as far as it is known: for committed sessions and backups of live sources
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,
    /// Also those that did nothing: prunes that were refused while others were running
    #[arg(long)]
    all: bool,
}

/// How a session ended, or that it didn't.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum StatusName {
    Done,
    Incomplete,
    Failed,
    Stopped,
    Running,
    Crashed,
}

impl From<StatusName> for SessionStatus {
    fn from(name: StatusName) -> Self {
        match name {
            StatusName::Done => SessionStatus::Done,
            StatusName::Incomplete => SessionStatus::Incomplete,
            StatusName::Failed => SessionStatus::Failed,
            StatusName::Stopped => SessionStatus::Stopped,
            StatusName::Running => SessionStatus::Running,
            StatusName::Crashed => SessionStatus::Crashed,
        }
    }
}

/// A time, or how long ago.
fn since(text: &str) -> Result<Timestamp, String> {
    match text::parse_duration(text) {
        Ok(ago) => Ok(Timestamp::now().minus_millis(u64::try_from(ago.as_millis()).unwrap_or(u64::MAX))),
        Err(_) => parse_begin(text).map(Timestamp).ok_or_else(|| {
            "that is neither a time, such as 2026-05-01 or 2026-05-01T12:00Z, nor how long ago: a number and s, min, \
             h, d, w or y, such as 7d"
                .to_string()
        }),
    }
}

pub fn run(context: &Context, args: Args) -> Result<Done> {
    let repository = context.repository()?;
    let options = HistoryOptions::default()
        .last((args.last > 0).then_some(args.last))
        .since(args.since)
        .status(args.status.into_iter().map(SessionStatus::from).collect())
        .cluster(args.cluster)
        .all(args.all);
    let report = job::history(&repository, &options)?;
    report.damaged.iter().for_each(|problem| complain(problem));
    if context.json() {
        context.print_json(&report)?;
    } else if report.sessions.is_empty() {
        complain(if report.is_new { "no sessions yet: `aerolith backup` makes one" } else { "no session matches" });
    } else {
        print(&report)?;
    }
    Ok(report.done())
}

fn print(report: &HistoryReport) -> Result<()> {
    let cells: Vec<Vec<String>> = report
        .sessions
        .iter()
        .map(|row| {
            vec![
                text::short(&row.session),
                text::to_second(&row.started),
                text::safe(&row.job),
                row.duration_millis.map(text::millis).unwrap_or_default(),
                row.records.map(text::count).unwrap_or_default(),
                row.stored_bytes.map(text::bytes).unwrap_or_default(),
                outcome(row),
            ]
        })
        .collect();
    let header = ["session", "started", "job", "duration", "records", "stored", "status"];
    // The job begins with what kind of session it was.
    let narrowing = Narrowing { left_out: &[3, 4], cut: &[(6, 20), (2, 20), (6, 9)] };
    print_line(&text::table_within(columns(), &header, &cells, &[3, 4, 5], &narrowing))?;
    if report.older > 0 {
        complain(&format!("{} older; --last 0 shows all", text::count(report.older as u64)));
    }
    Ok(())
}

/// How a session ended, in a few words.
fn outcome(row: &SessionReport) -> String {
    let status = match (row.status, row.snapshot) {
        (SessionStatus::Done, Some(snapshot)) => snapshot,
        (status, _) => status.name(),
    };
    match (&row.resumed_by, &row.reason) {
        (Some(by), _) => format!("{status}, resumed by {}", text::short(by)),
        (None, Some(reason)) => format!("{status}: {}", with_options(reason)),
        (None, None) => status.to_string(),
    }
}
