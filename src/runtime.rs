//! The runtime that futures of other crates run on.
//!
//! There is one for the process, started when it is first needed. It never ends: connections that a client made while
//! one of its calls ran here stay in its pool, and are of use as long as the runtime that made them lives.

use crate::error::{Error, Result};
use crate::sync::lock;
use std::sync::Mutex;
use tokio::runtime::{Builder, Handle};

/// It waits for answers most of the time.
const THREADS: usize = 2;
/// The official client decodes nested lists and maps by recursion without a bound.
const STACK_BYTES: usize = 16 << 20;

/// The runtime.
pub(crate) fn handle() -> Result<Handle> {
    static STARTED: Mutex<Option<Handle>> = Mutex::new(None);
    let mut started = lock(&STARTED);
    if let Some(handle) = &*started {
        return Ok(handle.clone());
    }
    let mut builder = Builder::new_multi_thread();
    let runtime = builder.worker_threads(THREADS).thread_stack_size(STACK_BYTES).thread_name("aerolith-client");
    let runtime = runtime.enable_all().build();
    let runtime = runtime.map_err(|error| Error::io("start threads that wait for answers", error))?;
    let handle = started.insert(runtime.handle().clone()).clone();
    std::mem::forget(runtime);
    Ok(handle)
}

/// Runs a future to its end. May be called from anywhere, from a program's own tasks too.
pub(crate) fn wait<T: Send>(future: impl Future<Output = T> + Send) -> Result<T> {
    let handle = handle()?;
    if Handle::try_current().is_err() {
        return Ok(handle.block_on(future));
    }
    // A thread that works for a runtime may not wait on another one; a thread of ours may.
    let done = std::thread::scope(|scope| scope.spawn(|| handle.block_on(future)).join());
    done.map_err(|_| Error::internal("a call of a client panicked"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_future_is_waited_for_inside_a_runtime_and_outside() {
        assert_eq!(wait(async { 7 }).unwrap(), 7);
        let inside = handle().unwrap().spawn(async { wait(async { 8 }) });
        assert_eq!(wait(inside).unwrap().unwrap().unwrap(), 8);
    }
}
