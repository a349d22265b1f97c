//! What is stored and answered, by method, status and header fields.

use bytes::Bytes;
use http::{Method, Response, StatusCode};
use larder_core::{Runtime, hours, minutes, seconds};

use super::origin::{Origin, World, full, get, in_turn, request, text, with};
use crate::runtime::test;

#[test]
fn a_response_is_stored_and_answers_with_its_age() {
    let lines = [("content-type", "text/plain"), ("link", "</a>"), ("link", "</b>")];
    World::new(Origin::new(move |_| with("hello", &lines))).run(async |world| {
        let first = world.get("/a").await;
        assert_eq!((first.cache(), first.text(), first.header("age")), ("MISS", "hello", None));

        world.runtime.advance(seconds(5));
        let second = world.get("/a").await;
        assert_eq!((second.cache(), second.text()), ("HIT", "hello"));
        assert_eq!(second.header("age"), Some("5"));
        assert_eq!(second.header("content-type"), Some("text/plain"));
        let links: Vec<_> = second.headers.get_all("link").iter().collect();
        assert_eq!(links, ["</a>", "</b>"]);
        // RFC 9110, section 6.6.1.
        assert_eq!(second.header("date"), Some("Thu, 01 Jan 2026 00:00:00 GMT"));
        assert_eq!(world.origin.calls(), 1);
    });
}

#[test]
fn a_response_without_a_lifetime_lives_for_the_ttl() {
    let layered = |ttl| World::layered(Origin::new(|_| text("a")), move |layer| layer.ttl(ttl));
    layered(seconds(30)).run(async |world| {
        world.get("/").await;
        world.runtime.advance(seconds(29));
        assert_eq!(world.get("/").await.cache(), "HIT");
        world.runtime.advance(seconds(1));
        assert_eq!(world.get("/").await.cache(), "MISS");
    });
    layered(seconds(0)).run(async |world| {
        world.get("/").await;
        assert_eq!(world.get("/").await.cache(), "MISS");
    });
}

/// How long the response with these fields answers, in seconds.
fn answers_for(lines: &'static [(&'static str, &'static str)]) -> u64 {
    World::new(Origin::new(move |_| with("a", lines))).run(async |world| {
        world.get("/").await;
        let start = world.runtime.now();
        while world.get("/").await.cache() == "HIT" {
            world.runtime.advance(seconds(1));
        }
        world.runtime.now().since(start).as_secs()
    })
}

#[test]
fn a_response_may_say_how_long_it_lives() {
    assert_eq!(answers_for(&[]), 60);
    assert_eq!(answers_for(&[("cache-control", "max-age=7")]), 7);
    assert_eq!(answers_for(&[("cache-control", "max-age=7, s-maxage=\"90\"")]), 90);
    assert_eq!(answers_for(&[("expires", "Thu, 01 Jan 2026 00:00:20 GMT")]), 20);
    assert_eq!(answers_for(&[("cache-control", "max-age=20"), ("age", "8")]), 12);
    assert_eq!(answers_for(&[("cache-control", "max-age=0")]), 0);
    assert_eq!(answers_for(&[("cache-control", "max-age=5, max-age=6")]), 0);
}

#[test]
fn an_age_that_a_response_came_with_goes_on() {
    let lines = [("age", "100"), ("cache-control", "max-age=200"), ("x-cache", "HIT from afar")];
    World::new(Origin::new(move |_| with("a", &lines))).run(async |world| {
        let first = world.get("/").await;
        assert_eq!((first.cache(), first.header("age")), ("MISS", Some("100")));
        world.runtime.advance(seconds(7));
        let second = world.get("/").await;
        assert_eq!((second.cache(), second.header("age")), ("HIT", Some("107")));
        assert_eq!(second.headers.get_all("x-cache").iter().count(), 1);
    });
}

#[test]
fn the_time_that_the_service_took_counts_as_age() {
    let world = World::new(Origin::new(|_| text("a")));
    let runtime = world.runtime.clone();
    let origin = Origin::with_future(move |_| {
        let sleep = runtime.sleep(seconds(20));
        async move {
            sleep.await;
            text("a")
        }
    });
    let store = larder_core::MemoryStore::builder().on(world.runtime.clone());
    let builder = larder_core::Cache::builder(store);
    World::on(&world.runtime, builder, origin, |layer| layer).run(async |world| {
        world.get("/").await;
        assert_eq!(world.get("/").await.header("age"), Some("20"));
        world.runtime.advance(seconds(40));
        assert_eq!(world.get("/").await.cache(), "MISS");
    });
}

/// Asks twice and tells whether the second was a hit.
fn is_stored(status: u16, lines: &'static [(&'static str, &'static str)]) -> bool {
    let origin = Origin::new(move |_| {
        let mut response = with("a", lines);
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        response
    });
    World::new(origin).run(async |world| {
        let (first, second) = (world.get("/").await, world.get("/").await);
        assert_eq!((first.status.as_u16(), second.status.as_u16()), (status, status));
        assert_eq!(first.cache(), "MISS");
        assert_eq!(second.text(), "a");
        let hit = second.cache() == "HIT";
        assert_eq!(world.origin.calls(), if hit { 1 } else { 2 });
        hit
    })
}

