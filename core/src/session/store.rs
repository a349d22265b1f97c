//! The port for sessions: what a backend keeps, and what it says of it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use compact_str::{CompactString, ToCompactString};

use super::{SessionId, SessionRecord};
use crate::error::StoreError;
use crate::runtime::Runtime;
use crate::time::{Timestamp, minutes};

/// How long a tombstone stands: longer than a request may be under way that loaded the session
/// before it ended.
pub const TOMBSTONE: Duration = minutes(5);

/// How often a change of a session is tried that others come before.
pub const TRIES: u32 = 16;

/// A store of sessions.
///
/// A session that was removed does not come back: [`create`](Self::create) makes what is not there,
/// [`update`](Self::update), [`touch`](Self::touch) and [`renew`](Self::renew) change what is, and
/// nothing does both. Nothing is handed out whose time is over
/// ([`SessionRecord::expires_at`]), and nothing is kept for longer, less what a store needs to
/// collect it.
///
/// Every implementation passes the same conformance suite, less what its [`SessionCapabilities`] do
/// not claim. Keys arrive checked ([`check_key`](crate::check_key)) and complete.
///
/// # Errors
///
/// Every method fails with a [`StoreError`] that names the store and the operation. Whether a
/// change that failed was made is not known; each of them bears being made again.
#[async_trait]
pub trait SessionStore: fmt::Debug + Send + Sync + 'static {
    /// A short name for logs, metrics and errors: `memory`, `redis`.
    fn name(&self) -> &'static str;

    /// What this store promises, and its limits.
    fn capabilities(&self) -> &SessionCapabilities;

    /// The clock, timers and tasks that go with this store.
    fn runtime(&self) -> Arc<dyn Runtime>;

    /// This store on the timers and the calls of `runtime`, as
    /// [`Store::bound_to`](crate::Store::bound_to).
    fn bound_to(&self, runtime: &Arc<dyn Runtime>) -> Option<Arc<dyn SessionStore>> {
        let _ = runtime;
        None
    }

    /// The session under `key`. A tombstone is none.
    async fn load(&self, key: &str) -> Result<Option<StoredSession>, StoreError>;

    /// The same at once, where the store need not be waited for; `None` where it must.
    fn load_now(&self, key: &str) -> Option<Result<Option<StoredSession>, StoreError>> {
        let _ = key;
        None
    }

    /// Makes a session where neither a session nor a tombstone stands; `None` where one does.
    async fn create(
        &self,
        key: &str,
        session: &SessionRecord,
    ) -> Result<Option<Version>, StoreError>;

    /// Replaces the session where it still has the version `expected`.
    async fn update(
        &self,
        key: &str,
        expected: &Version,
        session: &SessionRecord,
    ) -> Result<Updated, StoreError>;

    /// Notes a use, and moves the session's end; its version and its data stay. `false` where there
    /// is no session. An end is never brought forward, nor is the last use.
    async fn touch(&self, key: &str, touch: &Touch) -> Result<bool, StoreError>;

    /// Moves the session to `new_key`, with the content `session`, where it still has the version
    /// `expected`.
    ///
    /// From then on nothing stands under `key` but a tombstone, which tells an
    /// [`update`](Self::update) that was under way where the session went: it is made there, with
    /// the version that was expected here. So no version may be used twice, under either key.
    async fn renew(
        &self,
        key: &str,
        expected: &Version,
        new_key: &str,
        session: &SessionRecord,
    ) -> Result<Updated, StoreError>;

    /// Ends the session, and leaves a tombstone for [`TOMBSTONE`]; whether there was one. One that
    /// has moved ends where it went: a log-out that meets a renewal wins.
    async fn remove(&self, key: &str) -> Result<bool, StoreError>;

    /// The live sessions of `user`, the one that was used last first.
    async fn of_user(&self, user: &str) -> Result<Vec<UserSession>, StoreError>;

    /// Ends all sessions of `user` but the one under `except`; how many there were.
    async fn remove_of_user(&self, user: &str, except: Option<&str>) -> Result<u64, StoreError>;

    /// Whether the store answers now.
    async fn ready(&self) -> Result<(), StoreError>;

    /// Lets what is in flight finish, then refuses further calls. Idempotent.
    async fn close(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

/// A [`SessionStore`] in which every call sees all that was acknowledged before it began: a log-out
/// holds at once, everywhere, and no change is lost.
///
/// It says so of itself by [`SessionCapabilities::is_strong`].
pub trait StrongSessionStore: SessionStore {}

impl<S: StrongSessionStore + ?Sized> StrongSessionStore for Arc<S> {}

#[async_trait]
impl<S: SessionStore + ?Sized> SessionStore for Arc<S> {
    fn name(&self) -> &'static str {
        (**self).name()
    }

    fn capabilities(&self) -> &SessionCapabilities {
        (**self).capabilities()
    }

    fn runtime(&self) -> Arc<dyn Runtime> {
        (**self).runtime()
    }

    fn bound_to(&self, runtime: &Arc<dyn Runtime>) -> Option<Arc<dyn SessionStore>> {
        (**self).bound_to(runtime)
    }

    async fn load(&self, key: &str) -> Result<Option<StoredSession>, StoreError> {
        (**self).load(key).await
    }

    fn load_now(&self, key: &str) -> Option<Result<Option<StoredSession>, StoreError>> {
        (**self).load_now(key)
    }

    async fn create(
        &self,
        key: &str,
        session: &SessionRecord,
    ) -> Result<Option<Version>, StoreError> {
        (**self).create(key, session).await
    }

    async fn update(
        &self,
        key: &str,
        expected: &Version,
        session: &SessionRecord,
    ) -> Result<Updated, StoreError> {
        (**self).update(key, expected, session).await
    }

    async fn touch(&self, key: &str, touch: &Touch) -> Result<bool, StoreError> {
        (**self).touch(key, touch).await
    }

    async fn renew(
        &self,
        key: &str,
        expected: &Version,
        new_key: &str,
        session: &SessionRecord,
    ) -> Result<Updated, StoreError> {
        (**self).renew(key, expected, new_key, session).await
    }

    async fn remove(&self, key: &str) -> Result<bool, StoreError> {
        (**self).remove(key).await
    }

    async fn of_user(&self, user: &str) -> Result<Vec<UserSession>, StoreError> {
        (**self).of_user(user).await
    }

    async fn remove_of_user(&self, user: &str, except: Option<&str>) -> Result<u64, StoreError> {
        (**self).remove_of_user(user, except).await
    }

    async fn ready(&self) -> Result<(), StoreError> {
        (**self).ready().await
    }

    async fn close(&self) -> Result<(), StoreError> {
        (**self).close().await
    }
}

