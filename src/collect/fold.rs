//! Folding: thousands of old sessions, with the markers and fences under their names, become one object, so that what
//! is opened stays small however old the repository is. `format-spec/folds.md` says why the order is what it is.

use super::mark::States;
use crate::control::Control;
use crate::crypto::{Keys, random};
use crate::error::Result;
use crate::format::fold::{
    Fold, FoldedName, FoldedOutcome, FoldedSession, FoldedStatus, HistoryFold, MAX_NAMES, MAX_ROWS,
};
use crate::format::header::Suite;
use crate::format::session::{Session, SessionKind, Status};
use crate::format::snapshot::SnapshotState;
use crate::format::{FoldId, PackId, SnapshotId, names};
use crate::objects;
use crate::store::Store;
use crate::sync::in_parallel;
use std::collections::{BTreeMap, HashMap, HashSet};

/// How long a session keeps an object of its own after it was written last: two days. One that stopped is resumed for a
/// day.
pub const KEPT_MILLIS: u64 = 2 * 86_400_000;
/// One collection folds sessions of at most so many bytes in a history, before they are compressed: 16 MiB. As many
/// again may be of sessions that were folded before their names.
const MAX_NEW_BYTES: usize = 16 << 20;
/// Histories are merged up to so many bytes, before they are compressed: 40 MiB.
const MAX_MERGED_BYTES: usize = 40 << 20;
/// What a row takes in a history, without its texts, before it is compressed.
const ROW_BYTES: usize = 96;
/// What it takes once it is compressed.
const STORED_ROW_BYTES: usize = 32;

/// What a folding must know.
pub struct Folding<'a> {
    /// The store.
    pub store: &'a dyn Store,
    /// The repository's keys.
    pub keys: &'a Keys,
    /// What seals the folds.
    pub suite: Suite,
    /// What was under `snapshots/`, read before the index was cleaned.
    pub states: &'a States,
    /// The sessions of the index segments that are left. A session writes all its segments before it takes its name, so
    /// none of a name that was taken then is missing here.
    pub indexed: &'a HashSet<SnapshotId>,
    /// In milliseconds since the Unix epoch.
    pub now: u64,
}

/// Sessions to be folded.
#[derive(Default)]
struct Retired {
    /// Names, and what is under them.
    names: BTreeMap<SnapshotId, SnapshotState>,
    /// Sessions that have an object, with what is under their names.
    sessions: Vec<(Session, Option<SnapshotState>)>,
    /// Those of the names whose sessions were folded while their snapshots existed.
    ended: HashSet<SnapshotId>,
    /// The histories, if there are such names.
    histories: Vec<HistoryFold>,
    /// About how many bytes the rows of both take, with texts of their own.
    bytes: usize,
}

