//! What makes states one: three ways to search through fewer of them. Each is held against the whole search in
//! `reduced.rs`.
//!
//! - *Symmetry.* Nothing depends on the order of sessions' numbers. Two collectors are alike, two writers that need the
//!   same as well, so of a state and its mirror images one is searched.
//! - *Forgetting.* What an actor knows and will not use again, or the store remembers of packs that nobody will look
//!   for, is made zero.
//! - *Settled steps.* A step that is its actor's only one, leaves the store as it is, and is the same whatever the
//!   others do first, is taken at once. Each run in which it is taken later, or never, passes through the same stores
//!   as one in which it is taken at once, and whatever must hold, must hold of stores or of other steps.

use super::collector::{self, clean_one, known};
use super::model::{Model, Steps};
use super::rules::Rule;
use super::state::*;
use super::writer;

/// Which of them are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reduction {
    pub symmetry: bool,
    pub forgets: bool,
    pub settles: bool,
}

impl Reduction {
    pub const NONE: Reduction = Reduction { symmetry: false, forgets: false, settles: false };
    /// Ways stay as long as they are.
    pub const SYMMETRY: Reduction = Reduction { symmetry: true, ..Reduction::NONE };
    pub const ALL: Reduction = Reduction { symmetry: true, forgets: true, settles: true };

    /// The state that is searched instead.
    pub fn of(&self, model: &Model, state: &State) -> State {
        let mut state = *state;
        // Where names are folded, one that was taken is free again for a late create; and what can be joined depends on
        // more segments.
        let folds = model.scene.folds || model.scene.joins_kept;
        if self.settles && !folds {
            settle(model, &mut state);
        }
        if self.forgets && !folds {
            forget(model, &mut state);
        }
        if self.symmetry { first_image(model, state) } else { state }
    }

    /// The state, and what is the same with the numbers of sessions that are alike changed.
    pub fn images(&self, model: &Model, state: &State) -> Vec<State> {
        let mut images = vec![*state];
        for [one, other] in [WRITERS, COLLECTORS].into_iter().filter(|_| self.symmetry) {
            if model.are_alike(one, other) {
                images.extend_from_within(..);
                let half = images.len() / 2;
                images[half..].iter_mut().for_each(|image| *image = image.swapped(one, other));
            }
        }
        images
    }
}

impl Model {
    /// Whether the numbers of two writers or collectors may be changed without another difference.
    fn are_alike(&self, one: usize, other: usize) -> bool {
        let takes_part = |id: usize| match WRITERS.iter().position(|writer| *writer == id) {
            Some(n) => self.scene.writers[n] != 0,
            None => id - COLLECTORS[0] < self.scene.collectors,
        };
        let forgotten = |id| self.scene.forgets & bit(id) != 0;
        let same = self.needs(one) == self.needs(other) && forgotten(one) == forgotten(other);
        takes_part(one) && takes_part(other) && same
    }
}

/// Of all images that which comes first in an order of no meaning.
fn first_image(model: &Model, mut state: State) -> State {
    let mut tied = [false; 2];
    let pairs = [WRITERS, COLLECTORS];
    for (tied, [one, other]) in tied.iter_mut().zip(pairs) {
        if !model.are_alike(one, other) {
            continue;
        }
        // What the numbers of sessions don't matter to, to tell the two apart quickly.
        let key = |id: usize| {
            let knows = match WRITERS.iter().position(|writer| *writer == id) {
                Some(n) => (state.writers[n].pc, state.writers[n].parents, state.writers[n].lacking),
                None => (state.collectors[id - COLLECTORS[0]].pc, state.collectors[id - COLLECTORS[0]].live, 0),
            };
            (knows, state.store.names[id], state.store.contents[id])
        };
        match key(one).cmp(&key(other)) {
            std::cmp::Ordering::Less => {}
            std::cmp::Ordering::Equal => *tied = true,
            std::cmp::Ordering::Greater => state = state.swapped(one, other),
        }
    }
    let mut first = state;
    for (tied, [one, other]) in tied.into_iter().zip(pairs) {
        if tied {
            let swapped = first.swapped(one, other);
            first = first.min(swapped);
        }
    }
    if tied == [true; 2] {
        let swapped = state.swapped(WRITERS[0], WRITERS[1]).swapped(COLLECTORS[0], COLLECTORS[1]);
        let other = state.swapped(COLLECTORS[0], COLLECTORS[1]);
        first = first.min(swapped).min(other).min(state.swapped(WRITERS[0], WRITERS[1]));
    }
    first
}

