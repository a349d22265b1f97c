//! Larder's stores under the layer of tower-sessions: in memory, and in a real Redis.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use axum::extract::{Path, State};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use http::{Method, StatusCode};
use larder_core::{MemorySessions, SessionStore};
use larder_http::session::TowerSessions;
use larder_redis::RedisSessions;
use larder_tests::eventually;
use larder_tests::http_client::{Answer, HttpClient};
use larder_tests::redis_server::RedisServer;
use serde_json::{Value, json};
use time::Duration;
use tokio::sync::Semaphore;
use tower_sessions::session_store::ExpiredDeletion as _;
use tower_sessions::{Expiry, Session, SessionManagerLayer};

/// Lets a request go on that has its session and waits.
#[derive(Clone)]
struct Gate {
    arrived: Arc<Semaphore>,
    go: Arc<Semaphore>,
}

async fn me(session: Session) -> Json<Value> {
    let theme: Option<Value> = session.get("theme").await.unwrap_or_default();
    let user: Option<Value> = session.get("user").await.unwrap_or_default();
    Json(json!({ "user": user, "theme": theme }))
}

async fn set(Path(name): Path<String>, session: Session, Json(value): Json<Value>) -> StatusCode {
    status(session.insert(&name, value).await)
}

async fn slowly_set(
    State(gate): State<Gate>,
    session: Session,
    Json(value): Json<Value>,
) -> StatusCode {
    let set = session.insert("theme", value).await;
    gate.arrived.add_permits(1);
    let _ = gate.go.acquire().await;
    status(set)
}

async fn sign_in(session: Session, Json(user): Json<Value>) -> StatusCode {
    let renewed = session.cycle_id().await;
    status(renewed.and(session.insert("user", user).await))
}

async fn sign_out(session: Session) -> StatusCode {
    status(session.flush().await)
}

async fn short(session: Session) -> StatusCode {
    session.set_expiry(Some(Expiry::OnInactivity(Duration::milliseconds(50))));
    StatusCode::OK
}

fn status<T>(result: Result<T, tower_sessions::session::Error>) -> StatusCode {
    if result.is_ok() { StatusCode::OK } else { StatusCode::INTERNAL_SERVER_ERROR }
}

/// An application on tower-sessions, and what a browser has of it.
struct Site {
    http: HttpClient,
    gate: Gate,
    cookie: Option<String>,
}

impl Site {
    async fn start(store: TowerSessions) -> Result<Self> {
        let gate = Gate { arrived: Arc::new(Semaphore::new(0)), go: Arc::new(Semaphore::new(0)) };
        let app = Router::new()
            .route("/me", get(me))
            .route("/values/{name}", put(set))
            .route("/slowly", put(slowly_set))
            .route("/sign-in", post(sign_in))
            .route("/sign-out", post(sign_out))
            .route("/short", post(short))
            .with_state(gate.clone())
            .layer(SessionManagerLayer::new(store).with_secure(false));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let base = format!("http://{}", listener.local_addr()?);
        tokio::spawn(axum::serve(listener, app).into_future());
        Ok(Self { http: HttpClient::new(&base), gate, cookie: None })
    }

    async fn send(&mut self, method: Method, path: &str, body: Value) -> Result<Answer> {
        let mut headers = vec![("content-type", "application/json")];
        headers.extend(self.cookie.as_deref().map(|cookie| ("cookie", cookie)));
        let answer = self.http.send(method, path, &headers, Some(body.to_string().into())).await?;
        answer.expect_status(StatusCode::OK)?;
        if let Some(set) = answer.header("set-cookie") {
            let pair = set.split(';').next().unwrap_or_default();
            self.cookie = (!pair.ends_with('=')).then(|| pair.to_owned());
        }
        Ok(answer)
    }

    async fn me(&mut self) -> Result<Value> {
        self.send(Method::GET, "/me", json!(null)).await?.json()
    }

    /// As another tab, whose cookie stays what it is.
    fn tab(&self) -> Self {
        Self { http: self.http.clone(), gate: self.gate.clone(), cookie: self.cookie.clone() }
    }
}

