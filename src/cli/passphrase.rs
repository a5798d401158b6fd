//! Where passphrases come from: options, the configuration file, the environment, or a prompt.

use super::output::complain;
use super::stores::store_options_of_all;
use crate::control::Control;
use crate::error::{Error, Result};
use crate::format::names;
use crate::job::secret::{MAX_BYTES, first_line, from_file, not_empty};
use crate::repository::Repository;
use crate::secret::SecretSource;
use crate::store::{self, Store};
use clap::builder::{OsStringValueParser, TypedValueParser};
use std::ffi::OsString;
use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use zeroize::Zeroizing;

/// How often a prompt asks.
const TRIES: usize = 3;

/// Where a passphrase comes from.
#[derive(Clone, Copy)]
pub struct PassphraseWay<'a> {
    /// A file whose first line it is.
    pub file: Option<&'a Path>,
    /// A command that prints it.
    pub command: Option<&'a str>,
    /// What its options and its variables are called: `to` means --to-password-file, --to-password-command,
    /// AEROLITH_TO_PASSWORD, AEROLITH_TO_PASSWORD_FILE and AEROLITH_TO_PASSWORD_COMMAND. Nothing for the repository
    /// itself.
    pub prefix: &'a str,
    /// The repository that it opens, for the prompt.
    pub repository: &'a str,
}

/// Where it comes from in the end.
enum Origin {
    File(PathBuf),
    Command(String),
    Variable(String),
    Prompt,
}

impl PassphraseWay<'_> {
    fn variable(&self) -> String {
        match self.prefix {
            "" => "AEROLITH_PASSWORD".into(),
            prefix => format!("AEROLITH_{}_PASSWORD", prefix.to_uppercase()),
        }
    }

    /// What it is, for people.
    fn what(&self) -> String {
        let new = if self.prefix == NEW { "new " } else { "" };
        format!("{new}passphrase of {}", self.repository)
    }

    fn origin(&self) -> Result<Origin> {
        if let Some(path) = self.file {
            return Ok(Origin::File(path.to_owned()));
        }
        if let Some(command) = self.command {
            return Ok(Origin::Command(command.to_owned()));
        }
        let variable = self.variable();
        let (file, command) = (format!("{variable}_FILE"), format!("{variable}_COMMAND"));
        let set = |name: &String| std::env::var_os(name).map(|value| (name.clone(), value));
        let found: Vec<(String, OsString)> = [&variable, &file, &command].into_iter().filter_map(set).collect();
        match &found[..] {
            [] if can_ask() => Ok(Origin::Prompt),
            [] => {
                let dash = if self.prefix.is_empty() { "" } else { "-" };
                let option = format!("--{}{dash}password", self.prefix);
                Err(Error::usage(format!(
                    "no {}, and no terminal to ask for it: set {variable}, {file} or {command}, or give \
                     {option}-file or {option}-command",
                    self.what()
                )))
            }
            [(name, _)] if *name == variable => Ok(Origin::Variable(variable)),
            [(name, value)] if value.is_empty() => {
                Err(Error::usage(format!("{name} is empty: unset it, or let it name what the passphrase comes from")))
            }
            [(name, value)] if *name == file => Ok(Origin::File(value.into())),
            [(name, value)] => match value.to_str() {
                Some(command) => Ok(Origin::Command(command.into())),
                None => Err(Error::usage(format!("{name} is no UTF-8 text"))),
            },
            _ => {
                let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
                Err(Error::usage(format!(
                    "{} are set: which of them has the passphrase? Unset the others",
                    names.join(" and ")
                )))
            }
        }
    }

    /// A passphrase that is to be: from the file, the command, the environment, or a prompt that asks for it twice.
    pub fn read_new(&self) -> Result<Zeroizing<Vec<u8>>> {
        let origin = self.origin()?;
        let Origin::Prompt = origin else { return self.read(&origin) };
        let what = self.what();
        for left in (0..TRIES).rev() {
            let (first, second) = (prompt(&format!("{what}: "))?, prompt("repeat: ")?);
            let wrong = match &first {
                first if *first != second => "the two passphrases differ",
                first if first.is_empty() => "the passphrase is empty: nothing was typed",
                _ => return Ok(first),
            };
            if left == 0 {
                return Err(Error::usage(wrong));
            }
            complain(&format!("{wrong}. Once more"));
        }
        Err(Error::usage("no passphrase was typed"))
    }

    fn read(&self, origin: &Origin) -> Result<Zeroizing<Vec<u8>>> {
        match origin {
            Origin::File(path) => from_file(&self.what(), path),
            Origin::Command(command) => from_command(command),
            Origin::Variable(name) => {
                let value = std::env::var_os(name).unwrap_or_default();
                not_empty(Zeroizing::new(value.into_encoded_bytes()), name)
            }
            Origin::Prompt => prompt(&format!("{}: ", self.what())),
        }
    }

    /// Opens a repository. A prompt asks again where the passphrase is wrong.
    pub fn open(&self, store: &Arc<dyn Store>) -> Result<(Repository, Zeroizing<Vec<u8>>)> {
        if store.size(names::CONFIG)?.is_none() {
            // There is no repository, which is said whatever the passphrase: nobody is asked for it.
            let passphrase: Zeroizing<Vec<u8>> = Zeroizing::default();
            return Ok((Repository::open(store.clone(), &passphrase)?, passphrase));
        }
        let origin = self.origin()?;
        let mut left = if let Origin::Prompt = origin { TRIES } else { 1 };
        loop {
            let passphrase = self.read(&origin)?;
            left -= 1;
            match Repository::open(store.clone(), &passphrase) {
                Err(Error::WrongPassphrase { .. }) if left > 0 => {
                    complain(&format!("wrong passphrase for {}. Try again", self.repository));
                }
                opened => return Ok((opened.map_err(|error| name_origin(error, &origin))?, passphrase)),
            }
        }
    }
}

