//! Typed values over a [`Store`].

mod builder;
mod claim;
mod entry;
mod fleet;
mod form;
mod invalidate;
mod leased;
mod load;
mod load_many;
mod local;
mod policy;
mod read;
mod tags;
mod write;
mod write_through;

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, StoreError};
use crate::flight::Flights;
use crate::invalidation::InvalidationStats;
use crate::key::{self, KeyError, Namespace};
use crate::layout::Layout;
use crate::lease::Leases;
use crate::local::Tier;
use crate::meter::{CacheStats, Meter, Operation};
use crate::runtime::Runtime;
use crate::store::Store;

pub use builder::CacheBuilder;
pub use claim::{Claim, Followed, Follower, Leader};
pub use entry::Entry;
pub use form::{Cacheable, RawValue};
pub use read::Lookup;
pub use write::Removal;

pub(crate) use tags::Tags;

use fleet::{Fleet, Membership};
use policy::Policy;

/// Typed values under string keys, over any [`Store`].
///
/// Reading, loading and invalidating are one line each. What a [`Cache`] adds to a store:
///
/// - **One load for a key**, however many callers wait. They share its value and its error. A
///   loader that hangs, panics or loses its caller frees the key.
/// - **An invalidation wins** over every load in this process that began before it: what such a
///   load finds is handed to those who waited for it, and not kept.
/// - **Absence is a value**: with [`get_or_find`](Self::get_or_find) it is kept, for a shorter time.
/// - **A store that is down costs speed, not answers**: reads are misses, loads go on, what they
///   find is not kept. [`put`](Self::put) and the `remove…` methods report the failure, because a
///   stale value would stay.
/// - **Bytes that cannot be read** (truncated, of another version or codec) are counted misses.
///
/// Clones are cheap and share everything. Values come as [`Arc`], as several callers may get the
/// same one.
///
/// ```
/// use std::sync::Arc;
///
/// use larder_core::{Cache, MemoryStore, minutes};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Debug, PartialEq, Serialize, Deserialize)]
/// struct User { id: u64, name: String }
///
/// # struct Users;
/// # impl Users {
/// #     async fn find(&self, id: u64) -> std::io::Result<User> { Ok(User { id, name: "Zoë".into() }) }
/// # }
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
/// # let users = Users;
/// let cache = Cache::builder(MemoryStore::new()).namespace("app").ttl(minutes(5)).build()?;
///
/// let user: Arc<User> = cache.get_or_load("user:42", || users.find(42)).await?;
/// assert_eq!(user.name, "Zoë");
///
/// cache.remove("user:42").await?;
/// cache.remove_matching("users:*").await?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Cache {
    shared: Arc<Shared>,
    store: Arc<dyn Store>,
    leases: Option<Arc<dyn Leases>>,
    runtime: Arc<dyn Runtime>,
    namespace: Namespace,
    /// What each of its entries stands under, where it is cleared by one call: the namespaces,
    /// its own last.
    scopes: Tags,
    policy: Policy,
    /// Ends what goes on with the bus, together with the last of these.
    membership: Option<Arc<Membership>>,
}

struct Shared {
    layout: Layout,
    flights: Arc<Flights>,
    /// What the store says of itself, which it is not asked for every key.
    max_key_bytes: usize,
    store: &'static str,
    local: Option<Box<dyn Tier>>,
    /// What is shared with other processes, where there is a bus.
    fleet: Option<Fleet>,
    meter: Meter,
}

impl Cache {
    /// Starts to build a cache over `store`.
    pub fn builder(store: impl Store) -> CacheBuilder {
        CacheBuilder::new(Arc::new(store))
    }

