//! The set-up of sessions, shared by all requests.

use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures::future::{Either, select};

use super::id::DIGEST_LENGTH;
use super::life::Lifetimes;
use super::meter::{Meter, Operation, SessionStats};
use super::presented::Presented;
use super::store::{KeyedBy, SessionStore, StrongSessionStore, UserSession};
use super::{Session, SessionId};
use crate::error::{Error, StoreError, StoreErrorKind};
use crate::key::{self, Namespace};
use crate::runtime::Runtime;
use crate::time::seconds;

/// Sessions over a [`SessionStore`].
///
/// A store that fails is an [`Error::Store`], here and in every call of a [`Session`]: nobody who is
/// signed in is taken for a stranger because a store is down.
///
/// Clones are cheap and share everything.
///
/// ```
/// use larder_core::{MemorySessions, Sessions};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
/// let sessions = Sessions::builder(MemorySessions::new()).build()?;
///
/// // A visitor without a session signs in …
/// let visit = sessions.open(None);
/// visit.sign_in("zoë").await?;
/// visit.insert("theme", &"dark").await?;
/// let id = visit.save().await?.cookie.id().cloned().unwrap();
///
/// // … and is known by the id.
/// let visit = sessions.open(Some(id));
/// assert_eq!(visit.user().await?.as_deref(), Some("zoë"));
/// assert_eq!(visit.get::<String>("theme").await?.as_deref(), Some("dark"));
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Sessions {
    // One, as every session of a request holds it.
    pub(super) shared: Arc<Shared>,
}

#[derive(Clone)]
pub(super) struct Shared {
    pub(super) store: Arc<dyn SessionStore>,
    pub(super) runtime: Arc<dyn Runtime>,
    pub(super) lives: Lifetimes,
    pub(super) meter: Arc<Meter>,
    timeout: Duration,
    namespace: Namespace,
}

impl Sessions {
    /// Starts to set up sessions over a store in which a log-out holds at once, everywhere.
    ///
    /// One that cannot promise it is refused by the compiler:
    ///
    /// ```compile_fail,E0277
    /// use larder_core::{SessionStore, Sessions};
    ///
    /// fn build(store: impl SessionStore) {
    ///     let _ = Sessions::builder(store);
    /// }
    /// ```
    pub fn builder(store: impl StrongSessionStore) -> SessionsBuilder {
        SessionsBuilder::new(Arc::new(store), true)
    }

    /// Starts to set up sessions over any store, in which a session may go on elsewhere after a
    /// log-out, and a change be lost: for as long as
    /// [`visible_within`](super::SessionCapabilities::visible_within) tells.
    ///
    /// ```
    /// use larder_core::{SessionStore, Sessions};
    ///
    /// fn build(store: impl SessionStore) -> larder_core::Result<Sessions> {
    ///     Sessions::eventual(store).build()
    /// }
    /// # build(larder_core::MemorySessions::new())?;
    /// # Ok::<(), larder_core::Error>(())
    /// ```
    pub fn eventual(store: impl SessionStore) -> SessionsBuilder {
        SessionsBuilder::new(Arc::new(store), false)
    }

    /// The session of a request that presents `id`, or none. Nothing is loaded yet.
    #[must_use]
    pub fn open(&self, id: Option<SessionId>) -> Session {
        self.open_presented(Presented::new(id))
    }

    /// Like [`open`](Self::open), for a request that comes from `place`, an address or a device: a
    /// list of the user's sessions shows where each was last used.
    ///
    /// ```
    /// # use larder_core::{MemorySessions, Sessions};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
    /// # let sessions = Sessions::builder(MemorySessions::new()).build()?;
    /// let visit = sessions.open_from(None, "203.0.113.9");
    /// visit.sign_in("zoë").await?;
    /// visit.save().await?;
    /// let list = sessions.of_user("zoë").await?;
    /// assert_eq!(list[0].seen_from.as_deref(), Some("203.0.113.9"));
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn open_from(&self, id: Option<SessionId>, place: impl Into<String>) -> Session {
        self.open_presented(Presented::new(id).seen_from(place))
    }

    /// Like [`open`](Self::open), for a request of which there is more to say.
    ///
    /// ```
    /// # use larder_core::{MemorySessions, Sessions};
    /// # use larder_core::session::Presented;
    /// # let sessions = Sessions::builder(MemorySessions::new()).build()?;
    /// let session = sessions.open_presented(Presented::new(None).seen_from("203.0.113.9"));
    /// # let _ = session;
    /// # Ok::<(), larder_core::Error>(())
    /// ```
    #[must_use]
    pub fn open_presented(&self, presented: Presented) -> Session {
        Session::new(self.clone(), presented)
    }

