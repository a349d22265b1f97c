//! Users: cache-aside, and forgotten when one is written.

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use futures::future::try_join_all;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::Shop;
use super::case::{Case, Need, cases};
use super::shop::{fields, items, same};

pub(super) const CASES: &[Case] = cases!["users":
    a_user_has_a_name_an_address_and_a_date,
    a_user_is_a_miss_and_then_a_hit,
    a_list_is_a_miss_and_then_a_hit,
    a_list_is_in_the_order_of_ids,
    answers_are_not_to_be_kept_on_their_way,
    a_head_has_no_body,
    a_stampede_on_a_cold_user_is_one_load [Need::OneProcess],
    an_update_is_seen_at_once_by_the_user_and_every_list,
    an_update_of_one_field_leaves_the_other,
    a_deleted_user_is_gone_from_everywhere,
    that_there_is_no_such_user_is_remembered [Need::OneProcess],
    a_write_to_an_unknown_user_is_a_problem,
    an_address_belongs_to_one_user,
    a_bad_id_is_named,
    bad_pages_and_limits_are_named,
    bad_fields_are_named,
    a_body_that_is_no_json_object_is_a_problem,
    a_refused_update_changes_nothing,
];

pub(super) const BAD_IDS: [&str; 8] =
    ["0", "-1", "+1", "01", "1.5", "one", "99999999999999999999", "%00"];

fn path(id: u32) -> String {
    format!("/api/v1/users/{id}")
}

async fn a_user_has_a_name_an_address_and_a_date(shop: Shop) -> Result<()> {
    let user = shop.get(&path(1)).await?.json()?;
    same("fields", fields(&user)?, ["createdAt", "email", "id", "name"].into())?;
    same("id", &user["id"], &json!(1))?;
    let email = user["email"].as_str().unwrap_or_default();
    ensure!(email.ends_with(".1@example.com"), "the address is {email:?}");
    let created = user["createdAt"].as_str().unwrap_or_default();
    let shape: String = created.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    same("the form of createdAt", shape.as_str(), "0000-00-00T00:00:00.000Z")
}

async fn a_user_is_a_miss_and_then_a_hit(shop: Shop) -> Result<()> {
    miss_then_hit(&shop, &path(101)).await
}

async fn a_list_is_a_miss_and_then_a_hit(shop: Shop) -> Result<()> {
    miss_then_hit(&shop, "/api/v1/users?page=3&limit=11").await
}

async fn miss_then_hit(shop: &Shop, path: &str) -> Result<()> {
    let miss = shop.get(path).await?;
    miss.expect_cache("MISS")?;
    for _ in 0..3 {
        let hit = shop.get(path).await?;
        hit.expect_cache("HIT")?.expect_header("content-type", "application/json")?;
        same("body", &hit.body, &miss.body)?;
    }
    Ok(())
}

async fn a_list_is_in_the_order_of_ids(shop: Shop) -> Result<()> {
    let page = shop.get("/api/v1/users?page=2&limit=7").await?.json()?;
    let ids: Vec<_> = items(&page)?.iter().filter_map(|user| user["id"].as_u64()).collect();
    same("ids", ids, (8..=14).collect())?;
    same("page", &page["page"], &json!(2))?;
    same("limit", &page["limit"], &json!(7))?;
    let first = shop.get("/api/v1/users").await?.json()?;
    same("items by default", items(&first)?.len(), 20)
}

async fn answers_are_not_to_be_kept_on_their_way(shop: Shop) -> Result<()> {
    for path in ["/api/v1/users/102", "/api/v1/users?page=4&limit=11"] {
        for _ in 0..2 {
            shop.get(path).await?.expect_header("cache-control", "no-store")?;
        }
    }
    Ok(())
}

async fn a_head_has_no_body(shop: Shop) -> Result<()> {
    let head = shop.head(&path(103)).await?;
    head.expect_status(StatusCode::OK)?.expect_header("content-type", "application/json")?;
    same("body", head.body.len(), 0)
}

