//! The session of one request.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::future::join_all;
use futures::lock::{Mutex, MutexGuard};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Sessions;
use super::meter::Operation;
use super::presented::Presented;
use super::record::Value;
use super::sessions::Shared;
use super::state::{Ending, FLASH, State, Stored};
use crate::error::Error;

/// The session of one request: loaded when it is first touched, written by [`save`](Self::save) when
/// it changed.
///
/// Clones are the same session. A request reads its own changes.
///
/// ```
/// # use larder_core::{MemorySessions, Sessions};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Default, Serialize, Deserialize)]
/// struct Cart {
///     products: Vec<u64>,
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
/// # let sessions = Sessions::builder(MemorySessions::new()).build()?;
/// let session = sessions.open(None);
/// let mut cart = session.get::<Cart>("cart").await?.unwrap_or_default();
/// cart.products.push(42);
/// session.insert("cart", &cart).await?;
/// session.save().await?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Session {
    visit: Arc<Visit>,
}

struct Visit {
    sessions: Sessions,
    place: Option<String>,
    is_touched: AtomicBool,
    state: Mutex<State>,
}

impl Session {
    pub(super) fn new(sessions: Sessions, presented: Presented) -> Self {
        let (state, place) = State::new(presented);
        let (is_touched, state) = (AtomicBool::new(false), Mutex::new(state));
        Self { visit: Arc::new(Visit { sessions, place, is_touched, state }) }
    }

    /// The value under `key`.
    ///
    /// # Errors
    ///
    /// [`Error::Store`] where the session could not be loaded; [`Error::SessionValue`] for a value
    /// that is not of this type.
    pub async fn get<T: DeserializeOwned>(&self, key: impl AsRef<str>) -> Result<Option<T>, Error> {
        let state = self.loaded().await?;
        read(key.as_ref(), state.changes.value(state.stored.data(), key.as_ref()))
    }

    /// Whether there is a value under `key`.
    ///
    /// # Errors
    ///
    /// [`Error::Store`] where the session could not be loaded.
    ///
    /// ```
    /// # use larder_core::{MemorySessions, Sessions};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
    /// # let session = Sessions::builder(MemorySessions::new()).build()?.open(None);
    /// assert!(!session.contains("cart").await?);
    /// # Ok(()) }
    /// ```
    pub async fn contains(&self, key: impl AsRef<str>) -> Result<bool, Error> {
        let state = self.loaded().await?;
        Ok(state.changes.value(state.stored.data(), key.as_ref()).is_some())
    }

    /// Sets the value under `key`, when the session is saved. Loads nothing.
    ///
    /// # Errors
    ///
    /// [`Error::SessionValue`] for a value that cannot be written as JSON, and for a key that begins
    /// with `~`, which flash values have.
    ///
    /// ```
    /// # use larder_core::{MemorySessions, Sessions};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
    /// # let session = Sessions::builder(MemorySessions::new()).build()?.open(None);
    /// session.insert("theme", "dark").await?;
    /// assert_eq!(session.get::<String>("theme").await?.as_deref(), Some("dark"));
    /// # Ok(()) }
    /// ```
    pub async fn insert<T: Serialize + ?Sized + Sync>(
        &self,
        key: impl Into<String>,
        value: &T,
    ) -> Result<(), Error> {
        let key = key.into();
        if key.starts_with(FLASH) {
            return Err(wrong(key, "keys that begin with `~` are those of flash values"));
        }
        self.set(key, value).await
    }

    /// Removes the value under `key`, when the session is saved. Loads nothing.
    ///
    /// ```
    /// # use larder_core::{MemorySessions, Sessions};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
    /// # let session = Sessions::builder(MemorySessions::new()).build()?.open(None);
    /// session.insert("theme", "dark").await?;
    /// session.remove("theme").await;
    /// assert_eq!(session.get::<String>("theme").await?, None);
    /// # Ok(()) }
    /// ```
    pub async fn remove(&self, key: impl Into<String>) {
        self.touch().await.changes.set(key.into(), None);
    }

