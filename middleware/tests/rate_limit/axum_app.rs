//! The layer on an axum Router.

use axum::body::Body;
use axum::http::{HeaderName, Request};
use axum::routing::{get, post};
use axum::{Json, Router};
use larder_core::{MemoryRateLimits, Quota, RateLimiter, VirtualRuntime, minutes};
use larder_http::RateLimit;
use larder_http::rate_limit::By;
use tower::ServiceExt;

use super::world::{Seen, read};
use crate::runtime::test;

fn limiter(runtime: &VirtualRuntime) -> RateLimiter {
    RateLimiter::builder(MemoryRateLimits::builder().on(runtime.clone()))
        .quota(Quota::per_minute(10))
        .build()
        .unwrap()
}

fn by_who(limiter: RateLimiter) -> RateLimit {
    RateLimit::new(limiter).by(By::header(HeaderName::from_static("who")))
}

fn ask(runtime: &VirtualRuntime, app: &Router, method: &str, uri: &str) -> Seen {
    runtime.block_on(async {
        let request = Request::builder().method(method).uri(uri).header("who", "a");
        let request = request.body(Body::empty()).unwrap();
        let (head, body) = app.clone().oneshot(request).await.unwrap().into_parts();
        let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        let body = http_body_util::Full::new(body);
        read(axum::http::Response::from_parts(head, body)).await
    })
}

#[test]
fn the_layer_goes_onto_routers_routes_and_handlers() {
    let runtime = VirtualRuntime::seeded(1);
    let layer = || by_who(limiter(&runtime));
    let app: Router = Router::new()
        .route("/a", get(|| async { "a" }))
        .layer(layer())
        .route("/b", get(|| async { Json([1, 2]) }).layer(layer()))
        .merge(Router::new().route("/c", get(|| async { "c" })).route_layer(layer()))
        .route("/d", get(|| async { "d" }));
    for (uri, body) in [("/a", "a"), ("/b", "[1,2]"), ("/c", "c")] {
        for left in [9, 8] {
            let seen = ask(&runtime, &app, "GET", uri);
            assert_eq!((seen.status.as_u16(), &seen.body[..]), (200, body.as_bytes()), "{uri}");
            assert_eq!(seen.number("x-ratelimit-remaining"), Some(left), "{uri}");
        }
    }
    assert_eq!(ask(&runtime, &app, "GET", "/d").header("x-ratelimit-limit"), None);
}

#[test]
fn a_route_has_a_stricter_limit_of_its_own() {
    let runtime = VirtualRuntime::seeded(1);
    let limiter = limiter(&runtime);
    let strict = limiter.with_quotas([Quota::new(2, minutes(15)).named("sign-in")]).unwrap();
    let app: Router = Router::new()
        .route("/sign-in", post(|| async {}).layer(by_who(strict)))
        .route("/", get(|| async {}))
        .layer(by_who(limiter));
    for (status, left) in [(200, 1), (200, 0), (429, 0)] {
        let seen = ask(&runtime, &app, "POST", "/sign-in");
        assert_eq!(
            (seen.status.as_u16(), seen.number("x-ratelimit-remaining")),
            (status, Some(left))
        );
        assert_eq!(seen.number("x-ratelimit-limit"), Some(2));
    }
    // The outer limit has counted these requests too.
    assert_eq!(ask(&runtime, &app, "GET", "/").number("x-ratelimit-remaining"), Some(6));
}

#[test]
fn inside_of_nested_routers_the_whole_path_is_the_key() {
    let runtime = VirtualRuntime::seeded(1);
    let limiter = limiter(&runtime);
    let products = || {
        let layer = RateLimit::new(limiter.clone()).by(By::path());
        Router::new().route("/products", get(|| async {})).layer(layer)
    };
    let app: Router = Router::new().nest("/v1", products()).nest("/v2", products());
    for (uri, left) in [("/v1/products", 9), ("/v2/products", 9), ("/v1/products?a=1", 8)] {
        let seen = ask(&runtime, &app, "GET", uri);
        assert_eq!(seen.number("x-ratelimit-remaining"), Some(left), "{uri}");
    }
}
