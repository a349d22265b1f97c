//! Updates while Redis does not answer.
#![allow(clippy::unwrap_used)]

mod common;

use std::process::Command;

use common::Shop;
use larder_redis::RedisStore;
use larder_tests::redis_server::RedisServer;
use tokio::time::{Duration, Instant, sleep};

/// Stops Redis where it is, or lets it go on: it keeps what it has.
fn signal(pid: &str, signal: &str) {
    assert!(Command::new("kill").args([signal, pid]).status().unwrap().success());
}

async fn deferred(shop: &Shop) -> u64 {
    shop.get("/api/v1/stats").await.ok()["invalidations"]["deferred"].as_u64().unwrap()
}

#[tokio::test]
async fn an_update_stands_and_is_seen_while_redis_is_silent_and_after() {
    let redis = RedisServer::start();
    let shop = Shop::on(RedisStore::lazy(redis.url()).unwrap()).await;
    let (user, list) = ("/api/v1/users/2", "/api/v1/users?limit=5");
    for path in [user, list] {
        shop.get(path).await.ok();
        assert_eq!(shop.get(path).await.header("x-cache"), Some("HIT"));
    }

    let pid = redis.command(&["INFO", "server"]);
    let pid = pid.lines().find_map(|line| line.strip_prefix("process_id:")).unwrap();
    signal(pid, "-STOP");
    let updated = shop.put(user, r#"{"name": "Zoë"}"#).await;
    assert_eq!(updated.header("x-invalidation"), Some("deferred"));
    assert_eq!(updated.ok()["name"], "Zoë");
    assert_eq!(deferred(&shop).await, 1);
    assert_eq!(shop.get(user).await.ok()["name"], "Zoë");
    assert_eq!(shop.get("/readyz").await.ok()["status"], "degraded");

    // Redis is back with what it had: the old user and the old list.
    signal(pid, "-CONT");
    assert!(redis.command(&["GET", "shop:user:2"]).contains("example.com"));
    let back = Instant::now();
    loop {
        assert_eq!(shop.get(user).await.ok()["name"], "Zoë");
        assert_eq!(shop.get(list).await.ok()["items"][1]["name"], "Zoë");
        if deferred(&shop).await == 0 {
            break;
        }
        assert!(back.elapsed() < Duration::from_secs(20), "the invalidation is not made up for");
        sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(shop.get(user).await.ok()["name"], "Zoë");
    assert_eq!(shop.get(list).await.ok()["items"][1]["name"], "Zoë");
    assert_eq!(shop.get(user).await.header("x-cache"), Some("HIT"));
}
