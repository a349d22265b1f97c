//! What the cache holds for a request, and its bytes.
//!
//! In Larder's own layout, inside of the frame that core puts around every value:
//!
//! ```text
//! offset  size  field
//!      0     1  version: 1
//!      1     1  kind: 0 a response, 1 variants
//!
//! a response
//!      2     2  status
//!      4     8  when it was made, milliseconds since the UNIX epoch
//!     12     2  count of header lines
//!     14        the lines: 2 bytes length of the name, 4 bytes length of the value, name, value
//!               the body, up to the end
//!
//! variants
//!      2    16  generation
//!     18     2  count of field names
//!     20        the names: 2 bytes length, name
//! ```
//! Integers are little-endian. `middleware/golden` holds both kinds. In the layout `Plain` it is
//! the JSON of the module [`plain`](super::plain).

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::header::{AGE, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use larder_core::{RawValue, Timestamp};

use super::X_CACHE;
use super::plain::{self, PlainResponse};
use super::variants::Variants;
use crate::policy::FieldNames;

const VERSION: u8 = 1;
const RESPONSE: u8 = 0;
const VARIANTS: u8 = 1;

/// What stands under a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stored {
    Response(StoredResponse),
    Plain(PlainResponse),
    Variants(Variants),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StoredResponse {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) generated_at: Timestamp,
    pub(super) body: Bytes,
}

impl RawValue for Stored {
    fn to_bytes(&self) -> Bytes {
        match self {
            Self::Response(response) => response.to_bytes(),
            Self::Plain(response) => response.to_bytes(),
            Self::Variants(variants) => variants_to_bytes(variants),
        }
    }

    fn from_bytes(bytes: Bytes) -> Option<Self> {
        match *bytes {
            [VERSION, RESPONSE, ..] => StoredResponse::from_bytes(bytes).map(Self::Response),
            [VERSION, VARIANTS, ..] => variants_from_bytes(bytes).map(Self::Variants),
            _ => plain::PlainResponse::from_bytes(&bytes).map(Self::Plain),
        }
    }
}

impl StoredResponse {
    fn to_bytes(&self) -> Bytes {
        let head: usize = self.headers.iter().map(|(n, v)| n.as_str().len() + v.len() + 6).sum();
        let mut bytes = BytesMut::with_capacity(14 + head + self.body.len());
        bytes.put_slice(&[VERSION, RESPONSE]);
        bytes.put_u16_le(self.status.as_u16());
        bytes.put_u64_le(self.generated_at.as_millis());
        // `HeaderMap` holds at most 2¹⁵ lines, and no name is longer than 2¹⁶ bytes.
        bytes.put_u16_le(self.headers.len() as u16);
        for (name, value) in &self.headers {
            bytes.put_u16_le(name.as_str().len() as u16);
            bytes.put_u32_le(value.len() as u32);
            bytes.put_slice(name.as_str().as_bytes());
            bytes.put_slice(value.as_bytes());
        }
        bytes.put_slice(&self.body);
        bytes.freeze()
    }

    /// Values and body are slices of `bytes`, not copies.
    fn from_bytes(mut bytes: Bytes) -> Option<Self> {
        bytes.try_get_u16_le().ok()?;
        let status = StatusCode::from_u16(bytes.try_get_u16_le().ok()?).ok()?;
        let generated_at = Timestamp::from_millis(bytes.try_get_u64_le().ok()?);
        let lines = usize::from(bytes.try_get_u16_le().ok()?);
        // Room for what every hit adds. A count that is a lie must not take memory.
        let mut headers = HeaderMap::with_capacity(lines.min(bytes.len() / 6) + 2);
        for _ in 0..lines {
            let name_length = usize::from(bytes.try_get_u16_le().ok()?);
            let value_length = usize::try_from(bytes.try_get_u32_le().ok()?).ok()?;
            let name = HeaderName::from_bytes(bytes.get(..name_length)?).ok()?;
            let end = name_length.checked_add(value_length).filter(|end| *end <= bytes.len())?;
            let value = bytes.slice(name_length..end);
            bytes.advance(end);
            headers.try_append(name, HeaderValue::from_maybe_shared(value).ok()?).ok()?;
        }
        Some(Self { status, headers, generated_at, body: bytes })
    }
}

fn variants_to_bytes(variants: &Variants) -> Bytes {
    let names: usize = variants.names.iter().map(|name| name.as_str().len() + 2).sum();
    let mut bytes = BytesMut::with_capacity(20 + names);
    bytes.put_slice(&[VERSION, VARIANTS]);
    bytes.put_u128_le(variants.generation);
    bytes.put_u16_le(variants.names.len() as u16);
    for name in variants.names.iter() {
        bytes.put_u16_le(name.as_str().len() as u16);
        bytes.put_slice(name.as_str().as_bytes());
    }
    bytes.freeze()
}

fn variants_from_bytes(mut bytes: Bytes) -> Option<Variants> {
    bytes.try_get_u16_le().ok()?;
    let generation = bytes.try_get_u128_le().ok()?;
    let count = bytes.try_get_u16_le().ok()?;
    let mut name = || {
        let length = usize::from(bytes.try_get_u16_le().ok()?);
        let name = HeaderName::from_bytes(bytes.get(..length)?).ok()?;
        bytes.advance(length);
        Some(name)
    };
    let names: FieldNames = (0..count).map(|_| name()).collect::<Option<_>>()?;
    bytes.is_empty().then_some(Variants { names, generation })
}

