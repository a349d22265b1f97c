//! Signing up, in and out, and what belongs to who is signed in.
#![allow(clippy::unwrap_used)]

mod common;

use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{Method, Request};
use common::{Answer, Shop, accounts};
use larder_core::{MemoryRateLimits, MemorySessions, MemoryStore, RateLimiter};
use larder_demo::{PerMinute, SignInLimits};
use larder_http::rate_limit::{ClientIp, PeerAddr};
use larder_redis::RedisStore;
use larder_tests::redis_server::RedisServer;
use serde_json::{Value, json};

/// A browser, as far as cookies go.
struct Browser<'a> {
    shop: &'a Shop,
    address: [u8; 4],
    cookie: Option<String>,
}

impl<'a> Browser<'a> {
    fn new(shop: &'a Shop) -> Self {
        Self { shop, address: [203, 0, 113, 1], cookie: None }
    }

    async fn send(&mut self, method: Method, path: &str, body: Option<Value>) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(cookie) = &self.cookie {
            request = request.header("cookie", cookie);
        }
        let address = std::net::IpAddr::from(self.address);
        request = request.extension(PeerAddr::from(address)).header("user-agent", "a browser");
        let request = match body {
            Some(body) => request
                .header("content-type", "application/json")
                .body(Body::from(body.to_string())),
            None => request.body(Body::empty()),
        };
        let answer = self.shop.send(request.unwrap()).await;
        if let Some(cookie) = answer.header("set-cookie") {
            let (pair, attributes) = cookie.split_once(';').unwrap();
            let is_gone = attributes.contains("Max-Age=0");
            self.cookie = (!is_gone).then(|| pair.to_owned());
        }
        answer
    }

    async fn get(&mut self, path: &str) -> Answer {
        self.send(Method::GET, path, None).await
    }

    async fn post(&mut self, path: &str, body: Value) -> Answer {
        self.send(Method::POST, path, Some(body)).await
    }

    async fn sign_in(&mut self, email: &str, password: &str) -> Answer {
        self.post("/api/v1/signin", json!({ "email": email, "password": password })).await
    }

    async fn sign_up(&mut self, email: &str) -> Answer {
        self.post("/api/v1/signup", json!({ "email": email, "password": PASSWORD })).await
    }

    async fn put_cart(&mut self, items: Value) -> Answer {
        self.send(Method::PUT, "/api/v1/me/cart", Some(json!({ "items": items }))).await
    }

    async fn cart(&mut self) -> Value {
        self.get("/api/v1/me/cart").await.ok()["items"].clone()
    }
}

const PASSWORD: &str = "correct horse battery";

#[tokio::test]
async fn who_signs_up_is_signed_in_and_can_sign_in_elsewhere() {
    let shop = Shop::in_memory().await;
    let mut browser = Browser::new(&shop);
    browser.get("/api/v1/me").await.problem(401);
    assert_eq!(browser.cookie, None, "a visitor who leaves nothing gets no cookie");

    let account = browser.sign_up(" Zoe@Example.com ").await;
    assert_eq!(account.status, 201);
    let cookie = account.header("set-cookie").unwrap();
    assert!(cookie.starts_with("__Host-session="), "{cookie}");
    for attribute in ["Path=/", "Secure", "HttpOnly", "SameSite=Lax"] {
        assert!(cookie.contains(attribute), "{cookie}");
    }
    let account = account.json();
    assert_eq!(account["email"], "zoe@example.com");
    assert_eq!(account.as_object().unwrap().len(), 3, "{account}");
    let me = browser.get("/api/v1/me").await;
    assert_eq!(me.header("cache-control"), Some("no-store"));
    assert_eq!(me.ok(), account);

    let mut second = Browser::new(&shop);
    assert_eq!(second.sign_in("ZOE@example.com", PASSWORD).await.ok(), account);
    assert_eq!(second.get("/api/v1/me").await.ok(), account);
    assert_ne!(second.cookie, browser.cookie);
}

