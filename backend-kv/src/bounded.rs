//! Calls that end within a bounded time, and count against what a request may make.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use futures::future::{Either, select};
use larder_core::{Runtime, StoreError, StoreErrorKind};

use crate::error::Failure;

/// How many calls of one request are under way at once: Workers queues more than six.
pub(crate) const AT_ONCE: usize = 6;

/// Which store calls, what for, and how long it waits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call<'a> {
    pub(crate) runtime: &'a dyn Runtime,
    pub(crate) store: &'static str,
    pub(crate) operation: &'static str,
    pub(crate) timeout: Duration,
}

impl Call<'_> {
    /// Takes `calls` from the request's.
    pub(crate) fn take(&self, calls: usize) -> Result<(), StoreError> {
        if u32::try_from(calls).is_ok_and(|calls| self.runtime.take_calls(calls)) {
            return Ok(());
        }
        let detail = format!(
            "it takes {calls} more calls, and the request has made as many as it may; go on in \
             another request, or see WorkerRuntime::with_calls"
        );
        Err(self.error(StoreErrorKind::Exhausted, detail))
    }

    /// One call, that was taken already.
    pub(crate) async fn run<T>(
        &self,
        call: impl Future<Output = Result<T, Failure>> + Send,
    ) -> Result<Result<T, Failure>, StoreError> {
        match select(pin!(call), self.runtime.sleep(self.timeout)).await {
            Either::Left((outcome, _)) => Ok(outcome),
            Either::Right(_) => {
                let detail = format!("no answer within {:?}", self.timeout);
                Err(self.error(StoreErrorKind::Timeout, detail))
            }
        }
    }

    /// [`run`](Self::run), with the failure as the store's error.
    pub(crate) async fn answer<T>(
        &self,
        call: impl Future<Output = Result<T, Failure>> + Send,
    ) -> Result<T, StoreError> {
        self.run(call).await?.map_err(|failure| self.failed(failure))
    }

    pub(crate) fn failed(&self, failure: Failure) -> StoreError {
        failure.into_error(self.store, self.operation)
    }

    pub(crate) fn error(&self, kind: StoreErrorKind, detail: impl Into<String>) -> StoreError {
        StoreError::new(kind, self.store, self.operation, detail)
    }
}
