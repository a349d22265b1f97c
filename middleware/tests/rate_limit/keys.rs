//! What requests are counted by.

use http::{HeaderName, HeaderValue, Request};
use larder_core::Quota;
use larder_http::RateLimit;
use larder_http::rate_limit::{By, ClientIp, MissingKey};

use super::world::{World, request};
use crate::runtime::test;

fn world(by: impl Into<By>) -> World {
    World::layered([Quota::per_minute(1)], |layer| layer.by(by))
}

/// Whether each of the requests is allowed, one after the other.
fn ask(world: &World, requests: &[&[(&str, &str)]]) -> Vec<u16> {
    world.run(async |world| {
        let mut statuses = Vec::new();
        for lines in requests {
            statuses.push(world.ask(request(lines)).await.status.as_u16());
        }
        statuses
    })
}

const KEY: HeaderName = HeaderName::from_static("x-key");

#[test]
fn each_value_of_a_header_has_its_limit() {
    let requests: [&[(&str, &str)]; 6] = [
        &[("x-key", "a")],
        &[("x-key", "b")],
        &[("x-key", "a")],
        &[("x-key", "a"), ("x-key", "b")],
        &[("x-key", "a,b")],
        &[],
    ];
    for by in [By::header(KEY), By::header(KEY).hashed()] {
        assert_eq!(ask(&world(by), &requests), [200, 200, 429, 200, 429, 400]);
    }
    assert_eq!(ask(&world(By::header(KEY)), &[&[("x-key", "")]]), [400]);
}

#[test]
fn a_key_that_breaks_a_rule_is_hashed() {
    let world = world(By::header(KEY));
    let long = "x".repeat(10_000);
    let almost = format!("{long}y");
    let requests: [&[(&str, &str)]; 3] =
        [&[("x-key", &long)], &[("x-key", &almost)], &[("x-key", &long)]];
    assert_eq!(ask(&world, &requests), [200, 200, 429]);
    world.run(async |world| {
        for (bytes, status) in [(&b"a\tb\xff"[..], 200), (b"a\tb\xfe", 200), (b"a\tb\xff", 429)] {
            let mut request = Request::new(());
            request.headers_mut().insert(KEY, HeaderValue::from_bytes(bytes).unwrap());
            assert_eq!(world.ask(request).await.status, status);
        }
    });
}

#[test]
fn each_path_has_its_limit_whatever_its_query() {
    world(By::path()).run(async |world| {
        for (uri, status) in [("/a?x=1", 200), ("/b", 200), ("/a?x=2", 429), ("/", 200)] {
            let seen = world.ask(Request::get(uri).body(()).unwrap()).await;
            assert_eq!(seen.status, status, "{uri}");
        }
    });
}

#[test]
fn a_function_finds_the_key_at_once_or_later() {
    let requests: [&[(&str, &str)]; 4] =
        [&[("x-key", "1")], &[("x-key", "2")], &[("x-key", "1")], &[]];
    let at_once = By::function(|request| {
        Some(format!("account:{}", request.headers.get(KEY)?.to_str().ok()?))
    });
    let later = By::future(|request| {
        let key = request.headers.get(KEY).cloned();
        async move { Some(format!("account:{}", key?.to_str().ok()?)) }
    });
    for by in [at_once, later.clone(), later.hashed()] {
        assert_eq!(ask(&world(by), &requests), [200, 200, 429, 400]);
    }
    assert_eq!(ask(&world(By::function(|_| Some(String::new()))), &[&[]]), [400]);
    assert_eq!(ask(&world(By::future(|_| async { Some(String::new()) })), &[&[]]), [400]);
}

#[test]
fn keys_may_be_put_together() {
    let other = HeaderName::from_static("x-other");
    let now = By::header(KEY).and(By::header(other.clone()));
    let later = By::future(|request| {
        let key = request.headers.get(KEY).cloned();
        async move { Some(key?.to_str().ok()?.to_owned()) }
    });
    for by in [now, later.and(By::header(other))] {
        let statuses = ask(
            &world(by),
            &[
                &[("x-key", "a"), ("x-other", "b")],
                &[("x-key", "a"), ("x-other", "c")],
                &[("x-key", "a"), ("x-other", "b")],
                // Nobody has another's key by what stands between the parts.
                &[("x-key", "a|b"), ("x-other", "c")],
                &[("x-key", "a"), ("x-other", "b|c")],
                &[("x-key", "a%7Cb"), ("x-other", "c")],
                &[("x-key", "a")],
                &[("x-other", "b")],
            ],
        );
        assert_eq!(statuses, [200, 200, 429, 200, 200, 200, 400, 400]);
    }
}

#[test]
fn what_happens_without_a_key_is_a_policy() {
    let with = |policy| {
        World::layered([Quota::per_minute(1)], |layer: RateLimit| layer.missing_key(policy))
    };
    let requests: [&[(&str, &str)]; 4] = [&[], &[], &[("who", "a")], &[("who", "a")]];
    assert_eq!(ask(&with(MissingKey::Refuse), &requests), [400, 400, 200, 429]);
    assert_eq!(ask(&with(MissingKey::Share), &requests), [200, 429, 200, 429]);
    assert_eq!(ask(&with(MissingKey::Allow), &requests), [200, 200, 200, 429]);
}

#[test]
fn what_requests_without_a_key_share_nobody_can_use_up_by_sending_it() {
    let world = World::layered([Quota::per_minute(1)], |layer: RateLimit| {
        layer.missing_key(MissingKey::Share)
    });
    let requests: [&[(&str, &str)]; 4] = [&[("who", "unknown")], &[("who", "unknown")], &[], &[]];
    assert_eq!(ask(&world, &requests), [200, 429, 200, 429]);
}

#[test]
fn an_address_that_is_not_known_is_the_servers_fault() {
    for by in [
        By::from(ClientIp::peer()),
        By::path().and(ClientIp::behind_proxies(1)),
        By::from(ClientIp::cloudflare()).hashed(),
    ] {
        world(by).run(async |world| {
            let seen = world.ask(request(&[])).await;
            assert_eq!(seen.status, 500);
            let problem = seen.problem();
            assert_eq!(problem["type"], "about:blank");
            assert!(problem["detail"].as_str().unwrap().contains("address"), "{problem}");
            assert_eq!(world.origin.calls(), 0);
        });
    }
}
