use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{Response, response};
use larder_core::RateLimiter;
use tower_layer::Layer;

use super::meter::Meter;
use super::{By, ClientIp, Dialect, RateLimitService, Refusal};

/// The layer that limits requests: see the [module](super).
///
/// ```
/// use larder_core::{MemoryRateLimits, Quota, RateLimiter};
/// use larder_http::RateLimit;
/// use larder_http::rate_limit::ClientIp;
///
/// let limiter =
///     RateLimiter::builder(MemoryRateLimits::new()).quota(Quota::per_minute(100)).build()?;
/// let layer = RateLimit::new(limiter).by(ClientIp::behind_proxies(1));
/// # let _ = layer;
/// # Ok::<(), larder_core::Error>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "a layer does nothing until it is put onto a service"]
pub struct RateLimit {
    // Shared at once: axum puts its layers onto a route for every request, unless the router was
    // given its state before.
    shared: Arc<Shared>,
}

type RequestTest = Arc<dyn Fn(&Parts) -> bool + Send + Sync>;
type RequestCost = Arc<dyn Fn(&Parts) -> u64 + Send + Sync>;
type ResponseRefund = Arc<dyn Fn(&response::Parts, u64) -> u64 + Send + Sync>;
type Answer = Arc<dyn Fn(&Refusal<'_>) -> Response<Bytes> + Send + Sync>;

/// What the layer, its services and their futures share.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) limiter: RateLimiter,
    pub(super) by: By,
    pub(super) missing_key: MissingKey,
    pub(super) dialects: Vec<Dialect>,
    pub(super) skip: Option<RequestTest>,
    pub(super) cost: Option<RequestCost>,
    pub(super) refund: Option<ResponseRefund>,
    pub(super) answer: Option<Answer>,
    pub(super) meter: Arc<Meter>,
}

/// What happens to a request that has no key: its address cannot be known, or it lacks the header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum MissingKey {
    /// It is refused: with 500 where its address is not known, as that is the server's doing, else
    /// with 400. A limit that can be escaped by leaving something out is none.
    #[default]
    Refuse,
    /// All such requests share the key `unknown`, which no other request has: one that sends that
    /// as its key is counted by its hash.
    Share,
    /// It is not limited.
    Allow,
}

impl RateLimit {
    /// A layer that asks `limiter`, by the address of the [peer](ClientIp::peer) unless told
    /// otherwise.
    ///
    /// A route that is to have a limit of its own is given a layer of its own, with the limiter's
    /// [`with_quotas`](RateLimiter::with_quotas) or with another limiter.
    pub fn new(limiter: RateLimiter) -> Self {
        let shared = Shared {
            meter: Arc::new(Meter::new(limiter.name())),
            limiter,
            by: ClientIp::peer().into(),
            missing_key: MissingKey::default(),
            dialects: vec![Dialect::X_RATE_LIMIT],
            skip: None,
            cost: None,
            refund: None,
            answer: None,
        };
        Self { shared: Arc::new(shared) }
    }

    fn shared(&mut self) -> &mut Shared {
        Arc::make_mut(&mut self.shared)
    }

    /// What requests are counted by.
    pub fn by(mut self, by: impl Into<By>) -> Self {
        self.shared().by = by.into();
        self
    }

    /// What happens to a request without a key. [`MissingKey::Refuse`] by default.
    pub fn missing_key(mut self, policy: MissingKey) -> Self {
        self.shared().missing_key = policy;
        self
    }

    /// Requests that are not limited, by a function of their head.
    ///
    /// ```
    /// # use larder_core::{MemoryRateLimits, Quota, RateLimiter};
    /// # use larder_http::RateLimit;
    /// # let limiter =
    /// #     RateLimiter::builder(MemoryRateLimits::new()).quota(Quota::per_minute(100)).build()?;
    /// let layer = RateLimit::new(limiter).skip(|request| request.method == http::Method::OPTIONS);
    /// # let _ = layer;
    /// # Ok::<(), larder_core::Error>(())
    /// ```
    pub fn skip(mut self, skip: impl Fn(&Parts) -> bool + Send + Sync + 'static) -> Self {
        self.shared().skip = Some(Arc::new(skip));
        self
    }