    /// Removes all values, when the session is saved. Who is signed in stays signed in.
    ///
    /// ```
    /// # use larder_core::{MemorySessions, Sessions};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
    /// # let session = Sessions::builder(MemorySessions::new()).build()?.open(None);
    /// session.insert("theme", "dark").await?;
    /// session.clear().await;
    /// assert!(!session.contains("theme").await?);
    /// # Ok(()) }
    /// ```
    pub async fn clear(&self) {
        self.touch().await.changes.clear();
    }

    /// Leaves a value for the next request that touches the session, and for no other: a notice
    /// after a redirect.
    ///
    /// # Errors
    ///
    /// [`Error::SessionValue`] for a value that cannot be written as JSON.
    ///
    /// ```
    /// # use larder_core::{MemorySessions, Sessions};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
    /// # let sessions = Sessions::builder(MemorySessions::new()).build()?;
    /// let order = sessions.open(None);
    /// order.flash("notice", "Thank you!").await?;
    /// let id = order.save().await?.cookie.id().cloned();
    ///
    /// let next = sessions.open(id.clone());
    /// assert_eq!(next.flashed::<String>("notice").await?.as_deref(), Some("Thank you!"));
    /// next.save().await?;
    /// assert_eq!(sessions.open(id).flashed::<String>("notice").await?, None);
    /// # Ok(()) }
    /// ```
    pub async fn flash<T: Serialize + ?Sized + Sync>(
        &self,
        key: impl AsRef<str>,
        value: &T,
    ) -> Result<(), Error> {
        self.set(format!("{FLASH}{}", key.as_ref()), value).await
    }

    /// What the request before left under `key` by [`flash`](Self::flash).
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub async fn flashed<T: DeserializeOwned>(
        &self,
        key: impl AsRef<str>,
    ) -> Result<Option<T>, Error> {
        let state = self.loaded().await?;
        read(key.as_ref(), state.flashed.get(&format!("{FLASH}{}", key.as_ref())))
    }

    /// Who is signed in.
    ///
    /// # Errors
    ///
    /// [`Error::Store`] where the session could not be loaded: that says nothing about who is
    /// signed in.
    ///
    /// ```
    /// # use larder_core::{MemorySessions, Sessions};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
    /// # let session = Sessions::builder(MemorySessions::new()).build()?.open(None);
    /// assert_eq!(session.user().await?, None);
    /// # Ok(()) }
    /// ```
    pub async fn user(&self) -> Result<Option<String>, Error> {
        let state = self.loaded().await?;
        let stored = state.stored.found().map(|found| &*found.session);
        Ok(state.changes.user(stored).map(str::to_owned))
    }

    /// Under what the store keeps this session, as a list of a user's sessions
    /// [names each](super::UserSession::key); `None` where nothing is stored of it.
    ///
    /// # Errors
    ///
    /// [`Error::Store`] where the session could not be loaded.
    ///
    /// ```
    /// # use larder_core::{MemorySessions, Sessions};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
    /// # let sessions = Sessions::builder(MemorySessions::new()).build()?;
    /// let visit = sessions.open(None);
    /// assert_eq!(visit.key().await?, None);
    /// visit.sign_in("zoë").await?;
    /// visit.save().await?;
    /// let list = sessions.of_user("zoë").await?;
    /// assert_eq!(visit.key().await?.as_ref(), Some(&list[0].key));
    /// # Ok(()) }
    /// ```
    pub async fn key(&self) -> Result<Option<String>, Error> {
        let state = self.loaded().await?;
        Ok(match &state.stored {
            Stored::Known { key, .. } => Some(key.clone()),
            Stored::Unknown | Stored::Nothing => None,
        })
    }

    /// Signs `user` in, when the session is saved: under a new id, with the values kept. The old id
    /// is dead then, so that whoever knew it gains nothing (session fixation).
    ///
    /// # Errors
    ///
    /// [`Error::Store`] where the session could not be loaded.
    pub async fn sign_in(&self, user: impl Into<String>) -> Result<(), Error> {
        let mut state = self.loaded().await?;
        state.changes.sign_in(Some(user.into()));
        state.renews = true;
        Ok(())
    }

