use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::record::Recording;

pin_project! {
    /// The body of a response that came through the [`ResponseCache`](super::ResponseCache): a
    /// stored one, or the inner service's, of which a copy may be taken as it passes.
    ///
    /// Its errors are those of the inner body; a stored one has none.
    pub struct ResponseBody<B> {
        #[pin]
        source: Source<B>,
    }
}

pin_project! {
    #[project = SourceProjection]
    enum Source<B> {
        Whole { bytes: Option<Bytes> },
        Inner { #[pin] body: B, recording: Option<Recording> },
    }
}

impl<B: Body> ResponseBody<B> {
    pub(super) fn whole(bytes: Bytes) -> Self {
        Self { source: Source::Whole { bytes: (!bytes.is_empty()).then_some(bytes) } }
    }

    pub(super) fn inner(body: B, recording: Option<Recording>) -> Self {
        Self { source: Source::Inner { body, recording } }
    }
}

impl<B: Body> Body for ResponseBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let (mut body, recording) = match self.project().source.project() {
            SourceProjection::Whole { bytes } => {
                return Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes))));
            }
            SourceProjection::Inner { body, recording } => (body, recording),
        };
        let frame = ready!(body.as_mut().poll_frame(context));
        // No copy, where the inner body has `Bytes` too.
        let frame = frame.map(|frame| {
            frame.map(|f| f.map_data(|mut data| data.copy_to_bytes(data.remaining())))
        });
        *recording = match (recording.take(), &frame) {
            (Some(recording), Some(Ok(frame))) => recording.and(frame, body.is_end_stream()),
            (Some(recording), Some(Err(_))) => recording.failed(),
            (Some(recording), None) => recording.ended(),
            (None, _) => None,
        };
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Whole { bytes } => bytes.is_none(),
            Source::Inner { body, .. } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Whole { bytes } => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Source::Inner { body, .. } => body.size_hint(),
        }
    }
}

impl<B> fmt::Debug for ResponseBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source = match &self.source {
            Source::Whole { .. } => "stored",
            Source::Inner { recording: Some(_), .. } => "inner, copied",
            Source::Inner { recording: None, .. } => "inner",
        };
        f.debug_struct("ResponseBody").field("source", &source).finish()
    }
}
