//! Answers to info requests.

use super::data::{EPOCH, now};
use super::{Moment, Shared, counts};
use std::collections::BTreeMap;

fn base64(bytes: &[u8]) -> String {
    base64_simd::STANDARD.encode_to_string(bytes)
}

/// `a=b;c=d` as a map.
fn parameters(text: &str) -> BTreeMap<String, String> {
    let pairs = text.split(';').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

/// The answer to a whole request.
pub fn answer(shared: &mut Shared, node: usize, body: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(body).into_owned();
    let mut out = Vec::new();
    for name in text.lines() {
        let command = name.split([':', '/']).next();
        shared.reach(|moment| matches!(moment, Moment::Info(name) if Some(name) == command));
        let value = value(shared, node, name);
        out.extend_from_slice(format!("{name}\t{value}\n").as_bytes());
    }
    out
}

fn value(shared: &mut Shared, node: usize, name: &str) -> String {
    let (command, rest) = name.split_once(':').unwrap_or((name, ""));
    let given = parameters(rest);
    let namespace = given.get("namespace").or_else(|| given.get("ns")).or_else(|| given.get("id")).cloned();
    let seconds = now().saturating_add_signed(shared.clock_ahead) / 1_000_000_000 - shared.nodes[node].behind;
    match command {
        "node" => shared.nodes[node].name.clone(),
        "build" => shared.build.clone(),
        "edition" => shared.edition.clone(),
        "features" => shared.features.clone(),
        "cluster-name" => {
            if shared.cluster_name.is_empty() {
                "null".into()
            } else {
                shared.cluster_name.clone()
            }
        }
        "namespaces" => shared.namespaces.keys().cloned().collect::<Vec<_>>().join(";"),
        "partition-generation" | "peers-generation" => shared.generation.to_string(),
        "peers-tls-std" if shared.tells_no_tls => "ERROR:25:enterprise only".into(),
        "peers-clear-std" | "peers-tls-std" => {
            let peers = shared.nodes.iter().enumerate().filter(|(number, peer)| *number != node && !peer.down);
            // The name that its certificate bears.
            let tls = if command == "peers-tls-std" { "server.test" } else { "" };
            let peers: Vec<String> =
                peers.map(|(_, peer)| format!("[{},{tls},[{}]]", peer.name, peer.address)).collect();
            format!("{},3000,[{}]", shared.generation, peers.join(","))
        }
        "service-clear-std" => shared.nodes[node].address.to_string(),
        "connection" => "admin=false".into(),
        "rack-ids" => {
            let rack = shared.nodes[node].rack;
            let racks = shared.namespaces.keys().filter_map(|namespace| Some(format!("{namespace}:{}", rack?)));
            racks.collect::<Vec<_>>().join(";")
        }
        "replicas" => {
            let mut bits = [0u8; 512];
            for (partition, owner) in shared.owners.iter().enumerate() {
                if *owner == Some(node) {
                    bits[partition / 8] |= 0x80 >> (partition % 8);
                }
            }
            let masters = base64(&bits);
            let map = match shared.copies {
                false => format!("{},1,{masters}", shared.regime),
                true => format!("{},2,{masters},{}", shared.regime, base64(&bits.map(|byte| !byte))),
            };
            shared.namespaces.keys().map(|name| format!("{name}:{map}")).collect::<Vec<_>>().join(";")
        }
        "statistics" => {
            let machine = now() / 1_000_000_000;
            let uptime = machine as i64 - shared.nodes[node].started as i64;
            format!("cluster_size=1;cluster_key={:X};cluster_clock_skew_ms=3;uptime={uptime}", shared.key)
        }
        "cluster-stable" => format!("{:X}", shared.key),
        "query-show" => counts::query_show(&shared.nodes[node], given.get("trid").or_else(|| given.get("id"))),
        "partition-info" => counts::partition_info(shared, node),
        "get-config" => format!("replication-factor=1;default-ttl=0;{}", storage(shared)),
        "sindex-create" => {
            shared.indexes.push(given);
            "ok".into()
        }
        "sindex-delete" => {
            let name = given.get("indexname").cloned();
            shared.indexes.retain(|index| index.get("indexname").cloned() != name);
            "ok".into()
        }
        "sindex-list" if shared.unlisted > 0 => {
            shared.unlisted -= 1;
            String::new()
        }
        "sindex-stat" => format!("entries=0;load_pct={}", shared.percent_built),
        "sindex-list" => indexes(shared, node, namespace.as_deref().unwrap_or_default()),
        "udf-put" => {
            let file = given.get("filename").cloned().unwrap_or_default();
            // The content may hold the sign that ends its name.
            let content = rest.split("content=").nth(1).and_then(|rest| rest.split(';').next()).unwrap_or_default();
            shared.modules.insert(file, content.to_string());
            "ok".into()
        }
        "udf-remove" => {
            given.get("filename").map(|file| shared.modules.remove(file));
            "ok".into()
        }
        "udf-list" => shared.modules.keys().map(|file| format!("filename={file},hash=00,type=LUA;")).collect(),
        "udf-get" => match given.get("filename").and_then(|file| shared.modules.get(file)) {
            Some(content) => format!("type=LUA;content={content};"),
            None => "ERROR:2:not found".into(),
        },
        _ => match name.split_once('/') {
            Some(("namespace", name)) => match shared.namespaces.get(name) {
                Some(namespace) => format!(
                    "objects={0};master_objects={0};data_used_bytes={1};current_time={2};clock_skew_stop_writes=false;\
                     stop_writes={3};data_used_pct=74;data_avail_pct=12;storage-engine.stop-writes-avail-pct=5;\
                     storage-engine.stop-writes-used-pct=70;nsup-period={4};allow-ttl-without-nsup=false;\
                     truncate_lut={5};migrate_fresh_partitions={6};migrate_tx_partitions_remaining={7};\
                     migrate_rx_partitions_remaining={7};{8}",
                    (namespace.records.len() + namespace.remains.len()) / shared.nodes.len(),
                    (namespace.records.len() + namespace.remains.len()) * 100,
                    seconds - EPOCH,
                    namespace.stop_writes,
                    if namespace.no_nsup { 0 } else { 120 },
                    shared.truncated.get(&(name.to_string(), vec![])).copied().unwrap_or(0),
                    shared.fresh_told,
                    {
                        let left = shared.migrations;
                        shared.migrations = left.saturating_sub(1);
                        left
                    },
                    storage(shared),
                ),
                None => "type=unknown".into(),
            },
            Some(("sets", name)) => sets(shared, name),
            _ => "ERROR:4:unrecognized command".into(),
        },
    }
}

/// Where the records are, as servers tell it among the settings of a namespace.
fn storage(shared: &Shared) -> &'static str {
    match shared.on_device {
        true => {
            "storage-engine=device;storage-engine.file[0]=/data/records.dat;storage-engine.filesize=1073741824;\
             storage-engine.post-write-cache=0;storage-engine.read-page-cache=false"
        }
        false => "storage-engine=memory;storage-engine.data-size=1073741824",
    }
}

