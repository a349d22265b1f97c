//! Limits over a [`RateLimitStore`], and what happens where it fails.

mod builder;
mod failure;
mod lists;
mod meter;
mod permit;
mod quotas;
mod refusals;
#[cfg(test)]
mod tests;
mod unheard;

use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, Either, select};

use super::rule::Taken;
use super::{Check, Decision, ExactRateLimitStore, KeyState, Quota, RateLimitStore, Rule};
use crate::error::{Error, StoreError, StoreErrorKind};
use crate::key::{KeyBuffer, KeyError, Namespace, Split};
use crate::runtime::Runtime;

pub use builder::RateLimiterBuilder;
pub use failure::FailurePolicy;
pub use meter::RateLimitStats;
pub use permit::Permit;

use failure::Fallback;
use lists::Lists;
use meter::Meter;
use quotas::Quotas;
use refusals::Refusals;
use unheard::Unheard;

/// Limits how much of something a key may have: requests of a client, e-mails to an address.
///
/// What a limiter adds to a [`RateLimitStore`]:
///
/// - **Several quotas at once**, or those that a function finds for the key, decided in one round
///   trip: what one of them refuses is counted against none.
/// - **A refused key is answered here**, without a round trip, until it could be allowed again.
/// - **A store that fails, or is slow, is no error**: a [`FailurePolicy`] decides, the decision says
///   so, and so does the log, once at `warn`. What can never work is an error.
/// - Lists of keys that are never and always refused, and a mode that refuses nothing.
///
/// Clones are cheap and share everything.
///
/// ```
/// use larder_core::{MemoryRateLimits, Quota, RateLimiter};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
/// let limiter = RateLimiter::builder(MemoryRateLimits::new())
///     .quota(Quota::per_second(2))
///     .quota(Quota::per_day(1_000))
///     .build()?;
///
/// assert!(limiter.check("203.0.113.9").await?.is_allowed());
/// assert!(limiter.check("203.0.113.9").await?.is_allowed());
/// let refused = limiter.check("203.0.113.9").await?;
/// assert_eq!(refused.refused_by(), Some("second"));
/// assert!(refused.retry_after().is_some());
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct RateLimiter {
    shared: Arc<Shared>,
    store: Arc<dyn RateLimitStore>,
    runtime: Arc<dyn Runtime>,
    namespace: Namespace,
    quotas: Quotas,
}

struct Shared {
    lists: Lists,
    is_shadow: bool,
    /// What the store says of itself, which it is not asked for every key.
    is_in_process: bool,
    /// Whether it may be asked to take before anything else is looked at.
    takes_at_once: bool,
    max_key_bytes: usize,
    store: &'static str,
    fallback: Fallback,
    /// None for a store that never waits.
    timeout: Option<Duration>,
    /// None for a store that is as near.
    refusals: Option<Refusals>,
    meter: Meter,
}

impl RateLimiter {
    /// Starts to build a limiter over a store that counts exactly.
    ///
    /// One that does not is refused by the compiler:
    ///
    /// ```compile_fail,E0277
    /// use larder_core::{RateLimitStore, RateLimiter};
    ///
    /// fn build(store: impl RateLimitStore) {
    ///     let _ = RateLimiter::builder(store);
    /// }
    /// ```
    pub fn builder(store: impl ExactRateLimitStore) -> RateLimiterBuilder {
        RateLimiterBuilder::new(Arc::new(store), true)
    }

    /// Starts to build a limiter over any store, that may allow more than its quotas say: as much
    /// more as the store's [`Counting`](super::Counting) tells.
    ///
    /// ```
    /// use larder_core::{Quota, RateLimitStore, RateLimiter};
    ///
    /// fn build(store: impl RateLimitStore) -> larder_core::Result<RateLimiter> {
    ///     RateLimiter::approximate(store).quota(Quota::per_minute(100)).build()
    /// }
    /// # build(larder_core::MemoryRateLimits::new())?;
    /// # Ok::<(), larder_core::Error>(())
    /// ```
    pub fn approximate(store: impl RateLimitStore) -> RateLimiterBuilder {
        RateLimiterBuilder::new(Arc::new(store), false)
    }

    /// Decides on a request of `key` that costs 1, and counts it where it is allowed.
    ///
    /// # Errors
    ///
    /// [`Error::Key`] for a key that breaks the rules, [`Error::Config`] where the function that
    /// looks up its quotas gives two of one name, [`Error::Store`] where the store says that it
    /// will never decide on such a check ([`StoreErrorKind::Config`],
    /// [`StoreErrorKind::Unsupported`]). A store that fails is no error, see [`FailurePolicy`].
    pub fn check(&self, key: impl AsRef<str>) -> impl Future<Output = Result<Decision, Error>> {
        self.check_cost(key, 1)
    }

