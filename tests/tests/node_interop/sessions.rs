//! Sessions: Larder beside express-session with connect-redis.

use anyhow::{Context, Result, ensure};
use axum::extract::Path;
use axum::routing::{get, post, put};
use axum::{Json, Router};
use http::header::SET_COOKIE;
use http::{Method, StatusCode};
use larder_core::{Sessions, hours, minutes};
use larder_http::session::{Secret, Secrets, SessionError};
use larder_http::{Session, SessionLayer};
use larder_redis::{ExpressCookie, RedisStore};
use larder_tests::eventually;
use larder_tests::http_client::{Answer, HttpClient};
use larder_tests::node_service::NodeService;
use larder_tests::redis_server::RedisServer;
use serde_json::{Value, json};

/// As the service has it.
const SECRET: &str = "keyboard cat";
const NEWER: &str = "a newer cat";

/// Both services on one Redis.
struct Services {
    redis: RedisServer,
    node: HttpClient,
    larder: HttpClient,
    /// What they share, as a handler would use it beside requests.
    sessions: Sessions,
    _running: NodeService,
}

/// Somebody's browser, as far as it keeps the one cookie.
#[derive(Clone, Default)]
struct Browser {
    cookie: Option<String>,
}

/// What an answer says in JSON; Express adds a charset to its type.
fn told(answer: &Answer) -> Result<Value> {
    serde_json::from_slice(&answer.body).with_context(|| answer.text())
}

impl Browser {
    /// A request, and what its answer does to the cookie.
    async fn send(
        &mut self,
        service: &HttpClient,
        (method, path): (Method, &str),
        body: Option<Value>,
    ) -> Result<Answer> {
        let mut headers = vec![("content-type", "application/json")];
        if let Some(cookie) = &self.cookie {
            headers.push(("cookie", cookie));
        }
        let body = body.map(|body| body.to_string().into());
        let answer = service.send(method, path, &headers, body).await?;
        if let Some(set) = answer.header(SET_COOKIE.as_str()) {
            let (pair, attributes) = set.split_once("; ").context("no attributes")?;
            ensure!(pair.starts_with("connect.sid="), "it sets {set:?}");
            let goes = attributes.contains("Max-Age=0");
            self.cookie = (!goes).then(|| pair.to_owned());
        }
        Ok(answer)
    }

    async fn get(&mut self, service: &HttpClient, path: &str) -> Result<Value> {
        let answer = self.send(service, (Method::GET, path), None).await?;
        told(answer.expect_status(StatusCode::OK)?)
    }

    async fn put(&mut self, service: &HttpClient, path: &str, value: Value) -> Result<Answer> {
        let body = json!({ "value": value });
        let answer = self.send(service, (Method::PUT, path), Some(body)).await?;
        answer.expect_status(StatusCode::OK)?;
        Ok(answer)
    }

    async fn sign_in(&mut self, service: &HttpClient, path: &str, user: &str) -> Result<Answer> {
        let body = json!({ "user": user });
        let answer = self.send(service, (Method::POST, path), Some(body)).await?;
        answer.expect_status(StatusCode::OK)?;
        Ok(answer)
    }

    async fn post(&mut self, service: &HttpClient, path: &str) -> Result<()> {
        let answer = self.send(service, (Method::POST, path), None).await?;
        answer.expect_status(StatusCode::OK)?;
        Ok(())
    }

    /// The id in the cookie, and the key of its session.
    fn key(&self) -> Result<String> {
        let cookie = self.cookie.as_deref().context("there is no cookie")?;
        let id = cookie.strip_prefix("connect.sid=s%3A").context("it is not signed")?;
        let (id, _) = id.split_once('.').context("it has no signature")?;
        Ok(format!("sess:{id}"))
    }
}

