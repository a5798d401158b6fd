//! A command whose standard output is backed up, and whose exit status decides whether that counts.
//!
//! It runs in a process group of its own, so that all of it ends when the backup does: on Ctrl-C, after an error, and
//! when the program ends at once.

use super::output::complain;
use super::text;
use crate::control::Control;
use crate::error::{Error, Result};
use crate::job::RunningCommand;
use crate::sync::lock;
use rustix::process::{Pid, Signal, kill_process_group};
use std::io::Read;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The group of the command that runs, until its exit status was taken.
static RUNNING: Mutex<Option<Pid>> = Mutex::new(None);

/// Asks the command that runs, if any, to end.
pub fn end() {
    signal(Signal::TERM);
}

/// Ends the command that runs, if any, at once.
pub fn end_at_once() {
    signal(Signal::KILL);
}

fn signal(signal: Signal) {
    if let Some(group) = *lock(&RUNNING) {
        let _ = kill_process_group(group, signal);
    }
}

/// A command that was started.
pub struct FromCommand {
    command: String,
    child: Mutex<Child>,
    status: Mutex<Option<ExitStatus>>,
    /// Its standard output was read to the end.
    ended: Arc<AtomicBool>,
}

/// What a command says on standard output.
pub struct Output {
    inner: ChildStdout,
    ended: Arc<AtomicBool>,
}

impl Read for Output {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.inner.read(buffer)?;
        if count == 0 && !buffer.is_empty() {
            self.ended.store(true, Ordering::Release);
        }
        Ok(count)
    }
}

impl FromCommand {
    /// Starts a command by the shell. What it says on standard error goes to ours.
    pub fn start(command: &str) -> Result<(Self, Output)> {
        if command.trim().is_empty() {
            return Err(Error::usage("--from-command names no command"));
        }
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(command).process_group(0);
        shell.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut running = lock(&RUNNING);
        let failed = |error| Error::io(format!("run the command {command:?}"), error);
        let mut child = shell.spawn().map_err(failed)?;
        *running = Some(Pid::from_child(&child));
        let Some(inner) = child.stdout.take() else { return Err(Error::invalid("the command has no standard output")) };
        let ended = Arc::new(AtomicBool::new(false));
        let output = Output { inner, ended: ended.clone() };
        Ok((
            FromCommand { command: command.to_owned(), child: Mutex::new(child), status: Mutex::new(None), ended },
            output,
        ))
    }

    /// What the snapshot and the history call it: the program alone, since arguments may hold secrets.
    pub fn program(&self) -> String {
        let words = self.command.split_whitespace().filter(|word| !word.contains('='));
        let program = words.map(|word| word.rsplit('/').next().unwrap_or(word)).next().unwrap_or("a command");
        text::safe(&program.chars().take(64).collect::<String>())
    }

    /// Its exit status, if it ended.
    fn try_status(&self) -> Result<Option<ExitStatus>> {
        let mut status = lock(&self.status);
        if status.is_none() {
            // Nobody signals the group while its leader is taken away, and its number may become another's.
            let mut running = lock(&RUNNING);
            let taken = lock(&self.child).try_wait();
            *status = taken.map_err(|error| Error::io(format!("wait for the command {:?}", self.command), error))?;
            if status.is_some() {
                *running = None;
            }
        }
        Ok(*status)
    }

    /// Waits until it ended.
    fn wait(&self, control: &Control) -> Result<ExitStatus> {
        loop {
            if let Some(status) = self.try_status()? {
                return Ok(status);
            }
            control.check()?;
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The error that it failed. It names no arguments, since it goes to the history too; the user is told them here.
    fn failure(&self, status: ExitStatus) -> Error {
        complain(&format!("the command {:?} failed: {status}", self.command));
        Error::Source {
            source_name: format!("command {}", self.program()),
            problem: format!(
                "it ended with {status}, so its output may be incomplete, and nothing was committed. Its own messages \
                 are above"
            ),
        }
    }
}

impl RunningCommand for FromCommand {
    /// Waits for the end of the command, whose output was read; an error unless it succeeded.
    fn succeeded(&self, control: &Control) -> Result<()> {
        let status = self.wait(control)?;
        // Ctrl-C ends the command too, and is the reason then.
        control.check()?;
        if status.success() { Ok(()) } else { Err(self.failure(status)) }
    }

    /// Why reading its output failed: because it failed, if it did.
    fn explain(&self, error: Error, control: &Control) -> Error {
        if control.is_stopped() {
            return Error::Cancelled;
        }
        // While there is more to read, the output is at fault, unless the command is known to have failed.
        let status = match self.ended.load(Ordering::Acquire) {
            true => self.wait(control).map(Some),
            false => self.try_status(),
        };
        match status {
            Ok(Some(status)) if control.is_stopped() || status.success() => control.check().err().unwrap_or(error),
            // It could write no more since we stopped reading, for this error.
            Ok(Some(status)) if is_broken_pipe(status) && !self.ended.load(Ordering::Acquire) => error,
            Ok(Some(status)) => self.failure(status),
            Ok(None) => error,
            Err(other) => other,
        }
    }
}

/// Whether a process died of writing where nobody reads, or a shell says so of what it ran.
fn is_broken_pipe(status: ExitStatus) -> bool {
    let signal = Signal::PIPE.as_raw();
    status.signal() == Some(signal) || status.code() == Some(128 + signal)
}

impl Drop for FromCommand {
    fn drop(&mut self) {
        if matches!(self.try_status(), Ok(None)) {
            end_at_once();
            let _ = lock(&self.child).wait();
            *lock(&RUNNING) = None;
        }
    }
}
