//! Which stored responses a change makes stale (RFC 9111 §4.4).

use std::sync::Arc;

#[cfg(feature = "axum")]
use axum::extract::OriginalUri;
use http::header::{CONTENT_LOCATION, LOCATION};
use http::{HeaderMap, Method, Uri, request, response};
use larder_core::{Cache, Runtime, Targets};

use super::key::{Keys, host_of, host_of_authority};

/// The responses that a [`ResponseCache`](super::ResponseCache) keeps.
#[derive(Debug, Clone)]
pub(crate) struct Responses {
    pub(super) cache: Cache,
    pub(super) keys: Keys,
}

impl Responses {
    /// The same, for a request that has a runtime of its own.
    pub(crate) fn on(&self, runtime: &Arc<dyn Runtime>) -> Self {
        Self { cache: self.cache.on(Arc::clone(runtime)), keys: self.keys.clone() }
    }

    /// Those to GET of the URI that was changed, and of those that the answer names.
    pub(crate) fn changed_by(
        &self,
        request: &request::Parts,
        response: &response::Parts,
    ) -> (Cache, Targets) {
        let mut get = request.clone();
        get.method = Method::GET;
        let mut keys: Vec<String> = self.keys.of(&get).into_iter().collect();
        // These stand for themselves, not for a part of what was asked for.
        #[cfg(feature = "axum")]
        get.extensions.remove::<OriginalUri>();
        for uri in named_by(&response.headers, request) {
            get.uri = uri;
            keys.extend(self.keys.of(&get));
        }
        (self.cache.clone(), Targets::new().keys(keys))
    }
}

/// The URIs of the same host in `Location` and `Content-Location`. Those of another must not count, or
/// a server could empty the cache of its neighbour.
fn named_by<'a>(
    headers: &'a HeaderMap,
    request: &'a request::Parts,
) -> impl Iterator<Item = Uri> + 'a {
    let here = host_of(&request.uri, &request.headers);
    let fields = [LOCATION, CONTENT_LOCATION].into_iter().filter_map(|name| headers.get(name));
    fields.filter_map(move |field| {
        let text = field.to_str().ok()?.split('#').next()?;
        if text.starts_with('/') && !text.starts_with("//") {
            let uri = match request.uri.authority() {
                Some(authority) => format!("http://{authority}{text}").parse(),
                None => text.parse(),
            };
            return uri.ok();
        }
        let uri: Uri = match text.strip_prefix("//") {
            // The scheme is no part of a key.
            Some(rest) => format!("http://{rest}").parse(),
            None => text.parse(),
        }
        .ok()?;
        let host = host_of_authority(uri.authority()?);
        here?.eq_ignore_ascii_case(host).then_some(uri)
    })
}
