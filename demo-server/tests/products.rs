//! Products, behind the response cache.
#![allow(clippy::unwrap_used)]

mod common;

use common::Shop;
use larder_demo::seed;

#[tokio::test]
async fn a_page_is_a_join_and_an_aggregate() {
    let shop = Shop::in_memory().await;
    let mut expected: Vec<_> = seed::products()
        .map(|it| {
            let reviews = it.reviews.len();
            let mean = it.reviews.iter().sum::<i64>() as f64 / reviews as f64;
            (if reviews == 0 { -1.0 } else { mean }, reviews, it)
        })
        .collect();
    expected.sort_by(|a, b| b.0.total_cmp(&a.0).then(b.1.cmp(&a.1)).then(a.2.id.cmp(&b.2.id)));

    let page = shop.get("/api/v1/products?page=40&limit=7").await.ok();
    assert_eq!((&page["page"], &page["limit"]), (&40.into(), &7.into()));
    assert_eq!(page["total"], seed::PRODUCTS);
    let items = page["items"].as_array().unwrap();
    assert_eq!(items.len(), 7);
    for (item, (mean, reviews, product)) in items.iter().zip(&expected[39 * 7..]) {
        assert_eq!(item["id"], product.id);
        assert_eq!(item["name"], product.name);
        assert_eq!(item["category"], product.category);
        assert_eq!(item["priceCents"], product.price_cents);
        assert_eq!(item["reviews"], *reviews);
        assert!((item["rating"].as_f64().unwrap() - mean).abs() < 1e-9);
    }
}

#[tokio::test]
async fn a_search_is_for_a_part_of_the_name_in_any_case() {
    let shop = Shop::in_memory().await;
    let found = shop.get("/api/v1/products?limit=100&q=smoked+PAPRIKA").await.ok();
    let expected = seed::products().filter(|it| it.name.contains("Smoked Paprika")).count();
    assert_eq!(found["total"], expected);
    assert_eq!(found["items"].as_array().unwrap().len(), expected);
    for wildcard in ["%25", "_"] {
        let found = shop.get(&format!("/api/v1/products?q={wildcard}")).await.ok();
        assert_eq!(found["total"], 0, "{wildcard}");
        assert_eq!(found["items"], serde_json::json!([]), "{wildcard}");
    }
    let beyond = shop.get("/api/v1/products?page=1000000&limit=100").await.ok();
    assert_eq!((&beyond["items"], &beyond["total"]), (&serde_json::json!([]), &10_000.into()));
}

#[tokio::test]
async fn a_product_without_reviews_has_no_rating() {
    let shop = Shop::in_memory().await;
    let unrated = seed::products().find(|it| it.reviews.is_empty()).unwrap();
    let product = shop.get(&format!("/api/v1/products/{}", unrated.id)).await.ok();
    assert_eq!(product["rating"], serde_json::Value::Null);
    assert_eq!(product["reviews"], 0);
    assert_eq!(product["stock"], unrated.stock);
}

#[tokio::test]
async fn the_second_request_asks_the_database_nothing() {
    let shop = Shop::in_memory().await;
    for path in ["/api/v1/products?page=2&limit=5", "/api/v1/products/7"] {
        let first = shop.get(path).await;
        assert_eq!(first.header("x-cache"), Some("MISS"));
        let calls = shop.calls().await;
        let second = shop.get(path).await;
        assert_eq!(second.header("x-cache"), Some("HIT"));
        assert_eq!(second.header("content-type"), Some("application/json"));
        assert_eq!(second.body, first.body);
        assert_eq!(shop.calls().await, calls);
    }
}

#[tokio::test]
async fn what_is_wrong_is_named_and_not_kept() {
    let shop = Shop::in_memory().await;
    for _ in 0..2 {
        assert_eq!(
            shop.get("/api/v1/products?page=0&limit=101").await.problem(400),
            ["page", "limit"]
        );
        assert_eq!(shop.get("/api/v1/products/zero").await.problem(400), ["id"]);
        assert_eq!(shop.get("/api/v1/products/%ff").await.problem(400), ["id"]);
        assert!(shop.get("/api/v1/products/10001").await.problem(404).is_empty());
    }
    let long = "q".repeat(65);
    assert_eq!(shop.get(&format!("/api/v1/products?q={long}")).await.problem(400), ["q"]);
}
