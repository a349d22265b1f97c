use std::borrow::Cow;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use super::gate::{self, Entry};
use super::layer::Shared;
use super::{RateLimitBody, RateLimitFuture};
use crate::RequestRuntime;

/// A service with a [`RateLimit`](super::RateLimit) in front of it.
#[derive(Debug, Clone)]
pub struct RateLimitService<S> {
    inner: S,
    shared: Arc<Shared>,
}

impl<S> RateLimitService<S> {
    pub(super) fn new(inner: S, shared: Arc<Shared>) -> Self {
        Self { inner, shared }
    }
}

impl<S, B, RB> Service<Request<B>> for RateLimitService<S>
where
    S: Service<Request<B>, Response = Response<RB>> + Clone,
    RB: Body,
{
    type Response = Response<RateLimitBody<RB>>;
    type Error = S::Error;
    type Future = RateLimitFuture<S, B>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let shared = Arc::clone(&self.shared);
        let (mut head, body) = request.into_parts();
        let limiter = match RequestRuntime::of(&head.extensions) {
            Some(runtime) => Cow::Owned(self.shared.limiter.on(Arc::clone(runtime))),
            None => Cow::Borrowed(&self.shared.limiter),
        };
        match gate::enter_now(&shared, &limiter, &mut head) {
            Ok(Entry::Passes(passage)) => {
                let call = self.inner.call(Request::from_parts(head, body));
                RateLimitFuture::calling(shared, call, passage)
            }
            Ok(Entry::Refused(response)) => {
                // What the service reserved when it was polled to readiness is given back.
                self.inner = self.inner.clone();
                RateLimitFuture::refused(shared, response)
            }
            Err(waits) => {
                let (asked, limiter) = (Arc::clone(&shared), limiter.into_owned());
                let entering = Box::pin(async move {
                    let entry = gate::enter(&asked, &limiter, &mut head, waits).await;
                    (head, entry)
                });
                // The service that was polled to readiness is the one to be called.
                let ready = self.inner.clone();
                let ready = std::mem::replace(&mut self.inner, ready);
                RateLimitFuture::entering(shared, entering, (ready, body))
            }
        }
    }
}