    /// Like [`check`](Self::check), for a request that costs `cost`. A cost of zero is allowed
    /// unless the key is blocked or denied, and takes nothing.
    ///
    /// # Errors
    ///
    /// As [`check`](Self::check).
    ///
    /// ```
    /// # use larder_core::{MemoryRateLimits, Quota, RateLimiter};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
    /// # let limiter =
    /// #     RateLimiter::builder(MemoryRateLimits::new()).quota(Quota::per_hour(100)).build()?;
    /// let export = limiter.check_cost("user:42", 30).await?;
    /// assert_eq!(export.remaining(), Some(70));
    /// # Ok(()) }
    /// ```
    pub async fn check_cost(&self, key: impl AsRef<str>, cost: u64) -> Result<Decision, Error> {
        let key = key.as_ref();
        // All that is large stands elsewhere, so that the compiler puts the decision where the
        // caller looks at it: what has just been written takes long to be moved.
        if let Some((quota, taken)) = self.take_now(key, cost) {
            return Ok(Decision::of_taken(quota, cost, taken));
        }
        match self.check_here(key, cost) {
            Some(result) => result,
            None => self.check_there(key, cost).await,
        }
    }

    /// What [`check_cost`](Self::check_cost) answers, where the store is in this process and needs
    /// no waiting; `None`, and nothing counted, where it is elsewhere.
    ///
    /// For callers that would have to put a future into a box.
    ///
    /// # Errors
    ///
    /// As [`check`](Self::check).
    ///
    /// ```
    /// # use larder_core::{MemoryRateLimits, Quota, RateLimiter};
    /// let limiter =
    ///     RateLimiter::builder(MemoryRateLimits::new()).quota(Quota::per_hour(100)).build()?;
    /// let decision = limiter.check_now("user:42", 1).transpose()?;
    /// assert_eq!(decision.and_then(|it| it.remaining()), Some(99));
    /// # Ok::<(), larder_core::Error>(())
    /// ```
    pub fn check_now(&self, key: impl AsRef<str>, cost: u64) -> Option<Result<Decision, Error>> {
        if !self.shared.is_in_process {
            return None;
        }
        let key = key.as_ref();
        if let Some((quota, taken)) = self.take_now(key, cost) {
            return Some(Ok(Decision::of_taken(quota, cost, taken)));
        }
        self.check_here(key, cost)
    }

    /// What [`check`](Self::check) would say now. Takes nothing, and is not counted.
    ///
    /// # Errors
    ///
    /// As [`check`](Self::check).
    ///
    /// ```
    /// # use larder_core::{MemoryRateLimits, Quota, RateLimiter};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
    /// # let limiter =
    /// #     RateLimiter::builder(MemoryRateLimits::new()).quota(Quota::per_hour(100)).build()?;
    /// assert_eq!(limiter.peek("user:42").await?.remaining(), Some(100));
    /// # Ok(()) }
    /// ```
    pub async fn peek(&self, key: impl AsRef<str>) -> Result<Decision, Error> {
        let key = key.as_ref();
        match self.decide_now(key, 1, false) {
            Some(result) => result,
            None => self.decide_there(key, 1, false).await,
        }
    }

    /// Gives back what a request took that should not count after all; of each quota no more than
    /// counts by now.
    ///
    /// Give back what [`Decision::taken`] tells: a decision without the store took nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Store`] where the store fails, and those of [`check`](Self::check).
    ///
    /// ```
    /// # use larder_core::{MemoryRateLimits, Quota, RateLimiter};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
    /// # let limiter =
    /// #     RateLimiter::builder(MemoryRateLimits::new()).quota(Quota::per_hour(100)).build()?;
    /// let decision = limiter.check("user:42").await?;
    /// limiter.refund("user:42", decision.taken()).await?;
    /// assert_eq!(limiter.peek("user:42").await?.remaining(), Some(100));
    /// # Ok(()) }
    /// ```
    pub async fn refund(&self, key: impl AsRef<str>, cost: u64) -> Result<(), Error> {
        if cost == 0 {
            return Ok(());
        }
        let (full, quotas) = self.subject(key.as_ref())?;
        self.change(&full, "refund", self.store.refund(&full, &quotas, cost), |_| ()).await
    }

