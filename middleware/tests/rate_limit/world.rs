//! A service to put the layer onto, and what asks it.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use http::{HeaderMap, HeaderName, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use larder_core::rate_limit::Decision;
use larder_core::{
    MemoryRateLimits, Quota, RateLimiter, RateLimiterBuilder, Runtime, VirtualRuntime,
};
use larder_http::RateLimit;
use larder_http::rate_limit::{By, RateLimitService};
use serde_json::Value;
use tower::{Layer, Service, ServiceExt};

/// Not `Sync`, as the bodies of axum.
pub(crate) type Body = UnsyncBoxBody<Bytes, Infallible>;

pub(crate) fn full(text: &'static str) -> Body {
    Full::new(Bytes::from_static(text.as_bytes())).boxed_unsync()
}

/// The service: answers by a function of the request, after a time, and counts.
#[derive(Clone)]
pub(crate) struct Origin {
    runtime: VirtualRuntime,
    answer: Arc<dyn Fn(Request<()>) -> Response<Body> + Send + Sync>,
    takes_micros: Arc<AtomicU64>,
    calls: Arc<AtomicUsize>,
}

impl Origin {
    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

impl Service<Request<()>> for Origin {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let response = (self.answer)(request);
        let pause =
            self.runtime.sleep(Duration::from_micros(self.takes_micros.load(Ordering::SeqCst)));
        async move {
            pause.await;
            Ok(response)
        }
        .boxed()
    }
}

/// What came back, read to its end.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        self.header(name).map(|value| value.parse().unwrap())
    }

    pub(crate) fn problem(&self) -> Value {
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        assert_eq!(self.header("cache-control"), Some("no-store"));
        let problem: Value = serde_json::from_slice(&self.body).unwrap();
        assert_eq!(problem["status"], self.status.as_u16());
        problem
    }
}

/// The layer around an [`Origin`], on a virtual clock.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) runtime: VirtualRuntime,
    pub(crate) limiter: RateLimiter,
    pub(crate) origin: Origin,
    pub(crate) service: RateLimitService<Origin>,
}

impl World {
    /// By the header `who`.
    pub(crate) fn new(quotas: impl IntoIterator<Item = Quota>) -> Self {
        Self::layered(quotas, |layer| layer)
    }

    pub(crate) fn layered(
        quotas: impl IntoIterator<Item = Quota>,
        layer: impl FnOnce(RateLimit) -> RateLimit,
    ) -> Self {
        let runtime = VirtualRuntime::seeded(1);
        let mut limiter = RateLimiter::builder(MemoryRateLimits::builder().on(runtime.clone()));
        for quota in quotas {
            limiter = limiter.quota(quota);
        }
        Self::on(&runtime, limiter, layer)
    }

    pub(crate) fn on(
        runtime: &VirtualRuntime,
        limiter: RateLimiterBuilder,
        layer: impl FnOnce(RateLimit) -> RateLimit,
    ) -> Self {
        let limiter = limiter.build().unwrap();
        let answer = |request: Request<()>| {
            let mut response = Response::new(full("hello"));
            if let Some(decision) = request.extensions().get::<Decision>() {
                let left = format!("{:?}", decision.remaining()).parse().unwrap();
                response.headers_mut().insert("x-left-inside", left);
            }
            if let Some(status) = request.headers().get("status") {
                *response.status_mut() = StatusCode::from_bytes(status.as_bytes()).unwrap();
            }
            response
        };
        let origin = Origin {
            runtime: runtime.clone(),
            answer: Arc::new(answer),
            takes_micros: Arc::default(),
            calls: Arc::default(),
        };
        let by = By::header(HeaderName::from_static("who"));
        let layer = layer(RateLimit::new(limiter.clone()).by(by));
        let service = layer.layer(origin.clone());
        Self { runtime: runtime.clone(), limiter, origin, service }
    }

    /// The service takes so long from now on.
    pub(crate) fn takes(&self, time: Duration) {
        self.origin.takes_micros.store(u64::try_from(time.as_micros()).unwrap(), Ordering::SeqCst);
    }

    pub(crate) fn run<T>(&self, test: impl AsyncFnOnce(Self) -> T) -> T {
        self.runtime.block_on(test(self.clone()))
    }

    pub(crate) async fn ask(&self, request: Request<()>) -> Seen {
        read(self.service.clone().oneshot(request).await.unwrap()).await
    }

    /// As somebody.
    pub(crate) async fn ask_as(&self, who: &str) -> Seen {
        self.ask(request(&[("who", who)])).await
    }
}

pub(crate) async fn read<B>(response: Response<B>) -> Seen
where
    B: http_body::Body<Data = Bytes, Error: std::fmt::Debug>,
{
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Seen { status: head.status, headers: head.headers, body }
}

pub(crate) fn request(lines: &[(&str, &str)]) -> Request<()> {
    let mut request = Request::get("/");
    for (name, value) in lines {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap()
}