impl Stored {
    /// The answer to a request; to one by HEAD without the body. `None` for variants, which are no
    /// answer.
    pub(super) fn into_hit(self, is_head: bool, now: Timestamp) -> Option<Response<Bytes>> {
        let (status, mut headers, body) = match self {
            Self::Response(StoredResponse { status, mut headers, generated_at, body }) => {
                headers.insert(AGE, HeaderValue::from(now.since(generated_at).as_secs()));
                (status, headers, body)
            }
            Self::Plain(PlainResponse { content_type, body }) => {
                let mut headers = HeaderMap::with_capacity(3);
                headers.insert(CONTENT_TYPE, content_type);
                (StatusCode::OK, headers, body)
            }
            Self::Variants(_) => return None,
        };
        headers.insert(X_CACHE, HeaderValue::from_static("HIT"));
        let body = if is_head {
            if status != StatusCode::NO_CONTENT && !headers.contains_key(CONTENT_LENGTH) {
                headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
            }
            Bytes::new()
        } else {
            body
        };
        let mut response = Response::new(body);
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        Some(response)
    }
}

#[cfg(test)]
mod tests {
    use http::header::{ETAG, LINK, ORIGIN, VARY};
    use proptest::prelude::*;

    use super::*;
    use crate::runtime::test;

    const GOLDEN_RESPONSE: &[u8] = include_bytes!("../../golden/response-v1.bin");
    const GOLDEN_VARIANTS: &[u8] = include_bytes!("../../golden/variants-v1.bin");

    fn response() -> StoredResponse {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
        headers.append(LINK, HeaderValue::from_static("</a.css>; rel=preload"));
        headers.append(LINK, HeaderValue::from_static("</b.js>; rel=preload"));
        headers.insert(ETAG, HeaderValue::from_bytes(b"\"caf\xe9\"").unwrap());
        StoredResponse {
            status: StatusCode::NON_AUTHORITATIVE_INFORMATION,
            headers,
            generated_at: Timestamp::from_millis(1_767_225_600_123),
            body: Bytes::from_static("<h1>Zoë</h1>".as_bytes()),
        }
    }

    fn variants() -> Variants {
        let names = [VARY, ORIGIN].into_iter().collect();
        Variants { names, generation: 0x0011_2233_4455_6677_8899_aabb_ccdd_eeff }
    }

    #[test]
    fn the_bytes_of_the_first_version_are_written_and_read() {
        for (golden, stored) in [
            (GOLDEN_RESPONSE, Stored::Response(response())),
            (GOLDEN_VARIANTS, Stored::Variants(variants())),
        ] {
            assert_eq!(stored.to_bytes(), golden);
            assert_eq!(Stored::from_bytes(Bytes::from_static(golden)), Some(stored));
        }
    }

    #[test]
    fn the_body_is_not_copied() {
        let bytes = Stored::Response(response()).to_bytes();
        let Some(Stored::Response(read)) = Stored::from_bytes(bytes.clone()) else { panic!() };
        assert!(bytes.as_ptr_range().contains(&read.body.as_ptr()));
        assert!(bytes.as_ptr_range().contains(&read.headers[ETAG].as_bytes().as_ptr()));
    }

    #[test]
    fn another_version_or_kind_is_unreadable() {
        for start in [[2, 0], [0, 0], [1, 2], [1, 255]] {
            let mut bytes = GOLDEN_RESPONSE.to_vec();
            bytes[..2].copy_from_slice(&start);
            assert_eq!(Stored::from_bytes(bytes.into()), None);
        }
    }

    #[test]
    fn a_head_that_is_cut_off_is_unreadable() {
        let head = GOLDEN_RESPONSE.len() - response().body.len();
        for end in 0..head {
            assert_eq!(Stored::from_bytes(GOLDEN_RESPONSE.slice_to(end)), None, "{end}");
        }
        for end in 0..GOLDEN_VARIANTS.len() {
            assert_eq!(Stored::from_bytes(GOLDEN_VARIANTS.slice_to(end)), None, "{end}");
        }
    }

    trait SliceTo {
        fn slice_to(&self, end: usize) -> Bytes;
    }

    impl SliceTo for [u8] {
        fn slice_to(&self, end: usize) -> Bytes {
            Bytes::copy_from_slice(&self[..end])
        }
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(
            status in 100_u16..1_000,
            lines in proptest::collection::vec(("[a-z][a-z-]{0,20}", proptest::collection::vec(prop_oneof![32_u8..127, 128_u8..=255], 0..30)), 0..20),
            millis in 0_u64..1 << 50,
            body in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let mut headers = HeaderMap::new();
            for (name, value) in lines {
                headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_bytes(&value).unwrap());
            }
            let stored = Stored::Response(StoredResponse {
                status: StatusCode::from_u16(status).unwrap(),
                headers,
                generated_at: Timestamp::from_millis(millis),
                body: body.into(),
            });
            prop_assert_eq!(Stored::from_bytes(stored.to_bytes()), Some(stored));
        }

        #[test]
        fn no_bytes_make_it_panic(
            at in 0_usize..100,
            with in proptest::collection::vec(any::<u8>(), 0..40),
            random in proptest::collection::vec(any::<u8>(), 0..100),
        ) {
            let mut bytes = GOLDEN_RESPONSE.to_vec();
            bytes.splice(at.min(bytes.len()).., with);
            let _ = Stored::from_bytes(bytes.into());
            let _ = Stored::from_bytes(random.into());
        }
    }
}
