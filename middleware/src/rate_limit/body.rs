use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use larder_core::rate_limit::Permit;
use pin_project_lite::pin_project;

pin_project! {
    /// The body of a response that came through a [`RateLimit`](super::RateLimit): the inner
    /// service's, or that of a refusal.
    ///
    /// It holds the request's lease, where a quota counts leases, until it has ended or is dropped.
    /// Its errors are those of the inner body; that of a refusal has none.
    pub struct RateLimitBody<B> {
        #[pin]
        source: Source<B>,
    }
}

pin_project! {
    #[project = SourceProjection]
    enum Source<B> {
        Refusal { bytes: Option<Bytes> },
        Inner { #[pin] body: B, lease: Option<Box<Permit>> },
    }
}

impl<B: Body> RateLimitBody<B> {
    pub(super) fn refusal(bytes: Bytes) -> Self {
        Self { source: Source::Refusal { bytes: (!bytes.is_empty()).then_some(bytes) } }
    }

    pub(super) fn inner(body: B, lease: Option<Permit>) -> Self {
        Self { source: Source::Inner { body, lease: lease.map(Box::new) } }
    }
}

impl<B: Body> Body for RateLimitBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let (mut body, lease) = match self.project().source.project() {
            SourceProjection::Refusal { bytes } => {
                return Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes))));
            }
            SourceProjection::Inner { body, lease } => (body, lease),
        };
        let frame = ready!(body.as_mut().poll_frame(context));
        let goes_on = matches!(frame, Some(Ok(_))) && !body.is_end_stream();
        if !goes_on {
            *lease = None;
        }
        // No copy, where the inner body has `Bytes` too.
        Poll::Ready(frame.map(|frame| {
            frame.map(|frame| frame.map_data(|mut data| data.copy_to_bytes(data.remaining())))
        }))
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Refusal { bytes } => bytes.is_none(),
            Source::Inner { body, .. } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Refusal { bytes } => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Source::Inner { body, .. } => body.size_hint(),
        }
    }
}

impl<B> fmt::Debug for RateLimitBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source = match &self.source {
            Source::Refusal { .. } => "of a refusal",
            Source::Inner { lease: Some(_), .. } => "inner, with a lease",
            Source::Inner { lease: None, .. } => "inner",
        };
        f.debug_struct("RateLimitBody").field("source", &source).finish()
    }
}
