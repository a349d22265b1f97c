use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response};
use http_body::Body;
use larder_core::Runtime as _;
use pin_project_lite::pin_project;
use tower_service::Service;

use super::find::{Found, Miss};
use super::layer::Shared;
use super::{ResponseBody, X_CACHE, record};
use crate::policy::Bypass;

pin_project! {
    /// The future of a [`ResponseCacheService`](super::ResponseCacheService).
    pub struct ResponseFuture<S, B>
    where
        S: Service<Request<B>>,
    {
        shared: Arc<Shared>,
        #[pin]
        state: State<S, B>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<S, B>
    where
        S: Service<Request<B>>,
    {
        // The cache is asked. The service and the body of the request wait for what it says.
        Finding { find: BoxFuture<'static, (Parts, Found)>, held: Option<(S, B)> },
        // The service is asked.
        Calling { #[pin] call: S::Future, asked: Asked },
        // The cache had the answer at hand.
        Answered { hit: Option<Response<Bytes>> },
    }
}

/// Why the service is asked.
pub(super) enum Asked {
    PastTheCache,
    /// With a miss the answer is of use to others.
    OnAMiss(Option<Box<Miss>>),
}

impl<S: Service<Request<B>>, B> ResponseFuture<S, B> {
    pub(super) fn finding(
        shared: Arc<Shared>,
        find: BoxFuture<'static, (Parts, Found)>,
        held: (S, B),
    ) -> Self {
        Self { shared, state: State::Finding { find, held: Some(held) } }
    }

    pub(super) fn answered(shared: Arc<Shared>, hit: Response<Bytes>) -> Self {
        Self { shared, state: State::Answered { hit: Some(hit) } }
    }

    pub(super) fn calling(shared: Arc<Shared>, call: S::Future, asked: Asked) -> Self {
        Self { shared, state: State::Calling { call, asked } }
    }
}

impl<S, B, RB> Future for ResponseFuture<S, B>
where
    S: Service<Request<B>, Response = Response<RB>>,
    RB: Body,
{
    type Output = Result<Response<ResponseBody<RB>>, S::Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let meter = &this.shared.seen.meter;
        loop {
            let next = match this.state.as_mut().project() {
                StateProjection::Finding { find, held } => {
                    let (request, found) = ready!(find.as_mut().poll(context));
                    let asked = match found {
                        Found::Hit(stored) => {
                            let is_head = request.method == Method::HEAD;
                            let now = this.shared.settings.cache.runtime().recent();
                            let stored = Arc::unwrap_or_clone(stored);
                            match stored.into_hit(is_head, now) {
                                Some(hit) => {
                                    meter.hit();
                                    return Poll::Ready(Ok(hit.map(ResponseBody::whole)));
                                }
                                None => Asked::OnAMiss(None),
                            }
                        }
                        Found::Miss(miss) => Asked::OnAMiss(miss),
                        Found::NoPlace => Asked::PastTheCache,
                    };
                    match asked {
                        Asked::OnAMiss(_) => meter.miss(),
                        Asked::PastTheCache => meter.bypass(Bypass::Key),
                    }
                    // Empty only for a caller that polls a future which has ended.
                    let Some((mut service, body)) = held.take() else { return Poll::Pending };
                    let call = service.call(Request::from_parts(request, body));
                    State::Calling { call, asked }
                }
                StateProjection::Calling { call, asked } => {
                    let result = ready!(call.poll(context));
                    let asked = std::mem::replace(asked, Asked::PastTheCache);
                    return Poll::Ready(pass_on(result, asked, this.shared));
                }
                StateProjection::Answered { hit } => {
                    // Empty only for a caller that polls a future which has ended.
                    let Some(hit) = hit.take() else { return Poll::Pending };
                    return Poll::Ready(Ok(hit.map(ResponseBody::whole)));
                }
            };
            this.state.set(next);
        }
    }
}

fn pass_on<RB: Body, E>(
    result: Result<Response<RB>, E>,
    asked: Asked,
    shared: &Arc<Shared>,
) -> Result<Response<ResponseBody<RB>>, E> {
    let (miss, x_cache) = match asked {
        Asked::PastTheCache => (None, "BYPASS"),
        Asked::OnAMiss(miss) => (miss, "MISS"),
    };
    let response = match result {
        Ok(response) => response,
        Err(error) => {
            if let Some(miss) = miss {
                record::failed(*miss, shared);
            }
            return Err(error);
        }
    };
    let (mut head, body) = response.into_parts();
    let recording = miss.and_then(|miss| record::begin(*miss, shared, &head, &body));
    head.headers.insert(X_CACHE, HeaderValue::from_static(x_cache));
    Ok(Response::from_parts(head, ResponseBody::inner(body, recording)))
}

impl<S: Service<Request<B>>, B> fmt::Debug for ResponseFuture<S, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
