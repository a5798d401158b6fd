//! A collection, from its session to the end of its plan.

use super::model::{About, Steps, Violation};
use super::rules::Rule;
use super::state::*;

/// What it does next.
pub mod pc {
    pub const SESSION: u8 = 0;
    pub const SESSIONS: u8 = 1;
    pub const SETTLE: u8 = 2;
    pub const PACKS: u8 = 3;
    pub const NAMES: u8 = 4;
    pub const CHOOSE: u8 = 5;
    pub const PLAN: u8 = 6;
    pub const SESSIONS_AGAIN: u8 = 7;
    pub const SETTLE_AGAIN: u8 = 8;
    pub const INDEX: u8 = 9;
    pub const PACKS_AGAIN: u8 = 10;
    pub const ALL_PLANS: u8 = 11;
    pub const OUTSIDE: u8 = 12;
    pub const MOVE: u8 = 13;
    pub const SEGMENT: u8 = 14;
    pub const SEAL: u8 = 15;
    pub const DELETE: u8 = 16;
    pub const SEAL_WITHOUT_PLAN: u8 = 17;
    pub const PACKS_LAST: u8 = 18;
    pub const LIST_INDEX: u8 = 19;
    pub const CLEAN: u8 = 20;
    pub const PLANS_GO: u8 = 21;
    pub const JOIN_WITHOUT_PLAN: u8 = 22;
    pub const OWN_FOLDS: u8 = 23;
    pub const FOLD: u8 = 24;
    pub const SYNC_FOLD: u8 = 25;
    pub const NAMES_GO: u8 = 26;
    pub const FOLDS_GO: u8 = 27;
    pub const DONE: u8 = 99;
}

