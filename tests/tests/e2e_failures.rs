//! The real server under load, while its Redis is killed, hangs, or was never there; and how it
//! ends.

use std::io::ErrorKind;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use http::{Method, StatusCode};
use larder_tests::demo_server::DemoServer;
use larder_tests::e2e::{Load, Outcome, Shop, Target};
use larder_tests::eventually;
use larder_tests::redis_server::RedisServer;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::spawn_blocking;

const CLIENTS: u32 = 16;
/// A look into a store that is mute takes as long as its time-out; a request has two or three.
const SLOWEST: Duration = Duration::from_secs(4);
const SHOP: Target =
    Target { name: "redis", store: "redis", one_process: true, metrics: true, limit: None };

fn shop(server: &DemoServer) -> Shop {
    Shop::new(server.base(), SHOP)
}

/// Every request was answered as it should be, and in time.
fn expect_no_failure(outcome: &Outcome, server: &DemoServer) -> Result<()> {
    println!("{outcome:?}");
    let (failures, said) = (&outcome.failures, server.said());
    ensure!(failures.is_empty(), "requests failed: {failures:#?}; the server said:\n{said}");
    ensure!(outcome.slowest < SLOWEST, "an answer took {:?}", outcome.slowest);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_fails_while_redis_is_killed_and_started_again() -> Result<()> {
    let mut redis = RedisServer::start();
    let server = DemoServer::on_redis(&redis.url())?;
    let load = Load::start(&shop(&server), CLIENTS);
    load.degraded(&[]).await?;
    load.hits(500).await?;

    for _ in 0..2 {
        redis.kill();
        load.degraded(&["store", "invalidations"]).await?;
        load.deferred(u64::from(CLIENTS)).await?;
        load.requests(1_000).await?;

        redis = spawn_blocking(move || {
            redis.restart();
            redis
        })
        .await?;
        load.degraded(&[]).await?;
        load.hits(500).await?;
    }

    let outcome = load.stop().await?;
    expect_no_failure(&outcome, &server)?;
    ensure!(redis.calls_of("get") + redis.calls_of("mget") > 0, "Redis was never asked again");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_fails_while_redis_hangs() -> Result<()> {
    let redis = RedisServer::start();
    let server = DemoServer::on_redis(&redis.url())?;
    let load = Load::start(&shop(&server), CLIENTS);
    load.degraded(&[]).await?;
    load.hits(500).await?;

    let sleeper = spawn_blocking(move || {
        redis.command(&["DEBUG", "SLEEP", "6"]);
        redis
    });
    load.degraded(&["store", "invalidations"]).await?;
    load.deferred(u64::from(CLIENTS)).await?;
    let redis = sleeper.await?;
    load.degraded(&[]).await?;
    load.hits(500).await?;

    expect_no_failure(&load.stop().await?, &server)?;
    drop(redis);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_starts_without_redis_serves_and_finds_it_later() -> Result<()> {
    let mut redis = RedisServer::start();
    redis.kill();
    let server = DemoServer::on_redis(&redis.url())?;
    let load = Load::start(&shop(&server), CLIENTS);
    load.degraded(&["store"]).await?;
    load.requests(1_000).await?;

    redis.restart();
    load.degraded(&[]).await?;
    load.hits(500).await?;
    expect_no_failure(&load.stop().await?, &server)?;
    ensure!(redis.command(&["DBSIZE"]) != ":0", "nothing was kept in Redis");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn while_redis_is_away_nobody_is_taken_for_a_stranger() -> Result<()> {
    let mut redis = RedisServer::start();
    let server = DemoServer::on_redis(&redis.url())?;
    let shop = shop(&server);
    let credentials = json!({ "email": "zoe@example.org", "password": "correct horse battery" });
    let answer = shop.post("/api/v1/signup", &credentials).await?;
    let cookie = answer.header("set-cookie").and_then(|cookie| cookie.split(';').next());
    let cookie = [("cookie", cookie.context("no cookie")?)];
    shop.get_with("/api/v1/me", &cookie).await?.json()?;

    redis.kill();
    for path in ["/api/v1/me", "/api/v1/me/cart", "/api/v1/me/sessions"] {
        let answer = shop.get_with(path, &cookie).await?;
        answer.problem(StatusCode::SERVICE_UNAVAILABLE, &[])?;
        ensure!(answer.header("retry-after").is_some(), "{path}: no Retry-After");
    }
    let sign_out = shop.send(Method::POST, "/api/v1/signout", &cookie, None).await?;
    sign_out.expect_no_header("set-cookie")?.problem(StatusCode::SERVICE_UNAVAILABLE, &[])?;
    let degraded = shop.get("/readyz").await?.json()?["degraded"].clone();
    let parts = degraded.as_array().context("no list of what is degraded")?;
    ensure!(parts.iter().any(|it| it["part"] == "sessions"), "{degraded}");

    let _redis = spawn_blocking(move || {
        redis.restart();
        redis
    })
    .await?;
    // It has forgotten everything, and says so.
    let is_over = async || {
        let answer = shop.get_with("/api/v1/me", &cookie).await;
        answer.is_ok_and(|answer| answer.status == StatusCode::UNAUTHORIZED)
    };
    eventually("the store answers that there is no such session", is_over).await;
    let answer = shop.post("/api/v1/signin", &credentials).await?;
    answer.expect_status(StatusCode::OK)?;
    Ok(())
}

/// A request whose head has been sent and whose body has not; that the server has it in hand is
/// what `100 Continue` says.
struct Begun(TcpStream);

const BODY: &[u8] = br#"{"name":"Late, but not too late"}"#;

impl Begun {
    async fn at(server: &DemoServer) -> Result<Self> {
        let address = server.base().strip_prefix("http://").context("no address")?;
        let mut stream = TcpStream::connect(address).await?;
        let head = format!(
            "PUT /api/v1/users/2001 HTTP/1.1\r\nhost: {address}\r\nexpect: 100-continue\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n",
            BODY.len()
        );
        stream.write_all(head.as_bytes()).await?;
        let mut answer = [0; 25];
        stream.read_exact(&mut answer).await?;
        ensure!(&answer == b"HTTP/1.1 100 Continue\r\n\r\n", "{}", answer.escape_ascii());
        Ok(Self(stream))
    }

    async fn end(mut self) -> Result<String> {
        self.0.write_all(BODY).await?;
        let mut answer = String::new();
        self.0.read_to_string(&mut answer).await?;
        Ok(answer)
    }
}

/// Waits until nothing listens at the server's address any more.
async fn until_refused(server: &DemoServer) -> Result<()> {
    let address = server.base().strip_prefix("http://").context("no address")?;
    let is_refused = async || TcpStream::connect(address).await.is_err();
    eventually("nothing listens there", is_refused).await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupt_under_load_lets_what_is_in_flight_end() -> Result<()> {
    let redis = RedisServer::start();
    let mut server = DemoServer::on_redis(&redis.url())?;
    let load = Load::start(&shop(&server), CLIENTS);
    load.requests(500).await?;
    ensure!(load.outcome().failures.is_empty(), "{:#?}", load.outcome().failures);
    let mut begun = Vec::new();
    for _ in 0..8 {
        begun.push(Begun::at(&server).await?);
    }

    server.interrupt()?;
    until_refused(&server).await?;
    load.stop().await?;
    for request in begun {
        let answer = request.end().await?;
        ensure!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        ensure!(answer.ends_with("}") && answer.contains("Late, but not too late"), "{answer}");
    }
    let status = spawn_blocking(move || server.wait(Duration::from_secs(10))).await??;
    ensure!(status.success(), "it ended with {status}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_interrupt_does_not_wait() -> Result<()> {
    let mut server = DemoServer::in_memory()?;
    let mut begun = Begun::at(&server).await?;
    server.interrupt()?;
    until_refused(&server).await?;
    server.interrupt()?;
    // Less than the server would give the request to end.
    let (server, status) = spawn_blocking(move || {
        let status = server.wait(Duration::from_secs(5));
        (server, status)
    })
    .await?;
    ensure!(status?.success(), "it did not end well: {}", server.said());
    ensure!(server.said().contains("dropped"), "it does not say what was lost: {}", server.said());
    match begun.0.read(&mut [0; 16]).await {
        Ok(0) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        other => anyhow::bail!("the request was answered: {other:?}"),
    }
    Ok(())
}
