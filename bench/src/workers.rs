//! A cached response through a Worker, beside a Worker that reads the same value from KV itself.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use axum::http::{HeaderMap, StatusCode};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use tokio::runtime::Runtime;

use crate::rounds::{Turn, play};
use crate::table::{Figures, Goal, Row};

/// Together with [`REQUESTS`], 10,000 of each.
const ROUNDS: usize = 20;
const REQUESTS: u32 = 500;

/// Asks the Workers at these addresses in turns, one request after the other.
pub(crate) fn compare(ours: &str, peer: &str) -> Result<Row> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("no Tokio")?;
    let client = Client::builder(TokioExecutor::new()).build_http();
    let [ours, peer] = [ours, peer].map(|base| format!("{base}/products"));
    // The first answer is no hit: it fills the cache.
    let (_, wanted) = runtime.block_on(get(&client, &ours))?;
    let turn = |url: String, of: fn(&HeaderMap) -> bool| -> Turn<'_> {
        let (client, runtime, wanted) = (&client, &runtime, wanted.clone());
        Box::new(move || nanos(runtime, client, &url, &wanted, of))
    };
    let results = play(ROUNDS, vec![turn(ours, is_hit), turn(peer, |_| true)])?;
    Ok(Row {
        what: "HTTP, response cache hit, Worker on KV".into(),
        peer: "bare Worker that reads KV",
        figures: Figures::Nanos {
            ours: results.median(0),
            peers: results.median(1),
            ratio: results.ratio(0, 1),
        },
        goal: Goal::AtMost(1.25),
    })
}

fn is_hit(headers: &HeaderMap) -> bool {
    headers.get("x-cache").is_some_and(|value| value == "HIT")
}

/// How long a request takes, of a turn of them.
fn nanos(
    runtime: &Runtime,
    client: &Client<HttpConnector, Empty<Bytes>>,
    url: &str,
    wanted: &Bytes,
    is_right: fn(&HeaderMap) -> bool,
) -> Result<f64> {
    runtime.block_on(async {
        let start = Instant::now();
        for _ in 0..REQUESTS {
            let (headers, body) = get(client, url).await?;
            ensure!(body == wanted && is_right(&headers), "{url}: another answer: {headers:?}");
        }
        Ok(start.elapsed().as_nanos() as f64 / f64::from(REQUESTS))
    })
}

async fn get(
    client: &Client<HttpConnector, Empty<Bytes>>,
    url: &str,
) -> Result<(HeaderMap, Bytes)> {
    let answer = client.get(url.parse()?).await.with_context(|| format!("GET {url}"))?;
    ensure!(answer.status() == StatusCode::OK, "GET {url}: {}", answer.status());
    let (head, body) = answer.into_parts();
    Ok((head.headers, body.collect().await?.to_bytes()))
}
