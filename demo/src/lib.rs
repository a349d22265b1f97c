//! The demo application of Larder: a small shop whose API answers from caches.
//!
//! One [`App`] gives one axum `Router`, which a native server and a Worker serve alike. What
//! differs between them is handed in: the [`Database`] and the [`Stores`].
//!
//! In the order a reader needs it:
//!
//! - [`App`]: the caches, and the routes over them. [`Stores`]: where they are kept.
//! - [`Limits`]: how much of the API a client may have.
//! - [`model`]: what the API speaks of.
//! - [`Database`]: what the application asks of one. [`sql`] has the statements that all
//!   implementations share, [`seed`] what a new database is filled with.
//! - [`Problem`]: every error, as `application/problem+json`.
//! - `api`: the handlers, one module for each part of the API.
//! - `invalidation`: what happens after a write, also while the store is down.
//!
//! # While the caches' store is down
//!
//! Every request is answered, from the database. `GET /readyz` stays 200, as the shop serves, and
//! its body names what is degraded; 503 is for a database that does not answer.
//!
//! An update or deletion of a user stands as soon as the database has it, and is answered with 200
//! or 204: an error would make its sender repeat what has been done. The header `X-Invalidation`
//! tells whether the cache has forgotten the user and every list (`done`) or will once its store is
//! back (`deferred`). Until then this process reads that user and all lists from the database, and
//! tries the invalidation again, for as long as a stale entry could live: five minutes. Other
//! processes on the same store may show the old user until the invalidation is made up for, or for
//! those five minutes if this process ends before.
//!
//! # Limits
//!
//! Every client has 100 requests a minute of `/api`, whatever answers them, or another number, or as
//! many as it likes. While the counts' store is down nobody is refused, and `GET /readyz` says so.
//! `GET /api/v1/stats` is not counted: the page asks for it every second.
//!
//! # Metrics of its own
//!
//! | name | kind | labels | what |
//! | --- | --- | --- | --- |
//! | `shop_database_seconds` | histogram | `operation` | what the database took, and how often it was asked |
//! | `shop_database_errors_total` | counter | `operation` | calls of the database that failed |
//! | `shop_invalidations_deferred_total` | counter | | invalidations that the store did not take at once |

mod api;
mod app;
mod counted;
mod database;
mod input;
mod invalidation;
mod limits;
pub mod model;
mod problem;
pub mod seed;
pub mod sql;
mod stores;

pub use app::App;
pub use database::{Database, DatabaseError};
pub use limits::{Limits, NoNumber, PerMinute};
pub use problem::Problem;
pub use stores::Stores;
