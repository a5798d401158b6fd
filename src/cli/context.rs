//! What all commands share: which repository, which passphrase, how to print, progress and Ctrl-C.

use super::config::{self, Named, NamedCluster};
use super::output::{complain, print_raw, to_json};
use super::passphrase::{NEW, PassphraseWay, open_other};
use super::stores::store_options_of_all;
use super::terminal::Terminal;
use crate::control::Control;
use crate::error::{Error, Result};
pub use crate::job::Done;
use crate::repository::Repository;
use crate::store::{self, Store, StoreOptions};
use clap::Args;
use serde::Serialize;
use std::cell::RefCell;
use std::env::VarError;
use std::path::PathBuf;
use std::sync::Arc;
use tracing::level_filters::LevelFilter;
use zeroize::Zeroizing;

/// Where the help shows what all commands take.
const HEADING: &str = "Global options";

const NO_ROLLBACK_CHECK: &str = "AEROLITH_NO_ROLLBACK_CHECK";

/// Reads a switch that a variable may set, by the usual words. An empty variable is none.
pub fn switch(variable: &'static str) -> impl Fn(&str) -> Result<bool, String> + Clone + Send + Sync {
    move |text| match text.trim().to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" | "y" | "t" => Ok(true),
        "0" | "false" | "no" | "off" | "n" | "f" | "" => Ok(false),
        _ => Err(format!("the variable {variable} holds it; it takes 1, true, yes, on, or 0, false, no, off")),
    }
}

#[derive(Args)]
pub struct Global {
    /// The repository: a directory, file:PATH, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX
    /// [env: AEROLITH_REPO]
    #[arg(long, global = true, value_name = "URL", help_heading = HEADING)]
    repo: Option<String>,
    /// A setting of an object store, such as region=eu-central-1 or endpoint=https://...; may be given more than once.
    /// Secrets are better kept where nobody lists them: in the environment [env: AEROLITH_STORE_OPTIONS, with commas]
    #[arg(long = "store-option", global = true, value_name = "NAME=VALUE", help_heading = HEADING)]
    store_options: Vec<String>,
    /// The storage class of the packs that are written, as the object store calls it
    #[arg(long, global = true, value_name = "CLASS", help_heading = HEADING)]
    storage_class: Option<String>,
    /// The repository of this name in the configuration file
    #[arg(long, short, global = true, value_name = "NAME", help_heading = HEADING)]
    profile: Option<String>,
    /// The configuration file [env: AEROLITH_CONFIG] [default: aerolith/config.toml in the user's configuration
    /// directory]
    #[arg(long, global = true, value_name = "FILE", help_heading = HEADING)]
    config: Option<PathBuf>,
    /// Read the passphrase from the first line of this file, not from AEROLITH_PASSWORD, AEROLITH_PASSWORD_FILE,
    /// AEROLITH_PASSWORD_COMMAND or a prompt
    #[arg(long, global = true, value_name = "FILE", help_heading = HEADING)]
    password_file: Option<PathBuf>,
    /// Read the passphrase from the first line that this command prints
    #[arg(long, global = true, value_name = "COMMAND", conflicts_with = "password_file", help_heading = HEADING)]
    password_command: Option<String>,
    /// Don't remember which snapshots the store has shown (in the user's state directory), and don't compare it with
    /// that
    #[arg(long, global = true, env = NO_ROLLBACK_CHECK, hide_env_values = true,
          value_parser = switch(NO_ROLLBACK_CHECK), help_heading = HEADING)]
    no_rollback_check: bool,
    /// Print JSON, one stable schema for each command
    #[arg(long, global = true, help_heading = HEADING)]
    json: bool,
    /// Show no progress: neither the bar on a terminal nor the log lines elsewhere
    #[arg(long, short, global = true, help_heading = HEADING)]
    quiet: bool,
    /// Log what is done inside to standard error, to find the cause of something: off, error, warn, info, debug, or
    /// trace, which has every call to the store
    #[arg(long, global = true, env = "AEROLITH_LOG", hide_env_values = true, value_parser = log_level,
          value_name = "LEVEL", help_heading = HEADING)]
    log: Option<LevelFilter>,
}

