//! What a cluster has beside its records: secondary indexes, UDF modules, configuration, nodes, users and roles.

use super::cluster::{Cluster, Node, Topology};
use super::error::{ClusterError, Result};
use super::security::{self, Access};
use super::wire::{WireError, info};
use crate::record::{Fact, NOT_READ, NamespaceMetadata, SecondaryIndex, UdfModule};

/// The keys of a secondary index's description, in the servers' order. Names of sets, bins and indexes may hold any of
/// the separators, so parts are told by these keys alone.
const INDEX_KEYS: [&str; 8] = ["indexname", "set", "bin", "type", "indextype", "context", "exp", "state"];
/// The keys of a set's description that are configuration; the others count what is there just now.
const SET_SETTINGS: [&str; 6] = [
    "default-read-touch-ttl-pct",
    "default-ttl",
    "disable-eviction",
    "enable-index",
    "stop-writes-count",
    "stop-writes-size",
];

/// Asks for all that belongs to a namespace. Indexes, modules and settings are the same on all nodes, so one is asked.
pub fn read(cluster: &Cluster, namespace: &str) -> Result<NamespaceMetadata> {
    cluster.patiently(|topology| read_once(cluster, topology, namespace))
}

fn read_once(cluster: &Cluster, topology: &Topology, namespace: &str) -> Result<NamespaceMetadata> {
    let Some(node) = topology.nodes.values().next() else {
        return Err(ClusterError::Other("the cluster has no nodes".into()));
    };
    let ask = |name: &str, what| cluster.info(node, name, what);
    let mut metadata = made(cluster, node, namespace)?;
    let mut fact = |topic: &str, name: &[u8], value: &[u8]| {
        metadata.facts.push(Fact { topic: topic.to_string(), name: name.to_vec(), value: value.to_vec() });
    };
    fact("cluster", b"name", topology.cluster_name.as_bytes());
    for node in topology.nodes.values() {
        fact("node build", node.name.as_bytes(), node.build.as_bytes());
        fact("node edition", node.name.as_bytes(), node.edition.as_bytes());
    }
    // Both forms of naming the namespace, for releases before and since 7.
    let settings = ask(&format!("get-config:context=namespace;namespace={namespace}"), "the namespace's configuration")
        .or_else(|_| ask(&format!("get-config:context=namespace;id={namespace}"), "the namespace's configuration"))?;
    for setting in info::list(&settings, b';') {
        let at = setting.iter().position(|&byte| byte == b'=').unwrap_or(setting.len());
        let (name, value) = setting.split_at(at);
        fact("namespace setting", name, value.strip_prefix(b"=").unwrap_or(value));
    }
    let sets = ask(&format!("sets/{namespace}"), "the list of sets")?;
    for (set, settings) in set_settings(&sets, namespace) {
        fact("set settings", &set, &settings);
    }
    match security::read(cluster, node)? {
        Access::Off => {}
        Access::Known { roles, users } => (metadata.roles, metadata.users) = (roles, users),
        Access::Hidden(problem) => {
            let (topic, name) = (NOT_READ.to_string(), b"users and roles".to_vec());
            metadata.facts.push(Fact { topic, name, value: problem.into_bytes() });
        }
    }
    Ok(metadata)
}

/// Asks one node for what somebody made for a namespace: secondary indexes and UDF modules.
pub fn made(cluster: &Cluster, node: &Node, namespace: &str) -> Result<NamespaceMetadata> {
    let ask = |name: &str, what| cluster.info(node, name, what);
    let wrong = |error| ClusterError::wire(&node.name, error);
    let mut metadata = NamespaceMetadata::default();
    let list = ask(&format!("sindex-list:ns={namespace};b64=true"), "the list of secondary indexes")?;
    metadata.indexes = indexes(&list, namespace).map_err(wrong)?;
    metadata.indexes.sort_by(|a, b| a.name.cmp(&b.name));

    let list = ask("udf-list", "the list of UDF modules")?;
    for module in info::list(&list, b';') {
        let Some(name) = info::value(module, b',', "filename") else {
            let found = info::text(module);
            return Err(wrong(WireError::new("the list of UDF modules", "filename=NAME", found)));
        };
        let text = ask(&format!("udf-get:filename={}", info::text(name)), "a UDF module")?;
        metadata.udfs.push(udf(name, &text).map_err(wrong)?);
    }
    metadata.udfs.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(metadata)
}

