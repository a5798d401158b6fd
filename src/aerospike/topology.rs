//! Who belongs to the cluster, and which node has which partition: what nodes say of it, as pure functions of bytes.

use super::options::Address;
use super::wire::{WireError, info};
use crate::record::{PARTITIONS, PartitionId};
use std::collections::HashMap;
use std::sync::Arc;

/// The bytes of a map of all partitions, one bit each.
const BITMAP_BYTES: usize = PARTITIONS as usize / 8;
/// The most copies of a partition that are looked at; servers allow as many as there are nodes.
const MAX_REPLICAS: usize = 256;
/// The most peers that one node may name.
const MAX_PEERS: usize = 4096;

/// A node as another one describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its name.
    pub name: String,
    /// The name that its certificate bears, if it has one.
    pub tls_name: Option<String>,
    /// Where it can be reached; the first that answers is taken.
    pub addresses: Vec<Address>,
}

/// Reads the value of `peers-clear-std` and its relatives: `generation,port,[[name,tls name,[address,…]],…]`.
pub fn peers(value: &[u8]) -> Result<Vec<Peer>, WireError> {
    let text = info::text(value);
    let wrong = || WireError::new("the list of peers", "generation,port,[[name,tls name,[address]]]", quote(&text));
    let mut parts = text.splitn(3, ',');
    let (Some(_), Some(port), Some(list)) = (parts.next(), parts.next(), parts.next()) else { return Err(wrong()) };
    // The port may be left out where every address has its own.
    let port: u16 = if port.is_empty() { 0 } else { port.parse().map_err(|_| wrong())? };
    let mut rest = list.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).ok_or_else(wrong)?;
    let mut found = Vec::new();
    while !rest.is_empty() {
        let one = rest.strip_prefix('[').ok_or_else(wrong)?;
        let (name, one) = one.split_once(',').ok_or_else(wrong)?;
        let (tls_name, mut one) = one.split_once(",[").ok_or_else(wrong)?;
        let mut addresses = Vec::new();
        while let Some((host, after)) = split_address(one) {
            addresses.push(Address::parse(host, port).ok_or_else(wrong)?);
            one = after.strip_prefix(',').unwrap_or(after);
        }
        let after = one.strip_prefix("]]").ok_or_else(wrong)?;
        if found.len() >= MAX_PEERS {
            return Err(WireError::new("the list of peers", format!("at most {MAX_PEERS}"), "more"));
        }
        let tls_name = (!tls_name.is_empty()).then(|| tls_name.to_string());
        found.push(Peer { name: name.to_string(), tls_name, addresses });
        rest = after.strip_prefix(',').unwrap_or(after);
    }
    Ok(found)
}

/// Splits an address off a list of them. `None` at the list's end, and if it has none.
fn split_address(list: &str) -> Option<(&str, &str)> {
    // Within its brackets an IPv6 address ends the list no more than its colons begin a port.
    let from = if list.starts_with('[') { list.find(']')? + 1 } else { 0 };
    let end = from + list.get(from..)?.find([',', ']'])?;
    if end == 0 { None } else { list.split_at_checked(end) }
}

fn quote(text: &str) -> String {
    let head: String = text.chars().take(80).collect();
    format!("{head:?}")
}

/// Which partitions of a namespace a node has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ownership {
    /// The namespace.
    pub namespace: String,
    /// Counts up whenever the cluster changes; what a node says of an older regime is outdated. 0 where availability
    /// goes before consistency.
    pub regime: u32,
    /// For each copy, master first, a bit for each partition: whether the node has it.
    pub copies: Vec<Vec<u8>>,
}

/// Reads the value of `replicas`: `namespace:regime,copies,bitmap,…;…`, the bitmaps in base64.
pub fn replicas(value: &[u8]) -> Result<Vec<Ownership>, WireError> {
    let wrong = |part: &[u8]| {
        WireError::new("the partition map", "namespace:regime,copies,bitmaps", quote(&String::from_utf8_lossy(part)))
    };
    info::list(value, b';')
        .map(|part| {
            let mut halves = part.splitn(2, |&byte| byte == b':');
            let (Some(namespace), Some(rest)) = (halves.next(), halves.next()) else { return Err(wrong(part)) };
            let mut items = rest.split(|&byte| byte == b',');
            let mut number = || std::str::from_utf8(items.next()?).ok()?.parse::<u32>().ok();
            let (Some(regime), Some(count)) = (number(), number()) else { return Err(wrong(part)) };
            if count as usize > MAX_REPLICAS {
                return Err(WireError::new(
                    "the number of copies",
                    format!("at most {MAX_REPLICAS}"),
                    count.to_string(),
                ));
            }
            let copies = items.map(|bitmap| {
                let bits = base64_simd::STANDARD.decode_to_vec(bitmap).map_err(|_| wrong(part))?;
                if bits.len() == BITMAP_BYTES { Ok(bits) } else { Err(wrong(part)) }
            });
            let copies = copies.collect::<Result<Vec<_>, _>>()?;
            if copies.len() != count as usize {
                return Err(wrong(part));
            }
            Ok(Ownership { namespace: info::text(namespace), regime, copies })
        })
        .collect()
}

/// Reads the value of `rack-ids`: `namespace:rack;…`.
pub fn racks(value: &[u8]) -> HashMap<String, u32> {
    let pairs = info::list(value, b';').filter_map(|pair| {
        let pair = info::text(pair);
        let (namespace, rack) = pair.split_once(':')?;
        Some((namespace.to_string(), rack.parse().ok()?))
    });
    pairs.collect()
}

