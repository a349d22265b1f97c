//! What a response says to caches that is for one visitor: RFC 9111, sections 5.2.2.7 and 7.3.

use http::header::{CACHE_CONTROL, COOKIE, HeaderMap, HeaderValue, VARY};

use super::cache_control::{ResponseDirectives, without_sharing};
use super::vary::Vary;

/// Keeps a response that depends on a session from shared caches.
///
/// Where it sets a cookie, whatever it says; else where it does not say itself who may keep it. With
/// `Vary: Cookie` a cache that keeps it nevertheless, as the visitor's own does, has another for who
/// signs in or out.
pub(crate) fn keep_private(headers: &mut HeaderMap, sets_cookie: bool) {
    if !headers.contains_key(CACHE_CONTROL) {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("private"));
    } else {
        let said = ResponseDirectives::of(headers);
        if said.no_store {
            return;
        }
        let says_who = said.private || said.public || said.s_maxage.is_some();
        if sets_cookie || !says_who {
            let rest = without_sharing(headers);
            let value = HeaderValue::from_bytes(&[b"private".as_slice(), &rest].concat());
            headers.insert(CACHE_CONTROL, value.unwrap_or(HeaderValue::from_static("private")));
        }
    }
    let is_said = headers.contains_key(VARY)
        && match Vary::of(headers) {
            Vary::Unknowable => true,
            Vary::On(names) => names.contains(&COOKIE),
        };
    if !is_said {
        headers.append(VARY, HeaderValue::from_static("Cookie"));
    }
}
