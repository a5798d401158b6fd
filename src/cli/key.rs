//! `key`: the passphrases that open the repository.

use super::context::{Context, NewArgs};
use super::output::print_line;
use super::text;
use crate::error::Result;
use crate::job::{self, Done, KeyChange, KeyChangeReport, KeysReport};
use clap::Subcommand;

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

pub fn run(context: &Context, args: Args) -> Result<Done> {
    if let Command::Add { label, .. } = &args.command {
        job::check_label(label)?;
    }
    let (repository, passphrase) = context.repository_and_passphrase()?;
    let changed = match args.command {
        Command::List => {
            let report = job::list_keys(&repository, &passphrase)?;
            if context.json() {
                context.print_json(&report)?
            } else {
                print_list(&report)?
            }
            return Ok(Done::Whole);
        }
        Command::Add { label, new } => job::add_key(&repository, &context.new_passphrase(&new)?, &label)?,
        Command::Passwd { new } => job::change_passphrase(&repository, &passphrase, &context.new_passphrase(&new)?)?,
        Command::Remove { id, this_key } => job::remove_key(&repository, &passphrase, &id, this_key)?,
    };
    if context.json() {
        context.print_json(&changed)?;
        return Ok(Done::Whole);
    }
    let KeyChangeReport { key, change, replaced, .. } = &changed;
    print_line(&match (change, replaced) {
        (_, Some(replaced)) => format!("changed the passphrase: key slot {key} took the place of {replaced}"),
        (KeyChange::Removed, None) => format!("removed key slot {key}"),
        (_, None) => format!("added key slot {key}"),
    })?;
    Ok(Done::Whole)
}

fn print_list(report: &KeysReport) -> Result<()> {
    let rows: Vec<Vec<String>> = report
        .keys
        .iter()
        .map(|slot| {
            vec![
                slot.key.clone(),
                if slot.current { "yes" } else { "" }.to_string(),
                slot.created.clone().unwrap_or_default(),
                format!("{} KiB, {} passes, {} lanes", text::count(slot.memory_kib.into()), slot.passes, slot.lanes),
                slot.label
                    .as_ref()
                    .or(slot.damaged.as_ref())
                    .map_or_else(|| "(another passphrase)".to_string(), |label| text::safe(label)),
            ]
        })
        .collect();
    print_line(&text::table(&["key", "current", "created", "cost", "label"], &rows, &[]))
}