/// The prefix of a passphrase that is to be added.
pub const NEW: &str = "new";

/// Opens a second repository; `control` stops what is tried again.
pub fn open_other(url: &str, way: &PassphraseWay<'_>, control: &Control) -> Result<Repository> {
    let store = store::RetryStore::wrap(store::open_with(url, &store_options_of_all(url)?)?, control);
    Ok(PassphraseWay { repository: url, ..*way }.open(&store)?.0)
}

/// Adds to an error that the passphrase is wrong where it came from.
fn name_origin(error: Error, origin: &Origin) -> Error {
    let Error::WrongPassphrase { .. } = error else { return error };
    let origin = match origin {
        Origin::File(path) => format!("the first line of {}", path.display()),
        Origin::Command(command) => format!("the password command {command:?}"),
        Origin::Variable(name) => name.clone(),
        Origin::Prompt => "the prompt".to_string(),
    };
    Error::invalid(format!("{error}. It came from {origin}"))
}

/// Reads where a secret is: a file, or what stands for another place.
pub fn secret() -> impl TypedValueParser<Value = SecretSource> {
    OsStringValueParser::new().try_map(|text: OsString| match text.to_str() {
        Some(text) => SecretSource::parse(text),
        None => Ok(SecretSource::File(text.into())),
    })
}

/// The first line that a command prints.
pub fn from_command(command: &str) -> Result<Zeroizing<Vec<u8>>> {
    let doing = format!("run the password command {command:?}");
    let in_context = |error| Error::io(&doing, error);
    if command.trim().is_empty() {
        return Err(Error::usage("the password command is empty"));
    }
    // What is backed up may come on our standard input: it is not the command's.
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(command).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    let mut child = shell.spawn().map_err(in_context)?;
    let mut printed = Zeroizing::new(Vec::new());
    let output = child.stdout.take();
    let read = output.map_or(Ok(0), |output| output.take(MAX_BYTES).read_to_end(&mut printed));
    if read.as_ref().is_ok_and(|read| *read as u64 == MAX_BYTES) {
        let _ = child.kill();
        let _ = child.wait();
        return Err(Error::invalid(format!(
            "the password command {command:?} prints more than {MAX_BYTES} bytes; it should print the passphrase alone"
        )));
    }
    let status = child.wait().map_err(in_context)?;
    read.map_err(in_context)?;
    if !status.success() {
        return Err(Error::invalid(format!("cannot {doing}: it ended with {status}. Its own messages are above")));
    }
    first_line(&printed, &format!("the first line that the password command {command:?} printed"))
}

/// Whether there is a terminal to ask on. On Unix that is the one that the process runs on, whatever its standard input
/// is: what is backed up may come on that.
fn can_ask() -> bool {
    if cfg!(unix) {
        std::fs::File::options().read(true).write(true).open("/dev/tty").is_ok()
    } else {
        std::io::stdin().is_terminal()
    }
}

/// Asks on the terminal itself, and so leaves standard input alone.
fn prompt(text: &str) -> Result<Zeroizing<Vec<u8>>> {
    rpassword::prompt_password(text)
        .map(|text| Zeroizing::new(text.into_bytes()))
        .map_err(|error| Error::io("read the passphrase from the terminal", error))
}
