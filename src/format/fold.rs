//! Folds: what is left of many old sessions in one object. Names that are taken (a sealed value of kind fold), and what
//! became of the sessions (a sealed value of kind history).

use super::FormatError;
use super::ids::{FoldId, SnapshotId};
use super::session::SessionKind;
use super::text;
use serde::{Deserialize, Serialize};

/// A fold has at most this many names, a history at most this many rows: some 16 MiB and some 24 MiB.
pub const MAX_NAMES: usize = 1 << 20;
/// See [`MAX_NAMES`].
pub const MAX_ROWS: usize = 1 << 18;

/// Names that are taken for ever, though nothing is left of them under `snapshots/`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Fold {
    /// Its id.
    pub id: FoldId,
    /// When it was written, in milliseconds since the Unix epoch.
    pub folded: u64,
    /// Sessions that were committed once, strictly ascending.
    pub forgotten: Vec<SnapshotId>,
    /// Sessions that were fenced, strictly ascending; none of those above.
    pub fenced: Vec<SnapshotId>,
}

impl Fold {
    /// Reads a fold; it must be the one that its key names.
    ///
    /// # Errors
    ///
    /// If the bytes break a rule of the format.
    pub fn decode(id: FoldId, bytes: &[u8]) -> Result<Self, FormatError> {
        let fold: Fold = super::structured::decode("the fold", bytes)?;
        if fold.id != id {
            return Err(FormatError::field("the fold's id", id, fold.id));
        }
        let names = fold.forgotten.len().saturating_add(fold.fenced.len());
        if names > MAX_NAMES {
            return Err(FormatError::field("a fold's names", format_args!("at most {MAX_NAMES}"), names));
        }
        let ascends = |names: &[SnapshotId]| names.is_sorted_by(|a, b| a < b);
        let is_forgotten = |id: &SnapshotId| fold.forgotten.binary_search(id).is_ok();
        if !ascends(&fold.forgotten) || !ascends(&fold.fenced) || fold.fenced.iter().any(is_forgotten) {
            return Err(FormatError::field("a fold's names", "ascending, each once", "another order"));
        }
        Ok(fold)
    }
}

/// What was under a session's name when it was folded.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum FoldedName {
    /// A marker: it was committed once.
    Forgotten,
    /// A fence.
    Fenced,
    /// Nothing: a check takes no name.
    Free,
    /// A manifest. What became of it since is told by the name alone, or by another row.
    Committed,
}

/// How a folded session ended. Texts are numbers in the list of the history.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum FoldedStatus {
    /// It did all it was to do.
    Done,
    /// It did part of it; the text names what is missing.
    Incomplete(u32),
    /// It failed; the text says why.
    Failed(u32),
    /// The user stopped it.
    Stopped,
}

/// The end of a folded session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FoldedOutcome {
    /// When, in milliseconds since the Unix epoch.
    pub ended: u64,
    /// How.
    pub status: FoldedStatus,
    /// As in the session's outcome.
    pub records: u64,
    /// As in the session's outcome.
    pub stored_bytes: u64,
}

/// A folded session. Texts are numbers in the list of the history.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FoldedSession {
    /// Its id.
    pub session: SnapshotId,
    /// What was under its name.
    pub name: FoldedName,
    /// What it was for.
    pub kind: SessionKind,
    /// What it did, for people.
    pub job: u32,
    /// The machine it ran on.
    pub host: u32,
    /// The program and its version.
    pub program: u32,
    /// The cluster, as far as the session told; else the empty text.
    pub cluster: u32,
    /// When it began, in milliseconds since the Unix epoch.
    pub started: u64,
    /// When it was last written, in milliseconds since the Unix epoch.
    pub heartbeat: u64,
    /// The session that resumed it.
    pub resumed_by: Option<SnapshotId>,
    /// How it ended, if it said so.
    pub outcome: Option<FoldedOutcome>,
}

/// What became of many sessions whose objects are gone. It is stored column by column, which compresses better.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(into = "Columns", try_from = "Columns")]
pub struct HistoryFold {
    /// Its id.
    pub id: FoldId,
    /// When it was written, in milliseconds since the Unix epoch.
    pub folded: u64,
    /// Texts that rows refer to, strictly ascending, byte by byte.
    pub texts: Vec<String>,
    /// The sessions, strictly ascending by id.
    pub rows: Vec<FoldedSession>,
}

/// A history as it is stored. Differences are modulo 2^64.
#[derive(Serialize, Deserialize)]
struct Columns {
    id: FoldId,
    folded: u64,
    texts: Vec<String>,
    sessions: Vec<SnapshotId>,
    names: Vec<FoldedName>,
    kinds: Vec<SessionKind>,
    jobs: Vec<u32>,
    hosts: Vec<u32>,
    programs: Vec<u32>,
    clusters: Vec<u32>,
    started: Vec<u64>,
    /// Less `started`.
    heartbeats: Vec<u64>,
    resumed_by: Vec<Option<SnapshotId>>,
    has_outcome: Vec<bool>,
    /// Of the rows that have one.
    outcomes: Outcomes,
}