    /// The live sessions of `user`, the one that was used last first.
    ///
    /// # Errors
    ///
    /// [`Error::Store`] where the store fails.
    ///
    /// ```
    /// # use larder_core::{MemorySessions, Sessions};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
    /// # let sessions = Sessions::builder(MemorySessions::new()).build()?;
    /// assert!(sessions.of_user("zoë").await?.is_empty());
    /// # Ok(()) }
    /// ```
    pub async fn of_user(&self, user: &str) -> Result<Vec<UserSession>, Error> {
        self.in_time(Operation::OfUser, self.shared.store.of_user(user)).await
    }

    /// Ends all sessions of `user`, as after a change of the password or of rights; how many there
    /// were.
    ///
    /// # Errors
    ///
    /// [`Error::Store`] where the store fails; some of them may have ended then.
    ///
    /// ```
    /// # use larder_core::{MemorySessions, Sessions};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
    /// # let sessions = Sessions::builder(MemorySessions::new()).build()?;
    /// let visit = sessions.open(None);
    /// visit.sign_in("zoë").await?;
    /// visit.save().await?;
    /// assert_eq!(sessions.end_of_user("zoë").await?, 1);
    /// # Ok(()) }
    /// ```
    pub async fn end_of_user(&self, user: &str) -> Result<u64, Error> {
        self.remove_of_user(user, None).await
    }

    /// These sessions on the timers and the calls of `runtime`, as [`Cache::on`](crate::Cache::on):
    /// for a request on Workers.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use larder_core::{MemorySessions, Sessions, SystemRuntime};
    /// # let sessions = Sessions::builder(MemorySessions::new()).build()?;
    /// let bound = sessions.on(Arc::new(SystemRuntime::default()));
    /// # let _ = bound;
    /// # Ok::<(), larder_core::Error>(())
    /// ```
    #[must_use]
    pub fn on(&self, runtime: Arc<dyn Runtime>) -> Self {
        let mut shared = Shared::clone(&self.shared);
        if let Some(bound) = shared.store.bound_to(&runtime) {
            shared.store = bound;
        }
        shared.runtime = runtime;
        Self { shared: Arc::new(shared) }
    }

    /// The clock, timers and tasks of these sessions.
    #[must_use]
    pub fn runtime(&self) -> &Arc<dyn Runtime> {
        &self.shared.runtime
    }

    /// How long a session lives that nobody uses.
    #[must_use]
    pub fn idle(&self) -> Duration {
        self.shared.lives.idle
    }

    /// Their name in metrics and logs.
    ///
    /// ```
    /// # use larder_core::{MemorySessions, Sessions};
    /// let sessions = Sessions::builder(MemorySessions::new()).name("shop").build()?;
    /// assert_eq!(sessions.name(), "shop");
    /// # Ok::<(), larder_core::Error>(())
    /// ```
    #[must_use]
    pub fn name(&self) -> &str {
        self.shared.meter.name()
    }

    /// What was counted since they were built, in this process.
    #[must_use]
    pub fn stats(&self) -> SessionStats {
        self.shared.meter.stats()
    }

    /// Where they are kept.
    ///
    /// ```
    /// # use larder_core::{MemorySessions, Sessions};
    /// let sessions = Sessions::builder(MemorySessions::new()).build()?;
    /// assert_eq!(sessions.store().name(), "memory");
    /// # Ok::<(), larder_core::Error>(())
    /// ```
    #[must_use]
    pub fn store(&self) -> &Arc<dyn SessionStore> {
        &self.shared.store
    }

    pub(super) async fn remove_of_user(
        &self,
        user: &str,
        except: Option<&str>,
    ) -> Result<u64, Error> {
        let removed = self.shared.store.remove_of_user(user, except);
        let removed = self.in_time(Operation::RemoveOfUser, removed).await?;
        self.shared.meter.ended_of_user(removed);
        Ok(removed)
    }

