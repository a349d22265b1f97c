use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Method, Request, Response};
use http_body::Body;
use larder_core::Runtime as _;
use tower_service::Service;

use super::find::{Found, Place, find, find_now};
use super::future::Asked;
use super::layer::Shared;
use super::{ResponseBody, ResponseFuture};
use crate::RequestRuntime;
use crate::policy::{Bypass, Use, may_use};

/// A service with a [`ResponseCache`](super::ResponseCache) in front of it.
#[derive(Debug, Clone)]
pub struct ResponseCacheService<S> {
    inner: S,
    shared: Arc<Shared>,
}

impl<S> ResponseCacheService<S> {
    pub(super) fn new(inner: S, shared: Arc<Shared>) -> Self {
        Self { inner, shared }
    }
}

impl<S, B, RB> Service<Request<B>> for ResponseCacheService<S>
where
    S: Service<Request<B>, Response = Response<RB>> + Clone,
    RB: Body,
{
    type Response = Response<ResponseBody<RB>>;
    type Error = S::Error;
    type Future = ResponseFuture<S, B>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let shared = match RequestRuntime::of(request.extensions()) {
            Some(runtime) => Arc::new(self.shared.on(runtime)),
            None => Arc::clone(&self.shared),
        };
        let meter = &shared.seen.meter;
        let (head, body) = request.into_parts();
        let usage = may_use(&head.method, &head.headers, shared.settings.rules);
        let (usage, key) = match usage.map(|usage| (usage, shared.settings.keys.of(&head))) {
            Ok((usage, Some(key))) if usage != Use::Neither => (usage, key),
            other => {
                let asked = match other {
                    Ok((_, Some(_))) => {
                        meter.miss();
                        Asked::OnAMiss(None)
                    }
                    Ok((_, None)) => {
                        meter.bypass(Bypass::Key);
                        Asked::PastTheCache
                    }
                    Err(why) => {
                        meter.bypass(why);
                        Asked::PastTheCache
                    }
                };
                let call = self.inner.call(Request::from_parts(head, body));
                return ResponseFuture::calling(shared, call, asked);
            }
        };
        let mut place = Place::of(key);
        if let Some(stored) = find_now(&shared, &head, &mut place, usage) {
            let now = shared.settings.cache.runtime().recent();
            if let Some(hit) = stored.into_hit(head.method == Method::HEAD, now) {
                meter.hit();
                // What the service reserved when it was polled to readiness is given back.
                self.inner = self.inner.clone();
                return ResponseFuture::answered(shared, hit);
            }
        }
        let look = Arc::clone(&shared);
        let mut head = head;
        let find = Box::pin(async move {
            let found: Found = find(&look, &mut head, place, usage).await;
            (head, found)
        });
        // The service that was polled to readiness is the one to be called.
        let ready = self.inner.clone();
        let ready = std::mem::replace(&mut self.inner, ready);
        ResponseFuture::finding(shared, find, (ready, body))
    }
}
