//! How a limiter decides: at once where it can, else by asking its store.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::BoxFuture;

use super::RateLimiter;
use super::quotas::Quotas;
use super::unheard::Unheard;
use crate::error::{Error, StoreError, StoreErrorKind};
use crate::key::{KeyBuffer, Split};
use crate::rate_limit::rule::Taken;
use crate::rate_limit::{Check, Decision, Quota, Rule};

impl RateLimiter {
    /// Decides on a request of `key` that costs 1, and counts it where it is allowed.
    ///
    /// # Errors
    ///
    /// [`Error::Key`] for a key that breaks the rules, [`Error::Config`] where the function that
    /// looks up its quotas gives two of one name, [`Error::Store`] where the store says that it
    /// will never decide on such a check ([`StoreErrorKind::Config`],
    /// [`StoreErrorKind::Unsupported`]). A store that fails is no error, see
    /// [`FailurePolicy`](super::FailurePolicy).
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
    pub fn check_cost(
        &self,
        key: impl AsRef<str>,
        cost: u64,
    ) -> impl Future<Output = Result<Decision, Error>> {
        Checking { limiter: self, key: Some(key), cost, there: None }
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
            None => self.decide_there(self.subject(key)?, 1, false).await,
        }
    }

    async fn decide_there(
        &self,
        (full, quotas): (String, Arc<[Quota]>),
        cost: u64,
        takes: bool,
    ) -> Result<Decision, Error> {
        let decision = self.ask(&check_of(&full, &quotas, cost, takes), &quotas).await?;
        Ok(self.in_shadow(decision))
    }

    #[inline(never)]
    fn check_here(&self, key: &str, cost: u64) -> Option<Result<Decision, Error>> {
        self.decide_now(key, cost, true).inspect(|result| self.count(result))
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
}

/// A check that begins when it is polled.
///
/// By hand, as the compiler does not put the future of an `async fn` into its caller: the decision,
/// just written in parts, would be moved, which a processor waits for.
struct Checking<'a, K> {
    limiter: &'a RateLimiter,
    key: Option<K>,
    cost: u64,
    /// What waits for the store.
    there: Option<BoxFuture<'a, Result<Decision, Error>>>,
}

/// Nothing in it is pinned in its place.
impl<K> Unpin for Checking<'_, K> {}

impl<K: AsRef<str>> Future for Checking<'_, K> {
    type Output = Result<Decision, Error>;

    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let limiter = self.limiter;
        if let Some(key) = &self.key
            && let Some((quota, taken)) = limiter.take_now(key.as_ref(), self.cost)
        {
            let cost = self.cost;
            self.key = None;
            return Poll::Ready(Ok(Decision::of_taken(quota, cost, taken)));
        }
        self.poll_at_length(context)
    }
}

impl<K: AsRef<str>> Checking<'_, K> {
    #[inline(never)]
    fn poll_at_length(&mut self, context: &mut Context<'_>) -> Poll<Result<Decision, Error>> {
        let (limiter, cost) = (self.limiter, self.cost);
        if let Some(key) = self.key.take() {
            if let Some(result) = limiter.check_here(key.as_ref(), cost) {
                return Poll::Ready(result);
            }
            let subject = limiter.subject(key.as_ref());
            self.there = Some(Box::pin(async move {
                let result = limiter.decide_there(subject?, cost, true).await;
                limiter.count(&result);
                result
            }));
        }
        match &mut self.there {
            Some(there) => there.as_mut().poll(context),
            // Only for a caller that polls a future which has ended.
            None => Poll::Pending,
        }
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
