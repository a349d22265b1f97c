//! The responses of a response cache (RFC 9111 §4.4).

use axum::Router;
use axum::body::Body;
use axum::routing::{any, get};
use http::{HeaderMap, Method, Request};
use larder_core::{Cache, Layout, MemoryStore, Runtime, VirtualRuntime, millis};
use larder_http::{Invalidate, ResponseCache};
use tower::ServiceExt;

use crate::runtime::test;

/// Answers with what the request has in `X-Answer` as `Location` and in `X-Content` as
/// `Content-Location`, and a page that varies by language.
async fn page(method: Method, headers: HeaderMap) -> (HeaderMap, String) {
    let mut fields = HeaderMap::new();
    for (from, to) in [("x-answer", "location"), ("x-content", "content-location")] {
        if let Some(value) = headers.get(from) {
            fields.insert(to, value.clone());
        }
    }
    if method == Method::GET && headers.contains_key("accept-language") {
        fields.insert("vary", "accept-language".parse().unwrap());
    }
    fields.insert("content-type", "text/plain; charset=utf-8".parse().unwrap());
    (fields, "a page".into())
}

struct World {
    runtime: VirtualRuntime,
    app: Router,
}

impl World {
    fn new(layout: Layout) -> Self {
        let runtime = VirtualRuntime::seeded(1);
        let store = MemoryStore::builder().on(runtime.clone());
        let cache = Cache::builder(store).layout(layout).build().unwrap();
        let responses = ResponseCache::new(cache.clone());
        let app = Router::new()
            .route("/v1/pears", any(page))
            .route("/v1/pears/{id}", any(page))
            .nest("/v2", Router::new().route("/pears", get(page).put(page)))
            .layer(Invalidate::targets(cache).responses(&responses).tell(true))
            .layer(responses);
        Self { runtime, app }
    }

    async fn ask(&self, method: Method, uri: &str, fields: &[(&str, &str)]) -> HeaderMap {
        let mut request = Request::builder().method(method).uri(uri).header("host", "shop.example");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let response =
            self.app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let (head, body) = response.into_parts();
        axum::body::to_bytes(body, usize::MAX).await.unwrap();
        self.runtime.sleep(millis(1)).await;
        head.headers
    }

    /// Whether the response to GET comes from the cache.
    async fn is_cached(&self, uri: &str, fields: &[(&str, &str)]) -> bool {
        self.ask(Method::GET, uri, fields).await["x-cache"] == "HIT"
    }

    async fn cache(&self, uri: &str, fields: &[(&str, &str)]) {
        self.is_cached(uri, fields).await;
        assert!(self.is_cached(uri, fields).await, "{uri}");
    }
}

fn run(layout: Layout, test: impl AsyncFnOnce(World)) {
    let world = World::new(layout);
    world.runtime.clone().block_on(test(world));
}

#[test]
fn that_of_the_uri_that_was_changed_goes_with_its_variants() {
    run(Layout::default(), async |world| {
        let languages = [[("accept-language", "de")], [("accept-language", "fr")]];
        for fields in &languages {
            world.cache("/v1/pears/1?b=2&a=1", fields).await;
        }
        world.cache("/v1/pears/1", &[]).await;
        let head = world.ask(Method::PUT, "/v1/pears/1?a=1&b=2", &[]).await;
        assert_eq!(head["x-invalidation"], "done");
        for fields in &languages {
            assert!(!world.is_cached("/v1/pears/1?a=1&b=2", fields).await);
        }
        assert!(world.is_cached("/v1/pears/1", &[]).await, "another URI");
    });
}

#[test]
fn so_it_does_in_nested_routers_and_in_the_plain_layout() {
    for layout in [Layout::default(), Layout::Plain] {
        run(layout, async |world| {
            for uri in ["/v2/pears", "/v1/pears/1"] {
                world.cache(uri, &[]).await;
                world.ask(Method::PUT, uri, &[]).await;
                assert!(!world.is_cached(uri, &[]).await, "{uri}");
            }
        });
    }
}

#[test]
fn those_that_the_answer_names_go_where_they_are_of_the_same_host() {
    run(Layout::default(), async |world| {
        let (one, two) = ("/v1/pears/1", "/v1/pears/2?x=y");
        for (location, content, one_stays, two_stays) in [
            (one, two, false, false),
            ("http://Shop.example/v1/pears/1", "//shop.example/v1/pears/2?x=y#part", false, false),
            ("/v1/pears/3", "not a uri", true, true),
        ] {
            world.cache(one, &[]).await;
            world.cache(two, &[]).await;
            let named = [("x-answer", location), ("x-content", content)];
            world.ask(Method::POST, "/v1/pears", &named).await;
            assert_eq!(world.is_cached(one, &[]).await, one_stays, "{location}");
            assert_eq!(world.is_cached(two, &[]).await, two_stays, "{content}");
        }
    });
}

#[test]
fn nobody_empties_the_cache_of_another_host() {
    run(Layout::default(), async |world| {
        let theirs = "http://other.example/v1/pears/1";
        for location in [theirs, "//other.example/v1/pears/1"] {
            world.cache(theirs, &[]).await;
            world.ask(Method::POST, "/v1/pears", &[("x-answer", location)]).await;
            assert!(world.is_cached(theirs, &[]).await, "{location}");
        }
        world.ask(Method::PUT, theirs, &[]).await;
        assert!(!world.is_cached(theirs, &[]).await);
    });
}
