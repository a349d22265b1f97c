use std::sync::Arc;
use std::time::Duration;

use larder_core::invalidation::Invalidation;
use larder_core::{CacheBuilder, Leases, Store, minutes};

/// So many users stand in front of the store.
const TIER: u64 = 10_000;
/// A user is no older there, whatever the bus does.
const TIER_TTL: Duration = minutes(1);

/// Where the shop keeps its caches: one store for all, or one for each.
///
/// ```
/// use larder_core::MemoryStore;
/// use larder_demo::Stores;
///
/// // Users, which are to be forgotten as soon as one is written, in a store of their own.
/// let stores = Stores::new(MemoryStore::new()).users(MemoryStore::new());
/// # let _ = stores;
/// ```
#[derive(Debug, Clone)]
pub struct Stores {
    pub(crate) shared: Arc<dyn Store>,
    /// Where it is another.
    pub(crate) users: Option<Arc<dyn Store>>,
    pub(crate) leases: Option<Arc<dyn Leases>>,
    pub(crate) tier: Option<Tier>,
}

/// What stands in front of the store of users, and the bus that keeps it young.
#[derive(Debug, Clone)]
pub(crate) struct Tier {
    bus: Arc<dyn Invalidation>,
    /// Behind a pointer, so that a Worker, which has no bus, is not linked with what one takes.
    put: fn(CacheBuilder, Arc<dyn Invalidation>) -> CacheBuilder,
}

impl Tier {
    pub(crate) fn in_front_of(self, users: CacheBuilder) -> CacheBuilder {
        (self.put)(users, self.bus)
    }
}

impl Stores {
    /// One store for everything.
    pub fn new(store: impl Store) -> Self {
        Self { shared: Arc::new(store), users: None, leases: None, tier: None }
    }

    /// A store for users and their lists alone. Products and settings are never invalidated, and a
    /// minute old at most; users are, and have to be forgotten at once.
    #[must_use]
    pub fn users(mut self, store: impl Store) -> Self {
        self.users = Some(Arc::new(store));
        self
    }

    /// Users in front of the store too, in the server's own memory. Servers on one store tell each other
    /// over `bus` what was changed; without that a user may be a minute old there.
    ///
    /// Products and settings, which nobody changes, stay in the store alone.
    ///
    /// ```
    /// use larder_core::{LocalBus, MemoryStore};
    /// use larder_demo::Stores;
    ///
    /// let (store, bus) = (MemoryStore::new(), LocalBus::new());
    /// let nodes = [1, 2].map(|_| Stores::new(store.clone()).bus(bus.clone()));
    /// # let _ = nodes;
    /// ```
    #[must_use]
    pub fn bus(mut self, bus: impl Invalidation) -> Self {
        let put =
            |users: CacheBuilder, bus| users.local(TIER).local_ttl(TIER_TTL).invalidation(bus);
        self.tier = Some(Tier { bus: Arc::new(bus), put });
        self
    }

    /// Leases, so that one process at a time asks the database for a page of products.
    #[must_use]
    pub fn leases(mut self, leases: impl Leases) -> Self {
        self.leases = Some(Arc::new(leases));
        self
    }
}

impl<S: Store> From<S> for Stores {
    fn from(store: S) -> Self {
        Self::new(store)
    }
}
