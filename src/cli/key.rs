//! `key`: the pass phrases that open the repository.

use super::context::{Context, Done};
use super::output::print_line;
use super::text;
use crate::error::{Error, Result};
use crate::format::KeyId;
use crate::format::keyslot::KdfCost;
use crate::format::keyslot::MAX_LABEL_BYTES;
use crate::repository::Repository;
use clap::Subcommand;
use serde::Serialize;
use std::path::PathBuf;

/// Add, list or remove pass phrases
///
/// Each key slot holds the repository's master key under a pass phrase of its own; any of them opens the repository.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  aerolith key list
  aerolith key add --label ops
  aerolith key remove 3f2a")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Add a pass phrase: from AEROLITH_NEW_PASSWORD, a file, or a prompt
    #[command(after_help = "Example: aerolith key add --label ops --new-password-file /run/secrets/new")]
    Add {
        /// What the key slot is called, in at most 64 bytes
        #[arg(long, default_value = "")]
        label: String,
        /// Read the new pass phrase from the first line of this file
        #[arg(long, value_name = "FILE")]
        new_password_file: Option<PathBuf>,
    },
    /// List the key slots
    ///
    /// Labels and times are sealed: they show for slots that the pass phrase at hand opens.
    #[command(after_help = "Example: aerolith key list")]
    List,
    /// Remove a key slot; the last one stays
    ///
    /// Whoever had the pass phrase may have kept the master key that it opened: removing a slot locks the door, it does not
    /// change the lock.
    #[command(after_help = "Example: aerolith key remove 3f2a")]
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
    created: Option<String>,
    memory_kib: u32,
    passes: u32,
    lanes: u32,
    damaged: Option<String>,
}

#[derive(Serialize)]
struct Output {
    keys: Vec<Slot>,
}

#[derive(Serialize)]
struct Changed {
    key: String,
    change: &'static str,
}

pub fn run(context: &Context, args: Args) -> Result<Done> {
    if let Command::Add { label, .. } = &args.command {
        check_label(label)?;
    }
    let passphrase = context.passphrase(false)?;
    let repository = context.open(&passphrase)?;
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
                _ if prefix.is_empty() => {
                    return Err(Error::usage(
                        "which key slot? Give its id or its beginning, as `aerolith key list` does",
                    ));
                }
                [id] => *id,
                [] => {
                    return Err(Error::not_found(format!("key slot {id}"), "`aerolith key list` lists what there is"));
                }
                _ => {
                    let ids: Vec<String> = found.iter().map(ToString::to_string).collect();
                    let (n, ids) = (ids.len(), ids.join(", "));
                    return Err(Error::invalid(format!("{n} key slots begin with {id} ({ids}): give more of the id")));
                }
            };
            repository.key_remove(&id)?;
            changed(context, &id, "removed")
        }
        Command::List => list(context, &repository, &passphrase),
    }
}

/// A label must fit into its place in the slot.
pub fn check_label(label: &str) -> Result<()> {
    if label.len() > MAX_LABEL_BYTES {
        return Err(Error::usage(format!("--label takes at most {MAX_LABEL_BYTES} bytes, found {}", label.len())));
    }
    Ok(())
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
    let keys: Vec<Slot> = repository
        .key_list(passphrase)?
        .into_iter()
        .map(|slot| {
            let (label, created) = slot.opened.unzip();
            let created = created.map(text::rfc3339);
            let KdfCost { memory_kib, passes, lanes } = slot.cost;
            let (key, current, damaged) = (slot.id.to_string(), slot.current, slot.damaged);
            Slot { key, current, label, created, memory_kib, passes, lanes, damaged }
        })
        .collect();
    if context.json() {
        context.print_json(&Output { keys })?;
        return Ok(Done::Whole);
    }
    let rows: Vec<Vec<String>> = keys
        .into_iter()
        .map(|slot| {
            vec![
                slot.key,
                if slot.current { "yes" } else { "" }.to_string(),
                slot.created.unwrap_or_default(),
                format!("{} KiB, {} passes, {} lanes", text::count(slot.memory_kib.into()), slot.passes, slot.lanes),
                slot.label
                    .or(slot.damaged)
                    .map_or_else(|| "(another pass phrase)".to_string(), |label| text::safe(&label)),
            ]
        })
        .collect();
    print_line(&text::table(&["key", "current", "created", "cost", "label"], &rows, &[]))?;
    Ok(Done::Whole)
}
