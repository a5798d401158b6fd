//! `key`: the passphrases that open the repository.

use super::context::{Context, Done, NewArgs};
use super::output::print_line;
use super::text;
use crate::error::{Error, Result};
use crate::format::KeyId;
use crate::format::keyslot::KdfCost;
use crate::format::keyslot::MAX_LABEL_BYTES;
use crate::repository::Repository;
use clap::Subcommand;
use serde::Serialize;

/// Add, list, change or remove passphrases
///
/// Each key slot holds the repository's master key under a passphrase of its own; any of them opens the repository.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  aerolith key list
  aerolith key add --label ops
  aerolith key passwd
  aerolith key remove 3f2a")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Add a passphrase: from a file, a command, AEROLITH_NEW_PASSWORD, or a prompt
    #[command(after_help = "Example: aerolith key add --label ops --new-password-file /run/secrets/new")]
    Add {
        /// The label of the key slot, at most 64 bytes
        #[arg(long, default_value = "")]
        label: String,
        #[command(flatten)]
        new: NewArgs,
    },
    /// Change the passphrase that opens the repository now
    ///
    /// A new key slot is made and opened once before the old one is removed. If the command is stopped in between,
    /// both passphrases open the repository, and `aerolith key list` shows both slots. The label stays. The master
    /// key stays too: whoever had the old passphrase may have kept it.
    #[command(after_help = "\
Examples:
  aerolith key passwd
  aerolith key passwd --password-file old.txt --new-password-file new.txt")]
    Passwd {
        #[command(flatten)]
        new: NewArgs,
    },
    /// List the key slots
    ///
    /// Labels and times are encrypted: they are shown for the slots that the passphrase in use opens.
    #[command(after_help = "Example: aerolith key list")]
    List,
    /// Remove a key slot; the last one can't be removed
    ///
    /// The slot that the passphrase in use opens is removed only with --this-key: make sure that you know the
    /// passphrase of another one.
    ///
    /// Whoever had the passphrase may have kept the master key that it opened: removing a slot does not change the
    /// master key.
    #[command(after_help = "Example: aerolith key remove 3f2a")]
    Remove {
        /// The slot's id or its beginning
        id: String,
        /// Remove it even if it is the slot that opens the repository now
        #[arg(long)]
        this_key: bool,
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
    replaced: Option<String>,
}

pub fn run(context: &Context, args: Args) -> Result<Done> {
    if let Command::Add { label, .. } = &args.command {
        check_label(label)?;
    }
    let (repository, passphrase) = context.repository_and_passphrase()?;
    match args.command {
        Command::Add { label, new } => {
            let new = context.new_passphrase(&new)?;
            let id = repository.key_add(&new, &label, KdfCost::RECOMMENDED)?;
            changed(context, &id, "added", None)
        }
        Command::Passwd { new } => passwd(context, &repository, &passphrase, &context.new_passphrase(&new)?),
        Command::Remove { id, this_key } => {
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
            if id == repository.key_current() && !this_key {
                return Err(Error::usage(format!(
                    "key slot {id} is the one that opened the repository just now: without it this passphrase is worth nothing. \
                     Make sure that you know the passphrase of another slot, then give --this-key. `aerolith key passwd` changes \
                     the passphrase"
                )));
            }
            repository.key_remove(&id)?;
            changed(context, &id, "removed", None)
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

/// Changes the passphrase of the slot that opened the repository.
fn passwd(context: &Context, repository: &Repository, old: &[u8], new: &[u8]) -> Result<Done> {
    if old == new {
        return Err(Error::usage("the new passphrase is the old one: nothing was changed"));
    }
    let replaced = repository.key_current();
    let slots = repository.key_list(old)?;
    let label = slots.into_iter().find(|slot| slot.current).and_then(|slot| slot.opened).map(|(label, _)| label);
    let id = repository.key_replace(new, &label.unwrap_or_default(), KdfCost::RECOMMENDED)?;
    changed(context, &id, "changed", Some(&replaced))
}

fn changed(context: &Context, id: &KeyId, change: &'static str, replaced: Option<&KeyId>) -> Result<Done> {
    if context.json() {
        context.print_json(&Changed { key: id.to_string(), change, replaced: replaced.map(ToString::to_string) })?;
    } else if let Some(replaced) = replaced {
        print_line(&format!("changed the passphrase: key slot {id} took the place of {replaced}"))?;
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
                    .map_or_else(|| "(another passphrase)".to_string(), |label| text::safe(&label)),
            ]
        })
        .collect();
    print_line(&text::table(&["key", "current", "created", "cost", "label"], &rows, &[]))?;
    Ok(Done::Whole)
}
