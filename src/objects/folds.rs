//! What is under the names of sessions: the objects under `snapshots/`, and the names that were folded.
//!
//! A name once taken stays taken: one that is in a fold is taken, whatever is under it. So the folds are read after the
//! names are listed: what a collection deleted before the listing is in a fold that was there already.

use super::{read_sealed, seal_object};
use crate::crypto::{Keys, random};
use crate::error::{Error, Result};
use crate::format::fold::{Fold, FoldedName, FoldedSession, FoldedStatus, HistoryFold};
use crate::format::header::{ObjectKind, Suite};
use crate::format::session::{Outcome, Session, Status};
use crate::format::snapshot::SnapshotState;
use crate::format::{FoldId, FormatError, SnapshotId, names};
use crate::store::{Put, Store};
use crate::sync::in_parallel;
use std::collections::{BTreeMap, HashSet};

/// So often the folds are listed again because one was merged into another while they were read, before that is an
/// error.
const MAX_LISTINGS: usize = 8;

/// What to do about a fold that can't be read.
const DAMAGED_FOLD: &str = "It names old sessions that were forgotten or fenced, so a snapshot that others saw can't \
                            be told from a lost one, and nothing is deleted. Restore the object from a copy, or run \
                            `aerolith repair`";
/// What to do about a history that can't be read.
const DAMAGED_HISTORY: &str =
    "It says how old sessions ended, and nothing else needs it. `aerolith repair` deletes the object";

/// What is under every name that was ever taken.
#[derive(Debug, Default)]
pub struct States {
    listed: BTreeMap<SnapshotId, SnapshotState>,
    folds: Vec<Fold>,
    damaged: Vec<(FoldId, Error)>,
}

impl States {
    /// What is under a name; of one that is folded, what was there.
    pub fn get(&self, id: &SnapshotId) -> Option<SnapshotState> {
        self.folded(id).or_else(|| self.listed.get(id).copied())
    }

    /// Whether the index segments of a session count.
    pub fn was_committed(&self, id: &SnapshotId) -> bool {
        self.get(id).is_some_and(SnapshotState::was_committed)
    }

    /// What was under a name that is folded.
    pub fn folded(&self, id: &SnapshotId) -> Option<SnapshotState> {
        let state = |fold: &Fold| {
            let forgotten = fold.forgotten.binary_search(id).is_ok();
            let fenced = || fold.fenced.binary_search(id).is_ok();
            (forgotten || fenced()).then_some(match forgotten {
                true => SnapshotState::Forgotten,
                false => SnapshotState::Fenced,
            })
        };
        self.folds.iter().find_map(state)
    }

    /// The names under `snapshots/` that are not folded, ascending, and what is there.
    pub fn listed(&self) -> impl Iterator<Item = (SnapshotId, SnapshotState)> + '_ {
        self.listed.iter().map(|(id, state)| (*id, *state)).filter(|(id, _)| self.folded(id).is_none())
    }

    /// Those of them under which something of this kind is.
    pub fn with(&self, wanted: SnapshotState) -> impl Iterator<Item = SnapshotId> + '_ {
        self.listed.iter().filter(move |(id, state)| **state == wanted && self.folded(id).is_none()).map(|(id, _)| *id)
    }

    /// Objects under `snapshots/` whose names are folded: a collection that stopped left them, or a writer that had
    /// slept.
    pub fn strays(&self) -> impl Iterator<Item = SnapshotId> + '_ {
        self.listed.keys().copied().filter(|id| self.folded(id).is_some())
    }

    /// All names that were ever taken.
    pub fn all(&self) -> impl Iterator<Item = (SnapshotId, SnapshotState)> + '_ {
        let folded = self.folds.iter().flat_map(|fold| {
            let forgotten = fold.forgotten.iter().map(|id| (*id, SnapshotState::Forgotten));
            forgotten.chain(fold.fenced.iter().map(|id| (*id, SnapshotState::Fenced)))
        });
        self.listed().chain(folded)
    }

    /// The folds that could be read.
    pub fn folds(&self) -> &[Fold] {
        &self.folds
    }

    /// Those that could not.
    pub fn damaged(&self) -> &[(FoldId, Error)] {
        &self.damaged
    }
}