/// Outcomes as they are stored.
#[derive(Serialize, Deserialize)]
struct Outcomes {
    /// Less the heartbeat.
    ended: Vec<u64>,
    statuses: Vec<FoldedStatus>,
    records: Vec<u64>,
    stored_bytes: Vec<u64>,
}

impl From<HistoryFold> for Columns {
    fn from(history: HistoryFold) -> Self {
        let HistoryFold { id, folded, texts, rows } = history;
        let ends = || rows.iter().filter_map(|row| Some((row.heartbeat, row.outcome?)));
        Columns {
            id,
            folded,
            texts,
            sessions: rows.iter().map(|row| row.session).collect(),
            names: rows.iter().map(|row| row.name).collect(),
            kinds: rows.iter().map(|row| row.kind).collect(),
            jobs: rows.iter().map(|row| row.job).collect(),
            hosts: rows.iter().map(|row| row.host).collect(),
            programs: rows.iter().map(|row| row.program).collect(),
            clusters: rows.iter().map(|row| row.cluster).collect(),
            started: rows.iter().map(|row| row.started).collect(),
            heartbeats: rows.iter().map(|row| row.heartbeat.wrapping_sub(row.started)).collect(),
            resumed_by: rows.iter().map(|row| row.resumed_by).collect(),
            has_outcome: rows.iter().map(|row| row.outcome.is_some()).collect(),
            outcomes: Outcomes {
                ended: ends().map(|(heartbeat, outcome)| outcome.ended.wrapping_sub(heartbeat)).collect(),
                statuses: ends().map(|(_, outcome)| outcome.status).collect(),
                records: ends().map(|(_, outcome)| outcome.records).collect(),
                stored_bytes: ends().map(|(_, outcome)| outcome.stored_bytes).collect(),
            },
        }
    }
}

impl Columns {
    /// The rows, if all columns are of one length.
    fn rows(&self) -> Option<Vec<FoldedSession>> {
        let outcomes = &self.outcomes;
        let (all, ends) = (self.sessions.len(), self.has_outcome.iter().filter(|has| **has).count());
        let lengths = [self.names.len(), self.kinds.len(), self.jobs.len(), self.hosts.len(), self.programs.len()];
        let times = [self.clusters.len(), self.started.len(), self.heartbeats.len(), self.resumed_by.len()];
        let of_ends =
            [outcomes.ended.len(), outcomes.statuses.len(), outcomes.records.len(), outcomes.stored_bytes.len()];
        let are = |lengths: &[usize], length| lengths.iter().all(|one| *one == length);
        if !are(&lengths, all) || !are(&times, all) || self.has_outcome.len() != all || !are(&of_ends, ends) {
            return None;
        }
        let mut end = 0;
        let mut rows = Vec::with_capacity(all);
        for (n, session) in self.sessions.iter().enumerate() {
            let heartbeat = self.heartbeats.get(n)?.wrapping_add(*self.started.get(n)?);
            let mut outcome = None;
            if *self.has_outcome.get(n)? {
                outcome = Some(FoldedOutcome {
                    ended: outcomes.ended.get(end)?.wrapping_add(heartbeat),
                    status: *outcomes.statuses.get(end)?,
                    records: *outcomes.records.get(end)?,
                    stored_bytes: *outcomes.stored_bytes.get(end)?,
                });
                end += 1;
            }
            rows.push(FoldedSession {
                session: *session,
                name: *self.names.get(n)?,
                kind: *self.kinds.get(n)?,
                job: *self.jobs.get(n)?,
                host: *self.hosts.get(n)?,
                program: *self.programs.get(n)?,
                cluster: *self.clusters.get(n)?,
                started: *self.started.get(n)?,
                heartbeat,
                resumed_by: *self.resumed_by.get(n)?,
                outcome,
            });
        }
        Some(rows)
    }
}

impl TryFrom<Columns> for HistoryFold {
    type Error = &'static str;

    fn try_from(columns: Columns) -> Result<Self, Self::Error> {
        let rows = columns.rows().ok_or("the columns are not of one length")?;
        Ok(HistoryFold { id: columns.id, folded: columns.folded, texts: columns.texts, rows })
    }
}

impl HistoryFold {
    /// Reads a history; it must be the one that its key names.
    ///
    /// # Errors
    ///
    /// If the bytes break a rule of the format.
    pub fn decode(id: FoldId, bytes: &[u8]) -> Result<Self, FormatError> {
        let history: HistoryFold = super::structured::decode("the history", bytes)?;
        if history.id != id {
            return Err(FormatError::field("the history's id", id, history.id));
        }
        if history.rows.len() > MAX_ROWS {
            let rows = history.rows.len();
            return Err(FormatError::field("a history's rows", format_args!("at most {MAX_ROWS}"), rows));
        }
        if !history.rows.is_sorted_by(|a, b| a.session < b.session) || !history.texts.is_sorted_by(|a, b| a < b) {
            return Err(FormatError::field("a history's rows and texts", "ascending, each once", "another order"));
        }
        history.rows.iter().try_for_each(|row| history.check(row))?;
        Ok(history)
    }

