//! The port, in Redis' commands.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use larder_core::{
    Capabilities, Consistency, Cursor, Glob, PutEntry, Runtime, ScanPage, Store, StoreError,
    StoreErrorKind, SystemRuntime,
};
use redis::{Pipeline, Value};

use crate::batch::{KEYS_PER_COMMAND, on_keys, pipeline_length};
use crate::builder::RedisStoreBuilder;
use crate::bus::RedisBus;
use crate::client::{Client, Servers};
use crate::config::Config;
use crate::error::STORE;
use crate::events::Listener;
use crate::gate::BreakerState;
use crate::gather::Gather;
use crate::gather::reads::{self, Reads};
use crate::journal::RedisJournal;
use crate::outstanding::{Entered, Outstanding};
use crate::rate_limits::RedisRateLimits;
use crate::sessions::{ExpressSessions, RedisSessions};
use crate::{epochs, lasting, scan, ttl};

/// A [`Store`] on Redis 6 or newer, or Valkey, over one multiplexed connection to each server.
///
/// Clones share the connection; it is dropped with the last of them, or by
/// [`close`](Store::close).
///
/// | method | commands |
/// | --- | --- |
/// | `get` | `GET`, or a place in an `MGET`, see below |
/// | `get_many` | `MGET`, 512 keys each |
/// | `get_many_with_ttl` | `GET` and `PTTL` of each key, pipelined |
/// | `put` | `SETEX` where the time to live is whole seconds, otherwise `PSETEX` |
/// | `put_many` | the same, pipelined: up to 512 entries or 4 MiB each |
/// | `remove`, `remove_many` | `UNLINK`, 512 keys each |
/// | `epochs` | `EVALSHA` of a script: `GET`, and `SET … PX` or `PEXPIRE` where that is due |
/// | `contains` | `EXISTS` |
/// | `time_to_live` | `PTTL` |
/// | `scan` | `SCAN … MATCH … COUNT 512`; never `KEYS` |
/// | `ready` | `PING` |
///
/// A time to live is rounded up to whole milliseconds, and is at most 100 years.
///
/// Calls need a Tokio runtime with its I/O and time drivers, and panic outside of one. A store may
/// be used on another runtime after the first one ended; it connects anew.
///
/// # When Redis is down
///
/// A call waits for a connection, and is tried again on a new one, up to
/// [`max_retries`](RedisStoreBuilder::max_retries) times and within the
/// [`command_timeout`](RedisStoreBuilder::command_timeout). After some failures in a row the
/// [`circuit_breaker`](RedisStoreBuilder::circuit_breaker) opens, and calls fail at once. The
/// connection is made again in the background, and calls succeed as soon as it stands.
///
/// A `put` that timed out may still reach Redis later.
///
/// # Gathered reads
///
/// While few reads are on their way each goes out at once, as a `GET`. Beyond eight they are
/// gathered into `MGET`s of up to 128 keys, of which two, or four of a long queue, may be on their
/// way, until no read is left to gather: no read waits for a timer, and a busy store does more
/// reads. A read sees every write that was acknowledged before it began. A key of another type is
/// an error alone and a miss in an `MGET`.
///
/// # On a Cluster
///
/// See [`RedisStoreBuilder::cluster`]. Every master has a connection and a circuit breaker of its
/// own: one that is down costs the keys of its slots alone. Redirections (`MOVED`, `ASK`) are
/// followed, so that slots may move while calls are made.
///
/// `get_many`, `put_many` and `remove_many` go to all nodes at once, a command for each key, and fail
/// where one of the nodes does. Reads are not gathered. `scan` asks one master after the other, and
/// all of them a second time where slots moved meanwhile: a key may come up twice, and one that is
/// there from the first page to the last comes up, as long as it moves but once. `ready` asks every
/// master.
///
/// # Behind sentinels
///
/// See [`RedisStoreBuilder::sentinel`]. The sentinels are asked where the master is before every
/// attempt to connect, and the connection is left when the master becomes a replica, or does not
/// answer.
///
/// A replica that takes over, there or in a Cluster, may lack what was acknowledged just before:
/// Redis replicates after it has answered.
///
/// # Example
///
/// ```no_run
/// use larder_core::{Store, seconds};
/// use larder_redis::RedisStore;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), larder_core::StoreError> {
/// let store = RedisStore::connect("redis://127.0.0.1:6379/0").await?;
/// store.put("app:user:42", "Zoë".into(), seconds(300)).await?;
/// assert_eq!(store.get("app:user:42").await?.as_deref(), Some("Zoë".as_bytes()));
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct RedisStore(Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) client: Arc<Client>,
    gather: Option<Arc<Gather<Reads>>>,
    pub(crate) calls: Outstanding,
    capabilities: Capabilities,
    runtime: Arc<SystemRuntime>,
    pub(crate) config: Config,
}

