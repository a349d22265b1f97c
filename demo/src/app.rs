//! The caches, and the routes over them.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::get;
use larder_core::{Cache, Error, Store, minutes, seconds};
use larder_http::ResponseCache;

use crate::api::{operations, page, products, settings, users};
use crate::counted::Counted;
use crate::database::Database;
use crate::invalidation::Invalidations;

const PRODUCTS_TTL: Duration = minutes(1);
pub(crate) const USERS_TTL: Duration = minutes(5);
const CONFIG_TTL: Duration = minutes(1);
/// How long it is remembered that there is no such user or product.
const ABSENT_TTL: Duration = seconds(30);
/// A database that takes longer than this is taken for one that is down.
const LOAD_TIMEOUT: Duration = seconds(10);
const MAX_BODY_BYTES: usize = 16 << 10;

/// The shop: a database, and the caches in front of it.
///
/// ```no_run
/// use std::sync::Arc;
///
/// use larder_core::MemoryStore;
/// use larder_demo::{App, Database};
///
/// # fn main_(database: Arc<dyn Database>) -> Result<(), larder_core::Error> {
/// let router = App::new(database, MemoryStore::new())?.router();
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct App {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) database: Counted,
    /// Whole responses.
    pub(crate) products: Cache,
    /// Single products under `product:{id}`, and which ids have none. No longer than it takes to
    /// remember the latter: how old a product is shown is for the responses to say.
    pub(crate) catalogue: Cache,
    /// Users under `user:{id}`, lists under `users:page:{page}:limit:{limit}`.
    pub(crate) users: Cache,
    pub(crate) config: Cache,
    pub(crate) invalidations: Invalidations,
    pub(crate) metrics: Option<RenderMetrics>,
}

pub(crate) type RenderMetrics = Box<dyn Fn() -> String + Send + Sync>;

impl App {
    /// The shop over `database`, with its caches in `store`. Keys there begin with `shop:`.
    ///
    /// Metrics are bound to the recorder that is installed at this moment.
    ///
    /// # Errors
    ///
    /// Where the store takes no keys as long as these.
    pub fn new(database: Arc<dyn Database>, store: impl Store) -> Result<Self, Error> {
        let store: Arc<dyn Store> = Arc::new(store);
        let cache = |name: &str, ttl| {
            Cache::builder(Arc::clone(&store))
                .namespace("shop")
                .name(name)
                .ttl(ttl)
                .absent_ttl(ABSENT_TTL)
                .load_timeout(LOAD_TIMEOUT)
                .build()
        };
        let users = cache("users", USERS_TTL)?;
        let shared = Shared {
            database: Counted::new(database, store.runtime()),
            products: cache("products", PRODUCTS_TTL)?,
            catalogue: cache("catalogue", ABSENT_TTL)?,
            config: cache("config", CONFIG_TTL)?,
            invalidations: Invalidations::new(users.clone(), USERS_TTL),
            users,
            metrics: None,
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Answers `GET /metrics` with what `render` returns, which is Prometheus' text format.
    #[must_use]
    pub fn metrics(mut self, render: impl Fn() -> String + Send + Sync + 'static) -> Self {
        if let Some(shared) = Arc::get_mut(&mut self.shared) {
            shared.metrics = Some(Box::new(render));
        }
        self
    }

    /// The routes.
    pub fn router(self) -> Router {
        let products = Router::new()
            .route("/api/v1/products", get(products::list))
            .route("/api/v1/products/{id}", get(products::show))
            .route_layer(ResponseCache::new(self.shared.products.clone()).ttl(PRODUCTS_TTL));
        Router::new()
            .merge(products)
            .route("/api/v1/users", get(users::list))
            .route("/api/v1/users/{id}", get(users::show).put(users::update).delete(users::delete))
            .route("/api/v1/config", get(settings::show))
            .route("/api/v1/stats", get(operations::stats))
            .route("/healthz", get(operations::healthz))
            .route("/readyz", get(operations::readyz))
            .route("/metrics", get(operations::metrics))
            .route("/", get(page::show))
            .fallback(operations::no_such_path)
            .method_not_allowed_fallback(operations::no_such_method)
            .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
            .with_state(self)
    }
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App")
            .field("database", &self.shared.database)
            .field("store", &self.shared.users.store().name())
            .finish_non_exhaustive()
    }
}
