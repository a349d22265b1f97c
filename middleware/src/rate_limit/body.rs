use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use larder_core::rate_limit::Permit;
use pin_project_lite::pin_project;

use crate::own_or_inner::OwnOrInner;

pin_project! {
    /// The body of a response that came through a [`RateLimit`](super::RateLimit): the inner
    /// service's, or that of a refusal.
    ///
    /// It holds the request's lease, where a quota counts leases, until it has ended or is dropped.
    /// Its errors are those of the inner body; that of a refusal has none.
    pub struct RateLimitBody<B> {
        #[pin]
        source: OwnOrInner<B>,
        lease: Option<Box<Permit>>,
    }
}

impl<B: Body> RateLimitBody<B> {
    pub(super) fn refusal(bytes: Bytes) -> Self {
        Self { source: OwnOrInner::own(bytes), lease: None }
    }

    pub(super) fn inner(body: B, lease: Option<Permit>) -> Self {
        Self { source: OwnOrInner::inner(body), lease: lease.map(Box::new) }
    }
}

impl<B: Body> Body for RateLimitBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let mut this = self.project();
        let frame = ready!(this.source.as_mut().poll_frame(context));
        let goes_on = matches!(frame, Some(Ok(_))) && !this.source.is_end_stream();
        if !goes_on {
            *this.lease = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.source.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.source.size_hint()
    }
}

impl<B> fmt::Debug for RateLimitBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source = match (self.source.is_own(), &self.lease) {
            (true, _) => "of a refusal",
            (false, Some(_)) => "inner, with a lease",
            (false, None) => "inner",
        };
        f.debug_struct("RateLimitBody").field("source", &source).finish()
    }
}
