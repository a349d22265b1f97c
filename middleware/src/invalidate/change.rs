use std::borrow::Cow;
use std::str::FromStr;

use http::Method;
use http::{request, response};
use matchit::Params;
use percent_encoding::percent_decode_str;

use crate::key_text::whole_uri;

/// An unsafe request that was answered well: what was probably changed.
///
/// ```
/// use http::StatusCode;
/// use larder_core::{Cache, MemoryStore, Targets};
/// use larder_http::Invalidate;
///
/// let cache = Cache::builder(MemoryStore::new()).build()?;
/// let layer = Invalidate::targets(cache).on("/users/{id}/avatar", |change| {
///     let user = change.param("id")?;
///     let is_new = change.response().status == StatusCode::CREATED;
///     let stale = Targets::new().key(format!("avatar:{user}"));
///     Some(if is_new { stale.key(format!("user:{user}")) } else { stale })
/// })?;
/// # let _ = layer;
/// # Ok::<(), larder_core::Error>(())
/// ```
#[derive(Debug)]
pub struct Change<'a> {
    request: &'a request::Parts,
    response: &'a response::Parts,
    params: Params<'a, 'a>,
}

impl<'a> Change<'a> {
    pub(super) fn new(
        request: &'a request::Parts,
        response: &'a response::Parts,
        params: Params<'a, 'a>,
    ) -> Self {
        Self { request, response, params }
    }

    /// The request's method.
    #[must_use]
    pub fn method(&self) -> &Method {
        &self.request.method
    }

    /// The whole path as it was sent, also inside of a nested router where the feature `axum` is on.
    #[must_use]
    pub fn path(&self) -> &str {
        whole_uri(self.request).path()
    }

    /// What stands in the path for a parameter, decoded; `None` where the path has no such parameter,
    /// or where it is no UTF-8.
    ///
    /// It comes from the client: in a pattern it belongs inside of
    /// [`Glob::prefix`](larder_core::Glob::prefix).
    #[must_use]
    pub fn param(&self, name: &str) -> Option<Cow<'_, str>> {
        percent_decode_str(self.params.get(name)?).decode_utf8().ok()
    }

    /// A parameter as a number, or as whatever else can be read from text; `None` where it cannot.
    #[must_use]
    pub fn parse<T: FromStr>(&self, name: &str) -> Option<T> {
        self.param(name)?.parse().ok()
    }

    /// The request's head as it reached the layer: its fields, and its extensions such as a user or a
    /// tenant.
    #[must_use]
    pub fn request(&self) -> &request::Parts {
        self.request
    }

    /// The response's head: its status, its fields such as `Location`, and its extensions, in which a
    /// handler can leave what it did.
    #[must_use]
    pub fn response(&self) -> &response::Parts {
        self.response
    }
}
