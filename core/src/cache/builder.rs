use std::sync::Arc;
use std::time::Duration;

use super::fleet::{Fleet, MakeFleet, Settings};
use super::policy::Policy;
use super::{Cache, Shared, Tags};
use crate::codec::Codec;
use crate::error::Error;
use crate::flight::Flights;
use crate::invalidation::Invalidation;
use crate::key::Namespace;
use crate::layout::Layout;
use crate::lease::Leases;
use crate::local::{Local, MakeTier};
use crate::meter::Meter;
use crate::runtime::Runtime;
use crate::store::Store;

/// Builds a [`Cache`].
///
/// ```
/// use larder_core::{Cache, MemoryStore, minutes, seconds};
///
/// let cache = Cache::builder(MemoryStore::new())
///     .namespace("app")
///     .ttl(minutes(5))
///     .absent_ttl(seconds(10))
///     .jitter(0.1)
///     .load_timeout(seconds(3))
///     .build()?;
/// # Ok::<(), larder_core::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "a builder does nothing until `build`"]
pub struct CacheBuilder {
    store: Arc<dyn Store>,
    runtime: Arc<dyn Runtime>,
    name: Option<String>,
    namespace: Option<String>,
    layout: Layout,
    leases: Option<Arc<dyn Leases>>,
    instant_clear: bool,
    local: Option<(u64, MakeTier)>,
    local_ttl: Duration,
    bus: Option<(Arc<dyn Invalidation>, MakeFleet)>,
    channel: Option<String>,
    silence: Duration,
    policy: Policy,
}

const LOCAL_TTL: Duration = Duration::from_secs(5);
const SILENCE: Duration = Duration::from_secs(3);

impl CacheBuilder {
    pub(super) fn new(store: Arc<dyn Store>) -> Self {
        Self {
            runtime: store.runtime(),
            store,
            name: None,
            namespace: None,
            layout: Layout::default(),
            leases: None,
            instant_clear: false,
            local: None,
            local_ttl: LOCAL_TTL,
            bus: None,
            channel: None,
            silence: SILENCE,
            policy: Policy::default(),
        }
    }