/// The steps of collector `n`, whose session is `id`.
pub fn steps(steps: &mut Steps<'_>, n: usize, id: usize) {
    let now = *steps.now;
    let (store, this) = (now.store, now.collectors[n]);
    let to = move |collector: Collector, store: Store| {
        let mut state = State { store, ..now };
        state.collectors[n] = collector;
        state
    };
    let at = Collector { pc: this.pc + 1, ..this };
    match this.pc {
        pc::SESSION => {
            let created = Store { sessions: store.sessions | bit(id), ..store };
            steps.add("creates its session", About::Nothing, to(at, created));
        }
        pc::SESSIONS | pc::SESSIONS_AGAIN => {
            let mut open = store.sessions & store.named(Name::Free) & !bit(id);
            if !steps.keeps(Rule::CollectorsAreSessions) {
                open &= !COLLECTORS.into_iter().fold(0, |set, id| set | bit(id));
            }
            let waits = steps.keeps(if this.pc == pc::SESSIONS { Rule::SettleFirst } else { Rule::Settle });
            let next = Collector { open: if waits { open } else { 0 }, ..at };
            steps.add("lists the sessions", About::Nothing, to(next, store));
            if open != 0 && !steps.keeps(Rule::FreshSessions) {
                let what = "lists the sessions, of which those at work don't show";
                steps.add(what, About::Nothing, to(Collector { open: 0, ..at }, store));
            }
        }
        pc::SETTLE | pc::SETTLE_AGAIN => {
            let open = this.open & store.named(Name::Free);
            for other in each(open) {
                let mut fenced = store;
                fenced.names[other] = Name::Fenced;
                steps.add("fences", About::Session(other), to(this, fenced));
            }
            if !steps.keeps(Rule::CreateIfAbsent) {
                for other in each(this.open & store.named(Name::Committed)) {
                    let mut fenced = store;
                    fenced.names[other] = Name::Fenced;
                    steps.add("fences", About::Session(other), to(this, fenced));
                }
            }
            if open != 0 {
                return;
            }
            // That all are settled stays true, so it goes with the next step.
            if this.pc == pc::SETTLE {
                if !steps.keeps(Rule::CondemnedForGood) && store.pending != 0 {
                    let lifted = Store { pending: 0, plans: [0; SESSIONS], ..store };
                    steps.add(
                        "has all settled, and lifts the plans",
                        About::Nothing,
                        to(Collector { open: 0, ..at }, lifted),
                    );
                }
                let next = Collector { open: 0, doomed: store.condemned(), adopted: store.pending, ..at };
                steps.add("has all settled, and reads the plans", About::Packs(next.doomed), to(next, store));
            } else {
                list_again(steps, to, this);
            }
        }
        pc::PACKS => steps.add("lists the packs", About::Nothing, to(Collector { there: store.packs, ..at }, store)),
        pc::NAMES => {
            let marked = store.named(Name::Committed);
            let live = each(marked).fold(0, |live, id| live | steps.model.needs(id));
            let next = Collector { names: store.all_names(), marked, live, ..at };
            steps.add("lists the names and reads the manifests", About::Nothing, to(next, store));
        }
        pc::CHOOSE => choose(steps, to, this),
        pc::PLAN => {
            let mut written = store;
            written.plans[id] = this.doomed;
            written.pending |= bit(id);
            // Left out, the sessions that matter were listed before.
            let settled = !steps.keeps(Rule::PlanBeforeSessions);
            let next = Collector { pc: if settled { pc::SETTLE_AGAIN } else { pc::SESSIONS_AGAIN }, ..at };
            steps.add("writes its plan", About::Packs(this.doomed), to(next, written));
        }
        pc::INDEX => {
            let next = with_index(at, &store);
            steps.add("reads the index", About::Nothing, to(next, store));
        }
        pc::PACKS_AGAIN => {
            steps.add("lists the packs again", About::Nothing, to(Collector { there: store.packs, ..at }, store));
        }
        pc::ALL_PLANS => {
            let everywhere = if steps.keeps(Rule::EveryPlan) { store.condemned() } else { this.doomed };
            let next = Collector { everywhere, ..at };
            steps.add("reads all plans, which condemn", About::Packs(everywhere), to(next, store));
        }
        pc::OUTSIDE => {
            let outside = store.index_of(counted(&this)) & this.there & !this.everywhere;
            steps.add(
                "reads the index outside the plans",
                About::Packs(outside),
                to(Collector { outside, ..at }, store),
            );
        }
        pc::MOVE => move_out(steps, to, this, id),
        pc::SEGMENT => {
            let joinable = joinable(&this, steps.model.scene.joins_kept);
            let goes = if steps.keeps(Rule::JoinKeepsForeign) { this.doomed & !this.kept } else { this.everywhere };
            let own = (store.packs & bit(id)) | this.found;
            let options = if joinable == 0 { vec![0] } else { vec![joinable, 0] };
            for joined in options {
                let rows = own | each(joined).fold(0, |rows, id| rows | this.rows[id]) & this.there & !goes;
                let mut written = store;
                if steps.keeps(Rule::IndexBeforeCommit) && rows != 0 {
                    (written.rows[id], written.segments) = (rows, store.segments | bit(id));
                }
                let next = Collector { joined, found: 0, everywhere: 0, ..at };
                let what = if joined == 0 { "writes its segment, which names" } else { "joins segments in its own" };
                if steps.keeps(Rule::CleanAfterDeleting) {
                    steps.add(what, About::Packs(rows), to(next, written));
                } else {
                    // Cleaned before it is sure that it may commit: as if what is condemned were gone.
                    let next = Collector { pc: pc::LIST_INDEX, there: this.there & !this.doomed, ..next };
                    steps.add(what, About::Packs(rows), to(next, written));
                }
            }
        }
        // Nothing goes, so all rows stay.
        pc::JOIN_WITHOUT_PLAN => {
            let joinable = joinable(&this, true);
            for joined in if joinable == 0 { vec![0] } else { vec![joinable, 0] } {
                let rows = each(joined).fold(0, |rows, id| rows | this.rows[id]);
                let mut written = store;
                if rows != 0 {
                    (written.rows[id], written.segments) = (rows, store.segments | bit(id));
                }
                let pc = if steps.keeps(Rule::JoinBeforeKeptGo) { pc::SEAL_WITHOUT_PLAN } else { pc::PACKS_LAST };
                let next = Collector { pc, joined, ..this };
                let what = if joined == 0 { "joins nothing" } else { "joins segments in its own" };
                steps.add(what, About::Packs(rows), to(next, written));
            }
        }
        pc::SEAL | pc::SEAL_WITHOUT_PLAN => {
            let mut committed = store;
            let with_plan = this.pc == pc::SEAL;
            let fresh = steps.keeps(Rule::CleanByAFreshList);
            let pc = match (with_plan, fresh) {
                (true, _) => pc::DELETE,
                (false, true) => pc::PACKS_LAST,
                (false, false) => pc::LIST_INDEX,
            };
            committed.unsynced = 0;
            if !steps.keeps(Rule::PlanStands) {
                committed.pending &= !(this.adopted | bit(id));
            }
            let next = Collector { pc, there: if with_plan || !fresh { this.there } else { 0 }, ..this };
            if store.names[id] == Name::Free {
                committed.names[id] = Name::Marker;
                // What it does next is remembered in a field that it has no use for now.
                let next = match steps.model.scene.folds && steps.keeps(Rule::CommitReadsFolds) {
                    true => Collector { pc: pc::OWN_FOLDS, open: pc, ..next },
                    false => next,
                };
                let deceived = next.pc != pc::OWN_FOLDS && !committed.name(id).was_committed();
                steps.add("commits itself", About::Nothing, to(next, committed));
                if deceived {
                    steps.violates(Violation::Deceived(id));
                }
            } else if !steps.keeps(Rule::CommitBeforeDeleting) {
                steps.add("goes on though it was fenced", About::Nothing, to(next, store));
            } else {
                let done = Collector { pc: pc::DONE, ..Collector::default() };
                steps.add("finds that it was fenced, and stops", About::Nothing, to(done, store));
            }
        }
        pc::OWN_FOLDS if store.folded() & bit(id) != 0 => {
            let done = Collector { pc: pc::DONE, ..Collector::default() };
            steps.add("finds itself in a fold, and stops", About::Nothing, to(done, store));
        }
        pc::OWN_FOLDS => {
            steps.add("reads the folds", About::Nothing, to(Collector { pc: this.open, open: 0, ..this }, store));
        }
        pc::DELETE => {
            let todo = this.doomed & this.there & !this.kept;
            for pack in each(todo) {
                let mut deleted = store;
                deleted.packs &= !bit(pack);
                deleted.undead |= bit(pack) & store.packs;
                let next = Collector { there: this.there & !bit(pack), ..this };
                steps.add("deletes", About::Packs(bit(pack)), to(next, deleted));
            }
            if todo == 0 {
                let undead = if steps.keeps(Rule::SyncBeforePlanGoes) { 0 } else { store.undead };
                let next = Collector { pc: pc::PACKS_LAST, there: 0, kept: 0, ..this };
                steps.add("syncs", About::Nothing, to(next, Store { undead, ..store }));
            }
        }
        pc::PACKS_LAST => {
            steps.add("lists the packs once more", About::Nothing, to(Collector { there: store.packs, ..at }, store));
        }
        pc::LIST_INDEX => {
            let acts = |id: &usize| clean_one(&this, *id).is_some();
            let todo = each(store.segments).filter(acts).fold(0, |todo, id| todo | bit(id));
            steps.add("lists the index", About::Nothing, to(Collector { todo, ..at }, store));
        }
        pc::CLEAN => {
            for other in each(this.todo) {
                let Some((keeps, is_deleted)) = clean_one(&this, other) else { continue };
                let next = Collector { todo: this.todo & !bit(other), ..this };
                let mut cleaned = store;
                let (what, about) = match is_deleted {
                    true => ("deletes the segment of", About::Session(other)),
                    false => ("rewrites the segment of", About::Session(other)),
                };
                cleaned.rows[other] = keeps;
                cleaned.segments = if is_deleted { store.segments & !bit(other) } else { store.segments | bit(other) };
                steps.add(what, about, to(next, cleaned));
                let changed = store.segments & bit(other) == 0 || store.rows[other] != this.rows[other];
                if changed && !is_deleted {
                    steps.add("can't read any more the segment of", about, to(next, store));
                }
            }
            if this.todo == 0 {
                let pc = match steps.keeps(Rule::CleanAfterDeleting) {
                    true if steps.model.scene.folds => pc::FOLD,
                    true => pc::PLANS_GO,
                    false => pc::SEAL,
                };
                let next =
                    Collector { pc, names: Default::default(), segments: 0, rows: [0; SESSIONS], joined: 0, ..this };
                let taken = |id: &usize| matches!(this.names[*id], Name::Marker | Name::Fenced);
                let folding = (0..SESSIONS).filter(taken).fold(0, |set, id| set | bit(id));
                // They are settled for ever; of those without a name nobody knows.
                let is_over = |id: &usize| this.names[*id] == Name::Committed || !steps.keeps(Rule::NamedSessionsGo);
                let ended = (0..SESSIONS).filter(is_over).fold(0, |set, id| set | bit(id)) & !bit(id);
                let next = if pc == pc::FOLD { Collector { folding, ended, ..next } } else { next };
                steps.add("has cleaned the index", About::Nothing, to(next, store));
            }
        }
        pc::FOLD | pc::SYNC_FOLD | pc::NAMES_GO | pc::FOLDS_GO => fold(steps, to, this, id),
        pc::PLANS_GO => {
            let own = (this.adopted | bit(id)) & store.pending;
            let goes = |plan: &usize| store.plans[*plan] & this.there == 0;
            let mut any = false;
            for plan in each(own).filter(goes) {
                any = true;
                let mut gone = store;
                gone.pending &= !bit(plan);
                gone.plans[plan] = 0;
                steps.add("deletes the plan of", About::Session(plan), to(this, gone));
                if store.plans[plan] & (store.packs | store.undead) != 0 {
                    steps.violates(Violation::PlanWentEarly(plan));
                }
            }
            if !any {
                let done = Collector { pc: pc::DONE, ..Collector::default() };
                steps.add("is done", About::Nothing, to(done, store));
            }
        }
        _ => {}
    }
}

