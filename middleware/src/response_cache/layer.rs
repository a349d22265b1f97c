use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use larder_core::{Cache, Layout, Runtime, millis, minutes, seconds};
use tower_layer::Layer;

use super::ResponseCacheService;
use super::key::Keys;
use super::meter::Meter;
use super::responses::Responses;
use super::uncacheable::Uncacheable;
use crate::policy::RequestRules;

/// The layer that caches responses: see the [module](super).
///
/// ```
/// use larder_core::{Cache, MemoryStore, seconds};
/// use larder_http::ResponseCache;
///
/// let cache = Cache::builder(MemoryStore::new()).build()?;
/// let layer = ResponseCache::new(cache).ttl(seconds(30)).max_body_bytes(256 << 10);
/// # let _ = layer;
/// # Ok::<(), larder_core::Error>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "a layer does nothing until it is put onto a service"]
pub struct ResponseCache {
    // Shared at once: axum puts its layers onto a route for every request, unless the router was
    // given its state before.
    shared: Arc<Shared>,
}

#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) cache: Cache,
    pub(super) keys: Keys,
    pub(super) rules: RequestRules,
    pub(super) ttl: Duration,
    pub(super) max_body_bytes: usize,
    pub(super) max_wait: Duration,
}

/// What the services of one layer learn together.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) meter: Meter,
    pub(super) uncacheable: Uncacheable,
}

/// What the layer, its services and their futures share.
#[derive(Debug, Clone)]
pub(super) struct Shared {
    pub(super) settings: Settings,
    pub(super) seen: Arc<Seen>,
}

impl Settings {
    pub(super) fn is_plain(&self) -> bool {
        matches!(self.cache.layout(), Layout::Plain)
    }
}

impl Shared {
    /// The same, for a request that has a runtime of its own.
    pub(super) fn on(&self, runtime: &Arc<dyn Runtime>) -> Self {
        let mut shared = self.clone();
        shared.settings.cache = shared.settings.cache.on(Arc::clone(runtime));
        shared
    }
}

impl ResponseCache {
    /// A layer that keeps responses in `cache`.
    ///
    /// The form of keys and values follows from the cache's [`Layout`].
    pub fn new(cache: Cache) -> Self {
        let seen = Seen { meter: Meter::new(cache.name()), uncacheable: Uncacheable::default() };
        let settings = Settings {
            keys: Keys::new(&cache),
            rules: RequestRules::default(),
            ttl: minutes(1),
            max_body_bytes: 1 << 20,
            max_wait: seconds(10),
            cache: cache.with_read_timeout(millis(500)),
        };
        Self { shared: Arc::new(Shared { settings, seen: Arc::new(seen) }) }
    }

    /// Where its responses stand.
    pub(crate) fn responses(&self) -> Responses {
        let Settings { cache, keys, .. } = &self.shared.settings;
        Responses { cache: cache.clone(), keys: keys.clone() }
    }

    fn settings(&mut self) -> &mut Settings {
        &mut Arc::make_mut(&mut self.shared).settings
    }

    /// How long a response lives that does not say so itself, in `Cache-Control` or `Expires`.
    /// A minute by default; zero stores only those that say so.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.settings().ttl = ttl;
        self
    }

    /// The largest body that is stored, in bytes. 1 MiB by default. Larger ones are passed on as
    /// they come.
    ///
    /// Up to as many bytes are held in memory for every response that is being stored.
    pub fn max_body_bytes(mut self, bytes: usize) -> Self {
        self.settings().max_body_bytes = bytes;
        self
    }

    /// How long a request waits for the answer to another one for the same, before it is passed to
    /// the service itself. 10 seconds by default; with zero none ever waits.
    ///
    /// It is the service's slowest answer that should be waited for; but a client that reads slowly
    /// holds up those who wait for its response as well.
    pub fn max_wait(mut self, wait: Duration) -> Self {
        self.settings().max_wait = wait;
        self
    }

    /// How long a look into the store may take before it counts as a miss. 500 ms by default.
    /// Does not apply to stores in this process.
    ///
    /// A request looks once, and once more for a response with `Vary`.
    pub fn lookup_timeout(mut self, timeout: Duration) -> Self {
        let settings = self.settings();
        settings.cache = settings.cache.with_read_timeout(timeout);
        self
    }

    /// Whether requests with `Authorization` use the cache too. They do not by default.
    ///
    /// The answer to one such request is then given to everybody who asks for the same, with or
    /// without credentials: right only where the credentials do not change the answer, or where
    /// [`key`](Self::key) or the response's `Vary` tell them apart.
    pub fn cache_authorized(mut self, yes: bool) -> Self {
        self.settings().rules.cache_authorized = yes;
        self
    }

    /// What every key begins with, before a `:`. `http-cache` by default.
    pub fn key_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.settings().keys.set_prefix(prefix.into());
        self
    }

    /// Makes the key from the request's head, in place of the default; it stands after the prefix.
    /// A request without a key passes by the cache.
    ///
    /// Called for GET and HEAD, which must have the same key. Two requests that may get different
    /// answers must have different keys, unless the response's `Vary` tells them apart.
    ///
    /// ```
    /// use larder_core::{Cache, MemoryStore};
    /// use larder_http::ResponseCache;
    ///
    /// let cache = Cache::builder(MemoryStore::new()).build()?;
    /// // One answer per tenant and path, whatever the query says.
    /// let layer = ResponseCache::new(cache).key(|request| {
    ///     let tenant = request.headers.get("x-tenant")?.to_str().ok()?;
    ///     Some(format!("{tenant}:{}", request.uri.path()))
    /// });
    /// # let _ = layer;
    /// # Ok::<(), larder_core::Error>(())
    /// ```
    pub fn key(mut self, key: impl Fn(&Parts) -> Option<String> + Send + Sync + 'static) -> Self {
        self.settings().keys.set_maker(Arc::new(key));
        self
    }
}

impl<S> Layer<S> for ResponseCache {
    type Service = ResponseCacheService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        ResponseCacheService::new(inner, Arc::clone(&self.shared))
    }
}
