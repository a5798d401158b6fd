//! What all commands share: which repository, which pass phrase, how to print, progress and Ctrl-C.

use crate::control::Control;
use crate::error::{Error, Result};
use crate::repository::Repository;
use crate::store::{self, Store};
use clap::Args;
use serde::Serialize;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
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

#[derive(Args)]
pub struct Global {
    /// The repository: a folder, or file:PATH
    #[arg(long, global = true, env = "AEROLITH_REPO", value_name = "URL")]
    repo: Option<String>,
    /// Read the pass phrase from the first line of this file
    #[arg(long, global = true, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Read the pass phrase from the first line that this command prints
    #[arg(long, global = true, value_name = "COMMAND", conflicts_with = "password_file")]
    password_command: Option<String>,
    /// Print JSON, one stable schema for each command
    #[arg(long, global = true)]
    json: bool,
    /// Show no progress
    #[arg(long, short, global = true)]
    quiet: bool,
}

pub struct Context {
    global: Global,
}

impl Context {
    pub fn new(global: Global) -> Self {
        Context { global }
    }

    pub fn json(&self) -> bool {
        self.global.json
    }

    /// Prints a value as JSON on one line.
    pub fn print_json(&self, value: &impl Serialize) -> Result<()> {
        let text =
            serde_json::to_string(value).map_err(|error| Error::invalid(format!("cannot print JSON: {error}")))?;
        print_line(&text)
    }

    pub fn url(&self) -> Result<&str> {
        self.global
            .repo
            .as_deref()
            .ok_or_else(|| Error::invalid("which repository? Give --repo PATH, or set AEROLITH_REPO".to_string()))
    }

    pub fn store(&self) -> Result<Arc<dyn Store>> {
        store::open(self.url()?)
    }

    /// The pass phrase: from the file, the command, the environment, or a prompt; asked for twice if it is a new one.
    pub fn passphrase(&self, new: bool) -> Result<Zeroizing<Vec<u8>>> {
        if let Some(path) = &self.global.password_file {
            let doing = format!("read the pass phrase from {}", path.display());
            return std::fs::read(path).map(first_line).map_err(|error| Error::io(doing, error));
        }
        if let Some(command) = &self.global.password_command {
            let doing = format!("run the password command {command:?}");
            let mut shell = std::process::Command::new("sh");
            shell.arg("-c").arg(command).stderr(std::process::Stdio::inherit());
            let output = shell.output().map_err(|error| Error::io(&doing, error))?;
            if !output.status.success() {
                return Err(Error::invalid(format!("cannot {doing}: it ended with {}", output.status)));
            }
            return Ok(first_line(output.stdout));
        }
        if let Some(password) = std::env::var_os("AEROLITH_PASSWORD") {
            return Ok(Zeroizing::new(password.into_encoded_bytes()));
        }
        if !std::io::stdin().is_terminal() {
            return Err(Error::invalid(
                "no pass phrase: set AEROLITH_PASSWORD, or give --password-file or --password-command".to_string(),
            ));
        }
        prompt("pass phrase: ", new)
    }

    /// The pass phrase of a new key slot: from the file, the environment, or a prompt that asks twice.
    pub fn new_passphrase(&self, file: Option<&Path>) -> Result<Zeroizing<Vec<u8>>> {
        if let Some(path) = file {
            let doing = format!("read the new pass phrase from {}", path.display());
            return std::fs::read(path).map(first_line).map_err(|error| Error::io(doing, error));
        }
        if let Some(password) = std::env::var_os("AEROLITH_NEW_PASSWORD") {
            return Ok(Zeroizing::new(password.into_encoded_bytes()));
        }
        if !std::io::stdin().is_terminal() {
            return Err(Error::invalid("no new pass phrase: set AEROLITH_NEW_PASSWORD, or give --new-password-file"));
        }
        prompt("new pass phrase: ", true)
    }

    pub fn repository(&self) -> Result<Repository> {
        let store = self.store()?;
        Repository::open(store, &self.passphrase(false)?)
    }

    /// A control that Ctrl-C stops, with progress on the terminal until the guard is dropped.
    pub fn control(&self, what: &'static str) -> (Arc<Control>, Progress) {
        let control = Arc::new(Control::new());
        let stopping = control.clone();
        // A second handler can't be set; the first then belongs to an earlier call of the same process.
        let _ = ctrlc::set_handler(move || {
            if stopping.is_stopped() {
                std::process::exit(1);
            }
            eprintln!("\nstopping at the next safe point; once more to stop at once");
            stopping.stop();
        });
        let show = !self.global.quiet && !self.global.json && std::io::stderr().is_terminal();
        (control.clone(), Progress::start(what, control, show))
    }
}

fn first_line(bytes: Vec<u8>) -> Zeroizing<Vec<u8>> {
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

/// Prints a line; a reader that went away (such as `head`) is no error.
pub fn print_line(text: &str) -> Result<()> {
    written(writeln!(std::io::stdout(), "{text}"))
}

/// Many lines of output, in larger pieces.
pub struct Lines {
    out: std::io::BufWriter<std::io::Stdout>,
}

impl Lines {
    pub fn new() -> Self {
        Lines { out: std::io::BufWriter::with_capacity(1 << 16, std::io::stdout()) }
    }

    /// Prints a line; a reader that went away (such as `head`) ends the program and is no error.
    pub fn line(&mut self, text: &str) -> Result<()> {
        written(writeln!(self.out, "{text}"))
    }

    /// Prints a value as JSON on one line.
    pub fn json(&mut self, value: &impl Serialize) -> Result<()> {
        let text =
            serde_json::to_string(value).map_err(|error| Error::invalid(format!("cannot print JSON: {error}")))?;
        self.line(&text)
    }

    /// Prints what is left.
    pub fn finish(mut self) -> Result<()> {
        written(self.out.flush())
    }
}

fn written(result: std::io::Result<()>) -> Result<()> {
    match result {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        Err(error) => Err(Error::io("write to standard output", error)),
        Ok(()) => Ok(()),
    }
}

/// A progress line on the terminal, as long as it lives.
pub struct Progress {
    stop: Option<std::sync::mpsc::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Progress {
    fn start(what: &'static str, control: Arc<Control>, show: bool) -> Self {
        if !show {
            return Progress { stop: None, thread: None };
        }
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            let bar = indicatif::ProgressBar::new_spinner();
            bar.set_message(what);
            let timeout = std::sync::mpsc::RecvTimeoutError::Timeout;
            while stopped.recv_timeout(Duration::from_millis(120)) == Err(timeout) {
                let of = match control.total_bytes() {
                    0 => String::new(),
                    total => format!(" of {}", super::text::bytes(total)),
                };
                bar.set_message(format!(
                    "{what}: {} records, {}{of} read, {} written",
                    super::text::count(control.records()),
                    super::text::bytes(control.bytes_in()),
                    super::text::bytes(control.bytes_out())
                ));
                bar.tick();
            }
            bar.finish_and_clear();
        });
        Progress { stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
