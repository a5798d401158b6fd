//! How servers are asked for a selection.

use super::fetch::Want;
use crate::aerospike::wire::expression;
use crate::record::RecordSelection;
use std::borrow::Cow;

impl RecordSelection {
    /// The set that a query names; empty for none. Several are a matter of the filter.
    pub fn query_set(&self) -> &[u8] {
        match &self.sets[..] {
            [set] => set,
            _ => &[],
        }
    }

    /// The filter expression of a query for records that were updated at or after a time if one is given, or for
    /// digests of those that were updated before it; empty if all pass.
    pub fn query_filter(&self, want: Want) -> Vec<u8> {
        let mut conditions: Vec<Cow<'_, [u8]>> = Vec::new();
        conditions.extend(match want {
            Want::Records(since) => since.map(|time| expression::updated_since(time).into()),
            Want::Digests(before) => before.map(|time| expression::updated_before(time).into()),
        });
        if self.sets.len() > 1 || self.sets.iter().any(Vec::is_empty) {
            conditions.push(expression::in_one_of(&self.sets).into());
        }
        if !self.filter.is_empty() {
            conditions.push(Cow::Borrowed(&self.filter[..]));
        }
        expression::all_of(&conditions)
    }

    /// The filter expression of a batch of reads; its rows tell their sets.
    pub fn batch_filter(&self) -> &[u8] {
        &self.filter
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
        assert!(none.query_filter(Want::Records(None)).is_empty() && none.query_filter(Want::Digests(None)).is_empty());
        let since = expression::updated_since(Timestamp(5));
        assert_eq!(none.query_filter(Want::Records(Some(Timestamp(5)))), since);
        let before = expression::updated_before(Timestamp(5));
        assert_eq!(none.query_filter(Want::Digests(Some(Timestamp(5)))), before);
        // Less than (5), last update (66), nanoseconds.
        assert_eq!(hex::encode(&before), "93059142ce004c4b40");
        let one = RecordSelection { sets: names(&["a"]), filter: vec![0xc3], ..RecordSelection::default() };
        assert_eq!((one.query_set(), one.query_filter(Want::Records(None))), (&b"a"[..], vec![0xc3]));
        assert_eq!(one.query_filter(Want::Records(Some(Timestamp(5)))), [&[0x93, 16], &since[..], &[0xc3]].concat());
        let two = RecordSelection { sets: names(&["a", ""]), ..RecordSelection::default() };
        assert!(two.query_set().is_empty() && two.has_set(b"") && !two.has_set(b"b"));
        // As the Python client encodes it.
        assert_eq!(
            hex::encode(two.query_filter(Want::Records(None))),
            "93119301 9146a2036193019146a103".replace(' ', "")
        );
    }
}