async fn me(session: Session) -> Result<Json<Value>, SessionError> {
    let views: Option<u32> = session.get("views").await?;
    let theme: Option<String> = session.get("theme").await?;
    let note: Option<String> = session.flashed("note").await?;
    Ok(Json(json!({
        "user": session.user().await?, "views": views, "theme": theme, "note": note,
    })))
}

async fn set(
    Path(name): Path<String>,
    session: Session,
    Json(body): Json<Value>,
) -> Result<(), SessionError> {
    Ok(session.insert(name, &body["value"]).await?)
}

async fn sign_in(session: Session, Json(body): Json<Value>) -> Result<(), SessionError> {
    session.flash("note", "Schön, dass du da bist!").await?;
    Ok(session.sign_in(body["user"].as_str().unwrap_or_default()).await?)
}

async fn sign_out(session: Session) -> Result<(), SessionError> {
    session.end().await?;
    Ok(())
}

async fn sign_out_everywhere(session: Session) -> Result<Json<u64>, SessionError> {
    Ok(Json(session.end_all().await?))
}

async fn larder(sessions: &Sessions, secrets: Secrets) -> Result<HttpClient> {
    let app = Router::new()
        .route("/me", get(me))
        .route("/values/{name}", put(set))
        .route("/sign-in", post(sign_in))
        .route("/sign-out", post(sign_out))
        .route("/sign-out-everywhere", post(sign_out_everywhere))
        .layer(SessionLayer::express(sessions.clone(), secrets).insecure().build()?);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let base = format!("http://{}", listener.local_addr()?);
    tokio::spawn(axum::serve(listener, app).into_future());
    Ok(HttpClient::new(&base))
}

impl Services {
    async fn start() -> Result<Self> {
        let redis = RedisServer::start();
        let running = NodeService::start(&redis.url())?;
        let store = RedisStore::connect(redis.url()).await?.express_sessions();
        let store = store.cookie(ExpressCookie::new().same_site("lax"));
        let sessions = Sessions::builder(store).idle(hours(1)).touch_every(minutes(10)).build()?;
        let larder = larder(&sessions, Secret::short(SECRET).into()).await?;
        let node = HttpClient::new(running.base());
        Ok(Self { redis, node, larder, sessions, _running: running })
    }

    fn stored(&self, browser: &Browser) -> Result<Value> {
        Ok(serde_json::from_str(&self.redis.command(&["GET", &browser.key()?]))?)
    }

    /// The seconds that the session has left.
    fn left(&self, browser: &Browser) -> Result<i64> {
        let ttl = self.redis.command(&["TTL", &browser.key()?]);
        ttl.strip_prefix(':').context("no number")?.parse().context(ttl.clone())
    }

    /// Starts a change of the service, which has loaded the session, and does not go on.
    async fn hold(
        &self,
        browser: &Browser,
        name: &str,
        value: Value,
    ) -> tokio::task::JoinHandle<Result<Answer>> {
        let (node, mut browser) = (self.node.clone(), browser.clone());
        let path = format!("/sessions/aged/values/{name}?hold={name}");
        let slow = tokio::spawn(async move { browser.put(&node, &path, value).await });
        let held = format!("/held/{name}");
        eventually("the service holds the request", async || {
            let answer = self.node.get(&held).await.and_then(|answer| told(&answer));
            answer.is_ok_and(|answer| answer["held"] == true)
        })
        .await;
        slow
    }

    async fn let_go(
        &self,
        name: &str,
        slow: tokio::task::JoinHandle<Result<Answer>>,
    ) -> Result<Answer> {
        self.node.delete(&format!("/held/{name}")).await?;
        slow.await?
    }
}

