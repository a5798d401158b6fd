//! Deleting the objects of sessions that ended long ago and of which nothing is left, so that the history does not grow for ever.

use super::mark::States;
use crate::crypto::Keys;
use crate::error::Result;
use crate::format::session::{Session, SessionKind};
use crate::format::snapshot::SnapshotState;
use crate::format::{SnapshotId, names};
use crate::objects;
use crate::store::Store;
use crate::sync::in_parallel;
use std::collections::HashSet;

/// How long the object of a session without a snapshot stays after it was written last: 90 days.
pub const KEPT_MILLIS: u64 = 90 * 86_400_000;

/// Deletes the objects of old sessions that nothing asks for any more, and gives back how many. `states` are what stands under
/// `snapshots/`, read before; names there never become free again. `indexed` are the sessions of the index segments that stand,
/// listed after that: a session writes all its segments before it takes its name, so none of a name that was taken is missing
/// there. `now` is in milliseconds since the Unix epoch.
///
/// These go: a session whose name is fenced, unless it says that it was committed, since that is what tells an emptied snapshot; a
/// session whose name is a marker, once no index segment of it is left, since an emptied marker would be noticed by it; and a check
/// that noted no damage, which never takes a name and writes no chunks. What can't be read is for a repair.
pub fn expire(store: &dyn Store, keys: &Keys, states: &States, indexed: &HashSet<SnapshotId>, now: u64) -> Result<u64> {
    let mut deleted = 0;
    let mut sessions = objects::list_sessions(store)?;
    sessions.retain(|id| match states.get(id) {
        Some(SnapshotState::Committed) => false,
        Some(SnapshotState::Forgotten) => !indexed.contains(id),
        _ => true,
    });
    let read = in_parallel(&sessions, |id| objects::read_session(store, keys, *id));
    for (id, read) in sessions.into_iter().zip(read) {
        let state = states.get(&id).copied();
        let session = match read {
            Ok(session) => session,
            Err(error) if error.is_of_one_object() => continue,
            Err(error) => return Err(error),
        };
        if may_go(&session, state) && session.heartbeat.saturating_add(KEPT_MILLIS) < now {
            store.delete(&names::session(&id))?;
            deleted += 1;
        }
    }
    Ok(deleted)
}

/// Whether nothing asks for a session's object any more, however old it is.
fn may_go(session: &Session, state: Option<SnapshotState>) -> bool {
    match state {
        Some(SnapshotState::Committed) => false,
        Some(SnapshotState::Forgotten) => true,
        Some(SnapshotState::Fenced) => !session.says_committed(),
        None => {
            session.kind == SessionKind::Check
                && session.outcome.as_ref().is_none_or(|outcome| outcome.damaged_chunks.is_empty())
        }
    }
}
