//! A backup, from its session to its commit.

use super::model::{About, Steps, Violation};
use super::rules::Rule;
use super::state::*;

/// What it does next.
pub mod pc {
    pub const SESSION: u8 = 0;
    pub const PLANS: u8 = 1;
    pub const NAMES: u8 = 2;
    pub const PARENT: u8 = 3;
    pub const INDEX: u8 = 4;
    pub const PACKS: u8 = 5;
    pub const LATE_PLANS: u8 = 6;
    pub const DECIDE: u8 = 7;
    pub const UPLOAD: u8 = 8;
    pub const SEGMENT: u8 = 9;
    pub const SYNC: u8 = 10;
    pub const SEAL: u8 = 11;
    pub const ASK_AGAIN: u8 = 12;
    pub const PARENTS_FOLDS: u8 = 13;
    pub const OWN_FOLDS: u8 = 14;
    pub const DONE: u8 = 99;
}

/// The steps of writer `n`, whose snapshot needs these chunks.
pub fn steps(steps: &mut Steps<'_>, n: usize, needs: Chunks) {
    let (now, id) = (*steps.now, WRITERS[n]);
    let Writer { pc, seen, counted, parents, usable, named, lacking, folded, parent } = now.writers[n];
    let store = now.store;
    let to = |writer: Writer, store: Store| {
        let mut state = State { store, ..now };
        state.writers[n] = writer;
        state
    };
    let at = Writer { pc: pc + 1, ..now.writers[n] };
    match pc {
        // The two at the beginning change places if the rule is left out.
        pc::SESSION | pc::PLANS if (pc == pc::SESSION) == steps.keeps(Rule::SessionFirst) => {
            let created = Store { sessions: store.sessions | bit(id), ..store };
            steps.add("creates its session", About::Nothing, to(at, created));
        }
        pc::SESSION | pc::PLANS => {
            if !steps.keeps(Rule::PlansBeforeIndex) {
                steps.add("puts the plans off", About::Nothing, to(at, store));
                return;
            }
            let seen = store.condemned();
            steps.add("reads the plans, which condemn", About::Packs(seen), to(Writer { seen, ..at }, store));
            if seen != 0 && !steps.keeps(Rule::FreshPlans) {
                steps.add("lists the plans, of which none shows", About::Nothing, to(at, store));
            }
        }
        pc::NAMES => {
            let every = Set::MAX >> (8 - SESSIONS);
            let counted = if steps.keeps(Rule::TrustCommittedAlone) { store.counted() } else { every };
            let folded = if steps.keeps(Rule::FoldsAfterNames) { 0 } else { store.folded() };
            steps.add("lists the names", About::Nothing, to(Writer { counted, folded, ..at }, store));
        }
        pc::PARENT => {
            steps.add("builds on nothing", About::Nothing, to(at, store));
            for parent in (0..SESSIONS).filter(|id| store.names[*id] == Name::Committed && folded & bit(*id) == 0) {
                let parents = steps.model.needs(parent);
                let next = match steps.model.scene.folds && steps.keeps(Rule::FoldsAfterNames) {
                    true => Writer { parents, parent: bit(parent), pc: pc::PARENTS_FOLDS, ..at },
                    false => Writer { parents, folded: 0, ..at },
                };
                steps.add("builds on", About::Session(parent), to(next, store));
            }
        }
        // What was listed is no snapshot if its name is in a fold.
        pc::PARENTS_FOLDS => {
            let parents = if store.folded() & parent == 0 { parents } else { 0 };
            let next = Writer { pc: pc::INDEX, parents, parent: 0, ..at };
            steps.add("reads the folds", About::Nothing, to(next, store));
        }
        pc::INDEX => {
            let usable = store.index_of(counted) & !seen;
            steps.add("reads the index", About::Packs(usable), to(Writer { usable, counted: 0, ..at }, store));
        }
        pc::PACKS => {
            let usable = usable & store.packs;
            let pc = if steps.keeps(Rule::PlansBeforeIndex) { pc::DECIDE } else { pc::LATE_PLANS };
            steps.add("lists the packs", About::Packs(usable), to(Writer { usable, pc, ..at }, store));
        }
        pc::LATE_PLANS => {
            let seen = store.condemned();
            let writer = Writer { seen, usable: usable & !seen, ..at };
            steps.add("reads the plans, which condemn", About::Packs(seen), to(writer, store));
        }
        pc::DECIDE => {
            let unnamed = store.packs & !usable & !seen;
            let other = bit(WRITERS[1 - n]);
            let taken = if steps.keeps(Rule::TakeOverChecksPlans) { other & unnamed } else { other & store.packs };
            let mut options = vec![("looks up what it needs", 0)];
            if unnamed != 0 {
                options.push(("looks through packs that no segment names", unnamed));
            }
            if steps.model.scene.resume && taken != 0 {
                options.push(("takes over", taken));
            }
            for (what, named) in options {
                let trusts = seen == 0 || !steps.keeps(Rule::WriteAnewUnderPlan);
                let had = store.chunks_in(usable | named) | if trusts { parents } else { 0 };
                let lacking = needs & !had;
                let pc = if lacking == 0 { pc::SEGMENT } else { pc::UPLOAD };
                let writer = Writer { pc, seen, named, lacking, ..Writer::default() };
                steps.add(what, About::Packs(named), to(writer, store));
                // What is lost by it shows later, if the rule is left out.
                if named & seen != 0 && steps.keeps(Rule::TakeOverChecksPlans) {
                    steps.violates(Violation::CondemnedIsUsed(id));
                }
            }
        }
        pc::UPLOAD => {
            let mut store = store;
            store.contents[id] = lacking;
            (store.packs, store.unsynced) = (store.packs | bit(id), store.unsynced | bit(id));
            steps.add("uploads a pack", About::Nothing, to(at, store));
        }
        pc::SEGMENT => {
            let mut store = store;
            let own = if lacking == 0 { 0 } else { bit(id) };
            let found = if steps.keeps(Rule::NameWhatWasFound) { named } else { 0 };
            store.rows[id] = own | found;
            if own | found != 0 {
                store.segments |= bit(id);
            }
            let writer = Writer { pc: pc::SYNC, named: own | named, ..Writer::default() };
            steps.add("writes its segment, which names", About::Packs(own | found), to(writer, store));
        }
        pc::SYNC => {
            let mut store = store;
            if steps.keeps(Rule::SyncBeforeCommit) {
                store.unsynced &= !named;
            }
            steps.add("syncs", About::Nothing, to(Writer { pc: pc::SEAL, ..Writer::default() }, store));
        }
        pc::SEAL | pc::ASK_AGAIN => {
            let done = Writer { pc: pc::DONE, ..Writer::default() };
            let checks = steps.model.scene.folds && steps.keeps(Rule::CommitReadsFolds);
            let created = if checks { Writer { pc: pc::OWN_FOLDS, ..Writer::default() } } else { done };
            let mut committed = store;
            committed.names[id] = Name::Committed;
            if store.names[id] == Name::Free || !steps.keeps(Rule::CreateIfAbsent) {
                steps.add("commits", About::Nothing, to(created, committed));
                if !checks && !committed.name(id).was_committed() {
                    steps.violates(Violation::Deceived(id));
                }
                if pc == pc::SEAL {
                    let again = Writer { pc: pc::ASK_AGAIN, ..Writer::default() };
                    steps.add("commits, but the reply is lost", About::Nothing, to(again, committed));
                }
            } else {
                let (what, next) = match store.names[id] {
                    Name::Committed => ("finds its own manifest", created),
                    _ => ("finds its name taken, and gives up", done),
                };
                steps.add(what, About::Nothing, to(next, store));
            }
        }
        pc::OWN_FOLDS => {
            let what = match store.folded() & bit(id) {
                0 => "is not in the folds, and committed",
                _ => "finds itself in a fold, and gives up",
            };
            steps.add(what, About::Nothing, to(Writer { pc: pc::DONE, ..Writer::default() }, store));
        }
        _ => {}
    }
}
