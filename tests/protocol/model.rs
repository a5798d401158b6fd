//! The protocol as a machine: who takes part, the steps that each can take, and what must hold whatever they do.

use super::reduce::Reduction;
use super::rules::Rule;
use super::state::*;
use super::table::{Table, fingerprint};
use super::{collector, reader, writer};
use std::fmt;

/// A snapshot that exists, or existed, when the story begins.
#[derive(Clone, Copy, Default)]
pub struct Old {
    pub name: Name,
    /// What its session's pack holds; nothing if it wrote none.
    pub pack: Chunks,
    pub needs: Chunks,
}

/// Who takes part.
#[derive(Clone, Copy, Default)]
pub struct Scene {
    pub old: [Old; 2],
    /// What each writer's snapshot needs; nobody writes if nothing.
    pub writers: [Chunks; 2],
    /// Whether a writer may take over what the other one stored.
    pub resume: bool,
    pub collectors: usize,
    /// Whether they also condemn packs that are wholly needed, as they do to join small ones.
    pub joins_packs: bool,
    pub reader: bool,
    /// Snapshots that the user may forget, whenever they stand.
    pub forgets: Set,
    /// Whether the index segment of the first session may be lost without a trace. Chunks need not be named in the
    /// index then.
    pub damage: bool,
    /// Whether collectors also join the segments of snapshots that stay, with a plan or without.
    pub joins_kept: bool,
    /// Whether collectors fold names.
    pub folds: bool,
    /// Whether garbage must go in the end.
    pub ends_clean: bool,
}

/// The protocol in one scene, with rules left out or none.
#[derive(Clone, Copy)]
pub struct Model {
    pub scene: Scene,
    pub without: &'static [Rule],
}

/// What must not be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// A chunk that a snapshot needs is in no pack that a segment of a committed session names.
    Missing(usize),
    /// That would be so after a power cut.
    MissingAfterPowerCut(usize),
    /// A name changed that must not, such as a fence that became a snapshot.
    NameChanged(usize),
    /// A reader failed on a snapshot that exists.
    ReaderFailed(usize),
    /// A writer names a pack that it knew to be condemned.
    CondemnedIsUsed(usize),
    /// A plan went though a pack of it is there, or would be after a power cut.
    PlanWentEarly(usize),
    /// A power cut would free a name that was taken.
    NameFreedByPowerCut(usize),
    /// A session takes itself for committed, and for all others it was fenced.
    Deceived(usize),
    /// A collector that ran alone to the end left something that nobody needs, or could not end.
    Garbage,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Violation::Missing(id) => write!(f, "snapshot {} is missing a chunk", NAMES[id]),
            Violation::MissingAfterPowerCut(id) => {
                write!(f, "a power cut would take a chunk of snapshot {}", NAMES[id])
            }
            Violation::NameChanged(id) => write!(f, "the name of {} changed", NAMES[id]),
            Violation::ReaderFailed(id) => write!(f, "a reader fails on snapshot {}, which exists", NAMES[id]),
            Violation::CondemnedIsUsed(id) => write!(f, "{} names a condemned pack", NAMES[id]),
            Violation::PlanWentEarly(id) => write!(f, "the plan of {} went before its packs", NAMES[id]),
            Violation::NameFreedByPowerCut(id) => write!(f, "a power cut would free the name of {}", NAMES[id]),
            Violation::Deceived(id) => write!(f, "{} takes itself for committed, though it was fenced", NAMES[id]),
            Violation::Garbage => write!(f, "a collection that runs alone leaves garbage"),
        }
    }
}

/// What a step is about.
#[derive(Clone, Copy)]
pub enum About {
    Nothing,
    Session(usize),
    /// Packs, by the session that each belongs to.
    Packs(Set),
}

/// One step, and what is the case after it.
pub struct Step {
    pub actor: &'static str,
    pub what: &'static str,
    pub about: About,
    pub state: State,
    pub violation: Option<Violation>,
}

impl fmt::Display for About {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            About::Nothing => Ok(()),
            About::Session(id) => write!(f, " {}", NAMES[id]),
            About::Packs(0) => write!(f, " (none)"),
            About::Packs(set) => each(set).try_for_each(|pack| write!(f, " {}'s", NAMES[pack])),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}{}", self.actor, self.what, self.about)
    }
}

/// The steps that are possible now.
pub struct Steps<'a> {
    pub model: &'a Model,
    pub now: &'a State,
    pub actor: &'static str,
    pub steps: Vec<Step>,
}

impl Steps<'_> {
    /// Adds a step that leads to `state`.
    pub fn add(&mut self, what: &'static str, about: About, state: State) {
        self.steps.push(Step { actor: self.actor, what, about, state, violation: None });
    }

    /// Says that the step added last must not be.
    pub fn violates(&mut self, violation: Violation) {
        if let Some(step) = self.steps.last_mut() {
            step.violation = step.violation.or(Some(violation));
        }
    }

    /// Whether a rule holds.
    pub fn keeps(&self, rule: Rule) -> bool {
        self.model.keeps(rule)
    }
}

impl Model {
    /// Whether a rule holds.
    pub fn keeps(&self, rule: Rule) -> bool {
        !self.without.contains(&rule)
    }

