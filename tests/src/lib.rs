//! Conformance suites, simulator and end-to-end tests of Larder.
//!
//! - [`conformance`]: what every backend has to do, as a list of cases that a backend's test hands
//!   its store. Compiles to every target, so that it runs where the backend does.
//! - [`stores`]: a store around a store, that waits, fails or counts as a test wants it to.
//!
//! With the feature `native`:
//!
//! - `trials`: the conformance suite as tests of cargo.
//! - `redis_server`: a real Redis of a test's own.

pub mod conformance;
#[cfg(feature = "native")]
pub mod redis_server;
pub mod stores;
#[cfg(feature = "native")]
pub mod trials;
