//! Progress for people: a bar on a terminal, log lines elsewhere.

use super::output::complain;
use super::text;
use crate::control::Control;
use crate::record::Timestamp;
use std::io::IsTerminal;
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
    pub fn start(what: String, control: Control, quiet: bool) -> Self {
        if quiet {
            return Progress { stop: None, thread: None };
        }
        let (stop, stopped) = channel::<()>();
        let thread = if std::io::stderr().is_terminal() {
            std::thread::spawn(move || {
                let mut bar = Bar::new(what);
                while stopped.recv_timeout(BAR) == Err(RecvTimeoutError::Timeout) {
                    bar.show(&control);
                }
                bar.bar.finish_and_clear();
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
    if let Some(phase) = control.phase().filter(|phase| phase.total > 0) {
        parts.push(format!("{} {}%", phase.name, phase.done.saturating_mul(100) / phase.total));
    }
    parts.join(", ")
}

/// A bar on a terminal.
struct Bar {
    bar: indicatif::ProgressBar,
    what: String,
    /// What the bar's length is of: when that changes, so does what is left.
    phase: &'static str,
}

/// While reading is all that is known of.
const READING: &str = "reading";

impl Bar {
    fn new(what: String) -> Self {
        Bar { bar: indicatif::ProgressBar::new(0), what, phase: READING }
    }

    /// Draws it: the numbers first, so that a narrow line cuts off what is being done, which the user knows. What is
    /// left is told for the phase at hand, and not at all once that is over or nobody knows.
    fn show(&mut self, control: &Control) {
        let read = [(control.bytes_in(), control.total_bytes()), (control.records(), control.total_records())];
        let reading = read.into_iter().find(|(_, total)| *total > 0);
        let (name, known) = match control.phase() {
            Some(phase) => (phase.name, Some((phase.done, phase.total))),
            None => (READING, reading),
        };
        let known = known.filter(|(done, total)| done < total);
        if name != self.phase {
            self.phase = name;
            self.bar.reset();
        }
        let template = match known {
            Some(_) => "{spinner} {prefix} [{bar:16}] {percent:>3}% {eta:>4} left  {wide_msg}",
            None => "{spinner} after {elapsed}  {wide_msg}",
        };
        if let Ok(style) = indicatif::ProgressStyle::with_template(template) {
            self.bar.set_style(style.progress_chars("=> "));
        }
        let bytes = if control.bytes_out() > 0 { control.bytes_out() } else { control.bytes_in() };
        let counted = format!("{} records, {}", text::count(control.records()), text::bytes(bytes));
        self.bar.set_prefix(name);
        self.bar.set_message(format!("{counted}: {}", self.what));
        if let Some((done, total)) = known {
            self.bar.set_length(total);
            self.bar.set_position(done);
        }
        self.bar.tick();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a terminal of this width shows.
    fn shown(control: &Control, width: u16) -> String {
        let terminal = indicatif::InMemoryTerm::new(4, width);
        let mut bar = Bar::new(format!("backing up asb:/{}", "long/".repeat(60)));
        bar.bar.set_draw_target(indicatif::ProgressDrawTarget::term_like_with_hz(Box::new(terminal.clone()), 255));
        bar.show(control);
        bar.bar.force_draw();
        terminal.contents()
    }

    #[test]
    fn numbers_come_first_and_long_paths_are_cut_off() {
        let control = Control::new();
        control.add_total_bytes(1000);
        control.add_bytes_in(500);
        control.add_records(12);
        let line = shown(&control, 80);
        assert!(
            line.contains("reading [") && line.contains(" 50%") && line.contains("12 records, 500 B: backing up"),
            "{line}"
        );
        assert_eq!(line.lines().count(), 1, "{line}");
    }

    #[test]
    fn what_is_left_is_told_of_the_phase_at_hand_and_of_none_that_is_over() {
        let control = Control::new();
        control.add_total_bytes(1000);
        control.add_bytes_in(1000);
        let line = shown(&control, 80);
        assert!(!line.contains('%') && !line.contains("left"), "{line}");
        control.begin_phase("storing", 4096);
        control.add_done(1024);
        let line = shown(&control, 80);
        assert!(line.contains("storing [") && line.contains(" 25%"), "{line}");
    }
}
