//! Searches through scenes, with all rules and without each.

use super::explore::{Search, explore};
use super::left_out::{self, LeftOut};
use super::model::{Model, Scene};
use super::reduce::Reduction;
use super::rules::Rule;
use super::scenes;

/// Searches through all of a scene and must find nothing, in so many states.
fn holds(name: &str, scene: Scene, states: usize) {
    let begun = std::time::Instant::now();
    let search = Search { reduction: Reduction::ALL, most: states.max(1000), ways: false };
    let found = explore(&Model { scene, without: &[] }, search);
    assert!(found.violation.is_none(), "{name}: {}", found.trace());
    println!("{name}: {} states, {} steps, depth {}, {:.1?}", found.states, found.steps, found.depth, begun.elapsed());
    assert_eq!(found.states, states, "{name}: the model has changed, so change format-spec/protocol.md too");
}

#[test]
fn nothing_is_lost_with_a_writer_and_a_collector() {
    holds("a writer and a collector", scenes::WRITER, 4_321);
    holds("the same, with two snapshots", scenes::WRITER_EXISTING, 12_299);
    holds("the same, with a chunk to upload", scenes::WRITER_PART, 6_062);
}

#[test]
fn nothing_is_lost_with_two_writers_and_a_collector() {
    holds("two writers and a collector", scenes::WRITERS, 275_186);
    holds("the same, with a chunk to upload", scenes::WRITERS_PART, 510_188);
}

#[test]
fn nothing_is_lost_with_two_writers_that_take_over_from_each_other() {
    holds("two writers that take over from each other, and a collector", scenes::RESUMING, 160_729);
    holds("the same, with a chunk to upload", scenes::RESUMING_PART, 91_145);
    holds("the same, and packs to be joined", scenes::RESUMING_ALL, 293_046);
}

#[test]
fn nothing_is_lost_with_two_collectors() {
    holds("two collectors", scenes::COLLECTORS, 13_225);
    holds("the same, with two snapshots", scenes::COLLECTORS_EXISTING, 55_959);
    holds("the same, with two copies of a chunk", scenes::COLLECTORS_COPIES, 95_620);
}

#[test]
fn readers_never_fail_on_a_snapshot_that_exists() {
    holds("a reader, a writer and a collector", scenes::READER, 39_312);
    holds("the same, with a chunk to upload", scenes::READER_PART, 62_033);
    holds("a reader and two collectors that move its chunks twice", scenes::READER_TWICE, 311_129);
}

#[test]
fn nothing_is_lost_if_an_index_segment_is() {
    holds("a collector and a lost segment", scenes::DAMAGE, 71);
}

#[test]
fn nothing_is_lost_with_a_writer_and_two_collectors() {
    holds("a writer with a chunk to upload, and two collectors", scenes::WRITER_COLLECTORS_PART, 404_014);
}

#[test]
fn nothing_is_lost_with_two_writers_that_take_over_from_each_other_and_two_collectors() {
    holds("two writers that take over from each other, and two collectors", scenes::FOUR, 77_269);
    holds("the same, with a chunk to upload", scenes::FOUR_PART, 899_043);
}

#[test]
fn nothing_is_lost_where_segments_of_snapshots_that_stay_are_joined() {
    holds("a writer and a collector that joins them", scenes::JOINING, 16_577);
    holds("two collectors", scenes::JOINING_COLLECTORS, 289_499);
    holds("a reader, a writer and a collector", scenes::JOINING_READER, 218_247);
}

#[test]
fn no_name_is_ever_free_again_where_names_are_folded() {
    holds("a writer, and a collector that folds", scenes::FOLDING, 1_381);
    holds("two writers, and a collector that folds", scenes::FOLDING_WRITERS, 180_624);
    holds("two collectors that fold", scenes::FOLDING_COLLECTORS, 773);
    holds("a writer, and two collectors that fold", scenes::FOLDING_ALL, 59_561);
}

#[test]
#[ignore = "searches through 15 million states: .ci/run does"]
fn nothing_is_lost_in_scenes_of_millions_of_states() {
    holds("a writer and two collectors", scenes::WRITER_COLLECTORS, 1_585_410);
    holds("the same, and segments that are joined", scenes::WRITER_COLLECTORS_JOINED, 1_376_501);
    holds("the same with a chunk to upload, and packs to be joined", scenes::WRITER_COLLECTORS_ALL, 2_821_666);
    let folding = "a writer, two collectors that fold, and the snapshot that it builds on is forgotten";
    holds(folding, scenes::FOLDING_SESSIONS, 1_613_157);
    let four = "two writers that take over from each other, two collectors";
    holds(&format!("{four}, and a snapshot that is forgotten"), scenes::FOUR_FORGOTTEN, 7_264_107);
}

#[test]
#[ignore = "takes minutes and gigabytes: cargo test --release --test protocol -- --ignored --nocapture \
    --test-threads=1"]
fn nothing_is_lost_in_larger_scenes() {
    let four = "two writers that take over from each other, two collectors";
    holds(&format!("{four}, and any snapshot may be forgotten"), scenes::FOUR_ANY, 12_466_858);
    holds(&format!("{four} that join packs"), scenes::FOUR_JOINED, 100_113_962);
    holds(&format!("{four}, and a chunk to upload"), scenes::FOUR_PART_ANY, 43_548_811);
    holds(&format!("{four} that join packs, and a chunk to upload"), scenes::FOUR_PART_JOINED, 34_806_312);
    holds(&format!("{four}, and a pack that is partly needed"), scenes::FOUR_SHARED, 30_077_999);
}

/// Leaves rules out and must find what is lost by it; prints the shortest way there.
fn breaks(left_out: &[LeftOut]) {
    for (without, scene, expected) in left_out {
        let search = Search { reduction: Reduction::SYMMETRY, most: 4_000_000, ways: true };
        let found = explore(&Model { scene: Scene { ends_clean: false, ..*scene }, without }, search);
        println!("without {without:?}: {}", found.trace());
        let violation = found.violation.as_ref().map(|(violation, _)| *violation);
        assert!(violation.is_some_and(expected), "{without:?} is not needed");
    }
}

#[test]
fn without_a_rule_of_the_writers_something_is_lost() {
    breaks(left_out::WRITERS);
}

#[test]
fn without_create_if_absent_a_fenced_session_becomes_a_snapshot() {
    breaks(left_out::NAMES);
}

#[test]
fn without_a_rule_of_the_collectors_something_is_lost() {
    breaks(left_out::COLLECTORS);
}

/// That collectors settle one another is enough for these two to hold nothing up; they are the second line.
#[test]
fn counting_copies_outside_every_plan_is_a_second_line_behind_the_settling_of_collectors() {
    for without in [&[Rule::EveryPlan], &[Rule::SettleFirst]] {
        for scene in [scenes::COLLECTORS, scenes::COLLECTORS_EXISTING, scenes::COLLECTORS_COPIES] {
            let search = Search { reduction: Reduction::SYMMETRY, most: 1_000_000, ways: false };
            let found = explore(&Model { scene: Scene { joins_packs: false, ..scene }, without }, search);
            assert!(found.violation.is_none(), "{without:?}: {}", found.trace());
        }
    }
}

#[test]
fn without_a_rule_of_the_readers_they_fail() {
    breaks(left_out::READERS);
}

#[test]
fn without_a_rule_of_folding_and_joining_something_is_lost() {
    breaks(left_out::FOLDS);
}

#[test]
fn without_fresh_listings_something_is_lost() {
    breaks(left_out::LISTINGS);
}
