//! Limits: Larder beside express-rate-limit with rate-limit-redis.

use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use axum::Router;
use axum::routing::get;
use futures::future::join_all;
use http::StatusCode;
use larder_core::{Quota, RateLimiter};
use larder_http::RateLimit;
use larder_http::rate_limit::{ClientIp, Dialect};
use larder_redis::{RateLimitLayout, RedisRateLimits};
use larder_tests::demo_server::DemoServer;
use larder_tests::eventually;
use larder_tests::http_client::{Answer, HttpClient};
use larder_tests::node_service::NodeService;
use larder_tests::redis_server::RedisServer;

/// As the service has it.
const LIMIT: u64 = 5;
const WINDOW_MILLIS: u64 = 60_000;

/// Both services on one Redis, each behind one proxy.
struct Services {
    redis: RedisServer,
    node: HttpClient,
    larder: HttpClient,
    _running: (NodeService, DemoServer),
}

impl Services {
    fn start() -> Result<Self> {
        let redis = RedisServer::start();
        let url = redis.url();
        let node = NodeService::start(&url)?;
        let limit = LIMIT.to_string();
        let larder = DemoServer::start(&[
            "--redis",
            &url,
            "--rate-limit",
            &limit,
            "--rate-limit-layout",
            "express",
            "--trusted-proxies",
            "1",
        ])?;
        let clients = (HttpClient::new(node.base()), HttpClient::new(larder.base()));
        Ok(Self { redis, node: clients.0, larder: clients.1, _running: (node, larder) })
    }

    async fn ask_node(&self, client: &str) -> Result<Answer> {
        ask(&self.node, "/api/limited", client).await
    }

    async fn ask_larder(&self, client: &str) -> Result<Answer> {
        ask(&self.larder, "/api/v1/config", client).await
    }

    fn number(&self, command: &[&str]) -> Result<i64> {
        let number = self.redis.command(command);
        number.strip_prefix(':').context("no number")?.parse().context(number.clone())
    }
}

async fn ask(service: &HttpClient, path: &str, client: &str) -> Result<Answer> {
    service.get_with(path, &[("x-forwarded-for", client)]).await
}

/// The headers of a limit, by name.
fn told(answer: &Answer) -> Vec<(String, String)> {
    let lines = answer
        .headers
        .iter()
        .filter(|(name, _)| name.as_str().contains("ratelimit") || name.as_str() == "retry-after");
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let mut lines: Vec<_> =
        lines.map(|(name, value)| (name.as_str().to_owned(), text(value))).collect();
    lines.sort();
    lines
}

/// The first request of a client, in a window that ends well between two seconds, so that both
/// services round to the same one.
async fn begin(services: &Services, client: &str, by_node: bool) -> Result<()> {
    // A window has whole seconds.
    eventually("it is in the middle of a second", async || {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        (100..500).contains(&now.subsec_millis())
    })
    .await;
    let first = match by_node {
        true => services.ask_node(client).await?,
        false => services.ask_larder(client).await?,
    };
    first.expect_status(StatusCode::OK)?.expect_header("x-ratelimit-remaining", "4")?;
    let ends = services.number(&["PEXPIRETIME", &key_of(client)])?;
    first.expect_header("x-ratelimit-reset", &(ends / 1_000 + 1).to_string())?;
    Ok(())
}

/// Of an IPv4 address.
fn key_of(client: &str) -> String {
    format!("rl:{client}")
}

/// The services in turn, from the second request on; and what both say of one too many.
async fn take_turns(services: &Services, client: &str, node_is_next: bool) -> Result<()> {
    let key = key_of(client);
    let ends = services.number(&["PEXPIRETIME", &key])?;
    let reset = (ends / 1_000 + 1).to_string();
    for taken in 2..=LIMIT {
        let by_node = (taken % 2 == 0) == node_is_next;
        let answer = match by_node {
            true => services.ask_node(client).await?,
            false => services.ask_larder(client).await?,
        };
        answer.expect_status(StatusCode::OK)?;
        let expected = [
            ("x-ratelimit-limit", LIMIT.to_string()),
            ("x-ratelimit-remaining", (LIMIT - taken).to_string()),
            ("x-ratelimit-reset", reset.clone()),
        ];
        let expected: Vec<_> =
            expected.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        ensure!(told(&answer) == expected, "{client}, {taken}: {:?}", told(&answer));
        ensure!(services.redis.command(&["GET", &key]) == taken.to_string(), "{client}, {taken}");
        ensure!(services.number(&["PEXPIRETIME", &key])? == ends, "the window has moved");
    }
    // Each after the other has refused.
    for _ in 0..2 {
        let refused = [services.ask_larder(client).await?, services.ask_node(client).await?];
        let [larder, node] = [&refused[0], &refused[1]].map(told);
        for answer in &refused {
            answer.expect_status(StatusCode::TOO_MANY_REQUESTS)?;
            answer.expect_header("x-ratelimit-remaining", "0")?;
            answer.expect_header("x-ratelimit-reset", &reset)?;
        }
        ensure!(larder.len() == 4 && node.len() == 4, "{larder:?}, {node:?}");
        let waits: Vec<u64> = [larder, node]
            .iter()
            .map(|told| told[0].1.parse().context("Retry-After"))
            .collect::<Result<_>>()?;
        // The node's was asked a moment later.
        ensure!(waits[0] == waits[1] || waits[0] == waits[1] + 1, "Retry-After: {waits:?}");
    }
    Ok(())
}

#[tokio::test]
async fn what_node_began_larder_goes_on_with() -> Result<()> {
    let services = Services::start()?;
    begin(&services, "203.0.113.1", true).await?;
    take_turns(&services, "203.0.113.1", false).await
}