/// The regime in which a node claimed a partition, and the node.
type Claim = (u32, Arc<str>);

/// Which node has which partition of one namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartitionMap {
    /// For each copy, master first, and each partition, the claim that counts.
    copies: Vec<Vec<Option<Claim>>>,
}

impl PartitionMap {
    /// Takes in what a node says of itself. Of several that claim a partition, the one of the newest regime has it; of
    /// the same regime the last one asked, since it has heard of a change that the others have not.
    pub fn claim(&mut self, node: &Arc<str>, ownership: &Ownership) {
        if self.copies.len() < ownership.copies.len() {
            self.copies.resize_with(ownership.copies.len(), || vec![None; usize::from(PARTITIONS)]);
        }
        for (owners, bits) in self.copies.iter_mut().zip(&ownership.copies) {
            for (byte, owners) in bits.iter().zip(owners.chunks_mut(8)) {
                for (bit, owner) in owners.iter_mut().enumerate() {
                    let claimed = byte & (0x80 >> bit) != 0;
                    let newer = owner.as_ref().is_none_or(|(regime, _)| *regime <= ownership.regime);
                    if claimed && newer {
                        *owner = Some((ownership.regime, node.clone()));
                    }
                }
            }
        }
    }

    /// The nodes that have a partition, master first; a copy that nobody claims is left out.
    pub fn owners(&self, partition: PartitionId) -> impl Iterator<Item = &Arc<str>> {
        self.copies.iter().filter_map(move |copy| Some(&copy.get(usize::from(partition.number()))?.as_ref()?.1))
    }

    /// The node that has a partition as its master.
    #[cfg(test)]
    fn master(&self, partition: PartitionId) -> Option<&Arc<str>> {
        Some(&self.copies.first()?.get(usize::from(partition.number()))?.as_ref()?.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition(number: u16) -> PartitionId {
        PartitionId::new(number).unwrap()
    }

    #[test]
    fn reads_peers_with_all_kinds_of_addresses() {
        assert_eq!(peers(b"0,3000,[]").unwrap(), []);
        let found = peers(b"7,3000,[[B1,,[10.0.0.2:3100,10.0.0.3]],[C1,tls.name,[[::1]:3000,[fe80::7]]]]").unwrap();
        let address = |host: &str, port| Address { host: host.to_string(), port };
        assert_eq!(found[0].name, "B1");
        assert_eq!(found[0].tls_name, None);
        assert_eq!(found[0].addresses, [address("10.0.0.2", 3100), address("10.0.0.3", 3000)]);
        assert_eq!(found[1].tls_name.as_deref(), Some("tls.name"));
        assert_eq!(found[1].addresses, [address("::1", 3000), address("fe80::7", 3000)]);
        for wrong in [&b""[..], b"1", b"1,2", b"1,3000,[[B1]]", b"1,3000,[[B1,,[a]", b"1,x,[]", b"1,3000,[[B1,,[a:0]]]"]
        {
            assert!(peers(wrong).is_err(), "{:?}", String::from_utf8_lossy(wrong));
        }
    }

    fn bitmap(partitions: &[u16]) -> Vec<u8> {
        let mut bits = vec![0; BITMAP_BYTES];
        partitions.iter().for_each(|&n| bits[usize::from(n / 8)] |= 0x80 >> (n % 8));
        bits
    }

    #[test]
    fn reads_bitmaps_of_all_copies_and_namespaces() {
        let (one, two) = (bitmap(&[0, 9, 4095]), bitmap(&[1]));
        let text = |bits: &[u8]| base64_simd::STANDARD.encode_to_string(bits);
        let value = format!("test:5,2,{},{};bar:0,1,{}", text(&one), text(&two), text(&two));
        let found = replicas(value.as_bytes()).unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].namespace.as_str(), found[0].regime), ("test", 5));
        assert_eq!(found[0].copies, [one, two.clone()]);
        assert_eq!(found[1].copies, [two]);
        for wrong in [value.replace("5,2", "5,3"), value.replace("5,2", "x,2"), "test:1,1,AAAA".into(), "test".into()] {
            assert!(replicas(wrong.as_bytes()).is_err(), "{wrong:.20}");
        }
    }

    #[test]
    fn the_newest_regime_has_a_partition() {
        let (a, b): (Arc<str>, Arc<str>) = ("A".into(), "B".into());
        let says = |regime, masters: &[u16], proles: &[u16]| Ownership {
            namespace: "test".into(),
            regime,
            copies: vec![bitmap(masters), bitmap(proles)],
        };
        let mut map = PartitionMap::default();
        map.claim(&a, &says(2, &[1, 2], &[3]));
        map.claim(&b, &says(1, &[2, 3], &[1]));
        assert_eq!(map.master(partition(1)), Some(&a));
        assert_eq!(map.master(partition(2)), Some(&a), "an older regime's claim counts for nothing");
        assert_eq!(map.master(partition(3)), Some(&b));
        assert_eq!(map.master(partition(4)), None);
        assert_eq!(map.owners(partition(1)).collect::<Vec<_>>(), [&a, &b]);
        assert_eq!(map.owners(partition(3)).collect::<Vec<_>>(), [&b, &a]);
        map.claim(&b, &says(3, &[1], &[]));
        assert_eq!(map.master(partition(1)), Some(&b));
    }

    #[test]
    fn reads_racks() {
        assert_eq!(racks(b"test:7;bar:0;odd"), HashMap::from([("test".into(), 7), ("bar".into(), 0)]));
    }
}
