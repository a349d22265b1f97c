use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::request::Parts;
use http::{Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_service::Service;

use super::RateLimitBody;
use super::gate::{Entry, Passage};
use super::layer::Shared;

pin_project! {
    /// The future of a [`RateLimitService`](super::RateLimitService).
    pub struct RateLimitFuture<S, B>
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
        // The limiter is asked. The service and the body of the request wait for what it says.
        Entering { entering: BoxFuture<'static, (Parts, Entry)>, waiting: Option<(S, B)> },
        // The service is asked.
        Calling { #[pin] call: S::Future, passage: Option<Passage> },
        Refused { response: Option<Response<Bytes>> },
    }
}

impl<S: Service<Request<B>>, B> RateLimitFuture<S, B> {
    pub(super) fn entering(
        shared: Arc<Shared>,
        entering: BoxFuture<'static, (Parts, Entry)>,
        waiting: (S, B),
    ) -> Self {
        Self { shared, state: State::Entering { entering, waiting: Some(waiting) } }
    }

    pub(super) fn refused(shared: Arc<Shared>, response: Response<Bytes>) -> Self {
        Self { shared, state: State::Refused { response: Some(response) } }
    }

    pub(super) fn calling(shared: Arc<Shared>, call: S::Future, passage: Passage) -> Self {
        Self { shared, state: State::Calling { call, passage: Some(passage) } }
    }
}

impl<S, B, RB> Future for RateLimitFuture<S, B>
where
    S: Service<Request<B>, Response = Response<RB>>,
    RB: Body,
{
    type Output = Result<Response<RateLimitBody<RB>>, S::Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let next = match this.state.as_mut().project() {
                StateProjection::Entering { entering, waiting } => {
                    let (request, entry) = ready!(entering.as_mut().poll(context));
                    match entry {
                        Entry::Refused(response) => {
                            return Poll::Ready(Ok(response.map(RateLimitBody::refusal)));
                        }
                        Entry::Passes(passage) => {
                            // Empty only for a caller that polls a future which has ended.
                            let Some((mut service, body)) = waiting.take() else {
                                return Poll::Pending;
                            };
                            let call = service.call(Request::from_parts(request, body));
                            State::Calling { call, passage: Some(passage) }
                        }
                    }
                }
                StateProjection::Calling { call, passage } => {
                    let result = ready!(call.poll(context));
                    // Empty only for a caller that polls a future which has ended.
                    let Some(passage) = passage.take() else { return Poll::Pending };
                    return Poll::Ready(match result {
                        Ok(response) => {
                            let (mut head, body) = response.into_parts();
                            let lease = passage.answered(this.shared, &mut head);
                            Ok(Response::from_parts(head, RateLimitBody::inner(body, lease)))
                        }
                        Err(error) => {
                            passage.failed(this.shared);
                            Err(error)
                        }
                    });
                }
                StateProjection::Refused { response } => {
                    // Empty only for a caller that polls a future which has ended.
                    let Some(response) = response.take() else { return Poll::Pending };
                    return Poll::Ready(Ok(response.map(RateLimitBody::refusal)));
                }
            };
            this.state.set(next);
        }
    }
}

impl<S: Service<Request<B>>, B> fmt::Debug for RateLimitFuture<S, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimitFuture").finish_non_exhaustive()
    }
}
