//! Ctrl-C and its like: the first stops a long call at its next safe point, a second ends the program at once.

use super::output::complain;
use crate::control::Control;
use crate::sync::lock;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Mutex, Once};

/// The call that a signal stops.
static WATCHED: Mutex<Option<Control>> = Mutex::new(None);
/// The signal that came, or 0.
static CAME: AtomicI32 = AtomicI32::new(0);

/// From now on signals stop this call.
pub fn stop(control: &Control) {
    static STARTED: Once = Once::new();
    *lock(&WATCHED) = Some(control.clone());
    STARTED.call_once(|| {
        // Whoever started us with `nohup` wants us to live on without a terminal.
        let wanted = [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|signal| *signal != SIGHUP || !is_ignored(SIGHUP));
        // Where none can be had, they end the program as they always do.
        if let Ok(signals) = Signals::new(wanted) {
            std::thread::spawn(move || watch(signals));
        }
    });
}

fn watch(mut signals: Signals) {
    for signal in signals.forever() {
        CAME.store(signal, Ordering::Release);
        let watched = lock(&WATCHED).clone();
        match watched {
            Some(control) if !control.is_stopped() => {
                complain("stopping at the next safe point; press again to stop at once");
                control.stop();
                super::from_command::end();
            }
            _ => {
                super::from_command::end_at_once();
                crate::targets::partial::remove_all();
                std::process::exit(128 + signal);
            }
        }
    }
}

/// What a program that a signal ended gives back: 130 for Ctrl-C, 143 for SIGTERM.
pub fn exit_code() -> Option<u8> {
    match CAME.load(Ordering::Acquire) {
        0 => None,
        signal => u8::try_from(128 + signal).ok(),
    }
}

/// Whether the program was started with a signal ignored, as far as the system tells.
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}