/// Every name that was ever taken: lists what is under `snapshots/`, and then reads the folds.
///
/// # Errors
///
/// Those of the store. A fold that can't be read is passed over, and reported by [`States::damaged`].
pub fn list_states(store: &dyn Store, keys: &Keys) -> Result<States> {
    let listed = store.list(names::SNAPSHOTS)?;
    let listed = listed
        .iter()
        .filter_map(|object| Some((names::parse_snapshot(&object.key)?, SnapshotState::from_size(object.size))));
    let listed = listed.collect();
    let (folds, damaged) = read_folds(store, keys)?;
    Ok(States { listed, folds, damaged })
}

/// What is under one name now; of one that is folded, what was there.
///
/// # Errors
///
/// Those of the store.
pub fn state_of(store: &dyn Store, keys: &Keys, id: &SnapshotId) -> Result<Option<SnapshotState>> {
    match store.size(&names::snapshot(id))?.map(SnapshotState::from_size) {
        None => folded_state_of(store, keys, id),
        state => Ok(state),
    }
}

/// What was under one name, if it is folded.
///
/// # Errors
///
/// Those of the store.
pub fn folded_state_of(store: &dyn Store, keys: &Keys, id: &SnapshotId) -> Result<Option<SnapshotState>> {
    let (folds, damaged) = read_folds(store, keys)?;
    Ok(States { listed: BTreeMap::new(), folds, damaged }.folded(id))
}

/// Objects of one kind that were read, and those that can't be.
type Read<T> = (Vec<T>, Vec<(FoldId, Error)>);

fn read_folds(store: &dyn Store, keys: &Keys) -> Result<Read<Fold>> {
    let decode = |id: FoldId, value: &[u8]| Fold::decode(id, value);
    read_all(store, keys, (names::FOLDS, ObjectKind::Fold, DAMAGED_FOLD), names::parse_fold, decode)
}

/// The history of the sessions that are folded, object by object, and what of it can't be read.
///
/// # Errors
///
/// Those of the store.
pub fn read_history(store: &dyn Store, keys: &Keys) -> Result<Read<HistoryFold>> {
    let decode = |id: FoldId, value: &[u8]| HistoryFold::decode(id, value);
    read_all(store, keys, (names::HISTORY, ObjectKind::History, DAMAGED_HISTORY), names::parse_history, decode)
}

/// Reads one object of the history.
///
/// # Errors
///
/// If it can't be read, or was merged into another.
pub fn read_one_history(store: &dyn Store, keys: &Keys, id: FoldId) -> Result<HistoryFold> {
    let name = names::history(&id);
    let value = read_sealed(store, keys, ObjectKind::History, &name)?;
    HistoryFold::decode(id, &value).map_err(|error| error.of(&name))
}

/// Reads all objects of a directory whose names are random. One that is gone once it is read was merged into another,
/// which another listing shows: it was there before that one went.
fn read_all<T: Send>(
    store: &dyn Store,
    keys: &Keys,
    (directory, kind, advice): (&str, ObjectKind, &str),
    parse: impl Fn(&str) -> Option<FoldId>,
    decode: impl Fn(FoldId, &[u8]) -> Result<T, FormatError> + Sync,
) -> Result<Read<T>> {
    for _ in 0..MAX_LISTINGS {
        let listed = store.list(directory)?;
        let listed: Vec<(FoldId, String)> =
            listed.into_iter().filter_map(|object| Some((parse(&object.key)?, object.key))).collect();
        let read = in_parallel(&listed, store.is_far(), |(id, key)| {
            let value = read_sealed(store, keys, kind, key)?;
            decode(*id, &value).map_err(|error| error.of(key))
        });
        let (mut whole, mut damaged, mut merged) = (Vec::new(), Vec::new(), false);
        for ((id, _), read) in listed.into_iter().zip(read) {
            match read {
                Ok(fold) => whole.push(fold),
                Err(Error::Missing { .. }) => merged = true,
                Err(error) if error.is_of_one_object() => damaged.push((id, error.with_advice(advice))),
                Err(error) => return Err(error),
            }
        }
        if !merged {
            return Ok((whole, damaged));
        }
    }
    let advice = "Collections merge these objects all the time. Run the command once more".to_string();
    Err(Error::Missing { object: directory.into(), advice })
}

