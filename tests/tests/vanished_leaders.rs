//! Leaders that go without a trace, as requests on Workers do when their clients leave: neither
//! polled again nor dropped.
#![allow(clippy::unwrap_used)] // A helper of a test may panic as the test may.

use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt;
use larder_core::{Cache, MemoryStore, Runtime, StoreError, VirtualRuntime, minutes, seconds};
use larder_tests::simulation::Isolated;
use larder_tests::stores::{Call, Tap, Tapped};

/// The first write never ends, as that of a request that was ended in it.
#[derive(Default)]
struct HangsOnce(AtomicU32);

#[async_trait]
impl Tap for HangsOnce {
    async fn before(&self, call: Call) -> Result<(), StoreError> {
        if call == Call::Put && self.0.fetch_add(1, Ordering::SeqCst) == 0 {
            pending::<()>().await;
        }
        Ok(())
    }

    async fn after(&self, _: Call) -> Result<(), StoreError> {
        Ok(())
    }
}

/// How long a follower waits, and how long the load timeout and a write take at most.
const PATIENCE: Duration = seconds(5);
const FORGOTTEN: Duration = seconds(30 + 8 + 60);

fn cache(runtime: &VirtualRuntime, tap: Option<Arc<dyn Tap>>) -> Cache {
    let runtime = Isolated(Arc::new(runtime.clone()));
    let memory = MemoryStore::builder().on(runtime.clone());
    let builder = match tap {
        Some(tap) => Cache::builder(Tapped::new(Arc::new(memory), tap)),
        None => Cache::builder(memory),
    };
    builder.runtime(runtime).ttl(minutes(10)).load_timeout(seconds(30)).build().unwrap()
}

async fn load(cache: &Cache, value: u32) -> u32 {
    let loaded = cache.get_or_load("a", || async move { Ok::<_, Infallible>(value) }).await;
    *loaded.unwrap()
}

/// Begins a load and lets it vanish.
fn vanish(cache: &Cache) {
    let cache = cache.clone();
    let mut leader = Box::pin(async move {
        let hung = || pending::<Result<u32, Infallible>>();
        cache.get_or_load("a", hung).await
    });
    assert!(leader.as_mut().now_or_never().is_none());
    std::mem::forget(leader);
}

#[test]
fn a_follower_loads_for_itself_in_time() {
    let runtime = VirtualRuntime::seeded(1);
    let cache = cache(&runtime, None);
    vanish(&cache);
    let start = runtime.now();
    runtime.block_on(async {
        assert_eq!(load(&cache, 2).await, 2);
        assert_eq!(runtime.now().since(start), PATIENCE);
    });
}

#[test]
fn a_value_whose_write_vanished_is_not_shared_for_ever() {
    let runtime = VirtualRuntime::seeded(1);
    let cache = cache(&runtime, Some(Arc::new(HangsOnce::default())));
    runtime.block_on(async {
        let first = cache.clone();
        runtime.spawn(Box::pin(async move { assert_eq!(load(&first, 1).await, 1) }));
        runtime.sleep(seconds(1)).await;
        // It is not written yet, as far as anyone can tell.
        assert_eq!(load(&cache, 2).await, 1);
        runtime.sleep(PATIENCE).await;
        assert_eq!(load(&cache, 3).await, 3);
        assert_eq!(load(&cache, 4).await, 3);
    });
}

#[test]
fn an_invalidation_does_not_wait_for_ever() {
    let runtime = VirtualRuntime::seeded(1);
    let cache = cache(&runtime, Some(Arc::new(HangsOnce::default())));
    let start = runtime.now();
    runtime.block_on(async {
        let first = cache.clone();
        runtime.spawn(Box::pin(async move { assert_eq!(load(&first, 1).await, 1) }));
        runtime.sleep(seconds(1)).await;
        cache.remove("a").await.unwrap();
        let took = runtime.now().since(start);
        assert!(took >= seconds(97) && took <= FORGOTTEN, "{took:?}");
        assert_eq!(load(&cache, 2).await, 2);
    });
}

#[test]
fn what_vanished_is_forgotten() {
    let runtime = VirtualRuntime::seeded(1);
    let cache = cache(&runtime, None);
    runtime.block_on(async {
        for _ in 0..10 {
            vanish(&cache);
            runtime.sleep(PATIENCE).await;
        }
        assert_eq!(cache.loads_under_way(), 10);
        runtime.sleep(FORGOTTEN).await;
        assert_eq!(load(&cache, 1).await, 1);
        assert_eq!(cache.loads_under_way(), 0);
    });
}
