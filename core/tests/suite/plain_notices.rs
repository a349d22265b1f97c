//! What a bare pattern on `cache:invalidate` removes where it is heard: from the store and from what
//! stands in front of it.

use std::future::Future;

use async_trait::async_trait;
use futures::stream::BoxStream;
use larder_core::invalidation::{Channel, Heard, Invalidation, Notice, Subject};
use larder_core::{
    Cache, Layout, LocalBus, MemoryStore, Runtime, Store, StoreError, VirtualRuntime, hours, millis,
};

use crate::harness::test;

/// A bus that carries messages, in the form of the channel, as one between processes does.
#[derive(Debug, Clone)]
struct Wire(LocalBus);

#[async_trait]
impl Invalidation for Wire {
    fn name(&self) -> &'static str {
        "wire"
    }

    async fn publish(&self, channel: &Channel, notice: &Notice) -> Result<(), StoreError> {
        for message in channel.messages(notice) {
            if let Heard::Notice(notice) = channel.heard(&message) {
                self.0.publish(channel, &notice).await?;
            }
        }
        Ok(())
    }

    fn subscribe(&self, channel: &Channel) -> BoxStream<'static, Heard> {
        self.0.subscribe(channel)
    }
}

/// Processes on one bus, in virtual time.
struct Nodes {
    runtime: VirtualRuntime,
    bus: Wire,
}

impl Nodes {
    fn run<F: Future<Output = ()>>(test: impl FnOnce(Self) -> F) {
        let runtime = VirtualRuntime::seeded(1);
        let nodes = Self { runtime: runtime.clone(), bus: Wire(LocalBus::new()) };
        runtime.block_on(test(nodes));
    }

    fn store(&self) -> MemoryStore {
        MemoryStore::builder().on(self.runtime.clone())
    }

    async fn cache(&self, store: &MemoryStore, namespace: &str) -> Cache {
        let cache = Cache::builder(store.clone())
            .namespace(namespace)
            .layout(Layout::Plain)
            .local(100)
            .local_ttl(hours(1))
            .invalidation(self.bus.clone())
            .runtime(self.runtime.clone())
            .build()
            .unwrap();
        self.settled().await;
        assert!(cache.invalidation_stats().trusted);
        cache
    }

    /// As a service of another make does.
    async fn publish(&self, pattern: &str) {
        let notice = Notice::anonymous(Subject::Patterns(vec![pattern.into()]));
        self.bus.publish(&Channel::plain("cache:invalidate"), &notice).await.unwrap();
        self.settled().await;
    }

    /// All that was said has been heard and heeded.
    async fn settled(&self) {
        self.runtime.sleep(millis(50)).await;
    }
}

async fn stands(store: &MemoryStore, key: &str) -> bool {
    store.get(key).await.unwrap().is_some()
}

#[test]
fn a_pattern_removes_what_it_names_from_each_hearers_own_store_and_tier() {
    Nodes::run(async |nodes| {
        let stores = [nodes.store(), nodes.store()];
        let caches = [nodes.cache(&stores[0], "app").await, nodes.cache(&stores[1], "app").await];
        for (cache, store) in caches.iter().zip(&stores) {
            for key in ["users:1", "users:2", "user:1", "orders:1"] {
                // By another service, as what this one loaded it takes back anyhow.
                store.put(&format!("app:{key}"), "1".into(), hours(1)).await.unwrap();
                assert!(cache.get::<u32>(key).await.unwrap().is_some());
            }
            store.put("other:users:1", "1".into(), hours(1)).await.unwrap();
        }

        nodes.publish("app:users:*").await;
        nodes.publish("app:user:1").await;
        nodes.publish("*:users:2").await;
        for (cache, store) in caches.iter().zip(&stores) {
            for key in ["users:1", "users:2", "user:1"] {
                assert!(!stands(store, &format!("app:{key}")).await, "{key} stands in the store");
                assert!(cache.get::<u32>(key).await.unwrap().is_none(), "{key} is in front of it");
            }
            assert!(stands(store, "app:orders:1").await);
            assert!(cache.get::<u32>("orders:1").await.unwrap().is_some());
            // It is in the tier: what is done to the store alone is not seen.
            store.remove("app:orders:1").await.unwrap();
            assert!(cache.get::<u32>("orders:1").await.unwrap().is_some());
        }

        nodes.publish("*").await;
        for (cache, store) in caches.iter().zip(&stores) {
            assert!(cache.get::<u32>("orders:1").await.unwrap().is_none());
            assert!(stands(store, "other:users:1").await, "it is of another namespace");
        }
    });
}

#[test]
fn what_is_put_is_removed_by_who_hears_of_it_and_not_by_who_put_it() {
    Nodes::run(async |nodes| {
        let store = nodes.store();
        let here = nodes.cache(&store, "app").await;
        here.put("user:1", &1).await.unwrap();
        nodes.settled().await;
        assert!(stands(&store, "app:user:1").await, "who put it has obeyed itself");

        let there = nodes.cache(&store, "app").await;
        here.put("user:1", &2).await.unwrap();
        nodes.settled().await;
        assert!(!stands(&store, "app:user:1").await, "nobody has obeyed");
        for cache in [&here, &there] {
            assert!(cache.get::<u32>("user:1").await.unwrap().is_none());
        }
    });
}