    /// Ends what is under way, before the lease's time is over; see [`Quota::concurrent`] and
    /// [`Decision::lease`]. The [`Permit`] of [`acquire`](Self::acquire) does it by itself.
    ///
    /// # Errors
    ///
    /// As [`refund`](Self::refund).
    ///
    /// ```
    /// # use larder_core::{MemoryRateLimits, Quota, RateLimiter, seconds};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
    /// let limiter = RateLimiter::builder(MemoryRateLimits::new())
    ///     .quota(Quota::concurrent(4, seconds(30)))
    ///     .build()?;
    /// if let Some(lease) = limiter.check("user:42").await?.lease() {
    ///     // … the work …
    ///     limiter.release("user:42", lease).await?;
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn release(&self, key: impl AsRef<str>, lease: u64) -> Result<(), Error> {
        let (full, quotas) = self.subject(key.as_ref())?;
        let now = self.runtime.now();
        let here = |state: &mut KeyState| state.release(now, &quotas, lease);
        self.change(&full, "release", self.store.release(&full, &quotas, lease), here).await
    }

    /// Forgets what was counted against the quotas of `key`, and ends a block.
    ///
    /// # Errors
    ///
    /// As [`refund`](Self::refund).
    ///
    /// ```
    /// # use larder_core::{MemoryRateLimits, Quota, RateLimiter};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
    /// # let limiter =
    /// #     RateLimiter::builder(MemoryRateLimits::new()).quota(Quota::per_hour(1)).build()?;
    /// limiter.check("user:42").await?;
    /// limiter.reset("user:42").await?;
    /// assert!(limiter.check("user:42").await?.is_allowed());
    /// # Ok(()) }
    /// ```
    pub async fn reset(&self, key: impl AsRef<str>) -> Result<(), Error> {
        let (full, quotas) = self.subject(key.as_ref())?;
        let here = |state: &mut KeyState| *state = KeyState::default();
        self.change(&full, "reset", self.store.reset(&full, &quotas), here).await
    }

    /// Refuses everything of `key` for `time` from now, whatever was said before; a time of zero
    /// ends a block.
    ///
    /// Another limiter that refused the key just before goes on with what it remembers, which is
    /// no less strict.
    ///
    /// # Errors
    ///
    /// As [`refund`](Self::refund).
    ///
    /// ```
    /// # use larder_core::{MemoryRateLimits, Quota, RateLimiter, minutes};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
    /// # let limiter =
    /// #     RateLimiter::builder(MemoryRateLimits::new()).quota(Quota::per_hour(100)).build()?;
    /// limiter.block("198.51.100.7", minutes(15)).await?;
    /// assert!(!limiter.check("198.51.100.7").await?.is_allowed());
    /// # Ok(()) }
    /// ```
    pub async fn block(&self, key: impl AsRef<str>, time: Duration) -> Result<(), Error> {
        let full = self.full_key(key.as_ref())?;
        let now = self.runtime.now();
        let here = |state: &mut KeyState| state.block(now, time);
        self.change(&full, "block", self.store.block(&full, time), here).await
    }

    /// This limiter with other quotas, for everything that is called on the result: for one route,
    /// or a plan that had to be looked up. Counts of quotas of the same name are shared.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] where two of them have one name, [`Error::Store`] where the store cannot
    /// count by them.
    ///
    /// ```
    /// # use larder_core::{MemoryRateLimits, Quota, RateLimiter, minutes};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
    /// # let limiter =
    /// #     RateLimiter::builder(MemoryRateLimits::new()).quota(Quota::per_hour(100)).build()?;
    /// let sign_in = limiter.with_quotas([Quota::new(5, minutes(15)).named("sign-in")])?;
    /// assert_eq!(sign_in.check("203.0.113.9").await?.remaining(), Some(4));
    /// # Ok(()) }
    /// ```
    pub fn with_quotas(&self, quotas: impl IntoIterator<Item = Quota>) -> Result<Self, Error> {
        let quotas: Arc<[Quota]> = quotas.into_iter().collect();
        quotas::check(&quotas, "with_quotas")?;
        self.store.check_quotas(&quotas)?;
        Ok(Self { quotas: Quotas::Same(quotas), ..self.clone() })
    }

