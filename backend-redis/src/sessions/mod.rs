//! Sessions, changed by scripts inside of Redis.

#[cfg(test)]
mod differential;
mod express;
mod frame;
mod index;
mod of_user;
mod port;
#[cfg(test)]
mod repeated;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use larder_core::session::{SessionCapabilities, SessionRecord, Version};
use larder_core::{Runtime, Store, StoreError, StoreErrorKind, Timestamp};
use redis::{Cmd, Value};

use crate::client::Client;
use crate::error::STORE;
use crate::outstanding::{Entered, Outstanding};
use crate::script::{Run, Script};
use crate::store::RedisStore;
pub use express::{ExpressCookie, ExpressSessions};
use frame::{Standing, Token};
use index::Write;

/// How many sessions of a user are loaded or ended at once, which bounds what that holds in memory.
const AT_ONCE: usize = 64;

/// A [`SessionStore`](larder_core::SessionStore) on Redis 6 or newer, or Valkey: strong, every
/// change of a session in one step.
///
/// Clones share everything. It is made of a store, and shares its connection, its circuit breaker
/// and its time-outs; or connects by itself.
///
/// | method | commands | round trips |
/// | --- | --- | --- |
/// | `load` | `GET` | 1 |
/// | `create`, `update` | a script; before it, where somebody is signed in, another on the user's index | 1 |
/// | `touch` | the same | 1, or 2 where somebody is signed in |
/// | `renew` | a creation, a script on the old key; `ZREM` of that where its session was a user's | 2, or 3 |
/// | `remove` | a script; `ZREM` where somebody was signed in | 1, or 2; and 1 for every move that it follows |
/// | `of_user` | `ZREMRANGEBYSCORE` and `ZRANGE`, `GET`s in pipelines of 64 | 2 |
/// | `remove_of_user` | the same two; for every 64 keys a script for each at once, and `ZREM` | 1, and 2 for every 64 keys |
/// | `ready` | `PING` | 1 |
///
/// Scripts go out as `EVALSHA`, and as `EVAL` where Redis does not know them, but for that on the
/// index. Each of them has one key, so that they run on a Cluster.
///
/// # What stands in Redis
///
/// Under its own key a session, with its end and its version, in one text; or what is left of it, a
/// tombstone, for [`TOMBSTONE`](larder_core::session::TOMBSTONE). And for each user a sorted set of
/// the keys under which sessions of theirs may stand, by when these end:
/// [`index_prefix`](Self::index_prefix) tells its key. What is over is taken out of it by every
/// writer and reader. Every key has an expiry from the moment it exists: when its session ends, and
/// five minutes later for the index.
///
/// Whether a session's time is over is decided by the clock of who asks, to the microsecond,
/// whatever Redis still holds; the expiry only collects garbage. Servers whose clocks differ
/// disagree by so much about its end. A log-out ends a session whose time is over all the same.
///
/// Where Redis evicts keys (`maxmemory-policy allkeys-…`), sessions end before their time, and an
/// index can be lost, so that [`remove_of_user`] would not find them: give sessions a Redis with
/// `noeviction`.
///
/// Bytes that are no session, or one of a later version of Larder, are an error of
/// [`StoreErrorKind::Other`], and never a visitor without a session. A log-out removes them.
///
/// # When something ends halfway
///
/// A change whose answer was lost with the connection is sent again, and knows its own work by the
/// version that it drew. A session and the index of its user are different keys, as are the two of
/// a renewal. Each is changed by itself, in this order:
///
/// - The index before the session. What ends in between leaves a key in the index under which
///   nothing stands, until the session would have ended: no list shows it.
/// - In a renewal the new session before the tombstone under the old key, and the new one is taken
///   back where the old one changed meanwhile. What ends in between leaves the old session as it
///   was, and the new one under an id that nobody was told: it is in the list of its user, ends with
///   [`remove_of_user`], and else by itself.
/// - In a log-out the session before the index. What ends in between leaves a key in the index, as
///   above.
///
/// So [`remove_of_user`] finds every session of the user that was there when it began, also one
/// that moves meanwhile: the old key leads to the new.
///
/// [`remove_of_user`]: larder_core::SessionStore::remove_of_user
///
/// # Example
///
/// ```no_run
/// use larder_core::Sessions;
/// use larder_redis::RedisSessions;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = RedisSessions::connect("redis://127.0.0.1/").await?;
/// let sessions = Sessions::builder(store).build()?;
///
/// let visit = sessions.open(None);
/// visit.sign_in("zoë").await?;
/// visit.save().await?;
/// assert_eq!(sessions.of_user("zoë").await?.len(), 1);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct RedisSessions {
    shared: Arc<Shared>,
    index_prefix: Cow<'static, str>,
}

