//! The layer behind a real server, over TCP.

use std::net::SocketAddr;

use axum::Router;
use axum::routing::get;
use larder_core::{MemoryRateLimits, Quota, RateLimiter};
use larder_http::RateLimit;
use larder_http::rate_limit::ClientIp;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket};

/// One request over one connection from this address, which the server closes.
async fn over_tcp(from: &str, port: u16, lines: &str) -> String {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(from.parse().unwrap(), 0)).unwrap();
    let mut connection = socket.connect(([127, 0, 0, 1], port).into()).await.unwrap();
    let request = format!("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{lines}\r\n");
    connection.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    answer.to_lowercase()
}

async fn serve(by: ClientIp) -> u16 {
    let limiter =
        RateLimiter::builder(MemoryRateLimits::new()).quota(Quota::per_minute(2)).build().unwrap();
    let app = Router::new()
        .route("/", get(|| async { "hello" }))
        .layer(RateLimit::new(limiter).by(by))
        .into_make_service_with_connect_info::<SocketAddr>();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move { axum::serve(listener, app).await });
    port
}

#[tokio::test]
async fn clients_are_told_apart_by_their_connection() {
    let port = serve(ClientIp::peer()).await;
    let spoofed = "X-Forwarded-For: 198.51.100.1\r\nForwarded: for=198.51.100.1\r\n";
    for (lines, status) in [("", "200"), (spoofed, "200"), (spoofed, "429")] {
        let answer = over_tcp("127.0.0.1", port, lines).await;
        assert!(answer.starts_with(&format!("http/1.1 {status} ")), "{answer}");
        assert!(answer.contains("\r\nx-ratelimit-limit: 2\r\n"), "{answer}");
    }
    let other = over_tcp("127.0.0.2", port, "").await;
    assert!(other.contains("x-ratelimit-remaining: 1\r\n") && other.ends_with("hello"), "{other}");
}

#[tokio::test]
async fn behind_a_proxy_they_are_told_apart_by_what_it_writes() {
    let port = serve(ClientIp::behind_proxies(1)).await;
    for (client, status) in [("203.0.113.9", "200"), ("203.0.113.9", "200"), ("203.0.113.9", "429"), ("203.0.113.8", "200")] {
        let lines = format!("X-Forwarded-For: 192.0.2.1, {client}\r\n");
        let answer = over_tcp("127.0.0.1", port, &lines).await;
        assert!(answer.starts_with(&format!("http/1.1 {status} ")), "{client}: {answer}");
    }
    let answer = over_tcp("127.0.0.1", port, "").await;
    assert!(answer.starts_with("http/1.1 500 "), "{answer}");
}