async fn a_stampede_on_a_cold_user_is_one_load(shop: Shop) -> Result<()> {
    let path = path(104);
    // So that every request has a connection, and they arrive at once.
    try_join_all((0..200).map(|_| shop.get("/healthz"))).await?;
    let before = shop.stats().await?;
    let answers = try_join_all((0..200).map(|_| shop.get(&path))).await?;
    let after = shop.stats().await?;
    let misses = answers.iter().filter(|answer| answer.header("x-cache") == Some("MISS")).count();
    same("misses", misses, 1)?;
    for answer in &answers {
        answer.expect_status(StatusCode::OK)?;
        ensure!(answer.body == answers[0].body, "they got different answers");
    }
    let loads = after.of_cache("users", "loads")? - before.of_cache("users", "loads")?;
    same("loads", loads, 1)?;
    let calls = after.database_calls()? - before.database_calls()?;
    same("calls of the database", calls, 1)
}

async fn an_update_is_seen_at_once_by_the_user_and_every_list(shop: Shop) -> Result<()> {
    // On the third page of ten, and on the second of fifteen.
    let user = path(24);
    let lists = ["/api/v1/users?page=3&limit=10", "/api/v1/users?page=2&limit=15"];
    let unconcerned = "/api/v1/users/25";
    for path in [user.as_str(), unconcerned].into_iter().chain(lists) {
        miss_then_hit(&shop, path).await?;
    }
    for name in ["Åsa Öberg", "Åsa Öberg-Nguyễn"] {
        let updated = shop.put(&user, &json!({ "name": name })).await?;
        updated.expect_header("x-invalidation", "done")?;
        same("the answer's name", &updated.json()?["name"], &json!(name))?;

        let read = shop.get(&user).await?;
        read.expect_cache("MISS")?;
        same("the user", read.json()?, updated.json()?)?;
        for list in lists {
            let page = shop.get(list).await?;
            page.expect_cache("MISS")?;
            let listed = items(&page.json()?)?.iter().any(|user| user["name"] == name);
            ensure!(listed, "{list} does not show the new name");
        }
    }
    shop.get(unconcerned).await?.expect_cache("HIT")?;
    Ok(())
}

async fn an_update_of_one_field_leaves_the_other(shop: Shop) -> Result<()> {
    let path = path(26);
    let before = shop.get(&path).await?.json()?;
    let name = json!({ "name": " Ada Lovelace " });
    let renamed = shop.put(&path, &name).await?.json()?;
    same("name", &renamed["name"], &json!("Ada Lovelace"))?;
    same("address", &renamed["email"], &before["email"])?;
    let email = json!({ "email": "ada@example.org" });
    let moved = shop.put(&path, &email).await?.json()?;
    same("name", &moved["name"], &json!("Ada Lovelace"))?;
    same("address", &moved["email"], &json!("ada@example.org"))?;
    same("createdAt", &moved["createdAt"], &before["createdAt"])?;
    same("the user", shop.get(&path).await?.json()?, moved)
}

async fn a_deleted_user_is_gone_from_everywhere(shop: Shop) -> Result<()> {
    let user = path(37);
    let list = "/api/v1/users?page=4&limit=10";
    let before = shop.get(list).await?.json()?;
    miss_then_hit(&shop, &user).await?;

    let deleted = shop.delete(&user).await?;
    deleted.expect_status(StatusCode::NO_CONTENT)?.expect_header("x-invalidation", "done")?;
    same("body", deleted.body.len(), 0)?;

    shop.get(&user).await?.problem(StatusCode::NOT_FOUND, &[])?;
    let after = shop.get(list).await?.json()?;
    let listed = items(&after)?.iter().any(|user| user["id"] == 37);
    ensure!(!listed, "it is still listed");
    let total = |page: &Value| page["total"].as_u64();
    same("total", total(&after), total(&before).map(|total| total - 1))?;
    shop.delete(&user).await?.problem(StatusCode::NOT_FOUND, &[])?;
    shop.put(&user, &json!({ "name": "Nobody" })).await?.problem(StatusCode::NOT_FOUND, &[])?;
    Ok(())
}

async fn that_there_is_no_such_user_is_remembered(shop: Shop) -> Result<()> {
    let path = path(10_017);
    let before = shop.stats().await?.database_calls()?;
    for _ in 0..5 {
        shop.get(&path).await?.problem(StatusCode::NOT_FOUND, &[])?;
    }
    let after = shop.stats().await?.database_calls()?;
    same("calls of the database", after - before, 1)
}

