//! Sessions as handlers of axum ask for them.

use std::convert::Infallible;

use axum::body::Body;
use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use axum::response::{IntoResponse, Response};
use http::header::WWW_AUTHENTICATE;
use http::request::Parts;
use http::{HeaderValue, StatusCode};
use larder_core::Error;

use super::{Session, answer};
use crate::problem::Problem;

/// Who is signed in, for a handler that serves nobody else: a stranger is answered with 401.
///
/// `Option<SignedIn>` is for handlers that serve strangers too.
///
/// ```
/// use axum::{Router, routing::get};
/// use larder_http::session::SignedIn;
///
/// async fn me(SignedIn(user): SignedIn) -> String {
///     user
/// }
///
/// async fn greet(user: Option<SignedIn>) -> String {
///     match user {
///         Some(SignedIn(user)) => format!("hello, {user}"),
///         None => "hello, stranger".into(),
///     }
/// }
///
/// let app: Router = Router::new().route("/me", get(me)).route("/", get(greet));
/// # let _ = app;
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedIn(pub String);

/// Why a handler was not given its session, or what it asked of it; as a response.
///
/// It is made of [`larder_core::Error`], so that a handler can end with `?`.
///
/// ```
/// use larder_http::Session;
/// use larder_http::session::SessionError;
///
/// async fn theme(session: Session) -> Result<String, SessionError> {
///     Ok(session.get("theme").await?.unwrap_or_else(|| "light".to_owned()))
/// }
/// # let _ = theme;
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum SessionError {
    /// The session could not be loaded, or changed as it was to be: 503, with `Retry-After`, where
    /// the store failed, else 500.
    Failed(Error),
    /// Nobody is signed in: 401, with `WWW-Authenticate: Cookie`. There has to be a challenge (RFC
    /// 9110, section 11.6.1), and no scheme is registered for cookies. Browsers ask for a password
    /// only where they know the scheme, and show the response otherwise.
    NotSignedIn,
    /// There is no [`SessionLayer`](super::SessionLayer) around the handler: 500.
    NoLayer,
}

const COOKIE: HeaderValue = HeaderValue::from_static("Cookie");

impl From<Error> for SessionError {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl IntoResponse for SessionError {
    fn into_response(self) -> Response {
        let response = match self {
            Self::Failed(error) => answer::failed(&error),
            Self::NotSignedIn => {
                let problem = Problem::of(StatusCode::UNAUTHORIZED, "nobody is signed in");
                let mut response = problem.response();
                response.headers_mut().insert(WWW_AUTHENTICATE, COOKIE);
                response
            }
            Self::NoLayer => {
                tracing::error!("a handler asks for its session, and there is no SessionLayer");
                let detail = "the service lacks a part that this needs";
                Problem::of(StatusCode::INTERNAL_SERVER_ERROR, detail).response()
            }
        };
        response.map(Body::from)
    }
}

impl<S: Sync> FromRequestParts<S> for Session {
    type Rejection = SessionError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, SessionError> {
        parts.extensions.get().cloned().ok_or(SessionError::NoLayer)
    }
}

impl<S: Sync> OptionalFromRequestParts<S> for Session {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Infallible> {
        Ok(parts.extensions.get().cloned())
    }
}

impl<S: Sync> FromRequestParts<S> for SignedIn {
    type Rejection = SessionError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, SessionError> {
        signed_in(parts).await?.ok_or(SessionError::NotSignedIn)
    }
}

impl<S: Sync> OptionalFromRequestParts<S> for SignedIn {
    type Rejection = SessionError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, SessionError> {
        signed_in(parts).await
    }
}

async fn signed_in(parts: &Parts) -> Result<Option<SignedIn>, SessionError> {
    let session = parts.extensions.get::<Session>().ok_or(SessionError::NoLayer)?;
    Ok(session.user().await?.map(SignedIn))
}
