//! What a backup reads: sources by their URLs, and what commands write.

use super::BackupOptions;
use crate::control::Control;
use crate::error::{Error, OptionsError, Result};
use crate::job::endpoint::{OpenSource, PipeFormat, open_pipe, open_source, scheme};
use std::io::Read;

/// Where the records of a backup come from.
#[non_exhaustive]
pub enum BackupSource<'a> {
    /// A source by its URL.
    Url(String),
    /// What a command writes.
    Command(CommandOutput<'a>),
}

/// The output of a command that runs.
pub struct CommandOutput<'a> {
    /// Its format.
    pub format: PipeFormat,
    /// What messages and the snapshot call it. It is readable in the repository's history, so it holds no secrets.
    pub name: String,
    /// Delivers it.
    pub reader: Box<dyn Read + Send>,
    /// The command: it decides whether its output counts.
    pub command: &'a dyn RunningCommand,
}

/// A command whose output is backed up. A pipe does not show whether its writer succeeded, so the command is asked.
pub trait RunningCommand {
    /// Waits for the end of the command, whose output was read. It is called before the snapshot is committed, which
    /// it isn't after an error.
    ///
    /// # Errors
    ///
    /// If the command failed, or `control` was stopped.
    fn succeeded(&self, control: &Control) -> Result<()>;

    /// The reason of an error that reading its output gave: it may be that the command failed.
    fn explain(&self, error: Error, control: &Control) -> Error {
        let _ = control;
        error
    }
}

/// The sources of a backup.
pub(super) struct Sources<'a> {
    sources: Vec<One<'a>>,
}

struct One<'a> {
    url: String,
    command: Option<&'a dyn RunningCommand>,
    /// What a command writes, with its format and name, until it is opened.
    output: Option<(PipeFormat, String, Box<dyn Read + Send>)>,
}

impl<'a> From<BackupSource<'a>> for One<'a> {
    fn from(source: BackupSource<'a>) -> Self {
        match source {
            BackupSource::Url(url) => One { url, command: None, output: None },
            BackupSource::Command(CommandOutput { format, name, reader, command }) => {
                One { url: format.url().to_string(), command: Some(command), output: Some((format, name, reader)) }
            }
        }
    }
}

impl<'a> Sources<'a> {
    pub(super) fn new(sources: Vec<BackupSource<'a>>) -> Result<Self> {
        if sources.is_empty() {
            return Err(Error::usage("no source was named: there is nothing to back up"));
        }
        Ok(Sources { sources: sources.into_iter().map(One::from).collect() })
    }

    /// Their URLs, for people.
    pub(super) fn urls(&self) -> String {
        self.sources.iter().map(|one| one.url.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// What the first one's URL begins with.
    pub(super) fn scheme(&self) -> &str {
        self.sources.first().map(|first| scheme(&first.url)).unwrap_or_default()
    }

    pub(super) fn has_command(&self) -> bool {
        self.commands().next().is_some()
    }

    fn commands(&self) -> impl Iterator<Item = &'a dyn RunningCommand> {
        self.sources.iter().filter_map(|one| one.command)
    }

    /// Makes sure that all commands succeeded.
    pub(super) fn succeeded(&self, control: &Control) -> Result<()> {
        self.commands().try_for_each(|command| command.succeeded(control))
    }

    /// The reason of an error.
    pub(super) fn explain(&self, error: Error, control: &Control) -> Error {
        self.commands().fold(error, |error, command| command.explain(error, control))
    }

    /// Opens them, and finds in which of them each namespace is that is wanted.
    pub(super) fn open(&mut self, options: &BackupOptions) -> Result<Vec<OpenSource>> {
        let mut opened: Vec<OpenSource> = Vec::with_capacity(self.sources.len());
        let mut all = Vec::new();
        let reading = options.source.with_digests()?;
        for one in &mut self.sources {
            let OpenSource { source, namespaces } = match one.output.take() {
                Some((format, name, reader)) => open_pipe(format, &name, reader, &reading)?,
                None => open_source(&one.url, &reading)?,
            };
            if namespaces.is_empty() {
                return Err(Error::not_found("a namespace to back up", format!("{} has none", source.name())));
            }
            all.extend_from_slice(&namespaces);
            let wanted = |name: &String| options.namespaces.is_empty() || options.namespaces.contains(name);
            let namespaces: Vec<String> = namespaces.into_iter().filter(wanted).collect();
            for earlier in &opened {
                if let Some(twice) = namespaces.iter().find(|name| earlier.namespaces.contains(name)) {
                    let (one, other) = (earlier.source.name().to_string(), source.name().to_string());
                    return Err(OptionsError::NamespaceTwice { namespace: twice.clone(), one, other }.into());
                }
            }
            opened.push(OpenSource { source, namespaces });
        }
        match options.namespaces.iter().find(|namespace| !all.contains(namespace)) {
            Some(unknown) => {
                let names: Vec<&str> = opened.iter().map(|one| one.source.name()).collect();
                let have = if names.len() == 1 { "has" } else { "have" };
                let advice = format!("{} {have} {}", names.join(" and "), all.join(", "));
                Err(Error::not_found(format!("namespace {unknown}"), advice))
            }
            None => Ok(opened),
        }
    }
}