/// The sessions whose snapshots exist at the beginning.
const OLD_SET: Set = 0b11;

/// The sessions whose segments count, as the collector read their names.
fn counted(this: &Collector) -> Set {
    (0..SESSIONS).filter(|id| this.names[*id].was_committed()).fold(0, |set, id| set | bit(id))
}

/// The collector with the index as it is now.
fn with_index(this: Collector, store: &Store) -> Collector {
    let segments = counted(&this) & store.segments;
    let mut rows = [0; SESSIONS];
    each(segments).for_each(|id| rows[id] = store.rows[id]);
    Collector { segments, rows, ..this }
}

/// The packs that the index names, as the collector read it.
pub fn known(this: &Collector) -> Set {
    each(this.segments).fold(0, |packs, id| packs | this.rows[id])
}

/// Lists the snapshots again, and marks what was committed meanwhile.
fn list_again(steps: &mut Steps<'_>, to: impl Fn(Collector, Store) -> State, this: Collector) {
    let store = steps.now.store;
    let base = Collector { pc: pc::INDEX, open: 0, marked: 0, ..this };
    let mut next = base;
    if steps.keeps(Rule::ListAgain) {
        let newer = store.named(Name::Committed) & !this.marked;
        next.live |= each(newer).fold(0, |live, id| live | steps.model.needs(id));
        let hidden = newer & !OLD_SET;
        if hidden != 0 && !steps.keeps(Rule::FreshNames) {
            let mut stale = Collector { names: store.all_names(), live: this.live, ..base };
            each(hidden).for_each(|id| stale.names[id] = Name::Free);
            steps.add(
                "has all settled, and lists the snapshots, of which a new one doesn't show",
                About::Nothing,
                to(stale, store),
            );
        }
    }
    next.names = store.all_names();
    steps.add("has all settled, and lists the snapshots again", About::Nothing, to(next, store));
}

