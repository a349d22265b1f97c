//! Fields that hold addresses and nothing else.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName};

use super::node;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The address at this place of `X-Forwarded-For`, counted from 1 at the right.
pub(super) fn from_the_right(headers: &HeaderMap, place: usize) -> Option<IpAddr> {
    let lines = headers.get_all(X_FORWARDED_FOR).iter().rev();
    let members = lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
    // Empty members of a list do not count (RFC 9110 §5.6.1).
    let mut members = members.map(<[u8]>::trim_ascii).filter(|member| !member.is_empty());
    node::address(members.nth(place - 1)?)
}

/// The address in a field that there is one line of.
pub(super) fn alone(headers: &HeaderMap, name: &HeaderName) -> Option<IpAddr> {
    let mut lines = headers.get_all(name).iter();
    let line = lines.next()?;
    if lines.next().is_some() {
        return None;
    }
    node::address(line.as_bytes().trim_ascii())
}