impl State {
    /// The same with the numbers of two writers, or two collectors, changed.
    pub fn swapped(&self, one: usize, other: usize) -> State {
        let set = |set: Set| {
            let differ = (set >> one ^ set >> other) & 1;
            set ^ (differ << one | differ << other)
        };
        let sets = |mut sets: [Set; SESSIONS]| {
            sets.swap(one, other);
            sets.map(set)
        };
        let names = |mut names: [Name; SESSIONS]| {
            names.swap(one, other);
            names
        };
        let contents = |mut contents: [Chunks; SESSIONS]| {
            contents.swap(one, other);
            contents
        };
        let Store { names: named, contents: held, rows, plans, folds, retired, .. } = self.store;
        let Store { sessions, packs, unsynced, undead, segments, pending, fold_objects, unsynced_folds, .. } =
            self.store;
        let store = Store {
            sessions: set(sessions),
            names: names(named),
            contents: contents(held),
            packs: set(packs),
            unsynced: set(unsynced),
            undead: set(undead),
            segments: set(segments),
            rows: sets(rows),
            pending: set(pending),
            plans: sets(plans),
            fold_objects: set(fold_objects),
            folds: sets(folds),
            unsynced_folds: set(unsynced_folds),
            retired: names(retired),
        };
        let mut writers = self.writers.map(|writer| {
            let Writer { pc, seen, counted, parents, usable, named, lacking, folded, parent } = writer;
            let (folded, parent) = (set(folded), set(parent));
            let (seen, counted, usable, named) = (set(seen), set(counted), set(usable), set(named));
            Writer { pc, seen, counted, parents, usable, named, lacking, folded, parent }
        });
        let mut collectors = self.collectors.map(|collector| Collector {
            pc: collector.pc,
            // Between its commit and its reading of the folds it remembers there what it does next.
            open: if collector.pc == collector::pc::OWN_FOLDS { collector.open } else { set(collector.open) },
            doomed: set(collector.doomed),
            adopted: set(collector.adopted),
            there: set(collector.there),
            live: collector.live,
            marked: set(collector.marked),
            names: names(collector.names),
            segments: set(collector.segments),
            rows: sets(collector.rows),
            everywhere: set(collector.everywhere),
            outside: set(collector.outside),
            found: set(collector.found),
            joined: set(collector.joined),
            kept: set(collector.kept),
            todo: set(collector.todo),
            folding: set(collector.folding),
            merged: set(collector.merged),
            ended: set(collector.ended),
        });
        if WRITERS == [one, other] {
            writers.swap(0, 1);
        } else {
            collectors.swap(0, 1);
        }
        let Reader { pc, mut snapshot, counted, known, gone, listed, looked, left } = self.reader;
        if [one, other].contains(&snapshot.into()) {
            snapshot = (one + other) as u8 - snapshot;
        }
        let (counted, known, gone, listed) = (set(counted), set(known), set(gone), set(listed));
        State {
            store,
            writers,
            collectors,
            reader: Reader { pc, snapshot, counted, known, gone, listed, looked, left },
        }
    }
}

/// Takes all settled steps.
fn settle(model: &Model, state: &mut State) {
    for n in 0..WRITERS.len() {
        while model.scene.writers[n] != 0 && writer_is_settled(model, state, n) {
            take(model, state, |steps| writer::steps(steps, n, model.scene.writers[n]));
        }
    }
    for (n, id) in COLLECTORS.into_iter().enumerate().take(model.scene.collectors) {
        while collector_is_settled(model, state, n) {
            take(model, state, |steps| collector::steps(steps, n, id));
        }
    }
}

