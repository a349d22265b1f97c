use std::sync::Arc;

use http::Request;
use larder_core::Runtime;

/// The runtime of one request, which brings it along as an extension.
///
/// On Workers timers and background work belong to a request, while layers and their caches
/// outlive it. A layer of this crate that finds the extension works on that runtime for this
/// request; without it, on the one that its cache was built on. Natively nobody needs it.
///
/// In a Worker the router is kept, and each request is given its runtime. With larder-kv,
/// `runtime` is `WorkerRuntime::new(&ctx)`:
///
/// ```
/// use std::convert::Infallible;
/// use std::sync::OnceLock;
///
/// use axum::{Router, body::Body, routing::get};
/// use http::{Request, Response};
/// use larder_core::{Cache, Runtime, Store};
/// use larder_http::{RequestRuntime, ResponseCache};
/// use tower::ServiceExt;
///
/// // With everything that requests share: what is cached, counted and under way.
/// static ROUTER: OnceLock<Router> = OnceLock::new();
///
/// fn router(open: impl FnOnce() -> larder_core::Result<Cache>) -> larder_core::Result<Router> {
///     if let Some(router) = ROUTER.get() {
///         return Ok(router.clone());
///     }
///     let router = Router::new()
///         .route("/fruits", get(|| async { "apples and pears" }))
///         .layer(ResponseCache::new(open()?));
///     Ok(ROUTER.get_or_init(|| router).clone())
/// }
///
/// async fn serve(
///     request: Request<Body>,
///     runtime: impl Runtime,
///     open: impl FnOnce() -> larder_core::Result<Cache>,
/// ) -> larder_core::Result<Response<Body>> {
///     let request = RequestRuntime::new(runtime).attach(request);
///     Ok(match router(open)?.oneshot(request).await {
///         Ok(response) => response,
///         Err(never) => match never {},
///     })
/// }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let runtime = larder_core::SystemRuntime::default();
/// # let open = || Cache::builder(larder_core::MemoryStore::new()).build();
/// # for word in ["MISS", "HIT"] {
/// #     let request = Request::get("http://shop.example/fruits").body(Body::empty())?;
/// #     let response = serve(request, runtime.clone(), open).await?;
/// #     assert_eq!(response.headers()["x-cache"], word);
/// #     axum::body::to_bytes(response.into_body(), usize::MAX).await?;
/// # }
/// # Ok(()) }
/// ```
///
/// A handler that uses a [`Cache`](larder_core::Cache) itself takes the extension too, and calls
/// [`Cache::on`](larder_core::Cache::on).
#[derive(Debug, Clone)]
pub struct RequestRuntime(Arc<dyn Runtime>);

impl RequestRuntime {
    /// The runtime of a request.
    ///
    /// ```
    /// use larder_core::SystemRuntime;
    /// use larder_http::RequestRuntime;
    ///
    /// let runtime = RequestRuntime::new(SystemRuntime::default());
    /// let request = runtime.attach(http::Request::new(()));
    /// assert!(RequestRuntime::of(request.extensions()).is_some());
    /// ```
    pub fn new(runtime: impl Runtime) -> Self {
        Self(Arc::new(runtime))
    }

    /// The request, with this runtime for every layer and handler.
    #[must_use]
    pub fn attach<B>(self, mut request: Request<B>) -> Request<B> {
        request.extensions_mut().insert(self);
        request
    }

    /// The runtime that a request has brought along, by the request's extensions.
    pub fn of(extensions: &http::Extensions) -> Option<&Arc<dyn Runtime>> {
        extensions.get::<Self>().map(|Self(runtime)| runtime)
    }
}