impl RedisStore {
    /// Connects to the Redis at `url`, with the builder's defaults, and waits until it is ready.
    ///
    /// See [`RedisStoreBuilder::url`] for URLs.
    ///
    /// # Errors
    ///
    /// A URL that cannot work, or why the attempt failed; there is only one.
    ///
    /// ```no_run
    /// # async fn run() -> Result<(), larder_core::StoreError> {
    /// let store = larder_redis::RedisStore::connect("redis://127.0.0.1/").await?;
    /// # Ok(()) }
    /// ```
    pub async fn connect(url: impl AsRef<str>) -> Result<Self, StoreError> {
        Self::builder().url(url).connect().await
    }

    /// A store on the Redis at `url`, with the builder's defaults, that connects when it is first
    /// used: for a program that is to start without its Redis.
    ///
    /// See [`RedisStoreBuilder::url`] for URLs.
    ///
    /// # Errors
    ///
    /// A URL that cannot work.
    ///
    /// ```
    /// # fn run() -> Result<(), larder_core::StoreError> {
    /// let store = larder_redis::RedisStore::lazy("redis://127.0.0.1/")?;
    /// assert!(!store.is_connected());
    /// # Ok(()) }
    /// # run().unwrap();
    /// ```
    pub fn lazy(url: impl AsRef<str>) -> Result<Self, StoreError> {
        Self::builder().url(url).lazy()
    }

    /// Sets up a store in detail.
    pub fn builder() -> RedisStoreBuilder {
        RedisStoreBuilder::new()
    }

    /// Where the store connects to, as a URL without user and password.
    ///
    /// ```
    /// # use larder_redis::RedisStore;
    /// let store = RedisStore::lazy("redis://me:secret@cache.internal/2").unwrap();
    /// assert_eq!(store.address(), "redis://cache.internal:6379/2");
    /// ```
    #[must_use]
    pub fn address(&self) -> &str {
        &self.0.client.address
    }

