//! Which client a request comes from, by its address.

mod fields;
mod forwarded;
mod node;

use std::fmt::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use arrayvec::ArrayString;
use compact_str::{CompactString, format_compact};
use http::request::Parts;
use http::{Extensions, HeaderMap, HeaderName};

use crate::runtime::connected_from;

/// The IPv6 addresses that one subscriber is given, as a rule (RFC 6177).
const IPV6_PREFIX: u8 = 64;

const CF_CONNECTING_IP: HeaderName = HeaderName::from_static("cf-connecting-ip");

/// Keys by the address of the client.
///
/// Whoever can choose the address that is found here can escape every limit, and use up that of
/// others. So nothing is guessed: say what stands in front of the server, and let no way lead past
/// it.
///
/// | in front of the server | |
/// | --- | --- |
/// | nothing | [`ClientIp::peer`], which is the default |
/// | `n` reverse proxies, each of which adds to `X-Forwarded-For` | [`ClientIp::behind_proxies`] |
/// | the same with `Forwarded` (RFC 7239) | [`ClientIp::behind_proxies`] with [`by_forwarded`](ClientIp::by_forwarded) |
/// | Cloudflare, also for a Worker | [`ClientIp::cloudflare`] |
/// | a proxy that sets a field of its own | [`ClientIp::from_header`] |
///
/// An IPv4 address is a client. IPv6 addresses are one client by their first 64 bits, unless
/// [told otherwise](ClientIp::ipv6_prefix): a host chooses the rest as it likes. An IPv4 address
/// mapped into IPv6 (`::ffff:203.0.113.9`, RFC 4291 §2.5.5.2) is the IPv4 address.
///
/// ```
/// use http::Request;
/// use larder_http::rate_limit::ClientIp;
///
/// let request = Request::get("/")
///     .header("x-forwarded-for", "198.51.100.1, 203.0.113.9") // the first is the client's own
///     .header("x-forwarded-for", "192.0.2.7:4711")
///     .body(())?;
/// let (head, ()) = request.into_parts();
/// assert_eq!(ClientIp::behind_proxies(1).key(&head).as_deref(), Some("192.0.2.7"));
/// assert_eq!(ClientIp::behind_proxies(2).key(&head).as_deref(), Some("203.0.113.9"));
/// assert_eq!(ClientIp::behind_proxies(4).key(&head), None);
/// # Ok::<(), http::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientIp {
    source: Source,
    ipv6_prefix: u8,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Source {
    Peer,
    XForwardedFor { proxies: usize },
    Forwarded { proxies: usize },
    Header(HeaderName),
}

impl ClientIp {
    const fn new(source: Source) -> Self {
        Self { source, ipv6_prefix: IPV6_PREFIX }
    }

    /// The other end of the connection: for a server that clients reach without a proxy.
    ///
    /// It is taken from the extension [`PeerAddr`], else, with the feature `axum`, from that of
    /// `Router::into_make_service_with_connect_info::<SocketAddr>()`. Behind a proxy it would be
    /// the proxy's, and all clients one.
    #[must_use]
    pub const fn peer() -> Self {
        Self::new(Source::Peer)
    }

    /// Behind `proxies` reverse proxies, each of which adds to `X-Forwarded-For` the address that
    /// it was asked from: counted from the right, over all lines of that name together. Zero is
    /// [`peer`](Self::peer).
    ///
    /// What stands to the left of that was sent by the client, and is not read. With fewer
    /// addresses than proxies there is no address: either a way leads past a proxy, or the number
    /// is too high, and then clients could choose their address.
    #[must_use]
    pub const fn behind_proxies(proxies: usize) -> Self {
        match proxies {
            0 => Self::peer(),
            proxies => Self::new(Source::XForwardedFor { proxies }),
        }
    }

    /// The proxies add to `Forwarded` (RFC 7239) in place of `X-Forwarded-For`. Only one of the
    /// two is read: the other may be the client's.
    ///
    /// An identifier that is no address (`unknown`, or one that begins with `_`) gives no key: it
    /// may be another for each request (RFC 7239 §6.3).
    #[must_use]
    pub fn by_forwarded(mut self) -> Self {
        if let Source::XForwardedFor { proxies } = self.source {
            self.source = Source::Forwarded { proxies };
        }
        self
    }

    /// From a field that what stands in front sets itself, over whatever the client sent:
    /// `Fly-Client-IP`, `X-Real-IP`. There must be one line of it, with one address.
    #[must_use]
    pub const fn from_header(name: HeaderName) -> Self {
        Self::new(Source::Header(name))
    }

    /// Behind Cloudflare, and in a Worker: from `CF-Connecting-IP`.
    ///
    /// A server of one's own must not be reachable but through Cloudflare.
    #[must_use]
    pub const fn cloudflare() -> Self {
        Self::from_header(CF_CONNECTING_IP)
    }