/// Marks, and chooses what to condemn.
fn choose(steps: &mut Steps<'_>, to: impl Fn(Collector, Store) -> State, this: Collector) {
    let store = steps.now.store;
    let read = with_index(this, &store);
    let mut index = known(&read);
    let candidates = this.there & !this.doomed;
    // What no segment names is looked for in the packs.
    if this.live & !store.chunks_in(index & this.there) != 0 {
        index |= store.packs;
    }
    let homes = |chunk: Chunks| -> Vec<Set> {
        let homes = store.packs_with(chunk, index & candidates);
        if this.live & chunk == 0 || homes == 0 { vec![0] } else { each(homes).map(bit).collect() }
    };
    let mut choices: Vec<Set> = Vec::new();
    let [firsts, seconds, thirds] = CHUNKS.map(homes);
    let all = firsts.iter().flat_map(|a| seconds.iter().flat_map(|b| thirds.iter().map(|c| [*a, *b, *c])));
    for homes in all {
        let dead = candidates & !homes.iter().fold(0, |set, home| set | home);
        let held = |pack: usize| {
            CHUNKS.iter().zip(homes).filter(|(_, home)| *home == bit(pack)).fold(0, |held, (chunk, _)| held | chunk)
        };
        let needed = candidates & !dead;
        let partly = each(needed).filter(|pack| store.contents[*pack] != held(*pack));
        let partly = partly.fold(0, |set, pack| set | bit(pack));
        choices.push(dead | partly);
        // Or any part of them, and of those that are small and wholly needed, to be joined.
        let choosable = if steps.model.scene.joins_packs { needed } else { partly };
        let mut part = choosable;
        loop {
            choices.push(dead | part);
            if part == 0 {
                break;
            }
            part = (part - 1) & choosable;
        }
    }
    let mut tried = Vec::new();
    for choice in choices {
        let doomed = this.doomed | choice;
        if tried.contains(&doomed) {
            continue;
        }
        tried.push(doomed);
        let next = match doomed {
            0 if steps.model.scene.joins_kept => Collector { pc: pc::JOIN_WITHOUT_PLAN, live: 0, marked: 0, ..read },
            0 => Collector { pc: pc::SEAL_WITHOUT_PLAN, live: 0, marked: 0, ..read },
            _ => Collector { pc: pc::PLAN, doomed, there: 0, names: Default::default(), ..this },
        };
        steps.add("reads the index, and chooses", About::Packs(doomed), to(next, store));
    }
}

