use std::sync::Arc;

use larder_core::{Leases, Store};

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
}

impl Stores {
    /// One store for everything.
    pub fn new(store: impl Store) -> Self {
        Self { shared: Arc::new(store), users: None, leases: None }
    }

    /// A store for users and their lists alone. Products and settings are never invalidated, and a
    /// minute old at most; users are, and have to be forgotten at once.
    #[must_use]
    pub fn users(mut self, store: impl Store) -> Self {
        self.users = Some(Arc::new(store));
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
