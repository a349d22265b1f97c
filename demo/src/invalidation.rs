//! What becomes of cached users after one was written.
//!
//! A write to the database stands, whatever the cache's store does. Where the store is down the
//! invalidation cannot be done at once: it is *deferred*, tried again with growing pauses until the
//! store takes it, or until whatever is stale has expired by itself. Meanwhile this process reads
//! what is concerned from the database, so that nobody who was told of a change is shown the old
//! value by the server that told it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use larder_core::{Cache, Error, Targets, Timestamp, millis, seconds};

/// More users than these are not told apart, but all of them read from the database.
const MOST_DEFERRED: usize = 1_000;
const FIRST_PAUSE: Duration = millis(100);
const LONGEST_PAUSE: Duration = seconds(5);
/// Longer than a store takes to fail, and then to answer.
const LONGEST_ATTEMPT: Duration = seconds(15);

/// Everything that may be stale in the cache of users.
#[derive(Clone)]
pub(crate) struct Invalidations {
    cache: Cache,
    /// After this time nothing that is stale now is still in the store.
    ttl: Duration,
    deferred: Arc<Mutex<Deferred>>,
}

#[derive(Default)]
struct Deferred {
    users: BTreeMap<i64, Stale>,
    everyone: Option<Stale>,
    writes: u64,
    attendant: Option<Attendant>,
    /// How many there have been.
    attendants: u64,
}

/// The task that tries again. It may be cut off at any time, as a Worker's are after 30 seconds:
/// when it has not been heard of for too long, somebody else becomes the attendant.
#[derive(Clone, Copy)]
struct Attendant {
    number: u64,
    expected: Timestamp,
}

/// Since when something is stale, and by which write: a retry only settles what was written before
/// it began.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stale {
    since: Timestamp,
    write: u64,
}

/// Whether the cache has forgotten what was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Invalidation {
    Done,
    Deferred,
}

pub(crate) fn user_key(id: i64) -> String {
    format!("user:{id}")
}

/// What tells of these users: they themselves, and every list.
fn made_stale_by(users: &[i64]) -> Targets {
    Targets::new().keys(users.iter().copied().map(user_key)).pattern("users:*")
}

impl Invalidations {
    /// Of what is kept in `cache`, for `ttl` at most.
    pub(crate) fn new(cache: Cache, ttl: Duration) -> Self {
        Self { cache, ttl, deferred: Arc::default() }
    }

    /// The same, with the cache as it is bound to a request.
    pub(crate) fn on(&self, cache: &Cache) -> Self {
        Self { cache: cache.clone(), ..self.clone() }
    }

    /// Forgets the user and every list, after the database has been written.
    pub(crate) async fn user_written(&self, id: i64) -> Invalidation {
        let error = match self.invalidate(&[id], false).await {
            Ok(()) => return Invalidation::Done,
            Err(error) => error,
        };
        tracing::warn!(user = id, %error, "an invalidation failed and is deferred");
        metrics::counter!("shop_invalidations_deferred_total").increment(1);
        self.defer(id);
        Invalidation::Deferred
    }

    /// Whether the user may stand in the cache as it no longer is.
    pub(crate) fn is_deferred(&self, id: i64) -> bool {
        let deferred = self.attended();
        deferred.everyone.is_some() || deferred.users.contains_key(&id)
    }

    /// Whether any list may.
    pub(crate) fn any_deferred(&self) -> bool {
        self.attended().any()
    }

    /// For how many users the cache still has to be told.
    pub(crate) fn deferred(&self) -> usize {
        self.attended().users.len()
    }

    fn lock(&self) -> MutexGuard<'_, Deferred> {
        self.deferred.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is deferred; somebody attends to it.
    fn attended(&self) -> MutexGuard<'_, Deferred> {
        let mut deferred = self.lock();
        if !deferred.any() {
            return deferred;
        }
        let runtime = self.cache.runtime();
        let now = runtime.now();
        if deferred.attendant.is_none_or(|attendant| attendant.expected < now) {
            deferred.attendants += 1;
            let number = deferred.attendants;
            let expected = now + FIRST_PAUSE + LONGEST_ATTEMPT;
            deferred.attendant = Some(Attendant { number, expected });
            runtime.spawn(Box::pin(self.clone().attend(number)));
        }
        deferred
    }

    async fn invalidate(&self, users: &[i64], everyone: bool) -> Result<(), Error> {
        let mut stale = made_stale_by(users);
        if everyone {
            stale = stale.pattern("user:*");
        }
        self.cache.invalidate(&stale).await
    }

    fn defer(&self, id: i64) {
        let since = self.cache.runtime().now();
        let mut deferred = self.lock();
        deferred.writes += 1;
        let stale = Stale { since, write: deferred.writes };
        if deferred.users.len() < MOST_DEFERRED || deferred.users.contains_key(&id) {
            deferred.users.insert(id, stale);
        } else {
            deferred.everyone = Some(stale);
        }
        drop(deferred);
        drop(self.attended());
    }

    async fn attend(self, number: u64) {
        let runtime = self.cache.runtime();
        let mut pause = FIRST_PAUSE;
        loop {
            runtime.sleep(pause).await;
            let Some((users, everyone, write)) = self.begin(number) else { return };
            let settled = match self.invalidate(&users, everyone).await {
                Ok(()) => write,
                Err(error) => {
                    tracing::debug!(%error, "deferred invalidations failed again");
                    pause = (pause * 2).min(LONGEST_PAUSE);
                    0
                }
            };
            if !self.settle(number, settled, pause) {
                return;
            }
        }
    }

    /// What to invalidate, and up to which write; nothing for who is no longer the attendant.
    fn begin(&self, number: u64) -> Option<(Vec<i64>, bool, u64)> {
        let deferred = self.lock();
        deferred.attendant.filter(|attendant| attendant.number == number)?;
        let users = deferred.users.keys().copied().collect();
        Some((users, deferred.everyone.is_some(), deferred.writes))
    }

    /// Forgets what was settled up to a write, and what has expired; whether the attendant has to
    /// go on after this pause.
    fn settle(&self, number: u64, up_to: u64, pause: Duration) -> bool {
        let now = self.cache.runtime().now();
        let is_stale = |stale: &Stale| stale.write > up_to && now.since(stale.since) <= self.ttl;
        let mut deferred = self.lock();
        deferred.users.retain(|_, stale| is_stale(stale));
        deferred.everyone = deferred.everyone.filter(is_stale);
        if !deferred.any() {
            deferred.attendant = None;
            tracing::info!("all deferred invalidations are done");
            return false;
        }
        match &mut deferred.attendant {
            Some(attendant) if attendant.number == number => {
                attendant.expected = now + pause + LONGEST_ATTEMPT;
                true
            }
            _ => false,
        }
    }
}

impl Deferred {
    fn any(&self) -> bool {
        self.everyone.is_some() || !self.users.is_empty()
    }
}

#[cfg(test)]
mod tests;