#[tokio::test]
async fn who_signed_in_at_node_is_known_to_larder() -> Result<()> {
    let it = Services::start().await?;
    for options in ["plain", "aged", "rolling"] {
        let mut zoe = Browser::default();
        let at = |path: &str| format!("/sessions/{options}/{path}");
        zoe.sign_in(&it.node, &at("sign-in"), "Zoë 🦀").await?;
        zoe.put(&it.node, &at("values/theme"), json!("dünkel “\u{2028}\"")).await?;
        let before = it.stored(&zoe)?;
        let told = zoe.get(&it.larder, "/me").await?;
        ensure!(told["user"] == "Zoë 🦀" && told["theme"] == "dünkel “\u{2028}\"", "{told}");

        zoe.put(&it.larder, "/values/views", json!(7)).await?;
        let after = it.stored(&zoe)?;
        let settings = |session: &Value| {
            let mut cookie = session["cookie"].clone();
            cookie["expires"] = cookie["expires"].is_string().into();
            cookie
        };
        ensure!(settings(&before) == settings(&after), "{options}: {after} for {before}");
        let told = zoe.get(&it.node, &at("me")).await?;
        let expected = json!({ "user": "Zoë 🦀", "theme": "dünkel “\u{2028}\"", "views": 7 });
        ensure!(told["session"] == expected, "{options}: {told}");
        let left = it.left(&zoe)?;
        let life = if options == "plain" { 86_400 } else { 3_600 };
        ensure!((life - 5..=life).contains(&left), "{options}: it lives for {left} s");
    }
    Ok(())
}

#[tokio::test]
async fn who_signed_in_at_larder_is_known_to_node() -> Result<()> {
    let it = Services::start().await?;
    let mut zoe = Browser::default();
    zoe.put(&it.larder, "/values/theme", json!("dünkel")).await?;
    let before = zoe.key()?;
    zoe.sign_in(&it.larder, "/sign-in", "Zoë").await?;
    ensure!(zoe.key()? != before, "the id did not change");
    ensure!(it.redis.command(&["EXISTS", &before]) == ":0", "the old id is not dead");

    // Two of the three that the service's own sessions have, and in its order.
    let stored = it.redis.command(&["GET", &zoe.key()?]);
    let expires = it.stored(&zoe)?["cookie"]["expires"].to_string();
    let expected = format!(
        "{{\"cookie\":{{\"originalMaxAge\":3600000,\"expires\":{expires},\"httpOnly\":true,\
         \"path\":\"/\",\"sameSite\":\"lax\"}},\"theme\":\"dünkel\",\"user\":\"Zoë\",\
         \"~note\":\"Schön, dass du da bist!\"}}"
    );
    ensure!(stored == expected, "it wrote {stored}");

    let told = zoe.get(&it.node, "/sessions/aged/me").await?;
    ensure!(told["session"]["user"] == "Zoë" && told["session"]["theme"] == "dünkel", "{told}");
    // The service would not write it otherwise.
    zoe.put(&it.node, "/sessions/aged/values/theme", json!("hell")).await?;
    let theirs = it.redis.command(&["GET", &zoe.key()?]);
    let expires = it.stored(&zoe)?["cookie"]["expires"].to_string();
    let ours = expected.replace("dünkel", "hell");
    let (begin, end) = (ours.split("\"expires\":").next(), ours.split(",\"httpOnly\"").nth(1));
    let same = format!(
        "{}\"expires\":{expires},\"httpOnly\"{}",
        begin.context("no beginning")?,
        end.context("no end")?
    );
    ensure!(theirs == same, "the service wrote {theirs}, not {same}");

    // What is left for the next request is there for one.
    let told = zoe.get(&it.larder, "/me").await?;
    let expected =
        json!({ "user": "Zoë", "views": null, "theme": "hell", "note": "Schön, dass du da bist!" });
    ensure!(told == expected, "{told}");
    ensure!(zoe.get(&it.larder, "/me").await?["note"].is_null(), "the note stayed");
    Ok(())
}

