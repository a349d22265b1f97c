//! What either service publishes on `cache:invalidate` is obeyed by the other.

use anyhow::{Context, Result, ensure};
use http::StatusCode;
use larder_core::{Cache, Layout, hours};
use larder_redis::RedisStore;
use larder_tests::eventually;
use serde_json::{Value, json};

use crate::pair::Pair;

/// A cache that has values in front of the store for so long that only an invalidation ends them.
async fn with_a_tier(pair: &Pair) -> Result<Cache> {
    let store = RedisStore::connect(pair.redis.url()).await?;
    let cache = Cache::builder(store.clone())
        .namespace("app")
        .layout(Layout::Plain)
        .local(1_000)
        .local_ttl(hours(1))
        .invalidation(store.bus())
        .build()?;
    cache.get::<Value>("nothing").await?;
    eventually("the bus is heard", async || cache.invalidation_stats().trusted).await;
    Ok(cache)
}

async fn node_heard(pair: &Pair, pattern: &str) -> bool {
    let Ok(answer) = pair.node.get("/obeyed").await else { return false };
    let heard: Vec<String> = serde_json::from_slice(&answer.body).unwrap_or_default();
    heard.iter().any(|heard| heard == pattern)
}

#[tokio::test]
async fn what_node_publishes_is_obeyed() -> Result<()> {
    let pair = Pair::start().await?;
    let cache = with_a_tier(&pair).await?;
    for key in ["users:1", "users:2", "orders:1"] {
        pair.node_sets(key, &json!({ "version": 1 }), 300).await?;
        ensure!(cache.get::<Value>(key).await?.is_some(), "{key} is not found");
    }
    pair.redis.command(&["SET", "app:orders:1", r#"{"version":2}"#, "EX", "300"]);
    let orders = cache.get::<Value>("orders:1").await?.context("orders:1 is gone")?;
    ensure!(orders["version"] == 1, "it is not in front of the store");

    let answer = pair.node.post("/invalidate", &json!({ "pattern": "app:users:*" })).await?;
    answer.expect_status(StatusCode::OK)?;
    for key in ["users:1", "users:2"] {
        eventually("the pattern is obeyed", async || {
            matches!(cache.get::<Value>(key).await, Ok(None))
        })
        .await;
    }
    let orders = cache.get::<Value>("orders:1").await?.context("orders:1 is gone")?;
    ensure!(orders["version"] == 1, "what does not match was removed too");
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_a_pattern_makes_the_tier_suspect() -> Result<()> {
    let pair = Pair::start().await?;
    let cache = with_a_tier(&pair).await?;
    pair.node_sets("orders:1", &json!({ "version": 1 }), 300).await?;
    cache.get::<Value>("orders:1").await?;
    pair.redis.command(&["SET", "app:orders:1", r#"{"version":2}"#, "EX", "300"]);
    pair.redis.command(&["PUBLISH", "cache:invalidate", "users\n*"]);
    eventually("it is held against the store", async || {
        let found = cache.get::<Value>("orders:1").await;
        found.is_ok_and(|found| found.is_some_and(|found| found["version"] == 2))
    })
    .await;
    Ok(())
}

#[tokio::test]
async fn what_larder_publishes_is_heard_by_node() -> Result<()> {
    let pair = Pair::start().await?;
    let cache = with_a_tier(&pair).await?;
    cache.remove_matching("users:*").await?;
    cache.remove("user:42").await?;
    for pattern in ["app:users:*", "app:user:42"] {
        eventually("Node has heard it", async || node_heard(&pair, pattern).await).await;
    }
    Ok(())
}

/// Of several services on Larder, each of which has a tier of its own.
#[tokio::test]
async fn what_one_removes_is_gone_from_the_other() -> Result<()> {
    let pair = Pair::start().await?;
    let (here, there) = (with_a_tier(&pair).await?, with_a_tier(&pair).await?);
    pair.node_sets("users:1", &json!({ "version": 1 }), 300).await?;
    ensure!(there.get::<Value>("users:1").await?.is_some(), "it is not found");
    here.remove("users:1").await?;
    eventually("it is gone there", async || {
        matches!(there.get::<Value>("users:1").await, Ok(None))
    })
    .await;
    Ok(())
}
