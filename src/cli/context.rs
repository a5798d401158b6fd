//! What all commands share: which repository, which pass phrase, how to print, progress and Ctrl-C.

use super::output::{complain, print_line, to_json};
use super::progress::Progress;
use crate::control::Control;
use crate::error::{Error, Result};
use crate::repository::Repository;
use crate::store::{self, Store};
use clap::Args;
use serde::Serialize;
use std::cell::RefCell;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use zeroize::Zeroizing;

/// How a command that did not fail ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// All was done.
    Whole,
    /// Something was left out, and named.
    Incomplete,
    /// The repository is damaged.
    Damaged,
}

/// Where the help shows what all commands take.
const HEADING: &str = "Global options";

#[derive(Args)]
pub struct Global {
    /// The repository: a folder, or file:PATH
    #[arg(long, global = true, env = "AEROLITH_REPO", hide_env_values = true, value_name = "URL", help_heading = HEADING)]
    repo: Option<String>,
    /// Read the pass phrase from the first line of this file, not from AEROLITH_PASSWORD or a prompt
    #[arg(long, global = true, value_name = "FILE", help_heading = HEADING)]
    password_file: Option<PathBuf>,
    /// Read the pass phrase from the first line that this command prints
    #[arg(long, global = true, value_name = "COMMAND", conflicts_with = "password_file", help_heading = HEADING)]
    password_command: Option<String>,
    /// Don't remember, in the user's state folder, which snapshots the store has shown, and don't compare it with that
    #[arg(long, global = true, env = "AEROLITH_NO_ROLLBACK_CHECK", hide_env_values = true, help_heading = HEADING)]
    no_rollback_check: bool,
    /// Print JSON, one stable schema for each command
    #[arg(long, global = true, help_heading = HEADING)]
    json: bool,
    /// Show no progress: neither the bar on a terminal nor the log lines elsewhere
    #[arg(long, short, global = true, help_heading = HEADING)]
    quiet: bool,
}

/// The pass phrase of the other repository that a command reads from.
#[derive(Args)]
pub struct OtherArgs {
    /// Read the other repository's pass phrase from the first line of this file, not from AEROLITH_FROM_PASSWORD or a prompt
    #[arg(long, value_name = "FILE", requires = "from")]
    from_password_file: Option<PathBuf>,
    /// Read it from the first line that this command prints
    #[arg(long, value_name = "COMMAND", requires = "from", conflicts_with = "from_password_file")]
    from_password_command: Option<String>,
}

pub struct Context {
    global: Global,
    /// The repository that was opened last, if what it shows is to be remembered.
    opened: RefCell<Option<Repository>>,
}

impl Context {
    pub fn new(global: Global) -> Self {
        Context { global, opened: RefCell::default() }
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
        print_line(&to_json(value)?)
    }

    pub fn url(&self) -> Result<&str> {
        self.global
            .repo
            .as_deref()
            .ok_or_else(|| Error::usage("which repository? Give --repo PATH, or set AEROLITH_REPO"))
    }

    pub fn store(&self) -> Result<Arc<dyn Store>> {
        store::open(self.url()?)
    }

    /// The pass phrase: from the file, the command, the environment, or a prompt; asked for twice if it is a new one.
    pub fn passphrase(&self, new: bool) -> Result<Zeroizing<Vec<u8>>> {
        self.own_way().read(new)
    }