#[test]
fn what_is_not_for_all_or_not_for_later_is_never_stored() {
    assert!(is_stored(200, &[("cache-control", "public")]));
    for status in [206, 304, 400, 401, 403, 404, 410, 429, 500, 502, 503] {
        assert!(!is_stored(status, &[("cache-control", "max-age=60")]), "{status}");
    }
    assert!(!is_stored(200, &[("set-cookie", "id=1"), ("cache-control", "max-age=60")]));
    assert!(!is_stored(200, &[("cache-control", "no-store")]));
    assert!(!is_stored(200, &[("cache-control", "max-age=60"), ("cache-control", "Private")]));
    assert!(!is_stored(200, &[("cache-control", "no-cache")]));
    assert!(!is_stored(200, &[("vary", "*")]));
    assert!(!is_stored(200, &[("content-range", "bytes 0-0/5")]));
    assert!(!is_stored(200, &[("trailer", "server-timing")]));
    assert!(!is_stored(200, &[("content-type", "text/event-stream")]));
}

#[test]
fn redirects_are_stored_where_http_allows_it() {
    assert!(is_stored(301, &[("location", "/b")]));
    assert!(!is_stored(302, &[("location", "/b")]));
    assert!(is_stored(302, &[("location", "/b"), ("cache-control", "max-age=60")]));
}

#[test]
fn head_is_answered_from_get_without_the_body() {
    let origin = Origin::new(|request| {
        if request.uri().path() == "/sized" {
            with("hello", &[("content-length", "5")])
        } else {
            text("hello")
        }
    });
    World::new(origin).run(async |world| {
        let head = |uri| request(Method::HEAD, uri, &[]);
        for uri in ["/sized", "/unsized"] {
            assert_eq!(world.ask(head(uri)).await.cache(), "MISS");
            // It was not stored: the response to HEAD has no body.
            assert_eq!(world.get(uri).await.cache(), "MISS");
            let seen = world.ask(head(uri)).await;
            assert_eq!((seen.cache(), seen.text()), ("HIT", ""));
            assert_eq!(seen.header("content-length"), Some("5"));
            let seen = world.get(uri).await;
            assert_eq!((seen.cache(), seen.text()), ("HIT", "hello"));
        }
    });
}

#[test]
fn an_empty_response_is_stored() {
    let origin =
        Origin::new(|_| Response::builder().status(StatusCode::NO_CONTENT).body(full("")).unwrap());
    World::new(origin).run(async |world| {
        world.get("/").await;
        let seen = world.get("/").await;
        assert_eq!((seen.cache(), seen.status), ("HIT", StatusCode::NO_CONTENT));
        let seen = world.ask(request(Method::HEAD, "/", &[])).await;
        assert_eq!(seen.header("content-length"), None);
    });
}

#[test]
fn requests_that_no_stored_response_answers_pass_by() {
    let cases: [(Method, &[(&str, &str)]); 7] = [
        (Method::POST, &[]),
        (Method::DELETE, &[]),
        (Method::GET, &[("range", "bytes=0-1")]),
        (Method::GET, &[("authorization", "Bearer t")]),
        (Method::GET, &[("cache-control", "no-store")]),
        (Method::GET, &[("if-match", "\"1\"")]),
        (Method::GET, &[("host", "a"), ("host", "b")]),
    ];
    World::new(Origin::new(|_| text("a"))).run(async |world| {
        world.get("/").await;
        for (n, (method, lines)) in cases.into_iter().enumerate() {
            let seen = world.ask(request(method, "/", lines)).await;
            assert_eq!((seen.cache(), seen.text()), ("BYPASS", "a"), "{lines:?}");
            assert_eq!(world.origin.calls(), n + 2);
        }
        assert_eq!(world.get("/").await.cache(), "HIT");
    });
}

#[test]
fn the_answer_to_a_request_with_credentials_is_not_stored_unless_told() {
    let authorized = || get("/", &[("authorization", "Bearer t")]);
    let origin = || Origin::new(|_| with("a", &[("cache-control", "public, max-age=60")]));
    World::new(origin()).run(async |world| {
        world.ask(authorized()).await;
        assert_eq!(world.get("/").await.cache(), "MISS");
    });
    World::layered(origin(), |layer| layer.cache_authorized(true)).run(async |world| {
        world.ask(authorized()).await;
        assert_eq!(world.ask(authorized()).await.cache(), "HIT");
    });
}

#[test]
fn no_cache_asks_for_a_new_answer_and_stores_it() {
    for line in [("cache-control", "no-cache"), ("pragma", "no-cache")] {
        let origin = in_turn(vec![|| text("old"), || text("new"), || text("newer")]);
        World::new(origin).run(async |world| {
            world.get("/").await;
            let seen = world.ask(get("/", &[line])).await;
            assert_eq!((seen.cache(), seen.text()), ("MISS", "new"));
            let seen = world.get("/").await;
            assert_eq!((seen.cache(), seen.text()), ("HIT", "new"));
        });
    }
}

