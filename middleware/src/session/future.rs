use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures::future::{BoxFuture, FutureExt};
use http::Response;
use http_body::Body;
use larder_core::session::Saved;
use larder_core::{Error, Session};
use pin_project_lite::pin_project;

use super::SessionBody;
use super::answer;
use super::layer::Shared;

pin_project! {
    /// The future of a [`SessionService`](super::SessionService).
    pub struct SessionFuture<F, RB> {
        shared: Arc<Shared>,
        session: Session,
        #[pin]
        state: State<F, RB>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<F, RB> {
        // The service is asked.
        Calling { #[pin] call: F },
        // The response waits for the save.
        Saving { saving: BoxFuture<'static, Result<Saved, Error>>, response: Option<Response<RB>> },
    }
}

impl<F, RB> SessionFuture<F, RB> {
    pub(super) fn new(shared: Arc<Shared>, session: Session, call: F) -> Self {
        Self { shared, session, state: State::Calling { call } }
    }
}

impl<F, E, RB> Future for SessionFuture<F, RB>
where
    F: Future<Output = Result<Response<RB>, E>>,
    RB: Body,
{
    type Output = Result<Response<SessionBody<RB>>, E>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let next = match this.state.as_mut().project() {
                StateProjection::Calling { call } => {
                    let response = ready!(call.poll(context))?;
                    match this.session.save_now() {
                        Some(saved) => {
                            let answer = answer::finish(this.shared, this.session, saved, response);
                            return Poll::Ready(Ok(answer));
                        }
                        None => {
                            let session = this.session.clone();
                            let saving = async move { session.save().await }.boxed();
                            State::Saving { saving, response: Some(response) }
                        }
                    }
                }
                StateProjection::Saving { saving, response } => {
                    let saved = ready!(saving.as_mut().poll(context));
                    // Empty only for a caller that polls a future which has ended.
                    let Some(response) = response.take() else { return Poll::Pending };
                    let answer = answer::finish(this.shared, this.session, saved, response);
                    return Poll::Ready(Ok(answer));
                }
            };
            this.state.set(next);
        }
    }
}

impl<F, RB> fmt::Debug for SessionFuture<F, RB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionFuture").finish_non_exhaustive()
    }
}