#[tokio::test]
async fn a_session_lives_as_long_as_either_uses_it() -> Result<()> {
    let it = Services::start().await?;
    let mut zoe = Browser::default();
    zoe.sign_in(&it.node, "/sessions/aged/sign-in", "Zoë").await?;
    let key = zoe.key()?;
    let body = it.redis.command(&["GET", &key]);
    for (what, path, set) in [
        ("a use there", "/sessions/aged/me", false),
        ("a use there that rolls", "/sessions/rolling/me", true),
    ] {
        it.redis.command(&["EXPIRE", &key, "600"]);
        let answer = zoe.send(&it.node, (Method::GET, path), None).await?;
        ensure!(answer.header("set-cookie").is_some() == set, "{what}: a cookie");
        ensure!(it.left(&zoe)? > 3_590, "{what}: {} s are left", it.left(&zoe)?);
        // Both only move the expiry.
        ensure!(it.redis.command(&["GET", &key]) == body, "{what} wrote the session");
    }
    it.redis.command(&["EXPIRE", &key, "600"]);
    ensure!(zoe.get(&it.larder, "/me").await?["user"] == "Zoë", "who is signed in");
    ensure!(it.left(&zoe)? > 3_590, "a use here: {} s are left", it.left(&zoe)?);
    ensure!(it.redis.command(&["GET", &key]) == body, "a use here wrote the session");

    // The end that stands in the session is long over where it was only used: its key counts.
    let past = body.replace("\"expires\":\"20", "\"expires\":\"19");
    ensure!(past != body, "there is no end in {body}");
    it.redis.command(&["SET", &key, &past, "KEEPTTL"]);
    ensure!(zoe.get(&it.larder, "/me").await?["user"] == "Zoë", "by the end of long ago");
    let told = zoe.get(&it.node, "/sessions/aged/me").await?;
    ensure!(told["session"]["user"] == "Zoë", "{told}");

    it.redis.command(&["PEXPIRE", &key, "1"]);
    eventually("its time is over", async || it.redis.command(&["EXISTS", &key]) == ":0").await;
    ensure!(zoe.get(&it.larder, "/me").await?["user"].is_null(), "it is over");
    Ok(())
}

#[tokio::test]
async fn secrets_are_changed_in_both() -> Result<()> {
    let it = Services::start().await?;
    let [older, newer] = [SECRET, NEWER].map(Secret::short);
    let changing = larder(&it.sessions, vec![newer.clone(), older].into()).await?;
    let changed = larder(&it.sessions, newer.into()).await?;

    let mut zoe = Browser::default();
    zoe.sign_in(&it.node, "/sessions/aged/sign-in", "Zoë").await?;
    ensure!(zoe.clone().get(&changed, "/me").await?["user"].is_null(), "an old secret is taken");
    let old = zoe.cookie.clone();
    // Whoever has both gives out a cookie of the new one.
    ensure!(zoe.get(&changing, "/me").await?["user"] == "Zoë", "an old secret is not taken");
    ensure!(zoe.cookie != old, "the cookie is that of the old secret");
    ensure!(zoe.get(&changed, "/me").await?["user"] == "Zoë", "Larder knows the new one");
    let told = zoe.get(&it.node, "/sessions/renamed/me").await?;
    ensure!(told["session"]["user"] == "Zoë", "the service knows the new one: {told}");
    let told = zoe.clone().get(&it.node, "/sessions/aged/me").await?;
    ensure!(told["session"]["user"].is_null(), "{told}");
    // And of the service's new one.
    let mut max = Browser::default();
    max.sign_in(&it.node, "/sessions/rotated/sign-in", "Max").await?;
    ensure!(max.clone().get(&it.larder, "/me").await?["user"].is_null(), "a secret not yet known");
    ensure!(max.get(&changed, "/me").await?["user"] == "Max", "the new one");

    // A signature of another id, and an id that is not signed at all.
    let (zoes, maxs) = (zoe.cookie.context("no cookie")?, max.cookie.context("no cookie")?);
    let signature = maxs.rsplit_once('.').context("no signature")?.1;
    let id = zoes.rsplit_once('.').context("no signature")?.0;
    for forged in [format!("{id}.{signature}"), id.replace("s%3A", ""), format!("{id}.")] {
        let mut thief = Browser { cookie: Some(forged) };
        ensure!(thief.get(&changed, "/me").await?["user"].is_null(), "{:?}", thief.cookie);
    }
    Ok(())
}

