//! For those who run the shop.

use axum::Json;
use axum::extract::State;
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use larder_core::{Cache, Store};
use serde_json::{Value, json};

use crate::app::App;
use crate::database::Database;
use crate::problem::Problem;

/// Whether the process runs.
pub(crate) async fn healthz() -> Response {
    no_store(json!({ "status": "ok" }))
}

/// Whether it should be sent requests: as long as the database answers. Without the store of its
/// caches the shop is slower and nothing else, so that is only said.
pub(crate) async fn readyz(State(app): State<App>) -> Result<Response, Problem> {
    let shop = &app.shared;
    let (database, store) =
        futures::future::join(shop.database.ready(), shop.users.store().ready()).await;
    if let Err(error) = database {
        tracing::error!(%error, "not ready");
        return Err(Problem::unavailable("the database does not answer"));
    }
    let mut degraded = Vec::new();
    if let Err(error) = store {
        degraded.push(json!({
            "part": "store",
            "name": shop.users.store().name(),
            "effect": "every answer comes from the database; invalidations are deferred",
            "error": error.to_string(),
        }));
    }
    let waiting = shop.invalidations.deferred();
    if waiting > 0 {
        degraded.push(json!({
            "part": "invalidations",
            "effect": format!("{waiting} changed users are read from the database"),
        }));
    }
    let status = if degraded.is_empty() { "ok" } else { "degraded" };
    Ok(no_store(json!({ "status": status, "degraded": degraded })))
}

/// Prometheus' text format, version 0.0.4.
pub(crate) async fn metrics(State(app): State<App>) -> Result<Response, Problem> {
    let render = app.shared.metrics.as_ref().ok_or_else(|| {
        Problem::new(StatusCode::NOT_FOUND, "this server keeps no metrics for Prometheus")
    })?;
    let content_type = "text/plain; version=0.0.4; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, content_type)], render()).into_response())
}

/// What the caches have counted, for the page.
pub(crate) async fn stats(State(app): State<App>) -> Response {
    let shop = &app.shared;
    no_store(json!({
        "store": shop.users.store().name(),
        "caches": {
            "products": of_cache(&shop.products),
            "catalogue": of_cache(&shop.catalogue),
            "users": of_cache(&shop.users),
            "config": of_cache(&shop.config),
        },
        "database": { "calls": shop.database.calls() },
        "invalidations": { "deferred": shop.invalidations.deferred() },
    }))
}

fn of_cache(cache: &Cache) -> Value {
    let stats = cache.stats();
    json!({
        "hits": stats.hits,
        "misses": stats.misses,
        "loads": stats.loads,
        "loadFailures": stats.load_failures,
        "coalesced": stats.coalesced,
        "superseded": stats.superseded,
        "unreadable": stats.unreadable,
        "storeErrors": stats.store_errors,
    })
}

pub(crate) async fn no_such_path() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "there is nothing at this path; GET / shows what there is")
}

pub(crate) async fn no_such_method(method: Method) -> Problem {
    let detail = format!("this path does not take {method}; the header Allow names what it takes");
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, detail)
}

fn no_store(body: Value) -> Response {
    ([(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
}
