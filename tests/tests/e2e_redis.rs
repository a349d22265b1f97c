//! What the demo keeps in Redis: for how long, and for every server on it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use larder_tests::demo_server::DemoServer;
use larder_tests::eventually;
use larder_tests::http_client::HttpClient;
use larder_tests::redis_server::RedisServer;
use serde_json::json;

fn lives_for(redis: &RedisServer, key: &str) -> Result<Option<Duration>> {
    let left = redis.command(&["PTTL", key]);
    let left: i64 = left.strip_prefix(':').context("no number")?.parse()?;
    ensure!(left != -1, "{key} has no end");
    Ok(u64::try_from(left).ok().map(Duration::from_millis))
}

/// Waits until a key is there, as some are written after the answer; fails unless it lives about
/// as long as it should.
async fn lives(redis: &RedisServer, key: &str, seconds: u64) -> Result<()> {
    let expected = Duration::from_secs(seconds);
    let is_there = async || redis.command(&["EXISTS", key]) == ":1";
    eventually(&format!("there is {key}"), is_there).await;
    let left = lives_for(redis, key)?.with_context(|| format!("{key} is gone again"))?;
    let about = expected.saturating_sub(Duration::from_secs(20))..=expected;
    ensure!(about.contains(&left), "{key} lives for {left:?}, not {expected:?}");
    Ok(())
}

#[tokio::test]
async fn everything_has_its_time() -> Result<()> {
    let redis = RedisServer::start();
    let server = DemoServer::on_redis(&redis.url())?;
    let shop = HttpClient::new(server.base());
    for path in
        ["users/1", "users?page=1&limit=5", "users/10099", "config", "products/1", "products/10099"]
    {
        shop.get(&format!("/api/v1/{path}")).await?;
    }
    let host = server.base().trim_start_matches("http://");
    lives(&redis, "shop:user:1", 300).await?;
    lives(&redis, "shop:users:page:1:limit:5", 300).await?;
    lives(&redis, "shop:user:10099", 30).await?;
    lives(&redis, "shop:config", 60).await?;
    lives(&redis, &format!("shop:http-cache:GET:{host}/api/v1/products/1"), 60).await?;
    lives(&redis, "shop:product:10099", 30).await?;
    let kept = redis.keys_beside_journals();
    ensure!(kept == 6, "more is kept: {kept}");
    Ok(())
}

/// The servers have a database each, which tells their answers apart.
#[tokio::test]
async fn servers_on_one_redis_share_hits_and_invalidations() -> Result<()> {
    let redis = RedisServer::start();
    let (one, other) = (DemoServer::on_redis(&redis.url())?, DemoServer::on_redis(&redis.url())?);
    let (one, other) = (HttpClient::new(one.base()), HttpClient::new(other.base()));
    let (user, list) = ("/api/v1/users/3", "/api/v1/users?limit=5");
    let before = other.get(user).await?;
    before.expect_cache("MISS")?;

    one.put(user, &json!({ "name": "Of the first" }))
        .await?
        .expect_header("x-invalidation", "done")?;
    other.get(user).await?.expect_cache("MISS")?;
    let hit = one.get(user).await?;
    hit.expect_cache("HIT")?;
    ensure!(hit.body == before.body, "the servers share no database, and no entry: {}", hit.text());

    for shop in [&one, &other] {
        shop.get(list).await?.json()?;
        shop.get(list).await?.expect_cache("HIT")?;
    }
    other.put(user, &json!({ "name": "Of the other" })).await?.json()?;
    one.get(list).await?.expect_cache("MISS")?;
    let shown = one.get(user).await?;
    shown.expect_cache("MISS")?;
    ensure!(shown.json()?["name"] == "Of the first", "{}", shown.text());
    Ok(())
}
