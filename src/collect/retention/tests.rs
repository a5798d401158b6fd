use super::*;
use crate::format::snapshot::Salvage;
use crate::record::Timestamp;
use proptest::prelude::*;
use std::time::Duration;

const HOUR: u64 = 3_600_000;
const DAY: u64 = 24 * HOUR;
/// Monday, 2026-01-05T00:00:00Z.
const MONDAY: u64 = 1_767_571_200_000;

fn snapshot(n: u8, committed: u64) -> Manifest {
    Manifest {
        id: SnapshotId([n; 16]),
        started: committed,
        committed,
        host: String::new(),
        program: String::new(),
        source: String::new(),
        cluster: "zoo".into(),
        tags: Vec::new(),
        sequence: 0,
        heads: Vec::new(),
        index_segments: 0,
        stored_bytes: 0,
        missing: Vec::new(),
        salvage: None,
        origin: None,
        namespaces: Vec::new(),
    }
}

/// What is decided long after the last of them, by a clock that is right.
fn decide(policy: &Retention, snapshots: &[Manifest]) -> Result<Vec<Verdict>> {
    super::decide(policy, snapshots, &Times::of(snapshots, Timestamp(MONDAY + 1000 * DAY)))
}

/// The numbers of those that stay.
fn stay(policy: &Retention, snapshots: &[Manifest]) -> Vec<u8> {
    let verdicts = decide(policy, snapshots).unwrap();
    verdicts.iter().filter(|verdict| verdict.stays()).map(|verdict| verdict.snapshot.0[0]).collect()
}

#[test]
fn each_period_keeps_its_newest_and_empty_periods_do_not_count() {
    // Two on Monday, one on Tuesday, one on Sunday, one on the Monday after, one on the first of February.
    let times = [0, HOUR, DAY, 6 * DAY, 7 * DAY, 27 * DAY];
    let all: Vec<Manifest> = (0..).zip(times).map(|(n, time)| snapshot(n, MONDAY + time)).collect();
    let with = |set: fn(&mut Retention)| {
        let mut policy = Retention::default();
        set(&mut policy);
        stay(&policy, &all)
    };
    assert_eq!(with(|policy| policy.last = Some(2)), [4, 5]);
    assert_eq!(with(|policy| policy.hourly = Some(6)), [0, 1, 2, 3, 4, 5]);
    assert_eq!(with(|policy| policy.daily = Some(9)), [1, 2, 3, 4, 5]);
    assert_eq!(with(|policy| policy.weekly = Some(9)), [3, 4, 5]);
    assert_eq!(with(|policy| policy.monthly = Some(9)), [4, 5]);
    assert_eq!(with(|policy| policy.yearly = Some(9)), [5]);
    assert_eq!(with(|policy| policy.within = Some(Duration::from_millis(20 * DAY))), [4, 5]);
    assert_eq!(with(|policy| (policy.last, policy.monthly) = (Some(1), Some(2))), [4, 5]);
}

#[test]
fn groups_do_not_see_one_another_and_labels_keep() {
    let mut all: Vec<Manifest> = (0..4).map(|n| snapshot(n, MONDAY + u64::from(n))).collect();
    all[0].cluster = "other".into();
    all[1].tags = vec!["hold".into()];
    let policy = Retention { last: Some(1), tags: vec!["hold".into()], ..Retention::default() };
    assert_eq!(stay(&policy, &all), [0, 1, 3]);
}

#[test]
fn an_incomplete_snapshot_takes_no_whole_ones_place_and_stays_while_nothing_whole_is_newer() {
    let mut all: Vec<Manifest> = (0..4).map(|n| snapshot(n, MONDAY + u64::from(n))).collect();
    all[1].missing = vec!["1 record".into()];
    all[3].missing = vec!["1 record".into()];
    assert_eq!(stay(&Retention { last: Some(2), ..Retention::default() }, &all), [0, 2, 3]);
}

#[test]
fn everything_goes_only_if_that_is_said() {
    let all = [snapshot(0, MONDAY), snapshot(1, MONDAY + 1)];
    assert!(matches!(decide(&Retention::default(), &all), Err(Error::Usage(_))));
    let tags = Retention { tags: vec!["hold".into()], ..Retention::default() };
    let zero = Retention { daily: Some(0), ..Retention::default() };
    for policy in [tags, zero] {
        let error = decide(&policy, &all).unwrap_err().to_string();
        assert!(error.contains("all 2 snapshots") && error.contains("`last` 0"), "{error}");
    }
    assert!(stay(&Retention { last: Some(0), ..Retention::default() }, &all).is_empty());
}

