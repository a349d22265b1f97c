//! The response cache around a service, on a virtual clock.
#![allow(clippy::unwrap_used)]

mod axum_app;
mod bodies;
mod coalescing;
mod failing_store;
mod heads;
mod metrics;
mod origin;
mod plain;
mod vary;