    /// Whether a connection to a ready server stands; on a Cluster, to one of its masters at least.
    ///
    /// ```
    /// # fn report(store: &larder_redis::RedisStore) {
    /// println!("Redis: {}", if store.is_connected() { "connected" } else { "not connected" });
    /// # }
    /// ```
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.0.client.is_live()
    }

    /// What the circuit breaker does with calls now; on a Cluster, the one of its masters that
    /// refuses most.
    ///
    /// ```
    /// # fn report(store: &larder_redis::RedisStore) {
    /// let degraded = store.breaker_state() != larder_redis::BreakerState::Closed;
    /// # }
    /// ```
    #[must_use]
    pub fn breaker_state(&self) -> BreakerState {
        self.0.client.breaker()
    }

    /// Rate limits on this store's connection, behind its circuit breaker and with its time-outs.
    ///
    /// ```
    /// use larder_core::{Quota, RateLimiter};
    /// use larder_redis::RedisStore;
    ///
    /// # fn run() -> Result<(), Box<dyn std::error::Error>> {
    /// let store = RedisStore::lazy("redis://127.0.0.1/")?;
    /// let limiter =
    ///     RateLimiter::builder(store.rate_limits()).quota(Quota::per_minute(100)).build()?;
    /// # Ok(()) }
    /// # run().unwrap();
    /// ```
    #[must_use]
    pub fn rate_limits(&self) -> RedisRateLimits {
        RedisRateLimits::on(self.clone())
    }

    /// The journal of that name on this store's connection, behind its circuit breaker and with its
    /// time-outs.
    ///
    /// # Errors
    ///
    /// [`StoreErrorKind::Config`](larder_core::StoreErrorKind::Config) for a name that is empty or has
    /// a brace.
    ///
    /// ```
    /// use larder_redis::RedisStore;
    ///
    /// # fn main() -> Result<(), larder_core::StoreError> {
    /// let store = RedisStore::lazy("redis://127.0.0.1/")?;
    /// let journal = store.journal("last-seen")?;
    /// # Ok(()) }
    /// ```
    pub fn journal(&self, name: &str) -> Result<RedisJournal, StoreError> {
        RedisJournal::on(self.clone(), name)
    }

    /// Sessions on this store's connection, behind its circuit breaker and with its time-outs.
    ///
    /// ```
    /// use larder_core::Sessions;
    /// use larder_redis::RedisStore;
    ///
    /// # fn run() -> Result<(), Box<dyn std::error::Error>> {
    /// let store = RedisStore::lazy("redis://127.0.0.1/")?;
    /// let sessions = Sessions::builder(store.sessions()).build()?;
    /// # Ok(()) }
    /// # run().unwrap();
    /// ```
    #[must_use]
    pub fn sessions(&self) -> RedisSessions {
        RedisSessions::on(self.clone())
    }

    /// Sessions on this store's connection that are shared with services on express-session and
    /// connect-redis.
    ///
    /// ```
    /// use larder_core::Sessions;
    /// use larder_redis::RedisStore;
    ///
    /// # fn run() -> Result<(), Box<dyn std::error::Error>> {
    /// let store = RedisStore::lazy("redis://127.0.0.1/")?;
    /// let sessions = Sessions::builder(store.express_sessions()).build()?;
    /// # Ok(()) }
    /// # run().unwrap();
    /// ```
    #[must_use]
    pub fn express_sessions(&self) -> ExpressSessions {
        ExpressSessions::on(self.sessions())
    }

    /// A bus for invalidations on this Redis: it publishes on the store's connection, and listens on
    /// others to the same address, with the same credentials and time-outs.
    ///
    /// ```
    /// use larder_core::invalidation::Invalidation;
    /// use larder_redis::RedisStore;
    ///
    /// # fn run() -> Result<(), Box<dyn std::error::Error>> {
    /// let bus = RedisStore::lazy("redis://127.0.0.1/")?.bus();
    /// assert_eq!(bus.name(), "redis");
    /// # Ok(()) }
    /// # run().unwrap();
    /// ```
    #[must_use]
    pub fn bus(&self) -> RedisBus {
        RedisBus::on(self.clone())
    }

    /// Closes something that was made of this store and has calls of its own; the connection, too,
    /// where that is its own.
    pub(crate) async fn close_beside(
        &self,
        calls: &Outstanding,
        owns_connection: bool,
    ) -> Result<(), StoreError> {
        let patience = self.0.config.command_timeout;
        let left = calls.close(patience).await;
        if owns_connection {
            self.close().await?;
        }
        if left == 0 {
            return Ok(());
        }
        let detail = format!("{left} calls did not end within {patience:?}");
        Err(StoreError::new(StoreErrorKind::Timeout, STORE, "close", detail))
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.0
    }

    pub(crate) fn new(config: Config, listener: Listener) -> Result<Self, StoreError> {
        let client = Arc::new(Client::new(&config, listener)?);
        let gathers = config.gather && matches!(client.servers, Servers::One(_));
        let gather = gathers
            .then(|| Arc::new(Gather::new(Arc::clone(&client), Reads, config.max_outstanding)));
        let calls = Outstanding::new(config.max_outstanding, client.meter.clone());
        let capabilities = Capabilities::new(Consistency::Strong)
            .max_key_bytes(config.max_key_bytes)
            .max_value_bytes(config.max_value_bytes);
        let runtime = Arc::new(SystemRuntime::default());
        Ok(Self(Arc::new(Inner { client, gather, calls, capabilities, runtime, config })))
    }

    /// Waits for the first attempt to connect, and for no other.
    pub(crate) async fn first_connection(&self) -> Result<(), StoreError> {
        let connected = self.0.client.first_connection().await;
        if connected.is_err() {
            self.0.client.close().await;
        }
        connected
    }
}