fn write_fold(store: &dyn Store, keys: &Keys, suite: Suite, fold: &Fold) -> Result<()> {
    let name = names::fold(&fold.id);
    put_random(store, &name, &seal_object(keys, ObjectKind::Fold, suite, &name, fold)?)
}

/// Writes names into a new fold.
///
/// # Errors
///
/// Those of the store.
pub fn write_names(
    store: &dyn Store,
    keys: &Keys,
    suite: Suite,
    states: BTreeMap<SnapshotId, SnapshotState>,
    now: u64,
) -> Result<()> {
    let with = |wanted| states.iter().filter(move |(_, state)| **state == wanted).map(|(id, _)| *id).collect();
    let (forgotten, fenced) = (with(SnapshotState::Forgotten), with(SnapshotState::Fenced));
    write_fold(store, keys, suite, &Fold { id: FoldId(random()?), folded: now, forgotten, fenced })
}

/// Writes a history, under its own name.
///
/// # Errors
///
/// Those of the store.
pub fn write_history(store: &dyn Store, keys: &Keys, suite: Suite, history: &HistoryFold) -> Result<()> {
    let name = names::history(&history.id);
    put_random(store, &name, &seal_object(keys, ObjectKind::History, suite, &name, history)?)
}

fn put_random(store: &dyn Store, name: &str, bytes: &[u8]) -> Result<()> {
    match store.put_new(name, bytes)? {
        Put::Created => Ok(()),
        Put::Exists => Err(Error::damaged(name, "it exists already, though its name is random")),
    }
}

/// A folded session as its object said it, as far as that was kept.
pub fn unfold(history: &HistoryFold, row: &FoldedSession) -> Session {
    let text = |number: u32| history.text(number).unwrap_or_default().to_string();
    let outcome = row.outcome.map(|outcome| Outcome {
        ended: outcome.ended,
        status: match outcome.status {
            FoldedStatus::Done => Status::Done,
            FoldedStatus::Incomplete(reason) => Status::Incomplete(text(reason)),
            FoldedStatus::Failed(reason) => Status::Failed(text(reason)),
            FoldedStatus::Stopped => Status::Stopped,
        },
        records: outcome.records,
        stored_bytes: outcome.stored_bytes,
        damaged_chunks: Vec::new(),
    });
    Session {
        id: row.session,
        kind: row.kind,
        job: text(row.job),
        host: text(row.host),
        program: text(row.program),
        process: None,
        started: row.started,
        heartbeat: row.heartbeat,
        lease_millis: 0,
        adopted: Vec::new(),
        outcome,
        journal: None,
    }
}

/// Names that histories tell of and that no fold has, though it should: a fold was lost.
pub fn names_without_fold(states: &States, histories: &[HistoryFold]) -> BTreeMap<SnapshotId, SnapshotState> {
    let rows = histories.iter().flat_map(|history| &history.rows);
    let named = rows.filter_map(|row| Some((row.session, folded_name(row)?)));
    named.filter(|(id, _)| states.get(id).is_none()).collect()
}

/// The sessions that were folded while their snapshots existed, and whose names were not folded since: there is a
/// manifest under each of these names, or a marker.
pub fn folded_committed(histories: &[HistoryFold]) -> HashSet<SnapshotId> {
    let rows = || histories.iter().flat_map(|history| &history.rows);
    let committed = rows().filter(|row| row.name == FoldedName::Committed);
    let mut committed: HashSet<SnapshotId> = committed.map(|row| row.session).collect();
    for row in rows().filter(|row| row.name != FoldedName::Committed) {
        committed.remove(&row.session);
    }
    committed
}

/// What was under the name of a folded session, if that was folded too.
pub fn folded_name(row: &FoldedSession) -> Option<SnapshotState> {
    match row.name {
        FoldedName::Forgotten => Some(SnapshotState::Forgotten),
        FoldedName::Fenced => Some(SnapshotState::Fenced),
        FoldedName::Free | FoldedName::Committed => None,
    }
}