/// A session as a store holds it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct StoredSession {
    /// Its content.
    pub session: Arc<SessionRecord>,
    /// Which state of it this is.
    pub version: Version,
}

impl StoredSession {
    /// A session in the state `version`.
    #[must_use]
    pub fn new(session: impl Into<Arc<SessionRecord>>, version: Version) -> Self {
        Self { session: session.into(), version }
    }
}

/// Tells the states of a session apart. What is in it is the store's own affair.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Version(CompactString);

/// Without its text, of which stores make what they like: there may be content of the session in it.
impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Version").finish_non_exhaustive()
    }
}

impl Version {
    /// A version of a store's own making.
    #[must_use]
    pub fn new(text: impl Into<Box<str>>) -> Self {
        Self(text.into().into())
    }

    /// A version that is a token, drawn for one write, which no other write has.
    ///
    /// ```
    /// use larder_core::session::Version;
    ///
    /// let version = Version::of_token([7; 16]);
    /// assert_eq!(version.token(), Some([7; 16]));
    /// assert_eq!(Version::new("7").token(), None);
    /// ```
    #[must_use]
    pub fn of_token(token: [u8; 16]) -> Self {
        Self::new(format!("{:032x}", u128::from_be_bytes(token)))
    }

    /// The token that [`of_token`](Self::of_token) made it of; `None` for one of another making.
    #[must_use]
    pub fn token(&self) -> Option<[u8; 16]> {
        let is_whole = self.0.len() == 32;
        let token = u128::from_str_radix(&self.0, 16).ok().filter(|_| is_whole);
        token.map(u128::to_be_bytes)
    }

    /// A version that is a number, which takes no allocation.
    pub(super) fn number(number: u64) -> Self {
        Self(number.to_compact_string())
    }

    /// What the store made it of.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What came of a change of a session.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Updated {
    /// It was made, and the session has this version now.
    Done(Version),
    /// It was not made: somebody else changed the session, to this.
    Conflict(Box<StoredSession>),
    /// It was not made: the session has moved to this key.
    Moved(String),
    /// It was not made: something stands under the new key already.
    Taken,
    /// It was not made: there is no session any more.
    Gone,
}

