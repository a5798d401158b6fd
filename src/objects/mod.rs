//! Snapshots and sessions in the store: listing, reading, committing, fencing.

mod folds;
mod labels;
mod lease;
pub mod order;
mod process;

pub use folds::{
    States, folded_committed, folded_name, folded_state_of, list_states, names_without_fold, read_history,
    read_one_history, state_of, unfold, write_history, write_names,
};
pub use labels::{Changes, StoredLabels, read_labels, write_labels};
pub use lease::{LEASE_MILLIS, Lease};
pub use process::{host, is_alive, is_gone, this_process};

use crate::crypto::sealed::{MAX_SEALED_BYTES, seal, unseal};
use crate::crypto::{Keys, random};
use crate::error::{Error, Result};
use crate::format::header::{ObjectKind, Suite};
use crate::format::hold::Hold;
use crate::format::plan::CollectionPlan;
use crate::format::session::Session;
use crate::format::snapshot::{MARKER_MAGIC, Manifest, SnapshotState};
use crate::format::{HoldId, PackId, SnapshotId, names, structured};
use crate::store::{Put, Store, put_new_for_certain};
use bytes::Bytes;
use std::collections::HashSet;

fn get(store: &dyn Store, name: &str) -> Result<Bytes> {
    store.get(name, MAX_SEALED_BYTES)?.ok_or_else(|| Error::Missing { object: name.into(), advice: String::new() })
}

/// Reads what is sealed in an object of this kind.
fn read_sealed(store: &dyn Store, keys: &Keys, kind: ObjectKind, name: &str) -> Result<Vec<u8>> {
    unseal(keys, kind, name, get(store, name)?).map_err(|error| error.of(name))
}

/// Reads a snapshot's manifest.
pub fn read_manifest(store: &dyn Store, keys: &Keys, id: SnapshotId) -> Result<Manifest> {
    let name = names::snapshot(&id);
    let value = unseal(keys, ObjectKind::Snapshot, &name, get(store, &name)?).map_err(|error| error.of(&name))?;
    Manifest::decode(id, &value).map_err(|error| error.of(&name))
}

/// Reads a session's object.
pub fn read_session(store: &dyn Store, keys: &Keys, id: SnapshotId) -> Result<Session> {
    let name = names::session(&id);
    let value = unseal(keys, ObjectKind::Session, &name, get(store, &name)?).map_err(|error| error.of(&name))?;
    Session::decode(id, &value).map_err(|error| error.of(&name))
}

/// The ids of all sessions.
pub fn list_sessions(store: &dyn Store) -> Result<Vec<SnapshotId>> {
    let listed = store.list(names::SESSIONS)?;
    Ok(listed.iter().filter_map(|object| names::parse_session(&object.key)).collect())
}

/// What to do about a plan that can't be read.
const DAMAGED_PLAN: &str = "It names packs that a prune is about to delete, so no backup can begin while it is \
                            pending; restores can. Once that collection's process has ended for certain, on whatever \
                            machine it ran, delete this object: packs that it condemned and that are still there are \
                            then as good as before";

/// The pending plans, or why one can't be read. A plan that was deleted since it was listed had done its work.
pub fn plans(store: &dyn Store, keys: &Keys) -> Result<Vec<(String, Result<CollectionPlan>)>> {
    let mut plans = Vec::new();
    for object in store.list(names::PLANS)? {
        let Some(session) = names::parse_plan(&object.key) else { continue };
        let bytes = match store.get(&object.key, MAX_SEALED_BYTES) {
            Ok(None) => continue,
            Ok(Some(bytes)) => Ok(bytes),
            Err(error) if error.is_of_one_object() => Err(error),
            Err(error) => return Err(error),
        };
        let plan = bytes.and_then(|bytes| {
            let value = unseal(keys, ObjectKind::Plan, &object.key, bytes);
            let plan = value.and_then(|value| CollectionPlan::decode(session, &value));
            plan.map_err(|error| error.of(&object.key))
        });
        plans.push((object.key, plan.map_err(|error| error.with_advice(DAMAGED_PLAN))));
    }
    Ok(plans)
}

/// The packs that the pending plans condemn. A plan that can't be read is an error: to guess what it condemns would be
/// to build on packs that are about to be deleted.
pub fn condemned(store: &dyn Store, keys: &Keys) -> Result<HashSet<PackId>> {
    let mut packs = HashSet::new();
    for (_, plan) in plans(store, keys)? {
        packs.extend(plan?.condemned);
    }
    Ok(packs)
}

/// The marker of a snapshot that was forgotten at `now`, in milliseconds since the Unix epoch.
pub fn marker(keys: &Keys, id: SnapshotId, now: u64) -> Result<Vec<u8>> {
    let text = [MARKER_MAGIC, now.to_le_bytes()].concat();
    let hash = keys.marker(&[&text[..], &id.0].concat())?;
    Ok([&text[..], &hash].concat())
}

/// Forgets a snapshot: overwrites its manifest with a marker. Its name stays taken for ever.
pub fn forget(store: &dyn Store, keys: &Keys, id: SnapshotId, now: u64) -> Result<()> {
    store.put(&names::snapshot(&id), &marker(keys, id, now)?)
}

