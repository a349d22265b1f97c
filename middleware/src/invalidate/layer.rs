use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::{request, response};
use larder_core::{Cache, Error, EventMap, Runtime, Targets, seconds};
use matchit::Router;
use tower_layer::Layer;

use super::meter::Meter;
use super::{Change, InvalidateService};
use crate::ResponseCache;
use crate::key_text::whole_uri;
use crate::response_cache::Responses;

/// The layer that invalidates after a request that changed something: see the [module](super).
///
/// ```
/// use larder_core::{Cache, EventMap, MemoryStore, Targets, millis};
/// use larder_http::Invalidate;
///
/// /// A product was changed.
/// struct Changed(u64);
///
/// let cache = Cache::builder(MemoryStore::new()).build()?;
/// let stale_by = EventMap::<Changed>::new().on(|Changed(id)| Targets::new().tag(format!("product:{id}")));
/// let layer = Invalidate::new(cache, stale_by)
///     .on("/products/{id}", |change| change.parse("id").map(Changed))?
///     .on("/products/{id}/{*part}", |change| change.parse("id").map(Changed))?
///     .timeout(millis(500))
///     .tell(true);
/// # let _ = layer;
/// # Ok::<(), larder_core::Error>(())
/// ```
#[must_use = "a layer does nothing until it is put onto a service"]
pub struct Invalidate<E> {
    map: EventMap<E>,
    // Shared at once: axum puts its layers onto a route for every request, unless the router was
    // given its state before.
    shared: Arc<Shared>,
}

/// What the layer, its services and their futures share.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) cache: Cache,
    rules: Vec<Rule>,
    responses: Vec<Responses>,
    pub(super) timeout: Duration,
    pub(super) finish: Duration,
    pub(super) tells: bool,
    pub(super) meter: Arc<Meter>,
}

/// What is stale after a change at some paths.
#[derive(Clone)]
struct Rule {
    paths: Router<()>,
    stale: Arc<dyn Fn(&Change<'_>) -> Targets + Send + Sync>,
}

impl Invalidate<Targets> {
    /// A layer whose rules name keys, patterns and tags of `cache` themselves, without events.
    ///
    /// ```
    /// use larder_core::{Cache, MemoryStore, Targets};
    /// use larder_http::Invalidate;
    ///
    /// let cache = Cache::builder(MemoryStore::new()).build()?;
    /// let layer = Invalidate::targets(cache)
    ///     .on("/settings", |_| Some(Targets::new().key("settings")))?;
    /// # let _ = layer;
    /// # Ok::<(), larder_core::Error>(())
    /// ```
    pub fn targets(cache: Cache) -> Self {
        Self::new(cache, EventMap::new().on(Targets::clone))
    }
}

impl<E: 'static> Invalidate<E> {
    /// A layer that removes from `cache` what events make stale by `map`. Which request is which event
    /// is for [`on`](Self::on) to say.
    pub fn new(cache: Cache, map: EventMap<E>) -> Self {
        let shared = Shared {
            rules: Vec::new(),
            responses: Vec::new(),
            timeout: seconds(2),
            finish: seconds(30),
            tells: false,
            meter: Arc::new(Meter::new(cache.name())),
            cache,
        };
        Self { map, shared: Arc::new(shared) }
    }

    /// Says which events an unsafe request at `path` is, when it was answered with 2xx or 3xx: one in
    /// an [`Option`], or several in a list. Where several paths match, all of them count.
    ///
    /// In `path`, `{name}` stands for a part between slashes and `{*name}` for the rest, as in axum's
    /// routes; a brace itself is `{{` or `}}`.
    ///
    /// `events` runs between the change and the answer: it should decide, and wait for nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for a path that cannot be read so.
    pub fn on<I: IntoIterator<Item = E>>(
        mut self,
        path: &str,
        events: impl Fn(&Change<'_>) -> I + Send + Sync + 'static,
    ) -> Result<Self, Error> {
        let mut paths = Router::new();
        let problem = match path.starts_with('/') {
            true => paths.insert(path, ()).err().map(|error| error.to_string()),
            false => Some("it does not begin with a slash".into()),
        };
        if let Some(problem) = problem {
            let problem = format!("the path {path:?} matches nothing: {problem}");
            return Err(Error::Config { setting: "Invalidate::on", problem });
        }
        let map = self.map.clone();
        let stale = move |change: &Change<'_>| {
            events(change).into_iter().map(|event| map.targets(&event)).collect()
        };
        self.shared().rules.push(Rule { paths, stale: Arc::new(stale) });
        Ok(self)
    }

