//! What a request presents.

use http::HeaderMap;
use http::header::COOKIE;
use larder_core::session::Presented;
use percent_encoding::percent_decode;

use super::seal::Seal;

/// The longest value that is looked at, decoded. Those that are made here have up to 98 bytes.
const LONGEST: usize = 128;

/// How many cookies of the name are tried, before whoever sent so many is taken for a stranger.
const MOST: usize = 16;

/// The ids in the cookies of that name, in the order in which they were sent.
///
/// A browser sends two cookies of a name where a sibling domain, or whoever can write into a
/// connection without TLS, has set one of its own. Express takes the first, so that such a one locks
/// a visitor out. Here those that were not made here are passed over, and those of sessions that
/// have ended too. That somebody slips in a cookie of a live session of his own only the prefix
/// `__Host-` prevents: with it browsers take the cookie from this host alone.
pub(super) fn presented(headers: &HeaderMap, name: &str, seal: &Seal) -> Presented {
    let lines = headers.get_all(COOKIE).iter();
    let pairs = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
    let values = pairs.filter_map(|pair| value_of(pair.trim_ascii(), name.as_bytes())).take(MOST);
    let mut presented = Presented::new(None);
    for value in values {
        let decoded = Decoded::of(value);
        let text = decoded.as_ref().and_then(Decoded::as_str);
        let Some(unsealed) = text.and_then(|text| seal.unseal(text)) else { continue };
        presented = presented.or(unsealed.id);
        if unsealed.is_outdated {
            presented = presented.reissued();
        }
    }
    presented
}

fn value_of<'a>(pair: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let value = pair.strip_prefix(name)?.trim_ascii_start().strip_prefix(b"=")?;
    Some(value.trim_ascii())
}

/// A value without its percent-encoding.
struct Decoded {
    bytes: [u8; LONGEST],
    length: usize,
}

impl Decoded {
    fn of(value: &[u8]) -> Option<Self> {
        let unquoted = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
        let mut decoded = Self { bytes: [0; LONGEST], length: 0 };
        for byte in percent_decode(unquoted.unwrap_or(value)) {
            *decoded.bytes.get_mut(decoded.length)? = byte;
            decoded.length += 1;
        }
        Some(decoded)
    }

    fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(self.bytes.get(..self.length)?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::test;

    #[test]
    fn what_is_too_long_is_read_no_further() {
        let decoded = |value: &[u8]| Some(Decoded::of(value)?.as_str()?.to_owned());
        assert_eq!(decoded(&b"%41".repeat(LONGEST)).unwrap(), "A".repeat(LONGEST));
        assert_eq!(decoded(&b"%41".repeat(LONGEST + 1)), None);
        assert_eq!(decoded(&[b'A'; 100_000]), None);
        assert_eq!(decoded(b"%FF"), None, "no UTF-8");
        assert_eq!(decoded(b"\"%2B\"").unwrap(), "+");
    }
}