/// Reads how much is to be logged. An empty text, as of a variable that is set to nothing, is none of it.
fn log_level(text: &str) -> Result<LevelFilter, String> {
    match text.trim().to_ascii_lowercase().as_str() {
        "" | "off" => Ok(LevelFilter::OFF),
        "error" => Ok(LevelFilter::ERROR),
        "warn" => Ok(LevelFilter::WARN),
        "info" => Ok(LevelFilter::INFO),
        "debug" => Ok(LevelFilter::DEBUG),
        "trace" => Ok(LevelFilter::TRACE),
        _ => Err("--log and AEROLITH_LOG take off, error, warn, info, debug or trace".into()),
    }
}

impl Global {
    /// Begins to log, if it is wanted.
    pub fn begin_log(&self) {
        if let Some(level) = self.log.filter(|level| *level != LevelFilter::OFF) {
            tracing_subscriber::fmt().with_max_level(level).with_ansi(false).with_writer(std::io::stderr).init();
        }
    }
}

/// The passphrase of a key slot that is to be made.
#[derive(Args)]
pub struct NewArgs {
    /// Read the new passphrase from the first line of this file, not from AEROLITH_NEW_PASSWORD,
    /// AEROLITH_NEW_PASSWORD_FILE, AEROLITH_NEW_PASSWORD_COMMAND or a prompt
    #[arg(long, value_name = "FILE")]
    new_password_file: Option<PathBuf>,
    /// Read it from the first line that this command prints
    #[arg(long, value_name = "COMMAND", conflicts_with = "new_password_file")]
    new_password_command: Option<String>,
}

/// The passphrase of the other repository that a command reads from.
#[derive(Args)]
pub struct OtherArgs {
    /// Read the other repository's passphrase from the first line of this file, not from AEROLITH_FROM_PASSWORD or a
    /// prompt
    #[arg(long, value_name = "FILE", requires = "from")]
    from_password_file: Option<PathBuf>,
    /// Read it from the first line that this command prints
    #[arg(long, value_name = "COMMAND", requires = "from", conflicts_with = "from_password_file")]
    from_password_command: Option<String>,
}

pub struct Context {
    global: Global,
    /// What the configuration file says of the repository.
    named: Option<Named>,
    /// The repository that was opened last, if what it shows is to be remembered.
    opened: RefCell<Option<Repository>>,
    terminal: Arc<Terminal>,
    control: Control,
}

impl Context {
    /// Finds out which repository is meant: by --repo, by the name given to --profile, by AEROLITH_REPO, or as the
    /// default of the configuration file.
    pub fn new(mut global: Global) -> Result<Self> {
        if global.repo.is_some() && global.profile.is_some() {
            return Err(Error::usage("--repo and --profile both say which repository: give one of them"));
        }
        let from_environment = match std::env::var("AEROLITH_REPO") {
            Ok(url) => Some(url).filter(|url| !url.is_empty()),
            Err(VarError::NotPresent) => None,
            Err(VarError::NotUnicode(_)) => return Err(Error::usage("AEROLITH_REPO is no UTF-8 text")),
        };
        let named = match (&global.repo, &global.profile, from_environment) {
            (Some(_), _, _) => None,
            (None, None, Some(url)) => {
                global.repo = Some(url);
                None
            }
            (None, name, _) => config::find(global.config.as_deref(), name.as_deref())?,
        };
        if let Some(named) = &named {
            global.repo = Some(named.repo.clone());
            global.no_rollback_check |= named.no_rollback_check;
        }
        Ok(Self::with(global, named))
    }

    /// For commands that need no repository.
    pub fn without_repository(global: Global) -> Self {
        Self::with(global, None)
    }

    fn with(global: Global, named: Option<Named>) -> Self {
        let terminal = Arc::new(Terminal::new(global.quiet));
        let control = Control::observed_by(terminal.clone());
        Context { global, named, opened: RefCell::default(), terminal, control }
    }

    /// What the configuration file says of the repository, if it was found there.
    pub fn named(&self) -> Option<&Named> {
        self.named.as_ref()
    }

    /// The live cluster of this name in the configuration file.
    pub fn find_cluster(&self, name: &str) -> Result<NamedCluster> {
        config::find_cluster(self.global.config.as_deref(), name)
    }

    pub fn json(&self) -> bool {
        self.global.json
    }

    /// Whether no progress is to be shown.
    pub fn quiet(&self) -> bool {
        self.global.quiet
    }

    /// Prints a value as JSON on one line.
    pub fn print_json(&self, value: &impl Serialize) -> Result<()> {
        print_raw(&to_json(value)?)
    }