impl Folding<'_> {
    /// Folds what is old, and gives back how many sessions' objects it deleted. Killed on the way, the next one goes
    /// on.
    pub fn run(&self, control: &Control) -> Result<u64> {
        let retired = self.retired()?;
        if retired.names.is_empty() && retired.sessions.is_empty() {
            return Ok(0);
        }
        control.check()?;
        let mut merged = self.write_history(&retired)?;
        if !retired.names.is_empty() {
            merged.extend(self.write_fold(&retired.names)?);
        }
        // What is deleted now is told by these alone.
        self.store.sync()?;
        for id in retired.names.keys() {
            control.check()?;
            self.store.delete(&names::snapshot(id))?;
        }
        for (session, _) in &retired.sessions {
            control.check()?;
            self.store.delete(&names::session(&session.id))?;
        }
        for key in merged {
            self.store.delete(&key)?;
        }
        Ok(retired.sessions.len() as u64)
    }

    /// Looks for what nobody asks for any more. A session that can't be read is for a repair, and keeps its name.
    fn retired(&self) -> Result<Retired> {
        let mut retired = Retired::default();
        let is_retired = |state: SnapshotState, id: &SnapshotId| match state {
            SnapshotState::Committed => false,
            SnapshotState::Forgotten => !self.indexed.contains(id),
            SnapshotState::Fenced => true,
        };
        let listed = self.states.listed().filter(|(id, state)| is_retired(*state, id));
        retired.names.extend(listed);
        let mut sessions = objects::list_sessions(self.store)?;
        let with_object: HashSet<SnapshotId> = sessions.iter().copied().collect();
        // The session of a snapshot that stays is folded without its name.
        let may_go = |state: SnapshotState, id: &SnapshotId| state == SnapshotState::Committed || is_retired(state, id);
        sessions.retain(|id| self.states.get(id).is_none_or(|state| may_go(state, id)));
        let read = in_parallel(&sessions, self.store.is_far(), |id| objects::read_session(self.store, self.keys, *id));
        for (id, read) in sessions.into_iter().zip(read) {
            let state = self.states.get(&id);
            match read {
                Ok(session) if self.is_over(&session, state) => {
                    let bytes =
                        ROW_BYTES + session.job.len() + session.host.len() + reason_of(&session).map_or(0, str::len);
                    if retired.bytes + bytes <= MAX_NEW_BYTES && retired.sessions.len() < MAX_ROWS {
                        retired.bytes += bytes;
                        retired.sessions.push((session, state));
                        continue;
                    }
                }
                Ok(_) => {}
                Err(error) if error.is_of_one_object() => {}
                Err(error) => return Err(error),
            }
            retired.names.remove(&id);
        }
        // What is left under a name that is folded goes, whatever its session says; it may be told by a fold that is
        // not durable yet.
        retired.names.extend(self.states.strays().filter_map(|id| Some((id, self.states.folded(&id)?))));
        self.add_ended(&mut retired, &with_object)?;
        while retired.names.len() > MAX_NAMES {
            retired.names.pop_last();
        }
        Ok(retired)
    }

    /// Looks for names whose sessions were folded before them, while their snapshots existed. What the histories say of
    /// these is written again: it shall tell, as of all others, that the name is folded, and how.
    fn add_ended(&self, retired: &mut Retired, with_object: &HashSet<SnapshotId>) -> Result<()> {
        if retired.names.keys().all(|id| with_object.contains(id)) {
            return Ok(());
        }
        let (histories, _) = objects::read_history(self.store, self.keys)?;
        let committed = objects::folded_committed(&histories);
        for (history, row) in histories.iter().flat_map(|one| one.rows.iter().map(move |row| (one, row))) {
            let id = row.session;
            if !committed.contains(&id) || retired.ended.contains(&id) {
                continue;
            }
            let text = |number: u32| history.text(number).map_or(0, str::len);
            let bytes = ROW_BYTES + text(row.job) + text(row.host) + reason_of_row(row).map_or(0, text);
            let fits =
                retired.bytes + bytes <= 2 * MAX_NEW_BYTES && retired.sessions.len() + retired.ended.len() < MAX_ROWS;
            match retired.names.get(&id) {
                Some(SnapshotState::Forgotten) if fits => {
                    retired.bytes += bytes;
                    retired.ended.insert(id);
                }
                // One too many, or a manifest that was emptied since.
                Some(_) => {
                    retired.names.remove(&id);
                }
                None => {}
            }
        }
        retired.histories = histories;
        Ok(())
    }

    /// Whether nothing asks for a session's object any more: not the resuming of what stopped, nor what tells an
    /// emptied marker, nor a full backup that heals what a check found. An emptied manifest is told by the history.
    fn is_over(&self, session: &Session, state: Option<SnapshotState>) -> bool {
        let damage = session.outcome.as_ref().is_some_and(|outcome| !outcome.damaged_chunks.is_empty());
        let is_over = match state {
            Some(SnapshotState::Committed | SnapshotState::Forgotten) => true,
            Some(SnapshotState::Fenced) => !session.says_committed(),
            None => session.kind == SessionKind::Check,
        };
        let lease = if session.outcome.is_some() { 0 } else { session.lease_millis };
        is_over && !damage && session.heartbeat.saturating_add(KEPT_MILLIS.max(lease)) < self.now
    }

    /// Writes the names into a fold, with those of the smallest folds; gives back the keys of these.
    fn write_fold(&self, names: &BTreeMap<SnapshotId, SnapshotState>) -> Result<Vec<String>> {
        let mut folds: Vec<&Fold> = self.states.folds().iter().collect();
        folds.sort_by_key(|fold| size_of(fold));
        let sizes: Vec<u64> = folds.iter().map(|fold| size_of(fold)).collect();
        folds.truncate(to_merge(&sizes, names.len() as u64, MAX_NAMES as u64));
        let mut states = names.clone();
        for fold in &folds {
            states.extend(fold.fenced.iter().map(|id| (*id, SnapshotState::Fenced)));
            states.extend(fold.forgotten.iter().map(|id| (*id, SnapshotState::Forgotten)));
        }
        objects::write_names(self.store, self.keys, self.suite, states, self.now)?;
        Ok(folds.into_iter().map(|fold| names::fold(&fold.id)).collect())
    }

    /// Writes sessions into a history, with what the smallest histories tell; gives back the keys of these.
    fn write_history(&self, retired: &Retired) -> Result<Vec<String>> {
        let Retired { sessions, ended, .. } = retired;
        let new = sessions.len() + ended.len();
        if new == 0 {
            return Ok(Vec::new());
        }
        let mut listed = self.store.list(names::HISTORY)?;
        listed.retain(|object| names::parse_history(&object.key).is_some());
        listed.sort_by_key(|object| object.size);
        let sizes: Vec<u64> = listed.iter().map(|object| object.size).collect();
        listed.truncate(to_merge(&sizes, (new * STORED_ROW_BYTES) as u64, MAX_MERGED_BYTES as u64));
        let mut builder = Builder::default();
        let mut merged = Vec::new();
        for object in listed {
            let Some(id) = names::parse_history(&object.key) else { continue };
            match objects::read_one_history(self.store, self.keys, id) {
                Ok(history)
                    if builder.rows.len() + history.rows.len() + new <= MAX_ROWS
                        && builder.bytes() + bytes_of(&history) + retired.bytes <= MAX_MERGED_BYTES =>
                {
                    history.rows.iter().for_each(|row| builder.add_folded(&history, row));
                    merged.push(object.key);
                }
                Ok(_) => {}
                // Merged by another collection, or for a repair.
                Err(error) if error.is_of_one_object() => {}
                Err(error) => return Err(error),
            }
        }
        for history in &retired.histories {
            for row in history.rows.iter().filter(|row| ended.contains(&row.session)) {
                builder.add_folded(history, &FoldedSession { name: FoldedName::Forgotten, ..*row });
            }
        }
        let resumed = self.resumed(sessions)?;
        for (session, state) in sessions {
            builder.add(session, *state, resumed.get(&session.id).copied());
        }
        let history = builder.build(FoldId(random()?), self.now);
        objects::write_history(self.store, self.keys, self.suite, &history)?;
        Ok(merged)
    }

    /// Which of the sessions others resumed: by the packs that those took over.
    fn resumed(&self, sessions: &[(Session, Option<SnapshotState>)]) -> Result<HashMap<SnapshotId, SnapshotId>> {
        let mut owners: HashMap<PackId, SnapshotId> = HashMap::new();
        for (session, _) in sessions {
            let packs = session.journal.iter().flat_map(|journal| &journal.packs);
            owners.extend(packs.map(|pack| (*pack, session.id)));
        }
        let mut resumed = HashMap::new();
        if owners.is_empty() {
            return Ok(resumed);
        }
        let all = objects::list_sessions(self.store)?;
        for read in in_parallel(&all, self.store.is_far(), |id| objects::read_session(self.store, self.keys, *id)) {
            let session = match read {
                Ok(session) => session,
                Err(error) if error.is_of_one_object() => continue,
                Err(error) => return Err(error),
            };
            let owners = session.adopted.iter().filter_map(|pack| owners.get(pack));
            resumed.extend(owners.filter(|owner| **owner != session.id).map(|owner| (*owner, session.id)));
        }
        Ok(resumed)
    }
}