    /// What the store answers; a store that takes too long has failed.
    pub(super) async fn in_time<T>(
        &self,
        operation: Operation,
        call: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, Error> {
        let mut call = pin!(call);
        // One that answers at once needs no timer, and is not timed: that would cost more.
        if let Poll::Ready(result) = futures::poll!(call.as_mut()) {
            return self.heard(operation, result);
        }
        let asked = self.shared.runtime.now();
        let result = match select(call, self.shared.runtime.sleep(self.shared.timeout)).await {
            Either::Left((result, _)) => result,
            Either::Right(_) => {
                let after = self.shared.timeout;
                let detail = format!("no answer within {after:?} (see SessionsBuilder::timeout)");
                let (kind, store) = (StoreErrorKind::Timeout, self.shared.store.name());
                Err(StoreError::new(kind, store, operation.as_str(), detail))
            }
        };
        self.shared.meter.store_took(operation, self.shared.runtime.now().since(asked));
        self.heard(operation, result)
    }

    /// Counts a failure.
    pub(super) fn heard<T>(
        &self,
        operation: Operation,
        result: Result<T, StoreError>,
    ) -> Result<T, Error> {
        Ok(result.inspect_err(|error| self.shared.meter.store_failed(operation, error))?)
    }

    /// Under what the store keeps the session of that id.
    pub(super) fn key(&self, id: &SessionId) -> Result<String, Error> {
        let claimed = self.shared.store.capabilities();
        let mut digest = [0; DIGEST_LENGTH];
        let key = match claimed.keyed_by {
            KeyedBy::Digest => id.digest_in(&mut digest),
            KeyedBy::Id => id.expose(),
        };
        Ok(self.shared.namespace.full_key(key, claimed.max_key_bytes, self.shared.store.name())?)
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions")
            .field("store", &self.shared.store)
            .field("namespace", &self.shared.namespace)
            .field("lives", &self.shared.lives)
            .finish_non_exhaustive()
    }
}

/// Builds [`Sessions`].
///
/// ```
/// use larder_core::{MemorySessions, Sessions, days, hours, minutes};
///
/// let sessions = Sessions::builder(MemorySessions::new())
///     .namespace("sess")
///     .idle(hours(12))
///     .absolute(days(7))
///     .touch_every(minutes(5))
///     .build()?;
/// # let _ = sessions;
/// # Ok::<(), larder_core::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "a builder does nothing until `build`"]
pub struct SessionsBuilder {
    store: Arc<dyn SessionStore>,
    is_strict: bool,
    runtime: Option<Arc<dyn Runtime>>,
    name: Option<String>,
    namespace: String,
    lives: Lifetimes,
    timeout: Duration,
}

impl SessionsBuilder {
    fn new(store: Arc<dyn SessionStore>, is_strict: bool) -> Self {
        let lives = Lifetimes::default();
        let (namespace, timeout) = ("sess".into(), seconds(5));
        Self { store, is_strict, runtime: None, name: None, namespace, lives, timeout }
    }

    /// What every key begins with, before a `:`. `sess` by default.
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// The name of the sessions in metrics and logs. Their namespace by default.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// How long a session lives that nobody uses. A week by default.
    pub fn idle(mut self, time: Duration) -> Self {
        self.lives.idle = time;
        self
    }

    /// How long a session lives at most, from when it began, however much it is used. 30 days by
    /// default.
    ///
    /// A [`sign_in`](super::Session::sign_in) goes on with the session that is there, and with the time
    /// that it has left.
    pub fn absolute(mut self, time: Duration) -> Self {
        self.lives.absolute = time;
        self
    }

    /// How often at most it is written that a session was used, which a busy reader would
    /// otherwise cause with every request. A minute by default; at most half of the idle time. A
    /// session may end by as much earlier than its idle time after its last use.
    pub fn touch_every(mut self, time: Duration) -> Self {
        self.lives.touch_every = time;
        self
    }

    /// How long one call to the store may take; one that takes longer has failed. 5 seconds by
    /// default. Stores have time-outs of their own, which tell more of what went wrong: let this be
    /// longer.
    pub fn timeout(mut self, time: Duration) -> Self {
        self.timeout = time;
        self
    }

    /// The clock, timers and tasks to use. Those of the store by default.
    pub fn runtime(mut self, runtime: impl Runtime) -> Self {
        self.runtime = Some(Arc::new(runtime));
        self
    }

    /// The sessions. Nothing is sent to the store yet.
    ///
    /// # Errors
    ///
    /// [`Error::Key`] for a namespace that breaks the rules for keys, [`Error::Config`] for a
    /// setting that cannot work.
    pub fn build(self) -> Result<Sessions, Error> {
        let capabilities = self.store.capabilities();
        if self.is_strict && !capabilities.is_strong() {
            let problem = "the store says of itself that a log-out does not hold at once; \
                           write Sessions::eventual for it";
            return Err(Error::Config { setting: "store", problem: problem.into() });
        }
        self.lives.check()?;
        if self.timeout.is_zero() {
            let problem = "it is zero; give it at least a millisecond".into();
            return Err(Error::Config { setting: "timeout", problem });
        }
        key::check("namespace", &self.namespace, capabilities.max_key_bytes, self.store.name())?;
        let shared = Shared {
            runtime: self.runtime.unwrap_or_else(|| self.store.runtime()),
            store: self.store,
            lives: self.lives,
            timeout: self.timeout,
            namespace: Namespace::default().child(&self.namespace),
            meter: Arc::new(Meter::new(self.name.unwrap_or(self.namespace))),
        };
        Ok(Sessions { shared: Arc::new(shared) })
    }
}