    /// Moves the session to a new id, when it is saved, with its values kept, and the old id dead:
    /// after every change of rights.
    ///
    /// # Errors
    ///
    /// [`Error::Store`] where the session could not be loaded.
    ///
    /// ```
    /// # use larder_core::{MemorySessions, Sessions};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
    /// # let sessions = Sessions::builder(MemorySessions::new()).build()?;
    /// let session = sessions.open(None);
    /// session.insert("theme", "dark").await?;
    /// let old = session.save().await?.cookie.id().cloned();
    ///
    /// let session = sessions.open(old.clone());
    /// session.renew().await?;
    /// let new = session.save().await?.cookie.id().cloned();
    /// assert!(sessions.open(new).contains("theme").await?);
    /// assert!(!sessions.open(old).contains("theme").await?);
    /// # Ok(()) }
    /// ```
    pub async fn renew(&self) -> Result<(), Error> {
        self.loaded().await?.renews = true;
        Ok(())
    }

    /// Ends the session, at once: a log-out. Whether there was one. Where the client presented
    /// several ids, all their sessions end.
    ///
    /// Values set after it in this request are those of another, new session.
    ///
    /// # Errors
    ///
    /// [`Error::Store`] where the store fails: the session may go on then, and the client should be
    /// told.
    ///
    /// ```
    /// # use larder_core::{MemorySessions, Sessions};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
    /// # let sessions = Sessions::builder(MemorySessions::new()).build()?;
    /// let visit = sessions.open(None);
    /// visit.sign_in("zoë").await?;
    /// let id = visit.save().await?.cookie.id().cloned();
    ///
    /// assert!(sessions.open(id.clone()).end().await?);
    /// assert_eq!(sessions.open(id).user().await?, None);
    /// # Ok(()) }
    /// ```
    pub async fn end(&self) -> Result<bool, Error> {
        let mut state = self.touch().await;
        let ended = self.end_this(&mut state).await;
        state.heard_of_end(Ending::This, ended)
    }

    /// Ends the other sessions of who is signed in here: signs out everywhere else. How many there
    /// were; none where nobody is signed in.
    ///
    /// # Errors
    ///
    /// [`Error::Store`] where the store fails; some may have ended then.
    ///
    /// ```
    /// # use larder_core::{MemorySessions, Sessions};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
    /// # let session = Sessions::builder(MemorySessions::new()).build()?.open(None);
    /// assert_eq!(session.end_others().await?, 0);
    /// # Ok(()) }
    /// ```
    pub async fn end_others(&self) -> Result<u64, Error> {
        let mut state = self.loaded().await?;
        let (this, stored) = match &state.stored {
            Stored::Known { key, found } => (Some(key.as_str()), Some(&*found.session)),
            Stored::Unknown | Stored::Nothing => (None, None),
        };
        let Some(user) = state.changes.user(stored) else { return Ok(0) };
        let ended = self.sessions().remove_of_user(user, this).await;
        state.heard_of_end(Ending::Others, ended)
    }

    /// Ends all sessions of who is signed in here, this one among them: signs out everywhere. How
    /// many there were. Where nobody is signed in, only this one ends.
    ///
    /// # Errors
    ///
    /// [`Error::Store`] where the store fails; some may have ended then.
    ///
    /// ```
    /// # use larder_core::{MemorySessions, Sessions};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
    /// # let sessions = Sessions::builder(MemorySessions::new()).build()?;
    /// let visit = sessions.open(None);
    /// visit.sign_in("zoë").await?;
    /// visit.save().await?;
    /// assert_eq!(visit.end_all().await?, 1);
    /// assert!(sessions.of_user("zoë").await?.is_empty());
    /// # Ok(()) }
    /// ```
    pub async fn end_all(&self) -> Result<u64, Error> {
        let mut state = self.loaded().await?;
        let ended = self.end_all_of(&mut state).await;
        state.heard_of_end(Ending::All, ended)
    }

