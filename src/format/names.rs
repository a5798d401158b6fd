//! The keys under which objects stand in the store. Names reveal no content.

use super::ids::{FoldId, HoldId, KeyId, PackId, SnapshotId, TagsId};

/// The repository's config.
pub const CONFIG: &str = "config";
/// The directory of key slots.
pub const KEYS: &str = "keys/";
/// The directory of packs.
pub const PACKS: &str = "packs/";
/// The directory of index segments.
pub const INDEX: &str = "index/";
/// The directory of sessions.
pub const SESSIONS: &str = "sessions/";
/// The directory of snapshots, fences and markers.
pub const SNAPSHOTS: &str = "snapshots/";
/// The directory of collection plans.
pub const PLANS: &str = "gc/";
/// The directory of holds.
pub const HOLDS: &str = "holds/";
/// The directory of changes to labels.
pub const TAGS: &str = "tags/";
/// The directory of folded names.
pub const FOLDS: &str = "folds/";
/// The directory of the history of folded sessions.
pub const HISTORY: &str = "history/";

/// The directory of objects with which a store is tried.
pub const PROBES: &str = "probes/";

/// An object with which a store is tried.
pub fn probe(id: &str) -> String {
    format!("{PROBES}{id}")
}

/// A key slot.
pub fn key(id: &KeyId) -> String {
    format!("{KEYS}{id}")
}

/// A pack: two hexadecimal digits of the id make the directory.
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

/// A collection's plan.
pub fn plan(session: &SnapshotId) -> String {
    format!("{PLANS}{session}")
}

/// The directory of a snapshot's holds.
pub fn holds_of(snapshot: &SnapshotId) -> String {
    format!("{HOLDS}{snapshot}/")
}

/// A hold on a snapshot.
pub fn hold(snapshot: &SnapshotId, id: &HoldId) -> String {
    format!("{HOLDS}{snapshot}/{id}")
}

/// The directory of the changes to a snapshot's labels.
pub fn tags_of(snapshot: &SnapshotId) -> String {
    format!("{TAGS}{snapshot}/")
}

/// Changes of a snapshot's labels.
pub fn tags(snapshot: &SnapshotId, id: &TagsId) -> String {
    format!("{TAGS}{snapshot}/{id}")
}

/// Folded names.
pub fn fold(id: &FoldId) -> String {
    format!("{FOLDS}{id}")
}

/// The history of folded sessions.
pub fn history(id: &FoldId) -> String {
    format!("{HISTORY}{id}")
}

/// The id in a key slot's key. Like all of these, `None` for any other spelling than the one that is written: one
/// object has one key.
pub fn parse_key(name: &str) -> Option<KeyId> {
    let id = KeyId::from_hex(name.strip_prefix(KEYS)?)?;
    (key(&id) == name).then_some(id)
}

/// The id in a pack's key.
pub fn parse_pack(name: &str) -> Option<PackId> {
    let (_, hex) = name.strip_prefix(PACKS)?.split_once('/')?;
    let id = PackId::from_hex(hex)?;
    (pack(&id) == name).then_some(id)
}

/// The session and number in an index segment's key.
pub fn parse_index_segment(name: &str) -> Option<(SnapshotId, u32)> {
    let (session, n) = name.strip_prefix(INDEX)?.split_once('/')?;
    let (session, n) = (SnapshotId::from_hex(session)?, n.parse().ok()?);
    (index_segment(&session, n) == name).then_some((session, n))
}

/// The id in a session's key.
pub fn parse_session(name: &str) -> Option<SnapshotId> {
    let id = SnapshotId::from_hex(name.strip_prefix(SESSIONS)?)?;
    (session(&id) == name).then_some(id)
}

/// The id in a snapshot's key.
pub fn parse_snapshot(name: &str) -> Option<SnapshotId> {
    let id = SnapshotId::from_hex(name.strip_prefix(SNAPSHOTS)?)?;
    (snapshot(&id) == name).then_some(id)
}

/// The session in a plan's key.
pub fn parse_plan(name: &str) -> Option<SnapshotId> {
    let id = SnapshotId::from_hex(name.strip_prefix(PLANS)?)?;
    (plan(&id) == name).then_some(id)
}

