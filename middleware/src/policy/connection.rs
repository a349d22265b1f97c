//! Fields that belong to one connection: RFC 9110, section 7.6.1.

use http::HeaderMap;
use http::header::{
    CONNECTION, HeaderName, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRANSFER_ENCODING, UPGRADE,
};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const PROXY_AUTHENTICATION_INFO: HeaderName = HeaderName::from_static("proxy-authentication-info");

/// The fields that may be stored: all but those of the connection, those that `Connection` names,
/// and those of a proxy (RFC 9111, section 3.1).
pub(crate) fn end_to_end(headers: &HeaderMap) -> HeaderMap {
    let mut kept = HeaderMap::with_capacity(headers.keys_len() + 4);
    for (name, value) in headers {
        let of_the_connection = [
            CONNECTION,
            KEEP_ALIVE,
            PROXY_CONNECTION,
            PROXY_AUTHENTICATE,
            PROXY_AUTHENTICATION_INFO,
            PROXY_AUTHORIZATION,
            TE,
            TRANSFER_ENCODING,
            UPGRADE,
        ]
        .contains(name);
        if !of_the_connection {
            kept.append(name.clone(), value.clone());
        }
    }
    for line in headers.get_all(CONNECTION) {
        for option in line.as_bytes().split(|byte| *byte == b',') {
            if let Ok(name) = HeaderName::from_bytes(option.trim_ascii()) {
                kept.remove(name);
            }
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::runtime::test;

    #[test]
    fn what_belongs_to_the_connection_is_left_out() {
        let lines = [
            ("connection", "close, X-Hop"),
            ("connection", "x-other"),
            ("x-hop", "1"),
            ("x-other", "1"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("proxy-authenticate", "Basic"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("link", "</a>"),
            ("link", "</b>"),
            ("etag", "\"1\""),
        ];
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(name, HeaderValue::from_static(value));
        }
        let kept = end_to_end(&headers);
        let mut kept: Vec<_> =
            kept.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        kept.sort();
        assert_eq!(kept, [("etag", "\"1\""), ("link", "</a>"), ("link", "</b>")]);
    }
}
