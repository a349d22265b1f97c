//! The demo application of Larder: a small shop whose API answers from caches.
//!
//! One [`App`] gives one axum `Router`, which a native server and a Worker serve alike. What
//! differs between them is handed in: the [`Database`] and the `Store`.
//!
//! In the order a reader needs it:
//!
//! - [`App`]: the three caches, and the routes over them.
//! - [`model`]: what the API speaks of.
//! - [`Database`]: what the application asks of one. [`sql`] has the statements that all
//!   implementations share, [`seed`] what a new database is filled with.
//! - [`Problem`]: every error, as `application/problem+json`.
//! - `api`: the handlers, one module for each part of the API.
//! - `invalidation`: what happens after a write, also while the store is down.

mod api;
mod app;
mod counted;
mod database;
mod input;
mod invalidation;
pub mod model;
mod problem;
pub mod seed;
pub mod sql;

pub use app::App;
pub use database::{Database, DatabaseError};
pub use problem::Problem;
