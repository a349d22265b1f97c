//! Writing what a request changed, whatever others write meanwhile.

use std::mem;

use super::meter::Operation;
use super::record::SessionRecord;
use super::state::{State, Stored};
use super::store::{StoredSession, Touch, Updated, Version};
use super::{Session, SessionId, TRIES};
use crate::error::Error;
use crate::time::Timestamp;

/// What came of [`Session::save`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Saved {
    /// What the client is to do with its cookie.
    pub cookie: SessionCookie,
    /// The keys of values that another request had changed meanwhile, and that this one, which came
    /// later, replaced.
    pub overwritten: Vec<String>,
    /// Whether the changes were dropped, as the session ended meanwhile.
    pub is_lost: bool,
}

/// What a client is to do with its cookie.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionCookie {
    /// Nothing.
    #[default]
    Keep,
    /// Hold this id, until the session ends unless it is used.
    Set {
        /// The id.
        id: SessionId,
        /// When the session ends.
        expires_at: Timestamp,
    },
    /// Forget it: this request ended the session. Nobody else says so: a request that was under way
    /// while another signed in would take the new cookie away.
    Remove,
}

impl SessionCookie {
    /// The id that the client is to hold, where it is told one.
    ///
    /// ```
    /// use larder_core::session::SessionCookie;
    ///
    /// assert_eq!(SessionCookie::Remove.id(), None);
    /// ```
    #[must_use]
    pub fn id(&self) -> Option<&SessionId> {
        match self {
            Self::Set { id, .. } => Some(id),
            Self::Keep | Self::Remove => None,
        }
    }
}

impl Session {
    /// Writes what changed, and notes that the session was used: for the end of the request, before
    /// its response goes out.
    ///
    /// The layer calls it after the handler. A handler that calls it too, to hear what came of its
    /// changes, takes nothing from that: the cookie is told again.
    ///
    /// A session that nobody touched is neither loaded nor written. A new one is stored where
    /// something was put into it. One that others changed meanwhile keeps their changes too; of one
    /// key the later save has the last word, and is [told](Saved::overwritten). One that ended
    /// meanwhile stays ended, and the changes are [lost](Saved::is_lost); but a
    /// [`sign_in`](Self::sign_in) begins a new one, with what this request put into it.
    ///
    /// # Errors
    ///
    /// [`Error::Store`] where the store fails: whether the changes were saved is not known then, and
    /// saving again is safe. [`Error::SessionTooLarge`], [`Error::SessionContended`] and
    /// [`Error::NoRandomness`]. That its use could not be noted is no error, but counted and logged.
    ///
    /// Where this request asked for its session and was not given it, or was to end it and did not,
    /// that error again, and nothing is saved: whatever the request made of it, it does not know who
    /// it serves. It is forgotten where the same call succeeds.
    pub async fn save(&self) -> Result<Saved, Error> {
        let mut state = self.lock().await;
        if let Some(failure) = state.failure() {
            return Err(failure.clone());
        }
        if !state.changes.is_empty() || state.renews {
            self.load(&mut state).await?;
        }
        let stored = mem::replace(&mut state.stored, Stored::Unknown);
        match stored {
            Stored::Known { key, found } if state.changes.is_empty() && !state.renews => {
                let saved = self.note_use(&state, &key, &found).await;
                state.stored = Stored::Known { key, found };
                saved
            }
            Stored::Known { key, found } => {
                let before = (key.clone(), found.clone());
                let saved = self.write(&mut state, key, found).await;
                if saved.is_err() {
                    // So that it can be tried again.
                    state.stored = Stored::Known { key: before.0, found: before.1 };
                }
                saved
            }
            Stored::Nothing if state.changes.found_a_session() => {
                state.stored = Stored::Nothing;
                let begun = self.begin(&mut state).await?;
                self.shared().meter.begun(false);
                Ok(begun)
            }
            stored => {
                state.stored = stored;
                Ok(state.nothing_to_save_of_none())
            }
        }
    }