/// Takes the step that is the only one.
pub fn take(model: &Model, state: &mut State, add: impl Fn(&mut Steps<'_>)) {
    let mut steps = Steps { model, now: state, actor: "", steps: Vec::new() };
    add(&mut steps);
    let mut steps = steps.steps;
    let step = steps.pop().filter(|step| steps.is_empty() && step.violation.is_none());
    *state = step.expect("a settled step is the only one").state;
}

/// Whether the writer's next step is settled.
pub fn writer_is_settled(model: &Model, state: &State, n: usize) -> bool {
    let (store, this) = (&state.store, &state.writers[n]);
    match this.pc {
        // There is nothing to be named.
        writer::pc::SEGMENT => this.lacking == 0 && this.named == 0,
        // What it names is durable, and stays so.
        writer::pc::SYNC => this.named & store.unsynced == 0,
        // Its name is taken, and stays so.
        writer::pc::SEAL | writer::pc::ASK_AGAIN => {
            store.names[WRITERS[n]] != Name::Free
                && model.keeps(Rule::CreateIfAbsent)
                && model.keeps(Rule::NamesStayTaken)
        }
        _ => false,
    }
}

/// Whether the collector's next step is settled.
pub fn collector_is_settled(model: &Model, state: &State, n: usize) -> bool {
    use collector::pc;
    let (store, this, id) = (&state.store, &state.collectors[n], COLLECTORS[n]);
    match this.pc {
        // There is nothing to be named: its pack was written before, if at all.
        pc::SEGMENT => {
            let markers = each(this.segments).any(|id| this.names[id] == Name::Marker);
            !markers && this.found == 0 && store.packs & bit(id) == 0 && model.keeps(Rule::CleanAfterDeleting)
        }
        // It was fenced, and stays so.
        pc::SEAL | pc::SEAL_WITHOUT_PLAN => store.names[id] != Name::Free && model.keeps(Rule::CommitBeforeDeleting),
        // Whatever segments there are, none is to be changed.
        pc::LIST_INDEX => (0..SESSIONS).all(|id| clean_one(this, id).is_none()),
        pc::CLEAN => this.todo == 0 && model.keeps(Rule::CleanAfterDeleting),
        // Plans that went don't come back, and those that stand don't change.
        pc::PLANS_GO => each((this.adopted | bit(id)) & store.pending).all(|plan| store.plans[plan] & this.there != 0),
        _ => false,
    }
}

/// Makes zero what makes no difference any more.
fn forget(model: &Model, state: &mut State) {
    let store = &mut state.store;
    // A pack that is gone is durable once it is there again: packs are written once.
    store.unsynced &= store.packs;
    for writer in &mut state.writers {
        forget_as_writer(model, store, writer);
    }
    for (collector, id) in state.collectors.iter_mut().zip(COLLECTORS) {
        forget_as_collector(model, store, collector, id);
    }
    // A reader knows from the index what packs held that are gone; others ask of packs that were there when they listed
    // them.
    let mut remembered = if model.scene.reader { Set::MAX } else { store.packs | store.undead };
    for writer in &state.writers {
        remembered |= writer.usable;
    }
    for collector in &state.collectors {
        remembered |= collector.there | collector.outside;
    }
    // Each pack's owner writes what it holds together with the pack.
    for id in (0..SESSIONS).filter(|id| remembered & bit(*id) == 0) {
        store.contents[id] = 0;
    }
}

/// What a writer needs no more.
fn forget_as_writer(model: &Model, store: &Store, this: &mut Writer) {
    use writer::pc;
    // It has decided.
    if this.pc > pc::DECIDE {
        this.seen = 0;
    }
    if matches!(this.pc, pc::PARENT..=pc::DECIDE) && model.keeps(Rule::PlansBeforeIndex) {
        // Once it knows of a plan it trusts nothing of its parent's; before, only what it needs matters.
        if this.seen != 0 && model.keeps(Rule::WriteAnewUnderPlan) {
            this.parents = 0;
        }
        // Packs that went don't come back. That a plan was read is remembered apart from them.
        if this.pc == pc::DECIDE && this.seen != 0 {
            this.seen = this.seen & store.packs | SOMETHING;
        }
        if this.pc == pc::PACKS {
            this.usable &= store.packs;
        }
    }
}

/// A bit of a set that represents what is gone.
const SOMETHING: Set = 1 << SESSIONS;

/// What a collector needs no more.
fn forget_as_collector(model: &Model, store: &Store, this: &mut Collector, id: usize) {
    use collector::pc;
    if !model.keeps(Rule::CleanAfterDeleting) || !model.keeps(Rule::EveryPlan) {
        return;
    }
    let pc = this.pc;
    // Names that were taken, and plans that went, stay so.
    if model.keeps(Rule::CreateIfAbsent) && model.keeps(Rule::NamesStayTaken) {
        this.open &= store.named(Name::Free);
    }
    this.adopted &= store.pending;
    // What they need is live already.
    if model.keeps(Rule::ListAgain) && model.keeps(Rule::FreshNames) {
        this.marked = 0;
    }
    // It has listed the packs for the last time before it deletes.
    if matches!(pc, pc::ALL_PLANS..=pc::SEAL) {
        this.doomed &= this.there;
        this.everywhere &= store.packs | this.there;
        if pc == pc::MOVE {
            this.outside &= store.packs;
        }
    }
    // Of these just what is to be deleted and is there counts.
    if pc == pc::DELETE {
        this.doomed &= this.there & store.packs & !this.kept;
        (this.there, this.kept) = (this.doomed, 0);
    }
    // It has read the index for the last time.
    if matches!(pc, pc::MOVE..=pc::CLEAN) {
        for other in each(!this.segments) {
            if this.names[other].was_committed() && this.joined & bit(other) == 0 {
                this.names[other] = Name::Free;
            }
        }
    }
    if matches!(pc, pc::PACKS_LAST..=pc::PLANS_GO) {
        this.doomed = 0;
    }
    // What becomes of each segment is settled.
    if matches!(pc, pc::LIST_INDEX | pc::CLEAN) {
        for other in 0..SESSIONS {
            let name = match clean_one(this, other) {
                _ if pc == pc::CLEAN && this.todo & bit(other) == 0 => Name::Free,
                None => Name::Free,
                Some((_, true)) => Name::Fenced,
                Some((_, false)) => continue,
            };
            this.names[other] = name;
            this.rows[other] = 0;
            this.segments &= !bit(other);
            this.joined &= !bit(other);
        }
    }
    if matches!(pc, pc::LIST_INDEX..=pc::PLANS_GO) {
        let plans = each((this.adopted | bit(id)) & store.pending).fold(0, |packs, plan| packs | store.plans[plan]);
        this.there &= known(this) | plans;
    }
}
