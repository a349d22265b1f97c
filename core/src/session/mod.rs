//! Sessions: what a visitor's requests share, and who is signed in.
//!
//! In the order a reader needs it:
//!
//! - [`Sessions`], set up once, opens the session of each request.
//! - [`Session`], what a handler uses: typed values, [`sign_in`](Session::sign_in),
//!   [`renew`](Session::renew), [`end`](Session::end).
//! - [`SessionStore`], the port that backends implement, and what they promise;
//!   [`MemorySessions`] is one.
//! - [`SessionId`], what the client holds: a secret, which no store sees.
//!
//! A session is loaded when it is first touched and written when it changed. One that nobody put
//! anything into is not stored. What ended stays ended: a save is an update of what is there, and a
//! log-out wins over every save that was under way.

mod handle;
#[cfg(any(test, feature = "testing"))]
pub mod histories;
mod id;
mod life;
mod memory;
mod meter;
mod presented;
#[cfg(any(test, feature = "testing"))]
pub mod race;
mod record;
mod save;
mod sessions;
mod slot;
mod state;
mod store;
#[cfg(test)]
mod tests;

pub use handle::Session;
pub use id::SessionId;
pub use memory::{MemorySessions, MemorySessionsBuilder};
pub use meter::SessionStats;
pub use presented::Presented;
pub use record::{Data, SessionRecord, Value};
pub use save::{Saved, SessionCookie};
pub use sessions::{Sessions, SessionsBuilder};
pub use store::{
    KeyedBy, SessionCapabilities, SessionStore, StoredSession, StrongSessionStore, TOMBSTONE,
    TRIES, Touch, Updated, UserSession, Version,
};