async fn every_promise(sessions: impl SessionStore + Clone) -> Result<()> {
    let of_user = |values: &std::collections::HashMap<String, Value>| {
        values.get("user")?.as_str().map(str::to_owned)
    };
    let store = TowerSessions::eventual(sessions.clone()).user(of_user);
    store.delete_expired().await?;
    let mut site = Site::start(store).await?;
    ensure!(site.me().await? == json!({ "user": null, "theme": null }), "a stranger");
    ensure!(site.cookie.is_none(), "a stranger has a cookie");

    site.send(Method::PUT, "/values/theme", json!({ "name": "dünkel", "sizes": [1, 2.5] })).await?;
    let theme = json!({ "name": "dünkel", "sizes": [1, 2.5] });
    ensure!(site.me().await? == json!({ "user": null, "theme": theme }), "what was kept");
    let mut thief = site.tab();
    site.send(Method::POST, "/sign-in", json!("Zoë")).await?;
    ensure!(site.cookie != thief.cookie, "the id stayed");
    ensure!(thief.me().await? == json!({ "user": null, "theme": null }), "the old id lives");
    ensure!(site.me().await? == json!({ "user": "Zoë", "theme": theme }), "who is signed in");
    ensure!(sessions.of_user("Zoë").await?.len() == 1, "the list");

    // A log-out, and a request that was under way.
    let (mut slow, mut other) = (site.tab(), site.tab());
    let changing =
        tokio::spawn(async move { slow.send(Method::PUT, "/slowly", json!("dark")).await });
    site.gate.arrived.acquire().await?.forget();
    site.send(Method::POST, "/sign-out", json!(null)).await?;
    site.gate.go.add_permits(1);
    changing.await??;
    ensure!(site.cookie.is_none(), "the cookie stayed");
    ensure!(other.me().await? == json!({ "user": null, "theme": null }), "it is back");
    ensure!(sessions.of_user("Zoë").await?.is_empty(), "the list shows it");

    // The end of all of a user's.
    site.send(Method::POST, "/sign-in", json!("Zoë")).await?;
    ensure!(sessions.remove_of_user("Zoë", None).await? == 1, "how many ended");
    ensure!(site.me().await?["user"].is_null(), "who was signed out everywhere");

    // And that of one by its time.
    site.send(Method::POST, "/sign-in", json!("Max")).await?;
    let mut later = site.tab();
    site.send(Method::POST, "/short", json!(null)).await?;
    eventually("its time is over", async || {
        later.tab().me().await.is_ok_and(|told| told["user"].is_null())
    })
    .await;
    ensure!(later.me().await?["user"].is_null(), "it is back");
    ensure!(sessions.of_user("Max").await?.is_empty(), "the list after its time");
    Ok(())
}

#[tokio::test]
async fn in_memory() -> Result<()> {
    every_promise(MemorySessions::new()).await
}

#[tokio::test]
async fn in_redis() -> Result<()> {
    let redis = RedisServer::start();
    every_promise(RedisSessions::connect(redis.url()).await?).await?;
    let keys = redis.command(&["EVAL", "return table.concat(redis.call('KEYS', '*'), ' ')", "0"]);
    ensure!(keys.contains("tower-sess:"), "{keys}");
    Ok(())
}

#[tokio::test]
async fn a_redis_that_is_down_signs_nobody_out() -> Result<()> {
    let mut redis = RedisServer::start();
    let store = TowerSessions::new(RedisSessions::connect(redis.url()).await?);
    let mut site = Site::start(store).await?;
    site.send(Method::POST, "/sign-in", json!("Zoë")).await?;
    let cookie = site.cookie.clone().context("no cookie")?;
    redis.kill();
    let headers = [("content-type", "application/json"), ("cookie", cookie.as_str())];
    let body = Some("\"dark\"".into());
    let answer = site.http.send(Method::PUT, "/values/theme", &headers, body).await?;
    answer.expect_status(StatusCode::INTERNAL_SERVER_ERROR)?.expect_no_header("set-cookie")?;
    Ok(())
}
