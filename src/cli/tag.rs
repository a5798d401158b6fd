//! `tag`: labels that come and go after a snapshot was committed.

use super::among::Among;
use super::context::Context;
use super::output::{complain, print_line};
use super::text;
use crate::error::Result;
use crate::job::{self, Done};
use clap::Subcommand;

/// Add labels to a snapshot, and remove labels
///
/// `snapshots` shows the labels of a snapshot; `--tag` and `forget --keep-tag` select by them, and copies have them
/// too. `backup --tag` sets the first ones.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  aerolith tag add latest before-upgrade
  aerolith tag remove 0f3a nightly weekly")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Add labels to a snapshot
    #[command(after_help = "Example: aerolith tag add latest before-upgrade")]
    Add(TagChange),
    /// Remove labels from a snapshot
    #[command(after_help = "Example: aerolith tag remove latest before-upgrade")]
    Remove(TagChange),
}

#[derive(clap::Args)]
struct TagChange {
    /// The snapshot
    #[arg(value_name = "SNAPSHOT")]
    snapshot: String,
    /// The labels
    #[arg(required = true, value_name = "LABEL")]
    labels: Vec<String>,
    #[command(flatten)]
    among: Among,
}

pub fn run(context: &Context, args: Args) -> Result<Done> {
    let repository = context.repository()?;
    let output = match &args.command {
        Command::Add(change) => job::tag(&repository, &change.snapshot, &change.among.filter(), &change.labels, &[]),
        Command::Remove(change) => job::tag(&repository, &change.snapshot, &change.among.filter(), &[], &change.labels),
    }?;
    if context.json() {
        context.print_json(&output)?;
        return Ok(Done::Whole);
    }
    if !output.changed {
        complain("nothing to change");
    }
    let tags = if output.tags.is_empty() { "none".to_string() } else { text::safe(&output.tags.join(", ")) };
    print_line(&format!("labels of snapshot {}: {tags}", output.snapshot))?;
    Ok(Done::Whole)
}
