//! Rate limiting with Redis: a layer in front of an axum Router. Each client has 100 requests of
//! `/api` a minute, counted under `ratelimit:<ip>` in one Redis for all servers.
//!
//! ```sh
//! LARDER_REDIS_URL=redis://127.0.0.1:6379 cargo run -p larder --example rate_limited_api --all-features
//! ```

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::response::Response;
use axum::routing::{get, post};
use larder::http::RateLimit;
use larder::http::rate_limit::ClientIp;
use larder::rate_limit::FailurePolicy;
use larder::redis::{RateLimitLayout, RedisRateLimits};
use larder::{Quota, RateLimiter, minutes};
use tower::ServiceExt;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let url = std::env::var("LARDER_REDIS_URL").unwrap_or("redis://127.0.0.1:6379".into());
    // A plain number under `ratelimit:<ip>`, as many services keep it. Without the layout every
    // rule can be used, and several quotas at once.
    let counts = RedisRateLimits::connect(&url).await?.layout(RateLimitLayout::Plain);
    let limiter = RateLimiter::builder(counts)
        .quota(Quota::per_minute(100))
        // A Redis that is down lets everybody through. `local(n)` and `Deny` would not.
        .on_failure(FailurePolicy::Allow)
        .build()?;
    // One that is stricter, in a layout that can have it.
    let sign_in = RateLimiter::builder(RedisRateLimits::connect(&url).await?)
        .namespace("sign-in")
        .quota(Quota::new(5, minutes(15)).sliding_window().named("attempts"))
        .on_failure(FailurePolicy::local(1))
        .build()?;

    // Behind one proxy that adds to X-Forwarded-For. Say how many there are: whatever the client
    // has written into it is not believed.
    let client = ClientIp::behind_proxies(1);
    let api = Router::new()
        .route("/products", get(async || "apples and pears"))
        .layer(RateLimit::new(limiter.clone()).by(client.clone()));
    let app = Router::new()
        .nest("/api", api)
        .route("/sign-in", post(async || "welcome").layer(RateLimit::new(sign_in).by(client)));

    // A server would be `axum::serve(listener, app)`; here requests are made without one.
    let ask = |method: &'static str, uri: &'static str, forwarded_for: String| {
        let app = app.clone();
        async move {
            let request = Request::builder().method(method).uri(uri);
            let request = request.header("x-forwarded-for", forwarded_for).body(Body::empty())?;
            app.oneshot(request).await.map_err(anyhow::Error::from)
        }
    };
    let header = |response: &Response, name: &str| {
        response.headers().get(name).and_then(|value| value.to_str().ok()).map(String::from)
    };

    let me = "203.0.113.9";
    limiter.reset(me).await?;
    for left in (0..100).rev() {
        // Another name every time; the proxy knows better.
        let forwarded_for = format!("198.51.100.{left}, {me}");
        let response = ask("GET", "/api/products", forwarded_for).await?;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(header(&response, "x-ratelimit-remaining"), Some(left.to_string()));
    }
    let refused = ask("GET", "/api/products", me.into()).await?;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    println!("the 101st request: retry after {:?} s", header(&refused, "retry-after"));
    let body = axum::body::to_bytes(refused.into_body(), 1 << 10).await?;
    println!("{}", String::from_utf8_lossy(&body));

    let other = ask("GET", "/api/products", "203.0.113.10".into()).await?;
    assert_eq!(other.status(), StatusCode::OK);
    let sign_in = ask("POST", "/sign-in", me.into()).await?;
    assert_eq!(header(&sign_in, "x-ratelimit-limit"), Some("5".into()));
    Ok(())
}
