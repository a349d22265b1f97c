//! The clock, timers and background work of one request.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures::channel::oneshot;
use futures::future::BoxFuture;
use larder_core::{Runtime, Timestamp};
use worker::Context;
use worker::send::SendFuture;
use worker::wasm_bindgen::{JsCast, JsValue};
use worker::worker_sys::Context as JsContext;

use crate::js;

/// How many calls of KV and Durable Objects Larder makes for one request, unless told otherwise.
///
/// Workers allows 1,000; the rest is the request's own.
const CALLS: u32 = 900;

/// The runtime of one request on Workers.
///
/// - **Clock**: `Date.now`. It stands still between two I/O operations, as everywhere on Workers.
/// - **Timers**: `setTimeout`. They belong to the request that waits for them.
/// - **Background work**: [`spawn`](Runtime::spawn) goes on after the response, for up to 30 s, by
///   [`ctx.waitUntil`](https://developers.cloudflare.com/workers/runtime-apis/context/#waituntil).
/// - **Calls**: a request may make
///   [1,000](https://developers.cloudflare.com/kv/platform/limits/) calls of other services. Larder
///   counts its own and stops at [`calls`](Self::calls) with [`StoreErrorKind::Exhausted`], so that the handler can still
///   do its work.
///
/// A cache that outlives the request, which it must for requests to share a load, is bound to each
/// request by [`Cache::on`]:
///
/// ```no_run
/// use std::sync::{Arc, OnceLock};
///
/// use larder_core::{Cache, minutes};
/// use larder_kv::{KvStore, WorkerRuntime};
/// use worker::{Context, Env, Request, Response, Result, event};
///
/// static CACHE: OnceLock<Cache> = OnceLock::new();
///
/// fn cache(env: &Env, runtime: &WorkerRuntime) -> Result<Cache> {
///     let cache = match CACHE.get() {
///         Some(cache) => cache,
///         None => {
///             let store = KvStore::open(env, "CACHE", runtime).map_err(|e| e.to_string())?;
///             let built = Cache::builder(store).ttl(minutes(5)).build();
///             CACHE.get_or_init(|| built.expect("its settings are constant"))
///         }
///     };
///     Ok(cache.on(Arc::new(runtime.clone())))
/// }
/// # async fn count() -> std::io::Result<u64> { Ok(1) }
///
/// async fn fetch(request: Request, env: Env, ctx: Context) -> Result<Response> {
///     let runtime = WorkerRuntime::new(&ctx);
///     let cache = cache(&env, &runtime)?;
///     let users = cache.get_or_load("users", count).await.map_err(|e| e.to_string())?;
///     Response::ok(users.to_string())
/// }
/// ```
///
/// [`Cache::on`]: larder_core::Cache::on
/// [`StoreErrorKind::Exhausted`]: larder_core::StoreErrorKind::Exhausted
#[derive(Clone)]
pub struct WorkerRuntime {
    request: Arc<Request>,
}

struct Request {
    context: Context,
    calls_left: AtomicU32,
}

impl WorkerRuntime {
    /// The runtime of the request that `context` belongs to.
    ///
    /// ```no_run
    /// # fn handler(ctx: worker::Context) {
    /// use larder_kv::WorkerRuntime;
    ///
    /// let runtime = WorkerRuntime::new(&ctx);
    /// # }
    /// ```
    #[must_use]
    pub fn new(context: &Context) -> Self {
        Self::with_calls(context, CALLS)
    }

    /// [`new`](Self::new), with another number of calls of KV and Durable Objects that Larder may
    /// make for the request; 900 by default.
    ///
    /// ```no_run
    /// # fn handler(ctx: worker::Context) {
    /// use larder_kv::WorkerRuntime;
    ///
    /// // The Worker's `limits.subrequests` allows 10,000.
    /// let runtime = WorkerRuntime::with_calls(&ctx, 9_000);
    /// # }
    /// ```
    #[must_use]
    pub fn with_calls(context: &Context, calls: u32) -> Self {
        let context: &JsContext = context.as_ref();
        let context: &JsValue = context.as_ref();
        let context = Context::new(context.clone().unchecked_into());
        Self { request: Arc::new(Request { context, calls_left: AtomicU32::new(calls) }) }
    }

    /// How many calls of KV and Durable Objects Larder may still make for this request.
    ///
    /// ```no_run
    /// # fn handler(ctx: worker::Context) {
    /// use larder_kv::WorkerRuntime;
    ///
    /// assert_eq!(WorkerRuntime::new(&ctx).calls(), 900);
    /// # }
    /// ```
    #[must_use]
    pub fn calls(&self) -> u32 {
        self.request.calls_left.load(Ordering::Relaxed)
    }

    /// Runs `work` to its end whether or not the client stays, and hands its output back.
    ///
    /// Workers ends a request without a trace when its client goes away. A request that loads a
    /// value for others must not end so: those who wait would have to give up and begin anew. Wrap
    /// the whole handler.
    ///
    /// # Errors
    ///
    /// Where `work` panicked, or the Worker was reset.
    ///
    /// ```no_run
    /// use larder_kv::WorkerRuntime;
    /// use worker::{Context, Env, Request, Response, Result};
    ///
    /// # async fn handle(request: Request, env: Env) -> Result<Response> { Response::empty() }
    /// async fn fetch(request: Request, env: Env, ctx: Context) -> Result<Response> {
    ///     WorkerRuntime::new(&ctx).run_to_end(handle(request, env)).await?
    /// }
    /// ```
    pub async fn run_to_end<F>(&self, work: F) -> worker::Result<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        let (done, output) = oneshot::channel();
        self.request.context.wait_until(async move {
            // Nobody is left to hear it when the client has gone.
            let _ = done.send(work.await);
        });
        output.await.map_err(|_| {
            worker::Error::RustError("the request's work ended before it had an outcome".into())
        })
    }
}

impl Runtime for WorkerRuntime {
    fn now(&self) -> Timestamp {
        js::now()
    }

    fn isolates_tasks(&self) -> bool {
        true
    }

    fn take_calls(&self, calls: u32) -> bool {
        let take = |left: u32| left.checked_sub(calls);
        self.request.calls_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(js::sleep(duration))
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.request.context.wait_until(SendFuture::new(task));
    }
}

impl fmt::Debug for WorkerRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerRuntime").field("calls", &self.calls()).finish_non_exhaustive()
    }
}