#[test]
fn fields_of_the_connection_are_not_stored() {
    let lines = [
        ("connection", "close, x-hop"),
        ("x-hop", "1"),
        ("keep-alive", "timeout=5"),
        ("proxy-authenticate", "Basic"),
        ("x-kept", "1"),
    ];
    World::new(Origin::new(move |_| with("a", &lines))).run(async |world| {
        assert_eq!(world.get("/").await.header("x-hop"), Some("1"));
        let hit = world.get("/").await;
        assert_eq!(hit.cache(), "HIT");
        let mut names: Vec<_> = hit.headers.keys().map(|name| name.as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, ["age", "date", "x-cache", "x-kept"]);
    });
}

#[test]
fn a_key_knows_host_path_and_sorted_query() {
    World::new(Origin::new(|_| text("a"))).run(async |world| {
        world.ask(get("/p?b=2&a=1", &[("host", "Shop.example")])).await;
        let hit = async |uri: &str, host: &str| {
            world.ask(get(uri, &[("host", host)])).await.cache() == "HIT"
        };
        assert!(hit("/p?a=1&b=2", "shop.example").await);
        assert!(!hit("/p?a=1&b=3", "shop.example").await);
        assert!(!hit("/p", "shop.example").await);
        assert!(!hit("/P?a=1&b=2", "shop.example").await);
        assert!(!hit("/p?a=1&b=2", "other.example").await);
        assert!(world.cache.contains("http-cache:GET:shop.example/p?a=1&b=2").await.unwrap());
        assert_eq!(world.cache.remove_matching("http-cache:GET:*/p[?]*").await.unwrap(), 3);
        assert!(!hit("/p?a=1&b=2", "shop.example").await);
    });
}

#[test]
fn a_very_long_url_is_cached_too() {
    let world = World::new(Origin::new(|request| {
        Response::new(full(Bytes::copy_from_slice(request.uri().path().as_bytes())))
    }));
    world.run(async |world| {
        let long = format!("/{}", "x".repeat(5_000));
        world.get(&long).await;
        let seen = world.get(&long).await;
        assert_eq!((seen.cache(), seen.text()), ("HIT", long.as_str()));
        assert_eq!(world.get(&format!("{long}y")).await.cache(), "MISS");
    });
}

#[test]
fn keys_may_be_made_by_the_user() {
    let layer = |layer: larder_http::ResponseCache| {
        layer.key_prefix("pages").key(|head| Some(head.uri.path().strip_prefix("/p/")?.to_owned()))
    };
    World::layered(Origin::new(|_| text("a")), layer).run(async |world| {
        world.get("/p/1?utm=x").await;
        assert_eq!(world.get("/p/1").await.cache(), "HIT");
        assert_eq!(world.get("/q").await.cache(), "BYPASS");
        assert!(world.cache.contains("pages:1").await.unwrap());
    });
}

#[test]
fn bytes_that_cannot_be_read_are_a_miss_and_are_written_over() {
    World::new(Origin::new(|_| text("a"))).run(async |world| {
        for stored in [&b""[..], b"\x01\x00\xc8", b"\x02\x00", b"{}", b"rubbish"] {
            let key = "http-cache:GET:/";
            world.cache.put_raw(key, &Bytes::from_static(stored)).await.unwrap();
            assert_eq!(world.get("/").await.cache(), "MISS");
            assert_eq!(world.get("/").await.cache(), "HIT");
        }
        assert_eq!(world.cache.stats().unreadable, 5);
    });
}

#[test]
fn what_was_removed_while_it_was_asked_for_is_not_stored() {
    let world = World::new(Origin::new(|_| text("a")));
    world.run(async |world| {
        let under_way = world.head_of(get("/", &[])).await;
        world.cache.remove("http-cache:GET:/").await.unwrap();
        let seen = super::origin::read(under_way).await.unwrap();
        assert_eq!(seen.text(), "a");
        world.settle().await;
        assert_eq!(world.get("/").await.cache(), "MISS");
        assert_eq!(world.get("/").await.cache(), "HIT");
    });
}

#[test]
fn an_error_of_the_service_passes_through_as_it_is() {
    use tower::{Layer, ServiceExt};

    #[derive(Debug, PartialEq)]
    struct Broken;
    let runtime = larder_core::VirtualRuntime::seeded(1);
    let store = larder_core::MemoryStore::builder().on(runtime.clone());
    let cache = larder_core::Cache::builder(store).ttl(hours(1)).build().unwrap();
    let layer = larder_http::ResponseCache::new(cache).ttl(minutes(1));
    let service = layer.layer(tower::service_fn(|_: http::Request<()>| async {
        Err::<super::origin::Answer, _>(Broken)
    }));
    runtime.block_on(async {
        for _ in 0..2 {
            let result = service.clone().oneshot(get("/", &[])).await;
            assert_eq!(result.err(), Some(Broken));
        }
    });
}