/// About how many bytes a history takes before it is compressed.
fn bytes_of(history: &HistoryFold) -> usize {
    history.rows.len() * ROW_BYTES + history.texts.iter().map(|text| text.len() + ROW_BYTES).sum::<usize>()
}

fn size_of(fold: &Fold) -> u64 {
    (fold.forgotten.len() + fold.fenced.len()) as u64
}

/// How many of the smallest objects to merge with something new of the size `new`: as many as leave each that stays at
/// more than twice what all smaller ones have together. The merged one has at most the size `most`. `sizes` ascend.
pub fn to_merge(sizes: &[u64], new: u64, most: u64) -> usize {
    let (mut sum, mut merged) = (new, 0);
    for (n, size) in sizes.iter().enumerate() {
        if sum.saturating_add(*size) > most {
            break;
        }
        if *size <= sum.saturating_mul(2) {
            merged = n + 1;
        }
        sum += size;
    }
    merged
}

fn reason_of(session: &Session) -> Option<&str> {
    match &session.outcome.as_ref()?.status {
        Status::Incomplete(reason) | Status::Failed(reason) => Some(reason),
        Status::Done | Status::Stopped => None,
    }
}

fn reason_of_row(row: &FoldedSession) -> Option<u32> {
    match row.outcome?.status {
        FoldedStatus::Incomplete(reason) | FoldedStatus::Failed(reason) => Some(reason),
        FoldedStatus::Done | FoldedStatus::Stopped => None,
    }
}

