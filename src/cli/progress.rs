//! Progress for people: a bar on a terminal, log lines elsewhere.

use super::output::complain;
use super::text;
use crate::control::Control;
use crate::record::Timestamp;
use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

/// The bar moves this often.
const BAR: Duration = Duration::from_millis(120);
/// A log line comes this often.
const LOG: Duration = Duration::from_secs(10);

/// Progress on standard error, as long as it lives.
pub struct Progress {
    stop: Option<Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Progress {
    /// Begins. `what` is being done, such as "backing up asb:/backups/monday".
    pub fn start(what: String, control: Arc<Control>, quiet: bool) -> Self {
        if quiet {
            return Progress { stop: None, thread: None };
        }
        let (stop, stopped) = channel::<()>();
        let thread = if std::io::stderr().is_terminal() {
            std::thread::spawn(move || {
                let bar = indicatif::ProgressBar::new(0);
                while stopped.recv_timeout(BAR) == Err(RecvTimeoutError::Timeout) {
                    show(&bar, &what, &control);
                }
                bar.finish_and_clear();
            })
        } else {
            log(&what, "begun");
            std::thread::spawn(move || {
                while stopped.recv_timeout(LOG) == Err(RecvTimeoutError::Timeout) {
                    log(&what, &state(&control));
                }
            })
        };
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

fn log(what: &str, state: &str) {
    complain(&format!("{} {what}: {state}", text::time(Timestamp::now().0)));
}

/// What was done so far.
fn state(control: &Control) -> String {
    let of = |total: String, known: bool| if known { format!(" of {total}") } else { String::new() };
    let (records, bytes) = (control.total_records(), control.total_bytes());
    let mut parts =
        vec![format!("{}{} records", text::count(control.records()), of(text::count(records), records > 0))];
    if control.bytes_in() > 0 || bytes > 0 {
        parts.push(format!("{}{} read", text::bytes(control.bytes_in()), of(text::bytes(bytes), bytes > 0)));
    }
    if control.bytes_out() > 0 {
        parts.push(format!("{} written", text::bytes(control.bytes_out())));
    }
    parts.join(", ")
}

/// Draws the bar: with a length once it is known how much there is to do.
fn show(bar: &indicatif::ProgressBar, what: &str, control: &Control) {
    let known = [(control.bytes_in(), control.total_bytes()), (control.records(), control.total_records())];
    let known = known.into_iter().find(|(_, total)| *total > 0);
    let template = match known {
        Some(_) => "{spinner} {wide_msg} [{bar:24}] {percent:>3}%, {eta} left",
        None => "{spinner} {wide_msg} after {elapsed}",
    };
    if let Ok(style) = indicatif::ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.set_message(format!("{what}: {}", state(control)));
    if let Some((done, total)) = known {
        bar.set_length(total);
        bar.set_position(done.min(total));
    }
    bar.tick();
}
