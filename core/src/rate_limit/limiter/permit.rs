//! A lease that ends with the scope that holds it.

use std::fmt;

use futures::FutureExt;

use super::RateLimiter;
use crate::error::Error;
use crate::rate_limit::Decision;

/// Leave to go on, from [`RateLimiter::acquire`]; dropped, it ends the lease that it holds.
///
/// A lease that a store in this process keeps has ended when the drop returns. Any other is ended
/// by a task of the limiter's [`Runtime`](crate::Runtime), so shortly after the drop: on Tokio where
/// its runtime is running, on Workers within what a request may do after its answer (the limiter is
/// then one [on](RateLimiter::on) that request's runtime), in a browser while the page is open.
/// Where that does not happen, as the process is killed or the store does not answer, the lease
/// ends by itself when its life is over, see [`Quota::concurrent`](crate::Quota::concurrent); until
/// then it counts.
///
/// [`release`](Self::release) waits for the store, and says whether it took it.
#[must_use = "dropped, it ends its lease"]
pub struct Permit {
    limiter: RateLimiter,
    key: String,
    decision: Decision,
    /// What is still to be ended.
    lease: Option<u64>,
}

impl RateLimiter {
    /// [Checks](Self::check) a request of `key`, and holds what quotas that count what is under way
    /// give it until the [`Permit`] is dropped. What counts against other quotas stays counted.
    ///
    /// The refusal is that of the check. Where the caller goes away while the store is asked, or the
    /// store is too slow for it, a task ends the lease that it may have given all the same.
    ///
    /// # Errors
    ///
    /// As [`check`](Self::check).
    ///
    /// ```
    /// # use larder_core::{MemoryRateLimits, Quota, RateLimiter, minutes};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
    /// let exports = RateLimiter::builder(MemoryRateLimits::new())
    ///     .quota(Quota::concurrent(1, minutes(5)))
    ///     .build()?;
    ///
    /// if let Ok(_permit) = exports.acquire("user:42").await? {
    ///     let refused = exports.acquire("user:42").await?.unwrap_err();
    ///     assert_eq!(refused.refused_by(), Some("concurrent"));
    /// }
    /// assert!(exports.acquire("user:42").await?.is_ok());
    /// # Ok(()) }
    /// ```
    pub async fn acquire(&self, key: impl AsRef<str>) -> Result<Result<Permit, Decision>, Error> {
        let key = key.as_ref();
        let decision = self.check(key).await?;
        if !decision.is_allowed() {
            return Ok(Err(decision));
        }
        Ok(Ok(self.permit(key, decision)))
    }

    /// Holds what a decision on `key` gave, until the [`Permit`] is dropped: for a check with a cost,
    /// or by [`check_now`](Self::check_now).
    ///
    /// ```
    /// # use larder_core::{MemoryRateLimits, Quota, RateLimiter, minutes};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
    /// # let exports = RateLimiter::builder(MemoryRateLimits::new())
    /// #     .quota(Quota::concurrent(3, minutes(5)))
    /// #     .build()?;
    /// let decision = exports.check_cost("user:42", 2).await?;
    /// let permit = exports.permit("user:42", decision);
    /// drop(permit);
    /// assert_eq!(exports.peek("user:42").await?.remaining(), Some(3));
    /// # Ok(()) }
    /// ```
    pub fn permit(&self, key: impl Into<String>, decision: Decision) -> Permit {
        let lease = decision.lease();
        Permit { limiter: self.clone(), key: key.into(), decision, lease }
    }
}

impl Permit {
    /// What the check decided.
    ///
    /// ```
    /// # use larder_core::{MemoryRateLimits, Quota, RateLimiter, minutes};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
    /// # let exports = RateLimiter::builder(MemoryRateLimits::new())
    /// #     .quota(Quota::concurrent(3, minutes(5)))
    /// #     .build()?;
    /// if let Ok(permit) = exports.acquire("user:42").await? {
    ///     assert_eq!(permit.decision().remaining(), Some(2));
    /// }
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn decision(&self) -> &Decision {
        &self.decision
    }

    /// Ends the lease, and waits until the store has done it.
    ///
    /// # Errors
    ///
    /// As [`RateLimiter::release`]; the lease then ends when its life is over.
    ///
    /// ```
    /// # use larder_core::{MemoryRateLimits, Quota, RateLimiter, minutes};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
    /// # let exports = RateLimiter::builder(MemoryRateLimits::new())
    /// #     .quota(Quota::concurrent(1, minutes(5)))
    /// #     .build()?;
    /// if let Ok(permit) = exports.acquire("user:42").await? {
    ///     permit.release().await?;
    /// }
    /// assert!(exports.acquire("user:42").await?.is_ok());
    /// # Ok(()) }
    /// ```
    pub async fn release(mut self) -> Result<(), Error> {
        let Some(lease) = self.lease else { return Ok(()) };
        let result = self.limiter.release(&self.key, lease).await;
        // Only now: whoever does not wait for it drops this, which ends the lease as well.
        self.lease = None;
        result
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let Some(lease) = self.lease.take() else { return };
        let (limiter, key) = (self.limiter.clone(), std::mem::take(&mut self.key));
        let is_near = limiter.store.capabilities().in_process;
        let mut release = async move {
            if let Err(error) = limiter.release(&key, lease).await {
                let limiter = limiter.name();
                tracing::debug!(limiter, %error, "a lease is left to end when its life is over");
            }
        }
        .boxed();
        if !is_near || (&mut release).now_or_never().is_none() {
            self.limiter.runtime.spawn(release);
        }
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit")
            .field("key", &self.key)
            .field("decision", &self.decision)
            .finish_non_exhaustive()
    }
}
