//! The scenes that are searched through: who takes part, and what exists at the beginning.

use super::model::{Old, Scene};
use super::state::{Chunks, Name, Set};

pub const A: Chunks = 1;
pub const B: Chunks = 2;
pub const AB: Chunks = 3;
pub const C: Chunks = 4;
pub const ABC: Chunks = 7;

/// The user may forget any snapshot: those of the beginning and those of the writers.
const ANY: Set = 0b1111;

const fn old(name: Name, pack: Chunks, needs: Chunks) -> Old {
    Old { name, pack, needs }
}

/// The first was forgotten; its pack holds two chunks, of which the second still needs one.
const SHARED: [Old; 2] = [old(Name::Marker, AB, 0), old(Name::Committed, 0, B)];
/// Both exist, and share a pack.
const EXISTING: [Old; 2] = [old(Name::Committed, AB, AB), old(Name::Committed, 0, B)];
/// One exists, without a chunk that writers need: they have something to upload.
const PART: [Old; 2] = [old(Name::Committed, A, A), old(Name::Free, 0, 0)];
/// One exists, and the other was forgotten, and has nothing that anybody needs.
const FORGOTTEN: [Old; 2] = [old(Name::Committed, A, A), old(Name::Marker, 0, 0)];
/// Both exist, each with a copy of the same chunk.
const COPIES: [Old; 2] = [old(Name::Committed, A, A), old(Name::Committed, A, A)];
/// A pack of three chunks, of which two are needed: what is moved out of it must be moved again once the first goes.
const TWICE: [Old; 2] = [old(Name::Committed, ABC, A), old(Name::Committed, 0, B)];
/// A pack that is partly needed, and one that nobody needs.
const JOINED: [Old; 2] = [old(Name::Marker, AB, 0), old(Name::Committed, C, A)];

const BASE: Scene = Scene {
    old: SHARED,
    writers: [0, 0],
    resume: false,
    collectors: 0,
    joins_packs: false,
    reader: false,
    forgets: ANY,
    damage: false,
    joins_kept: false,
    folds: false,
    ends_clean: true,
};

pub const WRITER: Scene = Scene { writers: [AB, 0], collectors: 1, joins_packs: true, ..BASE };
pub const WRITER_EXISTING: Scene = Scene { old: EXISTING, ..WRITER };
pub const WRITER_PART: Scene = Scene { old: PART, ..WRITER };
pub const WRITERS: Scene = Scene { writers: [AB, B], collectors: 1, joins_packs: true, ..BASE };
pub const WRITERS_PART: Scene = Scene { old: PART, ..WRITERS };
pub const RESUMING: Scene = Scene { writers: [AB, AB], resume: true, collectors: 1, ..BASE };
pub const RESUMING_PART: Scene = Scene { old: PART, ..RESUMING };
pub const COLLECTORS: Scene = Scene { collectors: 2, ..BASE };
pub const COLLECTORS_EXISTING: Scene = Scene { old: EXISTING, joins_packs: true, ..COLLECTORS };
pub const COLLECTORS_COPIES: Scene = Scene { old: COPIES, ..COLLECTORS };
pub const READER: Scene = Scene { reader: true, ..WRITER };
pub const READER_PART: Scene = Scene { old: PART, ..READER };
pub const READER_TWICE: Scene = Scene { old: TWICE, reader: true, forgets: 0b01, ..COLLECTORS };
/// Garbage is not looked for: a segment that is lost may leave rows that nobody can clean.
pub const DAMAGE: Scene = Scene { collectors: 1, forgets: 0, damage: true, ends_clean: false, ..BASE };
pub const WRITER_COLLECTORS_PART: Scene = Scene { old: PART, writers: [AB, 0], collectors: 2, ..BASE };
pub const WRITER_COLLECTORS: Scene = Scene { writers: [AB, 0], ..COLLECTORS };
pub const WRITER_COLLECTORS_JOINED: Scene = Scene { old: JOINED, writers: [B, 0], forgets: 0, ..COLLECTORS };
pub const WRITER_COLLECTORS_ALL: Scene = Scene { joins_packs: true, ..WRITER_COLLECTORS_PART };
pub const RESUMING_ALL: Scene = Scene { joins_packs: true, ..RESUMING_PART };
pub const RESUMING_FEW: Scene = Scene { forgets: 0, ..RESUMING_PART };
/// Two writers that may take over from each other, and two collectors, with one chunk, and nobody who forgets.
pub const FOUR: Scene = Scene { old: PART, writers: [A, A], resume: true, collectors: 2, forgets: 0, ..BASE };
pub const FOUR_FORGOTTEN: Scene = Scene { forgets: 0b0001, ..FOUR };
pub const FOUR_ANY: Scene = Scene { forgets: ANY, ..FOUR };
pub const FOUR_JOINED: Scene = Scene { joins_packs: true, ..FOUR_ANY };
/// The same with a chunk to upload, which each may take over from the other.
pub const FOUR_PART: Scene = Scene { writers: [AB, AB], ..FOUR };
pub const FOUR_PART_JOINED: Scene = Scene { joins_packs: true, ..FOUR_PART };
pub const FOUR_PART_ANY: Scene = Scene { writers: [AB, AB], ..FOUR_ANY };
/// The same with a pack that is partly needed at the beginning.
pub const FOUR_SHARED: Scene = Scene { old: SHARED, ..FOUR_PART };

/// Segments of snapshots that stay are joined too.
pub const JOINING: Scene = Scene { joins_kept: true, ..WRITER_PART };
pub const JOINING_COLLECTORS: Scene = Scene { joins_kept: true, ..COLLECTORS_COPIES };
pub const JOINING_READER: Scene = Scene { joins_kept: true, ..READER_PART };
/// A writer that may sleep until its fence is folded, and another that may take what it left for a snapshot.
pub const FOLDING: Scene = Scene { old: PART, writers: [AB, 0], collectors: 1, folds: true, forgets: 0, ..BASE };
pub const FOLDING_WRITERS: Scene = Scene { writers: [AB, B], ..FOLDING };
pub const FOLDING_COLLECTORS: Scene = Scene { old: FORGOTTEN, collectors: 2, folds: true, forgets: 0, ..BASE };
pub const FOLDING_ALL: Scene = Scene { old: FORGOTTEN, writers: [A, 0], ..FOLDING_COLLECTORS };

/// A snapshot that may be forgotten once its session was folded, a writer that builds on it, and two collectors.
pub const FOLDING_SESSIONS: Scene =
    Scene { old: PART, writers: [A, 0], collectors: 2, folds: true, forgets: 0b01, ..BASE };

/// Everybody at once, with three chunks, and packs that may be joined, by how it begins.
const CROWD: Scene = Scene { writers: [AB, AB], resume: true, collectors: 2, joins_packs: true, reader: true, ..BASE };
pub const EVERYBODY: [Scene; 11] = [
    CROWD,
    Scene { old: EXISTING, ..CROWD },
    Scene { old: PART, ..CROWD },
    Scene { old: COPIES, ..CROWD },
    Scene { old: TWICE, writers: [ABC, ABC], ..CROWD },
    Scene { old: JOINED, writers: [ABC, B], ..CROWD },
    Scene { old: TWICE, writers: [B, ABC], ..CROWD },
    Scene { old: PART, writers: [ABC, ABC], ..CROWD },
    Scene { damage: true, ends_clean: false, ..CROWD },
    Scene { old: PART, folds: true, joins_kept: true, ..CROWD },
    Scene { old: FORGOTTEN, folds: true, joins_packs: false, ..CROWD },
];
