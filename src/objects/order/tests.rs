use super::*;
use crate::format::snapshot::Origin;
use proptest::prelude::*;

const DAY: u64 = 86_400_000;
/// 2026-01-05T00:00:00Z.
const NOW: u64 = 1_767_571_200_000;
const HERE: RepositoryId = RepositoryId([0; 16]);

fn snapshot(n: u8, sequence: u64, committed: u64) -> Manifest {
    Manifest {
        id: SnapshotId([n; 16]),
        started: committed,
        committed,
        host: format!("host{n}"),
        program: String::new(),
        source: String::new(),
        cluster: "zoo".into(),
        tags: Vec::new(),
        sequence,
        heads: Vec::new(),
        index_segments: 0,
        stored_bytes: 0,
        missing: Vec::new(),
        salvage: None,
        origin: None,
        namespaces: Vec::new(),
    }
}

/// Each committed by a writer that saw all before it, at these times.
fn in_order(times: &[u64]) -> Vec<Manifest> {
    let mut all: Vec<Manifest> = Vec::new();
    for (n, committed) in (1..).zip(times) {
        let (sequence, heads) = (next_sequence(&all, 0), heads(&all, []));
        all.push(Manifest { heads, ..snapshot(n, sequence, *committed) });
    }
    all
}

fn plausible(all: &[Manifest], now: u64) -> Vec<u64> {
    let times = Times::of(all, Timestamp(now));
    all.iter().map(|one| times.committed(one)).collect()
}

/// What is doubted, by its number, and what the reader is told.
fn doubted(all: &[Manifest], now: u64) -> Vec<(u8, String)> {
    let times = Times::of(all, Timestamp(now));
    times.doubtful().iter().map(|one| (one.snapshot.0[0], one.to_string())).collect()
}

#[test]
fn a_time_that_lies_in_the_future_is_named_and_taken_as_no_newer_than_its_neighbours() {
    let all = in_order(&[NOW, NOW + 3650 * DAY, NOW + 2 * DAY]);
    assert_eq!(plausible(&all, NOW + 3 * DAY), [NOW, NOW + 2 * DAY, NOW + 2 * DAY]);
    let [(2, text)] = &doubted(&all, NOW + 3 * DAY)[..] else { panic!("the second alone") };
    assert!(text.contains("2036-01-03") && text.contains("host2") && text.contains("in the future"), "{text}");
    // Nothing but what lies in the future: then it is as likely this machine's clock, and nothing says which.
    let one = [snapshot(1, 1, NOW + DAY)];
    assert_eq!(plausible(&one, NOW), [NOW]);
    assert_eq!(doubted(&one, NOW).len(), 1);
    // Within a lease clocks may differ.
    assert!(doubted(&[snapshot(1, 1, NOW + LEASE_MILLIS)], NOW).is_empty());
}

#[test]
fn a_time_before_that_of_what_its_writer_saw_is_named() {
    let all = in_order(&[NOW, NOW + DAY, NOW - 5 * DAY, NOW + 2 * DAY]);
    assert_eq!(plausible(&all, NOW + 3 * DAY), [NOW, NOW + DAY, NOW + DAY, NOW + 2 * DAY]);
    let [(3, text)] = &doubted(&all, NOW + 3 * DAY)[..] else { panic!("the third alone") };
    assert!(text.contains("lies before that of snapshot") && text.contains("which is older"), "{text}");
    // The fewest are doubted: here the first was ahead, not all after it behind.
    let all = in_order(&[NOW + 9 * DAY, NOW + DAY, NOW + 2 * DAY]);
    let [(1, text)] = &doubted(&all, NOW + 10 * DAY)[..] else { panic!("the first alone") };
    assert!(text.contains("lies after that of snapshot") && text.contains("which is newer"), "{text}");
    assert_eq!(plausible(&all, NOW + 10 * DAY), [NOW + DAY, NOW + DAY, NOW + 2 * DAY]);
}

#[test]
fn writers_that_did_not_see_each_other_contradict_nothing() {
    // The second began before the first was committed, and ended later, with a smaller time or number as it falls.
    let first = Manifest { started: NOW, ..snapshot(1, 1, NOW + DAY) };
    let second = Manifest { started: NOW, ..snapshot(2, 1, NOW + 2 * DAY) };
    let third = Manifest { started: NOW, ..snapshot(3, 2, NOW + DAY / 2) };
    assert!(doubted(&[first, second, third], NOW + 3 * DAY).is_empty());
}

#[test]
fn a_machine_whose_clock_is_behind_doubts_nobody_but_itself() {
    let all = in_order(&[NOW, NOW + DAY, NOW + 2 * DAY]);
    let times = Times::of(&all, Timestamp(NOW - 365 * DAY));
    assert!(times.reader_is_behind() && times.doubtful().is_empty());
}

