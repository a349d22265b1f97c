//! Requests a second of an axum handler that reads its session.

use anyhow::{Context, Result};
use axum::Router;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use larder_core::{Sessions, StrongSessionStore};
use larder_http::SessionLayer;
use tower_sessions::{SessionManagerLayer, SessionStore};
use tower_sessions_redis_store::RedisStore;
use tower_sessions_redis_store::fred::interfaces::ClientLike as _;
use tower_sessions_redis_store::fred::prelude::{Config, Pool};

use crate::Effort;
use crate::http::{Front, PATH, Server, page};
use crate::rounds;
use crate::servers::{Core, Redis};
use crate::table::{Figures, Goal, Row};

/// Where a session begins.
pub(crate) const BEGIN: &str = "/begin";

const SECRET: &str = "a secret that no service has but this bench";
const KEY: &str = "user";
const USER: u64 = 42;

/// The answer to who has a session; nobody else is given one.
fn answer(found: Option<u64>, body: &Bytes) -> Response {
    match found {
        Some(USER) => ([(CONTENT_TYPE, "application/json")], body.clone()).into_response(),
        _ => StatusCode::UNAUTHORIZED.into_response(),
    }
}

pub(crate) fn larder(store: impl StrongSessionStore) -> Result<Router> {
    use larder_http::Session;

    let body = Bytes::from(page());
    let read = get(async move |session: Session| {
        answer(session.get::<u64>(KEY).await.ok().flatten(), &body)
    });
    let begin = get(async |session: Session| drop(session.insert(KEY, &USER).await));
    let sessions = Sessions::builder(store).build()?;
    let layer = SessionLayer::new(sessions, SECRET)?;
    Ok(Router::new().route(PATH, read).route(BEGIN, begin).layer(layer))
}

pub(crate) fn tower_sessions<S: SessionStore + Clone>(store: S) -> Router {
    use tower_sessions::Session;

    let body = Bytes::from(page());
    let read = get(async move |session: Session| {
        answer(session.get::<u64>(KEY).await.ok().flatten(), &body)
    });
    let begin = get(async |session: Session| drop(session.insert(KEY, USER).await));
    Router::new().route(PATH, read).route(BEGIN, begin).layer(SessionManagerLayer::new(store))
}

/// The store of tower-sessions in Redis.
pub(crate) async fn redis_store(url: &str) -> Result<RedisStore<Pool>> {
    let pool = Pool::new(Config::from_url(url)?, None, None, None, 1)?;
    pool.init().await.context("the peer's client does not connect")?;
    Ok(RedisStore::new(pool))
}

pub(crate) fn compare(effort: Effort, mut row: impl FnMut(Row)) -> Result<()> {
    let redis = Redis::start(Some(Core::Client))?;
    for (name, ours, peer, goal) in [
        ("memory", Front::Session, Front::TowerSessions, 0.9),
        ("Redis", Front::SessionRedis, Front::TowerSessionsRedis, 0.55),
    ] {
        let url = redis.url();
        let results = rounds::play_anew(effort.http, || {
            let (ours, peer) = (Server::start(ours, Some(&url))?, Server::start(peer, Some(&url))?);
            let bare = Server::start(Front::Bare, None)?.asked_as(&ours);
            [ours, bare, peer].map(|server| server.turn(effort.http)).into_iter().collect()
        })?;
        for (other, peer, goal) in
            [(1, "bare axum handler", Goal::AtLeast(goal)), (2, "tower-sessions", Goal::None)]
        {
            row(Row {
                what: format!("HTTP, a handler that reads its session, {name}"),
                peer,
                figures: Figures::Rate {
                    ours: results.median(0),
                    peers: results.median(other),
                    ratio: results.ratio(0, other),
                },
                goal,
            });
        }
    }
    Ok(())
}