    /// How it begins.
    pub fn first(&self) -> State {
        let mut state = State::default();
        let store = &mut state.store;
        for (id, old) in OLD.into_iter().zip(&self.scene.old) {
            store.names[id] = old.name;
            store.contents[id] = old.pack;
            if old.name != Name::Free {
                store.sessions |= bit(id);
            }
            if old.pack != 0 {
                (store.packs, store.segments, store.rows[id]) =
                    (store.packs | bit(id), store.segments | bit(id), bit(id));
            }
        }
        state
    }

    /// The chunks that a session's snapshot needs.
    pub fn needs(&self, id: usize) -> Chunks {
        let Scene { old, writers, .. } = &self.scene;
        match id {
            0 | 1 => old[id].needs,
            2 | 3 => writers[id - 2],
            _ => 0,
        }
    }

    /// Every step that somebody can take.
    pub fn steps(&self, now: &State) -> Vec<Step> {
        let mut steps = Steps { model: self, now, actor: "user", steps: Vec::new() };
        for id in each(self.scene.forgets).filter(|id| now.store.name(*id) == Name::Committed) {
            let mut state = *now;
            let freed = !steps.keeps(Rule::NamesStayTaken) && WRITERS.contains(&id);
            state.store.names[id] = if freed { Name::Free } else { Name::Marker };
            steps.add("forgets", About::Session(id), state);
        }
        if self.scene.damage && now.store.segments & 1 != 0 {
            steps.actor = "the disk";
            let store = Store { segments: now.store.segments & !1, ..now.store };
            steps.add("loses the segment of", About::Session(0), State { store, ..*now });
        }
        for (n, needs) in self.scene.writers.into_iter().enumerate().filter(|(_, needs)| *needs != 0) {
            steps.actor = NAMES[WRITERS[n]];
            writer::steps(&mut steps, n, needs);
        }
        for n in 0..self.scene.collectors {
            steps.actor = NAMES[COLLECTORS[n]];
            collector::steps(&mut steps, n, COLLECTORS[n]);
        }
        if self.scene.reader {
            steps.actor = "reader";
            reader::steps(&mut steps);
        }
        for step in &mut steps.steps {
            let (before, after) = (&now.store.all_names(), &step.state.store.all_names());
            let changed = (0..SESSIONS).find(|id| {
                before[*id] != after[*id]
                    && before[*id] != Name::Free
                    && (before[*id], after[*id]) != (Name::Committed, Name::Marker)
            });
            if let Some(id) = changed {
                step.violation = step.violation.or(Some(Violation::NameChanged(id)));
            }
        }
        steps.steps
    }

    /// The first snapshot that misses a chunk if only these packs exist.
    fn missing(&self, store: &Store, packs: Set) -> Option<usize> {
        let named = if self.scene.damage { packs } else { packs & store.index_of(store.counted()) };
        let found = store.chunks_in(named);
        each(store.named(Name::Committed)).find(|id| self.needs(*id) & !found != 0)
    }

    /// What must not be in a state. `cleaned` remembers stores from which a collector was seen to leave nothing.
    pub fn check(&self, state: &State, cleaned: &Table, reduction: Reduction) -> Option<Violation> {
        let store = &state.store;
        if let Some(id) = self.missing(store, store.packs) {
            return Some(Violation::Missing(id));
        }
        if let Some(id) = self.missing(store, store.packs & !store.unsynced) {
            return Some(Violation::MissingAfterPowerCut(id));
        }
        let durable = Store { fold_objects: store.fold_objects & !store.unsynced_folds, ..*store };
        if let Some(id) = (0..SESSIONS).find(|id| durable.name(*id) == Name::Free && store.name(*id) != Name::Free) {
            return Some(Violation::NameFreedByPowerCut(id));
        }
        if !self.scene.ends_clean {
            return None;
        }
        let after_power_cut =
            Store { packs: store.packs & !store.unsynced | store.undead, unsynced: 0, undead: 0, ..*store };
        let quiet = [Store { unsynced: 0, undead: 0, ..*store }, after_power_cut];
        let fresh = quiet.into_iter().filter(|store| cleaned.replace(fingerprint(store)));
        // The collector takes the first of several steps, which for the mirror image of a store may be another one.
        let images = fresh.flat_map(|store| reduction.images(self, &State { store, ..State::default() }));
        images.into_iter().any(|state| !self.ends_clean(state.store)).then_some(Violation::Garbage)
    }

    /// Whether a collector that runs alone, and fences whoever is at work, leaves nothing that nobody needs.
    fn ends_clean(&self, store: Store) -> bool {
        let mut state = State { store, ..State::default() };
        for _ in 0..200 {
            let mut steps = Steps { model: self, now: &state, actor: NAMES[LAST], steps: Vec::new() };
            collector::steps(&mut steps, 0, LAST);
            match steps.steps.into_iter().next() {
                Some(step) if step.violation.is_none() => state = step.state,
                Some(_) => return false,
                None => return self.is_clean(&state.store),
            }
        }
        false
    }

    /// Whether there is nothing but what snapshots need, once, and an index of just that.
    fn is_clean(&self, store: &Store) -> bool {
        let needed = each(store.named(Name::Committed)).fold(0, |chunks, id| chunks | self.needs(id));
        let held: u32 = each(store.packs).map(|pack| store.contents[pack].count_ones()).sum();
        let named = each(store.segments).fold(0, |packs, id| packs | store.rows[id]);
        store.pending == 0
            && store.chunks_in(store.packs) == needed
            && held == needed.count_ones()
            && named == store.packs
            && store.segments & !store.counted() == 0
            && self.missing(store, store.packs).is_none()
    }
}
