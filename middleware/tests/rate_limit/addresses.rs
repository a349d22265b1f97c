//! Which client a request comes from, whatever it says of itself.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use http::request::Parts;
use http::{HeaderName, HeaderValue, Request};
use larder_http::rate_limit::{ClientIp, PeerAddr};
use proptest::prelude::*;

use crate::runtime::test;

fn head(name: &str, lines: &[impl AsRef<[u8]>]) -> Parts {
    let mut request = Request::new(());
    for line in lines {
        let value = HeaderValue::from_bytes(line.as_ref()).unwrap();
        request.headers_mut().append(name.parse::<HeaderName>().unwrap(), value);
    }
    request.into_parts().0
}

/// `None` where no address is to be found.
type Row = (&'static [&'static str], usize, Option<&'static str>);

fn expect(name: &str, by: impl Fn(usize) -> ClientIp, rows: &[Row]) {
    for (lines, proxies, expected) in rows {
        let key = by(*proxies).key(&head(name, lines));
        assert_eq!(key.as_deref(), *expected, "{name}: {lines:?} behind {proxies}");
    }
}

#[test]
fn x_forwarded_for_is_counted_from_the_right() {
    let rows: &[Row] = &[
        (&["203.0.113.9"], 1, Some("203.0.113.9")),
        // What the client has sent stands to the left.
        (&["198.51.100.1, 203.0.113.9"], 1, Some("203.0.113.9")),
        (&["127.0.0.1, 10.0.0.1, 203.0.113.9, 192.0.2.1"], 2, Some("203.0.113.9")),
        (&["garbage, <script>, 203.0.113.9"], 1, Some("203.0.113.9")),
        // Several lines are one list.
        (&["198.51.100.1", "203.0.113.9"], 1, Some("203.0.113.9")),
        (&["198.51.100.1, 203.0.113.9", "192.0.2.1"], 2, Some("203.0.113.9")),
        (&["198.51.100.1", "203.0.113.9", "192.0.2.1, 192.0.2.2"], 3, Some("203.0.113.9")),
        // Empty members are none.
        (&["203.0.113.9,"], 1, Some("203.0.113.9")),
        (&["203.0.113.9", ""], 1, Some("203.0.113.9")),
        (&["203.0.113.9, , ,\t, 192.0.2.1"], 2, Some("203.0.113.9")),
        (&[" \t203.0.113.9\t "], 1, Some("203.0.113.9")),
        // Fewer members than proxies.
        (&["203.0.113.9"], 2, None),
        (&["203.0.113.9"], usize::MAX, None),
        (&[], 1, None),
        (&["", " , "], 1, None),
        // Ports and brackets.
        (&["203.0.113.9:4711"], 1, Some("203.0.113.9")),
        (&["[2001:db8:1:2:3:4:5:6]:4711"], 1, Some("2001:db8:1:2::/64")),
        (&["[2001:db8:1:2:3:4:5:6]"], 1, Some("2001:db8:1:2::/64")),
        (&["2001:db8:1:2:3:4:5:6"], 1, Some("2001:db8:1:2::/64")),
        (&["203.0.113.9:"], 1, None),
        (&["203.0.113.9:x"], 1, None),
        (&["203.0.113.9:123456"], 1, None),
        (&["203.0.113.9:80:80"], 1, None),
        (&["[2001:db8::1"], 1, None),
        (&["2001:db8::1]"], 1, None),
        (&["[2001:db8::1]80"], 1, None),
        (&["[203.0.113.9]"], 1, None),
        (&["[]:80"], 1, None),
        // Zones say nothing here.
        (&["fe80::1%eth0"], 1, Some("fe80::/64")),
        (&["[fe80::1%25eth0]:80"], 1, Some("fe80::/64")),
        (&["fe80::1%"], 1, None),
        (&["203.0.113.9%eth0"], 1, None),
        // Mapped addresses are those that they map.
        (&["::ffff:203.0.113.9"], 1, Some("203.0.113.9")),
        (&["::FFFF:cb00:7109"], 1, Some("203.0.113.9")),
        (&["[::ffff:203.0.113.9]:80"], 1, Some("203.0.113.9")),
        (&["0:0:0:0:0:ffff:203.0.113.9"], 1, Some("203.0.113.9")),
        // No addresses.
        (&["unknown"], 1, None),
        (&["_hidden"], 1, None),
        (&["localhost"], 1, None),
        (&["203.0.113.256"], 1, None),
        (&["203.0.113"], 1, None),
        (&["0xcb.0.113.9"], 1, None),
        (&["0203.0.113.9"], 1, None),
        (&["203.0.113.9 192.0.2.1"], 1, None),
        (&["\"203.0.113.9\""], 1, None),
        (&["2001:db8::1::2"], 1, None),
        // What cannot be read is not passed over: what is left of it is the client's.
        (&["198.51.100.1, unknown"], 1, None),
    ];
    expect("x-forwarded-for", ClientIp::behind_proxies, rows);
    expect("X-FORWARDED-FOR", ClientIp::behind_proxies, &rows[..4]);
}

