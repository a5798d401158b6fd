//! What a namespace has beside its records: secondary indexes, UDF modules, settings; and users and roles of its
//! cluster.

use serde::{Deserialize, Serialize};

/// One secondary index, as the server or a backup file describes it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct SecondaryIndex {
    /// The set it covers; empty for the whole namespace (or the null set).
    pub set: Vec<u8>,
    /// Its name.
    pub name: Vec<u8>,
    /// What of the bin is indexed: `N` the value itself, `L` list elements, `K` map keys, `V` map values, `?` something
    /// else that [`SecondaryIndex::other`] names; other letters are carried through.
    pub kind: u8,
    /// The bin's name; empty for an expression or set index.
    pub bin: Vec<u8>,
    /// The type of the indexed value: `N` numeric, `S` string, `G` GeoJSON, `B` blob, `I` invalid, `?` something else
    /// that [`SecondaryIndex::other`] names; other letters are carried through.
    pub value: u8,
    /// The CDT context, as the encoded bytes; empty for none.
    pub context: Vec<u8>,
    /// The index expression, as the encoded bytes; empty for none.
    pub expression: Vec<u8>,
    /// What the source says beyond that, as its text, such as `indextype=set`; empty for nothing.
    pub other: Vec<u8>,
}

impl SecondaryIndex {
    /// What [`SecondaryIndex::other`] says of an index over all records of a set.
    pub const OF_SET: &'static [u8] = b"indextype=set";
    /// What it says where asbackup wrote that the bin is `null`: so it writes an index over an expression too, and
    /// leaves out the expression.
    pub const BIN_NULL: &'static [u8] = b"bin=null";

    /// Whether it is over all records of a set.
    pub fn is_of_set(&self) -> bool {
        self.other == Self::OF_SET && self.bin.is_empty() && self.expression.is_empty() && self.context.is_empty()
    }
}

/// One UDF module.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct UdfModule {
    /// Its language: `L` for Lua.
    pub kind: u8,
    /// Its file name.
    pub name: Vec<u8>,
    /// Its source text.
    pub content: Vec<u8>,
}

/// Something that was so when the backup was made, for people and for making a cluster like it: a setting, a node's
/// release.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Fact {
    /// What it is about, such as `namespace setting`.
    pub topic: String,
    /// What of it, such as `replication-factor`.
    pub name: Vec<u8>,
    /// What was so, such as `2`.
    pub value: Vec<u8>,
}

/// What a role allows.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
pub struct Privilege {
    /// The servers' number of it, such as 10 for reading.
    pub code: u8,
    /// The namespace that it is for; empty for all.
    pub namespace: Vec<u8>,
    /// The set that it is for; empty for all.
    pub set: Vec<u8>,
}

impl Privilege {
    /// Its name, where this version knows it.
    pub fn name(&self) -> Option<&'static str> {
        Some(match self.code {
            0 => "user-admin",
            1 => "sys-admin",
            2 => "data-admin",
            3 => "udf-admin",
            4 => "sindex-admin",
            10 => "read",
            11 => "read-write",
            12 => "read-write-udf",
            13 => "write",
            14 => "truncate",
            15 => "masking-admin",
            16 => "read-masked",
            17 => "write-masked",
            _ => return None,
        })
    }
}

/// A role of a cluster with access control.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Role {
    /// Its name.
    pub name: Vec<u8>,
    /// What it allows, sorted.
    pub privileges: Vec<Privilege>,
    /// The addresses from which it may be used, separated by commas; empty for all.
    pub allow_list: Vec<u8>,
    /// Reads per second; 0 for no limit.
    pub read_quota: u32,
    /// Writes per second; 0 for no limit.
    pub write_quota: u32,
}

/// A user of a cluster with access control. Passwords are never told.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct User {
    /// The name.
    pub name: Vec<u8>,
    /// The names of the user's roles, sorted.
    pub roles: Vec<Vec<u8>>,
}

/// The topic of a fact that says what of the metadata could not be read, and why.
pub const NOT_READ: &str = "not read";

/// Everything of a namespace that is not a record.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct NamespaceMetadata {
    /// Its secondary indexes.
    pub indexes: Vec<SecondaryIndex>,
    /// The UDF modules that came with it. On a cluster they belong to all namespaces.
    pub udfs: Vec<UdfModule>,
    /// Settings and the like, which no restore applies.
    pub facts: Vec<Fact>,
    /// The roles of the cluster, by name.
    pub roles: Vec<Role>,
    /// The users of the cluster, by name.
    pub users: Vec<User>,
}

impl NamespaceMetadata {
    /// Adds what `other` has and this lacks.
    pub fn merge(&mut self, other: NamespaceMetadata) {
        for index in other.indexes {
            if !self.indexes.contains(&index) {
                self.indexes.push(index);
            }
        }
        for udf in other.udfs {
            if !self.udfs.contains(&udf) {
                self.udfs.push(udf);
            }
        }
        for fact in other.facts {
            if !self.facts.contains(&fact) {
                self.facts.push(fact);
            }
        }
        for role in other.roles {
            if !self.roles.contains(&role) {
                self.roles.push(role);
            }
        }
        for user in other.users {
            if !self.users.contains(&user) {
                self.users.push(user);
            }
        }
    }
}