    /// Where the repository's pass phrase comes from.
    fn own_way(&self) -> PassphraseWay<'_> {
        PassphraseWay {
            file: self.global.password_file.as_deref(),
            command: self.global.password_command.as_deref(),
            prefix: "",
            whose: "",
        }
    }

    /// The pass phrase of a new key slot: from the file, the environment, or a prompt that asks twice.
    pub fn new_passphrase(&self, file: Option<&Path>) -> Result<Zeroizing<Vec<u8>>> {
        if let Some(path) = file {
            return from_file("the new pass phrase", path);
        }
        if let Some(password) = std::env::var_os("AEROLITH_NEW_PASSWORD") {
            return not_empty(Zeroizing::new(password.into_encoded_bytes()), "AEROLITH_NEW_PASSWORD");
        }
        if !std::io::stdin().is_terminal() {
            return Err(Error::usage(
                "no new pass phrase, and no terminal to ask for it: set AEROLITH_NEW_PASSWORD, or give \
                 --new-password-file",
            ));
        }
        not_empty(prompt("new pass phrase: ", true)?, "what was typed")
    }

    pub fn repository(&self) -> Result<Repository> {
        self.open(&self.passphrase(false)?)
    }

    /// Opens the repository with a pass phrase that is at hand.
    pub fn open(&self, passphrase: &[u8]) -> Result<Repository> {
        let repository =
            Repository::open(self.store()?, passphrase).map_err(|error| self.own_way().name_origin(error))?;
        if let Some(folder) = self.seen_folder() {
            match repository.look_back(&folder) {
                Ok(None) => *self.opened.borrow_mut() = Some(repository.clone()),
                Ok(Some(rollback)) => complain(&rollback.to_string()),
                Err(error) => complain(&format!("{error}. --no-rollback-check does without")),
            }
        }
        Ok(repository)
    }

    /// Where it is remembered what repositories have shown: a folder of the user's, not of the repository's.
    fn seen_folder(&self) -> Option<PathBuf> {
        let folder = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let state = folder("XDG_STATE_HOME").or_else(|| Some(folder("HOME")?.join(".local/state")));
        state.filter(|_| !self.global.no_rollback_check).map(|state| state.join("aerolith/seen"))
    }

    /// Remembers what the store shows once a command is done: what it added too.
    pub fn remember(&self) {
        let Some(folder) = self.seen_folder() else { return };
        if let Some(repository) = self.opened.borrow_mut().take()
            && let Err(error) = repository.remember(&folder)
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
            whose: "",
        };
        open_other(url, &way)
    }

    /// Asks a question on the terminal, and takes `yes` for yes and all else for no. `instead` says what to do without one.
    pub fn confirm(&self, question: &str, instead: &str) -> Result<bool> {
        if !std::io::stdin().is_terminal() {
            return Err(Error::usage(format!("there is no terminal to ask on: {instead}")));
        }
        eprint!("{question} Type yes to go on: ");
        let mut answer = String::new();
        let read = std::io::stdin().read_line(&mut answer);
        read.map_err(|error| Error::io("read the answer from the terminal", error))?;
        Ok(answer.trim().eq_ignore_ascii_case("yes"))
    }

    /// A control that Ctrl-C stops, with progress on standard error until the guard is dropped. `what` is being done, such as
    /// "checking /backups/aero".
    pub fn control(&self, what: impl Into<String>) -> (Arc<Control>, Progress) {
        let control = Arc::new(Control::new());
        let stopping = control.clone();
        // A second handler can't be set; the first then belongs to an earlier call of the same process.
        let _ = ctrlc::set_handler(move || {
            if stopping.is_stopped() {
                super::from_command::end_at_once();
                crate::target::partial::remove_all();
                std::process::exit(1);
            }
            complain("stopping at the next safe point; once more to stop at once");
            stopping.stop();
            super::from_command::end();
        });
        (control.clone(), Progress::start(what.into(), control, self.global.quiet))
    }
}

/// Where a pass phrase comes from.
#[derive(Clone, Copy)]
pub struct PassphraseWay<'a> {
    /// A file whose first line it is.
    pub file: Option<&'a Path>,
    /// A command that prints it.
    pub command: Option<&'a str>,
    /// What its options and its variable are called: `to` means --to-password-file, --to-password-command and
    /// AEROLITH_TO_PASSWORD. Nothing for the repository itself.
    pub prefix: &'a str,
    /// Whose it is, for the prompt: nothing, or ` of REPOSITORY`.
    pub whose: &'a str,
}

