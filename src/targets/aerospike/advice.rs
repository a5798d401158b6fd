//! What to do about a server's refusal.

use crate::aerospike::cluster::{Cluster, Node};
use crate::aerospike::wire::info;
use crate::aerospike::wire::result_code::ResultCode;

/// What is wrong for all records, so that going on is of no use; `None` if a refusal is of one record alone.
pub fn for_all(cluster: &Cluster, node: &Node, namespace: &str, code: ResultCode) -> Option<String> {
    let (name, user) = (&node.name, &cluster.options().user);
    match code {
        ResultCode::OUT_OF_SPACE => {
            let asked = cluster.info(node, &format!("namespace/{namespace}"), "a namespace's statistics");
            let full = asked.map(|statistics| fullness(&statistics)).unwrap_or_default();
            Some(format!(
                "node {name} takes no more writes into namespace {namespace}: {code}{full}. Make room there (more \
                 storage, a higher stop-writes threshold, data that is not needed)"
            ))
        }
        ResultCode::ROLE_VIOLATION | ResultCode::NOT_ALLOWED => {
            let who =
                user.as_deref().map_or_else(|| "a client without a user".to_string(), |user| format!("user {user}"));
            Some(format!(
                "node {name} does not let {who} write into namespace {namespace}: {code}. Grant the role read-write \
                 (for indexes sindex-admin, for UDF modules udf-admin), or give another `user`"
            ))
        }
        _ => None,
    }
}

/// How full a namespace is, beside the thresholds at which it takes no more writes, as the end of a sentence; empty if
/// the server does not tell.
pub fn fullness(statistics: &[u8]) -> String {
    let number = |name: &str| info::number::<u64>(statistics, b';', name);
    let beside = |figure: &str, threshold: &str, what: &str| {
        let limit = number(&format!("storage-engine.{threshold}"));
        let limit = limit.map(|limit| format!(" ({threshold} {limit})")).unwrap_or_default();
        number(figure).map(|figure| format!("{figure} % of its storage {what}{limit}"))
    };
    let used = beside("data_used_pct", "stop-writes-used-pct", "is in use");
    let free = beside("data_avail_pct", "stop-writes-avail-pct", "is in free blocks");
    let known: Vec<String> = [used, free].into_iter().flatten().collect();
    if known.is_empty() { String::new() } else { format!(": {}", known.join(", ")) }
}

/// The refusal of one record, with what can be done about it.
pub fn for_one(code: ResultCode) -> String {
    let advice = match code {
        ResultCode::RECORD_TOO_BIG => "raise the namespace's max-record-size (or flush-size), or leave the record out",
        ResultCode::FORBIDDEN => {
            "the namespace or the set forbids it: look for a set's stop-writes-count or stop-writes-size, a truncation \
             under way, clocks that are apart, or an XDR filter"
        }
        ResultCode::BIN_NAME => "servers take 15 bytes",
        ResultCode::KEY_MISMATCH => "another record has this digest",
        ResultCode::PARAMETER => "the server's log says why",
        ResultCode::INCOMPATIBLE_TYPE => "the value is not what its type promises",
        _ => return code.to_string(),
    };
    format!("{code}: {advice}")
}

/// What to add to the refusal of a command that makes an index or loads a module.
pub fn for_command(found: &str) -> &'static str {
    if found.contains("role violation") || found.contains("ERROR:81") {
        return " (the user needs the role sindex-admin for indexes, udf-admin for modules; or leave them out with \
                `without_indexes`, `without_udfs`)";
    }
    ""
}
