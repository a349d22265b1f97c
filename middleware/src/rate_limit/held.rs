//! What a request has taken, for as long as it may have to be given back.

use compact_str::CompactString;
use futures::FutureExt;
use larder_core::rate_limit::{Decision, Permit};
use larder_core::{RateLimitStore as _, RateLimiter, Runtime as _};

/// A lease, which ends when this is dropped, and the cost, which may be given back before.
pub(super) struct Held {
    limiter: RateLimiter,
    key: CompactString,
    taken: u64,
    permit: Option<Permit>,
}

impl Held {
    pub(super) fn new(limiter: &RateLimiter, key: CompactString, decision: &Decision) -> Self {
        let has_lease = decision.lease().is_some();
        let permit = has_lease.then(|| limiter.permit(key.as_str(), decision.clone()));
        Self { limiter: limiter.clone(), key, taken: decision.taken(), permit }
    }

    /// How much was taken.
    pub(super) fn taken(&self) -> u64 {
        self.taken
    }

    /// Gives back so much of it. Nobody waits for that; but where the counts are here it is done at
    /// once, as whoever has got the response may ask again.
    pub(super) fn refund(&self, cost: u64) {
        let cost = cost.min(self.taken);
        if cost == 0 {
            return;
        }
        let (limiter, key) = (self.limiter.clone(), self.key.clone());
        let in_process = limiter.store().capabilities().in_process;
        let mut refund = async move {
            // Counted and said by the limiter; what was taken counts until its window is over.
            let _ = limiter.refund(key, cost).await;
        }
        .boxed();
        if !in_process || (&mut refund).now_or_never().is_none() {
            self.limiter.runtime().spawn(refund);
        }
    }

    /// The lease, for as long as the response's body lasts.
    pub(super) fn into_lease(self) -> Option<Permit> {
        self.permit
    }
}
