//! A restore of one snapshot.

use super::model::{About, Steps, Violation};
use super::rules::Rule;
use super::state::*;

const CHOOSE: u8 = 0;
const TRUST: u8 = 1;
const INDEX: u8 = 2;
const READ: u8 = 3;
const LIST: u8 = 4;
const DIRECTORIES: u8 = 5;
const DONE: u8 = 99;

/// The reader's steps.
pub fn steps(steps: &mut Steps<'_>) {
    let (now, store, reader) = (*steps.now, steps.now.store, steps.now.reader);
    let to = |reader: Reader| State { reader, ..now };
    match reader.pc {
        CHOOSE => {
            for id in each(store.named(Name::Committed)) {
                let left = steps.model.needs(id);
                let chosen = Reader { pc: TRUST, snapshot: id as u8, left, ..Reader::default() };
                steps.add("opens snapshot", About::Session(id), to(chosen));
            }
        }
        TRUST => {
            let counted = store.counted();
            steps.add("lists the names", About::Nothing, to(Reader { pc: INDEX, counted, ..reader }));
        }
        INDEX => {
            let known = store.index_of(reader.counted);
            let read = Reader { pc: READ, known, counted: 0, ..reader };
            steps.add("reads the index", About::Packs(known), to(read));
        }
        READ => {
            let Some(chunk) = CHUNKS.into_iter().find(|chunk| reader.left & chunk != 0) else { return };
            let places = store.packs_with(chunk, reader.known);
            let done = Reader { pc: DONE, ..Reader::default() };
            if places & store.packs != 0 {
                let left = reader.left & !chunk;
                let next = if left == 0 { done } else { Reader { left, ..reader } };
                steps.add("reads a chunk from", About::Packs(places & store.packs), to(next));
                return;
            }
            let fresh = places & !reader.gone != 0 && steps.keeps(Rule::ReaderLooksEachTime);
            if steps.keeps(Rule::ReaderLooksAgain) && (fresh || !reader.looked) {
                let again = Reader { pc: LIST, gone: reader.gone | places, ..reader };
                steps.add("misses", About::Packs(places), to(again));
            } else {
                steps.add("finds a chunk nowhere", About::Nothing, to(done));
                let id = usize::from(reader.snapshot);
                if store.name(id) == Name::Committed {
                    steps.violates(Violation::ReaderFailed(id));
                }
            }
        }
        LIST => {
            let listed = store.packs & !reader.known;
            steps.add("lists the packs", About::Packs(listed), to(Reader { pc: DIRECTORIES, listed, ..reader }));
        }
        DIRECTORIES => {
            let read = reader.listed & store.packs;
            let pc = if read == reader.listed { READ } else { LIST };
            let next = Reader { pc, listed: 0, looked: true, known: reader.known | read, ..reader };
            steps.add("reads the directories of", About::Packs(read), to(next));
        }
        _ => {}
    }
}
