//! Accounts, and the sessions of who is signed in.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::Shop;
use super::case::{Case, Need, cases};
use super::shop::{fields, items, same};
use crate::http_client::Answer;

pub(super) const CASES: &[Case] = cases!["accounts":
    who_signs_up_is_signed_in_at_once,
    a_visitor_who_leaves_nothing_gets_no_cookie,
    the_cookie_is_hidden_from_scripts_and_other_sites,
    an_address_has_one_account,
    a_wrong_password_and_an_unknown_address_get_one_answer,
    bad_credentials_are_named,
    a_body_that_is_no_json_object_is_a_problem,
    signing_in_keeps_the_cart_and_changes_the_id,
    who_signs_in_after_another_does_not_get_their_cart,
    signing_out_ends_the_session_and_not_only_the_cookie,
    an_id_of_the_clients_own_is_worth_nothing,
    sessions_are_listed_and_ended_everywhere,
    when_somebody_was_seen_comes_to_the_database,
    a_cart_holds_products_that_there_are,
    two_changes_at_once_leave_one_of_the_carts,
    nothing_of_a_visitor_is_kept_by_a_cache,
    no_other_sites_page_changes_anything,
    who_fails_too_often_has_to_wait [Need::Limit],
];

const PASSWORD: &str = "correct horse battery";
/// How long a write may take that is made behind.
const PATIENCE: Duration = Duration::from_secs(30);
const ME: &str = "/api/v1/me";
const SEEN: &str = "/api/v1/me/seen";
const CART: &str = "/api/v1/me/cart";
const SESSIONS: &str = "/api/v1/me/sessions";
const SIGN_OUT: &str = "/api/v1/signout";

/// A browser, as far as cookies go.
#[derive(Clone)]
struct Browser<'a> {
    shop: &'a Shop,
    cookie: Option<String>,
    /// Of a limited server; of others it need not have one.
    address: Option<&'static str>,
}

impl<'a> Browser<'a> {
    fn new(shop: &'a Shop) -> Self {
        Self { shop, cookie: None, address: None }
    }

    async fn send(&mut self, method: Method, path: &str, body: Option<&Value>) -> Result<Answer> {
        let mut headers = vec![("user-agent", "A Browser/1.0")];
        headers.extend(self.cookie.as_deref().map(|cookie| ("cookie", cookie)));
        headers.extend(body.map(|_| ("content-type", "application/json")));
        if let (Some(limit), Some(address)) = (self.shop.target.limit, self.address) {
            headers.push((limit.client, address));
        }
        let body = body.map(|body| Bytes::from(body.to_string()));
        let answer = self.shop.send(method, path, &headers, body).await?;
        if let Some(cookie) = answer.header("set-cookie") {
            let (pair, attributes) = cookie.split_once(';').context("a cookie of a name alone")?;
            let is_gone = attributes.contains("Max-Age=0");
            self.cookie = (!is_gone).then(|| pair.to_owned());
        }
        Ok(answer)
    }

    async fn get(&mut self, path: &str) -> Result<Answer> {
        self.send(Method::GET, path, None).await
    }

    async fn sign_up(&mut self, email: &str) -> Result<Answer> {
        let body = json!({ "email": email, "password": PASSWORD });
        self.send(Method::POST, "/api/v1/signup", Some(&body)).await
    }

    async fn sign_in(&mut self, email: &str, password: &str) -> Result<Answer> {
        let body = json!({ "email": email, "password": password });
        self.send(Method::POST, "/api/v1/signin", Some(&body)).await
    }

    async fn put_cart(&mut self, items: Value) -> Result<Answer> {
        self.send(Method::PUT, CART, Some(&json!({ "items": items }))).await
    }

    async fn cart(&mut self) -> Result<Vec<Value>> {
        Ok(items(&self.get(CART).await?.json()?)?.clone())
    }

