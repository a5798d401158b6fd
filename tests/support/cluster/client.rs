//! A small client that writes what tests read: it works with this cluster and with a real one.

use super::data::{Bin, Digest, partition};
use super::protocol::{INFO, Input, MESSAGE, Message, frame, read_frame};
use std::collections::BTreeMap;
use std::io::Write;
use std::net::TcpStream;

/// Writes records to the nodes of a cluster.
pub struct Client {
    /// A connection to each node, and the partitions that it has.
    nodes: Vec<(TcpStream, Vec<u8>)>,
    namespace: String,
}

/// Bins by name: particle type and bytes.
pub type Bins = BTreeMap<Vec<u8>, (u8, Vec<u8>)>;

/// The digest of a key in a set; `key` is its particle type and its bytes.
pub fn digest(set: &[u8], key: &[u8]) -> Digest {
    aerolith::record::Digest::compute(set, aerolith::record::ParticleType(key[0]), &key[1..]).0
}

/// Asks for one value.
pub fn info(stream: &mut TcpStream, name: &str) -> String {
    stream.write_all(&frame(INFO, format!("{name}\n").as_bytes())).unwrap();
    let (_, body) = read_frame(stream).unwrap();
    let text = String::from_utf8_lossy(&body).into_owned();
    text.trim_end_matches('\n').split_once('\t').unwrap_or_default().1.to_string()
}

impl Client {
    /// Connects to nodes by their addresses.
    pub fn connect(addresses: &[String], namespace: &str) -> Self {
        let nodes = addresses.iter().map(|address| {
            let mut stream = TcpStream::connect(address).unwrap();
            let replicas = info(&mut stream, "replicas");
            let own = replicas.split(';').find_map(|part| part.strip_prefix(&format!("{namespace}:"))).unwrap();
            let bitmap = own.split(',').nth(2).unwrap();
            (stream, base64_simd::STANDARD.decode_to_vec(bitmap).unwrap())
        });
        Self { nodes: nodes.collect(), namespace: namespace.to_string() }
    }

    /// Asks the first node for one value.
    pub fn info(&mut self, name: &str) -> String {
        info(&mut self.nodes[0].0, name)
    }

    fn node(&mut self, digest: &Digest) -> &mut TcpStream {
        let number = usize::from(partition(digest));
        let node = self.nodes.iter_mut().find(|(_, bits)| bits[number / 8] & (0x80 >> (number % 8)) != 0);
        &mut node.expect("a node has the partition").0
    }

    fn send(&mut self, digest: &Digest, mut message: Message, set: &[u8], key: Option<&[u8]>) -> Message {
        message.fields.push((0, self.namespace.as_bytes().to_vec()));
        if !set.is_empty() {
            message.fields.push((1, set.to_vec()));
        }
        message.fields.extend(key.map(|key| (2, key.to_vec())));
        message.fields.push((4, digest.to_vec()));
        let stream = self.node(digest);
        stream.write_all(&frame(MESSAGE, &message.encode())).unwrap();
        let (_, body) = read_frame(stream).unwrap();
        Message::take(&mut Input(&body))
    }

    /// Writes a record as a whole; `ttl` in seconds, 0xffffffff for never. The key is stored if `store_key`.
    pub fn put(&mut self, set: &[u8], key: &[u8], store_key: bool, ttl: u32, bins: &[Bin]) -> Digest {
        let digest = digest(set, key);
        let operations = bins.iter().map(|bin| (2, bin.clone())).collect();
        let message = Message { info: [0, 1, 16, 0], ttl, operations, ..Message::default() };
        let answer = self.send(&digest, message, set, store_key.then_some(key));
        assert_eq!(answer.result, 0, "write of {key:?}");
        digest
    }

    /// Gives a record a new void time.
    pub fn touch(&mut self, set: &[u8], key: &[u8], ttl: u32) {
        let operations = vec![(11, (vec![], 0, vec![]))];
        let message = Message { info: [0, 1, 0, 0], ttl, operations, ..Message::default() };
        let answer = self.send(&digest(set, key), message, set, None);
        assert_eq!(answer.result, 0, "touch of {key:?}");
    }

    /// Deletes a record; whether it was there.
    pub fn delete(&mut self, set: &[u8], key: &[u8]) -> bool {
        let message = Message { info: [0, 3, 0, 0], ..Message::default() };
        let answer = self.send(&digest(set, key), message, set, None);
        assert!([0, 2].contains(&answer.result), "delete of {key:?}: {}", answer.result);
        answer.result == 0
    }

    /// Reads a record: generation, void time, bins by name.
    pub fn get(&mut self, set: &[u8], key: &[u8]) -> Option<(u32, u32, Bins)> {
        let message = Message { info: [3, 0, 0, 0], ..Message::default() };
        let answer = self.send(&digest(set, key), message, set, None);
        let bins = answer.operations.into_iter().map(|(_, (name, particle, value))| (name, (particle, value)));
        (answer.result == 0).then(|| (answer.generation, answer.ttl, bins.collect()))
    }

    /// Queries all partitions of all nodes for the records of a set, or all if it is empty, that pass a filter. Gives
    /// back how many came, and what the nodes' statistics of the query add up to under each of some names.
    pub fn query(&mut self, set: &[u8], filter: &[u8], bins: bool, statistics: &[&str]) -> (usize, Vec<u64>) {
        let namespace = self.namespace.clone().into_bytes();
        let (mut came, mut sums) = (0, vec![0; statistics.len()]);
        for (stream, bitmap) in &mut self.nodes {
            let owned = (0..4096u16).filter(|number| bitmap[usize::from(number / 8)] & (0x80 >> (number % 8)) != 0);
            let id = super::data::now() | 1;
            let fields = [
                (0, namespace.clone()),
                (1, set.to_vec()),
                (7, id.to_be_bytes().to_vec()),
                (11, owned.flat_map(u16::to_le_bytes).collect()),
                (43, filter.to_vec()),
            ];
            let fields = fields.into_iter().filter(|(_, data)| !data.is_empty()).collect();
            let head = [if bins { 1 } else { 33 }, 0, 4, 0];
            stream.write_all(&frame(MESSAGE, &Message { info: head, fields, ..Message::default() }.encode())).unwrap();
            'answer: loop {
                let (_, body) = read_frame(stream).unwrap();
                let mut input = Input(&body);
                while !input.0.is_empty() {
                    let message = Message::take(&mut input);
                    assert_eq!(message.result, 0, "answer to a query");
                    if message.info[2] & 1 != 0 {
                        break 'answer;
                    }
                    came += usize::from(message.field(4).is_some());
                }
            }
            let told = info(stream, &format!("query-show:trid={id}"));
            for (name, sum) in statistics.iter().zip(&mut sums) {
                let value = told.split(':').find_map(|pair| pair.strip_prefix(&format!("{name}=")));
                *sum += value.and_then(|value| value.parse::<u64>().ok()).unwrap_or_else(|| panic!("{name} of {told}"));
            }
        }
        (came, sums)
    }

    /// The records that the nodes count in the partitions of which they are the masters.
    pub fn counted(&mut self) -> u64 {
        let namespace = self.namespace.clone();
        let of = |row: &str| -> Option<u64> {
            let columns: Vec<&str> = row.split(':').collect();
            // Its place among the replicas is that of a master.
            (columns[0] == namespace && columns[4] == "0").then(|| columns[12].parse().unwrap())
        };
        self.nodes
            .iter_mut()
            .map(|node| info(&mut node.0, "partition-info").split(';').filter_map(of).sum::<u64>())
            .sum()
    }
}
