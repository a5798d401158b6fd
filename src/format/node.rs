//! Branch nodes: the inner nodes of a run's tree. Those just above the leaves also say which value chunks each leaf uses, so
//! that collection and inspection never read a leaf.
//!
//! ```text
//! level     u8, 1 = the children are leaves
//! chunks    varint count; each: 32 bytes (none above level 1)
//! children  varint count, 1 to 4096; each:
//!   first   20 bytes: the digest of its first entry
//!   id      32 bytes: its chunk
//!   entries varint, tombstones included
//!   tombstones varint
//!   uses    varint count; each: varint, a number in the table of chunks (level 1 only)
//! ```

use super::ids::ChunkId;
use super::{FormatError, take_array, take_slice, take_u8, take_varint};
use crate::record::Digest;
use crate::record::varint::put;
use std::collections::HashMap;

/// The most children of one node.
pub const MAX_CHILDREN: usize = 4096;
/// The most levels of branch nodes.
pub const MAX_LEVEL: u8 = 16;
const MAX_CHUNKS: u64 = 1 << 18;

/// One child of a branch node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Child {
    /// The digest of its first entry.
    pub first: Digest,
    /// Its chunk.
    pub id: ChunkId,
    /// How many entries are below it, tombstones included.
    pub entries: u64,
    /// How many of them are tombstones.
    pub tombstones: u64,
    /// The value chunks that it uses, if it is a leaf.
    pub uses: Vec<ChunkId>,
}

/// A branch node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Node {
    /// 1 if the children are leaves, else one more than theirs.
    pub level: u8,
    /// The children, ascending by first key.
    pub children: Vec<Child>,
}

/// Encodes a node.
pub fn encode(node: &Node) -> Vec<u8> {
    let mut chunks: Vec<ChunkId> = Vec::new();
    let mut numbers: HashMap<ChunkId, u64> = HashMap::new();
    let mut body = Vec::new();
    put(&mut body, node.children.len() as u64);
    for child in &node.children {
        body.extend_from_slice(&child.first.0);
        body.extend_from_slice(&child.id.0);
        put(&mut body, child.entries);
        put(&mut body, child.tombstones);
        if node.level == 1 {
            put(&mut body, child.uses.len() as u64);
            for id in &child.uses {
                let number = *numbers.entry(*id).or_insert_with(|| {
                    chunks.push(*id);
                    chunks.len() as u64 - 1
                });
                put(&mut body, number);
            }
        }
    }
    let mut out = vec![node.level];
    put(&mut out, chunks.len() as u64);
    chunks.iter().for_each(|id| out.extend_from_slice(&id.0));
    out.extend_from_slice(&body);
    out
}

/// Decodes a node; its level must be `level`.
pub fn decode(level: u8, mut bytes: &[u8]) -> Result<Node, FormatError> {
    let input = &mut bytes;
    let found = take_u8(input, "a branch node")?;
    if found != level || !(1..=MAX_LEVEL).contains(&found) {
        return Err(FormatError::field("a branch node's level", level, found));
    }
    let count = take_varint(input, MAX_CHUNKS, "the number of chunks")? as usize;
    let (chunks, _) =
        take_slice(input, count * ChunkId::BYTES, "the table of chunks")?.as_chunks::<{ ChunkId::BYTES }>();
    let children = take_varint(input, MAX_CHILDREN as u64, "the number of children")?;
    let mut node = Node { level, children: Vec::with_capacity(children as usize) };
    for _ in 0..children {
        let first = Digest(take_array(input, "a child")?);
        let id = ChunkId(take_array(input, "a child")?);
        let entries = take_varint(input, u64::MAX >> 8, "a child's entries")?;
        let tombstones = take_varint(input, entries, "a child's tombstones")?;
        let mut uses = Vec::new();
        if level == 1 {
            for _ in 0..take_varint(input, count as u64, "the number of chunks used")? {
                let number = take_varint(input, count as u64, "a chunk's number")? as usize;
                let chunk = chunks
                    .get(number)
                    .ok_or_else(|| FormatError::field("a chunk's number", format_args!("less than {count}"), number))?;
                uses.push(ChunkId(*chunk));
            }
        }
        if node.children.last().is_some_and(|last: &Child| last.first.sort_key() >= first.sort_key()) {
            return Err(FormatError::field("the children", "ascending by first digest", "another order"));
        }
        node.children.push(Child { first, id, entries, tombstones, uses });
    }
    if node.children.is_empty() || !input.is_empty() {
        return Err(FormatError::field("a branch node", "children and nothing behind them", input.len()));
    }
    Ok(node)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn gives_back_the_children_it_was_given(
            level in 1u8..3,
            rows in proptest::collection::btree_map(any::<[u8; 20]>(),
                (any::<u8>(), 0u64..1 << 40, proptest::collection::vec(0u8..5, 0..4)), 1..30),
        ) {
            let mut children: Vec<Child> = rows.into_iter().map(|(first, (id, entries, uses))| Child {
                first: Digest(first), id: ChunkId([id; 32]), entries, tombstones: entries / 3,
                uses: if level == 1 { uses.into_iter().map(|n| ChunkId([n; 32])).collect() } else { Vec::new() },
            }).collect();
            children.sort_by_key(|child| child.first.sort_key());
            let node = Node { level, children };
            // A leaf that names a chunk twice cannot be told from one that names it more often than the table is long.
            let distinct = |c: &Child| c.uses.iter().collect::<std::collections::HashSet<_>>().len() == c.uses.len();
            prop_assume!(node.children.iter().all(distinct));
            prop_assert_eq!(decode(level, &encode(&node)).unwrap(), node);
        }

        #[test]
        fn never_panics_on_arbitrary_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode(1, &bytes);
        }
    }
}
