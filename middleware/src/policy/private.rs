//! What a response says to caches that is for one visitor: RFC 9111, sections 5.2.2.7 and 7.3.

use http::header::{CACHE_CONTROL, COOKIE, Entry, HeaderMap, HeaderValue, VARY};

use super::cache_control::{ResponseDirectives, without_sharing};
use super::vary::Vary;

/// Keeps a response that depends on a session from shared caches.
///
/// Where it sets a cookie, whatever it says; else where it does not say itself who may keep it. With
/// `Vary: Cookie` a cache that keeps it nevertheless, as the visitor's own does, has another for who
/// signs in or out.
pub(crate) fn keep_private(headers: &mut HeaderMap, sets_cookie: bool) {
    const PRIVATE: HeaderValue = HeaderValue::from_static("private");
    match headers.entry(CACHE_CONTROL) {
        Entry::Vacant(entry) => {
            entry.insert(PRIVATE);
        }
        Entry::Occupied(_) => {
            let said = ResponseDirectives::of(headers);
            if said.no_store {
                return;
            }
            let says_who = said.private || said.public || said.s_maxage.is_some();
            if sets_cookie || !says_who {
                let rest = without_sharing(headers);
                let value = HeaderValue::from_bytes(&[b"private".as_slice(), &rest].concat());
                headers.insert(CACHE_CONTROL, value.unwrap_or(PRIVATE));
            }
        }
    }
    const COOKIES: HeaderValue = HeaderValue::from_static("Cookie");
    match headers.entry(VARY) {
        Entry::Vacant(entry) => {
            entry.insert(COOKIES);
        }
        Entry::Occupied(_) => {
            let is_said = match Vary::of(headers) {
                Vary::Unknowable => true,
                Vary::On(names) => names.contains(&COOKIE),
            };
            if !is_said {
                headers.append(VARY, COOKIES);
            }
        }
    }
}
