//! How many records a node has of each partition, as `partition-info` tells.

use super::{WireError, info};
use crate::record::{PARTITIONS, PartitionId};
use std::collections::BTreeMap;

/// Reads the value of `partition-info`: `name:name:…;` and then a row of values for each partition of each namespace.
/// Counted are the records of this namespace in the node's own copies, with those that expired and were not swept yet.
pub fn of_partitions(value: &[u8], namespace: &str) -> Result<BTreeMap<PartitionId, u64>, WireError> {
    let mut rows = info::list(value, b';');
    let names: Vec<&[u8]> = rows.next().unwrap_or_default().split(|&byte| byte == b':').collect();
    let place = |name: &str| {
        let wrong = || {
            let found = info::text(value.get(..value.len().min(200)).unwrap_or_default());
            WireError::new("the list of partitions", format!("a column {name}"), format!("{found:?}"))
        };
        names.iter().position(|found| *found == name.as_bytes()).ok_or_else(wrong)
    };
    let [space, partition, records, tombstones] =
        [place("namespace")?, place("partition")?, place("records")?, place("tombstones")?];
    let mut counts = BTreeMap::new();
    for row in rows {
        let columns: Vec<&[u8]> = row.split(|&byte| byte == b':').collect();
        if columns.get(space).is_none_or(|found| *found != namespace.as_bytes()) {
            continue;
        }
        let number = |place: usize| std::str::from_utf8(columns.get(place)?).ok()?.parse::<u64>().ok();
        let read = || {
            let partition = number(partition).filter(|number| *number < u64::from(PARTITIONS))?;
            let partition = PartitionId::new(u16::try_from(partition).ok()?)?;
            Some((partition, number(records)?.saturating_sub(number(tombstones)?)))
        };
        let row = || WireError::new("a row of the list of partitions", "numbers", format!("{:?}", info::text(row)));
        let (partition, count) = read().ok_or_else(row)?;
        counts.insert(partition, count);
    }
    Ok(counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_of_a_namespace_are_counted_without_tombstones() {
        let value = b"namespace:partition:state:records:tombstones:regime;test:0:S:7:2:1;test:9:A:0:0:1;bar:0:S:5:0:1";
        let counts = of_partitions(value, "test").unwrap();
        let counts: Vec<(u16, u64)> =
            counts.into_iter().map(|(partition, count)| (partition.number(), count)).collect();
        assert_eq!(counts, [(0, 5), (9, 0)]);
        for wrong in [
            &b""[..],
            b"namespace:partition:records",
            b"namespace:partition:records:tombstones;test:4096:1:0",
            b"namespace:partition:records:tombstones;test:1:x:0",
        ] {
            assert!(of_partitions(wrong, "test").is_err(), "{}", info::text(wrong));
        }
    }
}
