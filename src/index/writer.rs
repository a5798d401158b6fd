//! Writing index segments.

use crate::crypto::{Keys, Sealer};
use crate::error::{Error, Result};
use crate::format::header::{Class, ObjectKind, Suite};
use crate::format::index::{
    BLOCK_ROWS, IndexRow, MAX_ROWS, SegmentDirectory, SegmentTrailer, associated_data, encode_block,
};
use crate::format::pack::DirectoryRow;
use crate::format::{FormatError, PackId, SnapshotId, names};
use crate::store::{Put, Store};
use std::collections::HashMap;

/// A segment whose rows were joined into another: its session and its number.
pub type Joined = (SnapshotId, u32);

/// A pack that a session's index shall name: id, size in bytes, and what is in it.
pub type IndexedPack = (PackId, u64, Vec<DirectoryRow>);

/// Encodes and seals one segment, which will stand under the key `name`, with a sealer made for it alone. Rows need not
/// be sorted.
pub fn encode_segment(
    sealer: &Sealer,
    name: &str,
    packs: &[IndexedPack],
    joined: &[Joined],
) -> Result<Vec<u8>, FormatError> {
    let mut rows: Vec<IndexRow> = packs
        .iter()
        .enumerate()
        .flat_map(|(n, (_, _, rows))| {
            rows.iter().map(move |row| IndexRow { id: row.id, pack: n as u32, place: row.place })
        })
        .collect();
    rows.sort_by_key(|row| (row.id, row.pack));
    let mut bytes = sealer.header().encode().to_vec();
    let mut fences = Vec::new();
    let mut seal = |plain: &[u8], part: u8| -> Result<usize, FormatError> {
        let at = bytes.len();
        bytes.extend_from_slice(plain);
        sealer.seal(at as u64, &associated_data(part, name), &mut bytes, at)?;
        Ok(at)
    };
    for block in rows.chunks(BLOCK_ROWS) {
        seal(&encode_block(block), b'b')?;
        if let Some((head, _)) = block.first().and_then(|row| row.id.0.split_first_chunk::<8>()) {
            fences.push(u64::from_be_bytes(*head));
        }
    }
    let table = packs.iter().map(|(id, size, _)| (*id, *size)).collect();
    let count = joined.len() as u32;
    let directory = seal(&SegmentDirectory { packs: table, fences, joined: joined.to_vec() }.encode(), b'd')?;
    let (rows, packs) = (rows.len() as u32, packs.len() as u32);
    let trailer = SegmentTrailer { directory: directory as u64, rows, packs, joined: count };
    seal(&trailer.encode(), b't')?;
    Ok(bytes)
}

/// Writes the segments that name these packs, as many as it takes; gives back their number and their bytes.
pub fn write_segments(
    store: &dyn Store,
    keys: &Keys,
    suite: Suite,
    session: &SnapshotId,
    packs: Vec<IndexedPack>,
) -> Result<(u32, u64)> {
    let (mut number, mut stored) = (0, 0);
    let mut group: HashMap<PackId, IndexedPack> = HashMap::new();
    let mut rows = 0;
    let mut packs = packs.into_iter().peekable();
    while let Some(pack) = packs.next() {
        rows += pack.2.len();
        if !pack.2.is_empty() {
            group.insert(pack.0, pack);
        }
        let full = packs.peek().is_some_and(|next| rows + next.2.len() > MAX_ROWS as usize);
        if (full || packs.peek().is_none()) && !group.is_empty() {
            let table = group.drain().map(|(_, pack)| pack).collect();
            stored += write_segment(store, keys, suite, (*session, number), table, &[])?;
            number += 1;
            rows = 0;
        }
    }
    Ok((number, stored))
}

/// Writes one segment of a session with the rows of others, and names those of them that belong to snapshots.
///
/// # Errors
///
/// Those of the store.
pub fn write_joined(
    store: &dyn Store,
    keys: &Keys,
    suite: Suite,
    (session, number): Joined,
    packs: Vec<IndexedPack>,
    joined: &[Joined],
) -> Result<()> {
    // A pack's rows are all in one segment, so where several name it they say the same.
    let packs: HashMap<PackId, IndexedPack> =
        packs.into_iter().filter(|(_, _, rows)| !rows.is_empty()).map(|pack| (pack.0, pack)).collect();
    if packs.is_empty() && joined.is_empty() {
        return Ok(());
    }
    write_segment(store, keys, suite, (session, number), packs.into_values().collect(), joined).map(|_| ())
}

fn write_segment(
    store: &dyn Store,
    keys: &Keys,
    suite: Suite,
    (session, number): Joined,
    mut packs: Vec<IndexedPack>,
    joined: &[Joined],
) -> Result<u64> {
    let name = names::index_segment(&session, number);
    let sealer = Sealer::create(keys, ObjectKind::Index, Class::Index, suite)?;
    packs.sort_by_key(|pack| pack.0);
    let bytes = encode_segment(&sealer, &name, &packs, joined).map_err(|error| error.of(&name))?;
    if store.put_new(&name, &bytes)? == Put::Exists {
        return Err(Error::damaged(name, "it exists already, though its session is new"));
    }
    Ok(bytes.len() as u64)
}
