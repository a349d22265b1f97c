//! Who may break a node: whoever sits at its machine.

use std::net::IpAddr;
use std::str::FromStr;

use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use larder_demo::Problem;

/// What proxies add, besides `X-Forwarded-For` and the others that begin like it.
const OF_PROXIES: [&str; 3] = ["forwarded", "via", "x-real-ip"];

/// Refuses what was not asked for at this machine itself; and everything where the servers are not for
/// this machine alone.
///
/// That they listen on a loopback address does not suffice: a proxy on this machine reaches them too, and
/// so does a page whose name was made to mean this machine (DNS rebinding).
pub(super) async fn only(State(are_near): State<bool>, request: Request, next: Next) -> Response {
    let far = match are_near {
        true => far(request.headers()),
        false => Some("start the servers without --host and --trusted-proxies"),
    };
    let Some(why) = far else { return next.run(request).await };
    let detail = format!("that is for who sits at the servers' own machine: {why}");
    Problem::new(StatusCode::FORBIDDEN, detail).into_response()
}

/// By what a request is known to come from elsewhere, if it is.
fn far(headers: &HeaderMap) -> Option<&'static str> {
    let is_of_a_proxy = |name: &str| name.starts_with("x-forwarded-") || OF_PROXIES.contains(&name);
    if headers.keys().any(|name| is_of_a_proxy(name.as_str())) {
        return Some("the request came through a proxy");
    }
    let mut hosts = headers.get_all(header::HOST).iter();
    let (host, None) = (hosts.next().and_then(|host| host.to_str().ok()), hosts.next()) else {
        return Some("the request has several fields Host");
    };
    let Some(host) = host.filter(|host| is_loopback(host)) else {
        return Some("the request's Host is another; ask localhost, or 127.0.0.1");
    };
    let mut origins = headers.get_all(header::ORIGIN).iter();
    let own = format!("http://{host}");
    match origins.all(|origin| origin.as_bytes().eq_ignore_ascii_case(own.as_bytes())) {
        true => None,
        false => Some("the request comes from the page of another site"),
    }
}

/// Whether it can name nothing but the machine itself (RFC 6761, section 6.3).
fn is_loopback(host: &str) -> bool {
    let Ok(authority) = Authority::from_str(host) else { return false };
    let host = authority.host().to_ascii_lowercase();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || host.ends_with(".localhost")
        || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderName;

    use super::*;

    fn is_near(fields: &[(&'static str, &str)]) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(HeaderName::from_static(name), value.parse().unwrap());
        }
        far(&headers).is_none()
    }

    #[test]
    fn a_machine_has_few_names_for_itself() {
        for host in ["localhost", "localhost:8787", "LocalHost:8787", "shop.localhost", "127.0.0.1"]
            .into_iter()
            .chain(["127.0.0.1:8787", "127.1.2.3:8787", "[::1]:8787", "[::1]"])
        {
            assert!(is_near(&[("host", host)]), "{host}");
        }
        for host in ["", "shop.example", "shop.example:8787", "notlocalhost", "localhost.example"]
            .into_iter()
            .chain(["127.0.0.1.example", "192.168.0.1:8787", "0.0.0.0:8787", "[::]:8787", "a b"])
            .chain(["localhost@shop.example"])
        {
            assert!(!is_near(&[("host", host)]), "{host}");
        }
        assert!(!is_near(&[]));
        assert!(!is_near(&[("host", "localhost"), ("host", "shop.example")]));
    }

    #[test]
    fn what_came_through_a_proxy_did_not_come_from_here() {
        let host = ("host", "127.0.0.1:8787");
        for name in [
            "forwarded",
            "via",
            "x-real-ip",
            "x-forwarded-for",
            "x-forwarded-host",
            "x-forwarded-proto",
        ] {
            assert!(!is_near(&[host, (name, "127.0.0.1")]), "{name}");
        }
        assert!(is_near(&[host, ("x-request-id", "1")]));
    }

    #[test]
    fn a_page_of_another_origin_is_elsewhere() {
        let host = ("host", "127.0.0.1:8787");
        for (origin, near) in [
            ("http://127.0.0.1:8787", true),
            ("http://127.0.0.1:8788", false),
            ("http://localhost:8787", false),
            ("http://shop.example", false),
            ("null", false),
        ] {
            assert_eq!(is_near(&[host, ("origin", origin)]), near, "{origin}");
        }
        assert!(!is_near(&[host, ("origin", "http://127.0.0.1:8787"), ("origin", "null")]));
    }
}
