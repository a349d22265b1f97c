//! What Prometheus reads. Alone in its program, as a recorder is for a whole process.

#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use common::{accounts, filled, on};
use http_body_util::BodyExt;
use larder_core::{MemorySessions, MemoryStore};
use larder_demo::App;
use larder_demo_server::{SqliteDatabase, install_recorder};
use tower::ServiceExt;

#[tokio::test]
async fn metrics_are_told_apart_by_cache() {
    let render = install_recorder().unwrap();
    let (_dir, path) = filled().await;
    let (database, _) = SqliteDatabase::open(path, on).await.unwrap();
    let accounts = accounts(MemorySessions::new());
    let app = App::new(Arc::new(database), MemoryStore::new(), accounts).unwrap();
    let app = app.metrics(render).router();
    for _ in 0..2 {
        get(&app, "/api/v1/users/1").await;
        get(&app, "/api/v1/products/1").await;
    }
    let (_, metrics) = get(&app, "/metrics").await;
    for line in [
        r#"larder_cache_hits_total{cache="users"} 1"#,
        r#"larder_cache_misses_total{cache="users"} 1"#,
        r#"larder_cache_loads_total{cache="users"} 1"#,
        r#"larder_cache_coalesced_total{cache="users"} 0"#,
        r#"larder_cache_loads_total{cache="products"} 1"#,
        r#"larder_http_requests_total{cache="products",result="miss"} 1"#,
        r#"larder_http_requests_total{cache="products",result="hit"} 1"#,
        r#"shop_database_seconds_count{operation="user"} 1"#,
        r#"shop_database_seconds_bucket{operation="user",le="+Inf"} 1"#,
    ] {
        assert!(metrics.lines().any(|it| it == line), "no {line} in:\n{metrics}");
    }
}

async fn get(app: &Router, path: &str) -> (u16, String) {
    let request = Request::get(path).body(Body::empty()).unwrap();
    let response = app.clone().oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}
