//! Makes secondary indexes and loads UDF modules.
//!
//! What is there already and the same is left alone. What is there and different stays too, and is reported: other
//! applications may depend on it. Whatever was made is looked for on every node afterwards.

use crate::aerospike::cluster::Cluster;
use crate::aerospike::error::{ClusterError, Result};
use crate::aerospike::metadata;
use crate::aerospike::wire::info;
use crate::record::{NamespaceMetadata, SecondaryIndex, UdfModule};
use std::time::{Duration, Instant};

/// How long a new index or module may take to show on every node.
const SHOWS_WITHIN: Duration = Duration::from_secs(20);
/// Since this release the bin and its type are named apart.
const BIN_NAMED_APART: (u32, u32) = (8, 1);

/// Makes what `wanted` names in a namespace. Gives back what could not be made, each with its reason.
///
/// With `only_look` nothing is made: what could not be made because something else is there is told all the same.
pub fn create(cluster: &Cluster, namespace: &str, wanted: &NamespaceMetadata, only_look: bool) -> Result<Vec<String>> {
    let mut omitted = Vec::new();
    if wanted.indexes.is_empty() && wanted.udfs.is_empty() {
        return Ok(omitted);
    }
    let there = metadata::read(cluster, namespace)?;
    let mut new = NamespaceMetadata::default();
    for module in &wanted.udfs {
        match there.udfs.iter().find(|other| other.name == module.name) {
            Some(same) if same.content == module.content => {}
            Some(_) => omitted.push(of_module(module, "the cluster has another one of this name, which stays")),
            None if only_look => {}
            None => match load(cluster, module)? {
                Ok(()) => new.udfs.push(module.clone()),
                Err(problem) => omitted.push(of_module(module, &problem)),
            },
        }
    }
    for index in &wanted.indexes {
        match there.indexes.iter().find(|other| other.name == index.name) {
            Some(same) if same == index => {}
            Some(_) => omitted.push(of_index(index, "the namespace has another one of this name, which stays")),
            None => match of_other_name(index, there.indexes.iter().chain(&new.indexes)) {
                Some(other) => omitted.push(of_index(index, &stays_as(other))),
                None if only_look => {}
                None => match make(cluster, namespace, index)? {
                    Ok(()) => new.indexes.push(index.clone()),
                    Err(problem) => omitted.push(of_index(index, &problem)),
                },
            },
        }
    }
    omitted.extend(unseen(cluster, namespace, new)?);
    Ok(omitted)
}

fn of_index(index: &SecondaryIndex, problem: &str) -> String {
    format!("secondary index {:?}: {problem}", info::text(&index.name))
}

/// The one of other indexes that differs from `index` by nothing but its name. To make `index` too, a server would
/// rename that one without a word, and queries that name it would fail.
fn of_other_name<'a>(
    index: &SecondaryIndex,
    mut others: impl Iterator<Item = &'a SecondaryIndex>,
) -> Option<&'a SecondaryIndex> {
    others.find(|other| SecondaryIndex { name: index.name.clone(), ..(*other).clone() } == *index)
}

fn stays_as(other: &SecondaryIndex) -> String {
    format!("the namespace has the same one under the name {:?}, which stays", info::text(&other.name))
}

fn of_module(module: &UdfModule, problem: &str) -> String {
    format!("UDF module {:?}: {problem}", info::text(&module.name))
}

