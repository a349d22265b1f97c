//! What a case works on.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use event_listener::Event;
use futures::channel::oneshot;
use futures::future::BoxFuture;
use larder_core::{
    Cache, CacheBuilder, Glob, Invalidation, Layout, RateLimitStore, Runtime, SessionStore, Store,
    StoreError, millis, seconds,
};

use super::Failure;
use crate::stores::{Tap, Tapped};

type Open<S> = dyn Fn() -> BoxFuture<'static, Result<Arc<S>, StoreError>> + Send + Sync;

/// A backend under test: how to get handles on its store.
#[derive(Clone)]
pub struct Backend {
    name: String,
    open: Arc<Open<dyn Store>>,
    open_limits: Option<Arc<Open<dyn RateLimitStore>>>,
    open_sessions: Option<Arc<Open<dyn SessionStore>>>,
    open_bus: Option<Arc<Open<dyn Invalidation>>>,
    layout: Layout,
    run: String,
    seed: u64,
}

impl Backend {
    /// A backend by its name in reports. Every handle that `open` gives sees the same entries; of
    /// a store over a network, each is a connection of its own.
    pub fn new(
        name: impl Into<String>,
        open: impl Fn() -> BoxFuture<'static, Result<Arc<dyn Store>, StoreError>>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            open: Arc::new(open),
            open_limits: None,
            open_sessions: None,
            open_bus: None,
            layout: Layout::default(),
            run: "conformance".into(),
            seed: 0,
        }
    }

    /// A backend in this process: all handles are the same store.
    pub fn of(name: impl Into<String>, store: impl Store) -> Self {
        let store: Arc<dyn Store> = Arc::new(store);
        Self::new(name, move || Box::pin(std::future::ready(Ok(Arc::clone(&store)))))
    }

    /// It counts rate limits too. Every handle that `open` gives sees the same counts.
    #[must_use]
    pub fn counting(
        mut self,
        open: impl Fn() -> BoxFuture<'static, Result<Arc<dyn RateLimitStore>, StoreError>>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        self.open_limits = Some(Arc::new(open));
        self
    }

    /// It counts rate limits too, in this process: all handles are the same store.
    #[must_use]
    pub fn counting_in(self, limits: impl RateLimitStore) -> Self {
        let limits: Arc<dyn RateLimitStore> = Arc::new(limits);
        self.counting(move || Box::pin(std::future::ready(Ok(Arc::clone(&limits)))))
    }

    /// It keeps sessions too. Every handle that `open` gives sees the same sessions.
    #[must_use]
    pub fn keeping(
        mut self,
        open: impl Fn() -> BoxFuture<'static, Result<Arc<dyn SessionStore>, StoreError>>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        self.open_sessions = Some(Arc::new(open));
        self
    }

    /// It keeps sessions too, in this process: all handles are the same store.
    #[must_use]
    pub fn keeping_in(self, sessions: impl SessionStore) -> Self {
        let sessions: Arc<dyn SessionStore> = Arc::new(sessions);
        self.keeping(move || Box::pin(std::future::ready(Ok(Arc::clone(&sessions)))))
    }

    /// It carries invalidations too. What is published by any handle that `open` gives is heard by
    /// the listeners of all.
    #[must_use]
    pub fn carrying(
        mut self,
        open: impl Fn() -> BoxFuture<'static, Result<Arc<dyn Invalidation>, StoreError>>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        self.open_bus = Some(Arc::new(open));
        self
    }

    /// It carries invalidations too, in this process: all handles are the same bus.
    #[must_use]
    pub fn carrying_in(self, bus: impl Invalidation) -> Self {
        let bus: Arc<dyn Invalidation> = Arc::new(bus);
        self.carrying(move || Box::pin(std::future::ready(Ok(Arc::clone(&bus)))))
    }

    /// The layout of the caches. Framed JSON by default.
    #[must_use]
    pub fn layout(mut self, layout: Layout) -> Self {
        self.layout = layout;
        self
    }

    /// What all keys begin with: unlike that of other runs on a store that outlives the run.
    #[must_use]
    pub fn run_name(mut self, run: impl Into<String>) -> Self {
        self.run = run.into();
        self
    }

    /// What the delays of a network are drawn from, where a case makes one up.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// The name in reports.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// What a case works on: a store, its clock, and keys that no other case uses.
#[derive(Clone)]
pub struct Bench {
    backend: Backend,
    store: Arc<dyn Store>,
    limits: Option<Arc<dyn RateLimitStore>>,
    sessions: Option<Arc<dyn SessionStore>>,
    bus: Option<Arc<dyn Invalidation>>,
    prefix: String,
}