/// Writes again what is live and has no copy outside every plan.
fn move_out(steps: &mut Steps<'_>, to: impl Fn(Collector, Store) -> State, this: Collector, id: usize) {
    let mut store = steps.now.store;
    let (mut index, mut outside, mut found) = (known(&this), this.outside, 0);
    let unnamed = this.live & !store.chunks_in(index & this.there) != 0;
    if unnamed && steps.keeps(Rule::MoveWhatIsUnnamed) {
        found = store.packs & !index & !this.everywhere;
        (index, outside) = (index | store.packs, outside | found);
    }
    let condemned = index & this.everywhere & this.there;
    let lost = |chunk: &Chunks| {
        this.live & chunk != 0
            && store.packs_with(*chunk, condemned) != 0
            && store.packs_with(*chunk, outside & store.packs) == 0
    };
    let (mut moved, mut kept) = (0, 0);
    for chunk in CHUNKS.into_iter().filter(lost) {
        match store.packs_with(chunk, condemned) & store.packs {
            0 => kept |= store.packs_with(chunk, condemned),
            _ => moved |= chunk,
        }
    }
    let next = Collector { pc: pc::SEGMENT, live: 0, outside: 0, found, kept, ..this };
    if moved != 0 {
        store.contents[id] = moved;
        (store.packs, store.unsynced) = (store.packs | bit(id), store.unsynced | bit(id));
        steps.add("moves what is live", About::Nothing, to(next, store));
    } else {
        steps.add("has nothing to move", About::Nothing, to(next, store));
    }
}

/// The segments that may be joined into the collector's own: of names that hold markers, or of all that count.
fn joinable(this: &Collector, kept: bool) -> Set {
    let joins = |id: &usize| this.names[*id] == Name::Marker || kept && this.names[*id] == Name::Committed;
    (0..SESSIONS).filter(joins).fold(0, |set, id| set | bit(id)) & this.segments
}

