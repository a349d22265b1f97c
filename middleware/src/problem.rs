//! What a client is told that is not served: `application/problem+json` (RFC 9457).

use std::borrow::Cow;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};
use serde::Serialize;

#[derive(Serialize)]
pub(crate) struct Problem<'a> {
    r#type: &'static str,
    title: &'static str,
    status: u16,
    detail: Cow<'a, str>,
    #[serde(rename = "violated-policies", skip_serializing_if = "Option::is_none")]
    violated_policies: Option<Vec<&'a str>>,
}

impl<'a> Problem<'a> {
    /// A problem that there is no more to say of than its status.
    pub(crate) fn of(status: StatusCode, detail: impl Into<Cow<'a, str>>) -> Self {
        Self {
            r#type: "about:blank",
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            detail: detail.into(),
            violated_policies: None,
        }
    }

    /// Of the type that IANA has registered for quotas that are used up
    /// (draft-ietf-httpapi-ratelimit-headers).
    pub(crate) fn quota_exceeded(self, violated_policies: Vec<&'a str>) -> Self {
        Self {
            r#type: "https://iana.org/assignments/http-problem-types#quota-exceeded",
            title: "Request cannot be satisfied as assigned quota has been exceeded",
            violated_policies: Some(violated_policies),
            ..self
        }
    }

    pub(crate) fn response(&self) -> Response<Bytes> {
        let body = serde_json::to_vec(self).unwrap_or_default();
        let mut response = Response::new(Bytes::from(body));
        if let Ok(status) = StatusCode::from_u16(self.status) {
            *response.status_mut() = status;
        }
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}
