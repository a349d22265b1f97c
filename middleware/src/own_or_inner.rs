//! The body of a response that is a layer's own, or that of the service behind it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

pin_project! {
    #[project = OwnOrInnerProjection]
    pub(crate) enum OwnOrInner<B> {
        Own { bytes: Option<Bytes> },
        Inner { #[pin] body: B },
    }
}

impl<B: Body> OwnOrInner<B> {
    pub(crate) fn own(bytes: Bytes) -> Self {
        Self::Own { bytes: (!bytes.is_empty()).then_some(bytes) }
    }

    pub(crate) fn inner(body: B) -> Self {
        Self::Inner { body }
    }
}

impl<B> OwnOrInner<B> {
    pub(crate) fn is_own(&self) -> bool {
        matches!(self, Self::Own { .. })
    }
}

impl<B: Body> Body for OwnOrInner<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match self.project() {
            OwnOrInnerProjection::Own { bytes } => {
                Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes))))
            }
            OwnOrInnerProjection::Inner { body } => {
                let frame = ready!(body.poll_frame(context));
                // No copy, where the inner body has `Bytes` too.
                Poll::Ready(frame.map(|frame| {
                    frame.map(|frame| {
                        frame.map_data(|mut data| data.copy_to_bytes(data.remaining()))
                    })
                }))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own { bytes } => bytes.is_none(),
            Self::Inner { body } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own { bytes } => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Self::Inner { body } => body.size_hint(),
        }
    }
}
