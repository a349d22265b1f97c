use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::own_or_inner::OwnOrInner;

pin_project! {
    /// The body of a response that came through a [`SessionLayer`](super::SessionLayer): the inner
    /// service's, or that of an answer which the layer gave in its place.
    ///
    /// Its errors are those of the inner body; one of the layer's has none.
    pub struct SessionBody<B> {
        #[pin]
        source: OwnOrInner<B>,
    }
}

impl<B: Body> SessionBody<B> {
    pub(super) fn own(bytes: Bytes) -> Self {
        Self { source: OwnOrInner::own(bytes) }
    }

    pub(super) fn inner(body: B) -> Self {
        Self { source: OwnOrInner::inner(body) }
    }
}

impl<B: Body> Body for SessionBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        self.project().source.poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.source.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.source.size_hint()
    }
}

impl<B> fmt::Debug for SessionBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionBody").finish_non_exhaustive()
    }
}