impl Bench {
    pub(super) async fn new(backend: &Backend, case: &str) -> Result<Self, StoreError> {
        let store = (backend.open)().await?;
        let limits = match &backend.open_limits {
            Some(open) => Some(open().await?),
            None => None,
        };
        let sessions = match &backend.open_sessions {
            Some(open) => Some(open().await?),
            None => None,
        };
        let bus = match &backend.open_bus {
            Some(open) => Some(open().await?),
            None => None,
        };
        let prefix = format!("{}:{case}", backend.run);
        Ok(Self { backend: backend.clone(), store, limits, sessions, bus, prefix })
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Another handle on the same store.
    ///
    /// # Errors
    ///
    /// Where the backend cannot open one.
    pub async fn another_handle(&self) -> Result<Arc<dyn Store>, StoreError> {
        (self.backend.open)().await
    }

    /// The store of counts, where the backend has one.
    #[must_use]
    pub fn limits(&self) -> Option<&Arc<dyn RateLimitStore>> {
        self.limits.as_ref()
    }

    /// Another handle on the same counts.
    ///
    /// # Errors
    ///
    /// Where the backend has none, or cannot open another.
    pub async fn another_handle_on_limits(&self) -> Result<Arc<dyn RateLimitStore>, Failure> {
        match &self.backend.open_limits {
            Some(open) => Ok(open().await?),
            None => Err(Failure::new("the backend counts no rate limits")),
        }
    }

    /// The store of sessions, where the backend has one.
    #[must_use]
    pub fn sessions(&self) -> Option<&Arc<dyn SessionStore>> {
        self.sessions.as_ref()
    }

    /// Another handle on the same sessions.
    ///
    /// # Errors
    ///
    /// Where the backend has none, or cannot open another.
    pub async fn another_handle_on_sessions(&self) -> Result<Arc<dyn SessionStore>, Failure> {
        match &self.backend.open_sessions {
            Some(open) => Ok(open().await?),
            None => Err(Failure::new("the backend keeps no sessions")),
        }
    }

    /// The bus for invalidations, where the backend has one.
    #[must_use]
    pub fn bus(&self) -> Option<&Arc<dyn Invalidation>> {
        self.bus.as_ref()
    }

    /// Another handle on the same bus.
    ///
    /// # Errors
    ///
    /// Where the backend has none, or cannot open another.
    pub async fn another_handle_on_bus(&self) -> Result<Arc<dyn Invalidation>, Failure> {
        match &self.backend.open_bus {
            Some(open) => Ok(open().await?),
            None => Err(Failure::new("the backend has no bus for invalidations")),
        }
    }

    /// The layout that caches have.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.backend.layout
    }

    /// What the delays of this run are drawn from.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.backend.seed
    }

    /// The store's clock and tasks.
    #[must_use]
    pub fn runtime(&self) -> Arc<dyn Runtime> {
        self.store.runtime()
    }

    /// A complete key of this case.
    #[must_use]
    pub fn key(&self, name: &str) -> String {
        format!("{}:{name}", self.prefix)
    }

    /// Complete keys of this case, numbered.
    #[must_use]
    pub fn keys(&self, n: usize) -> Vec<String> {
        (0..n).map(|i| self.key(&format!("{i:05}"))).collect()
    }

    /// A pattern for this case's keys alone.
    #[must_use]
    pub fn pattern(&self, pattern: &str) -> Glob {
        Glob::new(pattern).within(&self.key(""))
    }

    /// A cache over the store, in the run's layout, with [`key`](Self::key) as its complete keys.
    pub fn cache(&self) -> CacheBuilder {
        self.cache_on(Arc::clone(&self.store))
    }

    /// A cache over the store with a tap in its pipe.
    pub fn cache_through(&self, tap: Arc<dyn Tap>) -> CacheBuilder {
        self.cache_on(Arc::new(Tapped::new(Arc::clone(&self.store), tap)))
    }

    /// A cache on another store, with this case's keys and the run's layout.
    pub fn cache_on(&self, store: Arc<dyn Store>) -> CacheBuilder {
        Cache::builder(store).namespace(&self.prefix).layout(self.backend.layout.clone())
    }

    /// The shortest life of an entry that a case may wait for, at the run's layout.
    #[must_use]
    pub fn short_life(&self) -> Duration {
        match self.backend.layout {
            Layout::Framed(_) => millis(60),
            _ => seconds(1),
        }
    }

    /// Lets time pass: in no time where the clock is virtual.
    pub async fn pass(&self, time: Duration) {
        self.runtime().sleep(time).await;
    }

    /// Waits until `condition` holds.
    ///
    /// # Errors
    ///
    /// Where it does not within ten seconds.
    pub async fn until(&self, what: &str, condition: impl Fn() -> bool) -> Result<(), Failure> {
        let runtime = self.runtime();
        let start = runtime.now();
        while !condition() {
            if runtime.now().since(start) > seconds(10) {
                return Err(Failure::new(format!("waited in vain until {what}")));
            }
            runtime.sleep(millis(1)).await;
        }
        Ok(())
    }

    /// Starts `task` beside the case. The receiver fails where the task panics.
    pub fn start<T: Send + 'static>(
        &self,
        task: impl Future<Output = T> + Send + 'static,
    ) -> oneshot::Receiver<T> {
        let (done, wait) = oneshot::channel();
        self.runtime().spawn(Box::pin(async move {
            let _ = done.send(task.await);
        }));
        wait
    }

    /// Runs `tasks` beside one another, in parallel where the runtime has threads.
    ///
    /// # Errors
    ///
    /// Where one of them panics.
    pub async fn together<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
        &self,
        tasks: impl IntoIterator<Item = F>,
    ) -> Result<Vec<T>, Failure> {
        let started: Vec<_> = tasks.into_iter().map(|task| self.start(task)).collect();
        let mut results = Vec::with_capacity(started.len());
        for task in started {
            results.push(task.await.map_err(|_| Failure::new("a task panicked"))?);
        }
        Ok(results)
    }
}

/// Something that is raised, and waited for.
#[derive(Clone, Default)]
pub struct Signal(Arc<SignalState>);

#[derive(Default)]
struct SignalState {
    count: AtomicUsize,
    changed: Event,
}

impl Signal {
    /// Raises it once more.
    pub fn raise(&self) {
        self.0.count.fetch_add(1, Ordering::SeqCst);
        self.0.changed.notify(usize::MAX);
    }

    /// How often it was raised.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.count.load(Ordering::SeqCst)
    }

    /// Waits until it has been raised.
    pub async fn raised(&self) {
        loop {
            let changed = self.0.changed.listen();
            if self.count() > 0 {
                return;
            }
            changed.await;
        }
    }
}