    /// This limiter on another clock and other timers: on Workers, those of the request at hand.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use larder_core::{MemoryRateLimits, Quota, RateLimiter, SystemRuntime};
    /// # let limiter =
    /// #     RateLimiter::builder(MemoryRateLimits::new()).quota(Quota::per_hour(100)).build()?;
    /// let same = limiter.on(Arc::new(SystemRuntime::default()));
    /// # Ok::<(), larder_core::Error>(())
    /// ```
    #[must_use]
    pub fn on(&self, runtime: Arc<dyn Runtime>) -> Self {
        let store = self.store.bound_to(&runtime).unwrap_or_else(|| Arc::clone(&self.store));
        Self { store, runtime, ..self.clone() }
    }

    /// The clock, timers and tasks that it uses.
    ///
    /// ```
    /// # use larder_core::{MemoryRateLimits, Quota, RateLimiter, Runtime};
    /// # let limiter =
    /// #     RateLimiter::builder(MemoryRateLimits::new()).quota(Quota::per_hour(100)).build()?;
    /// let now = limiter.runtime().now();
    /// # let _ = now;
    /// # Ok::<(), larder_core::Error>(())
    /// ```
    #[must_use]
    pub fn runtime(&self) -> &Arc<dyn Runtime> {
        &self.runtime
    }

    /// The store that it asks.
    ///
    /// ```
    /// # use larder_core::{MemoryRateLimits, Quota, RateLimitStore, RateLimiter};
    /// # let limiter =
    /// #     RateLimiter::builder(MemoryRateLimits::new()).quota(Quota::per_hour(100)).build()?;
    /// assert!(limiter.store().capabilities().in_process);
    /// # Ok::<(), larder_core::Error>(())
    /// ```
    #[must_use]
    pub fn store(&self) -> &Arc<dyn RateLimitStore> {
        &self.store
    }

    /// The limiter's name in metrics and logs.
    #[must_use]
    pub fn name(&self) -> &str {
        self.shared.meter.name()
    }

    /// What it has decided so far.
    #[must_use]
    pub fn stats(&self) -> RateLimitStats {
        self.shared.meter.stats()
    }

    async fn decide_there(&self, key: &str, cost: u64, takes: bool) -> Result<Decision, Error> {
        let (full, quotas) = self.subject(key)?;
        let decision = self.ask(&check_of(&full, &quotas, cost, takes), &quotas).await?;
        Ok(self.in_shadow(decision))
    }

    #[inline(never)]
    fn check_here(&self, key: &str, cost: u64) -> Option<Result<Decision, Error>> {
        self.decide_now(key, cost, true).inspect(|result| self.count(result))
    }