/// Folds the names that held markers and fences when it listed them, and merges the other folds into its own.
fn fold(steps: &mut Steps<'_>, to: impl Fn(Collector, Store) -> State, this: Collector, id: usize) {
    let mut store = steps.now.store;
    match this.pc {
        pc::FOLD => {
            let plain = Collector { pc: pc::PLANS_GO, folding: 0, ended: 0, ..this };
            steps.add("folds nothing", About::Nothing, to(plain, store));
            // What is left under a name that is folded may be told by a fold that a power cut takes.
            let folded = store.folded();
            let strays = each(folded).filter(|name| store.names[*name] != Name::Free).fold(0, |set, id| set | bit(id));
            let names = this.folding & !folded | strays;
            if names == 0 && this.ended & store.sessions != 0 {
                let next = Collector { pc: pc::NAMES_GO, folding: 0, ..this };
                steps.add("folds sessions without their names", About::Nothing, to(next, store));
            }
            if names != 0 {
                let merged = store.fold_objects & !bit(id);
                let next = Collector { pc: pc::SYNC_FOLD, folding: names, merged, ..this };
                if !steps.keeps(Rule::MergeBeforeFoldsGo) && merged != 0 {
                    let gone = Store { fold_objects: 0, ..store };
                    steps.add("deletes the folds that it merges", About::Nothing, to(next, gone));
                    return;
                }
                each(names & !folded).for_each(|name| store.retired[name] = this_name(&store, name));
                store.folds[id] = names | each(merged).fold(0, |names, fold| names | store.folds[fold]);
                let written = Store {
                    fold_objects: store.fold_objects | bit(id),
                    unsynced_folds: store.unsynced_folds | bit(id),
                    ..store
                };
                if steps.keeps(Rule::FoldBeforeNamesGo) {
                    steps.add("writes its fold, with the names of", About::Packs(names), to(next, written));
                } else {
                    let next = Collector { pc: pc::NAMES_GO, ..next };
                    steps.add("puts its fold off, with the names of", About::Packs(names), to(next, steps.now.store));
                }
            }
        }
        pc::SYNC_FOLD => {
            if steps.keeps(Rule::SyncBeforeNamesGo) {
                store.unsynced_folds = 0;
            }
            steps.add("syncs its fold", About::Nothing, to(Collector { pc: pc::NAMES_GO, ..this }, store));
        }
        pc::NAMES_GO => {
            for name in each(this.folding) {
                let mut gone = store;
                gone.names[name] = Name::Free;
                gone.sessions &= !bit(name);
                let next = Collector { folding: this.folding & !bit(name), ..this };
                steps.add("deletes the name of", About::Session(name), to(next, gone));
            }
            if this.folding != 0 {
                return;
            }
            let ended = this.ended & store.sessions;
            for session in each(ended) {
                let gone = Store { sessions: store.sessions & !bit(session), ..store };
                steps.add("deletes the session of", About::Session(session), to(this, gone));
            }
            if ended == 0 {
                let next = Collector { pc: pc::FOLDS_GO, ended: 0, ..this };
                steps.add("has deleted the names", About::Nothing, to(next, store));
            }
        }
        _ => {
            let own = if steps.keeps(Rule::OnlyMergedFoldsGo) { this.merged } else { !bit(id) };
            let todo = own & store.fold_objects;
            for other in each(todo) {
                let gone = Store {
                    fold_objects: store.fold_objects & !bit(other),
                    unsynced_folds: store.unsynced_folds & !bit(other),
                    ..store
                };
                steps.add("deletes the fold of", About::Session(other), to(this, gone));
            }
            if todo == 0 {
                let next = Collector { pc: pc::PLANS_GO, merged: 0, ..this };
                steps.add("has folded", About::Nothing, to(next, store));
            }
        }
    }
}

/// What becomes of a name that is not folded.
fn this_name(store: &Store, id: usize) -> Name {
    match store.names[id] {
        Name::Committed => Name::Marker,
        name => name,
    }
}

/// What cleaning does to a segment, if anything: the rows that stay, and whether it is deleted.
pub fn clean_one(this: &Collector, id: usize) -> Option<(Set, bool)> {
    let is_marker = this.names[id] == Name::Marker;
    match this.names[id] {
        Name::Free => None,
        Name::Fenced => Some((0, true)),
        _ if this.joined & bit(id) != 0 => Some((0, true)),
        _ if this.segments & bit(id) == 0 => None,
        _ => {
            let stays = this.rows[id] & this.there;
            let is_empty = this.rows[id] == 0;
            if stays == this.rows[id] && !(is_empty && is_marker) {
                return None;
            }
            Some((stays, stays == 0 && is_marker))
        }
    }
}
