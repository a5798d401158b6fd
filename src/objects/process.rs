//! Which process a session runs in, and whether that process is gone.
//!
//! A lease says after ten minutes that a session is dead. On the very machine on which it ran the process table says so
//! at once, and for certain: if the machine was not restarted since, and both see the same numbers of processes, a
//! process that is not there, or began at another time, is another one. Whatever can't be told counts as alive; then
//! the lease decides.

use crate::format::session::{Process, Session};
use crate::record::Timestamp;
use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

/// Whatever a session says of its lease, after a day without a heartbeat it is counted as dead: in milliseconds.
const LONGEST_LEASE: u64 = 86_400_000;

/// This process, if the system says what it takes to know it again.
pub fn this_process() -> Option<Process> {
    let id = std::process::id();
    // A /proc of other namespaces would speak of other processes.
    if std::fs::read_link("/proc/self").ok()?.to_str()? != id.to_string() {
        return None;
    }
    let (started, _) = started_and_state(id)?;
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?.trim().to_string();
    let link = |name: &str| Some(std::fs::read_link(format!("/proc/self/ns/{name}")).ok()?.to_str()?.to_string());
    // In another time namespace start times would differ.
    let namespace = [link("pid")?, link("time").unwrap_or_default()].join(" ");
    Some(Process { boot, namespace, id, started })
}

/// When a process began, in ticks of the system's clock since the machine was started, and its state.
fn started_and_state(id: u32) -> Option<(u64, char)> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The name, in parentheses, may hold anything.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((fields.nth(18)?.parse().ok()?, state))
}

/// Whether a session's process is certainly gone, as far as this machine can tell.
pub fn is_gone(session: &Session) -> bool {
    let (Some(process), Some(here)) = (&session.process, this_process()) else { return false };
    let same_table = session.host == host() && process.boot == here.boot && process.namespace == here.namespace;
    if !same_table || process.boot.is_empty() {
        return false;
    }
    let Some(pid) = i32::try_from(process.id).ok().and_then(Pid::from_raw) else { return false };
    match test_kill_process(pid) {
        Err(Errno::SRCH) => true,
        // It may be hidden from this user, and then nothing is known of it.
        _ => started_and_state(process.id)
            .is_some_and(|(started, state)| started != process.started || matches!(state, 'Z' | 'X')),
    }
}

/// Whether a session has not ended, its lease has not lapsed, and its process is not known to be gone. Safety never
/// rests on this: one that is fenced can't be committed.
pub fn is_alive(session: &Session) -> bool {
    let silent = Timestamp::now().0.saturating_sub(session.heartbeat);
    session.outcome.is_none() && silent <= session.lease_millis.min(LONGEST_LEASE) && !is_gone(session)
}

/// This machine's name.
pub fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::SnapshotId;
    use crate::format::session::{Outcome, SessionKind, Status};
    use std::process::{Command, Stdio};

    fn session(process: Option<Process>) -> Session {
        Session {
            id: SnapshotId([7; 16]),
            kind: SessionKind::Backup,
            job: String::new(),
            host: host(),
            program: String::new(),
            process,
            started: 0,
            heartbeat: Timestamp::now().0,
            lease_millis: 600_000,
            adopted: Vec::new(),
            outcome: None,
            journal: None,
        }
    }

    #[test]
    fn a_process_that_lives_is_not_gone_and_one_that_was_killed_is() {
        let here = this_process().unwrap();
        assert!(!is_gone(&session(Some(here.clone()))) && is_alive(&session(Some(here.clone()))));
        let mut child = Command::new("sleep").arg("600").stdin(Stdio::null()).spawn().unwrap();
        let (started, _) = started_and_state(child.id()).unwrap();
        let of_child = session(Some(Process { id: child.id(), started, ..here }));
        assert!(!is_gone(&of_child));
        child.kill().unwrap();
        // Nobody has asked yet how it ended: it is still in the table.
        while started_and_state(child.id()).is_some_and(|(_, state)| state != 'Z') {
            std::thread::yield_now();
        }
        assert!(is_gone(&of_child) && !is_alive(&of_child));
        child.wait().unwrap();
        assert!(is_gone(&of_child));
    }

    #[test]
    fn a_number_that_another_process_has_now_says_that_the_first_is_gone() {
        let here = this_process().unwrap();
        assert!(is_gone(&session(Some(Process { started: here.started + 1, ..here }))));
    }

    #[test]
    fn what_another_machine_or_container_runs_or_nobody_told_is_left_to_the_lease() {
        let here = this_process().unwrap();
        let gone = Process { id: 0x7fff_fff0, ..here };
        assert!(is_gone(&session(Some(gone.clone()))));
        let others = [
            session(None),
            session(Some(Process { boot: "another".into(), ..gone.clone() })),
            session(Some(Process { boot: String::new(), ..gone.clone() })),
            session(Some(Process { namespace: "pid:[1] ".into(), ..gone.clone() })),
            session(Some(Process { id: u32::MAX, ..gone.clone() })),
            session(Some(Process { id: 0, ..gone.clone() })),
            Session { host: "elsewhere".into(), ..session(Some(gone)) },
        ];
        for other in others {
            assert!(!is_gone(&other) && is_alive(&other), "{other:?}");
            let late = Timestamp::now().0 - 600_001;
            assert!(!is_alive(&Session { heartbeat: late, ..other }));
        }
    }

    #[test]
    fn a_session_that_has_ended_is_not_alive() {
        let ended = Outcome { ended: 1, status: Status::Stopped, records: 0, stored_bytes: 0, damaged_chunks: vec![] };
        assert!(!is_alive(&Session { outcome: Some(ended), ..session(this_process()) }));
    }
}
