//! The command line: one file per command. Exit codes: 0 done, 1 failed, 2 usage, 3 done but incomplete, 10 repository damaged.

mod among;
mod applies;
mod asb;
mod backup;
mod check;
#[cfg(feature = "cluster")]
mod cluster;
mod context;
mod copy;
mod demo;
mod diff;
mod endpoint;
mod forget;
mod from_command;
mod get;
mod history;
mod hold;
mod init;
mod inspect;
mod key;
mod ls;
mod output;
mod progress;
mod prune;
mod repair;
mod restore;
mod restored;
mod schema;
mod select;
mod show;
mod snapshots;
mod stats;
mod text;
mod verify;

use clap::{CommandFactory, Parser, Subcommand};
use context::{Context, Done};
use output::complain;
use std::process::ExitCode;

/// Deduplicating, encrypted backups for databases of records, Aerospike first.
///
/// Every backup is a complete snapshot: it can be restored, read or deleted on its own.
#[derive(Parser)]
#[command(
    name = "aerolith",
    version,
    max_term_width = 110,
    after_help = "\
Example: a first backup, and back
  export AEROLITH_REPO=/backups/aero AEROLITH_PASSWORD=...
  aerolith init
  aerolith backup asb:/backups/monday
  aerolith restore latest asb:/restore/out

SNAPSHOT is an id or its beginning, latest, latest~N, or @TIME: the newest at or before it. Where a repository holds
snapshots of several clusters, --cluster NAME says of which.
SOURCE and TARGET are asb:PATH, jsonl:FILE (- for standard output) or embedded:FOLDER.
Exit codes: 0 done, 1 failed, 2 usage, 3 done but incomplete (named), 10 repository damaged."
)]
pub struct Cli {
    #[command(flatten)]
    global: context::Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Init(init::Args),
    Backup(backup::Args),
    Restore(restore::Args),
    Snapshots(snapshots::Args),
    History(history::Args),
    Show(show::Args),
    Ls(ls::Args),
    Get(get::Args),
    Diff(diff::Args),
    Stats(stats::Args),
    Check(check::Args),
    Verify(verify::Args),
    Forget(forget::Args),
    Prune(prune::Args),
    Hold(hold::Args),
    Repair(repair::Args),
    Copy(copy::Args),
    Key(key::Args),
    Inspect(inspect::Args),
    Demo(demo::Args),
}

/// The definition of the command line, for tests and tools.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Parses the arguments, runs the command, and says how it went.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    let context = Context::new(cli.global);
    let done = match cli.command {
        Command::Init(args) => init::run(&context, args),
        Command::Backup(args) => backup::run(&context, args),
        Command::Restore(args) => restore::run(&context, args),
        Command::Snapshots(args) => snapshots::run(&context, args),
        Command::History(args) => history::run(&context, args),
        Command::Show(args) => show::run(&context, args),
        Command::Ls(args) => ls::run(&context, args),
        Command::Get(args) => get::run(&context, args),
        Command::Diff(args) => diff::run(&context, args),
        Command::Stats(args) => stats::run(&context, args),
        Command::Check(args) => check::run(&context, args),
        Command::Verify(args) => verify::run(&context, args),
        Command::Forget(args) => forget::run(&context, args),
        Command::Prune(args) => prune::run(&context, args),
        Command::Hold(args) => hold::run(&context, args),
        Command::Repair(args) => repair::run(&context, args),
        Command::Copy(args) => copy::run(&context, args),
        Command::Key(args) => key::run(&context, args),
        Command::Inspect(args) => inspect::run(&context, args),
        Command::Demo(args) => demo::run(&context, args),
    };
    context.remember();
    match done {
        Ok(Done::Whole) => ExitCode::SUCCESS,
        Ok(Done::Incomplete) => ExitCode::from(3),
        Ok(Done::Damaged) => ExitCode::from(10),
        Err(error) => {
            complain(&error.to_string());
            ExitCode::from(error.exit_code())
        }
    }
}
