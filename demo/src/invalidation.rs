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

use larder_core::{Cache, Error, Timestamp, millis, seconds};

/// More users than these are not told apart, but all of them read from the database.
const MOST_DEFERRED: usize = 1_000;
const FIRST_PAUSE: Duration = millis(100);
const LONGEST_PAUSE: Duration = seconds(5);

/// Everything that may be stale in the cache of users.
#[derive(Clone)]
pub(crate) struct Invalidations {
    shared: Arc<Shared>,
}

struct Shared {
    cache: Cache,
    /// After this time nothing that is stale now is still in the store.
    ttl: Duration,
    deferred: Mutex<Deferred>,
}

#[derive(Default)]
struct Deferred {
    users: BTreeMap<i64, Stale>,
    everyone: Option<Stale>,
    writes: u64,
    retrying: bool,
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

impl Invalidations {
    /// Of what is kept in `cache`, for `ttl` at most.
    pub(crate) fn new(cache: Cache, ttl: Duration) -> Self {
        Self { shared: Arc::new(Shared { cache, ttl, deferred: Mutex::default() }) }
    }

    /// Forgets the user and every list, after the database has been written.
    pub(crate) async fn user_written(&self, id: i64) -> Invalidation {
        let error = match self.shared.invalidate(&[id], false).await {
            Ok(()) => return Invalidation::Done,
            Err(error) => error,
        };
        tracing::warn!(user = id, %error, "an invalidation failed and is deferred");
        metrics::counter!("shop_invalidations_deferred_total").increment(1);
        if self.shared.defer(id) {
            let shared = Arc::clone(&self.shared);
            self.shared.cache.runtime().spawn(Box::pin(shared.retry()));
        }
        Invalidation::Deferred
    }

    /// Whether the user may stand in the cache as it no longer is.
    pub(crate) fn is_deferred(&self, id: i64) -> bool {
        let deferred = self.shared.deferred();
        deferred.everyone.is_some() || deferred.users.contains_key(&id)
    }

    /// Whether any list may.
    pub(crate) fn any_deferred(&self) -> bool {
        self.shared.deferred().any()
    }

    /// For how many users the cache still has to be told.
    pub(crate) fn deferred(&self) -> usize {
        self.shared.deferred().users.len()
    }
}

impl Deferred {
    fn any(&self) -> bool {
        self.everyone.is_some() || !self.users.is_empty()
    }
}

impl Shared {
    fn deferred(&self) -> MutexGuard<'_, Deferred> {
        self.deferred.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn invalidate(&self, users: &[i64], everyone: bool) -> Result<(), Error> {
        self.cache.remove_many(users.iter().copied().map(user_key)).await?;
        if everyone {
            self.cache.remove_matching("user:*").await?;
        }
        self.cache.remove_matching("users:*").await?;
        Ok(())
    }

    /// Notes the user; whether someone has to start to retry.
    fn defer(&self, id: i64) -> bool {
        let since = self.cache.runtime().now();
        let mut deferred = self.deferred();
        deferred.writes += 1;
        let stale = Stale { since, write: deferred.writes };
        if deferred.users.len() < MOST_DEFERRED || deferred.users.contains_key(&id) {
            deferred.users.insert(id, stale);
        } else {
            deferred.everyone = Some(stale);
        }
        !std::mem::replace(&mut deferred.retrying, true)
    }

    async fn retry(self: Arc<Self>) {
        let mut pause = FIRST_PAUSE;
        loop {
            self.cache.runtime().sleep(pause).await;
            let (users, everyone, write) = {
                let deferred = self.deferred();
                let users: Vec<i64> = deferred.users.keys().copied().collect();
                (users, deferred.everyone.is_some(), deferred.writes)
            };
            let settled = match self.invalidate(&users, everyone).await {
                Ok(()) => write,
                Err(error) => {
                    tracing::debug!(%error, "deferred invalidations failed again");
                    pause = (pause * 2).min(LONGEST_PAUSE);
                    0
                }
            };
            if !self.settle(settled) {
                tracing::info!("all deferred invalidations are done");
                return;
            }
        }
    }

    /// Forgets what was settled up to a write, and what has expired; whether anything is left.
    fn settle(&self, up_to: u64) -> bool {
        let now = self.cache.runtime().now();
        let is_stale = |stale: &Stale| stale.write > up_to && now.since(stale.since) <= self.ttl;
        let mut deferred = self.deferred();
        deferred.users.retain(|_, stale| is_stale(stale));
        deferred.everyone = deferred.everyone.filter(is_stale);
        deferred.retrying = deferred.any();
        deferred.retrying
    }
}
