//! What a terminal is told of a job at work: progress, warnings, damage; and what is asked on it.

use super::output::{complain, name_damage};
use super::progress::Progress;
use super::text;
use crate::control::{Control, Event, Observer, Question};
use crate::error::{Error, Result};
use crate::sync::lock;
use std::io::IsTerminal;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// What to do where nobody can be asked whether a mirror may delete.
pub const NO_ANSWER: &str =
    "--mirror deletes what the snapshot does not have. Give --yes to allow it, or look first with --dry-run";

/// Standard error, and standard input for answers. From the first part of a job on, Ctrl-C stops it.
pub struct Terminal {
    quiet: bool,
    /// Of the part of a job that is at work.
    progress: Mutex<Option<Progress>>,
}

impl Terminal {
    /// One that shows progress, unless it is to be quiet.
    pub fn new(quiet: bool) -> Self {
        Terminal { quiet, progress: Mutex::default() }
    }
}

impl Observer for Terminal {
    fn event(&self, control: &Control, event: Event<'_>) {
        match event {
            Event::Began(what) => {
                super::signals::stop(control);
                *lock(&self.progress) = Some(Progress::start(text::safe(what), control.clone(), self.quiet));
            }
            Event::Ended => *lock(&self.progress) = None,
            Event::Warning(text) => complain(text),
            Event::Damage(text) => name_damage(text),
            // They are polled: the bar moves also while nothing comes.
            Event::Phase(_) | Event::Progress => {}
        }
    }

    /// Asks, and takes `yes` for yes and all else for no.
    fn confirm(&self, question: &Question) -> Result<bool> {
        let (question, instead) = match question {
            Question::DeleteSurplus { records, namespace, target, snapshot } => (
                format!(
                    "{} of namespace {} in {} will be deleted, because snapshot {snapshot} does not have them.",
                    text::plural(*records, "record"),
                    text::safe(namespace),
                    text::safe(target)
                ),
                NO_ANSWER,
            ),
        };
        if !std::io::stdin().is_terminal() {
            return Err(Error::usage(format!("there is no terminal to ask on: {instead}")));
        }
        eprint!("{question} Type yes to continue: ");
        let mut answer = String::new();
        let read = std::io::stdin().read_line(&mut answer);
        read.map_err(|error| Error::io("read the answer from the terminal", error))?;
        Ok(answer.trim().eq_ignore_ascii_case("yes"))
    }
}

/// A terminal that is told what the work is about when it begins.
pub struct Announced {
    terminal: Arc<Terminal>,
    about: String,
    more: Vec<String>,
    told: AtomicBool,
}

impl Announced {
    /// `about` is told after what is done, and `more` line by line.
    pub fn new(terminal: Arc<Terminal>, about: String, more: Vec<String>) -> Self {
        Announced { terminal, about, more, told: AtomicBool::new(false) }
    }
}

impl Observer for Announced {
    fn event(&self, control: &Control, event: Event<'_>) {
        self.terminal.event(control, event);
        if let Event::Began(what) = event
            && !self.told.swap(true, Ordering::Relaxed)
        {
            complain(&format!("{what}: {}", self.about));
            self.more.iter().for_each(|line| complain(line));
        }
    }

    fn confirm(&self, question: &Question) -> Result<bool> {
        self.terminal.confirm(question)
    }
}
