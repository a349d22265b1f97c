//! May a request be answered from the cache, and its answer be stored?

use http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_LENGTH, HeaderMap, HeaderName, IF_MATCH,
    IF_UNMODIFIED_SINCE, PRAGMA, RANGE, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderValue, Method};

use super::cache_control::RequestDirectives;

/// What the user of the layer decided about requests.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct RequestRules {
    pub(crate) cache_authorized: bool,
}

/// How a request may use the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    /// Be answered from it, and have its answer stored.
    Full,
    /// Have its answer stored: `no-cache` asks for a new one (RFC 9111, section 5.2.1.4).
    Refresh,
    /// Be answered from it: the answer to a HEAD has no body to store.
    Lookup,
    /// Neither: a HEAD that asks for a new answer.
    Neither,
}

/// Why a request passes by the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bypass {
    /// Neither GET nor HEAD.
    Method,
    /// It carries credentials, and the layer was not told to share what they open.
    Authorization,
    /// It asks for a part of the representation.
    Range,
    /// It asks not to be stored.
    NoStore,
    /// `If-Match` and `If-Unmodified-Since` are for the origin alone (RFC 9111, section 4.3.2).
    Precondition,
    /// It wants to leave HTTP, for a WebSocket say.
    Upgrade,
    /// It has content, which no key knows about.
    Content,
    /// No key could be made: by the user's function, or for want of one clear host.
    Key,
}

impl Bypass {
    pub(crate) const ALL: [Self; 8] = [
        Self::Method,
        Self::Authorization,
        Self::Range,
        Self::NoStore,
        Self::Precondition,
        Self::Upgrade,
        Self::Content,
        Self::Key,
    ];

    /// The reason in a word, as metrics label it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Method => "method",
            Self::Authorization => "authorization",
            Self::Range => "range",
            Self::NoStore => "no_store",
            Self::Precondition => "precondition",
            Self::Upgrade => "upgrade",
            Self::Content => "content",
            Self::Key => "key",
        }
    }
}

pub(crate) fn may_use(
    method: &Method,
    headers: &HeaderMap,
    rules: RequestRules,
) -> Result<Use, Bypass> {
    let head = match *method {
        Method::GET => false,
        Method::HEAD => true,
        _ => return Err(Bypass::Method),
    };
    // One pass over the fields there are: every look-up would hash a name, and nearly all of them
    // would find nothing.
    let reasons = headers.iter().filter_map(|(field, value)| reason(field, value, rules));
    if let Some(why) = reasons.min_by_key(|why| *why as usize) {
        return Err(why);
    }
    let directed = headers.keys().any(|field| field == CACHE_CONTROL || field == PRAGMA);
    let directives = if directed { RequestDirectives::of(headers) } else { Default::default() };
    if directives.no_store {
        return Err(Bypass::NoStore);
    }
    Ok(match (head, directives.no_cache) {
        (false, false) => Use::Full,
        (false, true) => Use::Refresh,
        (true, false) => Use::Lookup,
        (true, true) => Use::Neither,
    })
}

/// Why a request with this field passes by the cache, if for this field it does.
fn reason(field: &HeaderName, value: &HeaderValue, rules: RequestRules) -> Option<Bypass> {
    if field == AUTHORIZATION {
        (!rules.cache_authorized).then_some(Bypass::Authorization)
    } else if field == RANGE {
        Some(Bypass::Range)
    } else if field == IF_MATCH || field == IF_UNMODIFIED_SINCE {
        Some(Bypass::Precondition)
    } else if field == UPGRADE {
        Some(Bypass::Upgrade)
    } else if field == TRANSFER_ENCODING || (field == CONTENT_LENGTH && value.as_bytes() != b"0") {
        Some(Bypass::Content)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::test;

    fn get(lines: &[(&'static str, &'static str)]) -> Result<Use, Bypass> {
        asked(Method::GET, lines, RequestRules::default())
    }

    fn asked(
        method: Method,
        lines: &[(&'static str, &'static str)],
        rules: RequestRules,
    ) -> Result<Use, Bypass> {
        let lines = lines
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        may_use(&method, &lines.collect(), rules)
    }

    #[test]
    fn get_and_head_alone_use_the_cache() {
        let rules = RequestRules::default();
        assert_eq!(asked(Method::GET, &[], rules), Ok(Use::Full));
        assert_eq!(asked(Method::HEAD, &[], rules), Ok(Use::Lookup));
        for method in [Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS, Method::PATCH] {
            assert_eq!(asked(method, &[], rules), Err(Bypass::Method));
        }
    }

    #[test]
    fn credentials_pass_by_unless_told() {
        let line = [("authorization", "Bearer x")];
        assert_eq!(get(&line), Err(Bypass::Authorization));
        let told = RequestRules { cache_authorized: true };
        assert_eq!(asked(Method::GET, &line, told), Ok(Use::Full));
    }

    #[test]
    fn what_a_key_does_not_tell_passes_by() {
        assert_eq!(get(&[("range", "bytes=0-1")]), Err(Bypass::Range));
        assert_eq!(get(&[("if-match", "\"1\"")]), Err(Bypass::Precondition));
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        assert_eq!(get(&[("if-unmodified-since", date)]), Err(Bypass::Precondition));
        assert_eq!(get(&[("if-none-match", "\"1\"")]), Ok(Use::Full));
        assert_eq!(get(&[("upgrade", "websocket")]), Err(Bypass::Upgrade));
        assert_eq!(get(&[("content-length", "3")]), Err(Bypass::Content));
        assert_eq!(get(&[("content-length", "0")]), Ok(Use::Full));
        assert_eq!(get(&[("transfer-encoding", "chunked")]), Err(Bypass::Content));
    }

    #[test]
    fn a_request_may_refuse_the_cache_or_ask_for_a_new_answer() {
        assert_eq!(get(&[("cache-control", "max-age=0, no-store")]), Err(Bypass::NoStore));
        assert_eq!(get(&[("cache-control", "no-cache")]), Ok(Use::Refresh));
        assert_eq!(get(&[("pragma", "no-cache")]), Ok(Use::Refresh));
        let rules = RequestRules::default();
        let line = [("cache-control", "no-cache")];
        assert_eq!(asked(Method::HEAD, &line, rules), Ok(Use::Neither));
    }
}