/// Waits until every node shows what was made; says what one doesn't.
fn unseen(cluster: &Cluster, namespace: &str, mut new: NamespaceMetadata) -> Result<Vec<String>> {
    let begun = Instant::now();
    loop {
        if new.indexes.is_empty() && new.udfs.is_empty() {
            return Ok(Vec::new());
        }
        let all = cluster.patiently(|topology| {
            topology.nodes.values().map(|node| metadata::made(cluster, node, namespace)).collect::<Result<Vec<_>>>()
        })?;
        new.indexes.retain(|index| !all.iter().all(|there| there.indexes.contains(index)));
        new.udfs.retain(|module| {
            let same = |other: &UdfModule| other.name == module.name && other.content == module.content;
            !all.iter().all(|there| there.udfs.iter().any(same))
        });
        if begun.elapsed() >= SHOWS_WITHIN {
            let problem = "it was made, but not every node shows it as it should be";
            let indexes = new.indexes.iter().map(|index| of_index(index, problem));
            return Ok(indexes.chain(new.udfs.iter().map(|module| of_module(module, problem))).collect());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A name as a part of an info command, which ends at certain characters.
fn part<'a>(what: &str, bytes: &'a [u8], also: &[char]) -> Result<&'a str, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| format!("{what} is no text"))?;
    match text.chars().find(|&c| c == ';' || c.is_control() || also.contains(&c)) {
        Some(c) => Err(format!("{what} has the character {c:?}, which the servers' command for it can't bear")),
        None => Ok(text),
    }
}

/// The command that makes an index.
fn index_command(namespace: &str, index: &SecondaryIndex, release: (u32, u32)) -> Result<String, String> {
    if index.is_of_set() {
        let (set, name) = (part("its set's name", &index.set, &[])?, part("its name", &index.name, &[])?);
        return Ok(format!("sindex-create:ns={namespace};set={set};indexname={name};indextype=set"));
    }
    if index.other == SecondaryIndex::BIN_NULL {
        return Err("the .asb file says that it is over the bin null, as asbackup writes of an index over an \
                    expression, which it leaves out; create it with its expression"
            .into());
    }
    if !index.other.is_empty() {
        return Err(format!("this version does not know how to make one with {}", info::text(&index.other)));
    }
    let kind = match index.kind {
        b'N' => "default",
        b'L' => "list",
        b'K' => "mapkeys",
        b'V' => "mapvalues",
        other => return Err(format!("its kind {:?} is unknown", char::from(other))),
    };
    let value = match index.value {
        b'N' => "numeric",
        b'S' => "string",
        b'G' => "geo2dsphere",
        b'B' => "blob",
        other => return Err(format!("the type {:?} of its values is unknown", char::from(other))),
    };
    let mut command = format!("sindex-create:ns={namespace}");
    if !index.set.is_empty() {
        command += &format!(";set={}", part("its set's name", &index.set, &[])?);
    }
    command += &format!(";indexname={}", part("its name", &index.name, &[])?);
    if !index.context.is_empty() {
        command += &format!(";context={}", base64_simd::STANDARD.encode_to_string(&index.context));
    }
    command += &format!(";indextype={kind}");
    if !index.expression.is_empty() {
        let expression = base64_simd::STANDARD.encode_to_string(&index.expression);
        command += &format!(";exp={expression};type={value}");
    } else if index.bin.is_empty() {
        return Err("it names neither a bin nor an expression".into());
    } else if release >= BIN_NAMED_APART {
        command += &format!(";bin={};type={value}", part("its bin's name", &index.bin, &[])?);
    } else {
        command += &format!(";indexdata={},{value}", part("its bin's name", &index.bin, &[','])?);
    }
    Ok(command)
}

/// The first two numbers of a release such as `8.1.2.0`.
fn release(build: &str) -> (u32, u32) {
    let mut numbers = build.split(['.', '-']).map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

fn make(cluster: &Cluster, namespace: &str, index: &SecondaryIndex) -> Result<Result<(), String>> {
    let topology = cluster.topology();
    let oldest = topology.nodes.values().map(|node| release(&node.build)).min().unwrap_or_default();
    match index_command(namespace, index, oldest) {
        Ok(command) => ask(cluster, &command, "the making of a secondary index"),
        Err(problem) => Ok(Err(problem)),
    }
}

fn load(cluster: &Cluster, module: &UdfModule) -> Result<Result<(), String>> {
    if module.kind != b'L' {
        return Ok(Err(format!("its language {:?} is unknown", char::from(module.kind))));
    }
    let name = match part("its name", &module.name, &['/']) {
        Ok(name) => name,
        Err(problem) => return Ok(Err(problem)),
    };
    let content = base64_simd::STANDARD.encode_to_string(&module.content);
    let command = format!("udf-put:filename={name};content={content};content-len={};udf-type=LUA;", content.len());
    ask(cluster, &command, "the loading of a UDF module")
}

/// Sends a command to one node, which tells the others. The inner error is the node's refusal.
fn ask(cluster: &Cluster, command: &str, what: &'static str) -> Result<Result<(), String>> {
    let answer = cluster.patiently(|topology| match topology.nodes.values().next() {
        Some(node) => cluster.with(node, |connection| connection.info(&[command])),
        None => Err(ClusterError::Other("the cluster has no nodes".into())),
    })?;
    Ok(match answer.find(command, what) {
        Ok(value) if value.is_empty() || value.eq_ignore_ascii_case(b"ok") => Ok(()),
        Ok(value) => Err(format!("the server answers {:?}", info::text(value))),
        Err(error) => {
            Err(format!("the server refuses it: {}{}", error.found, super::advice::for_command(&error.found)))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index() -> SecondaryIndex {
        SecondaryIndex { name: b"i".to_vec(), kind: b'N', value: b'N', bin: b"v".to_vec(), ..SecondaryIndex::default() }
    }

    #[test]
    fn an_index_command_names_what_the_release_asks_for() {
        let of = |index: &SecondaryIndex, release| index_command("bar", index, release).unwrap();
        assert_eq!(of(&index(), (8, 1)), "sindex-create:ns=bar;indexname=i;indextype=default;bin=v;type=numeric");
        assert_eq!(of(&index(), (7, 2)), "sindex-create:ns=bar;indexname=i;indextype=default;indexdata=v,numeric");
        let context = SecondaryIndex { kind: b'K', value: b'S', set: b"s".to_vec(), context: vec![1, 2], ..index() };
        let expected = "sindex-create:ns=bar;set=s;indexname=i;context=AQI=;indextype=mapkeys;bin=v;type=string";
        assert_eq!(of(&context, (8, 1)), expected);
        let expression = SecondaryIndex { bin: vec![], value: b'B', expression: vec![3], ..index() };
        let expected = "sindex-create:ns=bar;indexname=i;indextype=default;exp=Aw==;type=blob";
        assert_eq!(of(&expression, (8, 1)), expected);
    }

    #[test]
    fn what_a_command_cannot_bear_is_said_rather_than_sent() {
        let wrong = [
            SecondaryIndex { name: b"a\nsindex-delete:ns=bar".to_vec(), ..index() },
            SecondaryIndex { name: b"a;b".to_vec(), ..index() },
            SecondaryIndex { set: b"\xff".to_vec(), ..index() },
            SecondaryIndex { bin: vec![], ..index() },
            SecondaryIndex { value: b'I', ..index() },
            SecondaryIndex { kind: b'?', other: b"indextype=heap".to_vec(), ..index() },
        ];
        for index in wrong {
            assert!(index_command("bar", &index, (8, 1)).is_err(), "{index:?}");
        }
        let comma = SecondaryIndex { bin: b"a,b".to_vec(), ..index() };
        assert!(index_command("bar", &comma, (8, 1)).is_ok());
        assert!(index_command("bar", &comma, (7, 0)).is_err());
        assert_eq!((release("8.1.2.0-5"), release("x")), ((8, 1), (0, 0)));
    }
}
