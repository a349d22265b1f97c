//! What a request presents.

use std::iter;

use arrayvec::ArrayVec;
use http::HeaderMap;
use http::header::COOKIE;
use larder_core::session::Presented;
use memchr::memchr;

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
    let pairs = lines.flat_map(|line| pairs(line.as_bytes()));
    let values = pairs.filter_map(|pair| value_of(pair.trim_ascii(), name.as_bytes())).take(MOST);
    let mut unsealed = values.filter_map(|value| {
        let decoded = decoded(value)?;
        seal.unseal(std::str::from_utf8(&decoded).ok()?)
    });
    let Some(first) = unsealed.next() else { return Presented::new(None) };
    let mut is_outdated = first.is_outdated;
    let mut presented = Presented::new(Some(first.id));
    for other in unsealed {
        presented = presented.or(other.id);
        is_outdated |= other.is_outdated;
    }
    if is_outdated { presented.reissued() } else { presented }
}

fn pairs(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(line);
    iter::from_fn(move || {
        let line = rest?;
        let Some(end) = memchr(b';', line) else { return rest.take() };
        rest = Some(&line[end + 1..]);
        Some(&line[..end])
    })
}

fn value_of<'a>(pair: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let value = pair.strip_prefix(name)?.trim_ascii_start().strip_prefix(b"=")?;
    Some(value.trim_ascii())
}

/// A value without its percent-encoding. What is no escape stands for itself, as browsers have it
/// (URL Standard, section 1.3).
fn decoded(value: &[u8]) -> Option<ArrayVec<u8, LONGEST>> {
    let unquoted = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
    let mut rest = unquoted.unwrap_or(value);
    let mut decoded = ArrayVec::new();
    while let Some(at) = memchr(b'%', rest) {
        let (plain, escape) = rest.split_at(at);
        decoded.try_extend_from_slice(plain).ok()?;
        let (byte, length) = match escape {
            [_, high, low, ..] => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => (high << 4 | low, 3),
                _ => (b'%', 1),
            },
            _ => (b'%', 1),
        };
        decoded.try_push(byte).ok()?;
        rest = &escape[length..];
    }
    decoded.try_extend_from_slice(rest).ok()?;
    Some(decoded)
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use percent_encoding::percent_decode;
    use proptest::prelude::*;

    use super::*;
    use crate::runtime::test;

    #[test]
    fn what_is_too_long_is_read_no_further() {
        let decoded = |value: &[u8]| String::from_utf8(decoded(value)?.to_vec()).ok();
        assert_eq!(decoded(&b"%41".repeat(LONGEST)).unwrap(), "A".repeat(LONGEST));
        assert_eq!(decoded(&b"%41".repeat(LONGEST + 1)), None);
        assert_eq!(decoded(&[b'A'; 100_000]), None);
        assert_eq!(decoded(b"%FF"), None, "no UTF-8");
        assert_eq!(decoded(b"\"%2B\"").unwrap(), "+");
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

        #[test]
        fn escapes_are_read_as_others_read_them(value in "[a%0-9A-Fg.]{0,40}") {
            let others: Vec<u8> = percent_decode(value.as_bytes()).collect();
            prop_assert_eq!(decoded(value.as_bytes()).unwrap().to_vec(), others);
        }
    }
}
