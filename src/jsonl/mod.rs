//! JSON lines: records as text that people read and scripts change, without loss both ways.
//!
//! A file is UTF-8, one JSON object a line; `format-spec/jsonl.md` is the specification. The first line says what it
//! is:
//!
//! ```text
//! {"aerolith":"jsonl","version":1}
//! {"kind":"index","namespace":"test","set":"users","name":"by_age","index_type":"N","bin":"age","value_type":"N"}
//! {"kind":"udf","namespace":"test","name":"sum.lua","language":"L","content":"function sum() …"}
//! {"kind":"user","namespace":"test","name":"ann","roles":["auditor"]}
//! {"kind":"record","namespace":"test","set":"users","digest":"53e13603d82a228167b9cbd6be3682cc9901e39a",
//!  "key":{"type":"string","value":"user000023433"},"generation":3,"void_time":536457600,
//!  "expires":"2027-01-01T00:00:00.000Z","bins":[{"name":"age","type":"integer","value":36},
//!  {"name":"tags","type":"list","base64":"kgED"}]}
//! ```
//!
//! (A record is one line; it is broken here to fit.) A value is beside its particle type in one of three fields:
//!
//! | field    | types                              | what it holds |
//! | -------- | ---------------------------------- | ------------- |
//! | `value`  | integer, double, string, bool, geojson | the number, text or truth value |
//! | `bits`   | double                             | 16 hex digits, for what JSON's numbers can't say: NaN, infinities, -0.0 |
//! | `base64` | all                                | the particle's bytes as they are, where `value` can't hold them or the type has none |
//!
//! The type is a particle type's name, or its number where it has no name. Names of sets and bins, and the content of
//! UDF modules, are strings, or `{"base64":"…"}` where they are not UTF-8. The order of `bins` is kept. `expires` is
//! for people and is ignored on reading, like every field that isn't known; so is `refused`
//! ([`write_refused_record`]), and so are `decoded` and `problem`, in which
//! [`write_shown_record`] says what the bytes of a list, a map or a sketch hold. A namespace without records is named
//! by a line `{"kind":"namespace","namespace":"empty"}`. Of a record's fields only `namespace`, `bins`, and one of
//! `digest` and `key` are required; a missing digest is computed from set and key.
//!
//! Nothing here does I/O: [`parse_line`] and the `write_…` functions are functions of bytes.

mod fields;
mod parse;
mod write;

pub use parse::{Line, LineError, breaks_off, line_namespace, parse_line};
pub use write::{
    write_header, write_index, write_namespace, write_record, write_refused_record, write_role, write_shown_record,
    write_shown_value, write_udf, write_user,
};

/// The version of the format.
pub const VERSION: u32 = 1;

/// The longest line that is read or written, in bytes without its end: 512 MiB. A record of the largest size fits in
/// base64.
pub const MAX_LINE_BYTES: usize = 512 << 20;
