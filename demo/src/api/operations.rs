//! For those who run the shop.

use std::time::Duration;

use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::future::{OptionFuture, join_all, join5};
use larder_core::write_behind::Backlog;
use larder_core::{Cache, RateLimitStore, SessionStore, Store, Timestamp, seconds};
use serde_json::{Value, json};

use super::no_store;
use crate::app::App;
use crate::database::Database;
use crate::problem::Problem;

/// What was noted so long ago should have come to the database, also where another server had to take
/// over from one that crashed.
const LATE: Duration = seconds(30);

/// Whether the process runs.
pub(crate) async fn healthz() -> Response {
    no_store(json!({ "status": "ok" }))
}

/// Whether it should be sent requests: as long as the database answers. Without a store of its
/// caches the shop is slower and nothing else, so that is only said.
pub(crate) async fn readyz(app: App) -> Result<Response, Problem> {
    let shop = &app.shared;
    let stores = shop.stores();
    let all_ready = join_all(stores.iter().map(|store| store.ready()));
    let counts = OptionFuture::from(shop.counts().map(async |store| (store, store.ready().await)));
    let sessions = shop.entrance.store();
    let seen = OptionFuture::from(shop.last_seen.as_ref().map(|last_seen| last_seen.backlog()));
    let (database, all_ready, counts, sessions_ready, seen) =
        join5(shop.database.ready(), all_ready, counts, sessions.ready(), seen).await;
    if let Err(error) = database {
        tracing::error!(%error, "not ready");
        return Err(Problem::unavailable("the database does not answer"));
    }
    let mut degraded = Vec::new();
    for (store, ready) in stores.iter().zip(all_ready) {
        if let Err(error) = ready {
            degraded.push(json!({
                "part": "store",
                "name": store.name(),
                "effect": "what it keeps comes from the database; its invalidations are deferred",
                "error": error.to_string(),
            }));
        }
    }
    if let Some((store, Err(error))) = counts {
        degraded.push(json!({
            "part": "limits",
            "name": store.name(),
            "effect": "nobody is refused for asking too often",
            "error": error.to_string(),
        }));
    }
    if let Err(error) = sessions_ready {
        degraded.push(json!({
            "part": "sessions",
            "name": sessions.name(),
            "effect": "who is signed in cannot be told; whatever needs it is answered with 503",
            "error": error.to_string(),
        }));
    }
    match seen {
        Some(Ok(Some(backlog))) => {
            if let Some(effect) = of_backlog(&backlog, shop.database.now()) {
                degraded.push(json!({ "part": "last_seen", "effect": effect }));
            }
        }
        Some(Err(error)) => degraded.push(json!({
            "part": "last_seen",
            "effect": "that a user is seen is not kept",
            "error": error.to_string(),
        })),
        None | Some(Ok(None)) => {}
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

/// What is wrong with what waits to come to the database, if anything is.
fn of_backlog(backlog: &Backlog, now: Timestamp) -> Option<String> {
    let lag = backlog.lag(now);
    let late = (lag >= LATE).then(|| {
        format!(
            "{} notes of users seen wait for the database, for {} s",
            backlog.writes,
            lag.as_secs()
        )
    });
    let dead = (backlog.dead > 0).then(|| {
        format!("{} notes of users seen could not be saved and are dead letters", backlog.dead)
    });
    let wrong: Vec<_> = late.into_iter().chain(dead).collect();
    (!wrong.is_empty()).then(|| wrong.join("; "))
}

/// Prometheus' text format, version 0.0.4.
pub(crate) async fn metrics(app: App) -> Result<Response, Problem> {
    let render = app.shared.metrics.as_ref().ok_or_else(|| {
        Problem::new(StatusCode::NOT_FOUND, "this server keeps no metrics for Prometheus")
    })?;
    let content_type = "text/plain; version=0.0.4; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, content_type)], render()).into_response())
}

/// What the caches have counted, for the page.
pub(crate) async fn stats(app: App) -> Response {
    let shop = &app.shared;
    let mut stats = json!({
        "store": shop.stores().iter().map(|store| store.name()).collect::<Vec<_>>().join(" and "),
        "caches": {
            "products": of_cache(&shop.products),
            "unknownProducts": of_cache(&shop.unknown_products),
            "users": of_cache(&shop.users),
            "config": of_cache(&shop.config),
        },
        "database": { "calls": shop.database.calls() },
        "invalidations": { "deferred": shop.invalidations.deferred() },
    });
    if let Some(nodes) = shop.nodes {
        stats["nodes"] = json!(nodes);
    }
    no_store(stats)
}

fn of_cache(cache: &Cache) -> Value {
    let stats = cache.stats();
    json!({
        "store": cache.store().name(),
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

#[cfg(test)]
mod tests {
    use larder_core::write_behind::Sequence;

    use super::*;

    #[test]
    fn what_waits_too_long_or_cannot_be_saved_is_told() {
        let noted = Timestamp::from_millis(1_767_225_600_000);
        let waits = |seconds_ago, dead| {
            let oldest = Some(Sequence::next(None, noted));
            of_backlog(&Backlog::new(7, oldest, dead), noted + seconds(seconds_ago))
        };
        assert_eq!(waits(29, 0), None);
        let late = "7 notes of users seen wait for the database, for 30 s";
        assert_eq!(waits(30, 0).unwrap(), late);
        let dead = "2 notes of users seen could not be saved and are dead letters";
        assert_eq!(waits(1, 2).unwrap(), dead);
        assert_eq!(waits(30, 2).unwrap(), format!("{late}; {dead}"));
        assert_eq!(of_backlog(&Backlog::new(0, None, 0), noted), None);
    }
}