struct Shared {
    store: RedisStore,
    /// Whether the connection is closed with it.
    owns_store: bool,
    calls: Outstanding,
    scripts: Scripts,
    capabilities: SessionCapabilities,
    runtime: Arc<dyn Runtime>,
}

struct Scripts {
    create: Script,
    update: Script,
    touch: Script,
    bury: Script,
}

impl Scripts {
    fn new() -> Self {
        let script = |body| Script::after(include_str!("standing.lua"), body);
        Self {
            create: script(include_str!("create.lua")),
            update: script(include_str!("update.lua")),
            touch: script(include_str!("touch.lua")),
            bury: script(include_str!("bury.lua")),
        }
    }
}

/// Which session is to end.
#[derive(Clone, Copy)]
enum Which<'a> {
    Any,
    Unchanged(&'a Version),
    Of(&'a str),
}

/// What came of ending a session.
enum Buried {
    Done { was_live: bool, user: Option<String> },
    Another,
    Not(Standing),
}

impl RedisSessions {
    /// Connects to the Redis at `url`, with the defaults of
    /// [`RedisStoreBuilder`](crate::RedisStoreBuilder), and waits until it is ready.
    ///
    /// For other settings build a [`RedisStore`], and take its [`sessions`](RedisStore::sessions).
    ///
    /// # Errors
    ///
    /// As [`RedisStore::connect`].
    ///
    /// ```no_run
    /// # async fn run() -> Result<(), larder_core::StoreError> {
    /// let sessions = larder_redis::RedisSessions::connect("redis://127.0.0.1/").await?;
    /// # Ok(()) }
    /// ```
    pub async fn connect(url: impl AsRef<str>) -> Result<Self, StoreError> {
        Ok(Self::new(RedisStore::connect(url).await?, true))
    }

    /// Sessions on the Redis at `url`, with the same defaults, that connect when they are first
    /// used.
    ///
    /// # Errors
    ///
    /// A URL that cannot work.
    ///
    /// ```
    /// # fn run() -> Result<(), larder_core::StoreError> {
    /// let sessions = larder_redis::RedisSessions::lazy("redis://127.0.0.1/")?;
    /// # Ok(()) }
    /// # run().unwrap();
    /// ```
    pub fn lazy(url: impl AsRef<str>) -> Result<Self, StoreError> {
        Ok(Self::new(RedisStore::lazy(url)?, true))
    }

    pub(crate) fn on(store: RedisStore) -> Self {
        Self::new(store, false)
    }

    fn new(store: RedisStore, owns_store: bool) -> Self {
        let inner = store.inner();
        let calls = Outstanding::new(inner.config.max_outstanding, inner.client.meter.clone());
        let capabilities = SessionCapabilities::strong();
        let most = capabilities.max_session_bytes.min(inner.config.max_value_bytes);
        let capabilities =
            capabilities.max_key_bytes(inner.config.max_key_bytes).max_session_bytes(most);
        let (scripts, runtime) = (Scripts::new(), store.runtime());
        let shared = Shared { store, owns_store, calls, scripts, capabilities, runtime };
        Self { shared: Arc::new(shared), index_prefix: Cow::Borrowed("sess-user:") }
    }

    /// Sets what the key of every user's index begins with, before the user: `sess-user:` by
    /// default. Not what the keys of sessions begin with, see
    /// [`namespace`](larder_core::SessionsBuilder::namespace). Where several services with users of
    /// their own share a Redis, each needs another.
    ///
    /// ```
    /// use larder_core::Sessions;
    /// use larder_redis::RedisSessions;
    ///
    /// # fn run() -> Result<(), Box<dyn std::error::Error>> {
    /// let store = RedisSessions::lazy("redis://127.0.0.1/")?.index_prefix("shop:sess-user:");
    /// let sessions = Sessions::builder(store).namespace("shop:sess").build()?;
    /// # Ok(()) }
    /// # run().unwrap();
    /// ```
    #[must_use]
    pub fn index_prefix(self, prefix: impl Into<Cow<'static, str>>) -> Self {
        Self { index_prefix: prefix.into(), ..self }
    }

    /// Where the sessions are, as a URL without user and password.
    ///
    /// ```
    /// # use larder_redis::RedisSessions;
    /// let sessions = RedisSessions::lazy("redis://me:secret@cache.internal/2").unwrap();
    /// assert_eq!(sessions.address(), "redis://cache.internal:6379/2");
    /// ```
    #[must_use]
    pub fn address(&self) -> &str {
        self.shared.store.address()
    }

    fn client(&self) -> &Client {
        &self.shared.store.inner().client
    }

    fn now(&self) -> Timestamp {
        self.shared.runtime.now()
    }

    fn enter(&self, operation: &'static str, key: &str) -> Result<Entered<'_>, StoreError> {
        let call = self.shared.calls.enter(operation)?;
        self.shared.store.inner().config.check_key(operation, key)?;
        Ok(call)
    }

    /// The bytes of a session, as the version that it is given.
    fn frame(
        &self,
        operation: &'static str,
        key: &str,
        session: &SessionRecord,
    ) -> Result<(Version, Vec<u8>), StoreError> {
        let token = draw(operation)?;
        let frame = frame::session(token, session).map_err(|error| {
            let detail = format!("the session for {key:?} cannot be written as JSON");
            StoreError::new(StoreErrorKind::Other, STORE, operation, detail).with_source(error)
        })?;
        self.shared.store.inner().config.check_entry(operation, key, &frame)?;
        Ok((frame::version(token), frame))
    }

    /// Runs a script on a session, after the note in the index of its user.
    async fn run(
        &self,
        operation: &'static str,
        note: Option<Cmd>,
        script: &Script,
        (key, now): (&str, Timestamp),
        arguments: &[&[u8]],
    ) -> Result<Value, StoreError> {
        let now = now.as_micros().to_string();
        let arguments = [&[now.as_bytes()], arguments].concat();
        let run = Run { script, keys: &[key], arguments: &arguments, repeatable: true };
        let client = self.client();
        client.call(operation, &Write { note, run }, client.deadline()).await
    }

    /// What Redis says stands there.
    fn standing(
        &self,
        operation: &'static str,
        (key, now): (&str, Timestamp),
        reply: Value,
    ) -> Result<Standing, StoreError> {
        let Some(bytes) = self.client().bytes(operation, reply)? else {
            return Ok(Standing::Nothing);
        };
        frame::read(&bytes, now).map_err(|why| {
            let detail = format!(
                "the bytes under {key:?} cannot be read: {why}; run the version of Larder that \
                 wrote them, or remove the key, which ends the session"
            );
            StoreError::new(StoreErrorKind::Other, STORE, operation, detail)
        })
    }

    /// Makes the session, and tells its version, where nothing stands under the key.
    async fn make(
        &self,
        operation: &'static str,
        key: &str,
        session: &SessionRecord,
    ) -> Result<Option<Version>, StoreError> {
        let now = self.now();
        let (version, frame) = self.frame(operation, key, session)?;
        let note = self.note(operation, session.user.as_deref(), (key, session.expires_at), now)?;
        let script = &self.shared.scripts.create;
        let reply = self.run(operation, note, script, (key, now), &[&frame]).await?;
        Ok((self.client().integer(operation, &reply)? == 1).then_some(version))
    }

    /// Ends the session under this key; `tombstone` is what is left of it.
    async fn bury(
        &self,
        operation: &'static str,
        (key, now): (&str, Timestamp),
        which: Which<'_>,
        tombstone: &[u8],
    ) -> Result<Buried, StoreError> {
        let (version, user) = match which {
            Which::Any => (None, Vec::new()),
            Which::Unchanged(version) => (Some(frame::token(version)), Vec::new()),
            Which::Of(user) => (None, frame::text(Some(user))),
        };
        let version = version.as_ref().map_or(&[][..], |token| token);
        let script = &self.shared.scripts.bury;
        let arguments = [tombstone, version, &user];
        match self.run(operation, None, script, (key, now), &arguments).await? {
            Value::Int(_) => Ok(Buried::Another),
            Value::Array(reply) => match reply.as_slice() {
                [Value::Int(live), Value::BulkString(user)] => {
                    Ok(Buried::Done { was_live: *live == 1, user: frame::read_text(user) })
                }
                _ => Err(self.client().unexpected(operation, &Value::Array(reply))),
            },
            reply => self.standing(operation, (key, now), reply).map(Buried::Not),
        }
    }
}

/// What no other write has.
fn draw(operation: &'static str) -> Result<Token, StoreError> {
    let mut token = Token::default();
    getrandom::fill(&mut token).map_err(|error| {
        let detail = format!("no random numbers for a session's version: {error}");
        StoreError::new(StoreErrorKind::Other, STORE, operation, detail)
    })?;
    Ok(token)
}

impl fmt::Debug for RedisSessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisSessions")
            .field("store", &self.shared.store)
            .field("index_prefix", &self.index_prefix)
            .finish_non_exhaustive()
    }
}
