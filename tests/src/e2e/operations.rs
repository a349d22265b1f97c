//! What those who run the shop look at, and what is at no path.

use anyhow::{Context, Result, ensure};
use http::{Method, StatusCode};
use serde_json::json;

use super::Shop;
use super::case::{Case, Need, cases};
use super::shop::same;

pub(super) const CASES: &[Case] = cases!["operations":
    it_is_healthy,
    it_is_ready_and_nothing_is_degraded,
    the_stats_count_hits_misses_and_loads [Need::OneProcess],
    the_metrics_are_well_formed [Need::Metrics],
    the_metrics_tell_caches_apart [Need::Metrics, Need::OneProcess],
    nothing_of_this_is_kept_on_its_way,
    without_a_limit_nothing_is_said_of_one,
    an_unknown_path_is_a_problem,
    an_unknown_method_is_a_problem_that_names_the_known,
];

async fn it_is_healthy(shop: Shop) -> Result<()> {
    let answer = shop.get("/healthz").await?.json()?;
    same("healthz", answer, json!({ "status": "ok" }))
}

async fn it_is_ready_and_nothing_is_degraded(shop: Shop) -> Result<()> {
    let answer = shop.get("/readyz").await?.json()?;
    same("readyz", answer, json!({ "status": "ok", "degraded": [] }))
}

async fn the_stats_count_hits_misses_and_loads(shop: Shop) -> Result<()> {
    let before = shop.stats().await?;
    same("store", before.store(), Some(shop.target.store))?;
    for _ in 0..4 {
        shop.get("/api/v1/users/71").await?.json()?;
    }
    let after = shop.stats().await?;
    for (what, expected) in [("misses", 1), ("loads", 1), ("hits", 3), ("storeErrors", 0)] {
        let counted = after.of_cache("users", what)? - before.of_cache("users", what)?;
        same(what, counted, expected)?;
    }
    Ok(())
}

/// The samples of Prometheus' text format: name, labels and value.
struct Samples(Vec<(String, String, f64)>);

impl Samples {
    async fn of(shop: &Shop) -> Result<Self> {
        let answer = shop.get("/metrics").await?;
        answer.expect_status(StatusCode::OK)?;
        let content_type = answer.header("content-type").unwrap_or_default();
        ensure!(content_type.starts_with("text/plain; version=0.0.4"), "it is {content_type}");
        let text = answer.text();
        let samples = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let sample = |line: &str| {
            let (series, value) = line.rsplit_once(' ')?;
            let (name, labels) = match series.split_once('{') {
                Some((name, labels)) => (name, labels.strip_suffix('}')?),
                None => (series, ""),
            };
            Some((name.to_owned(), labels.to_owned(), value.parse().ok()?))
        };
        let samples = samples.map(|line| sample(line).with_context(|| format!("{line:?}")));
        Ok(Self(samples.collect::<Result<_>>()?))
    }

    /// The sum of the samples of this name whose labels contain all of `labels`.
    fn sum(&self, name: &str, labels: &[&str]) -> Result<f64> {
        let mut found = self
            .0
            .iter()
            .filter(|(it, of, _)| it == name && labels.iter().all(|label| of.contains(label)))
            .map(|(_, _, value)| value)
            .peekable();
        ensure!(found.peek().is_some(), "there is no {name} with {labels:?}");
        Ok(found.sum())
    }
}

async fn the_metrics_are_well_formed(shop: Shop) -> Result<()> {
    shop.get("/api/v1/users/72").await?.json()?;
    shop.get("/api/v1/products/72").await?.json()?;
    shop.get("/api/v1/products/10072").await?.problem(StatusCode::NOT_FOUND, &[])?;
    shop.get("/api/v1/config").await?.json()?;
    let samples = Samples::of(&shop).await?;
    for cache in ["products", "unknown_products", "users", "config"] {
        let label = format!("cache=\"{cache}\"");
        for name in ["hits", "misses", "loads", "coalesced"] {
            samples.sum(&format!("larder_cache_{name}_total"), &[&label])?;
        }
        let loads = samples.sum("larder_cache_loads_total", &[&label])?;
        ensure!(loads >= 1.0, "{cache} counts {loads} loads");
    }
    samples.sum("shop_database_seconds_count", &["operation=\"user\""])?;
    Ok(())
}

async fn the_metrics_tell_caches_apart(shop: Shop) -> Result<()> {
    let users = ["cache=\"users\""];
    let products = ["cache=\"products\""];
    let before = Samples::of(&shop).await?;
    for _ in 0..3 {
        shop.get("/api/v1/users/73").await?.json()?;
    }
    let after = Samples::of(&shop).await?;
    for (labels, name, expected) in [
        (&users, "larder_cache_misses_total", 1.0),
        (&users, "larder_cache_loads_total", 1.0),
        (&users, "larder_cache_hits_total", 2.0),
        (&products, "larder_cache_misses_total", 0.0),
        (&products, "larder_cache_hits_total", 0.0),
    ] {
        let counted = after.sum(name, labels)? - before.sum(name, labels)?;
        same(&format!("{name} of {labels:?}"), counted, expected)?;
    }
    Ok(())
}

async fn nothing_of_this_is_kept_on_its_way(shop: Shop) -> Result<()> {
    for path in ["/healthz", "/readyz", "/api/v1/stats"] {
        shop.get(path).await?.expect_header("cache-control", "no-store")?;
    }
    Ok(())
}

async fn without_a_limit_nothing_is_said_of_one(shop: Shop) -> Result<()> {
    for path in ["/api/v1/config", "/api/v1/nothing", "/healthz"] {
        let answer = shop.get(path).await?;
        answer.expect_no_header("x-ratelimit-limit")?.expect_no_header("retry-after")?;
    }
    Ok(())
}

async fn an_unknown_path_is_a_problem(shop: Shop) -> Result<()> {
    for path in ["/nothing", "/api/v1", "/api/v1/users/1/orders", "/api/v2/products"] {
        shop.get(path).await?.problem(StatusCode::NOT_FOUND, &[])?;
    }
    Ok(())
}

async fn an_unknown_method_is_a_problem_that_names_the_known(shop: Shop) -> Result<()> {
    for (method, path, allowed) in [
        (Method::DELETE, "/api/v1/products", "GET,HEAD"),
        (Method::PUT, "/api/v1/products/1", "GET,HEAD"),
        (Method::POST, "/api/v1/users", "GET,HEAD"),
        (Method::POST, "/api/v1/users/1", "GET,HEAD,PUT,DELETE"),
        (Method::PATCH, "/api/v1/config", "GET,HEAD"),
    ] {
        let answer = shop.send(method, path, &[], None).await?;
        answer.problem(StatusCode::METHOD_NOT_ALLOWED, &[])?;
        let known = |allow: &str| -> Vec<String> {
            let mut known: Vec<_> = allow.split(',').map(|it| it.trim().to_owned()).collect();
            known.sort_unstable();
            known
        };
        same("Allow", known(answer.header("allow").unwrap_or_default()), known(allowed))?;
    }
    Ok(())
}
