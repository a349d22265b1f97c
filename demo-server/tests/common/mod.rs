//! The shop in this process: the real router on a real database, called without a network.
#![allow(dead_code)] // Each test program uses a part.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use larder_core::{DurableJournal, MemorySessions, MemoryStore, Store, StrongSessionStore};
use larder_demo::{Accounts, App, Database, JournaledLastSeen};
use larder_demo_server::{Filling, SqliteDatabase};
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::OnceCell;
use tower::ServiceExt;

pub(crate) fn on(_: Filling) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// A filled database, made once for a test program, and copied for each test.
pub(crate) async fn filled() -> (TempDir, PathBuf) {
    static FILLED: OnceCell<Vec<u8>> = OnceCell::const_new();
    let file = FILLED.get_or_init(|| async {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("shop.db");
        let (_, filled) = SqliteDatabase::open(&path, on).await.unwrap();
        assert!(filled);
        std::fs::read(path).unwrap()
    });
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("shop.db");
    std::fs::write(&path, file.await).unwrap();
    (dir, path)
}

pub(crate) const SECRET: &str = "a secret that everybody may know, for tests";

pub(crate) fn accounts(sessions: impl StrongSessionStore) -> Accounts {
    Accounts::new(sessions, SECRET)
}

pub(crate) struct Shop {
    router: Router,
    _dir: TempDir,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Shop {
    pub(crate) async fn in_memory() -> Self {
        Self::on(MemoryStore::new()).await
    }

    pub(crate) async fn on(store: impl Store) -> Self {
        Self::with(store, accounts(MemorySessions::new())).await
    }

    pub(crate) async fn with(store: impl Store, accounts: Accounts) -> Self {
        Self::made(store, accounts, |app, _| app).await
    }

    /// In memory, with when users were last seen in this journal.
    pub(crate) async fn noting_in(journal: impl DurableJournal) -> Self {
        let note =
            |app: App, database| app.last_seen(JournaledLastSeen::new(journal, database).unwrap());
        Self::made(MemoryStore::new(), accounts(MemorySessions::new()), note).await
    }

    async fn made(
        store: impl Store,
        accounts: Accounts,
        more: impl FnOnce(App, Arc<dyn Database>) -> App,
    ) -> Self {
        let (dir, path) = filled().await;
        let (database, filled) = SqliteDatabase::open(path, on).await.unwrap();
        assert!(!filled, "a copy is complete");
        let database: Arc<dyn Database> = Arc::new(database);
        let app = App::new(Arc::clone(&database), store, accounts).unwrap();
        Self { router: more(app, database).router(), _dir: dir }
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes().to_vec();
        Answer { status: head.status, headers: head.headers, body }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Request::get(path).body(Body::empty()).unwrap()).await
    }

    pub(crate) async fn put(&self, path: &str, json: &str) -> Answer {
        let request = Request::put(path).header("content-type", "application/json");
        self.send(request.body(Body::from(json.to_owned())).unwrap()).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send(Request::delete(path).body(Body::empty()).unwrap()).await
    }

    pub(crate) async fn post(&self, path: &str, json: &str) -> Answer {
        let request = Request::post(path).header("content-type", "application/json");
        self.send(request.body(Body::from(json.to_owned())).unwrap()).await
    }

    /// How often the database has been asked.
    pub(crate) async fn calls(&self) -> u64 {
        self.get("/api/v1/stats").await.ok()["database"]["calls"].as_u64().unwrap()
    }
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(crate) fn ok(&self) -> Value {
        assert_eq!(self.status, StatusCode::OK, "{}", String::from_utf8_lossy(&self.body));
        self.json()
    }

    /// The fields that a problem names, in order.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16) -> Vec<String> {
        assert_eq!(self.status.as_u16(), status, "{}", String::from_utf8_lossy(&self.body));
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        assert_eq!(self.header("cache-control"), Some("no-store"));
        let challenge = (status == 401).then_some("Cookie");
        assert_eq!(self.header("www-authenticate"), challenge);
        let problem = self.json();
        assert_eq!(problem["type"], "about:blank");
        assert_eq!(problem["status"], status);
        assert_eq!(problem["title"], self.status.canonical_reason().unwrap());
        let detail = problem["detail"].as_str().unwrap();
        assert!(!detail.is_empty());
        let errors = problem["errors"].as_array().cloned().unwrap_or_default();
        let fields = errors.iter().map(|error| error["field"].as_str().unwrap().to_owned());
        fields.inspect(|field| assert!(detail.contains(field), "{detail}")).collect()
    }
}