    /// What [`save`](Self::save) comes to, where the store need not be asked for it: nothing changed,
    /// and that the session was used is noted already. Else `None`, and nothing is done.
    ///
    /// ```
    /// # use larder_core::{MemorySessions, Sessions};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
    /// # let session = Sessions::builder(MemorySessions::new()).build()?.open(None);
    /// assert!(session.save_now().is_some());
    /// session.insert("theme", "dark").await?;
    /// assert!(session.save_now().is_none());
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn save_now(&self) -> Option<Result<Saved, Error>> {
        if !self.is_touched() {
            return Some(Ok(Saved::default()));
        }
        let state = self.try_lock()?;
        if let Some(failure) = state.failure() {
            return Some(Err(failure.clone()));
        }
        if !state.changes.is_empty() || state.renews {
            return None;
        }
        match &state.stored {
            Stored::Known { found, .. } if self.is_use_to_be_noted(found) => None,
            Stored::Known { found, .. } => Some(Ok(state.nothing_to_save(found))),
            Stored::Unknown | Stored::Nothing => Some(Ok(state.nothing_to_save_of_none())),
        }
    }

    fn is_use_to_be_noted(&self, found: &StoredSession) -> bool {
        let seen_at = found.session.seen_at;
        self.shared().lives.wants_touch(self.shared().runtime.recent().max(seen_at), seen_at)
    }

    /// A busy reader writes only now and then.
    async fn note_use(
        &self,
        state: &State,
        key: &str,
        found: &StoredSession,
    ) -> Result<Saved, Error> {
        let (now, lives) = (self.shared().runtime.now(), &self.shared().lives);
        let session = &found.session;
        if !self.is_use_to_be_noted(found) {
            return Ok(state.nothing_to_save(found));
        }
        let expires_at = lives.expires_at(session.created_at, now);
        let touch = Touch::new(now, self.place(), expires_at);
        let touched = self.shared().store.touch(key, &touch);
        let is_there = match self.sessions().in_time(Operation::Touch, touched).await {
            Ok(is_there) => is_there,
            Err(error) => {
                // The request had its session, and may have done its work: that must not be undone for a
                // note, which the next one makes.
                tracing::warn!(%error, "that a session was used is not noted");
                return Ok(state.nothing_to_save(found));
            }
        };
        if is_there {
            self.shared().meter.touched();
        }
        let cookie = match &state.presented {
            // The cookie's own life is to go on as well.
            Some(id) if is_there => SessionCookie::Set { id: id.clone(), expires_at },
            _ => SessionCookie::Keep,
        };
        Ok(Saved { cookie, ..Saved::default() })
    }

    async fn write(
        &self,
        state: &mut State,
        mut key: String,
        mut found: StoredSession,
    ) -> Result<Saved, Error> {
        let mut overwritten = Vec::new();
        let user = found.session.user.clone();
        // Whether another request has moved the session, and given it to another user.
        let (mut has_moved, mut is_anothers) = (false, false);
        for _ in 0..TRIES {
            let session = self.with_changes(state, SessionRecord::clone(&found.session))?;
            let new = if state.renews { Some(self.new_id()?) } else { None };
            let (sessions, store) = (self.sessions(), &self.shared().store);
            let updated = match &new {
                Some((_, new_key)) => {
                    let renewed = store.renew(&key, &found.version, new_key, &session);
                    sessions.in_time(Operation::Renew, renewed).await?
                }
                None => {
                    let updated = store.update(&key, &found.version, &session);
                    sessions.in_time(Operation::Update, updated).await?
                }
            };
            match updated {
                Updated::Done(version) => {
                    sessions.shared.meter.written(new.is_some());
                    let (id, key) = match new {
                        Some((id, key)) => (Some(id), key),
                        None => (None, key),
                    };
                    let cookie = match id.or_else(|| state.presented.clone()) {
                        Some(id) => SessionCookie::Set { id, expires_at: session.expires_at },
                        None => SessionCookie::Keep,
                    };
                    state.is_saved(&cookie, key, session, version);
                    if is_anothers {
                        // What this request changed is kept there; to read there is not its right.
                        state.stored = Stored::Nothing;
                    }
                    return Ok(Saved { cookie, overwritten, is_lost: false });
                }
                Updated::Conflict(theirs)
                    if self.shared().runtime.now()
                        < self.shared().lives.end_of(&theirs.session) =>
                {
                    let theirs_user = theirs.session.user.as_deref();
                    is_anothers = has_moved
                        && theirs_user.is_some()
                        && theirs_user != user.as_deref()
                        && theirs_user != state.changes.user(None);
                    if is_anothers && state.renews {
                        // Else whoever planted the old id would have the session by a new one.
                        return self.write_to_none(state).await;
                    }
                    for lost in state.changes.overwrites(&found.session.data, &theirs.session.data)
                    {
                        if !overwritten.contains(&lost) {
                            overwritten.push(lost);
                        }
                    }
                    found = *theirs;
                }
                // Renewed by another request, which alone knows the new id.
                Updated::Moved(to) => (key, state.presented, has_moved) = (to, None, true),
                Updated::Taken => {}
                Updated::Conflict(_) | Updated::Gone => return self.write_to_none(state).await,
            }
            sessions.shared.meter.conflict();
        }
        Err(Error::SessionContended { tries: TRIES })
    }

