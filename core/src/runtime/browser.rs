//! A browser or Node.js: `Date`, `setTimeout` and the microtask queue.

use std::time::Duration;

use futures::future::BoxFuture;

use super::Runtime;
use crate::time::Timestamp;

/// The runtime of the platform: the JavaScript event loop on wasm32.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct SystemRuntime;

impl Runtime for SystemRuntime {
    fn now(&self) -> Timestamp {
        // `Date.now` is a whole number of milliseconds, far below 2^53.
        Timestamp::from_millis(js_sys::Date::now() as u64)
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        // The timer lives in a local task, so that the future handed out holds no JavaScript
        // handle and is `Send`.
        let (done, wait) = futures::channel::oneshot::channel();
        wasm_bindgen_futures::spawn_local(async move {
            gloo_timers::future::sleep(duration).await;
            let _ = done.send(());
        });
        Box::pin(async move {
            let _ = wait.await;
        })
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        wasm_bindgen_futures::spawn_local(task);
    }
}
