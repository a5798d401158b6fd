//! How servers are asked for a selection.

use super::fetch::Want;
use crate::aerospike::wire::expression;
use crate::record::{RecordSelection, VoidTime};
use std::borrow::Cow;

impl RecordSelection {
    /// The set that a query names; empty for none. Several are a matter of the filter.
    pub fn query_set(&self) -> &[u8] {
        match &self.sets[..] {
            [set] => set,
            _ => &[],
        }
    }

    /// The filter expression of a query for records that were updated at or after a time if one is given, and for
    /// changes also those that expire by `until` if that is a time, or for digests of those that were updated before
    /// it; empty if all pass.
    pub fn query_filter(&self, want: Want, until: VoidTime) -> Vec<u8> {
        let mut conditions: Vec<Cow<'_, [u8]>> = Vec::new();
        conditions.extend(match want {
            Want::Records(since) => since.map(|time| expression::updated_since(time).into()),
            Want::Changes(since) if until == VoidTime::NEVER => Some(expression::updated_since(since).into()),
            Want::Changes(since) => {
                let either = [expression::updated_since(since), expression::expires_by(until)];
                Some(expression::any_of(&either).into())
            }
            Want::Digests(before) => before.map(|time| expression::updated_before(time).into()),
        });
        conditions.extend(self.own_conditions());
        expression::all_of(&conditions)
    }

    /// Whether a query's filter leaves out what was not updated, and nothing else: then what the servers say that they
    /// left out is that.
    pub fn is_counted_exactly(&self) -> bool {
        self.own_conditions().is_empty() && self.bins.is_empty() && self.digests.is_empty()
    }

    /// What a filter must ask of a record beside the time of its update.
    fn own_conditions(&self) -> Vec<Cow<'_, [u8]>> {
        let mut conditions: Vec<Cow<'_, [u8]>> = Vec::new();
        if self.sets.len() > 1 || self.sets.iter().any(Vec::is_empty) {
            conditions.push(expression::in_one_of(&self.sets).into());
        }
        conditions.extend(self.of_records());
        conditions
    }

    /// What is asked of a record beside its set.
    fn of_records(&self) -> Vec<Cow<'_, [u8]>> {
        let mut conditions: Vec<Cow<'_, [u8]>> = Vec::new();
        conditions.extend(self.modified_after.map(|time| expression::updated_since(time).into()));
        conditions.extend(self.modified_before.map(|time| expression::updated_before(time).into()));
        if self.never_expires {
            conditions.push(expression::never_expires().into());
        }
        if !self.filter.is_empty() {
            conditions.push(Cow::Borrowed(&self.filter[..]));
        }
        conditions
    }

    /// The filter expression of a batch of reads; its rows tell their sets.
    pub fn batch_filter(&self) -> Vec<u8> {
        expression::all_of(&self.of_records())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Timestamp;

    fn names(names: &[&str]) -> Vec<Vec<u8>> {
        names.iter().map(|name| name.as_bytes().to_vec()).collect()
    }

    #[test]
    fn a_single_condition_stands_alone_and_several_are_joined() {
        let none = RecordSelection::default();
        assert!(
            none.query_filter(Want::Records(None), VoidTime::NEVER).is_empty()
                && none.query_filter(Want::Digests(None), VoidTime::NEVER).is_empty()
        );
        let since = expression::updated_since(Timestamp(5));
        assert_eq!(none.query_filter(Want::Records(Some(Timestamp(5))), VoidTime::NEVER), since);
        let before = expression::updated_before(Timestamp(5));
        assert_eq!(none.query_filter(Want::Digests(Some(Timestamp(5))), VoidTime::NEVER), before);
        // Less than (5), last update (66), nanoseconds.
        assert_eq!(hex::encode(&before), "93059142ce004c4b40");
        let one = RecordSelection { sets: names(&["a"]), filter: vec![0xc3], ..RecordSelection::default() };
        assert_eq!((one.query_set(), one.query_filter(Want::Records(None), VoidTime::NEVER)), (&b"a"[..], vec![0xc3]));
        assert_eq!(
            one.query_filter(Want::Records(Some(Timestamp(5))), VoidTime::NEVER),
            [&[0x93, 16], &since[..], &[0xc3]].concat()
        );
        let two = RecordSelection { sets: names(&["a", ""]), ..RecordSelection::default() };
        assert!(two.query_set().is_empty() && two.has_set(b"") && !two.has_set(b"b"));
        // As the Python client encodes it.
        assert_eq!(
            hex::encode(two.query_filter(Want::Records(None), VoidTime::NEVER)),
            "93119301 9146a2036193019146a103".replace(' ', "")
        );
    }
}
