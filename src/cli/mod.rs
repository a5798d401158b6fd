//! The command line: one file per command. Exit codes: 0 done, 1 failed, 2 usage, 3 done but incomplete, 10 repository
//! damaged.

mod advice;
mod among;
mod applies;
mod asb;
mod backup;
mod check;
#[cfg(feature = "cluster")]
mod cluster;
mod completions;
mod config;
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
mod passphrase;
mod progress;
mod prune;
mod read_data;
mod repair;
mod restore;
mod restored;
mod select;
mod show;
mod signals;
mod snapshots;
mod stats;
mod stores;
mod tag;
mod terminal;
mod text;
#[cfg(feature = "cluster")]
mod tls;
mod verify;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
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
  aerolith backup aerospike://10.0.0.5:3000/test
  aerolith restore latest aerospike://10.0.0.9:3000

SNAPSHOT is an id or its beginning, latest, latest~N, or @TIME: the newest at or before it. Where a repository holds \
snapshots of several clusters, --cluster NAME says of which.
SOURCE and TARGET are aerospike://HOST:PORT[,HOST:PORT...][/NAMESPACE], asb:PATH, jsonl:FILE (- for standard \
input and output) or embedded:DIRECTORY.
Exit codes: 0 done, 1 failed, 2 usage, 3 done but incomplete (named), 10 repository damaged; 129, 130 or \
143 stopped by SIGHUP, Ctrl-C or SIGTERM. What is named and isn't there, such as a namespace or a set, is a failure: \
2 is for what can't be right wherever it is run."
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
    Tag(tag::Args),
    Repair(repair::Args),
    Copy(copy::Args),
    Key(key::Args),
    Inspect(inspect::Args),
    Demo(demo::Args),
    Completions(completions::CompletionsArgs),
    Man(completions::ManArgs),
}

/// The definition of the command line, for tests and tools.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Parses the arguments, runs the command, and says how it went.
pub fn run() -> ExitCode {
    let Cli { global, command } = Cli::parse();
    global.begin_log();
    let needs_none = matches!(command, Command::Completions(_) | Command::Man(_) | Command::Demo(_));
    let context = if needs_none { Ok(Context::without_repository(global)) } else { Context::new(global) };
    let done = context.and_then(|context| {
        let done = with_defaults(&context, command).and_then(|command| execute(&context, command));
        context.remember();
        done
    });
    match done {
        Ok(Done::Whole) => ExitCode::SUCCESS,
        Ok(Done::Incomplete) => ExitCode::from(3),
        Ok(Done::Damaged) => ExitCode::from(10),
        Err(error) => {
            complain(&error.to_string());
            // A signal stops whatever is at work, so it is the reason of most errors that follow it.
            let stopped = signals::exit_code().filter(|_| !error.is_damage());
            ExitCode::from(stopped.unwrap_or_else(|| error.exit_code()))
        }
    }
}

/// What begins a source or target that the configuration file names, rather than its hosts.
const NAMED_CLUSTER: &str = "aerospike:";

impl Command {
    /// The sources and targets, as they were given.
    fn endpoints(&mut self) -> Vec<&mut String> {
        match self {
            Command::Backup(args) => args.endpoints(),
            Command::Restore(args) => vec![args.endpoint()],
            Command::Verify(args) => vec![args.endpoint()],
            _ => Vec::new(),
        }
    }
}

/// The name of a cluster in the configuration file, if that is what was given, and the rest of the URL.
fn named_cluster(url: &str) -> Option<(&str, &str)> {
    let rest = url.strip_prefix(NAMED_CLUSTER).filter(|rest| !rest.starts_with("//"))?;
    Some(rest.split_at(rest.find('/').unwrap_or(rest.len())))
}

/// The command once more, with what the configuration file says as the defaults of its options, and with the hosts of
/// the cluster that is given by its name there.
fn with_defaults(context: &Context, mut command: Command) -> crate::error::Result<Command> {
    let given = command.endpoints();
    let is_live = given.iter().any(|url| url.starts_with(NAMED_CLUSTER));
    let names: Vec<&str> = given.iter().filter_map(|url| Some(named_cluster(url)?.0)).collect();
    let name = match names.split_first() {
        Some((first, others)) => match others.iter().find(|other| *other != first) {
            Some(other) => {
                return Err(crate::error::Error::usage(format!(
                    "{NAMED_CLUSTER}{first} and {NAMED_CLUSTER}{other}: a command reaches one cluster of the \
                     configuration file"
                )));
            }
            None => Some(first.to_string()),
        },
        None => None,
    };
    let cluster = name.map(|name| context.find_cluster(&name)).transpose()?;
    if context.named().is_none() && cluster.is_none() {
        return Ok(command);
    }
    let definition = config::defaults(context.named(), cluster.as_ref(), Cli::command(), is_live);
    let mut command = Cli::from_arg_matches(&definition.get_matches()).unwrap_or_else(|error| error.exit()).command;
    for url in command.endpoints() {
        if let (Some(cluster), Some((_, rest))) = (&cluster, named_cluster(url)) {
            *url = format!("{NAMED_CLUSTER}//{}{rest}", cluster.hosts);
        }
    }
    Ok(command)
}

fn execute(context: &Context, command: Command) -> crate::error::Result<Done> {
    match command {
        Command::Init(args) => init::run(context, args),
        Command::Backup(args) => backup::run(context, args),
        Command::Restore(args) => restore::run(context, args),
        Command::Snapshots(args) => snapshots::run(context, args),
        Command::History(args) => history::run(context, args),
        Command::Show(args) => show::run(context, args),
        Command::Ls(args) => ls::run(context, args),
        Command::Get(args) => get::run(context, args),
        Command::Diff(args) => diff::run(context, args),
        Command::Stats(args) => stats::run(context, args),
        Command::Check(args) => check::run(context, args),
        Command::Verify(args) => verify::run(context, args),
        Command::Forget(args) => forget::run(context, args),
        Command::Prune(args) => prune::run(context, args),
        Command::Hold(args) => hold::run(context, args),
        Command::Tag(args) => tag::run(context, args),
        Command::Repair(args) => repair::run(context, args),
        Command::Copy(args) => copy::run(context, args),
        Command::Key(args) => key::run(context, args),
        Command::Inspect(args) => inspect::run(context, args),
        Command::Demo(args) => demo::run(context, args),
        Command::Completions(args) => completions::completions(&args),
        Command::Man(args) => completions::man(&args),
    }
}
