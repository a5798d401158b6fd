//! A model of the commit-and-collection protocol, and a search through all that can happen in it.
//!
//! `format-spec/protocol.md` says which step of the model is which call of the code, what is bounded, and what was found. Every
//! counterexample is printed: `cargo test --test protocol -- --nocapture without`.

mod code;
mod collector;
mod explore;
mod model;
mod reader;
mod rules;
#[allow(dead_code)]
#[path = "../collect/scene.rs"]
mod scene;
mod scenes;
mod state;
#[allow(dead_code)]
#[path = "../faults/support.rs"]
mod support;
mod writer;

use explore::explore;
use model::{Model, Scene, Violation};
use rules::Rule;

/// Searches through all of a scene and must find nothing, in about so many states.
fn holds(name: &str, scene: Scene, about: usize) {
    let begun = std::time::Instant::now();
    let found = explore(&Model { scene, without: &[] }, 2 * about);
    assert!(found.violation.is_none(), "{name}: {}", found.trace());
    println!("{name}: {} states, {} steps, depth {}, {:.1?}", found.states, found.steps, found.depth, begun.elapsed());
    assert!(found.states > about / 2, "{name}: only {} states", found.states);
}

#[test]
fn nothing_is_lost_with_a_writer_and_a_collector() {
    holds("a writer and a collector", scenes::WRITER, 11_000);
    holds("the same, with two snapshots", scenes::WRITER_STANDING, 33_000);
    holds("the same, with a chunk to upload", scenes::WRITER_PART, 12_000);
}

#[test]
fn nothing_is_lost_with_two_writers_and_a_collector() {
    holds("two writers and a collector", scenes::WRITERS, 1_500_000);
    holds("the same, with a chunk to upload", scenes::WRITERS_PART, 2_100_000);
}

#[test]
fn nothing_is_lost_with_two_writers_that_take_over_from_each_other() {
    holds("two writers that take over from each other, and a collector", scenes::RESUMING, 1_900_000);
    holds("the same, with a chunk to upload", scenes::RESUMING_PART, 690_000);
}

#[test]
fn nothing_is_lost_with_two_collectors() {
    holds("two collectors", scenes::COLLECTORS, 76_000);
    holds("the same, with two snapshots", scenes::COLLECTORS_STANDING, 340_000);
    holds("the same, with two copies of a chunk", scenes::COLLECTORS_COPIES, 400_000);
}

#[test]
fn readers_never_fail_on_a_snapshot_that_stands() {
    holds("a reader, a writer and a collector", scenes::READER, 130_000);
    holds("the same, with a chunk to upload", scenes::READER_PART, 160_000);
    holds("a reader and two collectors that move its chunks twice", scenes::READER_TWICE, 1_700_000);
}

#[test]
fn nothing_is_lost_though_an_index_segment_is() {
    holds("a collector and a lost segment", scenes::DAMAGE, 90);
}

#[test]
fn nothing_is_lost_with_a_writer_and_two_collectors() {
    holds("a writer with a chunk to upload, and two collectors", scenes::WRITER_COLLECTORS_PART, 3_500_000);
}

#[test]
#[ignore = "takes minutes and gigabytes: cargo test --release --test protocol -- --ignored --nocapture --test-threads=1"]
fn nothing_is_lost_in_larger_scenes() {
    holds("a writer and two collectors that join segments", scenes::WRITER_COLLECTORS_JOINED, 16_000_000);
    holds("a writer and two collectors", scenes::WRITER_COLLECTORS, 22_000_000);
    holds("the same with a chunk to upload, and packs to be joined", scenes::WRITER_COLLECTORS_ALL, 28_000_000);
    holds("two writers that take over from each other, and packs to be joined", scenes::RESUMING_ALL, 2_500_000);
}

/// Leaves rules out and must find what is lost by it; prints the shortest way there.
fn breaks(without: &'static [Rule], scene: Scene, expected: impl Fn(Violation) -> bool) {
    let found = explore(&Model { scene: Scene { ends_clean: false, ..scene }, without }, 10_000_000);
    println!("without {without:?}: {}", found.trace());
    assert!(found.violation.as_ref().is_some_and(|(violation, _)| expected(*violation)), "{without:?} is not needed");
}

