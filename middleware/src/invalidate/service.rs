use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::{BoxFuture, Either, join_all, select};
use http::{HeaderName, HeaderValue, Request, Response, request, response};
use larder_core::{Cache, Runtime as _, Targets};
use tower_service::Service;

use super::InvalidateFuture;
use super::layer::Shared;
use super::meter::Outcome;
use crate::RequestRuntime;

/// `done`, `late` or `failed`.
const X_INVALIDATION: HeaderName = HeaderName::from_static("x-invalidation");

/// A service with an [`Invalidate`](super::Invalidate) in front of it.
#[derive(Debug, Clone)]
pub struct InvalidateService<S> {
    inner: S,
    shared: Arc<Shared>,
}

impl<S> InvalidateService<S> {
    pub(super) fn new(inner: S, shared: Arc<Shared>) -> Self {
        Self { inner, shared }
    }
}

impl<S, B, RB> Service<Request<B>> for InvalidateService<S>
where
    S: Service<Request<B>, Response = Response<RB>>,
    S::Future: Send + 'static,
    S::Error: 'static,
    RB: Send + 'static,
{
    type Response = Response<RB>;
    type Error = S::Error;
    type Future = InvalidateFuture<S::Future, Result<Response<RB>, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        if request.method().is_safe() {
            return InvalidateFuture::passing(self.inner.call(request));
        }
        let shared = match RequestRuntime::of(request.extensions()) {
            Some(runtime) => Arc::new(self.shared.on(runtime)),
            None => Arc::clone(&self.shared),
        };
        let (head, body) = request.into_parts();
        // The request itself is the service's by the time that its answer is known.
        let call = self.inner.call(Request::from_parts(head.clone(), body));
        let (runtime, finish) = (Arc::clone(shared.cache.runtime()), shared.finish);
        let change = Box::pin(async move {
            let (mut response, body) = call.await?.into_parts();
            invalidate(&shared, &head, &mut response).await;
            Ok(Response::from_parts(response, body))
        });
        InvalidateFuture::changing(change, runtime, finish)
    }
}

async fn invalidate(shared: &Shared, request: &request::Parts, response: &mut response::Parts) {
    if !(response.status.is_success() || response.status.is_redirection()) {
        return;
    }
    let stale = shared.stale(request, response);
    if stale.is_empty() {
        return;
    }
    let runtime = shared.cache.runtime();
    let meter = Arc::clone(&shared.meter);
    let started = runtime.now();
    let clock = Arc::clone(runtime);
    let removal: BoxFuture<'static, Outcome> = Box::pin(async move {
        let outcome = remove(stale).await;
        meter.ended(outcome, clock.now().since(started));
        outcome
    });
    let outcome = match select(removal, runtime.sleep(shared.timeout)).await {
        Either::Left((outcome, _)) => outcome,
        Either::Right(((), removal)) => {
            shared.meter.late();
            runtime.spawn(Box::pin(async move {
                removal.await;
            }));
            Outcome::Late
        }
    };
    if shared.tells {
        let value = HeaderValue::from_static(outcome.as_str());
        response.headers.insert(X_INVALIDATION, value);
    }
}

async fn remove(stale: Vec<(Cache, Targets)>) -> Outcome {
    let removals = stale.into_iter().map(async |(cache, targets)| {
        let result = cache.invalidate(&targets).await;
        if let Err(error) = &result {
            tracing::warn!(cache = cache.name(), %error, "after a change, an entry may be stale");
        }
        result.is_ok()
    });
    match join_all(removals).await.into_iter().all(|is_done| is_done) {
        true => Outcome::Done,
        false => Outcome::Failed,
    }
}