    /// How many bits of an IPv6 address tell clients apart; 64 by default, and at most 128.
    /// A provider that gives its subscribers more (a /56, say) makes one of them several clients.
    #[must_use]
    pub const fn ipv6_prefix(mut self, bits: u8) -> Self {
        self.ipv6_prefix = if bits > 128 { 128 } else { bits };
        self
    }

    /// The client's address, with a mapped one unmapped; `None` where it cannot be known.
    #[must_use]
    pub fn of(&self, request: &Parts) -> Option<IpAddr> {
        self.find(&request.headers, &request.extensions)
    }

    pub(crate) fn find(&self, headers: &HeaderMap, extensions: &Extensions) -> Option<IpAddr> {
        let address = match &self.source {
            Source::Peer => PeerAddr::of(extensions),
            Source::XForwardedFor { proxies } => fields::from_the_right(headers, *proxies),
            Source::Forwarded { proxies } => forwarded::from_the_right(headers, *proxies),
            Source::Header(name) => fields::alone(headers, name),
        };
        address.map(|address| address.to_canonical())
    }

    /// The key of the client: its IPv4 address, or the network of its IPv6 address, as in
    /// `2001:db8:1:2::/64`.
    #[must_use]
    pub fn key(&self, request: &Parts) -> Option<String> {
        self.text(request).map(String::from)
    }

    /// As [`key`](Self::key), mostly without an allocation.
    pub(super) fn text(&self, request: &Parts) -> Option<CompactString> {
        Some(match self.of(request)? {
            IpAddr::V4(address) => dotted(address),
            IpAddr::V6(address) if self.ipv6_prefix == 128 => format_compact!("{address}"),
            IpAddr::V6(address) => {
                format_compact!("{}/{}", network(address, self.ipv6_prefix), self.ipv6_prefix)
            }
        })
    }
}

/// Writes the address as it is displayed.
pub(crate) fn push_address(text: &mut String, address: IpAddr) {
    match address {
        IpAddr::V4(address) => text.push_str(&dotted(address)),
        // Never fails on a `String`.
        IpAddr::V6(address) => write!(text, "{address}").unwrap_or_default(),
    }
}

/// As it is displayed: what that takes is much of what it takes to limit a request.
fn dotted(address: Ipv4Addr) -> CompactString {
    let mut text = ArrayString::<15>::new();
    // There is room for the longest.
    let mut push = |byte: u8| text.try_push(char::from(byte)).unwrap_or_default();
    for (at, octet) in address.octets().into_iter().enumerate() {
        if at > 0 {
            push(b'.');
        }
        if octet >= 100 {
            push(b'0' + octet / 100);
        }
        if octet >= 10 {
            push(b'0' + octet / 10 % 10);
        }
        push(b'0' + octet % 10);
    }
    CompactString::from(text.as_str())
}

impl Default for ClientIp {
    /// [`ClientIp::peer`].
    fn default() -> Self {
        Self::peer()
    }
}

fn network(address: Ipv6Addr, prefix: u8) -> Ipv6Addr {
    let host_bits = 128 - u32::from(prefix);
    let mask = u128::MAX.checked_shl(host_bits).unwrap_or(0);
    Ipv6Addr::from_bits(address.to_bits() & mask)
}

/// The other end of a request's connection, as an extension of the request: for servers that do not
/// tell it as axum does.
///
/// ```
/// use http::Request;
/// use larder_http::rate_limit::{ClientIp, PeerAddr};
///
/// # let socket: std::net::SocketAddr = "203.0.113.9:51034".parse()?;
/// let mut request = Request::new(());
/// request.extensions_mut().insert(PeerAddr::from(socket));
/// let (head, ()) = request.into_parts();
/// assert_eq!(ClientIp::peer().key(&head).as_deref(), Some("203.0.113.9"));
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PeerAddr(IpAddr);

impl PeerAddr {
    fn of(extensions: &Extensions) -> Option<IpAddr> {
        match extensions.get::<Self>() {
            Some(Self(address)) => Some(*address),
            None => connected_from(extensions),
        }
    }
}

impl From<IpAddr> for PeerAddr {
    fn from(address: IpAddr) -> Self {
        Self(address)
    }
}

impl From<SocketAddr> for PeerAddr {
    fn from(address: SocketAddr) -> Self {
        Self(address.ip())
    }
}

impl fmt::Debug for PeerAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::test;

    #[test]
    fn an_address_is_written_as_it_is_displayed() {
        for octet in 0..=u8::MAX {
            for address in [[octet, 0, 9, 10], [255, octet, 99, 100], [1, 200, octet, octet]] {
                let address = Ipv4Addr::from(address);
                assert_eq!(dotted(address), address.to_string());
            }
        }
    }
}
