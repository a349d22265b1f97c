//! Invalidating keys, patterns and tags by one call.

use futures::future::join3;

use super::Cache;
use crate::error::Error;
use crate::events::Targets;

impl Cache {
    /// Invalidates keys, patterns and tags: as [`remove_many`](Self::remove_many),
    /// [`remove_matching`](Self::remove_matching) and [`remove_tags`](Self::remove_tags) do, the three
    /// kinds at once. What fails keeps nothing else from being invalidated.
    ///
    /// # Errors
    ///
    /// [`Error::NotInvalidated`] with what may still be served, and with the first reason. Giving that
    /// to `invalidate` again tries no more than is left.
    ///
    /// ```
    /// use larder_core::events::Targets;
    /// # use larder_core::{Cache, Error, MemoryStore};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
    /// # let cache = Cache::builder(MemoryStore::new()).build()?;
    /// let stale = Targets::new().key("user:42").pattern("users:*").tag("team");
    /// if let Err(Error::NotInvalidated { left, source }) = cache.invalidate(&stale).await {
    ///     println!("{left} may still be served, because {source}");
    ///     cache.invalidate(&left).await?;
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn invalidate(&self, targets: &Targets) -> Result<(), Error> {
        let removed = join3(
            self.invalidate_keys(targets),
            self.invalidate_tags(targets),
            self.invalidate_patterns(targets),
        );
        let (keys, tags, patterns) = removed.await;
        let mut failures = [keys, tags, patterns].into_iter().filter_map(Failure::told);
        let Some((mut left, source)) = failures.next() else { return Ok(()) };
        left.extend(failures.map(|(left, _)| left));
        Err(Error::NotInvalidated { left: Box::new(left), source: Box::new(source) })
    }

    async fn invalidate_keys(&self, targets: &Targets) -> Failure {
        let mut failure = Failure::default();
        let mut keys = Vec::new();
        // A key that breaks the rules must not keep the others from going.
        for key in targets.all_keys() {
            match self.full_key(key) {
                Ok(_) => keys.push(key),
                Err(error) => failure.at(Targets::new().key(key), error),
            }
        }
        for keys in keys.chunks(self.portion()) {
            if let Err(error) = self.remove_many(keys).await {
                failure.at(Targets::new().keys(keys.iter().copied()), error);
            }
        }
        failure
    }

    async fn invalidate_tags(&self, targets: &Targets) -> Failure {
        let mut failure = Failure::default();
        let mut tags = Vec::new();
        for tag in targets.all_tags() {
            match self.tag(tag) {
                Ok(_) => tags.push(tag),
                Err(error) => failure.at(Targets::new().tag(tag), error),
            }
        }
        for tags in tags.chunks(self.portion()) {
            if let Err(error) = self.remove_tags(tags).await {
                failure.at(tags.iter().copied().fold(Targets::new(), Targets::tag), error);
            }
        }
        failure
    }

    /// One after the other, as each goes through the whole store.
    async fn invalidate_patterns(&self, targets: &Targets) -> Failure {
        let mut failure = Failure::default();
        for pattern in targets.all_patterns() {
            if let Err(error) = self.remove_matching(pattern).await {
                failure.at(Targets::new().pattern(pattern), error);
            }
        }
        failure
    }

    fn portion(&self) -> usize {
        self.store().capabilities().max_batch_keys.max(1)
    }
}

/// What could not be removed, and the first reason why.
#[derive(Default)]
struct Failure {
    left: Targets,
    source: Option<Error>,
}

impl Failure {
    fn at(&mut self, left: Targets, source: impl Into<Error>) {
        self.left.extend([left]);
        self.source.get_or_insert_with(|| source.into());
    }

    fn told(self) -> Option<(Targets, Error)> {
        self.source.map(|source| (self.left, source))
    }
}
