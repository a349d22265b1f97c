//! A store that is down, or takes its time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::join_all;
use larder_core::{
    Cache, Capabilities, Consistency, Cursor, Glob, MemoryStore, PutEntry, Runtime, ScanPage,
    Store, StoreError, StoreErrorKind, VirtualRuntime, millis, seconds,
};

use super::origin::{Origin, World, get, read, text};
use crate::runtime::test;

/// A store elsewhere, whose connection is bad on purpose.
#[derive(Debug, Clone)]
struct Far {
    memory: MemoryStore,
    capabilities: Capabilities,
    bad: Arc<Bad>,
}

#[derive(Debug, Default)]
struct Bad {
    down: AtomicBool,
    read_millis: AtomicU64,
    write_millis: AtomicU64,
}

impl Far {
    fn new(runtime: &VirtualRuntime) -> Self {
        Self {
            memory: MemoryStore::builder().on(runtime.clone()),
            capabilities: Capabilities::new(Consistency::Strong),
            bad: Arc::default(),
        }
    }

    async fn pass(&self, millis: &AtomicU64) -> Result<(), StoreError> {
        let delay = Duration::from_millis(millis.load(Ordering::SeqCst));
        self.memory.runtime().sleep(delay).await;
        if self.bad.down.load(Ordering::SeqCst) {
            return Err(StoreError::new(StoreErrorKind::Unavailable, "far", "call", "it is down"));
        }
        Ok(())
    }
}

#[async_trait]
impl Store for Far {
    fn name(&self) -> &'static str {
        "far"
    }
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }
    fn runtime(&self) -> Arc<dyn Runtime> {
        self.memory.runtime()
    }
    async fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        self.pass(&self.bad.read_millis).await?;
        self.memory.get(key).await
    }
    async fn get_many(&self, keys: &[&str]) -> Result<Vec<Option<Bytes>>, StoreError> {
        self.memory.get_many(keys).await
    }
    async fn put(&self, key: &str, value: Bytes, ttl: Duration) -> Result<(), StoreError> {
        self.pass(&self.bad.write_millis).await?;
        self.memory.put(key, value, ttl).await
    }
    async fn put_many(&self, entries: &[PutEntry<'_>]) -> Result<(), StoreError> {
        self.memory.put_many(entries).await
    }
    async fn remove(&self, key: &str) -> Result<bool, StoreError> {
        self.memory.remove(key).await
    }
    async fn remove_many(&self, keys: &[&str]) -> Result<u64, StoreError> {
        self.memory.remove_many(keys).await
    }
    async fn contains(&self, key: &str) -> Result<bool, StoreError> {
        self.memory.contains(key).await
    }
    async fn time_to_live(&self, key: &str) -> Result<Option<Duration>, StoreError> {
        self.memory.time_to_live(key).await
    }
    async fn scan(&self, pattern: &Glob, cursor: Option<Cursor>) -> Result<ScanPage, StoreError> {
        self.memory.scan(pattern, cursor).await
    }
    async fn ready(&self) -> Result<(), StoreError> {
        self.pass(&self.bad.read_millis).await
    }
}

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
