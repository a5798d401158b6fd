use super::*;
use crate::format::snapshot::Salvage;
use proptest::prelude::*;

const HOUR: u64 = 3_600_000;
const DAY: u64 = 24 * HOUR;
/// Monday, 2026-01-05T00:00:00Z.
const MONDAY: u64 = 1_767_571_200_000;

fn snapshot(n: u8, sealed: u64) -> Manifest {
    Manifest {
        id: SnapshotId([n; 16]),
        started: sealed,
        sealed,
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

/// The numbers of those that stay.
fn stay(policy: &Policy, snapshots: &[Manifest]) -> Vec<u8> {
    let verdicts = policy.decide(snapshots).unwrap();
    verdicts.iter().filter(|verdict| verdict.stays()).map(|verdict| verdict.snapshot.0[0]).collect()
}

#[test]
fn each_period_keeps_its_newest_and_empty_periods_do_not_count() {
    // Two on Monday, one on Tuesday, one on Sunday, one on the Monday after, one on the first of February.
    let times = [0, HOUR, DAY, 6 * DAY, 7 * DAY, 27 * DAY];
    let all: Vec<Manifest> = (0..).zip(times).map(|(n, time)| snapshot(n, MONDAY + time)).collect();
    let with = |set: fn(&mut Policy)| {
        let mut policy = Policy::default();
        set(&mut policy);
        stay(&policy, &all)
    };
    assert_eq!(with(|policy| policy.last = Some(2)), [4, 5]);
    assert_eq!(with(|policy| policy.hourly = Some(6)), [0, 1, 2, 3, 4, 5]);
    assert_eq!(with(|policy| policy.daily = Some(9)), [1, 2, 3, 4, 5]);
    assert_eq!(with(|policy| policy.weekly = Some(9)), [3, 4, 5]);
    assert_eq!(with(|policy| policy.monthly = Some(9)), [4, 5]);
    assert_eq!(with(|policy| policy.yearly = Some(9)), [5]);
    assert_eq!(with(|policy| policy.within_millis = Some(20 * DAY)), [4, 5]);
    assert_eq!(with(|policy| (policy.last, policy.monthly) = (Some(1), Some(2))), [4, 5]);
}

#[test]
fn groups_do_not_see_one_another_and_labels_keep() {
    let mut all: Vec<Manifest> = (0..4).map(|n| snapshot(n, MONDAY + u64::from(n))).collect();
    all[0].cluster = "other".into();
    all[1].tags = vec!["hold".into()];
    let policy = Policy { last: Some(1), tags: vec!["hold".into()], ..Policy::default() };
    assert_eq!(stay(&policy, &all), [0, 1, 3]);
}

#[test]
fn an_incomplete_snapshot_takes_no_whole_ones_place_and_stays_while_nothing_whole_is_newer() {
    let mut all: Vec<Manifest> = (0..4).map(|n| snapshot(n, MONDAY + u64::from(n))).collect();
    all[1].missing = vec!["1 record".into()];
    all[3].missing = vec!["1 record".into()];
    assert_eq!(stay(&Policy { last: Some(2), ..Policy::default() }, &all), [0, 2, 3]);
}

#[test]
fn everything_goes_only_if_that_is_said() {
    let all = [snapshot(0, MONDAY), snapshot(1, MONDAY + 1)];
    assert!(matches!(Policy::default().decide(&all), Err(Error::Usage(_))));
    let tags = Policy { tags: vec!["hold".into()], ..Policy::default() };
    let zero = Policy { daily: Some(0), ..Policy::default() };
    for policy in [tags, zero] {
        let error = policy.decide(&all).unwrap_err().to_string();
        assert!(error.contains("all 2 snapshots") && error.contains("--keep-last 0"), "{error}");
    }
    assert!(stay(&Policy { last: Some(0), ..Policy::default() }, &all).is_empty());
}

fn policies() -> impl Strategy<Value = Policy> {
    let count = || proptest::option::of(0u64..5);
    let counts = (count(), count(), count(), count(), count());
    (1u64..4, counts, proptest::option::of(0..40 * DAY), any::<bool>()).prop_map(|(last, counts, within, tag)| {
        let (hourly, daily, weekly, monthly, yearly) = counts;
        let tags = if tag { vec!["hold".to_string()] } else { Vec::new() };
        Policy { last: Some(last), hourly, daily, weekly, monthly, yearly, within_millis: within, tags }
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
    /// Whatever is asked for: the newest whole one of each group stays, nothing stays or goes twice, no rule keeps more than it
    /// says, and the order in which the snapshots are given is no matter.
    #[test]
    fn the_newest_stays_rules_keep_what_they_say_and_order_is_no_matter(policy in policies(), all in histories()) {
        let verdicts = policy.decide(&all).unwrap();
        prop_assert_eq!(verdicts.len(), all.len());
        for cluster in ["0", "1", "2"] {
            let of_it = || all.iter().zip(&verdicts).filter(|(manifest, _)| manifest.cluster == cluster);
            let newest = of_it().filter(|(manifest, _)| manifest.missing.is_empty()).max_by_key(|(manifest, _)| (manifest.sealed, manifest.id));
            prop_assert!(newest.is_none_or(|(_, verdict)| verdict.reasons.contains(&Reason::Last(1))));
            let kept_by = |reason: &dyn Fn(&Reason) -> bool| of_it().filter(|(_, verdict)| verdict.reasons.iter().any(reason)).count() as u64;
            let wholes = of_it().filter(|(manifest, _)| manifest.missing.is_empty()).count() as u64;
            prop_assert_eq!(kept_by(&|reason| matches!(reason, Reason::Last(_))), policy.last.unwrap_or(0).min(wholes));
            for (period, wanted) in [(Period::Hour, policy.hourly), (Period::Day, policy.daily), (Period::Week, policy.weekly),
                (Period::Month, policy.monthly), (Period::Year, policy.yearly)] {
                let there: HashSet<i64> = of_it().filter(|(manifest, _)| manifest.missing.is_empty())
                    .map(|(manifest, _)| period.number(manifest.sealed)).collect();
                prop_assert_eq!(kept_by(&|reason| *reason == Reason::Newest(period)), wanted.unwrap_or(0).min(there.len() as u64));
            }
        }
        for (manifest, verdict) in all.iter().zip(&verdicts) {
            prop_assert_eq!(manifest.id, verdict.snapshot);
            prop_assert!(policy.tags.is_empty() || manifest.tags.is_empty() || verdict.stays());
        }
        let mut turned: Vec<Manifest> = all.clone();
        turned.reverse();
        let mut again = policy.decide(&turned).unwrap();
        again.reverse();
        prop_assert_eq!(again, verdicts);
    }

    /// To keep what was kept, and ask again, changes nothing but for the rule that counts back from the newest of any kind.
    #[test]
    fn asked_again_the_same_policy_forgets_nothing_more(policy in policies(), all in histories()) {
        let verdicts = policy.decide(&all).unwrap();
        let left: Vec<Manifest> = all.iter().zip(&verdicts).filter(|(_, verdict)| verdict.stays()).map(|(manifest, _)| manifest.clone()).collect();
        prop_assert!(policy.decide(&left).unwrap().iter().all(Verdict::stays));
    }
}

#[test]
fn a_salvage_takes_the_place_of_what_lost_chunks() {
    let mut all: Vec<Manifest> = (1..=4).map(|n| snapshot(n, u64::from(n) * 1000)).collect();
    let salvage = |n: u8, of: u8, sealed: u64, was_whole: bool| Manifest {
        missing: vec!["3 records".into()],
        salvage: Some(Salvage { original: SnapshotId([of; 16]), made: 9_000, was_whole, records_lost: 3 }),
        ..snapshot(n, sealed)
    };
    all.push(salvage(5, 4, 4001, true));
    let two = Policy { last: Some(2), ..Policy::default() };
    assert_eq!(stay(&two, &all), [3, 5]);
    // A second one, which holds more.
    all.push(salvage(6, 4, 4002, true));
    assert_eq!(stay(&two, &all), [3, 6]);
    // By whatever rule: it has the labels of what it was made of.
    all.iter_mut().filter(|one| one.sealed >= 4000).for_each(|one| one.tags = vec!["monthly".into()]);
    let by_tag = Policy { tags: vec!["monthly".into()], last: Some(1), ..Policy::default() };
    assert_eq!(stay(&by_tag, &all), [6]);
    assert_eq!(stay(&Policy { within_millis: Some(1500), ..Policy::default() }, &all), [3, 6]);
    for policy in [by_tag, Policy { within_millis: Some(60_000), ..Policy::default() }] {
        assert!(stay(&policy, &all).iter().all(|id| ![4, 5].contains(id)));
    }
    // What was made of an incomplete one stands for no whole one.
    all.truncate(4);
    all.push(salvage(5, 4, 4001, false));
    assert_eq!(stay(&two, &all), [2, 3, 5]);
}