    /// What a request costs, by a function of its head; 1 by default. One that costs nothing is let
    /// through unless its key is blocked.
    ///
    /// ```
    /// # use larder_core::{MemoryRateLimits, Quota, RateLimiter};
    /// # use larder_http::RateLimit;
    /// # let limiter =
    /// #     RateLimiter::builder(MemoryRateLimits::new()).quota(Quota::per_minute(100)).build()?;
    /// let layer = RateLimit::new(limiter).cost(|request| match request.uri.path() {
    ///     "/export" => 30,
    ///     _ => 1,
    /// });
    /// # let _ = layer;
    /// # Ok::<(), larder_core::Error>(())
    /// ```
    pub fn cost(mut self, cost: impl Fn(&Parts) -> u64 + Send + Sync + 'static) -> Self {
        self.shared().cost = Some(Arc::new(cost));
        self
    }

    /// How much of what a request took is given back, by a function of the response's head and of
    /// what was taken, once the response is there. Nothing by default. Where there is such a
    /// function and the service ends with an error in place of a response, all of it is.
    ///
    /// The response's headers tell what was left before. What is given back after its fixed window
    /// has ended goes to the next one. Where the client goes away before the response is there,
    /// nothing is given back.
    ///
    /// ```
    /// # use larder_core::{MemoryRateLimits, Quota, RateLimiter};
    /// # use larder_http::RateLimit;
    /// # let limiter =
    /// #     RateLimiter::builder(MemoryRateLimits::new()).quota(Quota::per_minute(100)).build()?;
    /// // What failed by no fault of the client's does not count.
    /// let layer = RateLimit::new(limiter).refund(|response, taken| {
    ///     if response.status.is_server_error() { taken } else { 0 }
    /// });
    /// # let _ = layer;
    /// # Ok::<(), larder_core::Error>(())
    /// ```
    pub fn refund(
        mut self,
        refund: impl Fn(&response::Parts, u64) -> u64 + Send + Sync + 'static,
    ) -> Self {
        self.shared().refund = Some(Arc::new(refund));
        self
    }

    /// In which dialects responses tell what is left; [`Dialect::X_RATE_LIMIT`] by default, and
    /// with an empty list none. A refusal has `Retry-After` all the same.
    pub fn headers(mut self, dialects: impl IntoIterator<Item = Dialect>) -> Self {
        self.shared().dialects = dialects.into_iter().collect();
        self
    }

    /// Answers those that are refused, in place of [`Refusal::response`]. The headers of the limit
    /// are added to what it returns, and `Retry-After` where it has none.
    ///
    /// ```
    /// # use larder_core::{MemoryRateLimits, Quota, RateLimiter};
    /// # use larder_http::RateLimit;
    /// # let limiter =
    /// #     RateLimiter::builder(MemoryRateLimits::new()).quota(Quota::per_minute(100)).build()?;
    /// let layer = RateLimit::new(limiter).on_refusal(|refusal| {
    ///     let mut response = http::Response::new("Slow down, please.".into());
    ///     *response.status_mut() = refusal.status();
    ///     response
    /// });
    /// # let _ = layer;
    /// # Ok::<(), larder_core::Error>(())
    /// ```
    pub fn on_refusal(
        mut self,
        answer: impl Fn(&Refusal<'_>) -> Response<Bytes> + Send + Sync + 'static,
    ) -> Self {
        self.shared().answer = Some(Arc::new(answer));
        self
    }
}

impl<S> Layer<S> for RateLimit {
    type Service = RateLimitService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        RateLimitService::new(inner, Arc::clone(&self.shared))
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("limiter", &self.limiter)
            .field("by", &self.by)
            .field("missing_key", &self.missing_key)
            .field("dialects", &self.dialects)
            .finish_non_exhaustive()
    }
}
