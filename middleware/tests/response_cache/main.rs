//! The response cache around a service, on a virtual clock: natively, in a browser and under
//! Node.js.
#![allow(clippy::unwrap_used)]

mod axum_app;
mod bodies;
mod coalescing;
mod failing_store;
#[path = "../support/far.rs"]
mod far;
mod heads;
mod origin;
mod plain;
mod request_runtime;
#[path = "../../src/runtime/harness.rs"]
mod runtime;
mod vary;

runtime::natively! {
    mod axum_server;
    mod metrics;
}
