//! The caches, and the routes over them.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, FromRequestParts};
use axum::http::request::Parts;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{get, post};
use larder_core::invalidation::InvalidationStats;
use larder_core::{Cache, Error, RateLimitStore, Runtime, Store, minutes, seconds};
use larder_http::{RequestRuntime, ResponseCache};

use crate::accounts::{Accounts, Entrance};
use crate::api::{accounts, me, operations, page, products, settings, users};
use crate::counted::Counted;
use crate::database::Database;
use crate::invalidation::Invalidations;
use crate::last_seen::{self, LastSeen};
use crate::limits::{Limits, SignInLimits};
use crate::model::{User, UserChange};
use crate::problem::Problem;
use crate::same_origin;
use crate::source::Source;
use crate::stores::Stores;

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
/// Where a request brings a [`RequestRuntime`], as on Workers, it is served on that: the router
/// may be kept.
///
/// ```no_run
/// use std::sync::Arc;
///
/// use larder_core::{MemorySessions, MemoryStore};
/// use larder_demo::{Accounts, App, Database};
///
/// # fn main_(database: Arc<dyn Database>, secret: String) -> Result<(), larder_core::Error> {
/// let accounts = Accounts::new(MemorySessions::new(), secret);
/// let router = App::new(database, MemoryStore::new(), accounts)?.router();
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct App {
    pub(crate) shared: Arc<Shared>,
}

#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) database: Counted,
    /// Whole responses.
    pub(crate) products: Cache,
    /// Under `product:{id}`, that there is none.
    pub(crate) unknown_products: Cache,
    /// Users under `user:{id}`, lists under `users:page:{page}:limit:{limit}`.
    pub(crate) users: Cache,
    /// Whether they are in a store of their own.
    pub(crate) users_are_apart: bool,
    pub(crate) config: Cache,
    pub(crate) invalidations: Invalidations,
    pub(crate) entrance: Entrance,
    pub(crate) last_seen: Option<Arc<dyn LastSeen>>,
    pub(crate) limits: Option<Limits>,
    pub(crate) metrics: Option<RenderMetrics>,
    /// How many servers a page shows together; one does not count.
    pub(crate) nodes: Option<usize>,
}

pub(crate) type RenderMetrics = Arc<dyn Fn() -> String + Send + Sync>;

