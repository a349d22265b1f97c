//! What those who run the shop see.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::Request;
use common::{Shop, accounts, filled, on};
use http_body_util::BodyExt;
use larder_core::write_behind::Journal;
use larder_core::{MemorySessions, MemoryStore};
use larder_demo::App;
use larder_demo_server::SqliteDatabase;
use larder_redis::RedisStore;
use larder_sqlite::SqliteJournal;
use larder_tests::eventually;
use tempfile::TempDir;
use tower::ServiceExt;

#[tokio::test]
async fn a_shop_on_memory_is_ready() {
    let shop = Shop::in_memory().await;
    assert_eq!(shop.get("/healthz").await.ok()["status"], "ok");
    let ready = shop.get("/readyz").await.ok();
    assert_eq!(ready, serde_json::json!({ "status": "ok", "degraded": [] }));
}

#[tokio::test]
async fn without_its_redis_the_shop_serves_and_says_so() {
    // Nothing listens on port 1.
    let redis = RedisStore::lazy("redis://me:secret@127.0.0.1:1/").unwrap();
    let sessions = redis.sessions();
    let shop = Shop::with(redis, accounts(sessions)).await;
    let ready = shop.get("/readyz").await;
    assert!(!String::from_utf8_lossy(&ready.body).contains("secret"));
    let ready = ready.ok();
    assert_eq!(ready["status"], "degraded");
    assert_eq!(ready["degraded"][0]["part"], "store");
    assert_eq!(ready["degraded"][0]["name"], "redis");
    for path in ["/api/v1/products", "/api/v1/users/1", "/api/v1/users", "/api/v1/config"] {
        shop.get(path).await.ok();
    }
    assert_eq!(ready["degraded"][1]["part"], "sessions");
    // Without a cookie nobody has a session, whatever the store says.
    shop.get("/api/v1/me").await.problem(401);
    shop.get("/api/v1/me/cart").await.ok();
    for (path, body) in [
        ("/api/v1/signup", r#"{"email": "zoe@example.com", "password": "a password"}"#),
        ("/api/v1/signin", r#"{"email": "zoe@example.com", "password": "a password"}"#),
    ] {
        let answer = shop.post(path, body).await;
        answer.problem(503);
        assert!(answer.header("retry-after").is_some() && answer.header("set-cookie").is_none());
    }
    let stats = shop.get("/api/v1/stats").await.ok();
    assert!(stats["caches"]["users"]["storeErrors"].as_u64().unwrap() > 0, "{stats}");
}

#[tokio::test]
async fn what_becomes_of_the_journal_is_told() {
    let dir = TempDir::new().unwrap();
    let journal = SqliteJournal::open(dir.path().join("seen.journal")).unwrap();
    let shop = Shop::noting_in(journal.clone()).await;
    assert_eq!(shop.get("/readyz").await.ok()["status"], "ok");
    // No account has such a number, and no time such a form.
    journal.append("nobody", Bytes::from_static(b"never")).await.unwrap();
    let is_told = async || {
        let ready = shop.get("/readyz").await.ok();
        let told = "1 notes of users seen could not be saved and are dead letters";
        ready["degraded"][0]["part"] == "last_seen" && ready["degraded"][0]["effect"] == told
    };
    eventually("the dead letter is told", is_told).await;

    let away = RedisStore::lazy("redis://me:secret@127.0.0.1:1/").unwrap();
    let shop = Shop::noting_in(away.journal("seen").unwrap()).await;
    let ready = shop.get("/readyz").await;
    assert!(!String::from_utf8_lossy(&ready.body).contains("secret"));
    let ready = ready.ok();
    assert_eq!(ready["status"], "degraded");
    assert_eq!(ready["degraded"][0]["part"], "last_seen");
    assert_eq!(ready["degraded"][0]["effect"], "that a user is seen is not kept");
}

#[tokio::test]
async fn without_its_database_the_shop_is_not_ready() {
    let (_dir, path) = filled().await;
    let (database, _) = SqliteDatabase::open(&path, on).await.unwrap();
    let accounts = accounts(MemorySessions::new());
    let app = App::new(Arc::new(database), MemoryStore::new(), accounts).unwrap().router();
    // What has not been opened yet can no longer be opened.
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    for request in ["/readyz", "/api/v1/users/1", "/api/v1/products"] {
        let response = get(&app, request).await;
        assert_eq!(response.0, 503, "{request}");
        assert!(response.1.contains(r#""status":503"#), "{}", response.1);
        assert!(!response.1.contains("sqlite"), "{}", response.1);
    }
    assert_eq!(get(&app, "/healthz").await.0, 200);
}

#[tokio::test]
async fn every_other_path_and_method_is_a_problem() {
    let shop = Shop::in_memory().await;
    shop.get("/nothing").await.problem(404);
    shop.get("/metrics").await.problem(404);
    let answer = shop.delete("/api/v1/products/1").await;
    answer.problem(405);
    assert_eq!(answer.header("allow"), Some("GET,HEAD"));
    let page = shop.get("/").await;
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(page.body.ends_with(b"</html>\n"));
}

async fn get(app: &Router, path: &str) -> (u16, String) {
    let request = Request::get(path).body(Body::empty()).unwrap();
    let response = app.clone().oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}
