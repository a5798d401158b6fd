//! `key`: the pass phrases that open the repository.

use super::context::{Context, Done, print_line};
use super::text;
use crate::error::{Error, Result};
use crate::format::KeyId;
use crate::format::keyslot::KdfCost;
use crate::repository::Repository;
use clap::Subcommand;
use serde::Serialize;
use std::path::PathBuf;

/// Add, list or remove pass phrases
///
/// Example: aerolith key add --label ops
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Add a pass phrase: from AEROLITH_NEW_PASSWORD, a file, or a prompt
    ///
    /// Example: aerolith key add --label ops --new-password-file /run/secrets/new
    Add {
        /// What the key slot is called
        #[arg(long, default_value = "")]
        label: String,
        /// Read the new pass phrase from the first line of this file
        #[arg(long, value_name = "FILE")]
        new_password_file: Option<PathBuf>,
    },
    /// List the key slots
    ///
    /// Example: aerolith key list
    List,
    /// Remove a key slot; the last one stays
    ///
    /// Example: aerolith key remove 3f2a
    ///
    /// Whoever had the pass phrase may have kept the master key that it opened: removing a slot locks the door, it does not
    /// change the lock.
    Remove {
        /// The slot's id or its beginning
        id: String,
    },
}

#[derive(Serialize)]
struct Slot {
    key: String,
    current: bool,
    label: Option<String>,
    created: Option<u64>,
    memory_kib: u32,
    passes: u32,
    lanes: u32,
    damaged: Option<String>,
}

#[derive(Serialize)]
struct Changed {
    key: String,
    change: &'static str,
}

pub fn run(context: &Context, args: Args) -> Result<Done> {
    let store = context.store()?;
    let passphrase = context.passphrase(false)?;
    let repository = Repository::open(store, &passphrase)?;
    match args.command {
        Command::Add { label, new_password_file } => {
            let new = context.new_passphrase(new_password_file.as_deref())?;
            let id = repository.key_add(&new, &label, KdfCost::RECOMMENDED)?;
            changed(context, &id, "added")
        }
        Command::Remove { id } => {
            let slots = repository.key_list(&passphrase)?;
            let prefix = id.to_ascii_lowercase();
            let found: Vec<KeyId> =
                slots.iter().map(|slot| slot.id).filter(|slot| slot.to_string().starts_with(&prefix)).collect();
            let id = match &found[..] {
                [id] if !prefix.is_empty() => *id,
                [] => {
                    return Err(Error::not_found(format!("key slot {id}"), "`aerolith key list` lists what there is"));
                }
                _ => {
                    let n = found.len();
                    return Err(Error::invalid(format!("{n} key slots begin with {id:?}: give more of the id")));
                }
            };
            repository.key_remove(&id)?;
            changed(context, &id, "removed")
        }
        Command::List => list(context, &repository, &passphrase),
    }
}

fn changed(context: &Context, id: &KeyId, change: &'static str) -> Result<Done> {
    if context.json() {
        context.print_json(&Changed { key: id.to_string(), change })?;
    } else {
        print_line(&format!("{change} key slot {id}"))?;
    }
    Ok(Done::Whole)
}

fn list(context: &Context, repository: &Repository, passphrase: &[u8]) -> Result<Done> {
    let slots: Vec<Slot> = repository
        .key_list(passphrase)?
        .into_iter()
        .map(|slot| {
            let (label, created) = slot.opened.unzip();
            let KdfCost { memory_kib, passes, lanes } = slot.cost;
            let (key, current, damaged) = (slot.id.to_string(), slot.current, slot.damaged);
            Slot { key, current, label, created, memory_kib, passes, lanes, damaged }
        })
        .collect();
    if context.json() {
        context.print_json(&slots)?;
        return Ok(Done::Whole);
    }
    let rows: Vec<Vec<String>> = slots
        .into_iter()
        .map(|slot| {
            vec![
                slot.key,
                if slot.current { "yes" } else { "" }.to_string(),
                slot.created.map(text::time).unwrap_or_default(),
                format!("{} MiB, {} passes, {} lanes", slot.memory_kib >> 10, slot.passes, slot.lanes),
                slot.label.or(slot.damaged).unwrap_or_else(|| "(another pass phrase)".to_string()),
            ]
        })
        .collect();
    print_line(&text::table(&["key", "current", "made", "cost", "label"], &rows, &[]))?;
    Ok(Done::Whole)
}