    /// Removes responses to GET from this response cache too: those of the URI that an unsafe request
    /// was made to, and of what its answer names in `Location` and `Content-Location` (RFC 9111 §4.4).
    ///
    /// The layer given is the one that stands on the routes, or a clone of it: from it the form of the
    /// keys is known.
    ///
    /// ```
    /// use axum::{Router, routing::get};
    /// use larder_core::{Cache, MemoryStore};
    /// use larder_http::{Invalidate, ResponseCache};
    ///
    /// let cache = Cache::builder(MemoryStore::new()).build()?;
    /// let responses = ResponseCache::new(cache.clone());
    /// let app: Router = Router::new()
    ///     .route("/products/{id}", get(|| async { "a pear" }).put(|| async { "a plum" }))
    ///     .layer(Invalidate::targets(cache).responses(&responses))
    ///     .layer(responses);
    /// # let _ = app;
    /// # Ok::<(), larder_core::Error>(())
    /// ```
    pub fn responses(mut self, layer: &ResponseCache) -> Self {
        self.shared().responses.push(layer.responses());
        self
    }

    /// How long an answer waits for the invalidation. 2 seconds by default. What takes longer goes on
    /// in the background.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.shared().timeout = timeout;
        self
    }

    /// How long the service and the invalidation may go on in the background when nobody waits for the
    /// answer any more. 30 seconds by default, which is what Workers allow; with zero, not at all.
    pub fn finish(mut self, limit: Duration) -> Self {
        self.shared().finish = limit;
        self
    }

    /// Whether an answer tells in `X-Invalidation` what came of it: `done`, `late` or `failed`. It does
    /// not by default. Without anything to invalidate there is no such field.
    pub fn tell(mut self, yes: bool) -> Self {
        self.shared().tells = yes;
        self
    }

    fn shared(&mut self) -> &mut Shared {
        Arc::make_mut(&mut self.shared)
    }
}

impl Shared {
    /// The same, for a request that has a runtime of its own.
    pub(super) fn on(&self, runtime: &Arc<dyn Runtime>) -> Self {
        let mut shared = self.clone();
        shared.cache = shared.cache.on(Arc::clone(runtime));
        shared.responses = shared.responses.iter().map(|it| it.on(runtime)).collect();
        shared
    }

    /// What is stale, and where.
    pub(super) fn stale(
        &self,
        request: &request::Parts,
        response: &response::Parts,
    ) -> Vec<(Cache, Targets)> {
        let path = whole_uri(request).path();
        let of_rules = self.rules.iter().filter_map(|rule| {
            let params = rule.paths.at(path).ok()?.params;
            Some((rule.stale)(&Change::new(request, response, params)))
        });
        let mut stale = vec![(self.cache.clone(), of_rules.collect())];
        stale.extend(self.responses.iter().map(|it| it.changed_by(request, response)));
        stale.retain(|(_, targets)| !targets.is_empty());
        stale
    }
}

impl<E> Clone for Invalidate<E> {
    fn clone(&self) -> Self {
        Self { map: self.map.clone(), shared: Arc::clone(&self.shared) }
    }
}

impl<E> fmt::Debug for Invalidate<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Invalidate").field("shared", &self.shared).finish_non_exhaustive()
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("cache", &self.cache)
            .field("rules", &self.rules.len())
            .field("responses", &self.responses)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

impl<S, E> Layer<S> for Invalidate<E> {
    type Service = InvalidateService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        InvalidateService::new(inner, Arc::clone(&self.shared))
    }
}
