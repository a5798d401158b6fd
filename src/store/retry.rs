//! Making calls again that failed for reasons which pass: the one place that does.
//!
//! Reads and listings are simply made again. So are [`Store::put`], which leaves the same object however often it is
//! made, and [`Store::delete`], since keys are not used again. A [`Store::put_new`] whose reply was lost finds its key
//! taken when it is made again: what is there is then compared with what was to be put, and the same bytes mean that
//! the first call created it. Callers put bytes of their own that way: sealed with a nonce of their own, or the same
//! for all, as a fence is.
//!
//! Waits differ by chance, so that clients which failed together don't come back together. A stop ends a wait; calls
//! that begin after it, such as the one that records how the session ended, are made again as always.

use super::{Listed, Put, Store};
use crate::control::Control;
use crate::error::{Error, Result};
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How often and how long a call is made again that failed with a [transient](crate::StoreErrorKind::Transient) error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    tries: u32,
    first_wait: Duration,
    longest: Duration,
}

impl Default for RetryPolicy {
    /// Every call is made once.
    fn default() -> Self {
        Self::none()
    }
}

impl RetryPolicy {
    /// Every call is made once.
    #[must_use]
    pub const fn none() -> Self {
        RetryPolicy { tries: 1, first_wait: Duration::ZERO, longest: Duration::ZERO }
    }

    /// Every call is made up to `tries` times. Before the second try comes a wait of `first_wait`, before each later
    /// one twice the wait before; up to half of each wait is left out, by chance. A try that would begin later than
    /// `longest` after the first is not made.
    #[must_use]
    pub const fn new(tries: u32, first_wait: Duration, longest: Duration) -> Self {
        RetryPolicy { tries, first_wait, longest }
    }

    /// Five tries within two seconds: for a directory, whose errors rarely pass by themselves.
    #[must_use]
    pub const fn brief() -> Self {
        RetryPolicy::new(5, Duration::from_millis(100), Duration::from_secs(2))
    }
}

/// A store that makes calls again as the policy says.
pub(crate) struct RetryStore {
    inner: Arc<dyn Store>,
    policy: RetryPolicy,
    /// What ends a wait.
    control: Control,
    /// From which follows how much of the next wait is left out.
    chance: AtomicU64,
}

impl RetryStore {
    /// Wraps a store as its own policy wants it; one that wants no retries stays as it is. Waits end once `control` is
    /// stopped.
    pub(crate) fn wrap(inner: Arc<dyn Store>, control: &Control) -> Arc<dyn Store> {
        match inner.retry_policy() {
            policy if policy.tries <= 1 => inner,
            policy => {
                // Without a seed all clients wait alike, which is no reason to fail.
                let seed = getrandom::u64().unwrap_or_default();
                Arc::new(RetryStore::new(inner, policy, control.clone(), seed))
            }
        }
    }

    fn new(inner: Arc<dyn Store>, policy: RetryPolicy, control: Control, seed: u64) -> Self {
        RetryStore { inner, policy, control, chance: AtomicU64::new(seed) }
    }

    /// A wait of at least half of this and at most all of it.
    fn shortened(&self, wait: Duration) -> Duration {
        // SplitMix64.
        let mut z = self.chance.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let part = ((z ^ (z >> 31)) % 1025) as u32;
        wait / 2 + (wait / 2 / 1024) * part
    }

    /// Waits before a call is made again.
    ///
    /// # Errors
    ///
    /// [`Error::Cancelled`] if a stop ends the wait.
    fn wait(&self, wait: Duration, was_stopped: bool) -> Result<()> {
        if was_stopped {
            std::thread::sleep(wait);
            return Ok(());
        }
        self.control.wait(wait)
    }

    /// Makes a call until it succeeds, fails for a reason that doesn't pass, or the policy is used up. Gives back
    /// whether the call was made more than once. `name` and `key` say which call it is.
    fn call<T>(&self, name: &str, key: &str, call: impl Fn() -> Result<T>) -> Result<(T, bool)> {
        tracing::trace!(key, "{name}");
        let (begin, was_stopped) = (Instant::now(), self.control.is_stopped());
        let mut longest = self.policy.first_wait;
        for tries in 1.. {
            let error = match call() {
                Ok(done) => return Ok((done, tries > 1)),
                Err(error) => error,
            };
            // A store that says when it wants to be asked again is not asked before.
            let wait = self.shortened(longest).max(error.wanted_wait().unwrap_or_default());
            let is_last = tries >= self.policy.tries || begin.elapsed() + wait > self.policy.longest;
            if !error.is_transient() || is_last {
                return Err(error);
            }
            tracing::warn!(key, tries, %error, "{name} is made again");
            self.wait(wait, was_stopped)?;
            longest = longest.saturating_mul(2);
        }
        Err(Error::internal("a call to a store was tried more than four thousand million times"))
    }

    fn again<T>(&self, name: &str, key: &str, call: impl Fn() -> Result<T>) -> Result<T> {
        Ok(self.call(name, key, call)?.0)
    }
}

impl Store for RetryStore {
    fn location(&self) -> &str {
        self.inner.location()
    }