    /// When the database has it that they were last seen, as soon as that is after another time.
    async fn seen_after(&mut self, last: Option<String>) -> Result<Option<String>> {
        let started = Instant::now();
        loop {
            let answer = self.get(SEEN).await?;
            let answer = answer.expect_header("cache-control", "no-store")?.json()?;
            let seen = answer["lastSeenAt"].as_str().map(str::to_owned);
            if seen > last {
                return Ok(seen);
            }
            ensure!(started.elapsed() < PATIENCE, "after {last:?} it is still {seen:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn expect_stranger(&mut self) -> Result<()> {
        self.get(ME).await?.problem(StatusCode::UNAUTHORIZED, &[])?;
        self.get(SESSIONS).await?.problem(StatusCode::UNAUTHORIZED, &[])?;
        Ok(())
    }
}

async fn who_signs_up_is_signed_in_at_once(shop: Shop) -> Result<()> {
    let mut browser = Browser::new(&shop);
    browser.expect_stranger().await?;
    let answer = browser.sign_up(" Ada@Example.ORG ").await?;
    answer.expect_status(StatusCode::CREATED)?.expect_header("cache-control", "no-store")?;
    let account: Value = serde_json::from_slice(&answer.body)?;
    same("fields", fields(&account)?, ["createdAt", "email", "id"].into())?;
    same("address", &account["email"], &json!("ada@example.org"))?;
    same("me", &browser.get(ME).await?.json()?, &account)?;

    let mut second = Browser::new(&shop);
    let signed_in = second.sign_in("ADA@example.org", PASSWORD).await?.json()?;
    same("the account", &signed_in, &account)?;
    same("me", second.get(ME).await?.json()?, account)?;
    ensure!(second.cookie != browser.cookie, "both have one session");
    Ok(())
}

async fn a_visitor_who_leaves_nothing_gets_no_cookie(shop: Shop) -> Result<()> {
    let mut browser = Browser::new(&shop);
    for path in ["/", "/account", "/api/v1/products?limit=1", CART] {
        let answer = browser.get(path).await?;
        answer.expect_status(StatusCode::OK)?.expect_no_header("set-cookie")?;
    }
    browser.get(ME).await?.expect_no_header("set-cookie")?;
    let answer = browser.sign_in("nobody@example.org", PASSWORD).await?;
    answer.expect_no_header("set-cookie")?.problem(StatusCode::UNAUTHORIZED, &[])?;
    Ok(())
}

async fn the_cookie_is_hidden_from_scripts_and_other_sites(shop: Shop) -> Result<()> {
    let answer = Browser::new(&shop).put_cart(json!([{ "product": 1, "amount": 1 }])).await?;
    let cookie = answer.header("set-cookie").context("no cookie")?;
    let mut parts = cookie.split("; ");
    let name = parts.next().and_then(|pair| pair.split_once('=')).map(|(name, _)| name);
    let attributes: Vec<_> = parts.collect();
    for attribute in ["HttpOnly", "SameSite=Lax", "Path=/"] {
        ensure!(attributes.contains(&attribute), "no {attribute} in {cookie}");
    }
    let is_secure = attributes.contains(&"Secure");
    let named = if is_secure { "__Host-session" } else { "session" };
    same("the cookie's name", name, Some(named))
}

async fn when_somebody_was_seen_comes_to_the_database(shop: Shop) -> Result<()> {
    let mut browser = Browser::new(&shop);
    browser.get(SEEN).await?.problem(StatusCode::UNAUTHORIZED, &[])?;
    browser.sign_up("seen@example.org").await?.expect_status(StatusCode::CREATED)?;
    let first = browser.seen_after(None).await?;
    // Each of these requests is one more.
    browser.seen_after(first).await?;
    Ok(())
}

async fn an_address_has_one_account(shop: Shop) -> Result<()> {
    let mut browser = Browser::new(&shop);
    browser.sign_up("grace@example.org").await?.expect_status(StatusCode::CREATED)?;
    let mut other = Browser::new(&shop);
    let answer = other.sign_up("Grace@example.ORG").await?;
    answer.problem(StatusCode::CONFLICT, &["email"])?;
    other.expect_stranger().await
}

async fn a_wrong_password_and_an_unknown_address_get_one_answer(shop: Shop) -> Result<()> {
    Browser::new(&shop).sign_up("hana@example.org").await?.expect_status(StatusCode::CREATED)?;
    let mut browser = Browser::new(&shop);
    let wrong = browser.sign_in("hana@example.org", "correct horse batteri").await?;
    wrong.problem(StatusCode::UNAUTHORIZED, &[])?;
    let unknown = browser.sign_in("not.hana@example.org", PASSWORD).await?;
    same("the answer to an unknown address", unknown.body, wrong.body)?;
    browser.expect_stranger().await
}

async fn bad_credentials_are_named(shop: Shop) -> Result<()> {
    let mut browser = Browser::new(&shop);
    let long = "x".repeat(513);
    for path in ["/api/v1/signup", "/api/v1/signin"] {
        for (body, fields) in [
            (json!({}), &["email", "password"][..]),
            (json!({ "email": "ines", "password": PASSWORD }), &["email"]),
            (json!({ "email": "ines@example.org", "password": "" }), &["password"]),
            (json!({ "email": "ines@example.org", "password": long }), &["password"]),
            (json!({ "email": null, "password": 12_345_678 }), &["email", "password"]),
            (json!({ "email": "i@example.org", "password": PASSWORD, "admin": true }), &["admin"]),
        ] {
            let answer = browser.send(Method::POST, path, Some(&body)).await?;
            answer.problem(StatusCode::UNPROCESSABLE_ENTITY, fields)?;
        }
    }
    let short = json!({ "email": "ines@example.org", "password": "1234567" });
    let answer = browser.send(Method::POST, "/api/v1/signup", Some(&short)).await?;
    answer.problem(StatusCode::UNPROCESSABLE_ENTITY, &["password"])?;
    ensure!(browser.cookie.is_none(), "a refused sign-up left a cookie");
    Ok(())
}

async fn a_body_that_is_no_json_object_is_a_problem(shop: Shop) -> Result<()> {
    let json = [("content-type", "application/json")];
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let large = format!("{{\"email\":\"{}\"}}", "x".repeat(20_000));
    for (method, path) in
        [(Method::POST, "/api/v1/signup"), (Method::POST, "/api/v1/signin"), (Method::PUT, CART)]
    {
        for (headers, body, status, fields) in [
            (&json[..], "{\"email\":", StatusCode::BAD_REQUEST, &["body"][..]),
            (&json, "[1]", StatusCode::UNPROCESSABLE_ENTITY, &["body"]),
            (&[], "{}", StatusCode::UNSUPPORTED_MEDIA_TYPE, &[]),
            (&form, "email=a&password=b", StatusCode::UNSUPPORTED_MEDIA_TYPE, &[]),
            (&json, &large, StatusCode::PAYLOAD_TOO_LARGE, &[]),
        ] {
            let body = Some(Bytes::copy_from_slice(body.as_bytes()));
            let answer = shop.send(method.clone(), path, headers, body).await?;
            answer.problem(status, fields)?;
        }
    }
    Ok(())
}

async fn signing_in_keeps_the_cart_and_changes_the_id(shop: Shop) -> Result<()> {
    Browser::new(&shop).sign_up("jakub@example.org").await?.expect_status(StatusCode::CREATED)?;
    let mut browser = Browser::new(&shop);
    let cart = json!([{ "product": 2, "amount": 2 }]);
    browser.put_cart(cart.clone()).await?.json()?;
    let mut thief = browser.clone();

    browser.sign_in("jakub@example.org", PASSWORD).await?.json()?;
    same("the cart", json!(browser.cart().await?), cart)?;
    ensure!(browser.cookie != thief.cookie, "the id did not change");
    thief.expect_stranger().await?;
    same("the cart under the old id", thief.cart().await?.len(), 0)
}

async fn who_signs_in_after_another_does_not_get_their_cart(shop: Shop) -> Result<()> {
    let mut browser = Browser::new(&shop);
    browser.sign_up("kenji@example.org").await?.expect_status(StatusCode::CREATED)?;
    browser.put_cart(json!([{ "product": 3, "amount": 1 }])).await?.json()?;
    let mut left = browser.clone();
    browser.sign_up("leila@example.org").await?.expect_status(StatusCode::CREATED)?;
    let me = browser.get(ME).await?.json()?;
    same("who is signed in", &me["email"], &json!("leila@example.org"))?;
    same("the cart", browser.cart().await?.len(), 0)?;
    left.expect_stranger().await
}

async fn signing_out_ends_the_session_and_not_only_the_cookie(shop: Shop) -> Result<()> {
    let mut browser = Browser::new(&shop);
    browser.sign_up("lukas@example.org").await?.expect_status(StatusCode::CREATED)?;
    let mut kept = browser.clone();
    for _ in 0..2 {
        let answer = browser.send(Method::POST, SIGN_OUT, None).await?;
        answer.expect_status(StatusCode::NO_CONTENT)?;
        ensure!(browser.cookie.is_none(), "the cookie was not taken back");
    }
    kept.expect_stranger().await
}

async fn an_id_of_the_clients_own_is_worth_nothing(shop: Shop) -> Result<()> {
    let mut browser = Browser::new(&shop);
    browser.put_cart(json!([{ "product": 4, "amount": 1 }])).await?.json()?;
    let cookie = browser.cookie.clone().context("no cookie")?;
    let (name, value) = cookie.split_once('=').context("a cookie without a value")?;
    let other = |c: char| if c == 'A' { 'B' } else { 'A' };
    let tampered = |at: usize| -> String {
        value.chars().enumerate().map(|(n, c)| if n == at { other(c) } else { c }).collect()
    };
    let last = value.len() - 2;
    for forged in ["AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA".into(), tampered(6), tampered(last)] {
        let cookie = Some(format!("{name}={forged}"));
        let mut forger = Browser { cookie: cookie.clone(), ..Browser::new(&shop) };
        same("the cart", forger.cart().await?.len(), 0)?;
        forger.put_cart(json!([{ "product": 5, "amount": 1 }])).await?.json()?;
        ensure!(forger.cookie != cookie, "a session was begun under an id that the client chose");
    }
    Ok(())
}

async fn sessions_are_listed_and_ended_everywhere(shop: Shop) -> Result<()> {
    let [mut first, mut second, mut other] = [0; 3].map(|_| Browser::new(&shop));
    first.sign_up("malik@example.org").await?.expect_status(StatusCode::CREATED)?;
    second.sign_in("malik@example.org", PASSWORD).await?.json()?;
    other.sign_up("marta@example.org").await?.expect_status(StatusCode::CREATED)?;

    let list = second.get(SESSIONS).await?.json()?;
    same("sessions", items(&list)?.len(), 2)?;
    let current = items(&list)?.iter().filter(|session| session["current"] == true);
    same("sessions that ask", current.count(), 1)?;
    let named = ["createdAt", "current", "expiresAt", "seenAt", "seenFrom"];
    for session in items(&list)? {
        same("fields", fields(session)?, named.into())?;
        let from = session["seenFrom"].as_str().unwrap_or_default();
        ensure!(from.ends_with("A Browser/1.0"), "it was seen from {from:?}");
        for time in ["createdAt", "seenAt", "expiresAt"] {
            let time = session[time].as_str().unwrap_or_default();
            let shape = time.chars().map(|c| if c.is_ascii_digit() { '0' } else { c });
            same("a time", shape.collect::<String>().as_str(), "0000-00-00T00:00:00.000Z")?;
        }
    }
    let answer = first.send(Method::DELETE, SESSIONS, None).await?;
    answer.expect_status(StatusCode::NO_CONTENT)?;
    ensure!(first.cookie.is_none(), "the cookie was not taken back");
    first.expect_stranger().await?;
    second.expect_stranger().await?;
    let me = other.get(ME).await?.json()?;
    same("who is signed in", &me["email"], &json!("marta@example.org"))
}

async fn a_cart_holds_products_that_there_are(shop: Shop) -> Result<()> {
    let mut browser = Browser::new(&shop);
    let cart = json!([{ "product": 6, "amount": 2 }, { "product": 7, "amount": 99 }]);
    same("the answer", &browser.put_cart(cart.clone()).await?.json()?["items"], &cart)?;
    let many: Vec<_> = (1..=21).map(|id| json!({ "product": id, "amount": 1 })).collect();
    let one = |item: Value| json!([item]);
    for (items, fields) in [
        (json!(many), &["items"][..]),
        (json!("tea"), &["items"]),
        (one(json!(6)), &["items[0]"]),
        (one(json!({ "product": 6 })), &["items[0].amount"]),
        (one(json!({ "product": 6, "amount": 0 })), &["items[0].amount"]),
        (one(json!({ "product": 6, "amount": 100 })), &["items[0].amount"]),
        (one(json!({ "product": -6, "amount": 1 })), &["items[0].product"]),
        (one(json!({ "product": 6, "amount": 1, "price": 0 })), &["items[0].price"]),
        (one(json!({ "product": 20_000, "amount": 1 })), &["items[0].product"]),
        (
            json!([{ "product": 6, "amount": 1 }, { "product": 6, "amount": 1 }]),
            &["items[1].product"],
        ),
    ] {
        let answer = browser.put_cart(items).await?;
        answer.problem(StatusCode::UNPROCESSABLE_ENTITY, fields)?;
    }
    same("the cart", json!(browser.cart().await?), cart)?;
    browser.put_cart(json!([])).await?.json()?;
    same("the cart", browser.cart().await?.len(), 0)
}

async fn two_changes_at_once_leave_one_of_the_carts(shop: Shop) -> Result<()> {
    let mut browser = Browser::new(&shop);
    browser.put_cart(json!([{ "product": 8, "amount": 1 }])).await?.json()?;
    let carts = [2, 3].map(|amount| json!([{ "product": 8, "amount": amount }]));
    for _ in 0..10 {
        let [mut one, mut two] = [browser.clone(), browser.clone()];
        let answers = futures::future::try_join(
            one.put_cart(carts[0].clone()),
            two.put_cart(carts[1].clone()),
        );
        let (one, two) = answers.await?;
        one.json()?;
        two.json()?;
        let cart = json!(browser.cart().await?);
        ensure!(carts.contains(&cart), "the cart is {cart}");
    }
    Ok(())
}

async fn nothing_of_a_visitor_is_kept_by_a_cache(shop: Shop) -> Result<()> {
    let [mut nadia, mut oskar] = [0; 2].map(|_| Browser::new(&shop));
    nadia.sign_up("nadia@example.org").await?.expect_status(StatusCode::CREATED)?;
    oskar.sign_up("oskar@example.org").await?.expect_status(StatusCode::CREATED)?;
    nadia.put_cart(json!([{ "product": 9, "amount": 1 }])).await?.json()?;
    for path in [ME, CART, SESSIONS] {
        let first = nadia.get(path).await?;
        for answer in [&first, &nadia.get(path).await?, &oskar.get(path).await?] {
            answer.expect_header("cache-control", "no-store")?;
            answer.expect_no_header("x-cache")?.expect_no_header("age")?.json()?;
        }
        let other = oskar.get(path).await?;
        ensure!(other.body != first.body, "{path}: both got one answer");
    }
    // What is for everybody is kept as before, also for who has a cookie.
    nadia.get("/api/v1/products/11").await?.expect_cache("MISS")?;
    let hit = oskar.get("/api/v1/products/11").await?;
    hit.expect_cache("HIT")?.expect_no_header("set-cookie")?;
    Ok(())
}

async fn no_other_sites_page_changes_anything(shop: Shop) -> Result<()> {
    let mut browser = Browser::new(&shop);
    browser.sign_up("priya@example.org").await?.expect_status(StatusCode::CREATED)?;
    let cookie = browser.cookie.clone().context("no cookie")?;
    for (method, path) in [
        (Method::POST, SIGN_OUT),
        (Method::DELETE, SESSIONS),
        (Method::PUT, CART),
        (Method::POST, "/api/v1/signin"),
        (Method::POST, "/api/v1/signup"),
    ] {
        for foreign in [
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
            ("origin", "https://shop.example"),
            ("origin", "null"),
        ] {
            let headers =
                [foreign, ("cookie", cookie.as_str()), ("content-type", "application/json")];
            let body = Some(Bytes::from_static(b"{}"));
            let answer = shop.send(method.clone(), path, &headers, body).await?;
            answer.problem(StatusCode::FORBIDDEN, &[])?;
        }
    }
    browser.get(ME).await?.json()?;
    Ok(())
}

async fn who_fails_too_often_has_to_wait(shop: Shop) -> Result<()> {
    // What the server has unless it is told another.
    const ATTEMPTS: usize = 5;
    let email = "rosa@example.org";
    let client = |address| Browser { address: Some(address), ..Browser::new(&shop) };
    let mut browser = client("203.0.113.11");
    browser.sign_up(email).await?.expect_status(StatusCode::CREATED)?;
    for _ in 0..=ATTEMPTS {
        browser.sign_in(email, PASSWORD).await?.json()?;
    }
    for _ in 0..ATTEMPTS {
        let answer = browser.sign_in(email, "a wrong password").await?;
        answer.problem(StatusCode::UNAUTHORIZED, &[])?;
    }
    let refused = browser.sign_in(email, PASSWORD).await?;
    refused.problem(StatusCode::TOO_MANY_REQUESTS, &[])?;
    let wait = refused.header("retry-after").context("no Retry-After")?;
    ensure!((1..=60).contains(&wait.parse::<u64>()?), "Retry-After: {wait}");
    // Who is signed in stays so, and other accounts and addresses are not meant.
    browser.get(ME).await?.json()?;
    let other = browser.sign_in("not.rosa@example.org", PASSWORD).await?;
    other.problem(StatusCode::UNAUTHORIZED, &[])?;
    client("203.0.113.12").sign_in(email, PASSWORD).await?.json()?;
    Ok(())
}
