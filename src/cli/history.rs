//! `history`: every session, and what became of it.

use super::context::{Context, Done};
use super::output::{complain, print_line};
use super::text;
use crate::collect::prune::REFUSED;
use crate::error::Result;
use crate::format::session::{Session, SessionKind, Status};
use crate::format::snapshot::SnapshotState;
use crate::format::{PackId, SnapshotId};
use crate::objects::is_gone;
use crate::record::Timestamp;
use crate::repository::HistoryEntry;
use crate::repository::resolve::parse_begin;
use clap::ValueEnum;
use serde::Serialize;
use std::collections::HashMap;

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
    since: Option<u64>,
    /// Only those with this status; may be given more than once
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

impl StatusName {
    fn word(self) -> &'static str {
        match self {
            StatusName::Done => "done",
            StatusName::Incomplete => "incomplete",
            StatusName::Failed => "failed",
            StatusName::Stopped => "stopped",
            StatusName::Running => "running",
            StatusName::Crashed => "crashed",
        }
    }
}

/// A time, or how long ago.
fn since(text: &str) -> Result<u64, String> {
    match text::parse_duration(text) {
        Ok(ago) => Ok(Timestamp::now().0.saturating_sub(u64::try_from(ago.as_millis()).unwrap_or(u64::MAX))),
        Err(_) => parse_begin(text).ok_or_else(|| {
            "that is neither a time, such as 2026-05-01 or 2026-05-01T12:00Z, nor how long ago: a number and s, min, h, d, w or y, \
             such as 7d"
                .to_string()
        }),
    }
}

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
    /// The session that went on with what this one had read.
    resumed_by: Option<String>,
    /// committed, forgotten or fenced, if anything stands under its name.
    snapshot: Option<&'static str>,
    duration_millis: Option<u64>,
    records: Option<u64>,
    stored_bytes: Option<u64>,
}

/// The sessions that others went on with: by the packs that those took over from them.
fn resumed(entries: &[HistoryEntry]) -> HashMap<SnapshotId, SnapshotId> {
    let mut owners: HashMap<PackId, SnapshotId> = HashMap::new();
    for HistoryEntry { session, .. } in entries {
        let packs = session.journal.iter().flat_map(|journal| &journal.packs);
        owners.extend(packs.map(|pack| (*pack, session.id)));
    }
    let mut resumed = HashMap::new();
    for HistoryEntry { session, .. } in entries {
        for pack in &session.adopted {
            if let Some(owner) = owners.get(pack).filter(|owner| **owner != session.id) {
                resumed.insert(*owner, session.id);
            }
        }
    }
    resumed
}

fn row(entry: HistoryEntry, resumed: &HashMap<SnapshotId, SnapshotId>, now: u64) -> Row {
    let session = entry.session;
    let resumed_by = resumed.get(&session.id).map(ToString::to_string);
    // A collection commits itself with a marker, and never has a snapshot.
    let state = entry.state.filter(|state| session.kind != SessionKind::Collection || !state.was_committed());
    let snapshot = state.map(|state| match state {
        SnapshotState::Committed => "committed",
        SnapshotState::Forgotten => "forgotten",
        SnapshotState::Fenced => "fenced",
    });
    let (status, reason) = match session.outcome.as_ref().map(|outcome| &outcome.status) {
        Some(Status::Done) => ("done", None),
        Some(Status::Incomplete(reason)) => ("incomplete", Some(reason.clone())),
        Some(Status::Failed(reason)) => ("failed", Some(reason.clone())),
        Some(Status::Stopped) => ("stopped", None),
        // The commit counts, even if the writer did not live to note how it ended.
        None if entry.state.is_some_and(SnapshotState::was_committed) => ("done", None),
        None if entry.state.is_some() => ("crashed", Some("fenced".to_string())),
        None if session.heartbeat.saturating_add(session.lease_millis) < now => {
            ("crashed", Some("its lease lapsed".to_string()))
        }
        // Nobody needs it any more: what it had read is another's.
        None if resumed_by.is_some() => ("crashed", None),
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
        resumed_by,
        snapshot,
        duration_millis: until.map(|until| until.saturating_sub(session.started)),
        records: session.outcome.as_ref().map(|outcome| outcome.records),
        stored_bytes: session.outcome.as_ref().map(|outcome| outcome.stored_bytes),
    }
}

/// Whether a session did nothing, since others were at work.
fn was_refused(session: &Session) -> bool {
    let status = session.outcome.as_ref().map(|outcome| &outcome.status);
    session.kind == SessionKind::Collection && matches!(status, Some(Status::Failed(why)) if why.starts_with(REFUSED))
}

pub fn run(context: &Context, args: Args) -> Result<Done> {
    let now = Timestamp::now().0;
    let repository = context.repository()?;
    let mut history = repository.history()?;
    let clusters = match args.cluster {
        Some(_) => repository.snapshots()?.snapshots.into_iter().map(|one| (one.id, one.cluster)).collect(),
        None => HashMap::new(),
    };
    let nothing = history.entries.is_empty();
    history.entries.retain(|HistoryEntry { session, .. }| {
        let noted = session.journal.as_ref().map(|journal| &journal.cluster);
        (args.all || !was_refused(session))
            && args.since.is_none_or(|since| session.started >= since)
            && (args.cluster.is_none() || args.cluster.as_ref() == clusters.get(&session.id).or(noted))
    });
    history.damaged.iter().for_each(|(_, error)| complain(&error.to_string()));
    let done = if history.damaged.is_empty() { Done::Whole } else { Done::Damaged };
    let resumed = resumed(&history.entries);
    let mut sessions: Vec<Row> = history.entries.into_iter().map(|entry| row(entry, &resumed, now)).collect();
    sessions.retain(|row| args.status.is_empty() || args.status.iter().any(|status| status.word() == row.status));
    let older = if args.last == 0 { 0 } else { sessions.len().saturating_sub(args.last) };
    sessions.drain(..older);
    if context.json() {
        context.print_json(&Output { sessions })?;
        return Ok(done);
    }
    if sessions.is_empty() {
        complain(if nothing { "no sessions yet: `aerolith backup` makes one" } else { "none such" });
        return Ok(done);
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
                match (row.resumed_by, row.reason) {
                    (Some(by), _) => format!("{status}, resumed by {}", text::short(&by)),
                    (None, Some(reason)) => format!("{status}: {reason}"),
                    (None, None) => status.to_string(),
                },
            ]
        })
        .collect();
    let header = ["session", "started", "kind", "job", "duration", "records", "stored", "status"];
    print_line(&text::table(&header, &cells, &[4, 5, 6]))?;
    if older > 0 {
        complain(&format!("{} older; --last 0 shows all", text::count(older as u64)));
    }
    Ok(done)
}