/// Splits `key=value:key=value…` at known keys. What is before the first key is left out.
fn at_keys<'a>(text: &'a [u8], keys: &[&'static str]) -> Vec<(&'static str, &'a [u8])> {
    let mut found: Vec<(&'static str, usize, usize)> = Vec::new();
    let mut from = 0;
    for key in keys {
        let mark = format!(":{key}=");
        let Some(rest) = text.get(from..) else { break };
        if let Some(at) = memchr::memmem::find(rest, mark.as_bytes()) {
            found.push((key, from + at, from + at + mark.len()));
            from += at + mark.len();
        }
    }
    let ends = found.iter().skip(1).map(|next| next.1).chain([text.len()]);
    let parts = found.iter().zip(ends).filter_map(|((key, _, begin), end)| Some((*key, text.get(*begin..end)?)));
    parts.collect()
}

/// Splits a list of descriptions, each of which begins with `ns=NAMESPACE:`.
fn descriptions<'a>(list: &'a [u8], namespace: &str) -> Vec<&'a [u8]> {
    let mark = format!("ns={namespace}:");
    let mut begins = vec![];
    if list.starts_with(mark.as_bytes()) {
        begins.push(0);
    }
    let between = format!(";{mark}");
    begins.extend(memchr::memmem::find_iter(list, between.as_bytes()).map(|at| at + 1));
    let ends = begins.iter().skip(1).map(|next| next - 1).chain([list.len()]);
    let parts = begins.iter().zip(ends).filter_map(|(begin, end)| list.get(*begin..end));
    parts.map(|part| part.strip_suffix(b";").unwrap_or(part)).collect()
}

/// Reads the list of secondary indexes of a namespace.
fn indexes(list: &[u8], namespace: &str) -> Result<Vec<SecondaryIndex>, WireError> {
    let found = descriptions(list, namespace);
    if found.is_empty() && !list.is_empty() {
        let begin = info::text(list.get(..list.len().min(80)).unwrap_or_default());
        return Err(WireError::new("the list of secondary indexes", format!("ns={namespace}:indexname="), begin));
    }
    found.into_iter().map(index).collect()
}

fn index(text: &[u8]) -> Result<SecondaryIndex, WireError> {
    let whole = || info::text(text);
    let mut index = SecondaryIndex { kind: b'?', value: b'?', ..SecondaryIndex::default() };
    let mut other: Vec<u8> = Vec::new();
    let mut bin = None;
    for (key, value) in at_keys(text, &INDEX_KEYS) {
        let there = value != b"null";
        let decoded =
            |what| base64_simd::STANDARD.decode_to_vec(value).map_err(|_| WireError::new(what, "base64", whole()));
        let mut known = true;
        match key {
            "indexname" => index.name = value.to_vec(),
            "set" if there => index.set = value.to_vec(),
            "bin" => bin = Some(value),
            "context" if there => index.context = decoded("the context of a secondary index")?,
            "exp" if there => index.expression = decoded("the expression of a secondary index")?,
            "type" => match value {
                b"numeric" => index.value = b'N',
                b"string" => index.value = b'S',
                b"geo2dsphere" => index.value = b'G',
                b"blob" => index.value = b'B',
                _ => known = false,
            },
            "indextype" => match value {
                b"default" | b"none" => index.kind = b'N',
                b"list" => index.kind = b'L',
                b"mapkeys" => index.kind = b'K',
                b"mapvalues" => index.kind = b'V',
                _ => known = false,
            },
            // How far building it has come is no part of it.
            _ => {}
        }
        if !known {
            other.extend_from_slice(if other.is_empty() { b"" } else { b":" });
            other.extend_from_slice(key.as_bytes());
            other.push(b'=');
            other.extend_from_slice(value);
        }
    }
    // A bin can bear the name that stands for none; then there is no expression.
    index.bin = match bin {
        Some(b"null") if !index.expression.is_empty() => Vec::new(),
        bin => bin.unwrap_or_default().to_vec(),
    };
    index.other = other;
    if index.name.is_empty() {
        return Err(WireError::new("a secondary index", "indexname=NAME", whole()));
    }
    Ok(index)
}

/// What a server says of how far a secondary index is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IndexState {
    /// Queries can use it.
    Built,
    /// It is being built.
    Building,
    /// It could not be made from its definition.
    Failed,
    /// The server says nothing of it, as of an index over a whole set.
    Untold,
}

/// For each secondary index of a list its name and state.
pub fn index_states(list: &[u8], namespace: &str) -> Vec<(Vec<u8>, IndexState)> {
    let states = descriptions(list, namespace).into_iter().filter_map(|text| {
        let parts = at_keys(text, &INDEX_KEYS);
        let part = |key| parts.iter().find(|(found, _)| *found == key).map(|(_, value)| *value);
        let state = match part("state") {
            Some(b"RW") => IndexState::Built,
            Some(b"ERROR") => IndexState::Failed,
            Some(_) => IndexState::Building,
            None => IndexState::Untold,
        };
        Some((part("indexname")?.to_vec(), state))
    });
    states.collect()
}

