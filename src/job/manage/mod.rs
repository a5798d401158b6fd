//! Making a repository, and the small objects beside its snapshots: key slots, holds, labels.

mod hold;
mod init;
mod key;
mod tag;

pub use hold::{HoldReport, HoldsReport, hold, list_holds, release};
pub use init::{InitOptions, InitReport, check_new, init};
pub use key::{
    KeyChange, KeyChangeReport, KeyReport, KeysReport, add_key, change_passphrase, check_label, list_keys, remove_key,
};
pub use tag::{TagReport, tag};