    pub fn url(&self) -> Result<&str> {
        self.global
            .repo
            .as_deref()
            .ok_or_else(|| Error::usage("which repository? Give --repo PATH or --profile NAME, or set AEROLITH_REPO"))
    }

    pub fn store(&self) -> Result<Arc<dyn Store>> {
        let store = store::open_with(self.url()?, &self.store_options()?)?;
        Ok(store::RetryStore::wrap(store, &self.control))
    }

    /// How the repository's store is reached: as the environment says, as the configuration file says, and above all as
    /// the options say.
    pub fn store_options(&self) -> Result<StoreOptions> {
        let mut options = store_options_of_all(self.url()?)?;
        if let Some(named) = &self.named {
            options.settings.extend(named.store_options.clone());
            options.storage_class.clone_from(&named.storage_class);
        }
        self.global.store_options.iter().try_for_each(|setting| options.add(setting))?;
        if let Some(class) = &self.global.storage_class {
            options.storage_class = Some(class.clone());
        }
        Ok(options)
    }

    /// Where the repository's passphrase comes from: what was given, else what the configuration file says, else the
    /// environment.
    fn own_way(&self) -> Result<PassphraseWay<'_>> {
        let Global { password_file, password_command, .. } = &self.global;
        let (mut file, mut command) = (password_file.as_deref(), password_command.as_deref());
        if let (None, None, Some(named)) = (file, command, &self.named) {
            (file, command) = (named.password_file.as_deref(), named.password_command.as_deref());
        }
        Ok(PassphraseWay { file, command, prefix: "", repository: self.url()? })
    }

    /// The passphrase of a repository that is to be made.
    pub fn first_passphrase(&self) -> Result<Zeroizing<Vec<u8>>> {
        self.own_way()?.read_new()
    }

    /// The passphrase of a new key slot: from the file, the command, the environment, or a prompt that asks twice.
    pub fn new_passphrase(&self, args: &NewArgs) -> Result<Zeroizing<Vec<u8>>> {
        let (file, command) = (args.new_password_file.as_deref(), args.new_password_command.as_deref());
        PassphraseWay { file, command, prefix: NEW, repository: self.url()? }.read_new()
    }

    pub fn repository(&self) -> Result<Repository> {
        Ok(self.repository_and_passphrase()?.0)
    }

    /// The repository, and what opened it.
    pub fn repository_and_passphrase(&self) -> Result<(Repository, Zeroizing<Vec<u8>>)> {
        let (repository, passphrase) = self.own_way()?.open(&self.store()?)?;
        let repository = repository.watched(&self.control);
        if let Some(directory) = self.seen_directory() {
            match repository.look_back(&directory) {
                Ok(None) => *self.opened.borrow_mut() = Some(repository.clone()),
                Ok(Some(rollback)) => complain(&rollback.to_string()),
                Err(error) => complain(&format!("{error}. --no-rollback-check does without")),
            }
        }
        Ok((repository, passphrase))
    }

    /// Where it is remembered what repositories have shown: a directory of the user's, not of the repository's.
    fn seen_directory(&self) -> Option<PathBuf> {
        let directory = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let state = directory("XDG_STATE_HOME").or_else(|| Some(directory("HOME")?.join(".local/state")));
        state.filter(|_| !self.global.no_rollback_check).map(|state| state.join("aerolith/seen"))
    }

    /// Remembers what the store shows once a command is done: what it added too.
    pub fn remember(&self) {
        let Some(directory) = self.seen_directory() else { return };
        if let Some(repository) = self.opened.borrow_mut().take()
            && let Err(error) = repository.remember(&directory)
        {
            complain(&format!("{error}. --no-rollback-check does without"));
        }
    }

    /// Opens another repository.
    pub fn other(&self, url: &str, args: &OtherArgs) -> Result<Repository> {
        let way = PassphraseWay {
            file: args.from_password_file.as_deref(),
            command: args.from_password_command.as_deref(),
            prefix: "from",
            repository: url,
        };
        Ok(open_other(url, &way, &self.control)?.watched(&self.control))
    }

    /// The handle on the jobs of this command, which tells the terminal.
    pub fn control(&self) -> &Control {
        &self.control
    }

    /// The terminal, for a handle that tells it more.
    pub fn terminal(&self) -> Arc<Terminal> {
        self.terminal.clone()
    }
}