#[test]
fn numbers_stay_below_the_bound_whatever_a_manifest_says() {
    let all = [snapshot(1, NUMBER_BOUND - 1, NOW)];
    assert_eq!(next_sequence(&all, 7), NUMBER_BOUND - 1);
    assert_eq!(next_sequence(&[], 0), 1);
    assert_eq!(next_sequence(&[snapshot(1, 4, NOW)], 2), 7);
}

#[test]
fn heads_are_those_that_nobody_saw_also_where_some_cannot_be_read() {
    let all = in_order(&[NOW; 4]);
    assert_eq!(heads(&all, []), [all[3].id]);
    let (lost, apart) = (SnapshotId([9; 16]), snapshot(8, 1, NOW));
    assert_eq!(heads(all.iter().chain([&apart]), [lost, all[0].id]), [all[3].id, apart.id, lost]);
}

fn copy(n: u8, repository: u8, sequence: u64, committed: u64) -> Manifest {
    let origin = Origin {
        repository: RepositoryId([repository; 16]),
        snapshot: SnapshotId([100 + n; 16]),
        sequence,
        from: RepositoryId([repository; 16]),
        copied: NOW,
        roots: Vec::new(),
    };
    Manifest { origin: Some(origin), ..snapshot(n, 0, committed) }
}

#[test]
fn copies_keep_the_order_of_their_repository_though_its_clocks_contradict_it() {
    let copies =
        [copy(1, 7, 1, NOW + 5 * DAY), copy(2, 7, 2, NOW), copy(3, 8, 1, NOW + DAY), copy(4, 8, 2, NOW + 2 * DAY)];
    // Each repository's oldest first, as `copy` goes, but mixed in every way.
    for order in [[0, 1, 2, 3], [0, 2, 1, 3], [0, 2, 3, 1], [2, 3, 0, 1], [2, 0, 3, 1], [2, 0, 1, 3]] {
        let mut there: Vec<Manifest> = Vec::new();
        for at in order {
            let mut one = copies[at].clone();
            one.sequence = sequence_of_copy(HERE, &there, &one, 0);
            there.push(one);
        }
        there.sort_by_key(Manifest::place);
        let place = |n: u8| there.iter().position(|one| one.id.0[0] == n).unwrap();
        assert!(
            place(1) < place(2) && place(3) < place(4),
            "{order:?}: {:?}",
            there.iter().map(|one| one.id.0[0]).collect::<Vec<_>>()
        );
    }
    // What is copied later, though it is older, takes its place among the others.
    let newer = [copy(3, 8, 5, NOW + 3 * DAY), copy(4, 8, 6, NOW + 4 * DAY)];
    let mut there = vec![Manifest { sequence: 1, ..newer[0].clone() }, Manifest { sequence: 2, ..newer[1].clone() }];
    let older = copy(5, 8, 4, NOW + 2 * DAY);
    there.push(Manifest { sequence: sequence_of_copy(HERE, &there, &older, 0), ..older });
    there.sort_by_key(Manifest::place);
    assert_eq!(there.iter().map(|one| one.id.0[0]).collect::<Vec<_>>(), [5, 3, 4]);
}

proptest! {
    /// Whatever the clocks say, the times that are shown ascend where they were doubted, nothing is doubted if they
    /// ascend, and what a writer takes is above all that it sees.
    #[test]
    fn shown_times_agree_with_the_order(offsets in proptest::collection::vec(-20i64..20, 1..30), now in 0u64..60) {
        let time = |(n, offset): (u64, &i64)| (NOW + n * DAY).saturating_add_signed(offset * DAY as i64);
        let times: Vec<u64> = (0u64..).zip(&offsets).map(time).collect();
        let all = in_order(&times);
        prop_assert!(all.windows(2).all(|two| two[0].sequence < two[1].sequence && two[1].heads == [two[0].id]));
        let now = NOW + now * DAY;
        let found = Times::of(&all, Timestamp(now));
        if !found.reader_is_behind() {
            let shown = plausible(&all, now);
            prop_assert!(shown.windows(2).all(|two| two[0] <= two[1]), "{:?} of {:?}", shown, times);
        }
        let ascend = times.windows(2).all(|two| two[0] <= two[1]) && times.iter().all(|time| *time <= now);
        prop_assert!(!ascend || found.doubtful().is_empty());
        for one in found.doubtful() {
            let snapshot = all.iter().find(|other| other.id == one.snapshot).unwrap();
            prop_assert_eq!(found.committed(snapshot), one.plausible.0);
        }
    }
}
