use std::borrow::Cow;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use super::layer::Shared;
use super::presented::presented;
use super::{Session, SessionBody, SessionFuture, Witness};
use crate::RequestRuntime;

/// A service with a [`SessionLayer`](super::SessionLayer) in front of it.
#[derive(Debug, Clone)]
pub struct SessionService<S> {
    inner: S,
    shared: Arc<Shared>,
}

impl<S> SessionService<S> {
    pub(super) fn new(inner: S, shared: Arc<Shared>) -> Self {
        Self { inner, shared }
    }
}

impl<S, B, RB> Service<Request<B>> for SessionService<S>
where
    S: Service<Request<B>, Response = Response<RB>>,
    RB: Body,
{
    type Response = Response<SessionBody<RB>>;
    type Error = S::Error;
    type Future = SessionFuture<S::Future, RB>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let shared = &*self.shared;
        let (place, mut request) = shared.place.of(request);
        let mut presented = presented(request.headers(), &shared.cookie.name, &shared.seal);
        if let Some(place) = place {
            presented = presented.seen_from(place);
        }
        let sessions = match RequestRuntime::of(request.extensions()) {
            Some(runtime) => Cow::Owned(shared.sessions.on(Arc::clone(runtime))),
            None => Cow::Borrowed(&shared.sessions),
        };
        let session = sessions.open_presented(presented);
        let given = Session::new(session.clone());
        if let Some(witness) = request.extensions().get::<Witness>() {
            witness.see(&given);
        }
        request.extensions_mut().insert(given);
        let call = self.inner.call(request);
        SessionFuture::new(Arc::clone(&self.shared), session, call)
    }
}