/// The holds on snapshots, by their keys alone: a hold that can't be read holds too.
pub fn list_holds(store: &dyn Store, directory: &str) -> Result<Vec<(SnapshotId, HoldId)>> {
    let listed = store.list(directory)?;
    Ok(listed.iter().filter_map(|object| names::parse_hold(&object.key)).collect())
}

/// Reads a hold; `None` if it was released.
pub fn read_hold(store: &dyn Store, keys: &Keys, snapshot: SnapshotId, id: HoldId) -> Result<Option<Hold>> {
    let name = names::hold(&snapshot, &id);
    let Some(bytes) = store.get(&name, MAX_SEALED_BYTES)? else { return Ok(None) };
    let value = unseal(keys, ObjectKind::Hold, &name, bytes).map_err(|error| error.of(&name))?;
    Hold::decode(snapshot, id, &value).map(Some).map_err(|error| error.of(&name))
}

/// Places a hold. Whoever does looks afterwards whether the snapshot still exists.
pub fn place_hold(store: &dyn Store, keys: &Keys, suite: Suite, hold: &Hold) -> Result<()> {
    let (name, bytes) = sealed_hold(keys, suite, hold)?;
    put_named_at_random(store, &name, &bytes)
}

/// Creates an object whose name is random: if it is taken, the reply to an earlier try was lost.
fn put_named_at_random(store: &dyn Store, name: &str, bytes: &[u8]) -> Result<()> {
    put_new_for_certain(store, name, bytes)?;
    store.sync()
}

/// Writes a hold over one that is damaged.
pub fn renew_hold(store: &dyn Store, keys: &Keys, suite: Suite, hold: &Hold) -> Result<()> {
    let (name, bytes) = sealed_hold(keys, suite, hold)?;
    store.put(&name, &bytes)?;
    store.sync()
}

fn sealed_hold(keys: &Keys, suite: Suite, hold: &Hold) -> Result<(String, Vec<u8>)> {
    let name = names::hold(&hold.snapshot, &hold.id);
    let bytes = seal_object(keys, ObjectKind::Hold, suite, &name, hold)?;
    Ok((name, bytes))
}

/// Encodes and seals an object that has this name.
fn seal_object(
    keys: &Keys,
    kind: ObjectKind,
    suite: Suite,
    name: &str,
    object: &impl serde::Serialize,
) -> Result<Vec<u8>> {
    let value = structured::encode(object).map_err(|error| error.of(name))?;
    seal(keys, kind, suite, name, &value)
}

/// Fences a session that was not committed: nobody can commit it any more. Gives back whether the name was free.
pub fn fence(store: &dyn Store, id: SnapshotId) -> Result<bool> {
    Ok(store.put_new(&names::snapshot(&id), &[])? == Put::Created)
}

/// Refuses an object of a marker's size that is not this snapshot's marker.
pub fn check_marker(store: &dyn Store, keys: &Keys, id: SnapshotId) -> Result<()> {
    let name = names::snapshot(&id);
    let bytes = get(store, &name)?;
    let (text, hash) = bytes.split_at_checked(16).unwrap_or((&bytes, &[]));
    if !text.starts_with(&MARKER_MAGIC) || keys.marker(&[text, &id.0].concat())? != hash {
        return Err(Error::damaged(name, "it has the size of a forgotten snapshot's marker, and is none"));
    }
    Ok(())
}

/// A fresh id.
pub fn new_id() -> Result<SnapshotId> {
    random().map(SnapshotId)
}

/// The commit: creates the snapshot, once, if its name is free. A name that is taken by this very manifest means that
/// an earlier reply was lost; a fence means that the session lost. Once the snapshot is created it is no failure that
/// the folds can't be read: the error is given back.
pub fn commit_snapshot(store: &dyn Store, keys: &Keys, suite: Suite, manifest: &Manifest) -> Result<Option<Error>> {
    let name = names::snapshot(&manifest.id);
    take_name(store, keys, manifest.id, &seal_object(keys, ObjectKind::Snapshot, suite, &name, manifest)?)
}

/// The commit of a session that leaves no snapshot, such as a collection: its name is taken by a marker, once, if it is
/// free. From then on its index segments count.
pub fn commit_without_snapshot(store: &dyn Store, keys: &Keys, id: SnapshotId, now: u64) -> Result<()> {
    // One that can't tell whether it was fenced deletes nothing: the next one goes on from its plan.
    take_name(store, keys, id, &marker(keys, id, now)?)?.map_or(Ok(()), Err)
}

/// Creates the object under a session's name in `snapshots/`, once everything before it is on the disk. A session that
/// slept until its fence was folded finds its name free, and in a fold: what it created there counts for nobody. Gives
/// back why the folds could not be read, if so.
fn take_name(store: &dyn Store, keys: &Keys, id: SnapshotId, bytes: &[u8]) -> Result<Option<Error>> {
    let name = names::snapshot(&id);
    // Whatever came before the commit must be on the disk before it.
    store.sync()?;
    // After most errors nobody knows whether the commit is there. Asked again, the store says so.
    let is_own = put_new_for_certain(store, &name, bytes)? == Put::Created;
    match if is_own { folded_state_of(store, keys, &id) } else { Ok(Some(SnapshotState::Fenced)) } {
        Ok(None) => Ok(None),
        Ok(Some(_)) => Err(Error::Fenced { session: id.to_string() }),
        Err(error) => Ok(Some(error)),
    }
}
