//! Sessions in this process.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use metrics::counter;

use super::SessionRecord;
use super::slot::{Ended, Slot, stored};
use super::store::{
    SessionCapabilities, SessionStore, StoredSession, StrongSessionStore, Touch, Updated,
    UserSession, Version,
};
use crate::error::StoreError;
use crate::forgetful::{Forget, Forgetful};
use crate::runtime::Runtime;
use crate::time::Timestamp;

/// A [`SessionStore`] in this process, strong, and bounded by the number of its sessions.
///
/// When it is full, the session goes that would end next: for its user that is a sign-out, see
/// [`evicted`](Self::evicted). Sessions end with the process.
///
/// Clones share the sessions.
///
/// ```
/// use larder_core::MemorySessions;
///
/// let sessions = MemorySessions::builder().max_sessions(10_000).build();
/// assert!(sessions.is_empty());
/// ```
#[derive(Clone)]
pub struct MemorySessions {
    inner: Arc<Inner>,
}

struct Inner {
    slots: Forgetful<Slot>,
    users: Forgetful<KeysOfUser>,
    next_version: AtomicU64,
    capabilities: SessionCapabilities,
    runtime: Arc<dyn Runtime>,
}

/// Keys that were a user's when they were written, and when those sessions end: whether they are
/// still the user's, their slots say.
#[derive(Default)]
struct KeysOfUser(BTreeMap<String, Timestamp>);

impl Forget for Slot {
    fn forgotten_at(&self) -> Timestamp {
        self.ends_at()
    }
}

impl Forget for KeysOfUser {
    fn forgotten_at(&self) -> Timestamp {
        self.0.values().max().copied().unwrap_or_default()
    }
}

/// Builds [`MemorySessions`].
///
/// ```
/// use larder_core::MemorySessions;
///
/// let sessions = MemorySessions::builder().max_sessions(10_000).build();
/// # let _ = sessions;
/// ```
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until `build` or `on`"]
pub struct MemorySessionsBuilder {
    max_sessions: usize,
}

impl MemorySessionsBuilder {
    /// How many sessions there are at most, and how many users with sessions. 100,000 by default.
    pub fn max_sessions(mut self, sessions: usize) -> Self {
        self.max_sessions = sessions;
        self
    }

    /// The store, on the clock of `runtime`.
    ///
    /// ```
    /// # use larder_core::{MemorySessions, SystemRuntime};
    /// let sessions = MemorySessions::builder().on(SystemRuntime::default());
    /// # let _ = sessions;
    /// ```
    #[must_use]
    pub fn on(self, runtime: impl Runtime) -> MemorySessions {
        let evicted =
            |what: &'static str| counter!("larder_memory_sessions_evicted_total", "what" => what);
        MemorySessions {
            inner: Arc::new(Inner {
                slots: Forgetful::counting(self.max_sessions, evicted("session")),
                users: Forgetful::counting(self.max_sessions, evicted("user")),
                next_version: AtomicU64::new(1),
                capabilities: SessionCapabilities::strong(),
                runtime: Arc::new(runtime),
            }),
        }
    }
}

impl MemorySessions {
    /// Starts to build a store.
    ///
    /// ```
    /// # use larder_core::MemorySessions;
    /// let sessions = MemorySessions::builder().max_sessions(10_000).build();
    /// # let _ = sessions;
    /// ```
    pub fn builder() -> MemorySessionsBuilder {
        MemorySessionsBuilder { max_sessions: 100_000 }
    }

    /// How many sessions and tombstones there are, those among them whose time is over but which
    /// still take room included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.inner.slots.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many had to go before their time, for want of room: sessions, tombstones, and what tells
    /// which sessions a user has.
    #[must_use]
    pub fn evicted(&self) -> u64 {
        self.inner.slots.evicted() + self.inner.users.evicted()
    }
}

#[cfg(test)]
impl MemorySessions {
    /// How many keys are kept for the user.
    pub(super) fn indexed(&self, user: &str) -> usize {
        self.inner.keys_of(self.inner.runtime.now(), user).len()
    }
}

impl Inner {
    fn version(&self) -> u64 {
        self.next_version.fetch_add(1, Ordering::Relaxed)
    }

    fn load(&self, key: &str) -> Option<StoredSession> {
        self.slots.read(key, |slot| match slot {
            Slot::Live { session, version } if !self.runtime.has_passed(session.expires_at) => {
                Some(stored(session, *version))
            }
            _ => None,
        })
    }

    /// Before the session itself, so that whoever ends all of a user's finds it.
    fn index(&self, now: Timestamp, key: &str, session: &SessionRecord) {
        let Some(user) = &session.user else { return };
        self.users.change(user, now, |keys| {
            keys.0.retain(|_, expires_at| now < *expires_at);
            // A save that meets a conflict comes by here too, and ends nothing earlier.
            let ends_at = keys.0.entry(key.to_owned()).or_default();
            *ends_at = session.expires_at.max(*ends_at);
        });
    }

