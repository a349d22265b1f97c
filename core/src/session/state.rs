//! What a request knows of its session, and how it comes to know it.

use futures::lock::MutexGuard;

use super::meter::Operation;
use super::presented::Presented;
use super::record::{Changes, Data};
use super::store::StoredSession;
use super::{Session, SessionId};
use crate::error::Error;

/// What the keys of flash values begin with.
pub(super) const FLASH: char = '~';

/// What is seldom there is boxed: every request with a session makes one of these.
pub(super) struct State {
    /// What the client presented, or was given; `None` where it is not that of `stored`.
    pub(super) presented: Option<SessionId>,
    /// What else the client presented, the last first, and was not looked at.
    others: Vec<SessionId>,
    /// What else the client presented, and is no session's: it may have moved a moment ago.
    passed: Vec<SessionId>,
    /// Whether the client is to be told its id again.
    pub(super) reissues: bool,
    pub(super) stored: Stored,
    pub(super) changes: Changes,
    /// Flash values of the request before, which go with this one.
    pub(super) flashed: Data,
    /// Whether the session is to move to a new id.
    pub(super) renews: bool,
    /// Whether this request ended the session.
    pub(super) ended: bool,
    /// Why the session is not known to this request.
    not_loaded: Option<Box<Error>>,
    /// What was to end and may go on, and why.
    not_ended: Option<Box<(Ending, Error)>>,
}

/// What a request may end.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    This,
    Others,
    All,
}

/// What the store holds of the session, as far as this request knows.
pub(super) enum Stored {
    Unknown,
    Nothing,
    Known { key: String, found: StoredSession },
}

impl Stored {
    pub(super) fn found(&self) -> Option<&StoredSession> {
        match self {
            Self::Known { found, .. } => Some(found),
            Self::Unknown | Self::Nothing => None,
        }
    }

    pub(super) fn data(&self) -> Option<&Data> {
        self.found().map(|found| &found.session.data)
    }
}

impl State {
    pub(super) fn new(presented: Presented) -> (Self, Option<String>) {
        let Presented { id, mut others, place, reissues } = presented;
        others.reverse();
        let state = Self {
            stored: if id.is_some() { Stored::Unknown } else { Stored::Nothing },
            presented: id,
            others,
            passed: Vec::new(),
            reissues,
            changes: Changes::default(),
            flashed: Data::new(),
            renews: false,
            ended: false,
            not_loaded: None,
            not_ended: None,
        };
        (state, place)
    }

    /// What the store has under the key of what the client presents.
    fn heard(&mut self, key: String, found: Option<StoredSession>) {
        match found {
            Some(found) => self.take_up(key, found),
            None => match self.others.pop() {
                Some(other) => self.passed.extend(self.presented.replace(other)),
                None => self.stored = Stored::Nothing,
            },
        }
    }

    fn take_up(&mut self, key: String, found: StoredSession) {
        let flashed = found.session.data.iter().filter(|(key, _)| key.starts_with(FLASH));
        self.flashed = flashed.map(|(key, value)| (key.clone(), value.clone())).collect();
        for key in self.flashed.keys() {
            self.changes.set_unless_set(key, None);
        }
        self.stored = Stored::Known { key, found };
    }

    /// What else the client presented than the id that counts.
    pub(super) fn other_ids(&self) -> impl Iterator<Item = &SessionId> {
        self.passed.iter().chain(&self.others)
    }

    fn heard_of_load(&mut self, loaded: Result<(), Error>) -> Result<(), Error> {
        self.not_loaded = loaded.as_ref().err().cloned().map(Box::new);
        loaded
    }

    pub(super) fn heard_of_end<T>(
        &mut self,
        ending: Ending,
        ended: Result<T, Error>,
    ) -> Result<T, Error> {
        match &ended {
            Err(error) => self.not_ended = Some(Box::new((ending, error.clone()))),
            Ok(_) => {
                self.not_ended.take_if(|it| ending == it.0 || ending == Ending::All);
            }
        }
        ended
    }

    /// What this request asked of the session and was not done.
    pub(super) fn failure(&self) -> Option<&Error> {
        self.not_loaded.as_deref().or(self.not_ended.as_deref().map(|(_, error)| error))
    }

    pub(super) fn has_ended(&mut self) {
        (self.stored, self.presented) = (Stored::Nothing, None);
        self.others.clear();
        self.passed.clear();
        (self.changes, self.flashed) = (Changes::default(), Data::new());
        (self.renews, self.ended) = (false, true);
    }
}

/// Learning of it.
impl Session {
    /// The state, for what the request does with the session, which is looked up for that.
    pub(super) async fn loaded(&self) -> Result<MutexGuard<'_, State>, Error> {
        match self.loaded_now() {
            Some(loaded) => loaded,
            // Boxed, so that what need not wait does not carry the room that a wait needs.
            None => Box::pin(self.loaded_in_time()).await,
        }
    }

    /// The same at once; `None` where the store has to be waited for, or another who has the state.
    fn loaded_now(&self) -> Option<Result<MutexGuard<'_, State>, Error>> {
        let mut state = self.touch_now()?;
        let loaded = self.load_now(&mut state)?;
        Some(state.heard_of_load(loaded).map(|()| state))
    }

    async fn loaded_in_time(&self) -> Result<MutexGuard<'_, State>, Error> {
        let mut state = self.touch().await;
        let loaded = self.load(&mut state).await;
        state.heard_of_load(loaded)?;
        Ok(state)
    }

    /// Looks the presented ids up, once, until one is that of a session.
    pub(super) async fn load(&self, state: &mut State) -> Result<(), Error> {
        while let Some(key) = self.key_to_look_up(state)? {
            let found = self.load_from(&key).await?;
            state.heard(key, found);
        }
        Ok(())
    }

    /// The same, where the store need not be waited for; `None` where it must, from where this ends.
    fn load_now(&self, state: &mut State) -> Option<Result<(), Error>> {
        loop {
            let key = match self.key_to_look_up(state) {
                Ok(Some(key)) => key,
                Ok(None) => return Some(Ok(())),
                Err(error) => return Some(Err(error)),
            };
            match self.load_from_now(&key)? {
                Ok(found) => state.heard(key, found),
                Err(error) => return Some(Err(error)),
            }
        }
    }

    fn key_to_look_up(&self, state: &State) -> Result<Option<String>, Error> {
        match (&state.stored, &state.presented) {
            (Stored::Unknown, Some(id)) => self.sessions().key(id).map(Some),
            _ => Ok(None),
        }
    }

    /// The session under `key`, if its time is not over.
    async fn load_from(&self, key: &str) -> Result<Option<StoredSession>, Error> {
        if let Some(found) = self.load_from_now(key) {
            return found;
        }
        let found = self.sessions().in_time(Operation::Load, self.shared().store.load(key)).await?;
        Ok(self.looked(found))
    }

    fn load_from_now(&self, key: &str) -> Option<Result<Option<StoredSession>, Error>> {
        let found = self.shared().store.load_now(key)?;
        Some(self.sessions().heard(Operation::Load, found).map(|found| self.looked(found)))
    }

    fn looked(&self, found: Option<StoredSession>) -> Option<StoredSession> {
        let shared = self.shared();
        let is_over =
            |it: &StoredSession| shared.runtime.has_passed(shared.lives.end_of(&it.session));
        let found = found.filter(|found| !is_over(found));
        shared.meter.looked(found.is_some());
        found
    }
}
