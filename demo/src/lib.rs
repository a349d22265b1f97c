//! The demo application of Larder: a small shop whose API answers from caches.
//!
//! One [`App`] gives one axum `Router`, which a native server and a Worker serve alike. What
//! differs between them is handed in: the [`Database`] and the [`Stores`].
//!
//! In the order a reader needs it:
//!
//! - [`App`]: the caches, and the routes over them. [`Stores`]: where they are kept; [`Source`]: where an
//!   answer came from.
//! - [`Accounts`]: where sessions are kept, and what signing in takes.
//! - [`LastSeen`]: where it is noted that users were seen; [`JournaledLastSeen`] in a journal.
//! - [`Limits`]: how much of the API a client may have; [`SignInLimits`]: how often it may fail to
//!   sign in.
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
//! # Several servers
//!
//! With a [bus](Stores::bus) users stand in the server's own memory too, for a minute at most, and the
//! servers on one store tell each other what was changed: what is seen where, and for how long, is in
//! `docs/consistency.md`. A server that does not hear the bus holds every user against the store before it
//! shows them. Where the server is said to be one of several ([`App::nodes`]), the page has a card for them,
//! which asks `/api/v1/nodes` and what is under it of the routes that the server has brought along.
//!
//! # Limits
//!
//! Every client has 100 requests a minute of `/api`, whatever answers them, or another number, or as
//! many as it likes. While the counts' store is down nobody is refused, and `GET /readyz` says so.
//! `GET /api/v1/stats` is not counted: the page asks for it every second.
//!
//! # Accounts
//!
//! `POST /api/v1/signup` and `POST /api/v1/signin` take `{"email", "password"}` and begin a session,
//! which `POST /api/v1/signout` ends. `GET /api/v1/me` tells who is signed in, or answers 401;
//! `GET /api/v1/me/sessions` where else, and `DELETE` of that signs out everywhere. `GET` and `PUT`
//! of `/api/v1/me/cart` are the visitor's cart, which stays when they sign in. Accounts are not the
//! users of `/api/v1/users`, whom everybody may change.
//!
//! - A password has 8 characters at least, and is kept as an Argon2id hash (19 MiB, two passes): some
//!   20 ms of a processor, natively on threads of their own, with a bound on how many at once.
//! - A wrong password and an unknown address get the same answer after the same time. That an address
//!   has an account only a sign-up tells, with 409: to tell nobody takes mail, which the shop does
//!   not send.
//! - Five failures a minute for an account from one address, and twenty from the address in all,
//!   sign-ups among them; then 429. This limit stands also where that of the API is off, and has a
//!   number of its own. While the counts' store is down each process counts by itself.
//! - Signing in gives the session a new id. Whoever signs in after somebody else, in one browser,
//!   begins with an empty cart.
//! - A session ends a day after its last use, and after a week in any case.
//! - That somebody was seen, any request under these paths while they are signed in, is written behind:
//!   it is in a journal before the answer, and in the database about a second later, also after a
//!   crash. `GET /api/v1/me/seen` tells what the database has. Where the journal fails, the request
//!   is answered all the same.
//! - Requests that change something are refused with 403 where the browser says that a page of
//!   another origin sent them. The cookie is `SameSite=Lax` and every body has to be declared as JSON
//!   besides.
//! - While the store of sessions is down, whatever needs one is answered with 503: nobody is taken for
//!   a stranger, or told to be signed out who is not. The rest of the shop serves.
//!
//! # Metrics of its own
//!
//! | name | kind | labels | what |
//! | --- | --- | --- | --- |
//! | `shop_database_seconds` | histogram | `operation` | what the database took, and how often it was asked |
//! | `shop_database_errors_total` | counter | `operation` | calls of the database that failed |
//! | `shop_invalidations_deferred_total` | counter | | invalidations that the store did not take at once |

mod accounts;
mod api;
mod app;
mod counted;
mod database;
mod input;
mod invalidation;
mod last_seen;
mod limits;
pub mod model;
mod password;
mod problem;
mod same_origin;
pub mod seed;
mod source;
pub mod sql;
mod stores;

pub use accounts::Accounts;
pub use app::App;
pub use database::{Database, DatabaseError};
pub use last_seen::{JournaledLastSeen, LastSeen};
pub use limits::{Limits, NoNumber, PerMinute, SignInLimits};
pub use password::{Busy, HeavyWork, OnTheSpot};
pub use problem::Problem;
pub use source::Source;
pub use stores::Stores;
