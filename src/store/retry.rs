//! Making calls again that failed for reasons which pass: the one place that does.
//!
//! Reads and listings are simply made again. So are [`Store::put`], which leaves the same object however often it is
//! made, and [`Store::delete`], since keys are not used again. A [`Store::put_new`] whose reply was lost finds its key
//! taken when it is made again: what is there is then compared with what was to be put, and the same bytes mean that
//! the first call created it. Callers put bytes of their own that way: sealed with a nonce of their own, or the same
//! for all, as a fence is.

use super::{Listed, Put, Store};
use crate::error::{Error, Result};
use bytes::Bytes;
use std::sync::Arc;
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
    /// one twice the wait before. A try that would begin later than `longest` after the first is not made.
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
}

impl RetryStore {
    /// Wraps a store as its own policy wants it; one that wants no retries stays as it is.
    pub(crate) fn wrap(inner: Arc<dyn Store>) -> Arc<dyn Store> {
        match inner.retry_policy() {
            policy if policy.tries <= 1 => inner,
            policy => Arc::new(RetryStore { inner, policy }),
        }
    }

    /// Makes a call until it succeeds, fails for a reason that doesn't pass, or the policy is used up. Gives back
    /// whether the call was made more than once.
    fn call<T>(&self, call: impl Fn() -> Result<T>) -> Result<(T, bool)> {
        let begin = Instant::now();
        let mut wait = self.policy.first_wait;
        for tries in 1.. {
            match call() {
                Ok(done) => return Ok((done, tries > 1)),
                Err(error)
                    if !error.is_transient()
                        || tries >= self.policy.tries
                        || begin.elapsed() + wait > self.policy.longest =>
                {
                    return Err(error);
                }
                Err(_) => std::thread::sleep(wait),
            }
            wait = wait.saturating_mul(2);
        }
        Err(Error::internal("a call to a store was tried more than four thousand million times"))
    }

    fn again<T>(&self, call: impl Fn() -> Result<T>) -> Result<T> {
        Ok(self.call(call)?.0)
    }
}

impl Store for RetryStore {
    fn location(&self) -> &str {
        self.inner.location()
    }

    fn put_new(&self, key: &str, bytes: &[u8]) -> Result<Put> {
        match self.call(|| self.inner.put_new(key, bytes))? {
            (Put::Exists, true) if holds(self, key, bytes)? => Ok(Put::Created),
            (put, _) => Ok(put),
        }
    }

    fn put_content(&self, key: &str, bytes: &Bytes) -> Result<Put> {
        // Whoever finds the key taken finds the same bytes there.
        self.again(|| self.inner.put_content(key, bytes))
    }

    fn put(&self, key: &str, bytes: &[u8]) -> Result<()> {
        self.again(|| self.inner.put(key, bytes))
    }

    fn get(&self, key: &str, limit: u64) -> Result<Option<Bytes>> {
        self.again(|| self.inner.get(key, limit))
    }

    fn get_range(&self, key: &str, offset: u64, length: usize) -> Result<Option<Bytes>> {
        self.again(|| self.inner.get_range(key, offset, length))
    }

    fn size(&self, key: &str) -> Result<Option<u64>> {
        self.again(|| self.inner.size(key))
    }

    fn list(&self, prefix: &str) -> Result<Vec<Listed>> {
        self.again(|| self.inner.list(prefix))
    }

    fn top_names(&self) -> Result<Vec<String>> {
        self.again(|| self.inner.top_names())
    }

    fn delete(&self, key: &str) -> Result<()> {
        self.again(|| self.inner.delete(key))
    }

    fn sync(&self) -> Result<()> {
        self.again(|| self.inner.sync())
    }

    fn keep_reserve(&self) -> Result<()> {
        self.again(|| self.inner.keep_reserve())
    }

    fn free_bytes(&self) -> Result<Option<u64>> {
        self.again(|| self.inner.free_bytes())
    }

    fn use_reserve(&self) -> Result<bool> {
        self.again(|| self.inner.use_reserve())
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

/// Creates an object that must not be left in doubt, such as a commit: after any error the store is asked once more,
/// and a key that is taken by these very bytes was taken by this call.
pub(crate) fn put_new_for_certain(store: &dyn Store, key: &str, bytes: &[u8]) -> Result<Put> {
    match store.put_new(key, bytes).or_else(|_| store.put_new(key, bytes))? {
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
        let store = RetryStore { inner: below.clone(), policy: QUICK };
        (below, store)
    }

    crate::store_conformance_tests!(|test| {
        test(&RetryStore { inner: Arc::new(MemoryStore::new()), policy: QUICK });
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
        store.policy = RetryPolicy::new(9, Duration::from_secs(60), Duration::from_secs(59));
        assert!(store.get("a", 1).is_err());
        assert_eq!(below.operations().len(), 1);
    }

    #[test]
    fn a_creation_that_must_not_be_in_doubt_survives_an_error_of_any_kind() {
        for effect in [Effect::Fail(ErrorKind::Other), Effect::LoseReply(ErrorKind::Other)] {
            let store = FaultStore::new(MemoryStore::new());
            store.inject(Fault::nth(0, effect));
            assert_eq!(put_new_for_certain(&store, "snapshots/a", b"mine").unwrap(), Put::Created);
            assert_eq!(put_new_for_certain(&store, "snapshots/a", b"other").unwrap(), Put::Exists);
        }
    }
}
