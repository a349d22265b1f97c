use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::{BoxFuture, select};
use larder_core::Runtime;
use pin_project_lite::pin_project;

pin_project! {
    /// The future of an [`InvalidateService`](super::InvalidateService). Dropped before its end, it lets
    /// the service and the invalidation go on in the background.
    pub struct InvalidateFuture<F, R> {
        #[pin]
        state: State<F, R>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<F, R> {
        // The request changes nothing.
        Passing { #[pin] call: F },
        Changing { change: Change<R> },
    }
}

impl<F, R> InvalidateFuture<F, R> {
    pub(super) fn passing(call: F) -> Self {
        Self { state: State::Passing { call } }
    }

    pub(super) fn changing(
        work: BoxFuture<'static, R>,
        runtime: Arc<dyn Runtime>,
        finish: Duration,
    ) -> Self
    where
        R: 'static,
    {
        let abandoned = Box::new(move |work: BoxFuture<'static, R>| {
            if finish.is_zero() {
                return;
            }
            let limit = runtime.sleep(finish);
            runtime.spawn(Box::pin(async move {
                drop(select(work, limit).await);
            }));
        });
        Self { state: State::Changing { change: Change { work: Some(work), abandoned } } }
    }
}

impl<F: Future<Output = R>, R> Future for InvalidateFuture<F, R> {
    type Output = R;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<R> {
        match self.project().state.project() {
            StateProjection::Passing { call } => call.poll(context),
            StateProjection::Changing { change } => {
                // Taken, so that what has ended or panicked is not gone on with.
                let Some(mut work) = change.work.take() else { return Poll::Pending };
                let polled = work.as_mut().poll(context);
                if polled.is_pending() {
                    change.work = Some(work);
                }
                polled
            }
        }
    }
}

/// A call of the service for an unsafe request, and the invalidation after it.
struct Change<R> {
    /// Empty when it has ended.
    work: Option<BoxFuture<'static, R>>,
    abandoned: Box<dyn Fn(BoxFuture<'static, R>) + Send + Sync>,
}

impl<R> Drop for Change<R> {
    fn drop(&mut self) {
        if let Some(work) = self.work.take() {
            (self.abandoned)(work);
        }
    }
}

impl<F, R> fmt::Debug for InvalidateFuture<F, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InvalidateFuture").finish_non_exhaustive()
    }
}
