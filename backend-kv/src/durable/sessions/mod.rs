//! Sessions on Durable Objects.

pub(super) mod engine;
mod index;
pub(super) mod message;
mod store;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use larder_core::session::SessionCapabilities;
use larder_core::{Runtime, StoreError};
use worker::Env;

use super::fleet::{Fleet, Settings};
use super::{MAX_KEY_BYTES, NAME};
use crate::WorkerRuntime;
use crate::bounded::Call;

/// What the names of these objects begin with.
const FAMILY: &str = "larder-sessions";

/// A [`SessionStore`](larder_core::SessionStore) on Durable Objects with SQLite storage: strong,
/// wherever in the world its requests come from. A log-out holds at once.
///
/// A session lies in one of a fixed number of objects, by a hash of its key, 16 unless told
/// otherwise; and so does the index of each user, which knows every key under which a session of
/// theirs may stand. An object does one thing at a time, and answers [some hundreds of requests a
/// second](https://developers.cloudflare.com/durable-objects/platform/limits/). Its clock says when
/// a session's time is over.
///
/// | method | requests to objects |
/// | --- | --- |
/// | `load` | 1 |
/// | `create` | 1; 2 where somebody is signed in: first the index |
/// | `update`, `touch` | 1; 3 where the index has to know of it for longer, about once in the idle time |
/// | `renew` | one more than `create` |
/// | `remove` | 1; and 1 for every move that it follows |
/// | `of_user`, `remove_of_user` | 1, and then 1 for each object that has one of the user's sessions, concurrently |
///
/// They are made one after the other. What the index is told of sessions that ended is told after
/// the response.
///
/// - **Set-up**: the class that [`durable_object!`](crate::durable_object) makes. A Worker that has
///   it for a [`DurableStore`](crate::DurableStore) or for
///   [`DurableRateLimits`](crate::DurableRateLimits) needs nothing else, and no migration: the
///   objects are others of the same class.
/// - **Limits**: keys and users of up to 2,048 bytes, sessions of up to 1 MiB.
/// - **Nothing stays**: an alarm deletes what is over, some seconds later. A tombstone stands for
///   [`TOMBSTONE`](larder_core::session::TOMBSTONE).
/// - **What is written**, and [paid for](https://developers.cloudflare.com/durable-objects/platform/pricing/):
///   two rows for a new session, and two more where somebody is signed in; then one for each save
///   and each touch.
///
/// # When something ends halfway
///
/// Every request to an object bears being made again, and is once where an object was lost before it
/// answered. A session and the index of its user are written by two requests, as are the two keys of
/// a renewal; the order makes good for what may happen in between:
///
/// - The index knows of a session before there is one, and for longer. So
///   [`remove_of_user`] finds every session that was acknowledged before it began, also one that
///   moves meanwhile: the old key leads to the new. What is announced when it comes, and not made
///   yet, is not made any more: that sign-in goes on under another key, as one after the log-out.
/// - In a renewal the new session is made before the old one leaves a tombstone, and taken back where
///   the old one changed meanwhile. What ends in between leaves the old session as it was, and the
///   new one under an id that nobody was told: it is in the list of its user, ends with
///   [`remove_of_user`], and else by itself.
///
/// [`remove_of_user`]: larder_core::SessionStore::remove_of_user
///
/// ```no_run
/// use larder_core::Sessions;
/// use larder_kv::{DurableSessions, WorkerRuntime};
///
/// # fn handler(env: worker::Env, ctx: worker::Context) -> larder_core::Result<()> {
/// let store = DurableSessions::open(&env, "LARDER", &WorkerRuntime::new(&ctx))?;
/// let sessions = Sessions::builder(store).build()?;
/// # Ok(()) }
/// ```
///
/// Sessions are set up once, and bound to each request by
/// [`Sessions::on`](larder_core::Sessions::on).
#[derive(Debug, Clone)]
pub struct DurableSessions {
    shared: Arc<Shared>,
    runtime: Arc<dyn Runtime>,
}

#[derive(Debug)]
struct Shared {
    fleet: Fleet,
    capabilities: SessionCapabilities,
    timeout: Duration,
    index_prefix: Cow<'static, str>,
}

