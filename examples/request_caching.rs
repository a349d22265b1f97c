//! Request caching: a layer in front of an axum Router.
//!
//! ```sh
//! cargo run -p larder --example request_caching --all-features
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use axum::response::Response;
use axum::routing::get;
use larder::http::ResponseCache;
use larder::{Cache, MemoryStore, seconds};
use tower::ServiceExt;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let calls = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&calls);
    let products = move || {
        let calls = counter.fetch_add(1, Ordering::Relaxed) + 1;
        async move { format!("products, made {calls} times") }
    };

    let cache = Cache::builder(MemoryStore::new()).name("responses").build()?;
    let app = Router::new()
        .route("/api/v1/products", get(products))
        .layer(ResponseCache::new(cache).ttl(seconds(60)));

    // A server would be `axum::serve(listener, app)`; here requests are made without one.
    let ask = |uri: &'static str| {
        let app = app.clone();
        async move {
            app.oneshot(Request::get(uri).body(Body::empty())?).await.map_err(anyhow::Error::from)
        }
    };
    let x_cache = |response: &Response| response.headers()["x-cache"].to_str().map(String::from);

    let first = ask("/api/v1/products?page=1&limit=20").await?;
    assert_eq!(x_cache(&first)?, "MISS");
    // The response is stored when its body has gone out.
    axum::body::to_bytes(first.into_body(), 1 << 20).await?;

    // The order of the parameters does not matter.
    let second = ask("/api/v1/products?limit=20&page=1").await?;
    assert_eq!(x_cache(&second)?, "HIT");
    println!("X-Cache: HIT, Age: {:?}", second.headers().get("age"));
    assert_eq!(calls.load(Ordering::Relaxed), 1);

    let other = ask("/api/v1/products?page=2&limit=20").await?;
    assert_eq!(x_cache(&other)?, "MISS");
    Ok(())
}
