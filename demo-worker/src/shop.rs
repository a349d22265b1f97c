//! The application: what is opened for the first request of an isolate serves all that follow.

use std::sync::{Arc, OnceLock};

use axum::Router;
use larder_core::{RateLimiter, RateLimiterBuilder, seconds};
use larder_demo::{Accounts, App, Limits, PerMinute, SignInLimits, Stores};
use larder_http::rate_limit::ClientIp;
use larder_kv::{DurableRateLimits, DurableSessions, DurableStore, KvStore, WorkerRuntime};
use worker::js_sys::Reflect;
use worker::{Env, Error, Result};

use crate::d1::D1;
use crate::seen::SeenQueue;
use crate::{log, recorder};

static ROUTER: OnceLock<Router> = OnceLock::new();

/// What signs the cookies of sessions.
const SECRET: &str = "SESSION_SECRET";

/// A change of a user asks each of them for the lists to forget.
const OBJECTS: u16 = 4;

pub(crate) fn router(env: &Env, runtime: &WorkerRuntime) -> Result<Router> {
    if let Some(router) = ROUTER.get() {
        return Ok(router.clone());
    }
    let router = open(env, runtime)?;
    Ok(ROUTER.get_or_init(|| router).clone())
}

fn open(env: &Env, runtime: &WorkerRuntime) -> Result<Router> {
    log::install(env);
    // Before the caches, which bind their metrics when they are built.
    let render = recorder::install();
    let database = D1::new(env.d1("DATABASE")?);
    let kv = KvStore::open(env, "CACHE", runtime).map_err(refused)?;
    let objects = DurableStore::builder().objects(OBJECTS).open(env, "LARDER", runtime);
    let objects = objects.map_err(refused)?;
    let stores = Stores::new(kv).users(objects.clone()).leases(objects);
    let app = App::new(Arc::new(database), stores, accounts(env, runtime)?).map_err(refused)?;
    let requests = per_minute(env, "RATE_LIMIT", PerMinute::default())?;
    let limits = Limits::new(limiter(env, runtime)?, requests, ClientIp::cloudflare());
    let app = app.last_seen(SeenQueue::new(env.queue("SEEN")?));
    Ok(app.metrics(render).limits(limits.map_err(refused)?).router())
}

fn accounts(env: &Env, runtime: &WorkerRuntime) -> Result<Accounts> {
    let secret = variable(env, SECRET).filter(|secret| !secret.is_empty());
    let secret = secret.ok_or_else(|| {
        let advice =
            "at least 32 bytes that nobody knows, such as `openssl rand -base64 32` prints";
        Error::RustError(format!(
            "the secret {SECRET} is missing: `wrangler secret put {SECRET}` takes {advice}"
        ))
    })?;
    let sessions = DurableSessions::builder().objects(OBJECTS).open(env, "LARDER", runtime);
    let attempts = per_minute(env, "SIGN_IN_LIMIT", PerMinute(5))?;
    let limits = SignInLimits::new(limiter(env, runtime)?, attempts, ClientIp::cloudflare());
    let secrets: Vec<&str> = secret.split(',').collect();
    let accounts = Accounts::new(sessions.map_err(refused)?, secrets);
    Ok(accounts.client(ClientIp::cloudflare()).limits(limits.map_err(refused)?))
}

fn limiter(env: &Env, runtime: &WorkerRuntime) -> Result<RateLimiterBuilder> {
    let counts = DurableRateLimits::builder().objects(OBJECTS).open(env, "LARDER", runtime);
    // An object that sleeps, on another continent, takes its time to answer.
    let limiter = RateLimiter::builder(counts.map_err(refused)?).timeout(seconds(2));
    Ok(limiter.namespace("shop"))
}

fn per_minute(env: &Env, name: &str, default: PerMinute) -> Result<PerMinute> {
    match variable(env, name) {
        Some(text) => text.parse().map_err(|error| refused_variable(name, error)),
        None => Ok(default),
    }
}

/// The text of a variable, which may also be a number; of what is neither, how JavaScript shows it.
/// None where it is not defined.
fn variable(env: &Env, name: &str) -> Option<String> {
    let value = Reflect::get(env, &name.into()).ok().filter(|value| !value.is_undefined())?;
    let number = || value.as_f64().map(|number| number.to_string());
    Some(value.as_string().or_else(number).unwrap_or_else(|| format!("{value:?}")))
}

fn refused_variable(name: &str, error: impl std::error::Error) -> Error {
    Error::RustError(format!("the variable {name}: {error}"))
}

fn refused(error: impl std::error::Error) -> Error {
    Error::RustError(error.to_string())
}
