use std::fmt;
use std::sync::Arc;

use super::Targets;
use crate::cache::Cache;
use crate::error::Error;

type Rule<E> = Arc<dyn Fn(&E) -> Targets + Send + Sync>;

/// From events of the type `E` to what they make stale: see the [module](super).
///
/// `E` is mostly an enum of the application's own, so that the compiler asks for an answer to each of
/// its events. Clones are cheap and share the rules.
pub struct EventMap<E> {
    rules: Vec<Rule<E>>,
}

impl<E> EventMap<E> {
    /// A map by which nothing makes anything stale.
    #[must_use]
    pub fn new() -> Self {
        Self { rules: Vec::new() }
    }

    /// Adds a rule: what an event makes stale, besides what the rules before it say. Parts of a program
    /// can each add their own.
    ///
    /// ```
    /// use larder_core::events::{EventMap, Targets};
    ///
    /// struct Sold { product: u64, to: Option<u64> }
    ///
    /// let map = EventMap::<Sold>::new()
    ///     .on(|sold| Targets::new().key(format!("product:{}", sold.product)))
    ///     .on(|sold| sold.to.map(|user| Targets::new().tag(format!("orders-of-{user}"))));
    /// assert_eq!(
    ///     map.targets(&Sold { product: 7, to: Some(42) }),
    ///     Targets::new().key("product:7").tag("orders-of-42"),
    /// );
    /// ```
    #[must_use]
    pub fn on<T: Into<Targets>>(mut self, rule: impl Fn(&E) -> T + Send + Sync + 'static) -> Self {
        self.rules.push(Arc::new(move |event| rule(event).into()));
        self
    }

    /// What `event` makes stale, by all rules together.
    #[must_use]
    pub fn targets(&self, event: &E) -> Targets {
        self.rules.iter().map(|rule| rule(event)).collect()
    }

    /// Removes what `event` makes stale from `cache`, and returns when that is done.
    ///
    /// # Errors
    ///
    /// As [`Cache::invalidate`].
    ///
    /// ```
    /// # use larder_core::events::{EventMap, Targets};
    /// # use larder_core::{Cache, MemoryStore};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
    /// # let cache = Cache::builder(MemoryStore::new()).build()?;
    /// let renamed = EventMap::<u64>::new().on(|id| Targets::new().key(format!("user:{id}")));
    /// renamed.emit(&cache, &42).await?;
    /// # Ok(()) }
    /// ```
    pub async fn emit(&self, cache: &Cache, event: &E) -> Result<(), Error> {
        cache.invalidate(&self.targets(event)).await
    }
}

impl<E> Default for EventMap<E> {
    fn default() -> Self {
        Self::new()
    }
}

impl<E> Clone for EventMap<E> {
    fn clone(&self) -> Self {
        Self { rules: self.rules.clone() }
    }
}

impl<E> fmt::Debug for EventMap<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventMap").field("rules", &self.rules.len()).finish()
    }
}