    /// What to do with changes of a session that ended meanwhile.
    async fn write_to_none(&self, state: &mut State) -> Result<Saved, Error> {
        if state.changes.signs_in() {
            (state.stored, state.presented) = (Stored::Nothing, None);
            let begun = self.begin(state).await?;
            self.shared().meter.begun(true);
            return Ok(begun);
        }
        self.shared().meter.lost();
        state.has_ended();
        state.ended = false;
        Ok(Saved { is_lost: true, ..Saved::default() })
    }

    async fn begin(&self, state: &mut State) -> Result<Saved, Error> {
        for _ in 0..TRIES {
            let now = self.shared().runtime.now();
            let session = self.with_changes(state, SessionRecord::new(now, Timestamp::MAX))?;
            let (id, key) = self.new_id()?;
            let created = self.shared().store.create(&key, &session);
            if let Some(version) = self.sessions().in_time(Operation::Create, created).await? {
                let cookie = SessionCookie::Set { id, expires_at: session.expires_at };
                state.is_saved(&cookie, key, session, version);
                return Ok(Saved { cookie, ..Saved::default() });
            }
        }
        Err(Error::SessionContended { tries: TRIES })
    }

    fn new_id(&self) -> Result<(SessionId, String), Error> {
        let id = SessionId::random()?;
        let key = self.sessions().key(&id)?;
        Ok((id, key))
    }

    fn with_changes(
        &self,
        state: &State,
        mut session: SessionRecord,
    ) -> Result<SessionRecord, Error> {
        let now = self.shared().runtime.now();
        state.changes.apply(&mut session);
        session.seen_at = session.seen_at.max(now);
        session.seen_from = self.place();
        session.expires_at = self.shared().lives.expires_at(session.created_at, session.seen_at);
        let (bytes, max) = (session.size(), self.shared().store.capabilities().max_session_bytes);
        if bytes > max {
            return Err(Error::SessionTooLarge { bytes, max, store: self.shared().store.name() });
        }
        Ok(session)
    }
}

impl State {
    fn nothing_to_save(&self, found: &StoredSession) -> Saved {
        let cookie = match &self.presented {
            Some(id) if self.reissues => {
                SessionCookie::Set { id: id.clone(), expires_at: found.session.expires_at }
            }
            _ => SessionCookie::Keep,
        };
        Saved { cookie, ..Saved::default() }
    }

    fn nothing_to_save_of_none(&self) -> Saved {
        let cookie = match self.ended {
            true => SessionCookie::Remove,
            false => SessionCookie::Keep,
        };
        Saved { cookie, ..Saved::default() }
    }

    fn is_saved(
        &mut self,
        cookie: &SessionCookie,
        key: String,
        session: SessionRecord,
        version: Version,
    ) {
        self.stored = Stored::Known { key, found: StoredSession::new(session, version) };
        self.changes = Default::default();
        (self.renews, self.ended) = (false, false);
        if let Some(id) = cookie.id() {
            // Told again by a save that finds nothing to do: this one may have been a handler's, and only
            // the last one's answer goes to the client.
            (self.presented, self.reissues) = (Some(id.clone()), true);
        }
    }
}