/// Reads the text of a UDF module: `type=LUA;content=BASE64;`.
fn udf(name: &[u8], text: &[u8]) -> Result<UdfModule, WireError> {
    let content = info::value(text, b';', "content").unwrap_or_default();
    let content = base64_simd::STANDARD
        .decode_to_vec(content)
        .map_err(|_| WireError::new("a UDF module", "its content in base64", info::text(name)))?;
    let kind = info::value(text, b';', "type").and_then(|kind| kind.first()).copied().unwrap_or(b'L');
    Ok(UdfModule { kind, name: name.to_vec(), content })
}

/// For each set its name, and until when it was truncated last, in milliseconds since the servers' epoch.
pub fn set_truncations(list: &[u8], namespace: &str) -> Vec<(Vec<u8>, u64)> {
    let sets = descriptions(list, namespace).into_iter().filter_map(|text| {
        let parts = at_keys(text, &["set", "objects"]);
        let part = |key| parts.iter().find(|(found, _)| *found == key).map(|(_, value)| *value);
        let truncated = info::number(part("objects")?, b':', "truncate_lut").unwrap_or(0);
        Some((part("set")?.to_vec(), truncated))
    });
    sets.collect()
}

/// For each set its name and what was configured for it, as `key=value:…`.
fn set_settings(list: &[u8], namespace: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut found: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    for text in descriptions(list, namespace) {
        // The name comes first and may hold any separator but the key after it.
        let parts = at_keys(text, &["set", "objects"]);
        let Some((_, set)) = parts.iter().find(|(key, _)| *key == "set") else { continue };
        let Some((_, rest)) = parts.iter().find(|(key, _)| *key == "objects") else { continue };
        let settings = info::list(rest, b':').filter(|pair| {
            SET_SETTINGS.iter().any(|key| pair.strip_prefix(key.as_bytes()).is_some_and(|r| r.starts_with(b"=")))
        });
        found.push((set.to_vec(), settings.collect::<Vec<_>>().join(&b':')));
    }
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_all_kinds_of_indexes() {
        let list = b"ns=bar:indexname=zoo_num:set=zoo:bin=v:type=numeric:indextype=default:context=null:exp=null:\
            state=RW;\
            ns=bar:indexname=by keys:set=null:bin=a:b;c:type=string:indextype=mapkeys:context=khGRcA==:exp=null:\
            state=WO;\
            ns=bar:indexname=e:set=s:bin=null:type=blob:indextype=list:context=null:exp=k1EC:state=RW;\
            ns=bar:indexname=n:set=s:bin=null:type=vector:indextype=heap:context=null:exp=null:state=RW;";
        let found = indexes(list, "bar").unwrap();
        let plain = SecondaryIndex::default();
        let expected = [
            SecondaryIndex {
                set: b"zoo".to_vec(),
                name: b"zoo_num".to_vec(),
                kind: b'N',
                bin: b"v".to_vec(),
                value: b'N',
                ..plain.clone()
            },
            SecondaryIndex {
                name: b"by keys".to_vec(),
                kind: b'K',
                bin: b"a:b;c".to_vec(),
                value: b'S',
                context: vec![0x92, 0x11, 0x91, 0x70],
                ..plain.clone()
            },
            SecondaryIndex {
                set: b"s".to_vec(),
                name: b"e".to_vec(),
                kind: b'L',
                value: b'B',
                expression: vec![0x93, 0x51, 2],
                ..plain.clone()
            },
            SecondaryIndex {
                set: b"s".to_vec(),
                name: b"n".to_vec(),
                kind: b'?',
                value: b'?',
                bin: b"null".to_vec(),
                other: b"type=vector:indextype=heap".to_vec(),
                ..plain
            },
        ];
        assert_eq!(found, expected);
        assert_eq!(indexes(b"", "bar").unwrap(), []);
        assert!(indexes(b"nonsense", "bar").is_err());
        assert!(indexes(b"ns=bar:indexname=x:context=%%%", "bar").is_err());
    }

    #[test]
    fn reads_modules_and_set_settings() {
        let module = udf(b"a.lua", b"type=LUA;content=LS0gYQ==;").unwrap();
        assert_eq!(module, UdfModule { kind: b'L', name: b"a.lua".to_vec(), content: b"-- a".to_vec() });
        let list = b"ns=bar:set=s:p:objects=1:tombstones=0:default-ttl=0:enable-index=true;\
            ns=bar:set=a;b:objects=99:stop-writes-count=7";
        let found = set_settings(list, "bar");
        assert_eq!(found[0], (b"a;b".to_vec(), b"stop-writes-count=7".to_vec()));
        assert_eq!(found[1], (b"s:p".to_vec(), b"default-ttl=0:enable-index=true".to_vec()));
    }
}
