//! An address, as proxies write it.

use std::net::{IpAddr, Ipv6Addr};

/// `203.0.113.9`, `203.0.113.9:4711`, `2001:db8::1`, `[2001:db8::1]` or `[2001:db8::1]:4711`, the
/// address also with a zone (RFC 4007 §11), which says nothing outside of its host.
pub(super) fn address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?;
    if let Some(rest) = text.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        return match port.strip_prefix(':') {
            Some(port) if is_port(port) => v6(address),
            None if port.is_empty() => v6(address),
            _ => None,
        };
    }
    if let Some(address) = v6(text) {
        return Some(address);
    }
    let address = match text.split_once(':') {
        Some((address, port)) => is_port(port).then_some(address)?,
        None => text,
    };
    Some(IpAddr::V4(address.parse().ok()?))
}

fn v6(text: &str) -> Option<IpAddr> {
    let address = match text.split_once('%') {
        Some((_, "")) => return None,
        Some((address, _)) => address,
        None => text,
    };
    Some(IpAddr::V6(address.parse::<Ipv6Addr>().ok()?))
}

/// A number, or an identifier that hides it (RFC 7239 §6).
fn is_port(text: &str) -> bool {
    match text.strip_prefix('_') {
        Some(hidden) => {
            let is_of_one = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
            !hidden.is_empty() && hidden.bytes().all(is_of_one)
        }
        None => (1..=5).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit()),
    }
}
