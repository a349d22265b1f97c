//! What a request presents.

use std::borrow::Cow;

use http::HeaderMap;
use http::header::COOKIE;
use larder_core::session::Presented;
use percent_encoding::percent_decode;

use super::seal::Seal;

/// The longest value that is looked at. Those that are made here have fewer than half as many bytes.
const LONGEST: usize = 512;

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
        let Some(unsealed) = decoded(value).and_then(|value| seal.unseal(&value)) else { continue };
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

fn decoded(value: &[u8]) -> Option<Cow<'_, str>> {
    if value.len() > LONGEST {
        return None;
    }
    let value = value.strip_prefix(b"\"").and_then(|it| it.strip_suffix(b"\"")).unwrap_or(value);
    percent_decode(value).decode_utf8().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::test;

    #[test]
    fn what_is_too_long_is_not_even_decoded() {
        assert_eq!(decoded(&b"%41".repeat(100)).unwrap(), "A".repeat(100));
        assert_eq!(decoded(&[b'A'; LONGEST]).unwrap().len(), LONGEST);
        assert_eq!(decoded(&[b'A'; LONGEST + 1]), None);
        assert_eq!(decoded(b"%FF"), None, "no UTF-8");
    }
}
