//! Updates while Redis cannot be reached, and keeps what it has.

#![allow(clippy::unwrap_used)]

mod common;

use common::Shop;
use larder_redis::RedisStore;
use larder_tests::eventually;
use larder_tests::redis_server::RedisServer;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// A way to Redis that can be cut.
struct Way {
    is_open: watch::Sender<bool>,
    url: String,
}

impl Way {
    async fn to(redis: &RedisServer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("redis://{}/", listener.local_addr().unwrap());
        let (is_open, state) = watch::channel(true);
        let port = redis.port();
        tokio::spawn(async move {
            loop {
                let (mut client, _) = listener.accept().await.unwrap();
                let mut state = state.clone();
                tokio::spawn(async move {
                    let mut server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                    tokio::select! {
                        _ = state.wait_for(|is_open| !is_open) => {}
                        _ = copy_bidirectional(&mut client, &mut server) => {}
                    }
                });
            }
        });
        Self { is_open, url }
    }

    fn open(&self, is_open: bool) {
        self.is_open.send(is_open).unwrap();
    }
}

async fn deferred(shop: &Shop) -> u64 {
    shop.get("/api/v1/stats").await.ok()["invalidations"]["deferred"].as_u64().unwrap()
}

#[tokio::test]
async fn an_update_stands_and_is_seen_while_redis_is_away_and_when_it_is_back() {
    let redis = RedisServer::start();
    let way = Way::to(&redis).await;
    let shop = Shop::on(RedisStore::lazy(&way.url).unwrap()).await;
    let (user, list) = ("/api/v1/users/2", "/api/v1/users?limit=5");
    for path in [user, list] {
        shop.get(path).await.ok();
        assert_eq!(shop.get(path).await.header("x-cache"), Some("HIT"));
    }

    way.open(false);
    let updated = shop.put(user, r#"{"name": "Zoë"}"#).await;
    assert_eq!(updated.header("x-invalidation"), Some("deferred"));
    assert_eq!(updated.ok()["name"], "Zoë");
    assert_eq!(deferred(&shop).await, 1);
    assert_eq!(shop.get(user).await.ok()["name"], "Zoë");
    assert_eq!(shop.get("/readyz").await.ok()["status"], "degraded");

    // What Redis holds is what was there before: the old user and the old lists.
    assert_eq!(redis.command(&["EXISTS", "shop:user:2"]), ":1");
    way.open(true);
    eventually("the invalidation is made up for", async || {
        assert_eq!(shop.get(user).await.ok()["name"], "Zoë");
        assert_eq!(shop.get(list).await.ok()["items"][1]["name"], "Zoë");
        deferred(&shop).await == 0
    })
    .await;
    assert_eq!(shop.get(user).await.ok()["name"], "Zoë");
    assert_eq!(shop.get(list).await.ok()["items"][1]["name"], "Zoë");
    assert_eq!(shop.get(user).await.header("x-cache"), Some("HIT"));
}

#[tokio::test]
async fn a_client_that_goes_away_does_not_stop_the_invalidation() {
    let shop = Shop::in_memory().await;
    shop.get("/api/v1/users/3").await.ok();
    // Polled once, so that the write has begun, and dropped.
    let update = shop.put("/api/v1/users/3", r#"{"name": "Zoë"}"#);
    tokio::select! {
        biased;
        _ = update => panic!("the write takes a thread of its own"),
        () = std::future::ready(()) => {}
    }
    let name = async || shop.get("/api/v1/users/3").await.ok()["name"].clone();
    eventually("the new user is shown", async || name().await == "Zoë").await;
}