/// The snapshot and the id in a hold's key.
pub fn parse_hold(name: &str) -> Option<(SnapshotId, HoldId)> {
    let (snapshot, id) = name.strip_prefix(HOLDS)?.split_once('/')?;
    let (snapshot, id) = (SnapshotId::from_hex(snapshot)?, HoldId::from_hex(id)?);
    (hold(&snapshot, &id) == name).then_some((snapshot, id))
}

/// The snapshot and the id in the key of changes to labels.
pub fn parse_tags(name: &str) -> Option<(SnapshotId, TagsId)> {
    let (snapshot, id) = name.strip_prefix(TAGS)?.split_once('/')?;
    let (snapshot, id) = (SnapshotId::from_hex(snapshot)?, TagsId::from_hex(id)?);
    (tags(&snapshot, &id) == name).then_some((snapshot, id))
}

/// The id in the key of folded names.
pub fn parse_fold(name: &str) -> Option<FoldId> {
    let id = FoldId::from_hex(name.strip_prefix(FOLDS)?)?;
    (fold(&id) == name).then_some(id)
}

/// The id in the key of a history of folded sessions.
pub fn parse_history(name: &str) -> Option<FoldId> {
    let id = FoldId::from_hex(name.strip_prefix(HISTORY)?)?;
    (history(&id) == name).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_give_back_what_they_were_made_of() {
        let (id, pack_id) = (SnapshotId([0xab; 16]), PackId([0xcd; 32]));
        assert_eq!(parse_key(&key(&KeyId([0xab; 16]))), Some(KeyId([0xab; 16])));
        assert_eq!(parse_pack(&pack(&pack_id)), Some(pack_id));
        for n in [0, 7, 10, u32::MAX] {
            assert_eq!(parse_index_segment(&index_segment(&id, n)), Some((id, n)));
        }
        assert_eq!(parse_session(&session(&id)), Some(id));
        assert_eq!(parse_snapshot(&snapshot(&id)), Some(id));
        assert_eq!(parse_plan(&plan(&id)), Some(id));
        assert_eq!(parse_hold(&hold(&id, &HoldId([0xef; 16]))), Some((id, HoldId([0xef; 16]))));
        assert!(hold(&id, &HoldId([0xef; 16])).starts_with(&holds_of(&id)));
        assert_eq!(parse_tags(&tags(&id, &TagsId([0xef; 16]))), Some((id, TagsId([0xef; 16]))));
        assert!(tags(&id, &TagsId([0xef; 16])).starts_with(&tags_of(&id)));
        assert_eq!(parse_fold(&fold(&FoldId([0xef; 16]))), Some(FoldId([0xef; 16])));
        assert_eq!(parse_history(&history(&FoldId([0xef; 16]))), Some(FoldId([0xef; 16])));
    }

    #[test]
    fn another_spelling_of_a_key_is_no_key() {
        let (id, pack_id) = ("ab".repeat(16), "cd".repeat(32));
        for n in ["00", "01", "+1", "-0", " 1", "1/", "4294967296", ""] {
            assert_eq!(parse_index_segment(&format!("index/{id}/{n}")), None, "{n}");
        }
        assert_eq!(parse_index_segment(&format!("index/{}/1", id.to_uppercase())), None);
        assert_eq!(parse_index_segment(&format!("index/x/{id}/1")), None);
        for name in ["snapshots/x/", "snapshots//", "snapshots", "sessions/"] {
            assert_eq!(parse_snapshot(&format!("{name}{id}")), None, "{name}");
        }
        assert_eq!(parse_snapshot(&format!("snapshots/{}", id.to_uppercase())), None);
        assert_eq!(parse_session(&format!("sessions/a/{id}")), None);
        assert_eq!(parse_key(&format!("keys/a/{id}")), None);
        assert_eq!(parse_plan(&format!("gc/{id}/")), None);
        assert_eq!(parse_fold(&format!("folds/{}", id.to_uppercase())), None);
        assert_eq!(parse_history(&format!("history//{id}")), None);
        for name in [format!("holds/{id}"), format!("holds/{id}/{id}/"), format!("holds/{id}/{}", id.to_uppercase())] {
            assert_eq!(parse_hold(&name), None, "{name}");
            assert_eq!(parse_tags(&name.replace("holds", "tags")), None, "{name}");
        }
        for directory in ["ab/", "", "c/", "cd/cd/", "CD/"] {
            assert_eq!(parse_pack(&format!("packs/{directory}{pack_id}")), None, "{directory}");
        }
    }
}
