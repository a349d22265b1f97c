//! Products: whole responses from the cache.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use http::StatusCode;
use serde_json::{Value, json};

use super::Shop;
use super::case::{Case, Need, cases};
use super::shop::{fields, items, same};

pub(super) const CASES: &[Case] = cases!["products":
    a_page_has_what_was_asked_for,
    a_list_without_a_query_is_its_first_page_of_twenty,
    the_best_rated_come_first,
    a_search_finds_what_names_contain_in_any_case,
    a_search_takes_no_wildcards,
    beyond_the_last_page_there_is_nothing,
    a_product_has_its_stock,
    a_page_is_a_miss_and_then_a_hit,
    a_product_is_a_miss_and_then_a_hit,
    a_hit_tells_its_age,
    a_hit_costs_the_database_nothing [Need::OneProcess],
    the_order_of_the_query_does_not_matter,
    other_pages_and_searches_are_other_entries,
    a_head_has_the_headers_of_a_get_and_no_body,
    an_answer_to_credentials_is_not_shared,
    a_stampede_on_a_cold_page_is_one_load [Need::OneProcess],
    the_first_client_leaves_and_the_others_are_answered [Need::OneProcess],
    an_unknown_product_is_a_problem,
    an_unknown_product_is_looked_up_once [Need::OneProcess],
    a_bad_id_is_named,
    bad_pages_limits_and_searches_are_named_and_not_kept,
];

async fn a_page_has_what_was_asked_for(shop: Shop) -> Result<()> {
    let page = shop.get("/api/v1/products?page=3&limit=5").await?.json()?;
    same("items", items(&page)?.len(), 5)?;
    same("page", &page["page"], &json!(3))?;
    same("limit", &page["limit"], &json!(5))?;
    same("total", &page["total"], &json!(10_000))?;
    for item in items(&page)? {
        let names = ["category", "id", "name", "priceCents", "rating", "reviews"];
        same("fields", fields(item)?, names.into())?;
    }
    Ok(())
}

async fn a_list_without_a_query_is_its_first_page_of_twenty(shop: Shop) -> Result<()> {
    let page = shop.get("/api/v1/products").await?.json()?;
    same("items", items(&page)?.len(), 20)?;
    same("page", &page["page"], &json!(1))?;
    same("limit", &page["limit"], &json!(20))
}

async fn the_best_rated_come_first(shop: Shop) -> Result<()> {
    let page = shop.get("/api/v1/products?limit=100&q=1%20kg").await?.json()?;
    let rating = |item: &Value| item["rating"].as_f64().unwrap_or(0.0);
    let sorted = items(&page)?.is_sorted_by(|a, b| rating(a) >= rating(b));
    ensure!(sorted, "not sorted by rating: {page}");
    ensure!(items(&page)?.first().map(rating) >= Some(4.0), "no good product: {page}");
    Ok(())
}

async fn a_search_finds_what_names_contain_in_any_case(shop: Shop) -> Result<()> {
    let page = shop.get("/api/v1/products?q=sAFFron&limit=100").await?.json()?;
    same("total", &page["total"], &json!(200))?;
    same("items", items(&page)?.len(), 100)?;
    for item in items(&page)? {
        let name = item["name"].as_str().unwrap_or_default();
        ensure!(name.contains("Saffron"), "{name:?} was found");
    }
    Ok(())
}

async fn a_search_takes_no_wildcards(shop: Shop) -> Result<()> {
    for q in ["%25", "_", "*", "'", "caf%C3%A9"] {
        let page = shop.get(&format!("/api/v1/products?q={q}")).await?.json()?;
        same(q, &page["total"], &json!(0))?;
    }
    Ok(())
}

async fn beyond_the_last_page_there_is_nothing(shop: Shop) -> Result<()> {
    let page = shop.get("/api/v1/products?page=101&limit=100").await?.json()?;
    same("items", items(&page)?.len(), 0)?;
    same("total", &page["total"], &json!(10_000))
}

async fn a_product_has_its_stock(shop: Shop) -> Result<()> {
    let product = shop.get("/api/v1/products/1").await?.json()?;
    same("id", &product["id"], &json!(1))?;
    same("name", &product["name"], &json!("Organic Basmati Rice 100 g"))?;
    same("category", &product["category"], &json!("grains"))?;
    ensure!(product["stock"].is_u64(), "no stock: {product}");
    ensure!(product["priceCents"].is_u64(), "no price: {product}");
    Ok(())
}