    async fn end_all_of(&self, state: &mut State) -> Result<u64, Error> {
        let stored = state.stored.found().map(|found| &*found.session);
        let others = match state.changes.user(stored) {
            Some(user) => self.sessions().remove_of_user(user, None).await?,
            None => 0,
        };
        Ok(others + u64::from(self.end_this(state).await?))
    }

    async fn end_this(&self, state: &mut State) -> Result<bool, Error> {
        let sessions = self.sessions();
        let mut keys = Vec::new();
        match (&state.stored, &state.presented) {
            (Stored::Known { key, .. }, _) => keys.push(key.clone()),
            // It may be dead because the session moved a moment ago.
            (Stored::Unknown | Stored::Nothing, Some(id)) => keys.push(sessions.key(id)?),
            (Stored::Unknown | Stored::Nothing, None) => {}
        }
        // Else the next request would find itself signed in by one of them.
        for id in state.other_ids() {
            keys.push(sessions.key(id)?);
        }
        let removals = keys
            .iter()
            .map(|key| sessions.in_time(Operation::Remove, sessions.shared.store.remove(key)));
        let mut was_there = false;
        // All are tried, also where one fails.
        for removed in join_all(removals).await {
            if removed? {
                sessions.shared.meter.logged_out();
                was_there = true;
            }
        }
        state.has_ended();
        Ok(was_there)
    }

    async fn set<T: Serialize + ?Sized + Sync>(&self, key: String, value: &T) -> Result<(), Error> {
        match Value::of(value) {
            Ok(value) => self.touch().await.changes.set(key, Some(value)),
            Err(source) => return Err(Error::SessionValue { key, source: Arc::new(source) }),
        }
        Ok(())
    }

    /// The sessions that this is one of: to list those of its user, say.
    ///
    /// ```
    /// # use larder_core::{MemorySessions, Sessions};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
    /// # let session = Sessions::builder(MemorySessions::new()).build()?.open(None);
    /// if let Some(user) = session.user().await? {
    ///     let list = session.sessions().of_user(&user).await?;
    /// #   let _ = list;
    /// }
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn sessions(&self) -> &Sessions {
        &self.visit.sessions
    }

    /// Whether this request has used the session: then its response is about one visitor, and for
    /// nobody else. Saving it, or ending sessions by their user, is no use.
    ///
    /// ```
    /// # use larder_core::{MemorySessions, Sessions};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
    /// # let session = Sessions::builder(MemorySessions::new()).build()?.open(None);
    /// assert!(!session.is_touched());
    /// session.user().await?;
    /// assert!(session.is_touched());
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn is_touched(&self) -> bool {
        self.visit.is_touched.load(Ordering::Acquire)
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.visit.sessions.shared
    }

    pub(super) async fn lock(&self) -> MutexGuard<'_, State> {
        self.visit.state.lock().await
    }

    /// The state, if nobody else has it.
    pub(super) fn try_lock(&self) -> Option<MutexGuard<'_, State>> {
        self.visit.state.try_lock()
    }

    pub(super) fn place(&self) -> Option<String> {
        self.visit.place.clone()
    }

    /// The state, for what the request does with the session.
    pub(super) async fn touch(&self) -> MutexGuard<'_, State> {
        match self.touch_now() {
            Some(state) => state,
            None => self.lock().await,
        }
    }

    /// The same, if nobody else has it.
    pub(super) fn touch_now(&self) -> Option<MutexGuard<'_, State>> {
        self.visit.is_touched.store(true, Ordering::Release);
        self.try_lock()
    }
}

fn read<T: DeserializeOwned>(key: &str, value: Option<&Value>) -> Result<Option<T>, Error> {
    let Some(value) = value else { return Ok(None) };
    // What serde says quotes the value, which may be a secret.
    serde_json::from_str(value.as_json())
        .map(Some)
        .map_err(|_| wrong(key.to_owned(), format!("it is no {}", std::any::type_name::<T>())))
}

fn wrong(key: String, problem: impl Into<Box<dyn StdError + Send + Sync>>) -> Error {
    Error::SessionValue { key, source: Arc::from(problem.into()) }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("sessions", self.sessions()).finish_non_exhaustive()
    }
}
