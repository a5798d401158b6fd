//! The keys under which objects stand in the store. Names reveal no content.

use super::ids::{KeyId, PackId, SnapshotId};

/// The repository's config.
pub const CONFIG: &str = "config";
/// The folder of key slots.
pub const KEYS: &str = "keys/";
/// The folder of packs.
pub const PACKS: &str = "packs/";
/// The folder of index segments.
pub const INDEX: &str = "index/";
/// The folder of sessions.
pub const SESSIONS: &str = "sessions/";
/// The folder of snapshots, fences and markers.
pub const SNAPSHOTS: &str = "snapshots/";
/// The folder of collection plans.
pub const PLANS: &str = "gc/";

/// A key slot.
pub fn key(id: &KeyId) -> String {
    format!("{KEYS}{id}")
}

/// A pack: two hexadecimal digits of the id make the folder.
pub fn pack(id: &PackId) -> String {
    let hex = id.to_string();
    format!("{PACKS}{}/{hex}", hex.get(..2).unwrap_or_default())
}

/// The `n`th index segment of a session.
pub fn index_segment(session: &SnapshotId, n: u32) -> String {
    format!("{INDEX}{session}/{n}")
}

/// A session.
pub fn session(id: &SnapshotId) -> String {
    format!("{SESSIONS}{id}")
}

/// A snapshot, fence or marker.
pub fn snapshot(id: &SnapshotId) -> String {
    format!("{SNAPSHOTS}{id}")
}

/// The last segment of a key, which is the object's id.
pub fn last(key: &str) -> &str {
    key.rsplit('/').next().unwrap_or(key)
}

/// The session and number of an index segment's key.
pub fn parse_index_segment(key: &str) -> Option<(SnapshotId, u32)> {
    let (session, n) = key.strip_prefix(INDEX)?.split_once('/')?;
    Some((SnapshotId::from_hex(session)?, n.parse().ok()?))
}