fn policies() -> impl Strategy<Value = Retention> {
    let count = || proptest::option::of(0u64..5);
    let counts = (count(), count(), count(), count(), count());
    (1u64..4, counts, proptest::option::of(0..40 * DAY), any::<bool>()).prop_map(|(last, counts, within, tag)| {
        let (hourly, daily, weekly, monthly, yearly) = counts;
        let tags = if tag { vec!["hold".to_string()] } else { Vec::new() };
        Retention {
            last: Some(last),
            hourly,
            daily,
            weekly,
            monthly,
            yearly,
            within: within.map(Duration::from_millis),
            tags,
            ..Retention::default()
        }
    })
}

fn histories() -> impl Strategy<Value = Vec<Manifest>> {
    let one = (0..900 * DAY, any::<bool>(), 0u8..3, 0u8..5);
    proptest::collection::vec(one, 1..40).prop_map(|rows| {
        let make = |(n, (time, tag, cluster, missing)): (u8, (u64, bool, u8, u8))| {
            let mut made = snapshot(n, MONDAY + time);
            made.cluster = cluster.to_string();
            made.tags = if tag { vec!["hold".into()] } else { Vec::new() };
            made.missing = if missing == 0 { vec!["some".into()] } else { Vec::new() };
            made
        };
        (0..).zip(rows).map(make).collect()
    })
}

proptest! {
    /// Whatever is asked for: the newest whole one of each group stays, nothing stays or goes twice, no rule keeps more
    /// than it says, and the order in which the snapshots are given is no matter.
    #[test]
    fn the_newest_stays_rules_keep_what_they_say_and_order_is_no_matter(policy in policies(), all in histories()) {
        let verdicts = decide(&policy, &all).unwrap();
        prop_assert_eq!(verdicts.len(), all.len());
        for cluster in ["0", "1", "2"] {
            let of_it = || all.iter().zip(&verdicts).filter(|(manifest, _)| manifest.cluster == cluster);
            let wholes = || of_it().filter(|(manifest, _)| manifest.missing.is_empty());
            let newest = wholes().max_by_key(|(manifest, _)| (manifest.committed, manifest.id));
            prop_assert!(newest.is_none_or(|(_, verdict)| verdict.reasons.contains(&Reason::Last(1))));
            let kept_by = |reason: &dyn Fn(&Reason) -> bool| {
                of_it().filter(|(_, verdict)| verdict.reasons.iter().any(reason)).count() as u64
            };
            let last = kept_by(&|reason| matches!(reason, Reason::Last(_)));
            prop_assert_eq!(last, policy.last.unwrap_or(0).min(wholes().count() as u64));
            for (period, wanted) in [
                (Period::Hour, policy.hourly),
                (Period::Day, policy.daily),
                (Period::Week, policy.weekly),
                (Period::Month, policy.monthly),
                (Period::Year, policy.yearly),
            ] {
                let number = |(manifest, _): (&Manifest, _)| period.number(manifest.committed, &Zone::default());
                let there: HashSet<i64> = wholes().map(number).collect();
                let newest = kept_by(&|reason| *reason == Reason::Newest(period));
                prop_assert_eq!(newest, wanted.unwrap_or(0).min(there.len() as u64));
            }
        }
        for (manifest, verdict) in all.iter().zip(&verdicts) {
            prop_assert_eq!(manifest.id, verdict.snapshot);
            prop_assert!(policy.tags.is_empty() || manifest.tags.is_empty() || verdict.stays());
        }
        let mut turned: Vec<Manifest> = all.clone();
        turned.reverse();
        let mut again = decide(&policy, &turned).unwrap();
        again.reverse();
        prop_assert_eq!(again, verdicts);
    }

    /// To keep what was kept, and ask again, changes nothing but for the rule that counts back from the newest of any
    /// kind.
    #[test]
    fn asked_again_the_same_policy_forgets_nothing_more(policy in policies(), all in histories()) {
        let verdicts = decide(&policy, &all).unwrap();
        let left = all.iter().zip(&verdicts).filter(|(_, verdict)| verdict.stays());
        let left: Vec<Manifest> = left.map(|(manifest, _)| manifest.clone()).collect();
        prop_assert!(decide(&policy, &left).unwrap().iter().all(Verdict::stays));
    }
}

#[test]
fn a_salvage_takes_the_place_of_what_lost_chunks() {
    let mut all: Vec<Manifest> = (1..=4).map(|n| snapshot(n, u64::from(n) * 1000)).collect();
    let salvage = |n: u8, of: u8, committed: u64, was_whole: bool| Manifest {
        missing: vec!["3 records".into()],
        salvage: Some(Salvage { original: SnapshotId([of; 16]), made: 9_000, was_whole, records_lost: 3 }),
        ..snapshot(n, committed)
    };
    all.push(salvage(5, 4, 4001, true));
    let two = Retention { last: Some(2), ..Retention::default() };
    assert_eq!(stay(&two, &all), [3, 5]);
    // A second one, which holds more.
    all.push(salvage(6, 4, 4002, true));
    assert_eq!(stay(&two, &all), [3, 6]);
    // By whatever rule: it has the labels of what it was made of.
    all.iter_mut().filter(|one| one.committed >= 4000).for_each(|one| one.tags = vec!["monthly".into()]);
    let by_tag = Retention { tags: vec!["monthly".into()], last: Some(1), ..Retention::default() };
    assert_eq!(stay(&by_tag, &all), [6]);
    assert_eq!(stay(&Retention { within: Some(Duration::from_millis(1500)), ..Retention::default() }, &all), [3, 6]);
    for policy in [by_tag, Retention { within: Some(Duration::from_secs(60)), ..Retention::default() }] {
        assert!(stay(&policy, &all).iter().all(|id| ![4, 5].contains(id)));
    }
    // What was made of an incomplete one counts as no whole one.
    all.truncate(4);
    all.push(salvage(5, 4, 4001, false));
    assert_eq!(stay(&two, &all), [2, 3, 5]);
}

