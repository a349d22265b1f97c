//! The demo application of Larder on a native server: SQLite for data, memory or Redis for Larder.
//!
//! In the order a reader needs it:
//!
//! - [`Args`]: the command line.
//! - [`run`]: from the command line to the end of the last request. `kept` is where caches and sessions
//!   are, `shop` one server, `nodes` several of them that share a store and a bus.
//! - [`SqliteDatabase`]: the shop's database, created and filled at the first start.
//! - [`Threads`]: where passwords are hashed.
//! - [`install_recorder`]: the metrics.
//! - [`serve`]: the server, until it is told to stop, and the requests that run then.

mod args;
mod fill;
mod kept;
mod nodes;
mod progress;
mod recorder;
mod run;
mod server;
mod shop;
mod sqlite;
mod stop;
mod threads;

pub use args::{Args, Cookies, RateLimitLayout};
pub use fill::{Filling, OpenError};
pub use recorder::install_recorder;
pub use run::run;
pub use server::serve;
pub use sqlite::SqliteDatabase;
pub use threads::Threads;
