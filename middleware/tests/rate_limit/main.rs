//! The rate limit around a service, on a virtual clock: natively, in a browser and under Node.js.
#![allow(clippy::unwrap_used)]

mod addresses;
mod axum_app;
mod dialects;
mod failing_store;
mod keys;
mod leases;
mod passing;
mod properties;
mod refusals;
#[path = "../../src/runtime/harness.rs"]
mod runtime;
mod world;

runtime::natively! {
    mod axum_server;
    mod metrics;
}
