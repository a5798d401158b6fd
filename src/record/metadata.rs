//! What a namespace has beside its records: secondary indexes and UDF modules.

use serde::{Deserialize, Serialize};

/// One secondary index, as the server or a backup file describes it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct SecondaryIndex {
    /// The set it covers; empty for the whole namespace (or the null set).
    pub set: Vec<u8>,
    /// Its name.
    pub name: Vec<u8>,
    /// What of the bin is indexed: `N` the value itself, `L` list elements, `K` map keys, `V` map values; other letters
    /// are carried through.
    pub kind: u8,
    /// The bin's name; empty for an expression or set index.
    pub bin: Vec<u8>,
    /// The type of the indexed value: `N` numeric, `S` string, `G` GeoJSON, `B` blob, `I` invalid; other letters are carried
    /// through.
    pub value: u8,
    /// The CDT context, as the encoded bytes; empty for none.
    pub context: Vec<u8>,
    /// The index expression, as the encoded bytes; empty for none.
    pub expression: Vec<u8>,
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

/// Everything of a namespace that is not a record.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct NamespaceMetadata {
    /// Its secondary indexes.
    pub indexes: Vec<SecondaryIndex>,
    /// The UDF modules that came with it. On a cluster they belong to all namespaces.
    pub udfs: Vec<UdfModule>,
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
    }
}
