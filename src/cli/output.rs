//! Printing: results to standard output, everything else to standard error.

use super::advice::with_options;
use super::text;
use crate::error::{Error, Result};
use serde::Serialize;
use std::io::Write;

/// Says something that is no result on standard error. Nobody may be there to read it, which is no reason to stop.
pub fn complain(text: &str) {
    let _ = writeln!(std::io::stderr(), "aerolith: {}", harmless(&with_options(text)));
}

/// Names something that is damaged on standard error.
pub fn name_damage(text: &str) {
    let _ = writeln!(std::io::stderr(), "damaged: {}", harmless(&with_options(text)));
}

/// A text of one or more lines, in which nothing that came from a store, a source or an argument drives the terminal.
pub fn harmless(text: &str) -> String {
    text.split('\n').map(text::safe).collect::<Vec<_>>().join("\n")
}

/// Prints text for people; a reader that went away (such as `head`) ends the program and is no error.
pub fn print_line(text: &str) -> Result<()> {
    print_raw(&harmless(text))
}

/// How many characters a line of the terminal has that results go to, or what `COLUMNS` says; nothing if they go
/// elsewhere.
pub fn columns() -> Option<usize> {
    let told = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    let of_terminal = || rustix::termios::tcgetwinsize(std::io::stdout()).ok().map(|size| usize::from(size.ws_col));
    told.or_else(of_terminal).filter(|columns| *columns > 0)
}

/// Prints a line as it is, such as JSON.
pub fn print_raw(text: &str) -> Result<()> {
    written(writeln!(std::io::stdout(), "{text}"))
}

/// A value as JSON on one line.
pub fn to_json(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|error| Error::invalid(format!("cannot print JSON: {error}")))
}

/// Many lines of output, in larger pieces.
pub struct Lines {
    out: std::io::BufWriter<std::io::Stdout>,
}

impl Lines {
    pub fn new() -> Self {
        Lines { out: std::io::BufWriter::with_capacity(1 << 16, std::io::stdout()) }
    }

    /// Prints a line for people; a reader that went away (such as `head`) ends the program without a message.
    pub fn line(&mut self, text: &str) -> Result<()> {
        written(writeln!(self.out, "{}", text::safe(text)))
    }

    /// Prints a value as JSON on one line.
    pub fn json(&mut self, value: &impl Serialize) -> Result<()> {
        written(writeln!(self.out, "{}", to_json(value)?))
    }

    /// Prints what is left.
    pub fn finish(mut self) -> Result<()> {
        written(self.out.flush())
    }
}

/// The exit code of what was ended by SIGPIPE.
const NOBODY_READS: i32 = 128 + 13;

/// What came of printing; a reader that went away ends the program without a message. The exit code tells it: what was
/// not said may be that something is damaged or differs.
pub fn written(result: std::io::Result<()>) -> Result<()> {
    match result {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(NOBODY_READS),
        Err(error) => Err(Error::io("write to standard output", error)),
        Ok(()) => Ok(()),
    }
}
