//! Errors as `application/problem+json` (RFC 9457).

use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use larder_core::Error as CacheError;
use larder_http::session::SessionError;
use serde::Serialize;

use crate::database::DatabaseError;

/// An error as RFC 9457 has it.
///
/// Its `type` is `about:blank`, so that the title is the status' own phrase; what is wrong stands
/// in `detail`. Where parts of the request are wrong, the extension member `errors` names each.
///
/// ```
/// use larder_demo::Problem;
///
/// let problem = Problem::bad_request("page", "must be at least 1");
/// assert_eq!(problem.status().as_u16(), 400);
/// ```
#[derive(Debug, Clone, Serialize)]
pub struct Problem {
    r#type: &'static str,
    title: &'static str,
    #[serde(serialize_with = "as_number")]
    status: StatusCode,
    detail: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldError>,
    #[serde(skip)]
    retry_after_seconds: Option<u64>,
}

/// What is wrong with one part of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct FieldError {
    pub(crate) field: String,
    pub(crate) detail: String,
}

impl FieldError {
    pub(crate) fn new(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { field: field.into(), detail: detail.into() }
    }
}

impl Problem {
    /// A problem with this status; `detail` says what was wrong and what to do.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            r#type: "about:blank",
            title: status.canonical_reason().unwrap_or("Error"),
            status,
            detail: detail.into(),
            errors: Vec::new(),
            retry_after_seconds: None,
        }
    }

    /// 400: a part of the path or the query is wrong.
    pub fn bad_request(field: &str, detail: &str) -> Self {
        Self::fields(StatusCode::BAD_REQUEST, vec![FieldError::new(field, detail)])
    }

    /// Each of `errors` is wrong.
    pub(crate) fn fields(status: StatusCode, errors: Vec<FieldError>) -> Self {
        let detail: Vec<_> =
            errors.iter().map(|error| format!("{} {}", error.field, error.detail)).collect();
        Self { errors, ..Self::new(status, detail.join("; ")) }
    }

    /// 404: there is no such thing.
    pub(crate) fn not_found(what: &str, id: i64) -> Self {
        Self::new(StatusCode::NOT_FOUND, format!("there is no {what} {id}"))
    }

    /// 503: it may work again in a few seconds.
    pub(crate) fn unavailable(detail: impl Into<String>) -> Self {
        Self { retry_after_seconds: Some(2), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, detail) }
    }

    /// 500: what went wrong is for the operator, who has been told.
    pub(crate) fn internal() -> Self {
        let detail = "the server failed; its log says why";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, detail)
    }

    /// 401: nobody is signed in.
    pub(crate) fn not_signed_in() -> Self {
        let detail = "nobody is signed in; POST /api/v1/signin does that";
        Self::new(StatusCode::UNAUTHORIZED, detail)
    }

    /// 429: `what` was tried too often, and may be again after `wait`.
    pub(crate) fn too_often(what: &str, wait: Duration) -> Self {
        let seconds = wait.as_millis().div_ceil(1_000).max(1);
        let seconds = u64::try_from(seconds).unwrap_or(u64::MAX);
        let detail = format!("{what}; try again in {seconds} s");
        Self {
            retry_after_seconds: Some(seconds),
            ..Self::new(StatusCode::TOO_MANY_REQUESTS, detail)
        }
    }

    /// The status that it is answered with.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    #[cfg(test)]
    pub(crate) fn field_errors(&self) -> &[FieldError] {
        &self.errors
    }
}

fn as_number<S: serde::Serializer>(status: &StatusCode, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_u16(status.as_u16())
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (self.status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self.status == StatusCode::UNAUTHORIZED {
            // As the layer of sessions says it: a 401 has a challenge.
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Cookie"));
        }
        if let Some(seconds) = self.retry_after_seconds {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl From<DatabaseError> for Problem {
    fn from(error: DatabaseError) -> Self {
        match error {
            DatabaseError::EmailTaken { .. } => {
                Self::fields(StatusCode::CONFLICT, vec![FieldError::new("email", "is taken")])
            }
            DatabaseError::Unavailable { .. } => {
                // What the database said is for the operator, not for the client.
                tracing::error!(%error, "a request failed");
                Self::unavailable("the database does not answer; try again shortly")
            }
        }
    }
}

impl From<SessionError> for Problem {
    fn from(error: SessionError) -> Self {
        match error {
            SessionError::Failed(error) => error.into(),
            SessionError::NotSignedIn => Self::not_signed_in(),
            _ => {
                tracing::error!(?error, "a request failed");
                Self::internal()
            }
        }
    }
}

impl From<CacheError> for Problem {
    fn from(error: CacheError) -> Self {
        if let Some(error) = error.loader::<DatabaseError>() {
            return error.clone().into();
        }
        tracing::error!(%error, "a request failed");
        match error {
            CacheError::LoadTimeout { .. } => {
                Self::unavailable("the database does not answer in time; try again shortly")
            }
            CacheError::Store(_) | CacheError::SessionContended { .. } => {
                Self::unavailable("the store does not answer; try again shortly")
            }
            _ => Self::internal(),
        }
    }
}
