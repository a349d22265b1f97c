//! A shop whose users are cached, behind the layer.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use http::{Method, Request, StatusCode};
use larder_core::{Cache, EventMap, Targets, VirtualRuntime};
use larder_http::Invalidate;
use tower::ServiceExt;

use super::far::{Bad, Far};

pub(crate) enum Event {
    UserChanged(u64),
    TeamChanged(String),
}

pub(crate) fn stale_by() -> EventMap<Event> {
    EventMap::new().on(|event| match event {
        Event::UserChanged(id) => Targets::new().key(format!("user:{id}")).pattern("users:*"),
        Event::TeamChanged(team) => Targets::new().key(format!("team:{team}")),
    })
}

pub(crate) struct World {
    pub(crate) runtime: VirtualRuntime,
    pub(crate) cache: Cache,
    pub(crate) bad: Arc<Bad>,
}

/// What is cached before each test.
pub(crate) const KEYS: [&str; 4] = ["user:1", "user:2", "users:page:1", "team:a/b"];

impl World {
    pub(crate) fn run<T>(test: impl AsyncFnOnce(Self) -> T) -> T {
        let runtime = VirtualRuntime::seeded(1);
        let store = Far::new(&runtime);
        let bad = Arc::clone(&store.bad);
        let cache = Cache::builder(store).name("shop").build().unwrap();
        let world = Self { runtime: runtime.clone(), cache, bad };
        runtime.block_on(async {
            world.fill().await;
            test(world).await
        })
    }

    pub(crate) async fn fill(&self) {
        self.cache.put_many(KEYS.map(|key| (key, key))).await.unwrap();
    }

    pub(crate) fn is_down(&self, down: bool) {
        self.bad.down.store(down, Ordering::SeqCst);
    }

    pub(crate) fn layer(&self) -> Invalidate<Event> {
        Invalidate::new(self.cache.clone(), stale_by())
            .on("/users/{id}", |change| change.parse("id").map(Event::UserChanged))
            .unwrap()
            .on("/users/{id}/team/{name}", |change| {
                let user = change.parse("id").map(Event::UserChanged);
                let team = change.param("name").map(|name| Event::TeamChanged(name.into()));
                user.into_iter().chain(team).collect::<Vec<_>>()
            })
            .unwrap()
    }

    /// What is cached still.
    pub(crate) async fn left(&self) -> Vec<&'static str> {
        let found = self.cache.get_many::<String>(KEYS).await.unwrap();
        KEYS.into_iter().zip(found).filter_map(|(key, found)| found.map(|_| key)).collect()
    }
}

pub(crate) const WITHOUT_USER_1: [&str; 2] = ["user:2", "team:a/b"];

/// A shop that answers every request so.
pub(crate) fn answering(status: StatusCode) -> Router {
    Router::new().fallback(move || async move { status })
}

pub(crate) async fn ask(app: &Router, method: Method, uri: &str) -> Response {
    let request = Request::builder().method(method).uri(uri).body(Body::empty()).unwrap();
    app.clone().oneshot(request).await.unwrap()
}