    fn put_new(&self, key: &str, bytes: &[u8]) -> Result<Put> {
        match self.call("put_new", key, || self.inner.put_new(key, bytes))? {
            (Put::Exists, true) if holds(self, key, bytes)? => Ok(Put::Created),
            (put, _) => Ok(put),
        }
    }

    fn put_content(&self, key: &str, bytes: &Bytes) -> Result<Put> {
        // Whoever finds the key taken finds the same bytes there.
        self.again("put_content", key, || self.inner.put_content(key, bytes))
    }

    fn put(&self, key: &str, bytes: &[u8]) -> Result<()> {
        self.again("put", key, || self.inner.put(key, bytes))
    }

    fn get(&self, key: &str, limit: u64) -> Result<Option<Bytes>> {
        self.again("get", key, || self.inner.get(key, limit))
    }

    fn get_range(&self, key: &str, offset: u64, length: usize) -> Result<Option<Bytes>> {
        self.again("get_range", key, || self.inner.get_range(key, offset, length))
    }

    fn size(&self, key: &str) -> Result<Option<u64>> {
        self.again("size", key, || self.inner.size(key))
    }

    fn is_far(&self) -> bool {
        self.inner.is_far()
    }

    fn creations_are_proven(&self) -> bool {
        self.inner.creations_are_proven()
    }

    fn list(&self, prefix: &str) -> Result<Vec<Listed>> {
        self.again("list", prefix, || self.inner.list(prefix))
    }

    fn top_names(&self) -> Result<Vec<String>> {
        self.again("top_names", "", || self.inner.top_names())
    }

    fn delete(&self, key: &str) -> Result<()> {
        self.again("delete", key, || self.inner.delete(key))
    }

    fn sync(&self) -> Result<()> {
        self.again("sync", "", || self.inner.sync())
    }

    fn keep_reserve(&self) -> Result<()> {
        self.again("keep_reserve", "", || self.inner.keep_reserve())
    }

    fn free_bytes(&self) -> Result<Option<u64>> {
        self.again("free_bytes", "", || self.inner.free_bytes())
    }

    fn use_reserve(&self) -> Result<bool> {
        self.again("use_reserve", "", || self.inner.use_reserve())
    }
}

/// Whether an object holds exactly these bytes.
pub(crate) fn holds(store: &dyn Store, key: &str, bytes: &[u8]) -> Result<bool> {
    match store.get(key, bytes.len() as u64) {
        Ok(found) => Ok(found.as_deref() == Some(bytes)),
        // A larger object is another one.
        Err(error) if error.is_damage() => Ok(false),
        Err(error) => Err(error),
    }
}

