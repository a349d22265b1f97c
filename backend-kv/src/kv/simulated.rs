//! A namespace that is as eventually consistent as the real one, on a clock of the test's.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use larder_core::{Runtime, StoreError, Timestamp, seconds};

use super::namespace::{Held, HeldText, Listed, Listing, Metadata, Namespace};
use super::{BULK_KEYS, KvStore, KvStoreBuilder, MAX_VALUE_BYTES};
use crate::error::Failure;

/// After how long a key may be written again.
const WRITE_PAUSE: Duration = seconds(1);
const DEFAULT_CACHE_TTL: Duration = seconds(60);

/// A simulation of Workers KV, for tests.
///
/// The KV of a local workerd is strongly consistent; the real one is not, and this is not:
///
/// - Each [`reader`](Self::reader) is a location of its own. It sees a write after its delay; its
///   own at once.
/// - What a reader has read, values and misses, it keeps for `cacheTtl` and does not look again.
/// - The last write wins.
/// - A second write of a key within a second is refused with 429, and a bulk read of more than
///   25 MiB with 413.
/// - It [fails](Self::fail), or [hangs](Self::hang), when it is told to.
///
/// ```
/// use std::time::Duration;
///
/// use larder_core::{Store, VirtualRuntime, seconds};
/// use larder_kv::SimulatedKv;
///
/// let runtime = VirtualRuntime::seeded(1);
/// let kv = SimulatedKv::new(runtime.clone());
/// let (near, far) = (kv.reader(Duration::ZERO), kv.reader(seconds(20)));
/// runtime.block_on(async move {
///     near.store().unwrap().put("a", "1".into(), seconds(300)).await.unwrap();
///     assert_eq!(near.store().unwrap().get("a").await.unwrap().unwrap(), "1");
///     assert_eq!(far.store().unwrap().get("a").await.unwrap(), None);
/// });
/// ```
#[derive(Clone)]
pub struct SimulatedKv {
    runtime: Arc<dyn Runtime>,
    origin: Arc<Mutex<Origin>>,
}

#[derive(Default)]
struct Origin {
    /// Every write of a key, the oldest first.
    writes: BTreeMap<String, Vec<Write>>,
    readers: usize,
    refused: u64,
    outage: Option<Outage>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outage {
    Fails,
    Hangs,
}

#[derive(Clone)]
struct Write {
    at: Timestamp,
    reader: usize,
    /// `None` for a removal.
    version: Option<Version>,
}

#[derive(Debug, Clone)]
struct Version {
    value: Bytes,
    metadata: Option<Metadata>,
    expires: Timestamp,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SimulatedKv {
    /// An empty namespace on the clock of `runtime`.
    #[must_use]
    pub fn new(runtime: impl Runtime) -> Self {
        Self { runtime: Arc::new(runtime), origin: Arc::default() }
    }

    /// A location that sees the writes of others after `delay`.
    #[must_use]
    pub fn reader(&self, delay: Duration) -> SimulatedKvReader {
        let mut origin = lock(&self.origin);
        origin.readers += 1;
        let cached = Arc::default();
        SimulatedKvReader { kv: self.clone(), number: origin.readers, delay, cached }
    }

    /// How many writes were refused with 429.
    #[must_use]
    pub fn refused(&self) -> u64 {
        lock(&self.origin).refused
    }

    /// How often a key was written, or removed.
    #[must_use]
    pub fn writes(&self, key: &str) -> usize {
        lock(&self.origin).writes.get(key).map_or(0, Vec::len)
    }

    /// Whether every call fails from now on.
    pub fn fail(&self, fails: bool) {
        lock(&self.origin).outage = fails.then_some(Outage::Fails);
    }

    /// Whether every call takes for ever from now on.
    pub fn hang(&self, hangs: bool) {
        lock(&self.origin).outage = hangs.then_some(Outage::Hangs);
    }

    /// Writes a value as another writer would: without metadata, and without an expiry.
    pub fn write_foreign(&self, key: &str, value: impl Into<Bytes>) {
        let version = Version { value: value.into(), metadata: None, expires: Timestamp::MAX };
        let write = Write { at: Timestamp::EPOCH, reader: 0, version: Some(version) };
        lock(&self.origin).writes.entry(key.to_owned()).or_default().push(write);
    }
}

impl fmt::Debug for SimulatedKv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimulatedKv").finish_non_exhaustive()
    }
}

/// A location from which a [`SimulatedKv`] is read and written.
#[derive(Debug, Clone)]
pub struct SimulatedKvReader {
    kv: SimulatedKv,
    number: usize,
    delay: Duration,
    cached: Arc<Mutex<HashMap<String, Seen>>>,
}

/// What was read, and until when it is not looked for again.
type Seen = (Timestamp, Option<Version>);

impl SimulatedKvReader {
    /// The store on this location, on the simulation's runtime.
    ///
    /// # Errors
    ///
    /// As [`KvStoreBuilder::open`].
    pub fn store(&self) -> Result<KvStore, StoreError> {
        self.store_with(KvStore::builder())
    }

    /// The store on this location, with settings.
    ///
    /// # Errors
    ///
    /// As [`KvStoreBuilder::open`].
    pub fn store_with(&self, settings: KvStoreBuilder) -> Result<KvStore, StoreError> {
        settings.over(Box::new(self.clone()), Arc::clone(&self.kv.runtime))
    }