#[tokio::test]
async fn what_larder_began_node_goes_on_with() -> Result<()> {
    let services = Services::start()?;
    let client = "203.0.113.1";
    begin(&services, client, false).await?;
    take_turns(&services, client, true).await?;

    // And again when the window is over.
    let key = key_of(client);
    services.redis.command(&["PEXPIRE", &key, "1"]);
    eventually("the window is over", async || services.redis.command(&["EXISTS", &key]) == ":0")
        .await;
    // Larder answers by itself for a second whom Redis has just refused for longer.
    eventually("Larder asks Redis again", async || {
        let answer = services.ask_larder(client).await;
        answer.is_ok_and(|it| it.header("x-ratelimit-remaining") == Some("4"))
    })
    .await;
    services.ask_node(client).await?.expect_header("x-ratelimit-remaining", "3")?;
    Ok(())
}

#[tokio::test]
async fn both_know_a_client_by_the_same_key() -> Result<()> {
    let services = Services::start()?;
    for (left, client) in (0..LIMIT).rev().zip([
        "2001:db8:abcd:12ff:1::2",
        "2001:db8:abcd:1200::",
        "2001:0DB8:ABCD:1234:0:0:0:7",
        "2001:db8:abcd:12aa::1",
        "2001:db8:abcd:1201:ffff::",
    ]) {
        let answer = match left % 2 {
            0 => services.ask_node(client).await?,
            _ => services.ask_larder(client).await?,
        };
        answer.expect_status(StatusCode::OK)?;
        answer.expect_header("x-ratelimit-remaining", &left.to_string())?;
    }
    services.ask_larder("::ffff:192.0.2.1").await?.expect_header("x-ratelimit-remaining", "4")?;
    services.ask_node("::ffff:192.0.2.1").await?.expect_header("x-ratelimit-remaining", "3")?;
    services.ask_larder("192.0.2.1").await?.expect_header("x-ratelimit-remaining", "2")?;

    let mut counts = Vec::new();
    for key in ["rl:192.0.2.1", "rl:2001:db8:abcd:1200::/56"] {
        counts.push(services.redis.command(&["GET", key]));
        let left = services.number(&["PTTL", key])?;
        ensure!((1..=WINDOW_MILLIS as i64).contains(&left), "{key} lives for {left} ms");
    }
    ensure!(counts == ["3", "5"], "they counted {counts:?}");
    // The settings, which were asked for, and these two.
    let keys = services.redis.keys_beside_journals();
    ensure!(keys == 3, "there are {keys} keys");
    Ok(())
}

/// An axum application with the layers that answer as the service does.
async fn larder_dialects(redis: &RedisServer) -> Result<HttpClient> {
    let mut app = Router::new();
    for (draft, dialect) in
        [("draft-6", Dialect::DRAFT_6), ("draft-7", Dialect::DRAFT_7), ("draft-8", Dialect::IETF)]
    {
        let counts = RedisRateLimits::connect(redis.url()).await?.layout(RateLimitLayout::Express);
        // The name that express-rate-limit gives.
        let quota = Quota::per_minute(LIMIT).named("5-in-1min");
        let limiter = RateLimiter::builder(counts).namespace(draft).quota(quota).build()?;
        let layer = RateLimit::new(limiter).headers([dialect]);
        let layer = layer.by(ClientIp::behind_proxies(1).ipv6_prefix(56));
        app = app.route(&format!("/limited/{draft}"), get(|| async { "from Larder" }).layer(layer));
    }
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let base = format!("http://{}", listener.local_addr()?);
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(axum::serve(listener, app).into_future());
    Ok(HttpClient::new(&base))
}

/// Without white space, which means nothing, and the partition key, which Larder does not tell.
fn essence(told: Vec<(String, String)>) -> Vec<(String, String)> {
    let value = |value: String| {
        let value = value.replace(' ', "");
        value.split(";pk=").next().unwrap_or_default().to_owned()
    };
    told.into_iter().map(|(name, text)| (name, value(text))).collect()
}

#[tokio::test]
async fn in_every_draft_both_say_the_same() -> Result<()> {
    let redis = RedisServer::start();
    let service = NodeService::start(&redis.url())?;
    let node = HttpClient::new(service.base());
    let larder = larder_dialects(&redis).await?;
    for (draft, headers) in [("draft-6", 4), ("draft-7", 2), ("draft-8", 2)] {
        let path = format!("/limited/{draft}");
        let first =
            [ask(&node, &path, "203.0.113.1").await?, ask(&larder, &path, "203.0.113.2").await?];
        let [theirs, ours] = first.each_ref().map(|answer| essence(told(answer)));
        ensure!(theirs == ours && ours.len() == headers, "{draft}: {ours:?} for {theirs:?}");
        for _ in 1..LIMIT {
            ask(&node, &path, "203.0.113.1").await?.expect_status(StatusCode::OK)?;
            ask(&larder, &path, "203.0.113.2").await?.expect_status(StatusCode::OK)?;
        }
        // In one second of one window, as a rule at once.
        eventually(&format!("both refuse in the same words in {draft}"), async || {
            let refused = [&node, &larder].map(|service| ask(service, &path, "203.0.113.1"));
            let said = join_all(refused).await.into_iter().map(|answer| {
                let answer = answer.ok().filter(|it| it.status == StatusCode::TOO_MANY_REQUESTS);
                answer.map(|answer| essence(told(&answer)))
            });
            let said: Vec<_> = said.collect();
            said[0] == said[1] && said[0].as_ref().is_some_and(|it| it.len() == headers + 1)
        })
        .await;
    }
    Ok(())
}