impl Inner {
    pub(crate) fn enter(&self, operation: &'static str) -> Result<Entered<'_>, StoreError> {
        self.calls.enter(operation)
    }

    /// One command about one key.
    async fn about(
        &self,
        operation: &'static str,
        name: &'static str,
        key: &str,
    ) -> Result<i64, StoreError> {
        let _call = self.enter(operation)?;
        self.config.check_key(operation, key)?;
        let command = on_keys(name, &[key]);
        let reply = self.client.call(operation, &command, self.client.deadline()).await?;
        self.client.integer(operation, &reply)
    }
}

#[async_trait]
impl Store for RedisStore {
    fn name(&self) -> &'static str {
        STORE
    }

    fn capabilities(&self) -> &Capabilities {
        &self.0.capabilities
    }

    fn runtime(&self) -> Arc<dyn Runtime> {
        Arc::clone(&self.0.runtime) as Arc<dyn Runtime>
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        let inner = &*self.0;
        let _call = inner.enter("get")?;
        inner.config.check_key("get", key)?;
        let deadline = inner.client.deadline();
        match &inner.gather {
            Some(gather) => gather.ask(key.to_owned(), deadline).await,
            None => Box::pin(reads::get(&inner.client, key, deadline)).await,
        }
    }

    async fn get_many(&self, keys: &[&str]) -> Result<Vec<Option<Bytes>>, StoreError> {
        const OPERATION: &str = "get_many";
        let inner = &*self.0;
        let _call = inner.enter(OPERATION)?;
        keys.iter().try_for_each(|key| inner.config.check_key(OPERATION, key))?;
        let deadline = inner.client.deadline();
        let mut found = Vec::with_capacity(keys.len());
        for keys in keys.chunks(KEYS_PER_COMMAND) {
            let reply = inner.client.call(OPERATION, &on_keys("MGET", keys), deadline).await?;
            match reply {
                Value::Array(values) if values.len() == keys.len() => {
                    for value in values {
                        found.push(inner.client.bytes(OPERATION, value)?);
                    }
                }
                other => return Err(inner.client.unexpected(OPERATION, &other)),
            }
        }
        Ok(found)
    }

    async fn get_many_with_ttl(
        &self,
        keys: &[&str],
    ) -> Result<Vec<Option<(Bytes, Duration)>>, StoreError> {
        let inner = &*self.0;
        let _call = inner.enter(lasting::OPERATION)?;
        keys.iter().try_for_each(|key| inner.config.check_key(lasting::OPERATION, key))?;
        lasting::get(&inner.client, keys, inner.client.deadline()).await
    }

    async fn put(&self, key: &str, value: Bytes, ttl: Duration) -> Result<(), StoreError> {
        const OPERATION: &str = "put";
        let inner = &*self.0;
        let _call = inner.enter(OPERATION)?;
        inner.config.check_entry(OPERATION, key, &value)?;
        let command = ttl::set(key, &value, ttl);
        match inner.client.call(OPERATION, &command, inner.client.deadline()).await? {
            Value::Okay => Ok(()),
            other => Err(inner.client.unexpected(OPERATION, &other)),
        }
    }