/// A use of a session.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Touch {
    /// When.
    pub seen_at: Timestamp,
    /// Where, as the caller says.
    pub seen_from: Option<String>,
    /// When the session ends now.
    pub expires_at: Timestamp,
}

impl Touch {
    /// A use at `seen_at`, which lets the session live until `expires_at`.
    #[must_use]
    pub fn new(seen_at: Timestamp, seen_from: Option<String>, expires_at: Timestamp) -> Self {
        Self { seen_at, seen_from, expires_at }
    }
}

/// One of a user's sessions, as a list of them shows it. It signs nobody in; but its key is to be
/// kept from clients where the store's sessions are [`KeyedBy::Id`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct UserSession {
    /// The key it is stored under.
    pub key: String,
    /// When it began.
    pub created_at: Timestamp,
    /// When it was last used, to within the throttle of touches.
    pub seen_at: Timestamp,
    /// Where it was last used.
    pub seen_from: Option<String>,
    /// When it ends unless it is used.
    pub expires_at: Timestamp,
}

impl UserSession {
    /// What a list shows of the session under `key`.
    #[must_use]
    pub fn of(key: impl Into<String>, session: &SessionRecord) -> Self {
        Self {
            key: key.into(),
            created_at: session.created_at,
            seen_at: session.seen_at,
            seen_from: session.seen_from.clone(),
            expires_at: session.expires_at,
        }
    }
}

/// What a store of sessions promises, and its limits.
///
/// ```
/// use larder_core::session::SessionCapabilities;
///
/// assert!(SessionCapabilities::strong().is_strong());
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SessionCapabilities {
    /// After how long a change shows everywhere; zero where every call sees all before it.
    pub visible_within: Duration,
    /// The longest complete key, in bytes.
    pub max_key_bytes: usize,
    /// The largest session, in bytes as the store keeps it.
    pub max_session_bytes: usize,
    /// What of an id a session is kept under.
    pub keyed_by: KeyedBy,
}

/// What of an id a session is kept under, behind the namespace.
///
/// ```
/// use larder_core::session::{KeyedBy, SessionId};
///
/// let id = SessionId::random()?;
/// assert_eq!(KeyedBy::Digest.key_of(&id), id.digest());
/// assert_eq!(KeyedBy::Id.key_of(&id), id.expose());
/// # Ok::<(), larder_core::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum KeyedBy {
    /// Its [digest](SessionId::digest): nobody can present what a look at the store shows.
    #[default]
    Digest,
    /// The id itself, as other programs that share the store want it. A look at the store shows
    /// ids, so that cookies have to be signed: then an id alone signs nobody in, without the secret.
    Id,
}

impl KeyedBy {
    /// What the session of `id` is kept under, without the namespace.
    #[must_use]
    pub fn key_of(self, id: &SessionId) -> String {
        match self {
            Self::Digest => id.digest(),
            Self::Id => id.expose().to_owned(),
        }
    }
}

impl SessionCapabilities {
    /// Every call sees all that was acknowledged before it began. Keys of up to 4,096 bytes, and
    /// sessions of up to 1 MiB.
    #[must_use]
    pub fn strong() -> Self {
        Self {
            visible_within: Duration::ZERO,
            max_key_bytes: 4_096,
            max_session_bytes: 1 << 20,
            keyed_by: KeyedBy::Digest,
        }
    }

    /// A change shows everywhere only after `within`.
    #[must_use]
    pub fn eventual(within: Duration) -> Self {
        Self { visible_within: within, ..Self::strong() }
    }

    /// Sets the longest complete key, in bytes.
    #[must_use]
    pub fn max_key_bytes(mut self, bytes: usize) -> Self {
        self.max_key_bytes = bytes;
        self
    }

    /// Sets the largest session, in bytes.
    #[must_use]
    pub fn max_session_bytes(mut self, bytes: usize) -> Self {
        self.max_session_bytes = bytes;
        self
    }

    /// Sets what of an id a session is kept under.
    #[must_use]
    pub fn keyed_by(mut self, keyed_by: KeyedBy) -> Self {
        self.keyed_by = keyed_by;
        self
    }

    /// Whether a log-out holds at once.
    #[must_use]
    pub fn is_strong(&self) -> bool {
        self.visible_within.is_zero()
    }
}
