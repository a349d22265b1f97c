//! The router's requests and answers as those of Workers.

use axum::Router;
use axum::body::to_bytes;
use tower::ServiceExt;
use worker::{Error, Headers, HttpRequest, Response, ResponseBuilder, Result};

/// The router's answer, whole: every answer of the shop is in memory, and as a stream it would be
/// slower, of unknown length, and cut off where its client leaves.
pub(crate) async fn answer(router: Router, request: HttpRequest) -> Result<Response> {
    let response = match router.oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    };
    let (head, body) = response.into_parts();
    let body = to_bytes(body, usize::MAX).await.map_err(|error| failed(&error))?;
    let headers = Headers::new();
    for (name, value) in &head.headers {
        headers.append(name.as_str(), value.to_str().map_err(|error| failed(&error))?)?;
    }
    let answer = ResponseBuilder::new().with_status(head.status.as_u16()).with_headers(headers);
    // A status that has no body takes none of zero bytes either.
    Ok(if body.is_empty() { answer.empty() } else { answer.fixed(body.into()) })
}

fn failed(error: &dyn std::error::Error) -> Error {
    Error::RustError(error.to_string())
}