    /// Begins a call with settings of its own.
    ///
    /// ```
    /// # use larder_core::{Cache, MemoryStore, minutes};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
    /// let cache = Cache::builder(MemoryStore::new()).build()?;
    /// cache.entry("greeting").ttl(minutes(1)).put("hello").await?;
    /// assert_eq!(cache.get::<String>("greeting").await?.as_deref().unwrap(), "hello");
    /// # Ok(()) }
    /// ```
    pub fn entry<K: AsRef<str>>(&self, key: K) -> Entry<'_, K> {
        Entry::new(self, key)
    }

    /// This cache with another default time to live, for everything that is called on the result.
    ///
    /// ```
    /// # use larder_core::{Cache, MemoryStore, minutes};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
    /// # let cache = Cache::builder(MemoryStore::new()).build()?;
    /// let brief = cache.with_ttl(minutes(1));
    /// brief.put_many([("a", 1), ("b", 2)]).await?;
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn with_ttl(&self, ttl: Duration) -> Self {
        let mut cache = self.clone();
        cache.policy.ttl = ttl;
        cache
    }

    /// This cache with another time for which an absence is kept, for everything that is called on
    /// the result.
    ///
    /// ```
    /// # use larder_core::{Cache, MemoryStore, seconds};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
    /// # let cache = Cache::builder(MemoryStore::new()).build()?;
    /// let brief = cache.with_absent_ttl(seconds(5));
    /// let nobody = |_| async { Ok::<Vec<(u64, String)>, std::io::Error>(Vec::new()) };
    /// brief.get_or_load_many([7], |id| format!("user:{id}"), nobody).await?;
    /// assert!(cache.time_to_live("user:7").await?.unwrap() <= seconds(5));
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn with_absent_ttl(&self, ttl: Duration) -> Self {
        let mut cache = self.clone();
        cache.policy.absent_ttl = ttl;
        cache
    }

    /// This cache with another share of each life that chance may take from it, from 0 to 1, for
    /// everything that is called on the result.
    ///
    /// ```
    /// # use larder_core::{Cache, MemoryStore, minutes};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
    /// # let cache = Cache::builder(MemoryStore::new()).build()?;
    /// let pages = (0..100).map(|n| (format!("page:{n}"), n));
    /// cache.with_ttl(minutes(10)).with_jitter(0.5).put_many(pages).await?;
    /// let mut lives = Vec::new();
    /// for n in 0..100 {
    ///     lives.extend(cache.time_to_live(format!("page:{n}")).await?);
    /// }
    /// assert!(lives.iter().all(|life| *life > minutes(4)));
    /// assert!(lives.iter().any(|life| *life < minutes(9)));
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn with_jitter(&self, share: f64) -> Self {
        let mut cache = self.clone();
        cache.policy.jitter = share;
        cache
    }

    /// This cache with another limit to how long a read of the store may take, see
    /// [`CacheBuilder::read_timeout`], for everything that is called on the result.
    ///
    /// ```
    /// # use larder_core::{Cache, MemoryStore, millis};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
    /// # let cache = Cache::builder(MemoryStore::new()).build()?;
    /// let hasty = cache.with_read_timeout(millis(50));
    /// assert_eq!(hasty.get::<u32>("answer").await?, None);
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn with_read_timeout(&self, timeout: Duration) -> Self {
        let mut cache = self.clone();
        cache.policy.read_timeout = Some(timeout);
        cache
    }

    /// This cache with every key in `namespace`, inside its own namespace if it has one.
    ///
    /// # Errors
    ///
    /// [`Error::Key`] where `namespace` breaks the rules for keys.
    ///
    /// ```
    /// # use larder_core::{Cache, MemoryStore};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
    /// let cache = Cache::builder(MemoryStore::new()).namespace("app").build()?;
    /// cache.in_namespace("v2")?.put("a", &1).await?;
    /// assert!(cache.contains("v2:a").await?);
    /// # Ok(()) }
    /// ```
    pub fn in_namespace(&self, namespace: &str) -> Result<Self, Error> {
        let capabilities = self.store.capabilities();
        let store = self.store.name();
        key::check("namespace", namespace, capabilities.max_key_bytes, store)?;
        let mut cache = self.clone();
        cache.namespace = self.namespace.child(namespace);
        match self.scopes.is_empty() {
            true => Ok(cache),
            false => cache.stamping_its_namespace(),
        }
    }

    /// This cache on another clock and another place for background work: on Workers, those of the
    /// request at hand.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use larder_core::{Cache, MemoryStore, SystemRuntime};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
    /// let cache = Cache::builder(MemoryStore::new()).build()?;
    /// let same = cache.on(Arc::new(SystemRuntime::default()));
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn on(&self, runtime: Arc<dyn Runtime>) -> Self {
        let mut cache = self.clone();
        if let Some(store) = self.store.bound_to(&runtime) {
            cache.store = store;
        }
        if let Some(leases) = self.leases.as_ref().and_then(|leases| leases.bound_to(&runtime)) {
            cache.leases = Some(leases);
        }
        cache.runtime = runtime;
        cache
    }

    /// The cache's name in metrics and logs.
    #[must_use]
    pub fn name(&self) -> &str {
        self.shared.meter.name()
    }

    /// The longest key that this cache takes, in bytes: what the store takes, less the namespace.
    ///
    /// ```
    /// # use larder_core::{Cache, MemoryStore};
    /// let cache = Cache::builder(MemoryStore::new()).namespace("app").build()?;
    /// assert_eq!(cache.max_key_bytes(), 4_096 - "app:".len());
    /// # Ok::<(), larder_core::Error>(())
    /// ```
    #[must_use]
    pub fn max_key_bytes(&self) -> usize {
        let max = self.store.capabilities().max_key_bytes;
        max.saturating_sub(self.namespace.prefix().len())
    }

    /// The store underneath.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// How entries look in the store.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.shared.layout
    }

    /// The clock, timers and tasks that this cache uses.
    #[must_use]
    pub fn runtime(&self) -> &Arc<dyn Runtime> {
        &self.runtime
    }

    /// What has been counted since the cache was built.
    #[must_use]
    pub fn stats(&self) -> CacheStats {
        self.shared.meter.stats()
    }

    /// What has been counted of the [bus](CacheBuilder::invalidation) since the cache was built. All
    /// zero without one.
    #[must_use]
    pub fn invalidation_stats(&self) -> InvalidationStats {
        let fleet = self.shared.fleet.as_ref();
        fleet.map(|fleet| fleet.stats(&*self.runtime)).unwrap_or_default()
    }

    /// How many loads are under way, their writes to the store included.
    ///
    /// Zero when a program that has stopped asking may end without losing a write.
    ///
    /// ```
    /// # use larder_core::{Cache, MemoryStore};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
    /// let cache = Cache::builder(MemoryStore::new()).build()?;
    /// cache.get_or_load("answer", async || Ok::<_, std::io::Error>(42)).await?;
    /// assert_eq!(cache.loads_under_way(), 0);
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn loads_under_way(&self) -> usize {
        self.shared.flights.len()
    }

    fn meter(&self) -> &Meter {
        &self.shared.meter
    }

    fn full_key(&self, key: &str) -> Result<String, KeyError> {
        self.namespace.full_key(key, self.shared.max_key_bytes, self.shared.store)
    }

    /// Calls the store, and counts how long it took and whether it failed.
    ///
    /// A call of a store in this process is not timed: that would cost more than the call.
    async fn metered<T>(
        &self,
        operation: Operation,
        call: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let result = if self.store.capabilities().in_process {
            call.await
        } else {
            let started = self.runtime.now();
            let result = call.await;
            self.meter().store_took(operation, self.runtime.now().since(started));
            result
        };
        if let Err(error) = &result {
            self.meter().store_failed(operation, error);
        }
        result
    }
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache")
            .field("store", &self.store.name())
            .field("namespace", &self.namespace)
            .field("policy", &self.policy)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}
