//! A lease whose holder does not know of it.

use std::sync::Arc;

use super::RateLimiter;
use crate::error::{StoreError, StoreErrorKind};
use crate::rate_limit::{Check, Quota, Rule};

/// A check that may come to hold a lease, while its answer is out. Dropped, it ends that lease: the
/// store may have given it, and nobody has heard.
pub(super) struct Unheard<'a> {
    limiter: &'a RateLimiter,
    check: &'a Check<'a>,
    quotas: &'a Arc<[Quota]>,
    may_hold: bool,
}

impl<'a> Unheard<'a> {
    pub(super) fn new(
        limiter: &'a RateLimiter,
        check: &'a Check<'a>,
        quotas: &'a Arc<[Quota]>,
    ) -> Self {
        let may_hold = check.takes && quotas.iter().any(|quota| quota.rule() == Rule::Concurrency);
        Self { limiter, check, quotas, may_hold }
    }

    /// Leaves the lease to whoever hears of it, where there is one to hear of.
    pub(super) fn hear<T>(mut self, answer: &Result<T, StoreError>) {
        use StoreErrorKind::{Other, Timeout, Unavailable};
        let decided_for_nobody =
            |error: &StoreError| matches!(error.kind(), Timeout | Unavailable | Other);
        self.may_hold &= answer.as_ref().is_err_and(decided_for_nobody);
    }
}

impl Drop for Unheard<'_> {
    fn drop(&mut self) {
        if !self.may_hold {
            return;
        }
        let (limiter, quotas) = (self.limiter.clone(), Arc::clone(self.quotas));
        let (key, lease) = (self.check.key.to_owned(), self.check.lease);
        // At the store alone: the policy for its failure may have given one of this number here.
        self.limiter.runtime.spawn(Box::pin(async move {
            let release = limiter.store.release(&key, &quotas, lease);
            if let Err(error) = limiter.within_timeout("release", release).await {
                let limiter = limiter.name();
                tracing::debug!(limiter, %error, "a lease is left to end when its life is over");
            }
        }));
    }
}
