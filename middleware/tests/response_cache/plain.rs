//! One Redis with a Node.js service: keys and values of its caching middleware.

use bytes::Bytes;
use http::{Method, Response, StatusCode};
use larder_core::{Cache, Layout, MemoryStore, Store, VirtualRuntime, minutes, seconds};
use larder_http::ResponseCache;

use super::origin::{Answer, Origin, World, full, request, text, with};
use crate::runtime::test;

/// `/api/v1/products?page=2&limit=20`
const URL: &str = "/api/v1/products?page=2&limit=20";
const KEY: &str = "http-cache:f8c9627fb9cd589c2934123f80718f0f";

fn world(origin: Origin) -> World {
    layered(origin, |layer| layer)
}

fn layered(origin: Origin, layer: impl FnOnce(ResponseCache) -> ResponseCache) -> World {
    let runtime = VirtualRuntime::seeded(1);
    let store = MemoryStore::builder().on(runtime.clone());
    World::on(&runtime, Cache::builder(store).layout(Layout::Plain), origin, layer)
}

fn json() -> Answer {
    with("{\"name\":\"Zoë\"}", &[("content-type", "application/json"), ("etag", "\"1\"")])
}

#[test]
fn a_response_is_written_as_node_writes_it() {
    world(Origin::new(|_| json())).run(async |world| {
        world.get(URL).await;
        let store = world.cache.store();
        let stored = store.get(KEY).await.unwrap().unwrap();
        let expected = r#"{"data":"{\"name\":\"Zoë\"}","contentType":"application/json"}"#;
        assert_eq!(stored, expected);
        assert_eq!(store.time_to_live(KEY).await.unwrap().unwrap().as_secs(), 59);

        let seen = world.get(URL).await;
        assert_eq!((seen.cache(), seen.text()), ("HIT", "{\"name\":\"Zoë\"}"));
        assert_eq!(seen.header("content-type"), Some("application/json"));
        assert_eq!((seen.header("age"), seen.header("etag")), (None, None));
        let seen = world.ask(request(Method::HEAD, URL, &[])).await;
        assert_eq!((seen.cache(), seen.header("content-length")), ("HIT", Some("15")));
        assert_eq!(world.origin.calls(), 1);
    });
}

#[test]
fn what_node_wrote_is_read() {
    let html = "text/html; charset=utf-8";
    let js = "application/json; charset=utf-8";
    let cases = [
        (r#"{"data":"<h1>","contentType":"text/html; charset=utf-8"}"#, html, &b"<h1>"[..]),
        (
            r#"{"data":"[{\"id\":1}]","contentType":"application/json; charset=utf-8"}"#,
            js,
            b"[{\"id\":1}]",
        ),
        (r#"{"data":[{"id":1,"price":1.50}]}"#, js, b"[{\"id\":1,\"price\":1.50}]"),
        (
            r#"{"data":{"type":"Buffer","data":[137,80]},"contentType":"image/png"}"#,
            "image/png",
            b"\x89P",
        ),
    ];
    world(Origin::new(|_| json())).run(async |world| {
        for (stored, content_type, body) in cases {
            world
                .cache
                .store()
                .put(KEY, Bytes::from_static(stored.as_bytes()), minutes(1))
                .await
                .unwrap();
            let seen = world.get(URL).await;
            assert_eq!((seen.cache(), seen.status), ("HIT", StatusCode::OK));
            assert_eq!(seen.header("content-type"), Some(content_type));
            assert_eq!(seen.body, body);
        }
        assert_eq!(world.origin.calls(), 0);
    });
}

#[test]
fn what_the_form_cannot_hold_is_not_stored() {
    let png = || {
        let mut response = with("", &[("content-type", "image/png")]);
        *response.body_mut() = full(Bytes::from_static(b"\x89PNG"));
        response
    };
    let created = || {
        let mut response: Response<_> =
            with("a", &[("content-type", "text/plain"), ("cache-control", "max-age=9")]);
        *response.status_mut() = StatusCode::CREATED;
        response
    };
    let answers: [fn() -> Answer; 5] = [
        png,
        created,
        || with("a", &[("content-type", "text/plain"), ("vary", "Accept")]),
        || with("a", &[("content-type", "text/plain"), ("content-encoding", "br")]),
        || text("a"),
    ];
    for answer in answers {
        world(Origin::new(move |_| answer())).run(async |world| {
            world.get(URL).await;
            assert_eq!(world.get(URL).await.cache(), "MISS");
            assert_eq!(world.cache.store().get(KEY).await.unwrap(), None);
        });
    }
}

#[test]
fn prefix_key_and_ttl_are_those_of_the_middleware() {
    let layer = |layer: ResponseCache| {
        layer.key_prefix("pages").key(|head| Some(format!("p{}", head.uri.path()))).ttl(seconds(5))
    };
    layered(Origin::new(|_| json()), layer).run(async |world| {
        world.get("/1").await;
        assert!(world.cache.store().contains("pages:p/1").await.unwrap());
        world.runtime.advance(seconds(5));
        assert_eq!(world.get("/1").await.cache(), "MISS");
    });
}