#[test]
fn forwarded_is_counted_from_the_right() {
    let by = |proxies| ClientIp::behind_proxies(proxies).by_forwarded();
    let rows: &[Row] = &[
        (&["for=203.0.113.9"], 1, Some("203.0.113.9")),
        (&["For=\"203.0.113.9:4711\""], 1, Some("203.0.113.9")),
        (&["for=\"[2001:db8:1:2:3::4]:4711\""], 1, Some("2001:db8:1:2::/64")),
        (&["for=\"[2001:db8:1:2:3::4]\""], 1, Some("2001:db8:1:2::/64")),
        (&["for=\"[2001:db8:1:2:3::4]:_port\""], 1, Some("2001:db8:1:2::/64")),
        (&["proto=https;by=192.0.2.1; FOR = 203.0.113.9 ;host=\"a,b;c\""], 1, Some("203.0.113.9")),
        (&["for=203.0.113.9;proto=https;"], 1, Some("203.0.113.9")),
        (&["for=\"20\\3.0.113.9\""], 1, Some("203.0.113.9")),
        (&["for=198.51.100.1, for=203.0.113.9"], 1, Some("203.0.113.9")),
        (&["for=198.51.100.1, for=203.0.113.9;proto=http, for=192.0.2.1"], 2, Some("203.0.113.9")),
        (&["for=198.51.100.1", "for=203.0.113.9"], 1, Some("203.0.113.9")),
        (&["for=203.0.113.9, , "], 1, Some("203.0.113.9")),
        // Quotation marks of the client swallow nothing.
        (&["for=\"198.51.100.1, for=203.0.113.9"], 1, Some("203.0.113.9")),
        (&["for=\"198.51.100.1, for=\"[2001:db8::1]\""], 1, Some("2001:db8::/64")),
        (&["for=\"\\\", for=203.0.113.9;host=\"x\""], 1, Some("203.0.113.9")),
        (&["for=198.51.100.1;host=\"", "for=203.0.113.9"], 1, Some("203.0.113.9")),
        (&["for=\"198.51.100.1, for=1.1.1.1\", for=203.0.113.9"], 1, Some("203.0.113.9")),
        (&["host=\"a\\\"b, c\";for=203.0.113.9, for=192.0.2.1"], 2, Some("203.0.113.9")),
        (&["host=\"a, \\\"b\";for=203.0.113.9, for=192.0.2.1"], 2, Some("203.0.113.9")),
        // Identifiers that are no addresses.
        (&["for=unknown"], 1, None),
        (&["for=_hidden"], 1, None),
        (&["for=\"_SEVKISEK:80\""], 1, None),
        (&["for=198.51.100.1, for=unknown"], 1, None),
        // What is malformed.
        (&["203.0.113.9"], 1, None),
        (&["for"], 1, None),
        (&["for="], 1, None),
        (&["for=\""], 1, None),
        (&["for=\"203.0.113.9"], 1, None),
        (&["for=\"203.0.113.9\"x"], 1, None),
        (&["for=203.0.113.9;for=198.51.100.1"], 1, None),
        (&["for=203.0.113.9;proto"], 1, None),
        (&["proto=https"], 1, None),
        (&["for=203.0.113.9"], 2, None),
        (&[], 1, None),
    ];
    expect("forwarded", by, rows);
    let other = head("x-forwarded-for", &["203.0.113.9"]);
    assert_eq!(by(1).of(&other), None);
    let other = head("forwarded", &["for=203.0.113.9"]);
    assert_eq!(ClientIp::behind_proxies(1).of(&other), None);
}