/// Rows of a history, each session once, that refer to texts by themselves until all texts are known.
#[derive(Default)]
struct Builder {
    texts: BTreeMap<String, u32>,
    rows: BTreeMap<SnapshotId, FoldedSession>,
    /// The texts by the numbers that rows have for now.
    numbered: Vec<String>,
}

impl Builder {
    /// A number for a text, for now.
    fn number(&mut self, text: &str) -> u32 {
        if let Some(number) = self.texts.get(text) {
            return *number;
        }
        let number = self.numbered.len() as u32;
        self.texts.insert(text.to_string(), number);
        self.numbered.push(text.to_string());
        number
    }

    fn add(&mut self, session: &Session, state: Option<SnapshotState>, resumed_by: Option<SnapshotId>) {
        let outcome = session.outcome.as_ref().map(|outcome| FoldedOutcome {
            ended: outcome.ended,
            status: match &outcome.status {
                Status::Done => FoldedStatus::Done,
                Status::Incomplete(reason) => FoldedStatus::Incomplete(self.number(reason)),
                Status::Failed(reason) => FoldedStatus::Failed(self.number(reason)),
                Status::Stopped => FoldedStatus::Stopped,
            },
            records: outcome.records,
            stored_bytes: outcome.stored_bytes,
        });
        let row = FoldedSession {
            session: session.id,
            name: match state {
                None => FoldedName::Free,
                Some(SnapshotState::Fenced) => FoldedName::Fenced,
                Some(SnapshotState::Forgotten) => FoldedName::Forgotten,
                Some(SnapshotState::Committed) => FoldedName::Committed,
            },
            kind: session.kind,
            job: self.number(&session.job),
            host: self.number(&session.host),
            program: self.number(&session.program),
            cluster: self.number(session.journal.as_ref().map_or("", |journal| &journal.cluster)),
            started: session.started,
            heartbeat: session.heartbeat,
            resumed_by,
            outcome,
        };
        self.rows.insert(session.id, row);
    }

    /// About how many bytes it takes.
    fn bytes(&self) -> usize {
        self.rows.len() * ROW_BYTES + self.texts.keys().map(|text| text.len() + ROW_BYTES).sum::<usize>()
    }

