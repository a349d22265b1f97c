//! Users: cache-aside, and forgotten when one is written.
#![allow(clippy::unwrap_used)]

mod common;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use common::Shop;

#[tokio::test]
async fn a_user_is_asked_for_once() {
    let shop = Shop::in_memory().await;
    let first = shop.get("/api/v1/users/42").await;
    assert_eq!(first.header("x-cache"), Some("MISS"));
    assert_eq!(
        first.ok(),
        serde_json::json!({
            "id": 42,
            "email": "elif.fischer.42@example.com",
            "name": "Elif Fischer",
            "createdAt": "2024-01-03T23:37:19.000Z",
        })
    );
    let calls = shop.calls().await;
    let second = shop.get("/api/v1/users/42").await;
    assert_eq!(second.header("x-cache"), Some("HIT"));
    assert_eq!(second.body, first.body);
    assert_eq!(shop.calls().await, calls);
}

#[tokio::test]
async fn that_there_is_no_such_user_is_remembered() {
    let shop = Shop::in_memory().await;
    let first = shop.get("/api/v1/users/10001").await;
    assert!(first.problem(404).is_empty());
    assert_eq!(first.header("x-cache"), Some("MISS"));
    let calls = shop.calls().await;
    let second = shop.get("/api/v1/users/10001").await;
    assert_eq!(second.header("x-cache"), Some("HIT"));
    second.problem(404);
    assert_eq!(shop.calls().await, calls);
}

#[tokio::test]
async fn an_update_is_seen_at_once_in_the_user_and_in_every_list() {
    let shop = Shop::in_memory().await;
    let lists = ["/api/v1/users?page=1&limit=5", "/api/v1/users?page=1&limit=10"];
    shop.get("/api/v1/users/2").await.ok();
    shop.get("/api/v1/users/3").await.ok();
    for list in lists {
        shop.get(list).await.ok();
        assert_eq!(shop.get(list).await.header("x-cache"), Some("HIT"));
    }

    let updated = shop.put("/api/v1/users/2", r#"{"name": "Zoë Nakamura"}"#).await;
    assert_eq!(updated.header("x-invalidation"), Some("done"));
    let updated = updated.ok();
    assert_eq!(updated["name"], "Zoë Nakamura");
    assert!(updated["email"].as_str().unwrap().ends_with(".2@example.com"));

    assert_eq!(shop.get("/api/v1/users/2").await.ok(), updated);
    for list in lists {
        let list = shop.get(list).await;
        assert_eq!(list.header("x-cache"), Some("MISS"));
        assert_eq!(list.ok()["items"][1], updated);
    }
    assert_eq!(shop.get("/api/v1/users/3").await.header("x-cache"), Some("HIT"));
}

#[tokio::test]
async fn a_deleted_user_is_gone_at_once() {
    let shop = Shop::in_memory().await;
    shop.get("/api/v1/users/5").await.ok();
    assert_eq!(shop.get("/api/v1/users?limit=5").await.ok()["total"], 10_000);
    let deleted = shop.delete("/api/v1/users/5").await;
    assert_eq!(deleted.status, StatusCode::NO_CONTENT);
    assert_eq!(deleted.header("x-invalidation"), Some("done"));
    shop.get("/api/v1/users/5").await.problem(404);
    assert_eq!(shop.get("/api/v1/users?limit=5").await.ok()["total"], 9_999);
    shop.delete("/api/v1/users/5").await.problem(404);
    shop.put("/api/v1/users/5", r#"{"name": "Zoë"}"#).await.problem(404);
}

#[tokio::test]
async fn an_address_belongs_to_one_user() {
    let shop = Shop::in_memory().await;
    let taken = shop.get("/api/v1/users/1").await.ok()["email"].as_str().unwrap().to_uppercase();
    let body = format!(r#"{{"email": "{taken}"}}"#);
    assert_eq!(shop.put("/api/v1/users/2", &body).await.problem(409), ["email"]);
    assert_eq!(shop.put("/api/v1/users/1", &body).await.ok()["email"], taken);
}

#[tokio::test]
async fn what_is_wrong_with_a_body_is_named() {
    let shop = Shop::in_memory().await;
    for (body, status, fields) in [
        (r#"{"email": "zoe", "name": " "}"#, 422, &["email", "name"][..]),
        (r#"{"email": null}"#, 422, &["email"]),
        (r#"{"name": "Zoë", "role": "admin"}"#, 422, &["role"]),
        ("{}", 422, &["body"]),
        ("[]", 422, &["body"]),
        ("{", 400, &["body"]),
    ] {
        assert_eq!(shop.put("/api/v1/users/1", body).await.problem(status), fields, "{body}");
    }
    let untyped = Request::put("/api/v1/users/1").body(Body::from("{}")).unwrap();
    shop.send(untyped).await.problem(415);
    let long = format!(r#"{{"name": "{}"}}"#, "x".repeat(20_000));
    shop.put("/api/v1/users/1", &long).await.problem(413);
    for id in ["0", "-1", "1.0", "01", "9223372036854775808"] {
        let path = format!("/api/v1/users/{id}");
        assert_eq!(shop.get(&path).await.problem(400), ["id"], "{id}");
        assert_eq!(shop.put(&path, "{}").await.problem(400), ["id"], "{id}");
        assert_eq!(shop.delete(&path).await.problem(400), ["id"], "{id}");
    }
    assert_eq!(shop.get("/api/v1/users?page=-1").await.problem(400), ["page"]);
}

#[tokio::test]
async fn the_settings_are_asked_for_once() {
    let shop = Shop::in_memory().await;
    let settings = shop.get("/api/v1/config").await;
    assert_eq!(settings.header("x-cache"), Some("MISS"));
    assert_eq!(settings.ok()["currency"], "EUR");
    assert_eq!(shop.get("/api/v1/config").await.header("x-cache"), Some("HIT"));
}
