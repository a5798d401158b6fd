//! The command line: one file per command. Exit codes: 0 done, 1 failed, 2 usage, 3 done but incomplete, 10 repository damaged.

mod backup;
mod check;
mod context;
mod demo;
mod diff;
mod endpoint;
mod get;
mod history;
mod init;
mod inspect;
mod key;
mod ls;
mod restore;
mod show;
mod snapshots;
mod stats;
mod text;
mod verify;

use clap::{Parser, Subcommand};
use context::{Context, Done};
use std::process::ExitCode;

/// Deduplicating, encrypted backups for databases of records, Aerospike first.
///
/// Every backup is a complete snapshot: it can be restored, read or deleted on its own.
#[derive(Parser)]
#[command(name = "aerolith", version, max_term_width = 110)]
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
    Demo(demo::Args),
    Restore(restore::Args),
    Snapshots(snapshots::Args),
    History(history::Args),
    Ls(ls::Args),
    Get(get::Args),
    Diff(diff::Args),
    Check(check::Args),
    Show(show::Args),
    Key(key::Args),
    Stats(stats::Args),
    Verify(verify::Args),
    Inspect(inspect::Args),
}

/// Parses the arguments, runs the command, and says how it went.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    let context = Context::new(cli.global);
    let done = match cli.command {
        Command::Init(args) => init::run(&context, args),
        Command::Backup(args) => backup::run(&context, args),
        Command::Demo(args) => demo::run(&context, args),
        Command::Restore(args) => restore::run(&context, args),
        Command::Snapshots(args) => snapshots::run(&context, args),
        Command::History(args) => history::run(&context, args),
        Command::Ls(args) => ls::run(&context, args),
        Command::Get(args) => get::run(&context, args),
        Command::Diff(args) => diff::run(&context, args),
        Command::Check(args) => check::run(&context, args),
        Command::Show(args) => show::run(&context, args),
        Command::Key(args) => key::run(&context, args),
        Command::Stats(args) => stats::run(&context, args),
        Command::Verify(args) => verify::run(&context, args),
        Command::Inspect(args) => inspect::run(&context, args),
    };
    match done {
        Ok(Done::Whole) => ExitCode::SUCCESS,
        Ok(Done::Incomplete) => ExitCode::from(3),
        Ok(Done::Damaged) => ExitCode::from(10),
        Err(error) => {
            eprintln!("aerolith: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}
