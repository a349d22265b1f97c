//! Conformance suites, simulator and end-to-end tests of Larder.
//!
//! - [`conformance`]: what every backend has to do, as a list of cases that a backend's test hands
//!   its store. Compiles to every target, so that it runs where the backend does.
//! - [`fleet`]: processes that share a store and a bus, and how long each may see what another has
//!   invalidated.
//! - [`histories`]: what a store of rate limits says to random histories of a key with hostile times,
//!   beside the pure function.
//! - [`seeds`]: what the simulations share: thousands of seeds on virtual time, and what fails explained.
//! - [`simulation`]: callers over a database whose rows change, and what they may see of the past.
//! - [`stores`]: a store around a store, that waits, fails or counts as a test wants it to.
//! - [`write_behind`]: processes that share a journal, crash and come back, and what reaches the sink.
//!
//! With the feature `native`:
//!
//! - `trials`: the conformance suite as tests of cargo.
//! - `e2e`: what the demo has to answer over HTTP, as a list of cases for every server of it.
//! - `redis_server`, `demo_server`, `node_service`, `wrangler`: real servers of a test's own; each is
//!   a `process`, but for the first.
//! - `test_worker`: the Worker that runs the conformance suite inside workerd.
//! - `http_client`: answers that say of themselves what is wrong with them.
//! - `rates_picture`: how rules of rate limits admit requests, as docs/rate-limits.svg shows it.
//! - `eventually`: waiting, within bounds, for what a real server does.

#[cfg(all(test, feature = "browser"))]
mod browser;
pub mod conformance;
#[cfg(feature = "native")]
pub mod demo_server;
#[cfg(feature = "native")]
pub mod e2e;
#[cfg(feature = "native")]
mod eventually;
pub mod fleet;
pub mod histories;
#[cfg(feature = "native")]
pub mod http_client;
#[cfg(feature = "native")]
pub mod node_service;
#[cfg(feature = "native")]
pub mod process;
#[cfg(feature = "native")]
pub mod rates_picture;
#[cfg(feature = "native")]
pub mod redis_cluster;
#[cfg(feature = "native")]
pub mod redis_sentinels;
#[cfg(feature = "native")]
pub mod redis_server;
pub mod seeds;
pub mod simulation;
pub mod stores;
#[cfg(feature = "native")]
pub mod test_worker;
#[cfg(feature = "native")]
pub mod trials;
#[cfg(feature = "native")]
pub mod wrangler;
pub mod write_behind;

#[cfg(feature = "native")]
pub use eventually::eventually;