fn sets(shared: &Shared, name: &str) -> String {
    let Some(namespace) = shared.namespaces.get(name) else { return String::new() };
    let mut sets: Vec<&[u8]> = namespace.records.values().map(|record| &record.set[..]).collect();
    sets.extend(shared.sets.iter().filter(|(of, _)| of == name).map(|(_, set)| &set[..]));
    sets.sort_unstable();
    sets.dedup();
    sets.iter()
        .filter(|set| !set.is_empty())
        .map(|set| {
            let truncated = shared.truncated.get(&(name.to_string(), set.to_vec())).copied().unwrap_or(0);
            let set = String::from_utf8_lossy(set);
            format!("ns={name}:set={set}:objects=1:tombstones=0:truncate_lut={truncated}:default-ttl=0")
        })
        .collect::<Vec<_>>()
        .join(";")
}

fn indexes(shared: &mut Shared, node: usize, namespace: &str) -> String {
    let state = ["WO", "RW"][usize::from(shared.building == 0)];
    let state = match shared.index_states.get(&node).copied().unwrap_or(state) {
        "" => String::new(),
        state => format!(":state={state}"),
    };
    shared.building = shared.building.saturating_sub(1);
    let of = |index: &BTreeMap<String, String>, key: &str, none: &str| {
        index.get(key).cloned().unwrap_or_else(|| none.to_string())
    };
    let all = shared.indexes.iter().filter(|index| index.get("ns").is_some_and(|name| name == namespace));
    all.map(|index| {
        if index.get("indextype").is_some_and(|kind| kind == "set") {
            let [name, set] = ["indexname", "set"].map(|key| of(index, key, ""));
            return format!("ns={namespace}:indexname={name}:set={set}:indextype=set;");
        }
        format!(
            "ns={namespace}:indexname={}:set={}:bin={}:type={}:indextype={}:context={}:exp={}{state};",
            of(index, "indexname", ""),
            of(index, "set", "null"),
            of(index, "bin", "null"),
            of(index, "type", "numeric"),
            of(index, "indextype", "default"),
            of(index, "context", "null"),
            of(index, "exp", "null"),
        )
    })
    .collect()
}