    fn add_folded(&mut self, history: &HistoryFold, row: &FoldedSession) {
        // Another row of it tells at least as much.
        if row.name == FoldedName::Committed && self.rows.contains_key(&row.session) {
            return;
        }
        let mut renumbered = |number: u32| self.number(history.text(number).unwrap_or_default());
        let status = |status: FoldedStatus, renumbered: &mut dyn FnMut(u32) -> u32| match status {
            FoldedStatus::Incomplete(reason) => FoldedStatus::Incomplete(renumbered(reason)),
            FoldedStatus::Failed(reason) => FoldedStatus::Failed(renumbered(reason)),
            FoldedStatus::Done | FoldedStatus::Stopped => status,
        };
        let (job, host) = (renumbered(row.job), renumbered(row.host));
        let (program, cluster) = (renumbered(row.program), renumbered(row.cluster));
        let outcome =
            row.outcome.map(|outcome| FoldedOutcome { status: status(outcome.status, &mut renumbered), ..outcome });
        self.rows.insert(row.session, FoldedSession { job, host, program, cluster, outcome, ..*row });
    }

    /// The history, in which texts have the numbers of their order.
    fn build(self, id: FoldId, now: u64) -> HistoryFold {
        let mut order: Vec<u32> = vec![0; self.numbered.len()];
        for (place, number) in (0..).zip(self.texts.values()) {
            if let Some(slot) = order.get_mut(*number as usize) {
                *slot = place;
            }
        }
        let placed = |number: u32| order.get(number as usize).copied().unwrap_or_default();
        let rows = self.rows.into_values().map(|row| FoldedSession {
            job: placed(row.job),
            host: placed(row.host),
            program: placed(row.program),
            cluster: placed(row.cluster),
            outcome: row.outcome.map(|outcome| FoldedOutcome {
                status: match outcome.status {
                    FoldedStatus::Incomplete(reason) => FoldedStatus::Incomplete(placed(reason)),
                    FoldedStatus::Failed(reason) => FoldedStatus::Failed(placed(reason)),
                    FoldedStatus::Done | FoldedStatus::Stopped => outcome.status,
                },
                ..outcome
            }),
            ..row
        });
        HistoryFold { id, folded: now, rows: rows.collect(), texts: self.texts.into_keys().collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_many_merges_few_objects_are_left_and_each_was_written_a_few_times() {
        let (mut sizes, mut written) = (Vec::new(), 0);
        for _ in 0..20_000 {
            let merged = to_merge(&sizes, 2, u64::MAX);
            let size = 2 + sizes.drain(..merged).sum::<u64>();
            written += size;
            sizes.insert(0, size);
            assert!(sizes.is_sorted() && sizes.len() <= 12, "{sizes:?}");
        }
        assert!(written <= 40_000 * 16, "{written}");
    }

    #[test]
    fn a_row_that_tells_a_sessions_end_stays_whatever_else_is_merged() {
        let row = |name| FoldedSession {
            session: SnapshotId([1; 16]),
            name,
            kind: SessionKind::Backup,
            job: 0,
            host: 0,
            program: 0,
            cluster: 0,
            started: 1,
            heartbeat: 2,
            resumed_by: None,
            outcome: None,
        };
        let history =
            |name| HistoryFold { id: FoldId([7; 16]), folded: 1, texts: vec!["".into()], rows: vec![row(name)] };
        let [early, late] = [FoldedName::Committed, FoldedName::Forgotten].map(history);
        for order in [[&early, &late], [&late, &early]] {
            let mut builder = Builder::default();
            order.iter().for_each(|history| history.rows.iter().for_each(|row| builder.add_folded(history, row)));
            assert_eq!(builder.build(late.id, 1), late);
        }
    }

    #[test]
    fn none_grows_beyond_the_limit() {
        assert_eq!(to_merge(&[5, 5, 5], 5, 15), 2);
        assert_eq!(to_merge(&[5, 5, 5], 5, 9), 0);
        assert_eq!(to_merge(&[1, 5, 5, 5, 1_000], 0, u64::MAX), 4);
    }
}
