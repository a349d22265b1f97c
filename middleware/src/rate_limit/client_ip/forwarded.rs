//! The field `Forwarded` (RFC 7239), read from the right.
//!
//! What proxies have added stands at the right, and is well formed. What a client has sent stands to
//! the left of it, and may be anything: an open quotation mark there would swallow everything behind
//! it, were it read from the left.

use std::borrow::Cow;
use std::net::IpAddr;

use http::HeaderMap;
use http::header::FORWARDED;

use super::node;

/// The address that the element at this place is `for`, counted from 1 at the right.
pub(super) fn from_the_right(headers: &HeaderMap, place: usize) -> Option<IpAddr> {
    let lines = headers.get_all(FORWARDED).iter().rev();
    let elements = lines.flat_map(|line| Elements { rest: Some(line.as_bytes()) });
    let mut elements = elements.filter(|element| !element.is_empty());
    let name = is_for(elements.nth(place - 1)?)?;
    node::address(&name)
}

/// The elements of a line, the last one first.
struct Elements<'a> {
    rest: Option<&'a [u8]>,
}

impl<'a> Iterator for Elements<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let line = self.rest?;
        let mut quoted = false;
        for (at, byte) in line.iter().enumerate().rev() {
            match byte {
                b'"' => quoted = !quoted || is_escaped(line, at),
                b',' if !quoted => {
                    self.rest = Some(&line[..at]);
                    return Some(line[at + 1..].trim_ascii());
                }
                _ => {}
            }
        }
        self.rest = None;
        Some(line.trim_ascii())
    }
}

fn is_escaped(line: &[u8], at: usize) -> bool {
    line[..at].iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1
}

/// The value of the one parameter `for` of an element.
fn is_for(element: &[u8]) -> Option<Cow<'_, [u8]>> {
    let mut found = None;
    let mut rest = element;
    loop {
        let at = rest.iter().position(|byte| *byte == b'=')?;
        let (name, after) = (rest[..at].trim_ascii(), rest[at + 1..].trim_ascii_start());
        let (value, after) = match after.strip_prefix(b"\"") {
            Some(after) => unquoted(after)?,
            None => {
                let end = after.iter().position(|byte| *byte == b';').unwrap_or(after.len());
                (Cow::Borrowed(after[..end].trim_ascii_end()), &after[end..])
            }
        };
        if name.eq_ignore_ascii_case(b"for") && found.replace(value).is_some() {
            return None;
        }
        match after.trim_ascii_start() {
            [] => return found,
            [b';', more @ ..] if more.trim_ascii().is_empty() => return found,
            [b';', more @ ..] => rest = more,
            _ => return None,
        }
    }
}

/// A quoted string after its first quotation mark, and what follows it.
fn unquoted(text: &[u8]) -> Option<(Cow<'_, [u8]>, &[u8])> {
    let mut value = Vec::new();
    let mut bytes = text.iter().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'"' => return Some((Cow::Owned(value), &text[at + 1..])),
            b'\\' => value.push(*bytes.next()?.1),
            byte => value.push(*byte),
        }
    }
    None
}
