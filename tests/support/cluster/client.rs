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
}