    /// The store on this location and another runtime, whose calls it takes.
    ///
    /// # Errors
    ///
    /// As [`KvStoreBuilder::open`].
    pub fn store_on(&self, runtime: impl Runtime) -> Result<KvStore, StoreError> {
        KvStore::builder().over(Box::new(self.clone()), Arc::new(runtime))
    }

    async fn is_up(&self) -> Result<(), Failure> {
        let outage = lock(&self.kv.origin).outage;
        match outage {
            None => Ok(()),
            Some(Outage::Fails) => Err(Failure::new("KV failed: 500 Internal Server Error")),
            Some(Outage::Hangs) => std::future::pending().await,
        }
    }

    /// The newest version that can be seen from here, past what is cached.
    fn visible(&self, origin: &Origin, key: &str) -> Option<Version> {
        let now = self.kv.runtime.now();
        let is_seen = |write: &&Write| write.reader == self.number || write.at + self.delay <= now;
        let version = origin.writes.get(key)?.iter().rev().find(is_seen)?.version.clone()?;
        (now < version.expires).then_some(version)
    }

    fn read(&self, key: &str, cache_ttl: Option<u32>) -> Option<Version> {
        let now = self.kv.runtime.now();
        let mut cached = lock(&self.cached);
        if let Some((until, seen)) = cached.get(key)
            && now < *until
        {
            return seen.clone().filter(|seen| now < seen.expires);
        }
        let seen = self.visible(&lock(&self.kv.origin), key);
        let ttl = cache_ttl.map_or(DEFAULT_CACHE_TTL, |ttl| seconds(u64::from(ttl)));
        cached.insert(key.to_owned(), (now + ttl, seen.clone()));
        seen
    }

    fn write(&self, operation: &str, key: &str, version: Option<Version>) -> Result<(), Failure> {
        let now = self.kv.runtime.now();
        let mut origin = lock(&self.kv.origin);
        let writes = origin.writes.entry(key.to_owned()).or_default();
        if writes.last().is_some_and(|last| last.reader > 0 && now < last.at + WRITE_PAUSE) {
            origin.refused += 1;
            return Err(Failure::new(format!("KV {operation} failed: 429 Too Many Requests")));
        }
        writes.push(Write { at: now, reader: self.number, version });
        // Its own location sees a write at once.
        lock(&self.cached).remove(key);
        Ok(())
    }
}

#[async_trait]
impl Namespace for SimulatedKvReader {
    async fn get(&self, key: &str, cache_ttl: Option<u32>) -> Result<Option<Held>, Failure> {
        self.is_up().await?;
        let seen = self.read(key, cache_ttl);
        Ok(seen.map(|seen| Held { value: seen.value, metadata: seen.metadata }))
    }

    async fn get_bulk(
        &self,
        keys: &[&str],
        cache_ttl: Option<u32>,
    ) -> Result<HashMap<String, HeldText>, Failure> {
        self.is_up().await?;
        if keys.len() > BULK_KEYS || keys.iter().collect::<HashSet<_>>().len() < keys.len() {
            return Err(Failure::new("KV GET_BULK failed: 400 more than 100 keys, or one twice"));
        }
        let mut held = HashMap::new();
        let mut bytes = 0;
        for key in keys {
            if let Some(seen) = self.read(key, cache_ttl) {
                bytes += seen.value.len();
                if bytes > MAX_VALUE_BYTES {
                    return Err(Failure::new("KV GET_BULK failed: 413 Total size of request"));
                }
                let text = String::from_utf8_lossy(&seen.value).into_owned();
                held.insert((*key).to_owned(), HeldText { text, metadata: seen.metadata });
            }
        }
        Ok(held)
    }

    async fn metadata(
        &self,
        key: &str,
        cache_ttl: Option<u32>,
    ) -> Result<Option<Option<Metadata>>, Failure> {
        self.is_up().await?;
        Ok(self.read(key, cache_ttl).map(|seen| seen.metadata))
    }

    async fn put(
        &self,
        key: &str,
        value: &[u8],
        metadata: &Metadata,
        expiration_ttl: u64,
    ) -> Result<(), Failure> {
        self.is_up().await?;
        if expiration_ttl < 60 {
            return Err(Failure::new("KV PUT failed: 400 Invalid expiration_ttl"));
        }
        let version = Version {
            value: Bytes::copy_from_slice(value),
            metadata: Some(metadata.clone()),
            expires: self.kv.runtime.now() + seconds(expiration_ttl),
        };
        self.write("PUT", key, Some(version))
    }

    async fn delete(&self, key: &str) -> Result<(), Failure> {
        self.is_up().await?;
        self.write("DELETE", key, None)
    }

    async fn list(
        &self,
        prefix: &str,
        cursor: Option<&str>,
        limit: u32,
    ) -> Result<Listing, Failure> {
        self.is_up().await?;
        let origin = lock(&self.kv.origin);
        let after = cursor.unwrap_or_default();
        let mut keys = Vec::new();
        for name in origin.writes.keys().filter(|name| name.starts_with(prefix)) {
            if name.as_str() <= after {
                continue;
            }
            if keys.len() == limit as usize {
                let next = keys.last().map(|last: &Listed| last.name.clone());
                return Ok(Listing { keys, next });
            }
            if let Some(seen) = self.visible(&origin, name) {
                let expiration = (seen.expires < Timestamp::MAX)
                    .then(|| seen.expires.as_millis().div_ceil(1_000));
                let (name, metadata) = (name.clone(), seen.metadata);
                keys.push(Listed { name, expiration, metadata });
            }
        }
        Ok(Listing { keys, next: None })
    }
}
