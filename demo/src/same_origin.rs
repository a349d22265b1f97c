//! No request of another site's page changes anything.
//!
//! The cookie is `SameSite=Lax` and bodies have to be declared as JSON, each of which is in the way
//! of such a request already. This is the third, and the one that other subdomains of the same site
//! do not get around.

use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::problem::Problem;

const SEC_FETCH_SITE: &str = "sec-fetch-site";

/// Refuses what a browser says was caused by a page of another origin, unless it only reads.
pub(crate) async fn only(request: Request, next: Next) -> Response {
    if request.method().is_safe() || is_same_origin(request.headers(), request.uri()) {
        return next.run(request).await;
    }
    Problem::new(StatusCode::FORBIDDEN, "the request comes from the page of another site")
        .into_response()
}

/// By `Sec-Fetch-Site`, which pages cannot set, else by `Origin`. Who sends neither is no browser of
/// this decade, and has no cookies that another site could use.
fn is_same_origin(headers: &HeaderMap, uri: &Uri) -> bool {
    if let Some(site) = headers.get(SEC_FETCH_SITE) {
        return site == "same-origin" || site == "none";
    }
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let host = host.or_else(|| uri.authority().map(|authority| authority.as_str()));
    let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
    origin.is_some_and(|(_, origin)| host == Some(origin))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_fine(fields: &[(&'static str, &str)]) -> bool {
        let fields = fields
            .iter()
            .map(|(name, value)| (header::HeaderName::from_static(name), value.parse().unwrap()));
        is_same_origin(&fields.collect(), &Uri::from_static("/api/v1/signout"))
    }

    #[test]
    fn a_page_of_another_origin_is_known_by_what_its_browser_says() {
        let host = ("host", "shop.example:8787");
        for (fields, fine) in [
            (&[host][..], true),
            (&[host, ("sec-fetch-site", "same-origin")], true),
            (&[host, ("sec-fetch-site", "none")], true),
            (&[host, ("sec-fetch-site", "same-site")], false),
            (
                &[host, ("sec-fetch-site", "cross-site"), ("origin", "https://shop.example:8787")],
                false,
            ),
            (&[host, ("origin", "https://shop.example:8787")], true),
            (&[host, ("origin", "https://shop.example")], false),
            (&[host, ("origin", "https://other.example")], false),
            (&[host, ("origin", "null")], false),
            (&[("origin", "https://shop.example:8787")], false),
        ] {
            assert_eq!(is_fine(fields), fine, "{fields:?}");
        }
    }
}
