//! Branch nodes: the inner nodes of a run's tree. Those just above the leaves also say which value chunks each leaf
//! uses, so that collection and inspection never read a leaf.
//!
//! ```text
//! level     u8, 1 = the children are leaves
//! chunks    varint count, at most 262,144; each: 32 bytes, each once, in the order of their first use; none above
//!           level 1
//! children  varint count, 1 to 4096; each:
//!   first   20 bytes: the digest of its first entry
//!   id      32 bytes: its chunk
//!   entries varint, at least 1, tombstones included; of all children less than 2^56
//!   tombstones varint
//!   uses    varint count, of all children at most 262,144; each: varint, a number in the table of chunks, each once
//!           (level 1 only)
//! ```

use super::ids::ChunkId;
use super::{FormatError, take_array, take_slice, take_u8, take_varint};
use crate::record::Digest;
use crate::record::varint::put;
use std::collections::{HashMap, HashSet};

/// The most children of one node.
pub const MAX_CHILDREN: usize = 4096;
/// The most levels of branch nodes.
pub const MAX_LEVEL: u8 = 16;
/// The most uses of value chunks that the children of one node have together.
pub const MAX_USES: usize = 1 << 18;
const MAX_BELOW: u64 = u64::MAX >> 8;

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

/// Decodes a node; its level must be `level`. What decodes encodes to the same bytes.
///
/// # Errors
///
/// If the bytes are not those that the format defines; the error says what was expected and what was found.
pub fn decode(level: u8, mut bytes: &[u8]) -> Result<Node, FormatError> {
    let input = &mut bytes;
    let found = take_u8(input, "a branch node")?;
    if found != level || !(1..=MAX_LEVEL).contains(&found) {
        return Err(FormatError::field("a branch node's level", level, found));
    }
    let limit = if level == 1 { MAX_USES as u64 } else { 0 };
    let count = take_varint(input, limit, "the number of chunks")? as usize;
    let (chunks, _) =
        take_slice(input, count * ChunkId::BYTES, "the table of chunks")?.as_chunks::<{ ChunkId::BYTES }>();
    let mut table = Table::new(chunks)?;
    let children = take_varint(input, MAX_CHILDREN as u64, "the number of children")?;
    let mut node = Node { level, children: Vec::new() };
    let mut below = 0u64;
    for _ in 0..children {
        let first = Digest(take_array(input, "a child")?);
        let id = ChunkId(take_array(input, "a child")?);
        let entries = take_varint(input, MAX_BELOW, "a child's entries")?;
        below = below.saturating_add(entries);
        if entries == 0 || below > MAX_BELOW {
            return Err(FormatError::field("the children's entries", "at least 1 each, less than 2^56 in all", below));
        }
        let tombstones = take_varint(input, entries, "a child's tombstones")?;
        let uses = if level == 1 { table.take_uses(input)? } else { Vec::new() };
        if node.children.last().is_some_and(|last: &Child| last.first.sort_key() >= first.sort_key()) {
            return Err(FormatError::field("the children", "ascending by first digest", "another order"));
        }
        node.children.push(Child { first, id, entries, tombstones, uses });
    }
    if table.used < count {
        return Err(FormatError::field(
            "the table of chunks",
            format_args!("{} chunks that are used", table.used),
            count,
        ));
    }
    if node.children.is_empty() || !input.is_empty() {
        return Err(FormatError::field("a branch node", "children and nothing after them", input.len()));
    }
    Ok(node)
}

/// The table of chunks of a node that is decoded.
struct Table<'a> {
    chunks: &'a [[u8; ChunkId::BYTES]],
    /// For each chunk the child, from 1, that used it last.
    users: Vec<u32>,
    child: u32,
    /// How many chunks were used: the next that is used for the first time has this number.
    used: usize,
    uses: usize,
}

impl<'a> Table<'a> {
    fn new(chunks: &'a [[u8; ChunkId::BYTES]]) -> Result<Self, FormatError> {
        let mut seen = HashSet::with_capacity(chunks.len());
        if !chunks.iter().all(|id| seen.insert(id)) {
            return Err(FormatError::field("the table of chunks", "each chunk once", "one that is there twice"));
        }
        Ok(Table { chunks, users: vec![0; chunks.len()], child: 0, used: 0, uses: 0 })
    }

