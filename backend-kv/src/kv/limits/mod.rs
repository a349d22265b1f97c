//! Rate limits on a KV namespace.

mod document;
mod keys;
mod local;
mod store;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use larder_core::rate_limit::{Counting, RateLimitCapabilities};
use larder_core::{
    Consistency, Quota, Runtime, Store, StoreError, StoreErrorKind, Timestamp, seconds,
};
use metrics::Counter;
use worker::Env;

use super::{KvStore, KvStoreBuilder, MAX_KEY_BYTES, NAME};
use crate::WorkerRuntime;
use document::Document;
use keys::Keys;
use local::Local;

/// How often an isolate shares what it has counted under a key.
const SHARE_EVERY: Duration = seconds(10);
/// How many keys an isolate keeps.
const MAX_KEYS: usize = 10_000;

/// A [`RateLimitStore`](larder_core::RateLimitStore) on a namespace of Workers KV: approximate, and
/// fast. For limits against waste, where being right within a minute is enough and a Durable Object
/// would be too far away.
///
/// KV can neither count nor compare, and takes one write of a key a second. So every isolate counts
/// for itself, by the same [rules](larder_core::rate_limit::rule) as everywhere; and ten seconds
/// after it was asked about a key it hears what the others have counted, and tells what it has, if
/// they do not know: by one read and at most one write of the key, after the response.
///
/// **What it promises**
/// - No isolate allows more than the quotas say. What it has counted it does not forget before its
///   time, for the 10,000 keys that it used last; 5,000 at least.
/// - What was counted elsewhere counts here too, as a rule within 70 s: 10 s until it is told, and
///   the 60 s or more that [KV takes to show it][how]. Where two tell at the same time one overwrites
///   the other, who tells it again when it is next asked about the key.
/// - An isolate that meets a key begins with what the others have told of it. While KV fails it
///   counts by itself, and hears of the others at the first exchange that succeeds.
/// - A block, the end of one, and a reset are told before they return, and told again in the same
///   way where they were overwritten.
///
/// **What it does not**
/// - A window shorter than some minutes means nothing beyond an isolate: over before it is heard of.
///   In the worst case every isolate allows the whole quota in each window.
/// - Leases ([`Quota::concurrent`]) are counted by each isolate for itself.
/// - There is no common clock: each isolate goes by its own, and takes what was counted elsewhere as
///   counted when it heard of it.
/// - What an isolate has counted in its last ten seconds is lost to the others when it ends.
///
/// Only [`RateLimiter::approximate`](larder_core::RateLimiter::approximate) takes it.
///
/// - **Calls**: one read when an isolate meets a key or has not used it for five minutes; then none
///   that anybody waits for, and up to two every ten seconds for each key in use. Mind the
///   [price of writes](https://developers.cloudflare.com/kv/platform/pricing/).
/// - **Limits**: keys of up to 512 bytes.
///
/// Each exchange is counted as `larder_kv_limit_exchanges_total`, and so is a read that fails.
///
/// ```no_run
/// use larder_core::{Quota, RateLimiter};
/// use larder_kv::{KvRateLimits, WorkerRuntime};
///
/// # fn handler(env: worker::Env, ctx: worker::Context) -> larder_core::Result<()> {
/// let limits = KvRateLimits::open(&env, "CACHE", &WorkerRuntime::new(&ctx))?;
/// let limiter = RateLimiter::approximate(limits).quota(Quota::per_hour(1_000)).build()?;
/// # Ok(()) }
/// ```
///
/// A limiter must be kept over requests, as the counts are the isolate's, and bound to each by
/// [`RateLimiter::on`](larder_core::RateLimiter::on).
///
/// [how]: https://developers.cloudflare.com/kv/concepts/how-kv-works/
/// [`Quota::concurrent`]: larder_core::Quota::concurrent
#[derive(Debug, Clone)]
pub struct KvRateLimits {
    shared: Arc<Shared>,
    kv: KvStore,
}

#[derive(Debug)]
struct Shared {
    keys: Mutex<Keys>,
    capabilities: RateLimitCapabilities,
    exchanged: Counter,
    failed: Counter,
}

impl KvRateLimits {
    /// The counts on the namespace that `binding` of wrangler.toml names.
    ///
    /// # Errors
    ///
    /// [`StoreErrorKind::Config`] where there is no such binding, or it is of another kind.
    pub fn open(env: &Env, binding: &str, runtime: &WorkerRuntime) -> Result<Self, StoreError> {
        Ok(Self::over(settings().open(env, binding, runtime)?))
    }

    /// The counts of an isolate of its own, on that location.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    #[cfg(any(test, feature = "testing"))]
    pub fn simulated(reader: &super::SimulatedKvReader) -> Result<Self, StoreError> {
        Ok(Self::over(reader.store_with(settings())?))
    }

