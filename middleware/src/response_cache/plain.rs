//! The form that Express middleware has for a cached response: `{"data": …, "contentType": …}`.

use std::borrow::Cow;

use bytes::Bytes;
use http::HeaderValue;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue as RawJson;

/// A response of which the body and its type are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PlainResponse {
    pub(super) content_type: HeaderValue,
    pub(super) body: Bytes,
}

#[derive(Serialize)]
struct Written<'a> {
    data: &'a str,
    #[serde(rename = "contentType")]
    content_type: &'a str,
}

#[derive(Deserialize)]
struct Read<'a> {
    #[serde(borrow, default)]
    data: Option<&'a RawJson>,
    #[serde(rename = "contentType", default)]
    content_type: Option<String>,
}

/// What `JSON.stringify` makes of a Node.js Buffer.
#[derive(Deserialize)]
struct NodeBuffer<'a> {
    r#type: Cow<'a, str>,
    data: Vec<u8>,
}

impl PlainResponse {
    /// Whether it can be written: the form has text only.
    pub(super) fn is_text(&self) -> bool {
        std::str::from_utf8(&self.body).is_ok() && self.content_type.to_str().is_ok()
    }

    /// The JSON that Node.js would write. Nothing where [`is_text`](Self::is_text) does not hold:
    /// no reader takes that for a response.
    pub(super) fn to_bytes(&self) -> Bytes {
        let text = || {
            let data = std::str::from_utf8(&self.body).ok()?;
            let content_type = self.content_type.to_str().ok()?;
            serde_json::to_vec(&Written { data, content_type }).ok()
        };
        text().map_or_else(Bytes::new, Bytes::from)
    }

    /// What Node.js wrote, and what it would send for it.
    ///
    /// Where the type is missing (`res.send(object)` stores the object before its type is set),
    /// it is the one that Express gives such data.
    pub(super) fn from_bytes(stored: &[u8]) -> Option<Self> {
        // An array would pass for the struct, and an object of another kind for one without data.
        if stored.first() != Some(&b'{') {
            return None;
        }
        let Read { data, content_type } = serde_json::from_slice(stored).ok()?;
        if data.is_none() && content_type.is_none() {
            return None;
        }
        let json = data.map_or("", RawJson::get);
        let (body, default_type) = match json.as_bytes() {
            [] => (Bytes::new(), "text/html; charset=utf-8"),
            [b'"', ..] => {
                let text: String = serde_json::from_str(json).ok()?;
                (Bytes::from(text), "text/html; charset=utf-8")
            }
            _ => match serde_json::from_str::<NodeBuffer<'_>>(json) {
                Ok(buffer) if buffer.r#type == "Buffer" => {
                    (Bytes::from(buffer.data), "application/octet-stream")
                }
                _ => {
                    let json = Bytes::copy_from_slice(json.as_bytes());
                    (json, "application/json; charset=utf-8")
                }
            },
        };
        let content_type = match content_type {
            Some(content_type) => HeaderValue::try_from(content_type).ok()?,
            None => HeaderValue::from_static(default_type),
        };
        Some(Self { content_type, body })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::runtime::test;

    fn read(json: &str) -> Option<(String, Vec<u8>)> {
        let PlainResponse { content_type, body } = PlainResponse::from_bytes(json.as_bytes())?;
        Some((content_type.to_str().unwrap().to_owned(), body.to_vec()))
    }

    fn found(content_type: &str, body: &str) -> Option<(String, Vec<u8>)> {
        Some((content_type.to_owned(), body.as_bytes().to_vec()))
    }

    #[test]
    fn it_is_written_as_node_writes_it() {
        let response = PlainResponse {
            content_type: HeaderValue::from_static("application/json"),
            body: Bytes::from_static(
                "{\"name\":\"Zoë\",\"tab\":\"\\t\"}\n\u{1f}\u{7f}/".as_bytes(),
            ),
        };
        // JSON.stringify({ data, contentType }) in Node.js.
        assert_eq!(
            response.to_bytes(),
            r#"{"data":"{\"name\":\"Zoë\",\"tab\":\"\\t\"}\n\u001f/","contentType":"application/json"}"#
                .replace("\\u001f/", "\\u001f\u{7f}/"),
        );
        assert_eq!(PlainResponse::from_bytes(&response.to_bytes()), Some(response));
    }

    #[test]
    fn a_string_is_the_body() {
        let json = r#"{"data":"{\"id\":1}","contentType":"application/json; charset=utf-8"}"#;
        assert_eq!(read(json), found("application/json; charset=utf-8", "{\"id\":1}"));
        assert_eq!(read(r#"{"data":"<p>"}"#), found("text/html; charset=utf-8", "<p>"));
    }

    #[test]
    fn an_object_is_sent_as_json() {
        let json = r#"{"data":{"b":1.0,"a":[null,"é"]}}"#;
        let body = r#"{"b":1.0,"a":[null,"é"]}"#;
        assert_eq!(read(json), found("application/json; charset=utf-8", body));
        let json = r#"{"data":[1,2],"contentType":"application/hal+json"}"#;
        assert_eq!(read(json), found("application/hal+json", "[1,2]"));
    }

    #[test]
    fn a_buffer_is_its_bytes() {
        let json = r#"{"data":{"type":"Buffer","data":[137,80,78,71]},"contentType":"image/png"}"#;
        assert_eq!(read(json), Some(("image/png".into(), b"\x89PNG".to_vec())));
        let json = r#"{"data":{"type":"Buffer","data":[1]}}"#;
        assert_eq!(read(json), Some(("application/octet-stream".into(), vec![1])));
        let json = r#"{"data":{"type":"Buffers","data":[1]}}"#;
        let body = r#"{"type":"Buffers","data":[1]}"#;
        assert_eq!(read(json), found("application/json; charset=utf-8", body));
    }

    #[test]
    fn no_data_is_an_empty_body() {
        assert_eq!(read(r#"{"contentType":"text/plain"}"#), found("text/plain", ""));
        let json = r#"{"data":null,"contentType":"text/plain"}"#;
        assert_eq!(read(json), found("text/plain", ""));
    }

    #[test]
    fn other_values_are_unreadable() {
        for json in [
            "",
            "null",
            "[]",
            "{}",
            r#"{"id":42}"#,
            "\"a\"",
            "{",
            "{\"data\":\"a\"",
            r#"{"data":"a","contentType":1}"#,
            r#"{"data":"a","contentType":"a\nb"}"#,
        ] {
            assert_eq!(read(json), None, "{json}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_not_written() {
        let content_type = HeaderValue::from_static("image/png");
        let response = PlainResponse { content_type, body: Bytes::from_static(b"\x89PNG") };
        assert!(!response.is_text());
        assert_eq!(PlainResponse::from_bytes(&response.to_bytes()), None);
    }

    proptest! {
        #[test]
        fn every_text_comes_back(body in any::<String>(), content_type in "[ -~]{1,20}") {
            let content_type = HeaderValue::from_str(&content_type).unwrap();
            let response = PlainResponse { content_type, body: body.into() };
            prop_assert_eq!(PlainResponse::from_bytes(&response.to_bytes()), Some(response));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = PlainResponse::from_bytes(&bytes);
        }
    }
}
