//! Event-based invalidation: what an event makes stale is said once, and a layer invalidates it before
//! the answer to a change goes out.
//!
//! ```sh
//! cargo run -p larder --example events --all-features
//! ```

use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{Method, Request, StatusCode};
use axum::response::Response;
use axum::routing::get;
use larder::http::{Invalidate, ResponseCache};
use larder::{Cache, EventMap, MemoryStore, Targets, minutes};
use tower::ServiceExt;

enum ShopEvent {
    UserChanged { id: usize },
    PricesImported,
}

/// The one place that knows which keys, patterns and tags tell of what.
fn stale_by() -> EventMap<ShopEvent> {
    EventMap::new().on(|event| match event {
        ShopEvent::UserChanged { id } => {
            Targets::new().key(format!("user:{id}")).pattern("users:*")
        }
        ShopEvent::PricesImported => Targets::new().tag("prices"),
    })
}

/// Stands for a database.
type Names = Arc<Mutex<Vec<String>>>;

#[derive(Clone)]
struct App {
    cache: Cache,
    names: Names,
}

impl App {
    async fn load(&self, id: usize) -> std::io::Result<Option<String>> {
        Ok(self.names.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned())
    }
}

async fn show(State(app): State<App>, Path(id): Path<usize>) -> Result<String, StatusCode> {
    let user = app.cache.get_or_find(format!("user:{id}"), || app.load(id)).await;
    let user = user.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    user.map(|name| name.to_string()).ok_or(StatusCode::NOT_FOUND)
}

/// Knows the database, and nothing of what is cached.
async fn rename(State(app): State<App>, Path(id): Path<usize>, name: String) -> StatusCode {
    match app.names.lock().unwrap_or_else(PoisonError::into_inner).get_mut(id) {
        Some(user) => {
            *user = name;
            StatusCode::NO_CONTENT
        }
        None => StatusCode::NOT_FOUND,
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let cache = Cache::builder(MemoryStore::new()).namespace("shop").ttl(minutes(5)).build()?;
    let responses = ResponseCache::new(cache.clone());
    let invalidate = Invalidate::new(cache.clone(), stale_by())
        .on("/users/{id}", |change| Some(ShopEvent::UserChanged { id: change.parse("id")? }))?
        // Stored responses of the same URI, too.
        .responses(&responses)
        .tell(true);
    let names = Names::new(Mutex::new(vec!["Ada".into(), "Zoé".into()]));
    let app = Router::new()
        .route("/users/{id}", get(show).put(rename))
        .layer(invalidate)
        .layer(responses)
        .with_state(App { cache: cache.clone(), names });

    // A server would be `axum::serve(listener, app)`; here requests are made without one.
    let ask = async |method: Method, uri: &str, body: &'static str| -> anyhow::Result<Response> {
        let request = Request::builder().method(method).uri(uri).body(Body::from(body))?;
        Ok(app.clone().oneshot(request).await?)
    };
    let text = async |response: Response| -> anyhow::Result<String> {
        let bytes = axum::body::to_bytes(response.into_body(), 1 << 10).await?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };

    assert_eq!(text(ask(Method::GET, "/users/1", "").await?).await?, "Zoé");
    let renamed = ask(Method::PUT, "/users/1", "Zoë").await?;
    assert_eq!(renamed.status(), StatusCode::NO_CONTENT);
    println!("X-Invalidation: {:?}", renamed.headers()["x-invalidation"]);
    // Who was told of the change reads it.
    assert_eq!(text(ask(Method::GET, "/users/1", "").await?).await?, "Zoë");

    // What happens without a request is emitted where it happens.
    cache.entry("price:7").tag("prices").put(&995).await?;
    stale_by().emit(&cache, &ShopEvent::PricesImported).await?;
    assert!(!cache.contains("price:7").await?);
    Ok(())
}