    fn over(kv: KvStore) -> Self {
        let unseen = match kv.capabilities().consistency {
            Consistency::Eventual { within } => within,
            _ => Duration::ZERO,
        };
        let counting = Counting::Approximate { within: SHARE_EVERY + unseen };
        let count =
            |result| metrics::counter!("larder_kv_limit_exchanges_total", "result" => result);
        let shared = Shared {
            keys: Mutex::new(Keys::new(MAX_KEYS)),
            capabilities: RateLimitCapabilities::new(counting).max_key_bytes(MAX_KEY_BYTES),
            exchanged: count("done"),
            failed: count("failed"),
        };
        Self { shared: Arc::new(shared), kv }
    }

    fn now(&self) -> Timestamp {
        self.kv.runtime.now()
    }

    /// What this isolate knows of a key: with what the others have told, where it has not used the
    /// key for a while or never, and KV answers.
    async fn local(&self, key: &str, quotas: &[Quota]) -> Arc<Mutex<Local>> {
        let known = lock(&self.shared.keys).get(key);
        if let Some(known) = &known
            && lock(known).is_current(self.now())
        {
            return Arc::clone(known);
        }
        let meeting = Meeting { limits: self, key, quotas, known, is_over: false };
        let told = self.told(key).await;
        meeting.end(told)
    }

    /// What stands in KV. What cannot be read is as good as nothing: it is replaced.
    async fn told(&self, key: &str) -> Result<Option<Document>, StoreError> {
        Ok(self.kv.get(key).await?.and_then(|bytes| Document::decode(&bytes)))
    }

    /// Hears what the others have counted, and tells them what was counted here.
    async fn exchange(
        &self,
        key: &str,
        local: &Mutex<Local>,
        quotas: &[Quota],
    ) -> Result<(), StoreError> {
        let told = self.told(key).await?;
        let now = self.now();
        let has_news = {
            let mut local = lock(local);
            if let Some(told) = &told {
                local.hear(told, now, quotas);
            }
            local.has_news(told.as_ref(), now)
        };
        if has_news { self.tell(key, local).await } else { Ok(()) }
    }

    async fn tell(&self, key: &str, local: &Mutex<Local>) -> Result<(), StoreError> {
        let (document, life) = lock(local).tell(self.now());
        let bytes = document.encode().map_err(|failure| {
            StoreError::new(StoreErrorKind::Other, NAME, "exchange", failure.message)
        })?;
        self.kv.put(key, bytes, life).await
    }

    /// Exchanges in the background, `wait` from now.
    fn exchange_later(
        &self,
        key: &str,
        local: &Arc<Mutex<Local>>,
        quotas: &[Quota],
        wait: Duration,
    ) {
        let (this, key, quotas) = (self.clone(), key.to_owned(), quotas.to_vec());
        let local = Arc::clone(local);
        self.kv.runtime.spawn(Box::pin(async move {
            this.kv.runtime.sleep(wait).await;
            let outcome = this.exchange(&key, &local, &quotas).await;
            lock(&local).exchanged(this.now());
            match outcome {
                Ok(()) => this.shared.exchanged.increment(1),
                Err(error) => this.failed(&error),
            }
        }));
    }

    fn failed(&self, error: &StoreError) {
        self.shared.failed.increment(1);
        tracing::debug!(%error, "an isolate counts by itself until the next exchange");
    }
}

/// A key that is met, or used again after a while, and whose counts are being read.
///
/// Where they cannot be, or nobody waits for them any longer, the isolate goes on by itself: else it
/// would ask for each request, and count none.
struct Meeting<'a> {
    limits: &'a KvRateLimits,
    key: &'a str,
    quotas: &'a [Quota],
    known: Option<Arc<Mutex<Local>>>,
    is_over: bool,
}

impl Meeting<'_> {
    fn end(mut self, told: Result<Option<Document>, StoreError>) -> Arc<Mutex<Local>> {
        self.is_over = true;
        self.go_on(told)
    }

    fn go_on(&self, told: Result<Option<Document>, StoreError>) -> Arc<Mutex<Local>> {
        let now = self.limits.now();
        if let Err(error) = &told {
            self.limits.failed(error);
        }
        if let Some(known) = &self.known {
            lock(known).return_to(told.ok().flatten().as_ref(), now, self.quotas);
            return Arc::clone(known);
        }
        let met = told.map_or_else(|_| Local::alone(now), |told| Local::met(told, now));
        // Of several that have met it at the same time, one stays.
        lock(&self.limits.shared.keys).get_or_insert(self.key, Arc::new(Mutex::new(met)))
    }
}

impl Drop for Meeting<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            let given_up = "nobody waited for the answer any longer";
            self.go_on(Err(StoreError::new(StoreErrorKind::Timeout, NAME, "get", given_up)));
        }
    }
}

/// As fresh as KV allows.
fn settings() -> KvStoreBuilder {
    KvStore::builder().cache_ttl(seconds(30))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
