//! The handlers, one module for each part of the API.

pub(crate) mod accounts;
pub(crate) mod me;
pub(crate) mod operations;
pub(crate) mod page;
pub(crate) mod products;
pub(crate) mod settings;
pub(crate) mod users;

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// An answer that is for one client, or for one moment.
fn no_store(body: impl Serialize) -> Response {
    ([(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
}

/// It has been done, and there is nothing to say of it.
fn nothing() -> Response {
    (StatusCode::NO_CONTENT, [(header::CACHE_CONTROL, "no-store")]).into_response()
}
