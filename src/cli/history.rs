//! `history`: every session, and what became of it.

use super::context::{Context, Done, print_line};
use super::text;
use crate::error::Result;
use crate::format::session::{SessionKind, Status};
use crate::format::snapshot::SnapshotState;
use crate::record::Timestamp;
use crate::repository::HistoryEntry;
use serde::Serialize;

/// List all sessions, oldest first: those that failed, crashed or still run too
///
/// Example: aerolith history
#[derive(clap::Args)]
pub struct Args {}

#[derive(Serialize)]
struct Row {
    session: String,
    kind: &'static str,
    job: String,
    host: String,
    program: String,
    started: u64,
    heartbeat: u64,
    ended: Option<u64>,
    /// done, incomplete, failed, stopped, running or crashed.
    status: &'static str,
    reason: Option<String>,
    /// sealed, forgotten or fenced, if anything stands under its name.
    snapshot: Option<&'static str>,
    millis: Option<u64>,
    records: Option<u64>,
    stored_bytes: Option<u64>,
}

fn row(entry: HistoryEntry, now: u64) -> Row {
    let session = entry.session;
    let snapshot = entry.state.map(|state| match state {
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
        started: session.started,
        heartbeat: session.heartbeat,
        ended,
        status,
        reason,
        snapshot,
        millis: until.map(|until| until.saturating_sub(session.started)),
        records: session.outcome.as_ref().map(|outcome| outcome.records),
        stored_bytes: session.outcome.as_ref().map(|outcome| outcome.stored_bytes),
    }
}

pub fn run(context: &Context, _: Args) -> Result<Done> {
    let now = Timestamp::now().0;
    let history = context.repository()?.history()?;
    for (_, error) in &history.damaged {
        eprintln!("aerolith: {error}");
    }
    let done = if history.damaged.is_empty() { Done::Whole } else { Done::Damaged };
    let rows: Vec<Row> = history.entries.into_iter().map(|entry| row(entry, now)).collect();
    if context.json() {
        context.print_json(&rows)?;
        return Ok(done);
    }
    let cells: Vec<Vec<String>> = rows
        .into_iter()
        .map(|row| {
            let status = match (row.status, row.snapshot) {
                ("done", Some(snapshot)) => snapshot,
                (status, _) => status,
            };
            vec![
                row.session.get(..12).unwrap_or_default().to_string(),
                text::time(row.started),
                row.kind.to_string(),
                row.job,
                row.millis.map(text::millis).unwrap_or_default(),
                row.records.map(text::count).unwrap_or_default(),
                row.stored_bytes.map(text::bytes).unwrap_or_default(),
                row.reason.map_or_else(|| status.to_string(), |reason| format!("{status}: {reason}")),
            ]
        })
        .collect();
    let header = ["session", "started", "kind", "job", "duration", "records", "stored", "status"];
    print_line(&text::table(&header, &cells, &[4, 5, 6]))?;
    Ok(done)
}
