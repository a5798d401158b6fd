//! Waiting for the sessions that may still refer to packs that a plan condemns, or fencing them.

use super::options::PruneOptions;
use crate::control::Control;
use crate::crypto::Keys;
use crate::error::{Error, Result};
use crate::format::SnapshotId;
use crate::format::session::{Session, SessionKind};
use crate::objects;
use crate::objects::is_alive;
use crate::record::Timestamp;
use crate::store::Store;
use std::time::{Duration, Instant};

/// How long to sleep before the sessions are looked at again.
const POLL: Duration = Duration::from_secs(1);

/// Returns once none of the sessions that exist now can be committed any more, and gives back those that it fenced
/// though they had not ended. The collector's own, and checks, which write no chunks, don't count.
///
/// # Errors
///
/// If another collector is at work, or if a writer is still at work at `until`.
pub fn settle(
    store: &dyn Store,
    keys: &Keys,
    own: SnapshotId,
    options: &PruneOptions,
    until: Instant,
    control: &Control,
) -> Result<Vec<SnapshotId>> {
    let mut open = objects::list_sessions(store)?;
    open.retain(|id| *id != own);
    let mut fenced = Vec::new();
    loop {
        let states = objects::list_states(store, keys)?;
        open.retain(|id| states.get(id).is_none());
        let mut alive = Vec::new();
        let mut waiting = Vec::new();
        for id in std::mem::take(&mut open) {
            control.check()?;
            match objects::read_session(store, keys, id) {
                Ok(session) if session.kind == SessionKind::Check => {}
                Ok(session) if is_alive(&session) && !options.fence => {
                    if session.kind == SessionKind::Collection {
                        return Err(Error::Busy(another(&session)));
                    }
                    waiting.push(id);
                    alive.push(session);
                }
                // It can't tell whether its commit is on its way.
                Ok(session) if session.outcome.is_some() => {
                    objects::fence(store, id)?;
                }
                Ok(_) => fenced.extend(objects::fence(store, id)?.then_some(id)),
                // Whoever it was: its heartbeat writes the object again, if it lives.
                Err(error) if error.is_of_one_object() => fenced.extend(objects::fence(store, id)?.then_some(id)),
                Err(error) => return Err(error),
            }
        }
        if alive.is_empty() {
            return Ok(fenced);
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Error::Busy(still_at_work(&alive)));
        }
        open = waiting;
        std::thread::sleep(left.min(POLL));
    }
}

/// What a collection would meet now.
#[derive(Debug, Default)]
pub struct Met {
    /// Sessions at work that it would wait for.
    pub alive: Vec<Session>,
    /// Those that it would fence.
    pub fenced: Vec<SnapshotId>,
    /// Why it would end at once, if so.
    pub refused: Option<String>,
}

/// Says what [`settle`] would do now, and changes nothing.
pub fn look(store: &dyn Store, keys: &Keys, options: &PruneOptions, control: &Control) -> Result<Met> {
    let mut met = Met::default();
    let open = objects::list_sessions(store)?;
    let states = objects::list_states(store, keys)?;
    for id in open.into_iter().filter(|id| states.get(id).is_none()) {
        control.check()?;
        match objects::read_session(store, keys, id) {
            Ok(session) if session.kind == SessionKind::Check => {}
            Ok(session) if is_alive(&session) && !options.fence => {
                if session.kind == SessionKind::Collection {
                    met.refused = Some(another(&session));
                }
                met.alive.push(session);
            }
            Ok(session) if session.outcome.is_some() => {}
            Ok(_) => met.fenced.push(id),
            Err(error) if error.is_of_one_object() => met.fenced.push(id),
            Err(error) => return Err(error),
        }
    }
    if met.refused.is_none() && !met.alive.is_empty() && options.wait.is_zero() {
        met.refused = Some(still_at_work(&met.alive));
    }
    Ok(met)
}

fn another(session: &Session) -> String {
    format!(
        "another prune is at work: session {} on {}, begun at {}. One at a time; once it has ended, or died, run \
         this again",
        session.id,
        session.host,
        Timestamp(session.started)
    )
}

fn still_at_work(alive: &[Session]) -> String {
    let Some(session) = alive.first() else { return String::new() };
    format!(
        "{} still at work: session {} on {} ({}), begun at {}. Wait for it with `wait`, or give it up with `fence`",
        if alive.len() == 1 { "a session is".to_string() } else { format!("{} sessions are", alive.len()) },
        session.id,
        session.host,
        session.job,
        Timestamp(session.started)
    )
}
