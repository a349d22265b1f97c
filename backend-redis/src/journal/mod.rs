//! A journal of write-behind in a stream.

mod appends;
mod letter;
mod port;

use std::fmt;
use std::sync::Arc;

use larder_core::write_behind::JournalCapabilities;
use larder_core::{DurableJournal, Runtime, Store, StoreError, StoreErrorKind};
use redis::Value;

use crate::error::STORE;
use crate::gather::Gather;
use crate::outstanding::Outstanding;
use crate::script::{Run, Script};
use crate::store::RedisStore;
use appends::Appends;

/// A [`Journal`](larder_core::Journal) in a stream of Redis 6 or newer, or Valkey.
///
/// Clones share everything. It is made of a store, and shares its connection, its circuit breaker
/// and its time-outs; or connects by itself.
///
/// # How safe a write is
///
/// As safe as this Redis keeps what it acknowledges. With `appendonly yes` and `appendfsync always` that
/// is a crash of the server and its machine; with `everysec`, which is Redis' default for
/// append-only files, a crash of the machine takes up to a second of writes along; without an
/// append-only file, whatever came since the last snapshot. Replicas follow after the acknowledgement: a
/// fail-over can lose writes. A Redis that evicts keys (`maxmemory-policy allkeys-…`) can drop a
/// journal: give it one with `noeviction`.
///
/// # What is sent
///
/// | method | commands | round trips |
/// | --- | --- | --- |
/// | `append` | a script: `TIME`, `XLEN`, `ZCARD`, `XADD` | 1, shared with up to 127 others |
/// | `read` | a script: `XRANGE`, a few writes at a time | 1 |
/// | `lead`, `resign`, `settle`, `backlog` | a script | 1 |
/// | `dead_letters`, `replayed`, `replay`, `discard` | a script | 1 |
/// | `ready` | `PING` | 1 |
///
/// As with [reads](RedisStore#gathered-reads), appends go out at once while few are on their way, and
/// are gathered beyond that. An append whose answer is lost is not sent again, as it would stand in the
/// journal twice: it fails, and it is not known whether the write is kept.
///
/// Places are microseconds of the server's clock. There is no consumer group: one flusher works at a
/// time, and what stands in the stream is what is not settled.
///
/// # What stands in Redis
///
/// Under `{larder-journal:<name>}:`, and so in one slot of a Cluster: the stream `writes`, with the
/// fields `k` and `v`; `last`, the last place; `dead`, the dead letters by their keys; `places` and
/// `replayed`, their places; `leader`, which expires, and `terms`.
///
/// ```no_run
/// use larder_core::write_behind::{Write, WriteBehind};
/// use larder_redis::RedisJournal;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let journal = RedisJournal::connect("redis://127.0.0.1/", "last-seen").await?;
/// let save = async |_: Vec<Write<u64>>| Ok::<_, std::io::Error>(());
/// let last_seen = WriteBehind::builder(journal, save).build()?;
/// last_seen.write("42", &1_767_225_600).await?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct RedisJournal {
    shared: Arc<Shared>,
}

struct Shared {
    store: RedisStore,
    /// Whether the connection is closed with it.
    owns_store: bool,
    name: String,
    calls: Outstanding,
    appends: Arc<Gather<Appends>>,
    scripts: Scripts,
    keys: Keys,
    capabilities: JournalCapabilities,
    runtime: Arc<dyn Runtime>,
}

#[derive(Clone)]
struct Keys {
    writes: String,
    last: String,
    dead: String,
    places: String,
    replayed: String,
    leader: String,
    terms: String,
}

impl Keys {
    fn of(name: &str) -> Self {
        let key = |part: &str| format!("{{larder-journal:{name}}}:{part}");
        Self {
            writes: key("writes"),
            last: key("last"),
            dead: key("dead"),
            places: key("places"),
            replayed: key("replayed"),
            leader: key("leader"),
            terms: key("terms"),
        }
    }
}

struct Scripts {
    lead: Script,
    resign: Script,
    settle: Script,
    backlog: Script,
    read: Script,
    letters: Script,
    replay: Script,
    discard: Script,
}

impl Scripts {
    fn new() -> Self {
        Self {
            lead: Script::new(include_str!("lead.lua")),
            resign: Script::new(include_str!("resign.lua")),
            settle: Script::new(include_str!("settle.lua")),
            backlog: Script::new(include_str!("backlog.lua")),
            read: Script::new(include_str!("read.lua")),
            letters: Script::new(include_str!("letters.lua")),
            replay: Script::new(include_str!("replay.lua")),
            discard: Script::new(include_str!("discard.lua")),
        }
    }
}