impl PassphraseWay<'_> {
    fn variable(&self) -> String {
        match self.prefix {
            "" => "AEROLITH_PASSWORD".into(),
            prefix => format!("AEROLITH_{}_PASSWORD", prefix.to_uppercase()),
        }
    }

    /// The pass phrase: from the file, the command, the environment, or a prompt; asked for twice if it is a new one.
    pub fn read(&self, new: bool) -> Result<Zeroizing<Vec<u8>>> {
        if let Some(path) = self.file {
            return from_file(&format!("the pass phrase{}", self.whose), path);
        }
        if let Some(command) = self.command {
            return from_command(command);
        }
        let variable = self.variable();
        if let Some(password) = std::env::var_os(&variable) {
            return not_empty(Zeroizing::new(password.into_encoded_bytes()), &variable);
        }
        if !std::io::stdin().is_terminal() {
            let dash = if self.prefix.is_empty() { "" } else { "-" };
            let option = format!("--{}{dash}password", self.prefix);
            return Err(Error::usage(format!(
                "no pass phrase{}, and no terminal to ask for it: set {variable}, or give {option}-file or {option}-command",
                self.whose
            )));
        }
        not_empty(prompt(&format!("pass phrase{}: ", self.whose), new)?, "what was typed")
    }

    /// Adds to an error that the pass phrase is wrong where it came from.
    pub fn name_origin(&self, error: Error) -> Error {
        let Error::WrongPassphrase { .. } = error else { return error };
        let variable = self.variable();
        let origin = match (self.file, self.command) {
            (Some(path), _) => format!("the first line of {}", path.display()),
            (None, Some(command)) => format!("the password command {command:?}"),
            _ if std::env::var_os(&variable).is_some() => variable,
            _ => "the prompt".to_string(),
        };
        Error::invalid(format!("{error}. It came from {origin}"))
    }
}

/// Opens a second repository.
pub fn open_other(url: &str, way: &PassphraseWay<'_>) -> Result<Repository> {
    let whose = format!(" of {url}");
    let way = PassphraseWay { whose: &whose, ..*way };
    let store = store::open(url)?;
    let passphrase = way.read(false)?;
    Repository::open(store, &passphrase).map_err(|error| way.name_origin(error))
}

/// Says what a stop on request left behind.
pub fn stopped(error: Error, left: &str) -> Error {
    match error {
        Error::Cancelled => Error::invalid(format!("{}: {left}", Error::Cancelled)),
        error => error,
    }
}

fn from_file(what: &str, path: &Path) -> Result<Zeroizing<Vec<u8>>> {
    let bytes =
        std::fs::read(path).map_err(|error| Error::io(format!("read {what} from {}", path.display()), error))?;
    not_empty(first_line(bytes), &format!("the first line of {}", path.display()))
}

fn from_command(command: &str) -> Result<Zeroizing<Vec<u8>>> {
    let doing = format!("run the password command {command:?}");
    let mut shell = std::process::Command::new("sh");
    shell.arg("-c").arg(command).stderr(std::process::Stdio::inherit());
    let output = shell.output().map_err(|error| Error::io(&doing, error))?;
    let printed = first_line(output.stdout);
    if !output.status.success() {
        return Err(Error::invalid(format!("cannot {doing}: it ended with {}", output.status)));
    }
    not_empty(printed, &format!("the first line that the password command {command:?} printed"))
}

/// An empty pass phrase is always a mistake: a variable that is not set, a file that could not be filled.
fn not_empty(passphrase: Zeroizing<Vec<u8>>, place: &str) -> Result<Zeroizing<Vec<u8>>> {
    if passphrase.is_empty() {
        return Err(Error::usage(format!("the pass phrase is empty: {place} holds none")));
    }
    Ok(passphrase)
}

pub fn first_line(bytes: Vec<u8>) -> Zeroizing<Vec<u8>> {
    let bytes = Zeroizing::new(bytes);
    let line = bytes.split(|&byte| byte == b'\n').next().unwrap_or_default();
    Zeroizing::new(line.strip_suffix(b"\r").unwrap_or(line).to_vec())
}

fn prompt(text: &str, twice: bool) -> Result<Zeroizing<Vec<u8>>> {
    let ask = |text: &str| {
        rpassword::prompt_password(text)
            .map(|text| Zeroizing::new(text.into_bytes()))
            .map_err(|error| Error::io("read the pass phrase from the terminal", error))
    };
    let first = ask(text)?;
    if twice && ask("once more: ")? != first {
        return Err(Error::invalid("the two pass phrases differ"));
    }
    Ok(first)
}