async fn a_write_to_an_unknown_user_is_a_problem(shop: Shop) -> Result<()> {
    let path = path(10_018);
    shop.put(&path, &json!({ "name": "Nobody" })).await?.problem(StatusCode::NOT_FOUND, &[])?;
    shop.delete(&path).await?.problem(StatusCode::NOT_FOUND, &[])?;
    Ok(())
}

async fn an_address_belongs_to_one_user(shop: Shop) -> Result<()> {
    let taken = shop.get(&path(41)).await?.json()?;
    let taken = taken["email"].as_str().context("an address")?.to_uppercase();
    let answer = shop.put(&path(42), &json!({ "email": taken })).await?;
    answer.problem(StatusCode::CONFLICT, &["email"])?;
    Ok(())
}

async fn a_bad_id_is_named(shop: Shop) -> Result<()> {
    for id in BAD_IDS {
        let path = format!("/api/v1/users/{id}");
        shop.get(&path).await?.problem(StatusCode::BAD_REQUEST, &["id"])?;
        shop.delete(&path).await?.problem(StatusCode::BAD_REQUEST, &["id"])?;
        let change = json!({ "name": "Nobody" });
        shop.put(&path, &change).await?.problem(StatusCode::BAD_REQUEST, &["id"])?;
    }
    Ok(())
}

async fn bad_pages_and_limits_are_named(shop: Shop) -> Result<()> {
    for (query, fields) in [
        ("page=0", &["page"][..]),
        ("page=x&limit=101", &["page", "limit"]),
        ("limit=-5", &["limit"]),
        ("limit=5&limit=6", &["limit"]),
    ] {
        let answer = shop.get(&format!("/api/v1/users?{query}")).await?;
        answer.problem(StatusCode::BAD_REQUEST, fields)?;
    }
    Ok(())
}

async fn bad_fields_are_named(shop: Shop) -> Result<()> {
    let long = "x".repeat(101);
    let cases: [(Value, &[&str]); 9] = [
        (json!({}), &["body"]),
        (json!({ "name": "" }), &["name"]),
        (json!({ "name": "  " }), &["name"]),
        (json!({ "name": long }), &["name"]),
        (json!({ "name": "a\u{0}b" }), &["name"]),
        (json!({ "name": null, "email": 7 }), &["email", "name"]),
        (json!({ "email": "nobody" }), &["email"]),
        (json!({ "email": "a b@example.com" }), &["email"]),
        (json!({ "name": "Nobody", "id": 1, "admin": true }), &["admin", "id"]),
    ];
    for (body, fields) in cases {
        let answer = shop.put(&path(51), &body).await?;
        answer.problem(StatusCode::UNPROCESSABLE_ENTITY, fields)?;
    }
    Ok(())
}

async fn a_body_that_is_no_json_object_is_a_problem(shop: Shop) -> Result<()> {
    let json = [("content-type", "application/json")];
    let large = format!("{{\"name\":\"{}\"}}", "x".repeat(20_000));
    for (headers, body, status, fields) in [
        (&json[..], "{\"name\":", StatusCode::BAD_REQUEST, &["body"][..]),
        (&json, "", StatusCode::BAD_REQUEST, &["body"]),
        (&json, "[1]", StatusCode::UNPROCESSABLE_ENTITY, &["body"]),
        (&json, "\"Nobody\"", StatusCode::UNPROCESSABLE_ENTITY, &["body"]),
        (&[], "{\"name\":\"Nobody\"}", StatusCode::UNSUPPORTED_MEDIA_TYPE, &[]),
        (&json, &large, StatusCode::PAYLOAD_TOO_LARGE, &[]),
    ] {
        let body = Some(Bytes::copy_from_slice(body.as_bytes()));
        let answer = shop.send(Method::PUT, &path(52), headers, body).await?;
        answer.problem(status, fields)?;
    }
    Ok(())
}

async fn a_refused_update_changes_nothing(shop: Shop) -> Result<()> {
    let path = path(53);
    let before = shop.get(&path).await?.json()?;
    let half_bad = json!({ "name": "Nobody", "email": "nobody" });
    let answer = shop.put(&path, &half_bad).await?;
    answer.problem(StatusCode::UNPROCESSABLE_ENTITY, &["email"])?;
    let after = shop.get(&path).await?;
    // There was nothing to invalidate.
    after.expect_cache("HIT")?;
    same("the user", after.json()?, before)
}