    #[inline(never)]
    fn check_there<'a>(
        &'a self,
        key: &'a str,
        cost: u64,
    ) -> BoxFuture<'a, Result<Decision, Error>> {
        Box::pin(async move {
            let result = self.decide_there(key, cost, true).await;
            self.count(&result);
            result
        })
    }

    /// Takes and counts where one quota allows it, in a store in this process, and no list has a say:
    /// what most checks are. The decision is put together by whoever called this, in its place.
    #[inline(always)]
    fn take_now(&self, key: &str, cost: u64) -> Option<(&Quota, Taken)> {
        let Quotas::Same(quotas) = &self.quotas else { return None };
        let [quota] = &**quotas else { return None };
        Some((quota, self.take_of(quota, key, cost)?))
    }

    #[inline(never)]
    fn take_of(&self, quota: &Quota, key: &str, cost: u64) -> Option<Taken> {
        let shared = &*self.shared;
        if !shared.takes_at_once {
            return None;
        }
        let Split { namespace, key } = self.namespace.split(key, shared.max_key_bytes)?;
        let taken = self.store.take_now(namespace, key, quota, cost)?;
        shared.meter.allowed();
        Some(taken)
    }

    /// Decides where that takes no waiting: by the lists, and by a store in this process. This
    /// allocates nothing, and leaves alone what other threads use at the same time.
    #[inline]
    fn decide_now(&self, key: &str, cost: u64, takes: bool) -> Option<Result<Decision, Error>> {
        let shared = &*self.shared;
        if let Some(decision) = shared.lists.decide(key) {
            return Some(Ok(self.in_shadow(decision)));
        }
        if !shared.is_in_process {
            return None;
        }
        let quotas = match self.quotas.of(key) {
            Ok(quotas) => quotas,
            Err(error) => return Some(Err(error)),
        };
        let mut buffer = KeyBuffer::default();
        let (max, store) = (shared.max_key_bytes, shared.store);
        let full = match self.namespace.full_key_in(&mut buffer, key, max, store) {
            Ok(full) => full,
            Err(error) => return Some(Err(error.into())),
        };
        let decision = self.store.check_now(&check_of(full, &quotas, cost, takes));
        if !shared.is_shadow {
            return decision.map(Ok);
        }
        decision.map(|decision| Ok(decision.shadowed()))
    }

    #[inline]
    fn count(&self, result: &Result<Decision, Error>) {
        if let Ok(decision) = result {
            self.shared.meter.decided(decision);
        }
    }

    #[inline]
    fn in_shadow(&self, decision: Decision) -> Decision {
        if self.shared.is_shadow { decision.shadowed() } else { decision }
    }

    /// Asks the store, unless its refusal is remembered, and without it where it fails.
    async fn ask(&self, check: &Check<'_>, quotas: &Arc<[Quota]>) -> Result<Decision, StoreError> {
        let asked = self.runtime.now();
        let refusals = self.shared.refusals.as_ref();
        if let Some(decision) = refusals.and_then(|refusals| refusals.answer(check, asked)) {
            return Ok(decision);
        }
        let mark = refusals.map(|refusals| (refusals, refusals.mark(check.key)));
        let meter = &self.shared.meter;
        let unheard = Unheard::new(self, check, quotas);
        let answer = self.within_timeout("check", self.store.check(check)).await;
        unheard.hear(&answer);
        match answer {
            Ok(decision) => {
                let answered = self.runtime.now();
                meter.store_answered(answered.since(asked));
                match mark {
                    // A cheaper request took what a refusal has told to be left.
                    Some((refusals, _)) if decision.taken() > 0 => {
                        refusals.allowed(check.key, quotas, answered);
                    }
                    Some((refusals, mark)) => {
                        refusals.remember(check, quotas, mark, &decision, (asked, answered));
                    }
                    None => {}
                }
                Ok(decision)
            }
            Err(error) if never_works(&error) => Err(error),
            Err(error) => {
                meter.degraded(self.shared.fallback.policy, &error);
                Ok(self.shared.fallback.decide(self.runtime.now(), check))
            }
        }
    }

    /// Changes what the store has of a key, and what is remembered and counted here; that also
    /// where the caller does not wait for the store, as it may do it all the same.
    async fn change(
        &self,
        key: &str,
        operation: &'static str,
        call: impl Future<Output = Result<(), StoreError>>,
        here: impl FnOnce(&mut KeyState),
    ) -> Result<(), Error> {
        self.shared.fallback.change(key, self.runtime.now(), here);
        let _forgets = Forgets { refusals: self.shared.refusals.as_ref(), key };
        Ok(self.within_timeout(operation, call).await?)
    }

    async fn within_timeout<T>(
        &self,
        operation: &'static str,
        call: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let result = match self.shared.timeout {
            None => call.await,
            Some(timeout) => match select(pin!(call), self.runtime.sleep(timeout)).await {
                Either::Left((result, _)) => result,
                Either::Right(_) => {
                    let detail =
                        format!("no answer within {timeout:?} (see RateLimiterBuilder::timeout)");
                    let (kind, store) = (StoreErrorKind::Timeout, self.store.name());
                    Err(StoreError::new(kind, store, operation, detail))
                }
            },
        };
        result.inspect_err(|error| self.shared.meter.store_failed(operation, error))
    }

    fn subject(&self, key: &str) -> Result<(String, Arc<[Quota]>), Error> {
        Ok((self.full_key(key)?, self.quotas.of(key)?.into_owned()))
    }

    fn full_key(&self, key: &str) -> Result<String, KeyError> {
        self.namespace.full_key(key, self.shared.max_key_bytes, self.shared.store)
    }
}

/// A limit that is set up wrongly is no outage: nobody would hear of it under a policy that allows.
fn never_works(error: &StoreError) -> bool {
    matches!(error.kind(), StoreErrorKind::Config | StoreErrorKind::Unsupported)
}

/// The check, with a number for the lease that it may come to hold.
#[inline]
fn check_of<'a>(key: &'a str, quotas: &'a [Quota], cost: u64, takes: bool) -> Check<'a> {
    let mut check = Check::new(key, quotas).cost(cost);
    check.takes = takes;
    if quotas.iter().any(|quota| quota.rule() == Rule::Concurrency) {
        check.lease = fastrand::u64(..);
    }
    check
}

/// Forgets a key's refusal when dropped.
struct Forgets<'a> {
    refusals: Option<&'a Refusals>,
    key: &'a str,
}

impl Drop for Forgets<'_> {
    fn drop(&mut self) {
        if let Some(refusals) = self.refusals {
            refusals.forget(self.key);
        }
    }
}

impl fmt::Debug for RateLimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimiter")
            .field("name", &self.name())
            .field("store", &self.store)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}
