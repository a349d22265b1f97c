//! Many requests for the same at once.

use std::time::Duration;

use futures::FutureExt;
use futures::future::join_all;
use http_body_util::BodyExt;
use larder_core::{Cache, MemoryStore, Runtime, VirtualRuntime, millis, seconds};
use larder_http::ResponseCache;

use super::bodies::streamed;
use super::origin::{Answer, Origin, World, get, read, text, with};
use crate::runtime::test;

/// A service that takes `time` for an answer.
fn slow(time: Duration, answer: fn() -> Answer) -> World {
    slow_with(1, time, answer)
}

fn slow_with(seed: u64, time: Duration, answer: fn() -> Answer) -> World {
    let runtime = VirtualRuntime::seeded(seed);
    let clock = runtime.clone();
    let origin = Origin::with_future(move |_| {
        let sleep = clock.sleep(time);
        async move {
            sleep.await;
            answer()
        }
    });
    let store = MemoryStore::builder().on(runtime.clone());
    World::on(&runtime, Cache::builder(store), origin, |layer| layer)
}

#[test]
fn concurrent_misses_make_one_call() {
    for seed in 0..20 {
        slow_with(seed, seconds(1), || text("a")).run(async |world| {
            let seen = join_all((0..100).map(|_| world.get("/"))).await;
            assert_eq!(world.origin.calls(), 1);
            assert!(seen.iter().all(|seen| seen.text() == "a"));
            let misses = seen.iter().filter(|seen| seen.cache() == "MISS").count();
            assert_eq!(misses, 1);
            assert!(
                seen.iter()
                    .filter(|seen| seen.cache() == "HIT")
                    .all(|s| s.header("age") == Some("1"))
            );
        });
    }
}

#[test]
fn a_service_that_fails_to_be_cacheable_is_not_asked_one_by_one() {
    for answer in [
        || with("a", &[("set-cookie", "id=1")]),
        || with("a", &[("cache-control", "private")]),
        || {
            let mut response = text("a");
            *response.status_mut() = http::StatusCode::INTERNAL_SERVER_ERROR;
            response
        },
    ] as [fn() -> Answer; 3]
    {
        slow(seconds(1), answer).run(async |world| {
            let start = world.runtime.now();
            let seen = join_all((0..50).map(|_| world.head_of(get("/", &[])))).await;
            assert!(seen.iter().all(|response| response.headers()["x-cache"] == "MISS"));
            // The first in vain, then all at once.
            assert_eq!(world.runtime.now().since(start), seconds(2));
            assert_eq!(world.origin.calls(), 50);
        });
    }
}

#[test]
fn for_a_while_nobody_waits_for_what_is_not_cacheable() {
    slow(seconds(1), || with("a", &[("set-cookie", "id=1")])).run(async |world| {
        world.get("/").await;
        let took = async || {
            let start = world.runtime.now();
            join_all((0..10).map(|_| world.head_of(get("/", &[])))).await;
            world.runtime.now().since(start)
        };
        assert_eq!(took().await, seconds(1));
        world.runtime.advance(seconds(20));
        assert_eq!(took().await, seconds(2));
    });
}

#[test]
fn what_becomes_cacheable_is_stored_again() {
    let origin =
        super::origin::in_turn(vec![|| with("a", &[("set-cookie", "id=1")]), || text("b")]);
    World::new(origin).run(async |world| {
        assert_eq!(world.get("/").await.cache(), "MISS");
        assert_eq!(world.get("/").await.cache(), "MISS");
        assert_eq!(world.get("/").await.cache(), "HIT");
    });
}

#[test]
fn a_failed_server_is_waited_for_again_at_once() {
    let origin = super::origin::in_turn(vec![
        || {
            let mut response = text("a");
            *response.status_mut() = http::StatusCode::BAD_GATEWAY;
            response
        },
        || text("b"),
    ]);
    World::new(origin).run(async |world| {
        world.get("/").await;
        join_all((0..10).map(|_| world.get("/"))).await;
        assert_eq!(world.origin.calls(), 2);
    });
}

