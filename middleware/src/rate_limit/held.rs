//! What a request has taken, for as long as it may have to be given back.

use std::future::Future;

use futures::FutureExt;
use larder_core::{RateLimitStore as _, RateLimiter, Runtime as _};

/// A lease, which ends when this is dropped, and the cost, which may be given back before.
pub(super) struct Held {
    limiter: RateLimiter,
    key: String,
    taken: u64,
    lease: Option<u64>,
}

impl Held {
    pub(super) fn new(limiter: RateLimiter, key: String, taken: u64, lease: Option<u64>) -> Self {
        Self { limiter, key, taken, lease }
    }

    /// How much was taken.
    pub(super) fn taken(&self) -> u64 {
        self.taken
    }

    /// Gives back so much of it. Nobody waits for that.
    pub(super) fn refund(&self, cost: u64) {
        let cost = cost.min(self.taken);
        if cost > 0 {
            let (limiter, key) = (self.limiter.clone(), self.key.clone());
            self.start(async move {
                // Counted and said by the limiter; what was taken counts for a window longer.
                let _ = limiter.refund(key, cost).await;
            });
        }
    }

    /// Whether there is anything to hold on to until the body has ended.
    pub(super) fn has_lease(&self) -> bool {
        self.lease.is_some()
    }

    /// At once where the counts are here: whoever has got the response may ask again.
    fn start(&self, task: impl Future<Output = ()> + Send + 'static) {
        let in_process = self.limiter.store().capabilities().in_process;
        let mut task = task.boxed();
        if !in_process || (&mut task).now_or_never().is_none() {
            self.limiter.runtime().spawn(task);
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(lease) = self.lease.take() {
            let (limiter, key) = (self.limiter.clone(), std::mem::take(&mut self.key));
            self.start(async move {
                // Counted and said by the limiter; the lease ends by itself.
                let _ = limiter.release(key, lease).await;
            });
        }
    }
}
