//! The layer on an axum Router.

use axum::body::Body;
use axum::http::Request;
use axum::routing::get;
use axum::{Json, Router};
use larder_core::{Cache, MemoryStore, Runtime, VirtualRuntime, millis, minutes};
use larder_http::ResponseCache;
use tower::ServiceExt;

use crate::runtime::test;

fn cache(runtime: &VirtualRuntime) -> Cache {
    Cache::builder(MemoryStore::builder().on(runtime.clone())).build().unwrap()
}

fn layer(runtime: &VirtualRuntime) -> ResponseCache {
    ResponseCache::new(cache(runtime)).ttl(minutes(1))
}

/// Asks, reads the body to its end, and lets the store be written.
fn ask(runtime: &VirtualRuntime, app: &Router, uri: &str) -> (String, String) {
    runtime.block_on(async {
        let request = Request::get(uri).body(Body::empty()).unwrap();
        let response = app.clone().oneshot(request).await.unwrap();
        let cache =
            response.headers().get("x-cache").map(|value| value.to_str().unwrap().to_owned());
        let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
        runtime.sleep(millis(1)).await;
        (cache.unwrap_or_default(), String::from_utf8(body.to_vec()).unwrap())
    })
}

#[test]
fn the_layer_goes_onto_routers_routes_and_handlers() {
    let runtime = VirtualRuntime::seeded(1);
    let app: Router = Router::new()
        .route("/a", get(|| async { "a" }))
        .layer(layer(&runtime))
        .route("/b", get(|| async { Json([1, 2]) }).layer(layer(&runtime)))
        .merge(Router::new().route("/c", get(|| async { "c" })).route_layer(layer(&runtime)))
        .route("/d", get(|| async { "d" }));
    for (uri, body) in [("/a", "a"), ("/b", "[1,2]"), ("/c", "c")] {
        assert_eq!(ask(&runtime, &app, uri), ("MISS".into(), body.into()));
        assert_eq!(ask(&runtime, &app, uri), ("HIT".into(), body.into()));
    }
    assert_eq!(ask(&runtime, &app, "/d").0, "");
}

#[test]
fn inside_of_nested_routers_the_whole_path_is_the_key() {
    let runtime = VirtualRuntime::seeded(1);
    let cache = cache(&runtime);
    let products = |version: &'static str| {
        Router::new()
            .route("/", get(move || async move { version }))
            .route("/products", get(move || async move { version }))
            .layer(ResponseCache::new(cache.clone()))
    };
    let app: Router = Router::new().nest("/v1", products("1")).nest("/v2", products("2"));
    for path in ["", "/products", "/products?a=1"] {
        for version in ["1", "2"] {
            let uri = format!("/v{version}{path}");
            assert_eq!(ask(&runtime, &app, &uri), ("MISS".into(), version.into()), "{uri}");
            assert_eq!(ask(&runtime, &app, &uri), ("HIT".into(), version.into()), "{uri}");
        }
    }
    assert!(runtime.block_on(cache.contains("http-cache:GET:/v2/products?a=1")).unwrap());
}

#[test]
fn around_nested_routers_the_whole_path_is_the_key() {
    let products = || Router::new().route("/products", get(|| async { "p" }));
    let runtime = VirtualRuntime::seeded(1);
    let cache = cache(&runtime);
    let app: Router = Router::new()
        .nest("/v1", products())
        .nest("/v2", products())
        .layer(ResponseCache::new(cache.clone()));
    assert_eq!(ask(&runtime, &app, "/v1/products").0, "MISS");
    assert_eq!(ask(&runtime, &app, "/v1/products").0, "HIT");
    assert_eq!(ask(&runtime, &app, "/v2/products").0, "MISS");
    assert!(runtime.block_on(cache.contains("http-cache:GET:/v1/products")).unwrap());
}
