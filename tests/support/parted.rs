//! A repository in which each chunk is in a pack of its own, so that each can be lost alone.

use super::world::manifests;
use aerolith::format::{PackId, names};
use aerolith::internals::chunks::{ChunkReader, ChunkWriter, WriteOptions};
use aerolith::internals::index::{Index, IndexedPack, write_segments};
use aerolith::internals::pack::read_directory;
use aerolith::{Control, Repository};
use std::collections::HashSet;
use std::sync::Arc;

/// Writes each chunk into a pack of its own; gives back those packs.
pub fn part(repository: &Repository) -> Vec<IndexedPack> {
    let (store, keys, parameters) = (repository.store(), repository.keys(), repository.parameters());
    let nothing = Arc::new(Index::open(&**store, keys, |_| false, HashSet::new()).unwrap());
    let knows_nothing = Arc::new(ChunkReader::new(store.clone(), keys.clone(), nothing, 1 << 20));
    let options = WriteOptions { suite: parameters.suite, compression: parameters.compression, pack_bytes: 1 };
    let writer = ChunkWriter::new(knows_nothing, HashSet::new(), options, Control::new());
    let reader = repository.chunk_reader().unwrap();
    let old = store.list(names::PACKS).unwrap();
    for object in &old {
        let id = names::parse_pack(&object.key).unwrap();
        let (pack, rows) = read_directory(&**store, keys, id, object.size).unwrap();
        for row in rows {
            writer.put(pack.class(), &reader.read(&row.id, pack.class()).unwrap()).unwrap();
        }
    }
    let packs = writer.finish().unwrap();
    assert!(packs.iter().all(|(_, _, rows)| rows.len() == 1));
    old.iter().for_each(|object| store.delete(&object.key).unwrap());
    index(repository, &packs);
    packs
}

/// Has the index name these packs alone.
fn index(repository: &Repository, packs: &[IndexedPack]) {
    let (store, suite) = (&**repository.store(), repository.parameters().suite);
    store.list(names::INDEX).unwrap().iter().for_each(|object| store.delete(&object.key).unwrap());
    for manifest in manifests(repository) {
        let (segments, _) = write_segments(store, repository.keys(), suite, &manifest.id, packs.to_vec()).unwrap();
        assert_eq!(segments, manifest.index_segments);
    }
}

/// Loses one of the packs, and what the index says of it, as if a collection had taken it for garbage.
pub fn lose(repository: &Repository, packs: &[IndexedPack], lost: &PackId) {
    repository.store().delete(&names::pack(lost)).unwrap();
    let others: Vec<IndexedPack> = packs.iter().filter(|(id, _, _)| id != lost).cloned().collect();
    index(repository, &others);
}
