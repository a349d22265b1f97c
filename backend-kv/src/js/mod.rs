//! JavaScript, and the one place where its handles are made `Send`.
//!
//! A wasm module on Workers has one thread, so that nothing is ever sent to another. Every future
//! that holds a handle is wrapped here, and every type that holds one.

mod kv;
mod objects;
mod rate_limit;
mod sql;

use std::future::Future;
use std::time::Duration;

use gloo_timers::future::TimeoutFuture;
use larder_core::Timestamp;
use worker::js_sys::{Array, Date, Error, Function, Object, Promise, Reflect};
use worker::send::{SendFuture, SendWrapper};
use worker::wasm_bindgen::{JsCast, JsValue};
use worker::wasm_bindgen_futures::JsFuture;

use crate::error::Failure;

pub(crate) use kv::WorkersKv;
pub(crate) use objects::Objects;
pub(crate) use rate_limit::RateLimitBinding;
pub(crate) use sql::Sql;

/// The longest delay of `setTimeout`; a longer one would end at once.
const LONGEST_TIMEOUT: Duration = Duration::from_millis(i32::MAX as u64);

pub(crate) fn now() -> Timestamp {
    // A whole number of milliseconds, far below 2^53.
    Timestamp::from_millis(Date::now() as u64)
}

pub(crate) fn sleep(duration: Duration) -> impl Future<Output = ()> + Send {
    SendFuture::new(async move {
        let mut left = duration;
        while !left.is_zero() {
            let step = left.min(LONGEST_TIMEOUT);
            // Up to the next millisecond: a timer must not end before its time.
            let millis = step.as_nanos().div_ceil(1_000_000);
            TimeoutFuture::new(u32::try_from(millis).unwrap_or(i32::MAX as u32)).await;
            left -= step;
        }
    })
}

/// A JavaScript object that outlives a request: a binding.
#[derive(Clone)]
struct Handle(SendWrapper<JsValue>);

impl Handle {
    fn new(value: JsValue) -> Self {
        Self(SendWrapper::new(value))
    }

    /// Calls a method that answers a promise, and waits for it.
    async fn call(&self, method: &str, arguments: &[&JsValue]) -> Result<JsValue, Failure> {
        let function = get(&self.0, method)?;
        let Some(function) = function.dyn_ref::<Function>() else {
            return Err(Failure::new(format!("the binding has no method {method}")));
        };
        let array = Array::new();
        for argument in arguments {
            array.push(argument);
        }
        let promise = function.apply(&self.0, &array).map_err(failure)?;
        JsFuture::from(Promise::resolve(&promise)).await.map_err(failure)
    }
}

fn get(object: &JsValue, key: &str) -> Result<JsValue, Failure> {
    Reflect::get(object, &JsValue::from_str(key)).map_err(failure)
}

fn set(object: &Object, key: &str, value: &JsValue) -> Result<(), Failure> {
    Reflect::set(object, &JsValue::from_str(key), value).map(drop).map_err(failure)
}

/// What JavaScript threw, in words.
fn failure(thrown: JsValue) -> Failure {
    let flag = |name| get(&thrown, name).is_ok_and(|flag| flag.is_truthy());
    match thrown.dyn_ref::<Error>() {
        Some(error) => Failure {
            message: error.message().into(),
            retryable: flag("retryable"),
            overloaded: flag("overloaded"),
        },
        None => Failure::new(thrown.as_string().unwrap_or_else(|| format!("{thrown:?}"))),
    }
}

/// What `worker` made of it.
fn worker_failure(error: worker::Error) -> Failure {
    failure(error.into())
}
