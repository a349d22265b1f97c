//! What the client is told: its cookie, or that its session could not be had.

use std::time::Duration;

use bytes::Bytes;
use http::header::{RETRY_AFTER, SET_COOKIE};
use http::{HeaderValue, Response, StatusCode};
use http_body::Body;
use larder_core::session::{Saved, SessionCookie};
use larder_core::{Error, Runtime as _, Session, seconds};

use super::SessionBody;
use super::layer::Shared;
use crate::policy::keep_private;
use crate::problem::Problem;

/// After which time it may be tried again, where the store of sessions failed.
const STORE_FAILED: Duration = seconds(2);

/// After which time those are gone that changed the session at the same time.
const CONTENDED: Duration = seconds(1);

/// The response of the service, once its session is saved.
pub(super) fn finish<RB: Body>(
    shared: &Shared,
    session: &Session,
    saved: Result<Saved, Error>,
    response: Response<RB>,
) -> Response<SessionBody<RB>> {
    let cookie = match saved.and_then(|saved| told(shared, session, saved)) {
        Ok(Told::Lost) => {
            tracing::debug!("a session ended while a request changed it");
            return ended_meanwhile().map(SessionBody::own);
        }
        Ok(Told::Kept(cookie)) => cookie,
        Err(error) => {
            tracing::error!(%error, "a request was not served, as its session could not be had");
            return failed(&error).map(SessionBody::own);
        }
    };
    let mut response = response.map(SessionBody::inner);
    let headers = response.headers_mut();
    if session.is_touched() {
        keep_private(headers, cookie.is_some());
    }
    if let Some(cookie) = cookie {
        headers.append(SET_COOKIE, cookie);
    }
    response
}

enum Told {
    Kept(Option<HeaderValue>),
    Lost,
}

fn told(shared: &Shared, session: &Session, saved: Saved) -> Result<Told, Error> {
    if saved.is_lost {
        return Ok(Told::Lost);
    }
    if !saved.overwritten.is_empty() {
        tracing::debug!(keys = ?saved.overwritten, "values of a session were overwritten");
    }
    Ok(Told::Kept(match saved.cookie {
        SessionCookie::Set { id, expires_at } => {
            let life = expires_at.since(session.sessions().runtime().now());
            shared.cookie.set(&shared.seal.seal(&id)?, life)
        }
        SessionCookie::Remove => shared.cookie.remove(),
        _ => None,
    }))
}

/// The answer where the session could not be loaded or saved: never one for a stranger.
pub(super) fn failed(error: &Error) -> Response<Bytes> {
    let (status, retry_after, detail) = match error {
        Error::Store(_) => (
            StatusCode::SERVICE_UNAVAILABLE,
            Some(STORE_FAILED),
            "the session cannot be had now; try again in 2 seconds",
        ),
        Error::SessionContended { .. } => (
            StatusCode::SERVICE_UNAVAILABLE,
            Some(CONTENDED),
            "the session is changed by too many requests at once; try again in 1 second",
        ),
        Error::SessionTooLarge { .. } => (
            StatusCode::INTERNAL_SERVER_ERROR,
            None,
            "the session would be larger than its store takes; nothing of it was saved",
        ),
        _ => (StatusCode::INTERNAL_SERVER_ERROR, None, "the session could not be used"),
    };
    let mut response = Problem::of(status, detail).response();
    if let Some(wait) = retry_after {
        response.headers_mut().insert(RETRY_AFTER, wait.as_secs().into());
    }
    response
}

/// The service has answered as if what it changed were kept, which it is not.
fn ended_meanwhile() -> Response<Bytes> {
    let detail = "the session ended while the request was under way; what it changed there was \
                  not kept";
    Problem::of(StatusCode::CONFLICT, detail).response()
}