#[test]
fn when_the_first_goes_away_the_next_takes_over() {
    slow(seconds(1), || text("a")).run(async |world| {
        let mut first = Box::pin(world.get("/"));
        assert!(first.as_mut().now_or_never().is_none());
        let others = join_all((0..10).map(|_| world.get("/")));
        let drop_first = async {
            world.runtime.sleep(millis(500)).await;
            drop(first);
        };
        let (seen, ()) = futures::join!(others, drop_first);
        assert_eq!(world.origin.calls(), 2);
        assert_eq!(seen.iter().filter(|seen| seen.cache() == "MISS").count(), 1);
    });
}

#[test]
fn when_a_client_goes_away_in_the_middle_of_the_body_the_next_takes_over() {
    let runtime = VirtualRuntime::seeded(1);
    let clock = runtime.clone();
    let origin = Origin::new(move |_| streamed(&clock, seconds(1), &["a", "b", "c"]));
    let store = MemoryStore::builder().on(runtime.clone());
    World::on(&runtime, Cache::builder(store), origin, |layer| layer).run(async |world| {
        let mut first = world.head_of(get("/", &[])).await;
        first.body_mut().frame().await.unwrap().unwrap();
        let others = join_all((0..10).map(|_| world.get("/")));
        let drop_first = async {
            world.runtime.sleep(millis(500)).await;
            drop(first);
        };
        let (seen, ()) = futures::join!(others, drop_first);
        assert!(seen.iter().all(|seen| seen.text() == "abc"));
        assert_eq!(world.origin.calls(), 2);
    });
}

#[test]
fn a_wait_may_be_without_end() {
    let runtime = VirtualRuntime::seeded(1);
    let clock = runtime.clone();
    let origin = Origin::with_future(move |_| {
        let sleep = clock.sleep(seconds(30));
        async move {
            sleep.await;
            text("a")
        }
    });
    let cache = Cache::builder(MemoryStore::builder().on(runtime.clone()));
    let endless = |layer: ResponseCache| layer.max_wait(Duration::MAX);
    World::on(&runtime, cache, origin, endless).run(async |world| {
        let seen = join_all((0..10).map(|_| world.get("/"))).await;
        assert!(seen.iter().all(|seen| seen.text() == "a"));
        assert_eq!(world.origin.calls(), 1);
    });
}

#[test]
fn a_client_that_reads_slowly_holds_nobody_for_ever() {
    World::layered(Origin::new(|_| text("a")), |layer| layer.max_wait(seconds(3))).run(
        async |world| {
            let never_read = world.head_of(get("/", &[])).await;
            let start = world.runtime.now();
            let seen = join_all((0..10).map(|_| world.head_of(get("/", &[])))).await;
            assert!(seen.iter().all(|response| response.headers()["x-cache"] == "MISS"));
            assert_eq!(world.runtime.now().since(start), seconds(3));
            // Whoever comes now does not wait at all, and what others have read is there.
            for response in seen {
                read(response).await.unwrap();
            }
            world.settle().await;
            assert_eq!(world.get("/").await.cache(), "HIT");
            drop(never_read);
        },
    );
}

#[test]
fn without_a_wait_everybody_asks_the_service() {
    let world = World::layered(Origin::new(|_| text("a")), |layer| layer.max_wait(Duration::ZERO));
    world.run(async |world| {
        let first = world.head_of(get("/", &[])).await;
        assert_eq!(world.get("/").await.cache(), "MISS");
        assert_eq!(world.get("/").await.cache(), "HIT");
        drop(first);
    });
}

#[test]
fn an_error_of_the_service_lets_all_go_at_once() {
    use tower::{Layer, ServiceExt};

    let runtime = VirtualRuntime::seeded(1);
    let store = MemoryStore::builder().on(runtime.clone());
    let cache = Cache::builder(store).build().unwrap();
    let clock = runtime.clone();
    let service = larder_http::ResponseCache::new(cache).layer(tower::service_fn(
        move |_: http::Request<()>| {
            let sleep = clock.sleep(seconds(1));
            async move {
                sleep.await;
                Err::<Answer, _>("broken")
            }
        },
    ));
    let start = runtime.now();
    let results =
        runtime.block_on(join_all((0..10).map(|_| service.clone().oneshot(get("/", &[])))));
    assert!(results.iter().all(|result| result.as_ref().err() == Some(&"broken")));
    assert_eq!(runtime.now().since(start), seconds(2));
}
