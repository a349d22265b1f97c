//! A store that is down, or takes its time.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures::future::join_all;
use larder_core::{Cache, Runtime, VirtualRuntime, millis, seconds};

use super::far::{Bad, Far};
use super::origin::{Origin, World, get, read, text};
use crate::runtime::test;

fn far(bad: impl Fn(&Bad)) -> (World, Arc<Bad>) {
    let runtime = VirtualRuntime::seeded(1);
    let store = Far::new(&runtime);
    bad(&store.bad);
    let bad = Arc::clone(&store.bad);
    let clock = runtime.clone();
    let origin = Origin::with_future(move |_| {
        let sleep = clock.sleep(millis(100));
        async move {
            sleep.await;
            text("a")
        }
    });
    (World::on(&runtime, Cache::builder(store), origin, |layer| layer), bad)
}

#[test]
fn with_the_store_down_every_request_is_answered_and_still_shared() {
    let (world, bad) = far(|bad| bad.down.store(true, Ordering::SeqCst));
    world.run(async |world| {
        assert_eq!(world.get("/").await.text(), "a");
        assert_eq!(world.get("/").await.cache(), "MISS");
        let seen = join_all((0..50).map(|_| world.get("/"))).await;
        assert!(seen.iter().all(|seen| seen.text() == "a"));
        assert_eq!(world.origin.calls(), 3);

        bad.down.store(false, Ordering::SeqCst);
        assert_eq!(world.get("/").await.cache(), "MISS");
        assert_eq!(world.get("/").await.cache(), "HIT");
    });
}

#[test]
fn a_slow_store_costs_a_bounded_wait() {
    let (world, _) = far(|bad| bad.read_millis.store(60_000, Ordering::SeqCst));
    world.run(async |world| {
        let start = world.runtime.now();
        let seen = join_all((0..20).map(|_| world.get("/"))).await;
        assert!(seen.iter().all(|seen| seen.text() == "a"));
        assert_eq!(world.origin.calls(), 1);
        let took = world.runtime.now().since(start);
        assert!(took < millis(500 + 100 + 10), "{took:?}");
    });
}

#[test]
fn the_response_does_not_wait_for_the_write() {
    let (world, _) = far(|bad| bad.write_millis.store(5_000, Ordering::SeqCst));
    world.run(async |world| {
        let start = world.runtime.now();
        let seen = read(world.head_of(get("/", &[])).await).await.unwrap();
        assert_eq!(seen.cache(), "MISS");
        assert_eq!(world.runtime.now().since(start), millis(100));
        // Until it is written, the response answers from here.
        let seen = read(world.head_of(get("/", &[])).await).await.unwrap();
        assert_eq!(seen.cache(), "HIT");
        assert_eq!(world.runtime.now().since(start), millis(100));
        world.runtime.sleep(seconds(6)).await;
        assert_eq!(world.get("/").await.cache(), "HIT");
        assert_eq!(world.origin.calls(), 1);
    });
}
