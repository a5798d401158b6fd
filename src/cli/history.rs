//! `history`: every session, and what became of it.

use super::context::{Context, Done};
use super::output::{complain, print_line};
use super::text;
use crate::error::Result;
use crate::format::session::{SessionKind, Status};
use crate::format::snapshot::SnapshotState;
use crate::record::Timestamp;
use crate::repository::HistoryEntry;
use crate::snapshot::is_gone;
use serde::Serialize;

/// List all sessions, oldest first: those that failed, crashed or still run too
///
/// A backup is one session, and so is the copy of a snapshot; a check that finds damage leaves one too. Of a session that was not sealed, records and stored
/// bytes are how far it came.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  aerolith history
  aerolith history --json | jq '.sessions[] | select(.status == \"failed\")'")]
pub struct Args {}

#[derive(Serialize)]
struct Output {
    sessions: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    session: String,
    kind: &'static str,
    job: String,
    host: String,
    program: String,
    started: String,
    heartbeat: String,
    ended: Option<String>,
    /// done, incomplete, failed, stopped, running or crashed.
    status: &'static str,
    reason: Option<String>,
    /// sealed, forgotten or fenced, if anything stands under its name.
    snapshot: Option<&'static str>,
    duration_millis: Option<u64>,
    records: Option<u64>,
    stored_bytes: Option<u64>,
}

fn row(entry: HistoryEntry, now: u64) -> Row {
    let session = entry.session;
    // A collection seals itself with a marker, and never has a snapshot.
    let state = entry.state.filter(|state| session.kind != SessionKind::Collection || !state.was_sealed());
    let snapshot = state.map(|state| match state {
        SnapshotState::Sealed => "sealed",
        SnapshotState::Forgotten => "forgotten",
        SnapshotState::Fenced => "fenced",
    });
    let (status, reason) = match session.outcome.as_ref().map(|outcome| &outcome.status) {
        Some(Status::Done) => ("done", None),
        Some(Status::Incomplete(reason)) => ("incomplete", Some(reason.clone())),
        Some(Status::Failed(reason)) => ("failed", Some(reason.clone())),
        Some(Status::Stopped) => ("stopped", None),
        // The seal counts, even if the writer did not live to note how it ended.
        None if entry.state.is_some_and(SnapshotState::was_sealed) => ("done", None),
        None if entry.state.is_some() => ("crashed", Some("fenced".to_string())),
        None if session.heartbeat.saturating_add(session.lease_millis) < now => {
            ("crashed", Some("its lease lapsed".to_string()))
        }
        None if is_gone(&session) => ("crashed", Some("its process is gone".to_string())),
        None => ("running", None),
    };
    let ended = session.outcome.as_ref().map(|outcome| outcome.ended);
    let until = ended.or((status == "running").then_some(now));
    Row {
        session: session.id.to_string(),
        kind: match session.kind {
            SessionKind::Backup => "backup",
            SessionKind::Check => "check",
            SessionKind::Collection => "collection",
            SessionKind::Other => "other",
        },
        job: session.job,
        host: session.host,
        program: session.program,
        started: text::rfc3339(session.started),
        heartbeat: text::rfc3339(session.heartbeat),
        ended: ended.map(text::rfc3339),
        status,
        reason,
        snapshot,
        duration_millis: until.map(|until| until.saturating_sub(session.started)),
        records: session.outcome.as_ref().map(|outcome| outcome.records),
        stored_bytes: session.outcome.as_ref().map(|outcome| outcome.stored_bytes),
    }
}

pub fn run(context: &Context, _: Args) -> Result<Done> {
    let now = Timestamp::now().0;
    let history = context.repository()?.history()?;
    history.damaged.iter().for_each(|(_, error)| complain(&error.to_string()));
    let done = if history.damaged.is_empty() { Done::Whole } else { Done::Damaged };
    let sessions: Vec<Row> = history.entries.into_iter().map(|entry| row(entry, now)).collect();
    if context.json() {
        context.print_json(&Output { sessions })?;
        return Ok(done);
    }
    if sessions.is_empty() {
        complain("no sessions yet: `aerolith backup` makes one");
        return Ok(Done::Whole);
    }
    let cells: Vec<Vec<String>> = sessions
        .into_iter()
        .map(|row| {
            let status = match (row.status, row.snapshot) {
                ("done", Some(snapshot)) => snapshot,
                (status, _) => status,
            };
            vec![
                text::short(&row.session),
                row.started,
                row.kind.to_string(),
                text::safe(&row.job),
                row.duration_millis.map(text::millis).unwrap_or_default(),
                row.records.map(text::count).unwrap_or_default(),
                row.stored_bytes.map(text::bytes).unwrap_or_default(),
                row.reason.map_or_else(|| status.to_string(), |reason| format!("{status}: {}", text::safe(&reason))),
            ]
        })
        .collect();
    let header = ["session", "started", "kind", "job", "duration", "records", "stored", "status"];
    print_line(&text::table(&header, &cells, &[4, 5, 6]))?;
    Ok(done)
}