    /// What every key begins with, before a `:`. None by default.
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = Some(namespace.into());
        self
    }

    /// The cache's name in metrics and logs. By default its namespace, or `default`.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// How long a value lives, counted from the start of its load. An hour by default.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.policy.ttl = ttl;
        self
    }

    /// How long it is remembered that there is no value. 30 seconds by default; never longer than
    /// a value would live.
    pub fn absent_ttl(mut self, ttl: Duration) -> Self {
        self.policy.absent_ttl = ttl;
        self
    }

    /// The share of each life that chance may take from it, from 0 (the default) to 1, so that
    /// what was stored together does not expire together.
    pub fn jitter(mut self, share: f64) -> Self {
        self.policy.jitter = share;
        self
    }

    /// How long a load may take before its key is freed and its callers get
    /// [`Error::LoadTimeout`]. 30 seconds by default.
    pub fn load_timeout(mut self, timeout: Duration) -> Self {
        self.policy.load_timeout = timeout;
        self
    }

    /// How long a read of the store may take before it counts as a miss. No longer than the store
    /// itself lets it take by default. Does not apply to stores in this process.
    pub fn read_timeout(mut self, timeout: Duration) -> Self {
        self.policy.read_timeout = Some(timeout);
        self
    }

    /// The codec for values, in Larder's own layout. [`Json`](crate::codec::Json) by default.
    ///
    /// The same as `.layout(Layout::Framed(…))`: of the two methods the later call counts.
    pub fn codec(self, codec: impl Codec) -> Self {
        self.layout(Layout::Framed(codec.into()))
    }

    /// How entries look in the store. [`Layout::Plain`] shares them with services of other makes.
    pub fn layout(mut self, layout: Layout) -> Self {
        self.layout = layout;
        self
    }

    /// Loads a key only with its lease, so that it is loaded once in a whole fleet. None by default.
    ///
    /// On a store that shows a write late the fleet loads one at a time: who is next may not see yet
    /// what the one before has stored.
    ///
    /// Costs a round trip for the lease and one to look again, on misses only.
    /// [`get_or_load_many`](Cache::get_or_load_many) takes no leases.
    pub fn leases(mut self, leases: impl Leases) -> Self {
        self.leases = Some(Arc::new(leases));
        self
    }

    /// Lets [`clear`](Cache::clear) be one call of the store, whatever there is in it; and lets it
    /// win over loads in other processes, as [`remove_tag`](Cache::remove_tag) does. Off by default.
    ///
    /// Every entry is stamped with the epoch of its cache's namespace, which each read then asks for
    /// too: in the same round trip, and at the price of one key more. Every process that shares the
    /// entries is to have it on, and to write them through a cache of the same namespace. Not for the
    /// layout [`Plain`](Layout::Plain).
    ///
    /// ```
    /// # use larder_core::{Cache, MemoryStore};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
    /// let cache =
    ///     Cache::builder(MemoryStore::new()).namespace("catalogue").instant_clear().build()?;
    /// cache.put("answer", &42).await?;
    /// cache.clear().await?;
    /// assert_eq!(cache.get::<u32>("answer").await?, None);
    /// # Ok(()) }
    /// ```
    pub fn instant_clear(mut self) -> Self {
        self.instant_clear = true;
        self
    }

    /// Keeps values in front of the store, as they are: a hit is answered here, without the store and
    /// without decoding. None by default.
    ///
    /// There is room for `capacity` values of up to 4 KiB in their stored form; a larger one takes the
    /// room of several. What is used least has to go first.
    ///
    /// A value stays for the [`local_ttl`](Self::local_ttl) at most, and never longer than its entry
    /// lives. What is written and invalidated through this cache and its clones is heeded at once.
    /// What others do to the store is seen when that time is over.
    ///
    /// On Workers the values live in the isolate.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use larder_core::{Cache, MemoryStore};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
    /// let cache = Cache::builder(MemoryStore::new()).local(10_000).build()?;
    /// cache.put("primes", &[2, 3, 5]).await?;
    /// let (first, second) = (cache.get::<Vec<u32>>("primes").await?, cache.get("primes").await?);
    /// assert!(Arc::ptr_eq(&first.unwrap(), &second.unwrap()));
    /// # Ok(()) }
    /// ```
    pub fn local(mut self, capacity: u64) -> Self {
        self.local = Some((capacity, Local::tier));
        self
    }

    /// How long a value stays in front of the store at most: how old a value may be that another
    /// process has replaced or invalidated since. 5 seconds by default.
    ///
    /// ```
    /// # use larder_core::{Cache, MemoryStore, millis};
    /// let cache =
    ///     Cache::builder(MemoryStore::new()).local(10_000).local_ttl(millis(500)).build()?;
    /// # Ok::<(), larder_core::Error>(())
    /// ```
    pub fn local_ttl(mut self, ttl: Duration) -> Self {
        self.local_ttl = ttl;
        self
    }

    /// Tells the other processes that share the store what this cache writes and invalidates, and heeds
    /// what they tell. None by default: then a value in front of the store stays for its
    /// [`local_ttl`](Self::local_ttl).
    ///
    /// What one process invalidates goes from the store, then from its own memory, and then over the
    /// bus; the call returns when the bus has taken it. The others forget what stands in front of their
    /// store, and what loads that are under way find is not kept. Where the bus fails, the call
    /// succeeds; what is to be told is kept, each key once, and told later. 10,000 keys, patterns and
    /// tags wait so; more become one notice that everything may have changed.
    ///
    /// A process that may have missed something, because of a broken connection, a hole in the numbers
    /// of a sender or a [silence](Self::invalidation_silence), holds what it has in front of the store
    /// against it before it uses that again. While the bus cannot be heard, every read asks the store.
    ///
    /// Give every process that shares the store the same kind of bus and layout. In the layout
    /// [`Plain`](Layout::Plain) the messages are bare patterns, on the channel `cache:invalidate`: those
    /// of other services are obeyed, which removes what matches in this cache's namespace from the
    /// store, too. They have neither senders nor numbers: what is missed is known by the connection
    /// alone. Nor do they tell a write from a removal. What is put is told as its key, and whoever hears
    /// that removes the key from the store, with the new value: after a
    /// [`put`](crate::Cache::put) or a [`write_through`](crate::Cache::write_through) the next reader
    /// loads again, unless nobody else listens.
    ///
    /// The bus lives as long as the cache and its clones. It needs a runtime that goes on by itself: on
    /// Workers, where one lives for a request, there is the `local_ttl` and nothing else.
    ///
    /// ```
    /// # use larder_core::{Cache, LocalBus, MemoryStore};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
    /// # let (store, bus) = (MemoryStore::new(), LocalBus::new());
    /// let node = || Cache::builder(store.clone()).local(10_000).invalidation(bus.clone()).build();
    /// let (here, there) = (node()?, node()?);
    /// here.put("answer", &41).await?;
    /// assert_eq!(there.get::<u32>("answer").await?.as_deref(), Some(&41));
    ///
    /// here.put("answer", &42).await?;
    /// # tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    /// // a moment later:
    /// assert_eq!(there.get::<u32>("answer").await?.as_deref(), Some(&42));
    /// # Ok(()) }
    /// ```
    pub fn invalidation(mut self, bus: impl Invalidation) -> Self {
        self.bus = Some((Arc::new(bus), Fleet::MAKE));
        self
    }

    /// The channel of the [bus](Self::invalidation): `larder:invalidate` by default, and
    /// `cache:invalidate` in the layout [`Plain`](Layout::Plain).
    ///
    /// What goes over it are complete keys. So caches of one store may share a channel whatever their
    /// namespaces are; those of different stores need not.
    pub fn invalidation_channel(mut self, name: impl Into<String>) -> Self {
        self.channel = Some(name.into());
        self
    }

    /// How long nothing may be heard over the [bus](Self::invalidation) before that is a sign that it
    /// carries nothing. 3 seconds by default. Three times in it each cache says that it is alive.
    ///
    /// It bounds how old a value in front of the store may be when a notice is lost without a trace.
    ///
    /// ```
    /// # use larder_core::{Cache, LocalBus, MemoryStore, millis};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
    /// let cache = Cache::builder(MemoryStore::new())
    ///     .local(10_000)
    ///     .invalidation(LocalBus::new())
    ///     .invalidation_channel("shop:invalidate")
    ///     .invalidation_silence(millis(900))
    ///     .build()?;
    /// # Ok(()) }
    /// ```
    pub fn invalidation_silence(mut self, longest: Duration) -> Self {
        self.silence = longest;
        self
    }

    /// The clock, timers and tasks to use. Those of the store by default.
    pub fn runtime(mut self, runtime: impl Runtime) -> Self {
        self.runtime = Arc::new(runtime);
        self
    }

    /// The cache. Nothing is sent to the store yet.
    ///
    /// Metrics are bound to the recorder that is installed at this moment.
    ///
    /// # Errors
    ///
    /// [`Error::Key`] for a namespace that breaks the rules for keys, [`Error::Config`] for a
    /// setting that cannot work.
    pub fn build(self) -> Result<Cache, Error> {
        self.policy.check()?;
        if self.instant_clear && matches!(self.layout, Layout::Plain) {
            return Err(Error::Config {
                setting: "instant_clear",
                problem: "the layout Plain has no place for epochs; use Framed, or do without"
                    .into(),
            });
        }
        if self.local_ttl.is_zero() {
            return Err(Error::Config {
                setting: "local_ttl",
                problem: "it is zero; give it at least a millisecond, or do without `local`".into(),
            });
        }
        if self.bus.is_some() {
            check_bus(&*self.runtime, self.silence)?;
        }
        let name = self.name.or_else(|| self.namespace.clone());
        let name = name.unwrap_or_else(|| "default".into());
        let (channel, silence) = (self.channel, self.silence);
        let join = self.bus.as_ref().map(|(_, make)| make.join);
        let fleet = self.bus.map(|(bus, make)| {
            let settings = Settings { bus, channel, silence };
            (make.fleet)(settings, &self.layout, self.runtime.now(), &name)
        });
        let hears_others = fleet.is_some();
        let local =
            |(capacity, tier): (u64, MakeTier)| tier(capacity, self.local_ttl, hears_others);
        let mut cache = Cache {
            shared: Arc::new(Shared {
                layout: self.layout,
                flights: Arc::new(Flights::new()),
                max_key_bytes: self.store.capabilities().max_key_bytes,
                store: self.store.name(),
                local: self.local.map(local),
                fleet,
                meter: Meter::new(name),
            }),
            store: self.store,
            leases: self.leases,
            runtime: self.runtime,
            namespace: Namespace::default(),
            scopes: Tags::default(),
            policy: self.policy,
            membership: None,
        };
        if let Some(namespace) = &self.namespace {
            cache = cache.in_namespace(namespace)?;
        }
        if self.instant_clear {
            cache = cache.stamping_its_namespace()?;
        }
        Ok(match join {
            Some(join) => join(cache),
            None => cache,
        })
    }
}

fn check_bus(runtime: &dyn Runtime, silence: Duration) -> Result<(), Error> {
    if runtime.isolates_tasks() {
        return Err(Error::Config {
            setting: "invalidation",
            problem: "the runtime lives for a request, and nobody listens between two of them; do \
                      without a bus, and give `local_ttl` the time that a value may be old"
                .into(),
        });
    }
    if silence < Duration::from_millis(10) {
        return Err(Error::Config {
            setting: "invalidation_silence",
            problem: format!("it is {silence:?}; give it at least 10 milliseconds"),
        });
    }
    Ok(())
}
