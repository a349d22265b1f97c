//! How much of the API a client may have.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use http::{Method, StatusCode};
use serde_json::json;

use super::Shop;
use super::case::{Case, Need, cases};
use super::shop::{Limit, same};
use crate::http_client::Answer;

pub(super) const CASES: &[Case] = cases!["limits":
    what_is_left_is_told_and_falls [Need::Limit],
    whatever_answers_is_counted [Need::Limit],
    the_request_after_the_last_is_refused [Need::Limit],
    only_the_api_is_limited [Need::Limit],
];

/// A client of an address of its own.
struct Client<'a> {
    shop: &'a Shop,
    limit: Limit,
    address: &'static str,
}

impl<'a> Client<'a> {
    fn new(shop: &'a Shop, address: &'static str) -> Result<Self> {
        let limit = shop.target.limit.context("a server that limits nobody")?;
        Ok(Self { shop, limit, address })
    }

    async fn get(&self, path: &str) -> Result<Answer> {
        self.send(Method::GET, path).await
    }

    async fn send(&self, method: Method, path: &str) -> Result<Answer> {
        self.shop.send(method, path, &[(self.limit.client, self.address)], None).await
    }
}

fn number(answer: &Answer, header: &str) -> Result<u64> {
    let value = answer.header(header).with_context(|| format!("no {header}"))?;
    value.parse().with_context(|| format!("{header}: {value}"))
}

fn expect_left(answer: &Answer, limit: Limit, left: u64) -> Result<()> {
    same("X-RateLimit-Limit", number(answer, "x-ratelimit-limit")?, limit.requests)?;
    same("X-RateLimit-Remaining", number(answer, "x-ratelimit-remaining")?, left)
}

fn seconds_since_the_epoch() -> Result<u64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())
}

async fn what_is_left_is_told_and_falls(shop: Shop) -> Result<()> {
    let client = Client::new(&shop, "203.0.113.1")?;
    let before = seconds_since_the_epoch()?;
    for taken in 1..=3 {
        let answer = client.get("/api/v1/config").await?;
        answer.expect_status(StatusCode::OK)?.expect_no_header("retry-after")?;
        expect_left(&answer, client.limit, client.limit.requests - taken)?;
        let reset = number(&answer, "x-ratelimit-reset")?;
        let possible = before..=seconds_since_the_epoch()? + 61;
        ensure!(possible.contains(&reset), "it is reset at {reset}, not in {possible:?}");
    }
    Ok(())
}

/// From the cache, by the database, and where there is nothing.
async fn whatever_answers_is_counted(shop: Shop) -> Result<()> {
    let client = Client::new(&shop, "2001:db8:1:2:3::4")?;
    let neighbour = Client::new(&shop, "2001:db8:1:2:ffff::1")?;
    for (taken, (method, path, status)) in (1..).zip([
        (Method::GET, "/api/v1/products?limit=1", 200),
        (Method::GET, "/api/v1/products?limit=1", 200),
        (Method::GET, "/api/v1/products?limit=many", 400),
        (Method::GET, "/api/v1/nothing", 404),
        (Method::DELETE, "/api/v1/products", 405),
        (Method::HEAD, "/api/v1/config", 200),
    ]) {
        // Two addresses of one subscriber.
        let client = if taken % 2 == 0 { &client } else { &neighbour };
        let answer = client.send(method, path).await?;
        answer.expect_status(StatusCode::from_u16(status)?)?;
        expect_left(&answer, client.limit, client.limit.requests - taken)?;
    }
    Ok(())
}

async fn the_request_after_the_last_is_refused(shop: Shop) -> Result<()> {
    let client = Client::new(&shop, "203.0.113.2")?;
    for taken in 1..=client.limit.requests {
        let answer = client.get("/api/v1/config").await?;
        answer.expect_status(StatusCode::OK)?;
        expect_left(&answer, client.limit, client.limit.requests - taken)?;
    }
    for path in ["/api/v1/config", "/api/v1/users/1"] {
        let refused = client.get(path).await?;
        refused.expect_status(StatusCode::TOO_MANY_REQUESTS)?;
        refused.expect_header("content-type", "application/problem+json")?;
        refused.expect_header("cache-control", "no-store")?.expect_no_header("x-cache")?;
        expect_left(&refused, client.limit, 0)?;
        let wait = number(&refused, "retry-after")?;
        ensure!((1..=60).contains(&wait), "Retry-After: {wait}");
        let problem: serde_json::Value = serde_json::from_slice(&refused.body)?;
        let exceeded = "https://iana.org/assignments/http-problem-types#quota-exceeded";
        same("type", &problem["type"], &json!(exceeded))?;
        same("violated policies", &problem["violated-policies"], &json!(["minute"]))?;
        same("status", &problem["status"], &json!(429))?;
    }
    let other = Client::new(&shop, "203.0.113.3")?;
    expect_left(&other.get("/api/v1/config").await?, other.limit, other.limit.requests - 1)
}

async fn only_the_api_is_limited(shop: Shop) -> Result<()> {
    let client = Client::new(&shop, "203.0.113.4")?;
    for path in ["/", "/healthz", "/readyz", "/api/v1/stats", "/nothing"] {
        client.get(path).await?.expect_no_header("x-ratelimit-limit")?;
        // Whoever asks for these need not have an address.
        shop.get(path).await?.expect_no_header("x-ratelimit-limit")?;
    }
    let answer = client.get("/api/v1/config").await?;
    expect_left(&answer, client.limit, client.limit.requests - 1)
}