#[tokio::test]
async fn a_log_out_at_node_ends_the_session_in_larder() -> Result<()> {
    let it = Services::start().await?;
    let mut zoe = Browser::default();
    zoe.sign_in(&it.larder, "/sign-in", "Zoë").await?;
    zoe.get(&it.larder, "/me").await?;
    let id = larder_core::session::SessionId::parse(&zoe.key()?["sess:".len()..]);
    let slow = it.sessions.open(id);
    slow.insert("theme", "dark").await?;
    slow.user().await?;
    zoe.post(&it.node, "/sessions/aged/sign-out").await?;
    ensure!(slow.save().await?.is_lost, "a slower save was not dropped");
    ensure!(zoe.get(&it.larder, "/me").await?["user"].is_null(), "it goes on");
    ensure!(it.redis.command(&["EXISTS", &zoe.key()?]) == ":0", "it is back");
    ensure!(it.sessions.of_user("Zoë").await?.is_empty(), "the list shows it");
    Ok(())
}

#[tokio::test]
async fn a_log_out_at_larder_wins_over_a_slower_save_at_node() -> Result<()> {
    let it = Services::start().await?;
    let mut zoe = Browser::default();
    zoe.sign_in(&it.node, "/sessions/aged/sign-in", "Zoë").await?;
    let (before, key) = (zoe.clone(), zoe.key()?);
    let slow = it.hold(&zoe, "theme", json!("dark")).await;
    zoe.post(&it.larder, "/sign-out").await?;
    ensure!(zoe.cookie.is_none(), "the cookie stayed");
    ensure!(it.redis.command(&["EXISTS", &key]) == ":0", "it was not removed");
    it.let_go("theme", slow).await?;
    // Until Larder sees it, the service goes on with it.
    ensure!(it.redis.command(&["EXISTS", &key]) == ":1", "the service did not write it again");
    let told = before.clone().get(&it.node, "/sessions/aged/me").await?;
    ensure!(told["session"]["user"] == "Zoë", "{told}");

    ensure!(before.clone().get(&it.larder, "/me").await?["user"].is_null(), "it is back in Larder");
    ensure!(it.redis.command(&["EXISTS", &key]) == ":0", "it was not ended again");
    let told = before.clone().get(&it.node, "/sessions/aged/me").await?;
    ensure!(told["session"]["user"].is_null(), "it is back in the service: {told}");
    Ok(())
}

#[tokio::test]
async fn signing_out_everywhere_ends_what_larder_has_seen() -> Result<()> {
    let it = Services::start().await?;
    let [mut phone, mut laptop, mut unseen, mut max] = [(); 4].map(|()| Browser::default());
    phone.sign_in(&it.node, "/sessions/aged/sign-in", "Zoë").await?;
    unseen.sign_in(&it.node, "/sessions/aged/sign-in", "Zoë").await?;
    max.sign_in(&it.node, "/sessions/aged/sign-in", "Max").await?;
    laptop.sign_in(&it.larder, "/sign-in", "Zoë").await?;
    for browser in [&mut phone, &mut max] {
        browser.get(&it.larder, "/me").await?;
    }
    ensure!(it.sessions.of_user("Zoë").await?.len() == 2, "the list");
    let body = Some(json!({}));
    let path = (Method::POST, "/sign-out-everywhere");
    let ended = laptop.send(&it.larder, path, body).await?;
    ensure!(told(&ended)? == 2, "{} ended", ended.text());
    let told = phone.get(&it.node, "/sessions/aged/me").await?;
    ensure!(told["session"]["user"].is_null(), "the phone: {told}");
    for (browser, user) in [(&mut unseen, "Zoë"), (&mut max, "Max")] {
        let told = browser.get(&it.node, "/sessions/aged/me").await?;
        ensure!(told["session"]["user"] == user, "{told}");
    }
    Ok(())
}

