//! A Worker of axum whose answers are kept in KV by a response cache.

use std::sync::OnceLock;

use axum::Router;
use axum::body::Body;
use axum::http::{Response, header};
use axum::routing::get;
use larder_core::{Cache, hours};
use larder_http::{RequestRuntime, ResponseCache};
use larder_kv::{KvStore, WorkerRuntime};
use tower::ServiceExt;
use worker::{Context, Env, Error, HttpRequest, Result, event};

const PRODUCTS: &str = include_str!("../../products.json");

static ROUTER: OnceLock<Router> = OnceLock::new();

#[event(fetch)]
async fn fetch(request: HttpRequest, env: Env, ctx: Context) -> Result<Response<Body>> {
    let runtime = WorkerRuntime::new(&ctx);
    let router = router(&env, &runtime)?;
    let request = RequestRuntime::new(runtime.clone()).attach(request);
    match runtime.run_to_end(router.oneshot(request)).await? {
        Ok(response) => Ok(response),
        Err(never) => match never {},
    }
}

fn router(env: &Env, runtime: &WorkerRuntime) -> Result<Router> {
    if let Some(router) = ROUTER.get() {
        return Ok(router.clone());
    }
    let store = KvStore::open(env, "CACHE", runtime).map_err(refused)?;
    let cache = Cache::builder(store).build().map_err(refused)?;
    let products = async || ([(header::CONTENT_TYPE, "application/json")], PRODUCTS);
    let router = Router::new()
        .route("/products", get(products))
        .layer(ResponseCache::new(cache).ttl(hours(1)));
    Ok(ROUTER.get_or_init(|| router).clone())
}

fn refused(error: impl std::error::Error) -> Error {
    Error::RustError(error.to_string())
}