#[tokio::test]
async fn an_address_has_one_account() {
    let shop = Shop::in_memory().await;
    let mut browser = Browser::new(&shop);
    browser.sign_up("zoe@example.com").await;
    let mut other = Browser::new(&shop);
    assert_eq!(other.sign_up("ZOE@example.com").await.problem(409), ["email"]);
    assert_eq!(other.cookie, None);
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_address_get_one_answer_in_the_same_time() {
    let shop = Shop::in_memory().await;
    Browser::new(&shop).sign_up("zoe@example.com").await;
    let mut fastest = [Duration::MAX; 2];
    let mut bodies = Vec::new();
    for _ in 0..5 {
        for (at, email) in ["zoe@example.com", "nobody@example.com"].into_iter().enumerate() {
            let mut browser = Browser::new(&shop);
            let started = Instant::now();
            let answer = browser.sign_in(email, "correct horse batteri").await;
            fastest[at] = fastest[at].min(started.elapsed());
            assert!(answer.problem(401).is_empty());
            assert_eq!(browser.cookie, None);
            bodies.push(answer.body);
        }
    }
    assert!(bodies.iter().all(|body| *body == bodies[0]));
    // Without the hash an answer takes a hundredth.
    let [known, unknown] = fastest;
    assert!(known < unknown * 3 && unknown < known * 3, "{fastest:?}");
}

#[tokio::test]
async fn what_is_wrong_with_credentials_is_named() {
    let shop = Shop::in_memory().await;
    for path in ["/api/v1/signup", "/api/v1/signin"] {
        for (body, status, fields) in [
            ("{}", 422, &["email", "password"][..]),
            (r#"{"email": "zoe", "password": "a password"}"#, 422, &["email"]),
            (r#"{"email": "zoe@example.com", "password": ""}"#, 422, &["password"]),
            (r#"{"email": "zoe@example.com", "password": 12345678}"#, 422, &["password"]),
            (
                r#"{"email": "zoe@example.com", "password": "a password", "admin": true}"#,
                422,
                &["admin"],
            ),
            ("[]", 422, &["body"]),
            ("{", 400, &["body"]),
        ] {
            assert_eq!(shop.post(path, body).await.problem(status), fields, "{path}: {body}");
        }
        let long = json!({ "email": "zoe@example.com", "password": "x".repeat(513) });
        assert_eq!(shop.post(path, &long.to_string()).await.problem(422), ["password"]);
        shop.get(path).await.problem(405);
    }
    let short = r#"{"email": "zoe@example.com", "password": "1234567"}"#;
    assert_eq!(shop.post("/api/v1/signup", short).await.problem(422), ["password"]);
    shop.post("/api/v1/signin", short).await.problem(401);
}

#[tokio::test]
async fn signing_in_keeps_the_cart_and_changes_the_id() {
    let shop = Shop::in_memory().await;
    Browser::new(&shop).sign_up("zoe@example.com").await;
    let mut browser = Browser::new(&shop);
    browser.put_cart(json!([{ "product": 42, "amount": 2 }])).await.ok();
    let before = browser.cookie.clone().unwrap();

    browser.sign_in("zoe@example.com", PASSWORD).await.ok();
    assert_eq!(browser.cart().await, json!([{ "product": 42, "amount": 2 }]));
    assert_ne!(browser.cookie.as_ref(), Some(&before));
    // Whoever knew the id before is a stranger with it.
    let mut thief = Browser { cookie: Some(before), ..Browser::new(&shop) };
    thief.get("/api/v1/me").await.problem(401);
    assert_eq!(thief.cart().await, json!([]));
}

#[tokio::test]
async fn who_signs_in_after_another_does_not_get_their_cart() {
    let shop = Shop::in_memory().await;
    let mut browser = Browser::new(&shop);
    browser.sign_up("zoe@example.com").await;
    browser.put_cart(json!([{ "product": 42, "amount": 2 }])).await.ok();
    let of_zoe = browser.cookie.clone();

    browser.sign_up("adam@example.com").await;
    assert_eq!(browser.get("/api/v1/me").await.ok()["email"], "adam@example.com");
    assert_eq!(browser.cart().await, json!([]));
    let mut left = Browser { cookie: of_zoe, ..Browser::new(&shop) };
    left.get("/api/v1/me").await.problem(401);
}

#[tokio::test]
async fn signing_out_ends_the_session_and_not_only_the_cookie() {
    let shop = Shop::in_memory().await;
    let mut browser = Browser::new(&shop);
    browser.sign_up("zoe@example.com").await;
    let cookie = browser.cookie.clone();
    let answer = browser.send(Method::POST, "/api/v1/signout", None).await;
    assert_eq!((answer.status.as_u16(), answer.body.len()), (204, 0));
    assert_eq!(browser.cookie, None);
    Browser { cookie, ..Browser::new(&shop) }.get("/api/v1/me").await.problem(401);
    // Twice is as good as once.
    assert_eq!(browser.send(Method::POST, "/api/v1/signout", None).await.status, 204);
}

#[tokio::test]
async fn signing_out_everywhere_ends_all_of_somebodys_sessions_and_nobody_elses() {
    let shop = Shop::in_memory().await;
    let [mut first, mut second, mut other] = [1, 2, 3].map(|_| Browser::new(&shop));
    second.address = [203, 0, 113, 2];
    first.sign_up("zoe@example.com").await;
    second.sign_in("zoe@example.com", PASSWORD).await.ok();
    other.sign_up("adam@example.com").await;

    let list = first.get("/api/v1/me/sessions").await.ok();
    let items = list["items"].as_array().unwrap();
    let of = |address: &str| {
        let from = format!("{address} a browser");
        items.iter().find(|it| it["seenFrom"] == from).unwrap_or_else(|| panic!("{list}"))
    };
    assert_eq!(items.len(), 2);
    assert_eq!(of("203.0.113.1")["current"], true);
    assert_eq!(of("203.0.113.2")["current"], false);
    for item in items {
        for time in ["createdAt", "seenAt", "expiresAt"] {
            let time = item[time].as_str().unwrap();
            assert!(time.starts_with("20") && time.ends_with('Z') && time.len() == 24, "{time}");
        }
        assert_eq!(item.as_object().unwrap().len(), 5, "no id of a session is shown: {item}");
    }

    let answer = first.send(Method::DELETE, "/api/v1/me/sessions", None).await;
    assert_eq!(answer.status, 204);
    assert_eq!(first.cookie, None);
    for browser in [&mut first, &mut second] {
        browser.get("/api/v1/me").await.problem(401);
        browser.get("/api/v1/me/sessions").await.problem(401);
        browser.send(Method::DELETE, "/api/v1/me/sessions", None).await.problem(401);
    }
    assert_eq!(other.get("/api/v1/me").await.ok()["email"], "adam@example.com");
}

#[tokio::test]
async fn a_cart_holds_products_that_there_are() {
    let shop = Shop::in_memory().await;
    let mut browser = Browser::new(&shop);
    assert_eq!(browser.cart().await, json!([]));
    assert_eq!(browser.cookie, None, "who only looks gets no cookie");
    let cart = json!([{ "product": 42, "amount": 2 }, { "product": 10_000, "amount": 99 }]);
    assert_eq!(browser.put_cart(cart.clone()).await.ok()["items"], cart);
    assert_eq!(browser.cart().await, cart);

    // What is in it already is not looked for again.
    let calls = shop.calls().await;
    browser.put_cart(json!([{ "product": 42, "amount": 3 }])).await.ok();
    assert_eq!(shop.calls().await, calls);

    for (items, fields) in [
        (
            json!([{ "product": 42, "amount": 1 }, { "product": 10_001, "amount": 1 }]),
            &["items[1].product"][..],
        ),
        (json!([{ "product": 42, "amount": 0 }]), &["items[0].amount"]),
        (
            json!([{ "product": 42, "amount": 1 }, { "product": 42, "amount": 1 }]),
            &["items[1].product"],
        ),
        (json!("nothing"), &["items"]),
    ] {
        assert_eq!(browser.put_cart(items).await.problem(422), fields);
    }
    assert_eq!(browser.cart().await, json!([{ "product": 42, "amount": 3 }]));
    browser.put_cart(json!([])).await.ok();
    assert_eq!(browser.cart().await, json!([]));
}

#[tokio::test]
async fn no_other_sites_page_changes_anything() {
    let shop = Shop::in_memory().await;
    let mut browser = Browser::new(&shop);
    browser.sign_up("zoe@example.com").await;
    let cookie = browser.cookie.clone().unwrap();
    for (method, path) in [
        (Method::POST, "/api/v1/signout"),
        (Method::DELETE, "/api/v1/me/sessions"),
        (Method::PUT, "/api/v1/me/cart"),
        (Method::POST, "/api/v1/signin"),
    ] {
        for (name, value) in
            [("sec-fetch-site", "cross-site"), ("sec-fetch-site", "same-site"), ("origin", "null")]
        {
            let request = Request::builder().method(method.clone()).uri(path);
            let request = request.header("cookie", &cookie).header("host", "shop.example");
            let request = request.header(name, value).header("content-type", "application/json");
            let answer = shop.send(request.body(Body::from("{}")).unwrap()).await;
            assert!(answer.problem(403).is_empty(), "{method} {path} with {name}: {value}");
        }
    }
    browser.get("/api/v1/me").await.ok();
}

#[tokio::test]
async fn who_fails_too_often_waits_and_who_signs_in_has_not_failed() {
    let limiter = RateLimiter::builder(MemoryRateLimits::new());
    let limits = SignInLimits::new(limiter, PerMinute(2), ClientIp::peer()).unwrap();
    let accounts = accounts(MemorySessions::new()).limits(limits);
    let shop = Shop::with(MemoryStore::new(), accounts).await;
    let mut browser = Browser::new(&shop);
    browser.sign_up("zoe@example.com").await;
    for _ in 0..6 {
        browser.sign_in("zoe@example.com", PASSWORD).await.ok();
    }
    for _ in 0..2 {
        browser.sign_in("zoe@example.com", "a wrong password").await.problem(401);
    }
    let refused = browser.sign_in("zoe@example.com", PASSWORD).await;
    assert!(refused.problem(429).is_empty());
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");

    // Another account from there, and this one from elsewhere.
    browser.sign_in("adam@example.com", PASSWORD).await.problem(401);
    let mut elsewhere = Browser { address: [203, 0, 113, 9], ..Browser::new(&shop) };
    elsewhere.sign_in("zoe@example.com", PASSWORD).await.ok();

    // Of the eight of the address a sign-up and three failures are gone.
    for n in 0..4 {
        assert_eq!(browser.sign_up(&format!("{n}@example.com")).await.status, 201);
    }
    browser.sign_up("5@example.com").await.problem(429);
    browser.sign_in("eve@example.com", PASSWORD).await.problem(429);
}

/// No answer about a visitor comes from a cache, whoever asks.
#[tokio::test]
async fn nothing_of_a_visitor_is_kept_anywhere() {
    let shop = Shop::in_memory().await;
    let [mut zoe, mut adam] = [1, 2].map(|_| Browser::new(&shop));
    zoe.sign_up("zoe@example.com").await;
    adam.sign_up("adam@example.com").await;
    zoe.put_cart(json!([{ "product": 42, "amount": 2 }])).await.ok();
    for path in ["/api/v1/me", "/api/v1/me/sessions", "/api/v1/me/cart"] {
        let of_zoe = zoe.get(path).await;
        for answer in [&of_zoe, &zoe.get(path).await, &adam.get(path).await] {
            assert_eq!(answer.header("cache-control"), Some("no-store"), "{path}");
            assert_eq!((answer.header("x-cache"), answer.header("age")), (None, None), "{path}");
        }
        assert_ne!(adam.get(path).await.body, of_zoe.body, "{path}");
    }
    // What is for everybody is kept as before, also for who has a cookie.
    assert_eq!(zoe.get("/api/v1/products/42").await.header("x-cache"), Some("MISS"));
    let of_adam = adam.get("/api/v1/products/42").await;
    assert_eq!(of_adam.header("x-cache"), Some("HIT"));
    assert_eq!(of_adam.header("set-cookie"), None);
}

#[tokio::test]
async fn while_the_store_is_away_nobody_is_signed_out_or_taken_for_a_stranger() {
    let mut redis = RedisServer::start();
    let store = RedisStore::connect(&redis.url()).await.unwrap();
    let sessions = store.sessions();
    let shop = Shop::with(store, accounts(sessions)).await;
    let mut browser = Browser::new(&shop);
    browser.sign_up("zoe@example.com").await;
    redis.kill();
    for (method, path) in [
        (Method::GET, "/api/v1/me"),
        (Method::GET, "/api/v1/me/cart"),
        (Method::GET, "/api/v1/me/sessions"),
        (Method::DELETE, "/api/v1/me/sessions"),
        (Method::POST, "/api/v1/signout"),
    ] {
        let answer = browser.send(method, path, None).await;
        assert!(answer.problem(503).is_empty(), "{path}");
        assert!(answer.header("retry-after").is_some(), "{path}");
        assert!(browser.cookie.is_some(), "{path}: the client was told that it is signed out");
    }
    browser.get("/api/v1/products/1").await.ok();
    let ready = browser.get("/readyz").await.ok();
    assert_eq!(ready["degraded"][1]["part"], "sessions", "{ready}");
}
