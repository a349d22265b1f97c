//! What stands under a session's key, and what a change makes of it: pure.
//!
//! [`MemorySessions`](super::MemorySessions) runs this. Objects in SQLite and the scripts of Redis
//! decide the same on their own bytes, and are held against it by [`histories`](super::histories).

use std::sync::Arc;

use super::SessionRecord;
use super::store::{StoredSession, TOMBSTONE, Touch, Updated, Version};
use crate::time::Timestamp;

#[derive(Default)]
pub(super) enum Slot {
    #[default]
    Empty,
    Live {
        session: Arc<SessionRecord>,
        version: u64,
    },
    Tombstone {
        until: Timestamp,
        moved_to: Option<String>,
    },
}

/// What came of the end of a session.
pub(super) enum Ended {
    /// It ended now.
    Now(Arc<SessionRecord>),
    /// It is none of those that are to end.
    Anothers,
    /// It has moved to this key.
    MovedTo(String),
    /// There is none.
    Gone,
}

impl Slot {
    /// When it is as good as empty.
    pub(super) fn ends_at(&self) -> Timestamp {
        match self {
            Self::Empty => Timestamp::EPOCH,
            Self::Live { session, .. } => session.expires_at,
            Self::Tombstone { until, .. } => *until,
        }
    }

    pub(super) fn session(&self, now: Timestamp) -> Option<&Arc<SessionRecord>> {
        match self {
            Self::Live { session, .. } if session.is_live(now) => Some(session),
            _ => None,
        }
    }

    pub(super) fn stored(&self, now: Timestamp) -> Option<StoredSession> {
        match self {
            Self::Live { session, version } if session.is_live(now) => {
                Some(stored(session, *version))
            }
            _ => None,
        }
    }

    /// Neither on a session nor on what is left of one.
    pub(super) fn create(
        &mut self,
        now: Timestamp,
        version: u64,
        session: &SessionRecord,
    ) -> Option<Version> {
        if now < self.ends_at() {
            return None;
        }
        Some(self.put(version, session))
    }

    pub(super) fn update(
        &mut self,
        now: Timestamp,
        expected: &Version,
        version: u64,
        session: &SessionRecord,
    ) -> Updated {
        match self.refusal(now, expected) {
            Some(refusal) => refusal,
            None => Updated::Done(self.put(version, session)),
        }
    }

    /// Brings neither the last use nor the end forward.
    pub(super) fn touch(&mut self, now: Timestamp, touch: &Touch) -> Option<Arc<SessionRecord>> {
        let Self::Live { session, .. } = self else { return None };
        if !session.is_live(now) {
            return None;
        }
        let touched = Arc::make_mut(session);
        if touched.seen_at <= touch.seen_at {
            touched.seen_at = touch.seen_at;
            touched.seen_from.clone_from(&touch.seen_from);
        }
        touched.expires_at = touched.expires_at.max(touch.expires_at);
        Some(Arc::clone(session))
    }

    /// The session has moved: whoever updates it follows, and nobody else finds it.
    ///
    /// # Errors
    ///
    /// Why it has not.
    pub(super) fn leave(
        &mut self,
        now: Timestamp,
        expected: &Version,
        to: &str,
    ) -> Result<Option<Arc<SessionRecord>>, Box<Updated>> {
        if let Some(refusal) = self.refusal(now, expected) {
            return Err(Box::new(refusal));
        }
        let left = self.session(now).cloned();
        self.bury(now, Some(to.to_owned()));
        Ok(left)
    }

    pub(super) fn end(
        &mut self,
        now: Timestamp,
        one_of_them: impl Fn(&SessionRecord) -> bool,
    ) -> Ended {
        match self.session(now) {
            Some(session) if one_of_them(session) => {
                let ended = Arc::clone(session);
                self.bury(now, None);
                Ended::Now(ended)
            }
            Some(_) => Ended::Anothers,
            None => match self.absence(now) {
                Updated::Moved(to) => Ended::MovedTo(to),
                _ => Ended::Gone,
            },
        }
    }

    /// Why a change of the session that has the version `expected` is not made.
    fn refusal(&self, now: Timestamp, expected: &Version) -> Option<Updated> {
        match self.stored(now) {
            None => Some(self.absence(now)),
            Some(stored) if stored.version != *expected => {
                Some(Updated::Conflict(Box::new(stored)))
            }
            Some(_) => None,
        }
    }

    /// Why there is nothing to change here.
    fn absence(&self, now: Timestamp) -> Updated {
        match self {
            Self::Tombstone { until, moved_to: Some(to) } if now < *until => {
                Updated::Moved(to.clone())
            }
            _ => Updated::Gone,
        }
    }

    fn put(&mut self, version: u64, session: &SessionRecord) -> Version {
        *self = Self::Live { session: Arc::new(session.clone()), version };
        Version::number(version)
    }

    fn bury(&mut self, now: Timestamp, moved_to: Option<String>) {
        *self = Self::Tombstone { until: now + TOMBSTONE, moved_to };
    }
}

pub(super) fn stored(session: &Arc<SessionRecord>, version: u64) -> StoredSession {
    StoredSession::new(Arc::clone(session), Version::number(version))
}