#[test]
fn bytes_that_are_no_text_hide_nothing() {
    let lines = [&b"\xff\xfe, \x80\"\\"[..], b"203.0.113.9"];
    let request = head("x-forwarded-for", &lines);
    assert_eq!(ClientIp::behind_proxies(1).key(&request).as_deref(), Some("203.0.113.9"));
    assert_eq!(ClientIp::behind_proxies(2).key(&request), None);
    let request = head("forwarded", &[&b"for=\"\xff, for=203.0.113.9"[..]]);
    let by = ClientIp::behind_proxies(1).by_forwarded();
    assert_eq!(by.key(&request).as_deref(), Some("203.0.113.9"));
}

#[test]
fn a_field_of_ones_own_has_one_line_and_one_address() {
    let by = |_| ClientIp::cloudflare();
    expect(
        "cf-connecting-ip",
        by,
        &[
            (&["203.0.113.9"], 0, Some("203.0.113.9")),
            (&["2001:db8:1:2:3::4"], 0, Some("2001:db8:1:2::/64")),
            (&["203.0.113.9", "198.51.100.1"], 0, None),
            (&["203.0.113.9, 198.51.100.1"], 0, None),
            (&[""], 0, None),
            (&[], 0, None),
        ],
    );
    let real = ClientIp::from_header(HeaderName::from_static("x-real-ip"));
    assert_eq!(real.key(&head("x-real-ip", &["203.0.113.9"])).as_deref(), Some("203.0.113.9"));
    assert_eq!(real.key(&head("x-forwarded-for", &["203.0.113.9"])), None);
}

#[test]
fn the_peer_is_told_by_the_server_and_no_header() {
    let mut request = head("x-forwarded-for", &["198.51.100.1"]);
    assert_eq!(ClientIp::peer().of(&request), None);
    let socket: SocketAddr = "[::ffff:203.0.113.9]:80".parse().unwrap();
    request.extensions.insert(PeerAddr::from(socket));
    for by in [ClientIp::peer(), ClientIp::default(), ClientIp::behind_proxies(0).by_forwarded()] {
        assert_eq!(by.of(&request), Some(IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9))));
    }
}

#[test]
fn ipv6_addresses_are_grouped_by_their_beginning() {
    let request = head("x-forwarded-for", &["2001:db8:abcd:12ff:ffff:ffff:ffff:ffff"]);
    for (bits, key) in [
        (0, "::/0"),
        (32, "2001:db8::/32"),
        (48, "2001:db8:abcd::/48"),
        (56, "2001:db8:abcd:1200::/56"),
        (64, "2001:db8:abcd:12ff::/64"),
        (127, "2001:db8:abcd:12ff:ffff:ffff:ffff:fffe/127"),
        (128, "2001:db8:abcd:12ff:ffff:ffff:ffff:ffff"),
        (255, "2001:db8:abcd:12ff:ffff:ffff:ffff:ffff"),
    ] {
        let by = ClientIp::behind_proxies(1).ipv6_prefix(bits);
        assert_eq!(by.key(&request).as_deref(), Some(key), "/{bits}");
    }
}

proptest! {
    /// Whatever a client sends, in as many lines as it likes.
    #[test]
    fn nobody_chooses_an_address(
        sent in proptest::collection::vec(proptest::collection::vec(32_u8..=255, 0..40), 0..4),
        client in any::<IpAddr>(),
        proxies in proptest::collection::vec(any::<IpAddr>(), 0..3),
        on_one_line in any::<bool>(),
    ) {
        prop_assume!(sent.iter().flatten().all(|byte| *byte != 127));
        let written = std::iter::once(client).chain(proxies.iter().copied());
        let forwarded = written.clone().map(|address| match address {
            IpAddr::V4(address) => format!("for={address}"),
            IpAddr::V6(address) => format!("for=\"[{address}]:80\";proto=https"),
        });
        let by = ClientIp::behind_proxies(proxies.len() + 1);
        for (name, by, written) in [
            ("x-forwarded-for", by.clone(), written.map(|it| it.to_string()).collect::<Vec<_>>()),
            ("forwarded", by.by_forwarded(), forwarded.collect()),
        ] {
            let mut lines = sent.clone();
            match lines.last_mut().filter(|_| on_one_line) {
                Some(last) => last.extend(format!(", {}", written.join(", ")).into_bytes()),
                None => lines.extend(written.into_iter().map(String::into_bytes)),
            }
            prop_assert_eq!(by.of(&head(name, &lines)), Some(client.to_canonical()));
        }
    }
}
