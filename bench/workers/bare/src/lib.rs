//! A Worker of axum that answers with a value of KV.

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tower::ServiceExt;
use worker::kv::KvStore;
use worker::send::SendFuture;
use worker::{Context, Env, HttpRequest, Result, event};

#[event(fetch)]
async fn fetch(request: HttpRequest, env: Env, _ctx: Context) -> Result<Response<Body>> {
    let router = Router::new().route("/products", get(products)).with_state(env.kv("CACHE")?);
    match router.oneshot(request).await {
        Ok(response) => Ok(response),
        Err(never) => match never {},
    }
}

async fn products(State(kv): State<KvStore>) -> impl IntoResponse {
    match SendFuture::new(async move { kv.get("products").bytes().await }).await {
        Ok(Some(body)) => Ok(([(header::CONTENT_TYPE, "application/json")], body)),
        Ok(None) => Err(StatusCode::NOT_FOUND),
        Err(_) => Err(StatusCode::BAD_GATEWAY),
    }
}