    /// After the session is buried, so that it is missed by nobody.
    fn unindex(&self, now: Timestamp, key: &str, user: Option<&str>) {
        let Some(user) = user else { return };
        self.users.change(user, now, |keys| keys.0.remove(key));
    }

    fn keys_of(&self, now: Timestamp, user: &str) -> Vec<String> {
        self.users.change(user, now, |keys| keys.0.keys().cloned().collect())
    }

    /// Ends the session if it is `one_of_them`, wherever it has moved but under `except`.
    fn end(
        &self,
        now: Timestamp,
        key: &str,
        except: Option<&str>,
        one_of_them: impl Fn(&SessionRecord) -> bool,
    ) -> bool {
        let mut key = key.to_owned();
        while except != Some(&key) {
            match self.slots.change(&key, now, |slot| slot.end(now, &one_of_them)) {
                Ended::Now(ended) => {
                    self.unindex(now, &key, ended.user.as_deref());
                    return true;
                }
                Ended::MovedTo(to) => key = to,
                Ended::Anothers | Ended::Gone => return false,
            }
        }
        false
    }
}

#[async_trait]
impl SessionStore for MemorySessions {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn capabilities(&self) -> &SessionCapabilities {
        &self.inner.capabilities
    }

    fn runtime(&self) -> Arc<dyn Runtime> {
        Arc::clone(&self.inner.runtime)
    }

    async fn load(&self, key: &str) -> Result<Option<StoredSession>, StoreError> {
        Ok(self.inner.load(key))
    }

    fn load_now(&self, key: &str) -> Option<Result<Option<StoredSession>, StoreError>> {
        Some(Ok(self.inner.load(key)))
    }

    async fn create(
        &self,
        key: &str,
        session: &SessionRecord,
    ) -> Result<Option<Version>, StoreError> {
        let (now, number) = (self.inner.runtime.now(), self.inner.version());
        self.inner.index(now, key, session);
        Ok(self.inner.slots.change(key, now, |slot| slot.create(now, number, session)))
    }

    async fn update(
        &self,
        key: &str,
        expected: &Version,
        session: &SessionRecord,
    ) -> Result<Updated, StoreError> {
        let (now, number) = (self.inner.runtime.now(), self.inner.version());
        self.inner.index(now, key, session);
        let update = |slot: &mut Slot| slot.update(now, expected, number, session);
        Ok(self.inner.slots.change(key, now, update))
    }

    async fn touch(&self, key: &str, touch: &Touch) -> Result<bool, StoreError> {
        let now = self.inner.runtime.now();
        let touched = self.inner.slots.change(key, now, |slot| slot.touch(now, touch));
        if let Some(session) = &touched {
            self.inner.index(now, key, session);
        }
        Ok(touched.is_some())
    }

    async fn renew(
        &self,
        key: &str,
        expected: &Version,
        new_key: &str,
        session: &SessionRecord,
    ) -> Result<Updated, StoreError> {
        let (now, inner) = (self.inner.runtime.now(), &*self.inner);
        // The new one first: whoever is told of the move finds it there.
        let Some(version) = self.create(new_key, session).await? else {
            return Ok(Updated::Taken);
        };
        match inner.slots.change(key, now, |slot| slot.leave(now, expected, new_key)) {
            Ok(left) => {
                inner.unindex(now, key, left.and_then(|left| left.user.clone()).as_deref());
                Ok(Updated::Done(version))
            }
            Err(refusal) => {
                inner.slots.change(new_key, now, |slot| *slot = Slot::Empty);
                inner.unindex(now, new_key, session.user.as_deref());
                Ok(*refusal)
            }
        }
    }

    async fn remove(&self, key: &str) -> Result<bool, StoreError> {
        let now = self.inner.runtime.now();
        Ok(self.inner.end(now, key, None, |_| true))
    }

    async fn of_user(&self, user: &str) -> Result<Vec<UserSession>, StoreError> {
        let now = self.inner.runtime.now();
        let keys = self.inner.keys_of(now, user);
        let mut found: Vec<UserSession> = keys
            .into_iter()
            .filter_map(|key| {
                let session =
                    self.inner.slots.change(&key, now, |slot| slot.session(now).cloned())?;
                (session.user.as_deref() == Some(user)).then(|| UserSession::of(key, &session))
            })
            .collect();
        found.sort_by_key(|session| std::cmp::Reverse(session.seen_at));
        Ok(found)
    }

    async fn remove_of_user(&self, user: &str, except: Option<&str>) -> Result<u64, StoreError> {
        let now = self.inner.runtime.now();
        let mut removed = 0;
        for key in self.inner.keys_of(now, user) {
            let is_theirs = |session: &SessionRecord| session.user.as_deref() == Some(user);
            removed += u64::from(self.inner.end(now, &key, except, is_theirs));
        }
        Ok(removed)
    }

    async fn ready(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

impl StrongSessionStore for MemorySessions {}

impl fmt::Debug for MemorySessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemorySessions").field("len", &self.len()).finish_non_exhaustive()
    }
}
