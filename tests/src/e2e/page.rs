//! The page that shows what happens.

use anyhow::{Context, Result, ensure};
use http::StatusCode;

use super::Shop;
use super::case::{Case, cases};
use super::shop::same;

pub(super) const CASES: &[Case] = cases!["page":
    it_is_html,
    it_loads_nothing_from_elsewhere,
    it_asks_for_paths_that_are_there,
];

async fn page(shop: &Shop) -> Result<String> {
    let answer = shop.get("/").await?;
    answer.expect_status(StatusCode::OK)?;
    answer.expect_header("content-type", "text/html; charset=utf-8")?;
    Ok(answer.text())
}

async fn it_is_html(shop: Shop) -> Result<()> {
    let page = page(&shop).await?;
    ensure!(page.to_lowercase().starts_with("<!doctype html>"), "no doctype");
    ensure!(page.contains("<title>") && page.contains("lang="), "no title or language");
    let head = shop.head("/").await?;
    head.expect_status(StatusCode::OK)?;
    same("body of a HEAD", head.body.len(), 0)
}

async fn it_loads_nothing_from_elsewhere(shop: Shop) -> Result<()> {
    let answer = shop.get("/").await?;
    let policy = answer.header("content-security-policy").context("no Content-Security-Policy")?;
    ensure!(policy.starts_with("default-src 'none'"), "it allows {policy}");
    ensure!(!policy.contains("http"), "it allows {policy}");
    let page = page(&shop).await?;
    for foreign in ["@import", "url(http", "url(//"] {
        ensure!(!page.contains(foreign), "it has {foreign}");
    }
    for attribute in [" src=\"", " href=\"", " action=\""] {
        for (at, _) in page.match_indices(attribute) {
            let to = &page[at + attribute.len()..];
            let near = ["/", "#", "data:"].iter().any(|begin| to.starts_with(begin));
            let to = to.split('"').next().unwrap_or_default();
            ensure!(near && !to.starts_with("//"), "it has{attribute}{to}\"");
        }
    }
    for (at, _) in page.match_indices("://") {
        let around: String = page[..at].chars().rev().take(20).collect();
        let around: String = around.chars().rev().collect();
        // The namespace of inline SVG and the address of a local Redis are names, not requests.
        let named = page[at..].starts_with("://www.w3.org/") || around.ends_with("redis");
        ensure!(named, "it names an address: {around}{}", &page[at..(at + 20).min(page.len())]);
    }
    Ok(())
}

async fn it_asks_for_paths_that_are_there(shop: Shop) -> Result<()> {
    let page = page(&shop).await?;
    for path in ["/api/v1/stats", "/api/v1/products", "/api/v1/users", "/api/v1/config"] {
        ensure!(page.contains(path), "it does not speak of {path}");
        shop.get(path).await?.expect_status(StatusCode::OK)?;
    }
    Ok(())
}
