//! How many calls are under way: bounded, and waited for when the store closes.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use larder_core::{StoreError, StoreErrorKind};
use tokio::sync::Notify;

use crate::error::STORE;
use crate::link::closed;
use crate::meter::Meter;

pub(crate) struct Outstanding {
    count: AtomicUsize,
    limit: usize,
    closed: AtomicBool,
    closing: Notify,
    idle: Notify,
    meter: Meter,
}

impl Outstanding {
    pub(crate) fn new(limit: usize, meter: Meter) -> Self {
        let (count, closed) = (AtomicUsize::new(0), AtomicBool::new(false));
        Self { count, limit, closed, closing: Notify::new(), idle: Notify::new(), meter }
    }

    /// Counts one call until the guard is dropped.
    pub(crate) fn enter(&self, operation: &'static str) -> Result<Entered<'_>, StoreError> {
        // Counted first and checked then, so that `close` sees every call that goes on.
        let before = self.count.fetch_add(1, Ordering::SeqCst);
        let entered = Entered(self);
        if self.closed.load(Ordering::SeqCst) {
            return Err(closed(operation));
        }
        if before >= self.limit {
            self.meter.overloaded();
            let detail = format!(
                "{} calls wait for Redis already (see RedisStoreBuilder::max_outstanding)",
                self.limit
            );
            return Err(StoreError::new(StoreErrorKind::Unavailable, STORE, operation, detail));
        }
        Ok(entered)
    }

    /// Completes when no further call is let in.
    pub(crate) async fn closed(&self) {
        let closing = self.closing.notified();
        let mut closing = std::pin::pin!(closing);
        closing.as_mut().enable();
        if !self.closed.load(Ordering::SeqCst) {
            closing.await;
        }
    }

    /// Lets no further call in, and waits for those under way; how many there still are when
    /// `patience` ends.
    pub(crate) async fn close(&self, patience: Duration) -> usize {
        self.closed.store(true, Ordering::SeqCst);
        self.closing.notify_waiters();
        let drained = async {
            loop {
                let idle = self.idle.notified();
                let mut idle = std::pin::pin!(idle);
                idle.as_mut().enable();
                if self.count.load(Ordering::SeqCst) == 0 {
                    return;
                }
                idle.await;
            }
        };
        let _ = tokio::time::timeout(patience, drained).await;
        self.count.load(Ordering::SeqCst)
    }
}

pub(crate) struct Entered<'a>(&'a Outstanding);

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        let last = self.0.count.fetch_sub(1, Ordering::SeqCst) == 1;
        if last && self.0.closed.load(Ordering::SeqCst) {
            self.0.idle.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_call_too_many_is_refused() {
        let calls = Outstanding::new(2, Meter::new("redis://test"));
        let first = calls.enter("get").unwrap();
        let _second = calls.enter("get").unwrap();
        let error = calls.enter("get").map(drop).unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Unavailable);
        assert!(error.to_string().contains("max_outstanding"), "{error}");
        drop(first);
        assert!(calls.enter("get").is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn closing_waits_for_what_is_under_way_and_no_longer_than_told() {
        let calls = Outstanding::new(2, Meter::new("redis://test"));
        let entered = calls.enter("get").unwrap();
        assert_eq!(calls.close(Duration::from_secs(1)).await, 1);
        let refused = calls.enter("get").map(drop).unwrap_err();
        assert_eq!(refused.kind(), StoreErrorKind::Closed);

        let (left, ()) = tokio::join!(calls.close(Duration::MAX), async { drop(entered) });
        assert_eq!(left, 0);
    }
}
