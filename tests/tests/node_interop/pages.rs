//! Pages: the response cache beside the service's caching middleware.

use anyhow::{Result, ensure};
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use axum::{Json, Router};
use http::StatusCode;
use larder_core::{Cache, Layout, minutes};
use larder_http::ResponseCache;
use larder_redis::RedisStore;
use larder_tests::eventually;
use larder_tests::http_client::{Answer, HttpClient};
use larder_tests::redis_server::RedisServer;
use serde_json::{Value, json};

use super::pair::Pair;

/// An axum application with a response cache on the Redis, and the paths of the service's pages.
async fn larder_pages(redis: &RedisServer) -> Result<HttpClient> {
    let store = RedisStore::connect(redis.url()).await?;
    let cache = Cache::builder(store).layout(Layout::Plain).build()?;
    let typed = |content_type: &'static str, body: &'static [u8]| {
        get(move || async move { ([(CONTENT_TYPE, content_type)], body) })
    };
    let json = || async { Json(json!({ "from": "Larder", "name": "Zoë", "sizes": [1, 2.5] })) };
    let missing = || async { (StatusCode::NOT_FOUND, "from Larder: not here") };
    let app = Router::new()
        .route("/pages/text", typed("text/plain; charset=utf-8", "from Larder: Zoë".as_bytes()))
        .route("/pages/html", typed("text/html; charset=utf-8", b"<p title=\"Larder\">&amp;</p>"))
        .route("/pages/json", get(json))
        .route("/pages/object", get(json))
        .route("/pages/untyped", get(|| async { "from Larder" }))
        .route("/pages/bytes", typed("image/png", b"from Larder \x89PNG\xff"))
        .route("/pages/missing", get(missing))
        .layer(ResponseCache::new(cache).ttl(minutes(1)));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let base = format!("http://{}", listener.local_addr()?);
    tokio::spawn(axum::serve(listener, app).into_future());
    Ok(HttpClient::new(&base))
}

/// Waits until so many pages are kept: both services write after they have answered.
async fn until_kept(redis: &RedisServer, pages: usize) {
    let kept = format!(":{pages}");
    eventually(&format!("{pages} are kept"), async || redis.command(&["DBSIZE"]) == kept).await;
}

fn same_page(path: &str, got: &Answer, expected: &Answer) -> Result<()> {
    let (got_type, type_) = (got.header("content-type"), expected.header("content-type"));
    ensure!(got.body == expected.body, "{path}: {:?} for {:?}", got.text(), expected.text());
    ensure!(got_type == type_, "{path}: {got_type:?} for {type_:?}");
    Ok(())
}

#[tokio::test]
async fn a_page_that_node_kept_is_a_hit_in_larder() -> Result<()> {
    let pair = Pair::start().await?;
    let larder = larder_pages(&pair.redis).await?;
    let paths = [
        "/pages/text",
        "/pages/text?b=2&a=1",
        "/pages/text?q=Caf%C3%A9&empty=",
        "/pages/html",
        "/pages/json",
        "/pages/object",
        "/pages/untyped",
        "/pages/bytes",
    ];
    for (at, path) in paths.into_iter().enumerate() {
        let kept = pair.node.get(path).await?;
        kept.expect_cache("MISS")?;
        until_kept(&pair.redis, at + 1).await;
        let hit = larder.get(path).await?;
        hit.expect_cache("HIT")?;
        same_page(path, &hit, &kept)?;
        let head = larder.head(path).await?;
        head.expect_cache("HIT")?;
        ensure!(head.body.is_empty(), "{path}: a HEAD with a body");
    }
    // `printf %s /pages/json | md5sum`
    let key = "http-cache:c1dadc7b52c736bdf06c8c98ff4217ff";
    ensure!(pair.redis.command(&["EXISTS", key]) == ":1", "the service has another key");
    Ok(())
}

#[tokio::test]
async fn a_page_that_larder_kept_is_a_hit_in_node() -> Result<()> {
    let pair = Pair::start().await?;
    let larder = larder_pages(&pair.redis).await?;
    let paths = ["/pages/text", "/pages/text?b=2&a=1", "/pages/html", "/pages/untyped"];
    for (at, path) in paths.into_iter().enumerate() {
        let kept = larder.get(path).await?;
        kept.expect_cache("MISS")?;
        until_kept(&pair.redis, at + 1).await;
        let hit = pair.node.get(path).await?;
        hit.expect_cache("HIT")?;
        same_page(path, &hit, &kept)?;
    }

    let kept = larder.get("/pages/json").await?;
    kept.expect_cache("MISS")?.expect_header("content-type", "application/json")?;
    until_kept(&pair.redis, paths.len() + 1).await;
    let hit = pair.node.get("/pages/json").await?;
    // Express adds the charset to whatever it sends as text.
    hit.expect_cache("HIT")?.expect_header("content-type", "application/json; charset=utf-8")?;
    ensure!(hit.body == kept.body, "{} for {}", hit.text(), kept.text());

    let key = "http-cache:c1dadc7b52c736bdf06c8c98ff4217ff";
    let stored = pair.stored(key);
    ensure!(stored == pair.stringified(&stored).await?, "Node.js would not write {stored}");
    let value: Value = serde_json::from_str(&stored)?;
    let expected = json!({ "data": kept.text(), "contentType": "application/json" });
    ensure!(value == expected, "it is {value}");
    let ttl = pair.redis.command(&["TTL", key]);
    ensure!([":60", ":59"].contains(&ttl.as_str()), "it lives for {ttl}");
    Ok(())
}

#[tokio::test]
async fn what_one_may_not_keep_is_no_hit_in_the_other() -> Result<()> {
    let pair = Pair::start().await?;
    let larder = larder_pages(&pair.redis).await?;
    let [ours, theirs] = [&larder, &pair.node];
    for service in [ours, theirs, ours] {
        let answer = service.get("/pages/missing").await?;
        answer.expect_status(StatusCode::NOT_FOUND)?.expect_header("x-cache", "MISS")?;
    }
    // Bytes that are no text would not come out of JSON as they went in.
    for _ in 0..2 {
        ours.get("/pages/bytes").await?.expect_cache("MISS")?;
    }
    // What was answered later is kept, and nothing else.
    ours.get("/pages/text").await?.expect_cache("MISS")?;
    // `printf %s /pages/text | md5sum`
    let text = "http-cache:1ee6627bf144f58e94f0a98569588c19";
    eventually("the text is kept", async || pair.redis.command(&["EXISTS", text]) == ":1").await;
    ensure!(pair.redis.command(&["DBSIZE"]) == ":1", "the bytes are kept");
    theirs.get("/pages/bytes").await?.expect_cache("MISS")?;
    until_kept(&pair.redis, 2).await;
    Ok(())
}

#[tokio::test]
async fn a_page_that_one_removed_is_no_hit_in_the_other() -> Result<()> {
    let pair = Pair::start().await?;
    let larder = larder_pages(&pair.redis).await?;
    let key = "http-cache:c1dadc7b52c736bdf06c8c98ff4217ff";
    pair.node.get("/pages/json").await?.expect_cache("MISS")?;
    until_kept(&pair.redis, 1).await;
    let pages = Cache::builder(RedisStore::connect(pair.redis.url()).await?)
        .layout(Layout::Plain)
        .build()?;
    ensure!(pages.remove(key).await?, "Larder found no page to remove");
    pair.node.get("/pages/json").await?.expect_cache("MISS")?;
    until_kept(&pair.redis, 1).await;
    pair.redis.command(&["DEL", key]);
    larder.get("/pages/json").await?.expect_cache("MISS")?;
    Ok(())
}
