//! The handle on long calls: progress to watch, a stop flag, and the observer that is told what happens.

use crate::error::{Error, Result};
use crate::format::SnapshotId;
use crate::sync::lock;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How often a wait looks whether it is to end.
const LOOKS: Duration = Duration::from_millis(50);

/// Logs at level info what is of an outermost part, and at debug what is of a piece of it: levels are constants.
macro_rules! log_part {
    ($is_outermost:expr, $($event:tt)*) => {
        match $is_outermost {
            true => tracing::info!($($event)*),
            false => tracing::debug!($($event)*),
        }
    };
}

/// [`Event::Progress`] comes this often at most.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);
/// So many warnings are remembered.
const WARNINGS: usize = 1000;

/// What is told of a long call when it happens.
///
/// A report tells what came of a call. Events are for whoever looks on: a progress bar, a log, a service's page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A long part of the work begins: what is done, such as "checking /backups/aero". The counters begin at zero.
    Began(&'a str),
    /// A phase of that part begins, of which is known how much there is to do.
    Phase(Phase),
    /// The counters moved. It comes ten times a second at most.
    Progress,
    /// Something to know that does not end the call. The same text is told once.
    Warning(&'a str),
    /// The name of something that is damaged, and how. The call continues with the rest.
    Damage(&'a str),
    /// The part that began is over, however it ended.
    Ended,
}

/// What is asked before something that can't be undone.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Question {
    /// May records of a target be deleted because the snapshot does not have them?
    DeleteSurplus {
        /// How many.
        records: u64,
        /// The namespace in the target.
        namespace: String,
        /// The target.
        target: String,
        /// The snapshot.
        snapshot: SnapshotId,
    },
}

/// Whoever looks on at long calls. A closure that takes the control and an event is one.
pub trait Observer: Send + Sync {
    /// Takes what happened. It is called by the threads that do the work, which wait for it: it should be quick.
    fn event(&self, control: &Control, event: Event<'_>);

    /// Is asked before something that can't be undone. It is done only after a yes; the default is no.
    ///
    /// # Errors
    ///
    /// If nobody can be asked: the call ends with this error, as it would after a no.
    fn confirm(&self, question: &Question) -> Result<bool> {
        let _ = question;
        Ok(false)
    }
}

impl<F: Fn(&Control, Event<'_>) + Send + Sync> Observer for F {
    fn event(&self, control: &Control, event: Event<'_>) {
        self(control, event);
    }
}

/// Progress counters, a stop flag and an observer, shared between a long call and whoever watches it: an example is at
/// the [crate's root](crate#watching).
///
/// Counters only ever grow during one part of the work; phases follow one another. All are relaxed: they are for people
/// to look at, not to decide on.
#[derive(Clone, Default)]
pub struct Control {
    state: Arc<State>,
    /// Of the session whose work it is.
    fence: Option<Arc<Fence>>,
}

#[derive(Default)]
struct State {
    stop: AtomicBool,
    counters: Counters,
    phase: Mutex<Option<Phase>>,
    /// How many parts have begun that are not over: one within another is a piece of it.
    parts: AtomicU32,
    /// Warnings that were told.
    warnings: Mutex<Vec<String>>,
    observer: Option<Observed>,
}

#[derive(Default)]
struct Counters {
    records: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    total_bytes: AtomicU64,
    total_records: AtomicU64,
}

impl Counters {
    fn reset(&self) {
        let Counters { records, bytes_in, bytes_out, total_bytes, total_records } = self;
        for counter in [records, bytes_in, bytes_out, total_bytes, total_records] {
            counter.store(0, Ordering::Relaxed);
        }
    }
}

/// An observer, and when it was last told of progress.
struct Observed {
    observer: Arc<dyn Observer>,
    since: Instant,
    /// Milliseconds since then.
    told: AtomicU64,
}

/// Whether a session lost its name while it was at work.
#[derive(Debug)]
pub(crate) struct Fence {
    session: String,
    lost: AtomicBool,
}

impl Fence {
    /// That of a session that has its name.
    pub fn new(session: String) -> Self {
        Fence { session, lost: AtomicBool::new(false) }
    }

    /// Notes that the name is lost.
    pub fn lose(&self) {
        self.lost.store(true, Ordering::Relaxed);
    }
}

/// A part of a long call that knows how much it has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Phase {
    /// What is done in it, such as "storing".
    pub name: &'static str,
    /// How much of it is done.
    pub done: u64,
    /// How much it is in all.
    pub total: u64,
}

impl Control {
    /// A fresh handle: nothing done, not stopped, nobody who looks on.
    pub fn new() -> Self {
        Self::default()
    }

    /// A fresh handle on calls of which an observer is told.
    pub fn observed(observer: impl Observer + 'static) -> Self {
        Self::observed_by(Arc::new(observer))
    }

    /// The same, of an observer that others hold too.
    pub fn observed_by(observer: Arc<dyn Observer>) -> Self {
        let observer = Observed { observer, since: Instant::now(), told: AtomicU64::new(0) };
        let state = Arc::new(State { observer: Some(observer), ..State::default() });
        Control { state, fence: None }
    }

    /// Asks the call to stop at its next safe point; it then returns [`Error::Cancelled`].
    pub fn stop(&self) {
        self.state.stop.store(true, Ordering::Relaxed);
    }

    /// Whether [`Control::stop`] was called.
    pub fn is_stopped(&self) -> bool {
        self.state.stop.load(Ordering::Relaxed)
    }

    /// Returns [`Error::Cancelled`] once [`Control::stop`] was called. What a session hands to its sources also says
    /// when the session can't commit any more.
    ///
    /// # Errors
    ///
    /// [`Error::Cancelled`], or [`Error::Fenced`], and no other.
    pub fn check(&self) -> Result<()> {
        match &self.fence {
            _ if self.is_stopped() => Err(Error::Cancelled),
            Some(fence) if fence.lost.load(Ordering::Relaxed) => Err(Error::Fenced { session: fence.session.clone() }),
            _ => Ok(()),
        }
    }

    /// Waits so long; ends early with the error of [`Control::check`] once it gives one.
    pub(crate) fn wait(&self, time: Duration) -> Result<()> {
        let begin = Instant::now();
        while let Some(left) = time.checked_sub(begin.elapsed()) {
            self.check()?;
            std::thread::sleep(left.min(LOOKS));
        }
        Ok(())
    }

    /// The same handle for the work of a session, which ends once the session lost its name.
    pub(crate) fn within(&self, fence: Arc<Fence>) -> Control {
        Control { state: self.state.clone(), fence: Some(fence) }
    }

    /// Counts records read or written.
    pub fn add_records(&self, n: u64) {
        self.state.counters.records.fetch_add(n, Ordering::Relaxed);
        self.moved();
    }

    /// Counts bytes read from a source.
    pub fn add_bytes_in(&self, n: u64) {
        self.state.counters.bytes_in.fetch_add(n, Ordering::Relaxed);
        self.moved();
    }

    /// Counts bytes written to the store or to a target.
    pub fn add_bytes_out(&self, n: u64) {
        self.state.counters.bytes_out.fetch_add(n, Ordering::Relaxed);
        self.moved();
    }

    /// Adds to the number of bytes that the call expects to read in all.
    pub fn add_total_bytes(&self, n: u64) {
        self.state.counters.total_bytes.fetch_add(n, Ordering::Relaxed);
        self.moved();
    }

    /// Adds to the number of records that the call expects to handle in all.
    pub fn add_total_records(&self, n: u64) {
        self.state.counters.total_records.fetch_add(n, Ordering::Relaxed);
        self.moved();
    }

    /// Begins a phase, which ends the one before it.
    pub fn begin_phase(&self, name: &'static str, total: u64) {
        let phase = Phase { name, done: 0, total };
        *lock(&self.state.phase) = Some(phase);
        tracing::debug!(name, total, "phase");
        self.tell(Event::Phase(phase));
    }

    /// Counts what of the phase is done.
    pub fn add_done(&self, n: u64) {
        if let Some(phase) = lock(&self.state.phase).as_mut() {
            phase.done = phase.done.saturating_add(n).min(phase.total);
        }
        self.moved();
    }

    /// The phase at hand. Until there is one, bytes and records tell how far the call came.
    pub fn phase(&self) -> Option<Phase> {
        *lock(&self.state.phase)
    }

    /// Records read or written so far.
    pub fn records(&self) -> u64 {
        self.state.counters.records.load(Ordering::Relaxed)
    }

    /// Bytes read from the source so far.
    pub fn bytes_in(&self) -> u64 {
        self.state.counters.bytes_in.load(Ordering::Relaxed)
    }

    /// Bytes written so far.
    pub fn bytes_out(&self) -> u64 {
        self.state.counters.bytes_out.load(Ordering::Relaxed)
    }

    /// Bytes the call expects to read in all; 0 while unknown.
    pub fn total_bytes(&self) -> u64 {
        self.state.counters.total_bytes.load(Ordering::Relaxed)
    }

    /// Records the call expects to handle in all; 0 while unknown.
    pub fn total_records(&self) -> u64 {
        self.state.counters.total_records.load(Ordering::Relaxed)
    }

    /// Tells a warning: something to know that does not end the call.
    pub fn warn(&self, text: impl AsRef<str>) {
        let text = text.as_ref();
        {
            let mut warnings = lock(&self.state.warnings);
            if warnings.iter().any(|told| told == text) {
                return;
            }
            if warnings.len() < WARNINGS {
                warnings.push(text.to_string());
            }
        }
        tracing::warn!("{text}");
        self.tell(Event::Warning(text));
    }

    /// The warnings that were told, for those who look afterwards; the first thousand.
    pub fn warnings(&self) -> Vec<String> {
        lock(&self.state.warnings).clone()
    }

    /// Tells that something is damaged.
    pub(crate) fn damage(&self, text: &str) {
        tracing::error!("damaged: {text}");
        self.tell(Event::Damage(text));
    }

    /// Asks the observer; nobody says no.
    pub(crate) fn confirm(&self, question: &Question) -> Result<bool> {
        self.state.observer.as_ref().map_or(Ok(false), |observed| observed.observer.confirm(question))
    }

    /// Begins a part of the work, which is over when what is given back is dropped. A part within another is a piece of
    /// it: it is not told, and counts on.
    pub(crate) fn part(&self, what: impl AsRef<str>) -> Part {
        let what = what.as_ref();
        let is_outermost = self.state.parts.fetch_add(1, Ordering::Relaxed) == 0;
        if is_outermost {
            self.state.counters.reset();
            *lock(&self.state.phase) = None;
        }
        // What a part consists of is for those who want to know more.
        let span = match is_outermost {
            true => tracing::info_span!("part", what),
            false => tracing::debug_span!("part", what),
        };
        log_part!(is_outermost, parent: &span, "began");
        let part = Part { control: self.clone(), is_outermost, span };
        if is_outermost {
            self.tell(Event::Began(what));
        }
        part
    }

    /// Tells of progress, unless it was told just now.
    fn moved(&self) {
        let Some(observed) = &self.state.observer else { return };
        let now = u64::try_from(observed.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        let told = observed.told.load(Ordering::Relaxed);
        let every = PROGRESS_EVERY.as_millis() as u64;
        if now.saturating_sub(told) >= every
            && observed.told.compare_exchange(told, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        {
            observed.observer.event(self, Event::Progress);
        }
    }

    fn tell(&self, event: Event<'_>) {
        if let Some(observed) = &self.state.observer {
            observed.observer.event(self, event);
        }
    }
}

impl std::fmt::Debug for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Control")
            .field("records", &self.records())
            .field("phase", &self.phase())
            .field("stopped", &self.is_stopped())
            .finish_non_exhaustive()
    }
}

/// A part of the work, until it is dropped.
#[must_use = "the part is over when this is dropped"]
pub(crate) struct Part {
    control: Control,
    is_outermost: bool,
    span: tracing::Span,
}

impl Part {
    /// The same, of which all is a piece that this thread does.
    pub fn entered(self) -> EnteredPart {
        EnteredPart { _span: self.span.clone().entered(), _part: self }
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.control.state.parts.fetch_sub(1, Ordering::Relaxed);
        let (records, bytes_in, bytes_out) =
            (self.control.records(), self.control.bytes_in(), self.control.bytes_out());
        log_part!(self.is_outermost, parent: &self.span, records, bytes_in, bytes_out, "ended");
        if self.is_outermost {
            self.control.tell(Event::Ended);
        }
    }
}

/// A part of the work that this thread does, until it is dropped.
#[must_use = "the part is over when this is dropped"]
pub(crate) struct EnteredPart {
    _span: tracing::span::EnteredSpan,
    _part: Part,
}
