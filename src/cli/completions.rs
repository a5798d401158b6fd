//! `completions` and `man`: what shells and readers of manuals need.

use super::context::Done;
use crate::error::{Error, Result};
use clap_complete::Shell;
use std::io::Write;
use std::path::PathBuf;

/// Print the completions of a shell
///
/// Write them to where the shell looks for them, and start a new shell.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  aerolith completions bash > ~/.local/share/bash-completion/completions/aerolith
  aerolith completions zsh > ~/.zfunc/_aerolith      # a directory of $fpath
  aerolith completions fish > ~/.config/fish/completions/aerolith.fish")]
pub struct CompletionsArgs {
    /// Which shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Print the manual page, or write one for each command
///
/// Without DIR, the page of aerolith itself goes to standard output.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  aerolith man | man -l -
  aerolith man /usr/local/share/man/man1")]
pub struct ManArgs {
    /// A directory that gets a page for each command: aerolith.1, aerolith-backup.1 and so on
    dir: Option<PathBuf>,
}

pub fn completions(args: &CompletionsArgs) -> Result<Done> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut super::command(), "aerolith", &mut text);
    print(&text)
}

pub fn man(args: &ManArgs) -> Result<Done> {
    let Some(dir) = &args.dir else {
        let mut text = Vec::new();
        let page = clap_mangen::Man::new(super::command());
        page.render(&mut text).map_err(|error| Error::io("write the manual page", error))?;
        return print(&text);
    };
    let in_context = |error| Error::io(format!("write manual pages into {}", dir.display()), error);
    std::fs::create_dir_all(dir).map_err(in_context)?;
    clap_mangen::generate_to(super::command(), dir).map_err(in_context)?;
    Ok(Done::Whole)
}

/// Prints many lines; a reader that went away (such as `head`) ends the program and is no error.
fn print(text: &[u8]) -> Result<Done> {
    super::output::written(std::io::stdout().write_all(text))?;
    Ok(Done::Whole)
}
