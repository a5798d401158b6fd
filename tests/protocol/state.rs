//! What the store holds and what each actor knows, in few bytes.
//!
//! Everything that there can be several of is numbered by the session it belongs to, and a set of them is a mask: pack
//! 3 is the pack that session 3 writes, segment 3 its index segment, plan 3 its plan. A chunk is a bit too.

/// A set of sessions, or of the packs, segments or plans that belong to them.
pub type Set = u8;
/// A set of chunks.
pub type Chunks = u8;

/// How many sessions a run of the model can have.
pub const SESSIONS: usize = 7;
/// The two whose snapshots stand at the beginning.
pub const OLD: [usize; 2] = [0, 1];
/// The writers.
pub const WRITERS: [usize; 2] = [2, 3];
/// The collectors.
pub const COLLECTORS: [usize; 2] = [4, 5];
/// The collector that runs alone, to see whether all garbage goes.
pub const LAST: usize = 6;
/// What the names of sessions are for people.
pub const NAMES: [&str; SESSIONS] = ["S0", "S1", "W0", "W1", "G0", "G1", "last G"];
/// The chunks.
pub const CHUNKS: [Chunks; 3] = [1, 2, 4];

/// What exists under a session's name in `snapshots/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Name {
    #[default]
    Free,
    /// A manifest.
    Committed,
    /// An empty object.
    Fenced,
    /// A marker: a snapshot that was forgotten, or a collection that committed itself.
    Marker,
}

impl Name {
    /// Whether index segments of the session count.
    pub fn was_committed(self) -> bool {
        matches!(self, Name::Committed | Name::Marker)
    }
}

/// All objects of the repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Store {
    /// Session objects.
    pub sessions: Set,
    pub names: [Name; SESSIONS],
    /// What each pack holds; of packs that are gone what they held.
    pub contents: [Chunks; SESSIONS],
    /// The packs that exist.
    pub packs: Set,
    /// Packs that a power cut would take.
    pub unsynced: Set,
    /// Packs whose deletion a power cut would undo.
    pub undead: Set,
    /// The segments that exist, and the packs that each names.
    pub segments: Set,
    pub rows: [Set; SESSIONS],
    /// The plans that are pending, and what each condemns.
    pub pending: Set,
    pub plans: [Set; SESSIONS],
    /// The folds that exist, the names that each has, and those that a power cut would take.
    pub fold_objects: Set,
    pub folds: [Set; SESSIONS],
    pub unsynced_folds: Set,
    /// What each name was when it was folded first.
    pub retired: [Name; SESSIONS],
}

/// The number's own bit.
pub fn bit(number: usize) -> Set {
    1 << number
}

/// The numbers in a set.
pub fn each(set: Set) -> impl Iterator<Item = usize> {
    (0..SESSIONS).filter(move |number| set & bit(*number) != 0)
}

impl Store {
    /// The chunks that these packs hold, or held.
    pub fn chunks_in(&self, packs: Set) -> Chunks {
        each(packs).fold(0, |chunks, pack| chunks | self.contents[pack])
    }

    /// Those of the packs that hold, or held, the chunk.
    pub fn packs_with(&self, chunk: Chunks, packs: Set) -> Set {
        each(packs).filter(|pack| self.contents[*pack] & chunk != 0).fold(0, |set, pack| set | bit(pack))
    }

    /// Sessions whose segments count.
    pub fn counted(&self) -> Set {
        (0..SESSIONS).filter(|id| self.name(*id).was_committed()).fold(0, |set, id| set | bit(id))
    }

    /// Sessions whose names are in this state.
    pub fn named(&self, name: Name) -> Set {
        (0..SESSIONS).filter(|id| self.name(*id) == name).fold(0, |set, id| set | bit(id))
    }

    /// The packs that the segments of these sessions name.
    pub fn index_of(&self, sessions: Set) -> Set {
        each(sessions & self.segments).fold(0, |packs, id| packs | self.rows[id])
    }

    /// The names that are in a fold.
    pub fn folded(&self) -> Set {
        each(self.fold_objects).fold(0, |names, fold| names | self.folds[fold])
    }

    /// What a name means: of one that is in a fold, what it was then, whatever is there now.
    pub fn name(&self, id: usize) -> Name {
        if self.folded() & bit(id) != 0 { self.retired[id] } else { self.names[id] }
    }

    /// What all names mean.
    pub fn all_names(&self) -> [Name; SESSIONS] {
        std::array::from_fn(|id| self.name(id))
    }

    /// The packs that a plan condemns.
    pub fn condemned(&self) -> Set {
        each(self.pending).fold(0, |packs, id| packs | self.plans[id])
    }
}

/// What a writer knows; `pc` says what it does next. What it needs no more is zero, so that states meet again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Writer {
    pub pc: u8,
    /// Packs that plans condemned when it read them.
    pub seen: Set,
    /// Sessions whose segments it believes.
    pub counted: Set,
    /// Chunks that its parent needs.
    pub parents: Chunks,
    /// Packs that it may refer to.
    pub usable: Set,
    /// Packs of others that it names in its own segment.
    pub named: Set,
    /// Chunks that it writes.
    pub lacking: Chunks,
    /// Names that it found in folds before it listed the names.
    pub folded: Set,
    /// The snapshot that it builds on, until it has read the folds.
    pub parent: Set,
}

/// What a collector knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Collector {
    pub pc: u8,
    /// Sessions that it has to see resolved.
    pub open: Set,
    /// What it is going to delete.
    pub doomed: Set,
    /// Plans that it adopted.
    pub adopted: Set,
    /// Packs that exist.
    pub there: Set,
    /// Chunks that snapshots need, and the snapshots.
    pub live: Chunks,
    pub marked: Set,
    /// The names under `snapshots/`, and the index, as it read them.
    pub names: [Name; SESSIONS],
    pub segments: Set,
    pub rows: [Set; SESSIONS],
    /// What all plans condemn.
    pub everywhere: Set,
    /// Packs outside every plan.
    pub outside: Set,
    /// Packs that no segment names and that are to be named.
    pub found: Set,
    /// Segments whose rows stand in its own.
    pub joined: Set,
    /// Condemned packs that hold a chunk that can't be had.
    pub kept: Set,
    /// Segments to be cleaned.
    pub todo: Set,
    /// Names that it folds, and the folds that it merges into its own.
    pub folding: Set,
    pub merged: Set,
    /// Sessions that it folds without their names, since their snapshots exist.
    pub ended: Set,
}

/// What a reader knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Reader {
    pub pc: u8,
    pub snapshot: u8,
    pub counted: Set,
    /// Packs whose contents it knows.
    pub known: Set,
    /// Packs that it found to be gone.
    pub gone: Set,
    /// Packs whose directories it is about to read.
    pub listed: Set,
    /// Whether it has looked through the packs.
    pub looked: bool,
    /// Chunks that it has still to read.
    pub left: Chunks,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct State {
    pub store: Store,
    pub writers: [Writer; 2],
    pub collectors: [Collector; 2],
    pub reader: Reader,
}