/// A snapshot misses a chunk.
fn loses(without: &'static [Rule], scene: Scene) {
    breaks(without, scene, |violation| matches!(violation, Violation::Missing(_)));
}

#[test]
fn without_a_rule_of_the_writers_something_is_lost() {
    loses(&[Rule::SessionFirst], scenes::WRITER);
    loses(&[Rule::PlansBeforeIndex], scenes::WRITER);
    loses(&[Rule::TrustSealedAlone], scenes::RESUMING_PART);
    loses(&[Rule::WriteAnewUnderPlan], scenes::WRITERS_PART);
    loses(&[Rule::NameWhatWasFound], scenes::RESUMING_PART);
    loses(&[Rule::TakeOverChecksPlans], scenes::RESUMING_PART);
    breaks(&[Rule::SyncBeforeSeal], scenes::WRITER, |violation| {
        matches!(violation, Violation::MissingAfterPowerCut(_))
    });
}

#[test]
fn without_create_if_absent_a_fenced_session_becomes_a_snapshot() {
    let changed = |violation| matches!(violation, Violation::NameChanged(_));
    breaks(&[Rule::CreateIfAbsent], scenes::WRITER, changed);
    breaks(&[Rule::NamesStayTaken], scenes::WRITER, changed);
}

#[test]
fn without_a_rule_of_the_collectors_something_is_lost() {
    loses(&[Rule::PlanBeforeSessions], scenes::WRITER);
    loses(&[Rule::Settle], scenes::WRITER);
    loses(&[Rule::ListAgain], scenes::WRITER);
    loses(&[Rule::CollectorsAreSessions], scenes::COLLECTORS);
    loses(&[Rule::CondemnedForGood], scenes::COLLECTORS);
    loses(&[Rule::MoveWhatIsUnnamed], scenes::DAMAGE);
    loses(&[Rule::SealBeforeDeleting], scenes::COLLECTORS);
    loses(&[Rule::IndexBeforeSeal], scenes::WRITER);
    loses(&[Rule::CleanAfterDeleting], scenes::WRITER);
    loses(&[Rule::CleanByAFreshList], scenes::WRITER_PART);
    loses(&[Rule::PlanStands], scenes::COLLECTORS);
    let early = |violation| matches!(violation, Violation::PlanWentEarly(_));
    breaks(&[Rule::SyncBeforePlanGoes], scenes::WRITER, early);
}

#[test]
fn without_rows_of_what_only_others_condemn_a_joined_segment_loses_them() {
    loses(&[Rule::JoinKeepsForeign], scenes::WRITER_COLLECTORS_JOINED);
}

/// That collectors settle one another is enough for these two to hold nothing up; they are the second line.
#[test]
fn counting_copies_outside_every_plan_is_a_second_line_behind_the_settling_of_collectors() {
    for rule in [&[Rule::EveryPlan], &[Rule::SettleFirst]] {
        for scene in [scenes::COLLECTORS, scenes::COLLECTORS_STANDING, scenes::COLLECTORS_COPIES] {
            let found = explore(&Model { scene: Scene { joins_packs: false, ..scene }, without: rule }, 1_000_000);
            assert!(found.violation.is_none(), "{rule:?}: {}", found.trace());
        }
    }
    loses(&[Rule::CollectorsAreSessions, Rule::EveryPlan], scenes::COLLECTORS_COPIES);
}

#[test]
fn without_a_rule_of_the_readers_they_fail() {
    let fails = |violation| matches!(violation, Violation::ReaderFailed(_));
    breaks(&[Rule::ReaderLooksAgain], scenes::READER_TWICE, fails);
    breaks(&[Rule::ReaderLooksEachTime], scenes::READER_TWICE, fails);
}

#[test]
fn without_fresh_listings_something_is_lost() {
    loses(&[Rule::FreshSessions], scenes::WRITER);
    loses(&[Rule::FreshPlans], scenes::WRITER);
    loses(&[Rule::FreshNames], scenes::WRITER);
}