    async fn put_many(&self, entries: &[PutEntry<'_>]) -> Result<(), StoreError> {
        const OPERATION: &str = "put_many";
        let inner = &*self.0;
        let _call = inner.enter(OPERATION)?;
        for entry in entries {
            inner.config.check_entry(OPERATION, entry.key, &entry.value)?;
        }
        let deadline = inner.client.deadline();
        let mut rest = entries;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(pipeline_length(rest));
            rest = later;
            let mut pipeline = Pipeline::with_capacity(now.len());
            for entry in now {
                pipeline.add_command(ttl::set(entry.key, &entry.value, entry.ttl));
            }
            let replies = inner.client.call(OPERATION, &pipeline, deadline).await?;
            if let Some(other) = replies.iter().find(|reply| **reply != Value::Okay) {
                return Err(inner.client.unexpected(OPERATION, other));
            }
        }
        Ok(())
    }

    async fn remove(&self, key: &str) -> Result<bool, StoreError> {
        Ok(self.0.about("remove", "UNLINK", key).await? > 0)
    }

    async fn remove_many(&self, keys: &[&str]) -> Result<u64, StoreError> {
        const OPERATION: &str = "remove_many";
        let inner = &*self.0;
        let _call = inner.enter(OPERATION)?;
        keys.iter().try_for_each(|key| inner.config.check_key(OPERATION, key))?;
        let deadline = inner.client.deadline();
        let mut removed = 0;
        for keys in keys.chunks(KEYS_PER_COMMAND) {
            let reply = inner.client.call(OPERATION, &on_keys("UNLINK", keys), deadline).await?;
            let count = inner.client.integer(OPERATION, &reply)?;
            removed += u64::try_from(count).unwrap_or(0);
        }
        Ok(removed)
    }

    async fn contains(&self, key: &str) -> Result<bool, StoreError> {
        Ok(self.0.about("contains", "EXISTS", key).await? > 0)
    }

    async fn epochs(&self, keys: &[&str], life: Duration) -> Result<Vec<u64>, StoreError> {
        let inner = &*self.0;
        let _call = inner.enter(epochs::OPERATION)?;
        keys.iter().try_for_each(|key| inner.config.check_key(epochs::OPERATION, key))?;
        let deadline = inner.client.deadline();
        let mut found = Vec::with_capacity(keys.len());
        for keys in keys.chunks(KEYS_PER_COMMAND) {
            found.extend(epochs::stand(&inner.client, keys, life, deadline).await?);
        }
        Ok(found)
    }

    async fn time_to_live(&self, key: &str) -> Result<Option<Duration>, StoreError> {
        Ok(ttl::from_pttl(self.0.about("time_to_live", "PTTL", key).await?))
    }

    async fn scan(&self, pattern: &Glob, cursor: Option<Cursor>) -> Result<ScanPage, StoreError> {
        let inner = &*self.0;
        let _call = inner.enter(scan::OPERATION)?;
        inner.config.check_key(scan::OPERATION, pattern.as_str())?;
        let deadline = inner.client.deadline();
        if let Some(apart) = inner.client.apart(scan::OPERATION, deadline) {
            return apart.scan(pattern, cursor.as_ref()).await;
        }
        let command = scan::command(pattern, cursor.as_ref())?;
        let reply = inner.client.call(scan::OPERATION, &command, deadline).await?;
        scan::page(reply).map_err(|reply| inner.client.unexpected(scan::OPERATION, &reply))
    }

    async fn ready(&self) -> Result<(), StoreError> {
        let inner = &*self.0;
        let _call = inner.enter("ready")?;
        let deadline = inner.client.deadline();
        match inner.client.apart("ready", deadline) {
            Some(apart) => apart.ready().await,
            None => inner.client.call("ready", &redis::cmd("PING"), deadline).await.map(drop),
        }
    }

    async fn close(&self) -> Result<(), StoreError> {
        let inner = &*self.0;
        let patience = inner.config.command_timeout;
        let left = inner.calls.close(patience).await;
        inner.client.close().await;
        if left == 0 {
            return Ok(());
        }
        let detail = format!("{left} calls did not end within {patience:?} and were cut off");
        Err(StoreError::new(StoreErrorKind::Timeout, STORE, "close", detail))
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore")
            .field("address", &self.address())
            .field("connected", &self.is_connected())
            .field("breaker", &self.breaker_state())
            .finish_non_exhaustive()
    }
}