/// Snapshots in this order, each of a writer that saw all before it, whatever its clock says.
fn in_order(times: impl IntoIterator<Item = u64>) -> Vec<Manifest> {
    let mut all: Vec<Manifest> = Vec::new();
    for (n, committed) in (1..).zip(times) {
        let heads = all.last().map(|before: &Manifest| before.id).into_iter().collect();
        all.push(Manifest { sequence: u64::from(n), heads, ..snapshot(n, committed) });
    }
    all
}

#[test]
fn a_snapshot_from_the_future_neither_is_the_newest_nor_makes_the_honest_ones_old() {
    // One of ten daily snapshots, the fourth or the last, was committed in 2036 by its host's clock.
    let policy = Retention { last: Some(1), within: Some(Duration::from_millis(5 * DAY)), ..Retention::default() };
    for wrong in [4, 10] {
        let time = |day: u64| if day == wrong { MONDAY + 3650 * DAY } else { MONDAY + day * DAY };
        let all = in_order((1..=10).map(time));
        // The fourth is taken to be as old as the fifth, and the tenth as the ninth.
        assert_eq!(stay(&policy, &all), [4, 5, 6, 7, 8, 9, 10]);
    }
}

#[test]
fn a_clock_that_is_minutes_ahead_does_not_make_an_older_snapshot_the_newest() {
    let all = in_order([MONDAY, MONDAY + 300_000, MONDAY + 60_000]);
    assert_eq!(stay(&Retention { last: Some(1), ..Retention::default() }, &all), [3]);
    assert_eq!(stay(&Retention { daily: Some(1), ..Retention::default() }, &all), [3]);
}

#[test]
fn rules_that_go_by_time_decide_nothing_where_most_snapshots_lie_in_the_future() {
    let all = in_order([MONDAY, MONDAY + 3650 * DAY, MONDAY + 3651 * DAY]);
    let error = decide(&Retention { daily: Some(1), ..Retention::default() }, &all).unwrap_err().to_string();
    assert!(error.contains("Set this machine's clock") && error.contains("`last`"), "{error}");
    assert_eq!(stay(&Retention { last: Some(2), ..Retention::default() }, &all), [2, 3]);
}

#[test]
fn days_are_those_of_the_zone_also_where_clocks_are_put_forward_or_back() {
    // Every night at half past one in Berlin, around the 29th of March and the 25th of October 2026.
    for (first, shift) in [(1_774_571_400_000, -1), (1_792_711_800_000, 1)] {
        let nights: Vec<u64> = (0..6u64).map(|n| first + n * DAY).collect();
        // After the change the same time on the wall is another in UTC.
        let local = |n: usize, time: u64| if n >= 3 { time.saturating_add_signed(shift * HOUR as i64) } else { time };
        let all = in_order(nights.iter().enumerate().map(|(n, time)| local(n, *time)));
        let policy = |zone: Zone| Retention { daily: Some(6), zone, ..Retention::default() };
        assert_eq!(stay(&policy(Zone::named("Europe/Berlin").unwrap()), &all), [1, 2, 3, 4, 5, 6]);
        // In UTC two of them share a day, or a day has none.
        assert_ne!(stay(&Retention { daily: Some(5), ..policy(Zone::default()) }, &all).len(), 6);
    }
    assert!(Zone::named("Mars/Base").is_err());
}

#[test]
fn the_newest_of_each_day_stays_as_long_as_it_is_young_enough() {
    // Two a day for ten days.
    let all = in_order((0..20).map(|n| MONDAY + n * DAY / 2));
    let policy = |periods: &[(Period, u64)]| Retention {
        within_newest: periods.iter().map(|&(period, millis)| (period, Duration::from_millis(millis))).collect(),
        ..Retention::default()
    };
    assert_eq!(stay(&policy(&[(Period::Day, 3 * DAY)]), &all), [14, 16, 18, 20]);
    // Monday to Sunday, and the Monday after.
    assert_eq!(stay(&policy(&[(Period::Day, DAY), (Period::Week, 30 * DAY)]), &all), [14, 18, 20]);
}