    /// The text with this number.
    pub fn text(&self, number: u32) -> Option<&str> {
        self.texts.get(number as usize).map(String::as_str)
    }

    fn check(&self, row: &FoldedSession) -> Result<(), FormatError> {
        let within = |what: &'static str, number: u32, most: usize| match self.text(number) {
            Some(found) => text::check(what, found, most),
            None => Err(FormatError::field(what, format_args!("one of {} texts", self.texts.len()), number)),
        };
        within("the job", row.job, text::SOURCE_BYTES)?;
        within("the host", row.host, text::NAME_BYTES)?;
        within("the program", row.program, text::NAME_BYTES)?;
        within("the cluster", row.cluster, text::NAME_BYTES)?;
        match row.outcome.map(|outcome| outcome.status) {
            Some(FoldedStatus::Incomplete(reason) | FoldedStatus::Failed(reason)) => {
                within("the reason", reason, text::REASON_BYTES)
            }
            Some(FoldedStatus::Done | FoldedStatus::Stopped) | None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::structured;

    fn fold(forgotten: &[u8], fenced: &[u8]) -> Result<Fold, FormatError> {
        let ids = |numbers: &[u8]| numbers.iter().map(|n| SnapshotId([*n; 16])).collect();
        let id = FoldId([7; 16]);
        let fold = Fold { id, folded: 1, forgotten: ids(forgotten), fenced: ids(fenced) };
        Fold::decode(id, &structured::encode(&fold).unwrap())
    }

    #[test]
    fn names_ascend_and_stand_in_one_of_the_lists() {
        assert!(fold(&[1, 3], &[2]).is_ok());
        for (forgotten, fenced) in [(&[3, 1][..], &[][..]), (&[], &[1, 1]), (&[1], &[1])] {
            assert!(fold(forgotten, fenced).unwrap_err().to_string().contains("ascending"));
        }
    }

    #[test]
    fn rows_refer_to_texts_that_are_there_and_within_their_limits() {
        let decoded = |texts: Vec<String>, reason: u32| {
            let id = FoldId([7; 16]);
            let status = FoldedStatus::Failed(reason);
            let row = FoldedSession {
                session: SnapshotId([1; 16]),
                name: FoldedName::Fenced,
                kind: SessionKind::Backup,
                job: 0,
                host: 0,
                program: 0,
                cluster: 0,
                started: 1,
                heartbeat: 2,
                resumed_by: None,
                outcome: Some(FoldedOutcome { ended: 3, status, records: 4, stored_bytes: 5 }),
            };
            let history = HistoryFold { id, folded: 1, texts, rows: vec![row] };
            HistoryFold::decode(id, &structured::encode(&history).unwrap())
        };
        assert!(decoded(vec!["a".into(), "b".into()], 1).is_ok());
        assert!(decoded(vec!["a".into()], 1).unwrap_err().to_string().contains("one of 1 texts"));
        assert!(decoded(vec!["b".into(), "a".into()], 1).unwrap_err().to_string().contains("ascending"));
        assert!(decoded(vec!["a".repeat(257)], 0).unwrap_err().to_string().contains("at most 256"));
    }

    #[test]
    fn columns_give_the_rows_back_and_are_of_one_length() {
        let row = |n: u8, outcome| FoldedSession {
            session: SnapshotId([n; 16]),
            name: FoldedName::Committed,
            kind: SessionKind::Other,
            job: n.into(),
            host: 1,
            program: 2,
            cluster: 0,
            started: u64::MAX - u64::from(n),
            // Clocks may be wrong.
            heartbeat: 7,
            resumed_by: (n == 2).then_some(SnapshotId([9; 16])),
            outcome,
        };
        let outcome = |ended, status| FoldedOutcome { ended, status, records: u64::MAX, stored_bytes: 5 };
        let rows = vec![
            row(1, Some(outcome(0, FoldedStatus::Stopped))),
            row(2, None),
            row(3, Some(outcome(u64::MAX, FoldedStatus::Failed(3)))),
        ];
        let texts = ["", "a", "b", "c"].map(String::from).to_vec();
        let history = HistoryFold { id: FoldId([7; 16]), folded: 1, texts, rows };
        let encoded = structured::encode(&history).unwrap();
        assert_eq!(HistoryFold::decode(history.id, &encoded).unwrap(), history);
        let changes: [fn(&mut Columns); 7] = [
            |columns| columns.names.truncate(2),
            |columns| columns.names.push(FoldedName::Free),
            |columns| columns.heartbeats.push(1),
            |columns| columns.has_outcome[1] = true,
            |columns| columns.outcomes.records.clear(),
            |columns| columns.outcomes.ended.push(1),
            |columns| columns.sessions.truncate(1),
        ];
        for (n, change) in changes.into_iter().enumerate() {
            let mut columns = Columns::from(history.clone());
            change(&mut columns);
            let error = HistoryFold::decode(history.id, &structured::encode(&columns).unwrap()).unwrap_err();
            assert!(error.to_string().contains("not of one length"), "{n}: {error}");
        }
    }
}