async fn a_page_is_a_miss_and_then_a_hit(shop: Shop) -> Result<()> {
    miss_then_hit(&shop, "/api/v1/products?page=4&limit=9").await
}

async fn a_product_is_a_miss_and_then_a_hit(shop: Shop) -> Result<()> {
    miss_then_hit(&shop, "/api/v1/products/200").await
}

async fn miss_then_hit(shop: &Shop, path: &str) -> Result<()> {
    let miss = shop.get(path).await?;
    miss.expect_cache("MISS")?;
    let hit = hit(shop, path).await?;
    same("body", &hit.body, &miss.body)?;
    same("content type", hit.header("content-type"), miss.header("content-type"))?;
    hit.expect_header("content-type", "application/json")?;
    Ok(())
}

/// A response is stored after it has gone out: the next request may come before that.
async fn hit(shop: &Shop, path: &str) -> Result<crate::http_client::Answer> {
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let answer = shop.get(path).await?;
        if answer.header("x-cache") == Some("HIT") || Instant::now() > deadline {
            answer.expect_cache("HIT")?;
            return Ok(answer);
        }
    }
}

async fn a_hit_tells_its_age(shop: Shop) -> Result<()> {
    let path = "/api/v1/products/210";
    shop.get(path).await?.expect_cache("MISS")?;
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let hit = hit(&shop, path).await?;
        let age: u64 = hit.header("age").context("a hit without an Age")?.parse()?;
        ensure!(age < 10, "an age of {age} s");
        if age > 0 {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "it does not grow older");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn a_hit_costs_the_database_nothing(shop: Shop) -> Result<()> {
    let path = "/api/v1/products?page=5&limit=9";
    let before = shop.stats().await?.database_calls()?;
    shop.get(path).await?.expect_cache("MISS")?;
    hit(&shop, path).await?;
    let between = shop.stats().await?.database_calls()?;
    ensure!(between > before, "the miss did not ask the database");
    for _ in 0..5 {
        shop.get(path).await?.expect_cache("HIT")?;
    }
    same("calls of the database", shop.stats().await?.database_calls()?, between)
}

async fn the_order_of_the_query_does_not_matter(shop: Shop) -> Result<()> {
    let path = "/api/v1/products?page=6&limit=9";
    miss_then_hit(&shop, path).await?;
    let other = shop.get("/api/v1/products?limit=9&page=6").await?;
    other.expect_cache("HIT")?;
    same("body", other.body, shop.get(path).await?.body)
}

async fn other_pages_and_searches_are_other_entries(shop: Shop) -> Result<()> {
    let paths = [
        "/api/v1/products?page=1&limit=8",
        "/api/v1/products?page=8&limit=1",
        "/api/v1/products?page=2&limit=8",
        "/api/v1/products?page=1&limit=8&q=tea",
        "/api/v1/products/181",
        "/api/v1/products/18",
    ];
    let mut bodies = Vec::new();
    for path in paths {
        shop.get(path).await?.expect_cache("MISS")?;
        let body = hit(&shop, path).await?.body;
        ensure!(!bodies.contains(&body), "{path} has the body of another");
        bodies.push(body);
    }
    Ok(())
}

async fn a_head_has_the_headers_of_a_get_and_no_body(shop: Shop) -> Result<()> {
    let path = "/api/v1/products/220";
    shop.get(path).await?.expect_cache("MISS")?;
    let get = hit(&shop, path).await?;
    let head = shop.head(path).await?;
    head.expect_cache("HIT")?;
    same("body", head.body.len(), 0)?;
    for name in ["content-type", "content-length"] {
        same(name, head.header(name), get.header(name))?;
    }
    ensure!(head.header("age").is_some(), "no Age");
    // A page that only a HEAD has asked for is no page without a body to the next GET.
    let path = "/api/v1/products/221";
    shop.head(path).await?.expect_status(StatusCode::OK)?;
    let product = shop.get(path).await?.json()?;
    same("id", &product["id"], &json!(221))
}

async fn an_answer_to_credentials_is_not_shared(shop: Shop) -> Result<()> {
    let path = "/api/v1/products/230";
    let credentials = [("authorization", "Bearer of-a-test")];
    for _ in 0..2 {
        let answer = shop.get_with(path, &credentials).await?;
        answer.expect_status(StatusCode::OK)?;
        ensure!(answer.header("x-cache") != Some("HIT"), "a hit, with credentials");
    }
    shop.get(path).await?.expect_cache("MISS")?;
    Ok(())
}

async fn a_stampede_on_a_cold_page_is_one_load(shop: Shop) -> Result<()> {
    let path = "/api/v1/products?page=77&limit=100";
    // So that every request has a connection, and they arrive at once.
    try_join_all((0..200).map(|_| shop.get("/healthz"))).await?;
    let before = shop.stats().await?;
    let answers = try_join_all((0..200).map(|_| shop.get(path))).await?;
    let after = shop.stats().await?;
    for answer in &answers {
        answer.expect_status(StatusCode::OK)?;
        ensure!(answer.body == answers[0].body, "they got different answers");
    }
    let loads = after.of_cache("products", "loads")? - before.of_cache("products", "loads")?;
    same("loads", loads, 1)?;
    let calls = after.database_calls()? - before.database_calls()?;
    same("calls of the database", calls, 1)?;
    hit(&shop, path).await?;
    Ok(())
}

async fn the_first_client_leaves_and_the_others_are_answered(shop: Shop) -> Result<()> {
    for page in 78..82 {
        let path = format!("/api/v1/products?page={page}&limit=100");
        let before = shop.stats().await?;
        let first = {
            let (shop, path) = (shop.clone(), path.clone());
            tokio::spawn(async move { shop.get(&path).await })
        };
        // Until it is under way, or all there is to it is over.
        while !first.is_finished()
            && shop.stats().await?.of_cache("products", "loads")?
                == before.of_cache("products", "loads")?
        {}
        let others = (0..50).map(|_| shop.get(&path));
        // Closes its connection.
        first.abort();
        for answer in try_join_all(others).await? {
            answer.json()?;
        }
        let after = shop.stats().await?;
        // Natively the first client's load ends with it, and another takes over.
        let loads = after.of_cache("products", "loads")? - before.of_cache("products", "loads")?;
        ensure!(loads <= 2, "{path} was loaded {loads} times");
    }
    Ok(())
}

async fn an_unknown_product_is_a_problem(shop: Shop) -> Result<()> {
    for _ in 0..2 {
        let answer = shop.get("/api/v1/products/10001").await?;
        answer.problem(StatusCode::NOT_FOUND, &[])?;
        ensure!(answer.header("x-cache") != Some("HIT"), "an error came from the cache");
    }
    Ok(())
}

async fn an_unknown_product_is_looked_up_once(shop: Shop) -> Result<()> {
    let before = shop.stats().await?.database_calls()?;
    for query in ["", "", "?again"] {
        let answer = shop.get(&format!("/api/v1/products/10002{query}")).await?;
        answer.problem(StatusCode::NOT_FOUND, &[])?;
    }
    same("calls of the database", shop.stats().await?.database_calls()?, before + 1)
}

async fn a_bad_id_is_named(shop: Shop) -> Result<()> {
    for id in super::users::BAD_IDS {
        let answer = shop.get(&format!("/api/v1/products/{id}")).await?;
        answer.problem(StatusCode::BAD_REQUEST, &["id"])?;
    }
    Ok(())
}

async fn bad_pages_limits_and_searches_are_named_and_not_kept(shop: Shop) -> Result<()> {
    let long = format!("q={}", "x".repeat(65));
    let cases: [(&str, &[&str]); 12] = [
        ("page=0", &["page"]),
        ("page=-1", &["page"]),
        ("page=one", &["page"]),
        ("page=1.5", &["page"]),
        ("page=", &["page"]),
        ("page=1000001", &["page"]),
        ("limit=0", &["limit"]),
        ("limit=101", &["limit"]),
        ("page=0&limit=0", &["page", "limit"]),
        ("page=1&page=2", &["page"]),
        ("q=a%00b", &["q"]),
        (&long, &["q"]),
    ];
    for (query, fields) in cases {
        for _ in 0..2 {
            let answer = shop.get(&format!("/api/v1/products?{query}")).await?;
            answer.problem(StatusCode::BAD_REQUEST, fields)?;
            ensure!(answer.header("x-cache") != Some("HIT"), "{query}: kept");
        }
    }
    Ok(())
}
