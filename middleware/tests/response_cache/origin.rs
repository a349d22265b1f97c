//! A service to put the layer onto, and what asks it.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use larder_core::{Cache, CacheBuilder, MemoryStore, Runtime, VirtualRuntime, millis};
use larder_http::ResponseCache;
use larder_http::response_cache::{ResponseBody, ResponseCacheService};
use tower::{Layer, Service, ServiceExt};

/// Not `Sync`, as the bodies of axum.
pub(crate) type Body = UnsyncBoxBody<Bytes, io::Error>;
pub(crate) type Answer = Response<Body>;

pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

pub(crate) fn text(body: &'static str) -> Answer {
    Response::new(full(body))
}

/// A response with these header lines.
pub(crate) fn with(body: &'static str, lines: &[(&'static str, &'static str)]) -> Answer {
    let mut response = text(body);
    for (name, value) in lines {
        response.headers_mut().append(*name, value.parse().unwrap());
    }
    response
}

/// The service: answers by a function of the request, and counts.
#[derive(Clone)]
pub(crate) struct Origin {
    answer: Arc<dyn Fn(Request<()>) -> BoxFuture<'static, Answer> + Send + Sync>,
    calls: Arc<AtomicUsize>,
}

impl Origin {
    pub(crate) fn new(answer: impl Fn(Request<()>) -> Answer + Send + Sync + 'static) -> Self {
        Self::with_future(move |request| std::future::ready(answer(request)))
    }

    pub(crate) fn with_future<F>(answer: impl Fn(Request<()>) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Answer> + Send + 'static,
    {
        Self { answer: Arc::new(move |request| Box::pin(answer(request))), calls: Arc::default() }
    }

    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

impl Service<Request<()>> for Origin {
    type Response = Answer;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Answer, Infallible>>;

    fn poll_ready(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Infallible>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let answer = (self.answer)(request);
        Box::pin(async { Ok(answer.await) })
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
    pub(crate) fn cache(&self) -> &str {
        self.header("x-cache").unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

/// The layer around an [`Origin`], on a virtual clock.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) runtime: VirtualRuntime,
    pub(crate) cache: Cache,
    pub(crate) origin: Origin,
    pub(crate) service: ResponseCacheService<Origin>,
}

impl World {
    pub(crate) fn new(origin: Origin) -> Self {
        Self::layered(origin, |layer| layer)
    }

    pub(crate) fn layered(
        origin: Origin,
        layer: impl FnOnce(ResponseCache) -> ResponseCache,
    ) -> Self {
        let runtime = VirtualRuntime::seeded(1);
        let store = MemoryStore::builder().on(runtime.clone());
        Self::on(&runtime, Cache::builder(store), origin, layer)
    }

    pub(crate) fn on(
        runtime: &VirtualRuntime,
        cache: CacheBuilder,
        origin: Origin,
        layer: impl FnOnce(ResponseCache) -> ResponseCache,
    ) -> Self {
        let cache = cache.build().unwrap();
        let service = layer(ResponseCache::new(cache.clone())).layer(origin.clone());
        Self { runtime: runtime.clone(), cache, origin, service }
    }

    pub(crate) fn run<T>(&self, test: impl AsyncFnOnce(Self) -> T) -> T {
        self.runtime.block_on(test(self.clone()))
    }

    /// Asks, and has the response's head.
    pub(crate) async fn head_of(&self, request: Request<()>) -> Response<ResponseBody<Body>> {
        self.service.clone().oneshot(request).await.unwrap()
    }

    /// Asks, reads the body to its end, and lets the store be written.
    pub(crate) async fn ask(&self, request: Request<()>) -> Seen {
        let seen = read(self.head_of(request).await).await.unwrap();
        self.settle().await;
        seen
    }

    pub(crate) async fn get(&self, uri: &str) -> Seen {
        self.ask(get(uri, &[])).await
    }

    /// Lets the background work run.
    pub(crate) async fn settle(&self) {
        self.runtime.sleep(millis(1)).await;
    }
}

pub(crate) async fn read(response: Response<ResponseBody<Body>>) -> io::Result<Seen> {
    let (head, body) = response.into_parts();
    let body = body.collect().await?.to_bytes();
    Ok(Seen { status: head.status, headers: head.headers, body })
}

pub(crate) fn get(uri: &str, lines: &[(&str, &str)]) -> Request<()> {
    request(Method::GET, uri, lines)
}

pub(crate) fn request(method: Method, uri: &str, lines: &[(&str, &str)]) -> Request<()> {
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in lines {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap()
}

/// Hands out the given answers one after the other, the last one for ever.
pub(crate) fn in_turn(answers: Vec<fn() -> Answer>) -> Origin {
    let answers = Mutex::new(answers.into_iter().peekable());
    Origin::new(move |_| {
        let mut answers = answers.lock().unwrap();
        let answer = *answers.peek().unwrap();
        if answers.len() > 1 {
            answers.next();
        }
        answer()
    })
}
