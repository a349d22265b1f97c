//! The layer on an axum Router, as it is, and behind a real server.

use axum::body::Body;
use axum::http::Request;
use axum::routing::get;
use axum::{Json, Router};
use larder_core::{Cache, MemoryStore, minutes};
use larder_http::ResponseCache;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tower::ServiceExt;

fn layer() -> ResponseCache {
    ResponseCache::new(Cache::builder(MemoryStore::new()).build().unwrap()).ttl(minutes(1))
}

async fn ask(app: &Router, uri: &str) -> (String, String) {
    let request = Request::get(uri).body(Body::empty()).unwrap();
    let response = app.clone().oneshot(request).await.unwrap();
    let cache = response.headers().get("x-cache").map(|value| value.to_str().unwrap().to_owned());
    let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
    for _ in 0..3 {
        tokio::task::yield_now().await;
    }
    (cache.unwrap_or_default(), String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn the_layer_goes_onto_routers_routes_and_handlers() {
    let app: Router = Router::new()
        .route("/a", get(|| async { "a" }))
        .layer(layer())
        .route("/b", get(|| async { Json([1, 2]) }).layer(layer()))
        .merge(Router::new().route("/c", get(|| async { "c" })).route_layer(layer()))
        .route("/d", get(|| async { "d" }));
    for (uri, body) in [("/a", "a"), ("/b", "[1,2]"), ("/c", "c")] {
        assert_eq!(ask(&app, uri).await, ("MISS".into(), body.into()));
        assert_eq!(ask(&app, uri).await, ("HIT".into(), body.into()));
    }
    assert_eq!(ask(&app, "/d").await.0, "");
}

#[tokio::test]
async fn around_nested_routers_the_whole_path_is_the_key() {
    let products = || Router::new().route("/products", get(|| async { "p" }));
    let cache = Cache::builder(MemoryStore::new()).build().unwrap();
    let app: Router = Router::new()
        .nest("/v1", products())
        .nest("/v2", products())
        .layer(ResponseCache::new(cache.clone()));
    assert_eq!(ask(&app, "/v1/products").await.0, "MISS");
    assert_eq!(ask(&app, "/v1/products").await.0, "HIT");
    assert_eq!(ask(&app, "/v2/products").await.0, "MISS");
    assert!(cache.contains("http-cache:GET:/v1/products").await.unwrap());
}

/// One request over one connection, which the server closes.
async fn over_tcp(port: u16, method: &str, uri: &str) -> String {
    let mut connection = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let request =
        format!("{method} {uri} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    connection.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    answer.to_lowercase()
}

#[tokio::test]
async fn behind_a_server_the_second_request_is_a_hit() {
    let chunks = || async {
        let parts = ["he", "llo"].map(Ok::<_, std::io::Error>);
        Body::from_stream(futures::stream::iter(parts))
    };
    let app = Router::new()
        .route("/sized", get(|| async { "hello" }))
        .route("/streamed", get(chunks))
        .layer(layer());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = tokio::spawn(async move { axum::serve(listener, app).await });

    for uri in ["/sized", "/streamed"] {
        let first = over_tcp(port, "GET", uri).await;
        assert!(
            first.starts_with("http/1.1 200 ok\r\n") && first.contains("x-cache: miss"),
            "{first}"
        );
        let second = over_tcp(port, "GET", uri).await;
        assert!(second.contains("x-cache: hit\r\n") && second.contains("age: 0\r\n"), "{second}");
        assert!(
            second.contains("content-length: 5\r\n") && second.ends_with("\r\n\r\nhello"),
            "{second}"
        );
        assert_eq!(second.matches("\r\ndate: ").count(), 1);
        let head = over_tcp(port, "HEAD", uri).await;
        assert!(
            head.contains("x-cache: hit\r\n") && head.contains("content-length: 5\r\n"),
            "{head}"
        );
        assert!(head.ends_with("\r\n\r\n"), "{head}");
    }
    server.abort();
}