impl RedisJournal {
    /// Connects to the Redis at `url`, with the defaults of
    /// [`RedisStoreBuilder`](crate::RedisStoreBuilder), and waits until it is ready.
    ///
    /// For other settings build a [`RedisStore`], and take its [`journal`](RedisStore::journal).
    ///
    /// # Errors
    ///
    /// As [`RedisStore::connect`] and [`RedisStore::journal`].
    ///
    /// ```no_run
    /// # async fn run() -> Result<(), larder_core::StoreError> {
    /// use larder_redis::RedisJournal;
    ///
    /// let journal = RedisJournal::connect("redis://127.0.0.1/", "last-seen").await?;
    /// # Ok(()) }
    /// ```
    pub async fn connect(url: impl AsRef<str>, name: &str) -> Result<Self, StoreError> {
        check(name)?;
        Ok(Self::new(RedisStore::connect(url).await?, true, name, None))
    }

    pub(crate) fn on(store: RedisStore, name: &str) -> Result<Self, StoreError> {
        check(name)?;
        Ok(Self::new(store, false, name, None))
    }

    fn new(store: RedisStore, owns_store: bool, name: &str, max_writes: Option<usize>) -> Self {
        let inner = store.inner();
        let config = &inner.config;
        let calls = Outstanding::new(config.max_outstanding, inner.client.meter.clone());
        let capabilities = JournalCapabilities::durable();
        let most = capabilities.max_value_bytes.min(config.max_value_bytes);
        let capabilities = capabilities.max_key_bytes(config.max_key_bytes).max_value_bytes(most);
        let max_writes = max_writes.unwrap_or(capabilities.max_writes);
        let capabilities = capabilities.max_writes(max_writes);
        let keys = Keys::of(name);
        let script = Script::new(include_str!("append.lua"));
        let appends = Appends { script, keys: keys.clone(), max_writes };
        let appends =
            Arc::new(Gather::new(Arc::clone(&inner.client), appends, config.max_outstanding));
        let (scripts, runtime, name) = (Scripts::new(), store.runtime(), name.to_owned());
        Self {
            shared: Arc::new(Shared {
                store,
                owns_store,
                name,
                calls,
                appends,
                scripts,
                keys,
                capabilities,
                runtime,
            }),
        }
    }

    /// Sets how many writes and dead letters there are at most. 100,000 by default. All processes on a
    /// journal need the same.
    ///
    /// ```
    /// use larder_core::Journal;
    /// use larder_redis::RedisStore;
    ///
    /// # fn main() -> Result<(), larder_core::StoreError> {
    /// let store = RedisStore::lazy("redis://127.0.0.1/")?;
    /// let journal = store.journal("last-seen")?.max_writes(1_000_000);
    /// assert_eq!(journal.capabilities().max_writes, 1_000_000);
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn max_writes(self, writes: usize) -> Self {
        let shared = &self.shared;
        Self::new(shared.store.clone(), shared.owns_store, &shared.name, Some(writes))
    }

    /// Where the journal is, as a URL without user and password.
    ///
    /// ```
    /// # fn main() -> Result<(), larder_core::StoreError> {
    /// let store = larder_redis::RedisStore::lazy("redis://me:secret@journal.internal/2")?;
    /// assert_eq!(store.journal("last-seen")?.address(), "redis://journal.internal:6379/2");
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn address(&self) -> &str {
        self.shared.store.address()
    }

    /// Runs a script that comes to the same when it is run twice.
    async fn run(
        &self,
        operation: &'static str,
        script: &Script,
        keys: &[&str],
        arguments: &[&[u8]],
    ) -> Result<Value, StoreError> {
        let _call = self.shared.calls.enter(operation)?;
        let client = &self.shared.store.inner().client;
        let run = Run { script, keys, arguments, repeatable: true };
        client.call(operation, &run, client.deadline()).await
    }

    /// A script that says whether it did something.
    async fn run_if(
        &self,
        operation: &'static str,
        script: &Script,
        keys: &[&str],
        arguments: &[&[u8]],
    ) -> Result<bool, StoreError> {
        let reply = self.run(operation, script, keys, arguments).await?;
        Ok(self.shared.store.inner().client.integer(operation, &reply)? == 1)
    }
}

fn check(name: &str) -> Result<(), StoreError> {
    if !name.is_empty() && !name.contains(['{', '}']) {
        return Ok(());
    }
    let detail = format!("the journal's name {name:?} is empty or has a brace; give it another");
    Err(StoreError::new(StoreErrorKind::Config, STORE, "journal", detail))
}

impl DurableJournal for RedisJournal {}

impl fmt::Debug for RedisJournal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisJournal")
            .field("store", &self.shared.store)
            .field("name", &self.shared.name)
            .finish_non_exhaustive()
    }
}
