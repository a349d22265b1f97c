//! Sessions on a KV namespace.

mod document;
mod store;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use larder_core::session::SessionCapabilities;
use larder_core::{Consistency, StoreError, days, hours, seconds};
use worker::Env;

use super::{KvStore, KvStoreBuilder, MAX_KEY_BYTES};
use crate::WorkerRuntime;

/// What a tombstone's key ends with, behind that of its session.
const ENDED: &str = ":ended";
/// For how much longer a tombstone stands than a save may live that does not see it: Cloudflare says
/// «60 seconds or more».
const DOUBT: Duration = hours(1);
/// For how long the tombstone of a session stands that cannot be seen here, so that how long it may
/// live is not known: as long as sessions do by default.
const UNSEEN: Duration = days(30);

/// A [`SessionStore`](larder_core::SessionStore) on a namespace of Workers KV: eventual, read near
/// the visitor. For carts and preferences, where a minute of doubt does no harm and the way to a
/// Durable Object would be too far.
///
/// A change shows elsewhere *as a rule* within 60 s; [Cloudflare][how] says «60 seconds or more», and
/// that the place of the write itself usually sees it at once. KV has no compare-and-swap.
///
/// **What it promises**
/// - Who logs out is out where that was done, and elsewhere when it shows there; and stays out: the
///   tombstone stands under a key of its own, which no save of a slower request can overwrite.
///   It stands until the last save that does not know of it would have ended: for the idle time, or
///   until the absolute end, and an hour. Where the session cannot be seen yet in which somebody logs
///   out, that is not known, and it stands for 30 days: give sessions on KV an
///   [absolute](larder_core::SessionsBuilder::absolute) age of no more.
/// - The same of the old id of a session that was renewed.
/// - Both expiries hold, wherever the session is read.
///
/// **What it does not**
/// - Until it shows, a session that ended goes on elsewhere, a new one is not known, and a list of a
///   user's sessions, with their end, passes by those that cannot be seen yet.
/// - A save compares with what it sees. Of two at the same time, or of two places within that
///   minute, one may be lost, and neither is told.
///
/// Only [`Sessions::eventual`](larder_core::Sessions::eventual) takes it. Where somebody signs in
/// take [`DurableSessions`](crate::DurableSessions).
///
/// | method | calls |
/// | --- | --- |
/// | `load` | 1 |
/// | `create` | 1; 2 where somebody is signed in |
/// | `update`, `touch` | 2; 3 where the index of the user has to know of it for longer |
/// | `renew` | 2 more than `create` |
/// | `remove` | 2, and 2 for every move that it follows; up to 4 after the response |
/// | `of_user` | 1 for 1,000 sessions, and 1 for 50 |
/// | `remove_of_user` | the same, and those of `remove` for each |
///
/// - **One write a second** for a key: of two saves of a session within one, the second waits. See
///   [`KvStore`].
/// - **[Limits][limits]**: keys of up to 506 bytes; with the user's name, its index prefix and some
///   8 bytes, 512. Sessions of up to 1 MiB.
///
/// ```no_run
/// use larder_core::Sessions;
/// use larder_kv::{KvSessions, WorkerRuntime};
///
/// # fn handler(env: worker::Env, ctx: worker::Context) -> larder_core::Result<()> {
/// let store = KvSessions::open(&env, "SESSIONS", &WorkerRuntime::new(&ctx))?;
/// let sessions = Sessions::eventual(store).build()?;
/// # Ok(()) }
/// ```
///
/// Sessions are set up once, and bound to each request by
/// [`Sessions::on`](larder_core::Sessions::on).
///
/// [how]: https://developers.cloudflare.com/kv/concepts/how-kv-works/
/// [limits]: https://developers.cloudflare.com/kv/platform/limits/
#[derive(Debug, Clone)]
pub struct KvSessions {
    kv: KvStore,
    capabilities: Arc<SessionCapabilities>,
    index_prefix: Cow<'static, str>,
}

impl KvSessions {
    /// The sessions on the namespace that `binding` of wrangler.toml names.
    ///
    /// # Errors
    ///
    /// [`StoreErrorKind::Config`](larder_core::StoreErrorKind::Config) where there is no such
    /// binding, or it is of another kind.
    pub fn open(env: &Env, binding: &str, runtime: &WorkerRuntime) -> Result<Self, StoreError> {
        Ok(Self::over(settings().open(env, binding, runtime)?))
    }

    /// The sessions as that location sees them.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    #[cfg(any(test, feature = "testing"))]
    pub fn simulated(reader: &super::SimulatedKvReader) -> Result<Self, StoreError> {
        Ok(Self::over(reader.store_with(settings())?))
    }

    fn over(kv: KvStore) -> Self {
        let within = match kv.shared.capabilities.consistency {
            Consistency::Eventual { within } => within,
            _ => Duration::ZERO,
        };
        let capabilities =
            SessionCapabilities::eventual(within).max_key_bytes(MAX_KEY_BYTES - ENDED.len());
        Self { kv, capabilities: Arc::new(capabilities), index_prefix: Cow::Borrowed("sess-user:") }
    }

    /// Sets what the keys of every user's index begin with: `sess-user:` by default. Where several
    /// services with users of their own share a namespace, each needs another.
    ///
    /// ```no_run
    /// # fn handler(env: worker::Env, ctx: worker::Context) -> larder_core::Result<()> {
    /// use larder_kv::{KvSessions, WorkerRuntime};
    ///
    /// let runtime = WorkerRuntime::new(&ctx);
    /// let store = KvSessions::open(&env, "SESSIONS", &runtime)?.index_prefix("shop:sess-user:");
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn index_prefix(self, prefix: impl Into<Cow<'static, str>>) -> Self {
        Self { index_prefix: prefix.into(), ..self }
    }
}

/// As fresh as KV allows.
fn settings() -> KvStoreBuilder {
    KvStore::builder().cache_ttl(seconds(30))
}