impl App {
    /// The shop over `database`, with its caches in `stores`: a store, or several as [`Stores`] has
    /// them. Keys there begin with `shop:`, and those of sessions too.
    ///
    /// Metrics are bound to the recorder that is installed at this moment.
    ///
    /// # Errors
    ///
    /// Where a store takes no keys as long as these, and where the secrets of sessions cannot be used.
    pub fn new(
        database: Arc<dyn Database>,
        stores: impl Into<Stores>,
        accounts: Accounts,
    ) -> Result<Self, Error> {
        let Stores { shared: store, users, leases, tier } = stores.into();
        let users_are_apart = users.is_some();
        let of_users = users.unwrap_or_else(|| Arc::clone(&store));
        let runtime = store.runtime();
        let cache = |name: &str, store: &Arc<dyn Store>, ttl| {
            Cache::builder(Arc::clone(store))
                .namespace("shop")
                .name(name)
                .ttl(ttl)
                .absent_ttl(ABSENT_TTL)
                .load_timeout(LOAD_TIMEOUT)
        };
        let mut products = cache("products", &store, PRODUCTS_TTL);
        if let Some(leases) = leases {
            products = products.leases(leases);
        }
        let users = cache("users", &of_users, USERS_TTL);
        let users = match tier {
            Some(tier) => tier.in_front_of(users),
            None => users,
        };
        let users = users.build()?;
        let shared = Shared {
            database: Counted::new(database, runtime),
            products: products.build()?,
            unknown_products: cache("unknown_products", &store, ABSENT_TTL).build()?,
            config: cache("config", &store, CONFIG_TTL).build()?,
            invalidations: Invalidations::new(users.clone(), USERS_TTL),
            users,
            users_are_apart,
            entrance: accounts.open()?,
            last_seen: None,
            limits: None,
            metrics: None,
            nodes: None,
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    fn on(&self, runtime: &Arc<dyn Runtime>) -> Self {
        let Shared { database, products, unknown_products, users, config, invalidations, .. } =
            &*self.shared;
        let users = users.on(Arc::clone(runtime));
        let shared = Shared {
            database: database.on(runtime),
            products: products.on(Arc::clone(runtime)),
            unknown_products: unknown_products.on(Arc::clone(runtime)),
            config: config.on(Arc::clone(runtime)),
            invalidations: invalidations.on(&users),
            users,
            users_are_apart: self.shared.users_are_apart,
            entrance: self.shared.entrance.on(runtime),
            last_seen: self.shared.last_seen.clone(),
            limits: self.shared.limits.as_ref().map(|limits| limits.on(runtime)),
            metrics: self.shared.metrics.clone(),
            nodes: self.shared.nodes,
        };
        Self { shared: Arc::new(shared) }
    }

    /// Answers `GET /metrics` with what `render` returns, which is Prometheus' text format.
    #[must_use]
    pub fn metrics(mut self, render: impl Fn() -> String + Send + Sync + 'static) -> Self {
        if let Some(shared) = Arc::get_mut(&mut self.shared) {
            shared.metrics = Some(Arc::new(render));
        }
        self
    }

    /// Keeps when users were last seen. By default that is not known.
    #[must_use]
    pub fn last_seen(mut self, last_seen: impl LastSeen) -> Self {
        if let Some(shared) = Arc::get_mut(&mut self.shared) {
            shared.last_seen = Some(Arc::new(last_seen));
        }
        self
    }

    /// Limits what a client may ask of the API.
    #[must_use]
    pub fn limits(mut self, limits: impl Into<Option<Limits>>) -> Self {
        if let Some(shared) = Arc::get_mut(&mut self.shared) {
            shared.limits = limits.into();
        }
        self
    }

    /// Says that this is one of so many servers that the page shows together, by what it asks of the
    /// routes that [`router_with`](Self::router_with) is given. By default it is the only one.
    #[must_use]
    pub fn nodes(mut self, nodes: usize) -> Self {
        if let Some(shared) = Arc::get_mut(&mut self.shared) {
            shared.nodes = Some(nodes);
        }
        self
    }

    /// What this server answers for a user, `None` where there is no such user; and where from.
    ///
    /// # Errors
    ///
    /// Where the database does not answer.
    pub async fn user(&self, id: i64) -> Result<(Option<Arc<User>>, Source), Problem> {
        users::find(self, id).await
    }

    /// Changes a user as `PUT /api/v1/users/{id}` does: the user as it is then, `None` where there is no
    /// such user.
    ///
    /// # Errors
    ///
    /// Where the database does not answer, or another user has the address.
    pub async fn update_user(&self, id: i64, change: UserChange) -> Result<Option<User>, Problem> {
        users::change_user(self, id, change).await.map(|(user, _)| user)
    }

    /// What the cache of users has counted of its [bus](Stores::bus).
    #[must_use]
    pub fn bus(&self) -> InvalidationStats {
        self.shared.users.invalidation_stats()
    }

    /// The routes.
    pub fn router(self) -> Router {
        self.router_with(Router::new())
    }

    /// The routes, and more of them, which are limited like these. What they change is refused to pages
    /// of other origins.
    pub fn router_with(self, more: Router) -> Router {
        let products = Router::new()
            .route("/api/v1/products", get(products::list))
            .route("/api/v1/products/{id}", get(products::show))
            .route_layer(ResponseCache::new(self.shared.products.clone()).ttl(PRODUCTS_TTL));
        let limits = self.shared.limits.as_ref().map(Limits::layer);
        let of_accounts = Router::new()
            .route("/api/v1/signup", post(accounts::sign_up))
            .route("/api/v1/signin", post(accounts::sign_in))
            .route("/api/v1/signout", post(accounts::sign_out))
            .route("/api/v1/me", get(me::show))
            .route("/api/v1/me/sessions", get(me::sessions).delete(me::sign_out_everywhere))
            .route("/api/v1/me/seen", get(me::seen))
            .route("/api/v1/me/cart", get(me::cart).put(me::put_cart))
            .route_layer(from_fn_with_state(self.clone(), last_seen::note))
            .route_layer(self.shared.entrance.layer.clone())
            .route_layer(from_fn(same_origin::only));
        let router = Router::new()
            .merge(products)
            .merge(of_accounts)
            .route("/api/v1/users", get(users::list))
            .route("/api/v1/users/{id}", get(users::show).put(users::update).delete(users::delete))
            .route("/api/v1/config", get(settings::show))
            .route("/api/v1/stats", get(operations::stats))
            .route("/healthz", get(operations::healthz))
            .route("/readyz", get(operations::readyz))
            .route("/metrics", get(operations::metrics))
            .route("/", get(page::shop))
            .route("/shop.js", get(page::shop_script))
            .route("/account", get(page::account))
            .route("/nodes.js", get(page::nodes_script))
            .route("/account.js", get(page::account_script))
            .route("/style.css", get(page::style))
            .fallback(operations::no_such_path)
            .method_not_allowed_fallback(operations::no_such_method)
            .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
            .with_state(self);
        let more = more
            .method_not_allowed_fallback(operations::no_such_method)
            .layer(from_fn(same_origin::only));
        let router = router.merge(more);
        match limits {
            Some(limits) => router.layer(limits),
            None => router,
        }
    }
}

impl Shared {
    /// Every store once.
    pub(crate) fn stores(&self) -> Vec<&Arc<dyn Store>> {
        let apart = self.users_are_apart.then(|| self.products.store());
        std::iter::once(self.users.store()).chain(apart).collect()
    }

    /// Where requests are counted, if they are.
    pub(crate) fn counts(&self) -> Option<&Arc<dyn RateLimitStore>> {
        let of_api = self.limits.as_ref().map(Limits::store);
        of_api.or_else(|| self.entrance.limits.as_ref().map(SignInLimits::store))
    }
}

/// The app, on the runtime that the request has brought along.
impl FromRequestParts<App> for App {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Infallible> {
        Ok(match RequestRuntime::of(&parts.extensions) {
            Some(runtime) => app.on(runtime),
            None => app.clone(),
        })
    }
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App")
            .field("database", &self.shared.database)
            .field("stores", &self.shared.stores())
            .finish_non_exhaustive()
    }
}