/// Creates an object that must not be left in doubt, such as a commit: after an error that leaves open whether it was
/// created, the store is asked once more, and a key that is taken by these very bytes was taken by this call.
pub(crate) fn put_new_for_certain(store: &dyn Store, key: &str, bytes: &[u8]) -> Result<Put> {
    let put = match store.put_new(key, bytes) {
        Err(error) if error.leaves_open() => store.put_new(key, bytes),
        put => put,
    };
    match put? {
        Put::Exists if holds(store, key, bytes)? => Ok(Put::Created),
        put => Ok(put),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Call, Effect, Fault, FaultStore, MemoryStore};
    use std::io::ErrorKind;

    const QUICK: RetryPolicy = RetryPolicy::new(3, Duration::from_millis(1), Duration::from_secs(60));

    fn faulty(effect: Effect, times: usize) -> (Arc<FaultStore<MemoryStore>>, RetryStore) {
        let below = Arc::new(FaultStore::new(MemoryStore::new()));
        for n in 0..times {
            below.inject(Fault::nth(n, effect));
        }
        let store = retrying(below.clone(), QUICK, 1);
        (below, store)
    }

    fn retrying(below: Arc<dyn Store>, policy: RetryPolicy, seed: u64) -> RetryStore {
        RetryStore::new(below, policy, Control::new(), seed)
    }

    crate::store_conformance_tests!(|test| {
        test(&retrying(Arc::new(MemoryStore::new()), QUICK, 1));
    });

    #[test]
    fn every_call_survives_errors_that_pass() {
        let calls: [fn(&dyn Store) -> Result<()>; 9] = [
            |store| store.put_new("a", b"1").map(drop),
            |store| store.put_content("a", &Bytes::from_static(b"1")).map(drop),
            |store| store.put("a", b"1"),
            |store| store.get("a", 9).map(drop),
            |store| store.get_range("a", 0, 9).map(drop),
            |store| store.size("a").map(drop),
            |store| store.list("").map(drop),
            |store| store.delete("a"),
            |store| store.sync(),
        ];
        for (n, call) in calls.into_iter().enumerate() {
            for effect in [Effect::Fail(ErrorKind::TimedOut), Effect::LoseReply(ErrorKind::ConnectionReset)] {
                let (below, store) = faulty(effect, 1);
                call(&store).unwrap_or_else(|error| panic!("call {n}: {error}"));
                assert!(below.operations().len() >= 2, "call {n}");
            }
        }
    }

    #[test]
    fn a_creation_whose_reply_was_lost_is_told_from_a_key_that_others_took() {
        let (_, store) = faulty(Effect::LoseReply(ErrorKind::TimedOut), 1);
        assert_eq!(store.put_new("snapshots/a", b"mine").unwrap(), Put::Created);
        assert_eq!(store.put_new("snapshots/a", b"mine").unwrap(), Put::Exists);
        let (below, store) = faulty(Effect::Fail(ErrorKind::TimedOut), 1);
        for taken in [&b"theirs"[..], b"mine and more"] {
            below.inner().put("snapshots/a", taken).unwrap();
            below.inject(Fault::nth(0, Effect::Fail(ErrorKind::TimedOut)).of(Call::PutNew));
            assert_eq!(store.put_new("snapshots/a", b"mine").unwrap(), Put::Exists);
        }
    }

    #[test]
    fn errors_that_do_not_pass_come_at_once_and_others_after_the_last_try() {
        let (below, store) = faulty(Effect::Fail(ErrorKind::PermissionDenied), 1);
        assert!(store.get("a", 1).is_err());
        assert_eq!(below.operations().len(), 1);
        let (below, store) = faulty(Effect::Fail(ErrorKind::TimedOut), 3);
        assert!(store.get("a", 1).unwrap_err().is_transient());
        assert_eq!(below.operations().len(), 3);
    }

    #[test]
    fn no_try_begins_later_than_the_policy_allows() {
        let (below, mut store) = faulty(Effect::Fail(ErrorKind::TimedOut), 3);
        store.policy = RetryPolicy::new(9, Duration::from_secs(60), Duration::from_secs(29));
        assert!(store.get("a", 1).is_err());
        assert_eq!(below.operations().len(), 1);
    }

    #[test]
    fn waits_differ_from_client_to_client_and_are_at_least_half_of_what_the_policy_says() {
        const WAIT: Duration = Duration::from_millis(100);
        let waits = |seed| -> Vec<Duration> {
            let store = retrying(Arc::new(MemoryStore::new()), QUICK, seed);
            (0..200).map(|_| store.shortened(WAIT)).collect()
        };
        let (one, other) = (waits(1), waits(2));
        assert_eq!(one, waits(1));
        assert!(one.iter().chain(&other).all(|wait| (WAIT / 2..=WAIT).contains(wait)), "{one:?} {other:?}");
        let alike = one.iter().zip(&other).filter(|(one, other)| one.abs_diff(**other) < WAIT / 100).count();
        assert!(alike < 20, "{alike} of 200 waits are alike");
        for part in 0..4 {
            let from = WAIT / 2 + WAIT / 8 * part;
            let there = one.iter().filter(|wait| (from..from + WAIT / 8).contains(wait)).count();
            assert!(there > 25, "{there} of 200 waits are in the {part}th quarter");
        }
    }

    #[test]
    fn a_stop_ends_a_wait_and_calls_after_it_are_made_again_as_always() {
        let (below, mut store) = faulty(Effect::Fail(ErrorKind::TimedOut), 1);
        store.policy = RetryPolicy::new(2, Duration::from_secs(300), Duration::from_secs(600));
        std::thread::scope(|scope| {
            let call = scope.spawn(|| store.put("a", b"1"));
            while below.operations().is_empty() {
                std::thread::yield_now();
            }
            store.control.stop();
            assert!(matches!(call.join().unwrap(), Err(Error::Cancelled)));
        });
        assert_eq!(below.operations().len(), 1);
        // How the session ended is still to be written.
        store.policy = QUICK;
        below.inject(Fault::nth(0, Effect::Fail(ErrorKind::TimedOut)));
        store.put("sessions/a", b"stopped").unwrap();
        assert_eq!(below.operations().len(), 3);
    }

    #[test]
    fn a_creation_that_must_not_be_in_doubt_survives_an_error_that_leaves_it_open() {
        let kinds = [ErrorKind::Other, ErrorKind::TimedOut, ErrorKind::StorageFull];
        for effect in kinds.into_iter().flat_map(|kind| [Effect::Fail(kind), Effect::LoseReply(kind)]) {
            let store = FaultStore::new(MemoryStore::new());
            store.inject(Fault::nth(0, effect));
            assert_eq!(put_new_for_certain(&store, "snapshots/a", b"mine").unwrap(), Put::Created);
            assert_eq!(put_new_for_certain(&store, "snapshots/a", b"other").unwrap(), Put::Exists);
        }
    }

    #[test]
    fn a_creation_that_the_store_refused_is_not_asked_for_again() {
        for kind in [ErrorKind::PermissionDenied, ErrorKind::ReadOnlyFilesystem, ErrorKind::NotFound] {
            let store = FaultStore::new(MemoryStore::new());
            store.inject(Fault::nth(0, Effect::Fail(kind)));
            let error = put_new_for_certain(&store, "snapshots/a", b"mine").unwrap_err();
            assert_eq!(error.store_kind(), Some(kind.into()));
            assert_eq!(store.operations().len(), 1);
        }
    }
}
