//! The invalidation after a change, on a virtual clock: natively, in a browser and under Node.js.
#![allow(clippy::unwrap_used)]

mod abandoned;
mod changes;
mod failing_store;
#[path = "../support/far.rs"]
mod far;
mod responses;
#[path = "../../src/runtime/harness.rs"]
mod runtime;
mod world;

runtime::natively! {
    mod metrics;
}
