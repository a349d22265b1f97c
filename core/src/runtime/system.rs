//! What can do without a runtime of the caller's, because the platform has one.

#[cfg(feature = "memory")]
use crate::memory::{MemoryStore, MemoryStoreBuilder};
use crate::rate_limit::{MemoryRateLimits, MemoryRateLimitsBuilder};
use crate::session::{MemorySessions, MemorySessionsBuilder};
use crate::write_behind::{MemoryJournal, MemoryJournalBuilder};

#[cfg(feature = "memory")]
impl MemoryStore {
    /// A store of up to 64 MiB on the platform's [`SystemRuntime`](super::SystemRuntime).
    ///
    /// Exists where there is one: with the feature `tokio` on native targets and `browser` on
    /// wasm32. [`MemoryStoreBuilder::on`] takes any other.
    ///
    /// ```
    /// use larder_core::MemoryStore;
    ///
    /// let store = MemoryStore::new();
    /// assert!(store.is_empty());
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self::builder().build()
    }
}

#[cfg(feature = "memory")]
impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(feature = "memory")]
impl MemoryStoreBuilder {
    /// The store, on the platform's [`SystemRuntime`](super::SystemRuntime).
    #[must_use]
    pub fn build(self) -> MemoryStore {
        self.on(super::SystemRuntime::default())
    }
}

impl MemoryRateLimits {
    /// Limits for up to 100,000 keys on the platform's [`SystemRuntime`](super::SystemRuntime).
    ///
    /// Exists where there is one, as [`MemoryStore::new`](crate::MemoryStore::new) does;
    /// [`MemoryRateLimitsBuilder::on`] takes any other.
    ///
    /// ```
    /// use larder_core::MemoryRateLimits;
    ///
    /// let limits = MemoryRateLimits::new();
    /// assert!(limits.is_empty());
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self::builder().build()
    }
}

impl Default for MemoryRateLimits {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryRateLimitsBuilder {
    /// The limits, on the platform's [`SystemRuntime`](super::SystemRuntime).
    #[must_use]
    pub fn build(self) -> MemoryRateLimits {
        self.on(super::SystemRuntime::default())
    }
}

impl MemorySessions {
    /// Up to 100,000 sessions on the platform's [`SystemRuntime`](super::SystemRuntime).
    ///
    /// Exists where there is one, as [`MemoryStore::new`](crate::MemoryStore::new) does;
    /// [`MemorySessionsBuilder::on`] takes any other.
    ///
    /// ```
    /// use larder_core::MemorySessions;
    ///
    /// let sessions = MemorySessions::new();
    /// assert!(sessions.is_empty());
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self::builder().build()
    }
}

impl Default for MemorySessions {
    fn default() -> Self {
        Self::new()
    }
}

impl MemorySessionsBuilder {
    /// The store, on the platform's [`SystemRuntime`](super::SystemRuntime).
    #[must_use]
    pub fn build(self) -> MemorySessions {
        self.on(super::SystemRuntime::default())
    }
}

impl MemoryJournal {
    /// A journal of up to 100,000 writes on the platform's [`SystemRuntime`](super::SystemRuntime).
    ///
    /// Exists where there is one, as [`MemoryStore::new`](crate::MemoryStore::new) does;
    /// [`MemoryJournalBuilder::on`] takes any other.
    ///
    /// ```
    /// use larder_core::MemoryJournal;
    ///
    /// let journal = MemoryJournal::new();
    /// assert!(journal.is_empty());
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self::builder().build()
    }
}

impl Default for MemoryJournal {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryJournalBuilder {
    /// The journal, on the platform's [`SystemRuntime`](super::SystemRuntime).
    #[must_use]
    pub fn build(self) -> MemoryJournal {
        self.on(super::SystemRuntime::default())
    }
}