#[tokio::test]
async fn larder_loses_nothing_that_node_changes_meanwhile() -> Result<()> {
    let it = Services::start().await?;
    let mut zoe = Browser::default();
    zoe.sign_in(&it.node, "/sessions/aged/sign-in", "Zoë").await?;
    let id = larder_core::session::SessionId::parse(&zoe.key()?["sess:".len()..]);
    let slow = it.sessions.open(id);
    slow.user().await?;
    slow.insert("views", &7).await?;
    zoe.put(&it.node, "/sessions/aged/values/theme", json!("dark")).await?;
    let saved = slow.save().await?;
    ensure!(!saved.is_lost && saved.overwritten.is_empty(), "{saved:?}");
    let told = zoe.get(&it.node, "/sessions/aged/me").await?;
    let expected = json!({ "user": "Zoë", "theme": "dark", "views": 7 });
    ensure!(told["session"] == expected, "{told}");

    // The other way round the service overwrites what it did not see.
    let slow = it.hold(&zoe, "theme", json!("light")).await;
    zoe.put(&it.larder, "/values/views", json!(8)).await?;
    it.let_go("theme", slow).await?;
    let told = zoe.get(&it.larder, "/me").await?;
    ensure!(told["theme"] == "light" && told["views"] == 7, "{told}");
    // And where it changes nothing, it writes nothing.
    let slow = it.hold(&zoe, "theme", json!("light")).await;
    zoe.put(&it.larder, "/values/views", json!(9)).await?;
    it.let_go("theme", slow).await?;
    ensure!(zoe.get(&it.larder, "/me").await?["views"] == 9, "an unchanged session was written");
    Ok(())
}

#[tokio::test]
async fn what_is_no_session_is_an_error_in_both() -> Result<()> {
    let it = Services::start().await?;
    for broken in ["{\"user\":\"Zoë\"}", "nonsense"] {
        let mut zoe = Browser::default();
        zoe.sign_in(&it.node, "/sessions/aged/sign-in", "Zoë").await?;
        let key = zoe.key()?;
        it.redis.command(&["SET", &key, broken, "EX", "60"]);
        for (service, path, status) in [
            (&it.node, "/sessions/aged/me", StatusCode::INTERNAL_SERVER_ERROR),
            (&it.larder, "/me", StatusCode::SERVICE_UNAVAILABLE),
        ] {
            let answer = zoe.send(service, (Method::GET, path), None).await?;
            answer.expect_status(status)?;
        }
        ensure!(it.redis.command(&["GET", &key]) == broken, "it was written over");
        // A log-out is the way out.
        zoe.post(&it.larder, "/sign-out").await?;
        ensure!(it.redis.command(&["EXISTS", &key]) == ":0", "it stayed");
    }
    // What express-session takes is taken.
    let mut zoe = Browser::default();
    zoe.sign_in(&it.node, "/sessions/aged/sign-in", "Zoë").await?;
    let bare = "{\"cookie\":{},\"user\":\"Zoë\",\"views\":1}";
    it.redis.command(&["SET", &zoe.key()?, bare, "EX", "60"]);
    ensure!(zoe.get(&it.larder, "/me").await?["views"] == 1, "an empty cookie");
    zoe.put(&it.larder, "/values/views", json!(2)).await?;
    let stored = it.redis.command(&["GET", &zoe.key()?]);
    ensure!(stored == bare.replace('1', "2"), "{stored}");
    let told = zoe.get(&it.node, "/sessions/aged/me").await?;
    ensure!(told["session"]["views"] == 2, "{told}");
    Ok(())
}
