//! Sessions around a service, on a virtual clock: natively, in a browser and under Node.js.
#![allow(clippy::unwrap_used)]

mod attacks;
mod axum_app;
mod caching;
mod cookies;
mod failing_store;
mod limits;
mod request_runtime;
#[path = "../../src/runtime/harness.rs"]
mod runtime;
mod secrets;
mod world;