impl DurableSessions {
    /// The sessions on the objects that `binding` of wrangler.toml names.
    ///
    /// # Errors
    ///
    /// [`StoreErrorKind::Config`](larder_core::StoreErrorKind::Config) where there is no such
    /// binding, or it is of another kind.
    pub fn open(env: &Env, binding: &str, runtime: &WorkerRuntime) -> Result<Self, StoreError> {
        Self::builder().open(env, binding, runtime)
    }

    /// Starts to build a store with settings of its own.
    ///
    /// ```no_run
    /// use larder_kv::{DurableSessions, WorkerRuntime};
    ///
    /// # fn handler(env: worker::Env, ctx: worker::Context) -> larder_core::Result<()> {
    /// let runtime = WorkerRuntime::new(&ctx);
    /// let store = DurableSessions::builder().objects(64).open(&env, "LARDER", &runtime)?;
    /// # Ok(()) }
    /// ```
    pub fn builder() -> DurableSessionsBuilder {
        DurableSessionsBuilder::default()
    }

    fn call(&self, operation: &'static str) -> Call<'_> {
        let timeout = self.shared.timeout;
        Call { runtime: &*self.runtime, store: NAME, operation, timeout }
    }
}

/// Builds [`DurableSessions`].
///
/// ```no_run
/// use larder_core::seconds;
/// use larder_kv::{DurableSessions, WorkerRuntime};
///
/// # fn handler(env: worker::Env, ctx: worker::Context) -> larder_core::Result<()> {
/// let store = DurableSessions::builder()
///     .objects(4)
///     .timeout(seconds(2))
///     .open(&env, "LARDER", &WorkerRuntime::new(&ctx))?;
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Default)]
#[must_use = "a builder does nothing until `open`"]
pub struct DurableSessionsBuilder {
    settings: Settings,
    index_prefix: Cow<'static, str>,
}

impl DurableSessionsBuilder {
    /// Over how many objects the sessions are spread, 1 to 1,024. 16 by default.
    ///
    /// The number is a part of the objects' names: with another, every visitor is signed out. Every
    /// part of a system that shares the sessions must say the same.
    ///
    /// An object answers 500 to 1,000 requests a second; to list or to end a user's sessions asks as
    /// many objects as they lie in.
    pub fn objects(mut self, objects: u16) -> Self {
        self.settings.objects = objects;
        self
    }

    /// How long a request to an object may take. 5 s by default.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.settings.timeout = timeout;
        self
    }

    /// Sets what the names of every user's index begin with: nothing by default. Where several
    /// services with users of their own share the objects, each needs another.
    ///
    /// ```no_run
    /// use larder_core::Sessions;
    /// use larder_kv::{DurableSessions, WorkerRuntime};
    ///
    /// # fn handler(env: worker::Env, ctx: worker::Context) -> larder_core::Result<()> {
    /// let store = DurableSessions::builder()
    ///     .index_prefix("staff:")
    ///     .open(&env, "LARDER", &WorkerRuntime::new(&ctx))?;
    /// let sessions = Sessions::builder(store).namespace("staff").build()?;
    /// # Ok(()) }
    /// ```
    pub fn index_prefix(mut self, prefix: impl Into<Cow<'static, str>>) -> Self {
        self.index_prefix = prefix.into();
        self
    }

    /// The sessions on the objects that `binding` of wrangler.toml names.
    ///
    /// # Errors
    ///
    /// [`StoreErrorKind::Config`](larder_core::StoreErrorKind::Config) where there is no such
    /// binding, or a setting that cannot work.
    pub fn open(
        self,
        env: &Env,
        binding: &str,
        runtime: &WorkerRuntime,
    ) -> Result<DurableSessions, StoreError> {
        let fleet = self.settings.open(FAMILY, env, binding)?;
        Ok(self.over(fleet, Arc::new(runtime.clone())))
    }

    fn over(self, fleet: Fleet, runtime: Arc<dyn Runtime>) -> DurableSessions {
        let capabilities = SessionCapabilities::strong().max_key_bytes(MAX_KEY_BYTES);
        let (timeout, index_prefix) = (self.settings.timeout, self.index_prefix);
        let shared = Shared { fleet, capabilities, timeout, index_prefix };
        DurableSessions { shared: Arc::new(shared), runtime }
    }
}