    /// Takes the uses of the next child.
    fn take_uses(&mut self, input: &mut &[u8]) -> Result<Vec<ChunkId>, FormatError> {
        let count = self.chunks.len();
        let length = take_varint(input, count as u64, "the number of chunks used")? as usize;
        self.child += 1;
        self.uses += length;
        if self.uses > MAX_USES {
            return Err(FormatError::field("the uses of chunks", format_args!("at most {MAX_USES}"), self.uses));
        }
        let mut uses = Vec::with_capacity(length.min(input.len()));
        for _ in 0..length {
            // A number beyond the table is refused as one that is out of order is.
            let number = take_varint(input, self.used as u64, "a chunk's number")? as usize;
            let (Some(id), Some(user)) = (self.chunks.get(number), self.users.get_mut(number)) else {
                return Err(FormatError::field("a chunk's number", format_args!("less than {count}"), number));
            };
            if std::mem::replace(user, self.child) == self.child {
                return Err(FormatError::field("a child's uses", "each chunk once", format_args!("{number} twice")));
            }
            self.used += usize::from(number == self.used);
            uses.push(ChunkId(*id));
        }
        Ok(uses)
    }
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
                (any::<u8>(), 1u64..1 << 40, proptest::collection::vec(0u8..5, 0..4)), 1..30),
        ) {
            let mut children: Vec<Child> = rows.into_iter().map(|(first, (id, entries, uses))| Child {
                first: Digest(first), id: ChunkId([id; 32]), entries, tombstones: entries / 3,
                uses: if level == 1 { uses.into_iter().map(|n| ChunkId([n; 32])).collect() } else { Vec::new() },
            }).collect();
            children.sort_by_key(|child| child.first.sort_key());
            let node = Node { level, children };
            let distinct = |c: &Child| c.uses.iter().collect::<std::collections::HashSet<_>>().len() == c.uses.len();
            prop_assume!(node.children.iter().all(distinct));
            prop_assert_eq!(decode(level, &encode(&node)).unwrap(), node);
        }

        #[test]
        fn never_panics_on_arbitrary_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode(1, &bytes);
        }
    }

    fn leaf(n: u32, entries: u64, uses: Vec<ChunkId>) -> Child {
        let mut first = [0; 20];
        first[16..].copy_from_slice(&n.to_be_bytes());
        Child { first: Digest(first), id: ChunkId([9; 32]), entries, tombstones: 0, uses }
    }

    fn chunk(n: u32) -> ChunkId {
        let mut id = [0; 32];
        id[..4].copy_from_slice(&n.to_be_bytes());
        ChunkId(id)
    }

    fn refused(level: u8, bytes: &[u8], word: &str) {
        let error = decode(level, bytes).unwrap_err().to_string();
        assert!(error.contains(word), "{word}: {error}");
    }

    #[test]
    fn takes_as_many_uses_as_the_limit_and_no_more() {
        let uses: Vec<ChunkId> = (0..MAX_USES as u32 / 2).map(chunk).collect();
        let mut node = Node { level: 1, children: vec![leaf(0, 1, uses.clone()), leaf(1, 1, uses.clone())] };
        assert_eq!(decode(1, &encode(&node)).unwrap(), node);
        node.children.push(leaf(2, 1, vec![chunk(0)]));
        refused(1, &encode(&node), "the uses of chunks");
    }

    #[test]
    fn a_table_above_level_1_unused_repeated_or_out_of_order_is_refused() {
        let (a, b) = (chunk(1).0, chunk(2).0);
        let child = |n: u8, uses: &[u8]| [&[0; 19][..], &[n], &[9; 32], &[1, 0], uses].concat();
        let node = |level: u8, table: &[[u8; 32]], children: &[Vec<u8>]| {
            [&[level, table.len() as u8], &table.concat()[..], &[children.len() as u8], &children.concat()].concat()
        };
        let good = node(1, &[a, b], &[child(0, &[1, 0]), child(1, &[2, 1, 0])]);
        assert_eq!(encode(&decode(1, &good).unwrap()), good);
        refused(2, &node(2, &[a], &[child(0, &[])]), "the number of chunks");
        refused(1, &node(1, &[a, b], &[child(0, &[1, 0])]), "that are used");
        refused(1, &node(1, &[a, a], &[child(0, &[2, 0, 1])]), "each chunk once");
        refused(1, &node(1, &[a, b], &[child(0, &[2, 0, 0])]), "0 twice");
        refused(1, &node(1, &[a, b], &[child(0, &[2, 1, 0])]), "a chunk's number");
        refused(1, &node(1, &[a], &[child(0, &[1, 1])]), "a chunk's number");
    }

    #[test]
    fn empty_children_and_more_entries_than_any_run_has_are_refused() {
        let node = |counts: &[u64]| {
            let children = counts.iter().enumerate().map(|(n, &entries)| leaf(n as u32, entries, Vec::new()));
            encode(&Node { level: 2, children: children.collect() })
        };
        assert!(decode(2, &node(&[MAX_BELOW])).is_ok());
        refused(2, &node(&[1, 0]), "entries");
        refused(2, &node(&[MAX_BELOW, 1]), "entries");
    }
}
