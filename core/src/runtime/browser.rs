//! A browser or Node.js: `Date`, `setTimeout` and the microtask queue.

use std::pin::pin;
use std::time::Duration;

use futures::channel::oneshot;
use futures::future::{BoxFuture, Either, select};
use gloo_timers::future::TimeoutFuture;

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
        // handle and is `Send`. Dropping that future ends the task and clears the timer.
        let (mut done, wait) = oneshot::channel();
        wasm_bindgen_futures::spawn_local(async move {
            let timers = pin!(sleep_for(duration));
            if let Either::Left(_) = select(timers, pin!(done.cancellation())).await {
                let _ = done.send(());
            }
        });
        Box::pin(async move {
            let _ = wait.await;
        })
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        wasm_bindgen_futures::spawn_local(task);
    }
}

/// `setTimeout` counts milliseconds in a signed number of 32 bits, and a longer timer is over at
/// once.
const LONGEST_TIMER: u32 = i32::MAX as u32;

async fn sleep_for(duration: Duration) {
    let mut millis = duration.as_nanos().div_ceil(1_000_000);
    while let Err(_) | Ok(LONGEST_TIMER..) = u32::try_from(millis) {
        TimeoutFuture::new(LONGEST_TIMER).await;
        millis -= u128::from(LONGEST_TIMER);
    }
    TimeoutFuture::new(millis as u32).await;
}
