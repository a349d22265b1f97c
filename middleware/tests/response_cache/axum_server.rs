//! The layer behind a real server, over TCP.

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use larder_core::{Cache, MemoryStore, minutes};
use larder_http::ResponseCache;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

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
    let cache = Cache::builder(MemoryStore::new()).build().unwrap();
    let app = Router::new()
        .route("/sized", get(|| async { "hello" }))
        .route("/streamed", get(chunks))
        .layer(ResponseCache::new(cache).ttl(minutes(1)));
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
