//! The pages that show what happens.

use anyhow::{Context, Result, ensure};
use http::StatusCode;

use super::Shop;
use super::case::{Case, cases};
use super::shop::same;

pub(super) const CASES: &[Case] = cases!["page":
    they_are_html,
    they_run_nothing_that_stands_in_them,
    they_load_nothing_from_elsewhere,
    they_ask_for_paths_that_are_there,
];

/// The pages, with their scripts and styles.
const PAGES: [(&str, [&str; 2]); 2] =
    [("/", ["/shop.js", "/style.css"]), ("/account", ["/account.js", "/style.css"])];

async fn text(shop: &Shop, path: &str, content_type: &str) -> Result<String> {
    let answer = shop.get(path).await?;
    answer.expect_status(StatusCode::OK)?;
    answer.expect_header("content-type", &format!("{content_type}; charset=utf-8"))?;
    Ok(answer.text())
}

async fn they_are_html(shop: Shop) -> Result<()> {
    for (path, [script, style]) in PAGES {
        let page = text(&shop, path, "text/html").await?;
        ensure!(page.to_lowercase().starts_with("<!doctype html>"), "{path}: no doctype");
        ensure!(page.contains("<title>") && page.contains("lang="), "{path}: no title or language");
        for file in [script, style] {
            ensure!(page.contains(&format!("=\"{file}\"")), "{path} does not load {file}");
        }
        let head = shop.head(path).await?;
        head.expect_status(StatusCode::OK)?;
        same("body of a HEAD", head.body.len(), 0)?;
    }
    Ok(())
}

async fn they_run_nothing_that_stands_in_them(shop: Shop) -> Result<()> {
    for (path, _) in PAGES {
        let answer = shop.get(path).await?;
        let policy = answer.header("content-security-policy");
        let policy = policy.with_context(|| format!("{path}: no Content-Security-Policy"))?;
        ensure!(policy.starts_with("default-src 'none'"), "{path} allows {policy}");
        for loose in ["http", "unsafe", "*"] {
            ensure!(!policy.contains(loose), "{path} allows {policy}");
        }
        let page = answer.text();
        for inline in ["<style", " style=", " on", "javascript:"] {
            let begin = page.match_indices(inline).find(|(at, _)| {
                // An attribute that begins so, and no word of the text.
                let name: String =
                    page[at + 1..].chars().take_while(|c| c.is_ascii_alphabetic()).collect();
                inline != " on" || page[at + 1 + name.len()..].starts_with('=')
            });
            ensure!(begin.is_none(), "{path} has{inline}");
        }
        for (at, _) in page.match_indices("<script") {
            ensure!(page[at..].starts_with("<script src=\"/"), "{path} has a script of its own");
        }
    }
    Ok(())
}

async fn they_load_nothing_from_elsewhere(shop: Shop) -> Result<()> {
    for (path, [script, style]) in PAGES {
        loads_nothing_from_elsewhere(&text(&shop, path, "text/html").await?)?;
        loads_nothing_from_elsewhere(&text(&shop, script, "text/javascript").await?)?;
        loads_nothing_from_elsewhere(&text(&shop, style, "text/css").await?)?;
    }
    loads_nothing_from_elsewhere(&text(&shop, "/nodes.js", "text/javascript").await?)?;
    Ok(())
}

fn loads_nothing_from_elsewhere(page: &str) -> Result<()> {
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

async fn they_ask_for_paths_that_are_there(shop: Shop) -> Result<()> {
    let script = text(&shop, "/shop.js", "text/javascript").await?;
    for path in ["/api/v1/stats", "/api/v1/products", "/api/v1/users", "/api/v1/config"] {
        ensure!(script.contains(path), "it does not speak of {path}");
        shop.get(path).await?.expect_status(StatusCode::OK)?;
    }
    Ok(())
}
